"""Proof that ElGamal ciphertexts encrypt weights in {-a, 0, b}, at most M of them other than 0, and no more.

docs/protocol.md, "Sealed statistics", states it in full and argues its soundness; here is how it goes. A
ciphertext of c_s under X is (A_s, B_s) = (r_s·G, c_s·G + r_s·X). Everything is over integers modulo the group
order q; com(v, r) = v·G + r·H is a Pedersen commitment, and com(vector, r) one over generators g_0, g_1, ….

 1. For every chunk of positions: commitments to its weights and to uniform masks α_s. They and all
    ciphertexts so far are hashed; the hash gives every position of the chunk 128-bit y_s and γ_s.
 2. A last pair of commitments for the bits t_i of the slack M - (number of weights other than 0), hashed.
 3. D, an encryption of Σ γ_s·α_s. T_2, T_1, T_0, the coefficients (below e^3) of Σ y_s·P(f_s), and U_1, U_0,
    those (below e^2) of Σ Q(f_s), as commitments, where f_s = c_s·e + α_s and
        P(f) = f·(f - b·e)·(f + a·e)      whose e^3 is c·(c - b)·(c + a): zero for an allowed weight only;
        Q(f) = f·(f - (b - a)·e)          whose e^2 is a·b for c = -a and for c = b, and zero for c = 0.
    A bit of the slack has P(f) = f·(f - e)·e, whose e^3 is t·(t - 1), and Q(f) = a·b·2^i·f·e. So the e^2 of
    Σ Q is a·b·M. They are hashed to the challenge e.
 4. All f, and the combined openings of the commitments.

The challenges of a chunk depend on what came before it only, so both sides pass over the message once, in
memory that does not grow with it: a wrong weight in a chunk, the last wrong one, is caught by that chunk's
challenges whatever the chunks before it were made to add up to.

Timing: see `Prover`. The verifier has public values only.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from numpy.typing import NDArray

from noren_core.crypto import secp256k1
from noren_core.crypto.multi_scalar import Bytes, PointVector, add, combination, scalars_from
from noren_core.crypto.secp256k1 import GENERATOR, GROUP_ORDER, POINT_BYTES, SCALAR_BYTES, Point
from noren_core.crypto.secret import Secret, SecretBytes
from noren_core.crypto.weight_layout import CIPHERTEXT_BYTES, COMMITMENTS, WeightLayout
from noren_core.errors import DataError, RemoteProtocolError, VerificationError

_STATEMENT_LABEL = b"noren/v1/encrypted-weights\0"
_PART_LABEL = b"noren/v1/encrypted-weights-part\0"
_COEFFICIENTS_LABEL = b"noren/v1/encrypted-weights-coefficients\0"
_CHALLENGE_LABEL = b"noren/v1/encrypted-weights-challenge\0"
_GENERATOR_LABEL = b"noren/v1/vector-generator\0"
_COEFFICIENT_BYTES = 16
_EVEN = b"\x02"
_BITS = (0, 1)

Coefficients = tuple[list[int], list[int], Bytes]
"""y and γ of some positions, and γ once more as bytes."""


class Transcript:
    """The running hash of everything that was said, from which both sides take the challenges."""

    def __init__(self, layout: WeightLayout, key: Point, *, binding: bytes) -> None:
        statement = len(binding).to_bytes(8, "big") + binding + layout.header + key.to_bytes()
        self.state = hashlib.sha512(_STATEMENT_LABEL + statement).digest()

    def absorb(self, part: bytes) -> None:
        """Take in a part; its length follows from the layout."""
        self.state = hashlib.sha512(_PART_LABEL + self.state + part).digest()

    def challenge(self) -> int:
        """The challenge e."""
        return int.from_bytes(secp256k1.hash_to_scalar(_CHALLENGE_LABEL + self.state), "big")


def coefficients(state: bytes, count: int) -> Coefficients:
    """The numbers below 2^128 that belong to `count` positions after a part; `state` is the hash after it."""
    width = 2 * _COEFFICIENT_BYTES
    raw = hashlib.shake_256(_COEFFICIENTS_LABEL + state).digest(count * width)
    halves = [
        int.from_bytes(raw[i : i + _COEFFICIENT_BYTES], "big") for i in range(0, len(raw), _COEFFICIENT_BYTES)
    ]
    gammas = np.frombuffer(raw, np.uint8).reshape(count, width)[:, _COEFFICIENT_BYTES:]
    return halves[::2], halves[1::2], gammas


class _SharedGenerators:
    """The process's generators of vector commitments, made when they are first asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: list[Point] = []
        self._vector = PointVector(np.empty((0, 64), np.uint8))

    def first(self, count: int) -> PointVector:
        """g_0, g_1, …, `count` of them: some 10 µs each, once."""
        with self._lock:
            if len(self._vector) < count:
                self._known += [_hashed_point(index + 1) for index in range(len(self._known), count)]
                encodings = b"".join(point.to_bytes() for point in self._known)
                self._vector = PointVector.parse(np.frombuffer(encodings, np.uint8).reshape(-1, POINT_BYTES))
            return self._vector[:count]


