"""Scoring under encryption: a company's proven heads, and ciphertexts for every consenting student.

docs/protocol.md §5 and §10.4. Promises: heads are used only after their range proof verified and their
commitment is in the ledger; a company has one message of heads per score season, whatever restarts in between
(q heads read q linear functions of a student's features); the platform computes with what it cannot decrypt;
nobody is scored for a company before its gate was opened, and a table is served only if it was made after the
gate was opened last. Score tables are built in the background, one at a time, in constant memory; a build
that a crash interrupted is begun again at the next start, and one that a suspension ended when it is asked
for afterwards.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from noren_core.crypto.head_encryption import EncryptedHead, verify_head
from noren_core.crypto.oprf import OprfPrivateKey
from noren_core.crypto.scorer import Scorer
from noren_core.errors import DataError, LocalProtocolError, NorenError, RemoteProtocolError
from noren_core.ids import TableKind
from noren_core.ledger.entries import EntryKind, SignedEntry
from noren_core.season.head_message import commitment_body, head_binding, head_layout
from noren_core.season.plan import CampaignPlan
from noren_core.season.score_payload import ADDRESS_BYTES, score_payload_bytes
from noren_core.wire.refusal import Refusal
from noren_server import alignment
from noren_server.gate import newest_opening
from noren_server.head_limit import season_heads
from noren_server.ledger_service import LedgerService
from noren_server.store import CampaignState, Store, StoredHead, StoredTable
from noren_server.tables import TablePublisher

_LOG = logging.getLogger(__name__)
_BLOCK_STUDENTS = 16_384


@dataclass(frozen=True, slots=True)
class ScoreRows:
    """Students of one company: normalised identifiers and int8 features, row by row.

    Attributes:
        identifiers: as the company sends them.
        features: one row each.
        addresses: 48 bytes each, disclosure key ‖ mailbox, where the student's own copy of her score is to
            go (`noren_core.season.score_payload`); none for rows that are not scored.
    """

    identifiers: Sequence[bytes] = field(repr=False)
    features: npt.NDArray[np.int8] = field(repr=False)
    addresses: Sequence[bytes] = field(default=(), repr=False)


ScoreRowsSource = Callable[[CampaignPlan, str], ScoreRows]
"""Gives the rows of one kind for one company: of those whose consent is live at the time of the call.

