"""The group secp256k1 from the libsecp256k1 that coincurve ships; the only file that touches coincurve.

Promises: a `Point` is always a valid element other than the identity, which has no encoding; operations named
`secret` take the same time whatever the scalar (`secp256k1_ec_pubkey_create`, `secp256k1_ecdh` and the
`seckey` functions are constant time by design); the others are for public values only. Scalars are 32
big-endian bytes between 1 and the group order minus 1. Refuses every other encoding.

Not promised: wiping. Python copies byte strings freely, so a secret stays in memory until it is reused.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from typing import Any, Self, TypeAlias

from coincurve import GLOBAL_CONTEXT
from coincurve._libsecp256k1 import ffi, lib

from noren_core.errors import DataError

POINT_BYTES = 33
SCALAR_BYTES = 32
RAW_POINT_BYTES = 64
"""Length of libsecp256k1's own form of a point, which `PointSums` reads from memory."""

GROUP_ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141

RawPoint: TypeAlias = Any  # cffi's secp256k1_pubkey *
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


def add_base_multiple_public(point: Point, scalar: bytes) -> Point:
    """P + k·G for a public scalar; DataError if the sum is the identity. Variable time."""
    raw = ffi.new("secp256k1_pubkey *", point.raw[0])
    _require(lib.secp256k1_ec_pubkey_tweak_add(_CONTEXT, raw, _scalar(scalar)))
    return Point(raw)


def multiply_base_secret(scalar: bytes) -> Point:
    """k·G in constant time; DataError for a scalar that is zero or too large."""
    raw = ffi.new("secp256k1_pubkey *")
    _require(lib.secp256k1_ec_pubkey_create(_CONTEXT, raw, _scalar(scalar)))
    return Point(raw)


def multiply_secret(scalar: bytes, point: Point) -> Point:
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


def random_scalar() -> bytes:
    """A uniform scalar from the operating system's generator."""
    while True:
        scalar = secrets.token_bytes(SCALAR_BYTES)
        if is_scalar(scalar):
            return scalar


def is_scalar(scalar: bytes) -> bool:
    """Whether this encodes a number between 1 and the group order minus 1."""
    return len(scalar) == SCALAR_BYTES and bool(lib.secp256k1_ec_seckey_verify(_CONTEXT, scalar))


def add_secret_scalars(a: bytes, b: bytes) -> bytes:
    """The sum a + b in constant time; DataError if it is zero."""
    result = ffi.new("unsigned char[32]", _scalar(a))
    _require(lib.secp256k1_ec_seckey_tweak_add(_CONTEXT, result, _scalar(b)))
    return bytes(ffi.buffer(result))


def multiply_secret_scalars(a: bytes, b: bytes) -> bytes:
    """The product a·b in constant time."""
    result = ffi.new("unsigned char[32]", _scalar(a))
    _require(lib.secp256k1_ec_seckey_tweak_mul(_CONTEXT, result, _scalar(b)))
    return bytes(ffi.buffer(result))


def negate_scalar(scalar: bytes) -> bytes:
    """The negative -a in constant time."""
    result = ffi.new("unsigned char[32]", _scalar(scalar))
    _require(lib.secp256k1_ec_seckey_negate(_CONTEXT, result))
    return bytes(ffi.buffer(result))


def public_scalar(value: int) -> bytes:
    """A public integer modulo the group order; zero encodes as zeros, which no operation accepts."""
    return (value % GROUP_ORDER).to_bytes(SCALAR_BYTES, "big")


def hash_to_scalar(message: bytes) -> bytes:
    """SHA-512 of `message` modulo the group order: 512 bits, so the bias is below 2^-255."""
    return public_scalar(int.from_bytes(hashlib.sha512(message).digest(), "big"))


class PointSums:
    """Sums of many points that already lie in memory, in one call each; variable time, for bulk work."""

    def __init__(self) -> None:
        self._sum = ffi.new("secp256k1_pubkey *")
        self._encoding = ffi.new("unsigned char[33]")
        self._length = ffi.new("size_t *", POINT_BYTES)

    def encoded_sums(self, addresses: int, *, rows: int, row_length: int) -> list[bytes]:
        """The encoded sum of each row of a matrix of pointers to raw points.

        Args:
            addresses: where the matrix of rows · row_length pointers lies.
            rows: number of sums.
            row_length: number of points in each.

        Raises:
            DataError: if a sum is the identity.
        """
        pointers = ffi.cast("secp256k1_pubkey **", addresses)
        return [self._encoded_sum(pointers + row * row_length, row_length) for row in range(rows)]

    def _encoded_sum(self, pointers: Any, count: int) -> bytes:
        _require(lib.secp256k1_ec_pubkey_combine(_CONTEXT, self._sum, pointers, count))
        lib.secp256k1_ec_pubkey_serialize(
            _CONTEXT, self._encoding, self._length, self._sum, lib.SECP256K1_EC_COMPRESSED
        )
        return bytes(ffi.buffer(self._encoding))


def raw_multiples(point: Point, count: int) -> bytes:
    """1·P, 2·P, …, count·P in raw form, one after the other."""
    multiples = ffi.new("secp256k1_pubkey[]", count)
    multiples[0] = point.raw[0]
    for i in range(1, count):
        pair = ffi.new("secp256k1_pubkey *[2]", [multiples + i - 1, point.raw])
        _require(lib.secp256k1_ec_pubkey_combine(_CONTEXT, multiples + i, pair, 2))
    return bytes(ffi.buffer(multiples))


def _scalar(scalar: bytes) -> bytes:
    if len(scalar) != SCALAR_BYTES:  # C reads 32 bytes whatever it is given
        raise DataError(f"secp256k1: expected a scalar of {SCALAR_BYTES} bytes, got {len(scalar)}")
    return scalar


def _require(success: int) -> None:
    if not success:
        raise DataError("secp256k1: expected a scalar below the group order and a result other than identity")


@ffi.callback("int(unsigned char *, const unsigned char *, const unsigned char *, void *)")  # type: ignore[untyped-decorator]
def _keep_coordinates(output: Any, x: Any, y: Any, _data: Any) -> int:
    ffi.memmove(output, x, 32)
    ffi.memmove(output + 32, y, 32)
    return 1


GENERATOR = multiply_base_secret(public_scalar(1))
