"""`keys status | protect | unprotect | change-passphrase`, the same in every party's program."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from noren_core.crypto.sealed_files import SealedFiles

NewPassphrase = Annotated[
    Path | None, typer.Option(help="A file (0600) with the new passphrase; asked for if left out.")
]


def key_commands(about: str, secrets_of: Callable[[Path], SealedFiles]) -> typer.Typer:
    """The commands, for a party to add its own to; `about` is their help.

    The context's object is the party's directory, and `secrets_of` finds the secrets in it.
    """
    keys_app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=about)

    @keys_app.command()
    def status(context: typer.Context) -> dict[str, Any]:
        """Whether the secrets are encrypted at rest."""
        state = secrets_of(context.obj).state
        return {"protection": "none" if state is None else state.value}

    @keys_app.command()
    def protect(context: typer.Context, new_passphrase_file: NewPassphrase = None) -> dict[str, Any]:
        """Encrypt every secret; completes a conversion that was interrupted. Stop the services first."""
        from noren_local import passphrase

        given = passphrase.configured() if new_passphrase_file is None else None
        chosen = passphrase.chosen(new_passphrase_file) if given is None else given
        return {"protection": "sealed", "secrets": secrets_of(context.obj).protect(chosen)}

    @keys_app.command()
    def unprotect(context: typer.Context) -> dict[str, Any]:
        """Store every secret plainly again. Stop the services first."""
        from noren_local import passphrase

        return {"protection": "none", "secrets": secrets_of(context.obj).unprotect(passphrase.current())}

    @keys_app.command()
    def change_passphrase(
        context: typer.Context, new_passphrase_file: NewPassphrase = None
    ) -> dict[str, Any]:
        """Replace the passphrase. Stop the services first."""
        from noren_local import passphrase

        secrets = secrets_of(context.obj)
        secrets.change_passphrase(passphrase.current(), passphrase.chosen(new_passphrase_file))
        return {"protection": "sealed"}

    return keys_app
