"""The company's site: for this machine only, behind a one-time link, for the people in the register of staff.

Promises: it answers to 127.0.0.1 and localhost at its own port and to no other name; nobody comes in without
a link that the program printed, nor sees more than her roles allow; a session ends after fifteen minutes
without use.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fastapi import FastAPI

from noren_client.web import (
    budget,
    data,
    decisions,
    follow_up,
    home,
    machine,
    rights,
    season,
    sign_in,
    staff,
)
from noren_client.web.desk import Desk
from noren_web.localhost_entry import OneTimeEntry
from noren_web.site import Link, Site, build_site
from noren_web.translations import lazy as _

MAX_BODY_BYTES = 80 << 20
"""Of one form with its files: the largest file that an import takes, and its fields."""
IDLE_SECONDS = 15 * 60

_PAGES = (sign_in, home, data, season, decisions, follow_up, rights, budget, machine, staff)
_NAVIGATION = (
    Link("/", _("Home")),
    Link("/data", _("Data")),
    Link("/season", _("Season")),
    Link("/decisions", _("Decisions")),
    Link("/follow-up", _("Follow-up")),
    Link("/rights", _("Rights")),
    Link("/budget", _("Budget")),
    Link("/machine", _("This machine")),
    Link("/staff", _("Staff")),
)


def company_site(company_dir: Path, *, port: int, entry: OneTimeEntry, clock: Callable[[], int]) -> FastAPI:
    """The site of the company in this directory, to be served on 127.0.0.1 at this port."""
    return build_site(
        Site(
            key="company",
            title=_("Noren at this company"),
            package="noren_client.web",
            routers=[module.router for module in _PAGES],
            navigation=_NAVIGATION,
            hosts=frozenset({f"127.0.0.1:{port}", f"localhost:{port}"}),
            clock=clock,
            desk=Desk(company_dir, clock),
            entry=entry,
            max_body_bytes=MAX_BODY_BYTES,
            idle_seconds=IDLE_SECONDS,
        )
    )
