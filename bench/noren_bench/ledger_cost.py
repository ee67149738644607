"""The ledger: appending with the disk's word for every batch, exporting the tree of tiles, reading it back.

Wall time, since what appending waits for is the disk; the floor is writing and syncing the same bytes to a
plain file in the same batches.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from itertools import count
from pathlib import Path

from noren_audit.verification.bundle import read_bundle
from noren_audit.verification.findings import Findings
from noren_bench.measurement import Goal, Row, least_in_turn, wall_seconds
from noren_core.crypto.identity import SigningKey
from noren_core.ledger.entries import PLATFORM, countersign, sign_entry
from noren_server.ledger_service import LedgerService
from noren_server.ledger_store import LedgerStore

_ENTRIES, _BATCH, _SINGLE, _SERVED = 10_000, 100, 300, 300
_LOG_KEY, _PLATFORM_KEY = SigningKey.generate(), SigningKey.generate()
_FEWEST_APPENDS = 1_000.0


def row() -> Row:
    """Appending in batches of 100; one by one, through the service, export and reading as details."""
    entries = [_entry(number) for number in range(_ENTRIES)]
    names = map(str, count())
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        ours, floor = least_in_turn(
            lambda: _append(root / next(names), entries, _BATCH),
            lambda: _write(root / next(names), entries, _BATCH),
        )
        single = _append(root / next(names), entries[:_SINGLE], 1)
        served = _serve(root / next(names))
        exporting, reading = _export_and_read(root / next(names), entries)
    return Row(
        work="append a ledger entry",
        unit="µs",
        ours=ours * 1e6,
        floor=floor * 1e6,
        floor_is=f"write and fsync the same bytes, {_BATCH} entries at a time",
        goals=(Goal("appends per second, fsync per batch", 1 / ours, _FEWEST_APPENDS, is_maximum=False),),
        details={
            "appends_per_second_one_by_one": 1 / single,
            "appends_per_second_verified_and_countersigned_one_by_one": 1 / served,
            "export_us_per_entry": exporting * 1e6,
            "read_and_hash_us_per_entry": reading * 1e6,
        },
    )


def _entry(number: int) -> bytes:
    body = {"campaign": "bench", "round": number + 1, "reason": "TOO_FEW"}
    return countersign(sign_entry("round-failed", PLATFORM, body, _PLATFORM_KEY), _PLATFORM_KEY)


def _open(path: Path) -> LedgerStore:
    return LedgerStore(path, origin="bench/ledger", log_key=_LOG_KEY)


def _append(path: Path, entries: Sequence[bytes], batch: int) -> float:
    """Wall seconds for each entry."""
    with _open(path) as store:
        return _each(len(entries), lambda: _in_batches(entries, batch, store.append_many))


def _write(path: Path, entries: Sequence[bytes], batch: int) -> float:
    """Wall seconds for each entry in a plain file."""
    with closing(path.open("xb", buffering=0)) as file:

        def write(part: Sequence[bytes]) -> None:
            file.write(b"".join(part))
            os.fsync(file.fileno())

        return _each(len(entries), lambda: _in_batches(entries, batch, write))


def _serve(path: Path) -> float:
    """Wall seconds for each entry of the platform's own, with signatures and keys checked."""
    with _open(path) as store:
        service = LedgerService(store, _PLATFORM_KEY)
        bodies = [{"campaign": f"c{n}", "round": 1, "reason": "TOO_FEW"} for n in range(_SERVED)]

        def append() -> None:
            for body in bodies:
                service.append_platform_entry("round-failed", body)

        return _each(_SERVED, append)


def _export_and_read(path: Path, entries: Sequence[bytes]) -> tuple[float, float]:
    """Wall seconds for each entry: to write the bundle durably, and to read and hash it again."""
    bundle = path.with_suffix(".bundle")
    with _open(path) as store:
        store.append_many(entries)
        exporting = _each(len(entries), partial(store.export, bundle))

    def read() -> None:
        found = read_bundle(bundle, Findings())
        for _ in found.entries():
            pass
        found.verify_tiles()

    return exporting, _each(len(entries), read)


def _in_batches(entries: Sequence[bytes], batch: int, take: Callable[[Sequence[bytes]], object]) -> None:
    for first in range(0, len(entries), batch):
        take(entries[first : first + batch])


def _each(count: int, work: Callable[[], object]) -> float:
    return wall_seconds(work) / count
