"""A made-up job site with eight companies, for running the whole season without anybody's data.

Everything follows from a seed. Students have four hidden traits; the log shows them only through behaviour,
and declining an offer depends on them:

* engagement: how much somebody does here at all. Foreseeable without labels, so the engagement index knows
  part of the answer;
* breadth: how many applications run in parallel (more searches and entries, more so later);
* ambivalence: slow replies and much comparing, at the same overall activity;
* distance: looks at places far from the company's.

Labels therefore add a clear gain over the index, and with `plant_orthogonal` everything there is to gain:
then only ambivalence decides, which the index does not see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from noren_client.applicants import Decision
from noren_core.errors import ConfigurationError
from noren_demo.people import Application, permute_outcomes, write_people
from noren_demo.season_data import OutcomeClass, SeasonData, SeasonEntry, SeasonFiles, Task, write_description
from noren_server.event_log import SCHEMA
from noren_server.features import DAY_US, FeatureConfig

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

TASK = Task("decline", {"declined": OutcomeClass.POSITIVE, "accepted": OutcomeClass.NEGATIVE}, -1)
ACTIVITY_TYPES = ("view", "search", "bookmark", "guide", "compare", "place-view", "scout-open", "login")
MILESTONE_TYPES = ("entry", "message-reply", "profile-update")
CUTOFF_DAY = 60

# Fictional companies and how many offers each makes in a season, small to large.
COMPANIES = {
    "aoba-foods": 60,
    "benten-textiles": 90,
    "chidori-press": 150,
    "daigo-logistics": 220,
    "enoki-systems": 320,
    "fuji-kiko": 450,
    "ginza-retail": 650,
    "hayate-motors": 900,
}
_OFFERS_PER_STUDENT = 0.8
_NO_OFFER_SHARE = 0.15

# Rows: event types. Columns: base log rate; what engagement, ambivalence, breadth and distance add to it.
_TYPES = (*ACTIVITY_TYPES, *MILESTONE_TYPES)
_LOADINGS = np.array(
    [
        [1.6, 0.0, 0.0, 0.0, -0.1],
        [0.8, 0.0, 0.0, 0.5, 0.1],
        [-0.4, 0.2, 0.0, 0.2, 0.0],
        [-0.6, 0.0, 0.2, -0.1, 0.0],
        [-0.8, 0.0, 0.8, 0.1, 0.0],
        [-0.8, 0.0, 0.0, 0.0, 0.8],
        [-0.9, 0.1, 0.0, 0.2, 0.0],
        [0.2, 0.0, 0.0, 0.0, 0.0],
        [-1.5, 0.1, 0.0, 0.7, 0.0],
        [-1.2, 0.1, -0.2, 0.1, 0.0],
        [-2.2, 0.3, 0.0, 0.0, 0.0],
    ]
)
_WITHOUT_CONTEXT = ("search", "login", "profile-update")
_DECLINE = np.array([-0.9, 1.1, 0.6, 0.3])  # engagement, ambivalence, breadth, distance
_DECLINE_PLANTED = np.array([0.0, 1.6, 0.0, 0.0])

_WEEKDAY = np.array([1.15, 1.1, 1.05, 1.0, 0.85, 0.7, 0.95])  # Monday first
_PEAK_HOURS = np.array([8.0, 12.5, 21.5])
_PEAK_SHARES = np.array([0.2, 0.25, 0.55])
_JAPAN_HOURS_AHEAD = 9
_PAGES = 4000


@dataclass(frozen=True, slots=True)
class GeneratorOptions:
    """What to make up.

    Attributes:
        seed: decides everything.
        scale: multiplies the companies' sizes; 1 gives about a million events.
        unconsented: share of applications without a live consent.
        permute_labels: shuffle outcomes within each company and season.
        plant_orthogonal: let only ambivalence, which the index does not see, decide.
    """

    seed: int = 7
    scale: float = 1.0
    unconsented: float = 0.05
    permute_labels: bool = False
    plant_orthogonal: bool = False


def generate_season(destination: Path, options: GeneratorOptions) -> SeasonData:
    """Write the made-up season of `options` into `destination`.

    Raises:
        ConfigurationError: if the scale or the unconsented share is out of range.
    """
    if not 0.05 <= options.scale <= 20 or not 0 <= options.unconsented < 1:
        raise ConfigurationError(
            "generator: expected a scale from 0.05 to 20 and an unconsented share below 1"
        )
    files = SeasonFiles(destination)
    rng = np.random.default_rng(options.seed)
    seasons = (_season(2025, is_past=True), _season(2026, is_past=False))
    applications: list[Application] = []
    for season in seasons:
        students = _Students.draw(rng, season, options)
        _write_events(files.events, season, students, rng)
        applications += _applications(rng, season, students, options)
    if options.permute_labels:
        applications = permute_outcomes(applications, seed=options.seed)
    data = SeasonData(
        source="generated",
        seasons=seasons,
        tasks=(TASK,),
        companies=write_people(
            files, seasons, applications, unconsented=options.unconsented, seed=options.seed
        ),
        activity_types=ACTIVITY_TYPES,
        milestone_types=MILESTONE_TYPES,
    )
    write_description(files, data)
    return data


def _season(year: int, *, is_past: bool) -> SeasonEntry:
    start = datetime(year, 3, 1, tzinfo=UTC)
    return SeasonEntry(f"season-{year}", int(start.timestamp()) * 1_000_000, CUTOFF_DAY, is_past)


@dataclass(frozen=True, slots=True, eq=False)
class _Students:
    """A season's students: account names and hidden traits (students × 4), in `_DECLINE`'s order."""

    names: tuple[str, ...]
    traits: FloatArray

    @classmethod
    def draw(cls, rng: np.random.Generator, season: SeasonEntry, options: GeneratorOptions) -> _Students:
        count = round(sum(COMPANIES.values()) * options.scale / _OFFERS_PER_STUDENT)
        names = tuple(f"{season.name}-{number:06d}" for number in range(count))
        return cls(names, rng.standard_normal((count, len(_DECLINE))))


def _applications(
    rng: np.random.Generator, season: SeasonEntry, students: _Students, options: GeneratorOptions
) -> list[Application]:
    """Each company's applicants, most with an offer; a student may be at several companies."""
    weights = _DECLINE_PLANTED if options.plant_orthogonal else _DECLINE
    tendency = students.traits @ weights
    result = []
    for company, offers in COMPANIES.items():
        size = min(max(20, round(offers * options.scale / (1 - _NO_OFFER_SHARE))), len(students.names))
        chosen = rng.choice(len(students.names), size, replace=False)
        popularity = rng.normal(-0.5, 0.35)
        declined = rng.random(size) < 1 / (1 + np.exp(-(tendency[chosen] + popularity)))
        offered = rng.random(size) >= _NO_OFFER_SHARE
        for student, has_offer, declines in zip(chosen, offered, declined, strict=True):
            decision = Decision.OFFER if has_offer else Decision.NO_OFFER
            outcome = ("declined" if declines else "accepted") if has_offer else ""
            result.append(Application(students.names[student], company, season.name, decision, outcome))
    return result


