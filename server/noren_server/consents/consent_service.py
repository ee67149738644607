"""The consent service: what the platform itself says about consents, and what leaves only with a permit.

docs/rights/consent.md. Promises: the service can show, request and end a consent, and never give one; for a
student who is signed in it can write down that she says no, marked as said in a session; nothing
about a person is handed on without a permit that was redeemed a moment before, and not before it was written
down that it is (`ProvisionSink`); receipts say only what events prove.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from noren_core.crypto.identity import SigningKey
from noren_core.errors import DataError, LocalProtocolError
from noren_core.rights.consent.consent_event import (
    RECORD_BYTES,
    SESSION_KINDS,
    ConsentEvent,
    ConsentKey,
    EventKind,
    KeyRegistered,
    Screen,
    SignedEvent,
    endorse,
    sign_event,
)
from noren_core.rights.consent.consent_record import ENDED_STATES, ConsentRecord, advance, begin, overrule
from noren_core.rights.consent.permit import Permit, permit_key
from noren_core.rights.consent.receipt import ProvenEvent, Receipt, ReceiptTerms, sign_receipt
from noren_core.rights.purposes import Purpose
from noren_server.consents.consent_book import ConsentBook, ConsentedStudent, LoggedEvent
from noren_server.consents.consent_log_file import ConsentLog
from noren_server.consents.permits import PermitDesk
from noren_server.ledger_service import LedgerService

_END_BLOCK = 2048
"""Consents that end in one transaction: withdrawals wait no longer than for these."""
_END_ATTEMPTS = 3

TermsSource = Callable[[ConsentKey, str], ReceiptTerms]
"""Gives what a receipt states besides the events, by key and screen: from the policy and the notice."""


@dataclass(frozen=True, slots=True)
class Provision:
    """One message about one student that is about to leave for a company.

    Attributes:
        permit: that was redeemed for it.
        student: whom it is about.
        campaign, season: that it belongs to.
        at: Unix seconds.
    """

    permit: Permit
    student: ConsentedStudent
    campaign: str
    season: str
    at: int


ProvisionSink = Callable[[Sequence[Provision]], None]
"""Writes provisions down; they leave only when it has returned."""


class ConsentService:
    """The consent service of one platform."""

    def __init__(self, book: ConsentBook, key: SigningKey, ledger: LedgerService) -> None:
        """Serve the book of which `key` is the service key."""
        self.book = book
        self.permits = PermitDesk(book, permit_key(key))
        self.log = ConsentLog(book)
        self._key = key
        self._ledger = ledger

    # What the service says

    def show(self, key: ConsentKey, screen: Screen, *, now: int) -> ConsentRecord:
        """Note that a screen is shown; the record that she may answer on.

        The newest record of the key goes on; if that is over, or there is none, a new one begins.
        """
        stored = self.book.newest(key)
        record = secrets.token_bytes(RECORD_BYTES)
        if stored is not None and not stored.record.is_over:
            record = stored.record.record
        self._say(ConsentEvent(EventKind.SHOWN, key, record, now, screen=screen), now)
        return self._record(record)

    def request(self, record: ConsentRecord, *, now: int) -> None:
        """Note that she is asked for a consent that was shown."""
        self._say(ConsentEvent(EventKind.REQUESTED, record.key, record.record, now), now)

    def say_no(self, student: str, kind: EventKind, records: Collection[bytes], *, now: int) -> None:
        """Write down that a student who is signed in refuses, defers or withdraws; all of it or nothing.

        Whoever calls has found out that it is she. The events are signed by the service and say `via
        session`, so that they are never taken for hers.

        Args:
            student: who.
            kind: one of `SESSION_KINDS`.
            records: ids of records of hers.
            now: Unix seconds; a record of which her clock said a later time gets that time.

        Raises:
            DataError: for another kind, or no record.
            LocalProtocolError: with code NOT_AVAILABLE, if one is not hers; as `ConsentBook.record`.
        """
        if kind not in SESSION_KINDS or not records:
            raise DataError("consents: expected a no, and to what, got another")
        hers = {item.record.record: item.record for item in self.book.student_records(student)}
        if not hers.keys() >= set(records):
            raise LocalProtocolError("consents: expected a record of hers, got another", code="NOT_AVAILABLE")
        events = [
            ConsentEvent(kind, hers[r].key, r, max(now, hers[r].last_time), via_session=True) for r in records
        ]
        self.book.record_all([sign_event(event, self._key) for event in events], now=now)

    def end(self, state: EventKind, is_meant: Callable[[ConsentRecord], bool], *, now: int) -> int:
        """End every live consent that is meant; how many.

        Nobody keeps another's consent from ending: one that changes meanwhile is looked at again, and one of
        whose events her clock said a later time than ours ends at that time.

        Args:
            state: EXPIRED, SUPERSEDED, INVALIDATED or REVOKED.
            is_meant: of a live record.
            now: Unix seconds.
        """
        if state is EventKind.WITHDRAWN or state.value not in ENDED_STATES:
            raise DataError("consents: expected a state in which the service ends a consent, got another")
        ended = 0
        for _ in range(_END_ATTEMPTS):
            live = [item.record for item in self.book.live_records() if is_meant(item.record)]
            for start in range(0, len(live), _END_BLOCK):
                ended += self._end_block(live[start : start + _END_BLOCK], state, now=now)
            if not live:
                break
        return ended

    def end_expired(self, *, now: int) -> int:
        """End the consents that have run out; run it daily, so that their rows are given up."""
        return self.end(
            EventKind.EXPIRED, lambda r: r.answer is not None and r.answer.expires_at <= now, now=now
        )

    def supersede(self, policy: str, purposes: Collection[Purpose], *, now: int) -> int:
        """End the consents to a version of the policy that a newer one changed materially."""
        return self.end(
            EventKind.SUPERSEDED, lambda r: r.key.policy == policy and r.key.purpose in purposes, now=now
        )

    def accept_new_key(self, signed: SignedEvent, *, now: int) -> int:
        """Endorse and record a new key of a student who lost the old one and was identified otherwise."""
        event = signed.event
        if not isinstance(event, KeyRegistered) or not event.reauthenticated:
            raise DataError("consents: expected the registration of a key in place of a lost one")
        return self.book.record(endorse(signed, self._key), now=now)

    # What leaves

    def provide(
        self,
        students: Sequence[ConsentedStudent],
        sink: ProvisionSink,
        *,
        campaign: str,
        company: str,
        season: str,
        purpose: Purpose,
        now: int,
    ) -> list[ConsentedStudent]:
        """The students of whom one message each may leave for the company now, in their order.

        1. A permit for each.
        2. Redeem them all; whose consent ended in between is left out.
        3. Write down that they leave. If that fails, nothing may.
        """
        permits = self.permits.issue(company, purpose, students, now=now)  # 1
        redeemed = self.permits.redeem_all(permits, audience=company, now=now)  # 2
        sink([Provision(item.permit, item.student, campaign, season, now) for item in redeemed])  # 3
        return [item.student for item in redeemed]

    # What students and auditors get

    def publish_head(self) -> int:
        """Put the head of the consent log in the ledger; its index there."""
        return self.log.publish(self._ledger)

    def receipts(self, student: str, terms: TermsSource, *, now: int) -> list[bytes]:
        """A receipt for every record of hers, oldest first."""
        events = self.book.student_events(student)
        return [
            self._receipt(stored.record, events, terms(stored.record.key, _screen(stored.record)), now)
            for stored in self.book.student_records(student)
        ]

    def _receipt(
        self, record: ConsentRecord, events: Sequence[LoggedEvent], terms: ReceiptTerms, now: int
    ) -> bytes:
        """1. The events that the record follows from. 2. Their proofs, of one size. 3. Sign."""
        chosen = _events_of(record.record, events)  # 1
        size = self.log.covering_size(chosen[-1].seq)  # 2
        proven = tuple(
            ProvenEvent(item.seq, item.salt, item.signed, tuple(self.log.proof(item.seq, size)))
            for item in chosen
        )
        receipt = Receipt(secrets.token_bytes(16), now, terms, record, proven, size, self.log.root(size))
        return sign_receipt(receipt, self._key)  # 3

    def _end_block(self, records: Sequence[ConsentRecord], state: EventKind, *, now: int) -> int:
        """How many of them ended; not those that may not end any more, or not yet."""
        verifier, ended = self.book.verifier(), 0
        events = [ConsentEvent(state, r.key, r.record, max(now, r.last_time)) for r in records]
        verified = [verifier.verify(sign_event(event, self._key)) for event in events]
        with self.book.appending(now=now) as append:
            for item in verified:
                with contextlib.suppress(LocalProtocolError):
                    append(item)
                    ended += 1
        return ended

    def _say(self, event: ConsentEvent, now: int) -> None:
        self.book.record(sign_event(event, self._key), now=now)

    def _record(self, record: bytes) -> ConsentRecord:
        stored = self.book.stored(record)
        if stored is None:
            raise LocalProtocolError("consents: expected the record that was written, got none")
        return stored.record


def _screen(record: ConsentRecord) -> str:
    return record.shown.sha256 if record.shown is not None else ""


def _events_of(record_id: bytes, events: Sequence[LoggedEvent]) -> list[LoggedEvent]:
    """Of a student's events: her keys, those of the record, and one that overruled it."""
    chosen, record = [], None
    for item in events:
        event = item.signed.event
        if isinstance(event, KeyRegistered):
            chosen.append(item)
        elif isinstance(event, ConsentEvent) and event.record == record_id:
            record = advance(record or begin(event), event)
            chosen.append(item)
        elif isinstance(event, ConsentEvent) and record is not None:
            after = overrule(record, event)
            if after is not record:
                chosen.append(item)
            record = after
    return chosen
