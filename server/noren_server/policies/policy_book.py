"""The policies of a platform: versions, who approved them, when each came into force; `policies.db`.

Promises: nothing that was written is changed; a version's state at any past time can be told; a version gets
into force only approved by two different people, with every screen of it verified, and stated in the ledger
(`activation`). The file holds staff codes, public keys and public texts, and nothing about students.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from noren_core import canonical_json
from noren_core.errors import LocalProtocolError, VerificationError
from noren_core.ids import parse_name
from noren_core.rights.consent.consent_validity import PolicyStatus
from noren_core.rights.notices.notice_texts import NoticeFacts
from noren_core.rights.notices.policy import PolicyVersion, verify_transition
from noren_core.rights.notices.policy_approval import Approval, ApproverRole, StaffMember, verify_approval
from noren_server.policies.evidence_file import EvidenceFile, append_only

FILE_NAME = "policies.db"
SECONDS_PER_DAY = 86_400

_VERSION = 1
_TABLES = {
    "versions": "policy TEXT NOT NULL, body BLOB NOT NULL",
    "steps": "policy TEXT NOT NULL, status TEXT NOT NULL, at INTEGER NOT NULL",
    "approvals": "policy TEXT NOT NULL, person TEXT NOT NULL, approval BLOB NOT NULL",
    "staff": "person TEXT NOT NULL, role TEXT NOT NULL, public_key BLOB NOT NULL, at INTEGER NOT NULL",
    "notices": "company TEXT NOT NULL, position TEXT NOT NULL, body BLOB NOT NULL, at INTEGER NOT NULL",
}
_SCHEMA = "".join(
    f"CREATE TABLE {table} (seq INTEGER PRIMARY KEY, {columns}) STRICT;{append_only(table)}"
    for table, columns in _TABLES.items()
)
_NO_KEY = b""  # what a staff row has when the person may no longer approve


@dataclass(frozen=True, slots=True)
class Step:
    """A version came into a state at a time."""

    policy: str
    status: PolicyStatus
    at: int


class PolicyBook:
    """One platform's policies."""

    def __init__(self, file: EvidenceFile) -> None:
        self._file = file

    @classmethod
    def open(cls, directory: Path) -> Self:
        """The book in a platform's directory; an empty one if there is none."""
        return cls(EvidenceFile(directory / FILE_NAME, schema=_SCHEMA, version=_VERSION))

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    # Versions ---------------------------------------------------------------------------------------------

    def add(self, version: PolicyVersion, *, at: int) -> None:
        """Take a version over as DRAFT; the same again changes nothing.

        Raises:
            LocalProtocolError: if another version has its name, or it replaces one that is not here.
        """
        with self._file.writing() as db:
            known = _find_version(db, version.policy)
            if known == version:
                return
            if known is not None:
                raise LocalProtocolError("policy: expected a new name for another version, got a used one")
            if version.replaces and _find_version(db, version.replaces) is None:
                raise LocalProtocolError("policy.replaces: expected the name of a version here, got another")
            _insert(db, "versions", version.policy, version.to_bytes())
            _insert(db, "steps", version.policy, PolicyStatus.DRAFT.value, at)

    def version(self, policy: str) -> PolicyVersion:
        """The version of that name; LocalProtocolError if there is none."""
        with self._file.reading() as db:
            return _version(db, policy)

    def versions(self) -> tuple[PolicyVersion, ...]:
        """All of them, in the order in which they were added."""
        with self._file.reading() as db:
            rows = db.execute("SELECT body FROM versions ORDER BY seq").fetchall()
        return tuple(PolicyVersion.from_body(canonical_json.parse(body)) for (body,) in rows)

    # States -----------------------------------------------------------------------------------------------

    def status(self, policy: str, *, at: int) -> PolicyStatus | None:
        """The state of a version at a time, now or before; None if it was not there yet."""
        with self._file.reading() as db:
            return _status(db, policy, at)

    def active(self, season: str, *, at: int) -> PolicyVersion | None:
        """The version in force for a season at a time; None if there was none."""
        return next(
            (
                version
                for version in self.versions()
                if version.season == season and self.status(version.policy, at=at) is PolicyStatus.ACTIVE
            ),
            None,
        )

    def steps(self, policy: str) -> tuple[Step, ...]:
        """Every state that a version came into, or will when its grace ends, in order of time."""
        with self._file.reading() as db:
            return _steps(db, policy)

    def advance(self, policy: str, status: PolicyStatus, *, at: int) -> None:
        """Bring a version into its next state; ACTIVE only by `put_in_force`.

        Raises:
            LocalProtocolError: with code POLICY_STATE, if its state does not allow it.
        """
        if status is PolicyStatus.ACTIVE:
            raise LocalProtocolError("policy: expected to be activated by way of the ledger")
        with self._file.writing() as db:
            _version(db, policy)
            _take_step(db, policy, status, at)

    def put_in_force(self, version: PolicyVersion, *, at: int) -> None:
        """Make a version ACTIVE, and the one of the season that was before it GRACE until its days are over.

        Everything that must be true before is checked by `activation.activate`.
        """
        with self._file.writing() as db:
            _take_step(db, version.policy, PolicyStatus.ACTIVE, at)
            for other in self.versions():
                if other.policy == version.policy or other.season != version.season:
                    continue
                if _status(db, other.policy, at) is PolicyStatus.ACTIVE:
                    _take_step(db, other.policy, PolicyStatus.GRACE, at)
                    end = at + version.grace_days * SECONDS_PER_DAY
                    _insert(db, "steps", other.policy, PolicyStatus.RETIRED.value, end)

    # Approvals --------------------------------------------------------------------------------------------

    def add_staff(self, member: StaffMember, *, at: int) -> None:
        """Register who may approve, in which role, with which key; replaces what was known of her."""
        with self._file.writing() as db:
            _insert(db, "staff", member.person, member.role.value, member.public_key, at)

    def remove_staff(self, person: str, *, at: int) -> None:
        """The person may approve no longer; what she approved does not count for an activation any more."""
        with self._file.writing() as db:
            member = _staff(db).get(parse_name(person, "person"))
            if member is None:
                raise LocalProtocolError("staff: expected a registered person, got another")
            _insert(db, "staff", member.person, member.role.value, _NO_KEY, at)

    def staff(self) -> Mapping[str, StaffMember]:
        """Who may approve now, by person."""
        with self._file.reading() as db:
            return _staff(db)

    def add_approval(self, approval: Approval) -> None:
        """Keep an approval; the same again changes nothing.

        Raises:
            VerificationError: if it is not a registered person's, of exactly a version here.
            LocalProtocolError: with code POLICY_STATE, if the version is not REVIEWED or APPROVED.
        """
        with self._file.writing() as db:
            version = _version(db, approval.policy)
            verify_approval(version, approval, _staff(db))
            if _steps(db, version.policy)[-1].status not in (PolicyStatus.REVIEWED, PolicyStatus.APPROVED):
                raise LocalProtocolError(
                    "policy: expected one that was reviewed and is not in force yet, got another",
                    code="POLICY_STATE",
                )
            if approval not in _approvals(db, version.policy):
                _insert(db, "approvals", approval.policy, approval.person, approval.to_bytes())

    def approvals(self, policy: str) -> tuple[Approval, ...]:
        """What was approved, in order, whether or not it still counts."""
        with self._file.reading() as db:
            return _approvals(db, policy)

    def standing_approvals(self, policy: str) -> tuple[Approval, ...]:
        """The approvals of people who may still approve, in the role and with the key that they have now."""
        version, staff = self.version(policy), self.staff()
        return tuple(item for item in self.approvals(policy) if _stands(version, item, staff))

    # Notices ----------------------------------------------------------------------------------------------

    def set_notices(self, notices: Sequence[NoticeFacts], *, at: int) -> None:
        """Take over the facts of these companies and positions; what was known of them before is kept."""
        with self._file.writing() as db:
            known = _notices(db)
            for facts in notices:
                if known.get((facts.company, facts.position)) != facts:
                    _insert(db, "notices", facts.company, facts.position, facts.to_bytes(), at)

    def notices(self) -> tuple[NoticeFacts, ...]:
        """The newest facts of every company and position, sorted."""
        with self._file.reading() as db:
            known = _notices(db)
        return tuple(known[key] for key in sorted(known))

    def notice(self, company: str, position: str) -> NoticeFacts:
        """The newest facts of one; LocalProtocolError if there are none."""
        with self._file.reading() as db:
            found = _notices(db).get((company, position))
        if found is None:
            raise LocalProtocolError("notice: expected a company and position with facts, got another")
        return found


