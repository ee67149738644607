"""What was imported into `applicants.csv`, and how the last import is taken back.

    imports/journal.json     every import: when, what file, how many rows; the hashes before and after
    imports/previous.csv     `applicants.csv` as it was before the last import, as long as that can be undone
    imports/lock             held while any of these changes

Promises: a file is replaced whole, and a crash leaves an import that happened or one that did not; an undo
gives back the very bytes; it is refused once the applicants were trained on or sealed, or the file was
changed by other means, and says so. The copy for the undo is removed when it is of no use any more.
"""

from __future__ import annotations

import csv
import fcntl
import hashlib
import io
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from noren_client import config
from noren_client.applicants import COLUMNS, MAX_ROWS, Applicant, read_applicants
from noren_core import canonical_json
from noren_core.errors import DataError, LocalProtocolError, NorenError
from noren_local.private_file import write_private

APPLICANTS_FILE = "applicants.csv"
DIRECTORY = "imports"
UPLOADS = "uploads"
REJECTED_FILE = "rejected-rows.csv"
MAX_KEPT = 200
_FORMAT = "noren/v1/import-journal"


class ImportState(StrEnum):
    """What became of an import."""

    BEGUN = "begun"
    TAKEN = "taken"
    UNDONE = "undone"


class Use(StrEnum):
    """What applicants were used for, after which an import is not undone."""

    NONE = ""
    TRAINING = "training"
    SEALING = "sealing"
    ERASURE = "erasure"


class Scope(StrEnum):
    """What an import replaces."""

    ITS_POSITIONS = "its-positions"  # everybody of each season and position that the file has
    EVERYTHING = "everything"


@dataclass(frozen=True, slots=True)
class Changes:
    """What an import changes; numbers for the company's own eyes."""

    added: int
    changed: int
    unchanged: int
    removed: int


@dataclass(frozen=True, slots=True)
class ImportRecord:
    """One import.

    Attributes:
        handle: its random name.
        at: Unix seconds.
        file: what the imported file was called.
        source: kind and encoding of it.
        preset: what it was read with.
        rows, repeated, rejected: of the file.
        changes: in `applicants.csv`.
        before, after: SHA-256 of `applicants.csv`, in hexadecimal; empty where there was none.
        state: what became of it.
        use: what it was used for since.
    """

    handle: str
    at: int
    file: str = field(repr=False)
    source: str
    preset: str
    rows: int
    repeated: int
    rejected: int
    changes: Changes
    before: str
    after: str
    state: ImportState
    use: Use = Use.NONE

    @property
    def is_undoable(self) -> bool:
        """Whether nothing that is recorded speaks against an undo."""
        return self.state is ImportState.TAKEN and self.use is Use.NONE

    def to_body(self) -> dict[str, Any]:
        """As the journal has it."""
        changes = self.changes
        return {
            "handle": self.handle,
            "at": self.at,
            "file": self.file,
            "source": self.source,
            "preset": self.preset,
            "rows": self.rows,
            "repeated": self.repeated,
            "rejected": self.rejected,
            "added": changes.added,
            "changed": changes.changed,
            "unchanged": changes.unchanged,
            "removed": changes.removed,
            "before": self.before,
            "after": self.after,
            "state": self.state.value,
            "use": self.use.value,
        }

    @classmethod
    def from_body(cls, body: dict[str, Any]) -> Self:
        """The inverse of `to_body`."""
        return cls(
            handle=str(body["handle"]),
            at=int(body["at"]),
            file=str(body["file"]),
            source=str(body["source"]),
            preset=str(body["preset"]),
            rows=int(body["rows"]),
            repeated=int(body["repeated"]),
            rejected=int(body["rejected"]),
            changes=Changes(*(int(body[name]) for name in ("added", "changed", "unchanged", "removed"))),
            before=str(body["before"]),
            after=str(body["after"]),
            state=ImportState(body["state"]),
            use=Use(body["use"]),
        )


