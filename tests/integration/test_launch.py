"""From an empty platform to training tables: nothing begins before everybody did her part."""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from launched_platform import Launch, prepare_launch

from noren_audit.verification.trust import load_trust
from noren_audit.verification.verify import verify_bundle
from noren_core.crypto.identity import SigningKey
from noren_core.errors import LocalProtocolError
from noren_core.ledger.entries import EntryKind, ServiceScope, ServiceStatus, parse_entry, sign_entry
from noren_core.rights.purposes import Purpose
from noren_core.rights.service.service_state import sign_request
from noren_demo import generator
from noren_demo.generator import GeneratorOptions, generate_season
from noren_demo.people import Choice, StudentChoice, read_choices
from noren_demo.season_data import SeasonFiles
from noren_demo.students import Students
from noren_server import behaviour_data, campaigns, platform_files
from noren_server.campaigns import PlanChoices
from noren_server.consents.opening import unix_now
from noren_server.platform_files import Platform
from noren_server.publication import training_company
from noren_server.rights.opening import provision_records
from noren_server.rights.service_states import service_desk
from noren_server.store import EnrolmentRecord

CAMPAIGN, PAST, CURRENT = "spring-2026", "season-2025", "season-2026"
OFFERS = {"akane": 20, "benten": 25, "chidori": 30}


@dataclass(frozen=True)
class Site:
    """A platform with logs, approved companies, a policy in force and a plan; nobody has been asked yet."""

    files: SeasonFiles
    launch: Launch

    def copy_to(self, root: Path) -> Site:
        shutil.copytree(self.launch.directory, root / "platform")
        return replace(self, launch=self.launch.at(root / "platform"))

    def consent(self) -> Students:
        """Everybody answers as choices.csv says, on her own device."""
        path = self.launch.directory / "events.jsonl"
        students = self.launch.answering(read_choices(self.files.choices))
        students.write_consents(path)
        self.launch.take_file(path)
        return students

    def training(self) -> list[StudentChoice]:
        """Who gave consent to training and did not take it back."""
        wanted = (PAST, Purpose.TRAIN, Choice.GIVES)
        choices = read_choices(self.files.choices)
        return [each for each in choices if (each.season, each.purpose, each.choice) == wanted]

    def assigned(self, choices: Sequence[StudentChoice]) -> set[tuple[str, str]]:
        """Each of these students and the company at which she trains."""
        given: dict[str, list[str]] = {}
        for choice in choices:
            given.setdefault(choice.student, []).append(choice.company)
        with self.launch.opened() as platform:
            key = platform.assignment_key
        return {
            (student, training_company(student, sorted(names), campaign=CAMPAIGN, key=key))
            for student, names in given.items()
        }

    def tables(self) -> set[str]:
        """Companies with a training table in the ledger."""
        with self.launch.opened() as platform:
            found = platform.ledger_store.entries(kind=EntryKind.TABLE, campaign=CAMPAIGN)
            return {stored.entry.body["company"] for stored in found}

    def provided(self) -> set[tuple[str, str]]:
        """Student and company of every row that left."""
        with self.launch.opened() as platform, provision_records(platform) as records:
            return {(item.student, item.company) for item in records.records()}

    def suspend(self) -> None:
        """The operator stops everything."""
        with self.launch.opened() as platform:
            request = sign_request(
                scope=ServiceScope.GLOBAL,
                name="",
                state=ServiceStatus.SUSPENDED,
                reason="DRILL",
                at=unix_now(),
                key=platform.signing_key,
            )
            service_desk(platform).suspend(request)

    def refusal(self) -> str:
        """The code with which publishing is refused; no table and no embedding came of it."""
        with pytest.raises(LocalProtocolError) as refused:
            self.launch.publish(CAMPAIGN)
        assert not self.tables()
        assert not self.provided()
        assert not list((self.launch.directory / "embeddings").glob("**/*"))
        return refused.value.code


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Made once."""
    root, files = tmp_path_factory.mktemp("launch"), SeasonFiles(tmp_path_factory.mktemp("data"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generator, "COMPANIES", OFFERS)
        generate_season(files.root, GeneratorOptions(seed=5, unconsented=0.2))
    directory = root / "platform"
    platform = platform_files.initialise(directory, name="job-site", host="127.0.0.1", ports=(0, 0, 0, 0))
    for company in OFFERS:
        _approve(platform, company)
    behaviour_data.ingest(directory / "logs", events=files.events, seasons=files.description)
    choices = PlanChoices(
        CAMPAIGN,
        {"name": "decline", "positive": ["declined"], "negative": ["accepted"], "excluded": []},
        (PAST,),
        CURRENT,
        minimum_cohort=3,
    )
    campaigns.publish_plan(platform, choices, list(OFFERS))
    platform.store.close()
    platform.ledger_store.close()
    return Site(files, prepare_launch(directory, companies=tuple(OFFERS), season=CURRENT))


def _approve(platform: Platform, company: str) -> None:
    """A company with keys and an agreement that nobody uses here."""
    key, node = SigningKey.generate(), secrets.token_bytes(32)
    names = ("sealing_key", "tls_key_sha256", "node_key_sha256")
    enrolment = {
        "company": company,
        "signing_key": key.public_key.hex(),
        **{name: secrets.token_hex(32) for name in names},
    }
    agreement = {"company": company, "agreement_sha256": secrets.token_hex(32), "declared_size": 50}
    entries = [
        sign_entry(EntryKind.ENROLMENT, company, enrolment, key),
        sign_entry(EntryKind.AGREEMENT, company, agreement, key),
    ]
    with platform.store.transaction() as transaction:
        transaction.add_company(EnrolmentRecord(company, key.public_key, node, 50, b"", node, *entries))
        transaction.approve_company(company, certificate=b"", sha256=hashlib.sha256(node).digest())
    for entry in entries:
        platform.ledger.append_company_entry(parse_entry(entry))


@pytest.fixture
def site(template: Site, tmp_path: Path) -> Site:
    """A copy for one test."""
    return template.copy_to(tmp_path)


def test_who_consented_trains_and_nobody_else(site: Site) -> None:
    """After everybody's part: one provision for each student who gave and did not take back, at one."""
    site.consent()
    site.launch.attest(CAMPAIGN)
    site.launch.publish(CAMPAIGN)
    assert site.provided() == site.assigned(site.training())
    assert site.tables() == set(OFFERS)


