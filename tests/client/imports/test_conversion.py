"""From rows to applicants."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noren_client.applicants import Decision, parse_applicants
from noren_client.imports import conversion, import_journal
from noren_client.imports.calendar_dates import ERAS
from noren_client.imports.column_mapping import (
    Field,
    ImportMapping,
    SeasonReading,
    Standing,
    comparable,
    fit,
    preset,
)
from noren_client.imports.conversion import Converted, convert, standing_of_dates
from noren_client.imports.import_journal import Scope
from noren_client.imports.rejected_rows import Cause
from noren_client.imports.source_table import (
    FormulaText,
    ReadingChoices,
    SourceKind,
    SourceTable,
    open_source,
)
from noren_client.imports.text_encoding import Encoding
from noren_core.errors import DataError
from noren_core.ids import IdentifierKind

HEADER = (
    "メールアドレス",
    "求人名",
    "応募日",
    "選考ステータス",
    "内定日",
    "内定承諾日",
    "内定辞退日",
    "不合格日",
)
HRMOS = replace(fit(preset("hrmos"), HEADER), position_names={comparable("総合職"): "general"})


def converted(*rows: tuple[str, ...], mapping: ImportMapping = HRMOS) -> Converted:
    """Rows of e-mail, position, applied, status and dates; what is left out is empty."""
    full = [(n, (*row, *("",) * (len(HEADER) - len(row)))) for n, row in enumerate(rows, start=2)]
    return convert(SourceTable(SourceKind.CSV, HEADER, iter(full)), mapping)


def one(*row: str, mapping: ImportMapping = HRMOS) -> tuple[str, str] | set[Cause]:
    """Decision and outcome of one row, or why it was rejected."""
    found = converted(row, mapping=mapping)
    if not found.applicants:
        assert found.rejected == 1
        return {problem.cause for problem in found.problems}
    (applicant,) = found.applicants
    return applicant.decision.value, applicant.outcome


def status(word: str, **dates: str) -> tuple[str, str] | set[Cause]:
    by_name = {"offered": 4, "accepted": 5, "declined": 6, "rejected": 7}
    row = ["a@example.jp", "総合職", "令和7年4月1日", word, "", "", "", ""]
    for name, text in dates.items():
        row[by_name[name]] = text
    return one(*row)


def test_a_row_becomes_an_applicant_of_a_position_and_a_season() -> None:
    """The e-mail address in one form, the position by its name, the season by the date."""
    found = converted(("Ｔａｒｏ＠example.jp ", "総合職", "令和8年3月31日", "内定承諾"))
    (applicant,) = found.applicants
    assert (applicant.season, applicant.position) == ("2025", "general")
    assert (applicant.identifier_kind, applicant.identifier) == (IdentifierKind.EMAIL, "Taro@example.jp")
    assert (applicant.decision, applicant.outcome) == (Decision.OFFER, "accepted")


STATUSES: dict[str, tuple[dict[str, str], Any]] = {
    "status alone": ({"word": "内定辞退"}, ("offer", "declined")),
    "an offer and no answer": ({"word": "内定", "offered": "2025/6/1"}, ("offer", "")),
    "an answer by its date": ({"word": "内定", "accepted": "R7.6.2"}, ("offer", "accepted")),
    "declined after accepting": (
        {"word": "", "offered": "2025/6/1", "accepted": "2025/6/2", "declined": "2025/6/9"},
        ("offer", "declined"),
    ),
    "accepted after declining": (
        {"word": "", "accepted": "2025/6/9", "declined": "2025/6/2"},
        ("offer", "accepted"),
    ),
    "withdrew without an offer": ({"word": "", "declined": "2025/6/2"}, ("no-offer", "")),
    "rejected by its date": ({"word": "選考中", "rejected": "2025/6/2"}, ("no-offer", "")),
    "still in a stage, offered": ({"word": "最終面接", "offered": "2025/6/2"}, ("offer", "")),
    "no offer and an offer's date": ({"word": "不合格", "offered": "2025/6/2"}, {Cause.CONTRADICTION}),
    "accepted and the date of declining": (
        {"word": "内定承諾", "offered": "2025/6/2", "declined": "2025/6/3"},
        {Cause.CONTRADICTION},
    ),
    "offered and rejected": (
        {"word": "", "offered": "2025/6/2", "rejected": "2025/6/3"},
        {Cause.CONTRADICTION},
    ),
    "both answers on one day": (
        {"word": "", "accepted": "2025/6/2", "declined": "2025/6/2"},
        {Cause.CONTRADICTION},
    ),
    "a word that means nothing": ({"word": "辞退"}, {Cause.STATUS_UNKNOWN}),
    "nothing": ({"word": ""}, {Cause.STATUS_EMPTY}),
    "no date": ({"word": "内定", "accepted": "未定"}, {Cause.DATE_MALFORMED}),
    "two dates": ({"word": "内定", "accepted": "04/05/2025"}, {Cause.DATE_AMBIGUOUS}),
    "outside its era": ({"word": "内定", "accepted": "平成33年1月1日"}, {Cause.DATE_OUTSIDE_ERA}),
}


@pytest.mark.parametrize(("given_", "expected"), STATUSES.values(), ids=STATUSES)
def test_status_and_dates_say_one_thing_or_the_row_is_rejected(given_: dict[str, str], expected: Any) -> None:
    """A date adds to a status; what contradicts is for a person to mend."""
    assert status(**given_) == expected


def test_a_mapping_says_what_words_and_empty_cells_mean() -> None:
    """Its own words come before the common ones."""
    own = replace(HRMOS, words={"辞退": Standing(Decision.OFFER, "declined")}, otherwise=Decision.HOLD)
    row = ("a@example.jp", "総合職", "2025/4/1")
    assert one(*row, "辞退", mapping=own) == ("offer", "declined")
    assert one(*row, "", mapping=own) == ("hold", "")
    assert one(*row, "知らない", mapping=own) == {Cause.STATUS_UNKNOWN}


def test_every_problem_of_a_row_is_told_with_its_column() -> None:
    """Not only the first, so that one correction is enough."""
    found = converted(("taro", "営業", "いつか", "謎"))
    assert [(problem.column, problem.cause) for problem in found.problems] == [
        ("メールアドレス", Cause.IDENTIFIER_MALFORMED),
        ("求人名", Cause.POSITION_UNKNOWN),
        ("応募日", Cause.SEASON_UNKNOWN),
        ("選考ステータス", Cause.STATUS_UNKNOWN),
    ]
    assert (found.rows, found.rejected, found.applicants) == (1, 1, ())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "taro",
        "a@b@c.jp",
        "a@example.jp, b@example.jp",
        "太郎 <a@example.jp>",
        "a@localhost",
        "a@example.jp\u200e\x07",
        "@example.jp",
    ],
)
def test_what_is_not_one_address_is_rejected(text: str) -> None:
    """Two of them, a name beside one, half of one."""
    causes = one(text, "総合職", "2025/4/1", "内定")
    assert causes <= {Cause.IDENTIFIER_EMPTY, Cause.IDENTIFIER_MALFORMED}
    assert causes


def test_identical_rows_count_once_and_differing_ones_not_at_all() -> None:
    """Whoever stands there with two answers is rejected, each row naming the other."""
    row = ("a@example.jp", "総合職", "2025/4/1")
    found = converted(
        (*row, "内定承諾"),
        (*row, "内定承諾"),
        ("b@example.jp", *row[1:], "内定"),
        ("Ｂ@EXAMPLE.jp", *row[1:], "不合格"),
    )
    assert [applicant.identifier for applicant in found.applicants] == ["a@example.jp"]
    assert (found.repeated, found.rejected) == (1, 2)
    assert [(problem.row, problem.other) for problem in found.problems] == [(4, 5), (5, 4)]


def test_one_person_may_apply_for_two_positions_and_in_two_seasons() -> None:
    """These are applications of their own."""
    own = replace(HRMOS, position_names={**HRMOS.position_names, "営業": "sales"})
    found = converted(
        ("a@example.jp", "総合職", "2025/4/1", "内定承諾"),
        ("a@example.jp", "営業", "2025/4/1", "不合格"),
        ("a@example.jp", "総合職", "2026/4/1", "内定辞退"),
        mapping=own,
    )
    assert (len(found.applicants), found.rejected) == (3, 0)


def test_a_formula_in_a_column_that_is_used_rejects_the_row() -> None:
    """What Excel would make of it, nobody here knows."""
    found = converted(("a@example.jp", "総合職", "2025/4/1", FormulaText('=IF(1,"内定","")')))
    assert [problem.cause for problem in found.problems] == [Cause.FORMULA]


def test_a_mapping_without_a_column_that_is_needed_is_refused() -> None:
    """Before the first row."""
    with pytest.raises(DataError, match="position, season, status") as caught:
        converted(mapping=ImportMapping("x", columns={Field.IDENTIFIER: (HEADER[0],)}))
    assert caught.value.code == "MAPPING_INCOMPLETE"


def test_what_is_told_of_problems_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is counted: a wrong column would otherwise fill memory."""
    monkeypatch.setattr(conversion, "MAX_PROBLEMS", 3)
    found = converted(*[("", "総合職", "2025/4/1", "内定")] * 10)
    assert (len(found.problems), found.rejected, found.causes[Cause.IDENTIFIER_EMPTY]) == (3, 10, 10)


