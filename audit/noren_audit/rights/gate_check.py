"""On a company's premises: whether its sealed decisions are those of the ledger, complete, and all it scored.

The company shows decisions, salts, blinds and its access log (`noren-company decisions export`, through a
pipe). Promises: everything that the ledger says of this company's gate is compared with what is shown, and
nothing of it is written anywhere; a finding names a batch by its place in the ledger, and nobody.

Not seen: applicants whom the company keeps out of its own records, and whoever tells a colleague of a band.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from noren_audit.verification.bundle import parse_entries, read_bundle
from noren_audit.verification.findings import Findings
from noren_audit.verification.parties import Parties
from noren_audit.verification.trust import Trust
from noren_audit.verification.verify import verify_bundle
from noren_core.errors import DataError, NorenError, VerificationError
from noren_core.ledger.entries import EntryKind, SignedEntry
from noren_core.rights.gate.decision_batch import verify_complete, verify_evaluation
from noren_core.rights.gate.gate_detectors import GateAlert, gate_alerts, histories
from noren_core.rights.gate.gate_file import Access, GateFile, ShownBatch

_SHOWN = "SHOWN"


class GateCode(StrEnum):
    """What can be wrong."""

    LEDGER_NOT_VERIFIED = "LEDGER_NOT_VERIFIED"
    BATCH_NOT_SHOWN = "BATCH_NOT_SHOWN"
    BATCH_NOT_IN_LEDGER = "BATCH_NOT_IN_LEDGER"
    BATCH_OTHER_ROOT = "BATCH_OTHER_ROOT"
    DECISIONS_INCOMPLETE = "DECISIONS_INCOMPLETE"
    EVALUATION_NOT_OFFERED = "EVALUATION_NOT_OFFERED"
    DECIDERS_NOT_SEALED = "DECIDERS_NOT_SEALED"
    DECIDER_VIEWED = "DECIDER_VIEWED"
    VIEWED_BEFORE_GATE = "VIEWED_BEFORE_GATE"


@dataclass(frozen=True, slots=True)
class GateFinding:
    """One defect; `index` is the entry of the batch, None if it belongs to none."""

    code: GateCode
    message: str
    index: int | None = None


@dataclass(frozen=True, slots=True)
class PositionAlerts:
    """What the detectors noticed about one position: reasons to ask, no proof."""

    position: str
    alerts: tuple[GateAlert, ...]


@dataclass(frozen=True, slots=True)
class GateReport:
    """The result over one company's gate in one campaign."""

    campaign: str
    company: str
    batches: int
    findings: tuple[GateFinding, ...]
    alerts: tuple[PositionAlerts, ...]


@dataclass(frozen=True, slots=True)
class _Ledger:
    """What the ledger says of one company's gate: batches by index, and when each was opened."""

    batches: Mapping[int, SignedEntry]
    opened_at: Mapping[int, int]
    is_verified: bool


def check(shown: GateFile, bundle: Path, trust: Trust) -> GateReport:
    """Compare what is shown with the ledger.

    1. The ledger verifies; its batches of this company and campaign are those shown, with the same roots.
    2. The batches of each position decide about each of its applicants once, and about nobody else.
    3. What was evaluated for each batch was its offers and dummies, and nothing else.
    4. Who decided was sealed with the batch, and did not look at bands of that position.
    5. Nobody looked at a band before the gate opened for a batch of its position.

    Raises:
        VerificationError: if the bundle is not the trusted log's; then there is nothing to compare with.
        DataError: if the bundle changes while it is read.
    """
    ledger = _read_ledger(shown, bundle, trust)
    findings = [*_ledger_findings(shown, ledger)]  # 1
    sound = [batch for batch in shown.batches if _is_sealed(batch, ledger)]
    findings += _completeness(shown)  # 2
    findings += [found for batch in sound for found in _evaluations(batch, ledger)]  # 3
    findings += _deciders(shown)  # 4
    findings += _views_before_gate(shown, ledger)  # 5
    return GateReport(shown.campaign, shown.company, len(ledger.batches), tuple(findings), _alerts(shown))


