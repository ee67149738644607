"""The book of policies and the way of a version into force."""

from __future__ import annotations

import copy
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from active_policy import YEAR, approve_by_two, notice_facts, put_in_force

from noren_core.crypto.identity import SigningKey
from noren_core.errors import DataError, LocalProtocolError, VerificationError
from noren_core.rights.consent.consent_event import ConsentKey
from noren_core.rights.consent.consent_validity import PolicyStanding, PolicyStatus
from noren_core.rights.locales import Locale
from noren_core.rights.notices.notice_texts import packaged_policy
from noren_core.rights.notices.policy import PolicyVersion
from noren_core.rights.notices.policy_approval import ApproverRole, StaffMember, approve
from noren_core.rights.purposes import Purpose
from noren_server.ledger_service import LedgerService
from noren_server.ledger_store import LedgerStore
from noren_server.policies import activation, consent_screen
from noren_server.policies.page_markup import read_page
from noren_server.policies.policy_book import PolicyBook
from noren_server.policies.screen_register import ScreenRegister

NOW = 1_800_000_000
DAY = 86_400
FIRST = packaged_policy(policy="first", season="2027", dpia="DPIA-1", grace_days=30)
SECOND = packaged_policy(policy="second", season="2027", dpia="DPIA-2", replaces="first", grace_days=30)
NOTICES = [notice_facts("acme", "engineer"), notice_facts("other", "sales")]


@dataclass(frozen=True, slots=True)
class Stores:
    book: PolicyBook
    register: ScreenRegister
    ledger: LedgerService
    directory: Path

    def policies_in_ledger(self) -> list[dict[str, Any]]:
        return [stored.entry.body for stored in self.ledger.store.entries(kind="policy")]


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    key, log_key = SigningKey.generate(), SigningKey.generate()
    with LedgerStore(tmp_path / "ledger.db", origin="jobs/ledger", log_key=log_key) as store:
        ledger = LedgerService(store, key)
        start = {
            "origin": "jobs/ledger",
            "platform_key": key.public_key.hex(),
            "log_key": store.log_key.to_text(),
        }
        ledger.append_platform_entry("log-start", start)
        book, register = PolicyBook.open(tmp_path), ScreenRegister.open(tmp_path)
        yield Stores(book, register, ledger, tmp_path)
        register.close()
        book.close()


def changed(version: PolicyVersion, **terms_of_score: Any) -> PolicyVersion:
    body = copy.deepcopy(version.to_body())
    [terms] = [item for item in body["terms"] if item["purpose"] == Purpose.SCORE]
    terms.update(terms_of_score)
    return PolicyVersion.from_body(body)


def code_of(action: Any) -> str:
    with pytest.raises((LocalProtocolError, DataError, VerificationError)) as refused:
        action()
    return refused.value.code


def prepare(stores: Stores, version: PolicyVersion = FIRST) -> None:
    """Everything up to and without approvals and screens."""
    stores.book.add(version, at=NOW)
    stores.book.set_notices(NOTICES, at=NOW)
    activation.review(stores.book, version.policy, at=NOW)


def activate(stores: Stores, policy: str = "first", at: int = NOW) -> None:
    activation.activate(stores.book, stores.register, stores.ledger, policy, at=at)


def test_a_policy_comes_into_force_and_the_ledger_says_so(stores: Stores) -> None:
    """Approved, shown, active: the entry has the digest of exactly this version."""
    put_in_force(stores.book, stores.register, stores.ledger, FIRST, notices=NOTICES, now=NOW)
    assert stores.book.active("2027", at=NOW) == FIRST
    assert stores.book.active("2028", at=NOW) is None
    assert stores.policies_in_ledger() == [
        {"policy": "first", "sha256": FIRST.digest().hex(), "activated_at": NOW}
    ]
    assert [step.status for step in stores.book.steps("first")] == ["DRAFT", "REVIEWED", "APPROVED", "ACTIVE"]


def test_one_approver_is_not_enough(stores: Stores) -> None:
    """The version stays REVIEWED, nothing is activated, nothing is in the ledger."""
    prepare(stores)
    activation.register_own_screens(stores.book, stores.register, FIRST, at=NOW)
    key = SigningKey.generate()
    stores.book.add_staff(StaffMember("p1", ApproverRole.LEGAL, key.public_key), at=NOW)
    approval = approve(FIRST, person="p1", role=ApproverRole.LEGAL, at=NOW, key=key)
    assert activation.take_approval(stores.book, approval, at=NOW) is PolicyStatus.REVIEWED
    assert activation.take_approval(stores.book, approval, at=NOW) is PolicyStatus.REVIEWED
    assert len(stores.book.approvals("first")) == 1
    assert code_of(lambda: activate(stores)) == "SECOND_APPROVER_REQUIRED"
    assert stores.policies_in_ledger() == []
    assert stores.book.status("first", at=NOW) is PolicyStatus.REVIEWED


