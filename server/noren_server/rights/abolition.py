"""The end of a service: from winding down to a closing report, with nothing left open.

1. `service wind-down`: processing stops for good, every company of every campaign is ordered to erase, and
   the time for disclosure requests begins.
2. Companies certify; students ask and get their answers; nothing else works any more.
3. `service abolish`: once nothing is open, campaigns are closed with their keys, features and tables are
   removed, the state ABOLISHED is appended, and a closing report says what happened.

Records that the law asks for (consents, provisions, certificates, the ledger) stay for their term.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from noren_core import canonical_json
from noren_core.ledger.entries import EntryKind, ErasureGround, ServiceScope, ServiceStatus
from noren_core.rights.erasure.deletion_certificate import CertificateState
from noren_core.rights.service.service_state import WindDownFacts, verify_abolition
from noren_core.season.plan import CampaignPlan
from noren_local.private_file import write_private
from noren_server import campaigns
from noren_server.consents.opening import consent_service, unix_now
from noren_server.platform_files import Platform
from noren_server.rights.erasure_orders import FollowedOrder
from noren_server.rights.incidents import incident_desk
from noren_server.rights.inquiries import InquiryDesk
from noren_server.rights.opening import erasure_desk
from noren_server.rights.rights_file import open_rights_file
from noren_server.rights.service_states import ServiceDesk
from noren_server.rights.student_services import company_signing_keys, disclosure_desk
from noren_server.store import CampaignState

CLOSING_REPORT = "closing-report.json"
_REMOVED = ("embeddings", "tables", "statistics", "logs", "logs.*", "coverage-*")
_COUNTS = (CertificateState.ISSUED, CertificateState.VERIFIED)


def begin(platform: Platform, desk: ServiceDesk, request: bytes) -> list[CampaignPlan]:
    """Wind down, and order every company of every campaign to erase; the campaigns that were meant.

    After a crash the same call, with a new request, completes the orders; so it does for a company that
    accepted a plan after it was looked for.
    """
    if desk.states().of(ServiceScope.GLOBAL) is not ServiceStatus.WINDING_DOWN:
        desk.wind_down(request)
    plans = _plans(platform)
    with consent_service(platform) as service, erasure_desk(platform, service.book) as orders:
        for plan in plans:
            known = orders.orders(plan.campaign)
            ordered = {item.order.company for item in known if item.order.ground is ErasureGround.ABOLITION}
            if not _accepted(platform, plan) <= ordered:
                orders.issue(plan, ErasureGround.ABOLITION)
    return plans


def owed(platform: Platform, *, window_seconds: int, now: Callable[[], int] = unix_now) -> WindDownFacts:
    """What is still owed to anybody, as the platform's files say."""
    with consent_service(platform) as service:
        with erasure_desk(platform, service.book) as orders:
            followed = orders.orders()
            has_open_orders = orders.has_open()
        with closing(open_rights_file(platform.directory)) as file:
            has_open_disclosures = disclosure_desk(platform, service, file, clock=now).has_open()
            inquiries = InquiryDesk(file, lambda name: company_signing_keys(platform, name), clock=now)
            has_open_inquiries = bool(inquiries.open_inquiries())
    with incident_desk(platform, clock=now) as incidents:
        has_open_incidents = incidents.has_open()
    return WindDownFacts(
        is_disclosure_window_over=now() >= _winding_down_since(platform) + window_seconds,
        has_open_disclosures=has_open_disclosures,
        has_open_inquiries=has_open_inquiries,
        has_open_incidents=has_open_incidents,
        has_open_orders=has_open_orders,
        companies_without_certificate=_without_certificate(platform, followed),
        are_keys_destroyed=_are_keys_destroyed(platform),
    )


