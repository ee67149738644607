"""Starting the parties and giving them commands: as separate processes, or the same commands in process.

Both ways call the same command-line programs with the same arguments. In a process of its own, a
party is what it is when deployed; in process, forty companies fit on a small machine.

Whatever runs is ended when the season ends, whichever way; a party whose services end on their own
ends the season at once.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import secrets
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from noren_core.console import INTERRUPTED_EXIT_CODE
from noren_core.errors import LocalProtocolError, NorenError
from noren_demo.resources import ResourceMonitor

if TYPE_CHECKING:
    from noren_server.processes import Child

COMMAND_SECONDS = 600
PAGES_END_SECONDS = 10
PLATFORM = "platform"  # no company has this name (noren_core.ledger.entries)
AUDITOR = "auditor's witness"  # nor this one
CUSTODIAN = "auditor's custodian"
_SHOWN_CHARACTERS = 200


class CommandFailedError(NorenError):
    """A party's command ended with an error; carries its stable code and sentence."""


class PartyEndedError(NorenError):
    """A party's services ended while the season needed them; names its log and what it said last."""

    code = "CHILD_FAILED"


class Parties(Protocol):
    """How the season talks to the parties."""

    def platform(self, *arguments: str) -> dict[str, Any]:
        """Run one `noren-platform` command to its end; its JSON result."""

    def company(self, company: str, *arguments: str) -> dict[str, Any]:
        """Run one `noren-company` command of this company to its end; its JSON result."""

    def staff(self, company: str, member: str, *arguments: str, adding: str = "") -> dict[str, Any]:
        """The same, by a member of the staff who shows her code, while `adding` chooses one."""

    def auditor(self, *arguments: str) -> dict[str, Any]:
        """Run one `noren-audit` command to its end; its JSON result."""

    def decisions_checked(self, company: str, campaign: str, bundle: Path) -> dict[str, Any]:
        """Pipe a company's sealed decisions into `noren-audit gate` on its machine; what it found."""

    def start_witness(self) -> str:
        """Start the auditor's witness and wait until it answers; its address."""

    def start_custodian(self) -> str:
        """Start the auditor's custodian and wait until it answers; its address."""

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

    def passphrase(self, party: str) -> Path:
        """A file with what protects a party's secrets, outside its directory; made on first use."""
        path = self.root / "passphrases" / party
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(16) + "\n")
        return path

    @property
    def auditor(self) -> Path:
        """The auditor's directory: an exported ledger, a trust file and a witness, nothing else."""
        return self.root / "auditor"

    @property
    def trust_file(self) -> Path:
        """What the auditor believes, handed over on the first day."""
        return self.auditor / "trust.toml"

    @property
    def witness(self) -> Path:
        """Where the auditor's witness keeps its key and what it has seen."""
        return self.auditor / "witness"

    @property
    def custodian(self) -> Path:
        """Where the auditor's custodian keeps its shares."""
        return self.auditor / "custodian"

    @property
    def auditor_key(self) -> Path:
        """What the auditor signs attestations and verdicts with."""
        return self.auditor / "auditor.key"


class Commands:
    """Console scripts of this environment, run to their end from any thread, until `end` ends them all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._is_over = False

    def run(self, program: str, *arguments: str, environment: Mapping[str, str]) -> dict[str, Any]:
        """Run one with --json, and with these variables besides ours; its result.

        Raises:
            CommandFailedError: if it ends with another exit code than 0 or is ended.
        """
        with self._launch(program, arguments, environment) as process:
            try:
                stdout, stderr = process.communicate(timeout=COMMAND_SECONDS)
            except subprocess.TimeoutExpired as error:
                raise CommandFailedError(
                    f"{program}: expected an end within {COMMAND_SECONDS} s, got none"
                ) from error
            finally:
                process.kill()  # it is still running only if we were interrupted or waited too long
                with self._lock:
                    self._running.discard(process)
        return _result(program, process.returncode, stdout, stderr)

    def end(self) -> None:
        """Kill what runs and start nothing more. Idempotent."""
        with self._lock:
            self._is_over = True
            for process in self._running:
                process.kill()

    def _launch(
        self, program: str, arguments: Sequence[str], environment: Mapping[str, str]
    ) -> subprocess.Popen[str]:
        from noren_server.processes import dies_with_parent, executable

        command = dies_with_parent((executable(program), "--json", *arguments))
        with self._lock:
            if self._is_over:
                raise CommandFailedError(f"{program}: expected a season that goes on, got one that ended")
            # A session of its own: on Ctrl-C it is ours to end it, before its failure is taken for an answer.
            process = subprocess.Popen(
                command,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            self._running.add(process)
        return process


def _result(program: str, exit_code: int, stdout: str, stderr: str) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads(stdout)
    except json.JSONDecodeError as error:
        raise CommandFailedError(f"{program}: exit code {exit_code}: {stderr.strip()[-400:]}") from error
    if exit_code and "code" in result:  # without one, it is a report that found something
        raise CommandFailedError(str(result.get("message", "")), code=str(result["code"]))
    return result


def call_program(main: Callable[[list[str]], int], program: str, *arguments: str) -> dict[str, Any]:
    """Run the same program in this process; its result."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        exit_code = main(["--json", *arguments])
    if exit_code == INTERRUPTED_EXIT_CODE:  # the Ctrl-C was meant for the season
        raise KeyboardInterrupt
    return _result(program, exit_code, stdout.getvalue(), stderr.getvalue())


