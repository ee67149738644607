"""The consent table: who may be looked up by which company, in which season, for which purpose.

`read_consents` accepts a CSV only as a whole: one bad row and nothing is used. Identifiers are what
students gave for being found; they appear in no message and in no repr.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from noren_core.errors import DataError
from noren_core.ids import IdentifierKind, Purpose, normalise_identifier, parse_name

COLUMNS = ("student", "company", "season", "purpose", "identifier_kind", "identifier", "state")

_Key = tuple[str, str, Purpose]
_Enum = TypeVar("_Enum", bound=StrEnum)


class ConsentState(StrEnum):
    """Whether a consent may be acted on."""

    LIVE = "live"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True, order=True)
class ConsentedStudent:
    """One student with a live consent, and what her company looks her up by."""

    student: str = field(repr=False)
    identifier_kind: IdentifierKind
    identifier: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ConsentTable:
    """All consents, live and withdrawn, by company, season and purpose."""

    _live: Mapping[_Key, tuple[ConsentedStudent, ...]] = field(repr=False)
    _withdrawn: Mapping[_Key, tuple[ConsentedStudent, ...]] = field(repr=False)

    def live(self, company: str, season: str, purpose: Purpose) -> tuple[ConsentedStudent, ...]:
        """The consented students of one cohort, sorted by student; empty if there are none."""
        return self._live.get((company, season, purpose), ())

    def withdrawn(self, company: str, season: str, purpose: Purpose) -> tuple[ConsentedStudent, ...]:
        """Those of one cohort who consented once and do so no longer, sorted by student."""
        return self._withdrawn.get((company, season, purpose), ())


class LatestConsents:
    """The consent table of a file, read again only when there is another file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: tuple[tuple[int, int, int], ConsentTable] | None = None

    def table(self) -> ConsentTable:
        """What the file says now; as `read_consents`."""
        try:
            found = self._path.stat()
        except OSError as error:
            raise DataError(f"{self._path.name}: expected a consent table, got no file") from error
        version = (found.st_ino, found.st_mtime_ns, found.st_size)
        if self._read is None or self._read[0] != version:
            self._read = (version, read_consents(self._path))
        return self._read[1]


@dataclass(frozen=True, slots=True)
class _Row:
    key: _Key
    student: ConsentedStudent
    found_by: bytes = field(repr=False)
    state: ConsentState


def read_consents(path: Path) -> ConsentTable:
    """The consent table in the CSV at `path`.

    Raises:
        DataError: naming line and column, if the file is not UTF-8 CSV with exactly `COLUMNS`, a field is
            empty or unknown, a (student, company, season, purpose) comes twice, or one identifier stands
            for two students of the same company, season and purpose.
    """
    students: set[tuple[_Key, str | bytes]] = set()
    identifiers: set[tuple[_Key, str | bytes]] = set()
    live: dict[_Key, list[ConsentedStudent]] = {}
    withdrawn: dict[_Key, list[ConsentedStudent]] = {}
    for line, fields in _lines(path):
        where = f"{path.name}, line {line}"
        row = _parse_row(fields, where)
        _add_once(students, (row.key, row.student.student), f"{where}, column student")
        if row.state is ConsentState.LIVE:
            _add_once(identifiers, (row.key, row.found_by), f"{where}, column identifier")
            live.setdefault(row.key, []).append(row.student)
        else:
            withdrawn.setdefault(row.key, []).append(row.student)
    return ConsentTable(_sorted(live), _sorted(withdrawn))


def _lines(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and fields of every row; checks the header and the number of fields."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            _check_header(path, header)
            for values in reader:
                if len(values) != len(header):
                    where = f"{path.name}, line {reader.line_num}"
                    raise DataError(f"{where}: expected {len(header)} fields, got {len(values)}")
                yield reader.line_num, dict(zip(header, values, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path.name}: expected a readable UTF-8 CSV file, got one that is not") from error


def _check_header(path: Path, header: list[str]) -> None:
    for name in COLUMNS:
        if header.count(name) != 1:
            raise DataError(f"{path.name}, line 1, column {name}: expected once, got {header.count(name)}")
    if len(header) != len(COLUMNS):
        raise DataError(f"{path.name}, line 1: expected only {', '.join(COLUMNS)}, got {len(header)} columns")


def _parse_row(fields: dict[str, str], where: str) -> _Row:
    company = parse_name(fields["company"], f"{where}, column company")
    season = parse_name(fields["season"], f"{where}, column season")
    purpose = _parse_word(Purpose, fields["purpose"], f"{where}, column purpose")
    kind = _parse_word(IdentifierKind, fields["identifier_kind"], f"{where}, column identifier_kind")
    state = _parse_word(ConsentState, fields["state"], f"{where}, column state")
    if not fields["student"]:
        raise DataError(f"{where}, column student: expected a text, got an empty one")
    try:
        found_by = normalise_identifier(kind, fields["identifier"])
    except DataError as error:
        raise DataError(f"{where}, column {error.message}") from error
    student = ConsentedStudent(fields["student"], kind, fields["identifier"])
    return _Row(key=(company, season, purpose), student=student, found_by=found_by, state=state)


def _sorted(cohorts: Mapping[_Key, list[ConsentedStudent]]) -> dict[_Key, tuple[ConsentedStudent, ...]]:
    return {key: tuple(sorted(students)) for key, students in cohorts.items()}


def _parse_word(kind: type[_Enum], text: str, where: str) -> _Enum:
    try:
        return kind(text)
    except ValueError:
        words = ", ".join(member.value for member in kind)
        raise DataError(f"{where}: expected one of {words}; got another word") from None


def _add_once(seen: set[tuple[_Key, str | bytes]], key: tuple[_Key, str | bytes], where: str) -> None:
    if key in seen:
        raise DataError(f"{where}: expected once per company, season and purpose, got it again")
    seen.add(key)
