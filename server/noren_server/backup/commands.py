"""`noren-platform backup`: make one, try one out, restore one.

The passphrase of a backup is its own: in the file that NOREN_BACKUP_PASSPHRASE_FILE names, or typed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

VARIABLE = "NOREN_BACKUP_PASSPHRASE_FILE"
backup_app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Back the platform up, and try backups out."
)

Result = dict[str, Any]
Directory = Annotated[Path, typer.Argument(help="The backup's directory.")]


@backup_app.command("create")
def create(context: typer.Context, directory: Directory) -> Result:
    """Seal everything in the platform's directory into a new one, while the services run."""
    import os

    from noren_local import passphrase
    from noren_server.backup import creating
    from noren_server.consents.opening import unix_now
    from noren_server.platform_files import Platform

    named = os.environ.get(VARIABLE)
    chosen = passphrase.chosen(Path(named) if named else None)
    manifest = creating.create(Platform(context.obj), directory, chosen, now=unix_now())
    return {
        "backup": str(directory),
        "files": len(manifest.files),
        "bytes": manifest.size,
        "ledger_size": manifest.ledger_size,
    }


@backup_app.command("verify")
def verify(context: typer.Context, directory: Directory) -> Result:
    """Restore a backup into a directory of its own, check everything, remove it, keep that it was tried."""
    from noren_local import passphrase
    from noren_server.backup import restoring
    from noren_server.consents.opening import unix_now

    given = passphrase.from_variable(VARIABLE, "Passphrase of the backup: ")
    tried = restoring.try_out(context.obj, directory, given, now=unix_now())
    return {"backup": str(directory), "state": "passed", **tried.to_fields()}


@backup_app.command("restore")
def restore(
    context: typer.Context,
    directory: Directory,
    ledger: Annotated[
        Path | None, typer.Option(help="The newest exported ledger that anybody has, to go on with.")
    ] = None,
    seen: Annotated[
        list[Path] | None, typer.Option(help="A checkpoint that somebody has seen; may be repeated.")
    ] = None,
    nothing_newer: Annotated[
        bool, typer.Option("--nothing-newer", help="You answer for it that nobody has seen more.")
    ] = False,
) -> Result:
    """Restore a backup into the platform's directory, which must be empty; the service is suspended then."""
    from noren_core.errors import ConfigurationError
    from noren_local import passphrase
    from noren_server.backup import restoring
    from noren_server.consents.opening import unix_now

    try:
        checkpoints = tuple(path.read_bytes() for path in seen or ())
    except OSError as error:
        raise ConfigurationError("seen: expected a checkpoint that can be read, got none") from error
    given = passphrase.from_variable(VARIABLE, "Passphrase of the backup: ")
    outside = restoring.Outside(ledger, checkpoints, nothing_newer)
    restored = restoring.restore(context.obj, directory, given, outside, now=unix_now())
    return {"directory": str(context.obj), "state": "suspended", **restored.to_fields()}
