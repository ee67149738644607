"""Sealed statistics: what stands in the ledger before a company trains on sums of rows (protocol §9).

The platform commits to the rows and its noise, the company to its encrypted weights, the platform to its
answer. In this order the answer is a function of what both had fixed, and whoever is shown the rows on the
platform's premises can compute it again. From the ledger alone nobody can tell what the rows were.
"""

from __future__ import annotations

from noren_audit.verification.findings import Code, Evidence, Findings
from noren_core.ledger.entries import EntryKind, SignedEntry
from noren_core.season.plan import CampaignPlan, TrainingMode

_BEFORE = {
    EntryKind.STATISTICS_ROWS: None,
    EntryKind.WEIGHTS_COMMITMENT: EntryKind.STATISTICS_ROWS,
    EntryKind.STATISTICS_ANSWER: EntryKind.WEIGHTS_COMMITMENT,
}
"""The kinds, each with the one that must stand before it."""


class StatisticsAudit:
    """The sealed statistics of one campaign while its entries are read."""

    def __init__(self, plan: CampaignPlan, findings: Findings) -> None:
        self._plan = plan
        self._findings = findings
        self._is_planned = plan.mode is TrainingMode.SEALED_STATISTICS
        self._tables: dict[str, str] = {}
        self._places: dict[tuple[str, EntryKind], int] = {}

    def table(self, company: str, root: str) -> None:
        """The company has a training table with this root; the newest one counts."""
        self._tables[company] = root

    def has_rows(self, company: str) -> bool:
        """Whether the platform committed to rows of the company's training table."""
        return (company, EntryKind.STATISTICS_ROWS) in self._places

    def read(self, index: int, entry: SignedEntry, *, has_committed: bool) -> None:
        """Take the next entry of one of the three kinds.

        1. The plan trains on sealed statistics.
        2. There is one of each kind per company: of two answers the difference would tell single rows.
        3. The kind before it stands, and the company has not committed to what it trains on: those are sums
           that it opened.
        4. The rows are of the company's newest training table, and the answer is to its weights.

        Args:
            index: where it stands.
            entry: the entry.
            has_committed: whether the company's training-commitment stands already.
        """
        company, kind = entry.body["company"], entry.kind
        # 1
        if not self._is_planned:
            self._add(
                Code.STATISTICS_NOT_PLANNED,
                "expected no sealed statistics in a campaign of noised rows, got an entry about some",
                index,
                entry,
            )
            return
        # 2
        first = self._places.setdefault((company, kind), index)
        if first != index:
            self._add(
                Code.STATISTICS_REPEATED,
                f"expected one {kind} per company and campaign, got a second",
                index,
                entry,
                first=first,
            )
            return
        # 3
        before = _BEFORE[kind]
        if before is not None and (company, before) not in self._places:
            self._add(Code.STATISTICS_ORDER, f"expected the company's {before} before", index, entry)
        if has_committed:
            self._add(
                Code.STATISTICS_LATE,
                "expected sealed statistics before the company's training-commitment, got them after it",
                index,
                entry,
            )
        # 4
        if kind is EntryKind.STATISTICS_ROWS and entry.body["table_root"] != self._tables.get(company):
            self._add(
                Code.STATISTICS_OTHER_TABLE,
                "expected the root of the company's newest training table, got another",
                index,
                entry,
            )
        weights = self._places.get((company, EntryKind.WEIGHTS_COMMITMENT))
        if kind is EntryKind.STATISTICS_ANSWER and entry.body["weights"] != weights:
            self._add(
                Code.STATISTICS_OTHER_WEIGHTS,
                "expected the answer to the company's weights-commitment, got the number of another entry",
                index,
                entry,
                weights=entry.body["weights"],
            )

    def check_intent(self, index: int, entry: SignedEntry) -> None:
        """Nobody reserves the round before the sums that it trains on were answered."""
        if self._is_planned and (entry.author, EntryKind.STATISTICS_ANSWER) not in self._places:
            self._add(
                Code.STATISTICS_MISSING,
                "expected the answer to the company's weights before its intent",
                index,
                entry,
            )

    def _add(self, code: Code, message: str, index: int, entry: SignedEntry, **evidence: Evidence) -> None:
        named = {"campaign": self._plan.campaign, "company": entry.body["company"]}
        self._findings.add(code, message, index=index, **named, **evidence)
