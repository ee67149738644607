"""The season as one self-contained page: tables, charts drawn from them, and what they mean.

The page carries no script and asks for nothing (its content-security policy forbids both). Everything
that comes from a summary is escaped where it enters the markup. Behind every chart stands the table it
was drawn from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

from noren_demo import charts, findings
from noren_demo.charts import Bars, Dot, Tone, three_digits
from noren_demo.findings import byte_text, counted, signed_text
from noren_demo.summary import ModelResult, SeasonSummary, TaskResult, Traffic

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_MOST_BARS = 16

Row = Sequence[str]


def render(summary: SeasonSummary) -> str:
    """The whole page as HTML text."""
    style = files("noren_demo").joinpath("page.css").read_text(encoding="utf-8")
    title = f"Noren season: {summary.data}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f"{_header(summary)}\n<main>\n{''.join(_sections(summary))}</main>\n"
        "<footer><p>Written by the evaluator of this run, who alone holds the outcomes of the scored season. "
        "No party of the protocol could compute this page.</p></footer>\n</body>\n</html>\n"
    )


def _header(summary: SeasonSummary) -> str:
    lead = "".join(f"<p class='lead'>{escape(text)}</p>" for text in findings.english_summary(summary))
    return (
        f"<header><p class='eyebrow'>Noren season report</p><h1>{escape(summary.data)}</h1>"
        f"<p class='mode'>{escape(summary.mode)}</p>"
        f"{lead}"
        f"<p class='lead' lang='ja'>{escape(findings.japanese_summary(summary))}</p></header>"
    )


def _sections(summary: SeasonSummary) -> Iterable[str]:
    yield _key_figures(summary)
    for task in summary.tasks:
        yield _task_section(task)
    yield _privacy_section(summary)
    yield _cost_section(summary)
    yield _learnt_section(summary)
    yield _rights_section(summary)
    yield _verification_section(summary)
    if summary.notes:
        yield _section("Notes", f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in summary.notes)}</ul>")


def _key_figures(summary: SeasonSummary) -> str:
    cards = [card for task in summary.tasks for card in _task_cards(task)]
    verdict = summary.verification.verdict
    tone = "good" if findings.is_verified(summary) else "bad"
    cards.append(_card("Ledger", verdict, "noren-audit, from public keys alone", tone))
    return f"<section class='cards' aria-label='Key figures'>{''.join(cards)}</section>\n"


def _task_cards(task: TaskResult) -> list[str]:
    ours, gain = findings.federated(task), findings.gain_over_index(task)
    tone = "bad" if gain < 0 else ""
    value = three_digits(ours.auc if ours else math.nan)
    return [
        _card(
            f"{task.task}: federated AUC", value, f"{signed_text(gain)} against the label-free index", tone
        ),
        _card(f"{task.task}: ε of the head", f"{task.epsilon:.3g}", f"δ {task.delta:.2g}, whole campaign"),
        _card(
            f"{task.task}: ε of the {findings.row_release(task)}",
            f"{task.row_epsilon:.3g}",
            "a separate release, not added",
        ),
    ]


def _card(label: str, value: str, note: str, tone: str = "") -> str:
    return (
        f"<div class='card {tone}'><p class='label'>{escape(label)}</p><p class='value'>{escape(value)}</p>"
        f"<p class='note'>{escape(note)}</p></div>"
    )


def _task_section(task: TaskResult) -> str:
    facts = (
        f"{task.trained_companies} of {counted(task.companies, 'company', 'companies')} trained, on "
        f"{task.training_rows:,} rows; {task.scored:,} people scored, {task.base_rate:.1%} of whom had the "
        f"outcome. Calibration gap {three_digits(task.calibration_gap)}."
    )
    title = f"Task {task.task}: who is ranked right"
    body = f"<p>{escape(facts)}</p>{_auc_figure(task)}{_bands_figure(task)}"
    return _section(title, body)


def _auc_figure(task: TaskResult) -> str:
    buckets = findings.size_buckets(task)
    limits = charts.auc_limits([v for r in task.models for v in (r.auc, *r.by_size.values())])
    panels = [_auc_panel("All companies", [(r, r.auc) for r in task.models], limits)]
    for bucket in buckets:
        rows = [(r, findings.auc_in(r, bucket)) for r in task.models]
        panels.append(_auc_panel(f"Companies of {bucket} rows", rows, limits))
    caption = (
        f"{task.task}: AUC within each company, by model and by training rows of the company. Blue disc: the "
        "federated result. Orange diamond and dashed line: the label-free index, to be beaten. "
        f"The scale starts at {limits[0]:.2f}."
    )
    return _figure(caption, panels, _auc_table(task, buckets), opened=True)


def _auc_panel(title: str, rows: Iterable[tuple[ModelResult, float]], limits: tuple[float, float]) -> str:
    dots = [Dot(result.model, value, _tone(result)) for result, value in rows]
    return _panel(title, charts.dot_panel(f"AUC by model: {title}", dots, limits))


def _tone(result: ModelResult) -> Tone:
    if findings.is_federated(result):
        return Tone.MAIN
    return Tone.BASELINE if findings.is_label_free(result) else Tone.PLAIN


def _auc_table(task: TaskResult, buckets: Sequence[str]) -> str:
    index = findings.label_free(task)
    rows = []
    for result in task.models:
        over = result.auc - index.auc if index and not findings.is_label_free(result) else math.nan
        cells = [three_digits(findings.auc_in(result, bucket)) for bucket in buckets]
        rows.append([result.model, three_digits(result.auc), *cells, signed_text(over)])
    return _table(
        f"Task {task.task}: AUC within company", ["model", "all", *buckets, "over the index"], rows, words=1
    )


def _bands_figure(task: TaskResult) -> str:
    bars, rows = [], []
    for band, people in task.bands.items():
        observed = task.observed_by_band.get(band, math.nan)
        share = f"{observed:.1%}" if math.isfinite(observed) else "–"
        bars.append(Bars(f"band {band} ({counted(people, 'person', 'people')})", share, (_drawn(observed),)))
        rows.append([f"band {band}", f"{people:,}", share])
    title = f"{task.task}: observed share with the outcome, by band"
    chart = charts.bars(title, bars, ["observed share"], reference=task.base_rate)
    caption = (
        "Bands shown by the companies, and what then happened. "
        f"Dashed: all scored people, {task.base_rate:.1%}."
    )
    table = _table(f"Task {task.task}: bands", ["band", "people", "with the outcome"], rows, words=1)
    return _figure(caption, [_panel(title, chart)], table)


def _privacy_section(summary: SeasonSummary) -> str:
    rows = []
    for task in summary.tasks:
        rounds = counted(task.rounds, "round", "rounds")
        rows.append([task.task, f"head, {rounds}", f"{task.epsilon:.4g}", f"{task.delta:.2g}"])
        released = findings.row_release(task)
        rows.append([task.task, released, f"{task.row_epsilon:.4g}", f"{task.row_delta:.2g}"])
    text = (
        "<p>The head's ε was recomputed by the auditor from the events in the ledger. It protects one "
        "person's record at one company in one campaign (record added or removed). The rows' ε protects one "
        "student's row against the one company that opens it, or a sum with it (row replaced). They are "
        "different releases to different readers: two numbers, never their sum.</p>"
    )
    table = _table("Privacy loss, by release", ["task", "release", "ε", "δ"], rows, words=2)
    return _section("Privacy", text + table)


def _cost_section(summary: SeasonSummary) -> str:
    figures = [
        _phases_figure(summary),
        *(_rounds_figure(task) for task in summary.tasks if task.round_seconds),
        _traffic_figure(summary.traffic),
        _memory_figure(summary),
    ]
    return _section("What it took", f"<div class='columns'>{''.join(figures)}</div>")


def _phases_figure(summary: SeasonSummary) -> str:
    bars = [
        Bars(
            phase.name, f"{phase.seconds:.1f} / {phase.cpu_seconds:.1f} s", (phase.seconds, phase.cpu_seconds)
        )
        for phase in summary.phases
    ]
    rows = [[phase.name, f"{phase.seconds:.1f}", f"{phase.cpu_seconds:.1f}"] for phase in summary.phases]
    total = (
        sum(phase.seconds for phase in summary.phases),
        sum(phase.cpu_seconds for phase in summary.phases),
    )
    rows.append(["together", f"{total[0]:.1f}", f"{total[1]:.1f}"])
    chart = charts.bars("Seconds per phase", bars, ["wall seconds", "CPU seconds of all processes"])
    table = _table("Seconds per phase", ["phase", "wall", "CPU"], rows, words=1)
    caption = f"{_key(0)} wall and {_key(1)} CPU seconds of all processes. Together {total[0]:.0f} s wall."
    return _figure(caption, [_panel("Seconds per phase", chart)], table, markup=True)


def _rounds_figure(task: TaskResult) -> str:
    title = f"{task.task}: seconds per round"
    chart = charts.columns(title, task.round_seconds, unit="s")
    rows = [[str(number), f"{value:.1f}"] for number, value in enumerate(task.round_seconds, 1)]
    table = _table(title, ["round", "seconds"], rows, words=1)
    return _figure("Wall seconds of each training round.", [_panel(title, chart)], table)


def _traffic_figure(traffic: Sequence[Traffic]) -> str:
    shown = sorted(traffic, key=lambda row: -(row.sent + row.received))[:_MOST_BARS]
    bars = [
        Bars(row.company, f"{byte_text(row.sent)} / {byte_text(row.received)}", (row.sent, row.received))
        for row in shown
    ]
    rows = [[row.company, byte_text(row.sent), byte_text(row.received)] for row in traffic]
    totals = findings.traffic_totals(traffic)
    if totals:
        rows.append(["together", byte_text(totals.total_sent), byte_text(totals.total_received)])
    chart = charts.bars("Bytes per company", bars, ["sent", "received"])
    caption = f"{_key(0)} sent and {_key(1)} received by each company, without TLS framing."
    if len(traffic) > len(shown):
        caption += f" The {len(shown)} busiest of {len(traffic)}; all are in the table."
    table = _table("Bytes per company", ["company", "sent", "received"], rows, words=1)
    return _figure(caption, [_panel("Bytes per company", chart)], table, markup=True)


def _memory_figure(summary: SeasonSummary) -> str:
    groups = sorted(findings.process_groups(summary), key=lambda group: -group.peak_pss_mb)[:_MOST_BARS]
    bars = [
        Bars(f"{group.party}: {group.process}", f"{group.peak_pss_mb:.0f} MB", (group.peak_pss_mb,))
        for group in groups
    ]
    rows = [
        [use.party, use.process, f"{use.peak_rss_mb:.0f}", f"{use.peak_pss_mb:.0f}", f"{use.cpu_seconds:.1f}"]
        for use in summary.processes
    ]
    chart = charts.bars("Peak memory per process", bars, ["peak proportional set size"])
    caption = "Peak proportional set size (shared pages counted once); of equal processes the largest."
    largest = findings.largest_company_pss_mb(summary)
    if largest is not None:
        caption += f" One company's processes together: at most {largest:.0f} MB."
    table = _table(
        "Peak memory and CPU per process", ["party", "process", "RSS MB", "PSS MB", "CPU s"], rows, words=2
    )
    return _figure(caption, [_panel("Peak memory per process", chart)], table)


def _learnt_section(summary: SeasonSummary) -> str:
    rows = [[row.party, row.learnt, row.not_learnt] for row in summary.learnt]
    table = _table("By party", ["party", "learnt", "did not learn"], rows, words=3)
    return _section("What each party learnt", table)


def _rights_section(summary: SeasonSummary) -> str:
    rows = [[item.step, item.seen] for item in summary.rights]
    table = _table("Consent, gate and rights", ["step", "seen"], rows, words=2)
    return _section("Consent, gate and rights", table)


def _verification_section(summary: SeasonSummary) -> str:
    found = summary.verification
    rows = [
        [f"as exported, {counted(found.entries, 'entry', 'entries')}", found.verdict, ""],
        ["a copy with one byte changed", found.tampered_verdict, found.tampered_reason],
    ]
    text = "<p>noren-audit reads the exported ledger and public keys, nothing else.</p>"
    return _section("Verification", text + _table("Verdicts", ["ledger", "verdict", "reason"], rows, words=3))


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>\n"


def _panel(title: str, chart: str) -> str:
    return f"<div class='panel'><h3>{escape(title)}</h3>{chart}</div>"


def _figure(
    caption: str, panels: Sequence[str], table: str, *, opened: bool = False, markup: bool = False
) -> str:
    """Charts, what they show, and their table; `markup` captions were escaped by their author."""
    shown = " open" if opened else ""
    return (
        f"<figure><div class='panels'>{''.join(panels)}</div>"
        f"<figcaption>{caption if markup else escape(caption)}</figcaption>"
        f"<details{shown}><summary>The numbers as a table</summary>{table}</details></figure>"
    )


def _key(series: int) -> str:
    return f"<span class='key series-{series}' aria-hidden='true'></span>"


def _table(caption: str, columns: Row, rows: Iterable[Row], *, words: int) -> str:
    """A table whose first `words` columns are words and whose others are numbers."""
    head = "".join(
        f"<th scope='col'{_align(i, words)}>{escape(column)}</th>" for i, column in enumerate(columns)
    )
    body = "".join(f"<tr>{_cells(row, words)}</tr>" for row in rows)
    return (
        f"<div class='scroll' role='region' tabindex='0' aria-label='{escape(caption)}'>"
        f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cells(row: Row, words: int) -> str:
    first, *others = row
    cells = (f"<td{_align(i, words)}>{escape(cell)}</td>" for i, cell in enumerate(others, 1))
    return f"<th scope='row'>{escape(first)}</th>{''.join(cells)}"


def _align(column: int, words: int) -> str:
    return "" if column < words else " class='number'"


def _drawn(value: float) -> float:
    return value if math.isfinite(value) else 0.0
