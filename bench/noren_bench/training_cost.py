"""One differentially private gradient of a linear head: Opacus' hooks, and the closed form they compute."""

from __future__ import annotations

import secrets
from fractions import Fraction
from functools import partial

import numpy as np
import numpy.typing as npt

from noren_bench.measurement import Row, microseconds_each
from noren_client.training import clipped_gradient_sum
from noren_core.errors import VerificationError

_ROWS, _DIMENSIONS, _GRID = 512, 4, 1 << 16
_CLIPPING_NORM = Fraction(2)
_STEPS = 20

FloatArray = npt.NDArray[np.float64]


def row() -> Row:
    """Clipped integer gradient sum over 512 rows."""
    rows = np.frombuffer(secrets.token_bytes(_ROWS * _DIMENSIONS), np.int8).astype(np.float64) / 64
    rows = rows.reshape(_ROWS, _DIMENSIONS)
    labels = (np.frombuffer(secrets.token_bytes(_ROWS), np.uint8) & 1).astype(np.float64)
    weights = np.linspace(-1.0, 1.0, _DIMENSIONS + 1)
    step = partial(clipped_gradient_sum, rows, labels, weights, clipping_norm=_CLIPPING_NORM, grid=_GRID)
    if np.abs(step() - closed_form(rows, labels, weights)).max() > _ROWS:
        raise VerificationError("gradient: expected both ways to agree up to rounding, they do not")
    ours = microseconds_each(lambda: [step() for _ in range(_STEPS)], _STEPS)
    floor = microseconds_each(lambda: [closed_form(rows, labels, weights) for _ in range(_STEPS)], _STEPS)
    return Row(
        work=f"private gradient of a linear head, B = {_ROWS}",
        unit="µs",
        ours=ours,
        floor=floor,
        floor_is="the closed form in NumPy",
    )


def closed_form(rows: FloatArray, labels: FloatArray, weights: FloatArray) -> npt.NDArray[np.int64]:
    """The same sum without automatic differentiation; agrees up to one grid unit per row."""
    residual = 1 / (1 + np.exp(-(rows @ weights[:-1] + weights[-1]))) - labels
    norms = np.abs(residual) * np.sqrt((rows**2).sum(axis=1) + 1)
    factors = np.minimum(1.0, float(_CLIPPING_NORM) / np.maximum(norms, np.finfo(np.float64).tiny))
    scaled = residual * factors * _GRID
    gradients = np.concatenate([scaled[:, np.newaxis] * rows, scaled[:, np.newaxis]], axis=1)
    total: npt.NDArray[np.int64] = np.trunc(gradients).astype(np.int64).sum(axis=0)
    return total
