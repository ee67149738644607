"""`noren-audit service`: sign that the service stops, or that it may run again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

Result = dict[str, Any]
_Out = Annotated[Path, typer.Argument(help="Where to write the signed request.", dir_okay=False)]
_Key = Annotated[Path, typer.Option(help="Your key: noren-audit key init.")]
_Scope = Annotated[str, typer.Option(help="global, company or campaign.")]
_Name = Annotated[str, typer.Option(help="Of the company or campaign.")]
_Reason = Annotated[str, typer.Option(help="A word in capitals, for the ledger; no names.")]


def service_commands() -> typer.Typer:
    """The group `service`."""
    app = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help="Sign that the service stops, or that it may run again; the operator hands it to the platform.",
    )
    app.command()(suspend)
    app.command()(resume)
    return app


def suspend(
    out: _Out, key: _Key, scope: _Scope = "global", name: _Name = "", reason: _Reason = "AUDITOR"
) -> Result:
    """Sign that processing stops; valid for 10 minutes at `noren-platform service suspend --request`."""
    return _write(out, key, scope, name, "suspended", reason)


def resume(
    out: _Out,
    key: _Key,
    scope: _Scope = "global",
    name: _Name = "",
    reason: _Reason = "AUDITOR_AGREES",
    report: Annotated[
        list[Path] | None,
        typer.Option(help="A coverage report to check first; repeatable.", exists=True, dir_okay=False),
    ] = None,
) -> Result:
    """Sign that processing may go on; valid for 10 minutes at `noren-platform service resume`.

    With --report nothing is signed unless every one of them adds up and is clear (exit 7 if one blocks).
    """
    from noren_audit.service.state_request import verify_reports_clear

    checked = verify_reports_clear(report or [])
    return {**_write(out, key, scope, name, "running", reason), "reports": list(checked)}


def _write(out: Path, key: Path, scope: str, name: str, state: str, reason: str) -> Result:
    from noren_audit.replay import auditor_key
    from noren_audit.service.state_request import VALID_SECONDS, signed_request
    from noren_audit.witness.durable_file import write_result
    from noren_core.ledger.entries import ServiceStatus

    now = int(time.time())
    request = signed_request(
        scope=scope, name=name, state=ServiceStatus(state), reason=reason, at=now, key=auditor_key.load(key)
    )
    write_result(out, request)
    return {
        "scope": scope,
        "name": name,
        "state": state,
        "file": str(out),
        "valid_until": now + VALID_SECONDS,
    }
