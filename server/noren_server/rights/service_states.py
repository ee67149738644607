"""Suspending, resuming and ending the service, by ledger entries that every process reads.

Promises: a suspension holds from the next call on, in every process, since each asks the ledger; the
operator, an auditor and (for itself) a company can suspend, each by a signed request that is kept; nothing
resumes without coverage that is newer than the suspension and an auditor's signed word; the service is
abolished only when nobody is owed anything. Withdrawal, disclosure, erasure and proofs never ask here.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from noren_core.errors import LocalProtocolError, VerificationError
from noren_core.ledger.entries import (
    CoverageVerdict,
    EntryKind,
    ServiceScope,
    ServiceStatus,
)
from noren_core.rights.coverage.coverage_report import Attestation, attestation_of_entry
from noren_core.rights.service.service_state import (
    ResumeFacts,
    ServiceRequest,
    ServiceStates,
    StateChange,
    WindDownFacts,
    open_request,
    verify_abolition,
    verify_resumption,
)
from noren_core.wire.refusal import Refusal
from noren_local.private_file import write_private
from noren_server.ledger_service import LedgerService
from noren_server.platform_files import Platform

WindDownSource = Callable[[], WindDownFacts]
"""Tells what is still owed to anybody."""

_SKEW_SECONDS = 600


class ServiceDesk:
    """The service states of one platform."""

    def __init__(
        self,
        ledger: LedgerService,
        requests_directory: Path,
        *,
        operator_key: bytes,
        auditor_keys: Collection[bytes],
        clock: Callable[[], int],
    ) -> None:
        self._ledger = ledger
        self._directory = requests_directory
        self._operator_key = operator_key
        self._auditor_keys = frozenset(auditor_keys)
        self._clock = clock

    def states(self) -> ServiceStates:
        """Every state, as the ledger has it now."""
        states = ServiceStates()
        for stored in self._ledger.store.entries(kind=EntryKind.SERVICE_STATE):
            states.apply(StateChange.from_body(stored.entry.body))
        return states

    def is_running(self, company: str = "", campaign: str = "") -> bool:
        """Whether processing for this company and campaign goes on now."""
        return self.states().is_running(company=company, campaign=campaign)

    def require_running(self, company: str = "", campaign: str = "") -> None:
        """Raise LocalProtocolError, code SERVICE_SUSPENDED, unless processing goes on."""
        if not self.is_running(company, campaign):
            raise LocalProtocolError(Refusal.SERVICE_SUSPENDED.sentence, code=Refusal.SERVICE_SUSPENDED)

    def suspend(self, request: bytes) -> StateChange:
        """Suspend what a signed request names, at once and without a condition.

        Raises:
            VerificationError: if whoever signed it may not suspend that.
            LocalProtocolError: if the scope does not run.
        """
        asked = self._opened(request)
        self._expect(asked, ServiceStatus.SUSPENDED)
        if not (self._is_officer(asked) or self._is_auditor(asked) or self._is_company_itself(asked)):
            raise VerificationError("service: expected a request of who may suspend this, got another's")
        return self._change(asked)

    def resume(self, request: bytes) -> StateChange:
        """Let a suspended scope run again on an auditor's signed request; the operator runs this command.

        Every open campaign that the scope is about needs coverage; where there is none, nothing is processed
        before the launch gate saw some.

        Args:
            request: signed by an auditor, for state running.

        Raises:
            LocalProtocolError: with code RESUME_CONDITIONS_UNMET, naming what is missing.
        """
        asked = self._opened(request)
        self._expect(asked, ServiceStatus.RUNNING)
        facts = self.resume_facts(asked.change.scope, asked.change.name)
        verify_resumption(replace(facts, auditor_agreed=self._is_auditor(asked)))
        return self._change(asked)

    def resume_facts(self, scope: ServiceScope, name: str = "") -> ResumeFacts:
        """What a suspended scope's resumption stands on now, before an auditor agreed to it."""
        suspended_at = self._suspended_at(scope, name)
        as_of = [self._clear_coverage_as_of(campaign) for campaign in self._campaigns(scope, name)]
        return ResumeFacts(
            is_coverage_clear=None not in as_of,
            is_coverage_newer=all(at is not None and at > suspended_at for at in as_of),
            auditor_agreed=False,
        )

    def history(self) -> list[StateChange]:
        """Every change of a state, as the ledger has it, the newest first."""
        entries = self._ledger.store.entries(kind=EntryKind.SERVICE_STATE)
        return [StateChange.from_body(stored.entry.body) for stored in reversed(entries)]

    def wind_down(self, request: bytes) -> StateChange:
        """Begin the end: no processing from here on, rights go on until everything is answered."""
        asked = self._opened(request)
        self._expect(asked, ServiceStatus.WINDING_DOWN)
        if not self._is_officer(asked):
            raise VerificationError("service: expected the operator's own request, got another's")
        return self._change(asked)

    def abolish(self, request: bytes, owed: WindDownSource) -> StateChange:
        """Say that the service has ended; LocalProtocolError (WINDDOWN_INCOMPLETE) while anything is open."""
        asked = self._asked_to_abolish(request)
        verify_abolition(owed())
        return self._change(asked)

    def verify_may_abolish(self, request: bytes) -> None:
        """Raise as `abolish` would for this request, whatever is owed; to be asked before anything goes."""
        self._asked_to_abolish(request)

    def _asked_to_abolish(self, request: bytes) -> ServiceRequest:
        asked = self._opened(request)
        self._expect(asked, ServiceStatus.ABOLISHED)
        if not self._is_officer(asked):
            raise VerificationError("service: expected the operator's own request, got another's")
        self.states().verify(asked.change)
        return asked

    def _opened(self, request: bytes) -> ServiceRequest:
        asked = open_request(request, evidence_sha256=hashlib.sha256(request).hexdigest())
        if abs(asked.change.at - self._clock()) > _SKEW_SECONDS:
            raise VerificationError(
                f"service: expected a request of the last {_SKEW_SECONDS} seconds, got another time"
            )
        return asked

    def _expect(self, asked: ServiceRequest, state: ServiceStatus) -> None:
        if asked.change.state is not state:
            raise LocalProtocolError(f"service: expected a request for {state.value}, got another")

    def _change(self, asked: ServiceRequest) -> StateChange:
        """Keep the request, then append; in one look at the ledger, so that two changes are in order."""
        with self._ledger.store.locked():
            self.states().verify(asked.change)
            name = f"{asked.change.evidence_sha256}.json"
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(self._directory / name, asked.data)
            self._ledger.append_platform_entry(EntryKind.SERVICE_STATE, asked.change.to_body())
        return asked.change

    def _is_officer(self, asked: ServiceRequest) -> bool:
        return asked.key == self._operator_key

    def _is_auditor(self, asked: ServiceRequest) -> bool:
        return asked.key in self._auditor_keys

    def _is_company_itself(self, asked: ServiceRequest) -> bool:
        change = asked.change
        if change.scope is not ServiceScope.COMPANY:
            return False
        try:
            return self._ledger.keys().signing_key(change.name, self._ledger.store.size) == asked.key
        except VerificationError:
            return False

    def _suspended_at(self, scope: ServiceScope, name: str) -> int:
        return max((c.at for c in self.history() if (c.scope, c.name) == (scope, name)), default=0)

    def _campaigns(self, scope: ServiceScope, name: str) -> list[str]:
        """The campaigns that a scope is about: the one that it names, or the ledger's that are open."""
        if scope is ServiceScope.CAMPAIGN:
            return [name]
        store = self._ledger.store
        closed = {stored.entry.campaign for stored in store.entries(kind=EntryKind.CAMPAIGN_CLOSED)}
        plans = [stored.entry.body for stored in store.entries(kind=EntryKind.PLAN)]
        return [
            plan["campaign"]
            for plan in plans
            if plan["campaign"] not in closed
            and name in ("", *(member["company"] for member in plan["cohort"]))
        ]

    def _clear_coverage_as_of(self, campaign: str) -> int | None:
        """The time of a campaign's newest coverage, if that is clear and an auditor of ours signed it."""
        newest = self._ledger.store.entries(kind=EntryKind.COVERAGE, campaign=campaign)[-1:]
        for stored in newest:
            said = attestation_of_entry(stored.entry.body)
            if said.verdict is CoverageVerdict.CLEAR and self._is_attested(said):
                return said.as_of
        return None

    def _is_attested(self, said: Attestation) -> bool:
        try:
            said.verify()
        except VerificationError:
            return False
        return bytes.fromhex(said.auditor_key) in self._auditor_keys


def service_desk(platform: Platform, clock: Callable[[], int] = lambda: int(time.time())) -> ServiceDesk:
    """The service states of an opened platform."""
    return ServiceDesk(
        platform.ledger,
        platform.directory / "service-requests",
        operator_key=platform.signing_key.public_key,
        auditor_keys=[auditor.key for auditor in platform.config.auditors],
        clock=clock,
    )
