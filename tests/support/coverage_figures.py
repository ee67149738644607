"""Figures of coverage reports, as small as they can be."""

from __future__ import annotations

from typing import Any

from noren_core.rights.coverage.classes import CoverageClass

DIGESTS = {
    name: f"{number:02x}" * 32
    for number, name in enumerate(("snapshot", "policies", "screens", "agreements", "flows", "build"))
}
AS_OF = 1_780_000_000


def figures(valid: int = 40, **changes: Any) -> dict[str, Any]:
    """A report that finds nothing, of `valid` people with consent; `changes` replaces whole fields."""
    classes = {name.value: 0 for name in CoverageClass} | {"E1": valid}
    return {
        "campaign": "spring-2026",
        "as_of": AS_OF,
        "computed_at": AS_OF,
        "phases": [],
        "source": "platform",
        "digests": DIGESTS,
        "population": {"uses": valid, "students": valid, "left_out": 0},
        "classes": classes,
        "would_process_without_valid": 0,
        "students_without_valid": 0,
        "did_process_without_valid": 0,
        "cells": [
            {
                "company": "company-1",
                "season": "2026",
                "purpose": "score.offer_followup",
                "phase": "scoring",
                "route": "web",
                "month": "2026-01",
                "classes": classes,
            }
        ],
        "cohorts": [
            {"month": "2026-01", "selection_on_site": "yes", "route": "web", "uses": valid, "valid": valid}
        ],
        "controls": [
            {"class": f"E{n}", "planted": 2, "processed": 2 if n == 1 else 0, "recognised": 2}
            for n in range(1, 9)
        ],
        "transitions": [],
        "reconciliation": {
            "processed_without_event": 0,
            "provisions": 0,
            "provisions_without_permit": 0,
            "permits_without_consent": 0,
            "score_provisions_without_deposit": 0,
            "provisions_without_agreement": 0,
        },
        "screens": {
            "registered": 1,
            "observed": 1,
            "unknown": 0,
            "verified": 1,
            "stale": 0,
            "dead": 0,
            "missing_clauses": [],
            "events": [],
            "routes_without_screen": [],
        },
        "journeys": {"checked": True, "dominated": True, "undominated": [], "cut_short": False},
        "answers": [],
        "recipients": {"contracted": 1, "received": 0},
        **changes,
    }


def with_class(name: str, count: int, valid: int = 40) -> dict[str, Any]:
    """The same with `count` more people, of class `name`."""
    found = figures(valid)
    classes = found["classes"] | {name: count}
    return found | {
        "population": {"uses": valid + count, "students": valid + count, "left_out": 0},
        "classes": classes,
        "cells": [found["cells"][0] | {"classes": classes}],
        "cohorts": [found["cohorts"][0] | {"uses": valid + count}],
        "would_process_without_valid": count,
        "students_without_valid": count,
    }
