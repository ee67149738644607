"""A season of five small companies, made once by the real commands in process, and copies of it to break.

`prepared` is a season up to the point where training can begin; `finished` went on to its end. What students
and the auditor do (consents, acknowledged offers, attested coverage) is in `launched_platform`. Training
here is the platform's `campaign_rounds.run` against the companies' real `TrainingSessions`; only what
carries the bytes is ours, so that a test can lose, change or insert any message without waiting.
"""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from launched_platform import Launch, prepare_launch

from noren_audit.verification.trust import load_trust
from noren_audit.verification.verify import Verdict, verify_bundle
from noren_client import campaign_files, keystore
from noren_client.odometer import Odometer
from noren_client.training_session import TrainingSessions
from noren_core.errors import LocalProtocolError, NorenError
from noren_core.ledger.entries import EntryKind, SignedEntry
from noren_core.privacy import accounting
from noren_core.season import messages as m
from noren_core.season.plan import CampaignPlan
from noren_demo import generator
from noren_demo.generator import GeneratorOptions, generate_season
from noren_demo.parties import InProcess, Places, stopping
from noren_demo.people import POSITION, read_choices
from noren_demo.season_data import SeasonData, SeasonFiles
from noren_demo.students import Students
from noren_server import campaign_rounds
from noren_server.platform_files import Platform, trust_file

CAMPAIGN = "spring-2026"
ADMIN, DECIDER, FOLLOW_UP = "admin", "decider", "mentor"
ROUNDS = 3
# Offers in each season, by company.
OFFERS = {"akane": 50, "benten": 60, "chidori": 70, "daigo": 80, "enoki": 90}
CAMPAIGN_FILE = f"""
campaign = "{CAMPAIGN}"
train_seasons = ["season-2025"]
score_season = "season-2026"
rounds = {ROUNDS}
minimum_cohort = 4
deadline_seconds = 5
cooling_seconds = 0
[task]
name = "decline"
positive = ["declined"]
negative = ["accepted"]
excluded = []
"""

Handle = Callable[[m.Request], bytes]
Around = Callable[[str, m.Request, Handle], bytes | None]


def deliver(_company: str, request: m.Request, handle: Handle) -> bytes | None:
    """What an honest network does with a message."""
    return handle(request)


class DirectExchange:
    """Requests handed to the companies' sessions in this process, with something around each delivery.

    `around` gets company, request and the company's handler; what it returns is the reply, None is silence.
    """

    def __init__(self, company_dirs: Mapping[str, Path], around: Around = deliver) -> None:
        self._dirs = company_dirs
        self.around = around
        self.sessions = TrainingSessions()
        self.refusals: list[tuple[str, str]] = []

    def wait_for(self, companies: Collection[str], *, deadline_seconds: float) -> set[str]:
        del deadline_seconds
        return set(companies) & self._dirs.keys()

    def exchange(self, requests: Mapping[str, bytes], *, deadline_seconds: float) -> dict[str, bytes]:
        del deadline_seconds
        replies = {}
        for company, payload in requests.items():
            try:
                reply = self.around(
                    company, m.parse_request(payload), functools.partial(self.handle, company)
                )
            except NorenError as error:  # a ClientApp would answer with the constant error
                self.refusals.append((company, error.code))
                continue
            if reply is not None:
                replies[company] = reply
        return replies

    def handle(self, company: str, request: m.Request) -> bytes:
        """The company's own answer."""
        return self.sessions.handle(self._dirs[company], m.encode_request(request))


