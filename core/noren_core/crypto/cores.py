"""Independent work of one process, spread over the cores it may use.

libsodium (called through ctypes) and libsecp256k1 (through cffi) release the interpreter lock while they
compute, so threads are enough: nothing secret crosses to another process, and nothing is started or pickled
(docs/adr/0010-threads-for-group-operations.md).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_BLOCKS_PER_THREAD = 4
_SMALLEST_BLOCK = 64


def available_cores() -> int:
    """How many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_blocks(
    function: Callable[[Sequence[T]], list[R]], values: Sequence[T], *, threads: int | None = None
) -> list[R]:
    """`function` of consecutive blocks of `values`: its results in one list and in order.

    Args:
        function: maps a block to a list, of one result per value or of fewer, independently of other blocks.
        values: what to map.
        threads: how many at once, one or more; as many as there are cores if not given.

    Raises:
        Exception: what the first failing block raised; blocks that have not begun by then are not run.
    """
    threads = available_cores() if threads is None else threads
    size = max(_SMALLEST_BLOCK, -(-len(values) // (threads * _BLOCKS_PER_THREAD)))
    blocks = [values[start : start + size] for start in range(0, len(values), size)]
    if threads == 1 or len(blocks) <= 1:
        return [result for block in blocks for result in function(block)]
    with ThreadPoolExecutor(threads, thread_name_prefix="crypto") as pool:
        return [result for results in pool.map(function, blocks) for result in results]
