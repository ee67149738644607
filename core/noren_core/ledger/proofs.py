"""Believing the ledger: what a company checks before it relies on an entry.

The platform hands over a checkpoint, a proof that the ledger grew from the last checkpoint that this
company kept, and entries with inclusion proofs. Nothing of it is believed for the platform's word; what
does not fit together is refused, and a ledger that did not simply grow is kept as evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from noren_core.crypto.merkle import leaf_hash, verify_consistency, verify_inclusion
from noren_core.errors import DataError, VerificationError
from noren_core.ledger.checkpoint import Checkpoint, open_checkpoint
from noren_core.ledger.entries import (
    PLATFORM,
    EntryKind,
    SignedEntry,
    parse_entry,
    verify_author,
    verify_countersignature,
)
from noren_core.ledger.note import VerifierKey


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
class LedgerKeys:
    """Whom to believe: the log's key and the platform's, and every company key seen so far."""

    log: VerifierKey
    platform: bytes
    companies: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class VerifiedEntry:
    """An entry that is in the ledger at `index` and whose signatures verify."""

    index: int
    entry: SignedEntry


@dataclass(frozen=True, slots=True)
class VerifiedProof:
    """What a proof showed: the checkpoint to keep from now on, and the entries in their order."""

    checkpoint: Checkpoint
    entries: tuple[VerifiedEntry, ...]


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
    *, known: bytes | None, presented: bytes, consistency: Iterable[bytes], log_key: VerifierKey
) -> Checkpoint:
    """The presented checkpoint, if the log signed it and it extends the known one.

    1. Both checkpoints are signed by the log; the known one is ours, but our disk may have been changed.
    2. The log did not shrink, and the proof leads from the old root to the new one.

    Raises:
        SplitViewError: if the two do not fit together; it carries both as evidence.
        VerificationError: if one of the checkpoints is not the log's.
    """
    # 1
    newest = open_checkpoint(presented, log_key)
    if known is None:
        return newest
    oldest = open_checkpoint(known, log_key)
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


def verify_ledger_proof(proof: LedgerProof, *, known: bytes | None, keys: LedgerKeys) -> VerifiedProof:
    """What `proof` shows, if all of it verifies.

    1. The checkpoint is the log's and extends the known one (`known` is None only on first contact).
    2. Every entry is well formed, and included at its index under the checkpoint's root.
    3. Every entry is countersigned by the platform.
    4. Every entry is signed by its author: the platform, a company known before, or one whose enrolment
       stands earlier in the ledger and in this proof; a second key for a company is refused.
    Keeping the new checkpoint, and what the entries mean, are left to the caller.

    Raises:
        SplitViewError: if the ledger did not simply grow.
        VerificationError: if anything else does not verify.
    """
    # 1
    checkpoint = verify_growth(
        known=known, presented=proof.checkpoint, consistency=proof.consistency, log_key=keys.log
    )
    companies = dict(keys.companies)
    verified = []
    for item in sorted(proof.entries, key=lambda item: item.index):
        # 2
        verify_inclusion(leaf_hash(item.entry), item.index, checkpoint.size, item.inclusion, checkpoint.root)
        entry = _parse(item.entry)
        # 3
        verify_countersignature(entry, keys.platform)
        # 4
        _learn_enrolment(entry, companies)
        verify_author(entry, keys.platform if entry.author == PLATFORM else _key_of(entry, companies))
        verified.append(VerifiedEntry(item.index, entry))
    return VerifiedProof(checkpoint, tuple(verified))


def _parse(data: bytes) -> SignedEntry:
    try:
        return parse_entry(data)
    except DataError as error:
        raise VerificationError(f"ledger entry is malformed: {error.message}") from error


def _learn_enrolment(entry: SignedEntry, companies: dict[str, bytes]) -> None:
    if entry.kind is not EntryKind.ENROLMENT:
        return
    key = bytes.fromhex(entry.body["signing_key"])
    if companies.setdefault(entry.author, key) != key:
        raise VerificationError("enrolment: expected one signing key per company, got a second")


def _key_of(entry: SignedEntry, companies: Mapping[str, bytes]) -> bytes:
    if entry.author not in companies:
        raise VerificationError("ledger entry: expected an author whose enrolment is known")
    return companies[entry.author]
