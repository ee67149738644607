"""Whether processing goes on: for the whole service, one company, one campaign; and how it ends for good.

Promises: whoever may ask for a suspension gets one, without a condition; nothing resumes without fresh, clear
coverage and the auditor's word; the end is reached only when nobody is owed anything. What students have a
right to (withdrawal, disclosure, erasure, their copies, proofs) depends on no state at all, so nothing here
is asked for it.

The ledger's `service-state` entries are the only memory: everybody who reads them reaches the same states.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from noren_core import canonical_json, ids
from noren_core.crypto.identity import SigningKey, verify_signature
from noren_core.errors import DataError, LocalProtocolError
from noren_core.ledger.entries import ServiceScope, ServiceStatus

_LABEL = b"noren/v1/service-request"
_MAX_REQUEST_BYTES = 4 << 10
_FIELDS = {"at", "key", "name", "reason", "scope", "signature", "state"}

_NEXT: Mapping[ServiceStatus, frozenset[ServiceStatus]] = {
    ServiceStatus.RUNNING: frozenset({ServiceStatus.SUSPENDED, ServiceStatus.WINDING_DOWN}),
    ServiceStatus.SUSPENDED: frozenset({ServiceStatus.RUNNING, ServiceStatus.WINDING_DOWN}),
    ServiceStatus.WINDING_DOWN: frozenset({ServiceStatus.ABOLISHED}),
    ServiceStatus.ABOLISHED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class StateChange:
    """One `service-state` entry: from `at` (Unix seconds) on, this holds for the scope."""

    scope: ServiceScope
    name: str  # of the company or campaign; empty for the whole service
    state: ServiceStatus
    reason: str
    at: int
    evidence_sha256: str

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> StateChange:
        """The change that a well-formed entry states.

        Raises:
            DataError: if the whole service has a name, or a part of it has none.
        """
        scope, name = ServiceScope(body["scope"]), body["name"]
        _verify_name(scope, name)
        state = ServiceStatus(body["state"])
        return cls(scope, name, state, body["reason"], body["at"], body["evidence_sha256"])

    def to_body(self) -> dict[str, Any]:
        """The body of the ledger entry."""
        return {
            "scope": self.scope.value,
            "name": self.name,
            "state": self.state.value,
            "reason": self.reason,
            "at": self.at,
            "evidence_sha256": self.evidence_sha256,
        }


@dataclass(slots=True)
class ServiceStates:
    """Every scope's state, as the changes so far make it; a scope that was never mentioned runs."""

    _states: dict[tuple[ServiceScope, str], ServiceStatus] = field(default_factory=dict)
    _latest: dict[tuple[ServiceScope, str], int] = field(default_factory=dict)

    def of(self, scope: ServiceScope, name: str = "") -> ServiceStatus:
        """The state of exactly this scope."""
        return self._states.get((scope, name), ServiceStatus.RUNNING)

    def items(self) -> Iterable[tuple[tuple[ServiceScope, str], ServiceStatus]]:
        """Every scope that a change was about, and its state."""
        return self._states.items()

    def is_running(self, *, company: str = "", campaign: str = "") -> bool:
        """Whether processing for this company and campaign goes on: every scope they are in must run."""
        return self.state_for(company=company, campaign=campaign) is ServiceStatus.RUNNING

    def state_for(self, *, company: str = "", campaign: str = "") -> ServiceStatus:
        """The state that is furthest from running among the scopes that these are in."""
        order = tuple(ServiceStatus)
        states = [self.of(ServiceScope.GLOBAL)]
        states += [self.of(ServiceScope.COMPANY, company)] if company else []
        states += [self.of(ServiceScope.CAMPAIGN, campaign)] if campaign else []
        return max(states, key=order.index)

    def verify(self, change: StateChange) -> None:
        """Raise LocalProtocolError unless the scope may go from its state to that of `change`.

        Times are compared within a scope alone: nobody's clock keeps another scope from being suspended.
        """
        current = self.of(change.scope, change.name)
        if change.state not in _NEXT[current]:
            raise LocalProtocolError(
                f"service: expected a change that {current.value} allows, got {change.state.value}",
                code=_refusal_in(current),
            )
        if change.at < self._latest.get((change.scope, change.name), 0):
            raise LocalProtocolError("service: expected a change after the last one, got an earlier time")

    def apply(self, change: StateChange) -> None:
        """Take over a change; as `verify`, and nothing is changed if that raises."""
        self.verify(change)
        self._states[change.scope, change.name] = change.state
        self._latest[change.scope, change.name] = change.at


@dataclass(frozen=True, slots=True)
class ResumeFacts:
    """What resuming stands on: coverage after the suspension, and who agreed to it."""

    is_coverage_clear: bool
    is_coverage_newer: bool
    auditor_agreed: bool


