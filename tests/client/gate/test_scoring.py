"""From sealed decisions to records: who is scored, what is kept, and when it goes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gated_company import CAMPAIGN, HEAD, NOW, POSITION, GatedCompany, key_of, make_company, with_gate

from noren_client import calibration, campaign_files, follow_up, scoring
from noren_client.follow_up import ScoringState
from noren_client.gate import decisions, score_records
from noren_client.rights.custody import CustodyStore
from noren_core.crypto import oprf
from noren_core.errors import VerificationError
from noren_core.ids import TableKind
from noren_core.ledger.entries import EntryKind
from noren_core.rights.disclosure.mirror import MirrorRecord
from noren_core.season.plan import CampaignPlan


def records(company: GatedCompany) -> dict[bytes, MirrorRecord]:
    """Every record by identifier."""
    with CustodyStore(company.directory) as custody:
        found = score_records.iter_records(company.directory, CAMPAIGN, custody)
        return {person.identifier: score.score.committed.record for person, score in found}


@pytest.fixture
def scored(company: GatedCompany) -> GatedCompany:
    """Eight students with an offer and a band."""
    names = [f"s{number}" for number in range(8)]
    company.apply(*(f"{name},offer" for name in names), "x,no-offer")
    company.consent(*names, "x")
    company.seal()
    company.score()
    return company


def test_before_decisions_are_sealed_only_the_heads_are_sent(company: GatedCompany) -> None:
    """Without a batch nothing is evaluated or fetched, whoever consented."""
    company.apply("a,offer")
    company.consent("a")
    assert company.score() is ScoringState.HEAD_SUBMITTED
    assert not {"evaluate_decisions", "fetch_table", "deposit_copy"} & set(company.platform.calls)


def test_nothing_of_a_student_is_here_before_the_gate(
    tmp_path: Path, plan_body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sealed and cooling: no evaluation and no table, so the head has nothing to be applied to."""
    company = make_company(tmp_path / "company", with_gate(plan_body, cooling_seconds=3600), monkeypatch)
    company.apply("a,offer", "b,offer")
    company.consent("a", "b")
    company.seal()
    company.clock.now += 3599
    assert company.score() is ScoringState.HEAD_SUBMITTED
    assert set(company.platform.calls) == {"fetch_orders", "get_proof", "append", "submit_head"}
    company.clock.now += 1
    assert company.score() is ScoringState.SCORED
    assert company.scored() == [key_of("a"), key_of("b")]


