"""The test of the noise from the ledger alone: its false alarms, its power, and what it calls by name."""

from __future__ import annotations

from fractions import Fraction
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from noren_audit.verification import sentinels
from noren_audit.verification.sentinels import SentinelFault, SentinelRound, judge
from noren_audit.verification.trust import load_trust
from noren_audit.verification.verify import verify_bundle
from noren_core.errors import ConfigurationError
from noren_core.privacy.discrete_gaussian import NoiseStream, sample
from noren_core.privacy.events import GaussianEvent, NoisePlacement
from noren_core.privacy.noise import company_variance

EVENT = GaussianEvent(
    noise_multiplier=Fraction("10.35"),
    clipping_norm=Fraction(2),
    grid=2**16,
    count=1,
    placement=NoisePlacement.DISTRIBUTED,
    tolerated=2,
)
COHORT, K = 8, 8


def season(
    rounds: int, *, key: int, ratio: float = 1.0, survivors: int = COHORT, event: GaussianEvent = EVENT
) -> list[SentinelRound]:
    """Sums of as many companies' exact noise, its deviation multiplied by `ratio`."""
    stream = NoiseStream(key.to_bytes(32, "big"))
    variance = company_variance(event, companies=COHORT) * Fraction(ratio) ** 2
    return [
        SentinelRound(
            survivors,
            COHORT,
            sum(sample(K, variance=variance, stream=stream) for _ in range(survivors)).tolist(),
        )
        for _ in range(rounds)
    ]


def rejected(rounds: int, seasons: int, *, ratio: float) -> int:
    """How many of these seasons are judged too small; Gaussian sums stand in for those of exact noise."""
    rng = np.random.default_rng(11)
    deviation = sqrt(COHORT * company_variance(EVENT, companies=COHORT)) * ratio
    found = 0
    for _ in range(seasons):
        sums = rng.normal(0, deviation, (rounds, K)).round().astype(int).tolist()
        found += bool(judge([SentinelRound(COHORT, COHORT, values) for values in sums], EVENT).faults)
    return found


def test_an_honest_season_passes() -> None:
    """Also with drop-outs, whose noise is missing from the sum, and with local noise."""
    for survivors in (8, 6):
        judgement = judge(season(10, key=1, survivors=survivors), EVENT)
        assert judgement.faults == ()
        assert judgement.observations == 80
        assert 0.8 < judgement.deviation_ratio < 1.2
    local = GaussianEvent(
        noise_multiplier=EVENT.noise_multiplier,
        clipping_norm=EVENT.clipping_norm,
        grid=EVENT.grid,
        count=1,
        placement=NoisePlacement.LOCAL,
        tolerated=0,
    )
    assert judge(season(10, key=2, event=local), local).faults == ()


@pytest.mark.parametrize("survivors", [1, 4, 8])
def test_the_expected_deviation_is_that_of_the_survivors_noise(survivors: int) -> None:
    """(σ·C·S)²/(N − t) for each survivor, N being the cohort: sums of exactly that size have the ratio 1."""
    expected = sqrt(survivors * (10.35 * 2 * 2**16) ** 2 / (COHORT - 2))
    judgement = judge([SentinelRound(survivors, COHORT, [round(expected), -round(expected)])], EVENT)
    assert judgement.deviation_ratio == pytest.approx(1, abs=1e-5)


def test_an_honest_season_is_accused_once_in_a_thousand() -> None:
    """2,000 honest seasons: more than 8 accusations have a probability below 1e-3."""
    assert rejected(6, 2000, ratio=1.0) <= 8


@pytest.mark.parametrize(("ratio", "rounds"), [(0.5, 5), (0.7, 17), (0.8, 41)])
def test_less_noise_is_seen_with_the_stated_power(ratio: float, rounds: int) -> None:
    """With at least as many sums as the power table asks for: 99 in 100 seasons, of which 94 are demanded."""
    assert rounds * K >= sentinels.observations_needed(ratio)
    assert rejected(rounds, 100, ratio=ratio) >= 94