@dataclass(frozen=True, slots=True)
class PlannedImport:
    """What `applicants.csv` would be after an import.

    Attributes:
        content: its bytes.
        before: SHA-256 of what it is now; empty if there is none.
        changes: between the two.
    """

    content: bytes = field(repr=False)
    before: str
    changes: Changes


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSource:
    """Where the rows of an import come from, as it is recorded."""

    file: str = field(repr=False)
    source: str
    preset: str
    rows: int
    repeated: int = 0
    rejected: int = 0


def plan_import(company_dir: Path, rows: Sequence[Applicant], scope: Scope) -> PlannedImport:
    """What the file would be; nothing is changed.

    Raises:
        DataError: if there are no rows, too many, or the file that is there cannot be read.
    """
    if not rows:
        raise DataError("import: expected at least one applicant, got none", code="IMPORT_EMPTY")
    path = company_dir / APPLICANTS_FILE
    kept: list[Applicant] = []
    known: tuple[Applicant, ...] = ()
    if path.exists():
        known = read_applicants(path) if scope is Scope.ITS_POSITIONS else _known_or_none(path)
    if scope is Scope.ITS_POSITIONS:
        replaced = {(row.season, row.position) for row in rows}
        kept = [row for row in known if (row.season, row.position) not in replaced]
    if len(kept) + len(rows) > MAX_ROWS:
        raise DataError(f"import: expected at most {MAX_ROWS} applicants altogether, got more")
    return PlannedImport(_to_csv([*kept, *rows]), _sha256(path), _changes(known, [*kept, *rows]))


def take(company_dir: Path, planned: PlannedImport, source: ImportSource, *, now: int) -> ImportRecord:
    """Replace the file by what was planned.

    1. The company enrolled, and the file is what it was when the import was planned.
    2. A copy of it for the undo, and the journal with the import begun: on disk.
    3. The file; then the journal with the import taken.

    Raises:
        ConfigurationError: if the company has not enrolled.
        LocalProtocolError: with code IMPORT_OUTDATED, if the file was changed meanwhile; nothing was.
    """
    config.load(company_dir)
    path = company_dir / APPLICANTS_FILE
    with _locked(company_dir):
        records = _load(company_dir)
        if _sha256(path) != planned.before:  # 1
            raise LocalProtocolError(
                "import: expected the applicants that it was planned for, got changed ones; begin again",
                code="IMPORT_OUTDATED",
            )
        record = ImportRecord(
            handle=secrets.token_hex(8),
            at=now,
            file=source.file[:200],
            source=source.source,
            preset=source.preset,
            rows=source.rows,
            repeated=source.repeated,
            rejected=source.rejected,
            changes=planned.changes,
            before=planned.before,
            after=hashlib.sha256(planned.content).hexdigest(),
            state=ImportState.BEGUN,
        )
        write_private(_previous(company_dir), path.read_bytes() if planned.before else b"")  # 2
        _save(company_dir, [*records, record])
        write_private(path, planned.content)  # 3
        taken = replace(record, state=ImportState.TAKEN)
        _save(company_dir, [*records, taken])
        return taken


def undo(company_dir: Path) -> ImportRecord:
    """Give back the applicants from before the last import; the import that was undone.

    Raises:
        LocalProtocolError: NOTHING_TO_UNDO; IMPORT_USED, after they were trained on or sealed;
            IMPORT_OUTDATED, if the file was changed since by other means. Nothing is changed then.
    """
    path = company_dir / APPLICANTS_FILE
    with _locked(company_dir):
        records = _load(company_dir)
        if not records or records[-1].state is not ImportState.TAKEN:
            raise LocalProtocolError(
                "undo: expected an import that was taken, got none", code="NOTHING_TO_UNDO"
            )
        last = records[-1]
        if last.use is not Use.NONE:
            raise LocalProtocolError(
                f"undo: expected applicants that nothing was done with, got ones used for {last.use.value}; "
                "import a corrected file",
                code="IMPORT_USED",
            )
        copy = _previous(company_dir)
        if _sha256(path) != last.after or (_sha256(copy) if last.before else "") != last.before:
            raise LocalProtocolError(
                "undo: expected the files as the import left them, got changed ones", code="IMPORT_OUTDATED"
            )
        undone = replace(last, state=ImportState.UNDONE)
        if last.before:
            write_private(path, copy.read_bytes())
        else:
            path.unlink()
        _save(company_dir, [*records[:-1], undone])
        copy.unlink(missing_ok=True)
        return undone


