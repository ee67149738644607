"""Students' mailboxes: sealed copies of one size, which the platform keeps and cannot read.

    mailbox.db    company, handle, sealed copy, day of arrival

docs/rights/mirror-and-disclosure.md §3. Promises: a copy is on disk before its receipt goes out; the same
copy again is kept once and gets the same receipt; a handle that nobody has is answered like any other, so
that no company learns by asking whether a handle is alive; what lies under such a handle is swept away. Days,
not seconds, are kept, and nothing in here says what a copy is about.

A company reads nothing; a student reads the handles that the consent book says are hers, and of each only
what came from the company that it belongs to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from noren_core.crypto.identity import SigningKey
from noren_core.errors import RemoteProtocolError
from noren_core.rights.disclosure.mirror import MAILBOX_BYTES, sign_receipt
from noren_core.rights.disclosure.mirror_copy import COPY_BYTES
from noren_core.rights.fields import check_bytes
from noren_core.wire.refusal import Refusal
from noren_server.policies.evidence_file import EvidenceFile

DATABASE_NAME = "mailbox.db"
MAX_COPIES_IN_MAILBOX = 512
MAX_COPIES_OF_COMPANY = 1 << 18  # one gigabyte
RETENTION_DAYS = 3 * 366
PAGE_COPIES = 64

_DAY_SECONDS = 86_400
_SCHEMA = """
CREATE TABLE copies (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    company TEXT NOT NULL,
    mailbox BLOB NOT NULL,
    sha256 BLOB NOT NULL,
    day INTEGER NOT NULL,
    sealed_copy BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX copies_by_mailbox ON copies (company, mailbox, sha256);
CREATE TRIGGER copies_no_update BEFORE UPDATE ON copies
BEGIN SELECT RAISE(ABORT, 'copies are not changed'); END;
"""

IsMailbox = Callable[[str, bytes], bool]
"""Whether some student has, or had, this handle for the company (`ConsentBook.is_mailbox`)."""


@dataclass(frozen=True, slots=True)
class StoredCopy:
    """One copy: its number, by which the next page is asked for, and the day it came (Unix days)."""

    seq: int
    day: int
    sealed_copy: bytes = field(repr=False)


class Mailboxes:
    """Every mailbox of one platform."""

    def __init__(self, path: Path, key: SigningKey, *, clock: Callable[[], int]) -> None:
        self._file = EvidenceFile(path, schema=_SCHEMA, version=1)
        self._key = key
        self._clock = clock

    @classmethod
    def open(cls, directory: Path, key: SigningKey, *, clock: Callable[[], int]) -> Self:
        """Those of the platform in `directory`; `key` is its signing key."""
        return cls(directory / DATABASE_NAME, key, clock=clock)

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def deposit(self, *, company: str, mailbox: bytes, sealed_copy: bytes) -> bytes:
        """Keep a copy; the receipt, which is the same for the same copy.

        Raises:
            DataError: for a handle or a copy of another size.
            RemoteProtocolError: if mailbox or company is full.
        """
        check_bytes(mailbox, MAILBOX_BYTES, "mailbox")
        check_bytes(sealed_copy, COPY_BYTES, "sealed copy")
        digest, day = hashlib.sha256(sealed_copy).digest(), self._clock() // _DAY_SECONDS
        with self._file.writing() as database:
            place = (company, mailbox, digest)
            known = database.execute(
                "SELECT 1 FROM copies WHERE company = ? AND mailbox = ? AND sha256 = ?", place
            ).fetchone()
            of_company, in_mailbox = database.execute(
                "SELECT COUNT(*), COALESCE(SUM(mailbox = ?), 0) FROM copies WHERE company = ?",
                (mailbox, company),
            ).fetchone()
            if known is None:
                if of_company >= MAX_COPIES_OF_COMPANY or in_mailbox >= MAX_COPIES_IN_MAILBOX:
                    raise RemoteProtocolError(
                        Refusal.PROTOCOL_VIOLATION.sentence, code=Refusal.PROTOCOL_VIOLATION
                    )
                database.execute(
                    "INSERT INTO copies (company, mailbox, sha256, day, sealed_copy) VALUES (?, ?, ?, ?, ?)",
                    (*place, day, sealed_copy),
                )
        return sign_receipt(self._key, mailbox=mailbox, sealed_copy=sealed_copy)

    def copies(self, *, company: str, mailbox: bytes, after: int = 0) -> tuple[StoredCopy, ...]:
        """At most 64 copies numbered higher than `after`, oldest first."""
        with self._file.reading() as database:
            found = database.execute(
                "SELECT seq, day, sealed_copy FROM copies WHERE company = ? AND mailbox = ? AND seq > ? "
                "ORDER BY seq LIMIT ?",
                (company, mailbox, after, PAGE_COPIES),
            ).fetchall()
        return tuple(StoredCopy(*row) for row in found)

    def days(self, *, company: str, mailbox: bytes) -> tuple[int, ...]:
        """The day on which each copy came (Unix days), in the order in which they came."""
        with self._file.reading() as database:
            found = database.execute(
                "SELECT day FROM copies WHERE company = ? AND mailbox = ? ORDER BY seq", (company, mailbox)
            ).fetchall()
        return tuple(day for (day,) in found)

    def sweep(self, is_mailbox: IsMailbox) -> None:
        """Remove what is older than three years, and what lies under handles that nobody has."""
        oldest = self._clock() // _DAY_SECONDS - RETENTION_DAYS
        with self._file.writing() as database:
            database.execute("DELETE FROM copies WHERE day < ?", (oldest,))
            handles = database.execute("SELECT DISTINCT company, mailbox FROM copies").fetchall()
            for company, mailbox in handles:
                if not is_mailbox(company, mailbox):
                    database.execute(
                        "DELETE FROM copies WHERE company = ? AND mailbox = ?", (company, mailbox)
                    )
