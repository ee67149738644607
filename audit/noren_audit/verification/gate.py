"""What the ledger shows about one campaign's coverage, gate, copies for students and erasure.

It shows order and limits: that an auditor attested coverage before anything was made of people's data, that
every opening of the gate follows a sealed decision batch by the plan's cooling time, that scores were copied
to students only after an opening, that every order to erase was answered. Whether every decision is in a
batch, and every evaluated element an offer, is seen on the company's premises (`noren-audit gate`).
"""

from __future__ import annotations

from collections.abc import Collection

from noren_audit.verification.findings import Code, Evidence, Findings
from noren_core.errors import VerificationError
from noren_core.ledger.entries import CoverageVerdict, EntryKind, SignedEntry
from noren_core.rights.coverage.coverage_report import attestation_of_entry
from noren_core.rights.coverage.launch_gate import MAX_AGE_SECONDS
from noren_core.season.plan import CampaignPlan


class GateAudit:
    """The state of one campaign's gate while its entries are read in order."""

    def __init__(
        self,
        plan: CampaignPlan,
        policies: dict[str, int],
        evaluations: dict[str, int],
        auditors: Collection[bytes],
        findings: Findings,
    ) -> None:
        """Start before the campaign's first entry.

        Args:
            plan: the campaign's.
            policies: of the whole ledger: hash to the entry that had it first.
            evaluations: as `policies`.
            auditors: keys of those whose attestations count; if none is named, anybody's do.
            findings: where to add them.
        """
        self._plan = plan
        self._policies = policies
        self._evaluations = evaluations
        self._auditors = auditors
        self._findings = findings
        self._is_clear = False
        self._covered_at = 0
        self._batches: dict[int, SignedEntry] = {}
        self._sequences: dict[str, int] = {}
        self._opened: dict[int, int] = {}
        self._companies_opened: set[str] = set()
        self._orders: dict[int, SignedEntry] = {}
        self._certified: dict[int, int] = {}
        self.readers = {
            EntryKind.COVERAGE: self._coverage,
            EntryKind.DECISION_BATCH: self._decision_batch,
            EntryKind.GATE_OPENED: self._gate_opened,
            EntryKind.MIRROR_DEPOSIT: self._mirror_deposit,
            EntryKind.ERASURE_ORDER: self._erasure_order,
            EntryKind.DELETION_CERTIFICATE: self._certificate,
        }

    def check_covered(self, index: int, entry: SignedEntry) -> None:
        """Something is made of people's data: the campaign's newest coverage must be clear."""
        if not self._is_clear:
            self._add(
                Code.COVERAGE_MISSING, "expected clear, attested coverage before this, got none", index, entry
            )

    def finish(self, newest_time: int) -> None:
        """Every order that was due by the newest time in the ledger has its certificate."""
        for index, order in self._orders.items():
            if index not in self._certified and order.body["due_at"] < newest_time:
                self._add(
                    Code.CERTIFICATE_MISSING,
                    "expected the deletion certificate by the order's due time, got none",
                    index,
                    order,
                    due_at=order.body["due_at"],
                )

    def _coverage(self, index: int, entry: SignedEntry) -> None:
        """The report about the latest time decides, if an auditor's signature is on it.

        One that is about an earlier time than another before it changes nothing: a clear report may have been
        kept back until a blocked one stood in the ledger.
        Its `policy_sha256` is over the history of all policies (docs/rights/coverage.md §4), which is not in
        the ledger; what is seen here is that there was a policy by then.
        """
        if not self._policies:
            self._add(
                Code.POLICY_UNKNOWN, "expected a policy in the ledger before coverage, got none", index, entry
            )
        if entry.body["as_of"] < self._covered_at:
            return
        self._covered_at = entry.body["as_of"]
        self._is_clear = entry.body["verdict"] == CoverageVerdict.CLEAR and self._is_attested(entry)

    def _is_attested(self, entry: SignedEntry) -> bool:
        said = attestation_of_entry(entry.body)
        try:
            said.verify()
        except VerificationError:
            return False
        return not self._auditors or bytes.fromhex(said.auditor_key) in self._auditors

    def _decision_batch(self, index: int, entry: SignedEntry) -> None:
        """A batch has the company's next number, within the plan, and elements that no other batch has."""
        company, number = entry.author, entry.body["sequence"]
        expected = self._sequences.get(company, 0) + 1
        if number != expected:
            self._add(
                Code.BATCH_SEQUENCE,
                f"expected the company's decision batch {expected}, got {number}",
                index,
                entry,
            )
        if number > self._plan.gate.batches:
            self._add(
                Code.BATCHES_TOO_MANY,
                f"expected at most the plan's {self._plan.gate.batches} decision batches, got {number}",
                index,
                entry,
            )
        first = self._evaluations.setdefault(entry.body["evaluation_sha256"], index)
        if first != index:
            self._add(
                Code.BATCH_REUSED,
                "expected elements that no other batch commits to, got a second commitment",
                index,
                entry,
                first=first,
            )
        self._sequences[company] = max(number, expected)
        self._batches[index] = entry

    def _gate_opened(self, index: int, entry: SignedEntry) -> None:
        """An opening names an earlier batch of the same company, once, after the cooling time."""
        batch = self._batches.get(entry.body["batch"])
        if batch is None or batch.author != entry.body["company"]:
            self._add(
                Code.GATE_WITHOUT_BATCH,
                "expected a decision batch of this company before the gate opens, got none",
                index,
                entry,
            )
            return
        first = self._opened.setdefault(entry.body["batch"], index)
        if first != index:
            self._add(
                Code.GATE_REPEATED, "expected one opening per batch, got a second", index, entry, first=first
            )
        waited = entry.body["opened_at"] - batch.body["sealed_at"]
        if waited < self._plan.gate.cooling_seconds:
            self._add(
                Code.GATE_TOO_EARLY,
                f"expected {self._plan.gate.cooling_seconds} seconds after the batch, got fewer",
                index,
                entry,
                waited=waited,
            )
        self.check_covered(index, entry)
        if self._is_clear and entry.body["opened_at"] - self._covered_at > MAX_AGE_SECONDS:
            self._add(
                Code.COVERAGE_MISSING,
                f"expected coverage of the last {MAX_AGE_SECONDS} seconds before this, got older",
                index,
                entry,
            )
        self._companies_opened.add(entry.body["company"])

    def _mirror_deposit(self, index: int, entry: SignedEntry) -> None:
        if entry.author not in self._companies_opened:
            self._add(
                Code.MIRROR_WITHOUT_GATE,
                "expected scores, and copies of them, after the company's gate opened",
                index,
                entry,
            )

    def _erasure_order(self, index: int, entry: SignedEntry) -> None:
        self._orders[index] = entry

    def _certificate(self, index: int, entry: SignedEntry) -> None:
        order = self._orders.get(entry.body["order"])
        if order is None or order.body["company"] != entry.author:
            self._add(
                Code.CERTIFICATE_WITHOUT_ORDER,
                "expected an order to this company before its certificate, got none",
                index,
                entry,
            )
            return
        self._certified.setdefault(entry.body["order"], index)

    def _add(self, code: Code, message: str, index: int, entry: SignedEntry, **evidence: Evidence) -> None:
        named: dict[str, Evidence] = {"campaign": self._plan.campaign}
        if entry.company is not None:
            named["company"] = entry.company
        self._findings.add(code, message, index=index, **named, **evidence)
