"""Asking, contesting, requesting disclosure and erasure, and how far each of it is, with its deadline.

Promises: a request is what the student's device would send (`StudentApi`) and is judged there; an erasure
says beforehand whom it reaches and what stays, and is ordered after a typed word alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response

from noren_core import ids
from noren_core.errors import DataError
from noren_core.rights.disclosure.inquiry import MAX_TEXT_CHARACTERS, InquiryState, InquiryTopic
from noren_core.rights.disclosure.requests import DisclosureState
from noren_server.rights.disclosure import RequestStatus
from noren_server.rights.erasure_orders import DUE_SECONDS
from noren_server.rights.erasure_status import ErasureStatus
from noren_server.rights.inquiries import MAX_EVIDENCE_BYTES, StoredInquiry
from noren_server.rights.student_api import Answer, Call
from noren_server.student_pages.purpose_words import (
    DENIALS,
    DISCLOSURE_STATES,
    INQUIRY_STATES,
    ORDER_STATES,
    TOPICS,
)
from noren_server.student_pages.student_desk import STUDENT, StudentDesk, desk_of, signed_in
from noren_web.access import allow
from noren_web.pages import page, redirect
from noren_web.posted_form import Posted
from noren_web.translations import lazy as _

_ASKED_HERE = (InquiryTopic.QUESTION, InquiryTopic.CONTEST_SCORE, InquiryTopic.CONTEST_USE)
_ERASE = _("erase")
_HANDLE = 32

router = APIRouter()


@router.get("/requests", dependencies=[allow(STUDENT)])
def requests(request: Request) -> Response:
    """Everything that she asked, and how far it is."""
    student, desk = signed_in(request), desk_of(request)
    now = desk.services.clock()
    return page(
        request,
        "student/requests.html",
        inquiries=[
            _inquiry(desk, student, stored, now) for stored in desk.services.inquiries.of_student(student)
        ],
        disclosures=[_disclosure(desk, student, item) for item in desk.services.disclosure.requests(student)],
        erasures=[_erasure(desk, student, status) for status in desk.services.erasures_of(student)],
    )


@router.get("/requests/ask", dependencies=[allow(STUDENT)])
def ask(request: Request) -> Response:
    """A question, or what she contests."""
    student, desk = signed_in(request), desk_of(request)
    chosen = request.query_params.get("topic", InquiryTopic.QUESTION.value)
    return page(
        request,
        "student/ask.html",
        topics=[(topic.value, TOPICS[topic]) for topic in _ASKED_HERE],
        chosen=chosen,
        companies=_companies(desk, student),
        most=MAX_TEXT_CHARACTERS,
    )


@router.post("/requests/asked", dependencies=[allow(STUDENT)])
def asked(request: Request, form: Posted) -> Response:
    """Open an inquiry."""
    student, desk = signed_in(request), desk_of(request)
    body = {
        "topic": form.text("topic", most=64),
        "company": form.text("company", most=64, default=""),
        "text": form.text("text", most=MAX_TEXT_CHARACTERS),
        "evidence": "",
    }
    desk.ask(student, desk.operations.open_inquiry, body)
    return redirect(request, "/requests", notice=_("Received. A person answers you within 14 days."))


@router.post("/requests/contradiction", dependencies=[allow(STUDENT)])
def contradiction(request: Request, form: Posted) -> Response:
    """Report an answer that contradicts the records, with the company's words as her browser opened them."""
    student, desk = signed_in(request), desk_of(request)
    body = {
        "topic": InquiryTopic.RECONCILE.value,
        "company": form.text("company", most=64),
        "text": str(TOPICS[InquiryTopic.RECONCILE]),
        "evidence": form.text("evidence", most=2 * MAX_EVIDENCE_BYTES),
    }
    desk.ask(student, desk.operations.open_inquiry, body)
    return redirect(request, "/requests", notice=_("Received. A person answers you within 14 days."))


@router.post("/requests/inquiry/{step}", dependencies=[allow(STUDENT)])
def inquiry_step(request: Request, step: str, form: Posted) -> Response:
    """She is content with an answer, or she is not."""
    student, desk = signed_in(request), desk_of(request)
    steps: dict[str, Callable[[Call], Answer]] = {
        "close": desk.operations.close_inquiry,
        "escalate": desk.operations.escalate_inquiry,
    }
    if step not in steps:
        raise DataError("inquiry: expected to close or to escalate it, got another")
    desk.ask(student, steps[step], {"inquiry": form.text("inquiry", most=_HANDLE)})
    return redirect(request, "/requests", notice=_("Recorded."))


@router.get("/requests/disclosure", dependencies=[allow(STUDENT)])
def disclosure(request: Request) -> Response:
    """What can be disclosed, and by whom."""
    student, desk = signed_in(request), desk_of(request)
    return page(
        request,
        "student/disclosure.html",
        companies=_companies(desk, student),
        key=(desk.services.consents.book.student_key(student) or b"").hex(),
    )


