"""From consents and logs to what a campaign publishes: training tables, and embeddings to score with.

Who has no consent that counts for a company and purpose is not in the cohort, so no feature of hers is
computed; no row is handed on but with a permit, redeemed then, and a provision that is written down. A
student who consented to several companies trains at one of them per campaign, so that her loss in the
campaign is one record's (docs/privacy.md §1); which one follows from a key, not from data. Whoever's lifetime
has no room for the plan trains nowhere (`released_records`).
"""

from __future__ import annotations

import hmac
import io
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from noren_core.errors import DataError
from noren_core.ids import TableKind, normalise_identifier
from noren_core.rights.purposes import PURPOSE_OF_TABLE, Purpose
from noren_core.season.plan import CampaignPlan, TrainingMode
from noren_local.private_file import write_private
from noren_server.behaviour_data import BehaviourData
from noren_server.consents.consent_book import ConsentBook, ConsentedStudent
from noren_server.consents.consent_service import ConsentService, ProvisionSink
from noren_server.embeddings import (
    Cohort,
    EmbeddedCohort,
    build_embeddings,
    noised_training_rows,
    statistics_rows,
)
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


@dataclass(frozen=True, slots=True)
class Consents:
    """What publication asks about consents, and what stands between them and a row that leaves.

    Attributes:
        service: the consent service.
        sink: where provisions are written down.
        clock: gives Unix seconds.
        require_may_process: by campaign and company, raises unless the service runs and coverage is clear.
    """

    service: ConsentService
    sink: ProvisionSink
    clock: Callable[[], int]
    require_may_process: Callable[[str, str], None]

    @property
    def book(self) -> ConsentBook:
        """The consent book."""
        return self.service.book

    def live(self, company: str, season: str, purpose: Purpose) -> tuple[ConsentedStudent, ...]:
        """Who may be in a cohort now."""
        return self.book.live(company, season, purpose, now=self.clock())

    def provide(
        self,
        students: Sequence[ConsentedStudent],
        plan: CampaignPlan,
        *,
        company: str,
        season: str,
        purpose: Purpose,
    ) -> list[ConsentedStudent]:
        """Those of whom a row may leave now, in their order; that it does is written down.

        Raises:
            LocalProtocolError: with code SERVICE_SUSPENDED or LAUNCH_BLOCKED_COVERAGE; nothing leaves then.
        """
        self.require_may_process(plan.campaign, company)
        return self.service.provide(
            students,
            self.sink,
            campaign=plan.campaign,
            company=company,
            season=season,
            purpose=purpose,
            now=self.clock(),
        )


def prepare(
    data: BehaviourData,
    consents: Consents,
    plan: CampaignPlan,
    *,
    assignment_key: bytes,
    embeddings_dir: Path,
    released: ReleasedRecords,
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
) -> dict[str, list[tuple[bytes, bytes]]]:
    """Embed every consented cohort of the plan; keep int8 score embeddings on disk.

    1. Charge everybody who would train, before anything of hers is computed, or leave her out.
    2. Embed, of past seasons those who train somewhere, of the current one those who may be scored.
    3. For each who trains, at her company: one noised row; or, in the mode of sealed statistics, a row that
       is kept here and enters sums, and a payload that says nothing.
    4. Of those whose consent still counts, with a permit each: hand the rows on.

    Returns:
        The training rows of each company: (identifier, payload).
    """
    past = [
        _cohort(data, consents, company, season, Purpose.TRAIN)
        for company in plan.companies
        for season in plan.train_seasons
    ]
    assigned = _assignments(past, plan, assignment_key)
    current = [
        _cohort(data, consents, company, plan.score_season, Purpose.SCORE) for company in plan.companies
    ]
    training = released.reserve(plan, assigned)  # 1
    past = [_of_those(cohort, training) for cohort in past]
    embedded = build_embeddings(  # 2
        data.events,
        [cohort for cohort in past if cohort.students],
        [cohort for cohort in current if cohort.students],
        dimensions=plan.release.dimensions,
        config=data.features,
    )
    for item in embedded:
        if not item.cohort.season.is_past:
            _keep_score_embedding(embeddings_dir, plan, item)
    # One record per person and company: of several past seasons the plan's last one counts, as it does
    # for the label on the company's side.
    order = {season: place for place, season in enumerate(plan.train_seasons)}
    rows: dict[str, dict[str, _TrainingRow]] = {company: {} for company in plan.companies}
    kept = _StatisticsRows(embeddings_dir, plan)
    for item in sorted(embedded, key=lambda item: order.get(item.cohort.season.name, -1)):
        if item.cohort.season.is_past:
            mine = _trained_here(item, assigned)
            if plan.mode is TrainingMode.NOISED_ROWS:
                payloads = _noised_payloads(plan, mine, random_bytes)
            else:
                payloads = kept.add(mine)
            season = mine.cohort.season.name
            for student, payload in zip(mine.cohort.students, payloads, strict=True):
                rows[mine.cohort.company][student] = _TrainingRow(season, payload)
    kept.write()
    return {c: sorted(_provided(consents, plan, c, mine)) for c, mine in rows.items()}  # 4


