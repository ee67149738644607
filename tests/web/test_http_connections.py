"""Whoever asks nothing keeps nobody from asking."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from noren_web import http_connections
from noren_web.http_connections import PromptHttp

HEAD = b"GET / HTTP/1.1\r\nhost: site\r\n"
WAITING_SECONDS = 0.05
PLACES = 4


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers every request; after a while if it is asked for `/slow`."""
    if scope["path"] == "/slow":
        time.sleep(4 * WAITING_SECONDS)  # noqa: ASYNC251 (the whole loop waits, and its timers run late)
    await PlainTextResponse("yes")(scope, receive, send)


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Of a server with few places."""
    monkeypatch.setattr(http_connections, "HEAD_SECONDS", WAITING_SECONDS)
    config = uvicorn.Config(
        application, http=PromptHttp, ws="none", lifespan="off", limit_concurrency=PLACES, log_config=None
    )
    server, listening = uvicorn.Server(config), socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield int(listening.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@contextmanager
def connected(port: int, sent: bytes) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(sent)
        yield connection


def received(connection: socket.socket) -> bytes:
    """All that comes until the other side ends, by whatever means."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(4096):
            data += part
    return data


def answer(port: int, path: bytes = b"/") -> bytes:
    """The status of one request."""
    request = HEAD.replace(b"/ ", path + b" ", 1) + b"connection: close\r\n\r\n"
    with connected(port, request) as connection:
        return received(connection).split(b" ")[1]


@pytest.mark.parametrize("sent", [b"", HEAD[:20], HEAD + b"\r\n", HEAD + b"\r\n" + HEAD[:20]])
def test_a_connection_without_a_request_is_closed(port: int, sent: bytes) -> None:
    """Nothing, a part of a head, nothing or a part of one after an answer: the place is free again."""
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(connected(port, sent)) for _ in range(PLACES)]
        for connection in idle:
            received(connection)
        assert answer(port) == b"200"


def test_a_request_that_takes_long_is_answered(port: int) -> None:
    """Once its head is there, other limits apply."""
    assert answer(port, b"/slow") == b"200"
