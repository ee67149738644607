"""When the last backup was made, and when one was last tried out.

    backups.json    in the platform's directory, replaced whole

Promises: a restore test that failed is kept as such; nothing is claimed of a backup that was never tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noren_core import canonical_json
from noren_core.errors import ConfigurationError, DataError
from noren_core.rights import fields
from noren_core.rights.fields import read_fields
from noren_local.private_file import write_private

FILE = "backups.json"
PASSED = "passed"
BACKUP_DAYS, TEST_DAYS = 2, 31
"""After how many days a page warns: of the last backup, and of the last restore test that passed."""
_KEPT = 100
_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class MadeBackup:
    """One backup: when (Unix seconds), where, how many files and bytes, how many entries its ledger has."""

    at: int
    directory: str
    files: int
    size: int
    ledger_size: int


@dataclass(frozen=True, slots=True)
class RestoreTest:
    """One try: when, where the backup lies, when that was made (0 if it could not be read), and how it ended.

    `outcome` is `passed` or the code of the error.
    """

    at: int
    directory: str
    made_at: int
    outcome: str


@dataclass(frozen=True, slots=True)
class BackupHistory:
    """What is known of a platform's backups, oldest first."""

    backups: tuple[MadeBackup, ...] = ()
    tests: tuple[RestoreTest, ...] = ()

    @property
    def last_backup(self) -> MadeBackup | None:
        """The newest one."""
        return self.backups[-1] if self.backups else None

    @property
    def last_test(self) -> RestoreTest | None:
        """The newest one, passed or not."""
        return self.tests[-1] if self.tests else None

    @property
    def last_passed(self) -> RestoreTest | None:
        """The newest one that passed."""
        return next((test for test in reversed(self.tests) if test.outcome == PASSED), None)

    def is_backup_old(self, *, now: int) -> bool:
        """Whether there is none of the last two days."""
        last = self.last_backup
        return last is None or now - last.at > BACKUP_DAYS * _DAY_SECONDS

    def is_test_old(self, *, now: int) -> bool:
        """Whether no test of the last month passed, or the newest one failed."""
        last, passed = self.last_test, self.last_passed
        return last != passed or passed is None or now - passed.at > TEST_DAYS * _DAY_SECONDS


def read_history(platform_dir: Path) -> BackupHistory:
    """The history; ConfigurationError if the file is damaged."""
    path = platform_dir / FILE
    if not path.exists():
        return BackupHistory()
    try:
        return BackupHistory(**read_fields(canonical_json.parse_object(path.read_bytes()), _HISTORY, FILE))
    except DataError as error:
        raise ConfigurationError(f"{FILE}: expected what these commands wrote, got another file") from error


def add_backup(platform_dir: Path, made: MadeBackup) -> None:
    """Keep that a backup was made."""
    known = read_history(platform_dir)
    _write(platform_dir, BackupHistory((*known.backups, made)[-_KEPT:], known.tests))


def add_test(platform_dir: Path, tested: RestoreTest) -> None:
    """Keep that a backup was tried."""
    known = read_history(platform_dir)
    _write(platform_dir, BackupHistory(known.backups, (*known.tests, tested)[-_KEPT:]))


def _write(platform_dir: Path, history: BackupHistory) -> None:
    body = {
        "backups": [_body(item) for item in history.backups],
        "tests": [_body(item) for item in history.tests],
    }
    write_private(platform_dir / FILE, canonical_json.encode(body))


def _body(item: MadeBackup | RestoreTest) -> dict[str, Any]:
    return {name: getattr(item, name) for name in item.__slots__}


_NUMBER = fields.integer_in(0, 1 << 50)
_BACKUP = {
    "at": fields.seconds,
    "directory": fields.text,
    "files": _NUMBER,
    "size": _NUMBER,
    "ledger_size": _NUMBER,
}
_TEST = {"at": fields.seconds, "directory": fields.text, "made_at": _NUMBER, "outcome": fields.text}
_HISTORY = {
    "backups": fields.list_of(lambda body: MadeBackup(**read_fields(body, _BACKUP, FILE)), most=_KEPT),
    "tests": fields.list_of(lambda body: RestoreTest(**read_fields(body, _TEST, FILE)), most=_KEPT),
}
