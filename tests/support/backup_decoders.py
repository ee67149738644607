"""Decoders of backups and what is kept of them, for `decoders.DECODERS`: the fields of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hostile_input as shapes

from noren_core.crypto.identity import SigningKey
from noren_core.ledger.checkpoint import sign_checkpoint
from noren_core.ledger.tiles import encode_bundle, entry_bundles
from noren_server.backup import history, newer_ledger
from noren_server.backup.sealed_backup import Manifest, SavedFile

_ENTRIES = [b"one", b"two", b"three"]
_SAVED = SavedFile("keys/platform.key", 32, bytes(32), 0, 1)


def _calls(function: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda value, _: function(value)


def _history(place: Any) -> list[bytes]:
    history.add_backup(place.directory, history.MadeBackup(1, "/backups/monday", 3, 4, 5))
    history.add_test(place.directory, history.RestoreTest(2, "/backups/monday", 1, history.PASSED))
    return [(place.directory / history.FILE).read_bytes()]


def _read_history(data: bytes, place: Any) -> Any:
    (place.directory / history.FILE).write_bytes(data)
    return history.read_history(place.directory)


def _checkpoint(place: Any) -> list[bytes]:
    """Of three entries, which lie where it says."""
    (bundle,) = entry_bundles(len(_ENTRIES))
    path = place.directory / bundle.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_bundle(_ENTRIES))
    return [sign_checkpoint("job-site/ledger", len(_ENTRIES), bytes(32), SigningKey.generate())]


def _read_bundle(data: bytes, place: Any) -> Any:
    (place.directory / "checkpoint").write_bytes(data)
    return newer_ledger.read_bundle(place.directory)


FIELDS: tuple[dict[str, Any], ...] = (
    {
        "name": "noren_server.backup.sealed_backup.Manifest.from_bytes",
        "shape": shapes.JsonBytes(),
        "valid": lambda _: [Manifest(1, "job-site/ledger", 3, bytes(32), (_SAVED,)).to_bytes()],
        "decode": _calls(Manifest.from_bytes),
        "encode": Manifest.to_bytes,
    },
    {
        "name": "noren_server.backup.history.read_history",
        "shape": shapes.JsonBytes(),
        "valid": _history,
        "decode": _read_history,
    },
    {
        "name": "noren_server.backup.newer_ledger.read_bundle",
        "shape": shapes.Bytes(),
        "valid": _checkpoint,
        "decode": _read_bundle,
    },
)
"""Keyword arguments of `decoders.Decoder`."""

EXEMPT = {
    "noren_server.backup.sealed_backup.SavedFile.from_body": "part of Manifest.from_bytes",
    "noren_server.backup.creating.verify_database": "SQLite reads it; what it refuses is BACKUP_DAMAGED",
}
"""Public functions with a decoder's name that need no fuzzing, and why."""
