"""Looking at consent screens with a browser, and writing down in the register what it really shows.

docs/rights/policies-and-screens.md §4. Promises: every page is looked at as a telephone and as a desk shows
it, in each language; only the given origins are visited, and links only within them; number of pages, time
and size are bounded; what cannot be placed, since it belongs to no policy, company and position that the
platform knows, is reported and never registered. Pages on the network are read over https, or http on
loopback.
"""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from time import monotonic
from urllib.parse import urldefrag, urlsplit

from noren_core.errors import DataError, LocalProtocolError, NorenError
from noren_core.rights.locales import Locale
from noren_core.rights.notices.policy import PolicyVersion
from noren_core.rights.notices.screen import Device, PageReading, ScreenPlace, ScreenVersion
from noren_server.policies import consent_screen
from noren_server.policies.activation import own_screens, unretired
from noren_server.policies.browser import Browser, Sight, browser, origin_of
from noren_server.policies.policy_book import PolicyBook
from noren_server.policies.screen_register import VALID_SECONDS, ScreenRegister

OWN_ORIGIN = "https://consent.invalid"
"""Under which our own pages are answered from memory; the name is reserved and resolves nowhere."""

MAX_PAGES = 5000
MAX_SECONDS = 3600.0
_MAX_LINKS = 500
_LINKS = f"""
[...document.querySelectorAll("a[href]:not([download])")].slice(0, {_MAX_LINKS}).map(item => item.href)
"""


@dataclass(frozen=True, slots=True)
class Visit:
    """One page at one width, as the browser showed it."""

    url: str
    device: Device
    reading: PageReading


@dataclass(frozen=True, slots=True)
class CrawlResult:
    """What came of a crawl.

    Attributes:
        screens: the consent screens, as the register has them now.
        unplaced: addresses of consent screens that belong to nothing the platform knows.
        unreadable: addresses that gave no page, or one that could not be read.
        others: how many pages asked for no consent.
    """

    screens: tuple[ScreenVersion, ...]
    unplaced: tuple[str, ...]
    unreadable: tuple[str, ...]
    others: int


@dataclass(frozen=True, slots=True)
class Limits:
    """How far one crawl goes."""

    pages: int = MAX_PAGES
    seconds: float = MAX_SECONDS


@dataclass(frozen=True, slots=True)
class Into:
    """Where a crawl looks up what screens must say, and writes down what it saw."""

    book: PolicyBook
    register: ScreenRegister
    clock: Callable[[], int]
    valid_seconds: int = VALID_SECONDS


