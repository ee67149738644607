"""What a score may lead to, and nothing else."""

from __future__ import annotations

import itertools

import pytest

from noren_core import canonical_json
from noren_core.errors import DataError, LocalProtocolError
from noren_core.rights.gate.followup import FollowUpAction, FollowUpKind, FollowUpState, parse_follow_up

PLANNED = FollowUpAction(FollowUpKind.VISIT, FollowUpState.PLANNED, "fay", 10, 10)


@pytest.mark.parametrize("kind", FollowUpKind)
def test_every_action_on_the_list_has_its_name(kind: FollowUpKind) -> None:
    """The five actions are what they are called."""
    assert parse_follow_up(kind.value) is kind


@pytest.mark.parametrize(
    "word", ["rescind_offer", "raise_salary", "reject", "score", "", "VISIT", "visit ", "note", 1, None]
)
def test_everything_else_is_forbidden(word: object) -> None:
    """Whatever is not on the list is refused with a code of its own."""
    with pytest.raises(DataError) as caught:
        parse_follow_up(word)
    assert caught.value.code == "FOLLOWUP_ACTION_FORBIDDEN"


@pytest.mark.parametrize(("first", "second"), list(itertools.product(FollowUpState, FollowUpState)))
def test_an_action_ends_once(first: FollowUpState, second: FollowUpState) -> None:
    """A planned action is done or cancelled; from there it goes nowhere."""
    action = FollowUpAction(FollowUpKind.VISIT, first, "fay", 10, 10)
    if first is FollowUpState.PLANNED and second is not FollowUpState.PLANNED:
        moved = action.moved(second, now=20)
        assert (moved.state, moved.planned_at, moved.changed_at) == (second, 10, 20)
    else:
        with pytest.raises(LocalProtocolError):
            action.moved(second, now=20)


def test_an_action_is_written_and_read() -> None:
    """A record is read as it was written, and says of nobody whom it is about."""
    assert FollowUpAction.from_bytes(PLANNED.to_bytes()) == PLANNED


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "rescind_offer"},
        {"state": "forgotten"},
        {"actor": "Ä"},
        {"planned_at": -1},
        {"changed_at": True},
        {"identifier": "someone"},
    ],
)
def test_a_malformed_record_is_refused(change: dict[str, object]) -> None:
    """A field out of range, or one more than there are, is a DataError."""
    body = canonical_json.parse_object(PLANNED.to_bytes()) | change
    with pytest.raises(DataError):
        FollowUpAction.from_bytes(canonical_json.encode(body))
