"""Consent quality: what students answered, how long they took, what runs out; never whose it is.

The numbers are those of `noren_server.consents.consent_quality`, which hides small counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response

from noren_core.rights.coverage.small_cells import SMALLEST, TOTAL
from noren_core.rights.purposes import Purpose
from noren_server.consents.consent_quality import BREAKDOWNS, ConsentQuality, Outcome, Shown, consent_quality
from noren_server.consents.opening import consent_service
from noren_server.console.desk import desk_of
from noren_server.console.governance import words
from noren_server.console.governance.who_may import OVERSEERS
from noren_web.access import allow
from noren_web.charts import Chart, ChartKind, Series
from noren_web.pages import page
from noren_web.translations import Text
from noren_web.translations import lazy as _

router = APIRouter()

_NAMES: Mapping[str, Text] = {
    "purpose": _("Purpose"),
    "company": _("Company"),
    "month": _("Month of the newest event (UTC)"),
}


@router.get("/consents", dependencies=[allow(*OVERSEERS)])
def quality(request: Request) -> Response:
    """The quality of all consents."""
    desk = desk_of(request)
    with consent_service(desk.platform) as service:
        found = consent_quality(service.book, now=desk.clock())
    return page(
        request,
        "consents/quality.html",
        found=found,
        smallest=SMALLEST,
        columns=[words.OUTCOMES[outcome] for outcome in Outcome],
        tables=[_table(name, found) for name in BREAKDOWNS],
        over_time=_over_time(found),
        decisions=_bars(_("Consents by the time that the screen stood before the answer"), found.decisions),
        expiries=_bars(_("Consents by the time until they run out"), found.expiries, days=True),
    )


def _table(name: str, found: ConsentQuality) -> dict[str, Any]:
    """Counts and shares of one breakdown."""
    rows = []
    for row, counts in found.outcomes[name].items():
        total = counts[TOTAL]
        cells = [(counts[outcome.value], _share(counts[outcome.value], total)) for outcome in Outcome]
        rows.append((_row_name(name, row), cells, total))
    return {"name": _NAMES[name], "rows": rows}


def _row_name(breakdown: str, row: str) -> Text | str:
    if row == TOTAL:
        return _("all together")
    return words.PURPOSES[Purpose(row)] if breakdown == "purpose" else row


def _share(count: int | None, total: int | None) -> int | None:
    """In whole percent; a share of what is hidden would give it away."""
    return None if count is None or not total else round(100 * count / total)


def _over_time(found: ConsentQuality) -> Chart | None:
    months: Shown = {row: counts for row, counts in found.outcomes["month"].items() if row != TOTAL}
    if not any(count for counts in months.values() for count in counts.values()):
        return None
    return Chart(
        kind=ChartKind.STACKED,
        title=str(_("Answers over time")),
        across=str(_("Month")),
        labels=tuple(months),
        series=tuple(
            Series(str(words.OUTCOMES[outcome]), tuple(counts[outcome.value] for counts in months.values()))
            for outcome in Outcome
        ),
    )


def _bars(title: Text, counts: Mapping[str, int | None], *, days: bool = False) -> Chart | None:
    groups = {name: count for name, count in counts.items() if name != TOTAL}
    if not any(count is None or count for count in groups.values()):
        return None
    return Chart(
        kind=ChartKind.BAR,
        title=str(title),
        across=str(_("Days") if days else _("Seconds")),
        labels=tuple(map(_bound, groups)),
        series=(Series(str(_("Consents")), tuple(groups.values())),),
    )


def _bound(name: str) -> str:
    """Groups are named by their bounds: `<5`, `>=300`; what is below nothing has run out."""
    if name == "<0":
        return str(_("run out, not ended yet"))
    return name.replace(">=", "≥ ").replace("<", "< ")
