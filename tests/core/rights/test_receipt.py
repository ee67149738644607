"""Receipts: true ones verify with nothing but the service's key, and nothing in them can be changed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from consenting_students import ConsentingStudents

from noren_core import canonical_json
from noren_core.crypto.identity import SigningKey
from noren_core.crypto.merkle import MerkleTree
from noren_core.errors import DataError, NorenError, VerificationError
from noren_core.rights.consent.consent_event import ConsentEvent, SignedEvent, sign_event
from noren_core.rights.consent.consent_log import log_head, log_leaf
from noren_core.rights.consent.consent_record import ConsentRecord, ConsentState, advance, begin
from noren_core.rights.consent.receipt import ProvenEvent, Receipt, ReceiptTerms, sign_receipt, verify_receipt
from noren_core.rights.purposes import Purpose
from noren_core.rights.signed_statement import sign_statement

SCORE = Purpose.SCORE
TERMS = ReceiptTerms(
    language="en",
    controller="job-site, 1 Platform Street",
    recipient="Akane K.K., 2 Company Street",
    data_categories=("industry-views",),
    storage=("JP",),
    retention="P60D",
    jurisdiction="JP",
    withdrawal_method="https://noren.example/me/consents",
    withdrawal_effect="stop-and-erase",
)


def receipt_of(events: list[SignedEvent], *, record: ConsentRecord | None = None) -> Receipt:
    """A receipt of these events, in a log among others'; of the record that they come to."""
    others = 5
    leaves = [log_leaf(bytes(16), b"other %d" % number) for number in range(others)]
    salts = [bytes([number]) * 16 for number in range(len(events))]
    leaves += [log_leaf(s, e.to_bytes()) for s, e in zip(salts, events, strict=True)]
    tree = MerkleTree([*leaves, log_leaf(bytes(16), b"after")])
    proven = tuple(
        ProvenEvent(others + n, salts[n], event, tuple(tree.inclusion_proof(others + n)))
        for n, event in enumerate(events)
    )
    return Receipt(bytes(16), 5, TERMS, record or replayed(events), proven, tree.size, tree.root())


def replayed(events: list[SignedEvent]) -> ConsentRecord:
    own = [event.event for event in events if isinstance(event.event, ConsentEvent)]
    record = begin(own[0])
    for event in own:
        record = advance(record, event)
    return record


@pytest.fixture
def students() -> ConsentingStudents:
    return ConsentingStudents()


@pytest.fixture
def events(students: ConsentingStudents) -> list[SignedEvent]:
    student = students.student("s1")
    return [*student.gives(SCORE, "akane"), student.withdraws(SCORE, "akane")]


def test_a_receipt_verifies_offline(students: ConsentingStudents, events: list[SignedEvent]) -> None:
    """With the service's public key alone; its head is what the ledger holds."""
    receipt = receipt_of(events)
    data = sign_receipt(receipt, students.service_key)
    found = verify_receipt(data, service_key=students.public_key)
    assert found == receipt
    assert found.record.state is ConsentState.WITHDRAWN
    assert found.log_head == log_head(receipt.size, receipt.root)


def test_every_mandatory_field_is_there(students: ConsentingStudents, events: list[SignedEvent]) -> None:
    """What ISO/IEC TS 27560 makes mandatory, by our names for it."""
    body = canonical_json.parse_object(sign_receipt(receipt_of(events), students.service_key))["body"]
    assert {
        *("schema_version", "record_id", "receipt_id", "subject_id", "notice", "purpose", "recipient"),
        *("event_time", "event_state", "valid_until", "events"),
    } <= set(body)
    assert set(body["terms"]) == {
        *("language", "controller", "recipient", "data_categories", "storage", "retention"),
        *("jurisdiction", "withdrawal_method", "withdrawal_effect"),
    }
    assert set(body["notice"]) == {"policy", "screen", "clauses"}
    assert [item["event"]["body"]["event"] for item in body["events"]] == [
        *("KEY_REGISTERED", "SHOWN", "GIVEN", "WITHDRAWN")
    ]


def _change_screen(body: dict[str, Any]) -> None:
    body["notice"]["screen"] = "00" * 32


def _change_state(body: dict[str, Any]) -> None:
    body["event_state"] = "GIVEN"


def _leave_out_the_withdrawal(body: dict[str, Any]) -> None:
    body["events"].pop()
    body["event_state"] = "GIVEN"
    body["event_time"] = body["events"][-1]["event"]["body"]["time"]
    body["events"][-1]["event"]["body"]["purpose"] = body["purpose"] = "train.decline_model"


def _leave_out_the_key(body: dict[str, Any]) -> None:
    del body["events"][0]


