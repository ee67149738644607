"""Who is in what a campaign publishes: only who consents, at one company, once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from consenting_students import ConsentingStudents, PermissiveFacts
from hypothesis import given, settings
from hypothesis import strategies as st

from noren_core.errors import ConfigurationError, DataError, LocalProtocolError
from noren_core.ids import IdentifierKind, TableKind, normalise_identifier
from noren_core.privacy import discrete_gaussian
from noren_core.rights.consent.consent_event import Screen, SignedEvent, parse_event
from noren_core.rights.consent.consent_validity import PolicyStanding, PolicyStatus
from noren_core.rights.purposes import Purpose
from noren_core.season.plan import CampaignPlan
from noren_demo.generator import GeneratorOptions, generate_season
from noren_demo.people import read_choices
from noren_demo.season_data import SeasonFiles
from noren_demo.students import Students
from noren_server import behaviour_data, publication
from noren_server.behaviour_data import BehaviourData
from noren_server.consents.consent_book import ConsentBook
from noren_server.consents.consent_files import import_events
from noren_server.consents.consent_service import ConsentService, Provision
from noren_server.embeddings import Cohort, EmbeddedCohort
from noren_server.event_log import EventLog
from noren_server.features import FeatureConfig, Season
from noren_server.ledger_service import LedgerService
from noren_server.ledger_store import LedgerStore
from noren_server.publication import (
    Consents,
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
TRAIN, SCORE = Purpose.TRAIN, Purpose.SCORE
LOGS = BehaviourData(EventLog((), 0), SEASONS, FeatureConfig(("view",)))

Consent = tuple[str, str, str, Purpose]  # student, company, season, purpose
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


class Platform:
    """A platform's consents and what was provided under them, with students whose code is Code-<student>."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.students = ConsentingStudents()
        self.facts = PermissiveFacts()
        self.provided: list[Provision] = []
        signing, key = self.students.service_key, self.students.public_key
        ledger = stack.enter_context(
            LedgerStore(directory / "ledger.db", origin="jobs/ledger", log_key=signing)
        )
        self.book = stack.enter_context(
            ConsentBook(directory / "consents.db", service_key=key, facts=self.facts.at)
        )
        service = ConsentService(self.book, signing, LedgerService(ledger, signing))
        self.consents = Consents(service, self.provided.extend, lambda: self.students.now, lambda *_: None)

    def given(self, consents: Sequence[Consent], **options: Any) -> None:
        """Record these consents; for scoring, also that to be linked and the acknowledged offer."""
        self.record([event for consent in consents for event in self.events(consent, **options)])

    def events(self, consent: Consent, **options: Any) -> list[SignedEvent]:
        name, company, season, purpose = consent
        student, options = self.students.student(name), {"identifier": f"Code-{name}", **options}
        given = student.gives(purpose, company, season=season, **options)
        if purpose is TRAIN:
            return given
        position = options.get("position", "engineer")
        link = student.gives(Purpose.LINK, company, position, season)
        return [*given, *link, student.acknowledges_offer(company, position, season)]

    def withdrawn(self, *consents: Consent, position: str = "engineer") -> None:
        """Record that these consents, which were given, are withdrawn."""
        self.record(
            [
                self.students.student(name).withdraws(purpose, company, position, season)
                for name, company, season, purpose in consents
            ]
        )

    def record(self, events: Sequence[SignedEvent]) -> None:
        self.book.record_all(events, now=self.students.now)


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Callable[..., Platform]]:
    """Makes a platform with these consents, of which the later ones are withdrawn."""
    with ExitStack() as stack:

        def make(consents: Sequence[Consent], *withdrawn: Consent) -> Platform:
            directory = tmp_path / f"platform-{len(list(tmp_path.iterdir()))}"
            directory.mkdir()
            platform = Platform(directory, stack)
            platform.given([*consents, *[row for row in withdrawn if row not in consents]])
            platform.withdrawn(*withdrawn)
            return platform

        yield make


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


def published(
    known: Platform,
    plan: CampaignPlan,
    directory: Path,
    *,
    key: bytes = KEY,
    logs: BehaviourData = LOGS,
) -> Rows:
    released = released_records(plan, directory)
    return prepare(
        logs, known.consents, plan, assignment_key=key, embeddings_dir=directory, released=released
    )


def code(student: str, position: str = "engineer") -> bytes:
    return normalise_identifier(IdentifierKind.CONSENT_CODE, f"Code-{student}", position)


