"""The launch gate at the platform: asked right before training tables are published or scoring is opened.

docs/rights/coverage.md §5. What counts is the `coverage` entry of the campaign that is about the latest time;
a clear one about an earlier time is worth nothing beside a blocked one, whichever came into the ledger last.
The rules are `noren_core.rights.coverage.launch_gate`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from noren_core.ledger.entries import EntryKind
from noren_core.rights.coverage.coverage_report import Attestation, JudgedBy, attestation_of_entry
from noren_core.rights.coverage.launch_gate import LaunchFacts, verify_clear
from noren_server.coverage.runs import CoverageRuns


class Entries(Protocol):
    """What of the ledger's store is read."""

    def entries(self, *, kind: EntryKind) -> Any:
        """The stored entries of a kind, oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchGate:
    """The gate of one platform.

    Attributes:
        runs: its coverage runs.
        entries: of its ledger.
        auditors: the public keys (hex) of those whose word counts.
        judged_by: tells what a report would be judged by now.
    """

    runs: CoverageRuns
    entries: Entries
    auditors: frozenset[str]
    judged_by: Callable[[], JudgedBy]

    def require_clear(self, campaign: str, *, now: int) -> None:
        """Raise LocalProtocolError, code LAUNCH_BLOCKED_COVERAGE with every reason, unless all is clear."""
        verify_clear(self.facts(campaign), now=now)

    def facts(self, campaign: str) -> LaunchFacts:
        """What is known about the campaign now."""
        said = self._newest(campaign)
        return LaunchFacts(
            campaign=campaign,
            report=None if said is None else self.runs.find(campaign, said.report_sha256),
            attestation=said,
            auditors=self.auditors,
            judged_by=self.judged_by(),
        )

    def _newest(self, campaign: str) -> Attestation | None:
        newest = None
        for stored in self.entries.entries(kind=EntryKind.COVERAGE):
            if stored.entry.campaign == campaign:
                said = attestation_of_entry(stored.entry.body)
                newest = said if newest is None or said.as_of >= newest.as_of else newest
        return newest
