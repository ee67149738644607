"""Handing this company's directory over to another machine or person: one encrypted file, and then nothing.

Promises: the archive has every file of the directory that a successor needs, opens only with its passphrase,
and a changed, shortened or reordered one is refused before a file is written; once it can be used, the old
directory is inert (`inertness`), so that one budget is not spent by two machines. Nothing is exported while a
worker runs. The odometer goes along: a second import of the same archive is noticed by the ledger, as every
older copy is (ACCOUNTANT_RESET).

An archive is `noren-hand-over-v1`, a vault header (docs/protocol.md §0.2.1, Argon2id) and sealed blocks: the
list of files, then their bytes. A block's name has its number and the hand-over's handle.

Not promised: that nobody kept a copy of the old disk. Rotate the keys on the new machine
(`noren-company keys rotate all`), after which the old ones are worth nothing.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from noren_client import config, inertness, worker_service
from noren_client.company_secrets import stored_in
from noren_client.inertness import HandedOver
from noren_core import canonical_json
from noren_core.crypto.secret import SecretBytes
from noren_core.crypto.vault import MAX_HEADER_BYTES, Vault, VaultState
from noren_core.errors import (
    ConfigurationError,
    DataError,
    LocalProtocolError,
    NorenError,
    VerificationError,
)
from noren_core.ids import parse_name
from noren_local.private_file import sync_directory, write_private

SUFFIX = ".noren-hand-over"
MAGIC = b"noren-hand-over-v1\n"
BLOCK_BYTES = 8 << 20
MAX_FILES = 100_000
MAX_LIST_BYTES = 64 << 20
HANDLE_BYTES = 16

_LEFT_BEHIND = ("flower", "run")  # made anew at every start
_LENGTH = struct.Struct(">I")
_SEALING_BYTES = 1 << 10  # more than sealing adds to a block


@dataclass(frozen=True, slots=True)
class ArchivedFile:
    """One file of the directory, by its path below it."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class FileList:
    """What an archive holds, in order.

    Attributes:
        hand_over: the handle, 32 hex digits.
        handed_over_at: Unix seconds.
    """

    hand_over: str
    company: str
    handed_over_at: int
    files: tuple[ArchivedFile, ...]


def export(company_dir: Path, archive: Path, passphrase: SecretBytes, *, now: int) -> FileList:
    """Write the archive, and end the use of this directory.

    1. No worker runs, and nobody else changes a secret.
    2. The archive is written beside its final name, and read back with the passphrase.
    3. The directory is inert.
    4. The archive gets its name. After a crash between 3 and 4 the same call completes it.

    Args:
        company_dir: what is handed over.
        archive: where; there must be no such file.
        passphrase: of at least 12 bytes, for the archive alone.
        now: Unix seconds.

    Raises:
        LocalProtocolError: with code WORKER_RUNNING or DIRECTORY_IN_USE, or if the archive is there.
        ConfigurationError: if this is no company's directory, or (PASSPHRASE_TOO_SHORT).
    """
    earlier = inertness.read(company_dir)
    company = config.load_inert(company_dir).company
    if archive.exists() or archive.resolve().is_relative_to(company_dir.resolve()):
        raise LocalProtocolError("hand-over: expected the name of a new file outside of the directory")
    handle = secrets.token_hex(HANDLE_BYTES) if earlier is None else earlier.hand_over
    partial = archive.with_name(archive.name + ".part")
    with worker_service.stopped(company_dir), stored_in(company_dir).held(exclusively=True):  # 1
        listed = FileList(handle, company, now, tuple(_files_of(company_dir)))
        try:
            _write(partial, company_dir, listed, passphrase)  # 2
            verify(partial, passphrase)
            inertness.write(company_dir, HandedOver(handle, company, now))  # 3
            partial.replace(archive)  # 4
            sync_directory(archive.parent)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    return listed


def verify(archive: Path, passphrase: SecretBytes) -> FileList:
    """Read an archive to its end; what it holds.

    Raises:
        DataError: if it is no archive.
        ConfigurationError: with code WRONG_PASSPHRASE.
        VerificationError: if it was changed or cut off.
    """
    with _opened(archive, passphrase) as (listed, blocks):
        for _ in _contents(listed, blocks):
            pass
    return listed


