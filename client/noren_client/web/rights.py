"""The rights inbox: students' questions, erasure orders with deadlines, holds, certificates, comparison.

Promises: nobody here learns which student asked what: the program answers, and the page says when it did
last; an order is shown once the ledger proved it; what is carried out is the same as by command and timer. A
certificate's name in an address is the random one of its order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fastapi import APIRouter, Request, Response

from noren_client import campaign_files, config
from noren_client.ledger_watch import LedgerWatch
from noren_client.rights import daily_work, disclosure_answers, orders, provision_records, retention
from noren_client.rights.transport import RightsClient
from noren_client.web.desk import Desk, authorised, desk_of, may, start_job
from noren_core.errors import DataError, LocalProtocolError, NorenError
from noren_core.ids import TableKind, parse_name
from noren_core.ledger.entries import ErasureGround
from noren_core.rights.erasure.deletion_certificate import DeletionCertificate, parse_certificate
from noren_core.rights.erasure.erasure_order import HoldReason, LegalHold, OrderState
from noren_core.rights.erasure.retention import Kept
from noren_core.rights.gate.roles import Action
from noren_web.jobs import Job
from noren_web.pages import download, page, redirect
from noren_web.posted_form import Posted
from noren_web.translations import Text
from noren_web.translations import lazy as _

MAX_COMPARISON_BYTES = 64 << 20
ERASE_WORD = "erase"
_ORDER = re.compile(r"[0-9a-f]{32}\Z")
_DAY_SECONDS = 86_400

GROUND_WORDS: dict[ErasureGround, Text] = {
    ErasureGround.RIGHTS: _("Rights of students"),
    ErasureGround.SEASON_END: _("End of the season"),
    ErasureGround.ABOLITION: _("End of the service"),
    ErasureGround.LEAK: _("A leak"),
}
STATE_WORDS: dict[OrderState, Text] = {
    OrderState.ISSUED: _("Issued"),
    OrderState.RECEIVED: _("Received"),
    OrderState.EXECUTING: _("Being carried out"),
    OrderState.CERTIFIED: _("Certified"),
    OrderState.VERIFIED: _("Verified"),
    OrderState.OVERDUE: _("Overdue"),
    OrderState.ESCALATED: _("Escalated"),
}
HOLD_WORDS: dict[HoldReason, Text] = {
    HoldReason.COURT_ORDER: _("Order of a court"),
    HoldReason.AUTHORITY_REQUEST: _("Request of an authority"),
    HoldReason.PENDING_LITIGATION: _("A lawsuit is pending"),
}
KEPT_WORDS: dict[Kept, Text] = {
    Kept.TRAINING_ROWS: _("Training rows"),
    Kept.REPLAY_DATA: _("Data for a replay"),
    Kept.SCORES: _("Scores"),
    Kept.FOLLOW_UP_NOTES: _("Notes of follow-up"),
    Kept.PROVISION_TWINS: _("Records of what was received"),
    Kept.CERTIFICATES: _("Deletion certificates"),
}
TABLE_WORDS: dict[TableKind, Text] = {
    TableKind.TRAIN: _("For training"),
    TableKind.SCORE: _("For scoring"),
}

router = APIRouter()


@dataclass(frozen=True, slots=True)
class KnownCertificate:
    """One certificate that was delivered, by the random name of its order."""

    order: str
    certificate: DeletionCertificate
    is_cosigned: bool


@router.get("/rights", dependencies=[may(Action.ANSWER_DISCLOSURE, Action.CERTIFY_DELETION)])
def inbox(request: Request) -> Response:
    """Everything that is owed, with its deadline."""
    desk = desk_of(request)
    names = desk.campaigns()
    now = desk.clock()
    return page(
        request,
        "rights/inbox.html",
        now=now,
        campaigns=names,
        answered=[(name, _answered_at(desk, name)) for name in names],
        late_seconds=2 * _DAY_SECONDS,
        orders=[(name, desk.orders.get(name), orders.kept_states(desk.directory, name)) for name in names],
        has_waiting=desk.has_waiting_orders(),
        holds=[hold for name in names if (hold := orders.kept_hold(desk.directory, name)) is not None],
        certificates=_certificates(desk),
        twins=[(twin, TABLE_WORDS[twin.kind]) for twin in provision_records.twins(desk.directory)],
        overdue=[KEPT_WORDS[kept] for kept in retention.overdue(desk.directory, now=now)]
        if desk.has_begun
        else [],
        ground_words=GROUND_WORDS,
        state_words=STATE_WORDS,
        hold_words=HOLD_WORDS,
        jobs=[job for kind in _JOBS if (job := request.app.state.jobs.newest(kind)) is not None],
    )


@router.post("/rights/answer", dependencies=[may(Action.ANSWER_DISCLOSURE)])
def answer(request: Request, form: Posted) -> Response:
    """Answer every question of students now, in a job."""
    del form
    desk = desk_of(request)
    authorised(request, Action.ANSWER_DISCLOSURE)

    def work(job: Job) -> None:
        names = desk.campaigns()
        for number, name in enumerate(names):
            job.progress(number, len(names))
            daily_work.answer_students(desk.directory, name, now=desk.clock())

    title = _("Answering students")
    return start_job(request, work, kind="rights answers", title=title, next_path="/rights")


@router.post("/rights/orders", dependencies=[may(Action.CERTIFY_DELETION)])
def fetch_orders(request: Request, form: Posted) -> Response:
    """Ask the platform for this company's erasure orders; each is proven by the ledger."""
    del form
    desk = desk_of(request)
    authorised(request, Action.CERTIFY_DELETION)
    with RightsClient(desk.directory) as rights:
        for name in desk.campaigns():
            found = orders.fetch(desk.directory, name, rights, LedgerWatch(desk.directory))
            desk.orders[name] = (desk.clock(), found)
    return redirect(request, "/rights", notice=_("The platform answered, and its answer is proven."))


