"""The ledger file: it only grows, also against raw SQL, several processes and a crash during export."""

from __future__ import annotations

import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ledger_bundle import files, read_entries, write_bundle

from noren_core.crypto.identity import SigningKey
from noren_core.crypto.merkle import leaf_hash, root_hash
from noren_core.errors import ConfigurationError, DataError, LocalProtocolError, RemoteProtocolError
from noren_core.ledger.entries import PLATFORM, countersign, sign_entry
from noren_core.ledger.key_history import Anchors, KeyHistory
from noren_core.ledger.note import VerifierKey
from noren_core.ledger.proofs import verify_ledger_proof
from noren_server.ledger_store import LedgerStore

TESTS = str(Path(__file__).parent)
SUPPORT = str(Path(__file__).parent.parent / "support")
ORIGIN = "noren.example/log"
LOG_KEY = SigningKey.from_bytes(bytes([1] * 32))
PLATFORM_KEY = SigningKey.from_bytes(bytes([2] * 32))
KEYS = KeyHistory(Anchors(VerifierKey(ORIGIN, LOG_KEY.public_key), PLATFORM_KEY.public_key))


def entry(number: int, campaign: str = "autumn") -> bytes:
    """A distinct entry for every number."""
    body = {"campaign": campaign, "round": number + 1, "reason": "TOO_FEW"}
    return countersign(sign_entry("round-failed", PLATFORM, body, PLATFORM_KEY), PLATFORM_KEY)


def open_store(path: Path) -> LedgerStore:
    return LedgerStore(path, origin=ORIGIN, log_key=LOG_KEY)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def store(path: Path) -> Iterator[LedgerStore]:
    with open_store(path) as opened:
        yield opened


def test_entries_come_back_in_order_and_survive_reopening(store: LedgerStore, path: Path) -> None:
    """Indices count up from 0; another store on the file sees the same entries and the same root."""
    assert [*store.append_many([entry(0)]), *store.append_many([entry(1), entry(2, "spring")])] == [0, 1, 2]
    with open_store(path) as again:
        assert again.size == 3
        assert [item.entry.to_bytes() for item in again.entries()] == [entry(0), entry(1), entry(2, "spring")]
        checkpoint = KEYS.open_checkpoint(again.checkpoint())
    assert checkpoint == KEYS.open_checkpoint(store.checkpoint())
    assert checkpoint.root == root_hash(
        [leaf_hash(item) for item in (entry(0), entry(1), entry(2, "spring"))]
    )


def test_entries_are_found_by_kind_campaign_and_company(store: LedgerStore) -> None:
    """Each given condition narrows the result."""
    body = {"campaign": "spring", "company": "alpha", "kind": "train", "public_key": "00" * 32}
    key_entry = countersign(sign_entry("oprf-key", PLATFORM, body, PLATFORM_KEY), PLATFORM_KEY)
    store.append_many([entry(0), entry(1, "spring"), key_entry])
    assert [item.index for item in store.entries(campaign="spring")] == [1, 2]
    assert [item.index for item in store.entries(kind="round-failed")] == [0, 1]
    assert [item.index for item in store.entries(kind="oprf-key", campaign="spring", company="alpha")] == [2]
    assert store.entries(company="beta") == []


def test_sending_an_entry_again_adds_nothing(store: LedgerStore) -> None:
    """An entry that is in the ledger already keeps its index, alone, within a batch, and after reopening."""
    store.append_many([entry(0), entry(1)])
    assert store.append_many([entry(0)]) == [0]
    assert store.append_many([entry(2), entry(1), entry(2)]) == [2, 1, 2]
    assert store.size == 3


