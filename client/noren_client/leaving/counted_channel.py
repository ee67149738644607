"""A gRPC channel that counts what is sent through it, by kind of message."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import grpc

from noren_client.leaving.sent_bytes import note_sent


class _Sized(Protocol):
    def ByteSize(self) -> int: ...  # noqa: N802 (protobuf's name)


def counted(channel: grpc.Channel, company_dir: Path) -> grpc.Channel:
    """The same channel, with every request counted as `Service.Method`."""
    return grpc.intercept_channel(channel, _Counting(company_dir))


class _Counting(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
):
    def __init__(self, company_dir: Path) -> None:
        self._company_dir = company_dir

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Count the request."""
        note_sent(self._company_dir, _kind(client_call_details.method), request.ByteSize())
        return continuation(client_call_details, request)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Count the request."""
        return self.intercept_unary_unary(continuation, client_call_details, request)

    def intercept_stream_unary(
        self, continuation: Any, client_call_details: Any, request_iterator: Any
    ) -> Any:
        """Count what of the stream was taken."""
        kind = _kind(client_call_details.method)
        return continuation(client_call_details, self._counted(kind, request_iterator))

    def _counted(self, kind: str, requests: Iterable[_Sized]) -> Iterator[_Sized]:
        size_bytes = 0
        try:
            for request in requests:
                size_bytes += request.ByteSize()
                yield request
        finally:
            note_sent(self._company_dir, kind, size_bytes)


def _kind(method: str | bytes) -> str:
    """`Platform.GetProof` of `/noren_core.wire.v1.Platform/GetProof`."""
    path = method.decode() if isinstance(method, bytes) else method
    service, _, name = path.lstrip("/").partition("/")
    return f"{service.rpartition('.')[2]}.{name}"