@dataclass
class SmallSeason:
    """The directories of one season's parties."""

    root: Path
    data: SeasonData
    files: SeasonFiles
    launch: Launch | None = None
    students: Students | None = None
    exchange: DirectExchange = field(init=False)

    def __post_init__(self) -> None:
        self.exchange = DirectExchange({name: self.company_dir(name) for name in self.companies})

    @property
    def places(self) -> Places:
        return Places(self.root)

    @property
    def companies(self) -> tuple[str, ...]:
        return tuple(sorted(OFFERS))

    @property
    def plan(self) -> CampaignPlan:
        return campaign_files.load_plan(self.company_dir("akane"), CAMPAIGN)

    def company_dir(self, company: str) -> Path:
        return self.places.company(company)

    def copy_to(self, root: Path) -> SmallSeason:
        """The same parties at the same point, in another place."""
        shutil.copytree(self.root, root, dirs_exist_ok=True)
        launch = None if self.launch is None else self.launch.at(Places(root).platform)
        return SmallSeason(root, self.data, self.files, launch, self.students)

    def score(self, parties: InProcess, *, campaign: str = CAMPAIGN) -> None:
        """Decisions sealed, offers acknowledged, coverage attested again; then every company's bands."""
        assert self.launch is not None
        assert self.students is not None
        for company in self.companies:
            parties.staff(company, DECIDER, "decisions", "seal", campaign, POSITION, "--as", DECIDER)
            events = self.root / f"acknowledged-{company}.jsonl"
            if self.students.write_acknowledgements(events, company, self.data.score_seasons[0]):
                self.launch.take_file(events)
            events.unlink()
        self.launch.attest(campaign)
        for company in self.companies:
            parties.company(company, "score", campaign)

    @contextmanager
    def platform(self) -> Iterator[Platform]:
        """The platform, opened."""
        platform = Platform(self.places.platform)
        try:
            yield platform
        finally:
            platform.store.close()
            platform.ledger_store.close()

    @contextmanager
    def serving(self) -> Iterator[InProcess]:
        """The platform's gRPC services running, and the parties' commands."""
        parties = InProcess(self.places)
        with stopping(parties):
            parties.serve()
            parties.start_companies(self.companies)
            yield parties

    def train(self, around: Around = deliver, *, campaign: str = CAMPAIGN) -> None:
        """All rounds, every message passing through `around`."""
        self.exchange.around = around
        campaign_rounds.run(self.places.platform, campaign, self.exchange)

    def restart_workers(self) -> None:
        """Every company's worker starts anew; what was in memory is gone."""
        self.exchange = DirectExchange({name: self.company_dir(name) for name in self.companies})

    def entries(self, kind: EntryKind, *, company: str | None = None) -> list[SignedEntry]:
        with self.platform() as platform:
            found = platform.ledger_store.entries(kind=kind, campaign=CAMPAIGN, company=company)
            return [stored.entry for stored in found]

    def settled_rounds(self, company: str) -> list[int]:
        return [entry.body["round"] for entry in self.entries(EntryKind.SETTLE, company=company)]

    def head(self, company: str, *, campaign: str = CAMPAIGN) -> tuple[int, ...] | None:
        """The released head in the company's directory."""
        try:
            return campaign_files.load_head(self.company_dir(company), campaign)
        except LocalProtocolError:
            return None

    def heads(self, *, campaign: str = CAMPAIGN) -> dict[str, tuple[int, ...] | None]:
        return {company: self.head(company, campaign=campaign) for company in self.companies}

    def rounds_spent(self, company: str) -> int:
        """According to the company's own odometer."""
        directory = self.company_dir(company)
        return Odometer(directory / "odometer.jsonl", keystore.load(directory).signing).rounds_reserved(
            CAMPAIGN
        )

    def progress(self) -> dict[str, Any]:
        with self.platform() as platform:
            return json.loads(platform.progress_path(CAMPAIGN).read_text())

    def export(self, bundle: Path) -> Path:
        with self.platform() as platform:
            platform.ledger_store.export(bundle)
        return bundle

    def audit(self) -> Verdict:
        """The auditor's verdict on everything so far."""
        bundle = self.root / "bundle"
        shutil.rmtree(bundle, ignore_errors=True)
        return self.verify(self.export(bundle))

    def verify(self, bundle: Path) -> Verdict:
        trust = self.root / "trust.toml"
        with self.platform() as platform:
            keys = [auditor.key.hex() for auditor in platform.config.auditors]
            trust.write_text(trust_file(platform) + f"auditor_keys = {json.dumps(keys)}\n")
        with _accounting_once():
            return verify_bundle(bundle, load_trust(trust))


