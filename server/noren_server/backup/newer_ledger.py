"""What the ledger outside says that a backup does not know: how it goes on, what must not come back.

Promises: a restored ledger is gone on with only by entries that prove themselves to follow it, under a
checkpoint that the log key signed; what was closed, revoked or ordered to be erased since the backup was made
does not come back with it; where the ledger shows that something was released which the backup's databases do
not know of, nothing is restored, because whoever was charged for it would have her budget back.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from noren_core.errors import DataError, LocalProtocolError, VerificationError
from noren_core.ledger.checkpoint import claimed_size
from noren_core.ledger.entries import EntryKind, SignedEntry, parse_entry
from noren_core.ledger.tiles import CHECKPOINT_PATH, MAX_BUNDLE_BYTES, entry_bundles, parse_bundle
from noren_core.season.plan import CampaignPlan
from noren_server.platform_files import Platform
from noren_server.store import CampaignState, CompanyState

_ERASED = ("embeddings", "tables", "statistics")
# What they changed in the platform's own databases can be made up for, by ending what they are about.
_REPAIRABLE = frozenset(
    {
        EntryKind.PLAN,
        EntryKind.PLAN_ACCEPTANCE,
        EntryKind.CONSENT_EPOCH,
        EntryKind.TRAINING_COMMITMENT,
        EntryKind.BEACON,
        EntryKind.INTENT,
        EntryKind.SETTLE,
        EntryKind.ROUND_FAILED,
        EntryKind.WEIGHTS_COMMITMENT,
        EntryKind.HEAD_COMMITMENT,
        EntryKind.CAMPAIGN_CLOSED,
        EntryKind.REVOCATION,
        EntryKind.COVERAGE,
        EntryKind.CONSENT_LOG,
        EntryKind.DECISION_BATCH,
        EntryKind.GATE_OPENED,
        EntryKind.MIRROR_DEPOSIT,
        EntryKind.ERASURE_ORDER,
        EntryKind.DELETION_CERTIFICATE,
        EntryKind.SERVICE_STATE,
        EntryKind.INCIDENT,
    }
)


@dataclass(frozen=True, slots=True)
class Honoured:
    """What was made up for, by names that are in the ledger.

    Attributes:
        entries: how many the backup did not have.
        closed: campaigns that are answered no more.
        erased: campaigns of which features, tables and sums are gone.
        revoked: companies whose participation ended.
    """

    entries: int
    closed: tuple[str, ...]
    erased: tuple[str, ...]
    revoked: tuple[str, ...]


def read_bundle(directory: Path) -> tuple[bytes, list[bytes]]:
    """Checkpoint and entries of an exported ledger; VerificationError if its files are not those of one."""
    try:
        checkpoint = (directory / CHECKPOINT_PATH).read_bytes()
        entries: list[bytes] = []
        for bundle in entry_bundles(claimed_size(checkpoint)):
            with (directory / bundle.path).open("rb") as file:
                entries += parse_bundle(file.read(MAX_BUNDLE_BYTES), bundle.width)
    except (OSError, DataError) as error:
        raise VerificationError(
            "ledger: expected an exported ledger with all its entries, got another"
        ) from error
    return checkpoint, entries


def go_on(platform: Platform, checkpoint: bytes, entries: Sequence[bytes]) -> tuple[SignedEntry, ...]:
    """Append what an exported ledger has more than the platform's; those entries.

    1. It begins with every entry that the platform has.
    2. The others are appended.
    3. The whole has the root that the checkpoint states, and the log key signed that.

    Raises:
        VerificationError: if it is another ledger, or its checkpoint does not verify. The platform's own file
            may have grown then, and is not to be used.
        LocalProtocolError: with code LEDGER_BEHIND, if it has fewer entries than the platform.
    """
    store = platform.ledger_store
    known = [stored.entry.to_bytes() for stored in store.entries()]
    if len(entries) < len(known):
        raise LocalProtocolError(
            f"ledger: expected an exported one of at least {len(known)} entries, got an older one",
            code="LEDGER_BEHIND",
        )
    if list(entries[: len(known)]) != known:  # 1
        raise VerificationError("ledger: expected one that goes on from the backup's, got another ledger")
    newer = list(entries[len(known) :])
    store.append_many(newer)  # 2
    stated = platform.ledger.keys().open_checkpoint(checkpoint)  # 3
    if (stated.size, stated.root) != (store.size, store.root(store.size)):
        raise VerificationError("ledger: expected entries of the root that its checkpoint states, got others")
    return tuple(parse_entry(data) for data in newer)


def honour(platform: Platform, newer: Sequence[SignedEntry]) -> Honoured:
    """End in a restored platform what its ledger ended, or went on with, after the backup was made.

    Raises:
        LocalProtocolError: with code BACKUP_TOO_OLD, if something was released, or somebody's keys changed,
            that its databases do not know of.
    """
    unknown = sorted({entry.kind.value for entry in newer} - {kind.value for kind in _REPAIRABLE})
    if unknown:
        raise LocalProtocolError(
            f"backup: expected one made after the ledger's newest {', '.join(unknown)}, got an older one",
            code="BACKUP_TOO_OLD",
        )
    touched = {entry.campaign for entry in newer if entry.campaign}
    erased = {entry.campaign for entry in newer if entry.kind is EntryKind.ERASURE_ORDER and entry.campaign}
    revoked = {entry.company for entry in newer if entry.kind is EntryKind.REVOCATION and entry.company}
    plans = [CampaignPlan.from_body(entry.body) for entry in newer if entry.kind is EntryKind.PLAN]
    with platform.store.transaction() as transaction:
        for plan in plans:
            transaction.add_campaign(plan)
        closed = []
        for campaign in sorted(touched):
            found = transaction.campaign(campaign)
            if found is not None and found.state is CampaignState.OPEN:
                transaction.close_campaign(campaign)
                closed.append(campaign)
        approved = {c.name for c in transaction.companies() if c.state is CompanyState.APPROVED}
        for company in sorted(revoked & approved):
            transaction.revoke_company(company)
    for campaign in erased:
        for place in _ERASED:
            with suppress(FileNotFoundError):
                shutil.rmtree(platform.directory / place / campaign)
    return Honoured(len(newer), tuple(closed), tuple(sorted(erased)), tuple(sorted(revoked & approved)))