SEASONS = {
    SeasonReading.YEAR: ("2026年3月卒", "2026"),
    SeasonReading.FISCAL_YEAR: ("2026/3/31", "2025"),
    SeasonReading.NAME: ("Spring-26", "spring-26"),
}


@pytest.mark.parametrize(("reading", "case"), SEASONS.items())
def test_a_season_is_read_as_the_mapping_says(reading: SeasonReading, case: tuple[str, str]) -> None:
    """By year, by fiscal year, or as its name; a name for the text or for the year comes first."""
    text, season = case
    own = replace(HRMOS, season_reading=reading)
    (applicant,) = converted(("a@example.jp", "総合職", text, "内定"), mapping=own).applicants
    assert applicant.season == season
    for key in (comparable(text), season):
        named = replace(own, season_names={key: "season-x"})
        (applicant,) = converted(("a@example.jp", "総合職", text, "内定"), mapping=named).applicants
        assert applicant.season == "season-x"


def test_no_dates_say_nothing() -> None:
    """So that status or the mapping decides."""
    assert standing_of_dates({}) is None
    assert standing_of_dates({Field.OFFERED: date(2025, 1, 1)}) == Standing(Decision.OFFER)


def era_text(day: date) -> str:
    era = next(era for era in ERAS if era.first <= day <= era.last)
    year = day.year - era.first.year + 1
    return f"{era.names[0]}{'元' if year == 1 else year}年{day.month}月{day.day}日"


