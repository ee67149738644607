"""What the ledger shows about suspensions, the end of the service, incidents and policies."""

from __future__ import annotations

from noren_audit.verification.findings import Code, Findings
from noren_core.errors import NorenError
from noren_core.ledger.entries import EntryKind, IncidentState, ServiceStatus, SignedEntry
from noren_core.rights.service.incident import next_state
from noren_core.rights.service.service_state import ServiceStates, StateChange

_PROCESSING = frozenset(
    {
        EntryKind.TABLE,
        EntryKind.BEACON,
        EntryKind.INTENT,
        EntryKind.STATISTICS_ANSWER,
        EntryKind.HEAD_COMMITMENT,
        EntryKind.GATE_OPENED,
    }
)
"""What is made of people's data; settles and failures only end what was begun."""

TIMES = {
    EntryKind.POLICY: "activated_at",
    EntryKind.COVERAGE: "as_of",
    EntryKind.DECISION_BATCH: "sealed_at",
    EntryKind.GATE_OPENED: "opened_at",
    EntryKind.MIRROR_DEPOSIT: "deposited_at",
    EntryKind.SERVICE_STATE: "at",
    EntryKind.INCIDENT: "at",
}
"""The field of each kind that says when it was stated."""


class ServiceAudit:
    """Service states and incidents while a ledger is read in order."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._states = ServiceStates()
        self._incidents: dict[str, IncidentState] = {}
        self.newest_time = 0

    def read(self, index: int, entry: SignedEntry) -> None:
        """Take the next authentic entry, of whatever kind."""
        self.newest_time = max(self.newest_time, entry.body.get(TIMES.get(entry.kind, ""), 0))
        match entry.kind:
            case EntryKind.SERVICE_STATE:
                self._state(index, entry)
            case EntryKind.INCIDENT:
                self._incident(index, entry)
            case kind if kind in _PROCESSING:
                self._check_running(index, entry)

    def _state(self, index: int, entry: SignedEntry) -> None:
        try:
            self._states.apply(StateChange.from_body(entry.body))
        except NorenError as error:
            self._findings.add(Code.SERVICE_STATE_CHAIN, error.message, index=index)

    def _check_running(self, index: int, entry: SignedEntry) -> None:
        state = self._states.state_for(company=entry.company or "", campaign=entry.campaign or "")
        if state is not ServiceStatus.RUNNING:
            self._findings.add(
                Code.PROCESSED_WHILE_STOPPED,
                f"expected nothing to be processed while the service is {state.value}, got an entry",
                index=index,
                campaign=entry.campaign or "",
            )

    def _incident(self, index: int, entry: SignedEntry) -> None:
        name, wanted = entry.body["incident"], IncidentState(entry.body["state"])
        known = self._incidents.get(name)
        try:
            if known is None and wanted is not IncidentState.DETECTED:
                self._findings.add(
                    Code.INCIDENT_CHAIN,
                    "incident: expected it to be detected first, got a later step",
                    index=index,
                )
            elif known is not None:
                next_state(known, wanted)
        except NorenError as error:
            self._findings.add(Code.INCIDENT_CHAIN, error.message, index=index)
        self._incidents[name] = wanted
