"""What the operator sees of rounds, and what she may hold or leave out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from noren_core.errors import LocalProtocolError
from noren_core.season.plan import CampaignPlan
from noren_server.round_control import RoundControl
from noren_server.round_rows import SkipState
from noren_server.store import Store

COMPANIES = [f"company-{number}" for number in range(1, 6)]  # the plan's; four are its minimum


class Seconds:
    """A clock that sleeping moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.slept = 0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += 1


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def store(tmp_path: Path, plan_body: dict[str, Any]) -> Iterator[Store]:
    store = Store.open(tmp_path / "platform.db")
    with store.transaction() as transaction:
        transaction.add_campaign(CampaignPlan.from_body(plan_body))
    yield store
    store.close()


@pytest.fixture
def control(store: Store, plan_body: dict[str, Any], clock: Seconds) -> RoundControl:
    return RoundControl(store, CampaignPlan.from_body(plan_body), clock=clock, sleep=clock.sleep)


def test_a_round_is_counted_as_its_answers_come(control: RoundControl, clock: Seconds) -> None:
    """Invited, reported and late while it is open; who is missing in the end, without a reason."""
    control.opened(1, COMPANIES, seconds=60)
    for company in COMPANIES[:3]:
        control.heard(1, company)
    control.asked_again(1, COMPANIES[3:])
    current = control.rounds().current
    assert current is not None
    assert (current.invited, current.reported, current.late, current.missed) == (5, 3, 2, 0)
    assert current.closes_at == int(clock.now) + 60
    control.heard(1, COMPANIES[3])
    control.judged(1, reported=COMPANIES[1:4], missed=[COMPANIES[0], COMPANIES[4]])
    control.closed(1)
    current = control.rounds().current
    assert current is not None
    assert (current.invited, current.reported, current.late, current.missed) == (5, 3, 0, 2)
    assert current.closed_at == int(clock.now)
    assert current.reports[COMPANIES[3]].is_late


def test_a_held_campaign_waits_until_it_is_resumed(
    control: RoundControl, store: Store, plan_body: dict[str, Any], clock: Seconds
) -> None:
    """The run says that it waits, once, and goes on when somebody else, by the same store, says so."""
    other = RoundControl(store, CampaignPlan.from_body(plan_body), clock=clock)
    told: list[str] = []
    control.wait_while_held(lambda: told.append("paused"))
    assert (told, clock.slept) == ([], 0)
    other.pause()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if clock.slept == 3:
            other.resume()

    waiting = RoundControl(store, CampaignPlan.from_body(plan_body), clock=clock, sleep=sleep)
    waiting.wait_while_held(lambda: told.append("paused"))
    assert (told, clock.slept) == (["paused"], 3)


def test_what_is_held_is_not_held_again(control: RoundControl) -> None:
    """Each of the two is refused where it changes nothing, so nobody believes that she did it."""
    with pytest.raises(LocalProtocolError):
        control.resume()
    control.pause()
    with pytest.raises(LocalProtocolError):
        control.pause()
    assert control.is_held()
    control.resume()
    assert not control.is_held()


def test_nobody_is_left_out_below_the_minimum(control: RoundControl) -> None:
    """Of five companies one can be left out; a second one is refused with a code, as is a stranger."""
    control.skip(COMPANIES[0])
    with pytest.raises(LocalProtocolError) as refused:
        control.skip(COMPANIES[1])
    assert refused.value.code == "COHORT_TOO_SMALL"
    for company in (COMPANIES[0], "stranger"):
        with pytest.raises(LocalProtocolError):
            control.skip(company)
    assert control.remaining(COMPANIES) == set(COMPANIES[1:])
    assert control.rounds().skips == {COMPANIES[0]: SkipState.APPLIED}


def test_who_missed_the_last_round_does_not_count_as_remaining(control: RoundControl) -> None:
    """She is not asked again, so leaving out another would leave too few."""
    control.opened(1, COMPANIES, seconds=60)
    control.judged(1, reported=COMPANIES[1:], missed=COMPANIES[:1])
    with pytest.raises(LocalProtocolError) as refused:
        control.skip(COMPANIES[1])
    assert refused.value.code == "COHORT_TOO_SMALL"


def test_a_wish_that_came_too_late_is_refused_by_the_run(control: RoundControl) -> None:
    """Another company went missing meanwhile: the round keeps the one that it needs, and says so."""
    control.skip(COMPANIES[1])
    assert control.remaining(COMPANIES[1:]) == set(COMPANIES[1:])
    rounds = control.rounds()
    assert rounds.skips == {COMPANIES[1]: SkipState.REFUSED}
    assert rounds.left_out == frozenset()


def test_a_campaign_that_is_over_is_not_controlled(control: RoundControl, store: Store) -> None:
    """Neither after its last round began nor after its close."""
    control.opened(3, COMPANIES, seconds=60)
    for act in (control.pause, lambda: control.skip(COMPANIES[0])):
        with pytest.raises(LocalProtocolError):
            act()


def test_a_closed_campaign_is_not_controlled(control: RoundControl, store: Store) -> None:
    """There are no rounds to come."""
    with store.transaction() as transaction:
        transaction.close_campaign("spring-2026")
    with pytest.raises(LocalProtocolError):
        control.pause()


def test_a_round_that_is_begun_again_starts_from_nothing(control: RoundControl) -> None:
    """A second run, after one that failed early, shows none of the first one's answers."""
    control.opened(1, COMPANIES, seconds=60)
    control.heard(1, COMPANIES[0])
    control.opened(1, COMPANIES[1:], seconds=60)
    current = control.rounds().current
    assert current is not None
    assert (current.invited, current.reported) == (4, 0)
