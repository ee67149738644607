"""Who of the company's staff may do what: the register, and the proof of having asked it.

Promises: whoever acts showed her access code and has a role that may do it; functions that need a role take
an `Authorised`, which `authorise` alone makes, so that no way in leaves the question out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from noren_client.company_secrets import secrets_of
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import LocalProtocolError
from noren_core.rights.gate.roles import Action, Role, verify_permitted
from noren_local.staff import StaffRegister


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