def test_a_platform_that_opens_later_is_waited_for(
    company: GatedCompany, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cooling time began later than ours: the batch is left for the next call."""
    company.apply("a,offer")
    company.consent("a")
    sealed = company.seal()
    plan = company.platform.plan
    company.platform.plan = CampaignPlan.from_body(with_gate(plan.to_body(), cooling_seconds=10))
    assert decisions.kept_batches(company.directory, CAMPAIGN) == (sealed,)
    company.platform.head = b""
    scoring.submit_head(company.directory, CAMPAIGN, [calibration.integer_head(HEAD, plan).weights])
    assert follow_up.score(company.directory, CAMPAIGN, clock=company.clock) is ScoringState.HEAD_SUBMITTED
    company.platform.plan = plan
    assert company.score() is ScoringState.SCORED


def test_bands_are_those_of_the_calibrated_scores(scored: GatedCompany) -> None:
    """Every kept band is what the exact products come to, calibrated together with the past rate."""
    weights = np.array(calibration.integer_head(HEAD, scored.plan).weights, dtype=np.int64)
    unit = calibration.integer_head(HEAD, scored.plan).unit
    names = sorted(scored.scored())
    products = [int(np.array(scored.platform.students[name].features) @ weights) for name in names]
    values = calibration.probabilities(products, unit=unit, rate=4 / 12)
    expected = [band - 1 for band in calibration.bands(values, scored.plan.scoring.band_edges)]
    kept = records(scored)
    assert [kept[name].band for name in names] == expected
    assert len(set(expected)) > 1


def test_only_offers_with_a_row_are_scored(scored: GatedCompany) -> None:
    """A failed applicant is not, although there is a row for her; the evaluated elements do not have her."""
    assert key_of("x") in scored.platform.students
    assert key_of("x") not in scored.scored()
    [batch] = decisions.kept_batches(scored.directory, CAMPAIGN)
    assert key_of("x") not in oprf.Blinding.from_bytes(batch.blinding).inputs


def test_no_number_finer_than_a_band_is_on_disk(scored: GatedCompany) -> None:
    """Neither integer scores nor probabilities are in any file of the company."""
    weights = np.array(calibration.integer_head(HEAD, scored.plan).weights, dtype=np.int64)
    students = scored.platform.students.values()
    products = [str(int(np.array(student.features) @ weights)).encode() for student in students]
    longest = [text for text in products if len(text) > 3]
    assert longest
    for path in scored.directory.rglob("*"):
        if path.is_file() and path.suffix not in {".pem", ".key"}:
            data = path.read_bytes()
            assert not [text for text in longest if b":" + text in data or b"[" + text in data], path
            assert b"probability" not in data
    assert not (scored.directory / "campaigns" / CAMPAIGN / "scores.json").exists()


def test_a_record_is_unreadable_without_its_share(scored: GatedCompany) -> None:
    """Records are sealed and have random names; the index leads to them and holds no band."""
    place = scored.directory / "campaigns" / CAMPAIGN
    sealed = list((place / "custody" / "score").glob("*.sealed"))
    assert len(sealed) == 8
    assert all(b"band" not in path.read_bytes() for path in sealed)
    index = json.loads((place / "scored.json").read_bytes())
    assert {key for person in index["people"] for key in person} == {
        *("campaign", "identifier", "handle", "mailbox", "tag", "expires_at", "notes"),
    }
    names = [person["handle"] for person in index["people"]]
    assert names == sorted(names)  # an order that says nothing


def test_a_record_says_where_it_came_from(scored: GatedCompany) -> None:
    """Campaign, gate, model, past rate in steps, and where it is contested."""
    [opened] = scored.platform.of_kind(EntryKind.GATE_OPENED)
    for record in records(scored).values():
        assert (record.campaign, record.position, record.gate_index) == (CAMPAIGN, POSITION, opened[0])
        assert (record.base_rate_percent, record.contest) == (35, "inbox")
        assert record.model_sha256 == follow_up.model_sha256(scored.directory, CAMPAIGN)


def test_copies_are_deposited_before_anything_is_kept(
    company: GatedCompany, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted while copies are sent, nothing may be shown; the next call sends the same ones."""
    company.apply("a,offer", "b,offer")
    company.consent("a", "b")
    company.seal()
    original, sent = company.platform.deposit_copy, []

    def once(campaign: str, mailbox: bytes, sealed_copy: bytes) -> bytes:
        if sent:
            raise KeyboardInterrupt
        sent.append(sealed_copy)
        return original(campaign, mailbox, sealed_copy)

    with monkeypatch.context() as patch:
        patch.setattr(company.platform, "deposit_copy", once)
        with pytest.raises(KeyboardInterrupt):
            company.score()
    assert company.scored() == []
    assert records(company) == {}
    company.score()
    assert company.scored() == [key_of("a"), key_of("b")]
    assert len(company.platform.of_kind(EntryKind.MIRROR_DEPOSIT)) == 1
    assert {copy for _, copy in company.platform.copies} >= set(sent)
    assert len({copy for _, copy in company.platform.copies}) == 2


def test_scoring_again_changes_nothing(scored: GatedCompany) -> None:
    """No second evaluation, deposit or band."""
    before, copies = records(scored), list(scored.platform.copies)
    scored.score()
    assert records(scored) == before
    assert scored.platform.copies == copies
    assert len(scored.platform.evaluations) == 1


def test_a_later_batch_leaves_earlier_bands_as_they_were(scored: GatedCompany) -> None:
    """Whoever comes later is calibrated with all, and nobody's kept band moves."""
    before = records(scored)
    scored.apply(*(f"late{number},offer" for number in range(4)))
    scored.consent(*(f"late{number}" for number in range(4)))
    scored.clock.now += 1
    scored.seal()
    scored.score()
    after = records(scored)
    assert len(after) == 12
    assert {key: after[key] for key in before} == before
    assert len(scored.platform.of_kind(EntryKind.MIRROR_DEPOSIT)) == 2


def test_who_has_no_row_in_a_newer_table_loses_her_record(scored: GatedCompany) -> None:
    """Her consent ended and the table was sealed again: record, name and share are gone, others stay."""
    before = records(scored)
    del scored.platform.students[key_of("s3")]
    scored.score()
    assert records(scored) == {key: record for key, record in before.items() if key != key_of("s3")}
    place = scored.directory / "campaigns" / CAMPAIGN / "custody" / "score"
    assert len(list(place.iterdir())) == 2 * 7


def test_another_mailbox_is_another_record(scored: GatedCompany) -> None:
    """A student with a new mailbox gets a copy there and a new record; the old one is gone."""
    from gated_company import Student

    features = scored.platform.students[key_of("s3")].features
    scored.platform.students[key_of("s3")] = Student(features)
    old = {person.handle for person in score_records.load(scored.directory, CAMPAIGN).people}
    scored.score()
    new = {person.handle for person in score_records.load(scored.directory, CAMPAIGN).people}
    assert (len(new), len(new - old)) == (8, 1)
    mailbox = scored.platform.students[key_of("s3")].mailbox
    assert records(scored)[key_of("s3")].mailbox == mailbox
    assert mailbox in {where for where, _ in scored.platform.copies}


def test_an_answered_offer_needs_no_band(scored: GatedCompany) -> None:
    """As soon as the file has her answer, her record is destroyed, and none is made again."""
    scored.change("s1", ",offer,", ",offer,accepted")
    follow_up.tidy(scored.directory, now=NOW)
    assert key_of("s1") not in scored.scored()
    scored.score()
    assert key_of("s1") not in records(scored)
    assert len(scored.scored()) == 7


def test_records_end_a_little_apart_and_are_not_made_again(scored: GatedCompany) -> None:
    """Each within the last tenth of the plan's time; what ended does not come back with the next table."""
    span = scored.plan.gate.score_seconds
    ends = {record.expires_at for record in records(scored).values()}
    assert len(ends) > 4
    assert all(NOW + span * 9 // 10 <= end <= NOW + span for end in ends)
    first = sorted(ends)[2]
    scored.clock.now = first
    follow_up.tidy(scored.directory, now=first)
    left = records(scored)
    assert {record.expires_at for record in left.values()} == {end for end in ends if end > first}
    scored.score()
    assert records(scored) == left
    follow_up.tidy(scored.directory, now=NOW + span)
    assert records(scored) == {}
    assert score_records.load(scored.directory, CAMPAIGN).people == ()


def test_keys_for_training_open_no_score(company: GatedCompany) -> None:
    """What was evaluated for scoring is of the score key alone: the other table's rows stay shut."""
    company.apply("a,offer")
    company.consent("a")
    company.seal()
    company.score()
    kept = json.loads((company.directory / "campaigns" / CAMPAIGN / "oprf-score.json").read_bytes())
    outputs = {kind: oprf.evaluate(company.platform.oprf[kind], key_of("a")).hex() for kind in TableKind}
    assert list(kept["outputs"].values()) == [outputs[TableKind.SCORE]]
    assert outputs[TableKind.TRAIN] not in kept["outputs"].values()
    assert kept["public_key"] == company.platform.oprf[TableKind.SCORE].public_key.hex()


def test_an_answer_under_another_key_is_refused(company: GatedCompany) -> None:
    """A platform that evaluates under a key that is not in the ledger tells us nothing."""
    company.apply("a,offer")
    company.consent("a")
    company.seal()
    right = company.platform.oprf[TableKind.SCORE]
    company.platform.oprf[TableKind.SCORE] = oprf.generate_key_pair()
    with pytest.raises(VerificationError):
        company.score()
    company.platform.oprf[TableKind.SCORE] = right
    assert company.score() is ScoringState.SCORED


def test_a_gate_that_is_not_in_the_ledger_is_refused(
    company: GatedCompany, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An evaluation without the proof that the gate was opened is not used."""
    company.apply("a,offer")
    company.seal()
    say = company.platform.say

    def silent(kind: EntryKind, body: dict[str, Any]) -> int:
        return 0 if kind is EntryKind.GATE_OPENED else say(kind, body)

    monkeypatch.setattr(company.platform, "say", silent)
    with pytest.raises(VerificationError, match="opened for the batch"):
        company.score()
    [batch] = decisions.kept_batches(company.directory, CAMPAIGN)
    assert not batch.is_open


def test_two_heads_make_two_records(
    tmp_path: Path, plan_body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A campaign that is scored with another has bands of its own, under the same gate."""
    plan_body["scoring"] = plan_body["scoring"] | {"heads": 2}
    company = make_company(tmp_path / "company", plan_body, monkeypatch)
    other = CampaignPlan.from_body(plan_body | {"campaign": "late"})
    campaign_files.save_plan(company.directory, other)
    campaign_files.save_head(company.directory, "late", [-weight for weight in HEAD])
    campaign_files.save_training_set(
        company.directory, "late", campaign_files.load_training_set(company.directory, CAMPAIGN)
    )
    company.apply(*(f"s{number},offer" for number in range(6)))
    company.consent(*(f"s{number}" for number in range(6)))
    company.seal()
    heads = [
        calibration.integer_head(campaign_files.load_head(company.directory, plan.campaign), plan).weights
        for plan in (company.plan, other)
    ]
    scoring.submit_head(company.directory, CAMPAIGN, heads)
    company.platform.seal_scores()
    follow_up.score(company.directory, CAMPAIGN, others=["late"], clock=company.clock)
    index = score_records.load(company.directory, CAMPAIGN)
    assert [person.campaign for person in index.people].count("late") == 6
    with CustodyStore(company.directory) as custody:
        bands = {
            (person.identifier, person.campaign): score.score.committed.record.band
            for person, score in score_records.iter_records(company.directory, CAMPAIGN, custody)
        }
    first, second = (
        [bands[key_of(f"s{number}"), campaign] for number in range(6)] for campaign in (CAMPAIGN, "late")
    )
    assert first != second
    assert first == sorted(first) or first == sorted(first, reverse=True)
