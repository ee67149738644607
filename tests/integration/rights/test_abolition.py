"""The end of a service: nobody is left out, nothing goes too early, and a crash anywhere is made up for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from erasing_companies import ErasingCompany, ErasingPlatform, erasing_company, erasing_platform

from noren_core import canonical_json
from noren_core.crypto.identity import SigningKey
from noren_core.errors import LocalProtocolError, VerificationError
from noren_core.ledger.entries import EntryKind, ErasureGround, IncidentState, ServiceScope, ServiceStatus
from noren_core.rights.disclosure.inquiry import InquiryTopic
from noren_core.rights.erasure.deletion_certificate import parse_certificate
from noren_core.rights.service.incident import IncidentClass
from noren_core.rights.service.service_state import sign_request
from noren_server import campaigns
from noren_server.rights import abolition
from noren_server.rights.incidents import AffectedScope, incident_desk
from noren_server.rights.inquiries import InquiryDesk
from noren_server.rights.rights_file import open_rights_file
from noren_server.rights.service_states import ServiceDesk, service_desk

STUDENTS = range(1, 3)
FEATURES = ("embeddings", "tables", "statistics", "logs", "logs.new", "coverage-abcd")


class CrashError(Exception):
    """The process ended here."""


@pytest.fixture
def over(tmp_path: Path, plan_body: dict[str, Any]) -> Iterator[ErasingPlatform]:
    with erasing_platform(tmp_path / "platform", plan_body) as platform:
        for name in FEATURES:
            place = platform.platform.directory / name
            place.mkdir(exist_ok=True)
            (place / "somebody").write_bytes(b"features")
        yield platform


@pytest.fixture
def companies(over: ErasingPlatform, tmp_path: Path) -> list[ErasingCompany]:
    return [
        erasing_company(over, tmp_path / name, name, trained=STUDENTS, scored=STUDENTS)
        for name in ("company-1", "company-2")
    ]


@pytest.fixture
def desk(over: ErasingPlatform) -> ServiceDesk:
    return service_desk(over.platform)


def wish(over: ErasingPlatform, state: ServiceStatus, key: SigningKey | None = None) -> bytes:
    return sign_request(
        scope=ServiceScope.GLOBAL,
        name="",
        state=state,
        reason="ABOLITION",
        at=int(time.time()),
        key=key or over.platform.signing_key,
    )


def begin(over: ErasingPlatform, desk: ServiceDesk) -> None:
    abolition.begin(over.platform, desk, wish(over, ServiceStatus.WINDING_DOWN))


def finish(over: ErasingPlatform, desk: ServiceDesk) -> dict[str, Any]:
    return abolition.finish(over.platform, desk, wish(over, ServiceStatus.ABOLISHED), window_seconds=0)


def verify_incomplete(over: ErasingPlatform, desk: ServiceDesk, what: str) -> None:
    """Refused because of this; everything is still there, so it can still be answered."""
    with pytest.raises(LocalProtocolError, match=what) as refused:
        finish(over, desk)
    assert refused.value.code == "WINDDOWN_INCOMPLETE"
    assert all((over.platform.directory / name).exists() for name in FEATURES)
    assert not over.platform.ledger_store.entries(kind=EntryKind.CAMPAIGN_CLOSED)


def test_the_end_comes_when_every_company_has_certified(
    over: ErasingPlatform, companies: list[ErasingCompany], desk: ServiceDesk
) -> None:
    """Then keys and features go, the ledger says so, and the closing report names nobody."""
    begin(over, desk)
    assert not desk.is_running()
    assert [item.order.ground for item in over.desk.orders()] == [ErasureGround.ABOLITION] * 2
    verify_incomplete(over, desk, "deletion certificates")
    companies[0].erase()
    verify_incomplete(over, desk, "deletion certificates")
    companies[1].erase()
    report = finish(over, desk)
    assert desk.states().of(ServiceScope.GLOBAL) is ServiceStatus.ABOLISHED
    assert not any((over.platform.directory / name).exists() for name in FEATURES)
    assert report["companies_ordered"] == report["companies_certified"] == ["company-1", "company-2"]
    kept = over.platform.directory / abolition.CLOSING_REPORT
    assert canonical_json.parse_object(kept.read_bytes()) == report
    assert kept.stat().st_mode & 0o777 == 0o600


def test_a_campaign_that_was_closed_before_does_not_stand_in_the_way(
    over: ErasingPlatform, companies: list[ErasingCompany], desk: ServiceDesk
) -> None:
    """Its companies still hold what came of it, and are ordered like all others."""
    campaigns.close(over.platform, over.plan.campaign)
    begin(over, desk)
    for company in companies:
        assert company.erase()
    finish(over, desk)
    assert len(over.platform.ledger_store.entries(kind=EntryKind.CAMPAIGN_CLOSED)) == 1


def test_a_beginning_that_broke_off_is_completed_and_not_mistaken_for_one(
    over: ErasingPlatform,
    companies: list[ErasingCompany],
    desk: ServiceDesk,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Processing has stopped and nobody was ordered: that does not mean that nobody owes anything."""
    with monkeypatch.context() as patch:
        patch.setattr("noren_server.rights.erasure_orders.ErasureDesk.issue", _crash)
        with pytest.raises(CrashError):
            begin(over, desk)
    assert not desk.is_running()
    verify_incomplete(over, desk, "deletion certificates")
    begin(over, desk)
    begin(over, desk)
    assert len(over.desk.orders()) == 2
    for company in companies:
        company.erase()
    finish(over, desk)


