"""Coverage: who would be processed without consent, what an auditor says of it, what keeps a launch shut.

The figures are those that everybody may see (`noren_server.coverage.public_report`); the exact report is a
file for the privacy officer and the auditor. Computing, reviewing and attesting are three people's steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response

from noren_core.rights.coverage.classes import CoverageClass
from noren_core.rights.coverage.coverage_report import (
    MAX_ATTESTATION_BYTES,
    BlockReason,
    ReportState,
)
from noren_core.rights.coverage.small_cells import TOTAL
from noren_core.rights.purposes import Purpose
from noren_server.console.desk import about, acting, desk_of
from noren_server.console.governance import words
from noren_server.console.governance.who_may import AUDITOR, OFFICE, PRIVACY_OFFICER, READERS
from noren_server.coverage.classification import Question
from noren_server.coverage.opening import compute_on_platform, coverage_runs, standing, take_attestation
from noren_server.coverage.public_report import BREAKDOWNS, public_figures
from noren_server.coverage.runs import REPORT, Run
from noren_web.access import allow
from noren_web.charts import Chart, ChartKind, Series
from noren_web.jobs import Job
from noren_web.pages import download, page, redirect
from noren_web.posted_form import Posted
from noren_web.translations import Text
from noren_web.translations import lazy as _

router = APIRouter()

_MAX_PHASES = 8
_BREAKDOWN_NAMES: Mapping[str, Text] = {
    "company": _("Company"),
    "purpose": _("Purpose"),
    "phase": _("Phase"),
    "route": _("Route"),
    "month": _("Month of registration"),
}


@dataclass(frozen=True, slots=True)
class _Row:
    """One run in a list."""

    name: str
    as_of: int
    state: words.Word
    is_clear: bool | None


@router.get("/coverage", dependencies=[allow(*READERS)])
def campaigns(request: Request) -> Response:
    """Every campaign, with its newest run."""
    desk = desk_of(request)
    with desk.platform.store.transaction() as transaction:
        names = sorted(plan.campaign for plan in transaction.plans())
    runs = coverage_runs(desk.platform.directory)
    listed = []
    for name in names:
        rows = [_row(run) for run in runs.runs(name)]
        listed.append((name, max(rows, key=lambda row: row.as_of, default=None)))
    return page(request, "coverage/campaigns.html", campaigns=listed)


@router.get("/coverage/{campaign}", dependencies=[allow(*READERS)])
def campaign(request: Request, campaign: str) -> Response:
    """A campaign's runs, and in one sentence what keeps its launch shut."""
    desk = desk_of(request)
    desk.platform.plan(campaign)
    now = standing(desk.platform, campaign, now=desk.clock())
    rows = sorted((_row(run) for run in now.runs), key=lambda row: -row.as_of)
    return page(
        request,
        "coverage/campaign.html",
        campaign=campaign,
        rows=rows,
        obstacles=_sentence(now.obstacles),
        codes=[reason.value for reason in now.obstacles],
        job=_own_job(request, f"coverage {campaign}"),
    )


@router.post("/coverage/{campaign}/run", dependencies=[allow(*OFFICE)])
def compute(request: Request, campaign: str, form: Posted) -> Response:
    """Begin a run on the platform's own data, as of now."""
    desk = desk_of(request)
    desk.platform.plan(campaign)
    about(request, "campaign", campaign)
    phases = tuple(
        word.strip() for word in form.text("phases", most=200, default="").split(",") if word.strip()
    )
    now = desk.clock()
    step = str(_("Everybody whom the campaign would process is classified."))

    def work(job: Job) -> None:
        job.progress(0, 0, step)
        compute_on_platform(desk.platform, campaign, Question(now, phases[:_MAX_PHASES]), now=now)

    job = request.app.state.jobs.start(
        work,
        kind=f"coverage {campaign}",
        owner=acting(request).name,
        title=_("Coverage of {campaign}").format(campaign=campaign),
        next_path=f"/coverage/{campaign}",
    )
    return redirect(request, f"/jobs/{job.job}")


