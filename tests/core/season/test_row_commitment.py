"""What a company says about its rows before it trains."""

import hashlib
import hmac
import json
import re
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from noren_core.crypto.merkle import EMPTY_ROOT
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import DataError
from noren_core.season.row_commitment import TrainingRow, rows_root, sums_root

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "noise_v1.json").read_text())
SALT = SecretBytes(bytes.fromhex(VECTORS["row_salt"]))
ROWS = [TrainingRow(bytes.fromhex(row["tag"]), tuple(row["row"]), row["label"]) for row in VECTORS["rows"]]


@pytest.mark.parametrize("count", range(6))
def test_the_root_is_the_documents(count):
    """docs/protocol.md §4.2.1, as the second client reads it."""
    assert rows_root(ROWS[:count], SALT).hex() == VECTORS["roots"][count]


def test_nobody_sees_that_a_company_has_no_rows():
    """A platform that garbled all but one student's row would learn whether she applied there."""
    roots = {rows_root([], SecretBytes(bytes([number]) * 32)) for number in range(3)}
    assert len(roots | {EMPTY_ROOT}) == 4


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
    """Its repr names the class and the place in memory, nothing of what it holds."""
    assert re.fullmatch(r"<[\w.]+\.TrainingRow object at 0x[0-9a-f]+>", repr(ROWS[2]))


def test_sums_are_committed_to_as_one_salted_leaf():
    """Written out: SHA-256 of zero and the HMAC under the salt of label and little-endian integers."""
    data = b"noren/v1/opened-sums\0" + struct.pack("<3q", -3, 0, 2**40)
    leaf = hmac.digest(SALT.reveal(), data, "sha256")
    assert sums_root([-3, 0, 2**40], SALT) == hashlib.sha256(b"\0" + leaf).digest()
    assert sums_root([-3, 0, 2**40], SALT) != sums_root([-3, 1, 2**40], SALT)


def test_sums_beyond_64_bits_or_another_salt_are_refused():
    with pytest.raises(DataError):
        sums_root([2**63], SALT)
    with pytest.raises(DataError):
        sums_root([1], SecretBytes(bytes(31)))
