"""How commands end: results, errors and exit codes that scripts can rely on."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import click
import pytest
import typer

from noren_core.console import progress, run_command, tell_progress
from noren_core.error_guide import advice
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
    said = advice(family.code)
    assert done.stderr.splitlines() == [
        f"noren-test: {family.code}: expected a, got b",
        f"Cause: {said.cause}",
        f"What to do: {said.fix}",
        f"See: docs/errors.md#{family.code.lower()}",
    ]
    done = run(failing(family("expected a, got b")), "work", "x", "--json")
    assert (done.exit_code, done.stderr) == (exit_code, "")
    told = {"code": family.code, "message": "expected a, got b"}
    assert done.fields == {"success": False, **told, "cause": said.cause, "fix": said.fix, "page": said.page}


@pytest.mark.parametrize(
    ("variables", "label"),
    [
        ({"LANG": "ja_JP.UTF-8"}, "原因: "),
        ({"LC_ALL": "en_GB.UTF-8", "LANG": "ja_JP.UTF-8"}, "Cause: "),
        ({"LC_ALL": "", "LC_MESSAGES": "ja", "LANG": "C"}, "原因: "),
        ({}, "Cause: "),
    ],
)
def test_advice_is_in_the_language_of_the_locale(
    run: Run, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], label: str
) -> None:
    """LC_ALL before LC_MESSAGES before LANG; what scripts read is in English whatever the locale."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert run(failing(DataError("x"))).stderr.splitlines()[1].startswith(label)
    fields = run(failing(DataError("x")), "work", "x", "--json").fields
    assert fields["cause"] == advice("BAD_DATA").cause


def test_who_is_not_let_in_and_what_is_held_back_have_exit_codes_of_their_own(run: Run) -> None:
    """The same for a code whichever family its error is of."""
    for family in (LocalProtocolError, RemoteProtocolError, VerificationError):
        assert run(failing(family("x", code="NOT_SIGNED_IN"))).exit_code == 5
        assert run(failing(family("x", code="GATE_NOT_OPEN"))).exit_code == 7


def test_quiet_leaves_out_what_only_tells_how_far_it_is(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """INFO lines are gone with --quiet, warnings stay, and the next command is as before."""

    def work() -> dict[str, Any]:
        tell_progress("1 of 2")
        logging.getLogger("noren_test").info("half done")
        logging.getLogger("noren_test").warning("disk is nearly full")
        return {"state": "done"}

    caplog.set_level(logging.INFO)
    for arguments, logged, told in (
        (["work", "x", "--quiet"], ["disk is nearly full"], ""),
        (["work", "x"], ["half done", "disk is nearly full"], "1 of 2\n"),
    ):
        caplog.clear()
        assert run(work, *arguments) == Done(0, "state: done\n", told)
        assert caplog.messages == logged


class Terminal(io.StringIO):
    """A stderr that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("terminal", "arguments", "term", "is_drawn"),
    [
        (True, [], "xterm", True),
        (True, ["--quiet"], "xterm", False),
        (True, ["--json"], "xterm", False),
        (True, [], "dumb", False),
        (False, [], "xterm", False),
    ],
)
def test_a_bar_is_drawn_on_a_terminal_alone(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    terminal: bool,
    arguments: list[str],
    term: str,
    is_drawn: bool,
) -> None:
    """Never into a pipe or a file, not with --quiet or --json, not on a dumb terminal."""
    shown = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr("sys.stderr", shown)
    monkeypatch.setenv("TERM", term)

    def work() -> dict[str, Any]:
        with progress("Reading") as report:
            report(1, 2)
        return {"state": "done"}

    assert run(work, "work", "x", *arguments).exit_code == 0
    assert ("Reading" in shown.getvalue()) is is_drawn


def test_no_bar_outside_of_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that calls the same functions in its pages gets nothing on its terminal."""
    shown = Terminal()
    monkeypatch.setattr("sys.stderr", shown)
    with progress("Reading") as report:
        report(1, 2)
    assert shown.getvalue() == ""


def test_a_connection_that_broke_is_not_taken_for_a_reader_that_hung_up(run: Run) -> None:
    """A broken pipe that is not our output's is an error like any other, not silence."""
    done = run(failing(BrokenPipeError(32, "Broken pipe")))
    assert done.exit_code == 1
    assert "INTERNAL: BrokenPipeError at " in done.stderr


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
