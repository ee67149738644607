"""The ristretto255 group (RFC 9496) from the system's libsodium.

Promises: points and scalars are 32 bytes, every operation on a secret scalar runs in libsodium's
constant-time code, and a secret scalar is never turned into a Python integer, whose arithmetic takes time
that depends on its value. A secret scalar is a `SecretBytes`, which C reads and writes in place, so that
wiping it wipes the only copy made here. Refuses lengths other than the ones stated before any pointer reaches
C, and the identity element wherever RFC 9497 does (`is_valid_point`, results of a multiplication).

Every function may be called from several threads at once and lets other threads run while it computes. Not
promised: that C leaves nothing on its stack, or the operating system in its swap.
"""

from __future__ import annotations

import ctypes
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from noren_core.crypto.secret import SecretBytes
from noren_core.errors import ConfigurationError, DataError

POINT_BYTES = 32
SCALAR_BYTES = 32
WIDE_SCALAR_BYTES = 64
HASH_BYTES = 64

_IDENTITY = bytes(POINT_BYTES)
_ZERO = bytes(SCALAR_BYTES)
# RFC 9496 §4.3.1 refuses an encoding with this bit; libsodium 1.0.18 reads over it, and every element would
# have a second encoding.
_TOP_BIT = 0x80
_LIBRARY_NAMES = ("libsodium.so.23", "libsodium.so.26", "libsodium.so", "libsodium.dylib")
_Output = ctypes.c_char * 32
_ARRAYS = {SCALAR_BYTES: _Output, WIDE_SCALAR_BYTES: ctypes.c_char * WIDE_SCALAR_BYTES}
_Function = Callable[..., int | None]
_Pointer = bytes | ctypes.Array[ctypes.c_char]


@dataclass(frozen=True, slots=True)
class _Functions:
    """What is called of libsodium, looked up once."""

    is_valid_point: _Function
    from_hash: _Function
    add: _Function
    scalar_random: _Function
    scalar_reduce: _Function
    scalar_invert: _Function
    scalar_mul: _Function
    scalar_sub: _Function
    scalarmult: _Function
    scalarmult_base: _Function


# Field of `_Functions` -> C name, number of pointer arguments (the first is always the output, except for the
# check), and whether there is a result: what ctypes would read of a void function is a leftover register.
_SIGNATURES = {
    "is_valid_point": ("crypto_core_ristretto255_is_valid_point", 1, True),
    "from_hash": ("crypto_core_ristretto255_from_hash", 2, True),
    "add": ("crypto_core_ristretto255_add", 3, True),
    "scalar_random": ("crypto_core_ristretto255_scalar_random", 1, False),
    "scalar_reduce": ("crypto_core_ristretto255_scalar_reduce", 2, False),
    "scalar_invert": ("crypto_core_ristretto255_scalar_invert", 2, True),
    "scalar_mul": ("crypto_core_ristretto255_scalar_mul", 3, False),
    "scalar_sub": ("crypto_core_ristretto255_scalar_sub", 3, False),
    "scalarmult": ("crypto_scalarmult_ristretto255", 3, True),
    "scalarmult_base": ("crypto_scalarmult_ristretto255_base", 2, True),
}


def is_valid_point(encoding: bytes) -> bool:
    """Whether this is the canonical encoding of an element other than the identity (RFC 9497 §4.1)."""
    if len(encoding) != POINT_BYTES or encoding == _IDENTITY or encoding[-1] & _TOP_BIT:
        return False
    return _functions().is_valid_point(encoding) == 1


def hash_to_point(uniform: bytes) -> bytes:
    """The element that 64 uniform bytes map to (RFC 9496 §4.3.4)."""
    return _public(_functions().from_hash, _pointer(uniform, HASH_BYTES))


def add(p: bytes, q: bytes) -> bytes:
    """P + Q, or DataError if one is not a valid element; the identity is one here."""
    return _public(_functions().add, _point(p), _point(q))


def multiply(scalar: bytes | SecretBytes, point: bytes) -> bytes:
    """k·P; DataError if P is invalid or the product is the identity, as it is for a wiped k."""
    return _public(_functions().scalarmult, _pointer(scalar, SCALAR_BYTES), _point(point))


def multiply_base(scalar: bytes | SecretBytes) -> bytes:
    """k·G; DataError for k = 0."""
    return _public(_functions().scalarmult_base, _pointer(scalar, SCALAR_BYTES))


