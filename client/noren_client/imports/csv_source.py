"""CSV: in one of three encodings, with one of four delimiters, quoted line breaks included.

Promises: the delimiter is found in a bounded part of the file; a row is a record, however many lines its
quoted cells have.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from noren_client.imports.source_table import Row, SourceKind, SourceTable, bounded_rows
from noren_client.imports.text_encoding import Encoding, decode, detect_encoding
from noren_core.errors import DataError

DELIMITERS = (",", "\t", ";", "|")
_SAMPLE_CHARACTERS = 1 << 16
_SAMPLE_RECORDS = 20


def open_csv(data: bytes, *, name: str, encoding: Encoding | None) -> SourceTable:
    """The table in a text file; `encoding` None finds out which it is.

    Raises:
        DataError: as `detect_encoding` and `decode`, or if it is no CSV.
    """
    chosen = encoding or detect_encoding(data, name=name)
    text = decode(data, chosen, name=name).removeprefix("\ufeff")
    delimiter = find_delimiter(text[:_SAMPLE_CHARACTERS])
    header, rows = bounded_rows(_records(text, delimiter, name), name=name)
    return SourceTable(SourceKind.CSV, header, rows, encoding=chosen, delimiter=delimiter)


def find_delimiter(sample: str) -> str:
    """The delimiter with which the most columns come out, and the same number in most records."""

    def agreement(delimiter: str) -> tuple[int, int]:
        widths: list[int] = []
        reader = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter, strict=True)
        try:
            for record in reader:
                if any(record):
                    widths.append(len(record))
                if len(widths) == _SAMPLE_RECORDS:
                    break
        except csv.Error:  # the sample ends inside a quoted cell, or this is not its delimiter
            pass
        if not widths or widths[0] == 1:
            return 0, 0
        return sum(width == widths[0] for width in widths), widths[0]

    return max(DELIMITERS, key=agreement)


def _records(text: str, delimiter: str, name: str) -> Iterator[tuple[int, Row]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for number, record in enumerate(reader, start=1):
            yield number, tuple(record)
    except csv.Error:
        # The library's text may quote the file.
        raise DataError(f"{name}, line {reader.line_num}: expected CSV, got something else") from None
