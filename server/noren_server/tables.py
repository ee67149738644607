"""Publishing sealed tables: rows for consenting students only, committed in the ledger, then on disk.

docs/protocol.md §2 and §3. Promises: a student's training row is drawn once per company and campaign, and
what was drawn first is what every later table holds (averaging two draws would undo half of the noise); the
number of rows is padded to a power of two; the ledger holds a salted commitment to who had a row, which says
nothing without the salt. A table is served once all of that is true; a crash before leaves none, and it can
be published again. Memory does not grow with the number of rows, except for 32 bytes of commitment each.

Left to the caller: handing in only students with a live consent for this company and purpose.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from noren_core.crypto import merkle, revocation_list
from noren_core.crypto.sealed_table import (
    DEFAULT_CHUNK_ROWS,
    TAG_BYTES,
    TableContext,
    TableManifest,
    TableWriter,
    WrittenTable,
    row_secrets,
)
from noren_core.errors import DataError, LocalProtocolError
from noren_core.ids import TableKind
from noren_core.ledger.entries import EntryKind
from noren_core.season.plan import CampaignPlan
from noren_core.wire.refusal import Refusal
from noren_local.private_file import sync_directory
from noren_server import alignment
from noren_server.ledger_service import LedgerService
from noren_server.store import Store, StoredTable

Rows = Sequence[tuple[bytes, bytes]]
"""Pairs of a normalised identifier and a payload."""

ProvidedRows = Callable[[TableContext, Sequence[bytes], Sequence[bytes]], None]
"""Writes down, of every row, by which tag it leaves: context, normalised identifiers, tags in their order.

