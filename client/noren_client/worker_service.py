"""`noren-company run`: SuperNode and worker of an enrolled company, from its own configuration."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from noren_client import config, keystore, replay_data
from noren_client.company_secrets import secrets_of
from noren_client.config import CompanyConfig
from noren_client.supernode import SupernodeSettings, run_company
from noren_core.errors import LocalProtocolError
from noren_local.private_file import write_private

_LOCK = Path("run", "worker.lock")
_PATIENCE_SECONDS, _POLL_SECONDS = 2.0, 0.05


def run(
    company_dir: Path, *, stop: threading.Event | None = None, clock: Callable[[], float] = time.time
) -> None:
    """Run until `stop` is set, SIGTERM or SIGINT; `run/ready` exists while the worker can answer.

    What replays of long finished campaigns would have needed is removed first.

    Raises:
        ConfigurationError: if the company has not enrolled.
        LocalProtocolError: `CHILD_FAILED` if the SuperNode does not start; `WORKER_RUNNING` if another
            worker of this directory runs: the platform knows one SuperNode of a company.
    """
    settings = config.load(company_dir)
    keystore.load(company_dir)
    replay_data.forget_expired(company_dir, now=clock())
    ready = company_dir / "run" / "ready"
    with (
        stopped(company_dir, patience_seconds=_PATIENCE_SECONDS),
        secrets_of(company_dir).held(),
    ):  # nobody converts the keys meanwhile
        _run(company_dir, settings, ready, stop)


def is_running(company_dir: Path) -> bool:
    """Whether a worker of this directory runs now, on this machine."""
    try:
        with stopped(company_dir):
            return False
    except LocalProtocolError:
        return True


@contextmanager
def stopped(company_dir: Path, *, patience_seconds: float = 0.0) -> Iterator[None]:
    """No worker of this directory runs, and none starts within the block; else WORKER_RUNNING.

    `patience_seconds`: for who must not mistake somebody who only asks (`is_running`) for a worker.
    """
    path = company_dir / _LOCK
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(descriptor, patience_seconds)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, patience_seconds: float) -> None:
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise LocalProtocolError(
                    "expected that no worker of this directory runs, one does; stop it first",
                    code="WORKER_RUNNING",
                ) from error
            time.sleep(_POLL_SECONDS)
        else:
            return


def _run(company_dir: Path, settings: CompanyConfig, ready: Path, stop: threading.Event | None) -> None:
    try:
        run_company(
            SupernodeSettings(
                company_dir=company_dir.resolve(),
                fleet_address=settings.addresses.fleet,
                root_certificates=keystore.authority_path(company_dir),
                node_key=keystore.node_key(company_dir),
                bundle_sha256=settings.pins.bundle_sha256,
                network=settings.network,
            ),
            stop=stop,
            on_ready=lambda: write_private(ready, b"ready\n"),
        )
    finally:
        ready.unlink(missing_ok=True)
