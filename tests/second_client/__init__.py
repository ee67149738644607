"""A second company client, written from docs/protocol.md and protos/ alone.

It shares no line with our own client and nothing of `noren_core` but the generated message classes, so what
it and the platform agree on is what the document says. It is for tests: plain integers, no constant time, no
files. A company that wants its own client can start here.
"""

from __future__ import annotations


class RefusedError(Exception):
    """The other side, or what it sent, broke the protocol."""


def expect(condition: object, what: str) -> None:
    """Raises `RefusedError` with `what` unless `condition` holds."""
    if not condition:
        raise RefusedError(what)