def _write_events(folder: Path, season: SeasonEntry, students: _Students, rng: np.random.Generator) -> None:
    """One Parquet file, in order of time; of the season to be scored, nothing from the cut-off on."""
    session_student, session_start = _sessions(season, students, rng)
    length = rng.geometric(0.22, len(session_student))
    student = np.repeat(session_student, length)
    pause = (rng.exponential(75e6, len(student))).astype(np.int64)
    time = np.repeat(session_start, length) + _within_groups(pause, length)
    kind = _kinds(rng, students, student)
    if not season.is_past:
        before = time < season.start_us + season.cutoff_day * DAY_US
        student, time, kind = student[before], time[before], kind[before]
    order = np.argsort(time, kind="stable")
    table = _table(rng, students, student[order], time[order], kind[order])
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{season.name}.parquet.partial"
    pq.write_table(table, partial, compression="zstd")
    partial.replace(folder / f"{season.name}.parquet")


def _sessions(
    season: SeasonEntry, students: _Students, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """Who comes when: heavy-tailed activity, weekly and daily rhythm, pauses, a course over the season."""
    config = FeatureConfig(ACTIVITY_TYPES, MILESTONE_TYPES)
    last = season.cutoff_day + (config.horizon_days if season.is_past else 1)
    days = np.arange(-config.lookback_days, last)
    engagement, _, breadth, _ = students.traits.T
    count = len(students.names)
    level = np.exp(-1.55 + 0.55 * engagement + 0.45 * rng.standard_normal(count)) * (
        1 + 0.3 * rng.pareto(4, count)
    )
    course = 0.25 * breadth + 0.2 * engagement + 0.3 * rng.standard_normal(count)
    progress = (days + config.lookback_days) / (CUTOFF_DAY + config.lookback_days)
    weekday = (season.start_us // DAY_US + days + 3) % 7  # day 0 of the epoch was a Thursday
    rate = level[:, None] * np.exp(course[:, None] * (progress - 0.5)) * _WEEKDAY[weekday]
    rate *= _without_pauses(rng, count, len(days))
    student, column = np.nonzero(sessions := rng.poisson(rate))
    repeats = sessions[student, column]
    student, day = np.repeat(student, repeats), np.repeat(days[column], repeats)
    hour = rng.normal(_PEAK_HOURS[rng.choice(3, len(day), p=_PEAK_SHARES)], 1.6) - _JAPAN_HOURS_AHEAD
    start = season.start_us + day * DAY_US + (hour * 3_600e6).astype(np.int64)
    return student.astype(np.int64), start.astype(np.int64)


def _without_pauses(rng: np.random.Generator, count: int, days: int) -> FloatArray:
    """0 on the days of each student's one longer pause (examinations, a journey), else 1."""
    first = rng.integers(0, days, count)
    last = first + rng.geometric(0.12, count)
    day = np.arange(days)
    paused = (day >= first[:, None]) & (day < last[:, None])
    return np.where(paused, 0.0, 1.0)


def _within_groups(pause: IntArray, length: IntArray) -> IntArray:
    """Cumulative pauses that start again at 0 with each session."""
    total = np.cumsum(pause)
    first = np.cumsum(length) - length
    since: IntArray = total - np.repeat(total[first], length)
    return since


def _kinds(rng: np.random.Generator, students: _Students, student: IntArray) -> IntArray:
    """An event type for each event, from its student's own mix of types."""
    logits = _LOADINGS[:, 0] + students.traits @ _LOADINGS[:, 1:].T
    logits += 0.3 * rng.standard_normal(logits.shape)
    mix = np.exp(logits)
    cumulative = np.cumsum(mix / mix.sum(axis=1, keepdims=True), axis=1)
    kind = np.zeros(len(student), dtype=np.int64)
    draw = rng.random(len(student))
    for column in range(len(_TYPES) - 1):
        kind += draw > cumulative[student, column]
    return kind


def _table(
    rng: np.random.Generator, students: _Students, student: IntArray, time: IntArray, kind: IntArray
) -> pa.Table:
    """The events in the generic format: replies carry days of delay, profile updates completeness."""
    ambivalence = students.traits[student, 1]
    delay = np.exp(0.3 + 0.55 * ambivalence + 0.5 * rng.standard_normal(len(student)))
    completeness = rng.beta(4, 2, len(student))
    is_reply = kind == _TYPES.index("message-reply")
    is_profile = kind == _TYPES.index("profile-update")
    value = np.where(is_reply, np.minimum(delay, 30.0), completeness)
    page = rng.zipf(1.4, len(student)) % _PAGES
    bare = np.isin(kind, [_TYPES.index(name) for name in _WITHOUT_CONTEXT])
    return pa.table(
        {
            "student": pa.array(_names(students.names, student), pa.string()),
            "time_us": pa.array(time, pa.int64()),
            "event_type": pa.array(_names(_TYPES, kind), pa.string()),
            "context": pa.array(_names([f"page-{n}" for n in range(_PAGES)], page), pa.string(), mask=bare),
            "value": pa.array(value, pa.float64(), mask=~(is_reply | is_profile)),
        },
        schema=SCHEMA,
    )


def _names(names: Sequence[str], position: npt.NDArray[np.int64]) -> npt.NDArray[np.object_]:
    chosen: npt.NDArray[np.object_] = np.array(names, dtype=object)[position]
    return chosen
