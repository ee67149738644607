"""What changed since the last bundle: entries, campaigns, findings, epsilons; and if it is one ledger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from noren_audit.cli import main
from noren_audit.verification.comparison import Change, compare, lines
from noren_audit.verification.findings import Code
from noren_audit.verification.trust import Trust, load_trust

if TYPE_CHECKING:
    from conftest import SeasonLedger

# Typer 0.20 imports a name that the installed click has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:'click.utils:DeprecationWarning")

SAMPLES = Path(__file__).parent / "sample_bundles"


def trust_in(ledger: SeasonLedger) -> Trust:
    return Trust(log_key=ledger.verifier_key, platform_key=ledger.platform_key.public_key)


def test_a_later_bundle_begins_with_the_earlier_and_adds_a_campaign(
    opening: SeasonLedger, with_sums: SeasonLedger, tmp_path: Path
) -> None:
    """The campaigns, entries and epsilons that came since; nothing of what was there before."""
    whole = with_sums.write(tmp_path / "later")
    del opening.statements[3:]  # the same ledger: only who enrolled first
    earlier = opening.write(tmp_path / "earlier")
    found = compare(earlier, whole, trust_in(opening))
    assert found.extends
    assert found.old.entries < found.new.entries
    assert found.campaigns == ("autumn", "winter")
    changed = {change.name: change for change in found.spending()}
    assert changed["alpha in autumn"].old is None
    assert float(changed["alpha in autumn"].new or 0) > 0
    shown = lines(found)
    assert "the later bundle begins with the earlier bundle" in shown
    assert "new campaign: autumn" in shown


def test_a_bundle_compared_with_itself_has_not_changed(honest: SeasonLedger, tmp_path: Path) -> None:
    """No line but verdict, place and number."""
    bundle = honest.write(tmp_path / "bundle")
    found = compare(bundle, bundle, trust_in(honest))
    assert (found.extends, found.campaigns, found.findings(), found.spending()) == (True, (), ((), ()), ())
    assert len(lines(found)) == 3


def test_another_ledger_under_the_same_key_is_a_split_view(capsys: pytest.CaptureFixture[str]) -> None:
    """Two ledgers that each verify are not one: exit 9, and what differs is listed."""
    arguments = ["compare", str(SAMPLES / "honest"), str(SAMPLES / "overspent")]
    assert main([*arguments, "--trust", str(SAMPLES / "trust.toml"), "--json"]) == 9
    fields = json.loads(capsys.readouterr().out)
    assert (fields["extends"], fields["verdict"], fields["verdict_before"]) == (
        False,
        "NOT VERIFIED",
        "VERIFIED",
    )
    assert {"SPLIT_VIEW", "EPSILON_EXCEEDED"} <= {item["code"] for item in fields["findings_added"]}
    assert {"of": "delta in autumn", "before": "0.9999", "now": "1.1678"} in fields["spending"]
    assert main([*arguments, "--trust", str(SAMPLES / "trust.toml")]) == 9
    assert "the later bundle DOES NOT begin with the earlier bundle\n" in capsys.readouterr().out


def test_the_shorter_of_two_is_not_the_later(honest: SeasonLedger, tmp_path: Path) -> None:
    """Entries that were there before and are not any more are no progress."""
    whole = honest.write(tmp_path / "whole")
    del honest.statements[-1]
    shorter = honest.write(tmp_path / "shorter")
    found = compare(whole, shorter, trust_in(honest))
    assert not found.extends
    assert Code.SEEN_UNUSABLE in {finding.code for finding in found.findings()[0]}


def test_a_bundle_without_a_checkpoint_extends_nothing(tmp_path: Path) -> None:
    """What cannot be compared is not taken for the same."""
    (tmp_path / "checkpoint").write_bytes(b"")
    found = compare(tmp_path, SAMPLES / "honest", load_trust(SAMPLES / "trust.toml"))
    assert not found.extends
    assert Change("delta in autumn", None, "0.9999") in found.spending()