def random_scalar() -> SecretBytes:
    """A uniform scalar other than zero, from the operating system's generator."""
    return _secret(_functions().scalar_random)


def reduce_scalar(wide: bytes) -> bytes:
    """A 64-byte little-endian number modulo the group order."""
    return _public(_functions().scalar_reduce, _pointer(wide, WIDE_SCALAR_BYTES))


def invert_scalar(scalar: SecretBytes) -> SecretBytes:
    """1/k; DataError for k = 0."""
    return _secret(_functions().scalar_invert, _pointer(scalar, SCALAR_BYTES))


def multiply_scalars(a: bytes | SecretBytes, b: bytes | SecretBytes) -> SecretBytes:
    """The product a·b modulo the group order."""
    return _secret(_functions().scalar_mul, _pointer(a, SCALAR_BYTES), _pointer(b, SCALAR_BYTES))


def subtract_scalars(a: bytes | SecretBytes, b: bytes | SecretBytes) -> bytes:
    """The difference a - b modulo the group order, which must be fit to be published."""
    return _public(_functions().scalar_sub, _pointer(a, SCALAR_BYTES), _pointer(b, SCALAR_BYTES))


def is_canonical_scalar(scalar: bytes | SecretBytes) -> bool:
    """Whether this is the one encoding of a number below the group order; takes the same time for all."""
    if len(scalar) != SCALAR_BYTES:
        return False
    content = scalar if isinstance(scalar, bytes) else scalar.buffer
    wide = SecretBytes(bytes(WIDE_SCALAR_BYTES))
    wide.buffer[:SCALAR_BYTES] = content
    reduced = _secret(_functions().scalar_reduce, _pointer(wide, WIDE_SCALAR_BYTES))
    same = hmac.compare_digest(reduced.buffer, content)
    wide.wipe()
    reduced.wipe()
    return same


def is_zero_scalar(scalar: SecretBytes) -> bool:
    """Whether a canonical scalar is zero; takes the same time for all."""
    return hmac.compare_digest(scalar.buffer, _ZERO)


def _pointer(value: bytes | SecretBytes, length: int) -> _Pointer:
    """What C may read `length` bytes from: it does so whatever it is given."""
    if len(value) != length:
        raise DataError(f"ristretto255: expected {length} bytes, got {len(value)}")
    return value if isinstance(value, bytes) else _ARRAYS[length].from_buffer(value.buffer)


def _point(encoding: bytes) -> _Pointer:
    if len(encoding) != POINT_BYTES or encoding[-1] & _TOP_BIT:
        raise DataError(f"ristretto255: expected the {POINT_BYTES} bytes of an element, got others")
    return encoding


def _public(function: _Function, *arguments: _Pointer) -> bytes:
    """Run one function on arguments of checked length and return its 32-byte output."""
    output = _Output()  # of this call alone: another thread may be in the same function
    if function(output, *arguments):
        raise DataError("ristretto255: expected a valid element and a result other than the identity")
    return output.raw


def _secret(function: _Function, *arguments: _Pointer) -> SecretBytes:
    """The same for an output that is a secret scalar, written where `wipe` reaches it."""
    output = SecretBytes(_ZERO)
    if function(_Output.from_buffer(output.buffer), *arguments):
        raise DataError("ristretto255: expected a scalar other than zero, got zero")
    return output


@cache
def _functions() -> _Functions:
    library = open_library()
    return _Functions(
        **{
            field: _bind(library, name, arity, has_result)
            for field, (name, arity, has_result) in _SIGNATURES.items()
        }
    )


def _bind(library: ctypes.CDLL, name: str, arity: int, has_result: bool) -> _Function:
    function = getattr(library, name)
    function.argtypes = [ctypes.c_char_p] * arity
    function.restype = ctypes.c_int if has_result else None
    return function  # type: ignore[no-any-return]


def open_library() -> ctypes.CDLL:
    """The system's libsodium, initialised; ConfigurationError (LIBSODIUM_MISSING) if there is none."""
    for name in _LIBRARY_NAMES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        # Negative is failure; 1 means another part of this process was first, which is fine.
        if library.sodium_init() >= 0 and all(hasattr(library, name) for name, _, _ in _SIGNATURES.values()):
            return library
    raise ConfigurationError(
        "libsodium 1.0.18 or newer is not installed; on Debian and Ubuntu: apt-get install libsodium23",
        code="LIBSODIUM_MISSING",
    )
