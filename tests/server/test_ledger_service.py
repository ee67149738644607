"""Several entries of the platform at once: as one by one, but synced once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from noren_core.crypto.identity import SigningKey
from noren_core.errors import DataError
from noren_core.ledger.entries import EntryKind
from noren_server.ledger_service import LedgerService
from noren_server.ledger_store import LedgerStore

PLATFORM_KEY = SigningKey.from_bytes(bytes([2] * 32))
LOG_KEY = SigningKey.from_bytes(bytes([1] * 32))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LedgerStore]:
    with LedgerStore(tmp_path / "ledger.db", origin="noren.example/log", log_key=LOG_KEY) as opened:
        yield opened


def failed(number: int) -> dict[str, object]:
    """The body of an entry, a distinct one for every number."""
    return {"campaign": "autumn", "round": number + 1, "reason": "TOO_FEW"}


def test_several_entries_are_committed_at_once(store: LedgerStore) -> None:
    """One commit; who is in the ledger already keeps its place, and nobody stands there twice."""
    service, statements = LedgerService(store, PLATFORM_KEY), []
    assert service.append_platform_entry(EntryKind.ROUND_FAILED, failed(0)) == 0
    store._db.set_trace_callback(statements.append)
    found = service.append_platform_entries(EntryKind.ROUND_FAILED, map(failed, (1, 0, 2, 3, 2)))
    assert found == [1, 0, 2, 3, 2]
    assert statements.count("COMMIT") == 1
    assert service.append_platform_entries(EntryKind.ROUND_FAILED, map(failed, range(4))) == [0, 1, 2, 3]
    assert service.append_platform_entries(EntryKind.ROUND_FAILED, []) == []
    assert [stored.entry.body for stored in store.entries()] == [failed(number) for number in range(4)]


def test_all_or_none_are_appended(store: LedgerStore) -> None:
    """One that is refused keeps the others out."""
    service = LedgerService(store, PLATFORM_KEY)
    with pytest.raises(DataError):
        service.append_platform_entries(EntryKind.ROUND_FAILED, [failed(0), {"campaign": "autumn"}])
    assert store.size == 0
