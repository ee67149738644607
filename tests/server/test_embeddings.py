"""From log to embeddings and noised training rows."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from noren_core.errors import DataError
from noren_core.privacy import discrete_gaussian
from noren_server.embeddings import (
    Cohort,
    EmbeddedCohort,
    build_embeddings,
    noised_training_rows,
    statistics_rows,
)
from noren_server.encoder import clip_norm
from noren_server.event_log import SCHEMA, open_event_log
from noren_server.features import DAY_US, FeatureConfig, Season

CONFIG = FeatureConfig(("view", "search"), ("score",), lookback_days=7, horizon_days=21)
PAST = Season("2025", 1_000 * DAY_US, 21, is_past=True)
CURRENT = Season("2026", 1_365 * DAY_US, 21, is_past=False)


def events(season: Season, names: list[str], seed: int, *, until_day: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    columns: list[list[object]] = [[], [], [], [], []]
    for name in names:
        for _ in range(rng.poisson(rng.gamma(2, 10))):
            kind = ("view", "search", "score")[rng.choice(3, p=(0.6, 0.3, 0.1))]
            time = season.start_us + int(rng.integers(-7 * DAY_US, until_day * DAY_US))
            row = (name, time, kind, f"page-{rng.integers(9)}", float(rng.integers(1, 5)))
            for column, value in zip(columns, row, strict=True):
                column.append(value)
    return pa.table(columns, schema=SCHEMA)


def names(count: int) -> list[str]:
    return [f"s{n:03d}" for n in range(count)]


def run(tmp_path: Path, *more: pa.Table, dimensions: int = 4) -> list[EmbeddedCohort]:
    log = [events(PAST, names(60), 1, until_day=42), events(CURRENT, names(40), 2, until_day=21), *more]
    pq.write_table(pa.concat_tables(log), tmp_path / "events.parquet")
    past = [Cohort("aoba", PAST, tuple(names(60)[:40])), Cohort("benten", PAST, tuple(names(60)[30:]))]
    current = [Cohort("aoba", CURRENT, tuple(names(40))), Cohort("benten", CURRENT, ())]
    return build_embeddings(open_event_log(tmp_path), past, current, dimensions=dimensions, config=CONFIG)


def test_every_cohort_gets_a_clipped_row_per_student(tmp_path: Path) -> None:
    """Each cohort has one finite, clipped row and one index per student, in its order; empty ones too."""
    embedded = run(tmp_path)
    assert [(item.cohort.company, item.values.shape) for item in embedded] == [
        ("aoba", (40, 4)),
        ("benten", (30, 4)),
        ("aoba", (40, 4)),
        ("benten", (0, 4)),
    ]
    for item in embedded:
        assert np.isfinite(item.values).all()
        assert (np.linalg.norm(item.values, axis=1) <= clip_norm(4) + 1e-9).all()
        assert item.index.shape == (len(item.cohort.students),)


def test_what_nobody_may_read_changes_nothing(tmp_path: Path) -> None:
    """Strangers' events and a current season's events from the cut-off on leave every number as it was."""
    late = events(replace(CURRENT, start_us=CURRENT.cutoff_us + 7 * DAY_US), names(40), 3, until_day=20)
    strangers = events(PAST, ["stranger"] * 20, 4, until_day=42)
    for before, after in zip(run(tmp_path), run(tmp_path, late, strangers), strict=True):
        np.testing.assert_array_equal(before.values, after.values)
        np.testing.assert_array_equal(before.index, after.index)


def test_cohorts_that_cannot_be_are_refused(tmp_path: Path) -> None:
    """An unsorted cohort, and a current cohort given as a past one, are refused."""
    with pytest.raises(DataError, match="sorted and distinct"):
        Cohort("aoba", PAST, ("b", "a"))
    with pytest.raises(DataError, match="sorted and distinct"):
        Cohort("aoba", PAST, ("a", "a"))
    pq.write_table(events(PAST, names(5), 1, until_day=42), tmp_path / "events.parquet")
    with pytest.raises(DataError, match="of past seasons"):
        build_embeddings(
            open_event_log(tmp_path),
            [Cohort("aoba", CURRENT, ("a",))],
            [],
            dimensions=2,
            config=CONFIG,
        )


def noised(values: np.ndarray, **change: object) -> np.ndarray:
    arguments = {"clip": 2.5, "variance": 1_000_000, "random_bytes": secrets.token_bytes, **change}
    return noised_training_rows(values, **arguments)  # type: ignore[arg-type]


def test_noise_has_the_planned_variance() -> None:
    """Without signal, 40,000 released values have the plan's variance within 5 % (false alarm < 1e-10)."""
    released = noised(np.zeros((10_000, 4))).astype(np.float64)
    assert abs(released.mean()) < 0.05 * 1000
    assert abs(released.var() / 1_000_000 - 1) < 0.05
    assert abs(np.corrcoef(released.T) - np.eye(4)).max() < 0.08


def test_two_draws_differ() -> None:
    """Noise is fresh at every call, so the caller must store what was released."""
    assert not np.array_equal(noised(np.zeros((5, 4))), noised(np.zeros((5, 4))))


def test_a_row_on_the_grid_is_never_longer_than_the_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before noise, each row is within clip · scale in L2, exactly, so the sensitivity is as stated."""
    monkeypatch.setattr(
        discrete_gaussian, "sample", lambda count, *, variance, stream: np.zeros(count, dtype=np.int64)
    )
    rng = np.random.default_rng(8)
    values = np.vstack([rng.normal(size=(5_000, 4)) * 3, np.eye(4) * 99, -np.eye(4) * 99])
    grid = noised(values).astype(np.int64)
    assert (grid**2).sum(axis=1).max() == (2.5 * 512) ** 2
    small = np.array([[0.1, -0.2, 0.3, 0.0]])
    assert noised(small).tolist() == [[51, -102, 153, 0]]


def test_saturation_never_wraps() -> None:
    """Noise far beyond int16 ends at its limits instead of changing sign."""
    released = noised(np.zeros((500, 4)), variance=10**14)
    assert (np.abs(released.astype(np.int64)) == 32_767).mean() > 0.99
    assert 0.35 < (released > 0).mean() < 0.65


def test_a_row_that_is_not_finite_is_refused() -> None:
    """NaN would pass through clipping and become an arbitrary integer."""
    for bad in (np.nan, np.inf):
        with pytest.raises(DataError):
            noised(np.array([[0.0, bad]]))


def test_rows_for_sums_are_never_longer_than_127() -> None:
    """Clipped, in units of clip / 127, truncated toward zero: also where floating point rounds up."""
    rng = np.random.default_rng(3)
    values = rng.normal(0, 3, (20_000, 5))
    values[:3] = [[2.8, 0, 0, 0, 0], [-1e9] * 5, [0] * 5]
    rows = statistics_rows(values, clip=2.8)
    assert rows.dtype == np.int8
    assert (np.sum(rows.astype(np.int64) ** 2, axis=1) <= 127**2).all()
    short = np.linalg.norm(values, axis=1) < 2.79
    expected = values[short] * 127 / 2.8
    assert (np.abs(rows[short]) <= np.abs(expected)).all()
    assert np.abs(rows[short] - expected).max() < 1


def test_a_row_for_sums_that_is_not_finite_is_refused() -> None:
    with pytest.raises(DataError):
        statistics_rows(np.array([[np.nan, 1]]), clip=2.5)
