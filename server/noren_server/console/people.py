"""The people of the platform and the trail of what they did.

Promises: only an administrator adds people, gives roles, and ends what somebody may do; from two
administrators on, none of them adds people, gives roles or has somebody join again alone, since any of these
would let her act as somebody else: one proposes and another confirms. Whoever is disabled or gets other roles
is signed out at once. Everybody who is signed in may read the trail.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from fastapi import APIRouter, Request, Response

from noren_core.errors import DataError, LocalProtocolError
from noren_core.ids import parse_name
from noren_server.console import trail as trail_records
from noren_server.console.accounts import (
    Account,
    AccountState,
    ConsoleRole,
    excluding_pairs,
    parse_roles,
)
from noren_server.console.desk import Desk, about, acting, desk_of
from noren_server.console.proposals import Proposal
from noren_web.access import allow
from noren_web.pages import page, redirect
from noren_web.posted_form import Posted, PostedForm
from noren_web.translations import Text
from noren_web.translations import lazy as _

router = APIRouter()

ADD, ROLES, RENEW = "person-add", "person-roles", "person-renew"
_KINDS = frozenset({ADD, ROLES, RENEW})
_ADMINISTRATOR = ConsoleRole.ADMINISTRATOR
_MOST_SUBJECT = 200

ROLE_WORDS: Mapping[str, Text] = {
    ConsoleRole.ADMINISTRATOR: _("Administrator: people and their roles"),
    ConsoleRole.CONSENT_ADMIN: _("Consent: policies, screens and consents"),
    ConsoleRole.ML_OPERATOR: _("Training: campaigns and rounds"),
    ConsoleRole.PRIVACY_OFFICER: _("Privacy officer: approvals, rights, the service's state"),
    ConsoleRole.AUDITOR: _("Auditor: reads everything, changes nothing"),
}
STATE_WORDS: Mapping[str, Text] = {
    AccountState.INVITED: _("invited"),
    AccountState.ACTIVE: _("active"),
    AccountState.DISABLED: _("let in no more"),
}


@router.get("/people", dependencies=[allow(*ConsoleRole)])
def everybody(request: Request) -> Response:
    """Who there is, and what waits for a second administrator."""
    desk, person = desk_of(request), acting(request)
    return page(
        request,
        "people/everybody.html",
        people=desk.accounts.everybody(),
        is_any_proposed=bool(_waiting(desk)),
        role_words=ROLE_WORDS,
        state_words=STATE_WORDS,
        pairs=[(ROLE_WORDS[a], ROLE_WORDS[b]) for a, b in excluding_pairs()],
        may_change=person.has(_ADMINISTRATOR),
        code=request.state.session.data.pop("code", None),
    )


@router.get("/people/add", dependencies=[allow(_ADMINISTRATOR, fresh=True)])
def adding(request: Request) -> Response:
    """The form for somebody new."""
    desk = desk_of(request)
    return page(
        request,
        "people/add.html",
        role_words=ROLE_WORDS,
        needs_two=_needs_two(desk),
        has_provider=desk.oidc is not None,
    )


@router.get("/people/proposals", dependencies=[allow(_ADMINISTRATOR, fresh=True)])
def proposals(request: Request) -> Response:
    """What administrators proposed."""
    return page(
        request,
        "people/proposals.html",
        proposals=_waiting(desk_of(request)),
        me=acting(request).name,
        kind_words=KIND_WORDS,
    )


@router.get("/people/{handle}", dependencies=[allow(_ADMINISTRATOR, fresh=True)])
def one(request: Request, handle: str) -> Response:
    """One person, to be changed."""
    desk = desk_of(request)
    return page(
        request,
        "people/one.html",
        her=desk.accounts.with_handle(handle),
        role_words=ROLE_WORDS,
        state_words=STATE_WORDS,
        needs_two=_needs_two(desk),
        now=desk.clock(),
    )


@router.post("/people/add", dependencies=[allow(_ADMINISTRATOR, fresh=True)])
def add(request: Request, form: Posted) -> Response:
    """Add somebody, or propose to."""
    desk = desk_of(request)
    name, roles = parse_name(form.text("name", most=64), "person"), parse_roles(form.many("roles"))
    subject = form.text("subject", most=_MOST_SUBJECT, default="")
    about(request, "person", name)
    if any(account.name == name for account in desk.accounts.everybody()):
        raise LocalProtocolError("people: expected a new person, got a known one", code="NAME_TAKEN")
    if _needs_two(desk):
        return _proposed(request, ADD, name, roles, subject)
    _show_code(request, name, desk.accounts.add(name, roles, subject=subject))
    return redirect(request, "/people", notice=_("{person} is added.").format(person=name))


@router.post("/people/roles", dependencies=[allow(_ADMINISTRATOR, fresh=True)])
def change_roles(request: Request, form: Posted) -> Response:
    """Give somebody other roles, or propose to."""
    desk, account = desk_of(request), _account(request, form)
    roles = parse_roles(form.many("roles"))
    if _needs_two(desk):
        return _proposed(request, ROLES, account.name, roles, "")
    desk.accounts.change_roles(account.name, roles)
    _end_sessions(request, account.name)
    return redirect(request, "/people", notice=_("{person} has other roles.").format(person=account.name))


@router.post("/people/confirm", dependencies=[allow(_ADMINISTRATOR, fresh=True)])
def confirm(request: Request, form: Posted) -> Response:
    """Do what another administrator proposed."""
    desk = desk_of(request)
    kind = _kind(form)
    with desk.proposals.confirming(form.text("proposal", most=64), kind, by=acting(request).name) as proposal:
        about(request, "person", proposal.about)
        _carry_out(request, proposal)
    _end_sessions(request, proposal.about)
    return redirect(request, "/people", notice=_("Confirmed and done."))


@router.post("/people/withdraw", dependencies=[allow(_ADMINISTRATOR)])
def withdraw(request: Request, form: Posted) -> Response:
    """Take a proposal back, or refuse it."""
    desk_of(request).proposals.withdraw(form.text("proposal", most=64), _kind(form), by=acting(request).name)
    return redirect(request, "/people", notice=_("The proposal is taken back."))


@router.post("/people/renew", dependencies=[allow(_ADMINISTRATOR, fresh=True)])
def renew(request: Request, form: Posted) -> Response:
    """A new one-time code for somebody who lost her phone or password, or who is let in again."""
    desk, account = desk_of(request), _account(request, form)
    if _needs_two(desk):
        return _proposed(request, RENEW, account.name, account.roles, "")
    _show_code(request, account.name, desk.accounts.renew(account.name))
    _end_sessions(request, account.name)
    return redirect(request, "/people", notice=_("{person} can join again.").format(person=account.name))


@router.post("/people/disable", dependencies=[allow(_ADMINISTRATOR, fresh=True)])
def disable(request: Request, form: Posted) -> Response:
    """Let somebody in no more, at once."""
    desk, account = desk_of(request), _account(request, form)
    form.verify_confirmation(account.name)
    desk.accounts.disable(account.name)
    _end_sessions(request, account.name)
    return redirect(request, "/people", notice=_("{person} is let in no more.").format(person=account.name))


@router.get("/trail", dependencies=[allow(*ConsoleRole)])
def trail(request: Request, person: str = "", action: str = "", before: str = "") -> Response:
    """What was done, newest first; `person` is a handle."""
    desk = desk_of(request)
    people = desk.accounts.everybody()
    names = {account.handle: account.name for account in people}
    if before and not (before.isascii() and before.isdecimal() and len(before) <= 12):
        raise DataError("before: expected a record's number, got another text")
    rows = desk.trail.newest(
        before=int(before) if before else None, who=names.get(person, ""), action=action[:120]
    )
    return page(
        request,
        "people/trail.html",
        rows=rows,
        outcomes={row.seq: _outcome(row) for row in rows},
        abouts={row.seq: _about_words(row.about, names) for row in rows},
        head=desk.trail.head().to_text(),
        people=[("", _("everybody")), *((account.handle, account.name) for account in people)],
        actions=[("", _("everything")), *((name, name) for name in desk.trail.actions())],
        person=person if person in names else "",
        action=action[:120],
        next_before=rows[-1].seq if len(rows) == trail_records.PAGE_ROWS else None,
    )


def _outcome(row: trail_records.Record) -> tuple[Text | str, str]:
    """Words and tone."""
    if row.outcome == trail_records.DONE:
        return _("done"), "good"
    if row.outcome == trail_records.BEGUN:
        return _("not finished"), "warn"
    return row.outcome, "bad"


def _about_words(text: str, names: Mapping[str, str]) -> str:
    kind, _colon, name = text.partition(":")
    return f"{kind}: {names.get(name, name)}" if kind == "person" else text.replace(":", ": ", 1)


KIND_WORDS: Mapping[str, Text] = {
    ADD: _("Add"),
    ROLES: _("Other roles"),
    RENEW: _("Join again with a new code"),
}


def _waiting(desk: Desk) -> list[Proposal]:
    """What waits for a second administrator."""
    return [item for item in desk.proposals.waiting() if item.kind in _KINDS]


def _needs_two(desk: Desk) -> bool:
    """Whether there is a second administrator to ask."""
    return len(desk.accounts.administrators()) > 1


def _proposed(
    request: Request, kind: str, name: str, roles: Collection[ConsoleRole], subject: str
) -> Response:
    body: dict[str, Any] = {"roles": [role.value for role in roles], "subject": subject}
    desk_of(request).proposals.propose(kind, name, body, by=acting(request).name)
    return redirect(request, "/people", notice=_("Proposed. Another administrator has to confirm."))


def _carry_out(request: Request, proposal: Proposal) -> None:
    accounts, name = desk_of(request).accounts, proposal.about
    roles = parse_roles(proposal.body["roles"])
    if proposal.kind == ADD:
        _show_code(request, name, accounts.add(name, roles, subject=proposal.body["subject"]))
    elif proposal.kind == ROLES:
        accounts.change_roles(name, roles)
    else:
        _show_code(request, name, accounts.renew(name))


def _account(request: Request, form: PostedForm) -> Account:
    account = desk_of(request).accounts.with_handle(form.text("person", most=32))
    about(request, "person", account.handle)
    return account


def _kind(form: PostedForm) -> str:
    kind = form.text("kind", most=32)
    if kind not in _KINDS:
        raise DataError("proposal: expected one about a person, got another kind")
    return kind


def _show_code(request: Request, name: str, code: str) -> None:
    """For the next page, once: it is handed over out of band."""
    if code:
        request.state.session.data["code"] = (name, code)


def _end_sessions(request: Request, name: str) -> None:
    if name != acting(request).name:  # her own ends with her next page, which is that of this answer
        request.app.state.sessions.end_all_of(name)
