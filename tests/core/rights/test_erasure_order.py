"""Orders: what they say, what may follow what, and that they say nothing about who left."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from noren_core.crypto.identity import SigningKey
from noren_core.errors import DataError, LocalProtocolError, VerificationError
from noren_core.ids import TableKind
from noren_core.ledger.entries import EntryKind, ErasureGround, sign_entry
from noren_core.rights.erasure.erasure_order import (
    OPEN_STATES,
    TRANSITIONS,
    ErasureOrder,
    HoldReason,
    LegalHold,
    OrderedTable,
    OrderEvent,
    OrderState,
    entry_body,
    next_order_state,
    order_sha256,
    parse_order,
    verify_order,
)
from noren_core.rights.erasure.tombstones import ShownOrder, outstanding, verify_applied

KEY, STRANGER = SigningKey.from_bytes(bytes([1] * 32)), SigningKey.from_bytes(bytes([2] * 32))
NOW = 1_800_000_000
ORDER = ErasureOrder(
    order_id=bytes(range(16)),
    company="aoba",
    campaign="spring",
    ground=ErasureGround.RIGHTS,
    tables=(OrderedTable(TableKind.SCORE, bytes(16), 3), OrderedTable(TableKind.TRAIN, b"\1" * 16, 1)),
    issued_at=NOW,
    due_at=NOW + 1000,
    disclose_first=True,
)


def test_an_order_comes_back_as_it_was_signed() -> None:
    """Parsed and verified it is the same; another key, a changed byte or a further field is refused."""
    signed = ORDER.sign(KEY)
    order, statement = parse_order(signed.to_bytes())
    assert order == ORDER
    verify_order(statement, KEY.public_key)
    with pytest.raises(VerificationError):
        verify_order(statement, STRANGER.public_key)
    altered = signed.to_bytes().replace(b'"disclose_first":true', b'"disclose_first":false')
    with pytest.raises(VerificationError):
        verify_order(parse_order(altered)[1], KEY.public_key)
    for data in (
        b"{}",
        signed.to_bytes()[:-1],
        signed.to_bytes().replace(b'"ground":"rights"', b'"ground":"whim"'),
        signed.to_bytes().replace(b'"sequence":3', b'"sequence":0'),
        signed.to_bytes().replace(b'"sequence":3', b'"sequence":3,"student":"x"'),
    ):
        with pytest.raises(DataError):
            parse_order(data)


def test_the_ledger_gets_a_hash_that_nobody_can_guess() -> None:
    """The entry is well-formed, and two orders that differ in their random id alone have other hashes."""
    signed = ORDER.sign(KEY)
    sign_entry(EntryKind.ERASURE_ORDER, "platform", entry_body(ORDER, signed), KEY)
    other = replace(ORDER, order_id=bytes(16)).sign(KEY)
    assert order_sha256(signed) != order_sha256(other)


def test_an_order_has_one_table_of_a_kind_and_some_time() -> None:
    """Two tables of one kind, another order of kinds, or a due date in the past is no order."""
    with pytest.raises(DataError):
        replace(ORDER, tables=ORDER.tables[::-1])
    with pytest.raises(DataError):
        replace(ORDER, tables=(ORDER.tables[0], ORDER.tables[0]))
    with pytest.raises(DataError):
        replace(ORDER, due_at=NOW)


def test_what_goes_depends_on_the_ground() -> None:
    """Rights name rows; every other ground means everything, and models stay after a leak alone."""
    whole = {ground: replace(ORDER, ground=ground).is_whole for ground in ErasureGround}
    assert [ground for ground, is_whole in whole.items() if not is_whole] == [ErasureGround.RIGHTS]
    keeps = [ground for ground in ErasureGround if replace(ORDER, ground=ground).keeps_models]
    assert keeps == [ErasureGround.RIGHTS, ErasureGround.LEAK]


class Order(RuleBasedStateMachine):
    """An order under any events: what is not in the table raises and changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.state = OrderState.ISSUED
        self.events: list[OrderEvent] = []

    @rule(event=st.sampled_from(OrderEvent))
    def happen(self, event: OrderEvent) -> None:
        before = self.state
        try:
            self.state = next_order_state(self.state, event)
        except LocalProtocolError:
            assert (before, event) not in TRANSITIONS
            assert self.state is before
            return
        self.events.append(event)

    @invariant()
    def is_verified_only_with_a_certificate(self) -> None:
        if self.state in (OrderState.CERTIFIED, OrderState.VERIFIED):
            assert OrderEvent.CERTIFY in self.events
            assert OrderEvent.EXECUTE in self.events
        assert (self.state in OPEN_STATES) == (self.state not in (OrderState.CERTIFIED, OrderState.VERIFIED))

    @invariant()
    def every_certificate_was_carried_out_for(self) -> None:
        done = self.events.count(OrderEvent.EXECUTE) + self.events.count(OrderEvent.REJECT)
        assert self.events.count(OrderEvent.CERTIFY) <= done


TestOrder = Order.TestCase
TestOrder.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)


def test_from_everywhere_there_is_a_way_to_verified() -> None:
    """No state is a trap: late, escalated or disputed orders can still be carried out."""
    reachable = {OrderState.VERIFIED}
    while new := {s for (s, _), after in TRANSITIONS.items() if after in reachable} - reachable:
        reachable |= new
    assert reachable == set(OrderState)


def test_a_hold_ends_with_its_day() -> None:
    """It is refused with its date until then, and its reason is of a closed list."""
    hold = LegalHold("aoba", "spring", HoldReason.COURT_ORDER, NOW)
    hold.verify_over(now=NOW)
    with pytest.raises(LocalProtocolError) as held:
        hold.verify_over(now=NOW - 1)
    assert held.value.code == "LEGAL_HOLD_ACTIVE"
    assert LegalHold.from_body(hold.to_body()) == hold
    with pytest.raises(DataError):
        LegalHold.from_body({**hold.to_body(), "reason": "she is suing us"})


@given(
    shown=st.dictionaries(st.integers(0, 20), st.booleans(), max_size=8),
    applied=st.sets(st.integers(0, 20)),
)
def test_files_are_behind_exactly_if_an_order_is_missing(shown: dict[int, bool], applied: set[int]) -> None:
    """A certified one that is missing means an older copy; any other an order that is new."""
    orders = [ShownOrder(index, is_certified) for index, is_certified in shown.items()]
    missing = shown.keys() - applied
    assert [order.index for order in outstanding(orders, applied)] == sorted(missing)
    if not missing:
        verify_applied(orders, applied)
        return
    with pytest.raises(LocalProtocolError) as behind:
        verify_applied(orders, applied)
    is_older = any(shown[index] for index in missing)
    assert behind.value.code == ("RESTORE_NEEDS_TOMBSTONES" if is_older else "PENDING_ERASURE_ORDERS")
