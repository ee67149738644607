"""Publishing a table: its size, its commitment, and that a crash leaves the whole table or none."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import hmac
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noren_core.crypto import merkle
from noren_core.crypto.sealed_table import TableManifest, TableReader, row_secrets
from noren_core.errors import DataError, LocalProtocolError
from noren_core.ids import TableKind
from noren_core.ledger.entries import EntryKind
from noren_core.season.plan import CampaignPlan
from noren_core.wire.refusal import Refusal
from noren_server import platform_files, tables
from noren_server.store import EnrolmentRecord, Store, StoredTable, Transaction
from noren_server.tables import ConsentCommitment, TablePublisher, padded_rows

COMPANY, KIND = "company-1", TableKind.TRAIN
PAYLOAD_BYTES = 8
CHUNK_ROWS = 8


class Crash(BaseException):
    """The process ends here: nothing is caught and nothing is tidied up."""


def output_of(number: int) -> bytes:
    return hashlib.sha512(b"output %d" % number).digest()


def payload_of(number: int) -> bytes:
    return number.to_bytes(PAYLOAD_BYTES, "big")


def rows_of(count: int) -> Iterator[tuple[bytes, bytes]]:
    return ((output_of(number), payload_of(number)) for number in range(count))


@dataclass
class Publishing:
    """A platform with one company and one campaign."""

    platform: platform_files.Platform
    plan: CampaignPlan
    kind: TableKind = KIND

    @property
    def publisher(self) -> TablePublisher:
        """As a process that was started just now has it."""
        platform = self.platform
        return TablePublisher(platform.store, platform.ledger, self.directory, chunk_rows=CHUNK_ROWS)

    @property
    def directory(self) -> Path:
        return self.platform.directory / "tables"

    @property
    def files(self) -> list[str]:
        return sorted(path.name for path in self.directory.rglob("*") if path.is_file())

    @property
    def table(self) -> StoredTable | None:
        return self.publisher.table(self.plan.campaign, COMPANY, self.kind)

    def publish(self, rows: Iterator[tuple[bytes, bytes]], *, count: int) -> None:
        self.publisher.publish(self.plan, COMPANY, self.kind, rows, count=count, payload_bytes=PAYLOAD_BYTES)

    def entries(self, kind: EntryKind) -> list[dict[str, Any]]:
        return [stored.entry.body for stored in self.platform.ledger_store.entries(kind=kind)]

    def opened(self, count: int) -> dict[int, bytes]:
        """What is served, verified against the newest table of the ledger, with these students' outputs."""
        table = self.table
        assert table is not None
        assert table.manifest == TableManifest.from_body(self.entries(EntryKind.TABLE)[-1]["manifest"])
        reader = TableReader(
            table.manifest, table.chunk_hashes, {number: output_of(number) for number in range(count)}
        )
        for index, chunk in self.publisher.chunks(table, 0):
            reader.feed(index, chunk)
        return reader.rows


@pytest.fixture
def publishing(tmp_path: Path, plan_body: dict[str, Any]) -> Iterator[Publishing]:
    platform = platform_files.initialise(
        tmp_path / "platform", name="job-site", host="127.0.0.1", ports=(0, 0, 0, 0)
    )
    plan = CampaignPlan.from_body(plan_body)
    with platform.store.transaction() as transaction:
        transaction.add_company(
            EnrolmentRecord(COMPANY, b"s" * 32, b"x" * 32, 40, b"request", b"node", b"{}", b"{}")
        )
        transaction.add_campaign(plan)
    yield Publishing(platform, plan)
    platform.store.close()
    platform.ledger_store.close()


# Size and commitment


@pytest.mark.parametrize(
    ("count", "size"), [(0, 128), (1, 128), (64, 128), (65, 256), (192, 256), (193, 512), (10**6, 2**20)]
)
def test_a_table_is_padded_to_a_power_of_two(count: int, size: int) -> None:
    """A table without rows is as large as one with a few, and every table has sixty-four dummies at least."""
    assert padded_rows(count) == size


@given(st.integers(min_value=0, max_value=2**25))
def test_padding_holds_every_row(count: int) -> None:
    """The padded size is the least power of two that holds all rows and sixty-four dummies."""
    size = padded_rows(count)
    assert size & (size - 1) == 0
    assert count + 64 <= size < 2 * (max(count, 1) + 64)


@settings(max_examples=40)
@given(
    st.lists(st.binary(min_size=64, max_size=64), max_size=20, unique=True),
    st.binary(min_size=32, max_size=32),
)
def test_the_consent_root_is_what_the_protocol_says(outputs: list[bytes], salt: bytes) -> None:
    """Label, salt, and the RFC's tree over the sorted keyed hashes; order does not matter."""
    leaves = sorted(hmac.digest(salt, b"noren/v1/consent\0" + output, "sha256") for output in outputs)
    tree = merkle.MerkleTree([merkle.leaf_hash(leaf) for leaf in leaves]).root()
    expected = hashlib.sha256(b"noren/v1/consent-root\0" + salt + tree).digest()
    assert consent_root(outputs, salt) == consent_root(outputs[::-1], salt) == expected


