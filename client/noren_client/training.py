"""The company's gradient computation: Opacus' per-example gradients, our clipping, rounding and sum.

Promises: the sum changes by a vector of L2 norm at most C·grid when one record is added or removed, and
nothing in it depends on the number of records otherwise (full batch, no division by it). Refuses every
noise of Opacus': floating-point noise can be told apart from the exact sum's neighbour, and its generator
can be seeded by anyone. The noise is added by the caller, to the integers.

This module loads torch when imported; import it where it is used.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer

from noren_core.errors import DataError, LocalProtocolError
from noren_core.privacy.accounting import MAX_COORDINATES

_SAFETY = 1 - 2.0**-40
"""Relative room below the clipping norm for the rounding of float64; see IntegerSumOptimizer."""

_MAX_GRID_NORM = 2**31
_MAX_ROWS = 2**31


class IntegerSumOptimizer(DPOptimizer):  # type: ignore[misc]  # opacus ships no types
    """Opacus' optimizer up to the clipped sum, which here is one of integers; it never adds noise or steps.

    The norm of each summand is at most C·grid, exactly. Let C' = C·(1 − 2^−40) and n the computed norm of
    an example's gradient g. Each g_i is multiplied by min(1, C'/n) and by the grid. Computing n has a
    relative error below (d + 8)·2^−53, the factor and the two products one below 2^−50, and d ≤ 256; so the
    product's true norm is below C·grid·(1 − 2^−40)·(1 + 2^−43) < C·grid. Rounding each coordinate toward
    zero only shortens it. The summands are then integers below 2^31 in magnitude, of which fewer than 2^31
    are added, so int64 adds them exactly and in any order.
    """

    def __init__(self, parameters: list[torch.nn.Parameter], *, clipping_norm: Fraction, grid: int) -> None:
        super().__init__(
            torch.optim.SGD(parameters, lr=1.0),
            noise_multiplier=0.0,
            max_grad_norm=float(clipping_norm),
            expected_batch_size=None,
            loss_reduction="sum",
        )
        self._grid = grid

    def clip_and_accumulate(self) -> NDArray[np.int64]:
        """The integer sum over all examples of the last backward pass, all parameters in one vector.

        Raises:
            DataError: if a gradient is not finite.
        """
        gradients = torch.cat([sample.flatten(start_dim=1) for sample in self.grad_samples], dim=1)
        if not bool(torch.isfinite(gradients).all()):
            raise DataError("training set: expected finite gradients, got another value")
        # Divided by the largest entry first, so that squares neither overflow nor vanish.
        largest = gradients.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
        norms = largest * (gradients / largest).norm(dim=1, keepdim=True)
        factors = (self.max_grad_norm * _SAFETY / norms).clamp_max(1.0)
        integers = torch.trunc(gradients * factors * self._grid).to(torch.int64)
        total: NDArray[np.int64] = integers.sum(dim=0).numpy()
        return total

    def add_noise(self) -> NoReturn:
        """Refused: LocalProtocolError."""
        raise LocalProtocolError("noise: expected discrete noise on the integer sum, got a call for Opacus'")

    def step(self, *_: object) -> NoReturn:
        """Refused: LocalProtocolError. The head moves by the cohort's aggregate, never by our sum alone."""
        raise LocalProtocolError("step: expected a use of the sum only, got a call for an update")


def clipped_gradient_sum(
    rows: NDArray[np.float64],
    labels: NDArray[np.generic],
    weights: NDArray[np.float64],
    *,
    clipping_norm: Fraction,
    grid: int,
) -> NDArray[np.int64]:
    """The sum over all rows of the clipped logistic-loss gradients of a linear head, on the integer grid.

    Args:
        rows: (n, d) features; n may be 0.
        labels: (n,) zeros and ones.
        weights: (d + 1,) the head's d weights, then its bias.
        clipping_norm: C; an example's gradient has L2 norm at most C before it is put on the grid.
        grid: integer units per 1.

    Returns:
        (d + 1,) the weights' sums, then the bias', in grid units; without noise, so for our eyes only.

    Raises:
        DataError: if shapes do not fit, a value is not finite, a label is neither 0 nor 1, or a parameter is
            out of range.
    """
    _verify_inputs(rows, labels, weights, clipping_norm=clipping_norm, grid=grid)
    # One thread: results do not depend on how many cores there are, and a small head gains nothing.
    torch.set_num_threads(1)
    head = torch.nn.Linear(rows.shape[1], 1, dtype=torch.float64)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weights[np.newaxis, :-1].copy()))
        head.bias.copy_(torch.from_numpy(weights[-1:].copy()))
    module = GradSampleModule(head, loss_reduction="sum")
    optimizer = IntegerSumOptimizer(list(head.parameters()), clipping_norm=clipping_norm, grid=grid)
    # Torch warns when a hooked module's inputs need no gradient, though the hooks do not use that gradient.
    inputs = torch.from_numpy(rows.copy()).requires_grad_()
    scores = module(inputs).squeeze(1)
    targets = torch.from_numpy(labels.astype(np.float64))
    loss = torch.nn.functional.binary_cross_entropy_with_logits(scores, targets, reduction="sum")
    torch.autograd.backward(loss)
    return optimizer.clip_and_accumulate()


def _verify_inputs(
    rows: NDArray[np.float64],
    labels: NDArray[np.generic],
    weights: NDArray[np.float64],
    *,
    clipping_norm: Fraction,
    grid: int,
) -> None:
    if rows.ndim != 2 or rows.dtype != np.float64 or not 1 <= rows.shape[1] < MAX_COORDINATES:
        raise DataError(
            f"rows: expected a table of float64 with 1 to {MAX_COORDINATES - 1} columns, got another"
        )
    if labels.shape != (len(rows),) or not np.isin(labels, (0, 1)).all():
        raise DataError("labels: expected a 0 or 1 for each row, got another")
    if weights.shape != (rows.shape[1] + 1,) or weights.dtype != np.float64:
        raise DataError(f"weights: expected {rows.shape[1] + 1} of float64, got another")
    if not (np.isfinite(rows).all() and np.isfinite(weights).all()):
        raise DataError("training set: expected finite values, got another")
    if clipping_norm <= 0 or grid < 1 or clipping_norm * grid >= _MAX_GRID_NORM or len(rows) >= _MAX_ROWS:
        raise DataError("clipping: expected a positive norm and grid whose product is below 2^31, got others")
