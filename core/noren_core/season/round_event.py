"""The privacy event of one round, as the plan fixes it: what an intent reserves and the auditor composes."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from noren_core.privacy.events import GaussianEvent, NoisePlacement
from noren_core.season.plan import CampaignPlan, Training


def round_event(plan: CampaignPlan) -> GaussianEvent:
    """One full-batch discrete Gaussian release of the cohort's clipped gradient sum."""
    return training_event(plan.training)


def training_event(training: Training) -> GaussianEvent:
    """The same, from the training part of a plan."""
    return GaussianEvent(
        noise_multiplier=Fraction(training.noise_multiplier),
        clipping_norm=training.clipping_norm,
        grid=training.grid,
        count=1,
        placement=NoisePlacement(training.placement),
        tolerated=training.tolerated,
    )


def plan_event(plan: CampaignPlan) -> GaussianEvent:
    """All rounds of the plan together: what a campaign takes from its first reservation on."""
    return replace(round_event(plan), count=plan.training.rounds)
