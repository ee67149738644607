"""What the company sees of its own gate, and what it shows an auditor on the premises.

docs/rights/gate-at-a-company.md §5. Promises: the report holds no identifier, no band and no number of
scores; the file for the auditor is made of what is kept, leaves through a pipe and is never stored here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from noren_client import alignment, campaign_files, config
from noren_client.gate import access_log, decisions
from noren_client.gate.decisions import NOT_YET, KeptBatch
from noren_core.rights.gate.gate_detectors import gate_alerts, histories
from noren_core.rights.gate.gate_file import GateFile
from noren_core.season.plan import CampaignPlan


def status(company_dir: Path, campaign: str, *, now: int) -> dict[str, Any]:
    """Every batch and where it stands, offers that were taken back, and what the detectors noticed."""
    plan = campaign_files.load_plan(company_dir, campaign)
    batches = decisions.kept_batches(company_dir, campaign)
    noticed = histories(shown_to_auditor(company_dir, campaign))
    return {
        "campaign": campaign,
        "batches": [
            {
                "sequence": batch.sequence,
                "position": batch.batch.position,
                "state": _state(batch, plan, now),
                "sealed_at": batch.sealed_at,
                "reversals": [
                    {"reason": item.reason.value, "by": item.by, "at": item.at} for item in batch.reversals
                ],
            }
            for batch in batches
        ],
        "alerts": {
            position: [alert.value for alert in gate_alerts(history)] for position, history in noticed.items()
        },
    }


def export(company_dir: Path, campaign: str) -> Iterator[bytes]:
    """The lines of the gate file, for `noren-audit gate` on this very machine."""
    return shown_to_auditor(company_dir, campaign).lines()


def shown_to_auditor(company_dir: Path, campaign: str) -> GateFile:
    """Everything about the campaign's gate: batches in the ledger, who applied, who looked."""
    plan = campaign_files.load_plan(company_dir, campaign)
    sealed = [batch for batch in decisions.kept_batches(company_dir, campaign) if batch.index != NOT_YET]
    applicants: dict[str, set[bytes]] = defaultdict(set)
    for person in alignment.applicants(company_dir, plan):
        if person.season == plan.score_season:
            applicants[person.position].add(person.key)
    for batch in sealed:  # of a position that the file does not have any more
        applicants.setdefault(batch.batch.position, set())
    return GateFile(
        campaign,
        config.load(company_dir).company,
        plan.score_season,
        {position: frozenset(keys) for position, keys in applicants.items()},
        tuple(batch.shown() for batch in sealed),
        tuple(item.access for item in access_log.read(company_dir) if item.campaign == campaign),
    )


def _state(batch: KeptBatch, plan: CampaignPlan, now: int) -> str:
    if batch.index == NOT_YET:
        return "not-in-ledger"
    if batch.is_open:
        return "open"
    return "cooling" if now < batch.sealed_at + plan.gate.cooling_seconds else "sealed"
