"""`noren-company run`: SuperNode and worker of an enrolled company, from its own configuration."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from noren_client import config, keystore, replay_data
from noren_client.company_secrets import secrets_of
from noren_client.config import CompanyConfig
from noren_client.supernode import SupernodeSettings, run_company
from noren_local.private_file import write_private


def run(company_dir: Path, *, clock: Callable[[], float] = time.time) -> None:
    """Run until SIGTERM or SIGINT; `run/ready` exists while the worker can answer.

    What replays of long finished campaigns would have needed is removed first.

    Raises:
        ConfigurationError: if the company has not enrolled.
        LocalProtocolError: `CHILD_FAILED` if the SuperNode does not start.
    """
    settings = config.load(company_dir)
    keystore.load(company_dir)
    replay_data.forget_expired(company_dir, now=clock())
    ready = company_dir / "run" / "ready"
    with secrets_of(company_dir).held():  # nobody converts the keys under a running worker
        _run(company_dir, settings, ready)


def _run(company_dir: Path, settings: CompanyConfig, ready: Path) -> None:
    try:
        run_company(
            SupernodeSettings(
                company_dir=company_dir.resolve(),
                fleet_address=settings.addresses.fleet,
                root_certificates=keystore.authority_path(company_dir),
                node_key=keystore.node_key(company_dir),
                bundle_sha256=settings.pins.bundle_sha256,
            ),
            on_ready=lambda: write_private(ready, b"ready\n"),
        )
    finally:
        ready.unlink(missing_ok=True)
