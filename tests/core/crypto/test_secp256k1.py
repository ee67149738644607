"""The contract with coincurve's libsecp256k1, and the small discrete logarithm on top of it."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from noren_core.crypto import secp256k1, small_discrete_log
from noren_core.crypto.secp256k1 import (
    GENERATOR,
    GROUP_ORDER,
    MultiplesTable,
    Point,
    encoded_multiples,
    encoded_shifts,
    public_scalar,
)
from noren_core.crypto.secret import SecretBytes
from noren_core.crypto.small_discrete_log import solve_sums
from noren_core.errors import DataError, VerificationError

# SEC 2, section 2.4.1
GENERATOR_X = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"


def times_generator(number: int) -> Point:
    return secp256k1.multiply_base_secret(public_scalar(number))


# Cut by one byte, C would read it whole: Python puts a zero after the bytes.
ENDS_IN_ZERO = next(
    point for number in range(1, 5000) if (point := times_generator(number).to_bytes())[32] == 0
)


class TestGroup:
    def test_generator(self):
        """The generator is the standard's, and the order is its order."""
        assert GENERATOR.to_bytes().hex() == "02" + GENERATOR_X
        assert times_generator(GROUP_ORDER - 1).to_bytes() == (-GENERATOR).to_bytes()

    def test_constant_time_and_variable_time_agree(self):
        """Both multiplications give the same point, by scalars at the edges and at random."""
        point = times_generator(7)
        for scalar in (public_scalar(1), public_scalar(-1), public_scalar(2), secp256k1.random_scalar()):
            secret = secp256k1.multiply_secret(scalar, point)
            assert secret.to_bytes() == secp256k1.multiply_public(scalar, point).to_bytes()

    def test_scalar_arithmetic(self):
        """Sums, products and negatives are modulo the group order, and leave their operands alone."""
        left, right = secp256k1.random_scalar(), secp256k1.random_scalar()
        a, b = (int.from_bytes(scalar.buffer, "big") for scalar in (left, right))
        assert secp256k1.add_secret_scalars(left, right).reveal() == public_scalar(a + b)
        assert secp256k1.multiply_secret_scalars(left, right).reveal() == public_scalar(a * b)
        assert secp256k1.negate_scalar(left).reveal() == public_scalar(-a)
        assert secp256k1.add_secret_scalars(left, bytes(32)) == left
        assert [int.from_bytes(scalar.buffer, "big") for scalar in (left, right)] == [a, b]

    def test_secret_scalars_are_read_where_they_lie(self):
        """A wiped scalar is zero to every operation: none works on a copy of its own."""
        scalar = SecretBytes(public_scalar(5))
        assert secp256k1.multiply_base_secret(scalar).to_bytes() == times_generator(5).to_bytes()
        scalar.wipe()
        with pytest.raises(DataError):
            secp256k1.multiply_base_secret(scalar)

    def test_sums(self):
        """Points add up; a sum that is the identity is None, since no point encodes it."""
        five = secp256k1.sum_points([times_generator(2), times_generator(3)])
        assert five is not None
        assert five.to_bytes() == times_generator(5).to_bytes()
        assert secp256k1.sum_points([GENERATOR, -GENERATOR]) is None

    @pytest.mark.parametrize(
        "encoding",
        [
            b"",
            bytes(33),
            b"\x02" + bytes(32),  # x = 0 is on no point
            b"\x02" + b"\xff" * 32,  # x beyond the field
            b"\x05" + bytes.fromhex(GENERATOR_X),
            bytes.fromhex(GENERATOR_X),
            b"\x02" + bytes.fromhex(GENERATOR_X) + b"\0",
            ENDS_IN_ZERO[:32],
        ],
    )
    def test_malformed_points(self, encoding):
        """Only 33 bytes that compress a point of the curve are a point."""
        with pytest.raises(DataError):
            Point.from_bytes(encoding)

    @pytest.mark.parametrize(
        "scalar", [bytes(32), public_scalar(-1)[:31], public_scalar(1) + b"\0", b"\xff" * 32, b""]
    )
    def test_malformed_scalars(self, scalar):
        """Zero, numbers beyond the order and other lengths never reach a multiplication."""
        assert not secp256k1.is_scalar(scalar)
        for multiply in (secp256k1.multiply_secret, secp256k1.multiply_public):
            with pytest.raises(DataError):
                multiply(scalar, GENERATOR)
        with pytest.raises(DataError):
            secp256k1.multiply_base_secret(scalar)

    def test_zero_sums_of_scalars(self):
        """A sum of scalars that is zero is an error, not a scalar."""
        with pytest.raises(DataError):
            secp256k1.add_secret_scalars(public_scalar(5), public_scalar(-5))


