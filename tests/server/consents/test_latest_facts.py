"""Consents under the platform's real policies, screens, ledger and service states."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from active_policy import ActivePolicy, activate_policy, notice_facts
from consenting_students import NOW, ConsentingStudents

from noren_core.crypto.identity import SigningKey
from noren_core.ledger.entries import EntryKind, parse_entry, sign_entry
from noren_core.rights.consent.consent_event import ConsentKey, SignedEvent
from noren_core.rights.consent.consent_validity import ConsentRefusal
from noren_core.rights.consent.receipt import verify_receipt
from noren_core.rights.purposes import Purpose
from noren_server import platform_files
from noren_server.consents.consent_service import ConsentService
from noren_server.consents.latest_facts import LatestFacts
from noren_server.consents.opening import consent_service, receipt_terms
from noren_server.platform_files import Platform

SCORE = Purpose.SCORE
KEY = ConsentKey("s1", SCORE, "akane", "engineer", "2027", "policy-2027")


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    platform = platform_files.initialise(
        tmp_path / "platform", name="job-site", host="127.0.0.1", ports=(0, 0, 0, 0)
    )
    yield platform
    platform.store.close()
    platform.ledger_store.close()


@pytest.fixture
def policy(platform: Platform) -> Iterator[ActivePolicy]:
    notices = [notice_facts("akane", "engineer"), notice_facts("beni", "engineer")]
    policy = activate_policy(platform, season="2027", notices=notices, now=NOW)
    yield policy
    policy.close()


@pytest.fixture
def service(platform: Platform) -> Iterator[ConsentService]:
    with consent_service(platform) as service:
        yield service


def agree(platform: Platform, company: str) -> SigningKey:
    """A company with keys and an agreement in the ledger."""
    key = SigningKey.generate()
    bodies = {
        EntryKind.ENROLMENT: {
            "company": company,
            "signing_key": key.public_key.hex(),
            "sealing_key": "11" * 32,
            "tls_key_sha256": "22" * 32,
            "node_key_sha256": "33" * 32,
        },
        EntryKind.AGREEMENT: {"company": company, "agreement_sha256": "44" * 32, "declared_size": 10},
    }
    for kind, body in bodies.items():
        platform.ledger.append_company_entry(parse_entry(sign_entry(kind, company, body, key)))
    return key


def given(students: ConsentingStudents, policy: ActivePolicy, company: str = "akane") -> list[SignedEvent]:
    screen = policy.screen(company, "engineer", SCORE)
    return students.student("s1").gives(
        SCORE, "akane", policy=policy.policy, screen=screen.sha256, clauses=screen.clauses
    )


def test_a_consent_counts_with_policy_screen_and_agreement(
    platform: Platform, policy: ActivePolicy, service: ConsentService
) -> None:
    """Without an agreement, or after the company's end, it does not."""
    students = ConsentingStudents(platform.consent_key, now=NOW)
    service.book.record_all(given(students, policy), now=students.now)
    now = students.now
    assert service.book.check(KEY, now=now) is ConsentRefusal.AGREEMENT_INACTIVE
    agree(platform, "akane")
    assert service.book.check(KEY, now=now) is ConsentRefusal.AGREEMENT_INACTIVE  # in the same second
    assert service.book.check(KEY, now=now + 1) is None
    assert service.book.check(KEY, now=students.now - 10**9) is ConsentRefusal.SUPERSEDED  # not in force then
    platform.ledger.append_platform_entry(EntryKind.REVOCATION, {"company": "akane", "reason": "LEFT"})
    assert service.book.check(KEY, now=now + 2) is ConsentRefusal.AGREEMENT_INACTIVE


def test_another_companys_screen_is_no_evidence(
    platform: Platform, policy: ActivePolicy, service: ConsentService
) -> None:
    """It names that company and not this one."""
    agree(platform, "akane")
    students = ConsentingStudents(platform.consent_key, now=NOW)
    service.book.record_all(given(students, policy, company="beni"), now=students.now)
    assert service.book.check(KEY, now=students.now) is ConsentRefusal.SCREEN_UNVERIFIED


def test_a_suspension_stops_consents_within_a_second(
    platform: Platform, policy: ActivePolicy, service: ConsentService
) -> None:
    """Of the suspended company; they count again when it runs again."""
    agree(platform, "akane")
    stopped: set[str] = set()
    facts = LatestFacts(
        policy.book, policy.register, platform.ledger_store, lambda company: company not in stopped
    )
    students = ConsentingStudents(platform.consent_key, now=NOW)
    with consent_service(platform, facts.at) as mine:
        mine.book.record_all(given(students, policy), now=students.now)
        now = students.now
        assert mine.book.check(KEY, now=now) is None
        stopped.add("akane")
        assert mine.book.check(KEY, now=now + 1) is ConsentRefusal.SERVICE_SUSPENDED
        stopped.clear()
        assert mine.book.check(KEY, now=now + 2) is None


def test_a_receipt_states_the_policy_in_the_language_that_she_read(
    platform: Platform, policy: ActivePolicy, service: ConsentService
) -> None:
    """Names, data, retention and how to withdraw, of the notice that was shown."""
    students = ConsentingStudents(platform.consent_key, now=NOW)
    service.book.record_all(given(students, policy), now=students.now)
    with receipt_terms(platform) as terms:
        [data] = service.receipts("s1", terms, now=students.now)
    stated = verify_receipt(data, service_key=platform.consent_key.public_key).terms
    assert stated.language == "ja"
    assert "株式会社akane" in stated.recipient
    assert "就活サイト" in stated.controller
    assert (stated.jurisdiction, stated.withdrawal_method) == ("日本", "設定 → 同意")
    of_policy = policy.version.terms[SCORE]
    assert stated.retention == f"P{of_policy.retention_days}D"
    assert set(stated.data_categories) == {item.category.value for item in of_policy.data}
