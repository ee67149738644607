"""The commands of the gate: what they take, what they print, and what there is no command for."""

from __future__ import annotations

import ast
import inspect
import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
import typer
from gated_company import CAMPAIGN, CODE, POSITION, GatedCompany, key_of

from noren_client import cli, follow_up
from noren_client.cli import main
from noren_client.gate import (
    access_log,
    commands,
    decision_report,
    decisions,
    followup_actions,
    score_records,
    staff,
    viewing,
)
from noren_core.rights.gate.gate_file import parse_gate_file

Run = Callable[..., tuple[int, dict[str, Any]]]
GATE_MODULES = (
    access_log,
    commands,
    decision_report,
    decisions,
    follow_up,
    followup_actions,
    score_records,
    staff,
    viewing,
)

pytestmark = pytest.mark.filterwarnings("ignore:'click.utils:DeprecationWarning")


@pytest.fixture(autouse=True)
def today(company: GatedCompany) -> None:
    """Commands read the machine's clock; the platform in memory goes by it too."""
    company.clock.now = int(time.time())


@pytest.fixture
def code_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Whoever acts has the right code."""
    path = tmp_path / "code"
    path.write_bytes(CODE.reveal())
    path.chmod(0o600)
    monkeypatch.setenv("NOREN_STAFF_CODE_FILE", str(path))
    monkeypatch.setenv("NOREN_STAFF_NEW_CODE_FILE", str(path))
    return path


@pytest.fixture
def run(
    company: GatedCompany,
    code_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Runs a command, with what is on its stdin; exit code and what it printed."""

    def command(*arguments: str, given: bytes = b"") -> tuple[int, dict[str, Any]]:
        stdin = io.TextIOWrapper(io.BytesIO(given))
        monkeypatch.setattr(sys, "stdin", stdin)
        exit_code = main(["--json", "--directory", str(company.directory), *arguments])
        return exit_code, json.loads(capsys.readouterr().out)

    return command


@pytest.fixture
def scored(company: GatedCompany) -> GatedCompany:
    """hanako has a band, b has none."""
    company.apply("hanako,offer", "b,offer", "c,no-offer")
    company.consent("hanako")
    company.seal()
    company.score()
    return company


def test_the_way_through_the_commands(company: GatedCompany, run: Run) -> None:
    """Seal, score, show, follow up, take back: every step by its command, identifiers on stdin alone."""
    company.apply("hanako,offer", "b,no-offer")
    company.consent("hanako")
    _, sealed = run("decisions", "seal", CAMPAIGN, POSITION, "--as", "dan")
    assert (sealed["sequence"], sealed["position"]) == (1, POSITION)
    company.score()
    assert run("score", CAMPAIGN)[1]["state"] == "scored"
    one = ("--applicant-file", "-", "--as", "fay")
    exit_code, shown = run("show", CAMPAIGN, POSITION, *one, "--language", "en", given=b"hanako\n")
    assert exit_code == 0
    assert shown.keys() == {
        *("success", "position", "band", "bands", "computed_at", "expires_at", "reasons", "not_for"),
    }
    assert run("follow-up", "plan", CAMPAIGN, POSITION, "visit", *one, given=b"hanako")[0] == 0
    assert run("follow-up", "done", CAMPAIGN, POSITION, "visit", *one, given=b"hanako")[0] == 0
    _, actions = run("follow-up", "show", CAMPAIGN, POSITION, *one, given=b"hanako")
    assert [(item["action"], item["state"]) for item in actions["actions"]] == [("visit", "done")]
    reason = ("--reason", "false-statement", "--as", "dan")
    assert run("decisions", "reverse", CAMPAIGN, POSITION, *reason, given=b"hanako")[0] == 0
    _, status = run("decisions", "status", CAMPAIGN)
    assert [item["reason"] for item in status["batches"][0]["reversals"]] == ["false-statement"]
    exit_code, answer = run("show", CAMPAIGN, POSITION, *one, given=b"hanako")
    assert (exit_code, answer["code"]) == (7, "GATE_NOT_OPEN")
    assert "APPLICANT_NOT_OFFERED" in answer["message"]