It raises if a row has no provision record; the table is not brought out then.
"""

SALT_BYTES = 32
LEAF_BYTES = 32


class TablePublisher:
    """Seals, commits and keeps the tables of one platform."""

    def __init__(
        self,
        store: Store,
        ledger: LedgerService,
        directory: Path,
        *,
        provided: ProvidedRows | None = None,
        chunk_rows: int = DEFAULT_CHUNK_ROWS,
    ) -> None:
        """Publish into `directory`; whoever publishes rows about persons says where they are written down."""
        self._provided = provided
        self._store = store
        self._ledger = ledger
        self._directory = directory
        self._chunk_rows = chunk_rows

    def publish_training_tables(self, plan: CampaignPlan, rows: Mapping[str, Rows]) -> None:
        """Publish the keys and the training table of every company of the cohort; safe to repeat.

        Args:
            plan: a published plan.
            rows: by company, noised rows (little-endian int16) by normalised identifier. A company
                without rows gets a table of dummies; a company whose table is out is skipped.

        Raises:
            DataError: if a company is not of the cohort, a payload has another length, or an identifier
                occurs twice for one company; nothing is published then.
        """
        _check_training_rows(plan, rows)
        alignment.publish_oprf_keys(self._store, self._ledger, plan)
        for company in plan.companies:
            if self.table(plan.campaign, company, TableKind.TRAIN) is None:
                self._publish_training_table(plan, company, rows.get(company, ()))

    def publish(
        self,
        plan: CampaignPlan,
        company: str,
        kind: TableKind,
        rows: Iterable[tuple[bytes, bytes]],
        *,
        count: int,
        payload_bytes: int,
        identifiers: Sequence[bytes] = (),
    ) -> None:
        """Seal and publish one table from (OPRF output, payload) pairs.

        1. Take the table's temporary file for ourselves, emptied of what a crash left.
        2. Seal every row into it under a fresh table id, padded, and sync it. Nothing is published so far.
           Each row's provision is on disk under its tag before anything else.
        3. Holding the database's write lock, check that there is no such training table yet. A score table
           replaces the one before, under another table id.
        4. Commit in the ledger to who has a row, then to the table.
        5. Give the file its name, then remember it. With that last commit the table is served, and the one
           that it replaces is not; its file goes.
        A crash between 4 and 5 leaves entries about a table that nobody gets; a company reads the newest.

        Args:
            plan: a published plan.
            company: of its cohort.
            kind: which table.
            rows: read once; their order says nothing.
            count: how many rows will come.
            payload_bytes: length of every payload.
            identifiers: normalised, one for each row in their order; for whoever writes provisions down.

        Raises:
            DataError: if there are more or fewer rows, another length, or one output twice.
            LocalProtocolError: if the table exists, is being published elsewhere, or (code STORAGE_FAILED)
                cannot be written. Nothing is published then.
        """
        context = TableContext.fresh(company=company, campaign=plan.campaign, kind=kind)
        consents = ConsentCommitment(secrets.token_bytes(SALT_BYTES))
        part = self._part(context)
        tags: list[bytes] = []
        sealed = rows if self._provided is None else _noting_tags(rows, context, tags)
        try:
            with _being_written(part) as file:  # 1
                written = self._seal(  # 2
                    context, consents.noting(sealed), file, padded_rows(count), payload_bytes
                )
                if consents.size != count:
                    raise DataError(f"table: expected {count} rows, got another number")
                if self._provided is not None:
                    self._provided(context, identifiers, tags)
                table = StoredTable(
                    manifest=written.manifest,
                    chunk_hashes=written.chunk_hashes,
                    epoch_salt=consents.salt,
                    dummy_seed=written.dummy_seed,
                )
                self._bring_out(table, consents.root(), part)  # 3, 4, 5
        except OSError as error:
            raise LocalProtocolError(
                "table: expected to be able to write it, got an error of the file system",
                code="STORAGE_FAILED",
            ) from error

    def table(self, campaign: str, company: str, kind: TableKind) -> StoredTable | None:
        """What is published of this kind for the company."""
        with self._store.transaction() as transaction:
            return transaction.table(campaign, company, kind)

    def chunks(self, table: StoredTable, first: int) -> Iterator[tuple[int, bytes]]:
        """The chunks of a published table from index `first` on, read one at a time.

        Raises:
            LocalProtocolError: with code NOT_READY, if a newer table has just taken its place.
        """
        manifest = table.manifest
        with self._opened(manifest) as file:
            file.seek(first * manifest.chunk_rows * manifest.row_bytes)
            for index in range(first, manifest.chunk_count):
                yield index, file.read(manifest.chunk_bytes(index))

    def tags_in(self, table: StoredTable, tags: Iterable[bytes]) -> list[bytes]:
        """Those of `tags` that a published table holds."""
        with self._opened(table.manifest) as file:
            return [tag for tag in tags if _holds(file, table.manifest, tag)]

    def _publish_training_table(self, plan: CampaignPlan, company: str, rows: Rows) -> None:
        key = alignment.oprf_key(self._store, plan.campaign, company, TableKind.TRAIN)
        outputs = alignment.evaluate_identifiers(key, [identifier for identifier, _ in rows])
        drawn = {
            alignment.row_key(output): payload for output, (_, payload) in zip(outputs, rows, strict=True)
        }
        with self._store.transaction() as transaction:
            kept = transaction.keep_released_rows(plan.campaign, company, drawn)
        self.publish(
            plan,
            company,
            TableKind.TRAIN,
            ((output, kept[alignment.row_key(output)]) for output in outputs),
            count=len(outputs),
            payload_bytes=plan.training_payload_bytes,
            identifiers=[identifier for identifier, _ in rows],
        )

    def _seal(
        self,
        context: TableContext,
        rows: Iterable[tuple[bytes, bytes]],
        file: BinaryIO,
        padded: int,
        payload_bytes: int,
    ) -> WrittenTable:
        """Write the whole table into `file` and sync it."""
        with tempfile.TemporaryFile(dir=self._directory) as spool:  # without a name: a crash leaves nothing
            writer = TableWriter(
                context,
                spool,
                padded_rows=padded,
                payload_bytes=payload_bytes,
                chunk_rows=self._chunk_rows,
            )
            writer.add(rows)
            file.writelines(writer.chunks())
        file.flush()
        os.fsync(file.fileno())
        return writer.finish()

    def _bring_out(self, table: StoredTable, consent_root: bytes, part: Path) -> None:
        """Steps 3 to 5 of `publish`, holding the database's write lock."""
        context = table.manifest.context
        is_replaceable = context.kind is TableKind.SCORE
        with self._store.transaction() as transaction:
            known = transaction.table(context.campaign, context.company, context.kind)
            if known is not None and not is_replaceable:  # 3
                raise LocalProtocolError("table: expected none of this kind yet, got one")
            self._commit(table.manifest, consent_root)  # 4
            _rename(part, self._path(context))  # 5
            (transaction.replace_score_table if is_replaceable else transaction.add_table)(table)
            if is_replaceable:
                self._remove_other_score_files(table, known)
        if known is not None:
            self._path(known.manifest.context).unlink(missing_ok=True)

    def _remove_other_score_files(self, table: StoredTable, known: StoredTable | None) -> None:
        """Remove what a crash between a file's name and the last commit left of this company's."""
        path = self._path(table.manifest.context)
        kept = {path} if known is None else {path, self._path(known.manifest.context)}
        company = table.manifest.context.company
        for file in path.parent.glob(f"{company}-score-{'[0-9a-f]' * 32}.bin"):
            if file not in kept:
                file.unlink()

    def _opened(self, manifest: TableManifest) -> BinaryIO:
        try:
            return self._path(manifest.context).open("rb")
        except FileNotFoundError as error:
            raise LocalProtocolError(Refusal.NOT_READY.sentence, code=Refusal.NOT_READY) from error

    def _commit(self, manifest: TableManifest, root: bytes) -> None:
        context = manifest.context
        about = {"campaign": context.campaign, "company": context.company}
        epoch = self._ledger.append_platform_entry(
            EntryKind.CONSENT_EPOCH, {**about, "kind": context.kind.value, "root": root.hex()}
        )
        self._ledger.append_platform_entry(
            EntryKind.TABLE, {**about, "consent_epoch": epoch, "manifest": manifest.to_body()}
        )

    def _path(self, context: TableContext) -> Path:
        """A training table has one name; a score table's has its id, since another may take its place."""
        name = f"{context.company}-{context.kind.value}"
        if context.kind is TableKind.SCORE:
            name += f"-{context.table_id.hex()}"
        return self._directory / context.campaign / f"{name}.bin"

    def _part(self, context: TableContext) -> Path:
        """What is being written: one file for each company and kind, so that a crash leaves one."""
        return self._directory / context.campaign / f"{context.company}-{context.kind.value}.bin.part"


