"""The group secp256k1 in plain integers (SEC 2 §2.4.1), with compressed points (SEC 1 §2.3.3)."""

from __future__ import annotations

from dataclasses import dataclass

from . import expect

P = 2**256 - 2**32 - 977
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@dataclass(frozen=True, slots=True)
class Point:
    """A point in Jacobian coordinates, x/z² and y/z³; `z` is 0 for the identity."""

    x: int
    y: int
    z: int

    def __add__(self, other: Point) -> Point:
        if not self.z or not other.z:
            return self if self.z else other
        z1, z2 = self.z * self.z % P, other.z * other.z % P
        u1, u2 = self.x * z2 % P, other.x * z1 % P
        s1, s2 = self.y * z2 * other.z % P, other.y * z1 * self.z % P
        if u1 == u2:
            return self._double() if s1 == s2 else IDENTITY
        h, r = u2 - u1, s2 - s1
        hh = h * h % P
        v, hhh = u1 * hh % P, hh * h % P
        x = (r * r - hhh - 2 * v) % P
        return Point(x, (r * (v - x) - s1 * hhh) % P, self.z * other.z * h % P)

    def _double(self) -> Point:
        yy = self.y * self.y % P
        s, m = 4 * self.x * yy % P, 3 * self.x * self.x % P
        x = (m * m - 2 * s) % P
        return Point(x, (m * (s - x) - 8 * yy * yy) % P, 2 * self.y * self.z % P)

    def __neg__(self) -> Point:
        return Point(self.x, -self.y % P, self.z)

    def __sub__(self, other: Point) -> Point:
        return self + -other

    def __rmul__(self, scalar: int) -> Point:
        total, power = IDENTITY, self
        for bit in range((scalar % ORDER).bit_length()):
            if scalar % ORDER >> bit & 1:
                total += power
            power += power
        return total

    def encode(self) -> bytes:
        """33 bytes; the identity has no encoding."""
        expect(self.z, "the identity has no encoding")
        inverse = pow(self.z, -1, P)
        x, y = self.x * inverse**2 % P, self.y * inverse**3 % P
        return bytes([2 + (y & 1)]) + x.to_bytes(32)


def decode(encoding: bytes) -> Point:
    """The point of a compressed encoding."""
    expect(len(encoding) == 33 and encoding[0] in {2, 3}, "a compressed point")
    x = int.from_bytes(encoding[1:])
    y = pow(x**3 + 7, (P + 1) // 4, P)
    expect(x < P and (y * y - x**3 - 7) % P == 0, "a point of the curve")
    return Point(x, y if y & 1 == encoding[0] & 1 else P - y, 1)


IDENTITY = Point(1, 1, 0)
G = decode(bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"))
