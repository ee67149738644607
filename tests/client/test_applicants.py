"""Reading the company's own file."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noren_client import applicants as module
from noren_client.applicants import (
    COLUMNS,
    TrainingSetCode,
    TrainingSetError,
    applicants_for,
    offerees,
    read_applicants,
    training_applicants,
)
from noren_core.errors import DataError
from noren_core.season.plan import Task

PERSON = "hanako@example.jp"
TASK = Task("decline", positive=("declined",), negative=("accepted",), excluded=("rescinded",))
HEADER = ",".join(COLUMNS)


def write(tmp_path: Path, *rows: str, header: str = HEADER, encoding: str = "utf-8") -> Path:
    path = tmp_path / "applicants.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding=encoding)
    return path


def read(path: Path) -> tuple[module.Applicant, ...]:
    return read_applicants(path, seasons=("2025", "2026"), vocabulary=TASK.vocabulary)


def known(*outcomes: str) -> list[str]:
    return [f"2025,engineer,consent-code,code{n},offer,{outcome}" for n, outcome in enumerate(outcomes)]


def test_rows_to_train_on_and_people_to_score_are_told_apart(tmp_path: Path) -> None:
    """Past offers with a counting outcome train; current offers without an outcome are scored."""
    path = write(
        tmp_path,
        "2025,engineer,consent-code,a,offer,declined",
        "2025,engineer,consent-code,b,offer,accepted",
        "2025,engineer,consent-code,c,offer,rescinded",
        "2025,engineer,consent-code,d,offer,",
        "2025,engineer,consent-code,e,no-offer,",
        f"2026,engineer,email,{PERSON},offer,",
        "2026,engineer,consent-code,g,offer,accepted",
        "2026,engineer,consent-code,h,no-offer,",
        "2026,engineer,consent-code,i,hold,",
    )
    rows = read(path)
    training = training_applicants(rows, ("2025",), TASK)
    assert [(row.applicant.identifier, row.is_positive) for row in training] == [("a", True), ("b", False)]
    assert [row.identifier for row in offerees(rows, "2026")] == [PERSON]


def test_positions_are_applied_for_one_by_one(tmp_path: Path) -> None:
    """One person may apply for two positions of a season; what she is aligned by differs."""
    rows = read(
        write(
            tmp_path,
            "2026,engineer,consent-code,a,offer,",
            "2026,sales,consent-code,A ,hold,",
            "2025,sales,consent-code,a,no-offer,",
        )
    )
    assert [row.position for row in applicants_for(rows, season="2026", position="sales")] == ["sales"]
    assert len({row.key for row in rows}) == 2
    assert rows[0].is_same_person(rows[1])
    other = read(write(tmp_path, "2026,sales,consent-code,b,offer,"))[0]
    assert not rows[0].is_same_person(other)


def test_a_byte_order_mark_and_another_column_order_are_fine(tmp_path: Path) -> None:
    """A file as spreadsheets save it is read the same."""
    path = write(
        tmp_path,
        "declined,offer,a,consent-code,engineer,2025",
        header=",".join(reversed(COLUMNS)),
        encoding="utf-8-sig",
    )
    assert read(path)[0].outcome == "declined"


def test_an_applicant_is_not_shown(tmp_path: Path) -> None:
    """The repr of an applicant shows neither identifier nor outcome."""
    rows = read(write(tmp_path, f"2025,engineer,email,{PERSON},offer,declined", *known("accepted")))
    shown = repr(rows) + repr(training_applicants(rows, ("2025",), TASK))
    assert PERSON not in shown
    assert "declined" not in shown
    assert "True" not in shown


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (
            f"2025,engineer,email,{PERSON},offer,DECLINED",
            "row 3, column outcome: expected one of accepted, declined",
        ),
        (
            f"2025,engineer,email,{PERSON},maybe,",
            "row 3, column decision: expected one of offer, no-offer, hold",
        ),
        (
            f"2025,engineer,phone,{PERSON},offer,",
            "row 3, column identifier_kind: expected one of consent-code, email",
        ),
        (f"2019,engineer,email,{PERSON},offer,", "row 3, column season: expected one of 2025, 2026"),
        ("2025,engineer,email,  ,offer,declined", "row 3, column identifier: expected 1 to 512 bytes, got 0"),
        (
            f"2025,engineer,email,{PERSON}{'x' * 1024},offer,",
            "row 3, column identifier: expected at most 1024",
        ),
        (f"2025,engineer,email,{PERSON},offer", "row 3: expected 6 fields, got 5"),
        (
            "2025,engineer,consent-code,CODE0 ,offer,",
            "row 3, column identifier: expected each applicant once",
        ),
        ("2025,Sales Staff,consent-code,z,offer,", "row 3, column position: expected 1 to 40 of a-z"),
        (f'2025,engineer,email,"{PERSON}"x,offer,', "line 3: expected CSV"),
    ],
)
def test_a_bad_row_is_named_by_place_only(tmp_path: Path, row: str, told: str) -> None:
    """A problem is told by row and column, never by the identifier in it."""
    with pytest.raises(DataError) as caught:
        read(write(tmp_path, *known("accepted"), row))
    assert told in caught.value.message
    assert PERSON not in str(caught.value)


def test_every_problem_is_listed_up_to_twenty(tmp_path: Path) -> None:
    """A file with many problems lists twenty and counts the others."""
    rows = [f"2025,engineer,consent-code,{n},offer,unknown" for n in range(23)]
    with pytest.raises(DataError) as caught:
        read(write(tmp_path, *rows))
    assert caught.value.message.count("column outcome") == 20
    assert caught.value.message.endswith("and 3 more")


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (HEADER.replace(",outcome", ""), "column outcome: expected once, got 0"),
        (HEADER + ",name", "got 1 more"),
        (HEADER + ",season", "column season: expected once, got 2"),
    ],
)
def test_other_columns_are_refused(tmp_path: Path, header: str, told: str) -> None:
    """The header has exactly the columns of the format."""
    with pytest.raises(DataError, match=told):
        read(write(tmp_path, header=header))


def test_empty_unreadable_and_oversized_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No rows, no bytes, other bytes, no file and too much of either are data errors."""
    (tmp_path / "empty.csv").write_bytes(b"")
    (tmp_path / "latin.csv").write_bytes(HEADER.encode() + b"\n2025,engineer,email,\xe9,offer,\n")
    cases = [write(tmp_path), *(tmp_path / name for name in ("empty.csv", "latin.csv", "missing.csv"))]
    for path in cases:
        with pytest.raises(DataError):
            read(path)
    path = write(tmp_path, *known("accepted", "accepted", "declined"))
    assert len(read(path)) == 3
    monkeypatch.setattr(module, "MAX_ROWS", 2)
    with pytest.raises(DataError, match="at most 2 rows"):
        read(path)
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 10)
    with pytest.raises(DataError, match="at most 10 bytes"):
        read(path)


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        (("", "rescinded"), TrainingSetCode.NO_ROWS),
        (("accepted",), TrainingSetCode.ONE_ROW),
        (("accepted", "accepted", "rescinded"), TrainingSetCode.ONE_CLASS),
    ],
)
def test_what_cannot_be_learned_from_has_its_own_code(
    tmp_path: Path, outcomes: tuple[str, ...], code: TrainingSetCode
) -> None:
    """No known outcomes, one, or one class only: each is told apart, so the season can go on without."""
    rows = read(write(tmp_path, *known(*outcomes)))
    with pytest.raises(TrainingSetError) as caught:
        training_applicants(rows, ("2025",), TASK)
    assert caught.value.code == code


def test_a_word_outside_the_task_is_refused_when_training(tmp_path: Path) -> None:
    """A file read without a vocabulary is still held to the task's."""
    rows = read_applicants(write(tmp_path, *known("accepted", "declined", "vanished")))
    with pytest.raises(DataError, match="vocabulary"):
        training_applicants(rows, ("2025",), TASK)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_never_surface_as_another_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    """Whatever bytes follow a good header, the answer is applicants or a DataError."""
    path = tmp_path_factory.mktemp("fuzz") / "applicants.csv"
    path.write_bytes(HEADER.encode() + b"\n" + data)
    with contextlib.suppress(DataError):
        assert read(path)
