"""What is too small: a delta against a number of records, a cohort, a training set."""

from dataclasses import replace
from fractions import Fraction

import pytest

from noren_core.privacy.events import GaussianEvent, NoisePlacement
from noren_core.privacy.small_samples import is_below_noise, publishes_a_record, strongest_placement

LOCAL, DISTRIBUTED = NoisePlacement.LOCAL, NoisePlacement.DISTRIBUTED
EVENT = GaussianEvent(
    noise_multiplier=Fraction(12),
    clipping_norm=Fraction(2),
    grid=65536,
    count=1,
    placement=DISTRIBUTED,
    tolerated=2,
)


@pytest.mark.parametrize(
    ("delta", "records", "publishes"),
    [
        (Fraction(1, 10**6), 100_000, False),
        (Fraction(1, 10**6), 100_001, True),
        (Fraction(1, 10**4), 1_000, False),
        (Fraction(1, 10**4), 1_001, True),
        (Fraction(1, 10**8), 10**7, False),
    ],
)
def test_a_delta_near_one_over_n_is_meaningless(delta, records, publishes):
    """The bound is a tenth of a record."""
    assert publishes_a_record(delta, records=records) is publishes


@pytest.mark.parametrize(
    ("companies", "minimum_cohort", "tolerated", "placement"),
    [
        (1, 1, 0, LOCAL),
        (2, 2, 0, LOCAL),
        (3, 3, 1, DISTRIBUTED),
        (3, 3, 2, LOCAL),
        (4, 3, 2, LOCAL),
        (8, 6, 2, DISTRIBUTED),
        (8, 6, 5, LOCAL),
    ],
)
def test_noise_is_shared_only_where_two_honest_shares_remain(companies, minimum_cohort, tolerated, placement):
    """Fewer than three companies, or fewer than two shares beyond the tolerated: everybody adds all of it."""
    found = strongest_placement(companies=companies, minimum_cohort=minimum_cohort, tolerated=tolerated)
    assert found is placement


def test_the_rows_that_are_lost_in_the_noise():
    """σ = 12 over 6 rounds, 8 companies of which 6 shares make the whole: 12·√(8/6)/√6 = 5.66 rows."""
    below = [n for n in range(12) if is_below_noise(n, event=EVENT, rounds=6, companies=8)]
    assert below == [0, 1, 2, 3, 4, 5]
    local = replace(EVENT, placement=LOCAL, tolerated=0)  # one company, one round: 12 rows are one deviation
    assert is_below_noise(11, event=local, rounds=1, companies=1)
    assert not is_below_noise(12, event=local, rounds=1, companies=1)


def test_clipping_norm_and_grid_do_not_matter_but_rounds_and_placement_do():
    """Signal and noise scale alike with C·grid; more rounds show more, and everybody's own noise less."""
    scaled = replace(EVENT, clipping_norm=Fraction("0.5"), grid=1024)
    for records in range(12):
        asked = {"rounds": 6, "companies": 8}
        assert is_below_noise(records, event=scaled, **asked) is is_below_noise(records, event=EVENT, **asked)
    assert is_below_noise(5, event=EVENT, rounds=6, companies=8)
    assert not is_below_noise(5, event=EVENT, rounds=9, companies=8)
    local = replace(EVENT, placement=LOCAL, tolerated=0)
    assert is_below_noise(13, event=local, rounds=6, companies=8)
    assert not is_below_noise(14, event=local, rounds=6, companies=8)
