"""Oblivious evaluation of a keyed function (RFC 9497, ristretto255-SHA512): who is in my table.

The company blinds its identifiers, the platform multiplies by its key, the company unblinds. Promises:
the platform learns how many, nothing else, because a blinded element is uniform whatever was blinded;
the company learns the function at exactly the inputs it sent, under exactly the published key, or nothing
(the proof is checked before any output exists). Names are the RFC's. Production uses mode VOPRF; mode
OPRF is the RFC's base mode, for outputs that are checked against it.

Refuses: batches outside 1..65535, elements that are malformed, the identity or repeated. Left to the
caller: padding the batch to the declared size, and counting it against the agreed number before
answering (docs/protocol.md §1). Secret scalars live in libsodium only, never in Python integers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from noren_core.crypto import sodium
from noren_core.crypto.dleq import MAX_BATCH, PROOF_BYTES, generate_proof, verify_proof
from noren_core.crypto.oprf_suite import (
    ELEMENT_BYTES,
    OUTPUT_BYTES,
    Mode,
    context_string,
    hash_to_group,
    hash_to_scalar_with_tag,
    length_prefixed,
)
from noren_core.crypto.secret import Secret
from noren_core.errors import DataError, RemoteProtocolError

__all__ = [
    "ELEMENT_BYTES",
    "MAX_BATCH",
    "OUTPUT_BYTES",
    "PROOF_BYTES",
    "Blinding",
    "Mode",
    "OprfPrivateKey",
    "blind",
    "blind_evaluate",
    "derive_key_pair",
    "evaluate",
    "finalize",
    "generate_key_pair",
]

SEED_BYTES = 32
MAX_INPUT_BYTES = 2**16 - 1


class OprfPrivateKey(Secret):
    """The platform's key skS for one company and campaign; `public_key` is pkS."""

    def __init__(self, scalar: bytes) -> None:
        if not sodium.is_canonical_scalar(scalar) or sodium.is_zero_scalar(scalar):
            raise DataError("OPRF key: expected 32 bytes encoding a scalar other than zero, got others")
        self._scalar = scalar
        self._public_key = sodium.multiply_base(scalar)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """The key with this encoding; DataError for any other bytes."""
        return cls(raw)

    def to_bytes(self) -> bytes:
        """The 32 private bytes, for the key store only."""
        return self._scalar

    @property
    def public_key(self) -> bytes:
        """The 32-byte public key, which goes into the ledger."""
        return self._public_key


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Blinding(Secret):
    """What the company keeps between `blind` and `finalize`; only `blinded_elements` is ever sent.

    Attributes:
        inputs: what was blinded.
        blinds: one secret scalar per input, used once.
        blinded_elements: one 32-byte element per input, in the inputs' order.
    """

    inputs: tuple[bytes, ...]
    blinds: tuple[bytes, ...]
    blinded_elements: tuple[bytes, ...]


def generate_key_pair() -> OprfPrivateKey:
    """RFC 9497 §3.2, GenerateKeyPair: fresh, so deleting the key ends all evaluation under it."""
    return OprfPrivateKey(sodium.random_scalar())


def derive_key_pair(seed: bytes, info: bytes, *, mode: Mode = Mode.VOPRF) -> OprfPrivateKey:
    """RFC 9497 §3.2.1, DeriveKeyPair; the same seed gives unrelated keys in different modes.

    Raises:
        DataError: if `seed` is not 32 bytes or `info` is longer than 65535.
    """
    if len(seed) != SEED_BYTES or len(info) > MAX_INPUT_BYTES:
        raise DataError(f"OPRF seed: expected {SEED_BYTES} bytes and a short info, got {len(seed)}")
    derive_input = seed + length_prefixed(info)
    for counter in range(256):
        scalar = hash_to_scalar_with_tag(
            derive_input + bytes([counter]), b"DeriveKeyPair" + context_string(mode)
        )
        if not sodium.is_zero_scalar(scalar):
            return OprfPrivateKey(scalar)
    raise DataError("OPRF seed: expected one that derives a key, got one that does not")


