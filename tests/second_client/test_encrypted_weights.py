"""Sealed statistics in plain integers, written from the protocol, against the code and the frozen file."""

from __future__ import annotations

import hashlib
import hmac
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noren_core.crypto import weight_layout
from noren_core.crypto.sealed_sums import AnswerSeed, SealedSums, open_sums
from noren_core.crypto.weight_encryption import (
    WeightReader,
    WeightSecret,
    encrypt_weights,
    weights_commitment,
)
from noren_core.crypto.weight_layout import WeightLayout
from noren_core.errors import NorenError

from . import RefusedError, encrypted_weights
from .encrypted_weights import Bounds
from .secp256k1 import ORDER, G

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "sealed_statistics_v1.json").read_text())
BINDING = b"noren/v1/weights\0" + bytes(range(64)) + b"tanaka-denki"
BOUNDS = Bounds(a=3, b=16, most=5, positions=5)
WEIGHTS = [0, 16, -3, 0, -3]
FEATURES = [[127, 0], [-3, 126], [0, 0], [-60, -111], [1, -1]]
NOISE = [40, -7]
X, SEED = (int.from_bytes(hashlib.sha512(b"x").digest()) % ORDER, hashlib.sha256(b"seed").digest())
ANSWER_SEED = hashlib.sha256(b"answer").digest()


def reference_vectors() -> dict[str, Any]:
    parts = encrypted_weights.encrypt(WEIGHTS, BOUNDS, X, SEED, BINDING)
    ciphertexts = encrypted_weights.verify(parts, BOUNDS, BINDING)
    received = encrypted_weights.answer(ciphertexts, X * G, FEATURES, NOISE, ANSWER_SEED)
    return {
        "binding": BINDING.hex(),
        "negative": BOUNDS.a,
        "positive": BOUNDS.b,
        "nonzero": BOUNDS.most,
        "weights": WEIGHTS,
        "secret": (X.to_bytes(32) + SEED).hex(),
        "parts": [part.hex() for part in parts],
        "commitment": hashlib.sha256(b"noren/v1/weights-commitment\0" + b"".join(parts)).hexdigest(),
        "features": FEATURES,
        "noise": NOISE,
        "answer_seed": ANSWER_SEED.hex(),
        "rows_commitment": encrypted_weights.rows_commitment(FEATURES, ANSWER_SEED, BINDING).hex(),
        "noise_key": hmac.digest(ANSWER_SEED, b"noren/v1/sealed-sums-noise\0", "sha256").hex(),
        "answer": received.hex(),
        "sums": encrypted_weights.open_sums(received, X, 3000),
    }


def layout(bounds: Bounds) -> WeightLayout:
    return WeightLayout(positions=bounds.positions, nonzero=bounds.most, negative=bounds.a, positive=bounds.b)


def secret() -> WeightSecret:
    return WeightSecret.from_bytes(X.to_bytes(32) + SEED)


def encrypt(weights: list[int], bounds: Bounds) -> list[bytes]:
    return list(encrypt_weights(np.array(weights, np.int8), secret(), layout(bounds), binding=BINDING))


class TestVectors:
    def test_the_file_is_what_the_reference_gives(self) -> None:
        """The frozen file and the slow reference agree, so neither was bent to fit the code."""
        assert reference_vectors() == VECTORS

    def test_the_message(self) -> None:
        """The production code makes the file's message, byte for byte, and its commitment."""
        parts = encrypt(WEIGHTS, BOUNDS)
        assert [part.hex() for part in parts] == VECTORS["parts"]
        assert weights_commitment(parts).hex() == VECTORS["commitment"]

    def test_the_answer(self) -> None:
        """The production code gives the file's answer, byte for byte, and opens it to the file's sums."""
        sums = SealedSums(layout(BOUNDS), np.array(FEATURES, np.int8), binding=BINDING)
        for part in VECTORS["parts"]:
            sums.add(bytes.fromhex(part))
        assert sums.commitment.hex() == VECTORS["commitment"]
        answer = sums.release(noise=np.array(NOISE), seed=AnswerSeed.from_bytes(ANSWER_SEED))
        assert answer.hex() == VECTORS["answer"]
        seed = AnswerSeed.from_bytes(ANSWER_SEED)
        rows = np.array(FEATURES, np.int8)
        assert seed.commit(rows, binding=BINDING).hex() == VECTORS["rows_commitment"]
        assert seed.noise_key.hex() == VECTORS["noise_key"]
        opened = open_sums(answer, secret(), layout(BOUNDS), columns=2, variance=Fraction(100))
        assert opened == VECTORS["sums"] == [-48 + 40 - 3, 2016 - 7 + 3]


@st.composite
def messages(draw: st.DrawFn) -> tuple[Bounds, list[int]]:
    a, b = draw(st.integers(1, 127)), draw(st.integers(1, 127))
    weights = draw(st.lists(st.sampled_from([-a, 0, b]), min_size=1, max_size=4))
    used = sum(weight != 0 for weight in weights)
    most = draw(st.integers(max(used, 1), 8))
    return Bounds(a=a, b=b, most=most, positions=len(weights), chunk=draw(st.integers(1, 3))), weights


class TestDifferential:
    @settings(max_examples=15, deadline=None)
    @given(messages())
    def test_equal_messages(self, message: tuple[Bounds, list[int]]) -> None:
        """Any weights, bounds and chunks give the same message twice over; each side accepts the other's."""
        bounds, weights = message
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(weight_layout, "CHUNK_POSITIONS", bounds.chunk)
            ours = encrypt(weights, bounds)
            assert ours == encrypted_weights.encrypt(weights, bounds, X, SEED, BINDING)
            encrypted_weights.verify(ours, bounds, BINDING)
            reader = WeightReader(layout(bounds), binding=BINDING)
            for part in ours:
                reader.add(part)
            assert reader.is_proved

    @settings(max_examples=25, deadline=None)
    @given(messages(), st.data())
    def test_equal_refusals(self, message: tuple[Bounds, list[int]], data: st.DataObject) -> None:
        """What is encrypted or claimed against the rules is refused by both."""
        bounds, weights = message
        values = st.one_of(st.integers(-130, 130), st.sampled_from([-bounds.a, 0, bounds.b]))
        same_length = {"min_size": len(weights), "max_size": len(weights)}
        encrypted = data.draw(st.one_of(st.just(weights), st.lists(values, **same_length)))
        claims = data.draw(st.one_of(st.just(encrypted), st.just(weights), st.lists(values, **same_length)))
        parts = encrypted_weights.encrypt(encrypted, bounds, X, SEED, BINDING, claims=claims)
        allowed = {-bounds.a, 0, bounds.b}
        is_honest = encrypted == claims and set(claims) <= allowed
        is_honest &= sum(claim != 0 for claim in claims) <= bounds.most
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(weight_layout, "CHUNK_POSITIONS", bounds.chunk)
            reader = WeightReader(layout(bounds), binding=BINDING)
            try:
                for part in parts:
                    reader.add(part)
            except NorenError:
                assert not reader.is_proved
            assert reader.is_proved is is_honest
        if is_honest:
            encrypted_weights.verify(parts, bounds, BINDING)
        else:
            with pytest.raises(RefusedError):
                encrypted_weights.verify(parts, bounds, BINDING)
