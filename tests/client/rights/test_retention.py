"""What goes by age goes on its day, under a frozen clock; what was left out blocks release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loopback_custodian import NOW, make_company

from noren_client import campaign_files, keystore, replay_data
from noren_client.gate import score_records
from noren_client.gate.score_records import Note, ScoredPerson, ScoreIndex
from noren_client.replay_data import ReplayData
from noren_client.rights import provision_records, retention
from noren_client.rights.custody import CustodyStore
from noren_client.training_set import TrainingSet
from noren_core.crypto.sealed_table import TableContext
from noren_core.errors import LocalProtocolError
from noren_core.ids import TableKind
from noren_core.rights.erasure.retention import DAY_SECONDS, RETENTION, Kept, is_over
from noren_core.season.plan import CampaignPlan

CAMPAIGN = "spring-2026"
SET = TrainingSet(
    tags=(b"\1" * 16,),
    rows=np.ones((1, 4), dtype=np.int16),
    labels=np.zeros(1, dtype=np.int8),
    table_id=bytes(16),
)
REPLAY = ReplayData(
    campaign=CAMPAIGN,
    company="alpha",
    seed=bytes(32),
    row_salt=bytes(32),
    commitment_key=bytes(32),
    cohort=("alpha",),
    material=SET,
)
PERSON = ScoredPerson(
    CAMPAIGN,
    b"email\0engineer\0a",
    b"h" * 16,
    b"m" * 16,
    b"t" * 16,
    NOW + 30 * DAY_SECONDS,
    (Note(b"n" * 16, NOW + 20 * DAY_SECONDS),),
)


@pytest.fixture
def company_dir(tmp_path: Path, plan_body: dict[str, Any]) -> Path:
    """A company that prepared, trained, scored and followed up at NOW."""
    place = make_company(tmp_path / "company")
    campaign_files.save_plan(place, CampaignPlan.from_body(plan_body))
    campaign_files.save_training_set(place, CAMPAIGN, SET)
    replay_data.save(place, REPLAY, now=NOW)
    with CustodyStore(place) as custody:
        custody.write(score_records.score_name(CAMPAIGN, PERSON.handle), b"{}")
        custody.write(score_records.note_name(CAMPAIGN, PERSON.notes[0].handle), b"a visit")
    index = ScoreIndex(bytes(16), (PERSON,))
    keystore.write_secret(
        place, campaign_files.secret_name(CAMPAIGN, score_records.INDEX_FILE), index.to_bytes()
    )
    context = TableContext(company="alpha", campaign=CAMPAIGN, kind=TableKind.TRAIN, table_id=bytes(16))
    provision_records.write_twin(place, context, SET.tags, now=NOW)
    return place


EXPECTED = [
    (20, {Kept.FOLLOW_UP_NOTES}),
    (30, {Kept.SCORES}),
    (31, {Kept.TRAINING_ROWS}),
    (91, {Kept.REPLAY_DATA}),
    (3 * 366 + 1, {Kept.PROVISION_TWINS}),
]


def test_each_thing_goes_on_its_day(company_dir: Path) -> None:
    """Notes, scores, training rows, replay data and twins: not the day before, and not twice."""
    for day, kinds in EXPECTED:
        assert retention.run(company_dir, now=NOW + day * DAY_SECONDS - DAY_SECONDS) == ()
        assert set(retention.run(company_dir, now=NOW + day * DAY_SECONDS)) == kinds
        assert retention.run(company_dir, now=NOW + day * DAY_SECONDS) == ()
    with CustodyStore(company_dir) as custody:
        assert custody.names(CAMPAIGN) == []
    assert provision_records.twins(company_dir) == []


def test_a_job_that_was_left_out_blocks_release(company_dir: Path) -> None:
    """A day after its time something is overdue: named by kind, until the job ran."""
    retention.verify_nothing_overdue(company_dir, now=NOW + 20 * DAY_SECONDS)
    late = NOW + 32 * DAY_SECONDS + 10
    with pytest.raises(LocalProtocolError) as overdue:
        retention.verify_nothing_overdue(company_dir, now=late)
    assert overdue.value.code == "RETENTION_OVERDUE"
    for kept in (Kept.SCORES, Kept.FOLLOW_UP_NOTES, Kept.TRAINING_ROWS):
        assert kept.value in overdue.value.message
    retention.run(company_dir, now=late)
    retention.verify_nothing_overdue(company_dir, now=late)


def test_training_rows_are_kept_from_the_last_round_on(company_dir: Path) -> None:
    """Another round moves the day; without any round it is counted from preparing."""
    replay_data.save(company_dir, REPLAY, now=NOW + 10 * DAY_SECONDS)
    assert Kept.TRAINING_ROWS not in retention.run(company_dir, now=NOW + 39 * DAY_SECONDS)
    assert Kept.TRAINING_ROWS in retention.run(company_dir, now=NOW + 41 * DAY_SECONDS)


def test_the_table_says_everything_once() -> None:
    """Every kind has a rule, and its end is exclusive: on the last second it may still be there."""
    assert set(RETENTION) == set(Kept)
    rule = RETENTION[Kept.TRAINING_ROWS]
    assert not is_over(Kept.TRAINING_ROWS, since=NOW, now=NOW + rule.seconds)
    assert is_over(Kept.TRAINING_ROWS, since=NOW, now=NOW + rule.seconds + 1)
    assert is_over(Kept.SCORES, since=NOW, now=NOW + 11, seconds=10)
