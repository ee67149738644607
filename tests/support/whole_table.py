"""Tables small enough to be held in memory, made by the production writer."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass

from noren_core.crypto.sealed_table import DEFAULT_CHUNK_ROWS, TableContext, TableManifest, TableWriter


@dataclass(frozen=True, slots=True)
class SealedTable:
    """A finished table: its manifest, its chunks, and the chunks' leaf hashes."""

    manifest: TableManifest
    chunks: tuple[bytes, ...]
    chunk_hashes: tuple[bytes, ...]


def seal_table(
    context: TableContext,
    rows: Iterable[tuple[bytes, bytes]],
    *,
    padded_rows: int,
    payload_bytes: int,
    chunk_rows: int = DEFAULT_CHUNK_ROWS,
) -> SealedTable:
    """The whole table of these (OPRF output, payload) pairs; DataError as `TableWriter` raises it."""
    writer = TableWriter(
        context, io.BytesIO(), padded_rows=padded_rows, payload_bytes=payload_bytes, chunk_rows=chunk_rows
    )
    writer.add(rows)
    chunks = tuple(writer.chunks())
    written = writer.finish()
    return SealedTable(written.manifest, chunks, written.chunk_hashes)
