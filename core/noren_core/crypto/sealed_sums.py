"""Sums of features under a company's encrypted weights, with the platform's noise, and their opening.

docs/protocol.md, "Sealed statistics". For features h_sj and encrypted weights (A_s, B_s) of c_s the answer is
    Y_j = Σ h_sj·A_s + ρ_j·G,    Z_j = Σ h_sj·B_s + ρ_j·X + e_j·G,
an encryption of Σ c_s·h_sj + e_j with a uniform nonce. Promises: whatever the company sent, it learns that
number for each column and nothing else; the weights are bounded because nothing leaves before their proof is
complete; rows are bounded in L2 norm, so replacing one moves the sums by `WeightLayout.row_sensitivity` at
most, for which the noise is meant. One message is answered once.

ρ and the key of the noise come from a seed. The platform commits to rows and seed before it sees a message,
so its answer is fixed by then: whoever is given rows and seed computes it again and compares
(docs/adr/0018-sealed-statistics.md).

Sums are variable time in h, which is the platform's own.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from fractions import Fraction
from math import isqrt
from typing import Self

import numpy as np
from numpy.typing import NDArray

from noren_core.crypto import secp256k1
from noren_core.crypto.multi_scalar import PointVector, add, combination
from noren_core.crypto.secp256k1 import POINT_BYTES, Point
from noren_core.crypto.secret import Secret, SecretBytes
from noren_core.crypto.small_discrete_log import MAX_BOUND, solve_sums
from noren_core.crypto.weight_encryption import SEED_BYTES, WeightReader, WeightSecret
from noren_core.crypto.weight_layout import CIPHERTEXT_BYTES, ROW_NORM, WeightLayout
from noren_core.errors import DataError, LocalProtocolError, RemoteProtocolError, VerificationError

MAX_DIMENSIONS = 128
TAIL = 16
"""Deviations of a noise sample that are allowed for; honest noise is beyond once in 2^180."""

_OFFSET = 128
_NONCE_LABEL = b"noren/v1/sealed-sums-nonce\0"
_NOISE_LABEL = b"noren/v1/sealed-sums-noise\0"
_ROWS_LABEL = b"noren/v1/sealed-sums-rows\0"

Noise = NDArray[np.int64]


class AnswerSeed(Secret):
    """What nonces and noise of one answer come from, and what its rows are committed to with."""

    def __init__(self, seed: SecretBytes) -> None:
        if len(seed) != SEED_BYTES:
            raise DataError(f"answer seed: expected {SEED_BYTES} bytes, got {len(seed)}")
        self._seed = seed

    @classmethod
    def generate(cls) -> Self:
        """A fresh seed from the operating system's generator."""
        return cls(SecretBytes(secrets.token_bytes(SEED_BYTES)))

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """The seed with this encoding; DataError for another length."""
        return cls(SecretBytes(raw))

    def to_bytes(self) -> bytes:
        """The 32 private bytes, for the platform's store and the auditor on its premises only."""
        return self._seed.reveal()

    def commit(self, features: NDArray[np.int8], *, binding: bytes) -> bytes:
        """The 32 bytes that bind the platform to this seed and these (n, d) rows, and hide them."""
        shape = b"".join(size.to_bytes(4, "big") for size in features.shape)
        statement = _ROWS_LABEL + len(binding).to_bytes(8, "big") + binding + shape
        digest = hmac.new(self._seed.buffer, statement, "sha256")
        digest.update(features.tobytes())
        return digest.digest()

    @property
    def noise_key(self) -> bytes:
        """The key of the stream that the noise is drawn from (`noren_core.privacy.discrete_gaussian`)."""
        return hmac.digest(self._seed.buffer, _NOISE_LABEL, "sha256")

    def nonce(self, column: int) -> SecretBytes:
        """The ρ of a column, uniform up to 2^-256."""
        digest = hmac.digest(self._seed.buffer, _NONCE_LABEL + column.to_bytes(4, "big"), "sha512")
        return SecretBytes(secp256k1.public_scalar(int.from_bytes(digest, "big")))