def _hashed_point(index: int) -> Point:
    """Of the hashes of index and counter the first that is the x coordinate of a point; its y is even.

    Nobody knows a logarithm of one to the base of others.
    """
    for counter in range(256):
        number = index.to_bytes(4, "big") + counter.to_bytes(4, "big")
        try:
            return Point.from_bytes(_EVEN + hashlib.sha256(_GENERATOR_LABEL + number).digest())
        except DataError:
            continue
    raise AssertionError("256 hashes, none of which is on the curve: once in 2^256")


BLINDING_GENERATOR = _hashed_point(0)
"""H."""
_GENERATORS = _SharedGenerators()


def prepare_generators(count: int) -> None:
    """Make the generators for chunks of `count` positions now, and not with the first message: 10 µs each."""
    _GENERATORS.first(count)


class SecretStream(Secret):
    """Scalars from the ChaCha20 keystream of a key that is used for one purpose.

    A scalar that is zero or not below the order comes up once in 2^128, and is then refused where it is used.
    """

    def __init__(self, key: bytes) -> None:
        self._cipher = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()

    def scalars(self, count: int) -> Bytes:
        """The next `count` of them, (count, 32), in memory that is overwritten when the array goes."""
        keystream = SecretBytes(bytes(count * SCALAR_BYTES))
        self._cipher.update_into(bytes(count * SCALAR_BYTES), keystream.buffer)
        return np.frombuffer(keystream.buffer, np.uint8).reshape(count, SCALAR_BYTES)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class _Row(Secret):
    """What one vector is committed under: α_s, and the blinders of both commitments."""

    masks: Bytes
    blinders: Bytes

    @classmethod
    def draw(cls, stream: SecretStream, count: int) -> _Row:
        return cls(stream.scalars(count), stream.scalars(2))

    def commit(self, values: Bytes, numbers: Sequence[int]) -> bytes:
        """The commitments to values and masks; value i stands for `numbers[i]`."""
        generators = _GENERATORS.first(len(values))
        sums = generators.sums_by_digit(values)
        weighted = combination((number, sums.get(value)) for value, number in enumerate(numbers))
        blinded = [
            secp256k1.multiply_secret(SecretBytes(bytes(blinder)), BLINDING_GENERATOR)
            for blinder in self.blinders
        ]
        pair = zip((weighted, generators.weighted_sum(self.masks)), blinded, strict=True)
        return b"".join(_encode(add(terms)) for terms in pair)

    def respond(self, values: Sequence[int], numbers: Sequence[int], challenge: int) -> bytes:
        """The f of every position, and the opening z of e·(first commitment) + (second).

        Args:
            values: which of `numbers` each position has.
            numbers: as in `commit`.
            challenge: e.
        """
        # Zero, too, becomes a number of 257 bits, so that all additions take the same time.
        products = [number * challenge % GROUP_ORDER + GROUP_ORDER for number in numbers]
        masked = [products[value] + mask for value, mask in zip(values, _integers(self.masks), strict=True)]
        value_blinder, mask_blinder = _integers(self.blinders)
        return scalars_from([*masked, value_blinder * challenge + mask_blinder]).tobytes()


