"""What a company runs: Flower's SuperNode as a child process, and our pinned worker in this one.

The SuperNode holds the connection to the platform (outbound only, the platform's certificate pinned,
a P-384 node key, handed over in memory) and offers its Runtime API on loopback under a certificate and
a secret made at every start. It is started with process isolation, so it executes nothing by itself. It
is restarted, with growing pauses, when it ends for whatever reason: Flower's exit status says nothing (it
is 0 for a refused key). It does not outlive this process (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from noren_client import outbound
from noren_client.outbound import AS_ENVIRONMENT, NetworkSettings
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import ConfigurationError, LocalProtocolError
from noren_local import loopback
from noren_local.private_file import in_memory, write_private

_READY_SECONDS = 60.0
_POLL_SECONDS = 0.1
_STOP_SECONDS = 5.0
_FIRST_BACKOFF_SECONDS = 1.0
# After a crash the platform refuses the node for up to a minute, until it has missed its heartbeats.
_MAX_BACKOFF_SECONDS = 10.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SupernodeSettings:
    """One company's connection. `fleet_address` is host:port; runtime port 0 takes a free one."""

    company_dir: Path
    fleet_address: str
    root_certificates: Path
    node_key: SecretBytes
    bundle_sha256: str
    runtime_port: int = 0
    network: NetworkSettings = AS_ENVIRONMENT


def generate_node_key() -> bytes:
    """A fresh P-384 key that authenticates a SuperNode, in OpenSSH format without encryption."""
    return ec.generate_private_key(ec.SECP384R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )


def node_public_key(private_key: SecretBytes) -> bytes:
    """The public half of a node key, in PEM, as the platform registers it."""
    try:
        key = serialization.load_ssh_private_key(private_key.reveal(), password=None)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigurationError("node key: expected an OpenSSH private key, got another file") from error
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


