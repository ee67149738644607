"""Exported ledgers for tests: written as the platform writes them, and taken apart again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from noren_core.crypto.merkle import MerkleTree, leaf_hash
from noren_core.ledger.tiles import entry_bundles, hash_tiles, parse_bundle


def write_bundle(directory: Path, checkpoint: bytes, entries: Sequence[bytes]) -> Path:
    """The tree of files over any entries, whatever the checkpoint says about them."""
    tree = MerkleTree([leaf_hash(entry) for entry in entries])
    _write(directory / "checkpoint", checkpoint)
    for bundle in entry_bundles(len(entries)):
        rows = entries[bundle.first : bundle.first + bundle.width]
        _write(directory / bundle.path, b"".join(len(row).to_bytes(2, "big") + row for row in rows))
    for tile in hash_tiles(len(entries)):
        _write(directory / tile.path, tile.cut_from(tree))
    return directory


def read_entries(directory: Path, size: int) -> list[bytes]:
    """The entries of a sound bundle."""
    entries: list[bytes] = []
    for bundle in entry_bundles(size):
        entries += parse_bundle((directory / bundle.path).read_bytes(), bundle.width)
    return entries


def files(directory: Path) -> list[str]:
    """Every file of a bundle, by relative path."""
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir())


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
