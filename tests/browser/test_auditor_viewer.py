"""The auditor's viewer as she uses it: she drops a bundle on the page and reads its report."""

from __future__ import annotations

import base64
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import axe
import pytest
from chromium import Chromium
from visitor import Visitor, check_page

from noren_audit.verification import verify as verifying
from noren_audit.verification.trust import load_trust
from noren_audit.verification.verify import verify_bundle
from noren_audit.viewer.viewer import Viewer

SAMPLES = Path(__file__).parents[1] / "audit" / "sample_bundles"
TRUST = SAMPLES / "trust.toml"
WORDS = {
    "en": ("Verify a ledger", "VERIFIED", "NOT VERIFIED", "What to do", "Verifying"),
    "ja": ("台帳の検証", "検証済み（VERIFIED）", "検証不成立（NOT VERIFIED）", "対処", "検証中"),
}

both = pytest.mark.parametrize("language", ["en", "ja"])


@pytest.fixture
def viewer() -> Iterator[Viewer]:
    site = Viewer()
    thread = threading.Thread(target=site.serve_forever, args=(0.02,))
    thread.start()
    yield site
    site.shutdown()
    thread.join()
    site.server_close()


@pytest.fixture
def visit(viewer: Viewer, browser: Chromium) -> Visitor:
    """She opened the link that the program printed."""
    browser.open(viewer.new_link())
    return Visitor(browser, f"http://{viewer.host}")


def packed(name: str, file: Path) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as opened:
        for path in sorted((SAMPLES / name).rglob("*")):
            if path.is_file():
                opened.write(path, f"ledger/{path.relative_to(SAMPLES / name).as_posix()}")
    return file


def until(visit: Visitor, condition: str) -> None:
    """Wait, within the page, until an expression in it holds; at most half a minute."""
    deadline = monotonic() + 30
    while not visit.browser.evaluate(condition):
        assert monotonic() < deadline, (condition, visit.text())


def arrive(visit: Visitor, path: str) -> None:
    """Wait, as she does, until the page of progress has given way to the one at its end."""
    until(visit, f"location.pathname === '{path}'")
    visit.open(path)


@both
def test_a_bundle_is_handed_in_and_its_report_read(visit: Visitor, tmp_path: Path, language: str) -> None:
    """From the start page to the report, in her language."""
    start, verified, *_ = WORDS[language]
    visit.open(f"/{language}/")
    assert start in visit.text()
    check_page(visit, "auditor-viewer-start")
    visit.upload("#trust-file", TRUST)
    visit.upload("#archive-file", packed("honest", tmp_path / "ledger.zip"))
    visit.click("form.drop button")
    arrive(visit, f"/{language}/result")
    assert verified in visit.text()
    check_page(visit, "auditor-viewer-verified")
    visit.click("a[href^='/report.html']")
    assert visit.path() == "/report.html"
    assert visit.browser.evaluate("document.title") == f"VERIFIED: {load_trust(TRUST).origin}"
    visible = f"getComputedStyle(document.getElementById('{language}')).display"
    assert visit.browser.evaluate(visible) == "block"
    assert axe.violations(visit.browser) == []


@both
def test_what_does_not_verify_says_so(visit: Visitor, tmp_path: Path, language: str) -> None:
    """In words and not by colour alone, and the way to the reasons is one click."""
    visit.open(f"/{language}/")
    visit.upload("#trust-file", TRUST)
    visit.upload("#archive-file", packed("overspent", tmp_path / "ledger.zip"))
    visit.click("form.drop button")
    arrive(visit, f"/{language}/result")
    assert WORDS[language][2] in visit.text()
    check_page(visit, "auditor-viewer-not-verified")


