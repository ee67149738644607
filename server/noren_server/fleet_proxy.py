"""The only part of the SuperLink that companies can reach: ten Fleet paths, over TLS.

flwr 1.41 serves its Control, Runtime and Fleet APIs on one port, the first two without
authentication worth the name, so the SuperLink stays on loopback and this proxy publishes exactly
`POST /v1/fleet/<ten names>`. A path is compared as the bytes that came, before any decoding: an
encoded dot, a second slash, an upper-case letter, a query or another method is a 404. Only the
headers that Flower's Fleet client sends go through, bodies are limited, and what goes upstream is
our constant for the path, never the caller's text.

It also waits on behalf of the SuperNodes. A SuperNode that finds no message sleeps for a hard-coded
3 seconds, and one that finds a message whose parts are still being uploaded sleeps for another; both
dominate the time of a round. So an empty answer to `pull-messages`, and "not there yet" to
`pull-object`, are asked again upstream until they change, the caller leaves, or the hold time is
over. A request costs the SuperLink about 6 ms, so the waiting nodes share one rate of asking: the
messages of a round come together, and the first node to get one wakes the others. Authentication is
not affected: the SuperLink checks the caller's signature on every repeat.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import binascii
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from noren_server.traffic_meter import TrafficMeter, node_name

_PREFIX = "/v1/fleet/"
_PULL_MESSAGES = f"{_PREFIX}pull-messages"
_PULL_OBJECT = f"{_PREFIX}pull-object"
_NAMES = (
    "activate-node",
    "confirm-message-received",
    "deactivate-node",
    "get-fab",
    "get-run",
    "pull-messages",
    "pull-object",
    "push-messages",
    "push-object",
    "send-node-heartbeat",
)
ALLOWED_PATHS = {f"{_PREFIX}{name}".encode(): f"{_PREFIX}{name}" for name in _NAMES}
_REQUEST_HEADERS = frozenset(
    {
        b"accept",
        b"content-type",
        b"flwr-component-name",
        b"flwr-package-name",
        b"flwr-package-version",
        b"flwr-public-key",
        b"flwr-signature",
        b"flwr-timestamp",
    }
)
_RESPONSE_HEADERS = frozenset({b"content-type", b"flwr-version-incompatibility-message"})
_NODE_HEADER = b"flwr-public-key"

# Flower's protobuf answers that mean "nothing yet", as they are on the wire. Comparing bytes keeps
# flwr (70 MB, and whatever it does at import) out of the process that faces the network; a contract
# test makes both from Flower's own messages.
NO_MESSAGE = b""
OBJECT_NOT_YET_AVAILABLE = b"\x08\x01"
_NOTHING_YET = {_PULL_MESSAGES: NO_MESSAGE, _PULL_OBJECT: OBJECT_NOT_YET_AVAILABLE}

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class FleetProxySettings:
    """Where to listen, what to show, and the SuperLink behind it."""

    host: str
    port: int
    certificate: Path
    private_key: Path
    upstream_address: str
    upstream_root_certificates: Path
    max_body_bytes: int = 8 << 20
    body_deadline_seconds: float = 30.0
    repeat_seconds: float = 0.2
    max_repeat_seconds: float = 1.0
    # Below the 30 s after which a SuperNode's own request times out.
    hold_seconds: float = 15.0
    traffic_file: Path | None = None


class _RefusedError(Exception):
    """The request is answered with this status and nothing else."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(slots=True, eq=False)
