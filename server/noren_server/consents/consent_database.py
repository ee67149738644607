"""The file of the consent book: SQLite, mode 0600, synced before a commit returns.

Promises: events, mailboxes and heads only grow, and no number is left out; triggers refuse every change. They
guard against our own mistakes; whoever can write the file can drop them, and is found out by the head in the
ledger. `records`, `students`, `acknowledged` and `epochs` repeat what the events say, for looking it up, and
change in the same transaction. `redeemed` forgets permits that have expired.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

from noren_core.errors import ConfigurationError, LocalProtocolError
from noren_local.private_file import sync_directory

SCHEMA_VERSION = 1
BUSY_TIMEOUT_SECONDS = 30.0


def _append_only(table: str) -> str:
    """Triggers that refuse to change or delete a row."""
    refused = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END;"
    return (
        f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} {refused}\n"
        f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} {refused}\n"
    )


def _numbered(table: str) -> str:
    """A trigger that refuses to leave out a number or to use one again."""
    refused = f"BEGIN SELECT RAISE(ABORT, 'the next row of {table} has the next number'); END;"
    next_number = f"(SELECT COALESCE(MAX(seq) + 1, 0) FROM {table})"  # noqa: S608 (our own table names)
    event = f"BEFORE INSERT ON {table} WHEN NEW.seq IS NOT {next_number}"
    return f"CREATE TRIGGER {table}_no_gap {event} {refused}\n"


# Numbers are checked by triggers and not left to SQLite: INSERT OR REPLACE would otherwise overwrite a row
# without firing the DELETE trigger. `mailboxes` has no other way in than a plain INSERT.
_SCHEMA = f"""
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    student TEXT NOT NULL,
    record BLOB NOT NULL,
    digest BLOB NOT NULL,
    leaf BLOB NOT NULL,
    salt BLOB NOT NULL,
    event BLOB NOT NULL
) STRICT;
CREATE INDEX events_by_digest ON events (digest);
CREATE INDEX events_by_student ON events (student, seq);
CREATE INDEX events_by_record ON events (record, seq);
CREATE TABLE heads (
    seq INTEGER PRIMARY KEY,
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    ledger_index INTEGER NOT NULL
) STRICT;
CREATE TABLE mailboxes (
    handle BLOB PRIMARY KEY,
    student TEXT NOT NULL,
    company TEXT NOT NULL,
    epoch INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX mailboxes_by_student ON mailboxes (student, company, epoch);
CREATE TABLE students (
    student TEXT PRIMARY KEY,
    public_key BLOB NOT NULL,
    registered_at INTEGER NOT NULL,
    key_since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE acknowledged (
    company TEXT NOT NULL,
    season TEXT NOT NULL,
    student TEXT NOT NULL,
    position TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (company, season, student, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE epochs (
    student TEXT NOT NULL,
    company TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    PRIMARY KEY (student, company)
) STRICT, WITHOUT ROWID;
CREATE TABLE records (
    record BLOB PRIMARY KEY,
    student TEXT NOT NULL,
    purpose TEXT NOT NULL,
    company TEXT NOT NULL,
    position TEXT NOT NULL,
    season TEXT NOT NULL,
    policy TEXT NOT NULL,
    state TEXT NOT NULL,
    overruled TEXT,
    first_seq INTEGER NOT NULL,
    last_time INTEGER NOT NULL,
    shown_screen TEXT NOT NULL,
    shown_clauses TEXT NOT NULL,
    given_seq INTEGER,
    answered_at INTEGER NOT NULL,
    screen TEXT,
    clauses TEXT,
    action TEXT,
    prechecked INTEGER,
    bundled INTEGER,
    dwell_ms INTEGER,
    expires_at INTEGER,
    identifier_kind TEXT,
    identifier TEXT,
    found_by BLOB,
    disclosure_key BLOB,
    mailbox BLOB
) STRICT;
CREATE INDEX records_by_key ON records (student, company, purpose, season, position, policy, first_seq);
CREATE INDEX records_by_cohort ON records (company, season, purpose);
CREATE INDEX records_by_identifier ON records (found_by, company, season, purpose) WHERE found_by IS NOT NULL;
CREATE TABLE redeemed (
    jti BLOB PRIMARY KEY,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX redeemed_by_expiry ON redeemed (expires_at);
{_append_only("events")}{_numbered("events")}
{_append_only("heads")}{_numbered("heads")}
{_append_only("mailboxes")}
"""


def open_database(path: Path) -> sqlite3.Connection:
    """A connection to the book at `path`, which is made if there is none.

    It waits for other writers and returns from COMMIT only when the disk has it.

    Raises:
        ConfigurationError: if the file is no book of this version.
    """
    if not path.exists():
        _create(path)
    database = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        _verify_version(path, database)
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA cache_size = -65536")  # 64 MiB
    except BaseException:
        database.close()
        raise
    return database


@contextlib.contextmanager
def transaction(database: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    """All of the block, or nothing of it.

    Raises:
        LocalProtocolError: with code STORAGE_BUSY, if another process keeps the lock for half a minute.
    """
    try:
        database.execute(begin)
    except sqlite3.OperationalError as error:
        raise LocalProtocolError(
            "consent book: expected to get its lock, another process kept it", code="STORAGE_BUSY"
        ) from error
    try:
        yield
        database.execute("COMMIT")
    finally:
        if database.in_transaction:
            database.execute("ROLLBACK")


def _verify_version(path: Path, database: sqlite3.Connection) -> None:
    try:
        version = database.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.DatabaseError as error:
        raise ConfigurationError(f"{path.name}: expected a consent book, got another file") from error
    if version != SCHEMA_VERSION:
        raise ConfigurationError(f"{path.name}: expected a consent book of this version, got another")


def _create(path: Path) -> None:
    """Make an empty book under another name and link it into place, so that no one sees half a schema."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # 0600
    os.close(handle)
    try:
        database = sqlite3.connect(name, isolation_level=None)
        database.execute("PRAGMA journal_mode = WAL")
        database.executescript(_SCHEMA)
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        database.close()
        with contextlib.suppress(FileExistsError):  # another process was faster
            os.link(name, path)
    finally:
        Path(name).unlink()
    sync_directory(path.parent)
