"""An object and a party's signature over it, in one canonical JSON.

    {"body": {…}, "signature": 128 hex digits}      Ed25519 over label ‖ 0 ‖ canonical JSON of body

Promises: what is parsed has one encoding; a signature under one label is worth nothing under another. What
the object must hold, its reader checks (`noren_core.rights.fields`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from noren_core import canonical_json
from noren_core.crypto.identity import SigningKey, verify_signature
from noren_core.errors import DataError
from noren_core.rights import fields

_Word = TypeVar("_Word", bound=StrEnum)
_Value = TypeVar("_Value")
_SIGNATURE = re.compile(r"[0-9a-f]{128}\Z")


@dataclass(frozen=True, slots=True)
class SignedStatement:
    """An object as it was signed. Whose signature it is, `verify` says."""

    body: dict[str, Any]
    signature: bytes

    def to_bytes(self) -> bytes:
        """The canonical JSON of both."""
        return canonical_json.encode(self.to_body())

    def to_body(self) -> dict[str, Any]:
        """The same as an object, to stand inside another one."""
        return {"body": self.body, "signature": self.signature.hex()}

    def verify(self, label: bytes, public_key: bytes) -> None:
        """Raise VerificationError unless `public_key` signed this body under `label`."""
        verify_signature(public_key, label, canonical_json.encode(self.body), self.signature)

    def digest(self, label: bytes) -> bytes:
        """SHA-256 over label ‖ 0 ‖ body: what others refer to this statement by."""
        return hashlib.sha256(label + b"\0" + canonical_json.encode(self.body)).digest()


def sign_statement(label: bytes, body: Mapping[str, Any], key: SigningKey) -> SignedStatement:
    """The body with the key's signature under `label`; DataError for what canonical JSON cannot say."""
    return SignedStatement(dict(body), key.sign(label, canonical_json.encode(dict(body))))


def parse_statement(data: bytes, what: str, *, limit: int) -> SignedStatement:
    """The statement in `data`, of at most `limit` bytes; the signature is not verified yet.

    Raises:
        DataError: naming `what`, for any other bytes.
    """
    if len(data) > limit:
        raise DataError(f"{what}: expected at most {limit} bytes, got more")
    return statement_from_body(canonical_json.parse_object(data), what)


def statement_from_body(value: Any, what: str) -> SignedStatement:
    """The statement that stands inside another object; DataError for anything else."""
    if not isinstance(value, dict) or value.keys() != {"body", "signature"}:
        raise DataError(f"{what}: expected exactly a body and a signature, got another value")
    body, signature = value["body"], value["signature"]
    if not isinstance(body, dict) or not isinstance(signature, str) or not _SIGNATURE.match(signature):
        raise DataError(f"{what}: expected an object and 128 lower-case hex digits, got another value")
    return SignedStatement(body, bytes.fromhex(signature))


class Fields:
    """The fields of one object, each to be taken once, where which come next depends on those before.

    DataError names the first that is wrong. Where all are known in advance, `fields.read_fields` is shorter.
    """

    def __init__(self, body: Any, what: str) -> None:
        if not isinstance(body, dict):
            raise DataError(f"{what}: expected an object, got another value")
        self._left = dict(body)
        self._what = what

    def finish(self) -> None:
        """Refuse fields that were not taken."""
        if self._left:
            raise DataError(f"{self._what}: expected no further fields, got others")

    def constant(self, name: str, expected: str) -> None:
        """A field that has one value only."""
        self._take(name, fields.constant(expected))

    def name(self, name: str) -> str:
        """A name of `noren_core.ids`."""
        return self._take(name, fields.name)

    def hex_bytes(self, name: str, length: int) -> bytes:
        """So many bytes in lower-case hex."""
        return self._take(name, fields.bytes_of(length))

    def optional_hex_bytes(self, name: str, length: int) -> bytes:
        """The same, or the empty text for no bytes."""
        return self._take(name, fields.bytes_of(length, or_none=True))

    def time(self, name: str) -> int:
        """Unix seconds."""
        return self._take(name, fields.seconds)

    def integer(self, name: str, low: int, high: int) -> int:
        """An integer within bounds."""
        return self._take(name, fields.integer_in(low, high))

    def text(self, name: str, limit: int) -> str:
        """A text of at most `limit` characters."""
        value = self._take(name, fields.text)
        if len(value) > limit:
            raise DataError(f"{self._what}.{name}: expected a text of at most {limit} characters, got more")
        return value

    def word(self, name: str, words: type[_Word]) -> _Word:
        """One of a closed list."""
        return self._take(name, fields.word_of(words))

    def items(self, name: str, limit: int) -> list[Any]:
        """A list of at most so many values."""
        value = self._take(name, lambda found: found)
        if not isinstance(value, list) or len(value) > limit:
            raise DataError(f"{self._what}.{name}: expected a list of at most {limit}, got another value")
        return value

    def _take(self, name: str, parse: Callable[[object], _Value]) -> _Value:
        if name not in self._left:
            raise DataError(f"{self._what}: expected the field {name}, got none")
        try:
            return parse(self._left.pop(name))
        except DataError as error:
            raise DataError(f"{self._what}.{name}: {error.message}", code=error.code) from error
