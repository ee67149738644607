"""The beacon: randomness that nobody chose, drawn from the ledger after all commitments (protocol §4.2.1).

A beacon entry holds a signed checkpoint that covers every company's `training-commitment`. Its value depends
on all of those, so it was known to no company when it committed. It depends on one cosignature of a
witness, too, and on no other line of the note: a platform that helps a company, and would try values until
the company's noise is kind, needs another answer of a witness for every one of them.
"""

from __future__ import annotations

import hashlib

from noren_core.errors import DataError, VerificationError
from noren_core.ledger.cosignature import CosignerKey, verify_quorum
from noren_core.ledger.entries import EntryKind
from noren_core.ledger.key_history import KeyHistory
from noren_core.ledger.note import Note, NoteSignature, parse_note
from noren_core.ledger.proofs import VerifiedEntry
from noren_core.season.plan import CampaignPlan, Witnesses

_LABEL = b"noren/v1/beacon\0"


def beacon_value(checkpoint: str, witnesses: Witnesses) -> bytes:
    """The 32 bytes that noise is drawn with: SHA-256 over label ‖ the note under one witness's line alone.

    That of the first of the plan's witnesses who has one; none if nobody has. The log's own line and those of
    strangers cost their authors nothing, and would be as many values to choose from. The lines of several
    witnesses could be combined, and k answers of each of n would be more than k·n values.

    Raises:
        DataError: if the note or a key is malformed.
        VerificationError: if that witness has more than one line.
    """
    note = parse_note(checkpoint.encode())
    line: tuple[NoteSignature, ...] = ()
    for key in map(CosignerKey.from_text, witnesses.keys):
        stated = note.signatures_of(key)
        if len(stated) > 1:
            raise VerificationError("beacon: expected one cosignature of a witness, got two")
        if stated:
            line = (NoteSignature(key.name, key.key_id, stated[0]),)
            break
    return hashlib.sha256(_LABEL + Note(note.text, line).to_bytes()).digest()


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
    return _cosigned_value(text, plan.witnesses)


def _cosigned_value(text: str, witnesses: Witnesses) -> bytes:
    try:
        keys = [CosignerKey.from_text(key) for key in witnesses.keys]
        verify_quorum(parse_note(text.encode()), keys, witnesses.quorum)
        return beacon_value(text, witnesses)
    except DataError as error:
        raise VerificationError(f"beacon: {error.message}") from error
