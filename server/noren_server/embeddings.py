"""From an event log and consented cohorts to embeddings, and to the noised rows a company trains on.

A clean embedding is a summary of the log and never leaves the platform: what a company gets to train on is
made by `noised_training_rows`, once per student, company and campaign. The caller stores what it returns and
never draws again for the same student: averaging two draws would undo half of the noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from noren_core.crypto.weight_layout import ROW_NORM
from noren_core.errors import DataError, LocalProtocolError
from noren_core.ids import parse_name
from noren_core.privacy import discrete_gaussian
from noren_core.privacy.discrete_gaussian import NoiseStream
from noren_server import encoder as encoders
from noren_server import features
from noren_server.encoder import Encoder, FloatArray
from noren_server.event_log import EventLog, event_table
from noren_server.features import FeatureConfig, Season, StudentSeason

TRAINING_ROW_SCALE = 512  # grid units per unit of a whitened coordinate
_INT16_LIMIT = 32_767


@dataclass(frozen=True, slots=True)
class Cohort:
    """One company's consented students of one season, sorted."""

    company: str
    season: Season
    students: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse a name that is none, and an order that would depend on the caller."""
        parse_name(self.company, "cohort company")
        if any(a >= b for a, b in zip(self.students, self.students[1:], strict=False)):
            raise DataError("cohort: expected students sorted and distinct, got another order")


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedCohort:
    """A cohort with one row of coordinates and one engagement index per student, in its order."""

    cohort: Cohort
    values: FloatArray
    index: FloatArray


def build_embeddings(
    event_log: EventLog,
    past: Sequence[Cohort],
    current: Sequence[Cohort],
    *,
    dimensions: int,
    config: FeatureConfig,
) -> list[EmbeddedCohort]:
    """Embeddings of all cohorts, past ones first, in the given order.

    The encoder is fitted on the past cohorts: their behaviour before and after the cut-off, no outcome.
    Only events of the given students are read; for current cohorts only those before the cut-off.

    Raises:
        DataError: if a past cohort's season is not past, or the past cohorts are too few to fit on.
        ConfigurationError: if the seasons' cut-off days differ.
    """
    if not all(cohort.season.is_past for cohort in past):
        raise DataError("embeddings: expected past cohorts to be of past seasons, got a current one")
    accounts = _accounts([*past, *current])
    futures = _accounts(past)
    with event_table(event_log) as events:
        x = _Rows(accounts, features.build_features(events, accounts, config))
        y = _Rows(futures, features.build_targets(events, futures, config))
    encoder = Encoder.fit(
        [x.of(cohort) for cohort in past],
        [y.of(cohort) for cohort in past],
        dimensions=dimensions,
        target_weights=features.target_weights(config),
    )
    return [_embed(encoder, cohort, x.of(cohort)) for cohort in (*past, *current)]


def noised_training_rows(
    values: FloatArray,
    *,
    clip: float,
    variance: Fraction | int,
    random_bytes: Callable[[int], bytes],
    scale: int = TRAINING_ROW_SCALE,
) -> npt.NDArray[np.int16]:
    """The rows a company may see: clipped, on an integer grid, with exact discrete Gaussian noise.

    Mechanism: x ↦ trunc(scale · clip(x)) + N_Z(0, variance) per coordinate, for one student's row x.
    Sensitivity: replacing one student's row by any other moves it by at most 2 · clip · scale in L2 (in grid
    units). Neighbouring relation: replace one row. Whoever knows these numbers can do the accounting.

    1. Refuse what is not finite.
    2. Clip each row in L2 and truncate towards zero, so that the norm on the grid is at most clip · scale;
       rounding to the nearest could exceed it.
    3. Add noise, independent per coordinate.
    4. Saturate to int16, which is post-processing.

    Left to the caller: one draw per (student, company, campaign), stored and never redrawn.

    Args:
        values: rows × the first coordinates of the embedding.
        clip: L2 norm in units of the coordinates.
        variance: of the noise, in squared grid units.
        random_bytes: a cryptographic source; it keys a stream that is used here and nowhere else.
        scale: grid units per unit.
    """
    if not np.isfinite(values).all():  # 1
        raise DataError("training rows: expected finite coordinates, got another")
    grid = np.trunc(encoders.clip_rows(values, clip=clip) * scale).astype(np.int64)  # 2
    if ((grid**2).sum(axis=1) > (clip * scale) ** 2).any():
        raise LocalProtocolError("training rows: a row is longer than the clipping norm on the grid")
    stream = NoiseStream.generate(random_bytes)  # 3
    noise = discrete_gaussian.sample(grid.size, variance=variance, stream=stream)
    noised = grid + noise.reshape(grid.shape)
    saturated: npt.NDArray[np.int16] = np.clip(noised, -_INT16_LIMIT, _INT16_LIMIT).astype(np.int16)  # 4
    return saturated


def statistics_rows(values: FloatArray, *, clip: float) -> npt.NDArray[np.int8]:
    """The rows that sealed sums are made of: clipped in L2, in units of clip / 127, truncated toward zero.

    Truncation lengthens nothing, so no row is longer than 127.

    Raises:
        DataError: if a value is not finite.
    """
    if not np.isfinite(values).all():
        raise DataError("training rows: expected finite coordinates, got another")
    # Shortened by more than floating point can lengthen: the bound is checked on the integers.
    clipped = encoders.clip_rows(values, clip=clip * (1 - 2.0**-40))
    rows: npt.NDArray[np.int8] = np.trunc(clipped * (ROW_NORM / clip)).astype(np.int8)
    return rows


def _accounts(cohorts: Sequence[Cohort]) -> list[StudentSeason]:
    """Every student and season once, however many companies she consented to."""
    return list(dict.fromkeys(StudentSeason(s, cohort.season) for cohort in cohorts for s in cohort.students))


class _Rows:
    """Rows of a matrix, found by student and season."""

    def __init__(self, accounts: Sequence[StudentSeason], matrix: FloatArray) -> None:
        self._position = {account: row for row, account in enumerate(accounts)}
        self._matrix = matrix

    def of(self, cohort: Cohort) -> FloatArray:
        """The cohort's rows, in its order."""
        rows = [self._position[StudentSeason(student, cohort.season)] for student in cohort.students]
        block: FloatArray = self._matrix[np.array(rows, dtype=np.int64)]
        return block


def _embed(encoder: Encoder, cohort: Cohort, block: FloatArray) -> EmbeddedCohort:
    return EmbeddedCohort(cohort=cohort, values=encoder.transform(block), index=encoder.index(block))
