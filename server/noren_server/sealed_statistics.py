"""Sealed statistics: a company's encrypted weights in, encrypted noisy sums of its students' rows out.

docs/protocol.md §9. Promises: rows and noise are committed to in the ledger before a message is read; a
message is used only after its proof verified, and a company has one for a campaign, by the ledger, whatever
restarts in between; the one answer is on disk before it leaves, and the identical message gets it again. No
row leaves the platform. Rows, seed and message are kept until the campaign's answers need not be explained
any more, so that an auditor on the premises can compute each again.

    statistics/<campaign>/<company>.rows       n·d int8, in the table's order: zeros for dummies and withdrawn
    statistics/<campaign>/<company>.weights    the company's message, all parts one after the other
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from noren_core.crypto.sealed_sums import AnswerSeed, SealedSums
from noren_core.crypto.sealed_table import TAG_BYTES, row_secrets
from noren_core.errors import LocalProtocolError, RemoteProtocolError, VerificationError
from noren_core.ids import TableKind
from noren_core.ledger.entries import EntryKind, SignedEntry
from noren_core.privacy.discrete_gaussian import NoiseStream, sample
from noren_core.season.plan import CampaignPlan, TrainingMode
from noren_core.season.weights_message import (
    answer_body,
    rows_body,
    weight_layout,
    weights_binding,
    weights_body,
)
from noren_core.wire.refusal import Refusal
from noren_local.private_file import sync_directory, write_private
from noren_server import alignment
from noren_server.ledger_service import LedgerService
from noren_server.ledger_store import StoredEntry
from noren_server.sealed_scoring import ScoreRowsSource
from noren_server.store import CampaignState, Store, StoredTable
from noren_server.tables import TablePublisher

MAX_ATTEMPTS = 8
"""Messages of a company that are read for a campaign, between two starts of the service."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a company gets: its sums, and where the ledger says what about them."""

    sums: bytes = field(repr=False)
    indices: tuple[int, int, int]
    """Of the entries statistics-rows, weights-commitment and statistics-answer."""


@dataclass(frozen=True, slots=True)
class Recomputed:
    """An answer that came out again, and the entries that it was compared with."""

    indices: tuple[int, int, int]
    answer_sha256: str


