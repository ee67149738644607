"""What a row of a score table holds: the encrypted scores, and where the student's own copy is to go.

docs/protocol.md §5.4. The platform makes payloads, the company takes them apart: ciphertexts ‖ disclosure
key(32) ‖ mailbox(16). The address is for one student and one company, so it leads to nobody elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from noren_core.errors import DataError
from noren_core.rights.disclosure.mirror import MAILBOX_BYTES
from noren_core.season.head_message import head_layout
from noren_core.season.plan import CampaignPlan

DISCLOSURE_KEY_BYTES = 32
ADDRESS_BYTES = DISCLOSURE_KEY_BYTES + MAILBOX_BYTES


@dataclass(frozen=True, slots=True, repr=False)
class ScorePayload:
    """One student's row as the company opens it.

    Attributes:
        ciphertexts: 66 bytes for every head of the plan.
        disclosure_key: X25519, to which her copy is sealed.
        mailbox: where the platform keeps the copy.
    """

    ciphertexts: bytes
    disclosure_key: bytes
    mailbox: bytes


def score_payload_bytes(plan: CampaignPlan) -> int:
    """The length of every payload of the plan's score tables."""
    return head_layout(plan).payload_bytes + ADDRESS_BYTES


def parse_score_payload(plan: CampaignPlan, payload: bytes) -> ScorePayload:
    """The parts of a payload; DataError for another length than the plan's."""
    expected = score_payload_bytes(plan)
    if len(payload) != expected:
        raise DataError(f"score payload: expected {expected} bytes, got {len(payload)}")
    ciphertexts = payload[:-ADDRESS_BYTES]
    address = payload[-ADDRESS_BYTES:]
    return ScorePayload(ciphertexts, address[:DISCLOSURE_KEY_BYTES], address[DISCLOSURE_KEY_BYTES:])
