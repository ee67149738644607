"""Joining a company's applicants with a platform's members, as it is usually done."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from noren_core.crypto import oprf
from noren_core.crypto.oprf import Mode, OprfPrivateKey

TAG_BYTES = 16
_NONCE = bytes(12)


def salted_hashes(identifiers: Iterable[bytes], salt: bytes) -> set[bytes]:
    """What one side uploads so that the other can match: salted SHA-256, both sides know the salt."""
    return {hashlib.sha256(salt + identifier).digest() for identifier in identifiers}


class MatchingService:
    """A look-up by hash: a company asks about any address, and hears the score if it is a member's."""

    def __init__(self, scores: Mapping[bytes, int]) -> None:
        self._scores = {hashlib.sha256(identifier).digest(): score for identifier, score in scores.items()}

    def look_up(self, hashed: bytes) -> int | None:
        """The member's score; None for everybody else."""
        return self._scores.get(hashed)


class RowsByTag:
    """Sealed rows on public storage, one by one, found by tag; the tag needs an oblivious evaluation first.

    The evaluation is RFC 9497's base mode, without proof. Who fetches a row is not asked: rows are sealed, so
    anybody may, and companies fetch through an anonymous channel.
    """

    def __init__(self, key: OprfPrivateKey) -> None:
        self._key = key
        self.fetched: list[bytes] = []

    def evaluate(self, blinded: list[bytes]) -> list[bytes]:
        """The keyed function at what was blinded."""
        return oprf.blind_evaluate(self._key, blinded, mode=Mode.OPRF)[0]

    def fetch(self, tag: bytes) -> None:
        """A row; which one does the public storage see."""
        self.fetched.append(tag)


def tag(output: bytes) -> bytes:
    """Where a row lies."""
    return hashlib.sha256(b"tag" + output).digest()[:TAG_BYTES]


def seal(output: bytes, payload: bytes) -> tuple[bytes, bytes]:
    """A row under a key that nobody can guess, one for each identifier; hence the constant nonce."""
    key = hashlib.sha256(b"key" + output).digest()
    return tag(output), ChaCha20Poly1305(key).encrypt(_NONCE, payload, None)


def open_row(output: bytes, ciphertext: bytes) -> bytes:
    """The payload; InvalidTag if it was sealed under another key."""
    key = hashlib.sha256(b"key" + output).digest()
    return ChaCha20Poly1305(key).decrypt(_NONCE, ciphertext, None)
