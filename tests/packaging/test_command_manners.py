"""Manners of the three programs: help of every command, what it loads, completion, pipes and Ctrl-C.

How long `--help` takes is not measured here: what it loads is, which says the same on every machine.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
import typer

# Typer 0.20 imports a name that the installed click has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:'click.utils:DeprecationWarning")

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "tests" / "audit" / "sample_bundles"
PROGRAMS = {
    "noren-audit": "noren_audit.cli",
    "noren-company": "noren_client.cli",
    "noren-platform": "noren_server.cli",
}
# What takes longer to load than all of a program's own start.
HEAVY = {
    "coincurve",
    "cryptography",
    "dp_accounting",
    "duckdb",
    "fastapi",
    "flwr",
    "google",
    "grpc",
    "httpx",
    "ibis",
    "jinja2",
    "jwt",
    "numpy",
    "openpyxl",
    "opacus",
    "pandas",
    "pyarrow",
    "scipy",
    "sqlalchemy",
    "starlette",
    "torch",
    "uvicorn",
    "babel",
    "segno",
}
HELP_OF_ALL = """
import contextlib, importlib, io, json, sys
module, paths = sys.argv[1], json.loads(sys.argv[2])
program = importlib.import_module(module)
said = []
for path in paths:
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = program.main([*path, "--help"])
    said.append([path, code, out.getvalue(), err.getvalue()])
print(json.dumps({"said": said, "modules": sorted(sys.modules)}))
"""


def app_of(program: str) -> typer.Typer:
    module = importlib.import_module(PROGRAMS[program])
    made: typer.Typer = module.make_app(as_json=False) if hasattr(module, "make_app") else module.app
    return made


def commands(program: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command and group, with its words."""
    waiting: list[tuple[tuple[str, ...], click.Command]] = [((), typer.main.get_command(app_of(program)))]
    while waiting:
        words, command = waiting.pop()
        yield words, command
        if isinstance(command, click.Group):
            waiting += [((*words, name), found) for name, found in command.commands.items()]


def environment(**variables: str) -> dict[str, str]:
    """A wide terminal in English without colours, and whatever is given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG"))}
    return {**kept, "COLUMNS": "200", "TERM": "xterm", "NO_COLOR": "1", **variables}


def run(program: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own."""
    script = f"import sys; from {PROGRAMS[program]} import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment(**variables),
    )


