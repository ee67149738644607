"""The students' pages as a site; `noren-platform serve` has it beside the students' API, on one port.

Promises: every page is behind a session that begins with a one-time code of the job site; what pages do, they
do through the services and operations of the API.
"""

from __future__ import annotations

from fastapi import FastAPI

from noren_server.platform_files import Platform
from noren_server.rights.student_api import StudentServices
from noren_server.student_pages import (
    consent_pages,
    entry_pages,
    holding_pages,
    key_pages,
    notice_pages,
    record_pages,
    request_pages,
    score_pages,
)
from noren_server.student_pages.student_desk import StudentDesk
from noren_web.site import Link, Site, build_site
from noren_web.translations import lazy as _

IDLE_SECONDS = 30 * 60
"""Reading a consent screen takes its time."""

ABSOLUTE_SECONDS = 4 * 3600


def hosts_of(platform: Platform) -> frozenset[str]:
    """What a request to an opened platform may name as its host: its own address, and `student_hosts`."""
    config = platform.config
    return frozenset({f"{config.host}:{config.student_port}".lower(), *config.student_hosts})


def student_site(
    platform: Platform,
    services: StudentServices,
    *,
    hosts: frozenset[str],
    is_tls: bool = True,
) -> FastAPI:
    """The pages of an opened platform.

    Args:
        platform: whose.
        services: its students' side.
        hosts: the names under which students reach it, with the port where it is not the scheme's.
        is_tls: whether browsers reach it by https; without it nothing is signed but on loopback.
    """
    return build_site(
        Site(
            key="student",
            title=_("My consents and data"),
            package="noren_server.student_pages",
            routers=(
                entry_pages.router,
                consent_pages.router,
                record_pages.router,
                key_pages.router,
                score_pages.router,
                holding_pages.router,
                request_pages.router,
                notice_pages.router,
            ),
            navigation=(
                Link("/", _("My consents")),
                Link("/offers", _("My offers")),
                Link("/scores", _("My scores")),
                Link("/holdings", _("Who has what")),
                Link("/requests", _("My requests")),
                Link("/notices", _("Notices")),
                Link("/keys", _("My key")),
            ),
            hosts=hosts,
            clock=services.clock,
            desk=StudentDesk.of(platform, services),
            is_tls=is_tls,
            cross_site_posts=frozenset({entry_pages.ARRIVAL_PATH}),
            idle_seconds=IDLE_SECONDS,
            absolute_seconds=ABSOLUTE_SECONDS,
        )
    )
