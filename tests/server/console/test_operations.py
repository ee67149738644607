"""The pages about campaigns, rounds, the ledger and backups, as their people use them."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from operated_platform import CAMPAIGN, SIZES, add_campaign, add_companies, run_to_the_middle
from operators_console import NOW, Console, Visit, operators_console

from noren_audit.verification.trust import load_trust
from noren_audit.verification.verify import verify_bundle
from noren_core.crypto.secret import SecretBytes
from noren_core.ledger.entries import EntryKind
from noren_core.privacy import accounting
from noren_core.season.plan import CampaignPlan
from noren_server import campaigns
from noren_server.backup import creating, history
from noren_server.backup.commands import VARIABLE
from noren_server.console.accounts import ConsoleRole
from noren_server.round_control import RoundControl
from noren_server.round_rows import SkipState
from noren_server.store import CampaignState

PEOPLE = {
    "officer": ConsoleRole.PRIVACY_OFFICER,
    "admin": ConsoleRole.CONSENT_ADMIN,
    "operator": ConsoleRole.ML_OPERATOR,
    "auditor": ConsoleRole.AUDITOR,
}
EMPTY = ("/campaigns", "/ledger", "/backup")
FULL = (
    *EMPTY,
    *(f"/campaigns/{CAMPAIGN}", f"/campaigns/{CAMPAIGN}/cost", f"/campaigns/{CAMPAIGN}/rounds"),
    f"/campaigns/{CAMPAIGN}/rounds/now",
)
ROUNDS = f"/campaigns/{CAMPAIGN}/rounds"
LANGUAGES = pytest.mark.parametrize("language", ["en", "ja"])


@dataclass
class Operated:
    """A console with a campaign whose second round is under way."""

    console: Console
    plan: CampaignPlan
    control: RoundControl

    def person(self, name: str) -> Visit:
        return self.console.signed_in(name)


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Console]:
    with operators_console(tmp_path / "platform") as console:
        for name, role in PEOPLE.items():
            console.add_at_provider(name, role)
        yield console


@pytest.fixture
def operated(empty: Console, plan_body: dict[str, Any]) -> Operated:
    add_companies(empty.platform)
    plan = add_campaign(empty.platform, plan_body)
    return Operated(empty, plan, run_to_the_middle(empty.platform, plan, now=NOW))


@LANGUAGES
def test_an_empty_platform_says_that_there_is_nothing(empty: Console, language: str) -> None:
    """Every page is drawn, in both languages, and says what to do first."""
    operator = empty.signed_in("operator")
    operator.get(f"/backup?lang={language}")
    for path in (*EMPTY, "/campaigns/new"):
        answer = operator.get(path)
        assert answer.status_code == 200
        assert f'lang="{language}"' in answer.text
        assert 'class="empty"' in answer.text, path


@LANGUAGES
def test_every_page_is_drawn_for_everybody_who_may_see_it(operated: Operated, language: str) -> None:
    """Readers read; whoever administrates people sees the ledger alone."""
    for name in (*PEOPLE, "boss"):
        person = operated.person(name)
        person.get(f"/account?lang={language}")
        for path in FULL:
            answer = person.get(path)
            is_shut = name == "boss" and path != "/ledger"
            assert answer.status_code == (403 if is_shut else 200), (name, path)


def test_only_operators_change_what_runs(operated: Operated) -> None:
    """Others get no form and are refused; the auditor may hold a campaign, and no more."""
    acts = {
        "/campaigns/create": set(),
        f"/campaigns/{CAMPAIGN}/train": set(),
        f"/campaigns/{CAMPAIGN}/close": set(),
        f"{ROUNDS}/skip": set(),
        f"{ROUNDS}/resume": set(),
        f"{ROUNDS}/pause": {"auditor"},
        "/backup/test": set(),
    }
    for name in ("officer", "admin", "auditor", "boss"):
        person = operated.person(name)
        for path, also in acts.items():
            answer = person.post(path, {"confirmation": "no"})
            assert (answer.status_code == 403) is (name not in also), (name, path)
    assert not operated.control.is_held()


def test_the_sentence_of_a_round(operated: Operated) -> None:
    """Reported, invited, late and when it closes, in the reader's zone; no reason why anybody is missing."""
    operator = operated.person("operator")
    assert f"2 of 4 reported, 1 late, closes {moment(NOW + 30)} UTC" in operator.get(ROUNDS).text
    japanese = operator.get(f"{ROUNDS}?lang=ja").text
    assert "4社中2社が報告、1社が遅延、締切" in japanese
    assert "JST" in japanese
    operated.control.judged(2, reported=operated.plan.companies[:3], missed=operated.plan.companies[3:4])
    operated.control.closed(2)
    operator.get(f"{ROUNDS}?lang=en")
    assert "3 of 4 reported, 1 did not; over since" in operator.get(f"{ROUNDS}/now").text


