"""The platform's daily job under a frozen clock, and what blocks release when it was left out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from erasing_companies import ErasingPlatform, erasing_company, erasing_platform

from noren_core.errors import LocalProtocolError
from noren_core.rights.erasure.retention import DAY_SECONDS, Kept
from noren_server.rights.opening import erasure_requests
from noren_server.rights.provision_records import ProvisionRecords
from noren_server.rights.retention import Retention
from noren_server.rights.student_api import ErasureRequest

YEARS = 3 * 366


@pytest.fixture
def over(tmp_path: Path, plan_body: dict[str, Any]) -> Iterator[ErasingPlatform]:
    with erasing_platform(tmp_path / "platform", plan_body) as platform:
        yield platform


@pytest.fixture
def job(over: ErasingPlatform) -> Iterator[Retention]:
    directory = over.platform.directory
    with (
        closing(ProvisionRecords.open(directory)) as provisions,
        erasure_requests(over.platform, provisions, over.desk) as requests,
    ):
        yield Retention(directory, over.platform.store, provisions, over.desk, requests)


def test_what_a_closed_campaign_left_goes_after_thirty_days(over: ErasingPlatform, job: Retention) -> None:
    """Embeddings and tables, from the day on which the job first saw it closed; an open one's stay."""
    campaign, now = over.plan.campaign, int(time.time())
    for place in ("embeddings", "tables"):
        (over.platform.directory / place / campaign).mkdir(parents=True)
        (over.platform.directory / place / campaign / "x").write_bytes(b"x")
    assert job.run(now=now) == ()
    with over.platform.store.transaction() as transaction:
        transaction.close_campaign(campaign)
    assert job.run(now=now + DAY_SECONDS) == ()
    assert job.run(now=now + 31 * DAY_SECONDS) == ()
    job.verify_nothing_overdue(now=now + 32 * DAY_SECONDS)
    with pytest.raises(LocalProtocolError) as late:
        job.verify_nothing_overdue(now=now + 33 * DAY_SECONDS)
    assert late.value.code == "RETENTION_OVERDUE"
    assert set(job.run(now=now + 33 * DAY_SECONDS)) == {Kept.EMBEDDINGS, Kept.SEALED_TABLES}
    job.verify_nothing_overdue(now=now + 33 * DAY_SECONDS)
    assert not (over.platform.directory / "tables" / campaign).exists()


def test_certificates_go_after_three_years(over: ErasingPlatform, job: Retention, tmp_path: Path) -> None:
    """With their orders; an order without a certificate stays, however old."""
    companies = [
        erasing_company(over, tmp_path / name, name, trained=range(2), scored=range(2))
        for name in ("company-1", "company-2")
    ]
    over.issue()
    companies[0].erase()
    now = int(time.time())
    assert job.run(now=now + YEARS * DAY_SECONDS - DAY_SECONDS) == ()
    assert job.run(now=now + YEARS * DAY_SECONDS + DAY_SECONDS) == (Kept.ERASURE_ORDERS,)
    assert [item.order.company for item in over.desk.orders()] == ["company-2"]


def test_a_wish_to_be_erased_is_forgotten_after_three_years(job: Retention) -> None:
    """Until then its student is told what became of it."""
    job.requests.order(ErasureRequest("s1", "", disclose_first=True))
    now = int(time.time())
    assert job.run(now=now + (YEARS - 1) * DAY_SECONDS) == ()
    assert len(job.requests.of_student("s1")) == 1
    assert job.run(now=now + (YEARS + 1) * DAY_SECONDS) == (Kept.ERASURE_ORDERS,)
    assert job.requests.of_student("s1") == ()
