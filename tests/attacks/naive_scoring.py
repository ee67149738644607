"""Scoring under ElGamal as one would first build it: our arithmetic without one of our limits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from noren_core.crypto.bit_proof import Ciphertext
from noren_core.crypto.head_encryption import EncryptedHead, HeadLayout, verify_head
from noren_core.crypto.scorer import Scorer
from noren_core.crypto.secp256k1 import Point

BINDING = b"naive scoring service"


class ScoringWithoutLimit:
    """A scoring service: every head that comes with a valid range proof is answered."""

    def __init__(self, features: npt.NDArray[np.int8]) -> None:
        self._features = features

    def score(self, head: bytes) -> list[bytes]:
        """A ciphertext per student."""
        return Scorer(verify_head(head, layout(self._features), binding=BINDING)).score(self._features)


class ScoringWithoutProof:
    """A scoring service for one head: ciphertexts of the weights in, a ciphertext per student out."""

    def __init__(self, features: npt.NDArray[np.int8]) -> None:
        self._features = features
        self._is_used = False

    def score(self, key: Point, weights: Sequence[Ciphertext]) -> list[bytes]:
        """A ciphertext per student; the second head is refused."""
        if self._is_used:
            raise PermissionError("one head per campaign")
        self._is_used = True
        return Scorer(EncryptedHead(layout(self._features), key, (tuple(weights),))).score(self._features)


def layout(features: npt.NDArray[np.int8]) -> HeadLayout:
    """One head of 8-bit weights."""
    return HeadLayout(dimensions=features.shape[1], weight_bits=8, heads=1)
