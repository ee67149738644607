"""The auditor's people file: who is in which group, who consented, what was decided, which band was shown.

The auditor joins three sources on a company's premises: groups (the students' own statements, held by the
auditor alone), consent (from the platform), decisions, bands and outcomes (from the company). Neither party
sees the other's columns. Nothing of the file leaves the machine but the statistics of `statistics`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from noren_core.errors import DataError

FIXED_COLUMNS = ("company", "consented", "passed", "band", "outcome")
UNKNOWN = ""
MAX_ROWS = 2_000_000
MAX_GROUP_CHARACTERS = 60
_GROUP_PREFIX = "group_"
_YES_NO = {"yes": True, "no": False}
_OUTCOMES = {"declined": True, "accepted": False, "": None}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Person:
    """One applicant of one company.

    Attributes:
        groups: by attribute, the group she says she is in; `UNKNOWN` if she does not say.
        band: as the company saw it, counted from 1; None if there was none.
        declined: how it ended; None if that is not known, or she had no offer.
    """

    company: str
    consented: bool
    passed: bool
    band: int | None = field(repr=False)
    declined: bool | None = field(repr=False)
    groups: Mapping[str, str] = field(repr=False)


def read_people(path: Path) -> tuple[Person, ...]:
    """The people in a UTF-8 CSV: `FIXED_COLUMNS` and one column `group_<attribute>` for each attribute.

    Raises:
        DataError: naming line and column of the first field that is not what it should be; never its text.
    """
    people = tuple(_rows(path))
    if not people:
        raise DataError(f"{path.name}: expected at least one person, got none")
    return people


def _rows(path: Path) -> Iterator[Person]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            attributes = _attributes(path, header)
            for number, values in enumerate(reader, start=1):
                where = f"{path.name}, line {reader.line_num}"
                if number > MAX_ROWS:
                    raise DataError(f"{path.name}: expected at most {MAX_ROWS} people, got more")
                if len(values) != len(header):
                    raise DataError(f"{where}: expected {len(header)} fields, got {len(values)}")
                yield _person(dict(zip(header, values, strict=True)), attributes, where)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path.name}: expected a readable UTF-8 CSV file, got one that is not") from error


def _attributes(path: Path, header: list[str]) -> tuple[str, ...]:
    groups = tuple(name for name in header if name.startswith(_GROUP_PREFIX) and name != _GROUP_PREFIX)
    if sorted(header) != sorted({*FIXED_COLUMNS, *groups}) or not groups:
        fixed = ", ".join(FIXED_COLUMNS)
        raise DataError(
            f"{path.name}, line 1: expected {fixed} and at least one group_ column, each once; got others"
        )
    return groups


def _person(fields: dict[str, str], attributes: tuple[str, ...], where: str) -> Person:
    band = fields["band"]
    if band and (not band.isascii() or not band.isdigit() or not 1 <= int(band[:2]) <= 9 or len(band) > 1):
        raise DataError(f"{where}, column band: expected nothing or a digit from 1 to 9, got another text")
    groups = {name.removeprefix(_GROUP_PREFIX): fields[name] for name in attributes}
    if any(len(group) > MAX_GROUP_CHARACTERS for group in groups.values()):
        raise DataError(f"{where}: expected groups of at most {MAX_GROUP_CHARACTERS} characters, got more")
    return Person(
        company=fields["company"],
        consented=_word(_YES_NO, fields["consented"], f"{where}, column consented"),
        passed=_word(_YES_NO, fields["passed"], f"{where}, column passed"),
        band=int(band) if band else None,
        declined=_word(_OUTCOMES, fields["outcome"], f"{where}, column outcome"),
        groups=groups,
    )


def _word(words: Mapping[str, T], text: str, where: str) -> T:
    if text not in words:
        known = ", ".join(word or "nothing" for word in words)
        raise DataError(f"{where}: expected one of {known}; got another text")
    return words[text]
