"""The rule for a party's secrets, on storage that can fail at any step."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from noren_core.crypto import vault
from noren_core.crypto.sealed_files import HEADER_NAME, SealedFiles
from noren_core.crypto.secret import SecretBytes
from noren_core.crypto.vault import Vault, VaultHeader, VaultState, is_sealed
from noren_core.errors import ConfigurationError, LocalProtocolError

PASSPHRASE = b"correct horse battery staple"
SECRETS = {"keys/a.key": b"secret a", "keys/b.key": b"secret b", "campaigns/x/head.json": b"{}"}


@pytest.fixture(autouse=True)
def cheap_derivation(monkeypatch: pytest.MonkeyPatch) -> None:
    """What matters here is when a key is needed, not what it costs; test_vault.py has the real derivation."""

    def derive(passphrase: SecretBytes, header: VaultHeader) -> SecretBytes:
        return SecretBytes(hashlib.sha256(header.salt + passphrase.reveal()).digest())

    monkeypatch.setattr(vault, "_derive", derive)


class CrashError(Exception):
    """The machine stopped."""


class Memory:
    """Files in a dictionary; the machine stops before the change with the number `crash_at`."""

    def __init__(self, stored: dict[str, bytes], crash_at: int = -1) -> None:
        self.stored = stored
        self.crash_at = crash_at
        self.changes = 0
        self.holders = 0
        self.leftovers = True
        self.must_be_protected = False

    def names(self) -> Sequence[str]:
        return sorted(self.stored.keys() - {HEADER_NAME})

    def read(self, name: str) -> bytes | None:
        return self.stored.get(name)

    def write(self, name: str, data: bytes) -> None:
        self._change()
        self.stored[name] = data

    def remove(self, name: str) -> None:
        self._change()
        del self.stored[name]

    def forget_replaced(self) -> None:
        self._change()
        self.leftovers = False

    @contextmanager
    def held(self, *, exclusively: bool) -> Iterator[None]:
        if exclusively and self.holders:
            raise LocalProtocolError("in use")
        self.holders += 1
        try:
            yield
        finally:
            self.holders -= 1

    def _change(self) -> None:
        if self.changes == self.crash_at:
            raise CrashError
        self.changes += 1


def opened(memory: Memory, passphrase: bytes = PASSPHRASE) -> SealedFiles:
    """As a new process opens them."""
    return SealedFiles(
        memory,
        lambda header: Vault.open(SecretBytes(passphrase), header),
        must_be_protected=lambda: memory.must_be_protected,
    )


def unasked(memory: Memory) -> SealedFiles:
    """As somebody opens them who is never asked for a passphrase."""
    return SealedFiles(memory, lambda _: pytest.fail("asked"), must_be_protected=lambda: False)


def contents(memory: Memory) -> dict[str, bytes]:
    """Every secret, as a new process reads it."""
    files, found = opened(memory), {}
    for name in SECRETS:
        secret = files.read(name)
        assert secret is not None
        found[name] = secret.reveal()
    return found


@pytest.fixture
def plain() -> Memory:
    """A directory without protection."""
    return Memory(dict(SECRETS))


@pytest.fixture
def protected(plain: Memory) -> Memory:
    """The same secrets in a protected directory."""
    opened(plain).protect(SecretBytes(PASSPHRASE))
    return Memory(plain.stored)


def test_without_a_header_secrets_are_plain(plain: Memory) -> None:
    """What is written is what is stored; nobody is asked for a passphrase."""
    files = unasked(plain)
    files.write("keys/c.key", b"secret c")
    assert plain.stored["keys/c.key"] == b"secret c"
    assert files.state is None
    assert files.read("keys/none.key") is None


def test_protecting_seals_everything_and_it_still_reads(plain: Memory) -> None:
    """No stored byte string holds a secret; each opens under its name; leftovers are removed."""
    assert opened(plain).protect(SecretBytes(PASSPHRASE)) == 3
    assert all(is_sealed(plain.stored[name]) for name in SECRETS)
    assert contents(plain) == SECRETS
    assert opened(plain).state is VaultState.SEALED
    assert not plain.leftovers


def test_what_is_written_later_is_sealed(protected: Memory) -> None:
    """New secrets and new versions of old ones."""
    files = opened(protected)
    files.write("keys/a.key", b"another")
    assert is_sealed(protected.stored["keys/a.key"])
    secret = files.read("keys/a.key")
    assert secret is not None
    assert secret.reveal() == b"another"


def test_unprotecting_gives_back_the_same_files(protected: Memory) -> None:
    """Byte for byte, and no header."""
    assert opened(protected).unprotect(SecretBytes(PASSPHRASE)) == 3
    assert protected.stored == SECRETS


@pytest.mark.parametrize("crash_at", range(6))
def test_a_crash_while_protecting_loses_nothing(plain: Memory, crash_at: int) -> None:
    """Before whichever change: everything reads, new secrets are sealed, a second call completes."""
    plain.crash_at = crash_at
    with pytest.raises(CrashError):
        opened(plain).protect(SecretBytes(PASSPHRASE))
    plain.crash_at = -1
    assert contents(plain) == SECRETS
    if crash_at > 0:
        opened(plain).write("keys/c.key", b"secret c")
        assert is_sealed(plain.stored["keys/c.key"])
        with pytest.raises(ConfigurationError) as caught:
            opened(plain).protect(SecretBytes(b"another passphrase"))
        assert caught.value.code == "WRONG_PASSPHRASE"
    opened(plain).protect(SecretBytes(PASSPHRASE))
    assert contents(plain) == SECRETS
    assert opened(plain).state is VaultState.SEALED
    assert all(is_sealed(plain.stored[name]) for name in plain.names())


@pytest.mark.parametrize("crash_at", range(5))
@pytest.mark.parametrize("is_continued", [True, False])
def test_a_crash_while_unprotecting_loses_nothing(
    protected: Memory, crash_at: int, is_continued: bool
) -> None:
    """After a crash before any change everything reads, and one can go on or go back."""
    protected.crash_at = crash_at
    with pytest.raises(CrashError):
        opened(protected).unprotect(SecretBytes(PASSPHRASE))
    protected.crash_at = -1
    assert contents(protected) == SECRETS
    if is_continued:
        opened(protected).unprotect(SecretBytes(PASSPHRASE))
        assert protected.stored == SECRETS
    elif crash_at > 0:
        opened(protected).protect(SecretBytes(PASSPHRASE))
        assert opened(protected).state is VaultState.SEALED
        assert contents(protected) == SECRETS


def test_a_planted_plain_file_is_refused(protected: Memory) -> None:
    """Who can write files but does not know the passphrase cannot give us a key."""
    protected.stored["keys/a.key"] = b"planted!"
    with pytest.raises(ConfigurationError, match="keys/a"):
        opened(protected).read("keys/a.key")


def test_a_removed_header_is_noticed_where_a_passphrase_is_configured(protected: Memory) -> None:
    """Plain keys in its place are not read, and nothing is written plainly; protecting mends it."""
    del protected.stored[HEADER_NAME]
    protected.stored |= dict.fromkeys(SECRETS, b"planted!")
    protected.must_be_protected = True
    for use in (
        lambda: opened(protected).read("keys/a.key"),
        lambda: opened(protected).write("keys/a.key", b"secret a"),
    ):
        with pytest.raises(ConfigurationError) as caught:
            use()
        assert caught.value.code == "NOT_PROTECTED"
    opened(protected).protect(SecretBytes(PASSPHRASE))
    assert opened(protected).read("keys/a.key") == SecretBytes(b"planted!")


def test_swapped_files_are_refused(protected: Memory) -> None:
    """Also between campaigns of one directory."""
    protected.stored["keys/a.key"], protected.stored["keys/b.key"] = (
        protected.stored["keys/b.key"],
        protected.stored["keys/a.key"],
    )
    with pytest.raises(ConfigurationError):
        opened(protected).read("keys/a.key")


def test_a_sealed_file_without_a_header_is_refused(protected: Memory) -> None:
    """The error says that the header is missing and does not take the sealed bytes for a key."""
    del protected.stored[HEADER_NAME]
    with pytest.raises(ConfigurationError, match=HEADER_NAME):
        opened(protected).read("keys/a.key")


def test_a_damaged_header_is_told_before_a_passphrase_is_asked_for(protected: Memory) -> None:
    """Nobody types a passphrase for nothing."""
    protected.stored[HEADER_NAME] = protected.stored[HEADER_NAME].replace(b"sealed", b"seeled")
    files = unasked(protected)
    for use in (
        lambda: files.read("keys/a.key"),
        lambda: files.write("keys/a.key", b""),
        lambda: files.state,
    ):
        with pytest.raises(ConfigurationError, match="checksum"):
            use()


def test_a_wrong_passphrase_changes_nothing(protected: Memory) -> None:
    """Neither unprotecting nor changing it."""
    before = dict(protected.stored)
    wrong = SecretBytes(b"wrong passphrase")
    for attempt in (
        lambda: opened(protected).unprotect(wrong),
        lambda: opened(protected).change_passphrase(wrong, SecretBytes(PASSPHRASE)),
    ):
        with pytest.raises(ConfigurationError) as caught:
            attempt()
        assert caught.value.code == "WRONG_PASSPHRASE"
    assert protected.stored == before


def test_a_secret_that_does_not_open_keeps_a_directory_protected(protected: Memory) -> None:
    """Unprotecting opens everything before it changes anything."""
    protected.stored["keys/b.key"] = protected.stored["keys/b.key"][:-1]
    before = dict(protected.stored)
    with pytest.raises(ConfigurationError, match="keys/b"):
        opened(protected).unprotect(SecretBytes(PASSPHRASE))
    assert protected.stored == before


def test_changing_the_passphrase_replaces_one_file(protected: Memory) -> None:
    """The new one opens everything, the old one nothing; salt and nonce are fresh."""
    before = dict(protected.stored)
    opened(protected).change_passphrase(SecretBytes(PASSPHRASE), SecretBytes(b"another passphrase"))
    changed = {name for name in before if before[name] != protected.stored[name]}
    assert changed == {HEADER_NAME}
    old, new = (VaultHeader.parse(stored[HEADER_NAME]) for stored in (before, protected.stored))
    assert (old.salt, old.nonce) != (new.salt, new.nonce)
    secret = opened(protected, b"another passphrase").read("keys/a.key")
    assert secret is not None
    assert secret.reveal() == b"secret a"
    with pytest.raises(ConfigurationError):
        opened(protected).read("keys/a.key")


def test_a_directory_in_use_is_not_converted(plain: Memory, protected: Memory) -> None:
    """Services hold the directory while they run, several at once, and go on reading and writing."""
    given, before = SecretBytes(PASSPHRASE), dict(protected.stored)
    for memory, convert in (
        (Memory(dict(SECRETS)), lambda files: files.protect(given)),
        (Memory({}), lambda files: files.protect_new(given)),
        (protected, lambda files: files.unprotect(given)),
        (protected, lambda files: files.change_passphrase(given, given)),
    ):
        with opened(memory).held(), opened(memory).held():
            with pytest.raises(LocalProtocolError, match="in use"):
                convert(opened(memory))
            assert HEADER_NAME not in memory.stored or memory.stored == before
    with opened(protected).held():
        opened(protected).write("keys/a.key", b"another")
        assert opened(protected).read("keys/a.key") == SecretBytes(b"another")


@pytest.mark.parametrize("is_protected", [True, False])
def test_a_removed_secret_is_gone(plain: Memory, is_protected: bool) -> None:
    """The others stay."""
    if is_protected:
        opened(plain).protect(SecretBytes(PASSPHRASE))
    opened(plain).remove("keys/a.key")
    assert opened(plain).read("keys/a.key") is None
    assert set(plain.names()) == SECRETS.keys() - {"keys/a.key"}


def test_what_does_not_come_back_from_storage_is_noticed(plain: Memory) -> None:
    """Each sealed secret is read back and opened before the directory counts as protected."""

    class Forgetful(Memory):
        def write(self, name: str, data: bytes) -> None:
            super().write(name, data if name == HEADER_NAME else data[:-1])

    memory = Forgetful(dict(plain.stored))
    with pytest.raises(ConfigurationError, match="damaged"):
        opened(memory).protect(SecretBytes(PASSPHRASE))
    assert opened(memory).state is VaultState.CONVERTING


def test_a_conversion_that_makes_no_sense_is_refused(protected: Memory) -> None:
    """Protecting twice, unprotecting or changing a passphrase where there is none."""
    plain = Memory(dict(SECRETS))
    given = SecretBytes(PASSPHRASE)
    for attempt in (
        lambda: opened(protected).protect(given),
        lambda: opened(plain).unprotect(given),
        lambda: opened(plain).change_passphrase(given, given),
    ):
        with pytest.raises(LocalProtocolError):
            attempt()


def test_a_new_directory_is_protected_from_the_start(caplog: pytest.LogCaptureFixture) -> None:
    """With a passphrase nothing is ever stored plainly; one that holds secrets is left as it is."""
    memory = Memory({})
    files = opened(memory)
    files.protect_new(SecretBytes(PASSPHRASE))
    files.write("keys/a.key", b"secret a")
    assert is_sealed(memory.stored["keys/a.key"])
    header = memory.stored[HEADER_NAME]
    files.protect_new(SecretBytes(b"another passphrase"))
    assert memory.stored[HEADER_NAME] == header
    used = Memory(dict(SECRETS))
    opened(used).protect_new(SecretBytes(PASSPHRASE))
    assert used.stored == SECRETS
    assert caplog.records == []


def test_a_new_directory_without_a_passphrase_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    """Once, with what to do."""
    memory = Memory({})
    opened(memory).protect_new(None)
    assert memory.stored == {}
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "keys protect" in caplog.text
