"""Trying a backup out, and restoring it.

Promises: a platform is restored into an empty directory or not at all, and never beside one that runs; every
file is as it was sealed, every database passes SQLite's check and opens, and every entry of the ledger is
under the root that the backup states. Nothing is given back: where somebody outside has seen more of the
ledger, nothing is restored until it is gone on with (`newer_ledger`); evaluations for training that the
backup may have forgotten count as used; what is past its time is deleted; and the restored service is
suspended, because withdrawals since the backup are forgotten, until there is fresh coverage and an auditor's
word.

Not promised: that nobody has seen more, where there are no witnesses and whoever restores says so.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noren_core import canonical_json
from noren_core.crypto.merkle import leaf_hash
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import ConfigurationError, LocalProtocolError, NorenError, VerificationError
from noren_core.ledger.checkpoint import claimed_size
from noren_core.ledger.entries import ServiceScope, ServiceStatus, SignedEntry
from noren_local.private_file import sync_directory, write_private
from noren_server.backup import history, newer_ledger
from noren_server.backup.creating import LEDGER, ledger_head, one_at_a_time, verify_database
from noren_server.backup.newer_ledger import Honoured
from noren_server.backup.sealed_backup import BackupReader, Manifest, damaged
from noren_server.consents.opening import consent_service
from noren_server.platform_files import Platform
from noren_server.rights.opening import retention_of
from noren_server.rights.service_changes import SuspensionReason, suspend
from noren_server.rights.service_states import service_desk
from noren_server.witnesses import WitnessPanel

RESTORED_FILE = "restored.json"


@dataclass(frozen=True, slots=True)
class Outside:
    """What is known of the ledger besides the backup.

    Attributes:
        bundle: the newest exported ledger that anybody has.
        checkpoints: checkpoints of ours that somebody has seen.
        is_nothing_newer: whether whoever restores answers for it that nobody has seen more.
    """

    bundle: Path | None = None
    checkpoints: tuple[bytes, ...] = ()
    is_nothing_newer: bool = False


@dataclass(frozen=True, slots=True)
class Restored:
    """What came of a restoration, or of trying one.

    Attributes:
        manifest: of the backup.
        honoured: what the ledger outside forbade to come back.
        used_up: open campaigns of which no further batch is evaluated for training.
    """

    manifest: Manifest
    honoured: Honoured
    used_up: tuple[str, ...]

    def to_fields(self) -> dict[str, Any]:
        """As commands print it and `restored.json` keeps it."""
        return {
            "made_at": self.manifest.made_at,
            "files": len(self.manifest.files),
            "bytes": self.manifest.size,
            "ledger_size": self.manifest.ledger_size,
            "newer_entries": self.honoured.entries,
            "closed": list(self.honoured.closed),
            "erased": list(self.honoured.erased),
            "revoked": list(self.honoured.revoked),
            "training_used_up": list(self.used_up),
        }


def try_out(platform_dir: Path, directory: Path, passphrase: SecretBytes, *, now: int) -> Restored:
    """Restore a backup into a directory of its own, see that it would work, and remove it again.

    The platform's own ledger is what is known outside: the backup's has to be the beginning of it, and what
    it ended since has to end in the copy. Passed or not, that it was tried is kept in the history.

    Raises:
        VerificationError: with code BACKUP_DAMAGED, or if the backup is of another ledger.
        LocalProtocolError: with code BACKUP_TOO_OLD, if it could not be restored today.
    """
    made_at, outcome = 0, history.PASSED
    try:
        with one_at_a_time(platform_dir), _workshop(platform_dir) as workshop:
            reader = BackupReader(directory, passphrase)
            made_at = reader.manifest.made_at
            with _unpacked(reader, workshop / "platform") as copy:
                newer = newer_ledger.go_on(copy, *_own_ledger(platform_dir))
                return _made_safe(reader.manifest, copy, newer, now=now)
    except NorenError as error:
        outcome = error.code
        raise
    finally:
        tested = history.RestoreTest(now, str(directory.resolve()), made_at, outcome)
        history.add_test(platform_dir, tested)


def restore(
    target: Path, directory: Path, passphrase: SecretBytes, outside: Outside, *, now: int
) -> Restored:
    """Restore a backup into `target`, which is empty or does not exist.

    1. Unpack beside it, check every file, open every database.
    2. Go on with the ledger, if there is an export; nobody outside may have seen more than that.
    3. What was ended since ends, what may have been forgotten counts as spent, what is too old goes.
    4. The service is suspended, in the ledger, and the platform appears.

    Raises:
        ConfigurationError: if `target` has something in it, or nothing is known of the ledger outside.
        VerificationError: with code BACKUP_DAMAGED.
        LocalProtocolError: with code LEDGER_BEHIND, BACKUP_TOO_OLD or WITNESS_QUORUM.
    """
    if target.exists() and any(target.iterdir()):
        raise ConfigurationError("restore: expected an empty directory, got one with files")
    partial = target.resolve().with_name(f".{target.resolve().name}.restoring")
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    reader = BackupReader(directory, passphrase)
    try:
        with _unpacked(reader, partial) as platform:  # 1
            newer = _caught_up(platform, outside)  # 2
            restored = _made_safe(reader.manifest, platform, newer, now=now)  # 3
            _suspend(platform, now=now)  # 4
        body = {"restored_at": now, **restored.to_fields()}
        write_private(partial / RESTORED_FILE, canonical_json.encode(body))
        if target.exists():
            target.rmdir()
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sync_directory(target.resolve().parent)
    return restored


def _own_ledger(platform_dir: Path) -> tuple[bytes, list[bytes]]:
    """A checkpoint of the platform's ledger as it is now, and its entries."""
    with closing(Platform(platform_dir).ledger_store) as store:
        checkpoint = store.checkpoint()
        entries = [stored.entry.to_bytes() for stored in store.entries()]
    return checkpoint, entries[: claimed_size(checkpoint)]


