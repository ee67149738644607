"""Follow-up: one student at a time, chosen from the company's own list, never by what a band says.

Promises: the list is the company's file in the file's order and shows nothing of a score, also not whether
there is one; a look is one posted form, one person and one line of the access log, and what may be seen is
decided by `gate.viewing` alone; who has nothing to be shown looks the same whatever the reason. There is no
order, filter, comparison or file of bands. An applicant is named in a form by a handle that this process
alone can make; no address has anything of her.
"""

from __future__ import annotations

import hashlib
import hmac

from fastapi import APIRouter, Request, Response

from noren_client import alignment, campaign_files
from noren_client.applicants import Applicant, applicants_for, offerees
from noren_client.gate import followup_actions, viewing
from noren_client.gate.staff import Authorised
from noren_client.gate.viewing import Subject, View
from noren_client.web.desk import Desk, authorised, desk_of, may
from noren_core.errors import DataError, LocalProtocolError
from noren_core.ids import IdentifierKind, parse_name
from noren_core.rights.gate.conditions import GateNotOpenError, GateReason
from noren_core.rights.gate.followup import FollowUpKind, FollowUpState, parse_follow_up
from noren_core.rights.gate.roles import Action
from noren_web.pages import page, redirect
from noren_web.posted_form import Posted, PostedForm
from noren_web.translations import Text, locale
from noren_web.translations import lazy as _

PAGE_SIZE = 50
MAX_FIRST = 1_000_000
HANDLE_BYTES = 16

KIND_WORDS: dict[FollowUpKind, Text] = {
    FollowUpKind.MENTOR_CONTACT: _("A mentor gets in touch"),
    FollowUpKind.INFORMATION: _("Send information that she may miss"),
    FollowUpKind.VISIT: _("Invite her to a visit"),
    FollowUpKind.QUESTION_TIME: _("Offer a time for questions"),
    FollowUpKind.SCHEDULE_HELP: _("Help with dates"),
}
STATE_WORDS: dict[FollowUpState, Text] = {
    FollowUpState.PLANNED: _("Planned"),
    FollowUpState.DONE: _("Was done"),
    FollowUpState.CANCELLED: _("Cancelled"),
}
REASON_WORDS: dict[GateReason, Text] = {
    GateReason.DECISION_NOT_SEALED: _("The decision about her is not sealed."),
    GateReason.BATCH_LIMIT: _("The plan allows no further batch."),
    GateReason.APPLICANT_NOT_OFFERED: _("No offer to her stands."),
    GateReason.DECISION_NOT_NOTIFIED: _("The offer was not notified to her."),
    GateReason.BATCH_HAS_UNRESOLVED: _("Some applications for this position are on hold."),
    GateReason.OPEN_EVALUATION_EXISTS: _("She applied for another position that is not sealed."),
    GateReason.SEPARATION_OF_DUTIES: _("You decided about this position."),
    GateReason.AGREEMENT_NOT_ACTIVE: _("This company's agreement is not active."),
    GateReason.COVERAGE_NOT_CLEAR: _("Coverage of the consent pages is not clear."),
    GateReason.SERVICE_SUSPENDED: _("The service is suspended."),
    GateReason.COOLING: _("The decisions are still cooling."),
    GateReason.NOT_AVAILABLE: _("There is nothing to show."),
}
NOT_FOR_WORDS: tuple[Text, ...] = (
    _("deciding about an offer, or taking it back"),
    _("comparing or ranking people"),
    _("pay or place of work"),
    _("anybody but the people who look after this student"),
)
"""`viewing.NOT_FOR`, in the reader's language."""

router = APIRouter()


@router.get("/follow-up", dependencies=[may(Action.VIEW_SCORE)])
def positions(request: Request) -> Response:
    """The positions whose students she looks after."""
    desk = desk_of(request)
    campaigns = [(name, _positions(request, name)) for name in desk.campaigns()]
    return page(request, "follow_up/positions.html", campaigns=campaigns)


@router.get("/follow-up/{campaign}/{position}", dependencies=[may(Action.VIEW_SCORE)])
def people(request: Request, campaign: str, position: str, first: int = 0) -> Response:
    """Who was offered a place and has not answered, in the order of the company's file, a page at a time."""
    desk = desk_of(request)
    _viewer(request, campaign, position, Action.VIEW_SCORE)
    everybody = _offered(desk, campaign, position)
    first = min(max(first, 0), MAX_FIRST) // PAGE_SIZE * PAGE_SIZE
    shown = everybody[first : first + PAGE_SIZE]
    return page(
        request,
        "follow_up/people.html",
        campaign=campaign,
        position=position,
        people=[(_handle(desk, person), person.identifier) for person in shown],
        heads=_heads(desk, campaign),
        earlier=first - PAGE_SIZE if first else None,
        later=first + PAGE_SIZE if first + PAGE_SIZE < len(everybody) else None,
    )


