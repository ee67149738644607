"""The platform's Flower SuperLink: how it is started, who may join, and how a campaign is run.

What it promises (docs/protocol.md §8): loopback only, TLS with a certificate made at start, process
isolation with a secret for whoever fetches tasks, registered SuperNodes only, no installation of
dependencies, no telemetry, a state file that nobody else can read and that keeps no company's
messages after a run. Companies reach it through `fleet_proxy` alone: its Control API has no
authentication, which is why nothing here ever listens on another interface.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import secrets
import sqlite3
import ssl
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from noren_core.errors import ConfigurationError, DataError, LocalProtocolError
from noren_core.ids import parse_name
from noren_local import loopback
from noren_local.private_file import write_private
from noren_server.processes import Child, executable

BUNDLE_DIRECTORY = Path(__file__).parent / "bundle"
_POLL_SECONDS = 0.5
_BUNDLE_DATE = (1980, 1, 1, 0, 0, 0)
_BUNDLE_SUFFIXES = {".py", ".toml"}


_log = logging.getLogger(__name__)


class RunOutcome(StrEnum):
    """How a run ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed-out"


@dataclass(frozen=True, slots=True)
class SuperlinkFiles:
    """Where the SuperLink keeps its files, all below `<platform directory>/flower`, mode 0700."""

    platform_dir: Path

    @property
    def directory(self) -> Path:
        """The directory of everything below."""
        return self.platform_dir / "flower"

    @property
    def certificate(self) -> Path:
        """The loopback certificate; also the root that clients on this machine pin."""
        return self.directory / "loopback.crt"

    @property
    def private_key(self) -> Path:
        """The key of the loopback certificate."""
        return self.directory / "loopback.key"

    @property
    def superexec_secret(self) -> Path:
        """What proves to the Runtime API that a task is fetched by our SuperExec."""
        return self.directory / "superexec.secret"

    @property
    def address(self) -> Path:
        """Holds host:port of the SuperLink that was started last."""
        return self.directory / "address"

    @property
    def database(self) -> Path:
        """Flower's state: nodes, runs, and messages while a run lasts."""
        return self.directory / "state.db"


def prepare_superlink(platform_dir: Path, *, port: int = 0) -> tuple[Child, Child]:
    """Write fresh certificate, secret and address; the two children to start, SuperLink first.

    Port 0 takes one that is free.
    """
    files = SuperlinkFiles(platform_dir)
    files.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    files.directory.chmod(0o700)
    private_key, certificate = loopback.make_certificate()
    write_private(files.private_key, private_key)
    write_private(files.certificate, certificate)
    write_private(files.superexec_secret, secrets.token_bytes(32))
    address = f"{loopback.ADDRESS}:{port or loopback.free_port()}"
    write_private(files.address, address.encode())
    if not files.database.exists():
        write_private(files.database, b"")
    return _superlink_child(files, address), _superexec_child(files, address)


def _superlink_child(files: SuperlinkFiles, address: str) -> Child:
    host, port = address.split(":")
    argv = (
        executable("flower-superlink"),
        *("--host", host, "--port", port),
        *("--database", str(files.database)),
        *("--ssl-certfile", str(files.certificate), "--ssl-keyfile", str(files.private_key)),
        *("--ssl-ca-certfile", str(files.certificate)),
        "--enable-supernode-auth",
        "--disable-runtime-dependency-installation",
        *("--isolation", "process", "--superexec-auth-secret-file", str(files.superexec_secret)),
    )
    return Child(
        "superlink", argv, _environment(files, "superlink"), lambda: _is_healthy(address, files.certificate)
    )


def _superexec_child(files: SuperlinkFiles, address: str) -> Child:
    argv = (
        executable("flower-superexec"),
        *("--runtime-api-address", address),
        *("--root-certificates", str(files.certificate)),
        *("--superexec-auth-secret-file", str(files.superexec_secret)),
    )
    environment = _environment(files, "superexec") | {
        "NOREN_PLATFORM_DIR": str(files.platform_dir.resolve()),
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.5",
    }
    return Child("superexec", argv, environment)


def _environment(files: SuperlinkFiles, home: str) -> dict[str, str]:
    return {
        # SuperExec starts `flwr-serverapp` by name through PATH.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "FLWR_HOME": str(files.directory / home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        # A proxy of the environment must not see what stays on loopback.
        "NO_PROXY": f"{loopback.ADDRESS},localhost",
        "no_proxy": f"{loopback.ADDRESS},localhost",
    }


