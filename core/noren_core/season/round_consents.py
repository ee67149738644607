"""Whose rows one company may not use in one round, and how its settle says so (docs/protocol.md §4.5).

The platform draws the salt for every company and round, so it can compare the commitment with what it sent:
a company that states an older list than the one it was given is refused. Whoever reads the ledger cannot test
guesses of a list.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Self

from noren_core.crypto.revocation_list import SIGNATURE_BYTES
from noren_core.errors import DataError

SALT_BYTES = 32
_LABEL = b"noren/v1/round-consents\0"


@dataclass(frozen=True, slots=True)
class RoundConsents:
    """The revocation list of a company's training table as it is when a round begins.

    Attributes:
        revocations: the list's bytes (§2.7); empty in a campaign of sealed statistics, and in a round of
            which the company computed nothing.
        signature: the platform's over it, 64 bytes; empty with an empty list.
        salt: 32 random bytes.
    """

    revocations: bytes
    signature: bytes
    salt: bytes

    def __post_init__(self) -> None:
        if len(self.salt) != SALT_BYTES:
            raise DataError(f"round consents: expected a salt of {SALT_BYTES} bytes, got another length")
        if len(self.signature) != (SIGNATURE_BYTES if self.revocations else 0):
            raise DataError("round consents: expected a signature with a list and none without one")

    @classmethod
    def drawn(cls, revocations: bytes = b"", signature: bytes = b"") -> Self:
        """The list with a fresh salt; without arguments no list."""
        return cls(revocations, signature, secrets.token_bytes(SALT_BYTES))

    def commitment(self) -> bytes:
        """What the settle of the round says, 32 bytes."""
        return hashlib.sha256(_LABEL + self.salt + self.revocations).digest()
