"""The key of a student's device: made, taken along, replaced; and an offer acknowledged with it.

Promises: the site sees public keys and signed events alone; a first key, or one in place of a lost one, is
registered only within minutes of coming in from the job site, which found out who she is.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from noren_core.errors import DataError
from noren_core.rights.consent.consent_event import MAX_EVENT_BYTES, KeyRegistered, parse_event
from noren_core.rights.purposes import Purpose
from noren_server.rights.link_offers import verify_subject
from noren_server.student_pages.student_desk import STUDENT, desk_of, signed_in
from noren_web.access import FRESH_SECONDS, allow
from noren_web.pages import page, redirect
from noren_web.posted_form import Posted
from noren_web.translations import lazy as _

_TO_NOTE_IT = 120
"""How many seconds are left at least for noting a new key down before it is registered."""

router = APIRouter()


@router.get("/keys", dependencies=[allow(STUDENT)])
def keys(request: Request) -> Response:
    """Which key is registered, and what can be done about it in this browser."""
    student, desk = signed_in(request), desk_of(request)
    book = desk.services.consents.book
    known = [item.signed.event for item in book.student_events(student)]
    registered = [event for event in known if isinstance(event, KeyRegistered)]
    return page(
        request,
        "student/keys.html",
        student=student,
        key=(book.student_key(student) or b"").hex(),
        since=registered[-1].time if registered else 0,
        is_fresh=desk.services.clock() - request.state.session.signed_in_at < FRESH_SECONDS - _TO_NOTE_IT,
        asked=request.state.session.data.get("asked"),
    )


@router.post("/keys/register", dependencies=[allow(STUDENT, fresh=True)])
def register(request: Request, form: Posted) -> Response:
    """Take the registration that the new key signed.

    Raises:
        LocalProtocolError: with code LINK_NOT_BY_SUBJECT, if it is another account's.
        VerificationError: if it does not name the key of before, or is not signed.
    """
    student, desk = signed_in(request), desk_of(request)
    signed, now = parse_event(form.text("event", most=MAX_EVENT_BYTES).encode()), desk.services.clock()
    verify_subject(student, signed.event.student)
    if not isinstance(signed.event, KeyRegistered):
        raise DataError("keys: expected the registration of a key, got another event")
    if signed.event.reauthenticated:
        desk.services.consents.accept_new_key(signed, now=now)
    else:
        desk.services.consents.book.record(signed, now=now)
    path = "/consent" if request.state.session.data.get("asked") else "/keys"
    return redirect(request, path, notice=_("The key of this device is registered."))


@router.get("/offers", dependencies=[allow(STUDENT)])
def offers(request: Request) -> Response:
    """The offers that an estimate may be made for once she says that she knows of them."""
    student, desk = signed_in(request), desk_of(request)
    book = desk.services.consents.book
    scored = [
        stored.record.key
        for stored in desk.records(student)
        if stored.record.is_live and stored.record.key.purpose is Purpose.SCORE
    ]
    rows = []
    for key in sorted({(key.company, key.position, key.season) for key in scored}):
        company, position, season = key
        called = desk.called(company, position)
        is_known = (student, position) in book.acknowledged(company, season)
        rows.append({"place": key, "company": called[0], "position": called[1], "is_known": is_known})
    return page(
        request,
        "student/offers.html",
        rows=rows,
        student=student,
        key=(book.student_key(student) or b"").hex(),
    )


@router.post("/offers/acknowledged", dependencies=[allow(STUDENT)])
def acknowledge(request: Request, form: Posted) -> Response:
    """Take her signed word that a company told her of its offer."""
    student, desk = signed_in(request), desk_of(request)
    event = form.text("event", most=MAX_EVENT_BYTES, default="")
    if not event:
        return page(request, "student/needs_script.html")
    desk.send(student, desk.operations.acknowledge_offer, event.encode())
    return redirect(request, "/offers", notice=_("Recorded: you know of this offer."))
