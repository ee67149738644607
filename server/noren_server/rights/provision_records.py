"""Every provision of personal data to a company, written down before its bytes leave; kept for three years.

docs/rights/provision-records.md. Promises: the rows of a table are handed on only when each of them stands in
this file, synced to disk, with the tag by which it leaves; a crash in between leaves a record without bytes,
never bytes without a record. A record names the permit and the consent record under which it left, so that
the four of them (permit, consent event, verified screen, provision) can be compared. Nothing is changed; what
is older than the law asks for is removed by `expire` and by nothing else, which triggers see to.

It is personal data, of the platform alone: companies keep records of their own.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from noren_core.crypto.sealed_table import TableContext
from noren_core.errors import LocalProtocolError
from noren_core.ids import TableKind, normalise_identifier
from noren_core.rights.disclosure.student_report import ProvisionLine
from noren_core.rights.erasure.provision_record import comparison
from noren_core.rights.purposes import PURPOSE_OF_TABLE, Purpose
from noren_server.consents.consent_service import Provision
from noren_server.policies.evidence_file import EvidenceFile

DATABASE_NAME = "provisions.db"
KEPT_SECONDS = 3 * 366 * 86_400
"""Counted from the provision itself (APPI article 30 and its record guideline: three years)."""

CACHE_KIBIBYTES = 256 << 10
LOOKED_UP_BYTES = 16

_KIND_OF_PURPOSE = {purpose: kind for kind, purpose in PURPOSE_OF_TABLE.items()}
_SCHEMA = """
CREATE TABLE provisions (
    permit BLOB PRIMARY KEY,
    at INTEGER NOT NULL,
    student TEXT NOT NULL,
    company TEXT NOT NULL,
    campaign TEXT NOT NULL,
    season TEXT NOT NULL,
    position TEXT NOT NULL,
    purpose TEXT NOT NULL,
    record BLOB NOT NULL,
    consent_seq INTEGER NOT NULL,
    looked_up BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX provisions_looked_up ON provisions (looked_up);
CREATE TABLE sealed_rows (
    table_id BLOB NOT NULL,
    tag BLOB NOT NULL,
    permit BLOB NOT NULL,
    PRIMARY KEY (table_id, tag)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX sealed_rows_by_permit ON sealed_rows (permit);
CREATE TABLE removals (before INTEGER NOT NULL) STRICT;
CREATE INDEX provisions_of_student ON provisions (student, at);
CREATE INDEX provisions_by_time ON provisions (at);
CREATE TRIGGER provisions_no_update BEFORE UPDATE ON provisions
BEGIN SELECT RAISE(ABORT, 'provisions are never changed'); END;
CREATE TRIGGER provisions_no_delete BEFORE DELETE ON provisions
WHEN OLD.at >= (SELECT COALESCE(MAX(before), 0) FROM removals)
BEGIN SELECT RAISE(ABORT, 'provisions are kept'); END;
CREATE TRIGGER sealed_rows_no_update BEFORE UPDATE ON sealed_rows
BEGIN SELECT RAISE(ABORT, 'provisions are never changed'); END;
CREATE TRIGGER sealed_rows_no_delete BEFORE DELETE ON sealed_rows
WHEN EXISTS (SELECT 1 FROM provisions WHERE permit = OLD.permit)
BEGIN SELECT RAISE(ABORT, 'provisions are kept'); END;
"""
_INSERT = """
INSERT INTO provisions
    (permit, at, student, company, campaign, season, position, purpose, record, consent_seq, looked_up)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_SEAL = """
INSERT INTO sealed_rows (table_id, tag, permit) VALUES (?, ?, (
    SELECT permit FROM provisions WHERE looked_up = ? AND company = ? AND campaign = ? AND purpose = ?
    ORDER BY at DESC LIMIT 1
))"""
_OF_STUDENT = """
SELECT permit, at, student, company, campaign, season, position, purpose, record, consent_seq
FROM provisions WHERE student = ? ORDER BY at"""
_AFTER = """
SELECT permit, at, student, company, campaign, season, position, purpose, record, consent_seq
FROM provisions WHERE (at, permit) > (?, ?) ORDER BY at, permit LIMIT 10000"""
_STUDENTS = """
SELECT DISTINCT student FROM provisions
WHERE :company IN ('', company) AND :purpose IN ('', purpose) AND at BETWEEN :since AND :until"""


@dataclass(frozen=True, slots=True)
class ProvisionRecord:
    """One message about one student that left for a company.

    Attributes:
        permit: its number, 16 bytes.
        at: Unix seconds.
        record: id of the consent record, 16 bytes.
        consent_seq: number of the event that gave the consent.
    """

    permit: bytes = field(repr=False)
    at: int
    student: str = field(repr=False)
    company: str
    campaign: str
    season: str
    position: str
    purpose: Purpose
    record: bytes = field(repr=False)
    consent_seq: int = field(repr=False)


class ProvisionRecords:
    """The provision records of one platform."""

    def __init__(self, file: EvidenceFile) -> None:
        self._file = file

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Those in a platform's directory; the file is made (0600) if there is none."""
        return cls(EvidenceFile(directory / DATABASE_NAME, schema=_SCHEMA, version=1))

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def write(self, provisions: Sequence[Provision]) -> None:
        """Write all of them down, or none; they may leave when this has returned."""
        rows = [
            (
                item.permit.jti,
                item.at,
                item.student.student,
                item.permit.audience,
                item.campaign,
                item.season,
                item.student.position,
                item.permit.purpose.value,
                item.student.record,
                item.student.seq,
                looked_up(_identifier(item)),
            )
            for item in provisions
        ]
        rows.sort()  # in the order of the table: a million of them are then written in one sweep
        with self._file.writing() as database:
            _use_memory(database)
            database.executemany(_INSERT, rows)

    def seal(self, context: TableContext, identifiers: Sequence[bytes], tags: Sequence[bytes]) -> None:
        """Write down by which tag every row of a table leaves; the newest provision of each is meant.

        Args:
            context: of the table.
            identifiers: normalised, of the rows.
            tags: of the rows, in the same order.

        Raises:
            LocalProtocolError: with code PROVISION_RECORD_REQUIRED, if one of them was not provided; nothing
                is written then, and the table may not be brought out.
        """
        if len(identifiers) != len(tags):
            raise _not_provided()
        about = (context.company, context.campaign, PURPOSE_OF_TABLE[context.kind].value)
        rows = sorted(zip(tags, map(looked_up, identifiers), strict=True))
        with self._file.writing() as database:
            _use_memory(database)
            try:
                database.executemany(_SEAL, ((context.table_id, tag, found, *about) for tag, found in rows))
            except sqlite3.IntegrityError as error:
                raise _not_provided() from error

    def of_student(self, student: str) -> tuple[ProvisionLine, ...]:
        """What was provided of a student, oldest first, for her report."""
        with self._file.reading() as database:
            rows = database.execute(_OF_STUDENT, (student,)).fetchall()
        return tuple(
            ProvisionLine(
                company=item.company,
                campaign=item.campaign,
                position=item.position,
                kind=_KIND_OF_PURPOSE.get(item.purpose, TableKind.TRAIN),
                at=item.at,
                record=item.record.hex(),
            )
            for item in map(_record, rows)
        )

    def records(self) -> Iterator[ProvisionRecord]:
        """Every record, oldest first, some thousands in memory at a time."""
        after: tuple[int, bytes] = (-1, b"")
        while True:
            with self._file.reading() as database:
                rows = database.execute(_AFTER, after).fetchall()
            if not rows:
                return
            yield from map(_record, rows)
            after = (rows[-1][1], rows[-1][0])

    def students(
        self, *, company: str = "", purpose: Purpose | None = None, since: int = 0, until: int | None = None
    ) -> frozenset[str]:
        """Whom a set of provisions was about: exactly those whom an incident in it affects."""
        wanted = {
            "company": company,
            "purpose": purpose.value if purpose else "",
            "since": since,
            "until": until if until is not None else 1 << 62,
        }
        with self._file.reading() as database:
            return frozenset(row[0] for row in database.execute(_STUDENTS, wanted))

    def has_expired(self, *, now: int) -> bool:
        """Whether something was kept longer than the law asks for."""
        with self._file.reading() as database:
            query = "SELECT EXISTS (SELECT 1 FROM provisions WHERE at < ?)"
            return bool(database.execute(query, (now - KEPT_SECONDS,)).fetchone()[0])

    def expire(self, *, now: int) -> bool:
        """Remove what was kept long enough; whether there was anything."""
        before = now - KEPT_SECONDS
        with self._file.writing() as database:
            database.execute("INSERT INTO removals VALUES (?)", (before,))
            gone = database.execute("DELETE FROM provisions WHERE at < ?", (before,))
            database.execute("DELETE FROM sealed_rows WHERE permit NOT IN (SELECT permit FROM provisions)")
            return gone.rowcount > 0

    def comparison_file(self, table_id: bytes, *, salt: bytes) -> bytes:
        """The rows of one table for a comparison with the company's twin, on the company's premises.

        Sorted salted hashes of the tags: whoever has a tag can ask whether it is there, and nobody can tell
        from the file which of a table's rows are students'. JSON, one object.
        """
        with self._file.reading() as database:
            rows = database.execute("SELECT tag FROM sealed_rows WHERE table_id = ?", (table_id,)).fetchall()
        return comparison(table_id, [tag for (tag,) in rows], salt=salt)


def _use_memory(database: sqlite3.Connection) -> None:
    """Let the indices of a large table stay in memory while it is written."""
    database.execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")


def looked_up(identifier: bytes) -> bytes:
    """Under what a provision is found by what the company looks a student up by."""
    return hashlib.sha256(b"noren/v1/provision\0" + identifier).digest()[:LOOKED_UP_BYTES]


def _identifier(item: Provision) -> bytes:
    student = item.student
    return normalise_identifier(student.identifier_kind, student.identifier, student.position)


def _not_provided() -> LocalProtocolError:
    return LocalProtocolError(
        "provisions: expected a record of every row before it leaves, got a row without one",
        code="PROVISION_RECORD_REQUIRED",
    )


def _record(row: tuple[bytes, int, str, str, str, str, str, str, bytes, int]) -> ProvisionRecord:
    permit, at, student, company, campaign, season, position, purpose, record, consent_seq = row
    return ProvisionRecord(
        permit, at, student, company, campaign, season, position, Purpose(purpose), record, consent_seq
    )
