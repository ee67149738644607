"""What a browser really shows: our own pages, and every way in which a page can hide, change or push.

One browser for most of it; pages that a test changes are served on loopback, without our policy in the
header.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import axe
import chromium
import pytest
from active_policy import notice_facts

from noren_core.errors import ConfigurationError, DataError
from noren_core.rights.clauses import Clause
from noren_core.rights.locales import Locale
from noren_core.rights.notices.notice_texts import packaged_policy
from noren_core.rights.notices.screen import (
    Device,
    PageReading,
    ScreenFinding,
    ScreenState,
    clauses_present,
    findings,
)
from noren_server.policies import browser as browser_module
from noren_server.policies import crawler
from noren_server.policies.browser import Browser, Sight, browser
from noren_server.policies.consent_screen import expected_screen, render_consent_screen
from noren_server.policies.page_markup import read_page
from noren_server.policies.policy_book import PolicyBook
from noren_server.policies.screen_register import ScreenRegister

NOW = 1_800_000_000
POLICY = packaged_policy(policy="first", season="2027", dpia="DPIA-1")
FACTS = notice_facts("acme", "engineer")
ROUTE = POLICY.routes["consent-score"]


def page_in(locale: Locale) -> str:
    """Our page, without the policy in its own head: what tests add to it shall take effect."""
    page = render_consent_screen(POLICY, FACTS, locale, ROUTE.purposes)
    return re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)


PAGE = page_in(Locale.EN)
EXPECTED = {locale: expected_screen(POLICY, FACTS, locale, ROUTE) for locale in Locale}


@dataclass(frozen=True, slots=True)
class Site:
    """A site on loopback: what it serves by path, and what it was asked for."""

    origin: str
    pages: dict[str, tuple[int, bytes]]
    asked: list[tuple[str, str]]

    def put(self, page: str, path: str = "/page") -> str:
        self.pages[path] = (200, page.encode())
        return self.origin + path


@contextlib.contextmanager
def serving() -> Iterator[Site]:
    pages: dict[str, tuple[int, bytes]] = {}
    asked: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers.get("Accept-Language", "")))
            status, body = pages.get(self.path, (404, b"none"))
            self.send_response(status)
            if status == 302:
                self.send_header("Location", body.decode())
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Site(f"http://127.0.0.1:{server.server_port}", pages, asked)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving() as served:
        yield served


OWN = "https://consent.invalid/page"


@dataclass(frozen=True, slots=True)
class Eyes:
    """A browser that is asked for one reading at a time."""

    browser: Browser
    pages: dict[str, str]

    def read(self, page: str, device: Device = Device.DESKTOP) -> PageReading:
        self.pages[OWN] = page
        self.browser.show(OWN, device=device, languages="en")
        return PageReading.from_body(self.browser.evaluate(crawler._script()))


@pytest.fixture(scope="module")
def eyes() -> Iterator[Eyes]:
    pages = {OWN: PAGE}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(browser_module, "HEADERS", {"Content-Type": "text/html; charset=utf-8"})
        with browser(Sight(frozenset(), pages)) as opened:
            yield Eyes(opened, pages)


def clause_element(clause: Clause, locale: Locale = Locale.EN) -> str:
    [found] = re.findall(rf'<p data-clause="{clause}">[^<]*</p>', page_in(locale))
    return found


@pytest.mark.parametrize("device", Device)
@pytest.mark.parametrize("locale", Locale)
def test_a_browser_shows_what_the_markup_says(eyes: Eyes, locale: Locale, device: Device) -> None:
    """The same reading with and without a browser, at every width: the same hash, all clauses, no finding."""
    for route in POLICY.routes.values():
        page = render_consent_screen(POLICY, FACTS, locale, route.purposes)
        seen, said = eyes.read(page, device), read_page(page)
        assert seen.sha256 == said.sha256
        assert replace(seen, text="") == replace(said, text="")
        assert findings(seen, expected_screen(POLICY, FACTS, locale, route)) == ()


@pytest.mark.parametrize("locale", Locale)
def test_axe_finds_nothing_and_nothing_is_asked_for(tmp_path: Path, locale: Locale) -> None:
    """Who uses a screen reader, a keyboard or a telephone can answer; the page loads nothing but itself."""
    page = tmp_path / "page.html"
    page.write_text(render_consent_screen(POLICY, FACTS, locale, ROUTE.purposes), encoding="utf-8")
    with chromium.chromium(tmp_path / "profile") as shown:
        for width in (390, 1280):
            shown.show(width=width)
            shown.open(page.as_uri())
            assert shown.requested() == [page.as_uri()]
            assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert axe.violations(shown) == []


@pytest.mark.parametrize("locale", Locale)
@pytest.mark.parametrize("clause", Clause)
def test_a_dropped_clause_is_missing(eyes: Eyes, clause: Clause, locale: Locale) -> None:
    """Each clause, in each language: the screen of March 2019."""
    whole = page_in(locale)
    seen = eyes.read(whole.replace(clause_element(clause, locale), ""))
    assert clauses_present(seen, EXPECTED[locale]) == frozenset(Clause) - {clause}
    assert findings(seen, EXPECTED[locale]) == (ScreenFinding.CLAUSE_MISSING,)


@pytest.mark.parametrize("clause", Clause)
def test_a_clause_with_one_other_character_is_missing(eyes: Eyes, clause: Clause) -> None:
    """The last full stop of a clause becomes something else; the hash changes with it."""
    element = clause_element(clause)
    seen = eyes.read(PAGE.replace(element, element.replace(".</p>", ",</p>")))
    assert clauses_present(seen, EXPECTED[Locale.EN]) == frozenset(Clause) - {clause}
    assert seen.sha256 != read_page(render_consent_screen(POLICY, FACTS, Locale.EN, ROUTE.purposes)).sha256


HIDING = {
    "display": "display: none",
    "visibility": "visibility: hidden",
    "opacity": "opacity: 0.01",
    "colour": "color: #fbfaf7",
    "nearly the ground's colour": "color: #f0efe9",
    "transparent": "color: rgba(0, 0, 0, 0.02)",
    "tiny": "font-size: 1px",
    "no height": "height: 0; overflow: hidden",
    "one line of it": "height: 1.7rem; overflow: hidden; width: 20rem",
    "off the page": "position: absolute; left: -9999px",
    "indented away": "text-indent: -9999px; overflow: hidden",
    "clip path": "clip-path: inset(50%)",
    "clip": "position: absolute; clip: rect(0, 0, 0, 0)",
    "shrunk": "transform: scale(0)",
    "blurred": "filter: blur(8px)",
    "content visibility": "content-visibility: hidden",
}


@pytest.mark.parametrize("style", HIDING.values(), ids=HIDING.keys())
def test_a_clause_that_nobody_can_see_does_not_count(eyes: Eyes, style: str) -> None:
    """It is in the page, and hidden by a style of its own."""
    hidden = clause_element(Clause.BAND_ABOUT_YOU).replace("<p ", f'<p style="{style}" ')
    seen = eyes.read(PAGE.replace(clause_element(Clause.BAND_ABOUT_YOU), hidden))
    assert Clause.BAND_ABOUT_YOU not in clauses_present(seen, EXPECTED[Locale.EN])


AROUND = {
    "folded": ("<details><summary>More</summary>", "</details>"),
    "closed dialog": ("<dialog>", "</dialog>"),
    "hidden attribute": ("<div hidden>", "</div>"),
    "scrolled box": ('<div style="height: 2rem; overflow: auto; width: 12rem">', "</div>"),
    "covered": (
        '<div style="position: relative">',
        '<div style="position: absolute; inset: 0; background: #fbfaf7"></div></div>',
    ),
}


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND.keys())
def test_a_clause_inside_something_that_hides_it_does_not_count(eyes: Eyes, around: tuple[str, str]) -> None:
    """Folded away, in a box with a bar to scroll, under something else."""
    element = clause_element(Clause.NO_SELECTION_USE)
    seen = eyes.read(PAGE.replace(element, around[0] + element + around[1]))
    assert Clause.NO_SELECTION_USE not in clauses_present(seen, EXPECTED[Locale.EN])


def test_a_style_for_narrow_screens_is_found_on_narrow_screens(eyes: Eyes) -> None:
    """At a desk everything is there; on a telephone a clause is not."""
    page = PAGE.replace(
        "</style>", "@media (max-width: 30rem) { [data-clause=C08] { display: none } }</style>"
    )
    missing = {
        device: frozenset(Clause) - clauses_present(eyes.read(page, device), EXPECTED[Locale.EN])
        for device in Device
    }
    assert missing == {Device.DESKTOP: frozenset(), Device.MOBILE: {Clause.REFUSAL_IS_FREE}}


FORM = '<form method="post" action="answer" data-purpose="score.offer_followup">'
PUSHING = {
    "ticked box": (FORM, f'{FORM}<input type="checkbox" name="agree" checked>', ScreenFinding.PRECHECKED),
    "ticked radio": (FORM, f'{FORM}<input type="radio" name="agree" checked>', ScreenFinding.PRECHECKED),
    "chosen option": (
        FORM,
        f"{FORM}<select name=a><option value=''>-</option><option value=yes selected>yes</option></select>",
        ScreenFinding.PRECHECKED,
    ),
    "box made of something else": (
        FORM,
        f'{FORM}<div role="checkbox" aria-checked="true">agree</div>',
        ScreenFinding.PRECHECKED,
    ),
    "apply in the form": (
        FORM,
        f'{FORM}<button type="submit" name="action" value="send">Apply now</button>',
        ScreenFinding.BUNDLED,
    ),
    "apply beside the form": (FORM, f"<button>応募する</button>{FORM}", ScreenFinding.BUNDLED),
    "apply as a link": (FORM, f'<a href="#">Apply to this company</a>{FORM}', ScreenFinding.BUNDLED),
    "a field in the form": (FORM, f'{FORM}<input name="motivation">', ScreenFinding.BUNDLED),
    "two boxes in a form": (
        FORM,
        f'{FORM}<input type="checkbox"><input type="checkbox">',
        ScreenFinding.BUNDLED,
    ),
    "no refusal": (' value="refuse"', ' value="no" disabled hidden', ScreenFinding.CHOICE_UNEQUAL),
    "small refusal": (
        ' value="refuse"',
        ' value="refuse" style="font-size: 10px"',
        ScreenFinding.CHOICE_UNEQUAL,
    ),
    "pale refusal": (' value="refuse"', ' value="refuse" style="opacity: 0.6"', ScreenFinding.CHOICE_UNEQUAL),
    "loud consent": (
        ' value="give"',
        ' value="give" style="background: #cfe0ff"',
        ScreenFinding.CHOICE_UNEQUAL,
    ),
    "picture": (FORM, f'<img alt="" width="200" height="100">{FORM}', ScreenFinding.UNREADABLE),
    "drawing": (FORM, f'<svg width="9" height="9"></svg>{FORM}', ScreenFinding.UNREADABLE),
    "style that writes": (
        "</style>",
        "h1::after { content: 'unless we decide otherwise' }</style>",
        ScreenFinding.UNREADABLE,
    ),
    "other words of the purpose": ("follow-up staff", "staff", ScreenFinding.WRONG_PURPOSE),
    "one purpose more": (
        FORM,
        f'<form data-purpose="train.decline_model"></form>{FORM}',
        ScreenFinding.WRONG_PURPOSE,
    ),
}


@pytest.mark.parametrize(("old", "new", "found"), PUSHING.values(), ids=PUSHING.keys())
def test_whatever_pushes_or_cannot_be_read_is_a_finding(
    eyes: Eyes, old: str, new: str, found: ScreenFinding
) -> None:
    """Ticked beforehand, bundled with something else, harder to refuse, drawn instead of written."""
    assert old in PAGE
    assert found in findings(eyes.read(PAGE.replace(old, new)), EXPECTED[Locale.EN])


def test_an_unticked_box_is_no_finding(eyes: Eyes) -> None:
    """A box for the consent itself, left to her."""
    page = PAGE.replace(FORM, f'{FORM}<label><input type="checkbox" name="agree">I agree</label>')
    assert findings(eyes.read(page), EXPECTED[Locale.EN]) == ()


def test_a_script_on_the_page_cannot_fool_the_reading(eyes: Eyes) -> None:
    """It replaces what the page's own world has; the reading runs in another."""
    fooling = """<script>
      Element.prototype.checkVisibility = () => true;
      Object.defineProperty(HTMLElement.prototype, "innerText", { get() { return "all is well" } });
      window.getComputedStyle = () => ({});
    </script></head>"""
    dropped = PAGE.replace(clause_element(Clause.RETENTION), "").replace("</head>", fooling)
    seen = eyes.read(dropped)
    assert Clause.RETENTION not in clauses_present(seen, EXPECTED[Locale.EN])
    assert "all is well" not in seen.text


