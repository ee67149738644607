"""A coverage report over a million students in three phases: generated data, wall time, memory.

The report is made in a process of its own, so that the peak memory is this work's.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from noren_bench.measurement import Cost, Goal, Row, peak_memory_mb
from noren_core.rights.clauses import Clause
from noren_core.rights.purposes import Purpose
from noren_server.coverage import statistics
from noren_server.coverage.classification import Question
from noren_server.coverage.snapshot_files import SCHEMAS, open_snapshot, write_table

STUDENTS = 1_000_000
PHASES = ("pilot", "spring", "autumn")
WALL_SECONDS, MEMORY_MB = 60.0, 2048.0
_COMPANIES, _ROUTES = 40, ("web", "app", "fair")
_DAY = 86_400
_FIRST, _CHANGED, _LAST = 0, 400 * _DAY, 700 * _DAY
_BLOCK = 250_000
_ALL = sorted(clause.value for clause in Clause)


def row(*, students: int = STUDENTS) -> Row:
    """Wall seconds of a whole report, its input checked, and the memory of the process that makes it."""
    with tempfile.TemporaryDirectory(prefix="noren-bench-") as directory:
        events = _write_snapshot(Path(directory), students)
        command = [sys.executable, "-m", "noren_bench.coverage_cost", directory]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    if figures["uses"] != students * len(PHASES):
        raise RuntimeError("coverage: expected every use in the report")
    return Row(
        work=f"coverage of {students * len(PHASES):,} uses by {events:,} consent events",
        unit="s",
        ours=figures["wall_s"],
        goals=(
            Goal("wall seconds", figures["wall_s"], WALL_SECONDS),
            Goal("peak memory in MB", figures["peak_memory_mb"], MEMORY_MB),
        ),
        details={"peak_memory_mb": figures["peak_memory_mb"], "cpu_seconds": figures["cpu_s"]},
    )


def _report(path: Path) -> dict[str, Any]:
    with open_snapshot(path) as snapshot:
        return statistics.collect(snapshot, Question(_LAST))


def _write_snapshot(path: Path, students: int) -> int:
    """Everybody in three phases; most agreed to the version in force, some saw it, some know the old one."""
    generator = np.random.default_rng(11)
    _write_small_tables(path)
    population = _Writer(path, "population")
    events = _Writer(path, "consent_events")
    for first in range(0, students, _BLOCK):
        count = min(_BLOCK, students - first)
        for place, phase in enumerate(PHASES):
            population.write(_population(generator, first, count, phase))
            events.write(_events(generator, first, count, place, events.rows))
    population.close()
    events.close()
    return events.rows


class _Writer:
    """One large table, in blocks."""

    def __init__(self, path: Path, name: str) -> None:
        self._schema = SCHEMAS[name]
        self._file = pq.ParquetWriter(path / f"{name}.parquet", self._schema)
        self.rows = 0

    def write(self, columns: dict[str, Any]) -> None:
        block = pa.table({name: columns[name] for name in self._schema.names}, schema=self._schema)
        self._file.write_table(block)
        self.rows += block.num_rows

    def close(self) -> None:
        self._file.close()


def _students(first: int, count: int) -> list[str]:
    return [f"student-{number:08d}" for number in range(first, first + count)]


def _scope(first: int, count: int, place: int) -> dict[str, Any]:
    """Another company in each phase."""
    companies = [f"company-{(number + place) % _COMPANIES:02d}" for number in range(first, first + count)]
    return {
        "student": _students(first, count),
        "company": companies,
        "position": _same("engineer", count),
        "season": _same("2026", count),
        "purpose": _same(Purpose.SCORE.value, count),
    }


def _population(generator: np.random.Generator, first: int, count: int, phase: str) -> dict[str, Any]:
    return {
        **_scope(first, count, PHASES.index(phase)),
        "phase": _same(phase, count),
        "route": pa.array(np.array(_ROUTES)[generator.integers(0, len(_ROUTES), count)]),
        "registered_at": generator.integers(_DAY, _CHANGED, count),
        "processed": np.ones(count, dtype=bool),
        "control": _same("", count),
    }


def _events(generator: np.random.Generator, first: int, count: int, place: int, seq: int) -> dict[str, Any]:
    """The screen was shown to everybody; then nine in ten agreed. Blocks stand one after the other."""
    scope = _scope(first, count, place)
    is_new = generator.random(count) < 0.9
    agreed = np.flatnonzero(generator.random(count) < 0.9)
    both = np.concatenate([np.arange(count), agreed])
    states = np.concatenate([np.full(count, "SHOWN"), np.full(len(agreed), "GIVEN")])
    actions = np.where(states == "GIVEN", "PRESS_DEDICATED_BUTTON", "")
    policies = np.where(is_new, "policy-2", "policy-1")[both]
    return {
        **{name: _taken(values, both) for name, values in scope.items()},
        "seq": np.arange(seq, seq + len(both)),
        "time": np.full(len(both), _CHANGED + seq // 1000),
        "policy": pa.array(policies),
        "state": pa.array(states),
        "screen": pa.array(np.where(policies == "policy-2", "22" * 32, "11" * 32)),
        "clauses": _clauses(len(both)),
        "action": pa.array(actions),
        "prechecked": np.zeros(len(both), dtype=bool),
        "bundled": np.zeros(len(both), dtype=bool),
        "expires_at": np.zeros(len(both), dtype=np.int64),
    }


def _write_small_tables(path: Path) -> None:
    screens = [("11" * 32, "policy-1"), ("22" * 32, "policy-2")]
    rows: dict[str, list[dict[str, Any]]] = {
        "screens": [
            {
                "screen": screen,
                "route": "web",
                "build": "1",
                "locale": "ja",
                "policy": policy,
                "company": "*",
                "position": "*",
                "purposes": [Purpose.SCORE.value],
                "clauses": _ALL,
                "verified_from": _FIRST,
                "verified_until": _LAST,
                "state": "VERIFIED",
            }
            for screen, policy in screens
        ],
        "policies": [
            {"policy": "policy-1", "season": "2026", "activated_at": _FIRST, "retired_at": 0, "material": []},
            {
                "policy": "policy-2",
                "season": "2026",
                "activated_at": _CHANGED,
                "retired_at": 0,
                "material": [purpose.value for purpose in Purpose],
            },
        ],
        "agreements": [
            {
                "company": f"company-{number:02d}",
                "active_from": _FIRST,
                "active_until": 0,
                "received_provision": False,
            }
            for number in range(_COMPANIES)
        ],
    }
    for name, items in rows.items():
        write_table(path, name, pa.Table.from_pylist(items, schema=SCHEMAS[name]))


def _same(text: str, count: int) -> pa.Array:
    return pa.array([text]).take(pa.array(np.zeros(count, dtype=np.int64)))


def _taken(values: Any, places: npt.NDArray[np.int64]) -> pa.Array:
    array = values if isinstance(values, pa.Array) else pa.array(values)
    return array.take(pa.array(places))


def _clauses(count: int) -> pa.Array:
    """Every clause, in every row."""
    one = pa.array(_ALL)
    offsets = pa.array(np.arange(count + 1, dtype=np.int32) * len(_ALL))
    repeated = one.take(pa.array(np.tile(np.arange(len(_ALL)), count)))
    return pa.ListArray.from_arrays(offsets, repeated)


def _main(directory: str) -> None:
    cost = Cost()
    figures = cost.of(partial(_report, Path(directory)))
    said = {
        "uses": figures["population"]["uses"],
        "wall_s": cost.wall,
        "cpu_s": cost.cpu,
        "peak_memory_mb": peak_memory_mb(),
    }
    sys.stdout.write(json.dumps(said) + "\n")


if __name__ == "__main__":
    _main(*sys.argv[1:])
