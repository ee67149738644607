"""The students' pages as a student meets them: on a phone, in both languages, with and without scripts."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import plain_hpke
import pytest
from chromium import Chromium
from mirrored_scores import record as mirror_record
from student_http import COMPANY, LINK, POSITION, SCORE, SEASON
from student_site import ServedSite, student_pages
from visitor import PHONE, Visitor, check_page

from noren_core.crypto.identity import SealingKey, SigningKey, seal_to
from noren_core.crypto.secret import SecretBytes
from noren_core.ids import TableKind
from noren_core.ledger.entries import EntryKind, IncidentState, parse_entry, sign_entry
from noren_core.rights.consent.consent_event import ConsentEvent, EventKind
from noren_core.rights.consent.consent_record import ConsentState
from noren_core.rights.consent.permit import Permit
from noren_core.rights.consent.receipt import verify_receipt
from noren_core.rights.disclosure.mirror import MirrorRecord, commit
from noren_core.rights.disclosure.mirror_copy import (
    Access,
    AccessCopy,
    AnswerCopy,
    Holding,
    ScoreCopy,
    seal_copy,
)
from noren_core.rights.disclosure.student_report import ProvisionLine
from noren_core.rights.erasure.erasure_order import OrderState
from noren_core.rights.locales import Locale
from noren_core.rights.notices.screen import PageReading, findings
from noren_core.rights.purposes import Purpose
from noren_core.rights.service.incident import IncidentClass
from noren_core.rights.student_device import StudentDevice
from noren_server.consents.consent_book import ConsentedStudent
from noren_server.consents.consent_service import Provision
from noren_server.policies.consent_screen import expected_screen
from noren_server.rights.erasure_status import ErasureStatus, OrderedErasure
from noren_server.rights.incidents import AffectedScope, incident_desk
from noren_server.rights.provision_records import ProvisionRecords

CAMPAIGN = "spring-2026"
QUESTION = {"company": COMPANY, "position": POSITION, "season": SEASON, "route": "consent-score"}
GIVE_LINK = f"form[data-purpose='{LINK.value}'] button[value=give]"
GIVE_SCORE = f"form[data-purpose='{SCORE.value}'] button[value=give]"
LANGUAGES = pytest.mark.parametrize("language", ["en", "ja"])


@pytest.fixture
def site(tmp_path: Path) -> Iterator[ServedSite]:
    with student_pages(tmp_path) as served:
        yield served


@pytest.fixture
def visit(browser: Chromium, site: ServedSite) -> Visitor:
    browser.show(width=PHONE)
    return Visitor(browser, site.base)


def until(visit: Visitor, condition: str) -> None:
    """Wait in the page until an expression holds."""
    visit.browser.evaluate(
        "new Promise((done, failed) => { const end = Date.now() + 20000; const look = () => "
        f"({condition}) ? done() : Date.now() > end ? failed(new Error('never came true')) : "
        "setTimeout(look, 20); look(); })"
    )


def arrive(
    site: ServedSite, visit: Visitor, student: str = "aiko", language: str = "en", **asked: str
) -> None:
    site.arrive(visit, student, lang=language, **asked)


def make_key(visit: Visitor) -> str:
    """Make and register a key in this browser; the secret that was shown."""
    visit.open("/keys")
    until(visit, "document.querySelector('[data-draw]').checkVisibility()")
    visit.browser.click("[data-draw]")
    secret = str(visit.browser.evaluate("document.querySelector('[data-part=secret] output').textContent"))
    visit.click("[data-register] button")
    return secret


def ask_again(visit: Visitor) -> None:
    visit.fill("#identifier", "aiko@example.org")
    visit.click("form[action='/consent/start'] button")


def consents(site: ServedSite, visit: Visitor, language: str = "en") -> str:
    """Come in with a question, make a key, and agree to both purposes; the secret of the key."""
    arrive(site, visit, language=language, **QUESTION)
    secret = make_key(visit)
    ask_again(visit)
    visit.click(GIVE_LINK)
    visit.click("a[href='/consent/screen']")
    visit.click(GIVE_SCORE)
    assert visit.path() == "/consent/answers"
    return secret


def states(site: ServedSite, student: str = "aiko") -> dict[Purpose, ConsentState]:
    found = site.platform.consents.book.student_records(student)
    return {item.record.key.purpose: item.record.overruled or item.record.state for item in found}


def events(site: ServedSite, student: str = "aiko") -> list[Any]:
    return [item.signed.event for item in site.platform.consents.book.student_events(student)]


# Consenting, and the end of it ------------------------------------------------------------------------------


@LANGUAGES
def test_from_the_question_to_the_receipt_and_back(site: ServedSite, visit: Visitor, language: str) -> None:
    """A named company asks; her key signs; the receipt verifies; she withdraws; every page holds.

    Slow on purpose: nine pages, each looked at by axe in two schemes.
    """
    arrive(site, visit, language=language, **QUESTION)
    check_page(visit, "student-question", width=PHONE)
    visit.open("/keys")
    until(visit, "document.querySelector('[data-draw]').checkVisibility()")
    check_page(visit, "student-key-none", width=PHONE)
    visit.browser.click("[data-draw]")
    check_page(visit, "student-key-new", width=PHONE)
    visit.click("[data-register] button")
    ask_again(visit)
    check_page(visit, "student-consent-screen", width=PHONE)
    visit.click(GIVE_LINK)
    check_page(visit, "student-answers", width=PHONE)
    visit.click("a[href='/consent/screen']")
    visit.click(GIVE_SCORE)
    assert states(site) == {LINK: ConsentState.GIVEN, SCORE: ConsentState.GIVEN}
    visit.open("/")
    check_page(visit, "student-consents", width=PHONE)
    visit.click("a[href^='/receipts/']")
    check_page(visit, "student-receipt", width=PHONE)
    receipts = site.platform.services.receipts("aiko")
    service_key = site.platform.platform.consent_key.public_key
    assert verify_receipt(receipts[0], service_key=service_key).record.state is ConsentState.GIVEN
    visit.open("/")
    visit.click("a[href^='/withdrawal/one/']")
    check_page(visit, "student-withdrawal", width=PHONE)
    visit.click("form[action='/withdrawal'] button")
    assert visit.path() == "/"
    assert sorted(states(site).values()) == [ConsentState.GIVEN, ConsentState.WITHDRAWN]


def test_what_is_signed_is_what_was_shown(site: ServedSite, visit: Visitor) -> None:
    """The event has the verified screen's hash and clauses, an unticked answer, and the device's own keys."""
    secret = consents(site, visit)
    device = StudentDevice("aiko", SecretBytes(bytes.fromhex(secret.replace(" ", ""))))
    assert site.platform.consents.book.student_key("aiko") == device.signing_key.public_key
    given = [event for event in events(site) if event.kind is EventKind.GIVEN]
    assert len(given) == 2
    for event in given:
        assert isinstance(event, ConsentEvent)
        assert event.answer is not None
        assert event.answer.screen.sha256 in site.platform.facts.screens
        assert not event.answer.prechecked
        assert not event.answer.bundled
    assert given[1].address.identifier == "aiko@example.org"
    assert given[1].address.disclosure_key == device.disclosure_key(COMPANY).public_key
    counting = site.platform.consents.book.refusal_of
    now = site.platform.clock()
    stored = site.platform.consents.book.student_records("aiko")
    assert [counting(item.record, now=now) for item in stored] == [None, None]


@LANGUAGES
def test_the_crawler_takes_our_page_for_the_verified_screen(
    site: ServedSite, visit: Visitor, language: str
) -> None:
    """Read by the crawler's own script: the registered text, every clause seen, no finding."""
    arrive(site, visit, language=language, **QUESTION)
    ask_again(visit)
    script = resources.files("noren_server.policies").joinpath("page_reading.js").read_text()
    reading = PageReading.from_body(visit.browser.evaluate(script))
    notices = site.platform.services.notices
    policy = notices._policies.active(SEASON, at=site.platform.clock())
    assert policy is not None
    expected = expected_screen(
        policy, notices.facts(COMPANY, POSITION), Locale(language), policy.routes["consent-score"]
    )
    assert findings(reading, expected) == ()
    assert reading.sha256 in site.platform.facts.screens