def halves(numerator: int) -> bytes:
    """The encoding of numerator/2 · G."""
    return times_generator(numerator * pow(2, -1, GROUP_ORDER)).to_bytes()


class TestBulkSums:
    def test_every_multiple(self):
        """Digit z of a point's row is (z - 127.5)·P, for all 256 of them."""
        table = MultiplesTable([GENERATOR, times_generator(3)])
        digits = np.arange(256, dtype=np.uint8).reshape(256, 1)
        for row, factor in enumerate((1, 3)):
            encodings = table.sums(np.array([row]), digits)
            assert [e.tobytes() for e in encodings] == [halves(factor * (2 * z - 255)) for z in range(256)]

    def test_sums_over_columns(self):
        """Columns may come in any order and repeat; a shift applies to its own row."""
        table = MultiplesTable([GENERATOR, times_generator(1000)])
        table.shift(1, times_generator(10**6))
        digits = np.array([[0, 255, 128], [7, 8, 9]], np.uint8)
        encodings = table.sums(np.array([1, 0, 0]), digits)
        expected = [
            halves(2 * 10**6 + 1000 * (2 * x - 255) + (2 * y - 255) + (2 * z - 255))
            for x, y, z in digits.tolist()
        ]
        assert [e.tobytes() for e in encodings] == expected

    def test_identities(self):
        """A sum or a shift that gives the identity is an error, never a row of zeros."""
        table = MultiplesTable([GENERATOR, -GENERATOR])
        with pytest.raises(DataError):
            table.sums(np.array([0, 1]), np.array([[3, 3]], np.uint8))
        half = times_generator(pow(2, -1, GROUP_ORDER))
        with pytest.raises(DataError):
            table.shift(0, half)

    def test_progressions(self):
        """Consecutive multiples of the generator, from any first one."""
        assert [e.tobytes() for e in encoded_multiples(40, 3)] == [
            times_generator(n).to_bytes() for n in (40, 41, 42)
        ]

    def test_shifted_sums(self):
        """Every pair with every shift; the identity is a row of zeros there."""
        pairs = [(times_generator(2), times_generator(3)), (times_generator(4), times_generator(5))]
        encodings = encoded_shifts(pairs, [times_generator(1), times_generator(-9)])
        found = [[e.tobytes() for e in row] for row in encodings]
        assert found == [
            [times_generator(6).to_bytes(), times_generator(-4).to_bytes()],
            [times_generator(10).to_bytes(), bytes(33)],
        ]


@pytest.fixture
def own_table(monkeypatch):
    """A process's table that nothing was asked of yet."""
    monkeypatch.setattr(small_discrete_log, "_SHARED", small_discrete_log._SharedTable())


def sums_to(*values: int) -> list[tuple[Point, Point]]:
    return [(times_generator(10**6), times_generator(value - 10**6)) for value in values]


