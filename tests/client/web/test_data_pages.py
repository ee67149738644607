"""Importing at the pages: from a dropped file to applicants, and back; and what leaves."""

from __future__ import annotations

import csv
import io
import re

import pytest
from company_pages import AtDesk, words_of
from gated_company import GatedCompany
from httpx import Response

from noren_client.applicants import read_applicants
from noren_client.imports import import_journal, pending_upload
from noren_client.imports.import_journal import Use
from noren_client.leaving.sent_bytes import note_sent

HEADER = "氏名,メールアドレス,求人名,応募日,選考ステータス"
PEOPLE = (
    "山田花子,hanako@example.jp,総合職,令和7年4月1日,内定承諾\n"
    "鈴木一郎,ichiro@example.jp,総合職,R7.5.1,辞退\n"
)
EXPORT = f"{HEADER}\n{PEOPLE}".encode("cp932")


def upload(desk: AtDesk, content: bytes, name: str = "一覧.csv") -> Response:
    return desk.post("/data", "/data/upload", files={"file": (name, content)})


def fields_of(desk: AtDesk, path: str) -> dict[str, list[str]]:
    """The form that a browser would send unchanged: what is typed, chosen and hidden."""
    text = desk.get(path).text
    form = text.partition(f'action="{path}"')[2].partition("</form>")[0]
    found: dict[str, list[str]] = {}
    for item in re.finditer(
        r'<input[^>]*name="(?P<i>\w+)"[^>]*>|<select[^>]*name="(?P<s>\w+)".*?</select>', form, re.DOTALL
    ):
        if item["s"]:
            chosen = re.search(r'value="([^"]*)" selected', item[0]) or re.search(r'value="([^"]*)"', item[0])
            found.setdefault(item["s"], []).append(chosen[1] if chosen else "")
        elif item["i"] != "csrf":
            value = re.search(r'value="([^"]*)"', item[0])
            found.setdefault(item["i"], []).append(value[1] if value else "")
    return found


@pytest.fixture
def olga(desk: AtDesk) -> AtDesk:
    desk.sign_in("olga")
    return desk


def test_a_file_goes_from_preview_to_applicants(company: GatedCompany, olga: AtDesk) -> None:
    """Decoded, mapped by the preset that fits, given a meaning for one word and a name for one position."""
    assert "Nothing was imported yet." in olga.text("/data")
    assert upload(olga, EXPORT).headers["location"] == "/data/preview"
    said = olga.text("/data/preview")
    assert "cp932" in said
    assert "2 山田花子 hanako@example.jp 総合職 令和7年4月1日 内定承諾" in said
    columns = fields_of(olga, "/data/columns")
    assert columns["column_identifier"] == ["1"]
    assert olga.post("/data/columns", "/data/columns", **columns).headers["location"] == "/data/meanings"
    meanings = fields_of(olga, "/data/meanings")
    assert meanings["status_word"] == ["内定承諾", "辞退"]
    assert meanings["status_said"] == ["offer/accepted", ""]
    assert (meanings["position_word"], meanings["season_said"]) == (["総合職"], ["2025"])
    wrong = olga.post("/data/meanings", "/data/meanings", **{**meanings, "position_said": ["The Clerk"]})
    assert wrong.status_code == 422
    olga.post("/data/meanings", "/data/meanings", **{**meanings, "position_said": ["general"]})
    said = olga.text("/data/check")
    assert "Rejected rows 1" in said
    assert "3 選考ステータス Not known what this status means." in said
    assert "ichiro" not in said
    stays = olga.post("/data/check", "/data/take")
    assert stays.headers["location"] == "/data/check"
    assert not (company.directory / "applicants.csv").exists()
    meant = {**meanings, "position_said": ["general"], "status_said": ["offer/accepted", "offer/declined"]}
    olga.post("/data/meanings", "/data/meanings", **meant)
    assert olga.post("/data/check", "/data/take").headers["location"] == "/data"
    rows = read_applicants(company.directory / "applicants.csv")
    assert [(row.season, row.position, row.identifier, row.outcome) for row in rows] == [
        ("2025", "general", "hanako@example.jp", "accepted"),
        ("2025", "general", "ichiro@example.jp", "declined"),
    ]
    said = olga.text("/data")
    assert "一覧.csv csv cp932" in said
    assert not list((company.directory / "imports" / "uploads").iterdir())


def test_next_month_the_columns_and_words_are_remembered(company: GatedCompany, olga: AtDesk) -> None:
    """From the columns' page on, everything is filled in; a trial run is one click each."""
    test_a_file_goes_from_preview_to_applicants(company, olga)
    upload(olga, EXPORT)
    assert "remembered" in olga.text("/data/columns")
    olga.post("/data/columns", "/data/columns", **fields_of(olga, "/data/columns"))
    olga.post("/data/meanings", "/data/meanings", **fields_of(olga, "/data/meanings"))
    assert "Unchanged 2" in olga.text("/data/check")


def test_rejected_rows_are_a_file_in_the_readers_language(olga: AtDesk) -> None:
    """For Excel, as a download, without a formula."""
    upload(olga, f"{HEADER}\n田中,=cmd,clerk,2025/4/1,内定\n".encode())
    olga.post("/data/columns", "/data/columns", **fields_of(olga, "/data/columns"))
    olga.get("/data?lang=ja")
    answer = olga.get("/data/rejected")
    assert answer.headers["content-disposition"] == 'attachment; filename="rejected-rows.csv"'
    assert answer.headers["content-type"].startswith("text/csv")
    lines = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))
    assert lines[0][:2] == ["行", "列"]
    assert lines[1][:3] == ["2", "メールアドレス", "'=cmd"]


