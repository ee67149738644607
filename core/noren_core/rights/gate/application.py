"""Where one application stands: company × position × applicant, every state and legal event in one table.

docs/protocol.md §10.6. Promises: no way leads from a failure to a score, and none to a score that does not
go through a sealed decision, the applicant's notice and the gate; a sealed decision is not changed
(DECISION_IMMUTABLE), and a change of mind after the gate is a state of its own, REVERSED, which is recorded.
An illegal event raises and changes nothing.
"""

from __future__ import annotations

from enum import StrEnum

from noren_core.errors import LocalProtocolError


class ApplicationState(StrEnum):
    """Where an application stands."""

    RECEIVED = "received"
    IN_SELECTION = "in-selection"
    ON_HOLD = "on-hold"
    DECISION_SEALED = "decision-sealed"
    DECISION_NOTIFIED = "decision-notified"
    OFFER_OPEN = "offer-open"
    GATE_OPEN = "gate-open"
    SCORED = "scored"
    FOLLOWUP = "followup"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    LAPSED = "lapsed"
    CLOSED_NO_SCORE = "closed-no-score"
    REVERSED = "reversed"


class ApplicationEvent(StrEnum):
    """What can happen to an application."""

    BEGIN_SELECTION = "begin-selection"
    HOLD = "hold"
    RESUME = "resume"
    SEAL_PASS = "seal-pass"  # noqa: S105 (an outcome, no password)
    SEAL_FAIL = "seal-fail"
    NOTIFY = "notify"
    OPEN_OFFER = "open-offer"
    OPEN_GATE = "open-gate"
    SCORE = "score"
    FOLLOW_UP = "follow-up"
    ACCEPT = "accept"
    DECLINE = "decline"
    LAPSE = "lapse"
    REVERSE = "reverse"


_SEALING = (ApplicationEvent.SEAL_PASS, ApplicationEvent.SEAL_FAIL)
_UNDECIDED = (ApplicationState.RECEIVED, ApplicationState.IN_SELECTION, ApplicationState.ON_HOLD)
_BEFORE_THE_OFFER = (ApplicationState.DECISION_SEALED, ApplicationState.DECISION_NOTIFIED)
_ANSWERS = {
    ApplicationEvent.ACCEPT: ApplicationState.ACCEPTED,
    ApplicationEvent.DECLINE: ApplicationState.DECLINED,
    ApplicationEvent.LAPSE: ApplicationState.LAPSED,
}
_OFFERED = (
    ApplicationState.OFFER_OPEN,
    ApplicationState.GATE_OPEN,
    ApplicationState.SCORED,
    ApplicationState.FOLLOWUP,
)
_AFTER_THE_GATE = (ApplicationState.GATE_OPEN, ApplicationState.SCORED, ApplicationState.FOLLOWUP)

_TRANSITIONS: dict[tuple[ApplicationState, ApplicationEvent], ApplicationState] = {
    (ApplicationState.RECEIVED, ApplicationEvent.BEGIN_SELECTION): ApplicationState.IN_SELECTION,
    # A hold is no decision: it ends before anything is sealed.
    (ApplicationState.IN_SELECTION, ApplicationEvent.HOLD): ApplicationState.ON_HOLD,
    (ApplicationState.ON_HOLD, ApplicationEvent.RESUME): ApplicationState.IN_SELECTION,
    (ApplicationState.IN_SELECTION, ApplicationEvent.SEAL_PASS): ApplicationState.DECISION_SEALED,
    (ApplicationState.IN_SELECTION, ApplicationEvent.SEAL_FAIL): ApplicationState.CLOSED_NO_SCORE,
    (ApplicationState.DECISION_SEALED, ApplicationEvent.NOTIFY): ApplicationState.DECISION_NOTIFIED,
    (ApplicationState.DECISION_NOTIFIED, ApplicationEvent.OPEN_OFFER): ApplicationState.OFFER_OPEN,
    (ApplicationState.OFFER_OPEN, ApplicationEvent.OPEN_GATE): ApplicationState.GATE_OPEN,
    (ApplicationState.GATE_OPEN, ApplicationEvent.SCORE): ApplicationState.SCORED,
    (ApplicationState.SCORED, ApplicationEvent.FOLLOW_UP): ApplicationState.FOLLOWUP,
    # Her answer counts whenever it comes, with or without a score.
    **{(state, event): after for state in _OFFERED for event, after in _ANSWERS.items()},
    # Once the gate was open an offer is taken back in the open, or not at all.
    **{(state, ApplicationEvent.REVERSE): ApplicationState.REVERSED for state in _AFTER_THE_GATE},
    (ApplicationState.ACCEPTED, ApplicationEvent.REVERSE): ApplicationState.REVERSED,
}


def next_application_state(state: ApplicationState, event: ApplicationEvent) -> ApplicationState:
    """The state after `event`.

    Raises:
        LocalProtocolError: if the event is illegal in `state`, with the code that says why:
            DECISION_NOT_SEALED, DECISION_NOT_NOTIFIED, DECISION_IMMUTABLE, BATCH_HAS_UNRESOLVED,
            APPLICANT_NOT_OFFERED, GATE_NOT_OPEN, or ILLEGAL_STATE.
    """
    after = _TRANSITIONS.get((state, event))
    if after is None:
        raise LocalProtocolError(
            f"application: expected an event legal when {state.value}, got {event.value}",
            code=_why_illegal(state, event),
        )
    return after


def _why_illegal(state: ApplicationState, event: ApplicationEvent) -> str:
    if event in _SEALING:
        if state is ApplicationState.ON_HOLD:
            return "BATCH_HAS_UNRESOLVED"
        return LocalProtocolError.code if state in _UNDECIDED else "DECISION_IMMUTABLE"
    if event is ApplicationEvent.REVERSE and state in (*_BEFORE_THE_OFFER, ApplicationState.OFFER_OPEN):
        return "DECISION_IMMUTABLE"
    if event in (ApplicationEvent.OPEN_GATE, ApplicationEvent.SCORE, ApplicationEvent.FOLLOW_UP):
        return _why_no_score(state)
    return LocalProtocolError.code


def _why_no_score(state: ApplicationState) -> str:
    if state in _UNDECIDED:
        return "DECISION_NOT_SEALED"
    if state in _BEFORE_THE_OFFER:
        return "DECISION_NOT_NOTIFIED"
    if state in (ApplicationState.CLOSED_NO_SCORE, ApplicationState.REVERSED):
        return "APPLICANT_NOT_OFFERED"
    return "GATE_NOT_OPEN" if state is ApplicationState.OFFER_OPEN else LocalProtocolError.code
