"""Many points or many scalars at once: sums of thousands of multiples, products of the generator in bulk.

Pippenger's method with one byte of the scalars at a time: the points are sorted into 256 buckets by that
byte, each bucket is one call into libsecp256k1, and Horner's rule joins the bytes. At 16,384 points a byte is
the best width: 0.24 µs a point and byte. Points are only ever added by `secp256k1_ec_pubkey_combine`, whose
additions are complete: equal points, opposite points and partial sums that are the identity give the right
result. A sum that is the identity is None.

Timing: `base_products` and `multiply_add` are constant time. A `PointVector`'s sums read memory in an order
that depends on the scalars, and their time depends on how many buckets are empty; the number of additions of
points does not. That order is visible to code on the same machine only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
from coincurve import GLOBAL_CONTEXT
from coincurve._libsecp256k1 import ffi, lib
from numpy.typing import NDArray

from noren_core.crypto import secp256k1
from noren_core.crypto.secp256k1 import GROUP_ORDER, POINT_BYTES, SCALAR_BYTES, Point
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import DataError

Bytes = NDArray[np.uint8]

_RAW_POINT_BYTES = 64
_BUCKETS = 256
_BYTE_BITS = 8
_CONTEXT = GLOBAL_CONTEXT.ctx


class PointVector:
    """Points side by side in memory, to be added up in bulk; nothing changes once it is made."""

    def __init__(self, memory: Bytes) -> None:
        self._memory = memory

    @classmethod
    def parse(cls, encodings: Bytes) -> Self:
        """The points with these (n, 33) encodings; DataError if one is not a point."""
        memory = np.zeros((len(encodings), _RAW_POINT_BYTES), np.uint8)
        contiguous = np.ascontiguousarray(encodings)
        points = ffi.cast("secp256k1_pubkey *", memory.ctypes.data)
        source = ffi.cast("unsigned char *", contiguous.ctypes.data)
        parse = lib.secp256k1_ec_pubkey_parse
        if not all(
            parse(_CONTEXT, points + i, source + POINT_BYTES * i, POINT_BYTES) for i in range(len(memory))
        ):
            raise DataError("secp256k1: expected points, got an encoding of none")
        return cls(memory)

    def __len__(self) -> int:
        return len(self._memory)

    def __getitem__(self, part: slice) -> PointVector:
        return PointVector(self._memory[part])

    def total(self) -> Point | None:
        """The sum of all points."""
        return _combine(self._addresses())

    def sums_by_digit(self, digits: Bytes) -> dict[int, Point]:
        """For every digit that occurs, the sum of the points that have it, unless that is the identity."""
        order = np.argsort(digits, kind="stable")
        addresses = self._addresses()[order]
        counts = np.bincount(digits, minlength=_BUCKETS)
        ends = np.cumsum(counts)
        sums = {
            digit: _combine(addresses[ends[digit] - counts[digit] : ends[digit]])
            for digit in np.flatnonzero(counts).tolist()
        }
        return {digit: point for digit, point in sums.items() if point is not None}

    def weighted_sum(self, scalars: Bytes) -> Point | None:
        """The sum of k_i·P_i for (n, w) scalars of w big-endian bytes each; they need not be reduced.

        1. For every byte of the scalars, add the points of each bucket.
        2. For every bit of a byte, add the buckets whose digit has it.
        3. Double and add, from the highest bit of the highest byte.
        """
        total: Point | None = None
        for column in range(scalars.shape[1]):
            buckets = self.sums_by_digit(np.ascontiguousarray(scalars[:, column]))  # 1
            for bit in reversed(range(_BYTE_BITS)):
                addends = [point for digit, point in buckets.items() if digit >> bit & 1]  # 2
                doubled = [] if total is None else [total, total]
                total = add((*doubled, *addends))  # 3
        return total

    def _addresses(self) -> NDArray[np.uint64]:
        first = np.uint64(self._memory.ctypes.data)
        return first + np.arange(len(self._memory), dtype=np.uint64) * np.uint64(_RAW_POINT_BYTES)


def add(points: Iterable[Point | None]) -> Point | None:
    """The sum of points, of which None is the identity."""
    addends = [point for point in points if point is not None]
    return secp256k1.sum_points(addends) if addends else None


def combination(terms: Iterable[tuple[int, Point | None]]) -> Point | None:
    """The sum of k·P over pairs (k, P) of a public integer and a point. Variable time."""
    return add(
        secp256k1.multiply_public(secp256k1.public_scalar(factor), point)
        for factor, point in terms
        if point is not None and factor % GROUP_ORDER
    )


def scalars_from(numbers: Iterable[int]) -> Bytes:
    """Integers modulo the group order as (n, 32) big-endian bytes."""
    encoded = b"".join(secp256k1.public_scalar(number) for number in numbers)
    return np.frombuffer(encoded, np.uint8).reshape(-1, SCALAR_BYTES)


def base_products(scalars: Bytes) -> Bytes:
    """The (n, 33) encodings of k·G for (n, 32) secret scalars, in constant time.

    Raises:
        DataError: if a scalar is zero or too large.
    """
    count = len(scalars)
    contiguous = np.ascontiguousarray(scalars)
    source = ffi.cast("unsigned char *", contiguous.ctypes.data)
    encodings = np.empty((count, POINT_BYTES), np.uint8)
    output = ffi.cast("unsigned char *", encodings.ctypes.data)
    raw, length = ffi.new("secp256k1_pubkey *"), ffi.new("size_t *", POINT_BYTES)
    create, serialize = lib.secp256k1_ec_pubkey_create, lib.secp256k1_ec_pubkey_serialize
    compressed = lib.SECP256K1_EC_COMPRESSED
    if not all(
        create(_CONTEXT, raw, source + SCALAR_BYTES * i)
        and serialize(_CONTEXT, output + POINT_BYTES * i, length, raw, compressed)
        for i in range(count)
    ):
        raise DataError("secp256k1: expected scalars between 1 and the group order minus 1, got another")
    return encodings


def multiply_add(scalars: Bytes, factor: SecretBytes, addends: Bytes, which: NDArray[np.intp]) -> Bytes:
    """k_i·x + c for (n, 32) secret k and a secret x, in constant time; c is the row `which[i]` of `addends`.

    Raises:
        DataError: if a scalar or a result is zero or too large; an addend may be zero.
    """
    results = np.array(scalars, np.uint8, order="C")
    target = ffi.cast("unsigned char *", results.ctypes.data)
    multiplier = ffi.from_buffer("unsigned char[]", factor.buffer)
    choices = np.ascontiguousarray(addends)
    table: Any = ffi.cast("unsigned char *", choices.ctypes.data)
    offsets = (which * SCALAR_BYTES).tolist()
    multiply, tweak = lib.secp256k1_ec_seckey_tweak_mul, lib.secp256k1_ec_seckey_tweak_add
    if not all(
        multiply(_CONTEXT, target + SCALAR_BYTES * i, multiplier)
        and tweak(_CONTEXT, target + SCALAR_BYTES * i, table + offset)
        for i, offset in enumerate(offsets)
    ):
        raise DataError("secp256k1: expected scalars between 1 and the group order minus 1, got another")
    return results


def _combine(addresses: NDArray[np.uint64]) -> Point | None:
    contiguous = np.ascontiguousarray(addresses)
    raw = ffi.new("secp256k1_pubkey *")
    pointers = ffi.cast("secp256k1_pubkey **", contiguous.ctypes.data)
    if not lib.secp256k1_ec_pubkey_combine(_CONTEXT, raw, pointers, len(contiguous)):
        return None
    return Point(raw)
