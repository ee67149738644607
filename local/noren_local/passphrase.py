"""Where this machine finds the passphrase of a protected directory (docs/deploying.md, Protecting keys).

1. The systemd credential `noren-passphrase`.
2. The file that NOREN_PASSPHRASE_FILE names; only its owner, who must be us, may read it.
3. A prompt without echo, if a terminal is there.

Never an argument or the value of a variable: other processes can read both.
"""

from __future__ import annotations

import getpass
import os
import stat
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from noren_core.crypto.sealed_files import SealedFiles
from noren_core.crypto.secret import SecretBytes
from noren_core.crypto.vault import MAX_PASSPHRASE_BYTES, parse_passphrase
from noren_core.errors import ConfigurationError
from noren_local.private_file import in_memory

CREDENTIAL = "noren-passphrase"
FILE_VARIABLE = "NOREN_PASSPHRASE_FILE"


def is_configured() -> bool:
    """Whether this process was started with a passphrase."""
    return _credential() is not None or bool(os.environ.get(FILE_VARIABLE))


def configured() -> SecretBytes | None:
    """The passphrase that this process was started with, None if it was started with none.

    Raises:
        ConfigurationError: if the file is not ours alone, is missing, or holds no passphrase.
    """
    if (credential := _credential()) is not None:
        return _read(credential, is_guarded=True)
    named = os.environ.get(FILE_VARIABLE)
    return from_file(Path(named)) if named else None


def from_file(path: Path) -> SecretBytes:
    """The passphrase in a file of ours; ConfigurationError if others can read it or it holds none."""
    return _read(path, is_guarded=False)


def from_variable(variable: str, prompt: str) -> SecretBytes:
    """Another secret line: in the file that an environment variable names, or typed without echo."""
    named = os.environ.get(variable)
    return from_file(Path(named)) if named else _ask(prompt)


def current() -> SecretBytes:
    """The passphrase of a directory that is protected already.

    Raises:
        ConfigurationError: with code PASSPHRASE_MISSING, if none is configured and there is no terminal.
    """
    found = configured()
    return _ask("Passphrase: ") if found is None else found


def chosen(file: Path | None) -> SecretBytes:
    """A new passphrase: from `file`, or asked for twice.

    Raises:
        ConfigurationError: if the two differ, or as for `current`.
    """
    if file is not None:
        return from_file(file)
    passphrase = _ask("New passphrase: ")
    if passphrase != _ask("The same again: "):
        raise ConfigurationError("passphrase: expected the same twice, got two")
    return passphrase


@contextmanager
def for_children(secrets: SealedFiles) -> Iterator[None]:
    """What was typed here is there for the processes that we start, and theirs: they have no terminal.

    It is in memory only, as a file of ours that FILE_VARIABLE names until the end of the block.
    """
    if secrets.state is None or configured() is not None:
        yield
        return
    with in_memory(current().buffer) as descriptor:
        os.environ[FILE_VARIABLE] = f"/proc/{os.getpid()}/fd/{descriptor}"
        try:
            yield
        finally:
            del os.environ[FILE_VARIABLE]


def _credential() -> Path | None:
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    path = Path(directory or ".") / CREDENTIAL
    return path if directory and path.exists() else None


def _read(path: Path, *, is_guarded: bool) -> SecretBytes:
    """`is_guarded`: systemd's own directory keeps others out, the file's mode there does not say so."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            is_ours = status.st_uid == os.geteuid() and not stat.S_IMODE(status.st_mode) & 0o177
            if not (is_guarded or is_ours):
                raise ConfigurationError(
                    "passphrase file: expected one that only we can read (0600 or 0400), got another"
                )
            text = bytearray(file.read(MAX_PASSPHRASE_BYTES + 3))
    except OSError as error:
        raise ConfigurationError("passphrase file: expected one that can be read, got none") from error
    try:
        return parse_passphrase(text)
    finally:
        text[:] = bytes(len(text))


def _ask(prompt: str) -> SecretBytes:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigurationError(
            f"expected a passphrase (credential {CREDENTIAL}, {FILE_VARIABLE} or a terminal), got none",
            code="PASSPHRASE_MISSING",
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)  # it would go on with echo
        try:
            return parse_passphrase(getpass.getpass(prompt).encode())
        except (getpass.GetPassWarning, EOFError, UnicodeEncodeError) as error:
            raise ConfigurationError(
                "passphrase: expected a line typed without echo, got none", code="PASSPHRASE_MISSING"
            ) from error
