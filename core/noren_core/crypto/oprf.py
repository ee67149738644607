"""Oblivious evaluation of a keyed function (RFC 9497, ristretto255-SHA512): who is in my table.

The company blinds its identifiers, the platform multiplies by its key, the company unblinds
(docs/protocol.md §1). Promises: the platform learns how many, nothing else, because a blinded element is
uniform whatever was blinded; the company learns the function at exactly the inputs it sent, under exactly the
published key, or nothing (the proof is checked before any output exists). The operations have the RFC's names
and are complete in both modes; production uses mode VOPRF, the default:

    key = derive_key_pair(seed, info)                      # or generate_key_pair()
    blinding = blind([b"one", b"another"])
    evaluated, proof = blind_evaluate(key, blinding.blinded_elements)
    outputs = finalize(blinding, evaluated, proof, key.public_key)
    assert outputs == [evaluate(key, b"one"), evaluate(key, b"another")]

In mode OPRF, `mode=Mode.OPRF` is given to every call that takes a mode, and proof and public key are None.
All values are byte strings in the RFC's encodings: `key.to_bytes()` is skSm, `key.public_key` is pkSm, and
`blinding.blinded_elements` are BlindedElement. The RFC's test vectors fix what is drawn at random here; only
`blind_with` and `blind_evaluate_with` of tests/support/explicit_blind.py can do that.

Refuses: batches outside 1..65535, elements that are malformed, the identity or repeated. Left to the caller:
padding the batch to the declared size, and counting it against the agreed number before answering. Secret
scalars live in memory of their own, are used by libsodium only, never as Python integers, and are overwritten
by `wipe`. Python cannot overwrite what was a byte string: identifiers, outputs, a seed, and what `to_bytes`
returned or `from_bytes` was given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self, overload

from noren_core.crypto import sodium
from noren_core.crypto.cores import map_blocks
from noren_core.crypto.dleq import MAX_BATCH, PROOF_BYTES, generate_proof, verify_proof
from noren_core.crypto.oprf_suite import (
    ELEMENT_BYTES,
    OUTPUT_BYTES,
    SCALAR_BYTES,
    Mode,
    context_string,
    hash_to_group,
    hash_to_scalar_with_tag,
    length_prefixed,
)
from noren_core.crypto.secret import Secret, SecretBytes
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
    "evaluate_all",
    "finalize",
    "generate_key_pair",
]

SEED_BYTES = 32
MAX_INPUT_BYTES = 2**16 - 1

_BLINDING_VERSION = 1


class OprfPrivateKey(Secret):
    """The platform's key skS for one company and campaign; `public_key` is pkS.

    Raises:
        DataError: for anything but the canonical encoding of a scalar other than zero.
    """

    __slots__ = ("_public_key", "_scalar")

    def __init__(self, scalar: SecretBytes) -> None:
        _check_scalar(scalar, "OPRF key")
        self._scalar = scalar
        self._public_key = sodium.multiply_base(scalar)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """The key with this 32-byte encoding; DataError for any other bytes."""
        return cls(SecretBytes(raw))

    def to_bytes(self) -> bytes:
        """The 32 private bytes, for the key store only."""
        return self._scalar.reveal()

    @property
    def scalar(self) -> SecretBytes:
        """The secret itself, not copied."""
        return self._scalar

    @property
    def public_key(self) -> bytes:
        """The 32-byte public key, which goes into the ledger."""
        return self._public_key

    def wipe(self) -> None:
        """Overwrite the secret; every evaluation is refused from then on."""
        self._scalar.wipe()


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Blinding(Secret):
    """What the company keeps between `blind` and `finalize`; only `blinded_elements` is ever sent.

    Attributes:
        mode: of the protocol run.
        inputs: what was blinded.
        blinds: one secret scalar per input, used in one run.
        blinded_elements: one 32-byte element per input, in the inputs' order.
    """

    mode: Mode
    inputs: tuple[bytes, ...]
    blinds: tuple[SecretBytes, ...]
    blinded_elements: tuple[bytes, ...]

    def to_bytes(self) -> bytes:
        """For a file that only the company can read, so that a lost answer can be asked for again.

        version(1) ‖ mode(1) ‖ count(2) ‖ (blind(32) ‖ length(2) ‖ input) for every input, counts and lengths
        big-endian (docs/protocol.md §1.5).
        """
        head = bytes([_BLINDING_VERSION, self.mode]) + len(self.inputs).to_bytes(2, "big")
        return head + b"".join(
            scalar.reveal() + length_prefixed(value)
            for scalar, value in zip(self.blinds, self.inputs, strict=True)
        )

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """The blinding that was written; its elements are computed again and are the same.

        Raises:
            DataError: for bytes that `to_bytes` does not write.
        """
        mode, blinds, inputs = _parse_blinding(raw)
        return cls(mode, inputs, blinds, _blinded(blinds, inputs, mode, threads=None))

    def wipe(self) -> None:
        """Overwrite the blinds, once the outputs are kept; `finalize` is refused from then on."""
        for scalar in self.blinds:
            scalar.wipe()


def generate_key_pair() -> OprfPrivateKey:
    """RFC 9497 §3.2, GenerateKeyPair, the same in both modes.

    Fresh, so that deleting the key ends all evaluation under it.
    """
    return OprfPrivateKey(sodium.random_scalar())


def derive_key_pair(seed: bytes, info: bytes, *, mode: Mode = Mode.VOPRF) -> OprfPrivateKey:
    """RFC 9497 §3.2.1, DeriveKeyPair; the same seed gives unrelated keys in different modes.

    Raises:
        DataError: if `seed` is not 32 bytes or `info` is longer than 65535.
    """
    if len(seed) != SEED_BYTES or len(info) > MAX_INPUT_BYTES:
        raise DataError(f"OPRF seed: expected {SEED_BYTES} bytes and a short info, got {len(seed)}")
    derive_input, tag = seed + length_prefixed(info), b"DeriveKeyPair" + context_string(mode)
    for counter in range(256):
        scalar = SecretBytes(hash_to_scalar_with_tag(derive_input + bytes([counter]), tag))
        if not sodium.is_zero_scalar(scalar):
            return OprfPrivateKey(scalar)
    raise DataError("OPRF seed: expected one that derives a key, got one that does not")


def blind(inputs: Sequence[bytes], *, mode: Mode = Mode.VOPRF, threads: int | None = None) -> Blinding:
    """RFC 9497 §3.3.1, Blind for every input, each with a fresh uniform blind.

    Args:
        inputs: 1 to 65535 byte strings of at most 65535 bytes.
        mode: of the protocol run.
        threads: how many at once; as many as there are cores if not given.

    Raises:
        DataError: for other inputs.
    """
    if not 1 <= len(inputs) <= MAX_BATCH:
        raise DataError(f"OPRF batch: expected 1 to {MAX_BATCH} inputs, got {len(inputs)}")
    blinds = tuple(sodium.random_scalar() for _ in inputs)
    return Blinding(mode, tuple(inputs), blinds, _blinded(blinds, inputs, mode, threads=threads))


@overload
def blind_evaluate(
    key: OprfPrivateKey,
    blinded_elements: Sequence[bytes],
    *,
    mode: Literal[Mode.VOPRF] = ...,
    threads: int | None = None,
) -> tuple[list[bytes], bytes]: ...


@overload
def blind_evaluate(
    key: OprfPrivateKey,
    blinded_elements: Sequence[bytes],
    *,
    mode: Literal[Mode.OPRF],
    threads: int | None = None,
) -> tuple[list[bytes], None]: ...


def blind_evaluate(
    key: OprfPrivateKey,
    blinded_elements: Sequence[bytes],
    *,
    mode: Mode = Mode.VOPRF,
    threads: int | None = None,
) -> tuple[list[bytes], bytes | None]:
    """RFC 9497 §3.3.1 and §3.3.2, BlindEvaluate for a batch: evaluated elements and one proof for all.

    1. Check the size of the batch and every element: valid, not the identity, not repeated.
    2. Multiply each by the key.
    3. Prove that it was one key, the one behind `key.public_key`; in mode OPRF there is no proof.
    Counting the batch against the company's limit, durably, comes before the answer is sent and is the
    caller's.

    Args:
        key: the platform's.
        blinded_elements: 1 to 65535 of the company's.
        mode: of the protocol run.
        threads: how many at once; as many as there are cores if not given.

    Returns:
        One element of 32 bytes for each, in their order, and a proof of 64 bytes, or None in mode OPRF.

    Raises:
        RemoteProtocolError: if step 1 fails; nothing was evaluated.
        DataError: if the key was wiped.
    """
    # 1
    if not 1 <= len(blinded_elements) <= MAX_BATCH:
        raise RemoteProtocolError(
            f"OPRF batch: expected 1 to {MAX_BATCH} elements, got {len(blinded_elements)}"
        )
    _check_elements(blinded_elements, threads=threads)
    if len(set(blinded_elements)) != len(blinded_elements):
        # Fresh blinds never collide, so a repetition is not an honest client's.
        raise RemoteProtocolError("OPRF batch: expected distinct elements, got a repeated one")

    # 2
    def multiplied(block: Sequence[bytes]) -> list[bytes]:
        return [sodium.multiply(key.scalar, element) for element in block]

    evaluated = map_blocks(multiplied, blinded_elements, threads=threads)
    # 3
    if mode == Mode.OPRF:
        return evaluated, None
    return evaluated, generate_proof(key.scalar, key.public_key, blinded_elements, evaluated, threads=threads)


@overload
def finalize(
    blinding: Blinding,
    evaluated_elements: Sequence[bytes],
    proof: bytes,
    public_key: bytes,
    *,
    mode: Literal[Mode.VOPRF] = ...,
    threads: int | None = None,
) -> list[bytes]: ...


@overload
def finalize(
    blinding: Blinding,
    evaluated_elements: Sequence[bytes],
    proof: None,
    public_key: None,
    *,
    mode: Literal[Mode.OPRF],
    threads: int | None = None,
) -> list[bytes]: ...


def finalize(
    blinding: Blinding,
    evaluated_elements: Sequence[bytes],
    proof: bytes | None,
    public_key: bytes | None,
    *,
    mode: Mode = Mode.VOPRF,
    threads: int | None = None,
) -> list[bytes]:
    """RFC 9497 §3.3.1 and §3.3.2, Finalize for a batch: one 64-byte output per input, in the inputs' order.

    1. The blinding is of the mode that the caller names, so that neither a file nor an answer can leave out
       the proof.
    2. Check the answer's form: as many elements as were sent, all valid; a proof of 64 bytes.
    3. Verify the proof against `public_key`, which the caller has from the ledger, not from the answer.
    4. Only then unblind and hash.
    The blinding is left as it is, since an answer that never arrived is asked for again: `Blinding.wipe`.

    Args:
        blinding: what was sent, and under which blinds.
        evaluated_elements: the platform's answer.
        proof: the platform's; None in mode OPRF.
        public_key: the platform's; None in mode OPRF.
        mode: of the protocol run.
        threads: how many at once; as many as there are cores if not given.

    Raises:
        DataError: if step 1 fails, or the blinding was wiped.
        RemoteProtocolError: if step 2 fails.
        VerificationError: if the proof does not hold; no output is computed.
    """
    # 1
    is_verified = mode != Mode.OPRF
    if blinding.mode != mode or is_verified != (proof is not None) or is_verified != (public_key is not None):
        raise DataError(
            "OPRF answer: expected the mode that was blinded for, with a proof in mode VOPRF only"
        )
    # 2
    sent = blinding.blinded_elements
    if len(evaluated_elements) != len(sent):
        raise RemoteProtocolError(
            f"OPRF answer: expected {len(sent)} elements, got {len(evaluated_elements)}"
        )
    _check_elements(evaluated_elements, threads=threads)
    # 3
    if proof is not None and public_key is not None:
        if len(proof) != PROOF_BYTES:
            raise RemoteProtocolError(
                f"OPRF answer: expected a proof of {PROOF_BYTES} bytes, got {len(proof)}"
            )
        _check_elements([public_key], threads=1)
        verify_proof(public_key, sent, evaluated_elements, proof, threads=threads)
    # 4
    return _unblinded(blinding, evaluated_elements, threads=threads)


def evaluate(key: OprfPrivateKey, value: bytes, *, mode: Mode = Mode.VOPRF) -> bytes:
    """RFC 9497 §3.3.1, Evaluate: what `finalize` gives for this input, computed by the key's owner.

    Raises:
        DataError: if the input is longer than 65535 bytes, or the key was wiped.
    """
    return _hash_output(value, sodium.multiply(key.scalar, _input_element(value, mode)))


def evaluate_all(
    key: OprfPrivateKey, values: Sequence[bytes], *, mode: Mode = Mode.VOPRF, threads: int | None = None
) -> list[bytes]:
    """`evaluate` of every input, in their order, spread over the cores."""
    return map_blocks(
        lambda block: [evaluate(key, value, mode=mode) for value in block], values, threads=threads
    )


def _blinded(
    blinds: Sequence[SecretBytes], inputs: Sequence[bytes], mode: Mode, *, threads: int | None
) -> tuple[bytes, ...]:
    def multiplied(block: Sequence[int]) -> list[bytes]:
        return [sodium.multiply(blinds[i], _input_element(inputs[i], mode)) for i in block]

    return tuple(map_blocks(multiplied, range(len(inputs)), threads=threads))


def _unblinded(
    blinding: Blinding, evaluated_elements: Sequence[bytes], *, threads: int | None
) -> list[bytes]:
    def outputs(block: Sequence[int]) -> list[bytes]:
        return [_unblind(blinding.inputs[i], blinding.blinds[i], evaluated_elements[i]) for i in block]

    return map_blocks(outputs, range(len(blinding.inputs)), threads=threads)


def _unblind(value: bytes, scalar: SecretBytes, evaluated: bytes) -> bytes:
    inverse = sodium.invert_scalar(scalar)
    unblinded = sodium.multiply(inverse, evaluated)
    inverse.wipe()
    return _hash_output(value, unblinded)


def _hash_output(value: bytes, unblinded_element: bytes) -> bytes:
    return hashlib.sha512(length_prefixed(value, unblinded_element) + b"Finalize").digest()


def _input_element(value: bytes, mode: Mode) -> bytes:
    if len(value) > MAX_INPUT_BYTES:
        raise DataError(f"OPRF input: expected at most {MAX_INPUT_BYTES} bytes, got {len(value)}")
    return hash_to_group(value, mode)


def _check_elements(elements: Sequence[bytes], *, threads: int | None) -> None:
    if not all(map_blocks(lambda block: list(map(sodium.is_valid_point, block)), elements, threads=threads)):
        raise RemoteProtocolError("OPRF element: expected a ristretto255 element, got a malformed one")


def _check_scalar(scalar: SecretBytes, what: str) -> None:
    if not sodium.is_canonical_scalar(scalar) or sodium.is_zero_scalar(scalar):
        raise DataError(f"{what}: expected 32 bytes encoding a scalar other than zero, got others")


def _parse_blinding(raw: bytes) -> tuple[Mode, tuple[SecretBytes, ...], tuple[bytes, ...]]:
    if len(raw) < 4 or raw[0] != _BLINDING_VERSION or raw[1] not in set(Mode) or raw[2:4] == b"\0\0":
        raise DataError("OPRF blinding: expected one that was written here, got other bytes")
    blinds, inputs, offset = [], [], 4
    for _ in range(int.from_bytes(raw[2:4], "big")):
        scalar = SecretBytes(raw[offset : offset + SCALAR_BYTES])
        _check_scalar(scalar, "OPRF blinding")
        start = offset + SCALAR_BYTES + 2
        offset = start + int.from_bytes(raw[start - 2 : start], "big")
        blinds.append(scalar)
        inputs.append(raw[start:offset])
    if offset != len(raw):
        raise DataError(f"OPRF blinding: expected {offset} bytes, got {len(raw)}")
    return Mode(raw[1]), tuple(blinds), tuple(inputs)
