"""`noren-platform service`: suspend, resume and end the service, and see in which state it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

service_app = typer.Typer(no_args_is_help=True, help="Suspend, resume and end the service.")

Result = dict[str, Any]
Scope = Annotated[str, typer.Option(help="global, company or campaign.")]
Name = Annotated[str, typer.Option(help="Of the company or campaign.")]
Reason = Annotated[str, typer.Option(help="A code in capitals; no names.")]


@service_app.command("status")
def status(context: typer.Context) -> Result:
    """Every scope that is not running."""
    from noren_core.ledger.entries import ServiceStatus

    states = _desk(context).states()
    stopped = {
        f"{scope.value}:{name}" if name else scope.value: state.value
        for (scope, name), state in states.items()
        if state is not ServiceStatus.RUNNING
    }
    return {"stopped": stopped}


@service_app.command("suspend")
def suspend(
    context: typer.Context,
    scope: Scope = "global",
    name: Name = "",
    reason: Reason = "OPERATOR",
    request: Annotated[
        Path | None, typer.Option(help="An auditor's or company's signed request, in place of our own.")
    ] = None,
) -> Result:
    """Stop processing at once; rights go on."""
    data = request.read_bytes() if request else _own_request(context, scope, name, "suspended", reason)
    change = _desk(context).suspend(data)
    return {"scope": change.scope.value, "name": change.name, "state": change.state.value}


@service_app.command("resume")
def resume(
    context: typer.Context,
    request: Annotated[Path, typer.Argument(help="An auditor's signed request (noren-audit service).")],
) -> Result:
    """Run again, if coverage is fresh and clear and an auditor says so."""
    change = _desk(context).resume(request.read_bytes())
    return {"scope": change.scope.value, "name": change.name, "state": change.state.value}


@service_app.command("wind-down")
def wind_down(context: typer.Context, reason: Reason = "ABOLITION") -> Result:
    """Begin the end: no processing any more, erasure orders to every company, disclosure stays open."""
    from noren_server.platform_files import Platform
    from noren_server.rights import abolition

    request = _own_request(context, "global", "", "winding-down", reason)
    plans = abolition.begin(Platform(context.obj), _desk(context), request)
    return {"state": "winding-down", "ordered": [plan.campaign for plan in plans]}


@service_app.command("abolish")
def abolish(
    context: typer.Context,
    reason: Reason = "ABOLITION",
    window_days: Annotated[
        int, typer.Option(min=0, help="How long disclosure stays open after winding down.")
    ] = 30,
) -> Result:
    """End the service for good, once nobody is owed anything; writes the closing report."""
    from noren_server.platform_files import Platform
    from noren_server.rights import abolition

    request = _own_request(context, "global", "", "abolished", reason)
    report: Result = abolition.finish(
        Platform(context.obj), _desk(context), request, window_seconds=window_days * 86_400
    )
    return report


def _desk(context: typer.Context) -> Any:
    from noren_server.platform_files import Platform
    from noren_server.rights.service_states import service_desk

    return service_desk(Platform(context.obj))


def _own_request(context: typer.Context, scope: str, name: str, state: str, reason: str) -> bytes:
    """The operator's own wish, signed with the platform's key."""
    import time

    from noren_core.errors import ConfigurationError
    from noren_core.ledger.entries import ServiceScope, ServiceStatus
    from noren_core.rights.service.service_state import sign_request
    from noren_server.platform_files import Platform

    if scope not in set(ServiceScope):
        raise ConfigurationError("scope: expected global, company or campaign, got another word")
    return sign_request(
        scope=ServiceScope(scope),
        name=name,
        state=ServiceStatus(state),
        reason=reason,
        at=int(time.time()),
        key=Platform(context.obj).signing_key,
    )