class _Caller:
    """One open request: whether its client has left (or asked anew), and a bell to ask upstream now."""

    receive: Receive
    is_gone: bool = False
    bell: asyncio.Event = field(default_factory=asyncio.Event)

    async def watch(self) -> None:
        """Leave once the client has closed the connection."""
        while (await self.receive())["type"] != "http.disconnect":
            pass
        self.leave()

    def leave(self) -> None:
        """Nothing is asked for this caller from now on."""
        self.is_gone = True
        self.bell.set()

    async def pause(self, seconds: float) -> None:
        """Wait, or until the bell rings."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.bell.wait(), seconds)
        self.bell.clear()


class FleetProxy:
    """The ASGI application."""

    def __init__(self, settings: FleetProxySettings, upstream: httpx.AsyncClient) -> None:
        self._settings = settings
        self._upstream = upstream
        self._waiting: dict[bytes, _Caller] = {}
        self._meter = None if settings.traffic_file is None else TrafficMeter(settings.traffic_file)

    def close(self) -> None:
        """Keep what was counted."""
        if self._meter is not None:
            self._meter.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise _RefusedError(404)
        try:
            status, headers, body = await self._answer(scope, receive)
        except _RefusedError as refused:
            status, headers, body = refused.status, [], b""
        length = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers + length})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        path = _allowed_path(scope)
        body = await self._body(scope, receive)
        headers = [(name, value) for name, value in scope["headers"] if name in _REQUEST_HEADERS]
        caller = _Caller(receive)
        watcher = asyncio.create_task(caller.watch())
        try:
            response = await self._ask_until_answered(path, headers, body, caller)
        except httpx.TimeoutException as error:
            raise _RefusedError(504) from error
        except httpx.HTTPError as error:
            raise _RefusedError(502) from error
        finally:
            watcher.cancel()
        self._count(headers, len(body), response)
        kept = [(name.lower(), value) for name, value in response.headers.raw]
        return (
            response.status_code,
            [(name, value) for name, value in kept if name in _RESPONSE_HEADERS],
            response.content,
        )

    def _count(self, headers: list[tuple[bytes, bytes]], sent: int, response: httpx.Response) -> None:
        """Count an answered request under the node's key, which the SuperLink has checked."""
        if self._meter is None or response.status_code != 200:
            return
        with contextlib.suppress(binascii.Error):
            pem = base64.b64decode(dict(headers).get(_NODE_HEADER, b""), validate=True)
            self._meter.add(node_name(pem), sent=sent, received=len(response.content))

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body, refused with 413 as soon as it is known to be too large."""
        limit = self._settings.max_body_bytes
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        # Nineteen digits first: Python refuses to convert numbers of thousands of them, with another error.
        if not declared.isdigit() or len(declared) > 19 or int(declared) > limit:
            raise _RefusedError(413)
        chunks = bytearray()
        try:
            async with asyncio.timeout(self._settings.body_deadline_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _RefusedError(400)
                    chunks += message.get("body", b"")
                    if len(chunks) > limit:
                        raise _RefusedError(413)
                    if not message.get("more_body", False):
                        return bytes(chunks)
        except TimeoutError as error:
            raise _RefusedError(408) from error

    async def _ask_until_answered(
        self, path: str, headers: list[tuple[bytes, bytes]], body: bytes, caller: _Caller
    ) -> httpx.Response:
        """Ask upstream, and again while the answer is that there is nothing yet.

        1. The first answer decides whether to wait at all; an error or refusal is passed on at once.
        2. Only then is the caller known to be the node that it names, so only then does it end the
           older wait of the same node: a message handed to a dead connection would be lost.
        3. Nothing is asked for a caller that has gone, for the same reason.
        """
        response = await self._upstream.post(path, content=body, headers=headers)
        if _is_nothing_yet(path, response):
            async with self._only_wait_of_node(headers, path, caller):
                clock = asyncio.get_running_loop().time
                end = clock() + self._settings.hold_seconds
                while _is_nothing_yet(path, response) and clock() < end:
                    await caller.pause(self._interval(path))
                    if caller.is_gone:
                        break
                    response = await self._upstream.post(path, content=body, headers=headers)
        if path == _PULL_MESSAGES and response.status_code == 200 and response.content != NO_MESSAGE:
            self._wake_others()
        return response

    def _interval(self, path: str) -> float:
        """How long this caller waits by itself: the nodes that wait for messages share one rate."""
        sharing = len(self._waiting) if path == _PULL_MESSAGES else 1
        return min(self._settings.repeat_seconds * max(sharing, 1), self._settings.max_repeat_seconds)

    def _wake_others(self) -> None:
        for caller in self._waiting.values():
            caller.bell.set()

    @asynccontextmanager
    async def _only_wait_of_node(
        self, headers: list[tuple[bytes, bytes]], path: str, caller: _Caller
    ) -> AsyncIterator[None]:
        if path != _PULL_MESSAGES:
            yield
            return
        node = dict(headers).get(_NODE_HEADER, b"")
        if (older := self._waiting.get(node)) is not None:
            older.leave()
        self._waiting[node] = caller
        try:
            yield
        finally:
            if self._waiting.get(node) is caller:
                del self._waiting[node]


def _is_nothing_yet(path: str, response: httpx.Response) -> bool:
    return response.status_code == 200 and response.content == _NOTHING_YET.get(path)


def _allowed_path(scope: Scope) -> str:
    path = ALLOWED_PATHS.get(scope["raw_path"])
    if path is None or scope["method"] != "POST" or scope["query_string"]:
        raise _RefusedError(404)
    return path


def upstream_client(settings: FleetProxySettings) -> httpx.AsyncClient:
    """An HTTP client for the SuperLink on loopback, with its certificate pinned."""
    context = ssl.create_default_context(cafile=str(settings.upstream_root_certificates))
    return httpx.AsyncClient(
        base_url=f"https://{settings.upstream_address}",
        verify=context,
        timeout=25.0,
        trust_env=False,
        # uvicorn closes an idle connection after 5 s; ours must be the side that gives up first.
        limits=httpx.Limits(max_connections=512, max_keepalive_connections=64, keepalive_expiry=3.0),
    )


async def serve(settings: FleetProxySettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    async with upstream_client(settings) as upstream:
        proxy = FleetProxy(settings, upstream)
        server = uvicorn.Server(
            uvicorn.Config(
                proxy,
                host=settings.host,
                port=settings.port,
                ssl_certfile=str(settings.certificate),
                ssl_keyfile=str(settings.private_key),
                lifespan="off",
                ws="none",
                access_log=False,
                log_level="warning",
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=60,
                timeout_graceful_shutdown=2,
                limit_concurrency=2048,
            )
        )
        await server.serve()
        proxy.close()


def main() -> None:
    """`python -m noren_server.fleet_proxy`: the proxy as a process of its own."""
    parser = argparse.ArgumentParser(description="Publish the SuperLink's Fleet API, and nothing else.")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    for name in ("--certificate", "--private-key", "--upstream-root-certificates"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--upstream-address", required=True)
    parser.add_argument("--traffic-file", type=Path)
    arguments = parser.parse_args()
    asyncio.run(serve(FleetProxySettings(**vars(arguments))))


if __name__ == "__main__":
    main()
