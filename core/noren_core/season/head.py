"""The linear head and its update rule, on integers (docs/protocol.md §4.2).

Every company of a cohort computes the same head from the same aggregates. The arithmetic is exact
(Python integers), so that "the same" means the same bytes on any machine and the commitments that the
companies put in the ledger can be compared.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from noren_core.errors import LocalProtocolError, RemoteProtocolError
from noren_core.season.plan import PRIOR_SCALE, Release, RowRelease, Training

WEIGHT_SCALE = 1 << 32
"""A weight w is kept as the integer round(w · 2^32)."""

MAX_WEIGHT = 1 << 20
"""Weights beyond ±2^20 mean that the learning rate diverged; the round is refused."""


@dataclass(frozen=True, slots=True)
class HeadState:
    """The head after `round_number` rounds: d coordinate weights, then the bias, scaled by 2^32.

    `iterate_sum` and `iterates` accumulate the rounds that the released head averages.
    """

    round_number: int
    weights: tuple[int, ...]
    iterate_sum: tuple[int, ...]
    iterates: int

    @classmethod
    def initial(cls, training: Training) -> HeadState:
        """The plan's prior, before round 1."""
        return cls(0, _prior(training), (0,) * len(training.prior), 0)

    def advance(self, gradient_sum: Sequence[int], training: Training) -> HeadState:
        """The head after one more round, given the decoded (unblinded) sum of that round.

        Args:
            gradient_sum: d + 1 integers on the plan's grid, noise included.
            training: the plan's update rule.

        Raises:
            RemoteProtocolError: if the sum has another length or drives a weight out of range.
        """
        if len(gradient_sum) != len(self.weights):
            raise RemoteProtocolError(
                f"aggregate: expected {len(self.weights)} values, got {len(gradient_sum)}"
            )
        decays = (*(training.weight_decay,) * (len(self.weights) - 1), Fraction(0))  # the bias does not decay
        weights = tuple(
            weight - _step(weight - prior, int(total), decay, training)
            for weight, prior, total, decay in zip(
                self.weights, _prior(training), gradient_sum, decays, strict=True
            )
        )
        if any(abs(weight) > MAX_WEIGHT * WEIGHT_SCALE for weight in weights):
            raise RemoteProtocolError("aggregate: expected a bounded update, got one that diverges")
        counted = self.round_number + 1 >= training.average_from
        total = (
            tuple(s + w for s, w in zip(self.iterate_sum, weights, strict=True))
            if counted
            else self.iterate_sum
        )
        return HeadState(self.round_number + 1, weights, total, self.iterates + counted)

    def as_floats(self) -> npt.NDArray[np.float64]:
        """The weights as float64, for the gradient computation."""
        return np.array([weight / WEIGHT_SCALE for weight in self.weights], dtype=np.float64)

    def released(self) -> tuple[int, ...]:
        """The head that is released: the mean of the averaged iterates, scaled by 2^32."""
        if self.iterates == 0:
            raise LocalProtocolError("head: expected at least one averaged round, got none")
        return tuple(total // self.iterates for total in self.iterate_sum)

    def commitment(self, key: bytes) -> bytes:
        """HMAC-SHA256 of this state under the cohort's commitment key; the platform cannot test guesses."""
        text = ",".join(str(value) for value in (self.round_number, *self.weights, *self.iterate_sum))
        return hmac.digest(key, b"noren/v1/head-state\0" + text.encode(), "sha256")


def _prior(training: Training) -> tuple[int, ...]:
    """The plan's prior in weight units."""
    return tuple(value * (WEIGHT_SCALE // PRIOR_SCALE) for value in training.prior)


def _step(surplus: int, total: int, decay: Fraction, training: Training) -> int:
    """learning_rate · (total / (grid · normaliser) + decay · (w - prior)) in weight units, rounded down."""
    gradient = Fraction(total * WEIGHT_SCALE, training.grid * training.normaliser)
    step = training.learning_rate * (gradient + decay * surplus)
    return step.numerator // step.denominator


def row_scale(rows: RowRelease) -> float:
    """What a received integer row is divided by: a noised coordinate's deviation in integer units.

    Coordinates are whitened (variance 1 before noise), so that after division each has variance about 1.
    """
    return float(np.sqrt(np.float64(rows.scale) ** 2 + np.float64(rows.variance)))


def attenuation(release: Release) -> float:
    """The factor by which a coefficient learned on noised, rescaled rows understates that of a clean row.

    Sealed sums are of clean rows: 1.
    For whitened coordinates, regression on h + noise shrinks a coefficient by var(h) / var(h + noise)
    (regression dilution); undoing it and the rescaling together is multiplication by this factor.
    """
    return row_scale(release) / release.scale if isinstance(release, RowRelease) else 1.0