def verify_resumption(facts: ResumeFacts) -> None:
    """Raise LocalProtocolError, code RESUME_CONDITIONS_UNMET, naming what is missing."""
    missing = [
        text
        for holds, text in (
            (facts.is_coverage_clear, "clear coverage"),
            (facts.is_coverage_newer, "coverage computed after the suspension"),
            (facts.auditor_agreed, "the auditor's agreement"),
        )
        if not holds
    ]
    if missing:
        raise LocalProtocolError(
            f"service: expected {', '.join(missing)} before it resumes, got none",
            code="RESUME_CONDITIONS_UNMET",
        )


@dataclass(frozen=True, slots=True)
class WindDownFacts:
    """What may still be owed to somebody when a service ends."""

    is_disclosure_window_over: bool
    has_open_disclosures: bool
    has_open_inquiries: bool
    has_open_incidents: bool
    has_open_orders: bool
    companies_without_certificate: frozenset[str]
    are_keys_destroyed: bool


def verify_abolition(facts: WindDownFacts) -> None:
    """Raise LocalProtocolError, code WINDDOWN_INCOMPLETE, naming everything that is still open.

    The keys come last: they are what open orders are answered with.
    """
    open_items = [
        text
        for is_open, text in (
            (not facts.is_disclosure_window_over, "the disclosure window"),
            (facts.has_open_disclosures, "disclosure requests"),
            (facts.has_open_inquiries, "inquiries"),
            (facts.has_open_incidents, "incidents"),
            (facts.has_open_orders, "erasure orders"),
            (bool(facts.companies_without_certificate), "deletion certificates"),
            (not facts.are_keys_destroyed, "keys"),
        )
        if is_open
    ]
    if open_items:
        raise LocalProtocolError(
            f"abolition: expected nothing to be open, got {', '.join(open_items)}", code="WINDDOWN_INCOMPLETE"
        )


@dataclass(frozen=True, slots=True)
class ServiceRequest:
    """Somebody's signed wish for a state: the operator's, an auditor's, a company's for itself."""

    change: StateChange
    key: bytes
    data: bytes = field(repr=False)


def sign_request(
    *, scope: ServiceScope, name: str, state: ServiceStatus, reason: str, at: int, key: SigningKey
) -> bytes:
    """The request as canonical JSON; its SHA-256 is the evidence that the ledger entry names."""
    _verify_name(scope, name)
    body = {
        "at": at,
        "key": key.public_key.hex(),
        "name": name,
        "reason": reason,
        "scope": scope.value,
        "state": state.value,
    }
    signature = key.sign(_LABEL, canonical_json.encode(body))
    return canonical_json.encode({**body, "signature": signature.hex()})


def open_request(data: bytes, *, evidence_sha256: str) -> ServiceRequest:
    """The request in `data`, if its own key signed it; whose key that is, is left to the caller.

    Raises:
        DataError, VerificationError: if it is malformed, too long or not signed by that key.
    """
    if len(data) > _MAX_REQUEST_BYTES:
        raise DataError(f"service request: expected at most {_MAX_REQUEST_BYTES} bytes, got {len(data)}")
    body = canonical_json.parse_object(data)
    if body.keys() != _FIELDS or not all(isinstance(body[name], str) for name in _FIELDS - {"at"}):
        raise DataError("service request: expected exactly its fields, got others")
    if type(body["at"]) is not int or body["at"] < 0:
        raise DataError("service request.at: expected Unix seconds, got another value")
    try:
        key, signature = bytes.fromhex(body.pop("key")), bytes.fromhex(body.pop("signature"))
        scope, state = ServiceScope(body["scope"]), ServiceStatus(body["state"])
    except ValueError as error:
        raise DataError("service request: expected a known scope and state, and hex digits") from error
    _verify_name(scope, body["name"])
    signed = canonical_json.encode({**body, "key": key.hex()})
    verify_signature(key, _LABEL, signed, signature)
    change = StateChange(scope, body["name"], state, body["reason"], body["at"], evidence_sha256)
    return ServiceRequest(change, key, data)


def _verify_name(scope: ServiceScope, name: str) -> None:
    if scope is ServiceScope.GLOBAL:
        if name:
            raise DataError("service: expected no name for the whole service, got one")
    else:
        ids.parse_name(name, f"service: {scope.value}")


def _refusal_in(state: ServiceStatus) -> str:
    return {
        ServiceStatus.SUSPENDED: "SERVICE_SUSPENDED",
        ServiceStatus.WINDING_DOWN: "SERVICE_WINDING_DOWN",
        ServiceStatus.ABOLISHED: "SERVICE_ABOLISHED",
    }.get(state, "ILLEGAL_STATE")
