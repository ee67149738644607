"""The students' pages as requests: who comes in, what is hers, and what no page does."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from student_http import COMPANY, LINK, POSITION, SCORE, SEASON, StudentsPlatform, students_platform

from noren_core.crypto.identity import SigningKey
from noren_core.errors import ConfigurationError, DataError
from noren_core.ledger.entries import ServiceScope, ServiceStatus
from noren_core.rights.consent.consent_event import Action, Answer, EventKind, KeyRegistered, sign_event
from noren_core.rights.consent.consent_record import ConsentState
from noren_core.rights.consent.receipt import verify_receipt
from noren_core.rights.locales import Locale
from noren_core.rights.service.service_state import sign_request
from noren_core.rights.student_device import StudentDevice
from noren_local import loopback
from noren_server.platform_files import SERVER_CERTIFICATE, Platform
from noren_server.policies.consent_screen import STYLESHEET_PATH, render_consent_screen, stylesheet
from noren_server.policies.page_markup import read_page
from noren_server.rights.service_states import service_desk
from noren_server.rights.student_api import application, beside, run_student_api
from noren_server.student_pages.entry_pages import ARRIVAL_PATH
from noren_server.student_pages.student_site import hosts_of, student_site
from noren_web.access import declared

HOST = "http://students.example"
QUESTION = {"company": COMPANY, "position": POSITION, "season": SEASON, "route": "consent-score"}
_CSRF = re.compile(r'name="csrf" value="([0-9a-f]+)"')


class Browser:
    """One student's browser without scripts."""

    def __init__(self, app: FastAPI) -> None:
        self.client = TestClient(app, base_url=HOST, follow_redirects=True)

    def arrive(self, code: str, **asked: str):  # type: ignore[no-untyped-def]
        return self.client.post(
            ARRIVAL_PATH,
            data={"code": code, "lang": "en", **asked},
            headers={"origin": "https://jobs.example"},
        )

    def get(self, path: str):  # type: ignore[no-untyped-def]
        return self.client.get(path)

    def post(self, path: str, seen_at: str = "/", **fields: str):  # type: ignore[no-untyped-def]
        """Send a form of the page at `seen_at`."""
        found = _CSRF.search(self.client.get(seen_at).text)
        assert found is not None
        return self.client.post(path, data={"csrf": found[1], **fields}, headers={"origin": HOST})


@pytest.fixture
def students(tmp_path: Path) -> Iterator[StudentsPlatform]:
    with students_platform(tmp_path) as made:
        yield made


@pytest.fixture
def app(students: StudentsPlatform) -> FastAPI:
    hosts = frozenset({HOST.removeprefix("http://")})
    return student_site(students.platform, students.services, hosts=hosts, is_tls=False)


@pytest.fixture
def aiko(students: StudentsPlatform, app: FastAPI) -> Browser:
    browser = Browser(app)
    assert browser.arrive(students.services.codes.issue("aiko"), **QUESTION).status_code == 200
    return browser


def records(students: StudentsPlatform, student: str = "aiko") -> list[str]:
    return [item.record.record.hex() for item in students.consents.book.student_records(student)]


def begin(browser: Browser) -> None:
    """Say by what the company finds her, and come to the screen."""
    fields = {"route": "consent-score", "identifier_kind": "email", "identifier": "a@b.jp"}
    browser.post("/consent/start", "/consent", **fields)


def state(students: StudentsPlatform, number: int = 0) -> ConsentState:
    return students.consents.book.student_records("aiko")[number].record.state


# Coming in --------------------------------------------------------------------------------------------------


def test_a_code_lets_one_browser_in_once(students: StudentsPlatform, app: FastAPI) -> None:
    """The second time, too late, or never issued: the same refusal, and no session."""
    code = students.services.codes.issue("aiko")
    assert Browser(app).arrive(code).url.path == "/"
    students.services.codes.issue("beniko")
    late = students.services.codes.issue("chie")
    students.clock.now += 901
    for wrong in (code, late, "x" * 43):
        browser = Browser(app)
        answer = browser.arrive(wrong)
        assert answer.status_code == 422
        assert "NOT_AUTHENTICATED" in answer.text
        assert browser.get("/scores").url.path == "/sign-in"


