"""The people of a party who work with Noren: names, roles, and how each shows that it is her.

    staff/register.json    secret: every member with her roles, and the scrypt hash of her access code
    staff/lock             held while the register is changed

Promises: a code is never stored, an argument or the value of a variable; a wrong name and a wrong code are
one answer; after a few wrong codes a member is locked for a while; nobody holds two roles that exclude each
other (`noren_core.rights.gate.roles`); the first member is an administrator of the party, and only such a
one adds or removes others.

Not promised: protection from who can read and write this machine's files: she can replace the register. What
it holds apart are people who use the programs.
"""

from __future__ import annotations

import fcntl
import hmac
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from noren_core import canonical_json, ids
from noren_core.crypto.sealed_files import SealedFiles
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import ConfigurationError, DataError, LocalProtocolError, NorenError
from noren_core.rights import fields
from noren_core.rights.fields import read_fields
from noren_core.rights.gate.roles import Assignment, Role, verify_separation
from noren_local import passphrase

REGISTER = "staff/register.json"
CODE_VARIABLE = "NOREN_STAFF_CODE_FILE"
NEW_CODE_VARIABLE = "NOREN_STAFF_NEW_CODE_FILE"
MIN_CODE_BYTES = 8
MAX_MEMBERS = 1000
MAX_FAILURES = 5
LOCK_SECONDS = 900

_SALT_BYTES, _HASH_BYTES = 16, 32
# What OWASP recommends for scrypt with 32 MiB: 0.3 s of one core.
_COST, _BLOCK, _PARALLEL = 1 << 15, 8, 3


@dataclass(frozen=True, slots=True)
class Member:
    """One of the staff.

    Attributes:
        name: as it is recorded where she acts.
        assignments: her roles.
        salt, code_hash: of her access code.
        failures: wrong codes since the last right one.
        locked_until: Unix seconds before which no code is looked at.
    """

    name: str
    assignments: tuple[Assignment, ...]
    salt: bytes = field(repr=False)
    code_hash: bytes = field(repr=False)
    failures: int = 0
    locked_until: int = 0

    def roles(self, *, position: str, season: str) -> frozenset[Role]:
        """Her roles where a position of a season is concerned."""
        return frozenset(
            item.role for item in self.assignments if item.covers(position=position, season=season)
        )

    def to_body(self) -> dict[str, Any]:
        """As it stands in the register."""
        return {
            "name": self.name,
            "assignments": [item.to_body() for item in self.assignments],
            "salt": self.salt.hex(),
            "code_hash": self.code_hash.hex(),
            "failures": self.failures,
            "locked_until": self.locked_until,
        }

    @classmethod
    def from_body(cls, body: Any) -> Self:
        """The member that `to_body` gave; DataError for anything else."""
        found = read_fields(body, _FIELDS, "staff")
        verify_separation(found["assignments"])
        return cls(**found)


_FIELDS = {
    "name": fields.name,
    "assignments": fields.list_of(Assignment.from_body),
    "salt": fields.bytes_of(_SALT_BYTES),
    "code_hash": fields.bytes_of(_HASH_BYTES),
    "failures": fields.integer_in(0, MAX_FAILURES),
    "locked_until": fields.seconds,
}


