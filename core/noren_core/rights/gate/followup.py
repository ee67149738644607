"""What a company may do with a score: a closed list of things that help the student, and what became of one.

Promises: an action that is not on the list has no name here and is refused (FOLLOWUP_ACTION_FORBIDDEN), so
that no record can say that an offer was changed because of a score; an action ends once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

from noren_core import canonical_json, ids
from noren_core.errors import DataError, LocalProtocolError

_MAX_SECONDS = 1 << 40


class FollowUpKind(StrEnum):
    """Everything that a score may lead to."""

    MENTOR_CONTACT = "mentor_contact"
    INFORMATION = "information"
    VISIT = "visit"
    QUESTION_TIME = "question_time"
    SCHEDULE_HELP = "schedule_help"


class FollowUpState(StrEnum):
    """How far it is; what was done or cancelled stays so."""

    PLANNED = "planned"
    DONE = "done"
    CANCELLED = "cancelled"


_NEXT: Mapping[FollowUpState, frozenset[FollowUpState]] = {
    FollowUpState.PLANNED: frozenset({FollowUpState.DONE, FollowUpState.CANCELLED}),
    FollowUpState.DONE: frozenset(),
    FollowUpState.CANCELLED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class FollowUpAction:
    """One action about one person; whom it is about is not in it.

    Attributes:
        kind: what is done.
        state: how far it is.
        actor: of the staff, who planned it.
        planned_at, changed_at: Unix seconds.
    """

    kind: FollowUpKind
    state: FollowUpState
    actor: str
    planned_at: int
    changed_at: int

    def moved(self, state: FollowUpState, *, now: int) -> Self:
        """The same action, ended; LocalProtocolError if it had ended before."""
        if state not in _NEXT[self.state]:
            raise LocalProtocolError(f"follow-up: expected a planned action, got one that is {self.state}")
        return replace(self, state=state, changed_at=now)

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical_json.encode(
            {
                "kind": self.kind.value,
                "state": self.state.value,
                "actor": self.actor,
                "planned_at": self.planned_at,
                "changed_at": self.changed_at,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The action that `to_bytes` wrote; DataError for any other bytes."""
        body = canonical_json.parse_object(data)
        if body.keys() != {"kind", "state", "actor", "planned_at", "changed_at"}:
            raise DataError("follow-up: expected exactly the fields of an action, got others")
        if body["state"] not in tuple(FollowUpState):
            raise DataError("follow-up.state: expected planned, done or cancelled, got another value")
        for field in ("planned_at", "changed_at"):
            if type(body[field]) is not int or not 0 <= body[field] <= _MAX_SECONDS:
                raise DataError(f"follow-up.{field}: expected Unix seconds, got another value")
        return cls(
            parse_follow_up(body["kind"]),
            FollowUpState(body["state"]),
            ids.parse_name(body["actor"], "follow-up.actor"),
            body["planned_at"],
            body["changed_at"],
        )


def parse_follow_up(text: object) -> FollowUpKind:
    """The action of this name.

    Raises:
        DataError: with code FOLLOWUP_ACTION_FORBIDDEN, for whatever is not on the list.
    """
    if text not in tuple(FollowUpKind):
        raise DataError(
            f"follow-up: expected one of {', '.join(FollowUpKind)}; got another",
            code="FOLLOWUP_ACTION_FORBIDDEN",
        )
    return FollowUpKind(str(text))