def test_every_page_but_the_entry_asks_who_is_there(app: FastAPI) -> None:
    """And no form is taken from nobody."""
    public = {"/sign-in", "/sign-in/again", STYLESHEET_PATH, ARRIVAL_PATH, "/enter"}
    paths = [(route.path, "GET" in route.methods, access.public) for route, access in declared(app)]
    assert {path for path, _, is_public in paths if is_public} == public
    for path, is_read, is_public in paths:
        if is_public:
            continue
        concrete = re.sub(r"\{\w+\}", "x", path)
        browser = Browser(app)
        if is_read:
            assert browser.get(concrete).url.path == "/sign-in", path
        else:
            answer = browser.client.post(concrete, data={}, headers={"origin": HOST})
            assert answer.status_code in (401, 403), path


def test_a_session_ends_with_her_sign_out(aiko: Browser) -> None:
    """What follows is nobody's."""
    cookie = dict(aiko.client.cookies)
    assert aiko.post("/sign-out").url.path == "/sign-in"
    assert dict(aiko.client.cookies) != cookie
    assert aiko.get("/requests").url.path == "/sign-in"


def test_a_form_of_another_site_is_refused(aiko: Browser, students: StudentsPlatform) -> None:
    """Without the session's token, or from elsewhere."""
    aiko.get("/consent/screen")
    fields = {"record": "00" * 16}
    for headers in ({"origin": HOST}, {"origin": "https://jobs.example"}):
        assert aiko.client.post("/withdrawal", data=fields, headers=headers).status_code == 403


def test_no_account_is_in_an_address(aiko: Browser, app: FastAPI) -> None:
    """Neither in the paths of the site, nor in any link or form of a page."""
    for path in ("/", "/consent", "/offers", "/scores", "/holdings", "/requests", "/notices", "/keys"):
        page = aiko.get(path).text
        addresses = re.findall(r'(?:href|action|src|hx-get)="([^"]*)"', page)
        assert addresses
        assert not any("aiko" in address for address in addresses), path
    for route, _ in declared(app):
        assert "student" not in route.path


def test_who_asks_too_often_waits(aiko: Browser) -> None:
    """As at the API."""
    statuses = {aiko.get("/notices").status_code for _ in range(130)}
    assert statuses == {200, 429}


# Consent ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", Locale)
def test_the_page_to_sign_on_says_what_the_registered_one_says(
    students: StudentsPlatform, aiko: Browser, language: Locale
) -> None:
    """The same text and hash, known to the register; it loads our style and our script and nothing else."""
    begin(aiko)
    page = aiko.get(f"/consent/screen?lang={language}").text
    reading = read_page(page)
    assert reading.sha256 in students.facts.screens
    shown = students.services.notices.show(
        "nobody", company=COMPANY, position=POSITION, season=SEASON, route="consent-score", locale=language
    )
    plain = render_consent_screen(shown.policy, shown.facts, language, (LINK, SCORE))
    assert read_page(plain).text == reading.text
    assert re.findall(r'(?:src|href)="([^"]*)"', page) == [STYLESHEET_PATH, "/static/site/consent_page.js"]
    assert aiko.get(STYLESHEET_PATH).text == stylesheet()
    assert aiko.get("/static/site/consent_page.js").status_code == 200


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("/static/site/consent_page.js", "/static/site/key_page.js"),
        ("</script>", "alert(1)</script>"),
        ('type="module" ', ""),
        (STYLESHEET_PATH, "/other.css"),
        ("</head>", "<style>p { display: none }</style></head>"),
    ],
)
def test_another_script_or_style_makes_another_screen(aiko: Browser, old: str, new: str) -> None:
    """It is refused whole by whoever reads our pages without a browser."""
    begin(aiko)
    page = aiko.get("/consent/screen").text
    read_page(page)
    assert old in page
    with pytest.raises(DataError):
        read_page(page.replace(old, new, 1))


def test_a_question_is_shown_once_and_goes_on(students: StudentsPlatform, aiko: Browser) -> None:
    """Answering one of two questions shows the screen again without a second SHOWN."""
    begin(aiko)
    aiko.get("/consent/screen")
    before = len(students.consents.book.student_events("aiko"))
    aiko.post("/consent/answer", "/consent/screen", purpose=LINK.value, action="refuse")
    aiko.get("/consent/screen")
    assert len(students.consents.book.student_events("aiko")) == before + 1
    assert state(students) is ConsentState.REFUSED


