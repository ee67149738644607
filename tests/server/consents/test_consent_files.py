"""Consent events from a file and as tables."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from consenting_students import ALL_CLAUSES, SCREEN, ConsentingStudents

from noren_core.errors import DataError, LocalProtocolError, NorenError, VerificationError
from noren_core.rights.consent.consent_event import MAX_EVENT_BYTES
from noren_core.rights.purposes import Purpose
from noren_server.consents.consent_book import ConsentBook
from noren_server.consents.consent_files import EVENTS_FILE, STUDENTS_FILE, export_tables, import_events

SCORE = Purpose.SCORE


def test_a_file_is_taken_over_whole(tmp_path: Path, book: ConsentBook, students: ConsentingStudents) -> None:
    """Its events in its order; importing it again changes nothing."""
    student = students.student("s1")
    events = [*student.may_be_scored("akane"), student.withdraws(SCORE, "akane")]
    path = tmp_path / "events.jsonl"
    students.write(path, events)
    for _ in range(2):
        assert import_events(book, path, now=students.now) == len(events)
        assert [item.signed for item in book.student_events("s1")] == events


def _no_json(lines: list[bytes], students: ConsentingStudents) -> None:
    lines[3] = b"{}"


def _two_lines_in_one(lines: list[bytes], students: ConsentingStudents) -> None:
    lines[3] += lines.pop()


def _by_the_operator(lines: list[bytes], students: ConsentingStudents) -> None:
    lines[3] = lines[3].replace(b'"signature":"', b'"signature":"00')[:-4] + b'"}'


def _twice_given(lines: list[bytes], students: ConsentingStudents) -> None:
    lines[3] = students.student("s2").gives(SCORE, "akane")[-1].to_bytes()


def _too_long(lines: list[bytes], students: ConsentingStudents) -> None:
    lines[3] = b" " * (MAX_EVENT_BYTES + 1)


@pytest.mark.parametrize("damage", [_no_json, _two_lines_in_one, _by_the_operator, _twice_given, _too_long])
def test_one_bad_line_and_nothing_is_taken_over(
    damage: object, tmp_path: Path, book: ConsentBook, students: ConsentingStudents
) -> None:
    """The message names file and line, and nobody."""
    student = students.student("s1")
    lines = [event.to_bytes() for event in student.may_be_scored("akane")]
    damage(lines, students)  # type: ignore[operator]
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    with pytest.raises((DataError, VerificationError, LocalProtocolError)) as refused:
        import_events(book, path, now=students.now)
    assert refused.value.message.startswith("events.jsonl, line 4: ")
    assert "s1" not in refused.value.message.removeprefix("events.jsonl")
    assert book.student_events("s1") == ()
    assert book.student_key("s1") is None


@pytest.mark.parametrize("content", [None, b"no end of line"])
def test_a_file_that_cannot_be_read(
    content: bytes | None, tmp_path: Path, book: ConsentBook, students: ConsentingStudents
) -> None:
    """Missing, or cut off."""
    path = tmp_path / "events.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(NorenError) as refused:
        import_events(book, path, now=students.now)
    assert refused.value.code == "BAD_DATA"


def test_a_refused_file_can_be_mended(
    tmp_path: Path, book: ConsentBook, students: ConsentingStudents
) -> None:
    """What its good lines said was not remembered, neither keys nor records."""
    events = students.student("s1").gives(SCORE, "akane")
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(event.to_bytes() + b"\n" for event in events) + b"{}\n")
    with pytest.raises(DataError):
        import_events(book, path, now=students.now)
    students.write(path, events)
    assert import_events(book, path, now=students.now) == 3


def test_the_tables_say_what_the_events_say(
    tmp_path: Path, book: ConsentBook, students: ConsentingStudents
) -> None:
    """Every consent event, in order; students with the time of their first key."""
    one, two = students.student("s1"), students.student("s2")
    events = [
        *one.may_be_scored("akane"),
        *two.gives(Purpose.TRAIN, "beni", "sales", "2026", expires_at=students.now + 99),
        one.withdraws(SCORE, "akane"),
    ]
    numbers = book.record_all(events, now=students.now)
    export_tables(book, tmp_path / "export")
    rows = pq.read_table(tmp_path / "export" / EVENTS_FILE).to_pylist()
    kinds = [event.event.kind.value for event in events]
    left_out = ("KEY_REGISTERED", "OFFER_ACKNOWLEDGED")
    expected = [(n, kind) for n, kind in zip(numbers, kinds, strict=True) if kind not in left_out]
    assert [(row["seq"], row["state"]) for row in rows] == expected
    given = next(row for row in rows if row["student"] == "s2" and row["state"] == "GIVEN")
    assert given == {
        "seq": given["seq"],
        "time": given["time"],
        "student": "s2",
        "company": "beni",
        "position": "sales",
        "season": "2026",
        "purpose": "train.decline_model",
        "policy": "policy-1",
        "state": "GIVEN",
        "screen": SCREEN,
        "clauses": [clause.value for clause in ALL_CLAUSES],
        "action": "TICK_UNTICKED_BOX",
        "prechecked": False,
        "bundled": False,
        "expires_at": given["expires_at"],
    }
    assert given["expires_at"] > given["time"]
    withdrawn = rows[-1]
    assert (withdrawn["screen"], withdrawn["clauses"], withdrawn["action"], withdrawn["expires_at"]) == (
        "",
        [],
        "",
        0,
    )
    registered = pq.read_table(tmp_path / "export" / STUDENTS_FILE).to_pylist()
    times = {
        event.event.student: event.event.time for event in events if event.event.kind == "KEY_REGISTERED"
    }
    assert registered == [{"student": s, "registered_at": times[s]} for s in ("s1", "s2")]
    for name in (EVENTS_FILE, STUDENTS_FILE):
        assert (tmp_path / "export" / name).stat().st_mode & 0o777 == 0o600


def test_an_empty_book_gives_empty_tables(tmp_path: Path, book: ConsentBook) -> None:
    """With the same columns."""
    export_tables(book, tmp_path)
    table = pq.read_table(tmp_path / EVENTS_FILE)
    assert table.num_rows == 0
    assert table.column_names[:3] == ["seq", "time", "student"]
