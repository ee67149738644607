"""Which column of an export is what, and which of its words mean what: a mapping, and the file it stands in.

A preset names several possible columns for each field; a mapping names the one that a header has. Promises: a
file with a field, word or value that is not known is refused; words and columns are compared in one form
(NFKC, case folded, spaces collapsed), so that full-width digits and stray spaces make no difference.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

from noren_client.applicants import COLUMNS, Decision
from noren_client.imports.calendar_dates import DateOrder
from noren_core import canonical_json, ids, toml_text
from noren_core.errors import DataError, NorenError
from noren_core.ids import IdentifierKind

FORMAT = "noren/v1/import-mapping"
PRESETS = Path(__file__).parent / "presets"
COMMON_WORDS = Path(__file__).parent / "common_words.toml"
INTERNAL = "noren"
"""The preset of our own format."""

MAX_WORDS = 2000
MAX_WORD_CHARACTERS = 200
ACCEPTED, DECLINED = "accepted", "declined"


class Field(StrEnum):
    """What a column can be."""

    IDENTIFIER = "identifier"
    POSITION = "position"
    SEASON = "season"
    STATUS = "status"
    OFFERED = "offered"  # dates
    ACCEPTED = "accepted"
    DECLINED = "declined"
    REJECTED = "rejected"


DATE_FIELDS = (Field.OFFERED, Field.ACCEPTED, Field.DECLINED, Field.REJECTED)


class SeasonReading(StrEnum):
    """How a cell becomes the name of a season."""

    NAME = "name"
    YEAR = "year"
    FISCAL_YEAR = "fiscal-year"  # which begins in April


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an application stands: what was decided, and what became of it if that is known."""

    decision: Decision
    outcome: str = ""

    @property
    def text(self) -> str:
        """As mappings write it: `offer/accepted`, `hold`."""
        return f"{self.decision.value}/{self.outcome}" if self.outcome else self.decision.value


def parse_standing(text: object) -> Standing:
    """The standing that `text` spells.

    Raises:
        DataError: unless it is offer, no-offer or hold, an offer perhaps with an outcome after a slash.
    """
    decision, slash, outcome = str(text).partition("/")
    if decision not in set(Decision) or (slash and decision != Decision.OFFER):
        raise DataError("standing: expected offer, offer/OUTCOME, no-offer or hold; got another text")
    return Standing(Decision(decision), ids.parse_name(outcome, "outcome") if slash else "")


@dataclass(frozen=True, slots=True)
class ImportMapping:
    """How an export is read.

    Attributes:
        title: what people call it.
        identifier_kind: what the identifiers are.
        columns: by field, the columns it may be in; in a mapping that was fitted to a header, one each.
        position, season: what every row has, where no column says it; else empty.
        season_reading: how the season's column is read.
        position_names, season_names: the name of what stands in a cell, by comparable text.
        words: what a word of the status column means, by comparable text; before the common ones.
        otherwise: what an application is about which neither status nor dates say anything; None rejects it.
        date_order: what stands first in dates of which the year is last.
    """

    title: str
    identifier_kind: IdentifierKind = IdentifierKind.EMAIL
    columns: Mapping[Field, tuple[str, ...]] = field(default_factory=dict)
    position: str = ""
    season: str = ""
    season_reading: SeasonReading = SeasonReading.YEAR
    position_names: Mapping[str, str] = field(default_factory=dict)
    season_names: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, Standing] = field(default_factory=dict)
    otherwise: Decision | None = None
    date_order: DateOrder = DateOrder.YEAR_FIRST

    def column(self, wanted: Field) -> str:
        """The one column of a field, or nothing."""
        names = self.columns.get(wanted, ())
        return names[0] if names else ""

    def missing(self) -> tuple[Field, ...]:
        """What a mapping still needs before rows can be read with it."""
        needed = []
        if not self.column(Field.IDENTIFIER):
            needed.append(Field.IDENTIFIER)
        if not self.column(Field.POSITION) and not self.position:
            needed.append(Field.POSITION)
        if not self.column(Field.SEASON) and not self.season:
            needed.append(Field.SEASON)
        if not any(self.column(wanted) for wanted in (Field.STATUS, *DATE_FIELDS)) and not self.otherwise:
            needed.append(Field.STATUS)
        return tuple(needed)

    def to_toml(self) -> bytes:
        """The file's content; the inverse of `parse_mapping`."""
        lines = [
            f"format = {_quoted(FORMAT)}",
            f"title = {_quoted(self.title)}",
            f"identifier_kind = {_quoted(self.identifier_kind)}",
            f"otherwise = {_quoted(self.otherwise or '')}",
            f"date_order = {_quoted(self.date_order)}",
            *("", "[columns]"),
            *(
                f"{wanted.value} = [{', '.join(map(_quoted, self.columns.get(wanted, ())))}]"
                for wanted in Field
            ),
            *("", "[position]", f"value = {_quoted(self.position)}", "", "[position.names]"),
            *_table(self.position_names),
            *("", "[season]", f"value = {_quoted(self.season)}"),
            *(f"reading = {_quoted(self.season_reading)}", "", "[season.names]"),
            *_table(self.season_names),
            *("", "[words]"),
            *_table({word: standing.text for word, standing in self.words.items()}),
        ]
        return "\n".join([*lines, ""]).encode()


@lru_cache(maxsize=65536)
def comparable(text: str) -> str:
    """The form in which words and columns are compared."""
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).split())


