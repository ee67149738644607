"""Publishing sealed tables: rows for consenting students only, committed in the ledger, then on disk.

docs/protocol.md §2 and §3. Promises: a student's training row is drawn once per company and campaign, and
what was drawn first is what every later table holds (averaging two draws would undo half of the noise); the
number of rows is padded to a power of two; the ledger holds a salted commitment to who had a row, which says
nothing without the salt. A table is served once all of that is true.

Left to the caller: handing in only students with a live consent for this company and purpose.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from noren_core.crypto import merkle
from noren_core.crypto.sealed_table import (
    DEFAULT_CHUNK_ROWS,
    SealedTable,
    TableContext,
    TableManifest,
    seal_table,
)
from noren_core.errors import DataError
from noren_core.ids import TableKind
from noren_core.ledger.entries import EntryKind
from noren_core.season.plan import CampaignPlan
from noren_server import alignment
from noren_server.ledger_service import LedgerService
from noren_server.private_file import write_private
from noren_server.store import Store, StoredTable

Rows = Sequence[tuple[bytes, bytes]]
"""Pairs of a normalised identifier and a payload."""

MINIMUM_PADDED_ROWS = 64
SALT_BYTES = 32


class TablePublisher:
    """Seals, commits and keeps the tables of one platform."""

    def __init__(
        self,
        store: Store,
        ledger: LedgerService,
        directory: Path,
        *,
        chunk_rows: int = DEFAULT_CHUNK_ROWS,
    ) -> None:
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
        self, plan: CampaignPlan, company: str, kind: TableKind, sealed_rows: Rows, *, payload_bytes: int
    ) -> None:
        """Seal and publish one table from (OPRF output, payload) pairs.

        1. Seal under a fresh table id, padded.
        2. Commit in the ledger to who has a row, then to the table.
        3. Write the file, then remember it; from now on it is served.
        """
        context = TableContext.fresh(company=company, campaign=plan.campaign, kind=kind)
        table = seal_table(  # 1
            context,
            sealed_rows,
            padded_rows=padded_rows(len(sealed_rows)),
            payload_bytes=payload_bytes,
            chunk_rows=self._chunk_rows,
        )
        salt = secrets.token_bytes(SALT_BYTES)
        root = consent_root([output for output, _ in sealed_rows], salt)
        with self._store.transaction() as transaction:
            self._commit(table.manifest, root)  # 2
            write_private(self._path(table.manifest), b"".join(table.chunks))  # 3
            transaction.add_table(_stored(table, salt))

    def table(self, campaign: str, company: str, kind: TableKind) -> StoredTable | None:
        """What is published of this kind for the company."""
        with self._store.transaction() as transaction:
            return transaction.table(campaign, company, kind)

    def chunks(self, table: StoredTable, first: int) -> Iterator[tuple[int, bytes]]:
        """The chunks of a published table from index `first` on, read one at a time."""
        manifest = table.manifest
        with self._path(manifest).open("rb") as file:
            file.seek(first * manifest.chunk_rows * manifest.row_bytes)
            for index in range(first, manifest.chunk_count):
                yield index, file.read(manifest.chunk_bytes(index))

    def _publish_training_table(self, plan: CampaignPlan, company: str, rows: Rows) -> None:
        key = alignment.oprf_key(self._store, plan.campaign, company)
        outputs = alignment.evaluate_identifiers(key, [identifier for identifier, _ in rows])
        drawn = {
            alignment.row_key(output): payload for output, (_, payload) in zip(outputs, rows, strict=True)
        }
        with self._store.transaction() as transaction:
            kept = transaction.keep_released_rows(plan.campaign, company, drawn)
        sealed_rows = [(output, kept[alignment.row_key(output)]) for output in outputs]
        self.publish(plan, company, TableKind.TRAIN, sealed_rows, payload_bytes=2 * plan.rows.dimensions)

    def _commit(self, manifest: TableManifest, root: bytes) -> None:
        context = manifest.context
        about = {"campaign": context.campaign, "company": context.company}
        epoch = self._ledger.append_platform_entry(
            EntryKind.CONSENT_EPOCH, {**about, "kind": context.kind.value, "root": root.hex()}
        )
        self._ledger.append_platform_entry(
            EntryKind.TABLE, {**about, "consent_epoch": epoch, "manifest": manifest.to_body()}
        )

    def _path(self, manifest: TableManifest) -> Path:
        context = manifest.context
        return self._directory / context.campaign / f"{context.company}-{context.kind.value}.bin"


def padded_rows(count: int) -> int:
    """The public size of a table with `count` rows: the next power of two, at least 64."""
    return max(MINIMUM_PADDED_ROWS, 1 << max(count - 1, 0).bit_length())


def consent_root(oprf_outputs: Sequence[bytes], salt: bytes) -> bytes:
    """A commitment to the set of students with a row: erasing the salt erases what it says.

    SHA-256 over label ‖ salt ‖ Merkle root (RFC 6962) of the sorted HMAC-SHA256(salt, OPRF output).
    """
    leaves = sorted(hmac.digest(salt, b"noren/v1/consent\0" + output, "sha256") for output in oprf_outputs)
    tree = merkle.root_hash([merkle.leaf_hash(leaf) for leaf in leaves])
    return hashlib.sha256(b"noren/v1/consent-root\0" + salt + tree).digest()


def _check_training_rows(plan: CampaignPlan, rows: Mapping[str, Rows]) -> None:
    if not set(rows) <= set(plan.companies):
        raise DataError("training rows: expected companies of the cohort, got another")
    expected = 2 * plan.rows.dimensions
    for pairs in rows.values():
        if any(len(payload) != expected for _, payload in pairs):
            raise DataError(f"training rows: expected payloads of {expected} bytes, got another length")
        if len({identifier for identifier, _ in pairs}) != len(pairs):
            raise DataError("training rows: expected each identifier once per company, got one twice")


def _stored(table: SealedTable, salt: bytes) -> StoredTable:
    return StoredTable(manifest=table.manifest, chunk_hashes=table.chunk_hashes, epoch_salt=salt)
