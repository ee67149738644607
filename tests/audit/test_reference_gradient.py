"""The auditor's gradient by hand, and against the client's, with which it does not share a line."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from noren_audit.replay.reference_gradient import reference_sum
from noren_client.training import clipped_gradient_sum
from noren_core.errors import DataError

GRID = 2**16
FLOATS = st.floats(-40, 40, allow_nan=False, width=32)


def example(n: int = 50, d: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return rng.standard_normal((n, d)) * 2, rng.integers(0, 2, n), rng.standard_normal(d + 1)


def test_a_gradient_by_hand() -> None:
    """x = (3, 4), y = 1, head 0: residual −1/2, gradient −(1.5, 2, 0.5), whose norm is √6.5."""
    row, label, head = np.array([[3.0, 4.0]]), np.array([1]), np.zeros(3)
    free = reference_sum(row, label, head, clipping_norm=Fraction(10), grid=1000)
    assert free.tolist() == [-1500, -2000, -500]
    clipped = reference_sum(row, label, head, clipping_norm=Fraction(1), grid=1001)
    assert clipped.tolist() == [-588, -785, -196]  # of −588.9, −785.2 and −196.3


@settings(max_examples=100, deadline=None)
@given(st.data(), st.integers(0, 12), st.integers(1, 6), st.sampled_from(["0.01", "1", "30"]))
def test_it_is_the_clients_within_a_unit_per_row(data: st.DataObject, n: int, d: int, norm: str) -> None:
    rows = data.draw(arrays(np.float64, (n, d), elements=FLOATS))
    labels = data.draw(arrays(np.int64, n, elements=st.integers(0, 1)))
    weights = data.draw(arrays(np.float64, d + 1, elements=FLOATS))
    ours = reference_sum(rows, labels, weights, clipping_norm=Fraction(norm), grid=GRID)
    theirs = clipped_gradient_sum(rows, labels, weights, clipping_norm=Fraction(norm), grid=GRID)
    assert np.abs(ours - theirs).max() <= n


def test_one_record_moves_it_by_the_clipping_norm_at_most() -> None:
    rows, labels, weights = example()
    whole = reference_sum(rows * 100, labels, weights, clipping_norm=Fraction(2), grid=GRID)
    for left in range(len(rows)):
        kept = np.arange(len(rows)) != left
        rest = reference_sum(rows[kept] * 100, labels[kept], weights, clipping_norm=Fraction(2), grid=GRID)
        assert math.isqrt(int(((whole - rest) ** 2).sum())) <= 2 * GRID


def test_order_and_machine_words_do_not_matter() -> None:
    rows, labels, weights = example(400)
    order = np.random.default_rng(1).permutation(400)
    one = reference_sum(rows, labels, weights, clipping_norm=Fraction(1), grid=GRID)
    other = reference_sum(rows[order], labels[order], weights, clipping_norm=Fraction(1), grid=GRID)
    assert np.abs(one - other).max() <= 400
    assert one.dtype == np.int64


def test_extreme_scores_are_finite() -> None:
    """Nothing overflows: a certain and right head has no gradient, a wrong one all of it."""
    row, head = np.array([[1.0]]), np.array([1e6, 0.0])
    for label, expected in ((1, [0, 0]), (0, [GRID, GRID])):
        found = reference_sum(row, np.array([label]), head, clipping_norm=Fraction(2), grid=GRID)
        assert found.tolist() == expected


def test_a_row_of_zeros_moves_the_bias_alone() -> None:
    found = reference_sum(
        np.zeros((3, 2)), np.array([0, 0, 1]), np.zeros(3), clipping_norm=Fraction(1), grid=4
    )
    assert found.tolist() == [0, 0, 2]


@pytest.mark.parametrize(
    ("rows", "labels", "weights"),
    [
        (np.zeros(3), np.zeros(3), np.zeros(4)),
        (np.zeros((3, 2)), np.zeros(2), np.zeros(3)),
        (np.zeros((3, 2)), np.zeros(3), np.zeros(2)),
        (np.full((3, 2), np.nan), np.zeros(3), np.zeros(3)),
        (np.zeros((3, 2)), np.zeros(3), np.array([0, np.inf, 0])),
    ],
)
def test_what_does_not_fit_is_refused(rows: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> None:
    with pytest.raises(DataError):
        reference_sum(rows, labels, weights, clipping_norm=Fraction(1), grid=GRID)
