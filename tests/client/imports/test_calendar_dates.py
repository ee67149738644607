"""Dates as they stand in exports."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noren_client.imports.calendar_dates import ERAS, DateOrder, parse_date, parse_year
from noren_core.errors import DataError

FULL_WIDTH = str.maketrans("0123456789/.-RHSTM", "０１２３４５６７８９／．－ＲＨＳＴＭ")
FIRST, LAST = date(1868, 10, 23), date(2100, 12, 31)
DAYS = st.dates(FIRST, LAST)


def era_year(day: date) -> tuple[tuple[str, ...], int]:
    """The names of the era of a day, and its year in it; counted by hand from the first days."""
    for era in ERAS:
        if era.first <= day <= era.last:
            return era.names, day.year - era.first.year + 1
    raise AssertionError(day)


@given(
    DAYS,
    st.booleans(),
    st.sampled_from([0, 1, 2]),
    st.sampled_from(["年月日", "...", "///", "---"]),
    st.booleans(),
)
def test_an_era_date_is_the_day_it_was_written_for(
    day: date, is_full: bool, name: int, marks: str, is_gannen: bool
) -> None:
    """Kanji, one kanji or a letter; 元年; any separator; digits of either width."""
    names, year = era_year(day)
    number = "元" if year == 1 and is_gannen else str(year)
    end = "日" if marks == "年月日" else ""
    text = f"{names[name].upper()}{number}{marks[0]}{day.month}{marks[1]}{day.day}{end}"
    assert parse_date(text.translate(FULL_WIDTH) if is_full else text) == day


@given(
    DAYS,
    st.sampled_from(
        ["%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y年%m月%d日", "%Y%m%d", "%Y-%m-%dT10:11:12+09:00"]
    ),
)
def test_a_western_date_is_the_day_it_was_written_for(day: date, form: str) -> None:
    """Whatever stands between the numbers, and with a time of day after it."""
    assert parse_date(day.strftime(form)) == day


@given(st.integers(29_221, 73_050))
def test_a_serial_number_counts_days(serial: int) -> None:
    """As Excel shows a date in a cell without a format; 45748 is the first of April 2025."""
    assert parse_date(str(serial)) - parse_date("45748") == timedelta(days=serial - 45748)
    assert parse_date("45748") == date(2025, 4, 1)


@given(st.text(max_size=70))
def test_any_text_is_a_date_or_one_kind_of_error(text: str) -> None:
    """No other exception, and the text is not in the message."""
    day = refusal = None
    try:
        day = parse_date(text)
    except DataError as error:
        refusal = error
    if refusal is None:
        assert day is not None
        assert 1868 <= day.year <= 2100
        return
    assert refusal.code in {"DATE_MALFORMED", "DATE_AMBIGUOUS", "DATE_OUTSIDE_ERA"}
    assert len(text.strip()) < 4 or text not in refusal.message


REFUSED = {
    "平成31年5月1日": "DATE_OUTSIDE_ERA",
    "令和元年4月30日": "DATE_OUTSIDE_ERA",
    "昭和64年1月8日": "DATE_OUTSIDE_ERA",
    "平成元年1月7日": "DATE_OUTSIDE_ERA",
    "04/05/2025": "DATE_AMBIGUOUS",
    "2025/2/29": "DATE_MALFORMED",
    "2025/13/1": "DATE_MALFORMED",
    "令和0年1月1日": "DATE_MALFORMED",
    "2025/4-1": "DATE_MALFORMED",
    "2025年4/1": "DATE_MALFORMED",
    "2025/4/1/2": "DATE_MALFORMED",
    "2025/41": "DATE_MALFORMED",
    "1/4": "DATE_MALFORMED",
    "来週": "DATE_MALFORMED",
    "": "DATE_MALFORMED",
    "99999": "DATE_MALFORMED",
    "0025-04-01": "DATE_MALFORMED",
}


@pytest.mark.parametrize(("text", "code"), REFUSED.items())
def test_what_is_no_date_is_refused_by_why(text: str, code: str) -> None:
    """The first and last day of an era count; what could be two days is not guessed."""
    with pytest.raises(DataError) as caught:
        parse_date(text)
    assert caught.value.code == code


def test_the_order_is_chosen_and_not_guessed() -> None:
    """Somebody who knows the system says whether the month or the day is first."""
    assert parse_date("04/05/2025", DateOrder.MONTH_FIRST) == date(2025, 4, 5)
    assert parse_date("04/05/2025", DateOrder.DAY_FIRST) == date(2025, 5, 4)
    with pytest.raises(DataError):
        parse_date("13/05/2025", DateOrder.MONTH_FIRST)


def test_a_month_is_its_first_day() -> None:
    """As graduation months are written; also the month in which an era began."""
    assert parse_date("令和8年3月") == parse_date("2026/03") == parse_date("2026年3月") == date(2026, 3, 1)
    assert parse_date("令和元年5月") == date(2019, 5, 1)
    assert parse_date("平成元年1月") == date(1989, 1, 1)


YEARS = {
    "2026": (2026, 2026),
    "2026年": (2026, 2026),
    "２０２６年卒": (2026, 2026),
    "26卒": (2026, 2026),
    "2026年度": (2026, 2026),
    "令和8年度": (2026, 2026),
    "R8": (2026, 2026),
    "令和元年度": (2019, 2019),
    "2026年3月卒業予定": (2026, 2025),
    "令和8年3月": (2026, 2025),
    "2026/4/1": (2026, 2026),
    "2026-03-31 23:59:59": (2026, 2025),
    "45748": (2025, 2025),
}


@pytest.mark.parametrize(("text", "years"), YEARS.items())
def test_a_year_is_of_a_date_or_stands_alone(text: str, years: tuple[int, int]) -> None:
    """A fiscal year begins in April; a year that stands alone is taken as it is."""
    assert (parse_year(text), parse_year(text, fiscal=True)) == years


@pytest.mark.parametrize("text", ["", "卒", "26", "平成40年度", "令和0年", "99年", "20260", "1500"])
def test_what_is_no_year_is_refused(text: str) -> None:
    """Two digits mean a year only with 卒 behind them."""
    with pytest.raises(DataError):
        parse_year(text)
