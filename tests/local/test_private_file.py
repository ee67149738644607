"""Files that only our account can read, on disk and in memory."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from noren_core.errors import ConfigurationError
from noren_local.private_file import in_memory, write_private, write_result


@pytest.fixture(autouse=True)
def _careless_umask() -> Iterator[None]:
    """Others may read what a program makes, unless it says otherwise."""
    former = os.umask(0)
    yield
    os.umask(former)


def test_what_is_written_is_for_us_alone(tmp_path: Path) -> None:
    """In a directory of our own that is made for it; nothing else is left there."""
    path = tmp_path / "keys" / "a.key"
    write_private(path, b"first")
    write_private(path, b"second")
    assert path.read_bytes() == b"second"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_what_the_disk_does_not_take_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old file stays, and no half of the new one under another name."""
    path = tmp_path / "a.key"
    write_private(path, b"first")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="full"):
        write_private(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_others_can_read_is_replaced(tmp_path: Path) -> None:
    """Whoever had it open goes on reading the old content."""
    path = tmp_path / "a.key"
    path.write_bytes(b"public")
    path.chmod(0o644)
    with path.open("rb") as theirs:
        write_private(path, b"secret")
        assert theirs.read() == b"public"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_crash_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the new one is whole and on disk, its name is not ours."""
    path = tmp_path / "a.key"
    write_private(path, b"old")

    def crash(_: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", crash)
        with pytest.raises(KeyboardInterrupt):
            write_private(path, b"new")
    assert path.read_bytes() == b"old"


def test_a_file_in_memory_is_read_by_its_path_and_gone_at_the_end() -> None:
    """By our own account alone, as often as it is opened."""
    with in_memory(b"secret") as descriptor:
        path = Path(f"/proc/{os.getpid()}/fd/{descriptor}")
        assert (path.read_bytes(), path.read_bytes()) == (b"secret", b"secret")
        assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(descriptor)


def test_a_result_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Ctrl-C in the middle leaves the file of before, and nothing else beside it."""
    path = tmp_path / "trust.toml"
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
