"""Rounds that are held, gone on with, and run without a company that the operator leaves out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from training_cohort import COMPANIES, Handle, TrainingCohort, training_cohort

from noren_core.ledger.entries import EntryKind
from noren_core.season import messages as m
from noren_core.season.plan import CampaignPlan
from noren_server.round_control import RoundControl

LEFT_OUT = "company-2"


@pytest.fixture
def cohort(
    tmp_path: Path, plan_body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[TrainingCohort]:
    with training_cohort(tmp_path, CampaignPlan.from_body(plan_body), monkeypatch) as made:
        with made.platform.store.transaction() as transaction:
            transaction.add_campaign(made.plan)
        yield made


def test_a_hold_between_rounds_reserves_nothing_twice(cohort: TrainingCohort) -> None:
    """Held while round 1 is under way: it ends, round 2 waits, and every round has one intent a company."""
    operator = RoundControl(cohort.platform.store, cohort.plan)
    waited: list[str] = []

    def around(_company: str, request: m.Request, handle: Handle) -> bytes:
        if isinstance(request, m.MaskedInputRequest) and request.round_number == 1 and not waited:
            waited.append("held")
            operator.pause()
        return handle(request)

    def sleep(_seconds: float) -> None:
        waited.append((cohort.root / "progress.json").read_text())
        current = operator.rounds().current
        assert current is not None
        assert (current.round_number, current.reported) == (1, len(COMPANIES))
        assert current.closed_at is not None
        operator.resume()

    cohort.train(around, RoundControl(cohort.platform.store, cohort.plan, sleep=sleep))
    assert len(waited) == 2
    assert '"state": "paused"' in waited[1]
    intents = Counter((entry.author, entry.body["round"]) for entry in cohort.entries(EntryKind.INTENT))
    assert intents == dict.fromkeys(((company, n) for company in COMPANIES for n in (1, 2, 3)), 1)
    settles = Counter(entry.author for entry in cohort.entries(EntryKind.SETTLE))
    assert settles == dict.fromkeys(COMPANIES, 3)


def test_a_company_that_is_left_out_keeps_its_charge_and_gets_the_head(cohort: TrainingCohort) -> None:
    """From round 2 on it is in no sum; its reservation of round 2 stands, and it settles every round."""
    operator = RoundControl(cohort.platform.store, cohort.plan)

    def around(company: str, request: m.Request, handle: Handle) -> bytes:
        is_moment = isinstance(request, m.MaskedInputRequest) and request.round_number == 1
        if is_moment and company == COMPANIES[0]:
            operator.skip(LEFT_OUT)
        return handle(request)

    cohort.train(around)
    survivors = cohort.survivors()
    assert LEFT_OUT in survivors[1]
    assert LEFT_OUT not in survivors[2] + survivors[3]
    assert set(survivors[3]) == set(COMPANIES) - {LEFT_OUT}
    rounds = [entry.body["round"] for entry in cohort.entries(EntryKind.INTENT, company=LEFT_OUT)]
    assert rounds == [1, 2]
    assert len(cohort.entries(EntryKind.SETTLE, company=LEFT_OUT)) == 3
    assert [record.invited for record in operator.rounds().records] == [5, 4, 4]
    replayed = cohort.replayed("company-4")
    assert (replayed.findings, replayed.rounds) == ((), 3)
