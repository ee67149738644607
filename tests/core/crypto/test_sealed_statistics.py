"""Encrypted weights and sealed sums: exact, and refused for anything but an honest message.

The slow reference, with frozen bytes, is tests/second_client/encrypted_weights.py.
"""

import itertools
import pickle
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noren_core.crypto import multi_scalar, secp256k1, weight_layout, weight_proof
from noren_core.crypto.multi_scalar import PointVector, add, base_products, combination, multiply_add
from noren_core.crypto.sealed_sums import AnswerSeed, SealedSums, open_sums, opening_bound, verify_norm
from noren_core.crypto.secp256k1 import GENERATOR, GROUP_ORDER, POINT_BYTES, Point, public_scalar
from noren_core.crypto.secret import SecretBytes
from noren_core.crypto.small_discrete_log import MAX_BOUND
from noren_core.crypto.weight_encryption import (
    WeightReader,
    WeightSecret,
    encrypt_weights,
    weights_commitment,
)
from noren_core.crypto.weight_layout import CHUNK_POSITIONS, WeightLayout
from noren_core.errors import (
    DataError,
    LocalProtocolError,
    NorenError,
    RemoteProtocolError,
    VerificationError,
)

BINDING = b"noren/v1/weights\0" + bytes(64) + b"tanaka-denki"
VARIANCE = Fraction(500**2)
BAD_POINTS = {
    "identity": bytes(33),
    "off the curve": b"\x02" + b"\0" * 31 + b"\x05",
    "beyond the field": b"\x02" + b"\xff" * 32,
    "uncompressed": b"\x04" + GENERATOR.to_bytes()[1:],
}


def layout(positions: int, nonzero: int = 3, negative: int = 3, positive: int = 16) -> WeightLayout:
    return WeightLayout(positions=positions, nonzero=nonzero, negative=negative, positive=positive)


def int8(values: Sequence[int]) -> np.ndarray:
    return np.array(values, np.int8)


def read(parts: Iterable[bytes], of: WeightLayout, binding: bytes = BINDING) -> WeightReader:
    reader = WeightReader(of, binding=binding)
    for part in parts:
        reader.add(part)
    return reader


def some_weights(count: int, used: int) -> np.ndarray:
    """Some of each value, in random places."""
    generator = np.random.default_rng(count)
    weights = np.zeros(count, np.int8)
    weights[generator.choice(count, used, replace=False)] = generator.choice([-3, 16], used)
    return weights


def rows(count: int, dimensions: int) -> np.ndarray:
    limit = int(127 / dimensions**0.5)
    return np.random.default_rng(dimensions).integers(-limit, limit + 1, (count, dimensions)).astype(np.int8)


def answered(
    weights: np.ndarray, features: np.ndarray, of: WeightLayout, noise: Sequence[int]
) -> tuple[WeightSecret, bytes]:
    secret = WeightSecret.generate()
    sums = SealedSums(of, features, binding=BINDING)
    for part in encrypt_weights(weights, secret, of, binding=BINDING):
        sums.add(part)
    seed = AnswerSeed.generate()
    return secret, sums.release(noise=np.array(noise, np.int64), seed=seed)


SMALL = layout(4)
NO_FEATURES = np.zeros((4, 2), np.int8)
SECRET = WeightSecret.generate()
WEIGHTS = int8([0, 16, -3, 0])
HONEST = tuple(encrypt_weights(WEIGHTS, SECRET, SMALL, binding=BINDING))
OPENING, CHUNK, COMMITMENTS, RESPONSES, CONCLUSION = range(5)


def changed(part: int, at: int, other: bytes) -> list[bytes]:
    """The honest message with other bytes in one place of one part."""
    parts = list(HONEST)
    at %= len(parts[part])
    parts[part] = parts[part][:at] + other + parts[part][at + len(other) :]
    return parts


