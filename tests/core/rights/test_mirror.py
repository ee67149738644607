"""The committed record and the sealed copy: nobody can change one or read the other."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mirrored_scores import COMPANY, MAILBOX, NOW, MirroringCompany, answer, record

from noren_core.crypto.identity import SealingKey, SigningKey
from noren_core.errors import DataError, NorenError, VerificationError
from noren_core.rights.disclosure.mirror import (
    CommittedRecord,
    MirrorRecord,
    Reason,
    commit,
    commitment,
    sign_receipt,
    tree_size,
    verify_receipt,
)
from noren_core.rights.disclosure.mirror_copy import (
    COPY_BYTES,
    MAX_ACCESSES,
    PLAINTEXT_BYTES,
    Access,
    AccessCopy,
    Holding,
    ScoreCopy,
    open_copy,
    parse_evidence,
    seal_copy,
    verify_disclosure_key,
)


def _accesses(number: int) -> AccessCopy:
    access = Access(role="follow-up", action="view-score", at=NOW)
    return AccessCopy(
        company=COMPANY,
        campaign="spring-2026",
        position="engineer",
        mailbox=MAILBOX,
        accesses=(access,) * number,
        at=NOW,
    )


@given(
    size=st.sampled_from([1, 2, 8, 64]),
    bands=st.lists(st.integers(0, 2), max_size=64),
)
def test_every_record_leads_to_the_root_and_no_changed_one_does(size: int, bands: list[int]) -> None:
    """Whatever their number; another band, salt or place is COMMITMENT_MISMATCH."""
    records = [record(band=band) for band in bands[:size]]
    root, committed = commit(records, size=size, random_bytes=secrets.token_bytes)
    assert [item.record for item in committed] == records
    assert len({item.place for item in committed}) == len(committed)
    for item in committed:
        item.verify(root)
        altered = replace(item.record, band=(item.record.band + 1) % 3)
        for other in (replace(item, record=altered), replace(item, salt=bytes(32))):
            with pytest.raises(VerificationError) as caught:
                other.verify(root)
            assert caught.value.code == "COMMITMENT_MISMATCH"


def test_more_records_than_leaves_are_refused() -> None:
    """The tree has the plan's size and does not grow with the offers."""
    with pytest.raises(DataError):
        commit([record()] * 3, size=2, random_bytes=secrets.token_bytes)
    assert [tree_size(number) for number in (1, 2, 3, 64, 65)] == [1, 2, 4, 64, 128]


def test_an_unsalted_commitment_can_be_tried_out_and_ours_cannot() -> None:
    """Five bands: without a salt a digest gives the band away; with one, no try of any band fits."""
    edges = ("0.1", "0.2", "0.3", "0.4")
    secret = record(band=3, band_edges=edges)
    unsalted = hashlib.sha256(secret.to_bytes()).digest()
    salted = commitment(secret, secrets.token_bytes(32))
    tries = [replace(secret, band=band) for band in range(5)]
    assert [guess.band for guess in tries if hashlib.sha256(guess.to_bytes()).digest() == unsalted] == [3]
    assert not [guess for guess in tries if commitment(guess, bytes(32)) == salted]
    assert not [guess for guess in tries if hashlib.sha256(guess.to_bytes()).digest() == salted]


@pytest.mark.parametrize(
    "changes",
    [
        {"band": 3},
        {"band": -1},
        {"band": True},
        {"band_edges": ("0.4", "0.2")},
        {"band_edges": ("0.2", "1")},
        {"band_edges": ()},
        {"base_rate_percent": 31},
        {"reasons": ()},
        {"reasons": (Reason.LINEAR_HEAD, Reason.LINEAR_HEAD)},
        {"mailbox": bytes(15)},
        {"expires_at": NOW - 1},
        {"contest": "two words"},
        {"company": "Akane"},
    ],
)
def test_a_record_that_says_what_none_can_is_refused(changes: dict[str, object]) -> None:
    """Out of range, twice, or in another order."""
    with pytest.raises(DataError):
        record(**changes)


