"""The client that is certified: its mechanism service in a process of its own, one line out, one line in."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

import numpy as np
import numpy.typing as npt

from noren_core import canonical_json
from noren_core.canonical_json import MAX_INTEGER
from noren_core.errors import ConfigurationError, RemoteProtocolError

PROGRAM = "noren-company"
SERVICE = "mechanism"
ANSWER_SECONDS = 300.0

_MAX_REPLY_BYTES = 64 << 20
_ENGINES = ("docker", "podman")


@dataclass(frozen=True, slots=True)
class ClientCommands:
    """How the client is started.

    Attributes:
        service: starts its mechanism service.
        interpreter: starts the Python that it runs in; `-c PROGRAM` is added.
    """

    service: tuple[str, ...]
    interpreter: tuple[str, ...]

    def mutant(self, prelude: str) -> tuple[str, ...]:
        """Starts the client after these statements."""
        return (*self.interpreter, "-c", prelude)


def installed(command: str | None, python: str | None) -> ClientCommands:
    """A client on this machine.

    Args:
        command: what starts its service; None: the `noren-company` beside this interpreter, or on PATH.
        python: its interpreter; None: the one that the command's first line names.

    Raises:
        ConfigurationError: if either is not found.
    """
    words = shlex.split(command) if command is not None else [_installed_program(), SERVICE]
    program = shutil.which(words[0]) if words else None
    if program is None:
        raise ConfigurationError(f"client: expected a program to run, got {command!r}. Fix: --command")
    interpreter = python or _named_interpreter(Path(program))
    return ClientCommands((program, *words[1:]), (interpreter,))


def image(name: str, python: str | None) -> ClientCommands:
    """A client in a container image, without a network."""
    engine = next((found for found in map(shutil.which, _ENGINES) if found), None)
    if engine is None:
        raise ConfigurationError(f"image: expected {' or '.join(_ENGINES)} on PATH, got neither")
    run = (engine, "run", "--rm", "-i", "--network", "none", "--entrypoint")
    return ClientCommands((*run, PROGRAM, name, SERVICE), (*run, python or "python", name))


class MechanismClient:
    """One running service. Not for hostile programs: who certifies a client runs it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def updates(self, request: bytes, *, releases: int, length: int) -> npt.NDArray[np.int64]:
        """The service's answer.

        Args:
            request: one line of docs/protocol.md §4.8, without the newline.
            releases: how many vectors it asks for.
            length: how many coordinates each has.

        Raises:
            RemoteProtocolError: if there is no answer, an error, or not exactly these vectors.
        """
        line = self._ask(request)
        answer = canonical_json.parse_object(line.removesuffix(b"\n"))
        if "code" in answer:
            raise RemoteProtocolError(f"client: expected updates, got the error {str(answer['code'])[:40]}")
        vectors = answer.get("updates")
        if answer.keys() != {"updates"} or not isinstance(vectors, list) or len(vectors) != releases:
            raise RemoteProtocolError(f"client: expected {releases} updates, got another answer")
        for vector in vectors:
            if not isinstance(vector, list) or len(vector) != length or not all(map(_is_int64, vector)):
                raise RemoteProtocolError(f"client: expected updates of {length} integers, got another")
        return np.array(vectors, np.int64)

    def _ask(self, request: bytes) -> bytes:
        requests, replies = self._process.stdin, self._process.stdout
        if requests is None or replies is None:
            raise RemoteProtocolError("client: expected a process with both streams")
        watch = Timer(ANSWER_SECONDS, self._process.kill)
        watch.start()
        try:
            requests.write(request + b"\n")
            requests.flush()
            line = replies.readline(_MAX_REPLY_BYTES)
        except BrokenPipeError:
            line = b""
        finally:
            watch.cancel()
        if not line.endswith(b"\n"):
            raise RemoteProtocolError(
                "client: expected one line of answer, got none; run the command by hand"
            )
        return line


@contextmanager
def running(command: tuple[str, ...]) -> Iterator[MechanismClient]:
    """The service, started in an empty directory and stopped again."""
    with tempfile.TemporaryDirectory(prefix="noren-certify-") as empty:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=empty)
        try:
            yield MechanismClient(process)
        finally:
            process.kill()
            process.communicate()


def _installed_program() -> str:
    beside = Path(sys.executable).with_name(PROGRAM)
    return str(beside) if os.access(beside, os.X_OK) else PROGRAM


def _named_interpreter(program: Path) -> str:
    """The Python in a console script's first line."""
    with program.open("rb") as file:
        first = file.readline(4096)
    words = shlex.split(first[2:].decode(errors="replace")) if first.startswith(b"#!") else []
    if not words or "python" not in Path(words[0]).name:
        raise ConfigurationError(
            f"client: expected {program.name} to name its Python in the first line. Fix: --python"
        )
    return words[0]


def _is_int64(value: object) -> bool:
    return type(value) is int and -MAX_INTEGER <= value <= MAX_INTEGER
