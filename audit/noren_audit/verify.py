"""The verdict over an exported ledger: one function, its steps, and what it cannot see."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from noren_audit.budget import Budget, RoundSpending, RowSpending
from noren_audit.bundle import parse_entries, read_bundle, verify_checkpoint
from noren_audit.findings import Finding, Findings
from noren_audit.parties import Parties
from noren_audit.season import SeasonAudit
from noren_audit.trust import Trust
from noren_core.ledger.checkpoint import Checkpoint

NOT_CHECKED = (
    "the rows: whether companies trained on true, complete and consented records",
    "the noise: that each company clipped, drew noise and computed what it settled (needs replay on site)",
    "the end of the ledger: entries after the last one here (compare the checkpoint with companies' copies)",
    "a split view: another ledger shown to others (same comparison; there are no witness signatures yet)",
    "consents: what the salted consent-epoch roots commit to",
    "the sealed tables themselves, and that scores went to nobody else",
    "choices made on private data before the plan was published",
    "the lifetime total of a person over several companies and campaigns",
)
"""Printed with every verdict: what VERIFIED does not mean."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result over one bundle.

    Attributes:
        findings: every defect; empty means verified.
        checkpoint: what was verified, if the log's signature holds; to compare with other copies.
        entries: how many entries the bundle has.
        rounds: what each company's rounds spent, by campaign.
        rows: what each campaign's row release spends.
    """

    findings: tuple[Finding, ...]
    checkpoint: Checkpoint | None
    entries: int
    rounds: tuple[RoundSpending, ...]
    rows: tuple[RowSpending, ...]

    @property
    def is_verified(self) -> bool:
        """True if nothing at all was found."""
        return not self.findings

    @property
    def word(self) -> str:
        """The verdict in the words that every report uses."""
        return "VERIFIED" if self.is_verified else "NOT VERIFIED"


def verify_bundle(directory: Path, trust: Trust) -> Verdict:
    """Everything that can be concluded from a bundle and a trust file.

    1. Read exactly two files; every byte belongs to the checkpoint or to one framed entry.
    2. Every entry is canonical, of a known kind, with a body in range.
    3. The first entry names the origin that the trust file names, and keys that lead to its keys.
    4. Every entry is countersigned by the platform and signed by its author, with the keys that are current
       there; keys change by their holders' agreement, and whoever was revoked is silent; no entry is there
       twice. Only entries that pass are used from here on.
    5. The checkpoint is signed by the log key that is current at its size, and its size and root are those of
       the entries.
    6. Each campaign has one plan, well formed, within the trust file's limits, over enrolled companies
       that signed the agreement; every other entry of the campaign comes after it.
    7. Each campaign's entries follow the plan and each other (`CampaignAudit` numbers those checks).
    8. Epsilon of every company and campaign, recomputed from the intents, stays within the plan; so
       does, as a separate number, epsilon of the row release.
    Every step goes on after a defect. What no bundle can show is listed in `NOT_CHECKED`.
    """
    findings = Findings()
    # 1
    bundle = read_bundle(directory, findings)
    # 2
    entries = parse_entries(bundle, findings)
    # 3, 4
    parties, budget = Parties(trust, dict(entries), findings), Budget(trust, findings)
    season = SeasonAudit(parties, budget, findings)
    if not bundle.lines:
        parties.start_log(0, None)
    for index, entry in entries:
        parties.start_log(index, entry)
        if parties.admit(index, entry):
            # 6, 7
            season.read(index, entry)
    parties.finish()
    # 5
    checkpoint = verify_checkpoint(bundle, parties.keys, findings)
    season.finish()
    # 8
    rounds = tuple(item for campaign in season.campaigns for item in budget.rounds(campaign))
    rows = tuple(budget.rows(campaign.plan) for campaign in season.campaigns)
    return Verdict(findings.in_order(), checkpoint, len(bundle.lines), rounds, rows)


def worst_round_spending(verdict: Verdict) -> RoundSpending | None:
    """The company whose records lost most in one campaign; None if no round was reserved."""
    return max(verdict.rounds, key=lambda item: item.epsilon, default=None)
