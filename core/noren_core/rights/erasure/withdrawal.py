"""What a withdrawal does, by the moment at which it comes: fourteen cases, and what happens to a model.

docs/rights/withdrawal.md. Promises: whatever the moment, nothing new is computed of the student's data,
nothing that was spent is given back (I-9), and her company is told nothing that another cause would not tell
it, too.

A model that has learnt from her row is kept only within a limit on what it can give away about one person, is
retired at the end of its season in any case, and is never replaced because of one student: two models that
differ by one person's data show who it was.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from itertools import pairwise

from noren_core.errors import ConfigurationError

LEAST_BATCH = 10
"""Fewest withdrawals that a rule may make a replacement of."""


class Moment(StrEnum):
    """When a consent is withdrawn, seen from what has been done with it."""

    BEFORE_USE = "W1"
    BETWEEN_ROUNDS = "W2"
    DURING_COMPUTATION = "W3"
    SENT_NOT_OPENED = "W4"
    OPENED_NOT_RELEASED = "W5"
    IN_RELEASED_MODEL = "W6"
    LINKED = "W7"
    ROW_RELEASED = "W8"
    SCORED = "W9"
    VIEWED = "W10"
    OPEN_DISCLOSURE = "W11"
    COMPANY_OFFLINE = "W12"
    GIVEN_AGAIN = "W13"
    ONE_PURPOSE = "W14"


class Processing(StrEnum):
    """What happens to the processing that the consent was for."""

    NEVER_BEGINS = "never-begins"
    OUT_FROM_NEXT_ROUND = "out-from-next-round"
    SUM_FORGOTTEN = "sum-forgotten"  # the company computes the round no more; nothing of it left the machine
    DROPPED_UNOPENED = "dropped-unopened"  # the masked vector is never opened
    LINK_DESTROYED = "link-destroyed"
    ERASED_BY_ORDER = "erased-by-order"
    ERASED_AND_FOLLOW_UP_CANCELLED = "erased-and-follow-up-cancelled"
    DISCLOSED_THEN_ERASED = "disclosed-then-erased"  # unless she chooses to be erased at once
    BLOCKED_UNTIL_CERTIFIED = "blocked-until-certified"
    BEGINS_ANEW = "begins-anew"  # a new consent, a new row in the next table; nothing old comes back
    OTHERS_GO_ON = "others-go-on"


class Model(StrEnum):
    """What happens to the model of the campaign."""

    UNTOUCHED = "untouched"  # it has not learnt from her, or is not what was consented to
    KEEPS_WHAT_IT_LEARNT = "keeps-what-it-learnt"  # within a limit, and not beyond the season: `retention`


class Charge(StrEnum):
    """What happens to the privacy loss on record. Nothing makes it smaller."""

    NONE = "none"
    STAYS = "stays"
    ADDS = "adds"


class CompanySees(StrEnum):
    """What shows at her company; each is also seen for reasons that have nothing to do with her."""

    NOTHING = "nothing"
    LONGER_LIST = "longer-list"  # of revoked rows, most of which are dummies
    LEFT_OUT = "left-out"  # of a round, as after a message that was lost
    NOT_AVAILABLE = "NOT_AVAILABLE"
    USUAL_DISAPPEARANCE = "usual-disappearance"  # as every entry ends, with jitter
    PENDING_ERASURE_ORDERS = "PENDING_ERASURE_ORDERS"
    NEW_PERSON = "new-person"


@dataclass(frozen=True, slots=True)
class Consequence:
    """What a withdrawal at one moment does."""

    processing: Processing
    model: Model
    charge: Charge
    company_sees: CompanySees


_P, _M, _C, _S = Processing, Model, Charge, CompanySees
CONSEQUENCES: Mapping[Moment, Consequence] = {
    Moment.BEFORE_USE: Consequence(_P.NEVER_BEGINS, _M.UNTOUCHED, _C.NONE, _S.NOTHING),
    Moment.BETWEEN_ROUNDS: Consequence(
        _P.OUT_FROM_NEXT_ROUND, _M.KEEPS_WHAT_IT_LEARNT, _C.STAYS, _S.LONGER_LIST
    ),
    Moment.DURING_COMPUTATION: Consequence(_P.SUM_FORGOTTEN, _M.KEEPS_WHAT_IT_LEARNT, _C.STAYS, _S.LEFT_OUT),
    Moment.SENT_NOT_OPENED: Consequence(_P.DROPPED_UNOPENED, _M.KEEPS_WHAT_IT_LEARNT, _C.STAYS, _S.LEFT_OUT),
    Moment.OPENED_NOT_RELEASED: Consequence(
        _P.OUT_FROM_NEXT_ROUND, _M.KEEPS_WHAT_IT_LEARNT, _C.STAYS, _S.LONGER_LIST
    ),
    Moment.IN_RELEASED_MODEL: Consequence(_P.NEVER_BEGINS, _M.KEEPS_WHAT_IT_LEARNT, _C.STAYS, _S.NOTHING),
    Moment.LINKED: Consequence(_P.LINK_DESTROYED, _M.UNTOUCHED, _C.NONE, _S.NOT_AVAILABLE),
    Moment.ROW_RELEASED: Consequence(_P.ERASED_BY_ORDER, _M.UNTOUCHED, _C.STAYS, _S.NOT_AVAILABLE),
    Moment.SCORED: Consequence(_P.ERASED_BY_ORDER, _M.UNTOUCHED, _C.STAYS, _S.NOT_AVAILABLE),
    Moment.VIEWED: Consequence(
        _P.ERASED_AND_FOLLOW_UP_CANCELLED, _M.UNTOUCHED, _C.STAYS, _S.USUAL_DISAPPEARANCE
    ),
    Moment.OPEN_DISCLOSURE: Consequence(_P.DISCLOSED_THEN_ERASED, _M.UNTOUCHED, _C.STAYS, _S.NOTHING),
    Moment.COMPANY_OFFLINE: Consequence(
        _P.BLOCKED_UNTIL_CERTIFIED, _M.UNTOUCHED, _C.STAYS, _S.PENDING_ERASURE_ORDERS
    ),
    Moment.GIVEN_AGAIN: Consequence(_P.BEGINS_ANEW, _M.UNTOUCHED, _C.ADDS, _S.NEW_PERSON),
    Moment.ONE_PURPOSE: Consequence(_P.OTHERS_GO_ON, _M.UNTOUCHED, _C.STAYS, _S.NOTHING),
}
"""By moment. A model is mentioned where the consent was for training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyLoss:
    """At most how much everything that was released gives away about one person: (ε, δ)-DP."""

    epsilon: Fraction
    delta: Fraction

    def __post_init__(self) -> None:
        if self.epsilon < 0 or not 0 <= self.delta < 1:
            raise ConfigurationError("privacy loss: expected ε from 0 and δ from 0 to below 1, got others")