def test_nobody_agrees_for_her(students: StudentsPlatform, aiko: Browser) -> None:
    """No event, an event about something else, or another's signature: nothing is given."""
    device = StudentDevice.create("aiko")
    now = students.clock()
    students.consents.book.record(device.registers(time=now), now=now)
    begin(aiko)
    aiko.get("/consent/screen")
    stored = students.consents.book.student_records("aiko")[0].record
    assert stored.shown is not None
    answer = Answer(
        stored.shown,
        Action.PRESS_DEDICATED_BUTTON,
        prechecked=False,
        bundled=False,
        dwell_ms=1,
        expires_at=now + 9,
    )
    own = device.gives(stored, answer, time=now)
    forged = sign_event(own.event, students.platform.consent_key)
    refusal = device.refuses(stored.key, stored.record, time=now)
    fields = {"purpose": LINK.value, "action": "give"}
    for event in ("", forged.to_bytes().decode(), refusal.to_bytes().decode()):
        aiko.post("/consent/answer", "/consent/screen", **fields, event=event)
        assert state(students) is ConsentState.SHOWN
    aiko.post("/consent/answer", "/consent/screen", **fields, event=own.to_bytes().decode())
    assert state(students) is ConsentState.GIVEN


def test_a_suspended_service_takes_a_no_and_no_yes(students: StudentsPlatform, aiko: Browser) -> None:
    """The page says so before she reads; withdrawal and refusal go on."""
    desk = service_desk(students.platform, students.clock)
    desk.suspend(
        sign_request(
            scope=ServiceScope.GLOBAL,
            name="",
            state=ServiceStatus.SUSPENDED,
            reason="DRILL",
            at=students.clock(),
            key=students.platform.signing_key,
        )
    )
    assert "does not run for this company" in aiko.get("/consent").text
    begin(aiko)
    aiko.get("/consent/screen")
    aiko.post("/consent/answer", "/consent/screen", purpose=LINK.value, action="refuse")
    assert state(students) is ConsentState.REFUSED


# What is hers -----------------------------------------------------------------------------------------------


def test_nothing_of_another_student_can_be_opened_or_ended(students: StudentsPlatform, aiko: Browser) -> None:
    """Handles of hers are answered like handles of nobody."""
    beniko = students.registered("beniko")
    beniko.gives(LINK, "consent-score")
    [handle, *_] = records(students, "beniko")
    for path in (f"/receipts/{handle}", f"/receipts/{handle}/file", f"/withdrawal/one/{handle}"):
        answer, nobody = aiko.get(path), aiko.get(path.replace(handle, "00" * 16))
        assert (answer.status_code, nobody.status_code) == (404, 404)
        assert answer.text.replace(handle, "") == nobody.text.replace("00" * 16, "")
    assert aiko.post("/withdrawal", record=handle).status_code == 404
    assert students.consents.book.student_records("beniko")[0].record.is_live


def test_a_receipt_is_the_services(students: StudentsPlatform, aiko: Browser) -> None:
    """The file verifies offline; the page has its hash, its clauses and its events."""
    student = students.registered("aiko")
    student.gives(LINK, "consent-score")
    [handle, *_] = records(students)
    content = aiko.get(f"/receipts/{handle}/file").content
    receipt = verify_receipt(content, service_key=students.platform.consent_key.public_key)
    assert receipt.record.record.hex() == handle
    page = aiko.get(f"/receipts/{handle}").text
    assert receipt.record.answer is not None
    assert receipt.record.answer.screen.sha256 in page
    assert [kind.value in page for kind in (EventKind.SHOWN, EventKind.GIVEN)] == [True, True]


def test_one_withdrawal_ends_all_that_it_names(students: StudentsPlatform, aiko: Browser) -> None:
    """By company, or everything; an unknown record among them ends nothing."""
    student = students.registered("aiko")
    for purpose in (LINK, SCORE):
        student.gives(purpose, "consent-score")
    for path in ("/withdrawal/all", f"/withdrawal/company/{COMPANY}"):
        handles = re.findall(r'name="record" value="([0-9a-f]{32})"', aiko.get(path).text)
        assert sorted(handles) == sorted(records(students))
    found = _CSRF.search(aiko.get("/").text)
    assert found is not None
    headers = {"origin": HOST}
    for handles, status in (([*records(students), "00" * 16], 404), (records(students), 200)):
        data = {"csrf": found[1], "record": handles}
        assert aiko.client.post("/withdrawal", data=data, headers=headers).status_code == status
    live = [item.record.is_live for item in students.consents.book.student_records("aiko")]
    assert live == [False, False]


# Keys -------------------------------------------------------------------------------------------------------