def where(rows: Rows) -> dict[bytes, list[str]]:
    """The companies at which each identifier has a row."""
    found: dict[bytes, list[str]] = {}
    for company, own in rows.items():
        for identifier, _ in own:
            found.setdefault(identifier, []).append(company)
    return found


def test_who_has_no_live_consent_is_not_embedded(
    plan: CampaignPlan, data: Callable[..., Platform], embedded: list[Cohort], tmp_path: Path
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
    plan: CampaignPlan, data: Callable[..., Platform], embedded: list[Cohort], tmp_path: Path
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
    plan: CampaignPlan, data: Callable[..., Platform], embedded: list[Cohort], tmp_path: Path
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
    data: Callable[..., Platform],
    embedded: list[Cohort],
    tmp_path: Path,
) -> None:
    """One row per person, from the season that the plan names last, whichever is the later one."""
    known = data([("s8", "company-1", season, TRAIN) for season in ("2024", "2025")])
    rows = published(known, replace(plan, train_seasons=seasons), tmp_path)["company-1"]
    value = (int(seasons[-1]) - 2024) * plan.rows.scale
    assert rows == [(code("s8"), np.array([value, plan.rows.scale, 0, 0], dtype="<i2").tobytes())]


def test_a_person_with_two_identifiers_still_counts_once(
    plan: CampaignPlan, data: Callable[..., Platform], embedded: list[Cohort], tmp_path: Path
) -> None:
    """Who consented by code in one past season and by email in the next has one row, of the last season."""
    known = data([("s8", "company-1", "2025", TRAIN)])
    known.given(
        [("s8", "company-1", "2024", TRAIN)],
        identifier_kind=IdentifierKind.EMAIL,
        identifier="s8@example.org",
    )
    rows = published(known, plan, tmp_path)
    assert [identifier for identifier, _ in rows["company-1"]] == [code("s8")]


def test_each_row_is_its_own_students(
    plan: CampaignPlan, data: Callable[..., Platform], embedded: list[Cohort], tmp_path: Path
) -> None:
    """Identifiers and payloads keep together, among students who train elsewhere, and come sorted."""
    students = [f"s{number}" for number in range(1, 16)]
    known = data([])
    numbers = {}
    for number, student in enumerate(students, start=1):
        consents = [(student, company, "2025", TRAIN) for company in COMPANIES[:2]]
        if number in (1, 10, 11):  # an email sorts after every code, whatever the student's place
            mail = f"{number}@example.org"
            known.given(consents, identifier_kind=IdentifierKind.EMAIL, identifier=mail)
            numbers[normalise_identifier(IdentifierKind.EMAIL, mail, "engineer")] = number
        else:
            known.given(consents)
            numbers[code(student)] = number
    rows = published(known, plan, tmp_path)
    for company in COMPANIES[:2]:
        assert rows[company] == sorted(rows[company])
        for identifier, payload in rows[company]:
            number = numbers[identifier]
            assert np.frombuffer(payload, "<i2").tolist() == [512, number * 64, 0, 0]


def test_who_withdraws_after_publication_gets_no_score_row(
    plan: CampaignPlan, data: Callable[..., Platform], embedded: list[Cohort], tmp_path: Path
) -> None:
    """Consents are read when scores are made: who withdrew is left out, who came later is not there yet."""
    consents = [(f"s{n}", company, "2026", SCORE) for n in (1, 2, 4) for company in COMPANIES[:2]]
    known = data(consents)
    published(known, plan, tmp_path)
    known.given([("s3", "company-1", "2026", SCORE)])
    known.withdrawn(("s2", "company-1", "2026", SCORE))
    for company, expected in {"company-1": [1, 4], "company-2": [1, 2, 4]}.items():
        rows = score_rows(known.consents, plan, company, embeddings_dir=tmp_path)
        assert rows.identifiers == [code(f"s{number}") for number in expected]
        assert rows.features.dtype == np.int8
        unit = rows.features[0, 1]  # of s1; the others are multiples of it up to rounding
        assert np.abs(rows.features[:, 1] - unit.astype(int) * np.array(expected)).max() <= 2
    known.withdrawn(*[(f"s{number}", "company-1", "2026", SCORE) for number in (1, 3, 4)])
    rows = score_rows(known.consents, plan, "company-1", embeddings_dir=tmp_path)
    assert (rows.identifiers, rows.features.shape, rows.addresses) == ([], (0, 4), [])


