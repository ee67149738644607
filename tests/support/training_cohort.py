"""Five companies and a platform that train in memory: real sessions, a real run, one ledger, made-up tables.

What a sealed table would have given is put in the companies' directories, and revocation lists are made here
from the tags that a test revokes; everything else is what runs in a season.
"""

from __future__ import annotations

import functools
import hashlib
import shutil
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from noren_audit.replay import replay_file
from noren_audit.replay.replay import ReplayResult, replay
from noren_audit.replay.replay_ledger import campaign_facts
from noren_audit.verification.trust import load_trust
from noren_client import campaign_files, config, keystore, mechanism, replay_data
from noren_client.config import Addresses, CompanyConfig, Limits, parse_pins
from noren_client.ledger_watch import LedgerWatch
from noren_client.odometer import Odometer
from noren_client.opened_sums import OpenedSums
from noren_client.training_session import TrainingSession, TrainingSessions
from noren_client.training_set import TrainingSet
from noren_core import canonical_json
from noren_core.crypto.revocation_list import RevocationList
from noren_core.crypto.sealed_table import TableContext, TableManifest
from noren_core.errors import NorenError
from noren_core.ids import TableKind
from noren_core.ledger import entries
from noren_core.ledger.entries import EntryKind, SignedEntry
from noren_core.season import messages as m
from noren_core.season.head import row_scale
from noren_core.season.plan import CampaignPlan, TrainingMode
from noren_server import platform_files
from noren_server.campaign_rounds import CampaignRun, Progress
from noren_server.round_control import RoundControl

COMPANIES = tuple(f"company-{number}" for number in range(1, 6))
ROWS = 12

Handle = Callable[[m.Request], bytes]
Around = Callable[[str, m.Request, Handle], bytes | None]


def digest(*words: object) -> bytes:
    return hashlib.sha256(" ".join(map(str, words)).encode()).digest()


def table_id(company: str) -> bytes:
    return digest("table", company)[:16]


def tags_of(company: str) -> tuple[bytes, ...]:
    return tuple(sorted(digest("row", company, number)[:16] for number in range(ROWS)))


