"""What the operator does to the service: one list of reasons, whom it reaches, drills that are measured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from noren_core.errors import ConfigurationError, DataError
from noren_core.ledger.entries import EntryKind, ServiceScope
from noren_server.cli import main
from noren_server.platform_files import Platform, initialise
from noren_server.rights.service_changes import (
    DRILL_LIMIT_SECONDS,
    DRILLS_FILE,
    Drill,
    SuspensionReason,
    blast_radius,
    drill,
    drills,
    parse_reason,
    suspend,
)
from noren_server.rights.service_states import service_desk

NOW = 1_790_000_000


@pytest.fixture
def platform(tmp_path: Path, plan_body: dict[str, Any]) -> Iterator[Platform]:
    made = initialise(tmp_path / "platform", name="jobs", host="127.0.0.1", ports=(1, 2, 3, 4))
    made.ledger.append_platform_entry(EntryKind.PLAN, plan_body)
    yield made
    made.ledger_store.close()


def test_every_reason_is_one_of_the_list(platform: Platform) -> None:
    """And stands in the ledger as it was given; another word stops nothing."""
    with pytest.raises(ConfigurationError):
        parse_reason("BECAUSE")
    desk = service_desk(platform, lambda: NOW)
    suspend(
        platform,
        desk,
        scope=ServiceScope.GLOBAL,
        name="",
        reason=SuspensionReason.AUTHORITY_REQUEST,
        at=NOW,
    )
    [change] = desk.history()
    assert change.reason == "AUTHORITY_REQUEST"
    assert desk.resume_facts(ServiceScope.GLOBAL).is_coverage_clear is False


def test_the_reach_follows_from_the_ledger(platform: Platform) -> None:
    """A campaign reaches its cohort, a company itself and its campaigns; what is closed reaches nobody."""
    campaign = blast_radius(platform, ServiceScope.CAMPAIGN, "spring-2026")
    assert campaign.companies == tuple(f"company-{number}" for number in range(1, 6))
    company = blast_radius(platform, ServiceScope.COMPANY, "company-3")
    assert (company.companies, company.campaigns) == (("company-3",), ("spring-2026",))
    assert blast_radius(platform, ServiceScope.GLOBAL).companies == ()  # nobody agreed yet
    platform.ledger.append_platform_entry(EntryKind.CAMPAIGN_CLOSED, {"campaign": "spring-2026"})
    assert blast_radius(platform, ServiceScope.COMPANY, "company-3").campaigns == ()
    with pytest.raises(DataError):
        blast_radius(platform, ServiceScope.COMPANY, "A b")


def test_a_drill_measures_until_another_reader_refuses(platform: Platform) -> None:
    """What consents are judged by is remembered for a second, so it takes no longer than that and a bit."""
    done = drill(platform, scope=ServiceScope.COMPANY, name="company-1")
    assert done.is_in_time
    assert done.milliseconds < 10_000
    assert not service_desk(platform).is_running(company="company-1")
    assert drills(platform.directory) == (done,)
    assert (platform.directory / DRILLS_FILE).stat().st_mode & 0o777 == 0o600


def test_what_took_longer_than_a_minute_is_late() -> None:
    """To the millisecond."""
    limit = DRILL_LIMIT_SECONDS * 1000
    times = [Drill(ServiceScope.GLOBAL, "", NOW, milliseconds) for milliseconds in (limit, limit + 1)]
    assert [item.is_in_time for item in times] == [True, False]


def test_a_record_of_drills_that_is_none_is_refused(platform: Platform) -> None:
    """Nothing is guessed from it."""
    (platform.directory / DRILLS_FILE).write_bytes(b'{"drills":[{}]}')
    with pytest.raises(DataError):
        drills(platform.directory)


def test_the_commands_say_the_same(platform: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    """A drill from the terminal exits 0 in time; a reason that is none is refused."""
    base = ["--directory", str(platform.directory), "--json"]
    refused = main([*base, "service", "suspend", "--reason", "BECAUSE"])
    assert (refused, json.loads(capsys.readouterr().out)["code"]) == (3, "BAD_CONFIGURATION")
    assert main([*base, "service", "drill", "--scope", "campaign", "--name", "spring-2026"]) == 0
    assert json.loads(capsys.readouterr().out)["milliseconds"] >= 0
    assert main([*base, "service", "status"]) == 0
    assert json.loads(capsys.readouterr().out)["stopped"] == {"campaign:spring-2026": "suspended"}
