"""The trail: what stands in it, and that nobody changes it unnoticed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from operators_console import Clock

from noren_core.errors import DataError, VerificationError
from noren_server.console.trail import BEGUN, DATABASE_NAME, DONE, PAGE_ROWS, Head, Trail, parse_head


@pytest.fixture
def trail(tmp_path: Path, clock: Clock) -> Iterator[Trail]:
    with closing(Trail(tmp_path, clock)) as made:
        yield made


def act(trail: Trail, who: str = "yuki", action: str = "/companies/revoke", outcome: str = DONE) -> None:
    trail.end(who, action, "company:akane", outcome, begun=trail.begin(who, action))


def changed(directory: Path, statement: str) -> None:
    """What somebody does who writes the file: without triggers."""
    with closing(sqlite3.connect(directory / DATABASE_NAME)) as database:
        for name in ("update", "delete", "gap"):
            database.execute(f"DROP TRIGGER trail_no_{name}")
        database.execute(statement)
        database.commit()


def test_an_act_is_shown_once_with_how_it_ended(trail: Trail, clock: Clock) -> None:
    """And one that was interrupted as such; newest first."""
    act(trail)
    trail.begin("sora", "/people/add")
    clock.now += 60
    act(trail, outcome="ROLE_FORBIDDEN")
    found = [(row.who, row.action, row.outcome, row.at) for row in trail.newest()]
    assert found == [
        ("yuki", "/companies/revoke", "ROLE_FORBIDDEN", clock.now),
        ("sora", "/people/add", BEGUN, clock.now - 60),
        ("yuki", "/companies/revoke", DONE, clock.now - 60),
    ]


def test_the_trail_is_read_in_pages_and_filtered(trail: Trail) -> None:
    """By person and by action; every act stands on one page."""
    for number in range(PAGE_ROWS + 10):
        act(trail, who="yuki" if number % 2 else "sora", action=f"/{number % 3}")
    first = trail.newest()
    second = trail.newest(before=first[-1].seq)
    assert (len(first), len(second)) == (PAGE_ROWS, 10)
    assert len({row.seq for row in (*first, *second)}) == PAGE_ROWS + 10
    assert {row.who for row in trail.newest(who="yuki")} == {"yuki"}
    assert {row.action for row in trail.newest(action="/1")} == {"/1"}
    assert trail.actions() == ("/0", "/1", "/2")


def test_an_untouched_trail_verifies(trail: Trail, tmp_path: Path, clock: Clock) -> None:
    """Also one that goes on from a head that was noted, by another program."""
    assert trail.verify() == trail.head() == Head(0, bytes(32))
    act(trail)
    noted = parse_head(trail.head().to_text())
    with closing(Trail(tmp_path, clock)) as other:
        act(other)
        assert other.verify(noted) == trail.verify(noted) == other.head()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE trail SET who = 'sora' WHERE seq = 1",
        "UPDATE trail SET at = at + 1 WHERE seq = 2",
        "UPDATE trail SET outcome = 'done' WHERE seq = 3",
        "DELETE FROM trail WHERE seq = 2",
        "INSERT INTO trail SELECT seq + 9, at, who, action, about, outcome, begun, hash FROM trail LIMIT 1",
        "UPDATE trail SET hash = zeroblob(32) WHERE seq = 5",
    ],
)
def test_a_changed_trail_does_not_verify(trail: Trail, tmp_path: Path, statement: str) -> None:
    """Whatever was changed, taken out or put in."""
    for _ in range(3):
        act(trail, outcome="ROLE_FORBIDDEN")
    changed(tmp_path, statement)
    with pytest.raises(VerificationError) as caught:
        trail.verify()
    assert caught.value.code == "TRAIL_BROKEN"


def test_a_trail_that_was_cut_short_is_found_by_a_noted_head(trail: Trail, tmp_path: Path) -> None:
    """The chain alone does not show it."""
    act(trail)
    act(trail)
    noted = trail.head()
    changed(tmp_path, "DELETE FROM trail WHERE seq >= 2")
    trail.verify()
    with pytest.raises(VerificationError, match="goes on from the head"):
        trail.verify(noted)


@pytest.mark.parametrize(
    "statement", ["UPDATE trail SET who = 'sora'", "DELETE FROM trail", "INSERT OR REPLACE INTO trail "]
)
def test_our_own_code_cannot_change_it(trail: Trail, statement: str) -> None:
    """Triggers refuse."""
    act(trail)
    if statement.startswith("INSERT"):
        statement += "SELECT 0, 0, '', '', '', '', 0, zeroblob(32)"
    with pytest.raises(sqlite3.IntegrityError), trail._file.writing() as database:
        database.execute(statement)


@pytest.mark.parametrize("about", ["person:山田", "a b", "x" * 121, "line\nbreak"])
def test_free_text_does_not_come_in(trail: Trail, about: str) -> None:
    """Names of people would; what an act is about is a word and an opaque name."""
    with pytest.raises(DataError):
        trail.end("yuki", "/x", about, DONE)
    assert trail.head().count == 0


@pytest.mark.parametrize("text", ["", "1", "1:ab", "x:" + "0" * 64, f"1:{'G' * 64}"])
def test_what_is_no_head_is_refused(text: str) -> None:
    """Whole or not at all."""
    with pytest.raises(DataError):
        parse_head(text)
