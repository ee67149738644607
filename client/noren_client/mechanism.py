"""What one company releases in a round, as one function: clipped sum, sentinel coordinates, exact noise.

docs/privacy.md §2.1 is its definition. Sensitivity: adding or removing one record changes the sum by a vector
of L2 norm at most C·grid, all of it outside the sentinels. Noise: every coordinate gets discrete Gaussian
noise of the variance that the plan makes this company add. Nothing depends on the number of rows otherwise.

Loads torch through `training` when imported; import it where it is used.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from noren_client.training import clipped_gradient_sum
from noren_core.errors import DataError
from noren_core.privacy.discrete_gaussian import NoiseStream, sample
from noren_core.privacy.noise import company_variance
from noren_core.season.plan import Training
from noren_core.season.round_event import training_event


def noised_update(
    rows: NDArray[np.float64],
    labels: NDArray[np.generic],
    weights: NDArray[np.float64],
    *,
    plan_training: Training,
    companies: int,
    stream: NoiseStream,
) -> NDArray[np.int64]:
    """The vector that a company contributes to one round.

    1. To each row belong k coordinates more that are 0. Opacus treats them like any other, so that whoever
       leaves clipping or noise out leaves it out for them, too.
    2. Clipped per-example gradients on the integer grid, summed.
    3. In vector order: d weights, bias, k sentinels.
    4. Exact noise for every coordinate, in that order.

    Args:
        rows: (n, d) features, divided by the scale of their release; n may be 0.
        labels: (n,) zeros and ones.
        weights: (d + 1,) the head's weights, then its bias.
        plan_training: the plan's parameters; k is its `sentinels`.
        companies: how many share the noise, if it is distributed: the cohort.
        stream: of this company and round, used for nothing else.

    Returns:
        (d + 1 + k,) integers in grid units.

    Raises:
        DataError: if rows, labels or weights are not of these shapes, or not finite.
        ConfigurationError: if the parameters leave no noise.
    """
    if rows.ndim != 2:
        raise DataError(f"rows: expected a table, got {rows.ndim} dimensions")
    features, dummies = rows.shape[1], plan_training.sentinels
    padded = np.hstack([rows, np.zeros((len(rows), dummies))])  # 1
    total = clipped_gradient_sum(  # 2
        padded,
        labels,
        np.concatenate([weights[:features], np.zeros(dummies), weights[features:]]),
        clipping_norm=plan_training.clipping_norm,
        grid=plan_training.grid,
    )
    ordered = np.concatenate([total[:features], total[-1:], total[features:-1]])  # 3
    variance = company_variance(training_event(plan_training), companies=companies)
    return ordered + sample(len(ordered), variance=variance, stream=stream)  # 4
