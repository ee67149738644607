"""Finding our rows: sealed tables, read with our evaluated identifiers.

docs/protocol.md §2. Promises: key and table are the ones in the ledger, proven; a table is always read to
its end, so that nothing tells the platform who the applicants are; a chunk is verified before it is used and
asked for again if it does not verify; a download that broke goes on where it broke, also in another process;
a row that was revoked is as good as absent.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from noren_client import campaign_files, keystore, revocations
from noren_client.evaluated_identifiers import Evaluated, EvaluatedIdentifiers
from noren_client.ledger_watch import LedgerWatch
from noren_client.partial_table import PartialTable
from noren_client.rights import provision_records
from noren_client.transport import PlatformClient, PlatformUnavailableError
from noren_core.crypto.oprf import Blinding
from noren_core.crypto.sealed_table import TableManifest, TableReader, row_secrets
from noren_core.errors import RemoteProtocolError, VerificationError
from noren_core.ids import TableKind
from noren_core.ledger.entries import EntryKind
from noren_core.ledger.proofs import VerifiedEntry
from noren_core.season.plan import CampaignPlan
from noren_core.wire.refusal import Refusal

FETCH_ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 0.25
PROGRESS_CHUNKS = 64  # some 25 MB of scores

_LOG = logging.getLogger(__name__)

Sleep = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class OpenedRow:
    """A row of ours: its public name and its place in the table, and what was sealed for us."""

    tag: bytes
    position: int
    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class OpenedTable:
    """What the ledger says of a table, and our rows in it by normalised identifier."""

    manifest: TableManifest
    rows: Mapping[bytes, OpenedRow]


class Aligner:
    """Alignment and tables of one accepted campaign."""

    def __init__(
        self, company_dir: Path, plan: CampaignPlan, platform: PlatformClient, *, sleep: Sleep = time.sleep
    ) -> None:
        self._company_dir = company_dir
        self._plan = plan
        self._platform = platform
        self._sleep = sleep
        self._company = keystore.load(company_dir).company
        self._watch = LedgerWatch(company_dir)
        self._evaluated = EvaluatedIdentifiers(company_dir, plan, platform)

    def evaluate_decisions(self, blinding: Blinding, *, ask: Callable[[Sequence[bytes]], Evaluated]) -> None:
        """Keep the outputs of a decision batch under our score key; `ask` sends its elements."""
        public_key = self.public_key(TableKind.SCORE)
        self._evaluated.evaluate_decisions(blinding, public_key, ask=ask)

    def open_rows(
        self,
        kind: TableKind,
        identifiers: Sequence[bytes],
        *,
        payload_bytes: int,
        keep_waiting: Callable[[], bool] = lambda: False,
    ) -> Mapping[bytes, OpenedRow]:
        """As `open_table`, without the manifest."""
        return self.open_table(kind, identifiers, payload_bytes=payload_bytes, keep_waiting=keep_waiting).rows

    def open_table(
        self,
        kind: TableKind,
        identifiers: Sequence[bytes],
        *,
        payload_bytes: int,
        keep_waiting: Callable[[], bool] = lambda: False,
    ) -> OpenedTable:
        """The rows of those normalised identifiers that have one in our table.

        Absence is normal and means nothing in particular. Whoever withdrew since it was sealed has none.

        Args:
            kind: which table.
            identifiers: distinct; of those for scoring only who was evaluated is looked for.
            payload_bytes: what the plan makes a payload of this kind.
            keep_waiting: called as long as there is no table yet: waits and says True, or gives up.
        """
        outputs = self._evaluated.outputs(kind, identifiers, self.public_key(kind))
        manifest = self._manifest(kind, payload_bytes, keep_waiting)
        reader = self._read_table(manifest, outputs)
        revoked = revocations.revoked_tags(self._company_dir, manifest.context, self._platform, self._watch)
        opened = {
            identifier: OpenedRow(
                row_secrets(outputs[identifier], manifest.context)[0], reader.positions[identifier], payload
            )
            for identifier, payload in reader.rows.items()
        }
        kept = {identifier: row for identifier, row in opened.items() if row.tag not in revoked}
        tags = [row.tag for row in kept.values()]
        provision_records.write_twin(self._company_dir, manifest.context, tags, now=int(time.time()))
        return OpenedTable(manifest, kept)

    def public_key(self, kind: TableKind) -> bytes:
        """Our key for a table, the one that the ledger shows; a second would let the platform tell us apart.

        Raises:
            RemoteProtocolError: with code NOT_AVAILABLE, if there is none yet.
            VerificationError: if there are several.
        """
        found = [
            item.entry.body["public_key"]
            for item in self._proven()
            if item.entry.kind is EntryKind.OPRF_KEY and item.entry.body["kind"] == kind.value
        ]
        if not found:
            raise RemoteProtocolError(Refusal.NOT_AVAILABLE.sentence, code=Refusal.NOT_AVAILABLE)
        if len(found) > 1:
            raise VerificationError(f"ledger: expected one {kind} key for us, got {len(found)}")
        return bytes.fromhex(found[0])

    def _manifest(
        self, kind: TableKind, payload_bytes: int, keep_waiting: Callable[[], bool]
    ) -> TableManifest:
        """The newest table of this kind that the ledger shows for us."""
        while not (found := [table for table in self._tables() if table.context.kind is kind]):
            if not keep_waiting():
                raise RemoteProtocolError(Refusal.NOT_READY.sentence, code=Refusal.NOT_READY)
        manifest = found[-1]
        if manifest.payload_bytes != payload_bytes:
            raise VerificationError(f"sealed table: expected payloads of {payload_bytes} bytes, got another")
        return manifest

    def _tables(self) -> list[TableManifest]:
        """Our tables in the ledger, oldest first, each after the consent epoch that it names."""
        proven = self._proven()
        epochs = {
            item.index: item.entry.body["kind"]
            for item in proven
            if item.entry.kind is EntryKind.CONSENT_EPOCH
        }
        tables = []
        for item in proven:
            if item.entry.kind is EntryKind.TABLE:
                manifest = TableManifest.from_body(item.entry.body["manifest"])
                if epochs.get(item.entry.body["consent_epoch"]) != manifest.context.kind.value:
                    raise VerificationError("table: expected the consent epoch that it names, got none")
                tables.append(manifest)
        return tables

    def _proven(self) -> list[VerifiedEntry]:
        """The campaign's entries about us."""
        campaign = self._plan.campaign
        proof = self._platform.get_proof(campaign, known_tree_size=self._watch.known_tree_size)
        about = (campaign, self._company)
        return [
            item for item in self._watch.accept(proof) if (item.entry.campaign, item.entry.company) == about
        ]

    def _read_table(self, manifest: TableManifest, outputs: Mapping[bytes, bytes]) -> TableReader[bytes]:
        """Fetch every chunk, each verified before it is used; a broken stream is taken up where it broke.

        Raises:
            VerificationError: if what comes is still not what the ledger says after some attempts.
            PlatformUnavailableError: if it does not come.
        """
        context = manifest.context
        path = (
            campaign_files.directory(self._company_dir, context.campaign) / f"table-{context.kind}.download"
        )
        reading = _Reading(manifest, outputs, PartialTable(path, manifest))
        for attempt in range(FETCH_ATTEMPTS):
            try:
                self._read_on(reading)
                break
            except (PlatformUnavailableError, VerificationError):
                if attempt == FETCH_ATTEMPTS - 1:
                    raise
                self._sleep(FIRST_PAUSE_SECONDS * 2**attempt)
        return reading.finished()

    def _read_on(self, reading: _Reading) -> None:
        if reading.is_complete:
            return
        context = reading.manifest.context
        parts = self._platform.fetch_table(context.campaign, context.kind, first_chunk=reading.next_index)
        for part in parts:
            reading.take(part.index, part.chunk, part.chunk_hashes)
            if reading.next_index % PROGRESS_CHUNKS == 0:
                _LOG.info(
                    "%s table: %d of %d chunks",
                    context.kind,
                    reading.next_index,
                    reading.manifest.chunk_count,
                )
        if not reading.is_complete:
            raise PlatformUnavailableError("sealed table: expected every chunk, the stream ended early")


