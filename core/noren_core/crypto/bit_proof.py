"""Proof that every one of a list of ElGamal ciphertexts encrypts 0 or 1, and nothing else about them.

A ciphertext of b under X = x·G is (A, B) = (a·G, b·G + a·X). "b is 0 or b is 1" is a disjunction of two
equalities of discrete logarithms, log_G A = log_X (B - v·G) for v = 0, 1; Cramer, Damgård and Schoenmakers
(CRYPTO '94) prove one branch and simulate the other with a challenge share of the prover's choice. One
Fiat–Shamir challenge covers all ciphertexts, and hashes the whole statement with them (strong Fiat–Shamir),
so a proof belongs to one key, one binding, one order of ciphertexts (docs/protocol.md §5.2).

For branch v with challenge share c_v and response s_v the commitment is
    T_v = (s_v·G - c_v·A,  s_v·X - c_v·(B - v·G)),   and   c_0 + c_1 = c = H(statement, every T_0, T_1).
Layout: c(32) ‖ for every ciphertext c_0(32) ‖ s_0(32) ‖ s_1(32).

Sound, statistically: if a ciphertext encrypts another number, then in neither branch are A and B - v·G the
same multiple of G and X; each T_v can then be answered for one c_v only, so the hashed commitments fix the
one c that would do, and whoever queries H q times hits it with probability at most (q + 1)·2^-255.
Zero knowledge: with H programmed, c_v and s_v drawn at random give T_v as above, distributed like the
honest prover's up to the zeros that both leave out. Not malleable: a response beyond the order or equal to
zero is refused, so every number has one encoding, and another statement needs another challenge.

Timing: the prover multiplies in constant time throughout, also in the branch that it simulates. The scalars
of that branch are published, but if their products took a time of their own, a clock would tell which of
the two branches was simulated, hence the bit. Knowing x and a, the prover needs no product with a point:
T_1-b = (t·G, (t·x ± c)·G) for random t and s = t + c·a. What depends on the bit is which element of a
two-element tuple is read; that access stays visible to code on the same core.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from noren_core.crypto import secp256k1
from noren_core.crypto.cores import map_blocks
from noren_core.crypto.secp256k1 import GENERATOR, SCALAR_BYTES, Point
from noren_core.crypto.secret import Secret, SecretBytes
from noren_core.errors import DataError, VerificationError

RESPONSE_BYTES = 3 * SCALAR_BYTES

_LABEL = b"noren/v1/bit-proof\0"
_MINUS_GENERATOR = -GENERATOR
_BITS = (bytes(SCALAR_BYTES), bytes(SCALAR_BYTES - 1) + b"\x01")

Commitment: TypeAlias = tuple[Point, Point]


@dataclass(frozen=True, slots=True, eq=False)
class Ciphertext:
    """An ElGamal ciphertext (A, B)."""

    a: Point
    b: Point

    def to_bytes(self) -> bytes:
        """A ‖ B, 66 bytes."""
        return self.a.to_bytes() + self.b.to_bytes()


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class EncryptedBit(Secret):
    """A ciphertext with what is needed to prove it: the bit and the nonce a."""

    bit: int
    nonce: SecretBytes
    ciphertext: Ciphertext


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class _Opening(Secret):
    """What the prover keeps of one position between its commitments and its responses."""

    encrypted: EncryptedBit
    real_nonce: SecretBytes
    simulated_challenge: SecretBytes
    simulated_response: SecretBytes
    commitments: bytes


def proof_bytes(count: int) -> int:
    """Length of a proof for `count` ciphertexts."""
    return SCALAR_BYTES + count * RESPONSE_BYTES


def encrypt_bits(bits: Sequence[int], key: SecretBytes) -> list[EncryptedBit]:
    """Encrypt zeros and ones under x·G, each with a fresh nonce: (a·G, (a·x + b)·G)."""
    return map_blocks(lambda block: [_encrypt(bit, key) for bit in block], bits)


def prove_bits(statement: bytes, key: SecretBytes, bits: Sequence[EncryptedBit]) -> bytes:
    """Prove that every ciphertext encrypts 0 or 1.

    1. At every position commit to a fresh nonce in the true branch, simulate the other.
    2. Derive the challenge from the statement and all commitments.
    3. Give the true branch what the challenge leaves, and respond.

    Args:
        statement: everything the proof is bound to: label, binding, key, and all ciphertexts in order.
        key: x.
        bits: the ciphertexts with their secrets, in the statement's order.
    """
    # 1
    openings = map_blocks(lambda block: [_commit(encrypted, key) for encrypted in block], bits)
    # 2
    challenge = _challenge(statement, b"".join(opening.commitments for opening in openings))
    # 3
    return challenge + b"".join(_respond(opening, challenge) for opening in openings)


def verify_bits(statement: bytes, key: Point, ciphertexts: Sequence[Ciphertext], proof: bytes) -> None:
    """Check a proof of `prove_bits`; only public values are used.

    1. The proof has the exact length and every number in it is between 1 and the group order minus 1.
    2. Recompute both commitments of every position from its responses, with c_1 = c - c_0; neither c_1 nor
       a commitment is zero, which an honest proof never shows.
    3. The challenge over the statement and these commitments is c.

    Raises:
        VerificationError: if a step fails.
    """
    # 1
    scalars = [proof[i : i + SCALAR_BYTES] for i in range(0, len(proof), SCALAR_BYTES)]
    if len(proof) != proof_bytes(len(ciphertexts)) or not all(map(secp256k1.is_scalar, scalars)):
        raise VerificationError(f"bit proof: expected {proof_bytes(len(ciphertexts))} bytes of scalars")
    # 2
    challenge, responses = scalars[0], scalars[1:]

    def recompute(block: Sequence[int]) -> list[bytes]:
        return [_recompute(ciphertexts[i], key, challenge, *responses[3 * i : 3 * i + 3]) for i in block]

    try:
        commitments: list[bytes] = map_blocks(recompute, range(len(ciphertexts)))
    except DataError as error:
        raise VerificationError("bit proof: expected a proof of these ciphertexts, got another") from error
    # 3
    if not hmac.compare_digest(challenge, _challenge(statement, b"".join(commitments))):
        raise VerificationError("bit proof: expected a proof of these ciphertexts, got another")


def _encrypt(bit: int, key: SecretBytes) -> EncryptedBit:
    nonce = secp256k1.random_scalar()
    b = secp256k1.add_secret_scalars(secp256k1.multiply_secret_scalars(nonce, key), _BITS[bit])
    points = Ciphertext(secp256k1.multiply_base_secret(nonce), secp256k1.multiply_base_secret(b))
    return EncryptedBit(bit, nonce, points)


def _commit(encrypted: EncryptedBit, key: SecretBytes) -> _Opening:
    """(k·G, k·X) in the branch of the bit; in the other (t·G, t·X ± c·G), since B - v·G = a·X ± G there."""
    real_nonce, challenge, offset = (secp256k1.random_scalar() for _ in range(3))
    response = secp256k1.add_secret_scalars(
        offset, secp256k1.multiply_secret_scalars(challenge, encrypted.nonce)
    )
    signed_challenge = (challenge, secp256k1.negate_scalar(challenge))[encrypted.bit]
    simulated_second = secp256k1.add_secret_scalars(
        secp256k1.multiply_secret_scalars(offset, key), signed_challenge
    )
    real = _products(real_nonce, secp256k1.multiply_secret_scalars(real_nonce, key))
    simulated = _products(offset, simulated_second)
    commitments = (real + simulated, simulated + real)[encrypted.bit]
    return _Opening(encrypted, real_nonce, challenge, response, commitments)


def _products(first: SecretBytes, second: SecretBytes) -> bytes:
    points = (secp256k1.multiply_base_secret(first), secp256k1.multiply_base_secret(second))
    return b"".join(point.to_bytes() for point in points)


def _respond(opening: _Opening, challenge: bytes) -> bytes:
    real_challenge = secp256k1.add_secret_scalars(
        challenge, secp256k1.negate_scalar(opening.simulated_challenge)
    )
    response = secp256k1.add_secret_scalars(
        opening.real_nonce, secp256k1.multiply_secret_scalars(real_challenge, opening.encrypted.nonce)
    )
    real = (real_challenge.reveal(), response.reveal())
    simulated = (opening.simulated_challenge.reveal(), opening.simulated_response.reveal())
    zero, one = ((real, simulated), (simulated, real))[opening.encrypted.bit]
    return zero[0] + zero[1] + one[1]


def _recompute(
    ciphertext: Ciphertext, key: Point, challenge: bytes, c_0: bytes, s_0: bytes, s_1: bytes
) -> bytes:
    """T_0 ‖ T_1, 132 bytes."""
    c_1 = secp256k1.public_scalar(int.from_bytes(challenge, "big") - int.from_bytes(c_0, "big"))
    branches = (
        _branch_commitment(ciphertext.a, ciphertext.b, key, c_0, s_0),
        _branch_commitment(ciphertext.a, _sum(ciphertext.b, _MINUS_GENERATOR), key, c_1, s_1),
    )
    return b"".join(point.to_bytes() for commitment in branches for point in commitment)


def _branch_commitment(a: Point, b: Point, key: Point, challenge: bytes, response: bytes) -> Commitment:
    """(s·G - c·A, s·X - c·B); DataError if c is zero or a point of it the identity."""
    minus_challenge = secp256k1.public_scalar(-int.from_bytes(challenge, "big"))
    return (
        _sum(secp256k1.multiply_base_secret(response), secp256k1.multiply_public(minus_challenge, a)),
        _sum(secp256k1.multiply_public(response, key), secp256k1.multiply_public(minus_challenge, b)),
    )


def _challenge(statement: bytes, commitments: bytes) -> bytes:
    """The statement's length comes first, so no other split of the same bytes gives the same hash."""
    return secp256k1.hash_to_scalar(_LABEL + len(statement).to_bytes(8, "big") + statement + commitments)


def _sum(p: Point, q: Point) -> Point:
    total = secp256k1.sum_points((p, q))
    if total is None:
        raise DataError("bit proof: expected a point, got the identity")
    return total
