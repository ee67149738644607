"""Who may do what: every cell of the table, and what one person may not be."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noren_core.errors import DataError, LocalProtocolError
from noren_core.rights.gate.roles import (
    MATRIX,
    PER_POSITION,
    Action,
    Assignment,
    Permission,
    Role,
    parse_role,
    permission,
    verify_permitted,
    verify_separation,
)

# One column for each role, in the order of `Role`: student, consent admin, ML operator, privacy officer,
# company admin, company ML operator, decider, follow-up, privacy contact, custodian, auditor, regulator.
# y: may, 2: with a second person, .: may not.
TABLE = {
    Action.GIVE_CONSENT: "y...........",
    Action.DRAFT_POLICY: ".y..........",
    Action.APPROVE_POLICY: "...y........",
    Action.BLOCK_POLICY: "..........y.",
    Action.SEE_OWN_LINKS: "y...........",
    Action.SEE_MAPPING: ".2.2........",
    Action.START_ROUND: "..y.........",
    Action.JOIN_ROUND: ".....y......",
    Action.BLOCK_ROUND: "..........y.",
    Action.SEE_FEATURES: "............",
    Action.SEAL_DECISION: "......y.....",
    Action.VERIFY_DECISION: "..........y.",
    Action.VIEW_SCORE: ".......y....",
    Action.OPEN_OWN_COPY: "y...........",
    Action.PLAN_FOLLOW_UP: ".......y....",
    Action.SIGN_AGREEMENT: "...yy.......",
    Action.WITNESS_AGREEMENT: "..........y.",
    Action.ANSWER_DISCLOSURE: ".y.y....y...",
    Action.OVERSEE_DISCLOSURE: "..........y.",
    Action.REQUEST_ERASURE: "y..........y",
    Action.ORDER_ERASURE: ".y.y......y.",
    Action.CERTIFY_DELETION: "........y...",
    Action.COSIGN_DELETION: ".........y..",
    Action.VERIFY_DELETION: "..........y.",
    Action.SUSPEND_SERVICE: "...y......y.",
    Action.SUSPEND_OWN_PART: "....yy..y...",
    Action.REQUEST_SUSPENSION: "...........y",
    Action.RESUME_SERVICE: "...2......2.",
    Action.RESUME_OWN_PART: "....y.......",
    Action.READ_ALL_LEDGERS: ".yyy......yy",
    Action.READ_OWN_LEDGER: "y...yy..y...",
    Action.MANAGE_STAFF: "....y.......",
}
WORDS = {"y": Permission.YES, "2": Permission.TWO_PEOPLE, ".": Permission.NO}
CODES = {Permission.NO: "ROLE_FORBIDDEN", Permission.TWO_PEOPLE: "BREAK_GLASS_REQUIRED"}


@pytest.mark.parametrize(("action", "role"), list(itertools.product(Action, Role)))
def test_every_cell(action: Action, role: Role) -> None:
    """One role may take one action, needs a second person for it, or is refused, as the table says."""
    expected = WORDS[TABLE[action][list(Role).index(role)]]
    assert permission(action, role) is expected
    if expected is Permission.YES:
        verify_permitted(action, {role})
        return
    with pytest.raises(LocalProtocolError) as caught:
        verify_permitted(action, {role})
    assert caught.value.code == CODES[expected]


def test_the_table_has_a_row_for_every_action() -> None:
    """An action that nobody wrote down is not one that everybody may take."""
    assert set(MATRIX) == set(Action) == set(TABLE)


def test_one_of_several_roles_is_enough_and_none_is_not() -> None:
    """Roles add up; without any, everything is refused."""
    verify_permitted(Action.VIEW_SCORE, {Role.COMPANY_ADMIN, Role.FOLLOW_UP})
    with pytest.raises(LocalProtocolError, match="expected a role"):
        verify_permitted(Action.VIEW_SCORE, set())


EXCLUSIVE = {
    frozenset({Role.DECIDER, Role.FOLLOW_UP}),
    frozenset({Role.CONSENT_ADMIN, Role.ML_OPERATOR}),
    frozenset({Role.PRIVACY_CONTACT, Role.CUSTODIAN}),
}


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(Role, 2)))
def test_every_pair_of_roles(first: Role, second: Role) -> None:
    """Two roles go together unless they would have somebody control herself; an auditor has no other role."""
    assignments = [Assignment(first), Assignment(second)]
    if frozenset({first, second}) in EXCLUSIVE or Role.AUDITOR in (first, second):
        with pytest.raises(LocalProtocolError) as caught:
            verify_separation(assignments)
        assert caught.value.code == "SEPARATION_OF_DUTIES"
    else:
        verify_separation(assignments)


NAMES = st.sampled_from(["", "sales", "engineer"])


@given(NAMES, NAMES, NAMES, NAMES)
def test_deciding_and_following_up_exclude_each_other_where_they_meet(
    position: str, season: str, other_position: str, other_season: str
) -> None:
    """The pair is refused exactly if there is a position of a season for which both would be held."""
    pair = [
        Assignment(Role.DECIDER, position, season),
        Assignment(Role.FOLLOW_UP, other_position, other_season),
    ]
    held_for_both = any(
        all(item.covers(position=p, season=s) for item in pair)
        for p in ("sales", "engineer")
        for s in ("sales", "engineer")
    )
    if held_for_both:
        with pytest.raises(LocalProtocolError, match="different people"):
            verify_separation(pair)
    else:
        verify_separation(pair)


@pytest.mark.parametrize("role", [role for role in Role if role not in PER_POSITION])
def test_other_roles_are_held_everywhere(role: Role) -> None:
    """Only deciding and following up can be narrowed to a position."""
    with pytest.raises(DataError, match="every position"):
        Assignment(role, position="sales")


def test_an_assignment_is_written_and_read() -> None:
    """What a register holds is read as it was written; other fields, roles and names are refused."""
    assignment = Assignment(Role.DECIDER, "sales", "2027")
    assert Assignment.from_body(assignment.to_body()) == assignment
    good = assignment.to_body()
    for bad in (
        {},
        good | {"more": ""},
        good | {"role": "owner"},
        good | {"position": "Ä"},
        good | {"season": 1},
    ):
        with pytest.raises(DataError):
            Assignment.from_body(bad)
    with pytest.raises(DataError, match="expected one of student"):
        parse_role("owner")
