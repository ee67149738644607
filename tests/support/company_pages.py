"""A person at the company's pages without a browser: one link, one cookie, forms as the pages gave them."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx import Response

from noren_client.web.site import company_site
from noren_web.localhost_entry import OneTimeEntry

PORT = 8765
HOME = f"http://127.0.0.1:{PORT}"
CODE = "correct horse battery"
_TOKEN = re.compile(r'name="csrf" value="([0-9a-f]{64})"')


class AtDesk:
    """One browser of the company's site."""

    def __init__(self, company_dir: Path, clock: Callable[[], int]) -> None:
        self.entry = OneTimeEntry(clock)
        self.site: FastAPI = company_site(company_dir, port=PORT, entry=self.entry, clock=clock)
        self.client = TestClient(self.site, base_url=HOME, follow_redirects=False)

    def come_in(self) -> Response:
        """Through a one-time link."""
        return self.get(self.entry.new_path())

    def sign_in(self, name: str, code: str = CODE) -> Response:
        """As this member of the staff, after coming in."""
        self.come_in()
        return self.post("/sign-in", "/sign-in", name=name, code=code)

    def get(self, path: str, **headers: str) -> Response:
        """One page, not following where it leads."""
        return self.client.get(path, headers=headers)

    def text(self, path: str) -> str:
        """What a page says; it must be one."""
        answer = self.get(path)
        assert answer.status_code == 200, (path, answer.status_code, answer.text)
        return words_of(answer)

    def post(self, page: str, path: str, /, files: Any = None, **fields: Any) -> Response:
        """A form of this page, with its token."""
        found = _TOKEN.search(self.get(page).text)
        assert found is not None, page
        return self.client.post(
            path, data={"csrf": found[1], **fields}, files=files, headers={"origin": HOME}
        )


def words_of(answer: Response) -> str:
    """The text of a page without its tags, as one line."""
    without = re.sub(r"<(script|style)\b.*?</\1>", " ", answer.text, flags=re.DOTALL)
    return html.unescape(" ".join(re.sub(r"<[^>]*>", " ", without).split()))
