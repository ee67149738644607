"""After a small season: the pages of one company, the operator and the students, open until Ctrl-C.

What a terminal would hand to each person (a link, a name, a code) is written out here in one place, because
here one person plays all of them. Names of students are generated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from noren_demo.parties import PLATFORM, PagesProcess, SeparateProcesses
from noren_demo.people import POSITION, Choice
from noren_demo.rights_story import ADMIN, DECIDER, FOLLOW_UP, PRIVACY_CONTACT
from noren_demo.season import Season
from noren_local.private_file import write_private

OPERATOR = "operator"
_MEMBERS = (FOLLOW_UP, DECIDER, PRIVACY_CONTACT, ADMIN)


@dataclass(frozen=True, slots=True)
class OpenPages:
    """Where the pages are, and what somebody needs to come in.

    Attributes:
        company: whose pages.
        pages: where they are served; its link works once, and another can be had.
        codes: the access code of each member of the company's staff.
        offered: an applicant with an offer, as the company looks her up, of whom there is a band.
        console_link: where the operator joins.
        console_code: for the first sign-in; then password and a second factor of her own.
        job_site: a page that stands in for the job site's own: its buttons bring a student to her pages.
    """

    company: str
    pages: PagesProcess
    codes: dict[str, str]
    offered: str
    console_link: str
    console_code: str
    job_site: Path

    def lines(self) -> list[str]:
        """What is said on the terminal."""
        width = max(len(member) for member in self.codes)
        return [
            "",
            f"1. {self.company}, a company. Open the link (it works once), sign in by name and code:",
            f"   {self.pages.link}",
            *(f"   {member:<{width}}  {code}" for member, code in self.codes.items()),
            f"   Sign in as {FOLLOW_UP}, choose Follow-up, and look at the first scored person:",
            f"   {self.offered}",
            "2. The platform's operator. Open, follow 'I have a one-time code', and join by name and code:",
            f"   {self.console_link}",
            f"   {OPERATOR}  {self.console_code}",
            "3. Students. Open this file, which stands in for the job site's pages; your browser will say",
            "   that it does not know the certificate, which this season made for itself:",
            f"   {self.job_site}",
            "",
            "Links work once, within five minutes. Enter: another link to the company. Ctrl-C: the end.",
        ]


def open_pages(season: Season, parties: SeparateProcesses, scored: Sequence[str]) -> OpenPages:
    """Start the pages of the first company that could score, and of the platform."""
    company, places = scored[0], season.places
    pages = parties.start_pages(company, "noren-company", places.company(company), "open", "--no-browser")
    console = parties.start_pages(PLATFORM, "noren-platform", places.platform, "console", "serve")
    joined = parties.platform("console", "add-person", OPERATOR, "--roles", "administrator")
    offered = season.story.somebody_who(Choice.GIVES, [company]).identifier
    job_site = places.root / "job-site.html"
    write_private(job_site, _job_site(season, parties, company).encode())
    return OpenPages(
        company=company,
        pages=pages,
        codes={
            member: places.passphrase(f"{company}-{member}").read_text(encoding="utf-8").strip()
            for member in _MEMBERS
        },
        offered=offered,
        console_link=console.link,
        console_code=joined["code"],
        job_site=job_site,
    )


def _job_site(season: Season, parties: SeparateProcesses, company: str) -> str:
    """Stands in for the site's own pages: a form for each of two students, with the code of her login."""
    fixed = {"lang": "ja", "company": company, "position": POSITION, "season": season.data.score_seasons[0]}
    forms = []
    for choice, words in ((Choice.GIVES, "consented"), (Choice.WITHDRAWS, "consented and withdrew")):
        student = season.story.somebody_who(choice, [company]).student
        fields = fixed | {"code": parties.platform("rights", "account-code", student)["code"]}
        hidden = "".join(f'<input type="hidden" name="{k}" value="{escape(v)}">' for k, v in fields.items())
        forms.append(
            f'<form method="post" action="{escape(season.story.students_address())}/arrive">{hidden}'
            f"<p><button>Go on as a student who {words}</button></p></form>"
        )
    title = "A job site"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><h1>{title}</h1>'
        f"<p>Each button works once, as a login does.</p>{''.join(forms)}</html>"
    )
