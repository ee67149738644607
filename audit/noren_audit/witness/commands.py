"""`noren-audit witness`: make a witness, and run it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer


def witness_commands() -> typer.Typer:
    """The sub-commands."""
    app = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help="Cosign the checkpoints of a ledger, so that it cannot be shown in two versions.",
    )
    app.command("init")(_init)
    app.command("serve")(_serve)
    return app


def _init(
    directory: Annotated[Path, typer.Argument(help="A new directory for the witness's files.")],
    name: Annotated[str, typer.Option(help="Best a URL without https://, such as audit.example/witness.")],
    log: Annotated[list[str], typer.Option(help="log_key of a trust file; repeat it for more logs.")],
) -> dict[str, Any]:
    """Make a witness with a key of its own; print the verifier key for platform and auditors."""
    from noren_audit.witness.witness import initialise

    return {"key": initialise(directory, name=name, logs=log).to_text()}


def _serve(
    directory: Annotated[Path, typer.Argument(help="Made by witness init.", exists=True, file_okay=False)],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 0,
    tls_certificate: Annotated[Path | None, typer.Option(help="PEM, with --tls-key: serve https.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM.")] = None,
) -> dict[str, Any]:
    """Answer add-checkpoint requests until interrupted; the address is told on stderr."""
    from noren_audit.bounded_server import Listening
    from noren_audit.witness.witness_server import serve

    listening = Listening(host, port, tls_certificate, tls_key)
    serve(directory, listening, announce=lambda url: print(f"witness: {url}", file=sys.stderr, flush=True))
    return {"state": "stopped"}
