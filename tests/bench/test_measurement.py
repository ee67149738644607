"""What a benchmark says of its numbers, and that its quick rows measure the right thing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from noren_audit.verification.trust import load_trust
from noren_audit.verification.verify import verify_bundle
from noren_bench import (
    aggregation_cost,
    audit_cost,
    cli,
    consent_cost,
    console_cost,
    coverage_cost,
    peers,
    speed,
    training_cost,
)
from noren_bench.measurement import Goal, Row
from noren_bench.peers import Peer, PeerUnavailableError


@pytest.mark.parametrize(
    ("measured", "is_maximum", "is_met"), [(1.0, True, True), (1.1, True, False), (0.9, False, False)]
)
def test_a_goal_is_met_on_its_side_of_the_limit(measured: float, is_maximum: bool, is_met: bool) -> None:
    """A maximum holds up to the limit, a minimum from it."""
    assert Goal("ratio", measured, 1.0, is_maximum=is_maximum).is_met is is_met


def test_a_row_is_json_with_its_ratio() -> None:
    """What --json prints carries the ratio to the floor and whether each goal is met."""
    row = Row(work="w", unit="µs", ours=3.0, floor=2.0, goals=(Goal("ratio", 1.5, 2.0),))
    body = json.loads(json.dumps(row.to_json()))
    assert body["ratio"] == 1.5
    assert body["goals"][0]["is_met"] is True
    assert Row(work="w", unit="s", ours=1.0).ratio is None


def test_an_unknown_row_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    """--only names what it knows; nothing is measured, and the exit code is that of a bad setting."""
    assert cli.main(["speed", "--only", "teleportation"]) == 3
    assert "expected some of alignment" in capsys.readouterr().err


def test_a_peer_that_does_not_install_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its figure is missing, the reason is said, and the run goes on."""
    monkeypatch.setattr(peers, "_environment", lambda _: (_ for _ in ()).throw(PeerUnavailableError("no")))
    assert peers.figures(Peer("elsewhere", "elsewhere==1", "none.py"), "cpu_s", 1) == {}
    assert "elsewhere: left out (no)" in capsys.readouterr().err


def test_the_closed_form_is_the_gradient_of_the_clipped_loss() -> None:
    """One row that needs no clipping has the gradient (σ(w·x + b) - y)·(x, 1), on the grid."""
    rows, labels = np.array([[1.0, -2.0]]), np.array([1.0])
    weights = np.array([0.5, 0.25, -1.0])
    residual = 1 / (1 + np.exp(1.0)) - 1  # w·x + b = -1
    expected = np.trunc(np.array([residual, -2 * residual, residual]) * (1 << 16))
    assert training_cost.closed_form(rows, labels, weights).tolist() == expected.tolist()


def test_the_aggregation_row_runs_a_whole_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """With few companies: the survivors' sum is checked, and both sides cost something."""
    monkeypatch.setattr(aggregation_cost, "COMPANIES", 6)
    monkeypatch.setattr(aggregation_cost, "PARAMETERS", 100)
    monkeypatch.setattr(aggregation_cost, "DROPPED", 1)
    row = aggregation_cost.row()
    assert row.ours > 0
    assert row.details["server_ms"] > 0


def test_the_audit_row_writes_an_honest_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With few companies: what is measured is a ledger in which the auditor's own function finds nothing."""
    monkeypatch.setattr(audit_cost, "_COHORT", 4)
    monkeypatch.setattr(audit_cost, "_ROUNDS", 4)
    audit_cost.write_ledger(tmp_path, audit_cost.Size(groups=2, campaigns=2))
    verdict = verify_bundle(tmp_path / "bundle", load_trust(tmp_path / "trust.toml"))
    assert verdict.findings == ()
    assert len(verdict.rounds) == 16
    assert verdict.entries > 256  # more than one file of entries


def test_the_consent_row_asks_withdraws_and_redeems() -> None:
    """With few students: every answer is the expected one, and every step has a figure."""
    row = consent_cost.row(students=200, permits=300)
    assert row.ours > 0
    assert len(row.goals) == 4
    assert all(value > 0 for value in row.details.values())


def test_the_coverage_row_reports_every_use() -> None:
    """With few students: a whole report in a process of its own, over generated data that adds up."""
    row = coverage_cost.row(students=300)
    assert row.work.startswith("coverage of 900 uses")
    assert row.details["peak_memory_mb"] > 0


def test_the_console_row_signs_in_and_reads_the_first_page() -> None:
    """With few companies and applications: every page of the frame has a figure."""
    row = console_cost.row(companies=2, applications=20)
    assert row.ours > 0
    assert set(row.details) == {"page__ms", "page_companies_ms", "page_enrolment_ms", "page_trail_ms"}


def test_every_row_of_the_table_can_be_named() -> None:
    """What measures a kind of work is in the table."""
    assert {"consents", "console", "coverage", "audit", "ledger"} <= set(speed.ROWS)
