"""Notices: incidents that affect her, changes of the policy that ended a consent, keys that were replaced."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from noren_core.rights.consent.consent_event import KeyRegistered
from noren_core.rights.consent.consent_record import ConsentState
from noren_server.student_pages.purpose_words import PURPOSES
from noren_server.student_pages.student_desk import STUDENT, desk_of, signed_in
from noren_web import translations
from noren_web.access import allow
from noren_web.pages import page
from noren_web.translations import Text
from noren_web.translations import lazy as _

_ENDED: dict[ConsentState, Text] = {
    ConsentState.SUPERSEDED: _(
        "The policy changed in a way that matters for you. Your consent for {company} ({purpose}) ended; it "
        "counts again only if you agree to the new text."
    ),
    ConsentState.EXPIRED: _("Your consent for {company} ({purpose}) has run out."),
    ConsentState.INVALIDATED: _(
        "A defect was found in how you were asked. Your consent for {company} ({purpose}) does not count."
    ),
    ConsentState.REVOKED: _("The site ended your consent for {company} ({purpose})."),
}

router = APIRouter()


@router.get("/notices", dependencies=[allow(STUDENT)])
def notices(request: Request) -> Response:
    """All of them, newest first."""
    student, desk = signed_in(request), desk_of(request)
    found: list[dict[str, Any]] = [
        {"at": item["at"], "kind": _("Incident"), "tone": "bad", "text": item["text"]}
        for item in desk.services.incidents(student, translations.locale())
    ]
    for stored in desk.records(student):
        record = stored.record
        state = record.overruled or record.state
        if state in _ENDED:
            company, _position = desk.called(record.key.company, record.key.position)
            text = _ENDED[state].format(company=company, purpose=PURPOSES[record.key.purpose])
            found.append({"at": record.last_time, "kind": _("A consent ended"), "tone": "warn", "text": text})
    for logged in desk.services.consents.book.student_events(student):
        event = logged.signed.event
        if isinstance(event, KeyRegistered) and event.reauthenticated:
            text = _(
                "A new key was registered for your account in place of a lost one. If that was not you, ask "
                "us at once."
            )
            found.append({"at": event.time, "kind": _("Key replaced"), "tone": "warn", "text": text})
    return page(
        request, "student/notices.html", rows=sorted(found, key=lambda item: int(item["at"]), reverse=True)
    )