def test_the_buttons_are_equal(site: ServedSite, visit: Visitor) -> None:
    """Measured: size, colours, border and weight of the three of each question; nothing has the focus."""
    arrive(site, visit, **QUESTION)
    ask_again(visit)
    for width in (PHONE, 1100):
        visit.browser.show(width=width)
        measured = visit.browser.evaluate(
            "[...document.querySelectorAll('form')].map(form => [...form.querySelectorAll('button')].map("
            "b => { const s = getComputedStyle(b), r = b.getBoundingClientRect(); return [r.width, r.height,"
            " s.color, s.backgroundColor, s.borderColor, s.borderWidth, s.fontSize, s.fontWeight,"
            " s.opacity].join() }))"
        )
        assert [len(buttons) for buttons in measured] == [3, 3]
        assert all(len(set(buttons)) == 1 for buttons in measured), measured
    assert visit.browser.evaluate("document.activeElement === document.body")
    ticked = "document.querySelectorAll('input:checked, input[type=checkbox], input[type=radio]').length"
    assert visit.browser.evaluate(ticked) == 0


def test_agreeing_again_renews_and_a_no_can_become_a_yes(site: ServedSite, visit: Visitor) -> None:
    """What she agreed to is renewed on the same record; what she refused is a new question."""
    arrive(site, visit, **QUESTION)
    make_key(visit)
    ask_again(visit)
    visit.click(f"form[data-purpose='{SCORE.value}'] button[value=refuse]")
    visit.click("a[href='/consent/screen']")
    visit.click(GIVE_SCORE)
    assert visit.path() == "/consent"
    assert states(site)[SCORE] is ConsentState.REFUSED
    ask_again(visit)
    visit.click(GIVE_SCORE)
    visit.click("a[href='/consent/screen']")
    visit.click(GIVE_LINK)
    assert states(site) == {LINK: ConsentState.GIVEN, SCORE: ConsentState.GIVEN}
    arrive(site, visit, **QUESTION)
    ask_again(visit)
    visit.click(GIVE_SCORE)
    assert states(site) == {LINK: ConsentState.GIVEN, SCORE: ConsentState.RENEWED}


