"""What students asked for, as one queue by legal deadline: disclosure, inquiries, erasure, disputes, holds.

Promises: an item is named by the random handle that its request has, never by anything of whose it is; the
words that a student wrote are on the page of her inquiry alone, for who answers her.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request, Response

from noren_core.errors import DataError
from noren_core.ledger.entries import ErasureGround
from noren_core.rights import fields
from noren_core.rights.disclosure.inquiry import MAX_TEXT_CHARACTERS, InquiryState
from noren_core.rights.disclosure.requests import DenialReason, DisclosureState
from noren_core.rights.erasure.deletion_certificate import CertificateState
from noren_core.rights.erasure.erasure_order import OPEN_STATES, HoldReason, LegalHold, OrderState
from noren_core.rights.locales import Locale
from noren_server.console.desk import Desk, about, acting, desk_of
from noren_server.console.governance import words
from noren_server.console.governance.letters import disclosure_letter, inquiry_letter
from noren_server.console.governance.who_may import (
    AUDITOR,
    OFFICE,
    OVERSEERS,
    PRIVACY_OFFICER,
)
from noren_server.rights.erasure_orders import DUE_SECONDS, ErasureDesk, FollowedOrder
from noren_server.rights.opening import officer_desks, opened_erasure_desk, sweep_erasure
from noren_web.access import allow
from noren_web.pages import download, page, redirect
from noren_web.posted_form import Posted, PostedForm
from noren_web.translations import Text
from noren_web.translations import lazy as _

router = APIRouter()

_DAY_SECONDS = 86_400
_MAX_DUE_DAYS = 90
_FAR = 1 << 41
"""After every deadline: what has none stands last."""


@dataclass(frozen=True, slots=True)
class _Item:
    """One line of the queue."""

    kind: Text
    handle: str
    company: str
    state: words.Word
    due_at: int
    left: words.Word | None
    path: str


@router.get("/rights", dependencies=[allow(*OVERSEERS)])
def queue(request: Request) -> Response:
    """Everything that waits, the most urgent first."""
    desk = desk_of(request)
    now = desk.clock()
    items = [*_asked(desk, now), *_erasure(desk, now)]
    with officer_desks(desk.platform, clock=desk.clock) as (disclosure, inquiries):
        late_companies, is_late = sorted(disclosure.overdue_companies()), inquiries.is_any_overdue()
    return page(
        request,
        "rights/queue.html",
        items=sorted(items, key=lambda item: (item.due_at, item.handle)),
        late_companies=late_companies,
        is_any_inquiry_late=is_late,
    )


@router.get("/rights/inquiries/{handle}", dependencies=[allow(*OFFICE)])
def inquiry(request: Request, handle: str) -> Response:
    """One inquiry with its words, and the form that answers it."""
    desk = desk_of(request)
    with officer_desks(desk.platform, clock=desk.clock) as (_disclosure, inquiries):
        stored = inquiries.inquiry(fields.hex_bytes(handle))
    state = stored.inquiry.state
    return page(
        request,
        "rights/inquiry.html",
        stored=stored,
        handle=handle,
        topic=words.TOPICS[stored.inquiry.topic],
        state=words.INQUIRY_STATES[state],
        left=words.remaining(stored.inquiry.due_at, now=desk.clock()),
        may_answer=state in (InquiryState.OPEN, InquiryState.ESCALATED),
        has_letter=state in (InquiryState.ANSWERED, InquiryState.CLOSED),
        most=MAX_TEXT_CHARACTERS,
    )


@router.post("/rights/inquiries/{handle}/answer", dependencies=[allow(*OFFICE)])
def answer(request: Request, handle: str, form: Posted) -> Response:
    """Answer an inquiry, as a person: whoever is signed in."""
    about(request, "inquiry", fields.hex_bytes(handle).hex())
    desk = desk_of(request)
    with officer_desks(desk.platform, clock=desk.clock) as (_disclosure, inquiries):
        inquiries.answer(
            fields.hex_bytes(handle),
            answer=form.text("answer", most=MAX_TEXT_CHARACTERS),
            reviewer=acting(request).name,
        )
    return redirect(
        request,
        f"/rights/inquiries/{handle}",
        notice=_("Answered. Her device reads it; the letter can be printed."),
    )


@router.get("/rights/disclosures/{handle}", dependencies=[allow(*OVERSEERS)])
def disclosure_request(request: Request, handle: str) -> Response:
    """One disclosure request: how far it is, and the form that denies it."""
    desk = desk_of(request)
    with officer_desks(desk.platform, clock=desk.clock) as (disclosure, _inquiries):
        found = disclosure.request(fields.hex_bytes(handle))
    return page(
        request,
        "rights/disclosure.html",
        found=found,
        handle=handle,
        state=words.DISCLOSURE_STATES[found.state],
        left=words.remaining(found.due_at, now=desk.clock()),
        is_open=found.state is DisclosureState.IN_PROGRESS,
        has_letter=found.state
        in (DisclosureState.FULFILLED, DisclosureState.PARTIAL, DisclosureState.DENIED),
        reasons=[words.DENIALS[reason] for reason in found.reasons],
        choices=[(reason.value, words.DENIALS[reason]) for reason in DenialReason],
        may_deny=acting(request).has(PRIVACY_OFFICER),
    )


@router.post("/rights/disclosures/{handle}/deny", dependencies=[allow(PRIVACY_OFFICER)])
def deny(request: Request, handle: str, form: Posted) -> Response:
    """Deny a request for a reason of the law; trade secrets alone are none."""
    about(request, "disclosure", fields.hex_bytes(handle).hex())
    reasons = [fields.word_of(DenialReason)(text) for text in form.many("reason", most=len(DenialReason))]
    desk = desk_of(request)
    with officer_desks(desk.platform, clock=desk.clock) as (disclosure, _inquiries):
        disclosure.deny(fields.hex_bytes(handle), reasons)
    return redirect(
        request, f"/rights/disclosures/{handle}", notice=_("Denied, with the reasons that you gave.")
    )


@router.get("/rights/letters/{kind}/{handle}/{language}", dependencies=[allow(*OFFICE)])
def letter(request: Request, kind: str, handle: str, language: str) -> Response:
    """A letter to be printed, in the language of who gets it."""
    locale, desk = fields.word_of(Locale)(language), desk_of(request)
    sender = desk.platform.config.name
    with officer_desks(desk.platform, clock=desk.clock) as (disclosure, inquiries):
        if kind == "inquiry":
            made = inquiry_letter(inquiries.inquiry(fields.hex_bytes(handle)), locale, sender=sender)
        elif kind == "disclosure":
            found = disclosure.request(fields.hex_bytes(handle))
            made = disclosure_letter(found, locale, sender=sender, at=desk.clock())
        else:
            raise DataError("letter: expected inquiry or disclosure, got another word")
    return page(request, "rights/letter.html", letter=made, kind=kind, handle=handle)


@router.get("/rights/erasure", dependencies=[allow(*OVERSEERS)])
def erasure(request: Request) -> Response:
    """Every erasure order, company by company; certificates, holds, and the forms about them."""
    desk = desk_of(request)
    now = desk.clock()
    with desk.platform.store.transaction() as transaction:
        plans = transaction.plans()
    with _orders(desk) as orders:
        followed = [_order(orders, item, now) for item in orders.orders()]
        certificates = [
            {
                "handle": item.certificate_id.hex(),
                "state": words.CERTIFICATE_STATES[item.state],
                "received_at": item.received_at,
                "company": item.company,
                "campaign": item.campaign,
                "may_dispute": item.state in (CertificateState.ISSUED, CertificateState.VERIFIED),
                "is_disputed": item.state is CertificateState.DISPUTED,
            }
            for item in orders.certificates()
        ]
        holds = [(hold, words.HOLDS[hold.reason], hold.until > now) for hold in orders.holds()]
    return page(
        request,
        "rights/erasure.html",
        orders=sorted(followed, key=lambda item: (not item["is_open"], item["due_at"])),
        certificates=certificates,
        holds=holds,
        campaigns=[(plan.campaign, plan.campaign) for plan in plans],
        companies=[(name, name) for name in sorted({name for plan in plans for name in plan.companies})],
        grounds=[(item.value, words.GROUNDS[item]) for item in _issuable()],
        hold_reasons=[(item.value, words.HOLDS[item]) for item in HoldReason],
        due_days=DUE_SECONDS // _DAY_SECONDS,
        may_settle=acting(request).has(AUDITOR),
        may_hold=acting(request).has(PRIVACY_OFFICER),
    )


@router.get("/rights/erasure/report", dependencies=[allow(PRIVACY_OFFICER, AUDITOR)])
def erasure_report(request: Request) -> Response:
    """Every order, certificate state and legal hold, signed: for the auditor."""
    with _orders(desk_of(request)) as orders:
        content = orders.report()
    return download(content, name="erasure-report.json", media_type="application/json")


@router.post("/rights/erasure/issue", dependencies=[allow(*OVERSEERS)])
def issue(request: Request, form: Posted) -> Response:
    """Order every company of a campaign to erase; all of them, whoever left."""
    form.verify_confirmation("erase")
    desk = desk_of(request)
    campaign = form.text("campaign", most=64)
    about(request, "campaign", fields.name(campaign))
    ground = fields.word_of(ErasureGround)(form.text("ground", most=32))
    if ground not in _issuable():
        raise DataError("form: expected rights, season-end or leak; the end of the service orders by itself")
    with _orders(desk) as orders:
        orders.issue(
            desk.platform.plan(campaign),
            ground,
            due_seconds=_number(form, "due_days", 1, _MAX_DUE_DAYS) * _DAY_SECONDS,
            disclose_first=not form.is_ticked("erase_now"),
        )
    return redirect(
        request, "/rights/erasure", notice=_("Every company of the campaign is ordered to erase.")
    )


@router.post("/rights/erasure/sweep", dependencies=[allow(*OFFICE)])
def sweep(request: Request, form: Posted) -> Response:
    """Suspend companies whose orders fell due without a certificate."""
    del form
    desk = desk_of(request)
    with _orders(desk) as orders:
        found = sweep_erasure(desk.platform, orders, clock=desk.clock)
    companies = sorted({item.order.company for item in (*found.overdue, *found.escalated)})
    notice = _("Nothing fell due without a certificate.")
    if companies:
        notice = _("Overdue, and suspended or escalated: {companies}.").format(companies=", ".join(companies))
    return redirect(request, "/rights/erasure", notice=notice)


@router.post("/rights/erasure/hold", dependencies=[allow(PRIVACY_OFFICER)])
def hold(request: Request, form: Posted) -> Response:
    """Record a company's legal duty to keep: its orders are not due before."""
    company, campaign = (fields.name(form.text(name, most=64)) for name in ("company", "campaign"))
    about(request, "hold", f"{company}/{campaign}")
    reason = fields.word_of(HoldReason)(form.text("reason", most=32))
    with _orders(desk_of(request)) as orders:
        orders.set_hold(LegalHold(company, campaign, reason, _day(form, "until")))
    return redirect(
        request, "/rights/erasure", notice=_("The hold is recorded; the auditor's report has it.")
    )


