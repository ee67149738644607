"""What a plan would cost the people in it, before it is in the ledger (docs/privacy.md §3)."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from noren_core.privacy import accounting
from noren_core.privacy.forecast import forecast
from noren_core.season.plan import CampaignPlan
from noren_core.season.round_event import plan_event
from noren_server.released_records import person_limits


def report(plan: CampaignPlan) -> dict[str, Any]:
    """For somebody who was in no campaign yet: after each round and each campaign like this one.

    Head and rows are two numbers, and never added.
    """
    found = forecast([], plan_event(plan), person_limits(plan))
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