class Clicks:
    """Counts what somebody presses."""

    def __init__(self, visit: Visitor) -> None:
        self.count, self._visit = 0, visit

    def __call__(self, selector: str) -> None:
        self.count += 1
        self._visit.click(selector)


def test_withdrawing_takes_no_more_clicks_than_giving(site: ServedSite, visit: Visitor) -> None:
    """Both counted from the moment at which she comes in; her key is there already."""
    arrive(site, visit, **QUESTION)
    make_key(visit)
    arrive(site, visit, **QUESTION)
    visit.fill("#identifier", "aiko@example.org")
    giving = Clicks(visit)
    giving("form[action='/consent/start'] button")
    giving(GIVE_LINK)
    assert states(site)[LINK] is ConsentState.GIVEN
    arrive(site, visit)
    withdrawing = Clicks(visit)
    withdrawing("a[href^='/withdrawal/one/']")
    withdrawing("form[action='/withdrawal'] button")
    assert states(site)[LINK] is ConsentState.WITHDRAWN
    assert (giving.count, withdrawing.count) == (2, 2)


def test_a_text_that_the_browser_changed_is_not_signed(site: ServedSite, visit: Visitor) -> None:
    """A translation, an extension: nothing is recorded, and a page says why."""
    arrive(site, visit, **QUESTION)
    make_key(visit)
    ask_again(visit)
    visit.browser.evaluate("document.querySelector('[data-clause]').textContent += ' More.'")
    visit.click(GIVE_LINK)
    assert visit.path() == "/consent/different"
    check_page(visit, "student-different-text", width=PHONE)
    assert states(site)[LINK] is ConsentState.SHOWN


def test_a_browser_without_the_key_signs_nothing(site: ServedSite, visit: Visitor) -> None:
    """It says where the key is, and how to restore it."""
    other = site.platform.registered("aiko")
    assert other.device.signing_key.public_key
    arrive(site, visit, **QUESTION)
    ask_again(visit)
    visit.click(GIVE_LINK)
    assert visit.path() == "/consent/no-key"
    check_page(visit, "student-no-key", width=PHONE)
    assert states(site)[LINK] is ConsentState.SHOWN


