"""Permits of the consent service: issued for many messages at once, redeemed once each.

docs/rights/consent.md §7. Promises: a permit is redeemed only if its consent counts at that moment, in a
transaction that no withdrawal can come between; a second time never, also after a restart. Whoever withdrew
in between is left out of what is redeemed together, and nobody is told why.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from noren_core.crypto.secret import SecretBytes
from noren_core.errors import LocalProtocolError
from noren_core.rights.consent.consent_validity import ConsentRefusal, consent_error
from noren_core.rights.consent.permit import (
    JTI_BYTES,
    MAX_LIFETIME_SECONDS,
    Permit,
    epoch_stale,
    replayed,
    verify_epoch,
    verify_permit,
)
from noren_core.rights.purposes import Purpose
from noren_server.consents import event_appender, record_rows
from noren_server.consents.consent_book import ConsentBook, ConsentedStudent, consented_student

_BLOCK = 2048
_ENDED = frozenset({"CONSENT_EPOCH_STALE", *ConsentRefusal})
"""Codes that say that a consent counted when the permit was issued and does so no longer."""


@dataclass(frozen=True, slots=True)
class Redeemed:
    """A permit that was redeemed a moment ago, and the student whom the message is about."""

    permit: Permit
    student: ConsentedStudent


class PermitDesk:
    """Issues and redeems the permits of one platform."""

    def __init__(self, book: ConsentBook, key: SecretBytes) -> None:
        self._book = book
        self._key = key

    def issue(
        self, company: str, purpose: Purpose, students: Sequence[ConsentedStudent], *, now: int
    ) -> list[bytes]:
        """A permit for one message about each of these students, in their order.

        Whether their consents count is asked when the permits are redeemed; students come from
        `ConsentBook.live` or `scorable`.
        """
        with self._book.reading() as database:
            epochs = [event_appender.epoch_of(database, item.student, company) for item in students]
        return [
            Permit(
                jti=secrets.token_bytes(JTI_BYTES),
                audience=company,
                mailbox=item.mailbox,
                purpose=purpose,
                position=item.position,
                consent_seq=item.seq,
                epoch=epoch,
                issued_at=now,
                expires_at=now + MAX_LIFETIME_SECONDS,
            ).to_bytes(self._key)
            for item, epoch in zip(students, epochs, strict=True)
        ]

    def redeem(self, permit: bytes, *, audience: str, now: int) -> Redeemed:
        """Use a permit up; what it permits.

        1. It is ours and it is for this company, now.
        2. In one transaction: its consent counts, no consent to the company ended since, and it was not used.

        Raises:
            DataError, VerificationError: if it is no permit of ours.
            LocalProtocolError: PERMIT_AUDIENCE, PERMIT_EXPIRED, PERMIT_REPLAYED, CONSENT_EPOCH_STALE, or why
                the consent does not count.
        """
        parsed = Permit.from_bytes(permit, self._key)
        with self._book.changing() as database:
            _forget_expired(database, now)
            return self._redeem(database, parsed, audience=audience, now=now)

    def redeem_all(self, permits: Sequence[bytes], *, audience: str, now: int) -> list[Redeemed]:
        """The same for several at once; those whose consent does not count any more are left out.

        In blocks, so that a withdrawal never waits for a whole table.

        Raises:
            DataError, VerificationError, LocalProtocolError: as `redeem`, for anything else. Nothing may
                leave then; the permits of the blocks before are used up.
        """
        redeemed: list[Redeemed] = []
        for start in range(0, len(permits), _BLOCK):
            block = [Permit.from_bytes(data, self._key) for data in permits[start : start + _BLOCK]]
            redeemed += self._redeem_block(block, audience=audience, now=now)
        return redeemed

    def _redeem_block(self, permits: Sequence[Permit], *, audience: str, now: int) -> list[Redeemed]:
        redeemed = []
        with self._book.changing() as database:
            _forget_expired(database, now)
            for permit in permits:
                try:
                    redeemed.append(self._redeem(database, permit, audience=audience, now=now))
                except LocalProtocolError as error:
                    if error.code not in _ENDED:
                        raise
        return redeemed

    def _redeem(self, database: sqlite3.Connection, permit: Permit, *, audience: str, now: int) -> Redeemed:
        """1. For this company, now. 2. Of a consent that is what it was, and counts. 3. Not used before."""
        verify_permit(permit, audience=audience, now=now)  # 1
        stored = record_rows.given_by(database, permit.consent_seq)
        if stored is None:
            raise epoch_stale()
        verify_epoch(permit, event_appender.epoch_of(database, stored.record.key.student, audience))  # 2
        refusal = self._book.refusal_of(stored.record, now=now)
        if refusal is not None:
            raise consent_error(refusal)
        _use_up(database, permit)  # 3
        return Redeemed(permit, consented_student(stored))


def _forget_expired(database: sqlite3.Connection, now: int) -> None:
    database.execute("DELETE FROM redeemed WHERE expires_at <= ?", (now,))


def _use_up(database: sqlite3.Connection, permit: Permit) -> None:
    try:
        database.execute("INSERT INTO redeemed VALUES (?, ?)", (permit.jti, permit.expires_at))
    except sqlite3.IntegrityError as error:
        raise replayed() from error
