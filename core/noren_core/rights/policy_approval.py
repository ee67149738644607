"""Approvals of a policy version: signatures of staff, each over the digest of exactly that version.

docs/rights/policies-and-screens.md §2. Promises: a version counts as approved only if two different people,
with different roles among privacy, legal and student viewpoint, signed it with different keys that the platform
registered for these people in these roles. Not covered: one human being with two registered keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from noren_core import canonical_json
from noren_core.crypto.identity import SigningKey, verify_signature
from noren_core.errors import DataError, LocalProtocolError, VerificationError
from noren_core.ids import parse_name
from noren_core.rights.policy import PolicyVersion

MAX_APPROVAL_BYTES = 1024
_MAX_TIME = 1 << 40
_LABEL = b"noren/v1/policy-approval"
_HASH_HEX = re.compile(r"[0-9a-f]{64}\Z")
_SIGNATURE_HEX = re.compile(r"[0-9a-f]{128}\Z")


class ApproverRole(StrEnum):
    """Whose eyes a policy needs; two of the three."""

    PRIVACY = "privacy"
    LEGAL = "legal"
    STUDENT_VIEWPOINT = "student-viewpoint"


def parse_role(value: object) -> ApproverRole:
    """The role that `value` names; DataError for any other."""
    if value not in tuple(ApproverRole):
        raise DataError(f"role: expected one of {', '.join(ApproverRole)}; got another")
    return ApproverRole(str(value))


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
    sha256: str
    person: str
    role: ApproverRole
    approved_at: int
    signature: bytes

    def to_bytes(self) -> bytes:
        """The canonical bytes."""
        return canonical_json.encode({**_statement(self), "signature": self.signature.hex()})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The approval in `data`; DataError for anything but the canonical bytes of one."""
        if len(data) > MAX_APPROVAL_BYTES:
            raise DataError(f"approval: expected at most {MAX_APPROVAL_BYTES} bytes, got more")
        fields = canonical_json.parse_object(data)
        if fields.keys() != {"policy", "sha256", "person", "role", "approved_at", "signature"}:
            raise DataError("approval: expected exactly the fields of one, got others")
        at = fields["approved_at"]
        if type(at) is not int or not 0 < at <= _MAX_TIME:
            raise DataError("approval.approved_at: expected Unix seconds, got another value")
        return cls(
            parse_name(fields["policy"], "approval.policy"),
            _hex(_HASH_HEX, fields["sha256"], "sha256"),
            parse_name(fields["person"], "approval.person"),
            parse_role(fields["role"]),
            at,
            bytes.fromhex(_hex(_SIGNATURE_HEX, fields["signature"], "signature")),
        )


def approve(
    version: PolicyVersion, *, person: str, role: ApproverRole, at: int, key: SigningKey
) -> Approval:
    """A person's approval of a version, signed."""
    unsigned = Approval(version.policy, version.digest().hex(), person, role, at, b"")
    signature = key.sign(_LABEL, canonical_json.encode(_statement(unsigned)))
    return Approval(unsigned.policy, unsigned.sha256, person, role, at, signature)


def verify_approval(version: PolicyVersion, approval: Approval, staff: Mapping[str, StaffMember]) -> None:
    """Raise unless a registered person approved exactly this version in her registered role.

    Raises:
        VerificationError: if it is about another version, by somebody else, in another role, or not signed.
    """
    if (approval.policy, approval.sha256) != (version.policy, version.digest().hex()):
        raise VerificationError("approval: expected one of exactly this version, got one of another")
    member = staff.get(approval.person)
    if member is None or member.role is not approval.role:
        raise VerificationError("approval: expected a registered approver in her role, got another")
    verify_signature(
        member.public_key, _LABEL, canonical_json.encode(_statement(approval)), approval.signature
    )


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


def _statement(approval: Approval) -> dict[str, Any]:
    return {
        "policy": approval.policy,
        "sha256": approval.sha256,
        "person": approval.person,
        "role": approval.role.value,
        "approved_at": approval.approved_at,
    }


def _hex(pattern: re.Pattern[str], value: Any, what: str) -> str:
    if not isinstance(value, str) or not pattern.match(value):
        raise DataError(f"approval.{what}: expected lower-case hex digits of its length")
    return value