def test_what_is_no_countersigned_entry_changes_nothing(store: LedgerStore) -> None:
    """One bad entry in a batch refuses the whole batch."""
    body = {"campaign": "autumn", "round": 1, "reason": "TOO_FEW"}
    for bad in (b"{}", sign_entry("round-failed", PLATFORM, body, PLATFORM_KEY), entry(1) + b"\n"):
        with pytest.raises(DataError):
            store.append_many([entry(0), bad])
    assert store.size == 0


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET entry = x'00' WHERE seq = 0",
        "UPDATE OR REPLACE entries SET seq = 1 WHERE seq = 0",
        "DELETE FROM entries WHERE seq = 2",
        "DELETE FROM entries",
        "INSERT OR REPLACE INTO entries SELECT 0, leaf, kind, campaign, company, x'00' FROM entries LIMIT 1",
        "REPLACE INTO entries SELECT 0, leaf, kind, campaign, company, x'00' FROM entries LIMIT 1",
        "INSERT OR IGNORE INTO entries SELECT 1, leaf, kind, campaign, company, x'00' FROM entries LIMIT 1",
        "INSERT INTO entries SELECT 4, leaf, kind, campaign, company, entry FROM entries LIMIT 1",
        "INSERT INTO entries SELECT -1, leaf, kind, campaign, company, entry FROM entries LIMIT 1",
        "INSERT INTO entries SELECT NULL, leaf, kind, campaign, company, entry FROM entries LIMIT 1",
        "INSERT INTO entries VALUES (0, x'00', 'plan', 'c', 'd', x'00') ON CONFLICT (seq) DO NOTHING",
        "INSERT INTO entries VALUES (2, x'', 'plan', 'c', 'd', x'') ON CONFLICT DO UPDATE SET entry = x''",
        "INSERT OR FAIL INTO entries VALUES (1, x'00', 'plan', 'c', 'd', x'00')",
        "INSERT OR ROLLBACK INTO entries VALUES (1, x'00', 'plan', 'c', 'd', x'00')",
        # The same row by the names that SQLite has for it besides ours, and by none.
        "INSERT OR REPLACE INTO entries (rowid, leaf, kind, entry) VALUES (0, x'00', 'plan', x'00')",
        "REPLACE INTO entries (_rowid_, leaf, kind, entry) VALUES (2, x'00', 'plan', x'00')",
        "REPLACE INTO entries (oid, leaf, kind, entry) VALUES (1, x'00', 'plan', x'00')",
        "REPLACE INTO entries (leaf, kind, entry) VALUES (x'00', 'plan', x'00')",
        "UPDATE OR REPLACE entries SET rowid = 1 WHERE rowid = 0",
        "UPDATE entries SET oid = 9 WHERE oid = 2",
        "DELETE FROM entries WHERE rowid = 2",
    ],
)
@pytest.mark.parametrize("has_recursive_triggers", [False, True])
def test_raw_sql_cannot_change_or_skip(
    store: LedgerStore, path: Path, statement: str, has_recursive_triggers: bool
) -> None:
    """Every way to update, delete, replace or leave a gap fails in the database itself.

    Also without recursive triggers, where SQLite deletes what REPLACE replaces without a word.
    """
    store.append_many([entry(i) for i in range(3)])
    before = store.checkpoint()
    with sqlite3.connect(path) as raw:
        raw.execute(f"PRAGMA recursive_triggers = {int(has_recursive_triggers)}")
        with pytest.raises(sqlite3.IntegrityError):
            raw.execute(statement)
    raw.close()
    assert store.checkpoint() == before
    assert [item.entry.to_bytes() for item in store.entries()] == [entry(i) for i in range(3)]


def test_a_row_with_a_known_leaf_replaces_nothing(store: LedgerStore, path: Path) -> None:
    """INSERT OR REPLACE with the next number and an old leaf deletes no old row."""
    store.append_many([entry(0), entry(1)])
    raw = sqlite3.connect(path)
    raw.execute(
        "INSERT OR REPLACE INTO entries SELECT 2, leaf, kind, campaign, company, entry FROM entries LIMIT 1"
    )
    raw.commit()
    raw.close()
    assert store.size == 3
    assert [item.index for item in store.entries()] == [0, 1, 2]