For scoring, of those among them who acknowledged the company's offer notice.
"""

IsRunning = Callable[[str, str], bool]
"""Whether nothing that concerns a company and a campaign is suspended."""


class SealedScoring:
    """Accepts heads and builds score tables for one platform."""

    def __init__(
        self,
        store: Store,
        ledger: LedgerService,
        publisher: TablePublisher,
        rows: ScoreRowsSource,
        *,
        is_running: IsRunning = lambda _company, _campaign: True,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._publisher = publisher
        self._rows = rows
        self._is_running = is_running
        self._builder = ThreadPoolExecutor(max_workers=1, thread_name_prefix="score-table")
        self._lock = threading.Lock()
        self._begun: set[tuple[str, str]] = set()

    def accept_head(self, plan: CampaignPlan, company: str, head: bytes, commitment: SignedEntry) -> int:
        """Take a company's head for scoring; the ledger index of its commitment.

        1. The commitment, whose signature the caller verified, is to exactly this head and layout.
        2. Every weight is proved to be in range, under this plan and company.
        3. In one transaction: the message is the company's first for this score season, and its
           commitment enters the ledger. The very same message again is answered again.
        4. The score table is begun, if the gate is open.

        Raises:
            RemoteProtocolError, VerificationError: if step 1 or 2 fails; nothing is kept.
            LocalProtocolError: with code HEAD_LIMIT, if there is another message already.
        """
        _check_commitment(plan, company, head, commitment)  # 1
        _verified_head(plan, company, head)  # 2
        with self._store.transaction() as transaction:  # 3
            index = self._committed(plan, company, commitment)
            is_new = transaction.head(plan.campaign, company) is None
            if is_new:
                transaction.add_head(StoredHead(plan.campaign, company, head))
        if is_new:
            self.gate_opened(plan, company)  # 4
        return index

    def gate_opened(self, plan: CampaignPlan, company: str) -> None:
        """Begin the company's score table, if its gate is open, a head was accepted and none is newer."""
        if self._is_wanted(plan.campaign, company):
            self._begin(plan, company)

    def resume(self) -> None:
        """Begin the missing score tables of open campaigns; call once at start."""
        with self._store.transaction() as transaction:
            companies = [(head.campaign, head.company) for head in transaction.heads()]
            plans = {plan.campaign: plan for plan in transaction.open_campaigns()}
        for campaign, company in companies:
            if campaign in plans:
                self.gate_opened(plans[campaign], company)

    def table(self, campaign: str, company: str) -> StoredTable | None:
        """The company's score table, if it was made after its gate was opened last."""
        opened = newest_opening(self._ledger.store, campaign, company)
        stored = self._publisher.table(campaign, company, TableKind.SCORE)
        if opened is None or stored is None:
            return None
        table_id = stored.manifest.context.table_id.hex()
        entries = self._ledger.store.entries(kind=EntryKind.TABLE, campaign=campaign, company=company)
        made_at = [item.index for item in entries if item.entry.body["manifest"]["table_id"] == table_id]
        return stored if made_at and made_at[0] > opened else None

    def publish_score_table(self, plan: CampaignPlan, company: str) -> None:
        """Make the company's score table, unless there is a newer one than its gate's last opening.

        Raises:
            LocalProtocolError: with code GATE_NOT_OPEN, before the gate was opened; if there is no head.
            DataError: if the rows do not fit the plan.
            LocalProtocolError: with code SERVICE_SUSPENDED, as soon as the service does not run for both.
        """
        if newest_opening(self._ledger.store, plan.campaign, company) is None:
            raise LocalProtocolError(Refusal.GATE_NOT_OPEN.sentence, code=Refusal.GATE_NOT_OPEN)
        if self.table(plan.campaign, company) is None:
            self._seal(plan, company)

    def refresh(self, campaign: str) -> None:
        """Seal again the score tables of all companies of a campaign whose gate is open, and replace them.

        Companies for which the service does not run are left out; their old tables and lists stay.

        Who consented, withdrew or acknowledged an offer notice since is in the new tables as she wants to be.
        All are made at one time, so that a new table says nothing about one company's students. The
        revocation lists of the old tables are forgotten with them.

        Raises:
            LocalProtocolError: with code NOT_AVAILABLE, if the campaign is not open; if a table cannot be
                made.
            DataError: if rows do not fit the plan.
        """
        with self._store.transaction() as transaction:
            known = transaction.campaign(campaign)
            heads = {head.company for head in transaction.heads() if head.campaign == campaign}
        if known is None or known.state is not CampaignState.OPEN:
            raise LocalProtocolError(Refusal.NOT_AVAILABLE.sentence, code=Refusal.NOT_AVAILABLE)
        running = [company for company in sorted(heads) if self._is_running(company, campaign)]
        opened = [c for c in running if newest_opening(self._ledger.store, campaign, c) is not None]
        for build in [self._builder.submit(self._seal, known.plan, company) for company in opened]:
            build.result()

    def _is_wanted(self, campaign: str, company: str) -> bool:
        with self._store.transaction() as transaction:
            has_head = transaction.head(campaign, company) is not None
        is_open = newest_opening(self._ledger.store, campaign, company) is not None
        return has_head and is_open and self.table(campaign, company) is None

    def _seal(self, plan: CampaignPlan, company: str) -> None:
        """Score every student of the season who is to be scored under the company's heads."""
        with self._store.transaction() as transaction:
            stored = transaction.head(plan.campaign, company)
        if stored is None:
            raise LocalProtocolError("score table: expected an accepted head, got none")
        self._verify_running(plan, company)  # no consent counts while it does not: there would be no rows
        rows = self._rows(plan, company)
        _check_rows(plan, rows)
        scorer = Scorer(_verified_head(plan, company, stored.head))
        key = alignment.oprf_key(self._store, plan.campaign, company, TableKind.SCORE)
        self._publisher.publish(
            plan,
            company,
            TableKind.SCORE,
            _scored(key, scorer, rows, verify=lambda: self._verify_running(plan, company)),
            count=len(rows.identifiers),
            payload_bytes=score_payload_bytes(plan),
            identifiers=rows.identifiers,
        )

    def _verify_running(self, plan: CampaignPlan, company: str) -> None:
        if not self._is_running(company, plan.campaign):
            raise LocalProtocolError(Refusal.SERVICE_SUSPENDED.sentence, code=Refusal.SERVICE_SUSPENDED)

    def close(self) -> None:
        """Finish the table that is being built, drop those that wait (`resume` begins them again)."""
        self._builder.shutdown(wait=True, cancel_futures=True)

    def _committed(self, plan: CampaignPlan, company: str, commitment: SignedEntry) -> int:
        """Where the commitment stands in the ledger, which holds one per company and score season.

        The ledger decides and not our table: it has what a crash kept from the table.
        """
        known = season_heads(self._ledger.store, company, plan.score_season)
        if not known:
            return self._ledger.append_company_entry(commitment)
        if known[0].entry.body != commitment.body:
            raise LocalProtocolError(Refusal.HEAD_LIMIT.sentence, code=Refusal.HEAD_LIMIT)
        return known[0].index

    def _begin(self, plan: CampaignPlan, company: str) -> None:
        """Once, however often it is asked for."""
        place = (plan.campaign, company)
        with self._lock:
            if place in self._begun:
                return
            self._begun.add(place)

        def ended(build: Future[None]) -> None:
            with self._lock:
                self._begun.discard(place)
            _log_failure(build)

        self._builder.submit(self.publish_score_table, plan, company).add_done_callback(ended)


