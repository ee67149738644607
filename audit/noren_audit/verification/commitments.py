"""Commit, beacon, noise: what stands in the ledger before a campaign's first round (protocol §4.2).

Each company commits to its seed and its rows, then the ledger's own checkpoint becomes the beacon. Noise is
drawn from both, so it was chosen by nobody, if the order in the ledger is this one and the checkpoint is
the log's, of this tree, and seen by witnesses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from noren_audit.verification.findings import Code, Evidence, Findings
from noren_audit.verification.trust import Trust
from noren_core.crypto.merkle import MerkleTree
from noren_core.errors import DataError, VerificationError
from noren_core.ledger.checkpoint import Checkpoint
from noren_core.ledger.cosignature import CosignerKey, verify_quorum
from noren_core.ledger.entries import SignedEntry
from noren_core.ledger.key_history import KeyHistory
from noren_core.ledger.note import parse_note
from noren_core.season.beacon import beacon_value
from noren_core.season.plan import CampaignPlan


@dataclass(frozen=True, slots=True)
class LedgerView:
    """What judging a checkpoint inside the ledger takes: the auditor's trust, and all entries so far.

    Attributes:
        tree: the leaves of every entry that was read, well formed or not.
        keys: all keys that they bring.
        trust: the auditor's policy.
    """

    tree: MerkleTree
    keys: KeyHistory
    trust: Trust


class CommitmentAudit:
    """The commitments and the beacon of one campaign while its entries are read."""

    def __init__(
        self, plan: CampaignPlan, view: LedgerView, seeds: dict[str, int], findings: Findings
    ) -> None:
        """`seeds` is where the whole ledger's seed commitments stand, shared between campaigns."""
        self._plan = plan
        self._view = view
        self._seeds = seeds
        self._findings = findings
        self._commitments: dict[str, int] = {}
        self._beacon: int | None = None

    def has_committed(self, company: str) -> bool:
        """Whether the company's commitment stands."""
        return company in self._commitments

    def commitment(self, index: int, entry: SignedEntry) -> None:
        """A company commits to its seed and its rows.

        1. Once per campaign.
        2. Before the beacon: afterwards it could choose its seed by the noise that comes of it.
        3. To a seed that is nowhere else in the ledger: two draws from one seed differ by the rows alone.
        """
        # 1
        first = self._commitments.setdefault(entry.author, index)
        if first != index:
            self._add(
                Code.COMMITMENT_REPEATED,
                "expected one training-commitment per company and campaign, got a second",
                index,
                company=entry.author,
                first=first,
            )
        # 2
        if self._beacon is not None:
            self._add(
                Code.COMMITMENT_LATE,
                "expected every training-commitment before the beacon, got one after it",
                index,
                company=entry.author,
                beacon=self._beacon,
            )
        # 3
        used = self._seeds.setdefault(entry.body["seed"], index)
        if used != index:
            self._add(
                Code.SEED_REPEATED,
                "expected a fresh seed, got a commitment that the ledger has already",
                index,
                company=entry.author,
                first=used,
            )

    def beacon(self, index: int, entry: SignedEntry) -> None:
        """The campaign's beacon.

        1. There is one: of several the platform could choose.
        2. The log key that is current at its size signed the checkpoint.
        3. It covers every commitment, and nothing that stands after the beacon itself.
        4. Its root is that of these entries: another one shows another ledger, to whoever cosigned it.
        5. Enough of the plan's witnesses cosigned it, each once, or the platform could choose whose line
           counts; and enough of the auditor's own, if the trust file names any.
        """
        # 1
        if self._beacon is not None:
            self._add(
                Code.BEACON_REPEATED,
                "expected one beacon per campaign, got a second",
                index,
                first=self._beacon,
            )
            return
        self._beacon = index
        # 2
        text = entry.body["checkpoint"]
        try:
            checkpoint = self._view.keys.open_checkpoint(text.encode())
        except VerificationError as error:
            self._add(Code.BEACON_NOT_THE_LOGS, error.message, index)
            return
        # 3, 4
        self._check_place(index, checkpoint)
        # 5
        self._check_witnesses(index, text)

    def check_intent(self, index: int, company: str) -> None:
        """Nobody reserves a round before the beacon, or without a commitment before it."""
        if self._beacon is None:
            self._add(
                Code.BEACON_MISSING,
                "expected the campaign's beacon before any intent",
                index,
                company=company,
            )
        if company not in self._commitments:
            self._add(
                Code.COMMITMENT_MISSING,
                "expected the company's training-commitment before its intent",
                index,
                company=company,
            )

    def _check_place(self, index: int, checkpoint: Checkpoint) -> None:
        last = max(self._commitments.values(), default=-1)
        if not last < checkpoint.size <= index:
            self._add(
                Code.BEACON_SIZE,
                f"expected a size from {last + 1} to {index}, got {checkpoint.size}",
                index,
                size=checkpoint.size,
            )
        if checkpoint.size > min(index, self._view.tree.size):
            return  # of entries that are not there no root is known
        root = self._view.tree.root(checkpoint.size)
        if root != checkpoint.root:
            self._add(
                Code.BEACON_ROOT,
                "expected the root of the entries before, got that of another ledger",
                index,
                size=checkpoint.size,
                signed=checkpoint.root.hex(),
                computed=root.hex(),
            )

    def _check_witnesses(self, index: int, text: str) -> None:
        trust, planned, note = self._view.trust, self._plan.witnesses, parse_note(text.encode())
        try:
            verify_quorum(note, _cosigners(planned.keys), planned.quorum)
            beacon_value(text, planned)
        except (DataError, VerificationError) as error:
            self._add(Code.BEACON_WITNESSES, f"the plan's witnesses: {error.message}", index)
        try:
            verify_quorum(note, trust.witnesses, trust.witness_quorum)
        except VerificationError as error:
            self._add(Code.BEACON_WITNESSES, f"the trust file's witnesses: {error.message}", index)

    def _add(self, code: Code, message: str, index: int, **evidence: Evidence) -> None:
        self._findings.add(code, message, index=index, campaign=self._plan.campaign, **evidence)


def _cosigners(keys: Sequence[str]) -> list[CosignerKey]:
    return [CosignerKey.from_text(key) for key in keys]
