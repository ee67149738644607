"""A company's encrypted heads: weights under ElGamal with proof that each lies in range (SEALED-SCORE v1).

docs/protocol.md §5.1 to §5.3, §5.6. Exponential ElGamal on secp256k1: the company's key is X = x·G; every
weight w of every head is shifted to w + 2^(b-1) and encrypted bit by bit with a proof that each bit is 0 or 1
(`bit_proof`), so w lies in [-2^(b-1), 2^(b-1) - 1]. Without the bound, weights like 2^(10·j) would pack many
features of a student into one answer. Promises: the platform learns the layout and nothing else about the
heads; the company cannot get a larger weight accepted; a message is accepted for one binding only, and
cannot be made from another's message.

Refuses, before any arithmetic, a message of another length, version or layout. Left to the caller: one
message per company and score season, since q heads reveal q linear functions of a student's features, and
that `binding` names protocol, company and campaign.

Message, format version 2: version(1) ‖ heads(1) ‖ weight bits(1) ‖ dimensions(2) ‖ X(33) ‖ for every head,
for every weight, for every bit from the lowest, A(33) ‖ B(33); then one proof (`bit_proof`) for all. The
proof's statement is label, length-prefixed binding, and all bytes before the proof.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from noren_core.crypto import secp256k1
from noren_core.crypto.bit_proof import Ciphertext, encrypt_bits, proof_bytes, prove_bits, verify_bits
from noren_core.crypto.cores import map_blocks
from noren_core.crypto.secp256k1 import POINT_BYTES, Point
from noren_core.crypto.secret import Secret, SecretBytes
from noren_core.crypto.small_discrete_log import solve_sums
from noren_core.errors import DataError, RemoteProtocolError

VERSION = 2
WEIGHT_BITS = (8, 12)
MAX_DIMENSIONS = 128
MAX_HEADS = 8
CIPHERTEXT_BYTES = 2 * POINT_BYTES
MAX_FEATURE = 128
"""Features are int8, so their magnitude is at most 128."""

_HEADER_BYTES = 5
_STATEMENT_LABEL = b"noren/v1/encrypted-head\0"
_COMMITMENT_LABEL = b"noren/v1/head-commitment\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadLayout:
    """What a plan fixes about a message: k heads of d weights of b bits.

    Raises:
        DataError: unless b is 8 or 12, 1 ≤ d ≤ 128 and 1 ≤ k ≤ 8.
    """

    dimensions: int
    weight_bits: int
    heads: int

    def __post_init__(self) -> None:
        if self.weight_bits not in WEIGHT_BITS:
            raise DataError(f"head: expected weights of 8 or 12 bits, got {self.weight_bits}")
        if not 1 <= self.dimensions <= MAX_DIMENSIONS:
            raise DataError(f"head: expected 1 to {MAX_DIMENSIONS} weights, got {self.dimensions}")
        if not 1 <= self.heads <= MAX_HEADS:
            raise DataError(f"head: expected 1 to {MAX_HEADS} heads, got {self.heads}")

    @property
    def bits(self) -> int:
        """Number of ciphertexts in a message."""
        return self.heads * self.dimensions * self.weight_bits

    @property
    def message_bytes(self) -> int:
        """Exact length of a message."""
        return _HEADER_BYTES + POINT_BYTES + self.bits * CIPHERTEXT_BYTES + proof_bytes(self.bits)

    @property
    def payload_bytes(self) -> int:
        """Length of one student's scores: 66 bytes for every head."""
        return self.heads * CIPHERTEXT_BYTES

    @property
    def score_bound(self) -> int:
        """Largest magnitude of w·h for int8 features: d · 128 · 2^(b-1)."""
        return self.dimensions * MAX_FEATURE << (self.weight_bits - 1)

    @property
    def header(self) -> bytes:
        """The first bytes of a message."""
        return bytes([VERSION, self.heads, self.weight_bits]) + self.dimensions.to_bytes(2, "big")


@dataclass(frozen=True, slots=True, eq=False)
class EncryptedHead:
    """A message whose proof holds: what `verify_head` returns, and only it.

    Attributes:
        layout: what the message was verified against.
        public_key: X.
        heads: for every head one ciphertext per dimension.
    """

    layout: HeadLayout
    public_key: Point
    heads: tuple[tuple[Ciphertext, ...], ...]


