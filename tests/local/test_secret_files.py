"""A directory of secrets: whose files are used, which names there are, and who may convert it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from noren_core.crypto import vault
from noren_core.crypto.sealed_files import SealedFiles
from noren_core.crypto.secret import SecretBytes
from noren_core.crypto.vault import VaultHeader, is_sealed
from noren_core.errors import ConfigurationError, LocalProtocolError
from noren_local import passphrase, secret_files
from noren_local.secret_files import SecretFiles, sealed

PASSPHRASE = b"correct horse battery staple"
KEY, HEAD = "keys/signing.key", "campaigns/spring/head.json"


@pytest.fixture(autouse=True)
def derivations(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """No passphrase of whoever runs the tests, nothing remembered; the derivations, which cost nothing."""
    done: list[bytes] = []

    def derive(given: SecretBytes, header: VaultHeader) -> SecretBytes:
        done.append(header.salt)
        return SecretBytes(hashlib.sha256(header.salt + given.reveal()).digest())

    monkeypatch.setattr(vault, "_derive", derive)
    for name in (passphrase.FILE_VARIABLE, "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    secret_files._unlocked.cache_clear()
    yield done
    secret_files._unlocked.cache_clear()


@pytest.fixture
def secrets(tmp_path: Path) -> SealedFiles:
    """A directory with two secrets that are not protected."""
    files = sealed(SecretFiles(tmp_path, ("keys/*.key", "campaigns/*/head.json")))
    files.write(KEY, bytes(32))
    files.write(HEAD, b"[1, 2]")
    return files


def test_secrets_are_found_by_their_names(secrets: SealedFiles, tmp_path: Path) -> None:
    """In files and directories that only we can read, whatever the umask; other files are none."""
    (tmp_path / "keys" / "tls.pem").write_bytes(b"public")
    files = SecretFiles(tmp_path, ("keys/*.key", "campaigns/*/head.json"))
    assert files.names() == [HEAD, KEY]
    assert files.read(HEAD) == b"[1, 2]"
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / KEY, tmp_path / HEAD)} == {0o600}
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    files.remove(HEAD)
    assert (files.read(HEAD), files.names()) == (None, [KEY])


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_secret_that_others_can_read_is_refused(secrets: SealedFiles, tmp_path: Path, mode: int) -> None:
    """Sealed or not, group or world: whoever copied it can take time over it."""
    (tmp_path / KEY).chmod(mode)
    with pytest.raises(ConfigurationError, match="0600"):
        secrets.read(KEY)
    (tmp_path / KEY).chmod(0o600)
    (tmp_path / "keys").chmod(mode | 0o100)
    with pytest.raises(ConfigurationError, match="0700"):
        secrets.read(KEY)


def test_a_secret_of_another_user_is_refused(
    secrets: SealedFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """We would be using a key that somebody else made."""
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(ConfigurationError, match="only we can read"):
        secrets.read(KEY)


@pytest.mark.parametrize(
    "name", ["config.toml", "keys/../config.toml", "keys/a/b.key", "campaigns/../head.json", ""]
)
def test_only_secrets_have_names(secrets: SealedFiles, name: str) -> None:
    """What protecting would not find is neither read nor written here, and no name leaves the directory."""
    uses: tuple[Callable[[], object], ...] = (
        lambda: secrets.read(name),
        lambda: secrets.write(name, b"x"),
        lambda: secrets.remove(name),
    )
    for use in uses:
        with pytest.raises(LocalProtocolError):
            use()


def test_a_directory_in_use_is_not_converted(secrets: SealedFiles, tmp_path: Path) -> None:
    """While somebody holds it, protecting is refused and changes nothing; readers do not mind each other."""
    with secrets.held():
        assert secrets.read(HEAD) is not None
        with pytest.raises(LocalProtocolError) as caught:
            secrets.protect(SecretBytes(PASSPHRASE))
    assert caught.value.code == "DIRECTORY_IN_USE"
    assert (tmp_path / HEAD).read_bytes() == b"[1, 2]"


def test_a_directory_without_keys_is_not_converted(tmp_path: Path) -> None:
    """A mistyped path is told; no vault is made there."""
    with pytest.raises(ConfigurationError, match="keys"):
        sealed(SecretFiles(tmp_path, ("keys/*.key",))).protect(SecretBytes(PASSPHRASE))
    assert list(tmp_path.iterdir()) == []


def test_what_crashes_left_is_removed_with_the_plain_secrets(secrets: SealedFiles, tmp_path: Path) -> None:
    """A half-written key is as secret as a whole one."""
    (tmp_path / f"{KEY}.0123.part").write_bytes(bytes(32))
    assert secrets.protect(SecretBytes(PASSPHRASE)) == 2
    assert is_sealed((tmp_path / KEY).read_bytes())
    assert list(tmp_path.rglob("*.part")) == []


def test_one_derivation_per_process(
    secrets: SealedFiles, derivations: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many secrets are read."""
    secrets.protect(SecretBytes(PASSPHRASE))
    monkeypatch.setattr(passphrase, "_ask", lambda _: SecretBytes(PASSPHRASE))
    derivations.clear()
    for _ in range(3):
        assert [secrets.read(name) is None for name in (KEY, HEAD)] == [False, False]
    assert len(derivations) == 1