def test_absences_have_the_same_bytes(
    scored: GatedCompany, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """Never consented and withdrawn: one output, to the last byte."""
    scored.platform.withdraw(key_of("hanako"))
    answers = [run("show", CAMPAIGN, POSITION, "--as", "fay", given=given) for given in (b"hanako", b"b")]
    assert answers[0] == answers[1]
    assert answers[0][1]["code"] == "NOT_AVAILABLE"


@pytest.mark.parametrize("command", [("show",), ("follow-up", "show")])
def test_two_people_at_once_are_refused(scored: GatedCompany, run: Run, command: tuple[str, ...]) -> None:
    """Several lines on stdin end in BULK_SCORE_FORBIDDEN, and quote nobody."""
    _, answer = run(*command, CAMPAIGN, POSITION, "--as", "fay", given=b"hanako\nb\n")
    assert answer["code"] == "BULK_SCORE_FORBIDDEN"
    assert "hanako" not in json.dumps(answer)


def test_an_action_that_is_not_on_the_list_is_refused(scored: GatedCompany, run: Run) -> None:
    """Before anybody is asked who she is."""
    one = (CAMPAIGN, POSITION, "rescind_offer", "--as", "fay")
    for command in ("plan", "done", "cancel"):
        assert run("follow-up", command, *one, given=b"hanako")[1]["code"] == "FOLLOWUP_ACTION_FORBIDDEN"
    assert access_log.read(scored.directory) == ()


@pytest.mark.parametrize(
    "arguments",
    [
        ("decisions", "seal", CAMPAIGN, POSITION, "--as", "fay"),
        ("decisions", "reverse", CAMPAIGN, POSITION, "--reason", "false-statement", "--as", "fay"),
        ("show", CAMPAIGN, POSITION, "--as", "dan"),
        ("show", CAMPAIGN, POSITION, "--as", "ada"),
        ("follow-up", "plan", CAMPAIGN, POSITION, "visit", "--as", "dan"),
        ("follow-up", "done", CAMPAIGN, POSITION, "visit", "--as", "ada"),
        ("follow-up", "cancel", CAMPAIGN, POSITION, "visit", "--as", "dan"),
        ("follow-up", "show", CAMPAIGN, POSITION, "--as", "dan"),
        ("staff", "add", "eve", "--roles", "follow-up", "--as", "dan"),
        ("staff", "remove", "fay", "--as", "fay"),
    ],
)
def test_every_command_asks_for_the_role(scored: GatedCompany, run: Run, arguments: tuple[str, ...]) -> None:
    """Somebody of the staff with another role is refused."""
    assert run(*arguments, given=b"hanako")[1]["code"] == "ROLE_FORBIDDEN"


def test_a_wrong_code_is_refused(scored: GatedCompany, run: Run, code_file: Path) -> None:
    """The name alone is nothing."""
    code_file.write_bytes(b"another code")
    for arguments in (
        ("show", CAMPAIGN, POSITION, "--as", "fay"),
        ("decisions", "seal", CAMPAIGN, POSITION, "--as", "dan"),
        ("staff", "remove", "fay", "--as", "ada"),
    ):
        assert run(*arguments, given=b"hanako")[1]["code"] == "STAFF_NOT_RECOGNISED"


def test_the_first_member_needs_nobody(run: Run, company: GatedCompany) -> None:
    """An empty register takes an administrator, and from then on asks for one."""
    (company.directory / "staff" / "register.json").unlink()
    assert run("staff", "add", "eve", "--roles", "decider")[1]["code"] == "ROLE_FORBIDDEN"
    assert run("staff", "add", "ann", "--roles", "company-admin")[0] == 0
    assert run("staff", "add", "eve", "--roles", "decider")[1]["code"] == "STAFF_NOT_RECOGNISED"
    assert run("staff", "add", "eve", "--roles", "decider", "--position", "sales", "--as", "ann")[0] == 0
    both = ("--roles", "decider,follow-up", "--as", "ann")
    assert run("staff", "add", "kim", *both)[1]["code"] == "SEPARATION_OF_DUTIES"
    assert run("staff", "list")[1]["members"] == {
        "ann": [{"role": "company-admin", "position": "", "season": ""}],
        "eve": [{"role": "decider", "position": "sales", "season": ""}],
    }
    assert run("staff", "remove", "eve", "--as", "ann")[0] == 0


def test_the_auditors_file_goes_to_stdout(
    scored: GatedCompany, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """`decisions export` writes the gate file and nothing else, and keeps no copy."""
    before = {path for path in scored.directory.rglob("*") if path.is_file()}
    command = ["--directory", str(scored.directory), "decisions", "export", CAMPAIGN]
    assert main(command) == 0
    shown = parse_gate_file(capfdbinary.readouterr().out)
    assert shown.batches[0].batch.identifiers == {key_of(name) for name in ("hanako", "b", "c")}
    after = {path for path in scored.directory.rglob("*") if path.is_file()}
    assert {path.name for path in after - before} <= {access_log.FILE_NAME}


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", CAMPAIGN, POSITION, "--as", "fay", "--identifier-kind", "phone"),
        ("show", CAMPAIGN, POSITION, "--as", "fay", "--language", "fr"),
        ("show", CAMPAIGN, POSITION, "--as", "fay", "--applicant-file", "/nonexistent"),
        ("show", CAMPAIGN, "Not A Name", "--as", "fay"),
        ("decisions", "reverse", CAMPAIGN, POSITION, "--as", "dan", "--reason", "low score"),
        ("staff", "add", "eve", "--roles", "owner", "--as", "ada"),
    ],
)
def test_what_is_malformed_is_bad_data(scored: GatedCompany, run: Run, arguments: tuple[str, ...]) -> None:
    """Unknown words and names are refused as input, not as failures."""
    assert run(*arguments, given=b"hanako")[1]["code"] == "BAD_DATA"


