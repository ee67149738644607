"""The people of the platform: who may hold what, and how each shows that it is her."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from operators_console import PASSWORD, Clock

from noren_core.errors import ConfigurationError, DataError, LocalProtocolError
from noren_server.console import accounts as module
from noren_server.console import totp
from noren_server.console.accounts import (
    LOCK_SECONDS,
    MAX_FAILURES,
    REGISTER,
    Accounts,
    AccountState,
    ConsoleRole,
    excluding_pairs,
    verify_password,
    verify_roles,
)

ADMINISTRATOR, OFFICER = ConsoleRole.ADMINISTRATOR, ConsoleRole.PRIVACY_OFFICER


@pytest.fixture
def boss(accounts: Accounts) -> str:
    accounts.add("boss", [ADMINISTRATOR], subject="boss@id")
    return "boss"


def joined(accounts: Accounts, clock: Clock, name: str = "yuki") -> tuple[bytes, tuple[str, ...]]:
    """Add somebody and have her join; her secret and recovery codes."""
    code, secret = accounts.add(name, [OFFICER]), totp.new_secret()
    return secret, accounts.join(name, code, password=PASSWORD, secret=secret, typed=now_code(secret, clock))


def now_code(secret: bytes, clock: Clock, steps: int = 0) -> str:
    return totp.code_of(secret, clock.now // totp.STEP_SECONDS + steps)


def refused(accounts: Accounts, name: str, password: str, second: str) -> str:
    with pytest.raises(LocalProtocolError) as caught:
        accounts.authenticate(name, password, second)
    return caught.value.code


def test_somebody_who_joined_signs_in(accounts: Accounts, boss: str, clock: Clock) -> None:
    """With password and the code of a step that was not used."""
    secret, _ = joined(accounts, clock)
    clock.now += 30
    account = accounts.authenticate("yuki", PASSWORD, now_code(secret, clock))
    assert (account.name, account.roles, account.state) == ("yuki", (OFFICER,), AccountState.ACTIVE)


def test_a_code_counts_once(accounts: Accounts, boss: str, clock: Clock) -> None:
    """The code with which she joined, and the one with which she signed in, are used up."""
    secret, _ = joined(accounts, clock)
    assert refused(accounts, "yuki", PASSWORD, now_code(secret, clock)) == "NOT_RECOGNISED"
    accounts.authenticate("yuki", PASSWORD, now_code(secret, clock, 1))
    assert refused(accounts, "yuki", PASSWORD, now_code(secret, clock, 1)) == "NOT_RECOGNISED"


def test_a_recovery_code_counts_once(accounts: Accounts, boss: str, clock: Clock) -> None:
    """With or without hyphens, in any case; the others stay."""
    _, codes = joined(accounts, clock)
    assert len(set(codes)) == module.RECOVERY_CODES
    accounts.authenticate("yuki", PASSWORD, codes[3].upper())
    assert refused(accounts, "yuki", PASSWORD, codes[3]) == "NOT_RECOGNISED"
    accounts.authenticate("yuki", PASSWORD, codes[4].replace("-", ""))


def test_one_answer_for_everything_that_is_wrong(accounts: Accounts, boss: str, clock: Clock) -> None:
    """An unknown name, a wrong password, a wrong code, somebody invited, and one of the provider's."""
    secret, codes = joined(accounts, clock)
    accounts.add("invited", [OFFICER])
    clock.now += 30
    wrong = [
        ("nobody", PASSWORD, now_code(secret, clock)),
        ("yuki", "another password", now_code(secret, clock)),
        ("yuki", PASSWORD, "000000"),
        ("invited", PASSWORD, "000000"),
        ("boss", PASSWORD, codes[0]),
        ("boss", "", ""),
    ]
    messages = set()
    for name, password, second in wrong:
        with pytest.raises(LocalProtocolError) as caught:
            accounts.authenticate(name, password, second)
        messages.add((caught.value.code, caught.value.message))
    assert len(messages) == 1


def test_wrong_answers_lock_on_disk(accounts: Accounts, boss: str, clock: Clock, tmp_path: Path) -> None:
    """Not even the right answer counts then, also for a program that was started anew; time opens it."""
    secret, _ = joined(accounts, clock)
    codes = [refused(accounts, "yuki", "wrong password", "000000") for _ in range(MAX_FAILURES)]
    assert codes == ["NOT_RECOGNISED"] * (MAX_FAILURES - 1) + ["ACCOUNT_LOCKED"]
    again = Accounts(tmp_path, accounts._secrets, clock)
    assert refused(again, "yuki", PASSWORD, now_code(secret, clock, 1)) == "ACCOUNT_LOCKED"
    clock.now += LOCK_SECONDS
    again.authenticate("yuki", PASSWORD, now_code(secret, clock))
    assert again.account("yuki").failures == 0


