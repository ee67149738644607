"""Encrypting weights for sealed statistics, proving them, checking a proof, and both ends of the sums."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from . import RefusedError, expect
from .secp256k1 import IDENTITY, ORDER, G, Point, decode


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the plan fixes: a, b and M; the number of positions; and the length of a chunk."""

    a: int
    b: int
    most: int
    positions: int
    chunk: int = 16_384

    @property
    def header(self) -> bytes:
        return b"\x01" + self.positions.to_bytes(4) + self.most.to_bytes(4) + bytes([self.a, self.b])

    @property
    def sizes(self) -> list[int]:
        starts = range(0, self.positions, self.chunk)
        return [min(self.chunk, self.positions - start) for start in starts]


def hashed_point(index: int) -> Point:
    """The point that nobody knows a logarithm of: H for 0, g_i for i + 1."""
    counter = 0
    while True:
        label = b"noren/v1/vector-generator\0" + index.to_bytes(4) + counter.to_bytes(4)
        try:
            return decode(b"\x02" + hashlib.sha256(label).digest())
        except RefusedError:
            counter += 1


H = hashed_point(0)


def commit(vector: Sequence[int], blinder: int) -> Point:
    total = blinder * H
    for index, value in enumerate(vector):
        total += value * hashed_point(index + 1)
    return total


class Transcript:
    def __init__(self, bounds: Bounds, key: Point, binding: bytes) -> None:
        statement = len(binding).to_bytes(8) + binding + bounds.header + key.encode()
        self.state = hashlib.sha512(b"noren/v1/encrypted-weights\0" + statement).digest()

    def absorb(self, part: bytes) -> None:
        self.state = hashlib.sha512(b"noren/v1/encrypted-weights-part\0" + self.state + part).digest()

    def coefficients(self, count: int) -> list[tuple[int, int]]:
        """(y, γ) of each position."""
        label = b"noren/v1/encrypted-weights-coefficients\0"
        raw = hashlib.shake_256(label + self.state).digest(32 * count)
        return [
            (int.from_bytes(raw[32 * i : 32 * i + 16]), int.from_bytes(raw[32 * i + 16 : 32 * i + 32]))
            for i in range(count)
        ]

    def challenge(self) -> int:
        digest = hashlib.sha512(b"noren/v1/encrypted-weights-challenge\0" + self.state).digest()
        return int.from_bytes(digest) % ORDER


class Drawn:
    """Numbers drawn as our client draws them; any other uniform ones would do."""

    def __init__(
        self, seed: bytes, weights: Sequence[int], bounds: Bounds, key: Point, binding: bytes
    ) -> None:
        digest = hashlib.sha256(bytes(weight % 256 for weight in weights)).digest()
        statement = len(binding).to_bytes(8) + binding + bounds.header + key.encode()
        self._key = hmac.digest(seed, b"noren/v1/weight-nonces\0" + statement + digest, "sha256")

    def numbers(self, purpose: str, index: int) -> Iterator[int]:
        key = hmac.digest(self._key, purpose.encode() + b"\0" + index.to_bytes(4), "sha256")
        stream = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()
        while True:
            yield int.from_bytes(stream.update(bytes(32)))


