"""What this company's records have been used for, and what a plan would take of what is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noren_client import campaign_files, config
from noren_client.lifetime import CampaignSpending, forecasts, lifetime_limits, spent_on
from noren_client.odometer import Odometer
from noren_core.privacy.forecast import Forecast, LifetimeLimits, composed_epsilon


@dataclass(frozen=True, slots=True)
class SeasonSpending:
    """What campaigns took of the records of one season.

    Attributes:
        campaigns: that were begun, in that order; each counts as a whole plan.
        epsilon: of all of them together, at the limits' delta.
        limit: the most that epsilon may be, by the company's own limits.
    """

    season: str
    campaigns: tuple[CampaignSpending, ...]
    epsilon: float
    limit: float


def by_season(company_dir: Path) -> tuple[SeasonSpending, ...]:
    """The seasons that something was spent of, by name; VerificationError (ACCOUNTANT_RESET) as `report`."""
    lifetime, spent = lifetime_limits(config.load(company_dir).limits), Odometer.open(company_dir).spending()
    seasons = sorted({season for known in spent for season in known.seasons})
    return tuple(_of_season(season, spent_on(season, spent), lifetime) for season in seasons)


def forecast_of(company_dir: Path, campaign: str) -> dict[str, Forecast]:
    """By season, what an accepted plan comes to on top of the other campaigns; raises as `report`."""
    planned = CampaignSpending.of_plan(campaign_files.load_plan(company_dir, campaign))
    limits, spent = config.load(company_dir).limits, Odometer.open(company_dir).spending()
    return dict(forecasts(spent, planned, limits))


def report(company_dir: Path, campaign: str | None = None) -> dict[str, Any]:
    """The limits, what was spent of them by season, and with `campaign` the forecast for its accepted plan.

    Raises:
        VerificationError: with code ACCOUNTANT_RESET, if the odometer cannot be relied on.
        LocalProtocolError: if the campaign's plan was not accepted here.
    """
    lifetime = lifetime_limits(config.load(company_dir).limits)
    found: dict[str, Any] = {
        "limits": {
            "max_campaigns_per_season": lifetime.campaigns,
            "lifetime_epsilon": f"{float(lifetime.epsilon):g}",
            "lifetime_delta": f"{float(lifetime.delta):g}",
        },
        "seasons": {spent.season: _fields(spent) for spent in by_season(company_dir)},
    }
    if campaign is not None:
        planned = forecast_of(company_dir, campaign)
        found["forecast"] = {season: forecast.to_fields() for season, forecast in planned.items()}
    return found


def _of_season(
    season: str, campaigns: Sequence[CampaignSpending], lifetime: LifetimeLimits
) -> SeasonSpending:
    """Campaigns count as whole plans from their first reservation on."""
    epsilon = composed_epsilon([known.event for known in campaigns], lifetime.delta)
    return SeasonSpending(season, tuple(campaigns), epsilon, float(lifetime.epsilon))


def _fields(spent: SeasonSpending) -> dict[str, Any]:
    return {
        "epsilon": f"{spent.epsilon:.4f}",
        "campaigns": {
            known.campaign: {
                "rounds": known.event.count,
                "reserved": known.reserved,
                "settled": known.settled,
            }
            for known in spent.campaigns
        },
    }
