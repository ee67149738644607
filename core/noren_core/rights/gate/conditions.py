"""The gate between a decision and a score: all that must hold, as a pure function over explicit facts.

docs/protocol.md §10.2. Promises: nothing is shown unless every condition holds; the reasons come in one
order, those that are a company's own state and the season's first; whether a student consents is looked at
only when everything else holds, and then there is one answer for every reason (NOT_AVAILABLE), so that a
company cannot tell a refusal from a withdrawal, from no record, or from a notice that was not acknowledged.

What the platform can know and what only the company can know are separate types: the platform asks
`platform_reasons` before it evaluates anything, the company's client `gate_reasons` before it shows anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from noren_core.errors import LocalProtocolError
from noren_core.rights.gate.decision_batch import Decision


class GateReason(StrEnum):
    """Why nothing is shown; the values are error codes."""

    DECISION_NOT_SEALED = "DECISION_NOT_SEALED"  # G1
    BATCH_LIMIT = "BATCH_LIMIT"  # G1, the plan's number of batches
    APPLICANT_NOT_OFFERED = "APPLICANT_NOT_OFFERED"  # G2
    DECISION_NOT_NOTIFIED = "DECISION_NOT_NOTIFIED"  # G3
    BATCH_HAS_UNRESOLVED = "BATCH_HAS_UNRESOLVED"  # G4
    OPEN_EVALUATION_EXISTS = "OPEN_EVALUATION_EXISTS"  # G5
    SEPARATION_OF_DUTIES = "SEPARATION_OF_DUTIES"  # G6
    AGREEMENT_NOT_ACTIVE = "AGREEMENT_NOT_ACTIVE"  # G8
    COVERAGE_NOT_CLEAR = "LAUNCH_BLOCKED_COVERAGE"  # G8
    SERVICE_SUSPENDED = "SERVICE_SUSPENDED"  # G8
    COOLING = "COOLING"  # G8
    NOT_AVAILABLE = "NOT_AVAILABLE"  # G7, alone


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformFacts:
    """What platform and company both know of a decision batch, from the ledger.

    Attributes:
        is_batch_sealed: a `decision-batch` entry of this company and campaign stands in the ledger, and it
            commits to the very elements that are, or were, evaluated.
        sequence: of that entry; any number if there is none.
        batches: the plan's limit.
        sealed_at: Unix seconds from which the cooling time counts; any number if there is no entry.
        cooling_seconds: the plan's.
        is_agreement_active: the company's agreement is in the ledger and its participation was not ended.
        is_coverage_clear: an attested, clear and fresh coverage report of the campaign is in the ledger.
        is_service_running: nothing that concerns company or campaign is suspended.
    """

    is_batch_sealed: bool
    sequence: int
    batches: int
    sealed_at: int
    cooling_seconds: int
    is_agreement_active: bool
    is_coverage_clear: bool
    is_service_running: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanyFacts:
    """What only the company knows of one applicant and one person who wants to look.

    Attributes:
        decision: what her leaf of that batch opens to; None if she has none.
        is_notified: the offer was notified to her.
        has_unresolved: a decision of the batch is on hold.
        has_open_evaluation: she has another application at the company that is not decided.
        is_viewer_decider: who wants to look decides about this position and season.
        is_row_usable: her row opened, it is not revoked and the score is not past its time.
    """

    decision: Decision | None
    is_notified: bool
    has_unresolved: bool
    has_open_evaluation: bool
    is_viewer_decider: bool
    is_row_usable: bool


class GateNotOpenError(LocalProtocolError):
    """Nothing may be shown; `reasons` are in the order of the gate."""

    code = "GATE_NOT_OPEN"

    def __init__(self, reasons: tuple[GateReason, ...]) -> None:
        if reasons == (GateReason.NOT_AVAILABLE,):
            super().__init__("gate: there is nothing to show", code=GateReason.NOT_AVAILABLE)
        else:
            super().__init__(f"gate: expected it open, got {', '.join(reasons)}")
        self.reasons = reasons


def platform_reasons(facts: PlatformFacts, *, now: int) -> tuple[GateReason, ...]:
    """Why the platform does not evaluate, in order; empty if it does.

    Args:
        facts: what it knows.
        now: Unix seconds.
    """
    return (*_sealing_reasons(facts), *_season_reasons(facts, now))


def gate_reasons(platform: PlatformFacts, company: CompanyFacts, *, now: int) -> tuple[GateReason, ...]:
    """Why nothing is shown to this viewer about this applicant, in order; empty if it may be.

    1. G1 to G6 and G8: the company's own state, the season's and the service's.
    2. Only if all of them hold G7: whether there is a score that may be used, without saying why not.
    """
    reasons = (  # 1
        *_sealing_reasons(platform),
        *_applicant_reasons(company),
        *_season_reasons(platform, now),
    )
    if reasons or company.is_row_usable:
        return reasons
    return (GateReason.NOT_AVAILABLE,)  # 2


def verify_gate(platform: PlatformFacts, company: CompanyFacts, *, now: int) -> None:
    """Raise GateNotOpenError unless everything holds."""
    reasons = gate_reasons(platform, company, now=now)
    if reasons:
        raise GateNotOpenError(reasons)


def _sealing_reasons(facts: PlatformFacts) -> tuple[GateReason, ...]:
    if not facts.is_batch_sealed:
        return (GateReason.DECISION_NOT_SEALED,)
    return () if 1 <= facts.sequence <= facts.batches else (GateReason.BATCH_LIMIT,)


def _applicant_reasons(facts: CompanyFacts) -> tuple[GateReason, ...]:
    holds = (
        (facts.decision is Decision.PASS, GateReason.APPLICANT_NOT_OFFERED),
        (facts.is_notified, GateReason.DECISION_NOT_NOTIFIED),
        (not facts.has_unresolved, GateReason.BATCH_HAS_UNRESOLVED),
        (not facts.has_open_evaluation, GateReason.OPEN_EVALUATION_EXISTS),
        (not facts.is_viewer_decider, GateReason.SEPARATION_OF_DUTIES),
    )
    return tuple(reason for is_met, reason in holds if not is_met)


def _season_reasons(facts: PlatformFacts, now: int) -> tuple[GateReason, ...]:
    is_cool = facts.is_batch_sealed and now >= facts.sealed_at + facts.cooling_seconds
    holds = (
        (facts.is_agreement_active, GateReason.AGREEMENT_NOT_ACTIVE),
        (facts.is_coverage_clear, GateReason.COVERAGE_NOT_CLEAR),
        (facts.is_service_running, GateReason.SERVICE_SUSPENDED),
        (is_cool or not facts.is_batch_sealed, GateReason.COOLING),
    )
    return tuple(reason for is_met, reason in holds if not is_met)
