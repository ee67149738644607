"""Coming in from the job site, and leaving again.

Promises: nobody comes in without a one-time code that the job site's login issued for exactly one account
(`AccountCodes`); a code works once; who came in gets a new cookie. What she was sent here for is remembered
for her session alone. No account id is in an address.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from noren_core import ids
from noren_core.rights.locales import Locale
from noren_server.student_pages.student_desk import STUDENT, Student, StudentDesk, desk_of
from noren_web.access import allow
from noren_web.pages import page, redirect
from noren_web.posted_form import Posted, PostedForm
from noren_web.sessions import sign_in, sign_out

ARRIVAL_PATH = "/arrive"
"""Where the job site's own page posts to."""

MAX_TOKEN_CHARACTERS = 1024

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Asked:
    """What she is asked about: one company, position and season; `route` is empty until one is chosen."""

    company: str
    position: str
    season: str
    route: str


@router.post(ARRIVAL_PATH, dependencies=[allow(public=True)])
def arrive(request: Request, form: Posted) -> Response:
    """Take a code from the job site.

    1. Not one too many from there.
    2. What she is sent here for, if that is said, is well formed.
    3. The code is used up; whose it is, it says.
    4. Her session, under a new cookie.
    """
    desk = desk_of(request)
    desk.arrivals.count(request.client.host if request.client is not None else "")  # 1
    asked = _asked(desk, form)  # 2
    language = form.text("lang", most=2, default="")
    student = desk.services.codes.redeem(form.text("code", most=128))  # 3
    sign_in(request, Student(student))  # 4
    session = request.state.session
    if language in list(Locale):
        session.locale = language
    if asked is not None:
        session.data["asked"] = asked
        return redirect(request, "/consent")
    wanted, session.wanted = session.wanted, ""
    return redirect(request, wanted or "/")


@router.get("/link-offers/{token}", dependencies=[allow(STUDENT)])
def link_offer(request: Request, token: str) -> Response:
    """A company's printed link: it opens the question about its position and does nothing else."""
    offer = desk_of(request).services.offers.open(token)
    request.state.session.data["asked"] = Asked(offer.company, offer.position, offer.season, "")
    return redirect(request, "/consent")


@router.get("/sign-in", dependencies=[allow(public=True)])
def sign_in_page(request: Request) -> Response:
    """Where to come from."""
    return page(request, "student/sign_in.html", again=False)


@router.get("/sign-in/again", dependencies=[allow(public=True)])
def sign_in_again(request: Request) -> Response:
    """For what needs a sign-in of the last minutes."""
    return page(request, "student/sign_in.html", again=True)


@router.post("/sign-out", dependencies=[allow(STUDENT)])
def leave(request: Request, form: Posted) -> Response:
    """End the session."""
    del form
    sign_out(request)
    return redirect(request, "/sign-in")


def _asked(desk: StudentDesk, form: PostedForm) -> Asked | None:
    """What the job site sends her here for: a company's link offer, or the place of a notice; or nothing."""
    token = form.text("offer", most=MAX_TOKEN_CHARACTERS, default="")
    if token:
        offer = desk.services.offers.open(token)
        return Asked(offer.company, offer.position, offer.season, "")
    names = ("company", "position", "season")
    found = [form.text(name, most=64, default="") for name in names]
    if not any(found):
        return None
    company, position, season = (
        ids.parse_name(value, name) for name, value in zip(names, found, strict=True)
    )
    route = form.text("route", most=64, default="")
    return Asked(company, position, season, route and ids.parse_name(route, "route"))
