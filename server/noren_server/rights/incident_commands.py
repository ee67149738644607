"""`noren-platform incident`: from detecting to closing, with notices to exactly those affected."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

incident_app = typer.Typer(no_args_is_help=True, help="Handle incidents; tell exactly those affected.")

Result = dict[str, Any]


@incident_app.command("detect")
def detect(
    context: typer.Context,
    incident: Annotated[str, typer.Argument(help="A new name (a-z, 0-9, hyphens).")],
    kind: Annotated[str, typer.Option(help="A class of docs/rights/service-states.md.")],
    company: Annotated[str, typer.Option(help="Only what was provided to this company.")] = "",
    purpose: Annotated[str, typer.Option(help="Only what was provided for this purpose.")] = "",
    since: Annotated[int, typer.Option(help="Unix seconds.")] = 0,
    until: Annotated[int, typer.Option(help="Unix seconds.")] = 1 << 40,
) -> Result:
    """Begin an incident about a set of provisions."""
    from noren_core.errors import ConfigurationError
    from noren_core.rights.service.incident import IncidentClass
    from noren_server.rights.incidents import AffectedScope

    if kind not in set(IncidentClass):
        raise ConfigurationError(f"kind: expected one of {', '.join(IncidentClass)}; got another word")
    with _desk(context) as desk:
        desk.detect(incident, IncidentClass(kind), AffectedScope(company, purpose, since, until))
        report: Result = desk.report(incident)
    return report


@incident_app.command("advance")
def advance(
    context: typer.Context,
    incident: str,
    state: Annotated[str, typer.Argument(help="contained, assessed, notified or closed.")],
) -> Result:
    """Take the next step; `notified` writes the notices."""
    from noren_core.errors import ConfigurationError
    from noren_core.ledger.entries import IncidentState

    if state not in set(IncidentState):
        raise ConfigurationError("state: expected contained, assessed, notified or closed")
    with _desk(context) as desk:
        desk.advance(incident, IncidentState(state))
        report: Result = desk.report(incident)
    return report


@incident_app.command("report")
def report(context: typer.Context, incident: str) -> Result:
    """The draft of the report to the authority."""
    with _desk(context) as desk:
        found: Result = desk.report(incident)
    return found


@contextmanager
def _desk(context: typer.Context) -> Iterator[Any]:
    from noren_server.consents.opening import unix_now
    from noren_server.platform_files import Platform
    from noren_server.rights.incidents import incident_desk

    with incident_desk(Platform(context.obj), clock=unix_now) as desk:
        yield desk