def test_a_company_that_accepted_late_is_ordered_too(
    over: ErasingPlatform, tmp_path: Path, companies: list[ErasingCompany], desk: ServiceDesk
) -> None:
    """It holds the end up until it certified."""
    begin(over, desk)
    late = erasing_company(over, tmp_path / "late", "company-3", trained=STUDENTS, scored=STUDENTS)
    for company in companies:
        company.erase()
    verify_incomplete(over, desk, "deletion certificates")
    begin(over, desk)
    for company in (*companies, late):
        company.erase()
    finish(over, desk)


@pytest.mark.parametrize(
    "place",
    [
        "noren_server.campaigns.compact_database",
        "noren_server.rights.abolition.shutil.rmtree",
        "noren_server.rights.service_states.ServiceDesk._change",
        "noren_server.rights.abolition._closing_report",
        "noren_server.rights.abolition.write_private",
    ],
)
def test_an_end_that_broke_off_is_completed(
    over: ErasingPlatform,
    companies: list[ErasingCompany],
    desk: ServiceDesk,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    """Wherever it was; the same call goes on to the closing report."""
    begin(over, desk)
    for company in companies:
        company.erase()
    with monkeypatch.context() as patch:
        patch.setattr(place, _crash)
        with suppress(CrashError):
            finish(over, desk)
            pytest.fail("expected a crash")
    report = finish(over, desk)
    assert finish(over, desk) == report
    assert (over.platform.directory / abolition.CLOSING_REPORT).exists()
    ended = over.platform.ledger_store.entries(kind=EntryKind.SERVICE_STATE)
    assert [stored.entry.body["state"] for stored in ended] == ["winding-down", "abolished"]


def test_another_s_request_destroys_nothing(
    over: ErasingPlatform, companies: list[ErasingCompany], desk: ServiceDesk
) -> None:
    """That it is the operator's, of now and for the end, is found out before the first key goes."""
    begin(over, desk)
    for company in companies:
        company.erase()
    for key, state, error in (
        (SigningKey.generate(), ServiceStatus.ABOLISHED, VerificationError),
        (None, ServiceStatus.SUSPENDED, LocalProtocolError),
    ):
        with pytest.raises(error):
            abolition.finish(over.platform, desk, wish(over, state, key), window_seconds=0)
    assert all((over.platform.directory / name).exists() for name in FEATURES)


def test_a_disputed_certificate_holds_the_end_up(
    over: ErasingPlatform, companies: list[ErasingCompany], desk: ServiceDesk
) -> None:
    """It counts no more until the auditor has settled it."""
    begin(over, desk)
    for company in companies:
        company.erase()
    certificate, _, _ = parse_certificate(companies[0].rights.delivered[0])
    over.desk.dispute(certificate.certificate_id)
    verify_incomplete(over, desk, "deletion certificates")
    over.desk.settle_dispute(certificate.certificate_id, holds=True)
    finish(over, desk)


def test_whoever_waits_for_an_answer_or_a_notice_holds_the_end_up(
    over: ErasingPlatform, companies: list[ErasingCompany], desk: ServiceDesk
) -> None:
    """An inquiry that nobody answered, an incident of which nobody was told, the time to ask."""
    begin(over, desk)
    for company in companies:
        company.erase()
    with pytest.raises(LocalProtocolError, match="disclosure window"):
        abolition.finish(over.platform, desk, wish(over, ServiceStatus.ABOLISHED), window_seconds=60)
    with closing(open_rights_file(over.platform.directory)) as file:
        inquiries = InquiryDesk(file, lambda _: frozenset(), clock=lambda: int(time.time()))
        inquiry = inquiries.open("s1", InquiryTopic.QUESTION, company="", text="What was kept?")
        verify_incomplete(over, desk, "inquiries")
        inquiries.answer(inquiry, answer="Nothing.", reviewer="hanako")
    with incident_desk(over.platform, clock=lambda: int(time.time())) as incidents:
        incidents.detect("i-1", IncidentClass.LEAK, AffectedScope())
        verify_incomplete(over, desk, "incidents")
        for state in tuple(IncidentState)[1:]:
            incidents.advance("i-1", state)
    finish(over, desk)


def _crash(*_: object, **__: object) -> None:
    raise CrashError
