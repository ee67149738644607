"""`noren-company daily`: everything that is due once a day, each step whatever became of the others.

Promises: it only calls what the single commands call; a step that fails does not keep the others from being
done, and is told with its code; nothing is done for a campaign that needs a person first (no plan is signed,
no decision sealed, no head sent that was not sent before). What it tells holds no number of people.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from noren_client import (
    campaign_files,
    config,
    follow_up,
    season_progress,
    worker_service,
)
from noren_client.imports import pending_upload
from noren_client.rights import daily_work, provision_records, retention
from noren_client.setup import open_campaign
from noren_core.errors import NorenError

COMPARISONS = Path("rights", "comparisons")
"""Where the platform's comparison files are put, each named for its table: <32 hex digits>.json."""

TRAIN_SECONDS = 4 * 3600.0


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was due.

    Attributes:
        name: what, and for which campaign.
        code: of the error, empty if it was done; `message` is its sentence.
    """

    name: str
    exit_code: int = 0
    code: str = ""
    message: str = ""


def run(
    company_dir: Path,
    *,
    clock: Callable[[], float] = time.time,
    train_seconds: float = TRAIN_SECONDS,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[Step, ...]:
    """Do what is due: ledger, answers, orders, retention, comparisons, scores; training if no worker runs.

    Raises:
        ConfigurationError, LocalProtocolError: if this directory is no enrolled company's, or handed over.
    """
    config.load(company_dir)
    done = []
    for name, work in _due(company_dir, clock, train_seconds):
        say(name)
        try:
            work()
        except NorenError as error:
            done.append(Step(name, error.exit_code, error.code, error.message))
        else:
            done.append(Step(name))
    return tuple(done)


def exit_code(steps: tuple[Step, ...]) -> int:
    """Of the first step that failed."""
    return next((step.exit_code for step in steps if step.exit_code), 0)


def _due(
    company_dir: Path, clock: Callable[[], float], train_seconds: float
) -> Iterator[tuple[str, Callable[[], object]]]:
    """The steps in order; which there are is known only when those before were done."""
    names = campaign_files.accepted(company_dir)
    for name in names:
        yield f"ledger {name}", partial(season_progress.ask_ledger, company_dir, name)
    for name in names:
        yield f"answer {name}", partial(daily_work.answer_students, company_dir, name, now=int(clock()))
    for name in names:
        yield f"erase {name}", partial(daily_work.carry_out_orders, company_dir, [name])
    yield "retention", partial(retention.run, company_dir, now=int(clock()))
    yield "uploads", partial(pending_upload.tidy, company_dir, now=int(clock()))
    for path in sorted((company_dir / COMPARISONS).glob("*.json")):
        yield f"compare {path.stem}", partial(_compare, company_dir, path)
    for name in names:
        known = season_progress.progress(company_dir, name)
        if known.message == name:  # with those whose heads went along: another message would be refused
            yield f"score {name}", partial(follow_up.score, company_dir, name, others=known.partners)
    if not worker_service.is_running(company_dir):
        for name in open_campaign.campaigns_to_train(company_dir):
            train = partial(open_campaign.train, company_dir, name, limit_seconds=train_seconds)
            yield f"train {name}", train


def _compare(company_dir: Path, path: Path) -> None:
    try:
        table_id = bytes.fromhex(path.stem)
    except ValueError:
        return  # somebody's own file
    provision_records.compare(company_dir, path.read_bytes(), table_id)
