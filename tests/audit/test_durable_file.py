"""Files that the auditor's commands write: whole or as before, and never in place of a link or a pipe."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from noren_audit.witness.durable_file import write_result
from noren_core.errors import ConfigurationError


def test_a_result_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Ctrl-C in the middle leaves the file of before, and nothing else beside it."""
    path = tmp_path / "verdict.json"
    write_result(path, b"first")

    def interrupted(_descriptor: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as terminal:
        terminal.setattr(os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_result(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_result_goes_through_links_and_into_pipes(tmp_path: Path) -> None:
    """/dev/stdout is a link: it must be written to and not be replaced."""
    target, link, pipe = (tmp_path / name for name in ("target", "link", "pipe"))
    target.write_bytes(b"before")
    link.symlink_to(target)
    write_result(link, b"now")
    assert (link.is_symlink(), target.read_bytes()) == (True, b"now")
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_result(pipe, b"through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)


@pytest.mark.parametrize("place", ["no/such/place", ""])
def test_a_place_that_takes_no_file_is_a_configuration_error(tmp_path: Path, place: str) -> None:
    """A directory that is not there, or the directory itself; none is made."""
    with pytest.raises(ConfigurationError, match="expected a place for a file"):
        write_result(tmp_path / place, b"x")
    assert list(tmp_path.iterdir()) == []