@pytest.mark.usefixtures("own_table")
class TestSmallDiscreteLog:
    @pytest.mark.parametrize("bound", [1, 2, 100, 700])
    def test_every_value(self, bound):
        """Every value within the bound is found, the first ones outside are refused."""
        values = range(-bound, bound + 1)
        assert solve_sums(sums_to(*values), bound=bound) == list(values)
        for value in (-bound - 1, bound + 1, 10**9):
            with pytest.raises(VerificationError):
                solve_sums(sums_to(0, value), bound=bound)

    def test_many_giant_steps(self):
        """Values at the ends, around zero and at every step's edge are found with the smallest table."""
        bound, t = 2**16, small_discrete_log.MIN_BABY_STEPS
        edges = [*range(-bound, bound, t), *range(1 - bound, bound, 2 * t), bound, -1, 0, 1]
        monkeypatch = pytest.MonkeyPatch()
        with monkeypatch.context() as patch:
            patch.setattr(small_discrete_log, "MAX_BABY_STEPS", t)
            assert solve_sums(sums_to(*edges), bound=bound) == edges
            with pytest.raises(VerificationError):
                solve_sums(sums_to(bound + 1), bound=bound)

    def test_a_table_that_grew(self):
        """One process asks for little, then for more, then for little: all answers are right."""
        for bound, values in ((300, [5, -300]), (2**20, [-(2**20), 77, 2**20]), (300, [300, 0])):
            assert solve_sums(sums_to(*values), bound=bound) == values

    def test_an_entry_that_only_looks_alike_is_not_believed(self):
        """An answer from the table is multiplied out: a wrong one is refused and never given."""
        shared = small_discrete_log._SHARED
        table = shared.at_least(small_discrete_log.MIN_BABY_STEPS)
        shared._table = replace(table, multiples=table.multiples + 1)
        with pytest.raises(VerificationError):
            solve_sums(sums_to(5), bound=300)

    def test_threads_share_a_table(self):
        """Threads that make the process's first table at once all get their answers."""
        found: dict[int, list[int]] = {}

        def solve(n: int) -> None:
            found[n] = solve_sums(sums_to(n, -n), bound=2**16)

        threads = [threading.Thread(target=solve, args=(n,)) for n in (3, 30_000, 65_536, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == {n: [n, -n] for n in (3, 30_000, 65_536, 1)}

    def test_the_work_does_not_depend_on_the_score(self, monkeypatch):
        """Small, large and zero values take the same number of additions and comparisons."""
        counts: list[int] = []
        shifts, look = secp256k1.encoded_shifts, small_discrete_log._verified

        def counted(points, steps):
            counts.append(len(points) * len(steps))
            return shifts(points, steps)

        def verified(pair, candidates, bound):
            counts.append(len(candidates))
            return look(pair, candidates, bound)

        monkeypatch.setattr(small_discrete_log, "encoded_shifts", counted)
        monkeypatch.setattr(small_discrete_log, "_verified", verified)
        work = set()
        for value in (0, 1, 256, -767, 2**16):
            counts.clear()
            solve_sums(sums_to(value), bound=2**16)
            work.add(tuple(counts))
        # 2·ceil(bound / 2T) giant steps for T = 512, and one candidate.
        assert work == {(128, 1)}

    @pytest.mark.parametrize(
        ("count", "bound", "steps"),
        [
            (0, 1, 2**8),
            (1, 2**16, 2**9),
            (1, 2**17, 2**9),
            (4, 2**16, 2**10),
            (0, 2**20, 2**11),
            (10**6, 2**25, 2**17),
        ],
    )
    def test_the_table_grows_with_the_work(self, count, bound, steps):
        """A power of two near the root of searches times bound, never below 256 nor above 2^17."""
        assert small_discrete_log._baby_steps(count, bound) == steps

    def test_no_two_multiples_look_alike(self):
        """In the largest table the first eight bytes tell all multiples apart, so none hides another."""
        table = small_discrete_log._SHARED.at_least(small_discrete_log.MAX_BABY_STEPS)
        assert len(np.unique(table.prefixes)) == small_discrete_log.MAX_BABY_STEPS

    def test_the_largest_bound(self):
        """2^28 is searched, with more steps than sums are held at once."""
        assert solve_sums([], bound=2**28) == []

    @pytest.mark.parametrize("bound", [0, -1, 2**28 + 1])
    def test_bounds(self, bound):
        """A bound that would mean no search, or hours of it, is refused."""
        with pytest.raises(DataError):
            solve_sums([], bound=bound)
