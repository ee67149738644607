"""The ristretto255 group (RFC 9496) from the system's libsodium.

Promises: points and scalars are 32-byte strings, every multiplication runs in libsodium's constant-time
code, and a secret scalar is never turned into a Python integer, whose arithmetic takes time that depends
on its value. Refuses lengths other than the ones stated before any pointer reaches C, and the identity
element wherever RFC 9497 does (`is_valid_point`, results of a multiplication).

Not promised: wiping. Python copies byte strings freely, so a secret stays in memory until it is reused.
"""

from __future__ import annotations

import ctypes
import hmac
from functools import cache

from noren_core.errors import ConfigurationError, DataError

POINT_BYTES = 32
SCALAR_BYTES = 32
WIDE_SCALAR_BYTES = 64
HASH_BYTES = 64

_IDENTITY = bytes(POINT_BYTES)
_ZERO = bytes(SCALAR_BYTES)
_LIBRARY_NAMES = ("libsodium.so.23", "libsodium.so.26", "libsodium.so", "libsodium.dylib")
# C name -> number of pointer arguments; the first is always the output, except for the check.
_FUNCTIONS = {
    "crypto_core_ristretto255_is_valid_point": 1,
    "crypto_core_ristretto255_from_hash": 2,
    "crypto_core_ristretto255_add": 3,
    "crypto_core_ristretto255_scalar_random": 1,
    "crypto_core_ristretto255_scalar_reduce": 2,
    "crypto_core_ristretto255_scalar_invert": 2,
    "crypto_core_ristretto255_scalar_mul": 3,
    "crypto_core_ristretto255_scalar_sub": 3,
    "crypto_scalarmult_ristretto255": 3,
    "crypto_scalarmult_ristretto255_base": 2,
}
# These return nothing; what ctypes would read as their result is a leftover register.
_VOID = {
    "crypto_core_ristretto255_scalar_random",
    "crypto_core_ristretto255_scalar_reduce",
    "crypto_core_ristretto255_scalar_mul",
    "crypto_core_ristretto255_scalar_sub",
}


def is_valid_point(encoding: bytes) -> bool:
    """Whether this is the canonical encoding of an element other than the identity (RFC 9497 §4.1)."""
    if len(encoding) != POINT_BYTES or encoding == _IDENTITY:
        return False
    return bool(_library().crypto_core_ristretto255_is_valid_point(encoding) == 1)


def hash_to_point(uniform: bytes) -> bytes:
    """The element that 64 uniform bytes map to (RFC 9496 §4.3.4)."""
    return _call("crypto_core_ristretto255_from_hash", (uniform, HASH_BYTES))


def add(p: bytes, q: bytes) -> bytes:
    """P + Q."""
    return _call("crypto_core_ristretto255_add", (p, POINT_BYTES), (q, POINT_BYTES))


def multiply(scalar: bytes, point: bytes) -> bytes:
    """k·P; DataError if P is invalid or the product is the identity."""
    return _call("crypto_scalarmult_ristretto255", (scalar, SCALAR_BYTES), (point, POINT_BYTES))


def multiply_base(scalar: bytes) -> bytes:
    """k·G; DataError for k = 0."""
    return _call("crypto_scalarmult_ristretto255_base", (scalar, SCALAR_BYTES))


def random_scalar() -> bytes:
    """A uniform scalar other than zero, from the operating system's generator."""
    return _call("crypto_core_ristretto255_scalar_random")


def reduce_scalar(wide: bytes) -> bytes:
    """A 64-byte little-endian number modulo the group order."""
    return _call("crypto_core_ristretto255_scalar_reduce", (wide, WIDE_SCALAR_BYTES))


def invert_scalar(scalar: bytes) -> bytes:
    """1/k; DataError for k = 0."""
    return _call("crypto_core_ristretto255_scalar_invert", (scalar, SCALAR_BYTES))


def multiply_scalars(a: bytes, b: bytes) -> bytes:
    """The product a·b modulo the group order."""
    return _call("crypto_core_ristretto255_scalar_mul", (a, SCALAR_BYTES), (b, SCALAR_BYTES))


def subtract_scalars(a: bytes, b: bytes) -> bytes:
    """The difference a - b modulo the group order."""
    return _call("crypto_core_ristretto255_scalar_sub", (a, SCALAR_BYTES), (b, SCALAR_BYTES))


def is_canonical_scalar(scalar: bytes) -> bool:
    """Whether this is the one encoding of a number below the group order; takes the same time for all."""
    if len(scalar) != SCALAR_BYTES:
        return False
    return hmac.compare_digest(reduce_scalar(scalar + bytes(32)), scalar)


def is_zero_scalar(scalar: bytes) -> bool:
    """Whether a canonical scalar is zero; takes the same time for all."""
    return hmac.compare_digest(scalar, _ZERO)


def _call(name: str, *arguments: tuple[bytes, int]) -> bytes:
    """Run one libsodium function on arguments of checked length and return its 32-byte output."""
    for value, length in arguments:
        if len(value) != length:  # C reads `length` bytes whatever it is given
            raise DataError(f"ristretto255: expected {length} bytes, got {len(value)}")
    output = ctypes.create_string_buffer(32)
    if getattr(_library(), name)(output, *(value for value, _ in arguments)):
        raise DataError("ristretto255: expected a valid element and a result other than the identity")
    return output.raw


@cache
def _library() -> ctypes.CDLL:
    library = _open_library()
    for name, arity in _FUNCTIONS.items():
        function = getattr(library, name)
        function.argtypes = [ctypes.c_char_p] * arity
        function.restype = None if name in _VOID else ctypes.c_int
    return library


def _open_library() -> ctypes.CDLL:
    for name in _LIBRARY_NAMES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        # Negative is failure; 1 means another part of this process was first, which is fine.
        if library.sodium_init() >= 0 and all(hasattr(library, function) for function in _FUNCTIONS):
            return library
    raise ConfigurationError(
        "libsodium 1.0.18 or newer is not installed; on Debian and Ubuntu: apt-get install libsodium23",
        code="LIBSODIUM_MISSING",
    )
