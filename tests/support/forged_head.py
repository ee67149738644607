"""Encrypted heads by a company that does not keep to the rules: any 'bits', any nonces, any claims.

The prover here is not the one in production: it works with points, and simulates a branch the way that the
verification equation reads, whatever the ciphertext encrypts.
"""

from __future__ import annotations

from collections.abc import Sequence

from noren_core.crypto import bit_proof, head_encryption, secp256k1
from noren_core.crypto.bit_proof import Ciphertext
from noren_core.crypto.head_encryption import EncryptedHead, HeadLayout, HeadSecret
from noren_core.crypto.secp256k1 import GENERATOR, GROUP_ORDER, Point, public_scalar

Integers = Sequence[int]


def times(number: int, point: Point) -> Point:
    """number·P for a number that is not a multiple of the order."""
    return secp256k1.multiply_public(public_scalar(number), point)


def plus(*points: Point) -> Point:
    """Their sum, which must not be the identity."""
    total = secp256k1.sum_points(points)
    if total is None:
        raise ArithmeticError("the sum is the identity")
    return total


def random_number() -> int:
    """Uniform and not zero modulo the order."""
    return int.from_bytes(secp256k1.random_scalar().reveal(), "big")


def encrypt(value: int, nonce: int, key: Point) -> Ciphertext:
    """ElGamal of any integer under any nonce."""
    masked = times(nonce, key)
    return Ciphertext(times(nonce, GENERATOR), plus(masked, times(value, GENERATOR)) if value else masked)


def forge(
    values: Sequence[Integers],
    *,
    layout: HeadLayout,
    binding: bytes,
    claims: Sequence[Integers] | None = None,
    nonces: Sequence[Integers] | None = None,
) -> bytes:
    """A message whose 'bits', listed by weight, encrypt any integers, proved as if they were `claims`."""
    key = HeadSecret.generate().public_key
    flat = [value for weight in values for value in weight]
    claimed = [claim for weight in claims or values for claim in weight]
    used = [nonce for weight in nonces for nonce in weight] if nonces else [random_number() for _ in flat]
    ciphertexts = [encrypt(value, nonce, key) for value, nonce in zip(flat, used, strict=True)]
    body = layout.header + key.to_bytes() + b"".join(c.to_bytes() for c in ciphertexts)
    return body + prove(head_encryption._statement(body, binding), key, ciphertexts, claimed, used)


def prove(
    statement: bytes, key: Point, ciphertexts: Sequence[Ciphertext], claims: Integers, nonces: Integers
) -> bytes:
    """A proof that the ciphertexts encrypt `claims`; it verifies if they do and are bits."""
    openings, commitments = [], b""
    for ciphertext, claim in zip(ciphertexts, claims, strict=True):
        k, c, s = (random_number() for _ in range(3))
        other = plus(ciphertext.b, -GENERATOR) if claim == 0 else ciphertext.b
        pair = [
            (plus(times(s, GENERATOR), times(-c, ciphertext.a)), plus(times(s, key), times(-c, other)))
        ] * 2
        pair[claim] = (times(k, GENERATOR), times(k, key))
        commitments += b"".join(point.to_bytes() for branch in pair for point in branch)
        openings.append((k, c, s))
    proof = bit_proof._challenge(statement, commitments)
    challenge = int.from_bytes(proof, "big")
    for (k, c, s), claim, nonce in zip(openings, claims, nonces, strict=True):
        real = (challenge - c) % GROUP_ORDER
        response = k + real * nonce
        proof += b"".join(map(public_scalar, (c, s, response) if claim else (real, response, s)))
    return proof


def unproved_head(
    secret: HeadSecret, heads: Sequence[Integers], nonces: Sequence[Integers], *, weight_bits: int = 8
) -> EncryptedHead:
    """The heads that a platform without the proof would accept: any integers under any nonces."""
    layout = HeadLayout(dimensions=len(heads[0]), weight_bits=weight_bits, heads=len(heads))
    encrypted = tuple(
        tuple(encrypt(weight, nonce, secret.public_key) for weight, nonce in zip(*pair, strict=True))
        for pair in zip(heads, nonces, strict=True)
    )
    return EncryptedHead(layout, secret.public_key, encrypted)
