"""How much noise a company adds in a round, and from which key.

Rules: the noise parameters are exact rationals from the plan, never floats. Below the plan's minimum
cohort, or without secure aggregation, the placement is local whatever was asked for. The key of a round
is bound to a seed the company committed to before the beacon was known, so nobody can choose kind noise.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from fractions import Fraction
from typing import Self

from noren_core.crypto.identity import Secret
from noren_core.errors import ConfigurationError, DataError
from noren_core.privacy.discrete_gaussian import NoiseStream
from noren_core.privacy.events import GaussianEvent, NoisePlacement

SEED_BYTES = 32
BEACON_BYTES = 32


def company_variance(event: GaussianEvent, *, companies: int) -> Fraction:
    """The variance parameter of one company's noise, in squared grid units.

    With σ·C·S the noise of the whole release: (σ·C·S)² if local. If distributed, (σ·C·S)²/(N − t) for
    N = `companies` that contribute and t tolerated, so that any N − t of them still add up to all of it.

    Raises:
        ConfigurationError: if no company is left once the tolerated ones are set aside.
    """
    whole = event.grid_deviation**2
    if event.placement is NoisePlacement.LOCAL:
        return whole
    if companies <= event.tolerated:
        raise ConfigurationError(
            f"distributed noise: expected more than {event.tolerated} companies, got {companies}"
        )
    return whole / (companies - event.tolerated)


def effective_placement(
    requested: NoisePlacement, *, companies: int, minimum_cohort: int, secure_aggregation: bool
) -> NoisePlacement:
    """`requested`, or local where distributed noise would protect nobody."""
    if not secure_aggregation or companies < minimum_cohort:
        return NoisePlacement.LOCAL
    return requested


class NoiseSeed(Secret):
    """A company's secret of one campaign, from which the noise of each of its rounds follows.

    Order matters: draw it, put `commitment` in the ledger, and only then learn the beacon, a later
    checkpoint that others cosign. Anyone who has the seed can subtract the noise; it never leaves the
    company and is deleted after the dispute window.
    """

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise DataError(f"noise seed: expected {SEED_BYTES} bytes, got {len(seed)}")
        self._seed = seed

    @classmethod
    def generate(cls) -> Self:
        """A fresh seed from the operating system's generator."""
        return cls(secrets.token_bytes(SEED_BYTES))

    def to_bytes(self) -> bytes:
        """The 32 bytes, for the key store only."""
        return self._seed

    def commitment(self, *, company: str, campaign: str) -> bytes:
        """What the company publishes before the beacon; hiding, as the seed is 256 random bits."""
        return hashlib.sha256(_joined(b"noren/v1/noise-seed", company, campaign, self._seed)).digest()

    def round_stream(self, *, beacon: bytes, campaign: str, round_number: int) -> NoiseStream:
        """The noise stream of one round: keyed by HMAC-SHA256(seed, label ‖ beacon ‖ campaign ‖ round)."""
        if len(beacon) != BEACON_BYTES:
            raise DataError(f"beacon: expected {BEACON_BYTES} bytes, got {len(beacon)}")
        message = _joined(b"noren/v1/noise-round", beacon, campaign, round_number)
        return NoiseStream(hmac.digest(self._seed, message, "sha256"))


def _joined(*fields: bytes | str | int) -> bytes:
    """The fields, each preceded by its length, so that two different lists never give the same bytes."""
    raw = [field if isinstance(field, bytes) else str(field).encode() for field in fields]
    return b"".join(len(field).to_bytes(4, "big") + field for field in raw)