def moment(seconds: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def test_a_round_is_asked_for_again_only_while_it_runs(operated: Operated) -> None:
    """A finished campaign's page does not poll."""
    operator = operated.person("operator")
    assert 'hx-trigger="every 2s"' in operator.get(ROUNDS).text
    operated.console.platform.progress_path(CAMPAIGN).write_text('{"state": "finished", "reason": ""}')
    text = operator.get(ROUNDS).text
    assert "every 2s" not in text
    assert "rounds/pause" not in text


def test_pausing_and_resuming_from_the_page(operated: Operated) -> None:
    """With the campaign's name typed; the command sees the same hold; it is in the trail."""
    operator = operated.person("operator")
    assert operator.post(f"{ROUNDS}/pause", {"confirmation": "something"}).status_code == 422
    assert not operated.control.is_held()
    assert operator.post(f"{ROUNDS}/pause", {"confirmation": CAMPAIGN}).status_code == 303
    assert operated.control.is_held()
    page = operator.get(ROUNDS).text
    assert "rounds/resume" in page
    assert "rounds/pause" not in page
    assert operator.post(f"{ROUNDS}/resume", {"confirmation": CAMPAIGN}).status_code == 303
    assert not operated.control.is_held()
    done = operated.console.desk.trail.newest(who="operator")
    assert [(record.about, record.outcome) for record in done][:2] == [(f"campaign:{CAMPAIGN}", "done")] * 2


def test_leaving_a_company_out_respects_the_minimum(operated: Operated) -> None:
    """Four of five are left in round 2 and four are the minimum: refused with a page that says so."""
    operator = operated.person("operator")
    answer = operator.post(f"{ROUNDS}/skip", {"company": "company-1", "confirmation": "company-1"})
    assert answer.status_code == 409
    assert "COHORT_TOO_SMALL" in answer.text
    operated.control.opened(2, operated.plan.companies, seconds=30)
    assert operator.post(f"{ROUNDS}/skip", {"company": "company-1", "confirmation": "x"}).status_code == 422
    answer = operator.post(f"{ROUNDS}/skip", {"company": "company-1", "confirmation": "company-1"})
    assert answer.status_code == 303
    assert operated.control.rounds().skips == {"company-1": SkipState.ASKED}


@pytest.fixture
def known_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calibration takes seconds; its result is not the question here."""
    monkeypatch.setattr(accounting, "noise_multiplier_for", lambda **_: "12.5")
    monkeypatch.setattr(accounting, "gaussian_row_sigma", lambda **_: 2000)


CHOICES = {
    "campaign": "autumn-2026",
    "task": "decline",
    "positive": "declined",
    "negative": "accepted, joined",
    "train_seasons": "2025",
    "score_season": "2026",
    "mode": "noised-rows",
    "rounds": "4",
    "epsilon": "1",
    "index_direction": "-1",
    "expected_rate": "0.5",
    "minimum_cohort": "4",
    "deadline_seconds": "60",
}


@pytest.mark.usefixtures("known_noise")
def test_a_plan_is_forecast_and_then_published(empty: Console) -> None:
    """The forecast publishes nothing; with the name typed the same choices become the plan."""
    add_companies(empty.platform)
    operator = empty.signed_in("operator")
    assert "company-3" in operator.get("/campaigns/new").text
    shown = operator.post("/campaigns/forecast", CHOICES)
    assert shown.status_code == 200, shown.text
    assert "A company with 180 applicants spends at most ε = " in shown.text
    assert empty.platform.ledger_store.entries(kind=EntryKind.PLAN) == []
    fields = dict(re.findall(r'type="hidden" name="([a-z_]+)" value="([^"]*)"', shown.text))
    del fields["csrf"]
    assert fields == CHOICES
    assert operator.post("/campaigns/create", {**fields, "confirmation": "autumn"}).status_code == 422
    assert empty.platform.ledger_store.entries(kind=EntryKind.PLAN) == []
    made = operator.post("/campaigns/create", {**fields, "confirmation": "autumn-2026"})
    assert made.headers["location"] == "/campaigns/autumn-2026"
    plan = empty.platform.plan("autumn-2026")
    assert plan.companies == tuple(SIZES)
    assert plan.training.rounds == 4
    assert plan.task.negative == ("accepted", "joined")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rounds", "four"),
        ("rounds", "0"),
        ("epsilon", "-1"),
        ("mode", "other"),
        ("campaign", "Not A Name"),
        ("index_direction", "7"),
        ("expected_rate", "2"),
        ("train_seasons", "2026"),
    ],
)
def test_choices_that_are_none_are_refused(empty: Console, field: str, value: str) -> None:
    """With a page that says what was expected; nothing is published."""
    add_companies(empty.platform)
    answer = empty.signed_in("operator").post("/campaigns/forecast", {**CHOICES, field: value})
    assert answer.status_code == 422, answer.text


def test_closing_says_whom_it_reaches_and_ends_it(operated: Operated) -> None:
    """Named companies, typed confirmation, an entry in the ledger, and no keys any more."""
    operator = operated.person("operator")
    page = operator.get(f"/campaigns/{CAMPAIGN}/close").text
    assert all(company in page for company in operated.plan.companies)
    path = f"/campaigns/{CAMPAIGN}/close"
    assert operator.post(path, {"confirmation": "close"}).status_code == 422
    assert operator.post(path, {"confirmation": CAMPAIGN}).status_code == 303
    with operated.console.platform.store.transaction() as transaction:
        campaign = transaction.campaign(CAMPAIGN)
    assert campaign is not None
    assert campaign.state is CampaignState.CLOSED
    text = operator.get(f"/campaigns/{CAMPAIGN}").text
    assert f"/campaigns/{CAMPAIGN}/train" not in text


def test_tables_are_not_made_before_coverage_is_clear(operated: Operated) -> None:
    """The page says so, and the work ends with the code of the gate and nothing computed."""
    operator = operated.person("operator")
    assert "Coverage keeps this shut" in operator.get(f"/campaigns/{CAMPAIGN}").text
    started = operator.post(f"/campaigns/{CAMPAIGN}/publish")
    job = operated.console.app.state.jobs.newest(f"publish {CAMPAIGN}")
    job.wait()
    assert job.code == "LAUNCH_BLOCKED_COVERAGE"
    assert "LAUNCH_BLOCKED_COVERAGE" in operator.get(started.headers["location"]).text


def test_training_from_the_page_is_the_commands(operated: Operated, monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs the name typed, runs `campaigns.train` once, and goes on to the rounds."""
    trained: list[str] = []
    monkeypatch.setattr(
        "noren_server.console.operations.campaigns.campaigns.train",
        lambda platform, campaign: trained.append(f"{platform.directory.name} {campaign}"),
    )
    operator = operated.person("operator")
    path = f"/campaigns/{CAMPAIGN}/train"
    assert operator.post(path, {"confirmation": "yes"}).status_code == 422
    assert operator.post(path, {"confirmation": CAMPAIGN}).headers["location"] == ROUNDS
    operated.console.app.state.jobs.newest(f"train {CAMPAIGN}").wait()
    assert trained == [f"platform {CAMPAIGN}"]


def test_a_copy_of_the_ledger_verifies(operated: Operated, tmp_path: Path) -> None:
    """What is downloaded is the auditor's bundle; with the trust file it verifies, and the page knows."""
    auditor = operated.person("auditor")
    before = auditor.get("/ledger").text
    assert "No copy went out from here yet." in before
    answer = auditor.post("/ledger/export")
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        archive.extractall(tmp_path / "copy")
    trust = tmp_path / "trust.toml"
    trust.write_bytes(auditor.get("/ledger/trust.toml").content)
    result = verify_bundle(tmp_path / "copy" / "ledger", load_trust(trust))
    assert not any("CHECKPOINT" in finding.code or "TILE" in finding.code for finding in result.findings)
    assert "All 2 entries are under a checkpoint that went out." in auditor.get("/ledger").text
    operated.console.platform.ledger.append_platform_entry(
        EntryKind.ROUND_FAILED, {"campaign": CAMPAIGN, "reason": "RUN_FAILED", "round": 1}
    )
    assert "hold us to yet: 1 of 3." in auditor.get("/ledger").text


def test_backups_are_warned_of_until_one_was_tried(
    operated: Operated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No backup, then one that was never restored, then one that was."""
    operator, platform = operated.person("operator"), operated.console.platform
    assert "There is no backup of the last 2 days." in operator.get("/backup").text
    creating.create(platform, tmp_path / "backup", SecretBytes(b"correct horse battery staple"), now=NOW - 60)
    page = operator.get("/backup").text
    assert "There is no backup" not in page
    assert "No restore test of the last 31 days passed" in page
    assert operator.post("/backup/test").status_code == 503  # the console has no passphrase
    secret = tmp_path / "passphrase"
    secret.write_text("correct horse battery staple\n")
    secret.chmod(0o600)
    monkeypatch.setenv(VARIABLE, str(secret))
    started = operator.post("/backup/test")
    job = operated.console.app.state.jobs.newest("backup test")
    job.wait()
    assert job.code == "", job.message
    assert started.headers["location"].startswith("/jobs/")
    page = operator.get("/backup").text
    assert "No restore test" not in page
    assert "passed" in page
    assert history.read_history(platform.directory).last_passed is not None


def test_progress_of_a_platform_without_runs(operated: Operated) -> None:
    """A campaign that was never begun has words for that, not an error."""
    operated.console.platform.progress_path(CAMPAIGN).unlink()
    assert campaigns.progress(operated.console.platform, CAMPAIGN)["state"] == "not begun"
    assert "Training has not begun" in operated.person("admin").get("/campaigns").text
