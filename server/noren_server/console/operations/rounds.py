"""The rounds of a campaign while they run: who reported, holding the next one, leaving a company out.

Counts and states of companies, never of people, and never why a company is missing.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from noren_core.ids import parse_name
from noren_server import campaigns as campaign_plans
from noren_server.console.accounts import ConsoleRole
from noren_server.console.desk import about, acting, desk_of
from noren_server.console.governance.who_may import READERS
from noren_server.console.operations.campaigns import OPERATOR, run_words
from noren_server.round_control import RoundControl, Rounds
from noren_server.round_rows import CompanyReport, ReportState, RoundRecord, SkipState
from noren_web.access import allow
from noren_web.charts import Chart, ChartKind, Series
from noren_web.pages import page, redirect
from noren_web.posted_form import Posted
from noren_web.translations import Text
from noren_web.translations import lazy as _

router = APIRouter()

HOLDERS = (OPERATOR, ConsoleRole.AUDITOR)
"""Who may hold a campaign: whoever starts rounds, and whoever blocks them (`Action.BLOCK_ROUND`)."""
_RUNNING = frozenset({"waiting", "set-up", "training", "paused", "finishing"})
_REPORT_WORDS = {
    ReportState.INVITED: (_("not answered yet"), "plain"),
    ReportState.REPORTED: (_("reported"), "good"),
    ReportState.MISSED: (_("not in this round"), "warn"),
}
_SKIP_WORDS = {
    SkipState.ASKED: (_("left out from the next round on"), "warn"),
    SkipState.APPLIED: (_("left out"), "warn"),
    SkipState.REFUSED: (_("stays: too few would remain"), "bad"),
}


@router.get("/campaigns/{campaign}/rounds", dependencies=[allow(*READERS)])
def watch(request: Request, campaign: str) -> Response:
    """How the rounds stand; without scripts, reload it."""
    return page(request, "rounds/watch.html", **_shown(request, campaign))


@router.get("/campaigns/{campaign}/rounds/now", dependencies=[allow(*READERS)])
def now(request: Request, campaign: str) -> Response:
    """The part that the page asks for again."""
    return page(request, "rounds/now.html", **_shown(request, campaign))


@router.post("/campaigns/{campaign}/rounds/pause", dependencies=[allow(*HOLDERS)])
def pause(request: Request, campaign: str, form: Posted) -> Response:
    """Begin no further round."""
    control = _control(request, campaign)
    form.verify_confirmation(campaign)
    control.pause()
    return redirect(
        request, f"/campaigns/{campaign}/rounds", notice=_("No further round begins until you resume.")
    )


@router.post("/campaigns/{campaign}/rounds/resume", dependencies=[allow(OPERATOR)])
def resume(request: Request, campaign: str, form: Posted) -> Response:
    """Go on."""
    control = _control(request, campaign)
    form.verify_confirmation(campaign)
    control.resume()
    return redirect(request, f"/campaigns/{campaign}/rounds", notice=_("The next round begins."))


@router.post("/campaigns/{campaign}/rounds/skip", dependencies=[allow(OPERATOR)])
def skip(request: Request, campaign: str, form: Posted) -> Response:
    """Leave a company out of the rounds that follow."""
    control = _control(request, campaign)
    company = parse_name(form.text("company", most=64), "company")
    form.verify_confirmation(company)
    control.skip(company)
    return redirect(
        request, f"/campaigns/{campaign}/rounds", notice=_("The company is left out from the next round on.")
    )


def _control(request: Request, campaign: str) -> RoundControl:
    """What the command works with; the act is said to be about the campaign."""
    platform = desk_of(request).platform
    plan = platform.plan(campaign)
    about(request, "campaign", plan.campaign)
    return RoundControl(platform.store, plan, clock=desk_of(request).clock)


def _shown(request: Request, campaign: str) -> dict[str, Any]:
    platform, person = desk_of(request).platform, acting(request)
    plan = platform.plan(campaign)
    progress = campaign_plans.progress(platform, plan.campaign)
    rounds = RoundControl(platform.store, plan).rounds()
    current = rounds.current
    is_over = progress["state"] in ("finished", "failed")
    return {
        "plan": plan,
        "rounds": rounds,
        "current": current,
        "run": run_words(progress),
        "reason": progress["reason"],
        "is_running": progress["state"] in _RUNNING,
        "companies": [_row(company, rounds) for company in plan.companies],
        "history": _history(rounds) if rounds.records else None,
        "may_hold": not is_over and any(person.has(role) for role in HOLDERS),
        "may_go_on": not is_over and person.has(OPERATOR),
        "can_be_skipped": [c for c in plan.companies if c not in rounds.left_out],
    }


def _row(company: str, rounds: Rounds) -> tuple[str, tuple[Text, str] | None, bool, tuple[Text, str] | None]:
    """A company, where it is in the newest round, whether it had to be asked twice, what the operator did."""
    report: CompanyReport | None = rounds.current.reports.get(company) if rounds.current else None
    skipped = rounds.skips.get(company)
    return (
        company,
        None if report is None else _REPORT_WORDS[report.state],
        report is not None and report.is_late,
        None if skipped is None else _SKIP_WORDS[skipped],
    )


def _missed(record: RoundRecord) -> int | None:
    """How many companies a round was without; not known while it is open."""
    return None if record.closed_at is None else record.invited - record.reported


def _history(rounds: Rounds) -> Chart:
    records = rounds.records
    return Chart(
        kind=ChartKind.STACKED,
        title=str(_("Companies by round")),
        across=str(_("Round")),
        labels=tuple(str(record.round_number) for record in records),
        series=(
            Series(str(_("Reported")), tuple(record.reported for record in records)),
            Series(str(_("Not in the round")), tuple(_missed(record) for record in records)),
        ),
        unit=str(_("companies")),
        limit=None,
    )