def _read_ledger(shown: GateFile, bundle: Path, trust: Trust) -> _Ledger:
    verdict = verify_bundle(bundle, trust)
    if verdict.checkpoint is None:
        raise VerificationError("bundle: expected a checkpoint of the trusted log, got none")
    findings = Findings()  # said already, by verify_bundle
    read = read_bundle(bundle, findings)
    parties = Parties(trust, read.platform_rotations(), findings)
    batches: dict[int, SignedEntry] = {}
    opened_at: dict[int, int] = {}
    for index, entry in parse_entries(read, findings):
        is_ours = (entry.campaign, entry.company) == (shown.campaign, shown.company)
        if parties.admit(index, entry) and is_ours:
            if entry.kind is EntryKind.DECISION_BATCH:
                batches[index] = entry
            elif entry.kind is EntryKind.GATE_OPENED:
                opened_at.setdefault(entry.body["batch"], entry.body["opened_at"])
    if read.tree.root() != verdict.checkpoint.root:
        raise DataError("bundle: expected the one that was verified, got another; it changed meanwhile")
    return _Ledger(batches, opened_at, verdict.is_verified)


def _ledger_findings(shown: GateFile, ledger: _Ledger) -> Iterator[GateFinding]:
    if not ledger.is_verified:
        yield GateFinding(GateCode.LEDGER_NOT_VERIFIED, "expected a ledger without findings, got some")
    seen = {batch.index: batch for batch in shown.batches}
    for index in sorted(ledger.batches.keys() - seen.keys()):
        yield GateFinding(GateCode.BATCH_NOT_SHOWN, "expected this batch to be shown, got none", index)
    for index in sorted(seen.keys() - ledger.batches.keys()):
        yield GateFinding(GateCode.BATCH_NOT_IN_LEDGER, "expected a batch of the ledger, got another", index)
    for index in sorted(seen.keys() & ledger.batches.keys()):
        if not _is_sealed(seen[index], ledger):
            yield GateFinding(
                GateCode.BATCH_OTHER_ROOT, "expected the decisions that were sealed, got others", index
            )


def _is_sealed(batch: ShownBatch, ledger: _Ledger) -> bool:
    entry = ledger.batches.get(batch.index)
    return entry is not None and (entry.body["root"], entry.body["position"], entry.body["sealed_at"]) == (
        batch.batch.root.hex(),
        batch.batch.position,
        batch.sealed_at,
    )


def _completeness(shown: GateFile) -> Iterator[GateFinding]:
    for position, batches in _by_position(shown).items():
        try:
            verify_complete([item.batch for item in batches], shown.applicants[position])
        except DataError as error:
            yield GateFinding(GateCode.DECISIONS_INCOMPLETE, error.message, batches[-1].index)


def _evaluations(batch: ShownBatch, ledger: _Ledger) -> Iterator[GateFinding]:
    evaluation = bytes.fromhex(ledger.batches[batch.index].body["evaluation_sha256"])
    try:
        verify_evaluation(batch.blinding, batch.batch, evaluation=evaluation)
    except NorenError as error:
        yield GateFinding(GateCode.EVALUATION_NOT_OFFERED, error.message, batch.index)


def _deciders(shown: GateFile) -> Iterator[GateFinding]:
    deciders: dict[str, set[str]] = defaultdict(set)
    for item in shown.batches:
        deciders[item.batch.position].update(item.statement.deciders)
        try:
            item.statement.verify_sealed(item.batch)
        except VerificationError as error:
            yield GateFinding(GateCode.DECIDERS_NOT_SEALED, error.message, item.index)
    if any(access.staff in deciders[access.position] for access in _views(shown)):
        yield GateFinding(
            GateCode.DECIDER_VIEWED,
            "expected nobody to look at bands of a position that they decide about, got a look",
        )


def _views_before_gate(shown: GateFile, ledger: _Ledger) -> Iterator[GateFinding]:
    opened: dict[str, int] = {}
    for item in shown.batches:
        if item.index in ledger.opened_at:
            at = ledger.opened_at[item.index]
            opened[item.batch.position] = min(at, opened.get(item.batch.position, at))
    if any(access.at < opened.get(access.position, access.at + 1) for access in _views(shown)):
        yield GateFinding(
            GateCode.VIEWED_BEFORE_GATE, "expected no look at a band before the gate opened, got one"
        )


def _views(shown: GateFile) -> list[Access]:
    return [access for access in shown.accesses if access.outcome == _SHOWN]


def _by_position(shown: GateFile) -> Mapping[str, Sequence[ShownBatch]]:
    found: dict[str, list[ShownBatch]] = defaultdict(list)
    for item in shown.batches:
        found[item.batch.position].append(item)
    return found


def _alerts(shown: GateFile) -> tuple[PositionAlerts, ...]:
    return tuple(
        PositionAlerts(position, gate_alerts(history)) for position, history in histories(shown).items()
    )
