"""Decoders of imported files, for `decoders.DECODERS`: the fields of each."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import hostile_input as shapes
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq

from noren_client import applicants
from noren_client.imports import (
    calendar_dates,
    column_mapping,
    csv_source,
    excel_source,
    parquet_source,
    source_table,
    text_encoding,
)
from noren_client.imports.column_mapping import preset
from noren_client.imports.source_table import ReadingChoices, SourceTable

_CSV = "メール,状況\na@example.jp,内定\nb@example.jp,\n"


def _calls(function: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda value, _: function(value)


def _read(table: SourceTable) -> list[Any]:
    """Rows are read while they are iterated."""
    return list(table.rows)


def _workbook() -> bytes:
    book, out = openpyxl.Workbook(), io.BytesIO()
    book.active.append(("メール", "状況"))
    book.active.append(("a@example.jp", 3))
    book.save(out)
    return out.getvalue()


def _parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"メール": ["a@example.jp"], "番号": [1]}), out)
    return out.getvalue()


FIELDS: tuple[dict[str, Any], ...] = (
    {
        "name": "noren_client.applicants.parse_applicants",
        "shape": shapes.Csv(),
        "valid": lambda _: [
            b"season,position,identifier_kind,identifier,decision,outcome\n2025,clerk,email,a@example.com,offer,\n"
        ],
        "decode": _calls(lambda data: applicants.parse_applicants(data, name="a")),
    },
    {
        "name": "noren_client.imports.calendar_dates.parse_date",
        "shape": shapes.Text(),
        "valid": lambda _: ["令和7年4月1日", "R7.4.1", "2025-04-01T10:00:00+09:00", "45748", "20250401"],
        "decode": _calls(calendar_dates.parse_date),
    },
    {
        "name": "noren_client.imports.calendar_dates.parse_year",
        "shape": shapes.Text(),
        "valid": lambda _: ["2026年卒", "令和8年度", "2026/3/1"],
        "decode": _calls(calendar_dates.parse_year),
    },
    {
        "name": "noren_client.imports.text_encoding.parse_encoding",
        "shape": shapes.Text(),
        "valid": lambda _: ["cp932", ""],
        "decode": _calls(text_encoding.parse_encoding),
    },
    {
        "name": "noren_client.imports.column_mapping.parse_standing",
        "shape": shapes.Text(),
        "valid": lambda _: ["offer/accepted", "hold"],
        "decode": _calls(column_mapping.parse_standing),
        "encode": lambda standing: standing.text,
    },
    {
        "name": "noren_client.imports.column_mapping.parse_mapping",
        "shape": shapes.Toml(),
        "valid": lambda _: [preset("hrmos").to_toml()],
        "decode": _calls(column_mapping.parse_mapping),
    },
    {
        "name": "noren_client.imports.csv_source.open_csv",
        "shape": shapes.Csv(),
        "valid": lambda _: [_CSV.encode(), b"\xef\xbb\xbf" + _CSV.encode()],
        "decode": _calls(lambda data: _read(csv_source.open_csv(data, name="a", encoding=None))),
    },
    {
        "name": "noren_client.imports.excel_source.open_workbook",
        "shape": shapes.Bytes(),
        "valid": lambda _: [_workbook()],
        "decode": _calls(lambda data: _read(excel_source.open_workbook(data, name="a", sheet=""))),
        "examples": 40,
    },
    {
        "name": "noren_client.imports.parquet_source.open_parquet",
        "shape": shapes.Bytes(),
        "valid": lambda _: [_parquet()],
        "decode": _calls(lambda data: _read(parquet_source.open_parquet(data, name="a"))),
        "examples": 40,
    },
    {
        "name": "noren_client.imports.source_table.open_source",
        "shape": shapes.Bytes(),
        "valid": lambda _: [_CSV.encode("cp932"), _workbook(), _parquet()],
        "decode": _calls(
            lambda data: _read(source_table.open_source(data, name="a", choices=ReadingChoices()))
        ),
        "has_own_fields": False,
        "examples": 40,
    },
)

EXEMPT = {
    "noren_client.applicants.read_bounded": "hands on bytes; parse_applicants and open_source are here",
    "noren_client.imports.import_journal.ImportRecord.from_body": "our own file, told as damaged as a whole",
    "noren_client.imports.reading.read_export": "open_source or parse_applicants, then rows of texts",
}
