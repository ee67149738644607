"""How a cost is measured, and what a benchmark reports.

The unit is CPU time of this process, all threads together: on a machine that does other things too, wall time
says more about those. Numbers compare within one run only; a ratio is what carries over to another machine.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

R = TypeVar("R")

REPEATS = 3
TURNS = 5


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure must not exceed (or fall below)."""

    what: str
    measured: float
    limit: float
    is_maximum: bool = True

    @property
    def is_met(self) -> bool:
        """Whether this run reached it."""
        return self.measured <= self.limit if self.is_maximum else self.measured >= self.limit


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of work.

    Attributes:
        work: what is done.
        unit: of `ours`, `floor` and every peer.
        ours: what our code needs.
        floor: what the library calls alone need that nobody could leave out; None if there is no such figure.
        floor_is: which calls those are.
        peers: what others need for comparable work, by name; what differs stands in docs/benchmarks.md.
        goals: what this row is held to.
        details: further figures, each with its unit in its name.
    """

    work: str
    unit: str
    ours: float
    floor: float | None = None
    floor_is: str = ""
    peers: Mapping[str, float] = field(default_factory=dict)
    goals: tuple[Goal, ...] = ()
    details: Mapping[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Ours over the floor."""
        return None if self.floor is None else self.ours / self.floor

    def to_json(self) -> dict[str, Any]:
        """Plain values, rounded to what is meaningful."""
        body = asdict(self)
        body["ratio"] = self.ratio
        body["goals"] = [{**asdict(goal), "is_met": goal.is_met} for goal in self.goals]
        return {name: _rounded(value) for name, value in body.items()}


@dataclass(slots=True)
class Cost:
    """CPU and wall seconds of some work, added up."""

    cpu: float = 0.0
    wall: float = 0.0

    def of(self, work: Callable[[], R]) -> R:
        """Do the work, add what it costs, return what it returns."""
        cpu, wall = time.process_time(), time.perf_counter()
        result = work()
        self.cpu += time.process_time() - cpu
        self.wall += time.perf_counter() - wall
        return result


def cpu_seconds(work: Callable[[], Any], *, repeats: int = REPEATS) -> float:
    """The least CPU seconds that `work` took: whatever disturbs it only makes it slower."""
    return min(_cost(work).cpu for _ in range(repeats))


def microseconds_each(work: Callable[[], Any], count: int, *, repeats: int = REPEATS) -> float:
    """CPU microseconds per item of `work`, which does `count` of them."""
    return cpu_seconds(work, repeats=repeats) / count * 1e6


def wall_seconds(work: Callable[[], Any]) -> float:
    """The wall seconds that `work` takes once."""
    return _cost(work).wall


def least_in_turn(*figures: Callable[[], float]) -> list[float]:
    """The least of each figure, taken in turn: what slows the machine for a while then slows all of them."""
    turns = [[figure() for figure in figures] for _ in range(TURNS)]
    return [min(of_one) for of_one in zip(*turns, strict=True)]


def peak_memory_mb() -> float:
    """The most memory that this process ever held, in MB.

    Not from getrusage: a child begins there with its parent's peak.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(
            line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM")
        )
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _cost(work: Callable[[], Any]) -> Cost:
    cost = Cost()
    cost.of(work)
    return cost


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
