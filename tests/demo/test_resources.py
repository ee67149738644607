"""What the season costs: whose a process is, what it is called, and what a party used at once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from noren_demo import resources
from noren_demo.resources import ResourceMonitor

MB = 1_000_000
SCRIPT = "/opt/noren/.venv/bin/"


class FakeProcess:
    """A process whose numbers a test sets."""

    def __init__(self, pid: int, command: str, *, pss: int) -> None:
        self.pid, self.command, self.pss, self.rss, self.cpu = pid, command, pss * MB, 2 * pss * MB, 1.0
        self.gone = False

    def oneshot(self) -> Any:
        return nullcontext()

    def memory_full_info(self) -> Any:
        if self.gone:
            raise psutil.NoSuchProcess(self.pid)
        return SimpleNamespace(rss=self.rss, pss=self.pss)

    def cpu_times(self) -> Any:
        return SimpleNamespace(user=self.cpu, system=0.5)

    def cmdline(self) -> list[str]:
        return self.command.split()


Families = dict[int, list[FakeProcess]]


@pytest.fixture
def families(monkeypatch: pytest.MonkeyPatch) -> Families:
    """Processes by the watched one they descend from, instead of this machine's."""
    made: Families = {}
    monkeypatch.setattr(resources, "_family", lambda pid, *, stop_at: made.get(pid, []))
    return made


@pytest.fixture
def monitor(monkeypatch: pytest.MonkeyPatch) -> Iterator[ResourceMonitor]:
    """A monitor that samples only when it is told to."""
    monkeypatch.setattr(resources, "_INTERVAL_SECONDS", 3600.0)
    made = ResourceMonitor()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("command", "label", "owner"),
    [
        (
            f"python3 {SCRIPT}noren-platform --directory /run/platform serve",
            "noren-platform serve",
            "platform",
        ),
        (f"{SCRIPT}python3.11 {SCRIPT}noren-company --directory aoba run x", "noren-company run", "aoba"),
        (f"python3 {SCRIPT}flower-superlink --insecure", "flower-superlink", None),
        ("python3 -c pass", "pass", None),
        ("noren-company --directory /run/aoba", "noren-company", "aoba"),
        ("noren-company --directory", "noren-company", None),
        ("python3", "", None),
        ("", "", None),
    ],
)
def test_a_process_is_named_by_program_and_owned_by_directory(
    command: str, label: str, owner: str | None
) -> None:
    """The label is program and subcommand, without interpreter and paths; the directory tells whose."""
    assert resources._label(command.split()) == label
    assert resources._owner(command.split()) == owner


def test_a_party_has_its_own_processes_even_when_another_started_them(
    monitor: ResourceMonitor, families: Families
) -> None:
    """A program that works in a company's directory is that company's, whoever is its parent."""
    monitor.watch(10, "platform")
    families[10] = [
        FakeProcess(10, "noren-platform --directory /run/platform serve", pss=40),
        FakeProcess(11, "flower-superlink", pss=60),
        FakeProcess(12, "noren-company --directory /run/aoba work", pss=30),
    ]
    monitor._sample()
    uses = [(use.party, use.process, use.peak_pss_mb, use.peak_rss_mb) for use in monitor.processes()]
    assert uses == [
        ("aoba", "noren-company work", 30.0, 60.0),
        ("platform", "flower-superlink", 60.0, 120.0),
        ("platform", "noren-platform serve", 40.0, 80.0),
    ]
    assert {use.cpu_seconds for use in monitor.processes()} == {1.5}


def test_a_partys_peak_is_of_one_moment(monitor: ResourceMonitor, families: Families) -> None:
    """Processes that ran one after the other are not added; those that ran together are."""
    monitor.watch(10, "aoba")
    first, second = FakeProcess(10, "first", pss=50), FakeProcess(11, "second", pss=30)
    families[10] = [first]
    monitor._sample()
    families[10] = [second]
    monitor._sample()
    assert [(use.party, use.peak_pss_mb) for use in monitor.parties()] == [("aoba", 50.0)]
    first.pss, second.pss = 35 * MB, 20 * MB
    families[10] = [first, second]
    monitor._sample()
    first.pss = second.pss = 1 * MB
    monitor._sample()
    assert [(use.party, use.peak_pss_mb) for use in monitor.parties()] == [("aoba", 55.0)]
    assert {use.process: use.peak_pss_mb for use in monitor.processes()} == {"first": 50.0, "second": 30.0}


def test_parties_do_not_add_to_each_other(monitor: ResourceMonitor, families: Families) -> None:
    """Each watched family counts for its own party, in order of name."""
    for pid, party in ((10, "platform"), (20, "aoba"), (30, "aoba")):
        monitor.watch(pid, party)
        families[pid] = [FakeProcess(pid, party, pss=pid)]
    monitor._sample()
    assert [(use.party, use.peak_pss_mb) for use in monitor.parties()] == [("aoba", 50.0), ("platform", 10.0)]


def test_a_process_that_ends_while_it_is_read_is_no_error(
    monitor: ResourceMonitor, families: Families
) -> None:
    """It counts with what was seen before, and the others are counted as usual."""
    monitor.watch(10, "aoba")
    ending, staying = FakeProcess(10, "ending", pss=5), FakeProcess(11, "staying", pss=7)
    families[10] = [ending, staying]
    monitor._sample()
    ending.gone, staying.pss = True, 20 * MB
    monitor._sample()
    assert {use.process: use.peak_pss_mb for use in monitor.processes()} == {"ending": 5.0, "staying": 20.0}
    assert monitor.parties()[0].peak_pss_mb == 20.0


WITH_CHILD = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "input()", "child"], stdin=subprocess.PIPE)
print(child.pid, flush=True)
input()
child.communicate(b"\\n")
"""


@pytest.fixture
def parent() -> Iterator[tuple[int, int]]:
    """A real process with a real child: their ids."""
    with subprocess.Popen(
        [sys.executable, "-c", WITH_CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
        process.communicate("\n", timeout=30)


def test_a_family_leaves_out_other_watched_families(parent: tuple[int, int]) -> None:
    """Descendants belong to the nearest watched ancestor, and a process that is gone has none."""
    outer, inner = parent

    def family(pid: int, *stop_at: int) -> set[int]:
        return {process.pid for process in resources._family(pid, stop_at=set(stop_at))}

    assert family(outer) == {outer, inner}
    assert family(outer, inner) == {outer}
    assert {outer, inner} <= family(os.getpid())
    assert not {outer, inner} & family(os.getpid(), outer)
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait(30)
    assert family(gone.pid) == set()


def test_real_processes_are_measured(monitor: ResourceMonitor, parent: tuple[int, int]) -> None:
    """A watched process and its child have memory and CPU, and this one is the evaluator's."""
    monitor.watch(parent[0], "aoba")
    with monitor.phase("prepare"):
        pass
    own = [use for use in monitor.processes() if use.party == "aoba"]
    assert len(own) == 2
    assert all(1 < use.peak_pss_mb < 500 for use in own)
    assert {use.party for use in monitor.parties()} == {"aoba", "evaluator (this demo)"}
    [phase] = monitor.phases
    assert phase.name == "prepare"
    assert phase.cpu_seconds >= 0
    assert 0 <= phase.seconds < 30
