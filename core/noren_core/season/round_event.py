"""The privacy event of one round, as the plan fixes it: what an intent reserves and the auditor composes."""

from __future__ import annotations

from fractions import Fraction

from noren_core.privacy.events import GaussianEvent, NoisePlacement
from noren_core.season.plan import CampaignPlan


def round_event(plan: CampaignPlan) -> GaussianEvent:
    """One full-batch discrete Gaussian release of the cohort's clipped gradient sum."""
    training = plan.training
    return GaussianEvent(
        noise_multiplier=Fraction(training.noise_multiplier),
        clipping_norm=training.clipping_norm,
        grid=training.grid,
        count=1,
        placement=NoisePlacement(training.placement),
        tolerated=training.tolerated,
    )
