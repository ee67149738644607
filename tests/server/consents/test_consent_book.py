"""The consent book: what is written stays, what is asked is answered by what was written last."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from consenting_students import MONTH, NOW, ConsentingStudent, ConsentingStudents, PermissiveFacts

from noren_core.errors import ConfigurationError, LocalProtocolError, VerificationError
from noren_core.ids import IdentifierKind
from noren_core.rights.clauses import Clause
from noren_core.rights.consent.consent_event import ConsentEvent, ConsentKey, EventKind, sign_event
from noren_core.rights.consent.consent_record import ConsentState
from noren_core.rights.consent.consent_validity import (
    ConsentRefusal,
    PolicyStanding,
    PolicyStatus,
    company_error,
    told_to_company,
)
from noren_core.rights.purposes import Purpose
from noren_core.rights.student_device import StudentDevice
from noren_server.consents.consent_book import ConsentBook, ConsentedStudent

SCORE, TRAIN, LINK = Purpose.SCORE, Purpose.TRAIN, Purpose.LINK


def key(student: str, purpose: Purpose = SCORE, company: str = "akane", **parts: str) -> ConsentKey:
    of = {"position": "engineer", "season": "2027", "policy": "policy-1"} | parts
    return ConsentKey(student, purpose, company, **of)


def names(several: tuple[ConsentedStudent, ...]) -> list[tuple[str, str]]:
    return [(item.student, item.position) for item in several]


def test_a_consent_counts_from_the_moment_it_is_written(
    book: ConsentBook, students: ConsentingStudents
) -> None:
    """In check, live and the state of the key."""
    student = students.student("s1")
    assert book.check(key("s1"), now=NOW) is ConsentRefusal.NEVER_SHOWN
    assert book.state(key("s1")) is ConsentState.NEVER_SHOWN
    book.record_all(student.gives(SCORE, "akane"), now=students.now)
    assert book.check(key("s1"), now=students.now) is None
    [found] = book.live("akane", "2027", SCORE, now=students.now)
    device = student.device
    assert (found.student, found.position, found.identifier) == ("s1", "engineer", "code-s1")
    assert found.disclosure_key == device.disclosure_key("akane").public_key
    assert found.record == student.record(key("s1"))
    assert book.state(key("s1")) is ConsentState.GIVEN
    assert book.student_key("s1") == device.signing_key.public_key


def test_a_withdrawal_is_effective_at_once_everywhere(
    tmp_path: Path, book: ConsentBook, students: ConsentingStudents, facts: PermissiveFacts
) -> None:
    """Also for another process that had the book open before."""
    student = students.student("s1")
    with ConsentBook(tmp_path / "consents.db", service_key=students.public_key, facts=facts.at) as other:
        book.record_all(student.gives(SCORE, "akane"), now=students.now)
        assert other.check(key("s1"), now=students.now) is None
        book.record(student.withdraws(SCORE, "akane"), now=students.now)
        for reader in (book, other):
            assert reader.check(key("s1"), now=students.now) is ConsentRefusal.WITHDRAWN
            assert reader.live("akane", "2027", SCORE, now=students.now) == ()
            assert names(reader.withdrawn("akane", "2027", SCORE)) == [("s1", "engineer")]
            assert (reader.epoch(), reader.epoch_of("s1", "akane"), reader.epoch_of("s1", "beni")) == (
                1,
                1,
                0,
            )


def test_to_consent_again_is_a_new_record_with_a_new_handle(
    book: ConsentBook, students: ConsentingStudents
) -> None:
    """W13: nothing of the old one comes back, and the company cannot tell that it is the same student."""
    student = students.student("s1")
    book.record_all(student.gives(SCORE, "akane"), now=students.now)
    [first] = book.live("akane", "2027", SCORE, now=students.now)
    book.record(student.withdraws(SCORE, "akane"), now=students.now)
    book.record_all(student.gives(SCORE, "akane"), now=students.now)
    [second] = book.live("akane", "2027", SCORE, now=students.now)
    assert first.record != second.record
    assert first.mailbox != second.mailbox
    assert book.withdrawn("akane", "2027", SCORE) == ()  # not withdrawn as far as her row is concerned
    assert [box for _, box in book.mailboxes("s1")] == [first.mailbox, second.mailbox]
    assert all(book.is_mailbox("akane", box) for _, box in book.mailboxes("s1"))
    assert not book.is_mailbox("beni", first.mailbox)
    assert [item.record.state for item in book.student_records("s1")] == [
        ConsentState.WITHDRAWN,
        ConsentState.GIVEN,
    ]


def test_each_identifier_that_was_given_up_is_withdrawn(
    book: ConsentBook, students: ConsentingStudents
) -> None:
    """A table may hold a row by any of them; the one that she consents with now is not among them."""
    student = students.student("s1")
    for identifier in ("one", "two", "three"):
        book.record_all(student.gives(SCORE, "akane", identifier=identifier), now=students.now)
        book.record(student.withdraws(SCORE, "akane"), now=students.now)
    book.record_all(student.gives(SCORE, "akane", identifier="two"), now=students.now)
    assert {s.identifier for s in book.withdrawn("akane", "2027", SCORE)} == {"one", "three"}
    assert {s.identifier for s in book.standing("akane", "2027", SCORE)} == {"two"}


def test_handles_are_one_per_company(book: ConsentBook, students: ConsentingStudents) -> None:
    """The same for training and scoring at one company, another one at another."""
    student = students.student("s1")
    for purpose, company in ((TRAIN, "akane"), (SCORE, "akane"), (SCORE, "beni")):
        book.record_all(student.gives(purpose, company), now=students.now)
    boxes = {
        (purpose, company): book.live(company, "2027", purpose, now=students.now)[0].mailbox
        for purpose, company in ((TRAIN, "akane"), (SCORE, "akane"), (SCORE, "beni"))
    }
    assert boxes[TRAIN, "akane"] == boxes[SCORE, "akane"] != boxes[SCORE, "beni"]


def test_withdrawing_one_purpose_leaves_the_other(book: ConsentBook, students: ConsentingStudents) -> None:
    """W14: and so with positions and companies; but every use is ended for all versions of the policy."""
    student = students.student("s1")
    others = [(TRAIN, "akane", "engineer"), (SCORE, "beni", "engineer"), (SCORE, "akane", "sales")]
    for purpose, company, position in [*others, (SCORE, "akane", "engineer")]:
        book.record_all(student.gives(purpose, company, position), now=students.now)
    book.record(student.withdraws(SCORE, "akane"), now=students.now)
    for purpose, company, position in others:
        assert book.check(key("s1", purpose, company, position=position), now=students.now) is None
    assert book.check(key("s1"), now=students.now) is ConsentRefusal.WITHDRAWN


def test_a_no_to_the_new_policy_is_a_no_to_the_old_one(
    book: ConsentBook, students: ConsentingStudents, facts: PermissiveFacts
) -> None:
    """Both versions count where nothing material changed; one refusal ends both, and is an end."""
    facts.policies["policy-2"] = facts.policies["policy-1"]
    facts.policies["policy-1"] = PolicyStanding(PolicyStatus.GRACE)
    student = students.student("s1")
    book.record_all(student.gives(SCORE, "akane"), now=students.now)
    book.record_all(student.shown(SCORE, "akane", policy="policy-2"), now=students.now)
    assert book.check(key("s1"), now=students.now) is None
    book.record(student.refuses(SCORE, "akane", policy="policy-2"), now=students.now)
    for policy in ("policy-1", "policy-2"):
        assert book.check(key("s1", policy=policy), now=students.now) is ConsentRefusal.REFUSED
    assert names(book.withdrawn("akane", "2027", SCORE)) == [("s1", "engineer")]
    assert book.epoch_of("s1", "akane") == 1


def test_two_versions_are_one_student(
    book: ConsentBook, students: ConsentingStudents, facts: PermissiveFacts
) -> None:
    """Who consented to both comes once, by what she gave last."""
    facts.policies["policy-2"] = facts.policies["policy-1"]
    student = students.student("s1")
    book.record_all(student.gives(SCORE, "akane", identifier="old"), now=students.now)
    book.record_all(student.gives(SCORE, "akane", policy="policy-2", identifier="new"), now=students.now)
    [found] = book.live("akane", "2027", SCORE, now=students.now)
    assert found.identifier == "new"


def test_march_2019_supersedes_every_earlier_consent(
    book: ConsentBook, students: ConsentingStudents, facts: PermissiveFacts
) -> None:
    """From no provision to provision: no consent without the new notice, whatever else she was shown."""
    facts.policies = {"policy-2018": PolicyStanding(PolicyStatus.ACTIVE)}
    early, renewed, other_screen = (students.student(f"s{number}") for number in range(3))
    for student in (early, renewed, other_screen):
        book.record_all(student.gives(SCORE, "akane", policy="policy-2018"), now=students.now)
    assert len(book.live("akane", "2027", SCORE, now=students.now)) == 3
    # March: the flow becomes a provision to a third party.
    facts.policies = {
        "policy-2018": PolicyStanding(PolicyStatus.GRACE, frozenset({SCORE, TRAIN})),
        "policy-2019": PolicyStanding(PolicyStatus.ACTIVE),
    }
    assert book.live("akane", "2027", SCORE, now=students.now) == ()
    book.record_all(renewed.gives(SCORE, "akane", policy="policy-2019"), now=students.now)
    book.record_all(other_screen.shown(LINK, "akane", policy="policy-2019"), now=students.now)
    book.record_all(other_screen.gives(SCORE, "beni", policy="policy-2019"), now=students.now)
    assert names(book.live("akane", "2027", SCORE, now=students.now)) == [("s1", "engineer")]
    for student in ("s0", "s2"):
        assert book.check(key(student, policy="policy-2018"), now=NOW) is ConsentRefusal.SUPERSEDED
    assert book.check(key("s0", policy="policy-2019"), now=NOW) is ConsentRefusal.SUPERSEDED


def test_who_may_be_scored(book: ConsentBook, students: ConsentingStudents) -> None:
    """Consent to link and score, and the offer acknowledged, all for this very position."""
    full, no_link, no_offer, elsewhere, unlinked, no_score = (
        students.student(f"s{number}") for number in range(6)
    )
    events = [
        *full.may_be_scored("akane"),
        *no_link.gives(SCORE, "akane"),
        no_link.acknowledges_offer("akane"),
        *no_offer.gives(LINK, "akane"),
        *no_offer.gives(SCORE, "akane"),
        *elsewhere.gives(LINK, "akane"),
        *elsewhere.gives(SCORE, "akane"),
        elsewhere.acknowledges_offer("akane", "sales"),
        *unlinked.may_be_scored("akane"),
        unlinked.withdraws(LINK, "akane"),
        *no_score.gives(LINK, "akane"),
        no_score.acknowledges_offer("akane"),
    ]
    book.record_all(events, now=students.now)
    assert names(book.scorable("akane", "2027", now=students.now)) == [("s0", "engineer")]
    # Whose consent to be linked ended has no row any more, though that to be scored stands.
    assert names(book.withdrawn("akane", "2027", SCORE)) == [("s4", "engineer")]
    assert book.acknowledged("akane", "2027") == {
        ("s0", "engineer"),
        ("s1", "engineer"),
        ("s3", "sales"),
        ("s4", "engineer"),
        ("s5", "engineer"),
    }


def test_what_may_come_again_gives_up_nobodys_row(
    book: ConsentBook, students: ConsentingStudents, facts: PermissiveFacts
) -> None:
    """A suspension, a lapsed verification or an expiry that the service has not stated is no withdrawal."""
    student = students.student("s1")
    book.record_all(student.may_be_scored("akane"), now=students.now)
    facts.suspended.add("akane")
    facts.screens.clear()
    assert book.live("akane", "2027", SCORE, now=students.now + MONTH) == ()
    assert book.withdrawn("akane", "2027", SCORE) == ()
    assert names(book.standing("akane", "2027", SCORE)) == [("s1", "engineer")]
    book.record(student.ended(EventKind.EXPIRED, SCORE, "akane"), now=students.now)
    assert names(book.withdrawn("akane", "2027", SCORE)) == [("s1", "engineer")]


def test_an_offer_is_acknowledged_once(book: ConsentBook, students: ConsentingStudents) -> None:
    """A second acknowledgement of the same offer, a second later, keeps the number of the first."""
    student = students.student("s1")
    book.record_all(student.may_be_scored("akane"), now=students.now)
    first = book.record(student.acknowledges_offer("akane"), now=students.now)
    assert book.record(student.acknowledges_offer("akane"), now=students.now) == first


def test_the_same_event_again_keeps_its_number(book: ConsentBook, students: ConsentingStudents) -> None:
    """After a lost answer everything may be sent again, also when the student's key has changed since."""
    student = students.student("s1")
    events = [*student.may_be_scored("akane"), student.withdraws(SCORE, "akane")]
    numbers = book.record_all(events, now=students.now)
    assert numbers == list(range(len(events)))
    new = StudentDevice.create("s1")
    book.record(new.replaces(student.device, time=students.tick()), now=students.now)
    assert book.record_all(events, now=students.now) == numbers
    assert (book.epoch(), len(book.student_events("s1"))) == (1, len(events) + 1)


