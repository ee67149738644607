"""Answers without asking anybody: one size and number, whether something is held or not."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gated_company import CAMPAIGN, COMPANY, POSITION, GatedCompany, key_of, make_company

from noren_client import keystore
from noren_client.gate import followup_actions
from noren_client.rights import disclosure_answers
from noren_client.rights.custody import CustodyStore
from noren_client.rights.disclosure_answers import DisclosureAnswers
from noren_client.rights.link_offers import link_offer_url
from noren_core.crypto.identity import SealingKey
from noren_core.errors import (
    ConfigurationError,
    DataError,
    LocalProtocolError,
    RemoteProtocolError,
    VerificationError,
)
from noren_core.ledger.entries import parse_entry
from noren_core.rights.consent.link_offer import SignedLinkOffer
from noren_core.rights.disclosure.mirror_copy import (
    COPY_BYTES,
    AccessCopy,
    AnswerCopy,
    Copy,
    Holding,
    ScoreCopy,
    open_copy,
)
from noren_core.rights.disclosure.requests import InboxItem, KeyChange, seal_item
from noren_core.rights.gate.followup import FollowUpKind
from noren_core.rights.gate.roles import Action
from noren_core.wire.refusal import Refusal

DAY = 86_400


class Inbox:
    """The platform of a test, with an inbox."""

    def __init__(self, company: GatedCompany) -> None:
        self._company = company
        self.items: list[InboxItem] = []

    def fetch_inbox(self, campaign: str) -> tuple[bytes, ...]:
        assert campaign == CAMPAIGN
        key = keystore.load(self._company.directory).sealing.public_key
        items = [*self.items, *[None] * (16 - len(self.items))]
        return tuple(seal_item(item, company=COMPANY, sealing_key=key) for item in items)

    def deposit_copy(self, campaign: str, mailbox: bytes, sealed_copy: bytes) -> bytes:
        return self._company.platform.deposit_copy(campaign, mailbox, sealed_copy)


@pytest.fixture
def company(tmp_path: Path, plan_body: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> GatedCompany:
    """Two heads; one applicant with a score, one without consent."""
    body = plan_body | {"scoring": plan_body["scoring"] | {"heads": 2}}
    made = make_company(tmp_path / "company", body, monkeypatch)
    made.apply("a-1,offer", "b-2,offer", "c-3,no-offer")
    made.consent("a-1")
    made.seal()
    made.score()
    assert made.scored() == [key_of("a-1")]
    return made


@pytest.fixture
def inbox(company: GatedCompany) -> Inbox:
    return Inbox(company)


@pytest.fixture
def answers(company: GatedCompany, inbox: Inbox) -> Iterator[DisclosureAnswers]:
    with CustodyStore(company.directory) as custody:
        yield DisclosureAnswers(company.directory, company.plan, transport=inbox, custody=custody)


def asks(mailbox: bytes, key: SealingKey, **changes: Any) -> InboxItem:
    fields: dict[str, Any] = {
        "request": secrets.token_bytes(16),
        "campaign": CAMPAIGN,
        "position": POSITION,
        "mailbox": mailbox,
        "disclosure_key": key.public_key,
        "change": None,
        "due_at": 1_900_000_000,
    }
    return InboxItem(**{**fields, **changes})


def opened(company: GatedCompany, mailbox: bytes, key: SealingKey) -> list[Copy]:
    """Every copy in a mailbox that this key opens."""
    keys = [keystore.load(company.directory).signing.public_key]
    found = []
    for place, sealed in company.platform.copies:
        assert len(sealed) == COPY_BYTES
        if place == mailbox:
            found.append(
                open_copy(
                    sealed,
                    key,
                    company=COMPANY,
                    mailbox=mailbox,
                    company_keys=keys,
                    deposit_at=lambda index: parse_entry(company.platform.entries[index]),
                ).copy
            )
    return found


def test_who_has_a_score_and_who_has_none_are_answered_alike(
    company: GatedCompany, inbox: Inbox, answers: DisclosureAnswers
) -> None:
    """As many copies of one size as the plan has heads; the score is the one that was deposited."""
    aiko = company.platform.students[key_of("a-1")]
    [deposited] = opened(company, aiko.mailbox, aiko.disclosure)
    assert isinstance(deposited, ScoreCopy)
    nobody, box = SealingKey.generate(), secrets.token_bytes(16)
    inbox.items = [asks(aiko.mailbox, aiko.disclosure), asks(box, nobody)]
    company.platform.copies.clear()
    answers.answer(now=company.clock.now)
    hers = opened(company, aiko.mailbox, aiko.disclosure)
    none = opened(company, box, nobody)
    assert len(hers) == len(none) == company.plan.scoring.heads == 2
    assert [copy.score for copy in hers if isinstance(copy, AnswerCopy)] == [deposited, None]
    assert [copy.holdings for copy in none if isinstance(copy, AnswerCopy)] == [(), ()]
    for copies, item in ((hers, inbox.items[0]), (none, inbox.items[1])):
        assert {copy.request for copy in copies if isinstance(copy, AnswerCopy)} == {item.request}
        assert [copy.part for copy in copies if isinstance(copy, AnswerCopy)] == [1, 2]


def test_an_item_is_answered_once(company: GatedCompany, inbox: Inbox, answers: DisclosureAnswers) -> None:
    """Also by another process; once it is over it is forgotten."""
    nobody, box = SealingKey.generate(), secrets.token_bytes(16)
    inbox.items = [asks(box, nobody)]
    for _ in range(2):
        answers.answer(now=company.clock.now)
        with CustodyStore(company.directory) as custody:
            again = DisclosureAnswers(company.directory, company.plan, transport=inbox, custody=custody)
            again.answer(now=company.clock.now)
    assert len(opened(company, box, nobody)) == 2
    inbox.items = []
    answers.answer(now=1_900_000_001)
    told = answers._told(1_900_000_001)
    assert told.answered == {}


def test_a_substituted_key_gets_nothing(
    company: GatedCompany, inbox: Inbox, answers: DisclosureAnswers
) -> None:
    """The answer goes to the key from her row; then DISCLOSURE_KEY_MISMATCH, with everybody answered."""
    aiko = company.platform.students[key_of("a-1")]
    curious, nobody, box = SealingKey.generate(), SealingKey.generate(), secrets.token_bytes(16)
    inbox.items = [asks(aiko.mailbox, curious), asks(box, nobody)]
    company.platform.copies.clear()
    with pytest.raises(VerificationError) as caught:
        answers.answer(now=company.clock.now)
    assert caught.value.code == "DISCLOSURE_KEY_MISMATCH"
    assert len(opened(company, aiko.mailbox, aiko.disclosure)) == 2
    assert len(opened(company, box, nobody)) == 2
    with pytest.raises(VerificationError):
        opened(company, aiko.mailbox, curious)


def test_a_changed_key_is_sealed_to_and_the_platform_s_word_is_kept(
    company: GatedCompany, inbox: Inbox, answers: DisclosureAnswers
) -> None:
    """She lost the first one; the signed change stays as evidence, also when the request is over."""
    aiko, new = company.platform.students[key_of("a-1")], SealingKey.generate()
    change = KeyChange.sign(
        company.platform.platform_key,
        mailbox=aiko.mailbox,
        replaced=aiko.disclosure.public_key,
        disclosure_key=new.public_key,
        at=company.clock.now,
    )
    inbox.items = [asks(aiko.mailbox, new, change=change)]
    company.platform.copies.clear()
    answers.answer(now=company.clock.now)
    copies = opened(company, aiko.mailbox, new)
    assert [isinstance(copy, AnswerCopy) and copy.score is not None for copy in copies] == [True, False]
    assert answers._told(1_950_000_000).changes == tuple(inbox.items)


def test_accesses_are_told_daily_whether_there_were_any_or_not(
    company: GatedCompany, inbox: Inbox, answers: DisclosureAnswers
) -> None:
    """By role and never by name; a day without a look is told in a copy like any other."""
    aiko = company.platform.students[key_of("a-1")]
    company.platform.copies.clear()
    answers.tell_accesses(now=company.clock.now)
    company.clock.now += 60
    company.show("a-1")
    request = company.request("a-1", action=Action.PLAN_FOLLOW_UP)
    followup_actions.plan_action(company.directory, request, FollowUpKind.MENTOR_CONTACT, clock=company.clock)
    answers.tell_accesses(now=company.clock.now + 60)
    assert len(company.platform.copies) == 1
    company.clock.now += DAY
    answers.tell_accesses(now=company.clock.now)
    answers.tell_accesses(now=company.clock.now)
    first, second = opened(company, aiko.mailbox, aiko.disclosure)
    assert isinstance(first, AccessCopy)
    assert isinstance(second, AccessCopy)
    assert first.accesses == ()
    actions = {access.action for access in second.accesses}
    assert {Action.VIEW_SCORE.value, Action.PLAN_FOLLOW_UP.value, "mentor_contact-planned"} <= actions
    assert {access.role for access in second.accesses} == {"follow-up"}
    inbox.items = [asks(aiko.mailbox, aiko.disclosure)]
    answers.answer(now=company.clock.now)
    answer = opened(company, aiko.mailbox, aiko.disclosure)[2]
    assert isinstance(answer, AnswerCopy)
    assert answer.holdings == (Holding.SCORE, Holding.FOLLOW_UP_NOTE)


def test_more_questions_than_an_inbox_shows_are_all_answered(
    company: GatedCompany, inbox: Inbox, answers: DisclosureAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixteen at a time until none is new: an erasure waits for all of them."""
    company.platform.copies.clear()
    asked = [asks(secrets.token_bytes(16), SealingKey.generate()) for _ in range(40)]
    served: list[InboxItem] = []

    def least_served(campaign: str) -> tuple[bytes, ...]:
        inbox.items = sorted(asked, key=served.count)[:16]
        served.extend(inbox.items)
        return Inbox.fetch_inbox(inbox, campaign)

    monkeypatch.setattr(inbox, "fetch_inbox", least_served)
    assert answers.answer(now=company.clock.now)
    assert {mailbox for mailbox, _ in company.platform.copies} == {item.mailbox for item in asked}
    assert len(company.platform.copies) == 2 * 40
    monkeypatch.setattr(disclosure_answers, "_MAX_PAGES", 1)
    asked.extend(asks(secrets.token_bytes(16), SealingKey.generate()) for _ in range(40))
    assert not answers.answer(now=company.clock.now)


