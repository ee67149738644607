"""Inquiries: nothing is closed unanswered, and late stays late."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noren_core.errors import LocalProtocolError
from noren_core.rights.disclosure.inquiry import (
    ANSWER_SECONDS,
    Inquiry,
    InquiryState,
    InquiryTopic,
    verify_in_time,
)

NOW = 1_800_000_000


@given(moves=st.lists(st.tuples(st.sampled_from(InquiryState), st.integers(0, ANSWER_SECONDS)), max_size=8))
def test_a_closed_inquiry_was_answered(moves: list[tuple[InquiryState, int]]) -> None:
    """By whatever order of moves; what may not follow changes nothing."""
    inquiry, now = Inquiry.open(InquiryTopic.CONTEST_SCORE, now=NOW), NOW
    for state, later in moves:
        now += later
        with suppress(LocalProtocolError):
            inquiry = inquiry.moved(state, now=now)
    assert inquiry.state is not InquiryState.CLOSED or inquiry.answered_at >= NOW


def test_overdue_has_a_code_and_a_late_answer_does_not_take_it_away() -> None:
    """INQUIRY_OVERDUE from a second after the deadline on."""
    inquiry = Inquiry.open(InquiryTopic.QUESTION, now=NOW)
    verify_in_time(inquiry, now=inquiry.due_at)
    with pytest.raises(LocalProtocolError) as caught:
        verify_in_time(inquiry, now=inquiry.due_at + 1)
    assert caught.value.code == "INQUIRY_OVERDUE"
    late = inquiry.moved(InquiryState.ANSWERED, now=inquiry.due_at + 1)
    assert late.is_overdue(now=NOW + 10 * ANSWER_SECONDS)
    in_time = inquiry.moved(InquiryState.ANSWERED, now=inquiry.due_at)
    assert not in_time.is_overdue(now=NOW + 10 * ANSWER_SECONDS)


def test_an_escalated_inquiry_is_owed_another_answer() -> None:
    """In the same time from then on; and what was late once stays late."""
    inquiry = Inquiry.open(InquiryTopic.CONTEST_SCORE, now=NOW)
    in_time = inquiry.moved(InquiryState.ANSWERED, now=NOW + 1).moved(InquiryState.ESCALATED, now=NOW + 9)
    assert not in_time.is_overdue(now=NOW + 9 + ANSWER_SECONDS)
    assert in_time.is_overdue(now=NOW + 10 + ANSWER_SECONDS)
    again = in_time.moved(InquiryState.ANSWERED, now=NOW + 10)
    assert not again.is_overdue(now=NOW + 10 * ANSWER_SECONDS)
    late = inquiry.moved(InquiryState.ANSWERED, now=inquiry.due_at + 1)
    assert late.moved(InquiryState.ESCALATED, now=inquiry.due_at + 2).is_overdue(now=inquiry.due_at + 2)
