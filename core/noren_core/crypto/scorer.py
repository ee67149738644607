"""The platform's side of scoring: from heads it cannot read, ciphertexts per student it cannot read.

For features h and a head (A_j, B_j) the ciphertext is U = sum of h_j·A_j + ρ·G, V = sum of h_j·B_j + ρ·X
with a fresh ρ per student and head (docs/protocol.md §5.4). Promises: (U, V) encrypts exactly w·h, and is
otherwise uniform whatever the company sent as its heads, because ρ is; equal features give unrelated
ciphertexts. The weights are bounded because heads come from `verify_head`.

How it is fast: all multiples that can occur lie in tables of (z - 127.5)·P, and one call into libsecp256k1
adds the chosen ones. A feature h is the digit z = h + 128, hence half a multiple too high; ρ is 32 digits,
uniform in base 256, hence a constant off. For every head the rows of 256^0·G and 256^0·X are shifted by what
is too much, and by one random multiple of G and X: with it, no choice of A_j and B_j makes an element of the
table the identity. ρ is uniform up to 2^-127. Sums are variable time in h and ρ, which are the platform's own
and seen from outside only through the batch's total time.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from noren_core.crypto import secp256k1
from noren_core.crypto.cores import map_blocks
from noren_core.crypto.head_encryption import EncryptedHead
from noren_core.crypto.secp256k1 import GENERATOR, MultiplesTable, Point
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import DataError

_RHO_DIGITS = 32
_FEATURE_OFFSET = 128
_BLOCK_ROWS = 4096
_MINUS_HALF = secp256k1.public_scalar((secp256k1.GROUP_ORDER - 1) // 2)


class Scorer:
    """Scores students with one company's verified heads, on all cores; threads may share it."""

    def __init__(self, encrypted_head: EncryptedHead, *, threads: int | None = None) -> None:
        """Make the tables: 16 KiB and about 0.3 ms for each of 2·k·(d + 1) + 62 points.

        Args:
            encrypted_head: k heads of d weights.
            threads: how many at once; as many as there are cores if not given.
        """
        self._layout = encrypted_head.layout
        self._threads = threads
        heads, constant = encrypted_head.heads, secp256k1.random_scalar()
        self._first = _Side(GENERATOR, [[weight.a for weight in head] for head in heads], constant)
        self._second = _Side(
            encrypted_head.public_key, [[weight.b for weight in head] for head in heads], constant
        )

    def score(self, features: NDArray[np.int8]) -> list[bytes]:
        """For every row h of an (n, d) int8 array k fresh ciphertexts U ‖ V, 66·k bytes in the heads' order.

        Raises:
            DataError: if the array has another shape or type.
        """
        dimensions = self._layout.dimensions
        if features.dtype != np.int8 or features.ndim != 2 or features.shape[1] != dimensions:
            raise DataError(f"features: expected int8 rows of {dimensions}, got another array")

        def score(rows: Sequence[int]) -> list[bytes]:
            starts = range(rows[0], rows[-1] + 1, _BLOCK_ROWS)
            blocks = [features[start : min(start + _BLOCK_ROWS, rows[-1] + 1)] for start in starts]
            return [payload for block in blocks for payload in self._score_block(block)]

        return map_blocks(score, range(len(features)), threads=self._threads)

    def _score_block(self, features: NDArray[np.int8]) -> list[bytes]:
        known = (features.astype(np.int16) + _FEATURE_OFFSET).astype(np.uint8)
        columns = []
        for head in range(self._layout.heads):
            digits = np.concatenate([known, _uniform_digits(len(known))], axis=1)
            columns += [self._first.sums(head, digits), self._second.sums(head, digits)]
        payloads = np.concatenate(columns, axis=1).tobytes()
        size = self._layout.payload_bytes
        return [payloads[start : start + size] for start in range(0, len(payloads), size)]


class _Side:
    """One half of every ciphertext: U from G and the A_j, or V from X and the B_j."""

    def __init__(self, base: Point, heads: Sequence[Sequence[Point]], constant: SecretBytes) -> None:
        points = [_power(base, digit) for digit in range(1, _RHO_DIGITS)]
        powers = range(len(points))
        self._columns = []
        lowest = []
        for weights in heads:
            own = range(len(points), len(points) + len(weights) + 1)
            self._columns.append(np.array([*own, *powers], np.intp))
            lowest.append(own[-1])
            points += [*weights, base]
        self._table = MultiplesTable(points)
        own_constant = secp256k1.multiply_secret(constant, base)
        for row, weights in zip(lowest, heads, strict=True):
            self._table.shift(row, _correction(weights, own_constant))

    def sums(self, head: int, digits: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The (n, 33) encodings for (n, d + 32) digits: features, then ρ from the lowest digit."""
        return self._table.sums(self._columns[head], digits)


def _power(base: Point, digit: int) -> Point:
    """256^digit · base."""
    return secp256k1.multiply_public(secp256k1.public_scalar(secp256k1.MULTIPLES**digit), base)


def _correction(weights: Sequence[Point], constant: Point) -> Point:
    """The constant less half the sum of the weights' points, by which the features' digits are too high."""
    total = secp256k1.sum_points(weights)
    if total is None:  # nonces that cancel: there is nothing to take off
        return constant
    shift = secp256k1.sum_points((constant, secp256k1.multiply_public(_MINUS_HALF, total)))
    if shift is None:
        raise DataError("secp256k1: expected a sum other than the identity, got the identity")
    return shift


def _uniform_digits(rows: int) -> NDArray[np.uint8]:
    return np.frombuffer(secrets.token_bytes(rows * _RHO_DIGITS), np.uint8).reshape(rows, _RHO_DIGITS)
