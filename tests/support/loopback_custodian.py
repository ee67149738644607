"""A custodian on loopback, and a company that is configured to use it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from noren_audit.bounded_server import Listening
from noren_audit.custodian.custodian import Custodian, admit, initialise
from noren_audit.custodian.custodian_server import CustodianServer
from noren_client import config, keystore
from noren_client.config import Addresses, CompanyConfig, CustodianAddress, Limits, parse_pins
from noren_core.ledger.note import VerifierKey

NOW = 1_800_000_000


@dataclass
class Clock:
    """Seconds since 1970, moved by hand; company and custodian share it."""

    now: int = NOW

    def __call__(self) -> int:
        return self.now


@dataclass
class RunningCustodian:
    """A custodian that is being served."""

    directory: Path
    address: CustodianAddress

    def admit(self, company_dir: Path) -> None:
        """Let a configured company in, and tell it where we are."""
        keys = keystore.load(company_dir)
        admit(self.directory, keys.company, keys.signing.public_key)
        settings = replace(config.load(company_dir), custodian=self.address)
        (company_dir / config.FILE_NAME).write_bytes(config.to_toml(settings))


@contextmanager
def running_custodian(directory: Path, clock: Callable[[], int]) -> Iterator[RunningCustodian]:
    """A custodian in `directory`, made if it is not there."""
    if not directory.exists():
        initialise(directory, name="auditor-1")
    with (
        closing(Custodian(directory, clock=clock)) as custodian,
        CustodianServer(custodian, Listening()) as server,
    ):
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield RunningCustodian(directory, CustodianAddress(server.url, custodian.public_key))
        finally:
            server.shutdown()


def make_company(company_dir: Path, *, company: str = "alpha", platform_key: bytes = b"\xcd" * 32) -> Path:
    """A configured company with keys and no certificate."""
    company_dir.mkdir(mode=0o700, exist_ok=True)
    settings = CompanyConfig(
        company=company,
        platform="job-site",
        addresses=Addresses("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"),
        pins=parse_pins("ab" * 32, VerifierKey("job-site/ledger", bytes(32)).to_text(), platform_key.hex()),
        limits=Limits(),
    )
    (company_dir / config.FILE_NAME).write_bytes(config.to_toml(settings))
    keystore.create_missing(company_dir)
    return company_dir