class TestRoundTrip:
    @pytest.mark.parametrize(
        ("positions", "used", "dimensions"), [(1, 1, 1), (2, 1, 3), (2, 0, 2), (50, 20, 5), (3000, 300, 4)]
    )
    def test_sums(self, positions, used, dimensions):
        """The company reads the weighted sums of the rows and the noise, exactly."""
        of, weights, features = (
            layout(positions, max(used, 1)),
            some_weights(positions, used),
            rows(positions, dimensions),
        )
        noise = [5, -700, 0, 1, -1][:dimensions]
        secret, answer = answered(weights, features, of, noise)
        assert len(answer) == 66 * dimensions
        opened = open_sums(answer, secret, of, columns=dimensions, variance=VARIANCE)
        assert opened == (weights.astype(int) @ features.astype(int) + noise).tolist()
        verify_norm(opened, weights, variance=VARIANCE)

    def test_more_than_one_chunk(self):
        """A message of several chunks of the real size; no part is larger than a message of the transport."""
        of = layout(CHUNK_POSITIONS + 3, 100)
        weights, features = some_weights(of.positions, 100), rows(of.positions, 2)
        weights[-1] = 16
        weights[np.flatnonzero(weights)[0]] = 0
        secret, answer = answered(weights, features, of, [3, 4])
        expected = weights.astype(int) @ features.astype(int) + [3, 4]
        assert open_sums(answer, secret, of, columns=2, variance=VARIANCE) == expected.tolist()
        assert max(of.part_lengths) < 2**21
        assert of.message_bytes == sum(of.part_lengths)

    @settings(max_examples=40, deadline=None)
    @given(st.data())
    def test_any_weights_rows_and_noise(self, data):
        """Any layout, weights, rows within the norm and noise, in chunks of any size."""
        a, b = data.draw(st.integers(1, 127)), data.draw(st.integers(1, 127))
        weights = int8(data.draw(st.lists(st.sampled_from([-a, 0, b]), min_size=1, max_size=9)))
        of = layout(len(weights), max(1, int(np.count_nonzero(weights))) + data.draw(st.integers(0, 9)), a, b)
        d = data.draw(st.integers(1, 3))
        values = st.lists(st.integers(-73, 73), min_size=d, max_size=d)
        features = int8([data.draw(values) for _ in weights])
        noise = data.draw(st.lists(st.integers(-5000, 5000), min_size=d, max_size=d))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(weight_layout, "CHUNK_POSITIONS", data.draw(st.integers(1, 5)))
            secret, answer = answered(weights, features, of, noise)
        opened = open_sums(answer, secret, of, columns=d, variance=VARIANCE)
        assert opened == (weights.astype(int) @ features.astype(int) + noise).tolist()

    def test_extreme_rows(self):
        """Rows of the largest norm and of both signs, and dummies of zeros."""
        weights = int8([16, 16, -3, 0])
        for column in ([127, 127, -127, 5], [-127, -127, 127, 0], [0, 0, 0, 0], [127, -127, 0, 0]):
            features = int8(column)[:, None]
            secret, answer = answered(weights, features, SMALL, [0])
            expected = int(weights.astype(int) @ np.array(column))
            assert open_sums(answer, secret, SMALL, columns=1, variance=VARIANCE) == [expected]

    def test_as_many_as_allowed(self):
        """M weights other than 0 are accepted, also where M is a power of two less one, or one."""
        for most, used in ((1, 1), (1, 0), (3, 3), (4, 4), (4, 3)):
            weights = some_weights(5, used)
            assert read(
                encrypt_weights(weights, SECRET, layout(5, most), binding=BINDING), layout(5, most)
            ).is_proved


