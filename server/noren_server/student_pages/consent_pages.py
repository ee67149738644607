"""Being asked for consent by one named company, at the moment at which it matters.

Promises: the question is the policy's own screen, with the text that is hashed and verified
(`NoticeDesk.show`); a consent is taken only as an event that the student's own key signed on that very
screen; a no, and "later", need no key and no script and take one press of a button that looks like the
other. Nothing here gives a consent for anybody.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fastapi import APIRouter, Request, Response

from noren_core.errors import DataError, LocalProtocolError
from noren_core.ids import IdentifierKind, normalise_identifier
from noren_core.rights.consent.consent_event import (
    MAX_EVENT_BYTES,
    ConsentEvent,
    EventKind,
    parse_event,
)
from noren_core.rights.consent.consent_record import ConsentRecord, ConsentState
from noren_core.rights.notices.screen import Choice
from noren_core.rights.purposes import Purpose
from noren_server.policies.consent_screen import STYLESHEET_PATH, stylesheet
from noren_server.rights.notices import Shown
from noren_server.student_pages.entry_pages import Asked
from noren_server.student_pages.purpose_words import PURPOSES, STATES
from noren_server.student_pages.student_desk import STUDENT, StudentDesk, desk_of, signed_in
from noren_web import translations
from noren_web.access import allow
from noren_web.pages import page, redirect
from noren_web.posted_form import Posted
from noren_web.translations import lazy as _

_DAY = 86_400
_NEEDS_ADDRESS = frozenset({Purpose.TRAIN, Purpose.SCORE})
_UNANSWERED = frozenset({ConsentState.SHOWN, ConsentState.REQUESTED})
_IDENTIFIER_CHARACTERS = 256

router = APIRouter()


@dataclass(frozen=True, slots=True)
class _Showing:
    """A screen that this session is being shown, and how the company is to find her."""

    asked: Asked
    shown: Shown = field(repr=False)

    def record_of(self, purpose: str) -> ConsentRecord:
        """The record of one of its questions."""
        for record in self.shown.records:
            if record.key.purpose.value == purpose:
                return record
        raise DataError("consent: expected a purpose of the screen, got another")


@router.get(STYLESHEET_PATH, dependencies=[allow(public=True)])
def screen_styles() -> Response:
    """The style sheet of consent screens."""
    return Response(stylesheet(), media_type="text/css; charset=utf-8")


@router.get("/consent", dependencies=[allow(STUDENT)])
def question(request: Request) -> Response:
    """Which company asks, what comes next, and by what it finds her."""
    student, desk = signed_in(request), desk_of(request)
    asked: Asked | None = request.state.session.data.get("asked")
    if asked is None:
        return page(request, "student/nothing_asked.html")
    routes = desk.services.notices.routes(asked.season)
    route = asked.route or next((name for name in routes if Purpose.SCORE in routes[name]), "")
    purposes = routes.get(route, ())
    company, position = desk.called(asked.company, asked.position)
    return page(
        request,
        "student/question.html",
        company=company,
        position=position,
        season=asked.season,
        route=route,
        purposes=[PURPOSES[purpose] for purpose in purposes],
        needs_address=bool(_NEEDS_ADDRESS & set(purposes)),
        found_by=request.state.session.data.get("found_by", ("", "")),
        key=_key(desk, student),
        running=desk.services.is_running(asked.company),
    )


@router.post("/consent/start", dependencies=[allow(STUDENT)])
def start(request: Request, form: Posted) -> Response:
    """By what the company finds her; then the screen."""
    signed_in(request)
    asked = _asked(request)
    route = form.text("route", most=64)
    purposes = desk_of(request).services.notices.routes(asked.season).get(route)
    if purposes is None:
        raise LocalProtocolError("notice: expected a screen of the policy in force", code="NOT_AVAILABLE")
    if _NEEDS_ADDRESS & set(purposes):
        kind = form.text("identifier_kind", most=16)
        if kind not in list(IdentifierKind):
            raise DataError("identifier: expected a consent code or an e-mail address")
        identifier = form.text("identifier", most=_IDENTIFIER_CHARACTERS)
        normalise_identifier(IdentifierKind(kind), identifier, asked.position)
        request.state.session.data["found_by"] = (kind, identifier)
    request.state.session.data["asked"] = Asked(asked.company, asked.position, asked.season, route)
    return redirect(request, "/consent/screen")


@router.get("/consent/screen", dependencies=[allow(STUDENT)])
def screen(request: Request) -> Response:
    """The screen itself: shown anew, or the one that was shown, as long as a question of it is open."""
    student, desk = signed_in(request), desk_of(request)
    asked, session = _asked(request), request.state.session
    showing: _Showing | None = session.data.get("showing")
    if showing is None or not _goes_on(desk, showing, asked):
        shown = desk.services.notices.show(
            student,
            company=asked.company,
            position=asked.position,
            season=asked.season,
            route=asked.route,
            locale=translations.locale(),
        )
        showing = session.data["showing"] = _Showing(asked, shown)
    return Response(
        showing.shown.to_sign_on(_fields(desk, student, showing, session.csrf, _found_by(request))),
        media_type="text/html; charset=utf-8",
    )


@router.post("/consent/answer", dependencies=[allow(STUDENT)])
def answer(request: Request, form: Posted) -> Response:
    """Take an answer to one question of the screen that is shown.

    1. It is a question of it.
    2. A yes is the event that her key signed, about this very record; without one nothing is recorded.
    3. A no to what she agreed to is a withdrawal.
    """
    student, desk = signed_in(request), desk_of(request)
    showing: _Showing | None = request.state.session.data.get("showing")
    if showing is None:
        return redirect(request, "/consent")
    record = showing.record_of(form.text("purpose", most=64))  # 1
    choice = form.text("action", most=16)
    if choice not in list(Choice):
        raise DataError("consent: expected one of the three answers, got another")
    if choice == Choice.GIVE:  # 2
        event = form.text("event", most=MAX_EVENT_BYTES, default="")
        if not event:
            return page(request, "student/needs_script.html")
        stored = desk.services.consents.book.stored(record.record)
        if stored is not None and stored.record.is_over:  # she changes her mind: that is a new question
            del request.state.session.data["showing"]
            return redirect(request, "/consent", notice=_("You had answered this. Please look at it again."))
        _verify_about(event, record)
        desk.send(student, desk.operations.add_event, event.encode())
    else:
        now_record = desk.services.consents.book.stored(record.record)
        is_live = now_record is not None and now_record.record.is_live
        if choice == Choice.LATER:
            kind = EventKind.DEFERRED
        else:
            kind = EventKind.WITHDRAWN if is_live else EventKind.REFUSED  # 3
        desk.services.consents.say_no(student, kind, [record.record], now=desk.services.clock())
    return redirect(request, "/consent/answers", notice=_("Your answer is recorded."))


@router.get("/consent/answers", dependencies=[allow(STUDENT)])
def answers(request: Request) -> Response:
    """What was recorded, and what is still open."""
    signed_in(request)
    desk = desk_of(request)
    showing: _Showing | None = request.state.session.data.get("showing")
    if showing is None:
        return redirect(request, "/consent")
    company, position = desk.called(showing.asked.company, showing.asked.position)
    records = _now(desk, showing)
    is_open = any(record.state in _UNANSWERED for record in records)
    if not is_open:
        request.state.session.data.pop("asked", None)
    return page(
        request,
        "student/answers.html",
        company=company,
        position=position,
        records=[
            (PURPOSES[record.key.purpose], *STATES[record.overruled or record.state], record.record.hex())
            for record in records
        ],
        is_open=is_open,
        is_given=any(record.is_live for record in records),
    )


@router.get("/consent/different", dependencies=[allow(STUDENT)])
def different(request: Request) -> Response:
    """The browser showed another text than the site sent, so nothing was signed."""
    signed_in(request)
    return page(request, "student/different.html")


@router.get("/consent/no-key", dependencies=[allow(STUDENT)])
def no_key(request: Request) -> Response:
    """There is no key in this browser, so nothing was signed."""
    student = signed_in(request)
    return page(request, "student/no_key.html", key=_key(desk_of(request), student))


def _asked(request: Request) -> Asked:
    asked: Asked | None = request.state.session.data.get("asked")
    if asked is None:
        raise LocalProtocolError("consent: expected a question that was asked", code="NOT_AVAILABLE")
    return asked


def _found_by(request: Request) -> tuple[str, str]:
    found: tuple[str, str] = request.state.session.data.get("found_by", ("", ""))
    return found


def _key(desk: StudentDesk, student: str) -> str:
    return (desk.services.consents.book.student_key(student) or b"").hex()


def _now(desk: StudentDesk, showing: _Showing) -> list[ConsentRecord]:
    """The records of a screen as they are by now."""
    book = desk.services.consents.book
    stored = [book.stored(record.record) for record in showing.shown.records]
    return [item.record for item in stored if item is not None]


def _goes_on(desk: StudentDesk, showing: _Showing, asked: Asked) -> bool:
    """Whether it is the same screen, in the same language, with a question that nobody answered yet."""
    states = {record.state for record in _now(desk, showing)}
    return (
        showing.asked == asked
        and showing.shown.locale is translations.locale()
        and bool(states & _UNANSWERED)
        and ConsentState.DEFERRED not in states
    )


def _fields(
    desk: StudentDesk, student: str, showing: _Showing, csrf: str, found_by: tuple[str, str]
) -> dict[Purpose, dict[str, str]]:
    """The hidden fields of each form: what the script signs, and what comes back."""
    now, shown = desk.services.clock(), showing.shown
    fields = {}
    for record in shown.records:
        key, days = record.key, shown.policy.terms[record.key.purpose].retention_days
        stored = desk.services.consents.book.stored(record.record)
        is_live = stored is not None and stored.record.is_live
        found = {
            "csrf": csrf,
            "event": "",
            "kind": (EventKind.RENEWED if is_live else EventKind.GIVEN).value,
            "key": _key(desk, student),
            "student": student,
            "company": key.company,
            "position": key.position,
            "season": key.season,
            "policy": key.policy,
            "record": record.record.hex(),
            "screen": shown.screen.sha256,
            "shown_at": str(record.last_time),
            "expires_at": str(now + days * _DAY),
        }
        if key.purpose in _NEEDS_ADDRESS:
            found |= {"identifier_kind": found_by[0], "identifier": found_by[1]}
        fields[key.purpose] = found
    return fields


def _verify_about(event: str, record: ConsentRecord) -> None:
    """Raise DataError unless the event gives, or renews, exactly the consent that was asked for."""
    said = parse_event(event.encode()).event
    if (
        not isinstance(said, ConsentEvent)
        or said.kind not in (EventKind.GIVEN, EventKind.RENEWED)
        or (said.key, said.record) != (record.key, record.record)
    ):
        raise DataError("consent: expected an answer to the question that was shown, got another")
