"""The class of one use follows from the evidence, and from nothing that merely looks like it."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from noren_core.rights.clauses import REQUIRED_CLAUSES, Clause
from noren_core.rights.consent.consent_event import Action, EventKind
from noren_core.rights.coverage.classes import (
    ANY,
    AgreementPeriod,
    Evidence,
    PolicyPeriod,
    Register,
    Scope,
    ScreenPeriod,
    classify,
)
from noren_core.rights.purposes import Purpose

SCOPE = Scope(company="company-1", position="engineer", season="2026", purpose=Purpose.SCORE)
GENERAL = replace(SCOPE, company=ANY, position=ANY)
EVERY = frozenset(Clause)
OLD, NEW, LATER = "policy-1", "policy-2", "policy-3"
CHANGE, LATER_CHANGE, NOW = 100, 150, 200


def policy(name: str, activated_at: int, *material: Purpose, retired_at: int = 0) -> PolicyPeriod:
    return PolicyPeriod(
        policy=name,
        season="2026",
        activated_at=activated_at,
        retired_at=retired_at,
        material=frozenset(material),
    )


def screen(name: str, shown: str, clauses: frozenset[Clause] = EVERY) -> ScreenPeriod:
    return ScreenPeriod(
        screen=name,
        route="web",
        policy=shown,
        company=ANY,
        position=ANY,
        purposes=frozenset(Purpose),
        clauses=clauses,
        verified_from=1,
        verified_until=NOW,
    )


REGISTER = Register(
    {
        OLD: policy(OLD, 1),
        NEW: policy(NEW, CHANGE, Purpose.SCORE),
        LATER: policy(LATER, LATER_CHANGE, Purpose.TRAIN),
    },
    [screen("s-old", OLD), screen("s-new", NEW), screen("s-short", NEW, EVERY - {Clause.RIGHTS})],
    [AgreementPeriod(company="company-1", active_from=1)],
)


def event(seq: int, state: EventKind = EventKind.GIVEN, **changes: object) -> Evidence:
    """A sound agreement to the policy in force, unless something is changed."""
    sound = Evidence(
        seq=seq,
        time=CHANGE + seq,
        scope=SCOPE,
        policy=NEW,
        state=state,
        screen="s-new",
        clauses=EVERY,
        action=Action.TICK_UNTICKED_BOX,
    )
    return replace(sound, **changes)


def old(seq: int, **changes: object) -> Evidence:
    return event(seq, **{"time": 50 + seq, "policy": OLD, "screen": "s-old", **changes})


def classified(*events: Evidence, route: str = "web", at: int = NOW, register: Register = REGISTER) -> str:
    return classify(SCOPE, route, events, register, at=at).value


def test_a_sound_agreement_is_valid() -> None:
    """Everything as it should be is E1, also when a later version changed nothing for the purpose."""
    assert classified(event(1)) == "E1"


@pytest.mark.parametrize(
    "defect",
    [
        {"screen": "s-short"},
        {"clauses": EVERY - {Clause.RIGHTS}},
        {"prechecked": True},
        {"bundled": True},
        {"action": Action.LEAVE_TICKED_BOX},
        {"action": Action.PRESS_OTHER_BUTTON},
        {"action": None},
        {"screen": "s-old"},
        {"time": CHANGE - 1},
    ],
)
def test_an_agreement_on_a_defective_screen_is_no_consent(defect: dict[str, object]) -> None:
    """A missing clause, another policy's screen, no free act: E2, whatever else is right."""
    assert classified(event(1, **defect)) == "E2"


@pytest.mark.parametrize("clause", sorted(REQUIRED_CLAUSES[Purpose.SCORE]))
def test_every_required_clause_counts(clause: Clause) -> None:
    """Whichever clause is taken off the screen, the consent is gone."""
    register = Register(REGISTER.policies, [screen("s-new", NEW, EVERY - {clause})], REGISTER.agreements)
    assert classified(event(1), register=register) == "E2"


def test_an_agreement_counts_on_a_screen_of_this_company_position_and_purpose_only() -> None:
    """A notice of another company, or one that asks for another purpose, is not what she was shown."""
    for changes in (
        {"company": "company-2"},
        {"position": "sales"},
        {"purposes": frozenset({Purpose.TRAIN})},
    ):
        other = replace(REGISTER.screens[1], **changes)
        register = Register(REGISTER.policies, [other], REGISTER.agreements)
        assert classified(event(1), register=register) == "E2"


def test_a_screen_that_was_not_verified_then_is_no_evidence() -> None:
    """Before its verification began and after it ended, what a screen showed is unknown."""
    for period in ({"verified_from": CHANGE + 2}, {"verified_until": CHANGE}):
        register = Register(REGISTER.policies, [replace(REGISTER.screens[1], **period)], REGISTER.agreements)
        assert classified(event(1), register=register) == "E2"


