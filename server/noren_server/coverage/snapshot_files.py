"""A coverage snapshot on disk: what is processed, what consents say, and what both are judged by.

docs/rights/coverage.md §1. `open_snapshot` checks every file as a whole, by set-based queries, and refuses
the snapshot for one bad row; what it returns is simply true for everything after it. No message holds a value
of a snapshot. DuckDB reads the files, with two threads, bounded memory and no further extension.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from noren_core.errors import DataError
from noren_core.rights.clauses import Clause
from noren_core.rights.consent.consent_event import Action
from noren_core.rights.coverage.classes import ANY, EVIDENCE_STATES, CoverageClass
from noren_core.rights.coverage.coverage_report import SNAPSHOT_FILES, SNAPSHOT_LABEL
from noren_core.rights.purposes import Purpose

THREADS = 2
MEMORY_LIMIT = "1200MB"
"""Of the engine; the process needs some more, and 2 GB is what a report may take."""
MAX_TIME = 2**53
MAX_JSON_BYTES = 4 << 20

_TEXT, _INT, _BOOL = pa.string(), pa.int64(), pa.bool_()
_TEXTS = pa.list_(pa.string())
_SCOPE = {"student": _TEXT, "company": _TEXT, "position": _TEXT, "season": _TEXT, "purpose": _TEXT}

SCHEMAS: Mapping[str, pa.Schema] = {
    name: pa.schema(list(columns.items()))
    for name, columns in {
        "population": {
            **_SCOPE,
            "phase": _TEXT,
            "route": _TEXT,
            "registered_at": _INT,
            "processed": _BOOL,
            "control": _TEXT,
        },
        "consent_events": {
            "seq": _INT,
            "time": _INT,
            **_SCOPE,
            "policy": _TEXT,
            "state": _TEXT,
            "screen": _TEXT,
            "clauses": _TEXTS,
            "action": _TEXT,
            "prechecked": _BOOL,
            "bundled": _BOOL,
            "expires_at": _INT,
        },
        "screens": {
            "screen": _TEXT,
            "route": _TEXT,
            "build": _TEXT,
            "locale": _TEXT,
            "policy": _TEXT,
            "company": _TEXT,
            "position": _TEXT,
            "purposes": _TEXTS,
            "clauses": _TEXTS,
            "verified_from": _INT,
            "verified_until": _INT,
            "state": _TEXT,
        },
        "policies": {
            "policy": _TEXT,
            "season": _TEXT,
            "activated_at": _INT,
            "retired_at": _INT,
            "material": _TEXTS,
        },
        "agreements": {
            "company": _TEXT,
            "active_from": _INT,
            "active_until": _INT,
            "received_provision": _BOOL,
        },
        "provisions": {**_SCOPE, "record": _TEXT, "permit": _TEXT, "time": _INT},
        "permits": {"permit": _TEXT, "record": _TEXT, "seq": _INT},
        "deposits": {"student": _TEXT, "company": _TEXT, "time": _INT},
    }.items()
}
"""By table, its columns. Texts are never null; times are Unix seconds, 0 for none."""

OPTIONAL = frozenset({"provisions", "permits", "deposits"})
"""Without such a file its table is empty."""


def _listed(words: Any) -> str:
    return ", ".join(f"'{word}'" for word in sorted(words))


_TIMES = {
    "population": ("registered_at",),
    "consent_events": ("time", "expires_at"),
    "screens": ("verified_from", "verified_until"),
    "policies": ("activated_at", "retired_at"),
    "agreements": ("active_from", "active_until"),
    "provisions": ("time",),
    "deposits": ("time",),
}
_BAD_ROWS = {
    "population": {
        "a purpose of the closed list": f"purpose not in ({_listed(Purpose)})",
        "a company and a position": f"company in ('', '{ANY}') or position in ('', '{ANY}')",
        "a student, a season and a phase": "student = '' or season = '' or phase = ''",
        "a control class or none": f"control not in ('', {_listed(CoverageClass)})",
    },
    "consent_events": {
        "a purpose of the closed list": f"purpose not in ({_listed(Purpose)})",
        "a listed state": f"state not in ({_listed(EVIDENCE_STATES)})",
        "a listed action or none": f"action not in ('', {_listed(Action)})",
        "listed clauses": f"not list_has_all([{_listed(Clause)}], clauses)",
        "company and position both named or neither": (
            f"(company = '{ANY}') != (position = '{ANY}') or company = '' or position = ''"
        ),
        "a student and a number": "student = '' or seq < 0",
    },
    "screens": {
        "a hash": "screen = ''",
        "listed purposes": f"not list_has_all([{_listed(Purpose)}], purposes)",
        "listed clauses": f"not list_has_all([{_listed(Clause)}], clauses)",
    },
    "policies": {
        "a name": "policy = ''",
        "listed purposes": f"not list_has_all([{_listed(Purpose)}], material)",
    },
    "agreements": {"a company": f"company in ('', '{ANY}')"},
    "provisions": {"a purpose of the closed list": f"purpose not in ({_listed(Purpose)})"},
}
"""By table, what is expected of every row, and the condition under which a row is not that."""
_UNIQUE = {
    "population": "student, company, position, season, purpose, phase",
    "consent_events": "seq",
    "policies": "policy",
    "permits": "permit",
    "provisions": "record",
}
_DIGESTED = {
    "policies": "policy, season, activated_at, retired_at, list_sort(material)",
    "screens": (
        "screen, route, build, locale, policy, company, position, "
        "list_sort(purposes), list_sort(clauses), state"
    ),
    "agreements": "company, active_from, active_until",
}
"""What a change of makes a report stale. That a screen was verified once more is none."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A checked snapshot, open for queries: every table of `SCHEMAS` is a view of the connection."""

    directory: Path
    connection: Any
    files: tuple[Path, ...]


