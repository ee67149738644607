"""Consent events from a file, and as tables for whoever examines the processing.

Promises: a file is taken over whole or not at all, and the first line that is wrong is named by its number,
never by what it says; memory does not grow with what is exported.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from noren_core.errors import DataError, NorenError
from noren_core.rights.consent.consent_event import MAX_EVENT_BYTES, ConsentEvent, parse_event
from noren_server.consents.consent_book import ConsentBook

MAX_IMPORT_EVENTS = 250_000
"""In one file: nobody can withdraw while they are appended, which takes some 0.1 ms for each."""

_BATCH = 1 << 16

EVENTS_FILE, STUDENTS_FILE = "consent_events.parquet", "students.parquet"

_EVENTS_SCHEMA = pa.schema(
    [
        ("seq", pa.int64()),
        ("time", pa.int64()),
        *((name, pa.string()) for name in ("student", "company", "position", "season", "purpose", "policy")),
        ("state", pa.string()),
        ("screen", pa.string()),
        ("clauses", pa.list_(pa.string())),
        ("action", pa.string()),
        ("prechecked", pa.bool_()),
        ("bundled", pa.bool_()),
        ("expires_at", pa.int64()),
    ]
)
_STUDENTS_SCHEMA = pa.schema([("student", pa.string()), ("registered_at", pa.int64())])


def import_events(book: ConsentBook, path: Path, *, now: int) -> int:
    """Append every event of a file, one signed event (canonical JSON) a line; how many there were.

    1. Verify all signatures, with nothing locked.
    2. Append all in one transaction.

    Raises:
        DataError, VerificationError, LocalProtocolError: with the number of the line; nothing is appended.
    """
    verifier, verified = book.verifier(), []
    for number, line in _lines(path):  # 1
        with _at_line(path, number):
            verified.append(verifier.verify(parse_event(line)))
    with book.appending(now=now) as append:  # 2
        for number, item in enumerate(verified, start=1):
            with _at_line(path, number):
                append(item)
    return len(verified)


def export_tables(book: ConsentBook, directory: Path) -> None:
    """Write every consent event, and when each student registered, as Parquet (0600), at one moment.

    Key registrations and acknowledged offers are no consents and are not in the events.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with book.reading() as database:
        events = database.execute("SELECT seq, event FROM events WHERE record <> x'' ORDER BY seq")
        _write(directory / EVENTS_FILE, _EVENTS_SCHEMA, map(_event_row, events))
        students = database.execute("SELECT student, registered_at FROM students ORDER BY student")
        _write(directory / STUDENTS_FILE, _STUDENTS_SCHEMA, students)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Number and content of every line, each bounded."""
    try:
        with path.open("rb") as file:
            for number in range(1, MAX_IMPORT_EVENTS + 2):
                line = file.readline(MAX_EVENT_BYTES + 2)
                if not line:
                    return
                if not line.endswith(b"\n"):
                    where = f"{path.name}, line {number}"
                    raise DataError(f"{where}: expected at most {MAX_EVENT_BYTES} bytes and an end of line")
                yield number, line[:-1]
    except OSError as error:
        raise DataError(f"{path.name}: expected a readable file of consent events, got none") from error
    raise DataError(f"{path.name}: expected at most {MAX_IMPORT_EVENTS} events, got more")


@contextlib.contextmanager
def _at_line(path: Path, number: int) -> Iterator[None]:
    try:
        yield
    except NorenError as error:
        raise type(error)(f"{path.name}, line {number}: {error.message}", code=error.code) from error


def _event_row(row: tuple[Any, ...]) -> tuple[Any, ...]:
    seq, data = row
    event = parse_event(data).event
    if not isinstance(event, ConsentEvent):
        raise DataError("consent book: expected an event of a record, got another kind")
    key, answer = event.key, event.answer
    screen = event.screen if answer is None else answer.screen
    return (
        *(seq, event.time, key.student, key.company, key.position, key.season, key.purpose.value, key.policy),
        *(event.kind.value, "" if screen is None else screen.sha256),
        [] if screen is None else [clause.value for clause in screen.clauses],
        "" if answer is None else answer.action.value,
        *(answer is not None and answer.prechecked, answer is not None and answer.bundled),
        0 if answer is None else answer.expires_at,
    )


def _write(path: Path, schema: pa.Schema, rows: Iterator[tuple[Any, ...]]) -> None:
    """A table in batches, under another name until it is whole."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    with pq.ParquetWriter(partial, schema) as writer:
        for batch in _batches(rows):
            columns = list(zip(*batch, strict=True))
            arrays = [pa.array(column, f.type) for column, f in zip(columns, schema, strict=True)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
    partial.replace(path)


def _batches(rows: Iterator[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    batch: list[tuple[Any, ...]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
