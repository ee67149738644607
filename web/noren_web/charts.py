"""A chart and the table behind it: one value, drawn where scripts run, read as a table everywhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from noren_core.errors import DataError


class ChartKind(StrEnum):
    """How it is drawn."""

    LINE = "line"
    BAR = "bar"
    STACKED = "stacked"


@dataclass(frozen=True, slots=True)
class Series:
    """One line, or one colour of bars; None where there is no value."""

    name: str
    values: tuple[float | int | None, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """What a chart shows.

    Attributes:
        title: also the table's caption.
        across: what the labels are, the head of the first column.
        labels: one for each value of every series.
        series: what is drawn.
        unit: of the values, for axis and table; empty if they are plain numbers.
        limit: a horizontal line, such as a budget, with its name; or nothing.
    """

    kind: ChartKind
    title: str
    across: str
    labels: tuple[str, ...]
    series: tuple[Series, ...]
    unit: str = ""
    limit: tuple[str, float] | None = None

    def __post_init__(self) -> None:
        if any(len(series.values) != len(self.labels) for series in self.series):
            raise DataError("chart: expected a value for each label in every series, got others")

    @property
    def option(self) -> str:
        """What the script draws, as JSON."""
        return json.dumps(
            {
                "kind": self.kind.value,
                "title": str(self.title),
                "across": str(self.across),
                "labels": [str(label) for label in self.labels],
                "series": [{"name": str(s.name), "values": list(s.values)} for s in self.series],
                "unit": str(self.unit),
                "limit": None if self.limit is None else [str(self.limit[0]), self.limit[1]],
            },
            ensure_ascii=False,
        )

    def rows(self) -> Sequence[tuple[str, ...]]:
        """The table's rows."""
        return [
            (str(label), *("–" if s.values[i] is None else f"{s.values[i]:g}" for s in self.series))
            for i, label in enumerate(self.labels)
        ]
