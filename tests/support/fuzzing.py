"""How long fuzzing goes on: the same examples in every run, or fresh ones for as long as somebody wants.

With NOREN_FUZZ_SECONDS=5 every fuzz test goes on with fresh examples for five seconds; what fails is shown
minimised, as Hypothesis does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy

FUZZ_SECONDS = float(os.environ.get("NOREN_FUZZ_SECONDS", "0"))


def try_out(test: Callable[..., None], examples: int, **strategies: SearchStrategy[Any]) -> None:
    """Call `test` with values drawn from the strategies."""
    options: dict[str, Any] = {
        "deadline": None,
        "database": None,
        "suppress_health_check": list(HealthCheck),
        "max_examples": examples,
    }
    settings(**options, derandomize=True)(given(**strategies)(test))()
    end = time.monotonic() + FUZZ_SECONDS
    while FUZZ_SECONDS and time.monotonic() < end:
        settings(**options)(given(**strategies)(test))()
