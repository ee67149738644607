"""From a student's wish to orders: none is lost, whatever clocks say or is closed; none is twice."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from erasing_companies import ErasingCompany, ErasingPlatform, erasing_company, erasing_platform

from noren_core.ids import IdentifierKind, TableKind
from noren_core.ledger.entries import ErasureGround
from noren_core.rights.consent.permit import Permit
from noren_core.rights.purposes import Purpose
from noren_server import campaigns
from noren_server.consents.consent_book import ConsentedStudent
from noren_server.consents.consent_service import Provision
from noren_server.rights.erasure_requests import ErasureRequests
from noren_server.rights.provision_records import ProvisionRecords
from noren_server.rights.student_api import ErasureRequest

STUDENTS = range(1, 4)
EVERYWHERE = ErasureRequest("s1", "", disclose_first=True)


@pytest.fixture
def over(tmp_path: Path, plan_body: dict[str, Any]) -> Iterator[ErasingPlatform]:
    with erasing_platform(tmp_path / "platform", plan_body) as platform:
        yield platform


@pytest.fixture
def companies(over: ErasingPlatform, tmp_path: Path) -> list[ErasingCompany]:
    return [
        erasing_company(over, tmp_path / name, name, trained=STUDENTS, scored=STUDENTS)
        for name in ("company-1", "company-2")
    ]


@pytest.fixture
def provisions(over: ErasingPlatform) -> Iterator[ProvisionRecords]:
    """Student `s1` was provided to company-1 for scoring."""
    with closing(ProvisionRecords.open(over.platform.directory)) as records:
        records.write([provision("s1", over.plan.campaign)])
        yield records


@pytest.fixture
def requests(
    over: ErasingPlatform, provisions: ProvisionRecords, tmp_path: Path
) -> Iterator[ErasureRequests]:
    opened = ErasureRequests(
        tmp_path / "requests.db", provisions, over.desk, over.platform.plan, clock=lambda: int(time.time())
    )
    with closing(opened) as requests:
        yield requests


def provision(student: str, campaign: str, company: str = "company-1") -> Provision:
    permit = Permit(
        jti=secrets.token_bytes(16),
        audience=company,
        mailbox=secrets.token_bytes(16),
        purpose=Purpose.SCORE,
        position="engineer",
        consent_seq=7,
        epoch=0,
        issued_at=int(time.time()),
        expires_at=int(time.time()) + 60,
    )
    consented = ConsentedStudent(
        student, "engineer", IdentifierKind.CONSENT_CODE, "code", bytes(32), bytes(16), bytes(16), 7
    )
    return Provision(permit, consented, campaign, "2026", int(time.time()))


def grounds(over: ErasingPlatform) -> list[ErasureGround]:
    return [item.order.ground for item in over.desk.orders()]


def test_a_wish_orders_every_company_once(
    over: ErasingPlatform, companies: list[ErasingCompany], requests: ErasureRequests
) -> None:
    """However often it comes; who was never provided to anybody, or not to whom she means, needs no order."""
    requests.order(ErasureRequest("s2", "", disclose_first=True))
    requests.order(ErasureRequest("s1", "company-2", disclose_first=True))
    assert over.desk.orders() == []
    over.withdrawn[TableKind.SCORE].append(1)
    for _ in range(3):
        requests.order(EVERYWHERE)
        requests.order(replace(EVERYWHERE, company="company-1"))
    assert [item.order.company for item in over.desk.orders()] == ["company-1", "company-2"]


def test_an_order_from_before_a_withdrawal_does_not_count_for_it(
    over: ErasingPlatform, companies: list[ErasingCompany], requests: ErasureRequests
) -> None:
    """Also if her device states an earlier time than the order's: what the order's lists name decides."""
    over.issue()
    requests.order(EVERYWHERE)
    assert len(over.desk.orders()) == 2
    over.withdrawn[TableKind.SCORE].append(1)
    requests.order(EVERYWHERE)
    assert len(over.desk.orders()) == 4
    for company in companies:
        assert company.erase()
    requests.order(EVERYWHERE)
    assert len(over.desk.orders()) == 4


def test_who_wants_it_gone_at_once_does_not_wait_for_an_order_that_discloses_first(
    over: ErasingPlatform, companies: list[ErasingCompany], requests: ErasureRequests
) -> None:
    """One more order, and no third one."""
    over.withdrawn[TableKind.SCORE].append(1)
    requests.order(EVERYWHERE)
    for _ in range(2):
        requests.order(replace(EVERYWHERE, disclose_first=False))
    assert [item.order.disclose_first for item in over.desk.orders()] == [True, True, False, False]


def test_a_closed_campaign_is_erased_whole(
    over: ErasingPlatform, companies: list[ErasingCompany], requests: ErasureRequests
) -> None:
    """Its keys are gone, so nobody can be looked up; what was open at the close is settled with it."""
    over.issue()
    campaigns.close(over.platform, over.plan.campaign)
    for _ in range(2):
        requests.order(EVERYWHERE)
    assert grounds(over) == [ErasureGround.RIGHTS] * 2 + [ErasureGround.SEASON_END] * 2
    for company in companies:
        assert company.erase()
    assert not over.desk.has_open()
    requests.order(EVERYWHERE)
    assert len(over.desk.orders()) == 4


def test_an_order_for_everything_while_the_campaign_was_open_is_not_enough(
    over: ErasingPlatform, companies: list[ErasingCompany], requests: ErasureRequests
) -> None:
    """A company could have opened its table again since."""
    over.issue(ErasureGround.LEAK)
    requests.order(EVERYWHERE)
    assert grounds(over) == [ErasureGround.LEAK] * 2 + [ErasureGround.RIGHTS] * 2


def test_a_student_is_told_of_the_orders_that_carry_out_her_wish(
    over: ErasingPlatform, companies: list[ErasingCompany], requests: ErasureRequests
) -> None:
    """Of the company that something of hers went to, until its certificate came; of nobody else's wish."""
    over.withdrawn[TableKind.SCORE].append(1)
    requests.order(replace(EVERYWHERE, company="company-1"))
    [told] = requests.of_student("s1")
    assert (told.company, told.disclose_first) == ("company-1", EVERYWHERE.disclose_first)
    [ordered] = told.orders
    assert (ordered.company, ordered.campaign) == ("company-1", over.plan.campaign)
    assert ordered.is_open
    assert ordered.due_at > told.at
    assert all(company.erase() for company in companies)
    [after] = requests.of_student("s1")
    assert not after.orders[0].is_open
    assert requests.of_student("s2") == ()
