"""Noren's own platform, running: the real services on loopback, enrolled companies, tables, a live ledger.

What the attacks of this folder that need a service are tried on. A season is made once in a process and
copied for each attack. Feature values are whitened and so large that int8 loses nothing worth having.
"""

from __future__ import annotations

import atexit
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from noren_client import alignment, campaign_files, enrolment, keystore
from noren_client.ledger_watch import LedgerWatch
from noren_client.table_reading import Aligner
from noren_client.transport import PlatformClient
from noren_core.crypto.sealed_table import TableManifest
from noren_core.ids import IdentifierKind, Purpose, TableKind, normalise_identifier
from noren_core.ledger.entries import EntryKind, sign_entry
from noren_core.season.head_message import commitment_body
from noren_core.season.plan import CampaignPlan
from noren_server import platform_files
from noren_server.consents import COLUMNS
from noren_server.services import grpc_services
from noren_server.tables import TablePublisher

CAMPAIGN = "spring-2026"
ATTACKER = "alpha"
COMPANIES = ("alpha", "bravo", "charlie")
DIMENSIONS = 16
BATCH = 64
EVALUATIONS = 128
BUILD_SECONDS = 20
STUDENTS = 120
"""Members of the platform: the first half consented to the attacker, of the rest some to bravo."""
CONSENTING = {"alpha": range(60), "bravo": range(60, 80), "charlie": range(0)}


def address(number: int) -> str:
    """What a member is looked up by; numbers beyond `STUDENTS` are nobody's."""
    return f"student{number}@example.org"


def identifier(number: int) -> bytes:
    """The same, normalised."""
    return normalise_identifier(IdentifierKind.EMAIL, address(number))


@cache
def features() -> npt.NDArray[np.int8]:
    """Every member's whitened features, int8."""
    values = np.random.default_rng(7).normal(0, 30, (STUDENTS, DIMENSIONS))
    return np.clip(np.rint(values), -128, 127).astype(np.int8)


def plan(campaign: str = CAMPAIGN) -> CampaignPlan:
    """A campaign of the three companies; every campaign scores the same season."""
    cohort = [{"company": c, "padded_batch": BATCH, "evaluations": EVALUATIONS} for c in COMPANIES]
    body: dict[str, Any] = {
        "campaign": campaign,
        "task": {"name": "decline", "positive": ["declined"], "negative": ["accepted"], "excluded": []},
        "mode": "noised-rows",
        "train_seasons": ["2025"],
        "score_season": "2026",
        "cohort": cohort,
        "minimum_cohort": 3,
        "threshold": 3,
        "unit": "one person's deduplicated record at one company in one campaign",
        "adjacency": "add_remove",
        "training": {
            "rounds": 1,
            "learning_rate": "2",
            "weight_decay": "0.001",
            "average_from": 1,
            "clipping_norm": "2",
            "grid": 65536,
            "noise_multiplier": "8.5",
            "placement": "local",
            "tolerated": 0,
            "sentinels": 0,
            "prior": [0] * (DIMENSIONS + 1),
            "sampling": {"num": 1, "den": 1},
            "normaliser": 300,
            "epsilon": "1",
            "delta": "0.000001",
            "deadline_seconds": 30,
        },
        "rows": {
            "dimensions": DIMENSIONS,
            "clip": "2.5",
            "scale": 512,
            "variance": 4000000,
            "epsilon": "8",
            "delta": "0.000001",
        },
        "person": {"companies": 1, "campaigns": 3, "epsilon": "4", "delta": "0.000001"},
        "witnesses": {"keys": [], "quorum": 0},
        "scoring": {"heads": 1, "weight_bits": 8, "band_edges": ["0.2", "0.4"]},
        "gate": {"cooling_seconds": 0, "batches": 4, "minimum_batch": 1, "score_seconds": 2_592_000},
        "bundle_sha256": platform_files.bundle_sha256(),
    }
    return CampaignPlan.from_body(body)


