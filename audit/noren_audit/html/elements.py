"""Pieces of HTML that every part of the report is made of. Whatever comes from a ledger is escaped here."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

_MOST_CHARACTERS = 400
_MOST_IN_PROSE = 1200
_INVISIBLE = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class Markup:
    """HTML that was escaped where it was made."""

    html: str


Cell = str | Markup


def text(value: str, most: int = _MOST_CHARACTERS) -> str:
    """Text for HTML: escaped, bounded, and without characters that hide or turn round what is written."""
    if len(value) > most:
        value = value[: most - 1] + "…"
    visible = (
        "\ufffd" if unicodedata.category(character) in _INVISIBLE else character for character in value
    )
    return escape("".join(visible))


def html(cell: Cell) -> str:
    """A cell's HTML."""
    return cell.html if isinstance(cell, Markup) else text(cell)


def code(value: str) -> Markup:
    """A key, hash or code, to be compared character by character."""
    return Markup(f"<code>{text(value)}</code>")


def paragraph(cell: Cell, kind: str = "") -> str:
    """One paragraph."""
    shown = cell.html if isinstance(cell, Markup) else text(cell, _MOST_IN_PROSE)
    return f"<p{_class(kind)}>{shown}</p>"


def section(identifier: str, title: str, body: str, level: int = 2) -> str:
    """A section under its heading, which names it."""
    heading = f"<h{level} id='{identifier}'>{text(title)}</h{level}>"
    return f"<section aria-labelledby='{identifier}'>{heading}{body}</section>\n"


def items(cells: Iterable[Cell], kind: str = "") -> str:
    """A list."""
    return f"<ul{_class(kind)}>{''.join(f'<li>{html(cell)}</li>' for cell in cells)}</ul>"


def terms(pairs: Iterable[tuple[str, Cell]], kind: str = "") -> str:
    """Names and what they stand for."""
    rows = "".join(f"<div><dt>{text(name)}</dt><dd>{html(value)}</dd></div>" for name, value in pairs)
    return f"<dl{_class(kind)}>{rows}</dl>"


def folded(summary: str, body: str, *, opened: bool = False, prints: bool = True) -> str:
    """Something that is opened on demand; on paper it is open unless `prints` is False."""
    kind = "" if prints else " class='long'"
    return f"<details{kind}{' open' if opened else ''}><summary>{text(summary)}</summary>{body}</details>"


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, words: int) -> str:
    """A table whose first `words` columns are words and whose others are numbers; it scrolls if too wide."""
    head = "".join(
        f"<th scope='col'{_class('n' if number >= words else '')}>{text(column)}</th>"
        for number, column in enumerate(columns)
    )
    body = "".join(f"<tr>{_cells(row, words)}</tr>" for row in rows)
    label = text(caption)
    inner = f"<caption>{label}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f"<div class='scroll' role='region' tabindex='0' aria-label='{label}'><table>{inner}</table></div>"


def figure(chart: str, title: str, caption: str, numbers: str, numbers_title: str) -> str:
    """A chart, what it shows, and the table that it repeats."""
    said = f"<figcaption><strong>{text(title)}.</strong> {text(caption, _MOST_IN_PROSE)}</figcaption>"
    return f"<figure>{chart}{said}</figure>" + folded(numbers_title, numbers)


def _cells(row: Sequence[Cell], words: int) -> str:
    first, *others = row
    cells = (
        f"<td{_class('n' if number >= words else '')}>{html(cell)}</td>"
        for number, cell in enumerate(others, 1)
    )
    return f"<th scope='row'>{html(first)}</th>{''.join(cells)}"


def _class(kind: str) -> str:
    return f" class='{kind}'" if kind else ""
