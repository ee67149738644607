"""Mailboxes and inbox: one size, one answer, and nothing to read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from student_http import COMPANY, LINK, POSITION, SCORE, Clock, StudentHttp, StudentsPlatform

from noren_core import canonical_json
from noren_core.crypto.identity import SealingKey, SigningKey
from noren_core.errors import DataError, RemoteProtocolError, VerificationError
from noren_core.rights.disclosure.mirror import verify_receipt
from noren_core.rights.disclosure.mirror_copy import COPY_BYTES, AnswerCopy, open_copy, seal_copy
from noren_core.rights.disclosure.requests import INBOX_ITEMS, ITEM_BYTES, InboxItem, open_item
from noren_core.rights.student_device import StudentDevice
from noren_server.rights import mailbox as mailbox_module
from noren_server.rights.mailbox import RETENTION_DAYS, Mailboxes

PLATFORM = SigningKey.generate()
HANDLE = bytes(range(16))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def mailboxes(tmp_path: Path, clock: Clock) -> Iterator[Mailboxes]:
    with closing(Mailboxes.open(tmp_path, PLATFORM, clock=clock)) as made:
        yield made


def copy_of(number: int) -> bytes:
    return number.to_bytes(2, "big") * (COPY_BYTES // 2)


def test_a_repeated_deposit_is_kept_once_under_one_receipt(mailboxes: Mailboxes) -> None:
    """The receipt is the platform's for exactly this copy; the order is that of arrival."""
    receipts = [
        mailboxes.deposit(company=COMPANY, mailbox=HANDLE, sealed_copy=copy_of(number))
        for number in (1, 2, 1)
    ]
    assert receipts[0] == receipts[2] != receipts[1]
    verify_receipt(PLATFORM.public_key, receipts[0], mailbox=HANDLE, sealed_copy=copy_of(1))
    kept = mailboxes.copies(company=COMPANY, mailbox=HANDLE)
    assert [item.sealed_copy for item in kept] == [copy_of(1), copy_of(2)]
    assert mailboxes.copies(company="beni", mailbox=HANDLE) == ()


def test_only_the_one_size_is_taken(mailboxes: Mailboxes) -> None:
    """Another copy or handle is refused whole."""
    for mailbox, sealed in ((HANDLE, bytes(COPY_BYTES - 1)), (HANDLE, b""), (bytes(15), bytes(COPY_BYTES))):
        with pytest.raises(DataError):
            mailboxes.deposit(company=COMPANY, mailbox=mailbox, sealed_copy=sealed)


