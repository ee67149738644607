"""Of whom there are behaviour logs: what a student's report says about them.

Promises: the answer is that of the logs that were ingested last; they are read through once for each ingest,
one column, some thousands of rows in memory at a time, whatever is asked how often. In memory are eight bytes
for each student and no name; nothing is written.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from noren_core.errors import ConfigurationError

_BATCH_ROWS = 1 << 18
_DIGEST_BYTES = 8

Digests = npt.NDArray[np.uint64]
_Stamp = tuple[int, int]


class LoggedStudents:
    """Whether the logs in a platform's directory are about somebody; safe for many threads."""

    def __init__(self, logs: Path) -> None:
        """Look into the directory that `behaviour_data.ingest` fills, now and whenever it was filled anew."""
        self._events = logs / "events"
        self._lock = threading.Lock()
        self._stamp: _Stamp | None = None
        self._digests: Digests = np.empty(0, dtype=np.uint64)

    def has(self, student: str) -> bool:
        """Whether there is an event of this student.

        Raises:
            ConfigurationError: if the logs cannot be read: then nobody can say.
        """
        with self._lock:
            stamp = self._newest()
            if stamp != self._stamp:
                self._digests = np.empty(0, dtype=np.uint64) if stamp is None else self._read()
                self._stamp = stamp
            wanted = _digest(student)
            place = int(np.searchsorted(self._digests, wanted))
            return place < self._digests.size and bool(self._digests[place] == wanted)

    def _newest(self) -> _Stamp | None:
        """What tells one ingest from another: each makes a directory of its own."""
        try:
            status = self._events.stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns

    def _read(self) -> Digests:
        try:
            batches = [_digests(names) for names in _names(self._events)]
        except (pa.ArrowException, OSError) as error:
            raise ConfigurationError("behaviour logs: expected readable files, got others") from error
        return np.unique(np.concatenate([np.empty(0, dtype=np.uint64), *batches]))


def _names(events: Path) -> Iterator[list[str]]:
    """The students of each batch of rows, each once."""
    for path in sorted(events.glob("*.parquet")):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=["student"]):
                yield pc.unique(batch["student"]).to_pylist()


def _digests(names: list[str]) -> Digests:
    return np.fromiter(map(_digest, names), dtype=np.uint64, count=len(names))


def _digest(student: str) -> np.uint64:
    digest = hashlib.blake2b(student.encode(), digest_size=_DIGEST_BYTES).digest()
    return np.uint64(int.from_bytes(digest, "big"))
