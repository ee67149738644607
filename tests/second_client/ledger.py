"""Entries of the ledger: canonical JSON, signing, verifying (protocol §6.1)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from . import RefusedError, expect
from .training import sign, verify


def canonical(value: Any) -> bytes:
    """The only spelling of a value."""
    _check(value, levels=8)
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode()


def parse(text: bytes) -> Any:
    """The value of canonical JSON."""
    try:
        value = json.loads(text)
        spelled = canonical(value)
    except (ValueError, RecursionError):
        raise RefusedError("canonical JSON expected") from None
    expect(spelled == text, "canonical JSON")
    return value


def _check(value: Any, levels: int) -> None:
    expect(isinstance(value, (bool, int, str, list, dict)), "JSON without floats and null")
    expect(not isinstance(value, int) or -(2**63) < value < 2**63, "integers of 63 bits")
    expect(levels >= 0, "no value in more than 8 lists and objects")
    if isinstance(value, (list, dict)):
        for inner in value.values() if isinstance(value, dict) else value:
            _check(inner, levels - 1)


@dataclass(frozen=True, slots=True)
class Entry:
    """A parsed entry; `text` is what the tree hashes."""

    author: str
    kind: str
    body: Mapping[str, Any]
    text: bytes

    def verify(self, author_key: bytes, platform_key: bytes) -> None:
        """Both signatures, by the keys that are current at the entry's index."""
        envelope = parse(self.text)
        countersignature = bytes.fromhex(envelope.pop("countersignature"))
        verify(platform_key, "noren/v1/countersign", canonical(envelope), countersignature)
        signature = bytes.fromhex(envelope.pop("signature"))
        verify(author_key, "noren/v1/entry", canonical(envelope), signature)


def read_entry(text: bytes) -> Entry:
    """An entry as the ledger holds it, unverified."""
    expect(len(text) <= 256 * 1024, "an entry of at most 256 KiB")
    fields = parse(text)
    expect(isinstance(fields, dict), "an entry")
    expect(
        set(fields) == {"author", "body", "countersignature", "kind", "signature", "v"}, "an entry's fields"
    )
    for name in ("signature", "countersignature"):
        expect(_is_hex(fields[name], 64), "signatures in hex")
    expect(fields["v"] == 1 and type(fields["v"]) is int, "version 1")
    body = fields["body"]
    expect(isinstance(body, dict) and isinstance(fields["kind"], str), "a kind and a body")
    expect(fields["author"] in {"platform", body.get("company")}, "an author that the body names")
    return Entry(fields["author"], fields["kind"], body, text)


def signed_entry(key: Ed25519PrivateKey, company: str, kind: str, body: Mapping[str, Any]) -> bytes:
    """A company's entry, ready for the platform's countersignature."""
    envelope = {"author": company, "body": dict(body), "kind": kind, "v": 1}
    envelope["signature"] = sign(key, "noren/v1/entry", canonical(envelope)).hex()
    return canonical(envelope)


def _is_hex(text: object, size: int) -> bool:
    return isinstance(text, str) and len(text) == 2 * size and set(text) <= set("0123456789abcdef")
