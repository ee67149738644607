"""What a ledger says of one campaign's training, collected for whoever compares it with something else.

Only authentic entries count. Whether they keep the rules is for `verify_bundle`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noren_audit.verification.bundle import parse_entries, read_bundle
from noren_audit.verification.findings import Findings
from noren_audit.verification.parties import Parties
from noren_audit.verification.season import parse_plan
from noren_audit.verification.trust import Trust
from noren_core.errors import DataError, VerificationError
from noren_core.ids import TableKind
from noren_core.ledger.entries import PLATFORM, EntryKind, PlatformKey, SignedEntry
from noren_core.season.beacon import beacon_value
from noren_core.season.plan import CampaignPlan

_TRAINING = frozenset(
    {
        EntryKind.PLAN,
        EntryKind.TRAINING_COMMITMENT,
        EntryKind.BEACON,
        EntryKind.INTENT,
        EntryKind.SETTLE,
        EntryKind.TABLE,
        EntryKind.DELETION_CERTIFICATE,
    }
)


@dataclass(frozen=True, slots=True)
class CampaignFacts:
    """One campaign.

    Attributes:
        plan: its plan.
        commitments: the body of every company's first training-commitment.
        beacon: the value that noise is drawn with; None if there is no beacon that has one.
        cohort: who reserved round 1: those are the companies that shared keys, and with them the noise.
        settles: the body of the first settle of every company and round.
        table_ids: of every company's newest training table.
        platform_keys: what the platform signed with while the entries of the campaign were written.
        certified: the companies that certified a deletion in this campaign.
    """

    plan: CampaignPlan
    commitments: dict[str, dict[str, Any]]
    beacon: bytes | None
    cohort: frozenset[str]
    settles: dict[tuple[str, int], dict[str, Any]]
    table_ids: dict[str, bytes]
    platform_keys: frozenset[bytes]
    certified: frozenset[str]


def campaign_facts(directory: Path, trust: Trust, campaign: str, *, root: bytes) -> CampaignFacts | None:
    """What a bundle says of a campaign; None if it has no such campaign.

    Args:
        directory: the bundle.
        trust: whose signatures make an entry authentic.
        campaign: its name.
        root: what `verify_bundle` found; the bundle is read once more and must still be the same.

    Raises:
        DataError: if it is another bundle by now.
    """
    findings = Findings()  # said already, by whoever verified the bundle
    bundle = read_bundle(directory, findings)
    parties = Parties(trust, bundle.platform_rotations(), findings)
    found: list[SignedEntry] = []
    platform_keys: set[bytes] = set()
    for index, entry in parse_entries(bundle, findings):
        if parties.admit(index, entry) and entry.campaign == campaign and entry.kind in _TRAINING:
            found.append(entry)
            platform_keys.add(bytes.fromhex(parties.keys.key_at(PLATFORM, PlatformKey.PLATFORM, index)))
    if bundle.tree.root() != root:
        raise DataError("bundle: expected the one that was verified, got another; it changed meanwhile")
    return _facts(found, frozenset(platform_keys))


def _facts(entries: Sequence[SignedEntry], platform_keys: frozenset[bytes]) -> CampaignFacts | None:
    """What a campaign's entries say; None without a valid plan."""
    plans = [entry for entry in entries if entry.kind is EntryKind.PLAN]
    try:
        plan = parse_plan(plans[0])
    except (DataError, IndexError):
        return None
    commitments: dict[str, dict[str, Any]] = {}
    settles: dict[tuple[str, int], dict[str, Any]] = {}
    for entry in entries:
        if entry.kind is EntryKind.TRAINING_COMMITMENT:
            commitments.setdefault(entry.author, entry.body)
        elif entry.kind is EntryKind.SETTLE:
            settles.setdefault((entry.author, entry.body["round"]), entry.body)
    intents = (entry for entry in entries if entry.kind is EntryKind.INTENT)
    beacons = [entry for entry in entries if entry.kind is EntryKind.BEACON]
    return CampaignFacts(
        plan=plan,
        commitments=commitments,
        beacon=_value(beacons[0], plan) if beacons else None,
        cohort=frozenset(entry.author for entry in intents if entry.body["round"] == 1),
        settles=settles,
        table_ids={
            entry.body["company"]: bytes.fromhex(entry.body["manifest"]["table_id"])
            for entry in entries
            if entry.kind is EntryKind.TABLE and entry.body["manifest"]["kind"] == TableKind.TRAIN
        },
        platform_keys=platform_keys,
        certified=frozenset(
            entry.author for entry in entries if entry.kind is EntryKind.DELETION_CERTIFICATE
        ),
    )


def _value(beacon: SignedEntry, plan: CampaignPlan) -> bytes | None:
    try:
        return beacon_value(beacon.body["checkpoint"], plan.witnesses)
    except (DataError, VerificationError):
        return None
