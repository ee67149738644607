"""A company that enrolled, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from noren_client import config
from noren_client.config import Addresses, CompanyConfig, Limits, Pins
from noren_core.crypto.identity import SigningKey
from noren_core.ledger.note import VerifierKey


@pytest.fixture
def company_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "company"
    directory.mkdir(mode=0o700)
    settings = CompanyConfig(
        company="company-1",
        platform="job-site",
        addresses=Addresses("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"),
        pins=Pins("ab" * 32, VerifierKey("job-site/ledger", SigningKey.generate().public_key), bytes(32)),
        limits=Limits(),
    )
    (directory / "config.toml").write_bytes(config.to_toml(settings))
    return directory
