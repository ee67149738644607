"""`noren-platform coverage`: a replay from a directory, and what status says before an attestation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from noren_core.errors import LocalProtocolError
from noren_core.rights.coverage.coverage_report import ReportState
from noren_demo import replay_2019 as replay
from noren_server.coverage.commands import coverage_app
from noren_server.coverage.opening import coverage_runs
from noren_server.platform_files import initialise


def said(directory: Path, *arguments: str) -> dict[str, Any]:
    """What a command returns; what it raises is raised here."""
    result = CliRunner().invoke(coverage_app, list(arguments), obj=directory, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    found: dict[str, Any] = result.return_value
    return found


def test_a_replay_is_computed_and_never_attested_for_a_launch(tmp_path: Path) -> None:
    """run --from, review, status: blocked for its figures, and for not being the platform's own data."""
    platform = initialise(tmp_path / "platform", name="site", host="127.0.0.1", ports=(0, 0, 0, 0))
    snapshot = replay.Replay().write(tmp_path / "snapshot")
    options = ("--campaign", "replay-2019", "--as-of", str(replay.FOUND), "--from", str(snapshot))
    done = said(platform.directory, "run", *options, "--phases", "main")
    assert (done["exit_code"], done["verdict"], done["run"]) == (9, "blocked", f"{replay.FOUND}-main")
    assert {"WOULD_PROCESS_WITHOUT_VALID", "UNDOMINATED_PATHS", "PARTIAL_PHASES"} <= set(done["reasons"])
    assert said(platform.directory, "review", "--campaign", "replay-2019")["state"] == "REVIEWED"
    found = said(platform.directory, "status", "--campaign", "replay-2019")
    assert (found["exit_code"], found["obstacles"]) == (9, ["NO_REPORT"])
    assert found["runs"] == {done["run"]: ReportState.REVIEWED.value}


def test_a_run_that_is_not_there_is_named(tmp_path: Path) -> None:
    """No report, no review."""
    with pytest.raises(LocalProtocolError):
        said(tmp_path, "review", "--campaign", "spring-2026")
    assert coverage_runs(tmp_path).runs("spring-2026") == ()
