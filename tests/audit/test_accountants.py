"""The accountants: the exact one is exact, the certified one encloses it, the one that counts is above."""

from __future__ import annotations

import math
from fractions import Fraction
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from noren_audit.verification.budget import Accountants, Epsilons, row_event
from noren_audit.verification.certified import Bracket, certified_epsilon
from noren_audit.verification.closed_form import epsilon_closed_form, grid_term, mu_squared
from noren_audit.verification.findings import Code, Findings
from noren_core.errors import ConfigurationError
from noren_core.privacy.accounting import MARGIN, epsilon_pld, epsilon_rdp, epsilon_rows
from noren_core.privacy.events import GaussianEvent, NoisePlacement
from noren_core.season.plan import RowRelease, StatisticsRelease

needs_flint = pytest.mark.skipif(
    find_spec("flint") is None, reason="python-flint is missing: pip install 'python-flint>=0.8'"
)
DELTAS = ("0.0001", "0.000001", "0.00000001")


def event(noise_multiplier: str | Fraction, count: int = 1, *, grid: int = 1 << 16) -> GaussianEvent:
    return GaussianEvent(
        noise_multiplier=Fraction(noise_multiplier),
        clipping_norm=Fraction(2),
        grid=grid,
        count=count,
        placement=NoisePlacement.LOCAL,
        tolerated=0,
    )


noises = st.integers(500, 40_000).map(lambda thousandths: Fraction(thousandths, 1000))
lists = st.lists(st.builds(event, noises, st.integers(1, 40)), min_size=1, max_size=3)


def delta_by_quadrature(epsilon: float, mu: float) -> float:
    """∫ max(0, p − e^ε·q) for p = N(μ, 1) and q = N(0, 1): the definition, summed up."""
    x, step = np.linspace(-14, 14 + mu, 2_000_001, retstep=True)
    p, q = (np.exp(-((x - centre) ** 2) / 2) / math.sqrt(2 * math.pi) for centre in (mu, 0.0))
    return float(np.maximum(0.0, p - math.exp(epsilon) * q).sum() * step)


