"""The Merkle tree over the book's events, and the heads of it that stand in the ledger.

Promises: a head is in the ledger before it is remembered as published; a proof is of a size whose head is
published, as far as there is one that covers the event.
"""

from __future__ import annotations

import threading

from noren_core.crypto.merkle import MerkleTree
from noren_core.ledger.entries import EntryKind
from noren_core.rights.consent.consent_log import log_head
from noren_server.consents.consent_book import ConsentBook
from noren_server.ledger_service import LedgerService


class ConsentLog:
    """The tree, kept in memory and extended by what the book has more."""

    def __init__(self, book: ConsentBook) -> None:
        self._book = book
        self._lock = threading.Lock()
        self._tree = MerkleTree()

    def size(self) -> int:
        """How many events there are."""
        with self._lock:
            self._catch_up()
            return self._tree.size

    def root(self, size: int) -> bytes:
        """The root over the first `size` events (RFC 6962)."""
        with self._lock:
            self._catch_up()
            return self._tree.root(size)

    def proof(self, seq: int, size: int) -> list[bytes]:
        """The inclusion proof of event `seq` in the log of the first `size` events."""
        with self._lock:
            self._catch_up()
            return self._tree.inclusion_proof(seq, size)

    def covering_size(self, seq: int) -> int:
        """The newest published size if it covers event `seq`; otherwise the present one."""
        with self._book.reading() as database:
            found = database.execute("SELECT size FROM heads ORDER BY seq DESC LIMIT 1").fetchone()
        return int(found[0]) if found is not None and found[0] > seq else self.size()

    def publish(self, ledger: LedgerService) -> int:
        """Put the head in the ledger; its index there.

        The same head again keeps its place. A crash between ledger and book leaves it to be remembered by
        the next call.
        """
        size = self.size()
        head = log_head(size, self.root(size))
        index = ledger.append_platform_entry(EntryKind.CONSENT_LOG, {"root": head.hex()})
        with self._book.changing() as database:
            last = database.execute("SELECT seq, size FROM heads ORDER BY seq DESC LIMIT 1").fetchone()
            if last is None or last[1] < size:
                seq = 0 if last is None else last[0] + 1
                database.execute("INSERT INTO heads VALUES (?, ?, ?, ?)", (seq, size, head, index))
        return index

    def _catch_up(self) -> None:
        with self._book.reading() as database:
            known = (self._tree.size,)
            for (leaf,) in database.execute("SELECT leaf FROM events WHERE seq >= ? ORDER BY seq", known):
                self._tree.append(leaf)
