"""`noren-audit`: the auditor's command line.

The report goes to stdout: tables on a terminal, plain lines in a pipe, one JSON object with --json.
Exit codes: 0 verified, 9 not verified, 2 usage, 3 the trust file cannot be used, 1 anything else.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from noren_core import __version__
from noren_core.console import run_command

EXIT_NOT_VERIFIED = 9

Result = dict[str, Any]


def _options(
    as_json: Annotated[bool, typer.Option("--json", help="Print the result, or the error, as JSON.")] = False,
) -> None:
    del as_json  # read by `main` and run_command wherever it stands, so that usage errors are JSON too


def verify(
    context: typer.Context,
    bundle: Annotated[
        Path, typer.Argument(help="Directory that the platform exported.", exists=True, file_okay=False)
    ],
    trust: Annotated[Path, typer.Option(help="TOML file with the keys you trust.", show_default=False)],
) -> Result:
    """Verify an exported ledger; exit 0 if VERIFIED, 9 if NOT VERIFIED. Takes --json."""
    from rich.console import Console

    from noren_audit.report import print_report, to_fields
    from noren_audit.trust import load_trust
    from noren_audit.verify import verify_bundle

    verdict = verify_bundle(bundle, load_trust(trust))
    exit_code = 0 if verdict.is_verified else EXIT_NOT_VERIFIED
    if context.obj:
        return {"exit_code": exit_code, **to_fields(verdict)}
    print_report(verdict, Console())
    return {"exit_code": exit_code}


def version() -> Result:
    """Print the version."""
    return {"version": __version__}


def make_app(*, as_json: bool) -> typer.Typer:
    """The command line; commands find in their context whether to print for people or for machines."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"obj": as_json},
        help="Check, offline and trusting two keys, what a Noren platform and its companies did.",
    )
    app.callback()(_options)
    app.command()(verify)
    app.command()(version)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return run_command(make_app(as_json="--json" in given), given, program="noren-audit")


if __name__ == "__main__":
    sys.exit(main())
