"""Whole files that a crash leaves old or new, never half written; readable by our own account only."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

from noren_core.errors import ConfigurationError


def replace_file(path: Path, data: bytes) -> None:
    """Write `data` to `path` (mode 0600) and return when the disk has it; the directory is there.

    What the disk does not take leaves nothing behind.
    """
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
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
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


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
            replace_file(path, data)
    except OSError as error:
        raise ConfigurationError(f"output: expected a place for a file, got: {error.strerror}") from error
