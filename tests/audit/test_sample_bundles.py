"""The sample ledgers of docs/auditing.md: what their names say is what verify finds, and nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from sample_bundles import DIRECTORY, SAMPLES, TRUST_FILE, Sample, seen_file, write_samples

from noren_audit.cli import main

_SHOWN = r"^\$ noren-audit (.*) \| head -(\d+)\n((?:(?!\$ |```).*\n)*)"

pytestmark = pytest.mark.filterwarnings("ignore:'click.utils:DeprecationWarning")


def _files(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def test_the_samples_are_what_the_script_makes(tmp_path: Path) -> None:
    """Made anew they are the same, byte for byte; after a change of the format: scripts/sample_bundles."""
    write_samples(tmp_path / "again")
    assert _files(DIRECTORY) == _files(tmp_path / "again")


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_verify_finds_what_the_name_says(
    sample: Sample, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 0 for the honest ledger; 9 for each of the others, with its codes and no other."""
    seen = ["--seen", str(seen_file(DIRECTORY, sample))] if sample.has_seen else []
    arguments = [str(DIRECTORY / sample.name), "--trust", str(DIRECTORY / TRUST_FILE), *seen]
    exit_code = main(["verify", *arguments, "--evidence", str(tmp_path), "--json"])
    fields = json.loads(capsys.readouterr().out)
    assert {finding["code"] for finding in fields["findings"]} == set(sample.codes)
    assert exit_code == (9 if sample.codes else 0)


def test_without_the_other_checkpoint_a_split_view_is_not_seen(capsys: pytest.CaptureFixture[str]) -> None:
    """Each side of a split view verifies by itself: that is why checkpoints are compared."""
    bundle, trust = DIRECTORY / "split-view", DIRECTORY / TRUST_FILE
    assert main(["verify", str(bundle), "--trust", str(trust)]) == 0
    assert capsys.readouterr().out.startswith("VERIFIED\n")


def test_the_walk_shows_what_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every `noren-audit … | head -N` of docs/auditing.md, run on the samples, prints what stands there."""
    walk = (DIRECTORY.parents[2] / "docs" / "auditing.md").read_text(encoding="utf-8")
    shown = re.findall(_SHOWN, walk, re.MULTILINE)
    assert len(shown) >= 4
    monkeypatch.chdir(DIRECTORY)
    for arguments, number, expected in shown:
        words = [str(tmp_path / word) if word == "honest.html" else word for word in arguments.split()]
        main([*words, "--evidence", str(tmp_path)])
        printed = capsys.readouterr().out.splitlines(keepends=True)
        assert "".join(printed[: int(number)]) == expected, arguments
