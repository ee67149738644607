"""Sealed tables: frozen bytes from a slow reference, who can open what, and how a table can be wrong."""

import hashlib
import io
import json
import secrets
import struct
import tracemalloc
from collections import Counter
from dataclasses import replace
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voprf import ristretto as other
from whole_table import SealedTable, seal_table

from noren_core import canonical_json
from noren_core.crypto import merkle, oprf
from noren_core.crypto.sealed_table import (
    TableContext,
    TableManifest,
    TableReader,
    TableWriter,
    WrittenTable,
    dummy_tags,
    row_secrets,
    verify_chunk,
    verify_chunk_hashes,
)
from noren_core.errors import DataError, LocalProtocolError, VerificationError
from noren_core.ids import TableKind

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "sealed_table_v1.json").read_text())
CONTEXT = TableContext(
    company="tanaka-denki", campaign="decline-2024", kind=TableKind.SCORE, table_id=bytes(range(16))
)


def output_of(number: int) -> bytes:
    """A stand-in for an OPRF output: 64 bytes nobody else has."""
    return hashlib.sha512(b"output %d" % number).digest()


def payload_of(number: int, length: int = 8) -> bytes:
    return hashlib.shake_128(b"payload %d" % number).digest(length)


def seal(
    count: int, *, context: TableContext = CONTEXT, padded_rows: int = 20, chunk_rows: int = 6
) -> SealedTable:
    rows = [(output_of(i), payload_of(i)) for i in range(count)]
    return seal_table(context, rows, padded_rows=padded_rows, payload_bytes=8, chunk_rows=chunk_rows)


def write(
    rows: list[tuple[bytes, bytes]], *, run_bytes: int, context: TableContext = CONTEXT, **sizes: int
) -> tuple[WrittenTable, list[bytes]]:
    """What the writer makes of the rows, and its chunks."""
    writer = TableWriter(context, io.BytesIO(), run_bytes=run_bytes, **sizes)
    writer.add(rows)
    chunks = list(writer.chunks())
    return writer.finish(), chunks


def read(table: SealedTable, outputs: dict[Any, bytes]) -> dict[Any, bytes]:
    reader = TableReader(table.manifest, table.chunk_hashes, outputs)
    for index, chunk in enumerate(table.chunks):
        reader.feed(index, chunk)
    return reader.rows


def commit(table: SealedTable, chunks: list[bytes]) -> SealedTable:
    """The table that a dishonest platform commits to, with these chunks and honest hashes over them."""
    hashes = tuple(map(merkle.leaf_hash, chunks))
    return SealedTable(replace(table.manifest, root=merkle.root_hash(hashes)), tuple(chunks), hashes)


# ---- the slow reference: RFC 8439 in plain integers, BLAKE2b from hashlib, SHA-256 trees by hand


def chacha20_block(key: bytes, counter: int) -> bytes:
    initial = [*struct.unpack("<4I", b"expand 32-byte k"), *struct.unpack("<8I", key), counter, 0, 0, 0]
    state = list(initial)

    def quarter(a: int, b: int, c: int, d: int) -> None:
        for x, y, z, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            state[x] = (state[x] + state[y]) % 2**32
            mixed = state[z] ^ state[x]
            state[z] = (mixed << turn | mixed >> (32 - turn)) % 2**32

    for _ in range(10):
        for column in range(4):
            quarter(column, column + 4, column + 8, column + 12)
        for diagonal in range(4):
            quarter(diagonal, (diagonal + 1) % 4 + 4, (diagonal + 2) % 4 + 8, (diagonal + 3) % 4 + 12)
    return struct.pack("<16I", *((x + y) % 2**32 for x, y in zip(state, initial, strict=True)))


def poly1305(key: bytes, message: bytes) -> bytes:
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for start in range(0, len(message), 16):
        total = (total + int.from_bytes(message[start : start + 16] + b"\1", "little")) * r % (2**130 - 5)
    return ((total + int.from_bytes(key[16:], "little")) % 2**128).to_bytes(16, "little")


