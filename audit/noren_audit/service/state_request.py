"""An auditor's signed request that the service, a company's part in it or a campaign stops or runs again.

Promises: a request is signed only if the ledger would take what it asks for; that something may run again is
signed over no coverage report that is malformed or blocked. That coverage is newer than the suspension, and
attested, the platform checks against its ledger when it gets the request (docs/rights/service-states.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from noren_audit.rights.coverage_check import read_report
from noren_core.crypto.identity import SigningKey
from noren_core.errors import ConfigurationError, LocalProtocolError
from noren_core.ledger.entries import PLATFORM, EntryKind, ServiceScope, ServiceStatus, validate_body
from noren_core.rights.service.service_state import StateChange, sign_request

VALID_SECONDS = 600
"""How far a request's time may be from the platform's clock when it is handed over."""

_NO_EVIDENCE = "00" * 32  # stands in for the request's own hash, which the platform enters


def signed_request(
    *, scope: str, name: str, state: ServiceStatus, reason: str, at: int, key: SigningKey
) -> bytes:
    """The request for `noren-platform service suspend --request` or `service resume`.

    Args:
        scope: global, company or campaign.
        name: of the company or campaign; empty for the whole service.
        state: SUSPENDED or RUNNING: nothing else is an auditor's to ask for.
        reason: a word in capitals; it will stand in the ledger.
        at: Unix seconds, now.
        key: the auditor's, whose public half the platform's config.toml names.

    Raises:
        ConfigurationError: if the scope is no scope.
        DataError: if name or reason is nothing that the ledger takes.
    """
    if scope not in set(ServiceScope):
        raise ConfigurationError("scope: expected global, company or campaign, got another word")
    change = StateChange(ServiceScope(scope), name, state, reason, at, _NO_EVIDENCE)
    validate_body(EntryKind.SERVICE_STATE, PLATFORM, change.to_body())
    return sign_request(scope=change.scope, name=name, state=state, reason=reason, at=at, key=key)


def verify_reports_clear(reports: Sequence[Path]) -> tuple[str, ...]:
    """The SHA-256 (hex) of every coverage report, each of which adds up and is clear.

    Raises:
        DataError, VerificationError: for a report that is malformed or does not add up.
        LocalProtocolError: with code RESUME_CONDITIONS_UNMET, for one that blocks.
    """
    found = [read_report(path) for path in reports]
    blocked = sorted({reason.value for report in found for reason in report.reasons})
    if blocked:
        raise LocalProtocolError(
            f"service: expected clear coverage before it resumes, got {', '.join(blocked)}",
            code="RESUME_CONDITIONS_UNMET",
        )
    return tuple(report.sha256 for report in found)