def test_a_right_answer_forgives(accounts: Accounts, boss: str, clock: Clock) -> None:
    """Four wrong ones, a right one, four wrong ones: not locked."""
    secret, _ = joined(accounts, clock)
    for _ in range(2):
        for _ in range(MAX_FAILURES - 1):
            assert refused(accounts, "yuki", "wrong password", "0") == "NOT_RECOGNISED"
        clock.now += 30
        accounts.authenticate("yuki", PASSWORD, now_code(secret, clock))


def test_a_code_to_join_works_once_and_expires(accounts: Accounts, boss: str, clock: Clock) -> None:
    """And is for the person that it was made for."""
    code = accounts.add("yuki", [OFFICER])
    accounts.add("sora", [OFFICER])
    with pytest.raises(LocalProtocolError, match="expected the name"):
        accounts.verify_code("sora", code)
    accounts.verify_code("yuki", code)
    clock.now += module.CODE_SECONDS
    with pytest.raises(LocalProtocolError, match="expected the name"):
        accounts.verify_code("yuki", code)
    clock.now -= module.CODE_SECONDS
    secret = totp.new_secret()
    accounts.join("yuki", code, password=PASSWORD, secret=secret, typed=now_code(secret, clock))
    with pytest.raises(LocalProtocolError, match="expected the name"):
        accounts.join("yuki", code, password=PASSWORD, secret=secret, typed=now_code(secret, clock))


def test_joining_needs_the_authenticators_code(accounts: Accounts, boss: str, clock: Clock) -> None:
    """Otherwise she would be locked out by her own phone; nothing is kept, and the code stays good."""
    code, secret = accounts.add("yuki", [OFFICER]), totp.new_secret()
    with pytest.raises(DataError) as caught:
        accounts.join("yuki", code, password=PASSWORD, secret=secret, typed="000000")
    assert caught.value.code == "CODE_WRONG"
    assert accounts.account("yuki").state is AccountState.INVITED
    accounts.join("yuki", code, password=PASSWORD, secret=secret, typed=now_code(secret, clock))


@pytest.mark.parametrize(
    "password",
    [
        "short",
        "elevenchars",
        "password1234",
        "Password!2026",
        "123456789012",
        "qwertyuiopqwerty",
        "aaaaaaaaaaaaaaaa",
        "abababababababab",
        "hanako-hanako-1",
        "fghijklmnopqrstu",
        "x" * 201,
    ],
)
def test_passwords_that_are_tried_first_are_refused(password: str) -> None:
    """Short, long, common, rows of keys, repetitions, her own name."""
    with pytest.raises(DataError) as caught:
        verify_password(password, name="hanako")
    assert caught.value.code == "PASSWORD_REFUSED"
    assert password not in caught.value.message


@pytest.mark.parametrize(
    "password", [PASSWORD, "tranquil-otter-42", "ねこ が 三匹 庭で遊ぶ 夕方に", "Xk2#9vLq!7Rz"]
)
def test_long_passwords_are_taken(password: str) -> None:
    """Whatever characters they have."""
    verify_password(password, name="hanako")


def test_roles_that_exclude_each_other() -> None:
    """An administrator holds nothing else, an auditor neither; consents and training are apart."""
    pairs = {frozenset(pair) for pair in excluding_pairs()}
    others = set(ConsoleRole) - {ADMINISTRATOR}
    assert {frozenset({ADMINISTRATOR, role}) for role in others} <= pairs
    assert frozenset({ConsoleRole.CONSENT_ADMIN, ConsoleRole.ML_OPERATOR}) in pairs
    assert frozenset({ConsoleRole.AUDITOR, OFFICER}) in pairs
    assert frozenset({ConsoleRole.ML_OPERATOR, OFFICER}) not in pairs
    for pair in pairs:
        with pytest.raises(LocalProtocolError) as caught:
            verify_roles(pair)
        assert caught.value.code == "SEPARATION_OF_DUTIES"