def test_an_approver_who_was_removed_no_longer_counts(stores: Stores) -> None:
    """Two approved; one of them lost the role before the activation."""
    prepare(stores)
    activation.register_own_screens(stores.book, stores.register, FIRST, at=NOW)
    approve_by_two(stores.book, FIRST, now=NOW)
    assert stores.book.status("first", at=NOW) is PolicyStatus.APPROVED
    stores.book.remove_staff("staff-privacy", at=NOW)
    assert code_of(lambda: activate(stores)) == "SECOND_APPROVER_REQUIRED"


def test_a_draft_cannot_be_approved_or_activated(stores: Stores) -> None:
    """What nobody reviewed is not signed into force."""
    stores.book.add(FIRST, at=NOW)
    assert code_of(lambda: approve_by_two(stores.book, FIRST, now=NOW)) == "POLICY_STATE"
    assert code_of(lambda: activate(stores)) == "SECOND_APPROVER_REQUIRED"
    assert code_of(lambda: stores.book.advance("first", PolicyStatus.APPROVED, at=NOW)) == "POLICY_STATE"


def test_screens_must_be_verified_now(stores: Stores) -> None:
    """None, one language of one company missing, one stale: each keeps the policy out of force."""
    prepare(stores)
    approve_by_two(stores.book, FIRST, now=NOW)
    assert code_of(lambda: activate(stores)) == "SCREEN_UNVERIFIED"
    screens = list(activation.own_screens(stores.book, FIRST))
    for screen in screens[:-1]:
        reading = read_page(screen.html)
        expected = consent_screen.expected_screen(FIRST, screen.facts, screen.place.locale, screen.route)
        stores.register.observe(screen.place, reading, expected, at=NOW)
        stores.register.verify({reading.sha256}, at=NOW)
    assert code_of(lambda: activate(stores)) == "SCREEN_UNVERIFIED"
    activation.register_own_screens(stores.book, stores.register, FIRST, at=NOW)
    assert code_of(lambda: activate(stores, at=NOW + 2 * DAY)) == "SCREEN_STALE"
    activate(stores, at=NOW + 60)
    assert stores.book.status("first", at=NOW + 60) is PolicyStatus.ACTIVE


def test_without_a_notice_there_is_nothing_to_activate(stores: Stores) -> None:
    """A policy that no company's screen shows is not in force."""
    stores.book.add(FIRST, at=NOW)
    activation.review(stores.book, "first", at=NOW)
    approve_by_two(stores.book, FIRST, now=NOW)
    assert code_of(lambda: activate(stores)) == "SCREEN_UNVERIFIED"


def test_a_generic_purpose_is_not_reviewed(stores: Stores) -> None:
    """The sentence of the seed."""
    text = {"ja": "採用活動補助のため", "en": "for recruitment support"}
    stores.book.add(changed(FIRST, text=text), at=NOW)
    assert code_of(lambda: activation.review(stores.book, "first", at=NOW)) == "PURPOSE_TOO_GENERIC"
    assert stores.book.status("first", at=NOW) is PolicyStatus.DRAFT


def test_a_policy_that_contradicts_the_flows_is_not_reviewed(stores: Stores) -> None:
    """Not provided identifiably, says the policy; the software provides."""
    stores.book.add(changed(FIRST, identifiable_provision=False), at=NOW)
    assert code_of(lambda: activation.review(stores.book, "first", at=NOW)) == "POLICY_FLOW_CONTRADICTION"


def test_a_crash_between_ledger_and_book_leaves_one_entry(stores: Stores) -> None:
    """The ledger has it, the book does not: activating again completes it with the time of the entry."""
    prepare(stores)
    approve_by_two(stores.book, FIRST, now=NOW)
    activation.register_own_screens(stores.book, stores.register, FIRST, at=NOW)
    body = {"policy": "first", "sha256": FIRST.digest().hex(), "activated_at": NOW + 5}
    stores.ledger.append_platform_entry("policy", body)
    activate(stores, at=NOW + 100)
    assert stores.policies_in_ledger() == [body]
    assert stores.book.steps("first")[-1].at == NOW + 5


def test_the_version_before_has_its_days_of_grace(stores: Stores) -> None:
    """ACTIVE, then GRACE from the activation of the next on, then RETIRED; each can be told for the past."""
    put_in_force(stores.book, stores.register, stores.ledger, FIRST, notices=NOTICES, now=NOW)
    later = NOW + 10 * DAY
    put_in_force(stores.book, stores.register, stores.ledger, SECOND, notices=NOTICES, now=later)
    at = {time: stores.book.status("first", at=time) for time in (NOW, later - 1, later, later + 30 * DAY)}
    assert list(at.values()) == ["ACTIVE", "ACTIVE", "GRACE", "RETIRED"]
    assert stores.book.status("first", at=NOW - 1) is None
    assert stores.book.active("2027", at=later - 1) == FIRST
    assert stores.book.active("2027", at=later) == SECOND
    stores.book.advance("first", PolicyStatus.RETIRED, at=later + DAY)
    assert stores.book.status("first", at=later + DAY) is PolicyStatus.RETIRED


