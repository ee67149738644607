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
SuspensionWord = Annotated[
    str,
    typer.Option(
        help="OPERATOR, INCIDENT, CONSENT_DEFECT, UNKNOWN_SCREEN, COMPANY_REQUEST, AUTHORITY_REQUEST, DRILL."
    ),
]

_LATE_EXIT_CODE = 9


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
    reason: SuspensionWord = "OPERATOR",
    request: Annotated[
        Path | None, typer.Option(help="An auditor's or company's signed request, in place of our own.")
    ] = None,
) -> Result:
    """Stop processing at once; rights go on."""
    from noren_server.consents.opening import unix_now
    from noren_server.platform_files import Platform
    from noren_server.rights import service_changes

    desk = _desk(context)
    if request:
        change = desk.suspend(request.read_bytes())
    else:
        change = service_changes.suspend(
            Platform(context.obj),
            desk,
            scope=service_changes.parse_scope(scope),
            name=name,
            reason=service_changes.parse_reason(reason),
            at=unix_now(),
        )
    return {"scope": change.scope.value, "name": change.name, "state": change.state.value}


@service_app.command("drill")
def drill(context: typer.Context, scope: Scope = "global", name: Name = "") -> Result:
    """Suspend for a drill and measure after how long other readers refuse; exit 9 after more than a minute.

    It is a real suspension: it resumes as any other does.
    """
    from noren_server.platform_files import Platform
    from noren_server.rights import service_changes

    done = service_changes.drill(Platform(context.obj), scope=service_changes.parse_scope(scope), name=name)
    return {
        "exit_code": 0 if done.is_in_time else _LATE_EXIT_CODE,
        "scope": done.scope.value,
        "name": done.name,
        "milliseconds": done.milliseconds,
    }


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

    request = _own_request(context, "winding-down", reason)
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

    request = _own_request(context, "abolished", reason)
    report: Result = abolition.finish(
        Platform(context.obj), _desk(context), request, window_seconds=window_days * 86_400
    )
    return report


def _desk(context: typer.Context) -> Any:
    from noren_server.platform_files import Platform
    from noren_server.rights.service_states import service_desk

    return service_desk(Platform(context.obj))


def _own_request(context: typer.Context, state: str, reason: str) -> bytes:
    """The operator's own wish about the whole service."""
    from noren_core.ledger.entries import ServiceScope, ServiceStatus
    from noren_server.consents.opening import unix_now
    from noren_server.platform_files import Platform
    from noren_server.rights.service_changes import own_request

    return own_request(
        Platform(context.obj),
        scope=ServiceScope.GLOBAL,
        name="",
        state=ServiceStatus(state),
        reason=reason,
        at=unix_now(),
    )
