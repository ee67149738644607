"""The season's report: what it must say, what it must never do."""

from __future__ import annotations

import io
import json
import re
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from noren_demo import charts, findings, page, report
from noren_demo.summary import (
    Learnt,
    ModelResult,
    PartyUse,
    Phase,
    ProcessUse,
    RightsStep,
    SeasonSummary,
    TaskResult,
    Traffic,
    Verification,
)

HOSTILE = "<img src=x onerror=alert(1)> [bold]&amp;'\""


def _model(name: str, auc: float, small: float) -> ModelResult:
    return ModelResult(name, auc, {"≤ 100": small, "> 500": auc + 0.01})


def _task(**changes: object) -> TaskResult:
    task = TaskResult(
        task="decline",
        companies=3,
        trained_companies=2,
        training_rows=1234,
        scored=987,
        base_rate=0.3,
        models=(
            _model("federated (this season)", 0.814, 0.792),
            _model("label-free index", 0.796, 0.781),
            _model("best local-only", 0.781, 0.702),
            _model("pooled linear, non-private", 0.817, float("nan")),
            _model("gradient boosting, pooled", 0.806, 0.799),
        ),
        calibration_gap=0.021,
        bands={"low": 700, "high": 287},
        observed_by_band={"low": 0.21, "high": 0.61},
        epsilon=0.9987,
        delta=1e-6,
        row_epsilon=7.95,
        row_delta=1e-6,
        rounds=3,
        round_seconds=(4.1, 3.9, 5.2),
    )
    return replace(task, **changes)


@pytest.fixture
def summary() -> SeasonSummary:
    """A small season of three companies."""
    companies = ("company-a", "company-b", "company-c")
    uses = [ProcessUse("platform", "noren-platform serve", 160, 120, 9)]
    uses += [ProcessUse(name, "noren-company run", 400, 290 + i, 12) for i, name in enumerate(companies)]
    uses += [ProcessUse(name, "flower-supernode", 130, 98, 5) for name in companies]
    return SeasonSummary(
        data="generated (seed 7)",
        mode="separate processes",
        tasks=(_task(),),
        phases=(Phase("start and enrol", 12.5, 20.25), Phase("training rounds", 30.0, 11.0)),
        processes=tuple(uses),
        parties=(PartyUse("platform", 500), *(PartyUse(name, 380 + i) for i, name in enumerate(companies))),
        traffic=tuple(Traffic(name, 1000 * (i + 1), 2_500_000) for i, name in enumerate(companies)),
        learnt=(Learnt("platform", "a blinded sum per round", "any head, any score"),),
        verification=Verification("VERIFIED", 42, "NOT VERIFIED", "ENTRY_NOT_CANONICAL"),
        rights=(RightsStep("a withdrawal", "taken in <20 ms>; out from the next round"),),
        notes=("company-c left at prepare: TRAINING_SET_ONE_CLASS",),
    )


class _Elements(HTMLParser):
    """Collects what a page contains, and whether every element is closed in order."""

    VOID = frozenset({"meta", "link", "br", "img", "line", "rect", "circle", "polygon"})

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def _elements(html: str) -> _Elements:
    elements = _Elements()
    elements.feed(html)
    elements.close()
    return elements


def _printed(summary: SeasonSummary, width: int = 160) -> str:
    stream = io.StringIO()
    report.print_summary(summary, Console(file=stream, width=width))
    return stream.getvalue()


def test_printed_tables_fit_in_100_columns_and_are_plain_when_piped(summary: SeasonSummary) -> None:
    """Piped output has no escape sequences and no line longer than 100 characters."""
    text = _printed(summary)
    assert "\x1b" not in text
    assert max(len(line) for line in text.splitlines()) <= 100


def test_every_model_is_printed_with_its_difference_to_the_label_free_index(summary: SeasonSummary) -> None:
    """The gain over the index stands beside each AUC, negative ones with their sign."""
    lines = {line.split("  ")[0].strip(): line for line in _printed(summary).splitlines()}
    assert "+0.018" in lines["federated (this season)"]
    assert "−0.015" in lines["best local-only"]
    assert "–" in lines["pooled linear, non-private"]  # not measured for small companies


def test_the_two_epsilons_are_never_added(summary: SeasonSummary) -> None:
    """Head and rows appear as two numbers, their sum nowhere."""
    total = f"{_task().epsilon + _task().row_epsilon:.3f}"
    for text in (_printed(summary), page.render(summary)):
        assert "0.9987" in text
        assert "7.95" in text
        assert total not in text
        assert total[:4] not in text


