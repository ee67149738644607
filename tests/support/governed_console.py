"""A console whose platform has a season behind it: a policy, consents, a campaign, and what students asked.

    with operators_console(directory) as console:
        governed = govern(console)
        governed.season.inquiry()
        governed.console.signed_in("officer").get("/rights")

People of the platform: `officer` (privacy officer), `admin` (consent admin), `modeller` (ML operator),
`auditor`, and `boss` (administrator).
"""

from __future__ import annotations

import copy
import secrets
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from active_policy import activate_policy, notice_facts
from consenting_students import ConsentingStudent, ConsentingStudents
from operators_console import NOW, Console

from noren_core import canonical_json
from noren_core.crypto.identity import SealingKey, SigningKey
from noren_core.ledger.entries import EntryKind, ErasureGround, parse_entry, sign_entry
from noren_core.rights.consent.consent_event import SignedEvent
from noren_core.rights.disclosure.inquiry import InquiryTopic
from noren_core.rights.disclosure.requests import Scope
from noren_core.rights.purposes import Purpose
from noren_core.season.plan import CampaignPlan
from noren_server.consents.consent_service import ConsentService
from noren_server.consents.opening import consent_service
from noren_server.console.accounts import ConsoleRole
from noren_server.platform_files import Platform
from noren_server.rights.opening import officer_desks, opened_erasure_desk

CAMPAIGN, COMPANY, POSITION = "spring-2026", "company-1", "engineer"
SEASON, TRAIN_SEASON = "2026", "2025"
PEOPLE = {
    "officer": ConsoleRole.PRIVACY_OFFICER,
    "admin": ConsoleRole.CONSENT_ADMIN,
    "modeller": ConsoleRole.ML_OPERATOR,
    "auditor": ConsoleRole.AUDITOR,
}
_SET_UP = NOW - 5000


@dataclass
class Season:
    """What was made in a platform, and the key of the auditor whose word counts."""

    platform: Platform
    clock: Callable[[], int]
    auditor: SigningKey
    plan: CampaignPlan

    def inquiry(self, text: str = "Why was my data used?", student: str = "aiko-0") -> str:
        """A question of a student; its handle."""
        with officer_desks(self.platform, clock=self.clock) as (_disclosure, inquiries):
            return inquiries.open(student, InquiryTopic.QUESTION, company=COMPANY, text=text).hex()

    def disclosure(self, student: str = "aiko-0") -> str:
        """A request about a company that could have scored her; its handle."""
        scope = Scope(platform_data=True, consent_history=True, provision_records=True, company=COMPANY)
        with officer_desks(self.platform, clock=self.clock) as (disclosure, _inquiries):
            return disclosure.open(student, scope).hex()

    def orders(self) -> int:
        """Every company of the campaign is ordered to erase; how many orders."""
        with opened_erasure_desk(self.platform, clock=self.clock) as desk:
            return len(desk.issue(self.plan, ErasureGround.RIGHTS))

    def months_of_answers(self, students: int = 60) -> None:
        """Questions of the last four months: most consented, some refused, withdrew or did not answer."""
        made = ConsentingStudents(self.platform.consent_key, now=NOW)
        events: list[SignedEvent] = []
        for number in range(students):
            student, at = made.student(f"naoko-{number}"), NOW - (number % 4) * 30 * 86_400 - 3600
            company = self.plan.companies[number % 3]
            asked: dict[str, Any] = {"position": POSITION, "season": SEASON, "policy": f"policy-{SEASON}"}
            for purpose in (Purpose.LINK, Purpose.SCORE):
                if number % 5 == 0:
                    events += student.shown(purpose, company, **asked, time=at)
                    events += [student.refuses(purpose, company, **asked, time=at)]
                else:
                    events += student.gives(purpose, company, **asked, time=at)
                if number % 5 and number % 7 == 1:
                    events += [student.withdraws(purpose, company, **asked, time=at)]
        with consent_service(self.platform) as service:
            service.book.record_all(events, now=NOW)


@dataclass
class Governed:
    """A console of a platform with a season."""

    console: Console
    season: Season

    @property
    def platform(self) -> Platform:
        return self.console.platform

    @property
    def auditor(self) -> SigningKey:
        return self.season.auditor

    @property
    def plan(self) -> CampaignPlan:
        return self.season.plan


