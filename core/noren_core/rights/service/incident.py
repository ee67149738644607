"""What is done when something went wrong with people's data: in which order, and who is told.

Promises: an incident is closed only after exactly those whom it affects were told, nobody else; who they are
is computed from what was really provided, not from what should have been.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum

from noren_core.errors import DataError, LocalProtocolError
from noren_core.ledger.entries import IncidentState

_DAY = 86_400

_NEXT: Mapping[IncidentState, IncidentState | None] = {
    IncidentState.DETECTED: IncidentState.CONTAINED,
    IncidentState.CONTAINED: IncidentState.ASSESSED,
    IncidentState.ASSESSED: IncidentState.NOTIFIED,
    IncidentState.NOTIFIED: IncidentState.CLOSED,
    IncidentState.CLOSED: None,
}


class IncidentClass(StrEnum):
    """What happened."""

    CONSENT_DEFECT = "CONSENT_DEFECT"  # provided without a valid consent
    UNKNOWN_SCREEN = "UNKNOWN_SCREEN"
    DISCLOSURE_MISMATCH = "DISCLOSURE_MISMATCH"
    LEAK = "LEAK"
    LATE_DELETION = "LATE_DELETION"
    GATE_BYPASSED = "GATE_BYPASSED"


@dataclass(frozen=True, slots=True)
class ReportDeadlines:
    """Unix seconds until which the authority is told: a prompt report and the full one."""

    prompt: int
    full: int


def report_deadlines(detected_at: int) -> ReportDeadlines:
    """Five and thirty days after an incident was detected: what we promise, whatever the law allows."""
    return ReportDeadlines(prompt=detected_at + 5 * _DAY, full=detected_at + 30 * _DAY)


def next_state(current: IncidentState, wanted: IncidentState) -> IncidentState:
    """`wanted`, if it follows `current`; LocalProtocolError otherwise. No step is left out."""
    if _NEXT[current] is not wanted:
        raise LocalProtocolError(
            f"incident: expected the step that follows {current.value}, got {wanted.value}"
        )
    return wanted


def verify_notices(*, affected: AbstractSet[str], notified: AbstractSet[str]) -> None:
    """Raise DataError, code INCIDENT_NOTICE_INCOMPLETE, unless exactly the affected were told."""
    if affected != notified:
        which = "somebody affected was not told" if affected - notified else "somebody unaffected was told"
        raise DataError(
            f"incident: expected notices to exactly those affected, got others: {which}",
            code="INCIDENT_NOTICE_INCOMPLETE",
        )
