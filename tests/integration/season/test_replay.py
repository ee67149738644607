"""A real season, computed again as an auditor would: `noren-company replay export | noren-audit replay -`."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from noren_client import replay_data
from noren_core import canonical_json
from noren_server.platform_files import trust_file

if TYPE_CHECKING:
    from conftest import SmallSeason

CAMPAIGN = "spring-2026"
COMPANY_PROGRAM = "import sys; from noren_client.cli import main; sys.exit(main())"
AUDITOR_PROGRAM = "import sys; from noren_audit.cli import main; sys.exit(main())"


@dataclass(frozen=True)
class OnSite:
    """What the auditor brings to a company: a bundle, a trust file, a key of her own."""

    bundle: Path
    trust: Path
    key: Path
    public_key: str

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-c", AUDITOR_PROGRAM, *arguments]

    def replay(self, source: str, data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            self.command(
                *("replay", source, "--bundle", str(self.bundle), "--trust", str(self.trust)),
                *("--key", str(self.key)),
            ),
            input=data,
            capture_output=True,
            timeout=120,
            check=False,
        )


@pytest.fixture(scope="module")
def on_site(finished: SmallSeason, tmp_path_factory: pytest.TempPathFactory) -> OnSite:
    brought = tmp_path_factory.mktemp("auditor")
    finished.export(brought / "bundle")
    with finished.platform() as platform:
        (brought / "trust.toml").write_text(trust_file(platform))
    auditor = [sys.executable, "-c", AUDITOR_PROGRAM]
    made = subprocess.run(
        [*auditor, "key", "init", str(brought / "key"), "--json"], capture_output=True, timeout=60, check=True
    )
    return OnSite(
        brought / "bundle", brought / "trust.toml", brought / "key", json.loads(made.stdout)["public_key"]
    )


@pytest.mark.end_to_end
def test_an_honest_company_is_replayed_through_a_pipe(
    finished: SmallSeason, on_site: OnSite, tmp_path: Path
) -> None:
    """Two processes and a pipe; nothing of the replay file touches the disk; the verdict can be checked."""
    company = [sys.executable, "-c", COMPANY_PROGRAM, "--directory", str(finished.company_dir("benten"))]
    with subprocess.Popen([*company, "replay", "export", CAMPAIGN], stdout=subprocess.PIPE) as exporting:
        assert exporting.stdout is not None
        auditor = on_site.command(
            *("replay", "-", "--bundle", str(on_site.bundle), "--trust", str(on_site.trust)),
            *("--key", str(on_site.key), "--out", str(tmp_path / "verdict.json")),
        )
        done = subprocess.run(
            auditor, stdin=exporting.stdout, capture_output=True, text=True, timeout=120, check=False
        )
    assert (exporting.returncode, done.returncode, done.stderr) == (0, 0, "")
    assert "REPLAYED" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["verdict.json"]
    checked = subprocess.run(
        on_site.command("verdict", str(tmp_path / "verdict.json"), "--key", on_site.public_key, "--json"),
        capture_output=True,
        timeout=60,
        check=True,
    )
    fields = json.loads(checked.stdout)
    assert (fields["verdict"], fields["company"], fields["rounds_replayed"]) == ("REPLAYED", "benten", 3)
    assert fields["plan_sha256"] == finished.plan.digest().hex()
    assert fields["agreement"] in {"exact", "within-rounding"}


def test_a_changed_row_is_not_replayed_and_the_verdict_says_no_more(
    finished: SmallSeason, on_site: OnSite
) -> None:
    """Exit 9, codes only: neither the row nor how far off the sum was."""
    shown = canonical_json.parse_object(replay_data.export(finished.company_dir("akane"), CAMPAIGN))
    shown["rows"][0]["row"] = [0 for _ in shown["rows"][0]["row"]]
    shown["rows"][0]["label"] ^= 1
    done = on_site.replay("-", canonical_json.encode(shown))
    assert done.returncode == 9
    fields = json.loads(done.stdout)
    assert fields["verdict"] == "NOT REPLAYED"
    assert fields["findings"] == ["ROWS_NOT_COMMITTED", "UPDATE_NOT_RECOMPUTED"]
    assert shown["seed"].encode() not in done.stdout + done.stderr
    assert fields["largest_difference"] == 0


def test_another_companys_file_does_not_pass_for_this_ones(finished: SmallSeason, on_site: OnSite) -> None:
    shown = canonical_json.parse_object(replay_data.export(finished.company_dir("akane"), CAMPAIGN))
    shown["company"] = "benten"
    done = on_site.replay("-", canonical_json.encode(shown))
    assert done.returncode == 9
    assert {"SEED_NOT_COMMITTED", "ROWS_NOT_COMMITTED"} <= set(json.loads(done.stdout)["findings"])


def test_the_season_passes_the_test_of_its_sentinels(on_site: OnSite) -> None:
    """From the ledger alone; 3 rounds of 8 sums of five companies' noise.

    The noise is fresh each time: an honest season is accused once in a thousand; below 1e-9 it is no chance.
    """
    done = subprocess.run(
        on_site.command("sentinels", str(on_site.bundle), "--trust", str(on_site.trust), "--json"),
        capture_output=True,
        timeout=120,
        check=False,
    )
    fields = json.loads(done.stdout)
    (campaign,) = fields["campaigns"]
    passes = float(campaign["p_value"]) >= float(fields["false_alarm"])
    assert (campaign["observations"], campaign["faults"] == []) == (24, passes)
    assert done.returncode == (0 if passes else 9)
    assert float(campaign["p_value"]) > 1e-9
