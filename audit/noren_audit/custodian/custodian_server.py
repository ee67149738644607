"""The custodian over HTTP: one request, `POST /custody`, and nothing else.

Requests are signed by the company, answers by the custodian, and a share is sealed to a key of the request:
nothing here depends on TLS, which is there to hide who asks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from noren_audit.bounded_server import BoundedServer, Listening, Service
from noren_audit.custodian.custodian import Custodian
from noren_core.rights.erasure.custody import MAX_REQUEST_BYTES, PATH


class CustodianServer(BoundedServer):
    """Serves one custodian until `shutdown`."""

    def __init__(self, custodian: Custodian, listening: Listening) -> None:
        """Listen; ConfigurationError as `BoundedServer`."""
        super().__init__(Service("custodian", PATH, MAX_REQUEST_BYTES, custodian.answer), listening)


def serve(directory: Path, listening: Listening, *, announce: Callable[[str], None]) -> None:
    """Serve the custodian in `directory` until SIGTERM or SIGINT.

    Args:
        directory: made by `custodian.initialise`.
        listening: where.
        announce: called with the address as soon as requests are answered.
    """
    with (
        closing(Custodian(directory, clock=lambda: int(time.time()))) as custodian,
        CustodianServer(custodian, listening) as server,
    ):
        server.serve_until_stopped(announce=announce)
