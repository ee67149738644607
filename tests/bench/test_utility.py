"""The utility benchmark: which goals it judges how, that its draws are the product's, and a whole season."""

from __future__ import annotations

import io
import json
import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from rich.console import Console

from noren_bench import cli, utility, utility_draws, utility_settings
from noren_bench.utility import Mode
from noren_bench.utility_result import Federated, Measured
from noren_bench.utility_settings import Setting, settings
from noren_bench.utility_table import print_measured
from noren_client import calibration, training_session
from noren_core.errors import DataError, VerificationError
from noren_core.privacy.noise import company_variance
from noren_core.season.head import WEIGHT_SCALE
from noren_core.season.plan import CampaignPlan
from noren_core.season.round_event import training_event
from noren_demo import generator
from noren_demo.evaluation import ranking
from noren_demo.evaluation_of_season import Scored, TaskPeople
from noren_demo.reference_models import LabelledRows
from noren_demo.season_data import SeasonFiles

FEDERATED = Federated(
    mode="noised rows",
    season=0.82,
    draws=(0.82, 0.82),
    small=math.nan,
    gain=0.027,
    gain_error=0.003,
    integers=0.00005,
    integer_loss=0.00001,
    calibration_gap=0.02,
    four_fifths={"women": 0.9},
    epsilon=1.0,
    delta=1e-6,
    row_epsilon=7.999,
    row_delta=1e-6,
    person_epsilon="4",
    person_delta="0.000001",
    person_campaigns=3,
)
MEASURED = Measured(
    setting="modules",
    task="WF",
    control="",
    is_small=False,
    companies=6,
    training_rows=1000,
    scored=500,
    base_rate=0.4,
    index=0.793,
    pooled=0.823,
    local=0.81,
    small_index=math.nan,
    rate_shift=0.01,
    people_error=0.004,
    federated=(FEDERATED,),
)


def missed(measured: Measured, federated: Federated) -> list[str]:
    return [goal.what for goal in measured.goals(federated) if not goal.is_met]


def auc(value: float, **changed: Any) -> Federated:
    """As measured, with this AUC in every season and the gain that follows."""
    return replace(FEDERATED, season=value, draws=(value,), gain=value - MEASURED.index, **changed)


def test_mean_and_scatter_are_over_the_season_and_all_draws() -> None:
    """The whole season counts as one draw of the noise among the others."""
    federated = replace(FEDERATED, season=0.80, draws=(0.82, 0.84))
    assert federated.auc == pytest.approx(0.82)
    assert federated.scatter == pytest.approx(0.02)
    assert math.isnan(replace(FEDERATED, draws=()).scatter)


@pytest.mark.parametrize(
    ("federated", "what"),
    [
        (auc(0.8125), "below the pooled linear head"),
        (auc(0.8195), "share of the gain over the index"),
        (auc(0.7825), "below the index"),
        (replace(FEDERATED, integers=0.0002), "|ΔAUC| of integers"),
        (replace(FEDERATED, calibration_gap=0.031), "calibration gap"),
        (replace(FEDERATED, four_fifths={"women": 0.79}), "four-fifths ratio, women"),
    ],
)
def test_each_goal_is_missed_beyond_its_limit(federated: Federated, what: str) -> None:
    """The measured values meet all goals; each of these misses the one that is named."""
    assert missed(MEASURED, FEDERATED) == []
    assert what in missed(MEASURED, federated)


def test_limits_differ_by_task() -> None:
    """W is not held to a share of its small gain; DP may be .02 below the pooled head."""
    measured = {task: replace(MEASURED, task=task) for task in ("W", "DP", "decline")}
    assert missed(measured["W"], auc(0.8195)) == []
    assert "below the pooled linear head" not in missed(measured["DP"], auc(0.804))
    assert "share of the gain over the index" in missed(measured["DP"], auc(0.804))
    assert "below the pooled linear head" in missed(measured["decline"], auc(0.804))


def test_small_companies_are_held_against_what_they_learn_alone() -> None:
    """With 100 rows each: .015 above the best local head, .04 for DP."""
    small = replace(MEASURED, is_small=True, local=0.806)
    assert "above the best local head" in missed(small, FEDERATED)
    assert missed(replace(small, local=0.804), FEDERATED) == []
    assert "above the best local head" in missed(replace(small, local=0.804, task="DP"), FEDERATED)


def test_small_cells_are_held_against_the_index() -> None:
    """Companies with at most 100 rows may not be more than .01 below what no label is needed for."""
    measured = replace(MEASURED, small_index=0.7)
    assert missed(measured, replace(FEDERATED, small=0.691)) == []
    assert missed(measured, replace(FEDERATED, small=0.689)) == ["below the index, n ≤ 100"]


