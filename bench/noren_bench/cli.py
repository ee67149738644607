"""`scripts/bench`: what the work costs on this machine, and what its result is worth."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from noren_bench import speed as speed_table
from noren_bench.measurement import Goal, Row
from noren_bench.progress import say
from noren_core.crypto.cores import available_cores
from noren_core.errors import ConfigurationError, NorenError
from noren_demo.data_sources import GENERATED

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="Measure Noren on this machine.")

_FILE_WIDTH = 140


@app.command()
def speed(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
    only: Annotated[list[str] | None, typer.Option(help="Only this row; may be given again.")] = None,
    with_peers: Annotated[
        bool, typer.Option("--peers/--no-peers", help="Also install and run comparable software (1.2 GB).")
    ] = True,
) -> None:
    """CPU cost of every kind of work, its ratio to the bare library calls, and comparable software."""
    names = tuple(only or speed_table.ROWS)
    if unknown := [name for name in names if name not in speed_table.ROWS]:
        known = ", ".join(speed_table.ROWS)
        raise ConfigurationError(f"--only: expected some of {known}, got {', '.join(unknown)}")
    rows = list(speed_table.rows(names, with_peers=with_peers))
    if as_json:
        typer.echo(json.dumps({"machine": _machine(), "rows": [row.to_json() for row in rows]}, indent=2))
    else:
        _print(rows)


@app.command()
def utility(
    data: Annotated[
        str, typer.Option(help="oulad:DIR for OULAD's Parquet tables, or season:DIR for a prepared season.")
    ] = GENERATED,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of tables.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer seasons and draws: minutes.")] = False,
) -> None:
    """What the deployed pipeline's scores are worth at its ε, beside what others could have had."""
    from noren_bench import utility as utility_table
    from noren_bench.utility_settings import settings
    from noren_bench.utility_table import print_measured

    if data == GENERATED:
        say("no data given (--data oulad:DIR): measured on generated people, which says little of others")
    measured = list(utility_table.measure(settings(data, quick=quick)))
    if as_json:
        body = {"machine": _machine(), "tasks": [item.to_json() for item in measured]}
        typer.echo(json.dumps(body, indent=2, allow_nan=False))
    else:
        print_measured(measured, _console())


def _console() -> Console:
    """As wide as the terminal; in a file, wide enough that no figure is cut."""
    console = Console()
    return console if console.is_terminal else Console(width=_FILE_WIDTH)


def _machine() -> dict[str, object]:
    return {
        "cores": available_cores(),
        "processor": _processor(),
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
            return next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "")
    except OSError:
        return platform.processor()


def _print(rows: Sequence[Row]) -> None:
    console = _console()
    table = Table(title="CPU cost (all threads); ratios hold within this run")
    for column in ("work", "ours", "floor", "ratio", "others", "goals"):
        table.add_column(column, justify="right" if column in {"ours", "floor", "ratio"} else "left")
    for row in rows:
        table.add_row(
            row.work,
            _figure(row.ours, row.unit),
            "" if row.floor is None else _figure(row.floor, row.unit),
            "" if row.ratio is None else f"{row.ratio:.2f}",
            "\n".join(f"{name} {_figure(value, row.unit)}" for name, value in row.peers.items()),
            "\n".join(map(_goal, row.goals)),
        )
    console.print(table)
    for row in rows:
        console.print(f"[bold]{row.work}[/bold]")
        if row.floor_is:
            console.print(f"  floor: {row.floor_is}")
        for name, value in row.details.items():
            console.print(f"  {name.replace('_', ' ')}: {value:,.4g}")


def _figure(value: float, unit: str) -> str:
    return f"{value:,.3g} {unit}"


def _goal(goal: Goal) -> str:
    relation = "≤" if goal.is_maximum else "≥"
    verdict = "[green]met[/green]" if goal.is_met else "[red]missed[/red]"
    return f"{verdict}  {goal.what}: {goal.measured:.3g} {relation} {goal.limit:g}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one benchmark; the exit code is the error's own (3 for an unknown row)."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name="scripts/bench")
    except NorenError as error:
        typer.echo(f"error {error.code}: {error.message}", err=True)
        return error.exit_code
    except SystemExit as end:
        return int(end.code or 0)
    return 0
