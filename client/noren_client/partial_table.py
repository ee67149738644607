"""The part of a sealed table that has arrived, on disk, so that a download goes on after a restart.

    table-<kind>.download    root(32) ‖ hashes of all chunks (32 each) ‖ chunks, each at its place (0600)

docs/protocol.md §2.6. Promises: nothing in the file is believed: it counts only for the table whose root it
names, and whoever reads it verifies hashes and chunks as if they came from the platform just now. A full disk
or a damaged file therefore costs a longer download and never a wrong row.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from noren_core.crypto.sealed_table import HASH_BYTES, TableManifest

_LOG = logging.getLogger(__name__)


class PartialTable:
    """The file of one table's download; several processes of a company write the same bytes to it."""

    def __init__(self, path: Path, manifest: TableManifest) -> None:
        self._path = path
        self._manifest = manifest
        self._first_chunk = HASH_BYTES * (1 + manifest.chunk_count)
        self._is_kept = True

    def chunk_hashes(self) -> tuple[bytes, ...] | None:
        """The hashes that were kept for this table, not verified; None if nothing was."""
        try:
            with self._path.open("rb") as file:
                header = file.read(self._first_chunk)
        except OSError:
            return None
        if len(header) != self._first_chunk or header[:HASH_BYTES] != self._manifest.root:
            return None
        return tuple(
            header[start : start + HASH_BYTES] for start in range(HASH_BYTES, len(header), HASH_BYTES)
        )

    def chunks(self) -> Iterator[bytes]:
        """The chunks that were kept, from the first on, not verified; ends where a whole one is missing."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._first_chunk)
                for index in range(self._manifest.chunk_count):
                    chunk = file.read(self._manifest.chunk_bytes(index))
                    if len(chunk) != self._manifest.chunk_bytes(index):
                        return
                    yield chunk
        except OSError:
            return

    def begin(self, chunk_hashes: tuple[bytes, ...], *, kept: int) -> None:
        """Keep verified hashes, and of what the file holds no more than the first `kept` chunks."""
        self._write(0, self._manifest.root + b"".join(chunk_hashes), truncate=self._place(kept))

    def keep(self, index: int, chunk: bytes) -> None:
        """Keep a verified chunk."""
        self._write(self._place(index), chunk)

    def remove(self) -> None:
        """Forget the download; a file that stays all the same harms nobody."""
        with suppress(OSError):
            self._path.unlink()

    def _place(self, index: int) -> int:
        return self._first_chunk + index * self._manifest.chunk_rows * self._manifest.row_bytes

    def _write(self, place: int, data: bytes, *, truncate: int | None = None) -> None:
        """Put `data` at its place; after a first failure (a full disk, say) nothing is kept any more."""
        if not self._is_kept:
            return
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "r+b") as file:
                if truncate is not None:
                    file.truncate(min(truncate, os.fstat(descriptor).st_size))
                file.seek(place)
                file.write(data)
        except OSError:
            self._is_kept = False
            _LOG.warning("the download of a table cannot be kept on disk; it goes on without")