class _Reading:
    """A table on its way in: which chunk is next, and what was opened so far."""

    def __init__(
        self, manifest: TableManifest, outputs: Mapping[bytes, bytes], partial: PartialTable
    ) -> None:
        self.manifest = manifest
        self.next_index = 0
        self._outputs = outputs
        self._partial = partial
        self._reader: TableReader[bytes] | None = None
        self._resume()

    @property
    def is_complete(self) -> bool:
        """Whether the last chunk was taken."""
        return self.next_index == self.manifest.chunk_count

    def take(self, index: int, chunk: bytes, chunk_hashes: tuple[bytes, ...]) -> None:
        """Verify, open and keep one part; VerificationError leaves everything as it was."""
        if self._reader is None:
            self._reader = TableReader(self.manifest, chunk_hashes, self._outputs)
            self._partial.begin(chunk_hashes, kept=0)
        if index != self.next_index:
            raise VerificationError(f"sealed table: expected chunk {self.next_index}, got another")
        self._reader.feed(index, chunk)
        self._partial.keep(index, chunk)
        self.next_index += 1

    def finished(self) -> TableReader[bytes]:
        """Whoever read it; only after the last chunk. What was kept of the download goes."""
        if self._reader is None:
            raise PlatformUnavailableError("sealed table: expected chunks, got none")
        self._partial.remove()
        return self._reader

    def _resume(self) -> None:
        """Take what an earlier process kept, verified as if it came now, up to what is wrong with it."""
        hashes = self._partial.chunk_hashes()
        if hashes is None:
            return
        try:
            self._reader = TableReader(self.manifest, hashes, self._outputs)
            for index, chunk in enumerate(self._partial.chunks()):
                self._reader.feed(index, chunk)
                self.next_index = index + 1
        except VerificationError:
            _LOG.warning("what was kept of a download is damaged; the rest of it is fetched again")
        if self._reader is not None:
            self._partial.begin(hashes, kept=self.next_index)
        _LOG.info("download goes on at chunk %d of %d", self.next_index, self.manifest.chunk_count)
