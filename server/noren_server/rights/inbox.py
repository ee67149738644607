"""What companies are asked for students: sealed items, always the same number, most of them dummies.

docs/rights/mirror-and-disclosure.md §4. Promises: what a company fetches has one length whether anybody
asked or not; every item that is owed comes up in turn until the student says that she has the answer, or its
time is over; a company is shown only items about itself and the campaign that it asks for.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from noren_core.rights.disclosure.requests import INBOX_ITEMS, InboxItem, seal_item
from noren_server.policies.evidence_file import EvidenceFile

SealingKeyOf = Callable[[str], bytes]
"""The X25519 key that the ledger has for a company now, 32 bytes."""


class Inbox:
    """The items of every company of one platform."""

    def __init__(self, file: EvidenceFile, sealing_key_of: SealingKeyOf, *, clock: Callable[[], int]) -> None:
        self._file = file
        self._sealing_key_of = sealing_key_of
        self._clock = clock

    def items(self, *, company: str, campaign: str) -> tuple[bytes, ...]:
        """Sixteen items of one size, sealed to the company; those that were served least often first."""
        with self._file.writing() as database:
            due = database.execute(
                "SELECT item, content FROM owed WHERE company = ? AND campaign = ? AND received = 0 "
                "AND due_at > ? ORDER BY served, item LIMIT ?",
                (company, campaign, self._clock(), INBOX_ITEMS),
            ).fetchall()
            database.executemany(
                "UPDATE owed SET served = served + 1 WHERE item = ?", [(item,) for item, _ in due]
            )
        key = self._sealing_key_of(company)
        real: list[InboxItem | None] = [InboxItem.from_bytes(content) for _, content in due]
        mixed = [*real, *[None] * (INBOX_ITEMS - len(real))]
        secrets.SystemRandom().shuffle(mixed)
        return tuple(seal_item(item, company=company, sealing_key=key) for item in mixed)
