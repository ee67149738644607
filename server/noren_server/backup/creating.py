"""Making a backup while the services run.

Promises: every database is copied as it was at one and the same instant, between two transactions of anybody,
so that what points at each other fits; the copies pass SQLite's own check before they are sealed; a backup
that is interrupted leaves nothing behind that the next one does not remove. Everything in the platform's
directory is in it, but for what is made anew at every start.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from noren_core.crypto.merkle import MerkleTree
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import ConfigurationError, LocalProtocolError
from noren_server.backup.history import MadeBackup, add_backup
from noren_server.backup.sealed_backup import BackupWriter, Manifest, damaged
from noren_server.platform_files import Platform
from noren_server.platform_secrets import secrets_of

LEDGER, STORE = "ledger.db", "platform.db"
_COPIES = ".backup-copies"
_LOCK = "backups.lock"
_BUSY_SECONDS = 10.0
_ATTEMPTS = 3
_MADE_ANEW = frozenset({"flower", "run"})
_PASSING = ("-wal", "-shm", "-journal", ".users", ".part", ".lock")


def create(platform: Platform, directory: Path, passphrase: SecretBytes, *, now: int) -> Manifest:
    """Make a backup of the platform in `directory`, which must not exist.

    1. Nobody else makes one, and nobody converts the keys meanwhile.
    2. Copies of all databases as they are now, checked.
    3. Copies and all other files, sealed.
    4. The backup appears, and is kept in the history.

    Raises:
        ConfigurationError: if `directory` exists or lies in the platform's.
        LocalProtocolError: with code STATE_BUSY, if there was no such instant; BACKUP_RUNNING, if another one
            is being made.
    """
    source = platform.directory.resolve()
    if directory.resolve().is_relative_to(source):
        raise ConfigurationError("backup: expected a directory outside the platform's, got one inside")
    with one_at_a_time(source), secrets_of(platform.directory).held():  # 1
        copies = source / _COPIES
        writer = BackupWriter(directory, passphrase)
        try:
            shutil.rmtree(copies, ignore_errors=True)
            copies.mkdir(mode=0o700)
            size, root = _copy_databases(source, copies)  # 2
            for path in _files(source):  # 3
                name = path.relative_to(source).as_posix()
                with suppress(FileNotFoundError):  # it went away meanwhile
                    writer.add(name, copies / name if path.suffix == ".db" else path)
            manifest = writer.finish(
                made_at=now, origin=platform.config.origin, ledger_size=size, ledger_root=root
            )
        except BaseException:
            writer.discard()
            raise
        finally:
            shutil.rmtree(copies, ignore_errors=True)
        made = MadeBackup(
            now, str(directory.resolve()), len(manifest.files), manifest.size, manifest.ledger_size
        )
        add_backup(platform.directory, made)  # 4
    return manifest


@contextmanager
def one_at_a_time(directory: Path) -> Iterator[None]:
    """Hold the lock of a platform's backups; LocalProtocolError (BACKUP_RUNNING) if somebody else does."""
    descriptor = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LocalProtocolError(
                "backup: expected no other one to be under way, got one", code="BACKUP_RUNNING"
            ) from error
        yield
    finally:
        os.close(descriptor)


def verify_database(path: Path) -> None:
    """Raise VerificationError (BACKUP_DAMAGED) unless SQLite finds nothing wrong with the file."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            found = database.execute("PRAGMA integrity_check").fetchall()
            broken = database.execute("PRAGMA foreign_key_check").fetchall()
    except sqlite3.DatabaseError as error:
        raise damaged(f"{path.name} is no database") from error
    if found != [("ok",)] or broken:
        raise damaged(f"{path.name} does not pass the integrity check")


def _files(source: Path) -> list[Path]:
    """Every file that belongs in a backup, in order."""
    found = []
    for path in sorted(source.rglob("*")):
        below = path.relative_to(source)
        is_passing = path.name.endswith(_PASSING) or any(part.startswith(".") for part in below.parts)
        if below.parts[0] in _MADE_ANEW or is_passing or path.is_symlink() or not path.is_file():
            continue
        found.append(path)
    return found


def _copy_databases(source: Path, copies: Path) -> tuple[int, bytes]:
    """A copy of each database, all of one instant; size and root of the ledger in it."""
    names = [path.relative_to(source).as_posix() for path in _files(source) if path.suffix == ".db"]
    # as everybody else who holds both: first the store, last the ledger
    names.sort(key=lambda name: (name == LEDGER, name != STORE, name))
    with _one_instant([source / name for name in names]) as snapshots:
        for name, snapshot in zip(names, snapshots, strict=True):
            path = copies / name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)
            with closing(sqlite3.connect(path)) as copy:
                snapshot.backup(copy)
            verify_database(path)
    return ledger_head(copies / LEDGER)


def ledger_head(path: Path) -> tuple[int, bytes]:
    """Size and root of the entries in a ledger's file, by their leaves."""
    tree = MerkleTree()
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
        for (leaf,) in database.execute("SELECT leaf FROM entries ORDER BY seq"):
            tree.append(leaf)
    return tree.size, tree.root()


@contextmanager
def _one_instant(paths: list[Path]) -> Iterator[list[sqlite3.Connection]]:
    """A reading transaction on each database, all begun while nobody could write any of them.

    The write locks are held only until the last reader has begun, and given back at once if one cannot be
    had: who holds that one may be waiting for another.
    """
    for _ in range(_ATTEMPTS):
        with ExitStack() as stack:
            guards = [stack.enter_context(closing(_connect(path))) for path in paths]
            readers = [stack.enter_context(closing(_connect(path))) for path in paths]
            if not _all_locked(guards):
                continue
            for reader in readers:
                reader.execute("BEGIN")
                reader.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
            for guard in guards:
                guard.execute("ROLLBACK")
            yield readers
            return
    raise LocalProtocolError(
        "backup: expected a moment in which nobody writes, got none: repeat", code="STATE_BUSY"
    )


def _all_locked(guards: list[sqlite3.Connection]) -> bool:
    try:
        for guard in guards:
            guard.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return False  # closing the connections gives back what was locked
    return True


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
