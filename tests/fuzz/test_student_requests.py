"""Whatever is sent to the students' API, signed by a student or not, ends in an answer or a refusal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import hostile_input as shapes
import pytest
from fuzzing import try_out
from hypothesis import strategies as st
from student_http import (
    COMPANY,
    LINK,
    POSITION,
    SCORE,
    SEASON,
    StudentHttp,
    StudentsPlatform,
    students_platform,
)

from noren_core import canonical_json
from noren_server.rights.student_api import StudentApi

STRATEGIES = ("arbitrary", "mutated", "structured")
EXAMPLES = 20
HANDLE, ROUTE = "ab" * 16, "consent-score"
OPERATIONS = [(method, path) for method, path, _ in StudentApi.routes(StudentApi.__new__(StudentApi))]
POSTS = [path for method, path in OPERATIONS if method == "POST"]
GETS = [path for method, path in OPERATIONS if method == "GET"]
QUERIES = {
    "/v1/notices/{company}/{position}/{season}": {"lang": "ja", "route": ROUTE},
    "/v1/copies": {"mailbox": HANDLE, "after": "0"},
    "/v1/report": {"lang": "en", "format": "html"},
}
NAMES = {
    "/v1/disclosures/received": "item",
    "/v1/disclosures/revoked": "request",
    "/v1/inquiries/closed": "inquiry",
    "/v1/inquiries/escalated": "inquiry",
}
PLACES = {"company": COMPANY, "position": POSITION, "season": SEASON, "token": "A" * 200}


@dataclass(frozen=True)
class Api:
    """The API, and a student who gave a consent."""

    platform: StudentsPlatform
    aiko: StudentHttp

    def send(self, method: str, target: str, body: bytes = b"", **changed: Any) -> Any:
        """The answer; a second passes, so that nobody asks too often."""
        self.platform.clock.now += 1
        return self.aiko.send(method, target, body, **changed)

    def body(self, path: str) -> bytes:
        """What an honest device would send there."""
        match path:
            case "/v1/events":
                return self.aiko.consent(SCORE, ROUTE)[1]
            case "/v1/offers":
                now = self.platform.clock()
                said = self.aiko.device.acknowledges_offer(
                    company=COMPANY, position=POSITION, season=SEASON, time=now
                )
                return said.to_bytes()
            case "/v1/withdrawals":
                records = self.aiko.get("/v1/consents")["records"]
                return canonical_json.encode({"withdrawals": [self.aiko.withdrawal(records[0])]})
            case "/v1/disclosures":
                scope = {"platform_data": True, "consent_history": True, "provision_records": True}
                return canonical_json.encode({"scope": {**scope, "company": COMPANY}, "disclosure_key": ""})
            case "/v1/erasures":
                return canonical_json.encode({"company": COMPANY, "now": False})
            case "/v1/inquiries":
                return canonical_json.encode(
                    {"topic": "question", "company": COMPANY, "text": "何を持っていますか", "evidence": ""}
                )
        return canonical_json.encode({NAMES[path]: HANDLE})


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with students_platform(tmp_path_factory.mktemp("students")) as platform:
        aiko = platform.registered("aiko")
        aiko.gives(LINK, ROUTE)
        yield Api(platform, aiko)


def answered(answer: Any) -> None:
    """Yes, or no with a code that says why; never a failure inside."""
    assert answer.status_code < 500, answer.text
    if answer.status_code != 200 and answer.headers["content-type"] == "application/json":
        assert answer.json()["code"] not in {"", "INTERNAL"}


def target(path: str, places: dict[str, str], query: dict[str, str]) -> str:
    """The request's target, whatever is in its parts."""
    filled = path.format_map({name: _quoted(value) for name, value in places.items()})
    said = "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in query.items())
    return f"{filled}?{said}" if said else filled


def _quoted(text: str) -> str:
    return quote(text.encode(errors="surrogatepass"), safe="")


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_hostile_body_is_answered_or_refused(path: str, strategy: str, api: Api) -> None:
    """Signed by her own key, whatever it is: nothing in it makes the platform fail inside."""
    hostile = getattr(shapes.JsonBytes(), strategy)([api.body(path)])
    try_out(lambda body: answered(api.send("POST", path, body)), EXAMPLES, body=hostile)


@pytest.mark.parametrize("path", GETS)
def test_a_hostile_target_is_answered_or_refused(path: str, api: Api) -> None:
    """The same for what is in a path and a query."""

    def send(places: dict[str, str], query: dict[str, str]) -> None:
        answered(api.send("GET", target(path, places, query)))

    try_out(send, 2 * EXAMPLES, places=_changed(PLACES), query=_changed(QUERIES.get(path, {"x": ""})))


def _changed(values: dict[str, str]) -> st.SearchStrategy[dict[str, str]]:
    """Some of these texts in other words."""
    texts = shapes.Text()
    return st.fixed_dictionaries(
        {
            name: st.just(value) | texts.structured([value]) | texts.mutated([value]).map(_without_surrogates)
            for name, value in values.items()
        }
    )


def _without_surrogates(text: str) -> str:
    return text.encode(errors="surrogateescape").decode(errors="replace")


@pytest.mark.parametrize("header", ["noren-student", "noren-time", "noren-nonce", "noren-signature"])
def test_a_changed_header_is_nobodys(header: str, api: Api) -> None:
    """Whatever stands there in place of what she signed, the answer is the same bytes."""
    values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=200)
    refusals = set()

    def send(value: str) -> None:
        answer = api.send("GET", "/v1/consents", headers={header: value})
        refusals.add((answer.status_code, answer.content))

    try_out(send, 2 * EXAMPLES, value=values)
    assert len(refusals) == 1
    assert {status for status, _ in refusals} == {401}
