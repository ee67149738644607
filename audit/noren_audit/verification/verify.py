"""The verdict over an exported ledger: one function, its steps, and what it cannot see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from noren_audit.verification.budget import Accountants, Budget, RoundSpending, RowSpending
from noren_audit.verification.bundle import parse_entries, read_bundle, verify_checkpoint, verify_witnesses
from noren_audit.verification.campaign import CampaignAudit
from noren_audit.verification.commitments import LedgerView
from noren_audit.verification.findings import Finding, Findings
from noren_audit.verification.parties import Parties
from noren_audit.verification.person import PersonSpending, person_spending
from noren_audit.verification.season import SeasonAudit
from noren_audit.verification.seen_checkpoints import verify_seen
from noren_audit.verification.sentinel_findings import SentinelVerdict
from noren_audit.verification.shown_verdicts import ShownReplay, judge_verdicts
from noren_audit.verification.trust import Trust
from noren_core.ledger.checkpoint import Checkpoint
from noren_core.ledger.cosignature import CosignerKey

NOT_CHECKED = (
    "the rows: whether companies trained on true, complete and consented records",
    (
        "the rounds: that each company clipped, drew noise from its seed and computed what it settled "
        "(needs replay)"
    ),
    "the noise at all but the sentinel coordinates (needs replay)",
    "the end of the ledger: entries after the last one here",
    "a split view, if the trust file names no witnesses and no checkpoint of others was compared (--seen)",
    (
        "sealed statistics: that the rows behind an answer are the students' own (needs recomputation on "
        "the platform's premises)"
    ),
    "consents: what the salted consent-epoch roots commit to",
    "the sealed tables themselves, and that scores went to nobody else",
    "that every decision is in a sealed batch, and only offers were evaluated (needs noren-audit gate)",
    "what a coverage report counted, and what a deletion certificate found (their hashes are here)",
    "choices made on private data before the plan was published",
    "in how many campaigns a person was: her total is a bound if the consent service keeps to the plans",
)
"""Printed with every verdict: what VERIFIED does not mean."""

_REPORTED_EVERY = 64


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result over one bundle.

    Attributes:
        findings: every defect; empty means verified.
        checkpoint: what was verified, if the log's signature holds; to compare with other copies.
        entries: how many entries the bundle has.
        rounds: what each company's rounds spent, by campaign.
        rows: what each campaign's release of rows, or of sums of them, spends.
        persons: what one person can lose, by training season, and over all campaigns at the end.
        sentinels: what each campaign's sentinel sums say about its noise.
        replays: which rounds were computed again, by the verdicts that were shown.
        campaigns: those with a valid plan, as they were read; for reports.
        witnesses: those of the trust file that cosigned the checkpoint.
    """

    findings: tuple[Finding, ...]
    checkpoint: Checkpoint | None
    entries: int
    rounds: tuple[RoundSpending, ...]
    rows: tuple[RowSpending, ...]
    persons: tuple[PersonSpending, ...]
    sentinels: tuple[SentinelVerdict, ...]
    replays: tuple[ShownReplay, ...]
    campaigns: tuple[CampaignAudit, ...]
    witnesses: tuple[CosignerKey, ...]

    @property
    def is_verified(self) -> bool:
        """True if nothing at all was found."""
        return not self.findings

    @property
    def word(self) -> str:
        """The verdict in the words that every report uses."""
        return "VERIFIED" if self.is_verified else "NOT VERIFIED"


def verify_bundle(
    directory: Path,
    trust: Trust,
    seen: Sequence[bytes] = (),
    verdicts: Sequence[bytes] = (),
    *,
    report: Callable[[int, int], None] = lambda _read, _in_all: None,
) -> Verdict:
    """Everything that can be concluded from a bundle, a trust file and what others saw or computed again.

    1. Read exactly the files of a ledger of this size; every byte belongs to the checkpoint, to one framed
       entry, or to a hash of entries.
    2. Every entry is canonical, of a known kind, with a body in range.
    3. The first entry names the origin that the trust file names, and keys that lead to its keys.
    4. Every entry is countersigned by the platform and signed by its author, with the keys that are current
       there; keys change by their holders' agreement, and whoever was revoked is silent; no entry is there
       twice. Only entries that pass are used from here on.
    5. The checkpoint is signed by the log key that is current at its size, and its size and root are those of
       the entries. Enough of the trust file's witnesses cosigned it, and every checkpoint in `seen` is one of
       this ledger.
    6. Each campaign has one plan, well formed, within the trust file's limits, over enrolled companies
       that signed the agreement; every other entry of the campaign comes after it.
    7. Each campaign's entries follow the plan and each other (`CampaignAudit` numbers those checks).
    8. The sentinel sums have the deviation that the plan promises, and no two rounds have the same.
    9. Epsilon of every company and campaign, recomputed from the intents, stays within the plan; so
       does, as a separate number, epsilon of the row release; and no campaign alone passes what a person
       may lose in all. The accountants agree on each.
    10. Every verdict of a replay in `verdicts` is signed by an auditor of the trust file, about this ledger,
        and found nothing.
    Every step goes on after a defect. What no bundle can show is listed in `NOT_CHECKED`. Entries are read
    one after the other and are not kept. `report` is called now and then with how many of how many were read.
    """
    findings = Findings()
    # 1
    bundle = read_bundle(directory, findings)
    # 2, 3, 4
    parties = Parties(trust, bundle.platform_rotations(), findings)
    accountants = Accountants(findings)
    budget = Budget(trust, accountants, findings)
    view = LedgerView(bundle.tree, parties.keys, trust)
    season = SeasonAudit(parties, view, budget, findings)
    if not bundle.size:
        parties.start_log(0, None)
    for index, entry in parse_entries(bundle, findings):
        parties.start_log(index, entry)
        if parties.admit(index, entry):
            # 6, 7
            season.read(index, entry)
        if index % _REPORTED_EVERY == 0:
            report(index, bundle.size)
    report(bundle.size, bundle.size)
    parties.finish()
    # 5
    checkpoint = verify_checkpoint(bundle, parties.keys, findings)
    witnesses: tuple[CosignerKey, ...] = ()
    if checkpoint is not None:
        witnesses = verify_witnesses(bundle, trust, findings)
        verify_seen(bundle, seen, parties.keys, findings)
    # 8
    sentinels = season.finish()
    # 9
    rounds = tuple(item for campaign in season.campaigns for item in budget.rounds(campaign))
    rows = tuple(budget.rows(campaign.plan) for campaign in season.campaigns)
    persons = person_spending(season.campaigns, accountants, findings)
    # 10
    replays = judge_verdicts(verdicts, season.campaigns, view, findings)
    return Verdict(
        findings.in_order(),
        checkpoint,
        bundle.size,
        rounds,
        rows,
        persons,
        sentinels,
        replays,
        season.campaigns,
        witnesses,
    )


def worst_round_spending(verdict: Verdict) -> RoundSpending | None:
    """The company whose records lost most in one campaign; None if no round was reserved."""
    return max(verdict.rounds, key=lambda item: item.epsilon, default=None)
