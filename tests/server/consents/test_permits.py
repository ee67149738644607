"""Permits: redeemed once, by whom they are for, and never after a withdrawal."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from consenting_students import MONTH, ConsentingStudents, PermissiveFacts

from noren_core.errors import LocalProtocolError, VerificationError
from noren_core.rights.consent.consent_event import EventKind, SignedEvent
from noren_core.rights.consent.consent_validity import ConsentRefusal
from noren_core.rights.consent.permit import MAX_LIFETIME_SECONDS, Permit, permit_key
from noren_core.rights.purposes import Purpose
from noren_server.consents.consent_book import ConsentBook
from noren_server.consents.permits import PermitDesk

SCORE, TRAIN = Purpose.SCORE, Purpose.TRAIN


@pytest.fixture
def desk(book: ConsentBook, students: ConsentingStudents) -> PermitDesk:
    return PermitDesk(book, permit_key(students.service_key))


def issued(desk: PermitDesk, book: ConsentBook, students: ConsentingStudents, *names: str) -> list[bytes]:
    """Permits to score these students for akane, who consent before."""
    for name in names:
        book.record_all(students.student(name).gives(SCORE, "akane"), now=students.now)
    live = book.live("akane", "2027", SCORE, now=students.now)
    return desk.issue("akane", SCORE, live, now=students.now)


def refusal(desk: PermitDesk, permit: bytes, *, audience: str = "akane", now: int) -> str:
    with pytest.raises((LocalProtocolError, VerificationError)) as refused:
        desk.redeem(permit, audience=audience, now=now)
    return refused.value.code


def test_a_permit_is_redeemed_once(
    tmp_path: Path,
    desk: PermitDesk,
    book: ConsentBook,
    students: ConsentingStudents,
    facts: PermissiveFacts,
) -> None:
    """A second time never, also by another process, until it has expired anyway."""
    [permit] = issued(desk, book, students, "s1")
    now = students.now
    redeemed = desk.redeem(permit, audience="akane", now=now)
    assert redeemed.student.student == "s1"
    assert (redeemed.permit.purpose, redeemed.permit.mailbox) == (SCORE, redeemed.student.mailbox)
    assert refusal(desk, permit, now=now) == "PERMIT_REPLAYED"
    with ConsentBook(tmp_path / "consents.db", service_key=students.public_key, facts=facts.at) as other:
        again = PermitDesk(other, permit_key(students.service_key))
        assert refusal(again, permit, now=now + MAX_LIFETIME_SECONDS - 1) == "PERMIT_REPLAYED"
    assert refusal(desk, permit, now=now + MAX_LIFETIME_SECONDS) == "PERMIT_EXPIRED"


def test_expired_permits_are_forgotten(
    desk: PermitDesk, book: ConsentBook, students: ConsentingStudents
) -> None:
    """The list of redeemed ones does not grow for ever."""
    [permit] = issued(desk, book, students, "s1")
    desk.redeem(permit, audience="akane", now=students.now)
    later = students.now + MAX_LIFETIME_SECONDS
    [fresh] = desk.issue("akane", SCORE, book.live("akane", "2027", SCORE, now=later), now=later)
    desk.redeem(fresh, audience="akane", now=later)
    with book.reading() as database:
        assert database.execute("SELECT jti FROM redeemed").fetchall() == [(jti(fresh, students),)]


def jti(permit: bytes, students: ConsentingStudents) -> bytes:
    return Permit.from_bytes(permit, permit_key(students.service_key)).jti


def test_a_permit_is_for_one_company(
    desk: PermitDesk, book: ConsentBook, students: ConsentingStudents
) -> None:
    """Redeemed for another it is refused, and stays good for its own."""
    [permit] = issued(desk, book, students, "s1")
    assert refusal(desk, permit, audience="beni", now=students.now) == "PERMIT_AUDIENCE"
    desk.redeem(permit, audience="akane", now=students.now)


def test_another_services_permit_is_forged(
    book: ConsentBook, desk: PermitDesk, students: ConsentingStudents
) -> None:
    """And one that was changed."""
    [permit] = issued(desk, book, students, "s1")
    other = PermitDesk(book, permit_key(ConsentingStudents().service_key))
    assert refusal(other, permit, now=students.now) == "PERMIT_FORGED"
    assert refusal(desk, permit.replace(b"engineer", b"engineex"), now=students.now) == "PERMIT_FORGED"


@pytest.mark.parametrize("purpose", [SCORE, TRAIN])
def test_any_end_of_a_consent_to_the_company_voids_its_permits(
    purpose: Purpose, desk: PermitDesk, book: ConsentBook, students: ConsentingStudents
) -> None:
    """Also that of another purpose: the epoch is of student and company. Other companies' go on."""
    student = students.student("s1")
    book.record_all([*student.gives(TRAIN, "akane"), *student.gives(SCORE, "beni")], now=students.now)
    [permit] = issued(desk, book, students, "s1")
    [other] = desk.issue("beni", SCORE, book.live("beni", "2027", SCORE, now=students.now), now=students.now)
    book.record(student.withdraws(purpose, "akane"), now=students.now)
    assert refusal(desk, permit, now=students.now) == "CONSENT_EPOCH_STALE"
    desk.redeem(other, audience="beni", now=students.now)


def test_a_renewed_consent_needs_a_new_permit(
    desk: PermitDesk, book: ConsentBook, students: ConsentingStudents
) -> None:
    """A permit names the event that gave the consent as it is."""
    [permit] = issued(desk, book, students, "s1")
    student = students.student("s1")
    [stored] = book.student_records("s1")
    assert stored.record.answer is not None
    book.record(
        student.device.renews(stored.record, stored.record.answer, time=students.tick()), now=students.now
    )
    assert refusal(desk, permit, now=students.now) == "CONSENT_EPOCH_STALE"
    [fresh] = desk.issue(
        "akane", SCORE, book.live("akane", "2027", SCORE, now=students.now), now=students.now
    )
    desk.redeem(fresh, audience="akane", now=students.now)