# Without scripts --------------------------------------------------------------------------------------------


def check_unscripted(visit: Visitor, picture: str) -> None:
    """`check_page` of a page that was loaded without scripts; axe itself is one."""
    visit.browser.run_scripts(enabled=True)
    check_page(visit, picture, width=PHONE)
    visit.browser.run_scripts(enabled=False)


@LANGUAGES
def test_saying_no_needs_no_script_and_no_key(site: ServedSite, visit: Visitor, language: str) -> None:
    """One press each; the events say that the site wrote them down in her session."""
    visit.browser.run_scripts(enabled=False)
    arrive(site, visit, language=language, **QUESTION)
    ask_again(visit)
    visit.click(f"form[data-purpose='{LINK.value}'] button[value=refuse]")
    assert visit.path() == "/consent/answers"
    visit.click("a[href='/consent/screen']")
    visit.click(f"form[data-purpose='{SCORE.value}'] button[value=later]")
    assert states(site) == {LINK: ConsentState.REFUSED, SCORE: ConsentState.DEFERRED}
    said = [event for event in events(site) if event.kind in (EventKind.REFUSED, EventKind.DEFERRED)]
    assert [event.via_session for event in said] == [True, True]
    check_unscripted(visit, "student-answers-no")


def test_agreeing_without_a_script_records_nothing(site: ServedSite, visit: Visitor) -> None:
    """The page says what is needed, and why."""
    visit.browser.run_scripts(enabled=False)
    arrive(site, visit, **QUESTION)
    ask_again(visit)
    visit.click(GIVE_LINK)
    assert "JavaScript" in visit.text()
    check_unscripted(visit, "student-needs-script")
    assert states(site)[LINK] is ConsentState.SHOWN


def provided(site: ServedSite) -> None:
    site.platform.provisions.append(
        ProvisionLine(
            company=COMPANY,
            campaign=CAMPAIGN,
            position=POSITION,
            kind=TableKind.SCORE,
            at=int(time.time()),
            record=site.platform.consents.book.student_records("aiko")[0].record.record.hex(),
        )
    )


@LANGUAGES
def test_everything_else_works_without_scripts(site: ServedSite, visit: Visitor, language: str) -> None:
    """Seeing, asking, contesting, disclosure, withdrawing, erasing, notices, signing out; every page holds.

    Slow on purpose: fourteen pages, each looked at by axe in two schemes.
    """
    aiko = site.platform.registered("aiko")
    for purpose in (LINK, SCORE):
        aiko.gives(purpose, "consent-score")
    provided(site)
    visit.browser.run_scripts(enabled=False)
    arrive(site, visit, language=language)
    for path, picture in (
        ("/offers", "offers"),
        ("/scores", "scores-sealed"),
        ("/holdings", "holdings"),
        ("/requests", "requests-empty"),
        ("/notices", "notices-empty"),
        ("/keys", "key-without-scripts"),
        ("/requests/ask?topic=contest-score", "ask"),
    ):
        visit.open(path)
        check_unscripted(visit, f"student-{picture}")
    visit.fill("#text", "Why?")
    visit.click("form[action='/requests/asked'] button")
    visit.open("/requests/disclosure")
    check_unscripted(visit, "student-disclosure")
    visit.tick("#platform_data-yes")
    visit.fill("#company", COMPANY)
    visit.click("form[action='/requests/disclosed'] button")
    visit.open(f"/requests/erasure?company={COMPANY}")
    check_unscripted(visit, "student-erasure-not-yet")
    visit.click(f"a[href='/withdrawal/company/{COMPANY}']")
    visit.click("form[action='/withdrawal'] button")
    assert set(states(site).values()) == {ConsentState.WITHDRAWN}
    visit.open(f"/requests/erasure?company={COMPANY}")
    check_unscripted(visit, "student-erasure")
    visit.fill("#confirmation", "消去" if language == "ja" else "erase")
    visit.click("form[action='/requests/erased'] button")
    [erased] = site.platform.erased
    assert (erased.company, erased.disclose_first) == (COMPANY, True)
    due = int(time.time()) + 14 * 86_400
    order = OrderedErasure(COMPANY, CAMPAIGN, OrderState.RECEIVED, due)
    site.platform.statuses.append(ErasureStatus(COMPANY, int(time.time()), True, (order,)))
    visit.open("/requests")
    assert "Why?" in visit.text()
    check_unscripted(visit, "student-requests")
    visit.open("/sign-in")
    check_unscripted(visit, "student-sign-in")
    visit.open("/")
    visit.click("form[action='/sign-out'] button")
    assert visit.path() == "/sign-in"
    visit.open("/scores")
    assert visit.path() == "/sign-in"


