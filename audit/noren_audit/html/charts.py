"""SVG charts of the auditor's report: no script, no font file, nothing fetched.

A chart repeats a table of the same page, so it is one image to a screen reader (a label and a description)
and takes its colours from the page's style sheet, which knows light, dark and print. What tells two marks
apart is never colour alone. Every label is escaped here; callers pass plain text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, isfinite, log10

WIDTH = 640
HEIGHT = 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 150, 18, 42


@dataclass(frozen=True, slots=True)
class Limit:
    """A horizontal line that must not be passed, with its name."""

    label: str
    value: float


@dataclass(frozen=True, slots=True)
class Steps:
    """A quantity that only grows: (place, value) pairs in ascending order of place."""

    label: str
    points: Sequence[tuple[float, float]]
    is_thin: bool = False


@dataclass(frozen=True, slots=True)
class Bar:
    """One column: its name below, its value above."""

    label: str
    text: str
    value: float


@dataclass(frozen=True, slots=True)
class _Frame:
    """The plotting area and its two scales."""

    low_x: float
    high_x: float
    low_y: float
    high_y: float

    def x(self, value: float) -> float:
        return _LEFT + (value - self.low_x) / (self.high_x - self.low_x) * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        inside = min(max(value, self.low_y), self.high_y)
        span = HEIGHT - _TOP - _BOTTOM
        return HEIGHT - _BOTTOM - (inside - self.low_y) / (self.high_y - self.low_y) * span


def steps(title: str, lines: Sequence[Steps], limits: Sequence[Limit], *, across: str, up: str) -> str:
    """Stairs from zero, each named at its end, under dashed lines for the limits.

    Args:
        title: what is shown.
        lines: the stairs; infinite values are drawn at the top.
        limits: the dashed lines.
        across: what the horizontal axis counts.
        up: what the vertical axis measures.
    """
    places = [place for line in lines for place, _ in line.points]
    low, high = min(places, default=0.0), max(places, default=1.0)
    margin = max(0.5, (high - low) * 0.04)
    values = [value for line in lines for _, value in line.points] + [limit.value for limit in limits]
    frame = _Frame(low - margin, high + margin, 0.0, _ceiling(values))
    parts = [*_levels(frame), *_places(frame, across), _text(_LEFT, _TOP - 2, up, "small", "end")]
    names: list[tuple[float, str, str]] = []
    for limit in limits:
        parts.append(_rule(frame, limit.value))
        names.append((frame.y(limit.value), limit.label, "limit"))
    for line in lines:
        if line.points:
            parts.append(_stairs(frame, line))
            names.append((frame.y(line.points[-1][1]), line.label, "thin" if line.is_thin else "main"))
    parts += _names(names)
    ends = [f"{line.label}: {_number(line.points[-1][1])}" for line in lines if line.points]
    spoken = "; ".join([*ends, *(f"{limit.label}: {_number(limit.value)}" for limit in limits)])
    return _svg(title, spoken, parts)


def columns(title: str, bars: Sequence[Bar], limits: Sequence[Limit], *, across: str, up: str) -> str:
    """Columns from zero under dashed lines for the limits."""
    values = [bar.value for bar in bars] + [limit.value for limit in limits]
    frame = _Frame(0.0, float(max(1, len(bars))), 0.0, _ceiling(values))
    parts = [*_levels(frame), _axis_name(across), _text(_LEFT, _TOP - 2, up, "small", "end")]
    for number, bar in enumerate(bars):
        left, middle, right = (frame.x(number + share) for share in (0.22, 0.5, 0.78))
        top, bottom = frame.y(bar.value), frame.y(0)
        size = f'width="{right - left:.1f}" height="{max(bottom - top, 0.5):.1f}"'
        parts.append(f'<rect class="bar" x="{left:.1f}" y="{top:.1f}" {size}/>')
        parts.append(_text(middle, top - 5, bar.text, "value", "middle"))
        parts.append(_text(middle, bottom + 16, bar.label, "small", "middle"))
    parts += [_rule(frame, limit.value) for limit in limits]
    parts += _names([(frame.y(limit.value), limit.label, "limit") for limit in limits])
    spoken = "; ".join(
        [f"{bar.label}: {bar.text}" for bar in bars]
        + [f"{limit.label}: {_number(limit.value)}" for limit in limits]
    )
    return _svg(title, spoken, parts)


def residuals(
    title: str, groups: Sequence[tuple[str, Sequence[float]]], bound: float, *, across: str, bound_label: str
) -> str:
    """Standardised values by group, as discs between two dashed bounds; outside them as crosses."""
    values = [value for _, group in groups for value in group]
    reach = max([bound * 1.2, *(min(abs(value), bound * 4) for value in values)])
    frame = _Frame(0.0, float(max(1, len(groups))), -reach, reach)
    parts = [_axis_name(across)]
    parts += [_rule(frame, sign * bound) for sign in (-1, 1)]
    parts.append(_line("grid", _LEFT, WIDTH - _RIGHT, frame.y(0), frame.y(0)))
    for level in (-bound, 0.0, bound):
        parts.append(
            _text(
                _LEFT - 6,
                frame.y(level) + 4,
                f"{level:+.2f}".replace("-", "−") if level else "0",
                "small",
                "end",
            )
        )
    step = _label_step(len(groups))
    for number, (label, group) in enumerate(groups):
        middle = frame.x(number + 0.5)
        if number % step == 0:
            parts.append(_text(middle, HEIGHT - _BOTTOM + 16, label, "small", "middle"))
        parts += [_mark(middle, frame.y(value), is_outside=abs(value) > bound) for value in group]
    parts += _names([(frame.y(sign * bound), bound_label, "limit") for sign in (-1, 1)])
    outside = sum(abs(value) > bound for value in values)
    return _svg(title, f"{len(values)} values, {outside} outside ±{bound:.2f}.", parts)


def meter(share: float) -> str:
    """A small bar beside a number that says the same: how much of its limit is used."""
    used = 60 * min(max(share, 0.0), 1.0) if isfinite(share) else 60.0
    over = " over" if share > 1 else ""
    return (
        f'<svg class="meter{over}" viewBox="0 0 60 8" aria-hidden="true"><rect class="track" width="60" '
        f'height="8"/><rect class="fill" width="{used:.0f}" height="8"/></svg>'
    )


def _stairs(frame: _Frame, line: Steps) -> str:
    first, *others = line.points
    path = [f"M{frame.x(first[0]):.1f} {frame.y(0):.1f}V{frame.y(first[1]):.1f}"]
    path += [f"H{frame.x(place):.1f}V{frame.y(value):.1f}" for place, value in others]
    path.append(f"H{frame.x(frame.high_x):.1f}")
    return f'<path class="{"thin" if line.is_thin else "line"}" d="{"".join(path)}"/>'


def _levels(frame: _Frame) -> list[str]:
    step = _step(frame.high_y)
    parts = []
    for number in range(floor(frame.high_y / step + 1e-9) + 1):
        y = frame.y(number * step)
        parts.append(_line("grid", _LEFT, WIDTH - _RIGHT, y, y))
        parts.append(_text(_LEFT - 6, y + 4, f"{number * step:.4g}", "small", "end"))
    return parts


def _places(frame: _Frame, across: str) -> list[str]:
    step = max(1.0, _step(frame.high_x - frame.low_x))
    first = ceil(frame.low_x / step) * step
    parts = [_axis_name(across)]
    place = first
    while place <= frame.high_x:
        parts.append(_text(frame.x(place), HEIGHT - _BOTTOM + 16, f"{place:.0f}", "small", "middle"))
        place += step
    return parts


def _axis_name(across: str) -> str:
    return _text((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 4, across, "small", "middle")


def _names(names: Sequence[tuple[float, str, str]]) -> list[str]:
    """Names at the right edge, moved apart where they would lie on each other."""
    parts, last = [], -100.0
    for y, label, kind in sorted(names):
        last = max(y, last + 15)
        parts.append(_text(WIDTH - _RIGHT + 8, last + 4, _shortened(label, 22), kind, "start"))
    return parts


def _rule(frame: _Frame, value: float) -> str:
    return _line("limit", _LEFT, WIDTH - _RIGHT, frame.y(value), frame.y(value))


def _line(kind: str, left: float, right: float, top: float, bottom: float) -> str:
    return f'<line class="{kind}" x1="{left:.1f}" x2="{right:.1f}" y1="{top:.1f}" y2="{bottom:.1f}"/>'


def _mark(x: float, y: float, *, is_outside: bool) -> str:
    if is_outside:
        return f'<path class="outside" d="M{x - 4:.1f} {y - 4:.1f}l8 8m0-8l-8 8"/>'
    return f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'


def _text(x: float, y: float, text: str, kind: str, anchor: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _label_step(count: int) -> int:
    return 1 if count <= 20 else ceil(count / 20)


def _ceiling(values: Sequence[float]) -> float:
    """The end of a scale from zero that holds every finite value, with room for a name above it."""
    return max([1e-9, *(value for value in values if isfinite(value))]) * 1.12


def _step(span: float) -> float:
    """A round distance that divides the span in about five."""
    raw = span / 5
    power = 10.0 ** floor(log10(raw))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)


def _number(value: float) -> str:
    return f"{value:.4g}" if isfinite(value) else "∞"


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _svg(title: str, description: str, parts: Sequence[str]) -> str:
    return (
        f'<svg class="chart" role="img" viewBox="0 0 {WIDTH} {HEIGHT}" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title><desc>{escape(description)}</desc>{''.join(parts)}</svg>"
    )
