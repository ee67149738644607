"""The consent book: every consent event of the platform, and what is permitted by them now.

docs/rights/consent.md. Promises: an event is appended with everything that follows from it in one
transaction, or not at all; whoever asks after the transaction gets the new answer, in this process and every
other one; a consent counts only as `consent_validity` says. Reading never waits for writing.

Students, identifiers and handles leave by no message, log line or repr of this package.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from noren_core.errors import LocalProtocolError
from noren_core.ids import IdentifierKind
from noren_core.rights.consent.consent_event import ConsentKey, SignedEvent, parse_event
from noren_core.rights.consent.consent_record import ConsentRecord, ConsentState
from noren_core.rights.consent.consent_validity import (
    ConsentRefusal,
    Facts,
    consent_error,
    consent_refusal,
    refusal_without_record,
)
from noren_core.rights.purposes import Purpose
from noren_server.consents import event_appender, record_rows
from noren_server.consents.consent_database import open_database, transaction
from noren_server.consents.event_appender import EventAppender, EventVerifier, VerifiedEvent
from noren_server.consents.record_rows import StoredRecord

DATABASE_NAME = "consents.db"

Append = Callable[[VerifiedEvent], int]


@dataclass(frozen=True, slots=True, order=True)
class ConsentedStudent:
    """One student with a consent for training or scoring at one company, and how she is reached there.

    Attributes:
        student: the platform's account id.
        position: that the consent is for.
        identifier_kind, identifier: what the company looks her up by.
        disclosure_key: X25519, 32 bytes; what is about her is sealed to it.
        mailbox: her handle for this company, 16 bytes.
        record: the id of the consent record, 16 bytes.
        seq: the number of the event that gave the consent.
    """

    student: str = field(repr=False)
    position: str
    identifier_kind: IdentifierKind
    identifier: str = field(repr=False)
    disclosure_key: bytes = field(repr=False)
    mailbox: bytes = field(repr=False)
    record: bytes = field(repr=False)
    seq: int = field(repr=False)


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event, its number in the log and the salt of its leaf."""

    seq: int
    salt: bytes = field(repr=False)
    data: bytes = field(repr=False)

    @property
    def signed(self) -> SignedEvent:
        """The event itself."""
        return parse_event(self.data)


