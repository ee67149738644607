"""Whatever request line and headers reach the fleet proxy, it answers; only what is allowed goes upstream."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import hostile_input as shapes
import httpx
from fuzzing import try_out
from hypothesis import strategies as st

from noren_server.fleet_proxy import ALLOWED_PATHS, FleetProxy, FleetProxySettings

FORWARDED = {"accept", "content-type", "flwr-public-key", "flwr-signature", "flwr-timestamp"}
ADDED_BY_HTTPX = {"host", "accept", "accept-encoding", "connection", "user-agent", "content-length"}
HEADERS = (
    (b"content-length", b"3"),
    (b"content-type", b"application/protobuf"),
    (b"flwr-public-key", b"LS0tLS1CRUdJTg=="),
    (b"flwr-signature", b"AAAA"),
    (b"flwr-timestamp", b"2026-01-01T00:00:00"),
)
LENGTHS = (b"", b"-1", b"+1", b"1e3", b"0x10", b"1" * 5000, b"9" * 19, b"1, 1", b"\xb2", b" 1")

paths = st.sampled_from(sorted(ALLOWED_PATHS)) | shapes.changed_bytes(sorted(ALLOWED_PATHS))
headers = st.lists(
    st.sampled_from(HEADERS)
    | st.tuples(st.just(b"content-length"), st.sampled_from(LENGTHS))
    | st.tuples(st.just(b"flwr-public-key"), shapes.changed_bytes([b"LS0tLS1CRUdJTg=="]))
    | st.tuples(st.sampled_from((b"cookie", b"host", b"x-forwarded-for", b"")), st.binary(max_size=20)),
    max_size=6,
)
bodies = st.lists(st.binary(max_size=40), max_size=4)


async def _asked(
    scope: dict[str, Any], chunks: list[bytes], traffic_file: Path
) -> tuple[list[Any], list[Any]]:
    """What the proxy sent back, and what it asked upstream."""
    asked: list[httpx.Request] = []
    sent: list[dict[str, Any]] = []
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> dict[str, Any]:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    def upstream(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, content=b"answer")

    settings = FleetProxySettings(
        host="127.0.0.1",
        port=1,
        certificate=Path("unused"),
        private_key=Path("unused"),
        upstream_address="127.0.0.1:2",
        upstream_root_certificates=Path("unused"),
        max_body_bytes=100,
        traffic_file=traffic_file,
    )
    transport = httpx.MockTransport(upstream)
    async with httpx.AsyncClient(transport=transport, base_url="https://upstream") as client:
        await FleetProxy(settings, client)(scope, receive, send)
    return sent, asked


def test_any_request_is_answered_and_only_allowed_ones_go_on(tmp_path: Path) -> None:
    """One response to each; upstream sees constant paths, listed headers and bounded bodies."""

    def ask(
        path: bytes, method: str, query: bytes, fields: list[tuple[bytes, bytes]], chunks: list[bytes]
    ) -> None:
        scope = {"type": "http", "raw_path": path, "method": method, "query_string": query, "headers": fields}
        sent, asked = asyncio.run(_asked(scope, list(chunks), tmp_path / "traffic.json"))
        assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
        for request in asked:
            assert request.url.path == ALLOWED_PATHS[path]
            assert method == "POST"
            assert not query
            assert set(request.headers) <= FORWARDED | ADDED_BY_HTTPX
            assert len(request.content) == sum(map(len, chunks)) <= 100

    for length in LENGTHS:
        ask(min(ALLOWED_PATHS), "POST", b"", [(b"content-length", length)], [b"abc"])
    try_out(
        ask,
        150,
        path=paths,
        method=st.sampled_from(("POST", "GET", "post")),
        query=st.sampled_from((b"", b"a=b")),
        fields=headers,
        chunks=bodies,
    )
