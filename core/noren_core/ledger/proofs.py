"""Believing the ledger: what a company checks before it relies on an entry.

The platform hands over a checkpoint, a proof that the ledger grew from the last checkpoint that this
company kept, and entries with inclusion proofs. Nothing of it is believed for the platform's word; what
does not fit together is refused, and a ledger that did not simply grow is kept as evidence.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from noren_core.crypto.merkle import leaf_hash, verify_consistency, verify_inclusion
from noren_core.errors import DataError, VerificationError
from noren_core.ledger.checkpoint import Checkpoint
from noren_core.ledger.entries import EntryKind, SignedEntry, parse_entry
from noren_core.ledger.key_history import KEY_KINDS, KeyHistory, KeyHistoryError


@dataclass(frozen=True, slots=True)
class EntryProof:
    """One entry as it stands in the ledger, and its path to the root."""

    index: int
    entry: bytes
    inclusion: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class LedgerProof:
    """A checkpoint, the proof that it extends an earlier one, and entries that it contains."""

    checkpoint: bytes
    consistency: tuple[bytes, ...]
    entries: tuple[EntryProof, ...]


@dataclass(frozen=True, slots=True)
class VerifiedEntry:
    """An entry that is in the ledger at `index` and whose signatures verify."""

    index: int
    entry: SignedEntry


@dataclass(frozen=True, slots=True)
class VerifiedProof:
    """What a proof showed: the checkpoint and keys to keep from now on, and the entries in their order."""

    checkpoint: Checkpoint
    entries: tuple[VerifiedEntry, ...]
    keys: KeyHistory


class SplitViewError(VerificationError):
    """Two checkpoints signed by one log that no proof connects.

    Attributes:
        known: the signed checkpoint that was kept.
        presented: the signed checkpoint that does not extend it.
    """

    code = "SPLIT_VIEW"

    def __init__(self, message: str, *, known: bytes, presented: bytes) -> None:
        super().__init__(message)
        self.known = known
        self.presented = presented


def verify_growth(
    *, known: bytes | None, presented: bytes, consistency: Iterable[bytes], keys: KeyHistory
) -> Checkpoint:
    """The presented checkpoint, if the log signed it and it extends the known one.

    1. Both checkpoints are signed by the log, each by the key that is current at its size; the known one is
       ours, but our disk may have been changed.
    2. The log did not shrink, and the proof leads from the old root to the new one.

    Raises:
        SplitViewError: if the two do not fit together; it carries both as evidence.
        VerificationError: if one of the checkpoints is not the log's.
    """
    # 1
    newest = keys.open_checkpoint(presented)
    if known is None:
        return newest
    oldest = keys.open_checkpoint(known)
    # 2
    try:
        verify_consistency(oldest.size, oldest.root, newest.size, newest.root, list(consistency))
    except VerificationError as error:
        raise SplitViewError(
            f"ledger: expected a log that extends the known checkpoint; {error.message}",
            known=known,
            presented=presented,
        ) from error
    return newest


def verify_ledger_proof(proof: LedgerProof, *, known: bytes | None, keys: KeyHistory) -> VerifiedProof:
    """What `proof` shows, if all of it verifies.

    1. Every entry is well formed, and no index is there twice.
    2. The platform's own rotations, which say whose signatures the rest must carry, follow from the keys
       that we know: each is signed by the key that it replaces.
    3. The checkpoint is the log's and extends the known one (`known` is None only on first contact).
    4. Every entry is included at its index under the checkpoint's root.
    5. Enrolments, rotations and revocations of companies follow from what we know and from each other.
    6. Every other entry is countersigned by the platform and signed by its author, both with the keys that
       are current at its index.
    Keeping checkpoint and keys, and what the entries mean, are left to the caller.

    Raises:
        SplitViewError: if the ledger did not simply grow.
        VerificationError: if anything else does not verify.
    """
    # 1
    entries = {item.index: _parse(item.entry) for item in proof.entries}
    if len(entries) != len(proof.entries):
        raise VerificationError("ledger proof: expected each index once, got one twice")
    # 2
    learnt = _with_platform_rotations(keys, entries, proof, known)
    # 3
    checkpoint = verify_growth(
        known=known, presented=proof.checkpoint, consistency=proof.consistency, keys=learnt
    )
    # 4
    for item in proof.entries:
        verify_inclusion(leaf_hash(item.entry), item.index, checkpoint.size, item.inclusion, checkpoint.root)
    # 5
    learnt = learnt.extended({index: e for index, e in entries.items() if e.kind in KEY_KINDS})
    # 6
    for index, entry in entries.items():
        if entry.kind not in KEY_KINDS:
            learnt.verify(index, entry)
    ordered = tuple(VerifiedEntry(index, entries[index]) for index in sorted(entries))
    return VerifiedProof(checkpoint, ordered, learnt)


def _with_platform_rotations(
    keys: KeyHistory, entries: dict[int, SignedEntry], proof: LedgerProof, known: bytes | None
) -> KeyHistory:
    rotations = {i: e for i, e in entries.items() if e.kind is EntryKind.PLATFORM_KEY_ROTATION}
    try:
        return keys.extended(rotations)
    except KeyHistoryError:
        # Two ledgers with different rotations are a split view: evidence is worth more than the refusal.
        verify_growth(known=known, presented=proof.checkpoint, consistency=proof.consistency, keys=keys)
        raise


def _parse(data: bytes) -> SignedEntry:
    try:
        return parse_entry(data)
    except DataError as error:
        raise VerificationError(f"ledger entry is malformed: {error.message}") from error