class ConsentBook:
    """The consents of one platform."""

    def __init__(self, path: Path, *, service_key: bytes, facts: Callable[[int], Facts]) -> None:
        """Open the book at `path`; it is made (0600) if there is none.

        Args:
            path: the file.
            service_key: Ed25519 public key of the consent service.
            facts: by time (Unix seconds), what consents are judged by besides themselves.
        """
        self._service_key = service_key
        self._facts = facts
        self._write_lock, self._read_lock, self._scan_lock = (threading.Lock() for _ in range(3))
        self._writer, self._reader, self._scanner = (open_database(path) for _ in range(3))
        for connection in (self._reader, self._scanner):
            connection.execute("PRAGMA query_only = ON")

    def close(self) -> None:
        """Release the file; a second call does nothing."""
        with self._write_lock, self._read_lock, self._scan_lock:
            for connection in (self._writer, self._reader, self._scanner):
                connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Changing

    def record(self, signed: SignedEvent, *, now: int) -> int:
        """Verify and append one event; its number in the log. The same event again keeps its number.

        Raises:
            VerificationError: CONSENT_NOT_BY_SUBJECT, or a service's signature that does not verify.
            LocalProtocolError: as `EventAppender.append`.
        """
        return self.record_all([signed], now=now)[0]

    def record_all(self, events: Iterable[SignedEvent], *, now: int) -> list[int]:
        """The same for several, all or none."""
        verifier = self.verifier()
        verified = [verifier.verify(signed) for signed in events]
        with self.appending(now=now) as append:
            return [append(item) for item in verified]

    def verifier(self) -> EventVerifier:
        """Verifies events for `appending`, before the lock is taken: signatures take long."""
        return EventVerifier(self._service_key, place_of=self._place_of, key_of=self.student_key)

    @contextlib.contextmanager
    def appending(self, *, now: int) -> Iterator[Append]:
        """A transaction in which verified events are appended: all of the block, or nothing."""
        with self.changing() as database:
            yield EventAppender(database, now=now).append

    @contextlib.contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """The book in a transaction that holds its write lock."""
        with self._write_lock, transaction(self._writer):
            yield self._writer

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The book as it stands at one moment, for what takes long; short questions do not wait for it."""
        with self._scan_lock, transaction(self._scanner, "BEGIN"):
            yield self._scanner

    # Asking

    def check(self, key: ConsentKey, *, now: int) -> ConsentRefusal | None:
        """What stands against processing under this consent key; None if nothing does.

        The answer is for the student, the privacy officer and the auditor: tell a company
        `consent_validity.company_error()` and nothing else.
        """
        with self._read_lock:
            stored = record_rows.newest_of_key(self._reader, key)
            if stored is None:
                hers = [item.record for item in record_rows.of_student(self._reader, key.student)]
                return refusal_without_record(key, [record.key for record in hers if record.is_live])
        return self.refusal_of(stored.record, now=now)

    def verify(self, key: ConsentKey, *, now: int) -> None:
        """Raise LocalProtocolError with the code of `check`, unless the consent counts."""
        refusal = self.check(key, now=now)
        if refusal is not None:
            raise consent_error(refusal)

    def refusal_of(self, record: ConsentRecord, *, now: int) -> ConsentRefusal | None:
        """What stands against a record now."""
        return consent_refusal(record, self._facts(now), now=now)

    def newest(self, key: ConsentKey) -> StoredRecord | None:
        """The record that was begun last for this key."""
        with self._read_lock:
            return record_rows.newest_of_key(self._reader, key)

    def stored(self, record: bytes) -> StoredRecord | None:
        """The record with this id."""
        with self._read_lock:
            return record_rows.by_id(self._reader, record)

    def state(self, key: ConsentKey) -> ConsentState:
        """Where the newest record of this key is; NEVER_SHOWN if there is none."""
        stored = self.newest(key)
        return ConsentState.NEVER_SHOWN if stored is None else stored.record.state

    def live(self, company: str, season: str, purpose: Purpose, *, now: int) -> tuple[ConsentedStudent, ...]:
        """Who may be in this company's training or scoring cohort now, by student and position.

        Args:
            company: whose.
            season: which.
            purpose: training or scoring; the other purposes have no cohort.
            now: Unix seconds.
        """
        _verify_cohort(purpose)
        with self.reading() as database:
            given = list(record_rows.given_in_cohort(database, company, season, purpose))
        return _newest(item for item in given if self.refusal_of(item.record, now=now) is None)

    def scorable(self, company: str, season: str, *, now: int) -> tuple[ConsentedStudent, ...]:
        """Of `live` for scoring, whose consent to be linked counts too and who acknowledged the offer."""
        with self.reading() as database:
            score = list(record_rows.given_in_cohort(database, company, season, Purpose.SCORE))
            link = list(record_rows.given_in_cohort(database, company, season, Purpose.LINK))
            offered = _acknowledged(database, company, season)
        linked = {_place(item) for item in link if self.refusal_of(item.record, now=now) is None}
        permitted = (item for item in score if _place(item) in linked & offered)
        return _newest(item for item in permitted if self.refusal_of(item.record, now=now) is None)

    def withdrawn(self, company: str, season: str, purpose: Purpose) -> tuple[ConsentedStudent, ...]:
        """Who consented once and does so no longer, by what students and service said, by each identifier.

        A consent to be scored is no longer one when that to be linked has ended. What ends by itself (a
        suspension, a screen's verification) and may come again ends nothing here.
        """
        stands, ended = self._split(company, season, purpose)
        standing = {_found_as(item) for item in stands}
        return _newest((item for item in ended if _found_as(item) not in standing), _found_as)

    def standing(self, company: str, season: str, purpose: Purpose) -> tuple[ConsentedStudent, ...]:
        """Who consented and did not end it, by the same measure."""
        return _newest(self._split(company, season, purpose)[0], _found_as)

    def acknowledged(self, company: str, season: str) -> frozenset[tuple[str, str]]:
        """(student, position) of every offer of this company that its student acknowledged."""
        with self.reading() as database:
            return _acknowledged(database, company, season)

    def epoch(self) -> int:
        """How often any consent has ended; it only grows."""
        with self._read_lock:
            return int(self._reader.execute("SELECT COALESCE(SUM(epoch), 0) FROM epochs").fetchone()[0])

    def epoch_of(self, student: str, company: str) -> int:
        """How often consents of this student to this company have ended."""
        with self._read_lock:
            return event_appender.epoch_of(self._reader, student, company)

    def student_key(self, student: str) -> bytes | None:
        """The Ed25519 key that the student has now; None if she registered none."""
        with self._read_lock:
            return event_appender.registered_key(self._reader, student)

    def student_records(self, student: str) -> tuple[StoredRecord, ...]:
        """Every record of hers, in the order in which they began."""
        with self._read_lock:
            return tuple(record_rows.of_student(self._reader, student))

    def live_records(self) -> Iterator[StoredRecord]:
        """Every record that was given and not ended, whether or not it counts otherwise."""
        with self.reading() as database:
            given = record_rows.all_given(database)
        return (item for item in given if item.record.is_live)

    def student_events(self, student: str) -> tuple[LoggedEvent, ...]:
        """Every event that is about her, in order."""
        with self._read_lock:
            found = self._reader.execute(
                "SELECT seq, salt, event FROM events WHERE student = ? ORDER BY seq", (student,)
            )
            return tuple(LoggedEvent(*row) for row in found)

    def mailboxes(self, student: str) -> tuple[tuple[str, bytes], ...]:
        """(company, handle) of every mailbox that she has or had, by company, oldest first."""
        with self._read_lock:
            found = self._reader.execute(
                "SELECT company, handle FROM mailboxes WHERE student = ? ORDER BY company, epoch", (student,)
            )
            return tuple((company, bytes(handle)) for company, handle in found)

    def is_mailbox(self, company: str, handle: bytes) -> bool:
        """Whether some student has, or had, this handle for the company."""
        with self._read_lock:
            found = self._reader.execute(
                "SELECT 1 FROM mailboxes WHERE handle = ? AND company = ?", (handle, company)
            )
            return found.fetchone() is not None

    def _place_of(self, digest: bytes) -> int | None:
        with self._read_lock:
            return event_appender.place_of(self._reader, digest)

    def _split(
        self, company: str, season: str, purpose: Purpose
    ) -> tuple[list[StoredRecord], list[StoredRecord]]:
        """The records of a cohort that stand, and those that ended."""
        _verify_cohort(purpose)
        with self.reading() as database:
            given = list(record_rows.given_in_cohort(database, company, season, purpose))
            links = list(record_rows.given_in_cohort(database, company, season, Purpose.LINK))
        unlinked: set[tuple[str, str]] = set()
        if purpose is Purpose.SCORE:
            linked = {_place(item) for item in links if item.record.is_live}
            unlinked = {_place(item) for item in links} - linked
        stands = [item for item in given if item.record.is_live and _place(item) not in unlinked]
        return stands, [item for item in given if not item.record.is_live or _place(item) in unlinked]


def _verify_cohort(purpose: Purpose) -> None:
    if purpose not in (Purpose.TRAIN, Purpose.SCORE):
        raise LocalProtocolError("consents: expected a purpose that companies find students for, got another")


def _place(stored: StoredRecord) -> tuple[str, str]:
    return stored.record.key.student, stored.record.key.position


def _acknowledged(database: sqlite3.Connection, company: str, season: str) -> frozenset[tuple[str, str]]:
    found = database.execute(
        "SELECT student, position FROM acknowledged WHERE company = ? AND season = ?", (company, season)
    )
    return frozenset((student, position) for student, position in found)


def _found_as(stored: StoredRecord) -> tuple[str, ...]:
    """Student and position, and what she is looked up by."""
    student = consented_student(stored)
    return (student.student, student.position, student.identifier_kind.value, student.identifier)


def _newest(
    several: Iterable[StoredRecord], of: Callable[[StoredRecord], tuple[str, ...]] = _place
) -> tuple[ConsentedStudent, ...]:
    """One for each value of `of`, the one that was given last; sorted by student and position."""
    newest: dict[tuple[str, ...], ConsentedStudent] = {}
    for stored in several:
        place, student = of(stored), consented_student(stored)
        if place not in newest or newest[place].seq < student.seq:
            newest[place] = student
    return tuple(newest[place] for place in sorted(newest))


def consented_student(stored: StoredRecord) -> ConsentedStudent:
    """The student of a record for training or scoring that was given."""
    address = stored.record.address
    if address is None or stored.mailbox is None or stored.given_seq is None:
        raise LocalProtocolError("consents: expected an address with a consent, got none")
    return ConsentedStudent(
        stored.record.key.student,
        stored.record.key.position,
        address.identifier_kind,
        address.identifier,
        address.disclosure_key,
        stored.mailbox,
        stored.record.record,
        stored.given_seq,
    )
