"""Erasure orders: what every company of a campaign is told to delete, and how far each order is.

docs/rights/erasure.md §3. Promises: an order goes to every company of a campaign at once, whether anybody
left or not, and names tables and the age of their revocation lists, never a person, so that it says nothing
about who withdrew where; which step may follow which is one table, on both sides; an illegal event changes
nothing.

Left to the caller: that the ledger has the order, and clocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from noren_core.crypto.identity import SigningKey
from noren_core.crypto.revocation_list import MAX_SEQUENCE
from noren_core.crypto.sealed_table import TABLE_ID_BYTES
from noren_core.errors import DataError, LocalProtocolError
from noren_core.ids import TableKind
from noren_core.ledger.entries import ErasureGround
from noren_core.rights import fields
from noren_core.rights.fields import read_fields
from noren_core.rights.signed_statement import SignedStatement, parse_statement, sign_statement

ORDER_FORMAT = "noren/v1/erasure-order"
ORDER_ID_BYTES = 16
MAX_ORDER_BYTES = 8192
MAX_TABLES = len(TableKind)

_LABEL = ORDER_FORMAT.encode()


@dataclass(frozen=True, slots=True)
class OrderedTable:
    """The company's newest table of a kind, and how old a revocation list may be that is acted on."""

    kind: TableKind
    table_id: bytes
    sequence: int

    def to_body(self) -> dict[str, Any]:
        """As it stands in an order."""
        return {"kind": self.kind.value, "table_id": self.table_id.hex(), "sequence": self.sequence}

    @classmethod
    def from_body(cls, body: object) -> Self:
        """What `to_body` wrote; DataError for anything else."""
        return cls(**read_fields(body, _TABLE_FIELDS, "ordered table"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureOrder:
    """One order.

    Attributes:
        order_id: 16 random bytes; the ledger has a hash of the order, and without this nobody could guess it.
        ground: for `rights` what is on the revocation lists goes; for every other ground all that the
            company holds about persons for this campaign.
        tables: by kind, at most one each.
        issued_at, due_at: Unix seconds.
        disclose_first: whether open disclosures are answered before anything is deleted.
    """

    order_id: bytes
    company: str
    campaign: str
    ground: ErasureGround
    tables: tuple[OrderedTable, ...]
    issued_at: int
    due_at: int
    disclose_first: bool

    def __post_init__(self) -> None:
        kinds = [table.kind for table in self.tables]
        if kinds != sorted(set(kinds)):
            raise DataError("erasure order: expected at most one table of a kind, in order, got others")
        if self.due_at <= self.issued_at:
            raise DataError("erasure order: expected a due date after the day of issue, got another")

    @property
    def is_whole(self) -> bool:
        """Whether everything about persons goes, not only what was revoked."""
        return self.ground is not ErasureGround.RIGHTS

    @property
    def keeps_models(self) -> bool:
        """Whether models may stay, their influence bounded by their (ε, δ)."""
        return self.ground in (ErasureGround.RIGHTS, ErasureGround.LEAK)

    def sign(self, key: SigningKey) -> SignedStatement:
        """The platform's order."""
        return sign_statement(_LABEL, self.to_body(), key)

    def to_body(self) -> dict[str, Any]:
        """What is signed."""
        return {
            "format": ORDER_FORMAT,
            "order_id": self.order_id.hex(),
            "company": self.company,
            "campaign": self.campaign,
            "ground": self.ground.value,
            "tables": [table.to_body() for table in self.tables],
            "issued_at": self.issued_at,
            "due_at": self.due_at,
            "disclose_first": self.disclose_first,
        }


def parse_order(data: bytes) -> tuple[ErasureOrder, SignedStatement]:
    """The order in `data` and as it was signed; `verify_order` says whose signature; DataError otherwise."""
    statement = parse_statement(data, "erasure order", limit=MAX_ORDER_BYTES)
    found = read_fields(statement.body, _ORDER_FIELDS, "erasure order")
    del found["format"]
    return ErasureOrder(**found), statement


def verify_order(statement: SignedStatement, platform_key: bytes) -> None:
    """Raise VerificationError unless the platform signed the order."""
    statement.verify(_LABEL, platform_key)


def order_sha256(statement: SignedStatement) -> bytes:
    """What the ledger says of the order."""
    return statement.digest(_LABEL)


def entry_body(order: ErasureOrder, statement: SignedStatement) -> dict[str, Any]:
    """The body of the `erasure-order` entry."""
    return {
        "campaign": order.campaign,
        "company": order.company,
        "order_sha256": order_sha256(statement).hex(),
        "ground": order.ground.value,
        "due_at": order.due_at,
    }


class OrderState(StrEnum):
    """How far an order is."""

    ISSUED = "issued"
    RECEIVED = "received"
    EXECUTING = "executing"
    CERTIFIED = "certified"  # a certificate came; whether it holds is another question
    VERIFIED = "verified"
    OVERDUE = "overdue"
    ESCALATED = "escalated"


class OrderEvent(StrEnum):
    """What can happen to an order."""

    RECEIVE = "receive"
    EXECUTE = "execute"
    CERTIFY = "certify"
    VERIFY = "verify"
    REJECT = "reject"  # the certificate does not hold
    FALL_DUE = "fall-due"
    ESCALATE = "escalate"


_S, _E = OrderState, OrderEvent
TRANSITIONS: Mapping[tuple[OrderState, OrderEvent], OrderState] = {
    (_S.ISSUED, _E.RECEIVE): _S.RECEIVED,
    (_S.ISSUED, _E.FALL_DUE): _S.OVERDUE,
    (_S.RECEIVED, _E.EXECUTE): _S.EXECUTING,
    (_S.RECEIVED, _E.FALL_DUE): _S.OVERDUE,
    (_S.EXECUTING, _E.CERTIFY): _S.CERTIFIED,
    (_S.EXECUTING, _E.FALL_DUE): _S.OVERDUE,
    (_S.CERTIFIED, _E.VERIFY): _S.VERIFIED,
    (_S.CERTIFIED, _E.REJECT): _S.EXECUTING,
    (_S.VERIFIED, _E.REJECT): _S.EXECUTING,  # disputed, and the auditor agreed
    (_S.OVERDUE, _E.EXECUTE): _S.EXECUTING,  # late is better than never
    (_S.OVERDUE, _E.ESCALATE): _S.ESCALATED,
    (_S.ESCALATED, _E.EXECUTE): _S.EXECUTING,
}
"""Everything that can happen. What is not here is refused."""

OPEN_STATES = frozenset({_S.ISSUED, _S.RECEIVED, _S.EXECUTING, _S.OVERDUE, _S.ESCALATED})
"""Without a certificate."""


def next_order_state(state: OrderState, event: OrderEvent) -> OrderState:
    """The state after an event; LocalProtocolError (ILLEGAL_STATE) for one that cannot happen there."""
    following = TRANSITIONS.get((state, event))
    if following is None:
        raise LocalProtocolError(f"erasure order: expected an event that can follow {state}, got {event}")
    return following


class HoldReason(StrEnum):
    """Why something may not be deleted for now; a closed list, since text could name people."""

    COURT_ORDER = "COURT_ORDER"
    AUTHORITY_REQUEST = "AUTHORITY_REQUEST"
    PENDING_LITIGATION = "PENDING_LITIGATION"


@dataclass(frozen=True, slots=True)
class LegalHold:
    """A duty to keep what a company has of a campaign; visible to the auditor, ended by its date.

    Attributes:
        until: Unix seconds; it holds before that.
    """

    company: str
    campaign: str
    reason: HoldReason
    until: int

    def to_body(self) -> dict[str, Any]:
        """As it is kept and reported."""
        return {
            "company": self.company,
            "campaign": self.campaign,
            "reason": self.reason.value,
            "until": self.until,
        }

    @classmethod
    def from_body(cls, body: object) -> Self:
        """What `to_body` wrote; DataError for anything else."""
        return cls(**read_fields(body, _HOLD_FIELDS, "legal hold"))

    def verify_over(self, *, now: int) -> None:
        """Raise LocalProtocolError (LEGAL_HOLD_ACTIVE) while it holds."""
        if now < self.until:
            raise LocalProtocolError(
                f"erasure: expected no legal hold, got one until {self.until} ({self.reason})",
                code="LEGAL_HOLD_ACTIVE",
            )


def _tables(value: object) -> tuple[OrderedTable, ...]:
    if not isinstance(value, list) or len(value) > MAX_TABLES:
        raise DataError(f"expected a list of at most {MAX_TABLES} tables, got another value")
    return tuple(map(OrderedTable.from_body, value))


_TABLE_FIELDS = {
    "kind": fields.word_of(TableKind),
    "table_id": fields.bytes_of(TABLE_ID_BYTES),
    "sequence": fields.integer_in(1, MAX_SEQUENCE),
}
_ORDER_FIELDS = {
    "format": fields.constant(ORDER_FORMAT),
    "order_id": fields.bytes_of(ORDER_ID_BYTES),
    "company": fields.name,
    "campaign": fields.name,
    "ground": fields.word_of(ErasureGround),
    "tables": _tables,
    "issued_at": fields.seconds,
    "due_at": fields.seconds,
    "disclose_first": fields.boolean,
}
_HOLD_FIELDS = {
    "company": fields.name,
    "campaign": fields.name,
    "reason": fields.word_of(HoldReason),
    "until": fields.seconds,
}
