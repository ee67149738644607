"""Coming in and going out: password and code, identity provider, joining by a one-time code, one's account.

Promises: what is wrong of name, password and code is not said; a sign-in gets another cookie; an answer of
the identity provider counts once; the authenticator's secret is shown until she typed its first code, and
never again; recovery codes are shown once.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from noren_core.errors import ConfigurationError, DataError, LocalProtocolError, VerificationError
from noren_core.ids import parse_name
from noren_server.console import totp
from noren_server.console.accounts import MIN_PASSWORD, Account
from noren_server.console.desk import Desk, SignedIn, about, acting, desk_of, signed_in
from noren_server.console.oidc import CALLBACK_PATH
from noren_server.console.trail import DONE
from noren_web.access import allow
from noren_web.pages import page, redirect
from noren_web.posted_form import Posted
from noren_web.sessions import sign_in, sign_out
from noren_web.translations import lazy as _

router = APIRouter()

_REFUSED = _("The name, the password or the code is wrong. After five wrong answers an account is locked.")
_LOCKED = _("This account is locked for fifteen minutes after too many wrong answers.")
_MOST_PASSWORD = 200


@router.get("/sign-in", dependencies=[allow(public=True)])
def start(request: Request) -> Response:
    """The form, or home for who is signed in."""
    if signed_in(request) is not None:
        return redirect(request, "/")
    return _form(request)


@router.get("/sign-in/again", dependencies=[allow()])
def again(request: Request) -> Response:
    """The form for what asks for a sign-in of the last minutes."""
    return _form(request, known=acting(request).name)


@router.post("/sign-in", dependencies=[allow(public=True)])
def enter(request: Request, form: Posted) -> Response:
    """Sign in with name, password and code."""
    desk = desk_of(request)
    name = form.text("name", most=64)
    _about_known(request, desk, name)
    try:
        account = desk.accounts.authenticate(
            name, form.text("password", most=_MOST_PASSWORD), form.text("code", most=40)
        )
    except LocalProtocolError as error:
        request.state.outcome = error.code
        sentence = _LOCKED if error.code == "ACCOUNT_LOCKED" else _REFUSED
        return _form(request, known=name, error=sentence)
    return _entered(request, account)


@router.post("/sign-out", dependencies=[allow(public=True)])
def leave(request: Request, form: Posted) -> Response:
    """End the session."""
    del form
    sign_out(request)
    return redirect(request, "/sign-in", notice=_("You are signed out."))


@router.get("/sign-in/provider", dependencies=[allow(public=True)])
def to_provider(request: Request) -> Response:
    """Go to the identity provider."""
    desk = desk_of(request)
    if desk.oidc is None:
        raise ConfigurationError("sign-in: expected an identity provider in config.toml, got none")
    _count(request, desk)
    attempt, address = desk.oidc.begin()
    request.state.session.data["provider"] = attempt
    return RedirectResponse(address, status_code=303)


@router.get(CALLBACK_PATH, dependencies=[allow(public=True)])
def from_provider(request: Request, code: str = "", state: str = "", iss: str = "") -> Response:
    """What the identity provider sends a browser back with."""
    desk = desk_of(request)
    if desk.oidc is None:
        raise ConfigurationError("sign-in: expected an identity provider in config.toml, got none")
    _count(request, desk)
    attempt = request.state.session.data.pop("provider", None)
    try:
        subject = desk.oidc.subject(attempt, code=code, state=state, issuer=iss)
        account = desk.accounts.of_subject(subject)
    except (VerificationError, LocalProtocolError) as error:
        desk.trail.end("", CALLBACK_PATH, "", error.code)
        raise
    desk.trail.end(account.name, CALLBACK_PATH, f"person:{account.handle}", DONE)
    return _entered(request, account)


@router.get("/join", dependencies=[allow(public=True)])
def join(request: Request) -> Response:
    """Where an invited person types her name and one-time code."""
    return page(request, "sign_in/join.html", error=None)


@router.post("/join", dependencies=[allow(public=True)])
def prove(request: Request, form: Posted) -> Response:
    """Take the one-time code; go on to choosing a password."""
    desk = desk_of(request)
    name, code = form.text("name", most=64), form.text("code", most=64)
    _about_known(request, desk, name)
    try:
        desk.accounts.verify_code(name, code)
    except LocalProtocolError as error:
        request.state.outcome = error.code
        return page(request, "sign_in/join.html", status=401, error=_LOCKED_OR_WRONG)
    request.state.session.data["joining"] = (name, code, totp.new_secret())
    return redirect(request, "/join/finish")


_LOCKED_OR_WRONG = _(
    "The name or the code is wrong, or the code has expired. Ask an administrator for another."
)


@router.get("/join/finish", dependencies=[allow(public=True)])
def choose(request: Request) -> Response:
    """Password and authenticator."""
    return _choice(request)


@router.post("/join/finish", dependencies=[allow(public=True)])
def finish(request: Request, form: Posted) -> Response:
    """Keep password and authenticator; she is signed in from here on."""
    desk = desk_of(request)
    name, code, secret = _joining(request)
    _about_known(request, desk, name)
    password = form.text("password", most=_MOST_PASSWORD)
    if password != form.text("repeated", most=_MOST_PASSWORD):
        request.state.outcome = "PASSWORD_REFUSED"
        return _choice(request, password_error=_("The two passwords are not the same."))
    try:
        codes = desk.accounts.join(
            name, code, password=password, secret=secret, typed=form.text("code", most=16).replace(" ", "")
        )
    except DataError as error:
        request.state.outcome = error.code
        if error.code == "CODE_WRONG":
            return _choice(request, code_error=_("The code is not the one that the authenticator shows now."))
        return _choice(request, password_error=_PASSWORD_RULE)
    sign_in(request, SignedIn.of(desk.accounts.account(name)))
    request.state.session.data["recovery"] = codes
    return redirect(request, "/account/codes")


_PASSWORD_RULE = _(
    "This password is too short or is among those that are tried first. "
    "Take at least twelve characters, best several words that do not belong together."
)


@router.get("/account", dependencies=[allow()])
def account(request: Request) -> Response:
    """One's own account."""
    return _account(request)


