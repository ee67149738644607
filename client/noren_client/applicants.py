"""The company's own file: who applied for which position, what was decided, and what became of it.

It is read on the company's machine and its content stays there. A file is used only as a whole: every problem
found is listed by row and column (up to twenty), none by content, and nothing is returned. What comes back is
redacted in every repr.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from noren_core.errors import DataError
from noren_core.ids import IdentifierKind, normalise_identifier, parse_name
from noren_core.season.plan import Task

COLUMNS = ("season", "position", "identifier_kind", "identifier", "decision", "outcome")
MAX_FILE_BYTES = 256 * 2**20
MAX_ROWS = 1_000_000
MAX_FIELD_CHARACTERS = 1024
MAX_PROBLEMS_LISTED = 20


class Decision(StrEnum):
    """What the company decided about an applicant."""

    OFFER = "offer"
    NO_OFFER = "no-offer"
    HOLD = "hold"  # not decided yet, as on a waiting list


class TrainingSetCode(StrEnum):
    """Why a company cannot take part in training; the season goes on without it."""

    NO_ROWS = "TRAINING_SET_EMPTY"
    ONE_ROW = "TRAINING_SET_ONE_ROW"
    ONE_CLASS = "TRAINING_SET_ONE_CLASS"


class TrainingSetError(DataError):
    """A well-formed file whose known outcomes cannot be learned from; `code` is a `TrainingSetCode`."""


@dataclass(frozen=True, slots=True)
class Applicant:
    """One application: a row of the company's file; who it is about is not shown."""

    season: str
    position: str
    identifier_kind: IdentifierKind
    identifier: str = field(repr=False)
    decision: Decision = field(repr=False)
    outcome: str = field(repr=False)

    @property
    def key(self) -> bytes:
        """The normalised identifier, as it is aligned: of this person as an applicant for this position."""
        return normalise_identifier(self.identifier_kind, self.identifier, self.position)

    def is_same_person(self, other: Applicant) -> bool:
        """Whether both applications were made under one identifier, whatever the position."""
        return replace(self, position=other.position).key == other.key


@dataclass(frozen=True, slots=True)
class TrainingApplicant:
    """An applicant of a past season whose outcome counts for a task."""

    applicant: Applicant
    is_positive: bool = field(repr=False)


def read_applicants(
    path: Path,
    *,
    seasons: Collection[str] | None = None,
    vocabulary: Collection[str] | None = None,
) -> tuple[Applicant, ...]:
    """The applicants in the UTF-8 CSV at `path`, in file order.

    Args:
        path: with exactly the columns `COLUMNS`, in any order; a byte order mark is allowed.
        seasons: the seasons of the campaign; None accepts any well-formed name.
        vocabulary: the outcome words of the campaign; None accepts any. Empty is always allowed.

    Raises:
        DataError: listing up to twenty problems as "row 12, column outcome: expected one of …". The first
            row after the header is row 2, as a spreadsheet shows it.
    """
    return parse_applicants(read_bounded(path), name=path.name, seasons=seasons, vocabulary=vocabulary)


def parse_applicants(
    data: bytes,
    *,
    name: str,
    seasons: Collection[str] | None = None,
    vocabulary: Collection[str] | None = None,
) -> tuple[Applicant, ...]:
    """As `read_applicants`, of a file's content; `name` is for messages."""
    problems = _Problems(name)
    applicants: list[Applicant] = []
    seen: set[tuple[str, bytes]] = set()
    for row, fields in _rows(data, name):
        applicant = _parse_row(row, fields, problems, seasons, vocabulary)
        if applicant is None:
            continue
        if (applicant.season, applicant.key) in seen:
            problems.add(
                row, "identifier", "expected each applicant once per season and position, got one again"
            )
        seen.add((applicant.season, applicant.key))
        applicants.append(applicant)
    problems.raise_if_any()
    if not applicants:
        raise DataError(f"{name}: expected at least one applicant, got none")
    return tuple(applicants)


def training_applicants(
    applicants: Sequence[Applicant], train_seasons: Collection[str], task: Task
) -> tuple[TrainingApplicant, ...]:
    """Those of past seasons with an offer and a known outcome that counts for the task.

    Raises:
        DataError: if an outcome word is not in the task's vocabulary.
        TrainingSetError: with a `TrainingSetCode`, if there are no rows, one row, or one class only.
    """
    chosen = []
    for applicant in applicants:
        if applicant.season in train_seasons and applicant.decision is Decision.OFFER and applicant.outcome:
            label = task.label(applicant.outcome)
            if label is not None:
                chosen.append(TrainingApplicant(applicant, label == 1))
    _check_training_set([row.is_positive for row in chosen])
    return tuple(chosen)


def _check_training_set(labels: Sequence[bool]) -> None:
    """Raise TrainingSetError unless there are two rows or more and both classes."""
    if not labels:
        raise TrainingSetError(
            "training set: expected known outcomes, got none", code=TrainingSetCode.NO_ROWS
        )
    if len(labels) == 1:
        raise TrainingSetError(
            "training set: expected at least two known outcomes, got one", code=TrainingSetCode.ONE_ROW
        )
    if len(set(labels)) == 1:
        raise TrainingSetError(
            "training set: expected both classes of outcome, got one", code=TrainingSetCode.ONE_CLASS
        )


