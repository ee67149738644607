"""Every work page of a company as its people use it, in Chromium and in both languages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from chromium import Chromium
from company_pages import CODE
from gated_company import CAMPAIGN, POSITION, GatedCompany, MemoryPlatform, make_company
from sample_certificate import write_certificate
from visitor import Visitor, check_page

from noren_client import campaign_files, season_progress
from noren_client.odometer import Odometer
from noren_client.rights import orders, provision_records
from noren_client.web.site import company_site
from noren_core.crypto.sealed_table import TableContext
from noren_core.ids import TableKind
from noren_core.rights.gate.roles import Assignment, Role
from noren_local import staff
from noren_local.loopback import ADDRESS
from noren_web.localhost_entry import OneTimeEntry
from noren_web.serving import bound, served, server_of


@dataclass
class Desk:
    """A site that is served, and somebody at its browser."""

    visit: Visitor
    entry: OneTimeEntry

    def sign_in(self, name: str, language: str) -> None:
        self.visit.open(f"{self.entry.new_path()}&lang={language}")
        self.visit.fill("#name", name)
        self.visit.fill("#code", CODE)
        self.visit.click("form.stack button, main form button")

    def check(self, path: str, picture: str) -> None:
        """Open a page of hers, and check it."""
        self.visit.open(path)
        check_page(self.visit, picture)


@contextmanager
def at_desk(browser: Chromium, company_dir: Path, clock: Any) -> Iterator[Desk]:
    entry, listening = OneTimeEntry(clock), bound(ADDRESS, 0)
    port = listening.getsockname()[1]
    site = company_site(company_dir, port=port, entry=entry, clock=clock)
    with served(server_of(site), listening, name="company-pages"):
        yield Desk(Visitor(browser, f"http://{ADDRESS}:{port}"), entry)


@pytest.fixture
def company(tmp_path: Path, plan_body: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> GatedCompany:
    """With bands for hanako and jun, none for beth; a season under way, a hold, an order, a certificate."""
    monkeypatch.setattr(staff, "_COST", 2)
    made = make_company(tmp_path / "company", plan_body, monkeypatch)

    @contextmanager
    def connected(_directory: Path) -> Iterator[MemoryPlatform]:
        yield made.platform

    monkeypatch.setattr(season_progress, "PlatformClient", connected)
    (made.directory / "keys" / "tls.pem").write_bytes(b"")
    made.hire("olga", Assignment(Role.COMPANY_ML_OPERATOR))
    made.hire("pia", Assignment(Role.PRIVACY_CONTACT))
    odometer = Odometer.open(made.directory)
    odometer.reserve(made.plan, 1)
    odometer.reserve(made.plan, 2)
    odometer.settle(made.plan, 1)
    made.apply("hanako,offer", "beth,offer", "carol,no-offer", "jun,offer")
    made.consent("hanako", "jun")
    return made


@pytest.fixture
def desk(browser: Chromium, company: GatedCompany) -> Iterator[Desk]:
    with at_desk(browser, company.directory, lambda: company.clock.now) as found:
        yield found


both = pytest.mark.parametrize("language", ["ja", "en"])


@both
def test_the_way_in(browser: Chromium, tmp_path: Path, language: str) -> None:
    """From the printed link to the first administrator, her empty first page, and signing in again."""
    with at_desk(browser, tmp_path / "new", lambda: 1_800_000_000) as desk:
        visit = desk.visit
        visit.open("/")
        check_page(visit, "company-no-link")
        visit.open(f"{desk.entry.new_path()}&lang={language}")
        check_page(visit, "company-first-administrator")
        for field, typed in (("#name", "ada"), ("#code", CODE), ("#code_again", "something else")):
            visit.fill(field, typed)
        visit.click("main form button")
        check_page(visit, "company-first-administrator-wrong")
        for field in ("#code", "#code_again"):
            visit.fill(field, CODE)
        visit.click("main form button")
        assert visit.path() == "/"
        check_page(visit, "company-home-empty")
        for page in ("season", "budget", "staff"):
            desk.check(f"/{page}", f"company-{page}-empty")
        visit.click("form.who button")
        visit.fill("#name", "ada")
        visit.fill("#code", "wrong wrong")
        visit.click("main form button")
        check_page(visit, "company-sign-in")


@both
def test_decider(desk: Desk, company: GatedCompany, language: str) -> None:
    """What to do next leads to the decisions; the typed word seals them; an offer is taken back."""
    desk.sign_in("dan", language)
    check_page(desk.visit, "company-home-decider")
    desk.visit.click("main .next a")
    check_page(desk.visit, "company-decisions")
    desk.visit.click(f'a[href="/decisions/{CAMPAIGN}/{POSITION}"]')
    check_page(desk.visit, "company-decisions-preview")
    desk.visit.fill("#confirmation", POSITION)
    desk.visit.click("form.confirm button")
    check_page(desk.visit, "company-decisions-sealed")
    company.score()
    desk.visit.open(desk.visit.path())
    desk.visit.click(f'a[href="/decisions/{CAMPAIGN}/{POSITION}/reversal"]')
    check_page(desk.visit, "company-decisions-reversal")
    desk.visit.fill("#identifier", "jun")
    desk.visit.fill("#confirmation", POSITION)
    desk.visit.click("form.confirm button")
    assert desk.visit.path() == f"/decisions/{CAMPAIGN}/{POSITION}"
    check_page(desk.visit, "company-decisions-reversed")


@both
def test_follow_up(desk: Desk, company: GatedCompany, language: str) -> None:
    """One student is chosen, looked at, helped; for another one there is nothing to show."""
    company.seal()
    company.score()
    desk.sign_in("fay", language)
    check_page(desk.visit, "company-home-follow-up")
    desk.check("/follow-up", "company-follow-up")
    desk.visit.click(f'a[href="/follow-up/{CAMPAIGN}/{POSITION}"]')
    check_page(desk.visit, "company-follow-up-list")
    desk.visit.tick("#person-1")
    desk.visit.click("main form button")
    assert "hanako" in desk.visit.text()
    check_page(desk.visit, "company-follow-up-person")
    desk.visit.fill("#kind", "visit")
    desk.visit.click('main button[value="planned"]')
    desk.visit.tick("#person-1")
    desk.visit.click("main form button")
    check_page(desk.visit, "company-follow-up-planned")
    desk.visit.click('main button[value="done"]')
    desk.visit.tick("#person-2")
    desk.visit.click("main form button")
    assert "NOT_AVAILABLE" in desk.visit.text()
    check_page(desk.visit, "company-follow-up-nothing")
    assert "hanako" not in str(desk.visit.browser.evaluate("location.href"))


@both
def test_operator(desk: Desk, company: GatedCompany, language: str) -> None:
    """The season with its chart, what the ledger says, and the budget with its limit."""
    company.seal()
    desk.sign_in("olga", language)
    check_page(desk.visit, "company-home-operator")
    desk.check("/season", "company-season")
    desk.visit.click('form[action="/season/ask"] button')
    check_page(desk.visit, "company-season-asked")
    desk.check("/budget", "company-budget")


@both
def test_privacy_contact(desk: Desk, company: GatedCompany, language: str) -> None:
    """The inbox with an order, a certificate and a record; a hold and the two forms behind it."""
    path = campaign_files.directory(company.directory, CAMPAIGN) / orders.STATE_FILE
    path.write_text('{"7":"received"}')
    write_certificate(company.directory, CAMPAIGN, completed_at=company.clock.now)
    context = TableContext.fresh(company="company-1", campaign=CAMPAIGN, kind=TableKind.SCORE)
    provision_records.write_twin(company.directory, context, [bytes(16)], now=company.clock.now)
    desk.sign_in("pia", language)
    check_page(desk.visit, "company-home-privacy")
    desk.check("/rights", "company-rights")
    for form in ("erasure", "comparison", "hold"):
        desk.check(f"/rights/{form}", f"company-rights-{form}")
    desk.visit.fill("#until", "2030-03-31")
    desk.visit.click("main form button")
    assert desk.visit.path() == "/rights"
    check_page(desk.visit, "company-rights-held")


@both
def test_administrator(desk: Desk, company: GatedCompany, language: str) -> None:
    """Everybody with her roles; somebody is added without scripts, and removed with a typed name."""
    desk.sign_in("ada", language)
    desk.check("/staff", "company-staff")
    desk.visit.browser.run_scripts(enabled=False)
    desk.visit.open("/staff")
    desk.visit.fill("#name", "eve")
    desk.visit.tick("#roles-follow-up")
    for field in ("#code", "#code_again"):
        desk.visit.fill(field, CODE)
    desk.visit.click('form[action="/staff/add"] button')
    assert "eve" in desk.visit.text()
    desk.visit.browser.run_scripts(enabled=True)
    desk.visit.open("/staff")
    desk.visit.click('tr:nth-child(3) form[action="/staff/removal"] button')
    check_page(desk.visit, "company-staff-removal")
    desk.visit.open("/decisions")
    assert "ROLE_FORBIDDEN" in desk.visit.text()
    check_page(desk.visit, "company-forbidden")
