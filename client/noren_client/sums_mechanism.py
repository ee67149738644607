"""What one company releases in the mode of sealed statistics, as one function: its sums with exact noise.

docs/privacy.md §2.3 is its definition. Sensitivity: with honest rows, adding or removing one record changes
the sums by a vector of L2 norm at most max(a, b)·127, which is the plan's clipping norm on its grid. Noise:
every coordinate gets discrete Gaussian noise of the variance that the plan makes this company add.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from noren_core.privacy.discrete_gaussian import NoiseStream, sample
from noren_core.privacy.noise import company_variance
from noren_core.season.plan import Training
from noren_core.season.round_event import training_event


def noised_sums(
    sums: Sequence[int], *, plan_training: Training, companies: int, stream: NoiseStream
) -> NDArray[np.int64]:
    """The vector that a company contributes to the one round.

    In vector order: the sums with the sign of a gradient, since the head steps against it; a bias, which
    nothing is learnt of, and the sentinels, all of them 0; noise for every coordinate.

    Args:
        sums: d integers.
        plan_training: the plan's parameters.
        companies: how many share the noise, if it is distributed: the cohort.
        stream: of this company and round, used for nothing else.

    Returns:
        (d + 1 + k,) integers, k the plan's sentinels.

    Raises:
        ConfigurationError: if the parameters leave no noise.
    """
    total = np.zeros(len(sums) + 1 + plan_training.sentinels, dtype=np.int64)
    total[: len(sums)] = np.negative(np.array(sums, dtype=np.int64))
    variance = company_variance(training_event(plan_training), companies=companies)
    return total + sample(len(total), variance=variance, stream=stream)
