"""Features from an event log: our Ibis expressions on DuckDB, and plain SQL that reads as much."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from noren_bench.measurement import Row, cpu_seconds, peak_memory_mb
from noren_server import event_log
from noren_server.features import DAY_US, FeatureConfig, Season, StudentSeason, build_features

EVENTS, STUDENTS = 10_000_000, 100_000
_SPAN_DAYS, _LOOKBACK_DAYS = 88, 28
_TYPES = ("view", "search", "bookmark", "entry", "message", "login")
_CONTEXTS = 30_000
_BLOCK = 1_000_000
_SQL = """
with rows as (
  select student, event_type, context, coalesce(value, 1) as value,
         time_us // 86400000000 as day, time_us // 604800000000 as week
  from read_parquet('{path}/*.parquet')
)
select (select sum(n) from (select count(*) as n, sum(value) from rows group by student, event_type, week)),
       (select sum(n) from (select count(*) as n, sum(value) from rows group by student, day)),
       (select sum(n) from (select count(*) as n, min(day), max(day) from rows group by student, context))
"""


def row(*, events: int = EVENTS) -> Row:
    """CPU seconds for all features of a log, and the memory that the process came to need."""
    with tempfile.TemporaryDirectory(prefix="noren-bench-") as directory:
        path = Path(directory)
        _write_log(path, events)
        log = event_log.open_event_log(path)
        season = Season("bench", _LOOKBACK_DAYS * DAY_US, _SPAN_DAYS - _LOOKBACK_DAYS, is_past=False)
        roster = [StudentSeason(f"s{number:07d}", season) for number in range(STUDENTS)]
        ours = cpu_seconds(partial(_features, log, roster), repeats=1)
        memory = peak_memory_mb()
        floor = cpu_seconds(partial(_sql, path), repeats=1)
    return Row(
        work=f"features of {events:,} events",
        unit="s",
        ours=ours,
        floor=floor,
        floor_is="DuckDB SQL: the three groupings, read once",
        details={"peak_memory_mb": memory},
    )


def _features(log: event_log.EventLog, roster: list[StudentSeason]) -> None:
    config = FeatureConfig(activity_types=_TYPES, lookback_days=_LOOKBACK_DAYS)
    with event_log.event_table(log) as events:
        build_features(events, roster, config)


def _sql(path: Path) -> None:
    with duckdb.connect(config={"threads": event_log.THREADS}) as connection:
        connection.execute(_SQL.format(path=path)).fetchall()


def _write_log(path: Path, events: int) -> None:
    """Bursts of events, few students with many and many with few."""
    generator = np.random.default_rng(7)
    activity = np.cumsum(generator.pareto(1.6, STUDENTS) + 0.2)
    types = np.array(_TYPES, dtype=object)
    for part, start in enumerate(range(0, events, _BLOCK)):
        count = min(_BLOCK, events - start)
        student = np.searchsorted(activity, generator.random(count) * activity[-1])
        columns = {
            "student": pa.array([f"s{number:07d}" for number in student]),
            "time_us": pa.array((generator.random(count) * _SPAN_DAYS * DAY_US).astype(np.int64)),
            "event_type": pa.array(types[generator.integers(0, len(_TYPES), count)]),
            "context": pa.array([f"c{number}" for number in generator.zipf(1.25, count) % _CONTEXTS]),
            "value": pa.nulls(count, pa.float64()),
        }
        pq.write_table(pa.table(columns, schema=event_log.SCHEMA), path / f"part-{part:03d}.parquet")
