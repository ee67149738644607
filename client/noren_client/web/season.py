"""The season: how far every campaign is at this company, and the steps that a person has to take.

Promises: what is shown comes from this machine's files, or from what the ledger proved when somebody asked;
accepting, preparing and computing bands are the same functions as the commands', with their checks.
"""

from __future__ import annotations

import time

from fastapi import APIRouter, Request, Response

from noren_client import (
    alignment,
    budget,
    campaign_files,
    follow_up,
    replay_data,
    season_progress,
    small_training_set,
)
from noren_client.season_progress import Progress, Stage
from noren_client.web.desk import Desk, authorised, desk_of, may, roles_for, start_job
from noren_core.ids import parse_name
from noren_core.ledger.entries import EntryKind, ServiceStatus
from noren_core.rights.gate.roles import Action
from noren_web.charts import Chart, ChartKind, Series
from noren_web.jobs import Job
from noren_web.pages import page, redirect
from noren_web.posted_form import Posted, PostedForm
from noren_web.translations import Text
from noren_web.translations import lazy as _

STAGE_WORDS: dict[Stage, Text] = {
    Stage.ACCEPTED: _("Accepted"),
    Stage.PREPARED: _("Prepared"),
    Stage.TRAINING: _("In training"),
    Stage.TRAINED: _("Trained"),
    Stage.SCORED: _("Bands computed"),
}
STATUS_WORDS: dict[ServiceStatus, Text] = {
    ServiceStatus.RUNNING: _("running"),
    ServiceStatus.SUSPENDED: _("suspended"),
    ServiceStatus.WINDING_DOWN: _("winding down"),
    ServiceStatus.ABOLISHED: _("abolished"),
}
ENTRY_WORDS: dict[EntryKind, Text] = {
    EntryKind.PLAN: _("The plan"),
    EntryKind.PLAN_ACCEPTANCE: _("Acceptances of the plan"),
    EntryKind.CONSENT_EPOCH: _("Consent epochs"),
    EntryKind.OPRF_KEY: _("Keys for matching"),
    EntryKind.TABLE: _("Sealed tables"),
    EntryKind.INTENT: _("Reserved rounds"),
    EntryKind.STATISTICS_ROWS: _("Commitments to rows"),
    EntryKind.WEIGHTS_COMMITMENT: _("Encrypted weights"),
    EntryKind.STATISTICS_ANSWER: _("Encrypted sums"),
    EntryKind.HEAD_COMMITMENT: _("Encrypted heads"),
    EntryKind.COVERAGE: _("Coverage reports"),
    EntryKind.DECISION_BATCH: _("Sealed decision batches"),
    EntryKind.GATE_OPENED: _("Openings of the gate"),
    EntryKind.ERASURE_ORDER: _("Erasure orders"),
    EntryKind.DELETION_CERTIFICATE: _("Deletion certificates"),
    EntryKind.MIRROR_DEPOSIT: _("Deposits of students' copies"),
}

router = APIRouter()


@router.get("/season", dependencies=[may(Action.READ_OWN_LEDGER)])
def season(request: Request) -> Response:
    """Every accepted campaign, with its chart of rounds and what can be done now."""
    desk = desk_of(request)
    known = [season_progress.progress(desk.directory, name) for name in desk.campaigns()]
    person = request.state.session.person
    return page(
        request,
        "season/season.html",
        campaigns=[(each, _chart(desk, each), desk.ledger_views.get(each.campaign)) for each in known],
        is_enrolled=desk.is_enrolled,
        is_running=season_progress.is_worker_running(desk.directory),
        last_contact=season_progress.last_contact(desk.directory),
        stages=list(Stage),
        stage_words=STAGE_WORDS,
        status_words=STATUS_WORDS,
        entry_words=ENTRY_WORDS,
        may_act=bool(set(roles_for(Action.JOIN_ROUND)) & person.roles),
        partners={
            each.campaign: season_progress.same_season(desk.directory, each.campaign) for each in known
        },
        warnings=desk.warnings,
        jobs=[job for each in known if (job := request.app.state.jobs.newest(_kind(each.campaign)))],
    )


@router.post("/season/plan", dependencies=[may(Action.JOIN_ROUND)])
def look_at_plan(request: Request, form: Posted) -> Response:
    """What a campaign's plan asks of this company and what it would cost; nothing is signed."""
    desk, campaign = desk_of(request), _named(form)
    authorised(request, Action.JOIN_ROUND)
    proposed = alignment.proposed_plan(desk.directory, campaign)
    return page(request, "season/plan.html", campaign=campaign, proposed=proposed, plan=proposed.plan)


