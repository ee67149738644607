"""However the demo ends, it takes every process along."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from noren_core.errors import NorenError
from noren_demo.parties import InOrder, PartyEndedError, Places, SeparateProcesses, stopping
from noren_demo.resources import ResourceMonitor
from noren_server import processes

SMALL_DEMO = Path(__file__).parent / "small_demo.py"
SECONDS_UNTIL_UP = 90
SECONDS_UNTIL_GONE = 30


def processes_of(directory: Path) -> dict[int, str]:
    """Every other process that has the directory on its command line or in its environment."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
        except OSError:
            continue
        if str(directory).encode() in command + environment and int(process.name) != os.getpid():
            found[int(process.name)] = command.replace(b"\0", b" ").decode(errors="replace")
    return found


@contextmanager
def running_demo(temporary: Path) -> Iterator[subprocess.Popen[str]]:
    """The demo in a session of its own, its platform up."""
    temporary.mkdir()
    demo = subprocess.Popen(
        [sys.executable, str(SMALL_DEMO), "--rounds", "2"],
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with demo:
        try:
            end = time.monotonic() + SECONDS_UNTIL_UP
            while not list(temporary.glob("noren-demo-*/platform/run/ready")):
                assert demo.poll() is None
                assert time.monotonic() < end
                time.sleep(0.05)
            yield demo
        finally:
            for pid in processes_of(temporary):
                os.kill(pid, signal.SIGKILL)


def check_nothing_left(temporary: Path) -> None:
    """Neither a process nor a file."""
    assert processes_of(temporary) == {}
    assert list(temporary.rglob("noren-demo-*")) == []


@pytest.mark.end_to_end
def test_interrupted_demo_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C with the platform up: exit code 130, one sentence, no process, no temporary directory."""
    with running_demo(tmp_path / "demo") as demo:
        assert len(processes_of(tmp_path)) >= 5  # demo, gRPC services, SuperLink, SuperExec, proxy
        os.killpg(demo.pid, signal.SIGINT)
        _, said = demo.communicate(timeout=SECONDS_UNTIL_GONE)
        assert demo.returncode == 130
        assert said.endswith("interrupted; every process was ended\n")
        check_nothing_left(tmp_path)


@pytest.mark.end_to_end
def test_demo_ends_when_the_platform_is_killed(tmp_path: Path) -> None:
    """A platform ended by SIGKILL ends the demo, which names it and its log; nothing is left."""
    with running_demo(tmp_path / "demo") as demo:
        (platform,) = [
            pid for pid, command in processes_of(tmp_path).items() if command.rstrip().endswith(" serve")
        ]
        os.kill(platform, signal.SIGKILL)
        _, said = demo.communicate(timeout=SECONDS_UNTIL_GONE)
        assert demo.returncode == 1
        assert "error CHILD_FAILED: platform: expected its services to run" in said
        assert "logs/platform.log" in said
        check_nothing_left(tmp_path)


@pytest.fixture
def parties(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SeparateProcesses]:
    """Parties whose programs are `program`: services that wait, and the commands of the tests."""
    monkeypatch.setattr(processes, "executable", lambda name: str(tmp_path / name))
    with (
        closing(ResourceMonitor()) as monitor,
        stopping(SeparateProcesses(Places(tmp_path), monitor)) as all_of,
    ):
        yield all_of


def write_programs(directory: Path, command: str) -> None:
    """Both programs: `--directory D serve` and `run` get ready and wait; everything else is `command`."""
    for name in ("noren-platform", "noren-company"):
        program = directory / name
        program.write_text(
            "#!/bin/sh\n"
            'case "$*" in --directory*)\n'
            'mkdir -p "$2/run"; echo $$ > "$2/pid"; echo said last; touch "$2/run/ready"; exec sleep 20;;\n'
            f"esac\n{command}\n"
        )
        program.chmod(0o700)


def test_ended_company_ends_a_running_command(parties: SeparateProcesses, tmp_path: Path) -> None:
    """While a command takes minutes, a company's services end: the command is ended, the error names both."""
    write_programs(tmp_path, f'kill -KILL $(cat "{tmp_path}/companies/akane/pid"); exec sleep 20')
    parties.serve()
    parties.start_companies(["akane", "benten"])
    begun = time.monotonic()
    with pytest.raises(PartyEndedError, match=r"^akane: .* logs/akane\.log .* said last$"):
        parties.train("spring")
    assert time.monotonic() - begun < 5
    with pytest.raises(PartyEndedError, match=r"^akane: "):
        parties.platform("traffic")
    parties.stop()
    assert processes_of(tmp_path) == {}


def test_platform_that_ends_ends_the_start_of_companies(parties: SeparateProcesses, tmp_path: Path) -> None:
    """A platform that ends while companies start is not waited out until their deadline."""
    write_programs(tmp_path, "exec sleep 20")
    parties.serve()
    (tmp_path / "noren-company").write_text(
        f'#!/bin/sh\nkill -KILL $(cat "{tmp_path}/platform/pid"); exec sleep 20\n'
    )
    begun = time.monotonic()
    with pytest.raises(PartyEndedError, match=r"^platform: "):
        parties.start_companies(["akane"])
    assert time.monotonic() - begun < 5


def test_stopping_ends_commands_of_other_threads(parties: SeparateProcesses, tmp_path: Path) -> None:
    """An interrupt while two companies are served neither waits for them nor goes on to the next."""
    write_programs(tmp_path, f'echo "$3" >> "{tmp_path}/asked"; exec sleep 20')
    asked = tmp_path / "asked"
    asked.touch()

    def step(company: str) -> None:
        if company == "akane":
            while "benten" not in asked.read_text():
                time.sleep(0.01)
            raise KeyboardInterrupt
        parties.company(company, "accept", "spring")

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        InOrder(2).each(["akane", "benten", "chidori", "daigo"], step)
    parties.stop()
    assert time.monotonic() - begun < 5
    while processes_of(tmp_path):  # killed, but perhaps not gone yet
        assert time.monotonic() - begun < 10
        time.sleep(0.01)
    assert "daigo" not in asked.read_text()


def test_a_failed_company_is_not_an_ended_one() -> None:
    """An error of a company is its result, and the others are asked."""
    error = NorenError("no rows", code="EMPTY")

    def step(company: str) -> str:
        if company == "akane":
            raise error
        return company

    for workers in (1, 2):
        assert InOrder(workers).each(["akane", "benten"], step) == {"akane": error, "benten": "benten"}
