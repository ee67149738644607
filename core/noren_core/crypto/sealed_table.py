"""Sealed tables: one row per consenting student that only one company's evaluated identifier opens.

docs/protocol.md §2. A row is tag(16) ‖ ChaCha20-Poly1305(payload); tag and key come from the student's OPRF
output under this table's context. Promises: whoever lacks the output sees a row as random bytes, a row opens
in one table only, the padded size is all that the table's length says, and nothing from a chunk is used
before the chunk is shown to belong to the root that stands in the ledger. Writing takes a bounded amount of
memory, whatever the number of rows: what does not fit is spooled into a file that the caller hands in.

Refuses more rows than the declared size, two rows with one tag, payloads of another length, and a `table_id`
that is not 16 bytes. Left to the caller: including only students with a live consent for this company and
purpose, and a table id that was never used before (`TableContext.fresh`).
"""

from __future__ import annotations

import hashlib
import heapq
import secrets
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice, pairwise
from typing import Any, BinaryIO, Generic, Self, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from noren_core.crypto import merkle
from noren_core.crypto.row_sealer import AUTHENTICATOR_BYTES, KEY_BYTES, RowSealer
from noren_core.errors import DataError, LocalProtocolError, VerificationError
from noren_core.ids import TableKind, parse_name

K = TypeVar("K", bound=Hashable)

FORMAT = "noren/v1/sealed-table"
TABLE_ID_BYTES = 16
TAG_BYTES = 16
OPRF_OUTPUT_BYTES = 64
HASH_BYTES = 32

DEFAULT_CHUNK_ROWS = 4096
MAX_ROWS = 2**26
MAX_PAYLOAD_BYTES = 2**16
# Half of what a gRPC message may hold by default.
MAX_CHUNK_BYTES = 2**21
RUN_BYTES = 2**24
"""How many bytes of rows a writer collects before it sorts and spools them."""

