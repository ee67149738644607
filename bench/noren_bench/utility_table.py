"""Printing what the utility benchmark measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from noren_bench.measurement import Goal
from noren_bench.utility_result import Federated, Measured

_LEGEND = """\
AUC within companies, weighted by people; mean over one whole season and further draws of its noise.
scatter: standard deviation of one season, by noise alone. ±: standard error by which people there are.
index: the label-free engagement index, which a broken federation could have as well.
pooled, local: linear heads without privacy, on everybody's clean rows and on each company's own."""


def print_measured(measured: Sequence[Measured], console: Console) -> None:
    """For each season a table, its goals and what was spent; at the end what was missed."""
    for setting in dict.fromkeys(item.setting for item in measured):
        own = [item for item in measured if item.setting == setting]
        console.print(_table(setting, own))
        for item, federated, goals in _judged(own):
            console.print(f"[bold]{item.task}, {federated.mode}[/bold]: {_circumstances(item, federated)}")
            console.print("  " + _spent(federated))
            for goal in goals:
                console.print("  " + _goal(goal))
        console.print()
    console.print(_LEGEND)
    every = [(item, federated, goal) for item, federated, goals in _judged(measured) for goal in goals]
    missed = [found for found in every if not found[2].is_met]
    console.print(f"[bold]{len(every) - len(missed)} of {len(every)} goals met[/bold]")
    for item, federated, goal in missed:
        console.print(f"  {item.setting}, {item.task}, {federated.mode}: {_goal(goal)}")


def _judged(measured: Sequence[Measured]) -> list[tuple[Measured, Federated, tuple[Goal, ...]]]:
    return [(item, federated, item.goals(federated)) for item in measured for federated in item.federated]


def _table(setting: str, measured: Sequence[Measured]) -> Table:
    table = Table(title=setting, box=box.SIMPLE_HEAD, padding=(0, 1))
    for column in ("task", "mode", "index", "pooled", "local", "ours", "scatter", "gain over index", "share"):
        table.add_column(column, justify="left" if column in {"task", "mode"} else "right")
    for item in measured:
        for federated in item.federated:
            table.add_row(
                item.task,
                federated.mode,
                f"{item.index:.4f}",
                f"{item.pooled:.4f}",
                f"{item.local:.4f}",
                f"{federated.auc:.4f}",
                _or_none(federated.scatter),
                f"{federated.gain:+.4f} ± {federated.gain_error:.4f}",
                "–" if item.control else f"{item.share_of_gain(federated):.2f}",
            )
    return table


def _circumstances(item: Measured, federated: Federated) -> str:
    small = (
        ""
        if math.isnan(federated.small)
        else f"; companies with n ≤ 100: ours {federated.small:.4f}, index {item.small_index:.4f}"
    )
    return (
        f"{item.companies} companies, {item.training_rows:,} rows, {item.scored:,} scored, "
        f"outcome {item.base_rate:.1%} (companies' rates moved by {item.rate_shift:.1%}); "
        f"whole season {federated.season:.4f} ± {item.people_error:.4f}, "
        f"{len(federated.draws)} further draws{small}"
    )


def _spent(federated: Federated) -> str:
    return (
        f"head ε = {federated.epsilon:.4g}, δ = {federated.delta:g} (a record added or removed); "
        f"behaviour ε_h = {federated.row_epsilon:.4g}, δ = {federated.row_delta:g} (a row replaced); "
        f"a person: ε ≤ {federated.person_epsilon}, δ = {float(federated.person_delta):g}, "
        f"at most {federated.person_campaigns} campaigns"
    )


def _or_none(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4f}"


def _goal(goal: Goal) -> str:
    relation = "≤" if goal.is_maximum else "≥"
    verdict = "[green]met[/green]   " if goal.is_met else "[red]MISSED[/red]"
    return f"{verdict} {goal.what}: {goal.measured:.3g} {relation} {goal.limit:g}"
