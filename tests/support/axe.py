"""axe-core, the accessibility checker, in a page of a test's browser.

`scripts/test` fetches the pinned release once, to the user's cache; nothing of it is in this repository.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from chromium import Chromium

VERSION = "4.14.1"
_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
_PROGRAM = _CACHE / "noren" / f"axe-core-{VERSION}" / "axe.min.js"
_RUN = """
axe.run().then(result => result.violations.map(found => [found.id, ...found.nodes.map(node => node.html)]))
"""


def violations(browser: Chromium) -> list[list[str]]:
    """What axe objects to in the page that is open: rule and elements; all of its rules are run."""
    if not _PROGRAM.is_file():
        raise AssertionError(f"axe-core {VERSION} is needed for the tests of pages: run scripts/test")
    program = _PROGRAM.read_bytes()
    assert hashlib.sha256(program).hexdigest() == _SHA256, f"{_PROGRAM} is not the release: delete it"
    browser.evaluate(program.decode())
    found: list[Any] = browser.evaluate(_RUN)
    return found
