"""What a report says about logs is what the logs say."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from noren_core.errors import ConfigurationError
from noren_server import logged_students
from noren_server.event_log import SCHEMA
from noren_server.logged_students import LoggedStudents


def write(events: Path, name: str, students: list[str]) -> None:
    rows = {"student": students, "time_us": [1] * len(students), "event_type": ["view"] * len(students)}
    empty = {"context": [None] * len(students), "value": [None] * len(students)}
    events.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({**rows, **empty}, schema=SCHEMA), events / name)


def test_who_is_logged_is_found_in_any_file_and_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the files' order and however large they are against a batch; no prefix of a name counts."""
    monkeypatch.setattr(logged_students, "_BATCH_ROWS", 3)
    names = [f"s{number}" for number in range(10)]
    write(tmp_path / "events", "part-1.parquet", names * 2)
    write(tmp_path / "events", "part-2.parquet", ["愛子", "s3"])
    logged = LoggedStudents(tmp_path)
    assert all(logged.has(name) for name in [*names, "愛子"])
    assert not any(logged.has(name) for name in ("s", "s10", "", "愛"))


def test_logs_that_come_anew_or_go_are_noticed(tmp_path: Path) -> None:
    """Before the first ingest, after each, and after they are removed; in between they are not read again."""
    logged = LoggedStudents(tmp_path)
    assert not logged.has("s1")
    write(tmp_path / "events", "part-0.parquet", ["s1"])
    assert logged.has("s1")
    (tmp_path / "events").rename(tmp_path / "old")
    assert not logged.has("s1")
    write(tmp_path / "events", "part-0.parquet", ["s2"])
    assert logged.has("s2")
    assert not logged.has("s1")
    (tmp_path / "events" / "part-0.parquet").write_bytes(b"damaged")
    assert logged.has("s2")


def test_logs_that_cannot_be_read_are_no_answer(tmp_path: Path) -> None:
    """Nobody is told that there are none."""
    write(tmp_path / "events", "part-0.parquet", ["s1"])
    (tmp_path / "events" / "part-0.parquet").write_bytes(b"damaged")
    with pytest.raises(ConfigurationError):
        LoggedStudents(tmp_path).has("s1")
