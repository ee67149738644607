"""Shamir's secret sharing over 2^521 − 1 (protocol §4.3.4)."""

from __future__ import annotations

import secrets

PRIME = 2**521 - 1


def share(secret: bytes, threshold: int, points: int) -> list[bytes]:
    """The shares of 66 bytes at the points 1, 2, …, `points`."""
    coefficients = [int.from_bytes(secret), *(secrets.randbelow(PRIME) for _ in range(threshold - 1))]
    return [_value(coefficients, x).to_bytes(66) for x in range(1, points + 1)]


def _value(coefficients: list[int], x: int) -> int:
    total = 0
    for coefficient in reversed(coefficients):
        total = (total * x + coefficient) % PRIME
    return total
