"""The first page: what waits for whoever signed in, and whether the platform is well.

Promises: it asks each database a fixed number of questions, whatever the number of companies, students and
applications; what cannot be read is an alarm with its code and not a page that fails; no count about students
is shown, only that something waits and until when.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from fastapi import APIRouter, Request, Response

from noren_core.errors import ConfigurationError, NorenError
from noren_core.ledger.entries import ServiceScope, ServiceStatus
from noren_core.rights.erasure.erasure_order import OPEN_STATES
from noren_server import campaigns
from noren_server.backup.history import read_history
from noren_server.console.accounts import ConsoleRole
from noren_server.console.desk import Desk, SignedIn, acting, desk_of
from noren_server.coverage.opening import is_clear
from noren_server.platform_files import SERVER_CERTIFICATE
from noren_server.rights.incidents import incident_desk
from noren_server.rights.opening import officer_desks, opened_erasure_desk
from noren_server.rights.service_states import service_desk
from noren_server.store import CompanyState
from noren_web.access import allow
from noren_web.pages import moment, page
from noren_web.translations import Text
from noren_web.translations import lazy as _

router = APIRouter()

_Read = TypeVar("_Read")
_DAY = 86_400
_SOON_DAYS = 3
_CERTIFICATE_DAYS = 30
_LEAST_FREE_BYTES = 5 << 30

STATE_WORDS = {
    ServiceStatus.RUNNING: (_("Running"), "good"),
    ServiceStatus.SUSPENDED: (_("Suspended"), "bad"),
    ServiceStatus.WINDING_DOWN: (_("Winding down"), "warn"),
    ServiceStatus.ABOLISHED: (_("Abolished"), "plain"),
}


@dataclass(frozen=True, slots=True)
class Task:
    """Something that waits.

    Attributes:
        words: what.
        path: where it is done.
        due_at: until when, Unix seconds; 0: at any time.
        is_urgent: whether the time is over or nearly.
    """

    words: Text
    path: str
    due_at: int = 0
    is_urgent: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """One line of health: what was looked at, what was found, and whether that is well."""

    words: Text
    found: Text | str
    tone: str


@dataclass(frozen=True, slots=True)
class Season:
    """One open campaign in a line: its name, companies, what its last run says, whether coverage is clear."""

    campaign: str
    companies: int
    state: str
    is_covered: bool


@router.get("/", dependencies=[allow(*ConsoleRole)])
def today(request: Request) -> Response:
    """The first page."""
    desk, person = desk_of(request), acting(request)
    now, alarms = desk.clock(), list[Task]()
    counts = _read(alarms, "platform.db", lambda: _companies(desk)) or {}
    states = _read(alarms, "ledger.db", lambda: service_desk(desk.platform).states())
    everything = None if states is None else states.of(ServiceScope.GLOBAL)
    stopped = [] if states is None else [item for item in states.items() if _is_stopped(item)]
    tasks = [*_proposals(desk, person), *_enrolments(counts)]
    if person.has(ConsoleRole.PRIVACY_OFFICER) or person.has(ConsoleRole.CONSENT_ADMIN):
        tasks += _read(alarms, "rights.db", lambda: list(_rights(desk, now))) or []
    alarms += _read(alarms, "incidents.db", lambda: list(_alarms(desk))) or []
    return page(
        request,
        "home/today.html",
        tasks=sorted(tasks, key=lambda task: (not task.is_urgent, task.due_at or now + 365 * _DAY)),
        alarms=alarms,
        service=None if everything is None else STATE_WORDS[everything],
        stopped=[(scope.value, name, STATE_WORDS[state]) for (scope, name), state in stopped if name],
        seasons=_read(alarms, "campaigns", lambda: _seasons(desk, now)) or [],
        counts=[(words, counts.get(state, 0)) for state, words in _COMPANY_WORDS.items()],
        checks=_read(alarms, "health", lambda: list(_health(desk, now))) or [],
        now=now,
    )


_COMPANY_WORDS = {
    CompanyState.APPROVED: _("Companies that take part"),
    CompanyState.PENDING: _("Companies that wait for approval"),
    CompanyState.REVOKED: _("Companies whose participation has ended"),
}


def _read(alarms: list[Task], what: str, read: Callable[[], _Read]) -> _Read | None:
    """What `read` gives; if it raises one of our errors, an alarm in its place."""
    try:
        return read()
    except NorenError as error:
        alarms.append(
            Task(_("{what} cannot be read: {code}").format(what=what, code=error.code), "/", is_urgent=True)
        )
        return None


def _companies(desk: Desk) -> dict[CompanyState, int]:
    with desk.platform.store.snapshot() as stored:
        return stored.count_companies()


def _is_stopped(item: tuple[tuple[ServiceScope, str], ServiceStatus]) -> bool:
    return item[1] is not ServiceStatus.RUNNING


def _proposals(desk: Desk, person: SignedIn) -> Iterator[Task]:
    paths = {"company-revoke": "/companies"}
    for item in desk.proposals.waiting():
        if item.proposed_by != person.name:
            path = paths.get(item.kind, "/people")
            yield Task(
                _("A proposal of {person} waits for a second person").format(person=item.proposed_by),
                path,
                item.until,
            )


def _enrolments(counts: dict[CompanyState, int]) -> Iterator[Task]:
    number = counts.get(CompanyState.PENDING, 0)
    if number:
        yield Task(_("Companies that wait for approval: {number}").format(number=number), "/enrolment")


def _rights(desk: Desk, now: int) -> Iterator[Task]:
    """The nearest deadline of each kind, not how many there are."""
    dues: tuple[tuple[Text, list[int]], ...]
    with officer_desks(desk.platform, clock=desk.clock) as (disclosures, inquiries):
        dues = (
            (_("Disclosure requests are open"), [item.due_at for item in disclosures.open_requests()]),
            (_("Inquiries are open"), [item.inquiry.due_at for item in inquiries.open_inquiries()]),
        )
    with opened_erasure_desk(desk.platform) as erasure:
        held = {(hold.company, hold.campaign) for hold in erasure.holds() if hold.until > now}
        orders = [item.order for item in erasure.orders() if item.state in OPEN_STATES]
    due_orders = [order.due_at for order in orders if (order.company, order.campaign) not in held]
    dues = (*dues, (_("Erasure orders are open"), due_orders))
    for words, due in dues:
        if due:
            yield Task(words, "/rights", min(due), is_urgent=min(due) < now + _SOON_DAYS * _DAY)


def _alarms(desk: Desk) -> Iterator[Task]:
    with incident_desk(desk.platform, clock=desk.clock) as incidents:
        if incidents.has_open():
            yield Task(_("An incident is open"), "/incidents", is_urgent=True)


def _seasons(desk: Desk, now: int) -> list[Season]:
    with desk.platform.store.snapshot() as stored:
        plans = stored.open_campaigns()
    return [
        Season(
            plan.campaign,
            len(plan.companies),
            str(campaigns.progress(desk.platform, plan.campaign)["state"]),
            is_clear(desk.platform, plan.campaign, now=now),
        )
        for plan in plans
    ]


def _health(desk: Desk, now: int) -> Iterator[Check]:
    directory = desk.platform.directory
    is_up = (directory / "run" / "ready").exists()
    yield Check(_("Services"), _("running") if is_up else _("not running"), "good" if is_up else "bad")
    days = (_certified_until(directory / SERVER_CERTIFICATE) - now) // _DAY
    tone = "good" if days > _CERTIFICATE_DAYS else "bad"
    yield Check(_("Server certificate"), _("{days} days left").format(days=days), tone)
    free = shutil.disk_usage(directory).free
    yield Check(
        _("Free disk"),
        _("{gigabytes} GiB").format(gigabytes=free >> 30),
        "good" if free > _LEAST_FREE_BYTES else "bad",
    )
    history = read_history(directory)
    made, passed = history.last_backup, history.last_passed
    yield Check(
        _("Last backup"),
        moment(made.at) if made else _("none"),
        "bad" if history.is_backup_old(now=now) else "good",
    )
    yield Check(
        _("Last restore test that passed"),
        moment(passed.at) if passed else _("none"),
        "bad" if history.is_test_old(now=now) else "good",
    )
    config = desk.platform.config
    has_witnesses = config.witness_quorum > 0
    found = _("{quorum} of {number} have to cosign").format(
        quorum=config.witness_quorum, number=len(config.witnesses)
    )
    yield Check(_("Witnesses"), found if has_witnesses else _("none"), "good" if has_witnesses else "warn")
    yield Check(_("Ledger entries"), f"{desk.platform.ledger_store.size:,}", "plain")


def _certified_until(file: Path) -> int:
    """Unix seconds; ConfigurationError if the file holds no certificate."""
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{file.name}: expected a certificate in PEM, got none") from error
    return int(certificate.not_valid_after_utc.timestamp())
