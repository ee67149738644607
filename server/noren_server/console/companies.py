"""The companies: who is in, until when, when they were last heard of, and ending a participation.

Promises: ending a participation is proposed by one person and confirmed by another, each after seeing whom it
reaches, since nobody can take it back; stopping a company at once needs one person (`Action.SUSPEND_SERVICE`)
and is on the page of service states.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from fastapi import APIRouter, Request, Response

from noren_core.crypto.identity import fingerprint
from noren_core.errors import DataError, LocalProtocolError
from noren_core.ids import parse_name
from noren_core.ledger.entries import RevocationReason, ServiceScope
from noren_server import admission
from noren_server.console.accounts import ConsoleRole
from noren_server.console.desk import about, acting, desk_of
from noren_server.rights import service_changes
from noren_server.rights.service_states import service_desk
from noren_server.store import Company, CompanyState
from noren_server.traffic_meter import Traffic, company_traffic
from noren_web.access import allow
from noren_web.pages import page, redirect
from noren_web.posted_form import Posted
from noren_web.translations import lazy as _

router = APIRouter()

REVOKE = "company-revoke"
READERS = tuple(ConsoleRole)
REVOKERS = (ConsoleRole.ADMINISTRATOR, ConsoleRole.ML_OPERATOR, ConsoleRole.PRIVACY_OFFICER)
_SOON_SECONDS = 30 * 86_400


@dataclass(frozen=True, slots=True)
class Row:
    """One company as the pages show it.

    Attributes:
        name, state: of the company.
        certified_until: Unix seconds; 0 without a certificate.
        is_soon: whether that is within thirty days.
        traffic: since the services were started.
    """

    name: str
    state: CompanyState
    certified_until: int
    is_soon: bool
    traffic: Traffic


@router.get("/companies", dependencies=[allow(*READERS)])
def every(request: Request) -> Response:
    """All of them."""
    desk = desk_of(request)
    with desk.platform.store.snapshot() as stored:
        companies = stored.companies()
    traffic = company_traffic(desk.platform.directory / "run", {c.name: c.node_key for c in companies})
    rows = [_row(company, traffic[company.name], now=desk.clock()) for company in companies]
    return page(
        request,
        "companies/every.html",
        rows=rows,
        proposed={proposal.about for proposal in desk.proposals.waiting(REVOKE)},
    )


@router.get("/companies/{name}", dependencies=[allow(*READERS)])
def one(request: Request, name: str) -> Response:
    """One of them, with what ending its participation reaches."""
    desk, person = desk_of(request), acting(request)
    company = _known(request, name)
    traffic = company_traffic(desk.platform.directory / "run", {name: company.node_key})[name]
    proposals = [item for item in desk.proposals.waiting(REVOKE) if item.about == name]
    is_in = company.state is CompanyState.APPROVED
    return page(
        request,
        "companies/one.html",
        company=_row(company, traffic, now=desk.clock()),
        fingerprint=fingerprint(company.signing_key),
        applicants=company.declared_size,
        service=service_desk(desk.platform).states().state_for(company=name).value,
        reach=service_changes.blast_radius(desk.platform, ServiceScope.COMPANY, name) if is_in else None,
        reasons=[(reason.value, _REASONS[reason]) for reason in RevocationReason],
        proposal=proposals[0] if proposals else None,
        reason_words={reason.value: words for reason, words in _REASONS.items()},
        is_mine=bool(proposals) and proposals[0].proposed_by == person.name,
        may_revoke=bool(person.roles & set(REVOKERS)),
    )


@router.post("/companies/revoke", dependencies=[allow(*REVOKERS)])
def propose(request: Request, form: Posted) -> Response:
    """Propose to end a participation."""
    desk = desk_of(request)
    name = parse_name(form.text("company", most=64), "company")
    about(request, "company", name)
    reason = form.text("reason", most=64)
    if reason not in set(RevocationReason):
        raise DataError(f"reason: expected one of {', '.join(RevocationReason)}; got another word")
    form.verify_confirmation(name)
    if _known(request, name).state is not CompanyState.APPROVED:
        raise LocalProtocolError("company: expected one that is approved, got another")
    desk.proposals.propose(REVOKE, name, {"reason": reason}, by=acting(request).name)
    return redirect(
        request, f"/companies/{name}", notice=_("Proposed. Somebody else has to confirm before it is done.")
    )


@router.post("/companies/revoke/confirm", dependencies=[allow(*REVOKERS)])
def confirm(request: Request, form: Posted) -> Response:
    """End a participation that somebody else proposed to end."""
    desk = desk_of(request)
    name = parse_name(form.text("company", most=64), "company")
    about(request, "company", name)
    form.verify_confirmation(name)
    with desk.proposals.confirming(
        form.text("proposal", most=64), REVOKE, by=acting(request).name
    ) as proposal:
        if proposal.about != name:
            raise DataError("proposal: expected one about this company, got another's")
        admission.expel(desk.platform, name, RevocationReason(proposal.body["reason"]))
    return redirect(
        request,
        f"/companies/{name}",
        notice=_("The participation of {company} has ended.").format(company=name),
    )


@router.post("/companies/revoke/withdraw", dependencies=[allow(*REVOKERS)])
def withdraw(request: Request, form: Posted) -> Response:
    """Do not end it after all."""
    desk = desk_of(request)
    name = parse_name(form.text("company", most=64), "company")
    about(request, "company", name)
    desk.proposals.withdraw(form.text("proposal", most=64), REVOKE, by=acting(request).name)
    return redirect(request, f"/companies/{name}", notice=_("The proposal is taken back."))


_REASONS = {
    RevocationReason.KEY_COMPROMISED: _("Its keys are in the wrong hands"),
    RevocationReason.LEFT: _("It leaves"),
    RevocationReason.BREACH_OF_AGREEMENT: _("It broke the agreement"),
    RevocationReason.MISTAKEN_ENROLMENT: _("It was let in by mistake"),
}


def _known(request: Request, name: str) -> Company:
    with desk_of(request).platform.store.snapshot() as stored:
        found = stored.company(parse_name(name, "company"))
    if found is None:
        raise LocalProtocolError("company: expected one that asked to enrol, got another", code="NOT_FOUND")
    return found


def _row(company: Company, traffic: Traffic, *, now: int) -> Row:
    until = _certified_until(company)
    return Row(company.name, company.state, until, bool(until) and until < now + _SOON_SECONDS, traffic)


def _certified_until(company: Company) -> int:
    """When its newest certificate ends; 0 without one."""
    newest = company.next_certificate or company.certificate
    if newest is None:
        return 0
    return int(x509.load_pem_x509_certificate(newest).not_valid_after_utc.timestamp())