def test_a_replaced_key_signs_no_more(book: ConsentBook, students: ConsentingStudents) -> None:
    """From the registration of the new one on."""
    student = students.student("s1")
    book.record_all(student.gives(SCORE, "akane"), now=students.now)
    new = StudentDevice.create("s1")
    book.record(new.replaces(student.device, time=students.tick()), now=students.now)
    with pytest.raises(VerificationError) as refused:
        book.record(student.withdraws(SCORE, "akane"), now=students.now)
    assert refused.value.code == "CONSENT_NOT_BY_SUBJECT"
    assert book.student_key("s1") == new.signing_key.public_key
    record = student.record(key("s1"))
    book.record(new.withdraws(key("s1"), record, time=students.tick()), now=students.now)
    assert book.check(key("s1"), now=students.now) is ConsentRefusal.WITHDRAWN


def test_all_or_nothing(book: ConsentBook, students: ConsentingStudents) -> None:
    """One event that may not follow, and none of those with it is there."""
    student = students.student("s1")
    events = [*student.gives(SCORE, "akane"), student.withdraws(SCORE, "akane")]
    with pytest.raises(LocalProtocolError) as refused:
        book.record_all([*events, student.withdraws(SCORE, "akane")], now=students.now)
    assert refused.value.code == "CONSENT_EVENT_ILLEGAL"
    assert (book.student_events("s1"), book.student_key("s1"), book.epoch()) == ((), None, 0)
    assert book.state(key("s1")) is ConsentState.NEVER_SHOWN


