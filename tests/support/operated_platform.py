"""A platform with companies, seasons and a campaign, for the pages about what runs."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from noren_core.ledger.entries import EntryKind
from noren_core.season.plan import CampaignPlan
from noren_server.platform_files import Platform
from noren_server.round_control import RoundControl
from noren_server.store import EnrolmentRecord

CAMPAIGN = "spring-2026"
SEASONS = """
activity_types = ["view"]
milestone_types = ["score"]
[[seasons]]
name = "2025"
start_us = 1000
cutoff_day = 60
is_past = true
[[seasons]]
name = "2026"
start_us = 2000
cutoff_day = 60
is_past = false
"""
SIZES = {f"company-{number}": 60 * number for number in range(1, 6)}


def add_companies(platform: Platform) -> None:
    """Five that take part, with 60, 120 … 300 declared applicants; and the seasons of 2025 and 2026."""
    with platform.store.transaction() as transaction:
        for company, size in SIZES.items():
            transaction.add_company(
                EnrolmentRecord(
                    name=company,
                    signing_key=company.encode().ljust(32, b"."),
                    sealing_key=bytes(32),
                    declared_size=size,
                    tls_request=b"",
                    node_key=b"",
                    enrolment_entry=b"",
                    agreement_entry=b"",
                )
            )
            transaction.approve_company(company, certificate=b"", sha256=company.encode())
    logs = platform.directory / "logs"
    logs.mkdir(mode=0o700, exist_ok=True)
    (logs / "seasons.toml").write_text(SEASONS)


def add_campaign(platform: Platform, plan_body: Mapping[str, Any]) -> CampaignPlan:
    """The published plan of these companies."""
    plan = CampaignPlan.from_body(copy.deepcopy(dict(plan_body)))
    with platform.store.transaction() as transaction:
        transaction.add_campaign(plan)
    platform.ledger.append_platform_entry(EntryKind.PLAN, plan.to_body())
    return plan


def run_to_the_middle(platform: Platform, plan: CampaignPlan, *, now: int) -> RoundControl:
    """Round 1 is over without company-5; in round 2 two reported, and one was asked twice."""
    control = RoundControl(platform.store, plan, clock=lambda: now)
    companies = list(plan.companies)
    control.opened(1, companies, seconds=30)
    control.judged(1, reported=companies[:4], missed=companies[4:])
    control.closed(1)
    control.opened(2, companies[:4], seconds=30)
    control.heard(2, companies[0])
    control.heard(2, companies[1])
    control.asked_again(2, [companies[2]])
    path = platform.progress_path(plan.campaign)
    path.write_text('{"state": "training", "reason": "", "round_number": 2}')
    return control