def header_fingerprint(header: Sequence[str]) -> str:
    """What a mapping is remembered by: a hash of the columns, in whatever order."""
    names = canonical_json.encode(sorted(map(comparable, header)))
    return hashlib.sha256(b"noren/v1/import-header\0" + names).hexdigest()


def is_internal(header: Sequence[str]) -> bool:
    """Whether a file is meant to be in our own format: it has a column that no other system writes.

    Which of our columns are missing or too many is for `applicants.read_applicants` to say.
    """
    return "identifier_kind" in header and sum(name in COLUMNS for name in header) >= len(COLUMNS) - 1


def fit(mapping: ImportMapping, header: Sequence[str]) -> ImportMapping:
    """The mapping with, for each field, the first of its columns that the header has.

    A field none of whose columns is there has none any more; `ImportMapping.missing` says if that matters.

    Raises:
        DataError: with code COLUMN_TWICE, if a column that is used stands in the header twice.
    """
    by_name: dict[str, list[str]] = {}
    for name in header:
        by_name.setdefault(comparable(name), []).append(name)
    columns: dict[Field, tuple[str, ...]] = {}
    for wanted, names in mapping.columns.items():
        found = next((by_name[key] for key in map(comparable, names) if key in by_name), None)
        if found is None:
            continue
        if len(found) > 1:
            raise DataError(
                f"header: expected the column for {wanted.value} once, got {len(found)} of that name; "
                "rename the others",
                code="COLUMN_TWICE",
            )
        columns[wanted] = (found[0],)
    return replace(mapping, columns=columns)


def fitting_preset(header: Sequence[str]) -> tuple[str, ImportMapping] | None:
    """The preset of which the header has the most, if nothing it needs is missing."""
    best: tuple[int, str, ImportMapping] | None = None
    for name, preset in presets().items():
        try:
            fitted = fit(preset, header)
        except DataError:
            continue
        if not fitted.missing() and (best is None or len(fitted.columns) > best[0]):
            best = (len(fitted.columns), name, fitted)
    return None if best is None else (best[1], best[2])


@lru_cache(maxsize=1)
def presets() -> Mapping[str, ImportMapping]:
    """Every preset that is installed, by name."""
    return {path.stem: parse_mapping(path.read_bytes()) for path in sorted(PRESETS.glob("*.toml"))}


def preset(name: str) -> ImportMapping:
    """The preset of this name; DataError naming all if there is none."""
    found = presets().get(name)
    if found is None:
        raise DataError(f"preset: expected one of {', '.join(presets())}; got another name")
    return found


@lru_cache(maxsize=1)
def common_words() -> Mapping[str, Standing]:
    """What words mean at whatever system, by comparable text."""
    table = toml_text.parse(COMMON_WORDS.read_bytes())
    return {comparable(word): parse_standing(text) for word, text in table["words"].items()}


def parse_mapping(data: bytes) -> ImportMapping:
    """The mapping or preset in a file.

    Raises:
        DataError: naming the field that is missing, not known or out of its bounds.
    """
    try:
        return _parse(toml_text.parse(data))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError("mapping: expected the fields of docs/company/import.md, got others") from error
    except NorenError as error:
        raise DataError(f"mapping: {error.message}") from error


def _parse(table: dict[str, Any]) -> ImportMapping:
    if table.pop("format") != FORMAT:
        raise DataError(f"expected format {FORMAT}, got another")
    columns, position, season = table.pop("columns"), table.pop("position", {}), table.pop("season", {})
    otherwise = table.pop("otherwise", "")
    mapping = ImportMapping(
        title=_short(table.pop("title")),
        identifier_kind=IdentifierKind(table.pop("identifier_kind", IdentifierKind.EMAIL)),
        columns={Field(name): _columns(value) for name, value in columns.items() if value},
        position=_name(position.pop("value", ""), "position"),
        season=_name(season.pop("value", ""), "season"),
        season_reading=SeasonReading(season.pop("reading", SeasonReading.YEAR)),
        position_names=_names(position.pop("names", {}), "position"),
        season_names=_names(season.pop("names", {}), "season"),
        words={comparable(_short(w)): parse_standing(t) for w, t in _bounded(table.pop("words", {}))},
        otherwise=Decision(otherwise) if otherwise else None,
        date_order=DateOrder(table.pop("date_order", DateOrder.YEAR_FIRST)),
    )
    if table or position or season:
        raise DataError("expected no further fields, got some")
    return mapping


def _columns(value: list[Any]) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise DataError("expected a list of columns, got another value")
    return tuple(_short(name) for name in value)


def _names(table: dict[str, Any], what: str) -> dict[str, str]:
    return {comparable(_short(text)): ids.parse_name(name, what) for text, name in _bounded(table)}


def _bounded(table: dict[str, Any]) -> list[tuple[str, Any]]:
    if len(table) > MAX_WORDS:
        raise DataError(f"expected at most {MAX_WORDS} words, got more")
    return list(table.items())


def _name(value: Any, what: str) -> str:
    return ids.parse_name(value, what) if value else ""


def _short(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_WORD_CHARACTERS:
        raise DataError(f"expected texts of 1 to {MAX_WORD_CHARACTERS} characters, got another value")
    return value


def _table(entries: Mapping[str, str]) -> list[str]:
    return [f"{_quoted(key)} = {_quoted(value)}" for key, value in sorted(entries.items())]


def _quoted(text: str) -> str:
    # A JSON string is a TOML string, except for the one control character that JSON leaves alone.
    return json.dumps(str(text), ensure_ascii=False).replace("\x7f", "\\u007f")
