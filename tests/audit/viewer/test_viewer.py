"""The auditor's viewer over HTTP: who comes in, what it takes, and that its verdict is the verifier's."""

from __future__ import annotations

import http.client
import io
import re
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from noren_audit.html.html_report import render
from noren_audit.verification.trust import load_trust
from noren_audit.verification.verify import verify_bundle
from noren_audit.viewer import viewer as viewer_module
from noren_audit.viewer.viewer import LINK_SECONDS, Viewer
from noren_core.errors import ConfigurationError

# Typer 0.20 imports a name that the installed click has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:'click.utils:DeprecationWarning")

SAMPLES = Path(__file__).parents[1] / "sample_bundles"
TRUST = SAMPLES / "trust.toml"
RUN = "import sys; from noren_audit.cli import main; sys.exit(main())"


class Clock:
    """Seconds that a test decides."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def viewer(clock: Clock) -> Iterator[Viewer]:
    """A viewer without a trust file of its own."""
    site = Viewer(clock=clock)
    thread = threading.Thread(target=site.serve_forever, args=(0.02,))
    thread.start()
    yield site
    site.shutdown()
    thread.join()
    site.server_close()
    assert not site.private.exists()


@dataclass(frozen=True)
class Page:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    text: str


class Visitor:
    """A browser without scripts, as far as a form needs one."""

    def __init__(self, site: Viewer) -> None:
        self.site = site
        self.headers = {"Host": site.host, "Origin": f"http://{site.host}"}

    def ask(self, path: str, body: bytes | None = None, *, headers: Mapping[str, str] | None = None) -> Page:
        connection = http.client.HTTPConnection(self.site.host, timeout=20)
        sent = {**self.headers, **(headers or {})}
        connection.putrequest("GET" if body is None else "POST", path, skip_host=True)
        for name, value in sent.items():
            connection.putheader(name, value)
        if body is not None and "Content-Length" not in sent:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        page = Page(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode())
        connection.close()
        return page

    def come_in(self) -> Visitor:
        page = self.ask(self.site.new_link().removeprefix(f"http://{self.site.host}"))
        assert page.status == 303
        self.headers["Cookie"] = page.headers["set-cookie"].split(";")[0]
        return self

    def hand_in(self, files: Mapping[str, tuple[str, bytes]], *, csrf: str | None = None) -> Page:
        found = re.search(r"name='csrf' value='([^']+)'", self.ask("/en/").text)
        token = csrf if csrf is not None else found[1] if found else ""
        body = b'--edge\r\nContent-Disposition: form-data; name="csrf"\r\n\r\n' + token.encode() + b"\r\n"
        for key, (filename, content) in files.items():
            name = key.split("#")[0]
            head = f'--edge\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n\r\n'
            body += head.encode() + content + b"\r\n"
        kind = {"Content-Type": "multipart/form-data; boundary=edge"}
        return self.ask("/en/verify", body + b"--edge--\r\n", headers=kind)

    def outcome(self) -> Page:
        """The page at the end of the verification that was begun."""
        while '"ended": true' not in self.ask("/en/progress.json").text:  # as the page's script asks
            pass
        page = self.ask("/en/progress")
        return self.ask(page.headers["location"]) if page.status == 303 else page


@pytest.fixture
def visitor(viewer: Viewer) -> Visitor:
    return Visitor(viewer).come_in()


def packed(name: str, *, top: str = "ledger/") -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as opened:
        for path in sorted((SAMPLES / name).rglob("*")):
            if path.is_file():
                opened.write(path, top + path.relative_to(SAMPLES / name).as_posix())
    return data.getvalue()


def uploaded(name: str) -> dict[str, tuple[str, bytes]]:
    """As a browser sends a chosen directory: a part for each file, named with its path."""
    root = SAMPLES / name
    return {
        f"directory#{path}": (f"{name}/{path.relative_to(root).as_posix()}", path.read_bytes())
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def trust_file() -> dict[str, tuple[str, bytes]]:
    return {"trust": ("trust.toml", TRUST.read_bytes())}


# Who comes in.


@pytest.mark.parametrize(
    "path", ["/", "/en/", "/ja/progress", "/en/result", "/report.html", "/download/report.html"]
)
def test_nobody_comes_in_without_the_link(viewer: Viewer, path: str) -> None:
    """Every page but the style sheet and the script asks for the cookie; a made-up one does not count."""
    for headers in ({}, {"Cookie": f"{viewer.cookie}=guess"}, {"Cookie": "]]=;"}):
        page = Visitor(viewer).ask(path, headers=headers)
        assert (page.status, "ENTRY_REFUSED" in page.text) == (403, True)
        assert "csrf" not in page.text


def test_the_link_works_once_and_for_minutes(viewer: Viewer, clock: Clock) -> None:
    """A second use, a late one and a guess are refused; a new link ends the one before."""
    visitor = Visitor(viewer)
    link = viewer.new_link().removeprefix(f"http://{viewer.host}")
    assert visitor.ask("/enter?token=guess").status == 403
    assert visitor.ask(link).status == 303
    assert visitor.ask(link).status == 403
    old, late = viewer.new_link(), viewer.new_link()
    assert visitor.ask(old.removeprefix(f"http://{viewer.host}")).status == 403
    clock.now += LINK_SECONDS
    assert visitor.ask(late.removeprefix(f"http://{viewer.host}")).status == 403


def test_the_cookie_is_for_this_site_alone(viewer: Viewer) -> None:
    """No script reads it, and no other site's page sends it."""
    page = Visitor(viewer).ask(viewer.new_link().removeprefix(f"http://{viewer.host}"))
    assert page.headers["set-cookie"].split("; ")[1:] == ["Path=/", "HttpOnly", "SameSite=Strict"]


