"""From events to one row of features per student and season.

One set of Ibis expressions does all the counting, in whole numbers: integer microseconds, values in
thousandths, `min`, `max`, `sum` and `count` only. So every engine, and every number of threads, returns the
same integers, and what is not exact (logarithms, means, slopes) happens once, in NumPy, afterwards.

Refused by construction: an event of a student who is not in the roster, and, for features, an event at or
after the cut-off. Behaviour after the cut-off is read only for past seasons, as the target that the encoder
learns to foresee; no outcome is ever read here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from noren_core.errors import ConfigurationError, DataError
from noren_server.event_log import engine_deprecations_ignored

FloatArray: TypeAlias = npt.NDArray[np.float64]
_Counts: TypeAlias = Mapping[str, npt.NDArray[np.int64]]

DAY_US = 86_400_000_000
RECENT_DAYS = (3, 7, 14, 28)
RECENT_WEEKS = 2
MILESTONE_WEIGHT = 2.0
_FIXED_POINT = 1000  # values are summed in thousandths, so that sums are exact


@dataclass(frozen=True, slots=True)
class Season:
    """One application season: when it starts and from which day on nothing may be looked at.

    Attributes:
        name: as in the consent table and the companies' files.
        start_us: µs since 1970.
        cutoff_day: whole days after the start; events from then on are not used for features.
        is_past: whether its later behaviour is known and may serve as the encoder's target.
    """

    name: str
    start_us: int
    cutoff_day: int
    is_past: bool

    @property
    def cutoff_us(self) -> int:
        """The first microsecond that features must not see."""
        return self.start_us + self.cutoff_day * DAY_US


@dataclass(frozen=True, slots=True)
class FeatureConfig:
    """The public choice of what is counted.

    Attributes:
        activity_types: frequent event types, counted week by week; other types still count as activity.
        milestone_types: rare event types whose value says something (a score, days late).
        lookback_days: how long before a season's start events belong to it.
        horizon_days: how long after the cut-off the encoder's target looks.
    """

    activity_types: tuple[str, ...]
    milestone_types: tuple[str, ...] = ()
    lookback_days: int = 28
    horizon_days: int = 70

    def __post_init__(self) -> None:
        """Refuse an empty or ambiguous choice."""
        types = self.activity_types + self.milestone_types
        if not self.activity_types or len(set(types)) != len(types):
            raise ConfigurationError("feature types: expected at least one activity type and no type twice")
        if self.lookback_days < 0 or self.horizon_days < 7:
            raise ConfigurationError("feature windows: expected lookback ≥ 0 and horizon ≥ 7 days")


@dataclass(frozen=True, slots=True)
class StudentSeason:
    """Whose events, within which season: the key of a feature row."""

    student: str
    season: Season


def build_features(events: Any, roster: Sequence[StudentSeason], config: FeatureConfig) -> FloatArray:
    """One row per roster entry, in its order; columns depend on `config` and the cut-off day only.

    NaN says that a student has no such value (never handed anything in, so no score).

    Args:
        events: an Ibis table with the columns of `event_log.SCHEMA`.
        roster: distinct entries; all seasons must share one cut-off day, or columns would not line up.
        config: what is counted.
    """
    days = _one_cutoff_day(roster) + config.lookback_days
    window = _Window.before_cutoff(events, roster, config, days)
    return np.hstack([_activity(window), _by_day(window), _contexts(window), _milestones(window)])


def build_targets(events: Any, roster: Sequence[StudentSeason], config: FeatureConfig) -> FloatArray:
    """What the roster did after the cut-off, one row per entry: the encoder's target.

    Raises:
        DataError: if an entry's season is not past; a current season's future is nobody's to read.
    """
    if not all(entry.season.is_past for entry in roster):
        raise DataError("encoder targets: expected students of past seasons only, got a current one")
    _one_cutoff_day(roster)
    window = _Window.after_cutoff(events, roster, config)
    return np.hstack([_future_activity(window), _future_milestones(window)])


def target_weights(config: FeatureConfig) -> FloatArray:
    """How much each column of `build_targets` counts: milestones are few, so each counts double."""
    activity = 2 * -(-config.horizon_days // 7)
    return np.array([1.0] * activity + [MILESTONE_WEIGHT] * (2 * len(config.milestone_types)))


def _one_cutoff_day(roster: Sequence[StudentSeason]) -> int:
    if len(set(roster)) != len(roster):
        raise DataError("feature roster: expected each student once per season, got one twice")
    days = {entry.season.cutoff_day for entry in roster}
    if len(days) != 1:
        raise ConfigurationError(f"seasons: expected one cut-off day for all, got {len(days)} different ones")
    return days.pop()


@dataclass(frozen=True, slots=True)
class _Window:
    """The roster's events within one stretch of days.

    Its table has `row` (position in the roster), `day` (0 = nearest to the cut-off), `week`, `kind`
    (position in the configured types, or their number for any other type), `context`, and `amount`: the
    event's value in thousandths, where an event without a value counts as one.
    """

    table: Any
    rows: int
    days: int
    config: FeatureConfig

    @property
    def weeks(self) -> int:
        return -(-self.days // 7)

    @classmethod
    def before_cutoff(
        cls, events: Any, roster: Sequence[StudentSeason], config: FeatureConfig, days: int
    ) -> _Window:
        begin = [entry.season.cutoff_us - days * DAY_US for entry in roster]
        end = [entry.season.cutoff_us for entry in roster]
        joined = _join(events, roster, begin, end)
        day = (joined.end_us - 1 - joined.time_us) // DAY_US
        return cls(_with_columns(joined, day, config), len(roster), days, config)

    @classmethod
    def after_cutoff(cls, events: Any, roster: Sequence[StudentSeason], config: FeatureConfig) -> _Window:
        begin = [entry.season.cutoff_us for entry in roster]
        end = [at + config.horizon_days * DAY_US for at in begin]
        joined = _join(events, roster, begin, end)
        day = (joined.time_us - joined.begin_us) // DAY_US
        return cls(_with_columns(joined, day, config), len(roster), config.horizon_days, config)

    def read(self, expression: Any) -> _Counts:
        """The columns of `expression`, spread to one integer per roster row; 0 where there is no event."""
        with engine_deprecations_ignored():
            result = expression.to_pyarrow()
        row = result["row"].to_numpy()
        columns = {}
        for name in result.column_names:
            columns[name] = np.zeros(self.rows, dtype=np.int64)
            columns[name][row] = result[name].fill_null(0).to_numpy()
        return columns


def _join(events: Any, roster: Sequence[StudentSeason], begin: list[int], end: list[int]) -> Any:
    import ibis
    import pyarrow as pa

    accounts = ibis.memtable(
        pa.table(
            {
                "student": pa.array([entry.student for entry in roster], pa.string()),
                "row": pa.array(range(len(roster)), pa.int64()),
                "begin_us": pa.array(begin, pa.int64()),
                "end_us": pa.array(end, pa.int64()),
            }
        )
    )
    # The outer bounds let the engine skip whole row groups before the join.
    near = events.filter((events.time_us >= min(begin)) & (events.time_us < max(end)))
    joined = near.join(accounts, "student")
    return joined.filter((joined.time_us >= joined.begin_us) & (joined.time_us < joined.end_us))


def _with_columns(joined: Any, day: Any, config: FeatureConfig) -> Any:
    types = config.activity_types + config.milestone_types
    kind = joined.event_type.cases(*[(name, code) for code, name in enumerate(types)], else_=len(types))
    thousandths = (joined.value.fill_null(1.0) * _FIXED_POINT + 0.5).floor()
    return joined.select(
        row=joined.row,
        day=day.cast("int64"),
        week=(day // 7).cast("int64"),
        kind=kind.cast("int64"),
        context=joined.context,
        amount=thousandths.cast("int64"),
    )


def _log_count(values: npt.NDArray[np.int64]) -> FloatArray:
    return np.log1p(np.maximum(values, 0))


def _log_amount(values: npt.NDArray[np.int64]) -> FloatArray:
    return np.log1p(np.maximum(values, 0) / _FIXED_POINT)


def _columns(columns: Sequence[FloatArray], rows: int) -> FloatArray:
    return np.stack(columns, axis=1) if columns else np.zeros((rows, 0))


def _activity(window: _Window) -> FloatArray:
    """How much of each kind, in all and lately, in how many weeks; and the course of all activity."""
    by_week = window.table.group_by("row", "kind", "week").agg(
        events=lambda t: t.count(), amount=lambda t: t.amount.sum()
    )
    kinds = len(window.config.activity_types)
    milestones = range(kinds, kinds + len(window.config.milestone_types))
    wanted = {}
    for kind in range(kinds):
        of_kind = by_week.kind == kind
        lately = of_kind & (by_week.week < RECENT_WEEKS)
        wanted[f"events_{kind}"] = by_week.events.sum(where=of_kind)
        wanted[f"amount_{kind}"] = by_week.amount.sum(where=of_kind)
        wanted[f"recent_{kind}"] = by_week.amount.sum(where=lately)
        wanted[f"weeks_{kind}"] = by_week.week.nunique(where=of_kind)
    is_activity = by_week.kind.notin(list(milestones)) if milestones else by_week.kind >= 0
    for week in range(window.weeks):
        wanted[f"week_{week}"] = by_week.amount.sum(where=is_activity & (by_week.week == week))
    counts = window.read(by_week.group_by("row").agg(**wanted))
    course = np.stack([_log_amount(counts[f"week_{week}"]) for week in range(window.weeks)], axis=1)
    columns = [counts[f"weeks_{kind}"].astype(np.float64) for kind in range(kinds)]
    columns += [_log_count(counts[f"events_{kind}"]) for kind in range(kinds)]
    for part in ("amount", "recent"):
        columns += [_log_amount(counts[f"{part}_{kind}"]) for kind in range(kinds)]
    return np.hstack([_columns(columns, window.rows), course, _trend(course)])


def _trend(course: FloatArray) -> FloatArray:
    """Slope, recent change and number of active weeks of a weekly course (week 0 is the latest)."""
    weeks = course.shape[1]
    age = np.arange(weeks) - (weeks - 1) / 2
    slope = -(course @ age) / max(float(age @ age), 1.0)
    earlier = course[:, RECENT_WEEKS:].mean(axis=1) if weeks > RECENT_WEEKS else np.zeros(len(course))
    change = course[:, :RECENT_WEEKS].mean(axis=1) - earlier
    return np.stack([slope, change, (course > 0).sum(axis=1).astype(np.float64)], axis=1)


def _by_day(window: _Window) -> FloatArray:
    """Recency, gaps, active days and how evenly activity is spread over days."""
    import ibis

    daily = window.table.group_by("row", "day", "week").agg(amount=lambda t: t.amount.sum())
    previous = daily.day.lag().over(ibis.window(group_by="row", order_by="day"))
    daily = daily.mutate(gap=(daily.day - previous).fill_null(0))
    wanted = {
        "active": daily.count(),
        "last": daily.day.min(),
        "first": daily.day.max(),
        "gap": daily.gap.max(),
        "total": daily.amount.sum(),
        "largest": daily.amount.max(),
    }
    for days in RECENT_DAYS:
        wanted[f"active_{days}"] = daily.day.nunique(where=daily.day < days)
        wanted[f"amount_{days}"] = daily.amount.sum(where=daily.day < days)
    for week in range(window.weeks):
        wanted[f"week_{week}"] = daily.day.nunique(where=daily.week == week)
    counts = window.read(daily.group_by("row").agg(**wanted))
    seen = counts["active"] > 0
    names = [f"active_{days}" for days in RECENT_DAYS] + [f"week_{week}" for week in range(window.weeks)]
    columns = [counts[name].astype(np.float64) for name in ["active", *names]]
    columns += [np.where(seen, counts[name], window.days).astype(np.float64) for name in ("last", "gap")]
    columns += [np.where(seen, counts["first"], 0).astype(np.float64), seen.astype(np.float64)]
    columns += [_log_amount(counts[name]) for name in ("total", "largest")]
    columns += [_log_amount(counts[f"amount_{days}"]) for days in RECENT_DAYS]
    columns.append(_log_amount(counts["total"]) - np.log1p(counts["active"]))
    return _columns(columns, window.rows)


def _contexts(window: _Window) -> FloatArray:
    """How many different things were looked at, and how many again on another day."""
    known = window.table.filter(window.table.context.notnull())
    per_context = known.group_by("row", "context").agg(
        days=lambda t: t.day.nunique(), last=lambda t: t.day.min(), first=lambda t: t.day.max()
    )
    recent = RECENT_WEEKS * 7
    counts = window.read(
        per_context.group_by("row").agg(
            distinct=per_context.count(),
            revisited=(per_context.days > 1).cast("int64").sum(),
            recent=(per_context.last < recent).cast("int64").sum(),
            new=(per_context.first < recent).cast("int64").sum(),
        )
    )
    return _columns(
        [_log_count(counts[name]) for name in ("distinct", "revisited", "recent", "new")], window.rows
    )


def _milestone_counts(window: _Window) -> list[tuple[_Counts, str]]:
    """Per milestone type: its events, and sum, least, largest and recent value."""
    table, wanted = window.table, {}
    first = len(window.config.activity_types)
    kinds = range(first, first + len(window.config.milestone_types))
    if not kinds:
        return []
    for kind in kinds:
        of_kind = table.kind == kind
        wanted[f"events_{kind}"] = of_kind.cast("int64").sum()
        wanted[f"sum_{kind}"] = table.amount.sum(where=of_kind)
        wanted[f"least_{kind}"] = table.amount.min(where=of_kind)
        wanted[f"largest_{kind}"] = table.amount.max(where=of_kind)
        wanted[f"recent_{kind}"] = (of_kind & (table.day < 28)).cast("int64").sum()
    counts = window.read(table.filter(table.kind.isin(list(kinds))).group_by("row").agg(**wanted))
    return [(counts, str(kind)) for kind in kinds]


def _values(counts: _Counts, kind: str, part: str) -> FloatArray:
    """A value of a milestone type; NaN for a student without such an event."""
    events = counts[f"events_{kind}"]
    value = counts[f"{part}_{kind}"] / _FIXED_POINT
    if part == "sum":
        value = value / np.maximum(events, 1)
    return np.where(events > 0, value, np.nan)


def _milestones(window: _Window) -> FloatArray:
    """Counts and values of the milestone types before the cut-off."""
    columns: list[FloatArray] = []
    for counts, kind in _milestone_counts(window):
        events = counts[f"events_{kind}"]
        columns += [events.astype(np.float64), counts[f"recent_{kind}"].astype(np.float64)]
        columns.append((events > 0).astype(np.float64))
        columns += [_values(counts, kind, part) for part in ("sum", "least", "largest")]
    return _columns(columns, window.rows)


def _future_activity(window: _Window) -> FloatArray:
    """Amount and active days in each week after the cut-off."""
    daily = window.table.group_by("row", "day", "week").agg(amount=lambda t: t.amount.sum())
    wanted = {}
    for week in range(window.weeks):
        in_week = daily.week == week
        wanted[f"amount_{week}"] = daily.amount.sum(where=in_week)
        wanted[f"active_{week}"] = daily.day.nunique(where=in_week)
    counts = window.read(daily.group_by("row").agg(**wanted))
    columns = [_log_amount(counts[f"amount_{week}"]) for week in range(window.weeks)]
    columns += [counts[f"active_{week}"] / 3.5 for week in range(window.weeks)]
    return _columns(columns, window.rows)


def _future_milestones(window: _Window) -> FloatArray:
    """Count and mean value of each milestone type after the cut-off."""
    columns: list[FloatArray] = []
    for counts, kind in _milestone_counts(window):
        columns += [counts[f"events_{kind}"].astype(np.float64), _values(counts, kind, "sum")]
    return _columns(columns, window.rows)
