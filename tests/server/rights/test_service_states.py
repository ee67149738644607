from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from noren_core.crypto.identity import SigningKey
from noren_core.errors import LocalProtocolError, VerificationError
from noren_core.ledger.entries import EntryKind, ServiceScope, ServiceStatus, parse_entry, sign_entry
from noren_core.rights.service.service_state import WindDownFacts, sign_request
from noren_core.rights.signed_statement import sign_statement
from noren_server.platform_files import Platform, initialise
from noren_server.rights.service_states import ServiceDesk

AUDITOR = SigningKey.generate()
COMPANY = SigningKey.generate()
START = 1_700_000_000
CAMPAIGN = "spring-2026"
NOTHING_OWED = WindDownFacts(
    is_disclosure_window_over=True,
    has_open_disclosures=False,
    has_open_inquiries=False,
    has_open_incidents=False,
    has_open_orders=False,
    companies_without_certificate=frozenset(),
    are_keys_destroyed=True,
)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    made = initialise(tmp_path / "platform", name="jobs", host="127.0.0.1", ports=(1, 2, 3, 4))
    made.ledger.append_company_entry(
        parse_entry(
            sign_entry(
                EntryKind.ENROLMENT,
                "akane",
                {
                    "company": "akane",
                    "signing_key": COMPANY.public_key.hex(),
                    **{
                        name: hashlib.sha256(name.encode()).hexdigest()
                        for name in ("sealing_key", "tls_key_sha256", "node_key_sha256")
                    },
                },
                COMPANY,
            )
        )
    )
    yield made
    made.ledger_store.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def desk(platform: Platform, clock: Clock) -> ServiceDesk:
    return desk_of(platform, clock)


def desk_of(platform: Platform, clock: Clock) -> ServiceDesk:
    return ServiceDesk(
        platform.ledger,
        platform.directory / "service-requests",
        operator_key=platform.signing_key.public_key,
        auditor_keys=[AUDITOR.public_key],
        clock=clock,
    )


def request(
    key: SigningKey,
    state: ServiceStatus,
    scope: ServiceScope = ServiceScope.GLOBAL,
    name: str = "",
    at: int = START,
) -> bytes:
    return sign_request(scope=scope, name=name, state=state, reason="DRILL", at=at, key=key)


def coverage(
    platform: Platform, *, as_of: int, verdict: str = "clear", auditor: SigningKey = AUDITOR
) -> None:
    hashes = dict.fromkeys(("report_sha256", "policy_sha256", "screens_sha256"), "00" * 32)
    body = {"campaign": CAMPAIGN, "as_of": as_of, "verdict": verdict, **hashes}
    said = {**body, "auditor_key": auditor.public_key.hex()}
    signature = sign_statement(b"noren/v1/coverage-attestation", said, auditor).signature
    platform.ledger.append_platform_entry(EntryKind.COVERAGE, {**said, "attestation": signature.hex()})


@pytest.fixture
def plan(platform: Platform, plan_body: dict[str, Any]) -> None:
    """The one open campaign of the ledger; `akane` is in its cohort."""
    cohort = [{**plan_body["cohort"][0], "company": "akane"}, *plan_body["cohort"][1:]]
    platform.ledger.append_platform_entry(EntryKind.PLAN, {**plan_body, "cohort": cohort})


@pytest.mark.parametrize(
    ("who", "scope", "name"),
    [
        ("operator", ServiceScope.GLOBAL, ""),
        ("auditor", ServiceScope.GLOBAL, ""),
        ("auditor", ServiceScope.CAMPAIGN, "spring"),
        ("company", ServiceScope.COMPANY, "akane"),
    ],
)
def test_who_may_suspend_does_so_at_once_in_every_process(
    platform: Platform, desk: ServiceDesk, clock: Clock, who: str, scope: ServiceScope, name: str
) -> None:
    """R-SVC-1: operator, auditor, and a company for itself; another process knows at its next call."""
    key = {"operator": platform.signing_key, "auditor": AUDITOR, "company": COMPANY}[who]
    other = desk_of(Platform(platform.directory), clock)
    assert other.is_running("akane", "spring")
    desk.suspend(request(key, ServiceStatus.SUSPENDED, scope, name))
    assert not other.is_running("akane", "spring")
    with pytest.raises(LocalProtocolError) as refused:
        other.require_running("akane", "spring")
    assert refused.value.code == "SERVICE_SUSPENDED"


def test_nobody_else_suspends(desk: ServiceDesk) -> None:
    """A stranger suspends nothing, a company no other company and not the service."""
    for key, scope, name in (
        (SigningKey.generate(), ServiceScope.GLOBAL, ""),
        (COMPANY, ServiceScope.GLOBAL, ""),
        (COMPANY, ServiceScope.COMPANY, "midori"),
    ):
        with pytest.raises(VerificationError):
            desk.suspend(request(key, ServiceStatus.SUSPENDED, scope, name))
    assert desk.is_running("akane", "spring")