_CONTEXT_LABEL = b"noren/v1/table-context"
_ROW_PERSON = b"noren/v1/row"
_DUMMY_BLOCK_BYTES = 2**16
# Safe although constant: a row key is derived from (OPRF output, context), the context holds a table id that
# is used for one table, and a table holds one row per tag, so every key encrypts exactly one payload.
_ZERO_NONCE = bytes(12)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableContext:
    """What a row's tag and key are bound to.

    Attributes:
        company: whose applicants open it.
        campaign: the campaign it belongs to.
        kind: training rows or scores.
        table_id: 16 random bytes, new for every table that is sealed, including a re-issued one.
    """

    company: str
    campaign: str
    kind: TableKind
    table_id: bytes

    def __post_init__(self) -> None:
        parse_name(self.company, "company")
        parse_name(self.campaign, "campaign")
        if not isinstance(self.kind, TableKind):
            raise DataError("table kind: expected train or score, got another value")
        _check_length(self.table_id, TABLE_ID_BYTES, "table id")

    @classmethod
    def fresh(cls, *, company: str, campaign: str, kind: TableKind) -> Self:
        """A context for a new table, with a table id from the operating system's generator."""
        return cls(
            company=company, campaign=campaign, kind=kind, table_id=secrets.token_bytes(TABLE_ID_BYTES)
        )

    def digest(self) -> bytes:
        """BLAKE2b-256 over label, company, campaign, kind and table id, each with its 4-byte length."""
        parts = (
            _CONTEXT_LABEL,
            self.company.encode(),
            self.campaign.encode(),
            self.kind.value.encode(),
            self.table_id,
        )
        encoding = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hashlib.blake2b(encoding, digest_size=32).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class TableManifest:
    """What the ledger says about a table; enough to verify every chunk of it.

    Attributes:
        context: what the rows are bound to.
        padded_rows: rows in the table, real and dummy.
        payload_bytes: length of every payload.
        chunk_rows: rows in every chunk but the last, which may have fewer.
        root: Merkle tree hash (RFC 6962) over the chunks.
    """

    context: TableContext
    padded_rows: int
    payload_bytes: int
    chunk_rows: int
    root: bytes

    def __post_init__(self) -> None:
        _check_layout(self.padded_rows, self.payload_bytes, self.chunk_rows)
        _check_length(self.root, HASH_BYTES, "table root")

    @property
    def row_bytes(self) -> int:
        """Length of a row: tag, payload, authenticator."""
        return _row_bytes(self.payload_bytes)

    @property
    def chunk_count(self) -> int:
        """Number of chunks."""
        return -(-self.padded_rows // self.chunk_rows)

    def chunk_bytes(self, index: int) -> int:
        """Exact length of the chunk at `index`."""
        first = index * self.chunk_rows
        return min(self.chunk_rows, self.padded_rows - first) * self.row_bytes

    def to_body(self) -> dict[str, Any]:
        """The JSON object that stands in the ledger entry."""
        return {
            "format": FORMAT,
            "company": self.context.company,
            "campaign": self.context.campaign,
            "kind": self.context.kind.value,
            "table_id": self.context.table_id.hex(),
            "padded_rows": self.padded_rows,
            "payload_bytes": self.payload_bytes,
            "chunk_rows": self.chunk_rows,
            "root": self.root.hex(),
        }

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> Self:
        """The manifest that `to_body` wrote; DataError for anything else."""
        try:
            manifest = cls(
                context=TableContext(
                    company=body["company"],
                    campaign=body["campaign"],
                    kind=TableKind(body["kind"]),
                    table_id=bytes.fromhex(body["table_id"]),
                ),
                padded_rows=body["padded_rows"],
                payload_bytes=body["payload_bytes"],
                chunk_rows=body["chunk_rows"],
                root=bytes.fromhex(body["root"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError("table manifest: expected the fields of a sealed table, got others") from error
        if manifest.to_body() != body:  # unknown fields, another format, hex in another spelling
            raise DataError("table manifest: expected exactly the fields of a sealed table, got others")
        return manifest


@dataclass(frozen=True, slots=True)
class WrittenTable:
    """What a writer says of a table whose chunks it gave out.

    Attributes:
        manifest: for the ledger.
        chunk_hashes: the leaves under the manifest's root.
        dummy_seed: what the dummy rows were drawn from; whoever has it can tell them from students' rows.
    """

    manifest: TableManifest
    chunk_hashes: tuple[bytes, ...]
    dummy_seed: bytes = field(repr=False)


def row_secrets(oprf_output: bytes, context: TableContext) -> tuple[bytes, bytes]:
    """The 16-byte tag and the 32-byte key of one student's row; the key must stay secret.

    The tag alone is public: it is what a revocation list holds.

    Raises:
        DataError: if `oprf_output` is not 64 bytes.
    """
    return _row_deriver(context.digest())(oprf_output)


def dummy_tags(dummy_seed: bytes, count: int, *, payload_bytes: int) -> list[bytes]:
    """The tags of a table's first `count` dummy rows (there may be fewer in the table)."""
    return [row[:TAG_BYTES] for row in islice(_dummy_rows(dummy_seed, _row_bytes(payload_bytes)), count)]


class _Stage(Enum):
    """Where a writer is."""

    TAKING = "taking rows"
    CUT = "all chunks given out"
    FINISHED = "finished"
    BROKEN = "in a step, or after one that failed"


class TableWriter:
    """Seals rows that come in any order and gives out the table in the order of tags.

    Call `add` as often as needed, take all of `chunks`, then `finish`. A step that fails ends the writer:
    what came out before must be thrown away. Memory: a few times `run_bytes`, and 32 bytes for each chunk.
    """

    def __init__(
        self,
        context: TableContext,
        spool: BinaryIO,
        *,
        padded_rows: int,
        payload_bytes: int,
        chunk_rows: int = DEFAULT_CHUNK_ROWS,
        run_bytes: int = RUN_BYTES,
    ) -> None:
        """Prepare to seal.

        Args:
            context: a fresh one: sealing two payloads for one student under one table id reveals both.
            spool: empty, readable, writable, seekable; holds sealed rows only and is left for the caller to
                close, best without a name.
            padded_rows: rows of the table, real and random.
            payload_bytes: length of every payload.
            chunk_rows: rows in a chunk.
            run_bytes: how much is sorted in memory.

        Raises:
            DataError: if a size is out of its range.
        """
        _check_layout(padded_rows, payload_bytes, chunk_rows)
        self._context = context
        self._spool = spool
        self._padded_rows = padded_rows
        self._payload_bytes = payload_bytes
        self._chunk_rows = chunk_rows
        self._row_bytes = _row_bytes(payload_bytes)
        self._run_rows = max(1, run_bytes // self._row_bytes)
        self._run: list[bytes] = []
        self._runs: list[int] = []  # how many rows each has; they lie one after another in the spool
        self._dummy_seed = secrets.token_bytes(KEY_BYTES)
        self._chunk_hashes: list[bytes] = []
        self._stage = _Stage.TAKING

    def add(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Seal (OPRF output, payload) pairs.

        1. Check that the length of every payload is the declared one, and that there are not too many rows.
        2. Derive tag and key; seal the payload under the key, with context and tag as associated data.
        3. Whenever a run is full, sort and spool it.

        Raises:
            DataError: if step 1 fails, or an output is not 64 bytes.
        """
        self._enter(_Stage.TAKING)
        digest = self._context.digest()
        derive = _row_deriver(digest)
        sealer = RowSealer(payload_bytes=self._payload_bytes, associated_bytes=len(digest) + TAG_BYTES)
        for output, payload in rows:
            if len(payload) != self._payload_bytes:  # 1
                raise DataError(
                    f"sealed table: expected payloads of {self._payload_bytes} bytes, got another length"
                )
            tag, key = derive(output)  # 2
            self._run.append(tag + sealer.seal(key, payload, digest + tag))
            if len(self._run) == self._run_rows:  # 3
                self._spool_run()
        self._check_count()
        self._stage = _Stage.TAKING

    def chunks(self) -> Iterator[bytes]:
        """The table, chunk by chunk.

        1. Fill up with dummy rows, which nobody can tell from sealed ones without a key.
        2. Merge the runs by tag, so the order says nothing about students or about which rows are dummies.
        3. Refuse a repeated tag, wherever its rows came: it is a repeated key, and the nonce is constant.
        4. Cut into chunks and hash them.

        Raises:
            DataError: in step 3; the chunks that came out must not be published.
        """
        self._enter(_Stage.TAKING)
        missing = self._padded_rows - self._check_count()  # 1
        for row in islice(_dummy_rows(self._dummy_seed, self._row_bytes), missing):
            self._run.append(row)
            if len(self._run) == self._run_rows:
                self._spool_run()
        self._spool_run()
        rows, last = self._merged(), b""  # 2
        while block := list(islice(rows, self._chunk_rows)):
            tags = [last, *(row[:TAG_BYTES] for row in block)]
            if not _is_strictly_increasing(tags):  # 3
                raise DataError("sealed table: expected one row per student, got two with the same tag")
            last, chunk = tags[-1], b"".join(block)  # 4
            self._chunk_hashes.append(merkle.leaf_hash(chunk))
            yield chunk
        self._stage = _Stage.CUT

    def finish(self) -> WrittenTable:
        """What is to be said and kept of the table, once every chunk was taken."""
        self._enter(_Stage.CUT)
        manifest = TableManifest(
            context=self._context,
            padded_rows=self._padded_rows,
            payload_bytes=self._payload_bytes,
            chunk_rows=self._chunk_rows,
            root=merkle.root_hash(self._chunk_hashes),
        )
        self._stage = _Stage.FINISHED
        return WrittenTable(manifest, tuple(self._chunk_hashes), self._dummy_seed)

    def _enter(self, expected: _Stage) -> None:
        """Begin a step; until it ends well, the writer counts as broken."""
        if self._stage is not expected:
            raise LocalProtocolError(
                f"table writer: expected one that is {expected.value}, got one that is {self._stage.value}"
            )
        self._stage = _Stage.BROKEN

    def _check_count(self) -> int:
        """How many rows were added; DataError if that is more than the table holds."""
        count = sum(self._runs) + len(self._run)
        if count > self._padded_rows:
            raise DataError(f"sealed table: expected at most {self._padded_rows} rows, got more")
        return count

    def _spool_run(self) -> None:
        self._check_count()
        if self._run:
            self._run.sort()
            self._spool.writelines(self._run)
            self._runs.append(len(self._run))
            self._run = []

    def _merged(self) -> Iterator[bytes]:
        """Every spooled row, smallest first; of each run a share of what fits in memory is read at once."""
        block_rows = max(1, self._run_rows // max(1, len(self._runs)))
        starts = [sum(self._runs[:number]) for number in range(len(self._runs))]
        return heapq.merge(
            *(
                self._read_run(start, count, block_rows)
                for start, count in zip(starts, self._runs, strict=True)
            )
        )

    def _read_run(self, start: int, count: int, block_rows: int) -> Iterator[bytes]:
        for first in range(start, start + count, block_rows):
            rows = min(block_rows, start + count - first)
            self._spool.seek(first * self._row_bytes)
            block = self._spool.read(rows * self._row_bytes)
            if len(block) != rows * self._row_bytes:
                raise LocalProtocolError("table writer: expected the rows that were spooled, got fewer")
            for place in range(0, len(block), self._row_bytes):
                yield block[place : place + self._row_bytes]


def verify_chunk_hashes(manifest: TableManifest, chunk_hashes: Sequence[bytes]) -> None:
    """Check that these are the leaf hashes under the manifest's root.

    Raises:
        VerificationError: if their number, a length or the root differs.
    """
    if len(chunk_hashes) != manifest.chunk_count:
        raise VerificationError(
            f"sealed table: expected {manifest.chunk_count} chunk hashes, got {len(chunk_hashes)}"
        )
    if any(len(chunk_hash) != HASH_BYTES for chunk_hash in chunk_hashes):
        raise VerificationError(f"sealed table: expected chunk hashes of {HASH_BYTES} bytes, got another")
    if merkle.root_hash(chunk_hashes) != manifest.root:
        raise VerificationError("sealed table: expected the root in the ledger, got another")


def verify_chunk(manifest: TableManifest, chunk_hashes: Sequence[bytes], index: int, chunk: bytes) -> None:
    """Check one chunk: exact length, hash, and tags strictly increasing within it.

    The hashes must have passed `verify_chunk_hashes`. Order across chunks is `TableReader`'s.

    Raises:
        VerificationError: if the chunk is not the one that was committed, or was committed malformed.
    """
    if not 0 <= index < manifest.chunk_count:
        raise VerificationError(f"sealed table: expected a chunk below {manifest.chunk_count}, got {index}")
    if len(chunk) != manifest.chunk_bytes(index):
        raise VerificationError(
            f"sealed table: expected a chunk of {manifest.chunk_bytes(index)} bytes, got {len(chunk)}"
        )
    if merkle.leaf_hash(chunk) != chunk_hashes[index]:
        raise VerificationError("sealed table: expected the chunk that was committed, got another")
    if not _is_strictly_increasing(_tags(chunk, manifest.row_bytes)):
        raise VerificationError("sealed table: expected tags in increasing order, got another order")


class TableReader(Generic[K]):
    """Opens, chunk by chunk, the rows whose OPRF outputs the caller has.

    An absent row is normal and means nothing in particular (docs/protocol.md §7). A row that carries a
    wanted tag and does not open is reported by `finish` only, after the last chunk: stopping at it would
    tell the platform, by when the download stopped, that this student is among the company's applicants.
    For the same reason the caller must not pass that report on to the platform.
    """

    def __init__(
        self, manifest: TableManifest, chunk_hashes: Sequence[bytes], outputs: Mapping[K, bytes]
    ) -> None:
        """Prepare for a table.

        Args:
            manifest: from the ledger.
            chunk_hashes: as received; verified here against the manifest's root.
            outputs: the caller's name for an applicant -> the applicant's 64-byte OPRF output.

        Raises:
            VerificationError: if the hashes do not lead to the root.
            DataError: if an output is not 64 bytes.
        """
        verify_chunk_hashes(manifest, chunk_hashes)
        self._manifest = manifest
        self._chunk_hashes = tuple(chunk_hashes)
        self._digest = manifest.context.digest()
        self._wanted: dict[bytes, tuple[bytes, list[K]]] = {}
        derive = _row_deriver(self._digest)
        for name, output in outputs.items():
            tag, key = derive(output)
            # One person under two names (two past seasons, say) is one row for both.
            self._wanted.setdefault(tag, (key, []))[1].append(name)
        self._next_index = 0
        self._last_tag = b""
        self._rows: dict[K, bytes] = {}
        self._positions: dict[K, int] = {}
        self._all_opened = True

    def feed(self, index: int, chunk: bytes) -> None:
        """Verify the next chunk and open what is ours in it.

        Raises:
            LocalProtocolError: if `index` is not the next one.
            VerificationError: as `verify_chunk`, or if the chunk does not continue the order of the last.
                The reader is unchanged then, and takes the right chunk.
        """
        if index != self._next_index:
            raise LocalProtocolError(f"sealed table: expected chunk {self._next_index}, got {index}")
        verify_chunk(self._manifest, self._chunk_hashes, index, chunk)
        if chunk[:TAG_BYTES] <= self._last_tag:
            raise VerificationError("sealed table: expected tags in increasing order, got another order")
        first = index * self._manifest.chunk_rows
        for place, start in enumerate(range(0, len(chunk), self._manifest.row_bytes)):
            wanted = self._wanted.get(chunk[start : start + TAG_BYTES])
            if wanted is not None:
                self._open(chunk[start : start + self._manifest.row_bytes], *wanted)
                self._positions.update(dict.fromkeys(wanted[1], first + place))
        self._last_tag = chunk[-self._manifest.row_bytes :][:TAG_BYTES]
        self._next_index += 1

    def finish(self) -> None:
        """Check that the whole table was read and every row with a wanted tag opened.

        Raises:
            LocalProtocolError: if chunks are missing.
            VerificationError: if a row did not open; it does not say which, or how many.
        """
        if self._next_index != self._manifest.chunk_count:
            raise LocalProtocolError(
                f"sealed table: expected {self._manifest.chunk_count} chunks, got {self._next_index}"
            )
        if not self._all_opened:
            raise VerificationError("sealed table: expected every row of ours to open, got one that does not")

    @property
    def rows(self) -> dict[K, bytes]:
        """The payloads found, by the caller's names; raises as `finish` does."""
        self.finish()
        return dict(self._rows)

    @property
    def positions(self) -> dict[K, int]:
        """Where in the table they stand, counted from 0; raises as `finish` does."""
        self.finish()
        return dict(self._positions)

    def _open(self, row: bytes, key: bytes, names: Iterable[K]) -> None:
        tag, ciphertext = row[:TAG_BYTES], row[TAG_BYTES:]
        try:
            payload = ChaCha20Poly1305(key).decrypt(_ZERO_NONCE, ciphertext, self._digest + tag)
        except InvalidTag:
            self._all_opened = False
            return
        self._rows.update(dict.fromkeys(names, payload))


def _row_deriver(context_digest: bytes) -> Callable[[bytes], tuple[bytes, bytes]]:
    """From OPRF output to tag and key, under one context whose keyed state is set up once."""
    keyed = hashlib.blake2b(digest_size=TAG_BYTES + KEY_BYTES, key=context_digest, person=_ROW_PERSON)

    def derive(oprf_output: bytes) -> tuple[bytes, bytes]:
        _check_length(oprf_output, OPRF_OUTPUT_BYTES, "OPRF output")
        state = keyed.copy()
        state.update(oprf_output)
        derived = state.digest()
        return derived[:TAG_BYTES], derived[TAG_BYTES:]

    return derive


def _dummy_rows(dummy_seed: bytes, row_bytes: int) -> Iterator[bytes]:
    """The endless rows of a ChaCha20 keystream; the seed is used for nothing else."""
    keystream = Cipher(algorithms.ChaCha20(dummy_seed, bytes(16)), mode=None).encryptor()
    zeros = bytes(row_bytes * max(1, _DUMMY_BLOCK_BYTES // row_bytes))
    while True:
        block = keystream.update(zeros)
        for place in range(0, len(block), row_bytes):
            yield block[place : place + row_bytes]


def _row_bytes(payload_bytes: int) -> int:
    return TAG_BYTES + payload_bytes + AUTHENTICATOR_BYTES


def _tags(chunk: bytes, row_bytes: int) -> Iterable[bytes]:
    return (chunk[start : start + TAG_BYTES] for start in range(0, len(chunk), row_bytes))


def _is_strictly_increasing(tags: Iterable[bytes]) -> bool:
    return all(earlier < later for earlier, later in pairwise(tags))


def _check_layout(padded_rows: int, payload_bytes: int, chunk_rows: int) -> None:
    _check_range(padded_rows, MAX_ROWS, "padded rows")
    _check_range(payload_bytes, MAX_PAYLOAD_BYTES, "payload bytes")
    _check_range(chunk_rows, MAX_CHUNK_BYTES // _row_bytes(payload_bytes), "rows per chunk")


def _check_range(value: int, maximum: int, what: str) -> None:
    if type(value) is not int or not 1 <= value <= maximum:
        raise DataError(f"{what}: expected an integer from 1 to {maximum}, got another value")


def _check_length(value: object, length: int, what: str) -> None:
    if not isinstance(value, bytes) or len(value) != length:
        raise DataError(f"{what}: expected {length} bytes, got another value")