def blind(inputs: Sequence[bytes], *, mode: Mode = Mode.VOPRF) -> Blinding:
    """RFC 9497 §3.3.1, Blind for every input, each with a fresh uniform blind.

    Raises:
        DataError: if there are not 1 to 65535 inputs, or one is longer than 65535 bytes.
    """
    if not 1 <= len(inputs) <= MAX_BATCH:
        raise DataError(f"OPRF batch: expected 1 to {MAX_BATCH} inputs, got {len(inputs)}")
    elements = [_input_element(value, mode) for value in inputs]
    blinds = tuple(sodium.random_scalar() for _ in elements)
    return Blinding(
        inputs=tuple(inputs),
        blinds=blinds,
        blinded_elements=tuple(map(sodium.multiply, blinds, elements)),
    )


def blind_evaluate(key: OprfPrivateKey, blinded_elements: Sequence[bytes]) -> tuple[list[bytes], bytes]:
    """RFC 9497 §3.3.2, BlindEvaluate for a batch: evaluated elements and one proof for all.

    1. Check the size of the batch and every element: valid, not the identity, not repeated.
    2. Multiply each by the key.
    3. Prove that it was one key, the one behind `key.public_key`.
    Counting the batch against the company's limit, durably, comes before this call and is the caller's.

    Raises:
        RemoteProtocolError: if step 1 fails; nothing was evaluated.
    """
    # 1
    if not 1 <= len(blinded_elements) <= MAX_BATCH:
        raise RemoteProtocolError(
            f"OPRF batch: expected 1 to {MAX_BATCH} elements, got {len(blinded_elements)}"
        )
    _check_elements(blinded_elements)
    if len(set(blinded_elements)) != len(blinded_elements):
        # Fresh blinds never collide, so a repetition is not an honest client's.
        raise RemoteProtocolError("OPRF batch: expected distinct elements, got a repeated one")
    # 2
    evaluated = _multiply_all(key.to_bytes(), blinded_elements)
    # 3
    return evaluated, generate_proof(key.to_bytes(), key.public_key, blinded_elements, evaluated)


def finalize(
    blinding: Blinding, evaluated_elements: Sequence[bytes], proof: bytes, public_key: bytes
) -> list[bytes]:
    """RFC 9497 §3.3.2, Finalize for a batch: one 64-byte output per input, in the inputs' order.

    1. Check the answer's form: as many elements as were sent, all valid; a proof of 64 bytes.
    2. Verify the proof against `public_key`, which the caller has from the ledger, not from the answer.
    3. Only then unblind and hash.

    Raises:
        RemoteProtocolError: if step 1 fails.
        VerificationError: if the proof does not hold; no output is computed.
    """
    # 1
    sent = blinding.blinded_elements
    if len(evaluated_elements) != len(sent):
        raise RemoteProtocolError(
            f"OPRF answer: expected {len(sent)} elements, got {len(evaluated_elements)}"
        )
    if len(proof) != PROOF_BYTES:
        raise RemoteProtocolError(f"OPRF answer: expected a proof of {PROOF_BYTES} bytes, got {len(proof)}")
    _check_elements([public_key, *evaluated_elements])
    # 2
    verify_proof(public_key, sent, evaluated_elements, proof)
    # 3
    return _unblind_all(blinding, evaluated_elements)


def evaluate(key: OprfPrivateKey, value: bytes, *, mode: Mode = Mode.VOPRF) -> bytes:
    """RFC 9497 §3.3.1, Evaluate: what `finalize` gives for this input, computed by the key's owner."""
    return _hash_output(value, sodium.multiply(key.to_bytes(), _input_element(value, mode)))


def _input_element(value: bytes, mode: Mode) -> bytes:
    if len(value) > MAX_INPUT_BYTES:
        raise DataError(f"OPRF input: expected at most {MAX_INPUT_BYTES} bytes, got {len(value)}")
    return hash_to_group(value, mode)


def _check_elements(elements: Sequence[bytes]) -> None:
    if not all(map(sodium.is_valid_point, elements)):
        raise RemoteProtocolError("OPRF element: expected a ristretto255 element, got a malformed one")


def _multiply_all(scalar: bytes, elements: Sequence[bytes]) -> list[bytes]:
    return [sodium.multiply(scalar, element) for element in elements]


def _unblind_all(blinding: Blinding, evaluated_elements: Sequence[bytes]) -> list[bytes]:
    return [
        _hash_output(value, sodium.multiply(sodium.invert_scalar(scalar), element))
        for value, scalar, element in zip(blinding.inputs, blinding.blinds, evaluated_elements, strict=True)
    ]


def _hash_output(value: bytes, unblinded_element: bytes) -> bytes:
    return hashlib.sha512(length_prefixed(value, unblinded_element) + b"Finalize").digest()
