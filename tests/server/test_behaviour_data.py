"""Taking over behaviour logs and seasons: all of it or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from noren_core.errors import ConfigurationError, DataError
from noren_server import behaviour_data
from noren_server.behaviour_data import BehaviourData
from noren_server.event_log import SCHEMA

SEASONS = """
activity_types = ["view", "search"]
milestone_types = ["score"]
[[seasons]]
name = "2025"
start_us = 1000
cutoff_day = 60
is_past = true
[[seasons]]
name = "2026"
start_us = 2000
cutoff_day = 60
is_past = false
"""


@dataclass(frozen=True)
class Inputs:
    """What an operator hands in, and where it goes."""

    events: Path
    seasons: Path
    logs: Path

    def ingest(self) -> BehaviourData:
        return behaviour_data.ingest(self.logs, events=self.events, seasons=self.seasons)

    def write_events(self, name: str, students: list[str]) -> None:
        count = len(students)
        columns = [students, list(range(count)), ["view"] * count, [None] * count, [1.0] * count]
        pq.write_table(pa.table(columns, schema=SCHEMA), self.events / name)


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    """Two Parquet files and two seasons, well formed."""
    made = Inputs(tmp_path / "in", tmp_path / "s.toml", tmp_path / "platform" / "logs")
    made.events.mkdir()
    made.write_events("b.parquet", ["s1", "s2"])
    made.write_events("a.parquet", ["s3"])
    made.seasons.write_text(SEASONS)
    return made


def content(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def test_what_was_taken_over_needs_its_sources_no_more(inputs: Inputs) -> None:
    """Every event, season and type is there after the files that were handed in are gone."""
    taken = inputs.ingest()
    for path in (*inputs.events.iterdir(), inputs.seasons):
        path.unlink()
    loaded = behaviour_data.load(inputs.logs)
    assert loaded == taken
    assert loaded.events.rows == 3
    assert all(file.is_relative_to(inputs.logs) for file in loaded.events.files)
    assert [(s.name, s.start_us, s.cutoff_day, s.is_past) for s in loaded.seasons] == [
        ("2025", 1000, 60, True),
        ("2026", 2000, 60, False),
    ]
    assert loaded.features.activity_types == ("view", "search")
    assert loaded.features.milestone_types == ("score",)


def test_nobody_else_can_read_the_logs(inputs: Inputs) -> None:
    """Folders and files are closed to other accounts, however open those were that were handed in."""
    inputs.seasons.chmod(0o666)
    inputs.ingest()
    for path in (inputs.logs, *inputs.logs.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_second_ingest_replaces_the_first_wholly(inputs: Inputs) -> None:
    """No event of the first is left, nor any folder beside it, even of one that was cut off."""
    inputs.ingest()
    (inputs.logs.with_name("logs.new") / "events").mkdir(parents=True)
    (inputs.logs.with_name("logs.new") / "events" / "stale.parquet").write_bytes(b"")
    inputs.logs.with_name("logs.old").mkdir()
    (inputs.logs.with_name("logs.old") / "seasons.toml").write_text("stale")
    (inputs.events / "b.parquet").unlink()
    data = inputs.ingest()
    assert (data.events.rows, len(data.events.files)) == (1, 1)
    assert [path.name for path in inputs.logs.parent.iterdir()] == ["logs"]


def test_what_was_ingested_can_be_ingested_again(inputs: Inputs) -> None:
    """An operator may replace the seasons alone and name the platform's own logs as the other input."""
    inputs.ingest()
    inputs.seasons.write_text(SEASONS.replace("2026", "2027"))
    data = behaviour_data.ingest(inputs.logs, events=inputs.logs / "events", seasons=inputs.seasons)
    assert data.events.rows == 3
    assert [season.name for season in data.seasons] == ["2025", "2027"]


def test_one_bad_input_leaves_everything_as_it_was(inputs: Inputs) -> None:
    """A malformed event or season refuses both; what was there before stays."""
    inputs.ingest()
    before = content(inputs.logs.parent)
    inputs.write_events("c.parquet", ["s4"])
    broken = {inputs.events / "z.parquet": b"no parquet", inputs.seasons: b"= ="}
    for path, data in broken.items():
        good = path.read_bytes() if path.exists() else None
        path.write_bytes(data)
        with pytest.raises(DataError):
            inputs.ingest()
        assert content(inputs.logs.parent) == before
        path.unlink() if good is None else path.write_bytes(good)
    assert inputs.ingest().events.rows == 4


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[[seasons]]\nname", "[[terms]]\nname"),
        ("cutoff_day = 60\nis_past = false", "is_past = false"),
        ("is_past = false", 'is_past = "false"'),
        ('name = "2026"', 'name = "2025"'),
        ('name = "2026"', 'name = "Spring 2026"'),
        ("start_us = 2000", 'start_us = "soon"'),
        ('milestone_types = ["score"]', ""),
        ('"view", "search"]', '"view"'),
    ],
)
def test_a_season_file_that_is_not_one_is_refused(inputs: Inputs, old: str, new: str) -> None:
    """Missing fields, a season twice, a name that is none and text that is no TOML are data errors."""
    assert old in SEASONS
    inputs.seasons.write_text(SEASONS.replace(old, new))
    with pytest.raises(DataError, match=r"s\.toml: expected|season: expected"):
        inputs.ingest()
    assert not inputs.logs.exists()


def test_a_file_without_seasons_is_refused(inputs: Inputs) -> None:
    """There is at least one season, and the file is there and is text."""
    inputs.seasons.write_text('seasons = []\nactivity_types = ["view"]\nmilestone_types = []\n')
    with pytest.raises(DataError, match="at least one season"):
        inputs.ingest()
    inputs.seasons.write_bytes(b"\xff")
    with pytest.raises(DataError, match="readable TOML"):
        inputs.ingest()
    inputs.seasons.unlink()
    with pytest.raises(DataError, match="readable TOML"):
        inputs.ingest()


def test_without_an_ingest_there_is_nothing_to_load(inputs: Inputs) -> None:
    """A platform without logs says which command comes first."""
    with pytest.raises(ConfigurationError, match="noren-platform ingest"):
        behaviour_data.load(inputs.logs)


def test_a_season_is_found_by_name(inputs: Inputs) -> None:
    """`season` returns the one of that name and refuses a name the platform has no logs of."""
    data = inputs.ingest()
    assert data.season("2026") == data.seasons[1]
    with pytest.raises(ConfigurationError, match="logs of"):
        data.season("2027")
