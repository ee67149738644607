"""Keys that say who a party is, and sealing to a party (docs/protocol.md §0).

Ed25519 signs everything a party says; every signature is over a label that names protocol, version
and purpose, so a signature made for one thing never verifies for another. HPKE (RFC 9180, base mode) of the
suite DHKEM(X25519, HKDF-SHA256) 0x0020, HKDF-SHA256 0x0001, AES-256-GCM 0x0002 seals a small secret to a
party: every part of it is in browsers' WebCrypto, where students open what is sealed to them (ADR 0032).
Private keys have a redacted repr and refuse to be pickled.
"""

from __future__ import annotations

import hashlib
from typing import Self

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from noren_core.crypto.secret import Secret
from noren_core.errors import DataError, VerificationError

_HPKE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class SigningKey(Secret):
    """An Ed25519 private key (RFC 8032)."""

    __slots__ = ("_key",)

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def generate(cls) -> Self:
        """A fresh key from the operating system's generator."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_bytes(cls, raw: bytes | bytearray) -> Self:
        """The key with this 32-byte seed; DataError for another length."""
        if len(raw) != 32:
            raise DataError(f"signing key: expected 32 bytes, got {len(raw)}")
        return cls(Ed25519PrivateKey.from_private_bytes(raw))

    def to_bytes(self) -> bytes:
        """The 32-byte seed, for the key store only."""
        return self._key.private_bytes_raw()

    @property
    def public_key(self) -> bytes:
        """The 32-byte public key."""
        return self._key.public_key().public_bytes_raw()

    def sign(self, label: bytes, message: bytes) -> bytes:
        """A 64-byte signature over label ‖ 0 ‖ message."""
        return self._key.sign(label + b"\0" + message)

    def sign_raw(self, message: bytes) -> bytes:
        """A signature over `message` alone, for formats that fix the signed bytes (C2SP signed notes)."""
        return self._key.sign(message)


def verify_signature(public_key: bytes, label: bytes, message: bytes, signature: bytes) -> None:
    """Raise VerificationError unless `signature` is `public_key`'s over label ‖ 0 ‖ message."""
    verify_raw_signature(public_key, label + b"\0" + message, signature)


def verify_raw_signature(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Raise VerificationError unless `signature` is `public_key`'s over exactly `message`."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise VerificationError("signature does not verify under the expected key") from error


class SealingKey(Secret):
    """An X25519 private key to which others can seal."""

    __slots__ = ("_key",)

    def __init__(self, key: X25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def generate(cls) -> Self:
        """A fresh key from the operating system's generator."""
        return cls(X25519PrivateKey.generate())

    @classmethod
    def from_bytes(cls, raw: bytes | bytearray) -> Self:
        """The key with these 32 bytes; DataError for another length."""
        if len(raw) != 32:
            raise DataError(f"sealing key: expected 32 bytes, got {len(raw)}")
        return cls(X25519PrivateKey.from_private_bytes(raw))

    def to_bytes(self) -> bytes:
        """The 32 private bytes, for the key store only."""
        return self._key.private_bytes_raw()

    @property
    def public_key(self) -> bytes:
        """The 32-byte public key."""
        return self._key.public_key().public_bytes_raw()

    def open(self, sealed: bytes, *, info: bytes) -> bytes:
        """The plaintext sealed to this key under `info`; VerificationError if it was not."""
        try:
            return bytes(_HPKE.decrypt(sealed, self._key, info=info))
        except (InvalidTag, ValueError) as error:
            raise VerificationError("sealed message does not open under our key") from error


def seal_to(public_key: bytes, plaintext: bytes, *, info: bytes) -> bytes:
    """HPKE-seal `plaintext` to an X25519 public key; `info` binds protocol, purpose and context.

    Raises:
        VerificationError: if `public_key` is not a usable X25519 point.
    """
    try:
        return bytes(_HPKE.encrypt(plaintext, X25519PublicKey.from_public_bytes(public_key), info=info))
    except ValueError as error:
        raise VerificationError("sealing key: expected a usable 32-byte X25519 key") from error


def fingerprint(public_key: bytes) -> str:
    """What two people compare by phone: the first 20 bytes of SHA-256 in groups of four hex digits."""
    digits = hashlib.sha256(b"noren/v1/fingerprint\0" + public_key).hexdigest()[:40]
    return " ".join(digits[i : i + 4] for i in range(0, 40, 4))