@dataclass(frozen=True, slots=True)
class Stores:
    book: PolicyBook
    register: ScreenRegister

    def into(self) -> crawler.Into:
        return crawler.Into(self.book, self.register, clock=lambda: NOW)


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    book, register = PolicyBook.open(tmp_path), ScreenRegister.open(tmp_path)
    book.add(POLICY, at=NOW)
    book.set_notices([FACTS], at=NOW)
    yield Stores(book, register)
    register.close()
    book.close()


def test_a_crawl_of_our_own_pages_registers_every_screen(stores: Stores) -> None:
    """Two routes, two languages, two widths; verified by their own words, then verified again by looking."""
    result = crawler.crawl_own(stores.into(), POLICY)
    assert (len(result.screens), result.unplaced, result.unreadable, result.others) == (8, (), (), 0)
    assert {screen.state for screen in result.screens} == {ScreenState.DISCOVERED}
    assert len({(s.place.route, s.place.locale, s.place.device) for s in result.screens}) == 8
    stores.register.verify({screen.sha256 for screen in result.screens}, at=NOW)
    assert {screen.state for screen in stores.register.versions()} == {ScreenState.VERIFIED}


def test_a_crawl_of_a_site_follows_its_own_links_only(site: Site, stores: Stores) -> None:
    """Consent screens are registered, others counted, other origins and lost pages left alone."""
    site.pages.clear()
    site.put('<a href="/consent">a</a><a href="/broken">b</a><a href="http://127.0.0.1:1/">c</a>', "/")
    site.put(PAGE, "/consent")
    site.put(PAGE.replace('data-company="acme"', 'data-company="nobody"'), "/foreign")
    site.put(PAGE.replace("</h1>", '</h1><a href="/foreign">d</a>'), "/consent")
    result = crawler.crawl_urls(stores.into(), [site.origin + "/"], follow=True)
    assert result.others == len(Device)
    assert result.unreadable == (site.origin + "/broken",)
    assert result.unplaced == (site.origin + "/foreign",)
    assert {screen.place.device for screen in result.screens} == set(Device)
    assert {screen.findings for screen in result.screens} == {()}
    assert {language for path, language in site.asked if path == "/consent"} == {"ja", "en"}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_page_reaches_no_other_origin(site: Site, host: str) -> None:
    """Pictures, requests and redirections to another port or name are refused before they leave."""
    with serving() as other, browser(Sight(frozenset({site.origin}), {})) as opened:
        elsewhere = other.origin.replace("127.0.0.1", host)
        other.put("x")
        url = site.put(f'<img src="{elsewhere}/spy.png"><script>fetch("{elsewhere}/spy")</script>x')
        site.pages["/away"] = (302, f"{elsewhere}/page".encode())
        opened.show(url, device=Device.DESKTOP, languages="en")
        for refused in (f"{site.origin}/away", f"{elsewhere}/page"):
            with pytest.raises(DataError):
                opened.show(refused, device=Device.DESKTOP, languages="en")
        assert other.asked == []


