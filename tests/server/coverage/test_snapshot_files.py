"""A snapshot is refused whole for one bad row, and no message says whose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import coverage_snapshots as snapshots
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from noren_core.errors import DataError
from noren_core.rights.clauses import Clause
from noren_core.rights.consent.consent_event import Action, EventKind
from noren_core.rights.coverage.classes import (
    AgreementPeriod,
    Evidence,
    PolicyPeriod,
    Register,
    Scope,
    ScreenPeriod,
)
from noren_core.rights.purposes import Purpose
from noren_server.coverage import statistics
from noren_server.coverage.classification import Question
from noren_server.coverage.runs import judged_by
from noren_server.coverage.snapshot_files import open_snapshot, snapshot_digest, table_digests

PERSON = "student-who-must-not-be-named"
SCOPE = Scope(company="company-1", position="engineer", season="2026", purpose=Purpose.SCORE)
EVERY = frozenset(Clause)
GIVEN = Evidence(
    seq=1,
    time=10,
    scope=SCOPE,
    policy="policy-1",
    state=EventKind.GIVEN,
    screen="s1",
    clauses=EVERY,
    action=Action.TICK_UNTICKED_BOX,
)
SCREEN = ScreenPeriod(
    screen="s1",
    route="web",
    policy="policy-1",
    company="*",
    position="*",
    purposes=frozenset(Purpose),
    clauses=EVERY,
    verified_from=1,
    verified_until=90,
)
CASE = snapshots.Case(
    Register(
        {"policy-1": PolicyPeriod(policy="policy-1", season="2026", activated_at=1)},
        [SCREEN],
        [AgreementPeriod(company="company-1", active_from=1)],
    ),
    [snapshots.PersonUse(student=PERSON, scope=SCOPE)],
    {PERSON: [GIVEN]},
)


def spoil(directory: Path, name: str, column: str, value: object) -> None:
    """One value of one table is another."""
    path = directory / f"{name}.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[0][column] = value
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


def test_a_sound_snapshot_opens(tmp_path: Path) -> None:
    """Without the optional tables, which are empty then."""
    with open_snapshot(snapshots.write(tmp_path, CASE)) as snapshot:
        figures = statistics.collect(snapshot, Question(50))
    assert figures["classes"]["E1"] == figures["population"]["uses"] == 1


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("population", "purpose", "rank.applicants"),
        ("population", "company", "*"),
        ("population", "student", ""),
        ("population", "student", None),
        ("population", "registered_at", -1),
        ("population", "control", "E0"),
        ("population", "processed", None),
        ("consent_events", "state", "AGREED"),
        ("consent_events", "state", "OFFER_ACKNOWLEDGED"),
        ("consent_events", "purpose", "score"),
        ("consent_events", "clauses", ["C01", "C99"]),
        ("consent_events", "clauses", ["C01", None]),
        ("consent_events", "action", "CLICK"),
        ("consent_events", "company", "*"),
        ("consent_events", "seq", -1),
        ("consent_events", "time", 2**60),
        ("screens", "screen", ""),
        ("screens", "clauses", ["C0"]),
        ("policies", "material", ["everything"]),
        ("policies", "policy", ""),
        ("agreements", "company", ""),
    ],
)
def test_one_bad_value_refuses_the_snapshot(tmp_path: Path, table: str, column: str, value: object) -> None:
    """Table and expectation are named, the value and the person are not."""
    snapshots.write(tmp_path, CASE)
    spoil(tmp_path, table, column, value)
    with pytest.raises(DataError) as refused, open_snapshot(tmp_path):
        pass
    assert refused.value.message.startswith(f"{table}.parquet: expected")
    assert PERSON not in refused.value.message


def test_missing_files_and_other_columns_are_refused(tmp_path: Path) -> None:
    """A snapshot is what its tables say, in exactly these columns and types."""
    snapshots.write(tmp_path, CASE)
    table = pq.read_table(tmp_path / "screens.parquet")
    for other in (
        table.drop(["build"]),
        table.append_column("more", table["build"]),
        table.set_column(0, "screen", pa.array([1])),
    ):
        pq.write_table(other, tmp_path / "screens.parquet")
        with pytest.raises(DataError), open_snapshot(tmp_path):
            pass
    (tmp_path / "screens.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError), open_snapshot(tmp_path):
        pass
    (tmp_path / "screens.parquet").unlink()
    with pytest.raises(DataError), open_snapshot(tmp_path):
        pass


def test_what_comes_twice_is_refused(tmp_path: Path) -> None:
    """One row for each use and phase, one event for each number."""
    for case in (
        replace(CASE, uses=[CASE.uses[0]] * 2),
        replace(CASE, events={PERSON: [GIVEN], "student-2": [GIVEN]}),
    ):
        with pytest.raises(DataError, match="no two rows"), open_snapshot(snapshots.write(tmp_path, case)):
            pass


def test_an_event_older_than_its_predecessor_is_refused(tmp_path: Path) -> None:
    """About one consent, time does not run backwards; between people it may."""
    earlier = replace(GIVEN, seq=2, time=9)
    snapshots.write(tmp_path / "a", replace(CASE, events={PERSON: [GIVEN], "student-2": [earlier]}))
    with open_snapshot(tmp_path / "a") as snapshot:
        statistics.collect(snapshot, Question(50))
    snapshots.write(tmp_path / "b", replace(CASE, events={PERSON: [GIVEN, earlier]}))
    with open_snapshot(tmp_path / "b") as snapshot, pytest.raises(DataError) as refused:
        statistics.collect(snapshot, Question(50))
    assert refused.value.code == "CONSENT_EVENT_OUT_OF_ORDER"


def test_digests_follow_what_reports_are_judged_by(tmp_path: Path) -> None:
    """Another clause on a screen is another digest; that it was verified for longer is none."""

    def digests(name: str, screen: ScreenPeriod) -> tuple[dict[str, str], str]:
        case = replace(CASE, register=replace(CASE.register, screens=[screen]))
        with open_snapshot(snapshots.write(tmp_path / name, case)) as snapshot:
            assert judged_by(snapshot).screens == table_digests(snapshot)["screens"]
            return table_digests(snapshot), snapshot_digest(snapshot)

    first, files = digests("a", SCREEN)
    longer, other_files = digests("b", replace(SCREEN, verified_until=99))
    shorter, _ = digests("c", replace(SCREEN, clauses=EVERY - {Clause.RIGHTS}))
    assert first == longer != shorter
    assert files != other_files
    assert first["policies"] == shorter["policies"]


def test_the_engine_is_bounded_and_loads_nothing(tmp_path: Path) -> None:
    """Two threads, bounded memory, no extension from anywhere."""
    with open_snapshot(snapshots.write(tmp_path, CASE)) as snapshot:
        settings = dict(snapshot.connection.execute("select name, value from duckdb_settings()").fetchall())
    assert settings["threads"] == "2"
    assert settings["autoinstall_known_extensions"] == settings["autoload_known_extensions"] == "false"