def _check_commitment(plan: CampaignPlan, company: str, head: bytes, commitment: SignedEntry) -> None:
    expected = commitment_body(plan, company, head)
    if commitment.kind is not EntryKind.HEAD_COMMITMENT or commitment.body != expected:
        raise RemoteProtocolError("head: expected the entry that commits to it, got another")


def _verified_head(plan: CampaignPlan, company: str, head: bytes) -> EncryptedHead:
    return verify_head(head, head_layout(plan), binding=head_binding(plan, company))


def _scored(
    key: OprfPrivateKey, scorer: Scorer, rows: ScoreRows, *, verify: Callable[[], None]
) -> Iterator[tuple[bytes, bytes]]:
    """(OPRF output, payload) of every student, some thousands at a time; `verify` is asked before each."""
    for start in range(0, len(rows.identifiers), _BLOCK_STUDENTS):
        verify()
        block = slice(start, start + _BLOCK_STUDENTS)
        outputs = alignment.evaluate_identifiers(key, rows.identifiers[block])
        scores = scorer.score(rows.features[block])
        for output, ciphertexts, address in zip(outputs, scores, rows.addresses[block], strict=True):
            yield output, ciphertexts + address


def _check_rows(plan: CampaignPlan, rows: ScoreRows) -> None:
    expected = (len(rows.identifiers), plan.release.dimensions)
    if rows.features.dtype != np.int8 or rows.features.shape != expected:
        raise DataError(f"score features: expected int8 of {expected[1]} columns, got another array")
    if len(rows.addresses) != len(rows.identifiers) or any(
        len(address) != ADDRESS_BYTES for address in rows.addresses
    ):
        raise DataError(f"score addresses: expected {ADDRESS_BYTES} bytes for every row, got others")
    if len(set(rows.identifiers)) != len(rows.identifiers):
        raise DataError("score features: expected each identifier once, got one twice")


def _log_failure(build: Future[None]) -> None:
    if build.cancelled() or (error := build.exception()) is None:
        return
    code = error.code if isinstance(error, NorenError) else type(error).__name__
    _LOG.error("score table was not built: %s", code)
