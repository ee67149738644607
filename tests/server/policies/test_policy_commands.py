"""`policy` and `screens` as an operator and two approvers use them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from active_policy import notice_facts

from noren_core.console import run_command
from noren_core.rights.locales import Locale
from noren_core.rights.notices.notice_texts import packaged_policy_text
from noren_server.platform_files import initialise
from noren_server.policies.commands import policy_commands, screens_commands
from noren_server.policies.screen_register import ScreenRegister

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs one command as JSON; its result with the exit code."""
    directory = tmp_path / "p"
    initialise(directory, name="jobs", host="127.0.0.1", ports=(4001, 4002, 4003, 4004))
    app = typer.Typer()

    @app.callback()
    def _directory(context: typer.Context) -> None:
        context.obj = directory

    app.add_typer(policy_commands(), name="policy")
    app.add_typer(screens_commands(), name="screens")

    def command(*arguments: object) -> dict[str, Any]:
        capsys.readouterr()
        exit_code = run_command(app, [*map(str, arguments), "--json"], program="noren-platform")
        return {**json.loads(capsys.readouterr().out), "exit": exit_code}

    return command


@pytest.fixture
def policy_file(tmp_path: Path) -> Path:
    text = packaged_policy_text().decode().replace('policy = "packaged"', 'policy = "first"')
    text = text.replace('season = "season"', 'season = "2027"').replace("DPIA-MISSING", "DPIA-1")
    path = tmp_path / "policy.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def notices_file(tmp_path: Path) -> Path:
    lines = ['[[notice]]\ncompany = "acme"\nposition = "engineer"']
    for locale, values in notice_facts("acme", "engineer").values.items():
        lines.append(f"[notice.{Locale(locale)}]")
        lines += [f'{name} = "{value}"' for name, value in values.items()]
    path = tmp_path / "notices.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_a_policy_is_brought_into_force(
    run: Run, policy_file: Path, notices_file: Path, tmp_path: Path
) -> None:
    """Lint, add, notices, approvals of two people, crawl with a real browser, verify, activate, retire."""
    assert run("policy", "lint", policy_file) == {"success": True, "objections": [], "exit": 0}
    assert run("policy", "add", policy_file)["state"] == "REVIEWED"
    assert run("policy", "notices", notices_file)["notices"] == 1
    states = []
    for person, role in (("p1", "privacy"), ("p2", "student-viewpoint")):
        key, approval = tmp_path / "keys" / f"{person}.key", tmp_path / f"{person}.json"
        public_key = run("policy", "new-key", key)["public_key"]
        run("policy", "add-staff", person, "--role", role, "--public-key", public_key)
        signing = ("--person", person, "--role", role, "--key", key, "--output", approval)
        assert run("policy", "sign", policy_file, *signing)["exit"] == 0
        states.append(run("policy", "approve", approval)["state"])
    assert states == ["REVIEWED", "APPROVED"]
    assert run("policy", "activate", "first")["code"] == "SCREEN_UNVERIFIED"
    crawled = run("screens", "crawl")
    assert (crawled["screens"], crawled["verified"], crawled["rejected"], crawled["exit"]) == (8, 0, [], 0)
    assert len(run("screens", "verify")["verified"]) == 8
    assert run("policy", "activate", "first")["state"] == "ACTIVE"
    [listed] = run("policy", "list")["policies"]
    assert (listed["state"], listed["approved_by"]) == ("ACTIVE", ["p1 (privacy)", "p2 (student-viewpoint)"])
    matrix = run("screens", "matrix", "first")["matrix"]
    assert len(matrix) == 8
    assert all(row["clauses"]["C02"] for row in matrix)
    assert {row["clauses"]["C05"] for row in matrix if row["route"] == "consent-train"} == {False}
    twin = tmp_path / "twin.json"
    assert run("policy", "export", "first", twin)["sha256"] == listed["sha256"]
    assert run("policy", "lint", twin)["exit"] == 0
    assert run("policy", "retire", "first")["state"] == "RETIRED"
    assert {screen["state"] for screen in run("screens", "list")["screens"]} == {"RETIRED"}


def test_objections_are_listed_and_keep_a_policy_out(run: Run, policy_file: Path) -> None:
    """Exit code 6, each with code and place; adding it leaves it a draft."""
    text = policy_file.read_text(encoding="utf-8")
    policy_file.write_text(
        text.replace("identifiable_provision = true", "identifiable_provision = false"), encoding="utf-8"
    )
    linted = run("policy", "lint", policy_file)
    assert linted["exit"] == 6
    assert {item["code"] for item in linted["objections"]} == {"POLICY_FLOW_CONTRADICTION"}
    assert run("policy", "add", policy_file)["code"] == "POLICY_FLOW_CONTRADICTION"
    assert run("policy", "list")["policies"][0]["state"] == "DRAFT"


def test_unknown_texts_are_an_alarm(run: Run, tmp_path: Path) -> None:
    """Exit code 6 while one is there."""
    assert run("screens", "unknown") == {"success": True, "unknown": [], "exit": 0}
    register = ScreenRegister.open(tmp_path / "p")
    register.note_shown("ab" * 32, at=1)
    register.close()
    assert run("screens", "unknown")["exit"] == 6


def test_keys_are_never_overwritten_and_must_be_private(run: Run, policy_file: Path, tmp_path: Path) -> None:
    """A second new-key is refused; a key that others can read does not sign."""
    key = tmp_path / "keys" / "p1.key"
    run("policy", "new-key", key)
    before = key.read_bytes()
    assert run("policy", "new-key", key)["exit"] == 1
    assert key.read_bytes() == before
    key.chmod(0o644)
    signing = ("--person", "p1", "--role", "legal", "--key", key, "--output", tmp_path / "a.json")
    assert run("policy", "sign", policy_file, *signing)["exit"] == 3
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("policy", "lint", "nowhere.toml"),
        ("policy", "add-staff", "p1", "--role", "boss", "--public-key", "00" * 32),
        ("policy", "add-staff", "p1", "--role", "legal", "--public-key", "00"),
        ("policy", "approve", "nowhere.json"),
        ("screens", "crawl", "http://example.com/"),
    ],
)
def test_bad_input_is_refused(run: Run, arguments: tuple[str, ...]) -> None:
    """With the exit code of a bad input file."""
    assert run(*arguments)["exit"] == 6
