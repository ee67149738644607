"""The ledger on disk: one SQLite file that only grows.

Several processes may use one file at once (the gRPC service and the training app do). Appending is
serialised by the database, an entry is on the disk before its index is returned, and triggers refuse
every change of what is there and every gap. The triggers guard against our own mistakes; whoever can
write the file can drop them, and is found out by the Merkle root that companies and auditors hold.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sqlite3
import tempfile
import threading
import weakref
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from noren_core.crypto.identity import SigningKey
from noren_core.crypto.merkle import MerkleTree, leaf_hash
from noren_core.errors import ConfigurationError, DataError, LocalProtocolError, RemoteProtocolError
from noren_core.ledger.checkpoint import claimed_size, sign_checkpoint
from noren_core.ledger.entries import SignedEntry, parse_entry
from noren_core.ledger.note import VerifierKey
from noren_core.ledger.proofs import EntryProof, LedgerProof
from noren_core.ledger.tiles import CHECKPOINT_PATH, encode_bundle, entry_bundles, hash_tiles
from noren_local.private_file import sync_directory

SCHEMA_VERSION = 1
BUSY_TIMEOUT_SECONDS = 30.0

# seq is checked by a trigger and not left to SQLite: INSERT OR REPLACE would otherwise overwrite a row
# without firing the DELETE trigger. For the same reason no other column is UNIQUE.
_SCHEMA = """
CREATE TABLE entries (
    seq INTEGER PRIMARY KEY,
    leaf BLOB NOT NULL,
    kind TEXT NOT NULL,
    campaign TEXT,
    company TEXT,
    entry BLOB NOT NULL
) STRICT;
CREATE INDEX entries_by_leaf ON entries (leaf);
CREATE INDEX entries_by_campaign ON entries (campaign, kind);
CREATE TRIGGER entries_no_update BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER entries_no_delete BEFORE DELETE ON entries
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER entries_no_gap BEFORE INSERT ON entries
WHEN NEW.seq IS NOT (SELECT COALESCE(MAX(seq) + 1, 0) FROM entries)
BEGIN SELECT RAISE(ABORT, 'the next entry has the next number'); END;
"""


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry and its index in the ledger."""

    index: int
    entry: SignedEntry


@dataclass(frozen=True, slots=True)
class _Row:
    """An entry on its way into the file."""

    data: bytes
    leaf: bytes
    entry: SignedEntry


