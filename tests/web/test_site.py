"""What stands in front of every page, and what comes after it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.testclient import TestClient
from sample_site.pages import HOST, Guest, sample_site

from noren_core.errors import ConfigurationError, DataError
from noren_web.access import allow
from noren_web.localhost_entry import VALID_SECONDS, OneTimeEntry
from noren_web.pages import redirect
from noren_web.posted_form import PostedForm
from noren_web.sessions import ABSOLUTE_SECONDS, IDLE_SECONDS
from noren_web.site import HEADERS, Link, build_site
from noren_web.translations import lazy


class Clock:
    """Stands where it is put."""

    now = 1_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(clock: Clock) -> FastAPI:
    return build_site(sample_site(clock))


@pytest.fixture
def visitor(app: FastAPI) -> Iterator[TestClient]:
    with visiting(app) as client:
        yield client


def visiting(app: FastAPI, *, scheme: str = "http") -> TestClient:
    return TestClient(app, base_url=f"{scheme}://{HOST}", follow_redirects=False)


def token(client: TestClient) -> str:
    """What a form of a page carries."""
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', client.get("/").text)
    assert found is not None
    return found.group(1)


def posted(client: TestClient, path: str, fields: dict[str, Any], **changes: Any) -> httpx2.Response:
    """A form as a page of ours sends it."""
    headers = {"origin": str(client.base_url).rstrip("/"), "sec-fetch-site": "same-origin"}
    return client.post(path, data={"csrf": token(client)} | fields, **({"headers": headers} | changes))


@pytest.mark.parametrize("host", ["evil.example", "site.example", "site.example:1235", "", "127.0.0.1"])
def test_another_host_is_not_answered(visitor: TestClient, host: str) -> None:
    """A name that points here (DNS rebinding) gets no page and no session."""
    answer = visitor.get("/", headers={"host": host})
    assert answer.status_code == 421
    assert "set-cookie" not in answer.headers
    assert visitor.get("/").status_code == 200


def test_a_form_of_ours_is_taken_once_shown(visitor: TestClient) -> None:
    """And its notice is shown once, in the page's language, and escaped."""
    answer = posted(visitor, "/say", {"words": "<b>hi"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "Said: &lt;b&gt;hi" in visitor.get("/").text
    assert "Said:" not in visitor.get("/").text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": f"https://{HOST}"},
        {"sec-fetch-site": "cross-site"},
        {"origin": f"http://{HOST}", "sec-fetch-site": "cross-site"},
    ],
)
def test_a_form_of_another_site_is_refused(visitor: TestClient, headers: dict[str, str]) -> None:
    """Whatever token it carries."""
    assert posted(visitor, "/say", {"words": "hi"}, headers=headers).status_code == 403


@pytest.mark.parametrize("given", ["", "0" * 64, "é"])
def test_a_form_without_the_token_is_refused(visitor: TestClient, given: str) -> None:
    """The right origin is not enough."""
    answer = posted(visitor, "/say", {"words": "hi", "csrf": given})
    assert answer.status_code == 403
    assert "CSRF_REJECTED" in answer.text


def test_the_token_of_another_session_is_refused(app: FastAPI, visitor: TestClient) -> None:
    """Also if that session is one's own, at the same site."""
    with visiting(app) as other:
        assert posted(visitor, "/say", {"words": "hi", "csrf": token(other)}).status_code == 403


def test_another_site_may_post_only_where_it_is_allowed(visitor: TestClient) -> None:
    """Such a path has no token to ask for; its handler verifies what is handed over."""
    answer = visitor.post("/handed-over", data={"words": "hi"}, headers={"origin": "https://jobs.example"})
    assert answer.status_code == 303


def test_a_body_is_bounded(visitor: TestClient) -> None:
    """By what it says of its length, and by what comes."""
    assert posted(visitor, "/say", {"words": "x" * 5000}).status_code == 413
    headers = {"origin": f"http://{HOST}", "content-type": "application/x-www-form-urlencoded"}
    answer = visitor.post("/say", content=(b"x" * 1000 for _ in range(6)), headers=headers)
    assert answer.status_code == 413
    for said in ("-1", "5000"):  # it is not waited for what is announced to be too long
        assert visitor.post("/say", headers=headers | {"content-length": said}).status_code == 413


