"""Who is in what a campaign publishes: only who consents, at one company, once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noren_core.errors import ConfigurationError, DataError
from noren_core.ids import IdentifierKind, Purpose, TableKind, normalise_identifier
from noren_core.privacy import discrete_gaussian
from noren_core.season.plan import CampaignPlan
from noren_demo.generator import GeneratorOptions, generate_season
from noren_demo.season_data import SeasonFiles
from noren_server import behaviour_data, publication
from noren_server.behaviour_data import BehaviourData
from noren_server.consents import COLUMNS, ConsentTable, read_consents
from noren_server.embeddings import Cohort, EmbeddedCohort
from noren_server.event_log import EventLog
from noren_server.features import FeatureConfig, Season
from noren_server.publication import (
    prepare,
    score_rows,
    training_company,
    training_rows,
    withdrawn_identifiers,
)
from noren_server.released_records import ReleasedRecords
from noren_server.store import EnrolmentRecord, Store

KEY = b"k" * 32
SEASONS = (
    Season("2024", 0, 60, is_past=True),
    Season("2025", 10, 60, is_past=True),
    Season("2026", 20, 60, is_past=False),
)
COMPANIES = tuple(f"company-{number}" for number in range(1, 6))
TRAIN, SCORE = "train.decline_model", "score.offer_followup"

Consent = tuple[str, str, str, str]  # student, company, season, purpose
Rows = dict[str, list[tuple[bytes, bytes]]]


@pytest.fixture
def plan(plan_body: dict[str, Any]) -> CampaignPlan:
    """Five companies, two past seasons and a current one."""
    return CampaignPlan.from_body({**plan_body, "train_seasons": ["2024", "2025"]})


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[Cohort]:
    """What was asked to be embedded; an embedding is (season - 2024, student's number / 8, 0, 0)."""
    asked: list[Cohort] = []

    def build(
        events: EventLog, past: Sequence[Cohort], current: Sequence[Cohort], **_: object
    ) -> list[EmbeddedCohort]:
        asked.extend([*past, *current])
        return [
            EmbeddedCohort(cohort, embeddings(cohort), np.zeros(len(cohort.students))) for cohort in asked
        ]

    monkeypatch.setattr(publication, "build_embeddings", build)
    monkeypatch.setattr(
        discrete_gaussian, "sample", lambda count, *, variance, stream: np.zeros(count, dtype=np.int64)
    )
    return asked


def embeddings(cohort: Cohort) -> np.ndarray:
    season = float(cohort.season.name) - 2024
    return np.array([(season, int(student[1:]) / 8, 0, 0) for student in cohort.students])


def table(path: Path, consents: Sequence[Consent], *withdrawn: Consent) -> ConsentTable:
    rows = [
        ",".join(
            (*consent, "consent-code", f"Code-{consent[0]}", "withdrawn" if consent in withdrawn else "live")
        )
        for consent in (*consents, *[row for row in withdrawn if row not in consents])
    ]
    path.write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")
    return read_consents(path)


@pytest.fixture
def data(tmp_path: Path) -> Callable[..., BehaviourData]:
    def make(consents: Sequence[Consent], *withdrawn: Consent) -> BehaviourData:
        known = table(tmp_path / "consents.csv", consents, *withdrawn)
        return BehaviourData(EventLog((), 0), known, SEASONS, FeatureConfig(("view",)))

    return make


def released_records(plan: CampaignPlan, directory: Path) -> ReleasedRecords:
    """The records of a platform that published the plan, beside the directory."""
    store = Store.open(directory.with_name(f"{directory.name}-platform") / "platform.db")
    with store.transaction() as transaction:
        if transaction.campaign(plan.campaign) is None:
            transaction.add_campaign(plan)
        for company in plan.companies:
            if transaction.company(company) is None:
                key = company.encode()
                transaction.add_company(EnrolmentRecord(company, key, key, 1, b"", b"", b"", b""))
    return ReleasedRecords(store)


def published(data: BehaviourData, plan: CampaignPlan, directory: Path, *, key: bytes = KEY) -> Rows:
    released = released_records(plan, directory)
    return prepare(data, plan, assignment_key=key, embeddings_dir=directory, released=released)


def code(student: str) -> bytes:
    return normalise_identifier(IdentifierKind.CONSENT_CODE, f"Code-{student}")


def where(rows: Rows) -> dict[bytes, list[str]]:
    """The companies at which each identifier has a row."""
    found: dict[bytes, list[str]] = {}
    for company, own in rows.items():
        for identifier, _ in own:
            found.setdefault(identifier, []).append(company)
    return found


def test_who_has_no_live_consent_is_not_embedded(
    plan: CampaignPlan, data: Callable[..., BehaviourData], embedded: list[Cohort], tmp_path: Path
) -> None:
    """Withdrawn, for the other purpose, season or company: no features of hers, and no row."""
    consents = [
        ("s1", "company-1", "2025", TRAIN),
        ("s2", "company-1", "2026", SCORE),
        ("s3", "company-1", "2025", SCORE),  # past seasons are not scored
        ("s4", "company-1", "2026", TRAIN),  # nor is the current one trained on
        ("s5", "company-9", "2025", TRAIN),  # not in the cohort
        ("s6", "company-1", "2023", TRAIN),  # not in the plan
    ]
    withdrawn = [("s7", "company-1", "2025", TRAIN), ("s8", "company-1", "2026", SCORE)]
    known = data(consents, *withdrawn)
    rows = published(known, plan, tmp_path)
    assert [(c.company, c.season.name, c.students) for c in embedded] == [
        ("company-1", "2025", ("s1",)),
        ("company-1", "2026", ("s2",)),
    ]
    assert where(rows) == {code("s1"): ["company-1"]}
    assert set(rows) == set(COMPANIES)
    assert score_rows(known.consents, plan, "company-1", embeddings_dir=tmp_path).identifiers == [code("s2")]


def test_a_student_trains_at_one_company_the_same_one_each_time(
    plan: CampaignPlan, data: Callable[..., BehaviourData], embedded: list[Cohort], tmp_path: Path
) -> None:
    """With consents to all five she has one row, at a company that only key and campaign decide."""
    students = [f"s{number}" for number in range(60)]
    known = data([(s, company, "2025", TRAIN) for s in students for company in COMPANIES])
    first = where(published(known, plan, tmp_path))
    assert set(first) == {code(student) for student in students}
    assert all(len(companies) == 1 for companies in first.values())
    assert where(published(known, plan, tmp_path)) == first
    assert where(published(known, plan, tmp_path / "again", key=b"l" * 32)) != first
    assert where(published(known, replace(plan, campaign="autumn-2026"), tmp_path)) != first
    # Sixty fair draws among five leave one company with none once in 100,000 keys; this key is fixed.
    assert set(Counter(company for [company] in first.values())) == set(COMPANIES)


def test_one_company_in_one_season_and_another_in_the_next_is_still_one(
    plan: CampaignPlan, data: Callable[..., BehaviourData], embedded: list[Cohort], tmp_path: Path
) -> None:
    """Consents to different companies in different past seasons give a row at one of them, not at both."""
    students = [f"s{number}" for number in range(20)]
    consents = [(s, "company-1", "2024", TRAIN) for s in students]
    consents += [(s, "company-2", "2025", TRAIN) for s in students]
    found = where(published(data(consents), plan, tmp_path))
    assert {len(companies) for companies in found.values()} == {1}
    assert {company for [company] in found.values()} == {"company-1", "company-2"}


@settings(max_examples=50)
@given(st.text(min_size=1), st.lists(st.sampled_from(COMPANIES), min_size=2, unique=True), st.data())
def test_one_more_consent_moves_her_only_to_the_new_company(
    student: str, companies: list[str], data: st.DataObject
) -> None:
    """Neither the order of consents nor losing another company moves a student."""
    chosen = training_company(student, companies, campaign="spring", key=KEY)
    assert training_company(student, companies[::-1], campaign="spring", key=KEY) == chosen
    lost = data.draw(st.sampled_from(companies))
    left = [company for company in companies if company != lost]
    if lost != chosen:
        assert training_company(student, left, campaign="spring", key=KEY) == chosen


@pytest.mark.parametrize("seasons", [("2024", "2025"), ("2025", "2024")])
def test_a_person_in_two_past_seasons_counts_once_with_the_last(
    seasons: tuple[str, ...],
    plan: CampaignPlan,
    data: Callable[..., BehaviourData],
    embedded: list[Cohort],
    tmp_path: Path,
) -> None:
    """One row per person, from the season that the plan names last, whichever is the later one."""
    known = data([("s8", "company-1", season, TRAIN) for season in ("2024", "2025")])
    rows = published(known, replace(plan, train_seasons=seasons), tmp_path)["company-1"]
    value = (int(seasons[-1]) - 2024) * plan.rows.scale
    assert rows == [(code("s8"), np.array([value, plan.rows.scale, 0, 0], dtype="<i2").tobytes())]


def test_a_person_with_two_identifiers_still_counts_once(
    plan: CampaignPlan, data: Callable[..., BehaviourData], embedded: list[Cohort], tmp_path: Path
) -> None:
    """Who consented by code in one past season and by email in the next has one row, of the last season."""
    known = data([("s8", "company-1", season, TRAIN) for season in ("2024", "2025")])
    path = tmp_path / "consents.csv"
    path.write_text(path.read_text().replace("consent-code,Code-s8,live", "email,s8@example.org,live", 1))
    rows = published(replace(known, consents=read_consents(path)), plan, tmp_path)
    assert [identifier for identifier, _ in rows["company-1"]] == [code("s8")]


def test_each_row_is_its_own_students(
    plan: CampaignPlan, data: Callable[..., BehaviourData], embedded: list[Cohort], tmp_path: Path
) -> None:
    """Identifiers and payloads keep together, among students who train elsewhere, and come sorted."""
    students = [f"s{number}" for number in range(1, 16)]
    known = data([(s, company, "2025", TRAIN) for s in students for company in COMPANIES[:2]])
    numbers = {code(student): int(student[1:]) for student in students}
    path = tmp_path / "consents.csv"
    for number in (1, 10, 11):  # an email sorts after every code, whatever the student's place
        path.write_text(
            path.read_text().replace(f"consent-code,Code-s{number},", f"email,{number}@example.org,")
        )
        numbers[normalise_identifier(IdentifierKind.EMAIL, f"{number}@example.org")] = number
    rows = published(replace(known, consents=read_consents(path)), plan, tmp_path)
    for company in COMPANIES[:2]:
        assert rows[company] == sorted(rows[company])
        for identifier, payload in rows[company]:
            number = numbers[identifier]
            assert np.frombuffer(payload, "<i2").tolist() == [512, number * 64, 0, 0]


def test_who_withdraws_after_publication_gets_no_score_row(
    plan: CampaignPlan, data: Callable[..., BehaviourData], embedded: list[Cohort], tmp_path: Path
) -> None:
    """Consents are read when scores are made: who withdrew is left out, who came later is not there yet."""
    consents = [(f"s{n}", company, "2026", SCORE) for n in (1, 2, 4) for company in COMPANIES[:2]]
    before = data(consents)
    published(before, plan, tmp_path)
    later = table(
        tmp_path / "later.csv",
        [*consents, ("s3", "company-1", "2026", SCORE)],
        ("s2", "company-1", "2026", SCORE),
    )
    for company, expected in {"company-1": [1, 4], "company-2": [1, 2, 4]}.items():
        rows = score_rows(later, plan, company, embeddings_dir=tmp_path)
        assert rows.identifiers == [code(f"s{number}") for number in expected]
        assert rows.features.dtype == np.int8
        unit = rows.features[0, 1]  # of s1; the others are multiples of it up to rounding
        assert np.abs(rows.features[:, 1] - unit.astype(int) * np.array(expected)).max() <= 2
    nobody = table(tmp_path / "nobody.csv", [], *consents)
    rows = score_rows(nobody, plan, "company-1", embeddings_dir=tmp_path)
    assert (rows.identifiers, rows.features.shape) == ([], (0, 4))


def test_whose_row_may_not_be_used_any_more(plan: CampaignPlan, data: Callable[..., BehaviourData]) -> None:
    """Withdrawn, for this company, purpose and season of the plan; for training her last season counts."""
    known = data(
        [
            ("s1", "company-1", "2025", TRAIN),
            ("s2", "company-1", "2026", SCORE),
            ("s3", "company-1", "2025", TRAIN),  # her earlier consent is withdrawn, the later one stands
            ("s4", "company-1", "2024", TRAIN),  # the other way round
        ],
        ("s3", "company-1", "2024", TRAIN),
        ("s4", "company-1", "2025", TRAIN),
        ("s5", "company-1", "2025", TRAIN),
        ("s6", "company-1", "2026", SCORE),
        ("s7", "company-2", "2025", TRAIN),
        ("s8", "company-1", "2023", TRAIN),  # not in the plan
        ("s9", "company-1", "2025", SCORE),  # past seasons are not scored
    )
    found = {
        (company, kind): withdrawn_identifiers(known.consents, plan, company, kind)
        for company in COMPANIES[:3]
        for kind in TableKind
    }
    assert found == {
        ("company-1", TableKind.TRAIN): [code("s4"), code("s5")],
        ("company-1", TableKind.SCORE): [code("s6")],
        ("company-2", TableKind.TRAIN): [code("s7")],
        ("company-2", TableKind.SCORE): [],
        ("company-3", TableKind.TRAIN): [],
        ("company-3", TableKind.SCORE): [],
    }


def test_an_identifier_that_somebody_else_uses_now_is_not_withdrawn(
    plan: CampaignPlan, data: Callable[..., BehaviourData], tmp_path: Path
) -> None:
    """A code that one student gave up and another has a live consent with stands for the other."""
    data([("s1", "company-1", "2026", SCORE)], ("s2", "company-1", "2026", SCORE))
    path = tmp_path / "consents.csv"
    path.write_text(path.read_text().replace("Code-s2", "Code-s1"))
    consents = read_consents(path)
    assert withdrawn_identifiers(consents, plan, "company-1", TableKind.SCORE) == []


def test_a_company_without_consents_scores_nobody(
    plan: CampaignPlan, data: Callable[..., BehaviourData], embedded: list[Cohort], tmp_path: Path
) -> None:
    """Where nothing was kept, there are no rows, of the plan's width."""
    known = data([("s1", "company-1", "2026", SCORE)])
    published(known, plan, tmp_path)
    rows = score_rows(known.consents, plan, "company-2", embeddings_dir=tmp_path)
    assert (rows.identifiers, rows.features.shape) == ([], (0, plan.rows.dimensions))


def test_kept_embeddings_are_private(
    plan: CampaignPlan, data: Callable[..., BehaviourData], embedded: list[Cohort], tmp_path: Path
) -> None:
    """Files with embeddings can be read by the platform's account only, and there is none of past seasons."""
    known = data([("s1", "company-1", "2026", SCORE), ("s2", "company-2", "2025", TRAIN)])
    published(known, plan, tmp_path / "embeddings")
    files = [path for path in (tmp_path / "embeddings").rglob("*") if path.is_file()]
    assert [path.stat().st_mode & 0o777 for path in files] == [0o600]


def test_seasons_in_the_wrong_role_are_refused(
    plan: CampaignPlan, data: Callable[..., BehaviourData], embedded: list[Cohort], tmp_path: Path
) -> None:
    """A current season to train on, a past one to score and one without logs are refused before any work."""
    known = data([("s1", "company-1", "2026", TRAIN)])
    for change in ({"train_seasons": ("2026",)}, {"score_season": "2025"}):
        with pytest.raises(DataError, match="past seasons to train on"):
            published(known, replace(plan, **change), tmp_path)
    with pytest.raises(ConfigurationError, match="logs of"):
        published(known, replace(plan, score_season="2027"), tmp_path)
    assert embedded == []


# Persons


def with_limit(plan: CampaignPlan, campaign: str, **changes: Any) -> CampaignPlan:
    return replace(plan, campaign=campaign, person=replace(plan.person, **changes))


def test_whose_lifetime_has_no_room_trains_nowhere(
    plan: CampaignPlan, data: Callable[..., BehaviourData], embedded: list[Cohort], tmp_path: Path
) -> None:
    """Left out of every company's rows and of what the encoder is fitted on, and scored as before."""
    spent, fresh = ("s1", "s2", "s3"), ("s4", "s5")
    consents = [(s, company, "2025", TRAIN) for s in spent for company in COMPANIES[:2]]
    consents += [(s, "company-1", "2026", SCORE) for s in (*spent, *fresh)]
    for campaign in ("first", "second", "third"):
        found = published(data(consents), with_limit(plan, campaign), tmp_path)
        assert set(where(found)) == {code(student) for student in spent}
    embedded.clear()
    known = data([*consents, *[(s, company, "2025", TRAIN) for s in fresh for company in COMPANIES[:2]]])
    fourth = with_limit(plan, "fourth")
    assert set(where(published(known, fourth, tmp_path))) == {code(student) for student in fresh}
    assert {s for cohort in embedded if cohort.season.is_past for s in cohort.students} == set(fresh)
    rows = score_rows(known.consents, fourth, "company-1", embeddings_dir=tmp_path)
    assert rows.identifiers == [code(student) for student in (*spent, *fresh)]
    later = with_limit(plan, "fifth", campaigns=9)
    assert set(where(published(known, later, tmp_path))) == {code(s) for s in (*spent, *fresh)}


def test_everybody_is_charged_before_anything_is_computed(
    plan: CampaignPlan,
    data: Callable[..., BehaviourData],
    embedded: list[Cohort],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A crash in the middle stays charged; the same campaign again charges nobody twice and releases them."""
    known, plans = data([("s1", "company-1", "2025", TRAIN)]), [with_limit(plan, c) for c in ("a", "b", "c")]

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(publication, "build_embeddings", crash)
        for attempt in [*plans, *plans]:
            with pytest.raises(KeyboardInterrupt):
                published(known, attempt, tmp_path)
        with pytest.raises(KeyboardInterrupt):
            published(known, with_limit(plan, "d"), tmp_path)
    for again, rows in [*((known_plan, 1) for known_plan in plans), (with_limit(plan, "d"), 0)]:
        embedded.clear()
        assert len(where(published(known, again, tmp_path))) == rows


def test_a_generated_season_from_logs_to_rows(plan: CampaignPlan, tmp_path: Path) -> None:
    """From ingested logs, every consented student of a past season has one noised row and no other has."""
    files = SeasonFiles(tmp_path / "data")
    season = generate_season(files.root, GeneratorOptions(scale=0.05))
    data = behaviour_data.ingest(
        tmp_path / "logs", events=files.events, consents=files.consents, seasons=files.description
    )
    cohort = tuple(
        replace(member, company=company.name)
        for member, company in zip(plan.cohort, season.companies, strict=False)
    )
    plan = replace(
        plan, cohort=cohort, train_seasons=season.train_seasons, score_season=season.score_seasons[0]
    )
    rows = published(data, plan, tmp_path / "embeddings")
    live = {
        item.student
        for company in plan.companies
        for item in data.consents.live(company, plan.train_seasons[0], Purpose.TRAIN)
    }
    assert sum(map(len, rows.values())) == len(live) > 50
    assert {len(payload) for own in rows.values() for _, payload in own} == {2 * plan.rows.dimensions}
    for company in plan.companies:
        consented = data.consents.live(company, plan.score_season, Purpose.SCORE)
        scored = score_rows(data.consents, plan, company, embeddings_dir=tmp_path / "embeddings")
        assert len(scored.identifiers) == len(scored.features) == len(consented)
        assert np.abs(scored.features.astype(int)).max() > 20


@pytest.fixture
def sums_plan(statistics_plan_body: dict[str, Any]) -> CampaignPlan:
    """The same companies and seasons, in the mode of sealed statistics."""
    return CampaignPlan.from_body({**statistics_plan_body, "train_seasons": ["2024", "2025"]})


def test_sums_need_rows_that_stay_here(
    sums_plan: CampaignPlan, data: Callable[..., BehaviourData], embedded: list[Cohort], tmp_path: Path
) -> None:
    """Payloads say nothing; the rows are kept for who still consents, of the last season with a consent."""
    both = [("s8", "company-1", season, TRAIN) for season in ("2024", "2025")]
    consents = [("s4", "company-1", "2024", TRAIN), *both]
    rows = published(data(consents), sums_plan, tmp_path)
    assert rows["company-1"] == sorted([(code("s4"), b"\0"), (code("s8"), b"\0")])
    kept = training_rows(data(consents).consents, sums_plan, "company-1", embeddings_dir=tmp_path)
    found = dict(zip(kept.identifiers, kept.features.tolist(), strict=True))
    unit = 127 / 2.5
    assert found == {code("s4"): [0, int(unit / 2), 0, 0], code("s8"): [int(unit), int(unit), 0, 0]}
    now = data(consents, ("s8", "company-1", "2025", TRAIN)).consents
    assert training_rows(now, sums_plan, "company-1", embeddings_dir=tmp_path).identifiers == [code("s4")]
    assert training_rows(now, sums_plan, "company-2", embeddings_dir=tmp_path).identifiers == []