class LedgerStore:
    """The append-only file, the Merkle tree over it, and the key that signs its checkpoints."""

    def __init__(
        self,
        path: Path,
        *,
        origin: str,
        log_key: SigningKey,
        retiring_log_key: SigningKey | None = None,
        exclusively: bool = False,
    ) -> None:
        """Open the ledger at `path`; it is created (0600) if there is none.

        Args:
            path: the file.
            origin: the log's name.
            log_key: signs checkpoints.
            retiring_log_key: signs along after a change of the log key, for those who know no other yet.
            exclusively: let no other process have it open meanwhile, since it would go on with old keys.

        Raises:
            LocalProtocolError: with code LEDGER_IN_USE, if others have it open, or one of them exclusively.
        """
        self._leave_users = weakref.finalize(self, os.close, _join_users(path, exclusively=exclusively))
        if not path.exists():
            _create(path)
        self._origin = origin
        self._log_key = log_key
        self._retiring = retiring_log_key
        self._lock = threading.RLock()
        self._tree = MerkleTree()
        self._db = _connect(path)
        if self._db.execute("PRAGMA user_version").fetchone()[0] != SCHEMA_VERSION:
            self.close()
            raise ConfigurationError("ledger file: expected a ledger of this version, got another file")

    def close(self) -> None:
        """Release the file; a second call does nothing."""
        with self._lock:
            self._db.close()
            self._leave_users()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def log_key(self) -> VerifierKey:
        """The public key of the checkpoints."""
        return VerifierKey(self._origin, self._log_key.public_key)

    @property
    def size(self) -> int:
        """The number of entries, including those that other processes appended."""
        with self._snapshot():
            return self._tree.size

    def root(self, size: int) -> bytes:
        """The root over the first `size` entries; LocalProtocolError for a size beyond the ledger."""
        with self._snapshot():
            if not 0 <= size <= self._tree.size:
                raise LocalProtocolError(
                    f"ledger: expected a size of at most {self._tree.size}, got a larger one"
                )
            return self._tree.root(size)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the file's write lock: what is read inside is still so when an entry is appended inside."""
        with self._lock, _transaction(self._db, "BEGIN IMMEDIATE"):
            yield

    def append_many(self, entries: Sequence[bytes]) -> list[int]:
        """Append countersigned entries, all or none, with one fsync; their indices.

        1. Every entry is well formed and carries a countersignature (whose, is for the caller to check).
        2. Take the file's write lock, learn what others appended.
        3. An entry that is in the ledger already keeps its index: sending one again after a lost answer
           adds nothing. All others get the next numbers.
        4. Commit to disk; only then update the tree and answer.
        """
        # 1
        rows = [_parse_row(data) for data in entries]
        # 2
        with self._lock, _transaction(self._db, "BEGIN IMMEDIATE"):
            self._catch_up()
            size = self._tree.size
            # 3
            indices: list[int] = []
            added: list[bytes] = []
            for row in rows:
                index = self._find(row.leaf)
                if index is None:
                    index = size + len(added)
                    self._insert(index, row)
                    added.append(row.leaf)
                indices.append(index)
            # 4
            self._db.execute("COMMIT")
            for leaf in added:
                self._tree.append(leaf)
        return indices

    def checkpoint(self) -> bytes:
        """A signed checkpoint over everything that is in the file now."""
        with self._snapshot():
            return self._sign_checkpoint()

    def entries(
        self, *, kind: str | None = None, campaign: str | None = None, company: str | None = None
    ) -> list[StoredEntry]:
        """The entries of this kind, campaign and company (each, if given), in order."""
        wanted = {"kind": kind, "campaign": campaign, "company": company}
        given = {column: value for column, value in wanted.items() if value is not None}
        condition = " AND ".join(f"{column} = ?" for column in given) or "TRUE"
        query = f"SELECT seq, entry FROM entries WHERE {condition} ORDER BY seq"  # noqa: S608 (fixed names)
        with self._lock:
            found = self._db.execute(query, tuple(given.values())).fetchall()
        return [StoredEntry(seq, parse_entry(data)) for seq, data in found]

    def entries_of_kinds(self, kinds: Collection[str], *, first: int) -> list[StoredEntry]:
        """The entries of any of these kinds from index `first` on, in order."""
        marks = ", ".join("?" * len(kinds))
        query = f"SELECT seq, entry FROM entries WHERE seq >= ? AND kind IN ({marks}) ORDER BY seq"  # noqa: S608
        with self._lock:
            found = self._db.execute(query, (first, *kinds)).fetchall()
        return [StoredEntry(seq, parse_entry(data)) for seq, data in found]

    def prove(self, known_size: int, indices: Sequence[int]) -> LedgerProof:
        """A fresh checkpoint, the proof that it extends `known_size` entries, and the entries asked for.

        Raises:
            RemoteProtocolError: for a size or an index beyond the ledger. A known size beyond it can also
                mean that this file was restored from an old copy, which companies must not accept.
        """
        with self._snapshot():
            size = self._tree.size
            if not 0 <= known_size <= size or not all(0 <= index < size for index in indices):
                raise RemoteProtocolError(
                    f"ledger proof: expected a size and indices within {size} entries, got one beyond them",
                    code="UNKNOWN_TREE_SIZE",
                )
            return LedgerProof(
                checkpoint=self._sign_checkpoint(),
                consistency=tuple(self._tree.consistency_proof(known_size)),
                entries=tuple(
                    EntryProof(index, self._entry(index), tuple(self._tree.inclusion_proof(index)))
                    for index in indices
                ),
            )

    def prove_entry(self, index: int, size: int) -> EntryProof:
        """The entry at `index` with its path to the root over the first `size` entries.

        Raises:
            LocalProtocolError: for a size beyond the ledger, or an index beyond that size.
        """
        with self._snapshot():
            if not 0 <= index < size <= self._tree.size:
                raise LocalProtocolError(f"ledger: expected the number of one of {size} entries, got another")
            return EntryProof(index, self._entry(index), tuple(self._tree.inclusion_proof(index, size)))

    def prove_growth(self, old_size: int, size: int) -> list[bytes]:
        """The proof that the first `size` entries extend the first `old_size`; DataError for other sizes."""
        with self._snapshot():
            return self._tree.consistency_proof(old_size, size)

    def export(self, directory: Path, checkpoint: bytes | None = None) -> None:
        """Write the bundle that an auditor verifies: a static tree of tiles (`noren_core.ledger.tiles`).

        The bundle appears complete or not at all: it is written under another name, synced, renamed.

        Args:
            directory: where.
            checkpoint: one of ours, over as many entries as the bundle shall have; a fresh one if None.

        Raises:
            ConfigurationError: if `directory` exists; a bundle is evidence and is not overwritten.
        """
        if directory.exists():
            raise ConfigurationError("ledger export: expected a directory that does not exist yet")
        directory.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
        try:
            with self._snapshot():
                self._write_tiles(partial, checkpoint or self._sign_checkpoint())
            partial.rename(directory)
            sync_directory(directory.parent)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise

    def _write_tiles(self, root: Path, checkpoint: bytes) -> None:
        size = claimed_size(checkpoint)
        _write_synced(root / CHECKPOINT_PATH, checkpoint)
        entries = self._db.execute("SELECT entry FROM entries WHERE seq < ? ORDER BY seq", (size,))
        for bundle in entry_bundles(size):
            rows = entries.fetchmany(bundle.width)
            _write_synced(root / bundle.path, encode_bundle([entry for (entry,) in rows]))
        for tile in hash_tiles(size):
            _write_synced(root / tile.path, tile.cut_from(self._tree))
        for place, _, _ in os.walk(root):
            sync_directory(Path(place))

    @contextlib.contextmanager
    def _snapshot(self) -> Iterator[None]:
        """One consistent view of the file, with the tree brought up to it."""
        with self._lock, _transaction(self._db, "BEGIN"):
            self._catch_up()
            yield

    def _catch_up(self) -> None:
        """Add what other processes appended; called inside a transaction, so only committed rows count."""
        stored = self._db.execute("SELECT COALESCE(MAX(seq) + 1, 0) FROM entries").fetchone()[0]
        if stored < self._tree.size:
            raise LocalProtocolError("ledger file: expected one that only grows, got one with fewer entries")
        query = "SELECT leaf FROM entries WHERE seq >= ? ORDER BY seq"
        for (leaf,) in self._db.execute(query, (self._tree.size,)).fetchall():
            self._tree.append(leaf)

    def _find(self, leaf: bytes) -> int | None:
        found = self._db.execute("SELECT seq FROM entries WHERE leaf = ?", (leaf,)).fetchone()
        return found[0] if found else None

    def _insert(self, index: int, row: _Row) -> None:
        values = (index, row.leaf, row.entry.kind.value, row.entry.campaign, row.entry.company, row.data)
        self._db.execute(
            "INSERT INTO entries (seq, leaf, kind, campaign, company, entry) VALUES (?, ?, ?, ?, ?, ?)",
            values,
        )

    def _entry(self, index: int) -> bytes:
        data: bytes = self._db.execute("SELECT entry FROM entries WHERE seq = ?", (index,)).fetchone()[0]
        return data

    def _sign_checkpoint(self) -> bytes:
        keys = (self._log_key,) if self._retiring is None else (self._log_key, self._retiring)
        return sign_checkpoint(self._origin, self._tree.size, self._tree.root(), *keys)