def test_consents_under_the_version_before_are_judged_by_purpose(stores: Stores) -> None:
    """A longer retention of scores ends consents to scoring, and leaves those to training."""
    put_in_force(stores.book, stores.register, stores.ledger, FIRST, notices=NOTICES, now=NOW)
    longer = replace(changed(SECOND, retention_days=90), policy="second")
    put_in_force(stores.book, stores.register, stores.ledger, longer, notices=NOTICES, now=NOW + DAY)
    facts = activation.PolicyFacts(stores.book, stores.register, now=NOW + DAY)
    first = facts.policy("first")
    assert first is not None
    assert first.status is PolicyStatus.GRACE
    assert Purpose.SCORE in first.changed_for
    assert not {Purpose.TRAIN, Purpose.LINK} & first.changed_for
    assert facts.policy("second") == PolicyStanding(PolicyStatus.ACTIVE)
    assert facts.policy("third") is None


def test_grace_without_a_version_in_force_permits_nothing(stores: Stores) -> None:
    """If the new version ends early, nothing says that the old one still describes what is done."""
    put_in_force(stores.book, stores.register, stores.ledger, FIRST, notices=NOTICES, now=NOW)
    put_in_force(stores.book, stores.register, stores.ledger, SECOND, notices=NOTICES, now=NOW + DAY)
    stores.book.advance("second", PolicyStatus.RETIRED, at=NOW + 2 * DAY)
    standing = activation.PolicyFacts(stores.book, stores.register, now=NOW + 2 * DAY).policy("first")
    assert standing == PolicyStanding(PolicyStatus.GRACE, frozenset(Purpose))


def test_a_screen_counts_for_its_own_notice_only(stores: Stores) -> None:
    """Text of another company, position, policy or purpose, and times outside of the window: none of it."""
    active = put_in_force(stores.book, stores.register, stores.ledger, FIRST, notices=NOTICES, now=NOW)
    facts = activation.PolicyFacts(stores.book, stores.register, now=NOW)
    key = ConsentKey("s1", Purpose.SCORE, "acme", "engineer", "2027", "first")
    for locale in Locale:
        shown = active.screen("acme", "engineer", Purpose.SCORE, locale)
        assert facts.clauses_shown(key, shown.sha256, NOW) == frozenset(shown.clauses)
        for other in (
            replace(key, company="other"),
            replace(key, position="sales"),
            replace(key, policy="second"),
            replace(key, purpose=Purpose.TRAIN),
        ):
            assert facts.clauses_shown(other, shown.sha256, NOW) is None
        assert facts.clauses_shown(key, shown.sha256, NOW - 1) is None
        assert facts.clauses_shown(key, shown.sha256, NOW + YEAR + 1) is None
    foreign = active.screen("other", "sales", Purpose.SCORE)
    assert facts.clauses_shown(key, foreign.sha256, NOW) is None
    assert facts.clauses_shown(key, "00" * 32, NOW) is None


def test_a_name_stands_for_one_version(stores: Stores) -> None:
    """The same again changes nothing; other words under the name are refused; so is an unknown
    predecessor."""
    stores.book.add(FIRST, at=NOW)
    stores.book.add(FIRST, at=NOW + 1)
    assert len(stores.book.steps("first")) == 1
    with pytest.raises(LocalProtocolError):
        stores.book.add(replace(FIRST, dpia="DPIA-9"), at=NOW)
    with pytest.raises(LocalProtocolError):
        stores.book.add(replace(SECOND, replaces="zero"), at=NOW)


def test_nothing_in_the_book_can_be_changed(stores: Stores) -> None:
    """Every table refuses updates, removals and replaced rows."""
    prepare(stores)
    approve_by_two(stores.book, FIRST, now=NOW)
    db = sqlite3.connect(stores.directory / "policies.db")
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    assert len(tables) == 5
    for table in tables:
        assert db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] > 0  # noqa: S608
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        for statement in (
            f"UPDATE {table} SET {columns[1]} = 'x'",  # noqa: S608
            f"DELETE FROM {table}",  # noqa: S608
            f"INSERT OR REPLACE INTO {table} SELECT * FROM {table} WHERE seq = 0",  # noqa: S608
        ):
            with pytest.raises(sqlite3.IntegrityError):
                db.execute(statement)
    db.close()


def test_changed_facts_make_screens_stale(stores: Stores) -> None:
    """Another address of the company is another text: its screens must be verified anew."""
    put_in_force(stores.book, stores.register, stores.ledger, FIRST, notices=NOTICES, now=NOW)
    values = {locale: {**NOTICES[0].values[locale], "company_address": "3-3 Kyoto"} for locale in Locale}
    moved = replace(NOTICES[0], values=values)
    stores.book.set_notices([moved], at=NOW + 1)
    assert stores.book.notice("acme", "engineer") == moved
    screen = next(activation.own_screens(stores.book, FIRST))
    expected = consent_screen.expected_screen(FIRST, screen.facts, screen.place.locale, screen.route)
    stores.register.observe(screen.place, read_page(screen.html), expected, at=NOW + 2)
    states = [item.state for item in stores.register.at_place(screen.place)]
    assert states == ["STALE", "DISCOVERED"]
