"""What one person proposes and another confirms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from operators_console import Clock

from noren_core.errors import DataError, LocalProtocolError
from noren_server.console.proposals import VALID_SECONDS, Proposals


@pytest.fixture
def proposals(tmp_path: Path, clock: Clock) -> Iterator[Proposals]:
    with closing(Proposals(tmp_path, clock)) as made:
        yield made


def confirm(proposals: Proposals, handle: str, by: str, kind: str = "k") -> str:
    """The code of the error, or nothing."""
    try:
        with proposals.confirming(handle, kind, by=by):
            pass
    except LocalProtocolError as error:
        return error.code
    return ""


def test_somebody_else_confirms_once(proposals: Proposals) -> None:
    """Not who proposed; not a second time."""
    made = proposals.propose("k", "akane", {"reason": "LEFT"}, by="yuki")
    assert confirm(proposals, made.proposal, "yuki") == "SECOND_PERSON_REQUIRED"
    assert proposals.waiting() == (made,)
    assert confirm(proposals, made.proposal, "sora") == ""
    assert confirm(proposals, made.proposal, "sora") == "PROPOSAL_GONE"
    assert proposals.waiting() == ()


def test_what_could_not_be_done_still_waits(proposals: Proposals) -> None:
    """It counts as confirmed when it was done."""
    made = proposals.propose("k", "akane", {}, by="yuki")
    with pytest.raises(DataError), proposals.confirming(made.proposal, "k", by="sora"):
        raise DataError("it failed")
    assert proposals.waiting() == (made,)


def test_a_proposal_lapses(proposals: Proposals, clock: Clock) -> None:
    """Then the same can be proposed again."""
    made = proposals.propose("k", "akane", {}, by="yuki")
    clock.now += VALID_SECONDS
    assert confirm(proposals, made.proposal, "sora") == "PROPOSAL_GONE"
    assert proposals.propose("k", "akane", {}, by="yuki").proposal != made.proposal


def test_the_same_waits_once(proposals: Proposals) -> None:
    """Another kind or another name is another proposal."""
    proposals.propose("k", "akane", {}, by="yuki")
    with pytest.raises(LocalProtocolError) as caught:
        proposals.propose("k", "akane", {"reason": "LEFT"}, by="sora")
    assert caught.value.code == "PROPOSAL_OPEN"
    proposals.propose("k", "benten", {}, by="yuki")
    proposals.propose("l", "akane", {}, by="yuki")
    assert [item.about for item in proposals.waiting("k")] == ["akane", "benten"]


def test_a_proposal_of_another_kind_is_not_carried_out(proposals: Proposals) -> None:
    """A form cannot turn one into the other."""
    made = proposals.propose("k", "akane", {}, by="yuki")
    assert confirm(proposals, made.proposal, "sora", kind="l") == "PROPOSAL_GONE"
    proposals.withdraw(made.proposal, "k", by="yuki")
    assert confirm(proposals, made.proposal, "sora") == "PROPOSAL_GONE"
