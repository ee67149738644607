"""The mechanism as a service: a pure function of a line, and nothing of a company's."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noren_client import mechanism_service
from noren_client.mechanism import noised_update
from noren_core import canonical_json
from noren_core.errors import ConfigurationError, DataError, LocalProtocolError
from noren_core.privacy.noise_seed import NoiseSeed
from noren_core.season.head import row_scale
from noren_core.season.plan import CampaignPlan


@pytest.fixture
def request_body(plan_body: dict[str, Any]) -> dict[str, Any]:
    release = {"round": 2, "seed": "11" * 32, "beacon": "22" * 32, "weights": [0, -(2**31), 2**33, 7, 0]}
    return {
        "format": "noren/v1/mechanism",
        "plan": plan_body,
        "companies": 5,
        "rows": [[100, -2000, 0, 32767], [-32768, 5, 6, 7], [0, 0, 0, 0]],
        "labels": [1, 0, 1],
        "releases": [release, {**release, "round": 3}],
    }


def answers(*lines: bytes, directory: Path = Path("nowhere")) -> list[dict[str, Any]]:
    replies = io.BytesIO()
    mechanism_service.serve(directory, io.BytesIO(b"".join(line + b"\n" for line in lines)), replies)
    return [canonical_json.parse_object(line) for line in replies.getvalue().splitlines()]


def answer(body: dict[str, Any]) -> dict[str, Any]:
    (found,) = answers(canonical_json.encode(body))
    return found


def test_it_is_the_mechanism_of_the_training(request_body: dict[str, Any]) -> None:
    """What a company would have sent in these rounds, to the last bit."""
    plan = CampaignPlan.from_body(request_body["plan"])
    expected = [
        noised_update(
            np.array(request_body["rows"], np.float64) / row_scale(plan.rows),
            np.array(request_body["labels"]),
            np.array([weight / 2**32 for weight in release["weights"]]),
            plan_training=plan.training,
            companies=5,
            stream=NoiseSeed(bytes.fromhex(release["seed"])).round_stream(
                beacon=bytes.fromhex(release["beacon"]), campaign=plan.campaign, round_number=release["round"]
            ),
        ).tolist()
        for release in request_body["releases"]
    ]
    assert answer(request_body) == {"updates": expected}
    assert len(expected[0]) == plan.vector_length


def test_the_same_question_has_the_same_answer(request_body: dict[str, Any]) -> None:
    """Whatever was asked before; another seed, beacon, round or campaign gives other noise."""
    line = canonical_json.encode(request_body)
    first, second = answers(line, line)
    assert first == second
    for change in ({"seed": "33" * 32}, {"beacon": "33" * 32}, {"round": 1}):
        changed = {**request_body, "releases": [{**request_body["releases"][0], **change}]}
        assert answer(changed)["updates"][0][-2:] != first["updates"][0][-2:]
    other = {**request_body, "plan": {**request_body["plan"], "campaign": "autumn-2026"}}
    assert answer(other)["updates"][0][-2:] != first["updates"][0][-2:]


def test_no_rows_and_no_releases_are_answered(request_body: dict[str, Any]) -> None:
    empty = answer({**request_body, "rows": [], "labels": []})
    sentinels = answer(request_body)["updates"][0][-2:]
    assert empty["updates"][0][-2:] == sentinels  # no row has anything there
    assert answer({**request_body, "releases": []}) == {"updates": []}


@pytest.mark.parametrize(
    "change",
    [
        {"format": "noren/v2/mechanism"},
        {"extra": 1},
        {"companies": 0},
        {"companies": 6},
        {"companies": True},
        {"rows": [[1, 2, 3]]},
        {"rows": [[0, 0, 0, 32768]]},
        {"rows": "many"},
        {"labels": [1, 0]},
        {"labels": [1, 0, 2]},
        {"releases": {}},
        {"releases": [{"round": 1}]},
        {"plan": {}},
    ],
)
def test_a_malformed_question_is_answered_with_an_error(
    request_body: dict[str, Any], change: dict[str, Any]
) -> None:
    """And the next one as if nothing had been."""
    good = canonical_json.encode(request_body)
    refused, after = answers(canonical_json.encode({**request_body, **change}), good)
    assert refused.keys() == {"code", "message"}
    assert refused["code"] == "BAD_DATA"
    assert after.keys() == {"updates"}


@pytest.mark.parametrize(
    "change",
    [
        {"round": 0},
        {"round": 4},
        {"seed": "11" * 31},
        {"seed": "AA" * 32},
        {"beacon": None},
        {"weights": [0, 0, 0, 0]},
        {"weights": [0, 0, 0, 0, 2**52]},
        {"weights": [0, 0, 0, 0, 0.5]},
    ],
)
def test_a_malformed_release_is_refused(request_body: dict[str, Any], change: dict[str, Any]) -> None:
    release = {**request_body["releases"][0], **change}
    line = json.dumps(
        {**request_body, "releases": [release]}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    assert answers(line.encode())[0]["code"] == "BAD_DATA"


def test_parameters_without_noise_are_refused(request_body: dict[str, Any]) -> None:
    """As many tolerated companies as there are leave nobody to add noise."""
    assert answer({**request_body, "companies": 1})["code"] == "BAD_CONFIGURATION"


def test_a_plan_without_rows_is_refused(request_body: dict[str, Any]) -> None:
    """Sealed statistics are another mechanism."""
    plan = request_body["plan"]
    release = plan.pop("rows")
    plan["mode"] = "sealed-statistics"
    plan["statistics"] = {
        **{name: release[name] for name in ("dimensions", "clip", "variance", "epsilon", "delta")},
        "negative": 1,
        "positive": 8,
    }
    plan["training"].update(rounds=1, average_from=1, weight_decay="0", clipping_norm="0.9921875", grid=1024)
    CampaignPlan.from_body(plan)
    refused = answer(request_body)
    assert (refused["code"], "another mode" in refused["message"]) == ("BAD_DATA", True)


def test_a_spelling_that_is_not_canonical_is_refused(request_body: dict[str, Any]) -> None:
    (found,) = answers(json.dumps(request_body).encode())
    assert found["code"] == "BAD_DATA"


def test_too_long_a_line_ends_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mechanism_service, "MAX_REQUEST_BYTES", 100)
    with pytest.raises(DataError, match="at most 100 bytes"):
        answers(b"{" * 101)


@pytest.mark.parametrize("is_current", [True, False])
def test_it_does_not_start_where_a_company_keeps_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_current: bool
) -> None:
    """It needs no secret, so it is given none."""
    company = tmp_path / "company"
    company.mkdir()
    (company / "config.toml").write_text("company = 'akane'\n")
    monkeypatch.chdir(company if is_current else tmp_path)
    with pytest.raises(LocalProtocolError, match="a company's"):
        answers(b"{}", directory=Path("elsewhere") if is_current else company)


def test_an_auditors_installation_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where torch is not installed, the program says so at once and not with every answer."""
    monkeypatch.setattr(mechanism_service, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"noren\[client\]"):
        answers(b"{}")


def test_the_command_answers_on_its_streams(request_body: dict[str, Any], tmp_path: Path) -> None:
    """As a process, with nothing else on stdout; it ends when the questions end."""
    line = canonical_json.encode(request_body) + b"\n"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from noren_client.cli import main; sys.exit(main())",
            "mechanism",
        ],
        input=line * 2,
        capture_output=True,
        cwd=tmp_path,
        timeout=120,
        check=True,
    )
    first, second = done.stdout.splitlines()
    assert first == second
    assert canonical_json.parse_object(first) == answer(request_body)