@contextmanager
def _accounting_once() -> Iterator[None]:
    """Most audits here are of the same plan; the functions are pure, so each question is computed once."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("epsilon_pld", "epsilon_rdp", "epsilon_rows"):
            patch.setattr(accounting, name, _remembered(name, getattr(accounting, name)))
        yield


_KNOWN: dict[str, float] = {}


def _remembered(name: str, function: Callable[..., float]) -> Callable[..., float]:

    def remembered(*args: Any, **kwargs: Any) -> float:
        key = repr((name, args, sorted(kwargs.items())))
        if key not in _KNOWN:
            _KNOWN[key] = function(*args, **kwargs)
        return _KNOWN[key]

    return remembered


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> SmallSeason:
    """Enrolled companies that accepted a published plan and hold their training sets. Copy, do not use."""
    root = tmp_path_factory.mktemp("prepared")
    files = SeasonFiles(tmp_path_factory.mktemp("data"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generator, "COMPANIES", OFFERS)
        data = generate_season(files.root, GeneratorOptions(seed=11, unconsented=0.2))
    season = SmallSeason(root, data, files)
    parties = InProcess(season.places)
    with stopping(parties):
        parties.platform("init", "--name", "job-site")
        season.launch = prepare_launch(
            season.places.platform, companies=season.companies, season=data.score_seasons[0]
        )
        parties.serve()
        for company in data.companies:
            _enrol(season, parties, company.name, company.declared_size)
        parties.platform("ingest", "--events", str(files.events), "--seasons", str(files.description))
        season.students = season.launch.answering(read_choices(files.choices))
        events = root / "consents.jsonl"
        season.students.write_consents(events)
        season.launch.take_file(events)
        events.unlink()
        _publish(season, parties)
        for company in season.companies:
            parties.company(company, "accept", CAMPAIGN)
            parties.company(company, "prepare", CAMPAIGN)
    return season


def _enrol(season: SmallSeason, parties: InProcess, company: str, declared_size: int) -> None:
    season.company_dir(company).mkdir(parents=True)
    invitation = str(season.company_dir(company) / "invitation.json")
    parties.platform("invite", company, "--output", invitation)
    asked = parties.company(company, "enrol", invitation, "--declared-size", str(declared_size))
    parties.platform("approve", company, "--fingerprint", asked["fingerprint"])
    parties.company(company, "collect")
    parties.company(company, "import", str(season.files.applicants(company)))
    parties.staff(company, ADMIN, "staff", "add", ADMIN, "--roles", "company-admin")
    for member, role in ((DECIDER, "decider"), (FOLLOW_UP, "follow-up")):
        place = ("--position", POSITION, "--season", season.data.score_seasons[0])
        added = ("staff", "add", member, "--roles", role, *place, "--as", ADMIN)
        parties.staff(company, ADMIN, *added, adding=member)


def _publish(season: SmallSeason, parties: InProcess) -> None:
    assert season.launch is not None
    campaign_file = season.root / "campaign.toml"
    campaign_file.write_text(CAMPAIGN_FILE)
    parties.platform("campaign", "create", str(campaign_file))
    season.launch.attest(CAMPAIGN)
    parties.platform("campaign", "publish", CAMPAIGN)


@pytest.fixture
def season(prepared: SmallSeason, tmp_path: Path) -> SmallSeason:
    """A copy of the prepared season, for one test."""
    return prepared.copy_to(tmp_path / "season")


@pytest.fixture(scope="session")
def finished(prepared: SmallSeason, tmp_path_factory: pytest.TempPathFactory) -> SmallSeason:
    """A season at its end: trained on the in-process grid and scored. Do not change."""
    season = prepared.copy_to(tmp_path_factory.mktemp("finished"))
    with season.serving() as parties:
        progress = parties.train(CAMPAIGN)
        assert progress["state"] == "finished"
        season.score(parties)
    return season
