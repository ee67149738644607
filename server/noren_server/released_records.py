"""Who may be released in a campaign: a person's lifetime budget (docs/privacy.md §3).

Promises: a student is charged, with the whole plan, before anything of hers is computed for the campaign, and
never refunded; one whose lifetime would pass what the plan allows is left out whole, as if she had not
consented. Who that is, and that there is anybody, appears nowhere: not in logs, the ledger, tables (which are
padded) or answers.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from fractions import Fraction

from noren_core.privacy.forecast import LifetimeLimits
from noren_core.privacy.person_budget import PersonBudget
from noren_core.season.plan import CampaignPlan
from noren_core.season.round_event import plan_event
from noren_server.store import ReleasedRecord, Store


class ReleasedRecords:
    """The records of one platform."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def reserve(self, plan: CampaignPlan, assigned: Mapping[str, str]) -> frozenset[str]:
        """Charge students with a published plan; who may be released.

        All in one transaction, on disk before this returns:

        1. What every student was released in before, by her keyed hash.
        2. Who was charged with this campaign before, by a publication that was interrupted, may be released
           at the company that she was charged for, and at no other.
        3. Of the others, those whose lifetime has room for the plan are charged.

        Args:
            plan: a published plan.
            assigned: student to the company at which she would train.
        """
        with self._store.transaction() as transaction:
            key = transaction.person_key()
        students = {_person(student, key): student for student in assigned}
        with self._store.transaction() as transaction:
            earlier = {known.campaign: plan_event(known) for known in transaction.plans()}
            budget = PersonBudget(plan_event(plan), person_limits(plan), earlier=earlier)
            history = _History(plan.campaign)
            for record in transaction.released_records():  # 1
                history.add(record)
            kept = [  # 2
                person
                for person, company in history.charged.items()
                if person in students and assigned[students[person]] == company
            ]
            fresh = [  # 3
                person
                for person in students
                if person not in history.charged and budget.has_room(history.of(person))
            ]
            transaction.add_released_records(
                [ReleasedRecord(person, plan.campaign, assigned[students[person]]) for person in fresh]
            )
        return frozenset(students[person] for person in (*kept, *fresh))


class _History:
    """What everybody was released in; people with the same history share one set."""

    def __init__(self, campaign: str) -> None:
        self._campaign = campaign
        self._released: dict[bytes, frozenset[str]] = {}
        self._grown: dict[tuple[frozenset[str], str], frozenset[str]] = {}
        self.charged: dict[bytes, str] = {}
        """Person to company, in the campaign itself."""

    def add(self, record: ReleasedRecord) -> None:
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
