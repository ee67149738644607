"""CSV, Excel and Parquet as rows of text."""

from __future__ import annotations

import contextlib
import csv
import io
import zipfile
from datetime import date, datetime
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from noren_client.imports import csv_source, excel_source, parquet_source, source_table
from noren_client.imports.source_table import FormulaText, ReadingChoices, SourceKind, open_source
from noren_client.imports.text_encoding import Encoding
from noren_core.errors import DataError

CELLS = st.text(
    st.characters(codec="cp932", exclude_categories=["Cc", "Co"], exclude_characters="¢£¬‖−〜")
    | st.sampled_from(",;\t|\"'\n"),
    max_size=20,
)


def rows_of(data: bytes, **choices: Any) -> list[tuple[int, tuple[str, ...]]]:
    return list(open_source(data, name="a", choices=ReadingChoices(**choices)).rows)


def workbook(*rows: tuple[Any, ...], title: str = "一覧") -> bytes:
    book = openpyxl.Workbook()
    book.active.title = title
    for row in rows:
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def parquet(**columns: list[Any]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


# CSV


@given(
    st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=8),
    st.sampled_from(Encoding),
    st.sampled_from(csv_source.DELIMITERS),
)
def test_what_was_written_as_csv_is_read(
    rows: list[tuple[str, str, str]], encoding: Encoding, delimiter: str
) -> None:
    """Quotes, line breaks in cells, every delimiter and encoding; rows have the numbers of a spreadsheet."""
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter).writerows([("見出し", "応募日", "状況"), *rows])
    table = open_source(out.getvalue().encode(encoding.codec), name="a", choices=ReadingChoices(encoding))
    assert table.header == ("見出し", "応募日", "状況")
    assert table.delimiter == delimiter
    assert list(table.rows) == [(n, row) for n, row in enumerate(rows, start=2) if any(row)]


def test_blank_rows_count_and_are_left_out() -> None:
    """So that a row has the number that Excel shows, also below a blank heading."""
    assert rows_of(b"\na,b\n\n1,2\n,\n3,4\n") == [(4, ("1", "2")), (6, ("3", "4"))]


@pytest.mark.parametrize("text", ["a,b\n1\n", "a,b\n1,2,3\n", 'a,b\n1,"2\n', 'a,b\n1,"2"x\n', "a,b\n\0,1\n"])
def test_a_row_of_another_width_or_broken_quotes_refuse_the_file(text: str) -> None:
    """Columns that do not line up would put one person's outcome beside another."""
    with pytest.raises(DataError):
        rows_of(text.encode())


def test_an_empty_file_is_refused() -> None:
    """Without rows as well as without anything."""
    for data in (b"", b"\n\n", b" ,\t\n \n", "\ufeff".encode()):
        with pytest.raises(DataError, match="empty file"):
            rows_of(data)


