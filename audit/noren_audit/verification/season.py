"""Handing each authentic entry to whoever judges it: the parties, or its campaign."""

from __future__ import annotations

from noren_audit.verification.budget import Budget
from noren_audit.verification.campaign import CampaignAudit, LedgerWide
from noren_audit.verification.commitments import LedgerView
from noren_audit.verification.findings import Code, Findings
from noren_audit.verification.parties import Parties
from noren_audit.verification.sentinel_findings import SentinelVerdict, judge_sentinels
from noren_audit.verification.service import ServiceAudit
from noren_core import canonical_json
from noren_core.errors import DataError
from noren_core.ledger.entries import CompanyKey, EntryKind, SignedEntry
from noren_core.season.plan import CampaignPlan


class SeasonAudit:
    """All campaigns of a ledger while its entries are read in order."""

    def __init__(self, parties: Parties, view: LedgerView, budget: Budget, findings: Findings) -> None:
        self._parties = parties
        self._view = view
        self._budget = budget
        self._findings = findings
        self._wide = LedgerWide.empty()
        self._campaigns: dict[str, CampaignAudit] = {}
        self._service = ServiceAudit(findings)

    @property
    def campaigns(self) -> tuple[CampaignAudit, ...]:
        """The campaigns with a valid plan, in ledger order."""
        return tuple(self._campaigns.values())

    def read(self, index: int, entry: SignedEntry) -> None:
        """Take the next authentic entry."""
        self._service.read(index, entry)
        match entry.kind:
            case EntryKind.LOG_START:
                pass  # compared with the trust file before anything else
            case EntryKind.ENROLMENT | EntryKind.PLATFORM_KEY_ROTATION | EntryKind.REVOCATION:
                pass  # whose key counts is known since the entry was admitted
            case EntryKind.SERVICE_STATE | EntryKind.INCIDENT | EntryKind.CONSENT_LOG:
                pass  # read above; a root of consents says nothing by itself
            case EntryKind.POLICY:
                self._wide.policies.setdefault(entry.body["sha256"], index)
            case EntryKind.KEY_ROTATION:
                self._rotation(index, entry)
            case EntryKind.AGREEMENT:
                self._parties.agree(entry)
            case EntryKind.PLAN:
                self._plan(index, entry)
            case _:
                self._of_campaign(index, entry)

    def finish(self) -> tuple[SentinelVerdict, ...]:
        """Judge what only the whole ledger shows; what each campaign's sentinels say."""
        for campaign in self._campaigns.values():
            campaign.finish(self._service.newest_time)
        return judge_sentinels(self.campaigns, self._findings)

    def _plan(self, index: int, entry: SignedEntry) -> None:
        """A campaign's plan: one, well formed, within the auditor's limits, over enrolled companies."""
        name = str(entry.campaign)
        if name in self._campaigns:
            self._findings.add(
                Code.PLAN_REPEATED, "expected one plan per campaign, got a second", index=index, campaign=name
            )
            return
        try:
            plan = parse_plan(entry)
        except DataError as error:
            self._findings.add(Code.PLAN_MALFORMED, error.message, index=index, campaign=name)
            return
        self._budget.check_limits(index, plan)
        self._parties.require_members(index, plan.companies)
        self._campaigns[name] = CampaignAudit(plan, self._wide, self._view, self._findings)

    def _rotation(self, index: int, entry: SignedEntry) -> None:
        """What peers keep of a company for a whole campaign does not change under it."""
        if entry.body["key"] not in (CompanyKey.SIGNING, CompanyKey.SEALING):
            return
        for name, campaign in self._campaigns.items():
            if campaign.relies_on(entry.author):
                self._findings.add(
                    Code.ROTATION_IN_CAMPAIGN,
                    "expected the change after the company's last settle or the campaign's close",
                    index=index,
                    campaign=name,
                    company=entry.author,
                )

    def _of_campaign(self, index: int, entry: SignedEntry) -> None:
        campaign = self._campaigns.get(str(entry.campaign))
        if campaign is None:
            self._findings.add(
                Code.PLAN_MISSING,
                "expected the campaign's plan before this entry",
                index=index,
                campaign=str(entry.campaign),
            )
            return
        campaign.read(index, entry)


def parse_plan(entry: SignedEntry) -> CampaignPlan:
    """The plan of a plan entry; DataError unless the entry is the one spelling of it.

    What companies accept is the hash of the parsed plan: a second spelling would be a second entry with
    the same hash.
    """
    plan = CampaignPlan.from_body(entry.body)
    if canonical_json.encode(plan.to_body()) != canonical_json.encode(entry.body):
        raise DataError("plan: expected the plan in its only spelling, got another")
    return plan
