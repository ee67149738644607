"""My consents: what is agreed, its receipts, and withdrawing, which takes a press and a confirmation.

Promises: every record of hers is listed with its state; a withdrawal works from her session alone, without a
script, a key or a reason, for one consent, for a company, or for all of them; a receipt is the one that the
consent service signs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from noren_core import canonical_json, ids
from noren_core.errors import DataError, LocalProtocolError
from noren_core.rights.consent.consent_event import RECORD_BYTES, EventKind
from noren_core.rights.consent.consent_record import ConsentRecord
from noren_core.rights.notices.policy import WithdrawalEffect
from noren_server.student_pages.purpose_words import CATEGORIES, PURPOSES, STATES
from noren_server.student_pages.student_desk import STUDENT, StudentDesk, desk_of, signed_in
from noren_web.access import allow
from noren_web.pages import download, page, redirect
from noren_web.posted_form import Posted
from noren_web.translations import lazy as _

_MOST_RECORDS = 256

_DAYS = re.compile(r"P([0-9]+)D\Z")
_EFFECTS = {
    WithdrawalEffect.STOP.value: _("nothing new is computed"),
    WithdrawalEffect.STOP_AND_ERASE.value: _("nothing new is computed, and what was provided can be erased"),
}

router = APIRouter()


@router.get("/", dependencies=[allow(STUDENT)])
def records(request: Request) -> Response:
    """What she agreed to, each with its withdrawal; then everything else that there is a record of."""
    student, desk = signed_in(request), desk_of(request)
    found = [stored.record for stored in desk.records(student)]
    live = [record for record in found if record.is_live]
    return page(
        request,
        "student/records.html",
        live=[_row(desk, record) for record in live],
        ended=[_row(desk, record) for record in reversed(found) if not record.is_live],
        companies=sorted({record.key.company for record in live}),
        asked=request.state.session.data.get("asked"),
    )


@router.get("/withdrawal/one/{handle}", dependencies=[allow(STUDENT)])
def withdraw_one(request: Request, handle: str) -> Response:
    """What withdrawing one consent does."""
    student, desk = signed_in(request), desk_of(request)
    record = _own_record(desk, student, handle)
    return _confirmation(request, desk, [record] if record.is_live else [])


@router.get("/withdrawal/company/{company}", dependencies=[allow(STUDENT)])
def withdraw_company(request: Request, company: str) -> Response:
    """What withdrawing everything from one company does."""
    student, desk = signed_in(request), desk_of(request)
    ids.parse_name(company, "company")
    return _confirmation(request, desk, [r for r in _live(desk, student) if r.key.company == company])


@router.get("/withdrawal/all", dependencies=[allow(STUDENT)])
def withdraw_all(request: Request) -> Response:
    """What withdrawing everything does."""
    student, desk = signed_in(request), desk_of(request)
    return _confirmation(request, desk, _live(desk, student))


@router.post("/withdrawal", dependencies=[allow(STUDENT)])
def withdraw(request: Request, form: Posted) -> Response:
    """End these consents, at once; all of them or none."""
    student, desk = signed_in(request), desk_of(request)
    handles = form.many("record", most=_MOST_RECORDS, most_each=2 * RECORD_BYTES)
    chosen = [_own_record(desk, student, handle).record for handle in handles]
    desk.services.consents.say_no(student, EventKind.WITHDRAWN, chosen, now=desk.services.clock())
    return redirect(request, "/", notice=_("You withdrew. Nothing new is computed from now on."))


@router.get("/receipts/{handle}", dependencies=[allow(STUDENT)])
def receipt(request: Request, handle: str) -> Response:
    """A receipt to read and print."""
    student, desk = signed_in(request), desk_of(request)
    record = _own_record(desk, student, handle)
    said = canonical_json.parse(_receipt(desk, student, record))
    company, position = desk.called(record.key.company, record.key.position)
    return page(
        request,
        "student/receipt.html",
        body=said["body"],
        kept=_kept(said["body"]["terms"]["retention"]),
        effect=_EFFECTS.get(said["body"]["terms"]["withdrawal_effect"], ""),
        data=", ".join(_category(name) for name in said["body"]["terms"]["data_categories"]),
        record=record,
        company=company,
        position=position,
        purpose=PURPOSES[record.key.purpose],
        state=STATES[record.overruled or record.state],
        handle=handle,
    )


@router.get("/receipts/{handle}/file", dependencies=[allow(STUDENT)])
def receipt_file(request: Request, handle: str) -> Response:
    """The same as the file that verifies offline."""
    student, desk = signed_in(request), desk_of(request)
    content = _receipt(desk, student, _own_record(desk, student, handle))
    return download(content, name=f"consent-receipt-{handle[:8]}.json", media_type="application/json")


def _row(desk: StudentDesk, record: ConsentRecord) -> dict[str, Any]:
    company, position = desk.called(record.key.company, record.key.position)
    words, tone = STATES[record.overruled or record.state]
    return {
        "handle": record.record.hex(),
        "company": company,
        "company_name": record.key.company,
        "position": position,
        "season": record.key.season,
        "purpose": PURPOSES[record.key.purpose],
        "state": words,
        "tone": tone,
        "at": record.last_time,
        "until": record.answer.expires_at if record.answer is not None else 0,
    }


def _kept(duration: str) -> str:
    """Days, as receipts state them (ISO 8601), in words."""
    found = _DAYS.match(duration)
    return str(_("{days} days").format(days=found[1])) if found else duration


def _category(name: str) -> str:
    words = {category.value: str(text) for category, text in CATEGORIES.items()}
    return words.get(name, name)


def _live(desk: StudentDesk, student: str) -> list[ConsentRecord]:
    return [stored.record for stored in desk.records(student) if stored.record.is_live]


def _own_record(desk: StudentDesk, student: str, handle: str) -> ConsentRecord:
    """The record with this handle, if it is hers."""
    for stored in desk.records(student):
        if stored.record.record.hex() == handle:
            return stored.record
    raise LocalProtocolError("consents: expected a record of hers, got another", code="NOT_AVAILABLE")


def _confirmation(request: Request, desk: StudentDesk, chosen: Sequence[ConsentRecord]) -> Response:
    return page(request, "student/withdrawal.html", rows=[_row(desk, record) for record in chosen])


def _receipt(desk: StudentDesk, student: str, record: ConsentRecord) -> bytes:
    """Receipts come in the order of the records."""
    order = [stored.record.record for stored in desk.records(student)]
    receipts = desk.services.receipts(student)
    if len(receipts) != len(order):  # another record began in between
        raise DataError("receipt: expected the same records twice, got others; try again")
    return receipts[order.index(record.record)]