def score_rows(consents: Consents, plan: CampaignPlan, company: str, *, embeddings_dir: Path) -> ScoreRows:
    """The rows of the students who may be scored now: one for every position.

    Her consents to be linked and scored count, she acknowledged the offer, and there is an embedding of hers
    (docs/rights/consent.md). Each row is provided with a permit.
    """
    season = plan.score_season
    path = _score_embedding_path(embeddings_dir, plan.campaign, company)
    if not path.exists():
        return ScoreRows([], np.empty((0, plan.release.dimensions), dtype=np.int8))
    with np.load(path, allow_pickle=False) as file:
        students, values = file["students"], file["values"]
    row_of = {str(student): row for row, student in enumerate(students)}
    permitted = consents.book.scorable(company, season, now=consents.clock())
    embedded = [item for item in permitted if item.student in row_of]
    provided = consents.provide(embedded, plan, company=company, season=season, purpose=Purpose.SCORE)
    return ScoreRows(
        [_identifier(item) for item in provided],
        values[[row_of[item.student] for item in provided]],
        [item.disclosure_key + item.mailbox for item in provided],
    )


def training_rows(consents: Consents, plan: CampaignPlan, company: str, *, embeddings_dir: Path) -> ScoreRows:
    """The students in a company's training table whose consent counts now, with the rows that enter sums."""
    path = _training_rows_path(embeddings_dir, plan.campaign, company)
    if not path.exists():
        return ScoreRows([], np.empty((0, plan.statistics.dimensions), dtype=np.int8))
    with np.load(path, allow_pickle=False) as file:
        students, seasons, values = file["students"], file["seasons"], file["values"]
    live = {s: _by_student(consents.live(company, s, Purpose.TRAIN)) for s in plan.train_seasons}
    found = [live[str(season)].get(str(student)) for student, season in zip(students, seasons, strict=True)]
    kept = [row for row, student in enumerate(found) if student is not None]
    return ScoreRows([_identifier(student) for student in found if student is not None], values[kept])


