"""The platform's side of scoring: from a head it cannot read, one ciphertext per student it cannot read.

For features h the ciphertext is U = sum of h_j·A_j + ρ·G, V = sum of h_j·B_j + ρ·X with a fresh ρ per
student (docs/protocol.md §5). Promises: (U, V) encrypts exactly w·h, and is otherwise uniform whatever the
company sent as its head, because ρ is; equal features give unrelated ciphertexts. The weights are bounded
because a head comes from `verify_head`.

How it is fast: all multiples that can occur lie in tables, and one call into libsecp256k1 adds the chosen
ones. Tables hold the multiples 1 to 256, since the identity has no encoding; a digit z from 0 to 255 stands
for the multiple z + 1. A feature h is the digit h + 128, hence counted 129 too high, which one last addend
corrects; ρ is 32 uniform digits in base 256, so it is uniform up to 2^-127. Sums are variable time in h and
ρ, which are the platform's own and seen from outside only through the batch's total time.
"""

from __future__ import annotations

import secrets

import numpy as np
from numpy.typing import NDArray

from noren_core.crypto import secp256k1
from noren_core.crypto.head_encryption import EncryptedHead
from noren_core.crypto.secp256k1 import RAW_POINT_BYTES, Point, PointSums
from noren_core.errors import DataError, RemoteProtocolError

_RHO_DIGITS = 32
_MULTIPLES = 256
_FEATURE_OFFSET = 129
_BLOCK_ROWS = 4096


class Scorer:
    """Scores students with one verified head; for one thread at a time."""

    def __init__(self, encrypted_head: EncryptedHead) -> None:
        """Build the tables (some 0.1 s); RemoteProtocolError if nonces were chosen so that points cancel."""
        self._dimensions = encrypted_head.dimensions
        self._first = _MultiplesTable([weight.a for weight in encrypted_head.weights], secp256k1.GENERATOR)
        self._second = _MultiplesTable(
            [weight.b for weight in encrypted_head.weights], encrypted_head.public_key
        )

    def score(self, features: NDArray[np.int8]) -> list[bytes]:
        """One fresh 66-byte ciphertext U ‖ V of w·h for every row h of an (n, dimensions) int8 array.

        Raises:
            DataError: if the array has another shape or type.
        """
        if features.dtype != np.int8 or features.ndim != 2 or features.shape[1] != self._dimensions:
            raise DataError(f"features: expected int8 rows of {self._dimensions}, got another array")
        return [
            ciphertext
            for start in range(0, len(features), _BLOCK_ROWS)
            for ciphertext in self._score_block(features[start : start + _BLOCK_ROWS])
        ]

    def _score_block(self, features: NDArray[np.int8]) -> list[bytes]:
        rows = len(features)
        rho = np.frombuffer(secrets.token_bytes(rows * _RHO_DIGITS), np.uint8).reshape(rows, _RHO_DIGITS)
        digits = np.concatenate([(features.astype(np.int16) + 128).astype(np.uint8), rho], axis=1)
        return [u + v for u, v in zip(self._first.sums(digits), self._second.sums(digits), strict=True)]


class _MultiplesTable:
    """Multiples 1 to 256 of every weight's point and of 256^i·base, and the correcting point."""

    def __init__(self, weight_points: list[Point], base: Point) -> None:
        points = weight_points + [
            secp256k1.multiply_public(secp256k1.public_scalar(_MULTIPLES**i), base)
            for i in range(_RHO_DIGITS)
        ]
        raw = b"".join(secp256k1.raw_multiples(point, _MULTIPLES) for point in points)
        self._memory = np.frombuffer(raw + _correction(weight_points), np.uint8)
        address = self._memory.ctypes.data
        self._row_addresses = address + np.arange(len(points), dtype=np.uint64) * np.uint64(
            _MULTIPLES * RAW_POINT_BYTES
        )
        self._correction_address = np.uint64(address + len(raw))
        self._sums = PointSums()

    def sums(self, digits: NDArray[np.uint8]) -> list[bytes]:
        """For every row of digits the encoded sum of the multiples it chooses."""
        rows, width = digits.shape
        addresses = np.empty((rows, width + 1), np.uint64)
        addresses[:, :width] = self._row_addresses + digits * np.uint64(RAW_POINT_BYTES)
        addresses[:, width] = self._correction_address
        return self._sums.encoded_sums(addresses.ctypes.data, rows=rows, row_length=width + 1)


def _correction(weight_points: list[Point]) -> bytes:
    """-129 times the sum of the weights' points, in raw form."""
    total = secp256k1.sum_points(weight_points)
    if total is None:
        raise RemoteProtocolError("head: expected independent nonces, got points that cancel")
    return secp256k1.raw_multiples(
        secp256k1.multiply_public(secp256k1.public_scalar(-_FEATURE_OFFSET), total), 1
    )