def test_the_version_in_force_seen_and_not_answered() -> None:
    """Shown again and silent is E3, also for whoever agreed to the old version."""
    assert classified(old(1), event(2, EventKind.SHOWN)) == "E3"
    assert classified(event(1, EventKind.DEFERRED)) == "E3"


def test_an_old_agreement_never_shown_again() -> None:
    """The regulator's group: agreed before the change, saw nothing since."""
    assert classified(old(1)) == "E4"
    assert classified(old(1, scope=GENERAL)) == "E4"


def test_an_old_screen_shown_after_the_change() -> None:
    """The August finding: registered when the change was in force, and was shown the text from before."""
    assert classified(old(1, time=CHANGE)) == "E5"


def test_no_event_on_a_way_without_a_screen() -> None:
    """Whoever came another way was never asked; on a way with a screen a missing event is a contradiction."""
    assert classified(route="company-list") == "E6"
    assert classified(route="web") == "E9"


SCOPES = [
    Scope(company=company, position=position, season=season, purpose=purpose)
    for company, position, season, purpose in product(
        ("company-1", "company-2"), ("engineer", "sales"), ("2026", "2027"), (Purpose.SCORE, Purpose.TRAIN)
    )
]


@pytest.mark.parametrize("other", SCOPES)
def test_no_consent_rescues_another_scope(other: Scope) -> None:
    """Of all combinations exactly one permits: consent elsewhere is E7, never E1."""
    expected = "E1" if other == SCOPE else "E7"
    in_force = LATER if other.purpose is Purpose.TRAIN else NEW
    agreed = event(1, scope=other, policy=in_force)
    assert classified(agreed) == expected
    assert classified(old(0), agreed) == expected


def test_a_registration_that_names_no_company_authorises_nothing() -> None:
    """Also to the version in force, on a complete screen."""
    assert classified(event(1, scope=GENERAL)) == "E7"


def test_a_company_without_an_agreement_may_receive_nothing() -> None:
    """Neither before its agreement nor after."""
    for agreement in (
        AgreementPeriod(company="company-1", active_from=NOW + 1),
        AgreementPeriod(company="company-1", active_from=1, active_until=NOW),
    ):
        register = Register(REGISTER.policies, REGISTER.screens, [agreement])
        assert classified(event(1), register=register) == "E7"


@pytest.mark.parametrize(
    "kind",
    [
        EventKind.REFUSED,
        EventKind.WITHDRAWN,
        EventKind.REVOKED,
        EventKind.EXPIRED,
        EventKind.INVALIDATED,
        EventKind.SUPERSEDED,
    ],
)
def test_what_ended_stays_ended_until_she_agrees_again(kind: EventKind) -> None:
    """Every ending is E8, being shown the screen again changes nothing, a new agreement does."""
    ended = event(2, kind)
    assert classified(event(1), ended) == "E8"
    assert classified(event(1), ended, event(3, EventKind.SHOWN)) == "E8"
    assert classified(event(1), ended, event(3)) == "E1"


def test_time_ends_consents() -> None:
    """At its expiry, and when its version is retired."""
    assert classified(event(1, expires_at=NOW)) == "E8"
    assert classified(event(1, expires_at=NOW + 1)) == "E1"
    retired = Register(
        {**REGISTER.policies, NEW: replace(REGISTER.policies[NEW], retired_at=NOW)},
        REGISTER.screens,
        REGISTER.agreements,
    )
    assert classified(event(1), register=retired) == "E8"


def test_withdrawing_the_registration_ends_what_was_given_before() -> None:
    """A withdrawal that names no company is one from all of them."""
    assert classified(event(1), event(2, EventKind.WITHDRAWN, scope=GENERAL)) == "E8"


def test_unknown_screens_and_policies_cannot_be_judged() -> None:
    """A hash or a version that nobody registered is E9."""
    assert classified(event(1, screen="s-nobody-knows")) == "E9"
    assert classified(event(1, policy="policy-9")) == "E9"


def test_superseded_by_a_change_says_whether_she_was_asked_again() -> None:
    """An old consent that the platform marked superseded is still E4, E5 or E3: that says more."""
    superseded = old(2, state=EventKind.SUPERSEDED, time=CHANGE)
    assert classified(old(1), superseded) == "E4"
    assert classified(old(1), superseded, event(3, EventKind.SHOWN)) == "E3"
    assert classified(old(1), old(2, state=EventKind.EXPIRED)) == "E8"


def test_the_past_can_be_asked() -> None:
    """Later events and later changes do not count."""
    events = [old(1), event(2), event(3, EventKind.WITHDRAWN)]
    assert [classified(*events, at=at) for at in (CHANGE - 1, CHANGE, CHANGE + 2, CHANGE + 3)] == [
        "E1",
        "E4",
        "E1",
        "E8",
    ]
