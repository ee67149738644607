"""Epsilon from events (dp-accounting), and the noise that a given epsilon needs.

What is promised: `epsilon_pld` is an upper bound on the epsilon of the composed events, for adding or
removing one record. It is never computed from anything but events, and calibration asks the very function
that verifies. Refused: deltas below 1e-8, where the accountant's floating-point error is no longer small.
Gaussian-DP approximations are not used (they under-report), and no event is ever built from a name.

The bound has three parts.

1. The composed continuous Gaussian by privacy loss distributions, pessimistic at interval 1e-3.
2. The step from continuous to discrete noise, `_grid_term`. Let p be the discrete Gaussian of standard
   deviation s, and q the continuous one rounded to integers. Adding q is post-processing of adding the
   continuous one, so part 1 holds for it. With φ the density at integers, q(k) = φ(k)·∫ exp(−u²/2s²)
   cosh(ku/s²) du over |u| ≤ 1/2, hence φ(k)·(1 − 1/24s²) ≤ q(k) ≤ φ(k)·exp(k²/24s⁴), and p(k) equals φ(k)
   up to exp(−2π²s²). For n coordinates in all rounds, p/q is thus at most exp(n/23s²), and q/p at most
   exp(K²/24s⁴) unless the noise's squared norm exceeds K². Choosing K² so that this has probability below
   e^−70 costs ε an additive a = (n + K²/s²)/23s², and δ a factor e^a. (Adding the total variation distance
   to δ instead would have to carry a factor 1 + e^ε, which is ruinous at the ε of the row release.)
3. A margin of 1e-4 for the accountant's floating point, e^−70 and e^−2π²s² included.

Distributed noise is a sum of N discrete Gaussians rather than one. Their distributions differ pointwise by
a factor of at most exp(10·N·exp(−π²·s²/N)) (Kairouz, Liu and Steinke, ICML 2021): nothing, for the noise
of at least `MIN_GRID_DEVIATION` demanded here and up to 1,000 companies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from math import exp, inf, nextafter, sqrt

from noren_core.errors import ConfigurationError
from noren_core.privacy.events import GaussianEvent, NoisePlacement, format_decimal

INTERVAL = 1e-3
MARGIN = 1e-4
MIN_DELTA = 1e-8
MAX_EPSILON = 30.0
"""Above it the bound is stated as infinite; e^ε · e^−70 must stay far below delta."""

MAX_COORDINATES = 256
"""Longest released vector the bound is stated for; whoever releases checks it."""

MIN_GRID_DEVIATION = 128
_TAIL_EXPONENT = 70.0

Number = float | str | Fraction


def epsilon_pld(events: Sequence[GaussianEvent], delta: Number) -> float:
    """An upper bound on the epsilon of all `events` together at `delta`; 0 for none, inf beyond 30.

    Raises:
        ConfigurationError: if delta is out of range or an event's noise is too coarse for the argument.
    """
    releases: Counter[tuple[float, float]] = Counter()
    for event in events:  # ten events and one of count ten are the same
        releases[_rounded_down(event.noise_multiplier), float(event.grid_deviation)] += event.count
    merged = sorted(releases.items())
    return _epsilon(
        [(multiplier, count) for (multiplier, _), count in merged],
        _checked_delta(delta),
        sum(_grid_term(deviation, count * MAX_COORDINATES) for (_, deviation), count in merged),
    )


def epsilon_rows(
    *,
    variance: int | Fraction,
    sensitivity: Number,
    delta: Number,
    coordinates: int = MAX_COORDINATES,
    count: int = 1,
) -> float:
    """An upper bound on the epsilon of releases of an integer vector with discrete Gaussian noise.

    Args:
        variance: the noise's variance parameter per coordinate, in squared grid units.
        sensitivity: largest L2 distance between two vectors that must not be told apart; for replacing
            a row of norm at most R, 2R. In grid units.
        delta: of the release.
        coordinates: length of the vector.
        count: how often it is released, each time with fresh noise.

    Raises:
        ConfigurationError: if a parameter is out of range.
    """
    distance = Fraction(sensitivity)
    if distance <= 0 or variance <= 0 or count < 1 or not 1 <= coordinates <= MAX_COORDINATES:
        raise ConfigurationError(
            "row release: expected positive noise, sensitivity and count "
            f"and 1 to {MAX_COORDINATES} coordinates"
        )
    grid_term = _grid_term(sqrt(variance), count * coordinates)
    multiplier = sqrt(_rounded_down(Fraction(variance) / distance**2))
    return _epsilon([(nextafter(multiplier, 0.0), count)], _checked_delta(delta), grid_term)


def epsilon_rdp(events: Sequence[GaussianEvent], delta: Number) -> float:
    """A looser bound by Rényi divergences, as a ceiling that `epsilon_pld` must stay under.

    No grid term: at integer shifts the discrete Gaussian's divergences are at most the continuous one's,
    at every order (Canonne, Kamath and Steinke 2020, proposition 5).
    """
    from dp_accounting import GaussianDpEvent, NeighboringRelation
    from dp_accounting.rdp import RdpAccountant

    delta = _checked_delta(delta)
    if not events:
        return 0.0
    accountant = RdpAccountant(neighboring_relation=NeighboringRelation.ADD_OR_REMOVE_ONE)
    for event in events:
        accountant.compose(GaussianDpEvent(_rounded_down(event.noise_multiplier)), event.count)
    return float(accountant.get_epsilon(delta))


def noise_multiplier_for(
    *, epsilon: Number, delta: Number, rounds: int, clipping_norm: Number = 1, grid: int = 2**16
) -> str:
    """The smallest noise multiplier, in thousandths, that `epsilon_pld` verifies over `rounds` releases.

    Raises:
        ConfigurationError: if a parameter is out of range or `epsilon` cannot be verified at any noise.
    """
    _checked_delta(delta)
    if rounds < 1:
        raise ConfigurationError(f"rounds: expected at least 1, got {rounds}")

    def verified(thousandths: int) -> float:
        event = GaussianEvent(
            noise_multiplier=Fraction(thousandths, 1000),
            clipping_norm=Fraction(clipping_norm),
            grid=grid,
            count=rounds,
            placement=NoisePlacement.LOCAL,
            tolerated=0,
        )
        return epsilon_pld([event], delta)

    guess = _analytic(epsilon, delta) * sqrt(rounds)
    return format_decimal(Fraction(_smallest(verified, guess, epsilon), 1000))


def gaussian_row_sigma(
    *, epsilon: Number, delta: Number, sensitivity: Number, coordinates: int = MAX_COORDINATES
) -> Fraction:
    """The smallest standard deviation, in thousandths of `sensitivity`, that `epsilon_rows` verifies.

    Starts from the analytic Gaussian mechanism (Balle and Wang, ICML 2018). Parameters and refusals are
    those of `epsilon_rows`.
    """
    unit = Fraction(sensitivity) / 1000

    def verified(thousandths: int) -> float:
        variance = (thousandths * unit) ** 2
        return epsilon_rows(variance=variance, sensitivity=sensitivity, delta=delta, coordinates=coordinates)

    return _smallest(verified, _analytic(epsilon, delta), epsilon) * unit


def _epsilon(releases: Sequence[tuple[float, int]], delta: float, grid_term: float) -> float:
    """The bound of the module docstring for (noise multiplier, count) pairs."""
    from dp_accounting import GaussianDpEvent, NeighboringRelation
    from dp_accounting.pld import PLDAccountant

    if not releases:
        return 0.0
    accountant = PLDAccountant(NeighboringRelation.ADD_OR_REMOVE_ONE, INTERVAL)
    for multiplier, count in releases:
        accountant.compose(GaussianDpEvent(multiplier), count)
    # The factor leaves room for e^ε · e^−70, which is below 1e-9 of delta up to MAX_EPSILON.
    left = delta * exp(-grid_term) * (1 - 1e-9)
    epsilon = float(accountant.get_epsilon(left)) + grid_term + MARGIN
    return epsilon if epsilon <= MAX_EPSILON else inf


def _grid_term(deviation: float, coordinates: int) -> float:
    """What replacing continuous by discrete noise of this deviation adds to epsilon; see the module."""
    if deviation < MIN_GRID_DEVIATION:
        raise ConfigurationError(
            f"noise: expected a deviation of at least {MIN_GRID_DEVIATION} grid units, got less"
        )
    # A sum of n squares of standard Gaussians exceeds `tail` with probability below e^−x (Laurent and
    # Massart 2000, lemma 1); rounding moves each by at most 1/2, hence k² ≤ 2·X² + 1/2.
    tail = coordinates + 2 * sqrt(_TAIL_EXPONENT * coordinates) + 2 * _TAIL_EXPONENT
    return (coordinates + 2 * tail + coordinates) / (23 * deviation**2)


def _smallest(verified: Callable[[int], float], guess: float, epsilon: Number) -> int:
    """The smallest number of thousandths that verifies at `epsilon`, searched from the analytic value up."""
    target = float(Fraction(epsilon))
    low = int(1000 * guess)  # below the analytic value nothing verifies
    step = 1
    while verified(low + step) > target:
        low, step = low + step, 2 * step
        if step > 1000 * (1 + guess) * 64:
            raise ConfigurationError("epsilon: expected one that some noise verifies, got too small a one")
    high = low + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if verified(middle) <= target else (middle, high)
    return high


def _analytic(epsilon: Number, delta: Number) -> float:
    """The noise multiplier of one continuous Gaussian release at exactly (epsilon, delta)."""
    from dp_accounting import get_sigma_gaussian

    target = float(Fraction(epsilon))
    if not 0 < target <= MAX_EPSILON:
        raise ConfigurationError(f"epsilon: expected more than 0 and at most {MAX_EPSILON:g}, got another")
    return float(get_sigma_gaussian(target, _checked_delta(delta)))


def _checked_delta(delta: Number) -> float:
    value = float(Fraction(delta))
    if not MIN_DELTA <= value < 1:
        raise ConfigurationError(f"delta: expected at least {MIN_DELTA:g} and below 1, got another")
    return value


def _rounded_down(value: Fraction) -> float:
    """A float not above `value`: too little noise is the safe side."""
    return nextafter(float(value), 0.0)