def training_set(company: str, dimensions: int) -> TrainingSet:
    """Rows that differ from each other and from every other company's."""
    values = np.frombuffer(
        b"".join(digest("values", company, number) for number in range(ROWS * dimensions)), "<i2"
    )
    return TrainingSet(
        tags=tags_of(company),
        rows=values[:: len(values) // (ROWS * dimensions)][: ROWS * dimensions].reshape(ROWS, dimensions)
        // 4,
        labels=np.arange(ROWS, dtype=np.int8) % 2,
        table_id=table_id(company),
    )


@dataclass
class Lists:
    """The platform's revocation lists, which only grow."""

    signing_key: Any
    revoked: dict[str, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    sequences: dict[str, int] = field(default_factory=lambda: defaultdict(lambda: 1))

    def revoke(self, company: str, *rows: int) -> None:
        """As many students withdraw; rows are counted in ascending order of tags."""
        self.revoked[company] |= {tags_of(company)[row] for row in rows}
        self.sequences[company] += 1

    def newest(self, company: str) -> tuple[bytes, bytes]:
        dummies = [digest("dummy", company, number)[:16] for number in range(64)]
        listed = RevocationList.padded(
            self.revoked[company],
            table_id=table_id(company),
            sequence=self.sequences[company],
            dummy_tags=dummies,
        )
        return listed.to_bytes(), listed.sign(self.signing_key)


@dataclass
class TrainingCohort:
    """One campaign of five companies that accepted its plan and hold their training sets.

    Attributes:
        computed: every call of a company's mechanism: how many rows, the rows, and what was sent.
        refusals: what companies refused, with the code.
    """

    root: Path
    plan: CampaignPlan
    platform: platform_files.Platform
    lists: Lists
    around: Around = lambda _company, request, handle: handle(request)
    computed: list[tuple[str, int, NDArray[np.float64], NDArray[np.int64]]] = field(default_factory=list)
    refusals: list[tuple[str, str]] = field(default_factory=list)
    sizes: dict[tuple[str, str, int], tuple[int, int]] = field(default_factory=dict)
    suspended: set[str] = field(default_factory=set)
    _answering: tuple[str, int] = ("", 0)

    def __post_init__(self) -> None:
        self.workers = {company: TrainingSessions(clock=lambda: 1_800_000_000) for company in COMPANIES}

    def directory(self, company: str) -> Path:
        return self.root / company

    # The network

    def wait_for(self, companies: Collection[str], *, deadline_seconds: float) -> set[str]:
        del deadline_seconds
        return set(companies)

    def exchange(self, requests: Mapping[str, bytes], *, deadline_seconds: float) -> dict[str, bytes]:
        del deadline_seconds
        replies = {}
        for company, payload in requests.items():
            request = m.parse_request(payload)
            number = getattr(request, "round_number", 0)
            self._answering = (company, number)
            try:
                reply = self.around(company, request, functools.partial(self.handle, company))
            except NorenError as error:
                self.refusals.append((company, error.code))
                continue
            if reply is not None:
                replies[company] = reply
                self.sizes[company, type(request).__name__, number] = (len(payload), len(reply))
        return replies

    def handle(self, company: str, request: m.Request) -> bytes:
        return self.workers[company].handle(self.directory(company), m.encode_request(request))

    def train(self, around: Around | None = None, control: RoundControl | None = None) -> None:
        """All rounds."""
        self.around = around or self.around
        CampaignRun(
            self.plan,
            signing_keys=self.platform.signing_keys(COMPANIES),
            admitted=lambda: tuple(company for company in COMPANIES if company not in self.suspended),
            ledger=self.platform.ledger,
            exchange=self,
            progress=Progress(self.root / "progress.json", self.plan.training.rounds),
            newest_revocations=self.lists.newest,
            control=control or RoundControl(self.platform.store, self.plan),
        ).run()

    def session(self, company: str) -> TrainingSession:
        """The company's own, which its first message has begun."""
        return self.workers[company]._sessions[self.directory(company), self.plan.campaign]

    # What came of it

    def note(self, rows: NDArray[np.float64], update: NDArray[np.int64]) -> None:
        """One company's mechanism was called."""
        self.computed.append((*self._answering, rows, update))

    def rows_used(self, company: str, round_number: int) -> list[list[float]]:
        """The rows of which a company computed its gradient of a round."""
        (found,) = [
            rows for name, number, rows, _ in self.computed if (name, number) == (company, round_number)
        ]
        return found.tolist()

    def rows(self, company: str, *, without: tuple[int, ...] = ()) -> list[list[float]]:
        """A company's rows as the mechanism is given them, but for these."""
        values = training_set(company, self.plan.rows.dimensions).rows
        scaled = (values.astype(np.float64) / row_scale(self.plan.rows)).tolist()
        return [row for number, row in enumerate(scaled) if number not in without]

    def update(self, company: str, round_number: int) -> NDArray[np.int64]:
        """What a company's mechanism gave in a round, before blind and masks."""
        (found,) = [
            sent for name, number, _, sent in self.computed if (name, number) == (company, round_number)
        ]
        return found

    def gradient(self, company: str, round_number: int) -> list[int]:
        """The sum of a round without blinds, as a company keeps it."""
        return self.replay_body(company)["rounds"][round_number - 1]["gradient"]

    def entries(self, kind: EntryKind, *, company: str | None = None) -> list[SignedEntry]:
        found = self.platform.ledger_store.entries(kind=kind, campaign=self.plan.campaign, company=company)
        return [stored.entry for stored in found]

    def survivors(self) -> dict[int, list[str]]:
        return {entry.body["round"]: entry.body["survivors"] for entry in self.entries(EntryKind.SETTLE)}

    def rounds_spent(self, company: str) -> int:
        return Odometer.open(self.directory(company)).rounds_reserved(self.plan.campaign)

    def head(self, company: str) -> tuple[int, ...]:
        return campaign_files.load_head(self.directory(company), self.plan.campaign)

    def replay_body(self, company: str) -> dict[str, Any]:
        return canonical_json.parse_object(replay_data.export(self.directory(company), self.plan.campaign))

    def replayed(self, company: str, body: dict[str, Any] | None = None) -> ReplayResult:
        """What an auditor finds on the company's machine, against the ledger as it is."""
        bundle, trust = self.root / "bundle", self.root / "trust.toml"
        shutil.rmtree(bundle, ignore_errors=True)
        self.platform.ledger_store.export(bundle)
        trust.write_text(platform_files.trust_file(self.platform))
        checkpoint = self.platform.ledger.keys().open_checkpoint(self.platform.ledger_store.checkpoint())
        facts = campaign_facts(bundle, load_trust(trust), self.plan.campaign, root=checkpoint.root)
        shown = canonical_json.encode(self.replay_body(company) if body is None else body)
        return replay(replay_file.parse(shown), facts)


@contextmanager
def training_cohort(root: Path, plan: CampaignPlan, patch: pytest.MonkeyPatch) -> Iterator[TrainingCohort]:
    """Set-up; `patch` lets the mechanism be observed."""
    platform = platform_files.initialise(
        root / "platform", name="job-site", host="127.0.0.1", ports=(0, 0, 0, 0)
    )
    cohort = TrainingCohort(root, plan, platform, Lists(platform.signing_key))
    for company in COMPANIES:
        _enrol(cohort, company)
    platform.ledger.append_platform_entry(EntryKind.PLAN, plan.to_body())
    for company in COMPANIES:
        _prepare(cohort, company)
    original = mechanism.noised_update

    def observed(rows: NDArray[np.float64], *arguments: Any, **named: Any) -> NDArray[np.int64]:
        update = original(rows, *arguments, **named)
        cohort.note(rows.copy(), update.copy())
        return update

    patch.setattr(mechanism, "noised_update", observed)
    yield cohort
    platform.store.close()
    platform.ledger_store.close()


def _enrol(cohort: TrainingCohort, company: str) -> None:
    directory, platform = cohort.directory(company), cohort.platform
    directory.mkdir()
    pins = parse_pins(
        cohort.plan.bundle_sha256,
        platform.log_verifier_key.to_text(),
        platform.signing_key.public_key.hex(),
    )
    addresses = Addresses("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3")
    settings = CompanyConfig(company, "job-site", addresses, pins, Limits())
    (directory / config.FILE_NAME).write_bytes(config.to_toml(settings))
    keystore.create_missing(directory)
    keys = keystore.load(directory)
    body = {
        "company": company,
        "signing_key": keys.signing.public_key.hex(),
        "sealing_key": keys.sealing.public_key.hex(),
        "tls_key_sha256": digest("tls", company).hex(),
        "node_key_sha256": digest("node", company).hex(),
    }
    say(cohort, company, EntryKind.ENROLMENT, body)


def _prepare(cohort: TrainingCohort, company: str) -> None:
    plan, directory, platform = cohort.plan, cohort.directory(company), cohort.platform
    where = {"campaign": plan.campaign, "company": company}
    say(cohort, company, EntryKind.PLAN_ACCEPTANCE, {**where, "plan_sha256": plan.digest().hex()})
    epoch = platform.ledger.append_platform_entry(
        EntryKind.CONSENT_EPOCH, {**where, "kind": TableKind.TRAIN.value, "root": digest("epoch").hex()}
    )
    manifest = TableManifest(
        context=TableContext(
            company=company, campaign=plan.campaign, kind=TableKind.TRAIN, table_id=table_id(company)
        ),
        padded_rows=128,
        payload_bytes=plan.training_payload_bytes,
        chunk_rows=128,
        root=bytes(32),
    )
    platform.ledger.append_platform_entry(
        EntryKind.TABLE, {**where, "consent_epoch": epoch, "manifest": manifest.to_body()}
    )
    campaign_files.save_plan(directory, plan)
    signing = platform.signing_keys(COMPANIES)
    campaign_files.save_roster(directory, plan.campaign, signing=signing, sealing=signing)
    if plan.mode is TrainingMode.NOISED_ROWS:
        rows = training_set(company, plan.rows.dimensions)
        campaign_files.save_training_set(directory, plan.campaign, rows)
    else:
        sums = OpenedSums(tuple(range(plan.release.dimensions)))
        campaign_files.save_sums(directory, plan.campaign, sums)
    proof = platform.ledger.prove(known_tree_size=0, indices=range(platform.ledger_store.size))
    LedgerWatch(directory).accept(proof)


def say(cohort: TrainingCohort, company: str, kind: EntryKind, body: dict[str, Any]) -> int:
    """An entry of a company, as the platform takes it."""
    key = keystore.load(cohort.directory(company)).signing
    return cohort.platform.ledger.append_company_entry(
        entries.parse_entry(entries.sign_entry(kind, company, body, key))
    )