class Supernode:
    """Flower's SuperNode as a child process; use as a context manager."""

    def __init__(self, settings: SupernodeSettings) -> None:
        self._settings = settings
        self._directory = settings.company_dir / "flower"
        self._process: subprocess.Popen[bytes] | None = None
        self._in_memory = ExitStack()
        self._node_key = -1
        self.address = f"{loopback.ADDRESS}:{settings.runtime_port or loopback.free_port()}"
        self.secret = secrets.token_bytes(32)
        self.certificate = ""

    def __enter__(self) -> Self:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory.chmod(0o700)
        private_key, certificate = loopback.make_certificate()
        write_private(self._directory / "runtime.key", private_key)
        write_private(self._directory / "runtime.crt", certificate)
        write_private(self._directory / "superexec.secret", self.secret)
        self.certificate = certificate.decode()
        # Flower reads its key from a path: one in memory, which a protected directory never shows.
        self._node_key = self._in_memory.enter_context(in_memory(self._settings.node_key.buffer))
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._in_memory.close()

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process; stops the previous one first."""
        self.stop()
        log = os.open(self._directory / "supernode.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, mode=0o600)
        try:
            self._process = subprocess.Popen(
                self._command(),
                env={**os.environ, **self._environment()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(self._node_key,),
            )
        finally:
            os.close(log)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL; idempotent."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def is_ready(self) -> bool:
        """Whether its Runtime API accepts connections under our certificate."""
        context = ssl.create_default_context(cadata=self.certificate)
        host, port = self.address.split(":")
        try:
            with (
                socket.create_connection((host, int(port)), timeout=1.0) as plain,
                context.wrap_socket(plain, server_hostname=host),
            ):
                return True
        except OSError:
            return False

    def _command(self) -> list[str]:
        setpriv = shutil.which("setpriv")
        program = Path(sys.executable).parent / "flower-supernode"
        if setpriv is None or not program.is_file():
            raise ConfigurationError(
                "expected setpriv on PATH and flower-supernode beside Python, got neither"
            )
        host, port = self.address.split(":")
        settings, directory = self._settings, self._directory
        return [
            # The kernel stops the SuperNode when the thread that starts it here ends. SIGTERM lets it sign
            # off (else the platform refuses the next one for a minute) and Flower exits within seconds.
            *(setpriv, "--pdeathsig", "TERM", "--"),
            str(program),
            *("--superlink", settings.fleet_address),
            *("--root-certificates", str(settings.root_certificates.resolve())),
            *("--auth-supernode-private-key", f"/proc/self/fd/{self._node_key}"),
            *("--host", host, "--port", port),
            *("--isolation", "process"),
            *("--superexec-auth-secret-file", str(directory / "superexec.secret")),
            *(
                "--ssl-certfile",
                str(directory / "runtime.crt"),
                "--ssl-keyfile",
                str(directory / "runtime.key"),
            ),
            *("--ssl-ca-certfile", str(directory / "runtime.crt")),
        ]

    def _environment(self) -> dict[str, str]:
        # A company's proxy is meant for the way to the platform, not for this machine.
        way = outbound.child_environment(self._settings.network, direct=(loopback.ADDRESS, "localhost"))
        return {
            **way,
            "FLWR_HOME": str(self._directory / "home"),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
        }


def run_company(
    settings: SupernodeSettings,
    *,
    handle: Callable[[Path, bytes], bytes] | None = None,
    stop: threading.Event | None = None,
    on_ready: Callable[[], None] | None = None,
) -> None:
    """Take part until `stop` is set or SIGTERM or SIGINT arrives. Call it from the main thread.

    `handle` answers a payload; by default the company's training session does. `on_ready` is called
    once, when tasks can be taken; the platform may see the node online a few seconds later.

    Raises:
        LocalProtocolError: `CHILD_FAILED` if the SuperNode is not ready a minute after its first start.
    """
    from noren_client.flower_app import app, make_client_app
    from noren_client.flower_private import Runtime
    from noren_client.pinned_worker import PinnedWorker, preload

    is_over = threading.Event() if stop is None else stop
    with _stopping_at_signals(is_over), Supernode(settings) as supernode:
        if handle is None:
            preload()
        _wait_until_ready(supernode, is_over)
        runtime = Runtime(supernode.address, root_certificates=supernode.certificate, secret=supernode.secret)
        worker = PinnedWorker(
            runtime,
            app if handle is None else make_client_app(handle),
            company_dir=settings.company_dir,
            bundle_sha256=settings.bundle_sha256,
        )
        try:
            if on_ready is not None and not is_over.is_set():
                on_ready()
            _work(worker.run_once, worker.pause_seconds, supernode, is_over)
        finally:
            runtime.close()


def _work(
    run_once: Callable[[], bool],
    pause_seconds: Callable[[], float],
    supernode: Supernode,
    is_over: threading.Event,
) -> None:
    from noren_client.flower_private import RuntimeUnavailableError

    backoff = _FIRST_BACKOFF_SECONDS
    while not is_over.is_set():
        try:
            is_idle = not run_once()
            if not is_idle:
                # Not already when the SuperNode answers us: one with a refused key does so too, for seconds.
                backoff = _FIRST_BACKOFF_SECONDS
        except RuntimeUnavailableError:
            is_idle = True
            if not supernode.is_alive:
                _log.warning("SuperNode ended; next start in %.0f s", backoff)
                is_over.wait(backoff)
                backoff = min(2 * backoff, _MAX_BACKOFF_SECONDS)
                if not is_over.is_set():
                    supernode.start()
        if is_idle:
            is_over.wait(pause_seconds())


def _wait_until_ready(supernode: Supernode, is_over: threading.Event) -> None:
    waited = 0.0
    while not is_over.is_set() and not supernode.is_ready():
        if waited >= _READY_SECONDS or not supernode.is_alive:
            raise LocalProtocolError(
                f"SuperNode: expected it ready within {_READY_SECONDS:.0f} s, got no answer",
                code="CHILD_FAILED",
            )
        is_over.wait(_POLL_SECONDS)
        waited += _POLL_SECONDS


@contextmanager
def _stopping_at_signals(is_over: threading.Event) -> Iterator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        is_over.set()

    numbers = (signal.SIGTERM, signal.SIGINT)
    previous = [signal.signal(number, stop) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)