def test_a_record_survives_its_encoding_and_names_no_feature() -> None:
    """What is read is what was written; the reasons are the closed list, without any attribution."""
    [copy] = MirroringCompany().deposit(record())
    assert ScoreCopy.from_body(copy.to_body()) == copy
    assert CommittedRecord.from_body(copy.committed.to_body()) == copy.committed
    body = record().to_body()
    assert set(body["reasons"]) == {reason.value for reason in Reason}
    with pytest.raises(DataError):
        MirrorRecord.from_body({**body, "reasons": ["visited-rival-company"]})
    with pytest.raises(DataError):
        MirrorRecord.from_body({**body, "probability": "0.4"})


def test_nothing_shown_of_a_record_tells_the_band() -> None:
    """Neither its repr nor that of what holds it."""
    [copy] = MirroringCompany().deposit(record(band=2, base_rate_percent=85))
    for text in (repr(copy), repr(copy.committed), repr(record(band=2, base_rate_percent=85))):
        assert "band=" not in text
        assert "85" not in text
        assert MAILBOX.hex() not in text
        assert copy.committed.salt.hex() not in text


def test_every_copy_has_one_size() -> None:
    """A score under the longest path, an empty answer, a full one, and all or no accesses."""
    company = MirroringCompany()
    longest = record(
        contest="x" * 200,
        data_categories=tuple(f"{'c' * 39}{number}" for number in range(8)),
        band_edges=("0.123456789", "0.223456789", "0.323456789", "0.423456789"),
    )
    [score] = company.deposit(longest, size=1 << 15)
    full = answer(score, holdings=(Holding.SCORE, Holding.FOLLOW_UP_NOTE))
    for copy in (score, answer(), full, _accesses(0), _accesses(MAX_ACCESSES)):
        sealed = company.seal(copy)
        assert len(sealed) == COPY_BYTES
        assert company.open(sealed).copy == copy


def test_a_copy_opens_for_its_student_and_mailbox_only() -> None:
    """Another key, company, mailbox or one changed byte: refused."""
    company = MirroringCompany()
    sealed = company.seal(company.deposit(record())[0])
    right = {"company": COMPANY, "mailbox": MAILBOX}
    for key, place in (
        (SealingKey.generate(), right),
        (company.student, {**right, "company": "beni"}),
        (company.student, {**right, "mailbox": bytes(16)}),
    ):
        with pytest.raises(VerificationError):
            open_copy(
                sealed,
                key,
                **place,  # type: ignore[arg-type]
                company_keys=[company.signing.public_key],
                deposit_at=company.entries.__getitem__,
            )
    for changed in (sealed[:-1] + bytes([sealed[-1] ^ 1]), bytes(COPY_BYTES)):
        with pytest.raises(VerificationError):
            company.open(changed)
    with pytest.raises(DataError):
        company.open(sealed[:-1])


def test_a_company_that_alters_the_band_is_found_out() -> None:
    """In the deposited copy and in an answer to a request: COMMITMENT_MISMATCH, its own signature on it."""
    company = MirroringCompany()
    [honest] = company.deposit(record(band=2))
    altered = replace(honest, committed=replace(honest.committed, record=record(band=0)))
    elsewhere = replace(honest, deposit_index=company.deposit(record(band=2))[0].deposit_index)
    for copy in (altered, answer(altered), elsewhere, answer(elsewhere)):
        with pytest.raises(VerificationError) as caught:
            company.open(company.seal(copy))
        assert caught.value.code == "COMMITMENT_MISMATCH"


def test_another_students_committed_score_is_no_answer() -> None:
    """It is under the same root, and is about another mailbox or position than was asked about."""
    company = MirroringCompany()
    others = (record(band=0, mailbox=b"o" * 16), record(band=0, position="designer"))
    for score in company.deposit(record(band=2), *others)[1:]:
        with pytest.raises(VerificationError) as caught:
            company.open(company.seal(answer(score)))
        assert caught.value.code == "COMMITMENT_MISMATCH"


