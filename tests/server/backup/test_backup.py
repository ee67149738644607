"""Backups: sealed, of one instant, tried out, and restored without giving anything back."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from noren_core.crypto.oprf import generate_key_pair
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import ConfigurationError, LocalProtocolError, NorenError, VerificationError
from noren_core.ids import TableKind
from noren_core.ledger.entries import EntryKind, ErasureGround, ServiceScope, ServiceStatus
from noren_core.season.plan import CampaignPlan
from noren_server import campaigns
from noren_server.backup import creating, history, restoring, sealed_backup
from noren_server.backup.restoring import Outside
from noren_server.platform_files import Platform, initialise
from noren_server.rights.opening import provision_records
from noren_server.rights.service_states import service_desk
from noren_server.store import CampaignState, EnrolmentRecord

PASSPHRASE = SecretBytes(b"correct horse battery staple")
NOW = 1_800_000_000
DAY = 86_400
ALONE = Outside(is_nothing_newer=True)


@pytest.fixture
def plan(plan_body: dict[str, Any]) -> CampaignPlan:
    return CampaignPlan.from_body(plan_body)


@pytest.fixture
def platform(tmp_path: Path, plan: CampaignPlan) -> Iterator[Platform]:
    """With an open campaign, in which each company has a key of which nothing was used yet."""
    made = initialise(tmp_path / "platform", name="job-site", host="127.0.0.1", ports=(0, 0, 0, 0))
    with made.store.transaction() as transaction:
        for company in plan.companies:
            transaction.add_company(record(company))
            transaction.approve_company(company, certificate=b"", sha256=company.encode())
        transaction.add_campaign(plan)
        made.ledger.append_platform_entry(EntryKind.PLAN, plan.to_body())
        for company in plan.companies:
            for kind in TableKind:
                transaction.add_oprf_key(plan.campaign, company, kind, generate_key_pair())
    for name in ("embeddings", "tables"):
        place = made.directory / name / plan.campaign
        place.mkdir(mode=0o700, parents=True)
        (place / "rows").write_bytes(b"rows of persons")
    (made.directory / "run").mkdir(exist_ok=True)
    (made.directory / "run" / "ready").write_bytes(b"made anew")
    with provision_records(made):
        pass
    yield made
    made.store.close()
    made.ledger_store.close()


def record(company: str) -> EnrolmentRecord:
    return EnrolmentRecord(
        name=company,
        signing_key=company.encode().ljust(32, b"."),
        sealing_key=bytes(32),
        declared_size=60,
        tls_request=b"",
        node_key=b"",
        enrolment_entry=b"",
        agreement_entry=b"",
    )


@pytest.fixture
def backup(platform: Platform, tmp_path: Path) -> Path:
    directory = tmp_path / "backups" / "monday"
    creating.create(platform, directory, PASSPHRASE, now=NOW)
    return directory


def test_everything_is_in_it_and_nothing_can_be_read(backup: Path, platform: Platform) -> None:
    """Every file but what is made anew; not even a name without the passphrase; nobody else may read it."""
    reader = sealed_backup.BackupReader(backup, PASSPHRASE)
    paths = {file.path for file in reader.manifest.files}
    assert {"config.toml", "keys/platform.key", "ledger.db", "platform.db", "provisions.db"} <= paths
    assert "tables/spring-2026/rows" in paths
    assert not any(path.startswith(("run/", "flower/")) or path.endswith("-wal") for path in paths)
    for path in (file for file in backup.rglob("*") if file.is_file()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        data = path.read_bytes()
        assert b"rows of persons" not in data
        assert b"config.toml" not in data
    assert not list(platform.directory.glob(".backup*"))


def test_a_wrong_passphrase_is_told_from_damage(backup: Path) -> None:
    """With the code that a protected directory has."""
    with pytest.raises(ConfigurationError) as refused:
        sealed_backup.BackupReader(backup, SecretBytes(b"incorrect horse battery"))
    assert refused.value.code == "WRONG_PASSPHRASE"


@pytest.mark.parametrize("what", ["vault.json", "manifest.sealed", "part"])
def test_a_flipped_byte_is_found(backup: Path, platform: Platform, what: str) -> None:
    """In any of the files; the test that failed is kept as failed, and nothing is left of it."""
    path = max((backup / "parts").iterdir()) if what == "part" else backup / what
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(NorenError) as refused:
        restoring.try_out(platform.directory, backup, PASSPHRASE, now=NOW + DAY)
    assert refused.value.code == "BACKUP_DAMAGED"
    known = history.read_history(platform.directory)
    assert known.last_test is not None
    assert known.last_test.outcome == "BACKUP_DAMAGED"
    assert known.is_test_old(now=NOW + DAY)
    assert not list(platform.directory.glob(".restore*"))


def missing(parts: Path) -> None:
    max(parts.iterdir()).unlink()


def superfluous(parts: Path) -> None:
    shutil.copy(max(parts.iterdir()), parts / "99999999.sealed")


def swapped(parts: Path) -> None:
    first, second, *_ = sorted(parts.iterdir())
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(data)


@pytest.mark.parametrize("break_it", [missing, superfluous, swapped])
def test_other_parts_than_were_sealed_are_found(
    backup: Path, tmp_path: Path, break_it: Callable[[Path], None]
) -> None:
    """One that is gone, one too many, two that changed places: nothing is restored."""
    break_it(backup / "parts")
    with pytest.raises(VerificationError) as refused:
        restoring.restore(tmp_path / "new", backup, PASSPHRASE, ALONE, now=NOW)
    assert refused.value.code == "BACKUP_DAMAGED"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backups", "platform"]


def test_a_backup_does_not_overwrite(backup: Path, platform: Platform) -> None:
    """Neither another backup nor anything of the platform's directory."""
    with pytest.raises(ConfigurationError):
        creating.create(platform, backup, PASSPHRASE, now=NOW)
    with pytest.raises(ConfigurationError):
        creating.create(platform, platform.directory / "backup", PASSPHRASE, now=NOW)


