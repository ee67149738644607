"""The linear head in exact integers, and what a settle says of it (protocol §4.2, §4.5)."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import expect

SCALE = 2**32


@dataclass(frozen=True, slots=True)
class Head:
    """After `rounds` rounds: weights and bias, and the sums of the averaged iterates, scaled by 2^32."""

    rounds: int
    weights: tuple[int, ...]
    sums: tuple[int, ...]

    @classmethod
    def first(cls, training: Mapping[str, Any]) -> Head:
        """Before round 1: the plan's prior."""
        prior = training["prior"]
        return cls(0, tuple(2**16 * value for value in prior), (0,) * len(prior))

    def advance(self, gradient: Sequence[int], training: Mapping[str, Any]) -> Head:
        """The head after one more round; `training` is the plan's."""
        rate, decay = Fraction(training["learning_rate"]), Fraction(training["weight_decay"])
        over = training["grid"] * training["normaliser"]
        decays = [decay] * (len(self.weights) - 1) + [Fraction(0)]
        weights = tuple(
            w - floor(rate * (Fraction(g * SCALE, over) + each * (w - 2**16 * p)))
            for w, p, g, each in zip(self.weights, training["prior"], gradient, decays, strict=True)
        )
        expect(all(abs(w) <= 2**20 * SCALE for w in weights), "weights within 2^20")
        averaged = self.rounds + 1 >= training["average_from"]
        sums = tuple(s + w * averaged for s, w in zip(self.sums, weights, strict=True))
        return Head(self.rounds + 1, weights, sums)

    def released(self, average_from: int) -> tuple[int, ...]:
        """The mean of the averaged iterates."""
        return tuple(total // (self.rounds - average_from + 1) for total in self.sums)

    def commitment(self, key: bytes) -> bytes:
        """What a settle says of this head, under the cohort's commitment key."""
        said = ",".join(str(number) for number in (self.rounds, *self.weights, *self.sums))
        return hmac.digest(key, b"noren/v1/head-state\0" + said.encode(), "sha256")


def commitment_key(cohort_key: bytes, session: bytes) -> bytes:
    """The cohort's key for the commitments of settles."""
    return hmac.digest(cohort_key, b"noren/v1/cohort-commitment\0" + session, "sha256")


def update_commitment(key: bytes, company: str, noised: NDArray[np.int64]) -> bytes:
    """What a settle says of a company's own noised vector."""
    said = b"update\0" + company.encode() + b"\0" + noised.astype("<i8").tobytes()
    return hmac.digest(key, said, "sha256")
