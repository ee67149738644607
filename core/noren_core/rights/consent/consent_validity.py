"""Whether a consent counts now, and if not, why: one pure function over records and facts.

docs/rights/consent.md §4. Promises: a consent counts only for exactly the student, purpose, company,
position, season and policy that it names, if a verified screen with every required clause was shown, an
action of its own gave it, and nothing ended it. Everything else fails closed, with one code. The code is for
the student, the privacy officer and the auditor; a company hears `NOT_AVAILABLE` whatever it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from noren_core.errors import LocalProtocolError
from noren_core.rights.clauses import REQUIRED_CLAUSES, Clause
from noren_core.rights.consent.consent_event import Action, Answer, ConsentKey
from noren_core.rights.consent.consent_record import ConsentRecord, ConsentState
from noren_core.rights.purposes import Purpose


class PolicyStatus(StrEnum):
    """How far a policy version is."""

    DRAFT = "DRAFT"
    REVIEWED = "REVIEWED"
    APPROVED = "APPROVED"
    ACTIVE = "ACTIVE"
    GRACE = "GRACE"
    RETIRED = "RETIRED"


@dataclass(frozen=True, slots=True)
class PolicyStanding:
    """A policy version, and the purposes for which the one in force differs from it materially."""

    status: PolicyStatus
    changed_for: frozenset[Purpose] = frozenset()


class Facts(Protocol):
    """What consents are judged by besides themselves, as it is at the time of asking."""

    def policy(self, policy: str) -> PolicyStanding | None:
        """The policy version of that name; None if there is none."""

    def clauses_shown(self, key: ConsentKey, screen: str, at: int) -> frozenset[Clause] | None:
        """The clauses on the screen with this SHA-256 (hex), if it was verified for the key at that time.

        None if the register does not have it, it shows another policy or company, or its verification began
        later or had ended.
        """

    def is_agreement_active(self, company: str) -> bool:
        """Whether the company's participation agreement is in force."""

    def is_running(self, company: str) -> bool:
        """Whether the service runs for this company: neither all of it is suspended nor the company."""


class ConsentRefusal(StrEnum):
    """Why a consent does not count."""

    MISSING = "CONSENT_MISSING"
    NEVER_SHOWN = "CONSENT_NEVER_SHOWN"
    REFUSED = "CONSENT_REFUSED"
    WITHDRAWN = "CONSENT_WITHDRAWN"
    EXPIRED = "CONSENT_EXPIRED"
    SUPERSEDED = "CONSENT_SUPERSEDED"
    INVALIDATED = "CONSENT_INVALIDATED"
    REVOKED = "CONSENT_REVOKED"
    RECIPIENT_MISMATCH = "CONSENT_RECIPIENT_MISMATCH"
    PURPOSE_MISMATCH = "CONSENT_PURPOSE_MISMATCH"
    POSITION_MISMATCH = "CONSENT_POSITION_MISMATCH"
    SEASON_MISMATCH = "SEASON_MISMATCH"
    SCREEN_UNVERIFIED = "SCREEN_UNVERIFIED"
    SCREEN_CLAUSE_MISSING = "SCREEN_CLAUSE_MISSING"
    BUNDLED = "CONSENT_BUNDLED"
    PRECHECKED = "CONSENT_PRECHECKED"
    AGREEMENT_INACTIVE = "AGREEMENT_INACTIVE"
    SERVICE_SUSPENDED = "SERVICE_SUSPENDED"


_OF_STATE = {
    ConsentState.SHOWN: ConsentRefusal.MISSING,
    ConsentState.REQUESTED: ConsentRefusal.MISSING,
    ConsentState.DEFERRED: ConsentRefusal.MISSING,
    ConsentState.NEVER_SHOWN: ConsentRefusal.NEVER_SHOWN,
    ConsentState.REFUSED: ConsentRefusal.REFUSED,
    ConsentState.WITHDRAWN: ConsentRefusal.WITHDRAWN,
    ConsentState.EXPIRED: ConsentRefusal.EXPIRED,
    ConsentState.SUPERSEDED: ConsentRefusal.SUPERSEDED,
    ConsentState.INVALIDATED: ConsentRefusal.INVALIDATED,
    ConsentState.REVOKED: ConsentRefusal.REVOKED,
}
_CONSENTING_ACTIONS = frozenset({Action.TICK_UNTICKED_BOX, Action.PRESS_DEDICATED_BUTTON})

