"""The label-free encoder: features of a cohort in, a few ordered, whitened coordinates out.

It learns from past cohorts what of today's behaviour foretells tomorrow's, never from an outcome, so it can
be published and says nothing about any company's decisions. Fitting is linear algebra without randomness.

The coordinates are ordered: coordinate j depends on directions 1 to j only, each found after the earlier ones
and uncorrelated with them. A plan that uses the first few coordinates therefore uses the same numbers, up to
clipping, as one that uses all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from noren_core.errors import ConfigurationError, DataError

FloatArray = npt.NDArray[np.float64]

FORESIGHT_DIRECTIONS = 8
CLIP_PER_ROOT_DIMENSION = 1.25
_SCALE_FLOOR = 0.1
_OUTLIER = 4.0
_RIDGE_PER_ROW = 0.03
_EIGENVALUE_FLOOR = 1e-2
_RANK_TOLERANCE = 1e-9
INT8_LIMIT = 127


@dataclass(frozen=True, slots=True, eq=False)
class Encoder:
    """A fitted encoder.

    Attributes:
        projection: features × coordinates; standardised features times this are the whitened coordinates, of
            which the first is the engagement index.
        index_direction: features; standardised features times this are the engagement index.
    """

    projection: FloatArray
    index_direction: FloatArray

    @classmethod
    def fit(
        cls,
        features: Sequence[FloatArray],
        targets: Sequence[FloatArray],
        *,
        dimensions: int,
        target_weights: FloatArray,
    ) -> Encoder:
        """The encoder of past cohorts, one array of features and one of later behaviour per cohort.

        1. Standardise features and targets within each cohort; weight the targets.
        2. Up to eight directions by reduced-rank ridge regression of targets on features.
        3. Principal components of what the directions leave, up to `dimensions` columns.
        4. Whiten: scale each direction by itself, so a coordinate never depends on a later one.

        Raises:
            DataError: if there is no past cohort, no later behaviour, or no more students than dimensions.
            ConfigurationError: if there are fewer features than dimensions.
        """
        if not features:
            raise DataError("encoder: expected at least one past cohort, got none")
        x = np.vstack([standardise(block) for block in features])
        y = np.vstack([standardise(block) for block in targets]) * target_weights
        if len(x) <= dimensions:
            raise DataError(f"encoder: expected more than {dimensions} past students, got {len(x)}")
        if not 1 <= dimensions <= x.shape[1]:
            raise ConfigurationError(f"encoder: expected 1 to {x.shape[1]} dimensions, got {dimensions}")
        if not y.any():
            raise DataError("encoder: expected past students to differ in their later behaviour, got none")
        foresight = _foresight_directions(x, y)[:, :dimensions]
        # Coordinate 1 is the index, so that a plan can say what it is expected to mean.
        foresight[:, 0] *= np.sign((x @ foresight[:, 0]) @ y.sum(axis=1)) or 1.0
        rest = _principal_directions(x, foresight, dimensions - foresight.shape[1])
        directions = np.hstack([foresight, rest])
        return cls(projection=_whiten(x, directions, foresight.shape[1]), index_direction=foresight[:, 0])

    @property
    def dimensions(self) -> int:
        """How many coordinates `transform` returns."""
        return int(self.projection.shape[1])

    def transform(self, features: FloatArray) -> FloatArray:
        """The coordinates of one cohort, each row clipped to an L2 norm of `clip_norm(dimensions)`."""
        return clip_rows(standardise(features) @ self.projection, clip=clip_norm(self.dimensions))

    def index(self, features: FloatArray) -> FloatArray:
        """The engagement index of one cohort: higher means more activity is foreseen. Needs no label."""
        index: FloatArray = standardise(features) @ self.index_direction
        return index


def clip_norm(dimensions: int) -> float:
    """R, the L2 norm that rows of this many coordinates are clipped to."""
    return CLIP_PER_ROOT_DIMENSION * math.sqrt(dimensions)


def clip_rows(values: FloatArray, *, clip: float) -> FloatArray:
    """Each row, shortened to an L2 norm of at most `clip`."""
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    clipped: FloatArray = values * (clip / np.maximum(norms, clip))
    return clipped


def quantise_int8(values: FloatArray, *, clip: float) -> npt.NDArray[np.int8]:
    """Coordinates as round(value · 127 / clip); a row within `clip` fits without saturation.

    Raises:
        DataError: if a value is not finite.
    """
    if not np.isfinite(values).all():
        raise DataError("embeddings: expected finite coordinates, got another")
    scaled = np.rint(values * (INT8_LIMIT / clip))
    return np.clip(scaled, -INT8_LIMIT, INT8_LIMIT).astype(np.int8)


def standardise(block: FloatArray) -> FloatArray:
    """A cohort's features with mean 0 and about unit scale, outliers limited; NaN becomes the mean.

    A company's applicants differ from another's as a group (another deadline, another site section); within
    the cohort they are comparable. The floor keeps a nearly constant column from blowing up.
    """
    known = np.isfinite(block)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, block, 0.0).sum(axis=0) / count
    centred = np.where(known, block - mean, 0.0)
    scale = np.sqrt((centred**2).sum(axis=0) / count) + _SCALE_FLOOR
    standardised: FloatArray = np.clip(centred / scale, -_OUTLIER, _OUTLIER)
    return standardised


def _foresight_directions(x: FloatArray, y: FloatArray) -> FloatArray:
    """Reduced-rank ridge regression: the directions of x that foretell most of y, best first.

    Their scores are uncorrelated. There are as many as the targets have independent parts, at most eight.
    """
    gram = x.T @ x + _RIDGE_PER_ROW * len(x) * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, x.T @ y)
    fitted = x @ weights
    explained, axes = np.linalg.eigh(fitted.T @ fitted)
    count = min(FORESIGHT_DIRECTIONS, int((explained > _RANK_TOLERANCE * explained[-1]).sum()))
    return _with_fixed_signs(weights @ axes[:, ::-1][:, :count])


def _principal_directions(x: FloatArray, known: FloatArray, count: int) -> FloatArray:
    """The `count` leading principal directions of what the `known` directions do not explain of x."""
    scores = x @ known
    loadings = np.linalg.lstsq(scores, x, rcond=None)[0]
    residual = x - scores @ loadings
    _, axes = np.linalg.eigh(residual.T @ residual)
    leading = axes[:, ::-1][:, :count]
    return _with_fixed_signs(leading - known @ (loadings @ leading))


def _with_fixed_signs(directions: FloatArray) -> FloatArray:
    """An eigenvector's sign is arbitrary: make its largest entry positive."""
    largest = np.abs(directions).argmax(axis=0)
    signs = np.sign(directions[largest, np.arange(directions.shape[1])])
    return directions * np.where(signs == 0, 1.0, signs)


def _whiten(x: FloatArray, directions: FloatArray, foresight: int) -> FloatArray:
    """Each direction scaled so that its scores have mean square 1; their scores are uncorrelated already.

    A principal direction below the floor, a share of the first one's variance, is not blown up to unit
    variance: it would be mostly rounding, and clipping would then pay for noise.
    """
    scale = np.sqrt(((x @ directions) ** 2).mean(axis=0))
    if foresight < len(scale):
        least = math.sqrt(_EIGENVALUE_FLOOR) * scale[foresight]
        scale[foresight:] = np.maximum(scale[foresight:], least)
    whitened: FloatArray = directions / np.maximum(scale, np.finfo(np.float64).tiny)
    return whitened
