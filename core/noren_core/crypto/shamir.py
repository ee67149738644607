"""Shamir's secret sharing of 32-byte secrets over the prime field of 2^521 − 1 (docs/protocol.md §4.3.4).

Promises: fewer than `threshold` shares say nothing about the secret; `threshold` of them give it back.
Refuses share values outside the field and results that are not a 32-byte secret. A share that is wrong
but in range is noticed only by comparing the secret with a commitment or public key: `recover_checked`
does that, finds shares that are right among others that are not, and `outliers` says which are not.

Arithmetic is on Python integers and not constant time, and Python overwrites none of them: coefficients
and secrets stay in freed memory until it is used again. Dealer and recoverer both hold the secret, so only
someone who times them or reads the memory of their own machine could learn from that.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache

from noren_core.errors import DataError, VerificationError

PRIME = 2**521 - 1
SHARE_BYTES = 66
SECRET_BYTES = 32

# How many sets of shares `recover_checked` tries: some seconds at 50 members. With k shares for a threshold
# of t and e of them wrong, one set is right with probability C(k−e, t) / C(k, t).
MAX_ATTEMPTS = 1000


def split(secret: bytes | bytearray, *, threshold: int, points: Iterable[int]) -> dict[int, bytes]:
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
    secret = _interpolate(shares, points, at=0)
    if secret >> (8 * SECRET_BYTES):
        raise VerificationError("shares: expected those of one 32-byte secret, got others")
    return secret.to_bytes(SECRET_BYTES, "big")


def recover_checked(
    shares: Mapping[int, bytes],
    *,
    threshold: int,
    is_right: Callable[[bytes], bool],
    first: Sequence[int],
) -> tuple[bytes, tuple[int, ...]]:
    """The secret that passes `is_right`, and the points of the shares that gave it; some may be wrong.

    1. The shares at the points `first`, `threshold` many: normally these are right.
    2. Random sets of `threshold` shares, at most MAX_ATTEMPTS: nobody can prepare for the order. The first
       set that gives the secret and says clearly which shares are wrong, or else the first that gives it.

    Raises:
        VerificationError: if there are too few shares, or no set that was tried fits.
    """
    if len(shares) < threshold:
        raise VerificationError(f"shares: expected at least {threshold}, got {len(shares)}")
    chosen = tuple(first)  # 1
    secret = _right_secret(shares, chosen, is_right)
    if secret is not None:
        return secret, chosen
    found = None
    for _ in range(MAX_ATTEMPTS if len(shares) > threshold else 0):  # 2
        chosen = tuple(sorted(secrets.SystemRandom().sample(sorted(shares), threshold)))
        secret = _right_secret(shares, chosen, is_right)
        if secret is not None:
            if outliers(shares, base=chosen) is not None:
                return secret, chosen
            found = found or (secret, chosen)
    if found is None:
        raise VerificationError("shares: expected enough of one secret, got too many of another")
    return found


def outliers(shares: Mapping[int, bytes], *, base: tuple[int, ...]) -> frozenset[int] | None:
    """The points whose shares are not on the polynomial through those at `base`; it gives the right secret.

    None if that polynomial may be a wrong one: holders in collusion can give wrong shares whose errors cancel
    at 0. Of k shares let a be on it. Were it wrong, it would have at most t − 2 points in common with the
    right one beside the secret, so a − t + 2 shares or more on it would be wrong. It is believed if that is
    more than the k − a that are not on it: to frame holders takes more liars than are framed.
    """
    others = shares.keys() - set(base)
    wrong = frozenset(
        point for point in others if _interpolate(shares, base, at=point) != parse_share(shares[point])
    )
    return wrong if 2 * (len(shares) - len(wrong)) > len(shares) + len(base) - 2 else None


def parse_share(share: bytes | bytearray) -> int:
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


def _right_secret(
    shares: Mapping[int, bytes], points: tuple[int, ...], is_right: Callable[[bytes], bool]
) -> bytes | None:
    """What the shares at `points` give, if that is the secret."""
    try:
        secret = recover({point: shares[point] for point in points}, threshold=len(points))
    except VerificationError:
        return None
    return secret if is_right(secret) else None


def _interpolate(shares: Mapping[int, bytes], points: tuple[int, ...], *, at: int) -> int:
    """The value at `at` of the polynomial through the shares at `points`."""
    values = [parse_share(shares[point]) for point in points]
    return sum(weight * value for weight, value in zip(_weights(points, at), values, strict=True)) % PRIME


@lru_cache(maxsize=256)
def _weights(points: tuple[int, ...], at: int) -> tuple[int, ...]:
    """Lagrange's weights. Cached: a round recovers one secret per member from the same points."""
    weights = []
    for point in points:
        numerator = denominator = 1
        for other in points:
            if other != point:
                numerator = numerator * (other - at) % PRIME
                denominator = denominator * (other - point) % PRIME
        weights.append(numerator * pow(denominator, -1, PRIME) % PRIME)
    return tuple(weights)
