"""Scoring under encryption: exact, perfectly re-randomised, and what an unproved head would read."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import numpy as np
import pytest
from forged_head import random_number, unproved_head
from hypothesis import given, settings
from hypothesis import strategies as st

from noren_core.crypto import scorer as scorer_module
from noren_core.crypto.head_encryption import (
    CIPHERTEXT_BYTES,
    HeadLayout,
    HeadSecret,
    encrypt_head,
    verify_head,
)
from noren_core.crypto.scorer import Scorer
from noren_core.crypto.secp256k1 import GROUP_ORDER
from noren_core.errors import DataError

Heads = Sequence[Sequence[int]]


def scorer_for(heads: Heads, weight_bits: int = 8) -> tuple[HeadSecret, Scorer]:
    """By the honest path: encrypted, proved, verified."""
    secret, message = encrypt_head(heads, weight_bits=weight_bits, binding=b"test")
    layout = HeadLayout(dimensions=len(heads[0]), weight_bits=weight_bits, heads=len(heads))
    return secret, Scorer(verify_head(message, layout, binding=b"test"))


def unproved_scorer(
    heads: Heads, *, weight_bits: int = 8, threads: int | None = None
) -> tuple[HeadSecret, Scorer]:
    """The same ciphertexts in a moment, without bits and proof."""
    secret, nonces = HeadSecret.generate(), [[random_number() for _ in head] for head in heads]
    return secret, Scorer(unproved_head(secret, heads, nonces, weight_bits=weight_bits), threads=threads)


def opened(secret: HeadSecret, payloads: Sequence[bytes], *, bound: int) -> list[list[int]]:
    """Every student's scores, head by head."""
    size = CIPHERTEXT_BYTES
    return [
        secret.decrypt([payload[i : i + size] for i in range(0, len(payload), size)], bound=bound)
        for payload in payloads
    ]


def exact(features: np.ndarray, heads: Heads) -> list[list[int]]:
    return (features.astype(np.int64) @ np.array(heads, np.int64).T).tolist()


def bound_of(dimensions: int, weight_bits: int = 8) -> int:
    return HeadLayout(dimensions=dimensions, weight_bits=weight_bits, heads=1).score_bound


class TestExactness:
    @settings(max_examples=12, deadline=None)
    @given(st.data(), st.integers(1, 128), st.sampled_from([8, 12]), st.integers(1, 3))
    def test_equals_integer_arithmetic(self, data, d, weight_bits, count):
        """For any dimensions, weights and features the scores are those of NumPy in 64-bit integers."""
        half = 1 << (weight_bits - 1)
        seed = data.draw(st.integers(0, 2**32))
        generator = np.random.default_rng(seed)
        heads = generator.integers(-half, half, (count, d))
        features = generator.integers(-128, 128, (3, d)).astype(np.int8)
        some = data.draw(st.lists(st.sampled_from([-half, half - 1]), min_size=1, max_size=d))
        heads[0, : len(some)] = some  # the ends of the range, which uniform weights rarely meet
        features[0, : len(some)] = [-128 if weight < 0 else 127 for weight in some]
        secret, scorer = unproved_scorer(heads.tolist(), weight_bits=weight_bits)
        scores = opened(secret, scorer.score(features), bound=bound_of(d, weight_bits))
        assert scores == exact(features, heads.tolist())

    @pytest.mark.parametrize("weight_bits", [8, 12])
    def test_extremes(self, weight_bits):
        """Heads and features at the ends of their ranges, where sums reach the bound itself, are exact."""
        low, high = -(1 << (weight_bits - 1)), (1 << (weight_bits - 1)) - 1
        heads = [[low] * 4, [high] * 4, [0] * 4, [low, high] * 2]
        features = np.array([[-128] * 4, [127] * 4, [0] * 4, [-128, 127] * 2, [127, -128] * 2], np.int8)
        secret, scorer = scorer_for(heads, weight_bits)
        scores = opened(secret, scorer.score(features), bound=bound_of(4, weight_bits))
        assert scores == exact(features, heads)
        assert scores[0][0] == bound_of(4, weight_bits)

    @pytest.mark.parametrize("sign", [-1, 1])
    def test_the_widest_layout(self, sign):
        """128 dimensions of 12 bits at the ends: the largest scores that there can be."""
        features = np.full((1, 128), -128, np.int8)
        weights = [-2048 if sign > 0 else 2047] * 128
        secret, scorer = unproved_scorer([weights], weight_bits=12)
        scores = opened(secret, scorer.score(features), bound=bound_of(128, 12))
        assert scores == exact(features, [weights])

    @pytest.mark.parametrize("threads", [1, 2])
    def test_every_feature_value(self, threads, monkeypatch):
        """All 256 values of a feature, across blocks of one and two threads and their parts, in order."""
        monkeypatch.setattr(scorer_module, "_BLOCK_ROWS", 64)
        features = np.resize(np.arange(-128, 128), (600, 1)).astype(np.int8)
        secret, scorer = unproved_scorer([[-3], [2]], threads=threads)
        payloads = scorer.score(features)
        assert len(payloads) == len(set(payloads)) == 600
        some = [*range(256), *range(295, 305), 449, 450, 599]
        assert opened(secret, [payloads[i] for i in some], bound=384) == exact(features[some], [[-3], [2]])

    @pytest.mark.parametrize(
        "features",
        [
            np.zeros((2, 3), np.int8),
            np.zeros((2, 1), np.int8),
            np.zeros((2, 2, 1), np.int8),
            np.zeros((2, 2), np.int16),
            np.zeros((2, 2), np.uint8),
            np.zeros((2, 2)),
            np.zeros(2, np.int8),
        ],
        ids=lambda array: f"{array.dtype}{array.shape}",
    )
    def test_refuses_other_arrays(self, features):
        """Another width, type or rank is refused; no rows give no scores."""
        _, scorer = unproved_scorer([[1, 2]])
        with pytest.raises(DataError):
            scorer.score(features)
        assert scorer.score(np.zeros((0, 2), np.int8)) == []

    def test_any_memory_layout(self):
        """Transposed and strided arrays give the same scores as contiguous ones."""
        heads, block = [[5, -7]], np.arange(-12, 12, dtype=np.int8).reshape(2, 12)
        secret, scorer = unproved_scorer(heads)
        assert opened(secret, scorer.score(block.T[::3]), bound=bound_of(2)) == exact(block.T[::3], heads)


