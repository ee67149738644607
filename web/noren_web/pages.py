"""What handlers answer with: a page, a redirect after a form, a file.

Promises: every value in a template is escaped, a name that a template does not get is an error, and a page is
drawn in the language of its request.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import jinja2
from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from noren_core.errors import ConfigurationError
from noren_core.rights.locales import Locale
from noren_web import translations
from noren_web.access import Access
from noren_web.sessions import Session
from noren_web.translations import Text

_JST = timezone(timedelta(hours=9), "JST")
_CSRF: ContextVar[str] = ContextVar("csrf")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z", re.ASCII)
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")
_STEP = 1024


def page(request: Request, template: str, /, *, status: int = 200, **values: Any) -> Response:
    """Draw a template of the site.

    Args:
        request: whose language, session and navigation it is drawn with.
        template: its path below `templates/`.
        status: of the answer.
        values: what the template gets.
    """
    state, session = request.app.state, request.state.session
    _CSRF.set(session.csrf)
    drawn = state.templates.get_template(template).render(
        values,
        site=state.site,
        locale=translations.locale().value,
        path=request.url.path,
        person=session.person,
        navigation=list(_navigation(request, session)),
        notice=_taken(session),
    )
    return Response(drawn, status_code=status, media_type="text/html; charset=utf-8")


def redirect(request: Request, path: str, *, notice: str | Text = "") -> Response:
    """Go on to a page of this site after a form, which then says `notice` once."""
    if not path.startswith("/") or path.startswith(("//", "/\\")):
        raise ConfigurationError("redirect: expected a path of this site")
    request.state.session.notice = str(notice)
    return RedirectResponse(path, status_code=303)


def download(content: bytes, *, name: str, media_type: str) -> Response:
    """A file to be saved; `name` is ours and ASCII."""
    if not _NAME.match(name):
        raise ConfigurationError("download: expected a plain file name")
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=media_type, headers=headers)


def template_environment(packages: list[str]) -> jinja2.Environment:
    """Templates of these packages, the first that has one wins; translated by the request's language."""
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(name) for name in packages]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
        optimized=False,  # would draw a constant's date once, in the language of the first reader
    )
    environment.install_gettext_callables(  # type: ignore[attr-defined]  # the extension adds it
        translations.gettext, translations.ngettext, newstyle=False
    )
    environment.globals["csrf_token"] = _CSRF.get
    environment.filters |= {"moment": moment, "day": day, "bytes": byte_count, "number": number}
    return environment


def moment(seconds: int) -> str:
    """Unix seconds as date and time: of Japan in Japanese, of UTC in English."""
    zone = _JST if translations.locale() is Locale.JA else UTC
    return datetime.fromtimestamp(seconds, zone).strftime("%Y-%m-%d %H:%M %Z")


def day(seconds: int) -> str:
    """Unix seconds as a date, in the zone that `moment` takes."""
    return moment(seconds)[:10]


def byte_count(count: int) -> str:
    """A number of bytes in the largest unit that leaves at least one."""
    value, unit = float(count), 0
    while value >= _STEP and unit < len(_UNITS) - 1:
        value, unit = value / _STEP, unit + 1
    return f"{value:,.0f} {_UNITS[unit]}" if unit == 0 else f"{value:,.1f} {_UNITS[unit]}"


def number(value: float) -> str:
    """With commas between thousands; at most three digits after the point."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}".rstrip("0").rstrip(".")


def _navigation(request: Request, session: Session) -> Iterator[dict[str, Any]]:
    """The links that this person may follow."""
    access: dict[str, Access] = request.app.state.access
    for link in request.app.state.site.navigation:
        if access[link.path].admits(session.person) and not access[link.path].public:
            here = request.url.path
            is_current = here == link.path or (link.path != "/" and here.startswith(link.path + "/"))
            yield {"path": link.path, "label": link.label, "is_current": is_current}


def _taken(session: Session) -> str:
    notice, session.notice = session.notice, ""
    return notice
