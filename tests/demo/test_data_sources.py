"""Which data a season runs on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from noren_core.errors import ConfigurationError
from noren_demo import generator, oulad
from noren_demo.data_sources import DataChoice, prepare
from noren_demo.generator import GeneratorOptions
from noren_demo.oulad import OuladOptions
from noren_demo.season_data import CompanyEntry, OutcomeClass, SeasonData, SeasonFiles, Task, read_description

GENERATED = DataChoice(
    source="generated",
    companies="",
    train_intakes=("2013B", "2013J"),
    score_intakes=("2014B",),
    tasks=("WF",),
    seed=11,
    permute_labels=True,
)
TASKS = tuple(Task(name, {"Pass": OutcomeClass.NEGATIVE}) for name in ("WF", "W", "DP"))
DATA = SeasonData("OULAD", (), TASKS, (CompanyEntry("aaa", 50),), ("view",), ())


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the sources were asked for, in place of a million events."""
    calls: list[tuple[Any, ...]] = []

    def record(result: SeasonData) -> Callable[..., SeasonData]:
        def source(*arguments: Any) -> SeasonData:
            calls.append(arguments)
            return result

        return source

    monkeypatch.setattr(generator, "generate_season", record(DATA))
    monkeypatch.setattr(oulad, "convert_oulad", record(DATA))
    return calls


def of_oulad(folder: Path, **change: Any) -> DataChoice:
    return replace(GENERATED, source=f"oulad:{folder}", **change)


def test_generated_data_follow_the_choice(tmp_path: Path, asked: list[tuple[Any, ...]]) -> None:
    """Seed and negative control reach the generator, at full size; files are where they were asked for."""
    data, files = prepare(GENERATED, tmp_path)
    assert asked == [(tmp_path, GeneratorOptions(seed=11, permute_labels=True))]
    assert (data, files) == (DATA, SeasonFiles(tmp_path))


def test_generated_data_are_a_season(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `prepare` returns is what it wrote, here at a twentieth of the size."""
    full = generator.generate_season
    monkeypatch.setattr(
        generator, "generate_season", lambda place, options: full(place, replace(options, scale=0.05))
    )
    data, files = prepare(GENERATED, tmp_path)
    assert read_description(files) == data
    assert files.choices.exists()
    assert files.truth.exists()


def test_oulad_options_follow_the_choice(tmp_path: Path, asked: list[tuple[Any, ...]]) -> None:
    """Intakes, companies, seed and negative control reach the adapter; companies are modules unless said."""
    target = tmp_path / "season"
    for companies in ("", "module-region"):
        prepare(of_oulad(tmp_path, companies=companies), target)
    expected = OuladOptions(
        companies="module",
        train_intakes=("2013B", "2013J"),
        score_intakes=("2014B",),
        seed=11,
        permute_labels=True,
    )
    assert asked == [
        (tmp_path, target, expected),
        (tmp_path, target, replace(expected, companies="module-region")),
    ]


def test_only_the_chosen_tasks_are_left(tmp_path: Path, asked: list[tuple[Any, ...]]) -> None:
    """Tasks come in the order in which they were asked for, whatever their case."""
    data, _ = prepare(of_oulad(tmp_path, tasks=("dp", "WF")), tmp_path)
    assert [task.name for task in data.tasks] == ["DP", "WF"]
    assert replace(data, tasks=TASKS) == DATA


@pytest.mark.parametrize("tasks", [("XX",), ("WF", "XX"), ()])
def test_an_unknown_task_is_refused(
    tmp_path: Path, asked: list[tuple[Any, ...]], tasks: tuple[str, ...]
) -> None:
    """The message lists what there is."""
    with pytest.raises(ConfigurationError, match="--tasks: expected some of WF, W, DP"):
        prepare(of_oulad(tmp_path, tasks=tasks), tmp_path)


@pytest.mark.parametrize(
    ("change", "option"),
    [
        ({"source": "made-up"}, "--data: expected generated or oulad:DIR"),
        ({"source": ""}, "--data: expected generated or oulad:DIR"),
        ({"source": "oulad"}, "--data: expected generated or oulad:DIR"),
        ({"source": "oulad:/no/such/folder"}, "expected a folder of Parquet tables"),
        ({"companies": "module"}, "--companies: expected it with OULAD data"),
    ],
)
def test_a_source_that_cannot_be_is_refused(
    tmp_path: Path, asked: list[tuple[Any, ...]], change: dict[str, str], option: str
) -> None:
    """An unknown source, a missing folder and companies for data that has its own are refused, unread."""
    with pytest.raises(ConfigurationError, match=option):
        prepare(replace(GENERATED, **change), tmp_path / "season")  # type: ignore[arg-type]
    assert asked == []
    assert not (tmp_path / "season").exists()
