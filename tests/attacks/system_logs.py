"""Companies' past applicants with log features, embeddings and outcomes, from the platform's real pipeline.

The made-up job site of the demo by default, so that nothing has to be downloaded; OULAD where the environment
variable NOREN_OULAD names a folder of its tables.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from attack import NotAvailableError

from noren_client.applicants import read_applicants
from noren_core.ids import normalise_identifier
from noren_core.rights.purposes import Purpose
from noren_demo.generator import GeneratorOptions, generate_season
from noren_demo.oulad import OuladOptions, convert_oulad
from noren_demo.people import POSITION, Choice, StudentChoice, read_choices
from noren_demo.season_data import OutcomeClass, SeasonData, SeasonFiles
from noren_server import features
from noren_server.behaviour_data import BehaviourData
from noren_server.encoder import Encoder, standardise
from noren_server.event_log import event_table, open_event_log
from noren_server.features import FeatureConfig, Season, StudentSeason

CLEAN_DIMENSIONS = 32
RELEASED_DIMENSIONS = 4

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Applicants:
    """One company's past applicants whose outcomes it knows, in one order throughout.

    Attributes:
        features: standardised log features, n × f; the platform alone has them.
        clean: 32 coordinates of the encoder; the platform alone has them.
        few: 4 coordinates, before noise; the platform alone has them.
        labels: 1 for a decline; the company alone has them.
    """

    features: FloatArray
    clean: FloatArray
    few: FloatArray
    labels: npt.NDArray[np.int64]


@cache
def generated() -> tuple[Applicants, ...]:
    """Eight companies of the made-up job site, 36 to 540 applicants each."""
    return _applicants(lambda root: generate_season(root, GeneratorOptions(seed=3, scale=0.6)), "decline")


@cache
def oulad() -> tuple[Applicants, ...]:
    """Six modules of the Open University as companies; the outcome is withdrawal."""
    folder = os.environ.get("NOREN_OULAD")
    if not folder:
        raise NotAvailableError("set NOREN_OULAD to a folder of the OULAD tables as Parquet")
    return _applicants(lambda root: convert_oulad(Path(folder), root, OuladOptions()), "W")


def _applicants(make: Callable[[Path], SeasonData], task: str) -> tuple[Applicants, ...]:
    with tempfile.TemporaryDirectory(prefix="noren-attack-") as directory:
        data = make(Path(directory))
        return _of_companies(data, SeasonFiles(Path(directory)), task)


def _of_companies(data: SeasonData, files: SeasonFiles, task: str) -> tuple[Applicants, ...]:
    """The platform's pipeline on everybody's past applicants."""
    config = FeatureConfig(data.activity_types, data.milestone_types)
    behaviour = BehaviourData(open_event_log(files.events), _seasons(data), config)
    choices = read_choices(files.choices)
    labels = {
        company.name: _labels(data, files, behaviour, choices, company.name, task)
        for company in data.companies
    }
    accounts = {name: sorted(known, key=lambda each: each.student) for name, known in labels.items()}
    everybody = list(dict.fromkeys(each for known in accounts.values() for each in known))
    with event_table(behaviour.events) as events:
        x = dict(zip(everybody, features.build_features(events, everybody, config), strict=True))
        y = dict(zip(everybody, features.build_targets(events, everybody, config), strict=True))
    before = {name: np.array([x[each] for each in known]) for name, known in accounts.items()}
    after = [np.array([y[each] for each in known]) for known in accounts.values()]
    weights = features.target_weights(config)
    clean, few = (
        Encoder.fit([*before.values()], after, dimensions=dimensions, target_weights=weights)
        for dimensions in (CLEAN_DIMENSIONS, RELEASED_DIMENSIONS)
    )
    return tuple(
        Applicants(
            features=standardise(block),
            clean=clean.transform(block),
            few=few.transform(block),
            labels=np.array([labels[name][each] for each in accounts[name]]),
        )
        for name, block in before.items()
    )


def _seasons(data: SeasonData) -> tuple[Season, ...]:
    return tuple(
        Season(name=s.name, start_us=s.start_us, cutoff_day=s.cutoff_day, is_past=s.is_past)
        for s in data.seasons
    )


def _labels(
    data: SeasonData,
    files: SeasonFiles,
    behaviour: BehaviourData,
    choices: Sequence[StudentChoice],
    company: str,
    task: str,
) -> dict[StudentSeason, int]:
    """The outcomes of the consenting applicants of the last past season, by account."""
    [chosen] = [each for each in data.tasks if each.name == task]
    season = behaviour.season(data.train_seasons[-1])
    outcomes = {
        row.key: row.outcome
        for row in read_applicants(files.applicants(company))
        if row.season == season.name
    }
    wanted = (company, season.name, Purpose.TRAIN, Choice.GIVES)
    found = {
        StudentSeason(each.student, season): outcomes.get(
            normalise_identifier(each.identifier_kind, each.identifier, POSITION)
        )
        for each in choices
        if (each.company, each.season, each.purpose, each.choice) == wanted
    }
    positive, negative = chosen.words(OutcomeClass.POSITIVE), chosen.words(OutcomeClass.NEGATIVE)
    return {
        account: int(outcome in positive)
        for account, outcome in found.items()
        if outcome is not None and outcome in (*positive, *negative)
    }