def test_what_stops_a_consent_stops_its_permits(
    desk: PermitDesk, book: ConsentBook, students: ConsentingStudents, facts: PermissiveFacts
) -> None:
    """A suspension, a policy's end or a screen's: asked again at the moment of use."""
    [permit] = issued(desk, book, students, "s1")
    facts.suspended.add("akane")
    assert refusal(desk, permit, now=students.now) == "SERVICE_SUSPENDED"
    facts.suspended.clear()
    facts.screens.clear()
    assert refusal(desk, permit, now=students.now) == "SCREEN_UNVERIFIED"


def test_a_consent_that_runs_out_first_ends_its_permit(
    desk: PermitDesk, book: ConsentBook, students: ConsentingStudents
) -> None:
    """The permit has not expired, the consent has."""
    student = students.student("s1")
    book.record_all(student.gives(SCORE, "akane", expires_at=students.now + 60), now=students.now)
    [permit] = desk.issue(
        "akane", SCORE, book.live("akane", "2027", SCORE, now=students.now), now=students.now
    )
    assert refusal(desk, permit, now=students.now + 60) == "CONSENT_EXPIRED"


def test_of_many_only_those_whose_consent_ended_are_left_out(
    desk: PermitDesk, book: ConsentBook, students: ConsentingStudents
) -> None:
    """In their order; the others' are used up."""
    names = [f"s{number}" for number in range(5)]
    permits = issued(desk, book, students, *names)
    book.record(students.student("s1").withdraws(SCORE, "akane"), now=students.now)
    book.record(students.student("s3").ended(EventKind.INVALIDATED, SCORE, "akane"), now=students.now)
    redeemed = desk.redeem_all(permits, audience="akane", now=students.now)
    assert [item.student.student for item in redeemed] == ["s0", "s2", "s4"]


def test_of_many_one_wrong_permit_stops_all(
    desk: PermitDesk, book: ConsentBook, students: ConsentingStudents
) -> None:
    """A replayed, expired or foreign permit is no withdrawal: nothing is redeemed."""
    first, second, third = issued(desk, book, students, "s1", "s2", "s3")
    desk.redeem(second, audience="akane", now=students.now)
    with pytest.raises(LocalProtocolError) as refused:
        desk.redeem_all([first, second, third], audience="akane", now=students.now)
    assert refused.value.code == "PERMIT_REPLAYED"
    assert len(desk.redeem_all([first, third], audience="akane", now=students.now)) == 2


def test_a_withdrawal_comes_before_or_after_never_between(
    desk: PermitDesk, book: ConsentBook, students: ConsentingStudents
) -> None:
    """Both at once, fifty times: either the permit was redeemed first, or it is stale."""
    outcomes = set()
    for number in range(50):
        student = students.student(f"s{number}")
        book.record_all(student.gives(SCORE, "akane"), now=students.now)
        [mine] = [
            item
            for item in book.live("akane", "2027", SCORE, now=students.now)
            if item.student == student.name
        ]
        [permit] = desk.issue("akane", SCORE, [mine], now=students.now)
        key = student.key(SCORE, "akane", "engineer", "2027", "policy-1")
        withdrawal, now = student.withdraws(SCORE, "akane"), students.now
        start = threading.Barrier(2)

        def withdraw(
            event: SignedEvent = withdrawal, start: threading.Barrier = start, now: int = now
        ) -> None:
            start.wait()
            book.record(event, now=now)

        thread = threading.Thread(target=withdraw)
        thread.start()
        start.wait()
        try:
            desk.redeem(permit, audience="akane", now=now)
            outcomes.add("redeemed")
        except LocalProtocolError as error:
            outcomes.add(error.code)
        thread.join()
        assert refusal(desk, permit, now=now) in ("CONSENT_EPOCH_STALE", "PERMIT_REPLAYED")
        assert book.check(key, now=now) is ConsentRefusal.WITHDRAWN
    assert outcomes <= {"redeemed", "CONSENT_EPOCH_STALE"}


def test_nobody_is_provided_after_her_withdrawal_was_acknowledged(
    desk: PermitDesk, book: ConsentBook, students: ConsentingStudents
) -> None:
    """With many permits in flight: whoever's withdrawal returned before the redemption began is not in it."""
    names = [f"s{number:02}" for number in range(40)]
    permits = issued(desk, book, students, *names)
    done: list[str] = []
    begun = threading.Event()

    def withdraw() -> None:
        for name in names:
            book.record(students.student(name).withdraws(SCORE, "akane"), now=students.now + MONTH)
            done.append(name)
            begun.set()

    thread = threading.Thread(target=withdraw)
    thread.start()
    begun.wait()
    before = set(done)
    redeemed = desk.redeem_all(permits, audience="akane", now=students.now)
    thread.join()
    assert before
    assert not before & {item.student.student for item in redeemed}


def test_many_blocks_are_as_one(
    desk: PermitDesk, book: ConsentBook, students: ConsentingStudents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody's permit is redeemed, in order, however few fit a transaction."""
    monkeypatch.setattr("noren_server.consents.permits._BLOCK", 2)
    names = [f"s{number}" for number in range(5)]
    permits = issued(desk, book, students, *names)
    redeemed = desk.redeem_all(permits, audience="akane", now=students.now)
    assert [item.student.student for item in redeemed] == names
    assert all(refusal(desk, permit, now=students.now) == "PERMIT_REPLAYED" for permit in permits)