def test_the_consent_root_needs_set_and_salt() -> None:
    """Members and salt count, and an empty set does not show as one."""
    members = [bytes([n]) * 64 for n in range(3)]
    salt, other = b"s" * 32, b"t" * 32
    roots = [consent_root(*case) for case in ((members, salt), (members[:2], salt), (members, other))]
    assert len(set(roots)) == 3
    assert consent_root([], salt) != consent_root([], other)
    assert merkle.EMPTY_ROOT not in {consent_root([], salt), consent_root([], other)}


def test_leaves_are_sorted_as_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Zero bytes at a leaf's end, which are padding elsewhere, are sorted like any others."""
    leaves = {b"a": b"\1" + bytes(31), b"b": b"\1" + bytes(30) + b"\1", b"c": bytes(32), b"d": b"\xff" * 32}
    monkeypatch.setattr(tables.hmac, "digest", lambda _, message, __: leaves[message[-1:]])
    tree = merkle.root_hash([merkle.leaf_hash(leaf) for leaf in sorted(leaves.values())])
    assert (
        consent_root([b"d", b"b", b"a", b"c"], b"")
        == hashlib.sha256(b"noren/v1/consent-root\0" + tree).digest()
    )


def consent_root(outputs: list[bytes], salt: bytes) -> bytes:
    commitment = ConsentCommitment(salt)
    assert [output for output, _ in commitment.noting((output, b"") for output in outputs)] == outputs
    assert commitment.size == len(outputs)
    return commitment.root()


# Publishing


def test_what_is_published_is_what_the_ledger_says(publishing: Publishing) -> None:
    """The served chunks lead to the ledger's root and open to the payloads; the commitment is to these."""
    publishing.publish(rows_of(70), count=70)
    assert publishing.opened(80) == {number: payload_of(number) for number in range(70)}
    table = publishing.table
    assert table is not None
    [epoch] = publishing.entries(EntryKind.CONSENT_EPOCH)
    assert epoch["root"] == consent_root([output_of(number) for number in range(70)], table.epoch_salt).hex()
    assert publishing.files == [f"{COMPANY}-{KIND}.bin"]
    [path] = publishing.directory.rglob("*.bin")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_size == 256 * (PAYLOAD_BYTES + 32)
    assert table.dummy_seed.hex() not in repr(table)
    assert table.epoch_salt.hex() not in repr(table)


@pytest.mark.parametrize(
    ("rows", "count"),
    [
        ([*rows_of(5), *rows_of(1)], 6),
        (list(rows_of(5)), 6),
        (list(rows_of(5)), 4),
        ([(output_of(1), bytes(9))], 1),
        ([(bytes(63), bytes(8))], 1),
    ],
    ids=["one student twice", "too few", "too many", "another length", "no output"],
)
def test_bad_rows_publish_nothing(
    publishing: Publishing, rows: list[tuple[bytes, bytes]], count: int
) -> None:
    """Nothing in ledger, database or directory; good rows can follow."""
    size = publishing.platform.ledger_store.size
    with pytest.raises(DataError):
        publishing.publish(iter(rows), count=count)
    assert publishing.platform.ledger_store.size == size
    assert (publishing.table, publishing.files) == (None, [])
    publishing.publish(rows_of(3), count=3)
    assert len(publishing.opened(3)) == 3


def test_a_second_table_of_a_kind_is_refused(publishing: Publishing) -> None:
    """What is out stays as it is, and the ledger gets no second one."""
    publishing.publish(rows_of(5), count=5)
    first = publishing.table
    with pytest.raises(LocalProtocolError):
        publishing.publish(rows_of(6), count=6)
    assert publishing.table == first
    assert len(publishing.entries(EntryKind.TABLE)) == 1
    assert publishing.opened(6).keys() == set(range(5))
    assert publishing.files == [f"{COMPANY}-{KIND}.bin"]


def test_two_processes_do_not_publish_one_table(publishing: Publishing) -> None:
    """Who comes second, while the first is sealing, is refused and disturbs nothing."""

    def rows() -> Iterator[tuple[bytes, bytes]]:
        with pytest.raises(LocalProtocolError, match="nobody else"):
            publishing.publish(rows_of(2), count=2)
        yield from rows_of(4)

    publishing.publish(rows(), count=4)
    assert len(publishing.opened(4)) == 4


