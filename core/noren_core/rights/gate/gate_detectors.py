"""What cannot be prevented at the gate and can be noticed: offers taken back after a look, and odd batches.

docs/rights/gate-at-a-company.md §6. Pure functions of counts and times. Promises: the same for a company's
own `decisions status` and for an auditor. An alert is a reason to ask, and no proof: its false-alarm rate is
stated with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from noren_core.rights.gate.gate_file import ACCESS_SHOWN, GateFile

REVERSAL_SIGNIFICANCE = Fraction(1, 100)
"""Of honest companies, whose reversals do not depend on who was looked at, at most 1 in 100 is alerted."""

SOON_SECONDS = 14 * 86_400
TINY_SHARE = Fraction(1, 10)


class GateAlert(StrEnum):
    """What was noticed."""

    REVERSED_MORE_OFTEN_AFTER_A_VIEW = "REVERSED_MORE_OFTEN_AFTER_A_VIEW"
    REVERSED_SOON_AFTER_A_VIEW = "REVERSED_SOON_AFTER_A_VIEW"
    TINY_BATCH = "TINY_BATCH"
    LATE_BATCH = "LATE_BATCH"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReversalTimes:
    """One offer that was taken back: when, and when its band was first looked at (0: never)."""

    reversed_at: int
    viewed_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFacts:
    """One decision batch: when it was sealed and about how many applicants."""

    sealed_at: int
    decisions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GateHistory:
    """What happened at one position of a season.

    Attributes:
        offers: how many were sealed.
        viewed: about how many of these somebody looked at a band.
        reversals: those that were taken back.
        batches: in the order of sealing.
        first_view_at: when anybody first looked at a band of this position; 0 if nobody did.
    """

    offers: int
    viewed: int
    reversals: tuple[ReversalTimes, ...]
    batches: tuple[BatchFacts, ...]
    first_view_at: int


def histories(shown: GateFile) -> dict[str, GateHistory]:
    """What happened at each position, from what a company shows of its gate."""
    found = {}
    for position in sorted({item.batch.position for item in shown.batches}):
        batches = [item for item in shown.batches if item.batch.position == position]
        views = [item for item in shown.accesses if (item.position, item.outcome) == (position, ACCESS_SHOWN)]
        found[position] = GateHistory(
            offers=sum(len(item.batch.passed) for item in batches),
            viewed=len({item.handle for item in views}),
            reversals=tuple(
                ReversalTimes(reversed_at=reversal.at, viewed_at=reversal.viewed_at)
                for item in batches
                for reversal in item.reversals
            ),
            batches=tuple(
                BatchFacts(sealed_at=item.sealed_at, decisions=len(item.batch.openings)) for item in batches
            ),
            first_view_at=min((item.at for item in views), default=0),
        )
    return found


def gate_alerts(history: GateHistory) -> tuple[GateAlert, ...]:
    """Everything that is noticed about a position, in the order of `GateAlert`."""
    found = (
        (GateAlert.REVERSED_MORE_OFTEN_AFTER_A_VIEW, reversal_p_value(history) < REVERSAL_SIGNIFICANCE),
        (
            GateAlert.REVERSED_SOON_AFTER_A_VIEW,
            any(seconds <= SOON_SECONDS for seconds in seconds_to_reversal(history.reversals)),
        ),
        (GateAlert.TINY_BATCH, bool(tiny_batches(history.batches))),
        (GateAlert.LATE_BATCH, bool(late_batches(history))),
    )
    return tuple(alert for alert, is_noticed in found if is_noticed)


def reversal_p_value(history: GateHistory) -> Fraction:
    """How likely at least so many of the reversals are of viewed offers, if a view makes no difference.

    Fisher's exact test, one-sided: with V of N offers viewed and K reversed, the number of viewed ones among
    the reversed is hypergeometric.
    """
    after = sum(item.viewed_at > 0 for item in history.reversals)
    # A person whose record was made anew has two names in the log.
    viewed, reversed_ones = min(history.viewed, history.offers), len(history.reversals)
    unviewed = history.offers - viewed
    ways = sum(
        math.comb(viewed, count) * math.comb(unviewed, reversed_ones - count)
        for count in range(after, min(viewed, reversed_ones) + 1)
    )
    return Fraction(ways, math.comb(history.offers, reversed_ones))


def seconds_to_reversal(reversals: Sequence[ReversalTimes]) -> tuple[int, ...]:
    """How long after the first look each viewed offer was taken back, ascending."""
    return tuple(
        sorted(max(item.reversed_at - item.viewed_at, 0) for item in reversals if item.viewed_at > 0)
    )


def tiny_batches(batches: Sequence[BatchFacts]) -> tuple[int, ...]:
    """Which batches, by place, hold less than a tenth of all decisions: a batch of one singles her out."""
    total = sum(item.decisions for item in batches)
    return tuple(place for place, item in enumerate(batches) if item.decisions < TINY_SHARE * total)


def late_batches(history: GateHistory) -> tuple[int, ...]:
    """Which batches, by place, were sealed after somebody had looked at a band of the same position."""
    first = history.first_view_at
    return tuple(place for place, item in enumerate(history.batches) if 0 < first < item.sealed_at)
