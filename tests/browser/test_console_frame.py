"""The console's frame as its people see it: coming in, first page, enrolment, companies, people, trail."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from chromium import Chromium
from console_companies import enrol
from operators_console import PASSWORD, Clock
from visitor import Visitor, check_page

from noren_server.console import listening, totp
from noren_server.console.accounts import Accounts, ConsoleRole
from noren_server.console.trail import Trail
from noren_server.platform_files import Platform, initialise
from noren_server.platform_secrets import secrets_of

LANGUAGES = pytest.mark.parametrize("language", ["en", "ja"])


@dataclass
class Served:
    """A console on loopback with TLS, the platform's own, and who is there."""

    address: str
    directory: Path
    clock: Clock
    accounts: Accounts

    def add(self, name: str, *roles: ConsoleRole) -> bytes:
        """Somebody who has joined; her authenticator's secret."""
        code, secret = self.accounts.add(name, roles), totp.new_secret()
        self.accounts.join(name, code, password=PASSWORD, secret=secret, typed=self.code(secret))
        return secret

    def code(self, secret: bytes) -> str:
        return totp.code_of(secret, self.clock.now // totp.STEP_SECONDS)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    directory, clock = tmp_path / "platform", Clock()
    initialise(directory, name="jobs", host="127.0.0.1", ports=(4001, 4002, 4003, 4004))
    accounts = Accounts(directory, secrets_of(directory), clock)
    accounts.add("chief", [ConsoleRole.ADMINISTRATOR], subject="chief@id")
    where = listening.choose("127.0.0.1:0", tls=True, files=(None, None), public_name="")
    with listening.running(directory, where, clock=clock) as address:
        yield Served(address.rstrip("/"), directory, clock, accounts)


def sign_in(visitor: Visitor, served: Served, name: str, secret: bytes) -> None:
    served.clock.now += totp.STEP_SECONDS
    visitor.open("/sign-in")
    visitor.fill("#name", name)
    visitor.fill("#password", PASSWORD)
    visitor.fill("#code", served.code(secret))
    visitor.click("main form button[type=submit]")
    assert visitor.path() == "/"


@LANGUAGES
def test_joining_and_signing_in(browser: Chromium, served: Served, language: str) -> None:
    """With the code that the terminal printed, an authenticator, and a password of her own."""
    code = served.accounts.add("hanako", [ConsoleRole.PRIVACY_OFFICER])
    visitor = Visitor(browser, served.address)
    visitor.open(f"/sign-in?lang={language}")
    check_page(visitor, "console-sign-in")
    visitor.fill("#name", "hanako")
    visitor.fill("#password", "a wrong password")
    visitor.fill("#code", "000000")
    visitor.click("main form button[type=submit]")
    check_page(visitor, "console-sign-in-refused")
    visitor.click("a[href='/join']")
    check_page(visitor, "console-join")
    visitor.fill("#name", "hanako")
    visitor.fill("#code", code)
    visitor.click("main form button[type=submit]")
    assert visitor.path() == "/join/finish"
    check_page(visitor, "console-choose")
    secret = base64.b32decode(
        str(browser.evaluate("document.querySelector('main code').innerText")).replace(" ", "")
    )
    visitor.fill("#password", "password1234")
    visitor.fill("#repeated", "password1234")
    visitor.fill("#code", served.code(secret))
    visitor.click("main form > button[type=submit]")
    check_page(visitor, "console-choose-refused")
    visitor.fill("#password", "a quiet river at dawn")
    visitor.fill("#repeated", "a quiet river at dawn")
    visitor.fill("#code", served.code(secret))
    visitor.click("main form > button[type=submit]")
    assert visitor.path() == "/account/codes"
    check_page(visitor, "console-recovery-codes")
    visitor.click("main a.button")
    check_page(visitor, "console-today-empty")
    visitor.open("/account")
    check_page(visitor, "console-account")


@LANGUAGES
def test_letting_a_company_in_and_ending_its_part(browser: Chromium, served: Served, language: str) -> None:
    """The officer hears the last group by phone; ending a participation needs a second person."""
    enrol(Platform(served.directory), "akane")
    last = enrol(Platform(served.directory), "benten")
    secret = served.add("hanako", ConsoleRole.PRIVACY_OFFICER)
    visitor = Visitor(browser, served.address)
    visitor.open(f"/sign-in?lang={language}")
    sign_in(visitor, served, "hanako", secret)
    check_page(visitor, "console-today")
    visitor.open("/enrolment")
    check_page(visitor, "console-enrolment")
    assert last not in str(browser.evaluate("document.querySelector('#groups-benten').innerText"))
    visitor.fill("#group-benten", last)
    visitor.click("form:has(#group-benten) button")
    assert visitor.path() == "/enrolment"
    visitor.open("/companies")
    check_page(visitor, "console-companies")
    visitor.click("a[href='/companies/benten']")
    check_page(visitor, "console-company")
    browser.click("details summary")
    visitor.fill("#confirmation", "benten")
    visitor.click("details form button")
    check_page(visitor, "console-company-proposed")
    assert browser.evaluate("document.querySelector('form[action=\"/companies/revoke/confirm\"]')") is None
    other = served.add("sora", ConsoleRole.ML_OPERATOR)
    visitor.click("header form button")
    sign_in(visitor, served, "sora", other)
    visitor.open("/companies/benten")
    visitor.fill("#confirmation", "benten")
    visitor.click("form[action='/companies/revoke/confirm'] button")
    check_page(visitor, "console-company-ended")
    visitor.open("/trail")
    check_page(visitor, "console-trail")
    with closing(Trail(served.directory, served.clock)) as trail:
        done = {(row.who, row.action) for row in trail.newest() if row.outcome == "done"}
    assert {("hanako", "/companies/revoke"), ("sora", "/companies/revoke/confirm")} <= done


@LANGUAGES
def test_people(browser: Chromium, served: Served, language: str) -> None:
    """An administrator proposes somebody, another one confirms and hands the code over."""
    first, second = (served.add(name, ConsoleRole.ADMINISTRATOR) for name in ("fuji", "kiso"))
    visitor = Visitor(browser, served.address)
    visitor.open(f"/sign-in?lang={language}")
    sign_in(visitor, served, "fuji", first)
    visitor.open("/people")
    visitor.click("main a[href='/people/add']")
    check_page(visitor, "console-people-add")
    visitor.fill("#name", "tone")
    visitor.tick("#roles-auditor")
    visitor.click("form[action='/people/add'] button")
    check_page(visitor, "console-people")
    visitor.click("header form button")
    sign_in(visitor, served, "kiso", second)
    visitor.open("/people")
    visitor.click("main a[href='/people/proposals']")
    check_page(visitor, "console-people-proposals")
    visitor.click("form[action='/people/confirm'] button")
    check_page(visitor, "console-people-code")
    visitor.click(f"a[href='/people/{served.accounts.account('tone').handle}']")
    check_page(visitor, "console-person")
    visitor.fill("#confirmation", "tone")
    visitor.click("form[action='/people/disable'] button")
    assert visitor.path() == "/people"


def test_without_scripts(browser: Chromium, served: Served) -> None:
    """Nothing of the frame needs them."""
    secret = served.add("hanako", ConsoleRole.PRIVACY_OFFICER)
    browser.run_scripts(enabled=False)
    visitor = Visitor(browser, served.address)
    sign_in(visitor, served, "hanako", secret)
    for path in ("/enrolment", "/companies", "/people", "/trail", "/account"):
        visitor.open(path)
        assert visitor.path() == path
