"""What `noren-audit sentinels` says of a ledger, and what such a test could have shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noren_audit.verification import sentinels
from noren_audit.verification.findings import Code
from noren_audit.verification.sentinels import Judgement, SentinelFault
from noren_audit.verification.trust import Trust
from noren_audit.verification.verify import verify_bundle
from noren_core.errors import VerificationError

LIMITS = (
    "a company that spares these coordinates and leaves its noise out elsewhere (replay shows it)",
    "one company of many that drew less than its share, if the sum is still wide enough",
    "anything about the gradients: clipping, rows used, rows counted twice (replay, certification)",
)
"""Printed with every result: what these sums do not show."""


@dataclass(frozen=True, slots=True)
class SentinelReport:
    """All campaigns of a ledger.

    Attributes:
        ledger_word: the word of `noren-audit verify` over the same bundle.
        campaigns: each one's judgement; None if there was nothing to test.
        is_repeated: whether two rounds, of one campaign or two, have the same sums.
    """

    ledger_word: str
    campaigns: dict[str, Judgement | None]
    is_repeated: bool

    @property
    def passes(self) -> bool:
        """Nothing speaks against any campaign that could be tested."""
        judged = self.campaigns.values()
        return not self.is_repeated and not any(found is not None and found.faults for found in judged)

    def to_fields(self) -> dict[str, Any]:
        """For JSON; probabilities and ratios are decimal strings."""
        return {
            "ledger": self.ledger_word,
            "campaigns": [_fields(name, found) for name, found in self.campaigns.items()],
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
        for name, found in self.campaigns.items():
            yield f"{name}: {_sentence(found)}"
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
    judged: dict[str, Judgement | None] = {audit.plan.campaign: None for audit in ledger.campaigns}
    judged |= {item.campaign: item.judgement for item in ledger.sentinels if item.judgement.observations}
    is_repeated = any(finding.code is Code.SENTINELS_REPEATED for finding in ledger.findings)
    return SentinelReport(ledger.word, judged, is_repeated)


def _sentence(found: Judgement | None) -> str:
    if found is None:
        return "not tested (no round was settled, or the plan has no sentinels)"
    rounds = " ".join(f"{value:.3g}" for value in found.round_p_values)
    return (
        f"{', '.join(found.faults) or 'passes'}; {found.observations} sums, deviation "
        f"{found.deviation_ratio:.3f} of the planned one, p = {found.p_value:.3g} (by round: {rounds})"
    )


def _fields(campaign: str, found: Judgement | None) -> dict[str, Any]:
    if found is None:
        return {"campaign": campaign, "tested": False}
    return {
        "campaign": campaign,
        "tested": True,
        "observations": found.observations,
        "deviation_ratio": f"{found.deviation_ratio:.6f}",
        "p_value": f"{found.p_value:.6g}",
        "round_p_values": [f"{value:.6g}" for value in found.round_p_values],
        "faults": [fault.value for fault in found.faults],
    }
