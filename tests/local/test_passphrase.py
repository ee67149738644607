"""Where the passphrase comes from, and who else gets it."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from pathlib import Path

import pytest

from noren_core.crypto.secret import SecretBytes
from noren_core.errors import ConfigurationError
from noren_local import passphrase
from noren_local.secret_files import SecretFiles, sealed

PASSPHRASE = "correct horse battery staple"  # noqa: S105
ANOTHER = "another horse battery staple"


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No passphrase of whoever runs the tests."""
    for name in (passphrase.FILE_VARIABLE, "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A passphrase file that the environment names."""
    path = tmp_path / "passphrase"
    path.write_text(PASSPHRASE + "\n")
    path.chmod(0o600)
    monkeypatch.setenv(passphrase.FILE_VARIABLE, str(path))
    return path


def configured() -> bytes:
    found = passphrase.configured()
    assert found is not None
    return found.reveal()


def test_the_systemd_credential_comes_first(
    given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever mode systemd gives it; other credentials do not matter."""
    assert configured() == PASSPHRASE.encode()
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    assert configured() == PASSPHRASE.encode()
    (credentials / "noren-passphrase").write_text(ANOTHER)
    (credentials / "noren-passphrase").chmod(0o440)
    assert configured() == ANOTHER.encode()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o700])
def test_a_passphrase_file_that_others_can_read_is_refused(given: Path, mode: int) -> None:
    """0600 and 0400 are ours alone; nothing else is."""
    given.chmod(mode)
    with pytest.raises(ConfigurationError, match="0600"):
        passphrase.configured()
    given.chmod(0o400)
    assert configured() == PASSPHRASE.encode()


def test_a_passphrase_file_of_another_user_is_refused(given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else chose what is in it."""
    monkeypatch.setattr(os, "geteuid", lambda: given.stat().st_uid + 1)
    with pytest.raises(ConfigurationError, match="0600"):
        passphrase.configured()


def test_a_passphrase_file_that_is_not_there_is_an_error(given: Path) -> None:
    """A typo in a unit file does not silently make an unprotected directory."""
    given.unlink()
    with pytest.raises(ConfigurationError):
        passphrase.configured()


def test_a_terminal_is_asked_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without echo; a new passphrase is typed twice; without a terminal there is an error of its own."""
    with pytest.raises(ConfigurationError) as caught:
        passphrase.current()
    assert caught.value.code == "PASSPHRASE_MISSING"
    for stream in (sys.stdin, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    typed = iter([PASSPHRASE, PASSPHRASE, PASSPHRASE, PASSPHRASE, ANOTHER])
    monkeypatch.setattr(getpass, "getpass", lambda _: next(typed))
    assert passphrase.current().reveal() == PASSPHRASE.encode()
    assert passphrase.chosen(None).reveal() == PASSPHRASE.encode()
    with pytest.raises(ConfigurationError, match="twice"):
        passphrase.chosen(None)


def test_what_was_typed_reaches_the_processes_that_are_started(
    given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And theirs, as a file in memory that is gone at the end; nothing of it is in their environment."""
    (tmp_path / "keys").mkdir(mode=0o700)
    secrets = sealed(SecretFiles(tmp_path, ("keys/*.key",)))
    secrets.protect_new(passphrase.configured())
    monkeypatch.delenv(passphrase.FILE_VARIABLE)
    monkeypatch.setattr(passphrase, "_ask", lambda _: SecretBytes(PASSPHRASE.encode()))
    program = "import noren_local.passphrase as p, sys; sys.stdout.buffer.write(p.configured().reveal())"
    start = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)"
    with passphrase.for_children(secrets):
        named = os.environ[passphrase.FILE_VARIABLE]
        found = subprocess.run([sys.executable, "-c", start, program], capture_output=True, check=True)
        assert found.stdout == PASSPHRASE.encode()
        assert PASSPHRASE not in named
    assert passphrase.FILE_VARIABLE not in os.environ
    assert not Path(named).exists()
