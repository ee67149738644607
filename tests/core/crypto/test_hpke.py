"""HPKE with AES-256-GCM: the published vector, and our sealing against a reference that has passed it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st
from plain_hpke import open_sealed, receiver, seal

from noren_core.crypto.identity import SealingKey, seal_to
from noren_core.errors import VerificationError

VECTOR = json.loads((Path(__file__).parents[2] / "vectors" / "hpke_rfc9180.json").read_bytes())
INFOS = st.binary(max_size=64)


class _Draws:
    """The inputs of the published vector: a length, then so many bytes, of SHAKE128 of nothing."""

    def __init__(self) -> None:
        self._stream, self._at = hashlib.shake_128(b"").digest(1 << 20), 0

    def __call__(self) -> bytes:
        length = self._stream[self._at]
        self._at += 1 + length
        return self._stream[self._at - length : self._at]


def test_the_reference_is_that_of_the_published_vector() -> None:
    """A thousand messages under the vector's keys come to its digest: the suite's ids are in every key."""
    enc, info = bytes.fromhex(VECTOR["enc"]), bytes.fromhex(VECTOR["info"])
    key, base_nonce = receiver(bytes.fromhex(VECTOR["skRm"]), enc=enc, info=info)
    draw, digest = _Draws(), hashlib.shake_128()
    for number in range(1000):
        associated, plaintext = draw(), draw()
        nonce = bytes(a ^ b for a, b in zip(base_nonce, number.to_bytes(12, "big"), strict=True))
        digest.update(AESGCM(key).encrypt(nonce, plaintext, associated))
    assert digest.hexdigest(16) == VECTOR["encryptions"]
    private = SealingKey.from_bytes(bytes.fromhex(VECTOR["skRm"]))
    assert private.public_key.hex() == VECTOR["pkRm"]


@given(st.binary(max_size=300), INFOS)
def test_what_we_seal_the_reference_opens(plaintext: bytes, info: bytes) -> None:
    """Byte for byte the same construction, whatever is sealed."""
    private = SealingKey.generate()
    sealed = seal_to(private.public_key, plaintext, info=info)
    assert open_sealed(private.to_bytes(), sealed, info=info) == plaintext


@given(st.binary(max_size=300), INFOS, st.binary(min_size=32, max_size=32))
def test_what_the_reference_seals_we_open(plaintext: bytes, info: bytes, ephemeral: bytes) -> None:
    """And the other way round."""
    private = SealingKey.generate()
    sealed = seal(private.public_key, plaintext, info=info, ephemeral=ephemeral)
    assert private.open(sealed, info=info) == plaintext


def test_another_suite_does_not_open() -> None:
    """What was sealed with ChaCha20-Poly1305, as before version 1 was fixed, is refused."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
    from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

    private = SealingKey.generate()
    other = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
    sealed = other.encrypt(b"secret", X25519PublicKey.from_public_bytes(private.public_key), info=b"")
    with pytest.raises(VerificationError):
        private.open(bytes(sealed), info=b"")
