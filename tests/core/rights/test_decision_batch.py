"""A root that binds every decision and shows none, and what an auditor finds behind it."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noren_core import canonical_json
from noren_core.crypto import oprf
from noren_core.crypto.oprf import Blinding, Mode
from noren_core.errors import DataError, NorenError, VerificationError
from noren_core.ids import DUMMY_BYTES, DUMMY_LABEL, IdentifierKind, normalise_identifier
from noren_core.rights.gate import decision_batch
from noren_core.rights.gate.decision_batch import (
    Decision,
    OpenedDecision,
    SealedBatch,
    evaluation_sha256,
    seal_batch,
    verify_complete,
    verify_evaluation,
    verify_opened,
)

POSITION, SEASON = "clerk", "2027"
PASS, FAIL, HOLD = Decision.PASS, Decision.FAIL, Decision.HOLD


def applicant(number: int, position: str = POSITION) -> bytes:
    return normalise_identifier(IdentifierKind.EMAIL, f"student-{number}@example.org", position)


def dummy() -> bytes:
    return DUMMY_LABEL + secrets.token_bytes(DUMMY_BYTES)


DECIDED = {applicant(number): PASS if number < 3 else FAIL for number in range(7)}


def sealed(decisions: Mapping[bytes, Decision] = DECIDED, **changes: Any) -> SealedBatch:
    choices = {"position": POSITION, "season": SEASON, "padded_batch": 12, "minimum_batch": 5} | changes
    return seal_batch(decisions, **choices)


def code_of(caught: pytest.ExceptionInfo[NorenError]) -> str:
    return caught.value.code


# Sealing


def test_the_root_is_what_the_protocol_says() -> None:
    """Label, salt and canonical JSON; leaves sorted, padded with random ones, in the RFC's tree."""
    batch = sealed()
    leaves = list(batch.padding)
    for item in batch.openings:
        said = {
            "decision": item.decision.value,
            "identifier": item.identifier.hex(),
            "position": POSITION,
            "season": SEASON,
        }
        text = json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
        leaves.append(hashlib.sha256(b"noren/v1/decision-leaf\0" + item.salt + text).digest())
    level = [hashlib.sha256(b"\0" + leaf).digest() for leaf in sorted(leaves)]
    assert len(level) == 16
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=True)
        level = [hashlib.sha256(b"\1" + left + right).digest() for left, right in pairs]
    assert level == [batch.root]


@pytest.mark.parametrize(
    ("count", "padded", "leaves"), [(5, 1, 8), (5, 8, 8), (8, 8, 16), (9, 8, 16), (5, 4_097, 8_192)]
)
def test_the_number_of_leaves_is_public(count: int, padded: int, leaves: int) -> None:
    """The tree is the least power of two with room for the padded batch, and for every decision and one."""
    batch = sealed({applicant(number): PASS for number in range(count)}, padded_batch=padded)
    opened = batch.opened(applicant(0))
    assert opened.leaves == leaves == len(batch.openings) + len(batch.padding)


def test_the_same_decisions_have_unrelated_roots() -> None:
    """Without the salts nobody can test a guess of who was decided how."""
    one, other = sealed(), sealed()
    assert not {item.leaf for item in one.openings} & {item.leaf for item in other.openings}
    assert one.root != other.root


@pytest.mark.parametrize(
    ("decisions", "changes", "code"),
    [
        (DECIDED | {applicant(3): HOLD}, {}, "BATCH_HAS_UNRESOLVED"),
        (DECIDED, {"minimum_batch": 8}, "BATCH_TOO_SMALL"),
        ({}, {"minimum_batch": 1}, "BATCH_TOO_SMALL"),
        (DECIDED, {"padded_batch": decision_batch.MAX_LEAVES + 1}, "MORE_THAN_DECLARED"),
        (DECIDED | {applicant(9, "engineer"): FAIL}, {}, "BAD_DATA"),
        (DECIDED | {b"email\0clerk": FAIL}, {}, "BAD_DATA"),
        (DECIDED | {dummy(): PASS}, {}, "BAD_DATA"),
        (DECIDED, {"position": "Clerk"}, "BAD_DATA"),
        (DECIDED, {"season": ""}, "BAD_DATA"),
    ],
)
def test_what_is_no_whole_decision_is_not_sealed(
    decisions: Mapping[bytes, Decision], changes: dict[str, Any], code: str
) -> None:
    """A hold, too few decisions, too many leaves, another position: nothing is sealed, nobody is named."""
    with pytest.raises(DataError) as caught:
        sealed(decisions, **changes)
    assert code_of(caught) == code
    assert "student" not in caught.value.message