@pytest.mark.parametrize("host", ["localhost", "evil.example", "127.0.0.1", "127.0.0.1:1"])
def test_another_name_is_refused(visitor: Visitor, host: str) -> None:
    """A page of another site cannot read ours by a name that it points here."""
    page = visitor.ask("/en/", headers={"Host": host})
    assert (page.status, "HOST_REFUSED" in page.text, "csrf" in page.text) == (403, True, False)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", ""])
def test_a_form_of_another_site_is_refused(visitor: Visitor, origin: str) -> None:
    """By the origin that the browser names, whatever token it carries."""
    visitor.headers["Origin"] = origin
    page = visitor.hand_in({**trust_file(), "archive": ("b.zip", packed("honest"))})
    assert (page.status, "CSRF_REJECTED" in page.text) == (403, True)
    assert visitor.site.verification.standing is None


def test_a_form_without_the_token_is_refused_and_leaves_nothing(visitor: Visitor) -> None:
    """Before a file is taken."""
    page = visitor.hand_in({**trust_file(), "archive": ("b.zip", packed("honest"))}, csrf="guess")
    assert (page.status, "CSRF_REJECTED" in page.text) == (403, True)
    assert list(visitor.site.private.iterdir()) == []


@pytest.mark.parametrize("path", ["/en/", "/ja/", "/static/viewer.css", "/static/viewer.js", "/nothing"])
def test_every_answer_forbids_foreign_code(visitor: Visitor, path: str) -> None:
    """No inline code, nothing from elsewhere, no frame around it, nothing kept in a cache."""
    headers = visitor.ask(path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")


def test_other_methods_and_malformed_requests_are_answered_without_their_text(viewer: Viewer) -> None:
    """What is sent is not quoted back."""
    connection = http.client.HTTPConnection(viewer.host, timeout=20)
    connection.request("<b>BREW</b>", "/", headers={"Host": viewer.host})
    answer = connection.getresponse()
    assert (answer.status, b"BREW" in answer.read()) == (501, False)
    connection.close()


# What it takes, and what comes of it.


@pytest.mark.parametrize("name", ["honest", "overspent"])
@pytest.mark.parametrize("as_archive", [True, False])
def test_the_verdict_and_the_report_are_the_verifiers(visitor: Visitor, name: str, as_archive: bool) -> None:
    """A ZIP archive and a directory give, byte for byte, the report of `noren-audit verify --html`."""
    files = {"archive": ("b.zip", packed(name))} if as_archive else uploaded(name)
    assert visitor.hand_in({**trust_file(), **files}).headers["location"] == "/en/progress"
    trust = load_trust(TRUST)
    verdict = verify_bundle(SAMPLES / name, trust)
    page = visitor.outcome()
    assert page.status == 200
    assert f"</span> {verdict.word}</h1>" in page.text
    report = visitor.ask("/report.html")
    assert report.text == render(verdict, trust)
    saved = visitor.ask("/download/report.html")
    assert saved.text == report.text
    assert saved.headers["content-disposition"].startswith("attachment;")
    assert list(visitor.site.private.iterdir()) == []


def test_a_bundle_packed_without_its_directory_is_the_same(visitor: Visitor) -> None:
    """Some programs pack the directory, some what is in it."""
    visitor.hand_in({**trust_file(), "archive": ("b.zip", packed("honest", top=""))})
    assert "VERIFIED</h1>" in visitor.outcome().text


def test_a_file_too_many_is_found_as_on_the_command_line(visitor: Visitor) -> None:
    """The viewer does not tidy up: only what operating systems add is left out, and said so."""
    files = {**trust_file(), **uploaded("honest")}
    visitor.hand_in({**files, "directory#extra": ("honest/extra", b"x")})
    assert "NOT VERIFIED</h1>" in visitor.outcome().text
    visitor.hand_in({**files, "directory#hidden": ("honest/.DS_Store", b"x")})
    page = visitor.outcome().text
    assert "1 files that an operating system adds" in page
    assert "> VERIFIED</h1>" in page


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"archive": ("b.zip", b"no archive")}, "BUNDLE_REFUSED"),
        ({}, "BUNDLE_REFUSED"),
        ({"trust": ("t.toml", b"origin = 1"), "archive": ("b.zip", packed("honest"))}, "BAD_TRUST_FILE"),
        ({"directory": ("../../outside", b"x")}, "BUNDLE_REFUSED"),
        ({"trust": ("t.toml", b"x" * (65 << 10))}, "BAD_DATA"),
    ],
)
def test_what_cannot_be_verified_is_an_error_page_with_advice(
    visitor: Visitor, files: dict[str, tuple[str, bytes]], code: str
) -> None:
    """Code, cause and what to do; nothing stays on the disk, and the next bundle is taken."""
    page = visitor.hand_in({**trust_file(), **files})
    assert page.status == 400
    for word in (code, "Cause", "What to do", f"docs/errors.md#{code.lower()}"):
        assert word in page.text
    assert list(visitor.site.private.iterdir()) == []
    visitor.hand_in({**trust_file(), "archive": ("b.zip", packed("honest"))})
    assert "> VERIFIED</h1>" in visitor.outcome().text


