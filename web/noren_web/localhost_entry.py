"""The one-time link to pages on this very machine: whoever did not get it from the terminal is not let in.

Promises: a link works once, for `VALID_SECONDS`; another link can be made while the program runs; only the
hash of its token is kept.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable

from noren_core.errors import VerificationError

VALID_SECONDS = 300
ENTRY_PATH = "/enter"


class OneTimeEntry:
    """The links of one site."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._valid: dict[bytes, int] = {}

    def new_path(self) -> str:
        """Path and query of a new link."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._valid = {key: until for key, until in self._valid.items() if until > self._clock()}
            self._valid[_digest(token)] = self._clock() + VALID_SECONDS
        return f"{ENTRY_PATH}?token={token}"

    def use_up(self, token: str) -> None:
        """Take a token.

        Raises:
            VerificationError: with code ENTRY_REFUSED, if it was used, is too old, or never was one.
        """
        with self._lock:
            until = self._valid.pop(_digest(token), 0)
        if until <= self._clock():
            raise VerificationError(
                "entry: expected the link that the program printed, fresh and used once", code="ENTRY_REFUSED"
            )


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()
