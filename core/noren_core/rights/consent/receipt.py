"""Consent receipts: what a student keeps of one consent, and anybody can verify offline.

docs/rights/consent.md §6. The fields are those that ISO/IEC TS 27560:2023 makes mandatory, as canonical JSON.
Promises of `verify_receipt`: every event in it is signed by whom its kind demands, under the key that the
student had then, and stands in the consent log of the stated head; the state is what the events come to. That
the head is in the ledger is left to whoever has the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from noren_core import canonical_json
from noren_core.crypto import merkle
from noren_core.crypto.identity import SigningKey
from noren_core.errors import VerificationError
from noren_core.rights import fields
from noren_core.rights.consent.consent_event import (
    ConsentEvent,
    KeyRegistered,
    SignedEvent,
    parse_event,
    verify_event,
)
from noren_core.rights.consent.consent_log import SALT_BYTES, log_head, log_leaf
from noren_core.rights.consent.consent_record import ConsentRecord, advance, begin, overrule
from noren_core.rights.signed_statement import parse_statement, sign_statement

SCHEMA = "ISO/IEC TS 27560:2023, noren/1"
MAX_RECEIPT_BYTES = 1 << 20
MAX_EVENTS = 512

_LABEL = b"noren/v1/consent-receipt"
_WHAT = "receipt"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptTerms:
    """What a receipt states that is not in the events: from the policy and the company's notice.

    Attributes:
        language: of the notice that was shown, such as "ja".
        controller: the platform: its name and how to reach it, in one text.
        recipient: the company: its name and address, in one text.
        data_categories: which data are used.
        storage: where, as country codes.
        retention: how long, as an ISO 8601 duration.
        jurisdiction: whose law, as a country code.
        withdrawal_method: how she withdraws.
        withdrawal_effect: what becomes of what was computed before.
    """

    language: str
    controller: str
    recipient: str
    data_categories: tuple[str, ...]
    storage: tuple[str, ...]
    retention: str
    jurisdiction: str
    withdrawal_method: str
    withdrawal_effect: str

    def to_body(self) -> dict[str, Any]:
        """As it stands in a receipt."""
        body = {name: getattr(self, name) for name in _TERMS}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in body.items()}

    @classmethod
    def from_body(cls, body: object) -> Self:
        """The terms in a receipt; DataError for anything else."""
        return cls(**fields.read_fields(body, _TERMS, "receipt, terms"))


@dataclass(frozen=True, slots=True)
class ProvenEvent:
    """An event with what shows that it is in the log."""

    seq: int
    salt: bytes = field(repr=False)
    signed: SignedEvent
    proof: tuple[bytes, ...]

    def to_body(self) -> dict[str, Any]:
        """As it stands in a receipt."""
        return {
            "seq": self.seq,
            "salt": self.salt.hex(),
            "event": canonical_json.parse(self.signed.to_bytes()),
            "proof": [item.hex() for item in self.proof],
        }

    @classmethod
    def from_body(cls, body: object) -> Self:
        """The event in a receipt; DataError for anything else."""
        found = fields.read_fields(body, _EVENT, "receipt, events")
        signed = parse_event(canonical_json.encode(found["event"]))
        return cls(found["seq"], found["salt"], signed, found["proof"])


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a receipt says. That it is true, `verify_receipt` finds out.

    Attributes:
        receipt_id: 16 bytes.
        issued_at: Unix seconds.
        terms: what was agreed besides.
        record: the consent as its events left it.
        events: her key registrations, every event of the record, and one that overruled it, in order.
        size, root: the consent log that the proofs lead to.
    """

    receipt_id: bytes = field(repr=False)
    issued_at: int
    terms: ReceiptTerms
    record: ConsentRecord
    events: tuple[ProvenEvent, ...] = field(repr=False)
    size: int
    root: bytes

    @property
    def log_head(self) -> bytes:
        """What the ledger's entry `consent-log` of this head holds."""
        return log_head(self.size, self.root)


def sign_receipt(receipt: Receipt, key: SigningKey) -> bytes:
    """The receipt as the student gets it, signed by the consent service."""
    return sign_statement(_LABEL, _to_body(receipt), key).to_bytes()


