"""An honest ledger of two campaigns, as a list of statements that a test can falsify before it is signed."""

from __future__ import annotations

import copy
import hashlib
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ledger_bundle import write_bundle

from noren_core import canonical_json
from noren_core.crypto.identity import SigningKey
from noren_core.crypto.merkle import leaf_hash, root_hash
from noren_core.crypto.sealed_table import TableContext, TableManifest
from noren_core.ids import TableKind
from noren_core.ledger.checkpoint import sign_checkpoint
from noren_core.ledger.cosignature import CosignerKey, cosign
from noren_core.ledger.entries import PLATFORM, CompanyKey, PlatformKey, countersign, sign_entry
from noren_core.ledger.key_history import sign_change
from noren_core.ledger.note import Note, VerifierKey, parse_note
from noren_core.privacy.noise import company_variance
from noren_core.season.plan import CampaignPlan, TrainingMode
from noren_core.season.round_event import round_event

ORIGIN = "noren.example/ledger"
COMPANIES = ("alpha", "beta", "delta", "gamma")
ROUNDS = 3
NOW = 1_700_000_000
WITNESSES = ("witness.example/ada", "witness.example/bea")
_ENROLLED = {
    CompanyKey.SIGNING: "signing_key",
    CompanyKey.SEALING: "sealing_key",
    CompanyKey.TLS: "tls_key_sha256",
    CompanyKey.NODE: "node_key_sha256",
}

_REFERS_BY = {
    "statistics-answer": "weights",
    "gate-opened": "batch",
    "deletion-certificate": "order",
}


def _digest(*words: object) -> str:
    """A distinct hash for every list of words."""
    return hashlib.sha256(repr(words).encode()).hexdigest()


def witness_key(name: str) -> str:
    """The verifier key of a witness."""
    return CosignerKey(name, _key(name).public_key).to_text()


def sentinels(plan: CampaignPlan, number: int, survivors: int) -> list[int]:
    """Sums of honest noise: the same ones in every run."""
    variance = company_variance(round_event(plan), companies=len(COMPANIES)) * survivors
    draw = random.Random(f"{plan.campaign} {number}")  # noqa: S311 - the same ledger in every run
    return [round(draw.gauss(0, float(variance) ** 0.5)) for _ in range(plan.training.sentinels)]


def _key(name: str) -> SigningKey:
    return SigningKey.from_bytes(hashlib.sha256(name.encode()).digest())


@dataclass
class Seal:
    """The checkpoint in a beacon before it is signed.

    Attributes:
        size, root: of what stands before the beacon, if nothing else.
        signer: the log key that is current, if nobody else.
        witnesses: who cosigned.
    """

    size: int | None = None
    root: bytes | None = None
    signer: SigningKey | None = None
    witnesses: tuple[str, ...] = WITNESSES[:1]


@dataclass(eq=False)
class Statement:
    """An entry before it is signed.

    Attributes:
        epoch: the statement that a table's consent_epoch, or an answer's weights, points to.
        successor: the key that the author, or for the log the platform, signs with after this entry.
        signer, countersigner: who signs it, if not whoever's turn it is.
        seal: the checkpoint that a beacon holds.
    """

    kind: str
    author: str
    body: dict[str, Any]
    epoch: Statement | None = None
    successor: SigningKey | None = None
    signer: SigningKey | None = None
    countersigner: SigningKey | None = None
    seal: Seal | None = None


