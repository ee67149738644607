"""One process at a time serves a directory: two would each remember half of what was asked."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from noren_core.errors import ConfigurationError


def lock_directory(directory: Path, name: str) -> int:
    """A descriptor that holds the directory until it is closed.

    Raises:
        ConfigurationError: if another process has it.
    """
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise ConfigurationError(f"{name}: expected no other process to serve this directory") from error
    return descriptor
