"""Tiles: the published layout, every small ledger against RFC 6962's definition, and exact framing."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noren_core.crypto.merkle import MerkleTree, root_hash
from noren_core.errors import DataError
from noren_core.ledger.tiles import (
    MAX_BUNDLE_BYTES,
    EntryBundle,
    HashTile,
    encode_bundle,
    entry_bundles,
    hash_tiles,
    parse_bundle,
)

LEAVES = [hashlib.sha256(b"%d" % number).digest() for number in range(66_000)]


@pytest.mark.parametrize(
    ("index", "path"),
    [
        (0, "000"),
        (7, "007"),
        (999, "999"),
        (1000, "x001/000"),
        (1_234_067, "x001/x234/067"),  # the example of the specification
        (10**9, "x001/x000/x000/000"),
    ],
)
def test_numbers_are_written_in_groups_of_three(index: int, path: str) -> None:
    """As https://c2sp.org/tlog-tiles shows it, for both kinds of files, full and partial."""
    assert HashTile(3, index, 256).path == f"tile/3/{path}"
    assert HashTile(3, index, 17).path == f"tile/3/{path}.p/17"
    assert EntryBundle(index, 256).path == f"tile/entries/{path}"
    assert EntryBundle(index, 255).path == f"tile/entries/{path}.p/255"


def test_the_files_of_seventy_thousand_entries() -> None:
    """The example of the specification: 273 and 1 on level 0, 1 and 1 on level 1, 1 on level 2."""
    tiles = [(tile.level, tile.index, tile.width) for tile in hash_tiles(70_000)]
    assert tiles[:273] == [(0, index, 256) for index in range(273)]
    assert tiles[273:] == [(0, 273, 112), (1, 0, 256), (1, 1, 17), (2, 0, 1)]
    assert [(tile.level, tile.index, tile.width) for tile in hash_tiles(256)] == [(0, 0, 256), (1, 0, 1)]
    assert [item.width for item in entry_bundles(70_000)] == [256] * 273 + [112]
    assert [item.first for item in entry_bundles(70_000)] == list(range(0, 70_000, 256))
    assert list(hash_tiles(0)) == list(entry_bundles(0)) == []


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 512, 65_536, 65_537])
def test_tiles_hold_the_hashes_of_the_definition(size: int) -> None:
    """Hash i of tile n on level l is the root over entries (256 n + i) 256^l and the 256^l - 1 after it."""
    tree = MerkleTree(LEAVES[:size])
    for tile in hash_tiles(size):
        span = 256**tile.level
        data = tile.cut_from(tree)
        assert len(data) == 32 * tile.width
        for place in {0, tile.width // 2, tile.width - 1}:
            first = (tile.index * 256 + place) * span
            assert data[32 * place :][:32] == root_hash(LEAVES[first : first + span])


@settings(max_examples=50, deadline=None)
@given(size=st.integers(1, 1100), growth=st.integers(0, 1100))
def test_full_tiles_never_change(size: int, growth: int) -> None:
    """A tile of a grown ledger begins with what it held before."""
    before, after = MerkleTree(LEAVES[:size]), MerkleTree(LEAVES[: size + growth])
    grown = {(tile.level, tile.index): tile.cut_from(after) for tile in hash_tiles(size + growth)}
    for tile in hash_tiles(size):
        assert grown[tile.level, tile.index].startswith(tile.cut_from(before))


def test_a_tile_beyond_the_tree_is_refused() -> None:
    """Nothing is invented: not a hash more than there are complete subtrees."""
    tree = MerkleTree(LEAVES[:300])
    for tile in (HashTile(0, 1, 45), HashTile(1, 0, 2), HashTile(2, 0, 1), HashTile(9, 0, 1)):
        with pytest.raises(DataError):
            tile.cut_from(tree)


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_entries_come_back_from_a_bundle(entries: list[bytes]) -> None:
    """Each entry after its length in two bytes; for another width the same bytes are refused."""
    data = encode_bundle(entries)
    assert parse_bundle(data, len(entries)) == entries
    for changed, width in ((data[:-1], len(entries)), (data + b"\0", len(entries)), (data, len(entries) + 1)):
        with pytest.raises(DataError):
            parse_bundle(changed, width)
    with pytest.raises(DataError):
        parse_bundle(data, len(entries) - 1)


def test_what_a_bundle_cannot_hold_is_refused() -> None:
    """No entries, more than 256, or one whose length does not fit 16 bits; the longest one does."""
    assert encode_bundle([bytes(65_535)])[:2] == b"\xff\xff"
    assert len(encode_bundle([bytes(65_535)] * 256)) == MAX_BUNDLE_BYTES
    for entries in ([], [b""] * 257, [bytes(65_536)]):
        with pytest.raises(DataError):
            encode_bundle(entries)
