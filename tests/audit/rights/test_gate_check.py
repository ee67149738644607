"""A company's sealed decisions against the ledger: what fits is silent, every way to cheat is named."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from noren_audit.cli import main
from noren_audit.rights.gate_check import GateCode, GateReport, check
from noren_audit.verification.trust import load_trust
from noren_core.crypto import oprf
from noren_core.ids import DUMMY_BYTES, DUMMY_LABEL, IdentifierKind, normalise_identifier
from noren_core.rights.gate.decider_statement import DeciderStatement
from noren_core.rights.gate.decision_batch import Decision, evaluation_sha256, seal_batch
from noren_core.rights.gate.gate_file import Access, GateFile, ShownBatch, parse_gate_file
from noren_core.rights.gate.roles import Action

if TYPE_CHECKING:
    from conftest import SeasonLedger

ALPHA = {"campaign": "autumn", "company": "alpha"}
POSITION, SEASON = "engineer", "season-autumn"
OPENED_AT = 1_700_000_000


def applicant(number: int) -> bytes:
    return normalise_identifier(IdentifierKind.CONSENT_CODE, f"code-{number}", POSITION)


DECISIONS = {applicant(n): Decision.PASS if n < 3 else Decision.FAIL for n in range(6)}


@dataclass
class Shown:
    """What the company shows, the ledger that it is compared with, and where both are written."""

    ledger: SeasonLedger
    file: GateFile
    directory: Path

    def report(self) -> GateReport:
        """By an auditor who reads the file as it came through the pipe."""
        file = parse_gate_file(b"".join(self.file.lines()))
        return check(file, self.bundle(), load_trust(self.trust()))

    def bundle(self) -> Path:
        return self.ledger.write(self.directory / "bundle")

    def trust(self) -> Path:
        path = self.directory / "trust.toml"
        path.write_text(self.ledger.trust_text())
        return path


def sealed(
    decisions: dict[bytes, Decision], evaluated: list[bytes], *, deciders: tuple[str, ...] = ("dai",)
) -> ShownBatch:
    """A batch with its decider, and the blinds of what is evaluated for it."""
    batch = seal_batch(decisions, position=POSITION, season=SEASON, padded_batch=16, minimum_batch=1)
    statement = DeciderStatement(deciders, POSITION, SEASON, bytes(32))
    inputs = [*evaluated, *(DUMMY_LABEL + bytes([n]) * DUMMY_BYTES for n in range(16 - len(evaluated)))]
    blinding = oprf.blind(inputs).to_bytes()
    return ShownBatch(0, OPENED_AT, statement.sealed_in(batch), statement, blinding, ())


def state(ledger: SeasonLedger, batch: ShownBatch) -> ShownBatch:
    """The ledger's entry of alpha commits to this batch; the batch with its index."""
    entry = ledger.find("decision-batch", **ALPHA)
    elements = oprf.Blinding.from_bytes(batch.blinding).blinded_elements
    entry.body.update(
        root=batch.batch.root.hex(),
        evaluation_sha256=evaluation_sha256(elements).hex(),
        sealed_at=batch.sealed_at,
    )
    return replace(batch, index=ledger.statements.index(entry))


def view(staff: str, at: int = OPENED_AT) -> Access:
    return Access(at, staff, Action.VIEW_SCORE.value, POSITION, bytes(16), "SHOWN")


@pytest.fixture
def shown(honest: SeasonLedger, tmp_path: Path) -> Shown:
    """Six applicants, three offers, all of them evaluated, one look by somebody who did not decide."""
    batch = state(honest, sealed(DECISIONS, [applicant(n) for n in range(3)]))
    file = GateFile("autumn", "alpha", SEASON, {POSITION: frozenset(DECISIONS)}, (batch,), (view("fumi"),))
    return Shown(honest, file, tmp_path)


def test_an_honest_company_is_silent(shown: Shown) -> None:
    """R-GAT-1: decisions, evaluation, deciders and looks fit the ledger."""
    report = shown.report()
    assert (report.findings, report.batches) == ((), 1)


def failed_applicant_evaluated(shown: Shown) -> None:
    """The company committed to elements of which one is a failed applicant's."""
    cheat = sealed(DECISIONS, [applicant(n) for n in range(4)])
    shown.file = replace(shown.file, batches=(state(shown.ledger, cheat),))


def stranger_evaluated(shown: Shown) -> None:
    """One element is of somebody who never applied."""
    cheat = sealed(DECISIONS, [applicant(99)])
    shown.file = replace(shown.file, batches=(state(shown.ledger, cheat),))


