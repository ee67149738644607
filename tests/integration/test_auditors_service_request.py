"""An auditor's signed word on the state of the service, made by her program and taken by the platform's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from noren_audit.cli import main as noren_audit
from noren_server.cli import main as noren_platform
from noren_server.platform_files import initialise

# Typer 0.20 imports a name that the installed click has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:'click.utils:DeprecationWarning")

Said = Callable[..., dict[str, Any]]


@pytest.fixture
def audit(capsys: pytest.CaptureFixture[str]) -> Said:
    """`noren-audit` within this process: its JSON and its exit code."""

    def run(*arguments: str | Path) -> dict[str, Any]:
        exit_code = noren_audit([*map(str, arguments), "--json"])
        return {**json.loads(capsys.readouterr().out), "exit": exit_code}

    return run


@pytest.fixture
def key(audit: Said, tmp_path: Path) -> tuple[Path, str]:
    """The auditor's key file, and its public half."""
    path = tmp_path / "auditor.key"
    return path, audit("key", "init", path)["public_key"]


@pytest.fixture
def platform(capsys: pytest.CaptureFixture[str], key: tuple[Path, str], tmp_path: Path) -> Said:
    """`noren-platform` of a platform that knows this auditor."""
    directory = tmp_path / "platform"
    initialise(directory, name="jobs", host="127.0.0.1", ports=(1, 2, 3, 4)).ledger_store.close()
    config = directory / "config.toml"
    auditor = f'\n[[auditor]]\nname = "audit"\nkey = "{key[1]}"\n'
    config.write_text(config.read_text(encoding="utf-8") + auditor, encoding="utf-8")

    def run(*arguments: str | Path) -> dict[str, Any]:
        exit_code = noren_platform(["--directory", str(directory), *map(str, arguments), "--json"])
        return {**json.loads(capsys.readouterr().out), "exit": exit_code}

    return run


def test_an_auditor_stops_the_service_and_lets_it_run_again(
    audit: Said, platform: Said, key: tuple[Path, str], tmp_path: Path
) -> None:
    """Both by files that her own key signed; without an open campaign nothing else is asked for."""
    request = tmp_path / "request.json"
    signed = audit("service", "suspend", request, "--key", key[0], "--reason", "DRILL")
    assert (signed["exit"], signed["state"], signed["scope"]) == (0, "suspended", "global")
    assert platform("service", "suspend", "--request", request)["exit"] == 0
    assert platform("service", "status")["stopped"] == {"global": "suspended"}
    signed = audit("service", "resume", request, "--key", key[0])
    assert (signed["exit"], signed["state"], signed["reports"]) == (0, "running", [])
    assert platform("service", "resume", request)["exit"] == 0
    assert platform("service", "status")["stopped"] == {}


def test_the_word_of_somebody_else_resumes_nothing(
    audit: Said, platform: Said, key: tuple[Path, str], tmp_path: Path
) -> None:
    """The platform counts the keys of its own configuration; what was suspended stays so, with exit 7."""
    request, other = tmp_path / "request.json", tmp_path / "other.key"
    audit("service", "suspend", request, "--key", key[0])
    platform("service", "suspend", "--request", request)
    audit("key", "init", other)
    audit("service", "resume", request, "--key", other)
    refused = platform("service", "resume", request)
    assert (refused["exit"], refused["code"]) == (7, "RESUME_CONDITIONS_UNMET")
    assert "auditor" in refused["fix"]
    assert platform("service", "status")["stopped"] == {"global": "suspended"}


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (("--scope", "planet"), 3),
        (("--scope", "company"), 6),
        (("--scope", "global", "--name", "akane"), 6),
        (("--reason", "because of Taro"), 6),
        (("--key", "nothing.key"), 3),
    ],
)
def test_nothing_is_signed_that_the_ledger_would_not_take(
    audit: Said, key: tuple[Path, str], tmp_path: Path, arguments: tuple[str, ...], exit_code: int
) -> None:
    """A wrong scope, a missing or superfluous name, a sentence for a reason: no file is written."""
    request = tmp_path / "request.json"
    refused = audit("service", "resume", request, "--key", key[0], *arguments)
    assert refused["exit"] == exit_code
    assert not request.exists()
