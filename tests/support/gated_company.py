"""A company at the gate, and a platform in memory that does for it what the real one does.

Ledger, keys, sealed score table, revocation list and mailboxes are as in docs/protocol.md, with the
production cryptography; only what carries the bytes is missing. Time stands still unless a test moves it.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from whole_table import SealedTable, seal_table

from noren_client import campaign_files, config, follow_up, keystore, scoring
from noren_client.config import Addresses, CompanyConfig, GateSettings, Limits, Pins
from noren_client.gate import decisions, staff, viewing
from noren_client.gate.staff import Authorised
from noren_client.gate.viewing import Request, Subject
from noren_client.training_set import TrainingSet
from noren_client.transport import TablePart
from noren_core.crypto import oprf
from noren_core.crypto.head_encryption import verify_head
from noren_core.crypto.identity import SealingKey, SigningKey
from noren_core.crypto.merkle import MerkleTree, leaf_hash
from noren_core.crypto.revocation_list import RevocationList
from noren_core.crypto.scorer import Scorer
from noren_core.crypto.sealed_table import TableContext, dummy_tags, row_secrets
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import RemoteProtocolError
from noren_core.ids import IdentifierKind, TableKind, normalise_identifier
from noren_core.ledger.checkpoint import sign_checkpoint
from noren_core.ledger.entries import PLATFORM, EntryKind, countersign, parse_entry, sign_entry
from noren_core.ledger.note import VerifierKey
from noren_core.ledger.proofs import EntryProof, LedgerProof
from noren_core.rights.disclosure.mirror import MAILBOX_BYTES, sign_receipt
from noren_core.rights.gate.decision_batch import evaluation_sha256
from noren_core.rights.gate.roles import Action, Assignment, Role
from noren_core.season.head_message import head_binding, head_layout
from noren_core.season.plan import CampaignPlan
from noren_core.season.score_payload import score_payload_bytes
from noren_core.wire.refusal import Refusal

ORIGIN = "job-site/ledger"
NOW = 1_800_000_000
COMPANY, CAMPAIGN, SEASON, POSITION = "company-1", "spring-2026", "2026", "engineer"
CODE = SecretBytes(b"correct horse battery")
HEADER = "season,position,identifier_kind,identifier,decision,outcome"


@dataclass
class Clock:
    """Seconds since 1970, moved by hand."""

    now: int = NOW

    def __call__(self) -> float:
        return float(self.now)


@dataclass
class Student:
    """Who consented to scoring and acknowledged the offer notice."""

    features: tuple[int, ...]
    disclosure: SealingKey = field(default_factory=SealingKey.generate)
    mailbox: bytes = field(default_factory=lambda: secrets.token_bytes(MAILBOX_BYTES))


class MemoryPlatform:
    """What one company sees of a platform."""

    def __init__(self, plan: CampaignPlan, clock: Clock) -> None:
        self.plan = plan
        self.clock = clock
        self.log_key, self.platform_key = SigningKey.generate(), SigningKey.generate()
        self.entries: list[bytes] = []
        self.oprf = {kind: oprf.generate_key_pair() for kind in TableKind}
        self.students: dict[bytes, Student] = {}
        self.head = b""
        self.table: SealedTable | None = None
        self.revoked: set[bytes] = set()
        self.copies: list[tuple[bytes, bytes]] = []
        self.evaluations: list[int] = []
        self.calls: list[str] = []
        self.is_down = False

    # What a test does to it

    def say(self, kind: EntryKind, body: dict[str, Any]) -> int:
        """Append an entry of the platform's."""
        entry = sign_entry(kind, PLATFORM, body, self.platform_key)
        self.entries.append(countersign(entry, self.platform_key))
        return len(self.entries) - 1

    def report_coverage(self, verdict: str) -> None:
        """An attested coverage report of the campaign."""
        hashes = dict.fromkeys(("report_sha256", "policy_sha256", "screens_sha256", "auditor_key"), "00" * 32)
        about = {"campaign": self.plan.campaign, "as_of": self.clock.now, "verdict": verdict}
        self.say(EntryKind.COVERAGE, {**about, **hashes, "attestation": "00" * 64})

    def of_kind(self, kind: EntryKind) -> list[tuple[int, dict[str, Any]]]:
        """Index and body of every entry of a kind."""
        parsed = enumerate(map(parse_entry, self.entries))
        return [(index, entry.body) for index, entry in parsed if entry.kind is kind]

    def seal_scores(self) -> SealedTable:
        """A new score table of everybody who is a student now."""
        layout = head_layout(self.plan)
        scorer = Scorer(verify_head(self.head, layout, binding=head_binding(self.plan, COMPANY)))
        features = np.array([s.features for s in self.students.values()], dtype=np.int8).reshape(-1, 4)
        rows = [
            (
                oprf.evaluate(self.oprf[TableKind.SCORE], identifier),
                ciphertexts + student.disclosure.public_key + student.mailbox,
            )
            for (identifier, student), ciphertexts in zip(
                self.students.items(), scorer.score(features), strict=True
            )
        ]
        context = TableContext.fresh(company=COMPANY, campaign=self.plan.campaign, kind=TableKind.SCORE)
        table = seal_table(context, rows, padded_rows=128, payload_bytes=score_payload_bytes(self.plan))
        about = {"campaign": self.plan.campaign, "company": COMPANY}
        epoch = self.say(EntryKind.CONSENT_EPOCH, {**about, "kind": "score", "root": "ab" * 32})
        self.say(EntryKind.TABLE, {**about, "consent_epoch": epoch, "manifest": table.manifest.to_body()})
        self.table, self.revoked = table, set()
        return table

    def withdraw(self, identifier: bytes) -> None:
        """Put a student's row on the revocation list."""
        assert self.table is not None
        output = oprf.evaluate(self.oprf[TableKind.SCORE], identifier)
        self.revoked.add(row_secrets(output, self.table.manifest.context)[0])
        self.students.pop(identifier)

    # What the company calls

    def get_proof(self, campaign: str, *, known_tree_size: int) -> LedgerProof:
        self._called("get_proof")
        assert campaign == self.plan.campaign
        return self._prove(known_tree_size)

    def fetch_orders(self, campaign: str, *, known_tree_size: int) -> tuple[tuple[bytes, ...], LedgerProof]:
        """Nobody was ordered to erase anything."""
        self._called("fetch_orders")
        assert campaign == self.plan.campaign
        return (), self._prove(known_tree_size)

    def append(self, entry: bytes, *, known_tree_size: int) -> LedgerProof:
        self._called("append")
        body = parse_entry(entry).body
        if not any(parse_entry(known).body == body for known in self.entries):
            self.entries.append(countersign(entry, self.platform_key))
        return self._prove(known_tree_size)

    def submit_head(
        self, campaign: str, head: bytes, commitment_entry: bytes, *, known_tree_size: int
    ) -> LedgerProof:
        self._called("submit_head")
        self.head = head
        return self.append(commitment_entry, known_tree_size=known_tree_size)

    def evaluate_decisions(
        self, campaign: str, blinded: Sequence[bytes], *, decision_batch: int, known_tree_size: int
    ) -> tuple[tuple[bytes, ...], bytes, LedgerProof]:
        self._called("evaluate_decisions")
        sealed = dict(self.of_kind(EntryKind.DECISION_BATCH))[decision_batch]
        assert sealed["evaluation_sha256"] == evaluation_sha256(blinded).hex()
        if self.clock.now < sealed["sealed_at"] + self.plan.gate.cooling_seconds:
            raise RemoteProtocolError(Refusal.GATE_NOT_OPEN.sentence, code=Refusal.GATE_NOT_OPEN)
        self.evaluations.append(decision_batch)
        evaluated, proof = oprf.blind_evaluate(self.oprf[TableKind.SCORE], blinded)
        if not any(body["batch"] == decision_batch for _, body in self.of_kind(EntryKind.GATE_OPENED)):
            about = {"campaign": campaign, "company": COMPANY, "batch": decision_batch}
            self.say(EntryKind.GATE_OPENED, {**about, "opened_at": self.clock.now})
        return tuple(evaluated), proof, self._prove(known_tree_size)

    def fetch_table(self, campaign: str, kind: TableKind, *, first_chunk: int) -> Iterator[TablePart]:
        self._called("fetch_table")
        assert self.table is not None
        for index in range(first_chunk, len(self.table.chunks)):
            yield TablePart(index, self.table.chunks[index], self.table.chunk_hashes)

    def fetch_revocations(self, campaign: str, kind: TableKind) -> tuple[bytes, bytes]:
        self._called("fetch_revocations")
        assert self.table is not None
        manifest = self.table.manifest
        listed = RevocationList.padded(
            self.revoked,
            table_id=manifest.context.table_id,
            sequence=len(self.revoked) + 1,
            dummy_tags=dummy_tags(b"\x07" * 32, 64, payload_bytes=manifest.payload_bytes),
        )
        return listed.to_bytes(), listed.sign(self.platform_key)

    def deposit_copy(self, campaign: str, mailbox: bytes, sealed_copy: bytes) -> bytes:
        self._called("deposit_copy")
        self.copies.append((mailbox, sealed_copy))
        return sign_receipt(self.platform_key, mailbox=mailbox, sealed_copy=sealed_copy)

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.is_down:
            raise viewing_unavailable()

    def _prove(self, known_size: int) -> LedgerProof:
        tree = MerkleTree([leaf_hash(entry) for entry in self.entries])
        return LedgerProof(
            checkpoint=sign_checkpoint(ORIGIN, tree.size, tree.root(), self.log_key),
            consistency=tuple(tree.consistency_proof(known_size)),
            entries=tuple(
                EntryProof(index, entry, tuple(tree.inclusion_proof(index)))
                for index, entry in enumerate(self.entries)
            ),
        )