def finish(platform: Platform, desk: ServiceDesk, request: bytes, *, window_seconds: int) -> dict[str, Any]:
    """End the service and write the closing report; after a crash the same call, with a new request, goes on.

    1. The request is one that ends the service now, and nothing but the keys is left; they are what open
       orders would be answered with.
    2. Close every campaign, which deletes its keys; remove features, tables, sums, seeds and logs.
    3. Say so in the ledger.
    4. The closing report.

    Raises:
        LocalProtocolError: with code WINDDOWN_INCOMPLETE, if anything is open; nothing is removed then.
    """
    if desk.states().of(ServiceScope.GLOBAL) is not ServiceStatus.ABOLISHED:
        desk.verify_may_abolish(request)  # 1
        facts = owed(platform, window_seconds=window_seconds)
        verify_abolition(replace(facts, are_keys_destroyed=True))
        _destroy_keys(platform)  # 2
        desk.abolish(request, lambda: owed(platform, window_seconds=window_seconds))  # 3
    report = _closing_report(platform)  # 4
    write_private(platform.directory / CLOSING_REPORT, canonical_json.encode(report))
    return report


def _destroy_keys(platform: Platform) -> None:
    for plan in _plans(platform):
        with platform.store.transaction() as transaction:
            transaction.forget_answer_seeds(plan.campaign)
        campaigns.close(platform, plan.campaign)
    for path in _to_remove(platform):
        shutil.rmtree(path, ignore_errors=True)


def _to_remove(platform: Platform) -> list[Path]:
    """What holds persons' data for processing, and what a crash left of it, as far as it is there."""
    return sorted({path for pattern in _REMOVED for path in platform.directory.glob(pattern)})


def _plans(platform: Platform) -> list[CampaignPlan]:
    with platform.store.transaction() as transaction:
        return transaction.plans()


def _accepted(platform: Platform, plan: CampaignPlan) -> frozenset[str]:
    """The companies that accepted a plan: the others never got anything."""
    known = platform.ledger_store.entries(kind=EntryKind.PLAN_ACCEPTANCE, campaign=plan.campaign)
    return frozenset(stored.entry.author for stored in known)


def _without_certificate(platform: Platform, followed: Sequence[FollowedOrder]) -> frozenset[str]:
    """The companies of which, in some campaign, no certificate counts for an order that everything goes."""
    certified = {
        (item.order.campaign, item.order.company)
        for item in followed
        if item.order.ground is ErasureGround.ABOLITION and item.certificate in _COUNTS
    }
    return frozenset(
        company
        for plan in _plans(platform)
        for company in _accepted(platform, plan)
        if (plan.campaign, company) not in certified
    )


def _are_keys_destroyed(platform: Platform) -> bool:
    with platform.store.transaction() as transaction:
        states = [transaction.campaign(plan.campaign) for plan in transaction.plans()]
    is_closed = all(item is not None and item.state is CampaignState.CLOSED for item in states)
    return is_closed and not _to_remove(platform)


def _winding_down_since(platform: Platform) -> int:
    return _said_at(platform, ServiceStatus.WINDING_DOWN)


def _said_at(platform: Platform, state: ServiceStatus) -> int:
    """When the whole service went into a state; in the far future if it never did."""
    entries = platform.ledger_store.entries(kind=EntryKind.SERVICE_STATE)
    times = [
        stored.entry.body["at"]
        for stored in entries
        if stored.entry.body["state"] == state and stored.entry.body["scope"] == ServiceScope.GLOBAL
    ]
    return max(times, default=1 << 40)


def _closing_report(platform: Platform) -> dict[str, Any]:
    """What happened, by the ledger: nothing about any person, and no number of them."""
    store = platform.ledger_store

    def companies(kind: EntryKind) -> list[str]:
        return sorted({str(stored.entry.company) for stored in store.entries(kind=kind)})

    return {
        "origin": platform.config.origin,
        "ledger_size": store.size,
        "campaigns": [plan.campaign for plan in _plans(platform)],
        "companies_agreed": companies(EntryKind.AGREEMENT),
        "companies_ordered": companies(EntryKind.ERASURE_ORDER),
        "companies_certified": companies(EntryKind.DELETION_CERTIFICATE),
        "orders": len(store.entries(kind=EntryKind.ERASURE_ORDER)),
        "certificates": len(store.entries(kind=EntryKind.DELETION_CERTIFICATE)),
        "incidents": sorted(
            {stored.entry.body["incident"] for stored in store.entries(kind=EntryKind.INCIDENT)}
        ),
        "closed_at": _said_at(platform, ServiceStatus.ABOLISHED),
    }
