"""The curve test against exact Gaussians: how often it accuses the innocent, and how often it catches."""

from __future__ import annotations

from math import exp, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm

from noren_audit.certification import privacy_curve
from noren_core.privacy.accounting import epsilon_pld, noise_multiplier_for
from noren_core.privacy.events import GaussianEvent, NoisePlacement, parse_decimal

ROUNDS, DELTA = 2, "0.000001"


def mean_of(epsilon: int) -> float:
    """μ of the composed mechanism that claims this ε."""
    multiplier = noise_multiplier_for(epsilon=epsilon, delta=DELTA, rounds=ROUNDS)
    return sqrt(ROUNDS) / float(parse_decimal(multiplier, "σ"))


def runs(rng: np.random.Generator, count: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores with and without the record: one that it moves, one that it does not."""
    present, absent = rng.standard_normal((2, count, 2))
    present[:, 0] += shift
    return present, absent


def rejections(mean: float, shift: float, *, count: int, false_alarm: float, repetitions: int) -> int:
    rng = np.random.default_rng(2026)
    taken = (
        privacy_curve.look(*runs(rng, count, shift), mean=mean, false_alarm=false_alarm)
        for _ in range(repetitions)
    )
    return sum(look.is_rejected for look in taken)


@pytest.mark.parametrize("mean", [0.25, 0.8, 1.5])
@pytest.mark.parametrize("count", [99, 600])
def test_whoever_keeps_the_claim_is_seldom_accused(mean: float, count: int) -> None:
    """At a rate of 5 %, as much as that and no more: 400 seasons exactly at their claim, 35 allowed.

    (An honest test would exceed 35 of 400 with probability 1e-3.)
    """
    assert rejections(mean, mean, count=count, false_alarm=0.05, repetitions=400) <= 35
    assert binom.sf(35, 400, 0.05) < 1e-3


@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_less_than_claimed_is_never_held_against_anybody(shift: float) -> None:
    assert rejections(0.8, shift, count=600, false_alarm=0.05, repetitions=100) <= 12


def test_the_p_value_of_a_fixed_event_is_a_p_value() -> None:
    """Exactly on the curve's tangent, small p-values are no more frequent than they say."""
    mean, event = 0.8, privacy_curve.Event(0, 0.4, above=True, is_present=True, epsilon=0.0)
    rng = np.random.default_rng(7)
    found = [privacy_curve.test_event(event, *runs(rng, 300, mean), mean=mean) for _ in range(2000)]
    for level in (0.2, 0.05, 0.01):
        assert np.mean(np.array(found) <= level) <= level + 4 * sqrt(level * (1 - level) / 2000)
    assert np.mean(np.array(found) <= 0.2) > 0.1  # at ε = 0 the bound is nearly met


def test_up_to_one_above_the_mean_nothing_is_concluded() -> None:
    """Hoeffding's theorem says nothing there: ten right of twenty, where the claim allows ten on average."""
    event = privacy_curve.Event(0, 0.5, above=True, is_present=True, epsilon=0.0)
    halves = np.array([[0.0], [1.0]] * 5)
    assert privacy_curve.test_event(event, halves, halves, mean=0.0) == 1.0


@pytest.mark.parametrize(("epsilon", "count"), [(1, 3000), (4, 1200), (8, 400)])
def test_half_the_deviation_is_caught_as_often_as_said(epsilon: int, count: int) -> None:
    """The stated power is that of the best event; choosing one costs up to a tenth."""
    mean, false_alarm = mean_of(epsilon), 1e-3 / 12
    stated = privacy_curve.power(mean, 2, count, false_alarm=false_alarm)
    caught = rejections(mean, 2 * mean, count=count, false_alarm=false_alarm, repetitions=60) / 60
    assert stated > 0.95
    assert stated - 0.15 <= caught <= min(1.0, stated + 0.1)


def test_power_grows_with_runs_and_with_the_fault() -> None:
    by_runs = [privacy_curve.power(0.24, 2, runs, false_alarm=1e-4) for runs in (100, 400, 1200, 3000)]
    by_shift = [
        privacy_curve.power(0.24, shift, 1200, false_alarm=1e-4) for shift in (1, 1.5, 2, 4, float("inf"))
    ]
    for grown in (by_runs, by_shift):
        assert grown == sorted(grown)
    assert by_shift[0] == pytest.approx(1e-4, rel=0.01)  # no fault: the false-alarm rate, nearly met
    assert by_shift[-1] > 0.999


def test_one_noise_used_twice_shows_in_the_other_score() -> None:
    """Nothing to see along the canary; without noise in the difference of rounds."""
    rng = np.random.default_rng(3)
    present, absent = runs(rng, 100, 0.2)
    present[:, 1], absent[:, 1] = 0.1, 0.0
    look = privacy_curve.look(present, absent, mean=0.24, false_alarm=1e-4)
    assert look.is_rejected
    assert look.event.score == 1


def test_the_choice_and_the_test_share_no_run() -> None:
    """Whatever the first third says, the p-value is that of the others."""
    rng = np.random.default_rng(5)
    present, absent = runs(rng, 300, 0.5)
    present[:100], absent[:100] = 50.0, -50.0  # a third that would convict anybody
    look = privacy_curve.look(present, absent, mean=0.5, false_alarm=0.05)
    assert look.p_value == privacy_curve.test_event(look.event, present[100:], absent[100:], mean=0.5)
    assert not look.is_rejected


@given(st.floats(0.05, 4), st.floats(0, 8))
def test_the_claimed_curve_is_the_gaussians(mean: float, epsilon: float) -> None:
    """As an integral of (p − e^ε·q)+ it is δ(ε); the closed form must agree with scipy's normal."""
    expected = norm.cdf(mean / 2 - epsilon / mean) - exp(epsilon) * norm.cdf(-mean / 2 - epsilon / mean)
    assert privacy_curve.claimed_delta(epsilon, mean) == pytest.approx(max(expected, 0), abs=1e-12)


@pytest.mark.parametrize("epsilon", [1, 4, 8])
def test_the_claimed_curve_is_the_accountants(epsilon: int) -> None:
    """At the ε that the accountant verifies, δ(ε) is at most the δ of the claim, and not much less."""
    multiplier = noise_multiplier_for(epsilon=epsilon, delta=DELTA, rounds=ROUNDS)
    event = GaussianEvent(
        noise_multiplier=parse_decimal(multiplier, "σ"),
        clipping_norm=parse_decimal("1", "C"),
        grid=2**16,
        count=ROUNDS,
        placement=NoisePlacement.LOCAL,
        tolerated=0,
    )
    assert epsilon_pld([event], DELTA) <= epsilon
    delta = privacy_curve.claimed_delta(epsilon, mean_of(epsilon))
    assert 0.9 * float(DELTA) < delta <= float(DELTA)


@settings(max_examples=60)
@given(st.integers(1, 3000), st.floats(0.001, 0.999), st.floats(0, 1))
def test_the_binomial_tail_is_scipys(trials: int, probability: float, place: float) -> None:
    successes = round(place * trials)
    expected = binom.sf(successes - 1, trials, probability)
    assert privacy_curve.binomial_tail(successes, trials, probability) == pytest.approx(
        expected, rel=1e-6, abs=1e-12
    )


def test_the_ends_of_the_binomial_tail() -> None:
    assert privacy_curve.binomial_tail(0, 10, 0.0) == 1
    assert privacy_curve.binomial_tail(1, 10, 0.0) == 0
    assert privacy_curve.binomial_tail(10, 10, 1.0) == 1
