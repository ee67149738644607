"""Features against a slow reference, and what they must never read."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from noren_core.errors import ConfigurationError, DataError
from noren_server import features
from noren_server.event_log import SCHEMA, event_table, open_event_log
from noren_server.features import DAY_US, FeatureConfig, Season, StudentSeason, build_features, build_targets

Event = tuple[str, int, str, str | None, float | None]

CONFIG = FeatureConfig(("view", "search"), ("score", "late"), lookback_days=4, horizon_days=14)
PAST = Season("2025", 1_000 * DAY_US, 24, is_past=True)
OTHER = Season("2026", 1_365 * DAY_US, 24, is_past=False)
ROSTER = [StudentSeason(name, season) for season in (PAST, OTHER) for name in ("a", "b", "c", "d", "silent")]


def random_events(count: int = 3_000, seed: int = 5) -> list[Event]:
    rng = np.random.default_rng(seed)
    events: list[Event] = []
    for _ in range(count):
        season = (PAST, OTHER)[rng.integers(2)]
        student = ("a", "b", "c", "d", "stranger")[rng.choice(5, p=(0.6, 0.2, 0.02, 0.08, 0.1))]
        time = season.start_us + int(rng.integers(-8 * DAY_US, 45 * DAY_US))
        kind = ("view", "search", "score", "late", "other")[rng.choice(5, p=(0.5, 0.2, 0.05, 0.05, 0.2))]
        context = None if rng.random() < 0.2 else f"page-{rng.integers(30)}"
        value = None if rng.random() < 0.3 else float(np.round(rng.normal(2, 3), 3))
        events.append((student, time, kind, context, value))
    return events


def with_events(tmp_path: Path, events: list[Event]) -> Path:
    path = tmp_path / "events.parquet"
    columns = [list(column) for column in zip(*events, strict=True)]
    pq.write_table(pa.table(columns, schema=SCHEMA), path)
    return path


def built(tmp_path: Path, events: list[Event], roster: list[StudentSeason] = ROSTER) -> np.ndarray:
    with event_table(open_event_log(with_events(tmp_path, events))) as table:
        return build_features(table, roster, CONFIG)


def targets(tmp_path: Path, events: list[Event]) -> np.ndarray:
    with event_table(open_event_log(with_events(tmp_path, events))) as table:
        return build_targets(table, ROSTER[:5], CONFIG)


def slow_features(events: list[Event], entry: StudentSeason) -> list[float]:
    """The same row in plain Python, one event at a time."""
    end = entry.season.cutoff_us
    days = entry.season.cutoff_day + CONFIG.lookback_days
    own = [
        ((end - 1 - time) // DAY_US, kind, context, 1.0 if value is None else value)
        for student, time, kind, context, value in events
        if student == entry.student and end - days * DAY_US <= time < end
    ]
    log = lambda amount: math.log1p(max(amount, 0.0))  # noqa: E731
    kinds, milestones, weeks = CONFIG.activity_types, CONFIG.milestone_types, math.ceil(days / 7)
    of = {kind: [item for item in own if item[1] == kind] for kind in (*kinds, *milestones)}
    row = [float(len({item[0] // 7 for item in of[kind]})) for kind in kinds]
    row += [log(len(of[kind])) for kind in kinds]
    row += [log(sum(item[3] for item in of[kind])) for kind in kinds]
    row += [log(sum(item[3] for item in of[kind] if item[0] < 14)) for kind in kinds]
    activity = [item for item in own if item[1] not in milestones]
    course = [log(sum(item[3] for item in activity if item[0] // 7 == week)) for week in range(weeks)]
    centre = (weeks - 1) / 2
    slope = -sum((week - centre) * amount for week, amount in enumerate(course))
    slope /= sum((week - centre) ** 2 for week in range(weeks))
    row += [*course, slope, sum(course[:2]) / 2 - sum(course[2:]) / (weeks - 2), sum(c > 0 for c in course)]
    by_day = {day: sum(item[3] for item in own if item[0] == day) for day in sorted({i[0] for i in own})}
    active = list(by_day)
    row += [len(active), *(sum(day < limit for day in active) for limit in (3, 7, 14, 28))]
    row += [sum(day // 7 == week for day in active) for week in range(weeks)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(active)]
    row += [active[0] if active else days, max(gaps, default=0) if active else days]
    row += [active[-1] if active else 0, float(bool(active))]
    total = sum(by_day.values())
    row += [log(total), log(max(by_day.values(), default=0.0))]
    row += [log(sum(by_day[day] for day in active if day < limit)) for limit in (3, 7, 14, 28)]
    row.append(log(total) - math.log1p(len(active)))
    pages = {item[2] for item in own if item[2] is not None}
    seen = {page: {item[0] for item in own if item[2] == page} for page in pages}
    row += [log(len(pages)), log(sum(len(on) > 1 for on in seen.values()))]
    row += [log(sum(min(on) < 14 for on in seen.values())), log(sum(max(on) < 14 for on in seen.values()))]
    for kind in milestones:
        values = [item[3] for item in of[kind]]
        row += [len(values), sum(item[0] < 28 for item in of[kind]), float(bool(values))]
        row += [sum(values) / len(values), min(values), max(values)] if values else [math.nan] * 3
    return [float(value) for value in row]


def test_features_equal_a_slow_reference(tmp_path: Path) -> None:
    """Every feature of every student equals what plain Python counts from the same events."""
    events = random_events()
    expected = np.array([slow_features(events, entry) for entry in ROSTER])
    np.testing.assert_allclose(built(tmp_path, events), expected, rtol=1e-12, atol=1e-12)


def test_targets_are_what_happened_after_the_cutoff(tmp_path: Path) -> None:
    """Targets count amount and active days per week, and milestones, from the cut-off to the horizon."""
    at = PAST.cutoff_us
    events: list[Event] = [
        ("a", at, "view", None, None),
        ("a", at + 8 * DAY_US, "search", "x", 3.0),
        ("a", at + 9 * DAY_US, "score", "x", 0.5),
        ("a", at + 14 * DAY_US, "view", None, 100.0),
        ("a", at - 1, "view", None, 100.0),
    ]
    row = targets(tmp_path, events)[0]
    expected = [math.log1p(1), math.log1p(3.5), 1 / 3.5, 2 / 3.5, 1.0, 0.5, 0.0, math.nan]
    np.testing.assert_allclose(row, expected)
    assert len(features.target_weights(CONFIG)) == len(row)


def test_nothing_at_or_after_the_cutoff_is_read(tmp_path: Path) -> None:
    """Events from the cut-off on, before the lookback, or of strangers do not change a feature."""
    events = random_events(500)
    extra: list[Event] = []
    for season in (PAST, OTHER):
        first = season.start_us - CONFIG.lookback_days * DAY_US
        times = (season.cutoff_us, season.cutoff_us + 3 * DAY_US, first - 1)
        extra += [("a", time, "view", "page-x", 50.0) for time in times]
        extra.append(("stranger", season.start_us, "view", "page-x", 50.0))
    np.testing.assert_array_equal(built(tmp_path, events), built(tmp_path, events + extra))
    counted: Event = ("a", OTHER.cutoff_us - 1, "view", "page-x", 50.0)
    assert not np.array_equal(built(tmp_path, events), built(tmp_path, [*events, counted]), equal_nan=True)


def test_the_order_of_events_does_not_matter(tmp_path: Path) -> None:
    """The same events in another order give exactly the same numbers, to the last bit."""
    events = random_events()
    shuffled = [events[i] for i in np.random.default_rng(1).permutation(len(events))]
    np.testing.assert_array_equal(built(tmp_path, events), built(tmp_path, shuffled))


def test_a_current_season_has_no_targets(tmp_path: Path) -> None:
    """The later behaviour of a season that is not past is nobody's to read."""
    with (
        event_table(open_event_log(with_events(tmp_path, random_events(10)))) as table,
        pytest.raises(DataError, match="past seasons only"),
    ):
        build_targets(table, ROSTER, CONFIG)


def test_columns_that_would_not_line_up_are_refused(tmp_path: Path) -> None:
    """Seasons with different cut-off days, or a student twice in a season, are refused."""
    other_day = StudentSeason("a", replace(OTHER, cutoff_day=30))
    with pytest.raises(ConfigurationError, match="one cut-off day"):
        built(tmp_path, random_events(10), [ROSTER[0], other_day])
    with pytest.raises(DataError, match="once per season"):
        built(tmp_path, random_events(10), [ROSTER[0], ROSTER[0]])


@pytest.mark.parametrize(
    "change",
    [
        {"activity_types": ()},
        {"milestone_types": ("view",)},
        {"lookback_days": -1},
        {"horizon_days": 6},
    ],
)
def test_an_ambiguous_choice_is_refused(change: dict[str, object]) -> None:
    """No activity type, a type in two roles, or an empty window is no configuration."""
    with pytest.raises(ConfigurationError):
        replace(CONFIG, **change)  # type: ignore[arg-type]
