"""The sentinel test of every campaign of a ledger, as findings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from noren_audit.verification.campaign import CampaignAudit
from noren_audit.verification.findings import Code, Findings
from noren_audit.verification.sentinels import Judgement, SentinelFault, judge
from noren_core.errors import ConfigurationError

FALSE_ALARM = 1e-6
"""The probability with which a verdict accuses an honest campaign. Less than that of `judge` alone, since a
ledger keeps its campaigns, and with them a false accusation, for ever."""

_EXPECTED = {
    SentinelFault.SENTINELS_TOO_SMALL: "expected the noise that the plan promises, got too little of it",
    SentinelFault.SENTINELS_TOO_LARGE: "expected the noise that the plan promises, got too much of it",
    SentinelFault.SENTINELS_REPEATED: "expected fresh noise in every round, got the same sums twice",
}


@dataclass(frozen=True, slots=True)
class SentinelVerdict:
    """What the sentinels of one campaign say."""

    campaign: str
    judgement: Judgement


def judge_sentinels(campaigns: Iterable[CampaignAudit], findings: Findings) -> tuple[SentinelVerdict, ...]:
    """Test the sums of every campaign that settled a round; each fault becomes a finding.

    1. Each campaign by itself, at `FALSE_ALARM`.
    2. No campaign has the sums of a round of another one.
    """
    verdicts = []
    seen: dict[tuple[int, ...], str] = {}
    for campaign in campaigns:
        name, rounds = campaign.plan.campaign, campaign.sentinel_rounds
        if not rounds:
            continue
        # 1
        try:
            judgement = judge(rounds, campaign.round_event)
        except ConfigurationError:
            continue  # too few companies reserved a round to settle one: SETTLE_WITHOUT_INTENT says so
        verdicts.append(SentinelVerdict(name, judgement))
        for fault in judgement.faults:
            if fault is not SentinelFault.SENTINELS_REPEATED and judgement.p_value >= FALSE_ALARM:
                continue
            findings.add(
                Code(fault.value),
                _EXPECTED[fault],
                campaign=name,
                observations=judgement.observations,
                deviation_ratio=f"{judgement.deviation_ratio:.3f}",
                p_value=f"{judgement.p_value:.2g}",
            )
        # 2
        for item in rounds:
            sums = tuple(item.sums)
            first = seen.setdefault(sums, name)
            if len(sums) > 1 and first != name:
                findings.add(
                    Code.SENTINELS_REPEATED,
                    _EXPECTED[SentinelFault.SENTINELS_REPEATED],
                    campaign=name,
                    first=first,
                )
    return tuple(verdicts)
