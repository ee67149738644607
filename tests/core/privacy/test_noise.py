from dataclasses import replace
from fractions import Fraction

import pytest

from noren_core.errors import ConfigurationError, DataError
from noren_core.privacy.discrete_gaussian import sample
from noren_core.privacy.events import GaussianEvent, NoisePlacement
from noren_core.privacy.noise import NoiseSeed, company_variance, effective_placement

LOCAL, DISTRIBUTED = NoisePlacement.LOCAL, NoisePlacement.DISTRIBUTED
EVENT = GaussianEvent(
    noise_multiplier=Fraction("13.361"),
    clipping_norm=Fraction(2),
    grid=65536,
    count=1,
    placement=DISTRIBUTED,
    tolerated=2,
)
SEED, BEACON = bytes(range(32)), bytes(32)


def test_shares_of_all_but_the_tolerated_add_up_to_the_whole():
    """N − t shares have exactly the variance (σ·C·S)² of the event, and N have more."""
    whole = (Fraction("13.361") * 2 * 65536) ** 2
    assert company_variance(EVENT, companies=8) * 6 == whole
    assert company_variance(EVENT, companies=3) == whole


def test_local_noise_is_the_whole_for_each():
    """A company's local noise does not depend on the others."""
    event = replace(EVENT, placement=LOCAL, tolerated=0)
    assert {company_variance(event, companies=n) for n in (1, 3, 8)} == {
        (Fraction("13.361") * 2 * 65536) ** 2
    }


@pytest.mark.parametrize("companies", [0, 1, 2])
def test_distributed_noise_among_tolerated_companies_only_is_refused(companies):
    """If everyone may keep the noise back, nobody's share is large enough."""
    with pytest.raises(ConfigurationError, match="more than 2 companies"):
        company_variance(EVENT, companies=companies)


@pytest.mark.parametrize(
    ("requested", "companies", "secure_aggregation", "effective"),
    [
        (DISTRIBUTED, 5, True, DISTRIBUTED),
        (DISTRIBUTED, 4, True, LOCAL),
        (DISTRIBUTED, 5, False, LOCAL),
        (LOCAL, 5, True, LOCAL),
        (LOCAL, 4, False, LOCAL),
    ],
)
def test_small_cohorts_and_open_sums_force_local_noise(requested, companies, secure_aggregation, effective):
    """Below the minimum cohort of 5, or without secure aggregation, each company adds all of the noise."""
    placement = effective_placement(
        requested, companies=companies, minimum_cohort=5, secure_aggregation=secure_aggregation
    )
    assert placement is effective


def draws(*, seed=SEED, beacon=BEACON, campaign="spring", round_number=1):
    stream = NoiseSeed(seed).round_stream(beacon=beacon, campaign=campaign, round_number=round_number)
    return sample(4, variance=10**12, stream=stream).tolist()


def test_known_answer():
    """The noise of a fixed seed, beacon, campaign and round is fixed for ever, so that it can be replayed."""
    assert draws() == [747609, 659176, 38399, -1880857]


def test_every_part_of_the_context_changes_the_noise():
    """Another seed, beacon, campaign or round gives other noise; moving a digit between them does too."""
    drawn = [
        draws(),
        draws(seed=bytes(32)),
        draws(beacon=bytes(31) + b"\x01"),
        draws(campaign="spring1"),
        draws(round_number=2),
        draws(round_number=11),
        draws(campaign="spring1", round_number=1),
    ]
    assert len({tuple(each) for each in drawn}) == len(drawn) - 1  # the last repeats the fourth


def test_a_commitment_binds_seed_company_and_campaign():
    """Nobody can present another seed later, nor another company's commitment as theirs."""
    facts = {"company": "acme", "campaign": "spring"}
    first = NoiseSeed(SEED).commitment(**facts)
    assert NoiseSeed(SEED).commitment(**facts) == first
    others = {
        NoiseSeed(bytes(32)).commitment(**facts),
        NoiseSeed(SEED).commitment(company="acme", campaign="autumn"),
        NoiseSeed(SEED).commitment(company="acm", campaign="espring"),
    }
    assert len(others | {first}) == 4


def test_seeds_are_checked_fresh_and_silent():
    """A seed is 32 bytes, new each time, and not shown; a beacon is 32 bytes."""
    with pytest.raises(DataError, match="32 bytes, got 31"):
        NoiseSeed(SEED[:-1])
    with pytest.raises(DataError, match="beacon"):
        NoiseSeed(SEED).round_stream(beacon=b"", campaign="spring", round_number=1)
    assert NoiseSeed.generate().to_bytes() != NoiseSeed.generate().to_bytes()
    assert repr(NoiseSeed(SEED)) == "<NoiseSeed redacted>"