@router.post("/rights/erasure/dispute", dependencies=[allow(PRIVACY_OFFICER, AUDITOR)])
def dispute(request: Request, form: Posted) -> Response:
    """Dispute a deletion certificate: it counts no more until that is settled."""
    certificate = fields.hex_bytes(form.text("certificate", most=64))
    about(request, "certificate", certificate.hex())
    with _orders(desk_of(request)) as orders:
        orders.dispute(certificate)
    return redirect(request, "/rights/erasure", notice=_("Disputed. An auditor settles it on site."))


@router.post("/rights/erasure/settle", dependencies=[allow(AUDITOR)])
def settle(request: Request, form: Posted) -> Response:
    """Say what the auditor found on site: the certificate holds, or its order is open again."""
    certificate = fields.hex_bytes(form.text("certificate", most=64))
    about(request, "certificate", certificate.hex())
    found = form.text("found", most=8)
    if found not in ("holds", "fails"):
        raise DataError("form: expected holds or fails, got another word")
    with _orders(desk_of(request)) as orders:
        orders.settle_dispute(certificate, holds=found == "holds")
    return redirect(request, "/rights/erasure", notice=_("The dispute is settled."))


def _orders(desk: Desk) -> AbstractContextManager[ErasureDesk]:
    return opened_erasure_desk(desk.platform, clock=desk.clock)


