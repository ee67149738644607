"""C2SP tlog checkpoints: the signed size and root of the ledger.

A checkpoint (https://c2sp.org/tlog-checkpoint) is a signed note of three lines: origin, size, root.
Two checkpoints of one origin that no consistency proof connects show that the platform keeps two
ledgers. Extension lines, which nobody could audit, are refused.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from noren_core.canonical_json import MAX_INTEGER
from noren_core.crypto.identity import SigningKey
from noren_core.crypto.merkle import HASH_BYTES
from noren_core.errors import DataError, VerificationError
from noren_core.ledger.note import Note, VerifierKey, parse_note, sign_note


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the ledger of `origin` held when it had `size` entries: their Merkle root."""

    origin: str
    size: int
    root: bytes

    def to_text(self) -> str:
        """The three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def sign_checkpoint(origin: str, size: int, root: bytes, *keys: SigningKey) -> bytes:
    """The checkpoint signed by each of `keys`, whose name is the origin."""
    text = Checkpoint(origin, size, root).to_text()
    _parse_text(text)
    return sign_note(text, origin, *keys)


def claimed_checkpoint(data: bytes) -> Checkpoint:
    """What an unverified checkpoint states, to find out whose signature it must carry.

    Raises:
        VerificationError: if the bytes are not a checkpoint.
    """
    try:
        return _parse_text(parse_note(data).text)
    except DataError as error:
        raise VerificationError(f"checkpoint: {error.message}") from error


def claimed_size(data: bytes) -> int:
    """The size that an unverified checkpoint states; VerificationError if the bytes are not a checkpoint."""
    return claimed_checkpoint(data).size


def open_checkpoint(data: bytes, key: VerifierKey) -> Checkpoint:
    """The checkpoint in `data` if `key` signed it.

    1. Parse the note; nothing in it is believed yet.
    2. Its signature verifies under `key`.
    3. The text is a checkpoint whose origin is the key's name.
    Whether it is consistent with earlier checkpoints is left to the caller (`noren_core.ledger.proofs`).

    Raises:
        VerificationError: if the bytes are not a checkpoint, or not signed by `key`.
    """
    try:
        # 1
        note: Note = parse_note(data)
        # 2
        note.verify(key)
        # 3
        checkpoint = _parse_text(note.text)
    except DataError as error:
        raise VerificationError(f"checkpoint: {error.message}") from error
    if checkpoint.origin != key.name:
        raise VerificationError("checkpoint: expected the trusted origin, got another")
    return checkpoint


def _parse_text(text: str) -> Checkpoint:
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not lines[0]:
        raise DataError("expected exactly three lines: origin, size and root")
    origin, size, root = lines[:3]
    checkpoint = Checkpoint(origin, _parse_size(size), _parse_root(root))
    if checkpoint.to_text() != text:
        raise DataError("expected the canonical spelling of size and root")
    return checkpoint


def _parse_size(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= MAX_INTEGER):
        raise DataError("expected the tree size as a decimal number")
    return int(text)


def _parse_root(text: str) -> bytes:
    try:
        root = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise DataError("expected the root hash in base64") from error
    if len(root) != HASH_BYTES:
        raise DataError(f"expected a root hash of {HASH_BYTES} bytes, got {len(root)}")
    return root
