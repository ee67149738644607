"""Every known way to falsify a season is found, and named, though whoever did it signed everything anew."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from noren_audit.verification.findings import Code
from noren_audit.verification.trust import load_trust
from noren_audit.verification.verify import Verdict, verify_bundle
from noren_core.crypto.identity import SigningKey
from noren_core.ledger.entries import CompanyKey
from noren_core.season.plan import CampaignPlan

if TYPE_CHECKING:
    from conftest import SeasonLedger

Mutation = Callable[["SeasonLedger"], object]

STRANGER = SigningKey.from_bytes(bytes(range(32)))
AUTUMN = {"campaign": "autumn"}
ALPHA = {"campaign": "autumn", "company": "alpha"}


def judge(ledger: SeasonLedger, tmp_path: Path, *limits: str) -> Verdict:
    """The verdict over this ledger, by a trust file with its true keys."""
    trust = tmp_path / "trust.toml"
    trust.write_text(ledger.trust_text(*limits))
    return verify_bundle(ledger.write(tmp_path / "bundle"), load_trust(trust))


def change(kind: str, where: dict[str, Any], **changes: Any) -> Mutation:
    """One statement says something else."""
    return lambda ledger: ledger.find(kind, **where).body.update(changes)


def drop(kind: str, where: dict[str, Any]) -> Mutation:
    """The platform leaves one statement out."""
    return lambda ledger: ledger.drop(ledger.find(kind, **where))


def repeat(kind: str, where: dict[str, Any], **changes: Any) -> Mutation:
    """One statement is made a second time, changed."""
    return lambda ledger: ledger.repeat(ledger.find(kind, **where), **changes)


def move(kind: str, where: dict[str, Any], before: str, other: dict[str, Any]) -> Mutation:
    """One statement comes too early."""
    return lambda ledger: ledger.move(ledger.find(kind, **where), before=ledger.find(before, **other))


def in_event(**changes: Any) -> Mutation:
    """Alpha's second intent of the autumn reserves another event."""

    def mutate(ledger: SeasonLedger) -> None:
        ledger.find("intent", **ALPHA, round=2).body["event"].update(changes)

    return mutate


def in_plan(section: str | None, *, campaign: str = "autumn", **changes: Any) -> Mutation:
    """The campaign's plan differs from the start; acceptances and intents follow it faithfully."""

    def mutate(ledger: SeasonLedger) -> None:
        body = ledger.find("plan", campaign=campaign).body
        old = CampaignPlan.from_body(copy.deepcopy(body)).digest().hex()
        (body[section] if section else body).update(changes)
        new = CampaignPlan.from_body(copy.deepcopy(body)).digest().hex()
        for statement in ledger.statements:
            if statement.body.get("plan_sha256") == old:
                statement.body["plan_sha256"] = new
                if "event" in statement.body:
                    follow = {k: v for k, v in changes.items() if k in statement.body["event"]}
                    statement.body["event"].update(follow)

    return mutate


def in_manifest(**changes: Any) -> Mutation:
    """Alpha's training table of the autumn has another manifest."""

    def mutate(ledger: SeasonLedger) -> None:
        ledger.find("table", **ALPHA).body["manifest"].update(changes)

    return mutate


def sign_as(kind: str, where: dict[str, Any], *, author: bool) -> Mutation:
    """A stranger signs in the author's, or countersigns in the platform's place."""

    def mutate(ledger: SeasonLedger) -> None:
        statement = ledger.find(kind, **where)
        if author:
            statement.signer = STRANGER
        else:
            statement.countersigner = STRANGER

    return mutate


def settles(ledger: SeasonLedger, campaign: str, number: int) -> list[dict[str, Any]]:
    """The bodies of all settles of one round."""
    return [
        statement.body
        for statement in ledger.statements
        if statement.kind == "settle"
        and (statement.body["campaign"], statement.body["round"]) == (campaign, number)
    ]


def lonely_round(ledger: SeasonLedger) -> None:
    """All companies of the autumn settle a last round of which only two survived."""
    for body in settles(ledger, "autumn", 3):
        body["survivors"] = ["alpha", "beta"]


def noise_halved_everywhere(ledger: SeasonLedger) -> None:
    """All of the autumn's parties agree on half the noise for the same epsilon."""
    in_plan("training", noise_multiplier="3.659")(ledger)


def log_start_moved(ledger: SeasonLedger) -> None:
    """The first entry is an enrolment."""
    ledger.move(ledger.find("enrolment", company="alpha"), before=ledger.find("log-start"))


def second_key_for_a_company(ledger: SeasonLedger) -> None:
    """Alpha is enrolled again with a key of the platform's making."""
    second = ledger.repeat(ledger.find("enrolment", company="alpha"), signing_key=STRANGER.public_key.hex())
    second.signer = STRANGER


def one_body_in_two_companies(ledger: SeasonLedger) -> None:
    """Beta's sealing key is alpha's."""
    key = ledger.find("enrolment", company="alpha").body["sealing_key"]
    ledger.find("enrolment", company="beta").body["sealing_key"] = key


def reopened_round(ledger: SeasonLedger) -> None:
    """The autumn's round 3 is declared failed after everybody reserved it, and settled all the same."""
    ledger.say("round-failed", "platform", {"campaign": "autumn", "round": 3, "reason": "TOO_FEW_COMPANIES"})
    ledger.move(ledger.statements[-1], before=ledger.find("settle", **ALPHA, round=2))


def score_before_head(ledger: SeasonLedger) -> None:
    """Alpha's scores are sealed before it committed to a head."""
    score = next(
        s
        for s in ledger.statements
        if s.kind == "table" and s.body["company"] == "alpha" and s.body["manifest"]["kind"] == "score"
    )
    assert score.epoch is not None
    head = ledger.find("head-commitment", **ALPHA)
    ledger.move(score.epoch, before=head)
    ledger.move(score, before=head)


def epoch_of_another_company(ledger: SeasonLedger) -> None:
    """Alpha's table is said to come from beta's consents."""
    ledger.find("table", **ALPHA).epoch = ledger.find("consent-epoch", campaign="autumn", company="beta")


def epoch_of_scoring(ledger: SeasonLedger) -> None:
    """A second training table of alpha's is made from consents to scoring."""
    table = ledger.repeat(ledger.find("table", **ALPHA))
    table.body["manifest"]["table_id"] = "5a" * 16
    table.epoch = ledger.find("consent-epoch", **ALPHA, kind="score")


def table_id_of_another_campaign(ledger: SeasonLedger) -> None:
    """Alpha's training table of the spring has the id of the autumn's."""
    table_id = ledger.find("table", **ALPHA).body["manifest"]["table_id"]
    ledger.find("table", campaign="spring", company="alpha").body["manifest"]["table_id"] = table_id


