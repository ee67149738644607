"""Comparing what the companies got with what others could have got, knowing everything.

Only the evaluator can do this: it reads the bands of every company, the truth of the scored season, the
clean embeddings and the outcomes. Everybody is compared on the same people, those with a score.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from noren_client import alignment, calibration, campaign_files, company_secrets
from noren_client.applicants import Decision, read_applicants
from noren_client.gate import score_records
from noren_client.rights.custody import CustodyStore
from noren_core.crypto.sealed_files import SealedFiles
from noren_core.crypto.vault import Vault
from noren_core.errors import DataError
from noren_core.ids import normalise_identifier
from noren_core.rights.purposes import Purpose
from noren_core.season.plan import TrainingMode
from noren_demo import evaluation
from noren_demo.parties import secrets_at_hand
from noren_demo.people import POSITION, Choice, StudentChoice, read_choices, read_truth
from noren_demo.reference_models import LabelledRows, reference_scores
from noren_demo.season_data import OutcomeClass, Task
from noren_demo.summary import Learnt, ModelResult, SeasonSummary, TaskResult, Verification
from noren_local import passphrase
from noren_server import behaviour_data, features
from noren_server.embeddings import Cohort, EmbeddedCohort, build_embeddings
from noren_server.encoder import standardise
from noren_server.event_log import event_table
from noren_server.features import StudentSeason

if TYPE_CHECKING:
    from noren_demo.season import Season

REFERENCE_DIMENSIONS = 32
_MODEL_NAMES = {
    "index": "label-free engagement index",
    "local": "best local-only, not private",
    "pooled linear": "pooled linear, not private",
    "pooled boosting": "pooled boosting, not private",
}

_Key = tuple[str, str, bytes]  # company, season, normalised identifier


@dataclass(frozen=True, slots=True)
class EmbeddedPeople:
    """Clean coordinates and standardised features of one cohort, with its people's keys."""

    item: EmbeddedCohort
    features: np.ndarray[Any, np.dtype[np.float64]]
    keys: tuple[_Key, ...]


@dataclass(frozen=True, slots=True)
class Scored:
    """One opened score of one company."""

    score: int
    probability: float
    band: int


@dataclass(frozen=True, slots=True, eq=False)
class TaskPeople:
    """The people of one task with their outcomes: who could be trained on, and who was scored.

    Attributes:
        train: the people of past seasons.
        train_students: their accounts, in the same order.
        score: the people with a score.
        score_students: their accounts.
        scored: what their companies opened.
    """

    train: LabelledRows
    train_students: tuple[str, ...]
    score: LabelledRows
    score_students: tuple[str, ...]
    scored: tuple[Scored, ...]


def results(season: Season, report: Mapping[str, Any]) -> tuple[TaskResult, ...]:
    """How every task came out; while logs and features are still there."""
    embedded = embed(season)
    return tuple(_task_result(season, task, embedded, report) for task in season.data.tasks)


def summarise(season: Season, tasks: tuple[TaskResult, ...], verification: Verification) -> SeasonSummary:
    """The season's summary."""
    return SeasonSummary(
        data=f"{season.data.source}, {len(season.data.companies)} companies",
        mode="in process" if season.options.in_process else "separate processes",
        tasks=tasks,
        phases=season.monitor.phases,
        processes=season.monitor.processes(),
        parties=season.monitor.parties(),
        traffic=season.traffic,
        learnt=_learnt(season.options.mode),
        verification=verification,
        rights=tuple(season.story.steps),
        notes=tuple(season.notes),
    )


