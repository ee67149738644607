"""What the C libraries need by themselves: the floors that our code is compared with.

A function of libsodium is called through ctypes with prepared arguments, and the cost of the same call to a
function that does nothing with them is taken off. libsecp256k1 is called as coincurve compiles it, whose
overhead is below one per cent of a sum.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import secrets
from collections.abc import Sequence
from itertools import repeat

import numpy as np
from coincurve import GLOBAL_CONTEXT
from coincurve._libsecp256k1 import ffi, lib

from noren_bench.measurement import cpu_seconds, microseconds_each

_CALLS = 20_000
_LIBRARY = ctypes.CDLL(ctypes.util.find_library("sodium"))
_LIBRARY.sodium_init()  # chooses the processor's own instructions, as every program that uses it does


def hash_to_group() -> float:
    """µs of mapping 64 uniform bytes to ristretto255."""
    return _sodium("crypto_core_ristretto255_from_hash", [_out(32), _in(64)])


def multiply() -> float:
    """µs of one multiplication in ristretto255."""
    scalar, point = _out(32), _out(32)
    _LIBRARY.crypto_core_ristretto255_scalar_random(scalar)
    _LIBRARY.crypto_core_ristretto255_from_hash(point, _in(64))
    return _sodium("crypto_scalarmult_ristretto255", [_out(32), scalar, point])


def seal(payload_bytes: int, associated_bytes: int) -> float:
    """µs of one ChaCha20-Poly1305 encryption."""
    length = ctypes.c_ulonglong
    arguments = [_out(payload_bytes + 16), None, _in(payload_bytes), length(payload_bytes)]
    arguments += [_in(associated_bytes), length(associated_bytes), None, _in(12), _in(32)]
    return _sodium("crypto_aead_chacha20poly1305_ietf_encrypt", arguments)


class PointSums:
    """What one score needs of libsecp256k1: two sums of d + 32 points, and two encodings."""

    def __init__(self, dimensions: int, *, rows: int = 2_000) -> None:
        """Prepare points, and rows of pointers to some of them; both must live as long as they are read."""
        self._rows, self._width = rows, dimensions + 32
        self._points = ffi.new("secp256k1_pubkey[]", self._width * 256)
        for index in range(self._width * 256):
            lib.secp256k1_ec_pubkey_create(GLOBAL_CONTEXT.ctx, self._points + index, secrets.token_bytes(32))
        digits = np.frombuffer(secrets.token_bytes(rows * self._width), np.uint8).reshape(rows, self._width)
        chosen = (np.arange(self._width) * 256 + digits).astype(np.uint64)
        self._addresses = int(ffi.cast("uintptr_t", self._points)) + chosen * np.uint64(64)

    def microseconds(self) -> float:
        """CPU µs of one score, measured now."""
        return 2 * microseconds_each(self._sum_all, self._rows, repeats=1)

    def _sum_all(self) -> None:
        pointers = ffi.cast("secp256k1_pubkey **", self._addresses.ctypes.data)
        total, encoding = ffi.new("secp256k1_pubkey *"), ffi.new("unsigned char[33]")
        length, context = ffi.new("size_t *", 33), GLOBAL_CONTEXT.ctx
        for row in range(self._rows):
            lib.secp256k1_ec_pubkey_combine(context, total, pointers + row * self._width, self._width)
            lib.secp256k1_ec_pubkey_serialize(context, encoding, length, total, lib.SECP256K1_EC_COMPRESSED)


def _sodium(name: str, arguments: Sequence[object]) -> float:
    return (_loop(name, arguments) - _loop("sodium_library_minimal", arguments)) / _CALLS * 1e6


def _loop(name: str, arguments: Sequence[object]) -> float:
    function = _LIBRARY[name]  # an object of its own, so that argument types are not shared

    def calls() -> None:
        for _ in repeat(None, _CALLS):
            function(*arguments)

    return cpu_seconds(calls, repeats=1)


def _out(length: int) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(length)


def _in(length: int) -> ctypes.Array[ctypes.c_char]:
    return (ctypes.c_char * length).from_buffer_copy(secrets.token_bytes(length))
