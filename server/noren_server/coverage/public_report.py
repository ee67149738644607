"""What everybody may see of a coverage report: no count of 1 to 9, and none that follows by subtraction.

Left out altogether are counts per screen, cohorts and the finest cells: they say much about few. A count that
is hidden is written as "<10", since canonical JSON has no null.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from noren_core.rights.coverage.coverage_report import CoverageReport
from noren_core.rights.coverage.small_cells import TOTAL, Table, hide, hide_small_cells

FORMAT = "noren/v1/coverage-public"
HIDDEN = "<10"
BREAKDOWNS = ("company", "purpose", "phase", "route", "month")

Shown = int | str


def public_figures(report: CoverageReport) -> dict[str, Any]:
    """The public part of a report, in plain values for canonical JSON."""
    body = report.body
    tables = {name: _breakdown(body, name) for name in BREAKDOWNS}
    shown = hide_small_cells(tables)
    return {
        "format": FORMAT,
        **{name: body[name] for name in ("campaign", "as_of", "computed_at", "phases", "source", "digests")},
        "report_sha256": report.sha256,
        "verdict": body["verdict"],
        "reasons": body["reasons"],
        "classes": _texts(shown["purpose"][TOTAL]) if TOTAL in shown["purpose"] else {},
        "breakdowns": {name: {row: _texts(counts) for row, counts in shown[name].items()} for name in shown},
        **{
            name: _text(hide(body[name]))
            for name in (
                "would_process_without_valid",
                "students_without_valid",
                "did_process_without_valid",
            )
        },
        "journeys": _journeys(body["journeys"]),
        "transitions": [_transition(item) for item in body["transitions"]],
        "controls": body["controls"],
        "screens": {
            name: body["screens"][name]
            for name in ("registered", "observed", "unknown", "verified", "stale", "dead", "missing_clauses")
        },
        "recipients": body["recipients"],
    }


def _breakdown(body: Mapping[str, Any], name: str) -> Table:
    """Classes by one dimension; an unknown value has a name, so that its row is not taken for the totals."""
    rows: dict[str, Counter[str]] = {}
    for cell in body["cells"]:
        rows.setdefault(cell[name] or "unknown", Counter()).update(cell["classes"])
    return {row: dict(counts) for row, counts in sorted(rows.items())}


def _journeys(journeys: Mapping[str, Any]) -> dict[str, Any]:
    ways = [{**way, "users": _text(hide(way["users"]))} for way in journeys["undominated"]]
    return {**journeys, "undominated": ways}


def _transition(item: Mapping[str, Any]) -> dict[str, Any]:
    """Holders are those who were asked again and those who were not."""
    counts = {name: item[name] for name in ("reshown", "never_reshown")}
    shown = hide_small_cells({"one": {"holders": counts}})["one"]["holders"]
    return {
        **{name: item[name] for name in ("policy", "purpose", "days_since")},
        **{name: _text(shown[name]) for name in counts},
        "holders": _text(shown[TOTAL]),
    }


def _texts(counts: Mapping[str, int | None]) -> dict[str, Shown]:
    return {name: _text(count) for name, count in counts.items()}


def _text(count: int | None) -> Shown:
    return HIDDEN if count is None else count
