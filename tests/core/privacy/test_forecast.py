"""What a plan will have cost, against the accountant itself and figures of docs/privacy.md."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noren_core.errors import ConfigurationError
from noren_core.privacy import accounting
from noren_core.privacy.events import GaussianEvent, NoisePlacement
from noren_core.privacy.forecast import LifetimeLimits, composed_epsilon, forecast
from noren_core.privacy.person_budget import PersonBudget

DELTA = Fraction(1, 10**6)


def campaign(rounds: int = 6, multiplier: str = "10.35") -> GaussianEvent:
    """A whole plan's event; by default that of docs/privacy.md §3."""
    return GaussianEvent(
        noise_multiplier=Fraction(multiplier),
        clipping_norm=Fraction(2),
        grid=2**16,
        count=rounds,
        placement=NoisePlacement.DISTRIBUTED,
        tolerated=2,
    )


def limits(campaigns: int = 3, epsilon: str = "4") -> LifetimeLimits:
    return LifetimeLimits(campaigns, Fraction(epsilon), DELTA)


def test_the_worked_budget() -> None:
    """Epsilon by round and campaign of the default plan, and that three campaigns like it fit."""
    found = forecast([], campaign(), limits())
    assert [round(found.by_round[number - 1], 3) for number in (1, 3, 6)] == [0.383, 0.689, 1.0]
    assert [round(value, 3) for value in found.by_campaign[:3]] == [1.0, 1.455, 1.814]
    assert (len(found.by_round), len(found.by_campaign)) == (6, 4)
    assert (found.fits, found.spent_epsilon, found.exhausted_in_round) == (3, 0.0, None)
    assert found.sentence == "fits 3 campaigns like this, exhausted on campaign 4 by the number of campaigns"
    assert found.to_fields() == {
        "epsilon_before": "0.0000",
        "epsilon_by_round": [f"{value:.4f}" for value in found.by_round],
        "epsilon_by_campaign": [f"{value:.4f}" for value in found.by_campaign],
        "summary": found.sentence,
    }


@pytest.mark.parametrize(
    ("spent", "limit", "sentence"),
    [
        (0, limits(9, "1.5"), "fits 2 campaigns like this, exhausted on campaign 3 by epsilon"),
        (1, limits(9, "1.5"), "fits 1 campaign like this, exhausted on campaign 2 by epsilon"),
        (2, limits(9, "1.5"), "does not fit: exhausted in round 1 of 6"),
        (0, limits(9, "0.85"), "does not fit: exhausted in round 5 of 6"),
        (2, limits(), "fits 1 campaign like this, exhausted on campaign 2 by the number of campaigns"),
        (3, limits(), "does not fit: 3 of 3 campaigns are used"),
        (1, limits(1, "0.85"), "does not fit: exhausted in round 1 of 6"),
    ],
)
def test_how_far_a_budget_goes(spent: int, limit: LifetimeLimits, sentence: str) -> None:
    """Which limit is met first, and where."""
    assert forecast([campaign()] * spent, campaign(), limit).sentence == sentence


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.sampled_from([campaign(), campaign(3, "7"), campaign(10, "30")]), max_size=4),
    st.sampled_from([campaign(4), campaign(2, "5.5")]),
    st.integers(1, 6),
    st.sampled_from(["0.5", "1.2", "2.5", "4"]),
)
def test_a_forecast_is_what_the_accountant_says(
    spent: list[GaussianEvent], planned: GaussianEvent, campaigns: int, epsilon: str
) -> None:
    """Against uncached composition: every number, and that exactly the campaigns that are said to fit do."""
    found = forecast(spent, planned, limits(campaigns, epsilon))
    rounds = [replace(planned, count=1)]
    for number, value in enumerate(found.by_round, 1):
        assert value == accounting.epsilon_pld([*spent, *(rounds * number)], DELTA)
    for number, value in enumerate(found.by_campaign, 1):
        assert value == accounting.epsilon_pld([*spent, *([planned] * number)], DELTA)
        fits = value <= Fraction(epsilon) and len(spent) + number <= campaigns
        assert fits == (number <= found.fits)
    assert len(found.by_campaign) == found.fits + 1
    assert found.spent_epsilon == accounting.epsilon_pld(spent, DELTA)


def test_beyond_what_has_an_epsilon() -> None:
    """Once the bound is stated as infinite it stays so, and rounds after it are not composed."""
    found = forecast([], campaign(100, "0.5"), limits())
    first = found.by_round.index(inf)
    assert 0 < first < 99
    assert set(found.by_round[first:]) == {inf}
    assert found.exhausted_in_round is not None
    assert found.exhausted_in_round <= first
    with pytest.raises(ConfigurationError):
        forecast([], campaign(), LifetimeLimits(3, Fraction(4), Fraction(1, 10**9)))


def test_what_was_composed_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """In any order, the same campaigns are composed once."""
    asked = []
    compose = accounting.epsilon_pld
    monkeypatch.setattr(accounting, "epsilon_pld", lambda *a: asked.append(a) or compose(*a))
    events = [campaign(5, "11.5"), campaign(7, "12.5")]
    values = {composed_epsilon(order, DELTA) for order in (events, events[::-1], events)}
    assert (len(values), len(asked)) == (1, 1)
    composed_epsilon(events, DELTA / 2)
    composed_epsilon(events * 2, DELTA)
    assert len(asked) == 3


# Persons


def test_a_person_has_room_for_as_many_campaigns_as_the_plan_allows() -> None:
    """The number of campaigns counts, and the composition of what she was in with the plan."""
    earlier = {"a": campaign(), "b": campaign(), "c": campaign(3, "5")}
    three = PersonBudget(campaign(), limits(), earlier=earlier)
    assert [three.has_room(frozenset(h)) for h in ("", "a", "ab", "abc")] == [True, True, True, False]
    tight = PersonBudget(campaign(), limits(epsilon="1.46"), earlier=earlier)
    assert [tight.has_room(frozenset(h)) for h in ("", "a", "b", "c", "ab")] == [True] * 3 + [False] * 2
    none = PersonBudget(campaign(), limits(epsilon="0.99"), earlier=earlier)
    assert not none.has_room(frozenset())


def test_who_was_in_an_unknown_campaign_is_not_judged() -> None:
    """What it cost her is not known: that must not pass for nothing."""
    with pytest.raises(KeyError):
        PersonBudget(campaign(), limits(), earlier={}).has_room(frozenset({"a"}))


def test_each_history_is_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million students with few histories cost as many compositions as there are histories."""
    asked = []
    monkeypatch.setattr(
        "noren_core.privacy.person_budget.composed_epsilon", lambda *a: asked.append(a) or 1.0
    )
    budget = PersonBudget(campaign(), limits(), earlier={"a": campaign(), "b": campaign()})
    histories = [frozenset(h) for h in ("", "a", "b", "ab")]
    for number in range(1000):
        assert budget.has_room(histories[number % 4])
    assert len(asked) == 4