def test_a_table_that_was_finished_while_we_waited_is_not_emptied(
    publishing: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file that we opened may have become the table before we had its lock."""
    publishing.publish(rows_of(4), count=4)
    [table] = publishing.directory.rglob("*.bin")
    part = table.with_name(table.name + ".part")
    part.write_bytes(b"")

    def renamed_meanwhile(_file: object, _operation: int) -> None:
        table.unlink()
        table.hardlink_to(part)
        part.unlink()
        table.write_bytes(b"the table")

    monkeypatch.setattr(fcntl, "flock", renamed_meanwhile)
    with pytest.raises(LocalProtocolError, match="nobody else"):
        publishing.publish(rows_of(4), count=4)
    assert table.read_bytes() == b"the table"


def test_a_full_disk_publishes_nothing(publishing: Publishing, monkeypatch: pytest.MonkeyPatch) -> None:
    """A code of its own, nothing left behind, and publishing works once there is room."""
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", failing(OSError(errno.ENOSPC, "no space")))
        with pytest.raises(LocalProtocolError) as caught:
            publishing.publish(rows_of(4), count=4)
    assert caught.value.code == "STORAGE_FAILED"
    assert (publishing.table, publishing.files) == (None, [])
    publishing.publish(rows_of(4), count=4)
    assert len(publishing.opened(4)) == 4


def test_tags_in_a_table(publishing: Publishing) -> None:
    """Exactly the rows' tags are found, at both ends and in between, and no others."""
    publishing.publish(rows_of(40), count=40)
    table = publishing.table
    assert table is not None
    data = b"".join(chunk for _, chunk in publishing.publisher.chunks(table, 0))
    there = [data[start : start + 16] for start in range(0, len(data), PAYLOAD_BYTES + 32)]
    absent = [
        bytes(16),
        b"\xff" * 16,
        *(row_secrets(output_of(n), table.manifest.context)[0] for n in range(40, 60)),
    ]
    absent += [tag[:-1] + bytes([tag[-1] ^ 1]) for tag in there]
    assert publishing.publisher.tags_in(table, [*absent, *there]) == there


# Crashes


def failing(error: BaseException) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def crash_instead(patch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    patch.setattr(owner, name, failing(Crash()))


def crash_after(patch: pytest.MonkeyPatch, owner: Any, name: str, *, calls: int = 1) -> None:
    original, left = getattr(owner, name), [calls]

    def call(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        left[0] -= 1
        if left[0] == 0:
            raise Crash
        return result

    patch.setattr(owner, name, call)


# What happens, and how many tables the ledger then has.
CRASHES: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], int]] = {
    "while chunks are written": (lambda p: crash_after(p, merkle, "leaf_hash", calls=3), 0),
    "before the file is synced": (lambda p: crash_instead(p, tables.os, "fsync"), 0),
    "before the ledger": (lambda p: crash_instead(p, TablePublisher, "_commit"), 0),
    "after the ledger": (lambda p: crash_after(p, TablePublisher, "_commit"), 1),
    "before the file has its name": (lambda p: crash_instead(p, tables, "_rename"), 1),
    "after the file has its name": (lambda p: crash_after(p, tables, "_rename"), 1),
    "before the database": (lambda p: crash_instead(p, Transaction, "add_table"), 1),
    "before the database commits": (lambda p: crash_after(p, Transaction, "add_table"), 1),
}


