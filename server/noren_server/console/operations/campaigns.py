"""Campaigns: the list, one of them, a new plan with what it would cost, publishing, training, the end.

Promises: a plan is shown with its forecast before it can be published, and is made again from the same
choices when it is; what publishing, training and closing check is checked by the functions of the commands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, Request, Response

from noren_core.errors import ConfigurationError, DataError
from noren_core.ids import parse_name
from noren_core.ledger.entries import EntryKind
from noren_core.privacy.forecast import Forecast
from noren_core.season.plan import CampaignPlan, TrainingMode
from noren_server import behaviour_data, campaigns, launch, plan_forecast
from noren_server.campaigns import PlanChoices
from noren_server.console.accounts import ConsoleRole
from noren_server.console.desk import Desk, about, acting, desk_of
from noren_server.console.governance.who_may import READERS
from noren_server.coverage.opening import is_clear
from noren_server.features import Season
from noren_server.platform_files import Platform
from noren_server.round_control import RoundControl
from noren_server.store import CampaignState, CompanyState
from noren_web.access import allow
from noren_web.charts import Chart, ChartKind, Series
from noren_web.jobs import Job
from noren_web.pages import page, redirect
from noren_web.posted_form import Posted, PostedForm
from noren_web.translations import Text
from noren_web.translations import lazy as _

router = APIRouter()

OPERATOR = ConsoleRole.ML_OPERATOR
RUN_WORDS: Mapping[str, tuple[Text, str]] = {
    "not begun": (_("Training has not begun"), "plain"),
    "waiting": (_("Waiting for companies"), "plain"),
    "set-up": (_("Setting up"), "plain"),
    "paused": (_("Paused before the next round"), "warn"),
    "training": (_("Rounds are running"), "good"),
    "finishing": (_("Handing out the head"), "good"),
    "finished": (_("Training is finished"), "good"),
    "failed": (_("Training failed"), "bad"),
}
_MODE_WORDS = {
    TrainingMode.NOISED_ROWS: _("Rounds on rows with noise"),
    TrainingMode.SEALED_STATISTICS: _("One step on sealed sums"),
}
_LISTED = ("positive", "negative", "excluded")


@router.get("/campaigns", dependencies=[allow(*READERS)])
def every(request: Request) -> Response:
    """Every campaign."""
    desk = desk_of(request)
    with desk.platform.store.snapshot() as stored:
        is_open = {plan.campaign for plan in stored.open_campaigns()}
        plans = sorted(stored.plans(), key=lambda plan: (plan.campaign not in is_open, plan.campaign))
    rows = [
        (plan, plan.campaign in is_open, run_words(campaigns.progress(desk.platform, plan.campaign)))
        for plan in plans
    ]
    return page(request, "campaigns/every.html", rows=rows)


@router.get("/campaigns/new", dependencies=[allow(OPERATOR)])
def new(request: Request) -> Response:
    """The form for a plan."""
    desk = desk_of(request)
    with desk.platform.store.snapshot() as stored:
        companies = [c for c in stored.companies() if c.state is CompanyState.APPROVED]
    return page(
        request,
        "campaigns/new.html",
        seasons=_seasons(desk),
        companies=companies,
        modes=[(mode.value, words) for mode, words in _MODE_WORDS.items()],
        defaults=PlanChoices(campaign="", task={}, train_seasons=(), score_season=""),
    )


@router.post("/campaigns/forecast", dependencies=[allow(OPERATOR)])
def forecast(request: Request, form: Posted) -> Response:
    """What the plan of these choices would cost; nothing is published."""
    desk = desk_of(request)
    choices, companies = _choices(form)
    about(request, "campaign", choices.campaign)
    campaigns.verify_seasons(choices, behaviour_data.load_seasons(desk.platform.directory / "logs"))
    plan = campaigns.draft_plan(desk.platform, choices, companies)
    return page(
        request,
        "campaigns/forecast.html",
        plan=plan,
        hidden=[(name, value) for name, values in form.fields.items() if name != "csrf" for value in values],
        **_cost(desk.platform, plan),
    )


@router.post("/campaigns/create", dependencies=[allow(OPERATOR)])
def create(request: Request, form: Posted) -> Response:
    """Put the plan of these choices in the ledger."""
    desk = desk_of(request)
    choices, companies = _choices(form)
    about(request, "campaign", choices.campaign)
    form.verify_confirmation(choices.campaign)
    campaigns.verify_seasons(choices, behaviour_data.load_seasons(desk.platform.directory / "logs"))
    plan = campaigns.publish_plan(desk.platform, choices, companies)
    return redirect(request, f"/campaigns/{plan.campaign}", notice=_("The plan is in the ledger."))


@router.get("/campaigns/{campaign}", dependencies=[allow(*READERS)])
def one(request: Request, campaign: str) -> Response:
    """A campaign: its plan, how far it is, and what can be done next."""
    desk = desk_of(request)
    plan, is_open = _found(desk, campaign)
    progress = campaigns.progress(desk.platform, plan.campaign)
    accepted = _entries(desk, EntryKind.PLAN_ACCEPTANCE, plan)
    heads = _entries(desk, EntryKind.HEAD_COMMITMENT, plan)
    return page(
        request,
        "campaigns/one.html",
        plan=plan,
        is_open=is_open,
        mode=_MODE_WORDS[plan.mode],
        run=run_words(progress),
        reason=progress["reason"],
        has_begun=bool(_entries(desk, EntryKind.BEACON, plan)),
        has_tables=bool(_entries(desk, EntryKind.TABLE, plan)),
        is_covered=is_clear(desk.platform, plan.campaign, now=desk.clock()),
        companies=[(c, c in accepted, c in heads) for c in plan.companies],
        jobs=_own_jobs(request, plan.campaign),
    )


@router.get("/campaigns/{campaign}/cost", dependencies=[allow(*READERS)])
def cost(request: Request, campaign: str) -> Response:
    """What a published plan costs."""
    desk = desk_of(request)
    plan, _is_open = _found(desk, campaign)
    return page(request, "campaigns/cost.html", plan=plan, **_cost(desk.platform, plan))


@router.post("/campaigns/{campaign}/publish", dependencies=[allow(OPERATOR)])
def publish(request: Request, campaign: str, form: Posted) -> Response:
    """Begin to compute features and to seal the training tables."""
    del form  # it has no fields of its own
    return _begin(request, campaign, "publish", _("Training tables of {campaign}"), launch.publish)


@router.post("/campaigns/{campaign}/refresh", dependencies=[allow(OPERATOR)])
def refresh(request: Request, campaign: str, form: Posted) -> Response:
    """Begin to seal all score tables again."""
    del form
    return _begin(request, campaign, "refresh", _("Score tables of {campaign}"), launch.refresh)


@router.post("/campaigns/{campaign}/train", dependencies=[allow(OPERATOR)])
def train(request: Request, campaign: str, form: Posted) -> Response:
    """Begin the rounds."""
    form.verify_confirmation(parse_name(campaign, "campaign"))
    return _begin(request, campaign, "train", _("Rounds of {campaign}"), campaigns.train, then="/rounds")


@router.get("/campaigns/{campaign}/close", dependencies=[allow(OPERATOR)])
def ask_to_close(request: Request, campaign: str) -> Response:
    """Whom it reaches when the campaign ends."""
    plan, is_open = _found(desk_of(request), campaign)
    without = [
        c for c in plan.companies if c not in _entries(desk_of(request), EntryKind.HEAD_COMMITMENT, plan)
    ]
    return page(request, "campaigns/close.html", plan=plan, is_open=is_open, without_head=without)


@router.post("/campaigns/{campaign}/close", dependencies=[allow(OPERATOR)])
def close(request: Request, campaign: str, form: Posted) -> Response:
    """End the campaign for good."""
    desk = desk_of(request)
    plan, _is_open = _found(desk, campaign)
    about(request, "campaign", plan.campaign)
    form.verify_confirmation(plan.campaign)
    campaigns.close(desk.platform, plan.campaign)
    return redirect(request, f"/campaigns/{plan.campaign}", notice=_("The campaign is closed."))


def run_words(progress: Mapping[str, Any]) -> tuple[Text | str, str]:
    """What a run says of itself, in words, and how good that is."""
    return RUN_WORDS.get(str(progress["state"]), (str(progress["state"]), "plain"))


def _begin(
    request: Request,
    campaign: str,
    kind: str,
    title: Text,
    work: Callable[[Platform, str], object],
    *,
    then: str = "",
) -> Response:
    """Start long work about a campaign, with a platform opened for it alone."""
    desk = desk_of(request)
    plan, _is_open = _found(desk, campaign)
    about(request, "campaign", plan.campaign)
    directory, step = desk.platform.directory, str(_("Working; this page shows when it is done."))
    control = RoundControl(desk.platform.store, plan)

    def run(job: Job) -> None:
        job.progress(0, 0, step)
        platform = Platform(directory)
        try:
            work(platform, plan.campaign)
        finally:
            platform.store.close()
            platform.ledger_store.close()

    if kind == "train":
        control.rounds()  # refused here, not in the thread, if the store cannot be read
    job = request.app.state.jobs.start(
        run,
        kind=f"{kind} {plan.campaign}",
        owner=acting(request).name,
        title=title.format(campaign=plan.campaign),
        next_path=f"/campaigns/{plan.campaign}{then}",
    )
    return redirect(request, f"/campaigns/{plan.campaign}{then}" if then else f"/jobs/{job.job}")


def _own_jobs(request: Request, campaign: str) -> list[Job]:
    """Her work about this campaign that runs."""
    found = [request.app.state.jobs.newest(f"{kind} {campaign}") for kind in ("publish", "refresh", "train")]
    return [job for job in found if job is not None and job.owner == acting(request).name]


def _found(desk: Desk, campaign: str) -> tuple[CampaignPlan, bool]:
    """The plan, and whether it is open; LocalProtocolError if there is none."""
    plan = desk.platform.plan(campaign)
    with desk.platform.store.snapshot() as stored:
        found = stored.campaign(plan.campaign)
    return plan, found is not None and found.state is CampaignState.OPEN


def _entries(desk: Desk, kind: EntryKind, plan: CampaignPlan) -> frozenset[str]:
    """Whom the ledger has an entry of this kind of, in this campaign; the platform's own count as ''."""
    stored = desk.platform.ledger_store.entries(kind=kind, campaign=plan.campaign)
    return frozenset(item.entry.company or "" for item in stored)


