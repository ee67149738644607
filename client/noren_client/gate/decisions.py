"""Sealing a company's decisions, and having their offers evaluated once the cooling time is over.

    campaigns/<campaign>/decisions-<sequence>.json    secret: one batch, all that opens it, what became of it

docs/rights/gate-at-a-company.md §2. Promises: every applicant of a position is in a batch, failures included;
what a batch commits to is on disk before the ledger has it and never made again; a decision that was sealed
is not changed (DECISION_IMMUTABLE), and an offer that is taken back after the gate was open is recorded as
that, with a reason from a closed list. Nothing is evaluated here but what a batch in the ledger commits to.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from noren_client import alignment, campaign_files, keystore
from noren_client.applicants import Applicant, Decision, applicants_for, offerees
from noren_client.evaluated_identifiers import Evaluated, padded
from noren_client.gate import access_log, score_records
from noren_client.gate.access_log import LoggedAccess
from noren_client.gate.staff import Authorised
from noren_client.imports import import_journal
from noren_client.ledger_watch import LedgerWatch
from noren_client.rights.custody import CustodyStore
from noren_client.table_reading import Aligner, Sleep
from noren_client.transport import PlatformClient
from noren_core import canonical_json, ids
from noren_core.crypto import oprf
from noren_core.crypto.oprf import Blinding
from noren_core.crypto.secret import Secret
from noren_core.errors import (
    BudgetExceededError,
    LocalProtocolError,
    NorenError,
    RemoteProtocolError,
    VerificationError,
)
from noren_core.ledger.entries import MAX_DECISION_BATCHES, EntryKind, sign_entry
from noren_core.ledger.proofs import LedgerProof, VerifiedEntry
from noren_core.rights import fields
from noren_core.rights.fields import read_fields
from noren_core.rights.gate import decision_batch
from noren_core.rights.gate.decider_statement import SALT_BYTES, DeciderStatement
from noren_core.rights.gate.decision_batch import (
    MAX_LEAVES,
    SealedBatch,
    evaluation_sha256,
    seal_batch,
    verify_complete,
)
from noren_core.rights.gate.gate_file import ACCESS_SHOWN, Reversal, ReversalReason, ShownBatch
from noren_core.rights.gate.roles import Action
from noren_core.season.plan import CampaignPlan
from noren_core.wire.refusal import Refusal

NOT_YET = -1
"""In place of an index of the ledger."""

_SEALED_AS: Mapping[Decision, decision_batch.Decision] = {
    Decision.OFFER: decision_batch.Decision.PASS,
    Decision.NO_OFFER: decision_batch.Decision.FAIL,
    Decision.HOLD: decision_batch.Decision.HOLD,
}


@dataclass(frozen=True, slots=True, repr=False)
class KeptBatch(Secret):
    """One decision batch of this company.

    Attributes:
        sequence: from 1 on, in the campaign.
        sealed_at: Unix seconds, as the ledger's entry says or will say.
        batch: every decision and salt.
        statement: who decided.
        blinding: what is evaluated for it (`Blinding.to_bytes`).
        index: of its entry in the ledger, or NOT_YET.
        opened_index, opened_at: of the entry that opened the gate for it, and its time; or NOT_YET.
        reversals: offers that were taken back since.
    """

    sequence: int
    sealed_at: int
    batch: SealedBatch
    statement: DeciderStatement
    blinding: bytes
    index: int = NOT_YET
    opened_index: int = NOT_YET
    opened_at: int = NOT_YET
    reversals: tuple[Reversal, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether the ledger has that the gate was opened for it."""
        return self.opened_index != NOT_YET

    def decision(self, identifier: bytes) -> decision_batch.Decision | None:
        """What stands about an applicant now: an offer that was taken back is none."""
        if any(item.identifier == identifier for item in self.reversals):
            return decision_batch.Decision.FAIL
        return self.batch.decision(identifier)

    def shown(self) -> ShownBatch:
        """For an auditor on the premises."""
        return ShownBatch(
            self.index, self.sealed_at, self.batch, self.statement, self.blinding, self.reversals
        )

    def to_bytes(self) -> bytes:
        """As it is kept."""
        return canonical_json.encode(
            {
                "sequence": self.sequence,
                "sealed_at": self.sealed_at,
                "batch": self.batch.to_bytes().decode(),
                "statement": self.statement.to_body(),
                "blinding": self.blinding.hex(),
                "index": self.index,
                "opened_index": self.opened_index,
                "opened_at": self.opened_at,
                "reversals": [item.to_body() for item in self.reversals],
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The batch that was kept; DataError for any other bytes."""
        return cls(**read_fields(canonical_json.parse_object(data), _KEPT_FIELDS, "decisions"))


_INDEX = fields.integer_in(NOT_YET, canonical_json.MAX_INTEGER)
_KEPT_FIELDS: Mapping[str, Callable[[object], Any]] = {
    "sequence": fields.integer_in(1, MAX_DECISION_BATCHES),
    "sealed_at": fields.seconds,
    "batch": lambda value: SealedBatch.from_bytes(fields.text(value).encode()),
    "statement": DeciderStatement.from_body,
    "blinding": fields.hex_bytes,
    "index": _INDEX,
    "opened_index": _INDEX,
    "opened_at": _INDEX,
    "reversals": fields.list_of(Reversal.from_body, most=MAX_LEAVES),
}


def kept_batches(company_dir: Path, campaign: str) -> tuple[KeptBatch, ...]:
    """Every batch of the campaign in the order of sealing; LocalProtocolError if one is damaged."""
    found: list[KeptBatch] = []
    while (data := keystore.read_secret(company_dir, _name(campaign, len(found) + 1))) is not None:
        try:
            found.append(KeptBatch.from_bytes(data))
        except NorenError as error:
            raise LocalProtocolError(
                "decisions: expected the batch that was kept, got another file"
            ) from error
    return tuple(found)


def seal(
    company_dir: Path,
    campaign: str,
    position: str,
    *,
    decider: Authorised,
    now: int,
    sleep: Sleep = time.sleep,
) -> KeptBatch:
    """Seal the decisions about everybody who applied for a position and is in no batch yet.

    1. Complete a batch that an earlier call began; if it is of this position, that is all.
    2. No decision that was sealed has changed since, and who seals did not look at a score of the position.
    3. Decisions and salts, who decided, blinded elements of those with an open offer, padded: on disk.
    4. The ledger's entry; proven.

    Args:
        company_dir: the company's directory.
        campaign: an accepted campaign.
        position: whose applicants of the plan's score season are sealed.
        decider: who seals, authorised for it.
        now: Unix seconds.
        sleep: how to wait between attempts.

    Raises:
        DataError: with code BATCH_HAS_UNRESOLVED, BATCH_TOO_SMALL, BATCH_INCOMPLETE or MORE_THAN_DECLARED.
        LocalProtocolError: with code DECISION_IMMUTABLE, SEPARATION_OF_DUTIES or NOTHING_TO_SEAL.
        BudgetExceededError: with code BATCH_LIMIT, if the plan's number of batches is used up.
    """
    plan = campaign_files.load_plan(company_dir, campaign)
    ids.parse_name(position, "position")
    decider.verify(Action.SEAL_DECISION, position=position, season=plan.score_season)
    with locked(company_dir, campaign), PlatformClient(company_dir, sleep=sleep) as platform:
        kept = kept_batches(company_dir, campaign)
        if kept and kept[-1].index == NOT_YET:  # 1
            completed = _complete(company_dir, plan, kept[-1], platform, now)
            if completed.batch.position == position:
                return completed
            kept = (*kept[:-1], completed)
        people = applicants_for(
            alignment.applicants(company_dir, plan), season=plan.score_season, position=position
        )
        verify_unchanged(people, kept)  # 2
        _verify_has_not_looked(company_dir, decider)
        if len(kept) >= plan.gate.batches:
            raise BudgetExceededError(Refusal.BATCH_LIMIT.sentence, code=Refusal.BATCH_LIMIT)
        begun = _begin(company_dir, plan, people, kept, decider, now)  # 3
        return _complete(company_dir, plan, begun, platform, now)  # 4


def evaluate_open(
    company_dir: Path, plan: CampaignPlan, platform: PlatformClient, aligner: Aligner, *, now: int
) -> tuple[KeptBatch, ...]:
    """Have every batch evaluated whose cooling time is over; those that are, in the order of sealing.

    A batch for which the platform does not open the gate yet is left for the next call.

    Raises:
        VerificationError: if the ledger does not prove that the gate was opened, or an answer is not under
            the key that the ledger shows.
        RemoteProtocolError: for any other refusal.
    """
    with locked(company_dir, plan.campaign):
        for batch in kept_batches(company_dir, plan.campaign):
            is_cool = now >= batch.sealed_at + plan.gate.cooling_seconds
            if batch.index == NOT_YET or not is_cool:
                continue
            try:
                aligner.evaluate_decisions(
                    Blinding.from_bytes(batch.blinding),
                    ask=partial(_opened_by, company_dir, plan, platform, batch),
                )
            except RemoteProtocolError as error:
                if error.code != Refusal.GATE_NOT_OPEN:
                    raise
        return tuple(batch for batch in kept_batches(company_dir, plan.campaign) if batch.is_open)


def reverse(
    company_dir: Path,
    campaign: str,
    applicant: Applicant,
    reason: ReversalReason,
    *,
    decider: Authorised,
    now: int,
) -> None:
    """Record that an offer was taken back after the gate was open, and destroy the applicant's score.

    Args:
        company_dir: the company's directory.
        campaign: whose batch has the offer.
        applicant: of that position.
        reason: from the closed list.
        decider: who records it, authorised to seal decisions.
        now: Unix seconds.

    Raises:
        LocalProtocolError: with code DECISION_NOT_SEALED, APPLICANT_NOT_OFFERED, or DECISION_IMMUTABLE before
            the gate was open: until then nothing is changed at all.
    """
    season = campaign_files.load_plan(company_dir, campaign).score_season
    decider.verify(Action.SEAL_DECISION, position=applicant.position, season=season)
    with locked(company_dir, campaign):
        batch = batch_of(kept_batches(company_dir, campaign), applicant.key)
        if batch is None or batch.index == NOT_YET:
            raise LocalProtocolError(
                "decision: expected one that is sealed, got none", code="DECISION_NOT_SEALED"
            )
        if batch.decision(applicant.key) is not decision_batch.Decision.PASS:
            raise LocalProtocolError(
                "decision: expected an offer to be taken back, got none", code="APPLICANT_NOT_OFFERED"
            )
        if not batch.is_open:
            raise _immutable()
        looked_at = _viewed_at(company_dir, campaign, applicant.key)
        reversal = Reversal(applicant.key, reason, decider.name, now, looked_at)
        _keep(company_dir, campaign, replace(batch, reversals=(*batch.reversals, reversal)))
    with CustodyStore(company_dir) as custody:
        score_records.destroy(
            company_dir, campaign, custody, lambda person: person.identifier == applicant.key
        )


def batch_of(batches: Sequence[KeptBatch], identifier: bytes) -> KeptBatch | None:
    """The batch that decides about an applicant."""
    return next((item for item in batches if item.batch.decision(identifier) is not None), None)


def verify_unchanged(people: Sequence[Applicant], kept: Sequence[KeptBatch]) -> None:
    """Raise LocalProtocolError (DECISION_IMMUTABLE) if the file says other than what was sealed."""
    for person in people:
        batch = batch_of(kept, person.key)
        if batch is None:
            continue
        said, sealed = _SEALED_AS[person.decision], batch.batch.decision(person.key)
        if said not in (sealed, batch.decision(person.key)):
            raise _immutable()


def deciders_of(company_dir: Path, *, position: str, season: str) -> frozenset[str]:
    """Everybody who decided about a position of a season, in any campaign."""
    found: set[str] = set()
    for campaign in campaign_files.accepted(company_dir):
        for item in kept_batches(company_dir, campaign):
            if (item.batch.position, item.batch.season) == (position, season):
                found.update(item.statement.deciders)
    return frozenset(found)


@contextmanager
def locked(company_dir: Path, campaign: str) -> Iterator[None]:
    """One process of ours at a time changes the campaign's decisions."""
    path = campaign_files.directory(company_dir, campaign) / "decisions.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _begin(
    company_dir: Path,
    plan: CampaignPlan,
    people: Sequence[Applicant],
    kept: Sequence[KeptBatch],
    decider: Authorised,
    now: int,
) -> KeptBatch:
    """A new batch of everybody who is in none, on disk."""
    earlier = [item.batch for item in kept if item.batch.position == decider.position]
    decided = frozenset().union(*(batch.identifiers for batch in earlier))
    fresh = [person for person in people if person.key not in decided]
    if not fresh:
        raise LocalProtocolError(
            "decisions: expected an applicant who is in no batch yet, got none", code="NOTHING_TO_SEAL"
        )
    size = plan.member(keystore.load(company_dir).company).padded_batch
    batch = seal_batch(
        {person.key: _SEALED_AS[person.decision] for person in fresh},
        position=decider.position,
        season=plan.score_season,
        padded_batch=max(size, len(fresh) + 1),  # one leaf says who decided
        minimum_batch=plan.gate.minimum_batch,
    )
    import_journal.note_use(company_dir, import_journal.Use.SEALING)
    statement = DeciderStatement(
        (decider.name,), decider.position, plan.score_season, secrets.token_bytes(SALT_BYTES)
    )
    batch = statement.sealed_in(batch)
    verify_complete([*earlier, batch], {person.key for person in people})
    offered = [person.key for person in offerees(fresh, plan.score_season)]
    blinding = oprf.blind(padded(offered, size=size))
    begun = KeptBatch(len(kept) + 1, now, batch, statement, blinding.to_bytes())
    blinding.wipe()
    _keep(company_dir, plan.campaign, begun)
    return begun


def _complete(
    company_dir: Path, plan: CampaignPlan, begun: KeptBatch, platform: PlatformClient, now: int
) -> KeptBatch:
    """The batch with its place in the ledger.

    An answer may have been lost, so the ledger is asked first. The platform takes an entry about now only:
    one that never arrived gets the time of today, and the cooling time begins today.
    """
    keys, watch = keystore.load(company_dir), LedgerWatch(company_dir)
    proof = platform.get_proof(plan.campaign, known_tree_size=watch.known_tree_size)
    found = _entry_of(watch.accept(proof), begun, keys.company)
    if found is None:
        begun = replace(begun, sealed_at=now)
        _keep(company_dir, plan.campaign, begun)
        body = _body(plan, keys.company, begun)
        entry = sign_entry(EntryKind.DECISION_BATCH, keys.company, body, keys.signing)
        proof = platform.append(entry, known_tree_size=watch.known_tree_size)
        found = _entry_of(watch.accept(proof), begun, keys.company)
    if found is None:
        raise VerificationError("decisions: expected a proof that the batch is in the ledger, got none")
    completed = replace(begun, index=found.index, sealed_at=found.entry.body["sealed_at"])
    _keep(company_dir, plan.campaign, completed)
    return completed


def _opened_by(
    company_dir: Path,
    plan: CampaignPlan,
    platform: PlatformClient,
    batch: KeptBatch,
    blinded: Sequence[bytes],
) -> Evaluated:
    """The platform's answer for a batch, once the ledger proves that it opened the gate for it."""
    company, watch = keystore.load(company_dir).company, LedgerWatch(company_dir)
    evaluated, proof, gate = platform.evaluate_decisions(
        plan.campaign, blinded, decision_batch=batch.index, known_tree_size=watch.known_tree_size
    )
    opened = _opening_of(watch, gate, plan.campaign, company, batch.index)
    _keep(
        company_dir,
        plan.campaign,
        replace(batch, opened_index=opened.index, opened_at=opened.entry.body["opened_at"]),
    )
    return evaluated, proof


def _opening_of(
    watch: LedgerWatch, proof: LedgerProof, campaign: str, company: str, index: int
) -> VerifiedEntry:
    for item in watch.accept(proof):
        entry = item.entry
        is_ours = (entry.kind, entry.campaign, entry.company) == (EntryKind.GATE_OPENED, campaign, company)
        if is_ours and entry.body["batch"] == index:
            return item
    raise VerificationError("gate: expected a proof that it was opened for the batch, got none")


def _entry_of(proven: Sequence[VerifiedEntry], begun: KeptBatch, company: str) -> VerifiedEntry | None:
    """The entry of this batch, whenever it was sent."""
    root = begun.batch.root.hex()
    for item in proven:
        entry = item.entry
        if (entry.kind, entry.company) == (EntryKind.DECISION_BATCH, company) and entry.body["root"] == root:
            return item
    return None


def _body(plan: CampaignPlan, company: str, batch: KeptBatch) -> dict[str, Any]:
    blinded = Blinding.from_bytes(batch.blinding).blinded_elements
    return {
        "campaign": plan.campaign,
        "company": company,
        "position": batch.batch.position,
        "sequence": batch.sequence,
        "root": batch.batch.root.hex(),
        "evaluation_sha256": evaluation_sha256(blinded).hex(),
        "sealed_at": batch.sealed_at,
    }


def _verify_has_not_looked(company_dir: Path, decider: Authorised) -> None:
    """Raise LocalProtocolError (SEPARATION_OF_DUTIES) if who seals saw a band of the same position before."""
    if any(_is_look(item, decider) for item in access_log.read(company_dir)):
        raise LocalProtocolError(
            "decisions: expected somebody who has not looked at a score of this position, got another",
            code="SEPARATION_OF_DUTIES",
        )


def _is_look(item: LoggedAccess, decider: Authorised) -> bool:
    access = item.access
    where = (access.staff, access.position, item.season)
    knows = access.outcome in (ACCESS_SHOWN, access_log.RECORDED)
    return knows and where == (decider.name, decider.position, decider.season)


def _viewed_at(company_dir: Path, campaign: str, identifier: bytes) -> int:
    """When a band of this applicant was first shown, Unix seconds; 0 if none was, or her record is gone."""
    log = access_log.read(company_dir)
    people = score_records.load(company_dir, campaign).people
    shown = (access_log.first_shown_at(log, item.handle) for item in people if item.identifier == identifier)
    return min((at for at in shown if at), default=0)


def _keep(company_dir: Path, campaign: str, batch: KeptBatch) -> None:
    keystore.write_secret(company_dir, _name(campaign, batch.sequence), batch.to_bytes())


def _name(campaign: str, sequence: int) -> str:
    return campaign_files.secret_name(campaign, f"decisions-{sequence:03d}.json")


def _immutable() -> LocalProtocolError:
    return LocalProtocolError(
        "decisions: expected every sealed decision as it was, got another", code="DECISION_IMMUTABLE"
    )