class Retention(StrEnum):
    """Whether a model that has learnt from somebody who withdrew may still be used on others."""

    DP_BOUNDED_RETAIN = "DP_BOUNDED_RETAIN"
    RETAIN_LIMIT_EXCEEDED = "RETAIN_LIMIT_EXCEEDED"


@dataclass(frozen=True, slots=True)
class RetentionDecision:
    """The decision, and the second (Unix, UTC) from which on the model is not used any more."""

    retention: Retention
    retire_by: int


def retention(
    spent: PrivacyLoss, limit: PrivacyLoss, *, season_end: int, next_replacement: int
) -> RetentionDecision:
    """What becomes of a model after a withdrawal. It is never used on the student herself.

    Args:
        spent: her cumulative loss by all campaigns that she was released in.
        limit: what the policy promised in clause C09.
        season_end: when every model of the season is retired, whoever withdrew.
        next_replacement: the calendar date by which a model over the limit is replaced
            (`ReplacementRule.next_date`): the same date whether one or many withdrew.
    """
    if spent.epsilon <= limit.epsilon and spent.delta <= limit.delta:
        return RetentionDecision(Retention.DP_BOUNDED_RETAIN, season_end)
    return RetentionDecision(Retention.RETAIN_LIMIT_EXCEEDED, min(season_end, next_replacement))


@dataclass(frozen=True, slots=True)
class ReplacementRule:
    """When a model may be replaced by one that is trained without those who withdrew.

    Attributes:
        batch: how many withdrawals make a replacement, at least 10.
        dates: seconds (Unix, UTC) at which there is one anyway, ascending; fixed before the season, so that
            they say nothing about anybody.
    """

    batch: int
    dates: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.batch < LEAST_BATCH:
            raise ConfigurationError(
                f"replacement: expected a batch of at least {LEAST_BATCH}, got a smaller one"
            )
        if not self.dates or any(one >= other for one, other in pairwise(self.dates)):
            raise ConfigurationError("replacement: expected at least one date, in ascending order")

    def is_due(self, *, withdrawals: int, published_at: int, now: int) -> bool:
        """Whether the model that was published at `published_at` is replaced now.

        1. At a date of the calendar that came since, whether somebody withdrew or not.
        2. As soon as a whole batch has withdrawn since. Fewer wait for one of the two.
        """
        if bisect_right(self.dates, published_at) < bisect_right(self.dates, now):  # 1
            return True
        return withdrawals >= self.batch  # 2

    def next_date(self, now: int) -> int:
        """The next date of the calendar; after the last one that one, which has passed."""
        place = bisect_right(self.dates, now)
        return self.dates[min(place, len(self.dates) - 1)]