def test_what_could_be_two_encodings_is_shown_in_both(olga: AtDesk) -> None:
    """Somebody who reads Japanese sees which one is right, and chooses."""
    upload(olga, "Email,Job,Year,Status\na@example.jp,clerk,2026,ﾃｽ\n".encode("cp932"))
    said = olga.text("/data/preview")
    assert "It is not certain" in said
    assert "ﾃｽ" in said
    olga.post("/data/preview", "/data/preview", encoding="cp932")
    assert "2 a@example.jp clerk 2026 ﾃｽ" in olga.text("/data/preview")


def test_our_own_format_needs_no_columns(company: GatedCompany, olga: AtDesk) -> None:
    """Straight from the preview to the trial run."""
    own = (
        b"season,position,identifier_kind,identifier,decision,outcome\n2026,engineer,consent-code,a,offer,\n"
    )
    upload(olga, own)
    assert olga.get("/data/columns").headers["location"] == "/data/check"
    assert "Added 1" in olga.text("/data/check")
    olga.post("/data/check", "/data/take")
    assert len(read_applicants(company.directory / "applicants.csv")) == 1


def test_an_import_is_undone_with_a_typed_word(company: GatedCompany, olga: AtDesk) -> None:
    """After saying what goes and what comes back; not once it was used."""
    test_our_own_format_needs_no_columns(company, olga)
    assert "New applicants: 1, who go." in olga.text("/data/undo")
    assert olga.post("/data/undo", "/data/undo", confirmation="yes").status_code == 422
    assert (company.directory / "applicants.csv").exists()
    import_journal.note_use(company.directory, Use.TRAINING)
    assert "cannot be undone any more: used for training" in olga.text("/data/undo")
    refused = olga.post("/data", "/data/undo", confirmation="undo")
    assert (refused.status_code, "IMPORT_USED" in refused.text) == (409, True)
    upload(olga, EXPORT.replace("総合職".encode("cp932"), b"clerk").replace("辞退".encode("cp932"), b"Hired"))
    olga.post("/data/columns", "/data/columns", **fields_of(olga, "/data/columns"))
    assert olga.post("/data/check", "/data/take").headers["location"] == "/data"
    assert olga.post("/data/undo", "/data/undo", confirmation="undo").headers["location"] == "/data"
    assert "There is no import that could be undone." in olga.text("/data/undo")


def test_a_file_that_waits_is_gone_after_an_hour_or_when_it_is_discarded(
    company: GatedCompany, olga: AtDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the disk as well; its pages then say that it is to be chosen again."""
    place = company.directory / "imports" / "uploads"
    upload(olga, EXPORT)
    assert {path.stat().st_mode & 0o777 for path in place.iterdir()} == {0o600}
    olga.post("/data/preview", "/data/discard")
    assert not list(place.iterdir())
    upload(olga, EXPORT)
    monkeypatch.setattr(pending_upload, "KEPT_SECONDS", 500)  # a session without use ends before an hour
    company.clock.now += 499
    assert olga.get("/data/preview").status_code == 200
    company.clock.now += 2
    gone = olga.get("/data/preview")
    assert (gone.status_code, "UPLOAD_GONE" in gone.text) == (409, True)
    assert not list(place.iterdir())


def test_a_second_upload_takes_the_place_of_the_first(company: GatedCompany, olga: AtDesk) -> None:
    """And of other people's, at most four wait."""
    for _ in range(7):
        upload(olga, EXPORT)
    assert len(list((company.directory / "imports" / "uploads").glob("*.file"))) == 1
    for _ in range(7):
        pending_upload.begin(company.directory, name="a", content=b"x", now=int(company.clock.now))
    assert len(list((company.directory / "imports" / "uploads").glob("*.file"))) == pending_upload.MAX_PENDING


@pytest.mark.parametrize("content", [b"PK\x03\x04broken", b"PAR1broken", b"\xd0\xcf\x11\xe0old", b"\0\0\0\0"])
def test_a_file_that_is_no_table_is_told_to_be_none(olga: AtDesk, content: bytes) -> None:
    """As an error with a code, or a question about its encoding; not as a fault of ours."""
    upload(olga, content)
    answer = olga.get("/data/preview")
    assert answer.status_code in (200, 422)
    assert "INTERNAL" not in answer.text


@pytest.mark.parametrize("name", ["fay", "pia"])
def test_who_looks_after_students_does_not_import(desk: AtDesk, name: str) -> None:
    """Importing is for whoever operates or decides; what leaves, everybody may read."""
    desk.sign_in(name)
    for path in (
        "/data",
        "/data/preview",
        "/data/columns",
        "/data/meanings",
        "/data/check",
        "/data/undo",
        "/data/rejected",
    ):
        assert desk.get(path).status_code == 403
    assert desk.get("/data/leaving").status_code == 200


def test_what_leaves_is_listed_with_its_bytes(company: GatedCompany, olga: AtDesk) -> None:
    """In both languages: fields, address, how much, and what never leaves."""
    note_sent(company.directory, "Platform.Evaluate", 4096)
    said = olga.text("/data/leaving")
    assert (
        "Blinded identifiers, filled up to a fixed number Platform, company service 127.0.0.1:2 1 4.0 KiB"
        in said
    )
    assert "Who accepted and who declined" in said
    assert "decision-batch" in said
    said = words_of(olga.get("/data/leaving?lang=ja"))
    assert "目隠しした識別子" in said
    assert "誰が承諾し、誰が辞退したか" in said
    note_sent(company.directory, "Platform.Gossip", 1)
    assert "Platform.Gossip" in olga.text("/data/leaving")