def imports(company_dir: Path) -> tuple[ImportRecord, ...]:
    """Every import that is kept, the oldest first."""
    if not (company_dir / DIRECTORY).is_dir():
        return ()
    with _locked(company_dir):
        return tuple(_load(company_dir))


def note_use(company_dir: Path, use: Use) -> None:
    """Remember, before it is done, that the applicants are used; the last import is not undone any more."""
    if not (company_dir / DIRECTORY).is_dir():
        return
    with _locked(company_dir):
        records = _load(company_dir)
        if records and records[-1].is_undoable:
            _save(company_dir, [*records[:-1], replace(records[-1], use=use)])
            _previous(company_dir).unlink(missing_ok=True)


def forget_copies(company_dir: Path) -> None:
    """Remove every copy of applicants that imports left: the one for undoing, uploads, rejected rows.

    What an erasure order searches for is the company's in `applicants.csv` alone.
    """
    note_use(company_dir, Use.ERASURE)
    place = company_dir / DIRECTORY
    for path in [place / "previous.csv", place / REJECTED_FILE, *(place / UPLOADS).glob("*")]:
        path.unlink(missing_ok=True)


def directory(company_dir: Path) -> Path:
    """Where imports are kept, made on first use."""
    path = company_dir / DIRECTORY
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def _known_or_none(path: Path) -> tuple[Applicant, ...]:
    """What is replaced as a whole may be unreadable."""
    try:
        return read_applicants(path)
    except DataError:
        return ()


def _changes(old: Sequence[Applicant], new: Sequence[Applicant]) -> Changes:
    before = {(row.season, row.key): (row.decision, row.outcome) for row in old}
    added = changed = unchanged = 0
    for row in new:
        standing = before.pop((row.season, row.key), None)
        if standing is None:
            added += 1
        elif standing == (row.decision, row.outcome):
            unchanged += 1
        else:
            changed += 1
    return Changes(added, changed, unchanged, removed=len(before))


def _to_csv(rows: Sequence[Applicant]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(
        (row.season, row.position, row.identifier_kind.value, row.identifier, row.decision.value, row.outcome)
        for row in rows
    )
    return text.getvalue().encode()


def _load(company_dir: Path) -> list[ImportRecord]:
    """The journal; an import or undo that was interrupted is judged by which file is there."""
    path = company_dir / DIRECTORY / "journal.json"
    if not path.exists():
        return []
    try:
        body = canonical_json.parse_object(path.read_bytes())
        if body["format"] != _FORMAT:
            raise DataError(f"expected format {_FORMAT}, got another")
        records = [ImportRecord.from_body(item) for item in body["imports"]]
    except (NorenError, KeyError, TypeError, ValueError) as error:
        raise LocalProtocolError(
            "imports/journal.json is damaged: remove the directory imports; applicants.csv stays as it is",
            code="IMPORT_JOURNAL_DAMAGED",
        ) from error
    return _settled(records, _sha256(company_dir / APPLICANTS_FILE))


def _settled(records: list[ImportRecord], current: str) -> list[ImportRecord]:
    if not records:
        return records
    *earlier, last = records
    if last.state is ImportState.BEGUN:
        return [*earlier, replace(last, state=ImportState.TAKEN)] if current == last.after else earlier
    if last.is_undoable and current == last.before != last.after:
        return [*earlier, replace(last, state=ImportState.UNDONE)]
    return records


def _save(company_dir: Path, records: Sequence[ImportRecord]) -> None:
    body = {"format": _FORMAT, "imports": [record.to_body() for record in records[-MAX_KEPT:]]}
    write_private(directory(company_dir) / "journal.json", canonical_json.encode(body))


def _previous(company_dir: Path) -> Path:
    return directory(company_dir) / "previous.csv"


def _sha256(path: Path) -> str:
    """Of a file; empty if it is not there."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""


@contextmanager
def _locked(company_dir: Path) -> Iterator[None]:
    descriptor = os.open(directory(company_dir) / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
