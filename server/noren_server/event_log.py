"""Behaviour events on disk: opening, checking and querying them.

An event log is a Parquet file, or a folder of them, with exactly the columns of `SCHEMA`. `open_event_log`
reads every file once and refuses the first row that is not an event; what it returns is simply true for
everything after it. No message ever contains a value of the log: file, column and row index are enough to
find it. The Parquet files are never written to and no database file is kept.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from noren_core.errors import DataError

SCHEMA = pa.schema(
    [
        ("student", pa.string()),
        ("time_us", pa.int64()),
        ("event_type", pa.string()),
        ("context", pa.string()),
        ("value", pa.float64()),
    ]
)
REQUIRED = ("student", "time_us", "event_type")
_TEXTS = ("student", "event_type", "context")

# Bounds that keep every sum of the feature expressions inside int64, on every engine.
MAX_TIME_US = 2**53
MAX_ABSOLUTE_VALUE = 1e6

THREADS = 2
MEMORY_LIMIT = "4GB"


@dataclass(frozen=True, slots=True)
class EventLog:
    """Parquet files whose every row has been checked by `open_event_log`."""

    files: tuple[Path, ...]
    rows: int


def open_event_log(path: Path) -> EventLog:
    """The checked event log at `path`, one Parquet file or a folder of `*.parquet`.

    Raises:
        DataError: naming file, column and row index (from 0), if a file is missing, unreadable, has other
            columns or types than `SCHEMA`, text that is not UTF-8, a null in a required column, an empty
            student or event type, a time outside 0 to 2^53 µs, or a value that is not finite or beyond ±10^6.
    """
    files = tuple(sorted(path.glob("*.parquet"))) if path.is_dir() else (path,)
    if not files:
        raise DataError(f"event log {path.name}: expected at least one .parquet file, got none")
    return EventLog(files=files, rows=sum(_check_file(file) for file in files))


@contextmanager
def event_table(log: EventLog) -> Iterator[Any]:
    """The log as an Ibis table on DuckDB, for the length of a `with` block.

    DuckDB runs in memory with two threads and at most 4 GB, installs and loads no extension, and spills
    into a private folder that is gone at the end of the block.
    """
    import ibis

    with tempfile.TemporaryDirectory(prefix="noren-spill-") as spill:
        backend = ibis.duckdb.connect(
            threads=THREADS,
            memory_limit=MEMORY_LIMIT,
            temp_directory=spill,
            autoinstall_known_extensions=False,
            autoload_known_extensions=False,
            allow_community_extensions=False,
        )
        try:
            with engine_deprecations_ignored():
                table = backend.read_parquet([str(file) for file in log.files])
            yield table
        finally:
            backend.disconnect()


@contextmanager
def engine_deprecations_ignored() -> Iterator[None]:
    """Ibis 12 still calls a DuckDB function that DuckDB 2 has renamed; nobody here can act on the warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _check_file(file: Path) -> int:
    try:
        with pq.ParquetFile(file) as parquet:
            _check_schema(file, parquet.schema_arrow)
            first = 0
            for batch in parquet.iter_batches(batch_size=1 << 18):
                _check_batch(file, batch, first)
                first += batch.num_rows
            if first != parquet.metadata.num_rows:  # readers differ in which column they believe
                raise DataError(f"{file.name}: expected columns as long as the file says, got another length")
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last: names of columns
        raise DataError(f"{file.name}: expected a readable Parquet file, got one that is not") from error
    return first


def _check_schema(file: Path, schema: pa.Schema) -> None:
    for name in SCHEMA.names:
        if schema.names.count(name) != 1:
            raise DataError(
                f"{file.name}, column {name}: expected exactly one, got {schema.names.count(name)}"
            )
        if schema.field(name).type != SCHEMA.field(name).type:
            raise DataError(
                f"{file.name}, column {name}: expected type {SCHEMA.field(name).type}, "
                f"got {schema.field(name).type}"
            )
    if len(schema.names) != len(SCHEMA.names):
        raise DataError(
            f"{file.name}: expected only the columns {', '.join(SCHEMA.names)}, got {len(schema.names)}"
        )


def _check_batch(file: Path, batch: pa.RecordBatch, first: int) -> None:
    for name in REQUIRED:
        if batch[name].null_count:
            _refuse(file, name, first, pc.is_null(batch[name]), "a value", "none")
    for name in _TEXTS:
        try:
            batch[name].validate(full=True)
        except pa.ArrowInvalid:
            # Parquet readers pass on what is no text; the engine would stop at it in the middle of a query.
            raise DataError(f"{file.name}, column {name}: expected UTF-8 text, got other bytes") from None
    for name in ("student", "event_type"):
        _refuse(file, name, first, pc.equal(pc.binary_length(batch[name]), 0), "a text", "an empty one")
    time, value = batch["time_us"], batch["value"]
    early_or_late = pc.or_(pc.less(time, 0), pc.greater(time, MAX_TIME_US))
    _refuse(file, "time_us", first, early_or_late, "0 to 2^53 µs since 1970", "a time outside")
    _refuse(file, "value", first, pc.invert(pc.is_finite(value)), "a finite number", "another")
    too_large = pc.greater(pc.abs(value), MAX_ABSOLUTE_VALUE)
    _refuse(file, "value", first, too_large, "at most 10^6 in size", "a larger number")


def _refuse(file: Path, column: str, first: int, bad: pa.Array, expected: str, got: str) -> None:
    position = pc.index(pc.fill_null(bad, False), True).as_py()
    if position >= 0:
        raise DataError(
            f"{file.name}, column {column}, row {first + position}: expected {expected}, got {got}"
        )