def _unregistered(student: ConsentingStudent, book: ConsentBook, students: ConsentingStudents) -> None:
    book.record_all(student.gives(SCORE, "akane")[1:], now=students.now)


def _by_the_operator(student: ConsentingStudent, book: ConsentBook, students: ConsentingStudents) -> None:
    registration, shown, given = student.gives(SCORE, "akane")
    forged = sign_event(given.event, students.service_key)
    book.record_all([registration, shown, forged], now=students.now)


def _never_shown(student: ConsentingStudent, book: ConsentBook, students: ConsentingStudents) -> None:
    registration, _, given = student.gives(SCORE, "akane")
    book.record_all([registration, given], now=students.now)


def _a_second_record(student: ConsentingStudent, book: ConsentBook, students: ConsentingStudents) -> None:
    book.record_all([*student.gives(SCORE, "akane"), *student.shown(SCORE, "akane")], now=students.now)


def _from_the_past(student: ConsentingStudent, book: ConsentBook, students: ConsentingStudents) -> None:
    events = [*student.gives(SCORE, "akane"), student.withdraws(SCORE, "akane", time=NOW)]
    book.record_all(events, now=NOW + 10)


def _a_new_record_from_the_past(
    student: ConsentingStudent, book: ConsentBook, students: ConsentingStudents
) -> None:
    events = [*student.gives(SCORE, "akane"), student.withdraws(SCORE, "akane")]
    book.record_all([*events, *student.shown(SCORE, "akane", time=NOW)], now=NOW + 10)


