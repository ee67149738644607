"""What one person proposes and another confirms: acts of the console that nobody does alone.

    console/proposals.db

Promises: who proposed does not confirm; a proposal is carried out at most once, and counts as confirmed only
when what it proposes was done; it lapses after `VALID_SECONDS`.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from noren_core import canonical_json
from noren_core.errors import LocalProtocolError
from noren_server.policies.evidence_file import EvidenceFile

DATABASE_NAME = "console/proposals.db"
VALID_SECONDS = 7 * 86_400

_SCHEMA = """
CREATE TABLE proposals (
    proposal TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    about TEXT NOT NULL,
    body BLOB NOT NULL,
    proposed_by TEXT NOT NULL,
    proposed_at INTEGER NOT NULL,
    state TEXT NOT NULL,
    decided_by TEXT NOT NULL,
    decided_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX proposals_by_state ON proposals (state, kind, about);
"""
_COLUMNS = "proposal, kind, about, body, proposed_by, proposed_at"


class ProposalState(StrEnum):
    """Where a proposal is."""

    OPEN = "open"
    CONFIRMED = "confirmed"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Proposal:
    """Something that waits for a second person.

    Attributes:
        proposal: its random handle.
        kind: what is to be done, such as `company-revoke`.
        about: to what: an opaque name.
        body: with what: texts by name.
        proposed_by: a person's name.
        proposed_at: Unix seconds.
    """

    proposal: str
    kind: str
    about: str
    body: Mapping[str, Any]
    proposed_by: str
    proposed_at: int

    @property
    def until(self) -> int:
        """When it lapses, Unix seconds."""
        return self.proposed_at + VALID_SECONDS


class Proposals:
    """The proposals of one platform."""

    def __init__(self, directory: Path, clock: Callable[[], int]) -> None:
        self._file = EvidenceFile(directory / DATABASE_NAME, schema=_SCHEMA, version=1)
        self._clock = clock

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def propose(self, kind: str, about: str, body: Mapping[str, Any], *, by: str) -> Proposal:
        """Propose something; LocalProtocolError (PROPOSAL_OPEN) if the same waits already."""
        now = self._clock()
        made = Proposal(secrets.token_hex(16), kind, about, dict(body), by, now)
        with self._file.writing() as database:
            if any(item.kind == kind and item.about == about for item in self._open(database, kind)):
                raise LocalProtocolError(
                    "proposal: expected none of this kind that waits, got one", code="PROPOSAL_OPEN"
                )
            database.execute(
                f"INSERT INTO proposals ({_COLUMNS}, state, decided_by, decided_at) "  # noqa: S608 (our names)
                "VALUES (?, ?, ?, ?, ?, ?, ?, '', 0)",
                (made.proposal, kind, about, canonical_json.encode(made.body), by, now, ProposalState.OPEN),
            )
        return made

    def waiting(self, kind: str = "") -> tuple[Proposal, ...]:
        """What waits for a second person, of one kind or of all, oldest first."""
        with self._file.reading() as database:
            return self._open(database, kind)

    @contextmanager
    def confirming(self, proposal: str, kind: str, *, by: str) -> Iterator[Proposal]:
        """Carry out a proposal in the block; if that raises, it still waits.

        Raises:
            LocalProtocolError: PROPOSAL_GONE, if none of this handle and kind waits;
                SECOND_PERSON_REQUIRED, if `by` proposed it.
        """
        with self._file.writing() as database:
            found = self._find(database, proposal, kind)
            if found.proposed_by == by:
                raise LocalProtocolError(
                    "proposal: expected somebody else to confirm than who proposed, got the same person",
                    code="SECOND_PERSON_REQUIRED",
                )
            yield found
            self._decide(database, proposal, ProposalState.CONFIRMED, by)

    def withdraw(self, proposal: str, kind: str, *, by: str) -> None:
        """Take a proposal back, or refuse it; LocalProtocolError (PROPOSAL_GONE) if there is none."""
        with self._file.writing() as database:
            self._find(database, proposal, kind)
            self._decide(database, proposal, ProposalState.WITHDRAWN, by)

    def _find(self, database: sqlite3.Connection, proposal: str, kind: str) -> Proposal:
        for item in self._open(database, kind):
            if item.proposal == proposal:
                return item
        raise LocalProtocolError("proposal: expected one that waits, got none", code="PROPOSAL_GONE")

    def _open(self, database: sqlite3.Connection, wanted: str) -> tuple[Proposal, ...]:
        found = database.execute(
            f"SELECT {_COLUMNS} FROM proposals WHERE state = ? AND ? IN ('', kind) AND proposed_at > ? "  # noqa: S608
            "ORDER BY proposed_at, kind, about",
            (ProposalState.OPEN, wanted, self._clock() - VALID_SECONDS),
        ).fetchall()
        return tuple(
            Proposal(proposal, kind, about, canonical_json.parse_object(body), by, at)
            for proposal, kind, about, body, by, at in found
        )

    def _decide(self, database: sqlite3.Connection, proposal: str, state: ProposalState, by: str) -> None:
        database.execute(
            "UPDATE proposals SET state = ?, decided_by = ?, decided_at = ? WHERE proposal = ?",
            (state, by, self._clock(), proposal),
        )
