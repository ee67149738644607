"""Where the console listens, and the command that serves it."""

from __future__ import annotations

import json
import re
import signal
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from operators_console import Clock
from self_signed_certificate import self_signed

from noren_core.errors import ConfigurationError
from noren_server.cli import main
from noren_server.console.listening import Listening, choose, running
from noren_server.platform_files import AUTHORITY, initialise

NONE = (None, None)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    initialise(tmp_path / "p", name="jobs", host="127.0.0.1", ports=(4001, 4002, 4003, 4004))
    return tmp_path / "p"


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:8080", "[::1]:8080", "127.9.9.9:1"])
def test_loopback_needs_no_tls(listen: str) -> None:
    """It is the default there."""
    assert not choose(listen, tls=None, files=NONE, public_name="").is_tls
    assert choose(listen, tls=True, files=NONE, public_name="").is_tls


@pytest.mark.parametrize("listen", ["0.0.0.0:8443", "[::]:8443", "192.0.2.1:443", "console.example:443"])
def test_elsewhere_there_is_tls_or_nothing(listen: str) -> None:
    """It is the default there, and cannot be switched off."""
    assert choose(listen, tls=None, files=NONE, public_name="").is_tls
    with pytest.raises(ConfigurationError) as caught:
        choose(listen, tls=False, files=NONE, public_name="")
    assert caught.value.code == "CONSOLE_NEEDS_TLS"


@pytest.mark.parametrize(
    ("listen", "files", "public_name"),
    [
        ("127.0.0.1", NONE, ""),
        ("127.0.0.1:99999", NONE, ""),
        (":80", NONE, ""),
        ("127.0.0.1:1", (Path("c"), None), ""),
        ("127.0.0.1:1", NONE, "Console.example"),
        ("127.0.0.1:1", NONE, "a b"),
        ("127.0.0.1:1", NONE, "https://console.example"),
    ],
)
def test_malformed_options(listen: str, files: tuple[Path | None, Path | None], public_name: str) -> None:
    """Refused before anything is bound."""
    with pytest.raises(ConfigurationError):
        choose(listen, tls=None, files=files, public_name=public_name)


def test_with_the_platforms_own_certificate(directory: Path, clock: Clock) -> None:
    """Whoever knows the platform's authority reaches it; plain HTTP does not."""
    where = choose("127.0.0.1:0", tls=True, files=NONE, public_name="")
    with running(directory, where, clock=clock) as address:
        trust = ssl.create_default_context(cafile=str(directory / AUTHORITY))
        with httpx.Client(verify=trust, trust_env=False) as client:
            assert client.get(address + "sign-in").status_code == 200
            assert client.get(address + "sign-in", headers={"host": "evil.example"}).status_code == 421
        with httpx.Client(trust_env=False) as client, pytest.raises(httpx.HTTPError):
            client.get(address.replace("https", "http"))


def test_with_files_and_a_public_name(directory: Path, clock: Clock, tmp_path: Path) -> None:
    """The public name is what a Host may say, and nothing else."""
    certificate, key = self_signed(tmp_path)
    where = Listening("127.0.0.1", 0, is_tls=True, certificate=certificate, key=key, public_name="c.example")
    with running(directory, where, clock=clock) as address:
        assert address == "https://c.example/"


def test_files_that_do_not_belong_together_are_refused(directory: Path, clock: Clock, tmp_path: Path) -> None:
    """Before anybody is served."""
    certificate, _ = self_signed(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    _, key = self_signed(other)
    for pair in ((certificate, key), (certificate, tmp_path / "none"), (tmp_path / "none", key)):
        where = Listening("127.0.0.1", 0, is_tls=True, certificate=pair[0], key=pair[1])
        with pytest.raises(ConfigurationError), running(directory, where, clock=clock):
            pass


def test_loopback_without_tls_asks_for_the_link(directory: Path, clock: Clock) -> None:
    """Which works once, in one browser; the cookie is no other site's."""
    where = choose("127.0.0.1:0", tls=None, files=NONE, public_name="")
    with (
        running(directory, where, clock=clock) as link,
        httpx.Client(trust_env=False) as client,
        httpx.Client(trust_env=False) as other,
    ):
        start = link.partition("/enter")[0]
        assert other.get(f"{start}/sign-in").status_code == 403
        entered = client.get(link)
        assert entered.status_code == 303
        assert "SameSite=Strict" in entered.headers["set-cookie"]
        assert client.get(f"{start}/sign-in").status_code == 200
        assert other.get(link).status_code == 403
        assert other.get(f"{start}/sign-in").status_code == 403


@pytest.mark.end_to_end
def test_the_command(directory: Path) -> None:
    """It says where it is, serves, and ends with nothing left behind."""
    program = [sys.executable, "-m", "noren_server.cli", "--directory", str(directory), "console", "serve"]
    with subprocess.Popen(program, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        link = ""
        for line in process.stderr:
            if found := re.match(r"console: (http://127\.0\.0\.1:\d+/enter\?token=\S+)", line):
                link = found[1]
                break
        assert link
        with httpx.Client(trust_env=False, follow_redirects=True) as client:
            assert client.get(link).url.path == "/sign-in"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_people_by_command(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first is an administrator; each change is in the trail, which verifies."""

    def run(*arguments: str) -> dict[str, object]:
        code = main(["--directory", str(directory), "--json", "console", *arguments])
        return {"exit": code} | json.loads(capsys.readouterr().out)

    assert run("add-person", "yuki", "--roles", "privacy-officer")["code"] == "ROLE_FORBIDDEN"
    made = run("add-person", "boss", "--roles", "administrator")
    assert re.fullmatch(r"[0-9a-f]{40}", str(made["code"]))
    assert run("add-person", "yuki", "--roles", "consent-admin,ml-operator")["code"] == "SEPARATION_OF_DUTIES"
    assert run("add-person", "yuki", "--roles", "ml-operator,privacy-officer")["exit"] == 0
    assert run("renew-person", "yuki")["exit"] == 0
    assert run("disable-person", "yuki") == {
        "exit": 0,
        "success": True,
        "person": "yuki",
        "state": "disabled",
    }
    assert run("disable-person", "boss")["code"] == "ROLE_FORBIDDEN"
    assert run("people")["people"] == {
        "boss": {"state": "invited", "roles": ["administrator"]},
        "yuki": {"state": "disabled", "roles": ["ml-operator", "privacy-officer"]},
    }
    trail = run("trail", "--verify")
    assert (trail["exit"], trail["records"], trail["verified"]) == (0, 14, True)
    assert run("trail", "--seen", str(trail["head"]))["exit"] == 0
    assert run("trail", "--seen", f"3:{'0' * 64}")["exit"] == 9
