"""Sealed rows that turn up where they do not belong, and tables that are made twice.

A row key that follows from the identifier alone is the same in every table: whoever can open one row of a
student opens all of them, whichever company or campaign they are for, and two rows of hers are one stream
cipher used twice. The attacker is given what it could have at most: the very outputs of the keyed function.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

from attack import Attack, Result, System
from cryptography.exceptions import InvalidTag
from naive_join import open_row, seal
from system_platform import CONSENTING, features, plan, running_platform
from whole_table import SealedTable, seal_table

from noren_core.crypto import merkle
from noren_core.crypto.sealed_table import OPRF_OUTPUT_BYTES, TAG_BYTES, TableContext, TableReader
from noren_core.errors import NorenError
from noren_core.ids import TableKind

STUDENTS = 50
PAYLOAD_BYTES = 32
PADDED_ROWS = 64
OWN = TableContext(company="alpha", campaign="spring", kind=TableKind.TRAIN, table_id=bytes(16))


def outputs() -> list[bytes]:
    return [secrets.token_bytes(OPRF_OUTPUT_BYTES) for _ in range(STUDENTS)]


def payloads() -> list[bytes]:
    return [secrets.token_bytes(PAYLOAD_BYTES) for _ in range(STUDENTS)]


# Rows of another table


def open_naive_rows() -> Result:
    """Outputs from alpha's campaign, tried on the rows of bravo's and of the next campaign."""
    known, opened = outputs(), 0
    elsewhere = [
        dict(seal(output, payload) for output, payload in zip(known, payloads(), strict=True)) for _ in "ab"
    ]
    for table in elsewhere:
        for output in known:
            for ciphertext in table.values():
                opened += opens(output, ciphertext)
    return Result(opened > 0, f"{opened} of {2 * STUDENTS} rows of other tables opened")


def opens(output: bytes, ciphertext: bytes) -> bool:
    try:
        open_row(output, ciphertext)
    except InvalidTag:
        return False
    return True


def open_our_rows() -> Result:
    """The same outputs on tables of another company, campaign, kind and issue; also moved into our own."""
    known = outputs()
    named = dict(enumerate(known))
    own = sealed(OWN, known)
    elsewhere = [
        sealed(TableContext(company=company, campaign=campaign, kind=kind, table_id=table_id), known)
        for company, campaign, kind, table_id in (
            ("bravo", "spring", TableKind.TRAIN, bytes(16)),
            ("alpha", "summer", TableKind.TRAIN, bytes(16)),
            ("alpha", "spring", TableKind.SCORE, bytes(16)),
            ("alpha", "spring", TableKind.TRAIN, bytes([1] * 16)),
        )
    ]
    opened = 0
    for table in elsewhere:
        # Read as what it says it is not: our manifest, with its rows; first with our root, then with its own.
        opened += len(read(own, table.chunks, own.chunk_hashes, named))
        opened += len(read(reissued(own, table.chunks), table.chunks, hashes(table.chunks), named))
        # Its ciphertexts under our own tags, put where our rows are.
        moved = swapped(own, table)
        opened += len(read(own, moved, own.chunk_hashes, named))
        opened += len(read(reissued(own, moved), moved, hashes(moved), named))
    tried = 2 * STUDENTS * len(elsewhere)
    own_rows = len(read(own, own.chunks, own.chunk_hashes, named))
    return Result(
        opened > 0 or own_rows != STUDENTS,
        f"{opened} of {tried} rows of other tables opened, {own_rows} of {STUDENTS} of its own",
    )


def sealed(
    context: TableContext, known: Sequence[bytes], texts: Sequence[bytes] | None = None
) -> SealedTable:
    rows = list(zip(known, texts or payloads(), strict=True))
    return seal_table(context, rows, padded_rows=PADDED_ROWS, payload_bytes=PAYLOAD_BYTES)


def read(
    table: SealedTable, chunks: Sequence[bytes], chunk_hashes: Sequence[bytes], wanted: Mapping[int, bytes]
) -> dict[int, bytes]:
    """Whatever a reader opens; one row at a time, so that one that does not open hides no other."""
    opened: dict[int, bytes] = {}
    for name, output in wanted.items():
        try:
            reader = TableReader(table.manifest, chunk_hashes, {name: output})
            for index, chunk in enumerate(chunks):
                reader.feed(index, chunk)
            opened |= reader.rows
        except NorenError:
            continue
    return opened


def hashes(chunks: Sequence[bytes]) -> tuple[bytes, ...]:
    return tuple(map(merkle.leaf_hash, chunks))


def reissued(table: SealedTable, chunks: Sequence[bytes]) -> SealedTable:
    """A table with other chunks under the same context, committed to as the platform could."""
    manifest = table.manifest
    changed = manifest.to_body() | {"root": merkle.root_hash(hashes(chunks)).hex()}
    return SealedTable(type(manifest).from_body(changed), tuple(chunks), hashes(chunks))


def swapped(own: SealedTable, other: SealedTable) -> list[bytes]:
    """Our table with each row's ciphertext replaced by the other table's at the same place."""
    width = own.manifest.row_bytes
    rows, foreign = split(own.chunks, width), split(other.chunks, width)
    joined = b"".join(
        ours[:TAG_BYTES] + theirs[TAG_BYTES:] for ours, theirs in zip(rows, foreign, strict=True)
    )
    step = own.manifest.chunk_rows * width
    return [joined[start : start + step] for start in range(0, len(joined), step)]


def split(chunks: Sequence[bytes], width: int) -> list[bytes]:
    data = b"".join(chunks)
    return [data[start : start + width] for start in range(0, len(data), width)]


# A table that is made twice


def compare_naive_issues() -> Result:
    """Nobody's key: two issues of one table, row by row."""
    known = outputs()
    first, second = payloads(), payloads()
    tables = [dict(seal(o, p) for o, p in zip(known, texts, strict=True)) for texts in (first, second)]
    found = {
        xor(ciphertext, tables[1][tag])[:PAYLOAD_BYTES]
        for tag, ciphertext in tables[0].items()
        if tag in tables[1]
    }
    return issues_result(found, first, second)


