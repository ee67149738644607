"""Small SVG charts for the season's page: no script, no font file, nothing fetched.

A chart is text that repeats a table of the same page, so it is one image to a screen reader (a title
and a description) and takes its colours from the page's style sheet, which knows light, dark and print.
Every label is escaped here; callers pass plain text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from html import escape
from statistics import median

WIDTH = 360
_LABEL_WIDTH = 196
_VALUE_WIDTH = 44
_CHARACTER_WIDTH = 6.4  # of the 12 px font, on average


class Tone(StrEnum):
    """How a mark is drawn; the style sheet gives each its colours."""

    MAIN = "main"  # what the page is about
    BASELINE = "baseline"  # what it must be compared with
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Dot:
    """One row of a dot panel."""

    label: str
    value: float
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Bars:
    """One row of a bar chart: its label, what to print, and one length per series."""

    label: str
    text: str
    lengths: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear scale from data to pixels."""

    low: float
    high: float
    left: float
    right: float

    def x(self, value: float) -> float:
        """Where `value` is drawn, kept inside the scale."""
        inside = min(max(value, self.low), self.high)
        return self.left + (inside - self.low) / (self.high - self.low) * (self.right - self.left)


def auc_limits(values: Sequence[float]) -> tuple[float, float]:
    """Limits in steps of 0.05 that hold every value; at least 0.1 apart."""
    finite = [value for value in values if math.isfinite(value)] or [0.5]
    low = math.floor(min(finite) * 20 + 1e-9) / 20
    high = math.ceil(max(finite) * 20 - 1e-9) / 20
    return low, max(high, low + 0.1)


def dot_panel(title: str, dots: Sequence[Dot], limits: tuple[float, float]) -> str:
    """AUC by model: one dot a row with its value, and a dashed line down from the baseline's dot."""
    scale = Scale(*limits, _LABEL_WIDTH, WIDTH - _VALUE_WIDTH)
    bottom = 6 + 22 * len(dots)
    parts = [*_ticks(scale, bottom), *_baselines(dots, scale, bottom)]
    for row, dot in enumerate(dots):
        parts += _dot_row(dot, scale, 18 + 22 * row)
    spoken = "; ".join(f"{dot.label} {three_digits(dot.value)}" for dot in dots)
    return _svg(title, f"Area under the curve. {spoken}.", bottom + 22, parts)


def bars(title: str, rows: Sequence[Bars], series: Sequence[str], *, reference: float | None = None) -> str:
    """Horizontal bars from zero: label and value on one line, the bars of each series beneath.

    Args:
        title: what is shown, with its unit.
        rows: one or more rows with `len(series)` lengths each.
        series: names of the series, in the order of the lengths.
        reference: draws a dashed line at this length across every row's bars.
    """
    longest = max([1e-9, reference or 0.0, *(length for row in rows for length in row.lengths)])
    scale = Scale(0, longest, 0, WIDTH)
    row_height = 31 + 9 * (len(series) - 1)
    parts: list[str] = []
    for index, row in enumerate(rows):
        parts += _bar_row(row, scale, row_height * index)
        if reference is not None:
            parts.append(
                _reference(scale.x(reference), row_height * index + 14, row_height * (index + 1) - 5)
            )
    height = row_height * len(rows)
    spoken = "; ".join(f"{row.label} {row.text}" for row in rows)
    return _svg(title, f"{', '.join(series)}. {spoken}.", height, parts)