@router.get("/rights/erasure", dependencies=[may(Action.CERTIFY_DELETION)])
def erasure(request: Request) -> Response:
    """What carrying out the orders will do, with a typed confirmation."""
    return page(request, "rights/erasure.html", word=ERASE_WORD)


@router.post("/rights/erasure", dependencies=[may(Action.CERTIFY_DELETION)])
def erase(request: Request, form: Posted) -> Response:
    """Carry out every order, search, certify, in a job."""
    desk = desk_of(request)
    form.verify_confirmation(ERASE_WORD)
    authorised(request, Action.CERTIFY_DELETION)

    def work(job: Job) -> None:
        job.progress(0, step=str(_("Answering students, deleting, searching, certifying …")))
        daily_work.carry_out_orders(desk.directory, desk.campaigns())
        desk.orders.clear()  # how far they are is another now

    title = _("Carrying out erasure orders")
    return start_job(request, work, kind="rights erasure", title=title, next_path="/rights")


@router.post("/rights/retention", dependencies=[may(Action.CERTIFY_DELETION)])
def delete_old(request: Request, form: Posted) -> Response:
    """Delete what has come to its end, as the daily timer does."""
    del form
    authorised(request, Action.CERTIFY_DELETION)
    deleted = retention.run(desk_of(request).directory, now=desk_of(request).clock())
    if not deleted:
        return redirect(request, "/rights", notice=_("Nothing had come to its end."))
    words = ", ".join(str(KEPT_WORDS[kept]) for kept in deleted)
    return redirect(request, "/rights", notice=_("Deleted: {what}.").format(what=words))


@router.get("/rights/hold", dependencies=[may(Action.CERTIFY_DELETION)])
def hold_page(request: Request) -> Response:
    """The form for a duty to keep."""
    return _hold_page(request, error=None)


