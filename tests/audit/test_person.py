"""What one person can lose over several campaigns, and what of it a ledger proves."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from noren_audit.verification.closed_form import epsilon_closed_form
from noren_audit.verification.findings import Code
from noren_audit.verification.person import PersonSpending
from noren_audit.verification.report import to_fields
from noren_audit.verification.trust import load_trust
from noren_audit.verification.verify import Verdict, verify_bundle
from noren_core.season.plan import CampaignPlan
from noren_core.season.round_event import round_event

if TYPE_CHECKING:
    from conftest import SeasonLedger


def judge(ledger: SeasonLedger, tmp_path: Path, *limits: str) -> Verdict:
    """The verdict over this ledger, by a trust file with its true keys."""
    (tmp_path / "trust.toml").write_text(ledger.trust_text(*limits))
    return verify_bundle(ledger.write(tmp_path / "bundle"), load_trust(tmp_path / "trust.toml"))


def rewrite(ledger: SeasonLedger, campaign: str, section: str | None, **changes: Any) -> None:
    """The plan of a campaign differs from the start; whoever accepted it accepted that."""
    body = ledger.find("plan", campaign=campaign).body
    old = CampaignPlan.from_body(body).digest().hex()
    (body[section] if section else body).update(changes)
    for statement in ledger.statements:
        if statement.body.get("plan_sha256") == old:
            statement.body["plan_sha256"] = CampaignPlan.from_body(body).digest().hex()


def by_season(verdict: Verdict) -> dict[str | None, PersonSpending]:
    return {item.season: item for item in verdict.persons}


def test_two_campaigns_on_one_season_compose(honest: SeasonLedger, tmp_path: Path) -> None:
    """The bound is that of all rounds of both plans together; the rows are a number of their own."""
    verdict = judge(honest, tmp_path)
    assert [item.season for item in verdict.persons] == ["2025", None]
    season = by_season(verdict)["2025"]
    plan = CampaignPlan.from_body(honest.find("plan").body)
    whole = [round_event(plan)] * (2 * plan.training.rounds)
    assert (season.campaigns, season.delta, season.stop) == (2, "0.000001", 4.0)
    assert len(season.epsilons) == 2
    assert season.epsilons[0] == max(item.reserved for item in verdict.rounds)
    assert season.bound == season.epsilons[1]
    assert 0 < season.bound - epsilon_closed_form(whole, "0.000001") < 1e-3
    assert season.row_epsilon > max(item.epsilon for item in verdict.rows)
    assert by_season(verdict)[None].bound == season.bound


def test_a_company_that_dropped_out_reserved_the_whole_plan(honest: SeasonLedger, tmp_path: Path) -> None:
    """Delta reserved two rounds of three: it spent less than the others, and reserved as much."""
    spent = {(item.campaign, item.company): item for item in judge(honest, tmp_path).rounds}
    delta, alpha = spent["spring", "delta"], spent["spring", "alpha"]
    assert delta.epsilon < delta.reserved == alpha.reserved == alpha.epsilon


def test_a_plan_that_overspends_is_found_at_its_first_intent(honest: SeasonLedger, tmp_path: Path) -> None:
    """A company that reserved two rounds is within the limit, its plan of three is not."""
    rewrite(honest, "spring", "training", epsilon="0.9")
    verdict = judge(honest, tmp_path)
    assert {finding.code for finding in verdict.findings} == {Code.EPSILON_EXCEEDED}
    named = {finding.evidence["company"] for finding in verdict.findings}
    assert named == {"alpha", "beta", "gamma", "delta"}


def test_seasons_are_bounded_apart_and_together(honest: SeasonLedger, tmp_path: Path) -> None:
    """With different training seasons, a record is in one campaign and a person in both."""
    rewrite(honest, "spring", None, train_seasons=["2026"])
    found = by_season(judge(honest, tmp_path))
    assert list(found) == ["2025", "2026", None]
    assert found["2025"].campaigns == found["2026"].campaigns == 1
    assert found["2025"].bound < found[None].bound == found[None].epsilons[0]


def test_a_record_that_may_be_used_once_is_lost_once(honest: SeasonLedger, tmp_path: Path) -> None:
    """Of two campaigns, the worse one counts; over all seasons only the stop does."""
    for campaign in ("autumn", "spring"):
        rewrite(honest, campaign, "person", campaigns=1, epsilon="1.2")
    found = by_season(judge(honest, tmp_path))
    assert len(found["2025"].epsilons) == 1
    assert found["2025"].bound < 1.2 == found[None].bound < found[None].epsilons[0]


def test_the_worst_company_of_the_worst_campaign_counts(honest: SeasonLedger, tmp_path: Path) -> None:
    """One company reserved a round with little noise: a person may have been there, and only there."""
    for campaign in ("autumn", "spring"):
        rewrite(honest, campaign, "person", campaigns=1)
    honest.find("intent", campaign="autumn", company="beta").body["event"]["noise_multiplier"] = "5"
    verdict = judge(honest, tmp_path)
    reserved = {(item.campaign, item.company): item.reserved for item in verdict.rounds}
    assert by_season(verdict)["2025"].bound == reserved["autumn", "beta"] > reserved["spring", "beta"]


def test_a_coarse_grid_can_make_a_campaign_the_worst(honest: SeasonLedger, tmp_path: Path) -> None:
    """What discrete noise costs counts, too: a little more noise on a coarse grid is less privacy."""
    for campaign in ("autumn", "spring"):
        rewrite(honest, campaign, "person", campaigns=1)
    rewrite(honest, "autumn", "training", noise_multiplier="7.32", clipping_norm="0.0176", grid=1024)
    plan = CampaignPlan.from_body(honest.find("plan", campaign="autumn").body)
    for statement in honest.statements:
        if statement.kind == "intent" and statement.body["campaign"] == "autumn":
            statement.body["event"] = round_event(plan).to_body()
    verdict = judge(honest, tmp_path)
    reserved = {item.campaign: item.reserved for item in verdict.rounds}
    assert by_season(verdict)["2025"].bound == reserved["autumn"] > reserved["spring"] + 0.005


def test_the_stop_bounds_what_campaigns_add_up_to(honest: SeasonLedger, tmp_path: Path) -> None:
    """Two campaigns pass a stop that each of them alone keeps: no finding, since nobody need be in both."""
    for campaign in ("autumn", "spring"):
        rewrite(honest, campaign, "person", epsilon="1.2")
    verdict = judge(honest, tmp_path)
    season = by_season(verdict)["2025"]
    assert verdict.is_verified
    assert season.epsilons[0] < season.stop == season.bound < season.epsilons[1]


def test_of_different_plans_the_most_generous_counts(honest: SeasonLedger, tmp_path: Path) -> None:
    """Whatever one of the plans allows is possible: another one's smaller number or stop does not undo it."""
    rewrite(honest, "autumn", "person", campaigns=1, epsilon="1.1")
    rewrite(honest, "spring", "person", campaigns=2, epsilon="1.3")
    season = by_season(judge(honest, tmp_path))["2025"]
    assert (len(season.epsilons), season.bound) == (2, 1.3)