@pytest.mark.parametrize(
    ("noise", "count", "delta"),
    [("10.35", 6, "0.000001"), ("1", 1, "0.0001"), ("4.2247", 1, "0.000001"), ("2", 9, "0.000001")],
)
def test_the_closed_form_is_the_definition(noise: str, count: int, delta: str) -> None:
    """At the epsilon that it gives, the hockey-stick divergence of the two Gaussians is delta."""
    releases = [event(noise, count)]
    epsilon = epsilon_closed_form(releases, delta) - grid_term(releases, 256)
    found = delta_by_quadrature(epsilon, math.sqrt(mu_squared(releases)))
    assert found == pytest.approx(float(delta), rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(releases=lists, delta=st.sampled_from(DELTAS))
def test_three_accountants_agree(releases: list[GaussianEvent], delta: str) -> None:
    """The bound that counts lies above the exact value by less than its interval, below the Rényi ceiling."""
    exact = epsilon_closed_form(releases, delta)
    if exact > 29:
        return
    bound = epsilon_pld(releases, delta)
    assert exact <= bound <= exact + 1e-3
    assert bound <= epsilon_rdp(releases, delta) + 2e-4


@settings(max_examples=40, deadline=None)
@given(noise=noises, count=st.integers(1, 40), delta=st.sampled_from(DELTAS))
@example(noise=Fraction(1, 2), count=25, delta="0.0001")
def test_the_closed_form_is_that_of_another_library(noise: Fraction, count: int, delta: str) -> None:
    """dp-accounting's analytic Gaussian mechanism solves the same equation in its own way."""
    from dp_accounting import get_epsilon_gaussian

    exact = epsilon_closed_form([event(noise, count)], delta)
    if exact < 100:
        assert exact == pytest.approx(
            get_epsilon_gaussian(float(noise) / math.sqrt(count), float(delta)),
            abs=1e-5,  # what the grid adds
        )


@needs_flint
@settings(max_examples=60, deadline=None)
@given(releases=lists, delta=st.sampled_from(DELTAS))
def test_the_certified_bounds_enclose_the_closed_form(releases: list[GaussianEvent], delta: str) -> None:
    """Both are within 1e-4 of it, on the right sides up to the rounding of floats."""
    bracket, exact = certified_epsilon(releases, delta), epsilon_closed_form(releases, delta)
    assert bracket is not None
    assert bracket.lower <= bracket.upper
    if exact < math.inf:
        assert exact - 1e-4 <= bracket.lower <= exact + 1e-9
        assert exact - 1e-9 <= bracket.upper <= exact + 1e-4


@needs_flint
def test_a_certified_bound_is_infinite_beyond_512() -> None:
    """Neither accountant pretends to know what it cannot compute; the lower bound is still one."""
    bracket = certified_epsilon([event("0.5", 1000)], "0.000001")
    assert bracket is not None
    assert bracket.upper == math.inf
    assert bracket.lower > 500
    assert epsilon_closed_form([event("0.5", 1000)], "0.000001") == math.inf


@needs_flint
def test_certified_bounds_of_nothing_and_of_almost_nothing() -> None:
    """Nothing released is nothing lost; so little that delta pays for it is lost by the grid alone."""
    assert certified_epsilon([], "0.000001") == Bracket(0.0, 0.0)
    little = certified_epsilon([event("1000000")], "0.0001")
    assert little is not None
    assert little.lower == 0
    assert 0 < little.upper < 1e-9


def test_without_flint_the_certified_bounds_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The optional library is never required."""
    monkeypatch.setattr("noren_audit.verification.certified.find_spec", lambda _: None)
    assert certified_epsilon([event("5")], "0.000001") is None


def test_the_closed_form_at_its_ends() -> None:
    """Nothing costs nothing; noise that hides all but delta costs what the grid does."""
    assert epsilon_closed_form([], "0.000001") == 0
    releases = [event("1000000")]
    assert epsilon_closed_form(releases, "0.0001") == grid_term(releases, 256) > 0


def test_the_grid_counts_by_its_own_formula() -> None:
    """On a coarse grid the discrete noise costs something, as much as in the accountant that counts."""
    coarse = [event("4", 20, grid=64)]  # a deviation of 512
    added = epsilon_closed_form(coarse, "0.000001") - epsilon_closed_form([event("4", 20)], "0.000001")
    assert 1e-3 < added < 0.01
    bound = epsilon_pld(coarse, "0.000001")
    assert bound - epsilon_closed_form(coarse, "0.000001") == pytest.approx(MARGIN, abs=1e-5)
    with pytest.raises(ConfigurationError):
        epsilon_closed_form([event("4", grid=8)], "0.000001")


def test_equal_releases_in_any_spelling_lose_the_same() -> None:
    """Ten events and one of count ten are the same; more noise is less loss; losses add up in squares."""
    assert mu_squared([event("3", 10)]) == mu_squared([event("3")] * 10) == Fraction(10, 9)
    assert epsilon_closed_form([event("3", 10)], "0.000001") == epsilon_closed_form(
        [event("3")] * 10, "0.000001"
    )


rows = RowRelease(dimensions=4, clip="2.5", scale=512, variance=2_794_515, epsilon="8", delta="0.000001")


sums = StatisticsRelease(
    dimensions=4,
    clip="2.5",
    negative=32,
    positive=64,
    variance=112_700_000,
    epsilon="8",
    delta="0.000001",
)


@pytest.mark.parametrize(("release", "distance"), [(rows, 2560), (sums, 2 * 64 * 127)])
@pytest.mark.parametrize("count", [1, 3])
def test_a_row_release_is_a_gaussian_release(
    release: RowRelease | StatisticsRelease, distance: int, count: int
) -> None:
    """One row, or one answer of sums: all accountants agree with that of rows, also on several with it."""
    findings = Findings()
    found = Accountants(findings).row_epsilons([release] * count, release.delta, campaign="x")
    assert found.pld == epsilon_rows(
        variance=release.variance,
        sensitivity=distance,
        delta=release.delta,
        coordinates=4,
        count=count,
    )
    exact = epsilon_closed_form([row_event(release)] * count, release.delta, coordinates=4)
    assert found.closed_form == exact <= found.pld <= exact + 1e-3
    assert findings.in_order() == ()


def test_row_releases_of_two_kinds_compose() -> None:
    """A row and an answer: more than either, less than two of the worse."""
    findings = Findings()
    accountants = Accountants(findings)
    both = accountants.row_epsilons([rows, sums], rows.delta, campaign="x").pld
    alone = [accountants.row_epsilons([release], rows.delta, campaign="x").pld for release in (rows, sums)]
    twice = [
        accountants.row_epsilons([release] * 2, rows.delta, campaign="x").pld for release in (rows, sums)
    ]
    assert max(alone) < min(twice) <= both + 1e-3
    assert both <= max(twice) + 1e-3
    assert findings.in_order() == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"pld": 0.99},
        {"pld": 1.0015},
        {"rdp": 0.9},
        {"certified": Bracket(0.99, 1.0012)},
        {"certified": Bracket(0.99, 0.9998)},
        {"certified": Bracket(1.0002, 1.0003)},
    ],
)
def test_accountants_that_disagree_are_a_finding(
    wrong: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of them is off, to whichever side, none is believed."""
    sound = {"pld": 1.0001, "closed_form": 1.0, "certified": Bracket(0.99999, 1.00001), "rdp": 1.08}
    for fields, expected in ((sound, []), ({**sound, **wrong}, [Code.ACCOUNTANTS_DISAGREE])):
        findings = Findings()
        found = Epsilons(**fields)  # type: ignore[arg-type]
        monkeypatch.setattr(
            "noren_audit.verification.budget._compose", lambda events, delta, found=found: found
        )
        assert Accountants(findings).epsilons([event("5")], "0.000001", campaign="x") is found
        assert [finding.code for finding in findings.in_order()] == expected


def test_a_hostile_event_takes_no_time() -> None:
    """Losses that would need distributions of gigabytes are infinite at once, by the exact formula."""
    findings = Findings()
    found = Accountants(findings).epsilons([event("0.5", 10_000)] * 50, "0.000001", campaign="x")
    assert (found.pld, found.closed_form) == (math.inf, math.inf)
    assert findings.in_order() == ()
