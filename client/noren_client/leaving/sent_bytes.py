"""How much of each kind of message this machine sent, and when last: `traffic.json`.

Counted are the bytes of messages, without the framing of gRPC, HTTP and TLS, as the platform counts them too.
Kept are the kind, a total, a number of messages and a time: no campaign, no person, no content. What cannot
be counted is sent all the same; a kind that nobody declared is counted under its own name, so that it shows.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from noren_core import canonical_json
from noren_core.errors import NorenError

FILE_NAME = "traffic.json"
_FORMAT = "noren/v1/traffic"
_LOG = logging.getLogger(__name__)
_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True)
class Sent:
    """What went out of one kind since counting began."""

    messages: int
    size_bytes: int
    last_at: int


def note_sent(company_dir: Path, kind: str, size_bytes: int, *, messages: int = 1) -> None:
    """Add to a kind's total, now."""
    try:
        with _LOCK, _locked(company_dir):
            totals = dict(sent(company_dir))
            before = totals.get(kind, Sent(0, 0, 0))
            totals[kind] = Sent(before.messages + messages, before.size_bytes + size_bytes, int(time.time()))
            _write(company_dir / FILE_NAME, totals)
    except OSError as error:
        _LOG.warning("what was sent could not be counted: %s", type(error).__name__)


def sent(company_dir: Path) -> Mapping[str, Sent]:
    """The totals by kind; nothing before the first message, or if the file was damaged."""
    try:
        body = canonical_json.parse_object((company_dir / FILE_NAME).read_bytes())
        return {
            kind: Sent(int(item["messages"]), int(item["bytes"]), int(item["last_at"]))
            for kind, item in body["sent"].items()
        }
    except (OSError, NorenError, KeyError, TypeError, ValueError, AttributeError):
        return {}


def _write(path: Path, totals: Mapping[str, Sent]) -> None:
    """Whole, but without waiting for the disk: a count is not worth a delay of every call."""
    body = {
        kind: {"messages": item.messages, "bytes": item.size_bytes, "last_at": item.last_at}
        for kind, item in totals.items()
    }
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(canonical_json.encode({"format": _FORMAT, "sent": body}))
    temporary.replace(path)


@contextmanager
def _locked(company_dir: Path) -> Iterator[None]:
    descriptor = os.open(company_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
