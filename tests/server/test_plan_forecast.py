"""What the operator is told a plan would cost."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from noren_core.errors import ConfigurationError
from noren_core.privacy.accounting import epsilon_pld, epsilon_rows
from noren_core.season.plan import CampaignPlan
from noren_core.season.round_event import plan_event
from noren_server import plan_forecast


@pytest.fixture
def plan(plan_body: dict[str, Any]) -> CampaignPlan:
    return CampaignPlan.from_body(plan_body)


def test_head_and_rows_are_two_numbers(plan: CampaignPlan) -> None:
    """By round, and by campaign up to the first that a person has no room for; rows beside, not added."""
    found = plan_forecast.report(plan)
    event = plan_event(plan)
    assert found["person"]["summary"].startswith("fits 3 campaigns like this, exhausted on campaign 4")
    assert found["person"]["epsilon_by_round"][-1] == f"{epsilon_pld([event], 1e-6):.4f}"
    assert found["person"]["epsilon_by_campaign"] == [
        f"{epsilon_pld([event] * number, 1e-6):.4f}" for number in (1, 2, 3, 4)
    ]
    rows = [float(value) for value in found["row_epsilon_by_campaign"]]
    assert len(rows) == 4
    assert rows == sorted(rows)
    assert rows[0] == pytest.approx(7.0, abs=1.5)  # the fixture's variance is not calibrated


def test_a_plan_that_nobody_has_room_for_is_foretold(plan: CampaignPlan) -> None:
    """The round in which a person's budget would be exhausted is named."""
    tight = replace(plan, person=replace(plan.person, epsilon="0.6"))
    assert plan_forecast.report(tight)["person"]["summary"] == "does not fit: exhausted in round 2 of 3"


def test_rows_released_several_times_compose() -> None:
    """k releases are one with a k-th of the variance, up to the bound's own terms; none is refused."""
    parameters: dict[str, Any] = {"sensitivity": 2560, "delta": "0.000001", "coordinates": 4}
    for count in (1, 2, 3):
        several = epsilon_rows(variance=10**7, count=count, **parameters)
        assert several == pytest.approx(epsilon_rows(variance=Fraction(10**7, count), **parameters), abs=1e-3)
    with pytest.raises(ConfigurationError):
        epsilon_rows(variance=10**7, count=0, **parameters)
