"""Flower's real processes: SuperLink, SuperExec, our proxy, SuperNodes and our workers."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import pytest

COMPANIES = ["akane", "benten", "chidori"]
STRANGER = "daruma"

OUTSIDE = [
    "POST /v1/control/list-nodes",
    "POST /v1/control/list-runs",
    "POST /v1/control/start-run",
    "POST /v1/runtime/acquire-task",
    "POST /v1/runtime/get-nodes",
    "GET /docs",
    "GET /openapi.json",
    "GET /health",
    "GET /",
    "POST /v1/fleet/register-node",
    "POST /v1/fleet/unregister-node",
    "GET /v1/fleet/get-run",
    "POST /v1/fleet/../control/list-nodes",
    "POST /v1/fleet/%2e%2e/control/list-nodes",
    "POST /v1/fleet/..%2fcontrol/list-nodes",
    "POST //v1/control/list-nodes",
    "POST /v1/fleet//get-run",
    "POST /V1/fleet/get-run",
    "POST /v1/fleet/get-run/",
    "POST /v1/fleet/get-run?x=1",
    "POST https://127.0.0.1/v1/control/list-nodes",
]


def status_through(fleet: Any, request_line: str) -> int:
    """The status of a request whose path is sent exactly as written."""
    host, port = fleet.proxy_address.split(":")
    context = ssl.create_default_context(cafile=str(fleet.tls.authority))
    request = (
        f"{request_line} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/protobuf\r\n"
        "content-length: 0\r\nconnection: close\r\n\r\n"
    )
    with (
        socket.create_connection((host, int(port)), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=host) as connection,
    ):
        connection.sendall(request.encode())
        return int(connection.recv(64).split()[1])


def processes_of(directory: Path) -> dict[int, str]:
    """Every process whose command line mentions the directory."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(directory) in command:
            found[int(path.parent.name)] = command
    return found


def wait_until_gone(directory: Path, word: str) -> None:
    end = time.monotonic() + 10
    while left := [command for command in processes_of(directory).values() if word in command]:
        assert time.monotonic() < end, left
        time.sleep(0.05)


@pytest.mark.end_to_end
def test_echo_rounds_over_real_processes(real_fleet: Any) -> None:
    """Three companies answer three rounds, a fourth with another pin refuses, and nothing stays behind."""
    real_fleet.start_platform()
    assert {line: status_through(real_fleet, line) for line in OUTSIDE} == dict.fromkeys(OUTSIDE, 404)
    # The Fleet path exists and wants a node's signature.
    assert status_through(real_fleet, "POST /v1/fleet/get-run") == 401

    directories = {name: real_fleet.add_company(name) for name in COMPANIES}
    directories[STRANGER] = real_fleet.add_company(STRANGER, pin="0" * 64)
    result = real_fleet.run_echo([*COMPANIES, STRANGER], rounds=3, deadline_seconds=20)

    assert result["online"] == [*COMPANIES, STRANGER]
    expected = [{name: f"echo/{name}/{number}"[::-1] for name in COMPANIES} for number in range(3)]
    assert [item["answers"] for item in result["rounds"]] == expected
    assert {reason: count for reason, count in result["drops"].items() if count} == {"error": 3}
    check_what_companies_kept(directories)
    check_platform_state(real_fleet.platform_dir)
    check_nothing_outlives(real_fleet)


def check_what_companies_kept(directories: dict[str, Path]) -> None:
    """Handlers ran where the pin fits, and the bundle was unpacked nowhere at a company."""
    for name in COMPANIES:
        requests = [f"echo/{name}/{number}".encode() for number in range(3)]
        assert (directories[name] / "handled.log").read_bytes().splitlines() == requests
    assert not (directories[STRANGER] / "handled.log").exists()
    assert "bundle refused" in (directories[STRANGER] / "worker.log").read_text()
    for directory in directories.values():
        assert not [path for path in directory.rglob("*") if "noren_echo" in path.name]


def check_platform_state(platform_dir: Path) -> None:
    """After a run the platform's state holds no message of a company."""
    state = b"".join(path.read_bytes() for path in (platform_dir / "flower").glob("state.db*"))
    assert b"akane" in state
    assert b"echo/akane/" not in state
    assert b"/anaka/ohce" not in state
    assert not list(platform_dir.rglob("executed"))


def check_nothing_outlives(real_fleet: Any) -> None:
    """A killed company takes its SuperNode with it, and a stopped platform leaves no process."""
    victim = real_fleet.directory / COMPANIES[0]
    os.kill(real_fleet.supervisor.process_ids()[f"company-{COMPANIES[0]}"], signal.SIGKILL)
    wait_until_gone(victim, "flower-supernode")
    real_fleet.supervisor.stop()
    wait_until_gone(real_fleet.directory, "")
