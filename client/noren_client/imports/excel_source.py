"""A sheet of an .xlsx workbook.

Promises: what the archive says that it unpacks to is bounded before anything is unpacked, and no more is
unpacked than it says; nothing in it is evaluated, fetched or run; a date is written as one, whole numbers
without a fraction.
"""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Iterator
from typing import Any

from noren_client.imports.source_table import (
    MAX_COLUMNS,
    FormulaText,
    Row,
    SourceKind,
    SourceTable,
    bounded_rows,
    cell_text,
)
from noren_core.errors import DataError, NorenError

MAX_UNPACKED_BYTES = 512 << 20
MAX_MEMBERS = 2000
MAX_STRINGS_BYTES = 128 << 20
"""Of the table of strings, which is held whole in memory."""


def open_workbook(data: bytes, *, name: str, sheet: str) -> SourceTable:
    """The table on one sheet; an empty `sheet` takes the first one.

    Raises:
        DataError: if it is no workbook, lacks the sheet, or is beyond a bound (WORKBOOK_TOO_LARGE).
    """
    _verify_bounds(data, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about styles and features that nobody reads here
            import openpyxl

            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=False, keep_links=False)
            sheets = tuple(page.title for page in book.worksheets)
    except Exception:  # noqa: BLE001 (a library that raises whatever a broken file leads to; it quotes cells)
        raise _no_workbook(name) from None
    if not sheets or (sheet and sheet not in sheets):
        raise DataError(f"{name}: expected a sheet of the name that was chosen, got others")
    chosen = sheet or sheets[0]
    header, rows = bounded_rows(_rows(book[chosen], name), name=name, is_ragged=True)
    return SourceTable(SourceKind.EXCEL, header, rows, sheets=sheets, sheet=chosen)


def _verify_bounds(data: bytes, name: str) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
    except Exception:  # noqa: BLE001 (as above)
        raise _no_workbook(name) from None
    unpacked = sum(member.file_size for member in members)
    strings = sum(member.file_size for member in members if member.filename.endswith("sharedStrings.xml"))
    if len(members) > MAX_MEMBERS or unpacked > MAX_UNPACKED_BYTES or strings > MAX_STRINGS_BYTES:
        raise DataError(
            f"{name}: expected a workbook that unpacks to at most {MAX_UNPACKED_BYTES} bytes, got a larger "
            "one; save the sheet as CSV UTF-8",
            code="WORKBOOK_TOO_LARGE",
        )


def _rows(page: Any, name: str) -> Iterator[tuple[int, Row]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = page.iter_rows(values_only=True, max_col=MAX_COLUMNS + 1)
            for number, row in enumerate(found, start=1):
                yield number, tuple(map(_text, row))
    except NorenError:
        raise
    except Exception:  # noqa: BLE001 (as above)
        raise _no_workbook(name) from None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return FormulaText(value) if value.startswith("=") else value
    try:
        return cell_text(value)
    except ValueError:  # a formula over several cells
        return FormulaText("=")


def _no_workbook(name: str) -> DataError:
    return DataError(
        f"{name}: expected a workbook in the format .xlsx, got something else", code="WORKBOOK_MALFORMED"
    )
