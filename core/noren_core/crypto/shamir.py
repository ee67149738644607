"""Shamir's secret sharing of 32-byte secrets over the prime field of 2^521 − 1.

Promises: fewer than `threshold` shares say nothing about the secret; `threshold` of them give it back.
Refuses share values outside the field and results that are not a 32-byte secret. A share that is wrong
but in range is not noticed here: whoever recovers compares the secret with a commitment or public key.

Arithmetic is on Python integers and not constant time. Dealer and recoverer both hold the secret, so
only someone who times them on their own machine could learn from that.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from functools import lru_cache

from noren_core.errors import DataError, VerificationError

PRIME = 2**521 - 1
SHARE_BYTES = 66
SECRET_BYTES = 32


def split(secret: bytes, *, threshold: int, points: Iterable[int]) -> dict[int, bytes]:
    """One 66-byte share for each point (distinct integers from 1), of which any `threshold` recover.

    Raises:
        DataError: if the secret is not 32 bytes, a point is unusable or there are too few points.
    """
    chosen = list(points)
    if len(secret) != SECRET_BYTES:
        raise DataError(f"secret to share: expected {SECRET_BYTES} bytes, got {len(secret)}")
    if not 1 <= threshold <= len(chosen):
        raise DataError(f"threshold: expected 1 to {len(chosen)}, got {threshold}")
    if len(set(chosen)) != len(chosen) or min(chosen) < 1:
        # The value at point 0 is the secret itself.
        raise DataError("points: expected distinct integers from 1, got others")
    # Every coefficient is uniform, the leading one too: insisting that it is not zero would leak.
    coefficients = [secrets.randbelow(PRIME) for _ in range(threshold - 1)]
    constant = int.from_bytes(secret, "big")
    return {point: _evaluate(coefficients, constant, point).to_bytes(SHARE_BYTES, "big") for point in chosen}


def recover(shares: Mapping[int, bytes], *, threshold: int) -> bytes:
    """The secret that the shares (point → value) of one splitting determine.

    Exactly `threshold` shares are used, those of the lowest points.

    Raises:
        VerificationError: if there are too few, one is malformed, or they fit no 32-byte secret.
    """
    if len(shares) < threshold:
        raise VerificationError(f"shares: expected at least {threshold}, got {len(shares)}")
    points = tuple(sorted(shares))[:threshold]
    values = [parse_share(shares[point]) for point in points]
    secret = sum(weight * value for weight, value in zip(_weights(points), values, strict=True)) % PRIME
    if secret >> (8 * SECRET_BYTES):
        raise VerificationError("shares: expected those of one 32-byte secret, got others")
    return secret.to_bytes(SECRET_BYTES, "big")


def parse_share(share: bytes) -> int:
    """The field element a share encodes; VerificationError unless it is 66 bytes below the prime."""
    if len(share) != SHARE_BYTES:
        raise VerificationError(f"share: expected {SHARE_BYTES} bytes, got {len(share)}")
    value = int.from_bytes(share, "big")
    if value >= PRIME:
        raise VerificationError("share: expected a value below 2^521 - 1, got a larger one")
    return value


def _evaluate(coefficients: list[int], constant: int, point: int) -> int:
    value = 0
    for coefficient in coefficients:
        value = (value + coefficient) * point % PRIME
    return (value + constant) % PRIME


@lru_cache(maxsize=64)
def _weights(points: tuple[int, ...]) -> tuple[int, ...]:
    """Lagrange's weights at 0. Cached: a round recovers one secret per member from the same points."""
    weights = []
    for point in points:
        numerator = denominator = 1
        for other in points:
            if other != point:
                numerator = numerator * other % PRIME
                denominator = denominator * (other - point) % PRIME
        weights.append(numerator * pow(denominator, -1, PRIME) % PRIME)
    return tuple(weights)
