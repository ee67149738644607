"""Sealing: what it costs to turn a payload into a row, to make the whole table of it, and to read that."""

from __future__ import annotations

import secrets
import tempfile
from functools import partial
from typing import BinaryIO

from noren_bench import bare_calls
from noren_bench.measurement import Cost, Goal, Row, least_in_turn, microseconds_each
from noren_core.crypto.head_encryption import CIPHERTEXT_BYTES
from noren_core.crypto.sealed_table import (
    OPRF_OUTPUT_BYTES,
    TAG_BYTES,
    TableContext,
    TableReader,
    TableWriter,
    WrittenTable,
)
from noren_core.ids import TableKind

_ROWS, _PADDED, _WANTED = 100_000, 131_072, 1_000
_CONTEXT_DIGEST_BYTES = 32

Rows = list[tuple[bytes, bytes]]


def row() -> Row:
    """Sealing alone (derive tag and key, encrypt); the rest of writing and reading as details."""
    rows = [
        (secrets.token_bytes(OPRF_OUTPUT_BYTES), secrets.token_bytes(CIPHERTEXT_BYTES)) for _ in range(_ROWS)
    ]
    ours, floor = least_in_turn(
        partial(microseconds_each, partial(_seal, rows), _ROWS, repeats=1),
        partial(bare_calls.seal, CIPHERTEXT_BYTES, _CONTEXT_DIGEST_BYTES + TAG_BYTES),
    )
    writing, reading = Cost(), Cost()
    chunks, written = writing.of(partial(_write, rows))
    reading.of(partial(_read, rows[:_WANTED], chunks, written))
    return Row(
        work="seal a row",
        unit="µs",
        ours=ours,
        floor=floor,
        floor_is="libsodium: one ChaCha20-Poly1305 encryption",
        goals=(Goal("ratio to one bare encryption", ours / floor, 6.0),),
        details={
            "write_whole_table_us_per_padded_row": writing.cpu / _PADDED * 1e6,
            "read_whole_table_us_per_padded_row": reading.cpu / _PADDED * 1e6,
        },
    )


def _seal(rows: Rows) -> None:
    with tempfile.TemporaryFile() as spool:
        _new_writer(spool).add(rows)


def _write(rows: Rows) -> tuple[list[bytes], WrittenTable]:
    with tempfile.TemporaryFile() as spool:
        writer = _new_writer(spool)
        writer.add(rows)
        return list(writer.chunks()), writer.finish()


def _new_writer(spool: BinaryIO) -> TableWriter:
    context = TableContext.fresh(company="akane", campaign="bench", kind=TableKind.SCORE)
    return TableWriter(context, spool, padded_rows=_PADDED, payload_bytes=CIPHERTEXT_BYTES)


def _read(rows: Rows, chunks: list[bytes], written: WrittenTable) -> None:
    outputs = {number: output for number, (output, _) in enumerate(rows)}
    reader = TableReader(written.manifest, written.chunk_hashes, outputs)
    for index, chunk in enumerate(chunks):
        reader.feed(index, chunk)
    reader.finish()
