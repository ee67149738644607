"""What this company's records may be used for over their lifetime, and what campaigns take of it.

A campaign takes its whole plan from its first reservation on. Campaigns that train on one season learn from
the same records, so their losses compose; those on other seasons learn from other records (docs/privacy.md
§3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Self

from noren_client.config import Limits
from noren_core.errors import BudgetExceededError
from noren_core.privacy.events import GaussianEvent
from noren_core.privacy.forecast import Forecast, LifetimeLimits, composed_epsilon, forecast
from noren_core.season.plan import CampaignPlan
from noren_core.season.round_event import plan_event


@dataclass(frozen=True, slots=True)
class CampaignSpending:
    """What a campaign takes: all its rounds from the first reservation on, computed or not.

    Attributes:
        campaign: its name.
        plan_sha256: the plan digest, in hex.
        seasons: what it trains on.
        event: the whole plan's; `count` is its number of rounds.
        delta: of the plan.
        reserved: rounds reserved so far, the only ones that may have been computed.
        settled: the last round whose aggregate was applied.
    """

    campaign: str
    plan_sha256: str
    seasons: tuple[str, ...]
    event: GaussianEvent
    delta: Fraction
    reserved: int
    settled: int

    @classmethod
    def of_plan(cls, plan: CampaignPlan) -> Self:
        """What `plan` will have taken as a whole."""
        return cls(
            campaign=plan.campaign,
            plan_sha256=plan.digest().hex(),
            seasons=plan.train_seasons,
            event=plan_event(plan),
            delta=Fraction(plan.training.delta),
            reserved=0,
            settled=0,
        )


def spent_on(season: str, spent: Iterable[CampaignSpending]) -> list[CampaignSpending]:
    """The campaigns that train on a season."""
    return [known for known in spent if season in known.seasons]


def forecasts(
    spent: Iterable[CampaignSpending], planned: CampaignSpending, limits: Limits
) -> Mapping[str, Forecast]:
    """For each season that the plan trains on, what it comes to there; a campaign that was begun included."""
    others = [known for known in spent if known.campaign != planned.campaign]
    return {
        season: forecast(
            [known.event for known in spent_on(season, others)], planned.event, lifetime_limits(limits)
        )
        for season in planned.seasons
    }


def verify_room(spent: Iterable[CampaignSpending], planned: CampaignSpending, limits: Limits) -> None:
    """Raise BudgetExceededError if the whole plan does not fit this company's lifetime limits.

    The error says which limit, and what it would have to be.
    """
    others = [known for known in spent if known.campaign != planned.campaign]
    for season in planned.seasons:
        events = [known.event for known in spent_on(season, others)]
        if len(events) >= limits.max_campaigns_per_season:
            raise BudgetExceededError(
                f"limits.max_campaigns_per_season: expected at most {limits.max_campaigns_per_season} "
                f"campaigns that train on {season}, this plan needs {len(events) + 1}"
            )
        epsilon = composed_epsilon([*events, planned.event], limits.lifetime_delta)
        if epsilon > limits.lifetime_epsilon:
            raise BudgetExceededError(
                f"limits.lifetime_epsilon: expected at most {float(limits.lifetime_epsilon):g} "
                f"for records of {season}, this plan needs {epsilon:.4f}"
            )


def lifetime_limits(limits: Limits) -> LifetimeLimits:
    """Those of the company's limits that concern the records of one season."""
    return LifetimeLimits(
        campaigns=limits.max_campaigns_per_season,
        epsilon=limits.lifetime_epsilon,
        delta=limits.lifetime_delta,
    )
