"""What an auditor's tool signs: a report that adds up, of the snapshot that is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from coverage_figures import figures, with_class
from typer.testing import CliRunner

from noren_audit.replay import auditor_key
from noren_audit.rights.commands import coverage_commands
from noren_audit.rights.coverage_check import attest_report, read_report
from noren_core import canonical_json
from noren_core.crypto.identity import SigningKey
from noren_core.errors import ConfigurationError, VerificationError
from noren_core.rights.coverage.coverage_report import ReportSource, make_report, parse_attestation
from noren_demo import replay_2019 as replay
from noren_server.coverage.classification import Question
from noren_server.coverage.runs import REPORT, CoverageRuns


def test_a_report_that_was_changed_is_not_signed(tmp_path: Path) -> None:
    """A count, a class, a verdict: whatever is altered, it adds up no longer or is another verdict."""
    path = tmp_path / "report.json"
    body = canonical_json.parse(make_report(with_class("E4", 7_983)))
    for changes in (
        {"verdict": "clear", "reasons": []},
        {"classes": body["classes"] | {"E4": 0}},
        {"would_process_without_valid": 0},
    ):
        path.write_bytes(canonical_json.encode(body | changes))
        with pytest.raises(VerificationError):
            read_report(path)
    with pytest.raises(ConfigurationError):
        read_report(tmp_path / "none.json")


def test_the_snapshot_must_be_the_reports(tmp_path: Path) -> None:
    """One file more or one byte less, and it is another snapshot."""
    snapshot = replay.Replay().write(tmp_path / "snapshot")
    run = CoverageRuns(tmp_path).compute(
        snapshot,
        campaign="replay",
        question=Question(replay.FOUND),
        source=ReportSource.DIRECTORY,
        now=replay.FOUND,
    )
    report, key = read_report(run.directory / REPORT), SigningKey.generate()
    attest_report(report, key, snapshot=snapshot).verify()
    (snapshot / "journeys.json").write_text("{}", encoding="utf-8")
    with pytest.raises(VerificationError):
        attest_report(report, key, snapshot=snapshot)


def test_the_commands_check_and_sign(tmp_path: Path) -> None:
    """A blocked report is attested as blocked; the exit code of the check says it."""
    (tmp_path / "blocked.json").write_bytes(make_report(with_class("E6", 3)))
    (tmp_path / "clear.json").write_bytes(make_report(figures()))
    auditor_key.create(tmp_path / "key")
    run, app = CliRunner(), coverage_commands()

    def said(name: str) -> dict[str, object]:
        result = run.invoke(app, ["check", str(tmp_path / name)], standalone_mode=False)
        assert result.exception is None
        found: dict[str, object] = result.return_value
        return found

    assert said("clear.json")["exit_code"] == 0
    assert said("blocked.json")["reasons"] == ["WOULD_PROCESS_WITHOUT_VALID"]
    out = tmp_path / "attestation.json"
    arguments = ["attest", str(tmp_path / "blocked.json"), "--key", str(tmp_path / "key"), "--out", str(out)]
    assert run.invoke(app, arguments, standalone_mode=False).exception is None
    attestation = parse_attestation(out.read_bytes().removesuffix(b"\n"))
    attestation.verify()
    assert attestation.verdict == "blocked"