@pytest.mark.parametrize(
    ("ratio", "fault"),
    [(0.5, SentinelFault.SENTINELS_TOO_SMALL), (2.0, SentinelFault.SENTINELS_TOO_LARGE)],
)
def test_the_fault_says_to_which_side(ratio: float, fault: SentinelFault) -> None:
    assert judge(season(6, key=3, ratio=ratio), EVENT).faults == (fault,)


def test_no_noise_at_all_is_too_small() -> None:
    judgement = judge([SentinelRound(8, 8, [0] * K)] * 2, EVENT)
    assert judgement.faults == (SentinelFault.SENTINELS_TOO_SMALL, SentinelFault.SENTINELS_REPEATED)
    assert judgement.deviation_ratio == 0


def test_what_stays_small_next_to_a_large_sum_is_still_judged() -> None:
    """Sums of 62 bits overflow nothing."""
    judgement = judge([SentinelRound(8, 8, [2**62, -(2**62)])], EVENT)
    assert judgement.faults == (SentinelFault.SENTINELS_TOO_LARGE,)


def test_the_same_sums_twice_are_one_noise_used_twice() -> None:
    rounds = season(4, key=4)
    assert judge([*rounds, rounds[1]], EVENT).faults == (SentinelFault.SENTINELS_REPEATED,)
    assert sentinels.repeated([(1, 2), (3, 4), (1, 2)])
    assert not sentinels.repeated([(1, 2), (2, 1), (1, 3)])
    assert not sentinels.repeated([(5,), (5,), (), ()])  # one number alone comes up twice by chance


def test_without_sentinels_nothing_is_tested_and_nothing_found() -> None:
    judgement = judge([SentinelRound(8, 8, []), SentinelRound(8, 8, [])], EVENT)
    assert (judgement.observations, judgement.p_value, judgement.faults) == (0, 1.0, ())
    assert judge([], EVENT).faults == ()


def test_a_cohort_that_leaves_no_noise_has_no_expectation() -> None:
    with pytest.raises(ConfigurationError):
        judge([SentinelRound(2, 2, [1])], EVENT)


def test_each_round_has_its_own_p_value() -> None:
    quiet = season(1, key=5, ratio=0.1)
    judgement = judge([*season(3, key=6), *quiet], EVENT)
    assert len(judgement.round_p_values) == 4
    assert judgement.round_p_values[-1] < sentinels.FALSE_ALARM / 4 < min(judgement.round_p_values[:-1])


@settings(max_examples=200)
@given(st.integers(1, 6400), st.floats(0.0, 3.0))
def test_the_chi_square_tail_is_scipys(degrees: int, ratio: float) -> None:
    value = ratio * degrees
    assert sentinels.chi_square_above(value, degrees) == pytest.approx(chi2.sf(value, degrees), abs=1e-9)


@pytest.mark.parametrize("ratio", sentinels.DEVIATIONS_SHOWN)
def test_the_power_table_is_scipys(ratio: float) -> None:
    """The smallest number of sums at which a deviation this small is called so with probability .99."""
    needed = sentinels.observations_needed(ratio)
    for count, is_enough in ((needed, True), (needed - 1, False)):
        limit = chi2.ppf(sentinels.FALSE_ALARM / 2, count)
        assert bool(chi2.cdf(limit / ratio**2, count) >= sentinels.POWER) == is_enough


def test_a_verdict_is_slower_to_accuse_than_the_test(
    honest: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What happens to one honest campaign in a thousand is shown, and is no finding; one in a million is."""
    (tmp_path / "trust.toml").write_text(honest.trust_text())
    trust, bundle = load_trust(tmp_path / "trust.toml"), honest.write(tmp_path / "bundle")
    for p_value, is_found in ((1e-4, False), (1e-7, True)):
        monkeypatch.setattr(sentinels, "two_sided", lambda *_, p_value=p_value: p_value)
        verdict = verify_bundle(bundle, trust)
        assert all(item.judgement.faults for item in verdict.sentinels)
        assert verdict.is_verified is not is_found
