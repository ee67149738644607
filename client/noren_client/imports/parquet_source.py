"""A Parquet file with flat columns.

Promises: the declared rows, columns and unpacked bytes are bounded before anything is read, and rows are read
in small batches; a column of lists or structures is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from noren_client.applicants import MAX_ROWS
from noren_client.imports.source_table import (
    MAX_COLUMNS,
    Row,
    SourceKind,
    SourceTable,
    bounded_rows,
    cell_text,
)
from noren_core.errors import DataError, NorenError

MAX_UNPACKED_BYTES = 512 << 20
_BATCH_ROWS = 4096


def open_parquet(data: bytes, *, name: str) -> SourceTable:
    """The table in a file.

    Raises:
        DataError: if it is none, has columns that are no single values, or is beyond a bound
            (PARQUET_TOO_LARGE).
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq

        file = pq.ParquetFile(pa.BufferReader(data))
        about = file.metadata
        unpacked = sum(about.row_group(n).total_byte_size for n in range(about.num_row_groups))
        is_flat = not any(pa.types.is_nested(column.type) for column in file.schema_arrow)
        names = tuple(file.schema_arrow.names)
    except Exception:  # noqa: BLE001 (a library that raises whatever a broken file leads to; it quotes cells)
        raise _no_parquet(name) from None
    if about.num_rows > MAX_ROWS or len(names) > MAX_COLUMNS or not 0 <= unpacked <= MAX_UNPACKED_BYTES:
        raise DataError(
            f"{name}: expected at most {MAX_ROWS} rows, {MAX_COLUMNS} columns and {MAX_UNPACKED_BYTES} bytes "
            "unpacked, got more",
            code="PARQUET_TOO_LARGE",
        )
    if not is_flat:
        raise DataError(f"{name}: expected columns of single values, got lists or structures")
    header, rows = bounded_rows(_rows(file, names, name), name=name)
    return SourceTable(SourceKind.PARQUET, header, rows)


def _rows(file: Any, names: Row, name: str) -> Iterator[tuple[int, Row]]:
    yield 1, names
    number = 1
    try:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS):
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                number += 1
                yield number, tuple(map(cell_text, row))
    except NorenError:
        raise
    except Exception:  # noqa: BLE001 (as above)
        raise _no_parquet(name) from None


def _no_parquet(name: str) -> DataError:
    return DataError(
        f"{name}: expected a Parquet file with flat columns, got something else", code="PARQUET_MALFORMED"
    )
