"""Reading the consent table."""

from __future__ import annotations

from pathlib import Path

import pytest

from noren_core.errors import DataError
from noren_core.ids import Purpose
from noren_server.consents import COLUMNS, LatestConsents, read_consents

PERSON = "abcdefghijklmnop"
GOOD = ["s1", "aoba", "2025", "train.decline_model", "consent-code", PERSON, "live"]


def table(tmp_path: Path, *rows: list[str], header: tuple[str, ...] = COLUMNS) -> Path:
    path = tmp_path / "consents.csv"
    path.write_text("\n".join(",".join(row) for row in [list(header), *rows]) + "\n", encoding="utf-8")
    return path


def changed(**fields: str) -> list[str]:
    return [fields.get(name, value) for name, value in zip(COLUMNS, GOOD, strict=True)]


def test_only_live_consents_of_the_cohort_are_returned_sorted(tmp_path: Path) -> None:
    """`live` returns the consented students of one company, season and purpose, in order, and no others."""
    path = table(
        tmp_path,
        changed(student="s9", identifier="c9"),
        GOOD,
        changed(student="s2", identifier="c2", state="withdrawn"),
        changed(student="s3", identifier="c3", company="benten"),
        changed(student="s4", identifier="c4", season="2026"),
        changed(student="s5", identifier="c5", purpose="score.offer_followup"),
    )
    consents = read_consents(path)
    assert [item.student for item in consents.live("aoba", "2025", Purpose.TRAIN)] == ["s1", "s9"]
    assert [item.student for item in consents.live("aoba", "2025", Purpose.SCORE)] == ["s5"]
    assert consents.live("aoba", "2024", Purpose.TRAIN) == ()


def test_withdrawn_consents_are_remembered_apart(tmp_path: Path) -> None:
    """Who withdrew is found under the same company, season and purpose, and is not live."""
    consents = read_consents(table(tmp_path, GOOD, changed(student="s2", identifier="c2", state="withdrawn")))
    [withdrawn] = consents.withdrawn("aoba", "2025", Purpose.TRAIN)
    assert (withdrawn.student, withdrawn.identifier) == ("s2", "c2")
    assert [student.student for student in consents.live("aoba", "2025", Purpose.TRAIN)] == ["s1"]
    assert consents.withdrawn("aoba", "2024", Purpose.TRAIN) == ()
    assert "c2" not in repr(consents)


def test_the_latest_consents_are_those_of_the_file_as_it_is(tmp_path: Path) -> None:
    """Another file in its place is read, the same one is not read again, a missing one is a data error."""
    path = table(tmp_path, GOOD)
    latest = LatestConsents(path)
    first = latest.table()
    assert first == read_consents(path)
    assert latest.table() is first
    (tmp_path / "next").mkdir()
    table(tmp_path / "next", changed(state="withdrawn")).replace(path)
    assert latest.table().live("aoba", "2025", Purpose.TRAIN) == ()
    path.unlink()
    with pytest.raises(DataError, match="consent table"):
        latest.table()


def test_identifiers_are_not_shown(tmp_path: Path) -> None:
    """Neither the table's nor a row's repr shows a student or an identifier."""
    consents = read_consents(table(tmp_path, GOOD))
    shown = repr(consents) + repr(consents.live("aoba", "2025", Purpose.TRAIN))
    assert PERSON not in shown
    assert "s1" not in shown


@pytest.mark.parametrize(
    ("fields", "column"),
    [
        ({"purpose": "train.everything"}, "purpose"),
        ({"state": "maybe"}, "state"),
        ({"identifier_kind": "name"}, "identifier_kind"),
        ({"company": "Aoba Foods"}, "company"),
        ({"season": ""}, "season"),
        ({"identifier": " "}, "identifier"),
        ({"student": ""}, "student"),
    ],
)
def test_a_bad_field_is_named_by_line_and_column(tmp_path: Path, fields: dict[str, str], column: str) -> None:
    """An unknown or empty field refuses the file, naming line and column but no content."""
    path = table(tmp_path, changed(student="s2", identifier="c2"), changed(**fields))
    with pytest.raises(DataError) as caught:
        read_consents(path)
    assert f"line 3, column {column}" in caught.value.message
    assert PERSON not in str(caught.value)


def test_the_same_consent_twice_is_refused(tmp_path: Path) -> None:
    """One student, company, season and purpose has one state, or nobody could say which counts."""
    with pytest.raises(DataError, match="line 3, column student"):
        read_consents(table(tmp_path, GOOD, changed(identifier="c2", state="withdrawn")))


def test_one_identifier_for_two_students_is_refused(tmp_path: Path) -> None:
    """An identifier that two students share, even in other letters, would open a stranger's row."""
    with pytest.raises(DataError, match="line 3, column identifier") as caught:
        read_consents(table(tmp_path, GOOD, changed(student="s2", identifier=PERSON.upper())))
    assert PERSON not in str(caught.value).lower()


@pytest.mark.parametrize("header", [COLUMNS[:-1], (*COLUMNS, "name"), (*COLUMNS[:-1], "student"), ("",)])
def test_other_columns_are_refused(tmp_path: Path, header: tuple[str, ...]) -> None:
    """The header has exactly the columns of the format."""
    with pytest.raises(DataError, match="line 1"):
        read_consents(table(tmp_path, GOOD, header=header))


def test_bytes_that_are_no_csv_are_refused(tmp_path: Path) -> None:
    """A short row, other bytes and a missing file are data errors."""
    with pytest.raises(DataError, match="line 2: expected 7 fields, got 6"):
        read_consents(table(tmp_path, GOOD[:-1]))
    (tmp_path / "binary.csv").write_bytes(b"student\xff\x00")
    for name in ("binary.csv", "missing.csv"):
        with pytest.raises(DataError):
            read_consents(tmp_path / name)
