"""Verifying a ledger: seconds and memory for a season of many companies, and how both grow with its entries.

The ledger is honest and complete, signed by everybody with real keys: what is measured finds nothing. It is
verified by the product's own function, on one core, in a process of its own, so that the peak memory is this
work's; the time to start Python and to read the accountants' libraries is included.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from noren_bench.measurement import Goal, Row, microseconds_each, peak_memory_mb
from noren_bench.progress import say
from noren_core import canonical_json
from noren_core.crypto.identity import SigningKey, verify_raw_signature
from noren_core.crypto.merkle import MerkleTree, leaf_hash
from noren_core.crypto.sealed_table import TableContext, TableManifest
from noren_core.ids import TableKind
from noren_core.ledger.checkpoint import sign_checkpoint
from noren_core.ledger.entries import PLATFORM, countersign, sign_entry
from noren_core.ledger.note import VerifierKey
from noren_core.ledger.tiles import TILE_WIDTH, EntryBundle, encode_bundle, hash_tiles
from noren_core.privacy.noise import company_variance
from noren_core.season.plan import CampaignPlan
from noren_core.season.round_event import round_event

_ORIGIN = "bench/ledger"
_NOW = 1_780_000_000
_COHORT = 200
_ROUNDS = 15
_SIGNED_BYTES = 3_000
_SIGNATURES = 2_000
_MOST_SECONDS, _MOST_MEMORY, _MOST_GROWTH = 60.0, 1000.0, 1.15


@dataclass(frozen=True, slots=True)
class Size:
    """How many plans of 200 companies run side by side, and how often each group of companies runs one."""

    groups: int
    campaigns: int


_WHOLE = Size(groups=5, campaigns=3)
_QUARTER = Size(groups=4, campaigns=1)


def row() -> Row:
    """The whole season, beside about a quarter of its entries."""
    quarter, whole = _measured(_QUARTER), _measured(_WHOLE)
    each = {name: found["cpu_s"] / found["entries"] for name, found in (("q", quarter), ("w", whole))}
    growth = each["w"] / each["q"]
    return Row(
        work=f"verify a ledger of {_WHOLE.groups * _COHORT:,} companies, {_WHOLE.campaigns} campaigns",
        unit="s",
        ours=whole["cpu_s"],
        floor=2 * whole["entries"] * _verification() / 1e6,
        floor_is="cryptography: two Ed25519 verifications per entry",
        goals=(
            Goal("CPU seconds", whole["cpu_s"], _MOST_SECONDS),
            Goal("peak memory MB", whole["peak_memory_mb"], _MOST_MEMORY),
            Goal("time per entry, to that of a quarter", growth, _MOST_GROWTH),
        ),
        details={
            "entries": whole["entries"],
            "ledger_mb": whole["ledger_mb"],
            "wall_s": whole["wall_s"],
            "peak_memory_mb": whole["peak_memory_mb"],
            "quarter_entries": quarter["entries"],
            "quarter_cpu_s": quarter["cpu_s"],
            "quarter_peak_memory_mb": quarter["peak_memory_mb"],
        },
    )


def _measured(size: Size) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="noren-bench-") as directory:
        say(f"writing a ledger of {size.groups * size.campaigns} campaigns ...")
        write_ledger(Path(directory), size)
        command = [sys.executable, "-m", "noren_bench.audit_cost", directory]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _verification() -> float:
    """µs of one Ed25519 verification over a long entry."""
    key, message = SigningKey.generate(), secrets.token_bytes(_SIGNED_BYTES)
    public_key, signature = key.public_key, key.sign_raw(message)

    def verify_all() -> None:
        for _ in range(_SIGNATURES):
            verify_raw_signature(public_key, message, signature)

    return microseconds_each(verify_all, _SIGNATURES)


def write_ledger(directory: Path, size: Size) -> None:
    """The exported ledger in `directory`/bundle and a policy that trusts its keys."""
    ledger = _Ledger(directory / "bundle")
    names = [f"company-{number:04d}" for number in range(size.groups * _COHORT)]
    cohorts = [names[first : first + _COHORT] for first in range(0, len(names), _COHORT)]
    ledger.start(names)
    for number in range(size.campaigns):
        for group, cohort in enumerate(cohorts):
            ledger.campaign(f"campaign-{number}-{group}", f"season-{number}", cohort)
    ledger.finish()
    trust = f'origin = "{_ORIGIN}"\nlog_key = "{ledger.log_key}"\nplatform_key = "{ledger.platform_key}"\n'
    (directory / "trust.toml").write_text(trust)


@dataclass(slots=True)
class _Ledger:
    """A ledger that is written as it grows: 256 entries at a time."""

    directory: Path
    _tree: MerkleTree = field(default_factory=MerkleTree)
    _log: SigningKey = field(default_factory=SigningKey.generate)
    _platform: SigningKey = field(default_factory=SigningKey.generate)
    _auditor: SigningKey = field(default_factory=SigningKey.generate)
    _keys: dict[str, SigningKey] = field(default_factory=dict)
    _odometers: dict[str, int] = field(default_factory=dict)
    _waiting: list[bytes] = field(default_factory=list)

    @property
    def log_key(self) -> str:
        return VerifierKey(_ORIGIN, self._log.public_key).to_text()

    @property
    def platform_key(self) -> str:
        return self._platform.public_key.hex()

    def start(self, companies: Sequence[str]) -> None:
        first = {"origin": _ORIGIN, "platform_key": self.platform_key, "log_key": self.log_key}
        self._say("log-start", PLATFORM, first)
        self._say("policy", PLATFORM, {"policy": "policy-1", "sha256": _random(), "activated_at": _NOW})
        for company in companies:
            self._keys[company] = key = SigningKey.generate()
            hashes = {name: _random() for name in ("sealing_key", "tls_key_sha256", "node_key_sha256")}
            self._say(
                "enrolment", company, {"company": company, "signing_key": key.public_key.hex(), **hashes}
            )
            agreement = {"company": company, "agreement_sha256": "00" * 32, "declared_size": 50}
            self._say("agreement", company, agreement)

    def campaign(self, name: str, season: str, cohort: Sequence[str]) -> None:
        """All of one campaign, without a failure."""
        plan = _plan(name, season, cohort)
        digest = plan.digest().hex()
        self._say("plan", PLATFORM, plan.to_body())
        self._cover(name)
        for company in cohort:
            about = {"campaign": name, "company": company}
            self._say("plan-acceptance", company, {**about, "plan_sha256": digest})
            for kind in TableKind:
                self._say("oprf-key", PLATFORM, {**about, "kind": kind.value, "public_key": _random()})
            self._table(about, TableKind.TRAIN)
        for company in cohort:
            commitment = {"campaign": name, "company": company, "plan_sha256": digest}
            self._say("training-commitment", company, {**commitment, "seed": _random(), "rows": _random()})
        beacon = self._checkpoint().decode()
        self._say("beacon", PLATFORM, {"campaign": name, "checkpoint": beacon})
        self._rounds(plan, cohort)
        for company in cohort:
            about = {"campaign": name, "company": company}
            format_ = {
                "dimensions": plan.rows.dimensions,
                "heads": plan.scoring.heads,
                "weight_bits": plan.scoring.weight_bits,
            }
            self._say("head-commitment", company, {**about, "commitment": _random(), **format_})
            self._open_gate(plan, about)
            self._table(about, TableKind.SCORE)
            self._say("mirror-deposit", company, {**about, "root": _random(), "deposited_at": _NOW})

    def finish(self) -> None:
        """Write what is left, the hash tiles and the checkpoint."""
        self._write_bundle()
        for tile in hash_tiles(self._tree.size):
            self._write(tile.path, tile.cut_from(self._tree))
        self._write("checkpoint", self._checkpoint())

    def _rounds(self, plan: CampaignPlan, cohort: Sequence[str]) -> None:
        event, digest = round_event(plan).to_body(), plan.digest().hex()
        models = [_random() for _ in range(_ROUNDS + 1)]
        sums = list(_sentinel_sums(plan, len(cohort)))
        for number in range(1, _ROUNDS + 1):
            for company in cohort:
                intent = {
                    "campaign": plan.campaign,
                    "company": company,
                    "round": number,
                    "plan_sha256": digest,
                    "event": event,
                    "previous": _random(),
                    "sequence": self._odometers.get(company, 0),
                }
                self._odometers[company] = self._odometers.get(company, 0) + 1
                self._say("intent", company, intent)
            for company in cohort:
                settle = {
                    "campaign": plan.campaign,
                    "company": company,
                    "round": number,
                    "survivors": list(cohort),
                    "update_sha256": _random(),
                    "sentinels": sums[number - 1],
                    "consents": _random(),
                    "model_in": models[number - 1],
                    "model_out": models[number],
                }
                self._odometers[company] += 1
                self._say("settle", company, settle)

    def _cover(self, campaign: str) -> None:
        """An auditor attested that everybody of the campaign consented."""
        hashes = {name: _random() for name in ("report_sha256", "policy_sha256", "screens_sha256")}
        report = {"campaign": campaign, "as_of": _NOW, "verdict": "clear", **hashes}
        report["auditor_key"] = self._auditor.public_key.hex()
        signature = self._auditor.sign(b"noren/v1/coverage-attestation", canonical_json.encode(report))
        self._say("coverage", PLATFORM, {**report, "attestation": signature.hex()})

    def _open_gate(self, plan: CampaignPlan, about: dict[str, str]) -> None:
        """Everybody's decision is sealed, and evaluated when the cooling time is over."""
        sealed = {"position": "clerk", "sequence": 1, "root": _random(), "evaluation_sha256": _random()}
        batch = self._say("decision-batch", about["company"], {**about, **sealed, "sealed_at": _NOW})
        opened_at = _NOW + plan.gate.cooling_seconds
        self._say("gate-opened", PLATFORM, {**about, "batch": batch, "opened_at": opened_at})

    def _table(self, about: dict[str, str], kind: TableKind) -> None:
        epoch = self._say("consent-epoch", PLATFORM, {**about, "kind": kind.value, "root": _random()})
        context = TableContext.fresh(company=about["company"], campaign=about["campaign"], kind=kind)
        manifest = TableManifest(
            context=context, padded_rows=64, payload_bytes=8, chunk_rows=64, root=secrets.token_bytes(32)
        )
        self._say("table", PLATFORM, {**about, "consent_epoch": epoch, "manifest": manifest.to_body()})

    def _say(self, kind: str, author: str, body: dict[str, Any]) -> int:
        """Append one signed entry; its index."""
        signed = sign_entry(kind, author, body, self._keys.get(author, self._platform))
        entry = countersign(signed, self._platform)
        self._tree.append(leaf_hash(entry))
        self._waiting.append(entry)
        if len(self._waiting) == TILE_WIDTH:
            self._write_bundle()
        return self._tree.size - 1

    def _checkpoint(self) -> bytes:
        return sign_checkpoint(_ORIGIN, self._tree.size, self._tree.root(), self._log)

    def _write_bundle(self) -> None:
        if self._waiting:
            bundle = EntryBundle((self._tree.size - 1) // TILE_WIDTH, len(self._waiting))
            self._write(bundle.path, encode_bundle(self._waiting))
            self._waiting.clear()

    def _write(self, name: str, data: bytes) -> None:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _plan(name: str, season: str, cohort: Sequence[str]) -> CampaignPlan:
    from noren_server import campaigns  # what writes plans needs more memory than what is measured here

    choices = campaigns.PlanChoices(
        campaign=name,
        task={"name": "decline", "positive": ["declined"], "negative": ["accepted"], "excluded": []},
        train_seasons=(season,),
        score_season=f"after-{season}",
        rounds=_ROUNDS,
    )
    return campaigns.write_plan(choices, dict.fromkeys(cohort, 50), "00" * 32)


def _sentinel_sums(plan: CampaignPlan, companies: int) -> Iterator[list[int]]:
    """Sums of the planned deviation, drawn by the campaign's name: never one that a test would doubt."""
    deviation = float(companies * company_variance(round_event(plan), companies=companies)) ** 0.5
    digest = hashlib.sha256(plan.campaign.encode()).digest()
    draw = np.random.default_rng(list(digest))
    for _ in range(_ROUNDS):
        yield [int(x) for x in np.rint(draw.normal(0, deviation, plan.training.sentinels))]


def _random() -> str:
    return secrets.token_bytes(32).hex()


def _main(directory: str) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    from noren_audit.verification.trust import load_trust
    from noren_audit.verification.verify import verify_bundle

    bundle, start = Path(directory) / "bundle", time.perf_counter()
    verdict = verify_bundle(bundle, load_trust(Path(directory) / "trust.toml"))
    if not verdict.is_verified:
        raise RuntimeError(f"expected an honest ledger, got {verdict.findings[0]}")
    figures = {
        "entries": float(verdict.entries),
        "cpu_s": time.process_time(),
        "wall_s": time.perf_counter() - start,
        "peak_memory_mb": peak_memory_mb(),
        "ledger_mb": sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file()) / 1e6,
    }
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    _main(*sys.argv[1:])
