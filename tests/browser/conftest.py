"""A browser for the tests of pages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from chromium import Chromium, chromium


@pytest.fixture(scope="session")
def _only_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        browser.trust_every_certificate()
        yield browser


@pytest.fixture
def browser(_only_browser: Chromium) -> Iterator[Chromium]:
    """Chromium as a new visitor: without cookies, with scripts."""
    _only_browser.forget_cookies()
    _only_browser.run_scripts(enabled=True)
    _only_browser.show(width=1100)
    yield _only_browser
    _only_browser.open("about:blank")
