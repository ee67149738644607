"""The life of a consent record: which event may follow which, and what a later one ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noren_core.errors import LocalProtocolError
from noren_core.rights.clauses import Clause
from noren_core.rights.consent.consent_event import (
    Action,
    Answer,
    ConsentEvent,
    ConsentKey,
    EventKind,
    Screen,
)
from noren_core.rights.consent.consent_record import (
    ENDED_STATES,
    FOLLOWS,
    ConsentRecord,
    ConsentState,
    advance,
    begin,
    overrule,
)
from noren_core.rights.purposes import Purpose

KEY = ConsentKey("s1", Purpose.LINK, "akane", "engineer", "2027", "policy-1")
ID = bytes(16)
SCREEN = Screen("ab" * 32, tuple(Clause))
KINDS = [k for k in EventKind if k not in (EventKind.OFFER_ACKNOWLEDGED, EventKind.KEY_REGISTERED)]


def event(kind: EventKind, time: int = 10, screen: Screen = SCREEN, key: ConsentKey = KEY) -> ConsentEvent:
    answer = Answer(
        screen, Action.TICK_UNTICKED_BOX, prechecked=False, bundled=False, dwell_ms=1, expires_at=time + 9
    )
    has_answer = kind in (EventKind.GIVEN, EventKind.RENEWED)
    return ConsentEvent(
        kind,
        key,
        ID,
        time,
        screen=screen if kind is EventKind.SHOWN else None,
        answer=answer if has_answer else None,
    )


def record(*kinds: EventKind, key: ConsentKey = KEY) -> ConsentRecord:
    found = begin(event(EventKind.SHOWN, key=key))
    for kind in kinds:
        found = advance(found, event(kind, key=key))
    return found


WAYS: dict[ConsentState, tuple[EventKind, ...]] = {
    ConsentState.NEVER_SHOWN: (),
    ConsentState.SHOWN: (EventKind.SHOWN,),
    ConsentState.REQUESTED: (EventKind.SHOWN, EventKind.REQUESTED),
    ConsentState.GIVEN: (EventKind.SHOWN, EventKind.GIVEN),
    ConsentState.REFUSED: (EventKind.SHOWN, EventKind.REFUSED),
    ConsentState.DEFERRED: (EventKind.SHOWN, EventKind.REQUESTED, EventKind.DEFERRED),
    ConsentState.RENEWED: (EventKind.SHOWN, EventKind.GIVEN, EventKind.RENEWED),
    **{s: (EventKind.SHOWN, EventKind.GIVEN, EventKind(s.value)) for s in ENDED_STATES},
}


def test_every_state_has_a_way_to_it() -> None:
    """The table of states is complete, and each is where its events lead."""
    assert set(WAYS) == set(ConsentState) == set(FOLLOWS)
    for state, way in WAYS.items():
        assert record(*way).state is state


@pytest.mark.parametrize("state", ConsentState)
@pytest.mark.parametrize("kind", KINDS)
def test_only_what_may_follow_follows(state: ConsentState, kind: EventKind) -> None:
    """Every cell of state × event: it leads on, or is refused and changes nothing."""
    before = record(*WAYS[state])
    if kind in FOLLOWS[state]:
        after = advance(before, event(kind))
        shown_to_renew = kind is EventKind.SHOWN and state in (ConsentState.GIVEN, ConsentState.RENEWED)
        assert after.state == (state if shown_to_renew else kind.value)
    else:
        with pytest.raises(LocalProtocolError) as refused:
            advance(before, event(kind))
        assert refused.value.code == "CONSENT_EVENT_ILLEGAL"


def test_the_illegal_ones_by_name() -> None:
    """Nothing is given unshown; what was withdrawn or refused is not given again on the same record."""
    assert FOLLOWS[ConsentState.NEVER_SHOWN] == {EventKind.SHOWN}
    for state in (ConsentState.REFUSED, *ENDED_STATES):
        assert FOLLOWS[state] == frozenset()
        assert record(*WAYS[state]).is_over


def test_an_event_is_never_older_than_the_last() -> None:
    """The same second is allowed, a second earlier is not."""
    given_at_10 = record(EventKind.SHOWN, EventKind.GIVEN)
    assert advance(given_at_10, event(EventKind.WITHDRAWN, 10)).state is ConsentState.WITHDRAWN
    with pytest.raises(LocalProtocolError) as refused:
        advance(given_at_10, event(EventKind.WITHDRAWN, 9))
    assert refused.value.code == "CONSENT_EVENT_OUT_OF_ORDER"


@pytest.mark.parametrize("kind", [EventKind.GIVEN, EventKind.RENEWED])
def test_an_answer_is_to_the_screen_that_was_shown_last(kind: EventKind) -> None:
    """Another text, or the same with other clauses, is not what was shown."""
    way = WAYS[ConsentState.SHOWN] if kind is EventKind.GIVEN else WAYS[ConsentState.GIVEN]
    for screen in (Screen("cd" * 32, SCREEN.clauses), replace(SCREEN, clauses=SCREEN.clauses[1:])):
        with pytest.raises(LocalProtocolError) as refused:
            advance(record(*way), event(kind, screen=screen))
        assert refused.value.code == "CONSENT_SCREEN_MISMATCH"
        shown = advance(record(*way), event(EventKind.SHOWN, screen=screen))
        answered = advance(shown, event(kind, screen=screen)).answer
        assert answered is not None
        assert answered.screen == screen


def test_an_event_is_of_one_record() -> None:
    """Another id or key is another record's event."""
    before = record(EventKind.SHOWN)
    for other in (
        replace(event(EventKind.GIVEN), record=bytes([1]) * 16),
        event(EventKind.GIVEN, key=replace(KEY, company="beni")),
    ):
        with pytest.raises(LocalProtocolError) as refused:
            advance(before, other)
        assert refused.value.code == "CONSENT_RECORD_MISMATCH"


@pytest.mark.parametrize("kind", KINDS)
def test_a_no_counts_for_every_version_of_the_policy(kind: EventKind) -> None:
    """Refusing, withdrawing or revoking one version ends the consent to another; nothing else does."""
    before = record(EventKind.SHOWN, EventKind.GIVEN)
    after = overrule(before, event(kind, key=replace(KEY, policy="policy-2")))
    ends = kind in (EventKind.REFUSED, EventKind.WITHDRAWN, EventKind.REVOKED)
    assert after.is_live is not ends
    assert after.is_over is ends
    if ends:
        with pytest.raises(LocalProtocolError):
            advance(after, event(EventKind.RENEWED))
    else:
        assert after is before


@given(st.sampled_from(["purpose", "company", "position", "season"]))
def test_a_no_counts_for_its_own_use_only(part: str) -> None:
    """Another purpose, company, position or season goes on (W14)."""
    other = {"purpose": Purpose.SCORE, "company": "beni", "position": "sales", "season": "2028"}[part]
    before = record(EventKind.SHOWN, EventKind.GIVEN)
    changes: dict[str, Any] = {part: other}
    key = replace(KEY, policy="policy-2", **changes)
    assert overrule(before, event(EventKind.WITHDRAWN, key=key)) is before