def test_a_wrong_word_erases_nothing(site: ServedSite, visit: Visitor) -> None:
    """The error page says so; nothing is ordered."""
    arrive(site, visit)
    visit.open("/requests/erasure")
    visit.fill("#confirmation", "yes")
    visit.click("form[action='/requests/erased'] button")
    assert site.platform.erased == []
    check_page(visit, "student-error", width=PHONE)


def test_an_inquiry_goes_back_and_forth(site: ServedSite, visit: Visitor) -> None:
    """Asked, answered by a person, not content, handed on; its deadline is there."""
    arrive(site, visit)
    visit.open("/requests/ask")
    visit.fill("#text", "Who has my data?")
    visit.click("form[action='/requests/asked'] button")
    [stored] = site.platform.services.inquiries.of_student("aiko")
    site.platform.services.inquiries.answer(stored.inquiry_id, answer="Nobody.", reviewer="officer")
    visit.open("/requests")
    assert "Nobody." in visit.text()
    visit.click("form[action='/requests/inquiry/escalate'] button")
    [stored] = site.platform.services.inquiries.of_student("aiko")
    assert stored.inquiry.state.value == "escalated"


# Copies -----------------------------------------------------------------------------------------------------


def deposited(site: ServedSite, *records: MirrorRecord) -> list[ScoreCopy]:
    """Score copies whose deposit the ledger has."""
    root, committed = commit(records, size=64, random_bytes=secrets.token_bytes)
    now = int(time.time())
    body = {"campaign": CAMPAIGN, "company": COMPANY, "root": root.hex(), "deposited_at": now}
    entry = sign_entry(EntryKind.MIRROR_DEPOSIT, COMPANY, body, site.platform.company_signing)
    index = site.platform.platform.ledger.append_company_entry(parse_entry(entry))
    return [ScoreCopy(deposit_index=index, committed=item) for item in committed]


def keep(site: ServedSite, copy: Any, *, key: bytes | None = None, signing: SigningKey | None = None) -> None:
    """Seal a copy as a company does, and put it in her mailbox."""
    scored = scored_student(site)
    sealed = seal_copy(
        copy,
        signing=signing or site.platform.company_signing,
        disclosure_key=key or scored.disclosure_key,
    )
    site.platform.side.mailboxes.deposit(company=COMPANY, mailbox=scored.mailbox, sealed_copy=sealed)


def scored_student(site: ServedSite) -> ConsentedStudent:
    [found] = site.platform.consents.book.live(COMPANY, SEASON, SCORE, now=site.platform.clock())
    return found


def hers(site: ServedSite, **changes: object) -> MirrorRecord:
    return mirror_record(**{"mailbox": scored_student(site).mailbox, "band": 2, **changes})


def open_copies(visit: Visitor) -> list[str]:
    """Open them on the page; what the browser sent meanwhile."""
    visit.open("/scores")
    until(visit, "document.querySelector('[data-open]').checkVisibility()")
    visit.browser.events.clear()
    visit.browser.click("[data-open]")
    until(visit, "[...document.querySelectorAll('[data-done]')].every(item => !item.hidden)")
    return [
        event["params"]["request"].get("postData", "") + event["params"]["request"]["url"]
        for event in visit.browser.events
        if event["method"] == "Network.requestWillBeSent"
    ]


