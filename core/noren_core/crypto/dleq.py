"""Discrete-logarithm equality proofs for a batch (RFC 9497 §2.2).

One 64-byte proof shows that every D[i] = k·C[i] for the same k with B = k·A, where A is the group's
generator. It is what stops the platform from answering each applicant under a key of its own.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from noren_core.crypto import sodium
from noren_core.crypto.oprf_suite import (
    ELEMENT_BYTES,
    SCALAR_BYTES,
    Mode,
    context_string,
    hash_to_scalar,
    length_prefixed,
)
from noren_core.errors import DataError, VerificationError

PROOF_BYTES = 2 * SCALAR_BYTES
# RFC 9497 §2.2.1 encodes an element's index in two bytes.
MAX_BATCH = 2**16 - 1


def generate_proof(
    key: bytes, public_key: bytes, elements: Sequence[bytes], products: Sequence[bytes]
) -> bytes:
    """RFC 9497 §2.2.1, GenerateProof with A the generator: the scalars c ‖ s.

    1. Fold the batch into one pair (M, Z = k·M) with weights that depend on all of it (§2.2.1).
    2. Commit to a fresh r: t2 = r·A, t3 = r·M.
    3. Challenge c = hash of B, M, Z, t2, t3; response s = r - c·k.

    Args:
        key: the secret k.
        public_key: B = k·A.
        elements: C, one to 65535 valid elements (checked by the caller).
        products: D, with D[i] = k·C[i].
    """
    # 1
    m = _combine(_weights(public_key, elements, products), elements)
    z = sodium.multiply(key, m)
    # 2
    r = sodium.random_scalar()
    t2, t3 = sodium.multiply_base(r), sodium.multiply(r, m)
    # 3
    c = _challenge(public_key, m, z, t2, t3)
    return c + sodium.subtract_scalars(r, sodium.multiply_scalars(c, key))


def verify_proof(
    public_key: bytes, elements: Sequence[bytes], products: Sequence[bytes], proof: bytes
) -> None:
    """RFC 9497 §2.2.2, VerifyProof with A the generator; all elements must have been checked valid.

    1. The proof is two canonical scalars.
    2. Fold the batch into M and Z with the same weights.
    3. t2 = s·A + c·B, t3 = s·M + c·Z give back the same challenge.

    Raises:
        VerificationError: if the proof is malformed or does not hold.
    """
    # 1
    c, s = proof[:SCALAR_BYTES], proof[SCALAR_BYTES:]
    if not (sodium.is_canonical_scalar(c) and sodium.is_canonical_scalar(s)):
        raise VerificationError(f"VOPRF proof: expected two canonical scalars in {PROOF_BYTES} bytes")
    try:
        # 2
        weights = _weights(public_key, elements, products)
        m, z = _combine(weights, elements), _combine(weights, products)
        # 3
        t2 = sodium.add(sodium.multiply_base(s), sodium.multiply(c, public_key))
        t3 = sodium.add(sodium.multiply(s, m), sodium.multiply(c, z))
    except DataError as error:  # a product is the identity: happens to an honest proof once in 2^252
        raise VerificationError("VOPRF proof: expected a proof for this batch, got another") from error
    if not hmac.compare_digest(c, _challenge(public_key, m, z, t2, t3)):
        raise VerificationError("VOPRF proof: expected a proof for this batch, got another")


def _weights(public_key: bytes, elements: Sequence[bytes], products: Sequence[bytes]) -> list[bytes]:
    """The d_i of ComputeComposites (§2.2.1)."""
    seed = hashlib.sha512(length_prefixed(public_key, b"Seed-" + context_string(Mode.VOPRF))).digest()
    return [
        hash_to_scalar(
            length_prefixed(seed) + i.to_bytes(2, "big") + length_prefixed(c, d) + b"Composite", Mode.VOPRF
        )
        for i, (c, d) in enumerate(zip(elements, products, strict=True))
    ]


def _combine(weights: Sequence[bytes], elements: Sequence[bytes]) -> bytes:
    total = bytes(ELEMENT_BYTES)  # the identity
    for weight, element in zip(weights, elements, strict=True):
        total = sodium.add(total, sodium.multiply(weight, element))
    return total


def _challenge(public_key: bytes, m: bytes, z: bytes, t2: bytes, t3: bytes) -> bytes:
    return hash_to_scalar(length_prefixed(public_key, m, z, t2, t3) + b"Challenge", Mode.VOPRF)
