"""Noren's own platform, running: the real services on loopback, enrolled companies, tables, a live ledger.

What the attacks of this folder that need a service are tried on. A season is made once in a process and
copied for each attack. Feature values are whitened and so large that int8 loses nothing worth having.
"""

from __future__ import annotations

import atexit
import hashlib
import secrets
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from platform_services import rights_parts

from noren_client import alignment, enrolment, keystore
from noren_client.ledger_watch import LedgerWatch
from noren_client.transport import PlatformClient, TablePart
from noren_core.crypto import oprf
from noren_core.crypto.sealed_table import TableManifest, TableReader
from noren_core.ids import DUMMY_BYTES, DUMMY_LABEL, IdentifierKind, TableKind, normalise_identifier
from noren_core.ledger.entries import EntryKind, sign_entry
from noren_core.rights.gate.decision_batch import evaluation_sha256
from noren_core.season.head_message import commitment_body
from noren_core.season.plan import CampaignPlan
from noren_core.season.score_payload import parse_score_payload
from noren_server import platform_files
from noren_server.company_keys import KeyDesk
from noren_server.enrolment import utc_now
from noren_server.gate import Gate
from noren_server.grpc_service import PlatformParts, serve
from noren_server.revocation import Revocations
from noren_server.sealed_scoring import ScoreRows, SealedScoring
from noren_server.sealed_statistics import SealedStatistics
from noren_server.tables import TablePublisher

CAMPAIGN, POSITION = "spring-2026", "clerk"
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
    return normalise_identifier(IdentifierKind.EMAIL, address(number), POSITION)


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
        self._services.stop(grace_seconds=0)
        self._rights.close()
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

    def public_key(self, campaign: CampaignPlan, kind: TableKind) -> bytes:
        """The key that the ledger shows for the attacker's evaluations for this kind of table."""
        shown = self.platform.ledger_store.entries(
            kind=EntryKind.OPRF_KEY, campaign=campaign.campaign, company=ATTACKER
        )
        [found] = [item.entry.body for item in shown if item.entry.body["kind"] == kind]
        return bytes.fromhex(found["public_key"])

    def pass_gate(self, campaign: CampaignPlan, numbers: Sequence[int]) -> dict[int, bytes]:
        """What the attacker gets evaluated for scoring by calling all of these an offer, in one batch.

        Raises:
            NorenError: if the platform refuses the batch or its evaluation.
        """
        inputs = [identifier(number) for number in numbers]
        dummies = [DUMMY_LABEL + secrets.token_bytes(DUMMY_BYTES) for _ in range(BATCH - len(inputs))]
        blinding = oprf.blind([*inputs, *dummies])
        index = self.seal(campaign, evaluation_sha256(blinding.blinded_elements))
        with PlatformClient(self.company(ATTACKER)) as client:
            evaluated, proof, _ = client.evaluate_decisions(
                campaign.campaign, blinding.blinded_elements, decision_batch=index, known_tree_size=0
            )
        outputs = oprf.finalize(blinding, evaluated, proof, self.public_key(campaign, TableKind.SCORE))
        return dict(zip(numbers, outputs, strict=False))

    def seal(self, campaign: CampaignPlan, evaluation: bytes) -> int:
        """Append a decision batch of the attacker's that commits to these elements; its index."""
        directory = self.company(ATTACKER)
        about = {"kind": EntryKind.DECISION_BATCH, "campaign": campaign.campaign, "company": ATTACKER}
        body = {
            "campaign": campaign.campaign,
            "company": ATTACKER,
            "position": POSITION,
            "sequence": len(self.platform.ledger_store.entries(**about)) + 1,
            "root": secrets.token_hex(32),  # what it says of decisions is for the auditor
            "evaluation_sha256": evaluation.hex(),
            "sealed_at": int(time.time()),
        }
        entry = sign_entry(EntryKind.DECISION_BATCH, ATTACKER, body, keystore.load(directory).signing)
        with PlatformClient(directory) as client:
            client.append(entry, known_tree_size=0)
        return self.platform.ledger_store.entries(**about)[-1].index

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
        while self.scoring.table(campaign.campaign, ATTACKER) is None:
            if not keep_waiting():
                raise TimeoutError("expected a score table")

    def open_scores(self, campaign: CampaignPlan, numbers: Sequence[int]) -> dict[int, bytes]:
        """The ciphertexts of these members' scores, after a decision batch that calls them all an offer."""
        outputs = self.pass_gate(campaign, numbers)
        self.wait_for_scores(campaign)
        return self.open_with(campaign, outputs)

    def open_with(self, campaign: CampaignPlan, outputs: Mapping[int, bytes]) -> dict[int, bytes]:
        """The ciphertexts of whatever rows of the score table these outputs open."""
        with PlatformClient(self.company(ATTACKER)) as client:
            parts = list(client.fetch_table(campaign.campaign, TableKind.SCORE, first_chunk=0))
        return self.read_scores(campaign, parts, outputs)

    def read_scores(
        self, campaign: CampaignPlan, parts: Sequence[TablePart], outputs: Mapping[int, bytes]
    ) -> dict[int, bytes]:
        """The same, of a downloaded table."""
        manifest = self.manifest(campaign, TableKind.SCORE)
        reader = TableReader(manifest, parts[0].chunk_hashes, dict(outputs))
        for part in parts:
            reader.feed(part.index, part.chunk)
        return {n: parse_score_payload(campaign, row).ciphertexts for n, row in reader.rows.items()}

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
        ledger, store, directory = self.platform.ledger, self.platform.store, self.platform.directory
        self.scoring = SealedScoring(store, ledger, self._publisher, _score_rows)
        statistics = SealedStatistics(store, ledger, self._publisher, _score_rows, directory / "statistics")
        nobody_withdrew: Callable[..., list[bytes]] = lambda *_: []  # noqa: E731
        parts = PlatformParts(
            store=store,
            gate=Gate(
                store,
                ledger,
                clock=lambda: int(time.time()),
                is_running=lambda *_: True,
                is_covered=lambda _: True,
            ),
            ledger=ledger,
            publisher=self._publisher,
            scoring=self.scoring,
            statistics=statistics,
            revocations=Revocations(store, self._publisher, self.platform.signing_key, nobody_withdrew),
            keys=KeyDesk(
                store, ledger, self.platform.authority, clock=utc_now, register_node=lambda *_: None
            ),
        )
        addresses = self.platform.config.addresses
        self._rights = ExitStack()
        self._services = serve(
            self.platform.enrolment,
            parts,
            self.platform.server_tls,
            rights=self._rights.enter_context(rights_parts(self.platform)),
            enrolment_address=addresses.enrolment,
            service_address=addresses.service,
            clock=utc_now,
        )


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
    season = RunningPlatform(root)
    try:
        for company in COMPANIES:
            season.enrol(company)
        season.publish(plan())
        season.accept(plan())
    finally:
        season.stop()
    return root


def _score_rows(_: CampaignPlan, company: str) -> ScoreRows:
    """Of those who consented to the company and acknowledged its offer notice: everybody who consented."""
    numbers = CONSENTING[company]
    return ScoreRows(
        [identifier(n) for n in numbers],
        features()[list(numbers)],
        [hashlib.sha256(f"{company} {n}".encode()).digest() + bytes(16) for n in numbers],
    )
