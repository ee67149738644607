"""A site on a socket, until it is told to stop.

Promises: heads and idle connections have a time limit and connections a number; nothing is written about who
asked for what; a certificate's private key is read from memory, not from a file.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from noren_core.errors import ConfigurationError
from noren_local.private_file import in_memory
from noren_web.http_connections import PromptHttp

CONNECTIONS = 512
"""At once; beyond them everybody is refused."""


def bound(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        ConfigurationError: if the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=CONNECTIONS)
    except OSError as error:
        raise ConfigurationError(
            f"listen: expected a free address, got {host} port {port}: {error.strerror}", code="ADDRESS_TAKEN"
        ) from error


def server_of(
    app: ASGIApp, *, private_key: bytes | None = None, certificate: Path | None = None
) -> uvicorn.Server:
    """A server of this application, not yet running.

    Args:
        app: what it serves.
        private_key: PEM, for TLS.
        certificate: the PEM file of its certificate.
    """

    def configured(key_file: str | None) -> uvicorn.Config:
        config = uvicorn.Config(
            app,
            ssl_keyfile=key_file,
            ssl_certfile=None if certificate is None else str(certificate),
            lifespan="off",
            ws="none",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            http=PromptHttp,
            limit_concurrency=CONNECTIONS,
            timeout_keep_alive=10,
            timeout_graceful_shutdown=2,
            h11_max_incomplete_event_size=16 << 10,
        )
        config.load()
        return config

    if private_key is None:
        return uvicorn.Server(configured(None))
    with in_memory(private_key) as descriptor:
        return uvicorn.Server(configured(f"/proc/self/fd/{descriptor}"))


@contextmanager
def served(server: uvicorn.Server, listening: socket.socket, *, name: str) -> Iterator[int]:
    """Serve in a thread until the end of the block; gives the port."""
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name=name)
    thread.start()
    try:
        yield int(listening.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def serve_until_stopped(
    server: uvicorn.Server, listening: socket.socket, announce: Callable[[int], None]
) -> None:
    """Serve in this thread until SIGINT or SIGTERM; `announce` gets the port before the first request."""
    announce(int(listening.getsockname()[1]))
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:  # uvicorn hands the signal on once it has ended in order
        return
    finally:
        listening.close()