def test_controls_are_judged_in_standard_errors() -> None:
    """A gain from permuted outcomes is a fault, and so is none from a planted one; nothing else is asked."""
    permuted, planted = replace(MEASURED, control="permuted"), replace(MEASURED, control="planted")
    none = replace(FEDERATED, gain=0.008)
    assert [len(permuted.goals(FEDERATED)), missed(planted, FEDERATED), missed(permuted, none)] == [1, [], []]
    assert missed(permuted, FEDERATED) == ["gain from permuted outcomes, standard errors"]
    assert missed(planted, none) == ["gain from the planted outcome, standard errors"]


def test_json_has_every_epsilon_and_verdict() -> None:
    """NaN becomes null, so that any parser reads it."""
    body = json.loads(json.dumps(MEASURED.to_json(), allow_nan=False))
    (federated,) = body["federated"]
    assert federated["small"] is None
    assert {federated[name] for name in ("epsilon", "row_epsilon", "person_epsilon")} == {1.0, 7.999, "4"}
    assert all(goal["is_met"] for goal in federated["goals"])
    assert federated["share_of_gain"] == pytest.approx(0.9)


def test_the_table_says_what_was_missed_and_spent() -> None:
    """Every ε stands beside the result, and a missed goal with its number."""
    console = Console(record=True, width=160, file=io.StringIO())
    print_measured([replace(MEASURED, federated=(auc(0.8125),))], console)
    text = console.export_text()
    assert "head ε = 1, δ = 1e-06" in text
    assert "ε_h = 7.999" in text
    assert "a person: ε ≤ 4" in text
    assert "modules, WF, noised rows: MISSED below the pooled linear head: 0.0105 ≤ 0.01" in text


def test_modes_stand_side_by_side_with_what_each_spent() -> None:
    """A row of the table and a line of ε for each, whichever is better."""
    sums = replace(auc(0.825), mode="sealed statistics", epsilon=0.75, row_epsilon=0.998)
    console = Console(record=True, width=160, file=io.StringIO())
    print_measured([replace(MEASURED, federated=(FEDERATED, sums))], console)
    lines = console.export_text().splitlines()
    rows = [line for line in lines if "0.7930" in line]
    assert [("noised rows" in line, "sealed statistics" in line) for line in rows] == [
        (True, False),
        (False, True),
    ]
    assert ["0.8200" in rows[0], "0.8250" in rows[1]] == [True, True]
    spent = [line for line in lines if "head ε" in line]
    assert [("ε = 1," in line, "ε_h = 7.999" in line) for line in spent] == [(True, True), (False, False)]
    assert "head ε = 0.75," in spent[1]
    assert "ε_h = 0.998" in spent[1]


def test_a_whole_run_has_all_cohorts_and_both_controls() -> None:
    """With OULAD: modules, natural cells, small companies; without: generated people; controls always."""
    whole = settings("oulad:somewhere", quick=False)
    assert [item.companies for item in whole] == ["module", "module-region", "40", "module", "", ""]
    for found in (whole, settings("oulad:somewhere", quick=True), settings("generated", quick=False)):
        assert {item.control for item in found} == {"", "permuted", "planted"}
    assert settings("season:x", quick=True)[0].data == "season:x"


def test_a_prepared_season_is_read_where_it_lies(tmp_path: Path) -> None:
    """Somebody's own data, in the files that a season consists of."""
    made, _ = utility_settings.write_data(Setting("made", "generated"), tmp_path / "made")
    found, files = utility_settings.write_data(
        Setting("given", f"season:{tmp_path / 'made'}"), tmp_path / "no"
    )
    assert (found, files) == (made, SeasonFiles(tmp_path / "made"))


def test_groups_come_from_the_published_table(tmp_path: Path) -> None:
    """One entry per account, in the order asked for; an unknown account is refused."""
    columns = "code_presentation, code_module, id_student, gender, disability, age_band"
    people = "('2014B', 'AAA', 1, 'F', 'N', '0-35'), ('2014B', 'AAA', 2, 'M', 'Y', '35-55')"
    file = tmp_path / "studentInfo.parquet"
    duckdb.sql(f"copy (select * from (values {people}) t({columns})) to '{file}' (format parquet)")  # noqa: S608
    found = utility_settings.groups(f"oulad:{tmp_path}", ("2014b-aaa-2", "2014b-aaa-1"))
    assert {name: group.tolist() for name, group in found.items()} == {
        "women": [False, True],
        "disability": [True, False],
        "older than 35": [True, False],
    }
    with pytest.raises(DataError, match="every scored account"):
        utility_settings.groups(f"oulad:{tmp_path}", ("2014b-aaa-3",))
    assert utility_settings.groups("generated", ("anybody",)) == {}