PEOPLE = st.lists(
    st.tuples(
        st.integers(0, 10**6),
        st.dates(date(2019, 1, 1), date(2030, 12, 31)),
        st.sampled_from(
            [
                ("内定承諾", "offer", "accepted"),
                ("内定辞退", "offer", "declined"),
                ("内定", "offer", ""),
                ("不合格", "no-offer", ""),
                ("選考中", "hold", ""),
            ]
        ),
    ),
    min_size=1,
    max_size=20,
    unique_by=lambda person: person[0],
)


@given(PEOPLE, st.sampled_from(Encoding), st.sampled_from(["era", "iso", "slash"]), st.sampled_from(",\t;"))
def test_an_export_comes_out_as_what_was_put_in(
    tmp_path_factory: pytest.TempPathFactory, people: Any, encoding: Encoding, form: str, delimiter: str
) -> None:
    """Written in any encoding with any form of date, imported, and read by the one reader of applicants."""
    forms = {"era": era_text, "iso": date.isoformat, "slash": lambda day: f"{day.year}/{day.month}/{day.day}"}
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerow([*HEADER[:4], "備考"])
    for number, day, (word, _, _) in people:
        writer.writerow([f"p{number}@example.jp", "総合職", forms[form](day), word, "改行\nと,コンマ"])
    data = out.getvalue().encode(encoding.codec)
    table = open_source(data, name="a.csv", choices=ReadingChoices())
    assert table.encoding is encoding
    found = convert(
        table, replace(HRMOS, columns={f: c for f, c in HRMOS.columns.items() if c[0] in table.header})
    )
    planned = import_journal.plan_import(Path("/nonexistent"), found.applicants, Scope.ITS_POSITIONS)
    read = {row.identifier: row for row in parse_applicants(planned.content, name="a")}
    assert len(read) == len(people)
    for number, day, (_, decision, outcome) in people:
        row = read[f"p{number}@example.jp"]
        assert (row.decision.value, row.outcome) == (decision, outcome)
        assert row.season == str(day.year - (day.month < 4))
