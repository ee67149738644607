"""A company's HTTP proxy on loopback: CONNECT to wherever, for who has an account; or one that opens TLS."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

PEM = serialization.Encoding.PEM


@dataclass
class CompanyAuthority:
    """A certificate authority of a company, which its middlebox makes certificates with."""

    name: str = "Example Corporate Root"
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        self.certificate = self._issue(self.name, self.key.public_key(), is_authority=True)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(PEM)

    def server_context(self, directory: Path, host: str) -> ssl.SSLContext:
        """What the middlebox presents in place of `host`."""
        key = ec.generate_private_key(ec.SECP256R1())
        chain = self._issue(host, key.public_key(), is_authority=False).public_bytes(PEM)
        file = directory / "middlebox.pem"
        private = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        file.write_bytes(private + chain)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _issue(
        self, name: str, public_key: ec.EllipticCurvePublicKey, *, is_authority: bool
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, self.name)]))
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if not is_authority:
            address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        return builder.sign(self.key, hashes.SHA256())


@dataclass
class ConnectProxy:
    """The proxy; `asked` has every host:port that somebody wanted to be connected to."""

    listening: socket.socket
    account: str = ""
    refuses: bool = False
    middlebox: ssl.SSLContext | None = None
    asked: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.listening.getsockname()[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.account}{'@' if self.account else ''}{self.address}"

    def serve(self) -> None:
        with contextlib.suppress(OSError):  # closed by the fixture
            while True:
                client, _ = self.listening.accept()
                threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(4096) or b"\r\n\r\n"
            lines = head.decode().split("\r\n")
            method, target, _ = lines[0].split(" ")
            assert method == "CONNECT"
            self.asked.append(target)
            token = base64.b64encode(self.account.encode()).decode()
            given = {line.split(":", 1)[1].strip() for line in lines if line.lower().startswith("proxy-auth")}
            if self.account and given != {f"Basic {token}"}:
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            elif self.refuses:
                client.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            elif self.middlebox is not None:
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                with self.middlebox.wrap_socket(client, server_side=True) as opened:
                    opened.recv(4096)
            else:
                self._relay(client, target)

    @staticmethod
    def _relay(client: socket.socket, target: str) -> None:
        host, port = target.rsplit(":", 1)
        with socket.create_connection((host, int(port))) as upstream:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_pump, args=(upstream, client), daemon=True)
            back.start()
            _pump(client, upstream)
            back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def connect_proxy(
    *, account: str = "", refuses: bool = False, middlebox: ssl.SSLContext | None = None
) -> Iterator[ConnectProxy]:
    """A proxy that serves until the end of the block."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        proxy = ConnectProxy(listening, account, refuses, middlebox)
        thread = threading.Thread(target=proxy.serve, daemon=True)
        thread.start()
        yield proxy
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(5)
