"""My scores: the sealed copies that companies deposited, opened in the student's browser and nowhere else.

Promises: the site hands out ciphertexts, the companies' public keys and the ledger's deposits; what the
browser opens is put on the page by a script and is never sent back. That an answer came is all that the
browser tells.
"""

from __future__ import annotations

import json

from fastapi import APIRouter, Request, Response

from noren_core import canonical_json
from noren_core.ids import TableKind
from noren_core.rights.disclosure.mirror import MAILBOX_BYTES
from noren_core.rights.disclosure.mirror_copy import REQUEST_BYTES
from noren_core.rights.disclosure.student_report import device_words
from noren_server.rights.student_api import Call
from noren_server.student_pages.purpose_words import ACCESS_WORDS, CATEGORIES
from noren_server.student_pages.student_desk import STUDENT, desk_of, signed_in
from noren_web import translations
from noren_web.access import allow
from noren_web.pages import page
from noren_web.posted_form import Posted

_DAY = 86_400

router = APIRouter()


@router.get("/scores", dependencies=[allow(STUDENT)])
def scores(request: Request) -> Response:
    """The mailboxes with what lies in them, and what is needed to open it."""
    student, desk = signed_in(request), desk_of(request)
    book, locale = desk.services.consents.book, translations.locale()
    provisions = desk.services.reports.provisions(student)
    boxes = []
    for company, handle in book.mailboxes(student):
        days = desk.services.mailboxes.days(company=company, mailbox=handle)
        boxes.append(
            {
                "company": company,
                "called": desk.company_called(student, company),
                "mailbox": handle.hex(),
                "count": len(days),
                "first": days[0] * _DAY if days else 0,
                "last": days[-1] * _DAY if days else 0,
                "company_keys": json.dumps(sorted(key.hex() for key in desk.company_keys(company))),
                "provided": json.dumps(
                    [
                        [line.campaign, line.position, line.at]
                        for line in provisions
                        if line.company == company and line.kind is TableKind.SCORE
                    ]
                ),
                "deposits": json.dumps(
                    {str(item.index): [item.campaign, item.root] for item in desk.deposits(company)}
                ),
            }
        )
    said = {**ACCESS_WORDS, **{category.value: text for category, text in CATEGORIES.items()}}
    words = {**device_words(locale), **{f"said {code}": str(text) for code, text in said.items()}}
    owed = {
        item.hex()
        for status in desk.services.disclosure.requests(student)
        for item, received in status.items
        if not received
    }
    return page(
        request,
        "student/scores.html",
        boxes=boxes,
        key=(book.student_key(student) or b"").hex(),
        words=json.dumps(words, ensure_ascii=False),
        owed=" ".join(sorted(owed)),
    )


@router.post("/scores/copies", dependencies=[allow(STUDENT)])
def copies(request: Request, form: Posted) -> Response:
    """A page of the sealed copies in one of her mailboxes, for the script that opens them."""
    student, desk = signed_in(request), desk_of(request)
    query = {
        "mailbox": form.text("mailbox", most=2 * MAILBOX_BYTES),
        "after": form.text("after", most=18, default="0"),
    }
    answer = desk.operations.copies(Call(student, {}, query, b"", ""))
    return Response(answer.content, media_type=answer.media_type)


@router.post("/scores/received", dependencies=[allow(STUDENT)])
def received(request: Request, form: Posted) -> Response:
    """Her browser opened the answer to a disclosure request."""
    student, desk = signed_in(request), desk_of(request)
    item = form.text("item", most=2 * REQUEST_BYTES)
    desk.ask(student, desk.operations.answer_received, {"item": item})
    return Response(canonical_json.encode({}), media_type="application/json")
