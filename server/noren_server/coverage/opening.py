"""Coverage of a platform's directory: its runs, its launch gate, and a report on its own data."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from noren_core.ledger.entries import EntryKind, ServiceScope, ServiceStatus
from noren_core.rights.coverage.coverage_report import Attestation, BlockReason, JudgedBy, ReportSource
from noren_core.rights.coverage.launch_gate import launch_obstacles
from noren_core.rights.service.service_state import sign_request
from noren_server.coverage.classification import Question
from noren_server.coverage.gate import LaunchGate
from noren_server.coverage.runs import CoverageRuns, Run
from noren_server.coverage.snapshot import current_judges, export
from noren_server.platform_files import Platform
from noren_server.rights.service_states import service_desk

SUSPENSION_REASON = "COVERAGE_VIOLATION"


def coverage_runs(directory: Path) -> CoverageRuns:
    """The runs in a platform's directory."""
    return CoverageRuns(directory)


def auditor_keys(platform: Platform) -> frozenset[str]:
    """The public keys (hex) of the auditors in config.toml."""
    return frozenset(auditor.key.hex() for auditor in platform.config.auditors)


def launch_gate(platform: Platform) -> LaunchGate:
    """The launch gate of a platform."""
    return LaunchGate(
        runs=coverage_runs(platform.directory),
        entries=platform.ledger_store,
        auditors=auditor_keys(platform),
        judged_by=lambda: _judges_now(platform),
    )


def require_clear(platform: Platform, campaign: str, *, now: int) -> None:
    """Raise LocalProtocolError, code LAUNCH_BLOCKED_COVERAGE with every reason, unless all is clear."""
    launch_gate(platform).require_clear(campaign, now=now)


def require_may_process(platform: Platform, campaign: str, company: str = "", *, now: int) -> None:
    """Raise LocalProtocolError, SERVICE_SUSPENDED or LAUNCH_BLOCKED_COVERAGE, unless data may be processed.

    Args:
        platform: whose.
        campaign: that it is processed in.
        company: that it is processed for; empty for all of the campaign.
        now: Unix seconds.
    """
    service_desk(platform).require_running(company, campaign)
    require_clear(platform, campaign, now=now)


def is_clear(platform: Platform, campaign: str, *, now: int) -> bool:
    """Whether nothing stands in the way of a launch now."""
    return not launch_obstacles(launch_gate(platform).facts(campaign), now=now)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a campaign is: its runs, and what stands in the way of a launch now."""

    runs: tuple[Run, ...]
    obstacles: tuple[BlockReason, ...]


def standing(platform: Platform, campaign: str, *, now: int) -> Standing:
    """Every run of a campaign, marked stale if it is, and what stands in the way of a launch now."""
    facts = launch_gate(platform).facts(campaign)
    runs = coverage_runs(platform.directory)
    runs.mark_stale(campaign, facts.judged_by, now=now)
    return Standing(runs.runs(campaign), launch_obstacles(facts, now=now))


def take_attestation(platform: Platform, data: bytes) -> Attestation:
    """Put an auditor's attestation, as the auditor's program wrote it, in the ledger."""
    runs = coverage_runs(platform.directory)
    return runs.attest(data.removesuffix(b"\n"), platform.ledger, auditors=auditor_keys(platform))


def compute_on_platform(platform: Platform, campaign: str, question: Question, *, now: int) -> Run:
    """A report on a campaign as it would process now; the snapshot is removed afterwards.

    A campaign that processes already is suspended at once if the report shows a violation. One that does not
    is kept from beginning by the gate.
    """
    plan = platform.plan(campaign)
    with tempfile.TemporaryDirectory(prefix="coverage-", dir=platform.directory) as directory:
        snapshot = export(platform, plan, Path(directory), now=now)
        return coverage_runs(platform.directory).compute(
            snapshot,
            campaign=campaign,
            question=question,
            source=ReportSource.PLATFORM,
            now=now,
            suspend=lambda name, _: _suspend(platform, name, now=now),
        )


def _suspend(platform: Platform, campaign: str, *, now: int) -> None:
    """Suspend a campaign that processes; the service states say which ones still run."""
    desk = service_desk(platform, clock=lambda: now)
    has_begun = bool(platform.ledger_store.entries(kind=EntryKind.TABLE, campaign=campaign))
    if not has_begun or not desk.is_running(campaign=campaign):
        return
    desk.suspend(
        sign_request(
            scope=ServiceScope.CAMPAIGN,
            name=campaign,
            state=ServiceStatus.SUSPENDED,
            reason=SUSPENSION_REASON,
            at=now,
            key=platform.signing_key,
        )
    )


def _judges_now(platform: Platform) -> JudgedBy:
    with tempfile.TemporaryDirectory(prefix="coverage-", dir=platform.directory) as directory:
        return current_judges(platform, Path(directory))
