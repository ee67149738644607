"""Revocation lists: which rows of a published sealed table nobody may use any more.

docs/protocol.md §2.7. Promises: a list is the platform's, about one table, and every tag on it is that of a
row of the table; its length says only in which step of 64 the number of withdrawals lies, because dummy rows
of the table stand in for the rest and nobody but the platform can tell them from students' rows.

Refuses every other encoding of the same list. Left to the caller: that a list is not older than the last one
it saw (`verify_not_older`), and that it is about the table at hand.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

from noren_core.crypto.identity import SigningKey, verify_signature
from noren_core.crypto.sealed_table import TABLE_ID_BYTES, TAG_BYTES
from noren_core.errors import DataError, VerificationError

STEP = 64
"""A list has a multiple of this many tags; so many dummy rows every table must have."""

MAX_TAGS = 2**17
MAX_SEQUENCE = 2**63 - 1
SIGNATURE_BYTES = 64

_SIGNATURE_LABEL = b"noren/v1/revocations"
_SEQUENCE_BYTES = 8
_HEADER_BYTES = TABLE_ID_BYTES + _SEQUENCE_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationList:
    """The tags of one table that are revoked, among dummies of the same table.

    Attributes:
        table_id: of the table.
        sequence: 1 for a table's first list, one more for every list that says more.
        tags: 16 bytes each, strictly increasing, a multiple of 64 and at most 2^17 of them.
    """

    table_id: bytes
    sequence: int
    tags: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if len(self.table_id) != TABLE_ID_BYTES:
            raise DataError(f"revocations: expected a table id of {TABLE_ID_BYTES} bytes, got another value")
        if type(self.sequence) is not int or not 1 <= self.sequence <= MAX_SEQUENCE:
            raise DataError("revocations: expected a sequence number from 1, got another value")
        if not 0 < len(self.tags) <= MAX_TAGS or len(self.tags) % STEP:
            raise DataError(f"revocations: expected a multiple of {STEP} tags up to {MAX_TAGS}, got another")
        if any(len(tag) != TAG_BYTES for tag in self.tags):
            raise DataError(f"revocations: expected tags of {TAG_BYTES} bytes, got another value")
        if any(earlier >= later for earlier, later in pairwise(self.tags)):
            raise DataError("revocations: expected tags in increasing order, got another order")

    @classmethod
    def padded(
        cls, revoked: Iterable[bytes], *, table_id: bytes, sequence: int, dummy_tags: Iterable[bytes]
    ) -> Self:
        """The list of these tags, filled up to the next multiple of 64 with tags of dummy rows.

        Args:
            revoked: tags of students' rows.
            table_id: of the table.
            sequence: of the list.
            dummy_tags: at least 64 tags of dummy rows of that table, always in the same order.

        Raises:
            DataError: if there are too many tags, or too few dummies.
        """
        real = set(revoked)
        missing = -len(real) % STEP if real else STEP
        filling = list(dummy_tags)[:missing]
        return cls(table_id=table_id, sequence=sequence, tags=tuple(sorted({*real, *filling})))

    def to_bytes(self) -> bytes:
        """What is signed: table id ‖ sequence (8 bytes, big-endian) ‖ tags."""
        return self.table_id + self.sequence.to_bytes(_SEQUENCE_BYTES, "big") + b"".join(self.tags)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The list that `to_bytes` wrote; DataError for anything else."""
        body = len(data) - _HEADER_BYTES
        if not 0 < body <= MAX_TAGS * TAG_BYTES or body % TAG_BYTES:
            raise DataError(
                "revocations: expected a table id, a sequence number and tags, got another length"
            )
        return cls(
            table_id=data[:TABLE_ID_BYTES],
            sequence=int.from_bytes(data[TABLE_ID_BYTES:_HEADER_BYTES], "big"),
            tags=tuple(
                data[start : start + TAG_BYTES] for start in range(_HEADER_BYTES, len(data), TAG_BYTES)
            ),
        )

    def sign(self, key: SigningKey) -> bytes:
        """The platform's signature, 64 bytes."""
        return key.sign(_SIGNATURE_LABEL, self.to_bytes())

    def verify_not_older(self, known: RevocationList) -> None:
        """Raise VerificationError if this list cannot follow `known`, an earlier one of the same table.

        1. Both are of one table and the sequence does not go back.
        2. One sequence number stands for one list.
        """
        if self.table_id != known.table_id or self.sequence < known.sequence:  # 1
            raise VerificationError(
                "revocations: expected the newest list of this table, got an older one",
                code="CONSENT_EPOCH_STALE",
            )
        if self.sequence == known.sequence and self.tags != known.tags:  # 2
            raise VerificationError("revocations: expected one list for each sequence number, got two")


def open_revocations(
    data: bytes, signature: bytes, *, platform_key: bytes, table_id: bytes
) -> RevocationList:
    """The list in `data`, verified.

    1. The platform's signature, over exactly these bytes.
    2. The only encoding of a list.
    3. About this table.
    Its age is left to the caller.

    Raises:
        VerificationError: if step 1 or 3 fails.
        DataError: if step 2 fails.
    """
    verify_signature(platform_key, _SIGNATURE_LABEL, data, signature)  # 1
    revocations = RevocationList.from_bytes(data)  # 2
    if revocations.table_id != table_id:  # 3
        raise VerificationError("revocations: expected the list of this table, got another table's")
    return revocations