@dataclass
class SeasonLedger:
    """Statements in ledger order; whoever falsifies them here can still sign with everybody's keys."""

    plan_body: dict[str, Any]
    statements: list[Statement] = field(default_factory=list)
    log_key: SigningKey = field(default_factory=lambda: _key("log"))
    platform_key: SigningKey = field(default_factory=lambda: _key("platform"))
    odometers: dict[str, int] = field(default_factory=dict)

    @property
    def verifier_key(self) -> VerifierKey:
        return VerifierKey(ORIGIN, self.log_key.public_key)

    def say(self, kind: str, author: str, body: dict[str, Any], epoch: Statement | None = None) -> Statement:
        self.statements.append(Statement(kind, author, body, epoch))
        return self.statements[-1]

    def find(self, kind: str, /, **fields: Any) -> Statement:
        """The first statement of this kind whose body has these values."""
        for statement in self.statements:
            if statement.kind == kind and fields.items() <= statement.body.items():
                return statement
        raise LookupError(f"{kind} {fields}")

    def drop(self, statement: Statement) -> None:
        self.statements.remove(statement)

    def repeat(self, statement: Statement, **changes: Any) -> Statement:
        """The same statement once more, changed in these fields, at the end."""
        body = {**copy.deepcopy(statement.body), **changes}
        self.say(statement.kind, statement.author, body, statement.epoch).seal = statement.seal
        return self.statements[-1]

    def move(self, statement: Statement, *, before: Statement) -> None:
        self.statements.remove(statement)
        self.statements.insert(self.statements.index(before), statement)

    def entries(self) -> list[bytes]:
        """Everything signed and countersigned, by the keys that are current there."""
        current = {PLATFORM: self.platform_key, ORIGIN: self.log_key}
        signed: list[bytes] = []
        for statement in self.statements:
            if statement.seal is not None:
                statement.body["checkpoint"] = self._seal(statement.seal, signed, current[ORIGIN]).decode()
            signed.append(self._sign(statement, current))
            if statement.successor is not None and statement.body["key"] in ("signing", "platform"):
                current[statement.author] = statement.successor
            if statement.successor is not None and statement.body["key"] == "log":
                current[ORIGIN] = statement.successor
        return signed

    @property
    def log_keys(self) -> list[SigningKey]:
        """The log's keys, the first one first."""
        changes = [s for s in self.statements if s.kind == "platform-key-rotation" and s.body["key"] == "log"]
        return [self.log_key, *(s.successor for s in changes if s.successor is not None)]

    def write(
        self, directory: Path, entries: list[bytes] | None = None, log_keys: list[SigningKey] | None = None
    ) -> Path:
        """The bundle that the platform would export."""
        entries = self.entries() if entries is None else entries
        root = root_hash([leaf_hash(entry) for entry in entries])
        signers = log_keys or self.log_keys[-1:]
        return write_bundle(directory, sign_checkpoint(ORIGIN, len(entries), root, *signers), entries)

    @property
    def witness_keys(self) -> list[str]:
        """The verifier keys of the plans' two witnesses; the first one cosigns beacons."""
        return [witness_key(name) for name in WITNESSES]

    @staticmethod
    def key(name: str) -> SigningKey:
        """The first signing key of a company, or the platform's `new platform` or `new log`."""
        return _key(name)

    def trust_text(
        self, *more: str, log_key: SigningKey | None = None, platform_key: SigningKey | None = None
    ) -> str:
        log = VerifierKey(ORIGIN, (log_key or self.log_key).public_key)
        lines = (
            f'origin = "{ORIGIN}"',
            f'log_key = "{log.to_text()}"',
            f'platform_key = "{(platform_key or self.platform_key).public_key.hex()}"',
            *more,
        )
        return "".join(line + "\n" for line in lines)

    def _sign(self, statement: Statement, current: dict[str, SigningKey]) -> bytes:
        body = statement.body
        if statement.epoch is not None:
            field = _REFERS_BY.get(statement.kind, "consent_epoch")
            body = {**body, field: self.statements.index(statement.epoch)}
        author_key = current.get(statement.author) or _key(statement.author)
        signed = sign_entry(statement.kind, statement.author, body, statement.signer or author_key)
        return countersign(signed, statement.countersigner or current[PLATFORM])

    @staticmethod
    def _seal(seal: Seal, entries: list[bytes], log_key: SigningKey) -> bytes:
        size = len(entries) if seal.size is None else seal.size
        root = seal.root or root_hash([leaf_hash(entry) for entry in entries[:size]])
        note = parse_note(sign_checkpoint(ORIGIN, size, root, seal.signer or log_key))
        seen = [cosign(note.text, name, _key(name), timestamp=1_700_000_000) for name in seal.witnesses]
        return Note(note.text, (*note.signatures, *seen)).to_bytes()

    # The honest story.

    def start(self) -> None:
        self.say(
            "log-start",
            PLATFORM,
            {
                "origin": ORIGIN,
                "platform_key": self.platform_key.public_key.hex(),
                "log_key": self.verifier_key.to_text(),
            },
        )
        self.say("policy", PLATFORM, {"policy": "pv-1", "sha256": _digest("policy"), "activated_at": NOW})

    def enrol(self, company: str) -> None:
        self.say(
            "enrolment",
            company,
            {
                "company": company,
                "signing_key": _key(company).public_key.hex(),
                "sealing_key": _digest("sealing", company),
                "tls_key_sha256": _digest("tls", company),
                "node_key_sha256": _digest("node", company),
            },
        )
        body = {"company": company, "agreement_sha256": _digest("agreement"), "declared_size": 50}
        self.say("agreement", company, body)

    def rotate(self, company: str, role: CompanyKey, number: int = 1) -> Statement:
        """The company replaces a key by its `number`-th new one."""
        new = _key(f"{company} {role} {number}")
        old = self.find("enrolment", company=company).body[_ENROLLED[role]]
        for statement in self.statements:
            if statement.kind == "key-rotation" and statement.body["old"] == old:
                old = statement.body["new"]
        stated = new.public_key.hex() if role is CompanyKey.SIGNING else _digest(company, role, number)
        body = {"company": company, "key": role.value, "old": old, "new": stated}
        if role is CompanyKey.SIGNING:
            change = {"party": company, "role": role, "old": old, "new": stated}
            body["possession"] = sign_change(new, endorses=False, **change)
        self.say("key-rotation", company, body).successor = new
        return self.statements[-1]

    def rotate_platform(self, role: PlatformKey) -> Statement:
        """The platform replaces one of its first two keys."""
        new, old = _key(f"new {role}"), self.log_key if role is PlatformKey.LOG else self.platform_key
        keys = [VerifierKey(ORIGIN, key.public_key) for key in (old, new)]
        texts = [key.to_text() if role is PlatformKey.LOG else key.public_key.hex() for key in keys]
        change: dict[str, Any] = {"party": PLATFORM, "role": role, "old": texts[0], "new": texts[1]}
        body = {"key": role.value, "old": texts[0], "new": texts[1]}
        body["possession"] = sign_change(new, endorses=False, **change)
        if role is PlatformKey.LOG:
            body["endorsement"] = sign_change(old, endorses=True, **change)
        self.say("platform-key-rotation", PLATFORM, body).successor = new
        return self.statements[-1]

    def plan(self, campaign: str) -> CampaignPlan:
        body = {**copy.deepcopy(self.plan_body), "campaign": campaign, "minimum_cohort": 3, "threshold": 3}
        body["score_season"] = f"season-{campaign}"
        body["cohort"] = [{"company": c, "padded_batch": 64, "evaluations": 128} for c in COMPANIES]
        body["training"].update(noise_multiplier="7.319", sentinels=8)
        body["witnesses"] = {"keys": self.witness_keys, "quorum": 1}
        body["rows"]["variance"] = 2_794_515
        self.say("plan", PLATFORM, body)
        return CampaignPlan.from_body(body)

    def plan_of_sums(self, campaign: str) -> CampaignPlan:
        """As `plan`, in the mode of sealed statistics."""
        body = self.plan(campaign).to_body()
        del body["rows"]
        body["mode"] = "sealed-statistics"
        body["training"].update(rounds=1, average_from=1, weight_decay="0", noise_multiplier="4.226")
        body["training"].update(grid=1024, clipping_norm="7.9375")  # 64 · 127 units
        body["statistics"] = {
            "dimensions": 4,
            "clip": "2.5",
            "negative": 32,
            "positive": 64,
            "variance": 112_700_000,
            "epsilon": "8",
            "delta": "0.000001",
        }
        self.find("plan", campaign=campaign).body = body
        return CampaignPlan.from_body(body)

    def prepare(self, plan: CampaignPlan) -> None:
        """Coverage, acceptances, keys, epochs, training tables; commitments, and the beacon after them."""
        self.cover(plan)
        for company in COMPANIES:
            where = {"campaign": plan.campaign, "company": company}
            self.say("plan-acceptance", company, {**where, "plan_sha256": plan.digest().hex()})
        for company in COMPANIES:
            where = {"campaign": plan.campaign, "company": company}
            for kind in TableKind:
                key = {"kind": kind.value, "public_key": _digest("oprf", *where.values(), kind)}
                self.say("oprf-key", PLATFORM, {**where, **key})
            self.table(plan, company, TableKind.TRAIN)
            if plan.mode is TrainingMode.SEALED_STATISTICS:
                self.sums(plan, company)
        for company in COMPANIES:
            commitment = {
                "campaign": plan.campaign,
                "company": company,
                "plan_sha256": plan.digest().hex(),
                "seed": _digest("seed", plan.campaign, company),
                "rows": _digest("rows", plan.campaign, company),
            }
            self.say("training-commitment", company, commitment)
        self.say("beacon", PLATFORM, {"campaign": plan.campaign}).seal = Seal()

    def cover(self, plan: CampaignPlan) -> None:
        """An auditor attested that everybody of the campaign consented."""
        report = {"campaign": plan.campaign, "as_of": NOW, "verdict": "clear"}
        report |= {"report_sha256": _digest("report"), "screens_sha256": _digest("screens")}
        report |= {"policy_sha256": _digest("policies"), "auditor_key": _key("auditor").public_key.hex()}
        signature = _key("auditor").sign(b"noren/v1/coverage-attestation", canonical_json.encode(report))
        self.say("coverage", PLATFORM, {**report, "attestation": signature.hex()})

    def sums(self, plan: CampaignPlan, company: str) -> None:
        """The platform fixes rows, the company weights, the platform the answer."""
        where = {"campaign": plan.campaign, "company": company}
        rows = {**where, "table_root": "00" * 32, "commitment": _digest("rows", *where.values())}
        self.say("statistics-rows", PLATFORM, rows)
        weights = {**where, "commitment": _digest("weights", *where.values())}
        stated = self.say("weights-commitment", company, weights)
        answer = {**where, "weights": 0, "answer_sha256": _digest("answer", *where.values())}
        self.say("statistics-answer", PLATFORM, answer, stated)

    def table(self, plan: CampaignPlan, company: str, kind: TableKind) -> None:
        where = {"campaign": plan.campaign, "company": company}
        epoch = {**where, "kind": kind.value, "root": _digest("epoch", *where.values(), kind)}
        table_id = bytes.fromhex(_digest("table", *where.values(), kind))[:16]
        manifest = TableManifest(
            context=TableContext(company=company, campaign=plan.campaign, kind=kind, table_id=table_id),
            padded_rows=64,
            payload_bytes=plan.training_payload_bytes,
            chunk_rows=64,
            root=bytes(32),
        )
        stated = self.say("consent-epoch", PLATFORM, epoch)
        self.say("table", PLATFORM, {**where, "consent_epoch": 0, "manifest": manifest.to_body()}, stated)

    def intent(self, plan: CampaignPlan, company: str, number: int) -> None:
        self.say(
            "intent",
            company,
            {
                "campaign": plan.campaign,
                "company": company,
                "round": number,
                "plan_sha256": plan.digest().hex(),
                "event": round_event(plan).to_body(),
                "previous": _digest("odometer", company, plan.campaign, number),
                "sequence": self.odometers.get(company, 0),
            },
        )
        self.odometers[company] = self.odometers.get(company, 0) + 1

    def settle(self, plan: CampaignPlan, company: str, number: int, survivors: tuple[str, ...]) -> None:
        contributed = company if company in survivors else "nobody"
        self.odometers[company] += 1
        self.say(
            "settle",
            company,
            {
                "campaign": plan.campaign,
                "company": company,
                "round": number,
                "survivors": list(survivors),
                "update_sha256": _digest(
                    "update", contributed, plan.campaign, number * (contributed == company)
                ),
                "sentinels": sentinels(plan, number, len(survivors)),
                "consents": _digest("consents", company, plan.campaign, number),
                "model_in": _digest("model", plan.campaign, number - 1),
                "model_out": _digest("model", plan.campaign, number),
            },
        )

    def finish(self, plan: CampaignPlan) -> None:
        """Heads and score tables."""
        for company in COMPANIES:
            self.say(
                "head-commitment",
                company,
                {
                    "campaign": plan.campaign,
                    "company": company,
                    "commitment": _digest("head", company, plan.campaign),
                    "dimensions": plan.release.dimensions,
                    "heads": plan.scoring.heads,
                    "weight_bits": plan.scoring.weight_bits,
                },
            )
            self.table(plan, company, TableKind.SCORE)
            self.gate(plan, company)

    def gate(self, plan: CampaignPlan, company: str) -> None:
        """Decisions, the opening, copies for students; then an order to erase, and its certificate."""
        where = {"campaign": plan.campaign, "company": company}
        batch = {"position": "engineer", "sequence": 1, "root": _digest("decisions", *where.values())}
        elements = {"evaluation_sha256": _digest("elements", *where.values()), "sealed_at": NOW}
        sealed = self.say("decision-batch", company, {**where, **batch, **elements})
        opened = {"batch": 0, "opened_at": NOW + plan.gate.cooling_seconds}
        self.say("gate-opened", PLATFORM, {**where, **opened}, sealed)
        copies = {"root": _digest("copies", *where.values()), "deposited_at": NOW}
        self.say("mirror-deposit", company, {**where, **copies})
        order = {"order_sha256": _digest("order", *where.values()), "ground": "rights", "due_at": NOW}
        ordered = self.say("erasure-order", PLATFORM, {**where, **order})
        certificate = {"order": 0, "certificate_sha256": _digest("certificate", *where.values())}
        self.say("deletion-certificate", company, {**where, **certificate}, ordered)


