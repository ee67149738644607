"""What was charged for a student is never taken back, whatever she withdraws, however campaigns end (I-9)."""

from __future__ import annotations

import tempfile
from collections import Counter
from functools import cache
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from noren_core.season.plan import CampaignPlan
from noren_server.campaigns import PlanChoices, write_plan
from noren_server.released_records import ReleasedRecords
from noren_server.store import EnrolmentRecord, Store

COMPANIES = ("alpha", "bravo", "charlie")
STUDENTS = ("s1", "s2", "s3", "s4")


@cache
def plan(number: int) -> CampaignPlan:
    choices = PlanChoices(
        campaign=f"campaign-{number}",
        task={"name": "decline", "positive": ["declined"], "negative": ["accepted"], "excluded": []},
        train_seasons=("2025",),
        score_season="2026",
    )
    return write_plan(choices, dict.fromkeys(COMPANIES, 40), "ab" * 32)


class Charges(RuleBasedStateMachine):
    """Students consent and withdraw while campaigns are published, given up, and published again."""

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory()
        self.store = Store.open(Path(self._directory.name) / "platform.db")
        with self.store.transaction() as transaction:
            for company in COMPANIES:
                key = company.encode()
                transaction.add_company(EnrolmentRecord(company, key, key, 1, b"", b"", b"", b""))
        self.consenting = set(STUDENTS)
        self.published = 0
        self.before: Counter[bytes] = Counter()

    @rule(student=st.sampled_from(STUDENTS))
    def withdraw(self, student: str) -> None:
        self.consenting.discard(student)

    @rule(student=st.sampled_from(STUDENTS))
    def give_again(self, student: str) -> None:
        self.consenting.add(student)

    @rule()
    def publish(self) -> None:
        """Charge whoever consents now; the campaign's rounds may be trained to the end or not at all."""
        if self.published < 5:
            self.published += 1
            with self.store.transaction() as transaction:
                transaction.add_campaign(plan(self.published))
            self._reserve(self.published)

    @rule(number=st.integers(1, 5))
    def publish_again(self, number: int) -> None:
        """After an interruption, with those who consent by then."""
        if number <= self.published:
            self._reserve(number)

    def _reserve(self, number: int) -> None:
        assigned = {student: COMPANIES[place % 3] for place, student in enumerate(STUDENTS)}
        consenting = {student: assigned[student] for student in self.consenting}
        if not consenting:
            return
        assert ReleasedRecords(self.store).reserve(plan(number), consenting) <= self.consenting

    @invariant()
    def counts_never_decrease(self) -> None:
        with self.store.transaction() as transaction:
            now = Counter(record.person for record in transaction.released_records())
        assert all(now[person] >= count for person, count in self.before.items())
        assert max(now.values(), default=0) <= 3  # campaigns that a plan lets a person be in
        self.before = now

    def teardown(self) -> None:
        self.store.close()
        self._directory.cleanup()


Charges.TestCase.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)
TestCharges = Charges.TestCase