def encrypt(
    weights: Sequence[int],
    bounds: Bounds,
    x: int,
    seed: bytes,
    binding: bytes,
    *,
    claims: Sequence[int] | None = None,
) -> list[bytes]:
    """The parts of the message.

    `claims` are what is proved in the place of what is encrypted: a company that does not keep to the rules.
    """
    a, b, key = bounds.a, bounds.b, x * G
    claims = weights if claims is None else claims
    drawn, transcript = Drawn(seed, weights, bounds, key, binding), Transcript(bounds, key, binding)
    parts = [bounds.header + key.encode()]
    t = [0, 0, 0]
    u = [0, 0]
    masked = total_nonce = 0
    chunks = []
    start = 0
    for index, size in enumerate(bounds.sizes):
        own, claimed = weights[start : start + size], claims[start : start + size]
        start += size
        nonces = drawn.numbers("nonces", index)
        rs = [next(nonces) for _ in own]
        masks = drawn.numbers("masks", index)
        alphas, blinders = [next(masks) for _ in own], (next(masks), next(masks))
        part = b"".join((r * G).encode() + (c * G + r * key).encode() for c, r in zip(own, rs, strict=True))
        part += commit(claimed, blinders[0]).encode() + commit(alphas, blinders[1]).encode()
        transcript.absorb(part)
        for c, alpha, r, (y, gamma) in zip(claimed, alphas, rs, transcript.coefficients(size), strict=True):
            product = multiplied([(c, alpha), (c - b, alpha), (c + a, alpha)])
            t = [known + y * coefficient for known, coefficient in zip(t, product[:3], strict=True)]
            square = multiplied([(c, alpha), (c - (b - a), alpha)])
            u = [known + coefficient for known, coefficient in zip(u, square[:2], strict=True)]
            masked += gamma * alpha
            total_nonce += gamma * r
        chunks.append((claimed, alphas, blinders))
        parts.append(part)
    closing = drawn.numbers("closing", 0)
    bits = [
        bounds.most - sum(claim != 0 for claim in claims) >> i & 1 for i in range(bounds.most.bit_length())
    ]
    taus, blinders = [next(closing) for _ in bits], (next(closing), next(closing))
    first = commit(bits, blinders[0]).encode() + commit(taus, blinders[1]).encode()
    transcript.absorb(first)
    for i, (bit, tau, (y, _)) in enumerate(zip(bits, taus, transcript.coefficients(len(bits)), strict=True)):
        product = multiplied([(bit, tau), (bit - 1, tau), (1, 0)])
        t = [known + y * coefficient for known, coefficient in zip(t, product[:3], strict=True)]
        square = multiplied([(bit, tau), (a * b * 2**i, 0)])
        u = [known + coefficient for known, coefficient in zip(u, square[:2], strict=True)]
    d, *rest = (next(closing) for _ in range(6))
    committed = [t[2], t[1], t[0], u[1], u[0]]
    points = [d * G, masked * G + d * key, *(v * G + r * H for v, r in zip(committed, rest, strict=True))]
    second = b"".join(point.encode() for point in points)
    transcript.absorb(second)
    parts.append(first + second)
    e = transcript.challenge()
    parts += [respond(claimed, alphas, blinders, e) for claimed, alphas, blinders in chunks]
    t_2, t_1, t_0, u_1, u_0 = rest
    openings = (e * total_nonce + d, e * e * t_2 + e * t_1 + t_0, e * u_1 + u_0)
    parts.append(respond(bits, taus, blinders, e) + b"".join(map(scalar, openings)))
    return parts


def multiplied(factors: Sequence[tuple[int, int]]) -> list[int]:
    """The coefficients, lowest first, of the product of k·e + m over pairs (k, m)."""
    product = [1]
    for k, m in factors:
        product = [m * low + k * high for low, high in zip([*product, 0], [0, *product], strict=True)]
    return product


def respond(values: Sequence[int], masks: Sequence[int], blinders: tuple[int, int], e: int) -> bytes:
    numbers = [value * e + mask for value, mask in zip(values, masks, strict=True)]
    return b"".join(map(scalar, [*numbers, blinders[0] * e + blinders[1]]))


def scalar(number: int) -> bytes:
    return (number % ORDER).to_bytes(32)


