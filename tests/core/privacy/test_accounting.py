from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from math import erfc, exp, inf, sqrt

import pytest

from noren_core.errors import ConfigurationError
from noren_core.privacy.accounting import (
    MARGIN,
    epsilon_pld,
    epsilon_rdp,
    epsilon_rows,
    gaussian_row_sigma,
    noise_multiplier_for,
)
from noren_core.privacy.events import GaussianEvent, NoisePlacement

DELTA = "0.000001"


def event(noise_multiplier, count=1, grid=65536):
    return GaussianEvent(
        noise_multiplier=Fraction(noise_multiplier),
        clipping_norm=Fraction(2),
        grid=grid,
        count=count,
        placement=NoisePlacement.DISTRIBUTED,
        tolerated=2,
    )


def upper_tail(x):
    return erfc(x / sqrt(2)) / 2


def exact_epsilon(noise_multiplier, count, delta):
    """The continuous Gaussian's epsilon after `count` full-batch releases, by its closed form."""
    mu = sqrt(count) / noise_multiplier
    low, high = 0.0, 100.0
    for _ in range(100):
        middle = (low + high) / 2
        tail = upper_tail(middle / mu - mu / 2) - exp(middle) * upper_tail(middle / mu + mu / 2)
        low, high = (middle, high) if tail > delta else (low, middle)
    return high


@pytest.mark.parametrize(
    ("noise_multiplier", "count"), [(0.7, 1), (1.5, 3), (4.225, 1), (13.361, 10), (30, 60), (200, 100)]
)
def test_it_is_just_above_the_closed_form(noise_multiplier, count):
    """Never below the continuous mechanism's exact value, and above it by little more than the margin."""
    exact = exact_epsilon(noise_multiplier, count, 1e-6)
    bound = epsilon_pld([event(noise_multiplier, count)], DELTA)
    assert exact + MARGIN <= bound < exact + MARGIN + 2e-3


def test_many_events_are_one_event_of_many():
    """Ten releases recorded one by one cost what one event of count ten costs, in any order."""
    ten = epsilon_pld([event("13.361", 10)], DELTA)
    assert epsilon_pld([event("13.361")] * 10, DELTA) == ten
    mixed = [event("13.361", 4), event("5"), event("13.361", 6)]
    assert epsilon_pld(mixed, DELTA) == epsilon_pld(mixed[::-1], DELTA)
    assert epsilon_pld(mixed, DELTA) > ten


def test_different_noise_composes_like_the_closed_form():
    """σ = 5 and σ = 12 together are one Gaussian with 1/σ² = 1/5² + 1/12²: exact ε, and not below it."""
    exact = exact_epsilon(1 / sqrt(1 / 25 + 1 / 144), 1, 1e-6)
    assert exact <= epsilon_pld([event("5"), event("12")], DELTA) < exact + 2e-3


def test_more_noise_fewer_rounds_and_a_larger_delta_cost_less():
    """The bound is monotone in everything a plan can turn."""
    assert epsilon_pld([], DELTA) == 0
    for costs in (
        [epsilon_pld([event(noise)], DELTA) for noise in ("2", "4", "8", "16")],
        [epsilon_pld([event("8", count)], DELTA) for count in (8, 4, 2, 1)],
        [epsilon_pld([event("8")], delta) for delta in ("0.00000001", "0.0000001", DELTA, "0.00001")],
    ):
        assert all(more > less for more, less in pairwise(costs))


@pytest.mark.parametrize(("noise_multiplier", "count"), [("1", 1), ("4.225", 1), ("13.361", 10), ("30", 60)])
def test_the_renyi_bound_is_a_ceiling(noise_multiplier, count):
    """PLD is at most RDP, and within a quarter of it: neither accountant is broken."""
    events = [event(noise_multiplier, count)]
    assert epsilon_pld(events, DELTA) < epsilon_rdp(events, DELTA) < 1.25 * epsilon_pld(events, DELTA)
    assert epsilon_rdp([], DELTA) == 0


def test_a_coarse_grid_costs_and_a_coarser_one_is_refused():
    """The step from continuous to discrete noise is paid for in epsilon: 0.001 at σ of 256 grid units."""
    fine, coarse = (epsilon_pld([event("8", grid=grid)], DELTA) for grid in (2**16, 2**4))
    assert 0.001 < coarse - fine < 0.002
    with pytest.raises(ConfigurationError, match="grid units"):
        epsilon_pld([event("8", grid=7)], DELTA)