def test_the_file_is_private_and_durable(store: LedgerStore, path: Path) -> None:
    """The file and its journal are 0600, in WAL mode, and every commit is synced."""
    store.append_many([entry(0)])
    for file in path.parent.glob("ledger.db*"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_another_file_is_not_taken_for_a_ledger(tmp_path: Path) -> None:
    """A SQLite file without our schema is refused."""
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE t (x)").connection.close()
    with pytest.raises(ConfigurationError):
        open_store(tmp_path / "other.db")


def test_a_ledger_that_shrank_under_us_is_refused(store: LedgerStore, path: Path) -> None:
    """A file that lost entries while we had it open stops every further answer."""
    store.append_many([entry(0), entry(1)])
    raw = sqlite3.connect(path)
    raw.executescript("DROP TRIGGER entries_no_delete; DELETE FROM entries WHERE seq = 1;")
    raw.close()
    for call in (store.checkpoint, lambda: store.append_many([entry(5)]), lambda: store.prove(0, [0])):
        with pytest.raises(LocalProtocolError):
            call()


def test_companies_believe_what_the_store_proves(store: LedgerStore) -> None:
    """Proofs verify from every earlier size, and a size or index beyond the ledger is refused."""
    known = None
    for size in range(1, 12):
        store.append_many([entry(size)])
        known_size = KEYS.open_checkpoint(known).size if known else 0
        proof = store.prove(known_size, sorted({0, size - 1}))
        shown = verify_ledger_proof(proof, known=known, keys=KEYS)
        assert shown.checkpoint.size == size
        known = proof.checkpoint if size % 3 else known
    for known_size, indices in ((12, []), (-1, []), (0, [11]), (0, [-1])):
        with pytest.raises(RemoteProtocolError):
            store.prove(known_size, indices)


_APPENDER = """
import sys
from pathlib import Path
sys.path[:0] = [{tests!r}, {support!r}]
from test_ledger_store import entry, open_store
with open_store(Path({path!r})) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range({first}, {first} + 200):
        store.append_many([entry(number)])
"""


def test_two_processes_write_one_gapless_log(tmp_path: Path) -> None:
    """Two processes that start on a fresh file and append 200 entries each lose and reorder none."""
    path = tmp_path / "ledger.db"
    scripts = [
        _APPENDER.format(tests=TESTS, support=SUPPORT, path=str(path), first=first) for first in (0, 500)
    ]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for script in scripts
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    with open_store(path) as store:
        stored = store.entries()
        assert [item.index for item in stored] == list(range(400))
        rounds = [item.entry.body["round"] for item in stored]
        for first in (0, 500):
            mine = [number for number in rounds if first < number <= first + 200]
            assert mine == list(range(first + 1, first + 201))
        proof = store.prove(0, [399])
    verify_ledger_proof(proof, known=None, keys=KEYS)


def test_export_is_the_ledger_byte_for_byte(store: LedgerStore, tmp_path: Path) -> None:
    """The bundle is the tree of tiles over the entries in their order, and overwrites nothing."""
    entries = [entry(i) for i in range(5)]
    store.append_many(entries)
    bundle = tmp_path / "bundles" / "one"
    store.export(bundle)
    expected = write_bundle(tmp_path / "expected", (bundle / "checkpoint").read_bytes(), entries)
    assert files(bundle) == ["checkpoint", "tile/0/000.p/5", "tile/entries/000.p/5"] == files(expected)
    for name in files(bundle):
        assert (bundle / name).read_bytes() == (expected / name).read_bytes()
    assert read_entries(bundle, 5) == entries
    assert KEYS.open_checkpoint((bundle / "checkpoint").read_bytes()).size == 5
    with pytest.raises(ConfigurationError):
        store.export(bundle)
    assert [file.name for file in (tmp_path / "bundles").iterdir()] == ["one"]


_KILLED_EXPORT = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = [{tests!r}, {support!r}]
from test_ledger_store import open_store
Path.rename = lambda self, target: os.kill(os.getpid(), signal.SIGKILL)
open_store(Path({path!r})).export(Path({target!r}))
"""


def test_a_killed_export_leaves_no_half_bundle(store: LedgerStore, path: Path, tmp_path: Path) -> None:
    """Killed before the rename, the export has left nothing under its name, and can be repeated."""
    store.append_many([entry(0)])
    target = tmp_path / "bundle"
    script = _KILLED_EXPORT.format(tests=TESTS, support=SUPPORT, path=str(path), target=str(target))
    done = subprocess.run([sys.executable, "-c", script], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not target.exists()
    store.export(target)
    assert read_entries(target, 1) == [entry(0)]


def test_a_failed_export_cleans_up(
    store: LedgerStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the disk refuses the rename, neither a bundle nor a partial one stays behind."""
    store.append_many([entry(0)])

    def refuse(self: Path, target: Path) -> None:
        raise OSError("no space")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="no space"):
        store.export(tmp_path / "out" / "bundle")
    assert list((tmp_path / "out").iterdir()) == []