def viewing_unavailable() -> Exception:
    """What a platform that does not answer looks like."""
    from noren_client.transport import PlatformUnavailableError

    return PlatformUnavailableError("expected an answer of the platform, got none")


@dataclass
class GatedCompany:
    """A company that took part in the rounds to their end, and its platform."""

    directory: Path
    plan: CampaignPlan
    platform: MemoryPlatform
    clock: Clock
    rows: list[str] = field(default_factory=list)

    def apply(self, *rows: str) -> None:
        """Rows of the applicant file: identifier,decision[,position[,outcome]]."""
        for row in rows:
            identifier, decision, *rest = row.split(",")
            position = rest[0] if rest else POSITION
            outcome = rest[1] if len(rest) > 1 else ""
            self.rows.append(f"{SEASON},{position},consent-code,{identifier},{decision},{outcome}")
        self.write()

    def change(self, identifier: str, old: str, new: str) -> None:
        """Rewrite one applicant's row."""
        self.rows = [row.replace(old, new) if f",{identifier}," in row else row for row in self.rows]
        self.write()

    def write(self) -> None:
        (self.directory / "applicants.csv").write_text("\n".join([HEADER, *self.rows]) + "\n")

    def consent(self, *identifiers: str, position: str = POSITION) -> None:
        """These students consented and acknowledged; their features grow in this order."""
        for identifier in identifiers:
            place = min(9 * len(self.platform.students), 127)
            self.platform.students[key_of(identifier, position)] = Student((place, -place, 3, 1))

    def hire(self, name: str, *assignments: Assignment) -> None:
        staff.register(self.directory).add(name, assignments, CODE)

    def authorised(self, name: str, action: Action, position: str = POSITION) -> Authorised:
        return staff.authorise(
            self.directory, name, CODE, action, position=position, season=SEASON, now=self.clock.now
        )

    def seal(self, name: str = "dan", position: str = POSITION) -> decisions.KeptBatch:
        decider = self.authorised(name, Action.SEAL_DECISION, position)
        return decisions.seal(self.directory, CAMPAIGN, position, decider=decider, now=self.clock.now)

    def score(self) -> follow_up.ScoringState:
        """Heads, evaluation, and, as the platform would by then, the score table."""
        scoring.submit_head(
            self.directory, CAMPAIGN, [follow_up.calibration.integer_head(HEAD, self.plan).weights]
        )
        self.platform.seal_scores()
        return follow_up.score(self.directory, CAMPAIGN, clock=self.clock)

    def request(
        self, identifier: str, *, name: str = "fay", action: Action = Action.VIEW_SCORE, **other: str
    ) -> Request:
        position = other.get("position", POSITION)
        subject = Subject(IdentifierKind.CONSENT_CODE, identifier, position)
        return Request(CAMPAIGN, CAMPAIGN, subject, self.authorised(name, action, position))

    def show(self, identifier: str, *, name: str = "fay", position: str = POSITION) -> viewing.View:
        request = self.request(identifier, name=name, position=position)
        return viewing.show(self.directory, request, clock=self.clock)

    def scored(self) -> list[bytes]:
        """The identifiers with a record, sorted."""
        people = decisions.score_records.load(self.directory, CAMPAIGN).people
        return sorted(person.identifier for person in people if person.is_deposited)