def discrete_delta(sigma, shift, epsilon):
    """The exact δ of the discrete Gaussian for an integer shift: its hockey-stick divergence, summed."""
    reach = int(12 * sigma) + shift
    weights = {x: exp(-(x**2) / (2 * sigma**2)) for x in range(-reach, reach + 1)}
    total = sum(weights.values())
    return (
        sum(
            max(0.0, weights.get(x - shift, 0.0) - exp(epsilon) * weights[x])
            for x in range(-reach, reach + 1)
        )
        / total
    )


@pytest.mark.parametrize("noise_multiplier", [0.653, 1.0, 4.0])
def test_the_bound_holds_for_the_discrete_mechanism_itself(noise_multiplier):
    """The δ of the discrete Gaussian, summed exactly, at the reported ε is at most the one asked for."""
    sigma = 256
    shift = round(sigma / noise_multiplier)
    epsilon = epsilon_rows(variance=sigma**2, sensitivity=shift, delta=DELTA, coordinates=1)
    assert discrete_delta(sigma, shift, epsilon) <= 1e-6
    assert discrete_delta(sigma, shift, epsilon - 0.02) > 1e-6  # and the bound is not idle


@pytest.mark.parametrize(("epsilon", "rounds"), [("1", 10), ("1", 15), ("0.5", 32), ("4", 1), ("0.1", 60)])
def test_calibration_meets_the_verifier_exactly(epsilon, rounds):
    """The verifier accepts the calibrated noise, and not a thousandth less."""
    noise = noise_multiplier_for(epsilon=epsilon, delta=DELTA, rounds=rounds, clipping_norm="2")
    assert epsilon_pld([event(noise, rounds)], DELTA) <= float(epsilon)
    assert epsilon_pld([event(Fraction(noise) - Fraction(1, 1000), rounds)], DELTA) > float(epsilon)


def test_known_calibrations():
    """Ten rounds at ε = 1 need σ = 13.361; rows at ε = 8 need 0.653 of their sensitivity."""
    assert noise_multiplier_for(epsilon="1", delta=DELTA, rounds=10) == "13.361"
    assert gaussian_row_sigma(epsilon="8", delta=DELTA, sensitivity=2560) == Fraction(653, 1000) * 2560


@pytest.mark.parametrize("sensitivity", [2560, Fraction(12800, 7), "1000.5"], ids=str)
def test_row_noise_meets_the_verifier_exactly(sensitivity):
    """The row release's verifier accepts the calibrated deviation, and not a thousandth less."""
    unit = Fraction(sensitivity) / 1000
    sigma = gaussian_row_sigma(epsilon="8", delta=DELTA, sensitivity=sensitivity, coordinates=4)
    facts = {"sensitivity": sensitivity, "delta": DELTA, "coordinates": 4}
    assert epsilon_rows(variance=sigma**2, **facts) <= 8
    assert epsilon_rows(variance=(sigma - unit) ** 2, **facts) > 8


@pytest.mark.parametrize("delta", ["0.000000009", "0", "1", "-1"])
def test_deltas_that_the_accountant_cannot_resolve_are_refused(delta):
    """Below 1e-8 floating point makes a pessimistic bound optimistic."""
    for ask in (
        lambda: epsilon_pld([event("8")], delta),
        lambda: epsilon_rdp([event("8")], delta),
        lambda: noise_multiplier_for(epsilon="1", delta=delta, rounds=1),
        lambda: gaussian_row_sigma(epsilon="1", delta=delta, sensitivity=1000),
    ):
        with pytest.raises(ConfigurationError, match="delta"):
            ask()


@pytest.mark.parametrize("epsilon", ["0", "-1", "31", "0.00005"])
def test_epsilons_that_no_noise_verifies_are_refused(epsilon):
    """Nothing, more than 30, or less than the margin cannot be promised."""
    with pytest.raises(ConfigurationError, match="epsilon"):
        noise_multiplier_for(epsilon=epsilon, delta=DELTA, rounds=1)


def test_an_enormous_epsilon_is_infinite():
    """Beyond 30 the bound says only that there is no privacy."""
    assert epsilon_pld([event("0.2", 10)], DELTA) == inf


@pytest.mark.parametrize(
    "change", [{"variance": 0}, {"sensitivity": 0}, {"coordinates": 0}, {"coordinates": 257}], ids=str
)
def test_row_releases_out_of_range_are_refused(change):
    """The bound is stated for positive noise and sensitivity and up to 256 coordinates."""
    facts = {"variance": 10**6, "sensitivity": 2560, "delta": DELTA, "coordinates": 4}
    with pytest.raises(ConfigurationError):
        epsilon_rows(**(facts | change))


def test_the_placement_does_not_change_epsilon():
    """Who adds the noise is for the parties to arrange; the event's σ is what the release has."""
    local = replace(event("8"), placement=NoisePlacement.LOCAL, tolerated=0)
    assert epsilon_pld([local], DELTA) == epsilon_pld([event("8")], DELTA)
