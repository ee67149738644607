"""The gradient sum against its closed form, and its bounds."""

import time
from fractions import Fraction
from math import isqrt

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from noren_client.training import IntegerSumOptimizer, clipped_gradient_sum
from noren_core.errors import DataError, LocalProtocolError

GRID = 65_536
CLIP = Fraction(2)


def example(n=50, d=5, seed=1):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)) * 2, rng.integers(0, 2, n), rng.standard_normal(d + 1)


def closed_form(rows, labels, weights, *, clipping_norm=CLIP):
    """Per-example clipped gradients in numpy: (sigmoid(w·x + b) − y)·(x, 1), scaled to norm C at most."""
    residuals = 1 / (1 + np.exp(-(rows @ weights[:-1] + weights[-1]))) - labels
    gradients = residuals[:, np.newaxis] * np.column_stack([rows, np.ones(len(rows))])
    norms = np.linalg.norm(gradients, axis=1, keepdims=True)
    return gradients * np.minimum(1, float(clipping_norm) / np.maximum(norms, 1e-300))


def gradient_sum(rows, labels, weights, *, clipping_norm=CLIP, grid=GRID):
    return clipped_gradient_sum(rows, labels, weights, clipping_norm=clipping_norm, grid=grid)


@pytest.mark.parametrize(("n", "d"), [(1, 1), (50, 5), (400, 32)])
@pytest.mark.parametrize("clipping_norm", [Fraction(1, 4), Fraction(2), Fraction(1000)])
def test_it_is_the_closed_form(n, d, clipping_norm):
    """On a very fine grid the sum equals the closed form to 1e-9; on the usual one, to a unit per example."""
    rows, labels, weights = example(n, d)
    exact = closed_form(rows, labels, weights, clipping_norm=clipping_norm)
    fine = 2**20 if clipping_norm > 100 else 2**28
    total = gradient_sum(rows, labels, weights, clipping_norm=clipping_norm, grid=fine)
    assert np.abs(total - (exact * fine).sum(axis=0)).max() <= n
    usual = gradient_sum(rows, labels, weights, clipping_norm=clipping_norm)
    assert usual.dtype == np.int64
    assert np.abs(usual - (exact * GRID).sum(axis=0)).max() <= n


def test_per_example_gradients_are_exact_before_rounding():
    """One example on a grid of 2^30: the closed form to 1e-9."""
    rows, labels, weights = example(20, 4)
    for index in range(20):
        one = slice(index, index + 1)
        total = gradient_sum(rows[one], labels[one], weights, clipping_norm=Fraction(1), grid=2**30)
        exact = closed_form(rows[one], labels[one], weights, clipping_norm=Fraction(1))[0]
        assert np.abs(total / 2**30 - exact).max() <= 1e-9


@settings(max_examples=60, deadline=None)
@given(
    row=arrays(np.float64, 6, elements=st.floats(-1e6, 1e6)),
    label=st.integers(0, 1),
    weights=arrays(np.float64, 7, elements=st.floats(-50, 50)),
    clipping_norm=st.fractions(Fraction(1, 1000), 100, max_denominator=1000),
    grid=st.sampled_from([1, 3, 1000, 65_536, 2**24]),
)
def test_no_example_weighs_more_than_the_clipping_norm(row, label, weights, clipping_norm, grid):
    """The squared integer norm of one example is at most (C·grid)², compared exactly."""
    total = gradient_sum(row[np.newaxis], np.array([label]), weights, clipping_norm=clipping_norm, grid=grid)
    assert sum(int(value) ** 2 for value in total) <= (clipping_norm * grid) ** 2


@pytest.mark.parametrize("size", [1e-300, 1e-160, 1.0, 1e150, 1e300])
def test_rows_of_any_size_are_clipped(size):
    """Huge rows neither overflow nor escape the bound, and tiny ones count as nearly nothing."""
    total = gradient_sum(np.full((1, 3), size), np.array([1]), np.zeros(4))
    norm_squared = sum(int(value) ** 2 for value in total)
    assert norm_squared <= (CLIP * GRID) ** 2
    if size > 1:
        assert norm_squared > (CLIP * GRID * Fraction(999, 1000)) ** 2


