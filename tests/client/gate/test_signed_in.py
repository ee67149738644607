"""Whoever showed her code to this process, and what that is worth afterwards."""

from __future__ import annotations

import pytest
from gated_company import CODE, POSITION, SEASON, GatedCompany

from noren_client.gate import staff
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import LocalProtocolError
from noren_core.rights.gate.roles import Action, Assignment, Role


def test_she_is_authorised_as_with_her_code(company: GatedCompany) -> None:
    """The same proof as `authorise` gives, for the same action and place."""
    who = staff.sign_in(company.directory, "dan", CODE, now=company.clock.now)
    found = staff.authorise_signed_in(
        company.directory, who, Action.SEAL_DECISION, position=POSITION, season=SEASON
    )
    assert found == company.authorised("dan", Action.SEAL_DECISION)
    assert CODE.reveal().decode() not in repr(who)


def test_a_wrong_code_signs_nobody_in(company: GatedCompany) -> None:
    """And counts as wrong, as everywhere."""
    for _ in range(5):
        with pytest.raises(LocalProtocolError):
            staff.sign_in(company.directory, "dan", SecretBytes(b"wrong wrong"), now=company.clock.now)
    with pytest.raises(LocalProtocolError) as refused:
        staff.sign_in(company.directory, "dan", CODE, now=company.clock.now)
    assert refused.value.code == "STAFF_LOCKED"


def test_the_register_counts_as_it_is_then(company: GatedCompany) -> None:
    """Another role, another place, another code, no entry: each is refused at once, with its own code."""
    who = staff.sign_in(company.directory, "dan", CODE, now=company.clock.now)

    def refusal(action: Action = Action.SEAL_DECISION, position: str = POSITION) -> str:
        with pytest.raises(LocalProtocolError) as refused:
            staff.authorise_signed_in(company.directory, who, action, position=position, season=SEASON)
        return refused.value.code

    assert refusal(Action.VIEW_SCORE) == "ROLE_FORBIDDEN"
    register = staff.register(company.directory)
    register.add("dan", [Assignment(Role.DECIDER, POSITION, SEASON)], CODE)
    assert refusal() == "STAFF_NOT_RECOGNISED"
    who = staff.sign_in(company.directory, "dan", CODE, now=company.clock.now)
    assert refusal(position="designer") == "ROLE_FORBIDDEN"
    register.remove("dan")
    assert refusal() == "STAFF_NOT_RECOGNISED"
    assert staff.member_now(company.directory, who) is None


def test_only_an_administrator_changes_the_register(company: GatedCompany) -> None:
    """Somebody authorised for another action adds and removes nobody; there is one first administrator."""
    dan = company.authorised("dan", Action.SEAL_DECISION)
    before = staff.register(company.directory).members()
    for change in (
        lambda: staff.add_member(company.directory, "eve", [Assignment(Role.FOLLOW_UP)], CODE, by=dan),
        lambda: staff.remove_member(company.directory, "fay", by=dan),
        lambda: staff.add_first_administrator(company.directory, "eve", CODE),
    ):
        with pytest.raises(LocalProtocolError) as refused:
            change()
        assert refused.value.code == "ROLE_FORBIDDEN"
    assert staff.register(company.directory).members() == before
