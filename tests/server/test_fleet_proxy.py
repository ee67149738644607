"""What the proxy lets through, and how it waits on behalf of SuperNodes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from noren_server.fleet_proxy import (
    ALLOWED_PATHS,
    NO_MESSAGE,
    OBJECT_NOT_YET_AVAILABLE,
    FleetProxy,
    FleetProxySettings,
)

PULL = "/v1/fleet/pull-messages"
PULL_OBJECT = "/v1/fleet/pull-object"
SETTINGS = FleetProxySettings(
    host="127.0.0.1",
    port=1,
    certificate=Path("unused"),
    private_key=Path("unused"),
    upstream_address="127.0.0.1:2",
    upstream_root_certificates=Path("unused"),
    max_body_bytes=1000,
    body_deadline_seconds=0.2,
    repeat_seconds=0.01,
    max_repeat_seconds=0.05,
    hold_seconds=0.3,
)


@dataclass(slots=True)
class Upstream:
    """A SuperLink that answers from a list, the last answer for ever."""

    answers: list[tuple[int, bytes]] = field(default_factory=lambda: [(200, b"answer")])
    requests: list[httpx.Request] = field(default_factory=list)
    hook: Callable[[httpx.Request], tuple[int, bytes] | None] = lambda _: None
    arrival: asyncio.Event = field(default_factory=asyncio.Event)

    async def reach(self, count: int) -> None:
        while len(self.requests) < count:
            self.arrival.clear()
            await asyncio.wait_for(self.arrival.wait(), 5)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.arrival.set()
        status, body = self.hook(request) or (
            self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        )
        headers = {"content-type": "application/protobuf", "server": "secret", "set-cookie": "a=b"}
        return httpx.Response(status, content=body, headers=headers)


@dataclass(slots=True)
class Connection:
    """One client connection: what it sends, when it leaves, what it got."""

    chunks: list[bytes]
    left: asyncio.Event = field(default_factory=asyncio.Event)
    sent: list[dict[str, Any]] = field(default_factory=list)
    is_silent: bool = False

    async def receive(self) -> dict[str, Any]:
        if self.chunks:
            body = self.chunks.pop(0)
            return {"type": "http.request", "body": body, "more_body": bool(self.chunks) or self.is_silent}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(dict(message))

    @property
    def answer(self) -> tuple[int, bytes, dict[bytes, bytes]]:
        start, body = self.sent
        return start["status"], body["body"], dict(start["headers"])


def scope(
    raw_path: bytes | str,
    *,
    method: str = "POST",
    query: bytes = b"",
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> dict[str, Any]:
    raw = raw_path.encode() if isinstance(raw_path, str) else raw_path
    fields = [(b"content-type", b"application/protobuf"), *headers]
    return {"type": "http", "method": method, "raw_path": raw, "query_string": query, "headers": fields}


def make_proxy(upstream: Upstream, **changes: Any) -> FleetProxy:
    client = httpx.AsyncClient(transport=httpx.MockTransport(upstream), base_url="https://127.0.0.1:2")
    return FleetProxy(replace(SETTINGS, **changes), client)


def ask(
    upstream: Upstream, request: dict[str, Any], *chunks: bytes, is_silent: bool = False, **changes: Any
) -> tuple[int, bytes, dict[bytes, bytes]]:
    async def run() -> Connection:
        connection = Connection(list(chunks) or [b"body"], is_silent=is_silent)
        await make_proxy(upstream, **changes)(request, connection.receive, connection.send)
        return connection

    return asyncio.run(run()).answer


@pytest.mark.parametrize("path", sorted(ALLOWED_PATHS.values()))
def test_each_fleet_path_reaches_the_superlink(path: str) -> None:
    """A POST to one of the ten paths is answered by the SuperLink, body unchanged."""
    upstream = Upstream()
    status, body, _ = ask(upstream, scope(path), b"request ", b"body")
    assert (status, body) == (200, b"answer")
    assert [(r.url.path, r.content) for r in upstream.requests] == [(path, b"request body")]


def test_ten_paths_are_published() -> None:
    """Exactly ten paths are published, and none of them registers a node."""
    assert len(ALLOWED_PATHS) == 10
    assert not any(b"register" in path for path in ALLOWED_PATHS)


@pytest.mark.parametrize(
    "path",
    [
        b"/",
        b"/docs",
        b"/openapi.json",
        b"/health",
        b"/v1/control/list-nodes",
        b"/v1/runtime/acquire-task",
        b"/v1/fleet/register-node",
        b"/v1/fleet/unregister-node",
        b"/v1/fleet/",
        b"/v1/fleet/get-run/",
        b"/v1/fleet/get-run/../../control/list-nodes",
        b"/v1/fleet/../control/list-nodes",
        b"/v1/fleet/%2e%2e/control/list-nodes",
        b"/v1/fleet/..%2fcontrol/list-nodes",
        b"/v1/fleet/get-run%00",
        b"/v1/fleet/get%2drun",
        b"//v1/fleet/get-run",
        b"/v1//fleet/get-run",
        b"/V1/fleet/get-run",
        b"/v1/fleet/Get-Run",
        b"/v1/fleet/get-run;x",
        b"/./v1/fleet/get-run",
        b"https://127.0.0.1:2/v1/control/list-nodes",
    ],
)
def test_other_paths_are_not_found(path: bytes) -> None:
    """Any other path, however it is spelt, is a 404 that the SuperLink never hears of."""
    upstream = Upstream()
    assert ask(upstream, scope(path))[:2] == (404, b"")
    assert upstream.requests == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "post"])
def test_other_methods_are_not_found(method: str) -> None:
    """Only POST is answered."""
    upstream = Upstream()
    assert ask(upstream, scope("/v1/fleet/get-run", method=method))[0] == 404
    assert upstream.requests == []


def test_a_query_is_not_found() -> None:
    """No Fleet request has a query, so one with a query is refused."""
    assert ask(Upstream(), scope("/v1/fleet/get-run", query=b"a=b"))[0] == 404


def test_only_fleet_headers_pass() -> None:
    """Runtime and SuperExec authentication, cookies and forwarding headers stay outside, both ways."""
    upstream = Upstream()
    foreign = [
        b"flwr-task-token",
        b"flwr-superexec-signature",
        b"cookie",
        b"x-forwarded-for",
        b"x-flwr-client",
    ]
    request = scope(
        "/v1/fleet/get-run", headers=[(b"flwr-public-key", b"key"), *((name, b"x") for name in foreign)]
    )
    _, _, headers = ask(upstream, request)
    assert upstream.requests[0].headers["flwr-public-key"] == "key"
    assert not any(name.decode() in upstream.requests[0].headers for name in foreign)
    assert set(headers) == {b"content-type", b"content-length"}


def test_a_declared_large_body_is_refused_unread() -> None:
    """A content-length above the limit is a 413 before a byte is read."""
    upstream = Upstream()
    assert ask(upstream, scope("/v1/fleet/push-object", headers=[(b"content-length", b"1001")]))[0] == 413
    assert ask(upstream, scope("/v1/fleet/push-object", headers=[(b"content-length", b"-1")]))[0] == 413
    assert upstream.requests == []


def test_an_undeclared_large_body_is_refused() -> None:
    """A body that grows past the limit is a 413; one byte less is let through."""
    upstream = Upstream()
    assert ask(upstream, scope("/v1/fleet/push-object"), b"x" * 600, b"x" * 401)[0] == 413
    assert upstream.requests == []
    assert ask(upstream, scope("/v1/fleet/push-object"), b"x" * 600, b"x" * 400)[0] == 200


def test_a_body_that_never_ends_is_given_up() -> None:
    """A client that stops sending in the middle of its body gets a 408 at the deadline."""
    assert ask(Upstream(), scope("/v1/fleet/push-object"), b"x", is_silent=True)[0] == 408


def test_an_unreachable_superlink_is_a_502() -> None:
    """Without a SuperLink the SuperNode gets a status that it retries."""

    def fail(_: httpx.Request) -> None:
        raise httpx.ConnectError("no")

    assert ask(Upstream(hook=fail), scope("/v1/fleet/get-run"))[0] == 502


def test_an_empty_pull_is_held_until_a_message_comes() -> None:
    """Empty answers are asked again; the first message ends the wait."""
    upstream = Upstream([(200, NO_MESSAGE), (200, NO_MESSAGE), (200, b"message")])
    assert ask(upstream, scope(PULL))[:2] == (200, b"message")
    assert len(upstream.requests) == 3


def test_an_object_on_its_way_is_waited_for() -> None:
    """A part that is announced and not yet uploaded is asked again."""
    upstream = Upstream([(200, OBJECT_NOT_YET_AVAILABLE), (200, b"part")])
    assert ask(upstream, scope(PULL_OBJECT))[:2] == (200, b"part")


def test_a_hold_ends() -> None:
    """Without a message the empty answer is given after the hold time."""
    upstream = Upstream([(200, NO_MESSAGE)])
    assert ask(upstream, scope(PULL))[:2] == (200, b"")
    assert len(upstream.requests) > 2


@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_a_refusal_is_not_held(status: int) -> None:
    """Errors pass at once, also empty ones, so an unregistered node learns it."""
    upstream = Upstream([(status, b"")])
    assert ask(upstream, scope(PULL))[0] == status
    assert len(upstream.requests) == 1


def test_other_empty_answers_are_not_held() -> None:
    """Only the two pulls are held."""
    upstream = Upstream([(200, b"")])
    assert ask(upstream, scope("/v1/fleet/confirm-message-received"))[0] == 200
    assert len(upstream.requests) == 1


def test_nothing_is_pulled_for_a_client_that_left() -> None:
    """After a disconnect no further request is made: its message would be lost."""

    async def run() -> int:
        upstream = Upstream([(200, NO_MESSAGE)])
        connection = Connection([b""])
        proxy = make_proxy(upstream, hold_seconds=30.0)
        task = asyncio.create_task(proxy(scope(PULL), connection.receive, connection.send))
        await upstream.reach(3)
        connection.left.set()
        await asyncio.wait_for(task, 5)
        count = len(upstream.requests)
        await asyncio.sleep(0.05)
        assert len(upstream.requests) == count
        return count

    assert asyncio.run(run()) >= 3


def test_a_newer_pull_of_a_node_ends_the_older() -> None:
    """A reconnected SuperNode replaces its own stale wait, and only its own."""

    async def run() -> list[bool]:
        upstream = Upstream([(200, NO_MESSAGE)])
        proxy = make_proxy(upstream, hold_seconds=30.0)
        connections = [Connection([b""]) for _ in range(3)]
        tasks = []
        for connection, key in zip(connections, [b"a", b"b", b"a"], strict=True):
            request = scope(PULL, headers=[(b"flwr-public-key", key)])
            tasks.append(asyncio.create_task(proxy(request, connection.receive, connection.send)))
            count = len(upstream.requests)
            await upstream.reach(count + 1)
        await asyncio.wait_for(tasks[0], 5)
        states = [task.done() for task in tasks]
        for connection in connections:
            connection.left.set()
        await asyncio.wait_for(asyncio.gather(*tasks), 5)
        return states

    assert asyncio.run(run()) == [True, False, False]


def test_a_stranger_does_not_end_anothers_wait() -> None:
    """A pull that the SuperLink refuses does not count as the node that it names."""

    async def run() -> bool:
        def hook(request: httpx.Request) -> tuple[int, bytes] | None:
            return (401, b"") if request.content == b"forged" else None

        upstream = Upstream([(200, NO_MESSAGE)], hook=hook)
        proxy = make_proxy(upstream, hold_seconds=30.0)
        honest, forged = Connection([b""]), Connection([b"forged"])
        request = scope(PULL, headers=[(b"flwr-public-key", b"a")])
        task = asyncio.create_task(proxy(request, honest.receive, honest.send))
        await upstream.reach(2)
        await proxy(request, forged.receive, forged.send)
        await asyncio.sleep(0.05)
        is_over = task.done()
        honest.left.set()
        await asyncio.wait_for(task, 5)
        return is_over

    assert asyncio.run(run()) is False


def test_the_first_message_wakes_the_other_nodes() -> None:
    """Nodes share one rate of asking, and all ask at once when the first of them gets a message."""

    async def run() -> float:
        released = False

        def hook(_: httpx.Request) -> tuple[int, bytes] | None:
            return (200, b"message") if released else None

        upstream = Upstream([(200, NO_MESSAGE)], hook=hook)
        # Alone, the slow nodes would ask every 10 s.
        proxy = make_proxy(upstream, hold_seconds=30.0, repeat_seconds=10.0, max_repeat_seconds=10.0)
        connections = [Connection([b""]) for _ in range(4)]
        tasks = [
            asyncio.create_task(
                proxy(scope(PULL, headers=[(b"flwr-public-key", bytes([i]))]), c.receive, c.send)
            )
            for i, c in enumerate(connections)
        ]
        await upstream.reach(4)
        released = True
        started = asyncio.get_running_loop().time()
        newest = Connection([b""])
        await proxy(scope(PULL, headers=[(b"flwr-public-key", b"new")]), newest.receive, newest.send)
        await asyncio.wait_for(asyncio.gather(*tasks), 5)
        assert all(connection.answer[1] == b"message" for connection in connections)
        return asyncio.get_running_loop().time() - started

    assert asyncio.run(run()) < 2
