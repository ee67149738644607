"""What a session asks of its own odometer once the ledger has shown it an intent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from noren_client.odometer import Odometer
from noren_client.training_session import TrainingSession
from noren_core.crypto.identity import SigningKey
from noren_core.errors import VerificationError
from noren_core.ledger.entries import EntryKind, SignedEntry, parse_entry, sign_entry
from noren_core.ledger.proofs import LedgerProof, VerifiedEntry
from noren_core.season import messages as m
from noren_core.season.head import HeadState
from noren_core.season.plan import CampaignPlan
from noren_core.season.round_consents import RoundConsents

KEY = SigningKey.from_bytes(bytes(range(32)))
PROOF = LedgerProof(b"", (), ())


class Watch:
    """A ledger that holds these intents of ours, the newest one last."""

    def __init__(self) -> None:
        self.intents: list[SignedEntry] = []

    def accept(self, proof: LedgerProof) -> tuple[VerifiedEntry, ...]:
        return tuple(VerifiedEntry(index, entry) for index, entry in enumerate(self.intents))

    def newest_intent(self) -> SignedEntry:
        return self.intents[-1]


Begin = Callable[[CampaignPlan], TrainingSession]


@pytest.fixture
def plan(plan_body: dict[str, Any]) -> CampaignPlan:
    return CampaignPlan.from_body(plan_body)


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def begin(tmp_path: Path, watch: Watch) -> Begin:
    """A session of a campaign as it is when it has reserved round 1, its intent in the ledger."""

    def begun(plan: CampaignPlan) -> TrainingSession:
        commitment = {
            "campaign": plan.campaign,
            "company": "company-1",
            "plan_sha256": plan.digest().hex(),
            "rows": "ab" * 32,
            "seed": "cd" * 32,
        }
        session = object.__new__(TrainingSession)
        session.__dict__ |= {
            "_plan": plan,
            "_company": "company-1",
            "_signing": KEY,
            "_odometer": Odometer(tmp_path / "odometer.jsonl", KEY),
            "_head": HeadState.initial(plan.training),
            "_watch": watch,
            "_commitment": sign_entry(EntryKind.TRAINING_COMMITMENT, "company-1", commitment, KEY),
        }
        watch.intents.append(parse_entry(session._reserve(1)))
        return session

    return begun


def refusal(session: TrainingSession, plan: CampaignPlan) -> VerificationError:
    """Why round 1 is not computed: at the latest, this ledger has no commitment."""
    with pytest.raises(VerificationError) as refused:
        session._masked_input(m.MaskedInputRequest(plan.campaign, 1, PROOF, {}, (), RoundConsents.drawn()))
    return refused.value


def test_an_odometer_without_the_newest_intent_computes_nothing(
    plan: CampaignPlan, begin: Begin, watch: Watch, tmp_path: Path
) -> None:
    """Put back while the session runs, it may hold the round, but not what the ledger shows after it."""
    session = begin(plan)
    older = (tmp_path / "odometer.jsonl").read_bytes()
    begin(replace(plan, campaign="autumn-2026", train_seasons=("2024",)))
    assert [entry.kind for entry in watch.intents] == [EntryKind.INTENT] * 2
    assert "training-commitment" in refusal(session, plan).message
    (tmp_path / "odometer.jsonl").write_bytes(older)
    assert refusal(session, plan).code == "ACCOUNTANT_RESET"
