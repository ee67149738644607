"""The files of a bundle that somebody hands in, written to a private directory within bounds.

Promises: nothing is written outside the directory, whatever the names say; no link comes into being, and no
second file of a name; no more than `MAX_BUNDLE_BYTES` and `MAX_FILES` are written, however small the archive
that they come from. What is refused is refused whole. Left out, and counted, are only the files that
operating systems add by themselves; all others are written as they are, for the verifier to judge.
"""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from noren_core.errors import DataError
from noren_core.ledger.tiles import CHECKPOINT_PATH

MAX_UPLOAD_BYTES = 256 << 20
MAX_BUNDLE_BYTES = 512 << 20
MAX_FILES = 20_000
_CODE = "BUNDLE_REFUSED"
_MAX_DEPTH = 12
_MAX_NAME = 120
_CHUNK_BYTES = 1 << 20
_MAX_DIRECTORY_BYTES = 4 << 20  # of the archive's own list of names, which zipfile holds in memory
_END_BYTES = 22
_LOCATOR_BYTES = 20
_END_SIGNATURE = b"PK\x05\x06"
_ZIP64_SIGNATURE = b"PK\x06\x07"
_ENCRYPTED = 1
_ADDED_BY_SYSTEMS = frozenset({"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini"})
# What zipfile raises for damaged archives, and (NotImplementedError, RuntimeError) for what it cannot read
_ARCHIVE_FAULTS = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError)


class BundleFiles:
    """A bundle that is being written.

    Attributes:
        written: how many files there are.
        left_out: how many that an operating system adds were left out.
    """

    def __init__(self, directory: Path) -> None:
        """In a directory that is empty, ours alone and outlives this."""
        self._directory = directory
        self._bytes = 0
        self.written = 0
        self.left_out = 0

    def add(self, name: str, chunks: Iterable[bytes]) -> None:
        """Write one file under a relative path.

        Raises:
            DataError: with code BUNDLE_REFUSED, for a name that is not one of a file below the directory, a
                second file of that name, or beyond the bounds.
        """
        parts = _parse_name(name)
        if _ADDED_BY_SYSTEMS.intersection(parts):
            self.left_out += 1
            for _ in chunks:
                pass
            return
        if self.written >= MAX_FILES:
            raise _refused(f"at most {MAX_FILES} files, got more")
        self.written += 1
        path = self._directory.joinpath(*parts)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        except (FileExistsError, NotADirectoryError) as error:
            raise _refused("every name once, got one twice") from error
        with os.fdopen(descriptor, "wb") as file:
            for chunk in chunks:
                self._bytes += len(chunk)
                if self._bytes > MAX_BUNDLE_BYTES:
                    raise _refused(f"at most {MAX_BUNDLE_BYTES >> 20} MiB of files, got more")
                file.write(chunk)

    def add_archive(self, archive: Path) -> None:
        """Write every file of a ZIP archive.

        1. Its list of names is short enough to be read. Archives with a comment or in the ZIP64 format, which
           no bundle within the bounds needs, are refused for that.
        2. Every member is a plain file or a directory, not encrypted, compressed in the one usual way.
        3. Names and bytes are bounded as in `add`: by what comes out, not by what the archive says.

        Raises:
            DataError: with code BUNDLE_REFUSED.
        """
        _verify_end(archive)  # 1
        try:
            with zipfile.ZipFile(archive) as opened:
                for member in opened.infolist():
                    if not member.is_dir():
                        _verify_plain(member)  # 2
                        with opened.open(member) as file:
                            self.add(member.filename, _chunks(file))  # 3
        except _ARCHIVE_FAULTS as error:
            raise _refused("a whole ZIP archive, got a damaged one") from error

    def root(self) -> Path:
        """The directory to verify: where the checkpoint is, here or in the one directory that was packed.

        Raises:
            DataError: with code BUNDLE_REFUSED, if there is no file at all.
        """
        if not self.written:
            raise _refused("the files of a bundle, got none")
        if (self._directory / CHECKPOINT_PATH).exists():
            return self._directory
        tops = list(self._directory.iterdir())
        return tops[0] if len(tops) == 1 and tops[0].is_dir() else self._directory


def _parse_name(name: str) -> tuple[str, ...]:
    """The steps of a relative path that can lead nowhere else."""
    parts = tuple(name.split("/"))
    if not 0 < len(parts) <= _MAX_DEPTH or not all(map(_is_plain, parts)):
        raise _refused("relative names of files, got another name")
    return parts


def _is_plain(part: str) -> bool:
    return (
        part not in ("", ".", "..")
        and len(part) <= _MAX_NAME
        and part.isprintable()
        and not set(part) & set('\\:*?"<>|')
    )


def _verify_end(archive: Path) -> None:
    """Read the end of the archive as `zipfile` would, before it does."""
    with archive.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - _END_BYTES - _LOCATOR_BYTES, 0))
        tail = file.read()
    end = tail[-_END_BYTES:]
    if len(end) < _END_BYTES or end[:4] != _END_SIGNATURE or end[-2:] != b"\0\0":
        raise _refused("a ZIP archive without a comment, got another file")
    if tail[:-_END_BYTES].startswith(_ZIP64_SIGNATURE):
        raise _refused("a ZIP archive below 4 GiB, got the ZIP64 format")
    if int.from_bytes(end[12:16], "little") > _MAX_DIRECTORY_BYTES:
        raise _refused(f"at most {MAX_FILES} files, got more")


def _verify_plain(member: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise _refused("plain files, got a link or a device")
    if member.flag_bits & _ENCRYPTED:
        raise _refused("files that are not encrypted, got an encrypted one")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _refused("files stored or deflated, got another compression")


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk


def _refused(expected: str) -> DataError:
    return DataError(f"bundle: expected {expected}", code=_CODE)
