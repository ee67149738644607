"""Giving students their copies before anybody at the company can look: the mirror deposit.

docs/rights/mirror-and-disclosure.md §3. Promises: what the company may show is handed to `keep` only after
the ledger is proven to commit to it and the platform signed for every copy; whatever is interrupted, by a
crash or a lost answer, the next call completes with the same entry and the same bytes. Copies are sent in a
random order, all of one size.

    campaigns/<campaign>/mirror-pending.json    a deposit that is not completed; gone afterwards
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, Self

from noren_client import campaign_files, keystore
from noren_client.ledger_watch import LedgerWatch
from noren_core import canonical_json
from noren_core.errors import DataError, LocalProtocolError, NorenError, VerificationError
from noren_core.ledger.entries import (
    MAX_DECLARED_SIZE,
    PLATFORM,
    EntryKind,
    PlatformKey,
    parse_entry,
    sign_entry,
)
from noren_core.ledger.proofs import LedgerProof
from noren_core.rights import fields
from noren_core.rights.disclosure.mirror import (
    CommittedRecord,
    MirrorRecord,
    RandomBytes,
    commit,
    tree_size,
    verify_receipt,
)
from noren_core.rights.disclosure.mirror_copy import ScoreCopy, seal_copy
from noren_core.rights.fields import read_fields
from noren_core.season.plan import CampaignPlan

PENDING_FILE = "mirror-pending.json"


class LedgerTransport(Protocol):
    """How an entry of ours gets into the ledger (`noren_client.transport.PlatformClient`)."""

    def append(self, entry: bytes, *, known_tree_size: int) -> LedgerProof:
        """Append our own entry; repeating it adds nothing."""


class CopyTransport(Protocol):
    """How a copy gets into a mailbox (`noren_client.rights.transport`)."""

    def deposit_copy(self, campaign: str, mailbox: bytes, sealed_copy: bytes) -> bytes:
        """The platform's receipt; repeating it adds nothing."""


@dataclass(frozen=True, slots=True)
class ScoredPerson:
    """A record about to be deposited, and the X25519 key from her score row, 32 bytes."""

    record: MirrorRecord
    disclosure_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class DepositedScore:
    """A score that may be shown: the student has her copy, the ledger the commitment.

    Attributes:
        score: the committed record; the band that is shown is the one in it.
        disclosure_key: that the copy was sealed to; further copies go there too.
        sealed_copy: what lies in the mailbox.
        receipt: the platform's, over mailbox and copy.
    """

    score: ScoreCopy
    disclosure_key: bytes = field(repr=False)
    sealed_copy: bytes = field(repr=False)
    receipt: bytes = field(repr=False)

    def to_body(self) -> dict[str, Any]:
        """For whoever keeps it, sealed."""
        return {
            "score": self.score.to_body(),
            "disclosure_key": self.disclosure_key.hex(),
            "sealed_copy": self.sealed_copy.hex(),
            "receipt": self.receipt.hex(),
        }

    @classmethod
    def from_body(cls, body: object) -> Self:
        """What `to_body` wrote; DataError for anything else."""
        return cls(**read_fields(body, _DEPOSITED_FIELDS, "deposited score"))


_DEPOSITED_FIELDS = {
    "score": ScoreCopy.from_body,
    "disclosure_key": fields.hex_bytes,
    "sealed_copy": fields.hex_bytes,
    "receipt": fields.hex_bytes,
}

Place = tuple[bytes, str, bytes]
"""Which score: mailbox, position, digest of the model."""

Keep = Callable[[Sequence[DepositedScore]], None]
"""Keeps what may be shown from now on; after a crash it is called again with the same."""