class TestRandomisation:
    def test_equal_features_give_distinct_ciphertexts(self):
        """The same student scored 50 times under two heads with equal nonces gives 200 points."""
        head, nonces = [1, 2], [random_number(), random_number()]
        scorer = Scorer(unproved_head(HeadSecret.generate(), [head, head], [nonces, nonces]))
        payloads = scorer.score(np.ones((50, 2), np.int8))
        assert len({p[i : i + 33] for p in payloads for i in range(0, 132, 33)}) == 200

    @settings(max_examples=5, deadline=None)
    @given(st.integers(0, 2**256 - 1))
    def test_a_ciphertext_says_only_the_score(self, rho):
        """Students with equal scores have the same set of ciphertexts: each ρ of one has a ρ' of the other.

        Shown with a company that knows all its nonces, and a platform whose ρ is replaced.
        """
        weights, nonces = [3, 5], [secrets.randbelow(GROUP_ORDER - 1) + 1 for _ in range(2)]
        one, two = [10, -6], [-5, 3]  # both score 0
        scorer = Scorer(unproved_head(HeadSecret.generate(), [weights], [nonces]))
        # U = (Σ h_j·a_j + ρ)·G; whatever the tables add is the same on both sides.
        shifted = (rho + sum(a * (x - y) for a, x, y in zip(nonces, one, two, strict=True))) % GROUP_ORDER
        made = []
        with pytest.MonkeyPatch.context() as patch:
            for features, value in ((one, rho), (two, shifted)):
                patch.setattr(
                    scorer_module.secrets, "token_bytes", lambda _, value=value: value.to_bytes(32, "little")
                )
                made += scorer.score(np.array([features], np.int8))
        assert made[0] == made[1]

    @pytest.mark.parametrize("nonces", [[7, -7], [1, 2], [1, 254], [3, -258]])
    def test_nonces_that_aim_at_the_tables(self, nonces):
        """Nonces whose sum cancels, or is minus an element of the platform's tables, change nothing."""
        secret = HeadSecret.generate()
        features = np.array([[1, 2], [-128, 127]], np.int8)
        scorer = Scorer(unproved_head(secret, [[1, 1]], [nonces]))
        assert opened(secret, scorer.score(features), bound=256) == [[3], [-1]]


class TestWhatTheProofPrevents:
    """The naive design, kept as an attack: it succeeds against the scorer when the proof is left out."""

    WEIGHTS = (1, 2**10)

    def test_huge_weights_read_every_feature_of_a_student(self):
        """Weights 2^(10·j), unproved, pack both features of a student into one answer."""
        secret, scorer = unproved_scorer([self.WEIGHTS])
        features = np.array([[-77, 115], [127, -128]], np.int8)
        answers = [answer for [answer] in opened(secret, scorer.score(features), bound=2**18)]
        read = [((answer + 512) % 1024 - 512, (answer + 512) // 1024) for answer in answers]
        assert read == [(-77, 115), (127, -128)]

    def test_huge_weights_are_not_encrypted(self):
        """The honest path refuses them at the company; tests of `verify_head` show the platform does too."""
        with pytest.raises(DataError):
            encrypt_head([self.WEIGHTS], weight_bits=8, binding=b"test")

    def test_a_basis_head_is_legal_and_reads_one_number(self):
        """A unit vector passes the proof and reads one feature: what bounds it is one message per season."""
        secret, scorer = scorer_for([[0, 1, 0]])
        features = np.array([[9, -77, 4]], np.int8)
        assert opened(secret, scorer.score(features), bound=bound_of(3)) == [[-77]]
