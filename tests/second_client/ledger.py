"""Entries of the ledger: canonical JSON, signing, verifying (protocol §6.1)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from . import RefusedError, expect
from .training import sign, verify

_BODIES = {
    "log-start": {"origin", "platform_key", "log_key"},
    "enrolment": {"company", "signing_key", "sealing_key", "tls_key_sha256", "node_key_sha256"},
    "agreement": {"company", "agreement_sha256", "declared_size"},
    "plan-acceptance": {"campaign", "company", "plan_sha256"},
    "oprf-key": {"campaign", "company", "kind", "public_key"},
    "consent-epoch": {"campaign", "company", "kind", "root"},
    "table": {"campaign", "company", "consent_epoch", "manifest"},
    "training-commitment": {"campaign", "company", "plan_sha256", "seed", "rows"},
    "beacon": {"campaign", "checkpoint"},
    "intent": {"campaign", "company", "round", "plan_sha256", "event", "previous", "sequence"},
    "settle": {
        "campaign",
        "company",
        "round",
        "survivors",
        "update_sha256",
        "sentinels",
        "consents",
        "model_in",
        "model_out",
    },
    "round-failed": {"campaign", "round", "reason"},
    "head-commitment": {"campaign", "company", "commitment", "dimensions", "heads", "weight_bits"},
    "campaign-closed": {"campaign"},
    "key-rotation": {"company", "key", "old", "new"},
    "platform-key-rotation": {"key", "old", "new", "possession"},
    "revocation": {"company", "reason"},
    "policy": {"policy", "sha256", "activated_at"},
    "coverage": {
        "campaign",
        "report_sha256",
        "as_of",
        "policy_sha256",
        "screens_sha256",
        "verdict",
        "auditor_key",
        "attestation",
    },
    "consent-log": {"root"},
    "decision-batch": {
        "campaign",
        "company",
        "position",
        "sequence",
        "root",
        "evaluation_sha256",
        "sealed_at",
    },
    "gate-opened": {"campaign", "company", "batch", "opened_at"},
    "mirror-deposit": {"campaign", "company", "root", "deposited_at"},
    "erasure-order": {"campaign", "company", "order_sha256", "ground", "due_at"},
    "deletion-certificate": {"campaign", "company", "order", "certificate_sha256"},
    "service-state": {"scope", "name", "state", "reason", "at", "evidence_sha256"},
    "incident": {"incident", "class", "state", "at", "report_sha256"},
}
_MORE = {
    ("key-rotation", "signing"): {"possession"},
    ("platform-key-rotation", "log"): {"endorsement"},
}
_OF_COMPANIES = {
    "enrolment",
    "agreement",
    "plan-acceptance",
    "training-commitment",
    "intent",
    "settle",
    "head-commitment",
    "key-rotation",
    "decision-batch",
    "mirror-deposit",
    "deletion-certificate",
}
_TEXTS = {"checkpoint", "company", "campaign", "key", "old", "new", "possession", "endorsement", "public_key"}
_TEXTS |= {"signing_key", "sealing_key", "tls_key_sha256", "node_key_sha256"}


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

    def says(self, said: bytes) -> bool:
        """Whether this is what we signed, with the platform's countersignature."""
        envelope = parse(self.text)
        del envelope["countersignature"]
        return canonical(envelope) == said

    def verify(self, author_key: bytes, platform_key: bytes) -> None:
        """Both signatures, by the keys that are current at the entry's index."""
        envelope = parse(self.text)
        countersignature = unhex(envelope.pop("countersignature"), 64)
        verify(platform_key, "noren/v1/countersign", canonical(envelope), countersignature)
        signature = unhex(envelope.pop("signature"), 64)
        verify(author_key, "noren/v1/entry", canonical(envelope), signature)


def read_entry(text: bytes) -> Entry:
    """An entry as the ledger holds it, unverified."""
    expect(len(text) <= 65_535, "an entry of at most 65,535 bytes")
    fields = parse(text)
    expect(isinstance(fields, dict), "an entry")
    expect(
        set(fields) == {"author", "body", "countersignature", "kind", "signature", "v"}, "an entry's fields"
    )
    expect(fields["v"] == 1 and type(fields["v"]) is int, "version 1")
    author, kind, body = fields["author"], fields["kind"], fields["body"]
    expect(isinstance(author, str) and isinstance(kind, str) and isinstance(body, dict), "an entry's types")
    expect(all(isinstance(body[name], str) for name in _TEXTS & set(body)), "texts in the body")
    if kind != "plan":
        more = _MORE.get((kind, body.get("key")), set())
        expect(kind in _BODIES and set(body) == _BODIES[kind] | more, "the fields of the kind")
    expect(body.get("company") != "platform", "no company called platform")
    expect(author == (body["company"] if kind in _OF_COMPANIES else "platform"), "the author of the kind")
    return Entry(author, kind, body, text)


def signed_entry(key: Ed25519PrivateKey, company: str, kind: str, body: Mapping[str, Any]) -> bytes:
    """A company's entry, ready for the platform's countersignature."""
    envelope = {"author": company, "body": dict(body), "kind": kind, "v": 1}
    envelope["signature"] = sign(key, "noren/v1/entry", canonical(envelope)).hex()
    return canonical(envelope)


def unhex(text: object, size: int) -> bytes:
    """The bytes that lower-case hex digits spell."""
    expect(isinstance(text, str) and re.fullmatch(rf"[0-9a-f]{{{2 * size}}}", text), "lower-case hex")
    return bytes.fromhex(str(text))
