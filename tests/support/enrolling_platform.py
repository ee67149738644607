"""A platform's three ports on loopback, as much of them as a company's machine needs that is set up.

Enrolment and company service are the real ones, over gRPC and TLS; behind the fleet port is no SuperLink, so
every path of it is the 404 that companies' doctors ask for.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from platform_services import rights_parts

from noren_server import platform_files
from noren_server.company_keys import KeyDesk
from noren_server.gate import Gate
from noren_server.grpc_service import PlatformParts, serve
from noren_server.revocation import Revocations
from noren_server.sealed_scoring import SealedScoring
from noren_server.sealed_statistics import SealedStatistics
from noren_server.tables import TablePublisher


@dataclass(frozen=True)
class EnrollingPlatform:
    """The platform, its services running."""

    platform: platform_files.Platform

    def invitation(self, company: str, directory: Path) -> Path:
        """An invitation file, as it is handed over."""
        path = directory / f"{company}.json"
        path.write_bytes(self.platform.enrolment.invite(company).content)
        return path

    def approve(self, company: str, fingerprint: str) -> None:
        """What the operator does on the phone."""
        self.platform.enrolment.approve(company, fingerprint)


class _NotFound(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(404)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def enrolling_platform(directory: Path) -> Iterator[EnrollingPlatform]:
    """A new platform in a directory, served until the end of the block."""
    platform_files.initialise(directory, name="job-site", host="127.0.0.1", ports=(0, 0, 0, 0))
    platform = platform_files.Platform(directory)
    publisher = TablePublisher(platform.store, platform.ledger, directory / "tables", chunk_rows=8)
    scoring = SealedScoring(platform.store, platform.ledger, publisher, _nothing)
    parts = PlatformParts(
        store=platform.store,
        gate=Gate(
            platform.store,
            platform.ledger,
            clock=lambda: int(datetime.now(UTC).timestamp()),
            is_running=lambda *_: True,
            is_covered=lambda _: True,
        ),
        ledger=platform.ledger,
        publisher=publisher,
        scoring=scoring,
        statistics=SealedStatistics(
            platform.store, platform.ledger, publisher, _nothing, directory / "statistics"
        ),
        revocations=Revocations(platform.store, publisher, platform.signing_key, lambda *_: []),
        keys=KeyDesk(
            platform.store,
            platform.ledger,
            platform.authority,
            clock=lambda: datetime.now(UTC),
            register_node=lambda *_: None,
        ),
    )
    with rights_parts(platform) as rights, _fleet(platform, directory):
        running = serve(
            platform.enrolment,
            parts,
            platform.server_tls,
            rights=rights,
            enrolment_address=platform.config.addresses.enrolment,
            service_address=platform.config.addresses.service,
            clock=lambda: datetime.now(UTC),
        )
        try:
            yield EnrollingPlatform(platform)
        finally:
            running.stop(grace_seconds=0)
            platform.store.close()
            platform.ledger_store.close()


def _nothing(*_: Any) -> Any:
    raise AssertionError("nobody scores here")


@contextmanager
def _fleet(platform: platform_files.Platform, directory: Path) -> Iterator[None]:
    host, port = platform.config.addresses.fleet.split(":")
    server = ThreadingHTTPServer((host, int(port)), _NotFound)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    file = directory / "fleet-test.pem"
    file.write_bytes(platform.server_tls.key + platform.server_tls.certificate)
    context.load_cert_chain(file)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
