"""Discrete logarithms that are known to be small: the last step of reading scores.

Baby-step giant-step (docs/protocol.md §5.6) with a table of the first T multiples of G by x coordinate, which
serves a multiple and its negative at once. Promises: exact for every |m| ≤ bound, since each answer is
multiplied out and compared; VerificationError for anything else; and the same number of steps for every m, so
the time does not tell how large a score is.

The table is public, made once per process, grown when more is asked of it, and shared by all threads: 12
bytes for each of at most 2^17 multiples, 1.5 MiB. The largest bound, 2^25 (128 dimensions, 12 bits), takes
256 steps a score with it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from noren_core.crypto.secp256k1 import (
    Point,
    encoded_multiples,
    encoded_shifts,
    multiply_base_secret,
    public_scalar,
    sum_points,
)
from noren_core.errors import DataError, VerificationError

MAX_BOUND = 2**28
MIN_BABY_STEPS = 2**8
MAX_BABY_STEPS = 2**17
_BLOCK = 4096
_EVEN = 2  # the first byte of a point with an even y coordinate

Addends = tuple[Point, Point]


@dataclass(frozen=True, slots=True, eq=False)
class _BabySteps:
    """The multiples 1 to `count` of G: x coordinates' first 8 bytes, sorted, and the m with an even y."""

    count: int
    prefixes: NDArray[np.uint64]
    multiples: NDArray[np.int32]

    def look_up(self, encodings: NDArray[np.uint8]) -> NDArray[np.int64]:
        """For each of (n, 33) encodings the m whose x coordinate begins like it, 0 if there is none."""
        prefixes = _prefixes(encodings)
        places = np.searchsorted(self.prefixes, prefixes)
        places[places == self.count] = 0
        found = np.where(self.prefixes[places] == prefixes, self.multiples[places], 0).astype(np.int64)
        return np.where(encodings[:, 0] == _EVEN, found, -found)


class _SharedTable:
    """The process's one table."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._table = _NOTHING

    def at_least(self, count: int) -> _BabySteps:
        """The table, with `count` multiples or more."""
        with self._lock:
            if self._table.count < count:
                self._table = _table(self._table, count)
            return self._table


def solve_sums(sums: Sequence[Addends], *, bound: int) -> list[int]:
    """For every (P, Q) the m, |m| ≤ bound, with P + Q = m·G.

    A sum may be the identity; m is 0 then.

    1. Take a table of T multiples, and 2·ceil(bound / 2T) giant steps S = ±T, ±3T, …, that cover the bound.
    2. Look every P + Q - S·G up.
    3. Multiply out each answer: P + Q is m·G, and |m| ≤ bound.

    Args:
        sums: pairs of points.
        bound: from 1 to 2^28.

    Raises:
        DataError: if the bound is another.
        VerificationError: if there is no such m for a sum.
    """
    if not 1 <= bound <= MAX_BOUND:
        raise DataError(f"discrete logarithm: expected a bound from 1 to {MAX_BOUND}, got {bound}")
    # 1
    table = _SHARED.at_least(_baby_steps(len(sums), bound))
    half = table.count * -(-bound // (2 * table.count))
    offsets = np.arange(table.count - 2 * half, 2 * half, 2 * table.count, dtype=np.int64)
    steps = [multiply_base_secret(public_scalar(-int(offset))) for offset in offsets]

    # No threads: the calls are so short that two threads would mostly hand each other the interpreter lock.
    size = max(1, _BLOCK // len(steps))
    parts = [sums[start : start + size] for start in range(0, len(sums), size)]
    return [m for part in parts for m in _solve(part, table, offsets, steps, bound)]


def _solve(
    sums: Sequence[Addends], table: _BabySteps, offsets: NDArray[np.int64], steps: Sequence[Point], bound: int
) -> list[int]:
    # 2
    encodings = encoded_shifts(sums, steps)
    remainders = table.look_up(encodings.reshape(-1, encodings.shape[2])).reshape(len(sums), len(steps))
    is_found = (remainders != 0) | (encodings[:, :, 0] == 0)
    # 3
    return [
        _verified(pair, set((offsets + row)[found].tolist()), bound)
        for pair, row, found in zip(sums, remainders, is_found, strict=True)
    ]


def _verified(pair: Addends, candidates: set[int], bound: int) -> int:
    """The candidate that multiplies out to the sum; nearly always there is one."""
    total = sum_points(pair)
    for m in candidates:
        expected = multiply_base_secret(public_scalar(m)) if m else None
        if abs(m) <= bound and _encode(expected) == _encode(total):
            return m
    raise VerificationError("encrypted score: expected a value in range, got one outside")


def _encode(point: Point | None) -> bytes:
    return b"" if point is None else point.to_bytes()


def _baby_steps(count: int, bound: int) -> int:
    """The power of two near sqrt(count · bound): making the table then costs what searching with it does."""
    balanced = 1 << isqrt(max(count, 1) * bound).bit_length()
    return min(max(balanced, MIN_BABY_STEPS), MAX_BABY_STEPS)


def _table(known: _BabySteps, count: int) -> _BabySteps:
    """What is known and the multiples after it, up to `count`. Each comes from the one before: no threads."""
    encodings = encoded_multiples(known.count + 1, count - known.count)
    signs = np.where(encodings[:, 0] == _EVEN, 1, -1)
    multiples = np.arange(known.count + 1, count + 1) * signs
    prefixes = np.concatenate([known.prefixes, _prefixes(encodings)])
    order = np.argsort(prefixes)
    return _BabySteps(
        count, prefixes[order], np.concatenate([known.multiples, multiples])[order].astype(np.int32)
    )


def _prefixes(encodings: NDArray[np.uint8]) -> NDArray[np.uint64]:
    return np.ascontiguousarray(encodings[:, 1:9]).view(np.uint64)[:, 0]


_NOTHING = _BabySteps(0, np.empty(0, np.uint64), np.empty(0, np.int32))
_SHARED = _SharedTable()
