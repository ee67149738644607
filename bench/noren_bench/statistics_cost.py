"""Sealed statistics: what a message of encrypted weights and its answer cost for every position."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from noren_bench.measurement import Cost, Goal, Row
from noren_core.crypto.sealed_sums import AnswerSeed, SealedSums
from noren_core.crypto.weight_encryption import WeightSecret, encrypt_weights
from noren_core.crypto.weight_layout import CHUNK_POSITIONS, ROW_NORM, WeightLayout
from noren_core.crypto.weight_proof import prepare_generators

_NEGATIVE, _POSITIVE = 4, 16
_USED_IN_A_HUNDRED = 5
_BINDING = b"benchmark"
_REPEATS = 3


def row(positions: int, dimensions: int = 4) -> Row:
    """One message and its answer: CPU time of both parties, and what the message is long."""
    layout = WeightLayout(
        positions=positions,
        nonzero=positions * _USED_IN_A_HUNDRED // 100,
        negative=_NEGATIVE,
        positive=_POSITIVE,
    )
    weights, features = random_weights(layout), random_rows(positions, dimensions)
    prepare_generators(CHUNK_POSITIONS)  # once in a process
    costs = [_one_exchange(layout, weights, features) for _ in range(_REPEATS)]
    company, platform = (min(cost.cpu for cost in of_one) for of_one in zip(*costs, strict=True))
    company_wall, platform_wall = (min(c.wall for c in of_one) for of_one in zip(*costs, strict=True))
    return Row(
        work=f"sealed statistics, {positions:,} positions, d = {dimensions}: both parties",
        unit="µs a position",
        ours=(company + platform) / positions * 1e6,
        goals=(
            Goal("company, µs a position", company / positions * 1e6, 50.0),
            Goal("platform, µs a position", platform / positions * 1e6, 55.0),
            Goal("bytes a position", layout.message_bytes / positions, 98.2),
        ),
        details={
            "company_cpu_s": company,
            "platform_cpu_s": platform,
            "company_wall_s": company_wall,
            "platform_wall_s": platform_wall,
            "message_mb": layout.message_bytes / 1e6,
            "largest_part_mb": max(layout.part_lengths) / 1e6,
        },
    )


def random_weights(layout: WeightLayout) -> npt.NDArray[np.int8]:
    """As many weights other than 0 as are allowed, one in five positive."""
    generator = np.random.default_rng()
    weights = np.zeros(layout.positions, np.int8)
    chosen = generator.choice(layout.positions, layout.nonzero, replace=False)
    weights[chosen] = np.where(generator.random(len(chosen)) < 0.2, layout.positive, -layout.negative)
    return weights


def random_rows(positions: int, dimensions: int) -> npt.NDArray[np.int8]:
    """Uniform features whose norm is within the bound."""
    largest = int(ROW_NORM / dimensions**0.5)
    generator = np.random.default_rng()
    return generator.integers(-largest, largest + 1, (positions, dimensions), np.int8)


def _one_exchange(
    layout: WeightLayout, weights: npt.NDArray[np.int8], features: npt.NDArray[np.int8]
) -> Sequence[Cost]:
    """Company and platform part by part, as a stream goes: neither holds the message."""
    company, platform = Cost(), Cost()
    secret = WeightSecret.generate()
    parts = iter(encrypt_weights(weights, secret, layout, binding=_BINDING))
    sums = platform.of(lambda: SealedSums(layout, features, binding=_BINDING))
    while (part := company.of(lambda: next(parts, None))) is not None:
        platform.of(lambda part=part: sums.add(part))  # type: ignore[misc]
    noise = np.zeros(features.shape[1], np.int64)
    seed = AnswerSeed.generate()
    platform.of(lambda: sums.release(noise=noise, seed=seed))
    return company, platform
