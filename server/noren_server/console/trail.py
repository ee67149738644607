"""What was done in the console: by whom, when, to what, and how it ended. Append-only, each record chained.

    console/trail.db

Promises: nothing is done before its record is on disk; how it ended is a second record that names the first,
so an act that was interrupted shows as such; a record holds no personal data of students, since what an act
was about is a word and an opaque name; changing, removing or inserting a record breaks the chain from there
on (`verify`), and a file cut short or made anew is found by whoever noted an earlier head.

Not promised: protection from who writes the file, has all of it made anew, and meets nobody who noted a head.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noren_core import canonical_json
from noren_core.errors import DataError, VerificationError
from noren_server.policies.evidence_file import EvidenceFile, append_only

DATABASE_NAME = "console/trail.db"
COMMAND_LINE = "command-line"
"""Who acts where a command was run on the platform's machine."""
BEGUN, DONE = "begun", "done"
PAGE_ROWS = 50

_START = bytes(32)
_WORD = re.compile(r"[A-Za-z0-9_./:{}-]{0,120}\Z", re.ASCII)
_COLUMNS = "seq, at, who, action, about, outcome, begun, hash"
_SCHEMA = f"""
CREATE TABLE trail (
    seq INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    action TEXT NOT NULL,
    about TEXT NOT NULL,
    outcome TEXT NOT NULL,
    begun INTEGER NOT NULL,
    hash BLOB NOT NULL
) STRICT;
CREATE INDEX trail_by_begun ON trail (begun);
{append_only("trail")}
"""


@dataclass(frozen=True, slots=True)
class Record:
    """One record.

    Attributes:
        seq: its number, from 0.
        at: Unix seconds.
        who: the name of who acted; empty: nobody was signed in.
        action: the page that was posted to, or the command.
        about: what it was done to: a kind, a colon, an opaque name; may be empty.
        outcome: `begun`, `done`, or the code of the error that it ended with.
        begun: the number of the record of its beginning; -1 if it has none, or is one.
        hash: over this record and the hash before.
    """

    seq: int
    at: int
    who: str
    action: str
    about: str
    outcome: str
    begun: int
    hash: bytes

    def follows(self, previous: bytes) -> bool:
        """Whether its hash is the one that it has after `previous`."""
        return self.hash == _hash(previous, self._body())

    def _body(self) -> dict[str, Any]:
        return {
            name: getattr(self, name) for name in ("seq", "at", "who", "action", "about", "outcome", "begun")
        }


@dataclass(frozen=True, slots=True)
class Head:
    """How many records there are, and the hash of the last."""

    count: int
    hash: bytes

    def to_text(self) -> str:
        """As it is noted: `count:hash`."""
        return f"{self.count}:{self.hash.hex()}"


def parse_head(text: str) -> Head:
    """The head that `to_text` gave; DataError for another text."""
    count, _, digest = text.strip().partition(":")
    if not re.fullmatch(r"[0-9]{1,12}", count) or not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise DataError("trail: expected a head as count:hash, got another text")
    return Head(int(count), bytes.fromhex(digest))


def parse_about(text: str) -> str:
    """The same text, if it can stand in a record; DataError for one with other characters, or a long one."""
    if not _WORD.match(text):
        raise DataError("trail: expected a word of plain characters, got others")
    return text


class Trail:
    """The trail of one platform."""

    def __init__(self, directory: Path, clock: Callable[[], int]) -> None:
        self._file = EvidenceFile(directory / DATABASE_NAME, schema=_SCHEMA, version=1)
        self._clock = clock

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def begin(self, who: str, action: str, about: str = "") -> int:
        """Record that an act begins, on disk when this returns; its number."""
        return self._append(who, action, about, BEGUN, -1)

    def end(self, who: str, action: str, about: str, outcome: str, *, begun: int = -1) -> None:
        """Record how an act ended; `begun` is what `begin` gave."""
        self._append(who, action, about, outcome, begun)

    def head(self) -> Head:
        """The newest head."""
        with self._file.reading() as database:
            row = database.execute("SELECT seq, hash FROM trail ORDER BY seq DESC LIMIT 1").fetchone()
        return Head(0, _START) if row is None else Head(row[0] + 1, row[1])

    def verify(self, seen: Head | None = None) -> Head:
        """Read all of it; the head.

        Args:
            seen: a head that was noted before.

        Raises:
            VerificationError: with code TRAIL_BROKEN, naming the first record that does not follow; or that
                the trail is not one that goes on from `seen`.
        """
        previous, count = _START, 0
        is_seen = seen is None or (seen.count == 0 and seen.hash == _START)
        for record in self._all():
            if record.seq != count or not record.follows(previous):
                raise VerificationError(
                    f"trail: expected record {count} to follow the one before, got another",
                    code="TRAIL_BROKEN",
                )
            previous, count = record.hash, count + 1
            is_seen = is_seen or Head(count, previous) == seen
        if not is_seen:
            raise VerificationError(
                "trail: expected one that goes on from the head that was noted, got another",
                code="TRAIL_BROKEN",
            )
        return Head(count, previous)

    def newest(self, *, before: int | None = None, who: str = "", action: str = "") -> tuple[Record, ...]:
        """Up to `PAGE_ROWS` acts, newest first: their ends, and beginnings that have none.

        Args:
            before: only records with a smaller number.
            who: only hers.
            action: only this action.
        """
        with self._file.reading() as database:
            found = database.execute(
                f"SELECT {_COLUMNS} FROM trail t WHERE (? IS NULL OR seq < ?) AND ? IN ('', who) "  # noqa: S608
                "AND ? IN ('', action) AND NOT (outcome = ? AND EXISTS "
                "(SELECT 1 FROM trail e WHERE e.begun = t.seq)) ORDER BY seq DESC LIMIT ?",
                (before, before, who, action, BEGUN, PAGE_ROWS),
            ).fetchall()
        return tuple(Record(*row) for row in found)

    def actions(self) -> tuple[str, ...]:
        """Every action that there is a record of."""
        with self._file.reading() as database:
            found = database.execute("SELECT DISTINCT action FROM trail ORDER BY action").fetchall()
        return tuple(row[0] for row in found)

    def _all(self) -> Iterator[Record]:
        """Every record, read in parts, so that others can write meanwhile."""
        first = 0
        while True:
            with self._file.reading() as database:
                rows = database.execute(
                    f"SELECT {_COLUMNS} FROM trail WHERE seq >= ? ORDER BY seq LIMIT 1000",  # noqa: S608
                    (first,),
                ).fetchall()
            if not rows:
                return
            yield from (Record(*row) for row in rows)
            first = rows[-1][0] + 1

    def _append(self, who: str, action: str, about: str, outcome: str, begun: int) -> int:
        if not all(_WORD.match(text) for text in (who, action, about, outcome)):
            raise DataError("trail: expected words of plain characters, got others")
        with self._file.writing() as database:
            row = database.execute("SELECT seq, hash FROM trail ORDER BY seq DESC LIMIT 1").fetchone()
            seq, previous = (0, _START) if row is None else (row[0] + 1, row[1])
            body = {
                "seq": seq,
                "at": self._clock(),
                "who": who,
                "action": action,
                "about": about,
                "outcome": outcome,
                "begun": begun,
            }
            database.execute(
                f"INSERT INTO trail ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 (our own names)
                (*body.values(), _hash(previous, body)),
            )
        return int(seq)


def _hash(previous: bytes, body: dict[str, Any]) -> bytes:
    return hashlib.sha256(b"noren/v1/console-trail\0" + previous + canonical_json.encode(body)).digest()
