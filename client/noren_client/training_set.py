"""The joined training set: the company's opened rows with its own outcomes, and each row's public name."""

from __future__ import annotations

import struct
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from noren_core.crypto.sealed_table import TABLE_ID_BYTES, TAG_BYTES
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import DataError
from noren_core.season.row_commitment import TrainingRow, rows_root

_SHAPE = struct.Struct(f"<IH{TABLE_ID_BYTES}s")


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class TrainingSet:
    """n rows of d coordinates.

    Attributes:
        tags: n of 16 bytes, ascending, each once; what a revocation list names a row by.
        rows: (n, d), in the integer units of the release.
        labels: (n,) of 0 and 1.
        table_id: of the sealed table that they were opened from; revocation lists are about one table.
    """

    tags: tuple[bytes, ...]
    rows: npt.NDArray[np.int16]
    labels: npt.NDArray[np.int8]
    table_id: bytes

    def to_bytes(self) -> bytes:
        """n(4) ‖ d(2) ‖ table id(16) ‖ tags(16·n) ‖ rows(2·n·d) ‖ labels(n), numbers little-endian.

        The inverse of `from_bytes`.
        """
        values = self.rows.astype("<i2").tobytes() + self.labels.astype("i1").tobytes()
        return _SHAPE.pack(*self.rows.shape, self.table_id) + b"".join(self.tags) + values

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The training set in `data`; DataError if it is not one."""
        n, d, table_id = _SHAPE.unpack_from(data) if len(data) >= _SHAPE.size else (0, 0, b"")
        if not d or len(data) != _SHAPE.size + n * (TAG_BYTES + 2 * d + 1):
            raise DataError("training set: expected rows with tags and labels, got another length")
        rows_at = _SHAPE.size + n * TAG_BYTES
        tags = tuple(data[at : at + TAG_BYTES] for at in range(_SHAPE.size, rows_at, TAG_BYTES))
        if list(tags) != sorted(set(tags)):
            raise DataError("training set: expected each tag once, in ascending order, got another order")
        rows = np.frombuffer(data, dtype="<i2", count=n * d, offset=rows_at).reshape(n, d)
        labels = np.frombuffer(data, dtype="i1", offset=rows_at + 2 * n * d)
        if not np.isin(labels, (0, 1)).all():
            raise DataError("training set: expected labels of 0 and 1, got another")
        return cls(tags, rows.astype(np.int16), labels.astype(np.int8), table_id)

    def without(self, revoked: Collection[bytes]) -> TrainingSet:
        """The rows whose tag is none of these."""
        return self._where([tag not in revoked for tag in self.tags])

    def only(self, tags: Collection[bytes]) -> TrainingSet:
        """The rows whose tag is one of these."""
        return self._where([tag in tags for tag in self.tags])

    def _where(self, is_kept: list[bool]) -> TrainingSet:
        chosen = np.array(is_kept, dtype=np.bool_)
        return replace(
            self,
            tags=tuple(tag for tag, kept in zip(self.tags, is_kept, strict=True) if kept),
            rows=self.rows[chosen],
            labels=self.labels[chosen],
        )

    def root(self, salt: SecretBytes) -> bytes:
        """What the company commits to before it trains."""
        return rows_root(self.committed_rows(), salt)

    def committed_rows(self) -> list[TrainingRow]:
        """What the commitment is to, and a replay is made of."""
        return [
            TrainingRow(tag, tuple(coordinates), label)
            for tag, coordinates, label in zip(
                self.tags, self.rows.tolist(), self.labels.tolist(), strict=True
            )
        ]
