"""Reading a table that arrives in pieces: killed anywhere, kept badly, and still never a wrong row."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from whole_table import SealedTable, seal_table

from noren_client.partial_table import PartialTable
from noren_client.table_reading import _Reading
from noren_core.crypto.sealed_table import TableContext
from noren_core.errors import VerificationError
from noren_core.ids import TableKind

CHUNKS = 7
OUTPUTS = {b"%d" % number: hashlib.sha512(b"output %d" % number).digest() for number in range(24)}
OURS = {name: OUTPUTS[name] for name in list(OUTPUTS)[::3]}
EXPECTED = {name: b"payload " + name.zfill(2) for name in OURS}


def sealed(table_id: bytes) -> SealedTable:
    rows = [(output, b"payload " + name.zfill(2)) for name, output in OUTPUTS.items()]
    context = TableContext(company="aoba", campaign="spring", kind=TableKind.TRAIN, table_id=table_id)
    return seal_table(context, rows, padded_rows=27, payload_bytes=10, chunk_rows=4)


FIRST, REISSUED = sealed(bytes(16)), sealed(b"\1" * 16)


class Company:
    """One directory of a company, whose process may end at any time."""

    def __init__(self, directory: str) -> None:
        self.path = Path(directory) / "table-train.download"

    def begin(self, table: SealedTable) -> _Reading:
        return _Reading(table.manifest, OURS, PartialTable(self.path, table.manifest))

    def read(self, table: SealedTable, chunks: int) -> _Reading:
        """Go on for so many chunks, as a process that was started just now."""
        reading = self.begin(table)
        for index in range(reading.next_index, min(reading.next_index + chunks, CHUNKS)):
            reading.take(index, table.chunks[index], table.chunk_hashes)
        return reading


@pytest.mark.parametrize("first", range(CHUNKS + 1))
@pytest.mark.parametrize("second", range(CHUNKS + 1))
def test_it_goes_on_after_two_kills(tmp_path: Path, first: int, second: int) -> None:
    """Wherever two processes were killed, the third begins where they were and ends with every row."""
    company = Company(str(tmp_path))
    company.read(FIRST, first)
    company.read(FIRST, second)
    assert company.begin(FIRST).next_index == min(first + second, CHUNKS)
    assert company.read(FIRST, CHUNKS).finished().rows == EXPECTED
    assert not company.path.exists()


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_whatever_happens_to_the_kept_file(data: st.DataObject) -> None:
    """Cut, extended, overwritten or another table's between kills: the rows at the end are the right ones."""
    with tempfile.TemporaryDirectory() as directory:
        company = Company(directory)
        for _ in range(data.draw(st.integers(1, 4), label="processes")):
            company.read(data.draw(st.sampled_from([FIRST, REISSUED])), data.draw(st.integers(0, CHUNKS)))
            if company.path.exists() and data.draw(st.booleans(), label="is damaged"):
                kept = company.path.read_bytes()
                place = data.draw(st.integers(0, len(kept)))
                rubbish = data.draw(st.binary(max_size=60))
                rest = kept[place + len(rubbish) :] if data.draw(st.booleans()) else b""
                company.path.write_bytes(kept[:place] + rubbish + rest)
        assert company.read(REISSUED, CHUNKS).finished().rows == EXPECTED


def test_a_part_that_does_not_verify_is_not_kept(tmp_path: Path) -> None:
    """Nothing of a wrong chunk reaches the file, and the right one is taken after it."""
    company = Company(str(tmp_path))
    reading = company.read(FIRST, 3)
    before = company.path.read_bytes()
    with pytest.raises(VerificationError):
        reading.take(3, REISSUED.chunks[3], FIRST.chunk_hashes)
    with pytest.raises(VerificationError):
        reading.take(4, FIRST.chunks[4], FIRST.chunk_hashes)
    assert company.path.read_bytes() == before
    assert company.begin(FIRST).next_index == 3
