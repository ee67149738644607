"""The auditor's own key, which signs what leaves a company's machine: a file that only its owner can read."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from noren_core.crypto.identity import SigningKey
from noren_core.errors import ConfigurationError

_HEX = re.compile(rb"[0-9a-f]{64}\n\Z")
_PUBLIC = re.compile(r"[0-9a-f]{64}\Z")
_FILE_BYTES = 65


def create(path: Path) -> SigningKey:
    """A fresh key, written to `path` (mode 0600).

    Raises:
        ConfigurationError: if the file is there already or cannot be made.
    """
    key = SigningKey.generate()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ConfigurationError(
            f"auditor key: expected a new file to write, got {error.strerror}"
        ) from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.to_bytes().hex().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return key


def load(path: Path) -> SigningKey:
    """The key in `path`.

    Raises:
        ConfigurationError: if the file is not there, others can read it, or it holds something else.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"auditor key: expected a readable file, got {error.strerror}") from error
    if not stat.S_ISREG(mode) or mode & 0o077:
        raise ConfigurationError("auditor key: expected a file that only you can read (0600), got another")
    if not _HEX.match(text):
        raise ConfigurationError("auditor key: expected a file that noren-audit key init made, got another")
    return SigningKey.from_bytes(bytes.fromhex(text.decode()))


def parse_public(text: str) -> bytes:
    """An auditor's public key from 64 lower-case hex digits; ConfigurationError for anything else."""
    if not _PUBLIC.match(text):
        raise ConfigurationError("auditor's public key: expected 64 lower-case hex digits")
    return bytes.fromhex(text)
