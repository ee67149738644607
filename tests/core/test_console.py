"""How commands end: results, errors and exit codes that scripts can rely on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import click
import pytest
import typer

from noren_core.console import run_command
from noren_core.errors import (
    BudgetExceededError,
    ConfigurationError,
    DataError,
    LocalProtocolError,
    NorenError,
    RemoteProtocolError,
    VerificationError,
)

# Typer 0.20 imports a name that the installed click has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:'click.utils:DeprecationWarning")

PERSON = "taro@example.org"


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def fields(self) -> dict[str, Any]:
        """The one JSON object on stdout."""
        value: dict[str, Any] = json.loads(self.stdout)
        return value


Run = Callable[..., Done]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run a program with one command, `work NAME [--count N]`, that does what the test gives it to do."""

    def run_with(work: Callable[[], Any], *arguments: str) -> Done:
        app = typer.Typer(pretty_exceptions_enable=False)

        @app.callback()
        def options(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
            del as_json

        @app.command("work")
        def command(name: str, count: int = 1) -> Any:
            del name, count
            return work()

        exit_code = run_command(app, arguments or ["work", "x"], program="noren-test")
        return Done(exit_code, *capsys.readouterr())

    return run_with


def failing(error: BaseException) -> Callable[[], Any]:
    def work() -> Any:
        raise error

    return work


def test_a_result_is_lines_for_people(run: Run) -> None:
    """Without --json each field is one line on stdout, nothing is on stderr, and the exit code is 0."""
    assert run(lambda: {"company": "aoba", "tables": 2}) == Done(0, "company: aoba\ntables: 2\n", "")


def test_a_command_without_a_result_prints_nothing(run: Run) -> None:
    """None is success in silence."""
    assert run(lambda: None) == Done(0, "", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--json", "work", "x"],
        ["work", "--json", "x"],
        ["work", "x", "--json"],
        ["work", "x", "--count", "2"],
    ],
)
def test_json_may_stand_anywhere(run: Run, arguments: list[str]) -> None:
    """--json before, within or after the command gives one JSON object with `success`."""
    done = run(lambda: {"company": "青葉"}, *arguments)
    assert (done.exit_code, done.stderr) == (0, "")
    if "--json" in arguments:
        assert done.stdout == '{"success": true, "company": "青葉"}\n'
    else:
        assert done.stdout == "company: 青葉\n"


def test_a_result_may_carry_its_own_exit_code(run: Run) -> None:
    """`exit_code` in a result is returned and not printed; other than 0 it is no success."""
    assert run(lambda: {"verdict": "NOT", "exit_code": 9}) == Done(9, "verdict: NOT\n", "")
    done = run(lambda: {"verdict": "NOT", "exit_code": 9}, "work", "x", "--json")
    assert (done.exit_code, done.fields) == (9, {"success": False, "verdict": "NOT"})


EXIT_CODES = {
    NorenError: 1,
    LocalProtocolError: 1,
    ConfigurationError: 3,
    RemoteProtocolError: 4,
    DataError: 6,
    BudgetExceededError: 8,
    VerificationError: 9,
}


@pytest.mark.parametrize(("family", "exit_code"), EXIT_CODES.items())
def test_every_family_has_its_exit_code(run: Run, family: type[NorenError], exit_code: int) -> None:
    """An error is its code and sentence: on stderr for people, as one object on stdout for machines."""
    done = run(failing(family("expected a, got b")))
    assert (done.exit_code, done.stdout) == (exit_code, "")
    assert done.stderr.startswith(f"noren-test: {family.code}: expected a, got b\n")
    assert "docs/deploying.md" in done.stderr
    done = run(failing(family("expected a, got b")), "work", "x", "--json")
    assert (done.exit_code, done.stderr) == (exit_code, "")
    assert done.fields == {"success": False, "code": family.code, "message": "expected a, got b"}


def test_an_error_may_have_a_code_of_its_own(run: Run) -> None:
    """The code given to an error is shown; the exit code stays its family's."""
    done = run(failing(BudgetExceededError("expected less", code="EVALUATION_LIMIT")), "--json", "work", "x")
    assert (done.exit_code, done.fields["code"]) == (8, "EVALUATION_LIMIT")


def test_only_the_public_sentence_is_told(run: Run) -> None:
    """What an error was raised from is not shown, with or without --json."""

    def work() -> None:
        try:
            int(PERSON)
        except ValueError as cause:
            raise DataError("line 3: expected an address") from cause

    for arguments in ([], ["work", "x", "--json"]):
        done = run(work, *arguments)
        assert done.exit_code == 6
        assert PERSON not in done.stdout + done.stderr


@pytest.mark.parametrize("json_wanted", [False, True])
def test_an_unexpected_exception_shows_where_but_never_what(run: Run, json_wanted: bool) -> None:
    """Its type, files and lines are shown; its text, notes and source lines may hold a record and are not."""

    def read_record() -> None:
        error = KeyError(PERSON)
        error.add_note(PERSON)
        raise error

    done = run(read_record, "work", "x", *(["--json"] if json_wanted else []))
    shown = done.stdout + done.stderr
    assert done.exit_code == 1
    first = read_record.__code__.co_firstlineno + 3
    assert f"INTERNAL: KeyError at test_console.py:{first} < " in shown.replace('", "message": "', ": ")
    assert PERSON not in shown
    assert "add_note" not in shown
    if json_wanted:
        assert (done.stderr, done.fields["code"], done.fields["success"]) == ("", "INTERNAL", False)
    else:
        assert done.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [["work"], ["work", "x", "y"], ["work", "x", "--count", "many"], ["play"], ["work", "--no", "x"]],
)
def test_wrong_usage_is_exit_2(run: Run, arguments: list[str]) -> None:
    """Missing, superfluous and malformed arguments are USAGE, as JSON too, and nothing is run."""
    done = run(failing(AssertionError("it ran")), *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("noren-test: USAGE: ")
    done = run(failing(AssertionError("it ran")), "--json", *arguments)
    assert (done.exit_code, done.stderr, done.fields["code"]) == (2, "", "USAGE")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_an_interruption_is_exit_130(run: Run, error: BaseException) -> None:
    """Control-C ends a command as shells expect, without a message."""
    assert run(failing(error)) == Done(130, "", "")


def test_help_is_no_error(run: Run) -> None:
    """--help is exit 0 and on stdout."""
    done = run(lambda: None, "work", "--help")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "noren-test work" in done.stdout


def test_without_arguments_given_those_of_the_process_are_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """None stands for the command line."""
    monkeypatch.setattr("sys.argv", ["noren-test", "--json", "aoba"])
    app = typer.Typer()
    app.command()(lambda name: {"name": name})
    assert run_command(app, None, program="noren-test") == 0
    assert json.loads(capsys.readouterr().out) == {"success": True, "name": "aoba"}
