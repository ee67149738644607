"""Encrypting heads for sealed scoring, proving them, and reading the scores (protocol §5)."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from . import RefusedError, expect
from .secp256k1 import IDENTITY, ORDER, G, Point, decode


@dataclass(frozen=True, slots=True)
class EncryptedHeads:
    """The message for the platform, and the key to the scores."""

    message: bytes
    key: int = field(repr=False)

    @property
    def commitment(self) -> str:
        """What the `head-commitment` entry holds (§5.5)."""
        return hashlib.sha256(b"noren/v1/head-commitment\0" + self.message).hexdigest()


def encrypt(
    heads: Sequence[Sequence[int]], weight_bits: int, plan_digest: bytes, company: str
) -> EncryptedHeads:
    """The one message of all heads, with its proof (§5.1, §5.2)."""
    dimensions, half = len(heads[0]), 2 ** (weight_bits - 1)
    expect(all(len(head) == dimensions for head in heads), "heads of one length")
    expect(all(-half <= w < half for head in heads for w in head), "weights within their bits")
    x = _scalar()
    bits = [w + half >> i & 1 for head in heads for w in head for i in range(weight_bits)]
    nonces = [_scalar() for _ in bits]
    head = bytes([2, len(heads), weight_bits]) + dimensions.to_bytes(2) + _times_g(x).encode()
    ciphertexts = b"".join(
        _times_g(a).encode() + _times_g(bit + a * x).encode() for bit, a in zip(bits, nonces, strict=True)
    )
    statement = statement_of(plan_digest, company, head + ciphertexts)
    return EncryptedHeads(head + ciphertexts + _prove(statement, x, bits, nonces), x)


def statement_of(plan_digest: bytes, company: str, unproven: bytes) -> bytes:
    """What a proof is about, `unproven` being the message without its proof (§5.2)."""
    binding = b"noren/v1/head\0" + plan_digest + company.encode("ascii")
    return b"noren/v1/encrypted-head\0" + len(binding).to_bytes(8) + binding + unproven


def _prove(statement: bytes, x: int, bits: Sequence[int], nonces: Sequence[int]) -> bytes:
    fresh, simulated, commitments = [], [], b""
    for bit in bits:
        r, other, t = _scalar(), _scalar(), _scalar()
        true = _times_g(r).encode() + _times_g(r * x).encode()
        false = _times_g(t).encode() + _times_g(t * x + (1 - 2 * bit) * other).encode()
        commitments += true + false if bit == 0 else false + true
        fresh.append(r)
        simulated.append((other, t))
    c = challenge_of(statement, commitments)
    proof = c.to_bytes(32)
    for bit, a, r, (other, t) in zip(bits, nonces, fresh, simulated, strict=True):
        own = (c - other) % ORDER
        answers = [(own, (r + own * a) % ORDER), (other, (t + other * a) % ORDER)]
        (c_0, s_0), (_, s_1) = answers if bit == 0 else reversed(answers)
        proof += c_0.to_bytes(32) + s_0.to_bytes(32) + s_1.to_bytes(32)
    return proof


def challenge_of(statement: bytes, commitments: bytes) -> int:
    """The Fiat–Shamir challenge (§5.2)."""
    hashed = b"noren/v1/bit-proof\0" + len(statement).to_bytes(8) + statement + commitments
    return int.from_bytes(hashlib.sha512(hashed).digest()) % ORDER


class ScoreReader:
    """Reads payloads: the scores of one student, a number for every head (§5.6)."""

    def __init__(self, heads: EncryptedHeads) -> None:
        message = heads.message
        self._key, self._count = heads.key, message[1]
        self._bound = int.from_bytes(message[3:5]) * 128 * 2 ** (message[2] - 1)
        self._step = 2**9
        self._baby_steps, point = {}, IDENTITY
        for i in range(self._step):
            self._baby_steps[point.encode() if i else b""] = i
            point += G

    def scores(self, payload: bytes) -> list[int]:
        """The scores `w·h`, exactly."""
        expect(len(payload) == 66 * self._count, "two points for every head")
        pairs = [payload[i : i + 66] for i in range(0, len(payload), 66)]
        return [self._logarithm(decode(pair[33:]) - self._key * decode(pair[:33])) for pair in pairs]

    def _logarithm(self, point: Point) -> int:
        giant = _times_g(self._step)
        lowest = -(self._bound // self._step + 1) * self._step
        point -= lowest * G
        for start in range(lowest, self._bound + 1, self._step):
            found = self._baby_steps.get(point.encode() if point.z else b"")
            if found is not None:
                expect(abs(start + found) <= self._bound, "a score within its bound")
                return start + found
            point -= giant
        raise RefusedError("a score within its bound expected")


def _scalar() -> int:
    return secrets.randbelow(ORDER - 1) + 1


_POWERS = [G]
while len(_POWERS) < 256:
    _POWERS.append(_POWERS[-1] + _POWERS[-1])


def _times_g(scalar: int) -> Point:
    total = IDENTITY
    for bit, power in enumerate(_POWERS):
        if scalar % ORDER >> bit & 1:
            total += power
    return total
