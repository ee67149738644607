"""A person's lifetime budget at the platform: charged before release, for good, and seen by nobody else."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from noren_core.privacy.accounting import epsilon_pld
from noren_core.privacy.person_budget import PersonBudget
from noren_core.season.plan import CampaignPlan
from noren_core.season.round_event import round_event
from noren_server import released_records
from noren_server.released_records import ReleasedRecords
from noren_server.store import EnrolmentRecord, ReleasedRecord, Store

COMPANIES = tuple(f"company-{number}" for number in range(1, 6))


@pytest.fixture
def plan(plan_body: dict[str, Any]) -> CampaignPlan:
    return CampaignPlan.from_body(plan_body)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A database with the companies of the cohort."""
    opened = Store.open(tmp_path / "platform.db")
    with opened.transaction() as transaction:
        for company in COMPANIES:
            key = company.encode()
            transaction.add_company(EnrolmentRecord(company, key, key, 1, b"", b"", b"", b""))
    yield opened
    opened.close()


def reserve(store: Store, plan: CampaignPlan, assigned: dict[str, str]) -> frozenset[str]:
    """Publish the plan if it is new, then charge."""
    with store.transaction() as transaction:
        if transaction.campaign(plan.campaign) is None:
            transaction.add_campaign(plan)
    return ReleasedRecords(store).reserve(plan, assigned)


def records(store: Store) -> list[ReleasedRecord]:
    with store.transaction() as transaction:
        return sorted(transaction.released_records())


def test_a_fourth_campaign_leaves_her_out(store: Store, plan: CampaignPlan) -> None:
    """As many campaigns as the plan allows, each on record; others are not concerned."""
    for number in range(3):
        assert reserve(store, replace(plan, campaign=f"c{number}"), {"s1": "company-1"}) == {"s1"}
    last = replace(plan, campaign="c3")
    assert reserve(store, last, {"s1": "company-1", "s2": "company-1"}) == {"s2"}
    assert sorted(record.campaign for record in records(store)) == ["c0", "c1", "c2", "c3"]


def test_epsilon_of_her_campaigns_is_limited(store: Store, plan: CampaignPlan) -> None:
    """What she was in composes with the plan, whatever the earlier plans were."""
    noisy = replace(plan, campaign="noisy", training=replace(plan.training, noise_multiplier="30"))
    assert reserve(store, noisy, {"s1": "company-2"}) == {"s1"}
    assert reserve(store, replace(plan, campaign="usual"), {"s2": "company-2"}) == {"s2"}
    events = [round_event(known) for known in (plan, noisy) for _ in range(3)]
    enough, little = (Fraction(f"{epsilon_pld(events, 1e-6) + more:.4f}") for more in (0.001, -0.001))
    for campaign, limit, found in (("c1", little, {"new-1"}), ("c2", enough, {"s1", "new-2"})):
        person = replace(plan.person, epsilon=str(float(limit)))
        assigned = dict.fromkeys({"s1", "s2", *found}, "company-1")
        assert reserve(store, replace(plan, campaign=campaign, person=person), assigned) == found


def test_repeating_a_publication_charges_nobody_twice(store: Store, plan: CampaignPlan) -> None:
    """Who was charged is released again at the same company, and at no other; who is new is charged."""
    assert reserve(store, plan, {"s1": "company-1", "s2": "company-1"}) == {"s1", "s2"}
    before = records(store)
    assert reserve(store, plan, {"s1": "company-1", "s2": "company-1"}) == {"s1", "s2"}
    assert records(store) == before
    assert reserve(store, plan, {"s1": "company-2", "s2": "company-1", "s3": "company-2"}) == {"s2", "s3"}
    assert len(records(store)) == 3


