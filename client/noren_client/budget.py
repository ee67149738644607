"""What this company's records have been used for, and what a plan would take of what is left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from noren_client import campaign_files, config
from noren_client.lifetime import CampaignSpending, forecasts, lifetime_limits, spent_on
from noren_client.odometer import Odometer
from noren_core.privacy.forecast import LifetimeLimits, composed_epsilon


def report(company_dir: Path, campaign: str | None = None) -> dict[str, Any]:
    """The limits, what was spent of them by season, and with `campaign` the forecast for its accepted plan.

    Raises:
        VerificationError: with code ACCOUNTANT_RESET, if the odometer cannot be relied on.
        LocalProtocolError: if the campaign's plan was not accepted here.
    """
    limits, spent = config.load(company_dir).limits, Odometer.open(company_dir).spending()
    lifetime = lifetime_limits(limits)
    seasons = sorted({season for known in spent for season in known.seasons})
    found: dict[str, Any] = {
        "limits": {
            "max_campaigns_per_season": lifetime.campaigns,
            "lifetime_epsilon": f"{float(lifetime.epsilon):g}",
            "lifetime_delta": f"{float(lifetime.delta):g}",
        },
        "seasons": {season: _spent(spent_on(season, spent), lifetime) for season in seasons},
    }
    if campaign is not None:
        planned = CampaignSpending.of_plan(campaign_files.load_plan(company_dir, campaign))
        found["forecast"] = {
            season: forecast.to_fields() for season, forecast in forecasts(spent, planned, limits).items()
        }
    return found


def _spent(campaigns: Sequence[CampaignSpending], lifetime: LifetimeLimits) -> dict[str, Any]:
    """Campaigns count as whole plans from their first reservation on."""
    epsilon = composed_epsilon([known.event for known in campaigns], lifetime.delta)
    return {
        "epsilon": f"{epsilon:.4f}",
        "campaigns": {
            known.campaign: {
                "rounds": known.event.count,
                "reserved": known.reserved,
                "settled": known.settled,
            }
            for known in campaigns
        },
    }