def compare_our_issues() -> Result:
    """The platform loses its table and what it released, and publishes the campaign again with other rows.

    Every row of one issue against every row of the other.
    """
    numbers = list(CONSENTING["alpha"])
    with running_platform() as platform:
        old = platform.table_rows(plan(), TableKind.TRAIN)
        platform.restart(losing=("DELETE FROM tables", "DELETE FROM released_rows"))
        platform.publish_tables(plan(), -features())
        new = platform.table_rows(plan(), TableKind.TRAIN)
    found = {xor(a[TAG_BYTES:], b[TAG_BYTES:])[:PAYLOAD_BYTES] for a in old for b in new}
    first, second = ([row.astype("<i2").tobytes() for row in sign * features()[numbers]] for sign in (1, -1))
    return issues_result(found, first, second)


def issues_result(found: set[bytes], first: Sequence[bytes], second: Sequence[bytes]) -> Result:
    """Compared with the truth: what differs between the two payloads of each student."""
    revealed = sum(xor(a, b) in found for a, b in zip(first, second, strict=True))
    return Result(revealed > 0, f"difference of both payloads read for {revealed} of {len(first)} students")


def xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=False))


ATTACKS = (
    Attack(
        name="rows of another table",
        attacker="company",
        aim="open rows made for another company, campaign, purpose or issue",
        systems=(
            System("row key from the identifier alone", False, open_naive_rows),
            System("Noren", True, open_our_rows),
        ),
    ),
    Attack(
        name="re-issued table",
        attacker="anybody who has both tables",
        aim="read what changed between two payloads of one student",
        systems=(
            System("row key from the identifier alone, constant nonce", False, compare_naive_issues),
            System("Noren", True, compare_our_issues),
        ),
    ),
)
