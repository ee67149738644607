"""A company's encrypted head: its weights under ElGamal with proof that each lies in range (SEALED-SCORE v1).

docs/protocol.md §5. Exponential ElGamal on secp256k1: the company's key is X = x·G; every weight w is
shifted to w + 2^(b-1) and encrypted bit by bit with a proof that each bit is 0 or 1 (`bit_proof`), so w
lies in [-2^(b-1), 2^(b-1) - 1]. Without the bound, weights like 2^(10·j) would pack many features of a
student into one answer. Promises: the platform learns the number of dimensions and nothing else about the
head; the company cannot get a larger weight accepted; a message is accepted for one binding only.

Refuses, before any arithmetic, a message of another length, version or layout. Left to the caller: one head
per campaign, since q heads reveal q linear functions of a student's features, and that `binding` names
protocol, company and campaign.

Message: version(1) ‖ weight bits(1) ‖ dimensions(2) ‖ X(33) ‖ for every weight, for every bit from the
lowest, A(33) ‖ B(33); then one proof (`bit_proof`) for all. The proof's statement is label, length-prefixed
binding, and all bytes before the proof.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from noren_core.crypto import secp256k1
from noren_core.crypto.bit_proof import Ciphertext, encrypt_bit, proof_bytes, prove_bits, verify_bits
from noren_core.crypto.secp256k1 import POINT_BYTES, Point
from noren_core.crypto.secret import Secret
from noren_core.crypto.small_discrete_log import SmallDiscreteLog
from noren_core.errors import DataError, RemoteProtocolError

VERSION = 1
WEIGHT_BITS = (8, 12)
MAX_DIMENSIONS = 512
CIPHERTEXT_BYTES = 2 * POINT_BYTES
MAX_FEATURE = 128
"""Features are int8, so their magnitude is at most 128."""

_HEADER_BYTES = 4
_STATEMENT_LABEL = b"noren/v1/encrypted-head\0"
_COMMITMENT_LABEL = b"noren/v1/head-commitment\0"


@dataclass(frozen=True, slots=True, eq=False)
class EncryptedHead:
    """A head whose proof holds: what `verify_head` returns, and only it.

    Attributes:
        weight_bits: b, so every weight lies in [-2^(b-1), 2^(b-1) - 1].
        public_key: X.
        weights: one ciphertext per dimension.
    """

    weight_bits: int
    public_key: Point
    weights: tuple[Ciphertext, ...]

    @property
    def dimensions(self) -> int:
        """Number of weights, and of a student's features."""
        return len(self.weights)


class HeadSecret(Secret):
    """The company's key x for one head; it opens scores that were computed with that head."""

    def __init__(self, scalar: bytes) -> None:
        if not secp256k1.is_scalar(scalar):
            raise DataError("head key: expected 32 bytes encoding a secp256k1 scalar, got others")
        self._scalar = scalar
        self._public_key = secp256k1.multiply_base_secret(scalar)

    @classmethod
    def generate(cls) -> Self:
        """A fresh key from the operating system's generator."""
        return cls(secp256k1.random_scalar())

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """The key with this encoding; DataError for any other bytes."""
        return cls(raw)

    def to_bytes(self) -> bytes:
        """The 32 private bytes, for the key store only."""
        return self._scalar

    @property
    def public_key(self) -> Point:
        """X = x·G."""
        return self._public_key

    def decrypt(self, ciphertexts: Sequence[bytes], *, bound: int) -> list[int]:
        """The scores w·h in the order of `ciphertexts`, each as an exact integer.

        The multiplication by x is constant time, and the search takes the same steps for every score.

        Args:
            ciphertexts: U ‖ V, 66 bytes each.
            bound: largest magnitude that a score can have, from `score_bound`.

        Raises:
            RemoteProtocolError: if a ciphertext is not two points.
            VerificationError: if one does not decrypt to a score within the bound.
        """
        points = [_parse_ciphertext(ciphertext) for ciphertext in ciphertexts]
        logarithm = SmallDiscreteLog(bound)
        return [
            logarithm.solve_sum((point.b, -secp256k1.multiply_secret(self._scalar, point.a)))
            for point in points
        ]


def encrypt_head(weights: Sequence[int], *, weight_bits: int, binding: bytes) -> tuple[HeadSecret, bytes]:
    """Encrypt a head under a fresh key and prove that every weight is in range.

    1. Check the number of weights and that each is in range.
    2. Encrypt every bit of every shifted weight under a fresh key.
    3. Prove all bits, bound to the whole message and `binding`.

    Args:
        weights: integers in [-2^(b-1), 2^(b-1) - 1].
        weight_bits: b, 8 or 12.
        binding: protocol, company and campaign; the platform must pass the same bytes to `verify_head`.

    Raises:
        DataError: if step 1 fails.
    """
    # 1
    _check_layout(len(weights), weight_bits)
    shifted = [int(weight) + (1 << (weight_bits - 1)) for weight in weights]
    if not all(0 <= value < 1 << weight_bits for value in shifted):
        raise DataError(f"head: expected weights of {weight_bits} bits, got one out of range")
    # 2
    secret = HeadSecret.generate()
    bits = [
        encrypt_bit(value >> position & 1, secret.public_key)
        for value in shifted
        for position in range(weight_bits)
    ]
    # 3
    body = _header(len(weights), weight_bits) + secret.public_key.to_bytes()
    body += b"".join(bit.ciphertext.to_bytes() for bit in bits)
    return secret, body + prove_bits(_statement(body, binding), secret.public_key, bits)