class TestMessage:
    def test_same_again_or_unrelated(self):
        """A secret gives the same message again; for other weights, layout or binding no point in common."""
        assert tuple(encrypt_weights(WEIGHTS, SECRET, SMALL, binding=BINDING)) == HONEST
        others = (
            encrypt_weights(int8([0, 16, 0, 0]), SECRET, SMALL, binding=BINDING),
            encrypt_weights(WEIGHTS, SECRET, SMALL, binding=BINDING + b"2"),
            encrypt_weights(WEIGHTS, SECRET, layout(4, 4), binding=BINDING),
            encrypt_weights(WEIGHTS, WeightSecret.generate(), SMALL, binding=BINDING),
        )
        own = {HONEST[CHUNK][i : i + 33] for i in range(0, len(HONEST[CHUNK]), 33)}
        for other in others:
            chunk = list(other)[CHUNK]
            assert not own & {chunk[i : i + 33] for i in range(0, len(chunk), 33)}

    def test_equal_weights_give_distinct_ciphertexts(self):
        """All-zero weights are pairwise different points: 4 A, 4 B, 2 commitments."""
        chunk = list(encrypt_weights(int8([0] * 4), SECRET, SMALL, binding=BINDING))[CHUNK]
        assert len({chunk[i : i + 33] for i in range(0, len(chunk), 33)}) == 10

    def test_commitment(self):
        """The commitment is of all parts, and the reader has it once the proof is complete, not before."""
        reader = WeightReader(SMALL, binding=BINDING)
        for part in HONEST:
            for question in ("commitment", "public_key"):
                with pytest.raises(LocalProtocolError):
                    getattr(reader, question)
            assert not reader.is_proved
            reader.add(part)
        assert reader.commitment == weights_commitment(HONEST)
        assert weights_commitment(HONEST[:-1]) != weights_commitment(HONEST)
        assert reader.public_key.to_bytes() == SECRET.public_key.to_bytes()
        with pytest.raises(LocalProtocolError):
            reader.add(b"")

    def test_length_tells_nothing(self):
        """The lengths are the layout's, however many weights are 0."""
        for weights in ([0] * 4, [16] * 3 + [0]):
            parts = list(encrypt_weights(int8(weights), SECRET, SMALL, binding=BINDING))
            assert tuple(map(len, parts)) == SMALL.part_lengths
        assert layout(100_000, 10_000).message_bytes < 98.1 * 100_000

    @pytest.mark.parametrize(
        ("weights", "reason"),
        [
            (int8([0, 0, 0]), "4 int8"),
            (np.zeros(4, np.int64), "int8"),
            (int8([0, 0, 0, 1]), "three values"),
            (int8([0, 0, 0, -16]), "three values"),
            (int8([16, 16, -3, -3]), "more"),
        ],
    )
    def test_refuses_to_encrypt_what_would_be_refused(self, weights, reason):
        """Another length or type, another value, and more than declared fail at the company."""
        with pytest.raises(DataError, match=reason):
            encrypt_weights(weights, SECRET, SMALL, binding=BINDING)

    @pytest.mark.parametrize(
        "fields",
        [(0, 1, 1, 1), (2**22 + 1, 1, 1, 1), (1, 0, 1, 1), (1, 65_536, 1, 1), (1, 1, 0, 1), (1, 1, 1, 0),
         (1, 1, 128, 1), (1, 1, 1, 128), (1, 65_535, 1, 17)],
    )  # fmt: skip
    def test_layouts_have_bounds(self, fields):
        """One beyond each bound; the bounds themselves are fine."""
        layout(2**22, 65_535, 16, 16)
        layout(1, 1, 127, 127)
        with pytest.raises(DataError):
            layout(*fields)

    def test_sensitivities(self):
        """What noise is calibrated to: the larger weight times the norm, and twice that."""
        assert layout(1, 1, 3, 16).label_sensitivity == layout(1, 1, 16, 3).label_sensitivity == 16 * 127
        assert layout(1, 1, 3, 16).row_sensitivity == 2 * 16 * 127
        assert layout(1, 5, 3, 16).sum_bound == 5 * 16 * 127

    def test_key_store(self):
        """A secret read back is the same one, and is neither shown nor pickled; other bytes are refused."""
        again = WeightSecret.from_bytes(SECRET.to_bytes())
        assert tuple(encrypt_weights(WEIGHTS, again, SMALL, binding=BINDING)) == HONEST
        assert SECRET.to_bytes().hex() not in repr(SECRET)
        with pytest.raises(TypeError):
            pickle.dumps(SECRET)
        for raw in (bytes(64), b"\xff" * 64, SECRET.to_bytes()[:-1], SECRET.to_bytes() + b"\0", b""):
            with pytest.raises(DataError):
                WeightSecret.from_bytes(raw)

    def test_the_prover_multiplies_in_constant_time_only(self, monkeypatch):
        """Nothing that was drawn is a factor in variable time: only a and b are, in every chunk alike."""
        seen = []
        real = secp256k1.multiply_public

        def watched(scalar: bytes, point: Point) -> Point:
            seen.append(scalar)
            return real(scalar, point)

        monkeypatch.setattr(secp256k1, "multiply_public", watched)
        list(encrypt_weights(WEIGHTS, SECRET, SMALL, binding=BINDING))
        assert set(seen) <= {public_scalar(value) for value in (-3, 16, 1)}

    def test_all_weights_are_added_alike(self, monkeypatch):
        """The zeros go through the same sums as the others: as many points are added for any weights."""
        counts = []
        real = PointVector.sums_by_digit

        def counted(self: PointVector, digits: np.ndarray) -> dict[int, Point]:
            counts.append(len(digits))
            return real(self, digits)

        monkeypatch.setattr(PointVector, "sums_by_digit", counted)
        taken = []
        for weights in ([0] * 4, [16, 0, -3, 16]):
            counts.clear()
            list(encrypt_weights(int8(weights), SECRET, SMALL, binding=BINDING))
            taken.append(tuple(counts))
        assert taken[0] == taken[1]