@router.post("/rights/hold", dependencies=[may(Action.CERTIFY_DELETION)])
def set_hold(request: Request, form: Posted) -> Response:
    """Record a duty to keep what there is of a campaign."""
    desk = desk_of(request)
    campaign = desk.campaign(parse_name(form.text("campaign", most=40), "campaign"))
    reason, until = form.text("reason", most=40), _day_end(form.text("until", most=10))
    if until is None or until <= desk.clock():
        return _hold_page(request, error=_("A day in the future, as 2027-03-31."))
    if reason not in tuple(HoldReason):
        raise DataError("form: expected a reason from the list, got another")
    authorised(request, Action.CERTIFY_DELETION)
    company = config.load(desk.directory).company
    orders.set_hold(desk.directory, LegalHold(company, campaign, HoldReason(reason), until))
    notice = _("The hold is recorded. Tell the platform's operator as well.")
    return redirect(request, "/rights", notice=notice)


@router.get("/rights/certificates/{order}", dependencies=[may(Action.CERTIFY_DELETION)])
def certificate(request: Request, order: str) -> Response:
    """One deletion certificate as it was delivered, to be saved."""
    path = _certificate_path(desk_of(request), order)
    return download(
        path.read_bytes(), name=f"deletion-certificate-{order}.json", media_type="application/json"
    )


@router.get("/rights/comparison", dependencies=[may(Action.ANSWER_DISCLOSURE)])
def comparison(request: Request) -> Response:
    """The form for an auditor's comparison."""
    return _comparison_page(request, result=None, status=200)


@router.post("/rights/comparison", dependencies=[may(Action.ANSWER_DISCLOSURE)])
def compare(request: Request, form: Posted) -> Response:
    """Whether every row that was opened is one that the platform wrote down."""
    authorised(request, Action.ANSWER_DISCLOSURE)
    table = form.text("table", most=32)
    if not _ORDER.match(table):
        raise DataError("form: expected a table of the list, got another text")
    file = form.file("file", most_bytes=MAX_COMPARISON_BYTES)
    try:
        provision_records.compare(desk_of(request).directory, file.content, bytes.fromhex(table))
    except NorenError as error:
        if error.code != "PROVISION_MISMATCH":
            raise
        return _comparison_page(request, result=False, status=422)
    return _comparison_page(request, result=True, status=200)


_JOBS = ("rights answers", "rights erasure")


def _hold_page(request: Request, *, error: Text | None) -> Response:
    return page(
        request,
        "rights/hold.html",
        status=200 if error is None else 422,
        campaigns=[(name, name) for name in desk_of(request).campaigns()],
        reasons=[(reason.value, words) for reason, words in HOLD_WORDS.items()],
        error=error,
    )


def _comparison_page(request: Request, *, result: bool | None, status: int) -> Response:
    tables = [
        (twin.table_id.hex(), f"{twin.campaign} – {TABLE_WORDS[twin.kind]}")
        for twin in provision_records.twins(desk_of(request).directory)
    ]
    return page(request, "rights/comparison.html", status=status, tables=tables, result=result)


def _answered_at(desk: Desk, campaign: str) -> int:
    """When this company last answered students about a campaign, Unix seconds; 0 if it never did."""
    told = campaign_files.secret_name(campaign, disclosure_answers.TOLD_FILE)
    path = desk.directory / told
    return int(path.stat().st_mtime) if path.exists() else 0


def _certificates(desk: Desk) -> list[KnownCertificate]:
    """Those that were delivered, the newest first; a damaged file is left out, its order stays open."""
    found = []
    for path in (desk.directory / "rights" / "certificates").glob("*.json"):
        try:
            said, _, cosignature = parse_certificate(path.read_bytes())
        except DataError:
            continue
        found.append(KnownCertificate(path.stem, said, cosignature is not None))
    return sorted(found, key=lambda known: known.certificate.completed_at, reverse=True)


def _certificate_path(desk: Desk, order: str) -> Path:
    path = desk.directory / "rights" / "certificates" / f"{order}.json"
    if not _ORDER.match(order) or not path.is_file():
        raise LocalProtocolError("rights: expected a certificate of ours, got none", code="NOT_FOUND")
    return path


def _day_end(text: str) -> int | None:
    """The end of a day of UTC, Unix seconds; None for another text."""
    try:
        return int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()) + _DAY_SECONDS
    except ValueError:
        return None
