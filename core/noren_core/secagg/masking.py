"""Derivation of mask seeds and expansion of masks (docs/protocol.md §4).

Sums are taken modulo 2^64, in uint64, not modulo 2^32 as is usual: one clipped gradient reaches C·2^16
on our grid, so the sum over some 10^5 rows already leaves 32 bits, and a sum that wraps is silently wrong.

Every derivation names protocol, version, purpose, session, round and both parties, each with its length,
so no two masks ever come from the same stream. A seed keeps all its 256 bits: a generator seeded with
fewer could be searched. It is used once, hence ChaCha20's nonce is zero.
"""

from __future__ import annotations

import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from noren_core.errors import VerificationError

PROTOCOL = "noren/v1/secagg"
SEED_BYTES = 32


def context(purpose: str, *fields: bytes | str | int) -> bytes:
    """Protocol, purpose and fields as bytes, each preceded by its length so that lists cannot collide."""
    parts = [PROTOCOL.encode(), purpose.encode(), *(_field(field) for field in fields)]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def agree(private_key: X25519PrivateKey, public_key: bytes, info: bytes) -> bytes:
    """The 32-byte key both ends of an X25519 exchange derive for `info`.

    Raises:
        VerificationError: if `public_key` is not 32 bytes or its exchange is the all-zero value, which
            anyone could compute.
    """
    try:
        shared = private_key.exchange(X25519PublicKey.from_public_bytes(public_key))
    except ValueError as error:
        raise VerificationError("key agreement: expected a usable X25519 key, got another") from error
    return _derive(shared, info)


def pair_seed(
    private_key: X25519PrivateKey,
    *,
    session: bytes,
    round_number: int,
    ours: tuple[str, bytes],
    theirs: tuple[str, bytes],
) -> bytes:
    """The seed of the mask two members share in a round; `ours` and `theirs` are (name, public key).

    Both ends obtain the same seed, since the pair enters the derivation in the order of the names.
    """
    (low, low_key), (high, high_key) = sorted((ours, theirs))
    info = context("pair-mask", session, round_number, low, high, low_key, high_key)
    return agree(private_key, theirs[1], info)


def self_mask(
    seed: bytes, *, session: bytes, round_number: int, company: str, length: int
) -> NDArray[np.uint64]:
    """The mask a member adds for itself alone, expanded from its seed of the round."""
    return expand(_derive(seed, context("self-mask", session, round_number, company)), length)


def pair_mask(seed: bytes, *, adder: str, other: str, length: int) -> NDArray[np.uint64]:
    """What `adder` adds for its pair with `other`; the two members' terms cancel in the sum."""
    mask = expand(seed, length)
    return mask if adder < other else np.negative(mask)


def expand(seed: bytes, length: int) -> NDArray[np.uint64]:
    """`length` uniform 64-bit integers: the ChaCha20 keystream (RFC 8439) of a seed used only here."""
    stream = Cipher(algorithms.ChaCha20(seed, bytes(16)), mode=None).encryptor()
    return np.frombuffer(stream.update(bytes(8 * length)), dtype="<u8").astype(np.uint64)


def _derive(secret: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=SEED_BYTES, salt=None, info=info).derive(secret)


def _field(field: bytes | str | int) -> bytes:
    return field if isinstance(field, bytes) else str(field).encode()