class TestDishonestCompany:
    @settings(max_examples=150, deadline=None)
    @given(st.integers(0, 4), st.integers(0, 10**6), st.integers(1, 255))
    def test_any_changed_byte(self, part, at, mask):
        """A message with any byte changed in any way is refused: nothing in it is left out of the proof."""
        at %= len(HONEST[part])
        parts = changed(part, at, bytes([HONEST[part][at] ^ mask]))
        with pytest.raises((RemoteProtocolError, VerificationError)):
            read(parts, SMALL)

    @pytest.mark.parametrize(("part", "step"), [(0, 1), (1, 3), (2, 3), (3, 3), (4, 3)])
    def test_every_region(self, part, step):
        """The lowest bit of every byte of the opening, of every third byte of the others."""
        for at in range(0, len(HONEST[part]), step):
            with pytest.raises((RemoteProtocolError, VerificationError)):
                read(changed(part, at, bytes([HONEST[part][at] ^ 1])), SMALL)

    @pytest.mark.parametrize("encoding", BAD_POINTS.values(), ids=BAD_POINTS)
    def test_what_is_not_a_point(self, encoding):
        """The identity and other non-points in the place of X and of every other point."""
        places = [(OPENING, 11), *((CHUNK, i) for i in range(0, len(HONEST[1]), 33))]
        places += [(COMMITMENTS, i) for i in range(0, len(HONEST[2]), 33)]
        for part, at in places:
            with pytest.raises(RemoteProtocolError, match="point"):
                read(changed(part, at, encoding), SMALL)

    @pytest.mark.parametrize("number", [0, GROUP_ORDER, 2**256 - 1])
    def test_what_is_not_a_scalar(self, number):
        """Zero and numbers from the order on in the place of every response."""
        for part in (RESPONSES, CONCLUSION):
            for at in range(0, len(HONEST[part]), 32):
                with pytest.raises(VerificationError, match="scalar"):
                    read(changed(part, at, number.to_bytes(32, "big")), SMALL)

    def test_a_response_that_is_off_by_the_order(self):
        """A number has one encoding: the same response plus the order is refused where it fits."""
        value = int.from_bytes(HONEST[RESPONSES][:32], "big")
        if value + GROUP_ORDER < 2**256:  # once in 2^128
            pytest.skip("the draw fits")
        with pytest.raises(VerificationError):
            read(changed(RESPONSES, 0, (2**256 - 1).to_bytes(32, "big")), SMALL)

    @pytest.mark.parametrize(
        "binding", [b"", BINDING[:-1], BINDING + b"\0", b"noren/v1/weights\1" + BINDING[17:]]
    )
    def test_another_binding(self, binding):
        """A message for another plan, table, company or protocol is refused."""
        with pytest.raises(VerificationError):
            read(HONEST, SMALL, binding)

    def test_another_key(self):
        """A message under another X is refused, also if that is a multiple of the own one."""
        for point in (WeightSecret.generate().public_key, -SECRET.public_key):
            with pytest.raises(VerificationError):
                read(changed(OPENING, 11, point.to_bytes()), SMALL)

    @pytest.mark.parametrize(
        "fields", [(4, 4, 3, 16), (4, 3, 2, 16), (4, 3, 3, 15), (4, 3, 16, 3), (5, 3, 3, 16)]
    )
    def test_another_layout(self, fields):
        """A message of another layout is refused, and so is one that only claims this one."""
        other = layout(*fields)
        with pytest.raises(RemoteProtocolError):
            read(HONEST, other)
        relabelled = [other.header + HONEST[0][11:], *HONEST[1:]]
        with pytest.raises((RemoteProtocolError, VerificationError)):
            read(relabelled, other)

    def test_swapped_positions(self):
        """Two positions exchanged, with or without their responses."""
        ciphertexts = [HONEST[CHUNK][66 * i : 66 * i + 66] for i in range(4)]
        responses = [HONEST[RESPONSES][32 * i : 32 * i + 32] for i in range(4)]
        for i, j in itertools.combinations(range(4), 2):
            for pieces, part in ((ciphertexts, CHUNK), (responses, RESPONSES)):
                order = list(range(4))
                order[i], order[j] = j, i
                swapped = b"".join(pieces[k] for k in order)
                with pytest.raises(VerificationError):
                    read(changed(part, 0, swapped), SMALL)
            parts = list(HONEST)
            for pieces, part in ((ciphertexts, CHUNK), (responses, RESPONSES)):
                moved = b"".join(pieces[k] for k in order)
                parts[part] = moved + parts[part][len(moved) :]
            with pytest.raises(VerificationError):
                read(parts, SMALL)

    def test_a_part_of_another_message(self):
        """Any part replaced by that of another good message for the same weights."""
        other = tuple(encrypt_weights(WEIGHTS, WeightSecret.generate(), SMALL, binding=BINDING))
        for part in range(5):
            with pytest.raises(VerificationError):
                read([*HONEST[:part], other[part], *HONEST[part + 1 :]], SMALL)

    @pytest.mark.parametrize("change", [lambda part: part[:-1], lambda part: part + b"\0", lambda part: b""])
    def test_other_lengths(self, change):
        """A part that is longer, shorter or missing is refused before it is read."""
        for part in range(5):
            parts = [*HONEST[:part], change(HONEST[part]), *HONEST[part + 1 :]]
            with pytest.raises(RemoteProtocolError, match="bytes"):
                read(parts, SMALL)

    def test_nothing_after_an_error(self):
        """A reader that refused a part takes neither it nor another again."""
        reader = WeightReader(SMALL, binding=BINDING)
        reader.add(HONEST[0])
        with pytest.raises(RemoteProtocolError):
            reader.add(b"")
        for part in HONEST:
            with pytest.raises(LocalProtocolError):
                reader.add(part)
        assert not reader.is_proved

    def test_points_that_cancel(self):
        """Ciphertexts whose sums are the identity are summed up like others, and refused for their proof."""
        negated = b"".join(
            (-Point.from_bytes(HONEST[CHUNK][i : i + 33])).to_bytes() for i in range(0, 4 * 33, 33)
        )
        for parts in (
            changed(CHUNK, 4 * 33, negated),
            changed(CHUNK, 0, GENERATOR.to_bytes() * 8),
            changed(CHUNK, 0, (GENERATOR.to_bytes() * 2 + (-GENERATOR).to_bytes() * 2) * 2),
        ):
            sums = SealedSums(SMALL, int8([[5, 0], [5, 0], [5, 0], [5, 0]]), binding=BINDING)
            with pytest.raises(VerificationError):
                list(map(sums.add, parts))
            with pytest.raises(LocalProtocolError):
                sums.release(noise=np.zeros(2, np.int64), seed=AnswerSeed.generate())


