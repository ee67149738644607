"""The kit's parts in a browser: drawn, reachable, and without anything that its own policy forbids."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from chromium import Chromium
from sample_site.pages import sample_site
from visitor import Visitor, check_page

from noren_web.serving import bound, served, server_of
from noren_web.site import build_site


@pytest.fixture
def visit(browser: Chromium) -> Iterator[Visitor]:
    """Somebody at the sample site."""
    listening: socket.socket = bound("127.0.0.1", 0)
    host = f"127.0.0.1:{listening.getsockname()[1]}"
    app = build_site(sample_site(lambda: int(time.time()), hosts=frozenset({host})))
    with served(server_of(app), listening, name="sample"):
        yield Visitor(browser, f"http://{host}")


@pytest.mark.parametrize("language", ["en", "ja"])
def test_one_of_everything(visit: Visitor, language: str) -> None:
    """Nothing for axe to find, in both schemes and languages."""
    visit.open(f"/?lang={language}")
    check_page(visit, "kit")


def test_a_chart_is_drawn_beside_its_table(visit: Visitor) -> None:
    """By ECharts from our own host; the table is there whether or not it is."""
    visit.open("/")
    visit.browser.evaluate(
        "new Promise(done => { const look = () => document.querySelector('canvas') ? done() :"
        " requestAnimationFrame(look); look(); })"
    )
    assert visit.browser.complaints() == []
    visit.browser.run_scripts(enabled=False)
    visit.open("/")
    assert visit.browser.evaluate("document.querySelector('canvas')") is None
    assert "0.3" in visit.text()


def test_a_form_works_without_scripts(visit: Visitor) -> None:
    """It is sent, verified, and answered with a notice."""
    visit.browser.run_scripts(enabled=False)
    visit.open("/")
    visit.fill("#words", "hello")
    visit.click("form[action='/say'] button.primary")
    assert visit.path() == "/"
    assert "Said: hello" in visit.text()
