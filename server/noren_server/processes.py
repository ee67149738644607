"""The platform's child processes: started in order, watched, stopped in reverse, never left behind.

Each child gets its own process group, so that what it starts is stopped with it, and dies with us
even if we are killed (PR_SET_PDEATHSIG). The kernel ties that to the thread that started the child:
call `start` from a thread that lives as long as the children, usually the main one. What a child
prints goes to `<name>.log`, mode 0600. Nothing is restarted here: `on_crash` tells the owner.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from noren_core.errors import ConfigurationError, LocalProtocolError

_POLL_SECONDS = 0.05
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True, slots=True)
class Child:
    """One process to run, with the open files that it inherits under the same numbers.

    `is_ready` is asked until it says yes; without it a child is ready at once.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    is_ready: Callable[[], bool] | None = None
    inherited: tuple[int, ...] = ()
    ready_deadline_seconds: float = 60.0
    stop_deadline_seconds: float = 10.0


class Supervisor:
    """Starts children and makes sure that none outlives it. Use as a context manager."""

    def __init__(self, log_directory: Path, *, on_crash: Callable[[str, int], None] | None = None) -> None:
        self._log_directory = log_directory
        self._on_crash = on_crash
        self._processes: dict[str, tuple[Child, subprocess.Popen[bytes]]] = {}
        self._reported: set[str] = set()
        self._is_stopping = threading.Event()
        self._watcher: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, child: Child) -> int:
        """Start a child and wait until it is ready; its process id.

        Raises:
            LocalProtocolError: `CHILD_FAILED` if it ends or is not ready before its deadline.
        """
        return self.start_together([child])[child.name]

    def start_together(self, children: Sequence[Child]) -> dict[str, int]:
        """Start children that do not need each other, then wait until all are ready; process ids by name.

        Raises:
            LocalProtocolError: as `start`; the others keep running until `stop`.
        """
        for child in children:
            if child.name in self._processes:
                raise LocalProtocolError(f"child {child.name}: expected a new name, got one that is running")
            self._processes[child.name] = (child, self._launch(child))
        for child in children:
            self._wait_until_ready(*self._processes[child.name])
        self._watch()
        return {child.name: self._processes[child.name][1].pid for child in children}

    def process_ids(self) -> dict[str, int]:
        """The process id of every child that is running, by name."""
        running = {name: process.pid for name, (_, process) in self._processes.items()}
        return {name: pid for name, pid in running.items() if _exit_status(pid) is None}

    def stop(self) -> None:
        """Stop all children in reverse order: SIGTERM, then SIGKILL for whole groups. Idempotent."""
        self._is_stopping.set()
        while self._processes:
            _, (child, process) = self._processes.popitem()
            _stop_group(process, child.stop_deadline_seconds)

    def _launch(self, child: Child) -> subprocess.Popen[bytes]:
        self._log_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        log = os.open(
            self._log_directory / f"{child.name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, mode=0o600
        )
        try:
            return subprocess.Popen(
                dies_with_parent(child.argv),
                env={**os.environ, **child.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=child.inherited,
            )
        finally:
            os.close(log)

    def _wait_until_ready(self, child: Child, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + child.ready_deadline_seconds
        while child.is_ready is not None and not child.is_ready():
            status = _exit_status(process.pid)
            if status is not None or time.monotonic() >= end:
                del self._processes[child.name]
                _stop_group(process, child.stop_deadline_seconds)
                got = "no answer" if status is None else f"exit status {status}"
                limit = f"{child.ready_deadline_seconds:.0f} s"
                raise LocalProtocolError(
                    f"child {child.name}: expected it ready within {limit}, got {got}", code="CHILD_FAILED"
                )
            time.sleep(_POLL_SECONDS)

    def _watch(self) -> None:
        if self._watcher is None and self._on_crash is not None:
            self._watcher = threading.Thread(target=self._report_crashes, name="supervisor", daemon=True)
            self._watcher.start()

    def _report_crashes(self) -> None:
        while not self._is_stopping.wait(0.2):
            for name, (_, process) in list(self._processes.items()):
                status = _exit_status(process.pid)
                if status is not None and name not in self._reported and not self._is_stopping.is_set():
                    self._reported.add(name)
                    if self._on_crash is not None:
                        self._on_crash(name, status)


def dies_with_parent(argv: tuple[str, ...]) -> list[str]:
    """`argv`, run so that the kernel kills it when the thread that started it ends."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise ConfigurationError("setpriv (util-linux): expected it on PATH, got nothing")
    return [setpriv, "--pdeathsig", "KILL", "--", *argv]


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends.

    For a program of ours that somebody else's program starts, and that would be left behind otherwise.
    """
    if ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise LocalProtocolError("prctl: expected the kernel to take a parent-death signal, it did not")


def executable(name: str) -> str:
    """The path of a command installed beside our interpreter."""
    path = Path(sys.executable).parent / name
    if not path.is_file():
        raise ConfigurationError(f"{name}: expected it beside the Python interpreter, got nothing")
    return str(path)


def is_listening(host: str, port: int) -> bool:
    """Whether something accepts connections there; the readiness probe of a plain server."""
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False


def _exit_status(pid: int) -> int | None:
    """The exit status (negative: the signal) of a child, or None while it runs; leaves it unreaped.

    An unreaped child keeps its process id, and so its group id, from being given to a stranger's
    process between our look and our signal.
    """
    result = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if result is None:
        return None
    return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status


def _stop_group(process: subprocess.Popen[bytes], deadline_seconds: float) -> None:
    """SIGTERM to the child, then SIGKILL to whatever is left of its group."""
    # Not Popen.send_signal: it reaps a dead child, whose id would then no longer be ours.
    os.kill(process.pid, signal.SIGTERM)
    end = time.monotonic() + deadline_seconds
    while _exit_status(process.pid) is None and time.monotonic() < end:
        time.sleep(_POLL_SECONDS)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
