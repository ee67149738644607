"""Who may do what, and which two duties one person may not hold: data, and the two questions about it.

Promises: what the table does not allow is refused (ROLE_FORBIDDEN), what needs two people is refused to one
(BREAK_GLASS_REQUIRED), and nobody holds two duties that would have her control herself
(SEPARATION_OF_DUTIES). Who somebody is, and that it is her, is for whoever keeps the register.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from noren_core import ids
from noren_core.errors import DataError, LocalProtocolError


class Role(StrEnum):
    """Everybody who acts; those of one party are no persons, but hats that persons wear."""

    STUDENT = "student"
    CONSENT_ADMIN = "consent-admin"
    ML_OPERATOR = "ml-operator"
    PRIVACY_OFFICER = "privacy-officer"
    COMPANY_ADMIN = "company-admin"
    COMPANY_ML_OPERATOR = "company-ml-operator"
    DECIDER = "decider"
    FOLLOW_UP = "follow-up"
    PRIVACY_CONTACT = "privacy-contact"
    CUSTODIAN = "custodian"
    AUDITOR = "auditor"
    REGULATOR = "regulator"


class Action(StrEnum):
    """Everything that a role is asked for. What several roles do in different ways is several actions."""

    GIVE_CONSENT = "give-consent"  # or withdraw it, or link her account
    DRAFT_POLICY = "draft-policy"  # or a screen
    APPROVE_POLICY = "approve-policy"
    BLOCK_POLICY = "block-policy"
    SEE_OWN_LINKS = "see-own-links"
    SEE_MAPPING = "see-mapping"  # of another person's account to what a company looks her up by
    START_ROUND = "start-round"
    JOIN_ROUND = "join-round"
    BLOCK_ROUND = "block-round"
    SEE_FEATURES = "see-features"
    SEAL_DECISION = "seal-decision"
    VERIFY_DECISION = "verify-decision"
    VIEW_SCORE = "view-score"
    OPEN_OWN_COPY = "open-own-copy"
    PLAN_FOLLOW_UP = "plan-follow-up"
    SIGN_AGREEMENT = "sign-agreement"
    WITNESS_AGREEMENT = "witness-agreement"
    ANSWER_DISCLOSURE = "answer-disclosure"
    OVERSEE_DISCLOSURE = "oversee-disclosure"
    REQUEST_ERASURE = "request-erasure"
    ORDER_ERASURE = "order-erasure"
    CERTIFY_DELETION = "certify-deletion"
    COSIGN_DELETION = "cosign-deletion"
    VERIFY_DELETION = "verify-deletion"
    SUSPEND_SERVICE = "suspend-service"  # all of it
    SUSPEND_OWN_PART = "suspend-own-part"
    REQUEST_SUSPENSION = "request-suspension"
    RESUME_SERVICE = "resume-service"  # a privacy officer and an auditor, together
    RESUME_OWN_PART = "resume-own-part"
    READ_ALL_LEDGERS = "read-all-ledgers"
    READ_OWN_LEDGER = "read-own-ledger"
    MANAGE_STAFF = "manage-staff"


class Permission(StrEnum):
    """What the table says of a role and an action."""

    NO = "no"
    YES = "yes"
    TWO_PEOPLE = "two-people"


_YES, _TWO = Permission.YES, Permission.TWO_PEOPLE
_COMPANY_READERS = (Role.COMPANY_ADMIN, Role.COMPANY_ML_OPERATOR, Role.PRIVACY_CONTACT)
_PLATFORM_READERS = (Role.CONSENT_ADMIN, Role.ML_OPERATOR, Role.PRIVACY_OFFICER, Role.AUDITOR, Role.REGULATOR)

MATRIX: Mapping[Action, Mapping[Role, Permission]] = {
    Action.GIVE_CONSENT: {Role.STUDENT: _YES},
    Action.DRAFT_POLICY: {Role.CONSENT_ADMIN: _YES},
    Action.APPROVE_POLICY: {Role.PRIVACY_OFFICER: _YES},
    Action.BLOCK_POLICY: {Role.AUDITOR: _YES},
    Action.SEE_OWN_LINKS: {Role.STUDENT: _YES},
    Action.SEE_MAPPING: {Role.CONSENT_ADMIN: _TWO, Role.PRIVACY_OFFICER: _TWO},
    Action.START_ROUND: {Role.ML_OPERATOR: _YES},
    Action.JOIN_ROUND: {Role.COMPANY_ML_OPERATOR: _YES},
    Action.BLOCK_ROUND: {Role.AUDITOR: _YES},
    Action.SEE_FEATURES: {},  # programs compute with them; no person looks
    Action.SEAL_DECISION: {Role.DECIDER: _YES},
    Action.VERIFY_DECISION: {Role.AUDITOR: _YES},
    Action.VIEW_SCORE: {Role.FOLLOW_UP: _YES},
    Action.OPEN_OWN_COPY: {Role.STUDENT: _YES},
    Action.PLAN_FOLLOW_UP: {Role.FOLLOW_UP: _YES},
    Action.SIGN_AGREEMENT: {Role.PRIVACY_OFFICER: _YES, Role.COMPANY_ADMIN: _YES},
    Action.WITNESS_AGREEMENT: {Role.AUDITOR: _YES},
    Action.ANSWER_DISCLOSURE: {
        Role.CONSENT_ADMIN: _YES,
        Role.PRIVACY_OFFICER: _YES,
        Role.PRIVACY_CONTACT: _YES,
    },
    Action.OVERSEE_DISCLOSURE: {Role.AUDITOR: _YES},
    Action.REQUEST_ERASURE: {Role.STUDENT: _YES, Role.REGULATOR: _YES},
    Action.ORDER_ERASURE: {Role.CONSENT_ADMIN: _YES, Role.PRIVACY_OFFICER: _YES, Role.AUDITOR: _YES},
    Action.CERTIFY_DELETION: {Role.PRIVACY_CONTACT: _YES},
    Action.COSIGN_DELETION: {Role.CUSTODIAN: _YES},
    Action.VERIFY_DELETION: {Role.AUDITOR: _YES},
    Action.SUSPEND_SERVICE: {Role.PRIVACY_OFFICER: _YES, Role.AUDITOR: _YES},
    Action.SUSPEND_OWN_PART: {
        Role.COMPANY_ADMIN: _YES,
        Role.COMPANY_ML_OPERATOR: _YES,
        Role.PRIVACY_CONTACT: _YES,
    },
    Action.REQUEST_SUSPENSION: {Role.REGULATOR: _YES},
    Action.RESUME_SERVICE: {Role.PRIVACY_OFFICER: _TWO, Role.AUDITOR: _TWO},
    Action.RESUME_OWN_PART: {Role.COMPANY_ADMIN: _YES},
    Action.READ_ALL_LEDGERS: dict.fromkeys(_PLATFORM_READERS, _YES),
    Action.READ_OWN_LEDGER: dict.fromkeys((Role.STUDENT, *_COMPANY_READERS), _YES),
    Action.MANAGE_STAFF: {Role.COMPANY_ADMIN: _YES},
}
"""By action, who may take it; a role that is not there may not."""

PER_POSITION = frozenset({Role.DECIDER, Role.FOLLOW_UP})
"""Roles that somebody can hold for one position and season alone."""

_EXCLUSIVE = (
    frozenset({Role.DECIDER, Role.FOLLOW_UP}),
    frozenset({Role.CONSENT_ADMIN, Role.ML_OPERATOR}),
    frozenset({Role.PRIVACY_CONTACT, Role.CUSTODIAN}),
    *(frozenset({Role.AUDITOR, role}) for role in Role if role is not Role.AUDITOR),
)


@dataclass(frozen=True, slots=True)
class Assignment:
    """One role of one person.

    Attributes:
        role: which.
        position, season: for which position of which season; an empty text is every one. Only roles of
            `PER_POSITION` can be narrower than that.
    """

    role: Role
    position: str = ""
    season: str = ""

    def __post_init__(self) -> None:
        if self.role not in PER_POSITION and (self.position or self.season):
            raise DataError(f"role {self.role}: expected it for every position and season, got it for some")
        for name, what in ((self.position, "role.position"), (self.season, "role.season")):
            if name:
                ids.parse_name(name, what)

    def covers(self, *, position: str, season: str) -> bool:
        """Whether it is held for this position of this season."""
        return self.position in ("", position) and self.season in ("", season)

    def meets(self, other: Assignment) -> bool:
        """Whether there is a position and a season that both are held for."""
        return all(
            not ours or not theirs or ours == theirs
            for ours, theirs in ((self.position, other.position), (self.season, other.season))
        )

    def to_body(self) -> dict[str, str]:
        """As it stands in a register."""
        return {"role": self.role.value, "position": self.position, "season": self.season}

    @classmethod
    def from_body(cls, body: Any) -> Self:
        """The assignment that `to_body` gave; DataError for anything else."""
        if not isinstance(body, dict) or body.keys() != {"role", "position", "season"}:
            raise DataError("role: expected an object of role, position and season, got another value")
        if not all(isinstance(value, str) for value in body.values()):
            raise DataError("role: expected texts, got another value")
        return cls(parse_role(body["role"]), body["position"], body["season"])


def parse_role(text: str) -> Role:
    """The role of this name; DataError for another text."""
    if text not in tuple(Role):
        raise DataError(f"role: expected one of {', '.join(Role)}; got another word")
    return Role(text)


def permission(action: Action, role: Role) -> Permission:
    """One cell of the table."""
    return MATRIX[action].get(role, Permission.NO)


def verify_permitted(action: Action, roles: Collection[Role]) -> None:
    """Raise unless one of somebody's roles lets her take this action, alone.

    Raises:
        LocalProtocolError: with code BREAK_GLASS_REQUIRED, if one of them could with a second person; with
            code ROLE_FORBIDDEN, if none could.
    """
    found = {permission(action, role) for role in roles}
    if Permission.YES in found:
        return
    if Permission.TWO_PEOPLE in found:
        raise LocalProtocolError(
            f"{action}: expected two people, a reason and a time limit, got one person",
            code="BREAK_GLASS_REQUIRED",
        )
    raise LocalProtocolError(f"{action}: expected a role that may do it, got none", code="ROLE_FORBIDDEN")


def verify_separation(assignments: Sequence[Assignment]) -> None:
    """Raise LocalProtocolError (SEPARATION_OF_DUTIES) if one person may not hold all of these."""
    for first, second in itertools.combinations(assignments, 2):
        if frozenset({first.role, second.role}) in _EXCLUSIVE and first.meets(second):
            raise LocalProtocolError(
                f"roles: expected {first.role} and {second.role} with different people, got one person",
                code="SEPARATION_OF_DUTIES",
            )
