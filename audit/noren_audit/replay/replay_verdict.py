"""What leaves a company's machine after a replay: one small object, signed by the auditor.

It says which campaign of which company in which ledger was computed again, whether all of it could be, and
what was found. It holds no row, no count of rows, no seed, and of a difference only what rounding explains.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from noren_audit.replay.replay import Agreement, ReplayCode, ReplayResult
from noren_core import canonical_json, ids
from noren_core.crypto.identity import SigningKey, verify_signature
from noren_core.errors import DataError, VerificationError
from noren_core.ledger.checkpoint import Checkpoint
from noren_core.season.plan import MAX_ROUNDS

FORMAT = "noren/v1/replay-verdict"
MAX_VERDICT_BYTES = 16 << 10
REPLAYED, IN_PART, NOT_REPLAYED = "REPLAYED", "REPLAYED IN PART", "NOT REPLAYED"

_LABEL = b"noren/v1/replay-verdict"
_FIELDS = {
    *("agreement", "auditor", "campaign", "company", "findings", "format", "largest_difference", "ledger"),
    *(
        "plan_sha256",
        "rounds_replayed",
        "rows_erased",
        "sentinels_ok",
        "signature",
        "tool_version",
        "verdict",
    ),
}
_HASH = re.compile(r"[0-9a-f]{64}\Z")
_PLAN_HASH = re.compile(r"(?:[0-9a-f]{64})?\Z")  # none, if the ledger has no such campaign
_SIGNATURE = re.compile(r"[0-9a-f]{128}\Z")
_MAX_DIFFERENCE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySubject:
    """What was replayed, and what the ledger says of it.

    Attributes:
        campaign, company: whose part of what.
        plan_sha256: of the campaign's plan, in hex; empty if the ledger has none.
        checkpoint: the ledger's.
        sentinels_ok: whether the campaign's sums at the sentinels pass. They are the whole cohort's, and an
            honest one's fail by chance once in a thousand campaigns: no finding against this company.
    """

    campaign: str
    company: str
    plan_sha256: str
    checkpoint: Checkpoint
    sentinels_ok: bool


def sign_verdict(
    subject: ReplaySubject, result: ReplayResult, key: SigningKey, *, tool_version: str
) -> bytes:
    """The signed verdict, in canonical JSON."""
    body = {
        "agreement": result.agreement.value,
        "auditor": key.public_key.hex(),
        "campaign": subject.campaign,
        "company": subject.company,
        "findings": sorted({finding.code.value for finding in result.findings}),
        "format": FORMAT,
        "largest_difference": result.largest_difference,
        "ledger": {
            "origin": subject.checkpoint.origin,
            "root": subject.checkpoint.root.hex(),
            "size": subject.checkpoint.size,
        },
        "plan_sha256": subject.plan_sha256,
        "rounds_replayed": result.rounds,
        "rows_erased": result.is_partial,
        "sentinels_ok": subject.sentinels_ok,
        "tool_version": tool_version,
        "verdict": verdict_word(has_findings=bool(result.findings), rows_erased=result.is_partial),
    }
    signature = key.sign(_LABEL, canonical_json.encode(body))
    return canonical_json.encode({**body, "signature": signature.hex()})


def verdict_word(*, has_findings: bool, rows_erased: bool) -> str:
    """The verdict in the words that every report uses."""
    if has_findings:
        return NOT_REPLAYED
    return IN_PART if rows_erased else REPLAYED


def parse_verdict(data: bytes, public_key: bytes) -> dict[str, Any]:
    """The fields of a verdict that this auditor signed.

    1. Bounded, canonical JSON with exactly these fields, each in its range.
    2. It says of itself that this auditor made it, and this auditor's key signed it.

    Raises:
        DataError: if it is no verdict.
        VerificationError: if it is another auditor's, or forged.
    """
    # 1
    if len(data) > MAX_VERDICT_BYTES:
        raise DataError(f"verdict: expected at most {MAX_VERDICT_BYTES} bytes, got more")
    fields = canonical_json.parse_object(data)
    if fields.keys() != _FIELDS or fields["format"] != FORMAT:
        raise DataError("verdict: expected exactly the fields of a replay verdict, got others")
    _validate(fields)
    # 2
    if fields["auditor"] != public_key.hex():
        raise VerificationError("verdict: expected one by the auditor whose key was given, got another's")
    body = {name: value for name, value in fields.items() if name != "signature"}
    verify_signature(public_key, _LABEL, canonical_json.encode(body), bytes.fromhex(fields["signature"]))
    return fields


def _validate(fields: dict[str, Any]) -> None:
    for name in ("campaign", "company"):
        ids.parse_name(fields[name], f"verdict.{name}")
    ledger = fields["ledger"]
    if not isinstance(ledger, dict) or ledger.keys() != {"origin", "root", "size"}:
        raise DataError("verdict.ledger: expected origin, root and size")
    texts = {"auditor": _HASH, "plan_sha256": _PLAN_HASH, "signature": _SIGNATURE}
    checks = {
        **{name: isinstance(fields[name], str) and form.match(fields[name]) for name, form in texts.items()},
        "ledger.root": isinstance(ledger["root"], str) and _HASH.match(ledger["root"]),
        "ledger.origin": isinstance(ledger["origin"], str),
        "ledger.size": _is_count(ledger["size"], canonical_json.MAX_INTEGER),
        "agreement": fields["agreement"] in tuple(Agreement),
        "rounds_replayed": _is_count(fields["rounds_replayed"], MAX_ROUNDS),
        "largest_difference": _is_count(fields["largest_difference"], _MAX_DIFFERENCE),
        "rows_erased": isinstance(fields["rows_erased"], bool),
        "sentinels_ok": isinstance(fields["sentinels_ok"], bool),
        "tool_version": isinstance(fields["tool_version"], str),
        "findings": _are_codes(fields["findings"]),
    }
    for name, holds in checks.items():
        if not holds:
            raise DataError(f"verdict.{name}: expected a value in range, got another")
    word = verdict_word(has_findings=bool(fields["findings"]), rows_erased=fields["rows_erased"])
    if fields["verdict"] != word:
        raise DataError("verdict.verdict: expected the word that follows from the findings, got another")


def _is_count(value: Any, most: int) -> bool:
    return type(value) is int and 0 <= value <= most


def _are_codes(value: Any) -> bool:
    known = {code.value for code in ReplayCode}
    return (
        isinstance(value, list)
        and all(isinstance(item, str) for item in value)
        and set(value) <= known
        and value == sorted(set(value))
    )