class SealedStatistics:
    """Commits to rows and answers messages of weights, for one platform."""

    def __init__(
        self,
        store: Store,
        ledger: LedgerService,
        publisher: TablePublisher,
        rows: ScoreRowsSource,
        directory: Path,
    ) -> None:
        """Prepare; `rows` gives the rows of a company's training table whose consent is live."""
        self._store = store
        self._ledger = ledger
        self._publisher = publisher
        self._rows = rows
        self._directory = directory
        self._lock = threading.Lock()
        self._busy: set[tuple[str, str]] = set()
        self._attempts: Counter[tuple[str, str]] = Counter()

    def commit_rows(self, plan: CampaignPlan, company: str) -> int:
        """Fix what the company's sums will be made of; the ledger index of the commitment.

        Whose consent was withdrawn by now has zeros. The first call decides; later ones say the same.

        1. Put the rows in the table's order.
        2. Keep them, and a fresh seed; from here on both stand.
        3. Commit to them in the ledger.

        Raises:
            LocalProtocolError: with code NOT_AVAILABLE, if the plan is of the other mode, there is no table,
                or what was committed to is lost; NOT_READY, if another call of this company is answered.
        """
        table = self._table(plan, company)
        with self._exclusively(plan, company):
            seed = self._seed(plan, company)
            if seed is None:
                if self._entries(EntryKind.STATISTICS_ROWS, plan, company):
                    raise _refused(Refusal.NOT_AVAILABLE)  # with other noise, the first would be half undone
                seed = self._keep_rows(plan, table)  # 1, 2
            body = self._rows_body(plan, table, seed)
            return self._append_once(EntryKind.STATISTICS_ROWS, plan, company, body)  # 3

    @contextmanager
    def receiving(self, plan: CampaignPlan, company: str) -> Iterator[Receiving]:
        """Take a company's message, part by part, and answer it; what is not accepted leaves nothing.

        Raises:
            LocalProtocolError: with code NOT_AVAILABLE, as `commit_rows`; NOT_READY, if rows were not
                committed to, or another call of this company is being answered; TOO_MANY_ATTEMPTS.
        """
        table = self._table(plan, company)
        with self._exclusively(plan, company):
            committed = self._entries(EntryKind.STATISTICS_ROWS, plan, company)
            seed = self._seed(plan, company)
            if not committed or seed is None:
                raise _refused(Refusal.NOT_READY)
            if committed[0].entry.body != self._rows_body(plan, table, seed):
                raise _refused(Refusal.NOT_AVAILABLE)
            self._attempts[plan.campaign, company] += 1
            if self._attempts[plan.campaign, company] > MAX_ATTEMPTS:
                raise _refused(Refusal.TOO_MANY_ATTEMPTS)
            directory = self._place(table, "weights").parent
            with tempfile.NamedTemporaryFile(dir=directory, suffix=".part", delete=False) as file:
                try:
                    yield Receiving(self, plan, table, seed, file, committed[0].index)
                finally:
                    Path(file.name).unlink(missing_ok=True)

    def recompute(self, plan: CampaignPlan, company: str) -> Recomputed:
        """Compute a company's answer again from what is kept, and compare it with the ledger.

        1. Rows and seed are those of the `statistics-rows` entry.
        2. The message is that of the `weights-commitment`, its proof holds, and no row is longer than 127.
        3. The answer is that of the `statistics-answer`.
        That the rows are those students' is not shown by it: whoever audits compares them with the logs.

        Raises:
            VerificationError: saying which of them differs.
            LocalProtocolError: if there was no answer, or what it was made of was forgotten.
        """
        table, seed = self._table(plan, company), self._seed(plan, company)
        found = [
            self._entries(kind, plan, company)
            for kind in (
                EntryKind.STATISTICS_ROWS,
                EntryKind.WEIGHTS_COMMITMENT,
                EntryKind.STATISTICS_ANSWER,
            )
        ]
        message = self._place(table, "weights")
        if seed is None or not all(found) or not message.exists():
            raise LocalProtocolError(
                "statistics: expected an answer whose rows and message are kept, got none"
            )
        if [len(entries) for entries in found] != [1, 1, 1]:
            raise VerificationError(
                "ledger: expected one entry of each kind for a company, got another number"
            )
        committed, weights, answered = (entries[0] for entries in found)
        if committed.entry.body != self._rows_body(plan, table, seed):  # 1
            raise VerificationError("statistics: expected the rows and seed of the ledger, got others")
        sums, layout = self.sums(plan, table), weight_layout(plan, table.manifest)
        with message.open("rb") as file:  # 2
            for length in layout.part_lengths:
                sums.add(file.read(length))
        if weights.entry.body != weights_body(table.manifest, sums.commitment):
            raise VerificationError("statistics: expected the message of the ledger, got another")
        expected = answer_body(table.manifest, weights=weights.index, answer=_released(sums, plan, seed))
        if answered.entry.body != expected:  # 3
            raise VerificationError("statistics: expected the answer of the ledger, got another")
        return Recomputed((committed.index, weights.index, answered.index), str(expected["answer_sha256"]))

    def forget(self, plan: CampaignPlan) -> None:
        """Remove rows, seeds and messages of a closed campaign: its answers cannot be computed again.

        Raises:
            LocalProtocolError: if the campaign is open.
        """
        with self._store.transaction() as transaction:
            known = transaction.campaign(plan.campaign)
            if known is None or known.state is not CampaignState.CLOSED:
                raise LocalProtocolError("statistics: expected a closed campaign, got one that is open")
            transaction.forget_answer_seeds(plan.campaign)
        for path in sorted((self._directory / plan.campaign).glob("*")):
            path.unlink()

    def accept(
        self,
        plan: CampaignPlan,
        table: StoredTable,
        commitment: SignedEntry,
        file: IO[bytes],
        *,
        message: Path,
    ) -> int:
        """Put a proved message's commitment in the ledger, and the message where it is kept; the index.

        The ledger decides whether it is the company's first, as it has what a crash kept from our files.
        """
        company = table.manifest.context.company
        with self._store.transaction():
            known = self._entries(EntryKind.WEIGHTS_COMMITMENT, plan, company)
            if known and known[0].entry.body != commitment.body:
                raise _refused(Refusal.WEIGHTS_LIMIT)
            file.flush()
            os.fsync(file.fileno())
            kept = self._place(table, "weights")
            message.replace(kept)
            sync_directory(kept.parent)
            return known[0].index if known else self._ledger.append_company_entry(commitment)

    def answered(
        self, plan: CampaignPlan, table: StoredTable, weights: int, sums: bytes
    ) -> tuple[int, bytes]:
        """Keep the answer, then put its hash in the ledger: the index, and the answer that stands."""
        company = table.manifest.context.company
        with self._store.transaction() as transaction:
            standing = transaction.sealed_sums(plan.campaign, company)
            if standing is None:
                transaction.add_sealed_sums(plan.campaign, company, sums)
                standing = sums
        body = answer_body(table.manifest, weights=weights, answer=standing)
        return self._append_once(EntryKind.STATISTICS_ANSWER, plan, company, body), standing

    def sums(self, plan: CampaignPlan, table: StoredTable) -> SealedSums:
        """The sums of the kept rows, before any part of a message."""
        rows, binding = self._kept_rows(table), weights_binding(plan, table.manifest)
        return SealedSums(weight_layout(plan, table.manifest), rows, binding=binding)

    def _table(self, plan: CampaignPlan, company: str) -> StoredTable:
        table = self._publisher.table(plan.campaign, company, TableKind.TRAIN)
        if plan.mode is not TrainingMode.SEALED_STATISTICS or table is None:
            raise _refused(Refusal.NOT_AVAILABLE)
        return table

    @contextmanager
    def _exclusively(self, plan: CampaignPlan, company: str) -> Iterator[None]:
        """One call of a company at a time: each costs memory and a core."""
        call = (plan.campaign, company)
        with self._lock:
            if call in self._busy:
                raise _refused(Refusal.NOT_READY)
            self._busy.add(call)
        try:
            yield
        finally:
            with self._lock:
                self._busy.remove(call)

    def _seed(self, plan: CampaignPlan, company: str) -> AnswerSeed | None:
        with self._store.transaction() as transaction:
            return transaction.answer_seed(plan.campaign, company)

    def _keep_rows(self, plan: CampaignPlan, table: StoredTable) -> AnswerSeed:
        rows = self._in_order(plan, table)
        with self._store.transaction() as transaction:
            write_private(self._place(table, "rows"), rows.tobytes())
            seed = AnswerSeed.generate()
            transaction.add_answer_seed(plan.campaign, table.manifest.context.company, seed)
        return seed

    def _in_order(self, plan: CampaignPlan, table: StoredTable) -> npt.NDArray[np.int8]:
        """(n, d): the row of every position of the table; zeros where there is none, or none any more."""
        manifest = table.manifest
        rows = self._rows(plan, manifest.context.company)
        key = alignment.oprf_key(self._store, plan.campaign, manifest.context.company, TableKind.TRAIN)
        outputs = alignment.evaluate_identifiers(key, rows.identifiers)
        with self._store.transaction() as transaction:
            revoked = transaction.revocations(manifest.context.table_id).tags
        place = {row_secrets(output, manifest.context)[0]: at for at, output in enumerate(outputs)}
        ordered = np.zeros((manifest.padded_rows, plan.statistics.dimensions), dtype=np.int8)
        position = 0
        for _, chunk in self._publisher.chunks(table, 0):
            for start in range(0, len(chunk), manifest.row_bytes):
                tag = chunk[start : start + TAG_BYTES]
                if tag in place and tag not in revoked:
                    ordered[position] = rows.features[place[tag]]
                position += 1
        return ordered

    def _kept_rows(self, table: StoredTable) -> npt.NDArray[np.int8]:
        data = self._place(table, "rows").read_bytes()
        return np.frombuffer(data, dtype=np.int8).reshape(table.manifest.padded_rows, -1)

    def _rows_body(self, plan: CampaignPlan, table: StoredTable, seed: AnswerSeed) -> dict[str, Any]:
        """The commitment to the rows that are kept."""
        binding = weights_binding(plan, table.manifest)
        return rows_body(table.manifest, seed.commit(self._kept_rows(table), binding=binding))

    def _append_once(self, kind: EntryKind, plan: CampaignPlan, company: str, body: dict[str, Any]) -> int:
        """The index of the one entry of this kind about the company, which says `body`.

        Raises:
            LocalProtocolError: with code NOT_AVAILABLE, if the ledger has one that says something else: our
                files or database are older than the ledger.
        """
        with self._store.transaction():
            known = self._entries(kind, plan, company)
            if known and known[0].entry.body != body:
                raise _refused(Refusal.NOT_AVAILABLE)
            return known[0].index if known else self._ledger.append_platform_entry(kind, body)

    def _entries(self, kind: EntryKind, plan: CampaignPlan, company: str) -> list[StoredEntry]:
        return self._ledger.store.entries(kind=kind, campaign=plan.campaign, company=company)

    def _place(self, table: StoredTable, what: str) -> Path:
        context = table.manifest.context
        return self._directory / context.campaign / f"{context.company}.{what}"


