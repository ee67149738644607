"""What the operator does to the service: stop it, prove that stopping works, and see what that touches.

docs/rights/service-states.md. Promises: the operator's wish is signed with the platform's key and says one
reason of a closed list; before something stops it can be told how far that reaches; a drill is a real
suspension, and its record says after how many seconds another reader of the ledger refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from noren_core import canonical_json
from noren_core.errors import ConfigurationError
from noren_core.ids import parse_name
from noren_core.ledger.entries import EntryKind, ServiceScope, ServiceStatus
from noren_core.rights import fields
from noren_core.rights.coverage.small_cells import hide
from noren_core.rights.service.service_state import StateChange, sign_request
from noren_local.private_file import write_private
from noren_server.consents import consent_quality
from noren_server.consents.latest_facts import LatestFacts
from noren_server.consents.opening import consent_service, unix_now
from noren_server.platform_files import Platform
from noren_server.policies.opening import policy_stores
from noren_server.rights.service_states import ServiceDesk, service_desk

DRILL_LIMIT_SECONDS = 60
DRILLS_FILE = "service-drills.json"
MAX_DRILLS = 1000
_POLL_SECONDS = 0.05


class SuspensionReason(StrEnum):
    """Why the operator stops something; a closed list, since text could name people."""

    OPERATOR = "OPERATOR"
    INCIDENT = "INCIDENT"
    CONSENT_DEFECT = "CONSENT_DEFECT"
    UNKNOWN_SCREEN = "UNKNOWN_SCREEN"
    COMPANY_REQUEST = "COMPANY_REQUEST"
    AUTHORITY_REQUEST = "AUTHORITY_REQUEST"
    DRILL = "DRILL"


@dataclass(frozen=True, slots=True)
class BlastRadius:
    """Whom it reaches when a scope stops.

    Attributes:
        companies: that take part in it, sorted.
        campaigns: that are open in it, sorted.
        live_consents: that count as none from then on; None if they are few.
    """

    companies: tuple[str, ...]
    campaigns: tuple[str, ...]
    live_consents: int | None


@dataclass(frozen=True, slots=True)
class Drill:
    """One drill: what was stopped, when (Unix seconds), and after how many milliseconds others refused."""

    scope: ServiceScope
    name: str
    at: int
    milliseconds: int

    @property
    def is_in_time(self) -> bool:
        """Whether it took no longer than a minute."""
        return self.milliseconds <= DRILL_LIMIT_SECONDS * 1000


def parse_scope(text: str) -> ServiceScope:
    """The scope of this name; ConfigurationError for another word."""
    if text not in set(ServiceScope):
        raise ConfigurationError("scope: expected global, company or campaign, got another word")
    return ServiceScope(text)


def parse_reason(text: str) -> SuspensionReason:
    """The reason of this name; ConfigurationError for another word."""
    if text not in set(SuspensionReason):
        raise ConfigurationError(f"reason: expected one of {', '.join(SuspensionReason)}; got another word")
    return SuspensionReason(text)


def own_request(
    platform: Platform, *, scope: ServiceScope, name: str, state: ServiceStatus, reason: str, at: int
) -> bytes:
    """The operator's own wish, signed with the platform's key."""
    return sign_request(scope=scope, name=name, state=state, reason=reason, at=at, key=platform.signing_key)


def suspend(
    platform: Platform,
    desk: ServiceDesk,
    *,
    scope: ServiceScope,
    name: str,
    reason: SuspensionReason,
    at: int,
) -> StateChange:
    """Stop processing at once; as `ServiceDesk.suspend`."""
    return desk.suspend(
        own_request(
            platform, scope=scope, name=name, state=ServiceStatus.SUSPENDED, reason=reason.value, at=at
        )
    )


def suspend_company(platform: Platform, company: str, *, reason: str, clock: Callable[[], int]) -> None:
    """Suspend a company; one that is suspended itself needs no second word.

    A suspension of the whole service is another one: the company would run again when that is over.
    """
    desk = service_desk(platform, clock)
    if desk.states().of(ServiceScope.COMPANY, company) is not ServiceStatus.RUNNING:
        return
    desk.suspend(
        own_request(
            platform,
            scope=ServiceScope.COMPANY,
            name=company,
            state=ServiceStatus.SUSPENDED,
            reason=reason,
            at=clock(),
        )
    )


def scope_names(platform: Platform) -> Mapping[ServiceScope, tuple[str, ...]]:
    """What there is to stop: active companies and open campaigns, sorted."""
    return {
        ServiceScope.GLOBAL: (),
        ServiceScope.COMPANY: tuple(sorted(_active_companies(platform))),
        ServiceScope.CAMPAIGN: tuple(sorted(plan["campaign"] for plan in _open_plans(platform))),
    }


def blast_radius(platform: Platform, scope: ServiceScope, name: str = "") -> BlastRadius:
    """Whom it reaches when this scope stops: by the ledger, and by the consents that are live."""
    if scope is not ServiceScope.GLOBAL:
        parse_name(name, f"service: {scope.value}")
    plans = [plan for plan in _open_plans(platform) if _is_in(plan, scope, name)]
    companies = {member["company"] for plan in plans for member in plan["cohort"]}
    seasons = {season for plan in plans for season in (*plan["train_seasons"], plan["score_season"])}
    with consent_service(platform) as service:
        if scope is ServiceScope.GLOBAL:
            companies, live = _active_companies(platform), consent_quality.live_consents(service.book)
        elif scope is ServiceScope.COMPANY:
            companies, live = {name}, consent_quality.live_consents(service.book, [name])
        else:
            live = consent_quality.live_consents(service.book, companies, seasons)
    campaigns = tuple(sorted(plan["campaign"] for plan in plans))
    return BlastRadius(tuple(sorted(companies)), campaigns, hide(live))


def drill(
    platform: Platform, *, scope: ServiceScope, name: str, clock: Callable[[], int] = unix_now
) -> Drill:
    """Suspend a scope, and measure until who has it open beside us refuses; the record is kept.

    It is a real suspension: it resumes with fresh coverage and an auditor's word, like any other.

    1. Another reader of the same files, with what it remembers for a second warm.
    2. The suspension.
    3. Until the other reader says that nothing is processed, or for the minute that it may take.
    """
    with _other_reader(platform.directory, scope, name) as is_running:
        is_running(clock())  # 1
        began = time.monotonic()
        change = suspend(
            platform,
            service_desk(platform, clock),
            scope=scope,
            name=name,
            reason=SuspensionReason.DRILL,
            at=clock(),
        )  # 2
        while is_running(clock()) and time.monotonic() < began + DRILL_LIMIT_SECONDS + 1:  # 3
            time.sleep(_POLL_SECONDS)
        milliseconds = int((time.monotonic() - began) * 1000)
    done = Drill(change.scope, change.name, change.at, milliseconds)
    _keep(platform.directory, done)
    return done


def drills(directory: Path) -> tuple[Drill, ...]:
    """Every drill that was recorded in a platform's directory, newest first.

    Raises:
        DataError: if the file is not what `drill` wrote.
    """
    path = directory / DRILLS_FILE
    if not path.exists():
        return ()
    body = canonical_json.parse_object(path.read_bytes())
    found = fields.read_fields(body, {"drills": _DRILLS}, DRILLS_FILE)["drills"]
    return tuple(sorted(found, key=lambda item: -item.at))


@contextmanager
def _other_reader(directory: Path, scope: ServiceScope, name: str) -> Iterator[Callable[[int], bool]]:
    """Whether processing goes on at a time, as a process that was started earlier sees it."""
    platform = Platform(directory)
    desk = service_desk(platform)
    company = name if scope is ServiceScope.COMPANY else ""
    campaign = name if scope is ServiceScope.CAMPAIGN else ""
    with closing(platform.ledger_store), policy_stores(directory) as (book, register):
        facts = LatestFacts(book, register, platform.ledger_store, desk.is_running)

        def is_running(now: int) -> bool:
            if campaign:
                return desk.is_running(campaign=campaign)
            return facts.at(now).is_running(company)

        yield is_running


def _keep(directory: Path, done: Drill) -> None:
    known = sorted((*drills(directory), done), key=lambda item: item.at)[-MAX_DRILLS:]
    body = {
        "drills": [
            {
                "scope": item.scope.value,
                "name": item.name,
                "at": item.at,
                "milliseconds": item.milliseconds,
            }
            for item in known
        ]
    }
    write_private(directory / DRILLS_FILE, canonical_json.encode(body))


def _drill(value: object) -> Drill:
    return Drill(**fields.read_fields(value, _DRILL, "drill"))


_DRILL = {
    "scope": fields.word_of(ServiceScope),
    "name": fields.text,
    "at": fields.seconds,
    "milliseconds": fields.integer_in(0, 1 << 31),
}
_DRILLS = fields.list_of(_drill, most=MAX_DRILLS)


def _open_plans(platform: Platform) -> list[Mapping[str, Any]]:
    """The plans of the ledger whose campaigns were not closed."""
    store = platform.ledger_store
    closed = {stored.entry.campaign for stored in store.entries(kind=EntryKind.CAMPAIGN_CLOSED)}
    plans = [stored.entry.body for stored in store.entries(kind=EntryKind.PLAN)]
    return [plan for plan in plans if plan["campaign"] not in closed]


def _is_in(plan: Mapping[str, Any], scope: ServiceScope, name: str) -> bool:
    if scope is ServiceScope.CAMPAIGN:
        return bool(plan["campaign"] == name)
    return scope is ServiceScope.GLOBAL or name in {member["company"] for member in plan["cohort"]}


def _active_companies(platform: Platform) -> set[str]:
    """Those that agreed and whose participation was not ended."""
    store = platform.ledger_store
    ended = {stored.entry.company for stored in store.entries(kind=EntryKind.REVOCATION)}
    agreed = {stored.entry.company for stored in store.entries(kind=EntryKind.AGREEMENT)}
    return {company for company in agreed - ended if company is not None}
