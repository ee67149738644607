"""Who of the company's staff may do what: the register, and the proof of having asked it.

Promises: whoever acts showed her access code and has a role that may do it; functions that need a role take
an `Authorised`, which `authorise` and `authorise_signed_in` alone make, so that no way in leaves the question
out. Who signed in to pages is asked for again with the register as it is then: a role that was taken away, or
a code that was changed, counts at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from noren_client.company_secrets import secrets_of
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import LocalProtocolError
from noren_core.rights.gate.roles import Action, Assignment, Role, verify_permitted
from noren_local.staff import Member, StaffRegister

COMPANY_ROLES = frozenset(
    {
        Role.COMPANY_ADMIN,
        Role.COMPANY_ML_OPERATOR,
        Role.DECIDER,
        Role.FOLLOW_UP,
        Role.PRIVACY_CONTACT,
    }
)
"""Those that the people of a company hold; the others are for other parties."""


@dataclass(frozen=True, slots=True)
class Authorised:
    """One of the staff who may take this action now, for this position of this season."""

    name: str
    action: Action
    position: str
    season: str

    def verify(self, *actions: Action, position: str, season: str) -> None:
        """Raise LocalProtocolError (ROLE_FORBIDDEN) unless this is for one of these actions, and there."""
        if self.action not in actions or (self.position, self.season) != (position, season):
            raise LocalProtocolError(
                "staff: expected somebody authorised for this action and position, got another",
                code="ROLE_FORBIDDEN",
            )


def register(company_dir: Path) -> StaffRegister:
    """The company's register of staff."""
    return StaffRegister(company_dir, secrets_of(company_dir), Role.COMPANY_ADMIN)


def authorise(
    company_dir: Path,
    name: str,
    code: SecretBytes,
    action: Action,
    *,
    position: str = "",
    season: str = "",
    now: int,
) -> Authorised:
    """Whoever has this name and code, if one of her roles may take the action there.

    Raises:
        LocalProtocolError: with code STAFF_NOT_RECOGNISED, STAFF_LOCKED or ROLE_FORBIDDEN.
    """
    member = register(company_dir).authenticate(name, code, now=now)
    verify_permitted(action, member.roles(position=position, season=season))
    return Authorised(name, action, position, season)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """One of the staff who showed her access code to this process; `sign_in` alone makes it.

    Attributes:
        name: hers.
        salt: of the access code that she showed; a new code has another one.
    """

    name: str
    salt: bytes = field(repr=False)


def sign_in(company_dir: Path, name: str, code: SecretBytes, *, now: int) -> SignedIn:
    """Whoever has this name and code; LocalProtocolError as `StaffRegister.authenticate`."""
    member = register(company_dir).authenticate(name, code, now=now)
    return SignedIn(member.name, member.salt)


def member_now(company_dir: Path, who: SignedIn) -> Member | None:
    """Her entry in the register as it is now; None if she was removed or has another access code since."""
    members = register(company_dir).members()
    return next((found for found in members if (found.name, found.salt) == (who.name, who.salt)), None)


def authorise_signed_in(
    company_dir: Path, who: SignedIn, action: Action, *, position: str = "", season: str = ""
) -> Authorised:
    """Whoever signed in, if one of her roles may take the action there, now.

    Raises:
        LocalProtocolError: with code STAFF_NOT_RECOGNISED or ROLE_FORBIDDEN.
    """
    member = member_now(company_dir, who)
    if member is None:
        raise LocalProtocolError(
            "staff: expected a member with the access code that she signed in with, got none",
            code="STAFF_NOT_RECOGNISED",
        )
    verify_permitted(action, member.roles(position=position, season=season))
    return Authorised(who.name, action, position, season)


def add_first_administrator(company_dir: Path, name: str, code: SecretBytes) -> None:
    """The first member of the staff, who has nobody to ask; afterwards administrators add the others.

    Raises:
        LocalProtocolError: with code ROLE_FORBIDDEN, if there is an administrator.
        DataError: as `StaffRegister.add`.
    """
    if register(company_dir).has_administrator:
        raise LocalProtocolError(
            "staff: expected no administrator yet, got one: ask her", code="ROLE_FORBIDDEN"
        )
    register(company_dir).add(name, [Assignment(Role.COMPANY_ADMIN)], code)


def add_member(
    company_dir: Path, name: str, assignments: Sequence[Assignment], code: SecretBytes, *, by: Authorised
) -> None:
    """Add a member, or give one other roles and another code; raises as `StaffRegister.add`."""
    by.verify(Action.MANAGE_STAFF, position="", season="")
    register(company_dir).add(name, assignments, code)


def remove_member(company_dir: Path, name: str, *, by: Authorised) -> None:
    """Remove a member; raises as `StaffRegister.remove`."""
    by.verify(Action.MANAGE_STAFF, position="", season="")
    register(company_dir).remove(name)
