"""What `noren-audit sentinels` says of a ledger, and what such a test could have shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noren_audit import sentinels
from noren_audit.replay_ledger import CampaignFacts, read_campaigns
from noren_audit.sentinels import SentinelFault
from noren_audit.trust import Trust
from noren_audit.verify import verify_bundle
from noren_core.errors import ConfigurationError, VerificationError
from noren_core.season.round_event import round_event

LIMITS = (
    "a company that spares these coordinates and leaves its noise out elsewhere (replay shows it)",
    "one company of many that drew less than its share, if the sum is still wide enough",
    "anything about the gradients: clipping, rows used, rows counted twice (replay, certification)",
)
"""Printed with every result: what these sums do not show."""


@dataclass(frozen=True, slots=True)
class CampaignSentinels:
    """One campaign's result; what cannot be tested has no judgement and a reason."""

    campaign: str
    judgement: sentinels.Judgement | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SentinelReport:
    """All campaigns of a ledger.

    Attributes:
        ledger_word: the word of `noren-audit verify` over the same bundle.
        campaigns: each one's result.
        is_repeated: whether two rounds, of one campaign or two, have the same sums.
    """

    ledger_word: str
    campaigns: tuple[CampaignSentinels, ...]
    is_repeated: bool

    @property
    def passes(self) -> bool:
        """Nothing speaks against any campaign that could be tested."""
        judged = [item.judgement for item in self.campaigns if item.judgement is not None]
        return not self.is_repeated and not any(judgement.faults for judgement in judged)

    def to_fields(self) -> dict[str, Any]:
        """For JSON; probabilities and ratios are decimal strings."""
        return {
            "ledger": self.ledger_word,
            "campaigns": [_fields(item) for item in self.campaigns],
            "repeated": self.is_repeated,
            "false_alarm": f"{sentinels.FALSE_ALARM:g}",
            "observations_needed": {
                f"{ratio:g}": sentinels.observations_needed(ratio) for ratio in sentinels.DEVIATIONS_SHOWN
            },
            "power": f"{sentinels.POWER:g}",
            "not_shown": list(LIMITS),
        }

    def lines(self) -> Iterator[str]:
        """For people."""
        yield "SENTINELS PASS" if self.passes else "SENTINELS DO NOT PASS"
        yield f"ledger: {self.ledger_word}"
        for item in self.campaigns:
            yield f"{item.campaign}: {_sentence(item)}"
        if self.is_repeated:
            yield f"{SentinelFault.SENTINELS_REPEATED}: two rounds have the same sums"
        yield f"\nan honest campaign is accused with probability {sentinels.FALSE_ALARM:g}"
        yield f"sums needed to see a smaller deviation with probability {sentinels.POWER:g}:"
        for ratio in sentinels.DEVIATIONS_SHOWN:
            yield f"  {ratio:g} of the planned one: {sentinels.observations_needed(ratio)}"
        yield "\nnot shown by these sums:"
        yield from (f"  {text}" for text in LIMITS)


def make(bundle: Path, trust: Trust) -> SentinelReport:
    """Test every campaign of a bundle.

    Raises:
        VerificationError: if the bundle is not the trusted log's.
    """
    ledger = verify_bundle(bundle, trust)
    if ledger.checkpoint is None:
        raise VerificationError("bundle: expected a checkpoint of the trusted log, got none")
    campaigns = read_campaigns(bundle, trust, root=ledger.checkpoint.root)
    every = [tuple(item.sums) for facts in campaigns.values() for item in facts.sentinel_rounds()]
    return SentinelReport(
        ledger.word,
        tuple(_judge(name, facts) for name, facts in campaigns.items()),
        sentinels.repeated(every),
    )


def _judge(campaign: str, facts: CampaignFacts) -> CampaignSentinels:
    rounds = facts.sentinel_rounds()
    if not any(item.sums for item in rounds):
        return CampaignSentinels(campaign, None, "no round was settled, or the plan has no sentinels")
    try:
        return CampaignSentinels(campaign, sentinels.judge(rounds, round_event(facts.plan)))
    except ConfigurationError as error:
        return CampaignSentinels(campaign, None, error.message)


def _sentence(item: CampaignSentinels) -> str:
    found = item.judgement
    if found is None:
        return f"not tested ({item.reason})"
    rounds = " ".join(f"{value:.3g}" for value in found.round_p_values)
    return (
        f"{', '.join(found.faults) or 'passes'}; {found.observations} sums, deviation "
        f"{found.deviation_ratio:.3f} of the planned one, p = {found.p_value:.3g} (by round: {rounds})"
    )


def _fields(item: CampaignSentinels) -> dict[str, Any]:
    found = item.judgement
    if found is None:
        return {"campaign": item.campaign, "tested": False, "reason": item.reason}
    return {
        "campaign": item.campaign,
        "tested": True,
        "observations": found.observations,
        "deviation_ratio": f"{found.deviation_ratio:.6f}",
        "p_value": f"{found.p_value:.6g}",
        "round_p_values": [f"{value:.6g}" for value in found.round_p_values],
        "faults": [fault.value for fault in found.faults],
    }