def test_a_mailbox_and_a_company_are_bounded(mailboxes: Mailboxes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full is refused; what is there stays, and may be sent again."""
    monkeypatch.setattr(mailbox_module, "MAX_COPIES_IN_MAILBOX", 2)
    monkeypatch.setattr(mailbox_module, "MAX_COPIES_OF_COMPANY", 3)
    for number in (1, 2):
        mailboxes.deposit(company=COMPANY, mailbox=HANDLE, sealed_copy=copy_of(number))
    with pytest.raises(RemoteProtocolError):
        mailboxes.deposit(company=COMPANY, mailbox=HANDLE, sealed_copy=copy_of(3))
    mailboxes.deposit(company=COMPANY, mailbox=bytes(16), sealed_copy=copy_of(3))
    with pytest.raises(RemoteProtocolError):
        mailboxes.deposit(company=COMPANY, mailbox=b"x" * 16, sealed_copy=copy_of(4))
    mailboxes.deposit(company=COMPANY, mailbox=HANDLE, sealed_copy=copy_of(1))
    mailboxes.deposit(company="beni", mailbox=HANDLE, sealed_copy=copy_of(9))


def test_a_handle_that_nobody_has_is_answered_alike_and_swept(
    students: StudentsPlatform,
) -> None:
    """Same kind of receipt, no question to the consent book; the sweep keeps what has an owner."""
    aiko = students.registered("aiko")
    aiko.gives(LINK, "consent-score")
    aiko.gives(SCORE, "consent-score")
    own = bytes.fromhex(aiko.get("/v1/mailboxes")["mailboxes"][0]["mailbox"])
    boxes, book = students.side.mailboxes, students.consents.book
    receipts = [
        boxes.deposit(company=COMPANY, mailbox=handle, sealed_copy=copy_of(1)) for handle in (own, HANDLE)
    ]
    assert {len(receipt) for receipt in receipts} == {64}
    boxes.sweep(book.is_mailbox)
    assert len(boxes.copies(company=COMPANY, mailbox=own)) == 1
    assert boxes.copies(company=COMPANY, mailbox=HANDLE) == ()


def test_deposits_to_known_and_unknown_handles_take_the_same_steps(
    students: StudentsPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The statements that the database runs are the same, so there is no time to tell them apart by."""
    aiko = students.registered("aiko")
    aiko.gives(SCORE, "consent-score")
    own = bytes.fromhex(aiko.get("/v1/mailboxes")["mailboxes"][0]["mailbox"])
    statements: list[str] = []
    database = students.side.mailboxes._file._db
    database.set_trace_callback(lambda text: statements.append(text.split("(")[0].split("=")[0]))
    traces = []
    for handle in (own, HANDLE):
        statements.clear()
        students.side.mailboxes.deposit(company=COMPANY, mailbox=handle, sealed_copy=copy_of(7))
        traces.append(list(statements))
    assert traces[0] == traces[1]
    assert traces[0]


def test_copies_are_removed_after_their_time(mailboxes: Mailboxes, clock: Clock) -> None:
    """Three years, and not a day before."""
    mailboxes.deposit(company=COMPANY, mailbox=HANDLE, sealed_copy=copy_of(1))
    clock.now += RETENTION_DAYS * 86_400
    mailboxes.sweep(lambda *_: True)
    assert mailboxes.copies(company=COMPANY, mailbox=HANDLE)
    clock.now += 86_400
    mailboxes.sweep(lambda *_: True)
    assert not mailboxes.copies(company=COMPANY, mailbox=HANDLE)


def test_a_kept_copy_cannot_be_changed(mailboxes: Mailboxes, tmp_path: Path) -> None:
    """The file refuses it; and it is readable by its owner alone."""
    mailboxes.deposit(company=COMPANY, mailbox=HANDLE, sealed_copy=copy_of(1))
    update = "UPDATE copies SET sealed_copy = x'00'"
    with closing(sqlite3.connect(tmp_path / "mailbox.db")) as database, pytest.raises(sqlite3.IntegrityError):
        database.execute(update)
    assert (tmp_path / "mailbox.db").stat().st_mode & 0o777 == 0o600


# The inbox --------------------------------------------------------------------------------------------------


def asks(student: StudentHttp, *, key: str = "") -> str:
    """A request for what the company holds; its id."""
    scope = {"platform_data": True, "consent_history": True, "provision_records": True, "company": COMPANY}
    request: str = student.post("/v1/disclosures", {"scope": scope, "disclosure_key": key})["request"]
    return request


def fetched(students: StudentsPlatform, campaign: str) -> list[InboxItem]:
    """What the company opens of the inbox."""
    sealed = students.side.inbox.items(company=COMPANY, campaign=campaign)
    assert len(sealed) == INBOX_ITEMS
    assert {len(item) for item in sealed} == {ITEM_BYTES}
    opened = [open_item(item, students.company_sealing, company=COMPANY) for item in sealed]
    return [item for item in opened if item is not None]


@pytest.fixture
def campaign(students: StudentsPlatform, plan_body: dict[str, Any]) -> str:
    return students.publish(plan_body).campaign


@pytest.fixture
def aiko(students: StudentsPlatform) -> StudentHttp:
    student = students.registered("aiko")
    for purpose in (LINK, SCORE):
        student.gives(purpose, "consent-score")
    return student


def test_a_request_becomes_an_item_and_its_answer_fulfils_it(
    students: StudentsPlatform, aiko: StudentHttp, campaign: str
) -> None:
    """Asked twice it is one; served until her device says that it has the answer."""
    assert fetched(students, campaign) == []
    request = asks(aiko)
    assert asks(aiko) == request
    [item] = fetched(students, campaign)
    [own] = aiko.get("/v1/mailboxes")["mailboxes"]
    assert (item.mailbox.hex(), item.position, item.campaign) == (own["mailbox"], POSITION, campaign)
    assert item.disclosure_key == aiko.device.disclosure_key(COMPANY).public_key
    assert fetched(students, campaign) == [item]
    [status] = aiko.get("/v1/disclosures")["requests"]
    assert (status["state"], status["items"]) == (
        "IN_PROGRESS",
        [{"item": item.request.hex(), "received": False}],
    )
    beni = students.registered("beni")
    assert beni.refused("POST", "/v1/disclosures/received", {"item": item.request.hex()})[0] == 404
    aiko.post("/v1/disclosures/received", {"item": item.request.hex()})
    assert aiko.get("/v1/disclosures")["requests"][0]["state"] == "FULFILLED"
    assert fetched(students, campaign) == []


def test_who_never_consented_is_answered_at_once(students: StudentsPlatform, campaign: str) -> None:
    """The company is not asked: it cannot have anything of hers."""
    beni = students.registered("beni")
    asks(beni)
    assert beni.get("/v1/disclosures")["requests"][0]["state"] == "FULFILLED"
    assert fetched(students, campaign) == []


def test_an_unanswered_request_ends_and_the_auditor_hears_of_the_company(
    students: StudentsPlatform, aiko: StudentHttp, campaign: str
) -> None:
    """EXPIRED after thirty days; whose request it was is not told."""
    asks(aiko)
    assert students.services.disclosure.has_open()
    students.clock.now += 30 * 86_400
    assert aiko.get("/v1/disclosures")["requests"][0]["state"] == "EXPIRED"
    assert students.services.disclosure.overdue_companies() == {COMPANY}
    assert not students.services.disclosure.has_open()
    assert fetched(students, campaign) == []


def test_a_request_is_revoked_by_its_student(
    students: StudentsPlatform, aiko: StudentHttp, campaign: str
) -> None:
    """The company is not asked any more; nobody else can revoke it."""
    request = asks(aiko)
    beni = students.registered("beni")
    assert beni.refused("POST", "/v1/disclosures/revoked", {"request": request})[0] == 404
    aiko.post("/v1/disclosures/revoked", {"request": request})
    assert aiko.get("/v1/disclosures")["requests"][0]["state"] == "REVOKED"
    assert fetched(students, campaign) == []


def test_a_denial_needs_a_reason_of_the_law(
    students: StudentsPlatform, aiko: StudentHttp, campaign: str
) -> None:
    """Trade secrets alone: DENIAL_REASON_NOT_ALLOWED, and the request goes on."""
    from noren_core.errors import LocalProtocolError
    from noren_core.rights.disclosure.requests import DenialReason

    request, desk = bytes.fromhex(asks(aiko)), students.services.disclosure
    with pytest.raises(LocalProtocolError) as caught:
        desk.deny(request, [DenialReason.TRADE_SECRET])
    assert caught.value.code == "DENIAL_REASON_NOT_ALLOWED"
    assert aiko.get("/v1/disclosures")["requests"][0]["state"] == "IN_PROGRESS"
    desk.deny(request, [DenialReason.HARM_TO_RIGHTS, DenialReason.TRADE_SECRET])
    [status] = aiko.get("/v1/disclosures")["requests"]
    assert (status["state"], status["reasons"]) == ("DENIED", ["harm-to-rights", "trade-secret"])


def test_more_requests_than_places_take_turns(students: StudentsPlatform, campaign: str) -> None:
    """Twenty students, sixteen places: after two fetches everybody was served, some twice."""
    for number in range(INBOX_ITEMS + 4):
        student = students.registered(f"s{number}")
        student.gives(SCORE, "consent-score")
        asks(student)
    first, second = fetched(students, campaign), fetched(students, campaign)
    assert len(first) == len(second) == INBOX_ITEMS
    assert len({item.request for item in first + second}) == INBOX_ITEMS + 4


def test_another_campaign_and_another_company_are_shown_nothing(
    students: StudentsPlatform, aiko: StudentHttp, campaign: str
) -> None:
    """And the item opens with this company's key alone."""
    asks(aiko)
    assert fetched(students, "another-2026") == []
    [sealed, *_] = students.side.inbox.items(company=COMPANY, campaign=campaign)
    with pytest.raises(VerificationError):
        open_item(sealed, SealingKey.generate(), company=COMPANY)


def test_another_key_is_sealed_to_only_for_who_was_found_to_be_herself(
    students: StudentsPlatform, aiko: StudentHttp, campaign: str
) -> None:
    """DISCLOSURE_KEY_MISMATCH before; after re-authentication the item names the change, signed."""
    new = students.student("aiko", StudentDevice.create("aiko"))
    key = new.device.disclosure_key(COMPANY).public_key.hex()
    scope = {"platform_data": False, "consent_history": False, "provision_records": False, "company": COMPANY}
    body = {"scope": scope, "disclosure_key": key}
    assert aiko.refused("POST", "/v1/disclosures", body) == (403, "DISCLOSURE_KEY_MISMATCH")
    students.clock.now += 5
    event = new.device.replaces_lost(aiko.device.signing_key.public_key, time=students.clock())
    header = {"noren-account-code": students.services.codes.issue("aiko")}
    assert new.send("POST", "/v1/events", event.to_bytes(), headers=header).status_code == 200
    new.post("/v1/disclosures", body)
    [item] = fetched(students, campaign)
    assert item.disclosure_key.hex() == key
    assert item.change is not None
    assert item.change.replaced == aiko.device.disclosure_key(COMPANY).public_key
    item.change.verify(
        students.platform.signing_key.public_key,
        mailbox=item.mailbox,
        disclosure_key=item.disclosure_key,
    )


def test_a_contradiction_is_reported_with_the_company_s_words(
    students: StudentsPlatform, aiko: StudentHttp, campaign: str
) -> None:
    """Signed by the company and without a band; a forged one is refused."""
    asks(aiko)
    [item] = fetched(students, campaign)

    def evidence(signing: SigningKey) -> str:
        none = AnswerCopy(
            company=COMPANY,
            campaign=campaign,
            position=POSITION,
            mailbox=item.mailbox,
            request=item.request,
            part=1,
            parts=1,
            holdings=(),
            score=None,
            at=students.clock(),
        )
        sealed = seal_copy(none, signing=signing, disclosure_key=item.disclosure_key)
        opened = open_copy(
            sealed,
            aiko.device.disclosure_key(COMPANY),
            company=COMPANY,
            mailbox=item.mailbox,
            company_keys=[signing.public_key],
            deposit_at=lambda _: pytest.fail("no score"),
        )
        return opened.evidence.hex()

    body = {"topic": "disclosure-reconcile-fail", "company": COMPANY, "text": "they say none"}
    forged = {**body, "evidence": evidence(SigningKey.generate())}
    assert aiko.refused("POST", "/v1/inquiries", forged)[0] == 403
    assert aiko.refused("POST", "/v1/inquiries", {**body, "evidence": ""})[0] == 422
    answer = aiko.send(
        "POST",
        "/v1/inquiries",
        canonical_json.encode({**body, "evidence": evidence(students.company_signing)}),
    )
    assert answer.status_code == 200
    [waiting] = students.services.inquiries.open_inquiries()
    assert waiting.inquiry.topic.value == "disclosure-reconcile-fail"
