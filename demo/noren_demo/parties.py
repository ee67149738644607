"""Starting the parties and giving them commands: as separate processes, or the same commands in process.

Both ways call the same command-line programs with the same arguments. In a process of its own, a
party is what it is when deployed; in process, forty companies fit on a small machine.
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from noren_core.errors import NorenError
from noren_demo.resources import ResourceMonitor

if TYPE_CHECKING:
    from noren_server.processes import Child

COMMAND_SECONDS = 600
PLATFORM = "platform"  # no company has this name (noren_core.ledger.entries)
_SHOWN_CHARACTERS = 200


class CommandFailedError(NorenError):
    """A party's command ended with an error; carries its stable code and sentence."""


class PlatformEndedError(NorenError):
    """The platform's services ended while the season needed them; carries what they said last."""

    code = "CHILD_FAILED"


class Parties(Protocol):
    """How the season talks to the parties."""

    def platform(self, *arguments: str) -> dict[str, Any]:
        """Run one `noren-platform` command to its end; its JSON result."""

    def company(self, company: str, *arguments: str) -> dict[str, Any]:
        """Run one `noren-company` command of this company to its end; its JSON result."""

    def serve(self) -> None:
        """Start the platform's services and wait until they answer."""

    def start_companies(self, companies: Sequence[str]) -> None:
        """Start every company's SuperNode and worker, and wait until they can answer."""

    def train(self, campaign: str) -> dict[str, Any]:
        """Run the rounds of a published campaign to their end; the platform's progress record."""

    def stop(self) -> None:
        """End everything that was started."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where each party keeps its files."""

    root: Path

    @property
    def platform(self) -> Path:
        """The platform's directory."""
        return self.root / "platform"

    def company(self, company: str) -> Path:
        """A company's directory."""
        return self.root / "companies" / company

    @property
    def auditor(self) -> Path:
        """The auditor's directory: an exported ledger and a trust file, nothing else."""
        return self.root / "auditor"


def run_program(program: str, *arguments: str) -> dict[str, Any]:
    """Run a console script of this environment with --json; its result.

    Raises:
        CommandFailedError: if it ends with another exit code than 0.
    """
    script = Path(sys.executable).with_name(program)
    done = subprocess.run(
        [script, "--json", *arguments], capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
    )
    return _result(program, done.returncode, done.stdout, done.stderr)


def _result(program: str, exit_code: int, stdout: str, stderr: str) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads(stdout)
    except json.JSONDecodeError as error:
        raise CommandFailedError(f"{program}: exit code {exit_code}: {stderr.strip()[-400:]}") from error
    if exit_code:
        raise CommandFailedError(str(result.get("message", "")), code=str(result.get("code", "INTERNAL")))
    return result


def call_program(main: Callable[[list[str]], int], program: str, *arguments: str) -> dict[str, Any]:
    """Run the same program in this process; its result."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        exit_code = main(["--json", *arguments])
    return _result(program, exit_code, stdout.getvalue(), stderr.getvalue())


class InOrder:
    """Runs a step for many companies, two at a time: this machine has two cores."""

    def __init__(self, workers: int = 2) -> None:
        self._workers = workers

    def each(self, companies: list[str], step: Callable[[str], Any]) -> dict[str, Any]:
        """The step's result or the NorenError it raised, by company."""
        from concurrent.futures import ThreadPoolExecutor

        def attempt(company: str) -> Any:
            try:
                return step(company)
            except NorenError as error:
                return error

        with ThreadPoolExecutor(self._workers) as pool:
            return dict(zip(companies, pool.map(attempt, companies), strict=True))


