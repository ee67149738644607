"""Is a released number as private as claimed? A test of the whole curve δ(ε), knowing no seed.

The claim: over all its releases, the mechanism is (ε, δ(ε))-private for every ε ≥ 0, δ(ε) being the curve of
a Gaussian with mean 0 or μ and deviation 1. For every event A, P(A | with) ≤ e^ε·P(A | without) + δ(ε), and
the same with the record's presence exchanged. Many runs with and without one record are given; rejected is a
claim that such an inequality contradicts. Nothing else is assumed of the mechanism.

One look at M runs per side:

1. A third of the runs of either side serves to choose: which score, which threshold, which direction and
   which ε contradict the claim most.
2. The rest is tested on that one event. With m runs on the larger side and ⌊m·e^−ε⌋ on the other, the number
   of right guesses has a mean of at most (larger side) + (smaller side)·δ(ε) under the claim, and by
   Hoeffding (1956) a tail below the binomial's with that mean. The p-value is therefore exact, for every ε at
   once.
3. The claim is rejected if the p-value is below the share of the false-alarm rate that this look may spend.

Looks are fixed beforehand and share the rate equally, so a mechanism that keeps its claim is rejected at any
of them with at most the stated probability. A mechanism that does not reject is not thereby proved private.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erfc, exp, inf, lgamma, log, log1p, sqrt

import numpy as np
import numpy.typing as npt

EPSILONS = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Where the curve is compared; the choice among them costs no part of the false-alarm rate."""

_THRESHOLDS = 21
_CHOOSING = 3
"""One run in so many serves to choose the event."""

_FAR = 30.0
"""A shift, in deviations, beyond which no two runs are ever mistaken for each other."""

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Event:
    """A guess at the record's presence: a score compared with a threshold, and the ε that it is held against.

    Attributes:
        score: which of the scores.
        threshold: what it is compared with.
        above: True if a score of at least the threshold is in favour of `is_present`.
        is_present: which of the two hypotheses the event favours.
        epsilon: of the inequality.
    """

    score: int
    threshold: float
    above: bool
    is_present: bool
    epsilon: float


@dataclass(frozen=True, slots=True)
class Look:
    """One look: runs per side, the event that was chosen on a third of them, and the p-value of the rest."""

    runs: int
    event: Event
    p_value: float
    is_rejected: bool


def claimed_delta(epsilon: float, mean: float) -> float:
    """δ(ε) of telling N(0, 1) from N(`mean`, 1) (Balle and Wang, ICML 2018, theorem 5)."""
    if mean == 0:
        return 0.0
    return max(
        0.0,
        _normal_below(mean / 2 - epsilon / mean) - exp(epsilon) * _normal_below(-mean / 2 - epsilon / mean),
    )


def look(present: Scores, absent: Scores, *, mean: float, false_alarm: float) -> Look:
    """Test the claim on all runs so far.

    Args:
        present: (M, scores) what was computed from M runs with the record.
        absent: (M, scores) the same without it.
        mean: the claim: μ of the composed mechanism, √rounds / noise multiplier.
        false_alarm: what this look may spend.
    """
    chosen = len(present) // _CHOOSING
    event = choose_event(present[:chosen], absent[:chosen], mean=mean)
    p_value = test_event(event, present[chosen:], absent[chosen:], mean=mean)
    return Look(len(present), event, p_value, p_value < false_alarm)


def choose_event(present: Scores, absent: Scores, *, mean: float) -> Event:
    """The event that contradicts the claim most on these runs, in estimated deviations."""
    best, found = -inf, Event(0, 0.0, above=True, is_present=True, epsilon=0.0)
    deltas = [claimed_delta(epsilon, mean) for epsilon in EPSILONS]
    for score in range(present.shape[1]):
        both = np.concatenate([present[:, score], absent[:, score]])
        for threshold in np.unique(np.quantile(both, np.linspace(0, 1, _THRESHOLDS), method="higher")):
            shares = (_share(present[:, score] >= threshold), _share(absent[:, score] >= threshold))
            for above in (True, False):
                with_record, without = shares if above else (1 - shares[0], 1 - shares[1])
                for is_present in (True, False):
                    hit, false = (with_record, without) if is_present else (without, with_record)
                    for epsilon, delta in zip(EPSILONS, deltas, strict=True):
                        excess = _excess(hit, false, epsilon, delta)
                        if excess > best:
                            best = excess
                            found = Event(score, float(threshold), above, is_present, epsilon)
    return found