@pytest.mark.parametrize("point", CRASHES)
def test_a_crash_leaves_no_table_and_it_can_be_published_again(
    publishing: Publishing, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """Wherever before the last commit the process ends, nothing is served, and the next attempt is whole."""
    crash, in_ledger = CRASHES[point]
    with monkeypatch.context() as down:
        down.setattr(Path, "unlink", lambda *_, **__: None)  # a process that is gone tidies nothing up
        crash(down)
        with pytest.raises(Crash):
            publishing.publish(rows_of(70), count=70)
    assert publishing.table is None
    assert len(publishing.entries(EntryKind.TABLE)) == in_ledger
    publishing.publish(rows_of(5), count=5)
    assert publishing.opened(70) == {number: payload_of(number) for number in range(5)}
    [path] = publishing.directory.rglob("*.bin")
    assert path.stat().st_size == 128 * (PAYLOAD_BYTES + 32)
    ids = [entry["manifest"]["table_id"] for entry in publishing.entries(EntryKind.TABLE)]
    assert len(set(ids)) == len(ids) == in_ledger + 1
    assert publishing.files == [f"{COMPANY}-{KIND}.bin"]


def test_a_crash_between_the_two_entries(publishing: Publishing, monkeypatch: pytest.MonkeyPatch) -> None:
    """A consent epoch without its table is all that is left; the next table names its own epoch."""
    with monkeypatch.context() as down:
        down.setattr(Path, "unlink", lambda *_, **__: None)
        crash_after(down, type(publishing.platform.ledger), "append_platform_entry")
        with pytest.raises(Crash):
            publishing.publish(rows_of(5), count=5)
    assert publishing.table is None
    publishing.publish(rows_of(5), count=5)
    assert len(publishing.opened(5)) == 5
    epochs = publishing.platform.ledger_store.entries(kind=EntryKind.CONSENT_EPOCH)
    [table] = publishing.entries(EntryKind.TABLE)
    assert len(epochs) == 2
    assert table["consent_epoch"] == epochs[1].index


def test_a_crash_after_the_last_commit(publishing: Publishing, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table is out, whole, and is not published twice."""
    original = Store.transaction

    def transaction(self: Store) -> Any:
        context = original(self)
        leave = type(context).__exit__

        class Leaving:
            def __enter__(self) -> Transaction:
                return context.__enter__()

            def __exit__(self, *error: object) -> None:
                leave(context, *error)
                raise Crash

        return Leaving()

    with monkeypatch.context() as down:
        down.setattr(Store, "transaction", transaction)
        with pytest.raises(Crash):
            publishing.publish(rows_of(5), count=5)
    assert publishing.opened(5) == {number: payload_of(number) for number in range(5)}
    with pytest.raises(LocalProtocolError):
        publishing.publish(rows_of(5), count=5)


# Score tables, which are replaced


@pytest.fixture
def scores(publishing: Publishing) -> Publishing:
    """The same platform, publishing score tables."""
    return replace(publishing, kind=TableKind.SCORE)


def test_a_score_table_is_replaced_whole(scores: Publishing) -> None:
    """The newest is served under another table id; of the one before, file and revocations are gone."""
    scores.publish(rows_of(5), count=5)
    first = scores.table
    assert first is not None
    first_id = first.manifest.context.table_id
    with scores.platform.store.transaction() as transaction:
        transaction.add_revocations(first_id, [b"t" * 16])
    [replaced] = scores.files
    scores.publish(rows_of(3), count=3)
    second = scores.table
    assert second is not None
    assert scores.opened(5).keys() == set(range(3))
    assert second.manifest.context.table_id != first_id
    assert len(scores.files) == 1
    assert scores.files != [replaced]
    assert len(scores.entries(EntryKind.TABLE)) == 2
    with scores.platform.store.transaction() as transaction:
        assert transaction.revocations(first_id).tags == frozenset()
    with pytest.raises(LocalProtocolError) as caught:
        next(scores.publisher.chunks(first, 0))
    assert caught.value.code == Refusal.NOT_READY


def test_who_reads_a_replaced_table_reads_it_to_its_end(scores: Publishing) -> None:
    """A download that has begun is of one table, whatever is published meanwhile."""
    scores.publish(rows_of(70), count=70)
    first = scores.table
    assert first is not None
    reading = scores.publisher.chunks(first, 0)
    chunks = [next(reading)]
    scores.publish(rows_of(2), count=2)
    chunks += reading
    reader = TableReader(first.manifest, first.chunk_hashes, {n: output_of(n) for n in range(70)})
    for index, chunk in chunks:
        reader.feed(index, chunk)
    assert len(reader.rows) == 70


def test_a_training_table_replaces_nothing(publishing: Publishing) -> None:
    """Two draws of a student's row are never given out, also not one after the other."""
    publishing.publish(rows_of(5), count=5)
    table = publishing.table
    assert table is not None
    with (
        publishing.platform.store.transaction() as transaction,
        pytest.raises(DataError, match="score table"),
    ):
        transaction.replace_score_table(table)


def test_another_companys_tables_stay(scores: Publishing) -> None:
    """Only what this company had is removed, also if names begin alike."""
    other = scores.directory / scores.plan.campaign / f"{COMPANY}-score-{'ab' * 16}-score-{'cd' * 16}.bin"
    scores.publish(rows_of(5), count=5)
    other.write_bytes(b"")
    scores.publish(rows_of(5), count=5)
    assert other.exists()


@pytest.mark.parametrize("point", CRASHES)
def test_a_crash_keeps_the_score_table_before(
    scores: Publishing, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """Until the last commit the old table is served, whole; nothing of a crash is left after the next one."""
    scores.publish(rows_of(4), count=4)
    first = scores.table
    assert first is not None
    crash, _ = CRASHES[point]
    with monkeypatch.context() as down:
        down.setattr(Path, "unlink", lambda *_, **__: None)
        crash(down)
        with pytest.raises(Crash):
            scores.publish(rows_of(70), count=70)
    assert scores.table == first
    reader = TableReader(first.manifest, first.chunk_hashes, {n: output_of(n) for n in range(4)})
    for index, chunk in scores.publisher.chunks(first, 0):
        reader.feed(index, chunk)
    assert len(reader.rows) == 4
    scores.publish(rows_of(6), count=6)
    assert len(scores.opened(6)) == 6
    assert len(scores.files) == 1