@pytest.fixture(scope="module", params=PROGRAMS)
def helped(request: pytest.FixtureRequest) -> tuple[str, dict[tuple[str, ...], Any], set[str]]:
    """A program's help for every one of its commands, and what was loaded for all of them together."""
    program: str = request.param
    paths = [words for words, _ in commands(program)]
    done = subprocess.run(
        [sys.executable, "-c", HELP_OF_ALL, PROGRAMS[program], json.dumps(paths)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env=environment(),
    )
    found = json.loads(done.stdout)
    said = {tuple(path): (code, out, err) for path, code, out, err in found["said"]}
    return program, said, {name.split(".")[0] for name in found["modules"]}


def test_every_command_has_help_that_names_its_options(
    helped: tuple[str, dict[tuple[str, ...], Any], set[str]],
) -> None:
    """Exit 0, on stdout alone, with what the command is for and each of its options and commands."""
    program, said, _ = helped
    for words, command in commands(program):
        exit_code, stdout, stderr = said[words]
        assert (exit_code, stderr) == (0, ""), words
        shown = " ".join(stdout.split())
        assert f"Usage: {' '.join((program, *words))}" in shown
        assert command.help, f"{words}: expected a sentence that says what it is for"
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert parameter.opts[0] in shown, (words, parameter.opts)
        for name in command.commands if isinstance(command, click.Group) else ():
            assert name in shown, (words, name)


def test_help_loads_nothing_heavy(helped: tuple[str, dict[tuple[str, ...], Any], set[str]]) -> None:
    """Not for any command: what it needs is loaded when it does something."""
    program, _, loaded = helped
    assert "typer" in loaded
    assert loaded & HEAVY == set(), program


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_option_and_argument_of_ours_says_what_it_is_for(program: str) -> None:
    """An option without a sentence is one that only its author can use."""
    silent = [
        (*words, parameter.opts[0])
        for words, command in commands(program)
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.help
    ]
    assert silent == []


@pytest.mark.parametrize("program", PROGRAMS)
def test_json_and_quiet_are_offered_and_taken_anywhere(say: Said, program: str) -> None:
    """One object on stdout, nothing on stderr, before or after the command."""
    for arguments in (["--json", "version"], ["version", "--quiet", "--json"]):
        exit_code, stdout, stderr = say(program, *arguments)
        assert (exit_code, stderr) == (0, "")
        assert json.loads(stdout)["success"] is True
    _, help_text, _ = say(program, "--help")
    for option in ("--json", "--quiet", "--install-completion"):
        assert option in help_text


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_error_has_its_four_lines_on_stderr(
    say: Said, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    """Code and sentence, cause, what to do, and the page; in Japanese where the locale is."""
    monkeypatch.delenv("LC_ALL", raising=False)
    monkeypatch.delenv("LC_MESSAGES", raising=False)
    for language, labels in (
        ("C", ("Cause", "What to do", "See")),
        ("ja_JP.UTF-8", ("原因", "対処", "参照")),
    ):
        exit_code, stdout, stderr = say(program, "no-such-command", LANG=language)
        assert (exit_code, stdout) == (2, "")
        assert [line.partition(":")[0] for line in stderr.splitlines()] == [program, *labels]


def test_no_colours_into_a_pipe() -> None:
    """Though nothing forbids them: no escape sequence in a report or in help."""
    verify = ["verify", str(SAMPLES / "honest"), "--trust", str(SAMPLES / "trust.toml")]
    for arguments in (verify, ["--help"]):
        done = run("noren-audit", *arguments, NO_COLOR="")
        assert done.returncode == 0
        assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colours_on_a_terminal_that_asks_for_none(variables: Mapping[str, str]) -> None:
    """https://no-color.org, and terminals that know no escape sequences."""
    shown = on_a_terminal("noren-audit", "--help", **variables)
    assert "Usage" in shown
    assert "\x1b[3" not in shown


def test_a_terminal_gets_a_bar_and_then_only_the_result() -> None:
    """The bar is drawn on stderr while it works and taken away again; --quiet leaves it out."""
    verify = ("verify", str(SAMPLES / "honest"), "--trust", str(SAMPLES / "trust.toml"))
    assert "Verifying" in on_a_terminal("noren-audit", *verify)
    assert "Verifying" not in on_a_terminal("noren-audit", *verify, "--quiet")


def on_a_terminal(program: str, *arguments: str, **variables: str) -> str:
    """What a person sees: both streams are one pseudo-terminal."""
    ours, theirs = os.openpty()
    script = f"import sys; from {PROGRAMS[program]} import main; sys.exit(main())"
    plain = {**environment(), "NO_COLOR": "", **variables}
    if "NO_COLOR" not in variables:
        del plain["NO_COLOR"]
    with subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=plain
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                chunk = os.read(ours, 1 << 16)
            except OSError:  # the terminal's other end is closed
                break
            if not chunk:
                break
            shown += chunk
        assert process.wait(60) == 0
    os.close(ours)
    return shown.decode()


# Completion, as the three shells ask for it.


Said = Callable[..., tuple[int, str, str]]


def variable_of(program: str) -> str:
    """By which a shell tells the program that it is asked for completions."""
    return f"_{program.replace('-', '_').upper()}_COMPLETE"


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """The program within this process, with these variables: exit code, stdout, stderr."""

    def run_with(program: str, *arguments: str, **variables: str) -> tuple[int, str, str]:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        exit_code = importlib.import_module(PROGRAMS[program]).main(arguments)
        return exit_code, *capsys.readouterr()

    return run_with


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("program", "typed", "expected"),
    [
        ("noren-audit", "noren-audit ve", "verify"),
        ("noren-company", "noren-company keys ro", "rotate"),
        ("noren-platform", "noren-platform service res", "resume"),
    ],
)
def test_every_shell_completes_commands(
    say: Said, shell: str, program: str, typed: str, expected: str
) -> None:
    """The tab key offers the command, and nothing on stderr disturbs the line."""
    words = {"bash": {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}}.get(
        shell, {"_TYPER_COMPLETE_ARGS": typed, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    )
    exit_code, stdout, stderr = say(program, **{variable_of(program): f"complete_{shell}", **words})
    assert (exit_code, stderr) == (0, "")
    assert expected in stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_the_script_of_a_shell_names_the_program(say: Said, shell: str, program: str) -> None:
    """What --install-completion writes for the shell asks this very program."""
    exit_code, stdout, stderr = say(program, **{variable_of(program): f"source_{shell}"})
    assert (exit_code, stderr) == (0, "")
    assert variable_of(program) in stdout
    assert program in stdout


def test_bash_itself_completes(tmp_path: Path) -> None:
    """The script that is installed, in a real shell: a tab after `noren-audit ver` has its two answers."""
    script = tmp_path / "noren-audit"
    script.write_text(
        f"#!{sys.executable}\nimport sys\nfrom noren_audit.cli import main\nsys.exit(main())\n",
        encoding="utf-8",
    )
    script.chmod(0o700)
    pressed = """
    source <(_NOREN_AUDIT_COMPLETE=source_bash noren-audit)
    COMP_WORDS=(noren-audit ver) COMP_CWORD=1
    "$(complete -p noren-audit | sed -E 's/.*-F ([^ ]+) .*/\\1/')" noren-audit ver noren-audit
    echo "${COMPREPLY[@]}"
    """
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        ["/bin/bash", "-c", pressed],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=environment(PATH=path),
    )
    assert (sorted(done.stdout.split()), done.stderr) == (["verdict", "verify", "version"], "")


# Readers that hang up, and Ctrl-C.


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("arguments", [["--help"], ["version", "--json"]])
def test_a_reader_that_hangs_up_hears_no_complaint(program: str, arguments: list[str]) -> None:
    """As in `| head`: no traceback and no error, an exit code that says so if anything was lost."""
    ours, theirs = os.pipe()
    os.close(ours)
    script = f"import sys; from {PROGRAMS[program]} import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
        env=environment(),
    )
    os.close(theirs)
    assert (done.returncode, done.stderr) == (141, "")


def test_ctrl_c_ends_a_command_with_130_and_writes_nothing(tmp_path: Path) -> None:
    """In the middle of reading: no traceback, and no file of the result, not even a part of one."""
    key, out = tmp_path / "auditor.key", tmp_path / "verdict.json"
    assert run("noren-audit", "key", "init", str(key)).returncode == 0
    script = f"import sys; from {PROGRAMS['noren-audit']} import main; sys.exit(main())"
    arguments = ["replay", "-", "--bundle", str(SAMPLES / "honest"), "--trust", str(SAMPLES / "trust.toml")]
    with subprocess.Popen(
        [sys.executable, "-c", script, *arguments, "--key", str(key), "--out", str(out)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stdin is not None
        process.stdin.write(b"x" * (1 << 18))  # more than a pipe holds: it returns once the command reads
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr) == (130, b"", b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["auditor.key"]