def _from_the_future(student: ConsentingStudent, book: ConsentBook, students: ConsentingStudents) -> None:
    book.record_all(student.gives(SCORE, "akane"), now=NOW - 301)


def _another_ones_identifier(
    student: ConsentingStudent, book: ConsentBook, students: ConsentingStudents
) -> None:
    other = students.student("s2")
    book.record_all(other.gives(SCORE, "akane", identifier="CODE-S1 "), now=students.now)
    book.record_all(student.gives(SCORE, "akane"), now=students.now)


@pytest.mark.parametrize(
    ("attempt", "code"),
    [
        (_unregistered, "CONSENT_NOT_BY_SUBJECT"),
        (_by_the_operator, "CONSENT_NOT_BY_SUBJECT"),
        (_never_shown, "CONSENT_EVENT_ILLEGAL"),
        (_a_second_record, "CONSENT_RECORD_OPEN"),
        (_from_the_past, "CONSENT_EVENT_OUT_OF_ORDER"),
        (_a_new_record_from_the_past, "CONSENT_EVENT_OUT_OF_ORDER"),
        (_from_the_future, "CONSENT_EVENT_OUT_OF_ORDER"),
        (_another_ones_identifier, "IDENTIFIER_TAKEN"),
    ],
)
def test_what_is_refused(
    attempt: Callable[..., None], code: str, book: ConsentBook, students: ConsentingStudents
) -> None:
    """By name, and there is no consent afterwards."""
    with pytest.raises((LocalProtocolError, VerificationError)) as refused:
        attempt(students.student("s1"), book, students)
    assert refused.value.code == code
    assert book.check(key("s1"), now=students.now) is not None