# There is no list


def every_command(
    group: click.Command, path: tuple[str, ...] = ()
) -> list[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(group, click.Group):
        return [(path, group)]
    inner = [every_command(command, (*path, name)) for name, command in group.commands.items()]
    return [item for found in inner for item in found]


def test_no_command_lists_sorts_filters_or_exports_bands() -> None:
    """`show` alone prints a band, and no parameter of any command takes several people or an order."""
    found = every_command(typer.main.get_command(cli.app))
    names = {" ".join(path) for path, _ in found}
    assert {"show", "decisions seal", "follow-up plan", "staff add"} <= names
    forbidden = ("bands", "scores", "rank", "sort", "order", "filter", "top", "list-scores")
    assert not [name for name in names if any(word in name.split() for word in forbidden)]
    for path, command in found:
        if path[0] in {"show", "follow-up", "decisions"}:
            for parameter in command.params:
                assert parameter.nargs == 1, path
                assert not getattr(parameter, "multiple", False), path
                assert not {"sort", "filter", "limit", "all", "output"} & set(parameter.opts), path


def functions_of(module: ModuleType) -> list[ast.FunctionDef]:
    tree = ast.parse(inspect.getsource(module))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def test_a_band_is_taken_out_of_a_record_in_one_place() -> None:
    """In the gate's modules a record's band is read by `View.of` alone, and `View`s are not collected."""
    readers, collectors = set(), set()
    for module in GATE_MODULES:
        for function in functions_of(module):
            if any(isinstance(node, ast.Attribute) and node.attr == "band" for node in ast.walk(function)):
                readers.add(f"{module.__name__}.{function.name}")
            if function.returns is not None and "View" in ast.unparse(function.returns):
                collectors.add(ast.unparse(function.returns))
    assert readers == {"noren_client.gate.viewing.of", "noren_client.gate.commands.show"}
    assert collectors == {"View"}


def test_nothing_a_person_runs_goes_through_all_records() -> None:
    """`iter_records` is for erasure, retention and disclosure; no command of the gate calls it."""
    for module in GATE_MODULES:
        if module is not score_records:
            assert "iter_records" not in inspect.getsource(module), module.__name__


def test_help_is_quick_because_nothing_is_loaded() -> None:
    """What the commands need is imported when they run: the program starts without numpy and grpc."""
    code = (
        "import sys; from noren_client import cli; "
        "print(*[name for name in ('numpy', 'grpc', 'cryptography', 'noren_client.gate.viewing') "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
