"""Searching for the seed of a mask: the masked vector is a sum of a small vector and the right stream.

A platform that knows all other masks of a late company's vector is left with one stream. If that stream is
determined by 32 bits, however long the secret they were folded from, trying them all takes core-hours.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Iterator

import numpy as np
from attack import Attack, Result, System
from naive_masks import fold, mask
from numpy.typing import NDArray
from system_cohort import LENGTH, ready_cohort, update

from noren_core.crypto.secret import SecretBytes
from noren_core.secagg.masking import expand

SEARCHED_BITS = 22
"""Of the 32 bits, so that the search takes a second; the victim's seed is drawn from these."""
BLOCK = 2**14
SMALL = 2**20
"""No coordinate of an update is larger, and hardly any coordinate of a wrong guess is as small."""
SEEN = 4
"""Coordinates that are compared."""
LOW_ENTROPY_BITS = 12

# Mersenne Twister (Matsumoto and Nishimura, 1998), seeded as NumPy seeds it with an integer.
_WORDS = 397
_UPPER, _LOWER, _TWIST = np.uint32(0x80000000), np.uint32(0x7FFFFFFF), np.uint32(0x9908B0DF)


def search_naive() -> Result:
    """Every seed of the reduced space, many at a time."""
    secret = secret_within_reach()
    masked = update(1).astype(np.uint32) + mask(secret, LENGTH)
    start, found = time.process_time(), None
    for first in range(0, 2**SEARCHED_BITS, BLOCK):
        seeds = np.arange(first, first + BLOCK, dtype=np.uint32)
        left = (masked[:SEEN, None] - outputs(seeds)).view(np.int32)
        for seed in seeds[(np.abs(left) < SMALL).all(axis=0)]:
            stream = np.random.RandomState(seed).randint(0, 2**32, size=LENGTH, dtype=np.uint32)
            if ((masked - stream).view(np.int32) == update(1)).all():
                found = int(seed)
    seconds = time.process_time() - start
    per_seed = 1e6 * seconds / 2**SEARCHED_BITS
    return Result(
        found == fold(secret),
        f"{LENGTH if found is not None else 0} of {LENGTH} coordinates read, 2^{SEARCHED_BITS} seeds in "
        f"{seconds:.1f} CPU-s; extrapolated, not run: all 2^32 in {per_seed * 2**32 / 3.6e9:.1f} core-hours",
    )


def secret_within_reach() -> bytes:
    """256 random bits whose fold lies in the searched space; nothing else is special about them."""
    head = secrets.token_bytes(28)
    wanted = secrets.randbelow(2**SEARCHED_BITS)
    return head + (fold(head) ^ wanted).to_bytes(4, "big")


def outputs(seeds: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The first `SEEN` outputs of every seed's generator, one column for each seed."""
    state, kept = seeds.copy(), {}
    for index in range(_WORDS + SEEN):
        if index:
            state = np.uint32(1812433253) * (state ^ (state >> np.uint32(30))) + np.uint32(index)
        if index <= SEEN or index >= _WORDS:
            kept[index] = state
    return np.stack([tempered(kept[i], kept[i + 1], kept[i + _WORDS]) for i in range(SEEN)])


def tempered(
    word: NDArray[np.uint32], following: NDArray[np.uint32], far: NDArray[np.uint32]
) -> NDArray[np.uint32]:
    mixed = (word & _UPPER) | (following & _LOWER)
    output = far ^ (mixed >> np.uint32(1)) ^ np.where(mixed & np.uint32(1), _TWIST, np.uint32(0))
    output ^= output >> np.uint32(11)
    output ^= (output << np.uint32(7)) & np.uint32(0x9D2C5680)
    output ^= (output << np.uint32(15)) & np.uint32(0xEFC60000)
    return output ^ (output >> np.uint32(18))


def search_ours() -> Result:
    """A late company's vector, all pairwise masks taken off; then every seed that is easily guessed.

    And whether the seed is really all of 256 bits: changes of one bit, and of two bits that cancel in a fold.
    """
    cohort = ready_cohort(4, threshold=3)
    *others, victim = cohort.names
    seed = cohort.clients[victim]._mask_seeds[1].self_seed.reveal()
    masked = cohort.clients[victim].mask(1, update(1))
    for name in others:
        cohort.clients[name].mask(1, update(2))
        cohort.ask(name, others)
    key = cohort.recover(cohort.shares(victim, is_self_mask=False))
    if key:
        masked -= cohort.own_pair_masks(victim, key)
    expansions: list[Callable[[bytes], NDArray[np.uint64]]] = [
        lambda guess: expand(SecretBytes(guess), LENGTH),
        lambda guess: cohort.self_mask(victim, guess),
    ]
    guesses = list(low_entropy_seeds())
    found = sum(
        bool((np.abs((masked - stream(guess)).view(np.int64)[:SEEN]) < SMALL).all())
        for guess in guesses
        for stream in expansions
    )
    stream = cohort.self_mask(victim, seed)
    assert ((masked - stream).view(np.int64) == update(1)).all(), "the right seed opens it"
    unnoticed = sum(bool((cohort.self_mask(victim, near) == stream).any()) for near in neighbours(seed))
    return Result(
        found > 0 or unnoticed > 0,
        f"0 of {LENGTH} coordinates read with {len(guesses)} guessed seeds; "
        f"{512 - unnoticed} of 512 changes of one bit, or of two that a fold would cancel, change the mask",
    )


def low_entropy_seeds() -> Iterator[bytes]:
    """Seeds of 256 bits with little in them: numbers, repeated words, hashes of numbers."""
    for number in range(2**LOW_ENTROPY_BITS):
        yield number.to_bytes(32, "big")
        yield number.to_bytes(32, "little")
        yield number.to_bytes(4, "big") * 8
        yield hashlib.sha256(number.to_bytes(4, "big")).digest()


def neighbours(seed: bytes) -> Iterator[bytes]:
    value = int.from_bytes(seed, "big")
    for bit in range(256):
        yield (value ^ 1 << bit).to_bytes(32, "big")
        yield (value ^ 1 << bit ^ 1 << (bit + 32) % 256).to_bytes(32, "big")


ATTACKS = (
    Attack(
        name="mask-seed search",
        attacker="platform",
        aim="read a company's vector by finding the seed of its mask",
        systems=(
            System("masks from a 32-bit seed", False, search_naive),
            System("Noren", True, search_ours),
        ),
    ),
)
