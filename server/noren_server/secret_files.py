"""The platform's secrets: files of mode 0600 in directories of mode 0700, and values in its database.

All are sealed if the directory is protected. Every secret of the platform is one of `PATTERNS` or in a secret
column of the database (`noren_server.store`), so that protecting a directory finds them all (docs/protocol.md
§0.2).
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path, PurePosixPath

from noren_core.crypto.sealed_files import HEADER_NAME, SealedFiles
from noren_core.crypto.vault import Vault
from noren_core.errors import ConfigurationError, LocalProtocolError
from noren_server import passphrase
from noren_server.private_file import sync_directory, write_private
from noren_server.store import DATABASE_NAME, SecretRows, Store
from noren_server.superlink import compact_database

PATTERNS = ("keys/*.key", "ca/ca.key", "tls/server.key")
_OPEN_VAULTS = 8


def secrets_of(platform_dir: Path) -> SealedFiles:
    """The platform's secrets, by their paths below its directory."""
    return SealedFiles(PlatformFiles(platform_dir), _unlocked, must_be_protected=passphrase.is_configured)


class PlatformFiles:
    """What lies below the platform's directory (`noren_core.crypto.sealed_files.Files`)."""

    def __init__(self, platform_dir: Path) -> None:
        self._directory = platform_dir
        self._store: Store | None = None

    def names(self) -> Sequence[str]:
        """Every secret that is there, files first."""
        found = (path for pattern in PATTERNS for path in self._directory.glob(pattern))
        files = sorted(path.relative_to(self._directory).as_posix() for path in found)
        if not (self._directory / DATABASE_NAME).exists():
            return files
        with self._rows() as rows:
            return [*files, *rows.names()]

    def read(self, name: str) -> bytes | None:
        """A file's content, if only its owner, who must be us, can reach it; or a row's."""
        if _is_row(name):
            with self._rows() as rows:
                return rows.read(name)
        path = self._path(name)
        try:
            with path.open("rb") as file:
                _verify_private(os.fstat(file.fileno()), name)
                _verify_private(path.parent.stat(), PurePosixPath(name).parent.as_posix())
                return file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigurationError(f"{name}: expected a file that can be read, got another") from error

    def write(self, name: str, data: bytes) -> None:
        """Replace a file or a row's content."""
        if _is_row(name):
            with self._rows() as rows:
                rows.write(name, data)
        else:
            write_private(self._path(name), data)

    def remove(self, name: str) -> None:
        """Remove a file."""
        path = self._path(name)
        path.unlink(missing_ok=True)
        sync_directory(path.parent)

    def forget_replaced(self) -> None:
        """Remove what crashes left half-written, and the database's pages with former values."""
        for pattern in PATTERNS:
            for path in self._directory.glob(f"{pattern}*.part"):
                path.unlink()
        if (self._directory / DATABASE_NAME).exists():
            compact_database(self._directory / DATABASE_NAME)

    @contextmanager
    def _rows(self) -> Iterator[SecretRows]:
        """The database's secrets as they are stored, all from one transaction."""
        if self._store is None:
            with self._open_database(), self._rows() as rows:
                yield rows
        else:
            with self._store.transaction() as transaction:
                yield transaction.secret_rows()

    @contextmanager
    def _open_database(self) -> Iterator[None]:
        """A conversion opens it once."""
        self._store = Store.open(self._directory / DATABASE_NAME)
        try:
            yield
        finally:
            self._store.close()
            self._store = None

    @contextmanager
    def held(self, *, exclusively: bool) -> Iterator[None]:
        """Lock the directory of keys; without one there is no platform."""
        try:
            descriptor = os.open(self._directory / "keys", os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            if exclusively:
                raise ConfigurationError("expected a platform directory, got no keys") from error
            yield
            return
        try:
            _lock(descriptor, exclusively=exclusively)
            with self._open_database() if exclusively else nullcontext():
                yield
        finally:
            os.close(descriptor)

    def _path(self, name: str) -> Path:
        path = PurePosixPath("/" + name)
        is_ours = name == HEADER_NAME or any(path.match("/" + pattern) for pattern in PATTERNS)
        if not is_ours or ".." in path.parts:
            raise LocalProtocolError("expected the name of a secret, got another file's")
        return self._directory / name


@lru_cache(maxsize=_OPEN_VAULTS)
def _unlocked(header: bytes) -> Vault:
    """One derivation per process and header, however many secrets are read."""
    given = passphrase.current()
    try:
        return Vault.open(given, header)
    finally:
        given.wipe()


def _lock(descriptor: int, *, exclusively: bool) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB if exclusively else fcntl.LOCK_SH)
    except BlockingIOError as error:
        raise LocalProtocolError(
            "expected a directory that nobody uses: stop its services first", code="DIRECTORY_IN_USE"
        ) from error


def _verify_private(status: os.stat_result, name: str) -> None:
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        expected = "a directory (0700)" if stat.S_ISDIR(status.st_mode) else "a file (0600)"
        raise ConfigurationError(f"{name}: expected {expected} that only we can read, got another")


def _is_row(name: str) -> bool:
    return name.startswith(f"{DATABASE_NAME}/")