def failures_left_out(shown: Shown) -> None:
    """Only offers were sealed; the company's own records know of more applicants."""
    offers = {who: what for who, what in DECISIONS.items() if what is Decision.PASS}
    batch = state(shown.ledger, sealed(offers, [applicant(0)]))
    shown.file = replace(shown.file, batches=(batch,))


def other_decisions_shown(shown: Shown) -> None:
    """What is shown is not what was sealed: a failure became an offer afterwards."""
    changed = DECISIONS | {applicant(4): Decision.PASS}
    batch = sealed(changed, [applicant(n) for n in (0, 1, 2, 4)])
    shown.file = replace(shown.file, batches=(replace(batch, index=shown.file.batches[0].index),))


def batch_hidden(shown: Shown) -> None:
    """The company shows no batch at all."""
    shown.file = replace(shown.file, batches=(), accesses=())


def batch_invented(shown: Shown) -> None:
    """The company shows one that is not in the ledger."""
    shown.file = replace(shown.file, batches=(replace(shown.file.batches[0], index=3),))


def other_blinds_shown(shown: Shown) -> None:
    """The blinds shown do not give the elements that the ledger commits to."""
    other = oprf.blind([applicant(0)]).to_bytes()
    shown.file = replace(shown.file, batches=(replace(shown.file.batches[0], blinding=other),))


def decider_looked(shown: Shown) -> None:
    """Who decided about the position looked at a band of it."""
    shown.file = replace(shown.file, accesses=(view("dai"),))


def decider_renamed(shown: Shown) -> None:
    """Another name is shown as the decider's than was sealed."""
    statement = DeciderStatement(("someone",), POSITION, SEASON, bytes(32))
    shown.file = replace(shown.file, batches=(replace(shown.file.batches[0], statement=statement),))


def looked_early(shown: Shown) -> None:
    """A band was looked at before the gate opened."""
    shown.file = replace(shown.file, accesses=(view("fumi", OPENED_AT - 1),))


def ledger_falsified(shown: Shown) -> None:
    """The ledger itself has a finding."""
    shown.ledger.find("gate-opened", **ALPHA).body["opened_at"] = OPENED_AT - 1


CHEATS: dict[str, tuple[GateCode, Callable[[Shown], None]]] = {
    "failed applicant evaluated": (GateCode.EVALUATION_NOT_OFFERED, failed_applicant_evaluated),
    "stranger evaluated": (GateCode.EVALUATION_NOT_OFFERED, stranger_evaluated),
    "other blinds": (GateCode.EVALUATION_NOT_OFFERED, other_blinds_shown),
    "failures left out": (GateCode.DECISIONS_INCOMPLETE, failures_left_out),
    "decisions changed": (GateCode.BATCH_OTHER_ROOT, other_decisions_shown),
    "batch hidden": (GateCode.BATCH_NOT_SHOWN, batch_hidden),
    "batch invented": (GateCode.BATCH_NOT_IN_LEDGER, batch_invented),
    "decider looked": (GateCode.DECIDER_VIEWED, decider_looked),
    "decider renamed": (GateCode.DECIDERS_NOT_SEALED, decider_renamed),
    "looked before the gate": (GateCode.VIEWED_BEFORE_GATE, looked_early),
    "ledger falsified": (GateCode.LEDGER_NOT_VERIFIED, ledger_falsified),
}


@pytest.mark.parametrize("name", CHEATS)
def test_every_way_to_cheat_at_the_gate_is_named(name: str, shown: Shown) -> None:
    """R-GAT-1: what a hostile company shows, or does not, is found by comparing it with the ledger."""
    code, cheat = CHEATS[name]
    cheat(shown)
    assert code in {finding.code for finding in shown.report().findings}


def test_every_code_has_a_cheat() -> None:
    """No code exists that no test provokes."""
    assert {code for code, _ in CHEATS.values()} == set(GateCode)


def test_the_command_reads_a_pipe_and_says_nothing_about_anybody(
    shown: Shown, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """R-AUD-1: `noren-audit gate` ends with 0 or 9, and prints no identifier and no decision."""
    for cheat, expected in ((None, 0), (failed_applicant_evaluated, 9)):
        if cheat is not None:
            cheat(shown)
        data = b"".join(shown.file.lines())
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        options = ["--bundle", str(shown.bundle()), "--trust", str(shown.trust())]
        assert main(["gate", *options, "--json"]) == expected
        printed = capsys.readouterr().out
        assert bool(json.loads(printed)["findings"]) is bool(expected)
        assert not any(item.hex() in printed for item in DECISIONS)
        assert "pass" not in printed
