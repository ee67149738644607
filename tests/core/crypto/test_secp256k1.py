"""The contract with coincurve's libsecp256k1, and the small discrete logarithm on top of it."""

import pytest

from noren_core.crypto import secp256k1, small_discrete_log
from noren_core.crypto.secp256k1 import GENERATOR, GROUP_ORDER, Point, public_scalar
from noren_core.crypto.small_discrete_log import SmallDiscreteLog
from noren_core.errors import DataError, VerificationError

# SEC 2, section 2.4.1
GENERATOR_X = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"


def times_generator(number: int) -> Point:
    return secp256k1.multiply_base_secret(public_scalar(number))


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
        """Sums, products and negatives are modulo the group order."""
        a, b = (int.from_bytes(secp256k1.random_scalar(), "big") for _ in range(2))
        left, right = public_scalar(a), public_scalar(b)
        assert secp256k1.add_secret_scalars(left, right) == public_scalar(a + b)
        assert secp256k1.multiply_secret_scalars(left, right) == public_scalar(a * b)
        assert secp256k1.negate_scalar(left) == public_scalar(-a)

    def test_sums(self):
        """Points add up; a sum that is the identity is None, since no point encodes it."""
        five = secp256k1.sum_points([times_generator(2), times_generator(3)])
        assert five is not None
        assert five.to_bytes() == times_generator(5).to_bytes()
        assert secp256k1.add_base_multiple_public(times_generator(2), public_scalar(3)).to_bytes() == (
            five.to_bytes()
        )
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
        ],
    )
    def test_malformed_points(self, encoding):
        """Only 33 bytes that compress a point of the curve are a point."""
        with pytest.raises(DataError):
            Point.from_bytes(encoding)

    @pytest.mark.parametrize("scalar", [bytes(32), public_scalar(-1)[:31], b"\xff" * 32, b""])
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


class TestSmallDiscreteLog:
    @pytest.mark.parametrize("bound", [1, 2, 3, 100])
    def test_every_value(self, bound):
        """Every value within the bound is found, the first ones outside are refused."""
        logarithm = SmallDiscreteLog(bound)
        far = times_generator(1000)
        for value in range(-bound, bound + 1):
            assert logarithm.solve_sum([far, times_generator(value - 1000)]) == value
        for value in (-bound - 1, bound + 1, 10**9):
            with pytest.raises(VerificationError):
                logarithm.solve_sum([times_generator(value)])

    @pytest.mark.parametrize("bound", [2**14, 2**20])
    def test_many_giant_steps(self, monkeypatch, bound):
        """With a short table, values at the ends, around zero and at every step's edge are found."""
        monkeypatch.setattr(small_discrete_log, "MAX_BABY_STEPS", bound // 32)
        logarithm, width = SmallDiscreteLog(bound), 2 * (bound // 32) + 1
        values = {
            -bound,
            bound,
            -1,
            1,
            *range(bound // 32, bound, width),
            *range(bound // 32 + 1, bound, width),
        }
        assert all(logarithm.solve_sum([times_generator(value)]) == value for value in values)
        with pytest.raises(VerificationError):
            logarithm.solve_sum([times_generator(bound + 1)])

    def test_the_work_does_not_depend_on_the_score(self, monkeypatch):
        """Small, large, zero and absent values take the same number of additions."""
        monkeypatch.setattr(small_discrete_log, "MAX_BABY_STEPS", 64)
        logarithm, counts = SmallDiscreteLog(1000), []
        addition = secp256k1.sum_points
        monkeypatch.setattr(
            small_discrete_log, "sum_points", lambda points: counts.append(1) or addition(points)
        )
        work = []
        for value in (1, 999, -1000):
            counts.clear()
            logarithm.solve_sum([times_generator(value)])
            work.append(len(counts))
        assert len(set(work)) == 1
        assert work[0] > 10

    @pytest.mark.parametrize("bound", [0, -1, 2**28 + 1])
    def test_bounds(self, bound):
        """A bound that would mean no search, or hours of it, is refused."""
        with pytest.raises(DataError):
            SmallDiscreteLog(bound)
