"""From a table and a mapping to applicants, and to what is wrong with rows.

Promises: a row becomes one applicant or is rejected with every cause; nothing is guessed: an unknown word, an
empty status, dates that contradict each other reject the row. Of identical rows one counts; of rows that
differ about one person, position and season none does, and each says which row the other is.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TypeVar

from noren_client.applicants import MAX_FIELD_CHARACTERS, Applicant, Decision
from noren_client.imports.calendar_dates import parse_date, parse_year
from noren_client.imports.column_mapping import (
    ACCEPTED,
    DATE_FIELDS,
    DECLINED,
    Field,
    ImportMapping,
    SeasonReading,
    Standing,
    common_words,
    comparable,
)
from noren_client.imports.rejected_rows import Cause, Problem
from noren_client.imports.source_table import FormulaText, Row, SourceTable
from noren_core.errors import DataError
from noren_core.ids import MAX_IDENTIFIER_BYTES, IdentifierKind, parse_name

R = TypeVar("R")

MAX_PROBLEMS = 20_000
"""How many are told; the rest are counted."""

_EMAIL = re.compile(r"[^@,;<>()\"]+@[^@,;<>()\"]+\.[^@,;<>()\"]+\Z")
_UNPRINTABLE = frozenset({"Cc", "Cs", "Co", "Cn", "Zl", "Zp"})
_DATE_CAUSES = {
    "DATE_AMBIGUOUS": Cause.DATE_AMBIGUOUS,
    "DATE_OUTSIDE_ERA": Cause.DATE_OUTSIDE_ERA,
}


@dataclass(frozen=True, slots=True)
class Converted:
    """What a file comes to; for the company's own eyes.

    Attributes:
        applicants: in the file's order, each once.
        rows: of the file, without blank ones.
        repeated: rows that say the same as an earlier one.
        rejected: rows that were rejected.
        problems: what is wrong with them, at most `MAX_PROBLEMS`, by row.
        causes: how often each cause occurs.
    """

    applicants: tuple[Applicant, ...] = field(repr=False)
    rows: int
    repeated: int
    rejected: int
    problems: tuple[Problem, ...] = field(repr=False)
    causes: Counter[Cause]


def convert(table: SourceTable, mapping: ImportMapping) -> Converted:
    """Read every row of a table with a mapping that was fitted to its header.

    Raises:
        DataError: with code MAPPING_INCOMPLETE, if a field that is needed has no column; or if the file is
            beyond a bound.
    """
    if missing := mapping.missing():
        raise DataError(
            f"mapping: expected a column for {', '.join(wanted.value for wanted in missing)}, got none",
            code="MAPPING_INCOMPLETE",
        )
    return _Conversion(table.header, mapping).run(table)


class _CellError(Exception):
    """What is wrong with one cell; leaves this module as a `Problem`."""

    def __init__(self, wanted: Field, cause: Cause, cell: str) -> None:
        super().__init__(cause)
        self.wanted = wanted
        self.cause = cause
        self.cell = cell


class _Conversion:
    """One pass over a table."""

    def __init__(self, header: Row, mapping: ImportMapping) -> None:
        self._mapping = mapping
        self._header = header
        self._places = {
            wanted: header.index(mapping.column(wanted)) for wanted in Field if mapping.column(wanted)
        }
        self._words = {**common_words(), **mapping.words}
        self._problems: list[Problem] = []
        self._causes: Counter[Cause] = Counter()

    def run(self, table: SourceTable) -> Converted:
        """All rows."""
        rows = repeated = 0
        rejected: set[int] = set()
        kept: dict[tuple[str, bytes], tuple[int, Applicant]] = {}
        clashing: dict[tuple[str, bytes], tuple[int, str]] = {}
        for number, row in table.rows:
            rows += 1
            applicant = self._applicant(number, row)
            if applicant is None:
                rejected.add(number)
                continue
            key = (applicant.season, applicant.key)
            first, known = kept.setdefault(key, (number, applicant))
            if first == number:
                continue
            if _standing(known) == _standing(applicant):
                repeated += 1
                continue
            cell = row[self._places[Field.IDENTIFIER]]
            clashing.setdefault(key, (number, known.identifier))
            rejected |= {number, first}
            self._add(number, Field.IDENTIFIER, Cause.DUPLICATE, cell, other=first)
        for key, (other, identifier) in clashing.items():
            first, _ = kept.pop(key)
            self._add(first, Field.IDENTIFIER, Cause.DUPLICATE, identifier, other=other)
        return Converted(
            applicants=tuple(applicant for _, applicant in kept.values()),
            rows=rows,
            repeated=repeated,
            rejected=len(rejected),
            problems=tuple(sorted(self._problems, key=lambda problem: problem.row)),
            causes=self._causes,
        )

    def _applicant(self, number: int, row: Row) -> Applicant | None:
        """The row's applicant, or None after adding each of its problems."""
        before = self._causes.total()
        for wanted, place in self._places.items():
            if isinstance(row[place], FormulaText):
                self._add(number, wanted, Cause.FORMULA, row[place])
        if self._causes.total() > before:
            return None
        identifier = self._tried(number, row, self._identifier)
        position = self._tried(number, row, self._position)
        season = self._tried(number, row, self._season)
        standing = self._tried(number, row, self._standing)
        if identifier is None or position is None or season is None or standing is None:
            return None
        return Applicant(
            season=season,
            position=position,
            identifier_kind=self._mapping.identifier_kind,
            identifier=identifier,
            decision=standing.decision,
            outcome=standing.outcome,
        )

    def _tried(self, number: int, row: Row, read: Callable[[Row], R]) -> R | None:
        """What is read of a row, or None after adding the problem."""
        try:
            return read(row)
        except _CellError as error:
            self._add(number, error.wanted, error.cause, error.cell)
            return None

    def _identifier(self, row: Row) -> str:
        kind, cell = self._mapping.identifier_kind, row[self._places[Field.IDENTIFIER]]
        text = unicodedata.normalize("NFKC", cell).strip()
        if not text:
            raise _CellError(Field.IDENTIFIER, Cause.IDENTIFIER_EMPTY, cell)
        if not _is_identifier(kind, text):
            raise _CellError(Field.IDENTIFIER, Cause.IDENTIFIER_MALFORMED, cell)
        return text

    def _position(self, row: Row) -> str:
        place = self._places.get(Field.POSITION)
        if place is None:
            return self._mapping.position
        text = comparable(row[place])
        name = self._mapping.position_names.get(text, text)
        if not _is_name(name):
            raise _CellError(Field.POSITION, Cause.POSITION_UNKNOWN, row[place])
        return name

    def _season(self, row: Row) -> str:
        place = self._places.get(Field.SEASON)
        if place is None:
            return self._mapping.season
        names, text = self._mapping.season_names, comparable(row[place])
        if text not in names:
            try:
                text = season_text(row[place], self._mapping)
            except DataError as error:
                cause = _DATE_CAUSES.get(error.code, Cause.SEASON_UNKNOWN)
                raise _CellError(Field.SEASON, cause, row[place]) from error
        name = names.get(text, text)
        if not _is_name(name):
            raise _CellError(Field.SEASON, Cause.SEASON_UNKNOWN, row[place])
        return name

    def _standing(self, row: Row) -> Standing:
        """What status and dates say together.

        1. The status, if there is one; its word must be known.
        2. The dates, each of which says that something happened on it.
        3. Both, if they do not contradict each other; a date of an answer adds to a status of an offer.
        """
        said: Standing | None = None
        place = self._places.get(Field.STATUS)
        if place is not None and (text := comparable(row[place])):  # 1
            said = self._words.get(text)
            if said is None:
                raise _CellError(Field.STATUS, Cause.STATUS_UNKNOWN, row[place])
        dates: dict[Field, date] = {}
        for wanted in DATE_FIELDS:  # 2
            place = self._places.get(wanted)
            if place is None or not (text := row[place].strip()):
                continue
            try:
                dates[wanted] = parse_date(text, self._mapping.date_order)
            except DataError as error:
                cause = _DATE_CAUSES.get(error.code, Cause.DATE_MALFORMED)
                raise _CellError(wanted, cause, row[place]) from error
        happened = standing_of_dates(dates)  # 3
        if dates and happened is None:
            raise _CellError(next(iter(dates)), Cause.CONTRADICTION, "")
        combined = _combined(said, happened)
        if combined is not None:
            return combined
        if said is not None or happened is not None:
            raise _CellError(Field.STATUS, Cause.CONTRADICTION, "")
        if self._mapping.otherwise is not None:
            return Standing(self._mapping.otherwise)
        raise _CellError(Field.STATUS, Cause.STATUS_EMPTY, "")

    def _add(self, number: int, wanted: Field, cause: Cause, cell: str, *, other: int = 0) -> None:
        self._causes[cause] += 1
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(Problem(number, self._mapping.column(wanted), cause, cell, other))