@router.post("/requests/disclosed", dependencies=[allow(STUDENT)])
def disclosed(request: Request, form: Posted) -> Response:
    """Open a request for disclosure; a new key is sent along where her browser put one in."""
    student, desk = signed_in(request), desk_of(request)
    scope = {
        "platform_data": form.is_ticked("platform_data"),
        "consent_history": form.is_ticked("consent_history"),
        "provision_records": form.is_ticked("provision_records"),
        "company": form.text("company", most=64, default=""),
    }
    key = form.text("disclosure_key", most=64, default="")
    desk.ask(student, desk.operations.open_disclosure, {"scope": scope, "disclosure_key": key})
    return redirect(request, "/requests", notice=_("Your request for disclosure is open."))


@router.post("/requests/disclosure/revoked", dependencies=[allow(STUDENT)])
def revoke(request: Request, form: Posted) -> Response:
    """She does not want the answer any more."""
    student, desk = signed_in(request), desk_of(request)
    desk.ask(student, desk.operations.revoke_disclosure, {"request": form.text("request", most=_HANDLE)})
    return redirect(request, "/requests", notice=_("You took the request back."))


@router.get("/requests/erasure", dependencies=[allow(STUDENT)])
def erasure(request: Request, company: str = "") -> Response:
    """Whom an erasure reaches and what stays; for one company, or everywhere."""
    student, desk = signed_in(request), desk_of(request)
    if company:
        ids.parse_name(company, "company")
    lines = [line for line in desk.services.reports.provisions(student) if company in ("", line.company)]
    live = [
        stored.record
        for stored in desk.records(student)
        if stored.record.is_live and company in ("", stored.record.key.company)
    ]
    return page(
        request,
        "student/erasure.html",
        companies=_companies(desk, student),
        chosen=company,
        called=desk.company_called(student, company) if company else "",
        reached=sorted({desk.called(line.company, line.position)[0] for line in lines}),
        rows=len(lines),
        live=len(live),
        days=DUE_SECONDS // 86_400,
        word=_ERASE,
    )


@router.post("/requests/erased", dependencies=[allow(STUDENT)])
def erased(request: Request, form: Posted) -> Response:
    """Order the erasure, if the word was typed."""
    student, desk = signed_in(request), desk_of(request)
    form.verify_confirmation(str(_ERASE))
    body = {"company": form.text("company", most=64, default=""), "now": form.is_ticked("now")}
    desk.ask(student, desk.operations.erase, body)
    return redirect(request, "/requests", notice=_("The erasure is ordered."))


def _companies(desk: StudentDesk, student: str) -> list[tuple[str, str]]:
    """Those that she has a record about, with what they call themselves."""
    keys = [stored.record.key for stored in desk.records(student)]
    called = {key.company: desk.called(key.company, key.position)[0] for key in keys}
    return sorted(called.items())


def _inquiry(desk: StudentDesk, student: str, stored: StoredInquiry, now: int) -> dict[str, Any]:
    words, tone = INQUIRY_STATES[stored.inquiry.state]
    return {
        "handle": stored.inquiry_id.hex(),
        "topic": TOPICS[stored.inquiry.topic],
        "company": desk.company_called(student, stored.company) if stored.company else "",
        "state": words,
        "tone": tone,
        "text": stored.text,
        "answer": stored.answer,
        "opened_at": stored.inquiry.opened_at,
        "due_at": stored.inquiry.due_at,
        "overdue": stored.inquiry.is_overdue(now=now),
        "may_close": stored.inquiry.state is InquiryState.ANSWERED,
        "may_escalate": stored.inquiry.state in (InquiryState.OPEN, InquiryState.ANSWERED),
    }


def _disclosure(desk: StudentDesk, student: str, status: RequestStatus) -> dict[str, Any]:
    words, tone = DISCLOSURE_STATES[status.state]
    scope = status.scope
    asked = [
        (scope.platform_data, _("what the site holds")),
        (scope.consent_history, _("my consents")),
        (scope.provision_records, _("what was provided")),
    ]
    return {
        "handle": status.request.hex(),
        "asked": [text for is_asked, text in asked if is_asked],
        "company": desk.company_called(student, scope.company) if scope.company else "",
        "state": words,
        "tone": tone,
        "opened_at": status.opened_at,
        "due_at": status.due_at,
        "reasons": [DENIALS[reason] for reason in status.reasons],
        "answers": (sum(received for _item, received in status.items), len(status.items)),
        "is_open": status.state is DisclosureState.IN_PROGRESS,
    }


def _erasure(desk: StudentDesk, student: str, status: ErasureStatus) -> dict[str, Any]:
    return {
        "company": desk.company_called(student, status.company) if status.company else "",
        "at": status.at,
        "disclose_first": status.disclose_first,
        "orders": [
            (desk.company_called(student, order.company), *ORDER_STATES[order.state], order.due_at)
            for order in status.orders
        ],
    }
