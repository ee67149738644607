"""Discrete logarithms that are known to be small: the last step of reading a score.

Baby-step giant-step with a table of the first multiples of G, indexed by x coordinate, which serves a
multiple and its negative at once. Promises: exact for every |m| ≤ bound, VerificationError outside, and the
same number of steps for every m, so the time does not tell how large a score is. The table is public.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import isqrt

from noren_core.crypto.secp256k1 import (
    GENERATOR,
    Point,
    multiply_base_secret,
    public_scalar,
    sum_points,
)
from noren_core.errors import DataError, VerificationError

MAX_BOUND = 2**28
# 2^17 entries of about 150 bytes, half a second to build.
MAX_BABY_STEPS = 2**17


class SmallDiscreteLog:
    """Finds m from m·G for |m| ≤ bound."""

    def __init__(self, bound: int) -> None:
        """Prepare for `bound`; DataError if it is not between 1 and 2^28."""
        if not 1 <= bound <= MAX_BOUND:
            raise DataError(f"discrete logarithm: expected a bound from 1 to {MAX_BOUND}, got {bound}")
        self._bound = bound
        baby_steps = _baby_steps(bound)
        self._table = _even_multiples(baby_steps)
        # Each giant step moves by one table's width, -baby_steps to +baby_steps; together they cover ±bound.
        width = 2 * baby_steps + 1
        reach = -(-max(0, bound - baby_steps) // width)
        self._giant_steps = [
            (index * width, multiply_base_secret(public_scalar(-index * width)))
            for index in range(-reach, reach + 1)
            if index
        ]

    def solve_sum(self, addends: Sequence[Point]) -> int:
        """The m for which the addends sum to m·G; the sum may be the identity (m = 0).

        Raises:
            VerificationError: if there is no such m within the bound.
        """
        found = self._look_up(sum_points(addends))
        for offset, step in self._giant_steps:  # all of them, whether found or not
            remainder = self._look_up(sum_points((*addends, step)))
            if remainder is not None:
                found = offset + remainder
        if found is None or abs(found) > self._bound:
            raise VerificationError("encrypted score: expected a value in range, got one outside")
        return found

    def _look_up(self, point: Point | None) -> int | None:
        if point is None:
            return 0
        encoding = point.to_bytes()
        multiple = self._table.get(encoding[1:])
        if multiple is None:
            return None
        return multiple if encoding[0] == 2 else -multiple


def _baby_steps(bound: int) -> int:
    """A power of two about 64 times the balance point: the table is built once, the steps are per score."""
    return min(1 << (64 * isqrt(bound)).bit_length(), MAX_BABY_STEPS, bound)


@lru_cache(maxsize=4)
def _even_multiples(count: int) -> dict[bytes, int]:
    """X coordinate -> the m, 1 ≤ |m| ≤ count, whose multiple of G has it and an even y (encoding 0x02)."""
    table = {}
    current: Point | None = GENERATOR
    for m in range(1, count + 1):
        if current is None:
            raise DataError("discrete logarithm: expected a table shorter than the group")
        encoding = current.to_bytes()
        table[encoding[1:]] = m if encoding[0] == 2 else -m
        current = sum_points((current, GENERATOR))
    return table
