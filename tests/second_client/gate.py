"""Sealing decisions, and what the company and its auditor check of the gate (protocol §10, §5.4)."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from . import alignment, expect
from .ledger import Entry, canonical
from .sealed_table import leaf_hash, tree_root


@dataclass(frozen=True, slots=True)
class Decisions:
    """A sealed batch: salts and decisions by identifier, and the leaves with their padding."""

    position: str
    season: str
    decided: Mapping[bytes, tuple[str, bytes]]
    padding: tuple[bytes, ...]
    evaluation: alignment.Batch

    @property
    def root(self) -> bytes:
        """Over the leaves, sorted (§10.1)."""
        made = [_leaf(self, identifier, *said) for identifier, said in self.decided.items()]
        return tree_root([leaf_hash(leaf) for leaf in sorted([*made, *self.padding])])

    @property
    def evaluation_sha256(self) -> bytes:
        """Of the blinded elements, in the order of sending."""
        return hashlib.sha256(b"".join(self.evaluation.blinded)).digest()

    def body(self, campaign: str, company: str, *, sequence: int, sealed_at: int) -> dict[str, Any]:
        """Of the `decision-batch` entry."""
        return {
            "campaign": campaign,
            "company": company,
            "position": self.position,
            "sequence": sequence,
            "root": self.root.hex(),
            "evaluation_sha256": self.evaluation_sha256.hex(),
            "sealed_at": sealed_at,
        }

    def exported(self) -> bytes:
        """The whole batch for the auditor."""
        openings = [
            {"decision": said, "identifier": identifier.hex(), "salt": salt.hex()}
            for identifier, (said, salt) in sorted(self.decided.items())
        ]
        padding = [leaf.hex() for leaf in self.padding]
        about = {"format": "noren/v1/decision-batch", "position": self.position, "season": self.season}
        return canonical({**about, "openings": openings, "padding": padding})

    def opened_blinds(self) -> bytes:
        """Blinds and inputs for the auditor (§1.5)."""
        made = b"\x01\x01" + len(self.evaluation.inputs).to_bytes(2)
        for r, x in zip(self.evaluation.blinds, self.evaluation.inputs, strict=True):
            made += r.to_bytes(32, "little") + len(x).to_bytes(2) + x
        return made


def seal(
    decisions: Mapping[bytes, str], position: str, plan: Mapping[str, Any], padded_batch: int
) -> Decisions:
    """A batch of `pass` and `fail`, with the elements that it allows."""
    expect(set(decisions.values()) <= {"pass", "fail"}, "no decision on hold")
    expect(len(decisions) >= plan["gate"]["minimum_batch"], "as many decisions as the plan asks for")
    about = b"\0" + position.encode() + b"\0"
    expect(all(about in identifier[:80] for identifier in decisions), "identifiers of the position")
    size = 1
    while size < max(padded_batch, len(decisions) + 1):
        size *= 2
    decided = {identifier: (said, secrets.token_bytes(32)) for identifier, said in decisions.items()}
    padding = tuple(secrets.token_bytes(32) for _ in range(size - len(decided)))
    offers = [identifier for identifier, said in decisions.items() if said == "pass"]
    return Decisions(position, plan["score_season"], decided, padding, alignment.begin(offers, padded_batch))


def verify_opening(entries: Mapping[int, Entry], said: Mapping[str, Any], cooling_seconds: int) -> None:
    """That the proven ledger has our batch, and after it the one opening of it, not too early (§10.3)."""
    [batch] = [index for index, one in entries.items() if one.kind == "decision-batch" and one.body == said]
    opened = {
        index: one.body
        for index, one in entries.items()
        if one.kind == "gate-opened" and one.body["batch"] == batch
    }
    expect(len(opened) == 1, "one opening of our batch")
    [(index, body)] = opened.items()
    ours = (said["campaign"], said["company"])
    expect((body["campaign"], body["company"]) == ours and index > batch, "an opening after our batch")
    expect(body["opened_at"] >= said["sealed_at"] + cooling_seconds, "an opening after the cooling time")


def verify_premises(batch: Decisions, said: Mapping[str, Any], applicants: Collection[bytes]) -> None:
    """What an auditor checks of one position's only batch (§10.5)."""
    expect(batch.root.hex() == said["root"], "the root of the entry")
    expect(set(batch.decided) == set(applicants), "a decision about each applicant")
    made = alignment.blind(batch.evaluation.blinds, batch.evaluation.inputs)
    expect(hashlib.sha256(b"".join(made)).hexdigest() == said["evaluation_sha256"], "the evaluated elements")
    inputs = batch.evaluation.inputs
    expect(len(set(inputs)) == len(inputs), "distinct inputs")
    offers = {identifier for identifier, (decided, _) in batch.decided.items() if decided == "pass"}
    for x in inputs:
        expect(x in offers or (x.startswith(b"dummy\0") and len(x) == 38), "an offer or a dummy")


def take_apart(payload: bytes, heads: int) -> tuple[bytes, bytes, bytes]:
    """Ciphertexts, disclosure key and mailbox of a row of the score table (§5.4)."""
    expect(len(payload) == 66 * heads + 48, "the payload of the plan")
    return payload[: 66 * heads], payload[66 * heads : -16], payload[-16:]


def _leaf(batch: Decisions, identifier: bytes, decision: str, salt: bytes) -> bytes:
    said = {
        "decision": decision,
        "identifier": identifier.hex(),
        "position": batch.position,
        "season": batch.season,
    }
    return hashlib.sha256(b"noren/v1/decision-leaf\0" + salt + canonical(said)).digest()