NOT_AVAILABLE = "NOT_AVAILABLE"


def consent_refusal(record: ConsentRecord, facts: Facts, *, now: int) -> ConsentRefusal | None:
    """Why the consent of this record does not count now; None if it does.

    1. It was given or renewed, and nothing ended it.
    2. It has not run out.
    3. Its policy is in force; or a newer one is that changed nothing material for the purpose.
    4. The screen was verified when she answered, and every required clause was on it.
    5. She did something for this consent alone.
    6. The company's agreement is active and the service runs.
    """
    answer, key = record.answer, record.key
    if not record.is_live or answer is None:  # 1
        return _OF_STATE.get(record.overruled or record.state, ConsentRefusal.MISSING)
    if now >= answer.expires_at:  # 2
        return ConsentRefusal.EXPIRED
    if not _is_policy_in_force(facts.policy(key.policy), key.purpose):  # 3
        return ConsentRefusal.SUPERSEDED
    refusal = _screen_refusal(key, answer, facts.clauses_shown(key, answer.screen.sha256, record.answered_at))
    if refusal is not None:  # 4
        return refusal
    if answer.prechecked or answer.action is Action.LEAVE_TICKED_BOX:  # 5
        return ConsentRefusal.PRECHECKED
    if answer.bundled or answer.action not in _CONSENTING_ACTIONS:
        return ConsentRefusal.BUNDLED
    if not facts.is_agreement_active(key.company):  # 6
        return ConsentRefusal.AGREEMENT_INACTIVE
    if not facts.is_running(key.company):
        return ConsentRefusal.SERVICE_SUSPENDED
    return None


def refusal_without_record(key: ConsentKey, hers: Sequence[ConsentKey]) -> ConsentRefusal:
    """Why nothing permits `key` when there is no record of it, given what she did consent to.

    A consent that differs in one part alone explains the refusal best; a consent never reaches further.
    """
    for part, refusal in _MISMATCHES:
        if any(_differs_only_in(part, key, other) for other in hers):
            return refusal
    return ConsentRefusal.NEVER_SHOWN


def told_to_company(refusal: ConsentRefusal) -> str:
    """What a company is told of any refusal: always the same."""
    del refusal  # whatever it is; that it does not enter is the point
    return NOT_AVAILABLE


def consent_error(refusal: ConsentRefusal) -> LocalProtocolError:
    """The error with the detailed code: for the student, the privacy officer and the auditor only."""
    return LocalProtocolError("expected a consent that counts, got none", code=refusal.value)


def company_error() -> LocalProtocolError:
    """The one error about a person that a company ever sees."""
    return LocalProtocolError("not available", code=NOT_AVAILABLE)


_MISMATCHES = (
    ("policy", ConsentRefusal.SUPERSEDED),
    ("position", ConsentRefusal.POSITION_MISMATCH),
    ("purpose", ConsentRefusal.PURPOSE_MISMATCH),
    ("company", ConsentRefusal.RECIPIENT_MISMATCH),
    ("season", ConsentRefusal.SEASON_MISMATCH),
)


def _differs_only_in(part: str, key: ConsentKey, other: ConsentKey) -> bool:
    parts = ("purpose", "company", "position", "season", "policy")
    return [name for name in parts if getattr(key, name) != getattr(other, name)] == [part]


def _is_policy_in_force(policy: PolicyStanding | None, purpose: Purpose) -> bool:
    if policy is None:
        return False
    if policy.status is PolicyStatus.GRACE:
        return purpose not in policy.changed_for
    return policy.status is PolicyStatus.ACTIVE


def _screen_refusal(
    key: ConsentKey, answer: Answer, verified: frozenset[Clause] | None
) -> ConsentRefusal | None:
    """What the crawler found counts, and what the student's own event says; each must have every clause."""
    if verified is None:
        return ConsentRefusal.SCREEN_UNVERIFIED
    required = REQUIRED_CLAUSES[key.purpose]
    if not (required <= verified and required.issubset(answer.screen.clauses)):
        return ConsentRefusal.SCREEN_CLAUSE_MISSING
    return None