@pytest.fixture
def plan(plan_body: dict[str, Any]) -> CampaignPlan:
    """Three companies; little noise, so that what is there to learn is learned in one draw."""
    plan_body["cohort"] = plan_body["cohort"][:3]
    plan_body["minimum_cohort"] = plan_body["threshold"] = 3
    plan_body["rows"] |= {"variance": 250_000}
    plan_body["training"] |= {
        "noise_multiplier": "0.5",
        "tolerated": 0,
        "normaliser": 900,
        "prior": [0] * 5,
        "learning_rate": "4",
    }
    return CampaignPlan.from_body(plan_body)


@pytest.fixture
def sums_plan(statistics_plan_body: dict[str, Any]) -> CampaignPlan:
    """The same companies with sealed statistics; what is there is eight times the noise."""
    statistics_plan_body["cohort"] = statistics_plan_body["cohort"][:3]
    statistics_plan_body["minimum_cohort"] = statistics_plan_body["threshold"] = 3
    statistics_plan_body["training"] |= {"tolerated": 0, "normaliser": 900, "prior": [0] * 5}
    return CampaignPlan.from_body(statistics_plan_body)


@pytest.fixture(params=utility.MODES, ids=lambda mode: mode.name)
def mode(request: pytest.FixtureRequest) -> Mode:
    found: Mode = request.param
    return found


@pytest.fixture
def plan_of_mode(mode: Mode, plan: CampaignPlan, sums_plan: CampaignPlan) -> CampaignPlan:
    return {known.mode: known for known in (plan, sums_plan)}[mode.options.mode]


def people(seed: int, *, is_permuted: bool = False) -> TaskPeople:
    """300 people to train on at each of three companies, and as many to score; coordinate 2 decides."""
    rng = np.random.default_rng(seed)
    companies = np.repeat(["company-1", "company-2", "company-3"], 300)

    def drawn() -> LabelledRows:
        rows = rng.standard_normal((900, 4))
        labels = rng.random(900) < 1 / (1 + np.exp(-2 * rows[:, 1]))
        return LabelledRows(
            rows, rows, rows[:, 0], companies, rng.permutation(labels) if is_permuted else labels
        )

    names = tuple(f"student-{number:03d}" for number in range(900))
    return TaskPeople(drawn(), names, drawn(), names, ())


def auc_of(scores: np.ndarray[Any, Any], task: TaskPeople) -> float:
    return ranking(labels=task.score.labels, scores=scores, companies=task.score.companies).auc


def test_a_draw_learns_what_is_there_and_nothing_else(mode: Mode, plan_of_mode: CampaignPlan) -> None:
    """Coordinate 2 is found (AUC of its own .80); from permuted outcomes nothing is (seven deviations)."""
    found = mode.draw(plan_of_mode, people(1), plan_of_mode.companies)
    assert auc_of(found.scores, people(1)) > 0.76
    assert auc_of(found.scores, people(1)) == pytest.approx(auc_of(found.exact, people(1)), abs=0.003)
    nothing = people(2, is_permuted=True)
    assert abs(auc_of(mode.draw(plan_of_mode, nothing, plan_of_mode.companies).scores, nothing) - 0.5) < 0.14


def test_draws_differ_and_are_calibrated_to_each_company(mode: Mode, plan_of_mode: CampaignPlan) -> None:
    """Every draw has noise of its own; a company's mean probability is its past rate."""
    task = people(3)
    first, second = (mode.draw(plan_of_mode, task, plan_of_mode.companies) for _ in range(2))
    assert first.scores.tolist() != second.scores.tolist()
    for company in plan_of_mode.companies:
        rate = calibration.base_rate(task.train.labels[task.train.companies == company].astype(np.float64))
        assert first.probabilities[task.score.companies == company].mean() == pytest.approx(rate, abs=1e-6)


def test_opened_sums_are_weighted_int8_rows_and_the_plans_noise(sums_plan: CampaignPlan) -> None:
    """Rows are cut toward zero (1 is 50.8 grid units); the variance is within seven deviations."""
    rows = np.array([[2, 0, 0, 0], [1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 0]], dtype=np.float64)
    company = utility_draws._Company(np.tile(rows, (10, 1)), np.tile([True, False, True, False], 10))
    exact = 10 * np.array([7 * 101 - 3 * 50, -7 * 50, 0, 0])
    quiet = replace(sums_plan, release=replace(sums_plan.statistics, variance=1))
    assert np.abs(np.array(utility_draws._opened_sums(quiet, company).values) - exact).max() < 16
    noise = [np.array(utility_draws._opened_sums(sums_plan, company).values) - exact for _ in range(400)]
    assert len({tuple(drawn) for drawn in noise}) == 400
    assert np.square(noise).mean() / sums_plan.statistics.variance == pytest.approx(1, abs=0.25)