@contextmanager
def open_snapshot(directory: Path) -> Iterator[Snapshot]:
    """The checked snapshot in `directory`, for the length of a `with` block.

    Raises:
        DataError: naming file and column, if a file is missing or unreadable, has other columns or types, or
            any row is not what the format asks for.
    """
    files = tuple(path for name in SCHEMAS if (path := _file(directory, name)) is not None)
    for path in files:
        _check_schema(path)
    with tempfile.TemporaryDirectory(prefix="noren-spill-") as spill, _engine(Path(spill)) as connection:
        try:
            for name in SCHEMAS:
                _open_table(connection, directory, name)
                _check_rows(connection, name)
        except duckdb.Error as error:  # its text can hold values
            raise DataError("snapshot: expected readable Parquet files, got one that is not") from error
        present = tuple(path for name in SNAPSHOT_FILES if (path := directory / name).is_file())
        yield Snapshot(directory, connection, present)


def write_table(directory: Path, name: str, rows: pa.Table) -> None:
    """Write one table of a snapshot; its columns are those of `SCHEMAS`."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / f"{name}.parquet"
    path.touch(mode=0o600)
    pq.write_table(rows.select(SCHEMAS[name].names).cast(SCHEMAS[name]), path)


def table_digests(snapshot: Snapshot) -> dict[str, str]:
    """SHA-256 (hex) of what policies, screens and recipients are, whatever the order of their rows."""
    return {name: _digest_rows(snapshot.connection, name, columns) for name, columns in _DIGESTED.items()}


def snapshot_digest(snapshot: Snapshot) -> str:
    """SHA-256 (hex) over the names and the bytes of the snapshot's files."""
    whole = hashlib.sha256(SNAPSHOT_LABEL)
    for path in sorted(snapshot.files):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256")
        whole.update(path.name.encode() + b"\0" + content.digest())
    return whole.hexdigest()


@contextmanager
def _engine(spill: Path) -> Iterator[Any]:
    with duckdb.connect(
        config={
            "threads": THREADS,
            "memory_limit": MEMORY_LIMIT,
            "temp_directory": str(spill),
            "preserve_insertion_order": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
        }
    ) as connection:
        connection.execute("set enable_progress_bar = false")
        yield connection


def _file(directory: Path, name: str) -> Path | None:
    path = directory / f"{name}.parquet"
    if path.is_file():
        return path
    if name not in OPTIONAL:
        raise DataError(f"snapshot: expected the file {path.name}, got none")
    return None


def _check_schema(path: Path) -> None:
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path.name}: expected a readable Parquet file, got one that is not") from error
    expected = SCHEMAS[path.stem]
    if schema.names != expected.names:
        raise DataError(f"{path.name}: expected the columns {', '.join(expected.names)}; got others")
    for name in expected.names:
        if not _same_type(schema.field(name).type, expected.field(name).type):
            raise DataError(f"{path.name}, column {name}: expected {expected.field(name).type}, got another")


def _same_type(found: pa.DataType, expected: pa.DataType) -> bool:
    """Lists may name their items otherwise."""
    if pa.types.is_list(expected):
        return pa.types.is_list(found) and bool(found.value_type == expected.value_type)
    return bool(found == expected)


def _open_table(connection: Any, directory: Path, name: str) -> None:
    path = directory / f"{name}.parquet"
    if path.is_file():
        connection.read_parquet(str(path)).create_view(name)
        return
    connection.register(name, SCHEMAS[name].empty_table())


def _check_rows(connection: Any, name: str) -> None:
    columns = SCHEMAS[name].names
    conditions = {"a value in every column": " or ".join(f'"{column}" is null' for column in columns)}
    for column in columns:
        if pa.types.is_list(SCHEMAS[name].field(column).type):
            conditions[f"no empty places in {column}"] = (
                f"len(list_filter({column}, lambda x: x is null)) > 0"
            )
    for column in _TIMES.get(name, ()):
        conditions[f"{column} from 0 to 2^53"] = f'not "{column}" between 0 and {MAX_TIME}'
    conditions |= _BAD_ROWS.get(name, {})
    counts = ", ".join(f"count(*) filter ({bad})" for bad in conditions.values())
    [found] = connection.execute(f"select {counts} from {name}").fetchall()  # noqa: S608 (our own words)
    for expected, bad in zip(conditions, found, strict=True):
        if bad:
            raise DataError(f"{name}.parquet: expected {expected} in every row, got another value")
    if name in _UNIQUE and _has_duplicates(connection, name, _UNIQUE[name]):
        raise DataError(f"{name}.parquet: expected no two rows with the same {_UNIQUE[name]}")


def _has_duplicates(connection: Any, name: str, columns: str) -> bool:
    query = f"select 1 from {name} group by {columns} having count(*) > 1 limit 1"  # noqa: S608 (as above)
    return bool(connection.execute(query).fetchall())


def _digest_rows(connection: Any, name: str, columns: str) -> str:
    query = f"select to_json(struct_pack({_packed(columns)})) from {name} order by 1"  # noqa: S608 (as above)
    whole = hashlib.sha256(f"noren/v1/coverage-{name}\0".encode())
    for (line,) in connection.execute(query).fetchall():
        whole.update(line.encode() + b"\n")
    return whole.hexdigest()


def _packed(columns: str) -> str:
    return ", ".join(f"c{place} := {column}" for place, column in enumerate(columns.split(", ")))
