"""The platform's side: every company at once, what falls due, holds, disputes, and certificates that lie."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from erasing_companies import ErasingCompany, ErasingPlatform, erasing_company, erasing_platform

from noren_client import keystore
from noren_core import canonical_json
from noren_core.errors import ConfigurationError, NorenError
from noren_core.ids import TableKind
from noren_core.ledger.entries import EntryKind, ErasureGround, parse_entry, sign_entry
from noren_core.rights.erasure.deletion_certificate import (
    CertificateState,
    certificate_sha256,
    certificate_to_bytes,
    parse_certificate,
)
from noren_core.rights.erasure.erasure_order import HoldReason, LegalHold, OrderState
from noren_core.rights.signed_statement import parse_statement
from noren_server.rights.erasure_orders import ErasureDesk

DAY = 86_400
STUDENTS = range(1, 4)


@pytest.fixture
def over(tmp_path: Path, plan_body: dict[str, Any]) -> Iterator[ErasingPlatform]:
    with erasing_platform(tmp_path / "platform", plan_body) as platform:
        yield platform


@pytest.fixture
def companies(over: ErasingPlatform, tmp_path: Path) -> list[ErasingCompany]:
    """Two companies that accepted; the other three of the cohort did not."""
    return [
        erasing_company(over, tmp_path / name, name, trained=STUDENTS, scored=STUDENTS)
        for name in ("company-1", "company-2")
    ]


def states(over: ErasingPlatform) -> list[OrderState]:
    return [item.state for item in over.desk.orders()]


def test_every_company_that_accepted_is_ordered_whoever_left(
    over: ErasingPlatform, companies: list[ErasingCompany]
) -> None:
    """Nobody withdrew: the orders go out all the same, alike but for names, tables and random ids."""
    issued = over.issue()
    assert [item.order.company for item in issued] == ["company-1", "company-2"]
    bodies = [item.order.to_body() for item in issued]
    for body in bodies:
        for varying in ("company", "order_id"):
            del body[varying]
        for table in body["tables"]:
            del table["table_id"]
    assert bodies[0] == bodies[1]
    entries = over.platform.ledger_store.entries(kind=EntryKind.ERASURE_ORDER)
    assert [item.index for item in entries] == [item.entry for item in issued]


def test_an_order_names_how_old_a_list_may_be(over: ErasingPlatform, companies: list[ErasingCompany]) -> None:
    """Whoever withdrew makes the list's number grow, for every company alike; at the end no list matters."""
    first = over.issue()[0].order
    over.withdrawn[TableKind.TRAIN].append(1)
    second = over.issue()[0].order
    assert [table.sequence for table in first.tables] == [1, 1]
    assert [table.sequence for table in second.tables] == [1, 2]
    assert over.issue(ErasureGround.SEASON_END)[0].order.tables == ()