def test_gradients_that_meet_the_norm_exactly_stay_within_it():
    """The last bit of float64 is not given away: integer directions at a norm just above C come out below C.

    The gradient is (-p/q, -1), scaled to norm C; C·grid is the norm of (p, q) less a part in 10^21. Without
    room for rounding, a third of these would come out as (p, q), longer than C·grid.
    """
    grid = 2**30
    for step in range(60):
        p, q = 2**28 + 12_345 * step, 2**29 - 98_765 * step
        clipping_norm = Fraction(isqrt((p * p + q * q) * 10**24), 10**12 * grid)
        assert (clipping_norm * grid) ** 2 < p * p + q * q
        row, weights = np.array([[p / q]]), np.array([0.0, -800.0])
        total = gradient_sum(row, np.array([1]), weights, clipping_norm=clipping_norm, grid=grid)
        assert sum(int(value) ** 2 for value in total) <= (clipping_norm * grid) ** 2
        assert np.abs(total + np.array([p, q])).max() <= 1


def test_removing_a_record_changes_the_sum_by_its_own_share_only():
    """Nothing is divided by the number of records, and no record changes another's share."""
    rows, labels, weights = example(30)
    whole = gradient_sum(rows, labels, weights)
    without = gradient_sum(rows[1:], labels[1:], weights)
    assert (whole - without).tolist() == gradient_sum(rows[:1], labels[:1], weights).tolist()


def test_the_order_of_records_does_not_matter():
    """Integers add exactly, so the same set of records always gives the same bytes."""
    rows, labels, weights = example(200)
    order = np.random.default_rng(0).permutation(200)
    assert (gradient_sum(rows, labels, weights) == gradient_sum(rows[order], labels[order], weights)).all()


def test_an_empty_set_gives_zeros():
    """A company without records takes part, with noise alone."""
    total = gradient_sum(np.zeros((0, 5)), np.zeros(0, np.int64), np.ones(6))
    assert total.dtype == np.int64
    assert total.tolist() == [0] * 6


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["rows", "weights"])
def test_values_that_are_not_finite_are_refused(where, bad):
    """A single bad value would spoil the whole cohort's sum."""
    rows, labels, weights = example()
    {"rows": rows[0], "weights": weights}[where][0] = bad
    with pytest.raises(DataError, match="finite"):
        gradient_sum(rows, labels, weights)


def test_gradients_that_are_not_finite_are_refused():
    """Finite inputs whose score overflows to inf − inf are refused too."""
    rows = np.array([[1e308, 1e308]])
    with pytest.raises(DataError, match="finite"):
        gradient_sum(rows, np.array([1]), np.array([10.0, -10.0, 0.0]))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"rows": np.zeros((3, 2), np.float32)}, "rows"),
        ({"rows": np.zeros(3)}, "rows"),
        ({"rows": np.zeros((3, 0)), "weights": np.zeros(1)}, "rows"),
        ({"rows": np.zeros((3, 256)), "weights": np.zeros(257)}, "rows"),
        ({"labels": np.array([0, 1])}, "labels"),
        ({"labels": np.array([0, 1, 2])}, "labels"),
        ({"labels": np.array([0, 1, np.nan])}, "labels"),
        ({"weights": np.zeros(2)}, "weights"),
        ({"weights": np.zeros(3, np.float32)}, "weights"),
        ({"clipping_norm": Fraction(0)}, "clipping"),
        ({"clipping_norm": Fraction(-1)}, "clipping"),
        ({"grid": 0}, "clipping"),
        ({"grid": 2**30}, "clipping"),
    ],
    ids=str,
)
def test_inputs_of_another_form_are_refused(change, what):
    """Shapes, types and labels are checked before anything is computed."""
    inputs = {"rows": np.zeros((3, 2)), "labels": np.array([0, 1, 1]), "weights": np.zeros(3)}
    inputs |= {"clipping_norm": CLIP, "grid": GRID}
    with pytest.raises(DataError, match=what):
        clipped_gradient_sum(**(inputs | change))


def test_opacus_noise_and_steps_are_refused():
    """The optimizer has no noise to add and never moves the head."""
    optimizer = IntegerSumOptimizer([torch.nn.Parameter(torch.zeros(2))], clipping_norm=CLIP, grid=GRID)
    assert optimizer.noise_multiplier == 0
    for refused in (optimizer.add_noise, optimizer.step):
        with pytest.raises(LocalProtocolError):
            refused()
    with pytest.raises(TypeError):
        IntegerSumOptimizer([], clipping_norm=CLIP, grid=GRID, noise_multiplier=1.0)


def test_a_round_takes_a_fraction_of_a_second():
    """Two thousand records of five features: at most 0.15 CPU seconds (2 ms measured)."""
    rows, labels, weights = example(2000)
    gradient_sum(rows, labels, weights)
    started = time.process_time()
    gradient_sum(rows, labels, weights)
    assert time.process_time() - started < 0.15
