"""What the report shows, computed from a verdict: one line per company, and spending along the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

from noren_audit.html.words import AREAS, Area
from noren_audit.verification.budget import Accountants, RoundSpending
from noren_audit.verification.campaign import CampaignAudit
from noren_audit.verification.findings import Finding, Findings
from noren_audit.verification.verify import Verdict

_MOST_POINTS = 64
_OF_EVERYBODY = frozenset({Area.SEAL, Area.AUTHENTICITY})


class Status(Enum):
    """What can be said of one company; worst first."""

    FINDINGS = "findings"
    CAMPAIGN = "campaign"  # something was found about a campaign of its, and about no company in it
    UNPROVEN = "unproven"  # nothing was found about it, in a ledger that proves nothing
    QUIET = "quiet"  # it reserved no round
    VERIFIED = "verified"


@dataclass(frozen=True, slots=True)
class CompanyLine:
    """One company over all campaigns.

    Attributes:
        campaigns: those that name it or in which it reserved a round.
        rounds: reserved rounds in all of them.
        worst: the campaign that used most of its limit; None if no round was reserved.
        findings: how many name the company.
        replayed: in how many campaigns an auditor computed its training again and found what it had said.
    """

    company: str
    campaigns: tuple[str, ...]
    rounds: int
    worst: RoundSpending | None
    findings: int
    replayed: int
    status: Status

    @property
    def share(self) -> float:
        """How much of its limit the worst campaign used."""
        return 0.0 if self.worst is None else used_share(self.worst)


@dataclass(frozen=True, slots=True)
class Curve:
    """A company's reserved rounds in one campaign: (how many so far, ledger index, epsilon so far)."""

    company: str
    points: tuple[tuple[int, int, float], ...]


def used_share(spending: RoundSpending) -> float:
    """Epsilon as a share of its limit."""
    return spending.epsilon / float(Fraction(spending.limit))


def company_lines(verdict: Verdict) -> list[CompanyLine]:
    """Every company that a plan names or that reserved a round; the worst first."""
    campaigns: dict[str, set[str]] = {}
    for campaign in verdict.campaigns:
        for company in campaign.plan.companies:
            campaigns.setdefault(company, set()).add(campaign.plan.campaign)
    spendings: dict[str, list[RoundSpending]] = {}
    for spending in verdict.rounds:
        campaigns.setdefault(spending.company, set()).add(spending.campaign)
        spendings.setdefault(spending.company, []).append(spending)
    found = _Found(verdict.findings)
    replays = {(item.company, item.campaign) for item in verdict.replays if item.is_replayed}
    replayed = Counter(company for company, _ in replays)
    lines = [
        _line(company, sorted(names), spendings.get(company, []), replayed[company], found)
        for company, names in campaigns.items()
    ]
    order = list(Status)
    return sorted(
        lines, key=lambda line: (order.index(line.status), -line.findings, -line.share, line.company)
    )


def spending_curves(campaigns: Iterable[CampaignAudit]) -> dict[str, list[Curve]]:
    """By campaign: spending of the company that reserved most rounds and of the one that reserved fewest."""
    accountants = Accountants(Findings())  # what they could find, the verifier has found
    return {campaign.plan.campaign: _curves(campaign, accountants) for campaign in campaigns}


def _curves(campaign: CampaignAudit, accountants: Accountants) -> list[Curve]:
    totals = {company: sum(event.count for event in events) for company, events in campaign.events.items()}
    if not totals:
        return []
    most, least = max(totals, key=lambda name: totals[name]), min(totals, key=lambda name: totals[name])
    chosen = [most] if totals[most] == totals[least] else [most, least]
    return [_curve(campaign, company, accountants) for company in chosen]


class _Found:
    """What findings are about: companies, campaigns as a whole, or the ledger as a whole."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.companies: Counter[str] = Counter()
        self.campaigns: set[str] = set()
        self.is_unproven = False
        for finding in findings:
            evidence = finding.evidence
            named = {evidence[name] for name in ("company", "author") if name in evidence}
            self.companies.update(str(name) for name in named)
            if not named and "campaign" in evidence:
                self.campaigns.add(str(evidence["campaign"]))
            elif not named or AREAS[finding.code] in _OF_EVERYBODY:
                self.is_unproven = True


def _line(
    company: str, campaigns: Sequence[str], spendings: Sequence[RoundSpending], replayed: int, found: _Found
) -> CompanyLine:
    rounds = sum(spending.releases for spending in spendings)
    if found.companies[company]:
        status = Status.FINDINGS
    elif found.campaigns & set(campaigns):
        status = Status.CAMPAIGN
    elif found.is_unproven:
        status = Status.UNPROVEN
    else:
        status = Status.VERIFIED if rounds else Status.QUIET
    worst = max(spendings, key=used_share, default=None)
    return CompanyLine(company, tuple(campaigns), rounds, worst, found.companies[company], replayed, status)


def _curve(campaign: CampaignAudit, company: str, accountants: Accountants) -> Curve:
    events, places = campaign.events[company], campaign.intent_places(company)
    step = max(1, -(-len(events) // _MOST_POINTS))
    counts = [*range(step, len(events), step), len(events)]
    delta = campaign.plan.training.delta
    spent = (accountants.epsilons(events[:count], delta).pld for count in counts)
    return Curve(company, tuple(zip(counts, (places[count - 1] for count in counts), spent, strict=True)))