def oprf_key_of_another_campaign(ledger: SeasonLedger) -> None:
    """Alpha's key of the spring is the autumn's."""
    key = ledger.find("oprf-key", **ALPHA).body["public_key"]
    ledger.find("oprf-key", campaign="spring", company="alpha").body["public_key"] = key


def rolled_back_odometer(ledger: SeasonLedger) -> None:
    """Alpha's chain has the same head before two reservations: it was restored from a copy."""
    previous = ledger.find("intent", **ALPHA, round=1).body["previous"]
    ledger.find("intent", **ALPHA, round=3).body["previous"] = previous


def update_sent_again(ledger: SeasonLedger) -> None:
    """Alpha settles in round 2 what it had settled in round 1."""
    update = ledger.find("settle", **ALPHA, round=1).body["update_sha256"]
    ledger.find("settle", **ALPHA, round=2).body["update_sha256"] = update


def model_replaced_between_rounds(ledger: SeasonLedger) -> None:
    """All companies start round 2 from a model that round 1 did not leave."""
    for body in settles(ledger, "autumn", 2):
        body["model_in"] = "00" * 32


def everybody_skips_a_settle(ledger: SeasonLedger) -> None:
    """The platform leaves out all settles of the autumn's round 2."""
    for company in ("alpha", "beta", "delta", "gamma"):
        ledger.drop(ledger.find("settle", campaign="autumn", company=company, round=2))


def unenrolled_author(ledger: SeasonLedger) -> None:
    """A company that never enrolled accepts the plan."""
    acceptance = ledger.repeat(ledger.find("plan-acceptance", **ALPHA), company="omega")
    acceptance.author = "omega"


def stranger_in_a_campaign(ledger: SeasonLedger) -> None:
    """A company that enrolled, but is not of the cohort, accepts the plan."""
    ledger.enrol("omega")
    unenrolled_author(ledger)


def only_two_accept(ledger: SeasonLedger) -> None:
    """Two companies of the autumn start, the acceptances of the others are missing."""
    for company in ("delta", "gamma"):
        ledger.drop(ledger.find("plan-acceptance", campaign="autumn", company=company))


def plan_of_strangers(ledger: SeasonLedger) -> None:
    """Gamma enrols only after the plan that names it."""
    plan = ledger.find("plan", **AUTUMN)
    for kind in ("agreement", "enrolment"):
        statement = ledger.find(kind, company="gamma")
        ledger.statements.remove(statement)
        ledger.statements.insert(ledger.statements.index(plan) + 1, statement)


def settle_of_an_absent_survivor(ledger: SeasonLedger) -> None:
    """The spring's round 3 names delta, which had not reserved it, a survivor."""
    for body in settles(ledger, "spring", 3):
        body["survivors"] = ["alpha", "beta", "delta", "gamma"]


def before_beacon(kind: str, **changes: Any) -> Mutation:
    """A statement of alpha's in the autumn is made a second time, changed, before the beacon."""

    def mutate(ledger: SeasonLedger) -> None:
        ledger.repeat(ledger.find(kind, **ALPHA), **changes)
        ledger.move(ledger.statements[-1], before=ledger.find("beacon", **AUTUMN))

    return mutate


def sealed(**changes: Any) -> Mutation:
    """The autumn's beacon holds another checkpoint."""

    def mutate(ledger: SeasonLedger) -> None:
        seal = ledger.find("beacon", **AUTUMN).seal
        for name, value in changes.items():
            setattr(seal, name, value)

    return mutate


def beacon_over_entries_to_come(ledger: SeasonLedger) -> None:
    """The platform seals the entries that it is going to append after the autumn's beacon."""
    beacon = ledger.find("beacon", **AUTUMN)
    assert beacon.seal is not None
    beacon.seal.size, beacon.seal.root = ledger.statements.index(beacon) + 1, bytes(32)


def beacon_over_all_but_the_last(ledger: SeasonLedger) -> None:
    """The autumn's beacon was drawn before the last company committed."""
    beacon = ledger.find("beacon", **AUTUMN)
    assert beacon.seal is not None
    beacon.seal.size = ledger.statements.index(beacon) - 1


def seed_of_another_campaign(ledger: SeasonLedger) -> None:
    """Alpha commits in the spring to the seed of the autumn."""
    seed = ledger.find("training-commitment", **ALPHA).body["seed"]
    ledger.find("training-commitment", campaign="spring", company="alpha").body["seed"] = seed


def seed_of_another_company(ledger: SeasonLedger) -> None:
    """Beta commits to the seed that alpha committed to."""
    seed = ledger.find("training-commitment", **ALPHA).body["seed"]
    ledger.find("training-commitment", campaign="autumn", company="beta").body["seed"] = seed


def newer_consents(ledger: SeasonLedger) -> None:
    """Alpha's table is made from consents of which there is a newer epoch."""
    ledger.repeat(ledger.find("consent-epoch", **ALPHA), root="71" * 32)
    ledger.move(ledger.statements[-1], before=ledger.find("table", **ALPHA))


def in_sentinels(change_sums: Callable[[list[int], int], list[int]], number: int | None = None) -> Mutation:
    """All companies settle other sentinel sums for the autumn's rounds, or for one of them."""

    def mutate(ledger: SeasonLedger) -> None:
        for each in (1, 2, 3) if number is None else (number,):
            for body in settles(ledger, "autumn", each):
                body["sentinels"] = change_sums(body["sentinels"], each)

    return mutate


def sums_of_another_campaign(ledger: SeasonLedger) -> None:
    """A round of the spring has the sums of the autumn's first."""
    sums = ledger.find("settle", **AUTUMN, round=1).body["sentinels"]
    for body in settles(ledger, "spring", 2):
        body["sentinels"] = sums


def coarse_row_noise(ledger: SeasonLedger) -> None:
    """The plan's row noise is too coarse for any bound."""
    in_plan("rows", variance=10_000)(ledger)


