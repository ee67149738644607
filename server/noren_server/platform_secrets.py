"""The platform's secrets: files below its directory, and values in its database.

All are sealed if the directory is protected. Every secret of the platform is one of `PATTERNS` or in a secret
column of the database (`noren_server.store`), so that protecting a directory finds them all (docs/protocol.md
§0.2).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from noren_core.crypto.sealed_files import SealedFiles
from noren_local.secret_files import SecretFiles, sealed
from noren_server.store import DATABASE_NAME, SecretRows, Store
from noren_server.superlink import compact_database

PATTERNS = ("keys/*.key", "ca/ca.key", "tls/server.key", "console/people.json")


def secrets_of(platform_dir: Path) -> SealedFiles:
    """The platform's secrets, by their paths below its directory."""
    return sealed(PlatformFiles(platform_dir))


class PlatformFiles(SecretFiles):
    """What lies below the platform's directory: its files, and the rows of its database."""

    def __init__(self, platform_dir: Path) -> None:
        super().__init__(platform_dir, PATTERNS)
        self._database = platform_dir / DATABASE_NAME
        self._store: Store | None = None

    def names(self) -> Sequence[str]:
        """Every secret that is there, files first."""
        files = super().names()
        if not self._database.exists():
            return files
        with self._rows() as rows:
            return [*files, *rows.names()]

    def read(self, name: str) -> bytes | None:
        """A file's content, if only its owner, who must be us, can reach it; or a row's."""
        if not _is_row(name):
            return super().read(name)
        with self._rows() as rows:
            return rows.read(name)

    def write(self, name: str, data: bytes) -> None:
        """Replace a file or a row's content."""
        if _is_row(name):
            with self._rows() as rows:
                rows.write(name, data)
        else:
            super().write(name, data)

    def forget_replaced(self) -> None:
        """Remove what crashes left half-written, and the database's pages with former values."""
        super().forget_replaced()
        if self._database.exists():
            compact_database(self._database)

    @contextmanager
    def held(self, *, exclusively: bool) -> Iterator[None]:
        """Lock the directory of keys; a conversion has the database open meanwhile."""
        with (
            super().held(exclusively=exclusively),
            self._open_database() if exclusively else nullcontext(),
        ):
            yield

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
        self._store = Store.open(self._database)
        try:
            yield
        finally:
            self._store.close()
            self._store = None


def _is_row(name: str) -> bool:
    return name.startswith(f"{DATABASE_NAME}/")
