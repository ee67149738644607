"""C2SP tlog-tiles: the ledger as static files that any web server can serve and any tool can read.

    checkpoint                      the signed checkpoint
    tile/<L>/<N>[.p/<W>]            hash tiles: up to 256 hashes of complete subtrees of 256^L entries
    tile/entries/<N>[.p/<W>]        entry bundles: up to 256 entries, each after its length in 16 bits

N is written in groups of three digits (1234067 is x001/x234/067), and W is the width of a tile at the right
edge that is not full. Which files there are follows from the ledger's size alone; tiles are cut out of a
`MerkleTree` (https://c2sp.org/tlog-tiles). Nothing here reads or writes files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from noren_core.crypto.merkle import MerkleTree
from noren_core.errors import DataError
from noren_core.ledger.entries import MAX_ENTRY_BYTES

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
CHECKPOINT_PATH = "checkpoint"
MAX_BUNDLE_BYTES = TILE_WIDTH * (2 + MAX_ENTRY_BYTES)


@dataclass(frozen=True, slots=True)
class HashTile:
    """The tile number `index` of its level, `width` hashes wide."""

    level: int
    index: int
    width: int

    @property
    def path(self) -> str:
        """Where it lies, relative to the ledger's directory."""
        return f"tile/{self.level}/{_numbered(self.index, self.width)}"

    def cut_from(self, tree: MerkleTree) -> bytes:
        """The tile's hashes, one after the other; DataError if the tree is too small for it."""
        first = self.index * TILE_WIDTH
        return b"".join(tree.subtree_hashes(TILE_HEIGHT * self.level, first, first + self.width))


@dataclass(frozen=True, slots=True)
class EntryBundle:
    """The entries from `256 * index` on, `width` of them."""

    index: int
    width: int

    @property
    def path(self) -> str:
        """Where it lies, relative to the ledger's directory."""
        return f"tile/entries/{_numbered(self.index, self.width)}"

    @property
    def first(self) -> int:
        """The index of its first entry in the ledger."""
        return self.index * TILE_WIDTH


def hash_tiles(size: int) -> Iterator[HashTile]:
    """Every hash tile of a ledger of `size` entries, level by level."""
    level, count = 0, size
    while count:
        for index, width in _widths(count):
            yield HashTile(level, index, width)
        level, count = level + 1, count // TILE_WIDTH


def entry_bundles(size: int) -> Iterator[EntryBundle]:
    """Every entry bundle of a ledger of `size` entries, in order."""
    for index, width in _widths(size):
        yield EntryBundle(index, width)


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """1 to 256 entries, each after its length as two bytes; DataError for others, or for a longer entry."""
    if not 0 < len(entries) <= TILE_WIDTH or any(len(entry) > MAX_ENTRY_BYTES for entry in entries):
        raise DataError(
            f"entry bundle: expected 1 to {TILE_WIDTH} entries of at most {MAX_ENTRY_BYTES} bytes each"
        )
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def parse_bundle(data: bytes, width: int) -> list[bytes]:
    """The `width` entries in `data`; DataError unless the lengths add up to exactly all of it."""
    entries, place = [], 0
    for _ in range(width):
        start = place + 2
        place = start + int.from_bytes(data[place:start], "big")
        if place > len(data):
            raise DataError(f"entry bundle: expected {width} entries, got fewer")
        entries.append(data[start:place])
    if place < len(data):
        raise DataError(f"entry bundle: expected {width} entries and nothing behind them")
    return entries


def _widths(count: int) -> Iterator[tuple[int, int]]:
    """Index and width of the tiles that hold `count` things."""
    full, rest = divmod(count, TILE_WIDTH)
    for index in range(full):
        yield index, TILE_WIDTH
    if rest:
        yield full, rest


def _numbered(index: int, width: int) -> str:
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[place : place + 3] for place in range(0, len(digits), 3)]
    path = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
    return path if width == TILE_WIDTH else f"{path}.p/{width}"