def test_who_was_charged_may_be_released_at_her_limit(store: Store, plan: CampaignPlan) -> None:
    """The campaign itself is not counted twice when it is published again."""
    once = replace(plan, person=replace(plan.person, campaigns=1))
    for _ in range(2):
        assert reserve(store, once, {"s1": "company-1"}) == {"s1"}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_person_ever_passes_her_limit(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Any order of publications, repeated or not, with any students, seen by a count of its own."""
    store = Store.open(tmp_path_factory.mktemp("store") / "platform.db")
    with store.transaction() as transaction:
        for company in COMPANIES:
            key = company.encode()
            transaction.add_company(EnrolmentRecord(company, key, key, 1, b"", b"", b"", b""))
    template = CampaignPlan.from_body(data.draw(st.just(BODY)))
    seen: dict[str, set[str]] = {}
    for _ in range(data.draw(st.integers(1, 8))):
        plan = replace(template, campaign=data.draw(st.sampled_from("abcdef")))
        students = data.draw(st.dictionaries(st.sampled_from("uvwxyz"), st.sampled_from(COMPANIES)))
        found = reserve(store, plan, students)
        for student in students:
            had = seen.setdefault(student, set())
            if student in found:
                had.add(plan.campaign)
            else:  # for a reason: no room, or she was charged at another company
                assert len(had - {plan.campaign}) >= 3 or plan.campaign in had
            assert len(had) <= 3
    store.close()


def test_others_can_write_while_students_are_judged(
    store: Store, plan: CampaignPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever writes at that moment gets the database at once, without waiting."""
    has_room, written = PersonBudget.has_room, []

    def judging(budget: PersonBudget, released: frozenset[str]) -> bool:
        with closing(sqlite3.connect(tmp_path / "platform.db", timeout=0, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            written.append(other.execute("UPDATE companies SET declared_size = 2").rowcount)
            other.execute("COMMIT")
        return has_room(budget, released)

    monkeypatch.setattr(PersonBudget, "has_room", judging)
    assert reserve(store, plan, {"s1": "company-1"}) == {"s1"}
    assert written == [len(COMPANIES)]


def test_who_was_charged_while_she_was_judged_is_judged_again(
    store: Store, plan: CampaignPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another campaign, published in between and unknown till then, takes the last room that she had."""
    once = replace(plan, person=replace(plan.person, campaigns=1))
    other = Store.open(tmp_path / "platform.db")
    has_room = PersonBudget.has_room

    def judging(budget: PersonBudget, released: frozenset[str]) -> bool:
        monkeypatch.setattr(PersonBudget, "has_room", has_room)
        assert reserve(other, replace(once, campaign="faster"), {"s1": "company-1"}) == {"s1"}
        return has_room(budget, released)

    monkeypatch.setattr(PersonBudget, "has_room", judging)
    assert reserve(store, once, {"s1": "company-1", "s2": "company-1"}) == {"s2"}
    other.close()
    assert [record.campaign for record in records(store) if record.campaign == "faster"] == ["faster"]
    assert len(records(store)) == 2


def test_in_a_snapshot_nothing_is_written(store: Store, plan: CampaignPlan) -> None:
    """It refuses changes, sees one state whatever others write, and leaves a connection that writes again."""
    with store.snapshot() as snapshot:
        assert snapshot.plans() == []
        with pytest.raises(OperationalError, match="readonly"):
            snapshot.add_campaign(plan)
        with store.transaction() as transaction:
            transaction.add_campaign(plan)
        assert snapshot.plans() == []
    for _ in range(2):
        assert reserve(store, plan, {"s1": "company-1"}) == {"s1"}


@pytest.mark.parametrize("batch", [1, 2, 7, 8])
def test_batches_change_nothing(
    store: Store, plan: CampaignPlan, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """Everybody is judged and charged once, however many are charged at a time."""
    monkeypatch.setattr(released_records, "_BATCH", batch)
    once = replace(plan, person=replace(plan.person, campaigns=1))
    assert reserve(store, replace(once, campaign="first"), {"s0": "company-1", "s3": "company-2"})
    assigned = {f"s{number}": COMPANIES[number % 5] for number in range(7)}
    for _ in range(2):
        assert reserve(store, once, assigned) == assigned.keys() - {"s0", "s3"}
    assert len(records(store)) == 7


BODY: dict[str, Any] = {}


@pytest.fixture(autouse=True)
def _body(plan_body: dict[str, Any]) -> None:
    BODY.update(plan_body)


def test_nothing_personal_is_stored_or_said(
    store: Store, plan: CampaignPlan, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The file holds keyed hashes, of one length for everybody; leaving out is not logged."""
    caplog.set_level(logging.DEBUG)
    once = replace(plan, person=replace(plan.person, campaigns=1))
    student = "a-student-who-can-be-recognised"
    reserve(store, once, {student: "company-1"})
    assert reserve(store, replace(once, campaign="next"), {student: "company-1"}) == frozenset()
    store.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert student.encode() not in stored
    assert [len(record.person) for record in records(Store.open(tmp_path / "platform.db"))] == [32]
    assert caplog.records == []


def test_another_platform_has_other_hashes(tmp_path: Path, plan: CampaignPlan) -> None:
    """The key is drawn anew for each database and kept in it."""
    keys = []
    for name in ("a", "b"):
        store = Store.open(tmp_path / name / "platform.db")
        with store.transaction() as transaction:
            keys.append(transaction.person_key())
        with store.transaction() as transaction:
            assert transaction.person_key() == keys[-1]
        store.close()
    assert len(set(keys)) == 2


DIE_BEFORE_COMMIT = """
import os, pathlib, signal, sys
from dataclasses import replace
from noren_server.store import Store, Transaction
from noren_server.released_records import ReleasedRecords
store = Store.open(pathlib.Path(sys.argv[1]))
with store.transaction() as transaction:
    [plan] = transaction.plans()
add = Transaction.add_released_records
def dying(self, records):
    add(self, records)
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "before":
    Transaction.add_released_records = dying
ReleasedRecords(store).reserve(plan, {"s1": "company-1", "s2": "company-2"})
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("moment", "charged"), [("before", 0), ("after", 2)])
def test_all_or_none_are_charged_when_the_platform_is_killed(
    store: Store, plan: CampaignPlan, tmp_path: Path, moment: str, charged: int
) -> None:
    """Before the commit nobody is charged and nothing was released; after it everybody stays charged."""
    with store.transaction() as transaction:
        transaction.add_campaign(plan)
    path = str(tmp_path / "platform.db")
    died = subprocess.run([sys.executable, "-c", DIE_BEFORE_COMMIT, path, moment], check=False)
    assert died.returncode == -9
    assert len(records(store)) == charged
    assert reserve(store, plan, {"s1": "company-1", "s2": "company-2"}) == {"s1", "s2"}
    assert len(records(store)) == 2