class SealedSums:
    """The platform's answer to one message: add its parts as they come, then `release` once.

    Memory is for one part, the features, and two points a column.
    """

    def __init__(self, layout: WeightLayout, features: NDArray[np.int8], *, binding: bytes) -> None:
        """Begin.

        Args:
            layout: the plan's.
            features: (n, d) in the order of the table's positions, zeros for dummies.
            binding: as `encrypt_weights` was given.

        Raises:
            DataError: if the array is another, or a row's norm is above 127.
        """
        if features.dtype != np.int8 or features.ndim != 2 or len(features) != layout.positions:
            raise DataError(f"features: expected {layout.positions} rows of int8, got another array")
        if not 1 <= features.shape[1] <= MAX_DIMENSIONS:
            raise DataError(f"features: expected 1 to {MAX_DIMENSIONS} columns, got {features.shape[1]}")
        if (np.einsum("ij,ij->i", features, features, dtype=np.int64) > ROW_NORM**2).any():
            raise DataError(f"features: expected rows of norm {ROW_NORM} at most, got a longer one")
        self._features = features
        self._reader = WeightReader(layout, binding=binding)
        self._first = _Columns(features.shape[1])
        self._second = _Columns(features.shape[1])
        self._is_released = False

    @property
    def commitment(self) -> bytes:
        """Of the message, once its proof is complete; LocalProtocolError before."""
        return self._reader.commitment

    @property
    def is_proved(self) -> bool:
        """Whether the whole message came and its proof holds."""
        return self._reader.is_proved

    def add(self, part: bytes) -> None:
        """Take the message's next part; errors as from `WeightReader.add`."""
        chunk = self._reader.add(part)
        if chunk is not None:
            rows = self._features[chunk.positions.start : chunk.positions.stop]
            self._first.add(chunk.first, rows)
            self._second.add(chunk.second, rows)

    def release(self, *, noise: Noise, seed: AnswerSeed) -> bytes:
        """The answer, Y ‖ Z for every column, 66·d bytes.

        Args:
            noise: d integers from `noren_core.privacy.discrete_gaussian.sample` with the stream of
                `seed.noise_key`.
            seed: the one that was committed to.

        Raises:
            LocalProtocolError: if the proof is not complete, or an answer was released before: a second one
                with other noise would undo half of it.
            DataError: if the noise has another size.
        """
        key = self._reader.public_key
        if self._is_released:
            raise LocalProtocolError("sealed sums: expected one answer to a message, asked for a second")
        if noise.shape != (self._features.shape[1],):
            raise DataError("sealed sums: expected noise for every column, got another number")
        self._is_released = True
        answer = b""
        for column, value in enumerate(noise.tolist()):
            nonce = seed.nonce(column)
            first = (self._first.sum(column), secp256k1.multiply_base_secret(nonce))
            second = (self._second.sum(column), secp256k1.multiply_secret(nonce, key), _multiple(value))
            answer += _encode(add(first)) + _encode(add(second))
        return answer


class _Columns:
    """Σ h_sj·P_s for every column j, chunk by chunk: the sums with h + 128, and the sum of all points."""

    def __init__(self, columns: int) -> None:
        self._shifted: list[Point | None] = [None] * columns
        self._total: Point | None = None

    def add(self, points: PointVector, rows: NDArray[np.int8]) -> None:
        self._total = add((self._total, points.total()))
        digits = (rows.astype(np.int16) + _OFFSET).astype(np.uint8)
        for column, known in enumerate(self._shifted):
            weighted = points.weighted_sum(digits[:, column : column + 1])
            self._shifted[column] = add((known, weighted))

    def sum(self, column: int) -> Point | None:
        return combination([(1, self._shifted[column]), (-_OFFSET, self._total)])


def opening_bound(layout: WeightLayout, variance: Fraction) -> int:
    """Largest magnitude of a noisy sum, up to a chance of 2^-180; DataError if it cannot be opened."""
    bound = layout.sum_bound + _deviations(variance, TAIL)
    if bound > MAX_BOUND:
        raise DataError(f"sealed sums: expected sums and noise up to {MAX_BOUND}, got a bound of {bound}")
    return bound


def open_sums(
    answer: bytes, secret: WeightSecret, layout: WeightLayout, *, columns: int, variance: Fraction
) -> list[int]:
    """The noisy sums, one for each column, as exact integers.

    The multiplication by x is constant time, and the search takes the same steps for every sum.

    Raises:
        RemoteProtocolError: if the answer is not 2·`columns` points.
        VerificationError: if a column does not open to a number that honest rows and noise can give.
    """
    if len(answer) != columns * CIPHERTEXT_BYTES:
        raise RemoteProtocolError(
            f"sealed sums: expected {columns * CIPHERTEXT_BYTES} bytes, got {len(answer)}"
        )
    try:
        points = [Point.from_bytes(answer[i : i + POINT_BYTES]) for i in range(0, len(answer), POINT_BYTES)]
    except DataError as error:
        raise RemoteProtocolError("sealed sums: expected compressed points, got other bytes") from error
    pairs = [
        (second, -secp256k1.multiply_secret(secret.scalar, first))
        for first, second in zip(points[::2], points[1::2], strict=True)
    ]
    return solve_sums(pairs, bound=opening_bound(layout, variance))


def verify_norm(sums: Sequence[int], weights: NDArray[np.int8], *, variance: Fraction) -> None:
    """Whether honest rows and honest noise can have given these sums under the company's own weights.

    ‖Σ c_s·h_s‖ ≤ 127·Σ|c_s|, and the norm of d samples is above (√d + 16) deviations less than once in 2^180.

    Raises:
        VerificationError: if the norm of the sums is larger. Whether it was raised depends on the weights, so
            nobody else may notice: whoever sees that it was has learnt about them.
    """
    magnitude = int(np.abs(weights.astype(np.int64)).sum())
    allowed = ROW_NORM * magnitude + _deviations(variance, TAIL + isqrt(len(sums)) + 1)
    if sum(value * value for value in sums) > allowed**2:
        raise VerificationError("sealed sums: expected what rows of the agreed norm can give, got more")


def _deviations(variance: Fraction, count: int) -> int:
    """`count` deviations, rounded up."""
    return isqrt(int(variance * count**2)) + 1


def _multiple(value: int) -> Point | None:
    return secp256k1.multiply_base_secret(SecretBytes(secp256k1.public_scalar(value))) if value else None


def _encode(point: Point | None) -> bytes:
    if point is None:
        raise DataError("sealed sums: expected a point, got the identity")
    return point.to_bytes()