def test_nobody_is_left_out_and_nobody_is_decided_twice() -> None:
    """The batches of a position together are its applicants; a second decision about somebody is refused."""
    first = sealed({key: DECIDED[key] for key in list(DECIDED)[:5]})
    late = sealed({applicant(number): FAIL for number in range(5, 12)})
    everybody = [applicant(number) for number in range(12)]
    verify_complete([first, late], everybody)
    verify_complete([first], everybody[:5])
    again = sealed({applicant(number): PASS for number in range(4, 9)})
    for batches, applicants, code in (
        ([first], everybody, "BATCH_INCOMPLETE"),  # failures were left out
        ([first, late], everybody[:11], "BATCH_INCOMPLETE"),  # decided about somebody who did not apply
        ([first, again], everybody, "DECISION_IMMUTABLE"),
        ([first, first], everybody[:5], "DECISION_IMMUTABLE"),
    ):
        with pytest.raises(DataError) as caught:
            verify_complete(batches, applicants)
        assert code_of(caught) == code


# Opening


@settings(max_examples=30)
@given(st.integers(min_value=0, max_value=6))
def test_one_decision_is_opened_alone(number: int) -> None:
    """A path leads from the leaf to the root; no other decision, person, position or season has it."""
    batch = sealed()
    opened = batch.opened(applicant(number))
    verify_opened(opened, batch.root)
    other = FAIL if opened.opening.decision is PASS else PASS
    forged = [
        replace(opened, opening=replace(opened.opening, decision=other)),
        replace(opened, opening=replace(opened.opening, identifier=applicant(8))),
        replace(opened, opening=replace(opened.opening, position="engineer")),
        replace(
            opened,
            opening=replace(opened.opening, position="engineer", identifier=applicant(number, "engineer")),
        ),
        replace(opened, opening=replace(opened.opening, season="2026")),
        replace(opened, opening=replace(opened.opening, salt=bytes(32))),
        replace(opened, index=opened.index ^ 1),
        replace(opened, leaves=opened.leaves * 2),
        replace(opened, path=opened.path[:-1]),
        replace(opened, path=(bytes(32), *opened.path[1:])),
    ]
    for wrong in forged:
        with pytest.raises(VerificationError):
            verify_opened(wrong, batch.root)
    with pytest.raises(VerificationError):
        verify_opened(opened, sealed().root)


def test_padding_opens_to_nothing() -> None:
    """Somebody who was not decided about has no leaf, whatever she is claimed to be."""
    batch = sealed()
    with pytest.raises(DataError) as caught:
        batch.opened(applicant(8))
    assert code_of(caught) == "APPLICANT_NOT_OFFERED"
    assert batch.decision(applicant(8)) is None
    assert (batch.decision(applicant(0)), batch.decision(applicant(3))) == (PASS, FAIL)
    assert batch.passed == {applicant(number) for number in range(3)}


def test_a_batch_does_not_show_itself() -> None:
    """Neither a batch nor a decision is in a repr."""
    batch = sealed()
    shown = repr((batch, batch.openings[0], batch.opened(applicant(0)))) + str([batch])
    assert "student" not in shown
    assert applicant(0).hex() not in shown
    assert batch.openings[0].salt.hex() not in shown


# Bytes


def test_a_batch_is_read_as_it_was_written() -> None:
    """With everything that opens it."""
    batch = sealed()
    read = SealedBatch.from_bytes(batch.to_bytes())
    assert (read, read.root) == (batch, batch.root)


def changed(batch: SealedBatch, **fields: Any) -> bytes:
    return canonical_json.encode({**canonical_json.parse_object(batch.to_bytes()), **fields})


