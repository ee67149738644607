"""Scoring under encryption: exact, perfectly re-randomised, and what an unproved head would read."""

import secrets
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noren_core.crypto import scorer as scorer_module
from noren_core.crypto import secp256k1
from noren_core.crypto.bit_proof import Ciphertext
from noren_core.crypto.head_encryption import (
    EncryptedHead,
    HeadSecret,
    encrypt_head,
    score_bound,
    verify_head,
)
from noren_core.crypto.scorer import Scorer
from noren_core.crypto.secp256k1 import GROUP_ORDER, public_scalar
from noren_core.errors import DataError, RemoteProtocolError


def scorer_for(weights: Sequence[int], weight_bits: int = 8) -> tuple[HeadSecret, Scorer]:
    secret, message = encrypt_head(weights, weight_bits=weight_bits, binding=b"test")
    head = verify_head(message, dimensions=len(weights), weight_bits=weight_bits, binding=b"test")
    return secret, Scorer(head)


def unproved_head(secret: HeadSecret, weights: Sequence[int], nonces: Sequence[int]) -> EncryptedHead:
    """The head that a platform without the proof would accept: any integers under any nonces."""
    ciphertexts = []
    for weight, nonce in zip(weights, nonces, strict=True):
        b = secp256k1.multiply_secret(public_scalar(nonce), secret.public_key)
        if weight:
            b = secp256k1.add_base_multiple_public(b, public_scalar(weight))
        ciphertexts.append(Ciphertext(secp256k1.multiply_base_secret(public_scalar(nonce)), b))
    return EncryptedHead(8, secret.public_key, tuple(ciphertexts))


def exact(features: np.ndarray, weights: Sequence[int]) -> list[int]:
    return (features.astype(np.int64) @ np.array(weights, np.int64)).tolist()


class TestExactness:
    @settings(max_examples=12, deadline=None)
    @given(st.data())
    def test_equals_integer_arithmetic(self, data):
        """For any head and features the decrypted score is the integer inner product."""
        d = data.draw(st.integers(1, 5))
        weights = data.draw(st.lists(st.integers(-128, 127), min_size=d, max_size=d))
        row = st.lists(st.integers(-128, 127), min_size=d, max_size=d)
        features = np.array(data.draw(st.lists(row, min_size=1, max_size=4)), np.int8)
        secret, scorer = scorer_for(weights)
        assert secret.decrypt(scorer.score(features), bound=score_bound(5, 8)) == exact(features, weights)

    @pytest.mark.parametrize(
        "weights", [[-128] * 32, [127] * 32, [0] * 32, [-128, 127] * 16], ids=["low", "high", "zero", "mixed"]
    )
    def test_extremes(self, weights):
        """Heads and features at the ends of their ranges, where sums are largest, are exact."""
        features = np.array([[-128] * 32, [127] * 32, [0] * 32, [-128, 127] * 16, [127, -128] * 16], np.int8)
        secret, scorer = scorer_for(weights)
        bound = score_bound(32, 8)
        scores = secret.decrypt(scorer.score(features), bound=bound)
        assert scores == exact(features, weights)
        assert max(map(abs, scores)) <= bound

    def test_twelve_bits(self):
        """12-bit weights are exact, also at the bound itself."""
        weights = [-2048, 2047, -2048]
        features = np.array([[-128, 127, -128], [127, -128, 127], [1, 2, 3], [-128, 0, -128]], np.int8)
        secret, scorer = scorer_for(weights, weight_bits=12)
        assert secret.decrypt(scorer.score(features), bound=score_bound(3, 12)) == exact(features, weights)

    def test_every_feature_value(self):
        """All 256 values of a feature, across blocks, in order."""
        weights = [-3]
        features = np.resize(np.arange(-128, 128), (5000, 1)).astype(np.int8)
        secret, scorer = scorer_for(weights)
        ciphertexts = scorer.score(features)
        assert len(ciphertexts) == 5000
        some = [*range(256), *range(4090, 4102), 4999]
        assert secret.decrypt([ciphertexts[i] for i in some], bound=384) == exact(features[some], weights)

    @pytest.mark.parametrize(
        "features",
        [
            np.zeros((2, 3), np.int8),
            np.zeros((2, 2), np.int16),
            np.zeros((2, 2), np.uint8),
            np.zeros((2, 2)),
            np.zeros(2, np.int8),
        ],
        ids=lambda array: f"{array.dtype}{array.shape}",
    )
    def test_refuses_other_arrays(self, features):
        """Another width, type or rank is refused; no rows give no scores."""
        _, scorer = scorer_for([1, 2])
        with pytest.raises(DataError):
            scorer.score(features)
        assert scorer.score(np.zeros((0, 2), np.int8)) == []

    def test_any_memory_layout(self):
        """Transposed and strided arrays give the same scores as contiguous ones."""
        weights, block = [5, -7], np.arange(-12, 12, dtype=np.int8).reshape(2, 12)
        secret, scorer = scorer_for(weights)
        assert secret.decrypt(scorer.score(block.T[::3]), bound=score_bound(2, 8)) == exact(
            block.T[::3], weights
        )


