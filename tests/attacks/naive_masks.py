"""Masks from a pseudo-random generator that is at hand: NumPy's, which takes a seed of 32 bits.

A well-known library for federated learning does it like this: the agreed secret is folded to what the
generator accepts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def fold(secret: bytes) -> int:
    """The exclusive or of the secret's 32-bit words."""
    return int(np.bitwise_xor.reduce(np.frombuffer(secret, ">u4")))


def mask(secret: bytes, length: int) -> NDArray[np.uint32]:
    """Mersenne Twister integers."""
    generator = np.random.RandomState(fold(secret))
    return generator.randint(0, 2**32, size=length, dtype=np.uint32)
