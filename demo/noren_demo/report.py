"""Shows a finished season: tables for the terminal, JSON for programs, one page for people.

The head's ε and the rows' ε are always two rows: they are two releases, and neither their sum nor one
of them alone would be true. A file appears whole or not at all.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from statistics import median
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from noren_demo import findings, page
from noren_demo.charts import three_digits
from noren_demo.summary import ModelResult, SeasonSummary, TaskResult

_FEW_COMPANIES = 12
_WIDTH = 100


def print_summary(summary: SeasonSummary, console: Console) -> None:
    """Print every table of the season; 100 columns wide at most, without colour when piped."""
    _print_lead(summary, console)
    for task in summary.tasks:
        console.print(_auc_table(task), width=_WIDTH)
    for table in (_privacy_table, _bands_table, _phase_table, _round_table, _process_table, _traffic_table):
        console.print(table(summary), width=_WIDTH)
    console.print(_learnt_table(summary), width=_WIDTH)
    console.print(_rights_table(summary), width=_WIDTH)
    console.print(_verification_table(summary), width=_WIDTH)
    for note in summary.notes:
        console.print(Text(f"Note: {note}"), width=_WIDTH)


def write_json(summary: SeasonSummary, path: Path) -> None:
    """Write everything that was measured; what could not be measured is null."""
    text = json.dumps(_finite(summary.to_dict()), ensure_ascii=False, indent=2, allow_nan=False)
    _write_whole(path, text + "\n")


def write_html(summary: SeasonSummary, path: Path) -> None:
    """Write one page that needs nothing but itself: no script, no request, for light, dark and paper."""
    _write_whole(path, page.render(summary))


def _print_lead(summary: SeasonSummary, console: Console) -> None:
    console.print(Text(f"Season on {summary.data}, {summary.mode}", style="bold"))
    for sentence in findings.english_summary(summary):
        console.print(Text(sentence), width=_WIDTH)
    console.print()


def _auc_table(task: TaskResult) -> Table:
    buckets = findings.size_buckets(task)
    title = (
        f"Task {task.task}: within-company AUC, by training rows of the company\n"
        f"{task.trained_companies} of {findings.counted(task.companies, 'company', 'companies')} trained on "
        f"{task.training_rows:,} rows; {task.scored:,} scored; outcome in {task.base_rate:.1%}; "
        f"calibration gap {three_digits(task.calibration_gap)}"
    )
    table = _table(title, "model", "all", *buckets, "over index")
    index = findings.label_free(task)
    for result in task.models:
        difference = result.auc - index.auc if index else math.nan
        over = "" if findings.is_label_free(result) else findings.signed_text(difference)
        cells = [three_digits(findings.auc_in(result, bucket)) for bucket in buckets]
        table.add_row(Text(result.model), three_digits(result.auc), *cells, over, style=_style(result))
    return table


def _style(result: ModelResult) -> str:
    return "bold" if findings.is_federated(result) else ""


def _privacy_table(summary: SeasonSummary) -> Table:
    table = _table("Privacy: two releases, two numbers, never added", "task", "release", "ε", "δ", text=2)
    for task in summary.tasks:
        head = f"head, {findings.counted(task.rounds, 'round', 'rounds')} (recomputed by the auditor)"
        table.add_row(Text(task.task), head, f"{task.epsilon:.4g}", f"{task.delta:.2g}")
        table.add_row(
            "",
            f"{findings.row_release(task)}, per student and company",
            f"{task.row_epsilon:.4g}",
            f"{task.row_delta:.2g}",
        )
    return table


def _bands_table(summary: SeasonSummary) -> Table:
    table = _table(
        "Bands: people, and how many of them had the outcome", "task", "band", "people", "observed", text=2
    )
    for task in summary.tasks:
        for band, people in task.bands.items():
            observed = task.observed_by_band.get(band, math.nan)
            share = f"{observed:.1%}" if math.isfinite(observed) else "–"
            table.add_row(Text(task.task), Text(band), f"{people:,}", share)
    return table


def _phase_table(summary: SeasonSummary) -> Table:
    table = _table(
        "Phases: wall seconds, and CPU seconds of all processes together", "phase", "seconds", "CPU seconds"
    )
    for phase in summary.phases:
        table.add_row(Text(phase.name), f"{phase.seconds:.1f}", f"{phase.cpu_seconds:.1f}")
    seconds, cpu = (sum(p.seconds for p in summary.phases), sum(p.cpu_seconds for p in summary.phases))
    table.add_row("together", f"{seconds:.1f}", f"{cpu:.1f}", style="bold")
    return table


def _round_table(summary: SeasonSummary) -> Table:
    table = _table("Seconds per round", "task", "rounds", "median", "longest")
    for task in summary.tasks:
        if task.round_seconds:
            middle, longest = median(task.round_seconds), max(task.round_seconds)
            table.add_row(Text(task.task), str(task.rounds), f"{middle:.1f}", f"{longest:.1f}")
    return table


def _process_table(summary: SeasonSummary) -> Table:
    largest = findings.largest_company_pss_mb(summary)
    title = "Processes: largest peak memory in MB, CPU seconds of all of them"
    if largest is not None:
        title += f"\none company's processes together: at most {largest:.0f} MB PSS"
    table = _table(title, "party", "process", "number", "RSS", "PSS", "CPU s", text=2)
    for group in findings.process_groups(summary):
        memory = (f"{group.peak_rss_mb:.0f}", f"{group.peak_pss_mb:.0f}")
        table.add_row(
            Text(group.party), Text(group.process), str(group.count), *memory, f"{group.cpu_seconds:.1f}"
        )
    return table


def _traffic_table(summary: SeasonSummary) -> Table:
    table = _table(
        "Traffic between a company and the platform, application bytes", "company", "sent", "received"
    )
    totals = findings.traffic_totals(summary.traffic)
    if totals is None:
        return table
    if totals.companies <= _FEW_COMPANIES:
        for row in summary.traffic:
            table.add_row(Text(row.company), findings.byte_text(row.sent), findings.byte_text(row.received))
    else:
        middle = (findings.byte_text(totals.median_sent), findings.byte_text(totals.median_received))
        table.add_row(f"median of {totals.companies}", *middle)
    together = (findings.byte_text(totals.total_sent), findings.byte_text(totals.total_received))
    table.add_row("together", *together, style="bold")
    return table


def _learnt_table(summary: SeasonSummary) -> Table:
    table = _table("What each party learnt", "party", "learnt", "did not learn", text=3)
    for row in summary.learnt:
        table.add_row(Text(row.party), Text(row.learnt), Text(row.not_learnt))
        table.add_section()
    return table


def _rights_table(summary: SeasonSummary) -> Table:
    table = _table("Consent, gate and rights: what happened, and what was seen", "step", "seen", text=2)
    for row in summary.rights:
        table.add_row(Text(row.step), Text(row.seen))
        table.add_section()
    return table


def _verification_table(summary: SeasonSummary) -> Table:
    found = summary.verification
    table = _table(
        "noren-audit verify, from the exported ledger and public keys alone", "ledger", "verdict", text=2
    )
    good, bad = ("bold green", "bold red") if findings.is_verified(summary) else ("bold red", "bold red")
    table.add_row(f"as exported, {found.entries:,} entries", Text(found.verdict, style=good))
    reason = f" ({found.tampered_reason})" if found.tampered_reason else ""
    table.add_row("a copy with one byte changed", Text(found.tampered_verdict + reason, style=bad))
    return table


def _table(title: str, *columns: str, text: int = 1) -> Table:
    """A table whose first `text` columns are words and whose others are numbers."""
    table = Table(title=Text(title, style="bold"), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(Text(column), justify="left" if index < text else "right", overflow="fold")
    return table


def _finite(value: Any) -> Any:
    """The same value with None in place of NaN and infinities, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def _write_whole(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
