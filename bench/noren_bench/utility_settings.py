"""Which seasons the utility benchmark runs, and the public facts about their people that it compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from noren_core.errors import DataError
from noren_demo.data_sources import GENERATED, OULAD, DataChoice, prepare
from noren_demo.evaluation import BoolArray
from noren_demo.generator import GeneratorOptions, generate_season
from noren_demo.season_data import SeasonData, SeasonFiles, read_description

PREPARED = "season:"

TRAIN_INTAKES, SCORE_INTAKES = ("2013B", "2013J"), ("2014B",)
ALL_TASKS = ("WF", "W", "DP")
SMALL_COMPANIES = 40
_SEED = 1
_GENERATED_SEEDS = {"": 7, "permuted": 7, "planted": 101}


@dataclass(frozen=True, slots=True)
class Setting:
    """One season to run.

    Attributes:
        name: as printed.
        data: generated, oulad:DIR, or season:DIR with the files of a season (`season_data`).
        companies: what plays the company in OULAD data.
        tasks: of OULAD data.
        control: "permuted" or "planted" for a negative control, "" for none.
        draws: how often its noise is drawn again.
        is_small: whether every company has 100 rows: measured against what each learns alone.
    """

    name: str
    data: str
    companies: str = ""
    tasks: tuple[str, ...] = ALL_TASKS
    control: str = ""
    draws: int = 10
    is_small: bool = False


def settings(data: str, *, quick: bool) -> tuple[Setting, ...]:
    """The seasons of a whole run, the most telling first."""
    controls = (
        Setting("permuted outcomes (generated)", GENERATED, control="permuted", draws=5 if quick else 10),
        Setting("outcome orthogonal to the index (generated)", GENERATED, control="planted", draws=5),
    )
    if data == GENERATED:
        return (Setting("8 generated companies", GENERATED, draws=10 if quick else 40), *controls)
    if data.startswith(PREPARED):
        return (Setting("the given season", data, draws=10 if quick else 40), *controls)
    modules = Setting("modules", data, "module", ALL_TASKS, draws=6 if quick else 40)
    if quick:
        return (modules, *controls)
    return (
        modules,
        Setting("modules × regions", data, "module-region", ("W",)),
        Setting(f"{SMALL_COMPANIES} companies × 100 rows", data, str(SMALL_COMPANIES), is_small=True),
        Setting("modules, permuted outcomes", data, "module", ("WF",), control="permuted", draws=10),
        *controls,
    )


def write_data(setting: Setting, destination: Path) -> tuple[SeasonData, SeasonFiles]:
    """The setting's files, written into `destination` unless somebody prepared them.

    Raises:
        ConfigurationError: if the data are neither generated nor in a folder that exists.
        DataError: if the tables are malformed.
    """
    permuted = setting.control == "permuted"
    if setting.data == GENERATED:
        options = GeneratorOptions(
            seed=_GENERATED_SEEDS[setting.control],
            permute_labels=permuted,
            plant_orthogonal=setting.control == "planted",
        )
        return generate_season(destination, options), SeasonFiles(destination)
    if setting.data.startswith(PREPARED):
        files = SeasonFiles(Path(setting.data.removeprefix(PREPARED)))
        return read_description(files), files
    choice = DataChoice(
        source=setting.data,
        companies=setting.companies,
        train_intakes=TRAIN_INTAKES,
        score_intakes=SCORE_INTAKES,
        tasks=setting.tasks,
        seed=_SEED,
        permute_labels=permuted,
    )
    return prepare(choice, destination)


def groups(data: str, students: Sequence[str]) -> dict[str, BoolArray]:
    """Which of these accounts belong to a group that the four-fifths rule is asked for; none if generated.

    Raises:
        DataError: if an account is not in the tables.
    """
    if not data.startswith(OULAD):
        return {}
    import duckdb

    file = Path(data.removeprefix(OULAD)) / "studentInfo.parquet"
    rows = duckdb.sql(
        f"""select lower(code_presentation || '-' || code_module || '-' || id_student),
                   gender = 'F', disability = 'Y', age_band <> '0-35'
            from read_parquet('{str(file).replace("'", "''")}')"""  # noqa: S608
    ).fetchall()
    known = {account: facts for account, *facts in rows}
    if not set(students) <= known.keys():
        raise DataError("studentInfo.parquet: expected every scored account, got fewer")
    return {
        name: np.array([bool(known[student][place]) for student in students], dtype=np.bool_)
        for place, name in enumerate(("women", "disability", "older than 35"))
    }