def crawl(
    into: Into,
    urls: Sequence[str] = (),
    *,
    policy: str = "",
    follow: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> CrawlResult:
    """Look at these pages; without any, at our own consent pages.

    Args:
        into: where it is written down.
        urls: of pages.
        policy: whose own pages; those of every version that is not retired, if empty.
        follow: also what the pages link to within the same origins.
        progress: told how many of how many rounds are done.
    """
    if urls:
        return crawl_urls(into, urls, follow=follow)
    versions = [into.book.version(policy)] if policy else unretired(into.book, at=into.clock())
    results = []
    for done, version in enumerate(versions):
        progress(done, len(versions))
        results.append(crawl_own(into, version))
    return CrawlResult(
        screens=tuple(screen for result in results for screen in result.screens),
        unplaced=tuple(url for result in results for url in result.unplaced),
        unreadable=tuple(url for result in results for url in result.unreadable),
        others=sum(result.others for result in results),
    )


def crawl_own(into: Into, version: PolicyVersion) -> CrawlResult:
    """Look at every consent page of ours that shows this version."""
    pages = {own_url(screen.place): screen.html for screen in own_screens(into.book, version)}
    return _register(into, visit(list(pages), sight=Sight(frozenset(), pages)))


def crawl_urls(
    into: Into, urls: Sequence[str], *, follow: bool = False, limits: Limits = Limits()
) -> CrawlResult:
    """Look at these pages, and with `follow` at what they link to within the same origins.

    Raises:
        DataError: for an address that is neither https nor http on loopback.
    """
    for url in urls:
        _verify_url(url)
    sight = Sight(frozenset(map(origin_of, urls)), {})
    return _register(into, visit(urls, sight=sight, follow=follow, limits=limits))


def own_url(place: ScreenPlace) -> str:
    """The address under which the crawler looks at one of our own pages."""
    path = consent_screen.screen_path(place.policy, place.company, place.position, place.route, place.locale)
    return OWN_ORIGIN + path


def visit(
    urls: Sequence[str],
    *,
    sight: Sight,
    follow: bool = False,
    limits: Limits = Limits(),
) -> Iterator[Visit | str]:
    """Every page at every width, in each language; the address alone where there was nothing to read.

    Raises:
        DataError: if there are more pages, or it takes longer, than the limits allow.
        ConfigurationError: with code CHROMIUM_MISSING, if there is no browser.
    """
    waiting, known = deque(urls), set(urls)
    end = monotonic() + limits.seconds
    with browser(sight) as open_browser:
        while waiting:
            if len(known) > limits.pages or monotonic() > end:
                raise DataError(f"crawler: expected at most {limits.pages} pages and its time, got more")
            url = waiting.popleft()
            try:
                for device in Device:
                    yield from _look(open_browser, url, device, is_own=url in sight.pages)
            except DataError:
                yield url
                continue
            for link in _links(open_browser) if follow else ():
                if link not in known and sight.allows(link) and len(known) <= limits.pages:
                    known.add(link)
                    waiting.append(link)


def _look(open_browser: Browser, url: str, device: Device, *, is_own: bool) -> Iterator[Visit]:
    """One width: once for each language that the page may choose by the browser's, unless it is ours."""
    seen = set()
    for locale in (Locale.JA,) if is_own else tuple(Locale):
        open_browser.show(url, device=device, languages=locale.value)
        reading = PageReading.from_body(open_browser.evaluate(_script()))
        if reading.sha256 not in seen:
            seen.add(reading.sha256)
            yield Visit(url, device, reading)


def _links(open_browser: Browser) -> Sequence[str]:
    try:
        found = open_browser.evaluate(_LINKS)
    except DataError:
        return ()
    return [urldefrag(link).url for link in found if isinstance(link, str)]


@lru_cache(maxsize=1)
def _script() -> str:
    return resources.files("noren_server.policies").joinpath("page_reading.js").read_text(encoding="utf-8")


def _register(into: Into, visits: Iterator[Visit | str]) -> CrawlResult:
    screens: list[ScreenVersion] = []
    unplaced, unreadable, others = set(), set(), 0
    for seen in visits:
        if isinstance(seen, str):
            unreadable.add(seen)
        elif not seen.reading.is_consent_screen:
            others += 1
        else:
            try:
                screens.append(_observe(into, seen))
            except NorenError:
                unplaced.add(seen.url)
    return CrawlResult(tuple(screens), tuple(sorted(unplaced)), tuple(sorted(unreadable)), others)


def _observe(into: Into, seen: Visit) -> ScreenVersion:
    """The screen as registered; an error if the page belongs to no policy, company and position of ours."""
    place = seen.reading.place_on(seen.device)
    version, facts = into.book.version(place.policy), into.book.notice(place.company, place.position)
    if place.route not in version.routes:
        raise LocalProtocolError("screen: expected a route of the policy, got another")
    expected = consent_screen.expected_screen(version, facts, place.locale, version.routes[place.route])
    return into.register.observe(
        place, seen.reading, expected, at=into.clock(), valid_seconds=into.valid_seconds
    )


def _verify_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and _is_loopback(parts.hostname or ""):
        return
    raise DataError("crawler: expected an address with https, or http on loopback, got another")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