def offerees(applicants: Sequence[Applicant], score_season: str) -> tuple[Applicant, ...]:
    """Those of the season to be scored with an offer and no outcome yet; may be empty."""
    return tuple(
        a for a in applicants if a.season == score_season and a.decision is Decision.OFFER and not a.outcome
    )


def applicants_for(applicants: Sequence[Applicant], *, season: str, position: str) -> tuple[Applicant, ...]:
    """Everybody who applied for a position of a season, whatever was decided; may be empty."""
    return tuple(a for a in applicants if (a.season, a.position) == (season, position))


class _Problems:
    """What is wrong with a file, by place; content is never kept."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._listed: list[str] = []
        self._count = 0

    def add(self, row: int, column: str, sentence: str) -> None:
        self._count += 1
        if len(self._listed) < MAX_PROBLEMS_LISTED:
            self._listed.append(f"row {row}, column {column}: {sentence}")

    def raise_if_any(self) -> None:
        if not self._count:
            return
        more = self._count - len(self._listed)
        tail = f"; and {more} more" if more else ""
        raise DataError(f"{self._file}: {'; '.join(self._listed)}{tail}")


def _rows(data: bytes, name: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Row number and fields of every row; checks encoding, header and field counts."""
    reader = csv.reader(io.StringIO(_decoded(data, name), newline=""), strict=True)
    try:
        header = next(reader, [])
        _check_header(name, header)
        for row, values in enumerate(reader, start=2):
            if row > MAX_ROWS + 1:
                raise DataError(f"{name}: expected at most {MAX_ROWS} rows, got more")
            if len(values) != len(header):
                raise DataError(f"{name}: row {row}: expected {len(header)} fields, got {len(values)}")
            yield row, dict(zip(header, values, strict=True))
    except csv.Error as error:
        raise DataError(f"{name}, line {reader.line_num}: expected CSV, got something else") from error


def read_bounded(path: Path) -> bytes:
    """The whole file; DataError if it is not readable or longer than `MAX_FILE_BYTES`."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path.name}: expected a readable file, got none") from error
    if len(data) > MAX_FILE_BYTES:
        raise DataError(f"{path.name}: expected at most {MAX_FILE_BYTES} bytes, got more")
    return data


def _decoded(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The original error would carry the undecodable bytes.
        raise DataError(f"{name}: expected UTF-8, got other bytes at {error.start}") from None


def _check_header(name: str, header: list[str]) -> None:
    if not header:
        raise DataError(f"{name}: expected the header {','.join(COLUMNS)}, got an empty file")
    counts = Counter(header)
    wrong = [
        f"column {column}: expected once, got {counts[column]}" for column in COLUMNS if counts[column] != 1
    ]
    extra = len(header) - sum(counts[column] for column in COLUMNS)
    if extra:
        wrong.append(f"expected only {', '.join(COLUMNS)}, got {extra} more")
    if wrong:
        raise DataError(f"{name}: row 1: {'; '.join(wrong)}")


def _parse_row(
    row: int,
    fields: Mapping[str, str],
    problems: _Problems,
    seasons: Collection[str] | None,
    vocabulary: Collection[str] | None,
) -> Applicant | None:
    """The row's applicant, or None after adding each of its problems."""
    found: list[tuple[str, str]] = [
        (name, f"expected at most {MAX_FIELD_CHARACTERS} characters, got more")
        for name, value in fields.items()
        if len(value) > MAX_FIELD_CHARACTERS
    ]
    found += _season_problems(fields["season"], seasons)
    found += _name_problems("position", fields["position"])
    found += _word_problems("identifier_kind", fields["identifier_kind"], tuple(IdentifierKind))
    found += _word_problems("decision", fields["decision"], tuple(Decision))
    if vocabulary is not None and fields["outcome"]:
        found += _word_problems("outcome", fields["outcome"], sorted(vocabulary))
    if not {"identifier_kind", "position"} & {column for column, _ in found}:
        found += _identifier_problems(
            IdentifierKind(fields["identifier_kind"]), fields["identifier"], fields["position"]
        )
    for column, sentence in found:
        problems.add(row, column, sentence)
    return None if found else _applicant(fields)


def _applicant(fields: Mapping[str, str]) -> Applicant:
    return Applicant(
        season=fields["season"],
        position=fields["position"],
        identifier_kind=IdentifierKind(fields["identifier_kind"]),
        identifier=fields["identifier"],
        decision=Decision(fields["decision"]),
        outcome=fields["outcome"],
    )


def _season_problems(text: str, seasons: Collection[str] | None) -> list[tuple[str, str]]:
    if seasons is not None:
        return _word_problems("season", text, sorted(seasons))
    return _name_problems("season", text)


def _name_problems(column: str, text: str) -> list[tuple[str, str]]:
    try:
        parse_name(text, column)
    except DataError:
        return [(column, "expected 1 to 40 of a-z, 0-9 and inner hyphens, got another text")]
    return []


def _word_problems(column: str, text: str, words: Sequence[str]) -> list[tuple[str, str]]:
    return [] if text in words else [(column, f"expected one of {', '.join(words)}; got another word")]


def _identifier_problems(kind: IdentifierKind, text: str, position: str) -> list[tuple[str, str]]:
    try:
        normalise_identifier(kind, text, position)
    except DataError as error:
        return [("identifier", error.message.removeprefix("identifier: "))]
    return []
