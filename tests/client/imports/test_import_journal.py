"""Imports into the applicants' file, and back."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from noren_client.applicants import Applicant, Decision, read_applicants
from noren_client.imports import import_journal
from noren_client.imports.import_journal import (
    Changes,
    ImportRecord,
    ImportSource,
    ImportState,
    Scope,
    Use,
    imports,
    note_use,
    plan_import,
    take,
    undo,
)
from noren_core.errors import ConfigurationError, DataError, LocalProtocolError
from noren_core.ids import IdentifierKind

SOURCE = ImportSource(file="一覧.csv", source="csv cp932", preset="hrmos", rows=2)


def person(
    name: str, decision: str = "offer", outcome: str = "", *, season: str = "2025", position: str = "clerk"
) -> Applicant:
    return Applicant(
        season, position, IdentifierKind.EMAIL, f"{name}@example.jp", Decision(decision), outcome
    )


def take_rows(company_dir: Path, *rows: Applicant, scope: Scope = Scope.ITS_POSITIONS) -> ImportRecord:
    return take(company_dir, plan_import(company_dir, rows, scope), SOURCE, now=1000)


def kept(company_dir: Path) -> set[tuple[str, str, str]]:
    return {
        (row.identifier, row.season, row.outcome) for row in read_applicants(company_dir / "applicants.csv")
    }


def refused(company_dir: Path) -> str:
    before = (company_dir / "applicants.csv").read_bytes()
    with pytest.raises(LocalProtocolError) as caught:
        undo(company_dir)
    assert (company_dir / "applicants.csv").read_bytes() == before
    return caught.value.code


def test_an_import_replaces_its_own_positions_and_seasons(company_dir: Path) -> None:
    """What is imported again counts once; who is gone from an export is gone; other seasons stay."""
    take_rows(company_dir, person("a"), person("b"), person("old", season="2024"))
    record = take_rows(company_dir, person("a", outcome="accepted"), person("c"))
    assert record.changes == Changes(added=1, changed=1, unchanged=1, removed=1)
    assert kept(company_dir) == {
        ("a@example.jp", "2025", "accepted"),
        ("c@example.jp", "2025", ""),
        ("old@example.jp", "2024", ""),
    }
    again = take_rows(company_dir, person("a", outcome="accepted"), person("c"))
    assert again.changes == Changes(added=0, changed=0, unchanged=3, removed=0)


def test_an_import_of_everything_leaves_nothing_else(company_dir: Path) -> None:
    """Also if what was there cannot be read."""
    take_rows(company_dir, person("old", season="2024"))
    take_rows(company_dir, person("a"), scope=Scope.EVERYTHING)
    assert kept(company_dir) == {("a@example.jp", "2025", "")}
    (company_dir / "applicants.csv").write_text("broken\n")
    with pytest.raises(DataError):
        plan_import(company_dir, [person("a")], Scope.ITS_POSITIONS)
    take_rows(company_dir, person("a"), scope=Scope.EVERYTHING)


def test_files_of_imports_are_private(company_dir: Path) -> None:
    """Applicants, copy and journal, and their directory."""
    take_rows(company_dir, person("a"))
    take_rows(company_dir, person("b"))
    for path in (company_dir / "applicants.csv", *(company_dir / "imports").iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((company_dir / "imports").stat().st_mode) == 0o700


def test_nobody_is_imported_before_the_company_enrolled(tmp_path: Path) -> None:
    """And nothing is left behind."""
    with pytest.raises(ConfigurationError):
        take_rows(tmp_path / "nobody", person("a"))
    assert not (tmp_path / "nobody").exists()


def test_an_import_without_people_is_refused(company_dir: Path) -> None:
    """It would empty nothing and mean nothing."""
    with pytest.raises(DataError):
        plan_import(company_dir, [], Scope.EVERYTHING)


def test_an_undo_gives_back_the_very_bytes_once(company_dir: Path) -> None:
    """Also of a file that somebody wrote by hand; a second undo has nothing to take back."""
    path = company_dir / "applicants.csv"
    path.write_bytes(
        b"\xef\xbb\xbfoutcome,season,position,identifier_kind,identifier,decision\r\n,2025,clerk,email,x@example.jp,hold\r\n"
    )
    before = path.read_bytes()
    take_rows(company_dir, person("a"))
    assert undo(company_dir).state is ImportState.UNDONE
    assert path.read_bytes() == before
    assert refused(company_dir) == "NOTHING_TO_UNDO"
    assert not (company_dir / "imports" / "previous.csv").exists()


def test_undoing_the_first_import_leaves_no_file(company_dir: Path) -> None:
    """As there was none."""
    take_rows(company_dir, person("a"))
    undo(company_dir)
    assert not (company_dir / "applicants.csv").exists()
    assert [record.state for record in imports(company_dir)] == [ImportState.UNDONE]


@pytest.mark.parametrize("use", [Use.TRAINING, Use.SEALING, Use.ERASURE])
def test_what_was_used_is_not_undone(company_dir: Path, use: Use) -> None:
    """The reason is told, and the copy of what was before is gone; the next import can be undone again."""
    take_rows(company_dir, person("a"))
    take_rows(company_dir, person("b"))
    note_use(company_dir, use)
    assert refused(company_dir) == "IMPORT_USED"
    assert not (company_dir / "imports" / "previous.csv").exists()
    assert imports(company_dir)[-1].use is use
    take_rows(company_dir, person("c"))
    undo(company_dir)
    assert ("b@example.jp", "2025", "") in kept(company_dir)


def test_a_file_that_was_changed_by_hand_is_not_undone(company_dir: Path) -> None:
    """Somebody's correction would be lost."""
    take_rows(company_dir, person("a"))
    with (company_dir / "applicants.csv").open("a") as file:
        file.write("2025,clerk,email,z@example.jp,hold,\n")
    assert refused(company_dir) == "IMPORT_OUTDATED"


