"""Encrypted scoring: what the platform pays for every student, and the company for its head."""

from __future__ import annotations

import secrets
from functools import partial

import numpy as np
import numpy.typing as npt

from noren_bench import bare_calls
from noren_bench.measurement import Goal, Row, least_in_turn, microseconds_each, wall_seconds
from noren_core.crypto.cores import available_cores
from noren_core.crypto.head_encryption import HeadLayout, encrypt_head, verify_head
from noren_core.crypto.scorer import Scorer

_STUDENTS = 4_096
_OPENED = 500
_BINDING = b"benchmark"


def row(dimensions: int, peers: dict[str, float], *, weight_bits: int = 8) -> Row:
    """One score, with the head's proof and the opening of scores as details."""
    weights = random_weights(dimensions, weight_bits)
    layout = HeadLayout(dimensions=dimensions, weight_bits=weight_bits, heads=1)
    encrypt = partial(encrypt_head, [weights], weight_bits=weight_bits, binding=_BINDING)
    secret, message = encrypt()
    verify = partial(verify_head, message, layout, binding=_BINDING)
    head = verify()
    features = random_features(_STUDENTS, dimensions)
    one_thread = partial(Scorer(head, threads=1).score, features)
    ours, floor = least_in_turn(
        partial(microseconds_each, one_thread, _STUDENTS, repeats=1),
        bare_calls.PointSums(dimensions).microseconds,
    )
    ciphertexts = Scorer(head).score(features[:_OPENED])
    bound = layout.score_bound
    secret.decrypt(ciphertexts[:1], bound=bound)  # the table of small logarithms is made once
    details = {
        "make_tables_ms": microseconds_each(partial(Scorer, head), 1) / 1e3,
        "encrypt_and_prove_head_ms": microseconds_each(encrypt, 1) / 1e3,
        "verify_head_ms": microseconds_each(verify, 1) / 1e3,
        "open_a_score_us": microseconds_each(partial(secret.decrypt, ciphertexts, bound=bound), _OPENED),
        "head_message_bytes": float(len(message)),
    }
    if available_cores() >= 2:
        two_threads = partial(Scorer(head, threads=2).score, features)
        alone, both = least_in_turn(partial(wall_seconds, one_thread), partial(wall_seconds, two_threads))
        details["speed_up_on_two_cores"] = alone / both
    return Row(
        work=f"score a student, d = {dimensions}, {weight_bits}-bit weights",
        unit="µs",
        ours=ours,
        floor=floor,
        floor_is="libsecp256k1: two sums, two encodings",
        peers=peers,
        goals=(Goal("ratio to the calls it needs", ours / floor, 1.10),),
        details=details,
    )


def random_weights(dimensions: int, weight_bits: int) -> list[int]:
    """Uniform weights over the whole range."""
    half = 1 << (weight_bits - 1)
    return [secrets.randbelow(2 * half) - half for _ in range(dimensions)]


def random_features(students: int, dimensions: int) -> npt.NDArray[np.int8]:
    """Uniform int8 features."""
    raw = np.frombuffer(secrets.token_bytes(students * dimensions), np.int8)
    return raw.reshape(students, dimensions)