def test_fields_and_files_are_bounded(app: FastAPI, visitor: TestClient) -> None:
    """A field by its characters, a file by its bytes; a path in a file's name is cut off."""
    assert "FIELD_TOO_LONG" in posted(visitor, "/say", {"words": "x" * 11}).text
    assert "FIELD_MISSING" in posted(visitor, "/say", {}).text
    assert "FIELD_MISSING" in posted(visitor, "/say", {"words": ["a", "b"]}).text
    file = {"file": ("../../etc/passwd", b"1,2")}
    assert posted(visitor, "/say", {"words": "a"}, files=file).status_code == 303
    assert (app.state.desk["file"].name, app.state.desk["file"].content) == ("passwd", b"1,2")
    assert posted(visitor, "/say", {"words": "a"}, files={"file": ("f", b"x" * 101)}).status_code == 422


def test_a_typed_confirmation_is_that_word() -> None:
    """Nothing else does what cannot be undone, and nothing typed is an error of its own."""
    PostedForm({"confirmation": (" abolish ",)}, {}).verify_confirmation("abolish")
    for typed, code in (("Abolish", "CONFIRMATION_WRONG"), ("", "FIELD_MISSING")):
        with pytest.raises(DataError) as refused:
            PostedForm({"confirmation": (typed,)}, {}).verify_confirmation("abolish")
        assert refused.value.code == code


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_refused(visitor: TestClient, method: str) -> None:
    """None of our pages has them."""
    assert visitor.request(method, "/").status_code == 405


@pytest.mark.parametrize(
    "path", ["/", "/nowhere", "/broken", "/refused", "/file", "/static/kit/noren.css", "/members"]
)
def test_every_answer_has_the_headers(visitor: TestClient, path: str) -> None:
    """Pages, errors, redirects and files: no foreign code, no frame, no cache of what is somebody's."""
    answer = visitor.get(path)
    for name, value in HEADERS.items():
        if name != "Cache-Control":
            assert answer.headers.get_list(name) == [value], name
    caching = "no-cache" if path.startswith("/static/") else "no-store"
    assert answer.headers.get_list("cache-control") == [caching]


def test_static_files_start_no_session(visitor: TestClient) -> None:
    """And nothing outside the folder is one."""
    assert "set-cookie" not in visitor.get("/static/kit/noren.css").headers
    assert visitor.get("/static/kit/%2e%2e/site.py").status_code == 404


def test_an_error_of_ours_is_explained(visitor: TestClient) -> None:
    """Its code, its sentence, what to do; a status of its own; escaped."""
    answer = visitor.get("/refused")
    assert answer.status_code == 423
    assert "SERVICE_SUSPENDED" in answer.text
    assert "expected &lt;order&gt;, got none" in answer.text
    assert "docs/errors.md#service_suspended" in answer.text