def _autumn(ledger: SeasonLedger) -> None:
    """Everybody takes part in every round; settles travel with the next round's replies."""
    plan = ledger.plan("autumn")
    ledger.prepare(plan)
    for number in range(1, ROUNDS + 1):
        for company in COMPANIES:
            ledger.intent(plan, company, number)
        if number > 1:
            for company in COMPANIES:
                ledger.settle(plan, company, number - 1, COMPANIES)
    for company in COMPANIES:
        ledger.settle(plan, company, ROUNDS, COMPANIES)
    ledger.finish(plan)


def _spring(ledger: SeasonLedger) -> None:
    """The set-up fails once; then delta drops out in round 2 and settles what it missed at the end."""
    plan = ledger.plan("spring")
    ledger.prepare(plan)
    ledger.say("round-failed", PLATFORM, {"campaign": "spring", "round": 1, "reason": "TOO_FEW_COMPANIES"})
    remaining = tuple(company for company in COMPANIES if company != "delta")
    for company in COMPANIES:
        ledger.intent(plan, company, 1)
    for company in COMPANIES:
        ledger.intent(plan, company, 2)
    for company in remaining:
        ledger.settle(plan, company, 1, COMPANIES)
    for company in remaining:
        ledger.intent(plan, company, 3)
    for company in remaining:
        ledger.settle(plan, company, 2, remaining)
    for company in remaining:
        ledger.settle(plan, company, 3, remaining)
    ledger.settle(plan, "delta", 1, COMPANIES)
    ledger.settle(plan, "delta", 2, remaining)
    ledger.settle(plan, "delta", 3, remaining)
    ledger.finish(plan)


