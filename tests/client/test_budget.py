"""What the company's operator is told of limits, spending and plans."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from noren_client import campaign_files, config, keystore
from noren_client.cli import main
from noren_client.config import Addresses, CompanyConfig, Limits, Pins
from noren_client.odometer import Odometer
from noren_core.crypto.identity import SigningKey
from noren_core.errors import ConfigurationError
from noren_core.ledger.note import VerifierKey
from noren_core.privacy.accounting import epsilon_pld
from noren_core.season.plan import CampaignPlan
from noren_core.season.round_event import plan_event


@pytest.fixture
def company_dir(tmp_path: Path) -> Path:
    """A company with its keys, which has seen no ledger yet."""
    settings = CompanyConfig(
        company="company-1",
        platform="job-site",
        addresses=Addresses("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"),
        pins=Pins("ab" * 32, VerifierKey("job-site/ledger", SigningKey.generate().public_key), b"k" * 32),
        limits=Limits(),
    )
    (tmp_path / "config.toml").write_bytes(config.to_toml(settings))
    keystore.create_missing(tmp_path)
    return tmp_path


@pytest.fixture
def plan(plan_body: dict[str, Any]) -> CampaignPlan:
    return CampaignPlan.from_body(plan_body)


def budget(company_dir: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    code = main(["--directory", str(company_dir), "--json", "budget", *arguments])
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert result.pop("success") == (code == 0)
    return result


def test_before_the_first_campaign(company_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Limits, and nothing spent."""
    assert budget(company_dir, capsys) == {
        "limits": {"max_campaigns_per_season": 3, "lifetime_epsilon": "4", "lifetime_delta": "1e-06"},
        "seasons": {},
    }


def test_spending_by_season_and_a_forecast(
    company_dir: Path, plan: CampaignPlan, capsys: pytest.CaptureFixture[str]
) -> None:
    """A campaign counts whole in every season that it trains on, the planned one in its forecast."""
    both = replace(plan, campaign="both", train_seasons=("2024", "2025"))
    odometer = Odometer.open(company_dir)
    odometer.reserve(both, 1)
    odometer.reserve(replace(plan, campaign="one"), 1)
    odometer.settle(both, 1)
    campaign_files.save_plan(company_dir, plan)
    found = budget(company_dir, capsys, "--campaign", plan.campaign)
    epsilon = [f"{epsilon_pld([plan_event(plan)] * number, 1e-6):.4f}" for number in range(5)]
    spent = {
        "both": {"rounds": 3, "reserved": 1, "settled": 1},
        "one": {"rounds": 3, "reserved": 1, "settled": 0},
    }
    assert found["seasons"] == {
        "2024": {"epsilon": epsilon[1], "campaigns": {"both": spent["both"]}},
        "2025": {"epsilon": epsilon[2], "campaigns": spent},
    }
    assert set(found["forecast"]) == {"2025"}
    assert found["forecast"]["2025"]["epsilon_before"] == epsilon[2]
    assert found["forecast"]["2025"]["epsilon_by_campaign"] == epsilon[3:5]
    assert found["forecast"]["2025"]["summary"].startswith("fits 1 campaign like this")


def test_a_campaign_that_was_begun_is_not_counted_twice(
    company_dir: Path, plan: CampaignPlan, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its forecast begins at what the others spent."""
    Odometer.open(company_dir).reserve(plan, 1)
    campaign_files.save_plan(company_dir, plan)
    found = budget(company_dir, capsys, "--campaign", plan.campaign)
    assert found["forecast"]["2025"]["epsilon_before"] == "0.0000"


def test_a_damaged_odometer_and_an_unknown_campaign(
    company_dir: Path, plan: CampaignPlan, capsys: pytest.CaptureFixture[str]
) -> None:
    """No figures from a file that cannot be relied on."""
    assert budget(company_dir, capsys, "--campaign", "unknown")["code"] == "ILLEGAL_STATE"
    Odometer.open(company_dir).reserve(plan, 1)
    path = company_dir / "odometer.jsonl"
    path.write_bytes(path.read_bytes().replace(b"spring", b"autumn"))
    assert budget(company_dir, capsys)["code"] == "ACCOUNTANT_RESET"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("max_campaigns_per_season", "0"),
        ("max_campaigns_per_season", "100"),
        ("lifetime_epsilon", '"0"'),
        ("lifetime_epsilon", '"31"'),
        ("lifetime_delta", '"0.001"'),
    ],
)
def test_limits_out_of_bounds_are_refused(company_dir: Path, line: str, value: str) -> None:
    """A limit that limits nothing, or that no composition could be compared with, is not taken."""
    path = company_dir / "config.toml"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(f"{line} = {value}" if row.startswith(f"{line} ") else row for row in lines))
    with pytest.raises(ConfigurationError, match=line):
        config.load(company_dir)