def _insert(db: sqlite3.Connection, table: str, *values: object) -> None:
    marks = ", ".join("?" * len(values))
    number = f"(SELECT COALESCE(MAX(seq) + 1, 0) FROM {table})"  # noqa: S608 (our own names)
    db.execute(f"INSERT INTO {table} VALUES ({number}, {marks})", values)  # noqa: S608


def _find_version(db: sqlite3.Connection, policy: str) -> PolicyVersion | None:
    row = db.execute("SELECT body FROM versions WHERE policy = ?", (policy,)).fetchone()
    return None if row is None else PolicyVersion.from_body(canonical_json.parse(row[0]))


def _version(db: sqlite3.Connection, policy: str) -> PolicyVersion:
    found = _find_version(db, policy)
    if found is None:
        raise LocalProtocolError("policy: expected the name of a version here, got another")
    return found


def _steps(db: sqlite3.Connection, policy: str) -> tuple[Step, ...]:
    rows = db.execute("SELECT status, at FROM steps WHERE policy = ? ORDER BY at, seq", (policy,))
    return tuple(Step(policy, PolicyStatus(status), at) for status, at in rows)


def _last_step(db: sqlite3.Connection, policy: str, at: int) -> Step:
    """The newest step; the end of a grace that still lies ahead does not keep the version from ending now."""
    return [step for step in _steps(db, policy) if step.at <= at or step.status is not PolicyStatus.RETIRED][
        -1
    ]