@router.post("/follow-up/{campaign}/{position}", dependencies=[may(Action.VIEW_SCORE)])
def look(request: Request, campaign: str, position: str, form: Posted) -> Response:
    """One student's band, with reasons and uncertainty, and what is planned for her."""
    desk = desk_of(request)
    viewer = _viewer(request, campaign, position, Action.VIEW_SCORE)
    person = _chosen(desk, campaign, position, form)
    asked = viewing.Request(campaign, _head(desk, campaign, form), _subject(person), viewer)
    try:
        found, record = viewing.open_record(desk.directory, asked, Action.VIEW_SCORE, clock=desk.clock)
    except GateNotOpenError as error:
        return page(
            request,
            "follow_up/nothing.html",
            campaign=campaign,
            position=position,
            identifier=person.identifier,
            reasons=[(REASON_WORDS[reason], reason.value) for reason in error.reasons],
        )
    return page(
        request,
        "follow_up/person.html",
        campaign=campaign,
        position=position,
        head=asked.head,
        identifier=person.identifier,
        handle=_handle(desk, person),
        view=View.of(record, locale()),
        computed_at=record.computed_at,
        expires_at=record.expires_at,
        not_for=NOT_FOR_WORDS,
        actions=followup_actions.actions_of(desk.directory, campaign, found),
        kinds=[(kind.value, words) for kind, words in KIND_WORDS.items()],
        kind_words=KIND_WORDS,
        state_words=STATE_WORDS,
    )


@router.post("/follow-up/{campaign}/{position}/action", dependencies=[may(Action.PLAN_FOLLOW_UP)])
def act(request: Request, campaign: str, position: str, form: Posted) -> Response:
    """Plan something for one student, or say that it was done or is not done."""
    desk = desk_of(request)
    kind, wanted = parse_follow_up(form.text("kind", most=40)), form.text("state", most=40)
    if wanted not in tuple(FollowUpState):
        raise DataError("form: expected planned, done or cancelled, got another word")
    viewer = _viewer(request, campaign, position, Action.PLAN_FOLLOW_UP)
    person = _chosen(desk, campaign, position, form)
    asked = viewing.Request(campaign, _head(desk, campaign, form), _subject(person), viewer)
    state = FollowUpState(wanted)
    if state is FollowUpState.PLANNED:
        followup_actions.plan_action(desk.directory, asked, kind, clock=desk.clock)
    else:
        followup_actions.end_action(desk.directory, asked, kind, state, clock=desk.clock)
    notice = _("Noted: {what} ({state}).").format(what=KIND_WORDS[kind], state=STATE_WORDS[state])
    return redirect(request, f"/follow-up/{campaign}/{position}", notice=notice)


def _positions(request: Request, campaign: str) -> list[str]:
    """Those of the company's file whose students she looks after."""
    found = []
    for position in desk_of(request).positions(campaign).with_open_offer:
        try:
            _viewer(request, campaign, position, Action.VIEW_SCORE)
        except LocalProtocolError as error:
            if error.code != "ROLE_FORBIDDEN":
                raise
            continue
        found.append(position)
    return found


def _viewer(request: Request, campaign: str, position: str, action: Action) -> Authorised:
    """Who is signed in, as somebody who looks after students of this very position and season."""
    desk = desk_of(request)
    season = campaign_files.load_plan(desk.directory, desk.campaign(campaign)).score_season
    return authorised(request, action, position=parse_name(position, "position"), season=season)


def _offered(desk: Desk, campaign: str, position: str) -> tuple[Applicant, ...]:
    """Offers without an answer, in the file's order."""
    if not desk.has_applicants:
        return ()
    plan = campaign_files.load_plan(desk.directory, campaign)
    everybody = alignment.applicants(desk.directory, plan)
    waiting = offerees(everybody, plan.score_season)
    return applicants_for(waiting, season=plan.score_season, position=position)


def _handle(desk: Desk, person: Applicant) -> str:
    """What stands for an applicant in a form: worth nothing in another process, and says nothing of her."""
    return hashlib.blake2b(person.key, key=desk.handle_key, digest_size=HANDLE_BYTES).hexdigest()


def _chosen(desk: Desk, campaign: str, position: str, form: PostedForm) -> Applicant:
    """The one applicant of the form; LocalProtocolError with code NOT_FOUND if there is none such."""
    wanted = form.text("person", most=2 * HANDLE_BYTES)
    for person in _offered(desk, campaign, position):
        if hmac.compare_digest(_handle(desk, person).encode(), wanted.encode()):
            return person
    raise LocalProtocolError(
        "follow-up: expected somebody of the list, got another; open the list again", code="NOT_FOUND"
    )


def _subject(person: Applicant) -> Subject:
    return Subject(IdentifierKind(person.identifier_kind), person.identifier, person.position)


def _heads(desk: Desk, campaign: str) -> list[str]:
    """The campaigns whose heads a band can be of: this one, and those over the same season."""
    season = campaign_files.load_plan(desk.directory, campaign).score_season
    others = [
        name
        for name in desk.campaigns()
        if name != campaign and campaign_files.load_plan(desk.directory, name).score_season == season
    ]
    return [campaign, *others]


def _head(desk: Desk, campaign: str, form: PostedForm) -> str:
    head = form.text("head", most=40, default=campaign)
    if head not in _heads(desk, campaign):
        raise DataError("form: expected a campaign over the same season, got another")
    return head