def test_an_auditor_finds_nothing_wrong_with_a_launch(site: Site, tmp_path: Path) -> None:
    """In this order the ledger says what the policy is, that coverage was attested, which tables exist."""
    site.consent()
    site.launch.attest(CAMPAIGN)
    site.launch.publish(CAMPAIGN)
    with site.launch.opened() as platform:
        platform.ledger_store.export(tmp_path / "bundle")
        trust = platform_files.trust_file(platform)
    auditors = f'auditor_keys = ["{site.launch.auditor.public_key.hex()}"]\n'
    (tmp_path / "trust.toml").write_text(trust + auditors)
    assert verify_bundle(tmp_path / "bundle", load_trust(tmp_path / "trust.toml")).findings == ()


def test_nothing_is_made_before_coverage_is_attested(site: Site) -> None:
    """Consents are there and count; without an auditor's signature nothing is computed of anybody."""
    site.consent()
    assert site.refusal() == "LAUNCH_BLOCKED_COVERAGE"


def test_nothing_is_made_for_a_suspended_service(site: Site) -> None:
    """Clear coverage does not help: what was stopped stays stopped."""
    site.consent()
    site.launch.attest(CAMPAIGN)
    site.suspend()
    assert site.refusal() == "SERVICE_SUSPENDED"


def test_a_withdrawal_after_the_attestation_is_no_obstacle_and_no_row(site: Site) -> None:
    """Who withdraws between report and publication has no row, and the others have theirs."""
    students, (leaver, *_) = site.consent(), site.training()
    site.launch.attest(CAMPAIGN)
    site.launch.take([students.withdrawal(leaver)])
    site.launch.publish(CAMPAIGN)
    assert site.provided() == site.assigned([each for each in site.training() if each != leaver])
