"""The search finds a pattern wherever it stands, and says what it cannot read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noren_client.rights import scan
from noren_client.rights.scan import Canaries, Search

SECRET = bytes(range(100, 124))


@given(
    before=st.binary(max_size=40),
    pattern=st.binary(min_size=16, max_size=40),
    after=st.binary(max_size=40),
    form=st.sampled_from([bytes, lambda v: v.hex().encode(), lambda v: v.hex().upper().encode()]),
)
def test_a_pattern_is_found_at_any_place_and_in_any_spelling(
    before: bytes, pattern: bytes, after: bytes, form: object
) -> None:
    """As raw bytes, and in hexadecimal digits of either case."""
    search = Search(Canaries.of([pattern, b"\xff" * 20]))
    assert search.is_in(before + form(pattern) + after)  # type: ignore[operator]


@given(data=st.binary(max_size=200), patterns=st.lists(st.binary(min_size=16, max_size=20), max_size=5))
def test_it_agrees_with_looking_for_each_pattern(data: bytes, patterns: list[bytes]) -> None:
    """The fast search gives what `in` gives, also where patterns begin alike."""
    alike = [*patterns, *(pattern[:8] + b"\0" * 12 for pattern in patterns)]
    canaries = Canaries.of(alike)
    expected = any(pattern in data for pattern in canaries.patterns)
    assert Search(canaries).is_in(data) is expected


@pytest.mark.parametrize("offset", range(-30, 2))
def test_it_is_found_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offset: int) -> None:
    """Wherever the end of a block cuts it."""
    monkeypatch.setattr(scan, "BLOCK_BYTES", 64)
    (tmp_path / "file").write_bytes(b"." * (128 + offset) + SECRET + b"." * 70)
    assert Search(Canaries.of([SECRET])).is_in_file(tmp_path / "file")


def test_what_is_short_is_not_looked_for() -> None:
    """A pattern of a few bytes would be found by chance; nothing to look for finds nothing."""
    assert Canaries.of([b"short", b""]).patterns == frozenset()
    assert not Search(Canaries.of([])).is_in(b"anything")
    assert repr(SECRET) not in repr(Canaries.of([SECRET]))


def searched(*places: Path, kept: tuple[str, ...] = (), since: float = 0.0) -> scan.ScanResult:
    return scan.scan(places, [("sealed", b"")], Canaries.of([SECRET]), kept=kept, changed_since=since)


def test_files_names_and_opened_secrets_are_searched(tmp_path: Path) -> None:
    """Whatever holds it is told by place; what is kept on purpose is passed over."""
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "file").write_bytes(b"a" + SECRET)
    (tmp_path / SECRET.hex()).touch()
    (tmp_path / "kept-1.bin").write_bytes(SECRET)
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "er" / "file")
    found = searched(tmp_path, kept=("kept-*.bin",)).found
    assert set(found) == {str(tmp_path / "deep" / "er" / "file"), str(tmp_path / SECRET.hex())}
    opened = scan.scan(
        [tmp_path / "none"], [("oprf", SECRET)], Canaries.of([SECRET]), kept=(), changed_since=0
    )
    assert opened.found == ("oprf",)


def test_other_places_are_searched_for_what_can_hold_it(tmp_path: Path) -> None:
    """A file there that was last changed before the campaign began is passed over; one in our own is not."""
    ours, other = tmp_path / "ours", tmp_path / "other"
    for place in (ours, other):
        place.mkdir()
        (place / "file").write_bytes(SECRET)
    changed = (other / "file").stat().st_ctime
    assert searched(ours, other, since=changed + 100).found == (str(ours / "file"),)
    assert len(searched(ours, other, since=changed - 100).found) == 2


def test_a_file_that_cannot_be_read_is_not_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named as unreadable, and the search is not clean."""
    (tmp_path / "file").write_bytes(b"")

    def refuse(*_: object) -> None:
        raise PermissionError("no")

    monkeypatch.setattr(Search, "is_in_file", refuse)
    result = searched(tmp_path)
    assert result.unreadable == (str(tmp_path / "file"),)
    assert not result.is_clean
    assert os.geteuid() == (tmp_path / "file").stat().st_uid
