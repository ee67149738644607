"""What a company releases in a round: exact sum, sentinels and noise in their places."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from noren_client.mechanism import noised_update
from noren_client.training import clipped_gradient_sum
from noren_core.errors import ConfigurationError, DataError
from noren_core.privacy.discrete_gaussian import NoiseStream, sample
from noren_core.season.plan import CampaignPlan

KEY = bytes(range(32))
D, COMPANIES = 4, 5


@pytest.fixture
def training(plan_body):
    """Two sentinels, σ = 8.5, C = 2, one company tolerated."""
    return CampaignPlan.from_body(plan_body).training


def example(n=40, d=D):
    rng = np.random.default_rng(3)
    return rng.standard_normal((n, d)), rng.integers(0, 2, n), rng.standard_normal(d + 1)


def release(rows, labels, weights, training, *, companies=COMPANIES, key=KEY):
    stream = NoiseStream(key)
    return noised_update(rows, labels, weights, plan_training=training, companies=companies, stream=stream)


def noise(length, variance):
    return sample(length, variance=variance, stream=NoiseStream(KEY))


def test_it_is_the_sum_then_zeros_plus_the_streams_noise(training):
    """Without the noise of its stream: d weights and bias as the gradient sum has them, then zeros."""
    rows, labels, weights = example()
    update = release(rows, labels, weights, training)
    variance = (Fraction("8.5") * 2 * 65536) ** 2 / (COMPANIES - 1)
    exact = update - noise(D + 3, variance)
    expected = clipped_gradient_sum(rows, labels, weights, clipping_norm=Fraction(2), grid=65536)
    assert update.dtype == np.int64
    assert np.abs(exact[: D + 1] - expected).max() <= len(rows)  # one unit a row, for the order of sums
    assert exact[D + 1 :].tolist() == [0, 0]


@pytest.mark.parametrize("sentinels", [0, 1, 8, 64])
def test_sentinels_hold_noise_alone_whatever_the_rows_are(training, sentinels):
    """Two training sets, two heads: the sentinel coordinates are the same, drawn from the stream alone."""
    changed = replace(training, sentinels=sentinels)
    rows, labels, weights = example()
    one = release(rows, labels, weights, changed)
    other = release(100 * rows[:7], 1 - labels[:7], -weights, changed)
    assert len(one) == D + 1 + sentinels
    assert one[D + 1 :].tolist() == other[D + 1 :].tolist()
    assert (one[: D + 1] != other[: D + 1]).all()


def test_it_is_reproducible_to_the_last_unit(training):
    """The same rows and stream give the same bytes; another stream changes every coordinate."""
    once, again = release(*example(), training), release(*example(), training)
    assert once.tobytes() == again.tobytes()
    assert (once != release(*example(), training, key=bytes(32))).all()


def test_a_company_without_rows_releases_its_noise(training):
    """No row: the vector is the noise and nothing else."""
    rows, labels, weights = example(0)
    update = release(rows, labels, weights, training)
    assert update.tolist() == noise(D + 3, (Fraction("8.5") * 2 * 65536) ** 2 / (COMPANIES - 1)).tolist()


def test_local_noise_is_all_of_it_for_each(training):
    """With local placement the number of companies makes no difference."""
    local = replace(training, placement="local", tolerated=0)
    updates = [release(*example(0), local, companies=companies) for companies in (2, 9)]
    assert updates[0].tolist() == updates[1].tolist() == noise(7, (Fraction("8.5") * 2 * 65536) ** 2).tolist()


def test_it_refuses_what_is_not_a_training_set(training):
    """Other shapes, other values, or a cohort that leaves no noise."""
    rows, labels, weights = example()
    infinite = rows.copy()
    infinite[0, 0] = np.inf
    for bad in (
        (rows[0], labels, weights),
        (rows, labels[1:], weights),
        (rows, labels, weights[1:]),
        (rows, labels + 1, weights),
        (infinite, labels, weights),
    ):
        with pytest.raises(DataError):
            release(*bad, training)
    with pytest.raises(ConfigurationError):
        release(rows, labels, weights, training, companies=1)
