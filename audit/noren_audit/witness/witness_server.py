"""The witness over HTTP (C2SP tlog-witness): one request, `POST /add-checkpoint`, and nothing else.

Anybody may ask; only a log's signed checkpoint leads to a signature.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from noren_audit.bounded_server import BoundedServer, Listening, Service
from noren_audit.witness.witness import Witness
from noren_core.ledger.add_checkpoint import MAX_REQUEST_BYTES, PATH


class WitnessServer(BoundedServer):
    """Serves one witness until `shutdown`."""

    def __init__(self, witness: Witness, listening: Listening) -> None:
        """Listen; ConfigurationError as `BoundedServer`."""
        super().__init__(Service("witness", PATH, MAX_REQUEST_BYTES, witness.add_checkpoint), listening)


def serve(directory: Path, listening: Listening, *, announce: Callable[[str], None]) -> None:
    """Serve the witness in `directory` until SIGTERM or SIGINT.

    Args:
        directory: made by `witness.initialise`.
        listening: where.
        announce: called with the submission prefix as soon as requests are answered.
    """
    with (
        closing(Witness(directory, clock=lambda: int(time.time()))) as witness,
        WitnessServer(witness, listening) as server,
    ):
        server.serve_until_stopped(announce=announce)
