"""Derivation of mask seeds and expansion of masks (docs/protocol.md §4.3.2).

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

from noren_core.crypto.secret import SecretBytes
from noren_core.errors import VerificationError

PROTOCOL = "noren/v1/secagg"
SEED_BYTES = 32

# 64 KiB of keystream at a time, into one buffer: it stays in the cache, and a vector's worth of fresh
# memory for each mask costs more than the cipher.
_BLOCK = 8192
_ZEROS = bytes(8 * _BLOCK)


def context(purpose: str, *fields: bytes | str | int) -> bytes:
    """Protocol, purpose and fields as bytes, each preceded by its length so that lists cannot collide.

    The encoding of docs/protocol.md §4.1.1: names as UTF-8, integers as decimal digits.
    """
    parts = [PROTOCOL.encode(), purpose.encode(), *(_field(field) for field in fields)]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def derive(secret: bytes | bytearray, info: bytes) -> SecretBytes:
    """32 bytes of HKDF-SHA256 (RFC 5869) of `secret`, without a salt."""
    derived = SecretBytes(bytes(SEED_BYTES))
    HKDF(algorithm=hashes.SHA256(), length=SEED_BYTES, salt=None, info=info).derive_into(
        secret, derived.buffer
    )
    return derived


def exchange(private_key: X25519PrivateKey, public_key: bytes) -> bytes:
    """The X25519 shared value (RFC 7748); never used but through `derive`.

    Raises:
        VerificationError: if `public_key` is not 32 bytes or its exchange is the all-zero value, which
            anyone could compute.
    """
    try:
        return private_key.exchange(X25519PublicKey.from_public_bytes(public_key))
    except ValueError as error:
        raise VerificationError("key agreement: expected a usable X25519 key, got another") from error


def pair_seed(
    private_key: X25519PrivateKey,
    *,
    session: bytes,
    round_number: int,
    ours: tuple[str, bytes],
    theirs: tuple[str, bytes],
) -> SecretBytes:
    """The seed of the mask two members share in a round; `ours` and `theirs` are (name, public key).

    Both ends obtain the same seed, since the pair enters the derivation in the order of the names.

    Raises:
        VerificationError: if their key is not usable.
    """
    (low, low_key), (high, high_key) = sorted((ours, theirs))
    info = context("pair-mask", session, round_number, low, high, low_key, high_key)
    return derive(exchange(private_key, theirs[1]), info)


def add_pair_mask(total: NDArray[np.uint64], seed: SecretBytes, *, adder: str, other: str) -> None:
    """Add to `total` what `adder` adds for its pair with `other`; the two members' terms cancel."""
    _add_keystream(total, seed, negative=adder > other)


def add_self_mask(
    total: NDArray[np.uint64], seed: SecretBytes, *, session: bytes, round_number: int, company: str
) -> None:
    """Add to `total` the mask a member has for itself alone, from its seed of the round."""
    key = derive(seed.buffer, context("self-mask", session, round_number, company))
    _add_keystream(total, key, negative=False)
    key.wipe()


def expand(seed: SecretBytes, length: int) -> NDArray[np.uint64]:
    """`length` uniform 64-bit integers: the ChaCha20 keystream (RFC 8439) of a seed used only here."""
    stream = np.zeros(length, dtype=np.uint64)
    _add_keystream(stream, seed, negative=False)
    return stream


def _add_keystream(total: NDArray[np.uint64], seed: SecretBytes, *, negative: bool) -> None:
    """Add the seed's keystream, as little-endian integers, to `total` in place, or subtract it."""
    cipher = Cipher(algorithms.ChaCha20(seed.buffer, bytes(16)), mode=None).encryptor()
    combine = np.subtract if negative else np.add
    memory = bytearray(8 * min(_BLOCK, len(total)))
    stream = np.frombuffer(memory, dtype="<u8")
    for start in range(0, len(total), _BLOCK):
        part = total[start : start + _BLOCK]
        cipher.update_into(memoryview(_ZEROS)[: 8 * len(part)], memory)
        combine(part, stream[: len(part)], out=part)


def _field(field: bytes | str | int) -> bytes:
    return field if isinstance(field, bytes) else str(field).encode()
