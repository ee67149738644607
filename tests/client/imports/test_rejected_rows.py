"""The file of rejected rows."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noren_client.imports.rejected_rows import Cause, Problem, to_csv, without_formula
from noren_core.rights.locales import Locale


def read(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))


@pytest.mark.parametrize("locale", Locale)
@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_words_and_a_remedy(cause: Cause, locale: Locale) -> None:
    """In both languages, and the duplicate names the other row."""
    problem = Problem(12, "応募日", cause, "x", other=34)
    assert problem.sentence(locale)
    assert problem.remedy(locale)
    assert "{" not in problem.sentence(locale)
    assert ("34" in problem.sentence(locale)) == (cause is Cause.DUPLICATE)
    assert problem.sentence(locale).isascii() == (locale is Locale.EN)


def test_a_problem_is_a_line_of_row_column_cell_cause_and_remedy() -> None:
    """Under headings of the language, after the mark by which Excel knows UTF-8."""
    data = to_csv([Problem(12, "応募日", Cause.DATE_MALFORMED, "いつか")], Locale.JA)
    assert data.startswith(b"\xef\xbb\xbf")
    head, line = read(data)
    assert head == ["行", "列", "セルの内容", "理由", "直し方"]
    assert line[:3] == ["12", "応募日", "いつか"]
    assert read(to_csv([], Locale.EN)) == [["row", "column", "cell", "cause", "what to do"]]


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    st.sampled_from(["", "=", "+", "-", "@", "\t=", " =", "＝", "　＋"]),
)
def test_no_cell_is_taken_for_a_formula(text: str, begin: str) -> None:
    """Also behind spaces, as a control character, or in full width; what is harmless stays as it is."""
    safe = without_formula(begin + text)
    assert not safe.lstrip(" \u3000").startswith(
        ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
    )
    assert safe in (begin + text, "'" + begin + text)


def test_a_heading_and_a_cell_of_an_export_are_made_harmless() -> None:
    """Whoever applies may choose what stands in a cell."""
    _, line = read(to_csv([Problem(2, "=x", Cause.STATUS_UNKNOWN, "=HYPERLINK(1)")], Locale.EN))
    assert line[1:3] == ["'=x", "'=HYPERLINK(1)"]
