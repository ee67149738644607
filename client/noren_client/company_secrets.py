"""Which of the company's files are secrets: all are sealed if its directory is protected."""

from __future__ import annotations

from pathlib import Path

from noren_core.crypto.sealed_files import SealedFiles
from noren_local.secret_files import SecretFiles, sealed

PATTERNS = (
    "keys/*.key",
    "campaigns/*/oprf-*.json",
    "campaigns/*/blinding.json",
    "campaigns/*/encrypted-head.json",
    "campaigns/*/weights.bin",
    "campaigns/*/sums.json",
    "campaigns/*/head.json",
    "campaigns/*/mirror-pending.json",
    "campaigns/*/mirror-told.json",
    "campaigns/*/decisions-*.json",
    "campaigns/*/scored.json",
    "campaigns/*/custody/*/*.share",
    "campaigns/*/erasing.json",
    "rights/inventory-*.json",
    "rights/provisions-*.json",
    "staff/register.json",
)


def secrets_of(company_dir: Path) -> SealedFiles:
    """The company's secrets, by their paths below its directory."""
    return sealed(stored_in(company_dir))


def stored_in(company_dir: Path) -> SecretFiles:
    """The same as they are stored."""
    return SecretFiles(company_dir, PATTERNS)
