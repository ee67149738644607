"""Elliptic-curve arithmetic as it is found in tutorials: right for every point of the curve."""

from __future__ import annotations

import hashlib
import secrets

# secp256k1: y² = x³ + 7 over this field. The formulas below do not mention the 7.
FIELD = 2**256 - 2**32 - 977
ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141

Affine = tuple[int, int]

# Curve25519, RFC 7748.
_FIELD_25519 = 2**255 - 19
_A24 = 121665


class CurveOprf:
    """An oblivious function by Diffie–Hellman on secp256k1: k·H(x), blinded with a factor."""

    def __init__(self) -> None:
        self._key = secrets.randbelow(ORDER - 1) + 1

    def evaluate_blinded(self, element: Affine) -> Affine | None:
        """k times what the client sent."""
        return multiply(self._key, element)

    def tag(self, identifier: bytes) -> bytes:
        """Where an identifier's row lies in the server's table."""
        return tag(self._key, identifier)


def tag(key: int, identifier: bytes) -> bytes:
    """The function itself."""
    return hashlib.sha256(repr(multiply(key, hash_to_curve(identifier))).encode()).digest()[:16]


def hash_to_curve(message: bytes) -> Affine:
    """Try and increment."""
    for counter in range(256):
        x = int.from_bytes(hashlib.sha256(bytes([counter]) + message).digest(), "big") % FIELD
        y = pow(x**3 + 7, (FIELD + 1) // 4, FIELD)
        if y * y % FIELD == (x**3 + 7) % FIELD:
            return x, y
    raise ValueError("no point found")


def multiply(scalar: int, point: Affine | None) -> Affine | None:
    """Double and add."""
    total: Affine | None = None
    while scalar:
        if scalar & 1:
            total = add(total, point)
        point = add(point, point)
        scalar >>= 1
    return total


def add(p: Affine | None, q: Affine | None) -> Affine | None:
    """The affine formulas; None is the identity."""
    if p is None or q is None:
        return p or q
    if p[0] == q[0] and (p[1] + q[1]) % FIELD == 0:
        return None
    if p == q:
        slope = 3 * p[0] ** 2 * pow(2 * p[1], -1, FIELD) % FIELD
    else:
        slope = (q[1] - p[1]) * pow(q[0] - p[0], -1, FIELD) % FIELD
    x = (slope**2 - p[0] - q[0]) % FIELD
    return x, (slope * (p[0] - x) - p[1]) % FIELD


def x25519(private: bytes, public: bytes) -> bytes:
    """RFC 7748 §5, without the check of §6.1 that the result is not zero."""
    k = int.from_bytes(private, "little") & ~7 & ~(1 << 255) | 1 << 254
    u = int.from_bytes(public, "little") & ((1 << 255) - 1)
    x_2, z_2, x_3, z_3, swap = 1, 0, u, 1, 0
    for position in range(254, -1, -1):
        bit = k >> position & 1
        if swap ^ bit:
            x_2, z_2, x_3, z_3 = x_3, z_3, x_2, z_2
        swap = bit
        a, b, c, d = x_2 + z_2, x_2 - z_2, x_3 + z_3, x_3 - z_3
        aa, bb, da, cb = a * a, b * b, d * a, c * b
        e = aa - bb
        x_3, z_3 = (da + cb) ** 2 % _FIELD_25519, u * (da - cb) ** 2 % _FIELD_25519
        x_2, z_2 = aa * bb % _FIELD_25519, e * (aa + _A24 * e) % _FIELD_25519
    if swap:
        x_2, z_2 = x_3, z_3
    return (x_2 * pow(z_2, _FIELD_25519 - 2, _FIELD_25519) % _FIELD_25519).to_bytes(32, "little")
