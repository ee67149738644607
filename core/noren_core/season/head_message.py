"""What a plan fixes about a company's encrypted heads: layout, binding of the proof, the entry that commits.

docs/protocol.md §5.1, §5.2 and §5.5. Both sides make these from the plan they hold and compare; nothing of
it is taken from a message.
"""

from __future__ import annotations

from typing import Any

from noren_core.crypto.head_encryption import HeadLayout, head_commitment
from noren_core.season.plan import CampaignPlan


def head_layout(plan: CampaignPlan) -> HeadLayout:
    """How many heads of how many weights of how many bits the one message of a company holds."""
    return HeadLayout(
        dimensions=plan.release.dimensions, weight_bits=plan.scoring.weight_bits, heads=plan.scoring.heads
    )


def head_binding(plan: CampaignPlan, company: str) -> bytes:
    """What the message's proof is bound to: protocol, plan (hence campaign) and company."""
    return b"noren/v1/head\0" + plan.digest() + company.encode()


def commitment_body(plan: CampaignPlan, company: str, message: bytes) -> dict[str, Any]:
    """The body of the `head-commitment` entry for this message."""
    return {
        "campaign": plan.campaign,
        "company": company,
        "commitment": head_commitment(message).hex(),
        "dimensions": plan.release.dimensions,
        "heads": plan.scoring.heads,
        "weight_bits": plan.scoring.weight_bits,
    }
