"""What a company shows an auditor on its premises about its decisions: `noren-company decisions export`.

docs/rights/gate-at-a-company.md §5. Lines of canonical JSON: a header, one line of applicants for each
position, one for each sealed batch with all that opens it, one for each access. Promises: what is parsed is
bounded and well formed, every batch is one of the header's season, and everything that names a batch names
one that is there. Whether it is true is for whoever has the ledger: `decision_batch.verify_evaluation`,
`decision_batch.verify_complete`, `DeciderStatement.verify_sealed`.

The file holds identifiers and decisions: it goes through a pipe, on the company's machine, and is not stored.
It holds no score, no band, and does not say whom an access was about.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from noren_core import canonical_json
from noren_core.crypto.secret import Secret
from noren_core.errors import DataError
from noren_core.ledger.entries import MAX_DECISION_BATCHES
from noren_core.rights.gate.decider_statement import DeciderStatement
from noren_core.rights.gate.decision_batch import MAX_BATCH_BYTES, SealedBatch
from noren_core.rights.signed_statement import Fields

FORMAT = "noren/v1/gate-file"
MAX_LINE_BYTES = MAX_BATCH_BYTES + (32 << 20)
MAX_FILE_BYTES = 1 << 30
MAX_POSITIONS = 256
MAX_APPLICANTS = 1 << 16
MAX_ACCESSES = 1 << 20
MAX_REVERSALS = 1 << 16
MAX_LINES = 1 + MAX_POSITIONS + MAX_DECISION_BATCHES + MAX_ACCESSES
HANDLE_BYTES = 16
ACCESS_SHOWN = "SHOWN"
"""The outcome of an access at which a band was shown; every other outcome is another word."""

_IDENTIFIER = re.compile(r"(?:[0-9a-f]{2}){1,1024}\Z")
_BLINDING = re.compile(r"(?:[0-9a-f]{2})*\Z")
_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,39}\Z")


class LineKind(StrEnum):
    """What a line is."""

    HEADER = "header"
    APPLICANTS = "applicants"
    BATCH = "batch"
    ACCESS = "access"


class ReversalReason(StrEnum):
    """Why an offer was taken back after the gate was open; a closed list, since text could name a score."""

    FALSE_STATEMENT = "false-statement"
    REQUIREMENT_NOT_MET = "requirement-not-met"
    POSITION_WITHDRAWN = "position-withdrawn"
    APPLICANT_WITHDREW = "applicant-withdrew"
    DECIDED_IN_ERROR = "decided-in-error"


@dataclass(frozen=True, slots=True, repr=False)
class Reversal(Secret):
    """An offer that was taken back after the gate was open.

    Attributes:
        identifier: normalised, of a pass leaf of its batch.
        reason: why.
        by: who of the staff recorded it.
        at: Unix seconds.
        viewed_at: when somebody first looked at this applicant's band; 0 if nobody did.
    """

    identifier: bytes
    reason: ReversalReason
    by: str
    at: int
    viewed_at: int

    def to_body(self) -> dict[str, Any]:
        """As it is kept and exported."""
        return {
            "identifier": self.identifier.hex(),
            "reason": self.reason.value,
            "by": self.by,
            "at": self.at,
            "viewed_at": self.viewed_at,
        }

    @classmethod
    def from_body(cls, body: Any) -> Self:
        """The reversal that `to_body` gave; DataError for anything else."""
        fields = Fields(body, "reversal")
        identifier = _hex(fields.text("identifier", 2048), _IDENTIFIER, "reversal.identifier")
        reversal = cls(
            identifier,
            fields.word("reason", ReversalReason),
            fields.name("by"),
            fields.time("at"),
            fields.time("viewed_at"),
        )
        fields.finish()
        return reversal


@dataclass(frozen=True, slots=True, repr=False)
class ShownBatch(Secret):
    """A sealed batch with all that opens it.

    Attributes:
        index: of its `decision-batch` entry in the ledger.
        sealed_at: Unix seconds, as the entry says.
        batch: every decision and salt.
        statement: who decided.
        blinding: what was evaluated, with its blinds (`Blinding.to_bytes`).
        reversals: of its offers.
    """

    index: int
    sealed_at: int
    batch: SealedBatch
    statement: DeciderStatement
    blinding: bytes
    reversals: tuple[Reversal, ...]

    def to_line(self) -> bytes:
        """As it stands in the file."""
        return canonical_json.encode(
            {
                "line": LineKind.BATCH.value,
                "index": self.index,
                "sealed_at": self.sealed_at,
                "batch": canonical_json.parse_object(self.batch.to_bytes()),
                "statement": self.statement.to_body(),
                "blinding": self.blinding.hex(),
                "reversals": [item.to_body() for item in self.reversals],
            }
        )


@dataclass(frozen=True, slots=True)
class Access:
    """Somebody looked at a score, planned something with one, or was refused.

    Attributes:
        at: Unix seconds.
        staff: who.
        action: what, a name of `noren_core.rights.gate.roles.Action`.
        position: of the applicant.
        handle: random name of the record, 16 bytes; empty if there was none.
        outcome: ACCESS_SHOWN, another word for what was done, or the code of the refusal.
    """

    at: int
    staff: str
    action: str
    position: str
    handle: bytes
    outcome: str

    def to_body(self) -> dict[str, Any]:
        """As it stands in the file and in the company's log."""
        return {
            "at": self.at,
            "staff": self.staff,
            "action": self.action,
            "position": self.position,
            "handle": self.handle.hex(),
            "outcome": self.outcome,
        }

    @classmethod
    def take(cls, fields: Fields) -> Self:
        """The access in these fields, which may have others; DataError if it is malformed."""
        access = cls(
            fields.time("at"),
            fields.name("staff"),
            fields.name("action"),
            fields.name("position"),
            fields.optional_hex_bytes("handle", HANDLE_BYTES),
            fields.text("outcome", 40),
        )
        if not _CODE.match(access.outcome):
            raise DataError("access.outcome: expected a code in capitals, got another text")
        return access


