"""The group secp256k1 from the libsecp256k1 that coincurve ships.

This file and `multi_scalar`, which works on many points at once, are the only ones that touch coincurve.

Promises: a `Point` is always a valid element other than the identity, which has no encoding; operations named
`secret` take the same time whatever the scalar (`secp256k1_ec_pubkey_create`, `secp256k1_ecdh` and the
`seckey` functions are constant time by design); the others are for public values only. Scalars are 32
big-endian bytes between 1 and the group order minus 1; secret ones are `SecretBytes`, read where they lie and
overwritten after use. Refuses every other encoding.

Not promised: that no copy of a secret exists (`SecretBytes` says which do).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from typing import Any, Self, TypeAlias

import numpy as np
from coincurve import GLOBAL_CONTEXT
from coincurve._libsecp256k1 import ffi, lib
from numpy.typing import NDArray

from noren_core.crypto.secret import SecretBytes
from noren_core.errors import DataError

POINT_BYTES = 33
SCALAR_BYTES = 32
MULTIPLES = 256
"""How many multiples a `MultiplesTable` holds of each point."""

GROUP_ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141

RawPoint: TypeAlias = Any  # cffi's secp256k1_pubkey *
Scalar: TypeAlias = bytes | SecretBytes
"""A public scalar, or a secret one, which is read without being copied."""

_RAW_POINT_BYTES = 64  # libsecp256k1's own form of a point: opaque, may be copied
_HALF = ((GROUP_ORDER + 1) // 2).to_bytes(SCALAR_BYTES, "big")
_CONTEXT = GLOBAL_CONTEXT.ctx


class Point:
    """An element other than the identity."""

    __slots__ = ("raw",)

    def __init__(self, raw: RawPoint) -> None:
        self.raw = raw

    @classmethod
    def from_bytes(cls, encoding: bytes) -> Self:
        """The point with this 33-byte compressed encoding; DataError for any other bytes."""
        raw = ffi.new("secp256k1_pubkey *")
        if len(encoding) != POINT_BYTES or not lib.secp256k1_ec_pubkey_parse(
            _CONTEXT, raw, encoding, POINT_BYTES
        ):
            raise DataError(f"secp256k1: expected a point in {POINT_BYTES} bytes, got other bytes")
        return cls(raw)

    def to_bytes(self) -> bytes:
        """The 33-byte compressed encoding."""
        output = ffi.new("unsigned char[33]")
        length = ffi.new("size_t *", POINT_BYTES)
        lib.secp256k1_ec_pubkey_serialize(_CONTEXT, output, length, self.raw, lib.SECP256K1_EC_COMPRESSED)
        return bytes(ffi.buffer(output))

    def __neg__(self) -> Point:
        raw = ffi.new("secp256k1_pubkey *", self.raw[0])
        lib.secp256k1_ec_pubkey_negate(_CONTEXT, raw)
        return Point(raw)


def sum_points(points: Iterable[Point]) -> Point | None:
    """The sum of one or more points; None if it is the identity. Variable time."""
    addends = [point.raw for point in points]
    raw = ffi.new("secp256k1_pubkey *")
    if not lib.secp256k1_ec_pubkey_combine(
        _CONTEXT, raw, ffi.new("secp256k1_pubkey *[]", addends), len(addends)
    ):
        return None
    return Point(raw)


def multiply_public(scalar: bytes, point: Point) -> Point:
    """k·P for a public scalar; DataError for a scalar that is zero or too large. Variable time."""
    raw = ffi.new("secp256k1_pubkey *", point.raw[0])
    _require(lib.secp256k1_ec_pubkey_tweak_mul(_CONTEXT, raw, _scalar(scalar)))
    return Point(raw)


def multiply_base_secret(scalar: Scalar) -> Point:
    """k·G in constant time; DataError for a scalar that is zero or too large."""
    raw = ffi.new("secp256k1_pubkey *")
    _require(lib.secp256k1_ec_pubkey_create(_CONTEXT, raw, _scalar(scalar)))
    return Point(raw)


def multiply_secret(scalar: Scalar, point: Point) -> Point:
    """k·P in constant time; DataError for a scalar that is zero or too large."""
    # secp256k1_ecdh is the library's only constant-time product with a point of our choice. It hands the
    # product to a hash function; ours keeps both coordinates instead of hashing them.
    coordinates = ffi.new("unsigned char[64]")
    _require(
        lib.secp256k1_ecdh(_CONTEXT, coordinates, point.raw, _scalar(scalar), _keep_coordinates, ffi.NULL)
    )
    raw = ffi.new("secp256k1_pubkey *")
    _require(lib.secp256k1_ec_pubkey_parse(_CONTEXT, raw, b"\x04" + bytes(ffi.buffer(coordinates)), 65))
    return Point(raw)


def random_scalar() -> SecretBytes:
    """A uniform scalar from the operating system's generator."""
    while True:
        scalar = SecretBytes(secrets.token_bytes(SCALAR_BYTES))
        if is_scalar(scalar):
            return scalar