@both
def test_a_file_that_is_no_bundle_has_advice(visit: Visitor, tmp_path: Path, language: str) -> None:
    """An error page with code, cause and what to do, and the way back."""
    wrong = tmp_path / "ledger.zip"
    wrong.write_bytes(b"no archive")
    visit.open(f"/{language}/")
    visit.upload("#trust-file", TRUST)
    visit.upload("#archive-file", wrong)
    visit.click("form.drop button")
    assert "BUNDLE_REFUSED" in visit.text()
    assert WORDS[language][3] in visit.text()
    check_page(visit, "auditor-viewer-error")
    visit.click("main a.button")
    assert WORDS[language][0] in visit.text()


@both
def test_who_did_not_come_by_the_link_sees_why(viewer: Viewer, browser: Chromium, language: str) -> None:
    """And nothing else."""
    visitor = Visitor(browser, f"http://{viewer.host}")
    visitor.open(f"/{language}/")
    assert "ENTRY_REFUSED" in visitor.text()
    check_page(visitor, "auditor-viewer-refused")


@both
def test_progress_is_shown_and_ends_by_itself(
    visit: Visitor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, language: str
) -> None:
    """The page counts entries while they are read, and goes on to the result when that is there."""
    may_go_on = threading.Event()
    real = verify_bundle

    def slow(*arguments: object, report: Callable[[int, int], None]) -> object:
        report(64, 176)
        may_go_on.wait(60)
        return real(*arguments, report=report)  # type: ignore[arg-type]

    monkeypatch.setattr(verifying, "verify_bundle", slow)
    visit.open(f"/{language}/")
    visit.upload("#trust-file", TRUST)
    visit.upload("#archive-file", packed("honest", tmp_path / "ledger.zip"))
    visit.click("form.drop button")
    assert visit.path() == f"/{language}/progress"
    until(visit, "document.body.innerText.includes('64')")
    visit.open(f"/{language}/progress")
    assert visit.browser.evaluate("document.getElementById('progress').value") == 64
    check_page(visit, "auditor-viewer-progress")
    may_go_on.set()
    arrive(visit, f"/{language}/result")
    assert WORDS[language][1] in visit.text()


def test_without_scripts_everything_works(visit: Visitor, tmp_path: Path) -> None:
    """Hand in, ask how far it is by a link, read the verdict."""
    visit.browser.run_scripts(enabled=False)
    visit.open("/en/")
    visit.upload("#trust-file", TRUST)
    visit.upload("#archive-file", packed("honest", tmp_path / "ledger.zip"))
    visit.click("form.drop button")
    while visit.path() == "/en/progress":
        visit.click("a.button")
    assert visit.path() == "/en/result"
    assert "VERIFIED" in visit.text()


def test_a_bundle_may_be_dropped_anywhere_on_the_form(visit: Visitor, tmp_path: Path) -> None:
    """It becomes the file of the form, and is sent when she says so."""
    data = base64.b64encode(packed("honest", tmp_path / "ledger.zip").read_bytes()).decode()
    script = f"""
    (() => {{
      const bytes = Uint8Array.from(atob({json.dumps(data)}), (letter) => letter.charCodeAt(0));
      const moved = new DataTransfer();
      moved.items.add(new File([bytes], "ledger.zip", {{ type: "application/zip" }}));
      const form = document.querySelector("form.drop");
      for (const type of ["dragover", "drop"]) {{
        form.dispatchEvent(new DragEvent(type, {{ dataTransfer: moved, bubbles: true, cancelable: true }}));
      }}
      return document.getElementById("archive-file").files.length;
    }})()
    """
    visit.open("/en/")
    assert visit.browser.evaluate(script) == 1
    visit.upload("#trust-file", TRUST)
    visit.click("form.drop button")
    arrive(visit, "/en/result")
    assert "VERIFIED" in visit.text()


def test_a_directory_may_be_chosen_as_it_is(visit: Visitor) -> None:
    """The browser sends each file with its path in the directory."""
    visit.open("/en/")
    visit.upload("#trust-file", TRUST)
    visit.upload("#directory-file", SAMPLES / "honest")
    until(visit, "document.querySelector('#directory-file').files.length > 1")  # the browser walks through it
    visit.click("form.drop button")
    arrive(visit, "/en/result")
    assert "✓ VERIFIED" in visit.text()
