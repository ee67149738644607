"""The group ristretto255 in plain integers (RFC 9496 §4)."""

from __future__ import annotations

from dataclasses import dataclass

from . import expect

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, P) % P
_SQRT_MINUS_1 = pow(2, (P - 1) // 4, P)
_ONE_MINUS_D_SQUARED = (1 - _D * _D) % P
_D_MINUS_ONE_SQUARED = (_D - 1) ** 2 % P


def _is_negative(x: int) -> bool:
    return bool(x % P & 1)


def _absolute(x: int) -> int:
    return -x % P if _is_negative(x) else x % P


def _square_root_of_ratio(u: int, v: int) -> tuple[bool, int]:
    """Whether u/v is a square, and the non-negative root of u/v, or else of i·u/v (RFC 9496 §4.2)."""
    root = u * v**3 * pow(u * v**7, (P - 5) // 8, P) % P
    check = v * root * root % P
    is_root, is_negated = check == u % P, check == -u % P
    if is_negated or check == -u * _SQRT_MINUS_1 % P:
        root = root * _SQRT_MINUS_1
    return is_root or is_negated, _absolute(root)


_INVERSE_ROOT_OF_A_MINUS_D = _square_root_of_ratio(1, -1 - _D)[1]
_ROOT_OF_AD_MINUS_ONE = -_square_root_of_ratio(-_D - 1, 1)[1] % P  # RFC 9496 takes the negative root


@dataclass(frozen=True, slots=True)
class Element:
    """A group element in extended coordinates."""

    x: int
    y: int
    z: int
    t: int

    def __add__(self, other: Element) -> Element:
        a = (self.y - self.x) * (other.y - other.x)
        b = (self.y + self.x) * (other.y + other.x)
        c, d = 2 * _D * self.t * other.t, 2 * self.z * other.z
        e, f, g, h = b - a, d - c, d + c, b + a
        return Element(e * f % P, g * h % P, f * g % P, e * h % P)

    def __rmul__(self, scalar: int) -> Element:
        total, power = IDENTITY, self
        for bit in range((scalar % ORDER).bit_length()):
            if scalar % ORDER >> bit & 1:
                total += power
            power += power
        return total

    def encode(self) -> bytes:
        """32 bytes, one spelling for each element (§4.3.2)."""
        u1, u2 = (self.z + self.y) * (self.z - self.y), self.x * self.y
        root = _square_root_of_ratio(1, u1 * u2 * u2)[1]
        d1, d2 = root * u1, root * u2
        z_inverse = d1 * d2 * self.t
        x, y, inverse = self.x, self.y, d2
        if _is_negative(self.t * z_inverse):
            x, y = self.y * _SQRT_MINUS_1, self.x * _SQRT_MINUS_1
            inverse = d1 * _INVERSE_ROOT_OF_A_MINUS_D
        if _is_negative(x * z_inverse):
            y = -y
        return _absolute(inverse * (self.z - y)).to_bytes(32, "little")

    def is_identity(self) -> bool:
        """Whether this is the neutral element."""
        return self.encode() == bytes(32)


IDENTITY = Element(0, 1, 1, 0)


def decode(encoding: bytes) -> Element:
    """The element of a canonical encoding; the identity is refused (§4.3.1)."""
    s = int.from_bytes(encoding, "little")
    expect(len(encoding) == 32 and 0 < s < P and not s & 1, "an element of ristretto255 expected")
    u1, u2 = 1 - s * s, 1 + s * s
    v = (-_D * u1 * u1 - u2 * u2) % P
    is_square, root = _square_root_of_ratio(1, v * u2 * u2)
    x = _absolute(2 * s * root * u2)
    y = u1 * root * root * u2 * v % P
    expect(is_square and not _is_negative(x * y) and y, "an element of ristretto255 expected")
    return Element(x, y, 1, x * y % P)


def from_uniform_bytes(uniform: bytes) -> Element:
    """The one-way map from 64 bytes (§4.3.4)."""
    return _map(uniform[:32]) + _map(uniform[32:])


def _map(half: bytes) -> Element:
    t = int.from_bytes(half, "little") % 2**255
    r = _SQRT_MINUS_1 * t * t % P
    u, v = (r + 1) * _ONE_MINUS_D_SQUARED, (-1 - r * _D) * (r + _D)
    is_square, s = _square_root_of_ratio(u, v)
    c = -1
    if not is_square:
        s, c = -_absolute(s * t), r
    n = c * (r - 1) * _D_MINUS_ONE_SQUARED - v
    w0, w1, w2, w3 = 2 * s * v, n * _ROOT_OF_AD_MINUS_ONE, 1 - s * s, 1 + s * s
    return Element(w0 * w3 % P, w2 * w1 % P, w1 * w3 % P, w0 * w2 % P)


BASE = decode(bytes.fromhex("e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76"))
