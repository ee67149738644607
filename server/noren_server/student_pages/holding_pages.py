"""Who has what: what was provided to whom, when, under which consent, and the privacy budget so far."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from noren_core.ids import TableKind
from noren_core.rights.disclosure.student_report import to_html
from noren_server.student_pages.student_desk import STUDENT, desk_of, signed_in
from noren_web import translations
from noren_web.access import allow
from noren_web.pages import download, page
from noren_web.translations import lazy as _

_KINDS = {
    TableKind.TRAIN: _("A training row with noise; it opens only at a company where you applied"),
    TableKind.SCORE: _("An encrypted row for an estimate; the site does not know what came out"),
}

router = APIRouter()


@router.get("/holdings", dependencies=[allow(STUDENT)])
def holdings(request: Request) -> Response:
    """The platform's part of her report, as tables."""
    student, desk = signed_in(request), desk_of(request)
    report = desk.services.reports.report(student)
    return page(
        request,
        "student/holdings.html",
        report=report,
        rows=[
            {
                "company": desk.called(line.company, line.position)[0],
                "position": desk.called(line.company, line.position)[1],
                "what": _KINDS[line.kind],
                "at": line.at,
                "record": line.record,
            }
            for line in reversed(report.provisions)
        ],
    )


@router.get("/holdings/report", dependencies=[allow(STUDENT)])
def report_page(request: Request) -> Response:
    """The whole report as one page that can be kept and printed."""
    report = desk_of(request).services.reports.report(signed_in(request))
    content = to_html(report, translations.locale()).encode()
    return download(content, name="report.html", media_type="text/html; charset=utf-8")


@router.get("/holdings/report-file", dependencies=[allow(STUDENT)])
def report_file(request: Request) -> Response:
    """The same for programs."""
    content = desk_of(request).services.reports.report(signed_in(request)).to_bytes()
    return download(content, name="report.json", media_type="application/json")
