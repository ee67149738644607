"""What a benchmark tells while it runs: one line per step, on stderr."""

from __future__ import annotations

import sys


def say(line: str) -> None:
    """Print one line of progress."""
    print(line, file=sys.stderr, flush=True)