@contextmanager
def _workshop(platform_dir: Path) -> Iterator[Path]:
    """A directory of our own on the platform's disk, where the same data lies already; gone afterwards."""
    for left in platform_dir.glob(".restore-test-*"):
        shutil.rmtree(left, ignore_errors=True)
    workshop = Path(tempfile.mkdtemp(prefix=".restore-test-", dir=platform_dir))
    try:
        yield workshop
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


@contextmanager
def _unpacked(reader: BackupReader, target: Path) -> Iterator[Platform]:
    """The platform of a backup, unpacked and checked, open until the end of the block."""
    reader.restore(target)
    databases = [file.path for file in reader.manifest.files if file.path.endswith(".db")]
    for name in databases:
        verify_database(target / name)
    if LEDGER not in databases:
        raise damaged("there is no ledger in it")
    _verify_ledger(target / LEDGER, reader.manifest)
    platform = Platform(target)
    if platform.config.origin != reader.manifest.origin:
        raise damaged("its ledger has another name than it states")
    with closing(platform.store), closing(platform.ledger_store):
        platform.ledger.keys()
        with consent_service(platform), retention_of(platform):
            pass  # they open
        yield platform


def _verify_ledger(path: Path, manifest: Manifest) -> None:
    """Every leaf is its entry's, and all of them are under the root that the backup states."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT leaf, entry FROM entries ORDER BY seq")
        is_whole = all(leaf_hash(entry) == leaf for leaf, entry in rows)
    if not is_whole or ledger_head(path) != (manifest.ledger_size, manifest.ledger_root):
        raise damaged("its ledger is not the one that it states")


def _caught_up(platform: Platform, outside: Outside) -> tuple[SignedEntry, ...]:
    """Go on with the ledger as far as anybody has seen it; the entries that the backup did not have."""
    newer: tuple[SignedEntry, ...] = ()
    if outside.bundle is not None:
        newer = newer_ledger.go_on(platform, *newer_ledger.read_bundle(outside.bundle))
    for checkpoint in outside.checkpoints:
        _verify_seen(platform, checkpoint)
    config = platform.config
    if config.witnesses:
        WitnessPanel(config.witnesses, config.witness_quorum).verify_newest(platform.ledger_store)
    elif outside.bundle is None and not outside.checkpoints and not outside.is_nothing_newer:
        raise ConfigurationError(
            "restore: expected an exported ledger or a checkpoint from outside, got none: "
            "say --nothing-newer if nobody has seen more than the backup"
        )
    return newer


def _verify_seen(platform: Platform, checkpoint: bytes) -> None:
    """What somebody has seen of the ledger is the beginning of it."""
    seen = platform.ledger.keys().open_checkpoint(checkpoint)
    if seen.size > platform.ledger_store.size:
        raise LocalProtocolError(
            "ledger: expected nobody outside to have seen a larger one, got a checkpoint of one",
            code="LEDGER_BEHIND",
        )
    if platform.ledger_store.root(seen.size) != seen.root:
        raise VerificationError("ledger: expected one that goes on from what was seen, got another ledger")


def _made_safe(manifest: Manifest, platform: Platform, newer: Sequence[SignedEntry], *, now: int) -> Restored:
    """End, count and delete what has to be, in this restored copy."""
    honoured = newer_ledger.honour(platform, newer)
    with platform.store.transaction() as transaction:
        plans = transaction.open_campaigns()
        for plan in plans:
            transaction.use_up_training(plan)
    with retention_of(platform) as kept:
        kept.run(now=now)
    return Restored(manifest, honoured, tuple(sorted(plan.campaign for plan in plans)))


def _suspend(platform: Platform, *, now: int) -> None:
    """Let nothing be processed before there is fresh coverage and an auditor's word."""
    desk = service_desk(platform, lambda: now)
    if desk.states().of(ServiceScope.GLOBAL) is not ServiceStatus.RUNNING:
        return
    suspend(platform, desk, scope=ServiceScope.GLOBAL, name="", reason=SuspensionReason.OPERATOR, at=now)
