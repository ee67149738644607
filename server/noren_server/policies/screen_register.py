"""The register of screens: which text stood where, from when until when that was looked at; `screens.db`.

docs/rights/policies-and-screens.md §4. Promises: a text that nobody looked at carries no consent; a screen
whose text changes by one character is stale from the moment at which that is seen; a gap in looking is a gap
in what is verified, and is not closed by looking again. The text itself is kept, as evidence of what was
shown.

A consent event with a text that is not here raises an alarm, which stands until the text is found and judged.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Self

from noren_core import canonical_json
from noren_core.errors import LocalProtocolError
from noren_core.rights.clauses import Clause
from noren_core.rights.notices.page_text import normalise_text
from noren_core.rights.notices.screen import (
    ExpectedScreen,
    PageReading,
    ScreenFinding,
    ScreenPlace,
    ScreenState,
    ScreenVersion,
    clauses_present,
    findings,
    parse_place,
)
from noren_core.rights.purposes import Purpose
from noren_server.policies.evidence_file import EvidenceFile

FILE_NAME = "screens.db"
VALID_SECONDS = 24 * 3600
"""How long a screen counts as verified after it was last looked at, unless the operator says otherwise."""

_VERSION = 1
_SCHEMA = """
CREATE TABLE texts (sha256 TEXT PRIMARY KEY, text TEXT NOT NULL) STRICT;
CREATE TABLE screens (
    seq INTEGER PRIMARY KEY,
    place TEXT NOT NULL,
    policy TEXT NOT NULL,
    sha256 TEXT NOT NULL REFERENCES texts (sha256),
    clauses TEXT NOT NULL,
    purposes TEXT NOT NULL,
    findings TEXT NOT NULL,
    state TEXT NOT NULL,
    seen_from INTEGER NOT NULL,
    seen_until INTEGER NOT NULL,
    verified_from INTEGER NOT NULL,
    verified_until INTEGER NOT NULL
) STRICT;
CREATE INDEX screens_by_sha256 ON screens (sha256);
CREATE INDEX screens_by_place ON screens (place);
CREATE TABLE unknown (sha256 TEXT PRIMARY KEY, first_at INTEGER NOT NULL) STRICT;
CREATE TRIGGER screens_no_delete BEFORE DELETE ON screens
BEGIN SELECT RAISE(ABORT, 'screens are evidence'); END;
CREATE TRIGGER texts_no_delete BEFORE DELETE ON texts
BEGIN SELECT RAISE(ABORT, 'texts are evidence'); END;
CREATE TRIGGER texts_no_update BEFORE UPDATE ON texts
BEGIN SELECT RAISE(ABORT, 'texts are evidence'); END;
"""
_STANDING = (ScreenState.DISCOVERED, ScreenState.VERIFIED, ScreenState.REJECTED)


class ScreenRegister:
    """One platform's screens."""

    def __init__(self, file: EvidenceFile) -> None:
        self._file = file

    @classmethod
    def open(cls, directory: Path) -> Self:
        """The register in a platform's directory; an empty one if there is none."""
        return cls(EvidenceFile(directory / FILE_NAME, schema=_SCHEMA, version=_VERSION))

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def observe(
        self,
        place: ScreenPlace,
        reading: PageReading,
        expected: ExpectedScreen,
        *,
        at: int,
        valid_seconds: int = VALID_SECONDS,
    ) -> ScreenVersion:
        """Write down what was seen at a place.

        1. Judge it.
        2. Whatever else stood there until now is stale from now on.
        3. A text that stands there verified, without a gap, and without a finding now, goes on being so.
        4. Any other text is DISCOVERED, or REJECTED if it has findings; `verify` is a step of its own.

        Returns:
            the version as it is after that.
        """
        clauses, found = clauses_present(reading, expected), findings(reading, expected)  # 1
        with self._file.writing() as db:
            db.execute(
                "INSERT INTO texts VALUES (?, ?) ON CONFLICT DO NOTHING",
                (reading.sha256, normalise_text(reading.text)),
            )
            standing = _standing(db, place)
            if standing is not None:
                if _goes_on(standing, reading.sha256, found, at):  # 3
                    _look_again(db, standing, at=at, valid_seconds=valid_seconds)
                    return _one(db, standing["seq"])
                _end(db, standing, at, ScreenState.STALE)  # 2
            state = ScreenState.REJECTED if found else ScreenState.DISCOVERED  # 4
            version = ScreenVersion(
                place, reading.sha256, clauses, frozenset(expected.purposes), found, state
            )
            return _one(db, _add(db, version, at))

    def verify(
        self, sha256s: Collection[str], *, at: int, valid_seconds: int = VALID_SECONDS
    ) -> tuple[ScreenVersion, ...]:
        """Make the DISCOVERED screens with these texts VERIFIED from now on; what was verified.

        Raises:
            LocalProtocolError: with code SCREEN_UNVERIFIED, if no screen has one of these texts;
                SCREEN_STALE, if
                one was not looked at within `valid_seconds`; with the code of its finding, if one with such a
                text is nowhere but where it was rejected. Nothing is verified then.
        """
        with self._file.writing() as db:
            waiting: list[sqlite3.Row] = []
            for sha256 in sorted(set(sha256s)):
                waiting += _waiting(_rows(db, "sha256 = ?", sha256), at - valid_seconds)
            for row in waiting:
                db.execute(
                    "UPDATE screens SET state = ?, verified_from = ?, verified_until = ? WHERE seq = ?",
                    (ScreenState.VERIFIED.value, at, row["seen_until"] + valid_seconds, row["seq"]),
                )
            return tuple(_one(db, row["seq"]) for row in waiting)

    def retire(self, policy: str, *, at: int) -> None:
        """The screens of a policy are shown no longer; what was verified until now stays evidence."""
        with self._file.writing() as db:
            for row in _rows(db, "policy = ?", policy):
                _end(db, row, at, ScreenState.RETIRED)

    def with_text(self, sha256: str) -> tuple[ScreenVersion, ...]:
        """Every version with this text, at any place and time."""
        with self._file.reading() as db:
            return tuple(_version(row) for row in _rows(db, "sha256 = ?", sha256))

    def at_place(self, place: ScreenPlace) -> tuple[ScreenVersion, ...]:
        """Every version that stood at a place, oldest first."""
        with self._file.reading() as db:
            return tuple(map(_version, _rows(db, "place = ?", _key(place))))

    def versions(self, policy: str | None = None) -> tuple[ScreenVersion, ...]:
        """Every version, of one policy if one is named, oldest first."""
        with self._file.reading() as db:
            rows = _rows(db, "TRUE") if policy is None else _rows(db, "policy = ?", policy)
        return tuple(map(_version, rows))

    def standing(self, policy: str | None = None) -> tuple[ScreenVersion, ...]:
        """What stands somewhere now, verified or not, of one policy if one is named."""
        return tuple(version for version in self.versions(policy) if version.state in _STANDING)

    def text(self, sha256: str) -> str | None:
        """The normalised text with this hash, if it was ever seen."""
        with self._file.reading() as db:
            row = db.execute("SELECT text FROM texts WHERE sha256 = ?", (sha256,)).fetchone()
        return None if row is None else str(row[0])

    def note_shown(self, sha256: str, *, at: int) -> bool:
        """Whether a text that an event says was shown is registered; an alarm is kept if it is not.

        Nothing about the person or the number of events is written down.
        """
        with self._file.writing() as db:
            if _rows(db, "sha256 = ?", sha256):
                return True
            db.execute("INSERT INTO unknown VALUES (?, ?) ON CONFLICT DO NOTHING", (sha256, at))
            return False

    def unknown_texts(self) -> tuple[str, ...]:
        """The hashes of texts that events said were shown and nobody has looked at yet, sorted."""
        query = "SELECT sha256 FROM unknown WHERE sha256 NOT IN (SELECT sha256 FROM screens) ORDER BY sha256"
        with self._file.reading() as db:
            return tuple(sha256 for (sha256,) in db.execute(query))

    def digest(self, policy: str, *, at: int) -> bytes:
        """SHA-256 over places and texts of the screens of a policy that were verified at a time.

        It is the same as long as the same texts stand at the same places, however often they are looked at.
        """
        verified = {
            (_key(version.place), version.sha256)
            for version in self.versions(policy)
            if version.is_verified_at(at)
        }
        return hashlib.sha256(canonical_json.encode([list(item) for item in sorted(verified)])).digest()