def head_commitment(message: bytes) -> bytes:
    """The 32 bytes that stand for this message in the ledger; encryption is fresh, so they tell nothing."""
    return hashlib.sha256(_COMMITMENT_LABEL + message).digest()


def verify_head(message: bytes, *, dimensions: int, weight_bits: int, binding: bytes) -> EncryptedHead:
    """Check a company's message and add its bits up to one ciphertext per weight.

    1. Exact length, then exact header.
    2. Every point is one.
    3. Every bit is proved to be 0 or 1, under this key and this binding.
    4. Add up: w = sum of 2^i·bit_i - 2^(b-1).
    That no head of this campaign was accepted before is left to the caller.

    Raises:
        RemoteProtocolError: if step 1 or 2 fails, or nonces were chosen so that points cancel.
        VerificationError: if step 3 fails.
    """
    _check_layout(dimensions, weight_bits)
    # 1
    if len(message) != message_bytes(dimensions, weight_bits):
        expected = message_bytes(dimensions, weight_bits)
        raise RemoteProtocolError(f"head: expected {expected} bytes, got {len(message)}")
    if message[:_HEADER_BYTES] != _header(dimensions, weight_bits):
        raise RemoteProtocolError(f"head: expected version {VERSION} and the campaign's layout, got another")
    # 2
    body_bytes = len(message) - proof_bytes(dimensions * weight_bits)
    body, proof = message[:body_bytes], message[body_bytes:]
    key_end = _HEADER_BYTES + POINT_BYTES
    key = _parse_point(body[_HEADER_BYTES:key_end])
    bits = [
        _parse_ciphertext(body[start : start + CIPHERTEXT_BYTES])
        for start in range(key_end, body_bytes, CIPHERTEXT_BYTES)
    ]
    # 3
    verify_bits(_statement(body, binding), key, bits, proof)
    # 4
    weights = [_weigh(bits[start : start + weight_bits]) for start in range(0, len(bits), weight_bits)]
    return EncryptedHead(weight_bits, key, tuple(weights))


def message_bytes(dimensions: int, weight_bits: int) -> int:
    """Exact length of a message."""
    bits = dimensions * weight_bits
    return _HEADER_BYTES + POINT_BYTES + bits * CIPHERTEXT_BYTES + proof_bytes(bits)


def score_bound(dimensions: int, weight_bits: int) -> int:
    """Largest magnitude of w·h for int8 features: dimensions · 128 · 2^(b-1)."""
    _check_layout(dimensions, weight_bits)
    return dimensions * MAX_FEATURE << (weight_bits - 1)


def _weigh(bits: Sequence[Ciphertext]) -> Ciphertext:
    """The ciphertext of sum of 2^i·bit_i - 2^(b-1), by doubling from the highest bit."""
    a, b = bits[-1].a, bits[-1].b
    for bit in reversed(bits[:-1]):
        a, b = _add(a, a, bit.a), _add(b, b, bit.b)
    shift = secp256k1.multiply_base_secret(secp256k1.public_scalar(-(1 << (len(bits) - 1))))
    return Ciphertext(a, _add(b, shift))


def _add(*points: Point) -> Point:
    total = secp256k1.sum_points(points)
    if total is None:
        raise RemoteProtocolError("head: expected independent nonces, got points that cancel")
    return total


def _statement(body: bytes, binding: bytes) -> bytes:
    return _STATEMENT_LABEL + len(binding).to_bytes(8, "big") + binding + body


def _header(dimensions: int, weight_bits: int) -> bytes:
    return bytes([VERSION, weight_bits]) + dimensions.to_bytes(2, "big")


def _parse_ciphertext(encoding: bytes) -> Ciphertext:
    if len(encoding) != CIPHERTEXT_BYTES:
        raise RemoteProtocolError(f"ciphertext: expected {CIPHERTEXT_BYTES} bytes, got {len(encoding)}")
    return Ciphertext(_parse_point(encoding[:POINT_BYTES]), _parse_point(encoding[POINT_BYTES:]))


def _parse_point(encoding: bytes) -> Point:
    try:
        return Point.from_bytes(encoding)
    except DataError as error:
        raise RemoteProtocolError("secp256k1 point: expected a compressed point, got other bytes") from error


def _check_layout(dimensions: int, weight_bits: int) -> None:
    if weight_bits not in WEIGHT_BITS:
        raise DataError(f"head: expected weights of 8 or 12 bits, got {weight_bits}")
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise DataError(f"head: expected 1 to {MAX_DIMENSIONS} weights, got {dimensions}")