@pytest.mark.parametrize(
    "url",
    ["http://example.com/", "file:///etc/passwd", "ftp://127.0.0.1/", "http://127.0.0.1.example.com/", "x"],
)
def test_only_https_or_loopback_is_looked_at(stores: Stores, url: str) -> None:
    """Nothing is started for another address."""
    with pytest.raises(DataError):
        crawler.crawl_urls(stores.into(), [url])


def test_pages_and_time_are_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """More links than allowed, a page that is too large, and one that never rests."""
    site.pages.clear()
    site.put("".join(f'<a href="/{n}">x</a>' for n in range(9)), "/")
    for n in range(9):
        site.put("x", f"/{n}")
    sight = Sight(frozenset({site.origin}), {})
    limits = crawler.Limits(pages=3, seconds=60)
    with pytest.raises(DataError, match="at most 3 pages"):
        list(crawler.visit([site.origin + "/"], sight=sight, follow=True, limits=limits))
    monkeypatch.setattr(browser_module, "MAX_PAGE_BYTES", 1000)
    assert list(crawler.visit([site.put("x" * 2000)], sight=sight)) == [site.origin + "/page"]
    monkeypatch.setattr(browser_module, "PAGE_SECONDS", 2.0)
    busy = site.put("<script>while (true) {}</script>")
    assert list(crawler.visit([busy], sight=sight)) == [busy]


def _commands() -> str:
    """The command lines of everything that runs."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            found.append(path.read_bytes().decode(errors="replace"))
    return "\n".join(found)


def test_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Browser and profile are gone, also after an error inside."""
    with tempfile.TemporaryDirectory() as place:  # a short path, since the browser makes a socket there
        monkeypatch.setattr("tempfile.tempdir", place)
        with pytest.raises(RuntimeError), browser(Sight(frozenset(), {})):  # noqa: PT012 (what is inside counts)
            [profile] = Path(place).iterdir()
            assert profile.stat().st_mode & 0o777 == 0o700
            assert place in _commands()
            raise RuntimeError
        assert list(Path(place).iterdir()) == []
        assert place not in _commands()


def test_without_a_browser_the_error_says_how_to_get_one() -> None:
    """A stable code, and the command."""
    missing = browser(Sight(frozenset(), {}), program="no-such-chromium")
    with pytest.raises(ConfigurationError, match="apt-get install -y chromium") as refused, missing:
        pass
    assert refused.value.code == "CHROMIUM_MISSING"