def test_the_step_has_every_companys_share_of_noise_for_labels(sums_plan: CampaignPlan) -> None:
    """Without any record and with hardly any noise of the platform, a head is the noise of all shares."""
    quiet = replace(sums_plan, release=replace(sums_plan.statistics, variance=1))
    nobody = utility_draws._Company(np.empty((0, 4)), np.empty(0, dtype=np.bool_))
    heads = [utility_draws._step(quiet, dict.fromkeys(quiet.companies, nobody)) for _ in range(320)]
    training = quiet.training
    share = company_variance(training_event(training), companies=3)
    step = training.learning_rate * WEIGHT_SCALE / (training.grid * training.normaliser)
    assert np.square(np.array(heads) / float(step)).mean() / (3 * float(share)) == pytest.approx(1, abs=0.25)


def test_who_applied_twice_trains_once(plan: CampaignPlan) -> None:
    """A student is assigned to one of her companies, as when tables are published."""
    task = people(4)
    same = replace(task, train_students=tuple(f"student-{number % 300:03d}" for number in range(900)))
    trained = utility_draws._training_sets(plan, same, plan.companies)
    assert sum(len(company.labels) for company in trained.values()) == 300
    assert min(len(company.labels) for company in trained.values()) > 50


def test_opened_scores_must_be_the_integer_product(plan_of_mode: CampaignPlan) -> None:
    """A single score that is off by one is refused."""
    plan, task = plan_of_mode, people(5)
    released = [WEIGHT_SCALE, -WEIGHT_SCALE // 2, 0, 7, 0]
    head = calibration.integer_head(released, plan)
    scores = utility_draws._integer_scores(plan, task.score, head).tolist()
    opened = replace(task, scored=tuple(Scored(score, 0.5, 1) for score in scores))
    utility_draws.verify_opened(plan, opened, released)
    wrong = replace(opened, scored=(Scored(scores[0] + 1, 0.5, 1), *opened.scored[1:]))
    with pytest.raises(VerificationError, match="product"):
        utility_draws.verify_opened(plan, wrong, released)


def test_the_rate_shift_is_that_of_each_company() -> None:
    """Two companies that moved by .2 in opposite directions have moved by .2, not by nothing."""
    companies = np.repeat(["a", "b"], 10)

    def rows(of_a: int, of_b: int) -> LabelledRows:
        labels = np.concatenate([np.arange(10) < of_a, np.arange(10) < of_b])
        return LabelledRows(np.zeros((20, 1)), np.zeros((20, 1)), np.zeros(20), companies, labels)

    assert utility._rate_shift(rows(3, 5), rows(5, 3)) == pytest.approx(0.2)


def test_four_fifths_compares_within_companies() -> None:
    """A group that is only at the company with high scores is not favoured by that."""
    companies = np.repeat(["a", "b"], 100)
    group = np.tile([True, False], 100)
    judged = utility._People(
        labels=group,
        companies=companies,
        index=np.zeros(200),
        is_small=np.zeros(200, dtype=np.bool_),
        groups={"women": (companies == "a") & group | (companies == "b") & (np.arange(200) < 110)},
    )
    scores = np.random.default_rng(6).random(200) + 10.0 * (companies == "a")
    assert judged.four_fifths(scores)["women"] > 0.4
    assert judged.four_fifths(np.where(judged.groups["women"], 1.0, 0.0) + scores % 1)["women"] < 0.2


def test_a_whole_season_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Small companies, one of which a withdrawal may leave out; both modes, then one draw each, as JSON."""
    names = ("akane", "benten", "chidori", "daigo", "enoki", "fuji")  # one more than a cohort needs
    monkeypatch.setattr(generator, "COMPANIES", dict.fromkeys(names, 40))
    monkeypatch.setattr(training_session, "_MAX_SESSIONS", 1)  # of each company's worker, so one is enough
    small = (Setting("small", "generated", draws=1),)
    monkeypatch.setattr(utility_settings, "settings", lambda *_args, **_kwargs: small)
    before = tempfile.gettempdir()
    assert cli.main(["utility", "--json"]) == 0
    assert tempfile.gettempdir() == before, "a company's temporary directory, which is deleted"
    captured = capsys.readouterr()
    (task,) = json.loads(captured.out)["tasks"]
    assert (task["setting"], task["task"], task["companies"]) == ("small", "decline", 6)
    assert [item["mode"] for item in task["federated"]] == ["noised rows", "sealed statistics"]
    for federated, of_row in zip(task["federated"], (8.0, 1.0), strict=True):
        assert len(federated["draws"]) == 1
        assert 0.99 < federated["epsilon"] <= 1.0
        assert 0.98 * of_row < federated["row_epsilon"] <= of_row
        assert {"below the pooled linear head", "below the index", "calibration gap"} <= {
            goal["what"] for goal in federated["goals"]
        }
    assert "generated people" in captured.err
