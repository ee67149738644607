"""Companies that want to come in: comparing fingerprints by phone, letting in, sending away, inviting.

Promises: a company is let in only with the group that its own people read out, which this page does not show;
it is let in by somebody whom the table of duties lets sign agreements, and the check is that of the command.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from noren_core.crypto.identity import fingerprint
from noren_core.errors import DataError, LocalProtocolError
from noren_core.ids import parse_name
from noren_server import admission
from noren_server.console.accounts import ConsoleRole
from noren_server.console.desk import about, desk_of
from noren_server.store import Company
from noren_web.access import allow
from noren_web.pages import download, page, redirect
from noren_web.posted_form import Posted, PostedForm
from noren_web.translations import lazy as _

router = APIRouter()

READERS = tuple(ConsoleRole)
INVITERS = (ConsoleRole.ML_OPERATOR, ConsoleRole.PRIVACY_OFFICER)
APPROVERS = (ConsoleRole.PRIVACY_OFFICER,)
"""Whoever lets a company in countersigns its agreement (`Action.SIGN_AGREEMENT`)."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A company that waits for approval.

    Attributes:
        name: its name.
        groups: of its fingerprint, all but the last, which its people read out.
        applicants: that it declared.
    """

    name: str
    groups: tuple[str, ...]
    applicants: int


def waiting(company: Company) -> Waiting:
    """What the page shows of a pending company."""
    groups = fingerprint(company.signing_key).split(" ")
    return Waiting(company.name, tuple(groups[:-1]), company.declared_size)


@router.get("/enrolment", dependencies=[allow(*READERS)])
def queue(request: Request) -> Response:
    """Who waits."""
    desk = desk_of(request)
    with desk.platform.store.snapshot() as stored:
        companies = [waiting(company) for company in stored.pending_companies()]
        used = {company.name for company in stored.companies()}
        invited = [item for item in stored.invitations() if not item.used and item.company not in used]
    return page(
        request,
        "enrolment/queue.html",
        companies=companies,
        invited=sorted(invited, key=lambda item: item.company),
        now=desk.clock(),
        may_approve=_has(request, APPROVERS),
        may_invite=_has(request, INVITERS),
    )


@router.post("/enrolment/approve", dependencies=[allow(*APPROVERS)])
def approve(request: Request, form: Posted) -> Response:
    """Let a company in whose people read out the last group of its fingerprint."""
    desk, company = desk_of(request), _company(request, form)
    typed = "".join(form.text("group", most=16).split())
    with desk.platform.store.snapshot() as stored:
        pending = stored.company(company)
    if pending is None:
        raise LocalProtocolError("enrolment: expected a company that waits, got none", code="NOT_FOUND")
    admission.admit(desk.platform, company, " ".join((*waiting(pending).groups, typed)))
    return redirect(request, "/enrolment", notice=_("{company} is let in.").format(company=company))


@router.post("/enrolment/reject", dependencies=[allow(*APPROVERS)])
def reject(request: Request, form: Posted) -> Response:
    """Forget a request whose fingerprint was another."""
    desk, company = desk_of(request), _company(request, form)
    form.verify_confirmation(company)
    desk.platform.enrolment.reject(company)
    return redirect(
        request, "/enrolment", notice=_("The request of {company} is forgotten.").format(company=company)
    )


@router.post("/enrolment/invite", dependencies=[allow(*INVITERS)])
def invite(request: Request, form: Posted) -> Response:
    """An invitation with a one-time code, as a file to be handed over out of band."""
    desk, company = desk_of(request), _company(request, form)
    days = form.text("days", most=3)
    if not days.isascii() or not days.isdecimal():
        raise DataError("days: expected a number, got another text")
    made = desk.platform.enrolment.invite(company, valid_days=int(days))
    return download(made.content, name=f"invitation-{company}.json", media_type="application/json")


def _company(request: Request, form: PostedForm) -> str:
    name = parse_name(form.text("company", most=64), "company")
    about(request, "company", name)
    return name


def _has(request: Request, roles: tuple[ConsoleRole, ...]) -> bool:
    person = request.state.session.person
    return person is not None and bool(person.roles & set(roles))