@router.get("/coverage/{campaign}/{run}", dependencies=[allow(*READERS)])
def result(request: Request, campaign: str, run: str) -> Response:
    """What a run computed."""
    desk = desk_of(request)
    found = coverage_runs(desk.platform.directory).run(campaign, run)
    if found.state is ReportState.DRAFT:
        return page(
            request,
            "coverage/unfinished.html",
            campaign=campaign,
            job=_own_job(request, f"coverage {campaign}"),
        )
    public = public_figures(found.report())
    return page(
        request,
        "coverage/result.html",
        campaign=campaign,
        run=found,
        state=words.RUN_STATES[found.state],
        is_computed=found.state is ReportState.COMPUTED,
        is_reviewed=found.state is ReportState.REVIEWED,
        public=public,
        reasons=_sentence([BlockReason(code) for code in public["reasons"]]),
        transitions=[
            {**item, "purpose": _row_name("purpose", item["purpose"])} for item in public["transitions"]
        ],
        chart=_class_chart(public["classes"]),
        paths=_paths(public),
        breakdowns=_breakdowns(public["breakdowns"]),
    )


@router.get("/coverage/{campaign}/{run}/report.json", dependencies=[allow(PRIVACY_OFFICER, AUDITOR)])
def exact_report(request: Request, campaign: str, run: str) -> Response:
    """The exact report, for the auditor's own program."""
    found = coverage_runs(desk_of(request).platform.directory).run(campaign, run)
    found.report()
    return download(
        (found.directory / REPORT).read_bytes(), name="report.json", media_type="application/json"
    )


@router.post("/coverage/{campaign}/{run}/review", dependencies=[allow(PRIVACY_OFFICER)])
def review(request: Request, campaign: str, run: str, form: Posted) -> Response:
    """Say that the operator has read the report."""
    del form
    runs = coverage_runs(desk_of(request).platform.directory)
    about(request, "coverage", f"{campaign}/{runs.run(campaign, run).name}")
    runs.review(campaign, run)
    return redirect(
        request, f"/coverage/{campaign}/{run}", notice=_("Reviewed. An auditor can attest it now.")
    )


@router.post("/coverage/attest", dependencies=[allow(AUDITOR)])
def attest(request: Request, form: Posted) -> Response:
    """Put the attestation in the ledger that the auditor's own program made."""
    data = form.file("attestation", most_bytes=MAX_ATTESTATION_BYTES + 1).content
    said = take_attestation(desk_of(request).platform, data)
    about(request, "campaign", said.campaign)
    return redirect(
        request,
        f"/coverage/{said.campaign}",
        notice=_("The attestation is in the ledger; the report counts."),
    )


def _row(run: Run) -> _Row:
    if run.state is ReportState.DRAFT:
        return _Row(run.name, int(run.name.split("-")[0]), words.RUN_STATES[run.state], None)
    report = run.report()
    return _Row(run.name, report.as_of, words.RUN_STATES[run.state], not report.reasons)


def _own_job(request: Request, kind: str) -> Job | None:
    """The last job of this kind, if it is of who looks: others are told that one runs."""
    job: Job | None = request.app.state.jobs.newest(kind)
    return job if job is not None and job.owner == acting(request).name else None


def _sentence(reasons: Sequence[BlockReason]) -> str:
    """Everything that blocks, in one sentence; empty if nothing does."""
    if not reasons:
        return ""
    comma = str(_("; "))
    return str(
        _("The launch is blocked: {reasons}.").format(
            reasons=comma.join(str(words.OBSTACLES[reason]) for reason in reasons)
        )
    )


def _class_chart(classes: Mapping[str, Any]) -> Chart | None:
    if not classes:
        return None
    values = tuple(_drawn(classes[item.value]) for item in CoverageClass)
    return Chart(
        kind=ChartKind.BAR,
        title=str(_("Uses by class")),
        across=str(_("Class")),
        labels=tuple(f"{item.value} {words.CLASSES[item]}" for item in CoverageClass),
        series=(Series(str(_("Uses")), values),),
    )


def _paths(public: Mapping[str, Any]) -> list[tuple[str, Text, Any]]:
    """The three ways of 2019, with how many went each."""
    classes = public["classes"]
    return [(item.value, name, classes.get(item.value, 0)) for item, name in words.PATHS.items()]


def _breakdowns(breakdowns: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    columns = [*(item.value for item in CoverageClass), TOTAL]
    return [
        {
            "name": _BREAKDOWN_NAMES[name],
            "rows": [
                (_row_name(name, row), *(counts[column] for column in columns))
                for row, counts in breakdowns[name].items()
            ],
        }
        for name in BREAKDOWNS
        if breakdowns.get(name)
    ]


def _row_name(breakdown: str, row: str) -> Text | str:
    if row == TOTAL:
        return _("all together")
    return words.PURPOSES[Purpose(row)] if breakdown == "purpose" and row in set(Purpose) else row


def _drawn(count: int | str) -> int | None:
    """What is hidden is not drawn."""
    return count if isinstance(count, int) else None
