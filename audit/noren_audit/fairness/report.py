"""The fairness report for the auditor: exact counts, on a terminal or as fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from noren_audit.fairness.statistics import AttributeReport, FairnessReport


def to_fields(found: FairnessReport) -> dict[str, Any]:
    """Every statistic, for JSON."""
    return {"alerts": list(found.alerts()), "tests": found.tests, **asdict(found)}


def print_report(found: FairnessReport) -> None:
    """Tables on stdout; alerts last, where they are seen."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    questions: tuple[tuple[str, Sequence[AttributeReport]], ...] = (
        ("Bands above the median", (*found.bands, *found.band_intersections)),
        ("Passed", found.passes),
        ("Consented", found.consents),
    )
    for question, reports in questions:
        for item in reports:
            table = Table(title=f"{question}, by {item.attribute}; {item.unknown} did not say")
            for heading in ("group", "selected", "of", "rate", "impact ratio", "p"):
                table.add_column(heading, justify="left" if heading == "group" else "right")
            for group in item.groups:
                table.add_row(
                    group.group,
                    str(group.selected),
                    str(group.total),
                    f"{group.rate:.3f}",
                    "small" if group.ratio is None else f"{group.ratio:.3f}",
                    "" if group.p_value is None else f"{group.p_value:.3g}",
                )
            console.print(table)
    table = Table(title="Declined by band, 95 % interval")
    for heading in ("company", "band", "declined", "of", "interval"):
        table.add_column(heading)
    for row in found.calibration:
        table.add_row(
            row.company, str(row.band), str(row.declined), str(row.total), f"{row.low:.2f}-{row.high:.2f}"
        )
    console.print(table)
    compared = found.consent_comparison
    if compared.ratio is not None:
        console.print(f"Pass rate with consent over without: {compared.ratio:.3f} (p {compared.p_value:.3g})")
    for alert in found.alerts():
        console.print(f"ALERT {alert}")