def test_other_bytes_are_no_batch() -> None:
    """Another format, a hold, somebody twice, an identifier of another position, an odd number of leaves."""
    batch = sealed()
    body = canonical_json.parse_object(batch.to_bytes())
    first, *others = body["openings"]
    wrong = [
        changed(batch, format="noren/v2/decision-batch"),
        changed(batch, more=1),
        changed(batch, position="engineer"),
        changed(batch, season="S"),
        changed(batch, padding=body["padding"][1:]),
        changed(batch, padding=[*body["padding"][1:], "ab"]),
        changed(batch, padding={}),
        changed(batch, openings=[{**first, "decision": "hold"}, *others]),
        changed(batch, openings=[{**first, "salt": first["salt"].upper()}, *others]),
        changed(batch, openings=[{**first, "identifier": "00"}, *others]),
        changed(batch, openings=[{**first, "remark": ""}, *others]),
        changed(batch, openings=[others[0], *others]),
        changed(batch, openings=[*others, first]),
        changed(batch, openings=[], padding=[]),
        batch.to_bytes() + b" ",
        b"{}",
        b"[]",
    ]
    for data in wrong:
        with pytest.raises(DataError):
            SealedBatch.from_bytes(data)


def test_a_batch_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """More bytes than a batch can have are refused unread."""
    data = sealed().to_bytes()
    monkeypatch.setattr(decision_batch, "MAX_BATCH_BYTES", len(data) - 1)
    with pytest.raises(DataError):
        SealedBatch.from_bytes(data)


# What was evaluated


def blinded(*inputs: bytes, mode: Mode = Mode.VOPRF) -> Blinding:
    return oprf.blind(inputs, mode=mode)


def checked(batch: SealedBatch, blinding: Blinding, committed: Blinding | None = None) -> None:
    digest = evaluation_sha256((committed or blinding).blinded_elements)
    verify_evaluation(blinding.to_bytes(), batch, evaluation=digest)


def test_offers_and_dummies_may_be_evaluated() -> None:
    """All offers or some, and dummies; also dummies alone."""
    batch = sealed()
    checked(batch, blinded(*sorted(batch.passed), dummy(), dummy()))
    checked(batch, blinded(applicant(0), dummy()))
    checked(batch, blinded(dummy()))


def test_the_hash_is_of_the_elements_in_order() -> None:
    """As the platform computes it over what it is sent."""
    elements = blinded(dummy(), dummy()).blinded_elements
    assert evaluation_sha256(elements) == hashlib.sha256(b"".join(elements)).digest()
    assert evaluation_sha256(elements[::-1]) != evaluation_sha256(elements)


@pytest.mark.parametrize(
    "inputs",
    [
        (applicant(3), dummy()),  # a failure
        (applicant(8), dummy()),  # nobody of this batch
        (applicant(0, "engineer"), dummy()),  # an offer, looked up for another position
        (DUMMY_LABEL + bytes(DUMMY_BYTES - 1),),  # a dummy of another length could be anything
        (applicant(0), applicant(0)),
    ],
)
def test_anything_else_is_found(inputs: tuple[bytes, ...]) -> None:
    """A failure, a stranger, another position, a false dummy, an offer twice."""
    with pytest.raises(VerificationError) as caught:
        checked(sealed(), blinded(*inputs))
    assert code_of(caught) == "EVALUATION_NOT_OFFERED"


def test_blinds_are_of_the_very_elements() -> None:
    """A failure that was evaluated is not opened as a dummy, whatever blind is shown for it."""
    batch = sealed()
    evaluated = blinded(applicant(3), dummy())
    shown = Blinding(evaluated.mode, (dummy(), evaluated.inputs[1]), evaluated.blinds, ())
    with pytest.raises(VerificationError) as caught:
        verify_evaluation(shown.to_bytes(), batch, evaluation=evaluation_sha256(evaluated.blinded_elements))
    assert code_of(caught) == "NOT_VERIFIED"
    for other in (blinded(applicant(0), dummy()), blinded(applicant(0), mode=Mode.OPRF)):
        with pytest.raises(VerificationError):
            checked(batch, other, committed=evaluated)
    with pytest.raises(VerificationError):
        checked(batch, blinded(applicant(0), mode=Mode.OPRF))
    with pytest.raises(DataError):
        verify_evaluation(b"", batch, evaluation=bytes(32))


def test_an_opened_decision_is_small() -> None:
    """It needs the path alone: what is shown about one applicant says nothing about another."""
    opened = sealed(padded_batch=1_000).opened(applicant(0))
    assert isinstance(opened, OpenedDecision)
    assert len(opened.path) == 10
