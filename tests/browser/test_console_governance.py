"""The operator's pages about consent and rights, as the people see them who work there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from chromium import Chromium
from governed_console import CAMPAIGN, COMPANY, Season, make_season
from operators_console import PASSWORD, Clock
from visitor import Visitor, check_page

from noren_audit.rights.coverage_check import attest_report, read_report
from noren_core.rights.notices.notice_texts import packaged_policy_text
from noren_server.console import totp
from noren_server.console.accounts import Accounts, ConsoleRole
from noren_server.console.desk import open_desk
from noren_server.console.site import console_site
from noren_server.coverage.opening import coverage_runs
from noren_server.coverage.runs import REPORT
from noren_server.platform_files import Platform, initialise
from noren_server.platform_secrets import secrets_of
from noren_server.policies.screen_register import ScreenRegister
from noren_web.serving import bound, served, server_of

LANGUAGES = pytest.mark.parametrize("language", ["en", "ja"])
ROLES = {
    "officer": ConsoleRole.PRIVACY_OFFICER,
    "admin": ConsoleRole.CONSENT_ADMIN,
    "auditor": ConsoleRole.AUDITOR,
}
_JOB_SECONDS = 120


@dataclass
class Desk:
    """A console on loopback whose platform has a season behind it, and a browser at it."""

    season: Season
    visitor: Visitor
    clock: Clock
    secrets: dict[str, bytes]

    def sign_in(self, name: str, language: str) -> None:
        """As this person, from a page in this language."""
        self.clock.now += totp.STEP_SECONDS
        self.visitor.browser.forget_cookies()
        self.visitor.open(f"/sign-in?lang={language}")
        self.visitor.fill("#name", name)
        self.visitor.fill("#password", PASSWORD)
        step = self.clock.now // totp.STEP_SECONDS
        self.visitor.fill("#code", totp.code_of(self.secrets[name], step))
        self.visitor.click("main form button[type=submit]")
        assert self.visitor.path() == "/"

    def wait_for_job(self) -> None:
        """Until the page of a job says that it is done; then on from there."""
        end = time.monotonic() + _JOB_SECONDS
        link = "document.querySelector('.job a.button') !== null"
        while not self.visitor.browser.evaluate(
            f"new Promise(go => requestAnimationFrame(() => go({link})))"
        ):
            assert time.monotonic() < end, self.visitor.text()
        self.visitor.click(".job a.button")


@pytest.fixture
def desk(tmp_path: Path, browser: Chromium, plan_body: dict[str, Any]) -> Iterator[Desk]:
    directory, clock = tmp_path / "platform", Clock()
    platform = initialise(directory, name="jobs", host="127.0.0.1", ports=(4001, 4002, 4003, 4004))
    accounts, secrets = Accounts(directory, secrets_of(directory), clock), {}
    accounts.add("boss", [ConsoleRole.ADMINISTRATOR], subject="boss@id")
    for name, role in ROLES.items():
        code, secrets[name] = accounts.add(name, [role]), totp.new_secret()
        typed = totp.code_of(secrets[name], clock.now // totp.STEP_SECONDS)
        accounts.join(name, code, password=PASSWORD, secret=secrets[name], typed=typed)
    season = make_season(platform, plan_body, clock)
    listening = bound("127.0.0.1", 0)
    host = f"127.0.0.1:{listening.getsockname()[1]}"
    with (
        closing(platform.ledger_store),
        closing(platform.store),
        open_desk(directory, clock, base_url=f"http://{host}") as opened,
    ):
        app = console_site(opened, hosts=frozenset({host}), is_tls=False, entry=None)
        with served(server_of(app), listening, name="console"):
            yield Desk(season, Visitor(browser, f"http://{host}"), clock, secrets)


def newest_report(platform: Platform) -> Path:
    return coverage_runs(platform.directory).newest(CAMPAIGN).directory / REPORT


@LANGUAGES
def test_coverage_from_a_run_to_an_open_gate(desk: Desk, tmp_path: Path, language: str) -> None:
    """The consent admin computes, the officer reads, the auditor attests, and the gate is clear."""
    visitor = desk.visitor
    desk.sign_in("admin", language)
    visitor.open("/coverage")
    check_page(visitor, "console-coverage")
    visitor.open(f"/coverage/{CAMPAIGN}")
    check_page(visitor, "console-coverage-blocked")
    visitor.click("main form button.primary")
    check_page(visitor, "console-job")
    desk.wait_for_job()
    assert visitor.path() == f"/coverage/{CAMPAIGN}"
    desk.sign_in("officer", language)
    visitor.open(f"/coverage/{CAMPAIGN}")
    visitor.click("main table a")
    check_page(visitor, "console-coverage-result")
    assert "7,983" in visitor.text()
    visitor.click("main form button.primary")
    said = attest_report(read_report(newest_report(desk.season.platform)), desk.season.auditor)
    file = tmp_path / "attestation.json"
    file.write_bytes(said.to_bytes())
    desk.sign_in("auditor", language)
    visitor.open("/coverage")
    visitor.upload("#attestation", file)
    visitor.click("main form button.primary")
    assert visitor.path() == f"/coverage/{CAMPAIGN}"
    assert visitor.browser.evaluate("document.querySelector('main .problem') === null")
    check_page(visitor, "console-coverage-clear")


@LANGUAGES
def test_policies_and_screens(desk: Desk, tmp_path: Path, language: str) -> None:
    """A draft is checked, kept and compared with what is in force; screens by clause; their words."""
    text = packaged_policy_text().decode().replace('policy = "packaged"', 'policy = "next"')
    text = text.replace('season = "season"', 'season = "2026"').replace("DPIA-MISSING", "DPIA-3")
    file = tmp_path / "policy.toml"
    file.write_text(text.replace("retention_days = 365", "retention_days = 395"), encoding="utf-8")
    visitor = desk.visitor
    desk.sign_in("admin", language)
    visitor.open("/policies")
    check_page(visitor, "console-policies")
    visitor.upload("#policy", file)
    visitor.click("main form button.plain")
    check_page(visitor, "console-policy-checked")
    visitor.open("/policies")
    visitor.upload("#policy", file)
    visitor.click("button[formaction='/policies/add']")
    assert visitor.path() == "/policies/next"
    check_page(visitor, "console-policy")
    desk.sign_in("officer", language)
    for path, picture in (
        ("/policies/next/activate", "console-policy-activate"),
        ("/policies/policy-2026/retire", "console-policy-retire"),
        ("/screens", "console-screens"),
        ("/screens/matrix/policy-2026", "console-screens-matrix"),
    ):
        visitor.open(path)
        check_page(visitor, picture)
    with closing(ScreenRegister.open(desk.season.platform.directory)) as register:
        sha256 = register.standing("policy-2026")[0].sha256
    visitor.open(f"/screens/text/{sha256}")
    check_page(visitor, "console-screen-text")


@LANGUAGES
def test_consents_in_numbers(desk: Desk, language: str) -> None:
    """Charts with their tables, and nobody's name."""
    visitor = desk.visitor
    desk.season.months_of_answers(240)
    desk.sign_in("officer", language)
    visitor.open("/consents")
    check_page(visitor, "console-consents")
    assert "naoko" not in visitor.text()
    assert "<10" in visitor.text()