def _asked(desk: Desk, now: int) -> Iterable[_Item]:
    """Disclosure requests and inquiries."""
    with officer_desks(desk.platform, clock=desk.clock) as (disclosure, inquiries):
        requests, questions = disclosure.open_requests(), inquiries.open_inquiries()
    for found in requests:
        yield _Item(
            _("Disclosure"),
            found.request.hex(),
            found.company,
            words.DISCLOSURE_STATES[found.state],
            found.due_at,
            words.remaining(found.due_at, now=now),
            f"/rights/disclosures/{found.request.hex()}",
        )
    for stored in questions:
        yield _Item(
            words.TOPICS[stored.inquiry.topic],
            stored.inquiry_id.hex(),
            stored.company,
            words.INQUIRY_STATES[stored.inquiry.state],
            stored.inquiry.due_at,
            words.remaining(stored.inquiry.due_at, now=now),
            f"/rights/inquiries/{stored.inquiry_id.hex()}",
        )


def _erasure(desk: Desk, now: int) -> Iterable[_Item]:
    """Orders without a certificate, disputed certificates, and holds that are in force."""
    with _orders(desk) as orders:
        waiting = [(item, orders.due_at(item.order)) for item in orders.orders() if item.state in OPEN_STATES]
        disputed = [item for item in orders.certificates() if item.state is CertificateState.DISPUTED]
        holds = [item for item in orders.holds() if item.until > now]
    for item, due_at in waiting:
        yield _Item(
            _("Erasure order"),
            str(item.entry),
            item.order.company,
            words.ORDER_STATES[item.state],
            due_at,
            words.remaining(due_at, now=now),
            "/rights/erasure",
        )
    for certificate in disputed:
        yield _Item(
            _("Disputed certificate"),
            certificate.certificate_id.hex(),
            certificate.company,
            words.CERTIFICATE_STATES[certificate.state],
            _FAR,
            None,
            "/rights/erasure",
        )
    for found in holds:
        yield _Item(
            _("Legal hold"),
            found.campaign,
            found.company,
            words.Word(words.HOLDS[found.reason]),
            found.until,
            words.remaining(found.until, now=now),
            "/rights/erasure",
        )


