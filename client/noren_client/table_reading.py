"""Finding our rows: evaluated identifiers of one campaign, and sealed tables read with them.

docs/protocol.md §1 and §2. Promises: key and table are the ones in the ledger, proven; the platform sees one
batch of one fixed size per table, and a table is always read to its end, so that nothing tells it who the
applicants are; a chunk is verified before it is used and asked for again if it does not verify. Evaluated
identifiers are kept (0600) for the campaign, since every evaluation counts against the plan.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from noren_client import campaign_files, keystore
from noren_client.campaign_files import write_private
from noren_client.ledger_watch import LedgerWatch
from noren_client.transport import PlatformClient, PlatformUnavailableError
from noren_core import canonical_json
from noren_core.crypto import oprf
from noren_core.crypto.sealed_table import TableManifest, TableReader
from noren_core.errors import (
    BudgetExceededError,
    ConfigurationError,
    DataError,
    NorenError,
    RemoteProtocolError,
    VerificationError,
)
from noren_core.ids import TableKind
from noren_core.ledger.entries import EntryKind, SignedEntry
from noren_core.ledger.proofs import VerifiedEntry
from noren_core.season.plan import CampaignPlan
from noren_core.wire.refusal import Refusal

OUTPUTS_FILE = "oprf.json"
FETCH_ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 0.25
DUMMY_BYTES = 32

Sleep = Callable[[float], None]


class Aligner:
    """Alignment and tables of one accepted campaign."""

    def __init__(
        self, company_dir: Path, plan: CampaignPlan, platform: PlatformClient, *, sleep: Sleep = time.sleep
    ) -> None:
        self._plan = plan
        self._platform = platform
        self._sleep = sleep
        self._company = keystore.load(company_dir).company
        self._watch = LedgerWatch(company_dir)
        self._outputs_path = campaign_files.directory(company_dir, plan.campaign) / OUTPUTS_FILE

    def open_rows(
        self,
        kind: TableKind,
        identifiers: Sequence[bytes],
        *,
        payload_bytes: int,
        keep_waiting: Callable[[], bool] = lambda: False,
    ) -> dict[bytes, bytes]:
        """The payloads of those normalised identifiers that have a row in our table.

        Absence is normal and means nothing in particular.

        Args:
            kind: which table.
            identifiers: distinct.
            payload_bytes: what the plan makes a payload of this kind.
            keep_waiting: called as long as there is no table yet: waits and says True, or gives up.
        """
        outputs = self._outputs(kind, identifiers)
        manifest = self._manifest(kind, payload_bytes, keep_waiting)
        return self._read_table(manifest, outputs)

    def _outputs(self, kind: TableKind, identifiers: Sequence[bytes]) -> dict[bytes, bytes]:
        """The OPRF output of every identifier, from the campaign's file or evaluated now.

        One batch is sent per table even if every output is known, so that the number of batches tells
        the platform nothing.
        """
        public_key = bytes.fromhex(self._only(EntryKind.OPRF_KEY).body["public_key"])
        kept = _KeptOutputs.load(self._outputs_path, public_key)
        missing = [identifier for identifier in identifiers if identifier not in kept]
        if missing or kind.value not in kept.batches:
            self._check_batches_left(kind, kept)
            kept.add(kind, self._evaluate(missing, public_key))
        return {identifier: kept[identifier] for identifier in identifiers}

    def _check_batches_left(self, kind: TableKind, kept: _KeptOutputs) -> None:
        """Keep one of the plan's batches for scoring, however often the training file changes."""
        member = self._plan.member(self._company)
        reserved = 1 if kind is TableKind.TRAIN and TableKind.SCORE.value not in kept.batches else 0
        if (len(kept.batches) + 1 + reserved) * member.padded_batch > member.evaluations:
            raise BudgetExceededError(
                "alignment: expected an evaluation left for each table, another batch would use it up",
                code=Refusal.EVALUATION_LIMIT,
            )

    def _evaluate(self, identifiers: Sequence[bytes], public_key: bytes) -> dict[bytes, bytes]:
        """One batch: blinded identifiers and random dummies, evaluated and verified."""
        batch = self._plan.member(self._company).padded_batch
        if len(identifiers) > batch:
            raise DataError(
                f"alignment: expected at most the declared {batch} applicants, got {len(identifiers)}",
                code="MORE_THAN_DECLARED",
            )
        dummies = [b"dummy\0" + secrets.token_bytes(DUMMY_BYTES) for _ in range(batch - len(identifiers))]
        blinding = oprf.blind([*identifiers, *dummies])
        evaluated, proof = self._platform.evaluate(self._plan.campaign, blinding.blinded_elements)
        outputs = oprf.finalize(blinding, evaluated, proof, public_key)
        return dict(zip(identifiers, outputs, strict=False))  # without the dummies' outputs

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

    def _only(self, kind: EntryKind) -> SignedEntry:
        """The one entry of this kind that concerns us; a second would let the platform tell us apart."""
        found = [item.entry for item in self._proven() if item.entry.kind is kind]
        if not found:
            raise RemoteProtocolError(Refusal.NOT_AVAILABLE.sentence, code=Refusal.NOT_AVAILABLE)
        if len(found) > 1:
            raise VerificationError(f"ledger: expected one {kind} entry for us, got {len(found)}")
        return found[0]

    def _proven(self) -> list[VerifiedEntry]:
        """The campaign's entries about us."""
        campaign = self._plan.campaign
        proof = self._platform.get_proof(campaign, known_tree_size=self._watch.known_tree_size)
        about = (campaign, self._company)
        return [
            item for item in self._watch.accept(proof) if (item.entry.campaign, item.entry.company) == about
        ]

    def _read_table(self, manifest: TableManifest, outputs: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
        """Fetch every chunk, each verified before it is used; a broken stream is taken up where it broke.

        Raises:
            VerificationError: if what comes is still not what the ledger says after some attempts.
            PlatformUnavailableError: if it does not come.
        """
        reading = _Reading(manifest, outputs)
        for attempt in range(FETCH_ATTEMPTS):
            try:
                self._read_on(reading)
                break
            except (PlatformUnavailableError, VerificationError):
                if attempt == FETCH_ATTEMPTS - 1:
                    raise
                self._sleep(FIRST_PAUSE_SECONDS * 2**attempt)
        return reading.rows

    def _read_on(self, reading: _Reading) -> None:
        context = reading.manifest.context
        parts = self._platform.fetch_table(context.campaign, context.kind, first_chunk=reading.next_index)
        for part in parts:
            reading.take(part.index, part.chunk, part.chunk_hashes)
        reading.check_complete()


class _Reading:
    """A table on its way in: which chunk is next, and what was opened so far."""

    def __init__(self, manifest: TableManifest, outputs: Mapping[bytes, bytes]) -> None:
        self.manifest = manifest
        self.next_index = 0
        self._outputs = outputs
        self._reader: TableReader[bytes] | None = None

    def take(self, index: int, chunk: bytes, chunk_hashes: tuple[bytes, ...]) -> None:
        """Verify and open one part; VerificationError leaves everything as it was."""
        if self._reader is None:
            self._reader = TableReader(self.manifest, chunk_hashes, self._outputs)
        if index != self.next_index:
            raise VerificationError(f"sealed table: expected chunk {self.next_index}, got another")
        self._reader.feed(index, chunk)
        self.next_index += 1

    def check_complete(self) -> None:
        """Raise PlatformUnavailableError if the stream ended early."""
        if self.next_index != self.manifest.chunk_count:
            raise PlatformUnavailableError("sealed table: expected every chunk, the stream ended early")

    @property
    def rows(self) -> dict[bytes, bytes]:
        """The opened payloads; only after the last chunk."""
        if self._reader is None:
            raise PlatformUnavailableError("sealed table: expected chunks, got none")
        return self._reader.rows


class _KeptOutputs:
    """`oprf.json`: evaluated identifiers of a campaign, by hash, and for which tables batches were sent."""

    def __init__(self, path: Path, public_key: bytes, batches: list[str], outputs: dict[str, bytes]) -> None:
        self._path = path
        self._public_key = public_key
        self.batches = batches
        self._outputs = outputs

    @classmethod
    def load(cls, path: Path, public_key: bytes) -> _KeptOutputs:
        """What was kept under this key; VerificationError if it was kept under another."""
        if not path.exists():
            return cls(path, public_key, [], {})
        try:
            body = canonical_json.parse_object(path.read_bytes())
            outputs = {name: bytes.fromhex(value) for name, value in body["outputs"].items()}
            batches, kept_key = list(body["batches"]), bytes.fromhex(body["public_key"])
        except (NorenError, KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(
                f"{path.name}: expected what alignment kept, got another file"
            ) from error
        if kept_key != public_key:
            raise VerificationError("alignment: expected the key of the first alignment, got another")
        return cls(path, public_key, batches, outputs)

    def __contains__(self, identifier: bytes) -> bool:
        return _name(identifier) in self._outputs

    def __getitem__(self, identifier: bytes) -> bytes:
        return self._outputs[_name(identifier)]

    def add(self, kind: TableKind, outputs: Mapping[bytes, bytes]) -> None:
        """Keep verified outputs, on disk before they are used: they are paid for."""
        self._outputs.update({_name(identifier): output for identifier, output in outputs.items()})
        self.batches.append(kind.value)
        body = {
            "batches": self.batches,
            "outputs": {name: output.hex() for name, output in self._outputs.items()},
            "public_key": self._public_key.hex(),
        }
        write_private(self._path, canonical_json.encode(body))


def _name(identifier: bytes) -> str:
    return hashlib.sha256(identifier).hexdigest()