def _is_healthy(address: str, root_certificates: Path) -> bool:
    import httpx

    context = ssl.create_default_context(cafile=str(root_certificates))
    try:
        return httpx.get(f"https://{address}/health", verify=context, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


class Fleet:
    """The SuperLink that `prepare_superlink` prepared, as the rest of the platform uses it.

    Works from any process of the platform's user; use as a context manager.
    """

    def __init__(self, platform_dir: Path) -> None:
        from noren_server.flower_private import ControlApi

        self._files = SuperlinkFiles(platform_dir)
        try:
            address = self._files.address.read_text()
            certificate = self._files.certificate.read_text()
        except FileNotFoundError as error:
            raise ConfigurationError(
                "SuperLink: expected a platform that has been started, got no address file"
            ) from error
        self._control = ControlApi(address, certificate)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._control.close()

    def register(self, company: str, public_key: bytes) -> None:
        """Let the node with this P-384 public key (PEM) join as `company`.

        Idempotent for the same key; a company has one node, so its older keys are unregistered.

        Raises:
            DataError: if the key is not a P-384 public key in PEM or is another company's.
        """
        parse_name(company, "company")
        canonical = _parse_node_key(public_key)
        nodes = self._control.nodes()
        owners = {node.name for node in nodes if node.public_key == canonical}
        if owners - {company}:
            raise DataError("node key: expected one that nobody uses, got another company's")
        if not owners:
            self._control.register(company, canonical)
        for node in nodes:
            if node.name == company and node.public_key != canonical:
                self._control.unregister(node.node_id)

    def unregister(self, company: str) -> None:
        """Forget every node of `company`; nothing happens if there is none."""
        for node in self._control.nodes():
            if node.name == company:
                self._control.unregister(node.node_id)

    def companies(self) -> dict[str, bool]:
        """Registered companies, and whether each one's node is online."""
        return {node.name: node.is_online for node in self._control.nodes()}

    def run_campaign(
        self,
        campaign: str,
        *,
        deadline_seconds: float,
        bundle: bytes | None = None,
        is_held: Callable[[], bool] = lambda: False,
    ) -> RunOutcome:
        """Run the ServerApp for a campaign and wait for its end; then the state file is compacted.

        After the deadline the run is stopped; while `is_held` says so, no time passes.
        """
        parse_name(campaign, "campaign")
        content = bundle_bytes() if bundle is None else bundle
        run_id = self._control.start_run(content, hashlib.sha256(content).hexdigest(), {"campaign": campaign})
        if not run_id:
            raise LocalProtocolError("run: expected the SuperLink to start it, got a refusal")
        outcome = self._wait(run_id, deadline_seconds, is_held)
        compact_database(self._files.database)
        return outcome

    def _wait(self, run_id: int, deadline_seconds: float, is_held: Callable[[], bool]) -> RunOutcome:
        left, looked_at = deadline_seconds, time.monotonic()
        try:
            while not (state := self._control.run_state(run_id)).is_finished:
                passed, looked_at = time.monotonic() - looked_at, time.monotonic()
                left -= 0 if is_held() else passed
                if left <= 0:
                    self._control.stop_run(run_id)
                    return RunOutcome.TIMED_OUT
                time.sleep(_POLL_SECONDS)
        except KeyboardInterrupt:
            self._control.stop_run(run_id)
            raise
        if not state.is_completed:
            _log.error("run failed: %s", state.details)
        return RunOutcome.COMPLETED if state.is_completed else RunOutcome.FAILED


def compact_database(database: Path, *, deadline_seconds: float = 10.0) -> None:
    """Rewrite the state file without the pages that a finished run's messages occupied, and empty its WAL.

    Raises:
        LocalProtocolError: `STATE_BUSY` if others keep the file locked or the WAL from being emptied.
    """
    end = time.monotonic() + deadline_seconds
    connection = sqlite3.connect(database, timeout=deadline_seconds, isolation_level=None)
    try:
        connection.execute("VACUUM")
        while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            if time.monotonic() >= end:
                raise LocalProtocolError("state file: expected an idle WAL, got readers", code="STATE_BUSY")
            time.sleep(_POLL_SECONDS)
    except sqlite3.OperationalError as error:
        raise LocalProtocolError("state file: expected it unlocked, got a lock", code="STATE_BUSY") from error
    finally:
        connection.close()


def bundle_bytes(directory: Path = BUNDLE_DIRECTORY) -> bytes:
    """The Flower App Bundle of `directory`, byte for byte the same on every machine.

    Flower's own builder compresses and re-encodes, which differs between library versions; this one
    stores the files as they are, with the manifest that Flower's installer checks.
    """
    names = sorted(
        path.relative_to(directory).as_posix()
        for path in directory.rglob("*")
        if path.suffix in _BUNDLE_SUFFIXES and "__pycache__" not in path.parts
    )
    buffer = io.BytesIO()
    manifest = []
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as bundle:
        for name in names:
            content = (directory / name).read_bytes()
            bundle.writestr(_zip_entry(name), content)
            manifest.append(f"{name},{hashlib.sha256(content).hexdigest()},{len(content) * 8}")
        bundle.writestr(_zip_entry(".info/CONTENT"), "\n".join(manifest))
    return buffer.getvalue()


def bundle_sha256(directory: Path = BUNDLE_DIRECTORY) -> str:
    """What companies pin: the SHA-256 of `bundle_bytes`, in hexadecimal."""
    return hashlib.sha256(bundle_bytes(directory)).hexdigest()


def _zip_entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _BUNDLE_DATE)
    entry.create_system = 3  # else the platform that builds it would show in the bytes
    entry.external_attr = 0o644 << 16
    return entry


def _parse_node_key(public_key: bytes) -> bytes:
    try:
        key = serialization.load_pem_public_key(public_key)
    except ValueError as error:
        raise DataError("node key: expected a public key in PEM, got other bytes") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise DataError("node key: expected a P-384 key, got another kind")
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
