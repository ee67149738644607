"""A backup on disk: a directory in which everything is sealed under its own passphrase.

    vault.json            how the passphrase opens it (docs/protocol.md §0.2.1)
    manifest.sealed       what there is: every file with size and SHA-256, and the ledger's checkpoint
    parts/<n>.sealed      the files, in pieces of 16 MiB

Promises: a backup appears whole or not at all; without the passphrase not even a name of a file can be read;
a byte that was changed, a part that is missing, swapped or too many is found before any file is given out.
Refuses: to overwrite a directory.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Self

from noren_core import canonical_json
from noren_core.crypto.secret import SecretBytes
from noren_core.crypto.vault import Vault, VaultState
from noren_core.errors import ConfigurationError, DataError, NorenError, VerificationError
from noren_core.rights import fields
from noren_core.rights.fields import read_fields
from noren_local.private_file import sync_directory, write_private

FORMAT = "noren/v1/backup"
PART_BYTES = 16 << 20
HEADER, MANIFEST, PARTS = "vault.json", "manifest.sealed", "parts"
_MANIFEST_NAME = "backup/manifest"
_MAX_FILES, _MAX_BYTES = 1 << 20, 1 << 50


@dataclass(frozen=True, slots=True)
class SavedFile:
    """One file.

    Attributes:
        path: below the platform's directory, with slashes.
        size: in bytes.
        sha256: of its content.
        first_part, parts: which parts hold it.
    """

    path: str
    size: int
    sha256: bytes
    first_part: int
    parts: int

    def to_body(self) -> dict[str, Any]:
        """As it stands in the manifest."""
        return {
            "path": self.path,
            "size": self.size,
            "sha256": self.sha256.hex(),
            "first_part": self.first_part,
            "parts": self.parts,
        }

    @classmethod
    def from_body(cls, body: object) -> Self:
        """The file that `to_body` gave; DataError for anything else, or a path that leads elsewhere."""
        saved = cls(**read_fields(body, _FILE, "backup"))
        path = PurePosixPath(saved.path)
        is_plain = saved.path == path.as_posix() and "\0" not in saved.path
        if path.is_absolute() or ".." in path.parts or not is_plain or not path.parts:
            raise DataError("backup: expected paths below the platform's directory, got another")
        return saved


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds.

    Attributes:
        made_at: Unix seconds of the instant that it shows.
        origin: of the ledger.
        ledger_size: entries in it.
        ledger_root: its Merkle root.
        files: by path.
    """

    made_at: int
    origin: str
    ledger_size: int
    ledger_root: bytes
    files: tuple[SavedFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def to_bytes(self) -> bytes:
        """Its canonical bytes."""
        return canonical_json.encode(
            {
                "format": FORMAT,
                "made_at": self.made_at,
                "origin": self.origin,
                "ledger_size": self.ledger_size,
                "ledger_root": self.ledger_root.hex(),
                "files": [file.to_body() for file in self.files],
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The manifest with these bytes; DataError for others, or a path that is there twice."""
        found = read_fields(canonical_json.parse_object(data), _MANIFEST, "backup")
        del found["format"]
        paths = [file.path for file in found["files"]]
        if paths != sorted(set(paths)):
            raise DataError("backup: expected every path once, in order, got others")
        return cls(**found)


_FILE = {
    "path": fields.text,
    "size": fields.integer_in(0, _MAX_BYTES),
    "sha256": fields.bytes_of(32),
    "first_part": fields.integer_in(0, _MAX_BYTES),
    "parts": fields.integer_in(0, _MAX_BYTES),
}
_MANIFEST = {
    "format": fields.constant(FORMAT),
    "made_at": fields.seconds,
    "origin": fields.text,
    "ledger_size": fields.integer_in(0, _MAX_BYTES),
    "ledger_root": fields.bytes_of(32),
    "files": fields.list_of(SavedFile.from_body, most=_MAX_FILES),
}


class BackupWriter:
    """Writes one backup; call `finish` once, with everything in it."""

    def __init__(self, directory: Path, passphrase: SecretBytes) -> None:
        """Begin beside `directory`, where the backup appears when it is finished.

        What an earlier one that was interrupted left there goes first; whoever calls sees to it that there is
        one at a time.

        Raises:
            ConfigurationError: if `directory` exists, or for a passphrase that is too short.
        """
        if directory.exists():
            raise ConfigurationError(
                "backup: expected a directory that does not exist yet, got one that does"
            )
        self._directory = directory
        self._partial = directory.with_name(f".{directory.name}.making")
        self._vault = Vault.create()
        header = self._vault.header(passphrase, VaultState.SEALED)
        shutil.rmtree(self._partial, ignore_errors=True)
        self._partial.mkdir(mode=0o700, parents=True)
        write_private(self._partial / HEADER, header)
        self._files: list[SavedFile] = []
        self._next = 0

    def add(self, path: str, source: Path) -> None:
        """Seal one file, as it is when it is read."""
        digest, size, first = hashlib.sha256(), 0, self._next
        with source.open("rb") as file:
            while piece := file.read(PART_BYTES):
                digest.update(piece)
                size += len(piece)
                sealed = self._vault.seal(_part_name(self._next), piece)
                write_private(self._partial / PARTS / _part_file(self._next), sealed)
                self._next += 1
        self._files.append(SavedFile(path, size, digest.digest(), first, self._next - first))

    def finish(self, *, made_at: int, origin: str, ledger_size: int, ledger_root: bytes) -> Manifest:
        """Write the manifest and let the backup appear."""
        files = tuple(sorted(self._files, key=lambda file: file.path))
        manifest = Manifest(made_at, origin, ledger_size, ledger_root, files)
        write_private(self._partial / MANIFEST, self._vault.seal(_MANIFEST_NAME, manifest.to_bytes()))
        self._vault.wipe()
        self._partial.rename(self._directory)
        sync_directory(self._directory.parent)
        return manifest

    def discard(self) -> None:
        """Remove what is not finished."""
        self._vault.wipe()
        shutil.rmtree(self._partial, ignore_errors=True)


class BackupReader:
    """Reads one backup."""

    def __init__(self, directory: Path, passphrase: SecretBytes) -> None:
        """Open it, and see that all its parts are there.

        Raises:
            ConfigurationError: with code WRONG_PASSPHRASE.
            VerificationError: with code BACKUP_DAMAGED, if it is no backup, or not as it was made.
        """
        self._directory = directory
        try:
            self._vault = Vault.open(passphrase, self._read(HEADER))
            manifest = self._vault.open_secret(_MANIFEST_NAME, self._read(MANIFEST)).reveal()
            self.manifest = Manifest.from_bytes(manifest)
        except (DataError, VerificationError) as error:
            raise damaged(error.message) from error
        self._verify_parts()

    def restore(self, target: Path) -> None:
        """Write every file below `target`, a new directory of ours alone.

        Raises:
            VerificationError: with code BACKUP_DAMAGED, for the first file that is not as it was.
        """
        target.mkdir(mode=0o700)
        for file in self.manifest.files:
            path = target / file.path
            for parent in reversed(path.relative_to(target).parents):  # `parents=True` would let others in
                (target / parent).mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as out:
                for piece in self._pieces(file):
                    out.write(piece)
                out.flush()
                os.fsync(out.fileno())

    def _pieces(self, file: SavedFile) -> Iterator[bytes]:
        digest, size = hashlib.sha256(), 0
        for number in range(file.first_part, file.first_part + file.parts):
            try:
                piece = self._vault.open_secret(_part_name(number), self._read(_part_path(number))).reveal()
            except NorenError as error:
                raise damaged("a part is not what was sealed") from error
            digest.update(piece)
            size += len(piece)
            yield piece
        if (size, digest.digest()) != (file.size, file.sha256):
            raise damaged("a file is not what the manifest says")

    def _verify_parts(self) -> None:
        """Exactly the parts that the manifest names."""
        count = sum(file.parts for file in self.manifest.files)
        named = {n for f in self.manifest.files for n in range(f.first_part, f.first_part + f.parts)}
        found = {path.name for path in (self._directory / PARTS).glob("*")}
        if named != set(range(count)) or found != {_part_file(number) for number in named}:
            raise damaged("there are other parts than the manifest names")

    def _read(self, name: str) -> bytes:
        try:
            return (self._directory / name).read_bytes()
        except OSError as error:
            raise damaged(f"{re.sub('[0-9]+', 'n', name)} cannot be read") from error


def damaged(what: str) -> VerificationError:
    """A backup that is not as it was made."""
    return VerificationError(
        f"backup: expected one as it was made, got another: {what}", code="BACKUP_DAMAGED"
    )


def _part_name(number: int) -> str:
    return f"backup/part/{number}"


def _part_file(number: int) -> str:
    return f"{number:08d}.sealed"


def _part_path(number: int) -> str:
    return f"{PARTS}/{_part_file(number)}"
