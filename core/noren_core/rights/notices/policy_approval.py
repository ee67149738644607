"""Approvals of a policy version: signatures of staff, each over the digest of exactly that version.

docs/rights/policies-and-screens.md §2. Promises: a version counts as approved only if two different people,
with different roles among privacy, legal and student viewpoint, signed it with different keys that the
platform registered for these people in these roles. Not covered: one human being with two registered keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self

from noren_core.crypto.identity import SigningKey
from noren_core.errors import LocalProtocolError, VerificationError
from noren_core.rights.fields import bytes_of, name, read_fields, seconds, word_of
from noren_core.rights.notices.policy import PolicyVersion
from noren_core.rights.signed_statement import SignedStatement, parse_statement, sign_statement

MAX_APPROVAL_BYTES = 1024
_LABEL = b"noren/v1/policy-approval"


class ApproverRole(StrEnum):
    """Whose eyes a policy needs; two of the three."""

    PRIVACY = "privacy"
    LEGAL = "legal"
    STUDENT_VIEWPOINT = "student-viewpoint"


@dataclass(frozen=True, slots=True)
class StaffMember:
    """One person who may approve: a staff code, one role, one Ed25519 public key."""

    person: str
    role: ApproverRole
    public_key: bytes


@dataclass(frozen=True, slots=True)
class Approval:
    """One person's approval of one version; its signature is checked by `verify_approval`."""

    policy: str
    sha256: bytes
    person: str
    role: ApproverRole
    approved_at: int
    signature: bytes

    def to_bytes(self) -> bytes:
        """The canonical bytes: {"body", "signature"}."""
        return SignedStatement(_body(self), self.signature).to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The approval in `data`; DataError for anything but the canonical bytes of one."""
        statement = parse_statement(data, "approval", limit=MAX_APPROVAL_BYTES)
        fields = read_fields(
            statement.body,
            {
                "policy": name,
                "sha256": bytes_of(32),
                "person": name,
                "role": word_of(ApproverRole),
                "approved_at": seconds,
            },
            "approval",
        )
        return cls(**fields, signature=statement.signature)


def approve(version: PolicyVersion, *, person: str, role: ApproverRole, at: int, key: SigningKey) -> Approval:
    """A person's approval of a version, signed."""
    unsigned = Approval(version.policy, version.digest(), person, role, at, b"")
    return replace(unsigned, signature=sign_statement(_LABEL, _body(unsigned), key).signature)


def verify_approval(version: PolicyVersion, approval: Approval, staff: Mapping[str, StaffMember]) -> None:
    """Raise unless a registered person approved exactly this version in her registered role.

    Raises:
        VerificationError: if it is about another version, by somebody else, in another role, or not signed.
    """
    if (approval.policy, approval.sha256) != (version.policy, version.digest()):
        raise VerificationError("approval: expected one of exactly this version, got one of another")
    member = staff.get(approval.person)
    if member is None or member.role is not approval.role:
        raise VerificationError("approval: expected a registered approver in her role, got another")
    SignedStatement(_body(approval), approval.signature).verify(_LABEL, member.public_key)


def verify_approved(
    version: PolicyVersion, approvals: Iterable[Approval], staff: Mapping[str, StaffMember]
) -> None:
    """Raise unless enough different people approved this version.

    1. Every approval verifies.
    2. Two of them differ in person, role and key. Only two are needed, so it is enough to compare pairs.

    Raises:
        VerificationError: if an approval does not verify.
        LocalProtocolError: with code SECOND_APPROVER_REQUIRED, if two different people did not approve.
    """
    members = []
    for approval in approvals:  # 1
        verify_approval(version, approval, staff)
        members.append(staff[approval.person])
    if not any(_are_two(one, other) for one in members for other in members):  # 2
        raise LocalProtocolError(
            "policy: expected approvals of two people in different roles, got fewer",
            code="SECOND_APPROVER_REQUIRED",
        )


def _are_two(one: StaffMember, other: StaffMember) -> bool:
    return one.person != other.person and one.role != other.role and one.public_key != other.public_key


def _body(approval: Approval) -> dict[str, Any]:
    return {
        "policy": approval.policy,
        "sha256": approval.sha256.hex(),
        "person": approval.person,
        "role": approval.role.value,
        "approved_at": approval.approved_at,
    }
