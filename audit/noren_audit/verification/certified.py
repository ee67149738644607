"""A third accountant, whose rounding errors are counted: the closed form in ball arithmetic.

Every number is an interval that certainly holds the true value (Arb, through python-flint), from the decimals
of the ledger to the result. An upper bound is a value of ε at which δ(ε) is certainly small enough, a lower
bound one at which it certainly is not. Formula and grid term are those of `closed_form`. Optional:
`pip install 'noren[certified]'`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from math import inf, nextafter
from typing import Any

from noren_audit.verification.closed_form import MAX_COORDINATES, MAX_EPSILON, TAIL, grid_term, mu_squared
from noren_core.privacy.events import GaussianEvent

_BITS = 160
_STEPS = 60


@dataclass(frozen=True, slots=True)
class Bracket:
    """Where the true epsilon certainly lies.

    Attributes:
        lower: the continuous Gaussian of this noise already has at least this epsilon.
        upper: the discrete one that is used has at most this.
    """

    lower: float
    upper: float


def certified_epsilon(
    events: Iterable[GaussianEvent], delta: str, *, coordinates: int = MAX_COORDINATES
) -> Bracket | None:
    """The bounds for all `events` together at `delta`; None if python-flint is not installed.

    Above 512 the upper bound is infinity. What e^−70 and the noise's distance from a rounded one at integers
    cost, below 1e-9 of delta up to an epsilon of 30, is taken off delta.

    Raises:
        ConfigurationError: if an event's noise is too coarse for the argument about the grid.
    """
    releases = tuple(events)
    if find_spec("flint") is None:
        return None
    if not releases:
        return Bracket(0.0, 0.0)
    from flint import arb, ctx

    with ctx.workprec(_BITS):
        stated = _exact(Fraction(delta))
        mu = _exact(mu_squared(releases)).sqrt()
        added = _grid_term(releases, coordinates)
        allowed = stated * (-added).exp() * (1 - arb(10) ** -9)
        root = arb(2).sqrt()

        def loss(epsilon: float) -> Any:
            ratio = arb(epsilon) / mu
            above = ((ratio - mu / 2) / root).erfc()
            below = ((ratio + mu / 2) / root).erfc()
            return (above - arb(epsilon).exp() * below) / 2

        upper = _least(lambda epsilon: bool(loss(epsilon) <= allowed))
        lower = _greatest(lambda epsilon: bool(loss(epsilon) >= stated))
        return Bracket(lower, nextafter(float((arb(upper) + added).upper()), inf) if upper < inf else inf)


def _grid_term(releases: tuple[GaussianEvent, ...], coordinates: int) -> Any:
    """`closed_form.grid_term`, as a ball."""
    from flint import arb

    grid_term(releases, coordinates)  # refuses what is too coarse
    counts: dict[Fraction, int] = {}
    for event in releases:
        counts[event.grid_deviation] = counts.get(event.grid_deviation, 0) + event.count * coordinates
    total = arb(0)
    for deviation, n in counts.items():
        total += (4 * n + 4 * arb(TAIL * n).sqrt() + 4 * TAIL) / _exact(23 * deviation**2)
    return total


def _exact(value: Fraction) -> Any:
    from flint import arb, fmpq

    return arb(fmpq(value.numerator, value.denominator))


def _least(holds: Callable[[float], bool]) -> float:
    """The least value found, to some 1e-15, for which a property certainly holds that greater ones have."""
    if holds(0.0):
        return 0.0
    if not holds(MAX_EPSILON):
        return inf
    low, high = 0.0, MAX_EPSILON
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _greatest(holds: Callable[[float], bool]) -> float:
    """The greatest value found for which a property certainly holds that lesser ones have; 0 if none."""
    low, high = 0.0, MAX_EPSILON
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
