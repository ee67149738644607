from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noren_core.crypto.identity import SigningKey
from noren_core.errors import DataError, LocalProtocolError, VerificationError
from noren_core.ledger.entries import ServiceScope, ServiceStatus
from noren_core.rights.service.service_state import (
    ResumeFacts,
    ServiceStates,
    StateChange,
    WindDownFacts,
    open_request,
    sign_request,
    verify_abolition,
    verify_resumption,
)

NOTHING_OWED = WindDownFacts(
    is_disclosure_window_over=True,
    has_open_disclosures=False,
    has_open_inquiries=False,
    has_open_incidents=False,
    has_open_orders=False,
    companies_without_certificate=frozenset(),
    are_keys_destroyed=True,
)


def change(
    state: ServiceStatus, scope: ServiceScope = ServiceScope.GLOBAL, name: str = "", at: int = 1
) -> StateChange:
    return StateChange(scope, name, state, "DRILL", at, "00" * 32)


def test_a_suspension_stops_exactly_its_scope() -> None:
    """One company's suspension leaves the others running; the whole service's stops all."""
    states = ServiceStates()
    states.apply(change(ServiceStatus.SUSPENDED, ServiceScope.COMPANY, "akane"))
    assert not states.is_running(company="akane", campaign="spring")
    assert states.is_running(company="midori", campaign="spring")
    states.apply(change(ServiceStatus.SUSPENDED))
    assert not states.is_running(company="midori", campaign="spring")


@given(st.lists(st.sampled_from(list(ServiceStatus)), max_size=12))
def test_the_end_is_final_and_nothing_skips_winding_down(wanted: list[ServiceStatus]) -> None:
    """Whatever is asked for in whatever order, abolition follows winding down, and nothing follows it."""
    states, taken = ServiceStates(), [ServiceStatus.RUNNING]
    for at, state in enumerate(wanted, start=1):
        before = states.of(ServiceScope.GLOBAL)
        try:
            states.apply(change(state, at=at))
        except LocalProtocolError:
            assert states.of(ServiceScope.GLOBAL) is before
        else:
            taken.append(state)
    for earlier, later in pairwise(taken):
        assert earlier is not ServiceStatus.ABOLISHED
        assert later is not ServiceStatus.ABOLISHED or earlier is ServiceStatus.WINDING_DOWN


def test_a_change_in_the_past_is_refused() -> None:
    """Nobody inserts a state before one that others have acted on."""
    states = ServiceStates()
    states.apply(change(ServiceStatus.SUSPENDED, at=10))
    with pytest.raises(LocalProtocolError):
        states.apply(change(ServiceStatus.RUNNING, at=9))


def test_a_clock_that_is_ahead_keeps_nobody_else_from_being_suspended() -> None:
    """A company that suspends itself with a time to come delays no suspension of others."""
    states = ServiceStates()
    states.apply(change(ServiceStatus.SUSPENDED, ServiceScope.COMPANY, "akane", at=600))
    states.apply(change(ServiceStatus.SUSPENDED, ServiceScope.COMPANY, "midori", at=5))
    states.apply(change(ServiceStatus.SUSPENDED, at=6))
    assert not states.is_running()


@pytest.mark.parametrize("missing", ["is_coverage_clear", "is_coverage_newer", "auditor_agreed"])
def test_resuming_needs_every_condition(missing: str) -> None:
    """Fresh, clear coverage and the auditor: one of them missing is enough to stay suspended."""
    facts = {"is_coverage_clear": True, "is_coverage_newer": True, "auditor_agreed": True}
    verify_resumption(ResumeFacts(**facts))
    with pytest.raises(LocalProtocolError) as refused:
        verify_resumption(ResumeFacts(**(facts | {missing: False})))
    assert refused.value.code == "RESUME_CONDITIONS_UNMET"


@pytest.mark.parametrize(
    "open_item",
    [
        {"is_disclosure_window_over": False},
        {"has_open_disclosures": True},
        {"has_open_inquiries": True},
        {"has_open_incidents": True},
        {"has_open_orders": True},
        {"companies_without_certificate": frozenset({"akane"})},
        {"are_keys_destroyed": False},
    ],
)
def test_abolition_waits_for_everything_that_is_owed(open_item: dict[str, object]) -> None:
    """R-SVC-2: the service cannot end while a request, an order, a certificate or a key is open."""
    verify_abolition(NOTHING_OWED)
    fields = {name: getattr(NOTHING_OWED, name) for name in NOTHING_OWED.__slots__}
    with pytest.raises(LocalProtocolError) as refused:
        verify_abolition(WindDownFacts(**(fields | open_item)))
    assert refused.value.code == "WINDDOWN_INCOMPLETE"
    assert "akane" not in refused.value.message


def test_a_request_is_bound_to_all_that_it_says() -> None:
    """A signed request for one scope cannot be turned into one for another."""
    key = SigningKey.generate()
    signed = sign_request(
        scope=ServiceScope.COMPANY, name="akane", state=ServiceStatus.SUSPENDED, reason="DRILL", at=5, key=key
    )
    opened = open_request(signed, evidence_sha256="00" * 32)
    assert (opened.key, opened.change.name) == (key.public_key, "akane")
    with pytest.raises(VerificationError):
        open_request(signed.replace(b'"akane"', b'"beniy"'), evidence_sha256="00" * 32)


@pytest.mark.parametrize("data", [b"{}", b"[]", b"x" * 5000, b'{"at":1}'])
def test_a_malformed_request_is_refused(data: bytes) -> None:
    """Bytes that are no request get an error of ours."""
    with pytest.raises(DataError):
        open_request(data, evidence_sha256="00" * 32)


def test_a_name_and_its_scope_belong_together() -> None:
    """The whole service has no name, a part has one."""
    with pytest.raises(DataError):
        sign_request(
            scope=ServiceScope.GLOBAL, name="akane", state=ServiceStatus.SUSPENDED, reason="DRILL", at=5,
            key=SigningKey.generate(),
        )  # fmt: skip
