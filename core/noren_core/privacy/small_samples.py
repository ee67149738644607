"""When numbers are too small for a plan to protect anybody, or for anybody to learn from them.

Pure questions about public parameters and, for `is_below_noise`, a number that the asking party keeps to
itself: whether a company has too few rows is told to that company alone, and changes nothing that it sends.
"""

from __future__ import annotations

from fractions import Fraction

from noren_core.privacy.events import GaussianEvent, NoisePlacement
from noren_core.privacy.noise import company_variance

MEANINGLESS_DELTA = Fraction(1, 10)
"""δ times the number of records above which (ε, δ) lets a whole record be published."""

MIN_COMPANIES = 3
MIN_HONEST_SHARES = 2


def publishes_a_record(delta: Fraction, *, records: int) -> bool:
    """Whether δ is so large that a mechanism may publish one of `records` whole and keep (0, δ).

    Publishing each record with probability δ is (0, δ)-differentially private, and publishes δ·n of them.
    """
    return delta * records > MEANINGLESS_DELTA


def strongest_placement(*, companies: int, minimum_cohort: int, tolerated: int) -> NoisePlacement:
    """DISTRIBUTED where shares of noise add up to protection, otherwise LOCAL.

    Of two companies, each can subtract its own contribution and sees the other's with half of the noise.
    The same holds for the last honest company of a larger cohort, once drop-outs and those who reveal
    their noise are as many as the plan tolerates.
    """
    if companies < MIN_COMPANIES or minimum_cohort - tolerated < MIN_HONEST_SHARES:
        return NoisePlacement.LOCAL
    return NoisePlacement.DISTRIBUTED


def is_below_noise(records: int, *, event: GaussianEvent, rounds: int, companies: int) -> bool:
    """Whether `records` cannot be noticed in the head, whatever is in them.

    The most they can add up to over all rounds, each gradient at full length C·grid and all in one direction,
    is rounds·records·C·grid; the noise of the companies' sums in that direction has a standard deviation of
    √(rounds·companies·v), v being one company's variance. Below it, whatever a head shows is noise.
    """
    largest = rounds * records * event.clipping_norm * event.grid
    noise_variance = rounds * companies * company_variance(event, companies=companies)
    return largest**2 < noise_variance
