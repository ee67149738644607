"""What a company contributes with sealed statistics: its sums with the other sign, and exact noise."""

from __future__ import annotations

from typing import Any

import numpy as np

from noren_client.sums_mechanism import noised_sums
from noren_core.privacy.discrete_gaussian import NoiseStream, sample
from noren_core.privacy.noise import company_variance
from noren_core.season.plan import CampaignPlan
from noren_core.season.round_event import round_event

SUMS = (5000, -70, 0, 2**27)


def test_it_is_noise_minus_the_sums(statistics_plan_body: dict[str, Any]) -> None:
    """Every coordinate has its noise; bias and sentinels have nothing else."""
    plan = CampaignPlan.from_body(statistics_plan_body)
    found = noised_sums(SUMS, plan_training=plan.training, companies=5, stream=NoiseStream(bytes(32)))
    variance = company_variance(round_event(plan), companies=5)
    noise = sample(plan.vector_length, variance=variance, stream=NoiseStream(bytes(32)))
    assert (found - noise).tolist() == [-5000, 70, 0, -(2**27), 0, 0, 0]
    assert np.count_nonzero(noise) == plan.vector_length


def test_the_noise_is_that_of_the_event(statistics_plan_body: dict[str, Any]) -> None:
    """One record moves the sums by at most what the event's noise is calibrated to."""
    plan = CampaignPlan.from_body(statistics_plan_body)
    event = round_event(plan)
    assert event.clipping_norm * event.grid == plan.statistics.label_sensitivity
