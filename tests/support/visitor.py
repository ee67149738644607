"""Somebody at a browser, on one of our sites, and what every page of ours must be.

With NOREN_PICTURES=1 in the environment `check_page` also writes its picture to docs/images/pages/.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import axe
from chromium import Chromium

PICTURES = Path(__file__).parents[2] / "docs" / "images" / "pages"
_OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
WIDE, PHONE, NARROWEST = 1100, 390, 360


@dataclass(frozen=True)
class Visitor:
    """One person at one site."""

    browser: Chromium
    base: str

    def open(self, path: str) -> None:
        """Load a page by its path."""
        self.browser.open(self.base + path)

    def click(self, selector: str) -> None:
        """Click a link or a button, and wait for the page that follows."""
        self.browser.follow(selector)

    def fill(self, selector: str, text: str) -> None:
        """Type into a field, or choose in a list."""
        item = f"document.querySelector({json.dumps(selector)})"
        script = (
            f"(item => {{ if (item === null) return false; item.value = {json.dumps(text)};"
            " item.dispatchEvent(new Event('input', {bubbles: true}));"
            " item.dispatchEvent(new Event('change', {bubbles: true})); return item.value === "
            f"{json.dumps(text)}; }})({item})"
        )
        assert self.browser.evaluate(script), f"nothing to fill with this: {selector}"

    def tick(self, selector: str) -> None:
        """Tick a box, or choose one of several."""
        self.browser.click(selector)

    def upload(self, selector: str, file: Path) -> None:
        """Choose a file."""
        self.browser.upload(selector, file)

    def text(self) -> str:
        """What can be read in the page."""
        return str(self.browser.evaluate("document.body.innerText"))

    def path(self) -> str:
        """Where she is."""
        return urlsplit(str(self.browser.evaluate("location.href"))).path

    def language(self, language: str) -> None:
        """The same page in another language."""
        self.open(f"{self.path()}?lang={language}")


def check_page(visitor: Visitor, picture: str, *, width: int = WIDE) -> None:
    """Assert what holds for every page, in the state and language in which it stands open.

    axe finds nothing in light and in dark, nothing is wider than a small phone, every request went to the
    site itself, the content-security policy stopped nothing, and the language is declared.

    Args:
        visitor: at the page, which has just been loaded.
        picture: the name of its picture, such as `company-import-preview`.
        width: of the window in the picture; `PHONE` for students' pages.
    """
    browser = visitor.browser
    language = browser.evaluate("document.documentElement.lang")
    assert language in {"ja", "en"}
    requested = {urlsplit(url)[:2] for url in browser.requested() if not url.startswith(("data:", "about:"))}
    assert requested <= {urlsplit(visitor.base)[:2]}, requested
    complaints = [text for text in browser.complaints() if "status of 4" not in text]
    assert complaints == [], complaints
    for scheme in ("dark", "light"):
        browser.show(scheme=scheme, width=NARROWEST)
        overflow = browser.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert overflow <= 0, f"{picture}: {overflow} px wider than a phone"
        browser.show(scheme=scheme, width=width)
        found = axe.violations(browser)
        assert found == [], (picture, language, scheme, found)
    if os.environ.get("NOREN_PICTURES"):
        PICTURES.mkdir(parents=True, exist_ok=True)
        (PICTURES / f"{picture}-{language}.webp").write_bytes(browser.picture())
