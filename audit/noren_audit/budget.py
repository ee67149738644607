"""Recomputing what was spent, from the events in the ledger and nothing else.

Two numbers, never added: epsilon of the rounds (what the head says about a record), from the intents of
each company and campaign, because a round is spent when it is reserved; and epsilon of the row release
(what a company's sealed training rows say about the student), from the plan. A company's own or the
platform's idea of epsilon plays no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, inf, isfinite

from noren_audit.campaign import CampaignAudit
from noren_audit.findings import Code, Findings
from noren_audit.trust import Trust
from noren_core.errors import ConfigurationError
from noren_core.privacy.events import GaussianEvent
from noren_core.season.plan import CampaignPlan, RowRelease

# Both accountants bound the same quantity; the Rényi one is looser. The slack is the margin and the grid
# term that only the tighter one carries.
_ACCOUNTANT_SLACK = 1e-2


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundSpending:
    """What the rounds of one company in one campaign spent of a record's privacy.

    Attributes:
        releases: reserved rounds, finished or not.
        epsilon: at `delta`, by privacy loss distributions; an upper bound.
        epsilon_rdp: the same by Rényi divergences; a looser upper bound, as a cross-check.
        limit: the plan's epsilon.
    """

    campaign: str
    company: str
    releases: int
    epsilon: float
    epsilon_rdp: float
    delta: str
    limit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSpending:
    """What releasing one sealed training row spends of its student's privacy towards the company."""

    campaign: str
    epsilon: float
    delta: str
    limit: str


def rounded_up(epsilon: float) -> str:
    """Four decimals, never less than the bound."""
    return f"{ceil(epsilon * 10_000) / 10_000:.4f}" if isfinite(epsilon) else "inf"


class Budget:
    """Epsilon for every campaign; equal events, and equal row releases, are composed once."""

    def __init__(self, trust: Trust, findings: Findings) -> None:
        self._trust = trust
        self._findings = findings
        self._known: dict[tuple[tuple[GaussianEvent, ...], str], tuple[float, float]] = {}
        self._known_rows: dict[RowRelease, float] = {}

    def rounds(self, campaign: CampaignAudit) -> list[RoundSpending]:
        """Epsilon of every company that reserved a round, compared with the plan's."""
        return [
            self._company(campaign.plan, company, events)
            for company, events in sorted(campaign.events.items())
        ]

    def rows(self, plan: CampaignPlan) -> RowSpending:
        """Epsilon of the row release, compared with the plan's.

        Neighbours differ in one student's row: two vectors of norm at most `clip`, hence an L2
        sensitivity of 2 · clip · scale integer units, under discrete Gaussian noise of the plan's
        variance per coordinate.
        """
        epsilon = self._row_epsilon(plan)
        if epsilon > float(plan.rows.epsilon):
            self._findings.add(
                Code.ROW_EPSILON_EXCEEDED,
                f"expected the row release to spend at most {plan.rows.epsilon}, got {rounded_up(epsilon)}",
                campaign=plan.campaign,
            )
        return RowSpending(
            campaign=plan.campaign, epsilon=epsilon, delta=plan.rows.delta, limit=plan.rows.epsilon
        )

    def check_limits(self, index: int, plan: CampaignPlan) -> None:
        """The auditor's own limits bind every plan."""
        trust = self._trust
        for what, planned, limit in (
            ("epsilon", plan.training.epsilon, trust.max_epsilon),
            ("delta", plan.training.delta, trust.max_delta),
            ("row epsilon", plan.rows.epsilon, trust.max_row_epsilon),
            ("row delta", plan.rows.delta, trust.max_delta),
        ):
            if limit is not None and Fraction(planned) > limit:
                self._findings.add(
                    Code.PLAN_ABOVE_TRUST,
                    f"{what}: expected at most the trust file's limit, got {planned}",
                    index=index,
                    campaign=plan.campaign,
                )

    def _company(self, plan: CampaignPlan, company: str, events: Sequence[GaussianEvent]) -> RoundSpending:
        epsilon, ceiling = self._compose(plan, events)
        if epsilon > float(plan.training.epsilon):
            self._findings.add(
                Code.EPSILON_EXCEEDED,
                f"expected at most {plan.training.epsilon} at delta {plan.training.delta}, "
                f"got {rounded_up(epsilon)}",
                campaign=plan.campaign,
                company=company,
                releases=len(events),
            )
        if isfinite(epsilon) and epsilon > ceiling + _ACCOUNTANT_SLACK:
            self._findings.add(
                Code.ACCOUNTANTS_DISAGREE,
                "expected the tighter accountant below the looser one",
                campaign=plan.campaign,
                company=company,
                pld=rounded_up(epsilon),
                rdp=rounded_up(ceiling),
            )
        return RoundSpending(
            campaign=plan.campaign,
            company=company,
            releases=sum(event.count for event in events),
            epsilon=epsilon,
            epsilon_rdp=ceiling,
            delta=plan.training.delta,
            limit=plan.training.epsilon,
        )

    def _row_epsilon(self, plan: CampaignPlan) -> float:
        from noren_core.privacy.accounting import epsilon_rows

        rows = plan.rows
        if rows not in self._known_rows:
            try:
                self._known_rows[rows] = epsilon_rows(
                    variance=rows.variance,
                    sensitivity=2 * Fraction(rows.clip) * rows.scale,
                    delta=rows.delta,
                    coordinates=rows.dimensions,
                )
            except ConfigurationError as error:
                self._not_computable(plan, error)
                self._known_rows[rows] = inf
        return self._known_rows[rows]

    def _compose(self, plan: CampaignPlan, events: Sequence[GaussianEvent]) -> tuple[float, float]:
        from noren_core.privacy.accounting import epsilon_pld, epsilon_rdp

        delta = plan.training.delta
        key = (tuple(events), delta)
        if key not in self._known:
            try:
                self._known[key] = (epsilon_pld(events, delta), epsilon_rdp(events, delta))
            except ConfigurationError as error:
                self._not_computable(plan, error)
                self._known[key] = (inf, inf)
        return self._known[key]

    def _not_computable(self, plan: CampaignPlan, error: ConfigurationError) -> None:
        self._findings.add(Code.EPSILON_NOT_COMPUTABLE, error.message, campaign=plan.campaign)
