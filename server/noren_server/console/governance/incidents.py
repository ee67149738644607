"""Incidents: from detecting to closing, with the two clocks towards the authority, and who was told.

How many are affected is exact, since the authority is told exactly; who they are is on no page.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request, Response

from noren_core import canonical_json
from noren_core.errors import DataError
from noren_core.ledger.entries import IncidentState
from noren_core.rights import fields
from noren_core.rights.fields import MAX_SECONDS
from noren_core.rights.purposes import Purpose
from noren_core.rights.service.incident import IncidentClass, report_deadlines
from noren_server.console.desk import about, desk_of
from noren_server.console.governance import words
from noren_server.console.governance.who_may import OVERSEERS, PRIVACY_OFFICER
from noren_server.rights.incidents import AffectedScope, Incident, incident_desk
from noren_web.access import allow
from noren_web.pages import download, page, redirect
from noren_web.posted_form import Posted, PostedForm
from noren_web.translations import lazy as _

router = APIRouter()

_NEXT = {
    IncidentState.DETECTED: (IncidentState.CONTAINED, _("It is contained: nothing more can happen")),
    IncidentState.CONTAINED: (IncidentState.ASSESSED, _("It is assessed: what happened and whom it affects")),
    IncidentState.ASSESSED: (IncidentState.NOTIFIED, _("Tell everybody affected now")),
    IncidentState.NOTIFIED: (IncidentState.CLOSED, _("Close it")),
}


@router.get("/incidents", dependencies=[allow(*OVERSEERS)])
def incidents(request: Request) -> Response:
    """Every incident, and a form to begin one."""
    desk = desk_of(request)
    now = desk.clock()
    with incident_desk(desk.platform, clock=desk.clock) as found:
        listed = [_listed(item, now) for item in found.incidents()]
    return page(
        request,
        "incidents/incidents.html",
        incidents=listed,
        classes=[(item.value, words.INCIDENT_CLASSES[item]) for item in IncidentClass],
        purposes=[("", _("every purpose")), *((item.value, words.PURPOSES[item]) for item in Purpose)],
    )


@router.post("/incidents/detect", dependencies=[allow(PRIVACY_OFFICER)])
def detect(request: Request, form: Posted) -> Response:
    """Begin an incident about a set of provisions; its clocks begin now."""
    name = form.text("incident", most=64)
    about(request, "incident", fields.name(name))
    kind = fields.word_of(IncidentClass)(form.text("kind", most=64))
    scope = AffectedScope(
        form.text("company", most=64, default=""),
        form.text("purpose", most=64, default=""),
        _seconds(form, "since", 0),
        _seconds(form, "until", MAX_SECONDS),
    )
    desk = desk_of(request)
    with incident_desk(desk.platform, clock=desk.clock) as found:
        found.detect(name, kind, scope)
    return redirect(
        request, f"/incidents/{name}", notice=_("The incident has begun, and so have its clocks.")
    )


@router.get("/incidents/{incident}", dependencies=[allow(*OVERSEERS)])
def incident(request: Request, incident: str) -> Response:
    """One incident: how far it is, its clocks, how many are affected and told."""
    desk = desk_of(request)
    with incident_desk(desk.platform, clock=desk.clock) as found:
        known, report = found.incident(incident), found.report(incident)
    following = _NEXT.get(known.state)
    return page(
        request,
        "incidents/incident.html",
        known=known,
        listed=_listed(known, desk.clock()),
        report=report,
        kind=words.INCIDENT_CLASSES[known.kind],
        purpose=words.PURPOSES[Purpose(known.scope.purpose)] if known.scope.purpose else "",
        has_end=known.scope.until != MAX_SECONDS,
        steps=[words.INCIDENT_STATES[state] for state in IncidentState],
        place=list(IncidentState).index(known.state),
        following=None if following is None else (following[0].value, following[1]),
        may_tell_again=known.state is IncidentState.NOTIFIED,
    )


@router.post("/incidents/{incident}/advance", dependencies=[allow(PRIVACY_OFFICER)])
def advance(request: Request, incident: str, form: Posted) -> Response:
    """Take the next step."""
    about(request, "incident", fields.name(incident))
    state = fields.word_of(IncidentState)(form.text("state", most=32))
    desk = desk_of(request)
    with incident_desk(desk.platform, clock=desk.clock) as found:
        known = found.advance(incident, state)
    return redirect(
        request,
        f"/incidents/{incident}",
        notice=_("The incident is: {state}.").format(state=words.INCIDENT_STATES[known.state]),
    )


@router.get("/incidents/{incident}/report.json", dependencies=[allow(PRIVACY_OFFICER)])
def report(request: Request, incident: str) -> Response:
    """The draft of the report to the authority."""
    desk = desk_of(request)
    with incident_desk(desk.platform, clock=desk.clock) as found:
        body = found.report(incident)
    return download(canonical_json.encode(body), name="incident.json", media_type="application/json")


def _listed(item: Incident, now: int) -> dict[str, Any]:
    deadlines = report_deadlines(item.detected_at)
    is_open = item.state is not IncidentState.CLOSED
    return {
        "incident": item.incident,
        "kind": words.INCIDENT_CLASSES[item.kind],
        "state": words.INCIDENT_STATES[item.state],
        "detected_at": item.detected_at,
        "is_open": is_open,
        "prompt_due": deadlines.prompt,
        "full_due": deadlines.full,
        "prompt": words.remaining(deadlines.prompt, now=now),
        "full": words.remaining(deadlines.full, now=now),
    }


def _seconds(form: PostedForm, name: str, otherwise: int) -> int:
    """A date and time of a form, UTC, as Unix seconds; `otherwise` if it was left empty."""
    text = form.text(name, most=32, default="")
    if not text:
        return otherwise
    try:
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
    except ValueError as error:
        raise DataError(f"form: expected a date and time in {name}, got another text") from error