def test_whose_row_may_not_be_used_any_more(plan: CampaignPlan, data: Callable[..., Platform]) -> None:
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
        (company, kind): withdrawn_identifiers(known.book, plan, company, kind)
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
    plan: CampaignPlan, data: Callable[..., Platform], tmp_path: Path
) -> None:
    """A code that one student gave up and another has a live consent with stands for the other."""
    known = data([], ("s2", "company-1", "2026", SCORE))
    known.given([("s1", "company-1", "2026", SCORE)], identifier="Code-s2")
    assert withdrawn_identifiers(known.book, plan, "company-1", TableKind.SCORE) == []
    known.withdrawn(("s1", "company-1", "2026", SCORE))
    assert withdrawn_identifiers(known.book, plan, "company-1", TableKind.SCORE) == [code("s2")]


def test_a_company_without_consents_scores_nobody(
    plan: CampaignPlan, data: Callable[..., Platform], embedded: list[Cohort], tmp_path: Path
) -> None:
    """Where nothing was kept, there are no rows, of the plan's width."""
    known = data([("s1", "company-1", "2026", SCORE)])
    published(known, plan, tmp_path)
    rows = score_rows(known.consents, plan, "company-2", embeddings_dir=tmp_path)
    assert (rows.identifiers, rows.features.shape) == ([], (0, plan.rows.dimensions))


def test_kept_embeddings_are_private(
    plan: CampaignPlan, data: Callable[..., Platform], embedded: list[Cohort], tmp_path: Path
) -> None:
    """Files with embeddings can be read by the platform's account only, and there is none of past seasons."""
    known = data([("s1", "company-1", "2026", SCORE), ("s2", "company-2", "2025", TRAIN)])
    published(known, plan, tmp_path / "embeddings")
    files = [path for path in (tmp_path / "embeddings").rglob("*") if path.is_file()]
    assert [path.stat().st_mode & 0o777 for path in files] == [0o600]


