"""Hiding small counts in published tables, so that no subtraction brings one back.

A count of 1 to 9 people is hidden. Rows and columns add up to totals that are published too, so one hidden
count in a line would follow from the others: in every line nothing is hidden, or at least two counts whose
sum says little. This is no differential privacy: who knows most of a group learns about the rest, and two
reports a day apart can be compared. The exact counts go to the auditor.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

SMALLEST = 10
"""The smallest count of people that is shown; 0 is shown as well."""
TOTAL = "all"
"""The row of totals, and the column of totals."""

Table = Mapping[str, Mapping[str, int]]
Cell = tuple[str, str]


def hide(count: int) -> int | None:
    """A count that no published one can be subtracted from; None if it is too small to be shown."""
    return None if 0 < count < SMALLEST else count


def hide_small_cells(tables: Mapping[str, Table]) -> dict[str, dict[str, dict[str, int | None]]]:
    """Tables over the same columns and the same people, each with its totals, None where a count is hidden.

    Args:
        tables: by name, each by row and column; all columns in every row; no row or column named `TOTAL`.
            They are different breakdowns of one thing: their rows of totals are equal, and hidden alike.

    1. Hide what is small.
    2. In every line of every table, hide the next smallest until what is hidden cannot be computed.
    3. A total that is hidden in one table is hidden in all; until nothing changes any more.
    """
    whole = {name: _with_totals(table) for name, table in tables.items()}
    hidden = {
        name: {cell for cell, count in table.items() if hide(count) is None} for name, table in whole.items()
    }  # 1
    before = -1
    while (size := sum(map(len, hidden.values()))) != before:
        before = size
        for name, table in whole.items():
            for line in _lines(table):
                _protect(line, table, hidden[name])  # 2
        totals = {cell for cells in hidden.values() for cell in cells if cell[0] == TOTAL}
        for cells in hidden.values():
            cells.update(totals)  # 3
    return {name: _shown(table, hidden[name]) for name, table in whole.items()}


def _with_totals(table: Table) -> dict[Cell, int]:
    cells = {(row, column): count for row, counts in table.items() for column, count in counts.items()}
    for (row, column), count in list(cells.items()):
        for place in ((row, TOTAL), (TOTAL, column), (TOTAL, TOTAL)):
            cells[place] = cells.get(place, 0) + count
    return cells


def _lines(table: Iterable[Cell]) -> Iterator[list[Cell]]:
    """Every row and every column, its total last."""
    for axis in (0, 1):
        lines: dict[str, list[Cell]] = {}
        for cell in sorted(table, key=lambda cell: cell[1 - axis] == TOTAL):
            lines.setdefault(cell[axis], []).append(cell)
        yield from lines.values()


def _protect(line: list[Cell], table: Mapping[Cell, int], hidden: set[Cell]) -> None:
    """Hide further cells of a line, the smallest first, until what is hidden cannot be computed."""
    rest = sorted(
        (cell for cell in line if cell not in hidden), key=lambda cell: (table[cell] == 0, table[cell])
    )
    while _is_exposed([cell for cell in line if cell in hidden], line, table) and rest:
        hidden.add(rest.pop(0))


def _is_exposed(hidden: list[Cell], line: list[Cell], table: Mapping[Cell, int]) -> bool:
    """Whether the shown cells of a line give the hidden ones away.

    With the total hidden as well, every two hidden cells can be anything; without it their sum is known.
    """
    if len(hidden) < 2:
        return bool(hidden)
    return line[-1] not in hidden and sum(table[cell] for cell in hidden) < 2 * SMALLEST


def _shown(table: Mapping[Cell, int], hidden: set[Cell]) -> dict[str, dict[str, int | None]]:
    shown: dict[str, dict[str, int | None]] = {}
    for row, column in sorted(table, key=lambda cell: (cell[0] == TOTAL, cell[1] == TOTAL)):
        shown.setdefault(row, {})[column] = None if (row, column) in hidden else table[row, column]
    return shown