class StaffRegister:
    """The register of one party; every change locks it, reads it whole and replaces it."""

    def __init__(self, directory: Path, secret_files: SealedFiles, administrator: Role) -> None:
        """The register in a party's directory, whose members `administrator` adds and removes."""
        self._directory = directory
        self._secrets = secret_files
        self._administrator = administrator

    def members(self) -> tuple[Member, ...]:
        """Everybody, by name."""
        kept = self._secrets.read(REGISTER)
        if kept is None:
            return ()
        try:
            body = canonical_json.parse_object(kept.reveal())
            members: tuple[Member, ...] = read_fields(body, _REGISTER, "staff register")["members"]
        except NorenError as error:
            raise ConfigurationError(
                "staff register: expected the one that was kept, got another file"
            ) from error
        return members

    @property
    def has_administrator(self) -> bool:
        """Whether there is somebody who may add others."""
        return any(self._is_administrator(member) for member in self.members())

    def add(self, name: str, assignments: Sequence[Assignment], code: SecretBytes) -> None:
        """Add a member, or give one other roles and another code.

        Raises:
            LocalProtocolError: with code SEPARATION_OF_DUTIES, for roles that exclude each other; with code
                ROLE_FORBIDDEN, if nobody would be left to add others.
            DataError: for a malformed name, no role, or a code that is too short.
        """
        ids.parse_name(name, "staff.name")
        if not assignments:
            raise DataError("staff: expected at least one role, got none")
        verify_separation(assignments)
        if len(code) < MIN_CODE_BYTES:
            raise DataError(f"access code: expected at least {MIN_CODE_BYTES} bytes, got fewer")
        salt = secrets.token_bytes(_SALT_BYTES)
        member = Member(name, tuple(assignments), salt, _hashed(code, salt))
        with self._locked():
            others = [known for known in self.members() if known.name != name]
            if len(others) >= MAX_MEMBERS:
                raise DataError(f"staff: expected at most {MAX_MEMBERS} members, got more")
            self._keep([*others, member])

    def remove(self, name: str) -> None:
        """Remove a member; LocalProtocolError if there is none, or nobody would be left to add others."""
        with self._locked():
            members = self.members()
            left = [member for member in members if member.name != name]
            if len(left) == len(members):
                raise LocalProtocolError("staff: expected the name of a member, got another")
            self._keep(left)

    def authenticate(self, name: str, code: SecretBytes, *, now: int) -> Member:
        """The member of this name, whose code it is.

        1. Locked: no code is looked at.
        2. The code; for a name that nobody has, the same work.
        3. A wrong one counts, on disk before this returns, and the last one locks.

        Raises:
            LocalProtocolError: with code STAFF_LOCKED after step 1 or 3, STAFF_NOT_RECOGNISED after step 2.
        """
        with self._locked():
            members = {member.name: member for member in self.members()}
            member = members.get(name)
            if member is not None and now < member.locked_until:  # 1
                raise _locked_out()
            salt = bytes(_SALT_BYTES) if member is None else member.salt  # 2
            is_right = hmac.compare_digest(_hashed(code, salt), b"" if member is None else member.code_hash)
            if member is None:
                raise _not_recognised()
            if is_right:
                if member.failures:
                    members[name] = replace(member, failures=0, locked_until=0)
                    self._keep(list(members.values()))
                return members[name]
            failures = member.failures + 1  # 3
            is_last = failures >= MAX_FAILURES
            members[name] = replace(
                member,
                failures=0 if is_last else failures,
                locked_until=now + LOCK_SECONDS if is_last else 0,
            )
            self._keep(list(members.values()))
            raise _locked_out() if is_last else _not_recognised()

    def _is_administrator(self, member: Member) -> bool:
        return any(item.role is self._administrator for item in member.assignments)

    def _keep(self, members: Sequence[Member]) -> None:
        if not any(self._is_administrator(member) for member in members):
            raise LocalProtocolError(
                f"staff: expected somebody with the role {self._administrator} first and last, got nobody",
                code="ROLE_FORBIDDEN",
            )
        ordered = sorted(members, key=lambda member: member.name)
        body = {"members": [member.to_body() for member in ordered]}
        self._secrets.write(REGISTER, canonical_json.encode(body))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        directory = self._directory / "staff"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


_REGISTER = {"members": fields.list_of(Member.from_body, most=MAX_MEMBERS)}


def given_code() -> SecretBytes:
    """Whoever acts shows her code: in the file that NOREN_STAFF_CODE_FILE names, or typed without echo.

    The file, which may be a descriptor as `/dev/fd/3`, is read as a passphrase is.
    """
    return passphrase.from_variable(CODE_VARIABLE, "Access code: ")


def chosen_code() -> SecretBytes:
    """The code that a new member chose: in the file that NOREN_STAFF_NEW_CODE_FILE names, or typed twice."""
    if os.environ.get(NEW_CODE_VARIABLE):
        return passphrase.from_file(Path(os.environ[NEW_CODE_VARIABLE]))
    return passphrase.chosen(None)


def _hashed(code: SecretBytes, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=_HASH_BYTES, n=_COST, r=_BLOCK, p=_PARALLEL).derive(code.buffer)


def _not_recognised() -> LocalProtocolError:
    return LocalProtocolError(
        "staff: expected a member's name and access code, got others", code="STAFF_NOT_RECOGNISED"
    )


def _locked_out() -> LocalProtocolError:
    return LocalProtocolError(
        f"staff: too many wrong access codes; expected {LOCK_SECONDS} s without any", code="STAFF_LOCKED"
    )