@LANGUAGES
def test_a_sealed_score_is_read_by_her_alone(site: ServedSite, visit: Visitor, language: str) -> None:
    """Band, reasons, uncertainty and who looked, in words; what was opened goes nowhere."""
    consents(site, visit, language)
    [score] = deposited(site, hers(site))
    keep(site, score)
    looked = Access(role="follow-up", action="view", at=1_800_000_100)
    helped = Access(role="follow-up", action="mentor_contact-planned", at=1_800_000_200)
    about = {
        "company": COMPANY,
        "campaign": CAMPAIGN,
        "position": POSITION,
        "mailbox": scored_student(site).mailbox,
        "at": 1_800_000_300,
    }
    keep(site, AccessCopy(**about, accesses=(looked, helped)))
    sent = open_copies(visit)
    text = visit.text()
    said = {
        "en": (
            "what you viewed and did on this site",
            "Band 3 of 3",
            "40 to 100 %",
            "Follow-up staff: looked at the band",
            "a range and no fact",
        ),
        "ja": (
            "このサイトでの閲覧と行動",
            "区分 3（全 3 区分）",
            "40〜100 %",
            "フォロー担当者 が 区分を閲覧",
            "事実ではありません",
        ),
    }[language]
    assert [sentence for sentence in said if sentence not in text] == []
    assert "follow-up" not in text
    check_page(visit, "student-scores", width=PHONE)
    assert {line.rsplit("/", 1)[-1] for line in sent} == {"copies"}
    assert not any(word in line for line in sent for word in ("band", "salt", score.committed.salt.hex()))


def test_an_answer_that_was_opened_is_reported_as_received(
    site: ServedSite, visit: Visitor, plan_body: dict[str, Any]
) -> None:
    """The request for disclosure is then fulfilled; what the answer says is not told."""
    site.platform.publish(plan_body)
    consents(site, visit)
    visit.open("/requests/disclosure")
    visit.fill("#company", COMPANY)
    visit.click("form[action='/requests/disclosed'] button")
    [status] = site.platform.services.disclosure.requests("aiko")
    [(item, _)] = status.items
    keep(
        site,
        AnswerCopy(
            company=COMPANY,
            campaign=CAMPAIGN,
            position=POSITION,
            mailbox=scored_student(site).mailbox,
            request=item,
            part=1,
            parts=1,
            holdings=(),
            score=None,
            at=1_800_000_000,
        ),
    )
    sent = open_copies(visit)
    [status] = site.platform.services.disclosure.requests("aiko")
    assert status.state.value == "FULFILLED"
    assert not any("holdings" in line or "nothing" in line for line in sent)


def test_an_answer_that_contradicts_the_records_is_reported_with_its_words(
    site: ServedSite, visit: Visitor
) -> None:
    """It deposited a score and says that it holds none; what agrees with the records is no report."""
    consents(site, visit)
    [score] = deposited(site, hers(site, expires_at=1_900_000_000))
    answer = AnswerCopy(
        company=COMPANY,
        campaign="another",
        position=POSITION,
        mailbox=scored_student(site).mailbox,
        request=bytes(16),
        part=1,
        parts=1,
        holdings=(),
        score=None,
        at=1_800_000_500,
    )
    keep(site, score)
    keep(site, answer)
    open_copies(visit)
    assert visit.browser.evaluate("document.querySelector('[data-contradiction]').hidden") is True
    keep(site, replace(answer, campaign=CAMPAIGN, request=bytes(15) + b"1"))
    open_copies(visit)
    check_page(visit, "student-contradiction", width=PHONE)
    visit.click("[data-contradiction] button")
    assert visit.path() == "/requests"
    [stored] = site.platform.services.inquiries.of_student("aiko")
    assert stored.inquiry.topic.value == "disclosure-reconcile-fail"


def test_copies_that_are_not_what_they_should_be_are_told_apart(site: ServedSite, visit: Visitor) -> None:
    """Another key, another company's signature: they do not open. Another record: a mismatch."""
    consents(site, visit)
    [score, other] = deposited(site, hers(site), hers(site, computed_at=1_800_000_001))
    keep(site, score, key=SealingKey.generate().public_key)
    keep(site, score, signing=SigningKey.generate())
    open_copies(visit)
    shown = "[...document.querySelectorAll('[data-closed], [data-mismatch]')].map(item => item.hidden)"
    assert visit.browser.evaluate(shown) == [False, True]
    assert visit.browser.evaluate("document.querySelector('[data-opened]').childElementCount") == 0
    altered = replace(other.committed, record=replace(other.committed.record, band=0))
    keep(site, ScoreCopy(deposit_index=other.deposit_index, committed=altered))
    open_copies(visit)
    assert visit.browser.evaluate(shown) == [False, False]
    assert visit.browser.evaluate("document.querySelector('[data-opened]').childElementCount") == 0


