"""A directory that was handed over does nothing any more: `handed-over.json`, and the refusal to go on.

Whoever loads the configuration asks here first, so that no command, worker or page of the old machine signs,
spends or shows anything after its successor could.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from noren_core import canonical_json
from noren_core.errors import LocalProtocolError, NorenError
from noren_local.private_file import sync_directory, write_private

FILE_NAME = "handed-over.json"
_FIELDS = {"format", "hand_over", "company", "handed_over_at"}
_FORMAT = "noren/v1/handed-over"


@dataclass(frozen=True, slots=True)
class HandedOver:
    """What is known of a hand-over where it began.

    Attributes:
        hand_over: its random handle, 32 hex digits; the archive has the same.
        handed_over_at: Unix seconds.
    """

    hand_over: str
    company: str
    handed_over_at: int


def verify_active(company_dir: Path) -> None:
    """Raise LocalProtocolError (HANDED_OVER) if this directory was handed over; nothing here opens it."""
    if (company_dir / FILE_NAME).exists():
        raise LocalProtocolError(
            "expected a directory in use, this one was handed over to another machine", code="HANDED_OVER"
        )


def read(company_dir: Path) -> HandedOver | None:
    """The hand-over that ended this directory's use, None if it is in use.

    Raises:
        LocalProtocolError: if the file is damaged: the directory stays inert.
    """
    path = company_dir / FILE_NAME
    if not path.exists():
        return None
    try:
        body = canonical_json.parse_object(path.read_bytes())
        if body.keys() != _FIELDS or body["format"] != _FORMAT:
            raise LocalProtocolError(f"{FILE_NAME}: expected the fields of a hand-over, got others")
        return HandedOver(str(body["hand_over"]), str(body["company"]), int(body["handed_over_at"]))
    except (OSError, NorenError, TypeError, ValueError) as error:
        raise LocalProtocolError(f"{FILE_NAME}: expected what a hand-over wrote, got another file") from error


def write(company_dir: Path, said: HandedOver) -> None:
    """From here on the directory is inert; on disk when this returns."""
    body = {
        "format": _FORMAT,
        "hand_over": said.hand_over,
        "company": said.company,
        "handed_over_at": said.handed_over_at,
    }
    write_private(company_dir / FILE_NAME, canonical_json.encode(body))


def remove(company_dir: Path) -> None:
    """The directory is in use again."""
    (company_dir / FILE_NAME).unlink()
    sync_directory(company_dir)