def verify(parts: Sequence[bytes], bounds: Bounds, binding: bytes) -> list[tuple[Point, Point]]:
    """The ciphertexts of a message that is in order; RefusedError for any other."""
    a, b, sizes = bounds.a, bounds.b, bounds.sizes
    slack = bounds.most.bit_length()
    lengths = [44, *(66 * size + 66 for size in sizes), 297, *(32 * size + 32 for size in sizes)]
    expect([len(part) for part in parts] == [*lengths, 32 * slack + 128], "parts of the agreed lengths")
    expect(parts[0][:11] == bounds.header, "the agreed header")
    key = decode(parts[0][11:])
    transcript = Transcript(bounds, key, binding)
    ciphertexts, rows, known = [], [], []
    for size, part in zip(sizes, parts[1:], strict=False):
        points = [decode(part[i : i + 33]) for i in range(0, len(part), 33)]
        ciphertexts += list(zip(points[0 : 2 * size : 2], points[1 : 2 * size : 2], strict=True))
        rows.append(points[-2:])
        transcript.absorb(part)
        known.append(transcript.coefficients(size))
    closing = parts[len(sizes) + 1]
    points = [decode(closing[i : i + 33]) for i in range(0, len(closing), 33)]
    rows.append(points[:2])
    transcript.absorb(closing[:66])
    known.append(transcript.coefficients(slack))
    transcript.absorb(closing[66:])
    e = transcript.challenge()
    responses = [
        [int.from_bytes(part[i : i + 32]) for i in range(0, len(part), 32)]
        for part in parts[len(sizes) + 2 :]
    ]
    expect(all(0 < number < ORDER for part in responses for number in part), "scalars")
    *openings, (z_d, z_t, z_u) = *responses[:-1], responses[-1][-3:]
    openings.append(responses[-1][:-3])
    zeros = count = link = 0
    first = second = IDENTITY
    place = iter(ciphertexts)
    for (values, masks), (*fs, z), own in zip(rows, openings, known, strict=True):
        expect(same(e * values + masks, commit(fs, z)), "openings of the commitments")
        if values is rows[-1][0]:
            for i, (f, (y, _)) in enumerate(zip(fs, own, strict=True)):
                zeros += y * f * (f - e) * e
                count += a * b * 2**i * f * e
            continue
        for f, (y, gamma) in zip(fs, own, strict=True):
            zeros += y * f * (f - b * e) * (f + a * e)
            count += f * f - (b - a) * f * e
            link += gamma * f
            one, two = next(place)
            first += gamma * one
            second += gamma * two
    d_1, d_2, t_2, t_1, t_0, u_1, u_0 = points[2:]
    expect(same(e * e * t_2 + e * t_1 + t_0, zeros * G + z_t * H), "allowed weights")
    expect(same(e * e * a * b * bounds.most * G + e * u_1 + u_0, count * G + z_u * H), "the agreed number")
    expect(same(e * first + d_1, z_d * G), "ciphertexts of the weights")
    expect(same(e * second + d_2, link * G + z_d * key), "ciphertexts of the weights")
    return ciphertexts


def same(p: Point, q: Point) -> bool:
    return (p - q).z == 0


def answer(
    ciphertexts: Sequence[tuple[Point, Point]],
    key: Point,
    features: Sequence[Sequence[int]],
    noise: Sequence[int],
    seed: bytes,
) -> bytes:
    """The platform's answer, with nonces from its seed."""
    result = b""
    for column, own in enumerate(noise):
        label = b"noren/v1/sealed-sums-nonce\0" + column.to_bytes(4)
        rho = int.from_bytes(hmac.digest(seed, label, "sha512")) % ORDER
        u, v = rho * G, rho * key + own * G
        for (first, second), row in zip(ciphertexts, features, strict=True):
            u += row[column] * first
            v += row[column] * second
        result += u.encode() + v.encode()
    return result


def rows_commitment(features: Sequence[Sequence[int]], seed: bytes, binding: bytes) -> bytes:
    """What binds the platform to rows and seed."""
    statement = b"noren/v1/sealed-sums-rows\0" + len(binding).to_bytes(8) + binding
    statement += len(features).to_bytes(4) + len(features[0]).to_bytes(4)
    return hmac.digest(seed, statement + bytes(h % 256 for row in features for h in row), "sha256")


def open_sums(received: bytes, x: int, bound: int) -> list[int]:
    """The sums, by trying every number up to the bound."""
    sums = []
    for i in range(0, len(received), 66):
        point = decode(received[i + 33 : i + 66]) - x * decode(received[i : i + 33]) + bound * G
        for number in range(-bound, bound + 1):
            if point.z == 0:
                sums.append(number)
                break
            point -= G
        else:
            raise RefusedError("a sum within its bound expected")
    return sums