def test_an_identifier_is_free_again(book: ConsentBook, students: ConsentingStudents) -> None:
    """Where its former holder withdrew, and always at another company, position or season."""
    one, two = students.student("s1"), students.student("s2")
    kind = IdentifierKind.EMAIL
    book.record_all(
        one.gives(SCORE, "akane", identifier="a@example.org", identifier_kind=kind), now=students.now
    )
    for company, position, season in (
        ("beni", "engineer", "2027"),
        ("akane", "sales", "2027"),
        ("akane", "engineer", "2028"),
    ):
        events = two.gives(SCORE, company, position, season, identifier="a@example.org", identifier_kind=kind)
        book.record_all(events, now=students.now)
    book.record(one.withdraws(SCORE, "akane"), now=students.now)
    book.record_all(
        two.gives(SCORE, "akane", identifier="A@example.org", identifier_kind=kind), now=students.now
    )
    assert names(book.live("akane", "2027", SCORE, now=students.now)) == [("s2", "engineer"), ("s2", "sales")]


def test_every_absence_looks_the_same_to_a_company(
    book: ConsentBook, students: ConsentingStudents, facts: PermissiveFacts
) -> None:
    """Never asked, refused, withdrawn, expired, elsewhere…: the company's answer is equal byte for byte."""
    facts.policies["old"] = PolicyStanding(PolicyStatus.RETIRED)
    facts.screens["cd" * 32] = frozenset(Clause) - {Clause.BAND_ABOUT_YOU}
    asked: dict[str, ConsentKey] = {"s0": key("s0")}
    for number, (changes, then) in enumerate(
        [
            ({}, "withdraws"),
            ({"expires_at": NOW + 100}, ""),
            ({"policy": "old"}, ""),
            ({"position": "sales"}, ""),
            ({"season": "2028"}, ""),
            ({"screen": "ee" * 32}, ""),
            ({"screen": "cd" * 32}, ""),
            ({"prechecked": True}, ""),
            ({"bundled": True}, ""),
        ],
        start=1,
    ):
        student = students.student(f"s{number}")
        book.record_all(student.gives(SCORE, "akane", **changes), now=students.now)
        if then:
            book.record(student.withdraws(SCORE, "akane"), now=students.now)
        policy = str(changes.get("policy", "policy-1"))
        asked[student.name] = key(student.name, policy=policy)
    refused, shown = students.student("s98"), students.student("s99")
    book.record_all(refused.shown(SCORE, "akane"), now=students.now)
    book.record(refused.refuses(SCORE, "akane"), now=students.now)
    book.record_all(shown.shown(SCORE, "akane"), now=students.now)
    asked |= {"s98": key("s98"), "s99": key("s99")}
    reasons = {name: book.check(each, now=NOW + 200) for name, each in asked.items()}
    assert None not in reasons.values()
    assert len(set(reasons.values())) == len(reasons)  # each has its own detailed code …
    told = {told_to_company(reason) for reason in reasons.values() if reason is not None}
    assert {answer.encode() for answer in told} == {b"NOT_AVAILABLE"}  # … of which nothing is heard
    assert (company_error().code, company_error().message) == ("NOT_AVAILABLE", "not available")


def test_the_detailed_code_is_for_those_who_may_know(book: ConsentBook) -> None:
    """`verify` raises it."""
    with pytest.raises(LocalProtocolError) as refused:
        book.verify(key("s1"), now=NOW)
    assert refused.value.code == "CONSENT_NEVER_SHOWN"


