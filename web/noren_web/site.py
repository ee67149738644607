"""One of our sites: its parts put together, and what stands in front of every page.

Promises, before a handler sees a request: it names a host that is ours; a form comes from our own pages; its
body is bounded; it has a session; where the site asks for a one-time link, the session came through one.
And after it: every answer carries the headers that forbid foreign code, frames and caches, and whatever a
handler raises becomes a page with a code, a sentence and what to do. A site with a route that does not
declare who may come in, or with a form that nobody verifies, is not built.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from noren_core.error_guide import advice
from noren_core.errors import (
    BudgetExceededError,
    ConfigurationError,
    DataError,
    LocalProtocolError,
    NorenError,
    RemoteProtocolError,
    VerificationError,
)
from noren_core.rights.locales import Locale
from noren_web import translations
from noren_web.access import NotSignedInError, allow, declared, methods_of
from noren_web.jobs import Jobs
from noren_web.localhost_entry import ENTRY_PATH, OneTimeEntry
from noren_web.pages import page, template_environment
from noren_web.posted_form import posted_form
from noren_web.sessions import Sessions
from noren_web.translations import Text

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    # not `no-referrer`: with it browsers send `Origin: null` with our own forms (Fetch, request origin)
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
STRICT_TRANSPORT = "max-age=31536000"
MAX_BODY_BYTES = 1 << 20
_METHODS = frozenset({"GET", "HEAD", "POST"})
_STATIC = "/static/"
_STATUS = {
    "BREAK_GLASS_REQUIRED": 403,
    "BUSY": 503,
    "CSRF_REJECTED": 403,
    "CUSTODIAN_UNAVAILABLE": 503,
    "ENTRY_REFUSED": 403,
    "NOT_AVAILABLE": 404,
    "NOT_FOUND": 404,
    "NOT_SIGNED_IN": 401,
    "PLATFORM_UNAVAILABLE": 503,
    "ROLE_FORBIDDEN": 403,
    "SERVICE_SUSPENDED": 423,
    "TOO_MANY_REQUESTS": 429,
}
_FAMILIES: tuple[tuple[type[NorenError], int], ...] = (
    (DataError, 422),
    (VerificationError, 422),
    (LocalProtocolError, 409),
    (BudgetExceededError, 409),
    (RemoteProtocolError, 502),
    (ConfigurationError, 503),
)
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Link:
    """An entry of the navigation; shown to whom its page lets in."""

    path: str
    label: Text


@dataclass(frozen=True, slots=True)
class Site:
    """What a site is made of.

    Attributes:
        key: part of its cookie's name: `company`, `console`, `student`.
        title: its name, at the top of each page.
        package: has `templates/`, `locale/ja/*.po` and perhaps `static/`.
        routers: its pages.
        navigation: the links at the top, in order.
        hosts: what a request's Host may say, port included where it is not the scheme's.
        clock: Unix seconds.
        desk: what its pages work with.
        is_tls: whether it is served over TLS.
        entry: the one-time links without which nobody comes in, if it is for this machine only.
        max_body_bytes: of one form with its files.
        cross_site_posts: paths that another site may post to; their handlers verify who that is.
        idle_seconds, absolute_seconds: when a session ends without use, and in any case.
    """

    key: str
    title: Text
    package: str
    routers: Sequence[APIRouter]
    navigation: Sequence[Link]
    hosts: frozenset[str]
    clock: Callable[[], int]
    desk: Any
    is_tls: bool = False
    entry: OneTimeEntry | None = None
    max_body_bytes: int = MAX_BODY_BYTES
    cross_site_posts: frozenset[str] = frozenset()
    idle_seconds: int = 15 * 60
    absolute_seconds: int = 8 * 3600


def build_site(site: Site) -> FastAPI:
    """The site as an ASGI application; `app.state` has its desk, clock, sessions and jobs.

    Raises:
        ConfigurationError: for a route without a declaration, a form without `Posted`, a navigation entry
            without a page, or a catalogue that cannot be read.
    """
    catalogue = translations.load_catalogue(["noren_web", site.package])
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.site, app.state.desk, app.state.clock = site, site.desk, site.clock
    app.state.sessions = Sessions(site.clock, idle=site.idle_seconds, absolute=site.absolute_seconds)
    app.state.jobs = Jobs(site.clock)
    app.state.cross_site_posts = site.cross_site_posts
    app.state.templates = template_environment([site.package, "noren_web"])
    for router in (*site.routers, _own):
        app.router.routes.extend(router.routes)  # including it would hide its routes from `declared`
    app.state.access = {route.path: access for route, access in declared(app) if "GET" in methods_of(route)}
    _verify_forms(app)
    _verify_navigation(app, site)
    app.mount("/static/kit", StaticFiles(packages=[("noren_web", "static")]))
    if resources.files(site.package).joinpath("static").is_dir():
        app.mount("/static/site", StaticFiles(packages=[(site.package, "static")]))
    app.add_exception_handler(NorenError, _error_page)
    app.add_exception_handler(HTTPException, _http_error_page)
    app.add_exception_handler(RequestValidationError, _http_error_page)
    app.add_middleware(_Gatekeeper, site=site, sessions=app.state.sessions, catalogue=catalogue, owner=app)
    return app


def _verify_forms(app: FastAPI) -> None:
    for route, _ in declared(app):
        if not methods_of(route) <= _METHODS:
            raise ConfigurationError(f"route {route.path}: expected GET or POST only")
        calls = [item.call for item in route.dependant.dependencies]
        if "POST" in methods_of(route) and posted_form not in calls:
            raise ConfigurationError(f"route {route.path}: expected a form that is verified (Posted)")


def _verify_navigation(app: FastAPI, site: Site) -> None:
    missing = [link.path for link in site.navigation if link.path not in app.state.access]
    if missing:
        raise ConfigurationError(f"navigation: expected pages at {', '.join(missing)}, got none")


_own = APIRouter()


@_own.get(ENTRY_PATH, dependencies=[allow(public=True)])
def _enter(request: Request, token: str = "") -> Response:
    """The one-time link: a session that may see pages, under a new cookie."""
    entry: OneTimeEntry | None = request.app.state.site.entry
    if entry is None:
        raise HTTPException(404)
    entry.use_up(token)
    old = request.state.session
    request.app.state.sessions.end(old)
    request.state.new_token, request.state.session = request.app.state.sessions.start(
        entered=True, locale=old.locale
    )
    return RedirectResponse("/", status_code=303)


@_own.get("/jobs/{handle}", dependencies=[allow()])
def _job(request: Request, handle: str) -> Response:
    """How far a piece of work is: the part that a page asks for again, or a page of its own."""
    job = request.app.state.jobs.find(handle, owner=request.state.session.person.name)
    template = "job_part.html" if "hx-request" in request.headers else "job.html"
    return page(request, template, job=job, advice=advice(job.code, _locale()) if job.code else None)


def _locale() -> str:
    return translations.locale().value


def _error_page(request: Request, error: Exception) -> Response:
    if not isinstance(error, NorenError):
        raise TypeError("expected one of our errors") from error
    if isinstance(error, NotSignedInError) and request.method == "GET":
        session = request.state.session
        if "hx-request" not in request.headers:
            session.wanted = request.url.path
        return RedirectResponse("/sign-in/again" if error.again else "/sign-in", status_code=303)
    status = _STATUS.get(error.code) or next(
        (status for family, status in _FAMILIES if isinstance(error, family)), 500
    )
    _LOG.info("page refused: %s", error.code)
    return _told(request, error.code, error.message, status, exit_code=error.exit_code)


def _http_error_page(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 422
    if getattr(request.state, "session", None) is None:  # a file of ours that is none
        return PlainTextResponse("NOT_FOUND: expected a file of this site.\n", status)
    codes = {404: "NOT_FOUND", 405: "NOT_FOUND", 413: "BODY_TOO_LARGE"}
    return _told(request, codes.get(status, "BAD_DATA"), "", status)


def _told(request: Request, code: str, message: str, status: int, *, exit_code: int = 1) -> Response:
    given = advice(code, _locale(), exit_code=exit_code)
    return page(request, "error.html", status=status, code=code, message=message, advice=given)


class _Gatekeeper:
    """What stands in front of every page; see the module."""

    def __init__(
        self, app: ASGIApp, *, site: Site, sessions: Sessions, catalogue: Mapping[str, str], owner: FastAPI
    ) -> None:
        self._app, self._site, self._sessions = app, site, sessions
        self._catalogue, self._owner = catalogue, owner
        scheme = "https" if site.is_tls else "http"
        self._origins = frozenset(f"{scheme}://{host}" for host in site.hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # a WebSocket: none of our pages has one
            return
        request = Request(scope, receive)
        scope["app"] = self._owner
        request.state.new_token = ""
        refusal = self._refused(request)
        if refusal is not None:
            await refusal(scope, receive, self._with_headers(send, request))
        elif scope["path"].startswith(_STATIC):
            await self._app(scope, receive, self._with_headers(send, request, is_static=True))
        else:
            self._admit(request)
            await self._answered(scope, self._bounded(receive), self._with_headers(send, request), request)

    def _admit(self, request: Request) -> None:
        """Find or start its session, and choose its language."""
        session = self._sessions.find(request.cookies.get(self._cookie_name(request), ""))
        if session is None:
            request.state.new_token, session = self._sessions.start()
        request.state.session = session
        chosen = request.query_params.get("lang", "") if request.method == "GET" else ""
        if chosen in list(Locale):
            session.locale = chosen
        language = Locale(session.locale) if session.locale else _accepted(request)
        translations.speak(language, self._catalogue)

    async def _answered(self, scope: Scope, receive: Receive, send: Send, request: Request) -> None:
        started = False

        async def noted(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        needs_entry = self._site.entry is not None and scope["path"] != ENTRY_PATH
        try:
            if needs_entry and not request.state.session.entered:
                await _told(request, "ENTRY_REFUSED", "", 403)(scope, receive, noted)
            else:
                await self._app(scope, receive, noted)
        except Exception as error:  # noqa: BLE001 (its text must not leave, and may name people: not logged)
            place = traceback.extract_tb(error.__traceback__)[-1]
            _LOG.error("%s at %s:%s", type(error).__name__, place.filename.rsplit("/", 1)[-1], place.lineno)
            if started:
                raise ConnectionAbortedError("the page ended with an error of ours") from None
            await _told(request, "INTERNAL", "", 500)(scope, receive, noted)

    def _refused(self, request: Request) -> Response | None:
        """For what must not even have a session; in plain words, since there is no language to choose."""
        if request.headers.getlist("host") != [host for host in self._site.hosts if host == _host(request)]:
            return PlainTextResponse("HOST_REFUSED: this server does not answer under that name.\n", 421)
        if request.method not in _METHODS:
            return PlainTextResponse("METHOD_REFUSED: expected GET or POST.\n", 405)
        if request.method != "POST":
            return None
        if request.url.path not in self._site.cross_site_posts and not self._is_own_form(request):
            return PlainTextResponse("CSRF_REJECTED: expected a form of our own pages.\n", 403)
        length = request.headers.get("content-length", "0")
        if not length.isascii() or not length.isdecimal() or int(length) > self._site.max_body_bytes:
            return PlainTextResponse("BODY_TOO_LARGE: expected a smaller form or file.\n", 413)
        return None

    def _is_own_form(self, request: Request) -> bool:
        origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
        if origin is None:
            return site == "same-origin"
        return origin in self._origins and site in {None, "same-origin"}

    def _bounded(self, receive: Receive) -> Receive:
        """A body without a length, counted."""
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._site.max_body_bytes:
                raise HTTPException(413)
            return message

        return counted

    def _with_headers(self, send: Send, request: Request, *, is_static: bool = False) -> Send:
        headers = dict(HEADERS)
        if self._site.is_tls:
            headers["Strict-Transport-Security"] = STRICT_TRANSPORT
        if is_static:  # the same for everybody; asked for again with its ETag
            headers["Cache-Control"] = "no-cache"

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
                if request.state.new_token:
                    added.append((b"set-cookie", self._set_cookie(request)))
                kept = [(name, value) for name, value in message["headers"] if name != b"cache-control"]
                message["headers"] = kept + added
            await send(message)

        return sent

    def _cookie_name(self, request: Request) -> str:
        """Ports share cookies: two sites of one machine must not sign each other out."""
        _, _, port = _host(request).rpartition(":")
        name = f"noren-{self._site.key}-{port}" if port.isdecimal() else f"noren-{self._site.key}"
        return f"__Host-{name}" if self._site.is_tls else name

    def _set_cookie(self, request: Request) -> bytes:
        # Lax where a sign-in service sends people back to us; a site of this machine is reached by itself
        same_site = "Lax" if self._site.entry is None else "Strict"
        secure = "; Secure" if self._site.is_tls else ""
        cookie = f"{self._cookie_name(request)}={request.state.new_token}"
        return f"{cookie}; Path=/; HttpOnly; SameSite={same_site}{secure}".encode()


def _host(request: HTTPConnection) -> str:
    return request.headers.get("host", "").lower()


def _accepted(request: HTTPConnection) -> Locale:
    return translations.preferred(request.headers.get("accept-language", ""))
