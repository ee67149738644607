"""What a company's exact sum must be, from the definition (docs/privacy.md §2.1) and nothing of the client's.

The gradient of the logistic loss at one example is r·(x, 1) with the residual r = σ(w·x + b) − y, so its norm
is |r|·‖(x, 1)‖: no example's gradient is ever formed by automatic differentiation. A fault of the client's
library, or of how it is used, is therefore not repeated here.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt

from noren_core.errors import DataError

_BELOW_NORM = 1.0 - 2.0**-40
"""Of the clipping norm, what an example is clipped to: room for the rounding of float64."""


def reference_sum(
    rows: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float64],
    *,
    clipping_norm: Fraction,
    grid: int,
) -> npt.NDArray[np.int64]:
    """The sum over all rows of clipped gradients, each truncated toward zero to integers.

    Another machine's float64 may round a summand's coordinate to the other side of an integer: two
    computations of the same sum can differ by up to one unit per row and coordinate.

    Args:
        rows: (n, d) features, already divided by their scale; n may be 0.
        labels: (n,) zeros and ones.
        weights: (d + 1,) weights, then the bias.
        clipping_norm: C.
        grid: integer units per 1.

    Returns:
        (d + 1,) integers, the bias last.

    Raises:
        DataError: if the shapes do not fit each other or a value is not finite.
    """
    if rows.ndim != 2 or labels.shape != rows.shape[:1] or weights.shape != (rows.shape[1] + 1,):
        raise DataError("reference: expected rows, a label for each and d + 1 weights, got other shapes")
    if not (np.isfinite(rows).all() and np.isfinite(weights).all()):
        raise DataError("reference: expected finite values, got another")
    inputs = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
    residuals = _sigmoid(inputs @ weights) - labels
    norms = np.abs(residuals) * np.sqrt(np.einsum("ij,ij->i", inputs, inputs))
    limit = float(clipping_norm) * _BELOW_NORM
    factors = limit / np.maximum(norms, limit)
    summands = np.trunc(inputs * (residuals * factors * grid)[:, np.newaxis])
    total: npt.NDArray[np.int64] = summands.astype(np.int64).sum(axis=0, dtype=np.int64)
    return total


def _sigmoid(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """1 / (1 + e^−s), without overflow at either end."""
    small = np.exp(-np.abs(scores))
    return np.where(scores >= 0, 1.0, small) / (1.0 + small)