def add_people(console: Console) -> None:
    """One person of every role."""
    for name, role in PEOPLE.items():
        console.add_at_provider(name, role)


def govern(console: Console, plan_body: Mapping[str, Any]) -> Governed:
    """Make a season in this console's platform, which it has open."""
    add_people(console)
    return Governed(console, make_season(console.platform, plan_body, console.clock))


def make_season(platform: Platform, plan_body: Mapping[str, Any], clock: Callable[[], int]) -> Season:
    """A policy in force, twelve students who consented, and a campaign of five companies."""
    auditor = SigningKey.generate()
    _trust(platform, auditor)
    plan = CampaignPlan.from_body(copy.deepcopy(dict(plan_body)))
    with platform.store.transaction() as transaction:
        transaction.add_campaign(plan)
    platform.ledger.append_platform_entry(EntryKind.PLAN, plan.to_body())
    _enrol(platform, plan)
    notices, policies = [notice_facts(COMPANY, POSITION)], {}
    for season in (TRAIN_SEASON, SEASON):
        with closing(activate_policy(platform, season=season, notices=notices, now=_SET_UP)) as policy:
            shown = {item: policy.screen(COMPANY, POSITION, item) for item in (Purpose.TRAIN, Purpose.SCORE)}
            policies[season] = (policy.policy, shown)
    _graph(platform.directory, policies[SEASON][1][Purpose.SCORE].sha256)
    with consent_service(platform) as service:
        made = ConsentingStudents(platform.consent_key, now=_SET_UP + 10)
        for number in range(12):
            student = made.student(f"aiko-{number}")
            _gives(service, student, Purpose.TRAIN, TRAIN_SEASON, policies)
            _gives(service, student, Purpose.SCORE, SEASON, policies)
    return Season(platform, clock, auditor, plan)


def _trust(platform: Platform, auditor: SigningKey) -> None:
    path = platform.directory / "config.toml"
    with path.open("a", encoding="utf-8") as config:
        config.write(f'\n[[auditor]]\nname = "auditor-1"\nkey = "{auditor.public_key.hex()}"\n')
    platform.config = Platform(platform.directory).config


def _enrol(platform: Platform, plan: CampaignPlan) -> None:
    """Every company of the plan has keys, agreed and accepted."""
    for company in plan.companies:
        key = SigningKey.generate()
        bodies: list[tuple[EntryKind, dict[str, Any]]] = [
            (
                EntryKind.ENROLMENT,
                {
                    "company": company,
                    "signing_key": key.public_key.hex(),
                    "sealing_key": SealingKey.generate().public_key.hex(),
                    "tls_key_sha256": secrets.token_hex(32),
                    "node_key_sha256": secrets.token_hex(32),
                },
            ),
            (EntryKind.AGREEMENT, {"company": company, "agreement_sha256": "44" * 32, "declared_size": 10}),
            (
                EntryKind.PLAN_ACCEPTANCE,
                {"campaign": plan.campaign, "company": company, "plan_sha256": plan.digest().hex()},
            ),
        ]
        for kind, body in bodies:
            platform.ledger.append_company_entry(parse_entry(sign_entry(kind, company, body, key)))


def _graph(directory: Path, screen: str) -> None:
    nodes = [("site", "entry", ""), ("notice", "consent", f"policy-{SEASON}"), ("scoring", "scoring", "")]
    graph = {
        "schema": "noren/journey/1",
        "nodes": [
            {"name": name, "kind": kind, "policy": policy, "sha256": screen if policy else ""}
            for name, kind, policy in nodes
        ],
        "edges": [
            {"from": "site", "to": "notice", "users": 12},
            {"from": "notice", "to": "scoring", "users": 12},
        ],
    }
    (directory / "journeys.json").write_bytes(canonical_json.encode(graph))


def _gives(
    service: ConsentService,
    student: ConsentingStudent,
    purpose: Purpose,
    season: str,
    policies: Mapping[str, Any],
) -> None:
    policy, shown = policies[season]
    screen = shown[purpose]
    for event in student.gives(
        purpose,
        COMPANY,
        position=POSITION,
        season=season,
        policy=policy,
        screen=screen.sha256,
        clauses=screen.clauses,
    ):
        service.book.record(event, now=NOW)
