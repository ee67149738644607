"""A file as rows of text, whatever it was: CSV, an Excel workbook or Parquet.

Promises: bounded bytes, rows, columns and cells before anything grows; what is no such file is a DataError,
and no exception of a library, whose text could quote a cell. Formulas are not evaluated: such a cell is told
as one. A row has the number that a spreadsheet shows beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from enum import StrEnum
from typing import Any

from noren_client.applicants import MAX_ROWS
from noren_client.imports.text_encoding import Encoding
from noren_core.errors import DataError

MAX_COLUMNS = 512
MAX_CELLS = 40_000_000
MAX_CELL_CHARACTERS = 1 << 16

Row = tuple[str, ...]


class SourceKind(StrEnum):
    """What a file is, by its first bytes and not by its name."""

    CSV = "csv"
    EXCEL = "excel"
    PARQUET = "parquet"


class FormulaText(str):
    """A cell with a formula, which nobody evaluated."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class ReadingChoices:
    """How a file is to be read.

    Attributes:
        encoding: of a text file; None finds out.
        sheet: of a workbook; empty takes the first.
    """

    encoding: Encoding | None = None
    sheet: str = ""


@dataclass(frozen=True, slots=True)
class SourceTable:
    """A file that was opened.

    Attributes:
        kind: what it is.
        encoding: of a text file, otherwise None.
        delimiter: of a text file, otherwise empty.
        sheets: of a workbook, all names; the first of `sheets` need not be the one that was read.
        sheet: of a workbook, the one that was read.
        header: the first row that is not blank.
        rows: number and cells of every later row that is not blank, as wide as the header; read once.
    """

    kind: SourceKind
    header: Row
    rows: Iterator[tuple[int, Row]] = field(repr=False)
    encoding: Encoding | None = None
    delimiter: str = ""
    sheets: tuple[str, ...] = ()
    sheet: str = ""


def open_source(data: bytes, *, name: str, choices: ReadingChoices) -> SourceTable:
    """The table in a file; rows are read while they are iterated.

    Args:
        data: the whole file.
        name: for messages.
        choices: what was chosen about reading it.

    Raises:
        DataError: if it is none of the three kinds, has no header or is beyond a bound; also while rows are
            iterated.
    """
    from noren_client.imports import csv_source, excel_source, parquet_source

    match source_kind(data, name=name):
        case SourceKind.EXCEL:
            return excel_source.open_workbook(data, name=name, sheet=choices.sheet)
        case SourceKind.PARQUET:
            return parquet_source.open_parquet(data, name=name)
        case SourceKind.CSV:
            return csv_source.open_csv(data, name=name, encoding=choices.encoding)


def source_kind(data: bytes, *, name: str) -> SourceKind:
    """What a file is; DataError for an empty one, and for the old or encrypted format of Excel."""
    if not data:
        raise DataError(f"{name}: expected a table, got an empty file")
    if data.startswith(b"PK\x03\x04"):
        return SourceKind.EXCEL
    if data.startswith(b"PAR1"):
        return SourceKind.PARQUET
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        raise DataError(
            f"{name}: expected an .xlsx workbook without a password, got an old or protected one",
            code="WORKBOOK_OLD_OR_PROTECTED",
        )
    return SourceKind.CSV


def cell_text(value: Any) -> str:
    """A cell's value as text: dates in ISO 8601, whole numbers without a fraction, nothing as nothing.

    Raises:
        ValueError: for what is no single value.
    """
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return "TRUE" if value else "FALSE"
        case float() if value.is_integer():
            return str(int(value))
        case int() | float() | Decimal():
            return str(value)
        case datetime() if value.time() == time.min:
            return value.date().isoformat()
        case datetime():
            return value.isoformat(sep=" ", timespec="seconds")
        case date() | time():
            return value.isoformat()
        case _:
            raise ValueError("no single value")


def bounded_rows(
    rows: Iterator[tuple[int, Row]], *, name: str, is_ragged: bool = False
) -> tuple[Row, Iterator[tuple[int, Row]]]:
    """The header and the rows after it that are not blank, within the bounds, each as wide as the header.

    Args:
        rows: number and cells of every row.
        name: for messages.
        is_ragged: whether the format leaves out blank cells at the end of a row.
    """
    for number, row in rows:
        if number > MAX_ROWS:
            break
        header = tuple(cell.strip() for cell in row)
        if any(header):
            while not header[-1]:
                header = header[:-1]
            if len(header) > MAX_COLUMNS:
                raise DataError(f"{name}: expected at most {MAX_COLUMNS} columns, got more")
            width = len(header) if is_ragged else len(row)
            return header, _after_header(rows, (len(header), width), number, name, is_ragged)
    raise DataError(f"{name}: expected a header row, got an empty file")


def _after_header(
    rows: Iterator[tuple[int, Row]], widths: tuple[int, int], first: int, name: str, is_ragged: bool
) -> Iterator[tuple[int, Row]]:
    """The rows, cut or filled up to the header's width; `widths` are the header's and the file's own."""
    (width, expected), cells = widths, 0
    for number, row in rows:
        cells += len(row)
        if number - first > MAX_ROWS or cells > MAX_CELLS:
            raise DataError(f"{name}: expected at most {MAX_ROWS} rows and {MAX_CELLS} cells, got more")
        if not any(row):
            continue
        if any(row[width:]) or not (is_ragged or len(row) == expected):
            raise DataError(f"{name}: row {number}: expected {expected} fields, got {len(row)}")
        if max(map(len, row)) > MAX_CELL_CHARACTERS:
            raise DataError(
                f"{name}: row {number}: expected at most {MAX_CELL_CHARACTERS} characters in a cell, got more"
            )
        yield number, row if len(row) == width else (*row[:width], *("",) * (width - len(row)))