def test_event(event: Event, present: Scores, absent: Scores, *, mean: float) -> float:
    """The p-value of the claim given these runs, none of which served to choose the event."""
    favoured, other = (present, absent) if event.is_present else (absent, present)
    favoured = favoured[: int(len(other) * exp(-event.epsilon))]
    trials = len(favoured) + len(other)
    right = int(_holds(event, favoured).sum() + (~_holds(event, other)).sum())
    expected = len(other) + len(favoured) * claimed_delta(event.epsilon, mean)
    if right < expected + 1:  # Hoeffding's theorem is about the tail beyond the mean
        return 1.0
    return binomial_tail(right, trials, expected / trials)


test_event.__test__ = False  # type: ignore[attr-defined]  # named for what it does; it is no test of ours


def power(mean: float, ratio: float, runs: int, *, false_alarm: float) -> float:
    """About how often one look at `runs` per side rejects, when the shift is `ratio` times the one claimed.

    The events are those of a Gaussian score, the best of them at the best ε; normal approximation.
    """
    tested = runs - runs // _CHOOSING
    best, actual = 0.0, min(mean * ratio, _FAR)
    quantile = _normal_quantile(false_alarm)
    for epsilon in EPSILONS:
        smaller = int(tested * exp(-epsilon))
        if smaller == 0:
            continue
        trials, claimed = tested + smaller, tested + smaller * claimed_delta(epsilon, mean)
        expected_share = claimed / trials
        for threshold in np.linspace(-3, actual + 3, 61):
            hit, false = _normal_below(actual - threshold), _normal_below(-threshold)
            gained = smaller * hit + tested * (1 - false) - claimed
            spread = sqrt(smaller * hit * (1 - hit) + tested * false * (1 - false)) + 1e-9
            limit = quantile * sqrt(trials * expected_share * (1 - expected_share))
            best = max(best, _normal_below((gained - limit) / spread))
    return best


def binomial_tail(successes: int, trials: int, probability: float) -> float:
    """P(Binomial(trials, probability) ≥ successes), the terms summed in logarithms."""
    if successes <= 0:
        return 1.0
    if probability <= 0 or probability >= 1:
        return float(probability >= 1)
    base = lgamma(trials + 1) + trials * log1p(-probability)
    odds = log(probability) - log1p(-probability)
    exponents = (
        base - lgamma(count + 1) - lgamma(trials - count + 1) + count * odds
        for count in range(successes, trials + 1)
    )
    return min(1.0, sum(map(exp, exponents)))


def _excess(hit: float, false: float, epsilon: float, delta: float) -> float:
    """By how many deviations P(A|·) exceeds e^ε·P(A|·) + δ, runs of the smaller side counted e^−ε times."""
    shrink = exp(-epsilon)
    spread = sqrt(shrink * hit * (1 - hit) + false * (1 - false))
    return (shrink * (hit - delta) - false) / spread


def _share(holds: npt.NDArray[np.bool_]) -> float:
    """Which share of runs it holds in, moved off 0 and 1 as far as so few runs leave open."""
    return float((holds.sum() + 0.5) / (len(holds) + 1))


def _holds(event: Event, scores: Scores) -> npt.NDArray[np.bool_]:
    is_above = scores[:, event.score] >= event.threshold
    return is_above if event.above else ~is_above


def _normal_below(value: float) -> float:
    return erfc(-value / sqrt(2)) / 2


def _normal_quantile(probability: float) -> float:
    """The value that a standard normal exceeds with this probability."""
    low, high = -40.0, 40.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if _normal_below(-middle) > probability else (low, middle)
    return low
