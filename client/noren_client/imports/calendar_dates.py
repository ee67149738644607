"""Dates as people and systems in Japan write them.

Promises: a text is one date or an error. 令和7年4月1日, R7.4.1, 平成, 昭和, 大正 and 明治; 2025年4月1日,
2025/4/1, 2025-04-01T10:00:00+09:00, 20250401, 2025/4; the serial number of a spreadsheet; full-width digits.
What could be two dates (04/05/2025) is none unless somebody said in which order it was written. A date
outside its era is an error: whoever wrote 令和1年4月1日 may have meant another year.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from functools import lru_cache

from noren_core.errors import DataError

MAX_CHARACTERS = 64
FIRST_YEAR, LAST_YEAR = 1868, 2100
_FISCAL_YEAR_BEGINS = 4
# Spreadsheets count from here, since they take 1900 for a leap year.
_SERIAL_ORIGIN = date(1899, 12, 30)
_FIRST_SERIAL, _LAST_SERIAL = 29_221, 73_050  # 1980 to 2099; a year with a digit too many is none


class DateOrder(StrEnum):
    """What stands first in dates of which the year is last."""

    YEAR_FIRST = "year-first"  # there are none; one of them is an error
    MONTH_FIRST = "month-first"
    DAY_FIRST = "day-first"


@dataclass(frozen=True, slots=True)
class Era:
    """An era of the Japanese calendar: its names, and its first and last day."""

    names: tuple[str, ...]
    first: date
    last: date


ERAS = (
    Era(("令和", "令", "r"), date(2019, 5, 1), date.max),
    Era(("平成", "平", "h"), date(1989, 1, 8), date(2019, 4, 30)),
    Era(("昭和", "昭", "s"), date(1926, 12, 25), date(1989, 1, 7)),
    Era(("大正", "大", "t"), date(1912, 7, 30), date(1926, 12, 24)),
    Era(("明治", "明", "m"), date(1868, 10, 23), date(1912, 7, 29)),
)
_BY_NAME = {name: era for era in ERAS for name in era.names}

_TIME = (
    r"(?:\s*\([月火水木金土日]\))?"
    r"(?:[t\s]+\d{1,2}[:時]\d{2}(?:[:分]\d{0,2}秒?)?(?:\.\d{1,9})?)?"
    r"\s*(?:z|[+-]\d{2}:?\d{2}|jst|utc)?"
)
_ERA = r"(?P<era>" + "|".join(sorted(_BY_NAME, key=len, reverse=True)) + r")\s*(?P<era_year>\d{1,2}|元)"
_SEPARATED = re.compile(
    rf"(?:(?P<year>\d{{4}})|{_ERA})\s*(?P<mark>[年./-])\s*(?P<month>\d{{1,2}})\s*"
    rf"(?:月|(?P<second>[./-]))?\s*(?:(?P<day>\d{{1,2}})\s*日?)?{_TIME}\Z",
    re.ASCII,
)
_COMPACT = re.compile(rf"(?P<year>\d{{4}})(?P<month>\d{{2}})(?P<day>\d{{2}}){_TIME}\Z", re.ASCII)
_YEAR_LAST = re.compile(rf"(\d{{1,2}})([/.-])(\d{{1,2}})\2(\d{{4}}){_TIME}\Z", re.ASCII)
_SERIAL = re.compile(r"(\d{5})(?:\.\d{1,15})?\Z", re.ASCII)
_YEAR_ALONE = re.compile(
    rf"(?:(?P<year>\d{{4}}|\d{{2}}(?=\s*年?\s*卒))|{_ERA})\s*年?\s*(?:度|卒業?(?:予定)?(?:者|生)?)?\Z",
    re.ASCII,
)

_GRADUATION = re.compile(r"\s*(?:に?卒業?|入社)(?:予定)?(?:者|生)?\Z")


@lru_cache(maxsize=8192)
def parse_date(text: str, order: DateOrder = DateOrder.YEAR_FIRST) -> date:
    """The date in `text`; of a month alone, its first day. A time of day after it is left out.

    Raises:
        DataError: with code DATE_MALFORMED, if it is no date; DATE_AMBIGUOUS, if it could be two;
            DATE_OUTSIDE_ERA, if its era had ended or not begun. The text is in no message.
    """
    plain = _plain(text)
    if found := _SEPARATED.match(plain):
        return _separated(found)
    if found := _COMPACT.match(plain):
        return _date(int(found["year"]), int(found["month"]), int(found["day"]))
    if found := _YEAR_LAST.match(plain):
        return _year_last(int(found[1]), int(found[3]), int(found[4]), order)
    if (found := _SERIAL.match(plain)) and _FIRST_SERIAL <= int(found[1]) <= _LAST_SERIAL:
        return _SERIAL_ORIGIN + timedelta(days=int(found[1]))
    raise _malformed()


@lru_cache(maxsize=8192)
def parse_year(text: str, order: DateOrder = DateOrder.YEAR_FIRST, *, fiscal: bool = False) -> int:
    """The year that `text` names, or of the date that it is; 2026年卒, 26卒 and 令和8年度 are years.

    Args:
        text: a year or a date.
        order: as for `parse_date`.
        fiscal: whether a date counts for the year that began in the April before it. A year that stands
            alone is taken as it is.

    Raises:
        DataError: as for `parse_date`.
    """
    plain = _plain(text)
    found = _YEAR_ALONE.match(plain)
    if found is None:
        day = parse_date(_GRADUATION.sub("", plain), order)
        return day.year - (fiscal and day.month < _FISCAL_YEAR_BEGINS)
    if found["era"] is None:
        year = int(found["year"])
        return _date(year if len(found["year"]) > len("26") else 2000 + year, 1, 1).year
    era, year = _BY_NAME[found["era"]], _era_year(found)
    if not era.first.year <= year <= era.last.year:
        raise _outside_era()
    return year


def _plain(text: str) -> str:
    if len(text) > MAX_CHARACTERS:
        raise _malformed()
    return unicodedata.normalize("NFKC", text).strip().casefold()


def _separated(found: re.Match[str]) -> date:
    """One mark throughout: 年 goes with 月, and others with themselves."""
    day, mark, second = found["day"], found["mark"], found["second"]
    if day is not None and second is None and mark != "年":
        raise _malformed()
    if second is not None and (mark != second or day is None):
        raise _malformed()
    if found["era"] is None:
        return _date(int(found["year"]), int(found["month"]), int(day or 1))
    era = _BY_NAME[found["era"]]
    value = _date(_era_year(found), int(found["month"]), int(day or 1))
    is_within = era.first <= value <= era.last
    if not is_within and day is None:  # a month in which the era began
        is_within = (value.year, value.month) == (era.first.year, era.first.month)
    if not is_within:
        raise _outside_era()
    return value


def _era_year(found: re.Match[str]) -> int:
    number = 1 if found["era_year"] == "元" else int(found["era_year"])
    if not number:
        raise _malformed()
    return _BY_NAME[found["era"]].first.year + number - 1


def _year_last(first: int, second: int, year: int, order: DateOrder) -> date:
    match order:
        case DateOrder.MONTH_FIRST:
            return _date(year, first, second)
        case DateOrder.DAY_FIRST:
            return _date(year, second, first)
        case DateOrder.YEAR_FIRST:
            raise DataError(
                "date: expected the year first, got a date that could be two", code="DATE_AMBIGUOUS"
            )


def _date(year: int, month: int, day: int) -> date:
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise _malformed()
    try:
        return date(year, month, day)
    except ValueError as error:
        raise _malformed() from error


def _malformed() -> DataError:
    return DataError("date: expected one such as 2025-04-01, got another text", code="DATE_MALFORMED")


def _outside_era() -> DataError:
    return DataError("date: expected a date within its era, got another", code="DATE_OUTSIDE_ERA")
