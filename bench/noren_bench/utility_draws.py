"""Seasons repeated without their cryptography: the same noise, rounds, head and integer scores, drawn again.

One season is one draw of all noise, and says little about how good the next one will be. A draw here calls
what platform and companies call (`noised_training_rows` and `noised_update`, or `statistics_rows` and
`noised_sums`; then `HeadState`, `integer_head`, `quantise_int8`, `probabilities`) on the same people under
the same plan. Left out is what changes no number: alignment, masks and blinds, which cancel, and the
encryption of weights, heads and scores, which is exact.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from noren_client import calibration
from noren_client.calibration import IntegerHead
from noren_client.mechanism import noised_update
from noren_client.opened_sums import OpenedSums
from noren_client.sums_mechanism import noised_sums
from noren_core.errors import VerificationError
from noren_core.privacy.discrete_gaussian import NoiseStream, sample
from noren_core.season.head import WEIGHT_SCALE, HeadState, row_scale
from noren_core.season.plan import CampaignPlan
from noren_demo.evaluation import BoolArray, FloatArray, NameArray
from noren_demo.evaluation_of_season import TaskPeople
from noren_demo.reference_models import LabelledRows
from noren_server.embeddings import noised_training_rows, statistics_rows
from noren_server.encoder import clip_rows, quantise_int8
from noren_server.publication import training_company


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """One season's scores of the same people.

    Attributes:
        scores: (n,) what the companies open.
        exact: (n,) what they would open if weights and coordinates were not integers.
        probabilities: (n,) after each company's own calibration.
    """

    scores: FloatArray
    exact: FloatArray
    probabilities: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class _Company:
    """Clean coordinates and outcomes of those who train at one company."""

    rows: FloatArray
    labels: BoolArray


def draw_noised_rows(plan: CampaignPlan, people: TaskPeople, trained: Sequence[str]) -> Draw:
    """One more season of a plan that releases noised rows.

    Args:
        plan: as the companies accepted it.
        people: with as many clean coordinates as the plan's rows have.
        trained: the companies that took part in the rounds.
    """
    companies = _training_sets(plan, people, trained)
    return _scored(plan, people, companies, _rounds(plan, companies))


def draw_sealed_statistics(plan: CampaignPlan, people: TaskPeople, trained: Sequence[str]) -> Draw:
    """One more season of a plan with sealed statistics; arguments as for `draw_noised_rows`."""
    companies = _training_sets(plan, people, trained)
    return _scored(plan, people, companies, _step(plan, companies))


def exact_scores(plan: CampaignPlan, people: LabelledRows, released: Sequence[int]) -> FloatArray:
    """What a released head says of these people without rounding anything to integers."""
    weights = np.array(released[:-1], dtype=np.float64) / WEIGHT_SCALE
    scores: FloatArray = clip_rows(people.coordinates, clip=float(plan.release.clip)) @ weights
    return scores


def verify_opened(plan: CampaignPlan, people: TaskPeople, released: Sequence[int]) -> None:
    """Whether what companies opened is the integer product of the released head and the coordinates.

    Raises:
        VerificationError: if it is not, for anyone.
    """
    expected = _integer_scores(plan, people.score, calibration.integer_head(released, plan))
    if [item.score for item in people.scored] != expected.tolist():
        raise VerificationError("scores: expected the product of head and coordinates, got other numbers")


def _scored(
    plan: CampaignPlan, people: TaskPeople, companies: Mapping[str, _Company], released: Sequence[int]
) -> Draw:
    """What this head says of the people to score, and each company's calibration makes of it."""
    head = calibration.integer_head(released, plan)
    integers = _integer_scores(plan, people.score, head)
    probabilities = np.zeros(len(integers))
    for name, company in companies.items():
        own = people.score.companies == name
        rate = calibration.base_rate(company.labels.astype(np.float64))
        probabilities[own] = calibration.probabilities(integers[own].tolist(), unit=head.unit, rate=rate)
    return Draw(integers.astype(np.float64), exact_scores(plan, people.score, released), probabilities)


def _integer_scores(plan: CampaignPlan, people: LabelledRows, head: IntegerHead) -> npt.NDArray[np.int64]:
    coordinates = quantise_int8(people.coordinates, clip=float(plan.release.clip)).astype(np.int64)
    scores: npt.NDArray[np.int64] = coordinates @ np.array(head.weights, dtype=np.int64)
    return scores


def _training_sets(plan: CampaignPlan, people: TaskPeople, trained: Sequence[str]) -> dict[str, _Company]:
    """Each student at one company, as when tables are published; which one is drawn anew."""
    chosen = _assigned(plan, people.train_students, people.train.companies)
    found = {}
    for name in trained:
        own = chosen & (people.train.companies == name)
        found[name] = _Company(people.train.coordinates[own], people.train.labels[own])
    return found


def _assigned(plan: CampaignPlan, students: Sequence[str], companies: NameArray) -> BoolArray:
    key = secrets.token_bytes(32)
    applied: dict[str, list[str]] = {}
    for student, company in zip(students, companies, strict=True):
        applied.setdefault(student, []).append(str(company))
    at = {
        student: training_company(student, sorted(names), campaign=plan.campaign, key=key)
        for student, names in applied.items()
    }
    return np.array([at[s] == str(c) for s, c in zip(students, companies, strict=True)], dtype=np.bool_)


def _rounds(plan: CampaignPlan, companies: Mapping[str, _Company]) -> tuple[int, ...]:
    """The released head of rows noised once and of all rounds."""
    tables = {name: _noised(plan, company.rows) for name, company in companies.items()}
    head = HeadState.initial(plan.training)
    for _ in range(plan.training.rounds):
        total = np.zeros(plan.vector_length, dtype=np.int64)
        for name, company in companies.items():
            total += noised_update(
                tables[name],
                company.labels.astype(np.int64),
                head.as_floats(),
                plan_training=plan.training,
                companies=len(companies),
                stream=NoiseStream.generate(secrets.token_bytes),
            )
        head = head.advance(total[: plan.head_length].tolist(), plan.training)
    return head.released()


def _step(plan: CampaignPlan, companies: Mapping[str, _Company]) -> tuple[int, ...]:
    """The released head of one noisy sum of each company's clean rows, and of the one round."""
    total = np.zeros(plan.vector_length, dtype=np.int64)
    for company in companies.values():
        total += noised_sums(
            _opened_sums(plan, company).values,
            plan_training=plan.training,
            companies=len(companies),
            stream=NoiseStream.generate(secrets.token_bytes),
        )
    head = HeadState.initial(plan.training)
    return head.advance(total[: plan.head_length].tolist(), plan.training).released()


def _opened_sums(plan: CampaignPlan, company: _Company) -> OpenedSums:
    """What the company opens: its weights times int8 rows, and the platform's noise."""
    statistics = plan.statistics
    rows = statistics_rows(company.rows, clip=float(statistics.clip)).astype(np.int64)
    weights = np.where(company.labels, statistics.positive, -statistics.negative)
    noise = sample(
        statistics.dimensions,
        variance=statistics.variance,
        stream=NoiseStream.generate(secrets.token_bytes),
    )
    return OpenedSums(tuple((weights @ rows + noise).tolist()))


def _noised(plan: CampaignPlan, rows: FloatArray) -> npt.NDArray[np.float64]:
    released = noised_training_rows(
        rows,
        clip=float(plan.rows.clip),
        variance=plan.rows.variance,
        random_bytes=secrets.token_bytes,
        scale=plan.rows.scale,
    )
    return released.astype(np.float64) / row_scale(plan.rows)