class Prover(Secret):
    """The company's side: for every chunk `commit` and `weigh`, then `close`, then `respond` for every chunk.

    Timing: points are multiplied by blinders in constant time. Sums over vectors take the weights and masks
    as indices: all three values are added up alike, the zeros too, so as many points are added for all
    weights. Integer arithmetic is Python's, on numbers of one size whatever the weights are; which of three
    accumulators is added to depends on the weight. That is seen only by code on the same core. What the
    platform sees is the moment of each part, after tens of thousands of positions; a chunk that lacks one
    of the values altogether is some 0.1 ms of 700 faster, which no connection resolves.
    """

    def __init__(self, layout: WeightLayout, key: Point, *, binding: bytes, closing: SecretStream) -> None:
        self._layout = layout
        self._key = key
        self._transcript = Transcript(layout, key, binding=binding)
        self._closing = closing
        self._nonzero = 0
        # Sums of y·α, y·α², α by kind of weight; of y·α³, α², γ·α and γ·r over all.
        self._by_kind = [[0, 0, 0] for _ in layout.values]
        self._cubes = self._squares = self._masked = self._nonces = 0

    def commit(self, kinds: Bytes, stream: SecretStream) -> bytes:
        """The two commitments to a chunk; 0, 1 and 2 are the kinds of weights in the layout's order."""
        return _Row.draw(stream, len(kinds)).commit(kinds, self._layout.values)

    def weigh(self, part: bytes, kinds: Bytes, stream: SecretStream, nonces: Bytes) -> None:
        """Add a chunk to the polynomials, under the challenges that its part leads to.

        Args:
            part: ciphertexts and commitments as they are sent.
            kinds: of the chunk's weights.
            stream: that of `commit`, from its beginning.
            nonces: the r_s of the ciphertexts.
        """
        self._transcript.absorb(part)
        ys, gammas, _ = coefficients(self._transcript.state, len(kinds))
        self._nonzero += int(np.count_nonzero(kinds != 1))
        masks = _integers(stream.scalars(len(kinds)))
        by_kind = self._by_kind
        cubes = squares = masked = total = 0
        for kind, y, gamma, mask, nonce in zip(
            kinds.tolist(), ys, gammas, masks, _integers(nonces), strict=True
        ):
            square = mask * mask % GROUP_ORDER
            weighted = y * square % GROUP_ORDER
            sums = by_kind[kind]
            sums[0] += y * mask
            sums[1] += weighted
            sums[2] += mask
            cubes += weighted * mask
            squares += square
            masked += gamma * mask
            total += gamma * nonce
        self._cubes += cubes
        self._squares += squares
        self._masked += masked
        self._nonces += total

    def close(self) -> bytes:
        """The part after all chunks: commitments to the slack, to the polynomials' coefficients, and D.

        Raises:
            DataError: if more weights are not 0 than the layout allows.
        """
        layout = self._layout
        slack = layout.nonzero - self._nonzero
        if slack < 0:
            raise DataError("weights: expected at most the declared number other than 0, got more")
        self._bits = [slack >> position & 1 for position in range(layout.slack_bits)]
        self._slack = _Row.draw(self._closing, layout.slack_bits)
        first = self._slack.commit(np.array(self._bits, np.uint8), _BITS)
        self._transcript.absorb(first)
        t_2, t_1, t_0, u_1, u_0 = self._polynomials()
        blinders = self._closing.scalars(COMMITMENTS - 1)
        self._blinders = _integers(blinders)
        second = _encrypt(self._masked, blinders[0], self._key) + b"".join(
            _encode(_commitment(value, blinder))
            for value, blinder in zip((t_2, t_1, t_0, u_1, u_0), blinders[1:], strict=True)
        )
        self._transcript.absorb(second)
        self._challenge = self._transcript.challenge()
        return first + second

    def _polynomials(self) -> tuple[int, ...]:
        """The coefficients of Σ y·P below e³ and of Σ Q below e², slack included."""
        a, b = self._layout.negative, self._layout.positive
        t_2 = t_1 = u_1 = 0
        for weight, (y_mask, y_square, mask) in zip(self._layout.values, self._by_kind, strict=True):
            low, high = weight - b, weight + a
            t_2 += y_mask * (weight * low + weight * high + low * high)
            t_1 += y_square * (weight + low + high)
            u_1 += mask * (2 * weight - (b - a))
        ys, _, _ = coefficients(self._transcript.state, len(self._bits))
        for position, (bit, y, mask) in enumerate(
            zip(self._bits, ys, _integers(self._slack.masks), strict=True)
        ):
            t_2 += y * mask * (2 * bit - 1)
            t_1 += y * mask * mask
            u_1 += a * b * (mask << position)
        return t_2, t_1, self._cubes, u_1, self._squares

    def respond(self, kinds: Bytes, stream: SecretStream) -> bytes:
        """The responses of a chunk, after `close`; `stream` is that of `commit`, from its beginning."""
        row = _Row.draw(stream, len(kinds))
        return row.respond(kinds.tolist(), self._layout.values, self._challenge)

    def conclude(self) -> bytes:
        """The last part."""
        e = self._challenge
        d, t_2, t_1, t_0, u_1, u_0 = self._blinders
        openings = (e * self._nonces + d, e * e * t_2 + e * t_1 + t_0, e * u_1 + u_0)
        return self._slack.respond(self._bits, _BITS, e) + scalars_from(openings).tobytes()