class HeadSecret(Secret):
    """The company's key x for one message; it opens scores that were computed with its heads."""

    def __init__(self, scalar: SecretBytes) -> None:
        if not secp256k1.is_scalar(scalar):
            raise DataError("head key: expected 32 bytes encoding a secp256k1 scalar, got others")
        self.scalar = scalar
        self._public_key = secp256k1.multiply_base_secret(scalar)

    @classmethod
    def generate(cls) -> Self:
        """A fresh key from the operating system's generator."""
        return cls(secp256k1.random_scalar())

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """The key with this encoding; DataError for any other bytes."""
        return cls(SecretBytes(raw))

    def to_bytes(self) -> bytes:
        """The 32 private bytes, for the key store only."""
        return self.scalar.reveal()

    @property
    def public_key(self) -> Point:
        """X = x·G."""
        return self._public_key

    def decrypt(self, ciphertexts: Sequence[bytes], *, bound: int) -> list[int]:
        """The scores w·h in the order of `ciphertexts`, each as an exact integer (docs/protocol.md §5.6).

        The multiplication by x is constant time, and the search takes the same steps for every score.

        Args:
            ciphertexts: U ‖ V, 66 bytes each.
            bound: largest magnitude that a score can have, from the layout.

        Raises:
            RemoteProtocolError: if a ciphertext is not two points.
            VerificationError: if one does not decrypt to a score within the bound.
        """

        def masked(block: Sequence[bytes]) -> list[tuple[Point, Point]]:
            points = [_parse_ciphertext(ciphertext) for ciphertext in block]
            return [(point.b, -secp256k1.multiply_secret(self.scalar, point.a)) for point in points]

        return solve_sums(map_blocks(masked, ciphertexts), bound=bound)


def encrypt_head(
    heads: Sequence[Sequence[int]], *, weight_bits: int, binding: bytes
) -> tuple[HeadSecret, bytes]:
    """Encrypt heads under a fresh key and prove that every weight is in range; the key and the message.

    1. Check that the heads have one length, how many they are, and that each weight is in range.
    2. Encrypt every bit of every shifted weight under a fresh key.
    3. Prove all bits, bound to the whole message and `binding`.

    Args:
        heads: 1 to 8 heads of integers in [-2^(b-1), 2^(b-1) - 1].
        weight_bits: b, 8 or 12.
        binding: protocol, company and campaign; the platform must pass the same bytes to `verify_head`.

    Raises:
        DataError: if step 1 fails.
    """
    # 1
    layout = HeadLayout(dimensions=len(heads[0]) if heads else 0, weight_bits=weight_bits, heads=len(heads))
    if any(len(head) != layout.dimensions for head in heads):
        raise DataError(f"head: expected heads of {layout.dimensions} weights each, got another length")
    shifted = [int(weight) + (1 << (weight_bits - 1)) for head in heads for weight in head]
    if not all(0 <= value < 1 << weight_bits for value in shifted):
        raise DataError(f"head: expected weights of {weight_bits} bits, got one out of range")
    # 2
    secret = HeadSecret.generate()
    digits = [value >> position & 1 for value in shifted for position in range(weight_bits)]
    bits = encrypt_bits(digits, secret.scalar)
    # 3
    body = layout.header + secret.public_key.to_bytes()
    body += b"".join(bit.ciphertext.to_bytes() for bit in bits)
    return secret, body + prove_bits(_statement(body, binding), secret.scalar, bits)


def head_commitment(message: bytes) -> bytes:
    """The 32 bytes that stand for this message in the ledger; encryption is fresh, so they tell nothing."""
    return hashlib.sha256(_COMMITMENT_LABEL + message).digest()


def verify_head(message: bytes, layout: HeadLayout, *, binding: bytes) -> EncryptedHead:
    """Check a company's message and add its bits up to one ciphertext per weight (docs/protocol.md §5.3).

    1. Exact length, then exact header.
    2. Every point is one.
    3. Every bit is proved to be 0 or 1, under this key and this binding.
    4. Add up: w = sum of 2^i·bit_i - 2^(b-1).
    That no other message of this company was accepted for the score season is left to the caller.

    Raises:
        RemoteProtocolError: if step 1 or 2 fails, or nonces were chosen so that points cancel in step 4.
        VerificationError: if step 3 fails.
    """
    # 1
    if len(message) != layout.message_bytes:
        raise RemoteProtocolError(f"head: expected {layout.message_bytes} bytes, got {len(message)}")
    if message[:_HEADER_BYTES] != layout.header:
        raise RemoteProtocolError(f"head: expected version {VERSION} and the campaign's layout, got another")
    # 2
    body_bytes = len(message) - proof_bytes(layout.bits)
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
    b, d = layout.weight_bits, layout.dimensions
    weights = [_weigh(bits[start : start + b]) for start in range(0, len(bits), b)]
    heads = tuple(tuple(weights[start : start + d]) for start in range(0, len(weights), d))
    return EncryptedHead(layout, key, heads)


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


def _parse_ciphertext(encoding: bytes) -> Ciphertext:
    return Ciphertext(_parse_point(encoding[:POINT_BYTES]), _parse_point(encoding[POINT_BYTES:]))


def _parse_point(encoding: bytes) -> Point:
    try:
        return Point.from_bytes(encoding)
    except DataError as error:
        raise RemoteProtocolError("secp256k1 point: expected a compressed point, got other bytes") from error
