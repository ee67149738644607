"""Who looked at a score, and who was refused: an append-only file, each line with the hash of the one before.

    access.jsonl    one line per access, oldest first (0600)

Promises: a line is on disk before what it is about is shown; a line that was changed, left out or put in is
noticed at the next access, and then nothing is shown (ACCESS_LOG_DAMAGED). A line names the staff and a
random record, never an applicant and never a band. Not noticed: that the newest lines were cut off by whoever
can write this machine's files.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from noren_core import canonical_json
from noren_core.errors import DataError, LocalProtocolError, NorenError, VerificationError
from noren_core.rights.gate.gate_file import ACCESS_SHOWN, Access
from noren_core.rights.signed_statement import Fields
from noren_local.private_file import sync_directory

FILE_NAME = "access.jsonl"
MAX_BYTES = 256 << 20
RECORDED = "RECORDED"
"""The outcome of an access that wrote something down and showed nothing."""

_GENESIS = hashlib.sha256(b"noren/v1/access-log").hexdigest()


@dataclass(frozen=True, slots=True)
class LoggedAccess:
    """An access, and the campaign and season that it was about."""

    campaign: str
    season: str
    access: Access


def append(
    company_dir: Path, entry: LoggedAccess, *, verify: Callable[[Sequence[LoggedAccess]], None] | None = None
) -> None:
    """Add a line; on disk when this returns.

    Args:
        company_dir: the company's directory.
        entry: what it says.
        verify: raises unless the line may follow on the lines that are there. No other line can come between,
            so that many who ask at once get no more than one who asks many times.

    Raises:
        VerificationError: with code ACCESS_LOG_DAMAGED, if the file is not the chain that was written.
        LocalProtocolError: with code STORAGE_FAILED, if the disk did not take it.
    """
    with _locked(company_dir) as descriptor:
        lines, data = _read(descriptor)
        if verify is not None:
            verify(lines)
        body = {
            "campaign": entry.campaign,
            "season": entry.season,
            "sequence": len(lines),
            "previous": _head(data),
            **entry.access.to_body(),
        }
        line = canonical_json.encode(body) + b"\n"
        try:
            if os.write(descriptor, line) != len(line):
                raise OSError("a part of the line was written")  # noqa: TRY301 (as when nothing was)
            os.fsync(descriptor)
        except OSError as error:
            os.ftruncate(descriptor, len(data))
            raise LocalProtocolError(
                "access log: expected the disk to take a line, it did not; nothing is shown",
                code="STORAGE_FAILED",
            ) from error
    if not lines:
        sync_directory(company_dir)


def read(company_dir: Path) -> tuple[LoggedAccess, ...]:
    """Every access, oldest first; VerificationError as `append`."""
    with _locked(company_dir) as descriptor:
        return _read(descriptor)[0]


def of_record(company_dir: Path, handle: bytes) -> tuple[Access, ...]:
    """Who looked at one record, oldest first; for the person whom it is about."""
    return tuple(item.access for item in read(company_dir) if item.access.handle == handle)


def first_shown_at(entries: tuple[LoggedAccess, ...], handle: bytes) -> int:
    """When a record was first shown, Unix seconds; 0 if it never was."""
    wanted = (handle, ACCESS_SHOWN)
    times = (item.access.at for item in entries if (item.access.handle, item.access.outcome) == wanted)
    return min(times, default=0)


@contextmanager
def _locked(company_dir: Path) -> Iterator[int]:
    descriptor = os.open(company_dir / FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> tuple[tuple[LoggedAccess, ...], bytes]:
    """Every line and the bytes of all; a torn last line, never acknowledged, is cut off."""
    data = bytearray()
    while block := os.pread(descriptor, 1 << 20, len(data)):
        data += block
        if len(data) > MAX_BYTES:
            raise _damaged()
    whole = bytes(data[: data.rfind(b"\n") + 1])
    if len(whole) != len(data):
        os.ftruncate(descriptor, len(whole))
    previous, found = _GENESIS, []
    for sequence, line in enumerate(whole.split(b"\n")[:-1]):
        try:
            found.append(_parsed(line, sequence=sequence, previous=previous))
        except NorenError as error:
            raise _damaged() from error
        previous = hashlib.sha256(line).hexdigest()
    return tuple(found), whole


def _parsed(line: bytes, *, sequence: int, previous: str) -> LoggedAccess:
    fields = Fields(canonical_json.parse_object(line), "access log")
    fields.constant("previous", previous)
    if fields.integer("sequence", 0, canonical_json.MAX_INTEGER) != sequence:
        raise DataError("access log: expected the next line, got another")
    entry = LoggedAccess(fields.name("campaign"), fields.name("season"), Access.take(fields))
    fields.finish()
    return entry


def _head(data: bytes) -> str:
    """The hash of the newest line."""
    lines = data.split(b"\n")[:-1]
    return hashlib.sha256(lines[-1]).hexdigest() if lines else _GENESIS


def _damaged() -> VerificationError:
    return VerificationError(
        "access log: expected the chain of lines that was written, got another file",
        code="ACCESS_LOG_DAMAGED",
    )
