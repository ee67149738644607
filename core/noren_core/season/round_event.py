"""The privacy event of one round, as the plan fixes it: what an intent reserves and the auditor composes."""

from __future__ import annotations

from noren_core.privacy.events import GaussianEvent
from noren_core.season.plan import CampaignPlan, decimal_text


def round_event(plan: CampaignPlan) -> GaussianEvent:
    """One full-batch discrete Gaussian release of the cohort's clipped gradient sum."""
    return GaussianEvent.from_body(
        {
            "mechanism": "discrete_gaussian",
            "noise_multiplier": plan.training.noise_multiplier,
            "clipping_norm": decimal_text(plan.training.clipping_norm),
            "grid": plan.training.grid,
            "sampling": {"num": 1, "den": 1},
            "count": 1,
            "adjacency": "add_remove",
            "placement": plan.training.placement,
            "tolerated": plan.training.tolerated,
        }
    )
