"""The pages about this machine as an administrator sees them, in both languages."""

from __future__ import annotations

import itertools
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from chromium import Chromium
from enrolling_platform import EnrollingPlatform, enrolling_platform
from visitor import Visitor, check_page

from noren_client import config, keystore
from noren_client.gate import staff as company_staff
from noren_client.setup import wizard
from noren_client.web.site import company_site
from noren_core.crypto.identity import fingerprint
from noren_core.crypto.secret import SecretBytes
from noren_core.rights.gate.roles import Assignment, Role
from noren_core.season.participation import agreement_sha256
from noren_local import staff
from noren_web.localhost_entry import OneTimeEntry
from noren_web.serving import bound, served, server_of

CODE, PASSPHRASE = "correct horse battery", "a good passphrase"
_NUMBERS = itertools.count(1)
LANGUAGES = ("en", "ja")


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EnrollingPlatform]:
    with enrolling_platform(tmp_path_factory.mktemp("platform") / "platform") as running:
        yield running


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory whose name fits a picture."""
    monkeypatch.setattr(staff, "_COST", 2)
    made = Path(tempfile.mkdtemp(prefix="noren-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def company(platform: EnrollingPlatform, place: Path, tmp_path: Path) -> Path:
    """A company that enrolled, with ada as its administrator."""
    name = f"akane-{next(_NUMBERS)}"
    given = wizard.Given(
        invitation=platform.invitation(name, tmp_path), declared_size=40, agreement=agreement_sha256()
    )
    directory = place / "akane"
    outcome = wizard.set_up(directory, given, wizard.Nobody(), sleep=lambda _: None)
    platform.approve(name, outcome.fingerprint)
    wizard.set_up(directory, wizard.Given(), wizard.Nobody(), sleep=lambda _: None)
    company_staff.register(directory).add("ada", [Assignment(Role.COMPANY_ADMIN)], SecretBytes(CODE.encode()))
    return directory


@pytest.fixture
def ada(browser: Chromium, company: Path) -> Iterator[Visitor]:
    """She came through the link and signed in."""
    with at_the_pages(browser, company) as visit:
        yield visit


@contextmanager
def at_the_pages(browser: Chromium, company: Path) -> Iterator[Visitor]:
    """ada at the pages of this directory."""
    listening: socket.socket = bound("127.0.0.1", 0)
    port = listening.getsockname()[1]
    entry = OneTimeEntry(lambda: int(time.time()))
    site = company_site(company, port=port, entry=entry, clock=lambda: int(time.time()))
    with served(server_of(site), listening, name="company"):
        visit = Visitor(browser, f"http://127.0.0.1:{port}")
        visit.open(entry.new_path())
        visit.open("/sign-in")
        visit.fill("#name", "ada")
        visit.fill("#code", CODE)
        visit.click("main form button.primary")
        yield visit


def test_looking_at_the_machine(ada: Visitor) -> None:
    """From the first look to the findings of the network, by the button."""
    for language in LANGUAGES:
        ada.open(f"/machine?lang={language}")
        check_page(ada, "company-machine")
    ada.browser.run_scripts(enabled=False)  # without scripts, the job's page is loaded again
    ada.open("/machine?lang=en")
    ada.click("form[action='/machine/check'] button")
    deadline = time.monotonic() + 60
    while "Go on" not in ada.text():
        assert time.monotonic() < deadline
        ada.open(ada.path())
    ada.click("a.button[href='/machine']")
    assert "the platform's own certificate" in ada.text()
    ada.browser.run_scripts(enabled=True)
    for language in LANGUAGES:
        ada.open(f"/machine?lang={language}")
        check_page(ada, "company-machine-checked")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("page", ["setup", "service", "keys", "hand-over"])
def test_the_other_pages(ada: Visitor, page: str, language: str) -> None:
    """Nothing for axe to find, in both languages."""
    ada.open(f"/machine/{page}?lang={language}")
    ada.browser.evaluate("document.querySelectorAll('details').forEach(item => { item.open = true })")
    check_page(ada, f"company-{page}")


def test_handing_over(ada: Visitor, company: Path) -> None:
    """A wrong confirmation is told at its field; the right one ends this machine's part."""
    name = config.load(company).company
    ada.open("/machine/hand-over?lang=en")
    ada.fill("#passphrase", PASSPHRASE)
    ada.fill("#passphrase_again", "another passphrase")
    ada.fill("#confirmation", name)
    ada.click("form[action='/machine/hand-over'] button")
    assert "This is not the same passphrase." in ada.text()
    for language in LANGUAGES:
        ada.open(f"/machine/hand-over?lang={language}")
    ada.open("/machine/hand-over?lang=en")
    for field in ("#passphrase", "#passphrase_again"):
        ada.fill(field, PASSPHRASE)
    ada.fill("#confirmation", name)
    ada.click("form[action='/machine/hand-over'] button")
    deadline = time.monotonic() + 60
    while "does nothing for" not in ada.text():
        assert time.monotonic() < deadline
        ada.open("/machine/hand-over?lang=en")
    for language in LANGUAGES:
        ada.open(f"/machine/hand-over?lang={language}")
        check_page(ada, "company-handed-over")


def finish(visit: Visitor, words: str) -> None:
    """Load the job's page until it ended, then go on to where it leads."""
    deadline = time.monotonic() + 60
    while "Go on" not in visit.text():
        assert time.monotonic() < deadline, visit.text()
        assert "Failed" not in visit.text(), visit.text()
        visit.open(visit.path())
    visit.click("a.button[href='/machine/setup']")
    assert words in visit.text()


def test_setting_up_without_scripts(
    browser: Chromium, platform: EnrollingPlatform, place: Path, tmp_path: Path
) -> None:
    """From the invitation to an enrolled company, in pages alone."""
    directory, name = place / "akane", f"akane-{next(_NUMBERS)}"
    directory.mkdir(mode=0o700)
    register = company_staff.register(directory)
    register.add("ada", [Assignment(Role.COMPANY_ADMIN)], SecretBytes(CODE.encode()))
    with at_the_pages(browser, directory) as visit:
        for language in LANGUAGES:
            visit.open(f"/machine?lang={language}")
            check_page(visit, "company-machine-new")
            visit.open(f"/machine/setup?lang={language}")
            check_page(visit, "company-setup-new")
        browser.run_scripts(enabled=False)
        visit.open("/machine/setup?lang=en")
        visit.upload("#invitation", platform.invitation(name, tmp_path))
        visit.fill("#declared_size", "40")
        visit.tick("#agree-yes")
        visit.click("form[action='/machine/setup'] button")
        finish(visit, "read this fingerprint out")
        browser.run_scripts(enabled=True)
        for language in LANGUAGES:
            visit.open(f"/machine/setup?lang={language}")
            check_page(visit, "company-setup-fingerprint")
        platform.approve(name, fingerprint(keystore.load(directory).signing.public_key))
        browser.run_scripts(enabled=False)
        visit.open("/machine/setup?lang=en")
        visit.click("form[action='/machine/setup/collect'] button")
        finish(visit, "This machine takes part for")
        browser.run_scripts(enabled=True)
