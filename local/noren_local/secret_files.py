"""A party's secrets on disk: one file each, mode 0600 in directories of mode 0700, sealed if protected.

Every secret is in a place that its party lists in advance; nothing else is written through here, so that
protecting a directory finds them all (docs/protocol.md §0.2).
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath

from noren_core.crypto.sealed_files import HEADER_NAME, Files, SealedFiles
from noren_core.crypto.vault import Vault
from noren_core.errors import ConfigurationError, LocalProtocolError
from noren_local import passphrase
from noren_local.private_file import sync_directory, write_private

_OPEN_VAULTS = 64


def sealed(files: Files) -> SealedFiles:
    """These secrets; what is protected opens with this machine's passphrase (`noren_local.passphrase`)."""
    return SealedFiles(files, _unlocked, must_be_protected=passphrase.is_configured)


class SecretFiles:
    """The files below one party's directory (`noren_core.crypto.sealed_files.Files`).

    `patterns` are those of all its secrets, relative to the directory, as `Path.glob` takes them.
    """

    def __init__(self, directory: Path, patterns: Sequence[str]) -> None:
        self._directory = directory
        self._patterns = patterns

    def names(self) -> Sequence[str]:
        """Every secret that is there."""
        found = (path for pattern in self._patterns for path in self._directory.glob(pattern))
        return sorted(path.relative_to(self._directory).as_posix() for path in found)

    def read(self, name: str) -> bytes | None:
        """A file's content, if only its owner, who must be us, can reach it."""
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
        """Replace a file."""
        write_private(self._path(name), data)

    def remove(self, name: str) -> None:
        """Remove a file."""
        path = self._path(name)
        path.unlink(missing_ok=True)
        sync_directory(path.parent)

    def forget_replaced(self) -> None:
        """Remove what crashes left half-written."""
        for pattern in self._patterns:
            for path in self._directory.glob(f"{pattern}*.part"):
                path.unlink()

    @contextmanager
    def held(self, *, exclusively: bool) -> Iterator[None]:
        """Lock the directory of keys; without one there is nothing to convert."""
        try:
            descriptor = os.open(self._directory / "keys", os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            if exclusively:
                raise ConfigurationError("expected a directory with keys, got one without") from error
            yield
            return
        try:
            _lock(descriptor, exclusively=exclusively)
            yield
        finally:
            os.close(descriptor)

    def _path(self, name: str) -> Path:
        path = PurePosixPath("/" + name)
        is_ours = name == HEADER_NAME or any(path.match("/" + pattern) for pattern in self._patterns)
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
