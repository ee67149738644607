"""A platform and companies as real processes on loopback."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from noren_client.supernode import generate_node_key, node_public_key
from noren_core.crypto.secret import SecretBytes
from noren_local import loopback
from noren_local.private_file import write_private
from noren_server.processes import Child, Supervisor, is_listening
from noren_server.superlink import (
    Fleet,
    RunOutcome,
    SuperlinkFiles,
    bundle_bytes,
    bundle_sha256,
    prepare_superlink,
)

ECHO_BUNDLE = Path(__file__).parent / "echo_bundle"
ECHO_COMPANY = Path(__file__).parent / "echo_company.py"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """A certificate authority and a server certificate for 127.0.0.1 and localhost."""

    authority: Path
    certificate: Path
    private_key: Path


def make_tls_files(directory: Path) -> TlsFiles:
    """Write an authority and a server certificate issued by it."""
    now = dt.datetime.now(dt.UTC)
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test authority")])

    def build(name: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(authority_name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
            )
        )

    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    authority = (
        build(authority_name, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    server_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "platform")])
    server = (
        build(server_name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    files = TlsFiles(directory / "ca.crt", directory / "server.crt", directory / "server.key")
    files.authority.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    files.certificate.write_bytes(server.public_bytes(serialization.Encoding.PEM))
    files.private_key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    files.private_key.chmod(0o600)
    return files


class RealFleet:
    """A SuperLink, its SuperExec, the proxy, and any number of companies, all real processes."""

    def __init__(self, directory: Path, supervisor: Supervisor) -> None:
        self.directory = directory
        self.platform_dir = directory / "platform"
        self.platform_dir.mkdir()
        self.tls = make_tls_files(directory)
        self.supervisor = supervisor
        self.proxy_address = f"127.0.0.1:{loopback.free_port()}"

    def start_platform(self) -> None:
        """SuperLink, SuperExec, proxy."""
        for child in prepare_superlink(self.platform_dir):
            self.supervisor.start(child)
        self.supervisor.start(self._proxy())

    def add_company(self, name: str, *, pin: str | None = None) -> Path:
        """Register and start a company; its directory."""
        company_dir = self.directory / name
        company_dir.mkdir()
        key = generate_node_key()
        write_private(company_dir / "node.key", key)
        with Fleet(self.platform_dir) as fleet:
            fleet.register(name, node_public_key(SecretBytes(key)))
        pin = bundle_sha256(ECHO_BUNDLE) if pin is None else pin
        argv = (sys.executable, str(ECHO_COMPANY), str(company_dir), self.proxy_address)
        self.supervisor.start(
            Child(f"company-{name}", (*argv, str(self.tls.authority), pin), {"OMP_NUM_THREADS": "1"})
        )
        return company_dir

    def run_echo(self, companies: list[str], *, rounds: int, deadline_seconds: float) -> dict[str, Any]:
        """Run the echo bundle; what its ServerApp wrote down."""
        plan = {"companies": companies, "rounds": rounds, "deadline_seconds": deadline_seconds}
        (self.platform_dir / "echo-plan.json").write_text(json.dumps(plan))
        with Fleet(self.platform_dir) as fleet:
            outcome = fleet.run_campaign("echo", deadline_seconds=90, bundle=bundle_bytes(ECHO_BUNDLE))
        assert outcome is RunOutcome.COMPLETED
        return json.loads((self.platform_dir / "echo-result.json").read_text())

    def _proxy(self) -> Child:
        files = SuperlinkFiles(self.platform_dir)
        host, port = self.proxy_address.split(":")
        argv = (
            *(sys.executable, "-m", "noren_server.fleet_proxy", "--host", host, "--port", port),
            *("--certificate", str(self.tls.certificate), "--private-key", str(self.tls.private_key)),
            *("--upstream-address", files.address.read_text()),
            *("--upstream-root-certificates", str(files.certificate)),
        )
        return Child(
            "fleet-proxy", argv, {}, lambda: is_listening(host, int(port)), ready_deadline_seconds=20
        )


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    with Supervisor(tmp_path / "logs") as children:
        yield children


@pytest.fixture
def real_fleet(tmp_path: Path, supervisor: Supervisor) -> RealFleet:
    return RealFleet(tmp_path, supervisor)


@pytest.fixture
def tls_files(tmp_path: Path) -> TlsFiles:
    return make_tls_files(tmp_path)