def columns(title: str, values: Sequence[float], *, unit: str) -> str:
    """One column per round, with a dashed line at the median."""
    height, floor, top = 170, 140, 14
    longest = max([1e-9, *values])
    step = WIDTH / max(1, len(values))
    parts = []
    for index, value in enumerate(values):
        tall = value / longest * (floor - top)
        x, width = step * index + step * 0.12, step * 0.76
        parts.append(_bar(0, x=x, y=floor - tall, width=width, height=tall))
    for index in _labelled(len(values)):
        x = step * (index + 0.5)
        parts.append(
            f'<text class="small" x="{x:.1f}" y="{floor + 16}" text-anchor="middle">{index + 1}</text>'
        )
    middle = median(values) if values else 0.0
    y = floor - middle / longest * (floor - top)
    parts.append(f'<line class="reference" x1="0" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
    parts.append(
        f'<text class="small" x="0" y="{height - 2}">round; dashed: median {middle:.1f} {unit}</text>'
    )
    spoken = ", ".join(f"{value:.1f}" for value in values)
    return _svg(title, f"By round, in {unit}: {spoken}. Median {middle:.1f}.", height, parts)


def three_digits(value: float) -> str:
    """An AUC or a share as text; a dash where there is no number."""
    return f"{value:.3f}" if math.isfinite(value) else "–"


def _dot_row(dot: Dot, scale: Scale, y: int) -> list[str]:
    label = _shortened(dot.label, _LABEL_WIDTH - 10)
    value = three_digits(dot.value)
    parts = [
        f'<text class="{dot.tone}" x="0" y="{y + 4}">{escape(label)}</text>',
        f'<line class="guide" x1="{scale.left}" x2="{scale.right}" y1="{y}" y2="{y}"/>',
        f'<text class="{dot.tone}" x="{WIDTH}" y="{y + 4}" text-anchor="end">{value}</text>',
    ]
    if math.isfinite(dot.value):
        parts.append(_mark(dot.tone, scale.x(dot.value), y))
    return parts


def _baselines(dots: Sequence[Dot], scale: Scale, bottom: int) -> list[str]:
    places = [scale.x(dot.value) for dot in dots if dot.tone is Tone.BASELINE and math.isfinite(dot.value)]
    return [_reference(x, 4, bottom) for x in places]


def _reference(x: float, top: int, bottom: int) -> str:
    return f'<line class="reference" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>'


def _mark(tone: Tone, x: float, y: int) -> str:
    """A disc, or a diamond for the baseline: told apart without colour."""
    if tone is Tone.BASELINE:
        points = f"{x:.1f},{y - 6} {x + 6:.1f},{y} {x:.1f},{y + 6} {x - 6:.1f},{y}"
        return f'<polygon class="mark {tone}" points="{points}"/>'
    return f'<circle class="mark {tone}" cx="{x:.1f}" cy="{y}" r="5"/>'


def _ticks(scale: Scale, bottom: int) -> list[str]:
    span = scale.high - scale.low
    step = 0.1 if span > 0.2 else 0.05
    first = math.ceil(scale.low / step - 1e-9)
    parts = []
    for number in range(first, math.floor(scale.high / step + 1e-9) + 1):
        x = scale.x(number * step)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{bottom}"/>')
        text = f"{number * step:.2f}".rstrip("0")
        parts.append(f'<text class="small" x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">{text}</text>')
    return parts


def _bar_row(row: Bars, scale: Scale, top: int) -> list[str]:
    room = WIDTH - _CHARACTER_WIDTH * (len(row.text) + 2)
    parts = [
        f'<text x="0" y="{top + 12}">{escape(_shortened(row.label, room))}</text>',
        f'<text x="{WIDTH}" y="{top + 12}" text-anchor="end">{escape(row.text)}</text>',
    ]
    for index, length in enumerate(row.lengths):
        y, width = top + 16 + 9 * index, max(scale.x(length), 1.0)
        parts.append(_bar(index, x=0, y=y, width=width, height=7))
    return parts


def _bar(series: int, *, x: float, y: float, width: float, height: float) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect class="bar series-{series}" {place} rx="1.5"/>'


def _labelled(count: int) -> list[int]:
    """Which of `count` columns get a number: all of a few, every fifth of many."""
    if count <= 12:
        return list(range(count))
    step = 5 if count <= 60 else 10
    return [0, *range(step - 1, count, step)]


def _shortened(text: str, room: float) -> str:
    fits = max(4, int(room / _CHARACTER_WIDTH))
    return text if len(text) <= fits else text[: fits - 1].rstrip() + "…"


def _svg(title: str, description: str, height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg role="img" viewBox="0 0 {WIDTH} {height}" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title><desc>{escape(description)}</desc>{''.join(parts)}</svg>"
    )
