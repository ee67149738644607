"""Reading one export: what it looks like decoded, which mapping it is read with, what comes out.

Promises: a preview shows the file as it is read, before anything is done with it; the mapping that a header
was last imported with is remembered here and found again; our own format is read by the one reader it has.
"""

from __future__ import annotations

import itertools
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from noren_client.applicants import parse_applicants
from noren_client.imports import import_journal
from noren_client.imports.column_mapping import (
    INTERNAL,
    Field,
    ImportMapping,
    comparable,
    fit,
    fitting_preset,
    header_fingerprint,
    is_internal,
    parse_mapping,
    preset,
)
from noren_client.imports.conversion import Converted, convert, season_text
from noren_client.imports.source_table import ReadingChoices, Row, SourceTable, open_source
from noren_core.errors import DataError
from noren_local.private_file import write_private

PREVIEW_ROWS = 10
MAX_WORDS_SHOWN = 60
MAX_REMEMBERED = 64


class Origin(StrEnum):
    """Where a mapping came from."""

    GIVEN = "given"
    PRESET = "preset"
    REMEMBERED = "remembered"
    FOUND = "found"  # the preset that fits best
    NONE = "none"  # nothing fits; people have to say


@dataclass(frozen=True, slots=True)
class ChosenMapping:
    """A mapping that was fitted to a header, and where it came from.

    Attributes:
        name: of the preset, or what people call the mapping.
    """

    origin: Origin
    name: str
    mapping: ImportMapping


@dataclass(frozen=True, slots=True)
class Preview:
    """An export as it is decoded.

    Attributes:
        table: without its rows.
        rows: number and cells of the first ones.
        is_internal: whether it is in our own format, which needs no mapping.
    """

    table: SourceTable
    rows: tuple[tuple[int, Row], ...] = field(repr=False)
    is_internal: bool


@dataclass(frozen=True, slots=True)
class Words:
    """The different texts in the columns of a file that need a meaning, most frequent first.

    Attributes:
        statuses, positions, seasons: at most `MAX_WORDS_SHOWN` of each.
    """

    statuses: tuple[str, ...] = field(repr=False)
    positions: tuple[str, ...] = field(repr=False)
    seasons: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReadExport:
    """What came of reading a whole file."""

    table: SourceTable
    preset: str
    converted: Converted

    @property
    def source(self) -> str:
        """What kind of file it was, in a word or two."""
        table = self.table
        return table.kind.value if table.encoding is None else f"{table.kind.value} {table.encoding.value}"


def preview(data: bytes, *, name: str, choices: ReadingChoices) -> Preview:
    """The header and the first rows of a file.

    Raises:
        DataError: as `source_table.open_source`.
    """
    table = open_source(data, name=name, choices=choices)
    rows = tuple(itertools.islice(table.rows, PREVIEW_ROWS))
    return Preview(table, rows, is_internal(table.header))


def choose_mapping(
    company_dir: Path, header: Row, *, preset_name: str = "", given: ImportMapping | None = None
) -> ChosenMapping:
    """The mapping for a header: the given one, the named preset, the remembered one, or the preset that fits.

    What is missing in it is for `ImportMapping.missing` to say.

    Raises:
        DataError: for a preset that is not there, or a header with a column twice that is used.
    """
    if given is not None:
        return ChosenMapping(Origin.GIVEN, given.title, fit(given, header))
    if preset_name:
        return ChosenMapping(Origin.PRESET, preset_name, fit(preset(preset_name), header))
    kept = remembered_mapping(company_dir, header)
    if kept is not None:
        return ChosenMapping(Origin.REMEMBERED, kept.title, fit(kept, header))
    found = fitting_preset(header)
    if found is not None:
        return ChosenMapping(Origin.FOUND, *found)
    return ChosenMapping(Origin.NONE, "", ImportMapping(title="own mapping"))


def words_in(data: bytes, mapping: ImportMapping, *, name: str, choices: ReadingChoices) -> Words:
    """What stands in the columns of status and position, and the seasons that are read from theirs.

    Raises:
        DataError: as `source_table.open_source`.
    """
    table = open_source(data, name=name, choices=choices)
    counts: dict[Field, Counter[str]] = {
        wanted: Counter()
        for wanted in (Field.STATUS, Field.POSITION, Field.SEASON)
        if mapping.column(wanted) in table.header
    }
    places = [(counter, table.header.index(mapping.column(wanted))) for wanted, counter in counts.items()]
    for _, row in table.rows:
        for counter, place in places:
            counter[comparable(row[place])] += 1
    seasons: Counter[str] = Counter()
    for text, count in counts.get(Field.SEASON, Counter[str]()).items():
        with suppress(DataError):  # which is told by row when the file is read
            seasons[season_text(text, mapping)] += count
    return Words(
        *(_frequent(found) for found in (counts.get(Field.STATUS), counts.get(Field.POSITION), seasons))
    )


def _frequent(counter: Counter[str] | None) -> tuple[str, ...]:
    """The most frequent words that are not empty."""
    found = (counter or Counter[str]()).most_common()
    return tuple(word for word, _ in found if word)[:MAX_WORDS_SHOWN]


def read_export(
    data: bytes, *, name: str, choices: ReadingChoices, chosen: ChosenMapping | None
) -> ReadExport:
    """Everybody in a file; without a mapping it must be in our own format.

    Raises:
        DataError: in our own format as `applicants.read_applicants`, otherwise as `conversion.convert`.
    """
    table = open_source(data, name=name, choices=choices)
    if is_internal(table.header) and (chosen is None or chosen.origin is not Origin.GIVEN):
        rows = parse_applicants(data, name=name)
        return ReadExport(table, INTERNAL, Converted(rows, len(rows), 0, 0, (), Counter()))
    if chosen is None or chosen.origin is Origin.NONE:
        raise DataError(
            f"{name}: expected columns that a preset knows, got others; choose one with --preset, "
            "or say with --mapping which column is what",
            code="MAPPING_NEEDED",
        )
    return ReadExport(table, chosen.name, convert(table, chosen.mapping))


def remembered_mapping(company_dir: Path, header: Row) -> ImportMapping | None:
    """The mapping with which a file of these columns was last imported; None for new columns.

    One that cannot be read any more is as good as none.
    """
    path = _mappings(company_dir) / f"{header_fingerprint(header)}.toml"
    try:
        return parse_mapping(path.read_bytes())
    except (FileNotFoundError, DataError):
        return None


def remember_mapping(company_dir: Path, header: Row, mapping: ImportMapping) -> None:
    """Keep a mapping for files of these columns; of many, the oldest go."""
    write_private(_mappings(company_dir) / f"{header_fingerprint(header)}.toml", mapping.to_toml())
    kept = sorted(_mappings(company_dir).glob("*.toml"), key=lambda path: path.stat().st_mtime)
    for path in kept[:-MAX_REMEMBERED]:
        path.unlink()


def _mappings(company_dir: Path) -> Path:
    return company_dir / import_journal.DIRECTORY / "mappings"
