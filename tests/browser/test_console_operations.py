"""The operator's pages about campaigns, rounds, the ledger and backups, as the operator sees them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from chromium import Chromium
from operated_platform import CAMPAIGN, add_campaign, add_companies, run_to_the_middle
from operators_console import NOW, PASSWORD, Clock
from visitor import Visitor, check_page

from noren_core.crypto.secret import SecretBytes
from noren_core.ledger.entries import EntryKind
from noren_server.backup import creating
from noren_server.backup.commands import VARIABLE
from noren_server.console import listening, totp
from noren_server.console.accounts import Accounts, ConsoleRole
from noren_server.platform_files import Platform, initialise
from noren_server.platform_secrets import secrets_of
from noren_server.round_control import RoundControl

LANGUAGES = pytest.mark.parametrize("language", ["en", "ja"])
_JOB_SECONDS = 120
_WATCH_SECONDS = 30


@dataclass
class Operator:
    """The operator at a browser, signed in at a console on loopback."""

    platform: Platform
    visitor: Visitor
    clock: Clock
    secret: bytes

    def sign_in(self, language: str) -> None:
        self.clock.now += totp.STEP_SECONDS
        self.visitor.open(f"/sign-in?lang={language}")
        self.visitor.fill("#name", "operator")
        self.visitor.fill("#password", PASSWORD)
        self.visitor.fill("#code", totp.code_of(self.secret, self.clock.now // totp.STEP_SECONDS))
        self.visitor.click("main form button[type=submit]")
        assert self.visitor.path() == "/"

    def wait_for(self, script: str, *, seconds: float) -> None:
        """Until this holds in the page as it stands open."""
        end = time.monotonic() + seconds
        asked = f"new Promise(go => requestAnimationFrame(() => go({script})))"
        while not self.visitor.browser.evaluate(asked):
            assert time.monotonic() < end, self.visitor.text()


@pytest.fixture
def operator(tmp_path: Path, browser: Chromium, monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    directory, clock = tmp_path / "platform", Clock()
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse battery staple\n")
    passphrase.chmod(0o600)
    monkeypatch.setenv(VARIABLE, str(passphrase))
    platform = initialise(directory, name="jobs", host="127.0.0.1", ports=(4001, 4002, 4003, 4004))
    accounts, secret = Accounts(directory, secrets_of(directory), clock), totp.new_secret()
    accounts.add("boss", [ConsoleRole.ADMINISTRATOR], subject="boss@id")
    code = accounts.add("operator", [ConsoleRole.ML_OPERATOR])
    typed = totp.code_of(secret, clock.now // totp.STEP_SECONDS)
    accounts.join("operator", code, password=PASSWORD, secret=secret, typed=typed)
    where = listening.choose("127.0.0.1:0", tls=True, files=(None, None), public_name="")
    with (
        closing(platform.ledger_store),
        closing(platform.store),
        listening.running(directory, where, clock=clock) as address,
    ):
        yield Operator(platform, Visitor(browser, address.rstrip("/")), clock, secret)


@LANGUAGES
def test_pages_of_a_new_platform(operator: Operator, language: str) -> None:
    """Before there is a company, a campaign or a backup: each says what comes first."""
    visitor = operator.visitor
    operator.sign_in(language)
    for path, picture in (
        ("/campaigns", "console-campaigns-empty"),
        ("/campaigns/new", "console-campaign-new-empty"),
        ("/backup", "console-backup-empty"),
        ("/ledger", "console-ledger-new"),
    ):
        visitor.open(path)
        check_page(visitor, picture)


@LANGUAGES
def test_a_plan_from_the_form_to_the_ledger(operator: Operator, language: str) -> None:
    """She chooses, reads what it costs, types the name, and the plan is published."""
    visitor = operator.visitor
    add_companies(operator.platform)
    operator.sign_in(language)
    visitor.open("/campaigns/new")
    check_page(visitor, "console-campaign-new")
    visitor.fill("#campaign", "autumn-2026")
    visitor.tick("#train_seasons-2025")
    visitor.fill("#minimum_cohort", "4")
    visitor.click("main form button.primary")
    assert visitor.path() == "/campaigns/forecast"
    assert "180" in visitor.text()
    check_page(visitor, "console-campaign-forecast")
    visitor.fill("#confirmation", "autumn-2026")
    visitor.click("main form button.danger")
    assert visitor.path() == "/campaigns/autumn-2026"
    check_page(visitor, "console-campaign")
    assert len(operator.platform.ledger_store.entries(kind=EntryKind.PLAN)) == 1
    visitor.open("/campaigns")
    check_page(visitor, "console-campaigns")
    visitor.open("/campaigns/autumn-2026/cost")
    check_page(visitor, "console-campaign-cost")


@LANGUAGES
def test_rounds_are_watched_held_and_gone_on_with(
    operator: Operator, plan_body: dict[str, Any], language: str
) -> None:
    """The sentence follows the answers without a reload; pause and resume take a typed name."""
    visitor = operator.visitor
    add_companies(operator.platform)
    plan = add_campaign(operator.platform, plan_body)
    control = run_to_the_middle(operator.platform, plan, now=NOW)
    operator.sign_in(language)
    visitor.open(f"/campaigns/{CAMPAIGN}/rounds")
    check_page(visitor, "console-rounds")
    control.heard(2, plan.companies[2])
    sentence = "4社中3社が報告" if language == "ja" else "3 of 4 reported"
    operator.wait_for(f"document.body.innerText.includes('{sentence}')", seconds=_WATCH_SECONDS)
    visitor.fill("form[action$=pause] input[name=confirmation]", CAMPAIGN)
    visitor.click("form[action$=pause] button.danger")
    assert control.is_held()
    check_page(visitor, "console-rounds-paused")
    visitor.fill("form[action$=resume] input[name=confirmation]", CAMPAIGN)
    visitor.click("form[action$=resume] button.danger")
    assert not control.is_held()
    visitor.fill("form[action$=skip] input[name=confirmation]", "company-1")
    visitor.click("form[action$=skip] button.danger")
    assert "COHORT_TOO_SMALL" in visitor.text()
    check_page(visitor, "console-rounds-skip-refused")


def test_rounds_without_scripts(operator: Operator, plan_body: dict[str, Any]) -> None:
    """Reloading shows how they stand, and a company is left out by a form."""
    visitor = operator.visitor
    add_companies(operator.platform)
    plan = add_campaign(operator.platform, plan_body)
    control = RoundControl(operator.platform.store, plan)
    operator.sign_in("en")
    visitor.browser.run_scripts(enabled=False)
    visitor.open(f"/campaigns/{CAMPAIGN}/rounds")
    assert "No round has begun yet." in visitor.text()
    control.opened(1, plan.companies, seconds=30)
    visitor.open(f"/campaigns/{CAMPAIGN}/rounds")
    assert "0 of 5 reported" in visitor.text()


@LANGUAGES
def test_closing_a_campaign(operator: Operator, plan_body: dict[str, Any], language: str) -> None:
    """She reads whom it reaches, types the name, and it is over."""
    visitor = operator.visitor
    add_companies(operator.platform)
    add_campaign(operator.platform, plan_body)
    operator.sign_in(language)
    visitor.open(f"/campaigns/{CAMPAIGN}/close")
    check_page(visitor, "console-campaign-close")
    visitor.fill("#confirmation", CAMPAIGN)
    visitor.click("main form button.danger")
    check_page(visitor, "console-campaign-closed")
    assert len(operator.platform.ledger_store.entries(kind=EntryKind.CAMPAIGN_CLOSED)) == 1


@LANGUAGES
def test_a_backup_is_tried_out(operator: Operator, tmp_path: Path, language: str) -> None:
    """The warning goes once the newest backup was restored and checked."""
    visitor = operator.visitor
    passphrase = SecretBytes(b"correct horse battery staple")
    creating.create(operator.platform, tmp_path / "backup", passphrase, now=operator.clock.now)
    operator.sign_in(language)
    visitor.open("/backup")
    check_page(visitor, "console-backup-untried")
    visitor.click("main form button")
    operator.wait_for("document.querySelector('.job a.button') !== null", seconds=_JOB_SECONDS)
    check_page(visitor, "console-backup-job")
    visitor.click(".job a.button")
    assert visitor.path() == "/backup"
    check_page(visitor, "console-backup")
    visitor.open("/ledger")
    check_page(visitor, "console-ledger")
