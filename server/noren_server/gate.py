"""The platform's side of the gate: sealed decision batches, and evaluation under the score key.

docs/protocol.md §10. Promises: nothing is evaluated under a score key but the very elements that a
`decision-batch` entry of the company committed to, not before the cooling time after the platform accepted
that entry, and not while agreement, coverage or service forbid it; the ledger says that the gate was opened
before the company has the answer. The same elements again are answered again: they tell nothing new. The
platform never learns how many of them are applicants with an offer.

Left to the caller: that the company accepted the plan, and that its signature on an entry was verified.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from noren_core.errors import LocalProtocolError, RemoteProtocolError
from noren_core.ids import TableKind
from noren_core.ledger.entries import EntryKind, SignedEntry
from noren_core.rights.gate.conditions import GateReason, PlatformFacts, platform_reasons
from noren_core.rights.gate.decision_batch import evaluation_sha256
from noren_core.season.plan import CampaignPlan
from noren_core.wire.refusal import Refusal
from noren_server.alignment import evaluate_batch
from noren_server.ledger_service import LedgerService
from noren_server.ledger_store import LedgerStore, StoredEntry
from noren_server.store import Store

CLOCK_SECONDS = 600
MAX_MIRROR_DEPOSITS = 500

_REFUSALS = {
    GateReason.BATCH_LIMIT: Refusal.BATCH_LIMIT,
    GateReason.COVERAGE_NOT_CLEAR: Refusal.LAUNCH_BLOCKED,
    GateReason.SERVICE_SUSPENDED: Refusal.SERVICE_SUSPENDED,
}  # GATE_NOT_OPEN for the rest


@dataclass(frozen=True, slots=True)
class GatedEvaluation:
    """The answer to a batch for scoring, and where the two entries that allowed it stand in the ledger."""

    evaluated: list[bytes]
    proof: bytes
    decision_batch: int
    gate_opened: int


class Gate:
    """Decides for every company and campaign of one platform what may be evaluated for scoring."""

    def __init__(
        self,
        store: Store,
        ledger: LedgerService,
        *,
        clock: Callable[[], int],
        is_running: Callable[[str, str], bool],
        is_covered: Callable[[str], bool],
    ) -> None:
        """Decide by these facts.

        Args:
            store: the platform's.
            ledger: the platform's.
            clock: Unix seconds.
            is_running: whether nothing that concerns a company and a campaign is suspended.
            is_covered: whether a campaign has an attested, clear and fresh coverage report.
        """
        self._store = store
        self._ledger = ledger
        self._clock = clock
        self._is_running = is_running
        self._is_covered = is_covered

    def require_running(self, plan: CampaignPlan, company: str) -> None:
        """Raise LocalProtocolError with code SERVICE_SUSPENDED unless the service runs for both."""
        if not self._is_running(company, plan.campaign):
            raise _refused(Refusal.SERVICE_SUSPENDED)

    def require_open(self, plan: CampaignPlan, company: str) -> None:
        """Raise LocalProtocolError with code GATE_NOT_OPEN unless the company's gate was opened once."""
        if newest_opening(self._ledger.store, plan.campaign, company) is None:
            raise _refused(Refusal.GATE_NOT_OPEN)

    def accept_batch(self, plan: CampaignPlan, entry: SignedEntry) -> int:
        """Append a company's decision batch; its index. The same batch again keeps its place.

        1. The plan has room for it.
        2. It is the company's next one, sealed now as far as clocks agree; neither its root nor its elements
           are those of another batch.
        3. Append it, and remember when: the cooling time begins.

        Raises:
            LocalProtocolError: with code BATCH_LIMIT, if step 1 fails.
            RemoteProtocolError: if step 2 fails. Nothing is appended.
        """
        now, body = self._clock(), entry.body
        with self._store.transaction() as transaction:  # no two batches at once
            known = self._batches(plan.campaign, body["company"])
            index = next((item.index for item in known if item.entry.body == body), None)
            if index is None:
                if len(known) >= plan.gate.batches:  # 1
                    raise _refused(Refusal.BATCH_LIMIT)
                _verify_next(known, entry, now)  # 2
                index = self._ledger.append_company_entry(entry)  # 3
            transaction.decision_batch_accepted_at(index, now=now)
        return index

    def accept_mirror_deposit(self, plan: CampaignPlan, entry: SignedEntry) -> int:
        """Append a company's commitment to the copies that it deposits; its index.

        Raises:
            LocalProtocolError: with code GATE_NOT_OPEN, before there can be anything to copy.
            RemoteProtocolError: if its time is not now, or the company has made very many already.
        """
        company = entry.body["company"]
        self.require_open(plan, company)
        about = {"campaign": plan.campaign, "company": company}
        with self._store.transaction():
            known = self._ledger.store.entries(kind=EntryKind.MIRROR_DEPOSIT, **about)
            index = next((item.index for item in known if item.entry.body == entry.body), None)
            if index is not None:
                return index
            if len(known) >= MAX_MIRROR_DEPOSITS or _is_far(entry.body["deposited_at"], self._clock()):
                raise RemoteProtocolError("mirror deposit: expected one of now, and not very many")
            return self._ledger.append_company_entry(entry)

    def evaluate(
        self, plan: CampaignPlan, company: str, *, decision_batch: int, blinded: Sequence[bytes]
    ) -> GatedEvaluation:
        """Evaluate the elements of one decision batch under the company's score key.

        1. An entry of this company and campaign at that index commits to exactly these elements.
        2. If the gate was not opened for it before: everything that the platform can know holds, the cooling
           time among it. In any case the service runs.
        3. Evaluate, and keep the answer here.
        4. Say so in the ledger, once for each batch; then answer.

        Args:
            plan: one that the company accepted.
            company: the caller.
            decision_batch: index of the entry.
            blinded: the plan's padded batch.

        Raises:
            LocalProtocolError: with code GATE_NOT_OPEN, BATCH_LIMIT, LAUNCH_BLOCKED_COVERAGE or
                SERVICE_SUSPENDED, if step 1 or 2 fails; nothing is evaluated.
            RemoteProtocolError: as `alignment.evaluate_batch`.
        """
        self.require_running(plan, company)
        found = self._committed(plan.campaign, company, decision_batch, blinded)  # 1
        if found is None:  # whether or not that batch was opened: with other elements this is another request
            raise _refused(Refusal.GATE_NOT_OPEN)
        if self._opening(plan.campaign, company, decision_batch) is None:  # 2
            reasons = platform_reasons(self._facts(plan, company, found), now=self._clock())
            if reasons:
                raise _refused(_REFUSALS.get(reasons[0], Refusal.GATE_NOT_OPEN))
        evaluated, proof = evaluate_batch(self._store, plan, company, TableKind.SCORE, blinded)  # 3
        with self._store.transaction():  # 4
            opened = self._opening(plan.campaign, company, decision_batch)
            if opened is None:
                opened = self._ledger.append_platform_entry(
                    EntryKind.GATE_OPENED,
                    {
                        "campaign": plan.campaign,
                        "company": company,
                        "batch": decision_batch,
                        "opened_at": self._clock(),
                    },
                )
        return GatedEvaluation(evaluated, proof, decision_batch, opened)

    def _facts(self, plan: CampaignPlan, company: str, found: StoredEntry) -> PlatformFacts:
        return PlatformFacts(
            is_batch_sealed=True,
            sequence=found.entry.body["sequence"],
            batches=plan.gate.batches,
            sealed_at=self._sealed_at(found),
            cooling_seconds=plan.gate.cooling_seconds,
            is_agreement_active=self._has_agreement(company),
            is_coverage_clear=self._is_covered(plan.campaign),
            is_service_running=self._is_running(company, plan.campaign),
        )

    def _sealed_at(self, found: StoredEntry) -> int:
        """When the cooling time begins: at the later of the company's time and ours."""
        with self._store.transaction() as transaction:
            accepted_at = transaction.decision_batch_accepted_at(found.index, now=self._clock())
        said: int = found.entry.body["sealed_at"]
        return max(said, accepted_at)

    def _has_agreement(self, company: str) -> bool:
        ledger = self._ledger.store
        ended = ledger.entries(kind=EntryKind.REVOCATION, company=company)
        return bool(ledger.entries(kind=EntryKind.AGREEMENT, company=company)) and not ended

    def _committed(
        self, campaign: str, company: str, index: int, blinded: Sequence[bytes]
    ) -> StoredEntry | None:
        """The company's entry at `index`, if it commits to exactly these elements."""
        digest = evaluation_sha256(blinded).hex()
        return next(
            (
                item
                for item in self._batches(campaign, company)
                if item.index == index and item.entry.body["evaluation_sha256"] == digest
            ),
            None,
        )

    def _batches(self, campaign: str, company: str) -> list[StoredEntry]:
        return self._ledger.store.entries(kind=EntryKind.DECISION_BATCH, campaign=campaign, company=company)

    def _opening(self, campaign: str, company: str, batch: int) -> int | None:
        """Where the ledger says that the gate was opened for the batch at this index."""
        opened = _openings(self._ledger.store, campaign, company)
        return next((item.index for item in opened if item.entry.body["batch"] == batch), None)


