"""The process that Flower's SuperExec starts for a run of ours."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from noren_server.superlink import BUNDLE_DIRECTORY

# What SuperExec does: start the program that loads the bundle's ServerApp, and look after it no further.
SUPEREXEC = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", sys.argv[1], *sys.argv[2:]]).wait()
"""
SERVERAPP = """
import os, pathlib, sys, time
sys.path.insert(0, sys.argv[1])
import noren_bundle.server_app
pathlib.Path(sys.argv[2] + ".part").write_text(str(os.getpid()))
os.rename(sys.argv[2] + ".part", sys.argv[2])
time.sleep(600)
"""
SECONDS = 60.0


def test_a_run_does_not_outlive_a_killed_superexec(tmp_path: Path) -> None:
    """SIGKILL to SuperExec, as when the platform is killed: the ServerApp, with the ledger open, goes too."""
    loaded = tmp_path / "loaded"
    superexec = subprocess.Popen(
        [sys.executable, "-c", SUPEREXEC, SERVERAPP, str(BUNDLE_DIRECTORY), str(loaded)],
        stdin=subprocess.DEVNULL,
        env={**os.environ, "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"},
    )
    pid = 0
    try:
        wait_for(loaded.exists)
        pid = int(loaded.read_text())
        assert is_running(pid)
        superexec.kill()
        superexec.wait()
        wait_for(lambda: not is_running(pid))
    finally:
        superexec.kill()
        superexec.wait()
        if pid and is_running(pid):
            os.kill(pid, signal.SIGKILL)


def is_running(pid: int) -> bool:
    """A process that has ended and that nobody has asked after yet has no command line."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