@router.get("/season/plan", dependencies=[may(Action.JOIN_ROUND)])
def no_plan(request: Request) -> Response:
    """Nothing was named."""
    return redirect(request, "/season")


@router.post("/season/accept", dependencies=[may(Action.JOIN_ROUND)])
def accept(request: Request, form: Posted) -> Response:
    """Sign a campaign's plan, after every check of the command."""
    desk, campaign = desk_of(request), _named(form)
    form.verify_confirmation(campaign)
    authorised(request, Action.JOIN_ROUND)
    accepted = alignment.accept_plan(desk.directory, campaign)
    _warn(desk, campaign, small_training_set.warning_of_file(desk.directory, accepted.plan))
    notice = _("The plan of {campaign} is accepted.").format(campaign=campaign)
    return redirect(request, "/season", notice=notice)


@router.post("/season/prepare", dependencies=[may(Action.JOIN_ROUND)])
def prepare(request: Request, form: Posted) -> Response:
    """Align and join, in a job."""
    desk, campaign = desk_of(request), desk_of(request).campaign(_named(form))
    authorised(request, Action.JOIN_ROUND)

    def work(job: Job) -> None:
        job.progress(0, step=str(_("Reading the sealed table …")))
        replay_data.forget_expired(desk.directory, now=time.time())
        done = alignment.prepare(desk.directory, campaign)
        plan = campaign_files.load_plan(desk.directory, campaign)
        _warn(desk, campaign, small_training_set.warning(plan, rows=done.rows, positive=done.positive))

    title = _("Preparing {campaign}").format(campaign=campaign)
    return start_job(request, work, kind=_kind(campaign), title=title, next_path="/season")


@router.post("/season/score", dependencies=[may(Action.JOIN_ROUND)])
def score(request: Request, form: Posted) -> Response:
    """Send the head, and compute the bands of what is open, in a job."""
    desk, campaign = desk_of(request), desk_of(request).campaign(_named(form))
    authorised(request, Action.JOIN_ROUND)
    others = [desk.campaign(parse_name(name, "campaign")) for name in form.many("also", most=8)]

    def work(job: Job) -> None:
        job.progress(0, step=str(_("Sending the encrypted head, then waiting for the sealed scores …")))
        follow_up.score(desk.directory, campaign, others=others)

    title = _("Computing bands of {campaign}").format(campaign=campaign)
    return start_job(request, work, kind=_kind(campaign), title=title, next_path="/season")


@router.post("/season/ask", dependencies=[may(Action.READ_OWN_LEDGER)])
def ask(request: Request, form: Posted) -> Response:
    """What the ledger says now."""
    desk, campaign = desk_of(request), desk_of(request).campaign(_named(form))
    desk.ledger_views[campaign] = (desk.clock(), season_progress.ask_ledger(desk.directory, campaign))
    return redirect(request, "/season", notice=_("The platform answered, and its answer is proven."))


def _warn(desk: Desk, campaign: str, warning: str | None) -> None:
    """What to tell the operator, and nobody else, until the program ends."""
    desk.warnings.pop(campaign, None)
    if warning is not None:
        desk.warnings[campaign] = warning


def _named(form: PostedForm) -> str:
    return parse_name(form.text("campaign", most=40), "campaign")


def _kind(campaign: str) -> str:
    return f"season {campaign}"


def _chart(desk: Desk, known: Progress) -> Chart:
    """Epsilon after every round of the plan: what was spent, and what the rest would come to."""
    planned = campaign_files.load_plan(desk.directory, known.campaign)
    forecasts = budget.forecast_of(desk.directory, known.campaign)
    by_round = forecasts[planned.train_seasons[0]].by_round
    spent = tuple(round(v, 4) if n <= known.reserved else None for n, v in enumerate(by_round, 1))
    rest = tuple(round(v, 4) if n > known.reserved else None for n, v in enumerate(by_round, 1))
    return Chart(
        ChartKind.STACKED,
        str(
            _("Rounds of {campaign}: ε of the records of {season} after each").format(
                campaign=known.campaign, season=planned.train_seasons[0]
            )
        ),
        str(_("Round")),
        tuple(str(number) for number in range(1, known.rounds + 1)),
        (Series(str(_("Taken part")), spent), Series(str(_("Planned")), rest)),
        unit="ε",
    )