class InOrder:
    """Runs a step for many companies, two at a time: this machine has two cores."""

    def __init__(self, workers: int = 2) -> None:
        self._workers = workers

    def each(self, companies: list[str], step: Callable[[str], Any]) -> dict[str, Any]:
        """The step's result or the NorenError it raised, by company.

        Raises:
            PartyEndedError: if a step does; the companies that were to follow are not asked.
        """
        from concurrent.futures import ThreadPoolExecutor

        def attempt(company: str) -> Any:
            try:
                return step(company)
            except PartyEndedError:
                raise
            except NorenError as error:
                return error

        if self._workers == 1:  # in this thread, where a Ctrl-C arrives
            return {company: attempt(company) for company in companies}
        pool = ThreadPoolExecutor(self._workers)
        try:
            return dict(zip(companies, pool.map(attempt, companies), strict=True))
        finally:
            # After a Ctrl-C, do not wait here: whoever stops the parties ends the commands that still run.
            pool.shutdown(wait=False, cancel_futures=True)


class SeparateProcesses:
    """Every party in processes of its own, as deployed, its secrets protected by a passphrase of its own."""

    def __init__(self, places: Places, monitor: ResourceMonitor) -> None:
        from noren_server.processes import Supervisor

        self._places = places
        self._monitor = monitor
        self._logs = places.root / "logs"
        self._supervisor = Supervisor(self._logs, on_crash=self._on_crash)
        self._commands = Commands()
        self._started: set[str] = set()
        self._pages: list[PagesProcess] = []
        self._ended: PartyEndedError | None = None

    def platform(self, *arguments: str) -> dict[str, Any]:
        """Run one `noren-platform` command to its end; its JSON result."""
        return self._run(PLATFORM, "noren-platform", self._places.platform, *arguments)

    def company(self, company: str, *arguments: str) -> dict[str, Any]:
        """Run one `noren-company` command of this company to its end; its JSON result."""
        return self._run(
            company,
            "noren-company",
            self._places.company(company),
            *arguments,
            environment=own_temporary_directory(self._places, company),
        )

    def staff(self, company: str, member: str, *arguments: str, adding: str = "") -> dict[str, Any]:
        """The same, by a member of the staff who shows her code, while `adding` chooses one."""
        return self._run(
            company,
            "noren-company",
            self._places.company(company),
            *arguments,
            environment=staff_environment(self._places, company, member, adding),
        )

    def auditor(self, *arguments: str) -> dict[str, Any]:
        """Run one `noren-audit` command to its end; its JSON result."""
        return self._commands.run("noren-audit", *arguments, environment={})

    def decisions_checked(self, company: str, campaign: str, bundle: Path) -> dict[str, Any]:
        """Pipe a company's sealed decisions into `noren-audit gate` on its machine; what it found."""
        directory = self._places.company(company)
        environment = {**os.environ, **self._environment(company)}
        return decisions_checked(self._places, directory, campaign, bundle, environment)

    def start_witness(self) -> str:
        """Start the auditor's witness and wait until it answers; its address."""
        from noren_local.loopback import free_port
        from noren_server.processes import Child, executable, is_listening

        host, port = "127.0.0.1", free_port()
        argv = (executable("noren-audit"), "witness", "serve", str(self._places.witness), "--port", str(port))
        self._start([Child(AUDITOR, argv, is_ready=lambda: is_listening(host, port))])
        return f"http://{host}:{port}"

    def start_custodian(self) -> str:
        """Start the auditor's custodian and wait until it answers; its address."""
        from noren_local.loopback import free_port
        from noren_server.processes import Child, executable, is_listening

        host, port = "127.0.0.1", free_port()
        options = ("--port", str(port))
        argv = (executable("noren-audit"), "custodian", "serve", str(self._places.custodian), *options)
        self._start([Child(CUSTODIAN, argv, is_ready=lambda: is_listening(host, port))])
        return f"http://{host}:{port}"

    def serve(self) -> None:
        """Start the platform's services and wait until they answer."""
        self._start([self._service(PLATFORM, "noren-platform", self._places.platform, "serve")])

    def start_companies(self, companies: Sequence[str]) -> None:
        """Start every company's SuperNode and worker, and wait until they can answer."""
        self._start([self._service(c, "noren-company", self._places.company(c), "run") for c in companies])

    def train(self, campaign: str) -> dict[str, Any]:
        """Run the rounds of a published campaign to their end; the platform's progress record."""
        return self.platform("campaign", "train", campaign)

    def start_pages(self, party: str, program: str, directory: Path, *command: str) -> PagesProcess:
        """Start what serves a party's pages."""
        started = PagesProcess(program, directory, command, self._environment(party))
        self._pages.append(started)
        return started

    def stop(self) -> None:
        """End everything that was started."""
        self._commands.end()
        for pages in self._pages:
            pages.end()
        for party, pid in self._supervisor.process_ids().items():
            if party != PLATFORM:  # companies sign off there, all at once; one after another takes minutes
                os.kill(pid, signal.SIGTERM)
        self._supervisor.stop()

    def _start(self, children: Sequence[Child]) -> None:
        """Start services, as long as those of the others run.

        Raises:
            PartyEndedError: if any of them, also of those started before, ends.
        """
        try:
            started = self._supervisor.start_together(children)
        except LocalProtocolError as error:
            raise self._ended or PartyEndedError(
                f"{error.message}; its log is in {self._logs.name}/ (see --keep)"
            ) from error
        self._started |= started.keys()
        for party, pid in started.items():
            self._monitor.watch(pid, party)

    def _service(self, party: str, program: str, directory: Path, command: str) -> Child:
        """A party's long-running command, ready when it has written run/ready."""
        from noren_server.processes import Child, executable

        ready = directory / "run" / "ready"
        ready.unlink(missing_ok=True)

        def is_ready() -> bool:
            if self._ended is not None:
                raise self._ended
            return ready.exists()

        argv = (executable(program), "--directory", str(directory), command)
        return Child(party, argv, self._environment(party), is_ready=is_ready)

    def _environment(self, party: str) -> dict[str, str]:
        from noren_local.passphrase import FILE_VARIABLE

        return {FILE_VARIABLE: str(self._places.passphrase(party))}

    def _run(
        self,
        party: str,
        program: str,
        directory: Path,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Run a party's command, as long as everybody's services run.

        Raises:
            PartyEndedError: if some ended; the command is not waited for.
            CommandFailedError: if it failed by itself.
        """
        try:
            return self._commands.run(
                program,
                "--directory",
                str(directory),
                *arguments,
                environment={**self._environment(party), **(environment or {})},
            )
        except CommandFailedError as error:
            for party in sorted(self._started - self._supervisor.process_ids().keys()):
                self._on_crash(party)  # the supervisor's thread looks only now and then
            if self._ended is not None:
                raise self._ended from error
            raise

    def _on_crash(self, party: str, _status: int | None = None) -> None:
        """Note the first party that ended, from any thread, and end all commands: the others meet it so."""
        if self._ended is None:
            said = _last_words(self._logs / f"{party}.log")
            self._ended = PartyEndedError(
                f"{party}: expected its services to run until the season's end, they ended; "
                f"{self._logs.name}/{party}.log (see --keep) says last: {said}"
            )
        self._commands.end()


class PagesProcess:
    """A program that serves pages and says the link to them; a line that it reads gives another."""

    def __init__(
        self, program: str, directory: Path, command: Sequence[str], environment: Mapping[str, str]
    ) -> None:
        from noren_server.processes import dies_with_parent, executable

        self._program = program
        self._process = subprocess.Popen(
            dies_with_parent((executable(program), "--directory", str(directory), *command)),
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.link = self._next_link()

    def another_link(self) -> str:
        """A new link, for who used or lost the first."""
        if self._process.stdin is None:
            raise CommandFailedError(f"{self._program}: expected a program that reads lines")
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self.link = self._next_link()
        return self.link

    def end(self) -> None:
        """Ask it to end, then make it."""
        self._process.terminate()
        try:
            self._process.wait(PAGES_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _next_link(self) -> str:
        said = ""
        for line in self._process.stdout or ():
            said = line.strip()
            if found := re.search(r"https?://\S+", said):
                return found.group()
        raise CommandFailedError(f"{self._program}: expected pages, it ended: {said[:_SHOWN_CHARACTERS]}")


def _last_words(log: Path) -> str:
    """The end of a log: an error of ours is two lines, the second says what to do."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-2:]
    return " ".join(lines)[:_SHOWN_CHARACTERS] or "nothing"


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

        command = ("--directory", str(self._places.company(company)), *arguments)
        before = tempfile.tempdir
        with _variables(own_temporary_directory(self._places, company)):
            tempfile.tempdir = None  # read anew: every party has one of its own
            try:
                return call_program(main, "noren-company", *command)
            finally:
                tempfile.tempdir = before  # this process goes on, and the company's is deleted

    def staff(self, company: str, member: str, *arguments: str, adding: str = "") -> dict[str, Any]:
        """The same, by a member of the staff who shows her code, while `adding` chooses one."""
        with _variables(staff_environment(self._places, company, member, adding)):
            return self.company(company, *arguments)

    def auditor(self, *arguments: str) -> dict[str, Any]:
        """Run one `noren-audit` command to its end; its JSON result."""
        from noren_audit.cli import main

        return call_program(main, "noren-audit", *arguments)

    def decisions_checked(self, company: str, campaign: str, bundle: Path) -> dict[str, Any]:
        """Pipe a company's sealed decisions into `noren-audit gate` on its machine; what it found."""
        directory = self._places.company(company)
        environment = dict(os.environ)
        return decisions_checked(self._places, directory, campaign, bundle, environment)

    def start_witness(self) -> str:
        """Serve the auditor's witness in a thread; its address."""
        from noren_audit.bounded_server import Listening
        from noren_audit.witness.witness import Witness
        from noren_audit.witness.witness_server import WitnessServer

        witness = Witness(self._places.witness, clock=lambda: int(time.time()))
        self._services.callback(witness.close)
        server = self._services.enter_context(WitnessServer(witness, Listening()))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        self._services.callback(thread.join)
        self._services.callback(server.shutdown)
        return server.url

    def start_custodian(self) -> str:
        """Serve the auditor's custodian in a thread; its address."""
        from noren_audit.bounded_server import Listening
        from noren_audit.custodian.custodian import Custodian
        from noren_audit.custodian.custodian_server import CustodianServer

        custodian = Custodian(self._places.custodian, clock=lambda: int(time.time()))
        self._services.callback(custodian.close)
        server = self._services.enter_context(CustodianServer(custodian, Listening()))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        self._services.callback(thread.join)
        self._services.callback(server.shutdown)
        return server.url

    def serve(self) -> None:
        """Start the platform's services in threads; there is no SuperLink in process."""
        from noren_server.platform_files import Platform
        from noren_server.services import online_services

        self._services.enter_context(online_services(Platform(self._places.platform)))

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


def decisions_checked(
    places: Places, directory: Path, campaign: str, bundle: Path, environment: Mapping[str, str]
) -> dict[str, Any]:
    """`noren-company decisions export … | noren-audit gate …`: decisions go through a pipe and to no disk."""
    from noren_server.processes import executable

    shown = subprocess.run(
        [executable("noren-company"), "--directory", str(directory), "decisions", "export", campaign],
        env=dict(environment),
        capture_output=True,
        timeout=COMMAND_SECONDS,
        check=True,
    )
    trust = ("--trust", str(places.trust_file))
    checked = subprocess.run(
        [executable("noren-audit"), "--json", "gate", "--bundle", str(bundle), *trust],
        input=shown.stdout,
        capture_output=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    found: dict[str, Any] = json.loads(checked.stdout)
    return found


def own_temporary_directory(places: Places, company: str) -> dict[str, str]:
    """A company's machine has its own: what it searches after an erasure is not the other parties' files."""
    directory = places.root / "temporary" / company
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return {"TMPDIR": str(directory)}


def staff_environment(places: Places, company: str, member: str, adding: str) -> dict[str, str]:
    """Where the access codes are: of who acts, and of who is added."""
    from noren_local.staff import CODE_VARIABLE, NEW_CODE_VARIABLE

    return {
        CODE_VARIABLE: str(places.passphrase(f"{company}-{member}")),
        NEW_CODE_VARIABLE: str(places.passphrase(f"{company}-{adding or member}")),
    }


@contextlib.contextmanager
def secrets_at_hand(places: Places, party: str, *, is_protected: bool) -> Iterator[None]:
    """A party's passphrase in this process until the end of the block, to look at its files."""
    from noren_local.passphrase import FILE_VARIABLE

    with _variables({FILE_VARIABLE: str(places.passphrase(party))} if is_protected else {}):
        yield


@contextlib.contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables of this process until the end of the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def stopping(parties: Parties) -> Iterator[Parties]:
    """End every party also when the season ends badly."""
    try:
        yield parties
    finally:
        parties.stop()