@pytest.mark.usefixtures("plan")
def test_the_service_resumes_on_new_clear_coverage_and_the_auditors_word(
    platform: Platform, desk: ServiceDesk
) -> None:
    """R-SVC-1: not without coverage, not on old or blocked coverage, not on the operator's word alone."""
    desk.suspend(request(AUDITOR, ServiceStatus.SUSPENDED))
    wanted = request(AUDITOR, ServiceStatus.RUNNING, at=START + 60)
    for prepare in (
        lambda: None,
        lambda: coverage(platform, as_of=START - 1),
        lambda: coverage(platform, as_of=START + 30, verdict="blocked"),
        lambda: coverage(platform, as_of=START + 30, auditor=SigningKey.generate()),
    ):
        prepare()
        with pytest.raises(LocalProtocolError) as refused:
            desk.resume(wanted)
        assert refused.value.code == "RESUME_CONDITIONS_UNMET"
    coverage(platform, as_of=START + 31)
    own = request(platform.signing_key, ServiceStatus.RUNNING, at=START + 60)
    with pytest.raises(LocalProtocolError):
        desk.resume(own)
    desk.resume(wanted)
    assert desk.is_running("akane", "spring")


@pytest.mark.usefixtures("plan")
@pytest.mark.parametrize(
    ("scope", "name", "needs_coverage"),
    [
        (ServiceScope.GLOBAL, "", True),
        (ServiceScope.COMPANY, "akane", True),
        (ServiceScope.COMPANY, "midori", False),
        (ServiceScope.CAMPAIGN, CAMPAIGN, True),
        (ServiceScope.CAMPAIGN, "another", True),
    ],
)
def test_what_needs_coverage_follows_from_the_ledger(
    desk: ServiceDesk, scope: ServiceScope, name: str, needs_coverage: bool
) -> None:
    """No caller says which campaigns a scope is about: the ledger's that are open, or the named one."""
    desk.suspend(request(AUDITOR, ServiceStatus.SUSPENDED, scope, name))
    wanted = request(AUDITOR, ServiceStatus.RUNNING, scope, name, at=START + 60)
    if not needs_coverage:
        desk.resume(wanted)
        return
    with pytest.raises(LocalProtocolError) as refused:
        desk.resume(wanted)
    assert refused.value.code == "RESUME_CONDITIONS_UNMET"


def test_a_suspension_is_not_replayed(platform: Platform, desk: ServiceDesk, clock: Clock) -> None:
    """The request of last time does not suspend again, right after resuming or much later."""
    old = request(AUDITOR, ServiceStatus.SUSPENDED)
    desk.suspend(old)
    coverage(platform, as_of=START + 1)
    desk.resume(request(AUDITOR, ServiceStatus.RUNNING, at=START + 60))
    with pytest.raises(LocalProtocolError):
        desk.suspend(old)
    clock.now += 3_600
    with pytest.raises(VerificationError):
        desk.suspend(old)
    assert desk.is_running()


def test_the_end_waits_until_nothing_is_owed(platform: Platform, desk: ServiceDesk) -> None:
    """R-SVC-2: winding down stops processing for good; abolished is said once, when all is answered."""
    operator = platform.signing_key
    with pytest.raises(LocalProtocolError):
        desk.abolish(request(operator, ServiceStatus.ABOLISHED), lambda: NOTHING_OWED)
    desk.wind_down(request(operator, ServiceStatus.WINDING_DOWN))
    assert not desk.is_running()
    owing = replace(NOTHING_OWED, has_open_disclosures=True)
    with pytest.raises(LocalProtocolError) as refused:
        desk.abolish(request(operator, ServiceStatus.ABOLISHED, at=START + 1), lambda: owing)
    assert refused.value.code == "WINDDOWN_INCOMPLETE"
    desk.abolish(request(operator, ServiceStatus.ABOLISHED, at=START + 1), lambda: NOTHING_OWED)
    with pytest.raises(LocalProtocolError) as refused:
        desk.suspend(request(operator, ServiceStatus.SUSPENDED, at=START + 2))
    assert refused.value.code == "SERVICE_ABOLISHED"


def test_the_evidence_of_a_change_is_kept(platform: Platform, desk: ServiceDesk) -> None:
    """The ledger names the hash of the signed request, and the request is on disk for its owner alone."""
    asked = request(AUDITOR, ServiceStatus.SUSPENDED)
    desk.suspend(asked)
    entry = platform.ledger_store.entries(kind=EntryKind.SERVICE_STATE)[-1].entry
    kept = platform.directory / "service-requests" / f"{entry.body['evidence_sha256']}.json"
    assert kept.read_bytes() == asked
    assert kept.stat().st_mode & 0o777 == 0o600
