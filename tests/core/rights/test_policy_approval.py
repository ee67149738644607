"""Approvals of policies: two people, two roles, two keys, exactly this version."""

from __future__ import annotations

from dataclasses import replace

import pytest

from noren_core.crypto.identity import SigningKey
from noren_core.errors import DataError, LocalProtocolError, VerificationError
from noren_core.rights.notices.notice_texts import packaged_policy
from noren_core.rights.notices.policy import PolicyVersion
from noren_core.rights.notices.policy_approval import (
    Approval,
    ApproverRole,
    StaffMember,
    approve,
    verify_approval,
    verify_approved,
)

NOW = 1_800_000_000
POLICY = packaged_policy(policy="policy-2027", season="2027", dpia="DPIA-2027")
KEYS = {person: SigningKey.generate() for person in ("p1", "p2", "p3")}
ROLES = {"p1": ApproverRole.PRIVACY, "p2": ApproverRole.LEGAL, "p3": ApproverRole.LEGAL}
STAFF = {person: StaffMember(person, ROLES[person], KEYS[person].public_key) for person in KEYS}


def approval(person: str, version: PolicyVersion = POLICY, role: ApproverRole | None = None) -> Approval:
    return approve(version, person=person, role=role or ROLES[person], at=NOW, key=KEYS[person])


def test_two_people_in_different_roles_approve() -> None:
    """Privacy and legal together are enough."""
    verify_approved(POLICY, [approval("p1"), approval("p2")], STAFF)
    verify_approved(POLICY, [approval("p3"), approval("p2"), approval("p1")], STAFF)


@pytest.mark.parametrize("people", [[], ["p1"], ["p1", "p1"], ["p2", "p3"]])
def test_one_person_or_one_role_is_not_enough(people: list[str]) -> None:
    """Nobody, one person twice, and two people in one role are all one pair of eyes too few."""
    with pytest.raises(LocalProtocolError) as refused:
        verify_approved(POLICY, [approval(person) for person in people], STAFF)
    assert refused.value.code == "SECOND_APPROVER_REQUIRED"


def test_one_key_under_two_names_is_one_person() -> None:
    """Registering oneself twice does not make a second approver."""
    twin = StaffMember("twin", ApproverRole.STUDENT_VIEWPOINT, KEYS["p1"].public_key)
    second = approve(POLICY, person="twin", role=twin.role, at=NOW, key=KEYS["p1"])
    with pytest.raises(LocalProtocolError) as refused:
        verify_approved(POLICY, [approval("p1"), second], {**STAFF, "twin": twin})
    assert refused.value.code == "SECOND_APPROVER_REQUIRED"


def test_an_approval_is_of_exactly_one_version() -> None:
    """One changed character, and the approval is of something else."""
    other = packaged_policy(policy="policy-2027", season="2027", dpia="DPIA-2028")
    with pytest.raises(VerificationError):
        verify_approval(other, approval("p1"), STAFF)


def test_only_registered_people_approve_in_their_own_role_with_their_own_key() -> None:
    """Another role, an unknown person, and somebody else's key are refused."""
    with pytest.raises(VerificationError):
        verify_approval(POLICY, approval("p1", role=ApproverRole.STUDENT_VIEWPOINT), STAFF)
    with pytest.raises(VerificationError):
        verify_approval(POLICY, approval("p1"), {"p2": STAFF["p2"]})
    with pytest.raises(VerificationError):
        verify_approval(POLICY, replace(approval("p1"), person="p2", role=ROLES["p2"]), STAFF)
    with pytest.raises(VerificationError):
        verify_approval(POLICY, replace(approval("p1"), approved_at=NOW + 1), STAFF)


def test_an_approval_reads_back_and_nothing_else_does() -> None:
    """One spelling; every changed byte is refused or no longer verifies."""
    data = approval("p1").to_bytes()
    assert Approval.from_bytes(data) == approval("p1")
    for place in range(len(data)):
        mutant = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises((DataError, VerificationError)):
            verify_approval(POLICY, Approval.from_bytes(mutant), STAFF)
