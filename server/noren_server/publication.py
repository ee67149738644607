"""From consents and logs to what a campaign publishes: training tables, and embeddings to score with.

Who has no live consent for a company and purpose is not in the cohort, so no feature of hers is
computed. A student who consented to several companies trains at one of them per campaign, so that her
loss in the campaign is one record's (docs/privacy.md §1); which one follows from a key, not from data.
Whoever's lifetime has no room for the plan trains nowhere (`released_records`).
"""

from __future__ import annotations

import hmac
import io
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from noren_core.errors import DataError
from noren_core.ids import PURPOSE_OF_TABLE, Purpose, TableKind, normalise_identifier
from noren_core.season.plan import CampaignPlan
from noren_local.private_file import write_private
from noren_server.behaviour_data import BehaviourData
from noren_server.consents import ConsentedStudent, ConsentTable
from noren_server.embeddings import Cohort, EmbeddedCohort, build_embeddings, noised_training_rows
from noren_server.encoder import quantise_int8
from noren_server.released_records import ReleasedRecords
from noren_server.sealed_scoring import ScoreRows


def training_company(student: str, companies: Sequence[str], *, campaign: str, key: bytes) -> str:
    """The one company at which a student trains in a campaign: rendezvous hashing under the platform's key.

    Each company's draw is independent of the others, so one more consent moves a student only if the new
    company wins.
    """

    def draw(company: str) -> bytes:
        fields = (b"noren/v1/assignment", campaign.encode(), company.encode(), student.encode())
        return hmac.digest(key, b"\0".join(fields), "sha256")

    return max(companies, key=draw)


def prepare(
    data: BehaviourData,
    plan: CampaignPlan,
    *,
    assignment_key: bytes,
    embeddings_dir: Path,
    released: ReleasedRecords,
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
) -> dict[str, list[tuple[bytes, bytes]]]:
    """Embed every consented cohort of the plan; keep int8 score embeddings on disk.

    1. Charge everybody who would train, before anything of hers is computed, or leave her out.
    2. Embed, of past seasons those who train somewhere, of the current one those to be scored.
    3. One noised row for each who trains, at her company.

    Returns:
        The training rows of each company: (identifier, payload of int16 coordinates).
    """
    past = [
        _cohort(data, company, season, Purpose.TRAIN)
        for company in plan.companies
        for season in plan.train_seasons
    ]
    assigned = _assignments(past, plan, assignment_key)
    current = [_cohort(data, company, plan.score_season, Purpose.SCORE) for company in plan.companies]
    training = released.reserve(plan, assigned)  # 1
    past = [_of_those(cohort, training) for cohort in past]
    embedded = build_embeddings(  # 2
        data.events,
        [cohort for cohort in past if cohort.students],
        [cohort for cohort in current if cohort.students],
        dimensions=plan.rows.dimensions,
        config=data.features,
    )
    for item in embedded:
        if not item.cohort.season.is_past:
            _keep_score_embedding(embeddings_dir, plan, item)
    # One record per person and company: of several past seasons the plan's last one counts, as it does
    # for the label on the company's side.
    order = {season: place for place, season in enumerate(plan.train_seasons)}
    rows: dict[str, dict[str, tuple[bytes, bytes]]] = {company: {} for company in plan.companies}
    for item in sorted(embedded, key=lambda item: order.get(item.cohort.season.name, -1)):
        if item.cohort.season.is_past:
            rows[item.cohort.company].update(_rows(data, plan, item, assigned, random_bytes))
    return {company: sorted(by_student.values()) for company, by_student in rows.items()}


def score_rows(
    consents: ConsentTable, plan: CampaignPlan, company: str, *, embeddings_dir: Path
) -> ScoreRows:
    """The students whose consent to scoring is live now, with their embeddings."""
    live = _by_student(consents.live(company, plan.score_season, Purpose.SCORE))
    path = _score_embedding_path(embeddings_dir, plan.campaign, company)
    if not path.exists():
        return ScoreRows([], np.empty((0, plan.rows.dimensions), dtype=np.int8))
    with np.load(path, allow_pickle=False) as file:
        students, values = file["students"], file["values"]
    kept = [row for row, student in enumerate(students) if str(student) in live]
    return ScoreRows([_identifier(live[str(students[row])]) for row in kept], values[kept])


