"""Why a row was rejected and how to mend it, in words of two languages, and as a CSV for a spreadsheet.

Promises: every cause has a sentence and a fix in both languages; the file opens right in Excel (UTF-8 with
its mark) and no cell of it is taken for a formula.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from noren_core.rights.locales import Locale

MAX_SHOWN_CHARACTERS = 200
_FORMULA_BEGINS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_HEADS = {
    Locale.EN: ("row", "column", "cell", "cause", "what to do"),
    Locale.JA: ("行", "列", "セルの内容", "理由", "直し方"),
}


class Cause(StrEnum):
    """Why a row could not be taken."""

    IDENTIFIER_EMPTY = "identifier-empty"
    IDENTIFIER_MALFORMED = "identifier-malformed"
    POSITION_UNKNOWN = "position-unknown"
    SEASON_UNKNOWN = "season-unknown"
    DATE_MALFORMED = "date-malformed"
    DATE_AMBIGUOUS = "date-ambiguous"
    DATE_OUTSIDE_ERA = "date-outside-era"
    STATUS_UNKNOWN = "status-unknown"
    STATUS_EMPTY = "status-empty"
    CONTRADICTION = "contradiction"
    FORMULA = "formula"
    DUPLICATE = "duplicate"


_SENTENCES: Mapping[Cause, Mapping[Locale, tuple[str, str]]] = {
    Cause.IDENTIFIER_EMPTY: {
        Locale.EN: ("No e-mail address or consent code.", "Fill it in, or take the row out."),
        Locale.JA: (
            "メールアドレス(または同意コード)が空です。",
            "値を入力するか、この行を除いてください。",
        ),
    },
    Cause.IDENTIFIER_MALFORMED: {
        Locale.EN: (
            "Not one e-mail address (or consent code).",
            "Leave exactly one, without spaces or names beside it.",
        ),
        Locale.JA: (
            "メールアドレス(または同意コード)として読めません。",
            "1つだけを、空白や氏名を付けずに入力してください。",
        ),
    },
    Cause.POSITION_UNKNOWN: {
        Locale.EN: (
            "No position is named for this text.",
            "Name it in the mapping: 1 to 40 of a-z, 0-9 and inner hyphens.",
        ),
        Locale.JA: (
            "この職種に対応する名前が決まっていません。",
            "対応表で、半角の英小文字・数字・ハイフン(1〜40文字)の名前を付けてください。",
        ),
    },
    Cause.SEASON_UNKNOWN: {
        Locale.EN: (
            "No season is named for this text.",
            "Name it in the mapping, or choose how the column is read.",
        ),
        Locale.JA: (
            "この値に対応する採用年度が決まっていません。",
            "対応表で名前を付けるか、列の読み方を選んでください。",
        ),
    },
    Cause.DATE_MALFORMED: {
        Locale.EN: ("Not a date.", "Write it like 2025-04-01, 2025/4/1 or 令和7年4月1日."),
        Locale.JA: (
            "日付として読めません。",
            "「2025-04-01」「2025/4/1」「令和7年4月1日」のように書いてください。",
        ),
    },
    Cause.DATE_AMBIGUOUS: {
        Locale.EN: (
            "A date that could be two: month or day first?",
            "Choose the order in the mapping, or write the year first.",
        ),
        Locale.JA: (
            "月と日のどちらが先か分からない日付です。",
            "対応表で順序を選ぶか、年を先に書いてください。",
        ),
    },
    Cause.DATE_OUTSIDE_ERA: {
        Locale.EN: ("A date before or after its era.", "Correct era or year, or write the western year."),
        Locale.JA: ("元号の期間に含まれない日付です。", "元号か年を直すか、西暦で書いてください。"),
    },
    Cause.STATUS_UNKNOWN: {
        Locale.EN: ("Not known what this status means.", "Say in the mapping what it means."),
        Locale.JA: ("この選考状況の意味が決まっていません。", "対応表で、この言葉の意味を選んでください。"),
    },
    Cause.STATUS_EMPTY: {
        Locale.EN: (
            "Nothing says where this application stands.",
            "Fill in the status, or choose in the mapping what an empty one means.",
        ),
        Locale.JA: (
            "選考の状況が分かりません。",
            "選考状況を入力するか、空欄の意味を対応表で選んでください。",
        ),
    },
    Cause.CONTRADICTION: {
        Locale.EN: (
            "Status and dates say different things.",
            "Correct the one that is wrong.",
        ),
        Locale.JA: (
            "選考状況と日付、または日付どうしが食い違っています。",
            "誤っている方を直してください。",
        ),
    },
    Cause.FORMULA: {
        Locale.EN: (
            "A formula, which is not evaluated.",
            "In Excel: copy the column, paste it as values, save.",
        ),
        Locale.JA: (
            "数式です。数式は計算しません。",
            "Excelで列をコピーし、「値の貼り付け」をして保存してください。",
        ),
    },
    Cause.DUPLICATE: {
        Locale.EN: (
            "The same person, position and season as in row {other}, with another status.",
            "Keep the row that is right.",
        ),
        Locale.JA: (
            "{other}行目と同じ人・職種・年度で、状況が異なります。",
            "正しい方の行だけを残してください。",
        ),
    },
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with one row.

    Attributes:
        row: as a spreadsheet shows it.
        column: its heading in the file, or nothing where it is about the row.
        cause: why.
        cell: what stands there.
        other: another row that it is about, or 0.
    """

    row: int
    column: str
    cause: Cause
    cell: str = field(repr=False, default="")
    other: int = 0

    def sentence(self, locale: Locale) -> str:
        """What is wrong."""
        return _SENTENCES[self.cause][locale][0].format(other=self.other)

    def remedy(self, locale: Locale) -> str:
        """What to do about it."""
        return _SENTENCES[self.cause][locale][1]


def to_csv(problems: Iterable[Problem], locale: Locale) -> bytes:
    """A line for each problem; with what stands in the cell, so it is as private as the file."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(_HEADS[locale])
    for problem in problems:
        writer.writerow(
            [
                problem.row,
                without_formula(problem.column),
                without_formula(problem.cell[:MAX_SHOWN_CHARACTERS]),
                problem.sentence(locale),
                problem.remedy(locale),
            ]
        )
    return text.getvalue().encode("utf-8-sig", errors="replace")


def without_formula(text: str) -> str:
    """The text as a cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.lstrip(" \u3000").startswith(_FORMULA_BEGINS) else text
