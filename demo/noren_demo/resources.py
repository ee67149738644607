"""What the season costs: wall and CPU seconds per phase, memory and CPU per process."""

from __future__ import annotations

import resource
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from noren_demo.summary import PartyUse, Phase, ProcessUse

_INTERVAL_SECONDS = 1.0
_MEGABYTE = 1e6


@dataclass(slots=True)
class _Seen:
    party: str
    name: str
    rss: int = 0
    pss: int = 0
    cpu: float = 0.0


class ResourceMonitor:
    """Samples every watched process and its descendants once a second until closed."""

    def __init__(self) -> None:
        self._watched: dict[int, str] = {psutil.Process().pid: "evaluator (this demo)"}
        self._seen: dict[int, _Seen] = {}
        self._party_peaks: dict[str, int] = {}
        self._phases: list[Phase] = []
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def watch(self, pid: int, party: str) -> None:
        """Count this process and its descendants as `party`'s."""
        with self._lock:
            self._watched[pid] = party

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure one phase of the season."""
        wall, cpu = time.monotonic(), self._cpu_seconds()
        yield
        self._phases.append(Phase(name, time.monotonic() - wall, self._cpu_seconds() - cpu))

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The finished phases, in order."""
        return tuple(self._phases)

    def processes(self) -> tuple[ProcessUse, ...]:
        """Every process seen, by party, biggest first."""
        with self._lock:
            uses = [
                ProcessUse(s.party, s.name, s.rss / _MEGABYTE, s.pss / _MEGABYTE, s.cpu)
                for s in self._seen.values()
            ]
        return tuple(sorted(uses, key=lambda use: (use.party, -use.peak_pss_mb)))

    def parties(self) -> tuple[PartyUse, ...]:
        """What each party's processes used together at most."""
        with self._lock:
            return tuple(PartyUse(party, pss / _MEGABYTE) for party, pss in sorted(self._party_peaks.items()))

    def close(self) -> None:
        """Stop sampling."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_INTERVAL_SECONDS):
            self._sample()

    def _sample(self) -> None:
        with self._lock:
            watched = dict(self._watched)
        together: Counter[str] = Counter()
        for pid, party in watched.items():
            for process in _family(pid, stop_at=set(watched) - {pid}):
                together.update(self._record(process, party))
        with self._lock:
            for party, pss in together.items():
                self._party_peaks[party] = max(self._party_peaks.get(party, 0), pss)

    def _record(self, process: psutil.Process, party: str) -> dict[str, int]:
        """Note one process; its party and memory now, or nothing if it is gone."""
        try:
            with process.oneshot():
                memory = process.memory_full_info()
                times = process.cpu_times()
                command = process.cmdline()
        except psutil.Error:
            return {}  # it ended between the listing and the reading
        name = _label(command)
        with self._lock:
            seen = self._seen.setdefault(process.pid, _Seen(party, name))
            seen.party, seen.name = _owner(command) or party, name or seen.name
            seen.rss, seen.pss = max(seen.rss, memory.rss), max(seen.pss, memory.pss)
            seen.cpu = times.user + times.system
            return {seen.party: memory.pss}

    def _cpu_seconds(self) -> float:
        """CPU of this process, of finished children, and of the children that still run."""
        self._sample()
        ended = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
        own = psutil.Process().pid
        with self._lock:
            alive = {
                pid: seen.cpu for pid, seen in self._seen.items() if pid != own and psutil.pid_exists(pid)
            }
        return sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) + ended + sum(alive.values())


def _family(pid: int, *, stop_at: set[int]) -> list[psutil.Process]:
    """A process and its descendants, leaving out the families of other watched processes."""
    try:
        root = psutil.Process(pid)
        families = [root, *root.children(recursive=True)]
    except psutil.Error:
        return []
    excluded = set(stop_at)
    kept = []
    for process in families:
        try:
            if process.pid in excluded or (process.pid != pid and process.ppid() in excluded):
                excluded.add(process.pid)
            else:
                kept.append(process)
        except psutil.Error:
            continue
    return kept


def _owner(command: Sequence[str]) -> str | None:
    """The party in whose directory one of our programs runs."""
    if "--directory" not in command[:-1]:
        return None
    return Path(command[command.index("--directory") + 1]).name


def _label(command: Sequence[str]) -> str:
    """A short name of a process: the program, and the subcommand of one of ours."""
    words = [word.rsplit("/", 1)[-1] for word in command]
    programs = [word for word in words if not word.startswith(("-", "python"))]
    if "--directory" in words[:-2]:
        return f"{programs[0]} {words[words.index('--directory') + 2]}"
    return programs[0] if programs else ""