@dataclass(frozen=True, slots=True)
class GateFile:
    """Everything that the gate of one campaign can be checked with.

    Attributes:
        campaign, company: whose.
        season: that is scored.
        applicants: normalised identifiers of everybody who applied, by position, from the company's records.
        batches: in the ledger's order.
        accesses: in the log's order.
    """

    campaign: str
    company: str
    season: str
    applicants: Mapping[str, frozenset[bytes]] = field(repr=False)
    batches: tuple[ShownBatch, ...] = field(repr=False)
    accesses: tuple[Access, ...] = field(repr=False)

    def lines(self) -> Iterator[bytes]:
        """The file, line by line, each with its line end."""
        header = {
            "line": LineKind.HEADER.value,
            "format": FORMAT,
            "campaign": self.campaign,
            "company": self.company,
            "season": self.season,
        }
        yield canonical_json.encode(header) + b"\n"
        for position, identifiers in sorted(self.applicants.items()):
            body = {
                "line": LineKind.APPLICANTS.value,
                "position": position,
                "applicants": [identifier.hex() for identifier in sorted(identifiers)],
            }
            yield canonical_json.encode(body) + b"\n"
        for batch in self.batches:
            yield batch.to_line() + b"\n"
        for access in self.accesses:
            yield canonical_json.encode({"line": LineKind.ACCESS.value, **access.to_body()}) + b"\n"


def parse_gate_file(data: bytes) -> GateFile:
    """The file that `GateFile.lines` made.

    1. Bounded; every line canonical JSON with a line end; the header first, and only there.
    2. Every line of its kind, in range.
    3. Batches are of the header's season, in ascending order, of positions with applicants; a reversal is
       of an offer of its batch.

    Raises:
        DataError: naming the first line that is wrong.
    """
    # 1
    if len(data) > MAX_FILE_BYTES:
        raise DataError(f"gate file: expected at most {MAX_FILE_BYTES} bytes, got more")
    if not data.endswith(b"\n"):
        raise DataError("gate file: expected whole lines, got a part of one")
    if data.count(b"\n") > MAX_LINES:  # before there is an object for each
        raise DataError(f"gate file: expected at most {MAX_LINES} lines, got more")
    lines = data[:-1].split(b"\n")
    header = Fields(_line(lines[0], 1), "gate file, line 1")
    header.constant("line", LineKind.HEADER)
    header.constant("format", FORMAT)
    campaign, company, season = (header.name(name) for name in ("campaign", "company", "season"))
    header.finish()
    # 2
    content = _Content()
    for number, line in enumerate(lines[1:], start=2):
        content.take(_line(line, number), f"gate file, line {number}")
    # 3
    content.verify(season)
    return GateFile(
        campaign, company, season, content.applicants, tuple(content.batches), tuple(content.accesses)
    )


