"""The consent service: what it says itself, what leaves with its permits, and what it proves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from consenting_students import ALL_CLAUSES, SCREEN, ConsentingStudents, PermissiveFacts
from typer.testing import CliRunner

from noren_core.errors import DataError, LocalProtocolError, NorenError, VerificationError
from noren_core.ledger.entries import EntryKind
from noren_core.rights.consent.consent_event import Action, Answer, EventKind, Screen
from noren_core.rights.consent.consent_log import log_head
from noren_core.rights.consent.consent_record import ConsentState
from noren_core.rights.consent.consent_validity import ConsentRefusal, PolicyStanding, PolicyStatus
from noren_core.rights.consent.receipt import ReceiptTerms, verify_receipt
from noren_core.rights.purposes import Purpose
from noren_core.rights.student_device import StudentDevice
from noren_server import platform_files
from noren_server.consents.commands import consents_app
from noren_server.consents.consent_book import ConsentedStudent
from noren_server.consents.consent_service import ConsentService, Provision
from noren_server.consents.opening import consent_service
from noren_server.platform_files import Platform

SCORE = Purpose.SCORE
TERMS = ReceiptTerms(
    language="ja",
    controller="c",
    recipient="r",
    data_categories=("industry-views",),
    storage=("JP",),
    retention="P60D",
    jurisdiction="JP",
    withdrawal_method="m",
    withdrawal_effect="stop",
)


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    platform = platform_files.initialise(
        tmp_path / "platform", name="job-site", host="127.0.0.1", ports=(0, 0, 0, 0)
    )
    yield platform
    platform.store.close()
    platform.ledger_store.close()


@pytest.fixture
def students(platform: Platform) -> ConsentingStudents:
    return ConsentingStudents(platform.consent_key)


@pytest.fixture
def service(platform: Platform, facts: PermissiveFacts) -> Iterator[ConsentService]:
    with consent_service(platform, facts.at) as service:
        yield service


def test_a_student_answers_on_the_record_that_was_shown(
    service: ConsentService, students: ConsentingStudents
) -> None:
    """Shown again it is the same record, until it is over; then a new one begins."""
    student = students.student("s1")
    key = student.key(Purpose.LINK, "akane", "engineer", "2027", "policy-1")
    screen = Screen(SCREEN, ALL_CLAUSES)
    service.book.record(student.device.registers(time=students.tick()), now=students.now)
    record = service.show(key, screen, now=students.tick())
    assert record.state is ConsentState.SHOWN
    service.request(record, now=students.tick())
    again = service.show(key, screen, now=students.tick())
    assert again.record == record.record
    answer = Answer(
        screen,
        Action.PRESS_DEDICATED_BUTTON,
        prechecked=False,
        bundled=False,
        dwell_ms=9,
        expires_at=students.now + 1000,
    )
    service.book.record(student.device.gives(again, answer, time=students.tick()), now=students.now)
    assert service.book.check(key, now=students.now) is None
    withdrawal = student.device.withdraws(key, record.record, time=students.tick())
    service.book.record(withdrawal, now=students.now)
    assert service.show(key, screen, now=students.tick()).record != record.record


def test_the_service_ends_consents_and_gives_none(
    service: ConsentService, students: ConsentingStudents, facts: PermissiveFacts
) -> None:
    """It says EXPIRED, SUPERSEDED, INVALIDATED and REVOKED; never a word that is the student's."""
    facts.policies["policy-2"] = PolicyStanding(PolicyStatus.ACTIVE)
    short, old, new, bad = (students.student(f"s{number}") for number in range(4))
    events = [
        *short.gives(SCORE, "akane", expires_at=students.now + 100),
        *old.gives(SCORE, "akane"),
        *new.gives(SCORE, "akane", policy="policy-2"),
        *bad.gives(SCORE, "beni"),
    ]
    service.book.record_all(events, now=students.now)
    now = students.tick(students.now + 200)
    assert service.end_expired(now=now) == 1
    assert service.end_expired(now=now) == 0
    assert service.supersede("policy-1", {SCORE}, now=now) == 2
    assert service.end(EventKind.INVALIDATED, lambda r: r.key.company == "akane", now=now) == 1
    states = [service.book.student_records(f"s{number}")[0].record.state for number in range(4)]
    assert states == ["EXPIRED", "SUPERSEDED", "INVALIDATED", "SUPERSEDED"]
    for kind in set(EventKind) - {"EXPIRED", "SUPERSEDED", "INVALIDATED", "REVOKED"}:
        with pytest.raises(DataError):
            service.end(kind, lambda _: True, now=now)