class ConsentCommitment:
    """What the ledger says of who has a row: nothing, once the salt is erased (docs/protocol.md §2.5).

    Keeps 32 bytes for each student.
    """

    def __init__(self, salt: bytes) -> None:
        self.salt = salt
        self._leaves = bytearray()

    @property
    def size(self) -> int:
        """How many students were noted."""
        return len(self._leaves) // LEAF_BYTES

    def noting(self, rows: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        """The same (OPRF output, payload) pairs, each noted as it passes."""
        for output, payload in rows:
            self._leaves += hmac.digest(self.salt, b"noren/v1/consent\0" + output, "sha256")
            yield output, payload

    def root(self) -> bytes:
        """SHA-256 over label ‖ salt ‖ Merkle root (RFC 6962) of the sorted HMAC-SHA256(salt, OPRF output)."""
        np.frombuffer(self._leaves, dtype=f"S{LEAF_BYTES}").sort()  # as bytes, in place
        leaves = (
            bytes(self._leaves[start : start + LEAF_BYTES])
            for start in range(0, len(self._leaves), LEAF_BYTES)
        )
        tree = merkle.root_hash(map(merkle.leaf_hash, leaves))
        return hashlib.sha256(b"noren/v1/consent-root\0" + self.salt + tree).digest()


def _noting_tags(
    rows: Iterable[tuple[bytes, bytes]], context: TableContext, tags: list[bytes]
) -> Iterator[tuple[bytes, bytes]]:
    """The same pairs; the tag of each is added to `tags` as it passes."""
    for output, payload in rows:
        tags.append(row_secrets(output, context)[0])
        yield output, payload


def padded_rows(count: int) -> int:
    """The public size of a table with `count` rows: the least power of two with 64 dummy rows at least.

    As many may have to stand in for students on a revocation list. A table without rows is as large as one
    with a few.
    """
    return 1 << max(count + revocation_list.STEP - 1, revocation_list.STEP).bit_length()


@contextmanager
def _being_written(part: Path) -> Iterator[BinaryIO]:
    """The temporary file (mode 0600) that is to become a table: empty, ours alone, gone if an error ends us.

    1. Open it, or what a crash left of it, and lock it.
    2. Whoever had the lock before us may have renamed what we opened; then it is not ours to empty.
    """
    part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # 1
        except BlockingIOError as error:
            raise _published_elsewhere() from error
        if not part.exists() or not os.path.samestat(os.fstat(file.fileno()), part.stat()):  # 2
            raise _published_elsewhere()
        file.truncate(0)
        try:
            yield file
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def _published_elsewhere() -> LocalProtocolError:
    return LocalProtocolError("table: expected nobody else to be publishing it, got another process that is")


def _rename(part: Path, path: Path) -> None:
    """Give a synced file its name, durably."""
    part.replace(path)
    sync_directory(path.parent)


def _holds(file: BinaryIO, manifest: TableManifest, tag: bytes) -> bool:
    """Whether a row of the sorted file has this tag."""
    low, high = 0, manifest.padded_rows
    while low < high:
        middle = (low + high) // 2
        found = os.pread(file.fileno(), TAG_BYTES, middle * manifest.row_bytes)
        if found == tag:
            return True
        low, high = (middle + 1, high) if found < tag else (low, middle)
    return False


def _check_training_rows(plan: CampaignPlan, rows: Mapping[str, Rows]) -> None:
    if not set(rows) <= set(plan.companies):
        raise DataError("training rows: expected companies of the cohort, got another")
    expected = plan.training_payload_bytes
    for pairs in rows.values():
        if any(len(payload) != expected for _, payload in pairs):
            raise DataError(f"training rows: expected payloads of {expected} bytes, got another length")
        if len({identifier for identifier, _ in pairs}) != len(pairs):
            raise DataError("training rows: expected each identifier once per company, got one twice")