def is_scalar(scalar: Scalar) -> bool:
    """Whether this encodes a number between 1 and the group order minus 1."""
    return len(scalar) == SCALAR_BYTES and bool(lib.secp256k1_ec_seckey_verify(_CONTEXT, _scalar(scalar)))


def add_secret_scalars(a: Scalar, b: Scalar) -> SecretBytes:
    """The sum a + b in constant time; b may be zero. DataError if the sum is."""
    result = _copy(a)
    _require(lib.secp256k1_ec_seckey_tweak_add(_CONTEXT, _writable(result), _scalar(b)))
    return result


def multiply_secret_scalars(a: Scalar, b: Scalar) -> SecretBytes:
    """The product a·b in constant time."""
    result = _copy(a)
    _require(lib.secp256k1_ec_seckey_tweak_mul(_CONTEXT, _writable(result), _scalar(b)))
    return result


def negate_scalar(scalar: Scalar) -> SecretBytes:
    """The negative -a in constant time."""
    result = _copy(scalar)
    _require(lib.secp256k1_ec_seckey_negate(_CONTEXT, _writable(result)))
    return result


def public_scalar(value: int) -> bytes:
    """A public integer modulo the group order; zero encodes as zeros, which no operation accepts."""
    return (value % GROUP_ORDER).to_bytes(SCALAR_BYTES, "big")


def hash_to_scalar(message: bytes) -> bytes:
    """SHA-512 of `message` modulo the group order: 512 bits, so the bias is below 2^-255."""
    return public_scalar(int.from_bytes(hashlib.sha512(message).digest(), "big"))


