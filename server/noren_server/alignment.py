"""The platform's side of alignment: fresh keys per company, campaign and kind, and counted evaluations.

docs/protocol.md §1. What was evaluated for the training table opens nothing of the score table, since the
two have keys of their own; for scoring, `gate` decides first. The platform sees blinded elements, a fixed
number of them, and never an identifier. What it answers is counted in the database before it is answered, so
that neither a crash nor a second process gives a company more evaluations than its plan. The identical batch
is answered again without counting, so that neither a crash nor a lost answer gives it fewer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from noren_core.crypto.oprf import OprfPrivateKey, blind_evaluate, evaluate_all, generate_key_pair
from noren_core.errors import BudgetExceededError, LocalProtocolError, RemoteProtocolError
from noren_core.ids import TableKind
from noren_core.ledger.entries import EntryKind
from noren_core.season.plan import CampaignPlan
from noren_core.wire.refusal import Refusal
from noren_server.ledger_service import LedgerService
from noren_server.store import Store


def publish_oprf_keys(store: Store, ledger: LedgerService, plan: CampaignPlan) -> None:
    """Make both keys of every company and put their public halves in the ledger; safe to repeat."""
    wanted = [(company, kind) for company in plan.companies for kind in TableKind]
    with store.transaction() as transaction:
        for company, kind in wanted:
            if transaction.oprf_key(plan.campaign, company, kind) is None:
                transaction.add_oprf_key(plan.campaign, company, kind, generate_key_pair())
    ledger.append_platform_entries(
        EntryKind.OPRF_KEY,
        (
            {
                "campaign": plan.campaign,
                "company": company,
                "kind": kind.value,
                "public_key": oprf_key(store, plan.campaign, company, kind).public_key.hex(),
            }
            for company, kind in wanted
        ),
    )


def oprf_key(store: Store, campaign: str, company: str, kind: TableKind) -> OprfPrivateKey:
    """The company's key for this kind; LocalProtocolError with code NOT_AVAILABLE if none was published."""
    with store.transaction() as transaction:
        stored = transaction.oprf_key(campaign, company, kind)
    if stored is None:
        raise LocalProtocolError(Refusal.NOT_AVAILABLE.sentence, code=Refusal.NOT_AVAILABLE)
    return stored.key


def evaluate_batch(
    store: Store, plan: CampaignPlan, company: str, kind: TableKind, blinded: Sequence[bytes]
) -> tuple[list[bytes], bytes]:
    """Evaluate one batch of a company that accepted the plan: evaluated elements and one proof (§1.5).

    For the score table, that the batch may be evaluated at all is left to the caller: `gate.Gate`.

    1. The batch is exactly the plan's padded batch, so that its size says nothing.
    2. The company has that many evaluations left, or this very batch of its own was counted before.
    3. Every element is valid and fresh; evaluate, and keep the answer here.
    4. Count and remember the batch, in one transaction that fails if another batch was faster; then answer.

    Raises:
        RemoteProtocolError: in step 1 with code BATCH_SIZE, in step 3; nothing is counted.
        BudgetExceededError: with code EVALUATION_LIMIT; nothing is evaluated.
    """
    member = plan.member(company)
    if len(blinded) != member.padded_batch:  # 1
        raise RemoteProtocolError(Refusal.BATCH_SIZE.sentence, code=Refusal.BATCH_SIZE)
    # Other boundaries between the same bytes are no replay: step 3 refuses elements that are not 32 bytes.
    batch_sha256 = hashlib.sha256(b"".join(blinded)).digest()
    with store.transaction() as transaction:  # 2
        stored = transaction.oprf_key(plan.campaign, company, kind)
        is_counted = transaction.is_counted(plan.campaign, company, kind, batch_sha256)
    if stored is None:
        raise LocalProtocolError(Refusal.NOT_AVAILABLE.sentence, code=Refusal.NOT_AVAILABLE)
    limit = evaluation_limit(plan, company, kind)
    if not is_counted and stored.evaluations + len(blinded) > limit:
        raise BudgetExceededError(Refusal.EVALUATION_LIMIT.sentence, code=Refusal.EVALUATION_LIMIT)
    answer = blind_evaluate(stored.key, blinded)  # 3
    with store.transaction() as transaction:  # 4
        transaction.count_batch(plan.campaign, company, kind, batch_sha256, len(blinded), limit=limit)
    return answer


def evaluation_limit(plan: CampaignPlan, company: str, kind: TableKind) -> int:
    """How many elements are evaluated for a company: what the plan says, or a batch per decision batch."""
    member = plan.member(company)
    return member.evaluations if kind is TableKind.TRAIN else plan.gate.batches * member.padded_batch


def evaluate_identifiers(
    key: OprfPrivateKey, identifiers: Sequence[bytes], *, threads: int | None = None
) -> list[bytes]:
    """The outputs that the company would get for these normalised identifiers, in their order.

    Args:
        key: the company's.
        identifiers: what the company would send.
        threads: how many at once; as many as there are cores if not given.
    """
    return evaluate_all(key, identifiers, threads=threads)


def row_key(oprf_output: bytes) -> bytes:
    """Under what a released row is kept: it leads to nobody without the campaign's key."""
    return hashlib.blake2b(oprf_output, digest_size=32, person=b"noren/v1/kept").digest()
