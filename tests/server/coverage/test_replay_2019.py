"""The 2019 service, asked before its first provision what it was asked after the fact."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import naive_consent_side_checker
import pytest

from noren_core import canonical_json
from noren_core.crypto.identity import SigningKey
from noren_core.errors import LocalProtocolError
from noren_core.rights.coverage.classes import CoverageClass
from noren_core.rights.coverage.coverage_report import (
    CoverageReport,
    ReportSource,
    attest,
    make_report,
    parse_report,
)
from noren_core.rights.coverage.launch_gate import LaunchFacts, launch_obstacles, verify_clear
from noren_demo import replay_2019 as replay
from noren_server.coverage.classification import Question
from noren_server.coverage.runs import PAGE, PUBLIC, CoverageRuns, Run

MAIN = (replay.MAIN,)

Compute = Callable[..., Run]


@pytest.fixture(scope="module")
def compute(tmp_path_factory: pytest.TempPathFactory) -> Compute:
    """Computes reports on variants of the replay, each written and computed once."""
    directory = tmp_path_factory.mktemp("replay")
    written: dict[replay.Replay, Path] = {}
    done: dict[tuple[replay.Replay, int, tuple[str, ...]], Run] = {}
    runs = CoverageRuns(directory)

    def run(variant: replay.Replay, at: int = replay.FOUND, phases: tuple[str, ...] = MAIN) -> Run:
        if variant not in written:
            written[variant] = variant.write(directory / f"snapshot-{len(written)}")
        if (variant, at, phases) not in done:
            done[variant, at, phases] = runs.compute(
                written[variant],
                campaign=f"replay-{list(written).index(variant)}",
                question=Question(at, phases),
                source=ReportSource.DIRECTORY,
                now=at,
            )
        return done[variant, at, phases]

    return run


def facts(report: CoverageReport) -> LaunchFacts:
    """As if this were the platform's own report, just attested."""
    auditor = SigningKey.generate()
    figures = {k: v for k, v in report.body.items() if k not in ("format", "reasons", "verdict")}
    own = parse_report(make_report(figures | {"source": "platform"}))
    return LaunchFacts(
        campaign=own.campaign,
        report=own,
        attestation=attest(own, auditor),
        auditors={auditor.public_key.hex()},
        judged_by=own.judged_by,
    )


def test_a_checker_that_starts_from_consents_sees_nothing(tmp_path: Path) -> None:
    """(a) It reports no problem on the same data: the missing people are not in what it looks at."""
    assert naive_consent_side_checker.problems(replay.Replay().write(tmp_path)) == 0


def test_the_report_says_7983_and_names_the_three_ways(compute: Compute) -> None:
    """(b) Exactly, in its three classes, with every way by which they came and how many went it."""
    body = compute(replay.Replay()).report().body
    assert body["population"]["uses"] == 40_000
    assert body["students_without_valid"] == body["would_process_without_valid"] == 7_983
    assert body["classes"] == {name.value: replay.MAIN_CLASSES.get(name, 0) for name in CoverageClass}
    ways = {tuple(way["path"]): way["users"] for way in body["journeys"]["undominated"]}
    assert ways == {
        ("site", "registered-before-march", "scoring"): 5_204,
        ("site", "registration-screen-of-2018", "scoring"): 1_611,
        ("other-route", "company-list", "scoring"): 1_168,
    }


@pytest.mark.parametrize(
    "group", [CoverageClass.NEVER_REEXPOSED, CoverageClass.STALE_SCREEN, CoverageClass.NO_EVENT]
)
def test_without_one_class_the_number_is_smaller_by_exactly_that(
    compute: Compute, group: CoverageClass
) -> None:
    """(c) No class hides in another."""
    body = compute(replay.Replay(without=group)).report().body
    assert body["students_without_valid"] == 7_983 - replay.MAIN_CLASSES[group]
    assert body["classes"][group] == 0


def test_the_launch_is_blocked_before_the_first_provision(compute: Compute) -> None:
    """(d) In March nothing had been provided; the gate refuses all the same, attested or not."""
    report = compute(replay.Replay(), replay.MID_MARCH, ()).report()
    assert report.body["reconciliation"]["provisions"] == 0
    with pytest.raises(LocalProtocolError) as refused:
        verify_clear(facts(report), now=replay.MID_MARCH)
    assert refused.value.code == "LAUNCH_BLOCKED_COVERAGE"
    for reason in ("WOULD_PROCESS_WITHOUT_VALID", "UNDOMINATED_PATHS", "CONTROLS_IMPERFECT"):
        assert reason in refused.value.message


def test_all_phases_come_to_26060(compute: Compute) -> None:
    """(e) With the earlier phases, of which the fixture assumes that the December figure includes them."""
    body = compute(replay.Replay(), phases=()).report().body
    assert body["students_without_valid"] == 26_060
    assert body["phases"] == []


def test_contracted_and_received_are_two_numbers(compute: Compute) -> None:
    """(f) 38 companies under contract, 34 that received anything."""
    body = compute(replay.Replay()).report().body
    assert body["recipients"] == {"contracted": 38, "received": 34}


