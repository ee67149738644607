"""Discrete-logarithm equality proofs for a batch (RFC 9497 §2.2, docs/protocol.md §1.4).

One 64-byte proof shows that every D[i] = k·C[i] for the same k with B = k·A, where A is the group's
generator. It is what stops the platform from answering each applicant under a key of its own. Proofs exist
in mode VOPRF only.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from functools import reduce

from noren_core.crypto import sodium
from noren_core.crypto.cores import map_blocks
from noren_core.crypto.oprf_suite import (
    ELEMENT_BYTES,
    SCALAR_BYTES,
    Mode,
    context_string,
    hash_to_scalar,
    length_prefixed,
)
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import DataError, VerificationError

PROOF_BYTES = 2 * SCALAR_BYTES
# RFC 9497 §2.2.1 encodes an element's index in two bytes.
MAX_BATCH = 2**16 - 1

_IDENTITY = bytes(ELEMENT_BYTES)


def generate_proof(
    key: SecretBytes,
    public_key: bytes,
    elements: Sequence[bytes],
    products: Sequence[bytes],
    *,
    threads: int | None = None,
) -> bytes:
    """RFC 9497 §2.2.1, GenerateProof with A the generator: the scalars c ‖ s.

    1. Fold the batch into one pair (M, Z = k·M) with weights that depend on all of it (§2.2.1).
    2. Commit to a fresh r: t2 = r·A, t3 = r·M.
    3. Challenge c = hash of B, M, Z, t2, t3; response s = r - c·k.
    4. Wipe r and c·k: each of them with the proof gives k.

    Args:
        key: the secret k.
        public_key: B = k·A.
        elements: C, one to 65535 valid elements (checked by the caller).
        products: D, with D[i] = k·C[i].
        threads: how many at once; as many as there are cores if not given.
    """
    # 1
    [m] = _composites(public_key, elements, products, (elements,), threads)
    z = sodium.multiply(key, m)
    # 2
    r = sodium.random_scalar()
    t2, t3 = sodium.multiply_base(r), sodium.multiply(r, m)
    # 3
    c = _challenge(public_key, m, z, t2, t3)
    product = sodium.multiply_scalars(c, key)
    s = sodium.subtract_scalars(r, product)
    # 4
    r.wipe()
    product.wipe()
    return c + s


def verify_proof(
    public_key: bytes,
    elements: Sequence[bytes],
    products: Sequence[bytes],
    proof: bytes,
    *,
    threads: int | None = None,
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
        m, z = _composites(public_key, elements, products, (elements, products), threads)
        # 3
        t2 = sodium.add(sodium.multiply_base(s), sodium.multiply(c, public_key))
        t3 = sodium.add(sodium.multiply(s, m), sodium.multiply(c, z))
    except DataError as error:  # a product is the identity: happens to an honest proof once in 2^252
        raise VerificationError("VOPRF proof: expected a proof for this batch, got another") from error
    if not hmac.compare_digest(c, _challenge(public_key, m, z, t2, t3)):
        raise VerificationError("VOPRF proof: expected a proof for this batch, got another")


def _composites(
    public_key: bytes,
    elements: Sequence[bytes],
    products: Sequence[bytes],
    folded: Sequence[Sequence[bytes]],
    threads: int | None,
) -> list[bytes]:
    """ComputeComposites (§2.2.1): Σ d_i·X[i] for every X in `folded`, the d_i hashed from the whole batch."""
    seed = length_prefixed(
        hashlib.sha512(length_prefixed(public_key, b"Seed-" + context_string(Mode.VOPRF))).digest()
    )

    def sums(block: Sequence[int]) -> list[list[bytes]]:
        weights = [_weight(seed, i, elements[i], products[i]) for i in block]
        return [[_combine(weights, [values[i] for i in block]) for values in folded]]

    of_blocks = map_blocks(sums, range(len(elements)), threads=threads)
    return [reduce(sodium.add, parts) for parts in zip(*of_blocks, strict=True)]


def _weight(prefixed_seed: bytes, index: int, c: bytes, d: bytes) -> bytes:
    transcript = prefixed_seed + index.to_bytes(2, "big") + length_prefixed(c, d) + b"Composite"
    return hash_to_scalar(transcript, Mode.VOPRF)


def _combine(weights: Sequence[bytes], elements: Sequence[bytes]) -> bytes:
    return reduce(sodium.add, map(sodium.multiply, weights, elements), _IDENTITY)


def _challenge(public_key: bytes, m: bytes, z: bytes, t2: bytes, t3: bytes) -> bytes:
    return hash_to_scalar(length_prefixed(public_key, m, z, t2, t3) + b"Challenge", Mode.VOPRF)