def test_one_backup_at_a_time(platform: Platform, tmp_path: Path) -> None:
    """A second one is refused while the first is made."""
    with creating.one_at_a_time(platform.directory), pytest.raises(LocalProtocolError) as refused:
        creating.create(platform, tmp_path / "second", PASSPHRASE, now=NOW)
    assert refused.value.code == "BACKUP_RUNNING"


def test_killed_in_the_middle_nothing_appears_and_the_next_one_cleans_up(
    platform: Platform, tmp_path: Path
) -> None:
    """A process that dies after some parts: no backup, and nothing of it after the next one is made."""
    target = tmp_path / "backups" / "killed"
    script = f"""
import os
from pathlib import Path
from noren_core.crypto.secret import SecretBytes
from noren_core.crypto.vault import Vault
from noren_server.backup import creating
from noren_server.platform_files import Platform
seal, count = Vault.seal, 0
def dying(self, name, data):
    global count
    count += 1
    if count == 5:
        os._exit(137)
    return seal(self, name, data)
Vault.seal = dying
creating.create(Platform(Path({str(platform.directory)!r})), Path({str(target)!r}),
                SecretBytes(b"correct horse battery staple"), now=1)
"""
    died = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert died.returncode == 137
    assert not target.exists()
    assert (target.parent / ".killed.making").exists()
    assert list(platform.directory.glob(".backup*"))
    assert history.read_history(platform.directory).last_backup is None
    creating.create(platform, target, PASSPHRASE, now=NOW)
    assert [path.name for path in target.parent.iterdir()] == ["killed"]
    assert not list(platform.directory.glob(".backup*"))


