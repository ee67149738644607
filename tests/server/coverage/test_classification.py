"""The SQL over whole populations gives every use the class that the rules give one person."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from random import Random

import coverage_snapshots as snapshots
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noren_core.rights.clauses import REQUIRED_CLAUSES, Clause
from noren_core.rights.consent.consent_event import Action
from noren_core.rights.coverage.classes import (
    AGREEMENTS,
    ANY,
    EVIDENCE_STATES,
    AgreementPeriod,
    CoverageClass,
    Evidence,
    PolicyPeriod,
    Register,
    Scope,
    ScreenPeriod,
    classify,
)
from noren_core.rights.purposes import Purpose
from noren_server.coverage import classification
from noren_server.coverage.classification import Question, buckets
from noren_server.coverage.snapshot_files import open_snapshot

LAST = 20  # times are 1 to 20
PURPOSES = (Purpose.LINK, Purpose.SCORE)
ALL = frozenset(Clause)
LITTLE = ALL - {Clause.THIRD_PARTY_PROVISION}

STATES = sorted(EVIDENCE_STATES) + sorted(AGREEMENTS) * 3
STUDENTS = [f"student-{number}" for number in range(60)]


def register_by(random: Random) -> Register:
    """Three versions or fewer, of which the later often change something; screens that are often fine."""
    activations = [1, *sorted(random.sample(range(2, LAST), random.randint(0, 2)))]
    policies = [
        PolicyPeriod(
            policy=f"policy-{number}",
            season=random.choice(["2026", "2026", "2026", "2027"]),
            activated_at=activated_at,
            retired_at=random.choice([0, 0, 0, 0, 18]),
            material=frozenset(random.sample(PURPOSES, random.randint(0, 2))),
        )
        for number, activated_at in enumerate(activations, start=1)
    ]
    screens = [
        ScreenPeriod(
            screen=f"s{random.randint(1, 4)}",
            route=random.choice(["web", "app"]),
            policy=f"policy-{random.randint(1, 3)}",
            company=random.choice([ANY, "company-1"]),
            position=random.choice([ANY, ANY, "position-2"]),
            purposes=frozenset(random.choice([PURPOSES, PURPOSES, PURPOSES[:1]])),
            clauses=some_clauses(random),
            verified_from=random.randint(0, 6),
            verified_until=random.randint(8, LAST),
        )
        for _ in range(random.choice([0, 40]))
    ]
    agreements = [
        AgreementPeriod(company="company-1", active_from=random.randint(0, 3)),
        AgreementPeriod(company="company-2", active_from=5, active_until=15),
    ]
    return Register({item.policy: item for item in policies}, screens, agreements)


def some_clauses(random: Random) -> frozenset[Clause]:
    return random.choice([ALL, ALL, ALL, REQUIRED_CLAUSES[Purpose.LINK], LITTLE])


def scope_by(random: Random) -> Scope:
    return Scope(
        company=f"company-{random.randint(1, 2)}",
        position=random.choice(["position-1"] * 4 + ["position-2"]),
        season=random.choice(["2026", "2026", "2027"]),
        purpose=random.choice(PURPOSES),
    )


def event_by(random: Random, seq: int, time: int, policies: list[str]) -> Evidence:
    scope = scope_by(random)
    if random.random() < 0.2:
        scope = replace(scope, company=ANY, position=ANY)
    return Evidence(
        seq=seq,
        time=time,
        scope=scope,
        policy=random.choice(policies),
        state=random.choice(STATES),
        screen=random.choice(["s1", "s2", "s3", "s4", ""]),
        clauses=some_clauses(random),
        action=random.choice([*Action, None, *[Action.TICK_UNTICKED_BOX] * 6]),
        prechecked=random.random() < 0.1,
        bundled=random.random() < 0.1,
        expires_at=random.choice([0, 0, 0, 10, 19]),
    )


def histories_by(random: Random, register: Register) -> dict[str, list[Evidence]]:
    """Events of many students in one log, in order of number and time."""
    policies = [*register.policies, *random.choice([[], [], ["policy-3"]])]
    events: dict[str, list[Evidence]] = {student: [] for student in STUDENTS}
    count = random.randint(0, 8) * len(STUDENTS)
    for seq, time in enumerate(sorted(random.choices(range(1, LAST + 1), k=count))):
        events[random.choice(STUDENTS)].append(event_by(random, seq, time, policies))
    return events


def by_sql(directory: Path, question: Question) -> dict[tuple[str, ...], str]:
    found = {}
    with open_snapshot(directory) as snapshot:
        for _ in buckets(snapshot.connection, question):
            query = """select student, company, position, season, purpose, class
                       from uses join verdicts using (point)"""
            found |= {tuple(row[:-1]): row[-1] for row in snapshot.connection.execute(query).fetchall()}
    return found


def compare(random: Random) -> set[str]:
    """Classify one random log both ways; the classes that came up."""
    register, at = register_by(random), random.randint(0, LAST + 1)
    events = histories_by(random, register)
    uses = [
        snapshots.PersonUse(student=student, scope=scope, route=random.choice(["web", "app", "elsewhere"]))
        for student in STUDENTS
        for scope in {scope_by(random) for _ in range(3)}
    ]
    expected = {
        (use.student, *snapshots.scope_columns(use.scope).values()): classify(
            use.scope, use.route, events[use.student], register, at=at
        ).value
        for use in uses
    }
    with tempfile.TemporaryDirectory() as directory:
        snapshots.write(Path(directory), snapshots.Case(register, uses, events))
        assert by_sql(Path(directory), Question(at)) == expected
    return set(expected.values())


@given(st.randoms(use_true_random=True))
@settings(max_examples=40, deadline=None)  # each example is a snapshot on disk and a run of the engine
def test_sql_and_rules_agree_on_random_histories(random: Random) -> None:
    """Whatever happened, the class of every use is the same both ways."""
    compare(random)


def test_random_histories_reach_every_class() -> None:
    """The comparison is no empty one: histories like these fall into each of the nine classes."""
    seeded = (Random(seed) for seed in range(12))  # noqa: S311 (the same logs in every run)
    assert set().union(*(compare(random) for random in seeded)) == set(CoverageClass)


def test_buckets_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """People taken in several buckets get the classes that they get in one."""
    scope = Scope(company="company-1", position="position-1", season="2026", purpose=Purpose.SCORE)
    uses = [snapshots.PersonUse(student=f"student-{number}", scope=scope) for number in range(50)]
    register = Register({}, [], [])
    directory = snapshots.write(tmp_path, snapshots.Case(register, uses))
    whole = by_sql(directory, Question(5))
    monkeypatch.setattr(classification, "ROWS_PER_BUCKET", 7)
    assert by_sql(directory, Question(5)) == whole
    assert set(whole.values()) == {CoverageClass.NO_EVENT.value}
