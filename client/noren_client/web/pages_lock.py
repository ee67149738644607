"""One process at a time serves the pages of a company's directory: `run/pages.lock`."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from noren_core.errors import LocalProtocolError

LOCK_FILE = "pages.lock"


@contextmanager
def held_alone(company_dir: Path) -> Iterator[None]:
    """Keep everybody else from serving this directory; LocalProtocolError (DIRECTORY_IN_USE) if one does."""
    directory = company_dir / "run"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LocalProtocolError(
                "open: expected nobody to serve this directory's pages, somebody does: press Enter there",
                code="DIRECTORY_IN_USE",
            ) from error
        yield
    finally:
        os.close(descriptor)