def newest_opening(ledger: LedgerStore, campaign: str, company: str) -> int | None:
    """Where the ledger says last that the company's gate was opened; None if it never was."""
    return max((item.index for item in _openings(ledger, campaign, company)), default=None)


def _openings(ledger: LedgerStore, campaign: str, company: str) -> list[StoredEntry]:
    return ledger.entries(kind=EntryKind.GATE_OPENED, campaign=campaign, company=company)


def _verify_next(known: Sequence[StoredEntry], entry: SignedEntry, now: int) -> None:
    body, earlier = entry.body, [item.entry.body for item in known]
    if body["sequence"] != len(known) + 1:
        raise RemoteProtocolError("decision batch: expected the next number, got another")
    if _is_far(body["sealed_at"], now):
        raise RemoteProtocolError(f"decision batch: expected one sealed within {CLOCK_SECONDS} s of now")
    for field in ("root", "evaluation_sha256"):
        if any(body[field] == other[field] for other in earlier):
            raise RemoteProtocolError("decision batch: expected salts and blinds of its own, got another's")


def _is_far(said: int, now: int) -> bool:
    return abs(said - now) > CLOCK_SECONDS


def _refused(refusal: Refusal) -> LocalProtocolError:
    return LocalProtocolError(refusal.sentence, code=refusal)
