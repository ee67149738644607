"""C2SP signed notes with Ed25519 keys: text that names who signed it.

A note is UTF-8 text that ends in a newline, an empty line, and signature lines. What follows the
specification (https://c2sp.org/signed-note) is readable by any other tool that does. The parser is
strict where the format leaves freedom: base64 has one spelling, and bytes that are not exactly what
`Note.to_bytes` would write for the same content are refused.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import ClassVar, Self

from noren_core.crypto.identity import SigningKey, verify_raw_signature
from noren_core.errors import DataError, VerificationError

MAX_NOTE_BYTES = 64 << 10
MAX_SIGNATURES = 32  # two of the log and 16 of witnesses, with room to spare
MAX_NAME_BYTES = 200
_SIGNATURE_PREFIX = "— "


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A name and an Ed25519 public key; the algorithm says what the key signs."""

    name: str
    public_key: bytes

    ALGORITHM: ClassVar[bytes]

    def __post_init__(self) -> None:
        check_key_name(self.name)
        if len(self.public_key) != 32:
            raise DataError(f"verifier key: expected an Ed25519 key of 32 bytes, got {len(self.public_key)}")

    @property
    def key_id(self) -> bytes:
        """The first four bytes of SHA-256(name ‖ newline ‖ algorithm ‖ public key)."""
        return hashlib.sha256(self.name.encode() + b"\n" + self.ALGORITHM + self.public_key).digest()[:4]

    def to_text(self) -> str:
        """The verifier key as published: name+key id+base64(algorithm ‖ public key)."""
        return f"{self.name}+{self.key_id.hex()}+{_to_base64(self.ALGORITHM + self.public_key)}"

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The key that `text` spells; DataError if it is malformed or its key id does not fit."""
        parts = text.split("+", 2)
        if len(parts) != 3 or len(text) > 400:
            raise DataError("verifier key: expected name+key id+base64, got another text")
        raw = _from_base64(parts[2], "verifier key")
        if raw[:1] != cls.ALGORITHM:
            raise DataError(f"verifier key: expected algorithm {cls.ALGORITHM.hex()}, got another one")
        key = cls(parts[0], raw[1:])
        if key.to_text() != text:
            raise DataError("verifier key: expected the key id of this name and key, got another")
        return key


@dataclass(frozen=True, slots=True)
class VerifierKey(NoteKey):
    """Whose signature a note must carry: a key that signs the text itself."""

    ALGORITHM = b"\x01"


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line: the signer's name, the key id and the signature."""

    name: str
    key_id: bytes
    signature: bytes

    def to_line(self) -> str:
        """The line that stands in a note, with its newline."""
        return f"{_SIGNATURE_PREFIX}{self.name} {_to_base64(self.key_id + self.signature)}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A parsed note. Its text means nothing until `verify` has returned."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def verify(self, key: VerifierKey) -> None:
        """Raise VerificationError unless the note is signed by `key`.

        1. Signatures of other keys are ignored (witnesses may add theirs), but one of ours is there.
        2. Every signature under our name and key id verifies over the text.
        """
        # 1
        ours = self.signatures_of(key)
        if not ours:
            raise VerificationError("note: expected a signature of the trusted key, got none")
        # 2
        for signature in ours:
            verify_raw_signature(key.public_key, self.text.encode(), signature)

    def signatures_of(self, key: NoteKey) -> list[bytes]:
        """What stands under the key's name and key id, unverified."""
        wanted = (key.name, key.key_id)
        return [item.signature for item in self.signatures if (item.name, item.key_id) == wanted]

    def to_bytes(self) -> bytes:
        """The note as it is written."""
        return f"{self.text}\n{''.join(item.to_line() for item in self.signatures)}".encode()


def sign_note(text: str, name: str, *keys: SigningKey) -> bytes:
    """The note with `text`, signed under `name` by each key; DataError if the text cannot be a note."""
    data = Note(text, tuple(_sign(text, name, key) for key in keys)).to_bytes()
    parse_note(data)
    return data


def parse_note(data: bytes) -> Note:
    """The note in `data`, not yet verified; DataError for anything malformed.

    1. Bounded, UTF-8, no control characters besides the newline.
    2. The last empty line separates a non-empty text from the signature lines.
    3. Each of at most 32 signature lines is an em dash, a name and canonical base64.
    """
    # 1
    if len(data) > MAX_NOTE_BYTES:
        raise DataError(f"note: expected at most {MAX_NOTE_BYTES} bytes, got {len(data)}")
    try:
        content = data.decode()
    except UnicodeDecodeError as error:
        raise DataError("note: expected UTF-8, got other bytes") from error
    if any(char < " " and char != "\n" for char in content):
        raise DataError("note: expected no control characters besides newlines")
    # 2
    text, separator, rest = content.rpartition("\n\n")
    if not separator or not text or not rest.endswith("\n"):
        raise DataError("note: expected text, an empty line and signature lines that end in a newline")
    # 3
    lines = rest[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise DataError(f"note: expected at most {MAX_SIGNATURES} signatures, got {len(lines)}")
    return Note(text + "\n", tuple(_parse_signature(line) for line in lines))


def _sign(text: str, name: str, key: SigningKey) -> NoteSignature:
    return NoteSignature(name, VerifierKey(name, key.public_key).key_id, key.sign_raw(text.encode()))


def _parse_signature(line: str) -> NoteSignature:
    if not line.startswith(_SIGNATURE_PREFIX):
        raise DataError("note: expected a signature line that begins with an em dash and a space")
    name, _, encoded = line.removeprefix(_SIGNATURE_PREFIX).partition(" ")
    check_key_name(name)
    raw = _from_base64(encoded, "note signature")
    if len(raw) < 5:
        raise DataError("note signature: expected a key id and a signature, got fewer than 5 bytes")
    return NoteSignature(name, raw[:4], raw[4:])


def check_key_name(name: str) -> None:
    """Raise DataError unless `name` can stand in a signature line and in a verifier key."""
    if not name.isprintable() or any(char.isspace() for char in name):  # half a surrogate pair is neither
        raise DataError("key name: expected printable characters and no spaces")
    if not name or len(name.encode()) > MAX_NAME_BYTES or "+" in name:
        raise DataError(f"key name: expected 1 to {MAX_NAME_BYTES} bytes without a plus sign")


def _to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _from_base64(text: str, what: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise DataError(f"{what}: expected base64, got another text") from error
    if _to_base64(data) != text:
        raise DataError(f"{what}: expected the canonical base64 of its bytes")
    return data
