"""What a company computed about a student, as one record that both can see, and the commitment to it.

docs/rights/mirror-and-disclosure.md §1. Promises: the band that a company may look at is the one in a record
whose salted commitment lies under a root in the ledger; a record that differs by one character from the
committed one is found out (COMMITMENT_MISMATCH); who does not have the salt learns nothing from a commitment,
and the number of leaves under a root says nothing about how many records there are.

Refuses: reasons that a model like ours cannot give. The model is a linear head over an embedding that nobody
can read, so there is no attribution to single things somebody did, and none is invented.

Left to the caller: that the ledger entry with the root is proven, and where randomness comes from.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from noren_core import canonical_json, ids
from noren_core.canonical_json import MAX_INTEGER
from noren_core.crypto.identity import SigningKey, verify_signature
from noren_core.crypto.merkle import HASH_BYTES, MAX_PROOF_HASHES, MerkleTree, leaf_hash, verify_inclusion
from noren_core.errors import DataError, VerificationError
from noren_core.ledger.entries import MAX_DECLARED_SIZE
from noren_core.privacy.events import parse_decimal
from noren_core.rights import fields
from noren_core.rights.fields import check_bytes, check_distinct, check_integer, check_seconds, read_fields

MAILBOX_BYTES = 16
SALT_BYTES = 32

MAX_EDGES = 4
MAX_CATEGORIES = 8
BASE_RATE_STEP = 5

_COMMITMENT_LABEL = b"noren/v1/mirror-commitment\0"
_RECEIPT_LABEL = b"noren/v1/deposit-receipt"
_SORT_BYTES = 16
_CONTEST = re.compile(r"[!-~]{1,200}\Z")

RandomBytes = Callable[[int], bytes]
"""Gives so many bytes that nobody can predict."""


class Reason(StrEnum):
    """All that can honestly be said about why a band came out (texts: `student_report`)."""

    COMPANY_BASE_RATE = "company-base-rate"
    DATA_CATEGORIES = "data-categories"
    LINEAR_HEAD = "linear-head-over-embedding"
    BAND_IS_A_RANGE = "band-is-a-range"


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorRecord:
    """One band about one person, as the company sees it and as she does.

    Attributes:
        campaign, company, position: what it was computed for.
        mailbox: the handle of her mailbox for this company, 16 bytes.
        band: from 0, the lowest likelihood of declining.
        band_edges: where one band ends and the next begins, decimals between 0 and 1, from the plan.
        base_rate_percent: the company's past rate of declined offers, rounded to 5.
        reasons: at least one, each once, in the order in which they are told.
        data_categories: which categories of her data entered, by the names of the policy.
        computed_at, expires_at: Unix seconds.
        model_sha256: digest of the head, 32 bytes.
        gate_index: where the ledger has the gate-opened entry without which there is no score.
        contest: where she contests it, printable ASCII without spaces.
    """

    campaign: str
    company: str
    position: str
    mailbox: bytes = field(repr=False)
    band: int = field(repr=False)
    band_edges: tuple[str, ...]
    base_rate_percent: int = field(repr=False)
    reasons: tuple[Reason, ...]
    data_categories: tuple[str, ...]
    computed_at: int
    expires_at: int
    model_sha256: bytes
    gate_index: int
    contest: str

    def __post_init__(self) -> None:
        for name in ("campaign", "company", "position"):
            ids.parse_name(getattr(self, name), f"mirror record: {name}")
        check_bytes(self.mailbox, MAILBOX_BYTES, "mirror record: mailbox")
        check_bytes(self.model_sha256, HASH_BYTES, "mirror record: model digest")
        _check_edges(self.band_edges)
        check_integer(self.band, 0, len(self.band_edges), "mirror record: band")
        check_integer(self.base_rate_percent, 0, 100, "mirror record: base rate")
        if self.base_rate_percent % BASE_RATE_STEP:
            raise DataError(f"mirror record: expected a base rate in steps of {BASE_RATE_STEP} percent")
        check_distinct(self.reasons, len(Reason), "mirror record: reasons")
        check_distinct(self.data_categories, MAX_CATEGORIES, "mirror record: data categories")
        for category in self.data_categories:
            ids.parse_name(category, "mirror record: data category")
        check_seconds(self.computed_at, "mirror record: time")
        check_seconds(self.expires_at, "mirror record: expiry")
        if self.expires_at < self.computed_at:
            raise DataError("mirror record: expected an expiry after the computation, got one before")
        check_integer(self.gate_index, 0, MAX_INTEGER, "mirror record: gate index")
        if not _CONTEST.match(self.contest):
            raise DataError("mirror record: expected 1 to 200 printable characters where to contest")

    @property
    def bands(self) -> int:
        """How many bands there are."""
        return len(self.band_edges) + 1

    def to_body(self) -> dict[str, Any]:
        """What is committed to."""
        return {
            "campaign": self.campaign,
            "company": self.company,
            "position": self.position,
            "mailbox": self.mailbox.hex(),
            "band": self.band,
            "band_edges": list(self.band_edges),
            "base_rate_percent": self.base_rate_percent,
            "reasons": [reason.value for reason in self.reasons],
            "data_categories": list(self.data_categories),
            "computed_at": self.computed_at,
            "expires_at": self.expires_at,
            "model_sha256": self.model_sha256.hex(),
            "gate_index": self.gate_index,
            "contest": self.contest,
        }

    def to_bytes(self) -> bytes:
        """Canonical JSON of `to_body`."""
        return canonical_json.encode(self.to_body())

    @classmethod
    def from_body(cls, body: object) -> Self:
        """The record that `to_body` wrote; DataError for anything else."""
        return cls(**read_fields(body, _RECORD_FIELDS, "mirror record"))


_RECORD_FIELDS = {
    "campaign": fields.text,
    "company": fields.text,
    "position": fields.text,
    "mailbox": fields.hex_bytes,
    "band": fields.integer,
    "band_edges": fields.list_of(fields.text),
    "base_rate_percent": fields.integer,
    "reasons": fields.list_of(fields.word_of(Reason)),
    "data_categories": fields.list_of(fields.text),
    "computed_at": fields.integer,
    "expires_at": fields.integer,
    "model_sha256": fields.hex_bytes,
    "gate_index": fields.integer,
    "contest": fields.text,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedRecord:
    """A record with everything that proves what was committed to.

    Attributes:
        record: as the company has it.
        salt: 32 random bytes, known to company and student alone.
        tree_size: of the deposit's tree, a power of two.
        place: of the commitment among its leaves; random, it means nothing.
        siblings: the audit path, from the leaf upwards.
    """

    record: MirrorRecord
    salt: bytes = field(repr=False)
    tree_size: int
    place: int
    siblings: tuple[bytes, ...] = field(repr=False)

    def __post_init__(self) -> None:
        check_bytes(self.salt, SALT_BYTES, "committed record: salt")
        check_integer(self.tree_size, 1, MAX_DECLARED_SIZE, "committed record: tree size")
        check_integer(self.place, 0, self.tree_size - 1, "committed record: place")
        if len(self.siblings) > MAX_PROOF_HASHES:
            raise DataError("committed record: expected a shorter path")
        for sibling in self.siblings:
            check_bytes(sibling, HASH_BYTES, "committed record: hash of the path")

    def verify(self, root: bytes) -> None:
        """Raise VerificationError (COMMITMENT_MISMATCH) unless the record is committed to under `root`."""
        leaf = leaf_hash(commitment(self.record, self.salt))
        try:
            verify_inclusion(leaf, self.place, self.tree_size, self.siblings, root)
        except VerificationError as error:
            raise VerificationError(
                "committed record: expected the one that the ledger commits to, got another",
                code="COMMITMENT_MISMATCH",
            ) from error

    def to_body(self) -> dict[str, Any]:
        """As it lies in a sealed copy, and in what the company keeps."""
        return {
            "record": self.record.to_body(),
            "salt": self.salt.hex(),
            "tree_size": self.tree_size,
            "place": self.place,
            "siblings": [sibling.hex() for sibling in self.siblings],
        }

    @classmethod
    def from_body(cls, body: object) -> Self:
        """What `to_body` wrote; DataError for anything else."""
        return cls(**read_fields(body, _COMMITTED_FIELDS, "committed record"))


_COMMITTED_FIELDS = {
    "record": MirrorRecord.from_body,
    "salt": fields.hex_bytes,
    "tree_size": fields.integer,
    "place": fields.integer,
    "siblings": fields.list_of(fields.hex_bytes),
}


def commitment(record: MirrorRecord, salt: bytes) -> bytes:
    """SHA-256(label ‖ 0 ‖ salt (32) ‖ canonical record).

    Without the salt it could be tried out: there are only as many records as bands, everything else in them
    can be guessed.
    """
    check_bytes(salt, SALT_BYTES, "commitment: salt")
    return hashlib.sha256(_COMMITMENT_LABEL + salt + record.to_bytes()).digest()


def tree_size(padded_batch: int) -> int:
    """How many leaves every deposit of a company has: the power of two from its padded batch on."""
    check_integer(padded_batch, 1, MAX_DECLARED_SIZE, "padded batch")
    return 1 << (padded_batch - 1).bit_length()


def commit(
    records: Sequence[MirrorRecord], *, size: int, random_bytes: RandomBytes
) -> tuple[bytes, tuple[CommittedRecord, ...]]:
    """Commit to all of these at once: the root, and each with its salt and path, in the given order.

    1. A fresh salt for each; a random value in place of a commitment for every leaf that is left.
    2. All in a random order, so that a place says nothing about how many there are.
    3. The tree as RFC 6962 defines it.

    Args:
        records: at most `size`.
        size: `tree_size` of the company.
        random_bytes: from the operating system's generator.

    Raises:
        DataError: if there are more records than leaves.
    """
    if len(records) > size:
        raise DataError("mirror: expected at most as many records as the padded batch, got more")
    salts = [random_bytes(SALT_BYTES) for _ in records]  # 1
    leaves = [commitment(record, salt) for record, salt in zip(records, salts, strict=True)]
    leaves += [random_bytes(HASH_BYTES) for _ in range(size - len(records))]
    order = sorted((random_bytes(_SORT_BYTES), number) for number in range(size))  # 2
    place_of = {number: place for place, (_, number) in enumerate(order)}
    tree = MerkleTree([leaf_hash(leaves[number]) for _, number in order])  # 3
    committed = tuple(
        CommittedRecord(
            record=record,
            salt=salt,
            tree_size=size,
            place=place_of[number],
            siblings=tuple(tree.inclusion_proof(place_of[number])),
        )
        for number, (record, salt) in enumerate(zip(records, salts, strict=True))
    )
    return tree.root(), committed


def sign_receipt(key: SigningKey, *, mailbox: bytes, sealed_copy: bytes) -> bytes:
    """The platform's word that it keeps this copy in this mailbox, 64 bytes."""
    return key.sign(_RECEIPT_LABEL, _receipt(mailbox, sealed_copy))


def verify_receipt(platform_key: bytes, receipt: bytes, *, mailbox: bytes, sealed_copy: bytes) -> None:
    """Raise VerificationError unless `receipt` is the platform's for exactly this copy and mailbox."""
    verify_signature(platform_key, _RECEIPT_LABEL, _receipt(mailbox, sealed_copy), receipt)


def _receipt(mailbox: bytes, sealed_copy: bytes) -> bytes:
    check_bytes(mailbox, MAILBOX_BYTES, "receipt: mailbox")
    return mailbox + hashlib.sha256(sealed_copy).digest()


def _check_edges(edges: tuple[str, ...]) -> None:
    if not 1 <= len(edges) <= MAX_EDGES:
        raise DataError(f"mirror record: expected 1 to {MAX_EDGES} edges of bands, got another number")
    values = [parse_decimal(edge, "mirror record: edge of a band") for edge in edges]
    if values != sorted(set(values)) or not 0 < values[0] <= values[-1] < 1:
        raise DataError("mirror record: expected increasing edges between 0 and 1, got others")
