"""At most so many attempts of somebody in a time, counted in memory."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from noren_core.errors import LocalProtocolError

_MAX_KEYS = 10_000


class RateLimit:
    """A sliding window for every key: an account, or an address."""

    def __init__(self, *, most: int, seconds: int, clock: Callable[[], int]) -> None:
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._times: dict[str, deque[int]] = {}

    def count(self, key: str) -> None:
        """Count one attempt.

        Raises:
            LocalProtocolError: with code TOO_MANY_REQUESTS, if it is one too many.
        """
        now = self._clock()
        with self._lock:
            if len(self._times) >= _MAX_KEYS:
                self._times = {k: t for k, t in self._times.items() if t[-1] > now - self._seconds}
                if len(self._times) >= _MAX_KEYS:  # everybody is recent: somebody invents keys
                    raise self._too_many()
            times = self._times.setdefault(key, deque(maxlen=self._most))
            if len(times) == self._most and times[0] > now - self._seconds:
                raise self._too_many()
            times.append(now)

    def _too_many(self) -> LocalProtocolError:
        return LocalProtocolError(
            f"expected at most {self._most} attempts in {self._seconds} seconds, got more",
            code="TOO_MANY_REQUESTS",
        )
