"""The files of one season, as a data source writes them and a demo run reads them.

    platform/events/*.parquet        behaviour, in the generic event format
    platform/consents.csv            live and withdrawn consents
    companies/<id>/applicants.csv    one company's decisions and known outcomes; never leaves that folder
    season.toml                      what everybody may know: seasons, tasks, event types, declared sizes
    truth.csv                        outcomes of the season to be scored; for the evaluator alone

`SeasonData` is season.toml; nothing in it is personal. Every file appears whole or not at all, season.toml
last: where it is, the season is complete.
"""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from noren_core.errors import DataError
from noren_core.ids import parse_name

DECLARED_SIZE_STEP = 50


class OutcomeClass(StrEnum):
    """What an outcome word means for one task."""

    POSITIVE = "positive"
    NEGATIVE = "negative"
    EXCLUDED = "excluded"


@dataclass(frozen=True, slots=True)
class Task:
    """One question asked of the outcomes: which words count as a decline, which as none, which not at all.

    Attributes:
        index_direction: whether more activity foreseen makes it rarer (-1) or more frequent (1), as everybody
            would expect; 0 if nobody does.
        expected_rate: how frequent it is said to be.
    """

    name: str
    outcomes: Mapping[str, OutcomeClass]
    index_direction: int = 0
    expected_rate: str = "0.5"

    def words(self, kind: OutcomeClass) -> tuple[str, ...]:
        """The outcome words of one class."""
        return tuple(word for word, own in self.outcomes.items() if own is kind)


@dataclass(frozen=True, slots=True)
class SeasonEntry:
    """One season's window, and whether its outcomes are known (train) or not (score)."""

    name: str
    start_us: int
    cutoff_day: int
    is_past: bool


@dataclass(frozen=True, slots=True)
class CompanyEntry:
    """A company and the size it declares: a public bucket, at least the larger of its two batches."""

    name: str
    declared_size: int


@dataclass(frozen=True, slots=True)
class SeasonData:
    """Everything of a season that all parties may know. The season to be scored is the last one."""

    source: str
    seasons: tuple[SeasonEntry, ...]
    tasks: tuple[Task, ...]
    companies: tuple[CompanyEntry, ...]
    activity_types: tuple[str, ...]
    milestone_types: tuple[str, ...]

    @property
    def train_seasons(self) -> tuple[str, ...]:
        """Names of the past seasons."""
        return tuple(season.name for season in self.seasons if season.is_past)

    @property
    def score_seasons(self) -> tuple[str, ...]:
        """Names of the seasons to be scored; the data sources here make exactly one."""
        return tuple(season.name for season in self.seasons if not season.is_past)


@dataclass(frozen=True, slots=True)
class SeasonFiles:
    """Where the files of a season are."""

    root: Path

    @property
    def events(self) -> Path:
        """Folder of event Parquet files."""
        return self.root / "platform" / "events"

    @property
    def choices(self) -> Path:
        """What each student will answer when she is asked; the demo plays the students."""
        return self.root / "choices.csv"

    @property
    def description(self) -> Path:
        """season.toml."""
        return self.root / "season.toml"

    @property
    def truth(self) -> Path:
        """Outcomes of the season to be scored, for the evaluator."""
        return self.root / "truth.csv"

    def applicants(self, company: str) -> Path:
        """One company's own file."""
        return self.root / "companies" / parse_name(company, "company") / "applicants.csv"


def declared_size(real: int) -> int:
    """The public size bucket of a real number of rows: the next multiple of 50, at least 50."""
    return max(1, -(-real // DECLARED_SIZE_STEP)) * DECLARED_SIZE_STEP


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a CSV file so that it is never seen half-written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
    partial.replace(path)


def write_description(files: SeasonFiles, data: SeasonData) -> None:
    """Write season.toml, after all other files."""
    files.root.mkdir(parents=True, exist_ok=True)
    partial = files.root / "season.toml.partial"
    partial.write_text(_to_toml(data), encoding="utf-8")
    partial.replace(files.description)


def read_description(files: SeasonFiles) -> SeasonData:
    """The season described in season.toml; DataError if it is missing or says something else."""
    try:
        table = tomllib.loads(files.description.read_text(encoding="utf-8"))
        return SeasonData(
            source=str(table["source"]),
            seasons=tuple(SeasonEntry(**entry) for entry in table["seasons"]),
            tasks=tuple(_task(entry) for entry in table["tasks"]),
            companies=tuple(CompanyEntry(**entry) for entry in table["companies"]),
            activity_types=tuple(table["activity_types"]),
            milestone_types=tuple(table["milestone_types"]),
        )
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError("season.toml: expected a readable TOML file, got one that is not") from error
    except (KeyError, TypeError) as error:
        raise DataError("season.toml: expected the fields of a season, got others") from error


def _task(entry: dict[str, Any]) -> Task:
    return Task(
        str(entry["name"]),
        {word: kind for kind in OutcomeClass for word in entry[kind.value]},
        int(entry["index_direction"]),
        str(entry["expected_rate"]),
    )


def _to_toml(data: SeasonData) -> str:
    lines = [f"source = {_quote(data.source)}"]
    lines.append(f"activity_types = {_quote_all(data.activity_types)}")
    lines.append(f"milestone_types = {_quote_all(data.milestone_types)}")
    for season in data.seasons:
        lines += ["", "[[seasons]]", f"name = {_quote(season.name)}", f"start_us = {season.start_us}"]
        lines += [f"cutoff_day = {season.cutoff_day}", f"is_past = {str(season.is_past).lower()}"]
    for company in data.companies:
        lines += ["", "[[companies]]", f"name = {_quote(company.name)}"]
        lines += [f"declared_size = {company.declared_size}"]
    for task in data.tasks:
        lines += ["", "[[tasks]]", f"name = {_quote(task.name)}"]
        lines += [f"index_direction = {task.index_direction}"]
        lines += [f"expected_rate = {_quote(task.expected_rate)}"]
        lines += [f"{kind.value} = {_quote_all(task.words(kind))}" for kind in OutcomeClass]
    return "\n".join(lines) + "\n"


def _quote_all(words: Iterable[str]) -> str:
    return f"[{', '.join(map(_quote, words))}]"


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