def _seasons(desk: Desk) -> tuple[Season, ...]:
    """The seasons that there are logs of; none before anything was ingested."""
    with suppress(ConfigurationError):
        return behaviour_data.load_seasons(desk.platform.directory / "logs")
    return ()


def _choices(form: PostedForm) -> tuple[PlanChoices, list[str]]:
    """What was chosen in the form, and for which companies."""
    task: dict[str, Any] = {kind: _words(form, kind) for kind in _LISTED}
    task["name"] = form.text("task", most=64)
    mode = form.text("mode", most=32)
    given: dict[str, Any] = {
        "campaign": form.text("campaign", most=64),
        "task": task,
        "train_seasons": form.many("train_seasons"),
        "score_season": form.text("score_season", most=64),
        "mode": mode,
        "index_direction": _integer(form, "index_direction"),
        "expected_rate": form.text("expected_rate", most=16),
        "minimum_cohort": _integer(form, "minimum_cohort"),
        "deadline_seconds": _integer(form, "deadline_seconds"),
    }
    if mode == TrainingMode.NOISED_ROWS:
        given["rounds"] = _integer(form, "rounds")
    given["epsilon" if mode == TrainingMode.NOISED_ROWS else "statistics_epsilon"] = form.text(
        "epsilon", most=16
    )
    return PlanChoices.from_fields(given), list(form.many("companies"))


