"""Reading a sealed table and its revocation list, the company's side (protocol §2)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from . import RefusedError, expect
from .ledger import unhex

_FIELDS = {
    "format",
    "company",
    "campaign",
    "kind",
    "table_id",
    "padded_rows",
    "payload_bytes",
    "chunk_rows",
    "root",
}


@dataclass(frozen=True, slots=True)
class Manifest:
    """A table as its ledger entry describes it."""

    context: bytes
    table_id: bytes
    padded_rows: int
    payload_bytes: int
    chunk_rows: int
    root: bytes

    @property
    def row_bytes(self) -> int:
        """Tag, ciphertext, authenticator."""
        return 16 + self.payload_bytes + 16

    @property
    def chunk_lengths(self) -> list[int]:
        """The length of every chunk in bytes; the last may be shorter."""
        full, rest = divmod(self.padded_rows, self.chunk_rows)
        rows = [self.chunk_rows] * full + ([rest] if rest else [])
        return [n * self.row_bytes for n in rows]


def read_manifest(
    fields: Mapping[str, Any], company: str, campaign: str, kind: str, payload_bytes: int
) -> Manifest:
    """The manifest of a `table` entry, if it is exactly one of this company, campaign and kind (§2.4)."""
    expect(set(fields) == _FIELDS, "exactly the fields of a manifest")
    expect(fields["format"] == "noren/v1/sealed-table", "a format that we read")
    named = (fields["company"], fields["campaign"], fields["kind"])
    expect(named == (company, campaign, kind), "our own table")
    expect(fields["payload_bytes"] == payload_bytes, "the payload that the plan fixes")
    numbers = [fields[name] for name in ("padded_rows", "payload_bytes", "chunk_rows")]
    expect(all(type(number) is int for number in numbers), "integers")
    rows, payload, chunk_rows = numbers
    expect(1 <= rows <= 2**26 and 1 <= payload <= 2**16, "a table within bounds")
    expect(chunk_rows >= 1 and chunk_rows * (payload + 32) <= 2**21, "chunks within bounds")
    table_id, root = unhex(fields["table_id"], 16), unhex(fields["root"], 32)
    labelled = (b"noren/v1/table-context", company.encode(), campaign.encode(), kind.encode(), table_id)
    joined = b"".join(len(field).to_bytes(4) + field for field in labelled)
    context = hashlib.blake2b(joined, digest_size=32).digest()
    return Manifest(context, table_id, rows, payload, chunk_rows, root)


def leaf_hash(leaf: bytes) -> bytes:
    """RFC 6962 §2.1."""
    return hashlib.sha256(b"\0" + leaf).digest()


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes (RFC 6962 §2.1)."""
    if len(leaves) == 1:
        return leaves[0]
    left = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + tree_root(leaves[:left]) + tree_root(leaves[left:])).digest()


def read_table(
    manifest: Manifest, chunk_hashes: Sequence[bytes], chunks: Iterable[bytes], outputs: Iterable[bytes]
) -> dict[bytes, bytes]:
    """Payloads by tag of the rows that `outputs` open, after the last chunk was verified (§2.6)."""
    lengths = manifest.chunk_lengths
    expect(len(chunk_hashes) == len(lengths), "a hash for every chunk")
    expect(all(len(h) == 32 for h in chunk_hashes), "hashes of 32 bytes")
    expect(tree_root(chunk_hashes) == manifest.root, "hashes that lead to the root")
    keys = dict(row_key(manifest, output) for output in outputs)
    payloads, damaged, last_tag, count = {}, False, b"", 0
    for index, chunk in enumerate(chunks):
        expect(index < len(lengths) and len(chunk) == lengths[index], "a chunk of its exact length")
        expect(leaf_hash(chunk) == chunk_hashes[index], "the chunk of this place")
        for start in range(0, len(chunk), manifest.row_bytes):
            row = chunk[start : start + manifest.row_bytes]
            tag, last_tag = row[:16], _following(last_tag, row[:16])
            try:
                if tag in keys:
                    sealed = ChaCha20Poly1305(keys[tag])
                    payloads[tag] = sealed.decrypt(bytes(12), row[16:], manifest.context + tag)
            except InvalidTag:
                damaged = True
        count += 1
    expect(count == len(lengths), "every chunk")
    expect(not damaged, "rows that open")
    return payloads


def row_key(manifest: Manifest, output: bytes) -> tuple[bytes, bytes]:
    """Tag and key of the row of an OPRF output (§2.1)."""
    person = b"noren/v1/row" + bytes(4)
    made = hashlib.blake2b(output, digest_size=48, key=manifest.context, person=person).digest()
    return made[:16], made[16:]


def read_revocations(
    table_id: bytes, platform_key: bytes, revocations: bytes, signature: bytes
) -> tuple[int, frozenset[bytes]]:
    """Sequence number and tags of a table's signed revocation list (§2.7)."""
    try:
        signed = b"noren/v1/revocations\0" + revocations
        Ed25519PublicKey.from_public_bytes(platform_key).verify(signature, signed)
    except InvalidSignature:
        raise RefusedError("the platform's signature expected") from None
    tags = [revocations[i : i + 16] for i in range(24, len(revocations), 16)]
    expect(revocations[:16] == table_id, "the list of this table")
    sequence = int.from_bytes(revocations[16:24])
    expect(1 <= sequence < 2**63, "a sequence number")
    expect(len(revocations) == 24 + 16 * len(tags) and 64 <= len(tags) <= 2**17, "whole tags")
    expect(len(tags) % 64 == 0 and all(a < b for a, b in pairwise(tags)), "a padded, sorted list")
    return sequence, frozenset(tags)


def not_revoked(payloads: Mapping[bytes, bytes], revoked: frozenset[bytes]) -> dict[bytes, bytes]:
    """The payloads that may be used."""
    return {tag: payload for tag, payload in payloads.items() if tag not in revoked}


def _following(last: bytes, tag: bytes) -> bytes:
    expect(tag > last or not last, "strictly increasing tags")
    return tag
