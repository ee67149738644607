"""What a plan would cost the people in it, before it is in the ledger (docs/privacy.md §3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from noren_core.privacy import accounting
from noren_core.privacy.forecast import Forecast, forecast
from noren_core.season.plan import CampaignPlan
from noren_core.season.round_event import plan_event
from noren_server.released_records import person_limits


@dataclass(frozen=True, slots=True)
class CompanyForecast:
    """What one company's applicants would spend.

    Attributes:
        company: its name.
        applicants: that it declared.
        share: of all declared applicants, 0 to 1; what its rows weigh in the cohort's sum.
        epsilon: of one of its applicants after all rounds. It is the same at every company: the noise is
            fixed by the plan for one record, not for a number of them.
        season_epsilon: after as many campaigns like this one as fit.
    """

    company: str
    applicants: int
    share: float
    epsilon: float
    season_epsilon: float


def person_forecast(plan: CampaignPlan) -> Forecast:
    """For somebody who was in no campaign yet."""
    return forecast([], plan_event(plan), person_limits(plan))


def by_company(
    plan: CampaignPlan, found: Forecast, declared_sizes: Mapping[str, int]
) -> tuple[CompanyForecast, ...]:
    """For every company of the plan, smallest first.

    Args:
        plan: the plan.
        found: its `person_forecast`.
        declared_sizes: applicants by company, public.
    """
    total = sum(declared_sizes[company] for company in plan.companies)
    season = found.by_campaign[max(found.fits, 1) - 1]
    rows = [
        CompanyForecast(
            company,
            declared_sizes[company],
            declared_sizes[company] / total,
            found.by_round[-1],
            season,
        )
        for company in plan.companies
    ]
    return tuple(sorted(rows, key=lambda row: (row.applicants, row.company)))


def report(plan: CampaignPlan) -> dict[str, Any]:
    """For somebody who was in no campaign yet: after each round and each campaign like this one.

    Head and rows are two numbers, and never added.
    """
    found = person_forecast(plan)
    release = plan.release
    row_epsilon = [
        accounting.epsilon_rows(
            coordinates=release.dimensions,
            variance=release.variance,
            sensitivity=release.sensitivity,
            delta=Fraction(release.delta),
            count=campaigns,
        )
        for campaigns in range(1, len(found.by_campaign) + 1)
    ]
    return {
        "person": found.to_fields(),
        "row_epsilon_by_campaign": [f"{value:.4f}" for value in row_epsilon],
    }
