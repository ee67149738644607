"""The checks of `noren-company doctor` that look at this machine only.

Promises: nothing is changed, no secret is opened, and no number of records is told.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from noren_client import config, inertness, keystore
from noren_client.company_secrets import secrets_of, stored_in
from noren_client.config import CompanyConfig
from noren_client.ledger_watch import LedgerWatch
from noren_client.setup.findings import Check, Finding, Result
from noren_client.setup.service import UnitState
from noren_client.setup.systemd_units import TIMER, WORKER, Scope
from noren_core.crypto.vault import VaultState
from noren_core.errors import NorenError

LITTLE_ROOM_BYTES, NO_ROOM_BYTES = 5 << 30, 512 << 20
ENDS_SOON_DAYS = 45
STALE_DAYS = 3
_DAY_SECONDS, _HOUR_SECONDS = 86_400, 3600
_OTHERS = 0o077


def configuration(company_dir: Path) -> tuple[Finding, CompanyConfig | None]:
    """Whether config.toml can be used, and it."""

    def found(result: Result, **values: str) -> Finding:
        return Finding(Check.CONFIGURATION, result, values)

    if (company_dir / inertness.FILE_NAME).exists():
        return found(Result.HANDED_OVER), None
    if not (company_dir / config.FILE_NAME).exists():
        return found(Result.NOT_CONFIGURED), None
    try:
        settings = config.load(company_dir)
    except NorenError as error:
        return found(Result.BAD_CONFIGURATION, reason=error.message), None
    return found(Result.CONFIGURED, company=settings.company), settings


def directory(company_dir: Path) -> Finding:
    """Whether only we can reach the directory."""
    path = str(company_dir.resolve())
    if not company_dir.is_dir():
        return Finding(Check.DIRECTORY, Result.NO_DIRECTORY)
    status = company_dir.stat()
    if status.st_uid != os.geteuid():
        return Finding(Check.DIRECTORY, Result.NOT_OURS, {"path": path})
    mode = stat.S_IMODE(status.st_mode)
    if mode & _OTHERS:
        return Finding(Check.DIRECTORY, Result.NOT_PRIVATE, {"mode": f"{mode:04o}", "path": path})
    return Finding(Check.DIRECTORY, Result.PRIVATE)


def disk(
    company_dir: Path, *, free: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free
) -> Finding:
    """Whether a campaign's table would fit."""
    place = next(path for path in (company_dir.resolve(), *company_dir.resolve().parents) if path.exists())
    left = free(place)
    values = {"free": _gibibytes(left), "wanted": _gibibytes(LITTLE_ROOM_BYTES), "path": str(place)}
    result = Result.ROOM
    if left < LITTLE_ROOM_BYTES:
        result = Result.NO_ROOM if left < NO_ROOM_BYTES else Result.LITTLE_ROOM
    return Finding(Check.DISK, result, values)


def keys(company_dir: Path) -> Finding:
    """Whether every key is there, and protected."""
    missing = [name for name in keystore.CURRENT.values() if not (company_dir / name).exists()]
    if missing:
        return Finding(Check.KEYS, Result.KEYS_MISSING, {"count": str(len(missing))})
    path = str((company_dir / "keys").resolve())
    try:
        stored = stored_in(company_dir)
        for name in stored.names():
            stored.read(name)  # refuses what others can read; what is sealed stays so
        state = secrets_of(company_dir).state
    except NorenError as error:
        return Finding(Check.KEYS, Result.KEYS_READABLE, {"reason": error.message, "path": path})
    results = {
        None: Result.KEYS_PLAIN,
        VaultState.SEALED: Result.KEYS_SEALED,
        VaultState.CONVERTING: Result.KEYS_CONVERTING,
    }
    return Finding(Check.KEYS, results[state], {"path": path})


def certificate(company_dir: Path, *, now: int) -> Finding:
    """How long the platform lets us in."""
    valid = certificate_dates(company_dir)
    if valid is None:
        return Finding(Check.CERTIFICATE, Result.NOT_COLLECTED)
    since, until = valid
    values = {
        "until": datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%d"),
        "days": str((until - now) // _DAY_SECONDS),
    }
    if not since <= now <= until:
        return Finding(Check.CERTIFICATE, Result.ENDED, values)
    is_soon = until - now < ENDS_SOON_DAYS * _DAY_SECONDS
    return Finding(Check.CERTIFICATE, Result.ENDS_SOON if is_soon else Result.VALID, values)


def certificate_dates(company_dir: Path) -> tuple[int, int] | None:
    """From when until when the company's certificate is valid, Unix seconds; None if there is none."""
    return _dates(keystore.directory(company_dir) / keystore.CERTIFICATE)


def authority_dates(company_dir: Path) -> tuple[int, int] | None:
    """The same of the platform's root certificate."""
    return _dates(keystore.authority_path(company_dir))


def ledger(company_dir: Path, *, now: int) -> Finding:
    """Whether the ledger was proven to us lately, and never to two sizes of it."""
    platform = company_dir / "platform"
    if any((platform / "evidence").glob("split-view-*.json")):
        return Finding(Check.LEDGER, Result.EVIDENCE, {"path": str(platform / "evidence")})
    checkpoint = platform / "checkpoint"
    if not checkpoint.exists():
        return Finding(Check.LEDGER, Result.NO_CHECKPOINT)
    age = max(0, now - int(checkpoint.stat().st_mtime))
    values = {
        "hours": str(age // _HOUR_SECONDS),
        "days": str(age // _DAY_SECONDS),
        "size": str(LedgerWatch(company_dir).known_tree_size),
    }
    is_fresh = age <= STALE_DAYS * _DAY_SECONDS
    return Finding(Check.LEDGER, Result.FRESH if is_fresh else Result.STALE, values)


def units(scope: Scope | None, *, is_systemd: bool, ask: Callable[[Scope], list[UnitState]]) -> Finding:
    """Whether something starts the worker and the daily work.

    Args:
        scope: where the units are installed, if they are.
        is_systemd: whether a service manager runs here.
        ask: what it says of them.
    """
    if not is_systemd:
        return Finding(Check.SERVICE, Result.NO_SYSTEMD)
    if scope is None:
        return Finding(Check.SERVICE, Result.NOT_INSTALLED)
    manager = "systemctl" if scope is Scope.SYSTEM else "systemctl --user"
    journal = "" if scope is Scope.SYSTEM else "--user"
    known = ask(scope)
    for result, unit in _troubles(known):
        values = {
            "unit": unit.unit,
            "state": unit.active or "unknown",
            "systemctl": manager,
            "journal": journal,
        }
        return Finding(Check.SERVICE, result, values)
    return Finding(Check.SERVICE, Result.RUNNING)


def _troubles(known: Sequence[UnitState]) -> Iterator[tuple[Result, UnitState]]:
    """What is wrong with units, the worst first."""
    yield from ((Result.SERVICE_FAILED, unit) for unit in known if unit.active == "failed")
    always = [unit for unit in known if unit.unit in {WORKER, TIMER}]
    yield from ((Result.NOT_RUNNING, unit) for unit in always if unit.active != "active")
    yield from ((Result.EDITED, unit) for unit in known if unit.edited)


def _dates(path: Path) -> tuple[int, int] | None:
    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError, x509.InvalidVersion):
        return None
    return int(found.not_valid_before_utc.timestamp()), int(found.not_valid_after_utc.timestamp())


def _gibibytes(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB"