def test_an_import_planned_for_another_file_is_refused(company_dir: Path) -> None:
    """Two people at two desks: the second begins again, and nothing of the first is lost."""
    planned = plan_import(company_dir, [person("a")], Scope.EVERYTHING)
    take_rows(company_dir, person("b"))
    with pytest.raises(LocalProtocolError) as caught:
        take(company_dir, planned, SOURCE, now=1)
    assert caught.value.code == "IMPORT_OUTDATED"
    assert kept(company_dir) == {("b@example.jp", "2025", "")}


def test_notes_of_use_need_no_import(tmp_path: Path) -> None:
    """A file that was put there by hand has no journal, and gets none."""
    note_use(tmp_path, Use.TRAINING)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("crash_at", range(4))
def test_a_crash_leaves_an_import_that_happened_or_one_that_did_not(
    company_dir: Path, crash_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before any of the four writes, the next import and undo go on from a whole state."""
    take_rows(company_dir, person("a"))
    write, calls = import_journal.write_private, iter(range(9))

    def crashing(path: Path, data: bytes) -> None:
        if next(calls) == crash_at:
            raise KeyboardInterrupt
        write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(import_journal, "write_private", crashing)
        with pytest.raises(KeyboardInterrupt):
            take_rows(company_dir, person("b"))
    happened = crash_at == 3
    assert [record.state for record in imports(company_dir)] == [ImportState.TAKEN] * (1 + happened)
    assert kept(company_dir) == {("b@example.jp" if happened else "a@example.jp", "2025", "")}
    if happened:
        undo(company_dir)
        assert kept(company_dir) == {("a@example.jp", "2025", "")}
    take_rows(company_dir, person("c"))
    undo(company_dir)
    assert kept(company_dir) == {("a@example.jp", "2025", "")}


@pytest.mark.parametrize("crash_at", range(2))
def test_a_crash_leaves_an_undo_that_happened_or_one_that_did_not(
    company_dir: Path, crash_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the file is decides what the journal says."""
    take_rows(company_dir, person("a"))
    take_rows(company_dir, person("b"))
    write, calls = import_journal.write_private, iter(range(9))

    def crashing(path: Path, data: bytes) -> None:
        if next(calls) == crash_at:
            raise KeyboardInterrupt
        write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(import_journal, "write_private", crashing)
        with pytest.raises(KeyboardInterrupt):
            undo(company_dir)
    assert imports(company_dir)[-1].state is (ImportState.UNDONE if crash_at else ImportState.TAKEN)
    assert kept(company_dir) == {("a@example.jp" if crash_at else "b@example.jp", "2025", "")}


def test_a_damaged_journal_is_told_and_the_applicants_stay(company_dir: Path) -> None:
    """The remedy is in the sentence."""
    take_rows(company_dir, person("a"))
    (company_dir / "imports" / "journal.json").write_bytes(b"{}")
    assert refused(company_dir) == "IMPORT_JOURNAL_DAMAGED"


def test_no_record_shows_its_file_in_a_repr(company_dir: Path) -> None:
    """A file's name may be a person's."""
    assert "一覧" not in repr(take_rows(company_dir, person("a")))
