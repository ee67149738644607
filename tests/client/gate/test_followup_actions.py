"""What is done for one student: from a closed list, in custody, and gone without a trace."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from gated_company import CAMPAIGN, NOW, GatedCompany, key_of

from noren_client import follow_up
from noren_client.gate import access_log, followup_actions, score_records
from noren_core.errors import NorenError
from noren_core.rights.gate.followup import FollowUpKind, FollowUpState
from noren_core.rights.gate.roles import Action, Assignment, Role


@pytest.fixture
def scored(company: GatedCompany) -> GatedCompany:
    """a has a band."""
    company.apply("a,offer", "b,offer")
    company.consent("a")
    company.seal()
    company.score()
    return company


def refused(code: str, call: Callable[[], object]) -> None:
    with pytest.raises(NorenError) as caught:
        call()
    assert caught.value.code == code


def plan(company: GatedCompany, identifier: str = "a", kind: FollowUpKind = FollowUpKind.VISIT) -> None:
    request = company.request(identifier, action=Action.PLAN_FOLLOW_UP)
    followup_actions.plan_action(company.directory, request, kind, clock=company.clock)


def end(company: GatedCompany, state: FollowUpState, kind: FollowUpKind = FollowUpKind.VISIT) -> None:
    request = company.request("a", action=Action.PLAN_FOLLOW_UP)
    followup_actions.end_action(company.directory, request, kind, state, clock=company.clock)


def actions(company: GatedCompany) -> list[tuple[str, str]]:
    request = company.request("a", action=Action.PLAN_FOLLOW_UP)
    found = followup_actions.actions_for(company.directory, request, clock=company.clock)
    return [(item.kind.value, item.state.value) for item in found]


def note_files(company: GatedCompany) -> int:
    place = company.directory / "campaigns" / CAMPAIGN / "custody" / "follow-up"
    return len(list(place.glob("*"))) if place.exists() else 0


def test_actions_are_planned_done_and_cancelled(scored: GatedCompany) -> None:
    """Each planned action ends once, the oldest of its kind first."""
    for kind in (FollowUpKind.VISIT, FollowUpKind.QUESTION_TIME, FollowUpKind.VISIT):
        plan(scored, kind=kind)
    end(scored, FollowUpState.DONE)
    end(scored, FollowUpState.CANCELLED, FollowUpKind.QUESTION_TIME)
    refused("ILLEGAL_STATE", lambda: end(scored, FollowUpState.DONE, FollowUpKind.QUESTION_TIME))
    assert actions(scored) == [("visit", "done"), ("question_time", "cancelled"), ("visit", "planned")]


def test_the_gate_is_the_same_as_for_a_look(scored: GatedCompany) -> None:
    """Nothing is planned for who has no band, nor by who may not look; nobody learns more by trying."""
    refused("NOT_AVAILABLE", lambda: plan(scored, "b"))
    scored.hire("eve", Assignment(Role.COMPANY_ML_OPERATOR))
    refused("ROLE_FORBIDDEN", lambda: scored.request("a", name="eve", action=Action.PLAN_FOLLOW_UP))
    assert note_files(scored) == 0


def test_it_is_in_the_log_and_shows_no_band(scored: GatedCompany) -> None:
    """The log says that something was planned, and not that a band was shown."""
    plan(scored)
    [entry] = access_log.read(scored.directory)
    assert (entry.access.action, entry.access.outcome) == ("plan-follow-up", "RECORDED")


def test_notes_go_with_the_record(scored: GatedCompany) -> None:
    """When she withdraws, her notes are destroyed with her band, and nothing says that there were any."""
    plan(scored)
    assert note_files(scored) == 2
    scored.platform.withdraw(key_of("a"))
    refused("NOT_AVAILABLE", lambda: actions(scored))
    assert note_files(scored) == 0


def test_notes_end_after_sixty_days(scored: GatedCompany) -> None:
    """A note has a time of its own."""
    plan(scored)
    at = NOW + score_records.NOTE_SECONDS
    [person] = score_records.load(scored.directory, CAMPAIGN).people
    score_records.expire(scored.directory, CAMPAIGN, _Untouched(), now=min(at - 1, person.expires_at - 1))
    assert note_files(scored) == 2
    follow_up.tidy(scored.directory, now=at)
    assert note_files(scored) == 0


class _Untouched:
    """A custody store of which nothing is expected."""

    def __getattr__(self, name: str) -> object:
        raise AssertionError(name)


def test_a_note_that_was_never_written_is_no_action(
    scored: GatedCompany, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the index and the record: nothing is planned, and it can be planned again."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(followup_actions.CustodyStore, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            plan(scored)
    assert actions(scored) == []
    plan(scored)
    assert actions(scored) == [("visit", "planned")]


def test_there_are_not_endless_notes(scored: GatedCompany, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person's notes are bounded."""
    monkeypatch.setattr(followup_actions, "MAX_NOTES", 2)
    plan(scored)
    plan(scored)
    refused("FOLLOW_UP_LIMIT", lambda: plan(scored))
