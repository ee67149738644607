"""A second accountant without any privacy library: the exact loss of full-batch Gaussian releases.

Releases that every record takes part in compose to one Gaussian release: with μ² = Σ count/σ² the whole list
is exactly as private as telling N(0, 1) from N(μ, 1), so that for every ε

    δ(ε) = Φ(μ/2 − ε/μ) − e^ε · Φ(−μ/2 − ε/μ)

(Balle and Wang, ICML 2018, theorem 8; Dong, Roth and Su 2022, corollary 3.3). Here that is solved for ε, and
what the discrete noise costs (docs/privacy.md §5.5) is added as there: to ε, and as a factor to δ. This is
an equality, no bound that approximates: the accountant by privacy loss distributions must give the same, a
little rounded up. Subsampled releases have no such form; this project has none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from math import erfc, exp, inf, sqrt

from noren_core.errors import ConfigurationError
from noren_core.privacy.events import GaussianEvent

MAX_EPSILON = 512.0
"""Above it the answer is infinity: e^ε and Φ must stay within the range of floats."""

MAX_COORDINATES = 256
"""Longest vector that a release of a round has."""

LEAST_DEVIATION = 128
TAIL = 70
"""The noise's norm is as large as assumed but with probability e^−70."""

_STEPS = 100


def epsilon_closed_form(
    events: Iterable[GaussianEvent], delta: str, *, coordinates: int = MAX_COORDINATES
) -> float:
    """The epsilon of all `events` together at `delta`, in floats; 0 for none, inf beyond 512.

    Args:
        events: what is composed.
        delta: at which.
        coordinates: length of each released vector.

    Raises:
        ConfigurationError: if an event's noise is too coarse for the argument about the grid.
    """
    releases = tuple(events)
    mu, added = sqrt(mu_squared(releases)), grid_term(releases, coordinates)
    if not releases:
        return 0.0
    target = float(Fraction(delta)) * exp(-added)
    if _delta(MAX_EPSILON, mu) > target:
        return inf
    low, high = 0.0, MAX_EPSILON
    if _delta(low, mu) <= target:
        return added
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if _delta(middle, mu) <= target else (middle, high)
    return high + added


def mu_squared(events: Iterable[GaussianEvent]) -> Fraction:
    """Σ count/σ², exactly: whichever list has more of it has lost more."""
    return sum((count / sigma**2 for sigma, count in _by_noise(events)), Fraction(0))


def grid_term(events: Iterable[GaussianEvent], coordinates: int) -> float:
    """What discrete instead of continuous noise adds to epsilon, vectors being of this length.

    For n samples of deviation s: (n + K²/s²)/23s² with K²/s² ≤ 2·(n + 2√70n + 140) + n.

    Raises:
        ConfigurationError: for a deviation below 128 grid units.
    """
    counts: Counter[Fraction] = Counter()
    for event in events:
        counts[event.grid_deviation] += event.count * coordinates
    if any(deviation < LEAST_DEVIATION for deviation in counts):
        raise ConfigurationError(
            f"noise: expected a deviation of at least {LEAST_DEVIATION} grid units, got less"
        )
    return sum(
        (4 * n + 4 * sqrt(TAIL * n) + 4 * TAIL) / float(23 * deviation**2) for deviation, n in counts.items()
    )


def _by_noise(events: Iterable[GaussianEvent]) -> list[tuple[Fraction, int]]:
    counts: Counter[Fraction] = Counter()
    for event in events:
        counts[event.noise_multiplier] += event.count
    return list(counts.items())


def _delta(epsilon: float, mu: float) -> float:
    return _normal(mu / 2 - epsilon / mu) - exp(epsilon) * _normal(-mu / 2 - epsilon / mu)


def _normal(value: float) -> float:
    """Φ(value)."""
    return erfc(-value / sqrt(2)) / 2
