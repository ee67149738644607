"""A verdict in words: tables on a terminal, plain lines in a pipe, JSON for machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from noren_audit.verification.budget import RoundSpending, RowSpending, rounded_down, rounded_up
from noren_audit.verification.certified import Bracket
from noren_audit.verification.findings import Finding
from noren_audit.verification.person import PersonSpending
from noren_audit.verification.sentinel_findings import SentinelVerdict
from noren_audit.verification.shown_verdicts import ShownReplay
from noren_audit.verification.verify import NOT_CHECKED, Verdict, worst_round_spending
from noren_core.season.plan import UNIT, TrainingMode

if TYPE_CHECKING:
    from rich.console import Console

ASSUMPTIONS = (
    f"record: {UNIT}; neighbours: add or remove one record",
    "rounds: discrete Gaussian, full batch, spent when reserved; epsilon by privacy loss distributions",
    "exact: the closed form of composed Gaussians; certified: rigorous bounds of it in ball arithmetic",
    "row release: towards the company, replacing one student's row, of one row or one answer of sums",
    "row release and rounds: two numbers about two things, never added",
    "person: the worst company of each of the worst campaigns, with whole plans, and rows apart",
    "person's bound: that, or the plans' stop; the platform's consent service keeps both, no ledger shows it",
)


def print_report(verdict: Verdict, console: Console) -> None:
    """The verdict for a person; plain lines without boxes or colours when the console is no terminal."""
    _line(console, verdict.word, style="bold green" if verdict.is_verified else "bold red")
    if verdict.checkpoint is not None:
        origin, size, root = verdict.checkpoint.origin, verdict.checkpoint.size, verdict.checkpoint.root.hex()
        _line(console, f"ledger {origin}, {size} entries, root {root}")
    _table(console, "Findings", ("code", "entry", "what", "evidence"), [_row(f) for f in verdict.findings])
    _table(
        console,
        "Rounds: epsilon of a record, by company and campaign",
        (
            "campaign",
            "company",
            "rounds",
            "epsilon",
            "reserved",
            "limit",
            "delta",
            "exact",
            "certified",
            "ceiling (RDP)",
        ),
        [_spending_row(s) for s in verdict.rounds],
    )
    worst = worst_round_spending(verdict)
    if worst is not None:
        _line(console, f"worst case: epsilon {rounded_up(worst.epsilon)} ({worst.company}, {worst.campaign})")
    _table(
        console,
        "Row release: epsilon of a student's row towards the company (separate, never added)",
        ("campaign", "of", "epsilon", "limit", "delta", "exact", "certified"),
        [_row_spending_row(s) for s in verdict.rows],
    )
    _table(
        console,
        "Person: epsilon over the worst campaigns, by training season (rows separate, never added)",
        ("season", "campaigns", "worst 1, 2, ...", "stop", "bound", "delta", "rows"),
        [_person_row(s) for s in verdict.persons],
    )
    _table(
        console,
        "Sentinels: deviation of the noise, relative to the plan's",
        ("campaign", "sums", "ratio", "p-value"),
        [_sentinel_row(s) for s in verdict.sentinels],
    )
    _table(
        console,
        "Replays: rounds that were computed again on the company's machine",
        ("campaign", "company", "result", "rounds", "largest difference", "auditor"),
        [_replay_row(s) for s in verdict.replays],
    )
    _table(console, "Assumptions", ("",), [(text,) for text in ASSUMPTIONS])
    _table(console, "Not checked", ("",), [(text,) for text in NOT_CHECKED])


def to_fields(verdict: Verdict) -> dict[str, Any]:
    """The whole verdict for JSON; epsilons are decimal strings, rounded up."""
    worst = worst_round_spending(verdict)
    checkpoint = verdict.checkpoint
    return {
        "verdict": verdict.word,
        "checkpoint": None
        if checkpoint is None
        else {"origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex()},
        "entries": verdict.entries,
        "findings": [
            {"code": f.code.value, "entry": f.index, "message": f.message, "evidence": f.evidence}
            for f in verdict.findings
        ],
        "rounds": [
            {
                "campaign": s.campaign,
                "company": s.company,
                "releases": s.releases,
                "epsilon": rounded_up(s.epsilon),
                "epsilon_rdp": rounded_up(s.epsilon_rdp),
                "epsilon_closed_form": rounded_up(s.epsilon_closed_form),
                "epsilon_certified": _bracket_fields(s.certified),
                "reserved": rounded_up(s.reserved),
                "delta": s.delta,
                "limit": s.limit,
            }
            for s in verdict.rounds
        ],
        "worst_rounds_epsilon": None if worst is None else rounded_up(worst.epsilon),
        "rows": [
            {
                "campaign": s.campaign,
                "mode": s.mode.value,
                "epsilon": rounded_up(s.epsilon),
                "epsilon_closed_form": rounded_up(s.epsilon_closed_form),
                "epsilon_certified": _bracket_fields(s.certified),
                "delta": s.delta,
                "limit": s.limit,
            }
            for s in verdict.rows
        ],
        "persons": [
            {
                "season": s.season,
                "campaigns": s.campaigns,
                "epsilons": [rounded_up(epsilon) for epsilon in s.epsilons],
                "stop": rounded_up(s.stop),
                "bound": rounded_up(s.bound),
                "row_epsilon": rounded_up(s.row_epsilon),
                "delta": s.delta,
            }
            for s in verdict.persons
        ],
        "sentinels": [
            {
                "campaign": s.campaign,
                "observations": s.judgement.observations,
                "deviation_ratio": f"{s.judgement.deviation_ratio:.4f}",
                "p_value": f"{s.judgement.p_value:.3g}",
            }
            for s in verdict.sentinels
        ],
        "replays": [
            {
                "campaign": s.campaign,
                "company": s.company,
                "replayed": s.is_replayed,
                "rows_erased": s.rows_erased,
                "rounds": s.rounds,
                "largest_difference": s.largest_difference,
                "auditor": s.auditor,
            }
            for s in verdict.replays
        ],
        "assumptions": list(ASSUMPTIONS),
        "not_checked": list(NOT_CHECKED),
    }


def _spending_row(spending: RoundSpending) -> tuple[str, ...]:
    return (
        spending.campaign,
        spending.company,
        str(spending.releases),
        rounded_up(spending.epsilon),
        rounded_up(spending.reserved),
        spending.limit,
        spending.delta,
        rounded_up(spending.epsilon_closed_form),
        _bracket(spending.certified),
        rounded_up(spending.epsilon_rdp),
    )


def _row_spending_row(spending: RowSpending) -> tuple[str, ...]:
    return (
        spending.campaign,
        "one row" if spending.mode is TrainingMode.NOISED_ROWS else "one answer of sums",
        rounded_up(spending.epsilon),
        spending.limit,
        spending.delta,
        rounded_up(spending.epsilon_closed_form),
        _bracket(spending.certified),
    )


def _person_row(spending: PersonSpending) -> tuple[str, ...]:
    return (
        "all" if spending.season is None else spending.season,
        str(spending.campaigns),
        " ".join(map(rounded_up, spending.epsilons)),
        rounded_up(spending.stop),
        rounded_up(spending.bound),
        spending.delta,
        rounded_up(spending.row_epsilon),
    )


def _sentinel_row(verdict: SentinelVerdict) -> tuple[str, ...]:
    judgement = verdict.judgement
    if not judgement.observations:
        return (verdict.campaign, "0", "none planned", "-")
    ratio, p_value = f"{judgement.deviation_ratio:.3f}", f"{judgement.p_value:.2g}"
    return (verdict.campaign, str(judgement.observations), ratio, p_value)


def _replay_row(shown: ShownReplay) -> tuple[str, ...]:
    in_part = "replayed in part" if shown.rows_erased else "NOT REPLAYED"
    result = "replayed" if shown.is_replayed else in_part
    figures = (str(shown.rounds), str(shown.largest_difference), shown.auditor[:16])
    return (shown.campaign, shown.company, result, *figures)


def _bracket(bracket: Bracket | None) -> str:
    """The rigorous bounds, rounded outwards."""
    if bracket is None:
        return "not computed"
    return f"{rounded_down(bracket.lower)}..{rounded_up(bracket.upper)}"


def _bracket_fields(bracket: Bracket | None) -> dict[str, str] | None:
    if bracket is None:
        return None
    return {"lower": rounded_down(bracket.lower), "upper": rounded_up(bracket.upper)}


def _row(finding: Finding) -> tuple[str, str, str, str]:
    evidence = ", ".join(
        f"{name}={' '.join(value) if isinstance(value, list) else value}"
        for name, value in finding.evidence.items()
    )
    index = "-" if finding.index is None else str(finding.index)
    return finding.code.value, index, finding.message, evidence


def _table(console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """One section; nothing if it is empty."""
    if not rows:
        return
    _line(console, f"\n{title}")
    if not console.is_terminal:
        for row in [columns, *rows] if any(columns) else rows:
            _line(console, "  " + "  ".join(cell for cell in row if cell))
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=any(columns))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def _line(console: Console, text: str, *, style: str | None = None) -> None:
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