def test_a_key_is_registered_only_for_herself_and_soon(students: StudentsPlatform, aiko: Browser) -> None:
    """Another's account, a replaced key that is not named, or six minutes after she came in: refused."""
    now = students.clock()
    device, other = StudentDevice.create("aiko"), StudentDevice.create("beniko")
    key = SigningKey.generate()
    unnamed = KeyRegistered("aiko", key.public_key, b"\1" * 32, reauthenticated=True, time=now)
    for signed in (other.registers(time=now), sign_event(unnamed, key)):
        answer = aiko.post("/keys/register", "/keys", event=signed.to_bytes().decode())
        assert answer.status_code in (409, 422)
    assert students.consents.book.student_key("aiko") is None
    assert "data-draw" in aiko.get("/keys").text
    students.clock.now += 301
    assert "data-draw" not in aiko.get("/keys").text
    event = device.registers(time=now).to_bytes().decode()
    aiko.post("/keys/register", "/keys", event=event)
    assert students.consents.book.student_key("aiko") is None
    aiko.arrive(students.services.codes.issue("aiko"))
    assert aiko.post("/keys/register", "/keys", event=event).status_code == 200
    assert students.consents.book.student_key("aiko") == device.signing_key.public_key


def test_a_lost_key_is_replaced_after_coming_in_again(students: StudentsPlatform, aiko: Browser) -> None:
    """Endorsed by the service; she is told of it under notices."""
    old, new, now = StudentDevice.create("aiko"), StudentDevice.create("aiko"), students.clock()
    for device in (old, new):
        signed = (
            device.registers(time=now)
            if device is old
            else new.replaces_lost(old.signing_key.public_key, time=now)
        )
        assert aiko.post("/keys/register", "/keys", event=signed.to_bytes().decode()).status_code == 200
    assert students.consents.book.student_key("aiko") == new.signing_key.public_key
    assert "in place of a lost one" in aiko.get("/notices").text


def test_the_pages_and_the_api_share_a_port(students: StudentsPlatform, app: FastAPI) -> None:
    """What begins with /v1/ is signed by devices, the rest is pages."""
    client = TestClient(beside(application(students.services), app), base_url=HOST)
    assert client.get("/v1/consents").json()["code"] == "NOT_AUTHENTICATED"
    assert client.get("/v1/openapi.json").status_code == 200
    assert "text/html" in client.get("/sign-in").headers["content-type"]


def test_serving_has_both_over_tls(students: StudentsPlatform, tmp_path: Path) -> None:
    """As `noren-platform serve` starts them: one port, secure cookies, other hosts refused."""
    directory = students.platform.directory
    port = loopback.free_port()
    hosts = frozenset({f"127.0.0.1:{port}"})
    running = run_student_api(
        students.services,
        host="127.0.0.1",
        port=port,
        private_key=students.platform.server_tls.key,
        certificate=directory / SERVER_CERTIFICATE,
        pages=student_site(students.platform, students.services, hosts=hosts),
    )
    context = ssl.create_default_context(cafile=str(directory / "ca" / "ca.pem"))
    with (
        running,
        httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=context, trust_env=False) as client,
    ):
        assert client.get("/v1/openapi.json").status_code == 200
        page = client.get("/sign-in")
        assert page.status_code == 200
        cookie = page.headers["set-cookie"]
        assert cookie.startswith("__Host-")
        assert {"Secure", "HttpOnly", "SameSite=Lax"} <= set(cookie.split("; "))
        assert "max-age" in page.headers["strict-transport-security"]
        assert client.get("/sign-in", headers={"host": "other.example"}).status_code == 421
        arrived = client.post(ARRIVAL_PATH, data={"code": students.services.codes.issue("aiko")})
        assert arrived.status_code == 303
        assert client.get("/keys").status_code == 200


def test_the_public_names_come_from_the_configuration(students: StudentsPlatform) -> None:
    """Its own address, and those of the proxies in front of it; what is no name is refused."""
    config = students.platform.directory / "config.toml"
    own = hosts_of(Platform(students.platform.directory))
    text = config.read_text()
    config.write_text(f'student_hosts = ["consents.jobs.example"]\n{text}')
    assert hosts_of(Platform(students.platform.directory)) == own | {"consents.jobs.example"}
    for wrong in ('"jobs.example"', '["Jobs.example"]', '["https://jobs.example"]', "[1]"):
        config.write_text(f"student_hosts = {wrong}\n{text}")
        with pytest.raises(ConfigurationError):
            Platform(students.platform.directory)
