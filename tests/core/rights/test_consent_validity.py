"""Whether a consent counts: exactly one cell of the cross product, and why not for every other."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from consenting_students import PermissiveFacts
from hypothesis import given
from hypothesis import strategies as st

from noren_core.rights.clauses import REQUIRED_CLAUSES, Clause
from noren_core.rights.consent.consent_event import Action, Answer, ConsentKey, Screen
from noren_core.rights.consent.consent_record import ConsentRecord, ConsentState
from noren_core.rights.consent.consent_validity import (
    NOT_AVAILABLE,
    ConsentRefusal,
    PolicyStanding,
    PolicyStatus,
    company_error,
    consent_error,
    consent_refusal,
    refusal_without_record,
    told_to_company,
)
from noren_core.rights.purposes import Purpose

SHOWN, UNKNOWN = "ab" * 32, "cd" * 32
KEY = ConsentKey("s1", Purpose.SCORE, "akane", "engineer", "2027", "policy-2")
GIVEN_AT, NOW, END = 100, 200, 300


def facts() -> PermissiveFacts:
    return PermissiveFacts(
        policies={
            "policy-1": PolicyStanding(PolicyStatus.GRACE, frozenset({Purpose.SCORE})),
            "policy-2": PolicyStanding(PolicyStatus.ACTIVE),
        },
        screens={SHOWN: frozenset(Clause)},
    )


def given_record(key: ConsentKey = KEY, screen: str = SHOWN, **changes: Any) -> ConsentRecord:
    answer = Answer(
        Screen(screen, tuple(Clause)),
        Action.TICK_UNTICKED_BOX,
        prechecked=False,
        bundled=False,
        dwell_ms=0,
        expires_at=END,
    )
    record = ConsentRecord(
        key, bytes(16), ConsentState.GIVEN, GIVEN_AT, answer.screen, answer, answered_at=GIVEN_AT
    )
    return replace(record, **changes)


def with_answer(**changes: Any) -> ConsentRecord:
    record = given_record()
    assert record.answer is not None
    return replace(record, answer=replace(record.answer, **changes))


def decide(asked: ConsentKey, record: ConsentRecord, now: int = NOW) -> ConsentRefusal | None:
    """As whoever holds one record answers."""
    if record.key != asked:
        return refusal_without_record(asked, [record.key])
    return consent_refusal(record, facts(), now=now)


def test_exactly_one_cell_permits() -> None:
    """Purpose × recipient × position × season × version × screen: only what was consented to, as it was."""
    cells = itertools.product(
        Purpose,
        ("akane", "beni"),
        ("engineer", "sales"),
        ("2027", "2028"),
        ("policy-1", "policy-2"),
        (SHOWN, UNKNOWN),
    )
    permitted = [
        cell for cell in cells if decide(ConsentKey("s1", *cell[:-1]), given_record(screen=cell[-1])) is None
    ]
    assert permitted == [(Purpose.SCORE, "akane", "engineer", "2027", "policy-2", SHOWN)]


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"purpose": Purpose.TRAIN}, ConsentRefusal.PURPOSE_MISMATCH),
        ({"company": "beni"}, ConsentRefusal.RECIPIENT_MISMATCH),
        ({"position": "sales"}, ConsentRefusal.POSITION_MISMATCH),
        ({"season": "2028"}, ConsentRefusal.SEASON_MISMATCH),
        ({"policy": "policy-1"}, ConsentRefusal.SUPERSEDED),
        ({"company": "beni", "position": "sales"}, ConsentRefusal.NEVER_SHOWN),
    ],
)
def test_a_consent_to_something_else_says_what_is_else(
    changes: dict[str, Any], refusal: ConsentRefusal
) -> None:
    """The one part that differs; if more do, nothing was ever shown for this."""
    assert decide(replace(KEY, **changes), given_record()) is refusal
    assert refusal_without_record(replace(KEY, **changes), []) is ConsentRefusal.NEVER_SHOWN


@pytest.mark.parametrize(
    ("state", "refusal"),
    [
        (ConsentState.NEVER_SHOWN, ConsentRefusal.NEVER_SHOWN),
        (ConsentState.SHOWN, ConsentRefusal.MISSING),
        (ConsentState.REQUESTED, ConsentRefusal.MISSING),
        (ConsentState.DEFERRED, ConsentRefusal.MISSING),
        (ConsentState.GIVEN, None),
        (ConsentState.RENEWED, None),
        (ConsentState.REFUSED, ConsentRefusal.REFUSED),
        (ConsentState.WITHDRAWN, ConsentRefusal.WITHDRAWN),
        (ConsentState.EXPIRED, ConsentRefusal.EXPIRED),
        (ConsentState.SUPERSEDED, ConsentRefusal.SUPERSEDED),
        (ConsentState.INVALIDATED, ConsentRefusal.INVALIDATED),
        (ConsentState.REVOKED, ConsentRefusal.REVOKED),
    ],
)
def test_each_state_has_its_answer(state: ConsentState, refusal: ConsentRefusal | None) -> None:
    """Only GIVEN and RENEWED count."""
    assert decide(KEY, given_record(state=state)) is refusal


@pytest.mark.parametrize("state", [ConsentState.REFUSED, ConsentState.WITHDRAWN, ConsentState.REVOKED])
def test_what_was_overruled_has_the_answer_of_what_overruled_it(state: ConsentState) -> None:
    """Though no event of its own ended it."""
    refusal = decide(KEY, given_record(overruled=state))
    assert refusal == f"CONSENT_{state}"


def test_it_counts_until_the_second_before_it_expires() -> None:
    """expires_at itself is too late."""
    assert decide(KEY, given_record(), now=END - 1) is None
    assert decide(KEY, given_record(), now=END) is ConsentRefusal.EXPIRED


@pytest.mark.parametrize("status", PolicyStatus)
@pytest.mark.parametrize("is_material", [False, True])
def test_a_policy_counts_in_force_or_where_nothing_material_changed(
    status: PolicyStatus, is_material: bool
) -> None:
    """ACTIVE; GRACE only if the newer version changed nothing material for the purpose."""
    known = facts()
    changed = frozenset({Purpose.SCORE}) if is_material else frozenset({Purpose.TRAIN})
    known.policies["policy-2"] = PolicyStanding(status, changed)
    counts = status is PolicyStatus.ACTIVE or (status is PolicyStatus.GRACE and not is_material)
    expected = None if counts else ConsentRefusal.SUPERSEDED
    assert consent_refusal(given_record(), known, now=NOW) is expected
    del known.policies["policy-2"]
    assert consent_refusal(given_record(), known, now=NOW) is ConsentRefusal.SUPERSEDED


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("missing", Clause)
@pytest.mark.parametrize("where", ["register", "event"])
def test_every_required_clause_must_have_been_there(purpose: Purpose, missing: Clause, where: str) -> None:
    """In what the crawler found and in what her event says; no other clause matters."""
    known, record = facts(), given_record(replace(KEY, purpose=purpose))
    left = tuple(clause for clause in Clause if clause is not missing)
    if where == "register":
        known.screens[SHOWN] = frozenset(left)
    else:
        assert record.answer is not None
        record = replace(record, answer=replace(record.answer, screen=Screen(SHOWN, left)))
    expected = ConsentRefusal.SCREEN_CLAUSE_MISSING if missing in REQUIRED_CLAUSES[purpose] else None
    assert consent_refusal(record, known, now=NOW) is expected


def test_the_screen_is_judged_by_when_she_answered() -> None:
    """The register is asked about that moment, not about now."""
    asked: list[tuple[ConsentKey, str, int]] = []

    class Register(PermissiveFacts):
        def clauses_shown(self, key: ConsentKey, screen: str, at: int) -> frozenset[Clause] | None:
            asked.append((key, screen, at))
            return None

    known = Register(policies=facts().policies)
    assert consent_refusal(given_record(), known, now=NOW) is ConsentRefusal.SCREEN_UNVERIFIED
    assert asked == [(KEY, SHOWN, GIVEN_AT)]


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("prechecked", [False, True])
@pytest.mark.parametrize("bundled", [False, True])
def test_only_an_action_of_its_own_is_consent(action: Action, prechecked: bool, bundled: bool) -> None:
    """A box that was ticked before, or a button that does something else too, is none."""
    found = decide(KEY, with_answer(action=action, prechecked=prechecked, bundled=bundled))
    if prechecked or action is Action.LEAVE_TICKED_BOX:
        assert found is ConsentRefusal.PRECHECKED
    elif bundled or action is Action.PRESS_OTHER_BUTTON:
        assert found is ConsentRefusal.BUNDLED
    else:
        assert found is None


def test_a_company_without_agreement_or_a_suspended_service_gets_nobody() -> None:
    """Each with its own code, and only for that company."""
    for name, refusal in (
        ("inactive", ConsentRefusal.AGREEMENT_INACTIVE),
        ("suspended", ConsentRefusal.SERVICE_SUSPENDED),
    ):
        known = facts()
        getattr(known, name).add("beni")
        assert consent_refusal(given_record(), known, now=NOW) is None
        getattr(known, name).add("akane")
        assert consent_refusal(given_record(), known, now=NOW) is refusal


@given(st.sampled_from(ConsentRefusal))
def test_a_company_hears_the_same_whatever_the_reason(refusal: ConsentRefusal) -> None:
    """The collapsed answer has neither the code nor the words of the reason."""
    assert told_to_company(refusal) == NOT_AVAILABLE
    told, detailed = company_error(), consent_error(refusal)
    assert (told.code, told.message) == (NOT_AVAILABLE, "not available")
    assert detailed.code == refusal.value
    assert refusal.value not in told.message
