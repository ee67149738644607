"""Verifying consent events and appending them to the book, each with everything that follows from it.

Promises: an event is verified under the key that its student has at its place in the log; one that may not
follow changes nothing; records, mailboxes, keys, acknowledged offers and epochs change with it, in the
transaction of the caller. The same event again keeps its place.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from noren_core.errors import LocalProtocolError
from noren_core.rights.consent.consent_event import (
    ConsentEvent,
    EventKind,
    KeyRegistered,
    OfferAcknowledged,
    SignedEvent,
    is_signed_by_student,
    verify_event,
)
from noren_core.rights.consent.consent_log import SALT_BYTES, log_leaf
from noren_core.rights.consent.consent_record import ENDED_STATES, ConsentRecord, advance, begin, overrule
from noren_core.rights.consent.permit import MAILBOX_BYTES
from noren_server.consents import record_rows
from noren_server.consents.record_rows import StoredRecord

MAX_SKEW_SECONDS = 300

_ENDS = frozenset(EventKind(state.value) for state in ENDED_STATES)
_GIVES = frozenset({EventKind.GIVEN, EventKind.RENEWED})

RandomBytes = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class VerifiedEvent:
    """A signed event whose signatures verified under `student_key`, or which stands in the book already."""

    signed: SignedEvent
    data: bytes = field(repr=False)
    student_key: bytes | None
    place: int | None = None

    @property
    def digest(self) -> bytes:
        """SHA-256 of its bytes."""
        return hashlib.sha256(self.data).digest()


class EventVerifier:
    """Verifies events that are to be appended one after the other."""

    def __init__(
        self,
        service_key: bytes,
        *,
        place_of: Callable[[bytes], int | None],
        key_of: Callable[[str], bytes | None],
    ) -> None:
        """Make one that is used once.

        Args:
            service_key: of the consent service.
            place_of: where an event with this digest stands already.
            key_of: the key that a student has now.
        """
        self._service_key = service_key
        self._place_of = place_of
        self._key_of = key_of
        self._keys: dict[str, bytes] = {}  # registered by events that were verified, and not in the book yet

    def verify(self, signed: SignedEvent) -> VerifiedEvent:
        """The event, verified; errors as in `verify_event`."""
        event, data = signed.event, signed.to_bytes()
        place = self._place_of(hashlib.sha256(data).digest())
        if place is not None:
            return VerifiedEvent(signed, data, None, place)
        key = self._keys.get(event.student) or self._key_of(event.student)
        verify_event(signed, student_key=key, service_key=self._service_key)
        if isinstance(event, KeyRegistered):
            self._keys[event.student] = event.public_key
        return VerifiedEvent(signed, data, key)


class EventAppender:
    """Appends events inside a transaction that the caller began."""

    def __init__(
        self, database: sqlite3.Connection, *, now: int, random_bytes: RandomBytes = secrets.token_bytes
    ) -> None:
        self._database = database
        self._now = now
        self._random_bytes = random_bytes

    def append(self, verified: VerifiedEvent) -> int:
        """The number of the event in the log.

        1. The same event again keeps its number.
        2. If she signed it, her key is still the one under which it was verified.
        3. It is not from the future.
        4. What its kind demands, and what follows from it.

        Raises:
            LocalProtocolError: with a code of `consent_record.advance`, or CONSENT_KEY_CHANGED,
                CONSENT_RECORD_OPEN, IDENTIFIER_TAKEN; nothing changes.
        """
        event = verified.signed.event
        place = place_of(self._database, verified.digest)  # 1
        if place is not None:
            return place
        is_hers = is_signed_by_student(event)
        if is_hers and registered_key(self._database, event.student) != verified.student_key:  # 2
            raise _refused("the student's key to be the same as a moment ago", "CONSENT_KEY_CHANGED")
        if event.time > self._now + MAX_SKEW_SECONDS:  # 3
            raise _refused("an event of the past, got one of the future", "CONSENT_EVENT_OUT_OF_ORDER")
        match event:  # 4
            case KeyRegistered():
                return self._register_key(event, verified)
            case OfferAcknowledged():
                return self._acknowledge(event, verified)
            case ConsentEvent():
                return self._advance(event, verified)

    def _register_key(self, event: KeyRegistered, verified: VerifiedEvent) -> int:
        known = self._database.execute(
            "SELECT registered_at, key_since FROM students WHERE student = ?", (event.student,)
        ).fetchone()
        if known is not None and event.time < known[1]:
            raise _refused("an event no older than the last, got an older one", "CONSENT_EVENT_OUT_OF_ORDER")
        registered_at = event.time if known is None else known[0]
        self._database.execute(
            "INSERT OR REPLACE INTO students VALUES (?, ?, ?, ?)",
            (event.student, event.public_key, registered_at, event.time),
        )
        return self._add(verified, b"")

    def _acknowledge(self, event: OfferAcknowledged, verified: VerifiedEvent) -> int:
        """An offer that was acknowledged before stays as it was."""
        place = (event.company, event.season, event.student, event.position)
        known = self._database.execute(
            "SELECT seq FROM acknowledged WHERE company = ? AND season = ? AND student = ? AND position = ?",
            place,
        ).fetchone()
        if known is not None:
            return int(known[0])
        seq = self._add(verified, b"")
        self._database.execute("INSERT INTO acknowledged VALUES (?, ?, ?, ?, ?)", (*place, seq))
        return seq

    def _advance(self, event: ConsentEvent, verified: VerifiedEvent) -> int:
        """One step of a record: 1. it may be; 2. it is there; 3. what it ends elsewhere; 4. the epoch."""
        stored = record_rows.by_id(self._database, event.record)
        before = self._begin(event) if stored is None else stored.record
        after = advance(before, event)  # 1
        if event.address is not None:
            self._verify_free(after)
        seq = self._add(verified, event.record)  # 2
        now_stored = replace(stored or StoredRecord(before, seq), record=after)
        if event.kind in _GIVES:
            now_stored = replace(now_stored, given_seq=seq)
        if event.address is not None:
            now_stored = replace(now_stored, mailbox=self._mailbox(event))
        record_rows.put(self._database, now_stored)
        overruled = self._overrule(event)  # 3
        if overruled or event.kind in _ENDS:  # 4
            self._raise_epoch(event)
        return seq

    def _begin(self, event: ConsentEvent) -> ConsentRecord:
        """The new record, if the one before for this key is over."""
        last = record_rows.newest_of_key(self._database, event.key)
        if last is not None and not last.record.is_over:
            raise _refused("the record of this consent, got another id", "CONSENT_RECORD_OPEN")
        if last is not None and event.time < last.record.last_time:
            raise _refused("an event no older than the last, got an older one", "CONSENT_EVENT_OUT_OF_ORDER")
        return begin(event)

    def _verify_free(self, record: ConsentRecord) -> None:
        """Two students whom a company finds by one identifier could not be told apart."""
        if record_rows.holders(self._database, record) - {record.key.student}:
            raise _refused("an identifier that nobody else gave, got one in use", "IDENTIFIER_TAKEN")

    def _mailbox(self, event: ConsentEvent) -> bytes:
        """The student's handle for the company; another one after any consent to it ended."""
        student, company = event.key.student, event.key.company
        of = (student, company, epoch_of(self._database, student, company))
        known = self._database.execute(
            "SELECT handle FROM mailboxes WHERE student = ? AND company = ? AND epoch = ?", of
        ).fetchone()
        if known is not None:
            return bytes(known[0])
        handle = self._random_bytes(MAILBOX_BYTES)
        self._database.execute(
            "INSERT INTO mailboxes (handle, student, company, epoch) VALUES (?, ?, ?, ?)", (handle, *of)
        )
        return handle

    def _overrule(self, event: ConsentEvent) -> bool:
        """End the other records about the same use that the event ends; whether there were any."""
        others = record_rows.of_use(self._database, event.key)
        changed = [
            replace(stored, record=after)
            for stored in others
            if stored.record.record != event.record
            and (after := overrule(stored.record, event)) is not stored.record
        ]
        for stored in changed:
            record_rows.put(self._database, stored)
        return bool(changed)

    def _raise_epoch(self, event: ConsentEvent) -> None:
        self._database.execute(
            "INSERT INTO epochs VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET epoch = epoch + 1",
            (event.key.student, event.key.company),
        )

    def _add(self, verified: VerifiedEvent, record: bytes) -> int:
        seq = size(self._database)
        salt = self._random_bytes(SALT_BYTES)
        self._database.execute(
            "INSERT INTO events (seq, student, record, digest, leaf, salt, event)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                *(seq, verified.signed.event.student, record, verified.digest),
                *(log_leaf(salt, verified.data), salt, verified.data),
            ),
        )
        return seq


def registered_key(database: sqlite3.Connection, student: str) -> bytes | None:
    """The student's key now."""
    found = database.execute("SELECT public_key FROM students WHERE student = ?", (student,)).fetchone()
    return None if found is None else bytes(found[0])


def epoch_of(database: sqlite3.Connection, student: str, company: str) -> int:
    """How often consents of this student to this company have ended."""
    found = database.execute(
        "SELECT epoch FROM epochs WHERE student = ? AND company = ?", (student, company)
    ).fetchone()
    return 0 if found is None else int(found[0])


def size(database: sqlite3.Connection) -> int:
    """How many events there are."""
    return int(database.execute("SELECT COALESCE(MAX(seq) + 1, 0) FROM events").fetchone()[0])


def place_of(database: sqlite3.Connection, digest: bytes) -> int | None:
    """The number of the event whose bytes have this SHA-256."""
    found = database.execute("SELECT seq FROM events WHERE digest = ?", (digest,)).fetchone()
    return None if found is None else int(found[0])


def _refused(expected: str, code: str) -> LocalProtocolError:
    return LocalProtocolError(f"consent event: expected {expected}", code=code)