def test_seasons_in_the_wrong_role_are_refused(
    plan: CampaignPlan, data: Callable[..., Platform], embedded: list[Cohort], tmp_path: Path
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
    plan: CampaignPlan, data: Callable[..., Platform], embedded: list[Cohort], tmp_path: Path
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
    data: Callable[..., Platform],
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


def test_a_generated_season_from_logs_to_rows(
    plan: CampaignPlan, data: Callable[..., Platform], tmp_path: Path
) -> None:
    """From ingested logs, every consented student of a past season has one noised row and no other has."""
    files = SeasonFiles(tmp_path / "data")
    season = generate_season(files.root, GeneratorOptions(scale=0.05))
    logs = behaviour_data.ingest(tmp_path / "logs", events=files.events, seasons=files.description)
    known = data([])
    import_choices(known, files, tmp_path)
    cohort = tuple(
        replace(member, company=company.name)
        for member, company in zip(plan.cohort, season.companies, strict=False)
    )
    plan = replace(
        plan, cohort=cohort, train_seasons=season.train_seasons, score_season=season.score_seasons[0]
    )
    rows = published(known, plan, tmp_path / "embeddings", logs=logs)
    live = {
        item.student
        for company in plan.companies
        for item in known.consents.live(company, plan.train_seasons[0], Purpose.TRAIN)
    }
    assert sum(map(len, rows.values())) == len(live) > 50
    assert {len(payload) for own in rows.values() for _, payload in own} == {2 * plan.rows.dimensions}
    for company in plan.companies:
        consented = known.book.scorable(company, plan.score_season, now=known.students.now)
        scored = score_rows(known.consents, plan, company, embeddings_dir=tmp_path / "embeddings")
        assert len(scored.identifiers) == len(scored.features) == len(consented) > 0
        assert np.abs(scored.features.astype(int)).max() > 20


def import_choices(known: Platform, files: SeasonFiles, directory: Path) -> None:
    """The students' answers of a generated season, and what they acknowledge, from files."""
    screen = Screen(*next((sha256, tuple(sorted(c))) for sha256, c in known.facts.screens.items()))
    people = Students(read_choices(files.choices), "policy-1", lambda *_: screen, known.students.service_key)
    path = directory / "events.jsonl"
    people.write_consents(path)
    now = max(parse_event(line).event.time for line in path.read_bytes().splitlines())
    known.students.tick(now)
    import_events(known.book, path, now=now)
    for company, season in {(c.company, c.season) for c in people.choices}:
        people.write_acknowledgements(path, company, season)
        import_events(known.book, path, now=now + 1)


@pytest.fixture
def sums_plan(statistics_plan_body: dict[str, Any]) -> CampaignPlan:
    """The same companies and seasons, in the mode of sealed statistics."""
    return CampaignPlan.from_body({**statistics_plan_body, "train_seasons": ["2024", "2025"]})


def test_sums_need_rows_that_stay_here(
    sums_plan: CampaignPlan, data: Callable[..., Platform], embedded: list[Cohort], tmp_path: Path
) -> None:
    """Payloads say nothing; the rows are kept for who still consents, of the last season with a consent."""
    both = [("s8", "company-1", season, TRAIN) for season in ("2024", "2025")]
    consents = [("s4", "company-1", "2024", TRAIN), *both]
    known = data(consents)
    rows = published(known, sums_plan, tmp_path)
    assert rows["company-1"] == sorted([(code("s4"), b"\0"), (code("s8"), b"\0")])
    kept = training_rows(known.consents, sums_plan, "company-1", embeddings_dir=tmp_path)
    found = dict(zip(kept.identifiers, kept.features.tolist(), strict=True))
    unit = 127 / 2.5
    assert found == {code("s4"): [0, int(unit / 2), 0, 0], code("s8"): [int(unit), int(unit), 0, 0]}
    known.withdrawn(("s8", "company-1", "2025", TRAIN))
    now = known.consents
    assert training_rows(now, sums_plan, "company-1", embeddings_dir=tmp_path).identifiers == [code("s4")]
    assert training_rows(now, sums_plan, "company-2", embeddings_dir=tmp_path).identifiers == []


# Positions, addresses and permits


def test_several_positions_are_one_training_row_and_several_score_rows(
    plan: CampaignPlan, data: Callable[..., Platform], embedded: list[Cohort], tmp_path: Path
) -> None:
    """To train she counts once, by the first position's name; each position has a score row of its own."""
    known = data([])
    for position in ("sales", "engineer", "law"):
        known.given([("s1", "company-1", "2025", TRAIN)], position=position)
        known.given([("s1", "company-1", "2026", SCORE)], position=position)
    rows = published(known, plan, tmp_path)
    assert where(rows) == {code("s1", "engineer"): ["company-1"]}
    scored = score_rows(known.consents, plan, "company-1", embeddings_dir=tmp_path)
    assert scored.identifiers == [code("s1", position) for position in ("engineer", "law", "sales")]
    assert len({row.tobytes() for row in scored.features}) == 1
    known.withdrawn(("s1", "company-1", "2025", TRAIN), ("s1", "company-1", "2026", SCORE), position="law")
    for kind in TableKind:
        assert withdrawn_identifiers(known.book, plan, "company-1", kind) == [code("s1", "law")]
    scored = score_rows(known.consents, plan, "company-1", embeddings_dir=tmp_path)
    assert scored.identifiers == [code("s1", position) for position in ("engineer", "sales")]


def test_an_address_is_disclosure_key_and_handle(
    plan: CampaignPlan, data: Callable[..., Platform], embedded: list[Cohort], tmp_path: Path
) -> None:
    """Forty-eight bytes a row, in the rows' order, another for every company."""
    consents = [(s, company, "2026", SCORE) for s in ("s1", "s2") for company in COMPANIES[:2]]
    known = data(consents)
    published(known, plan, tmp_path)
    seen = set()
    for company in COMPANIES[:2]:
        addresses = score_rows(known.consents, plan, company, embeddings_dir=tmp_path).addresses
        assert [len(address) for address in addresses] == [48, 48]
        for student, address in zip(("s1", "s2"), addresses, strict=True):
            device = known.students.student(student).device
            assert address[:32] == device.disclosure_key(company).public_key
            assert known.book.is_mailbox(company, address[32:])
        seen |= {half for address in addresses for half in (address[:32], address[32:])}
    assert len(seen) == 8


@pytest.mark.parametrize("missing", ["link", "offer"])
def test_consent_to_be_scored_alone_scores_nobody(
    missing: str,
    plan: CampaignPlan,
    data: Callable[..., Platform],
    embedded: list[Cohort],
    tmp_path: Path,
) -> None:
    """Without the consent to be linked, or without her own acknowledgement of the offer, she has no row."""
    known = data([])
    events = known.events(("s1", "company-1", "2026", SCORE))
    score, link, offer = events[:3], events[3:5], events[5:]
    known.record([*score, *(link if missing == "offer" else offer)])
    published(known, plan, tmp_path)
    assert score_rows(known.consents, plan, "company-1", embeddings_dir=tmp_path).identifiers == []
    known.record(offer if missing == "offer" else link)
    assert score_rows(known.consents, plan, "company-1", embeddings_dir=tmp_path).identifiers == [code("s1")]


def test_every_row_that_leaves_was_written_down(
    plan: CampaignPlan, data: Callable[..., Platform], embedded: list[Cohort], tmp_path: Path
) -> None:
    """One provision for each training and score row, with a permit for its company and purpose; none else."""
    training = [("s1", "company-1", "2024", TRAIN), ("s2", "company-2", "2025", TRAIN)]
    known = data([*training, ("s3", "company-1", "2026", SCORE)])
    published(known, plan, tmp_path)
    trained = [(p.student.student, p.permit.audience, p.season, p.permit.purpose) for p in known.provided]
    assert sorted(trained) == [("s1", "company-1", "2024", TRAIN), ("s2", "company-2", "2025", TRAIN)]
    known.provided.clear()
    rows = score_rows(known.consents, plan, "company-1", embeddings_dir=tmp_path)
    [provision] = known.provided
    assert (provision.campaign, provision.season) == (plan.campaign, plan.score_season)
    assert (provision.permit.purpose, provision.permit.position) == (SCORE, "engineer")
    assert rows.addresses == [provision.student.disclosure_key + provision.permit.mailbox]


def test_who_withdraws_while_features_are_computed_is_not_handed_on(
    plan: CampaignPlan,
    data: Callable[..., Platform],
    embedded: list[Cohort],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Her consent is asked for again when the rows leave; she stays charged."""
    known = data([(s, "company-1", "2025", TRAIN) for s in ("s1", "s2")])
    build = publication.build_embeddings

    def meanwhile(*arguments: Any, **options: Any) -> list[EmbeddedCohort]:
        known.withdrawn(("s2", "company-1", "2025", TRAIN))
        return build(*arguments, **options)

    monkeypatch.setattr(publication, "build_embeddings", meanwhile)
    assert where(published(known, plan, tmp_path)) == {code("s1"): ["company-1"]}
    assert [item.student.student for item in known.provided] == ["s1"]


def test_nothing_leaves_if_it_cannot_be_written_down(
    plan: CampaignPlan, data: Callable[..., Platform], embedded: list[Cohort], tmp_path: Path
) -> None:
    """The error of the record reaches the caller in place of rows."""
    known = data([("s1", "company-1", "2025", TRAIN), ("s1", "company-1", "2026", SCORE)])
    published(known, plan, tmp_path)

    def full(_: Sequence[Provision]) -> None:
        raise OSError("disk full")

    refusing = replace(known.consents, sink=full)
    with pytest.raises(OSError, match="disk full"):
        score_rows(refusing, plan, "company-1", embeddings_dir=tmp_path)
    known.consents = refusing
    with pytest.raises(OSError, match="disk full"):
        published(known, plan, tmp_path)


def test_nothing_leaves_a_platform_that_may_not_process(
    plan: CampaignPlan, data: Callable[..., Platform], embedded: list[Cohort], tmp_path: Path
) -> None:
    """Whoever asks for rows, and whenever: suspended or without coverage there is no permit and no row."""
    known = data([("s1", "company-1", "2025", TRAIN), ("s1", "company-1", "2026", SCORE)])
    published(known, plan, tmp_path)
    known.provided.clear()
    asked: list[tuple[str, str]] = []

    def stopped(campaign: str, company: str) -> None:
        asked.append((campaign, company))
        raise LocalProtocolError("stopped", code="SERVICE_SUSPENDED")

    known.consents = replace(known.consents, require_may_process=stopped)
    with pytest.raises(LocalProtocolError, match="stopped"):
        score_rows(known.consents, plan, "company-1", embeddings_dir=tmp_path)
    with pytest.raises(LocalProtocolError, match="stopped"):
        published(known, plan, tmp_path)
    assert asked == [(plan.campaign, "company-1")] * 2
    assert known.provided == []


def test_a_material_change_of_the_policy_empties_every_cohort(
    plan: CampaignPlan, data: Callable[..., Platform], embedded: list[Cohort], tmp_path: Path
) -> None:
    """March 2019: who was not shown the new notice neither trains nor is scored; no row is revoked."""
    known = data([("s1", "company-1", "2025", TRAIN), ("s1", "company-1", "2026", SCORE)])
    assert where(published(known, plan, tmp_path)) == {code("s1"): ["company-1"]}
    known.facts.policies["policy-1"] = PolicyStanding(PolicyStatus.GRACE, frozenset({TRAIN, SCORE}))
    assert score_rows(known.consents, plan, "company-1", embeddings_dir=tmp_path).identifiers == []
    embedded.clear()
    assert where(published(known, plan, tmp_path)) == {}
    assert embedded == []
    assert withdrawn_identifiers(known.book, plan, "company-1", TableKind.SCORE) == []