def _parse_row(data: bytes) -> _Row:
    entry = parse_entry(data)
    if entry.countersignature is None:
        raise DataError("ledger: expected a countersigned entry, got one without a countersignature")
    return _Row(data, leaf_hash(data), entry)


def _join_users(path: Path, *, exclusively: bool) -> int:
    """A lock beside the file, since SQLite's own are lost when a second descriptor of it is closed."""
    users = os.open(path.with_name(f"{path.name}.users"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(users, (fcntl.LOCK_EX if exclusively else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(users)
        raise LocalProtocolError(
            "ledger: expected nobody to use it meanwhile: stop the services first", code="LEDGER_IN_USE"
        ) from error
    return users


def _create(path: Path) -> None:
    """Make an empty ledger under another name and link it into place, so that no one sees half a schema."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # 0600
    os.close(handle)
    try:
        db = sqlite3.connect(name, isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(_SCHEMA)
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.close()
        with contextlib.suppress(FileExistsError):  # another process was faster
            os.link(name, path)
    finally:
        Path(name).unlink()
    sync_directory(path.parent)


def _connect(path: Path) -> sqlite3.Connection:
    """A connection that waits for other writers and returns from COMMIT only when the disk has it."""
    db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA synchronous = FULL")
    return db


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection, begin: str) -> Iterator[None]:
    """Begin, unless the caller has; whatever is not committed inside is rolled back."""
    if db.in_transaction:
        yield
        return
    db.execute(begin)
    try:
        yield
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def _write_synced(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
