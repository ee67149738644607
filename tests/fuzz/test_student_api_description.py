"""The students' API is what its OpenAPI description says, whatever a signed request of that shape holds.

Schemathesis makes the requests from the description; every one is signed by a student's own key, as none
would be looked at otherwise, and every answer is compared with the description.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from student_http import LINK, StudentHttp, students_platform

from noren_server.rights.student_api import openapi

SCHEMA = schemathesis.openapi.from_dict(json.loads(openapi()))
OPERATIONS = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations()}
EXAMPLES = 15
_SIGNED = ("noren-student", "noren-time", "noren-nonce", "noren-signature")


@pytest.fixture(scope="module")
def aiko(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StudentHttp]:
    with students_platform(tmp_path_factory.mktemp("described")) as platform:
        student = platform.registered("aiko")
        student.gives(LINK, "consent-score")
        yield student


@pytest.mark.parametrize("label", sorted(OPERATIONS))
def test_answers_are_as_described(label: str, aiko: StudentHttp) -> None:
    """Status, media type and body of every answer stand in the description; none is a failure inside."""

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=OPERATIONS[label].as_strategy())
    def described(case: Any) -> None:
        answer = sent(aiko, case)
        case.validate_response(
            answer,
            checks=[
                not_a_server_error,
                status_code_conformance,
                content_type_conformance,
                response_schema_conformance,
            ],
        )

    described()


def sent(student: StudentHttp, case: Any) -> httpx.Response:
    """The case's path, query and body, signed."""
    request = httpx.Request(**_plain(case.as_transport_kwargs(base_url="https://site")))
    url = urlsplit(str(request.url))
    target = f"{url.path}?{url.query}" if url.query else url.path
    answer: httpx.Response = student.send(case.method, target, request.read())
    return answer


def _plain(given: dict[str, Any]) -> dict[str, Any]:
    """What Schemathesis would send, without the headers that sign it."""
    headers = {name: value for name, value in given.get("headers", {}).items() if name.lower() not in _SIGNED}
    kept = {name: given[name] for name in ("method", "url", "params", "json", "data") if name in given}
    if isinstance(kept.get("data"), bytes | str):
        kept["content"] = kept.pop("data")
    return kept | {"headers": {name: value for name, value in headers.items() if name.isascii()}}
