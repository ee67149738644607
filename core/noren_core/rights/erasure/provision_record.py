"""Provision records: something about a person was handed to a company, and both sides keep that it was.

docs/rights/provision-records.md. The platform writes one for every row before the table comes out; the
company writes its twin before it uses a row. Neither can find the other's person: they meet in (table id,
tag).

Promises: a twin says who provided what to whom, when and how; a comparison on the company's premises shows
whether every row that the company opened is one that the platform says it provided, and tells nobody which
other rows are persons'.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Self

from noren_core import canonical_json
from noren_core.crypto.sealed_table import TABLE_ID_BYTES, TAG_BYTES
from noren_core.errors import DataError, VerificationError
from noren_core.ids import TableKind
from noren_core.rights import fields
from noren_core.rights.fields import check_bytes, check_seconds, read_fields

TWIN_FORMAT = "noren/v1/provision-twin"
COMPARISON_FORMAT = "noren/v1/provision-comparison"
KEPT_SECONDS = 3 * 366 * 86_400
SALT_BYTES = 32
DIGEST_BYTES = 32
MAX_ROWS = 1 << 26

_LABEL = b"noren/v1/provision-comparison\0"


@dataclass(frozen=True, slots=True)
class ProvisionTwin:
    """What a company writes down about a table before it uses a row of it: the recipient's side.

    Attributes:
        provider: the platform's name.
        recipient: the company's.
        table_id: of the sealed table, 16 bytes.
        items: what a row holds, by the flow manifest's word.
        received_at: Unix seconds.
        tags: of the rows that it opened and may use, ascending.
    """

    provider: str
    recipient: str
    campaign: str
    kind: TableKind
    table_id: bytes
    items: str
    received_at: int
    tags: tuple[bytes, ...] = field(repr=False)

    def __post_init__(self) -> None:
        check_bytes(self.table_id, TABLE_ID_BYTES, "provision twin, table")
        check_seconds(self.received_at, "provision twin, time")
        if list(self.tags) != sorted(set(self.tags)) or any(len(tag) != TAG_BYTES for tag in self.tags):
            raise DataError("provision twin: expected each tag once, in ascending order, got others")

    def to_bytes(self) -> bytes:
        """As it is kept."""
        return canonical_json.encode(
            {
                "format": TWIN_FORMAT,
                "provider": self.provider,
                "recipient": self.recipient,
                "campaign": self.campaign,
                "kind": self.kind.value,
                "table_id": self.table_id.hex(),
                "items": self.items,
                "consent_taker": self.provider,
                "acquisition": "sealed-table",
                "received_at": self.received_at,
                "tags": [tag.hex() for tag in self.tags],
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """What `to_bytes` wrote; DataError for anything else."""
        found = read_fields(canonical_json.parse_object(data), _TWIN_FIELDS, "provision twin")
        for name in ("format", "consent_taker", "acquisition"):
            del found[name]
        return cls(**found)


def comparison(table_id: bytes, tags: Iterable[bytes], *, salt: bytes) -> bytes:
    """The provider's side of a comparison: sorted salted hashes of the tags of a table's rows."""
    check_bytes(salt, SALT_BYTES, "comparison, salt")
    digests = sorted(_digest(salt, table_id, tag).hex() for tag in tags)
    body = {
        "format": COMPARISON_FORMAT,
        "table_id": table_id.hex(),
        "salt": salt.hex(),
        "rows": digests,
    }
    return canonical_json.encode(body)


def verify_twin(twin: ProvisionTwin, comparison_file: bytes) -> None:
    """Raise VerificationError (PROVISION_MISMATCH) unless every row of the twin is one that was provided.

    Rows that were provided and that the company did not open are no mismatch: it does not know these people.
    """
    found = read_fields(canonical_json.parse_object(comparison_file), _COMPARISON_FIELDS, "comparison")
    if found["table_id"] != twin.table_id:
        raise VerificationError(
            "provisions: expected the comparison for this table, got another's", code="PROVISION_MISMATCH"
        )
    provided: Collection[bytes] = found["rows"]
    if not all(_digest(found["salt"], twin.table_id, tag) in provided for tag in twin.tags):
        raise VerificationError(
            "provisions: expected only rows that the platform wrote down, got another",
            code="PROVISION_MISMATCH",
        )


def _digest(salt: bytes, table_id: bytes, tag: bytes) -> bytes:
    return hashlib.sha256(_LABEL + salt + table_id + tag).digest()


def _rows(value: object) -> frozenset[bytes]:
    if not isinstance(value, list) or len(value) > MAX_ROWS:
        raise DataError("expected a list of rows, got another value")
    return frozenset(map(fields.bytes_of(DIGEST_BYTES), value))


def _tags(value: object) -> tuple[bytes, ...]:
    if not isinstance(value, list) or len(value) > MAX_ROWS:
        raise DataError("expected a list of tags, got another value")
    return tuple(map(fields.bytes_of(TAG_BYTES), value))


_TWIN_FIELDS = {
    "format": fields.constant(TWIN_FORMAT),
    "provider": fields.name,
    "recipient": fields.name,
    "campaign": fields.name,
    "kind": fields.word_of(TableKind),
    "table_id": fields.bytes_of(TABLE_ID_BYTES),
    "items": fields.text,
    "consent_taker": fields.name,
    "acquisition": fields.constant("sealed-table"),
    "received_at": fields.seconds,
    "tags": _tags,
}
_COMPARISON_FIELDS = {
    "format": fields.constant(COMPARISON_FORMAT),
    "table_id": fields.bytes_of(TABLE_ID_BYTES),
    "salt": fields.bytes_of(SALT_BYTES),
    "rows": _rows,
}
