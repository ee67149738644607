"""`noren-company import` as it is typed."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from noren_client.applicants import read_applicants
from noren_client.cli import main

HEADER = "氏名,メールアドレス,求人名,応募日,選考ステータス"
PEOPLE = (
    "山田花子,hanako@example.jp,clerk,令和7年4月1日,内定承諾",
    "鈴木一郎,ichiro@example.jp,clerk,2025/5/1,内定辞退",
)

Run = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def run(company_dir: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """The exit code and the JSON that the command prints."""

    def run_command(*arguments: str) -> tuple[int, dict[str, Any]]:
        code = main(["--directory", str(company_dir), "--json", *arguments])
        return code, json.loads(capsys.readouterr().out)

    return run_command


@pytest.fixture
def export(tmp_path: Path) -> Callable[..., str]:
    """Write an export; its path."""

    def write(*rows: str, encoding: str = "cp932", header: str = HEADER) -> str:
        path = tmp_path / "一覧.csv"
        path.write_text("\r\n".join([header, *rows]) + "\r\n", encoding=encoding, newline="")
        return str(path)

    return write


def test_an_export_is_taken_with_the_preset_that_fits(run: Run, export: Any, company_dir: Path) -> None:
    """From cp932, without an option; the numbers are told and the rows are where the product reads them."""
    code, told = run("import", export(*PEOPLE, PEOPLE[0]))
    assert (code, told["state"], told["preset"], told["source"]) == (0, "taken", "hrmos", "csv cp932")
    assert (told["rows"], told["applicants"], told["repeated"], told["added"]) == (3, 2, 1, 2)
    rows = read_applicants(company_dir / "applicants.csv")
    assert [(row.season, row.identifier, row.outcome) for row in rows] == [
        ("2025", "hanako@example.jp", "accepted"),
        ("2025", "ichiro@example.jp", "declined"),
    ]
    assert "hanako" not in json.dumps(told)


def test_a_dry_run_changes_nothing_and_tells_what_would_change(
    run: Run, export: Any, company_dir: Path
) -> None:
    """Also no journal and no remembered mapping."""
    code, told = run("import", "--dry-run", export(*PEOPLE))
    assert (code, told["state"], told["added"], told["removed"]) == (0, "dry-run", 2, 0)
    assert not (company_dir / "applicants.csv").exists()
    assert not (company_dir / "imports" / "journal.json").exists()


def test_rows_that_cannot_be_read_are_told_in_a_file_and_nothing_is_taken(
    run: Run, export: Any, company_dir: Path
) -> None:
    """By row and column and with what to do, in Japanese; private; --without-rejected takes the others."""
    path = export(*PEOPLE, "田中,tanaka,clerk,2025/4/1,謎")
    code, told = run("import", path)
    assert (code, told["code"]) == (6, "ROWS_REJECTED")
    assert "tanaka" not in told["message"]
    rejected = company_dir / "imports" / "rejected-rows.csv"
    lines = list(csv.reader(io.StringIO(rejected.read_text("utf-8-sig"), newline="")))
    assert [line[:3] for line in lines] == [
        ["行", "列", "セルの内容"],
        ["4", "メールアドレス", "tanaka"],
        ["4", "選考ステータス", "謎"],
    ]
    assert rejected.stat().st_mode & 0o777 == 0o600
    assert not (company_dir / "applicants.csv").exists()
    code, told = run("import", "--without-rejected", path)
    assert (code, told["rejected"], told["added"]) == (0, 1, 2)


def test_a_mapping_file_is_used_and_remembered(run: Run, export: Any, tmp_path: Path) -> None:
    """Next month the same columns need no option; what nobody said before is asked for."""
    header, row = "応募者番号,部門,年,結果", "C-1,本社,2026,採用"
    path = export(row, header=header)
    code, told = run("import", path)
    assert (code, told["code"]) == (6, "MAPPING_NEEDED")
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(
        'format = "noren/v1/import-mapping"\ntitle = "台帳"\nidentifier_kind = "consent-code"\n'
        '[columns]\nidentifier = ["応募者番号"]\nposition = ["部門"]\nseason = ["年"]\nstatus = ["結果"]\n'
        '[position.names]\n"本社" = "head-office"\n[words]\n"採用" = "offer/accepted"\n'
    )
    assert run("import", "--mapping", str(mapping), path)[1]["added"] == 1
    code, told = run("import", path)
    assert (code, told["preset"], told["unchanged"]) == (0, "台帳", 1)


def test_undo_and_list_follow_the_imports(run: Run, export: Any, company_dir: Path) -> None:
    """A file called like a command is given with its directory."""
    assert run("import", export(PEOPLE[0]))[0] == 0
    _code, told = run("import", "list")
    assert [(item["state"], item["undoable"], item["rows"]) for item in told["imports"]] == [
        ("taken", True, 1)
    ]
    assert run("import", "undo")[1]["state"] == "undone"
    assert not (company_dir / "applicants.csv").exists()
    assert run("import", "undo")[1]["code"] == "NOTHING_TO_UNDO"


def test_presets_are_listed_with_their_columns(run: Run) -> None:
    """So that somebody sees what a preset looks for."""
    code, told = run("import", "presets")
    assert code == 0
    assert "選考ステータス" in told["hrmos"]["columns"]["status"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--preset", "nobody"), "BAD_DATA"),
        (("--encoding", "utf-7"), "BAD_DATA"),
        (("--encoding", "utf-8"), "ENCODING_WRONG"),
        (("--language", "fr"), "BAD_DATA"),
        (("--preset", "lever"), "MAPPING_INCOMPLETE"),
    ],
)
def test_a_wrong_choice_is_an_input_error(
    run: Run, export: Any, arguments: tuple[str, ...], code: str
) -> None:
    """Exit code 6, and nothing is taken."""
    told = run("import", *arguments, export(*PEOPLE, "x,y,z,q,w"))
    assert (told[0], told[1]["code"]) == (6, code)


def test_what_could_be_two_encodings_is_asked_for_by_an_option(
    run: Run, tmp_path: Path, company_dir: Path
) -> None:
    """A pipe cannot be asked."""
    path = tmp_path / "a.csv"
    path.write_bytes("Email,Job,Year,Status\na@example.jp,clerk,2026,ﾃｽ\n".encode("cp932"))
    assert run("import", str(path))[1]["code"] == "ENCODING_AMBIGUOUS"
    _code, told = run("import", "--encoding", "cp932", "--dry-run", "--without-rejected", str(path))
    assert told["code"] == "ROWS_REJECTED"
    assert "ﾃｽ" in (company_dir / "imports" / "rejected-rows.csv").read_text("utf-8-sig")


def test_the_first_rows_are_shown_only_when_asked(
    company_dir: Path, export: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr, as they are decoded."""
    path = export(*PEOPLE)
    main(["--directory", str(company_dir), "import", "--dry-run", path])
    shown = capsys.readouterr()
    assert "hanako" not in shown.out + shown.err
    main(["--directory", str(company_dir), "import", "--dry-run", "--preview", path])
    shown = capsys.readouterr()
    assert "2: 山田花子 | hanako@example.jp" in shown.err
    assert "hanako" not in shown.out


def test_a_hundred_thousand_rows_are_taken_in_seconds(run: Run, export: Any) -> None:
    """In less CPU time than ten seconds, which a person waits for without wondering."""
    path = export(*(f"某,p{n}@example.jp,clerk,令和7年{n % 12 + 1}月1日,内定承諾" for n in range(100_000)))
    before = os.times()
    code, told = run("import", path)
    after = os.times()
    assert (code, told["added"]) == (0, 100_000)
    assert after.user + after.system - before.user - before.system < 10
