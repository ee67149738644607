"""A student's question or contest, and the time in which a person must answer it.

docs/rights/student-api.md §5. Promises: a closed inquiry was answered by a person before; one that was not
answered in time is overdue, whatever else happens to it, and says so to auditors (INQUIRY_OVERDUE).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

from noren_core.errors import LocalProtocolError

ANSWER_SECONDS = 14 * 86_400
MAX_TEXT_CHARACTERS = 4000


class InquiryTopic(StrEnum):
    """What it is about."""

    QUESTION = "question"
    CONTEST_SCORE = "contest-score"
    CONTEST_USE = "contest-use"
    RECONCILE = "disclosure-reconcile-fail"


class InquiryState(StrEnum):
    """How far it is."""

    OPEN = "open"
    ANSWERED = "answered"
    CLOSED = "closed"
    ESCALATED = "escalated"


_NEXT: Mapping[InquiryState, frozenset[InquiryState]] = {
    InquiryState.OPEN: frozenset({InquiryState.ANSWERED, InquiryState.ESCALATED}),
    InquiryState.ESCALATED: frozenset({InquiryState.ANSWERED}),
    InquiryState.ANSWERED: frozenset({InquiryState.CLOSED, InquiryState.ESCALATED}),
    InquiryState.CLOSED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Inquiry:
    """Where an inquiry is; its text is kept by whoever answers it.

    Attributes:
        topic: what it is about.
        state: how far it is.
        opened_at, due_at: Unix seconds.
        answered_at: when a person answered it; 0 before.
    """

    topic: InquiryTopic
    state: InquiryState
    opened_at: int
    due_at: int
    answered_at: int = 0

    @classmethod
    def open(cls, topic: InquiryTopic, *, now: int) -> Self:
        """A new one, due in 14 days."""
        return cls(topic, InquiryState.OPEN, now, now + ANSWER_SECONDS)

    def moved(self, state: InquiryState, *, now: int) -> Self:
        """The same inquiry in another state; LocalProtocolError if that may not follow.

        Whoever is not content with an answer is owed another one, in the same time from then on. One that was
        overdue stays so.
        """
        if state not in _NEXT[self.state]:
            raise LocalProtocolError(
                f"inquiry: expected a state that may follow {self.state}, got another",
                code="INQUIRY_STATE",
            )
        if state is InquiryState.ESCALATED and self.state is InquiryState.ANSWERED:
            due_at = self.due_at if self.is_overdue(now=now) else now + ANSWER_SECONDS
            return replace(self, state=state, due_at=due_at, answered_at=0)
        answered_at = now if state is InquiryState.ANSWERED else self.answered_at
        return replace(self, state=state, answered_at=answered_at)

    def is_overdue(self, *, now: int) -> bool:
        """Whether its time passed without an answer, or the answer came too late."""
        return (self.answered_at or now) > self.due_at


def verify_in_time(inquiry: Inquiry, *, now: int) -> None:
    """Raise LocalProtocolError (INQUIRY_OVERDUE) if it is overdue."""
    if inquiry.is_overdue(now=now):
        raise LocalProtocolError("inquiry: expected an answer in time, got none", code="INQUIRY_OVERDUE")
