"""Work spread over threads: nothing lost, nothing reordered, errors heard."""

import itertools
import os
import threading
from collections.abc import Sequence

import pytest

from noren_core.crypto.cores import available_cores, map_blocks


def squares(block: Sequence[int]) -> list[int]:
    return [value * value for value in block]


@pytest.mark.parametrize("threads", [None, 1, 2, 3, 8])
@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 513, 5000])
def test_results_are_complete_and_in_order(count, threads):
    """Whatever the number of values and threads, the results are those of one loop."""
    assert map_blocks(squares, range(count), threads=threads) == squares(range(count))


def test_blocks_are_consecutive_and_a_block_may_give_one_result():
    """Each value is in one block, blocks follow each other, and sums of blocks come in that order."""
    spans = map_blocks(lambda block: [(block[0], block[-1])], range(1000), threads=2)
    assert [spans[0][0], spans[-1][1]] == [0, 999]
    assert {after[0] - before[1] for before, after in itertools.pairwise(spans)} == {1}


def test_two_blocks_run_at_the_same_time():
    """With two threads, two blocks wait for each other and both go on."""
    meeting = threading.Barrier(2, timeout=10)

    def meet(block: Sequence[int]) -> list[int]:
        meeting.wait()
        return list(block)

    assert map_blocks(meet, range(128), threads=2) == list(range(128))


@pytest.mark.parametrize(("count", "threads"), [(1000, 1), (64, 2)])
def test_no_thread_is_started_for_one(count, threads):
    """With one thread, or one block, nothing is started: all runs where it was called."""
    assert set(map_blocks(lambda _: [threading.get_ident()], range(count), threads=threads)) == {
        threading.get_ident()
    }


def test_much_work_is_cut_into_four_blocks_for_each_thread():
    """Blocks grow with the work: few enough to start, enough for a late thread to leave some to others."""
    assert map_blocks(lambda block: [len(block)], range(5001), threads=2) == [626] * 7 + [619]


@pytest.mark.parametrize("threads", [1, 2])
def test_the_first_error_is_raised(threads):
    """An error of a block reaches the caller; of several, that of the first block."""

    def fail(block: Sequence[int]) -> list[int]:
        if block[0] == 0:
            return list(block)
        raise ValueError(str(block[0]))

    with pytest.raises(ValueError, match=r"^64$"):
        map_blocks(fail, range(200), threads=threads)


def test_as_many_cores_as_this_process_may_use(monkeypatch):
    """The cores of this process; all where the system cannot say; one where it does not know that either."""
    monkeypatch.setattr(
        os, "sched_getaffinity", lambda process: {0, 1, 5} if process == 0 else {7}, raising=False
    )
    assert available_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert available_cores() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cores() == 1
