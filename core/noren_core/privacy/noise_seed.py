"""The seed that all noise of one company in one campaign follows from (docs/protocol.md §4.2.1).

Order is what makes it worth anything: draw it, put `commitment` in the ledger, and only then learn the
beacon. Then nobody can choose kind noise, and whoever is given the seed on the company's machine can compute
every sample again.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Self

from noren_core.crypto.secret import Secret, SecretBytes
from noren_core.errors import DataError, LocalProtocolError
from noren_core.privacy.discrete_gaussian import NoiseStream

SEED_BYTES = 32
BEACON_BYTES = 32

_COMMITMENT_LABEL = b"noren/v1/noise-seed\0"
_ROUND_LABEL = b"noren/v1/noise-round\0"


class NoiseSeed(Secret):
    """256 random bits of one company, for one campaign.

    Whoever has them can subtract the noise from what was released, so they are as sensitive as the rows.
    Drawn anew for every session and never read back into one.
    """

    __slots__ = ("_is_wiped", "_seed")

    def __init__(self, seed: bytes | bytearray) -> None:
        if len(seed) != SEED_BYTES:
            raise DataError(f"noise seed: expected {SEED_BYTES} bytes, got {len(seed)}")
        self._seed = SecretBytes(seed)
        self._is_wiped = False

    @classmethod
    def generate(cls) -> Self:
        """A fresh seed from the operating system's generator."""
        return cls(secrets.token_bytes(SEED_BYTES))

    def to_bytes(self) -> bytes:
        """The 32 bytes, for the company's secret files only."""
        return self._seed.reveal()

    def commitment(self, *, company: str, campaign: str) -> bytes:
        """What the company publishes before the beacon: SHA-256, hiding since the seed is 256 random bits."""
        message = _COMMITMENT_LABEL + _joined(company, campaign, self._seed.buffer)
        return hashlib.sha256(message).digest()

    def round_stream(self, *, beacon: bytes, campaign: str, round_number: int) -> NoiseStream:
        """The noise of one round: the stream of K_r = HMAC-SHA256(seed, label ‖ beacon ‖ campaign ‖ round).

        Raises:
            DataError: if `beacon` is not a value of 32 bytes.
            LocalProtocolError: if the seed was wiped: everybody would know the noise.
        """
        if self._is_wiped:
            raise LocalProtocolError("noise seed: expected one that is still known, got one that was wiped")
        if len(beacon) != BEACON_BYTES:
            raise DataError(f"beacon: expected {BEACON_BYTES} bytes, got {len(beacon)}")
        message = _ROUND_LABEL + _joined(beacon, campaign, round_number)
        return NoiseStream(hmac.digest(self._seed.buffer, message, "sha256"))

    def wipe(self) -> None:
        """Overwrite the seed; nothing is drawn from it any more."""
        self._seed.wipe()
        self._is_wiped = True


def _joined(*fields: bytes | bytearray | str | int) -> bytes:
    """The fields, each preceded by its length, so that two different lists never give the same bytes."""
    raw = [field if isinstance(field, (bytes, bytearray)) else str(field).encode() for field in fields]
    return b"".join(len(field).to_bytes(4, "big") + field for field in raw)
