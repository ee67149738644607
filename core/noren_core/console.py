"""How every Noren command behaves: result on stdout, progress and errors on stderr, and its exit code.

The only module of core that prints. The three programs share it so that scripts around them can rely on one
convention: with --json, exactly one JSON object on stdout with `success`; without, lines for people. An error
is its code and sentence, its cause, what to do, and the place in docs/errors.md, in Japanese where the locale
is. Bars of progress are drawn on a terminal alone, and not with --quiet, --json or TERM=dumb; colours follow
NO_COLOR (https://no-color.org). A reader that hangs up (`| head`) and a Ctrl-C end a command in silence.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import click
import typer

from noren_core.errors import ExitCode, NorenError

INTERRUPTED_EXIT_CODE = ExitCode.INTERRUPTED
_SHOWN_FRAMES = 6
_ANYWHERE = ("--json", "--quiet")
_MAY_DRAW: ContextVar[bool] = ContextVar("noren_may_draw", default=False)
_IS_QUIET: ContextVar[bool] = ContextVar("noren_is_quiet", default=False)
_LABELS = {"en": ("Cause", "What to do", "See"), "ja": ("原因", "対処", "参照")}

Report = Callable[[int, int], None]
"""Called with how much is done and how much there is in all; 0 in all: not known."""


def run_command(app: typer.Typer, arguments: Sequence[str] | None, *, program: str) -> int:
    """Run one command of `app`, print what it returns or why it failed; the exit code.

    Args:
        app: commands return a dictionary to be printed (its `exit_code`, if any, is the exit code), or None.
        arguments: without the program's name; None takes those of this process. `--json` and `--quiet` may
            stand anywhere.
        program: the name shown in help and errors.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json, quiet = (flag in given for flag in _ANYWHERE)
    given = [argument for argument in given if argument not in _ANYWHERE]
    with _manners(quiet=quiet, draws=not (quiet or as_json)):
        try:
            exit_code = _run(app, given, program=program, as_json=as_json)
            sys.stdout.flush()
        except BrokenPipeError:
            _let_go_of_stdout()
            return ExitCode.PIPE_CLOSED
    return exit_code


@contextlib.contextmanager
def progress(title: str) -> Iterator[Report]:
    """Show on stderr how far long work is, where a person can see it; the result on stdout is as without.

    Args:
        title: what is being done, in a few words, without names.
    """
    if not (_MAY_DRAW.get() and _is_drawable()):
        yield lambda _done, _in_all: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    shown = Console(stderr=True)
    # What a command prints meanwhile goes where it would without a bar.
    with Progress(
        *columns, console=shown, transient=True, redirect_stdout=False, redirect_stderr=False
    ) as bars:
        task = bars.add_task(title, total=None)
        yield lambda done, in_all: bars.update(task, completed=done, total=in_all or None)


def tell_progress(line: str) -> None:
    """One line on stderr about how far long work is, for work that has few steps; none with --quiet."""
    if not _IS_QUIET.get():
        print(line, file=sys.stderr, flush=True)


def _is_drawable() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


@contextlib.contextmanager
def _manners(*, quiet: bool, draws: bool) -> Iterator[None]:
    """With `quiet`, also no log lines that only tell how far something is; ends with the command."""
    before = logging.root.manager.disable
    may_draw, is_quiet = _MAY_DRAW.set(draws), _IS_QUIET.set(quiet)
    if quiet:
        logging.disable(max(before, logging.INFO))
    try:
        yield
    finally:
        _MAY_DRAW.reset(may_draw)
        _IS_QUIET.reset(is_quiet)
        logging.disable(before)


def _run(app: typer.Typer, given: list[str], *, program: str, as_json: bool) -> int:
    try:
        result = app(given, standalone_mode=False, prog_name=program)
    except NorenError as error:
        _print_error(error.code, error.message, error.exit_code, program=program, as_json=as_json)
        return int(error.exit_code)
    except click.ClickException as error:
        message = error.format_message()
        _print_error("USAGE", message, ExitCode.USAGE, program=program, as_json=as_json)
        return ExitCode.USAGE
    except (KeyboardInterrupt, click.Abort):
        return ExitCode.INTERRUPTED
    except SystemExit as end:  # click's answer to a broken pipe, and the end of a completion
        if isinstance(end.__context__, BrokenPipeError):
            return _end_of_pipe(end, end.__context__, program=program, as_json=as_json)
        return (
            end.code if isinstance(end.code, int) else ExitCode.DONE if end.code is None else ExitCode.OTHER
        )
    except Exception as error:  # noqa: BLE001 (its text may hold records: only where it happened is told)
        return _print_internal(error, program=program, as_json=as_json)
    if not isinstance(result, dict):
        return int(result or 0)
    exit_code = int(result.pop("exit_code", 0))
    _print_result(result, as_json=as_json, success=exit_code == 0)
    return exit_code


def _end_of_pipe(end: SystemExit, error: BrokenPipeError, *, program: str, as_json: bool) -> int:
    """Silence, if it was our reader who hung up; a connection that broke is a fault like any other."""
    if _has_reader() and not _is_by_rich(end):
        return _print_internal(error, program=program, as_json=as_json)
    raise error


def _has_reader() -> bool:
    try:
        poll = select.poll()
        poll.register(sys.__stdout__.fileno(), 0)  # type: ignore[union-attr]
        return not any(events & select.POLLERR for _, events in poll.poll(0))
    except (OSError, ValueError, AttributeError):  # no descriptor: nobody can hang up
        return True


def _is_by_rich(end: SystemExit) -> bool:
    """Whether rich, which prints and does nothing else, gave up; it has put another file for stdout then."""
    modules = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(end.__traceback__)]
    return bool(modules) and modules[-1].startswith("rich.")


def _print_internal(error: Exception, *, program: str, as_json: bool) -> int:
    message = f"{type(error).__name__} at {' < '.join(_places(error))}"
    _print_error("INTERNAL", message, ExitCode.OTHER, program=program, as_json=as_json)
    return ExitCode.OTHER


def _places(error: Exception) -> list[str]:
    """File and line of the innermost calls, innermost first."""
    frames = traceback.extract_tb(error.__traceback__)[-_SHOWN_FRAMES:]
    return [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in reversed(frames)]


def _print_result(result: dict[str, Any], *, as_json: bool, success: bool) -> None:
    if as_json:
        print(json.dumps({"success": success, **result}, ensure_ascii=False))
        return
    for name, value in result.items():
        print(f"{name}: {value}")


def _print_error(code: str, message: str, exit_code: int, *, program: str, as_json: bool) -> None:
    from noren_core.error_guide import advice

    code = str(code)
    if as_json:
        said = advice(code, exit_code=exit_code)
        about = {"cause": said.cause, "fix": said.fix, "page": said.page}
        print(json.dumps({"success": False, "code": code, "message": message, **about}, ensure_ascii=False))
        return
    language = spoken_language()
    said = advice(code, language, exit_code=exit_code)
    lines = [f"{program}: {code}: {message}"]
    explained = zip(_LABELS[language], (said.cause, said.fix, said.page), strict=True)
    lines += [f"{label}: {text}" for label, text in explained]
    print("\n".join(lines), file=sys.stderr)


def spoken_language() -> str:
    """The language of messages, as POSIX has it: the first of these variables that is set."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if value := os.environ.get(name):
            return "ja" if value.replace("-", "_").split("_")[0] == "ja" else "en"
    return "en"


def _let_go_of_stdout() -> None:
    """Nobody reads any more: what is still buffered must not fail when the interpreter ends."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.__stdout__.fileno())  # type: ignore[union-attr]
        os.close(nowhere)