def _key(place: ScreenPlace) -> str:
    return canonical_json.encode(place.to_body()).decode()


def _rows(db: sqlite3.Connection, condition: str, *values: str) -> list[sqlite3.Row]:
    cursor = db.cursor()
    cursor.row_factory = sqlite3.Row
    return cursor.execute(f"SELECT * FROM screens WHERE {condition} ORDER BY seq", values).fetchall()  # noqa: S608


def _standing(db: sqlite3.Connection, place: ScreenPlace) -> sqlite3.Row | None:
    """What was seen last at a place, unless that ended; one text stands at a place at a time."""
    rows = _rows(db, "place = ?", _key(place))
    return rows[-1] if rows and rows[-1]["state"] in _STANDING else None


def _goes_on(row: sqlite3.Row, sha256: str, found: Collection[ScreenFinding], at: int) -> bool:
    """Whether what stands there is what was seen now, judged alike, and without a gap if it was verified."""
    if row["sha256"] != sha256 or row["findings"] != _words(found):
        return False
    return row["state"] != ScreenState.VERIFIED or at <= int(row["verified_until"])


def _look_again(db: sqlite3.Connection, row: sqlite3.Row, *, at: int, valid_seconds: int) -> None:
    until = max(row["verified_until"], at + valid_seconds) if row["state"] == ScreenState.VERIFIED else 0
    db.execute("UPDATE screens SET seen_until = ?, verified_until = ? WHERE seq = ?", (at, until, row["seq"]))


