"""SQLite files that keep evidence: opened by several processes, durable at every commit, private."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from noren_core.errors import ConfigurationError
from noren_local.private_file import sync_directory

BUSY_TIMEOUT_SECONDS = 30.0


def append_only(table: str) -> str:
    """The triggers that refuse every change of what stands in `table`, whose key is `seq`."""
    return f"""
CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table}
BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END;
CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table}
BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END;
CREATE TRIGGER {table}_no_gap BEFORE INSERT ON {table}
WHEN NEW.seq IS NOT (SELECT COALESCE(MAX(seq) + 1, 0) FROM {table})
BEGIN SELECT RAISE(ABORT, 'the next row has the next number'); END;
"""  # noqa: S608 (our own names)


class EvidenceFile:
    """One file with one schema; every use of it is one transaction."""

    def __init__(self, path: Path, *, schema: str, version: int) -> None:
        """Open the file; it is made (0600) if there is none.

        Raises:
            ConfigurationError: if the file is of another version.
        """
        if not path.exists():
            _create(path, schema, version)
        self._lock = threading.RLock()
        self._db = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._db.execute("PRAGMA synchronous = FULL")
        if self._db.execute("PRAGMA user_version").fetchone()[0] != version:
            self.close()
            raise ConfigurationError(f"{path.name}: expected a file of this version, got another")

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._db.close()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent view."""
        with self._lock, self._transaction("BEGIN"):
            yield self._db

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """All that is done inside, or nothing; others wait."""
        with self._lock, self._transaction("BEGIN IMMEDIATE"):
            yield self._db

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        if self._db.in_transaction:
            yield
            return
        self._db.execute(begin)
        try:
            yield
            self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")


def _create(path: Path, schema: str, version: int) -> None:
    """Make an empty file under another name and link it into place, so that no one sees half a schema."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # 0600
    os.close(handle)
    try:
        db = sqlite3.connect(name, isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(schema)
        db.execute(f"PRAGMA user_version = {version}")
        db.close()
        with contextlib.suppress(FileExistsError):  # another process was faster
            os.link(name, path)
    finally:
        Path(name).unlink()
    sync_directory(path.parent)
