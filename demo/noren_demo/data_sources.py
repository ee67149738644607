"""Which data a season runs on: generated, or OULAD tables through the adapter."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from noren_core.errors import ConfigurationError
from noren_demo.season_data import SeasonData, SeasonFiles, Task

GENERATED = "generated"
OULAD = "oulad:"


@dataclass(frozen=True, slots=True)
class DataChoice:
    """What `scripts/demo` was asked for; `scale` multiplies the sizes of generated companies."""

    source: str
    companies: str
    train_intakes: tuple[str, ...]
    score_intakes: tuple[str, ...]
    tasks: tuple[str, ...]
    seed: int
    permute_labels: bool
    scale: float = 1.0


def prepare(choice: DataChoice, destination: Path) -> tuple[SeasonData, SeasonFiles]:
    """Write the season's files into `destination`; what they describe, with the chosen tasks only.

    Raises:
        ConfigurationError: if the source or a task is unknown.
        DataError: if the source's tables are malformed.
    """
    if choice.source == GENERATED:
        data = _generated(choice, destination)
    elif choice.source.startswith(OULAD):
        data = _oulad(choice, destination)
    else:
        raise ConfigurationError("--data: expected generated or oulad:DIR, got another text")
    return data, SeasonFiles(destination)


def _generated(choice: DataChoice, destination: Path) -> SeasonData:
    from noren_demo.generator import GeneratorOptions, generate_season

    if choice.companies:
        raise ConfigurationError("--companies: expected it with OULAD data; generated data has its own eight")
    options = GeneratorOptions(seed=choice.seed, permute_labels=choice.permute_labels, scale=choice.scale)
    return generate_season(destination, options)


def _oulad(choice: DataChoice, destination: Path) -> SeasonData:
    from noren_demo.oulad import OuladOptions, convert_oulad

    source = Path(choice.source.removeprefix(OULAD))
    if not source.is_dir():
        raise ConfigurationError("--data oulad:DIR: expected a folder of Parquet tables, got none")
    options = OuladOptions(
        companies=choice.companies or "module",
        train_intakes=choice.train_intakes,
        score_intakes=choice.score_intakes,
        seed=choice.seed,
        permute_labels=choice.permute_labels,
    )
    data = convert_oulad(source, destination, options)
    return replace(data, tasks=_chosen(data.tasks, choice.tasks))


def _chosen(known: tuple[Task, ...], names: tuple[str, ...]) -> tuple[Task, ...]:
    by_name = {task.name.lower(): task for task in known}
    missing = [name for name in names if name.lower() not in by_name]
    if missing or not names:
        raise ConfigurationError(f"--tasks: expected some of {', '.join(task.name for task in known)}")
    return tuple(by_name[name.lower()] for name in names)
