"""No application reaches a score except by a sealed offer, a notice and the gate."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from noren_core.errors import LocalProtocolError
from noren_core.rights.gate.application import ApplicationEvent, ApplicationState, next_application_state

PROTOCOL = Path(__file__).parents[3] / "docs" / "protocol.md"
State, Event = ApplicationState, ApplicationEvent


def documented() -> dict[tuple[str, str], str]:
    """The table of docs/protocol.md §10.6."""
    section = PROTOCOL.read_text(encoding="utf-8").split("### 10.6", 1)[1].split("### 10.7", 1)[0]
    rows = re.findall(r"^\| `([\w-]+)` \| `([\w-]+)` \| `([\w-]+)` \|$", section, re.MULTILINE)
    return {(state, event): after for state, event, after in rows}


def moved(state: ApplicationState, event: ApplicationEvent) -> ApplicationState | None:
    try:
        return next_application_state(state, event)
    except LocalProtocolError:
        return None


def test_the_table_is_the_documents() -> None:
    """Every legal move is in the document, and the document has no other."""
    legal = {
        (state.value, event.value): after.value
        for state in State
        for event in Event
        if (after := moved(state, event)) is not None
    }
    assert legal == documented()


def histories() -> Iterator[tuple[ApplicationEvent, ...]]:
    """Every way in which an application can go, with at most one hold, up to its end."""
    growing: list[tuple[ApplicationState, tuple[ApplicationEvent, ...]]] = [(State.RECEIVED, ())]
    while growing:
        state, done = growing.pop()
        yield done
        for event in Event:
            after = moved(state, event)
            if after is not None and not (event is Event.HOLD and event in done):
                growing.append((after, (*done, event)))


def test_a_score_comes_after_decision_notice_and_gate() -> None:
    """However an application goes: what is scored was sealed as an offer, notified, and let through."""
    scored = 0
    for done in histories():
        if Event.SCORE in done:
            before, scored = done[: done.index(Event.SCORE)], scored + 1
            assert before.index(Event.SEAL_PASS) < before.index(Event.NOTIFY) < before.index(Event.OPEN_GATE)
        assert not (Event.SEAL_FAIL in done and {Event.OPEN_GATE, Event.SCORE} & set(done))
        assert sum(one in (Event.SEAL_PASS, Event.SEAL_FAIL) for one in done) <= 1
        assert Event.REVERSE not in done or Event.OPEN_GATE in done or Event.ACCEPT in done
    assert scored > 10


@pytest.mark.parametrize(
    ("state", "event", "code"),
    [
        (State.RECEIVED, Event.SCORE, "DECISION_NOT_SEALED"),
        (State.IN_SELECTION, Event.OPEN_GATE, "DECISION_NOT_SEALED"),
        (State.ON_HOLD, Event.SEAL_PASS, "BATCH_HAS_UNRESOLVED"),
        (State.ON_HOLD, Event.SEAL_FAIL, "BATCH_HAS_UNRESOLVED"),
        (State.DECISION_SEALED, Event.SEAL_FAIL, "DECISION_IMMUTABLE"),
        (State.CLOSED_NO_SCORE, Event.SEAL_PASS, "DECISION_IMMUTABLE"),
        (State.OFFER_OPEN, Event.REVERSE, "DECISION_IMMUTABLE"),
        (State.DECISION_SEALED, Event.OPEN_GATE, "DECISION_NOT_NOTIFIED"),
        (State.DECISION_NOTIFIED, Event.SCORE, "DECISION_NOT_NOTIFIED"),
        (State.OFFER_OPEN, Event.SCORE, "GATE_NOT_OPEN"),
        (State.CLOSED_NO_SCORE, Event.SCORE, "APPLICANT_NOT_OFFERED"),
        (State.REVERSED, Event.FOLLOW_UP, "APPLICANT_NOT_OFFERED"),
        (State.ACCEPTED, Event.SCORE, "ILLEGAL_STATE"),
        (State.RECEIVED, Event.SEAL_PASS, "ILLEGAL_STATE"),
        (State.RECEIVED, Event.ACCEPT, "ILLEGAL_STATE"),
    ],
)
def test_a_refusal_says_why(state: ApplicationState, event: ApplicationEvent, code: str) -> None:
    """Each kind of shortcut has a code of its own."""
    with pytest.raises(LocalProtocolError) as caught:
        next_application_state(state, event)
    assert caught.value.code == code


@pytest.mark.parametrize("state", [State.CLOSED_NO_SCORE, State.DECLINED, State.LAPSED, State.REVERSED])
def test_an_end_is_an_end(state: ApplicationState) -> None:
    """Nothing follows a failure, a declined or lapsed offer, or a reversal."""
    assert all(moved(state, event) is None for event in Event)