def season_text(cell: str, mapping: ImportMapping) -> str:
    """What a season's cell says before somebody's names for seasons: a year, or itself.

    Raises:
        DataError: as `calendar_dates.parse_year`.
    """
    if mapping.season_reading is SeasonReading.NAME:
        return comparable(cell)
    is_fiscal = mapping.season_reading is SeasonReading.FISCAL_YEAR
    return str(parse_year(cell, mapping.date_order, fiscal=is_fiscal))


def standing_of_dates(dates: Mapping[Field, date]) -> Standing | None:
    """What the dates of an application say; None if they contradict each other, or there are none.

    Who declined without an offer withdrew. Who accepted and declined did what came later.
    """
    accepted, declined = dates.get(Field.ACCEPTED), dates.get(Field.DECLINED)
    is_offer = Field.OFFERED in dates or accepted is not None
    if not dates or (is_offer and Field.REJECTED in dates):
        return None
    if not is_offer:
        return Standing(Decision.NO_OFFER)
    if accepted is not None and accepted == declined:
        return None
    if declined is not None and (accepted is None or accepted < declined):
        return Standing(Decision.OFFER, DECLINED)
    return Standing(Decision.OFFER, ACCEPTED if accepted is not None else "")


def _combined(said: Standing | None, happened: Standing | None) -> Standing | None:
    """Both together, or None if they contradict each other or there is neither.

    A decision that has a date is one, whatever stage a system still shows.
    """
    if said is None or happened is None:
        return said or happened
    if said.decision is Decision.HOLD:
        return happened
    if said.decision is not happened.decision:
        return None
    if said.outcome and happened.outcome and said.outcome != happened.outcome:
        return None
    return said if said.outcome else happened


def _is_name(text: str) -> bool:
    try:
        parse_name(text, "name")
    except DataError:
        return False
    return True


def _standing(applicant: Applicant) -> tuple[Decision, str]:
    return applicant.decision, applicant.outcome


def _is_identifier(kind: IdentifierKind, text: str) -> bool:
    """Whether it can be one; whether there is such a person is nobody's to ask here."""
    if len(text) > MAX_FIELD_CHARACTERS or any(unicodedata.category(c) in _UNPRINTABLE for c in text):
        return False
    try:
        size = len(comparable(text).encode())
    except UnicodeEncodeError:
        return False
    if not 0 < size <= MAX_IDENTIFIER_BYTES or any(c.isspace() for c in text):
        return False
    return kind is not IdentifierKind.EMAIL or _EMAIL.match(text) is not None
