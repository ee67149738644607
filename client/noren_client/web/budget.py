"""The privacy budget: what was spent of every season's records, and what accepted plans will come to.

Promises: the numbers are those of the odometer and the accountant that refuses a round, with the limit beside
them; a damaged odometer shows an error and no number.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from noren_client import budget, config
from noren_client.lifetime import lifetime_limits
from noren_client.web.desk import desk_of, may
from noren_core.privacy.forecast import Forecast
from noren_core.rights.gate.roles import Action
from noren_web.charts import Chart, ChartKind, Series
from noren_web.pages import page
from noren_web.translations import Text
from noren_web.translations import lazy as _

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Outlook:
    """What one accepted campaign comes to on the records of one season: in words, and drawn."""

    campaign: str
    season: str
    sentence: Text
    further: Text
    chart: Chart


@router.get("/budget", dependencies=[may(Action.READ_OWN_LEDGER)])
def spending(request: Request) -> Response:
    """Limits, spending by season, and every accepted campaign's forecast."""
    desk = desk_of(request)
    if not desk.has_begun:
        return page(request, "budget/budget.html", limits=None, delta="", seasons=(), outlooks=())
    limits = lifetime_limits(config.load(desk.directory).limits)
    outlooks = [
        _outlook(campaign, season, forecast)
        for campaign in desk.campaigns()
        for season, forecast in budget.forecast_of(desk.directory, campaign).items()
    ]
    return page(
        request,
        "budget/budget.html",
        limits=limits,
        delta=f"{float(limits.delta):g}",
        seasons=budget.by_season(desk.directory),
        outlooks=outlooks,
    )


def _outlook(campaign: str, season: str, forecast: Forecast) -> Outlook:
    limit, rounds = float(forecast.limits.epsilon), len(forecast.by_round)
    return Outlook(
        campaign,
        season,
        _sentence(forecast),
        _further(forecast),
        Chart(
            ChartKind.LINE,
            str(
                _("ε of the records of {season} after each round of {campaign}").format(
                    season=season, campaign=campaign
                )
            ),
            str(_("Round")),
            tuple(str(number) for number in range(rounds + 1)),
            (
                Series(
                    str(_("With what was spent before")),
                    tuple(round(value, 4) for value in (forecast.spent_epsilon, *forecast.by_round)),
                ),
            ),
            unit="ε",
            limit=(str(_("The company's own limit")), limit),
        ),
    )


def _sentence(forecast: Forecast) -> Text:
    """How the planned rounds end, in words."""
    ends, limit = forecast.by_round[-1], float(forecast.limits.epsilon)
    said = {"rounds": len(forecast.by_round), "end": f"{ends:.2f}", "limit": f"{limit:g}"}
    if forecast.exhausted_in_round is not None:
        stop = _("With the planned {rounds} rounds the limit of ε {limit} would be passed in round {stop}.")
        return stop.format(**said, stop=forecast.exhausted_in_round)
    return _("With the planned {rounds} rounds it ends at ε {end} of {limit}.").format(**said)


def _further(forecast: Forecast) -> Text:
    """How many campaigns like this one fit."""
    if not forecast.fits:
        return _("No campaign like this one fits any more.")
    if forecast.is_stopped_by_epsilon:
        return _("Campaigns like this one that fit: {n}; then ε is used up.").format(n=forecast.fits)
    return _("Campaigns like this one that fit: {n}; then the number of campaigns is used up.").format(
        n=forecast.fits
    )
