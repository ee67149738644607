"""Hidden counts stay hidden from whoever subtracts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from noren_core.rights.coverage.small_cells import SMALLEST, TOTAL, hide_small_cells

COLUMNS = ("a", "b", "c")
counts = st.one_of(st.integers(0, 12), st.integers(0, 400))
tables = st.dictionaries(
    st.sampled_from(["x", "y", "z", "w"]), st.fixed_dictionaries(dict.fromkeys(COLUMNS, counts)), min_size=1
)


@given(tables)
def test_no_small_count_is_shown_and_no_line_gives_one_away(table: dict[str, dict[str, int]]) -> None:
    """Nothing from 1 to 9 is shown; in no line is one count hidden alone, or several with a small sum."""
    shown = hide_small_cells({"only": table})["only"]
    rows = [[columns[name] for name in (*COLUMNS, TOTAL)] for columns in shown.values()]
    lines = [*rows, *map(list, zip(*rows, strict=True))]
    assert all(count is None or count == 0 or count >= SMALLEST for row in rows for count in row)
    for line in lines:
        *parts, total = line
        hidden = line.count(None)
        assert hidden != 1
        if hidden and total is not None:
            assert total - sum(part for part in parts if part is not None) >= 2 * SMALLEST or all(
                part is None for part in parts
            )


@given(tables)
def test_what_is_shown_is_true(table: dict[str, dict[str, int]]) -> None:
    """Counts that are shown are the exact ones, totals included."""
    shown = hide_small_cells({"only": table})["only"]
    for row, columns in table.items():
        assert all(shown[row][name] in (None, count) for name, count in columns.items())
        assert shown[row][TOTAL] in (None, sum(columns.values()))


def test_large_counts_hide_nothing() -> None:
    """A table without small counts is published whole."""
    assert hide_small_cells({"t": {"x": {"a": 10, "b": 0}}}) == {
        "t": {"x": {"a": 10, "b": 0, TOTAL: 10}, TOTAL: {"a": 10, "b": 0, TOTAL: 10}}
    }


def test_a_total_hidden_in_one_breakdown_is_hidden_in_the_other() -> None:
    """Two breakdowns of the same people cannot be played off against each other."""
    first = {"x": {"a": 5, "b": 40}, "y": {"a": 300, "b": 20}}
    second = {"u": {"a": 305, "b": 60}}
    shown = hide_small_cells({"first": first, "second": second})
    assert shown["first"][TOTAL] == shown["second"][TOTAL]
