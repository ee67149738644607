"""How many bytes each company and the platform exchange, for operators and for the leakage contract.

Counted are application bytes, without TLS and HTTP framing, in two places: the company service and the
fleet proxy. Sizes say how often a company is asked something, which the platform knows anyway.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from noren_core import canonical_json
from noren_core.errors import DataError
from noren_local.private_file import write_private

SERVICE_FILE = "traffic-service.json"
FLEET_FILE = "traffic-fleet.json"
_WRITE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes as seen from the company, and when the last of them went (Unix seconds; 0: never)."""

    sent: int
    received: int
    last_at: int = 0


class TrafficMeter:
    """Counts by name and keeps the counts in a file, written at most once a second and when closed."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._clock = clock
        self._now = now
        self._lock = threading.Lock()
        self._counts: dict[str, list[int]] = {}
        self._written = clock()

    def add(self, name: str, *, sent: int, received: int) -> None:
        """Count one exchange: bytes that `name` sent, and that it received."""
        with self._lock:
            counts = self._counts.setdefault(name, [0, 0, 0])
            counts[0] += sent
            counts[1] += received
            counts[2] = int(self._now())
            if self._clock() - self._written >= _WRITE_SECONDS:
                self._write()

    def close(self) -> None:
        """Write what has been counted."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        write_private(self._path, canonical_json.encode(self._counts))
        self._written = self._clock()


def read_counts(path: Path) -> dict[str, Traffic]:
    """What a meter wrote; empty if it has not written yet, DataError if the file is damaged."""
    if not path.exists():
        return {}
    counts = canonical_json.parse_object(path.read_bytes())
    if not all(isinstance(item, list) and list(map(type, item)) == [int] * 3 for item in counts.values()):
        raise DataError(f"{path.name}: expected three numbers for each name, got something else")
    return {name: Traffic(*item) for name, item in counts.items()}


def company_traffic(run_dir: Path, node_keys: Mapping[str, bytes]) -> dict[str, Traffic]:
    """Traffic of every company, from both places; `node_keys` are PEM by company."""
    service, fleet = read_counts(run_dir / SERVICE_FILE), read_counts(run_dir / FLEET_FILE)
    nothing = Traffic(0, 0)
    return {
        company: Traffic(a.sent + b.sent, a.received + b.received, max(a.last_at, b.last_at))
        for company, pem in sorted(node_keys.items())
        for a, b in [(service.get(company, nothing), fleet.get(node_name(pem), nothing))]
    }


def node_name(pem: bytes) -> str:
    """How the fleet proxy names a node: a hash of its public key in PEM."""
    return hashlib.sha256(pem).hexdigest()