def test_nobody_keeps_another_s_consent_from_ending(
    service: ConsentService, students: ConsentingStudents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither whose clock runs ahead, nor who takes another key in that moment, nor who withdraws then."""
    aiko, fast, rotating, leaving = (students.student(f"s{number}") for number in range(4))
    now = students.now + 10
    for events in (
        fast.gives(SCORE, "akane", time=now + 290),
        *(each.gives(SCORE, "akane", time=now) for each in (aiko, rotating, leaving)),
    ):
        service.book.record_all(events, now=now)
    other = StudentDevice.create("s2").replaces(rotating.device, time=now)
    meanwhile = [other, leaving.withdraws(SCORE, "akane", time=now)]
    appending = service.book.appending

    def late(*, now: int) -> Any:
        while meanwhile:
            with appending(now=now) as append:
                append(service.book.verifier().verify(meanwhile.pop()))
        return appending(now=now)

    monkeypatch.setattr(service.book, "appending", late)
    assert service.supersede("policy-1", {SCORE}, now=now) == 3
    states = {name: service.book.student_records(name)[0].record.state for name in ("s0", "s1", "s2", "s3")}
    assert states == dict.fromkeys(("s0", "s1", "s2"), "SUPERSEDED") | {"s3": "WITHDRAWN"}


def test_a_lost_key_is_replaced_by_who_identified_her(
    service: ConsentService, students: ConsentingStudents
) -> None:
    """The service endorses exactly that, and no other event."""
    student = students.student("s1")
    service.book.record_all(student.gives(SCORE, "akane"), now=students.now)
    new = StudentDevice.create("s1")
    lost = new.replaces_lost(student.device.signing_key.public_key, time=students.tick())
    with pytest.raises(VerificationError):
        service.book.record(lost, now=students.now)
    service.accept_new_key(lost, now=students.now)
    assert service.book.student_key("s1") == new.signing_key.public_key
    with pytest.raises(DataError):
        service.accept_new_key(student.device.replaces(new, time=students.tick()), now=students.now)


def provide(
    service: ConsentService,
    students: ConsentingStudents,
    live: Sequence[ConsentedStudent],
    written: list[Provision],
) -> list[ConsentedStudent]:
    return service.provide(
        live,
        written.extend,
        campaign="spring",
        company="akane",
        season="2027",
        purpose=SCORE,
        now=students.now,
    )


def test_nothing_leaves_without_permit_and_record(
    service: ConsentService, students: ConsentingStudents
) -> None:
    """Each message has a permit of its own, written down; whoever withdrew in between is in neither."""
    for name in ("s1", "s2", "s3"):
        service.book.record_all(students.student(name).gives(SCORE, "akane"), now=students.now)
    live = service.book.live("akane", "2027", SCORE, now=students.now)
    service.book.record(students.student("s2").withdraws(SCORE, "akane"), now=students.now)
    written: list[Provision] = []
    assert [item.student for item in provide(service, students, live, written)] == ["s1", "s3"]
    assert [item.student.student for item in written] == ["s1", "s3"]
    assert len({item.permit.jti for item in written}) == 2
    assert {(item.campaign, item.season, item.at) for item in written} == {("spring", "2027", students.now)}
    provide(service, students, live, written)
    assert len({item.permit.jti for item in written}) == 4


def test_a_provision_that_cannot_be_written_down_does_not_happen(
    service: ConsentService, students: ConsentingStudents
) -> None:
    """The caller gets the error and no rows."""
    service.book.record_all(students.student("s1").gives(SCORE, "akane"), now=students.now)
    live = service.book.live("akane", "2027", SCORE, now=students.now)

    def full(_: Sequence[Provision]) -> None:
        raise LocalProtocolError("disk", code="STORAGE_FAILED")

    with pytest.raises(LocalProtocolError):
        service.provide(
            live, full, campaign="spring", company="akane", season="2027", purpose=SCORE, now=students.now
        )


def test_receipts_verify_with_the_services_key_and_the_ledger(
    platform: Platform, service: ConsentService, students: ConsentingStudents
) -> None:
    """One for every record; their log is the one whose head stands in the ledger."""
    student = students.student("s1")
    service.book.record_all(students.student("s0").gives(SCORE, "akane"), now=students.now)
    events = [
        *student.gives(SCORE, "akane"),
        student.withdraws(SCORE, "akane"),
        *student.gives(SCORE, "akane"),
        *student.gives(SCORE, "beni"),
    ]
    service.book.record_all(events, now=students.now)
    index = service.publish_head()
    assert service.publish_head() == index
    service.book.record_all(students.student("s2").gives(SCORE, "akane"), now=students.now)
    found = [
        verify_receipt(data, service_key=students.public_key)
        for data in service.receipts("s1", lambda key, screen: TERMS, now=students.now)
    ]
    assert [receipt.record.state for receipt in found] == ["WITHDRAWN", "GIVEN", "GIVEN"]
    [stored] = platform.ledger_store.entries(kind=EntryKind.CONSENT_LOG)
    assert {receipt.log_head.hex() for receipt in found} == {stored.entry.body["root"]}
    assert stored.index == index


def test_a_receipt_does_not_wait_for_the_ledger(
    platform: Platform, service: ConsentService, students: ConsentingStudents
) -> None:
    """What the newest head does not cover is proved in the log as it is now; the next head holds it."""
    service.publish_head()
    student = students.student("s1")
    service.book.record_all(student.gives(SCORE, "akane"), now=students.now)
    [data] = service.receipts("s1", lambda key, screen: TERMS, now=students.now)
    receipt = verify_receipt(data, service_key=students.public_key)
    service.publish_head()
    newest = platform.ledger_store.entries(kind=EntryKind.CONSENT_LOG)[-1]
    assert newest.entry.body["root"] == receipt.log_head.hex()
    assert log_head(3, service.log.root(3)) == receipt.log_head


def test_a_receipt_shows_the_refusal_that_overruled_it(
    service: ConsentService, students: ConsentingStudents
) -> None:
    """As one of its events."""
    student = students.student("s1")
    events = [
        *student.gives(SCORE, "akane"),
        *student.shown(SCORE, "akane", policy="policy-2"),
        student.refuses(SCORE, "akane", policy="policy-2"),
    ]
    service.book.record_all(events, now=students.now)
    found = [
        verify_receipt(data, service_key=students.public_key)
        for data in service.receipts("s1", lambda key, screen: TERMS, now=students.now)
    ]
    assert [(r.record.state, r.record.overruled) for r in found] == [("GIVEN", "REFUSED"), ("REFUSED", None)]
    assert [item.signed.event.kind for item in found[0].events][-1] == "REFUSED"


def test_without_facts_no_consent_counts(platform: Platform, students: ConsentingStudents) -> None:
    """A platform without policies, screens and agreements: fail closed."""
    with consent_service(platform) as service:
        service.book.record_all(students.student("s1").gives(SCORE, "akane"), now=students.now)
        key = students.student("s1").key(SCORE, "akane", "engineer", "2027", "policy-1")
        assert service.book.check(key, now=students.now) is ConsentRefusal.SUPERSEDED


def run(platform: Platform, *arguments: str) -> dict[str, object]:
    """A command of `noren-platform consents`, with its result."""
    result = CliRunner().invoke(consents_app, arguments, obj=platform.directory, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    assert isinstance(result.return_value, dict)
    return result.return_value


def test_the_commands(
    platform: Platform,
    students: ConsentingStudents,
    tmp_path: Path,
) -> None:
    """Import, head and export; a refused file leaves nothing."""
    path = tmp_path / "events.jsonl"
    students.write(path, students.student("s1").may_be_scored("akane"))
    assert run(platform, "import", str(path)) == {"events": 6}
    assert run(platform, "head")["ledger_index"] == platform.ledger_store.size - 1
    exported = run(platform, "export", str(tmp_path / "tables"))
    assert exported["files"] == ["consent_events.parquet", "students.parquet"]
    path.write_bytes(b"{}\n")
    with pytest.raises(NorenError):
        run(platform, "import", str(path))
    assert run(platform, "end-expired") == {"state": "done"}


def _shown(service: ConsentService, students: ConsentingStudents, purpose: Purpose) -> bytes:
    key = students.student("s1").key(purpose, "akane", "engineer", "2027", "policy-1")
    return service.show(key, Screen(SCREEN, ALL_CLAUSES), now=students.now).record


@pytest.mark.parametrize("kind", [EventKind.REFUSED, EventKind.DEFERRED])
def test_a_student_without_a_key_can_say_no(
    service: ConsentService, students: ConsentingStudents, kind: EventKind
) -> None:
    """The record says so; the receipt shows that the service wrote it down for a session, and verifies."""
    record = _shown(service, students, Purpose.LINK)
    service.say_no("s1", kind, [record], now=students.now)
    [stored] = service.book.student_records("s1")
    assert stored.record.state.value == kind.value
    [receipt] = service.receipts("s1", lambda *_: TERMS, now=students.now)
    verified = verify_receipt(receipt, service_key=students.public_key)
    assert verified.events[-1].signed.event.via_session


def test_withdrawing_in_a_session_ends_what_her_key_gave(
    service: ConsentService, students: ConsentingStudents
) -> None:
    """Although her key is elsewhere; all of what is named or nothing."""
    events = students.student("s1").may_be_scored("akane")
    service.book.record_all(events, now=students.now)
    records = [stored.record.record for stored in service.book.student_records("s1")]
    other = students.student("s2").gives(Purpose.LINK, "akane")
    service.book.record_all(other, now=students.now)
    [not_hers] = [stored.record.record for stored in service.book.student_records("s2")]
    with pytest.raises(LocalProtocolError):
        service.say_no("s1", EventKind.WITHDRAWN, [*records, not_hers], now=students.now)
    assert all(stored.record.is_live for stored in service.book.student_records("s1"))
    service.say_no("s1", EventKind.WITHDRAWN, records, now=students.now)
    assert not any(stored.record.is_live for stored in service.book.student_records("s1"))
    assert service.book.scorable("akane", "2027", now=students.now) == ()


@pytest.mark.parametrize("kind", [EventKind.GIVEN, EventKind.RENEWED, EventKind.OFFER_ACKNOWLEDGED])
def test_nobody_consents_for_a_student_in_a_session(
    service: ConsentService, students: ConsentingStudents, kind: EventKind
) -> None:
    """What is given is signed by herself."""
    record = _shown(service, students, Purpose.LINK)
    with pytest.raises(DataError):
        service.say_no("s1", kind, [record], now=students.now)
    assert service.book.student_records("s1")[0].record.state is ConsentState.SHOWN
