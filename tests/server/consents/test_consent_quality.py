"""Consents in numbers: what is counted, and what is hidden."""

from __future__ import annotations

from consenting_students import NOW, ConsentingStudents

from noren_core.rights.purposes import Purpose
from noren_server.consents.consent_book import ConsentBook
from noren_server.consents.consent_quality import Outcome, consent_quality, live_consents

MONTH = 30 * 86_400


def asked(
    book: ConsentBook, students: ConsentingStudents, company: str, *, given: int, refused: int, first: int = 0
) -> None:
    """So many students consent, and so many refuse."""
    for number in range(given + refused):
        student = students.student(f"{company}-{first + number}")
        if number < given:
            events = student.gives(Purpose.SCORE, company)
        else:
            events = [*student.shown(Purpose.SCORE, company), student.refuses(Purpose.SCORE, company)]
        book.record_all(events, now=NOW + MONTH)


def test_answers_are_counted_by_purpose_company_and_month(
    book: ConsentBook, students: ConsentingStudents
) -> None:
    """Each record once, in each of three breakdowns."""
    asked(book, students, "akane", given=12, refused=11)
    found = consent_quality(book, now=NOW)
    row = found.outcomes["company"]["akane"]
    assert (row[Outcome.CONSENTED], row[Outcome.REFUSED], row["all"]) == (12, 11, 23)
    assert found.outcomes["purpose"][Purpose.SCORE] == row
    assert found.outcomes["month"]["2026-05"] == row
    assert found.decisions["<5"] == 12  # four seconds, as the device said; refusals have none
    assert found.expiries["all"] == 12


def test_a_count_of_few_is_hidden_and_so_is_what_it_would_follow_from(
    book: ConsentBook, students: ConsentingStudents
) -> None:
    """Three refusals: neither they nor the answers beside them are shown."""
    asked(book, students, "akane", given=40, refused=3)
    asked(book, students, "benten", given=40, refused=30, first=100)
    rows = consent_quality(book, now=NOW).outcomes["company"]
    assert rows["akane"][Outcome.REFUSED] is None
    assert rows["akane"][Outcome.CONSENTED] is None
    assert rows["benten"][Outcome.REFUSED] is None  # the total less this one would tell


def test_a_withdrawal_counts_where_the_consent_did(book: ConsentBook, students: ConsentingStudents) -> None:
    """A record has one outcome: its newest; what is withdrawn is no live consent."""
    asked(book, students, "akane", given=24, refused=0)
    for number in range(12):
        event = students.student(f"akane-{number}").withdraws(Purpose.SCORE, "akane")
        book.record(event, now=NOW + MONTH)
    row = consent_quality(book, now=NOW).outcomes["company"]["akane"]
    assert (row[Outcome.CONSENTED], row[Outcome.WITHDRAWN]) == (12, 12)
    assert live_consents(book) == live_consents(book, {"akane"}) == 12
    assert live_consents(book, {"akane"}, {"2027"}) == 12
    assert live_consents(book, {"akane"}, {"2020"}) == 0
    assert live_consents(book, {"benten"}) == 0


def test_months_stand_in_their_order(book: ConsentBook, students: ConsentingStudents) -> None:
    """Whichever was asked first."""
    for number, months in enumerate((2, 0, 1)):
        student = students.student(f"akane-{number}")
        book.record_all(student.gives(Purpose.SCORE, "akane", time=NOW + months * MONTH), now=NOW + 3 * MONTH)
    found = list(consent_quality(book, now=NOW).outcomes["month"])
    assert found == ["2026-05", "2026-06", "2026-07", "all"]


def test_a_book_without_anybody_has_no_numbers(book: ConsentBook) -> None:
    """And says so."""
    found = consent_quality(book, now=NOW)
    assert found.is_empty
    assert found.decisions["all"] == 0