def test_databases_are_of_one_instant(platform: Platform, tmp_path: Path) -> None:
    """What one transaction after the other writes to two files is never in the second alone."""
    stop = threading.Event()
    failed: list[BaseException] = []

    def write() -> None:
        number = 0
        try:
            while not stop.is_set():
                number += 1
                with platform.store.transaction() as transaction:
                    transaction.put_invitation(f"c-{number}", code_sha256=bytes(32), expires_at=1)
                with closing(sqlite3.connect(other, isolation_level=None, timeout=30)) as database:
                    database.execute("INSERT INTO seen VALUES (?)", (number,))
        except BaseException as error:  # noqa: BLE001 (shown below)
            failed.append(error)

    other = platform.directory / "a-second.db"
    with closing(sqlite3.connect(other)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE seen (number INTEGER)")
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(3):
            creating.create(platform, tmp_path / f"b{number}", PASSPHRASE, now=NOW)
    finally:
        stop.set()
        writer.join()
    assert failed == []
    for number in range(3):
        target = tmp_path / f"r{number}"
        sealed_backup.BackupReader(tmp_path / f"b{number}", PASSPHRASE).restore(target)
        with closing(sqlite3.connect(target / "platform.db")) as database:
            (invited,) = database.execute("SELECT COUNT(*) FROM invitations").fetchone()
        with closing(sqlite3.connect(target / "a-second.db")) as database:
            (seen,) = database.execute("SELECT COUNT(*) FROM seen").fetchone()
        assert seen <= invited <= seen + 1


def test_a_restored_platform_is_the_one_that_was(
    backup: Path, platform: Platform, plan: CampaignPlan, tmp_path: Path
) -> None:
    """Same keys, same ledger but for the suspension, same campaign, private files."""
    restored = restoring.restore(tmp_path / "new", backup, PASSPHRASE, ALONE, now=NOW)
    assert restored.honoured.entries == 0
    again = Platform(tmp_path / "new")
    with closing(again.store), closing(again.ledger_store):
        assert again.signing_key.public_key == platform.signing_key.public_key
        size = platform.ledger_store.size
        assert again.ledger_store.root(size) == platform.ledger_store.root(size)
        assert again.ledger_store.size == size + 1
        assert again.plan(plan.campaign) == plan
        assert service_desk(again).states().of(ServiceScope.GLOBAL) is ServiceStatus.SUSPENDED
    for path in again.directory.rglob("*"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077


def test_nothing_is_restored_beside_something(backup: Path, platform: Platform, tmp_path: Path) -> None:
    """Not into the platform that runs, nor where anything lies."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note").write_bytes(b"")
    for target in (platform.directory, tmp_path / "full"):
        with pytest.raises(ConfigurationError):
            restoring.restore(target, backup, PASSPHRASE, ALONE, now=NOW)


def test_without_a_word_from_outside_nothing_is_restored(backup: Path, tmp_path: Path) -> None:
    """Where there are no witnesses, whoever restores says that nobody has seen more, or shows an export."""
    with pytest.raises(ConfigurationError):
        restoring.restore(tmp_path / "new", backup, PASSPHRASE, Outside(), now=NOW)
    assert not (tmp_path / "new").exists()


def test_a_checkpoint_of_a_larger_ledger_refuses(backup: Path, platform: Platform, tmp_path: Path) -> None:
    """Somebody has seen more than the backup: restored as it is, it would fork. With an export it goes on."""
    platform.ledger.append_platform_entry("round-failed", failure(1))
    seen = Outside(checkpoints=(platform.ledger_store.checkpoint(),))
    with pytest.raises(LocalProtocolError) as refused:
        restoring.restore(tmp_path / "new", backup, PASSPHRASE, seen, now=NOW)
    assert refused.value.code == "LEDGER_BEHIND"
    assert not (tmp_path / "new").exists()
    platform.ledger_store.export(tmp_path / "bundle")
    outside = replace(seen, bundle=tmp_path / "bundle")
    restored = restoring.restore(tmp_path / "new", backup, PASSPHRASE, outside, now=NOW)
    assert restored.honoured.entries == 1
    assert restored.honoured.closed == ("spring-2026",)
    again = Platform(tmp_path / "new")
    with closing(again.ledger_store) as store:
        assert store.root(platform.ledger_store.size) == platform.ledger_store.root(
            platform.ledger_store.size
        )


def test_an_export_of_another_ledger_is_refused(backup: Path, platform: Platform, tmp_path: Path) -> None:
    """It does not begin with the backup's entries."""
    other = initialise(tmp_path / "other", name="job-site", host="127.0.0.1", ports=(0, 0, 0, 0))
    for number in range(4):
        other.ledger.append_platform_entry("round-failed", failure(number + 1))
    other.ledger_store.export(tmp_path / "bundle")
    other.ledger_store.close()
    outside = Outside(bundle=tmp_path / "bundle")
    with pytest.raises(VerificationError):
        restoring.restore(tmp_path / "new", backup, PASSPHRASE, outside, now=NOW)
    assert not (tmp_path / "new").exists()


def test_an_export_with_a_forged_end_is_refused(backup: Path, platform: Platform, tmp_path: Path) -> None:
    """Its entries follow, but the checkpoint that the log key signed has another root."""
    platform.ledger.append_platform_entry("round-failed", failure(1))
    platform.ledger_store.export(tmp_path / "bundle")
    (path,) = [file for file in (tmp_path / "bundle" / "tile" / "entries").rglob("*") if file.is_file()]
    data = path.read_bytes()
    assert data.count(b'"round":1') == 1
    path.write_bytes(data.replace(b'"round":1', b'"round":2'))
    with pytest.raises(VerificationError):
        restoring.restore(tmp_path / "new", backup, PASSPHRASE, Outside(bundle=tmp_path / "bundle"), now=NOW)


def test_what_was_closed_and_erased_since_does_not_come_back(
    backup: Path, platform: Platform, plan: CampaignPlan, tmp_path: Path
) -> None:
    """A backup from before an erasure: the campaign has no keys, and its rows are gone."""
    campaigns.close(platform, plan.campaign)
    platform.ledger.append_platform_entry(EntryKind.ERASURE_ORDER, order(plan))
    platform.ledger_store.export(tmp_path / "bundle")
    restored = restoring.restore(
        tmp_path / "new", backup, PASSPHRASE, Outside(bundle=tmp_path / "bundle"), now=NOW
    )
    assert restored.honoured.closed == (plan.campaign,)
    assert restored.honoured.erased == (plan.campaign,)
    again = Platform(tmp_path / "new")
    with closing(again.store), again.store.transaction() as transaction:
        campaign = transaction.campaign(plan.campaign)
        assert campaign is not None
        assert campaign.state is CampaignState.CLOSED
        assert transaction.oprf_key(plan.campaign, plan.companies[0], TableKind.TRAIN) is None
    assert not (again.directory / "tables" / plan.campaign).exists()
    assert not (again.directory / "embeddings" / plan.campaign).exists()


def test_evaluations_are_not_given_back(
    backup: Path, platform: Platform, plan: CampaignPlan, tmp_path: Path
) -> None:
    """A company evaluated its batch after the backup: restored, it has nothing left, as nobody has."""
    restored = restoring.restore(tmp_path / "new", backup, PASSPHRASE, ALONE, now=NOW)
    assert restored.used_up == (plan.campaign,)
    again = Platform(tmp_path / "new")
    with closing(again.store), again.store.transaction() as transaction:
        for member in plan.cohort:
            key = transaction.oprf_key(plan.campaign, member.company, TableKind.TRAIN)
            assert key is not None
            assert key.evaluations == member.evaluations
            score = transaction.oprf_key(plan.campaign, member.company, TableKind.SCORE)
            assert score is not None
            assert score.evaluations == 0


def test_a_table_that_the_backup_does_not_know_refuses(
    backup: Path, platform: Platform, plan: CampaignPlan, tmp_path: Path
) -> None:
    """Its persons were charged after the backup: restored, they would have that budget again."""
    platform.ledger.append_platform_entry(EntryKind.CONSENT_EPOCH, epoch(plan))
    platform.ledger.append_platform_entry(EntryKind.OPRF_KEY, oprf_key(plan))
    platform.ledger_store.export(tmp_path / "bundle")
    with pytest.raises(LocalProtocolError) as refused:
        restoring.restore(tmp_path / "new", backup, PASSPHRASE, Outside(bundle=tmp_path / "bundle"), now=NOW)
    assert refused.value.code == "BACKUP_TOO_OLD"
    with pytest.raises(LocalProtocolError) as refused:
        restoring.try_out(platform.directory, backup, PASSPHRASE, now=NOW)
    assert refused.value.code == "BACKUP_TOO_OLD"


def test_what_is_past_its_time_is_not_restored(
    backup: Path, platform: Platform, plan: CampaignPlan, tmp_path: Path
) -> None:
    """A backup that is older than what it holds may live: its closed campaigns' tables are gone at once."""
    campaigns.close(platform, plan.campaign)
    newest = tmp_path / "backups" / "newest"
    (platform.directory / "retention.json").write_bytes(f'{{"{plan.campaign}":{NOW}}}'.encode())
    creating.create(platform, newest, PASSPHRASE, now=NOW)
    restoring.restore(tmp_path / "new", newest, PASSPHRASE, ALONE, now=NOW + 31 * DAY)
    assert (platform.directory / "tables" / plan.campaign).exists()
    assert not (tmp_path / "new" / "tables" / plan.campaign).exists()


def test_a_test_changes_nothing_and_is_kept(backup: Path, platform: Platform, plan: CampaignPlan) -> None:
    """The platform's ledger and databases are as before; when it was tried is in the history."""
    size = platform.ledger_store.size
    tried = restoring.try_out(platform.directory, backup, PASSPHRASE, now=NOW + DAY)
    assert tried.honoured.entries == 0
    assert platform.ledger_store.size == size
    with platform.store.transaction() as transaction:
        key = transaction.oprf_key(plan.campaign, plan.companies[0], TableKind.TRAIN)
        assert key is not None
        assert key.evaluations == 0
    known = history.read_history(platform.directory)
    assert known.last_test == history.RestoreTest(NOW + DAY, str(backup), NOW, history.PASSED)
    assert not known.is_test_old(now=NOW + 32 * DAY)
    assert known.is_test_old(now=NOW + 33 * DAY)
    assert not known.is_backup_old(now=NOW + 2 * DAY)
    assert known.is_backup_old(now=NOW + 2 * DAY + 1)


def test_a_database_that_is_damaged_is_not_backed_up(platform: Platform, tmp_path: Path) -> None:
    """SQLite's check is made on the copy, before anything is sealed: no backup appears."""
    broken = platform.directory / "broken.db"
    with closing(sqlite3.connect(broken)) as database, database:
        database.execute("CREATE TABLE t (x TEXT)")
        database.execute("CREATE INDEX by_x ON t (x)")
        database.executemany("INSERT INTO t VALUES (?)", [(str(n) * 50,) for n in range(2000)])
    with broken.open("r+b") as file:
        file.seek(broken.stat().st_size // 2)
        file.write(os.urandom(4096))
    with pytest.raises(VerificationError):
        creating.create(platform, tmp_path / "backup", PASSPHRASE, now=NOW)
    assert not (tmp_path / "backup").exists()
    assert not (tmp_path / ".backup.making").exists()


def failure(number: int) -> dict[str, Any]:
    return {"campaign": "spring-2026", "reason": "RUN_FAILED", "round": number}


def order(plan: CampaignPlan) -> dict[str, Any]:
    return {
        "campaign": plan.campaign,
        "company": plan.companies[0],
        "order_sha256": "cd" * 32,
        "ground": ErasureGround.SEASON_END.value,
        "due_at": NOW + 14 * DAY,
    }


def epoch(plan: CampaignPlan) -> dict[str, Any]:
    return {
        "campaign": plan.campaign,
        "company": plan.companies[0],
        "kind": TableKind.TRAIN.value,
        "root": "ab" * 32,
    }


def oprf_key(plan: CampaignPlan) -> dict[str, Any]:
    return {
        "campaign": plan.campaign,
        "company": plan.companies[0],
        "kind": TableKind.TRAIN.value,
        "public_key": generate_key_pair().public_key.hex(),
    }
