"""One replay, from files to a signed verdict."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from noren_audit.replay.replay import ReplayCode, ReplayFinding, replay
from noren_audit.replay.replay_file import ReplayFile
from noren_audit.replay.replay_ledger import campaign_facts
from noren_audit.replay.replay_verdict import ReplaySubject, sign_verdict, verdict_word
from noren_audit.verification.sentinels import SentinelFault
from noren_audit.verification.trust import Trust
from noren_audit.verification.verify import verify_bundle
from noren_core import __version__
from noren_core.crypto.identity import SigningKey
from noren_core.errors import VerificationError


@dataclass(frozen=True, slots=True)
class ReplayDone:
    """What a replay left: findings for the screen, the one object that may leave the machine, its word."""

    findings: tuple[ReplayFinding, ...]
    signed_verdict: bytes
    word: str


def run(shown: ReplayFile, bundle: Path, trust: Trust, key: SigningKey) -> ReplayDone:
    """Verify the ledger, replay the company's campaign against it, sign what came of it.

    Raises:
        VerificationError: if the bundle is not the trusted log's; then there is nothing to judge.
        DataError: if the bundle changes while it is read.
    """
    ledger = verify_bundle(bundle, trust)
    if ledger.checkpoint is None:
        raise VerificationError("bundle: expected a checkpoint of the trusted log, got none")
    facts = campaign_facts(bundle, trust, shown.campaign, root=ledger.checkpoint.root)
    result = replay(shown, facts)
    # What the cohort's sums say, perhaps by chance, is stated beside the verdict.
    if {finding.code.value for finding in ledger.findings} - {fault.value for fault in SentinelFault}:
        first = ReplayFinding(ReplayCode.LEDGER_NOT_VERIFIED)
        result = replace(result, findings=(first, *result.findings))
    judged = [item.judgement for item in ledger.sentinels if item.campaign == shown.campaign]
    subject = ReplaySubject(
        campaign=shown.campaign,
        company=shown.company,
        plan_sha256="" if facts is None else facts.plan.digest().hex(),
        checkpoint=ledger.checkpoint,
        sentinels_ok=all(not judgement.faults for judgement in judged),
    )
    word = verdict_word(has_findings=bool(result.findings), rows_erased=result.is_partial)
    return ReplayDone(result.findings, sign_verdict(subject, result, key, tool_version=__version__), word)
