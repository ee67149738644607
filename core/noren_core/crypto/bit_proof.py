"""Proof that every one of a list of ElGamal ciphertexts encrypts 0 or 1, and nothing else about them.

A ciphertext of b under X is (A, B) = (a·G, b·G + a·X). "b is 0 or b is 1" is a disjunction of two
equalities of discrete logarithms, log_G A = log_X (B - v·G) for v = 0, 1; Cramer, Damgård and Schoenmakers
(CRYPTO '94) prove one branch and simulate the other with a challenge share of the prover's choice. One
Fiat–Shamir challenge covers all ciphertexts, and hashes the whole statement with them (strong Fiat–Shamir),
so a proof belongs to one key, one binding, one order of ciphertexts.

For branch v with challenge share c_v and response s_v the commitment is
    T_v = (s_v·G - c_v·A,  s_v·X - c_v·(B - v·G)),   and   c_0 + c_1 = c = H(statement, every T_0, T_1).
Soundness is statistical: if a ciphertext encrypts another number, each of its commitments T_v can be answered
for one c_v only, hence for one c; whoever queries H q times succeeds with probability q·2^-256.
Layout: c(32) ‖ for every ciphertext c_0(32) ‖ s_0(32) ‖ s_1(32).

Timing: multiplications by secrets are constant time. Which branch is simulated selects from two-element
tuples, the same operations run for both values; the memory access remains visible to code on the same core.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from noren_core.crypto import secp256k1
from noren_core.crypto.secp256k1 import GENERATOR, SCALAR_BYTES, Point
from noren_core.crypto.secret import Secret
from noren_core.errors import DataError, VerificationError

RESPONSE_BYTES = 3 * SCALAR_BYTES

_LABEL = b"noren/v1/bit-proof\0"
_MINUS_GENERATOR = -GENERATOR

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
    nonce: bytes
    ciphertext: Ciphertext


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class _Opening(Secret):
    """What the prover keeps of one position between its commitments and its responses."""

    encrypted: EncryptedBit
    real_nonce: bytes
    simulated_challenge: bytes
    simulated_response: bytes


def proof_bytes(count: int) -> int:
    """Length of a proof for `count` ciphertexts."""
    return SCALAR_BYTES + count * RESPONSE_BYTES


def encrypt_bit(bit: int, key: Point) -> EncryptedBit:
    """Encrypt 0 or 1 under `key` with a fresh nonce."""
    nonce = secp256k1.random_scalar()
    a = secp256k1.multiply_base_secret(nonce)
    shared = secp256k1.multiply_secret(nonce, key)
    # Both candidates are computed, so the time does not depend on the bit.
    b = (shared, _sum(shared, GENERATOR))[bit]
    return EncryptedBit(bit, nonce, Ciphertext(a, b))


def prove_bits(statement: bytes, key: Point, bits: Sequence[EncryptedBit]) -> bytes:
    """Prove that every ciphertext encrypts 0 or 1.

    1. At every position commit to a fresh nonce in the true branch, simulate the other.
    2. Derive the challenge from the statement and all commitments.
    3. Give the true branch what the challenge leaves, and respond.

    Args:
        statement: everything the proof is bound to: label, binding, key, and all ciphertexts in order.
        key: X.
        bits: the ciphertexts with their secrets, in the statement's order.
    """
    # 1
    openings, commitments = [], b""
    for encrypted in bits:
        opening, branches = _commit(encrypted, key)
        openings.append(opening)
        commitments += _encode(branches)
    # 2
    challenge = _challenge(statement, commitments)
    # 3
    return challenge + b"".join(_respond(opening, challenge) for opening in openings)


def verify_bits(statement: bytes, key: Point, ciphertexts: Sequence[Ciphertext], proof: bytes) -> None:
    """Check a proof of `prove_bits`; only public values are used.

    1. The proof has the exact length and every number in it is a scalar other than zero.
    2. Recompute both commitments of every position from its responses, with c_1 = c - c_0.
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
    try:
        commitments = b"".join(
            _encode(_recompute(ciphertext, key, challenge, *responses[3 * i : 3 * i + 3]))
            for i, ciphertext in enumerate(ciphertexts)
        )
    except DataError as error:  # a zero challenge share or an identity, never in an honest proof
        raise VerificationError("bit proof: expected a proof of these ciphertexts, got another") from error
    # 3
    if not hmac.compare_digest(challenge, _challenge(statement, commitments)):
        raise VerificationError("bit proof: expected a proof of these ciphertexts, got another")


def _commit(encrypted: EncryptedBit, key: Point) -> tuple[_Opening, tuple[Commitment, Commitment]]:
    opening = _Opening(encrypted, *(secp256k1.random_scalar() for _ in range(3)))
    real = (
        secp256k1.multiply_base_secret(opening.real_nonce),
        secp256k1.multiply_secret(opening.real_nonce, key),
    )
    # These two scalars are published with the proof, so variable time tells nothing more.
    simulated = _branch_commitment(
        encrypted.ciphertext.a,
        _branches(encrypted.ciphertext.b)[1 - encrypted.bit],
        key,
        opening.simulated_challenge,
        opening.simulated_response,
    )
    return opening, ((real, simulated), (simulated, real))[encrypted.bit]


def _respond(opening: _Opening, challenge: bytes) -> bytes:
    real_challenge = _subtract(challenge, opening.simulated_challenge)
    real_response = secp256k1.add_secret_scalars(
        opening.real_nonce, secp256k1.multiply_secret_scalars(real_challenge, opening.encrypted.nonce)
    )
    simulated_challenge, simulated_response = opening.simulated_challenge, opening.simulated_response
    return (
        real_challenge + real_response + simulated_response,
        simulated_challenge + simulated_response + real_response,
    )[opening.encrypted.bit]


def _recompute(
    ciphertext: Ciphertext, key: Point, challenge: bytes, c_0: bytes, s_0: bytes, s_1: bytes
) -> tuple[Commitment, Commitment]:
    b_0, b_1 = _branches(ciphertext.b)
    c_1 = _subtract(challenge, c_0)
    return (
        _branch_commitment(ciphertext.a, b_0, key, c_0, s_0),
        _branch_commitment(ciphertext.a, b_1, key, c_1, s_1),
    )


def _branches(b: Point) -> tuple[Point, Point]:
    """B - v·G for v = 0 and v = 1."""
    return b, _sum(b, _MINUS_GENERATOR)


def _branch_commitment(a: Point, b: Point, key: Point, challenge: bytes, response: bytes) -> Commitment:
    """(s·G - c·A, s·X - c·B)."""
    minus_challenge = secp256k1.negate_scalar(challenge)
    return (
        secp256k1.add_base_multiple_public(secp256k1.multiply_public(minus_challenge, a), response),
        _sum(secp256k1.multiply_public(response, key), secp256k1.multiply_public(minus_challenge, b)),
    )


def _challenge(statement: bytes, commitments: bytes) -> bytes:
    """The statement's length comes first, so no other split of the same bytes gives the same hash."""
    return secp256k1.hash_to_scalar(_LABEL + len(statement).to_bytes(8, "big") + statement + commitments)


def _encode(branches: tuple[Commitment, Commitment]) -> bytes:
    return b"".join(point.to_bytes() for commitment in branches for point in commitment)


def _subtract(a: bytes, b: bytes) -> bytes:
    return secp256k1.add_secret_scalars(a, secp256k1.negate_scalar(b))


def _sum(p: Point, q: Point) -> Point:
    total = secp256k1.sum_points((p, q))
    if total is None:
        raise DataError("bit proof: expected a point, got the identity")
    return total