class RunningPlatform:
    """The platform with its services up, and what a company's machine may do to it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._start()

    def company(self, name: str) -> Path:
        """The company's directory."""
        return self.root / name

    def stop(self) -> None:
        """End the services and close the stores."""
        self._services.close()
        self.platform.store.close()
        self.platform.ledger_store.close()

    def restart(self, *, losing: Sequence[str] = ()) -> None:
        """Stop, run these SQL statements on the database, and start again."""
        self.stop()
        with closing(sqlite3.connect(self.root / "platform" / "platform.db")) as database, database:
            for statement in losing:
                database.execute(statement)
        self._start()

    def publish(self, campaign: CampaignPlan) -> None:
        """A campaign and its training tables."""
        self.platform.ledger.append_platform_entry(EntryKind.PLAN, campaign.to_body())
        with self.platform.store.transaction() as transaction:
            transaction.add_campaign(campaign)
        # Embeddings of everybody: who may be scored for whom is for the consents to say.
        everybody = np.array([str(number) for number in range(STUDENTS)], dtype=np.str_)
        for company in COMPANIES:
            path = self.platform.directory / "embeddings" / campaign.campaign / f"{company}-score.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, students=everybody, values=features())
        self.publish_tables(campaign, features())

    def publish_tables(self, campaign: CampaignPlan, values: npt.NDArray[np.int8]) -> None:
        """The training tables that are not out yet, with these values as every member's row."""
        rows = {
            company: [(identifier(n), values[n].astype("<i2").tobytes()) for n in numbers]
            for company, numbers in CONSENTING.items()
        }
        self._publisher.publish_training_tables(campaign, rows)

    def table_rows(self, campaign: CampaignPlan, kind: TableKind) -> list[bytes]:
        """The attacker's sealed table as it is served, row by row."""
        with PlatformClient(self.company(ATTACKER)) as client:
            parts = client.fetch_table(campaign.campaign, kind, first_chunk=0)
            data = b"".join(part.chunk for part in parts)
        width = self.manifest(campaign, kind).row_bytes
        return [data[start : start + width] for start in range(0, len(data), width)]

    def manifest(self, campaign: CampaignPlan, kind: TableKind) -> TableManifest:
        """What the ledger says about the attacker's table."""
        with self.platform.store.transaction() as transaction:
            table = transaction.table(campaign.campaign, ATTACKER, kind)
        if table is None:
            raise LookupError("expected a published table")
        return table.manifest

    def public_key(self, campaign: CampaignPlan) -> bytes:
        """The key that the ledger shows for the attacker's evaluations."""
        [found] = self.platform.ledger_store.entries(
            kind=EntryKind.OPRF_KEY, campaign=campaign.campaign, company=ATTACKER
        )
        return bytes.fromhex(found.entry.body["public_key"])

    def submit_head(self, campaign: CampaignPlan, message: bytes, company: str = ATTACKER) -> None:
        """Send any bytes as a head, with a commitment to them that the company signed."""
        directory = self.company(company)
        keys, watch = keystore.load(directory), LedgerWatch(directory)
        body = commitment_body(campaign, company, message)
        entry = sign_entry(EntryKind.HEAD_COMMITMENT, company, body, keys.signing)
        with PlatformClient(directory) as client:
            client.submit_head(campaign.campaign, message, entry, known_tree_size=watch.known_tree_size)

    def wait_for_scores(self, campaign: CampaignPlan) -> None:
        """Until the score table of the attacker's head is built."""
        keep_waiting = _until(BUILD_SECONDS)
        while self._publisher.table(campaign.campaign, ATTACKER, TableKind.SCORE) is None:
            if not keep_waiting():
                raise TimeoutError("expected a score table")

    def open_rows(
        self, campaign: CampaignPlan, kind: TableKind, payload_bytes: int, numbers: Sequence[int]
    ) -> dict[int, bytes]:
        """What the attacker's own client opens of these members' rows, waiting until a table is built."""
        directory = self.company(ATTACKER)
        with PlatformClient(directory) as client:
            aligner = Aligner(directory, campaign_files.load_plan(directory, campaign.campaign), client)
            opened = aligner.open_rows(
                kind,
                [identifier(n) for n in numbers],
                payload_bytes=payload_bytes,
                keep_waiting=_until(BUILD_SECONDS),
            )
        return {n: opened[identifier(n)].payload for n in numbers if identifier(n) in opened}

    def accept(self, campaign: CampaignPlan, company: str = ATTACKER) -> None:
        """The company's own client accepts a campaign."""
        alignment.accept_plan(self.company(company), campaign.campaign)

    def enrol(self, company: str) -> None:
        """The whole enrolment of one company."""
        invitation = self.root / f"{company}.invitation"
        invitation.write_bytes(self.platform.enrolment.invite(company).content)
        fingerprint = enrolment.enrol(invitation, self.company(company), 40)
        self.platform.enrolment.approve(company, fingerprint)
        enrolment.collect(self.company(company))

    def _start(self) -> None:
        self.platform = platform_files.Platform(self.root / "platform")
        self._publisher = TablePublisher(
            self.platform.store, self.platform.ledger, self.platform.directory / "tables"
        )
        self._services = ExitStack()
        self._services.enter_context(grpc_services(self.platform))


def _until(seconds: float) -> Callable[[], bool]:
    """Waits a little, as a client does while the table is being built; False once the time is over."""
    end = time.monotonic() + seconds

    def keep_waiting() -> bool:
        time.sleep(0.02)
        return time.monotonic() < end

    return keep_waiting


@contextmanager
def running_platform() -> Iterator[RunningPlatform]:
    """A copy of the season: one published campaign, which the attacker has accepted."""
    with tempfile.TemporaryDirectory(prefix="noren-attack-") as directory:
        shutil.copytree(_template(), directory, dirs_exist_ok=True)
        running = RunningPlatform(Path(directory))
        try:
            yield running
        finally:
            running.stop()


@cache
def _template() -> Path:
    directory = tempfile.TemporaryDirectory(prefix="noren-attacks-")
    atexit.register(directory.cleanup)
    root = Path(directory.name)
    platform_files.initialise(root / "platform", name="job-site", host="127.0.0.1", ports=(0, 0, 0, 0))
    _write_consents(root / "platform" / "logs")
    season = RunningPlatform(root)
    try:
        for company in COMPANIES:
            season.enrol(company)
        season.publish(plan())
        season.accept(plan())
    finally:
        season.stop()
    return root


def _write_consents(directory: Path) -> None:
    """Everybody's consents, for both purposes, in the platform's own file."""
    rows = [
        f"{number},{company},{season},{purpose},email,{address(number)},live"
        for company, numbers in CONSENTING.items()
        for number in numbers
        for season, purpose in (("2025", Purpose.TRAIN), ("2026", Purpose.SCORE))
    ]
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "consents.csv").write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")