MUTANTS: dict[str, tuple[Code, Mutation]] = {
    "log starts with another entry": (Code.LOG_START, log_start_moved),
    "log starts without a first entry": (Code.LOG_START, drop("log-start", {})),
    "log starts a second time": (Code.LOG_START, repeat("log-start", {})),
    "log starts with another platform key": (
        Code.LOG_START,
        change("log-start", {}, platform_key=STRANGER.public_key.hex()),
    ),
    "platform drops an enrolment": (Code.NOT_ENROLLED, drop("enrolment", {"company": "gamma"})),
    "platform drops an agreement": (Code.AGREEMENT_MISSING, drop("agreement", {"company": "gamma"})),
    "platform forges a company's entry": (Code.AUTHOR_SIGNATURE, sign_as("intent", ALPHA, author=True)),
    "stranger countersigns": (Code.COUNTERSIGNATURE, sign_as("intent", ALPHA, author=False)),
    "stranger signs as the platform": (Code.AUTHOR_SIGNATURE, sign_as("plan", AUTUMN, author=True)),
    "company enrolled twice": (Code.ENROLMENT_REPEATED, second_key_for_a_company),
    "two companies with one key": (Code.KEY_SHARED, one_body_in_two_companies),
    "company of the cohort enrols after the plan": (Code.NOT_ENROLLED, plan_of_strangers),
    "author never enrolled": (Code.NOT_ENROLLED, unenrolled_author),
    "company outside the cohort": (Code.NOT_IN_COHORT, stranger_in_a_campaign),
    "platform drops the plan": (Code.PLAN_MISSING, drop("plan", AUTUMN)),
    "second plan for a campaign": (Code.PLAN_REPEATED, repeat("plan", AUTUMN, score_season="2031")),
    "plan with an additional field": (Code.PLAN_MALFORMED, change("plan", AUTUMN, remark="x")),
    "plan with a truth value for a number": (
        Code.PLAN_MALFORMED,
        lambda ledger: (
            ledger.find("plan", **AUTUMN).body["training"].update(sampling={"num": True, "den": 1})
        ),
    ),
    "plan that needs the noise of companies that may drop out": (
        Code.PLAN_MALFORMED,
        lambda ledger: ledger.find("plan", **AUTUMN).body["training"].update(tolerated=0),
    ),
    "plan spends more than its epsilon": (Code.EPSILON_EXCEEDED, noise_halved_everywhere),
    "plan that alone passes a person's total": (
        Code.PERSON_EPSILON_EXCEEDED,
        in_plan("person", epsilon="0.9"),
    ),
    "plan's row noise gives less than its epsilon": (
        Code.ROW_EPSILON_EXCEEDED,
        in_plan("rows", variance=2_700_000),
    ),
    "plan's row noise too coarse": (Code.EPSILON_NOT_COMPUTABLE, coarse_row_noise),
    "acceptance of another plan": (
        Code.ACCEPTANCE_OTHER_PLAN,
        change("plan-acceptance", ALPHA, plan_sha256="00" * 32),
    ),
    "platform drops an acceptance": (Code.ACCEPTANCE_MISSING, drop("plan-acceptance", ALPHA)),
    "acceptance after the first intent": (
        Code.ACCEPTANCE_MISSING,
        move("intent", {**ALPHA, "round": 1}, "plan-acceptance", ALPHA),
    ),
    "too few acceptances": (Code.ACCEPTANCES_TOO_FEW, only_two_accept),
    "second oprf key": (Code.OPRF_KEY_REPEATED, repeat("oprf-key", ALPHA, public_key="77" * 32)),
    "reused oprf key": (Code.OPRF_KEY_REUSED, oprf_key_of_another_campaign),
    "table without an oprf key": (Code.OPRF_KEY_MISSING, drop("oprf-key", ALPHA)),
    "table before its consent epoch": (
        Code.CONSENT_EPOCH_MISSING,
        move("table", ALPHA, "consent-epoch", ALPHA),
    ),
    "table from another company's consents": (Code.CONSENT_EPOCH_MISSING, epoch_of_another_company),
    "training table from consents to scoring": (Code.CONSENT_EPOCH_MISSING, epoch_of_scoring),
    "reused table id": (Code.TABLE_ID_REUSED, table_id_of_another_campaign),
    "training without a table": (Code.TRAIN_TABLE_MISSING, drop("table", ALPHA)),
    "table from consents that were renewed": (Code.CONSENT_EPOCH_MISSING, newer_consents),
    "two tables from one consent epoch": (
        Code.CONSENT_EPOCH_REUSED,
        lambda ledger: (
            ledger.repeat(ledger.find("table", **ALPHA)).body["manifest"].update(table_id="5a" * 16)
        ),
    ),
    "rows committed before the table": (
        Code.TRAIN_TABLE_LATE,
        move("training-commitment", ALPHA, "table", ALPHA),
    ),
    "rows committed without a table": (
        Code.TRAIN_TABLE_MISSING,
        move("training-commitment", ALPHA, "table", ALPHA),
    ),
    "commitment under another plan": (
        Code.COMMITMENT_OTHER_PLAN,
        change("training-commitment", ALPHA, plan_sha256="00" * 32),
    ),
    "commitment without an acceptance": (
        Code.ACCEPTANCE_MISSING,
        move("training-commitment", ALPHA, "plan-acceptance", ALPHA),
    ),
    "second commitment": (Code.COMMITMENT_REPEATED, before_beacon("training-commitment", seed="72" * 32)),
    "commitment after the beacon": (
        Code.COMMITMENT_LATE,
        move("beacon", AUTUMN, "training-commitment", {**AUTUMN, "company": "gamma"}),
    ),
    "platform drops a commitment": (Code.COMMITMENT_MISSING, drop("training-commitment", ALPHA)),
    "seed used in two campaigns": (Code.SEED_REPEATED, seed_of_another_campaign),
    "seed shared by two companies": (Code.SEED_REPEATED, seed_of_another_company),
    "platform drops the beacon": (Code.BEACON_MISSING, drop("beacon", AUTUMN)),
    "round reserved before the beacon": (
        Code.BEACON_MISSING,
        move("intent", {**ALPHA, "round": 1}, "beacon", AUTUMN),
    ),
    "second beacon": (Code.BEACON_REPEATED, repeat("beacon", AUTUMN)),
    "beacon signed by a stranger": (Code.BEACON_NOT_THE_LOGS, sealed(signer=STRANGER)),
    "beacon from before the commitments": (Code.BEACON_SIZE, sealed(size=5)),
    "beacon from before the last commitment": (Code.BEACON_SIZE, beacon_over_all_but_the_last),
    "beacon over entries to come": (Code.BEACON_SIZE, beacon_over_entries_to_come),
    "beacon of another ledger": (Code.BEACON_ROOT, sealed(root=bytes(32))),
    "beacon that no witness saw": (Code.BEACON_WITNESSES, sealed(witnesses=())),
    "beacon that a witness saw twice": (
        Code.BEACON_WITNESSES,
        sealed(witnesses=("witness.example/ada", "witness.example/ada")),
    ),
    "beacon that a stranger saw": (Code.BEACON_WITNESSES, sealed(witnesses=("witness.example/eve",))),
    "scores before the head": (Code.SCORE_TABLE_EARLY, score_before_head),
    "intent under another plan": (Code.INTENT_OTHER_PLAN, change("intent", ALPHA, plan_sha256="00" * 32)),
    "platform drops an intent": (Code.INTENT_ROUND_ORDER, drop("intent", {**ALPHA, "round": 2})),
    "intents out of order": (
        Code.INTENT_ROUND_ORDER,
        move("intent", {**ALPHA, "round": 3}, "intent", {**ALPHA, "round": 2}),
    ),
    "replayed intent": (Code.ENTRY_REPLAYED, repeat("intent", {**ALPHA, "round": 2})),
    "round reserved twice": (
        Code.INTENT_ROUND_ORDER,
        repeat("intent", {**ALPHA, "round": 2}, previous="66" * 32),
    ),
    "extra round": (
        Code.INTENT_BEYOND_PLAN,
        repeat("intent", {**ALPHA, "round": 3}, round=4, previous="66" * 32),
    ),
    "extra round is spent": (
        Code.EPSILON_EXCEEDED,
        repeat("intent", {**ALPHA, "round": 3}, round=4, previous="66" * 32),
    ),
    "lower noise": (Code.EVENT_NOT_THE_PLANS, in_event(noise_multiplier="3.5")),
    "lower noise is spent": (Code.EPSILON_EXCEEDED, in_event(noise_multiplier="3.5")),
    "two releases in one round": (Code.EPSILON_EXCEEDED, in_event(count=2)),
    "another clipping norm": (Code.EVENT_NOT_THE_PLANS, in_event(clipping_norm="1.9")),
    "another placement": (Code.EVENT_NOT_THE_PLANS, in_event(placement="local", tolerated=0)),
    "rolled back odometer": (Code.ODOMETER_REPEATED, rolled_back_odometer),
    "odometer at an earlier line": (
        Code.ODOMETER_ROLLED_BACK,
        change("intent", {**ALPHA, "round": 3}, sequence=1),
    ),
    "odometer at the same line": (
        Code.ODOMETER_ROLLED_BACK,
        change("intent", {"campaign": "spring", "company": "alpha", "round": 2}, sequence=6),
    ),
    "settle of a round beyond the plan": (
        Code.SETTLE_BEYOND_PLAN,
        repeat("settle", {**ALPHA, "round": 3}, round=4, update_sha256="66" * 32),
    ),
    "settle without intent": (Code.SETTLE_WITHOUT_INTENT, settle_of_an_absent_survivor),
    "settle before a peer's intent": (
        Code.SETTLE_WITHOUT_INTENT,
        move("settle", {**ALPHA, "round": 1}, "intent", {**AUTUMN, "company": "gamma", "round": 1}),
    ),
    "round settled twice": (
        Code.SETTLE_ORDER,
        repeat("settle", {**ALPHA, "round": 3}, update_sha256="66" * 32),
    ),
    "platform drops a settle": (Code.SETTLE_ORDER, drop("settle", {**ALPHA, "round": 2})),
    "platform drops a round's settles": (Code.MODEL_CHAIN_BROKEN, everybody_skips_a_settle),
    "survivors outside the cohort": (
        Code.SURVIVORS_NOT_IN_COHORT,
        change("settle", ALPHA, survivors=["alpha", "beta", "delta", "omega"]),
    ),
    "survivors outside the cohort, after a sound settle": (
        Code.SURVIVORS_NOT_IN_COHORT,
        change(
            "settle",
            {**AUTUMN, "company": "gamma", "round": 2},
            survivors=["alpha", "beta", "delta", "gamma", "omega"],
        ),
    ),
    "survivors below the minimum": (Code.SURVIVORS_TOO_FEW, lonely_round),
    "survivors differ between companies": (
        Code.SURVIVORS_DIFFER,
        change("settle", {**ALPHA, "round": 2}, survivors=["alpha", "beta", "gamma"]),
    ),
    "update sent again": (Code.UPDATE_REPEATED, update_sent_again),
    "models differ between companies": (
        Code.MODELS_DIFFER,
        change("settle", {**ALPHA, "round": 2}, model_out="00" * 32),
    ),
    "model replaced between rounds": (Code.MODEL_CHAIN_BROKEN, model_replaced_between_rounds),
    "sentinels differ between companies": (
        Code.SENTINELS_DIFFER,
        change("settle", {**ALPHA, "round": 2}, sentinels=[0] * 8),
    ),
    "fewer sentinels than planned": (Code.SENTINELS_NOT_THE_PLANS, in_sentinels(lambda sums, _: sums[1:], 2)),
    "no noise": (Code.SENTINELS_TOO_SMALL, in_sentinels(lambda sums, _: [0] * 7 + [1])),
    "a quarter of the noise": (
        Code.SENTINELS_TOO_SMALL,
        in_sentinels(lambda sums, _: [x // 4 for x in sums]),
    ),
    "other noise than planned": (
        Code.SENTINELS_TOO_LARGE,
        in_sentinels(lambda sums, _: [3 * x for x in sums]),
    ),
    "noise drawn twice": (
        Code.SENTINELS_REPEATED,
        in_sentinels(lambda sums, number: [(number + 1) // 2 * 10**6 - 7 * x for x in range(8)]),
    ),
    "noise of another campaign": (Code.SENTINELS_REPEATED, sums_of_another_campaign),
    "failed round settled": (Code.ROUND_FAILED_CONFLICT, reopened_round),
    "settled round declared failed": (
        Code.ROUND_FAILED_CONFLICT,
        repeat("round-failed", {"campaign": "spring"}, campaign="autumn", round=2),
    ),
    "failure of a round beyond the plan": (
        Code.ROUND_FAILED_CONFLICT,
        change("round-failed", {"campaign": "spring"}, round=4),
    ),
    "second head": (Code.HEAD_REPEATED, repeat("head-commitment", ALPHA, commitment="77" * 32)),
    "second head for a season, in another campaign": (
        Code.HEAD_REPEATED,
        lambda ledger: ledger.find("plan", **AUTUMN).body.update(score_season="season-spring"),
    ),
    "more heads than planned": (Code.HEAD_NOT_THE_PLANS, change("head-commitment", ALPHA, heads=2)),
    "head before the last round": (
        Code.HEAD_EARLY,
        move("head-commitment", ALPHA, "settle", {**ALPHA, "round": 2}),
    ),
    "head before the company's last settle": (
        Code.HEAD_EARLY,
        move(
            "head-commitment",
            {**AUTUMN, "company": "gamma"},
            "settle",
            {**AUTUMN, "company": "gamma", "round": 3},
        ),
    ),
    "head with more dimensions": (Code.HEAD_NOT_THE_PLANS, change("head-commitment", ALPHA, dimensions=5)),
    "head with wider weights": (Code.HEAD_NOT_THE_PLANS, change("head-commitment", ALPHA, weight_bits=12)),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_falsified_season_is_found_and_named(name: str, honest: SeasonLedger, tmp_path: Path) -> None:
    """One falsehood, everything signed anew by whoever can: NOT VERIFIED with the defect's own code."""
    code, mutate = MUTANTS[name]
    mutate(honest)
    verdict = judge(honest, tmp_path)
    assert not verdict.is_verified
    assert code in {finding.code for finding in verdict.findings}


def test_the_honest_season_is_verified(honest: SeasonLedger, tmp_path: Path) -> None:
    """Two campaigns with a failed set-up and a company that drops out have no finding, and these epsilons."""
    verdict = judge(honest, tmp_path)
    assert verdict.findings == ()
    assert verdict.is_verified
    spent = {(item.campaign, item.company): item for item in verdict.rounds}
    assert len(spent) == 8
    assert spent["spring", "delta"].releases == 2
    assert 0.99 < spent["autumn", "alpha"].epsilon <= 1
    assert spent["spring", "delta"].epsilon < spent["spring", "alpha"].epsilon
    assert all(item.epsilon <= item.epsilon_rdp for item in verdict.rounds)
    assert [(item.campaign, 7.9 < item.epsilon <= 8) for item in verdict.rows] == [
        ("autumn", True),
        ("spring", True),
    ]


def test_all_findings_are_collected(honest: SeasonLedger, tmp_path: Path) -> None:
    """Several independent defects are all reported, each with its entry and evidence."""
    names = ("second head", "platform drops an intent", "reused oprf key", "two companies with one key")
    for name in names:
        MUTANTS[name][1](honest)
    head = next(i for i, s in reversed(list(enumerate(honest.statements))) if s.kind == "head-commitment")
    verdict = judge(honest, tmp_path)
    codes = {finding.code for finding in verdict.findings}
    assert {MUTANTS[name][0] for name in names} <= codes
    second = next(finding for finding in verdict.findings if finding.code is Code.HEAD_REPEATED)
    assert second.index == head
    assert second.evidence["company"] == "alpha"
    assert honest.statements[int(str(second.evidence["first"]))].kind == "head-commitment"


def test_defects_stay_where_they_are(honest: SeasonLedger, tmp_path: Path) -> None:
    """A defect in the autumn is not reported of the spring."""
    MUTANTS["lower noise"][1](honest)
    verdict = judge(honest, tmp_path)
    assert {finding.evidence["campaign"] for finding in verdict.findings} == {"autumn"}


@pytest.mark.parametrize(
    "limit", ['max_epsilon = "0.99"', "max_epsilon = 0.5", "max_row_epsilon = 7", "max_delta = 1e-7"]
)
def test_the_auditors_limits_bind_the_plans(limit: str, honest: SeasonLedger, tmp_path: Path) -> None:
    """A plan that its own companies accepted is refused above the trust file's limit."""
    verdict = judge(honest, tmp_path, limit)
    assert {finding.code for finding in verdict.findings} == {Code.PLAN_ABOVE_TRUST}


def test_the_auditors_witnesses_saw_every_beacon(honest: SeasonLedger, tmp_path: Path) -> None:
    """The plan's quorum is enough for the plan; who trusts one witness wants that one's cosignature."""
    ada, bea = honest.witness_keys
    for key, missing in ((ada, set()), (bea, {Code.BEACON_WITNESSES})):
        (tmp_path / "trust.toml").write_text(
            honest.trust_text(f'witnesses = ["{key}"]', "witness_quorum = 1")
        )
        bundle = honest.write(tmp_path / key[16:19])
        found = {f.code for f in verify_bundle(bundle, load_trust(tmp_path / "trust.toml")).findings}
        assert found - {Code.WITNESS_QUORUM} == missing


def test_sentinels_are_reported(honest: SeasonLedger, tmp_path: Path) -> None:
    """How many sums were tested, and that their deviation is about the plan's."""
    verdict = judge(honest, tmp_path)
    assert [(item.campaign, item.judgement.observations) for item in verdict.sentinels] == [
        ("autumn", 24),
        ("spring", 24),
    ]
    assert all(0.5 < item.judgement.deviation_ratio < 1.5 for item in verdict.sentinels)


def test_a_plan_without_sentinels_is_verified_untested(honest: SeasonLedger, tmp_path: Path) -> None:
    """None planned, none settled: no finding, and the report says that nothing was tested."""
    in_plan("training", sentinels=0)(honest)
    in_sentinels(lambda sums, _: [])(honest)
    verdict = judge(honest, tmp_path)
    assert verdict.is_verified
    assert verdict.sentinels[0].judgement.observations == 0


def test_limits_that_hold_change_nothing(honest: SeasonLedger, tmp_path: Path) -> None:
    """Limits at exactly the plans' values are kept."""
    limits = ("max_epsilon = 1", 'max_row_epsilon = "8"', "max_delta = 0.000001")
    assert judge(honest, tmp_path, *limits).is_verified


# Changes of keys


def own_statement(ledger: SeasonLedger, company: str) -> Any:
    """The company's first intent of the spring, after the changes."""
    return ledger.find("intent", campaign="spring", company=company)


def signed_by(key: str, company: str = "alpha") -> Mutation:
    """A company's intent of the spring is signed by this key."""
    return lambda ledger: setattr(own_statement(ledger, company), "signer", ledger.key(key))


def countersigned_by_the_replaced_key(ledger: SeasonLedger) -> None:
    """The platform goes on countersigning with the key that it replaced."""
    own_statement(ledger, "gamma").countersigner = ledger.platform_key


def rotation(ledger: SeasonLedger, key: str) -> Any:
    """The first change of this key; of a company's it is alpha's."""
    kind = "platform-key-rotation" if key in ("platform", "log") else "key-rotation"
    return ledger.find(kind, key=key)


def forged(key: str, field: str) -> Mutation:
    """One of the signatures in a rotation's body is a stranger's."""

    def mutate(ledger: SeasonLedger) -> None:
        rotation(ledger, key).body[field] = STRANGER.sign(b"noren/v1/key-possession", b"mine").hex()

    return mutate


def rotation_by(key: str, signer: SigningKey) -> Mutation:
    """A rotation is signed by somebody else."""
    return lambda ledger: setattr(rotation(ledger, key), "signer", signer)


def rotation_during(kind: str, key: str) -> Mutation:
    """Alpha's key changes before this statement of the autumn."""
    return lambda ledger: ledger.move(rotation(ledger, key), before=ledger.find(kind, **ALPHA))


def second_successor(ledger: SeasonLedger) -> None:
    """Two rotations claim to replace alpha's first node key."""
    ledger.repeat(rotation(ledger, "node"), new="5b" * 32)


def another_partys_key(ledger: SeasonLedger) -> None:
    """Alpha's new TLS key is beta's."""
    rotation(ledger, "tls").body["new"] = ledger.find("enrolment", company="beta").body["tls_key_sha256"]


def a_key_comes_back(ledger: SeasonLedger) -> None:
    """Alpha's node key is replaced by the one that it had at first."""
    body = rotation(ledger, "node").body
    ledger.repeat(rotation(ledger, "node"), old=body["new"], new=body["old"])


def many_rotations(ledger: SeasonLedger) -> None:
    """Beta replaces its node key 33 times."""
    for number in range(1, 34):
        ledger.rotate("beta", CompanyKey.NODE, number)


def revoke(company: str, before: str, where: dict[str, Any]) -> Mutation:
    """The company is revoked before this statement."""

    def mutate(ledger: SeasonLedger) -> None:
        ledger.say("revocation", "platform", {"company": company, "reason": "KEY_COMPROMISED"})
        ledger.move(ledger.statements[-1], before=ledger.find(before, **where))

    return mutate


def closed_early(ledger: SeasonLedger) -> None:
    """The autumn goes on after it was closed."""
    ledger.move(ledger.find("campaign-closed"), before=ledger.find("head-commitment", **ALPHA))


def beacon_by_the_replaced_key(ledger: SeasonLedger) -> None:
    """The spring's beacon is signed by the log key of before."""
    seal = ledger.find("beacon", campaign="spring").seal
    assert seal is not None
    seal.signer = ledger.log_key


SPRING = {"campaign": "spring"}
KEY_MUTANTS: dict[str, tuple[Code, Mutation]] = {
    "entry signed by the replaced key": (Code.RETIRED_KEY, signed_by("alpha")),
    "entry signed by a key in between": (Code.RETIRED_KEY, signed_by("alpha signing 1")),
    "entry signed by a future key": (
        Code.AUTHOR_SIGNATURE,
        lambda ledger: setattr(ledger.find("intent", **ALPHA), "signer", ledger.key("alpha signing 1")),
    ),
    "countersigned by the replaced key": (Code.RETIRED_KEY, countersigned_by_the_replaced_key),
    "rotation signed by a stranger": (Code.AUTHOR_SIGNATURE, rotation_by("sealing", STRANGER)),
    "platform rotation signed by a stranger": (Code.AUTHOR_SIGNATURE, rotation_by("platform", STRANGER)),
    "rotation without the new key's consent": (Code.ROTATION_NOT_AGREED, forged("signing", "possession")),
    "platform rotation without the new key's": (Code.ROTATION_NOT_AGREED, forged("platform", "possession")),
    "log rotation without the new key's": (Code.ROTATION_NOT_AGREED, forged("log", "possession")),
    "log rotation without the old key's": (Code.ROTATION_NOT_AGREED, forged("log", "endorsement")),
    "signing key replaced in a campaign": (Code.ROTATION_IN_CAMPAIGN, rotation_during("intent", "signing")),
    "sealing key replaced before the last settle": (
        Code.ROTATION_IN_CAMPAIGN,
        lambda ledger: ledger.move(
            rotation(ledger, "sealing"), before=ledger.find("settle", **ALPHA, round=3)
        ),
    ),
    "two rotations of one key": (Code.ROTATION_CHAIN, second_successor),
    "rotation to another party's key": (Code.KEY_SHARED, another_partys_key),
    "rotation back to an earlier key": (Code.KEY_SHARED, a_key_comes_back),
    "too many rotations": (Code.ROTATIONS_TOO_MANY, many_rotations),
    "revoked company settles": (
        Code.COMPANY_REVOKED,
        revoke("delta", "settle", {**SPRING, "company": "delta"}),
    ),
    "revoked company in a plan": (Code.COMPANY_REVOKED, revoke("delta", "plan", SPRING)),
    "revoked company changes a key": (
        Code.COMPANY_REVOKED,
        revoke("gamma", "key-rotation", {"company": "gamma"}),
    ),
    "company revoked twice": (Code.COMPANY_REVOKED, repeat("revocation", {}, reason="BREACH_OF_AGREEMENT")),
    "stranger revoked": (Code.NOT_ENROLLED, change("revocation", {}, company="sigma")),
    "revoked company enrols again": (
        Code.ENROLMENT_REPEATED,
        lambda ledger: ledger.repeat(ledger.find("enrolment", company="omega"), sealing_key="5c" * 32),
    ),
    "beacon signed by the replaced log key": (Code.BEACON_NOT_THE_LOGS, beacon_by_the_replaced_key),
    "entries after the close": (Code.CAMPAIGN_CLOSED, closed_early),
    "campaign closed twice": (
        Code.CAMPAIGN_CLOSED,
        lambda ledger: setattr(
            ledger.repeat(ledger.find("campaign-closed")), "countersigner", ledger.key("new platform")
        ),
    ),
}


@pytest.mark.parametrize("name", KEY_MUTANTS)
def test_a_falsified_change_of_keys_is_found_and_named(
    name: str, renewed: SeasonLedger, tmp_path: Path
) -> None:
    """One falsehood about keys, all else signed by whose turn it is: NOT VERIFIED with the defect's code."""
    code, mutate = KEY_MUTANTS[name]
    mutate(renewed)
    assert code in {finding.code for finding in judge(renewed, tmp_path).findings}


def test_a_plan_with_a_revoked_company_is_found_at_the_plan(renewed: SeasonLedger, tmp_path: Path) -> None:
    """It is the plan's defect, before the company says anything."""
    KEY_MUTANTS["revoked company in a plan"][1](renewed)
    plan = renewed.statements.index(renewed.find("plan", **SPRING))
    found = {
        (f.code, f.index, f.evidence["company"]) for f in judge(renewed, tmp_path).findings if f.index == plan
    }
    assert found == {(Code.COMPANY_REVOKED, plan, "delta")}


def test_keys_change_without_a_finding(renewed: SeasonLedger, tmp_path: Path) -> None:
    """By the first trust file, today's or one from between, and with one log signature or two: VERIFIED."""
    new_log, new_platform = renewed.key("new log"), renewed.key("new platform")
    texts = (
        renewed.trust_text(),
        renewed.trust_text(platform_key=new_platform),
        renewed.trust_text(log_key=new_log),
        renewed.trust_text(log_key=new_log, platform_key=new_platform),
    )
    alone = renewed.write(tmp_path / "alone")
    both = renewed.write(tmp_path / "both", log_keys=[new_log, renewed.log_key])
    for text in texts:
        (tmp_path / "trust.toml").write_text(text)
        for bundle in (alone, both):
            verdict = verify_bundle(bundle, load_trust(tmp_path / "trust.toml"))
            assert verdict.findings == ()


def test_the_replaced_log_key_alone_signs_no_checkpoint(renewed: SeasonLedger, tmp_path: Path) -> None:
    """Whoever kept the old log key cannot seal what the ledger became, nor sign along with a stranger."""
    (tmp_path / "trust.toml").write_text(renewed.trust_text())
    trust = load_trust(tmp_path / "trust.toml")
    for name, signers, code in (
        ("old", [renewed.log_key], Code.CHECKPOINT_RETIRED_KEY),
        ("stranger", [renewed.key("new log"), STRANGER], Code.CHECKPOINT_INVALID),
        ("twice", [renewed.key("new log"), renewed.key("new log")], Code.CHECKPOINT_INVALID),
    ):
        verdict = verify_bundle(renewed.write(tmp_path / name, log_keys=signers), trust)
        assert {finding.code for finding in verdict.findings} == {code}


def test_todays_key_is_not_trusted_without_a_valid_rotation(renewed: SeasonLedger, tmp_path: Path) -> None:
    """A trust file with a key that nothing leads to, or only a forged rotation, verifies nothing."""
    rotation(renewed, "log").body["endorsement"] = "00" * 64
    text = renewed.trust_text(log_key=renewed.key("new log"))
    (tmp_path / "trust.toml").write_text(text)
    verdict = verify_bundle(renewed.write(tmp_path / "bundle"), load_trust(tmp_path / "trust.toml"))
    assert Code.TRUSTED_KEY_MISSING in {finding.code for finding in verdict.findings}


WINTER = {"campaign": "winter", "company": "alpha"}


def second_table(before: str) -> Mutation:
    """The platform makes alpha another training table, with other rows, before this kind of entry."""

    def mutate(ledger: SeasonLedger) -> None:
        epoch = ledger.repeat(ledger.find("consent-epoch", **WINTER), root="6e" * 32)
        table = ledger.repeat(ledger.find("table", **WINTER))
        table.epoch = epoch
        table.body["manifest"].update(table_id="6f" * 16, root="72" * 32)
        for statement in (epoch, table):
            ledger.move(statement, before=ledger.find(before, **WINTER))

    return mutate


def answer_to_the_weights_of_another(ledger: SeasonLedger) -> None:
    """The platform answers beta's weights in alpha's name."""
    ledger.find("statistics-answer", **WINTER).epoch = ledger.find("weights-commitment", company="beta")


STATISTICS_MUTANTS: dict[str, tuple[Code, Mutation]] = {
    **{
        f"{kind} in a campaign of rows": (Code.STATISTICS_NOT_PLANNED, repeat(kind, WINTER, **AUTUMN))
        for kind in ("statistics-rows", "weights-commitment", "statistics-answer")
    },
    "second rows": (Code.STATISTICS_REPEATED, repeat("statistics-rows", WINTER, commitment="70" * 32)),
    "second weights": (Code.STATISTICS_REPEATED, repeat("weights-commitment", WINTER, commitment="70" * 32)),
    "second answer": (Code.STATISTICS_REPEATED, repeat("statistics-answer", WINTER, answer_sha256="70" * 32)),
    "weights before rows": (
        Code.STATISTICS_ORDER,
        move("weights-commitment", WINTER, "statistics-rows", WINTER),
    ),
    "answer before weights": (
        Code.STATISTICS_ORDER,
        move("statistics-answer", WINTER, "weights-commitment", WINTER),
    ),
    "answer without weights": (Code.STATISTICS_OTHER_WEIGHTS, answer_to_the_weights_of_another),
    "answer after the commitment to it": (
        Code.STATISTICS_LATE,
        move("training-commitment", WINTER, "statistics-answer", WINTER),
    ),
    "rows of another table": (
        Code.STATISTICS_OTHER_TABLE,
        change("statistics-rows", WINTER, table_root="71" * 32),
    ),
    "rows before the table": (
        Code.STATISTICS_OTHER_TABLE,
        move("statistics-rows", WINTER, "table", WINTER),
    ),
    "rows of an older table": (Code.STATISTICS_OTHER_TABLE, second_table("statistics-rows")),
    "table after its rows": (Code.TRAIN_TABLE_LATE, second_table("weights-commitment")),
    "trained without an answer": (Code.STATISTICS_MISSING, drop("statistics-answer", WINTER)),
    "row noise too small for the sums": (
        Code.ROW_EPSILON_EXCEEDED,
        in_plan("statistics", campaign="winter", variance=112_000_000),
    ),
    "label noise too small for the sums": (
        Code.EPSILON_EXCEEDED,
        in_plan("training", campaign="winter", noise_multiplier="4.22"),
    ),
}


@pytest.mark.parametrize("name", STATISTICS_MUTANTS)
def test_falsified_sealed_statistics_are_found_and_named(
    name: str, with_sums: SeasonLedger, tmp_path: Path
) -> None:
    """One falsehood about sums, signed by whoever would sign it: NOT VERIFIED with the defect's code."""
    code, mutate = STATISTICS_MUTANTS[name]
    mutate(with_sums)
    assert code in {finding.code for finding in judge(with_sums, tmp_path).findings}


def test_sealed_statistics_verify_beside_noised_rows(with_sums: SeasonLedger, tmp_path: Path) -> None:
    """Without a finding; both modes have their epsilon of a row, within its limit, and of the labels."""
    verdict = judge(with_sums, tmp_path, "max_row_epsilon = 8")
    assert verdict.findings == ()
    assert [(item.campaign, item.mode.value) for item in verdict.rows] == [
        ("autumn", "noised-rows"),
        ("winter", "sealed-statistics"),
    ]
    assert all(7.9 < item.epsilon <= 8 for item in verdict.rows)
    assert {item.releases for item in verdict.rounds if item.campaign == "winter"} == {1}
    assert all(0.99 < item.epsilon <= 1 for item in verdict.rounds)


NOW = 1_700_000_000
STATE = {"scope": "global", "name": "", "reason": "DRILL", "evidence_sha256": "00" * 32}


def say(kind: str, body: dict[str, Any], before: str | None = None, **where: Any) -> Mutation:
    """The platform makes one more statement; at the end, or before another one."""

    def mutate(ledger: SeasonLedger) -> None:
        ledger.say(kind, "platform", body)
        if before is not None:
            ledger.move(ledger.statements[-1], before=ledger.find(before, **where))

    return mutate


def batch_of_beta(ledger: SeasonLedger) -> None:
    """Alpha's gate opens for a batch of beta's."""
    ledger.find("gate-opened", **ALPHA).epoch = ledger.find("decision-batch", company="beta", **AUTUMN)


def order_of_beta(ledger: SeasonLedger) -> None:
    """Alpha certifies an order that beta got."""
    ordered = ledger.find("erasure-order", company="beta", **AUTUMN)
    ledger.find("deletion-certificate", **ALPHA).epoch = ordered


def later_than_due(ledger: SeasonLedger) -> None:
    """Alpha never certifies, and the ledger goes on beyond the due time."""
    ledger.drop(ledger.find("deletion-certificate", **ALPHA))
    ledger.find("mirror-deposit", company="gamma", **AUTUMN).body["deposited_at"] = NOW + 1


INCIDENT = {"incident": "i-1", "class": "LEAK", "at": NOW, "report_sha256": "00" * 32}

RIGHTS_MUTANTS: dict[str, tuple[Code, Mutation]] = {
    "tables without coverage": (Code.COVERAGE_MISSING, drop("coverage", AUTUMN)),
    "tables with blocked coverage": (Code.COVERAGE_MISSING, change("coverage", AUTUMN, verdict="blocked")),
    "tables before coverage": (Code.COVERAGE_MISSING, move("table", ALPHA, "coverage", AUTUMN)),
    "gate after coverage was blocked again": (
        Code.COVERAGE_MISSING,
        lambda ledger: (
            ledger.repeat(ledger.find("coverage", **AUTUMN), verdict="blocked", as_of=NOW + 1),
            ledger.move(ledger.statements[-1], before=ledger.find("gate-opened", **ALPHA)),
        ),
    ),
    "clear coverage kept back until a blocked one was there": (
        Code.COVERAGE_MISSING,
        lambda ledger: (
            ledger.repeat(ledger.find("coverage", **AUTUMN), verdict="blocked", as_of=NOW + 1),
            ledger.move(ledger.statements[-1], before=ledger.find("gate-opened", **ALPHA)),
            ledger.repeat(ledger.find("coverage", **AUTUMN)),
            ledger.move(ledger.statements[-1], before=ledger.find("gate-opened", **ALPHA)),
        ),
    ),
    "gate on coverage of the day before yesterday": (
        Code.COVERAGE_MISSING,
        change("gate-opened", ALPHA, opened_at=NOW + 86_401),
    ),
    "coverage that no auditor signed": (
        Code.COVERAGE_MISSING,
        change("coverage", AUTUMN, attestation="00" * 64),
    ),
    "another report than the auditor signed": (
        Code.COVERAGE_MISSING,
        change("coverage", AUTUMN, report_sha256="71" * 32),
    ),
    "coverage before there is a policy": (Code.POLICY_UNKNOWN, drop("policy", {})),
    "a decision batch left out": (Code.BATCH_SEQUENCE, change("decision-batch", ALPHA, sequence=2)),
    "more decision batches than planned": (
        Code.BATCHES_TOO_MANY,
        change("decision-batch", ALPHA, sequence=5),
    ),
    "one evaluation for two batches": (
        Code.BATCH_REUSED,
        repeat("decision-batch", ALPHA, sequence=2, root="72" * 32),
    ),
    "gate without a batch": (
        Code.GATE_WITHOUT_BATCH,
        move("gate-opened", ALPHA, "decision-batch", ALPHA),
    ),
    "gate for another company's batch": (Code.GATE_WITHOUT_BATCH, batch_of_beta),
    "gate twice": (Code.GATE_REPEATED, repeat("gate-opened", ALPHA, opened_at=NOW + 1)),
    "gate too early": (Code.GATE_TOO_EARLY, change("gate-opened", ALPHA, opened_at=NOW - 1)),
    "copies before the gate": (
        Code.MIRROR_WITHOUT_GATE,
        move("mirror-deposit", ALPHA, "gate-opened", ALPHA),
    ),
    "certificate for another's order": (Code.CERTIFICATE_WITHOUT_ORDER, order_of_beta),
    "order without a certificate": (Code.CERTIFICATE_MISSING, later_than_due),
    "abolished without winding down": (
        Code.SERVICE_STATE_CHAIN,
        say("service-state", STATE | {"state": "abolished", "at": NOW}),
    ),
    "tables while suspended": (
        Code.PROCESSED_WHILE_STOPPED,
        say("service-state", STATE | {"state": "suspended", "at": NOW}, "table", **ALPHA),
    ),
    "one company's gate while it is suspended": (
        Code.PROCESSED_WHILE_STOPPED,
        say(
            "service-state",
            STATE | {"scope": "company", "name": "alpha", "state": "suspended", "at": NOW},
            "gate-opened",
            **ALPHA,
        ),
    ),
    "incident that begins at its end": (
        Code.INCIDENT_CHAIN,
        say("incident", INCIDENT | {"state": "closed"}),
    ),
    "incident that skips its notices": (
        Code.INCIDENT_CHAIN,
        lambda ledger: [
            ledger.say("incident", "platform", INCIDENT | {"state": state})
            for state in ("detected", "contained", "assessed", "closed")
        ],
    ),
}


@pytest.mark.parametrize("name", RIGHTS_MUTANTS)
def test_falsified_rights_are_found_and_named(name: str, honest: SeasonLedger, tmp_path: Path) -> None:
    """One falsehood about coverage, gate, copies, erasure or service: NOT VERIFIED with the defect's code."""
    code, mutate = RIGHTS_MUTANTS[name]
    mutate(honest)
    assert code in {finding.code for finding in judge(honest, tmp_path).findings}


def test_a_suspension_of_others_and_its_end_are_no_finding(honest: SeasonLedger, tmp_path: Path) -> None:
    """What goes on elsewhere while one company is suspended is as it should be; so are rights during it."""
    state = STATE | {"scope": "company", "name": "alpha"}
    say("service-state", state | {"state": "suspended", "at": NOW}, "gate-opened", company="beta", **AUTUMN)(
        honest
    )
    say("service-state", state | {"state": "running", "at": NOW}, "plan", campaign="spring")(honest)
    for step in ("detected", "contained", "assessed", "notified", "closed"):
        honest.say("incident", "platform", INCIDENT | {"state": step})
    assert judge(honest, tmp_path).findings == ()


def test_only_attestations_of_the_auditors_in_the_trust_file_count(
    honest: SeasonLedger, tmp_path: Path
) -> None:
    """Who trusts certain auditors finds coverage missing that another one attested; without any, none is."""
    own = honest.find("coverage", **AUTUMN).body["auditor_key"]
    for keys, expected in (
        ("[]", set()),
        (f'["{own}"]', set()),
        (f'["{"ab" * 32}"]', {Code.COVERAGE_MISSING}),
    ):
        place = tmp_path / str(len(list(tmp_path.iterdir())))
        place.mkdir()
        (place / "trust.toml").write_text(honest.trust_text(f"auditor_keys = {keys}"))
        found = verify_bundle(honest.write(place / "bundle"), load_trust(place / "trust.toml")).findings
        assert {finding.code for finding in found} == expected


def test_every_code_has_a_test() -> None:
    """No code exists that no test provokes."""
    elsewhere = {
        Code.BUNDLE_FILES,
        Code.BUNDLE_FRAMING,
        Code.BUNDLE_TILES,
        Code.WITNESS_QUORUM,
        Code.SPLIT_VIEW,
        Code.SEEN_UNUSABLE,
        Code.REPLAY_FAILED,
        Code.VERDICT_UNUSABLE,
        Code.CHECKPOINT_INVALID,
        Code.CHECKPOINT_SIZE,
        Code.CHECKPOINT_ROOT,
        Code.ENTRY_MALFORMED,
        Code.PLAN_ABOVE_TRUST,
        Code.ACCOUNTANTS_DISAGREE,
        Code.CHECKPOINT_RETIRED_KEY,
        Code.TRUSTED_KEY_MISSING,
    }
    known = (MUTANTS, KEY_MUTANTS, STATISTICS_MUTANTS, RIGHTS_MUTANTS)
    mutants = [mutant for family in known for mutant in family.values()]
    caught = {code for code, _ in mutants}
    assert caught | elsewhere == set(Code)
