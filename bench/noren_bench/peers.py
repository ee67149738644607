"""Other people's software for comparable work, each in an environment of its own under .venv-peers/.

None of it is a dependency of ours. What cannot be installed here is left out, with the reason on stderr.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from noren_bench.progress import say

_ENVIRONMENTS = Path(".venv-peers")
_PROGRAMS = Path(__file__).parent / "peer_programs"
_INSTALL_SECONDS = 900
_RUN_SECONDS = 1800


@dataclass(frozen=True, slots=True)
class Peer:
    """A package, pinned, and the program that measures it."""

    name: str
    requirement: str
    program: str


OPENMINED_PSI = Peer("openmined-psi", "openmined-psi==2.0.6", "openmined_psi.py")
TENSEAL = Peer("TenSEAL BFV (insecure)", "tenseal==0.3.18", "tenseal_bfv.py")
SPU = Peer("SPU ECDH", "spu==0.9.5", "spu_psi.py")


class PeerUnavailableError(Exception):
    """The peer does not install or run on this machine."""


def figures(peer: Peer, field: str, *arguments: int) -> dict[str, float]:
    """The peer's figure under its name; empty if there is none on this machine."""
    try:
        return {peer.name: measured(peer, *arguments)[field]}
    except PeerUnavailableError as error:
        say(f"{peer.name}: left out ({error})")
        return {}


@cache
def measured(peer: Peer, *arguments: int) -> dict[str, float]:
    """Everything that the peer's program reports.

    Raises:
        PeerUnavailableError: if it cannot be installed or ends badly.
    """
    python = _environment(peer)
    say(f"{peer.name}: running with {', '.join(map(str, arguments))} ...")
    command = [str(python), str(_PROGRAMS / peer.program), *map(str, arguments)]
    lines = _output(command, _RUN_SECONDS).strip().splitlines()
    if not lines:
        raise PeerUnavailableError("it printed nothing")
    figures: dict[str, float] = json.loads(lines[-1])
    return figures


@cache
def _environment(peer: Peer) -> Path:
    """The peer's interpreter, installed on first use."""
    directory = _ENVIRONMENTS / peer.requirement
    python = directory / "bin" / "python"
    if not (directory / "installed").exists():
        say(f"{peer.name}: installing {peer.requirement} into {directory} ...")
        venv.create(directory, with_pip=True, clear=True)
        _output([str(python), "-m", "pip", "install", "--quiet", peer.requirement], _INSTALL_SECONDS)
        (directory / "installed").touch()
    return python


def _output(command: list[str], seconds: float) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise PeerUnavailableError(f"no result within {seconds:.0f} s") from error
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise PeerUnavailableError(last[:200])
    return done.stdout


def python_version() -> str:
    """Which interpreter the environments are made with."""
    return sys.version.split()[0]
