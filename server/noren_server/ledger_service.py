"""Appending to the ledger as the platform: verify, countersign, store; and proving what is in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from noren_core.crypto.identity import SigningKey
from noren_core.ledger import entries
from noren_core.ledger.proofs import LedgerProof
from noren_server.ledger_store import LedgerStore

PLATFORM = "platform"


class LedgerService:
    """The one way in which this platform writes its ledger."""

    def __init__(self, store: LedgerStore, platform_key: SigningKey) -> None:
        self._store = store
        self._key = platform_key

    def append_platform_entry(self, kind: str, body: dict[str, Any]) -> int:
        """Sign, countersign and append an entry of our own; its index."""
        signed = entries.sign_entry(kind, PLATFORM, body, self._key)
        return self._store.append(entries.countersign(signed, self._key))

    def append_company_entry(self, entry: entries.SignedEntry) -> int:
        """Countersign and append a company's entry whose author signature the caller verified; its index."""
        return self._store.append(entries.countersign(entry.to_bytes(), self._key))

    def prove(self, *, known_tree_size: int, indices: Sequence[int]) -> LedgerProof:
        """A fresh checkpoint with proofs that it extends `known_tree_size` and holds `indices`."""
        return self._store.prove(known_tree_size, indices)

    @property
    def store(self) -> LedgerStore:
        """The store, for reading."""
        return self._store