def withdrawn_identifiers(
    consents: ConsentTable, plan: CampaignPlan, company: str, kind: TableKind
) -> list[bytes]:
    """Whose row in a table of this kind may not be used any more, as far as consents say.

    A training row is of the last of the plan's seasons with a live consent. Where the consent of a person's
    last season was withdrawn, an earlier season's does not keep the row in use. If it had been withdrawn
    before the table was sealed, the row is of the earlier season; nobody remembers that, and the row is given
    up too.
    """
    seasons = plan.train_seasons if kind is TableKind.TRAIN else (plan.score_season,)
    found: set[bytes] = set()
    for season in seasons:
        cohort = (company, season, PURPOSE_OF_TABLE[kind])
        found |= {_identifier(student) for student in consents.withdrawn(*cohort)}
        found -= {_identifier(student) for student in consents.live(*cohort)}
    return sorted(found)


def _cohort(data: BehaviourData, company: str, season: str, purpose: Purpose) -> Cohort:
    known = data.season(season)
    if known.is_past != (purpose is Purpose.TRAIN):
        raise DataError("plan: expected past seasons to train on and a current one to score")
    students = tuple(item.student for item in data.consents.live(company, season, purpose))
    return Cohort(company, known, students)


def _of_those(cohort: Cohort, students: Collection[str]) -> Cohort:
    return replace(cohort, students=tuple(s for s in cohort.students if s in students))


def _assignments(cohorts: Sequence[Cohort], plan: CampaignPlan, key: bytes) -> dict[str, str]:
    """Student → the company at which she trains."""
    choices: dict[str, set[str]] = {}
    for cohort in cohorts:
        for student in cohort.students:
            choices.setdefault(student, set()).add(cohort.company)
    return {
        student: training_company(student, sorted(companies), campaign=plan.campaign, key=key)
        for student, companies in choices.items()
    }


def _rows(
    data: BehaviourData,
    plan: CampaignPlan,
    item: EmbeddedCohort,
    assigned: Mapping[str, str],
    random_bytes: Callable[[int], bytes],
) -> dict[str, tuple[bytes, bytes]]:
    """The released row of each student who trains at this company: (identifier, payload)."""
    company, season = item.cohort.company, item.cohort.season
    mine = [row for row, student in enumerate(item.cohort.students) if assigned[student] == company]
    if not mine:
        return {}
    noised = noised_training_rows(
        item.values[mine],
        clip=float(plan.rows.clip),
        variance=plan.rows.variance,
        random_bytes=random_bytes,
        scale=plan.rows.scale,
    )
    live = _by_student(data.consents.live(company, season.name, Purpose.TRAIN))
    return {
        item.cohort.students[row]: (
            _identifier(live[item.cohort.students[row]]),
            payload.astype("<i2").tobytes(),
        )
        for row, payload in zip(mine, noised, strict=True)
    }


def _keep_score_embedding(directory: Path, plan: CampaignPlan, item: EmbeddedCohort) -> None:
    buffer = io.BytesIO()
    np.savez(
        buffer,
        students=np.array(item.cohort.students, dtype=np.str_),
        values=quantise_int8(item.values, clip=float(plan.rows.clip)),
    )
    write_private(_score_embedding_path(directory, plan.campaign, item.cohort.company), buffer.getvalue())


def _score_embedding_path(directory: Path, campaign: str, company: str) -> Path:
    return directory / campaign / f"{company}-score.npz"


def _by_student(live: Sequence[ConsentedStudent]) -> dict[str, ConsentedStudent]:
    return {item.student: item for item in live}


def _identifier(student: ConsentedStudent) -> bytes:
    return normalise_identifier(student.identifier_kind, student.identifier)
