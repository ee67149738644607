"""Consent records as rows of the book, and back."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from noren_core.ids import IdentifierKind, normalise_identifier
from noren_core.rights.clauses import Clause
from noren_core.rights.consent.consent_event import Action, Address, Answer, ConsentKey, Screen
from noren_core.rights.consent.consent_record import ConsentRecord, ConsentState
from noren_core.rights.purposes import Purpose

_COLUMNS = (
    *("record", "student", "purpose", "company", "position", "season", "policy", "state", "overruled"),
    *("last_time", "shown_screen", "shown_clauses", "answered_at", "screen", "clauses", "action"),
    *("prechecked", "bundled", "dwell_ms", "expires_at", "identifier_kind", "identifier"),
    *("disclosure_key", "first_seq", "given_seq", "mailbox", "found_by"),
)
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM records"  # noqa: S608 (our own column names)
_REPLACE = f"INSERT OR REPLACE INTO records ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608
_OF_KEY = "student = ? AND company = ? AND purpose = ? AND season = ? AND position = ? AND policy = ?"
_OF_USE = "student = ? AND company = ? AND purpose = ? AND season = ? AND position = ?"


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record, and what the book adds to it.

    Attributes:
        record: as its events left it.
        first_seq: the number of its first event.
        given_seq: of its newest GIVEN or RENEWED; None if it was never given.
        mailbox: the student's handle for the company, given with the consent for training or scoring.
    """

    record: ConsentRecord
    first_seq: int
    given_seq: int | None = None
    mailbox: bytes | None = field(default=None, repr=False)


def by_id(database: sqlite3.Connection, record: bytes) -> StoredRecord | None:
    """The record with this id."""
    return _one(database.execute(f"{_SELECT} WHERE record = ?", (record,)))


def given_by(database: sqlite3.Connection, seq: int) -> StoredRecord | None:
    """The record whose newest GIVEN or RENEWED is event `seq`."""
    found = database.execute("SELECT record FROM events WHERE seq = ?", (seq,)).fetchone()
    stored = None if found is None else by_id(database, found[0])
    return stored if stored is not None and stored.given_seq == seq else None


def newest_of_key(database: sqlite3.Connection, key: ConsentKey) -> StoredRecord | None:
    """The record that was begun last for a consent key."""
    parts = (key.student, key.company, key.purpose.value, key.season, key.position, key.policy)
    return _one(database.execute(f"{_SELECT} WHERE {_OF_KEY} ORDER BY first_seq DESC LIMIT 1", parts))


def of_use(database: sqlite3.Connection, key: ConsentKey) -> list[StoredRecord]:
    """Every record about the same use, whichever version of the policy it names."""
    parts = (key.student, key.company, key.purpose.value, key.season, key.position)
    return [_stored(row) for row in database.execute(f"{_SELECT} WHERE {_OF_USE}", parts)]


def of_student(database: sqlite3.Connection, student: str) -> list[StoredRecord]:
    """Every record of a student, in the order in which they began."""
    found = database.execute(f"{_SELECT} WHERE student = ? ORDER BY first_seq", (student,))
    return [_stored(row) for row in found]


def given_in_cohort(
    database: sqlite3.Connection, company: str, season: str, purpose: Purpose
) -> Iterator[StoredRecord]:
    """Every record of a cohort that was given once, live or not."""
    found = database.execute(
        f"{_SELECT} WHERE company = ? AND season = ? AND purpose = ? AND given_seq IS NOT NULL",
        (company, season, purpose.value),
    )
    return (_stored(row) for row in found)


def all_given(database: sqlite3.Connection) -> list[StoredRecord]:
    """Every record that was given once, live or not."""
    return [_stored(row) for row in database.execute(f"{_SELECT} WHERE given_seq IS NOT NULL")]


def holders(database: sqlite3.Connection, record: ConsentRecord) -> set[str]:
    """The students whom the company of `record` finds by the same identifier for the same use, live."""
    key = record.key
    found = database.execute(
        f"{_SELECT} WHERE found_by = ? AND company = ? AND season = ? AND purpose = ?",
        (_found_by(record), key.company, key.season, key.purpose.value),
    )
    stored = [_stored(row).record for row in found]
    return {item.key.student for item in stored if item.is_live}


def put(database: sqlite3.Connection, stored: StoredRecord) -> None:
    """Write a record, in place of what it was before."""
    record, key = stored.record, stored.record.key
    shown = record.shown or Screen("", ())
    row = (
        *(record.record, key.student, key.purpose.value, key.company, key.position, key.season, key.policy),
        *(record.state.value, record.overruled and record.overruled.value, record.last_time),
        *(shown.sha256, _clause_text(shown), record.answered_at),
        *_answer_values(record.answer),
        *_address_values(record.address),
        *(stored.first_seq, stored.given_seq, stored.mailbox, _found_by(record)),
    )
    database.execute(_REPLACE, row)


def _one(found: sqlite3.Cursor) -> StoredRecord | None:
    row = found.fetchone()
    return None if row is None else _stored(row)


def _stored(row: tuple[Any, ...]) -> StoredRecord:
    key = ConsentKey(row[1], Purpose(row[2]), row[3], row[4], row[5], row[6])
    answer = address = None
    if row[13] is not None:
        screen = Screen(row[13], _clauses(row[14]))
        answer = Answer(
            screen,
            Action(row[15]),
            prechecked=bool(row[16]),
            bundled=bool(row[17]),
            dwell_ms=row[18],
            expires_at=row[19],
        )
    if row[20] is not None:
        address = Address(IdentifierKind(row[20]), row[21], row[22])
    record = ConsentRecord(
        key,
        row[0],
        ConsentState(row[7]),
        row[9],
        shown=Screen(row[10], _clauses(row[11])),
        answer=answer,
        answered_at=row[12],
        address=address,
        overruled=None if row[8] is None else ConsentState(row[8]),
    )
    return StoredRecord(record, row[23], row[24], row[25])


def _answer_values(answer: Answer | None) -> tuple[Any, ...]:
    if answer is None:
        return (None,) * 7
    return (
        *(answer.screen.sha256, _clause_text(answer.screen), answer.action.value),
        *(int(answer.prechecked), int(answer.bundled), answer.dwell_ms, answer.expires_at),
    )


def _address_values(address: Address | None) -> tuple[Any, ...]:
    if address is None:
        return (None,) * 3
    return (address.identifier_kind.value, address.identifier, address.disclosure_key)


def _found_by(record: ConsentRecord) -> bytes | None:
    address = record.address
    if address is None:
        return None
    return normalise_identifier(address.identifier_kind, address.identifier, record.key.position)


def _clause_text(screen: Screen) -> str:
    return " ".join(screen.clauses)


@lru_cache(maxsize=256)
def _clauses(text: str) -> tuple[Clause, ...]:
    return tuple(Clause(word) for word in text.split())