def test_what_a_crash_left_out_of_the_ledger_is_completed(
    over: ErasingPlatform, companies: list[ErasingCompany], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orders on disk and not in the ledger count with the next issue, and none is lost or doubled."""
    with monkeypatch.context() as patch:

        def crash(*_: object) -> None:
            raise RuntimeError("crash")

        patch.setattr(over.platform.ledger, "append_platform_entries", crash)
        with pytest.raises(RuntimeError):
            over.issue()
    assert over.desk.orders() == []
    over.issue()
    assert len(over.desk.orders()) == 4
    assert len(over.platform.ledger_store.entries(kind=EntryKind.ERASURE_ORDER)) == 4


def test_overdue_suspends_once_and_escalates_later(
    over: ErasingPlatform, companies: list[ErasingCompany]
) -> None:
    """After its date the company that certified is left alone; the other is suspended, then escalated."""
    over.issue(due_seconds=10 * DAY)
    companies[0].erase()
    suspended: list[str] = []
    assert over.desk.sweep(suspended.append).overdue == ()
    over.later_seconds = 10 * DAY + 60
    found = over.desk.sweep(suspended.append)
    assert [item.order.company for item in found.overdue] == suspended == ["company-2"]
    assert over.desk.sweep(suspended.append) == type(found)((), ())
    over.later_seconds = 17 * DAY + 60
    found = over.desk.sweep(suspended.append)
    assert [item.order.company for item in found.escalated] == ["company-2"]
    assert suspended == ["company-2"]
    assert states(over) == [OrderState.CERTIFIED, OrderState.ESCALATED]
    assert over.desk.has_open()
    over.later_seconds = 0
    companies[1].erase()
    assert states(over) == [OrderState.CERTIFIED] * 2
    assert not over.desk.has_open()


def test_a_crash_between_suspending_and_marking_suspends_again(
    over: ErasingPlatform, companies: list[ErasingCompany]
) -> None:
    """The order is marked only when its company is suspended."""
    over.issue(due_seconds=DAY)
    over.later_seconds = 2 * DAY

    def crash(_: str) -> None:
        raise RuntimeError("crash")

    with pytest.raises(RuntimeError):
        over.desk.sweep(crash)
    suspended: list[str] = []
    over.desk.sweep(suspended.append)
    assert suspended == ["company-1", "company-2"]


def test_a_legal_hold_moves_the_due_date_and_is_in_the_report(
    over: ErasingPlatform, companies: list[ErasingCompany]
) -> None:
    """Not overdue before the hold is over; the auditor's signed report has it, and names nobody."""
    over.issue(due_seconds=DAY)
    until = int(time.time()) + 30 * DAY
    over.desk.set_hold(LegalHold("company-1", over.plan.campaign, HoldReason.COURT_ORDER, until))
    over.later_seconds = 2 * DAY
    suspended: list[str] = []
    over.desk.sweep(suspended.append)
    assert suspended == ["company-2"]
    over.later_seconds = 31 * DAY
    over.desk.sweep(suspended.append)
    assert suspended == ["company-2", "company-1"]
    report = parse_statement(over.desk.report(), "report", limit=1 << 20)
    report.verify(b"noren/v1/erasure-report", over.platform.signing_key.public_key)
    assert [hold["reason"] for hold in report.body["holds"]] == ["COURT_ORDER"]
    assert [item["state"] for item in report.body["orders"]] == ["overdue", "escalated"]
    assert "example.jp" not in canonical_json.encode(report.body).decode()


def test_a_disputed_certificate_counts_no_more(
    over: ErasingPlatform, companies: list[ErasingCompany]
) -> None:
    """Until the auditor says that it holds; if it does not, its order is open again."""
    over.issue()
    for company in companies:
        company.erase()
    certificates = [parse_certificate(company.rights.delivered[0])[0] for company in companies]
    for certificate in certificates:
        over.desk.dispute(certificate.certificate_id)
    assert {item.certificate for item in over.desk.orders()} == {CertificateState.DISPUTED}
    over.desk.settle_dispute(certificates[0].certificate_id, holds=True)
    over.desk.settle_dispute(certificates[1].certificate_id, holds=False)
    found = [(item.state, item.certificate) for item in over.desk.orders()]
    assert found == [
        (OrderState.CERTIFIED, CertificateState.VERIFIED),
        (OrderState.EXECUTING, CertificateState.REJECTED),
    ]


def test_certificates_of_others_and_forged_ones_change_nothing(
    over: ErasingPlatform, companies: list[ErasingCompany]
) -> None:
    """Another company's order, an entry about another certificate, a false search: refused, nothing kept."""
    issued = over.issue()
    first, second = companies
    first.erase()
    (data,) = first.rights.delivered
    certificate, statement, _ = parse_certificate(data)
    keys = keystore.load(second.directory)
    entries = over.platform.ledger_store.size

    def deliver(made: bytes, *, order: int, digest: bytes, company: str = "company-2") -> None:
        body = {
            "campaign": over.plan.campaign,
            "company": company,
            "order": order,
            "certificate_sha256": digest.hex(),
        }
        entry = sign_entry(EntryKind.DELETION_CERTIFICATE, company, body, keys.signing)
        over.desk.accept("company-2", made, parse_entry(entry))

    ours = replace(certificate, company="company-2", order_id=issued[1].order.order_id)
    dirty = replace(ours, is_clean=False).sign(keys.signing)
    wrong = {
        "another's certificate": lambda: deliver(
            data, order=issued[1].entry, digest=certificate_sha256(statement)
        ),
        "another's order": lambda: deliver(data, order=issued[0].entry, digest=certificate_sha256(statement)),
        "another digest": lambda: deliver(
            certificate_to_bytes(dirty, None), order=issued[1].entry, digest=bytes(32)
        ),
        "a hit": lambda: deliver(
            certificate_to_bytes(dirty, None), order=issued[1].entry, digest=certificate_sha256(dirty)
        ),
        "no certificate": lambda: deliver(b"{}", order=issued[1].entry, digest=bytes(32)),
    }
    for deliver_wrong in wrong.values():
        with pytest.raises(NorenError):
            deliver_wrong()
    assert over.platform.ledger_store.size == entries
    assert states(over) == [OrderState.CERTIFIED, OrderState.ISSUED]
    assert second.erase()
    assert states(over) == [OrderState.CERTIFIED] * 2


def test_a_company_sees_its_own_orders_alone(over: ErasingPlatform, companies: list[ErasingCompany]) -> None:
    """What one fetches names it and no other; from then on the order counts as received."""
    over.issue()
    signed, _ = companies[0].rights.fetch_orders(over.plan.campaign, known_tree_size=0)
    assert len(signed) == 1
    assert b"company-2" not in signed[0]
    assert states(over) == [OrderState.RECEIVED, OrderState.ISSUED]
    with pytest.raises(NorenError):
        companies[0].rights.fetch_orders("another-campaign", known_tree_size=0)


def test_orders_outlive_a_restart_and_go_after_their_time(
    over: ErasingPlatform, companies: list[ErasingCompany]
) -> None:
    """A new process has the same; what was certified long ago goes, what is open stays."""
    over.issue()
    companies[0].erase()
    again = ErasureDesk(
        over.platform.directory / "erasure.db",
        store=over.platform.store,
        ledger=over.platform.ledger,
        key=over.platform.signing_key,
        revocations=over.revocations,
        clock=lambda: int(time.time()),
    )
    assert again.orders() == over.desk.orders()
    assert not again.expire(before=int(time.time()) - DAY)
    assert again.has_older(before=int(time.time()) + 100 * DAY)
    assert again.expire(before=int(time.time()) + 100 * DAY)
    assert [item.order.company for item in again.orders()] == ["company-2"]
    again.close()
    with pytest.raises(ConfigurationError):
        over.issue(due_seconds=0)