def withdrawn_identifiers(
    book: ConsentBook, plan: CampaignPlan, company: str, kind: TableKind
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
        found |= {_identifier(student) for student in book.withdrawn(*cohort)}
        found -= {_identifier(student) for student in book.standing(*cohort)}
    return sorted(found)


@dataclass(frozen=True, slots=True)
class _TrainingRow:
    """A student's payload, and the season that it is of."""

    season: str
    payload: bytes = field(repr=False)


def _cohort(data: BehaviourData, consents: Consents, company: str, season: str, purpose: Purpose) -> Cohort:
    known = data.season(season)
    if known.is_past != (purpose is Purpose.TRAIN):
        raise DataError("plan: expected past seasons to train on and a current one to score")
    return Cohort(company, known, tuple(_by_student(consents.live(company, season, purpose))))


def _provided(
    consents: Consents, plan: CampaignPlan, company: str, rows: Mapping[str, _TrainingRow]
) -> Iterable[tuple[bytes, bytes]]:
    """(identifier, payload) of those whose consent for the season of their row counts now."""
    for season in sorted({row.season for row in rows.values()}):
        live = _by_student(consents.live(company, season, Purpose.TRAIN))
        mine = [live[s] for s, row in rows.items() if row.season == season and s in live]
        for item in consents.provide(mine, plan, company=company, season=season, purpose=Purpose.TRAIN):
            yield _identifier(item), rows[item.student].payload


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


def _trained_here(item: EmbeddedCohort, assigned: Mapping[str, str]) -> EmbeddedCohort:
    """Of a cohort, those who train at its company."""
    cohort = item.cohort
    mine = [row for row, student in enumerate(cohort.students) if assigned[student] == cohort.company]
    return EmbeddedCohort(
        cohort=replace(cohort, students=tuple(cohort.students[row] for row in mine)),
        values=item.values[mine],
        index=item.index[mine],
    )


def _noised_payloads(
    plan: CampaignPlan, item: EmbeddedCohort, random_bytes: Callable[[int], bytes]
) -> list[bytes]:
    """The released row of each student, as it is sealed."""
    if not item.cohort.students:
        return []
    noised = noised_training_rows(
        item.values,
        clip=float(plan.rows.clip),
        variance=plan.rows.variance,
        random_bytes=random_bytes,
        scale=plan.rows.scale,
    )
    return [payload.astype("<i2").tobytes() for payload in noised]


class _StatisticsRows:
    """The rows that enter sums, kept for each company of the plan; of several seasons the last one counts."""

    def __init__(self, directory: Path, plan: CampaignPlan) -> None:
        self._directory = directory
        self._plan = plan
        self._rows: dict[str, dict[str, tuple[str, npt.NDArray[np.int8]]]] = {}

    def add(self, item: EmbeddedCohort) -> list[bytes]:
        """Take the students' rows; what is sealed for the company in place of each is one zero byte."""
        cohort = item.cohort
        values = statistics_rows(item.values, clip=float(self._plan.statistics.clip))
        of_company = self._rows.setdefault(cohort.company, {})
        for student, row in zip(cohort.students, values, strict=True):
            of_company[student] = (cohort.season.name, row)
        return [bytes(1)] * len(cohort.students)

    def write(self) -> None:
        """Put on disk what was taken."""
        for company, rows in self._rows.items():
            buffer = io.BytesIO()
            np.savez(
                buffer,
                students=np.array(list(rows), dtype=np.str_),
                seasons=np.array([season for season, _ in rows.values()], dtype=np.str_),
                values=np.array([row for _, row in rows.values()], dtype=np.int8).reshape(
                    -1, self._plan.statistics.dimensions
                ),
            )
            write_private(
                _training_rows_path(self._directory, self._plan.campaign, company), buffer.getvalue()
            )


def _keep_score_embedding(directory: Path, plan: CampaignPlan, item: EmbeddedCohort) -> None:
    buffer = io.BytesIO()
    np.savez(
        buffer,
        students=np.array(item.cohort.students, dtype=np.str_),
        values=quantise_int8(item.values, clip=float(plan.release.clip)),
    )
    write_private(_score_embedding_path(directory, plan.campaign, item.cohort.company), buffer.getvalue())


def _training_rows_path(directory: Path, campaign: str, company: str) -> Path:
    return directory / campaign / f"{company}-train.npz"


def _score_embedding_path(directory: Path, campaign: str, company: str) -> Path:
    return directory / campaign / f"{company}-score.npz"


def _by_student(live: Sequence[ConsentedStudent]) -> dict[str, ConsentedStudent]:
    """One of each student, in the given order: that of the first position by name."""
    found: dict[str, ConsentedStudent] = {}
    for item in live:
        found.setdefault(item.student, item)
    return found


def _identifier(student: ConsentedStudent) -> bytes:
    return normalise_identifier(student.identifier_kind, student.identifier, student.position)
