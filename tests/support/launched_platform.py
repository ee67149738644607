"""What operator, students and an auditor do before a platform may make tables, in one call each.

    launch = prepare_launch(directory, companies=["akane"], season="2026")
    launch.take([*launch.may_be_scored("s1", "akane"), *launch.gives("s2", Purpose.TRAIN, "akane", "2025")])
    launch.attest("spring-2026")
    launch.publish("spring-2026")              # or: noren-platform campaign publish spring-2026

Every step is the one of the product: a policy with two approvals and verified screens, events under the
students' own keys, a coverage report that the operator reviewed and an auditor signed. Nothing is kept open,
so commands and services may run beside it; a copy of the directory goes on with `launch.at(copy)`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from active_policy import activate_policy, notice_facts
from consenting_students import ConsentingStudents

from noren_audit.rights.coverage_check import attest_report, read_report
from noren_core import canonical_json
from noren_core.crypto.identity import SigningKey
from noren_core.ids import IdentifierKind
from noren_core.rights.consent.consent_event import Screen, SignedEvent
from noren_core.rights.coverage.coverage_report import JOURNEYS
from noren_core.rights.locales import Locale
from noren_core.rights.purposes import Purpose
from noren_core.season.plan import CampaignPlan
from noren_demo.people import POSITION, StudentChoice
from noren_demo.students import Students
from noren_server import launch
from noren_server.consents.consent_files import import_events
from noren_server.consents.opening import consent_service, unix_now
from noren_server.coverage.classification import Question
from noren_server.coverage.opening import auditor_keys, compute_on_platform, coverage_runs
from noren_server.coverage.runs import REPORT
from noren_server.platform_files import Platform


@dataclass(frozen=True, slots=True)
class Launch:
    """The people without whom a platform makes no table.

    Attributes:
        directory: the platform's.
        season: the one that is scored, which the policy is for.
        position: of every company.
        auditor: whose word the platform's config names.
        students: they answer to `policy`; each has the same keys throughout.
        screens: by company and purpose, what they are shown.
    """

    directory: Path
    season: str
    position: str
    policy: str
    auditor: SigningKey = field(repr=False)
    students: ConsentingStudents
    screens: Mapping[tuple[str, Purpose], Screen]

    def at(self, directory: Path) -> Launch:
        """The same people at a copy of the platform."""
        return replace(self, directory=directory)

    def gives(
        self,
        student: str,
        purpose: Purpose,
        company: str,
        season: str = "",
        *,
        identifier: str | None = None,
        identifier_kind: IdentifierKind = IdentifierKind.CONSENT_CODE,
    ) -> list[SignedEvent]:
        """She is shown the company's notice, now, and consents; for the policy's season if none is said."""
        screen = self.screens[company, purpose]
        return self.students.student(student).gives(
            purpose,
            company,
            self.position,
            season or self.season,
            self.policy,
            screen.sha256,
            identifier_kind,
            identifier,
            clauses=screen.clauses,
            time=unix_now(),
        )

    def acknowledges(self, student: str, company: str) -> SignedEvent:
        """She says that she got the company's offer."""
        return self.students.student(student).acknowledges_offer(
            company, self.position, self.season, time=unix_now()
        )

    def may_be_scored(self, student: str, company: str, **identifier: str) -> list[SignedEvent]:
        """Everything that a score row needs."""
        return [
            *self.gives(student, Purpose.LINK, company),
            *self.gives(student, Purpose.SCORE, company, **identifier),  # type: ignore[arg-type]
            self.acknowledges(student, company),
        ]

    def withdraws(self, student: str, purpose: Purpose, company: str, season: str = "") -> SignedEvent:
        """She withdraws what she gave."""
        return self.students.student(student).withdraws(
            purpose, company, self.position, season or self.season, self.policy, time=unix_now()
        )

    def answering(self, choices: Sequence[StudentChoice]) -> Students:
        """The students of a prepared season, who answer as choices.csv says."""
        return Students(
            tuple(choices),
            self.policy,
            lambda company, purpose: self.screens[company, purpose],
            self.students.service_key,
        )

    def take(self, events: Iterable[SignedEvent]) -> None:
        """The platform records these, all or none."""
        with self.opened() as platform, consent_service(platform) as service:
            service.book.record_all(list(events), now=unix_now())

    def take_file(self, path: Path) -> None:
        """What `noren-platform consents import` does."""
        with self.opened() as platform, consent_service(platform) as service:
            import_events(service.book, path, now=unix_now())

    def attest(self, campaign: str) -> None:
        """A coverage report as of now: the operator reviews it, the auditor signs it, the ledger has it."""
        now = unix_now()
        with self.opened() as platform:
            run = compute_on_platform(platform, campaign, Question(now), now=now)
            runs = coverage_runs(platform.directory)
            runs.review(campaign, run.name)
            said = attest_report(read_report(run.directory / REPORT), self.auditor)
            runs.attest(said.to_bytes(), platform.ledger, auditors=auditor_keys(platform))

    def publish(self, campaign: str) -> CampaignPlan:
        """What `noren-platform campaign publish` does."""
        with self.opened() as platform:
            return launch.publish(platform, campaign)

    @contextmanager
    def opened(self) -> Iterator[Platform]:
        """The platform until the end of the block."""
        platform = Platform(self.directory)
        with closing(platform.store), closing(platform.ledger_store):
            yield platform


def prepare_launch(
    directory: Path, *, companies: Sequence[str], season: str, position: str = POSITION
) -> Launch:
    """Bring a policy into force at a new platform, and name an auditor in its config.

    Args:
        directory: of a platform that `initialise` made.
        companies: all that students are asked about.
        season: of the policy.
        position: the one of each company.
    """
    auditor = SigningKey.generate()
    with (directory / "config.toml").open("a", encoding="utf-8") as config:
        config.write(f'\n[[auditor]]\nname = "auditor-1"\nkey = "{auditor.public_key.hex()}"\n')
    platform = Platform(directory)
    now = unix_now()
    with closing(platform.store), closing(platform.ledger_store):
        notices = [notice_facts(company, position) for company in companies]
        with closing(activate_policy(platform, season=season, notices=notices, now=now)) as active:
            screens = {
                (item.place.company, purpose): Screen(item.sha256, tuple(sorted(item.clauses)))
                for item in active.register.versions(active.policy)
                if item.place.locale is Locale.JA
                for purpose in item.purposes
            }
            journeys = _journeys(
                active.policy, [screens[company, Purpose.SCORE].sha256 for company in companies]
            )
            (directory / JOURNEYS).write_bytes(canonical_json.encode(journeys))
            students = ConsentingStudents(platform.consent_key, now=now)
            return Launch(directory, season, position, active.policy, auditor, students, screens)


def _journeys(policy: str, screens: Sequence[str]) -> dict[str, Any]:
    """A site on which nobody comes to be scored but by one of these consent screens."""

    def node(name: str, kind: str, policy: str = "", sha256: str = "") -> dict[str, str]:
        return {"name": name, "kind": kind, "policy": policy, "sha256": sha256}

    def edge(origin: str, to: str) -> dict[str, Any]:
        return {"from": origin, "to": to, "users": 10}

    consents = [node(f"notice-{n}", "consent", policy, sha256) for n, sha256 in enumerate(screens)]
    return {
        "schema": "noren/journey/1",
        "nodes": [node("site", "entry"), *consents, node("scoring", "scoring")],
        "edges": [e for c in consents for e in (edge("site", c["name"]), edge(c["name"], "scoring"))],
    }
