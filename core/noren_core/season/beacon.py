"""The beacon: randomness that nobody chose, drawn from the ledger after all commitments (protocol §4.2.1).

A beacon entry holds a signed checkpoint that covers every company's `training-commitment`. Its value depends
on all of those, so it was known to no company when it committed. A platform that helps a company could try
many checkpoints until the company's noise is kind; it would have to get each cosigned by the plan's
witnesses.
"""

from __future__ import annotations

import hashlib

from noren_core.errors import DataError, VerificationError
from noren_core.ledger.cosignature import CosignerKey, verify_quorum
from noren_core.ledger.entries import EntryKind
from noren_core.ledger.key_history import KeyHistory
from noren_core.ledger.note import parse_note
from noren_core.ledger.proofs import VerifiedEntry
from noren_core.season.plan import CampaignPlan, Witnesses

_LABEL = b"noren/v1/beacon\0"


def beacon_value(checkpoint: str) -> bytes:
    """The 32 bytes that noise is drawn with: SHA-256 over label ‖ the signed note."""
    return hashlib.sha256(_LABEL + checkpoint.encode()).digest()


def verify_beacon(beacon: VerifiedEntry, *, commitment: int, plan: CampaignPlan, keys: KeyHistory) -> bytes:
    """The value of the campaign's beacon, if it came after the commitment at index `commitment`.

    1. It is a beacon of this campaign.
    2. The log key that is current at the checkpoint's size signed it.
    3. The checkpoint covers the commitment, and nothing later than the beacon itself.
    4. Enough of the plan's witnesses cosigned it.
    That both entries are in the ledger, and that there is one beacon only, is left to the caller.

    Raises:
        VerificationError: saying which of these does not hold; with code WITNESS_QUORUM for step 4.
    """
    # 1
    entry = beacon.entry
    if (entry.kind, entry.campaign) != (EntryKind.BEACON, plan.campaign):
        raise VerificationError("beacon: expected that of this campaign, got another entry")
    text = entry.body["checkpoint"]
    # 2
    checkpoint = keys.open_checkpoint(text.encode())
    # 3
    if not commitment < checkpoint.size <= beacon.index:
        raise VerificationError(
            "beacon: expected a checkpoint after our commitment and before the beacon, got another size"
        )
    # 4
    _verify_witnesses(text, plan.witnesses)
    return beacon_value(text)


def _verify_witnesses(text: str, witnesses: Witnesses) -> None:
    try:
        keys = [CosignerKey.from_text(key) for key in witnesses.keys]
        verify_quorum(parse_note(text.encode()), keys, witnesses.quorum)
    except DataError as error:
        raise VerificationError(f"beacon: {error.message}") from error
