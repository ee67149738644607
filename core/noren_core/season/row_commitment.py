"""What a company says about its training rows before it trains: one root, salted (docs/protocol.md §4.2.1).

Promises: rows, labels and tags cannot be changed afterwards, and nobody without the salt learns anything from
the root or from another row's leaf. Whoever has rows and salt can compute the root again.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

from noren_core.crypto.merkle import leaf_hash, root_hash
from noren_core.crypto.sealed_table import TAG_BYTES
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import DataError

SALT_BYTES = 32
_ROW_LABEL = b"noren/v1/training-row\0"
_SUMS_LABEL = b"noren/v1/opened-sums\0"
_INT16 = 1 << 15
_INT64 = 1 << 63


@dataclass(frozen=True, slots=True, repr=False)
class TrainingRow:
    """One opened row: its public name in the sealed table, its coordinates, and the outcome as 0 or 1."""

    tag: bytes
    coordinates: tuple[int, ...]
    label: int

    def to_bytes(self) -> bytes:
        """tag(16) ‖ coordinates(2 each, little-endian) ‖ label(1).

        Raises:
            DataError: if one of them is out of range.
        """
        if len(self.tag) != TAG_BYTES or self.label not in (0, 1):
            raise DataError(f"training row: expected a tag of {TAG_BYTES} bytes and a label of 0 or 1")
        if any(not -_INT16 <= value < _INT16 for value in self.coordinates):
            raise DataError("training row: expected coordinates of 16 bits, got a larger one")
        coordinates = b"".join(value.to_bytes(2, "little", signed=True) for value in self.coordinates)
        return self.tag + coordinates + self.label.to_bytes(1, "little")


def rows_root(rows: Sequence[TrainingRow], salt: SecretBytes) -> bytes:
    """The RFC 6962 root over the salt's own leaf and the salted rows.

    The first leaf is of no row: the root of the rows alone would be public if there are none.

    Args:
        rows: in ascending order of their tags, each tag once; all with as many coordinates.
        salt: 32 random bytes, drawn for this campaign.

    Raises:
        DataError: if tags are not ascending, so that a row could be counted twice, or a row or the salt is
            malformed.
    """
    if len(salt) != SALT_BYTES:
        raise DataError(f"row salt: expected {SALT_BYTES} bytes, got {len(salt)}")
    tags = [row.tag for row in rows]
    if any(one >= other for one, other in pairwise(tags)):
        raise DataError("training rows: expected each tag once, in ascending order, got another order")
    if len({len(row.coordinates) for row in rows}) > 1:
        raise DataError("training rows: expected as many coordinates in each, got different numbers")
    contents = chain([b""], (row.to_bytes() for row in rows))
    leaves = (hmac.digest(salt.buffer, _ROW_LABEL + content, "sha256") for content in contents)
    return root_hash(map(leaf_hash, leaves))


def sums_root(sums: Sequence[int], salt: SecretBytes) -> bytes:
    """The same for a company that has no rows but their opened sums: the root of the one leaf about them.

    Args:
        sums: d integers, as they enter the update.
        salt: 32 random bytes, drawn for this campaign.

    Raises:
        DataError: if a sum does not fit 64 bits, or the salt is malformed.
    """
    if len(salt) != SALT_BYTES:
        raise DataError(f"row salt: expected {SALT_BYTES} bytes, got {len(salt)}")
    if any(not -_INT64 <= value < _INT64 for value in sums):
        raise DataError("sealed sums: expected integers of 64 bits, got a larger one")
    data = b"".join(value.to_bytes(8, "little", signed=True) for value in sums)
    return root_hash([leaf_hash(hmac.digest(salt.buffer, _SUMS_LABEL + data, "sha256"))])
