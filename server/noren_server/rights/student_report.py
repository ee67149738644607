"""The platform's part of a student's report: consents, provisions and her privacy budget so far.

docs/rights/student-api.md §6. Promises: what is told is what the consent book, the provision records and the
records released say, and nothing else; no band is in it, because none is here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import ceil, isfinite

from noren_core.privacy.forecast import composed_epsilon
from noren_core.rights.disclosure.student_report import BudgetLine, ConsentLine, ProvisionLine, StudentReport
from noren_core.season.plan import CampaignPlan
from noren_core.season.round_event import plan_event
from noren_server.consents.consent_book import ConsentBook

ProvisionsOf = Callable[[str], Sequence[ProvisionLine]]
"""What was provided of a student, oldest first."""
ReleasesOf = Callable[[str], Sequence[CampaignPlan]]
"""The plans of the campaigns in which a student was released (`ReleasedRecords.plans_of`)."""
IsLogged = Callable[[str], bool]
"""Whether the platform holds behaviour logs of a student."""

DEFAULT_DELTA = "0.000001"


class StudentReports:
    """Writes the reports of one platform."""

    def __init__(
        self,
        book: ConsentBook,
        provisions_of: ProvisionsOf,
        releases_of: ReleasesOf,
        is_logged: IsLogged,
        *,
        clock: Callable[[], int],
    ) -> None:
        self._book = book
        self._provisions_of = provisions_of
        self._releases_of = releases_of
        self._is_logged = is_logged
        self._clock = clock

    def provisions(self, student: str) -> tuple[ProvisionLine, ...]:
        """What was provided of her, oldest first; her budget, which takes long, is not computed for it."""
        return tuple(self._provisions_of(student))

    def report(self, student: str) -> StudentReport:
        """Everything that the platform has to tell her."""
        records = [stored.record for stored in self._book.student_records(student)]
        return StudentReport(
            at=self._clock(),
            behaviour_logged=self._is_logged(student),
            consents=tuple(
                ConsentLine(
                    company=record.key.company,
                    position=record.key.position,
                    season=record.key.season,
                    purpose=record.key.purpose,
                    policy=record.key.policy,
                    state=record.state,
                    changed_at=record.last_time,
                )
                for record in records
            ),
            provisions=self.provisions(student),
            budget=budget_line(self._releases_of(student)),
        )


def budget_line(plans: Sequence[CampaignPlan]) -> BudgetLine:
    """What these campaigns can reveal together: ε, rounded up, at the smallest δ that one promises."""
    delta = min((plan.person.delta for plan in plans), key=Fraction, default=DEFAULT_DELTA)
    epsilon = composed_epsilon([plan_event(plan) for plan in plans], Fraction(delta)) if plans else 0.0
    shown = f"{ceil(epsilon * 1000) / 1000:.3f}" if isfinite(epsilon) else "unbounded"
    return BudgetLine(campaigns=tuple(plan.campaign for plan in plans), epsilon=shown, delta=delta)