def _order(orders: ErasureDesk, item: FollowedOrder, now: int) -> Mapping[str, Any]:
    due_at, is_open = orders.due_at(item.order), item.state in OPEN_STATES
    return {
        "entry": item.entry,
        "company": item.order.company,
        "campaign": item.order.campaign,
        "ground": words.GROUNDS[item.order.ground],
        "state": words.ORDER_STATES[item.state],
        "is_suspended": item.state in (OrderState.OVERDUE, OrderState.ESCALATED),
        "certificate": words.CERTIFICATE_STATES[item.certificate] if item.certificate else None,
        "due_at": due_at,
        "is_open": is_open,
        "left": words.remaining(due_at, now=now) if is_open else None,
    }


def _issuable() -> tuple[ErasureGround, ...]:
    """What a person orders for; winding down orders for the end of the service."""
    return (ErasureGround.RIGHTS, ErasureGround.SEASON_END, ErasureGround.LEAK)


def _number(form: PostedForm, name: str, low: int, high: int) -> int:
    text = form.text(name, most=8)
    if not (text.isascii() and text.isdecimal() and low <= int(text) <= high):
        raise DataError(f"form: expected a number from {low} to {high} in {name}, got another text")
    return int(text)


def _day(form: PostedForm, name: str) -> int:
    """A date of a form, as Unix seconds at the end of that day, UTC."""
    try:
        day = datetime.strptime(form.text(name, most=10), "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise DataError(f"form: expected a date in {name}, got another text") from error
    return int(day.timestamp()) + _DAY_SECONDS
