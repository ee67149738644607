"""The life of one consent record: which event may follow which, as a table.

docs/rights/consent.md §3. Promises: no record begins but by being shown; nothing is given that was not shown,
on the very screen that was shown last; what ended stays ended, and to consent again is a new record; an event
is never older than the one before; a no to one use is a no to it under every version of the policy. An
illegal event raises and changes nothing. Who signed an event is verified before
(`consent_event.verify_event`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from noren_core.errors import LocalProtocolError
from noren_core.rights.consent.consent_event import (
    Address,
    Answer,
    ConsentEvent,
    ConsentKey,
    EventKind,
    Screen,
)


class ConsentState(StrEnum):
    """Where a consent is."""

    NEVER_SHOWN = "NEVER_SHOWN"
    SHOWN = "SHOWN"
    REQUESTED = "REQUESTED"
    GIVEN = "GIVEN"
    REFUSED = "REFUSED"
    DEFERRED = "DEFERRED"
    RENEWED = "RENEWED"
    WITHDRAWN = "WITHDRAWN"
    EXPIRED = "EXPIRED"
    SUPERSEDED = "SUPERSEDED"
    INVALIDATED = "INVALIDATED"
    REVOKED = "REVOKED"


_K, _S = EventKind, ConsentState
_AGAIN = frozenset({_K.SHOWN, _K.REQUESTED, _K.GIVEN, _K.REFUSED, _K.DEFERRED, _K.SUPERSEDED})
_GIVEN = frozenset({_K.RENEWED, _K.WITHDRAWN, _K.EXPIRED, _K.SUPERSEDED, _K.INVALIDATED, _K.REVOKED})

FOLLOWS: Mapping[ConsentState, frozenset[EventKind]] = {
    _S.NEVER_SHOWN: frozenset({_K.SHOWN}),
    _S.SHOWN: _AGAIN,
    _S.REQUESTED: _AGAIN,
    _S.DEFERRED: _AGAIN - {_K.GIVEN, _K.DEFERRED},  # she is shown the screen again first
    _S.GIVEN: _GIVEN | {_K.SHOWN},  # a screen to renew by
    _S.RENEWED: _GIVEN | {_K.SHOWN},
    _S.REFUSED: frozenset(),
    _S.WITHDRAWN: frozenset(),
    _S.EXPIRED: frozenset(),
    _S.SUPERSEDED: frozenset(),
    _S.INVALIDATED: frozenset(),
    _S.REVOKED: frozenset(),
}
"""By state, the events that may come next. Where there is none, the record is over."""

OVERRULES = frozenset({_K.REFUSED, _K.WITHDRAWN, _K.REVOKED})
"""These end what was agreed before about the same use, whichever version of the policy it named."""

LIVE_STATES = frozenset({_S.GIVEN, _S.RENEWED})
ENDED_STATES = frozenset({_S.WITHDRAWN, _S.EXPIRED, _S.SUPERSEDED, _S.INVALIDATED, _S.REVOKED})


@dataclass(frozen=True, slots=True)
class ConsentRecord:
    """One record as its events so far have left it.

    Attributes:
        key: what it is about.
        record: its id, 16 bytes.
        state: where it is.
        last_time: of its newest event.
        shown: the screen that was shown last.
        answer: of the newest GIVEN or RENEWED.
        answered_at: when that was; 0 before.
        address: what came with GIVEN for training or scoring.
        overruled: what a later record about the same use came to, if that ended this one too.
    """

    key: ConsentKey
    record: bytes = field(repr=False)
    state: ConsentState = ConsentState.NEVER_SHOWN
    last_time: int = 0
    shown: Screen | None = None
    answer: Answer | None = None
    answered_at: int = 0
    address: Address | None = field(default=None, repr=False)
    overruled: ConsentState | None = None

    @property
    def is_live(self) -> bool:
        """Whether it was given and nothing ended it."""
        return self.overruled is None and self.state in LIVE_STATES

    @property
    def is_over(self) -> bool:
        """Whether nothing more can happen to it."""
        return self.overruled is not None or not FOLLOWS[self.state]


def begin(event: ConsentEvent) -> ConsentRecord:
    """The record that `event` is to be the first of; `advance` it by the event."""
    return ConsentRecord(event.key, event.record)


def advance(record: ConsentRecord, event: ConsentEvent) -> ConsentRecord:
    """The record after `event`.

    1. The event is about this record.
    2. It is not older than the last.
    3. It may follow.
    4. An answer is to the screen that was shown last.

    Raises:
        LocalProtocolError: CONSENT_RECORD_MISMATCH, CONSENT_EVENT_OUT_OF_ORDER, CONSENT_EVENT_ILLEGAL or
            CONSENT_SCREEN_MISMATCH, by step.
    """
    if (event.key, event.record) != (record.key, record.record):  # 1
        raise _refused("an event of this record, got one of another", "CONSENT_RECORD_MISMATCH")
    if event.time < record.last_time:  # 2
        raise _refused("an event no older than the last, got an older one", "CONSENT_EVENT_OUT_OF_ORDER")
    if record.is_over or event.kind not in FOLLOWS[record.state]:  # 3
        raise _refused("an event that may follow, got another", "CONSENT_EVENT_ILLEGAL")
    if event.answer is not None and event.answer.screen != record.shown:  # 4
        raise _refused("an answer to the screen shown last, got another", "CONSENT_SCREEN_MISMATCH")
    after = replace(record, state=_state_after(record, event), last_time=event.time)
    if event.screen is not None:
        after = replace(after, shown=event.screen)
    if event.answer is not None:
        after = replace(after, answer=event.answer, answered_at=event.time)
    if event.address is not None:
        after = replace(after, address=event.address)
    return after


def overrule(record: ConsentRecord, event: ConsentEvent) -> ConsentRecord:
    """The record after an event of another record about the same use; the same where that changes nothing."""
    if not (event.kind in OVERRULES and record.is_live and is_same_use(record.key, event.key)):
        return record
    return replace(record, overruled=ConsentState(event.kind.value))


def is_same_use(one: ConsentKey, other: ConsentKey) -> bool:
    """Whether two consents differ in nothing but the version of the policy."""
    return replace(one, policy=other.policy) == other


def _state_after(record: ConsentRecord, event: ConsentEvent) -> ConsentState:
    """Showing a screen to renew by leaves a consent given."""
    if event.kind is EventKind.SHOWN and record.state in LIVE_STATES:
        return record.state
    return ConsentState(event.kind.value)


def _refused(expected: str, code: str) -> LocalProtocolError:
    return LocalProtocolError(f"consent record: expected {expected}", code=code)
