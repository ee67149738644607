"""The launch gate: whether a campaign's processing may begin, by its newest coverage report.

docs/rights/coverage.md §5. A pure function of what is known; whoever publishes training tables or opens
scoring asks it right before. It refuses with every reason that holds, not only the first.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from noren_core.errors import LocalProtocolError, VerificationError
from noren_core.rights.coverage.coverage_report import (
    Attestation,
    BlockReason,
    CoverageReport,
    JudgedBy,
    ReportSource,
    attested_fields,
)

MAX_AGE_SECONDS = 24 * 3600
BLOCKED = "LAUNCH_BLOCKED_COVERAGE"


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchFacts:
    """What is known when somebody wants to begin.

    Attributes:
        campaign: which.
        report: the report that the newest ledger entry names, if the platform still has it.
        attestation: of that entry; None if there is none.
        auditors: the public keys (hex) of those whose word counts.
        judged_by: what a report would be judged by now.
    """

    campaign: str
    report: CoverageReport | None
    attestation: Attestation | None
    auditors: Collection[str]
    judged_by: JudgedBy


def launch_obstacles(facts: LaunchFacts, *, now: int) -> tuple[BlockReason, ...]:
    """Every reason why processing may not begin now; none if it may.

    1. There is a report, about this campaign, from the platform's own data.
    2. An auditor whose word counts attested exactly this report.
    3. It is fresh.
    4. Its figures let processing begin.
    """
    report = facts.report
    if report is None:  # 1
        return (BlockReason.NO_REPORT,)
    holds = {
        BlockReason.OTHER_CAMPAIGN: report.campaign != facts.campaign,
        BlockReason.NOT_FROM_PLATFORM: report.source is not ReportSource.PLATFORM,
        BlockReason.NOT_ATTESTED: not _is_attested(report, facts),  # 2
        BlockReason.STALE: is_stale(report, facts.judged_by, now=now),  # 3
        **dict.fromkeys(report.reasons, True),  # 4
    }
    return tuple(reason for reason in BlockReason if holds.get(reason))


def verify_clear(facts: LaunchFacts, *, now: int) -> None:
    """Raise LocalProtocolError, code LAUNCH_BLOCKED_COVERAGE, naming every reason, unless there is none."""
    if obstacles := launch_obstacles(facts, now=now):
        raise LocalProtocolError(
            "launch: expected an attested and fresh coverage report that lets processing begin, got "
            + ", ".join(obstacles),
            code=BLOCKED,
        )


def is_stale(report: CoverageReport, judged_by: JudgedBy, *, now: int) -> bool:
    """Whether anything changed that it was judged by, or it is older than a day, or from the future."""
    return report.judged_by != judged_by or not 0 <= now - report.as_of <= MAX_AGE_SECONDS


def _is_attested(report: CoverageReport, facts: LaunchFacts) -> bool:
    said = facts.attestation
    if said is None or said.auditor_key not in facts.auditors:
        return False
    body = said.to_entry_body()
    if any(body[name] != value for name, value in attested_fields(report).items()):
        return False
    try:
        said.verify()
    except VerificationError:
        return False
    return True
