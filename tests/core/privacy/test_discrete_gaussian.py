"""The sampler against the exact distribution. Keys are fixed, so a test that passes, passes always; the
false-alarm rates say how often a fresh key would fail."""

import time
from fractions import Fraction
from math import exp

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from scipy.stats import chi2, norm

from noren_core.errors import ConfigurationError
from noren_core.privacy import discrete_gaussian
from noren_core.privacy.discrete_gaussian import NoiseStream, sample

KEY = bytes(range(32))


class SlowReference:
    """Canonne, Kamath and Steinke's algorithms 1 to 3, as literally as possible, in exact fractions.

    Uniform reals are drawn lazily, 64 binary digits at a time, from the same keystream.
    """

    def __init__(self, key):
        self.keystream = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()

    def word(self):
        return int.from_bytes(self.keystream.update(bytes(8)), "little")

    def bernoulli(self, probability):
        low, width = Fraction(0), Fraction(1)
        while True:
            width /= 2**64
            low += self.word() * width
            if low + width <= probability:
                return True
            if low >= probability:
                return False

    def bernoulli_exp(self, gamma):
        if gamma <= 1:
            k = 1
            while self.bernoulli(gamma / k):
                k += 1
            return k % 2 == 1
        for _ in range(-(-gamma.numerator // gamma.denominator) - 1):
            if not self.bernoulli_exp(Fraction(1)):
                return False
        return self.bernoulli_exp(gamma - (-(-gamma.numerator // gamma.denominator) - 1))

    def uniform(self, bound):
        while True:
            drawn = self.word() // 2 ** (64 - bound.bit_length())
            if drawn < bound:
                return drawn

    def laplace(self, scale):
        while True:
            u = self.uniform(scale)
            if not self.bernoulli_exp(Fraction(u, scale)):
                continue
            v = 0
            while self.bernoulli_exp(Fraction(1)):
                v += 1
            x = u + scale * v
            positive = self.word() >= 2**63
            if x == 0 and not positive:
                continue
            return x if positive else -x

    def gaussian(self, variance):
        scale = 1
        while scale**2 <= variance:
            scale += 1
        while True:
            y = self.laplace(scale)
            if self.bernoulli_exp((abs(y) - variance / scale) ** 2 / (2 * variance)):
                return y


@pytest.mark.parametrize("variance", [Fraction(1, 5), Fraction(2), Fraction(10, 3), Fraction(40_000)])
def test_it_equals_the_slow_reference(variance):
    """Sample by sample, the fast code gives what the published algorithm gives on the same bits."""
    reference = SlowReference(KEY)
    expected = [reference.gaussian(variance) for _ in range(300)]
    assert sample(300, variance=variance, stream=NoiseStream(KEY)).tolist() == expected


def test_known_answer():
    """The samples of a fixed key are fixed for ever: noise must be recomputable years later, anywhere."""
    drawn = sample(8, variance=Fraction(2**33, 3), stream=NoiseStream(KEY))
    assert drawn.dtype == np.int64
    assert drawn.tolist() == [10062, -51367, -45586, 55414, 23319, 49463, 55516, -27090]


@pytest.mark.parametrize("variance", [Fraction(1, 5), Fraction(1), Fraction(7, 3), Fraction(20)])
def test_frequencies_are_the_exact_probabilities(variance):
    """χ² over every value expected 10 times or more, two-sided (false alarm 1e-4)."""
    count = 60_000
    drawn = sample(count, variance=variance, stream=NoiseStream(KEY))
    reach = range(-60, 61)
    weights = np.array([exp(-(x**2) / (2 * float(variance))) for x in reach])
    expected = count * weights / weights.sum()
    observed = np.array([np.count_nonzero(drawn == x) for x in reach])
    common = expected >= 10
    observed_rest, expected_rest = count - observed[common].sum(), count - expected[common].sum()
    statistic = ((observed[common] - expected[common]) ** 2 / expected[common]).sum()
    degrees = common.sum() - 1
    if expected_rest >= 1:
        statistic += (observed_rest - expected_rest) ** 2 / expected_rest
        degrees += 1
    assert chi2.ppf(5e-5, degrees) < statistic < chi2.isf(5e-5, degrees)


def test_large_deviations_have_the_right_moments_and_tails():
    """At σ of half a million: mean, variance, kurtosis and mass beyond 3σ and 4σ (false alarm 1e-4 each)."""
    count, sigma = 100_000, 8 * 65_536
    scaled = sample(count, variance=sigma**2, stream=NoiseStream(KEY)) / sigma
    limit = norm.isf(5e-5)
    assert abs(scaled.mean()) * count**0.5 < limit
    assert abs((scaled**2).mean() - 1) * (count / 2) ** 0.5 < limit
    assert abs((scaled**4).mean() - 3) * (count / 96) ** 0.5 < limit
    for beyond in (3, 4):
        probability = 2 * norm.sf(beyond)
        surplus = np.count_nonzero(np.abs(scaled) > beyond) - count * probability
        assert abs(surplus) < limit * (count * probability) ** 0.5 + 1
    assert abs((scaled[1:] * scaled[:-1]).mean()) * count**0.5 < limit


@pytest.mark.parametrize("variance", [Fraction(10, 3), Fraction(40_000)])
def test_the_tail_is_not_cut_off(variance, monkeypatch):
    """Ten deviations out, where no test could wait for it, the code still decides as the published algorithm.

    Both get the same coins for exp(−x), x from 0 to 1, most of which say yes: that leads far out. A
    float32 generator ends at 5.77 deviations.
    """

    def biased_coins():
        rng = np.random.default_rng(5)
        return lambda *_: bool(rng.random() < 0.92)

    reference, coin = SlowReference(KEY), biased_coins()
    slow = reference.bernoulli_exp
    reference.bernoulli_exp = lambda gamma: coin() if gamma <= 1 else slow(gamma)
    monkeypatch.setattr(discrete_gaussian, "_bernoulli_exp_fraction", biased_coins())
    drawn = sample(400, variance=variance, stream=NoiseStream(KEY))
    assert drawn.tolist() == [reference.gaussian(variance) for _ in range(400)]
    deviations = np.abs(drawn) / float(variance) ** 0.5
    assert deviations.max() > 10
    assert np.count_nonzero(deviations > 5.77) >= 10


def test_how_samples_are_drawn_does_not_change_them():
    """Ten at once, or four and then six: the stream is consumed word by word, whatever it buffers."""
    whole = sample(3000, variance=10**9, stream=NoiseStream(KEY))
    stream = NoiseStream(KEY)
    parts = [sample(size, variance=10**9, stream=stream) for size in (1, 999, 0, 2000)]
    assert np.concatenate(parts).tolist() == whole.tolist()


def test_keys_decide_the_samples():
    """Two keys that differ in any bit give unrelated noise; a generated stream is new each time."""
    draws = {
        tuple(sample(6, variance=10**12, stream=stream).tolist())
        for stream in (
            NoiseStream(KEY),
            NoiseStream(KEY[:-1] + b"\x00"),
            NoiseStream(b"\x01" + KEY[1:]),
            NoiseStream.generate(),
            NoiseStream.generate(),
        )
    }
    assert len(draws) == 5
    asked = []
    NoiseStream.generate(lambda size: asked.append(size) or KEY)
    assert asked == [32]


@pytest.mark.parametrize("variance", [0, -1, Fraction(-1, 3), 2**96 + 1])
def test_a_variance_that_is_none_is_refused(variance):
    """No noise, or more than an int64 holds, is not asked for by a plan."""
    with pytest.raises(ConfigurationError, match="variance"):
        sample(1, variance=variance, stream=NoiseStream(KEY))


def test_a_short_key_is_refused():
    """The stream has 256-bit keys; nothing is stretched to one."""
    with pytest.raises(ConfigurationError, match="32 bytes, got 31"):
        NoiseStream(KEY[:-1])


def test_a_stream_shows_nothing():
    """The key would let anyone subtract the noise."""
    assert repr(NoiseStream(KEY)) == "<NoiseStream redacted>"


def test_tens_of_thousands_of_samples_take_a_fraction_of_a_second():
    """At most 15 µs of CPU time each (3.3 µs measured)."""
    started = time.process_time()
    sample(20_000, variance=1500**2, stream=NoiseStream(KEY))
    assert time.process_time() - started < 20_000 * 15e-6
