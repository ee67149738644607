"""Who decided a batch: a statement that is sealed with the decisions, as one of the leaves that look random.

docs/rights/gate-at-a-company.md §2. Promises: who decided cannot be changed once the batch is in the ledger,
and the ledger does not say who it was, since a leaf with a statement is as good as random to whoever lacks
its salt.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any, Self

from noren_core import canonical_json, ids
from noren_core.crypto.secret import Secret
from noren_core.errors import DataError, VerificationError
from noren_core.rights.gate.decision_batch import SealedBatch
from noren_core.rights.signed_statement import Fields

SALT_BYTES = 32
MAX_DECIDERS = 64

_LABEL = b"noren/v1/decider-statement\0"


@dataclass(frozen=True, slots=True, repr=False)
class DeciderStatement(Secret):
    """Who decided about a position of a season.

    Attributes:
        deciders: names of the staff, distinct, sorted.
        position, season: what was decided about.
        salt: 32 random bytes.
    """

    deciders: tuple[str, ...]
    position: str
    season: str
    salt: bytes

    def __post_init__(self) -> None:
        if not 1 <= len(self.deciders) <= MAX_DECIDERS or list(self.deciders) != sorted(set(self.deciders)):
            raise DataError(f"deciders: expected 1 to {MAX_DECIDERS} names in order, got another list")
        for name in (*self.deciders, self.position, self.season):
            ids.parse_name(name, "deciders")
        if len(self.salt) != SALT_BYTES:
            raise DataError(f"deciders: expected a salt of {SALT_BYTES} bytes, got another length")

    @property
    def leaf(self) -> bytes:
        """SHA-256(label ‖ 0 ‖ salt ‖ canonical JSON of deciders, position and season)."""
        said = {"deciders": list(self.deciders), "position": self.position, "season": self.season}
        return hashlib.sha256(_LABEL + self.salt + canonical_json.encode(said)).digest()

    def sealed_in(self, batch: SealedBatch) -> SealedBatch:
        """The batch with this statement in place of a random leaf; DataError if it has none."""
        if not batch.padding:
            raise DataError("deciders: expected a batch with a leaf to spare, got a full one")
        return replace(batch, padding=(self.leaf, *batch.padding[1:]))

    def verify_sealed(self, batch: SealedBatch) -> None:
        """Raise VerificationError unless this statement, about its position, is a leaf of the batch."""
        is_about_it = (self.position, self.season) == (batch.position, batch.season)
        if not is_about_it or self.leaf not in batch.padding:
            raise VerificationError("deciders: expected those that were sealed with the batch, got others")

    def to_body(self) -> dict[str, Any]:
        """As it is kept and exported."""
        return {
            "deciders": list(self.deciders),
            "position": self.position,
            "season": self.season,
            "salt": self.salt.hex(),
        }

    @classmethod
    def from_body(cls, body: Any) -> Self:
        """The statement that `to_body` gave; DataError for anything else."""
        fields = Fields(body, "deciders")
        deciders = fields.items("deciders", MAX_DECIDERS)
        if not all(isinstance(name, str) for name in deciders):
            raise DataError("deciders: expected names, got another value")
        statement = cls(
            tuple(deciders),
            fields.name("position"),
            fields.name("season"),
            fields.hex_bytes("salt", SALT_BYTES),
        )
        fields.finish()
        return statement