def test_an_answer_with_somebody_elses_score_is_a_mismatch(site: ServedSite, visit: Visitor) -> None:
    """Hers is committed to under the same root as everybody's."""
    consents(site, visit)
    [score] = deposited(site, hers(site, mailbox=bytes(16)))
    answer = AnswerCopy(
        company=COMPANY,
        campaign=CAMPAIGN,
        position=POSITION,
        mailbox=scored_student(site).mailbox,
        request=bytes(16),
        part=1,
        parts=1,
        holdings=(Holding.SCORE,),
        score=score,
        at=1_800_000_000,
    )
    keep(site, answer)
    open_copies(visit)
    assert visit.browser.evaluate("document.querySelector('[data-mismatch]').hidden") is False


# Keys -------------------------------------------------------------------------------------------------------


def test_a_key_is_restored_from_its_note_and_replaced_when_lost(site: ServedSite, visit: Visitor) -> None:
    """On a browser without it: the wrong note is refused, the right one works; a new key takes its place."""
    consents(site, visit)
    lost = site.platform.consents.book.student_key("aiko")
    secret = make_other(site, visit)
    arrive(site, visit)
    visit.open("/keys")
    until(visit, "document.querySelector('[data-restore]').checkVisibility()")
    check_page(visit, "student-key-elsewhere", width=PHONE)
    visit.fill("#secret", "00" * 32)
    visit.browser.click("[data-restore] button")
    until(visit, "!document.querySelector('[data-wrong]').hidden")
    visit.fill("#secret", secret)
    visit.click("[data-restore] button")
    until(visit, "document.querySelector('[data-part=here]').checkVisibility()")
    now = site.platform.consents.book.student_key("aiko")
    assert now is not None
    assert now != lost


def make_other(site: ServedSite, visit: Visitor) -> str:
    """A key in place of the one in this browser, which is then forgotten; the new one's secret."""
    forget = "indexedDB.databases().then(all => Promise.all(all.map(item => new Promise(done => {"
    forget += " const r = indexedDB.deleteDatabase(item.name); r.onsuccess = r.onblocked = done; }))))"
    visit.browser.evaluate(forget)
    arrive(site, visit)
    visit.open("/keys")
    until(visit, "document.querySelector('[data-part=replace] button').checkVisibility()")
    visit.browser.click("[data-part=replace] button")
    secret = str(visit.browser.evaluate("document.querySelector('[data-part=secret] output').textContent"))
    visit.click("[data-register] button")
    visit.open("/notices")
    assert "A new key was registered" in visit.text()
    check_page(visit, "student-notices", width=PHONE)
    visit.browser.evaluate(forget)
    return secret


def test_an_offer_is_acknowledged_with_her_key(site: ServedSite, visit: Visitor) -> None:
    """Only then she could be scored."""
    consents(site, visit)
    visit.open("/offers")
    check_page(visit, "student-offers-open", width=PHONE)
    now = site.platform.clock()
    assert site.platform.consents.book.scorable(COMPANY, SEASON, now=now) == ()
    visit.click("form[data-offer] button")
    assert visit.path() == "/offers"
    [found] = site.platform.consents.book.scorable(COMPANY, SEASON, now=site.platform.clock())
    assert found.student == "aiko"


# The scripts themselves -------------------------------------------------------------------------------------


def in_page(visit: Visitor, modules: str, script: str) -> Any:
    """The value of a script that imports the site's own modules, in a page of the site."""
    visit.open("/sign-in")
    imported = ", ".join(f"import('/static/site/{name}.js')" for name in modules.split())
    return visit.browser.evaluate(
        f"Promise.all([{imported}]).then(async ([{', '.join(modules.split())}]) => {script})"
    )