def test_what_another_signed_is_not_the_company_s() -> None:
    """Whoever knows the disclosure key can seal, but not say anything in the company's name."""
    company = MirroringCompany()
    forged = seal_copy(answer(), signing=SigningKey.generate(), disclosure_key=company.student.public_key)
    with pytest.raises(VerificationError):
        company.open(forged)


def test_evidence_is_an_answer_of_nothing_and_never_a_band() -> None:
    """The company's signed "none" convinces whoever has its key; an answer with a score is refused."""
    company = MirroringCompany()
    keys = [company.signing.public_key]
    opened = company.open(company.seal(answer()))
    assert parse_evidence(opened.evidence, company=COMPANY, company_keys=keys) == answer()
    [score] = company.deposit(record())
    for copy in (answer(score), score):
        evidence = company.open(company.seal(copy)).evidence
        with pytest.raises(DataError):
            parse_evidence(evidence, company=COMPANY, company_keys=keys)
    with pytest.raises(VerificationError):
        parse_evidence(opened.evidence + b" ", company=COMPANY, company_keys=keys)


def test_ciphertexts_say_nothing_about_bands_to_a_classifier() -> None:
    """Nearest class mean on byte values of copies of two bands and of none: at chance on fresh ones.

    200 fresh copies of three classes; guessing right on more than 96 of them happens to a guesser with
    probability below 10^-5 (binomial, p = 1/3).
    """
    company = MirroringCompany()

    def copies(number: int) -> tuple[np.ndarray, np.ndarray]:
        scores = company.deposit(record(band=0), record(band=2))
        kinds = [scores[0], scores[1], answer()]
        sealed = [company.seal(kinds[index % 3]) for index in range(number)]
        assert {len(item) for item in sealed} == {COPY_BYTES}
        features = np.array([np.frombuffer(item, np.uint8) for item in sealed], dtype=np.float64)
        return features, np.arange(number) % 3

    seen, labels = copies(300)
    means = np.array([seen[labels == kind].mean(axis=0) for kind in range(3)])
    fresh, truth = copies(200)
    guessed = ((fresh[:, None, :] - means[None]) ** 2).sum(axis=2).argmin(axis=1)
    assert (guessed == truth).sum() <= 96


def test_a_receipt_is_for_one_copy_in_one_mailbox() -> None:
    """The platform's signature says exactly that."""
    platform = SigningKey.generate()
    receipt = sign_receipt(platform, mailbox=MAILBOX, sealed_copy=b"copy")
    verify_receipt(platform.public_key, receipt, mailbox=MAILBOX, sealed_copy=b"copy")
    for mailbox, copy in ((bytes(16), b"copy"), (MAILBOX, b"another")):
        with pytest.raises(VerificationError):
            verify_receipt(platform.public_key, receipt, mailbox=mailbox, sealed_copy=copy)


def test_another_disclosure_key_has_its_own_code() -> None:
    """DISCLOSURE_KEY_MISMATCH."""
    verify_disclosure_key(bytes(32), bytes(32))
    with pytest.raises(NorenError) as caught:
        verify_disclosure_key(bytes(32), bytes(31) + b"\1")
    assert caught.value.code == "DISCLOSURE_KEY_MISMATCH"


def test_padding_that_is_not_zero_is_no_copy() -> None:
    """One content has one plaintext, so that padding carries nothing."""
    from noren_core.crypto.identity import seal_to
    from noren_core.rights.disclosure import mirror_copy

    company = MirroringCompany()
    plaintext = company.student.open(company.seal(answer()), info=mirror_copy._info(COMPANY, MAILBOX))
    assert len(plaintext) == PLAINTEXT_BYTES
    tampered = plaintext[:-1] + b"\1"
    sealed = seal_to(company.student.public_key, tampered, info=mirror_copy._info(COMPANY, MAILBOX))
    with pytest.raises(DataError):
        company.open(sealed)
