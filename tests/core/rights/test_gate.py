"""The predicate between a decision and a score: everything holds, or nothing is shown."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noren_core.rights.gate.conditions import (
    CompanyFacts,
    GateNotOpenError,
    GateReason,
    PlatformFacts,
    gate_reasons,
    platform_reasons,
    verify_gate,
)
from noren_core.rights.gate.decision_batch import Decision

SEALED_AT, COOLING = 1_000, 100
NOW = SEALED_AT + COOLING
PLATFORM = PlatformFacts(
    is_batch_sealed=True,
    sequence=2,
    batches=2,
    sealed_at=SEALED_AT,
    cooling_seconds=COOLING,
    is_agreement_active=True,
    is_coverage_clear=True,
    is_service_running=True,
)
COMPANY = CompanyFacts(
    decision=Decision.PASS,
    is_notified=True,
    has_unresolved=False,
    has_open_evaluation=False,
    is_viewer_decider=False,
    is_row_usable=True,
)
FAILING_PLATFORM = {
    GateReason.DECISION_NOT_SEALED: {"is_batch_sealed": False},
    GateReason.BATCH_LIMIT: {"sequence": 3},
    GateReason.AGREEMENT_NOT_ACTIVE: {"is_agreement_active": False},
    GateReason.COVERAGE_NOT_CLEAR: {"is_coverage_clear": False},
    GateReason.SERVICE_SUSPENDED: {"is_service_running": False},
    GateReason.COOLING: {"sealed_at": SEALED_AT + 1},
}
FAILING_COMPANY = {
    GateReason.APPLICANT_NOT_OFFERED: {"decision": Decision.FAIL},
    GateReason.DECISION_NOT_NOTIFIED: {"is_notified": False},
    GateReason.BATCH_HAS_UNRESOLVED: {"has_unresolved": True},
    GateReason.OPEN_EVALUATION_EXISTS: {"has_open_evaluation": True},
    GateReason.SEPARATION_OF_DUTIES: {"is_viewer_decider": True},
    GateReason.NOT_AVAILABLE: {"is_row_usable": False},
}
ORDER = [
    GateReason.DECISION_NOT_SEALED,
    GateReason.BATCH_LIMIT,
    GateReason.APPLICANT_NOT_OFFERED,
    GateReason.DECISION_NOT_NOTIFIED,
    GateReason.BATCH_HAS_UNRESOLVED,
    GateReason.OPEN_EVALUATION_EXISTS,
    GateReason.SEPARATION_OF_DUTIES,
    GateReason.AGREEMENT_NOT_ACTIVE,
    GateReason.COVERAGE_NOT_CLEAR,
    GateReason.SERVICE_SUSPENDED,
    GateReason.COOLING,
]


def facts(failing: set[GateReason]) -> tuple[PlatformFacts, CompanyFacts]:
    platform, company = PLATFORM, COMPANY
    for reason in failing & FAILING_PLATFORM.keys():
        platform = replace(platform, **FAILING_PLATFORM[reason])
    for reason in failing & FAILING_COMPANY.keys():
        company = replace(company, **FAILING_COMPANY[reason])
    return platform, company


def test_all_that_holds_opens_it() -> None:
    """With every condition met there is no reason, and nothing is raised."""
    assert gate_reasons(PLATFORM, COMPANY, now=NOW) == ()
    assert platform_reasons(PLATFORM, now=NOW) == ()
    verify_gate(PLATFORM, COMPANY, now=NOW)


@pytest.mark.parametrize("reason", GateReason)
def test_each_condition_is_enough_to_shut_it(reason: GateReason) -> None:
    """Any one condition that fails shuts the gate, with its own reason."""
    platform, company = facts({reason})
    assert gate_reasons(platform, company, now=NOW) == (reason,)
    assert platform_reasons(platform, now=NOW) == ((reason,) if reason in FAILING_PLATFORM else ())
    with pytest.raises(GateNotOpenError) as caught:
        verify_gate(platform, company, now=NOW)
    is_absence = reason is GateReason.NOT_AVAILABLE
    assert caught.value.code == ("NOT_AVAILABLE" if is_absence else "GATE_NOT_OPEN")
    assert caught.value.reasons == (reason,)


@given(st.sets(st.sampled_from(GateReason)))
def test_reasons_come_in_order_and_absence_alone(failing: set[GateReason]) -> None:
    """Whatever fails together: one order; and whether there is a row changes nothing until all else holds."""
    platform, company = facts(failing)
    reasons = gate_reasons(platform, company, now=NOW)
    assert list(reasons) == sorted(reasons, key=[*ORDER, GateReason.NOT_AVAILABLE].index)
    assert bool(reasons) == bool(failing)
    others = failing - {GateReason.NOT_AVAILABLE}
    if others:
        for is_usable in (True, False):
            shown = gate_reasons(platform, replace(company, is_row_usable=is_usable), now=NOW)
            assert shown == reasons
        assert GateReason.NOT_AVAILABLE not in reasons


@given(st.integers(0, 4_000), st.integers(0, 2_000), st.integers(0, 2_000))
def test_the_cooling_time_is_whole(now: int, sealed_at: int, cooling_seconds: int) -> None:
    """Not one second before it is over."""
    platform = replace(PLATFORM, sealed_at=sealed_at, cooling_seconds=cooling_seconds)
    is_open = platform_reasons(platform, now=now) == ()
    assert is_open == (now - sealed_at >= cooling_seconds)


def test_no_decision_is_no_offer() -> None:
    """Without a leaf, or with a hold, nobody was offered anything."""
    for decision in (None, Decision.HOLD, Decision.FAIL):
        company = replace(COMPANY, decision=decision)
        assert gate_reasons(PLATFORM, company, now=NOW) == (GateReason.APPLICANT_NOT_OFFERED,)


def test_every_fact_counts() -> None:
    """No fact can be given that the predicate does not look at."""
    changed = {name for change in FAILING_PLATFORM.values() for name in change}
    changed |= {"batches", "cooling_seconds"}
    assert {field.name for field in fields(PlatformFacts)} == changed
    assert {field.name for field in fields(CompanyFacts)} == {
        name for change in FAILING_COMPANY.values() for name in change
    }
