"""Whether the noise was added, from what everybody can see: the sums at coordinates that hold nothing else.

To every row belong k coordinates that are always 0, so what a round releases there is the companies' noise
and no data. In each `settle` stand the k sums of the round, and the plan says how wide they must be. Nobody's
rows are needed, only the ledger.

The test is a two-sided χ² of all of them together: with s survivors, each having drawn noise of variance v,
x²/(s·v) summed over n sums is distributed as χ² with n degrees of freedom. (The sum of many discrete
Gaussians of this width differs from a Gaussian by nothing that a sample of this size could show.) An honest
season is accused with probability `FALSE_ALARM`.

What it cannot see: noise that was left out everywhere but here, and that one company of many drew less than
its share. Replay sees both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from math import erfc, exp, lgamma, log, sqrt
from typing import NamedTuple

from noren_core.privacy.events import GaussianEvent
from noren_core.privacy.noise import company_variance

FALSE_ALARM = 1e-3
"""The probability with which an honest season is called too small or too large."""

DEVIATIONS_SHOWN = (0.5, 0.7, 0.8, 0.9)
POWER = 0.99
_LEAST_REPEATED = 2
"""One sum alone can come up twice by chance: in 100 rounds once in a thousand seasons."""


class SentinelFault(StrEnum):
    """What the sums can say against a season."""

    SENTINELS_TOO_SMALL = "SENTINELS_TOO_SMALL"
    SENTINELS_TOO_LARGE = "SENTINELS_TOO_LARGE"
    SENTINELS_REPEATED = "SENTINELS_REPEATED"


class SentinelRound(NamedTuple):
    """One round as its settles tell it: how many were in the sum, how many shared keys, the k sums."""

    survivors: int
    cohort: int
    sums: Sequence[int]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the sums of one campaign say.

    Attributes:
        observations: how many sums there are; 0 if the plan has no sentinels, and then nothing was tested.
        deviation_ratio: the deviation that was found, by the planned one.
        p_value: how likely an honest season is to be at least this far off, to either side.
        round_p_values: the same of each round alone. Judged against FALSE_ALARM divided by their number.
        faults: what was found; nothing if the season passes.
    """

    observations: int
    deviation_ratio: float
    p_value: float
    round_p_values: tuple[float, ...]
    faults: tuple[SentinelFault, ...]


def judge(rounds: Sequence[SentinelRound], event: GaussianEvent) -> Judgement:
    """Test one campaign's sums against the noise that its event promises.

    1. Standardise every sum by the deviation of its round: survivors · one company's variance, which follows
       from the event and the size of the cohort.
    2. The squares of all of them together: a two-sided χ² at FALSE_ALARM.
    3. No two rounds have the same sums: a repetition is one noise used twice.

    Raises:
        ConfigurationError: if a cohort is no larger than the event tolerates.
    """
    # 1
    squares = [_squares(item, event) for item in rounds]
    # 2
    total, count = sum(map(sum, squares)), sum(map(len, squares))
    p_value = two_sided(total, count)
    faults = []
    if p_value < FALSE_ALARM:
        small = total < count
        faults.append(SentinelFault.SENTINELS_TOO_SMALL if small else SentinelFault.SENTINELS_TOO_LARGE)
    # 3
    if repeated(tuple(item.sums) for item in rounds):
        faults.append(SentinelFault.SENTINELS_REPEATED)
    return Judgement(
        observations=count,
        deviation_ratio=sqrt(total / count) if count else 1.0,
        p_value=p_value,
        round_p_values=tuple(two_sided(sum(found), len(found)) for found in squares),
        faults=tuple(faults),
    )


def repeated(rounds: Iterable[tuple[int, ...]]) -> bool:
    """Whether two of these rounds, of one campaign or of several, have the same sums."""
    seen: set[tuple[int, ...]] = set()
    for sums in rounds:
        if len(sums) >= _LEAST_REPEATED and sums in seen:
            return True
        seen.add(sums)
    return False


def observations_needed(deviation_ratio: float) -> int:
    """How many sums show a deviation this much smaller than promised, with probability POWER.

    Args:
        deviation_ratio: above 0 and below 1.
    """
    low, high = 1, 2
    while _power(deviation_ratio, high) < POWER:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _power(deviation_ratio, middle) >= POWER else (middle, high)
    return high


def two_sided(square_sum: float, degrees: int) -> float:
    """Twice the smaller tail of χ² with this many degrees of freedom; 1 if there are none."""
    if degrees == 0:
        return 1.0
    above = chi_square_above(square_sum, degrees)
    return min(1.0, 2 * min(above, 1 - above))


def chi_square_above(value: float, degrees: int) -> float:
    """P(χ² with `degrees` ≥ 1 degrees of freedom > value), to about 1e-12.

    The finite sums (Abramowitz and Stegun 26.4.4, 26.4.5), their terms in logarithms: with h = value/2 it is
    e^−h·Σ h^i/Γ(i + 1) over i < degrees/2, the i being whole numbers for even degrees and for odd ones halves
    from 1/2 on, with erfc(√h) added.
    """
    half = value / 2
    if half <= 0:
        return 1.0
    start, tail = (0.0, 0.0) if degrees % 2 == 0 else (0.5, erfc(sqrt(half)))
    terms = range(degrees // 2)
    exponents = ((start + i) * log(half) - half - lgamma(start + i + 1) for i in terms)
    return min(1.0, tail + sum(map(exp, exponents)))


def _squares(item: SentinelRound, event: GaussianEvent) -> list[float]:
    variance = float(item.survivors * company_variance(event, companies=item.cohort))
    return [value * value / variance for value in item.sums]


def _power(deviation_ratio: float, degrees: int) -> float:
    """How often `degrees` sums of a deviation this much smaller are called too small."""
    return 1 - chi_square_above(_lower_limit(degrees) / deviation_ratio**2, degrees)


@cache
def _lower_limit(degrees: int) -> float:
    """Below it χ² is with probability FALSE_ALARM / 2."""
    low, high = 0.0, float(degrees)
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        is_above = 1 - chi_square_above(middle, degrees) > FALSE_ALARM / 2
        low, high = (low, middle) if is_above else (middle, high)
    return low