def embed(season: Season, *, dimensions: int = REFERENCE_DIMENSIONS) -> list[EmbeddedPeople]:
    """Clean embeddings of every consented cohort, as no company ever gets them."""
    data = behaviour_data.load(season.places.platform / "logs")
    consented = _consented(season, data.seasons)
    cohorts = {
        is_past: [
            Cohort(company, known, tuple(choice.student for choice in consented[company, known.name]))
            for company, name in consented
            for known in data.seasons
            if (known.name, known.is_past) == (name, is_past)
        ]
        for is_past in (True, False)
    }
    items = build_embeddings(
        data.events, cohorts[True], cohorts[False], dimensions=dimensions, config=data.features
    )
    accounts = list(
        dict.fromkeys(StudentSeason(s, i.cohort.season) for i in items for s in i.cohort.students)
    )
    with event_table(data.events) as events:
        matrix = features.build_features(events, accounts, data.features)
    row = {account: number for number, account in enumerate(accounts)}
    result = []
    for item in items:
        known, company = item.cohort.season, item.cohort.company
        keys = tuple(
            (company, known.name, normalise_identifier(c.identifier_kind, c.identifier, POSITION))
            for c in consented[company, known.name]
        )
        rows = [row[StudentSeason(student, known)] for student in item.cohort.students]
        result.append(EmbeddedPeople(item, standardise(matrix[rows]), keys))
    return result


def _consented(
    season: Season, seasons: Sequence[features.Season]
) -> dict[tuple[str, str], tuple[StudentChoice, ...]]:
    """Who gave a consent and did not take it back at once, by company and season, sorted by student."""
    past = {known.name: known.is_past for known in seasons}
    found: dict[tuple[str, str], list[StudentChoice]] = {}
    for choice in read_choices(season.files.choices):
        purpose = Purpose.TRAIN if past[choice.season] else Purpose.SCORE
        if choice.choice is Choice.GIVES and choice.purpose is purpose:
            found.setdefault((choice.company, choice.season), []).append(choice)
    return {key: tuple(sorted(group, key=lambda c: c.student)) for key, group in sorted(found.items())}


def task_people(season: Season, task: Task, embedded: Sequence[EmbeddedPeople]) -> TaskPeople:
    """The people of `task`, with coordinates as in `embedded`."""
    from noren_demo.season import campaign_name

    campaign = campaign_name(task)
    scored = _scores(season, campaign)
    past = [e for e in embedded if e.item.cohort.season.is_past]
    current = [e for e in embedded if not e.item.cohort.season.is_past]
    known, truth = _known_outcomes(season, season.joined[campaign]), _true_outcomes(season)
    return TaskPeople(
        train=_labelled(past, known, task),
        train_students=_students_of(past, known, task),
        score=_labelled(current, truth, task, only=scored),
        score_students=_students_of(current, truth, task, only=scored),
        scored=tuple(scored[key] for key in _keys_of(current, truth, task, only=scored)),
    )


def _task_result(
    season: Season, task: Task, embedded: Sequence[EmbeddedPeople], report: Mapping[str, Any]
) -> TaskResult:
    from noren_demo.season import campaign_name

    campaign = campaign_name(task)
    people = task_people(season, task, embedded)
    train, score, ours = people.train, people.score, people.scored
    probabilities = np.array([item.probability for item in ours])
    sizes = Counter(str(company) for company in train.companies)
    models = {"federated, private, sealed": probabilities}
    models |= {_MODEL_NAMES[name]: values for name, values in reference_scores(train, score).items()}
    plan = plan_of(season, campaign)
    progress = season.progress[campaign]
    return TaskResult(
        task=task.name,
        companies=len(season.data.companies),
        trained_companies=len(season.joined[campaign]),
        training_rows=len(train.labels),
        scored=len(ours),
        base_rate=float(score.labels.mean()),
        models=tuple(_model_result(name, values, score, sizes) for name, values in models.items()),
        calibration_gap=evaluation.calibration_gap(labels=score.labels, probabilities=probabilities),
        bands=_bands(ours),
        observed_by_band=_observed(ours, score.labels),
        epsilon=_largest(report["rounds"], campaign),
        delta=float(plan["training"]["delta"]),
        row_epsilon=_largest(report["rows"], campaign),
        row_delta=float((plan.get("rows") or plan["statistics"])["delta"]),
        rounds=int(progress["rounds"]),
        round_seconds=tuple(progress["round_seconds"]),
        training_mode=str(plan["mode"]),
    )


