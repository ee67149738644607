"""The label-free encoder."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noren_core.errors import ConfigurationError, DataError
from noren_server.encoder import Encoder, clip_norm, clip_rows, quantise_int8, standardise


def cohorts(seed: int = 1, rows: int = 400) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Two cohorts with twelve features, of which the first two foretell two targets."""
    rng = np.random.default_rng(seed)
    features, later = [], []
    for shift in (0.0, 5.0):
        x = rng.normal(shift, 2.0, (rows, 12))
        x[:, 5:9] += 3 * rng.normal(size=(rows, 1))
        y = np.stack([x[:, 0], x[:, 0] + 0.7 * x[:, 1]], axis=1) + rng.normal(size=(rows, 2))
        features.append(x)
        later.append(y)
    return features, later


def fit(dimensions: int, seed: int = 1) -> Encoder:
    features, later = cohorts(seed)
    return Encoder.fit(features, later, dimensions=dimensions, target_weights=np.ones(2))


def test_the_first_coordinates_do_not_depend_on_how_many_follow() -> None:
    """Fitting with more dimensions leaves the first coordinates as they were."""
    np.testing.assert_allclose(fit(3).projection, fit(9).projection[:, :3], rtol=1e-9, atol=1e-12)


def test_coordinates_are_whitened() -> None:
    """Over the past cohorts coordinates are uncorrelated with mean square 1, where there is variance."""
    features, _ = cohorts()
    z = np.vstack([standardise(block) for block in features]) @ fit(9).projection
    np.testing.assert_allclose(z.T @ z / len(z), np.eye(9), atol=1e-8)


def test_there_are_no_more_foresight_directions_than_the_targets_support() -> None:
    """Of four targets with two independent parts, two directions; then follows what varies most."""
    features, later = cohorts()
    repeated = [np.hstack([y, y]) for y in later]
    encoder = Encoder.fit(features, repeated, dimensions=3, target_weights=np.ones(4))
    shared = standardise(features[0])[:, 5:9].mean(axis=1)
    assert abs(np.corrcoef(encoder.transform(features[0])[:, 2], shared)[0, 1]) > 0.95


def test_the_first_directions_foretell_the_future() -> None:
    """The foresight directions come before directions of mere variance."""
    features, later = cohorts(seed=2)
    z = fit(9).transform(features[0])
    foretold = [abs(np.corrcoef(z[:, j], later[0].sum(axis=1))[0, 1]) for j in range(9)]
    assert int(np.argmax(foretold)) == 0
    assert foretold[0] > 0.8


def test_the_index_points_to_more_activity() -> None:
    """A higher engagement index means that more activity is foreseen, whatever sign an eigenvector has."""
    features, later = cohorts(seed=3)
    for sign in (1.0, -1.0):
        encoder = Encoder.fit(features, [sign * y for y in later], dimensions=4, target_weights=np.ones(2))
        assert np.corrcoef(encoder.index(features[0]), sign * later[0].sum(axis=1))[0, 1] > 0.8
        first = encoder.transform(features[0])[:, 0]
        assert np.corrcoef(encoder.index(features[0]), first)[0, 1] > 0.99


def test_a_redundant_direction_is_not_blown_up() -> None:
    """A direction in which almost nothing differs keeps a small scale instead of becoming amplified noise."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(500, 3))
    features = [np.column_stack([x, x[:, 0] + 1e-6 * rng.normal(size=500)])]
    encoder = Encoder.fit(features, [x[:, :1]], dimensions=4, target_weights=np.ones(1))
    z = standardise(features[0]) @ encoder.projection
    assert z[:, 0].std() > 0.99
    assert z[:, 3].std() < 0.01


def test_fitting_twice_gives_the_same_encoder() -> None:
    """There is no randomness in it."""
    np.testing.assert_array_equal(fit(6).projection, fit(6).projection)


def test_a_cohort_is_compared_with_itself() -> None:
    """Standardised columns have mean 0; a missing value stands at the mean, a constant column is 0."""
    block = np.array([[1.0, 7.0, 2.0], [3.0, 7.0, np.nan], [8.0, 7.0, 4.0]])
    result = standardise(block)
    np.testing.assert_allclose(result.mean(axis=0), 0, atol=1e-12)
    assert result[1, 2] == 0
    np.testing.assert_array_equal(result[:, 1], 0)
    np.testing.assert_array_equal(standardise(block[:1]), 0)
    np.testing.assert_array_equal(standardise(np.full((2, 2), np.nan)), 0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12), st.floats(0.1, 50))
def test_clipping_and_quantising(seed: int, dimensions: int, scale: float) -> None:
    """Rows are shortened to the norm and never lengthened; int8 then differs by at most half a step."""
    values = np.random.default_rng(seed).normal(size=(20, dimensions)) * scale
    clip = clip_norm(dimensions)
    clipped = clip_rows(values, clip=clip)
    norms = np.linalg.norm(values, axis=1)
    np.testing.assert_allclose(np.linalg.norm(clipped, axis=1), np.minimum(norms, clip), rtol=1e-12)
    restored = quantise_int8(clipped, clip=clip) * (clip / 127)
    assert np.abs(restored - clipped).max() <= clip / 254 + 1e-12


def test_a_row_beyond_the_clip_saturates() -> None:
    """Values outside the range end at ±127 and never wrap around."""
    assert quantise_int8(np.array([[3.0, -3.0]]), clip=1.0).tolist() == [[127, -127]]
    with pytest.raises(DataError):
        quantise_int8(np.array([[np.nan]]), clip=1.0)


def test_too_little_to_fit_on_is_refused() -> None:
    """Fewer people or features than dimensions cannot be whitened."""
    features, later = cohorts()
    few = [block[:2] for block in features], [block[:2] for block in later]
    with pytest.raises(DataError, match="more than 4 past students, got 4"):
        Encoder.fit(*few, dimensions=4, target_weights=np.ones(2))
    with pytest.raises(ConfigurationError, match="1 to 12"):
        fit(13)
    with pytest.raises(DataError, match="later behaviour"):
        Encoder.fit(features, [y * 0 for y in later], dimensions=4, target_weights=np.ones(2))
    with pytest.raises(DataError, match="past cohort"):
        Encoder.fit([], [], dimensions=2, target_weights=np.ones(2))
