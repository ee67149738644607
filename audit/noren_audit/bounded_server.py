"""A small HTTP server for programs that anybody may ask: every request is bounded in bytes, time and number.

It answers `POST` at fixed paths and nothing else, and logs no addresses. It listens on loopback unless told
otherwise, and speaks TLS if given a certificate; what a program answers is signed by it either way.
"""

from __future__ import annotations

import logging
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from noren_core.errors import ConfigurationError

MAX_CONNECTIONS = 32
TIMEOUT_SECONDS = 10.0
CONNECTION_SECONDS = 30.0
_LOG = logging.getLogger(__name__)
_TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back over HTTP."""

    status: int
    body: bytes
    content_type: str = _TEXT


@dataclass(frozen=True, slots=True)
class Listening:
    """Where to listen, and with which certificate (PEM files), if any.

    Attributes:
        port: 0 takes a free one.
    """

    host: str = "127.0.0.1"
    port: int = 0
    certificate: Path | None = None
    private_key: Path | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """What is served.

    Attributes:
        name: for messages and the Server header, one word.
        path: of the one request that is answered.
        max_request_bytes: of its body.
        answer: called with the body, by many threads.
    """

    name: str
    path: str
    max_request_bytes: int
    answer: Callable[[bytes], Answer]


class BoundedServer(ThreadingHTTPServer):
    """Serves until `shutdown`; every connection in a thread, at most 32 at once."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = MAX_CONNECTIONS

    def __init__(self, service: Service, listening: Listening) -> None:
        """Listen.

        Raises:
            ConfigurationError: if the address cannot be listened on, or the certificate cannot be used.
        """
        self.service = service
        self._tls = _tls(service.name, listening)
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self.address_family = socket.AF_INET6 if ":" in listening.host else socket.AF_INET
        try:
            super().__init__((listening.host, listening.port), _Handler)
        except OSError as error:
            raise ConfigurationError(f"{service.name}: cannot listen there: {error.strerror}") from error

    @property
    def url(self) -> str:
        """What those who ask are to be configured with."""
        host, port = self.server_address[:2]
        shown = f"[{host!s}]" if self.address_family == socket.AF_INET6 else str(host)
        return f"{'http' if self._tls is None else 'https'}://{shown}:{port}"

    def serve_until_stopped(self, *, announce: Callable[[str], None]) -> None:
        """Serve until SIGTERM or SIGINT; `announce` is called with the address before."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: threading.Thread(target=self.shutdown).start())
        announce(self.url)
        self.serve_forever()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept; the handshake is left to the connection's own thread, so that nobody waits for another."""
        connection, address = super().get_request()
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve in a thread, or hang up if too many are served already."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """The thread of one connection; who is not done in time, however busily it sends, is hung up on."""
        end = threading.Timer(CONNECTION_SECONDS, _hang_up, [request])
        end.daemon = True
        end.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Somebody hung up, or spoke no TLS: one line, without who it was."""
        del request, client_address
        _LOG.info("a connection ended early: %s", type(sys.exception()).__name__)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    sys_version = ""
    timeout = TIMEOUT_SECONDS
    disable_nagle_algorithm = True  # an answer is two small writes; the second would wait for an ACK
    server: BoundedServer

    def setup(self) -> None:
        super().setup()
        if isinstance(self.connection, ssl.SSLSocket):
            self.connection.do_handshake()

    def version_string(self) -> str:
        return f"noren-{self.server.service.name}"

    def do_POST(self) -> None:
        service = self.server.service
        if self.path != service.path:
            self._answer(Answer(404, f"expected POST {service.path}\n".encode()), ends=True)
            return
        length = self.headers.get("Content-Length", "")
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdigit()):
            self._answer(Answer(411, b"expected a Content-Length\n"), ends=True)
            return
        if len(length) > 9 or int(length) > service.max_request_bytes:
            self._answer(Answer(413, b"expected a shorter request\n"), ends=True)
            return
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self.close_connection = True
            return
        answer = service.answer(body)
        _LOG.info("%s: %d", service.path.lstrip("/"), answer.status)
        self._answer(answer)

    def _answer(self, answer: Answer, *, ends: bool = False) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        if ends:  # the body was not read
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (its name in the base class)
        del format, args  # it would name the client's address


def _hang_up(connection: socket.socket) -> None:
    """End whatever the connection's own thread is waiting for."""
    with suppress(OSError):  # it is closed already
        socket.socket.shutdown(connection, socket.SHUT_RDWR)  # below TLS, whose state is the thread's


def _tls(name: str, listening: Listening) -> ssl.SSLContext | None:
    if listening.certificate is None and listening.private_key is None:
        return None
    if listening.certificate is None or listening.private_key is None:
        raise ConfigurationError(f"{name}: expected a certificate and its private key, got one of them")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(listening.certificate, listening.private_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"{name}: expected a certificate and its private key in PEM") from error
    return context