def test_without_a_trust_file_nothing_is_verified(visitor: Visitor) -> None:
    """There is no verdict without somebody to believe."""
    page = visitor.hand_in({"archive": ("b.zip", packed("honest"))})
    assert (page.status, "BAD_TRUST_FILE" in page.text) == (400, True)


def test_an_upload_that_is_too_large_is_refused_by_its_length(visitor: Visitor) -> None:
    """Before anything of it is read."""
    kind = {"Content-Type": "multipart/form-data; boundary=edge", "Content-Length": str(1 << 40)}
    page = visitor.ask("/en/verify", b"", headers=kind)
    assert (page.status, "BUNDLE_REFUSED" in page.text) == (400, True)


def test_one_verification_at_a_time(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second bundle is refused while one is verified, and the pages show how far that one is."""
    begun, may_end = threading.Event(), threading.Event()
    real = verify_bundle

    def slow(*arguments: object, report: Callable[[int, int], None], **others: object) -> object:
        report(64, 176)
        begun.set()
        may_end.wait(20)
        return real(*arguments, report=report, **others)  # type: ignore[arg-type]

    monkeypatch.setattr("noren_audit.verification.verify.verify_bundle", slow)
    files = {**trust_file(), "archive": ("b.zip", packed("honest"))}
    visitor.hand_in(files)
    assert begun.wait(20)
    page = visitor.ask("/ja/progress")
    assert "176 件中 64 件を読み取りました。" in page.text
    assert '"read": 64, "in_all": 176' in visitor.ask("/en/progress.json").text
    assert visitor.ask("/en/").headers["location"] == "/en/progress"
    refused = visitor.hand_in(files, csrf=visitor.site.csrf)
    assert (refused.status, "JOB_RUNNING" in refused.text) == (409, True)
    may_end.set()
    assert "> VERIFIED</h1>" in visitor.outcome().text


def test_a_fault_of_the_program_is_told_without_what_it_was_about(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its text may quote the bundle: only its kind is shown, and the files are gone."""

    def broken(*arguments: object, **others: object) -> None:
        raise KeyError("taro@example.org")

    monkeypatch.setattr("noren_audit.verification.verify.verify_bundle", broken)
    visitor.hand_in({**trust_file(), "archive": ("b.zip", packed("honest"))})
    page = visitor.outcome()
    assert ("INTERNAL" in page.text, "KeyError" in page.text, "taro" in page.text) == (True, True, False)
    assert list(visitor.site.private.iterdir()) == []


def test_a_full_disk_is_an_error_page_and_leaves_nothing(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next bundle is taken, once there is room."""

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    files = {**trust_file(), "archive": ("b.zip", packed("honest"))}
    with monkeypatch.context() as disk:
        disk.setattr(viewer_module.BundleFiles, "add_archive", full)
        page = visitor.hand_in(files)
    assert (page.status, "STORAGE_FAILED" in page.text) == (409, True)
    assert list(visitor.site.private.iterdir()) == []
    visitor.hand_in(files)
    assert "> VERIFIED</h1>" in visitor.outcome().text


def test_a_path_that_is_none_says_so(visitor: Visitor) -> None:
    """With the advice of its code, and without quoting the path."""
    page = visitor.ask("/en/<b>nothing</b>")
    assert (page.status, "NOT_FOUND" in page.text, "<b>" in page.text) == (404, True, False)


def test_pages_are_in_the_language_of_their_path(visitor: Visitor) -> None:
    """The browser's choice decides once; from then on the link does."""
    for wanted, language in (("ja,en;q=0.8", "ja"), ("de,en", "en"), ("fr", "en"), ("", "en")):
        page = visitor.ask("/", headers={"Accept-Language": wanted})
        assert page.headers["location"] == f"/{language}/"
    for language, other in (("ja", "en"), ("en", "ja")):
        page = visitor.ask(f"/{language}/")
        assert f'<html lang="{language}">' in page.text
        assert f"<a href='/{other}/' lang='{other}'" in page.text


def test_a_name_in_the_trust_file_stays_text(visitor: Visitor) -> None:
    """Whatever comes from outside is escaped on every page."""
    trust = TRUST.read_text(encoding="utf-8").replace("noren.example/ledger", "<b>x</b>")
    page = visitor.hand_in({"trust": ("t.toml", trust.encode()), "archive": ("b.zip", packed("honest"))})
    shown = page.text + (visitor.outcome().text if page.status == 303 else "")
    assert "<b>x" not in shown


# How it is started.


def test_it_listens_on_loopback_alone(viewer: Viewer) -> None:
    """And a port that is taken is a configuration error that leaves no directory."""
    assert viewer.server_address[0] == viewer_module.HOST == "127.0.0.1"
    with pytest.raises(ConfigurationError, match="cannot listen"):
        Viewer(port=viewer.server_address[1])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_a_bundle_until_it_is_stopped(number: signal.Signals) -> None:
    """The link comes on stderr; Ctrl-C ends it with exit 0 and nothing of it is left."""
    command = [
        sys.executable,
        "-c",
        RUN,
        "view",
        str(SAMPLES / "honest"),
        "--trust",
        str(TRUST),
        "--no-browser",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.fullmatch(r"viewer: http://(127\.0\.0\.1:\d+)(/enter\?token=\S+)\n", line)
        assert found is not None
        connection = http.client.HTTPConnection(found[1], timeout=20)
        connection.request("GET", found[2])
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 303
        cookie = str(answer.headers["Set-Cookie"]).split(";")[0]
        connection.request("GET", "/", headers={"Cookie": cookie})
        assert connection.getresponse().headers["Location"] == "/en/progress"
        connection.close()
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout, stderr) == (0, "state: stopped\n", "")


def test_a_bundle_without_a_trust_file_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """There is no verdict without somebody to believe."""
    from noren_audit.cli import main

    assert main(["view", str(SAMPLES / "honest"), "--no-browser"]) == 2
    assert "--trust" in capsys.readouterr().err


@pytest.mark.parametrize(("has_browser", "said"), [(True, ""), (False, "no browser here; the report is in")])
def test_verify_opens_its_report(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    has_browser: bool,
    said: str,
) -> None:
    """--open hands the written file to the browser; without one it says where it is, which is no error."""
    from noren_audit.cli import main

    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or has_browser)
    report = tmp_path / "report.html"
    arguments = ["verify", str(SAMPLES / "honest"), "--trust", str(TRUST)]
    assert main([*arguments, "--html", str(report), "--open"]) == 0
    assert opened == [report.as_uri()]
    assert report.is_file()
    assert said in capsys.readouterr().err
    assert main([*arguments, "--open"]) == 2
