"""How every Noren command ends: its result on stdout, or an error's code, cause and exit code.

The only module of core that prints. The three programs share it so that scripts around them can rely on
one convention: with --json, exactly one JSON object on stdout with `success`; without, lines for people.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click
import typer

from noren_core.errors import NorenError

USAGE_EXIT_CODE = 2
INTERRUPTED_EXIT_CODE = 130
_SHOWN_FRAMES = 6


def run_command(app: typer.Typer, arguments: Sequence[str] | None, *, program: str) -> int:
    """Run one command of `app`, print what it returns or why it failed; the exit code.

    Args:
        app: commands return a dictionary to be printed (its `exit_code`, if any, is the exit code), or None.
        arguments: without the program's name; None takes those of this process.
        program: the name shown in help and errors.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given
    given = [argument for argument in given if argument != "--json"]  # wherever it stands
    try:
        result = app(given, standalone_mode=False, prog_name=program)
    except NorenError as error:
        _print_error(error.code, error.message, program=program, as_json=as_json)
        return error.exit_code
    except click.ClickException as error:
        _print_error("USAGE", error.format_message(), program=program, as_json=as_json)
        return USAGE_EXIT_CODE
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED_EXIT_CODE
    except Exception as error:  # noqa: BLE001 (its text may hold records: only where it happened is told)
        places = " < ".join(_places(error))
        _print_error("INTERNAL", f"{type(error).__name__} at {places}", program=program, as_json=as_json)
        return NorenError.exit_code
    if not isinstance(result, dict):
        return int(result or 0)
    exit_code = int(result.pop("exit_code", 0))
    _print_result(result, as_json=as_json, success=exit_code == 0)
    return exit_code


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


def _print_error(code: str, message: str, *, program: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"success": False, "code": code, "message": message}, ensure_ascii=False))
        return
    print(f"{program}: {code}: {message}\nWhat to do: docs/deploying.md, section Errors.", file=sys.stderr)
