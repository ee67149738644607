"""`scripts/demo`: one whole season on this machine; see --help."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import click
import typer
from rich.console import Console

from noren_core.console import INTERRUPTED_EXIT_CODE
from noren_core.errors import ConfigurationError, NorenError
from noren_core.season.plan import TrainingMode
from noren_demo.data_sources import GENERATED

if TYPE_CHECKING:
    from noren_demo.parties import Parties
    from noren_demo.season import Season

app = typer.Typer(add_completion=False, rich_markup_mode=None)

REMOVAL_SECONDS = 10.0
REMOVAL_PAUSE_SECONDS = 0.05
PAGES_SCALE, PAGES_ROUNDS = 0.25, 10
"""A quarter of the people and few rounds: it is the pages that are looked at, not the model."""
_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@app.command()
def demo(
    data: Annotated[
        str, typer.Option(help="generated, or oulad:DIR for the OULAD tables as Parquet in DIR.")
    ] = GENERATED,
    companies: Annotated[
        str, typer.Option(help="OULAD: module, module-region, or N companies of 100 rows.")
    ] = "",
    train_intakes: Annotated[str, typer.Option(help="OULAD intakes to train on.")] = "2013B,2013J",
    score_intakes: Annotated[str, typer.Option(help="OULAD intakes to score.")] = "2014B",
    tasks: Annotated[str, typer.Option(help="OULAD tasks, each a campaign of its own: WF, W, DP.")] = "WF",
    mode: Annotated[
        str, typer.Option(help="noised-rows, or sealed-statistics: sums in place of rows, one round.")
    ] = TrainingMode.NOISED_ROWS.value,
    rounds: Annotated[int | None, typer.Option(help="Training rounds (default: the platform's).")] = None,
    epsilon: Annotated[str | None, typer.Option(help="Of the head, per campaign, as a decimal.")] = None,
    seed: Annotated[int, typer.Option(help="Of generated data, samples and shuffles; never of noise.")] = 7,
    permute_labels: Annotated[
        bool, typer.Option("--permute-labels", help="Negative control: shuffle outcomes within each company.")
    ] = False,
    in_process: Annotated[
        bool, typer.Option("--in-process", help="The same apps, machines and bytes in one process.")
    ] = False,
    pages: Annotated[
        bool, typer.Option("--pages", help="A small season up to its bands, then everybody's pages, open.")
    ] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the summary as JSON.")] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", help="Write the report page (default: in the kept directory).")
    ] = None,
    keep: Annotated[Path | None, typer.Option(help="Keep every party's files in this new directory.")] = None,
) -> None:
    """Run one season: enrol companies, train under differential privacy, score sealed, audit the ledger."""
    from noren_demo import report
    from noren_demo.data_sources import DataChoice, prepare
    from noren_demo.parties import Places
    from noren_demo.resources import ResourceMonitor
    from noren_demo.season import Options, Season

    if mode not in set(TrainingMode) or (mode == TrainingMode.SEALED_STATISTICS and rounds is not None):
        raise ConfigurationError("--mode: expected noised-rows, or sealed-statistics without --rounds")
    if pages and (in_process or data != GENERATED):
        raise ConfigurationError("--pages: expected generated data and processes, got other options with it")
    notes = Console(stderr=True, highlight=False)
    monitor = ResourceMonitor()
    root = _new_directory(keep)
    try:
        choice = DataChoice(
            source=data,
            companies=companies,
            train_intakes=_words(train_intakes),
            score_intakes=_words(score_intakes),
            tasks=_words(tasks),
            seed=seed,
            permute_labels=permute_labels,
            scale=PAGES_SCALE if pages else 1.0,
        )
        with monitor.phase("prepare data"):
            notes.print("Data: preparing logs, consents and the companies' files")
            description, files = prepare(choice, root / "data")
        season = Season(
            data=description,
            files=files,
            places=Places(root),
            options=Options(
                mode=TrainingMode(mode),
                rounds=PAGES_ROUNDS if pages and rounds is None else rounds,
                epsilon=epsilon,
                in_process=in_process,
            ),
            monitor=monitor,
            say=notes.print,
        )
        if pages:
            season.run_until_scored(lambda parties, scored: _stand_open(season, parties, scored))
            return
        summary = season.run()
        report.print_summary(summary, Console(highlight=False))
        page = html_file or (root / "report.html" if keep else Path("noren-season.html"))
        report.write_html(summary, page)
        notes.print(f"Report page: {page}")
        if json_file is not None:
            report.write_json(summary, json_file)
    finally:
        monitor.close()
        if keep is None:
            _remove(root)


def _stand_open(season: Season, parties: Parties, scored: list[str]) -> None:
    """Everybody's pages until Ctrl-C."""
    from noren_demo.open_pages import open_pages
    from noren_demo.parties import SeparateProcesses

    if not isinstance(parties, SeparateProcesses):
        raise ConfigurationError("--pages: expected parties in processes of their own")
    pages = open_pages(season, parties, scored)
    for line in pages.lines():
        print(line, flush=True)
    for _ in sys.stdin:
        print(pages.pages.another_link(), flush=True)
    signal.pause()  # where nobody can press Enter


def _remove(directory: Path) -> None:
    """Remove the season's directory.

    Again for a while: when a party was killed, the processes that it had started end by themselves a moment
    later, and what they still write would leave the directory, and keys in it, behind.
    """
    deadline = time.monotonic() + REMOVAL_SECONDS
    while directory.exists() and time.monotonic() < deadline:
        shutil.rmtree(directory, ignore_errors=True)
        time.sleep(REMOVAL_PAUSE_SECONDS)


def _new_directory(keep: Path | None) -> Path:
    """Where the season lives: a directory of this run alone."""
    if keep is None:
        return Path(tempfile.mkdtemp(prefix="noren-demo-"))
    if keep.exists() and any(keep.iterdir()):
        raise ConfigurationError("--keep: expected a new or empty directory, got one with files in it")
    keep.mkdir(parents=True, exist_ok=True)
    return keep.resolve()


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _interrupt_once() -> None:
    """End the parties on SIGTERM and on losing the terminal as on Ctrl-C; a second one does not stop that."""
    heeded = [number for number in _INTERRUPTS if signal.getsignal(number) is not signal.SIG_IGN]

    def interrupted(_number: int, _frame: object) -> NoReturn:
        for number in heeded:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in heeded:
        signal.signal(number, interrupted)


def main() -> int:
    """Run the demo; the exit code."""
    os.environ.update(FLWR_TELEMETRY_ENABLED="0", FLWR_DISABLE_UPDATE_CHECK="1", OMP_NUM_THREADS="1")
    _interrupt_once()
    try:
        exit_code = int(app(standalone_mode=False, prog_name="scripts/demo") or 0)
    except NorenError as error:
        print(f"error {error.code}: {error.message}", file=sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        exit_code = INTERRUPTED_EXIT_CODE
    except click.ClickException as error:
        error.show()
        return error.exit_code
    if exit_code == INTERRUPTED_EXIT_CODE:  # Typer turns the interrupt into this
        print("interrupted; every process was ended", file=sys.stderr)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