class MirrorDeposits:
    """The deposits of one company in one campaign."""

    def __init__(
        self,
        company_dir: Path,
        plan: CampaignPlan,
        *,
        ledger: LedgerTransport,
        copies: CopyTransport,
        random_bytes: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._company_dir = company_dir
        self._plan = plan
        self._ledger = ledger
        self._copies = copies
        self._random_bytes = random_bytes
        self._watch = LedgerWatch(company_dir)
        self._name = campaign_files.secret_name(plan.campaign, PENDING_FILE)

    def deposit(self, scored: Sequence[ScoredPerson], *, now: int, keep: Keep) -> None:
        """Deposit a copy for each; `keep` gets what may be shown.

        1. Complete a deposit that was interrupted; whoever is in it is not deposited again.
        2. Commit to the others' records, on disk before anything is sent.
        3. Complete that one too.

        Args:
            scored: whose records may be shown afterwards, each mailbox, position and model once; who has
                a kept score already is left out by the caller.
            now: Unix seconds, for the ledger entry.
            keep: see `Keep`.

        Raises:
            DataError: for records of another campaign or company, or the same score twice.
            VerificationError: if the ledger's proof or a receipt does not verify; nothing is kept then.
            PlatformUnavailableError: if no answer came; call again.
        """
        self._check(scored)
        done = self.complete(keep=keep)  # 1
        left = [person for person in scored if _place(person.record) not in done]
        if left:
            self._begin(left, now)  # 2
            self.complete(keep=keep)  # 3

    def complete(self, *, keep: Keep) -> frozenset[Place]:
        """Complete a deposit that was interrupted, if there is one; whose scores are in it.

        1. The entry in the ledger, proven.
        2. Seal the copies to its index; on disk before the first is sent.
        3. Send each in the order of the tree, which is random; verify each receipt.
        4. Only now may anything be shown; then the pending file goes.
        """
        pending = self._read()
        if pending is None:
            return frozenset()
        index = self._append(pending.entry)  # 1
        if not pending.sealed_copies:  # 2
            pending = self._with_copies(pending, index)
        if index != pending.deposit_index:
            raise VerificationError("mirror: expected the ledger entry where it was, got it elsewhere")
        in_tree_order = sorted(pending.items(), key=lambda item: item.committed.place)
        platform_key = self._platform_key()
        keep([self._sent(item, platform_key) for item in in_tree_order])  # 3, 4
        keystore.remove_secret(self._company_dir, self._name)
        return frozenset(_place(item.record) for item in pending.committed)

    def _check(self, scored: Sequence[ScoredPerson]) -> None:
        ours = (self._plan.campaign, keystore.load(self._company_dir).company)
        if any((person.record.campaign, person.record.company) != ours for person in scored):
            raise DataError("mirror: expected records of this campaign and company, got others")
        if len({_place(person.record) for person in scored}) != len(scored):
            raise DataError("mirror: expected each score once, got one twice")

    def _begin(self, scored: Sequence[ScoredPerson], now: int) -> None:
        keys = keystore.load(self._company_dir)
        size = tree_size(self._plan.member(keys.company).padded_batch)
        records = [person.record for person in scored]
        root, committed = commit(records, size=size, random_bytes=self._random_bytes)
        body = {
            "campaign": self._plan.campaign,
            "company": keys.company,
            "root": root.hex(),
            "deposited_at": now,
        }
        entry = sign_entry(EntryKind.MIRROR_DEPOSIT, keys.company, body, keys.signing)
        self._write(
            _Pending(
                entry=entry,
                committed=committed,
                disclosure_keys=tuple(person.disclosure_key for person in scored),
                deposit_index=0,
                sealed_copies=(),
            )
        )

    def _append(self, entry: bytes) -> int:
        """The index at which the ledger is proven to have the entry."""
        proof = self._ledger.append(entry, known_tree_size=self._watch.known_tree_size)
        expected = parse_entry(entry)
        for item in self._watch.accept(proof):
            if (item.entry.kind, item.entry.body) == (expected.kind, expected.body):
                return item.index
        raise VerificationError("mirror: expected a proof that the deposit is in the ledger, got none")

    def _with_copies(self, pending: _Pending, index: int) -> _Pending:
        signing = keystore.load(self._company_dir).signing
        copies = tuple(
            seal_copy(
                ScoreCopy(deposit_index=index, committed=committed), signing=signing, disclosure_key=key
            )
            for committed, key in zip(pending.committed, pending.disclosure_keys, strict=True)
        )
        made = replace(pending, deposit_index=index, sealed_copies=copies)
        self._write(made)
        return made

    def _platform_key(self) -> bytes:
        known = self._watch.known_tree_size
        return bytes.fromhex(self._watch.keys().key_at(PLATFORM, PlatformKey.PLATFORM, known))

    def _sent(self, item: _PendingCopy, platform_key: bytes) -> DepositedScore:
        """One copy, sent; a receipt that does not verify ends the deposit."""
        mailbox = item.committed.record.mailbox
        receipt = self._copies.deposit_copy(self._plan.campaign, mailbox, item.sealed_copy)
        verify_receipt(platform_key, receipt, mailbox=mailbox, sealed_copy=item.sealed_copy)
        return DepositedScore(item.score, item.disclosure_key, item.sealed_copy, receipt)

    def _read(self) -> _Pending | None:
        data = keystore.read_secret(self._company_dir, self._name)
        if data is None:
            return None
        try:
            return _Pending.from_bytes(data)
        except NorenError as error:
            raise LocalProtocolError(
                f"{PENDING_FILE}: expected the deposit that was begun, got another file"
            ) from error

    def _write(self, pending: _Pending) -> None:
        keystore.write_secret(self._company_dir, self._name, pending.to_bytes())


@dataclass(frozen=True, slots=True)
class _PendingCopy:
    committed: CommittedRecord
    disclosure_key: bytes = field(repr=False)
    deposit_index: int
    sealed_copy: bytes = field(repr=False)

    @property
    def score(self) -> ScoreCopy:
        return ScoreCopy(deposit_index=self.deposit_index, committed=self.committed)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pending:
    """`mirror-pending.json`: the entry, and what opens its root; the copies once its index is known."""

    entry: bytes
    committed: tuple[CommittedRecord, ...]
    disclosure_keys: tuple[bytes, ...] = field(repr=False)
    deposit_index: int
    sealed_copies: tuple[bytes, ...] = field(repr=False)

    def items(self) -> list[_PendingCopy]:
        return [
            _PendingCopy(committed, key, self.deposit_index, sealed)
            for committed, key, sealed in zip(
                self.committed, self.disclosure_keys, self.sealed_copies, strict=True
            )
        ]

    def to_bytes(self) -> bytes:
        return canonical_json.encode(
            {
                "entry": self.entry.decode(),
                "committed": [committed.to_body() for committed in self.committed],
                "disclosure_keys": [key.hex() for key in self.disclosure_keys],
                "deposit_index": self.deposit_index,
                "sealed_copies": [sealed.hex() for sealed in self.sealed_copies],
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        pending = cls(**read_fields(canonical_json.parse(data), _PENDING_FIELDS, PENDING_FILE))
        if len(pending.committed) != len(pending.disclosure_keys):
            raise DataError(f"{PENDING_FILE}: expected a key for each record, got another number")
        if len(pending.sealed_copies) not in (0, len(pending.committed)):
            raise DataError(f"{PENDING_FILE}: expected a copy of each record or of none")
        parse_entry(pending.entry)
        return pending


_MAX_PENDING = MAX_DECLARED_SIZE

_PENDING_FIELDS = {
    "entry": lambda value: fields.text(value).encode(),
    "committed": fields.list_of(CommittedRecord.from_body, most=_MAX_PENDING),
    "disclosure_keys": fields.list_of(fields.hex_bytes, most=_MAX_PENDING),
    "deposit_index": fields.integer,
    "sealed_copies": fields.list_of(fields.hex_bytes, most=_MAX_PENDING),
}


def _place(record: MirrorRecord) -> Place:
    """Which score it is: a student has one for each position and head."""
    return record.mailbox, record.position, record.model_sha256
