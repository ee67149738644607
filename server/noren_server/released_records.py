"""Who may be released in a campaign: a person's lifetime budget (docs/privacy.md §3).

Promises: a student is charged, with the whole plan, before anything of hers is computed for the campaign, and
never refunded; one whose lifetime would pass what the plan allows is left out whole, as if she had not
consented. Who that is, and that there is anybody, appears nowhere: not in logs, the ledger, tables (which are
padded) or answers. While a million students are judged, others can write the database.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from fractions import Fraction

from noren_core.privacy.events import GaussianEvent
from noren_core.privacy.forecast import LifetimeLimits
from noren_core.privacy.person_budget import PersonBudget
from noren_core.season.plan import CampaignPlan
from noren_core.season.round_event import plan_event
from noren_server.store import ReleasedRecord, Store

_BATCH = 20_000  # persons charged in one transaction: it holds the database for a few tenths of a second


class LeftOut(StrEnum):
    """Why a student is left out of a campaign: inside the platform alone, never stored, logged or shown."""

    SUBJECT_BUDGET_EXCEEDED = "SUBJECT_BUDGET_EXCEEDED"
    """Her lifetime has no room for the plan."""
    CHARGED_ELSEWHERE = "CHARGED_ELSEWHERE"
    """A publication that was interrupted charged her at another company."""


class ReleasedRecords:
    """The records of one platform."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def reserve(self, plan: CampaignPlan, assigned: Mapping[str, str]) -> frozenset[str]:
        """Charge students with a published plan; who may be released.

        In batches, each of which is charged in one transaction, and all on disk before this returns. What a
        publication that was interrupted has charged stays charged; the next one goes on from there.

        Args:
            plan: a published plan.
            assigned: student to the company at which she would train.
        """
        with self._store.transaction() as transaction:
            key = transaction.person_key()
        charging = _Charging(self._store, plan)
        students = {_person(student, key): student for student in assigned}
        persons = sorted(students)  # neighbours in the database
        released: list[str] = []
        for first in range(0, len(persons), _BATCH):
            batch = {person: assigned[students[person]] for person in persons[first : first + _BATCH]}
            released += [students[person] for person in charging.charge(batch)]
        return frozenset(released)

    def plans_of(self, student: str) -> list[CampaignPlan]:
        """The plans of the campaigns in which this student was released, by name: for her own report."""
        with self._store.transaction() as transaction:
            person = _person(student, transaction.person_key())
            released = {record.campaign for record in transaction.released_records(person, person)}
            plans = transaction.plans()
        return sorted((plan for plan in plans if plan.campaign in released), key=lambda plan: plan.campaign)


class _Charging:
    """The charges of one plan."""

    def __init__(self, store: Store, plan: CampaignPlan) -> None:
        self._store = store
        self._campaign = plan.campaign
        self._earlier: dict[str, GaussianEvent] = {}
        self._budget = PersonBudget(plan_event(plan), person_limits(plan), earlier=self._earlier)

    def charge(self, assigned: Mapping[bytes, str]) -> list[bytes]:
        """Charge these persons, each with her company; who may be released.

        1. Judge everybody by what she was released in before. Meanwhile others may write.
        2. In one transaction: nothing was added about anybody among them, or all are judged again; who was
           not charged yet is charged.
        """
        among = (min(assigned), max(assigned))
        while True:
            known = self._read(*among)  # 1
            history = _History(self._campaign, known)
            reasons = {person: self._reason(history, person, company) for person, company in assigned.items()}
            released = [person for person, reason in reasons.items() if reason is None]
            fresh = [
                ReleasedRecord(person, self._campaign, assigned[person])
                for person in released
                if person not in history.charged
            ]
            with self._store.transaction() as transaction:  # 2
                if transaction.count_released_records(*among) == len(known):  # none is ever taken away
                    transaction.add_released_records(fresh)
                    return released

    def _reason(self, history: _History, person: bytes, company: str) -> LeftOut | None:
        """Why she is left out; None if she may be released.

        1. Who was charged with this campaign before, by a publication that was interrupted, may be released
           at the company that she was charged for, and at no other.
        2. Of the others, those whose lifetime has room for the plan.
        """
        charged = history.charged.get(person)
        if charged is not None:  # 1
            return None if charged == company else LeftOut.CHARGED_ELSEWHERE
        has_room = self._budget.has_room(history.of(person))  # 2
        return None if has_room else LeftOut.SUBJECT_BUDGET_EXCEEDED

    def _read(self, first: bytes, last: bytes) -> Sequence[ReleasedRecord]:
        """What was released of the persons from `first` to `last`, of campaigns whose events are known."""
        with self._store.snapshot() as snapshot:
            known = list(snapshot.released_records(first, last))
            if not {record.campaign for record in known} <= self._earlier.keys():
                self._earlier.update({plan.campaign: plan_event(plan) for plan in snapshot.plans()})
        return known


class _History:
    """What everybody was released in; people with the same history share one set."""

    def __init__(self, campaign: str, records: Iterable[ReleasedRecord]) -> None:
        self._campaign = campaign
        self._released: dict[bytes, frozenset[str]] = {}
        self._grown: dict[tuple[frozenset[str], str], frozenset[str]] = {}
        self.charged: dict[bytes, str] = {}
        """Person to company, in the campaign itself."""
        for record in records:
            self._add(record)

    def _add(self, record: ReleasedRecord) -> None:
        if record.campaign == self._campaign:
            self.charged[record.person] = record.company
            return
        before = self.of(record.person)
        grown = self._grown.get((before, record.campaign))
        if grown is None:
            grown = self._grown[before, record.campaign] = before | {record.campaign}
        self._released[record.person] = grown

    def of(self, person: bytes) -> frozenset[str]:
        """The other campaigns in which the person was released."""
        return self._released.get(person, frozenset())


def person_limits(plan: CampaignPlan) -> LifetimeLimits:
    """What the plan allows for a person's whole life."""
    limit = plan.person
    return LifetimeLimits(limit.campaigns, Fraction(limit.epsilon), Fraction(limit.delta))


def _person(student: str, key: bytes) -> bytes:
    return hmac.digest(key, b"noren/v1/person\0" + student.encode(), "sha256")
