"""The register of staff: who it is, what she may do, and how often somebody may guess."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from noren_core.crypto.secret import SecretBytes
from noren_core.errors import ConfigurationError, DataError, LocalProtocolError
from noren_core.rights.gate.roles import Assignment, Role
from noren_local import staff as module
from noren_local.secret_files import SecretFiles, sealed
from noren_local.staff import (
    LOCK_SECONDS,
    MAX_FAILURES,
    NEW_CODE_VARIABLE,
    StaffRegister,
    chosen_code,
    given_code,
)

RIGHT, WRONG = SecretBytes(b"correct horse"), SecretBytes(b"battery staple")
NOW = 1_800_000_000


@pytest.fixture
def register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StaffRegister:
    """A register with an administrator and a decider."""
    monkeypatch.setattr(module, "_COST", 2)  # what a guess costs is not tested here
    (tmp_path / "keys").mkdir(mode=0o700)
    made = StaffRegister(
        tmp_path, sealed(SecretFiles(tmp_path, ("staff/register.json",))), Role.COMPANY_ADMIN
    )
    made.add("ada", [Assignment(Role.COMPANY_ADMIN)], RIGHT)
    made.add("dan", [Assignment(Role.DECIDER, "sales")], RIGHT)
    return made


def refused(code: str, call: object) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        call()  # type: ignore[operator]
    assert caught.value.code == code


def test_a_member_is_recognised_by_her_code(register: StaffRegister) -> None:
    """The right code gives the member and her roles where she has them."""
    member = register.authenticate("dan", RIGHT, now=NOW)
    assert member.roles(position="sales", season="2026") == {Role.DECIDER}
    assert member.roles(position="engineer", season="2026") == frozenset()


def test_a_wrong_name_and_a_wrong_code_are_one_answer(register: StaffRegister) -> None:
    """Nobody learns from a refusal who is in the register."""
    answers = []
    for name, code in (("dan", WRONG), ("nobody", RIGHT)):
        with pytest.raises(LocalProtocolError) as caught:
            register.authenticate(name, code, now=NOW)
        answers.append((caught.value.code, caught.value.message))
    assert answers[0] == answers[1]
    assert answers[0][0] == "STAFF_NOT_RECOGNISED"


def test_guessing_is_bounded(register: StaffRegister, tmp_path: Path) -> None:
    """After five wrong codes the right one is not looked at for a while, by any process."""
    for _ in range(MAX_FAILURES - 1):
        refused("STAFF_NOT_RECOGNISED", lambda: register.authenticate("dan", WRONG, now=NOW))
    refused("STAFF_LOCKED", lambda: register.authenticate("dan", WRONG, now=NOW))
    again = StaffRegister(
        tmp_path, sealed(SecretFiles(tmp_path, ("staff/register.json",))), Role.COMPANY_ADMIN
    )
    refused("STAFF_LOCKED", lambda: again.authenticate("dan", RIGHT, now=NOW + LOCK_SECONDS - 1))
    again.authenticate("dan", RIGHT, now=NOW + LOCK_SECONDS)
    again.authenticate("ada", RIGHT, now=NOW)


def test_a_right_code_forgets_wrong_ones(register: StaffRegister) -> None:
    """Wrong codes count only in a row."""
    for _ in range(3):
        for _ in range(MAX_FAILURES - 1):
            refused("STAFF_NOT_RECOGNISED", lambda: register.authenticate("dan", WRONG, now=NOW))
        register.authenticate("dan", RIGHT, now=NOW)


def test_the_code_is_not_in_the_file(register: StaffRegister, tmp_path: Path) -> None:
    """The register holds a salted hash, private to the account; equal codes have different hashes."""
    path = tmp_path / "staff" / "register.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert RIGHT.reveal() not in path.read_bytes()
    assert len({member.code_hash for member in register.members()}) == 2
    assert all(member.code_hash.hex() not in repr(member) for member in register.members())


def test_exclusive_roles_are_refused(register: StaffRegister) -> None:
    """Nobody decides and follows up at one position; at two she may."""
    both = [Assignment(Role.DECIDER, "sales"), Assignment(Role.FOLLOW_UP)]
    refused("SEPARATION_OF_DUTIES", lambda: register.add("eve", both, RIGHT))
    register.add("eve", [both[0], Assignment(Role.FOLLOW_UP, "engineer")], RIGHT)


def test_there_is_always_an_administrator(register: StaffRegister, tmp_path: Path) -> None:
    """The first member is one, the last one stays one."""
    refused("ROLE_FORBIDDEN", lambda: register.remove("ada"))
    refused("ROLE_FORBIDDEN", lambda: register.add("ada", [Assignment(Role.DECIDER)], RIGHT))
    register.add("abe", [Assignment(Role.COMPANY_ADMIN)], RIGHT)
    register.remove("ada")
    assert [member.name for member in register.members()] == ["abe", "dan"]
    (tmp_path / "staff" / "register.json").unlink()
    refused("ROLE_FORBIDDEN", lambda: register.add("dan", [Assignment(Role.DECIDER)], RIGHT))
    assert register.members() == ()


def test_what_is_malformed_is_refused(register: StaffRegister, tmp_path: Path) -> None:
    """Names, codes, empty roles, unknown members, a damaged file."""
    for name, roles, code in (
        ("Eve!", [Assignment(Role.DECIDER)], RIGHT),
        ("eve", [], RIGHT),
        ("eve", [Assignment(Role.DECIDER)], SecretBytes(b"short")),
    ):
        with pytest.raises(DataError):
            register.add(name, roles, code)
    refused("ILLEGAL_STATE", lambda: register.remove("nobody"))
    (tmp_path / "staff" / "register.json").write_bytes(b'{"members":[{}]}')
    with pytest.raises(ConfigurationError):
        register.members()


def test_codes_come_from_private_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable names a file of ours alone; a file that others can read is refused."""
    path = tmp_path / "code"
    path.write_bytes(b"correct horse\n")
    path.chmod(0o600)
    monkeypatch.setenv(module.CODE_VARIABLE, str(path))
    monkeypatch.setenv(NEW_CODE_VARIABLE, str(path))
    assert given_code() == chosen_code() == RIGHT
    path.chmod(0o644)
    for read in (given_code, chosen_code):
        with pytest.raises(ConfigurationError):
            read()
