"""Who is at the desk: signing in with name and access code, and the page for the first administrator.

Promises: what an access code is worth is decided by the register alone (`noren_local.staff`): a wrong name
and a wrong code are one answer, and a few wrong ones lock; the page for the first administrator is there only
as long as there is none.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from noren_client.gate import staff
from noren_client.web.desk import StaffPerson, desk_of
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import DataError, LocalProtocolError
from noren_local.staff import MIN_CODE_BYTES
from noren_web.access import allow
from noren_web.pages import page, redirect
from noren_web.posted_form import Posted, PostedForm
from noren_web.sessions import sign_in, sign_out
from noren_web.translations import Text
from noren_web.translations import lazy as _

MAX_CODE_CHARACTERS = 1024
_REFUSALS = {
    "STAFF_NOT_RECOGNISED": _("This name and access code do not belong together."),
    "STAFF_LOCKED": _("Too many wrong access codes: please wait for fifteen minutes."),
}

router = APIRouter()


@router.get("/sign-in", dependencies=[allow(public=True)])
def sign_in_page(request: Request) -> Response:
    """Name and access code; before there is anybody, the way to the first administrator."""
    if not staff.register(desk_of(request).directory).has_administrator:
        return redirect(request, "/first-administrator")
    return page(request, "sign_in/start.html", name="", error=None, again=False)


@router.get("/sign-in/again", dependencies=[allow(public=True)])
def sign_in_again(request: Request) -> Response:
    """For what asks for a sign-in of the last minutes."""
    person = request.state.session.person
    name = "" if person is None else person.name
    return page(request, "sign_in/start.html", name=name, error=None, again=True)


@router.post("/sign-in", dependencies=[allow(public=True)])
def take_sign_in(request: Request, form: Posted) -> Response:
    """The page that was asked for before, if name and code are right."""
    desk, name = desk_of(request), form.text("name", most=40)
    try:
        who = staff.sign_in(desk.directory, name, posted_code(form), now=desk.clock())
    except LocalProtocolError as error:
        refusal = _REFUSALS.get(error.code)
        if refusal is None:
            raise
        return page(request, "sign_in/start.html", status=403, name=name, error=refusal, again=False)
    wanted = request.state.session.wanted or "/"
    sign_in(request, StaffPerson(desk.directory, who))
    return redirect(request, wanted)


@router.post("/sign-out", dependencies=[allow(public=True)])
def take_sign_out(request: Request, form: Posted) -> Response:
    """The sign-in page, with another session."""
    del form  # verified, and empty
    sign_out(request)
    return redirect(request, "/sign-in", notice=_("You are signed out."))


@router.get("/first-administrator", dependencies=[allow(public=True)])
def first_administrator(request: Request) -> Response:
    """Her name and the code that she chooses."""
    if staff.register(desk_of(request).directory).has_administrator:
        return redirect(request, "/sign-in")
    return page(request, "sign_in/first.html", name="", errors={}, least=MIN_CODE_BYTES)


@router.post("/first-administrator", dependencies=[allow(public=True)])
def take_first_administrator(request: Request, form: Posted) -> Response:
    """The first page, as her."""
    desk, name = desk_of(request), form.text("name", most=40)
    errors = code_errors(form)
    if not errors:
        try:
            staff.add_first_administrator(desk.directory, name, posted_code(form))
        except DataError:
            errors = {"name": _("1 to 40 of a-z, 0-9 and inner hyphens.")}
    if errors:
        return page(request, "sign_in/first.html", status=422, name=name, errors=errors, least=MIN_CODE_BYTES)
    who = staff.sign_in(desk.directory, name, posted_code(form), now=desk.clock())
    sign_in(request, StaffPerson(desk.directory, who))
    return redirect(request, "/", notice=_("You are the first administrator of this company."))


def code_errors(form: PostedForm) -> dict[str, Text]:
    """What is wrong with a new access code that was typed twice, by field."""
    code = posted_code(form)
    if len(code) < MIN_CODE_BYTES:
        return {"code": _("At least {n} characters.").format(n=MIN_CODE_BYTES)}
    if code != posted_code(form, "code_again"):
        return {"code_again": _("This is not the same code.")}
    return {}


def posted_code(form: PostedForm, name: str = "code") -> SecretBytes:
    """An access code as it was typed, spaces included; DataError for a field that is not there once."""
    typed = form.many(name, most=1, most_each=MAX_CODE_CHARACTERS)
    if not typed:
        raise DataError(f"form: expected the field {name}, got none", code="FIELD_MISSING")
    return SecretBytes(typed[0].encode(errors="surrogatepass"))
