"""One company's season of scoring, whole, by the product's own code: from alignment to opened scores.

It runs in a process of its own, so that the peak memory is this work's. Two parties share that process here
and call each other without a network: what is measured is their work and not the wire. Every opened score is
compared with the integer product.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from noren_bench.measurement import Cost, Goal, Row, microseconds_each, peak_memory_mb
from noren_bench.progress import say
from noren_bench.scoring_cost import random_features, random_weights
from noren_core import canonical_json
from noren_core.crypto import oprf
from noren_core.crypto.cores import available_cores
from noren_core.crypto.head_encryption import (
    HeadSecret,
    encrypt_head,
    verify_head,
)
from noren_core.crypto.identity import SigningKey
from noren_core.crypto.scorer import Scorer
from noren_core.crypto.sealed_table import TableReader
from noren_core.errors import LocalProtocolError, VerificationError
from noren_core.ids import IdentifierKind, TableKind, normalise_identifier
from noren_core.ledger.entries import EntryKind, SignedEntry, parse_entry, sign_entry
from noren_core.season.head_message import commitment_body, head_binding, head_layout
from noren_core.season.plan import CampaignPlan
from noren_core.season.score_payload import ADDRESS_BYTES, parse_score_payload
from noren_server import alignment, platform_files
from noren_server.sealed_scoring import ScoreRows, SealedScoring
from noren_server.store import EnrolmentRecord
from noren_server.tables import TablePublisher

_COMPANY = "akane"
_COHORT = (_COMPANY, "benten", "chidori")
_SAMPLE = 4_096


@dataclass(frozen=True, slots=True)
class Size:
    """How large a season is, how many cores it may use, and what it is held to.

    CPU seconds are those of one core: two threads on two halves of one processor core slow each other, and
    their CPU time goes up without more work being done. Wall seconds are those of two.
    """

    students: int
    dimensions: int
    applicants: int
    cores: int
    limits: Mapping[str, float]


HUNDRED_THOUSAND = Size(
    100_000,
    32,
    1_000,
    2,
    {"platform_cpu_s": 11.0, "platform_wall_s": 6.5, "company_cpu_s": 0.7, "peak_memory_mb": 400.0},
)
MILLION = Size(1_000_000, 64, 10_000, 1, {"cpu_s": 130.0, "peak_memory_mb": 1000.0})


def row(size: Size, peers: dict[str, float]) -> Row:
    """The cost of the whole season, measured in a child process."""
    with tempfile.TemporaryDirectory(prefix="noren-bench-") as directory:
        (Path(directory) / "plan.json").write_bytes(canonical_json.encode(_plan(size).to_body()))
        command = [sys.executable, "-m", "noren_bench.end_to_end", directory]
        command += [str(size.students), str(size.applicants), str(size.cores)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    limits = dict(size.limits)
    if available_cores() < 2:
        limits.pop("platform_wall_s", None)
    goals = [Goal(name.replace("_", " "), figures[name], limit) for name, limit in limits.items()]
    goals += [
        Goal(f"CPU seconds without scoring, to {name}'s", figures["cpu_without_scoring_s"], cost)
        for name, cost in peers.items()
        if name.startswith("openmined")
    ]
    return Row(
        work=f"{size.students:,} students, d = {size.dimensions}, a company of {size.applicants:,}",
        unit="s",
        ours=figures["cpu_s"],
        peers=peers,
        goals=tuple(goals),
        details=figures,
    )


def _plan(size: Size) -> CampaignPlan:
    from noren_server import campaigns  # what writes plans needs more memory than what is measured here

    choices = campaigns.PlanChoices(
        campaign="bench",
        task={"name": "decline", "positive": ["declined"], "negative": ["accepted"], "excluded": []},
        train_seasons=("season-1",),
        score_season="season-2",
        row_dimensions=size.dimensions,
        minimum_cohort=len(_COHORT),
    )
    return campaigns.write_plan(choices, dict.fromkeys(_COHORT, size.applicants), "0" * 64)


class _Season:
    """Platform and company of one run, with what each has spent so far."""

    def __init__(self, directory: Path, plan: CampaignPlan, *, students: int, applicants: int) -> None:
        self._plan = plan
        self._known = [_identifier(2 * number) for number in range(students)]
        self._asked = [_identifier(number) for number in range(applicants)]
        self._features = random_features(students, plan.rows.dimensions)
        self._weights = random_weights(plan.rows.dimensions, plan.scoring.weight_bits)
        self._signing = SigningKey.generate()
        self._platform = platform_files.initialise(
            directory / "platform", name="bench", host="127.0.0.1", ports=(0, 0, 0, 0)
        )
        self._publisher = TablePublisher(
            self._platform.store, self._platform.ledger, directory / "platform" / "tables"
        )
        self.platform_cost, self.company_cost = Cost(), Cost()

    def run(self) -> dict[str, float]:
        """Every step in order; the figures."""
        self._publish_plan()
        say("  alignment ...")
        outputs = self._align()
        say("  head, scores, table ...")
        secret = self._score()
        say("  opening ...")
        opened = self._open(outputs, secret)
        self._verify(opened)
        return self._figures()

    def _publish_plan(self) -> None:
        keys = {name: SigningKey.generate() for name in _COHORT} | {_COMPANY: self._signing}
        with self._platform.store.transaction() as transaction:
            for name, key in keys.items():
                transaction.add_company(_record(name, key))
            transaction.add_campaign(self._plan)
        for name, key in keys.items():
            self._platform.ledger.append_company_entry(_enrolment(name, key))
        self._platform.ledger.append_platform_entry(EntryKind.PLAN, self._plan.to_body())
        alignment.publish_oprf_keys(self._platform.store, self._platform.ledger, self._plan)

    def _align(self) -> dict[bytes, bytes]:
        batch = self._plan.member(_COMPANY).padded_batch
        dummies = [f"dummy\0{number}".encode() for number in range(batch - len(self._asked))]
        blinding = self.company_cost.of(partial(oprf.blind, [*self._asked, *dummies]))
        evaluated, proof = self.platform_cost.of(
            partial(
                alignment.evaluate_batch,
                self._platform.store,
                self._plan,
                _COMPANY,
                TableKind.SCORE,
                blinding.blinded_elements,
            )
        )
        public_key = alignment.oprf_key(
            self._platform.store, self._plan.campaign, _COMPANY, TableKind.SCORE
        ).public_key
        outputs = self.company_cost.of(partial(oprf.finalize, blinding, evaluated, proof, public_key))
        return dict(zip(self._asked, outputs, strict=False))

    def _score(self) -> HeadSecret:
        plan = self._plan
        secret, message = self.company_cost.of(
            partial(
                encrypt_head,
                [self._weights],
                weight_bits=plan.scoring.weight_bits,
                binding=head_binding(plan, _COMPANY),
            )
        )
        body = commitment_body(plan, _COMPANY, message)
        entry = parse_entry(sign_entry(EntryKind.HEAD_COMMITMENT, _COMPANY, body, self._signing))
        rows = ScoreRows(self._known, self._features, [bytes(ADDRESS_BYTES)] * len(self._known))
        scoring = SealedScoring(self._platform.store, self._platform.ledger, self._publisher, lambda *_: rows)
        about = {"campaign": plan.campaign, "company": _COMPANY}
        self._platform.ledger.append_platform_entry(
            EntryKind.GATE_OPENED, {**about, "batch": 0, "opened_at": 0}
        )
        self.platform_cost.of(partial(scoring.accept_head, plan, _COMPANY, message, entry))
        self.platform_cost.of(scoring.close)  # returns when the table is published
        return secret

    def _open(self, outputs: dict[bytes, bytes], secret: HeadSecret) -> dict[bytes, int]:
        table = self._publisher.table(self._plan.campaign, _COMPANY, TableKind.SCORE)
        if table is None:
            raise LocalProtocolError("benchmark: expected a score table, got none")

        def read() -> dict[bytes, int]:
            reader = TableReader(table.manifest, table.chunk_hashes, outputs)
            for index, chunk in self._publisher.chunks(table, 0):
                reader.feed(index, chunk)
            bound = head_layout(self._plan).score_bound
            payloads = [parse_score_payload(self._plan, row) for row in reader.rows.values()]
            scores = secret.decrypt([payload.ciphertexts for payload in payloads], bound=bound)
            return dict(zip(reader.rows, scores, strict=True))

        return self.company_cost.of(read)

    def _verify(self, opened: dict[bytes, int]) -> None:
        position = {identifier: row for row, identifier in enumerate(self._known)}
        common = [identifier for identifier in self._asked if identifier in position]
        rows = [position[identifier] for identifier in common]
        expected = self._features[rows].astype(np.int64) @ np.array(self._weights, np.int64)
        if opened != dict(zip(common, map(int, expected), strict=True)):
            raise VerificationError("benchmark: expected the exact scores of the common people, got others")

    def _figures(self) -> dict[str, float]:
        table = self._publisher.table(self._plan.campaign, _COMPANY, TableKind.SCORE)
        rows = 0 if table is None else table.manifest.padded_rows * table.manifest.row_bytes
        total = self.platform_cost.cpu + self.company_cost.cpu
        return {
            "cpu_s": total,
            "platform_cpu_s": self.platform_cost.cpu,
            "platform_wall_s": self.platform_cost.wall,
            "company_cpu_s": self.company_cost.cpu,
            "cpu_without_scoring_s": total - self._scoring_seconds(),
            "peak_memory_mb": peak_memory_mb(),
            "table_mb": rows / 1e6,
        }

    def _scoring_seconds(self) -> float:
        """What the ciphertexts alone cost, from a sample."""
        _, message = encrypt_head(
            [self._weights], weight_bits=self._plan.scoring.weight_bits, binding=b"sample"
        )
        head = verify_head(message, head_layout(self._plan), binding=b"sample")
        sample = self._features[:_SAMPLE]
        each = microseconds_each(partial(Scorer(head).score, sample), len(sample), repeats=1)
        return each * len(self._features) / 1e6


def _enrolment(name: str, key: SigningKey) -> SignedEntry:
    """What the ledger says of a company whose other keys nobody uses here."""
    unused = ("sealing_key", "tls_key_sha256", "node_key_sha256")
    body = {"company": name, "signing_key": key.public_key.hex()}
    body |= {field: secrets.token_hex(32) for field in unused}
    return parse_entry(sign_entry(EntryKind.ENROLMENT, name, body, key))


def _identifier(number: int) -> bytes:
    return normalise_identifier(IdentifierKind.EMAIL, f"user{number:08d}@example.org", "clerk")


def _record(name: str, key: SigningKey) -> EnrolmentRecord:
    """A company as the store keeps it; only its signing key is used here."""
    return EnrolmentRecord(
        name=name,
        signing_key=key.public_key,
        sealing_key=bytes(32),
        declared_size=1,
        tls_request=b"",
        node_key=b"",
        enrolment_entry=b"",
        agreement_entry=b"",
    )


def _main(directory: str, students: str, applicants: str, cores: str) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cores)])
    plan_body: dict[str, Any] = canonical_json.parse_object((Path(directory) / "plan.json").read_bytes())
    plan = CampaignPlan.from_body(plan_body)
    season = _Season(Path(directory), plan, students=int(students), applicants=int(applicants))
    sys.stdout.write(json.dumps(season.run()) + "\n")


if __name__ == "__main__":
    _main(*sys.argv[1:])