class Receiving:
    """One message on its way in."""

    def __init__(
        self,
        statistics: SealedStatistics,
        plan: CampaignPlan,
        table: StoredTable,
        seed: AnswerSeed,
        file: IO[bytes],
        rows_index: int,
    ) -> None:
        self._statistics = statistics
        self._plan = plan
        self._table = table
        self._seed = seed
        self._file = file
        self._rows_index = rows_index
        self._sums = statistics.sums(plan, table)
        self._left = len(weight_layout(plan, table.manifest).part_lengths)

    def add(self, part: bytes) -> None:
        """Take the next part.

        Raises:
            RemoteProtocolError: if it has another length or is one too many, or a point is none.
            VerificationError: if the proof does not hold. Then nothing of the message is kept.
        """
        if not self._left:
            raise _violation()
        self._left -= 1
        self._sums.add(part)
        self._file.write(part)

    def answer(self, commitment: SignedEntry) -> Answer:
        """The answer to the whole message.

        1. All parts came, and the entry, whose signature the caller verified, commits to them.
        2. In one transaction: it is the company's first message for the campaign, it is kept, and its
           commitment enters the ledger. The very same message again is answered again.
        3. The answer is kept, then its hash enters the ledger; only then it leaves.

        Raises:
            RemoteProtocolError: if step 1 fails.
            LocalProtocolError: with code WEIGHTS_LIMIT, if there is another message already.
        """
        statistics, table = self._statistics, self._table
        if not self._sums.is_proved or commitment.kind is not EntryKind.WEIGHTS_COMMITMENT:  # 1
            raise _violation()
        if commitment.body != weights_body(table.manifest, self._sums.commitment):
            raise _violation()
        weights = statistics.accept(  # 2
            self._plan, table, commitment, self._file, message=Path(self._file.name)
        )
        released = _released(self._sums, self._plan, self._seed)  # 3
        answered, sums = statistics.answered(self._plan, table, weights, released)
        return Answer(sums, (self._rows_index, weights, answered))


def _released(sums: SealedSums, plan: CampaignPlan, seed: AnswerSeed) -> bytes:
    """The answer with the noise that the seed gives."""
    statistics = plan.statistics
    noise = sample(statistics.dimensions, variance=statistics.variance, stream=NoiseStream(seed.noise_key))
    return sums.release(noise=noise, seed=seed)


def _refused(refusal: Refusal) -> LocalProtocolError:
    return LocalProtocolError(refusal.sentence, code=refusal)


def _violation() -> RemoteProtocolError:
    return RemoteProtocolError("weights: expected every part of the message and its commitment, got others")