def _model_result(
    name: str, values: np.ndarray[Any, Any], score: LabelledRows, sizes: Mapping[str, int]
) -> ModelResult:
    found = evaluation.evaluate(
        labels=score.labels,
        scores=np.asarray(values, dtype=np.float64),
        companies=score.companies,
        training_rows=sizes,
    )
    return ModelResult(
        name, found.overall.auc, {bucket: ranking.auc for bucket, ranking in found.by_size.items()}
    )


def _scores(season: Season, campaign: str) -> dict[_Key, Scored]:
    """Every score that a company computed and every band that it kept, by person.

    Companies keep bands alone. What they were made of is computed again: the head that a company sent, times
    the features that the platform holds, which is the integer that it decrypted.
    """
    result: dict[_Key, Scored] = {}
    for company in season.joined[campaign]:
        with secrets_at_hand(season.places, company, is_protected=not season.options.in_process):
            result |= _scores_of(season, company, campaign)
    return result


def _scores_of(season: Season, company: str, campaign: str) -> dict[_Key, Scored]:
    directory = season.places.company(company)
    plan = campaign_files.load_plan(directory, campaign)
    sent = season.sent_with[company]
    with CustodyStore(directory) as custody:
        bands = {
            person.identifier: score.score.committed.record.band + 1
            for person, score in score_records.iter_records(directory, sent, custody)
            if person.campaign == campaign
        }
    head = calibration.integer_head(campaign_files.load_head(directory, campaign), plan)
    integers = _integers(season, company, sent, head.weights)
    known = [key for key in bands if key in integers]
    rate = calibration.base_rate(alignment.past_labels(directory, plan))
    values = calibration.probabilities([integers[key] for key in known], unit=head.unit, rate=rate)
    return {
        (company, plan.score_season, key): Scored(integers[key], float(value), bands[key])
        for key, value in zip(known, values, strict=True)
    }


def _integers(season: Season, company: str, campaign: str, weights: Sequence[int]) -> dict[bytes, int]:
    """The score of everybody with features for this company, by identifier."""
    choices = {
        choice.student: choice
        for choice in read_choices(season.files.choices)
        if (choice.company, choice.purpose) == (company, Purpose.SCORE)
    }
    path = season.places.platform / "embeddings" / campaign / f"{company}-score.npz"
    with np.load(path, allow_pickle=False) as file:
        students, values = file["students"], file["values"].astype(np.int64)
    scores = values @ np.array(weights, dtype=np.int64)
    return {
        normalise_identifier(choice.identifier_kind, choice.identifier, POSITION): int(score)
        for student, score in zip(students, scores, strict=True)
        if (choice := choices.get(str(student))) is not None
    }


def secret_file(season: Season, company: str, campaign: str, name: str) -> bytes:
    """What the company keeps, opened with the passphrase that the demo gave it."""

    def unlock(header: bytes) -> Vault:
        return Vault.open(passphrase.from_file(season.places.passphrase(company)), header)

    stored = company_secrets.stored_in(season.places.company(company))
    files = SealedFiles(stored, unlock, must_be_protected=lambda: False)
    found = files.read(campaign_files.secret_name(campaign, name))
    if found is None:
        raise DataError(f"evaluation: expected {name} of every company that scored, got none")
    return found.reveal()


def _known_outcomes(season: Season, companies: Sequence[str]) -> dict[_Key, str]:
    """Outcomes of past seasons, from these companies' own files; those of others may not be readable."""
    return {
        (company, row.season, row.key): row.outcome
        for company in companies
        for row in read_applicants(season.files.applicants(company))
        if row.decision is Decision.OFFER and row.outcome
    }


