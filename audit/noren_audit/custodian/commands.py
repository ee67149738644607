"""`noren-audit custodian`: make a custodian, admit companies, and run it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

_Directory = Annotated[Path, typer.Argument(help="Made by custodian init.", exists=True, file_okay=False)]


def custodian_commands() -> typer.Typer:
    """The sub-commands."""
    app = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help="Keep one share of the keys of what companies keep about persons, and destroy it on demand.",
    )
    app.command("init")(_init)
    app.command("admit")(_admit)
    app.command("serve")(_serve)
    return app


def _init(
    directory: Annotated[Path, typer.Argument(help="A new directory for the custodian's files.")],
    name: Annotated[str, typer.Option(help="What it calls itself (a-z, 0-9, hyphens).")],
) -> dict[str, Any]:
    """Make a custodian with a key of its own; print the key for companies, platform and auditors."""
    from noren_audit.custodian.custodian import initialise

    return {"name": name, "key": initialise(directory, name=name).hex()}


def _admit(
    directory: _Directory,
    company: Annotated[str, typer.Argument(help="The company's name.")],
    key: Annotated[str, typer.Argument(help="Its enrolled signing key, 64 hex digits.")],
) -> dict[str, Any]:
    """Answer a company's requests from now on; said again with a new key, the old one counts no more."""
    from noren_audit.custodian.custodian import admit
    from noren_core.errors import ConfigurationError

    try:
        raw = bytes.fromhex(key)
    except ValueError as error:
        raise ConfigurationError("key: expected 64 hex digits, got another text") from error
    admit(directory, company, raw)
    return {"company": company, "state": "admitted"}


def _serve(
    directory: _Directory,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 0,
    tls_certificate: Annotated[Path | None, typer.Option(help="PEM, with --tls-key: serve https.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM.")] = None,
) -> dict[str, Any]:
    """Answer companies' requests until interrupted; the address is told on stderr."""
    from noren_audit.bounded_server import Listening
    from noren_audit.custodian.custodian_server import serve

    listening = Listening(host, port, tls_certificate, tls_key)
    serve(directory, listening, announce=lambda url: print(f"custodian: {url}", file=sys.stderr, flush=True))
    return {"state": "stopped"}
