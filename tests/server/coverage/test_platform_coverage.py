"""From a running platform: who would be processed, what an auditor says of it, when a campaign may begin."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from active_policy import ActivePolicy, activate_policy, notice_facts
from consenting_students import ConsentingStudent, ConsentingStudents

from noren_audit.rights.coverage_check import attest_report, read_report
from noren_core import canonical_json
from noren_core.crypto.identity import SigningKey
from noren_core.errors import DataError, LocalProtocolError, VerificationError
from noren_core.ledger.entries import EntryKind, ServiceScope, ServiceStatus, parse_entry, sign_entry
from noren_core.rights.coverage.coverage_report import ReportState
from noren_core.rights.purposes import Purpose
from noren_core.rights.service.service_state import sign_request
from noren_core.season.plan import CampaignPlan
from noren_server.consents.consent_service import ConsentService
from noren_server.consents.opening import consent_service, unix_now
from noren_server.coverage import opening
from noren_server.coverage.classification import Question
from noren_server.coverage.runs import REPORT, Run
from noren_server.platform_files import Platform, initialise
from noren_server.publication import Consents
from noren_server.rights.opening import publication_consents
from noren_server.rights.provision_records import ProvisionRecords
from noren_server.rights.service_states import service_desk

NOW = 1_780_000_000
COMPANY, POSITION = "company-1", "engineer"
CAMPAIGN = "spring-2026"
JOURNEYS = {
    "schema": "noren/journey/1",
    "nodes": [
        {"name": "site", "kind": "entry", "policy": "", "sha256": ""},
        {"name": "notice", "kind": "consent", "policy": "policy-2026", "sha256": ""},
        {"name": "scoring", "kind": "scoring", "policy": "", "sha256": ""},
    ],
    "edges": [
        {"from": "site", "to": "notice", "users": 12},
        {"from": "notice", "to": "scoring", "users": 12},
    ],
}


@dataclass
class Site:
    """A platform with students, a policy in force and a published plan."""

    platform: Platform
    auditor: SigningKey
    plan: CampaignPlan
    policies: list[ActivePolicy]
    students: ConsentingStudents
    service: ConsentService

    def gives(self, student: ConsentingStudent, purpose: Purpose, season: str, **changes: Any) -> None:
        """One consent on the screen that is really shown."""
        policy = next(item for item in self.policies if item.version.season == season)
        shown = policy.screen(COMPANY, POSITION, purpose)
        stated = {
            "position": POSITION,
            "season": season,
            "policy": policy.policy,
            "screen": shown.sha256,
            "clauses": shown.clauses,
        }
        for event in student.gives(purpose, COMPANY, **{**stated, **changes}):
            self.service.book.record(event, now=NOW + 999)

    def run(self, at: int = NOW + 1000) -> Run:
        return opening.compute_on_platform(self.platform, CAMPAIGN, Question(at), now=at)

    def attested(self, run: Run) -> None:
        """The operator reads, the auditor signs, the ledger has it."""
        runs = opening.coverage_runs(self.platform.directory)
        runs.review(CAMPAIGN, run.name)
        said = attest_report(read_report(run.directory / REPORT), self.auditor)
        auditors = opening.auditor_keys(self.platform)
        runs.attest(said.to_bytes(), self.platform.ledger, auditors=auditors)

    def provide(self, at: int) -> None:
        """What publishing a score table does with consents."""
        with closing(ProvisionRecords.open(self.platform.directory)) as records:
            consents = Consents(self.service, records.write, lambda: at, lambda *_: None)
            live = consents.live(COMPANY, "2026", Purpose.SCORE)
            consents.provide(live, self.plan, company=COMPANY, season="2026", purpose=Purpose.SCORE)


@pytest.fixture
def site(tmp_path: Path, plan_body: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    platform = initialise(tmp_path / "platform", name="site", host="127.0.0.1", ports=(0, 0, 0, 0))
    auditor = SigningKey.generate()
    with (platform.directory / "config.toml").open("a", encoding="utf-8") as config:
        config.write(f'\n[[auditor]]\nname = "auditor-1"\nkey = "{auditor.public_key.hex()}"\n')
    platform = Platform(platform.directory)
    _enrol(platform)
    plan = CampaignPlan.from_body(plan_body)
    monkeypatch.setattr(Platform, "plan", lambda _, campaign: plan)
    notices = [notice_facts(COMPANY, POSITION)]
    policies = [activate_policy(platform, season=s, notices=notices, now=NOW) for s in ("2025", "2026")]
    shown = policies[1].screen(COMPANY, POSITION, Purpose.SCORE)
    graph = {**JOURNEYS, "nodes": [dict(node) for node in JOURNEYS["nodes"]]}
    graph["nodes"][1]["sha256"] = shown.sha256
    (platform.directory / "journeys.json").write_bytes(canonical_json.encode(graph))
    with consent_service(platform) as service:
        students = ConsentingStudents(platform.consent_key, now=NOW)
        yield Site(platform, auditor, plan, policies, students, service)
    for policy in policies:
        policy.close()


def _enrol(platform: Platform) -> None:
    """A company with keys and an agreement in the ledger."""
    key = SigningKey.generate()
    bodies = {
        EntryKind.ENROLMENT: {
            "company": COMPANY,
            "signing_key": key.public_key.hex(),
            "sealing_key": "11" * 32,
            "tls_key_sha256": "22" * 32,
            "node_key_sha256": "33" * 32,
        },
        EntryKind.AGREEMENT: {"company": COMPANY, "agreement_sha256": "44" * 32, "declared_size": 10},
    }
    for kind, body in bodies.items():
        platform.ledger.append_company_entry(parse_entry(sign_entry(kind, COMPANY, body, key)))


def consented(site: Site, count: int = 12) -> None:
    for number in range(count):
        student = site.students.student(f"student-{number}")
        site.gives(student, Purpose.TRAIN, "2025")
        site.gives(student, Purpose.SCORE, "2026")


def test_a_lawful_platform_is_clear_and_its_campaign_may_begin(site: Site) -> None:
    """Everybody whom the join takes is E1, every planted account is what it should be, the gate opens."""
    consented(site)
    run = site.run()
    body = run.report().body
    assert body["classes"]["E1"] == body["population"]["uses"] == 24
    assert body["reasons"] == []
    planted = {item["class"]: item for item in body["controls"]}
    assert set(planted) == {f"E{number}" for number in range(1, 9)}
    with pytest.raises(LocalProtocolError, match="NO_REPORT"):
        opening.require_clear(site.platform, CAMPAIGN, now=NOW + 1000)
    site.attested(run)
    opening.require_clear(site.platform, CAMPAIGN, now=NOW + 1001)


def test_planted_accounts_stay_in_the_copy(site: Site) -> None:
    """The platform's own book, its provisions and its directory have none of them afterwards."""
    consented(site, 1)
    before = {path.name for path in site.platform.directory.iterdir()}
    site.run()
    assert {path.name for path in site.platform.directory.iterdir()} - before <= {"coverage", "provisions.db"}
    live = site.service.book.live(COMPANY, "2026", Purpose.SCORE, now=NOW + 1000)
    assert [item.student for item in live] == ["student-0"]