class Verifier:
    """The platform's side: takes parts in their order, in memory for one chunk and 300 bytes for each other.

    Every method raises RemoteProtocolError for what is not a point, and VerificationError for what is not a
    scalar; whether the proof holds is known at the end, from `conclude`.
    """

    def __init__(self, layout: WeightLayout, key: Point, *, binding: bytes) -> None:
        self._layout = layout
        self._key = key
        self._transcript = Transcript(layout, key, binding=binding)
        self._states: list[bytes] = []
        self._rows: list[tuple[Point, Point]] = []
        self._first: Point | None = None  # Σ γ·A
        self._second: Point | None = None  # Σ γ·B
        # Sums over all positions: y·P(f), Q(f) and γ·f; by generator and of the z: those of δ times a row's.
        self._zeros = self._count = self._link = self._row_blinder = 0
        self._combined = [0] * max(len(layout.chunks[0]), layout.slack_bits)
        self._row_terms: list[tuple[int, Point | None]] = []

    def weigh(self, part: bytes) -> tuple[PointVector, PointVector]:
        """Take a chunk's ciphertexts and commitments; its points A and B."""
        size = len(part) // CIPHERTEXT_BYTES - 1
        points = np.frombuffer(part, np.uint8).reshape(-1, POINT_BYTES)
        first, second = (_parse_vector(points[side : 2 * size : 2]) for side in (0, 1))
        self._rows.append(_parse_pair(part[-2 * POINT_BYTES :]))
        self._transcript.absorb(part)
        self._states.append(self._transcript.state)
        _, _, gammas = coefficients(self._transcript.state, size)
        self._first = add((self._first, first.weighted_sum(gammas)))
        self._second = add((self._second, second.weighted_sum(gammas)))
        return first, second

    def close(self, part: bytes) -> None:
        """Take the commitments that come after all chunks, and derive e."""
        first, second = part[: 2 * POINT_BYTES], part[2 * POINT_BYTES :]
        self._rows.append(_parse_pair(first))
        self._transcript.absorb(first)
        self._states.append(self._transcript.state)
        self._commitments = [
            _parse_point(second[i : i + POINT_BYTES]) for i in range(0, len(second), POINT_BYTES)
        ]
        self._transcript.absorb(second)
        self._challenge = self._transcript.challenge()

    def check_responses(self, index: int, part: bytes) -> None:
        """Take the responses of chunk `index` into the sums."""
        *responses, opening = _read_scalars(part)
        e = self._challenge
        a_e, b_e, difference = (
            factor * e % GROUP_ORDER
            for factor in (
                self._layout.negative,
                self._layout.positive,
                self._layout.positive - self._layout.negative,
            )
        )
        ys, gammas, _ = coefficients(self._states[index], len(responses))
        zeros = count = link = 0
        for f, y, gamma in zip(responses, ys, gammas, strict=True):
            zeros += f * (f - b_e) % GROUP_ORDER * (f + a_e) % GROUP_ORDER * y
            count += f * (f - difference)
            link += gamma * f
        self._zeros += zeros
        self._count += count
        self._link += link
        self._add_row(index, responses, opening)

    def conclude(self, part: bytes) -> None:
        """Take the last part and decide.

        1. Add the slack's responses.
        2. Every pair of commitments to a vector opens to its responses: e·V + W = Σ f_i·g_i + z·H, for all
           of them at once, each with a secret random factor δ.
        3. The responses' polynomials are those committed to, without e³ and with e² of a·b·M.
        4. The ciphertexts encrypt what the commitments hold.

        Raises:
            VerificationError: if one does not hold.
        """
        # 1
        e, layout = self._challenge, self._layout
        scalars = _read_scalars(part)
        responses, opening = scalars[: layout.slack_bits], scalars[layout.slack_bits]
        d_opening, t_opening, u_opening = scalars[layout.slack_bits + 1 :]
        ys, _, _ = coefficients(self._states[-1], len(responses))
        product = layout.negative * layout.positive
        for position, (f, y) in enumerate(zip(responses, ys, strict=True)):
            self._zeros += f * (f - e) % GROUP_ORDER * e % GROUP_ORDER * y
            self._count += product * (f << position) * e
        self._add_row(len(layout.chunks), responses, opening)
        # 2
        opened = _GENERATORS.first(len(self._combined)).weighted_sum(scalars_from(self._combined))
        _require([*self._row_terms, (-1, opened), (-self._row_blinder, BLINDING_GENERATOR)])
        # 3
        d_1, d_2, t_2, t_1, t_0, u_1, u_0 = self._commitments
        _require([
            *((e * e, t_2), (e, t_1), (1, t_0)),
            *((-self._zeros, GENERATOR), (-t_opening, BLINDING_GENERATOR)),
        ])  # fmt: skip
        _require([
            *((e, u_1), (1, u_0), (e * e * product * layout.nonzero - self._count, GENERATOR)),
            (-u_opening, BLINDING_GENERATOR),
        ])  # fmt: skip
        # 4
        _require([(e, self._first), (1, d_1), (-d_opening, GENERATOR)])
        _require([(e, self._second), (1, d_2), (-self._link, GENERATOR), (-d_opening, self._key)])

    def _add_row(self, index: int, responses: Sequence[int], opening: int) -> None:
        """Add δ times one row to the combined check."""
        delta = secrets.randbits(8 * _COEFFICIENT_BYTES)
        combined = self._combined
        for position, f in enumerate(responses):
            combined[position] += delta * f
        self._row_blinder += delta * opening
        values, masks = self._rows[index]
        self._row_terms += [(delta * self._challenge, values), (delta, masks)]