def _winter(ledger: SeasonLedger) -> None:
    """Sealed statistics: one round, in which everybody takes part."""
    plan = ledger.plan_of_sums("winter")
    ledger.prepare(plan)
    for company in COMPANIES:
        ledger.intent(plan, company, 1)
    for company in COMPANIES:
        ledger.settle(plan, company, 1, COMPANIES)
    ledger.finish(plan)


@pytest.fixture
def opening(plan_body: dict[str, Any]) -> SeasonLedger:
    """A ledger in which the companies have enrolled and nothing else happened."""
    ledger = SeasonLedger(plan_body)
    ledger.start()
    for company in COMPANIES:
        ledger.enrol(company)
    return ledger


@pytest.fixture
def honest(opening: SeasonLedger) -> SeasonLedger:
    """Two complete campaigns."""
    _autumn(opening)
    _spring(opening)
    return opening


@pytest.fixture
def with_sums(opening: SeasonLedger) -> SeasonLedger:
    """A campaign of noised rows, and one of sealed statistics."""
    _autumn(opening)
    _winter(opening)
    return opening


@pytest.fixture
def renewed(opening: SeasonLedger) -> SeasonLedger:
    """Between two campaigns alpha replaces all its keys, the platform both of its own; omega is revoked."""
    opening.enrol("omega")
    _autumn(opening)
    opening.say("campaign-closed", PLATFORM, {"campaign": "autumn"})
    for role in CompanyKey:
        opening.rotate("alpha", role)
    opening.rotate("alpha", CompanyKey.SIGNING, 2)
    opening.say("revocation", PLATFORM, {"company": "omega", "reason": "LEFT"})
    opening.rotate_platform(PlatformKey.PLATFORM)
    opening.rotate_platform(PlatformKey.LOG)
    opening.rotate("beta", CompanyKey.SIGNING)
    _spring(opening)
    opening.rotate("gamma", CompanyKey.TLS)
    return opening
