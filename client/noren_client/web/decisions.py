"""Decisions: what would be sealed, sealing it, and what became of it.

Promises: numbers are shown to who decides about that position and to nobody else; what may be sealed, and by
whom, is decided by `gate.decisions` alone; an identifier that is typed to take an offer back travels in the
form's body and is shown nowhere.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from noren_client import campaign_files
from noren_client.gate import decision_preview, decision_report, decisions
from noren_client.gate.staff import Authorised
from noren_client.gate.viewing import parse_subject
from noren_client.web.desk import authorised, desk_of, may
from noren_core.errors import DataError, LocalProtocolError
from noren_core.ids import IdentifierKind, parse_name
from noren_core.rights.gate.gate_file import ReversalReason
from noren_core.rights.gate.roles import Action
from noren_web.pages import page, redirect
from noren_web.posted_form import Posted
from noren_web.translations import Text
from noren_web.translations import lazy as _

STATE_WORDS: dict[str, Text] = {
    "not-in-ledger": _("Begun, not in the ledger: seal again to complete it"),
    "cooling": _("Sealed, cooling"),
    "sealed": _("Sealed, cooling is over"),
    "open": _("The gate is open"),
}
OBSTACLE_WORDS: dict[str, Text] = {
    "BATCH_LIMIT": _("The plan allows no further batch."),
    "NOTHING_TO_SEAL": _("Everybody who applied is in a batch already."),
    "BATCH_HAS_UNRESOLVED": _("Some applications are on hold: decide about them first, then import again."),
    "BATCH_TOO_SMALL": _("There are too few applicants for a batch of this plan."),
    "DECISION_IMMUTABLE": _("The imported file says something else about somebody than what was sealed."),
}
REASON_WORDS: dict[ReversalReason, Text] = {
    ReversalReason.FALSE_STATEMENT: _("She stated something false"),
    ReversalReason.REQUIREMENT_NOT_MET: _("A requirement is not met"),
    ReversalReason.POSITION_WITHDRAWN: _("The position no longer exists"),
    ReversalReason.APPLICANT_WITHDREW: _("She withdrew"),
    ReversalReason.DECIDED_IN_ERROR: _("The decision was an error"),
}
KIND_WORDS: dict[IdentifierKind, Text] = {
    IdentifierKind.CONSENT_CODE: _("Consent code"),
    IdentifierKind.EMAIL: _("E-mail address"),
}

router = APIRouter()


@router.get("/decisions", dependencies=[may(Action.SEAL_DECISION)])
def overview(request: Request) -> Response:
    """Every campaign's batches, and the positions that this decider decides about."""
    desk = desk_of(request)
    campaigns = []
    for name in desk.campaigns():
        report = decision_report.status(desk.directory, name, now=desk.clock())
        campaigns.append((name, _positions(request, name), report))
    return page(request, "decisions/overview.html", campaigns=campaigns, state_words=STATE_WORDS)


@router.get("/decisions/{campaign}/{position}", dependencies=[may(Action.SEAL_DECISION)])
def one_position(request: Request, campaign: str, position: str) -> Response:
    """What sealing would seal, the batches so far, and offers that were taken back."""
    desk = desk_of(request)
    decider = _decider(request, campaign, position)
    report = decision_report.status(desk.directory, campaign, now=desk.clock())
    kept = decisions.kept_batches(desk.directory, campaign)
    return page(
        request,
        "decisions/position.html",
        campaign=campaign,
        position=position,
        preview=decision_preview.preview(desk.directory, campaign, position, decider=decider),
        batches=[found for found in report["batches"] if found["position"] == position],
        alerts=report["alerts"].get(position, ()),
        can_reverse=any(batch.is_open and batch.batch.position == position for batch in kept),
        cooling=campaign_files.load_plan(desk.directory, campaign).gate.cooling_seconds,
        state_words=STATE_WORDS,
        obstacle_words=OBSTACLE_WORDS,
        reason_words={reason.value: words for reason, words in REASON_WORDS.items()},
    )


@router.post("/decisions/{campaign}/{position}/seal", dependencies=[may(Action.SEAL_DECISION)])
def seal(request: Request, campaign: str, position: str, form: Posted) -> Response:
    """Seal; who pressed it is recorded as who decided."""
    desk, decider = desk_of(request), _decider(request, campaign, position)
    form.verify_confirmation(position)
    sealed = decisions.seal(desk.directory, campaign, position, decider=decider, now=desk.clock())
    notice = _("Batch {number} is sealed and in the ledger.").format(number=sealed.sequence)
    return redirect(request, f"/decisions/{campaign}/{position}", notice=notice)


@router.get("/decisions/{campaign}/{position}/reversal", dependencies=[may(Action.SEAL_DECISION)])
def reversal(request: Request, campaign: str, position: str) -> Response:
    """What taking an offer back means, and the form for it."""
    _decider(request, campaign, position)
    return page(
        request,
        "decisions/reversal.html",
        campaign=campaign,
        position=position,
        reasons=[(reason.value, words) for reason, words in REASON_WORDS.items()],
        kinds=[(kind.value, words) for kind, words in KIND_WORDS.items()],
    )


@router.post("/decisions/{campaign}/{position}/reversal", dependencies=[may(Action.SEAL_DECISION)])
def reverse(request: Request, campaign: str, position: str, form: Posted) -> Response:
    """Record that an offer was taken back after the gate was open."""
    desk, decider = desk_of(request), _decider(request, campaign, position)
    form.verify_confirmation(position)
    kind, reason = form.text("kind", most=40), form.text("reason", most=40)
    if kind not in tuple(IdentifierKind) or reason not in tuple(ReversalReason):
        raise DataError("form: expected a kind of identifier and a reason from the lists, got others")
    given = form.text("identifier", most=1024).encode(errors="replace")
    subject = parse_subject(given, IdentifierKind(kind), position)
    decisions.reverse(
        desk.directory,
        campaign,
        subject.applicant,
        ReversalReason(reason),
        decider=decider,
        now=desk.clock(),
    )
    notice = _("It is recorded that an offer was taken back; the score is destroyed.")
    return redirect(request, f"/decisions/{campaign}/{position}", notice=notice)


def _decider(request: Request, campaign: str, position: str) -> Authorised:
    """Who is signed in, as a decider about this very position and season."""
    desk = desk_of(request)
    plan = campaign_files.load_plan(desk.directory, desk.campaign(campaign))
    where = parse_name(position, "position")
    return authorised(request, Action.SEAL_DECISION, position=where, season=plan.score_season)


def _positions(request: Request, campaign: str) -> list[str]:
    """Those of the company's file that she decides about."""
    found = []
    for position in desk_of(request).positions(campaign).every:
        try:
            _decider(request, campaign, position)
        except LocalProtocolError as error:
            if error.code != "ROLE_FORBIDDEN":
                raise
            continue
        found.append(position)
    return found