def test_nobody_gets_roles_that_exclude_each_other(accounts: Accounts, boss: str) -> None:
    """Neither new nor by a change."""
    both = [ConsoleRole.CONSENT_ADMIN, ConsoleRole.ML_OPERATOR]
    with pytest.raises(LocalProtocolError, match="different people"):
        accounts.add("yuki", both)
    accounts.add("yuki", [OFFICER])
    with pytest.raises(LocalProtocolError, match="different people"):
        accounts.change_roles("yuki", both)
    assert accounts.account("yuki").roles == (OFFICER,)


def test_the_first_person_is_an_administrator_and_one_is_always_left(accounts: Accounts) -> None:
    """Otherwise nobody could give roles again."""
    with pytest.raises(LocalProtocolError, match="administrator first and last"):
        accounts.add("yuki", [OFFICER])
    accounts.add("boss", [ADMINISTRATOR])
    for change in (
        lambda: accounts.disable("boss"),
        lambda: accounts.change_roles("boss", [OFFICER]),
    ):
        with pytest.raises(LocalProtocolError, match="administrator first and last"):
            change()
    accounts.add("second", [ADMINISTRATOR])
    accounts.disable("boss")


def test_names_and_subjects_are_taken_once(accounts: Accounts, boss: str) -> None:
    """A second person of the provider's name could act as the first."""
    for name, subject in (("boss", ""), ("other", "boss@id")):
        with pytest.raises(LocalProtocolError) as caught:
            accounts.add(name, [OFFICER], subject=subject)
        assert caught.value.code == "NAME_TAKEN"


def test_every_change_ends_what_was_before(accounts: Accounts, boss: str, clock: Clock) -> None:
    """Other roles, disabling, renewing and another password give another epoch."""
    secret, _ = joined(accounts, clock)
    epochs = [accounts.account("yuki").epoch]
    accounts.change_roles("yuki", [ConsoleRole.ML_OPERATOR])
    epochs.append(accounts.account("yuki").epoch)
    clock.now += 30
    accounts.change_password("yuki", PASSWORD, now_code(secret, clock), new="another good password")
    epochs.append(accounts.account("yuki").epoch)
    accounts.disable("yuki")
    epochs.append(accounts.account("yuki").epoch)
    accounts.renew("yuki")
    epochs.append(accounts.account("yuki").epoch)
    assert len(set(epochs)) == len(epochs)
    assert not any(accounts.is_current("yuki", epoch) for epoch in epochs)


def test_who_is_disabled_does_not_sign_in(accounts: Accounts, boss: str, clock: Clock) -> None:
    """Neither with a password nor through the provider."""
    secret, _ = joined(accounts, clock)
    accounts.add("sora", [OFFICER], subject="sora@id")
    assert accounts.of_subject("sora@id").name == "sora"
    accounts.disable("yuki")
    accounts.disable("sora")
    assert refused(accounts, "yuki", PASSWORD, now_code(secret, clock, 1)) == "NOT_RECOGNISED"
    with pytest.raises(LocalProtocolError):
        accounts.of_subject("sora@id")


@pytest.mark.parametrize("subject", ["", "nobody@id", "boss@i"])
def test_whom_the_register_does_not_know_is_nobody(accounts: Accounts, boss: str, subject: str) -> None:
    """The provider gives no roles; people without a subject are not everybody's."""
    accounts.add("yuki", [OFFICER])
    with pytest.raises(LocalProtocolError) as caught:
        accounts.of_subject(subject)
    assert caught.value.code == "NOT_RECOGNISED"


def test_the_register_tells_no_secret(accounts: Accounts, boss: str, clock: Clock, tmp_path: Path) -> None:
    """Neither passwords nor codes stand in it, nor in what an account prints; the file is ours alone."""
    code = accounts.add("sora", [OFFICER])
    secret, codes = joined(accounts, clock)
    file = tmp_path / REGISTER
    assert file.stat().st_mode & 0o777 == 0o600
    text = file.read_text()
    for hidden in (PASSWORD, code, *codes, codes[0].replace("-", "")):
        assert hidden not in text
    shown = repr(accounts.account("yuki"))
    kept = next(item for item in json.loads(text)["people"] if item["name"] == "yuki")
    for hidden in (secret.hex(), repr(secret), kept["password_hash"]):
        assert hidden not in shown


def test_a_damaged_register_is_refused(accounts: Accounts, boss: str, tmp_path: Path) -> None:
    """And nobody is let in by what is left of it."""
    (tmp_path / REGISTER).write_bytes(b"{}")
    with pytest.raises(ConfigurationError):
        accounts.everybody()