@router.post("/account/password", dependencies=[allow()])
def change_password(request: Request, form: Posted) -> Response:
    """Change one's password; everybody who is signed in under it is signed out."""
    desk, person = desk_of(request), acting(request)
    about(request, "person", person.handle)
    new = form.text("new", most=_MOST_PASSWORD)
    if new != form.text("repeated", most=_MOST_PASSWORD):
        request.state.outcome = "PASSWORD_REFUSED"
        return _account(request, error=_("The two passwords are not the same."))
    desk.accounts.change_password(
        person.name, form.text("password", most=_MOST_PASSWORD), form.text("code", most=40), new=new
    )
    request.app.state.sessions.end_all_of(person.name)
    sign_out(request)
    return redirect(request, "/sign-in", notice=_("Your password is changed. Sign in with it."))


@router.post("/account/codes", dependencies=[allow()])
def new_codes(request: Request, form: Posted) -> Response:
    """Replace one's recovery codes."""
    desk, person = desk_of(request), acting(request)
    about(request, "person", person.handle)
    codes = desk.accounts.new_recovery_codes(
        person.name, form.text("password", most=_MOST_PASSWORD), form.text("code", most=40)
    )
    request.state.session.data["recovery"] = codes
    return redirect(request, "/account/codes")


@router.get("/account/codes", dependencies=[allow()])
def codes(request: Request) -> Response:
    """The recovery codes that were just made, once."""
    made = request.state.session.data.pop("recovery", ())
    return page(request, "sign_in/codes.html", codes=made)


def _form(request: Request, *, known: str = "", error: object = None) -> Response:
    provider = desk_of(request).oidc
    return page(
        request,
        "sign_in/start.html",
        status=401 if error else 200,
        known=known,
        error=error,
        provider=None if provider is None else provider.name,
    )


def _entered(request: Request, account: Account) -> Response:
    about(request, "person", account.handle)
    wanted = request.state.session.wanted
    sign_in(request, SignedIn.of(account))
    return redirect(request, wanted or "/")


def _about_known(request: Request, desk: Desk, name: str) -> None:
    """Whose sign-in it was, if there is such a person: what else was typed may be a password."""
    for known in desk.accounts.everybody():
        if known.name == name:
            about(request, "person", known.handle)


def _count(request: Request, desk: Desk) -> None:
    desk.by_address.count(request.client.host if request.client else "")
    desk.by_all.count("")


def _joining(request: Request) -> tuple[str, str, bytes]:
    found: tuple[str, str, bytes] | None = request.state.session.data.get("joining")
    if found is None:
        raise LocalProtocolError("join: expected a name and a one-time code first", code="NOT_RECOGNISED")
    return found


def _choice(request: Request, *, password_error: object = None, code_error: object = None) -> Response:
    name, _code, secret = _joining(request)
    platform = desk_of(request).platform.config.name
    uri = totp.enrolment_uri(secret, person=name, platform=f"Noren {platform}")
    return page(
        request,
        "sign_in/choose.html",
        status=422 if password_error or code_error else 200,
        name=name,
        picture=totp.picture(uri),
        secret=totp.secret_text(secret),
        least=MIN_PASSWORD,
        password_error=password_error,
        code_error=code_error,
    )


def _account(request: Request, error: object = None) -> Response:
    mine = desk_of(request).accounts.account(parse_name(acting(request).name, "person"))
    return page(
        request,
        "sign_in/account.html",
        status=422 if error else 200,
        mine=mine,
        codes_left=len(mine.recovery),
        least=MIN_PASSWORD,
        error=error,
    )
