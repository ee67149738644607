"""From the released head to integer weights, and from integer scores to bands; both stay at the company.

The platform computes w·h on integers and never sees w, b or a score. The company adds its own
intercept: the one with which its offerees' mean probability equals its own past rate of the outcome
(shrunk by one pseudo-observation each way). A head trained on noised rows understates its coefficients
by a factor that the plan makes public, and which is undone here (season.head.attenuation).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from noren_core.errors import DataError
from noren_core.season.head import WEIGHT_SCALE, attenuation
from noren_core.season.plan import CampaignPlan, Release, StatisticsRelease

FEATURE_LEVELS = 127  # an embedding coordinate v travels as round(v · 127 / clip)
_BISECTIONS = 80


@dataclass(frozen=True, slots=True)
class IntegerHead:
    """Weights for the encrypted head, and what one unit of the integer score is worth in log-odds."""

    weights: tuple[int, ...]
    unit: float


def integer_head(released: Sequence[int], plan: CampaignPlan) -> IntegerHead:
    """Scale the coordinate weights (the bias is dropped) so that the largest uses the full width.

    Raises:
        DataError: if every weight is zero; there is nothing to score with.
    """
    weights = np.array([weight / WEIGHT_SCALE for weight in released[:-1]], dtype=np.float64)
    largest = float(np.max(np.abs(weights)))
    if largest == 0:
        raise DataError("head: expected a weight other than zero, got none")
    levels = (1 << (plan.scoring.weight_bits - 1)) - 1
    unit = largest / levels * float(Fraction(plan.release.clip)) / FEATURE_LEVELS * attenuation(plan.release)
    return IntegerHead(
        tuple(int(w) for w in np.rint(weights / largest * levels)), unit * _steepening(weights, plan.release)
    )


def _steepening(weights: npt.NDArray[np.float64], release: Release) -> float:
    """By how much a head's log-odds are too flat, beyond the dilution of its coefficients; at most 2.

    *Rows*: what their noise hides of the log-odds has variance v = ρ·|g|² for clean-row weights g and the
    share ρ of noise in a coordinate; averaged over it, σ(m) becomes about σ(m / √(1 + πv/8)) (Spiegelhalter
    and Lauritzen 1990). Solved for the curve before.

    *Sums*: their head is the difference Δ of the classes' means, as if coordinates had variance 1 within a
    class. They have it in all; with shares π and 1 − π of the classes, the inverse of what is left within
    makes it Δ / (1 − π(1 − π)·|Δ|²) (Sherman and Morrison 1950). The plan's weights a and b stand in the
    proportion of the expected shares.

    Bounded, since a large head is mostly noise.
    """
    if isinstance(release, StatisticsRelease):
        both = release.negative + release.positive
        between = release.negative * release.positive / both**2 * float(weights @ weights)
        return 1 / (1 - min(1 / 2, between))
    noise_share = release.variance / (release.scale**2 + release.variance)
    clean = attenuation(release) * weights
    return float(1 / np.sqrt(1 - min(3 / 4, np.pi / 8 * noise_share * float(clean @ clean))))


def base_rate(labels: npt.NDArray[np.int8]) -> float:
    """The company's own past rate of the outcome, with one pseudo-observation each way."""
    return (float(labels.sum()) + 1) / (len(labels) + 2)


def probabilities(scores: Sequence[int], *, unit: float, rate: float) -> npt.NDArray[np.float64]:
    """Calibrated probabilities (n,) of integer scores (n,): their mean is `rate`."""
    if not scores:
        return np.zeros(0)
    log_odds = np.array(scores, dtype=np.float64) * unit
    low, high = -60.0, 60.0
    for _ in range(_BISECTIONS):  # the mean probability rises with the intercept
        middle = (low + high) / 2
        if _sigmoid(log_odds + middle).mean() < rate:
            low = middle
        else:
            high = middle
    return _sigmoid(log_odds + (low + high) / 2)


def bands(values: npt.NDArray[np.float64], edges: Sequence[str]) -> list[int]:
    """The band of each probability: 1 below the first edge, len(edges) + 1 from the last on."""
    limits = [float(edge) for edge in edges]
    return [bisect_right(limits, float(value)) + 1 for value in values]


def _sigmoid(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    clipped = np.clip(values, -500, 500)
    return np.asarray(1 / (1 + np.exp(-clipped)), dtype=np.float64)