def test_after_the_repair_the_launch_is_allowed(compute: Compute) -> None:
    """(g) Half are asked and agree, the others are excluded, and the ways are closed: nothing is left."""
    report = compute(replay.Replay(is_repaired=True), replay.AFTER_REPAIR, ()).report()
    assert report.body["students_without_valid"] == 0
    assert report.body["population"]["uses"] == 32_017 + 26_060 // 2
    assert launch_obstacles(facts(report), now=replay.AFTER_REPAIR) == ()


def test_what_was_provided_is_counted_apart(compute: Compute) -> None:
    """After July, scores of 7,983 had been delivered without consent, and nobody had a permit."""
    body = compute(replay.Replay(has_provisions=True)).report().body
    assert body["did_process_without_valid"] == 7_983
    assert body["reconciliation"]["provisions_without_permit"] == 40_000


def test_three_runs_about_one_log_stay_three_results(compute: Compute) -> None:
    """In March, in August, and over all phases: three reports on disk, each explained by its own classes."""
    runs = [
        compute(replay.Replay(), replay.MID_MARCH),
        compute(replay.Replay()),
        compute(replay.Replay(), phases=()),
    ]
    people = replay.Replay().people()
    march, august, every = (run.report().body for run in runs)
    assert len({run.name for run in runs}) == 3
    # In March whoever had registered and not been through a company's selection yet knew the old text only.
    waiting = [
        person
        for person in people
        if person.phase == replay.MAIN
        and not person.control
        and person.registered_at <= replay.MID_MARCH
        and not 0 < person.agreed_at <= replay.MID_MARCH
    ]
    assert march["students_without_valid"] == len(waiting)
    assert march["classes"]["E4"] > august["classes"]["E4"] == 5_204
    assert august["students_without_valid"] == 7_983
    assert every["classes"]["E2"] == replay.EARLIER_PHASES["pre-site"]
    assert every["students_without_valid"] == 26_060


def test_the_transition_of_march_says_who_was_never_shown_again(compute: Compute) -> None:
    """Of those who held the old version, the report counts who saw the new one and who did not."""
    (transition,) = compute(replay.Replay()).report().body["transitions"]
    assert transition["never_reshown"] == transition["holders"] - transition["reshown"]
    assert transition["reshown"] == transition["answered"] == 32_017
    assert transition["days_since"] == (replay.FOUND - replay.CHANGE) // replay.DAY


def test_the_row_that_would_have_read_zero_per_cent(compute: Compute) -> None:
    """Registered before March, no selection on the site: valid in not one case."""
    body = compute(replay.Replay()).report().body
    rows = [
        item for item in body["cohorts"] if item["month"] < "2019-03" and item["selection_on_site"] == "no"
    ]
    assert sum(item["uses"] for item in rows) > 5_204
    assert not any(item["valid"] for item in rows)


def test_the_public_part_shows_no_small_count(compute: Compute) -> None:
    """Neither as number nor on the page; large ones are exact."""
    run = compute(replay.Replay())
    public = canonical_json.parse((run.directory / PUBLIC).read_bytes())
    assert public["students_without_valid"] == 7_983
    small = [
        count
        for table in public["breakdowns"].values()
        for counts in table.values()
        for count in counts.values()
        if isinstance(count, int) and 0 < count < 10
    ]
    assert not small
    assert not {"cells", "cohorts", "answers"} & public.keys()


def test_the_page_stands_alone(compute: Compute) -> None:
    """No script, no request, both languages, and nothing of a snapshot unescaped."""
    page = (compute(replay.Replay()).directory / PAGE).read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert not re.search(r"<script|https?://|url\(|<link|<img|student-", page)
    for words in ("lang='en'", "lang='ja'", "7983", "registered-before-march", "BLOCKED"):
        assert words in page


def test_files_are_the_operators_alone(compute: Compute) -> None:
    """Every file of a run has mode 0600."""
    modes = {path.stat().st_mode & 0o777 for path in compute(replay.Replay()).directory.iterdir()}
    assert modes == {0o600}


def test_the_fixture_is_the_same_every_time(tmp_path: Path) -> None:
    """Written by code, without chance."""
    first, second = (replay.Replay().people() for _ in range(2))
    assert first == second


def test_unused_ways_block_as_well(compute: Compute, tmp_path: Path) -> None:
    """A way past the screen that nobody went yet is one that somebody will go."""
    snapshot = replay.Replay(is_repaired=True).write(tmp_path / "snapshot")
    graph: dict[str, Any] = json.loads((snapshot / "journeys.json").read_text())
    graph["edges"].append({"from": "company-list", "to": "scoring", "users": 0})
    (snapshot / "journeys.json").write_text(json.dumps(graph))
    run = CoverageRuns(tmp_path).compute(
        snapshot,
        campaign="replay",
        question=Question(replay.AFTER_REPAIR),
        source=ReportSource.DIRECTORY,
        now=replay.AFTER_REPAIR,
    )
    assert run.report().reasons == ("UNDOMINATED_PATHS",)