@LANGUAGES
def test_the_queue_of_rights_and_a_letter(desk: Desk, language: str) -> None:
    """What waits by deadline; an answer; the letter in the student's language; orders and holds."""
    visitor = desk.visitor
    handle, request = desk.season.inquiry(), desk.season.disclosure()
    desk.season.orders()
    desk.sign_in("officer", language)
    visitor.open("/rights")
    check_page(visitor, "console-rights")
    visitor.open(f"/rights/inquiries/{handle}")
    check_page(visitor, "console-inquiry")
    visitor.fill("#answer", "ご同意に基づいて利用しました。いつでも撤回できます。")
    visitor.click("main form button.primary")
    check_page(visitor, "console-inquiry-answered")
    visitor.click("main a[hreflang=ja].button")
    assert visitor.path() == f"/rights/letters/inquiry/{handle}/ja"
    check_page(visitor, "console-letter")
    visitor.open(f"/rights/disclosures/{request}")
    check_page(visitor, "console-disclosure")
    visitor.tick("#reason-trade-secret")
    visitor.click("main form button.danger")
    check_page(visitor, "console-refused")
    assert "DENIAL_REASON_NOT_ALLOWED" in visitor.text()
    visitor.open("/rights/erasure")
    check_page(visitor, "console-erasure")
    desk.season.inquiry("When is it erased?", "aiko-1")
    desk.clock.now += 20 * 86_400
    desk.sign_in("officer", language)
    visitor.open("/rights")
    check_page(visitor, "console-rights-overdue")


@LANGUAGES
def test_stopping_the_service_and_what_it_needs_to_run_again(desk: Desk, language: str) -> None:
    """Whom it reaches before, what is missing after; the end of the service; a drill that is measured."""
    visitor = desk.visitor
    desk.sign_in("officer", language)
    visitor.open(f"/service/suspend?scope=company&name={COMPANY}")
    check_page(visitor, "console-suspend")
    visitor.fill("#reason", "COMPANY_REQUEST")
    visitor.click("main form button.danger")
    assert visitor.path() == "/service"
    check_page(visitor, "console-service")
    visitor.open("/service/end")
    check_page(visitor, "console-service-end")
    visitor.open("/service/drills")
    visitor.fill("#what", f"campaign:{CAMPAIGN}")
    visitor.fill("#confirmation", "drill")
    visitor.click("main form button.danger")
    desk.wait_for_job()
    check_page(visitor, "console-drills")
    visitor.open("/service/end")
    visitor.fill("#confirmation", "wind-down")
    visitor.click("main form button.danger")
    assert visitor.path() == "/service/end"
    check_page(visitor, "console-winding-down")


@LANGUAGES
def test_an_incident_and_retention(desk: Desk, language: str) -> None:
    """Two clocks and the steps; what is kept how long, and when the job ran."""
    visitor = desk.visitor
    desk.sign_in("officer", language)
    visitor.open("/incidents")
    check_page(visitor, "console-incidents-empty")
    visitor.fill("#incident", "leak-1")
    visitor.fill("#kind", "LEAK")
    visitor.click("main form button.danger")
    assert visitor.path() == "/incidents/leak-1"
    check_page(visitor, "console-incident")
    visitor.open("/incidents")
    check_page(visitor, "console-incidents")
    visitor.open("/retention")
    check_page(visitor, "console-retention")
    visitor.click("main form button.primary")
    desk.wait_for_job()
    assert visitor.path() == "/retention"
    check_page(visitor, "console-retention-run")


def test_every_form_works_without_scripts(desk: Desk) -> None:
    """A suspension and an answer, with scripts off."""
    visitor = desk.visitor
    handle = desk.season.inquiry()
    visitor.browser.run_scripts(enabled=False)
    desk.sign_in("officer", "en")
    visitor.open(f"/rights/inquiries/{handle}")
    visitor.fill("#answer", "You consented.")
    visitor.click("main form button.primary")
    assert "Answered." in visitor.text()
    visitor.open("/service/suspend")
    visitor.click("main form button.danger")
    assert visitor.path() == "/service"
    assert "our own decision" in visitor.text()
