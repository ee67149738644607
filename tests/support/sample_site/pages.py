"""Its handlers: they show, take, fail and work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response

from noren_core.errors import LocalProtocolError
from noren_web.access import allow
from noren_web.charts import Chart, ChartKind, Series
from noren_web.localhost_entry import OneTimeEntry
from noren_web.pages import download, page, redirect
from noren_web.posted_form import Posted
from noren_web.sessions import sign_in, sign_out
from noren_web.site import Link, Site
from noren_web.translations import lazy as _

HOST = "site.example:1234"
CHART = Chart(
    ChartKind.LINE,
    title="Spent",
    across="Round",
    labels=("1", "2", "3"),
    series=(Series("spent", (0.1, None, 0.3)), Series("planned", (0.2, 0.3, 0.4))),
    unit="ε",
    limit=("limit", 1.0),
)

router = APIRouter()


@dataclass(frozen=True)
class Guest:
    """Somebody."""

    name: str
    roles: frozenset[str] = frozenset()


@router.get("/", dependencies=[allow(public=True)])
def front(request: Request) -> Response:
    """The page with one of everything."""
    return page(request, "front.html", said=request.app.state.desk.get("said", ""), chart=CHART)


@router.post("/say", dependencies=[allow(public=True)])
def say(request: Request, form: Posted) -> Response:
    """Takes words and perhaps a file."""
    request.app.state.desk["said"] = form.text("words", most=10)
    if form.has_file("file"):
        request.app.state.desk["file"] = form.file("file", most_bytes=100)
    return redirect(request, "/", notice=_("Said: {words}").format(words=form.text("words")))


@router.get("/members", dependencies=[allow()])
def members(request: Request) -> Response:
    """For anybody who is signed in."""
    return front(request)


@router.get("/keepers", dependencies=[allow("keeper", fresh=True)])
def keepers(request: Request) -> Response:
    """For one role, with a fresh sign-in."""
    return front(request)


@router.get("/broken", dependencies=[allow(public=True)])
def broken() -> Response:
    """Ends with an error that nobody expected."""
    raise RuntimeError("taro@example.com")


@router.get("/refused", dependencies=[allow(public=True)])
def refused() -> Response:
    """Ends with an error of ours."""
    raise LocalProtocolError("expected <order>, got none", code="SERVICE_SUSPENDED")


@router.get("/file", dependencies=[allow(public=True)])
def file() -> Response:
    """A download."""
    return download(b"a,b\n", name="rows.csv", media_type="text/csv")


@router.get("/sign-in", dependencies=[allow(public=True)])
def signing_in(request: Request) -> Response:
    """The form to sign in."""
    return front(request)


@router.post("/sign-in", dependencies=[allow(public=True)])
def signed_in(request: Request, form: Posted) -> Response:
    """Whoever says who she is, is."""
    wanted = request.state.session.wanted
    sign_in(request, Guest(form.text("name"), frozenset(form.many("role"))))
    return redirect(request, wanted or "/")


@router.post("/sign-out", dependencies=[allow()])
def signed_out(request: Request, form: Posted) -> Response:
    """And is not any more."""
    del form
    sign_out(request)
    return redirect(request, "/")


@router.post("/handed-over", dependencies=[allow(public=True)])
def handed_over(request: Request, form: Posted) -> Response:
    """What another site posts."""
    return redirect(request, "/", notice=form.text("words"))


def sample_site(
    clock: Any, *, entry: OneTimeEntry | None = None, is_tls: bool = False, **changes: Any
) -> Site:
    """The site, for `build_site`."""
    values: dict[str, Any] = {
        "key": "sample",
        "title": _("Sample"),
        "package": "sample_site",
        "routers": [router],
        "navigation": [Link("/members", _("Front")), Link("/keepers", _("Keepers"))],
        "hosts": frozenset({HOST}),
        "clock": clock,
        "desk": {},
        "is_tls": is_tls,
        "entry": entry,
        "max_body_bytes": 4096,
        "cross_site_posts": frozenset({"/handed-over"}),
    }
    return Site(**(values | changes))
