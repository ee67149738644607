"""Our erasure orders: as the ledger proves them, and which of them these files have carried out.

    campaigns/<campaign>/erasure.json    by ledger index, how far each order is on these files
    campaigns/<campaign>/legal-hold.json a duty to keep, if there is one

docs/rights/erasure.md §6. Promises: an order counts only with its entry in the ledger and the platform's
signature, and none is left out between two that are shown; what was carried out is written in the same
directory as what it was done to, so that a restored copy is behind by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from noren_client import campaign_files, keystore
from noren_client.ledger_watch import LedgerWatch
from noren_core import canonical_json
from noren_core.errors import DataError, LocalProtocolError, NorenError, VerificationError
from noren_core.ledger.entries import PLATFORM, EntryKind, PlatformKey
from noren_core.ledger.proofs import LedgerProof, VerifiedEntry
from noren_core.rights.erasure.erasure_order import (
    ErasureOrder,
    LegalHold,
    OrderEvent,
    OrderState,
    next_order_state,
    order_sha256,
    parse_order,
    verify_order,
)
from noren_core.rights.erasure.tombstones import ShownOrder, verify_applied
from noren_core.rights.signed_statement import SignedStatement
from noren_local.private_file import write_private

STATE_FILE = "erasure.json"
HOLD_FILE = "legal-hold.json"


class OrderTransport(Protocol):
    """How orders come and certificates go (`noren_client.rights.transport.RightsClient`)."""

    def fetch_orders(self, campaign: str, *, known_tree_size: int) -> tuple[Sequence[bytes], LedgerProof]:
        """Our signed orders, and the proof of their entries and of our certificates'."""

    def deliver_certificate(
        self, campaign: str, certificate: bytes, entry: bytes, *, known_tree_size: int
    ) -> LedgerProof:
        """Deliver one certificate."""


@dataclass(frozen=True, slots=True)
class ReceivedOrder:
    """An order as the ledger proves it, and how far it is on these files."""

    index: int
    order: ErasureOrder
    signed: SignedStatement
    state: OrderState
    is_certified: bool


def fetch(
    company_dir: Path, campaign: str, transport: OrderTransport, watch: LedgerWatch
) -> tuple[ReceivedOrder, ...]:
    """Our orders in a campaign, oldest first.

    1. The ledger proves the entries about us.
    2. To each entry belongs an order of that hash, and to each order an entry.
    3. The platform signed it with the key that it had then, for us and this campaign.
    4. That it was received is on disk.

    Raises:
        VerificationError, DataError: if step 1, 2 or 3 fails; nothing is changed.
    """
    orders, proof = transport.fetch_orders(campaign, known_tree_size=watch.known_tree_size)
    ours = (campaign, keystore.load(company_dir).company)
    proven = [  # 1
        item for item in watch.accept(proof) if (item.entry.campaign, item.entry.company) == ours
    ]
    entries = [item for item in proven if item.entry.kind is EntryKind.ERASURE_ORDER]
    certified = {
        item.entry.body["order"] for item in proven if item.entry.kind is EntryKind.DELETION_CERTIFICATE
    }
    parsed = {
        order_sha256(statement).hex(): (order, statement) for order, statement in map(parse_order, orders)
    }
    if sorted(parsed) != sorted(item.entry.body["order_sha256"] for item in entries):  # 2
        raise VerificationError("erasure: expected the orders that the ledger has, got others")
    states = kept_states(company_dir, campaign)
    received = []
    for item in entries:
        order, statement = parsed[item.entry.body["order_sha256"]]
        _verify(item, order, statement, watch, ours)  # 3
        state = states.get(item.index, OrderState.ISSUED)
        if state is OrderState.ISSUED:
            state = next_order_state(state, OrderEvent.RECEIVE)
        received.append(ReceivedOrder(item.index, order, statement, state, item.index in certified))
    _write_states(company_dir, campaign, {item.index: item.state for item in received})  # 4
    return tuple(received)


def verify_up_to_date(company_dir: Path, campaign: str, transport: OrderTransport) -> None:
    """Raise LocalProtocolError unless these files have carried out every order of the campaign.

    Its code is PENDING_ERASURE_ORDERS, or RESTORE_NEEDS_TOMBSTONES for files that are an older copy. To be
    asked at the beginning of whatever uses what is kept about persons.
    """
    received = fetch(company_dir, campaign, transport, LedgerWatch(company_dir))
    applied = [item.index for item in received if item.state is OrderState.CERTIFIED]
    verify_applied([ShownOrder(item.index, item.is_certified) for item in received], applied)


def advance(company_dir: Path, campaign: str, index: int, event: OrderEvent) -> OrderState:
    """Write down that something happened to an order; its state then."""
    states = kept_states(company_dir, campaign)
    states[index] = next_order_state(states.get(index, OrderState.ISSUED), event)
    _write_states(company_dir, campaign, states)
    return states[index]


def set_hold(company_dir: Path, hold: LegalHold) -> None:
    """Record a duty to keep what we have of a campaign; tell the platform and the auditor yourself."""
    path = campaign_files.directory(company_dir, hold.campaign) / HOLD_FILE
    write_private(path, canonical_json.encode(hold.to_body()))


def verify_no_hold(company_dir: Path, campaign: str, *, now: int) -> None:
    """Raise LocalProtocolError (LEGAL_HOLD_ACTIVE) while there is a duty to keep."""
    hold = kept_hold(company_dir, campaign)
    if hold is not None:
        hold.verify_over(now=now)


def kept_hold(company_dir: Path, campaign: str) -> LegalHold | None:
    """The duty to keep that was recorded last, over or not; LocalProtocolError if its file is damaged."""
    path = campaign_files.directory(company_dir, campaign) / HOLD_FILE
    if not path.exists():
        return None
    try:
        return LegalHold.from_body(canonical_json.parse_object(path.read_bytes()))
    except DataError as error:
        raise LocalProtocolError(f"{HOLD_FILE}: expected a legal hold, got another file") from error


def kept_states(company_dir: Path, campaign: str) -> dict[int, OrderState]:
    """By ledger index, how far every order is that was fetched; asks nobody."""
    path = campaign_files.directory(company_dir, campaign) / STATE_FILE
    if not path.exists():
        return {}
    try:
        body = canonical_json.parse_object(path.read_bytes())
        return {int(index): OrderState(state) for index, state in body.items()}
    except (NorenError, TypeError, ValueError) as error:
        raise LocalProtocolError(
            f"{STATE_FILE}: expected the orders that we kept, got another file"
        ) from error


def _verify(
    item: VerifiedEntry,
    order: ErasureOrder,
    statement: SignedStatement,
    watch: LedgerWatch,
    ours: tuple[str, str],
) -> None:
    body = item.entry.body
    said = (order.campaign, order.company, order.ground.value, order.due_at)
    if said != (*ours, body["ground"], body["due_at"]):
        raise VerificationError("erasure: expected the order that its entry describes, got another")
    verify_order(statement, bytes.fromhex(watch.keys().key_at(PLATFORM, PlatformKey.PLATFORM, item.index)))


def _write_states(company_dir: Path, campaign: str, states: dict[int, OrderState]) -> None:
    body = {str(index): state.value for index, state in states.items()}
    path = campaign_files.directory(company_dir, campaign) / STATE_FILE
    write_private(path, canonical_json.encode(body))