def test_only_training_and_scoring_have_cohorts(book: ConsentBook) -> None:
    """For the other purposes no company finds anybody."""
    for purpose in set(Purpose) - {TRAIN, SCORE}:
        with pytest.raises(LocalProtocolError):
            book.live("akane", "2027", purpose, now=NOW)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET student = 'x'",
        "DELETE FROM events",
        "INSERT OR REPLACE INTO events SELECT * FROM events WHERE seq = 1",
        "INSERT INTO events SELECT 99, student, record, digest, leaf, salt, event FROM events WHERE seq = 1",
        "UPDATE mailboxes SET student = 'x'",
        "DELETE FROM mailboxes",
        "DELETE FROM heads",
    ],
)
def test_events_are_never_changed(
    tmp_path: Path, book: ConsentBook, students: ConsentingStudents, statement: str
) -> None:
    """Neither overwritten, nor deleted, nor is a number left out."""
    book.record_all(students.student("s1").gives(SCORE, "akane"), now=students.now)
    with book.changing() as database:
        database.execute("INSERT INTO heads VALUES (0, 3, x'00', 7)")
    database = sqlite3.connect(tmp_path / "consents.db")
    try:
        with pytest.raises(sqlite3.IntegrityError):
            database.execute(statement)
    finally:
        database.close()


def test_the_book_is_the_platforms_own_file(tmp_path: Path, book: ConsentBook) -> None:
    """Mode 0600; another file in its place is refused."""
    path = tmp_path / "consents.db"
    assert path.stat().st_mode & 0o777 == 0o600
    for content in (b"", b"not a database" * 100):
        other = tmp_path / "other.db"
        other.write_bytes(content)
        with pytest.raises(ConfigurationError):
            ConsentBook(other, service_key=bytes(32), facts=PermissiveFacts().at)


def test_a_screen_that_was_not_shown_is_no_evidence(book: ConsentBook, students: ConsentingStudents) -> None:
    """She signs another text than the service says it showed."""
    student = students.student("s1")
    registration, shown, given = student.gives(SCORE, "akane")
    event = given.event
    assert isinstance(event, ConsentEvent)
    assert event.answer is not None
    other = replace(event.answer, screen=replace(event.answer.screen, sha256="ab" * 32))
    signed = sign_event(replace(event, answer=other), student.device.signing_key)
    with pytest.raises(LocalProtocolError) as refused:
        book.record_all([registration, shown, signed], now=students.now)
    assert refused.value.code == "CONSENT_SCREEN_MISMATCH"


def test_short_questions_wait_for_nothing(book: ConsentBook, students: ConsentingStudents) -> None:
    """Neither for a long reading nor for a change that is not written yet; they see what was before."""
    student = students.student("s1")
    book.record_all(student.gives(SCORE, "akane"), now=students.now)
    withdrawal = book.verifier().verify(student.withdraws(SCORE, "akane"))
    with book.reading(), book.appending(now=students.now) as append:
        append(withdrawal)
        assert book.check(key("s1"), now=students.now) is None
    assert book.check(key("s1"), now=students.now) is ConsentRefusal.WITHDRAWN


def test_a_lock_that_another_process_keeps(
    tmp_path: Path, book: ConsentBook, students: ConsentingStudents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After waiting in vain the error says so, and nothing is written."""
    monkeypatch.setattr("noren_server.consents.consent_database.BUSY_TIMEOUT_SECONDS", 0.05)
    with ConsentBook(
        tmp_path / "consents.db", service_key=students.public_key, facts=PermissiveFacts().at
    ) as impatient:
        events = students.student("s1").gives(SCORE, "akane")
        with book.changing(), pytest.raises(LocalProtocolError) as refused:
            impatient.record_all(events, now=students.now)
        assert refused.value.code == "STORAGE_BUSY"
        assert impatient.record_all(events, now=students.now) == [0, 1, 2]


def test_who_else_is_found_so_is_looked_up_by_the_identifier(
    book: ConsentBook, students: ConsentingStudents
) -> None:
    """Not by reading everybody whom the company asked: the last consent costs what the first did."""
    asked: list[str] = []
    with book.changing() as database:
        database.set_trace_callback(asked.append)
    book.record_all(students.student("s1").gives(SCORE, "akane"), now=students.now)
    with book.changing() as database:
        database.set_trace_callback(None)
        [question] = {text for text in asked if "WHERE found_by = " in text}
        [(*_, plan)] = database.execute(f"EXPLAIN QUERY PLAN {question}")
    assert "records_by_identifier (found_by=? AND company=? AND season=? AND purpose=?)" in plan