def _end(db: sqlite3.Connection, row: sqlite3.Row, at: int, state: ScreenState) -> None:
    """End what was discovered or verified; it was as it was until now. What was rejected stays that."""
    if row["state"] in (ScreenState.DISCOVERED, ScreenState.VERIFIED):
        db.execute(
            "UPDATE screens SET state = ?, verified_until = min(verified_until, ?) WHERE seq = ?",
            (state.value, at, row["seq"]),
        )


def _waiting(rows: Sequence[sqlite3.Row], oldest: int) -> list[sqlite3.Row]:
    """Those of one text's screens that wait to be verified; raises if there can be none."""
    if not rows:
        raise LocalProtocolError(
            "screen: expected a text that was looked at, got another", code="SCREEN_UNVERIFIED"
        )
    waiting = [row for row in rows if row["state"] == ScreenState.DISCOVERED]
    if any(row["seen_until"] < oldest for row in waiting):
        raise LocalProtocolError("screen: expected one that was looked at lately", code="SCREEN_STALE")
    newest = rows[-1]
    if newest["state"] == ScreenState.REJECTED and not waiting:
        [code, *_] = json.loads(newest["findings"])
        raise LocalProtocolError("screen: expected one without findings, got a rejected one", code=code)
    return waiting


def _one(db: sqlite3.Connection, seq: int) -> ScreenVersion:
    return _version(_rows(db, "seq = ?", str(seq))[0])


def _add(db: sqlite3.Connection, version: ScreenVersion, at: int) -> int:
    values = (
        _key(version.place),
        version.place.policy,
        version.sha256,
        _words(version.clauses),
        _words(version.purposes),
        _words(version.findings),
        version.state.value,
        at,
        at,
    )
    query = (
        "INSERT INTO screens (place, policy, sha256, clauses, purposes, findings, state, seen_from,"
        " seen_until, verified_from, verified_until) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0)"
    )
    return int(db.execute(query, values).lastrowid or 0)


def _version(row: sqlite3.Row) -> ScreenVersion:
    return ScreenVersion(
        place=parse_place(canonical_json.parse_object(row["place"].encode())),
        sha256=row["sha256"],
        clauses=frozenset(map(Clause, json.loads(row["clauses"]))),
        purposes=frozenset(map(Purpose, json.loads(row["purposes"]))),
        findings=tuple(map(ScreenFinding, json.loads(row["findings"]))),
        state=ScreenState(row["state"]),
        verified_from=row["verified_from"],
        verified_until=row["verified_until"],
    )


def _words(words: Iterable[str]) -> str:
    return json.dumps(sorted(words))