def _change_an_event(body: dict[str, Any]) -> None:
    body["events"][2]["event"]["body"]["company"] = body["recipient"] = "beni"
    body["events"][1]["event"]["body"]["company"] = "beni"
    body["events"][3]["event"]["body"]["company"] = "beni"


def _change_a_salt(body: dict[str, Any]) -> None:
    body["events"][2]["salt"] = "ff" * 16


def _change_a_place(body: dict[str, Any]) -> None:
    body["events"][2]["seq"] += 1


def _change_the_order(body: dict[str, Any]) -> None:
    body["events"][1:3] = body["events"][2:0:-1]


def _change_a_proof(body: dict[str, Any]) -> None:
    body["events"][2]["proof"][0] = "00" * 32


def _change_the_root(body: dict[str, Any]) -> None:
    body["log"]["root"] = "00" * 32


def _change_the_size(body: dict[str, Any]) -> None:
    body["log"]["size"] += 8


def _change_the_subject(body: dict[str, Any]) -> None:
    body["subject_id"] = "s2"


def _change_the_expiry(body: dict[str, Any]) -> None:
    body["valid_until"] += 1


DAMAGES = (
    *(_change_screen, _change_state, _leave_out_the_withdrawal, _leave_out_the_key, _change_an_event),
    *(_change_a_salt, _change_a_place, _change_the_order, _change_a_proof, _change_the_root),
    *(_change_the_size, _change_the_subject, _change_the_expiry),
)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("signs_again", [False, True])
def test_nothing_in_a_receipt_can_be_changed(
    damage: Callable[[dict[str, Any]], None],
    signs_again: bool,
    students: ConsentingStudents,
    events: list[SignedEvent],
) -> None:
    """By others; nor by the service, which signs what it changed: events and proofs speak against it."""
    envelope = canonical_json.parse_object(sign_receipt(receipt_of(events), students.service_key))
    body = copy.deepcopy(envelope["body"])
    damage(body)
    assert body != envelope["body"]
    data = canonical_json.encode({**envelope, "body": body})
    if signs_again:
        data = sign_statement(b"noren/v1/consent-receipt", body, students.service_key).to_bytes()
    with pytest.raises(VerificationError if not signs_again else NorenError):
        verify_receipt(data, service_key=students.public_key)


def test_another_services_receipt_is_none(students: ConsentingStudents, events: list[SignedEvent]) -> None:
    """Nor is one with a consent that the service signed in the student's place."""
    receipt = receipt_of(events)
    with pytest.raises(VerificationError):
        verify_receipt(sign_receipt(receipt, SigningKey.generate()), service_key=students.public_key)
    forged = receipt_of([*events[:2], sign_event(events[2].event, students.service_key)])
    with pytest.raises(VerificationError) as refused:
        verify_receipt(sign_receipt(forged, students.service_key), service_key=students.public_key)
    assert refused.value.code == "CONSENT_NOT_BY_SUBJECT"


def test_a_key_speaks_for_its_own_student_only(
    students: ConsentingStudents, events: list[SignedEvent]
) -> None:
    """Another student's registered key under this one's consent makes no receipt."""
    other = students.student("s2").device
    by_other = sign_event(events[2].event, other.signing_key)
    mixed = receipt_of([other.registers(time=1), events[1], by_other])
    with pytest.raises(VerificationError, match="one student's"):
        verify_receipt(sign_receipt(mixed, students.service_key), service_key=students.public_key)


def test_a_receipt_shows_what_overruled_it(students: ConsentingStudents) -> None:
    """A refusal of a newer version of the policy, as the event that it is."""
    student = students.student("s1")
    first = student.gives(SCORE, "akane")
    student.shown(SCORE, "akane", policy="policy-2")
    refused = student.refuses(SCORE, "akane", policy="policy-2")
    receipt = receipt_of(first)
    overruled = replace(receipt.record, overruled=ConsentState.REFUSED)
    full = receipt_of([*first, refused], record=overruled)
    found = verify_receipt(sign_receipt(full, students.service_key), service_key=students.public_key)
    assert found.record.overruled is ConsentState.REFUSED
    hidden = replace(full, record=receipt.record)
    with pytest.raises(VerificationError):
        verify_receipt(sign_receipt(hidden, students.service_key), service_key=students.public_key)


def test_other_bytes_are_no_receipt() -> None:
    """Nor is a receipt beyond a megabyte read."""
    for data in (b"", b"{}", b"[]", b" " * ((1 << 20) + 1)):
        with pytest.raises(DataError):
            verify_receipt(data, service_key=bytes(32))
