"""`noren-company train`: one campaign's training from here to its head, in one command that can be seen.

Promises: it prepares what is not prepared, answers rounds until the head is here, and stops by itself; it
signs no plan: that is `accept`, after somebody looked at what it costs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from noren_client import alignment, campaign_files, season_progress, worker_service
from noren_client.season_progress import Progress, Stage
from noren_core.errors import LocalProtocolError

POLL_SECONDS = 2.0
FAREWELL_SECONDS = 10.0
"""After the head is here, so that the last answer still reaches the platform."""

_OPEN = frozenset({Stage.ACCEPTED, Stage.PREPARED, Stage.TRAINING})

Say = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Trained:
    """What came of it: the stage that was reached, and whether it was waited for long enough."""

    campaign: str
    stage: Stage


def campaigns_to_train(company_dir: Path) -> tuple[str, ...]:
    """The accepted campaigns whose head is not here yet."""
    names = campaign_files.accepted(company_dir)
    return tuple(name for name in names if season_progress.progress(company_dir, name).stage in _OPEN)


def chosen(company_dir: Path, campaign: str) -> str:
    """The campaign that is meant: the one that is named, or the only one that is open.

    Raises:
        LocalProtocolError: if none is open (accept one first), or several are and none is named.
    """
    if campaign:
        campaign_files.load_plan(company_dir, campaign)
        return campaign
    found = campaigns_to_train(company_dir)
    if len(found) != 1:
        listed = ", ".join(found) or "none: run noren-company accept NAME first"
        raise LocalProtocolError(f"train: expected one open campaign, or its name; open are {listed}")
    return found[0]


def train(
    company_dir: Path,
    campaign: str,
    *,
    limit_seconds: float | None = None,
    say: Say = lambda _: None,
    work: Callable[[Path, threading.Event], None] = lambda path, stop: worker_service.run(path, stop=stop),
) -> Trained:
    """Prepare, and answer rounds until the head of the last round is here. Call it from the main thread.

    Args:
        company_dir: the company's directory.
        campaign: an accepted one.
        limit_seconds: stop after that time, whatever was reached; None waits for the head.
        say: told how far it is, whenever that changes.
        work: answers rounds until the event is set.

    Raises:
        LocalProtocolError: with code WORKER_RUNNING, if another worker runs: it trains already.
        As `alignment.prepare` and `worker_service.run`.
    """
    found = season_progress.progress(company_dir, campaign)
    say(found)
    if found.stage is Stage.ACCEPTED:
        alignment.prepare(company_dir, campaign)
        say(found := season_progress.progress(company_dir, campaign))
    if found.stage in _OPEN:
        with _watched(company_dir, campaign, limit_seconds, say) as stop:
            work(company_dir, stop)
    return Trained(campaign, season_progress.progress(company_dir, campaign).stage)


@contextmanager
def _watched(
    company_dir: Path, campaign: str, limit_seconds: float | None, say: Say
) -> Iterator[threading.Event]:
    """An event that is set when the head is here or the time is over; gone with the block."""
    stop, is_over = threading.Event(), threading.Event()

    def watch() -> None:
        began, last = time.monotonic(), None
        while not is_over.wait(POLL_SECONDS):
            found = season_progress.progress(company_dir, campaign)
            if found != last:
                say(found)
                last = found
            if found.stage not in _OPEN:
                is_over.wait(FAREWELL_SECONDS)
                break
            if limit_seconds is not None and time.monotonic() - began > limit_seconds:
                break
        stop.set()

    thread = threading.Thread(target=watch, name="training watch", daemon=True)
    thread.start()
    try:
        yield stop
    finally:
        is_over.set()
        thread.join()