class MultiplesTable:
    """The multiples (z - 127.5)·P, 0 ≤ z < 256, of some points, in memory, to be added up in bulk.

    Halves, because then no multiple is the identity, which has no encoding, and one half of the table is the
    other negated. Nothing changes once the table is made, so threads share it. For public points; sums are
    variable time in the digits, whose own addresses they read.
    """

    def __init__(self, points: Sequence[Point]) -> None:
        """Compute 256 multiples of each point: some 0.3 ms and 16 KiB a point."""
        self._memory = np.zeros((len(points), MULTIPLES, _RAW_POINT_BYTES), np.uint8)
        for row, point in enumerate(points):
            self._fill(row, point)

    def shift(self, row: int, addend: Point) -> None:
        """Add `addend` to every multiple of one point, before the table is shared.

        Raises:
            DataError: if a multiple becomes the identity.
        """
        multiples, total = self._address(row), ffi.new("secp256k1_pubkey *")
        for z in range(MULTIPLES):
            pair = ffi.new("secp256k1_pubkey *[2]", [multiples + z, addend.raw])
            _require(lib.secp256k1_ec_pubkey_combine(_CONTEXT, total, pair, 2))
            multiples[z] = total[0]

    def sums(self, rows: NDArray[np.intp], digits: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The encoded sums of (z - 127.5)·P over the digits z of each line.

        Args:
            rows: which point each of the w columns stands for.
            digits: (n, w).

        Returns:
            (n, 33), encodings.

        Raises:
            DataError: if a sum is the identity.
        """
        addresses = np.multiply(digits, np.uint64(_RAW_POINT_BYTES), dtype=np.uint64, order="C")
        addresses += np.uint64(self._memory.ctypes.data)
        addresses += rows.astype(np.uint64) * np.uint64(MULTIPLES * _RAW_POINT_BYTES)
        encodings = _encoded_sums(addresses)
        if not encodings[:, 0].all():
            raise DataError("secp256k1: expected sums other than the identity, got the identity")
        return encodings

    def _address(self, row: int) -> RawPoint:
        return ffi.cast("secp256k1_pubkey *", self._memory[row].ctypes.data)

    def _fill(self, row: int, point: Point) -> None:
        half, multiples = MULTIPLES // 2, self._address(row)
        multiples[half] = multiply_public(_HALF, point).raw[0]
        _fill_progression(multiples + half, half, step=point)
        self._memory[row, :half] = self._memory[row, : half - 1 : -1]
        for z in range(half):
            lib.secp256k1_ec_pubkey_negate(_CONTEXT, multiples + z)


def encoded_multiples(first: int, count: int) -> NDArray[np.uint8]:
    """The (count, 33) encodings of first·G, (first + 1)·G, …, for positive multiples far below the order."""
    multiples = ffi.new("secp256k1_pubkey[]", count)
    multiples[0] = multiply_base_secret(public_scalar(first)).raw[0]
    _fill_progression(multiples, count, step=GENERATOR)
    return _encode(multiples, count, range(count))


def encoded_shifts(points: Sequence[Sequence[Point]], shifts: Sequence[Point]) -> NDArray[np.uint8]:
    """The encodings of all P + Q + S, for n pairs (P, Q) and m shifts S; zeros where one is the identity.

    Returns:
        (n, m, 33).
    """
    addends = np.array([[_number(point.raw) for point in pair] for pair in points], np.uint64)
    addresses = np.empty((len(points), len(shifts), addends.shape[1] + 1), np.uint64)
    addresses[:, :, :-1] = addends[:, np.newaxis]
    addresses[:, :, -1] = np.array([_number(shift.raw) for shift in shifts], np.uint64)
    encodings = _encoded_sums(addresses.reshape(-1, addresses.shape[2]))
    return encodings.reshape(len(points), len(shifts), POINT_BYTES)


def _fill_progression(points: RawPoint, count: int, *, step: Point) -> None:
    """points[i] = points[0] + i·step, each from the one before it."""
    pairs = np.empty((count, 2), np.uint64)
    pairs[:, 0] = np.arange(count, dtype=np.uint64) * np.uint64(_RAW_POINT_BYTES) + _number(points)
    pairs[:, 1] = _number(step.raw)
    addends = ffi.cast("secp256k1_pubkey **", pairs.ctypes.data)
    combine = lib.secp256k1_ec_pubkey_combine
    _require(all(combine(_CONTEXT, points + i, addends + 2 * (i - 1), 2) for i in range(1, count)))


def _encoded_sums(addresses: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """The encoded sum of each line of a C-contiguous matrix of addresses of raw points; zeros for identity.

    All sums first, then all encodings: two short loops around one call each, so that little happens while
    the interpreter lock is held.
    """
    count, width = addresses.shape
    pointers = ffi.cast("secp256k1_pubkey **", addresses.ctypes.data)
    sums = ffi.new("secp256k1_pubkey[]", count)
    combine = lib.secp256k1_ec_pubkey_combine
    is_point = [combine(_CONTEXT, sums + i, pointers + i * width, width) for i in range(count)]
    return _encode(sums, count, range(count) if all(is_point) else np.flatnonzero(is_point).tolist())


def _encode(points: RawPoint, count: int, which: Iterable[int]) -> NDArray[np.uint8]:
    encodings = np.zeros((count, POINT_BYTES), np.uint8)
    output = ffi.cast("unsigned char *", encodings.ctypes.data)
    length, compressed = ffi.new("size_t *", POINT_BYTES), lib.SECP256K1_EC_COMPRESSED
    serialize = lib.secp256k1_ec_pubkey_serialize
    for i in which:
        serialize(_CONTEXT, output + POINT_BYTES * i, length, points + i, compressed)
    return encodings


def _number(pointer: RawPoint) -> np.uint64:
    return np.uint64(int(ffi.cast("uintptr_t", pointer)))


def _copy(scalar: Scalar) -> SecretBytes:
    return SecretBytes(scalar.buffer if isinstance(scalar, SecretBytes) else scalar)


def _writable(secret: SecretBytes) -> Any:
    return ffi.from_buffer("unsigned char[]", secret.buffer, require_writable=True)


def _scalar(scalar: Scalar) -> Any:
    if len(scalar) != SCALAR_BYTES:  # C reads 32 bytes whatever it is given
        raise DataError(f"secp256k1: expected a scalar of {SCALAR_BYTES} bytes, got {len(scalar)}")
    return ffi.from_buffer("unsigned char[]", scalar.buffer) if isinstance(scalar, SecretBytes) else scalar


def _require(success: int) -> None:
    if not success:
        raise DataError("secp256k1: expected a scalar below the group order and a result other than identity")


@ffi.callback("int(unsigned char *, const unsigned char *, const unsigned char *, void *)")  # type: ignore[untyped-decorator]
def _keep_coordinates(output: Any, x: Any, y: Any, _data: Any) -> int:
    ffi.memmove(output, x, 32)
    ffi.memmove(output + 32, y, 32)
    return 1


GENERATOR = multiply_base_secret(public_scalar(1))