def take_over(archive: Path, company_dir: Path, passphrase: SecretBytes) -> FileList:
    """Make the company's directory on this machine from an archive; what it holds.

    1. There is nothing in the directory yet.
    2. The archive is written out beside it, each file checked against the list.
    3. It is a company's directory whose configuration we can read.
    4. It gets its name.

    Raises: as `verify`, and LocalProtocolError if the directory is not empty.
    """
    if company_dir.exists() and any(company_dir.iterdir()):  # 1
        raise LocalProtocolError("hand-over: expected an empty directory, got one with files")
    company_dir.parent.mkdir(parents=True, exist_ok=True)
    partial = company_dir.with_name(f"{company_dir.name}.{secrets.token_hex(8)}.part")
    partial.mkdir(mode=0o700)
    try:
        with _opened(archive, passphrase) as (listed, blocks):  # 2
            for file, content in _contents(listed, blocks):
                _write_out(partial, file, content)
        _verify_company(partial, listed)  # 3
        if company_dir.exists():
            company_dir.rmdir()
        partial.rename(company_dir)  # 4
        sync_directory(company_dir.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return listed


def take_back(company_dir: Path, archive: Path, passphrase: SecretBytes) -> None:
    """Use this directory again: the archive, which was imported nowhere, is deleted.

    If it was imported after all, the ledger shows the one that comes later (ACCOUNTANT_RESET).

    Raises:
        LocalProtocolError: if this directory was not handed over, or by another archive. As `verify`.
    """
    said = inertness.read(company_dir)
    if said is None or said.hand_over != verify(archive, passphrase).hand_over:
        raise LocalProtocolError("hand-over: expected the archive of this directory's hand-over, got another")
    archive.unlink()
    sync_directory(archive.parent)
    inertness.remove(company_dir)


def _verify_company(directory: Path, listed: FileList) -> None:
    if config.load(directory).company != listed.company:
        raise VerificationError("hand-over: expected the configuration of the company that is named")


def _files_of(company_dir: Path) -> Iterator[ArchivedFile]:
    for path in sorted(company_dir.rglob("*")):
        name = path.relative_to(company_dir)
        is_needed = name.parts[0] not in _LEFT_BEHIND and name.as_posix() != inertness.FILE_NAME
        if path.is_symlink():
            raise LocalProtocolError("hand-over: expected a directory without symbolic links, got one")
        if is_needed and path.is_file() and path.suffix != ".part":
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256")
            yield ArchivedFile(name.as_posix(), path.stat().st_size, digest.hexdigest())


def _write(path: Path, company_dir: Path, listed: FileList, passphrase: SecretBytes) -> None:
    vault = Vault.create()
    header = vault.header(passphrase, VaultState.SEALED)
    path.unlink(missing_ok=True)  # of a call that was killed
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(MAGIC + _LENGTH.pack(len(header)) + header)
        for number, block in enumerate(_blocks(company_dir, listed)):
            sealed = vault.seal(_block_name(number), block)
            file.write(_LENGTH.pack(len(sealed)) + sealed)
        file.flush()
        os.fsync(file.fileno())


def _blocks(company_dir: Path, listed: FileList) -> Iterator[bytes]:
    """The list, then every file in blocks of its own."""
    yield canonical_json.encode(
        {
            "hand_over": listed.hand_over,
            "company": listed.company,
            "handed_over_at": listed.handed_over_at,
            "files": [{"name": f.name, "size": f.size, "sha256": f.sha256} for f in listed.files],
        }
    )
    for item in listed.files:
        with (company_dir / item.name).open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                yield block


@contextmanager
def _opened(archive: Path, passphrase: SecretBytes) -> Iterator[tuple[FileList, Iterator[bytes]]]:
    """The list of an archive, and the blocks that follow it."""
    try:
        file = archive.open("rb")
    except OSError as error:
        raise DataError("hand-over: expected an archive that can be read, got none") from error
    with file:
        if file.read(len(MAGIC)) != MAGIC:
            raise DataError("hand-over: expected an archive of a hand-over, got another file")
        vault = Vault.open(passphrase, _piece(file, MAX_HEADER_BYTES))
        blocks = _opened_blocks(file, vault)
        yield _parsed(next(blocks, b"")), blocks


def _opened_blocks(file: BinaryIO, vault: Vault) -> Iterator[bytes]:
    number = 0
    while len(piece := _piece(file, MAX_LIST_BYTES + _SEALING_BYTES)) > 0:
        yield vault.open_secret(_block_name(number), piece).reveal()
        number += 1


def _piece(file: BinaryIO, most: int) -> bytes:
    """What follows, with its length before it; nothing at the end of the file."""
    length = file.read(_LENGTH.size)
    if not length:
        return b""
    if len(length) != _LENGTH.size or _LENGTH.unpack(length)[0] > most:
        raise VerificationError("hand-over: expected an archive as it was written, got a changed one")
    piece = file.read(_LENGTH.unpack(length)[0])
    if not piece or len(piece) != _LENGTH.unpack(length)[0]:
        raise VerificationError("hand-over: expected an archive to its end, it is cut off")
    return piece


def _block_name(number: int) -> str:
    """Under what a block is sealed: each has a place, and the key is of this archive alone."""
    return f"hand-over/{number}"


def _parsed(data: bytes) -> FileList:
    try:
        body = canonical_json.parse_object(data)
        files = tuple(ArchivedFile(str(f["name"]), int(f["size"]), str(f["sha256"])) for f in body["files"])
        listed = FileList(
            str(body["hand_over"]),
            parse_name(body["company"], "company"),
            int(body["handed_over_at"]),
            files,
        )
    except (NorenError, KeyError, TypeError, ValueError) as error:
        raise VerificationError("hand-over: expected a list of files, got something else") from error
    _verify_names([file.name for file in listed.files])
    return listed


def _verify_names(names: Sequence[str]) -> None:
    """Whoever made the archive knows the passphrase; a name that leaves the directory is refused even so."""
    if len(names) > MAX_FILES or len(set(names)) != len(names):
        raise VerificationError("hand-over: expected each file once, got others")
    for name in names:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or path.as_posix() != name or not path.name:
            raise VerificationError("hand-over: expected files below the directory, got another place")


def _contents(listed: FileList, blocks: Iterator[bytes]) -> Iterator[tuple[ArchivedFile, Iterator[bytes]]]:
    """Every file with its blocks, which are to be taken before the next file; all of it is verified."""
    for file in listed.files:
        yield file, (taken := _taken(file, blocks))
        for _ in taken:  # of whoever does not want them: verified all the same
            pass
    if next(blocks, None) is not None:
        raise VerificationError("hand-over: expected the files that are listed, got more")


def _taken(file: ArchivedFile, blocks: Iterator[bytes]) -> Iterator[bytes]:
    digest, left = hashlib.sha256(), file.size
    while left > 0:
        block = next(blocks, b"")
        if not block or len(block) > left:
            raise VerificationError("hand-over: expected the files that are listed, got fewer or others")
        digest.update(block)
        left -= len(block)
        yield block
    if digest.hexdigest() != file.sha256:
        raise VerificationError("hand-over: expected files that nobody changed meanwhile, got another")


def _write_out(directory: Path, file: ArchivedFile, content: Iterator[bytes]) -> None:
    path = directory / file.name
    for parent in reversed(path.relative_to(directory).parents[:-1]):
        (directory / parent).mkdir(mode=0o700, exist_ok=True)
    if file.size <= BLOCK_BYTES:
        write_private(path, b"".join(content))
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        for block in content:
            out.write(block)
        out.flush()
        os.fsync(out.fileno())


def default_archive(company_dir: Path, company: str) -> Path:
    """Where the archive goes if nobody says: beside the directory."""
    return company_dir.resolve().parent / f"{company}{SUFFIX}"


def read_state(company_dir: Path) -> HandedOver | None:
    """As `inertness.read`; ConfigurationError if this is no directory of a company."""
    if not (company_dir / config.FILE_NAME).exists():
        raise ConfigurationError(f"expected {config.FILE_NAME} in the company's directory: run setup first")
    return inertness.read(company_dir)