def verify_receipt(data: bytes, *, service_key: bytes) -> Receipt:
    """The receipt in `data`, verified.

    1. Well-formed, bounded, signed by the consent service.
    2. Every event is in the consent log of the stated size and root, in the order of the log.
    3. Every event is signed by whom its kind demands, a student's under the key that was registered before.
    4. The events, one after the other, lead to the stated record, field by field.
    Left to the caller: that `log_head` stands in the ledger, and that the terms are those of the policy.

    Raises:
        DataError: if it is no receipt.
        VerificationError: if it is not true.
    """
    # 1
    statement = parse_statement(data, _WHAT, limit=MAX_RECEIPT_BYTES)
    statement.verify(_LABEL, service_key)
    body = fields.read_fields(statement.body, _RECEIPT, _WHAT)
    events = tuple(ProvenEvent.from_body(item) for item in body["events"])
    # 2
    _verify_places(events, body["log"]["size"], body["log"]["root"])
    # 3, 4
    record = _replayed(events, body["record_id"], service_key)
    receipt = Receipt(
        body["receipt_id"],
        body["issued_at"],
        body["terms"],
        record,
        events,
        body["log"]["size"],
        body["log"]["root"],
    )
    if _to_body(receipt) != statement.body:
        raise VerificationError("receipt: expected to say what its events come to, got another text")
    return receipt


def _verify_places(events: Sequence[ProvenEvent], size: int, root: bytes) -> None:
    last = -1
    for event in events:
        if event.seq <= last:
            raise VerificationError("receipt: expected events in the order of the log, got another order")
        last = event.seq
        leaf = log_leaf(event.salt, event.signed.to_bytes())
        merkle.verify_inclusion(leaf, event.seq, size, event.proof, root)


def _replayed(events: Sequence[ProvenEvent], record_id: bytes, service_key: bytes) -> ConsentRecord:
    """The record as its events leave it."""
    record: ConsentRecord | None = None
    student_key: bytes | None = None
    for item in events:
        event = item.signed.event
        verify_event(item.signed, student_key=student_key, service_key=service_key)
        if isinstance(event, KeyRegistered):
            student_key = event.public_key
        elif isinstance(event, ConsentEvent) and event.record == record_id:
            record = advance(record or begin(event), event)
        elif isinstance(event, ConsentEvent) and record is not None:
            record = overrule(record, event)
    if record is None:
        raise VerificationError("receipt: expected events of its record, got none")
    if {item.signed.event.student for item in events} != {record.key.student}:
        raise VerificationError("receipt: expected one student's events, got another's too")
    return record


def _to_body(receipt: Receipt) -> dict[str, Any]:
    """The body: what is mandatory, then the evidence for it."""
    record = receipt.record
    screen = record.answer.screen if record.answer is not None else record.shown
    key = record.key
    return {
        "schema_version": SCHEMA,
        "receipt_id": receipt.receipt_id.hex(),
        "record_id": record.record.hex(),
        "subject_id": key.student,
        "notice": {
            "policy": key.policy,
            "screen": screen.sha256 if screen is not None else "",
            "clauses": [clause.value for clause in screen.clauses] if screen is not None else [],
        },
        "purpose": key.purpose.value,
        "recipient": key.company,
        "position": key.position,
        "season": key.season,
        "terms": receipt.terms.to_body(),
        "event_state": (record.overruled or record.state).value,
        "event_time": record.last_time,
        "valid_until": record.answer.expires_at if record.answer is not None else 0,
        "issued_at": receipt.issued_at,
        "events": [event.to_body() for event in receipt.events],
        "log": {"size": receipt.size, "root": receipt.root.hex()},
    }


def _any(value: object) -> object:
    """A field that is compared with what the events say, after they are verified."""
    return value


def _log(value: object) -> Mapping[str, Any]:
    return fields.read_fields(value, _LOG, "log")


_LOG: dict[str, fields.Parse] = {
    "size": fields.integer_in(1, canonical_json.MAX_INTEGER),
    "root": fields.bytes_of(merkle.HASH_BYTES),
}
_TERMS: dict[str, fields.Parse] = {
    "language": fields.text,
    "controller": fields.text,
    "recipient": fields.text,
    "data_categories": fields.list_of(fields.text),
    "storage": fields.list_of(fields.text),
    "retention": fields.text,
    "jurisdiction": fields.text,
    "withdrawal_method": fields.text,
    "withdrawal_effect": fields.text,
}
_EVENT: dict[str, fields.Parse] = {
    "seq": fields.integer_in(0, canonical_json.MAX_INTEGER),
    "salt": fields.bytes_of(SALT_BYTES),
    "event": _any,
    "proof": fields.list_of(fields.bytes_of(merkle.HASH_BYTES), most=merkle.MAX_PROOF_HASHES),
}
_RECEIPT: dict[str, fields.Parse] = {
    "schema_version": fields.constant(SCHEMA),
    "receipt_id": fields.bytes_of(16),
    "record_id": fields.bytes_of(16),
    "issued_at": fields.seconds,
    "terms": ReceiptTerms.from_body,
    "events": fields.list_of(_any, most=MAX_EVENTS),
    "log": _log,
    **dict.fromkeys(
        (
            *("subject_id", "notice", "purpose", "recipient", "position", "season"),
            *("event_state", "event_time", "valid_until"),
        ),
        _any,
    ),
}