class TestCheatingProver:
    """A company that runs the honest prover on something else than what it encrypts or may encrypt."""

    @staticmethod
    def parts(
        encrypted: Sequence[int], claimed: Sequence[int], of: WeightLayout, patch: pytest.MonkeyPatch
    ) -> list[bytes]:
        """A message whose ciphertexts are of `encrypted`, from a prover that works with `claimed`."""
        kinds = {value: kind for kind, value in enumerate(of.values)}
        weights = int8([value if value in kinds else 0 for value in claimed])

        def shifted(scalars: Any, factor: SecretBytes, _addends: Any, _which: Any) -> Any:
            addends = np.frombuffer(b"".join(map(public_scalar, encrypted)), np.uint8).reshape(-1, 32)
            return multiply_add(scalars, factor, addends, np.arange(len(encrypted)))

        patch.setattr("noren_core.crypto.weight_encryption.multiply_add", shifted)
        return list(encrypt_weights(weights, SECRET, of, binding=BINDING))

    @pytest.mark.parametrize("value", [1, -1, 1000, 32, -16, 3, GROUP_ORDER // 2])
    def test_commit_to_one_and_encrypt_another(self, value, monkeypatch):
        """A commitment to allowed weights with ciphertexts of a forbidden or another one."""
        of = layout(4, 4)
        parts = self.parts([0, 16, value, 0], [0, 16, -3, 0], of, monkeypatch)
        with pytest.raises(VerificationError):
            read(parts, of)

    @pytest.mark.parametrize("weight", [1000, -3, 16])
    def test_another_nonce_in_the_first_half(self, weight, monkeypatch):
        """B is as it should be, and A is of another nonce, with which B encrypts another weight."""
        x = int.from_bytes(SECRET.scalar.reveal(), "big")
        shift = combination([(-weight * pow(x, -1, GROUP_ORDER), GENERATOR)])
        halves = itertools.cycle("AB")

        def shifted(scalars: np.ndarray) -> np.ndarray:
            encodings = base_products(scalars)
            if next(halves) == "A":
                moved = add([Point.from_bytes(bytes(encodings[0])), shift])
                encodings[0] = np.frombuffer(moved.to_bytes(), np.uint8)
            return encodings

        monkeypatch.setattr("noren_core.crypto.weight_encryption.base_products", shifted)
        parts = list(encrypt_weights(WEIGHTS, SECRET, SMALL, binding=BINDING))
        first, second = (Point.from_bytes(parts[CHUNK][i : i + 33]) for i in (0, 33))
        claimed = combination([(1, second), (-x, first), (-weight, GENERATOR)])
        assert claimed is None, "the ciphertext is one of the weight"
        with pytest.raises(VerificationError):
            read(parts, SMALL)

    def test_the_helper_is_honest_with_honest_values(self, monkeypatch):
        """The forging helper makes acceptable messages from allowed weights, so refusals mean something."""
        assert read(self.parts([0, 16, -3, 0], [0, 16, -3, 0], SMALL, monkeypatch), SMALL).is_proved

    @pytest.mark.parametrize("value", [1, -1, 1000, -16, 3, 17, 32])
    def test_a_forbidden_weight_that_is_committed_to(self, value, monkeypatch):
        """The same forbidden weight encrypted and committed to: the polynomial is not zero there."""
        # With other values than the layout's as its three, the prover is honest about a wrong statement.
        monkeypatch.setattr(WeightLayout, "values", property(lambda self: (-self.negative, 0, value)))
        parts = list(encrypt_weights(int8([0, -3, 0, 0]), SECRET, SMALL, binding=BINDING))
        assert read(parts, SMALL).is_proved
        kinds = np.array([0, 2, 1, 1], np.uint8)
        monkeypatch.setattr("noren_core.crypto.weight_encryption.np.sign", lambda _: kinds.astype(int) - 1)
        parts = list(encrypt_weights(int8([0, -3, 0, 0]), SECRET, SMALL, binding=BINDING))
        with pytest.raises(VerificationError):
            read(parts, SMALL)

    @pytest.mark.parametrize(
        ("weights", "most"), [([16, 16, -3, 0], 2), ([-3, -3, 16, 16], 3), ([16, 16], 1)]
    )
    def test_more_than_declared(self, weights, most, monkeypatch):
        """One more than M other than 0, in every mix: the slack is negative, whatever is put in its place."""
        of = layout(len(weights), most)
        parts = encrypt_weights(int8(weights), SECRET, layout(len(weights), most + 1), binding=BINDING)
        with pytest.raises(RemoteProtocolError):
            read(parts, of)
        monkeypatch.setattr(np, "count_nonzero", lambda _: 0)
        with pytest.raises(VerificationError):
            read(encrypt_weights(int8(weights), SECRET, of, binding=BINDING), of)
        monkeypatch.setattr(np, "count_nonzero", lambda _: most)
        with pytest.raises(VerificationError):
            read(encrypt_weights(int8(weights), SECRET, of, binding=BINDING), of)

    def test_the_prover_counts_too(self):
        """The proof is not begun for more than declared, should the first check be passed by."""
        prover = weight_proof.Prover(
            SMALL, SECRET.public_key, binding=b"", closing=weight_proof.SecretStream(bytes(32))
        )
        stream = lambda: weight_proof.SecretStream(bytes(range(32)))  # noqa: E731
        kinds = np.array([2, 2, 2, 0], np.uint8)
        part = HONEST[CHUNK][: 4 * 66] + prover.commit(kinds, stream())
        prover.weigh(part, kinds, stream(), stream().scalars(4))
        with pytest.raises(DataError, match="more"):
            prover.close()

    @pytest.mark.parametrize(
        "label", ["_PART_LABEL", "_COEFFICIENTS_LABEL", "_CHALLENGE_LABEL", "_STATEMENT_LABEL"]
    )
    def test_challenges_of_another_protocol(self, label, monkeypatch):
        """A proof whose challenges were hashed under other labels."""
        with monkeypatch.context() as patch:
            patch.setattr(weight_proof, label, b"another\0")
            parts = list(encrypt_weights(WEIGHTS, SECRET, SMALL, binding=BINDING))
        with pytest.raises(VerificationError):
            read(parts, SMALL)

    def test_one_wrong_chunk_of_several(self, monkeypatch):
        """A wrong weight in the first, a middle or the last chunk."""
        monkeypatch.setattr(weight_layout, "CHUNK_POSITIONS", 2)
        of = layout(6, 6)
        for place in (0, 3, 5):
            honest = list(encrypt_weights(int8([0, 16, 0, -3, 0, 16]), SECRET, of, binding=BINDING))
            assert read(honest, of).is_proved
            chunk, at = 1 + place // 2, 66 * (place % 2) + 33
            moved = add((Point.from_bytes(honest[chunk][at : at + 33]), GENERATOR))
            honest[chunk] = honest[chunk][:at] + moved.to_bytes() + honest[chunk][at + 33 :]
            with pytest.raises(VerificationError):
                read(honest, of)

    def test_exchanged_chunks(self, monkeypatch):
        """Two chunks, or their responses, in the other order."""
        monkeypatch.setattr(weight_layout, "CHUNK_POSITIONS", 2)
        of = layout(4)
        parts = list(encrypt_weights(WEIGHTS, SECRET, of, binding=BINDING))
        for order in ([0, 2, 1, 3, 4, 5, 6], [0, 1, 2, 3, 5, 4, 6], [0, 2, 1, 3, 5, 4, 6]):
            with pytest.raises(VerificationError):
                read([parts[i] for i in order], of)


class TestPlatform:
    @staticmethod
    def ready(features: np.ndarray = NO_FEATURES) -> SealedSums:
        sums = SealedSums(SMALL, features, binding=BINDING)
        for part in HONEST:
            sums.add(part)
        return sums

    def test_no_answer_without_a_proof(self):
        """An answer before the last part is refused, whichever part is missing."""
        sums = SealedSums(SMALL, np.zeros((4, 2), np.int8), binding=BINDING)
        for part in HONEST:
            assert not sums.is_proved
            with pytest.raises(LocalProtocolError):
                sums.release(noise=np.zeros(2, np.int64), seed=AnswerSeed.generate())
            sums.add(part)
        assert sums.is_proved

    def test_one_answer(self):
        """A second answer, whose noise could be averaged with the first, is refused."""
        sums = self.ready()
        sums.release(noise=np.zeros(2, np.int64), seed=AnswerSeed.generate())
        with pytest.raises(LocalProtocolError, match="second"):
            sums.release(noise=np.zeros(2, np.int64), seed=AnswerSeed.generate())

    @pytest.mark.parametrize(
        "noise", [np.zeros(1, np.int64), np.zeros((2, 1), np.int64), np.zeros(0, np.int64)]
    )
    def test_other_noise(self, noise):
        """Noise for another number of columns is refused without using up the answer."""
        sums = self.ready()
        with pytest.raises(DataError):
            sums.release(noise=noise, seed=AnswerSeed.generate())
        sums.release(noise=np.zeros(2, np.int64), seed=AnswerSeed.generate())

    def test_the_answer_can_be_computed_again(self):
        """Message, rows, noise and seed give the same bytes; another row, noise or seed gives others."""
        features = rows(4, 2)
        noise, seed = np.array([3, -4]), AnswerSeed.from_bytes(bytes(range(32)))
        answer = self.ready(features).release(noise=noise, seed=seed)
        again = AnswerSeed.from_bytes(seed.to_bytes())
        assert self.ready(features).release(noise=noise, seed=again) == answer
        other = features.copy()
        other[1, 0] += 1
        assert self.ready(other).release(noise=noise, seed=seed) != answer
        assert self.ready(features).release(noise=noise + 1, seed=seed) != answer
        assert self.ready(features).release(noise=noise, seed=AnswerSeed.generate()) != answer

    def test_bound_beforehand(self):
        """The commitment is of every row, their shape, seed and binding; the seed is not pickled."""
        features, seed = rows(4, 2), AnswerSeed.from_bytes(bytes(range(32)))
        commitment = seed.commit(features, binding=BINDING)
        assert commitment == seed.commit(np.asfortranarray(features), binding=BINDING)
        changes = [features + np.int8(1) * (np.arange(8).reshape(4, 2) == place) for place in range(8)]
        others = [seed.commit(change.astype(np.int8), binding=BINDING) for change in changes]
        others += [
            seed.commit(features.reshape(2, 4), binding=BINDING),
            seed.commit(features, binding=BINDING + b"2"),
            AnswerSeed.generate().commit(features, binding=BINDING),
            seed.noise_key,
        ]
        assert len({commitment, *others}) == 13
        with pytest.raises(TypeError):
            pickle.dumps(seed)
        for raw in (b"", bytes(31), bytes(33)):
            with pytest.raises(DataError):
                AnswerSeed.from_bytes(raw)

    def test_answers_are_fresh(self):
        """Columns with equal sums share no point, and neither do two answers to one message."""
        noise = np.zeros(2, np.int64)
        answers = [self.ready().release(noise=noise, seed=AnswerSeed.generate()) for _ in range(2)]
        points = [answer[i : i + 33] for answer in answers for i in range(0, 132, 33)]
        assert len(set(points)) == len(points)

    @pytest.mark.parametrize(
        "features",
        [
            np.zeros((3, 2), np.int8),
            np.zeros((5, 2), np.int8),
            np.zeros((4, 2), np.int64),
            np.zeros(4, np.int8),
            np.zeros((4, 0), np.int8),
            np.zeros((4, 129), np.int8),
            int8([[-128], [0], [0], [0]]),
            int8([[0, 0], [0, 0], [0, 0], [90, 90]]),
        ],
    )
    def test_rows_have_a_norm(self, features):
        """Rows of another number, type or width, and one longer than 127, are refused."""
        SealedSums(SMALL, int8([[127, 0], [0, -127], [89, 90], [0, 0]]), binding=BINDING)
        SealedSums(SMALL, np.zeros((4, 128), np.int8), binding=BINDING)
        with pytest.raises(DataError):
            SealedSums(SMALL, features, binding=BINDING)


class TestOpening:
    def test_what_is_no_answer(self):
        """Another length, non-points, and sums out of every bound."""
        secret, answer = answered(WEIGHTS, rows(4, 2), SMALL, [0, 0])
        for other in (b"", answer[:66], answer + answer[:66]):
            with pytest.raises(RemoteProtocolError, match="132"):
                open_sums(other, secret, SMALL, columns=2, variance=VARIANCE)
        for encoding in BAD_POINTS.values():
            with pytest.raises(RemoteProtocolError, match="points"):
                open_sums(encoding + answer[33:], secret, SMALL, columns=2, variance=VARIANCE)
        with pytest.raises(VerificationError):
            open_sums(answer, WeightSecret.generate(), SMALL, columns=2, variance=VARIANCE)

    def test_the_bound(self):
        """The largest sum that honest rows and 16 deviations of noise can give opens; one more does not."""
        bound = opening_bound(SMALL, VARIANCE)
        assert bound == 3 * 16 * 127 + 16 * 500 + 1
        weights, features = int8([0] * 4), np.zeros((4, 2), np.int8)
        for noise, expected in (([bound, -bound], True), ([0, bound + 1], False), ([-bound - 1, 0], False)):
            secret, answer = answered(weights, features, SMALL, noise)
            if expected:
                assert open_sums(answer, secret, SMALL, columns=2, variance=VARIANCE) == noise
            else:
                with pytest.raises(VerificationError):
                    open_sums(answer, secret, SMALL, columns=2, variance=VARIANCE)

    def test_noise_that_cannot_be_opened(self):
        """A plan whose sums or noise are beyond what can be searched is refused."""
        allowed = Fraction(((MAX_BOUND - SMALL.sum_bound - 1) // 16) ** 2)
        assert opening_bound(SMALL, allowed) <= MAX_BOUND
        with pytest.raises(DataError):
            opening_bound(SMALL, 2 * allowed)

    def test_norm(self):
        """The norm that the company's own weights allow, to the unit, in every direction."""
        deviations = 500 * (16 + 1 + 1)  # √2 rounded down, and one
        allowed = 127 * (16 + 3) + deviations + 1
        verify_norm([allowed, 0], WEIGHTS, variance=VARIANCE)
        verify_norm([0, -allowed], WEIGHTS, variance=VARIANCE)
        for sums in (
            [allowed + 1, 0],
            [0, -allowed - 1],
            [allowed, 200],
            [allowed * 3 // 4, allowed * 3 // 4],
        ):
            with pytest.raises(VerificationError):
                verify_norm(sums, WEIGHTS, variance=VARIANCE)


class TestTranscript:
    def test_everything_that_was_said_counts(self):
        """Another binding, layout, key or part, or the same parts in another order, give other challenges."""

        def after(
            *parts: bytes, of: WeightLayout = SMALL, key: Point = GENERATOR, binding: bytes = b"b"
        ) -> bytes:
            transcript = weight_proof.Transcript(of, key, binding=binding)
            for part in parts:
                transcript.absorb(part)
            return transcript.state

        said = [
            after(b"1", b"2"),
            after(b"2", b"1"),
            after(b"1"),
            after(b"12"),
            after(),
            after(b"1", b"2", of=layout(5)),
            after(b"1", b"2", key=-GENERATOR),
            after(b"1", b"2", binding=b"c"),
            after(b"1", b"2", binding=b""),
        ]
        assert len(set(said)) == len(said)
        ys, gammas, raw = weight_proof.coefficients(said[0], 5)
        assert len({*ys, *gammas}) == 10
        assert [int.from_bytes(bytes(row), "big") for row in raw] == gammas
        assert not set(ys) & set(weight_proof.coefficients(said[1], 5)[0])


class TestMultiScalar:
    """The bulk operations against one multiplication at a time."""

    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(st.tuples(st.integers(-3, 3), st.binary(min_size=4, max_size=4)), min_size=1, max_size=12)
    )
    def test_weighted_sums(self, pairs):
        """Sums with equal points, opposite points and zero scalars are those of single multiplications."""
        points = [combination([(multiple, GENERATOR)]) or GENERATOR for multiple, _ in pairs]
        vector = PointVector.parse(
            np.frombuffer(b"".join(p.to_bytes() for p in points), np.uint8).reshape(-1, 33)
        )
        scalars = np.frombuffer(b"".join(raw for _, raw in pairs), np.uint8).reshape(-1, 4)
        expected = combination(
            (int.from_bytes(raw, "big"), point) for (_, raw), point in zip(pairs, points, strict=True)
        )
        found = vector.weighted_sum(scalars)
        assert (found and found.to_bytes()) == (expected and expected.to_bytes())
        total = add(points)
        assert (vector.total() is None) == (total is None)

    def test_scalars_need_not_be_reduced(self):
        """A scalar beyond the order counts modulo the order; the order itself gives the identity."""
        one = PointVector.parse(np.frombuffer(GENERATOR.to_bytes(), np.uint8).reshape(1, 33))

        def times(number: int) -> Point | None:
            return one.weighted_sum(np.frombuffer(number.to_bytes(32, "big"), np.uint8).reshape(1, 32))

        assert times(GROUP_ORDER) is None
        assert times(0) is None
        assert times(GROUP_ORDER + 1).to_bytes() == GENERATOR.to_bytes()

    def test_completeness_of_addition(self):
        """The library adds equal points and opposite ones, and goes on after a partial sum that is zero."""
        p = combination([(5, GENERATOR)])
        assert add([p, p]).to_bytes() == combination([(10, GENERATOR)]).to_bytes()
        assert add([p, -p]) is None
        assert add([p, -p, GENERATOR]).to_bytes() == GENERATOR.to_bytes()
        assert add([p, -p, GENERATOR, GENERATOR, None]).to_bytes() == combination([(2, GENERATOR)]).to_bytes()
        assert add([]) is None
        assert add([None]) is None
        assert combination([(GROUP_ORDER, p), (0, p), (3, None)]) is None

    def test_products_in_bulk(self):
        """Products of the generator and shifted scalars are those of single operations; zero is refused."""
        scalars = [secp256k1.random_scalar() for _ in range(5)]
        raw = np.frombuffer(b"".join(scalar.reveal() for scalar in scalars), np.uint8).reshape(-1, 32)
        for scalar, encoding in zip(scalars, base_products(raw), strict=True):
            assert secp256k1.multiply_base_secret(scalar).to_bytes() == bytes(encoding)
        factor, addends = secp256k1.random_scalar(), [0, 7, GROUP_ORDER - 1]
        table = np.frombuffer(b"".join(map(public_scalar, addends)), np.uint8).reshape(-1, 32)
        which = np.array([0, 1, 2, 1, 0])
        before = raw.copy()
        results = multiply_add(raw, factor, table, which)
        assert (raw == before).all()
        x = int.from_bytes(factor.reveal(), "big")
        for scalar, result, choice in zip(scalars, results, which, strict=True):
            expected = int.from_bytes(scalar.reveal(), "big") * x + addends[choice]
            assert bytes(result) == public_scalar(expected)
        for bad in (bytes(32), GROUP_ORDER.to_bytes(32, "big")):
            wrong = np.frombuffer(bad, np.uint8).reshape(1, 32)
            with pytest.raises(DataError):
                base_products(wrong)
            with pytest.raises(DataError):
                multiply_add(wrong, factor, table, np.array([0]))

    def test_points_are_checked(self):
        """Every encoding is checked, the first and the last too."""
        good = GENERATOR.to_bytes()
        for encoding in BAD_POINTS.values():
            for place in range(3):
                raw = b"".join(encoding if i == place else good for i in range(3))
                with pytest.raises(DataError, match="point"):
                    PointVector.parse(np.frombuffer(raw, np.uint8).reshape(3, POINT_BYTES))

    def test_generators(self):
        """Asked for in any order, in any number, they are the same; all differ, H and G too."""
        shared = weight_proof._SharedGenerators()
        known = weight_proof._GENERATORS.first(40)
        encodings = []
        for count in (3, 1, 40):
            for i in range(count):
                single = shared.first(count)[i : i + 1].total().to_bytes()
                assert single == known[i : i + 1].total().to_bytes()
                encodings.append(single)
        assert len(shared.first(3)) == 3
        assert len(set(encodings)) == 40
        assert not set(encodings) & {GENERATOR.to_bytes(), weight_proof.BLINDING_GENERATOR.to_bytes()}


def test_the_modules_say_no_weight() -> None:
    """No error carries a weight, a count of weights or a sum."""
    errors: list[str] = []
    tries: list[Callable[[], object]] = [
        lambda: encrypt_weights(int8([0, 0, 0, 99]), SECRET, SMALL, binding=BINDING),
        lambda: encrypt_weights(int8([16] * 4), SECRET, SMALL, binding=BINDING),
        lambda: verify_norm([987_654, 0], WEIGHTS, variance=VARIANCE),
    ]
    for attempt in tries:
        with pytest.raises(NorenError) as caught:
            attempt()
        errors.append(caught.value.message)
    assert not any(number in message for message in errors for number in ("99", "16", "987"))
    assert multi_scalar.__doc__