def test_a_join_that_does_not_ask_is_found_out(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the real join took whoever ever gave a consent, the planted accounts and the people both show it."""
    consented(site, 2)
    late = site.students.student("late")
    site.gives(late, Purpose.SCORE, "2026")
    event = late.withdraws(
        Purpose.SCORE, COMPANY, position=POSITION, season="2026", policy=site.policies[1].policy
    )
    site.service.book.record(event, now=NOW + 999)
    assert site.run().report().reasons == ()
    monkeypatch.setattr("noren_server.consents.consent_book.ConsentBook.refusal_of", lambda *_, **__: None)
    report = site.run(NOW + 1001).report()
    assert report.body["classes"]["E8"] == 1
    assert {"WOULD_PROCESS_WITHOUT_VALID", "CONTROLS_IMPERFECT"} <= set(report.reasons)


def test_a_withdrawal_after_a_lawful_provision_blocks_nothing(site: Site) -> None:
    """Who was provided with consent and withdrew is counted as what she was then, and no more would be."""
    consented(site, 3)
    site.provide(NOW + 1000)
    student = site.students.student("student-0")
    event = student.withdraws(
        Purpose.SCORE,
        COMPANY,
        position=POSITION,
        season="2026",
        policy=site.policies[1].policy,
        time=NOW + 1001,
    )
    site.service.book.record(event, now=NOW + 1001)
    body = site.run(NOW + 1002).report().body
    assert body["reasons"] == []
    assert body["reconciliation"]["provisions"] == 3
    assert body["did_process_without_valid"] == 0
    phases = [cell["phase"] for cell in body["cells"]]
    assert "provided" in phases
    assert body["recipients"] == {"contracted": 1, "received": 1}


def test_an_attestation_counts_from_a_trusted_auditor_over_a_reviewed_report_only(site: Site) -> None:
    """Another's signature, a report nobody reviewed, one that is not here: nothing gets in the ledger."""
    consented(site, 1)
    run = site.run()
    runs = opening.coverage_runs(site.platform.directory)
    auditors = opening.auditor_keys(site.platform)
    said = attest_report(read_report(run.directory / REPORT), site.auditor).to_bytes()
    with pytest.raises(LocalProtocolError):  # not reviewed
        runs.attest(said, site.platform.ledger, auditors=auditors)
    runs.review(CAMPAIGN, run.name)
    other = attest_report(read_report(run.directory / REPORT), SigningKey.generate()).to_bytes()
    with pytest.raises(VerificationError):
        runs.attest(other, site.platform.ledger, auditors=auditors)
    assert not site.platform.ledger_store.entries(kind=EntryKind.COVERAGE)
    for _ in range(2):  # the second time changes nothing
        runs.attest(said, site.platform.ledger, auditors=auditors)
    assert len(site.platform.ledger_store.entries(kind=EntryKind.COVERAGE)) == 1
    with pytest.raises(LocalProtocolError):  # an attested run is not computed again
        site.run()


def test_no_report_is_about_a_time_to_come(site: Site) -> None:
    """It would be fresh for a day after a time at which nobody looked, and newer than a suspension."""
    consented(site, 1)
    with pytest.raises(DataError):
        opening.compute_on_platform(site.platform, CAMPAIGN, Question(NOW + 1001), now=NOW + 1000)
    assert opening.coverage_runs(site.platform.directory).runs(CAMPAIGN) == ()


def test_an_older_clear_report_does_not_replace_a_newer_blocked_one(site: Site) -> None:
    """Kept back until the blocked one is in the ledger, the clear one is refused, fresh as it is."""
    consented(site, 1)
    clear = site.run()
    journeys = {**JOURNEYS, "edges": [{"from": "site", "to": "scoring", "users": 3}]}
    (site.platform.directory / "journeys.json").write_bytes(canonical_json.encode(journeys))
    site.attested(site.run(NOW + 1100))
    with pytest.raises(LocalProtocolError) as refused:
        site.attested(clear)
    assert refused.value.code == "COVERAGE_STATE"
    said = attest_report(read_report(clear.directory / REPORT), site.auditor)
    site.platform.ledger.append_platform_entry(EntryKind.COVERAGE, said.to_entry_body())  # all the same
    with pytest.raises(LocalProtocolError, match="UNDOMINATED_PATHS"):
        opening.require_clear(site.platform, CAMPAIGN, now=NOW + 1101)


def test_a_changed_report_on_disk_is_no_report(site: Site) -> None:
    """The hash in the ledger is of what the auditor saw; whatever lies there now instead does not count."""
    consented(site, 1)
    run = site.run()
    site.attested(run)
    path = run.directory / REPORT
    path.write_bytes(path.read_bytes().replace(b'"left_out":', b'"left_out": '))
    with pytest.raises(LocalProtocolError, match="NO_REPORT"):
        opening.require_clear(site.platform, CAMPAIGN, now=NOW + 1001)


def test_a_new_policy_makes_the_report_stale(site: Site) -> None:
    """What it was judged by is compared at the gate, not what it says about itself."""
    consented(site, 1)
    run = site.run()
    site.attested(run)
    notices = [notice_facts(COMPANY, POSITION)]
    site.policies.append(activate_policy(site.platform, season="2027", notices=notices, now=NOW + 1001))
    with pytest.raises(LocalProtocolError, match="STALE"):
        opening.require_clear(site.platform, CAMPAIGN, now=NOW + 1002)
    runs = opening.coverage_runs(site.platform.directory)
    judged_by = opening.launch_gate(site.platform).facts(CAMPAIGN).judged_by
    runs.mark_stale(CAMPAIGN, judged_by, now=NOW + 1002)
    assert runs.run(CAMPAIGN, run.name).state is ReportState.STALE


def test_what_makes_tables_asks_service_and_coverage_for_every_row(site: Site) -> None:
    """Also a score table that the running service makes by itself: the way to rows leads through both."""
    consented(site, 1)
    cohort = {"company": COMPANY, "season": "2026", "purpose": Purpose.SCORE}
    with publication_consents(site.platform) as consents:
        with pytest.raises(LocalProtocolError) as refused:
            consents.provide([], site.plan, **cohort)
        assert refused.value.code == "LAUNCH_BLOCKED_COVERAGE"
        request = sign_request(
            scope=ServiceScope.COMPANY,
            name=COMPANY,
            state=ServiceStatus.SUSPENDED,
            reason="DRILL",
            at=unix_now(),
            key=site.platform.signing_key,
        )
        service_desk(site.platform).suspend(request)
        with pytest.raises(LocalProtocolError) as refused:
            consents.provide([], site.plan, **cohort)
        assert refused.value.code == "SERVICE_SUSPENDED"


def test_a_violation_suspends_a_campaign_that_has_begun(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its first table the gate is enough; after it, processing stops by itself."""
    consented(site, 1)
    (site.platform.directory / "journeys.json").write_bytes(
        canonical_json.encode({**JOURNEYS, "edges": [{"from": "site", "to": "scoring", "users": 3}]})
    )
    desk = service_desk(site.platform)
    assert "UNDOMINATED_PATHS" in site.run().report().reasons
    assert desk.is_running(campaign=CAMPAIGN)
    real = type(site.platform.ledger_store).entries

    def with_table(self: Any, *, kind: Any = None, **filters: Any) -> Any:
        return ["a table"] if kind is EntryKind.TABLE else real(self, kind=kind, **filters)

    monkeypatch.setattr(type(site.platform.ledger_store), "entries", with_table)
    site.run(NOW + 1001)
    assert not desk.is_running(campaign=CAMPAIGN)
