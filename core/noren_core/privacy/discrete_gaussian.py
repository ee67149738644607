"""Exact samples of the discrete Gaussian from a keyed stream (Canonne, Kamath and Steinke, NeurIPS 2020).

The distribution: an integer x has probability proportional to exp(−x²/(2·variance)). It is sampled by
rejection from a discrete Laplace distribution (their algorithms 1 to 3). Every decision compares uniform
bits with an exact rational, so no rounding leaves a trace in the noise; floating-point Gaussians do, and
one such sample can tell an adversary who was in the data.

The same key gives the same samples on every machine, and drawing 4 and then 6 gives the same as drawing
10. Running time depends on the samples; it is visible only to someone who can time this process closely.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from fractions import Fraction
from math import isqrt
from typing import Self

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from numpy.typing import NDArray

from noren_core.crypto.secret import Secret
from noren_core.errors import ConfigurationError

KEY_BYTES = 32
VARIANCE_LIMIT = 2**96
"""Below it, a sample leaves 63 bits with probability under exp(-2^29): never."""

_BLOCK_BYTES = 4096
_WORD_BITS = 64
_WORD_RANGE = 1 << _WORD_BITS

_Words = Callable[[], int]


class NoiseStream(Secret):
    """Uniform 64-bit words: the ChaCha20 keystream (RFC 8439, zero nonce) of a key used for nothing else.

    Whoever knows the key can subtract the noise, so it is as sensitive as the data.

    Attributes:
        next_word: the next word of the stream.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ConfigurationError(f"noise key: expected {KEY_BYTES} bytes, got {len(key)}")
        self.next_word: _Words = _words(key).__next__

    @classmethod
    def generate(cls, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> Self:
        """A stream with a fresh key that nobody keeps."""
        return cls(random_bytes(KEY_BYTES))


def sample(count: int, *, variance: int | Fraction, stream: NoiseStream) -> NDArray[np.int64]:
    """`count` independent discrete Gaussians with variance parameter `variance`, an exact rational.

    Raises:
        ConfigurationError: unless 0 < variance ≤ 2^96; "no noise" is not a variance.
    """
    exact = Fraction(variance)
    if not 0 < exact <= VARIANCE_LIMIT:
        raise ConfigurationError("noise variance: expected more than 0 and at most 2^96, got another")
    word = stream.next_word
    return np.array(
        [_discrete_gaussian(word, exact.numerator, exact.denominator) for _ in range(count)], np.int64
    )


def _discrete_gaussian(word: _Words, numerator: int, denominator: int) -> int:
    """One sample with variance numerator/denominator (algorithm 3).

    With s² the variance and t = ⌊s⌋ + 1, a discrete Laplace y of scale t is kept with probability
    exp(−(|y| − s²/t)²/(2s²)); the fraction below is that exponent with both terms multiplied by
    (t · denominator)².
    """
    scale = isqrt(numerator // denominator) + 1
    unit = scale * denominator
    bottom = 2 * numerator * unit * scale
    while True:
        candidate = _discrete_laplace(word, scale)
        if _bernoulli_exp(word, (abs(candidate) * unit - numerator) ** 2, bottom):
            return candidate


def _discrete_laplace(word: _Words, scale: int) -> int:
    """An integer x with probability proportional to exp(−|x|/scale) (algorithm 2)."""
    while True:
        low = _below(word, scale)
        if not _bernoulli_exp_fraction(word, low, scale):
            continue
        high = 0
        while _bernoulli_exp_fraction(word, 1, 1):
            high += 1
        magnitude = low + scale * high
        if word() >> (_WORD_BITS - 1):
            return magnitude
        if magnitude:  # otherwise zero would come up with both signs
            return -magnitude


def _bernoulli_exp(word: _Words, numerator: int, denominator: int) -> bool:
    """True with probability exp(−numerator/denominator), for any ratio from 0 (algorithm 1)."""
    while numerator > denominator:
        if not _bernoulli_exp_fraction(word, 1, 1):
            return False
        numerator -= denominator
    return _bernoulli_exp_fraction(word, numerator, denominator)


def _bernoulli_exp_fraction(word: _Words, numerator: int, denominator: int) -> bool:
    """The same for ratios from 0 to 1: the parity of the first k at which a Bernoulli(ratio/k) fails."""
    divisor = 0
    fails_at_odd = False
    while True:
        divisor += denominator
        fails_at_odd = not fails_at_odd
        if not _bernoulli(word, numerator, divisor):
            return fails_at_odd


def _bernoulli(word: _Words, numerator: int, denominator: int) -> bool:
    """True with probability exactly numerator/denominator, from 0 to 1.

    Compares a uniform real with the ratio, 64 binary places at a time, until they differ.
    """
    while True:
        places, numerator = divmod(numerator << _WORD_BITS, denominator)
        drawn = word()
        if drawn != places:
            return drawn < places


def _below(word: _Words, bound: int) -> int:
    """Uniform from 0 to bound − 1, for bounds up to 2^63."""
    shift = _WORD_BITS - bound.bit_length()
    while True:
        drawn = word() >> shift
        if drawn < bound:
            return drawn


def _words(key: bytes) -> Iterator[int]:
    keystream = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()
    zeros = bytes(_BLOCK_BYTES)
    while True:
        yield from np.frombuffer(keystream.update(zeros), dtype="<u8").tolist()
