"""Importing in a browser, from the file to the undo, and what leaves this machine; in both languages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import Chromium
from company_pages import CODE
from gated_company import GatedCompany, make_company
from visitor import Visitor, check_page

from noren_client.applicants import read_applicants
from noren_client.imports import import_journal
from noren_client.imports.import_journal import Use
from noren_client.leaving.sent_bytes import note_sent
from noren_client.web.site import company_site
from noren_core.rights.gate.roles import Assignment, Role
from noren_local import staff
from noren_web.localhost_entry import OneTimeEntry
from noren_web.serving import bound, served, server_of

HEADER = "氏名,メールアドレス,求人名,応募日,選考ステータス"
ROWS = (
    "山田 花子,hanako@example.jp,総合職,令和7年4月1日,内定承諾",
    "鈴木 一郎,ichiro@example.jp,総合職,R7.5.1,辞退",
    "髙橋 次郎,jiro@example.jp,総合職,２０２５年６月１日,選考中",
    "田中,tanaka,総合職,2025/7/1,内定",
)


@pytest.fixture
def company(tmp_path: Path, plan_body: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> GatedCompany:
    """A company with an operator and no applicants."""
    monkeypatch.setattr(staff, "_COST", 2)
    made = make_company(tmp_path / "company", plan_body, monkeypatch)
    (made.directory / "keys" / "tls.pem").write_bytes(b"")
    made.hire("olga", Assignment(Role.COMPANY_ML_OPERATOR))
    return made


@pytest.fixture(params=["ja", "en"])
def visit(browser: Chromium, company: GatedCompany, request: pytest.FixtureRequest) -> Iterator[Visitor]:
    """The operator at the pages of data, in each language."""
    entry = OneTimeEntry(lambda: company.clock.now)
    listening = bound("127.0.0.1", 0)
    port = listening.getsockname()[1]
    site = company_site(company.directory, port=port, entry=entry, clock=lambda: company.clock.now)
    with served(server_of(site), listening, name="company-pages"):
        found = Visitor(browser, f"http://127.0.0.1:{port}")
        found.open(f"{entry.new_path()}&lang={request.param}")
        found.fill("#name", "olga")
        found.fill("#code", CODE)
        found.click("main form button")
        found.open("/data")
        yield found


def write(tmp_path: Path, *rows: str, encoding: str = "cp932", header: str = HEADER) -> Path:
    path = tmp_path / "応募者一覧.csv"
    path.write_text("\r\n".join([header, *rows]) + "\r\n", encoding=encoding, newline="")
    return path


def test_an_export_is_imported_and_taken_back(visit: Visitor, company: GatedCompany, tmp_path: Path) -> None:
    """Every page on the way is looked at; one word gets its meaning, one row is rejected and left out."""
    check_page(visit, "company-import-start")
    visit.upload("#file", write(tmp_path, *ROWS))
    visit.click('form[action="/data/upload"] button')
    assert visit.path() == "/data/preview"
    assert "髙橋 次郎" in visit.text()
    check_page(visit, "company-import-preview")
    visit.click('a[href="/data/columns"]')
    check_page(visit, "company-import-columns")
    visit.click('form[action="/data/columns"] button')
    assert visit.path() == "/data/meanings"
    visit.fill('[name="position_said"]', "general")
    visit.fill('tr:nth-child(2) [name="status_said"]', "offer/declined")
    check_page(visit, "company-import-meanings")
    visit.click('form[action="/data/meanings"] button')
    assert visit.path() == "/data/check"
    assert "ichiro" not in visit.text()
    check_page(visit, "company-import-trial")
    visit.tick("#without_rejected-yes")
    visit.click('form[action="/data/take"] button')
    assert visit.path() == "/data"
    rows = read_applicants(company.directory / "applicants.csv")
    assert [(row.identifier, row.decision.value, row.outcome) for row in rows] == [
        ("hanako@example.jp", "offer", "accepted"),
        ("ichiro@example.jp", "offer", "declined"),
        ("jiro@example.jp", "hold", ""),
    ]
    check_page(visit, "company-import-taken")
    visit.click('a[href="/data/undo"]')
    check_page(visit, "company-import-undo")
    visit.fill("#confirmation", "undo")
    visit.click("form.confirm button")
    assert not (company.directory / "applicants.csv").exists()
    check_page(visit, "company-import-undone")


def test_a_file_in_two_possible_encodings_is_chosen_by_eye(visit: Visitor, tmp_path: Path) -> None:
    """Both readings stand there; the chosen one is the preview."""
    path = write(tmp_path, "a@example.jp,clerk,2026,ﾃｽ", header="Email,Job,Year,Status")
    visit.upload("#file", path)
    visit.click('form[action="/data/upload"] button')
    check_page(visit, "company-import-encoding")
    visit.fill("#encoding", "cp932")
    visit.click('form[action="/data/preview"] button')
    assert "ﾃｽ" in visit.text()
    check_page(visit, "company-import-encoding-chosen")


def test_importing_works_without_scripts(visit: Visitor, company: GatedCompany, tmp_path: Path) -> None:
    """With columns that no preset knows: the page says what is missing, and every form is a form."""
    visit.browser.run_scripts(enabled=False)
    path = write(tmp_path, "C-1,合格", header="番号,結果")
    visit.open("/data")
    visit.upload("#file", path)
    visit.click('form[action="/data/upload"] button')
    visit.click('a[href="/data/columns"]')
    assert visit.path() == "/data/columns"
    visit.fill("#identifier_kind", "consent-code")
    visit.fill("#column_identifier", "0")
    visit.fill("#position", "clerk")
    visit.fill("#column_status", "1")
    visit.click('form[action="/data/columns"] button')
    assert visit.path() == "/data/columns"
    visit.browser.run_scripts(enabled=True)
    visit.open("/data/columns")
    check_page(visit, "company-import-columns-missing")
    visit.fill("#season", "2026")
    visit.click('form[action="/data/columns"] button')
    visit.fill('[name="status_said"]', "offer")
    visit.click('form[action="/data/meanings"] button')
    visit.click('form[action="/data/take"] button')
    (row,) = read_applicants(company.directory / "applicants.csv")
    assert (row.season, row.position, row.identifier) == ("2026", "clerk", "C-1")
    import_journal.note_use(company.directory, Use.TRAINING)
    visit.open("/data/undo")
    check_page(visit, "company-import-undo-used")


def test_a_file_that_is_no_table_and_one_that_is_gone(visit: Visitor, tmp_path: Path) -> None:
    """Both are told with what to do."""
    path = tmp_path / "broken.xlsx"
    path.write_bytes(b"PK\x03\x04 nothing")
    visit.upload("#file", path)
    visit.click('form[action="/data/upload"] button')
    assert "WORKBOOK_MALFORMED" in visit.text()
    check_page(visit, "company-import-no-table")
    visit.open("/data/undo")
    check_page(visit, "company-import-nothing-to-undo")


def test_what_leaves_this_machine(visit: Visitor, company: GatedCompany) -> None:
    """Everything in tables, with what was counted."""
    note_sent(company.directory, "Platform.Evaluate", 8192)
    visit.open("/data/leaving")
    assert "Platform.Evaluate" in visit.text()
    check_page(visit, "company-leaving")