def _words(form: PostedForm, name: str) -> list[str]:
    return [word.strip() for word in form.text(name, most=400, default="").split(",") if word.strip()]


def _integer(form: PostedForm, name: str) -> int:
    text = form.text(name, most=9)
    if not text.removeprefix("-").isascii() or not text.removeprefix("-").isdecimal():
        raise DataError(f"form: expected a whole number in {name}, got another text")
    return int(text)


def _cost(platform: Platform, plan: CampaignPlan) -> dict[str, Any]:
    """What the pages about cost show."""
    found = plan_forecast.person_forecast(plan)
    with platform.store.snapshot() as stored:
        sizes = {company.name: company.declared_size for company in stored.companies()}
    rows = plan_forecast.by_company(plan, found, sizes)
    middle = rows[len(rows) // 2]
    return {
        "found": found,
        "rows": rows,
        "example": middle,
        "release": plan.release,
        "by_round": _by_round(found),
        "by_campaign": _by_campaign(found),
    }


def _by_round(found: Forecast) -> Chart:
    return _epsilon_chart(
        _("What one applicant has spent after each round"),
        _("Round"),
        tuple(str(number) for number in range(1, len(found.by_round) + 1)),
        found.by_round,
        found,
    )


def _by_campaign(found: Forecast) -> Chart:
    return _epsilon_chart(
        _("After this campaign, and after more like it"),
        _("Number of campaigns"),
        tuple(str(number) for number in range(1, len(found.by_campaign) + 1)),
        found.by_campaign,
        found,
    )


def _epsilon_chart(
    title: Text, across: Text, labels: tuple[str, ...], values: tuple[float, ...], found: Forecast
) -> Chart:
    return Chart(
        kind=ChartKind.LINE,
        title=str(title),
        across=str(across),
        labels=labels,
        series=(Series("ε", tuple(round(value, 3) if value != float("inf") else None for value in values)),),
        limit=(str(_("Limit for one person's whole life")), float(found.limits.epsilon)),
    )
