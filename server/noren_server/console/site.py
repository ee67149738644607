"""The console as one site: its pages, and what is done around every posted form.

Promises, on every page: somebody whose account changed or ended since she signed in is signed out before
anything is looked at. On every posted form: its record is on disk before the handler begins and how it ended
before the answer leaves (`noren_server.console.trail`); forms of those who are not signed in are counted, by
address and together, and refused when they are too many.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.routing import APIRoute

from noren_core.errors import ConfigurationError, NorenError
from noren_server.console import companies, enrolment, governance, home, operations, people, sign_in
from noren_server.console import trail as trail_records
from noren_server.console.desk import Desk, desk_of, signed_in
from noren_web.access import methods_of
from noren_web.localhost_entry import OneTimeEntry
from noren_web.sessions import sign_out
from noren_web.site import Link, Site, build_site
from noren_web.translations import lazy as _

ROUTERS = (
    home.router,
    sign_in.router,
    enrolment.router,
    companies.router,
    operations.router,
    governance.router,
    people.router,
)
NAVIGATION = (
    Link("/", _("Today")),
    Link("/enrolment", _("Enrolment")),
    Link("/companies", _("Companies")),
    *operations.NAVIGATION,
    *governance.NAVIGATION,
    Link("/people", _("People")),
    Link("/trail", _("Trail")),
    Link("/account", _("My account")),
)


def console_site(desk: Desk, *, hosts: frozenset[str], is_tls: bool, entry: OneTimeEntry | None) -> FastAPI:
    """The site for browsers.

    Args:
        desk: what its pages work with.
        hosts: what a request's Host may say, with the port where it is not the scheme's.
        is_tls: whether it is served over TLS.
        entry: the one-time links without which nobody comes in, for a console without TLS on loopback.
    """
    return build_site(
        Site(
            key="console",
            title=_("Noren console"),
            package="noren_server.console",
            routers=(_framed(ROUTERS),),
            navigation=NAVIGATION,
            hosts=hosts,
            clock=desk.clock,
            desk=desk,
            is_tls=is_tls,
            entry=entry,
        )
    )


def _framed(routers: Sequence[APIRouter]) -> APIRouter:
    """The same routes with what is done around each, in front of what they declare themselves."""
    frame = APIRouter(dependencies=[Depends(_still_there), Depends(_recorded, scope="function")])
    for router in routers:
        for route in router.routes:
            if not isinstance(route, APIRoute):
                raise ConfigurationError("console: expected routers whose routes are pages, got a nested one")
            frame.add_api_route(
                route.path,
                route.endpoint,
                methods=list(methods_of(route)),
                name=route.name,
                dependencies=route.dependencies,
                response_model=None,
            )
    return frame


def _still_there(request: Request) -> None:
    """Sign out whose account is not what it was when she signed in."""
    person = signed_in(request)
    if person is not None and not desk_of(request).accounts.is_current(person.name, person.epoch):
        sign_out(request)


def _recorded(request: Request) -> Iterator[None]:
    """Record a posted form: that it begins, and how it ended."""
    if request.method != "POST":
        yield
        return
    desk, person = desk_of(request), signed_in(request)
    if person is None:
        address = request.client.host if request.client else ""
        desk.by_address.count(address)
        desk.by_all.count("")
    who, action = person.name if person else "", request.scope["route"].path
    request.state.about = request.state.outcome = ""
    begun = desk.trail.begin(who, action) if person else -1
    outcome = ""
    try:
        yield
        outcome = request.state.outcome or trail_records.DONE
    except NorenError as error:
        outcome = error.code
        raise
    except BaseException:
        outcome = "INTERNAL"
        raise
    finally:
        desk.trail.end(who, action, request.state.about, outcome, begun=begun)
