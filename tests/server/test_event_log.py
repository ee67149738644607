"""Opening and checking event logs."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from noren_core.errors import DataError
from noren_server.event_log import SCHEMA, event_table, open_event_log

PERSON = "student-who-must-not-be-named"


def write(path: Path, rows: dict[str, list[object]] | None = None, schema: pa.Schema = SCHEMA) -> Path:
    columns: dict[str, list[object]] = {
        "student": ["a", PERSON],
        "time_us": [1, 2],
        "event_type": ["view", "view"],
        "context": ["x", None],
        "value": [1.0, None],
    }
    columns |= rows or {}
    pq.write_table(pa.table({name: columns[name] for name in schema.names}, schema=schema), path)
    return path


def test_a_folder_of_files_is_one_log(tmp_path: Path) -> None:
    """Rows of every file in a folder are counted and can be queried together."""
    write(tmp_path / "a.parquet")
    write(tmp_path / "b.parquet")
    log = open_event_log(tmp_path)
    assert log.rows == 4
    with event_table(log) as events:
        assert events.count().to_pyarrow().as_py() == 4
        assert set(events.columns) == set(SCHEMA.names)


def test_duckdb_never_installs_or_loads_extensions(tmp_path: Path) -> None:
    """The engine runs with extensions off, two threads and bounded memory."""
    with event_table(open_event_log(write(tmp_path / "a.parquet"))) as events:
        settings = dict(
            events.get_backend().raw_sql("select name, value from duckdb_settings()").fetchall(),
        )
    assert settings["autoinstall_known_extensions"] == "false"
    assert settings["autoload_known_extensions"] == "false"
    assert settings["allow_community_extensions"] == "false"
    assert settings["threads"] == "2"
    assert settings["memory_limit"] == "3.7 GiB"


@pytest.mark.parametrize(
    ("column", "values", "row"),
    [
        ("student", [PERSON, None], 1),
        ("student", ["", PERSON], 0),
        ("time_us", [None, 5], 0),
        ("time_us", [5, -1], 1),
        ("time_us", [5, 2**53 + 1], 1),
        ("event_type", ["view", None], 1),
        ("event_type", ["view", ""], 1),
        ("value", [1.0, float("nan")], 1),
        ("value", [float("inf"), None], 0),
        ("value", [None, -1.5e6], 1),
    ],
)
def test_a_bad_row_is_named_by_place_only(
    tmp_path: Path, column: str, values: list[object], row: int
) -> None:
    """A bad value is refused with file, column and row index, and without the row's content."""
    path = write(tmp_path / "events.parquet", {column: values})
    with pytest.raises(DataError) as caught:
        open_event_log(path)
    assert f"events.parquet, column {column}, row {row}:" in caught.value.message
    assert PERSON not in str(caught.value)


def test_a_row_index_counts_across_row_groups(tmp_path: Path) -> None:
    """The row index is the row's place in the file, also beyond the first batch read."""
    rows = 300_000
    table = pa.table(
        {
            "student": ["a"] * rows,
            "time_us": list(range(rows)),
            "event_type": ["view"] * rows,
            "context": pa.nulls(rows, pa.string()),
            "value": [0.0] * (rows - 1) + [float("nan")],
        },
        schema=SCHEMA,
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=100_000)
    with pytest.raises(DataError, match=f"row {rows - 1}:"):
        open_event_log(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        (SCHEMA.remove(4), "column value: expected exactly one, got 0"),
        (SCHEMA.set(1, pa.field("time_us", pa.int32())), "column time_us: expected type int64, got int32"),
        (SCHEMA.set(4, pa.field("value", pa.float32())), "column value: expected type double, got float"),
        (SCHEMA.append(pa.field("name", pa.string())), "expected only the columns"),
    ],
)
def test_other_columns_or_types_are_refused(tmp_path: Path, schema: pa.Schema, told: str) -> None:
    """The columns and their types are exactly those of the format."""
    write(tmp_path / "events.parquet", {"name": [PERSON, PERSON]}, schema)
    with pytest.raises(DataError) as caught:
        open_event_log(tmp_path / "events.parquet")
    assert told in caught.value.message
    assert PERSON not in str(caught.value)


def test_files_that_are_no_parquet_are_refused(tmp_path: Path) -> None:
    """A missing file, an empty folder and a damaged file are data errors, not crashes."""
    (tmp_path / "empty").mkdir()
    whole = write(tmp_path / "events.parquet").read_bytes()
    (tmp_path / "events.parquet").write_bytes(whole[: len(whole) // 2])
    for path in (tmp_path / "missing.parquet", tmp_path / "empty", tmp_path / "events.parquet"):
        with pytest.raises(DataError):
            open_event_log(path)