def test_markup_in_a_name_is_shown_as_text(summary: SeasonSummary) -> None:
    """A hostile name reaches the terminal unchanged and the page escaped."""
    task = _task(task=HOSTILE, models=(_model(HOSTILE, 0.7, 0.6),), bands={HOSTILE: 1})
    hostile = replace(
        summary,
        data=HOSTILE,
        mode=HOSTILE,
        tasks=(task,),
        phases=(Phase(HOSTILE, 1, 1),),
        processes=(ProcessUse(HOSTILE, HOSTILE, 1, 1, 1),),
        parties=(PartyUse(HOSTILE, 1),),
        traffic=(Traffic(HOSTILE, 1, 1),),
        learnt=(Learnt(HOSTILE, HOSTILE, HOSTILE),),
        verification=Verification(HOSTILE, 1, HOSTILE, HOSTILE),
        rights=(RightsStep(HOSTILE, HOSTILE),),
        notes=(HOSTILE,),
    )
    assert "[bold]" in _printed(hostile)
    html = page.render(hostile)
    assert "<img" not in html
    elements = _elements(html)
    assert not elements.open
    assert not [name for name, _ in elements.attributes if name.startswith("on")]


def test_the_page_asks_for_nothing_and_runs_nothing(summary: SeasonSummary) -> None:
    """No script, no address of another file, and a policy that forbids both."""
    html = page.render(summary)
    elements = _elements(html)
    assert not {"script", "iframe", "object", "embed", "form"} & set(elements.tags)
    addresses = [value for name, value in elements.attributes if name in {"href", "src", "action"}]
    assert addresses == ["data:,"]
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in html
    assert not re.search(r"https?:|url\(|@import", html)


def test_every_chart_has_a_name_a_description_and_a_table(summary: SeasonSummary) -> None:
    """What a chart shows can be read without seeing it."""
    html = page.render(summary)
    figures = re.findall(r"<figure>.*?</figure>", html, re.DOTALL)
    assert len(figures) == 6  # AUC, bands, phases, rounds, bytes, memory
    for figure in figures:
        assert "<table>" in figure
        assert "<figcaption>" in figure
        charts_inside = re.findall(r"<svg .*?</svg>", figure, re.DOTALL)
        assert charts_inside
        for chart in charts_inside:
            assert re.search(r'role="img".*aria-label="[^"]+".*<title>[^<]+</title><desc>[^<]+</desc>', chart)


def test_a_failed_verification_is_not_shown_as_good(summary: SeasonSummary) -> None:
    """A ledger that was refused, or a changed copy that was accepted, is marked bad."""
    assert "card good" in page.render(summary)
    for verdicts in (("NOT VERIFIED", "NOT VERIFIED"), ("VERIFIED", "VERIFIED")):
        failed = replace(summary, verification=Verification(verdicts[0], 42, verdicts[1], ""))
        assert "card good" not in page.render(failed)


def test_a_result_below_the_index_is_marked(summary: SeasonSummary) -> None:
    """A federation that lost to an index without labels does not look like a success."""
    lost = _task(models=(_model("federated (this season)", 0.70, 0.6), _model("label-free index", 0.79, 0.7)))
    html = page.render(replace(summary, tasks=(lost,)))
    assert "−0.090 against the label-free index" in html
    assert "card bad" in html


def test_json_holds_every_number_and_null_for_what_was_not_measured(
    summary: SeasonSummary, tmp_path: Path
) -> None:
    """The file is strict JSON that equals the summary."""
    path = tmp_path / "season.json"
    report.write_json(summary, path)
    loaded = json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert loaded["tasks"][0]["models"][3]["by_size"]["≤ 100"] is None
    assert loaded["tasks"][0]["models"][0]["auc"] == 0.814
    assert loaded["verification"]["entries"] == 42
    assert loaded["rights"] == [asdict(step) for step in summary.rights]


def test_a_failed_write_leaves_the_old_file(
    summary: SeasonSummary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page is replaced whole or not at all."""
    path = tmp_path / "season.html"
    path.write_text("old", encoding="utf-8")

    def full(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="disk full"):
        report.write_html(summary, path)
    assert path.read_text(encoding="utf-8") == "old"


def test_a_season_in_which_nothing_was_trained_still_has_a_report(summary: SeasonSummary) -> None:
    """No task, no company, no process: a page and a console report, without division by zero."""
    empty = replace(summary, tasks=(), phases=(), processes=(), parties=(), traffic=(), learnt=())
    assert "0 models were trained" in page.render(empty)
    assert "VERIFIED" in _printed(empty)
    page.render(replace(summary, tasks=(_task(models=(), round_seconds=(), bands={}),)))


def test_one_companys_memory_is_the_sum_of_its_processes(summary: SeasonSummary) -> None:
    """The number compared with the goal for a company counts all of that company's processes."""
    assert findings.largest_company_pss_mb(summary) == 382


def test_many_companies_are_summed_up_on_the_terminal(summary: SeasonSummary) -> None:
    """Forty companies take one line of traffic, not forty."""
    many = replace(summary, traffic=tuple(Traffic(f"company-{i}", 100, 200) for i in range(40)))
    text = _printed(many)
    assert "median of 40" in text
    assert "company-39" not in text


def test_auc_scale_holds_every_value() -> None:
    """Limits enclose the data and never collapse, also when every value is the same."""
    assert charts.auc_limits([0.702, 0.823, float("nan")]) == (0.7, 0.85)
    low, high = charts.auc_limits([0.5])
    assert low <= 0.5 < high
    assert charts.auc_limits([])[0] < charts.auc_limits([])[1]
