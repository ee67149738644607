"""How the worker's loop and its SuperNode hang together, without Flower running."""

from __future__ import annotations

import socket
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from noren_client import supernode as module
from noren_client.flower_private import RuntimeUnavailableError
from noren_client.supernode import Supernode, SupernodeSettings, generate_node_key, node_public_key
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import ConfigurationError


def settings(directory: Path) -> SupernodeSettings:
    return SupernodeSettings(
        company_dir=directory,
        fleet_address="127.0.0.1:1",
        root_certificates=directory / "ca.crt",
        node_key=SecretBytes(b"node key"),
        bundle_sha256="0" * 64,
    )


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supernode]:
    """A SuperNode whose program is a process that waits."""
    code = "import time; time.sleep(600)"
    monkeypatch.setattr(Supernode, "_command", lambda _: [sys.executable, "-c", code])
    with Supernode(settings(tmp_path)) as supernode:
        yield supernode


def test_files_are_private_and_the_process_is_stopped(tmp_path: Path, child: Supernode) -> None:
    """Key, secret and log are 0600 in a 0700 directory; leaving the block ends the process."""
    directory = tmp_path / "flower"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
    assert (directory / "superexec.secret").read_bytes() == child.secret
    assert child.is_alive
    child.stop()
    assert not child.is_alive


def test_the_node_key_reaches_flower_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path on the command line opens to the key in the child, also after a restart, and is on no disk."""
    found = tmp_path / "found"
    copy = "import shutil, sys; shutil.copyfile(*sys.argv[1:])"
    command = Supernode._command
    monkeypatch.setattr(
        Supernode, "_command", lambda self: [sys.executable, "-c", copy, path_of(command(self)), str(found)]
    )
    with Supernode(settings(tmp_path)) as supernode:
        for _ in range(2):
            found.unlink(missing_ok=True)
            supernode.start()
            assert supernode._process is not None
            assert supernode._process.wait(20) == 0
            assert found.read_bytes() == b"node key"
    on_disk = [path.read_bytes() for path in (tmp_path / "flower").rglob("*") if path.is_file()]
    assert not any(b"node key" in content for content in on_disk)


def path_of(command: list[str]) -> str:
    return command[command.index("--auth-supernode-private-key") + 1]


def test_a_node_key_is_the_one_that_flower_reads() -> None:
    """The public half of a fresh key is read from it; anything else is refused."""
    assert node_public_key(SecretBytes(generate_node_key())).startswith(b"-----BEGIN PUBLIC KEY-----")
    with pytest.raises(ConfigurationError):
        node_public_key(SecretBytes(b"no key"))


def test_a_restart_replaces_the_process(child: Supernode) -> None:
    """At most one SuperNode runs."""
    process = child._process
    child.start()
    assert process is not None
    assert process.poll() is not None
    assert child.is_alive


def test_the_command_closes_what_flower_leaves_open(tmp_path: Path) -> None:
    """Process isolation with a secret, Runtime API on loopback under TLS, pinned roots, no installer."""
    command = " ".join(Supernode(settings(tmp_path))._command())
    for words in (
        "--pdeathsig TERM",
        "--isolation process --superexec-auth-secret-file",
        "--host 127.0.0.1",
        "--ssl-certfile",
        "--root-certificates",
        "--auth-supernode-private-key",
    ):
        assert words in command
    assert "--insecure" not in command
    assert "--allow-runtime-dependency-installation" not in command


def test_ready_means_our_certificate(tmp_path: Path, child: Supernode) -> None:
    """A port that answers with another certificate, or not at all, is not ready; strict checks pass ours."""
    assert not child.is_ready()
    host, port = child.address.split(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "flower" / "runtime.crt", tmp_path / "flower" / "runtime.key")
    with socket.create_server((host, int(port))) as listener:

        def serve() -> None:
            for _ in range(3):
                plain, _address = listener.accept()
                try:
                    with context.wrap_socket(plain, server_side=True) as connection:
                        connection.recv(1)
                except OSError:
                    plain.close()

        thread = threading.Thread(target=serve)
        thread.start()
        assert child.is_ready()
        strict = ssl.create_default_context(cadata=child.certificate)
        strict.verify_flags |= ssl.VERIFY_X509_STRICT
        with (
            socket.create_connection((host, int(port))) as plain,
            strict.wrap_socket(plain, server_hostname=host),
        ):
            pass
        child.certificate = module.loopback.make_certificate()[1].decode()
        assert not child.is_ready()
        thread.join()


class Loop:
    """A worker and a SuperNode that do what a list says."""

    def __init__(self, steps: list[object]) -> None:
        self.steps = steps
        self.is_over = threading.Event()
        self.starts = 0
        self.is_alive = True

    def run_once(self) -> bool:
        step = self.steps.pop(0)
        if not self.steps:
            self.is_over.set()
        if step == "unreachable":
            raise RuntimeUnavailableError
        if step == "dead":
            self.is_alive = False
            raise RuntimeUnavailableError
        return bool(step)

    def start(self) -> None:
        self.starts += 1
        self.is_alive = True

    def work(self) -> None:
        module._work(self.run_once, lambda: 0.0, self, self.is_over)


def test_a_dead_supernode_is_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every time it ends, it is started again; one that is merely not answering is not."""
    monkeypatch.setattr(module, "_FIRST_BACKOFF_SECONDS", 0.001)
    loop = Loop(["unreachable", True, "dead", "unreachable", "dead", True, False])
    loop.work()
    assert loop.starts == 2


def test_pauses_between_starts_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A SuperNode that keeps ending is started ever less often, until a task shows that it works."""
    waits: list[float] = []
    loop = Loop(["dead", False, "dead", False, "dead", True, "dead", False])
    monkeypatch.setattr(module, "_MAX_BACKOFF_SECONDS", 3.0)
    monkeypatch.setattr(loop.is_over, "wait", waits.append)
    loop.work()
    assert [seconds for seconds in waits if seconds] == [1.0, 2.0, 3.0, 1.0]


def test_importing_the_command_line_part_is_light() -> None:
    """Neither flwr nor torch is imported before a company runs."""
    code = "import sys, noren_client.supernode; print({'flwr', 'torch', 'httpx'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"set()\n"
