"""Fixtures that several parties' tests share."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings

# For scripts/mutate: the same examples each time, and no search for the smallest one that fails.
settings.register_profile(
    "mutation", derandomize=True, database=None, deadline=None, phases=(Phase.explicit, Phase.generate)
)

_TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several workers, the tests of a file go to one of them, and so do all that share a season."""
    for item in items:
        place = item.path.relative_to(_TESTS)
        group = "season" if place.parts[:2] == ("integration", "season") else place.as_posix()
        item.add_marker(pytest.mark.xdist_group(group))


_PLAN: dict[str, Any] = {
    "campaign": "spring-2026",
    "task": {"name": "decline", "positive": ["declined"], "negative": ["accepted"], "excluded": ["pending"]},
    "mode": "noised-rows",
    "train_seasons": ["2025"],
    "score_season": "2026",
    "cohort": [
        {"company": f"company-{number}", "padded_batch": 64, "evaluations": 128} for number in range(1, 6)
    ],
    "minimum_cohort": 4,
    "threshold": 4,
    "unit": "one person's deduplicated record at one company in one campaign",
    "adjacency": "add_remove",
    "training": {
        "rounds": 3,
        "learning_rate": "2",
        "weight_decay": "0.001",
        "average_from": 2,
        "clipping_norm": "2",
        "grid": 65536,
        "noise_multiplier": "8.5",
        "placement": "distributed",
        "tolerated": 1,
        "sentinels": 2,
        "prior": [-19000, 0, 7, 0, 45000],
        "sampling": {"num": 1, "den": 1},
        "normaliser": 300,
        "epsilon": "1",
        "delta": "0.000001",
        "deadline_seconds": 30,
    },
    "rows": {
        "dimensions": 4,
        "clip": "2.5",
        "scale": 512,
        "variance": 4000000,
        "epsilon": "8",
        "delta": "0.000001",
    },
    "person": {"companies": 1, "campaigns": 3, "epsilon": "4", "delta": "0.000001"},
    "witnesses": {"keys": [], "quorum": 0},
    "scoring": {"heads": 1, "weight_bits": 8, "band_edges": ["0.2", "0.4"]},
    "gate": {"cooling_seconds": 0, "batches": 4, "minimum_batch": 1, "score_seconds": 2_592_000},
    "bundle_sha256": "ab" * 32,
}


@pytest.fixture
def statistics_plan_body() -> dict[str, Any]:
    """The same companies' plan in the mode of sealed statistics."""
    body = copy.deepcopy(_PLAN)
    del body["rows"]
    return body | {
        "mode": "sealed-statistics",
        "training": body["training"]
        | {
            "rounds": 1,
            "average_from": 1,
            "weight_decay": "0",
            "learning_rate": "8.1",
            "grid": 1024,
            "clipping_norm": "0.8681640625",
        },
        "statistics": {
            "dimensions": 4,
            "clip": "2.5",
            "negative": 3,
            "positive": 7,
            "variance": 56457612,
            "epsilon": "1",
            "delta": "0.000001",
        },
    }


@pytest.fixture
def plan_body() -> dict[str, Any]:
    """A well-formed plan's body for five companies; each test gets its own copy to break."""
    return copy.deepcopy(_PLAN)