def test_stops_at_different_deltas_bound_nothing_together(honest: SeasonLedger, tmp_path: Path) -> None:
    """The bound is stated at the smaller delta, where the other plan's stop says nothing."""
    rewrite(honest, "spring", "person", delta="0.0000001", epsilon="1.5")
    season = by_season(judge(honest, tmp_path))["2025"]
    assert (season.delta, season.stop) == ("0.0000001", math.inf)
    assert season.bound == season.epsilons[-1] > 1.4545


def test_a_campaign_without_a_round_costs_nobody_anything(opening: SeasonLedger, tmp_path: Path) -> None:
    """A plan alone is no loss."""
    opening.prepare(opening.plan("autumn"))
    verdict = judge(opening, tmp_path)
    assert verdict.is_verified
    assert verdict.persons == ()


@pytest.mark.parametrize(("limit", "is_kept"), [("3.9", False), ("4", True)])
def test_the_auditors_limit_for_a_person(
    limit: str, is_kept: bool, honest: SeasonLedger, tmp_path: Path
) -> None:
    """A plan may not let a person lose more than the trust file says."""
    verdict = judge(honest, tmp_path, f'max_person_epsilon = "{limit}"')
    assert {finding.code for finding in verdict.findings} == (set() if is_kept else {Code.PLAN_ABOVE_TRUST})


def test_a_person_is_in_the_fields(honest: SeasonLedger, tmp_path: Path) -> None:
    """Every number of it, rounded up."""
    fields = to_fields(judge(honest, tmp_path))["persons"]
    assert [item["season"] for item in fields] == ["2025", None]
    assert fields[0]["bound"] == fields[0]["epsilons"][-1] == "1.4545"
    assert (fields[0]["stop"], fields[0]["delta"], fields[0]["campaigns"]) == ("4.0000", "0.000001", 2)