def test_an_error_that_nobody_expected_tells_nothing(
    visitor: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither to the reader nor to the log: its text may hold somebody's data."""
    with caplog.at_level(logging.DEBUG):
        answer = visitor.get("/broken")
    assert answer.status_code == 500
    assert "INTERNAL" in answer.text
    assert "taro" not in answer.text + caplog.text
    assert "RuntimeError at pages.py" in caplog.text


def test_who_is_not_signed_in_is_asked_to(visitor: TestClient) -> None:
    """And comes to where she wanted to go, under another cookie than before, without its data."""
    answer = visitor.get("/members")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    before = dict(visitor.cookies)
    answer = posted(visitor, "/sign-in", {"name": "aiko"})
    assert answer.headers["location"] == "/members"
    assert dict(visitor.cookies) != before
    assert "aiko" in visitor.get("/members").text
    with visiting(visitor.app) as fixed:  # type: ignore[arg-type]  # whoever planted the first cookie
        fixed.cookies.update(before)
        assert fixed.get("/members").status_code == 303


def test_a_page_for_a_role_is_refused_to_others(visitor: TestClient) -> None:
    """And does not stand in their navigation."""
    posted(visitor, "/sign-in", {"name": "aiko", "role": "gardener"})
    assert 'href="/keepers"' not in visitor.get("/members").text
    answer = visitor.get("/keepers")
    assert (answer.status_code, "ROLE_FORBIDDEN" in answer.text) == (403, True)
    posted(visitor, "/sign-in", {"name": "aiko", "role": "keeper"})
    assert 'href="/keepers"' in visitor.get("/members").text
    assert visitor.get("/keepers").status_code == 200


def test_a_fresh_sign_in_is_asked_for_again(visitor: TestClient, clock: Clock) -> None:
    """After a few minutes, where a page needs one."""
    posted(visitor, "/sign-in", {"name": "aiko", "role": "keeper"})
    clock.now += 301
    assert visitor.get("/keepers").headers["location"] == "/sign-in/again"
    assert visitor.get("/members").status_code == 200


def test_sessions_end(visitor: TestClient, clock: Clock) -> None:
    """Without use after a while, in any case after a day's work, and when somebody signs out."""
    posted(visitor, "/sign-in", {"name": "aiko"})
    for _ in range(ABSOLUTE_SECONDS // IDLE_SECONDS):
        clock.now += IDLE_SECONDS
        assert visitor.get("/members").status_code == 200
    clock.now += 1
    assert visitor.get("/members").status_code == 303
    posted(visitor, "/sign-in", {"name": "aiko"})
    clock.now += IDLE_SECONDS + 1
    assert visitor.get("/members").status_code == 303
    posted(visitor, "/sign-in", {"name": "aiko"})
    kept = dict(visitor.cookies)
    assert posted(visitor, "/sign-out", {}).status_code == 303
    visitor.cookies.clear()
    visitor.cookies.update(kept)
    assert visitor.get("/members").status_code == 303


@pytest.mark.parametrize("is_tls", [False, True])
def test_cookies_are_hardened(clock: Clock, is_tls: bool) -> None:
    """No script reads them; over TLS they bear the prefix that ties them to this host."""
    with visiting(
        build_site(sample_site(clock, is_tls=is_tls)), scheme="https" if is_tls else "http"
    ) as client:
        answer = client.get("/")
        cookie = answer.headers["set-cookie"]
    assert {"Path=/", "HttpOnly", "SameSite=Lax"} <= set(cookie.split("; "))
    assert cookie.startswith("__Host-noren-sample-1234=" if is_tls else "noren-sample-1234=")
    assert ("Secure" in cookie.split("; ")) is is_tls
    assert ("strict-transport-security" in answer.headers) is is_tls


def test_nobody_comes_in_without_the_link(clock: Clock) -> None:
    """It works once, for a few minutes; the cookie that it gives is not the one that came with it."""
    entry = OneTimeEntry(clock)
    with visiting(build_site(sample_site(clock, entry=entry))) as client:
        answer = client.get("/")
        assert (answer.status_code, "ENTRY_REFUSED" in answer.text) == (403, True)
        before = dict(client.cookies)
        path = entry.new_path()
        assert client.get(path).status_code == 303
        assert dict(client.cookies) != before
        assert client.get("/").status_code == 200
        client.cookies.clear()
        assert client.get(path).status_code == 403
        late = entry.new_path()
        clock.now += VALID_SECONDS
        assert client.get(late).status_code == 403
        assert client.get("/enter?token=%ff").status_code == 403
        client.cookies.clear()
        assert "SameSite=Strict" in client.get("/").headers["set-cookie"]


def test_a_site_without_links_has_no_entry(visitor: TestClient) -> None:
    """Nothing to try tokens at."""
    assert visitor.get("/enter?token=a").status_code == 404


@pytest.mark.parametrize(
    ("accepted", "language"),
    [("ja", "ja"), ("en-GB,ja;q=0.9", "en"), ("fr, ja;q=0.2, en;q=0.1", "ja"), ("", "en"), ("ja;q=x", "en")],
)
def test_the_language_is_the_readers(visitor: TestClient, accepted: str, language: str) -> None:
    """What her browser says, until she chooses; then that, on every page."""
    assert f'<html lang="{language}">' in visitor.get("/", headers={"accept-language": accepted}).text
    assert '<html lang="ja">' in visitor.get("/?lang=ja", headers={"accept-language": accepted}).text
    after = visitor.get("/", headers={"accept-language": accepted}).text
    assert '<html lang="ja">' in after
    assert "<h1>表</h1>" in after
    assert '<html lang="ja">' in visitor.get("/?lang=klingon").text


def test_times_are_told_with_their_zone(visitor: TestClient) -> None:
    """Of Japan in Japanese, of UTC in English."""
    assert "1970-01-01 00:00 UTC" in visitor.get("/?lang=en").text
    assert "1970-01-01 09:00 JST" in visitor.get("/?lang=ja").text


def test_a_job_is_followed_by_who_started_it(app: FastAPI, visitor: TestClient) -> None:
    """As a page, and as the part that a page asks for again; nobody else finds it."""
    posted(visitor, "/sign-in", {"name": "aiko"})
    job = app.state.jobs.start(
        lambda job: job.progress(1, 3, "one"), kind="k", owner="aiko", title="Counting", next_path="/members"
    )
    job.wait()
    whole, part = (visitor.get(f"/jobs/{job.job}", headers=h).text for h in ({}, {"hx-request": "true"}))
    assert "<html" in whole
    assert "<html" not in part
    assert 'href="/members"' in part
    assert "hx-get" not in part
    posted(visitor, "/sign-in", {"name": "ben"})
    assert visitor.get(f"/jobs/{job.job}").status_code == 404


def test_a_site_with_an_undeclared_page_is_not_built(clock: Clock) -> None:
    """Forgetting to say who may come in is an error before anybody comes."""
    router = APIRouter()

    @router.get("/open")
    def undeclared(request: Request) -> Response:
        return redirect(request, "/")

    with pytest.raises(ConfigurationError, match="/open"):
        build_site(sample_site(clock, routers=[router], navigation=[]))


def test_a_site_with_a_form_that_nobody_verifies_is_not_built(clock: Clock) -> None:
    """A POST needs `Posted`, and other methods are not for pages."""
    unverified, putting = APIRouter(), APIRouter()

    @unverified.post("/take", dependencies=[allow()])
    def take(request: Request) -> Response:
        return redirect(request, "/")

    @putting.put("/put", dependencies=[allow()])
    def put(request: Request) -> Response:
        return redirect(request, "/")

    for router in (unverified, putting):
        with pytest.raises(ConfigurationError, match=r"/(take|put)"):
            build_site(sample_site(clock, routers=[router], navigation=[]))


def test_a_site_whose_navigation_leads_nowhere_is_not_built(clock: Clock) -> None:
    """Nor is one with a role and `public` on one page."""
    with pytest.raises(ConfigurationError, match="/nowhere"):
        build_site(sample_site(clock, navigation=[Link("/nowhere", lazy("Nowhere"))]))
    with pytest.raises(ConfigurationError, match="public"):
        allow("keeper", public=True)


@pytest.mark.parametrize("path", ["//evil.example", "https://evil.example", "/\\evil.example", ""])
def test_a_redirect_stays_here(path: str) -> None:
    """Whatever a handler was told."""
    with pytest.raises(ConfigurationError, match="of this site"):
        redirect(None, path)  # type: ignore[arg-type]


def test_a_guest_is_a_person(app: FastAPI) -> None:
    """Signing everybody of a name out ends her sessions and no other's."""
    sessions = app.state.sessions
    before, nobody = sessions.start()
    sessions.sign_in(nobody, Guest("chie"))
    assert sessions.find(before) is None, "what was before signing in is no session any more"
    first, second = (sessions.sign_in(sessions.start()[1], Guest(name))[0] for name in ("aiko", "ben"))
    sessions.end_all_of("aiko")
    assert sessions.find(first) is None
    assert sessions.find(second) is not None
