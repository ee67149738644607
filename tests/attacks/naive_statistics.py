"""Sums under encrypted weights as one would build them at first: no proof, noise, bound or limit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy.typing as npt

from noren_core.crypto import secp256k1
from noren_core.crypto.bit_proof import Ciphertext
from noren_core.crypto.multi_scalar import add, combination
from noren_core.crypto.secp256k1 import GENERATOR, Point
from noren_core.crypto.secret import SecretBytes
from noren_core.crypto.small_discrete_log import MAX_BOUND, solve_sums


class NaiveCompany:
    """Encrypts any integers, and opens whatever comes back."""

    def __init__(self) -> None:
        self._scalar = secp256k1.random_scalar()
        self.public_key = secp256k1.multiply_base_secret(self._scalar)

    def encrypt(self, weights: Sequence[int]) -> list[Ciphertext]:
        return [self._encrypt(int(weight)) for weight in weights]

    def open(self, answer: Sequence[Ciphertext]) -> list[int]:
        pairs = [(each.b, -secp256k1.multiply_secret(self._scalar, each.a)) for each in answer]
        return solve_sums(pairs, bound=MAX_BOUND)

    def _encrypt(self, weight: int) -> Ciphertext:
        nonce: SecretBytes = secp256k1.random_scalar()
        masked = secp256k1.multiply_secret(nonce, self.public_key)
        second = combination([(1, masked), (weight, GENERATOR)])
        return Ciphertext(secp256k1.multiply_base_secret(nonce), _point(second))


def naive_sums(
    weights: Sequence[Ciphertext], key: Point, features: npt.NDArray, noise: Sequence[int] | None = None
) -> list[Ciphertext]:
    """A fresh encryption of the weighted sum of every column of any integers."""
    answer = []
    for column, own in zip(features.T.tolist(), noise or [0] * features.shape[1], strict=True):
        nonce = secp256k1.random_scalar()
        first = combination((h, each.a) for h, each in zip(column, weights, strict=True))
        second = combination((h, each.b) for h, each in zip(column, weights, strict=True))
        answer.append(
            Ciphertext(
                _point(add((first, secp256k1.multiply_base_secret(nonce)))),
                _point(add((second, secp256k1.multiply_secret(nonce, key), combination([(own, GENERATOR)])))),
            )
        )
    return answer


def _point(point: Point | None) -> Point:
    assert point is not None, "once in 2^256"
    return point
