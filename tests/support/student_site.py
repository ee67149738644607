"""The students' pages on a loopback port, and a job site on another one that hands students over.

with student_pages(tmp_path) as site:
    site.arrive(browser, "aiko", company="akane", position="engineer", season="2027", route="consent-score")
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs

from student_http import COMPANY, RealClock, StudentsPlatform, students_platform
from visitor import Visitor

from noren_server.student_pages.student_site import student_site
from noren_web.serving import bound, served, server_of


@dataclass
class JobSite:
    """What stands in for the job site: a page for whoever is signed in there, with a button to our pages.

    `sends` are the fields that its form has besides the code; a test sets them.
    """

    platform: StudentsPlatform
    to: str
    sends: dict[str, str] = field(default_factory=dict)

    async def __call__(self, scope: Mapping, receive: object, send) -> None:  # type: ignore[type-arg, no-untyped-def]
        student = parse_qs(scope["query_string"].decode()).get("student", ["nobody"])[0]
        fields = {"code": self.platform.services.codes.issue(student), **self.sends}
        inputs = "".join(
            f'<input type="hidden" name="{name}" value="{html.escape(value)}">'
            for name, value in fields.items()
        )
        body = (
            '<!doctype html><html lang="en"><title>Jobs</title>'
            f'<form method="post" action="{self.to}/arrive">{inputs}'
            "<button>My consents and data</button></form></html>"
        )
        headers = [(b"content-type", b"text/html; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body.encode()})


@dataclass
class ServedSite:
    """Both sites, and the platform behind them."""

    platform: StudentsPlatform
    base: str
    jobs: JobSite
    jobs_base: str

    def arrive(self, visit: Visitor, student: str, **sends: str) -> None:
        """Come over from the job site, as this student; `sends` is what it asks her about."""
        self.jobs.sends = sends
        visit.browser.open(f"{self.jobs_base}/?student={student}")
        visit.click("button")
        visit.open(visit.path())  # what the job site loaded is none of ours


@contextmanager
def student_pages(directory: Path) -> Iterator[ServedSite]:
    """Everything until the end of the block; the job site is another site for the browser (localhost)."""
    with ExitStack() as stack:
        platform = stack.enter_context(
            students_platform(directory, notices=(COMPANY, "beni"), clock=RealClock())
        )
        listening, jobs_listening = bound("127.0.0.1", 0), bound("127.0.0.1", 0)
        host = f"127.0.0.1:{listening.getsockname()[1]}"
        pages = student_site(platform.platform, platform.services, hosts=frozenset({host}), is_tls=False)
        stack.enter_context(served(server_of(pages), listening, name="students"))
        jobs = JobSite(platform, f"http://{host}")
        port = stack.enter_context(served(server_of(jobs), jobs_listening, name="jobs"))
        yield ServedSite(platform, f"http://{host}", jobs, f"http://localhost:{port}")