def test_the_browser_opens_what_python_sealed(visit: Visitor) -> None:
    """Our own sealing and the plain reference, under published and fresh keys, for many lengths."""
    vector = json.loads((Path(__file__).parents[1] / "vectors" / "hpke_rfc9180.json").read_bytes())
    cases = []
    for number, length in enumerate((0, 1, 31, 32, 33, 4048)):
        private = bytes.fromhex(vector["skRm"]) if number % 2 else SealingKey.generate().to_bytes()
        public, plaintext, info = (
            SealingKey.from_bytes(private).public_key,
            secrets.token_bytes(length),
            b"i" * length,
        )
        ours = seal_to(public, plaintext, info=info)
        plain = plain_hpke.seal(public, plaintext, info=info, ephemeral=secrets.token_bytes(32))
        cases += [
            [private.hex(), public.hex(), made.hex(), info.hex(), plaintext.hex()] for made in (ours, plain)
        ]
    script = f"""{{
      const opened = [];
      for (const [secret, publicKey, sealed, info] of {json.dumps(cases)}) {{
        const pkcs8 = bytes.joined(bytes.fromHex("302e020100300506032b656e04220420"), bytes.fromHex(secret));
        const privateKey = await crypto.subtle.importKey("pkcs8", pkcs8, "X25519", false, ["deriveBits"]);
        const pair = {{ privateKey, publicBytes: bytes.fromHex(publicKey) }};
        const one = bytes.fromHex(sealed), wrong = one.slice();
        wrong[wrong.length - 1] ^= 1;
        opened.push([
          bytes.hex(await hpke.open(one, pair, bytes.fromHex(info))),
          await hpke.open(wrong, pair, bytes.fromHex(info)).then(() => "opened", () => "closed"),
          await hpke.open(one, pair, bytes.utf8("other")).then(() => "opened", () => "closed"),
        ]);
      }}
      return opened;
    }}"""
    opened = in_page(visit, "bytes hpke", script)
    assert opened == [[case[4], "closed", "closed"] for case in cases]


def test_a_device_in_the_browser_is_the_device_of_its_secret(visit: Visitor) -> None:
    """The same keys as in Python; none of them can be read out again."""
    secret = secrets.token_bytes(32)
    device = StudentDevice("aiko", SecretBytes(secret))
    script = f"""{{
      const made = await device_key.deviceOf("{secret.hex()}");
      const pair = await device_key.disclosurePair(made, "akane");
      const read = key => crypto.subtle.exportKey("pkcs8", key).then(() => "read", () => "refused");
      const raw = crypto.subtle.exportKey("raw", made.master).then(() => "read", () => "refused");
      const publicKey = bytes.hex(pair.publicBytes);
      return [made.key, publicKey, await read(made.signingKey), await read(pair.privateKey), await raw];
    }}"""
    expected = [device.signing_key.public_key.hex(), device.disclosure_key("akane").public_key.hex()]
    assert in_page(visit, "bytes device_key", script) == [*expected, "refused", "refused", "refused"]


@LANGUAGES
def test_incidents_stand_under_notices(site: ServedSite, visit: Visitor, language: str) -> None:
    """In her language."""
    aiko = site.platform.registered("aiko")
    aiko.gives(SCORE, "consent-score")
    with incident_desk(site.platform.platform, clock=site.platform.clock) as desk:
        with closing(ProvisionRecords.open(site.platform.platform.directory)) as records:
            records.write([_provision(scored_student(site))])
        desk.detect("leak-1", IncidentClass.LEAK, AffectedScope())
        for state in (IncidentState.CONTAINED, IncidentState.ASSESSED, IncidentState.NOTIFIED):
            desk.advance("leak-1", state)
    arrive(site, visit, language=language)
    visit.open("/notices")
    assert "leak-1" in visit.text()
    check_page(visit, "student-notices-incident", width=PHONE)


def _provision(student: ConsentedStudent) -> Any:
    now = int(time.time())
    permit = Permit(
        jti=secrets.token_bytes(16),
        audience=COMPANY,
        mailbox=student.mailbox,
        purpose=SCORE,
        position=POSITION,
        consent_seq=student.seq,
        epoch=0,
        issued_at=now,
        expires_at=now + 60,
    )
    return Provision(permit, student, CAMPAIGN, SEASON, now)
