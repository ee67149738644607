"""Appending to the ledger as the platform: verify, countersign, store; and proving what is in it.

Promises: nothing that companies or auditors would refuse for its signatures gets in. Whose key counts is
asked of the ledger itself, under its write lock, so that a company that was revoked a moment ago, by another
process, says nothing more. Every proof brings the platform's own rotations, without which whoever knows only
older keys could not verify it.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from noren_core.crypto.identity import SigningKey
from noren_core.errors import ConfigurationError
from noren_core.ledger import entries
from noren_core.ledger.checkpoint import claimed_size
from noren_core.ledger.entries import PLATFORM, EntryKind
from noren_core.ledger.key_history import KEY_KINDS, Anchors, KeyHistory
from noren_core.ledger.odometer_progress import verify_odometer_progress
from noren_core.ledger.proofs import LedgerProof
from noren_core.ledger.tlog_proof import TlogProof
from noren_core.season.plan import Witnesses
from noren_server.ledger_store import LedgerStore
from noren_server.witnesses import WitnessPanel


class LedgerService:
    """The one way in which this platform writes its ledger."""

    def __init__(
        self, store: LedgerStore, platform_key: SigningKey, panel: WitnessPanel | None = None
    ) -> None:
        self._store = store
        self._panel = panel or WitnessPanel()
        self._key = platform_key
        self._lock = threading.RLock()
        self._keys: KeyHistory | None = None
        self._read = 0

    def keys(self) -> KeyHistory:
        """Every key in the ledger as it stands now.

        Raises:
            ConfigurationError: with code KEY_ROTATION_UNFINISHED, if our own keys are not the current ones: a
                change of keys was interrupted, and what we signed would be worth nothing.
        """
        with self._lock, self._store.locked():
            size = self._store.size
            if self._keys is None:
                self._keys, self._read = self._begin(), 0
            for stored in self._store.entries_of_kinds(KEY_KINDS, first=self._read):
                self._keys.learn(stored.index, stored.entry)
            self._read = size
            self._verify_own_keys(self._keys, size)
            return self._keys

    def verify_author(self, entry: entries.SignedEntry) -> None:
        """Raise VerificationError unless the entry is signed by the key that its author has now."""
        entries.verify_author(entry, self.keys().signing_key(entry.author, self._store.size))

    def append_platform_entry(self, kind: str, body: dict[str, Any]) -> int:
        """Sign, countersign and append an entry of our own; its index."""
        return self.append_platform_entries(kind, [body])[0]

    def append_platform_entries(self, kind: str, bodies: Iterable[dict[str, Any]]) -> list[int]:
        """The same for several entries of one kind, all or none, with one fsync; their indices."""
        signed = (entries.sign_entry(kind, PLATFORM, body, self._key) for body in bodies)
        return self._append([entries.countersign(data, self._key) for data in signed])

    def append_company_entry(self, entry: entries.SignedEntry) -> int:
        """Countersign and append a company's entry; its index.

        Raises:
            KeyHistoryError: if the author is not who signed it, or the keys in it cannot become its own;
                nothing is appended.
        """
        return self._append([entries.countersign(entry.to_bytes(), self._key)])[0]

    def prove(self, *, known_tree_size: int, indices: Sequence[int]) -> LedgerProof:
        """A fresh checkpoint with proofs that it extends `known_tree_size` and holds `indices`."""
        rotations = self.indices([EntryKind.PLATFORM_KEY_ROTATION])
        return self._store.prove(known_tree_size, sorted({*indices, *rotations}))

    def indices(self, kinds: Collection[EntryKind]) -> list[int]:
        """Where the entries of these kinds stand."""
        return [stored.index for stored in self._store.entries_of_kinds(kinds, first=0)]

    @property
    def witnesses(self) -> Witnesses:
        """Who cosigns our checkpoints, and how many of them are enough: what a plan states."""
        return self._panel.stated

    def cosigned_checkpoint(self) -> bytes:
        """A fresh checkpoint with our signature and those of enough witnesses.

        Raises:
            LocalProtocolError: with code WITNESS_QUORUM, if too few of them cosigned.
        """
        return self._panel.cosigned(self._store)

    def export(self, directory: Path) -> None:
        """Write the bundle that an auditor verifies, under a cosigned checkpoint; `LedgerStore.export`."""
        self._store.export(directory, self.cosigned_checkpoint())

    def prove_entry(self, index: int) -> tuple[bytes, TlogProof]:
        """The entry at `index`, and the proof that it is in the ledger, to be verified offline."""
        checkpoint = self.cosigned_checkpoint()
        proven = self._store.prove_entry(index, claimed_size(checkpoint))
        return proven.entry, TlogProof(index, proven.inclusion, checkpoint)

    @property
    def store(self) -> LedgerStore:
        """The store, for reading."""
        return self._store

    def _append(self, several: Sequence[bytes]) -> list[int]:
        """Append countersigned entries that the ledger's keys bear out, all or none.

        1. Take the ledger's write lock: keys and size stay as they are.
        2. The same statement again, after a lost answer or a crash, keeps its place, also if the platform's
           key has changed in between: a second one would contradict the first.
        3. Signatures, what becomes of the keys, and that an intent's odometer moved on, are what everybody
           else will check, at the next index. One of several does not count for the others.
        4. Append.
        """
        parsed = [entries.parse_entry(data) for data in several]
        with self._lock, self._store.locked():  # 1
            places = [self._place_of(entry) for entry in parsed]  # 2
            fresh = [number for number, place in enumerate(places) if place is None]
            for index, number in enumerate(fresh, start=self._store.size):  # 3
                self._verify(index, parsed[number])
            added = iter(self._store.append_many([several[number] for number in fresh]))  # 4
            return [next(added) if place is None else place for place in places]

    def _place_of(self, entry: entries.SignedEntry) -> int | None:
        """Where the same statement stands; None if it is new."""
        for known in self._store.entries(kind=entry.kind, campaign=entry.campaign, company=entry.company):
            if _is_same_statement(known.entry, entry):
                return known.index
        return None

    def _verify(self, index: int, entry: entries.SignedEntry) -> None:
        if entry.kind in KEY_KINDS:
            self.keys().extended({index: entry})
        else:
            self.keys().verify(index, entry)
        if entry.kind is EntryKind.INTENT:
            verify_odometer_progress(self._intents(entry.author), entry)

    def _intents(self, company: str) -> list[entries.SignedEntry]:
        return [stored.entry for stored in self._store.entries(kind=EntryKind.INTENT, company=company)]

    def _begin(self) -> KeyHistory:
        """Our own keys are what we believe; the ledger says which keys came before them."""
        anchors = Anchors(self._store.log_key, self._key.public_key)
        rotations = self._store.entries_of_kinds([EntryKind.PLATFORM_KEY_ROTATION], first=0)
        return KeyHistory.begin(anchors, {stored.index: stored.entry for stored in rotations})

    def _verify_own_keys(self, keys: KeyHistory, size: int) -> None:
        current = (keys.signing_key(PLATFORM, size), keys.log_key(size))
        if current != (self._key.public_key, self._store.log_key):
            raise ConfigurationError(
                "ledger: expected our keys to be the current ones: finish with noren-platform keys rotate",
                code="KEY_ROTATION_UNFINISHED",
            )


def _is_same_statement(known: entries.SignedEntry, entry: entries.SignedEntry) -> bool:
    """By the platform, the same words; by a company, the very entry that it signed."""
    same = (known.author, known.body) == (entry.author, entry.body)
    return same and (entry.author == PLATFORM or known.signature == entry.signature)