class _Content:
    """The lines after the header, as they are read."""

    def __init__(self) -> None:
        self.applicants: dict[str, frozenset[bytes]] = {}
        self.batches: list[ShownBatch] = []
        self.accesses: list[Access] = []

    def take(self, body: dict[str, Any], what: str) -> None:
        batch, statement = body.pop("batch", None), body.pop("statement", None)
        fields = Fields(body, what)
        match fields.word("line", LineKind):
            case LineKind.HEADER:
                raise DataError("gate file: expected one header, got a second")
            case LineKind.APPLICANTS:
                self._take_applicants(fields)
            case LineKind.BATCH:
                self.batches.append(_batch(fields, batch, statement))
                batch = statement = None
            case LineKind.ACCESS:
                self.accesses.append(Access.take(fields))
        fields.finish()
        if batch is not None or statement is not None:
            raise DataError(f"{what}: expected no further fields, got others")
        if len(self.batches) > MAX_DECISION_BATCHES or len(self.accesses) > MAX_ACCESSES:
            raise DataError("gate file: expected fewer lines of one kind, got more")

    def _take_applicants(self, fields: Fields) -> None:
        position = fields.name("position")
        listed = _texts(fields.items("applicants", MAX_APPLICANTS), "gate file.applicants")
        identifiers = [_hex(item, _IDENTIFIER, "gate file.applicants") for item in listed]
        if position in self.applicants or identifiers != sorted(set(identifiers)):
            raise DataError("gate file: expected each position and applicant once, in order")
        if len(self.applicants) >= MAX_POSITIONS:
            raise DataError(f"gate file: expected at most {MAX_POSITIONS} positions, got more")
        self.applicants[position] = frozenset(identifiers)

    def verify(self, season: str) -> None:
        indices = [item.index for item in self.batches]
        if indices != sorted(set(indices)):
            raise DataError("gate file: expected batches in the ledger's order, got another")
        for item in self.batches:
            if item.batch.season != season or item.batch.position not in self.applicants:
                raise DataError("gate file: expected batches of the season and of listed positions")
            reversed_ones = [reversal.identifier for reversal in item.reversals]
            if len(set(reversed_ones)) != len(reversed_ones) or set(reversed_ones) - item.batch.passed:
                raise DataError("gate file: expected reversals of offers of their batch, each once")


def _line(line: bytes, number: int) -> dict[str, Any]:
    if len(line) > MAX_LINE_BYTES:
        raise DataError(f"gate file, line {number}: expected at most {MAX_LINE_BYTES} bytes, got more")
    return canonical_json.parse_object(line)


def _batch(fields: Fields, batch_body: Any, statement_body: Any) -> ShownBatch:
    index = fields.integer("index", 0, canonical_json.MAX_INTEGER)
    sealed_at = fields.time("sealed_at")
    batch = SealedBatch.from_bytes(canonical_json.encode({} if batch_body is None else batch_body))
    statement = DeciderStatement.from_body(statement_body)
    blinding = _hex(fields.text("blinding", 2 * MAX_BATCH_BYTES), _BLINDING, "gate file.blinding")
    reversals = tuple(Reversal.from_body(item) for item in fields.items("reversals", MAX_REVERSALS))
    return ShownBatch(index, sealed_at, batch, statement, blinding, reversals)


def _texts(values: Sequence[Any], what: str) -> list[str]:
    if not all(isinstance(value, str) for value in values):
        raise DataError(f"{what}: expected texts, got another value")
    return list(values)


def _hex(value: str, form: re.Pattern[str], what: str) -> bytes:
    if not form.match(value):
        raise DataError(f"{what}: expected lower-case hex digits, got another text")
    return bytes.fromhex(value)