class SeparateProcesses:
    """Every party in processes of its own, as deployed."""

    def __init__(self, places: Places, monitor: ResourceMonitor) -> None:
        from noren_server.processes import Supervisor

        self._places = places
        self._monitor = monitor
        self._logs = places.root / "logs"
        self._supervisor = Supervisor(self._logs)
        self._started: set[str] = set()

    def platform(self, *arguments: str) -> dict[str, Any]:
        """Run one `noren-platform` command to its end; its JSON result."""
        return self._run("noren-platform", self._places.platform, *arguments)

    def company(self, company: str, *arguments: str) -> dict[str, Any]:
        """Run one `noren-company` command of this company to its end; its JSON result."""
        return self._run("noren-company", self._places.company(company), *arguments)

    def serve(self) -> None:
        """Start the platform's services and wait until they answer."""
        self._start([_service(PLATFORM, "noren-platform", self._places.platform, "serve")])

    def start_companies(self, companies: Sequence[str]) -> None:
        """Start every company's SuperNode and worker, and wait until they can answer."""
        self._start([_service(c, "noren-company", self._places.company(c), "run") for c in companies])

    def train(self, campaign: str) -> dict[str, Any]:
        """Run the rounds of a published campaign to their end; the platform's progress record."""
        return self.platform("campaign", "train", campaign)

    def stop(self) -> None:
        """End everything that was started."""
        self._supervisor.stop()

    def _start(self, children: Sequence[Child]) -> None:
        for party, pid in self._supervisor.start_together(children).items():
            self._started.add(party)
            self._monitor.watch(pid, party)

    def _run(self, program: str, directory: Path, *arguments: str) -> dict[str, Any]:
        """Run a command; if it fails, say whose services ended meanwhile.

        Raises:
            PlatformEndedError: if the platform's did; nothing more can come of this season.
            CommandFailedError: in every other case.
        """
        try:
            return run_program(program, "--directory", str(directory), *arguments)
        except CommandFailedError as error:
            ended = sorted(self._started - self._supervisor.process_ids().keys())
            if PLATFORM in ended:
                said = _last_line(self._logs / f"{PLATFORM}.log")
                raise PlatformEndedError(f"the platform's services ended; they said last: {said}") from error
            if ended:
                message = f"{error.message} (the services of {', '.join(ended)} ended)"
                raise CommandFailedError(message, code=error.code) from error
            raise


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line[:_SHOWN_CHARACTERS] for line in reversed(lines) if line.strip()), "nothing")


def _service(party: str, program: str, directory: Path, command: str) -> Child:
    """A party's long-running command, ready when it has written run/ready."""
    from noren_server.processes import Child

    ready = directory / "run" / "ready"
    ready.unlink(missing_ok=True)
    script = Path(sys.executable).with_name(program)
    return Child(party, (str(script), "--directory", str(directory), command), is_ready=ready.exists)


class InProcess:
    """The same commands, apps, state machines and bytes in this process; only the processes are missing."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._companies: list[str] = []
        self._services: contextlib.ExitStack = contextlib.ExitStack()

    def platform(self, *arguments: str) -> dict[str, Any]:
        """Run one `noren-platform` command to its end; its JSON result."""
        from noren_server.cli import main

        return call_program(main, "noren-platform", "--directory", str(self._places.platform), *arguments)

    def company(self, company: str, *arguments: str) -> dict[str, Any]:
        """Run one `noren-company` command of this company to its end; its JSON result."""
        from noren_client.cli import main

        return call_program(
            main, "noren-company", "--directory", str(self._places.company(company)), *arguments
        )

    def serve(self) -> None:
        """Start the gRPC services in threads; there is no SuperLink in process."""
        from noren_server.platform_files import Platform
        from noren_server.services import grpc_services

        self._services.enter_context(grpc_services(Platform(self._places.platform)))

    def start_companies(self, companies: Sequence[str]) -> None:
        """Put the companies on the in-process grid."""
        self._companies += companies

    def train(self, campaign: str) -> dict[str, Any]:
        """Run the ServerApp and the ClientApps on the in-process grid."""
        from noren_demo.in_process_grid import run_campaign

        run_campaign(self._places.platform, campaign, {c: self._places.company(c) for c in self._companies})
        return self.platform("campaign", "status", campaign)

    def stop(self) -> None:
        """End the services."""
        self._services.close()


@contextlib.contextmanager
def stopping(parties: Parties) -> Iterator[Parties]:
    """End every party also when the season ends badly."""
    try:
        yield parties
    finally:
        parties.stop()