def _true_outcomes(season: Season) -> dict[_Key, str]:
    return {
        (t.company, t.season, normalise_identifier(t.identifier_kind, t.identifier, POSITION)): t.outcome
        for t in read_truth(season.files.truth)
    }


def _positions(
    embedded: EmbeddedPeople, outcomes: Mapping[_Key, str], task: Task, only: Mapping[_Key, Any] | None
) -> list[int]:
    return [
        position
        for position, key in enumerate(embedded.keys)
        if key in outcomes
        and task.outcomes[outcomes[key]] is not OutcomeClass.EXCLUDED
        and (only is None or key in only)
    ]


def _keys_of(
    embedded: Sequence[EmbeddedPeople], outcomes: Mapping[_Key, str], task: Task, *, only: Mapping[_Key, Any]
) -> list[_Key]:
    return [e.keys[p] for e in embedded for p in _positions(e, outcomes, task, only)]


def _students_of(
    embedded: Sequence[EmbeddedPeople],
    outcomes: Mapping[_Key, str],
    task: Task,
    *,
    only: Mapping[_Key, Any] | None = None,
) -> tuple[str, ...]:
    return tuple(e.item.cohort.students[p] for e in embedded for p in _positions(e, outcomes, task, only))


def _labelled(
    embedded: Sequence[EmbeddedPeople],
    outcomes: Mapping[_Key, str],
    task: Task,
    *,
    only: Mapping[_Key, Any] | None = None,
) -> LabelledRows:
    """The people of these cohorts whose outcome counts for the task."""
    chosen = [(e, _positions(e, outcomes, task, only)) for e in embedded]
    return LabelledRows(
        coordinates=np.vstack([e.item.values[p] for e, p in chosen]),
        features=np.vstack([e.features[p] for e, p in chosen]),
        index=np.concatenate([e.item.index[p] for e, p in chosen]),
        companies=np.concatenate([[e.item.cohort.company] * len(p) for e, p in chosen]).astype(np.str_),
        labels=np.array(
            [task.outcomes[outcomes[e.keys[i]]] is OutcomeClass.POSITIVE for e, p in chosen for i in p]
        ),
    )


def _bands(scored: Sequence[Scored]) -> dict[str, int]:
    return {str(band): count for band, count in sorted(Counter(item.band for item in scored).items())}


def _observed(scored: Sequence[Scored], labels: np.ndarray[Any, np.dtype[np.bool_]]) -> dict[str, float]:
    bands = np.array([item.band for item in scored])
    return {str(band): float(labels[bands == band].mean()) for band in np.unique(bands)}


def plan_of(season: Season, campaign: str) -> dict[str, Any]:
    """The plan as the companies accepted it."""
    company = season.joined[campaign][0]
    path = season.places.company(company) / "campaigns" / campaign / "plan.json"
    plan: dict[str, Any] = json.loads(path.read_bytes())
    return plan


def _largest(spent: Sequence[Mapping[str, Any]], campaign: str) -> float:
    return max(float(item["epsilon"]) for item in spent if item["campaign"] == campaign)


def _learnt(mode: TrainingMode) -> tuple[Learnt, ...]:
    rows = "noised rows" if mode is TrainingMode.NOISED_ROWS else "one noisy sum of the rows"
    return (
        Learnt(
            "platform",
            "padded batch and table sizes, which companies took part, one blinded sum per round, sizes and "
            "times; from students themselves, who holds an offer; that copies were deposited",
            "outcomes, who was refused, any model, any score or band",
        ),
        Learnt(
            "each company",
            f"{rows} of its own consenting applicants of past seasons, the head, bands of its own consenting "
            "offerees, after it had sealed every decision",
            "logs, clean embeddings, anything about anyone else, whether a person without a row never "
            "consented, withdrew or has no data, other companies' updates",
        ),
        Learnt(
            "auditor",
            "that the ledger is consistent, what every round spent, which companies took part",
            "rows, outcomes, models, scores; whether noise was really drawn (that takes a replay on site)",
        ),
    )
