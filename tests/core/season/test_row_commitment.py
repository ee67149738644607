"""What a company says about its rows before it trains."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from noren_core.crypto.merkle import EMPTY_ROOT
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import DataError
from noren_core.season.row_commitment import TrainingRow, rows_root

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "noise_v1.json").read_text())
SALT = SecretBytes(bytes.fromhex(VECTORS["row_salt"]))
ROWS = [TrainingRow(bytes.fromhex(row["tag"]), tuple(row["row"]), row["label"]) for row in VECTORS["rows"]]


@pytest.mark.parametrize("count", range(6))
def test_the_root_is_the_documents(count):
    """docs/protocol.md §4.2.1, as the second client reads it; of no rows, the empty tree's."""
    assert rows_root(ROWS[:count], SALT).hex() == VECTORS["roots"][count]
    assert (rows_root(ROWS[:count], SALT) == EMPTY_ROOT) is (count == 0)


@pytest.mark.parametrize(
    "change",
    [
        {"tag": b"\x02" * 15 + b"\x03"},
        {"coordinates": (2, -2, 600, -32765)},
        {"label": 1},
    ],
)
def test_every_part_of_a_row_counts(change):
    """Another tag, coordinate or label gives another root, as does another salt."""
    changed = [*ROWS[:2], replace(ROWS[2], **change), *ROWS[3:]]
    assert rows_root(changed, SALT) != rows_root(ROWS, SALT)
    assert rows_root(ROWS, SecretBytes(bytes(32))) != rows_root(ROWS, SALT)


@pytest.mark.parametrize(
    "rows",
    [
        [ROWS[1], ROWS[0]],
        [ROWS[0], ROWS[0]],
        [ROWS[0], replace(ROWS[0], label=1)],
        [ROWS[0], replace(ROWS[1], coordinates=(1, 2, 3))],
        [replace(ROWS[0], tag=bytes(15))],
        [replace(ROWS[0], tag=bytes(17))],
        [replace(ROWS[0], label=2)],
        [replace(ROWS[0], coordinates=(1 << 15, 0, 0, 0))],
        [replace(ROWS[0], coordinates=(-(1 << 15) - 1, 0, 0, 0))],
    ],
    ids=["order", "twice", "tag twice", "lengths", "short tag", "long tag", "label", "above", "below"],
)
def test_rows_that_could_hide_something_are_refused(rows):
    """A row twice, under one tag or out of order, or one that has no encoding."""
    with pytest.raises(DataError):
        rows_root(rows, SALT)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_salt_has_32_bytes(length):
    """A shorter one could be guessed."""
    with pytest.raises(DataError, match="32 bytes"):
        rows_root(ROWS, SecretBytes(bytes(length)))


def test_a_row_does_not_show():
    """Its repr has neither coordinates nor label."""
    assert "600" not in repr(ROWS[2])
    assert "600" not in repr([ROWS[2]])
