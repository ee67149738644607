"""Disclosure requests of students: opened, answered by companies, settled; and what is overdue.

docs/rights/mirror-and-disclosure.md §4. Promises: the platform's own part is answered at once, by the report;
a company is asked through the inbox and answers into the mailbox, and the platform sees neither what it says
nor whether it says anything; a second request about the same company while one is open is the same request.
Whether an answer came, the student's device says: it alone can open one.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from noren_core import canonical_json
from noren_core.crypto.identity import SigningKey
from noren_core.errors import LocalProtocolError
from noren_core.rights.consent.consent_event import KeyRegistered
from noren_core.rights.disclosure.mirror_copy import REQUEST_BYTES, verify_disclosure_key
from noren_core.rights.disclosure.requests import (
    ANSWER_SECONDS,
    DenialReason,
    DisclosureState,
    InboxItem,
    KeyChange,
    Scope,
    settled,
    verify_denial,
    verify_next,
)
from noren_core.rights.purposes import Purpose
from noren_server.consents.consent_book import ConsentBook
from noren_server.consents.record_rows import StoredRecord
from noren_server.policies.evidence_file import EvidenceFile

MAX_OPEN = 32
MAX_A_DAY = 32

CampaignsOf = Callable[[str, str], Sequence[str]]
"""The campaigns in which a company scores a season, closed ones too."""

_UNFINISHED = (DisclosureState.IN_PROGRESS.value,)


@dataclass(frozen=True, slots=True)
class RequestStatus:
    """Where one request is.

    Attributes:
        request: its id, 16 bytes.
        scope: what it asks for.
        state: how far it is.
        opened_at, due_at: Unix seconds.
        reasons: why it was denied.
        items: (id, whether her device received the answer) of everything that the company owes.
    """

    request: bytes
    scope: Scope
    state: DisclosureState
    opened_at: int
    due_at: int
    reasons: tuple[DenialReason, ...]
    items: tuple[tuple[bytes, bool], ...] = field(repr=False)

    def to_body(self) -> dict[str, Any]:
        """What her device is told."""
        return {
            "request": self.request.hex(),
            "scope": self.scope.to_body(),
            "state": self.state.value,
            "opened_at": self.opened_at,
            "due_at": self.due_at,
            "reasons": [reason.value for reason in self.reasons],
            "items": [{"item": item.hex(), "received": received} for item, received in self.items],
        }


@dataclass(frozen=True, slots=True)
class OfficersRequest:
    """A request as the privacy officer sees it: not whose it is, nor what was answered.

    Attributes:
        request: its id, 16 bytes.
        company: that it is about; empty if about the platform alone.
        state: how far it is.
        opened_at, due_at: Unix seconds.
        reasons: why it was denied.
    """

    request: bytes
    company: str
    state: DisclosureState
    opened_at: int
    due_at: int
    reasons: tuple[DenialReason, ...]


class DisclosureDesk:
    """The requests of every student of one platform."""

    def __init__(
        self,
        file: EvidenceFile,
        book: ConsentBook,
        key: SigningKey,
        campaigns_of: CampaignsOf,
        *,
        clock: Callable[[], int],
    ) -> None:
        """The desk of the platform whose signing key is `key`; `file` is its `rights.db`."""
        self._file = file
        self._book = book
        self._key = key
        self._campaigns_of = campaigns_of
        self._clock = clock

    def open(self, student: str, scope: Scope, *, disclosure_key: bytes = b"") -> bytes:
        """Open a request, and take it as far as it goes at once; its id.

        1. Who she is was found out before: her registered key signed what brought this here.
        2. A request about this company that is still open is this one.
        3. What the company owes: an answer for every campaign and position that she could be scored for.
        4. All of it in one transaction; without a company there is nothing left to wait for.

        Args:
            student: who asks.
            scope: for what.
            disclosure_key: what answers are sealed to, if she lost the key of her consent.

        Raises:
            LocalProtocolError: with code TOO_MANY_REQUESTS, if 32 requests are open, or were opened within a
                day: each is kept.
            VerificationError: with code DISCLOSURE_KEY_MISMATCH, for another key than that of her consent,
                unless she was found to be herself since she gave it.
        """
        now = self._clock()
        with self._file.writing() as database:
            unfinished = self._unfinished(database, student)
            for request, company in unfinished:  # 2
                if scope.company and company == scope.company:
                    return request
            (today,) = database.execute(
                "SELECT COUNT(*) FROM requests WHERE student = ? AND opened_at > ?", (student, now - 86_400)
            ).fetchone()
            if len(unfinished) >= MAX_OPEN or today >= MAX_A_DAY:
                raise LocalProtocolError(
                    "disclosure: expected at most 32 open requests and 32 a day, got another",
                    code="TOO_MANY_REQUESTS",
                )
            items = self._owed(student, scope.company, disclosure_key, now) if scope.company else []  # 3
            request = secrets.token_bytes(REQUEST_BYTES)
            body = canonical_json.encode(scope.to_body())
            database.execute(  # 4
                "INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, '')",
                (request, student, scope.company, body, _begun(items), now, now + ANSWER_SECONDS),
            )
            database.executemany(
                "INSERT INTO owed VALUES (?, ?, ?, ?, ?, ?, 0, 0)",
                [(i.request, request, scope.company, i.campaign, i.to_bytes(), i.due_at) for i in items],
            )
        return request

    def requests(self, student: str) -> tuple[RequestStatus, ...]:
        """Every request of hers as it is now, oldest first."""
        with self._file.writing() as database:
            self._settle(database)
            rows = database.execute(
                "SELECT request, scope, state, opened_at, due_at, reasons FROM requests WHERE student = ? "
                "ORDER BY opened_at, request",
                (student,),
            ).fetchall()
            return tuple(_status(database, row) for row in rows)

    def open_requests(self) -> tuple[OfficersRequest, ...]:
        """The unfinished ones, the most urgent first: for the privacy officer, without whose they are."""
        return self._officers("state IN (?)", *_UNFINISHED)

    def request(self, request: bytes) -> OfficersRequest:
        """One request as the officer sees it; LocalProtocolError (NOT_AVAILABLE) if there is none."""
        for found in self._officers("request = ?", request):
            return found
        raise _unknown()

    def received(self, student: str, item: bytes) -> None:
        """Her device opened the answer to this item.

        Raises:
            LocalProtocolError: with code NOT_AVAILABLE, if nothing of hers has this id.
        """
        with self._file.writing() as database:
            changed = database.execute(
                "UPDATE owed SET received = 1 WHERE item = ? AND request IN "
                "(SELECT request FROM requests WHERE student = ?)",
                (item, student),
            )
            if not changed.rowcount:
                raise _unknown()
            self._settle(database)

    def revoke(self, student: str, request: bytes) -> None:
        """She does not want it any more."""
        self._end(request, DisclosureState.REVOKED, (), student=student)

    def deny(self, request: bytes, reasons: Collection[DenialReason]) -> None:
        """The privacy officer denies it, with reasons that the law knows.

        Raises:
            LocalProtocolError: with code DENIAL_REASON_NOT_ALLOWED, DISCLOSURE_STATE or NOT_AVAILABLE.
        """
        verify_denial(reasons)
        self._end(request, DisclosureState.DENIED, sorted(set(reasons)))

    def has_open(self) -> bool:
        """Whether any request is unfinished: the service cannot be abolished before."""
        with self._file.writing() as database:
            self._settle(database)
            found = database.execute("SELECT 1 FROM requests WHERE state IN (?) LIMIT 1", _UNFINISHED)
            return found.fetchone() is not None

    def is_held(self, student: str, company: str) -> bool:
        """Whether erasing at this company waits for an answer (ERASURE_HELD_FOR_DISCLOSURE)."""
        with self._file.writing() as database:
            self._settle(database)
            return any(about == company for _, about in self._unfinished(database, student))

    def overdue_companies(self) -> frozenset[str]:
        """The companies of which an answer did not come in time: for the auditor, without whose answer."""
        with self._file.reading() as database:
            found = database.execute(
                "SELECT DISTINCT company FROM owed WHERE received = 0 AND due_at <= ?", (self._clock(),)
            ).fetchall()
        return frozenset(company for (company,) in found)

    def _officers(self, condition: str, *values: object) -> tuple[OfficersRequest, ...]:
        with self._file.writing() as database:
            self._settle(database)
            rows = database.execute(
                "SELECT request, company, state, opened_at, due_at, reasons FROM requests "  # noqa: S608
                f"WHERE {condition} ORDER BY due_at, request",
                values,
            ).fetchall()
        return tuple(
            OfficersRequest(
                request,
                company,
                DisclosureState(state),
                opened_at,
                due_at,
                tuple(DenialReason(reason) for reason in reasons.split()),
            )
            for request, company, state, opened_at, due_at, reasons in rows
        )

    def _unfinished(self, database: sqlite3.Connection, student: str) -> list[tuple[bytes, str]]:
        return database.execute(
            "SELECT request, company FROM requests WHERE student = ? AND state IN (?) AND due_at > ?",
            (student, *_UNFINISHED, self._clock()),
        ).fetchall()

    def _owed(self, student: str, company: str, disclosure_key: bytes, now: int) -> list[InboxItem]:
        """One item for each campaign and position; a mailbox and position once."""
        records = {
            (stored.mailbox, stored.record.key.position): stored
            for stored in self._book.student_records(student)
            if stored.record.key.company == company and stored.record.key.purpose is Purpose.SCORE
        }
        return [
            self._item(student, stored, campaign, disclosure_key, now)
            for stored in records.values()
            for campaign in self._campaigns_of(company, stored.record.key.season)
            if stored.mailbox is not None
        ]

    def _item(
        self, student: str, stored: StoredRecord, campaign: str, disclosure_key: bytes, now: int
    ) -> InboxItem:
        address, mailbox = stored.record.address, stored.mailbox
        if address is None or mailbox is None:
            raise LocalProtocolError("disclosure: expected an address with a consent, got none")
        change = None
        if disclosure_key not in (b"", address.disclosure_key):
            at = self._found_herself_at(student, stored.record.answered_at)
            if at is None:
                verify_disclosure_key(address.disclosure_key, disclosure_key)  # raises
            change = KeyChange.sign(
                self._key,
                mailbox=mailbox,
                replaced=address.disclosure_key,
                disclosure_key=disclosure_key,
                at=at or now,
            )
        return InboxItem(
            request=secrets.token_bytes(REQUEST_BYTES),
            campaign=campaign,
            position=stored.record.key.position,
            mailbox=mailbox,
            disclosure_key=disclosure_key or address.disclosure_key,
            change=change,
            due_at=now + ANSWER_SECONDS,
        )

    def _found_herself_at(self, student: str, since: int) -> int | None:
        """When she registered a key after losing one, since her consent; None if she did not."""
        events = [logged.signed.event for logged in self._book.student_events(student)]
        times = [
            event.time
            for event in events
            if isinstance(event, KeyRegistered) and event.reauthenticated and event.time >= since
        ]
        return max(times, default=None)

    def _end(
        self,
        request: bytes,
        state: DisclosureState,
        reasons: Sequence[DenialReason],
        *,
        student: str | None = None,
    ) -> None:
        with self._file.writing() as database:
            self._settle(database)
            found = database.execute(
                "SELECT state, student FROM requests WHERE request = ?", (request,)
            ).fetchone()
            if found is None or student not in (None, found[1]):
                raise _unknown()
            verify_next(DisclosureState(found[0]), state)
            database.execute(
                "UPDATE requests SET state = ?, reasons = ? WHERE request = ?",
                (state.value, " ".join(reasons), request),
            )
            database.execute("DELETE FROM owed WHERE request = ?", (request,))

    def _settle(self, database: sqlite3.Connection) -> None:
        """Bring every unfinished request to where it is now."""
        now = self._clock()
        unfinished = database.execute(
            "SELECT request, due_at FROM requests WHERE state IN (?)", _UNFINISHED
        ).fetchall()
        for request, due_at in unfinished:
            received = database.execute("SELECT received FROM owed WHERE request = ?", (request,)).fetchall()
            state = settled([bool(value) for (value,) in received], is_due=now >= due_at)
            if state is not DisclosureState.IN_PROGRESS:
                verify_next(DisclosureState.IN_PROGRESS, state)
                database.execute("UPDATE requests SET state = ? WHERE request = ?", (state.value, request))


def _begun(items: Sequence[InboxItem]) -> str:
    """Where a request is that was signed by its student's registered key."""
    state = DisclosureState.OPEN
    for following in (DisclosureState.IDENTITY_CHECK, DisclosureState.IN_PROGRESS):
        verify_next(state, following)
        state = following
    return (state if items else DisclosureState.FULFILLED).value


def _status(database: sqlite3.Connection, row: tuple[Any, ...]) -> RequestStatus:
    request, scope, state, opened_at, due_at, reasons = row
    items = database.execute(
        "SELECT item, received FROM owed WHERE request = ? ORDER BY item", (request,)
    ).fetchall()
    return RequestStatus(
        request,
        Scope.from_body(canonical_json.parse(scope)),
        DisclosureState(state),
        opened_at,
        due_at,
        tuple(DenialReason(reason) for reason in reasons.split()),
        tuple((item, bool(received)) for item, received in items),
    )


def _unknown() -> LocalProtocolError:
    return LocalProtocolError(
        "disclosure: expected the id of an own request, got another", code="NOT_AVAILABLE"
    )
