"""An object and a party's signature over it, in one canonical JSON.

    {"body": {…}, "signature": 128 hex digits}      Ed25519 over label ‖ 0 ‖ canonical JSON of body

Promises: what is parsed has one encoding; a signature under one label is worth nothing under another. What
the object must hold, its reader checks (`noren_core.rights.fields`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from noren_core import canonical_json
from noren_core.crypto.identity import SigningKey, verify_signature
from noren_core.errors import DataError

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
