"""A file that a page was given and that is not taken yet: private, bounded, and gone within an hour.

    imports/uploads/<handle>.file    the file, as it came
    imports/uploads/<handle>.json    what was chosen about it

Promises: a handle is 16 random bytes and says nothing; there are at most `MAX_PENDING`, of more the oldest
goes; whatever is older than `KEPT_SECONDS` is removed whenever anything is asked of this module.
"""

from __future__ import annotations

import os
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from noren_client.imports import import_journal
from noren_client.imports.column_mapping import ImportMapping, parse_mapping
from noren_client.imports.source_table import ReadingChoices
from noren_client.imports.text_encoding import parse_encoding
from noren_core import canonical_json
from noren_core.errors import DataError, LocalProtocolError, NorenError
from noren_local.private_file import write_private

MAX_UPLOAD_BYTES = 64 << 20
MAX_PENDING = 4
KEPT_SECONDS = 3600
_HANDLE = re.compile(r"[0-9a-f]{32}\Z")


@dataclass(frozen=True, slots=True)
class PendingUpload:
    """What is known of a file that waits.

    Attributes:
        handle: its random name.
        name: what the sender called it.
        at: when it came, Unix seconds.
        choices: how it is read.
        preset: the preset that was chosen, or nothing.
        mapping: what people said about its columns, or nothing yet.
    """

    handle: str
    name: str = field(repr=False)
    at: int
    choices: ReadingChoices = field(default_factory=ReadingChoices)
    preset: str = ""
    mapping: ImportMapping | None = None


def begin(company_dir: Path, *, name: str, content: bytes, now: int) -> PendingUpload:
    """Keep a file.

    Raises:
        DataError: if it is empty or longer than `MAX_UPLOAD_BYTES`.
    """
    if not 0 < len(content) <= MAX_UPLOAD_BYTES:
        raise DataError(f"upload: expected 1 to {MAX_UPLOAD_BYTES} bytes, got {len(content)}")
    tidy(company_dir, now=now)
    waiting = sorted(_place(company_dir).glob("*.file"), key=lambda path: path.stat().st_mtime)
    for path in waiting[: max(0, len(waiting) - MAX_PENDING + 1)]:
        discard(company_dir, path.stem)
    pending = PendingUpload(secrets.token_hex(16), name[:200] or "upload", now)
    write_private(_file(company_dir, pending.handle), content)
    os.utime(_file(company_dir, pending.handle), (now, now))
    keep(company_dir, pending)
    return pending


def find(company_dir: Path, handle: str, *, now: int) -> tuple[PendingUpload, bytes]:
    """What is known of a file, and the file.

    Raises:
        LocalProtocolError: with code UPLOAD_GONE, if there is none of this handle any more.
    """
    tidy(company_dir, now=now)
    gone = LocalProtocolError(
        "upload: expected a file that waits, got none (it is kept for an hour); choose it again",
        code="UPLOAD_GONE",
    )
    if not _HANDLE.match(handle):
        raise gone
    try:
        body = canonical_json.parse_object(_about(company_dir, handle).read_bytes())
        content = _file(company_dir, handle).read_bytes()
        mapping = parse_mapping(body["mapping"].encode()) if body["mapping"] else None
        choices = ReadingChoices(parse_encoding(body["encoding"]), body["sheet"])
        return PendingUpload(handle, body["name"], body["at"], choices, body["preset"], mapping), content
    except (OSError, NorenError, KeyError, TypeError, AttributeError):
        raise gone from None


def keep(company_dir: Path, pending: PendingUpload) -> None:
    """Remember what was chosen about a file."""
    body = {
        "name": pending.name,
        "at": pending.at,
        "encoding": pending.choices.encoding or "",
        "sheet": pending.choices.sheet,
        "preset": pending.preset,
        "mapping": "" if pending.mapping is None else pending.mapping.to_toml().decode(),
    }
    write_private(_about(company_dir, pending.handle), canonical_json.encode(body))


def discard(company_dir: Path, handle: str) -> None:
    """Remove a file; a second call changes nothing."""
    if _HANDLE.match(handle):
        for path in (_file(company_dir, handle), _about(company_dir, handle)):
            path.unlink(missing_ok=True)


def tidy(company_dir: Path, *, now: int) -> None:
    """Remove what came more than an hour ago, and halves that a crash left."""
    for path in _place(company_dir).glob("*.file"):
        if abs(now - path.stat().st_mtime) > KEPT_SECONDS:
            discard(company_dir, path.stem)
    for path in _place(company_dir).glob("*.json"):
        if not path.with_suffix(".file").exists():
            path.unlink(missing_ok=True)


def _place(company_dir: Path) -> Path:
    return company_dir / import_journal.DIRECTORY / import_journal.UPLOADS


def _file(company_dir: Path, handle: str) -> Path:
    return _place(company_dir) / f"{handle}.file"


def _about(company_dir: Path, handle: str) -> Path:
    return _place(company_dir) / f"{handle}.json"
