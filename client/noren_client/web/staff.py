"""Who of the company may do what: the register of staff, for administrators.

Promises: two duties that exclude each other are refused by the register, not by the page; whoever is
removed, or gets another code, is signed out everywhere.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from noren_client.gate import staff
from noren_client.gate.staff import COMPANY_ROLES
from noren_client.web.desk import authorised, desk_of, may
from noren_client.web.sign_in import code_errors, posted_code
from noren_core.errors import DataError, LocalProtocolError
from noren_core.rights.gate.roles import PER_POSITION, Action, Assignment, Role, parse_role
from noren_local.staff import MIN_CODE_BYTES
from noren_web.pages import page, redirect
from noren_web.posted_form import Posted, PostedForm
from noren_web.translations import Text
from noren_web.translations import lazy as _

ROLE_WORDS: dict[Role, Text] = {
    Role.COMPANY_ADMIN: _("Administrator: adds people, sets up the machine"),
    Role.COMPANY_ML_OPERATOR: _("Training operator: accepts campaigns, prepares, scores"),
    Role.DECIDER: _("Decider: seals decisions, sees no band"),
    Role.FOLLOW_UP: _("Follow-up: sees the band of one student at a time, decides nothing"),
    Role.PRIVACY_CONTACT: _("Privacy contact: answers students, carries out erasure orders"),
}

router = APIRouter()


@router.get("/staff", dependencies=[may(Action.MANAGE_STAFF)])
def everybody(request: Request) -> Response:
    """Everybody with her roles, and a form for one more."""
    return _page(request, {}, name="")


@router.post("/staff/add", dependencies=[may(Action.MANAGE_STAFF)])
def add(request: Request, form: Posted) -> Response:
    """One more member, or other roles and another code for one."""
    desk, name = desk_of(request), form.text("name", most=40)
    by = authorised(request, Action.MANAGE_STAFF)
    errors = code_errors(form)
    assignments = _assignments(form)
    if not assignments:
        errors["roles"] = _("At least one role.")
    if errors:
        return _page(request, errors, name=name, status=422)
    try:
        staff.add_member(desk.directory, name, assignments, posted_code(form), by=by)
    except LocalProtocolError as error:
        if error.code != "SEPARATION_OF_DUTIES":
            raise
        errors["roles"] = _("One person never decides and follows up for the same position.")
        return _page(request, errors, name=name, status=409)
    request.app.state.sessions.end_all_of(name)
    return redirect(request, "/staff", notice=_("{name} is registered.").format(name=name))


@router.post("/staff/removal", dependencies=[may(Action.MANAGE_STAFF)])
def ask_removal(request: Request, form: Posted) -> Response:
    """What removing a member means, with a typed confirmation."""
    return page(request, "staff/removal.html", member=_member(request, form))


@router.get("/staff/removal", dependencies=[may(Action.MANAGE_STAFF)])
def removal(request: Request) -> Response:
    """Nobody was chosen."""
    return redirect(request, "/staff")


@router.post("/staff/remove", dependencies=[may(Action.MANAGE_STAFF)])
def remove(request: Request, form: Posted) -> Response:
    """Remove a member."""
    member = _member(request, form)
    form.verify_confirmation(member)
    staff.remove_member(desk_of(request).directory, member, by=authorised(request, Action.MANAGE_STAFF))
    request.app.state.sessions.end_all_of(member)
    return redirect(request, "/staff", notice=_("{name} is removed.").format(name=member))


def _member(request: Request, form: PostedForm) -> str:
    member = form.text("member", most=40)
    if member not in {known.name for known in staff.register(desk_of(request).directory).members()}:
        raise LocalProtocolError("staff: expected the name of a member, got another", code="NOT_FOUND")
    return member


def _assignments(form: PostedForm) -> list[Assignment]:
    position, season = form.text("position", most=40, default=""), form.text("season", most=40, default="")
    roles = [parse_role(text) for text in form.many("roles")]
    if not set(roles) <= COMPANY_ROLES:
        raise DataError("role: expected one of a company, got another party's")
    return [
        Assignment(role, position, season) if role in PER_POSITION else Assignment(role) for role in roles
    ]


def _page(request: Request, errors: dict[str, Text], *, name: str, status: int = 200) -> Response:
    members = staff.register(desk_of(request).directory).members()
    return page(
        request,
        "staff/list.html",
        status=status,
        members=members,
        roles=[(role.value, ROLE_WORDS[role]) for role in ROLE_WORDS],
        words={role.value: words for role, words in ROLE_WORDS.items()},
        errors=errors,
        name=name,
        least=MIN_CODE_BYTES,
    )
