"""Bringing behaviour logs and seasons into the platform's directory, and reading them back.

Nothing is taken over unless all of it is well formed; what was there before stays until then.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from noren_core import ids, toml_text
from noren_core.errors import ConfigurationError, DataError
from noren_server.event_log import EventLog, open_event_log
from noren_server.features import FeatureConfig, Season

_SEASONS_FILE = "seasons.toml"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BehaviourData:
    """What features are made from: events, and the public description of seasons and types."""

    events: EventLog
    seasons: tuple[Season, ...]
    features: FeatureConfig

    def season(self, name: str) -> Season:
        """The season of that name; ConfigurationError if the platform has no logs of it."""
        for season in self.seasons:
            if season.name == name:
                return season
        raise ConfigurationError("season: expected one that the platform has logs of, got another")


def ingest(directory: Path, *, events: Path, seasons: Path) -> BehaviourData:
    """Check both inputs, then take them over into `directory`; what they hold.

    Args:
        directory: the platform's `logs` directory.
        events: a folder of Parquet files, or one file, in the generic event format.
        seasons: TOML with `[[seasons]]`, `activity_types` and `milestone_types`.

    Raises:
        DataError: naming file, row and column of what is not well formed; nothing was taken over.
    """
    log = open_event_log(events)
    _read_seasons(seasons)
    fresh = directory.with_name(directory.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    for folder in (fresh, fresh / "events"):
        folder.mkdir(mode=0o700, parents=True)
    for number, file in enumerate(log.files):
        _copy_private(file, fresh / "events" / f"part-{number:05d}.parquet")
    _copy_private(seasons, fresh / _SEASONS_FILE)
    _swap(fresh, directory)
    return load(directory)


def load(directory: Path) -> BehaviourData:
    """What was ingested last; ConfigurationError if nothing was."""
    if not (directory / _SEASONS_FILE).exists():
        raise ConfigurationError("expected behaviour logs: run noren-platform ingest first")
    seasons, features = _read_seasons(directory / _SEASONS_FILE)
    return BehaviourData(
        events=open_event_log(directory / "events"),
        seasons=seasons,
        features=features,
    )


def load_seasons(directory: Path) -> tuple[Season, ...]:
    """The seasons that were ingested last, without the logs; ConfigurationError if nothing was ingested."""
    if not (directory / _SEASONS_FILE).exists():
        raise ConfigurationError("expected behaviour logs: run noren-platform ingest first")
    return _read_seasons(directory / _SEASONS_FILE)[0]


def _copy_private(source: Path, target: Path) -> None:
    """Copy a file, streaming, to one that only the platform's account can read, whoever could read it."""
    target.touch(mode=0o600)
    shutil.copyfile(source, target)


def _swap(fresh: Path, directory: Path) -> None:
    """Put the new directory in the old one's place."""
    old = directory.with_name(directory.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if directory.exists():
        directory.rename(old)
    fresh.rename(directory)
    shutil.rmtree(old, ignore_errors=True)


def _exactly(kind: type[T], value: object) -> T:
    """`value` if it is of this very type: nothing is turned into what it might have meant."""
    if type(value) is not kind:
        raise TypeError(f"expected {kind.__name__}")
    return value


def _read_seasons(path: Path) -> tuple[tuple[Season, ...], FeatureConfig]:
    try:
        table = toml_text.parse(path.read_bytes())
    except (OSError, DataError) as error:
        raise DataError(f"{path.name}: expected a readable TOML file") from error
    try:
        seasons = tuple(
            Season(
                name=ids.parse_name(entry["name"], "season"),
                start_us=_exactly(int, entry["start_us"]),
                cutoff_day=_exactly(int, entry["cutoff_day"]),
                is_past=_exactly(bool, entry["is_past"]),
            )
            for entry in table["seasons"]
        )
        features = FeatureConfig(
            activity_types=tuple(_exactly(str, word) for word in _exactly(list, table["activity_types"])),
            milestone_types=tuple(_exactly(str, word) for word in _exactly(list, table["milestone_types"])),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path.name}: expected [[seasons]] with name, start_us, cutoff_day, is_past, and event types"
        ) from error
    if not seasons or len({season.name for season in seasons}) != len(seasons):
        raise DataError(f"{path.name}: expected at least one season and no name twice")
    return seasons, features