HEAD = tuple(int(weight * 2**32) for weight in (0.5, -0.25, 0.125, 1.0, 0.0))


def key_of(identifier: str, position: str = POSITION) -> bytes:
    """The normalised identifier of a consent code."""
    return normalise_identifier(IdentifierKind.CONSENT_CODE, identifier, position)


def make_company(directory: Path, plan_body: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> GatedCompany:
    """A company with staff: dan decides, fay follows up, ada administrates."""
    plan = CampaignPlan.from_body(plan_body)
    clock = Clock()
    platform = MemoryPlatform(plan, clock)
    settings = CompanyConfig(
        company=COMPANY,
        platform="job-site",
        addresses=Addresses("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"),
        pins=Pins(
            "ab" * 32,
            VerifierKey(ORIGIN, platform.log_key.public_key),
            platform.platform_key.public_key,
        ),
        limits=Limits(),
        gate=GateSettings(views_per_hour=40),
    )
    directory.mkdir(mode=0o700, exist_ok=True)
    (directory / "config.toml").write_bytes(config.to_toml(settings))
    keystore.create_missing(directory)
    keys = keystore.load(directory)
    enrolment = {
        "company": COMPANY,
        "signing_key": keys.signing.public_key.hex(),
        "sealing_key": keys.sealing.public_key.hex(),
        "tls_key_sha256": hashlib.sha256(b"tls").hexdigest(),
        "node_key_sha256": hashlib.sha256(b"node").hexdigest(),
    }
    entry = sign_entry(EntryKind.ENROLMENT, COMPANY, enrolment, keys.signing)
    platform.entries.append(countersign(entry, platform.platform_key))
    for kind in TableKind:
        public_key = platform.oprf[kind].public_key.hex()
        about = {"campaign": plan.campaign, "company": COMPANY, "kind": kind.value}
        platform.say(EntryKind.OPRF_KEY, {**about, "public_key": public_key})
    platform.report_coverage("clear")
    campaign_files.save_plan(directory, plan)
    campaign_files.save_head(directory, plan.campaign, HEAD)
    campaign_files.save_training_set(
        directory,
        plan.campaign,
        TrainingSet(
            tuple(bytes([number]) * 16 for number in range(10)),
            np.zeros((10, 4), dtype=np.int16),
            np.array([0, 0, 0, 0, 0, 0, 0, 1, 1, 1], dtype=np.int8),
            bytes(16),
        ),
    )
    _connect(platform, monkeypatch)
    company = GatedCompany(directory, plan, platform, clock)
    company.hire("ada", Assignment(Role.COMPANY_ADMIN))
    company.hire("dan", Assignment(Role.DECIDER))
    company.hire("fay", Assignment(Role.FOLLOW_UP))
    return company


def with_gate(plan_body: dict[str, Any], **changes: int) -> dict[str, Any]:
    """The plan with other numbers of the gate."""
    return plan_body | {"gate": plan_body["gate"] | changes}


def another_follow_up(company: GatedCompany, name: str) -> None:
    """One more member of the staff who looks after students."""
    company.hire(name, Assignment(Role.FOLLOW_UP))


def _connect(platform: MemoryPlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def connected(_directory: Path, **_: Callable[[float], None]) -> Iterator[MemoryPlatform]:
        yield platform

    for module in (decisions, follow_up, scoring, viewing):
        monkeypatch.setattr(module, "PlatformClient", connected)
    monkeypatch.setattr(follow_up, "RightsClient", connected)


def set_views_per_hour(directory: Path, limit: int) -> None:
    """Change what the company allows itself."""
    settings = replace(config.load(directory), gate=GateSettings(views_per_hour=limit))
    (directory / config.FILE_NAME).write_bytes(config.to_toml(settings))