class TestRandomisation:
    def test_equal_features_give_distinct_ciphertexts(self):
        """The same student scored 50 times gives 100 different points."""
        _, scorer = scorer_for([1, 2])
        ciphertexts = scorer.score(np.ones((50, 2), np.int8))
        assert len({c[i : i + 33] for c in ciphertexts for i in (0, 33)}) == 100

    def test_a_ciphertext_says_only_the_score(self, monkeypatch):
        """Students with equal scores have the same set of ciphertexts: each ρ of one has a ρ' of the other.

        Shown with a company that knows all its nonces, and a platform whose ρ is replaced.
        """
        weights, nonces = [3, 5], [secrets.randbelow(GROUP_ORDER - 1) + 1 for _ in range(2)]
        one, two = [10, -6], [-5, 3]  # both score 0
        scorer = Scorer(unproved_head(HeadSecret.generate(), weights, nonces))
        rho = secrets.randbits(256)
        # U = (Σ h_j·a_j + ρ)·G; the digit offset is the same on both sides and cancels.
        shifted = (rho + sum(a * (x - y) for a, x, y in zip(nonces, one, two, strict=True))) % GROUP_ORDER
        made = []
        for features, value in ((one, rho), (two, shifted)):
            monkeypatch.setattr(
                scorer_module.secrets, "token_bytes", lambda _, value=value: value.to_bytes(32, "little")
            )
            made += scorer.score(np.array([features], np.int8))
        assert made[0] == made[1]

    def test_cancelling_nonces_are_refused(self):
        """Nonces of two weights that sum to zero are refused, not a crash or a missing correction."""
        with pytest.raises(RemoteProtocolError):
            Scorer(unproved_head(HeadSecret.generate(), [1, 1], [7, -7]))


class TestWhatTheProofPrevents:
    """The naive design, kept as an attack: it succeeds against the scorer when the proof is left out."""

    WEIGHTS = (1, 2**10)

    def test_huge_weights_read_every_feature_of_a_student(self):
        """Weights 2^(10·j), unproved, pack both features of a student into one answer."""
        secret = HeadSecret.generate()
        scorer = Scorer(unproved_head(secret, self.WEIGHTS, [11, 13]))
        features = np.array([[-77, 115], [127, -128]], np.int8)
        answers = secret.decrypt(scorer.score(features), bound=2**18)
        read = [((answer + 512) % 1024 - 512, (answer + 512) // 1024) for answer in answers]
        assert read == [(-77, 115), (127, -128)]

    def test_huge_weights_are_not_encrypted(self):
        """The honest path refuses them at the company; tests of `verify_head` show the platform does too."""
        with pytest.raises(DataError):
            encrypt_head(self.WEIGHTS, weight_bits=8, binding=b"test")

    def test_a_basis_head_is_legal_and_reads_one_number(self):
        """A unit vector passes the proof and reads one feature: what bounds it is one head per campaign."""
        secret, scorer = scorer_for([0, 1, 0])
        features = np.array([[9, -77, 4]], np.int8)
        assert secret.decrypt(scorer.score(features), bound=score_bound(3, 8)) == [-77]