def _commitment(value: int, blinder: Bytes) -> Point | None:
    """v·G + r·H in constant time."""
    return add((
        secp256k1.multiply_base_secret(SecretBytes(secp256k1.public_scalar(value))),
        secp256k1.multiply_secret(SecretBytes(bytes(blinder)), BLINDING_GENERATOR),
    ))  # fmt: skip


def _encrypt(value: int, nonce: Bytes, key: Point) -> bytes:
    """(r·G, v·G + r·X) in constant time."""
    r = SecretBytes(bytes(nonce))
    shifted = secp256k1.multiply_base_secret(SecretBytes(secp256k1.public_scalar(value)))
    second = add((shifted, secp256k1.multiply_secret(r, key)))
    return secp256k1.multiply_base_secret(r).to_bytes() + _encode(second)


def _require(terms: Sequence[tuple[int, Point | None]]) -> None:
    """The combination of the terms is the identity."""
    if combination(terms) is not None:
        raise VerificationError("weights: expected a proof of these ciphertexts, got another")


def _encode(point: Point | None) -> bytes:
    if point is None:
        raise DataError("weights: expected a commitment other than the identity, got the identity")
    return point.to_bytes()


def _integers(scalars: NDArray[np.uint8]) -> list[int]:
    raw = scalars.tobytes()
    return [int.from_bytes(raw[i : i + SCALAR_BYTES], "big") for i in range(0, len(raw), SCALAR_BYTES)]


def _read_scalars(part: bytes) -> list[int]:
    numbers = [int.from_bytes(part[i : i + SCALAR_BYTES], "big") for i in range(0, len(part), SCALAR_BYTES)]
    if min(numbers) == 0 or max(numbers) >= GROUP_ORDER:
        raise VerificationError("weights: expected responses that are scalars, got another number")
    return numbers


def _parse_vector(encodings: Bytes) -> PointVector:
    try:
        return PointVector.parse(encodings)
    except DataError as error:
        raise RemoteProtocolError("weights: expected compressed points, got other bytes") from error


def _parse_pair(encodings: bytes) -> tuple[Point, Point]:
    return _parse_point(encodings[:POINT_BYTES]), _parse_point(encodings[POINT_BYTES:])


def _parse_point(encoding: bytes) -> Point:
    try:
        return Point.from_bytes(encoding)
    except DataError as error:
        raise RemoteProtocolError("weights: expected compressed points, got other bytes") from error