def test_what_was_told_stays_readable_however_much_is_asked(
    company: GatedCompany, inbox: Inbox, answers: DisclosureAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One signed change is kept once; more than fits is refused before it is answered; nothing is lost."""
    aiko, new = company.platform.students[key_of("a-1")], SealingKey.generate()
    change = KeyChange.sign(
        company.platform.platform_key,
        mailbox=aiko.mailbox,
        replaced=aiko.disclosure.public_key,
        disclosure_key=new.public_key,
        at=company.clock.now,
    )
    for _ in range(20):
        inbox.items = [asks(aiko.mailbox, new, change=change) for _ in range(16)]
        answers.answer(now=company.clock.now)
    assert len(answers._told(company.clock.now).changes) == 1
    monkeypatch.setattr(disclosure_answers, "_MAX_ANSWERED", 321)
    inbox.items = [asks(aiko.mailbox, new, change=change) for _ in range(2)]
    with pytest.raises(LocalProtocolError) as caught:
        answers.answer(now=company.clock.now)
    assert caught.value.code == "TOO_MANY_REQUESTS"
    assert len(answers._told(company.clock.now).answered) == 321


def test_a_full_mailbox_keeps_nobody_else_from_being_told(
    company: GatedCompany, answers: DisclosureAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it is not tried again before the next day: copies of everybody else would pile up."""
    company.platform.copies.clear()
    deposit, refused = company.platform.deposit_copy, []

    def full_at_first(campaign: str, mailbox: bytes, sealed_copy: bytes) -> bytes:
        if not refused:
            refused.append(mailbox)
            raise RemoteProtocolError("full", code=Refusal.PROTOCOL_VIOLATION)
        return deposit(campaign, mailbox, sealed_copy)

    monkeypatch.setattr(company.platform, "deposit_copy", full_at_first)
    with pytest.raises(RemoteProtocolError):
        answers.tell_accesses(now=company.clock.now)
    assert len(company.platform.copies) == len(company.scored()) - 1
    answers.tell_accesses(now=company.clock.now + 60)
    assert len(company.platform.copies) == len(company.scored()) - 1


def test_a_record_whose_key_is_gone_is_answered_as_none(
    company: GatedCompany, inbox: Inbox, answers: DisclosureAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an older copy of the files: nobody can read it, and its erasure must not wait for it."""
    aiko = company.platform.students[key_of("a-1")]

    def destroyed(*_: object) -> None:
        raise LocalProtocolError("gone", code="KEY_DESTROYED")

    monkeypatch.setattr(CustodyStore, "read", destroyed)
    company.platform.copies.clear()
    inbox.items = [asks(aiko.mailbox, aiko.disclosure)]
    assert answers.answer(now=company.clock.now)
    answers.tell_accesses(now=company.clock.now)
    assert {answer.holdings for answer in opened(company, aiko.mailbox, aiko.disclosure)} == {()}


def test_a_link_offer_is_a_url_about_a_position(company: GatedCompany) -> None:
    """It verifies under the company's key, and two of them differ."""
    urls = {
        link_offer_url(
            company.directory, CAMPAIGN, POSITION, base="https://site.example/", days=7, now=company.clock.now
        )
        for _ in range(2)
    }
    assert len(urls) == 2
    for url in urls:
        assert url.startswith("https://site.example/v1/link-offers/")
        signed = SignedLinkOffer.from_token(url.rpartition("/")[2])
        signed.verify(keystore.load(company.directory).signing.public_key, now=company.clock.now)
        assert (signed.offer.company, signed.offer.season) == (COMPANY, company.plan.score_season)
    for changes in ({"base": "http://site.example"}, {"days": 0}, {"days": 367}):
        arguments: dict[str, Any] = {"base": "https://site.example", "days": 7, **changes}
        with pytest.raises(ConfigurationError):
            link_offer_url(company.directory, CAMPAIGN, POSITION, now=company.clock.now, **arguments)
    with pytest.raises(DataError):
        link_offer_url(
            company.directory,
            CAMPAIGN,
            "Engineer",
            base="https://site.example",
            days=7,
            now=company.clock.now,
        )