def seal_payload(key: bytes, payload: bytes, associated: bytes) -> bytes:
    stream = b"".join(chacha20_block(key, 1 + i) for i in range(-(-len(payload) // 64)))
    ciphertext = bytes(x ^ y for x, y in zip(payload, stream, strict=False))
    padded = b"".join(part + bytes(-len(part) % 16) for part in (associated, ciphertext))
    lengths = struct.pack("<QQ", len(associated), len(ciphertext))
    return ciphertext + poly1305(chacha20_block(key, 0)[:32], padded + lengths)


def reference_row(output: bytes, payload: bytes, digest: bytes) -> bytes:
    derived = hashlib.blake2b(output, digest_size=48, key=digest, person=b"noren/v1/row").digest()
    return derived[:16] + seal_payload(derived[16:], payload, digest + derived[:16])


def reference_table(rows: list[tuple[bytes, bytes]], padded_rows: int, seed: bytes) -> list[bytes]:
    """All rows of a table with 8-byte payloads, sorted in memory; dummies from the seed's keystream."""
    sealed = [reference_row(output, payload, CONTEXT.digest()) for output, payload in rows]
    missing = padded_rows - len(rows)
    keystream = b"".join(chacha20_block(seed, counter) for counter in range(-(-missing * 40 // 64)))
    return sorted(sealed + [keystream[40 * i : 40 * (i + 1)] for i in range(missing)])


def independent_reader(manifest: dict[str, Any], file: bytes, outputs: list[bytes]) -> dict[bytes, bytes]:
    """A second client, from docs/protocol.md §2 alone: verify all of a table's file, open what is ours."""
    row_bytes = 16 + manifest["payload_bytes"] + 16
    if len(file) != manifest["padded_rows"] * row_bytes:
        raise ValueError("length")
    step = manifest["chunk_rows"] * row_bytes
    level = [hashlib.sha256(b"\0" + file[i : i + step]).digest() for i in range(0, len(file), step)]
    while len(level) > 1:  # a node without a neighbour moves up, which is RFC 6962's unbalanced tree
        pairs = [level[i : i + 2] for i in range(0, len(level), 2)]
        level = [hashlib.sha256(b"\1" + b"".join(pair)).digest() if pair[1:] else pair[0] for pair in pairs]
    if level[0].hex() != manifest["root"]:
        raise ValueError("root")
    rows = {file[i : i + 16]: file[i + 16 : i + row_bytes] for i in range(0, len(file), row_bytes)}
    if list(rows) != sorted(rows) or len(rows) != manifest["padded_rows"]:
        raise ValueError("order")
    names = [manifest[name].encode() for name in ("company", "campaign", "kind")]
    parts = [b"noren/v1/table-context", *names, bytes.fromhex(manifest["table_id"])]
    context = hashlib.blake2b(b"".join(struct.pack(">I", len(p)) + p for p in parts), digest_size=32).digest()
    opened = {}
    for output in outputs:
        derived = hashlib.blake2b(output, digest_size=48, key=context, person=b"noren/v1/row").digest()
        tag, key = derived[:16], derived[16:]
        if tag in rows:
            ciphertext = rows[tag][:-16]
            stream = b"".join(chacha20_block(key, 1 + i) for i in range(-(-len(ciphertext) // 64)))
            payload = bytes(x ^ y for x, y in zip(ciphertext, stream, strict=False))
            if seal_payload(key, payload, context + tag) != rows[tag]:
                raise ValueError("authenticator")
            opened[output] = payload
    return opened


def reference_vectors() -> dict[str, Any]:
    """Everything the vector file holds, from the reference and the independent OPRF."""
    seed, info, table_id = bytes(range(32)), b"sealed table vectors", bytes(range(16))
    names = (b"noren/v1/table-context", b"tanaka-denki", b"decline-2024", b"score", table_id)
    digest = hashlib.blake2b(
        b"".join(struct.pack(">I", len(name)) + name for name in names), digest_size=32
    ).digest()
    evaluator, rows = other.Evaluator.from_seed(seed, info), []
    for number in range(5):
        value, payload = b"email\0clerk\0student%d@example.org" % number, payload_of(number, 66)
        output = bytes(evaluator.evaluate_known_input(value))
        derived = hashlib.blake2b(output, digest_size=48, key=digest, person=b"noren/v1/row").digest()
        tag, key = derived[:16], derived[16:]
        row = tag + seal_payload(key, payload, digest + tag)
        rows.append(
            {"input": value, "output": output, "payload": payload, "tag": tag, "key": key, "row": row}
        )
    ordered = sorted(row["row"] for row in rows)
    chunks = [b"".join(ordered[:2]), b"".join(ordered[2:4]), ordered[4]]
    hashes = [hashlib.sha256(b"\0" + chunk).digest() for chunk in chunks]
    root = hashlib.sha256(b"\1" + hashlib.sha256(b"\1" + hashes[0] + hashes[1]).digest() + hashes[2]).digest()
    return {
        "oprf_seed": seed.hex(),
        "oprf_info": info.hex(),
        "company": "tanaka-denki",
        "campaign": "decline-2024",
        "kind": "score",
        "table_id": table_id.hex(),
        "context_digest": digest.hex(),
        "rows": [{name: value.hex() for name, value in row.items()} for row in rows],
        "chunk_rows": 2,
        "chunks": [chunk.hex() for chunk in chunks],
        "root": root.hex(),
    }


class TestVectors:
    def test_the_file_is_what_the_reference_gives(self):
        """The frozen file and the slow reference agree, so neither was bent to fit the code."""
        assert reference_vectors() == VECTORS

    def test_tags_and_keys(self):
        """Context digest, tags and keys are the frozen ones."""
        assert CONTEXT.digest().hex() == VECTORS["context_digest"]
        key = oprf.derive_key_pair(*(bytes.fromhex(VECTORS[name]) for name in ("oprf_seed", "oprf_info")))
        for row in VECTORS["rows"]:
            output = oprf.evaluate(key, bytes.fromhex(row["input"]))
            assert output.hex() == row["output"]
            assert [secret.hex() for secret in row_secrets(output, CONTEXT)] == [row["tag"], row["key"]]

    @pytest.mark.parametrize("run_bytes", [1, 98, 200, 2**20])
    def test_written_bytes(self, run_bytes):
        """The writer's chunks and root are the frozen ones, however many runs it spools."""
        rows = [(bytes.fromhex(row["output"]), bytes.fromhex(row["payload"])) for row in VECTORS["rows"]]
        sizes = {"padded_rows": 5, "payload_bytes": 66, "chunk_rows": 2}
        written, chunks = write(rows, run_bytes=run_bytes, **sizes)
        assert [chunk.hex() for chunk in chunks] == VECTORS["chunks"]
        assert written.manifest.root.hex() == VECTORS["root"]

    def test_table_bytes(self):
        """A table without dummies is byte for byte the frozen one, root included."""
        rows = [(bytes.fromhex(row["output"]), bytes.fromhex(row["payload"])) for row in VECTORS["rows"]]
        table = seal_table(CONTEXT, rows, padded_rows=5, payload_bytes=66, chunk_rows=2)
        assert [chunk.hex() for chunk in table.chunks] == VECTORS["chunks"]
        assert table.manifest.root.hex() == VECTORS["root"]
        assert read(table, {0: rows[0][0], 4: rows[4][0]}) == {0: rows[0][1], 4: rows[4][1]}


class TestSealing:
    @settings(max_examples=25, deadline=None)
    @given(
        count=st.integers(0, 12),
        dummies=st.integers(0, 12),
        chunk_rows=st.integers(1, 30),
        payload_bytes=st.integers(1, 70),
        wanted=st.sets(st.integers(0, 15)),
    )
    def test_opens_exactly_what_was_evaluated(self, count, dummies, chunk_rows, payload_bytes, wanted):
        """Whatever the sizes, a reader gets the rows whose outputs it has, and no others."""
        rows = [(output_of(i), payload_of(i, payload_bytes)) for i in range(count)]
        padded_rows = max(1, count + dummies)
        table = seal_table(
            CONTEXT, rows, padded_rows=padded_rows, payload_bytes=payload_bytes, chunk_rows=chunk_rows
        )
        assert sum(map(len, table.chunks)) == padded_rows * (payload_bytes + 32)
        assert len(table.chunks) == table.manifest.chunk_count
        opened = read(table, {i: output_of(i) for i in wanted})
        assert opened == {i: rows[i][1] for i in wanted if i < count}

    def test_order_says_nothing(self):
        """Rows are sorted by tag, whatever order they were given in."""
        rows = [(output_of(i), payload_of(i)) for i in range(20)]
        one = seal_table(CONTEXT, rows, padded_rows=20, payload_bytes=8)
        other_way = seal_table(CONTEXT, rows[::-1], padded_rows=20, payload_bytes=8)
        assert one.chunks == other_way.chunks
        tags = [one.chunks[0][i : i + 16] for i in range(0, 20 * 40, 40)]
        assert all(a < b for a, b in pairwise(tags))

    def test_size_does_not_depend_on_membership(self):
        """No rows and all rows give tables of the same layout."""
        empty, full = seal(0), seal(20)
        assert [len(chunk) for chunk in empty.chunks] == [len(chunk) for chunk in full.chunks]
        assert replace(empty.manifest, root=full.manifest.root) == full.manifest

    def test_dummies_are_fresh(self):
        """Two tables over the same rows share only those rows."""
        rows = [
            {t.chunks[0][i : i + 40] for i in range(0, 800, 40)}
            for t in (seal(5, chunk_rows=20) for _ in "12")
        ]
        assert len(rows[0] & rows[1]) == 5

    def test_a_reissued_table_shares_nothing(self):
        """Under a fresh table id no tag and no key comes back, so the constant nonce never repeats."""
        fresh = [TableContext.fresh(company="a", campaign="b", kind=TableKind.TRAIN) for _ in range(2)]
        secrets_of = [row_secrets(output_of(1), context) for context in fresh]
        assert not set(secrets_of[0]) & set(secrets_of[1])

    @pytest.mark.parametrize(
        "change",
        [
            {"company": "tanaka-denki-2"},
            {"campaign": "decline-2025"},
            {"kind": TableKind.TRAIN},
            {"table_id": bytes(16)},
        ],
        ids=lambda change: next(iter(change)),
    )
    def test_a_row_opens_in_one_table_only(self, change):
        """The same student's output under another company, campaign, kind or id opens nothing."""
        table = seal(20)
        moved = replace(table.manifest, context=replace(CONTEXT, **change))
        assert read(SealedTable(moved, table.chunks, table.chunk_hashes), {1: output_of(1)}) == {}

    def test_field_boundaries_count(self):
        """Moving a character from the campaign to the company changes the context."""
        contexts = [
            replace(CONTEXT, company="ab", campaign="c"),
            replace(CONTEXT, company="a", campaign="bc"),
        ]
        assert contexts[0].digest() != contexts[1].digest()

    def test_one_person_under_two_names(self):
        """Two names for one output both get the row."""
        assert read(seal(3), {"spring": output_of(2), "autumn": output_of(2)}) == {
            "spring": payload_of(2),
            "autumn": payload_of(2),
        }

    def test_refuses_more_rows_than_declared(self):
        """A table never outgrows its declared size."""
        with pytest.raises(DataError, match="at most 4"):
            seal(5, padded_rows=4)

    def test_refuses_one_student_twice(self):
        """Two payloads for one output would use one key twice."""
        rows = [(output_of(1), payload_of(1)), (output_of(1), payload_of(2))]
        with pytest.raises(DataError, match="same tag"):
            seal_table(CONTEXT, rows, padded_rows=4, payload_bytes=8)

    @pytest.mark.parametrize(
        ("row", "what"),
        [
            ((output_of(1), bytes(7)), "payloads of 8 bytes"),
            ((output_of(1), bytes(9)), "payloads of 8 bytes"),
            ((bytes(63), bytes(8)), "OPRF output"),
            ((bytes(65), bytes(8)), "OPRF output"),
        ],
    )
    def test_refuses_other_lengths(self, row, what):
        """A payload that would stand out by its length, or another output, is refused."""
        with pytest.raises(DataError, match=what):
            seal_table(CONTEXT, [(output_of(2), payload_of(2)), row], padded_rows=4, payload_bytes=8)

    def test_the_largest_sizes(self):
        """2^26 rows, payloads of 2^16 bytes and chunks of 2^21 bytes are within the bounds."""
        manifest = seal(1).manifest
        for sizes in (
            {"padded_rows": 2**26},
            {"payload_bytes": 2**16, "chunk_rows": 2**21 // (2**16 + 32)},
            {"chunk_rows": 2**21 // 40},
        ):
            assert TableManifest.from_body(manifest.to_body() | sizes) == replace(manifest, **sizes)
        table = seal_table(CONTEXT, [], padded_rows=3, payload_bytes=2**16, chunk_rows=2)
        assert [len(chunk) for chunk in table.chunks] == [2 * (2**16 + 32), 2**16 + 32]
        assert seal_table(CONTEXT, [], padded_rows=1, payload_bytes=8).manifest.chunk_rows == 4096

    @pytest.mark.parametrize(
        "sizes",
        [
            {"padded_rows": 0},
            {"padded_rows": 2**26 + 1},
            {"payload_bytes": 0},
            {"payload_bytes": 2**16 + 1, "chunk_rows": 1},
            {"chunk_rows": 0},
            {"chunk_rows": 2**21 // 40 + 1},
            {"padded_rows": True},
        ],
        ids=str,
    )
    def test_refuses_impossible_sizes(self, sizes):
        """Empty, oversized and non-integer dimensions are refused, also in a manifest from the ledger."""
        good = {"padded_rows": 4, "payload_bytes": 8, "chunk_rows": 4}
        with pytest.raises(DataError):
            seal_table(CONTEXT, [], **(good | sizes))
        with pytest.raises(DataError):
            TableManifest.from_body(seal(1).manifest.to_body() | sizes)

    @settings(max_examples=20, deadline=None)
    @given(data=st.data())
    def test_what_others_rows_hold_changes_nothing_for_us(self, data):
        """Whatever non-applicants' payloads are, the company opens the same, in a table of one shape."""
        ours = data.draw(st.sets(st.integers(0, 11), max_size=12), label="applicants")
        payloads = st.lists(st.binary(min_size=8, max_size=8), min_size=12, max_size=12)
        views = []
        for _ in range(2):
            theirs = data.draw(payloads)
            rows = [(output_of(i), payload_of(i) if i in ours else theirs[i]) for i in range(12)]
            table = seal_table(CONTEXT, rows, padded_rows=16, payload_bytes=8, chunk_rows=5)
            shape = [len(chunk) for chunk in table.chunks]
            views.append((read(table, {i: output_of(i) for i in ours}), shape))
        assert views[0] == views[1]
        assert set(views[0][0]) == ours

    def test_a_reissued_table_is_unrelated_ciphertext(self):
        """The same rows under a fresh id share no tag, and no difference of two ciphertexts repeats."""
        rows = [(output_of(i), bytes(8)) for i in range(20)]
        sealed = []
        for _ in range(2):
            context = TableContext.fresh(company="a", campaign="b", kind=TableKind.TRAIN)
            table = seal_table(context, rows, padded_rows=20, payload_bytes=8)
            by_tag = {
                table.chunks[0][i : i + 16]: table.chunks[0][i + 16 : i + 40] for i in range(0, 800, 40)
            }
            sealed.append([by_tag[row_secrets(output, context)[0]] for output, _ in rows])
            sealed.append(list(by_tag))
        assert not set(sealed[1]) & set(sealed[3])
        differences = {
            bytes(x ^ y for x, y in zip(a, b, strict=True)) for a, b in zip(sealed[0], sealed[2], strict=True)
        }
        assert len(differences) == 20


class TestWriter:
    """The streaming writer: the same bytes as sorting everything in memory, in constant memory."""

    @settings(max_examples=25, deadline=None)
    @given(
        numbers=st.lists(st.integers(0, 40), max_size=14, unique=True),
        dummies=st.integers(0, 10),
        chunk_rows=st.integers(1, 30),
        run_rows=st.integers(0, 30),
        cut=st.integers(0, 14),
    )
    def test_equals_sorting_in_memory(self, numbers, dummies, chunk_rows, run_rows, cut):
        """Any rows in any order, in one or two parts, with runs of any size: the reference's bytes."""
        rows = [(output_of(i), payload_of(i)) for i in numbers]
        padded_rows = max(1, len(rows) + dummies)
        writer = TableWriter(
            CONTEXT,
            io.BytesIO(),
            padded_rows=padded_rows,
            payload_bytes=8,
            chunk_rows=chunk_rows,
            run_bytes=40 * run_rows,
        )
        writer.add(rows[:cut])
        writer.add(iter(rows[cut:]))
        chunks = list(writer.chunks())
        written = writer.finish()
        expected = reference_table(rows, padded_rows, written.dummy_seed)
        assert b"".join(chunks) == b"".join(expected)
        assert {len(chunk) for chunk in chunks[:-1]} <= {40 * chunk_rows}
        assert written.chunk_hashes == tuple(hashlib.sha256(b"\0" + chunk).digest() for chunk in chunks)
        assert written.manifest.root == merkle.MerkleTree(written.chunk_hashes).root()

    @pytest.mark.parametrize("wanted", [[], [0, 3, 50], list(range(13))])
    def test_an_independent_reader_opens_it(self, wanted):
        """A reader of thirty lines over hashlib and integers verifies the file and opens exactly its rows."""
        rows = [(output_of(i), payload_of(i, 66)) for i in range(13)]
        written, chunks = write(rows, run_bytes=300, padded_rows=22, payload_bytes=66, chunk_rows=3)
        body = canonical_json.parse_object(canonical_json.encode(written.manifest.to_body()))
        opened = independent_reader(body, b"".join(chunks), [output_of(i) for i in wanted])
        assert opened == {output_of(i): payload_of(i, 66) for i in wanted if i < 13}

    @pytest.mark.parametrize("run_rows", [1, 2, 3, 20])
    @pytest.mark.parametrize("places", [(0, 1), (0, 9), (4, 5)])
    def test_one_student_twice_in_whatever_runs(self, run_rows, places):
        """Two rows with one key are found wherever they were spooled, and there is no table then."""
        numbers = list(range(10))
        numbers[places[1]] = numbers[places[0]]
        writer = TableWriter(
            CONTEXT,
            io.BytesIO(),
            padded_rows=12,
            payload_bytes=8,
            chunk_rows=4,
            run_bytes=40 * run_rows,
        )
        writer.add((output_of(i), payload_of(place)) for place, i in enumerate(numbers))
        with pytest.raises(DataError, match="same tag"):
            list(writer.chunks())
        with pytest.raises(LocalProtocolError):
            writer.finish()

    @pytest.mark.parametrize("twice", range(10))
    def test_one_student_twice_across_chunks(self, twice):
        """Wherever the two rows come to lie, in one chunk or at the edge of two, there is no table."""
        writer = TableWriter(CONTEXT, io.BytesIO(), padded_rows=11, payload_bytes=8, chunk_rows=2)
        writer.add((output_of(i), payload_of(i)) for i in (*range(10), twice))
        with pytest.raises(DataError, match="same tag"):
            list(writer.chunks())

    def test_the_order_of_steps(self):
        """Rows, then all chunks, then the end; nothing goes on after a step that failed or was left."""
        sizes = {"padded_rows": 12, "payload_bytes": 8, "chunk_rows": 4}
        ready = TableWriter(CONTEXT, io.BytesIO(), **sizes)
        with pytest.raises(LocalProtocolError):
            ready.finish()
        halfway = TableWriter(CONTEXT, io.BytesIO(), **sizes)
        next(halfway.chunks())
        failed = TableWriter(CONTEXT, io.BytesIO(), **sizes)
        with pytest.raises(DataError):
            failed.add([(output_of(1), bytes(7))])
        done = TableWriter(CONTEXT, io.BytesIO(), **sizes)
        assert len(list(done.chunks())) == 3
        done.finish()
        for writer in (halfway, failed, done):
            for step in (lambda w=writer: w.add([]), lambda w=writer: list(w.chunks()), writer.finish):
                with pytest.raises(LocalProtocolError):
                    step()

    def test_too_many_rows_are_found_before_a_chunk_comes_out(self):
        """One row more than declared is refused, also when the runs before it are spooled."""
        for run_bytes in (1, 2**20):
            writer = TableWriter(CONTEXT, io.BytesIO(), padded_rows=4, payload_bytes=8, run_bytes=run_bytes)
            with pytest.raises(DataError, match="at most 4"):
                writer.add((output_of(i), payload_of(i)) for i in range(5))
        endless = TableWriter(CONTEXT, io.BytesIO(), padded_rows=4, payload_bytes=8, run_bytes=80)
        with pytest.raises(DataError, match="at most 4"):
            endless.add((output_of(i), payload_of(i)) for i in count())

    def test_a_spool_that_lost_rows_gives_no_table(self):
        """Rows that do not come back from the spool are missed."""
        spool = io.BytesIO()
        writer = TableWriter(CONTEXT, spool, padded_rows=8, payload_bytes=8, run_bytes=80)
        writer.add((output_of(i), payload_of(i)) for i in range(6))
        spool.truncate(100)
        spool.seek(100)
        with pytest.raises(LocalProtocolError, match="spooled"):
            list(writer.chunks())

    def test_memory_does_not_grow_with_the_table(self, tmp_path):
        """Eight times the rows, half of them dummies, take the same peak, well below the table itself."""
        peaks = []
        for size in (4096, 32768):
            with (tmp_path / "spool").open("w+b") as spool:
                rows = ((b"%064d" % i, bytes(66)) for i in range(size // 2))
                tracemalloc.start()
                writer = TableWriter(
                    CONTEXT, spool, padded_rows=size, payload_bytes=66, chunk_rows=128, run_bytes=2**16
                )
                writer.add(rows)
                assert sum(map(len, writer.chunks())) == size * 98
                peaks.append(tracemalloc.get_traced_memory()[1])
                tracemalloc.stop()
        assert peaks[1] < 1.5 * peaks[0] < 98 * 4096 * 1.5
        assert peaks[1] < 98 * 32768 // 4

    def test_random_rows_look_like_sealed_ones(self):
        """Length and distribution of bytes tell neither kind apart; 6 sigma of a chi-squared test."""
        rows = [(output_of(i), bytes(66)) for i in range(400)]
        sealed = seal_table(CONTEXT, rows, padded_rows=400, payload_bytes=66)
        empty = seal_table(CONTEXT, [], padded_rows=400, payload_bytes=66)
        assert [len(chunk) for chunk in sealed.chunks] == [len(chunk) for chunk in empty.chunks]
        for table in (sealed, empty):
            counts = Counter(b"".join(table.chunks))
            expected = 400 * 98 / 256
            assert sum((counts[b] - expected) ** 2 / expected for b in range(256)) < 255 + 6 * 510**0.5

    def test_the_platform_knows_its_random_rows(self):
        """The tags that the seed gives are in the table, are no student's, and stay out of every repr."""
        rows = [(output_of(i), payload_of(i)) for i in range(5)]
        written, chunks = write(rows, run_bytes=100, padded_rows=16, payload_bytes=8, chunk_rows=4)
        tags = {chunk[i : i + 16] for chunk in chunks for i in range(0, len(chunk), 40)}
        dummies = dummy_tags(written.dummy_seed, 11, payload_bytes=8)
        assert tags - set(dummies) == {row_secrets(output, CONTEXT)[0] for output, _ in rows}
        assert written.dummy_seed.hex() not in repr(written)
        assert repr(written.dummy_seed) not in repr(written)


class TestManifest:
    def test_round_trip_through_the_ledger(self):
        """The manifest survives canonical JSON."""
        manifest = seal(3).manifest
        body = canonical_json.parse_object(canonical_json.encode(manifest.to_body()))
        assert TableManifest.from_body(body) == manifest

    @pytest.mark.parametrize(
        "change",
        [
            {"format": "noren/v2/sealed-table"},
            {"extra": 1},
            {"kind": "other"},
            {"company": "Not A Name"},
            {"campaign": "Not A Name"},
            {"table_id": "00" * 15},
            {"table_id": "00" * 17},
            {"root": "ab" * 31},
            {"root": "ab" * 33},
            {"root": "AB" * 32},
            {"root": "zz" * 32},
            {"root": 5},
            {"chunk_rows": "6"},
        ],
        ids=str,
    )
    def test_refuses_another_body(self, change):
        """An unknown format, field, name, length or spelling is refused."""
        with pytest.raises(DataError):
            TableManifest.from_body(seal(3).manifest.to_body() | change)

    @pytest.mark.parametrize("name", list(seal(1).manifest.to_body()))
    def test_refuses_a_missing_field(self, name):
        """Every field is required."""
        body = seal(3).manifest.to_body()
        del body[name]
        with pytest.raises(DataError):
            TableManifest.from_body(body)


class TestWrongTables:
    """A dishonest platform or a broken download, noticed before a byte of it is used."""

    def test_chunk_hashes_must_lead_to_the_root(self):
        """Another hash, one less, one more, another order or length is refused."""
        table = seal(5)
        hashes = table.chunk_hashes
        for wrong in (
            (bytes(32), *hashes[1:]),
            hashes[:-1],
            (*hashes, hashes[0]),
            hashes[::-1],
            (hashes[0][:31], *hashes[1:]),
            (hashes[0] + b"\0", *hashes[1:]),
            (merkle.node_hash(*hashes[:2]), merkle.node_hash(*hashes[2:])),  # their root is the right one
        ):
            with pytest.raises(VerificationError):
                verify_chunk_hashes(table.manifest, wrong)
            with pytest.raises(VerificationError):
                TableReader(table.manifest, wrong, {})
        for manifest in (
            replace(table.manifest, padded_rows=10),  # the root of more chunks than there are rows for
            replace(table.manifest, root=bytes(32)),
            replace(table.manifest, root=b"\xff" * 32),
        ):
            with pytest.raises(VerificationError):
                verify_chunk_hashes(manifest, hashes)

    def test_every_bit_of_a_chunk_counts(self):
        """A chunk with one bit changed, whichever, is refused."""
        table = seal(5)
        for bit in range(8 * len(table.chunks[1])):
            changed = bytearray(table.chunks[1])
            changed[bit // 8] ^= 1 << bit % 8
            with pytest.raises(VerificationError):
                verify_chunk(table.manifest, table.chunk_hashes, 1, bytes(changed))

    @settings(max_examples=40, deadline=None)
    @given(order=st.lists(st.integers(0, 3), max_size=6))
    def test_chunks_come_once_each_and_in_order(self, order):
        """Left out, repeated or swapped: what is no beginning of 0, 1, 2, 3 is refused, and no rows come."""
        table = seal(5)
        reader = TableReader(table.manifest, table.chunk_hashes, {1: output_of(1)})
        for place, index in enumerate(order):
            if index != place:
                with pytest.raises(LocalProtocolError):
                    reader.feed(index, table.chunks[index])
                return
            reader.feed(index, table.chunks[index])
        if len(order) < 4:
            with pytest.raises(LocalProtocolError):
                _ = reader.rows
        else:
            assert reader.rows == {1: payload_of(1)}

    def test_another_length_place_or_index(self):
        """A cut chunk, an extended one, one in another's place and one beyond the end are refused."""
        table = seal(5)
        first, second = table.chunks[:2]
        for index, chunk in (
            (0, first[:-1]),
            (0, first + b"\0"),
            (0, b""),
            (0, second),
            (4, first),
            (-1, first),
        ):
            with pytest.raises(VerificationError):
                verify_chunk(table.manifest, table.chunk_hashes, index, chunk)
        full = seal(5, padded_rows=18)
        for index, chunk in ((-1, full.chunks[2]), (3, b"")):  # Python would take the last for number -1
            with pytest.raises(VerificationError):
                verify_chunk(full.manifest, full.chunk_hashes, index, chunk)

    def test_a_committed_chunk_of_another_length(self):
        """A last chunk that is not of the length that the padded size leaves is refused though committed."""
        table = seal(5)
        for last in (table.chunks[0], table.chunks[-1][:40]):
            with pytest.raises(VerificationError, match="80 bytes"):
                read(commit(table, [*table.chunks[:-1], last]), {})

    def test_tags_out_of_order_or_repeated(self):
        """A committed table with rows swapped or repeated, inside or across chunks, is refused."""
        table = seal(5)
        first, second = table.chunks[:2]
        last_of_first, first_of_second = first[200:], second[:40]
        for chunks in (
            [first[:200] + first_of_second, last_of_first + second[40:]],
            [first, last_of_first + second[40:]],
            [first[40:80] + first[:40] + first[80:], second],
            [first[:40] + first[:40] + first[80:], second],
            [second, first],
            [first, first],
        ):
            with pytest.raises(VerificationError, match="order"):
                read(commit(table, [*chunks, *table.chunks[2:]]), {})

    def test_a_row_that_does_not_open_is_reported_at_the_end(self):
        """A garbled row of ours changes nothing that the platform could watch, and is named to nobody."""
        table = seal(20)
        mine = row_secrets(output_of(7), CONTEXT)[0]
        garbled = []
        for chunk in table.chunks:
            place = chunk.find(mine)
            middle = place + 20
            garbled.append(
                chunk if place < 0 else chunk[:middle] + bytes([chunk[middle] ^ 1]) + chunk[middle + 1 :]
            )
        wrong = commit(table, garbled)
        reader = TableReader(wrong.manifest, wrong.chunk_hashes, {"Alice": output_of(7), "Bob": output_of(3)})
        for index, chunk in enumerate(wrong.chunks):
            reader.feed(index, chunk)
        with pytest.raises(VerificationError) as caught:
            reader.finish()
        assert "Alice" not in str(caught.value)
        assert mine.hex() not in str(caught.value)
        with pytest.raises(VerificationError):
            _ = reader.rows
        assert read(wrong, {"Bob": output_of(3)}) == {"Bob": payload_of(3)}

    def test_reading_order_and_completeness(self):
        """Chunks are taken in order, a refused one can be sent again, and rows wait for the last one."""
        table = seal(5)
        reader = TableReader(table.manifest, table.chunk_hashes, {1: output_of(1)})
        with pytest.raises(LocalProtocolError):
            reader.feed(1, table.chunks[1])
        for index, chunk in enumerate(table.chunks):
            with pytest.raises(LocalProtocolError):
                reader.finish()
            with pytest.raises(VerificationError):
                reader.feed(index, chunk[:-1] + bytes([chunk[-1] ^ 1]))
            reader.feed(index, chunk)
            with pytest.raises(LocalProtocolError):
                reader.feed(index, chunk)
        assert reader.rows == {1: payload_of(1)}

    def test_a_reader_without_the_output_finds_nothing(self):
        """Other people's outputs open no row, though the table is full of them."""
        assert read(seal(20), {i: secrets.token_bytes(64) for i in range(50)}) == {}