def test_rows_columns_and_cells_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before they are kept anywhere."""
    monkeypatch.setattr(source_table, "MAX_ROWS", 3)
    assert len(rows_of(b"a\n1\n2\n3\n")) == 3
    with pytest.raises(DataError, match="at most 3 rows"):
        rows_of(b"a\n1\n2\n3\n4\n")
    with pytest.raises(DataError, match="512 columns"):
        rows_of(b",".join([b"a"] * 513) + b"\n")
    with pytest.raises(DataError, match="characters in a cell"):
        rows_of(b"a\n" + b"x" * 70_000 + b"\n")
    with pytest.raises(DataError):
        rows_of(b"a\n" + b"x" * 200_000 + b"\n")
    monkeypatch.setattr(source_table, "MAX_CELLS", 3)
    with pytest.raises(DataError, match="3 cells"):
        rows_of(b"a,b\n1,2\n3,4\n")


# Excel


def test_a_workbook_is_read_as_it_is_shown() -> None:
    """Dates as dates, whole numbers without a fraction, cells that are left out as nothing."""
    data = workbook(
        ("メール", "日", "番号", "済", "率"),
        ("a@example.jp", date(2025, 4, 1), 12.0, True, 0.5),
        ("b@example.jp", datetime(2025, 4, 1, 10, 30)),  # noqa: DTZ001 (workbooks have no zones)
        (),
        ("c@example.jp", None, 7),
    )
    table = open_source(data, name="a", choices=ReadingChoices())
    assert (table.kind, table.sheet, table.sheets) == (SourceKind.EXCEL, "一覧", ("一覧",))
    assert list(table.rows) == [
        (2, ("a@example.jp", "2025-04-01", "12", "TRUE", "0.5")),
        (3, ("b@example.jp", "2025-04-01 10:30:00", "", "", "")),
        (5, ("c@example.jp", "", "7", "", "")),
    ]


def test_a_formula_is_told_and_not_evaluated() -> None:
    """Not even by what Excel stored beside it."""
    ((_, row),) = rows_of(workbook(("a", "b"), ("x", "=1+1")))
    assert isinstance(row[1], FormulaText)
    assert not isinstance(row[0], FormulaText)


def test_a_sheet_is_chosen_by_its_name() -> None:
    """The first by default; one that is not there is an error."""
    book = openpyxl.Workbook()
    book.active.append(("a",))
    second = book.create_sheet("二枚目")
    second.append(("b",))
    second.append(("1",))
    out = io.BytesIO()
    book.save(out)
    assert rows_of(out.getvalue(), sheet="二枚目") == [(2, ("1",))]
    with pytest.raises(DataError, match="sheet"):
        rows_of(out.getvalue(), sheet="三枚目")


def test_a_workbook_that_unpacks_to_too_much_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """By what its directory says; nothing was unpacked by then."""
    data = workbook(("a",), ("x" * 1000,))
    monkeypatch.setattr(excel_source, "MAX_UNPACKED_BYTES", 100)
    monkeypatch.setattr(openpyxl, "load_workbook", None)
    with pytest.raises(DataError) as caught:
        rows_of(data)
    assert caught.value.code == "WORKBOOK_TOO_LARGE"


def test_a_bomb_of_entities_is_refused() -> None:
    """Ten levels of ten references each: a gigabyte in a few hundred bytes."""
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 11))
    document = f'<?xml version="1.0"?><!DOCTYPE worksheet [<!ENTITY e0 "lol">{levels}]>'
    data, out = workbook(("a",), ("x",)), io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for member in old.infolist():
            text = old.read(member).decode()
            if member.filename == "xl/worksheets/sheet1.xml":
                text = document + text.replace("<t>x</t>", "<t>&e10;</t>")
                assert "&e10;" in text.partition("]>")[2]
            new.writestr(member.filename, text)
    with pytest.raises(DataError) as caught:
        rows_of(out.getvalue())
    assert caught.value.code == "WORKBOOK_MALFORMED"


def test_a_row_number_of_a_million_makes_no_million_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that the file leaves out are counted like others."""
    monkeypatch.setattr(source_table, "MAX_ROWS", 1000)
    book = openpyxl.Workbook()
    book.active["A1"], book.active["A1000000"] = "a", "x"
    out = io.BytesIO()
    book.save(out)
    with pytest.raises(DataError, match="at most 1000 rows"):
        rows_of(out.getvalue())


def test_old_and_protected_workbooks_are_named_for_what_they_are() -> None:
    """The message says what to save instead."""
    with pytest.raises(DataError, match="xlsx") as caught:
        rows_of(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100))
    assert caught.value.code == "WORKBOOK_OLD_OR_PROTECTED"


# Parquet


def test_parquet_is_read_by_its_values() -> None:
    """Dates, numbers and nothing as in the other formats."""
    data = parquet(
        メール=["a@example.jp", None], 日=[date(2025, 4, 1), None], 番号=[1.0, 2.5], 済=[True, False]
    )
    assert rows_of(data) == [
        (2, ("a@example.jp", "2025-04-01", "1", "TRUE")),
        (3, ("", "", "2.5", "FALSE")),
    ]


def test_parquet_with_lists_or_beyond_bounds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its metadata, before a value is read."""
    with pytest.raises(DataError, match="single values"):
        rows_of(parquet(a=[[1, 2]]))
    monkeypatch.setattr(parquet_source, "MAX_ROWS", 1)
    with pytest.raises(DataError) as caught:
        rows_of(parquet(a=[1, 2]))
    assert caught.value.code == "PARQUET_TOO_LARGE"


# Hostile files

_SEEDS = (
    workbook(("メール", "状況"), ("a@example.jp", "内定"), ("b@example.jp", 3)),
    parquet(a=["x", "y"], b=[1, 2]),
    "メール,状況\na@example.jp,内定\n".encode("cp932"),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.data())
def test_any_bytes_are_a_table_or_a_data_error(data: st.DataObject) -> None:
    """Cut, flipped and spliced files of all three kinds, and what has nothing to do with them."""
    seed = data.draw(st.sampled_from(_SEEDS) | st.binary(max_size=300))
    changed = bytearray(seed)
    for _ in range(data.draw(st.integers(0, 8))):
        if changed:
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(changed[: data.draw(st.integers(0, len(changed)))])
    with contextlib.suppress(DataError):
        table = open_source(cut, name="a", choices=ReadingChoices())
        assert all(len(row) == len(table.header) for _, row in table.rows)
