"""The consent log: a Merkle tree over salted events, whose head stands in the ledger.

docs/rights/consent.md §5. Promises: a leaf says nothing to whoever has not its salt, which only the student's
receipt and the platform hold; a head binds the number of events as well as their hashes.
"""

from __future__ import annotations

import hashlib

from noren_core.crypto import merkle
from noren_core.errors import DataError

SALT_BYTES = 16

_LEAF_LABEL = b"noren/v1/consent-leaf\0"
_HEAD_LABEL = b"noren/v1/consent-log\0"


def log_leaf(salt: bytes, event: bytes) -> bytes:
    """The leaf hash of one signed event: SHA-256(0x00 ‖ label ‖ salt(16) ‖ the event's canonical bytes)."""
    if len(salt) != SALT_BYTES:
        raise DataError(f"consent log: expected a salt of {SALT_BYTES} bytes, got {len(salt)}")
    return merkle.leaf_hash(_LEAF_LABEL + salt + event)


def log_head(size: int, root: bytes) -> bytes:
    """What the ledger entry `consent-log` holds: SHA-256(label ‖ size(8) ‖ root), the root as in RFC 6962."""
    return hashlib.sha256(_HEAD_LABEL + size.to_bytes(8, "big") + root).digest()
