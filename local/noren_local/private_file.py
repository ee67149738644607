"""Whole files that only our own account can read: keys, certificates, what others must not see."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from noren_core.errors import ConfigurationError


def write_private(path: Path, data: bytes) -> None:
    """Replace `path` by `data` (mode 0600), durably; a crash leaves the old file or the new one.

    The directory is made (mode 0700) if it is not there. What the disk does not take leaves nothing behind.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
    # A file that is there already could be one that others may read.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_result(path: Path, data: bytes) -> None:
    """Write what a command was asked to write: a file is there whole (mode 0600) or as it was before.

    Pipes, devices and symbolic links (/dev/stdout) are written through. No directory is made.

    Raises:
        ConfigurationError: if it cannot be written there.
    """
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            path.write_bytes(data)
        elif not path.parent.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "no such directory")
        else:
            write_private(path, data)
    except OSError as error:
        raise ConfigurationError(f"output: expected a place for a file, got: {error.strerror}") from error


@contextmanager
def in_memory(data: bytes | bytearray) -> Iterator[int]:
    """A descriptor of an unnamed file in memory, for programs that take a path; gone when all close it."""
    descriptor = os.memfd_create("private", os.MFD_CLOEXEC)
    try:
        os.fchmod(descriptor, 0o600)
        os.write(descriptor, data)
        yield descriptor
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Make a rename or removal in it durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