def _status(db: sqlite3.Connection, policy: str, at: int) -> PolicyStatus | None:
    reached = [step.status for step in _steps(db, policy) if step.at <= at]
    return reached[-1] if reached else None


def _take_step(db: sqlite3.Connection, policy: str, status: PolicyStatus, at: int) -> None:
    last = _last_step(db, policy, at)
    verify_transition(last.status, status)
    if at < last.at:
        raise LocalProtocolError("policy: expected a time after its last step, got an earlier one")
    _insert(db, "steps", policy, status.value, at)


def _staff(db: sqlite3.Connection) -> dict[str, StaffMember]:
    rows = db.execute("SELECT person, role, public_key FROM staff ORDER BY seq")
    newest = {person: StaffMember(person, ApproverRole(role), key) for person, role, key in rows}
    return {person: member for person, member in newest.items() if member.public_key != _NO_KEY}


def _approvals(db: sqlite3.Connection, policy: str) -> tuple[Approval, ...]:
    rows = db.execute("SELECT approval FROM approvals WHERE policy = ? ORDER BY seq", (policy,))
    return tuple(Approval.from_bytes(data) for (data,) in rows)


def _stands(version: PolicyVersion, approval: Approval, staff: Mapping[str, StaffMember]) -> bool:
    try:
        verify_approval(version, approval, staff)
    except VerificationError:
        return False
    return True


def _notices(db: sqlite3.Connection) -> dict[tuple[str, str], NoticeFacts]:
    rows = db.execute("SELECT body FROM notices ORDER BY seq")
    found = (NoticeFacts.from_body(canonical_json.parse(body)) for (body,) in rows)
    return {(facts.company, facts.position): facts for facts in found}
