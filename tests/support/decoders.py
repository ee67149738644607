"""Every function that turns what came from outside into values, with valid input for it: `DECODERS`.

tests/fuzz feeds each with hostile input; a public decoder that is neither here nor in `EXEMPT` fails a test.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import hashlib
import io
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import active_policy
import backup_decoders
import consenting_students
import console_decoders
import coverage_decoders
import erasure_decoders
import gate_decoders
import hostile_input as shapes
import import_decoders
import machine_decoders
import mirror_decoders
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from consenting_students import ConsentingStudents, PermissiveFacts
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from ledger_bundle import write_bundle
from whole_table import seal_table

from noren_audit.certification import certify
from noren_audit.fairness import people
from noren_audit.replay import auditor_key, replay, replay_file, replay_verdict
from noren_audit.verification import entry_proof, trust, verify
from noren_audit.verification import season as audit_season
from noren_audit.witness import witness
from noren_client import (
    applicants,
    campaign_files,
    config,
    enrolment,
    evaluated_identifiers,
    keystore,
    mechanism_service,
    odometer,
    replay_data,
    revocations,
    scoring,
    sealed_statistics,
)
from noren_client.config import Addresses, CompanyConfig, Limits
from noren_client.ledger_watch import LedgerWatch
from noren_client.opened_sums import OpenedSums
from noren_client.rights.custody import CustodyStore
from noren_client.training_set import TrainingSet
from noren_core import canonical_json, ids, toml_text
from noren_core.crypto import (
    bit_proof,
    dleq,
    head_encryption,
    identity,
    merkle,
    multi_scalar,
    oprf,
    revocation_list,
    sealed_sums,
    sealed_table,
    secp256k1,
    shamir,
    vault,
    weight_encryption,
)
from noren_core.crypto.identity import SealingKey, SigningKey
from noren_core.crypto.revocation_list import RevocationList
from noren_core.crypto.sealed_files import HEADER_NAME, SealedFiles
from noren_core.crypto.secret import SecretBytes
from noren_core.crypto.vault import Vault, VaultHeader, VaultState
from noren_core.crypto.weight_encryption import WeightSecret
from noren_core.crypto.weight_layout import WeightLayout
from noren_core.errors import NorenError
from noren_core.ids import IdentifierKind, TableKind
from noren_core.ledger import (
    add_checkpoint,
    checkpoint,
    cosignature,
    entries,
    key_history,
    note,
    proof_lines,
    proofs,
    tiles,
    tlog_proof,
)
from noren_core.ledger.cosignature import CosignerKey
from noren_core.ledger.entries import CompanyKey, EntryKind, PlatformKey
from noren_core.ledger.key_history import Anchors, KeyHistory
from noren_core.ledger.note import VerifierKey
from noren_core.privacy import events
from noren_core.rights import purposes
from noren_core.rights.consent import consent_event, consent_record, permit, receipt
from noren_core.rights.consent.consent_log import log_leaf
from noren_core.rights.coverage import journey
from noren_core.rights.gate import decision_batch
from noren_core.rights.gate.decision_batch import Decision
from noren_core.rights.locales import Locale
from noren_core.rights.notices import flow_manifest, notice_texts, policy, policy_approval, screen
from noren_core.rights.purposes import Purpose
from noren_core.rights.service import service_state
from noren_core.rights.student_device import StudentDevice
from noren_core.season import beacon, messages, plan, round_event, score_payload
from noren_core.season.participation import agreement_sha256
from noren_core.season.round_consents import RoundConsents
from noren_core.secagg import messages as secagg
from noren_core.wire.v1 import training_pb2
from noren_server import (
    behaviour_data,
    campaigns,
    certificates,
    event_log,
    platform_files,
    traffic_meter,
    witnesses,
)
from noren_server.certificates import CertificateAuthority
from noren_server.consents import consent_files
from noren_server.consents.consent_book import ConsentBook
from noren_server.policies import consent_screen, page_markup

ORIGIN = "noren.example/ledger"
COMPANY = "company-1"
COMPANIES = ("company-1", "company-2", "company-3")
CAMPAIGN = "spring-2026"
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def signing_key(name: str) -> SigningKey:
    """A key of its own for every name, the same in every run."""
    return SigningKey.from_bytes(hashlib.sha256(name.encode()).digest())


def sealing_key(name: str) -> SealingKey:
    """As `signing_key`, to seal to."""
    return SealingKey.from_bytes(hashlib.sha256(b"sealing" + name.encode()).digest())


COSIGNER_KEY = CosignerKey("witness.example/1", signing_key("witness").public_key)
LOG_KEY = VerifierKey(ORIGIN, signing_key("log").public_key)
PLATFORM_KEY = signing_key("platform").public_key
SESSION = hashlib.sha256(b"session").digest()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a decoder finds its files, and the body of a plan to make valid input from."""

    directory: Path
    plan_body: dict[str, Any]

    @property
    def plan(self) -> plan.CampaignPlan:
        return plan.CampaignPlan.from_body(copy.deepcopy(self.plan_body))

    @property
    def file(self) -> Path:
        """The one file of a decoder that reads one."""
        return self.directory / "input"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoder:
    """One decoder.

    Attributes:
        name: module and qualified name.
        shape: what form its input has.
        valid: makes what the decoder needs in its place; the valid input.
        decode: calls it.
        encode: the inverse, for a format with one spelling.
        examples: for each strategy; fewer for what is slow.
        has_own_fields: False if another decoder here parses the fields; they are not swept again.
    """

    name: str
    shape: shapes.Shape
    valid: Callable[[Place], Sequence[Any]]
    decode: Callable[[Any, Place], Any]
    encode: Callable[[Any], Any] | None = None
    examples: int = 80
    has_own_fields: bool = True


def _calls(function: Callable[[Any], Any]) -> Callable[[Any, Place], Any]:
    return lambda value, _: function(value)


def _reads(name: str, function: Callable[[Path], Any], path: str = "input") -> Callable[[Any, Place], Any]:
    """Writes the input to a file in the place, then calls the function with the place's directory or file."""

    def decode(data: bytes, place: Place) -> Any:
        (place.directory / path).write_bytes(data)
        return function(place.directory if name == "directory" else place.directory / path)

    return decode


def _file(function: Callable[[Path], Any]) -> Callable[[Any, Place], Any]:
    return _reads("file", function)


def _directory(function: Callable[[Path], Any], path: str) -> Callable[[Any, Place], Any]:
    return _reads("directory", function, path)


# The ledger -------------------------------------------------------------------------------------------------


def _digest(*words: object) -> str:
    return hashlib.sha256(repr(words).encode()).hexdigest()


def _manifest(kind: TableKind = TableKind.TRAIN) -> sealed_table.TableManifest:
    context = sealed_table.TableContext(
        company=COMPANY, campaign=CAMPAIGN, kind=kind, table_id=bytes(range(16))
    )
    return sealed_table.TableManifest(
        context=context, padded_rows=64, payload_bytes=8, chunk_rows=16, root=bytes(32)
    )


def _company_key_change() -> dict[str, Any]:
    old, new = (signing_key(name).public_key.hex() for name in (COMPANY, "next"))
    change = {"party": COMPANY, "role": CompanyKey.SIGNING, "old": old, "new": new}
    proof = key_history.sign_change(signing_key("next"), **change, endorses=False)
    return {"company": COMPANY, "key": "signing", "old": old, "new": new, "possession": proof}


def _platform_key_change() -> dict[str, Any]:
    old, new = (VerifierKey(ORIGIN, signing_key(name).public_key).to_text() for name in ("log", "next log"))
    change = {"party": entries.PLATFORM, "role": PlatformKey.LOG, "old": old, "new": new}
    possession = key_history.sign_change(signing_key("next log"), **change, endorses=False)
    endorsement = key_history.sign_change(signing_key("log"), **change, endorses=True)
    return {"key": "log", "old": old, "new": new, "possession": possession, "endorsement": endorsement}


def _entry_bodies(place: Place) -> dict[EntryKind, tuple[str, dict[str, Any]]]:
    """Author and body of one entry of every kind."""
    where = {"campaign": CAMPAIGN, "company": COMPANY}
    platform = {
        EntryKind.LOG_START: {
            "origin": ORIGIN,
            "platform_key": PLATFORM_KEY.hex(),
            "log_key": LOG_KEY.to_text(),
        },
        EntryKind.PLAN: place.plan_body,
        EntryKind.CONSENT_EPOCH: {**where, "kind": "train", "root": _digest("root")},
        EntryKind.OPRF_KEY: {**where, "kind": "score", "public_key": _digest("oprf")},
        EntryKind.TABLE: {**where, "consent_epoch": 7, "manifest": _manifest().to_body()},
        EntryKind.STATISTICS_ROWS: {**where, "table_root": _digest("table"), "commitment": _digest("rows")},
        EntryKind.STATISTICS_ANSWER: {**where, "weights": 9, "answer_sha256": _digest("answer")},
        EntryKind.CAMPAIGN_CLOSED: {"campaign": CAMPAIGN},
        EntryKind.PLATFORM_KEY_ROTATION: _platform_key_change(),
        EntryKind.REVOCATION: {"company": COMPANY, "reason": "LEFT"},
        EntryKind.ROUND_FAILED: {"campaign": CAMPAIGN, "round": 1, "reason": "TOO_FEW_COMPANIES"},
        EntryKind.BEACON: {"campaign": CAMPAIGN, "checkpoint": _checkpoint([]).decode()},
        EntryKind.POLICY: {"policy": "spring", "sha256": _digest("policy"), "activated_at": 1},
        EntryKind.COVERAGE: {
            "campaign": CAMPAIGN,
            "report_sha256": _digest("report"),
            "as_of": 2,
            "policy_sha256": _digest("policy"),
            "screens_sha256": _digest("screens"),
            "verdict": "clear",
            "auditor_key": _digest("auditor"),
            "attestation": "cd" * 64,
        },
        EntryKind.CONSENT_LOG: {"root": _digest("consents")},
        EntryKind.GATE_OPENED: {**where, "batch": 7, "opened_at": 3},
        EntryKind.ERASURE_ORDER: {**where, "order_sha256": _digest("order"), "ground": "rights", "due_at": 4},
        EntryKind.SERVICE_STATE: {
            "scope": "company",
            "name": COMPANY,
            "state": "suspended",
            "reason": "ORDER_OVERDUE",
            "at": 5,
            "evidence_sha256": _digest("evidence"),
        },
        EntryKind.INCIDENT: {
            "incident": "leak",
            "class": "DISCLOSURE",
            "state": "detected",
            "at": 6,
            "report_sha256": _digest("incident"),
        },
    }
    company = {
        EntryKind.ENROLMENT: {
            "company": COMPANY,
            "signing_key": signing_key(COMPANY).public_key.hex(),
            "sealing_key": sealing_key(COMPANY).public_key.hex(),
            "tls_key_sha256": _digest("tls"),
            "node_key_sha256": _digest("node"),
        },
        EntryKind.AGREEMENT: {
            "company": COMPANY,
            "agreement_sha256": agreement_sha256(),
            "declared_size": 50,
        },
        EntryKind.PLAN_ACCEPTANCE: {**where, "plan_sha256": place.plan.digest().hex()},
        EntryKind.TRAINING_COMMITMENT: {
            **where,
            "plan_sha256": place.plan.digest().hex(),
            "seed": _digest("seed"),
            "rows": _digest("rows"),
        },
        EntryKind.INTENT: {
            **where,
            "round": 1,
            "plan_sha256": place.plan.digest().hex(),
            "event": round_event.round_event(place.plan).to_body(),
            "previous": _digest("odometer"),
            "sequence": 0,
        },
        EntryKind.KEY_ROTATION: _company_key_change(),
        EntryKind.DECISION_BATCH: {
            **where,
            "position": "clerk",
            "sequence": 1,
            "root": _digest("decisions"),
            "evaluation_sha256": _digest("evaluation"),
            "sealed_at": 1,
        },
        EntryKind.MIRROR_DEPOSIT: {**where, "root": _digest("copies"), "deposited_at": 2},
        EntryKind.DELETION_CERTIFICATE: {**where, "order": 7, "certificate_sha256": _digest("certificate")},
        EntryKind.SETTLE: {
            **where,
            "round": 1,
            "survivors": list(COMPANIES),
            "update_sha256": _digest("update"),
            "sentinels": [-3, 5],
            "consents": _digest("consents"),
            "model_in": _digest(0),
            "model_out": _digest(1),
        },
        EntryKind.WEIGHTS_COMMITMENT: {**where, "commitment": _digest("weights")},
        EntryKind.HEAD_COMMITMENT: {
            **where,
            "commitment": _digest("head"),
            "dimensions": 4,
            "heads": 1,
            "weight_bits": 8,
        },
    }
    return {
        **{kind: (entries.PLATFORM, body) for kind, body in platform.items()},
        **{kind: (COMPANY, body) for kind, body in company.items()},
    }


def _ledger_entries(place: Place) -> list[bytes]:
    """One entry of every kind, signed and countersigned; keys change and end after everything else."""
    return [
        entries.countersign(
            entries.sign_entry(kind, author, body, signing_key(author)), signing_key("platform")
        )
        for kind, (author, body) in _entry_bodies(place).items()
    ]


def _enrolment_first(place: Place) -> list[bytes]:
    def order(data: bytes) -> int:
        late = any(
            b'"kind":"' + kind + b'"' in data
            for kind in (b"key-rotation", b"platform-key-rotation", b"revocation")
        )
        return 2 if late else int(b'"kind":"enrolment"' not in data)

    return sorted(_ledger_entries(place), key=order)


def _checkpoint(ledger: Sequence[bytes]) -> bytes:
    root = merkle.root_hash([merkle.leaf_hash(entry) for entry in ledger])
    return checkpoint.sign_checkpoint(ORIGIN, len(ledger), root, signing_key("log"))


def _ledger_proof(place: Place) -> tuple[bytes, proofs.LedgerProof]:
    """An earlier checkpoint, and a proof of everything from it on."""
    ledger = _enrolment_first(place)
    hashes = [merkle.leaf_hash(entry) for entry in ledger]
    items = tuple(
        proofs.EntryProof(index, entry, tuple(merkle.inclusion_proof(hashes, index)))
        for index, entry in enumerate(ledger)
    )
    proof = proofs.LedgerProof(_checkpoint(ledger), tuple(merkle.consistency_proof(hashes, 3)), items)
    return _checkpoint(ledger[:3]), proof


def _keys() -> KeyHistory:
    return KeyHistory(Anchors(LOG_KEY, PLATFORM_KEY))


def _growth_arguments(place: Place) -> list[Any]:
    known, proof = _ledger_proof(place)
    return [(known, proof.checkpoint, [*proof.consistency])]


def _verify_growth(value: Any, _: Place) -> Any:
    known, presented, consistency = value
    return proofs.verify_growth(known=known, presented=presented, consistency=consistency, keys=_keys())


def _proof_arguments(place: Place) -> list[Any]:
    known, proof = _ledger_proof(place)
    items = [(item.index, item.entry, [*item.inclusion]) for item in proof.entries[:3]]
    return [(known, proof.checkpoint, [*proof.consistency], items)]


def _verify_ledger_proof(value: Any, _: Place) -> Any:
    known, signed, consistency, items = value
    proof = proofs.LedgerProof(signed, consistency, tuple(proofs.EntryProof(*item) for item in items))
    return proofs.verify_ledger_proof(proof, known=known, keys=_keys())


def _cosigned_checkpoint(ledger: Sequence[bytes]) -> bytes:
    plain = _checkpoint(ledger)
    line = cosignature.cosign(
        note.parse_note(plain).text, COSIGNER_KEY.name, signing_key("witness"), timestamp=7
    )
    return plain + line.to_line().encode()


def _tlog_proofs(place: Place) -> list[bytes]:
    """Of the fourth entry, which `_verify_tlog_proof` knows; one with extra bytes."""
    ledger = _ledger_entries(place)
    path = tuple(merkle.inclusion_proof([merkle.leaf_hash(entry) for entry in ledger], 3))
    proven = tlog_proof.TlogProof(3, path, _cosigned_checkpoint(ledger))
    return [proven.to_bytes(), dataclasses.replace(proven, extra=b"more").to_bytes()]


def _verify_tlog_proof(data: bytes, place: Place) -> Any:
    entry = _ledger_entries(place)[3]
    proven = tlog_proof.parse_tlog_proof(data)
    return tlog_proof.verify_tlog_proof(proven, entry, log_key=LOG_KEY, witnesses=[COSIGNER_KEY], quorum=1)


def _witness_requests(place: Place) -> list[bytes]:
    ledger = _ledger_entries(place)
    growth = tuple(merkle.consistency_proof([merkle.leaf_hash(entry) for entry in ledger], 3))
    return [
        add_checkpoint.AddCheckpoint(3, growth, _checkpoint(ledger)).to_bytes(),
        add_checkpoint.AddCheckpoint(0, (), _cosigned_checkpoint(ledger)).to_bytes(),
    ]


def _inclusion_arguments(_: Place) -> list[Any]:
    hashes = [merkle.leaf_hash(bytes([number])) for number in range(11)]
    tree = merkle.MerkleTree(hashes)
    return [(hashes[at], at, 11, tree.inclusion_proof(at), tree.root()) for at in (0, 5, 10)]


def _consistency_arguments(_: Place) -> list[Any]:
    tree = merkle.MerkleTree([merkle.leaf_hash(bytes([number])) for number in range(11)])
    return [(old, tree.root(old), 11, tree.root(), tree.consistency_proof(old)) for old in (0, 1, 4, 7, 11)]


def _signed_note(data: bytes) -> bytes:
    """The text of a note, whatever became of it, signed by the log."""
    text = data.rpartition(b"\n\n")[0] + b"\n"
    raw = LOG_KEY.key_id + signing_key("log").sign_raw(text)
    return text + "\n— ".encode() + ORIGIN.encode() + b" " + note._to_base64(raw).encode() + b"\n"


def _open_checkpoint(data: bytes, _: Place) -> Any:
    """As it came, and with a valid signature."""
    checkpoint.open_checkpoint(_signed_note(data), LOG_KEY)
    return checkpoint.open_checkpoint(data, LOG_KEY)


_LEDGER = (
    Decoder(
        name="noren_core.canonical_json.parse",
        shape=shapes.JsonBytes(),
        valid=_ledger_entries,
        decode=_calls(canonical_json.parse),
        encode=canonical_json.encode,
        has_own_fields=False,
    ),
    Decoder(
        name="noren_core.canonical_json.parse_object",
        shape=shapes.JsonBytes(),
        valid=lambda place: _ledger_entries(place)[:3],
        decode=_calls(canonical_json.parse_object),
        encode=canonical_json.encode,
        has_own_fields=False,
    ),
    Decoder(
        name="noren_core.ids.parse_name",
        shape=shapes.JsonValue(),
        valid=lambda _: [COMPANY, "a" * 40],
        decode=_calls(lambda value: ids.parse_name(value, "name")),
        encode=lambda value: value,
    ),
    Decoder(
        name="noren_core.ids.normalise_identifier",
        shape=shapes.Text(),
        valid=lambda _: ["A@example.com", "ｱｲｳ ", "ß"],
        decode=_calls(lambda value: ids.normalise_identifier(IdentifierKind.EMAIL, value, "clerk")),
    ),
    Decoder(
        name="noren_core.rights.gate.decision_batch.SealedBatch.from_bytes",
        shape=shapes.JsonBytes(),
        valid=lambda _: [_decisions().to_bytes()],
        decode=_calls(decision_batch.SealedBatch.from_bytes),
        encode=decision_batch.SealedBatch.to_bytes,
    ),
    Decoder(
        name="noren_core.rights.gate.decision_batch.verify_evaluation",
        shape=shapes.Bytes(),
        valid=lambda _: [_evaluated_decisions().to_bytes()],
        decode=_calls(
            lambda data: decision_batch.verify_evaluation(
                data,
                _decisions(),
                evaluation=decision_batch.evaluation_sha256(_evaluated_decisions().blinded_elements),
            )
        ),
    ),
    Decoder(
        name="noren_core.season.score_payload.parse_score_payload",
        shape=shapes.Bytes(),
        valid=lambda place: [bytes(score_payload.score_payload_bytes(place.plan))],
        decode=lambda data, place: score_payload.parse_score_payload(place.plan, data),
    ),
    Decoder(
        name="noren_core.ledger.note.VerifierKey.from_text",
        shape=shapes.Text(),
        valid=lambda _: [LOG_KEY.to_text()],
        decode=_calls(VerifierKey.from_text),
        encode=VerifierKey.to_text,
    ),
    Decoder(
        name="noren_core.ledger.note.NoteKey.from_text",
        shape=shapes.Text(),
        valid=lambda _: [COSIGNER_KEY.to_text()],
        decode=_calls(CosignerKey.from_text),
        encode=CosignerKey.to_text,
    ),
    Decoder(
        name="noren_core.ledger.cosignature.verify_quorum",
        shape=shapes.Bytes(lambda data: data.splitlines(keepends=True)),
        valid=lambda place: [_cosigned_checkpoint(_ledger_entries(place))],
        decode=_calls(lambda data: cosignature.verify_quorum(note.parse_note(data), [COSIGNER_KEY], 1)),
    ),
    Decoder(
        name="noren_core.ledger.tiles.parse_bundle",
        shape=shapes.Bytes(shapes.pieces(40)),
        valid=lambda place: [tiles.encode_bundle(_ledger_entries(place)[:3])],
        decode=_calls(lambda data: tiles.parse_bundle(data, 3)),
        encode=tiles.encode_bundle,
    ),
    Decoder(
        name="noren_core.ledger.tlog_proof.parse_tlog_proof",
        shape=shapes.Bytes(lambda data: data.splitlines(keepends=True)),
        valid=_tlog_proofs,
        decode=_calls(tlog_proof.parse_tlog_proof),
        encode=tlog_proof.TlogProof.to_bytes,
    ),
    Decoder(
        name="noren_core.ledger.tlog_proof.verify_tlog_proof",
        shape=shapes.Bytes(lambda data: data.splitlines(keepends=True)),
        valid=_tlog_proofs,
        decode=_verify_tlog_proof,
    ),
    Decoder(
        name="noren_core.ledger.add_checkpoint.parse_add_checkpoint",
        shape=shapes.Bytes(lambda data: data.splitlines(keepends=True)),
        valid=_witness_requests,
        decode=_calls(add_checkpoint.parse_add_checkpoint),
        encode=add_checkpoint.AddCheckpoint.to_bytes,
    ),
    Decoder(
        name="noren_core.ledger.add_checkpoint.parse_known_size",
        shape=shapes.Bytes(shapes.pieces(2)),
        valid=lambda _: [b"0\n", b"20852163\n"],
        decode=_calls(add_checkpoint.parse_known_size),
        encode=lambda size: b"%d\n" % size,
    ),
    Decoder(
        name="noren_core.ledger.proof_lines.parse_hashes",
        shape=shapes.Text(),
        valid=lambda _: [proof_lines.to_lines([bytes(32), bytes(range(32))])[:-1]],
        decode=_calls(lambda text: proof_lines.parse_hashes(text.split("\n"), "proof")),
        encode=lambda hashes: proof_lines.to_lines(hashes)[:-1],
    ),
    Decoder(
        name="noren_core.ledger.proof_lines.parse_number",
        shape=shapes.Text(),
        valid=lambda _: ["index 0", "index 20852163"],
        decode=_calls(lambda text: proof_lines.parse_number(text, "index", "proof")),
        encode=lambda number: f"index {number}",
    ),
    Decoder(
        name="noren_core.ledger.note.parse_note",
        shape=shapes.Bytes(lambda data: data.splitlines(keepends=True)),
        valid=lambda _: [note.sign_note("one\n\ntwo\n", ORIGIN, signing_key("log"))],
        decode=_calls(note.parse_note),
    ),
    Decoder(
        name="noren_core.ledger.checkpoint.open_checkpoint",
        shape=shapes.Bytes(lambda data: data.splitlines(keepends=True)),
        valid=lambda place: [_checkpoint(_ledger_entries(place))],
        decode=_open_checkpoint,
    ),
    Decoder(
        name="noren_core.ledger.entries.parse_entry",
        shape=shapes.JsonBytes(),
        valid=_ledger_entries,
        decode=_calls(entries.parse_entry),
        encode=entries.SignedEntry.to_bytes,
        examples=200,
    ),
    Decoder(
        name="noren_core.ledger.proofs.verify_growth",
        shape=shapes.Arguments(),
        valid=_growth_arguments,
        decode=_verify_growth,
    ),
    Decoder(
        name="noren_core.ledger.proofs.verify_ledger_proof",
        shape=shapes.Arguments(),
        valid=_proof_arguments,
        decode=_verify_ledger_proof,
    ),
    Decoder(
        name="noren_core.crypto.merkle.verify_inclusion",
        shape=shapes.Arguments(),
        valid=_inclusion_arguments,
        decode=_calls(lambda value: merkle.verify_inclusion(*value)),
    ),
    Decoder(
        name="noren_core.crypto.merkle.verify_consistency",
        shape=shapes.Arguments(),
        valid=_consistency_arguments,
        decode=_calls(lambda value: merkle.verify_consistency(*value)),
    ),
    Decoder(
        name="noren_core.privacy.events.GaussianEvent.from_body",
        shape=shapes.JsonValue(),
        valid=lambda place: [round_event.round_event(place.plan).to_body()],
        decode=_calls(events.GaussianEvent.from_body),
        encode=events.GaussianEvent.to_body,
    ),
    Decoder(
        name="noren_core.privacy.events.parse_decimal",
        shape=shapes.Text(),
        valid=lambda _: ["0.000001", "4.25", "100"],
        decode=_calls(lambda value: events.parse_decimal(value, "value")),
        encode=events.format_decimal,
    ),
    Decoder(
        name="noren_core.season.plan.CampaignPlan.from_body",
        shape=shapes.JsonValue(),
        valid=lambda place: [place.plan_body],
        decode=_calls(plan.CampaignPlan.from_body),
        encode=plan.CampaignPlan.to_body,
        examples=200,
    ),
)

# Cryptography -----------------------------------------------------------------------------------------------

_OPRF_KEY = oprf.derive_key_pair(bytes(32), b"")


@functools.cache
def _decisions() -> decision_batch.SealedBatch:
    decided = {
        ids.normalise_identifier(IdentifierKind.EMAIL, f"{number}@example.org", "clerk"): Decision.PASS
        for number in range(2)
    }
    return decision_batch.seal_batch(
        decided, position="clerk", season="2026", padded_batch=4, minimum_batch=1
    )


@functools.cache
def _evaluated_decisions() -> oprf.Blinding:
    return oprf.blind([*sorted(_decisions().passed), ids.DUMMY_LABEL + bytes(ids.DUMMY_BYTES)])


@functools.cache
def _blinding() -> oprf.Blinding:
    return oprf.blind([b"one", b"two", b"three"])


def _oprf_answer() -> tuple[list[bytes], bytes]:
    return oprf.blind_evaluate(_OPRF_KEY, _blinding().blinded_elements)


def _finalize(value: Any, _: Place) -> Any:
    evaluated, proof, public_key = value
    return oprf.finalize(_blinding(), evaluated, proof, public_key)


@functools.cache
def _head() -> tuple[head_encryption.HeadSecret, bytes]:
    return head_encryption.encrypt_head([[5, -7]], weight_bits=8, binding=b"binding")


def _head_fields(data: bytes) -> list[bytes]:
    """Header and key, then what follows in pieces of a point's or a scalar's length."""
    bits_end = 38 + 2 * 8 * 66
    return [
        data[:1],
        data[1:2],
        data[2:3],
        data[3:5],
        data[5:38],
        *shapes.pieces(33)(data[38:bits_end]),
        *shapes.pieces(32)(data[bits_end:]),
    ]


_WEIGHTS = WeightLayout(positions=3, nonzero=2, negative=3, positive=16)


@functools.cache
def _weights() -> tuple[weight_encryption.WeightSecret, tuple[bytes, ...]]:
    """A secret and the five parts of a message."""
    secret = weight_encryption.WeightSecret.generate()
    weights = np.array([16, 0, -3], np.int8)
    return secret, tuple(weight_encryption.encrypt_weights(weights, secret, _WEIGHTS, binding=b"binding"))


def _read_weights(value: Any, _: Place) -> None:
    reader = weight_encryption.WeightReader(_WEIGHTS, binding=b"binding")
    for part in value:
        reader.add(part)


def _sum_weights(value: Any, _: Place) -> None:
    sums = sealed_sums.SealedSums(_WEIGHTS, np.zeros((3, 1), np.int8), binding=b"binding")
    for part in value:
        sums.add(part)


@functools.cache
def _sealed_sums() -> bytes:
    sums = sealed_sums.SealedSums(_WEIGHTS, np.ones((3, 2), np.int8), binding=b"binding")
    for part in _weights()[1]:
        sums.add(part)
    return sums.release(noise=np.array([3, -5]), seed=sealed_sums.AnswerSeed.generate())


def _open_sums(data: bytes) -> list[int]:
    return sealed_sums.open_sums(data, _weights()[0], _WEIGHTS, columns=2, variance=Fraction(100))


def _bit_proof() -> tuple[bytes, secp256k1.Point, list[bit_proof.EncryptedBit], bytes]:
    secret = _head()[0]
    bits = bit_proof.encrypt_bits([0, 1], secret.scalar)
    return b"statement", secret.public_key, bits, bit_proof.prove_bits(b"statement", secret.scalar, bits)


def _verify_bits(value: Any, _: Place) -> Any:
    statement, points, proof = value
    a, b, c, d = map(secp256k1.Point.from_bytes, points)
    ciphertexts = [bit_proof.Ciphertext(a, b), bit_proof.Ciphertext(c, d)]
    bit_proof.verify_bits(statement, _head()[0].public_key, ciphertexts, proof)


def _bit_proof_arguments(_: Place) -> list[Any]:
    statement, _key, bits, proof = _bit_proof()
    points = [point.to_bytes() for bit in bits for point in (bit.ciphertext.a, bit.ciphertext.b)]
    return [(statement, (*points,), proof)]


def _scores(_: Place) -> list[Any]:
    """Ciphertexts of small scores, as a platform makes them."""
    secret = _head()[0]
    made = []
    for score in (3, -5):
        nonce = secp256k1.random_scalar()
        shared = secp256k1.multiply_secret(nonce, secret.public_key)
        value = secp256k1.multiply_base_secret(secp256k1.public_scalar(score))
        total = secp256k1.sum_points((shared, value))
        assert total is not None
        made.append(secp256k1.multiply_base_secret(nonce).to_bytes() + total.to_bytes())
    return [made]


def _shares() -> dict[int, bytes]:
    return shamir.split(bytes(range(32)), threshold=3, points=range(1, 5))


_KEYS_AND_PROOFS = (
    Decoder(
        name="noren_core.crypto.identity.SigningKey.from_bytes",
        shape=shapes.Bytes(),
        valid=lambda _: [bytes(range(32))],
        decode=_calls(SigningKey.from_bytes),
        encode=SigningKey.to_bytes,
        examples=50,
    ),
    Decoder(
        name="noren_core.crypto.identity.SealingKey.from_bytes",
        shape=shapes.Bytes(),
        valid=lambda _: [bytes(range(32))],
        decode=_calls(SealingKey.from_bytes),
        encode=SealingKey.to_bytes,
        examples=50,
    ),
    Decoder(
        name="noren_core.crypto.identity.SealingKey.open",
        shape=shapes.Bytes(shapes.pieces(32)),
        valid=lambda _: [identity.seal_to(sealing_key(COMPANY).public_key, b"secret", info=b"info")],
        decode=_calls(lambda data: sealing_key(COMPANY).open(data, info=b"info")),
    ),
    Decoder(
        name="noren_core.crypto.identity.seal_to",
        shape=shapes.Bytes(),
        valid=lambda _: [sealing_key(COMPANY).public_key],
        decode=_calls(lambda data: identity.seal_to(data, b"secret", info=b"info")),
    ),
    Decoder(
        name="noren_core.crypto.identity.verify_signature",
        shape=shapes.Arguments(),
        valid=lambda _: [
            (signing_key("a").public_key, b"label", b"message", signing_key("a").sign(b"label", b"message"))
        ],
        decode=_calls(lambda value: identity.verify_signature(*value)),
    ),
    Decoder(
        name="noren_core.crypto.identity.verify_raw_signature",
        shape=shapes.Arguments(),
        valid=lambda _: [(signing_key("a").public_key, b"message", signing_key("a").sign_raw(b"message"))],
        decode=_calls(lambda value: identity.verify_raw_signature(*value)),
    ),
    Decoder(
        name="noren_core.crypto.oprf.OprfPrivateKey.from_bytes",
        shape=shapes.Bytes(),
        valid=lambda _: [_OPRF_KEY.to_bytes()],
        decode=_calls(oprf.OprfPrivateKey.from_bytes),
        encode=oprf.OprfPrivateKey.to_bytes,
    ),
    Decoder(
        name="noren_core.crypto.oprf.Blinding.from_bytes",
        shape=shapes.Bytes(),
        valid=lambda _: [_blinding().to_bytes()],
        decode=_calls(oprf.Blinding.from_bytes),
        encode=oprf.Blinding.to_bytes,
    ),
    Decoder(
        name="noren_core.crypto.oprf.blind_evaluate",
        shape=shapes.Arguments(),
        valid=lambda _: [([*_blinding().blinded_elements],)],
        decode=_calls(lambda value: oprf.blind_evaluate(_OPRF_KEY, value[0])),
        examples=60,
    ),
    Decoder(
        name="noren_core.crypto.oprf.finalize",
        shape=shapes.Arguments(),
        valid=lambda _: [(*_oprf_answer(), _OPRF_KEY.public_key)],
        decode=_finalize,
        examples=60,
    ),
    Decoder(
        name="noren_core.crypto.dleq.verify_proof",
        shape=shapes.Bytes(shapes.pieces(32)),
        valid=lambda _: [_oprf_answer()[1]],
        decode=_calls(
            lambda data: dleq.verify_proof(
                _OPRF_KEY.public_key, _blinding().blinded_elements, _oprf_answer()[0], data
            )
        ),
        examples=60,
    ),
    Decoder(
        name="noren_core.crypto.head_encryption.HeadSecret.from_bytes",
        shape=shapes.Bytes(),
        valid=lambda _: [_head()[0].to_bytes()],
        decode=_calls(head_encryption.HeadSecret.from_bytes),
        encode=head_encryption.HeadSecret.to_bytes,
    ),
    Decoder(
        name="noren_core.crypto.head_encryption.HeadSecret.decrypt",
        shape=shapes.Arguments(),
        valid=_scores,
        decode=_calls(lambda value: _head()[0].decrypt(value, bound=100)),
        examples=60,
    ),
    Decoder(
        name="noren_core.crypto.head_encryption.verify_head",
        shape=shapes.Bytes(_head_fields),
        valid=lambda _: [_head()[1]],
        decode=_calls(
            lambda data: head_encryption.verify_head(
                data,
                head_encryption.HeadLayout(dimensions=2, weight_bits=8, heads=1),
                binding=b"binding",
            )
        ),
        examples=60,
    ),
    Decoder(
        name="noren_core.crypto.bit_proof.verify_bits",
        shape=shapes.Arguments(),
        valid=_bit_proof_arguments,
        decode=_verify_bits,
        examples=60,
    ),
    Decoder(
        name="noren_core.crypto.weight_encryption.WeightSecret.from_bytes",
        shape=shapes.Bytes(shapes.pieces(32)),
        valid=lambda _: [_weights()[0].to_bytes()],
        decode=_calls(weight_encryption.WeightSecret.from_bytes),
        encode=weight_encryption.WeightSecret.to_bytes,
    ),
    Decoder(
        name="noren_core.crypto.weight_encryption.WeightReader.add",
        shape=shapes.Arguments(),
        valid=lambda _: [_weights()[1]],
        decode=_read_weights,
        examples=60,
    ),
    Decoder(
        name="noren_core.crypto.sealed_sums.SealedSums.add",
        shape=shapes.Arguments(),
        valid=lambda _: [_weights()[1]],
        decode=_sum_weights,
        examples=60,
    ),
    Decoder(
        name="noren_core.crypto.sealed_sums.AnswerSeed.from_bytes",
        shape=shapes.Bytes(),
        valid=lambda _: [bytes(range(32))],
        decode=_calls(sealed_sums.AnswerSeed.from_bytes),
        encode=sealed_sums.AnswerSeed.to_bytes,
    ),
    Decoder(
        name="noren_core.crypto.sealed_sums.open_sums",
        shape=shapes.Bytes(shapes.pieces(33)),
        valid=lambda _: [_sealed_sums()],
        decode=_calls(_open_sums),
        examples=60,
    ),
    Decoder(
        name="noren_core.crypto.multi_scalar.PointVector.parse",
        shape=shapes.Bytes(shapes.pieces(33)),
        valid=lambda _: [_weights()[1][1]],
        decode=_calls(
            lambda data: multi_scalar.PointVector.parse(
                np.frombuffer(data[: len(data) // 33 * 33], np.uint8).reshape(-1, 33)
            )
        ),
    ),
    Decoder(
        name="noren_core.crypto.secp256k1.Point.from_bytes",
        shape=shapes.Bytes(lambda data: (data[:1], data[1:])),
        valid=lambda _: [_head()[0].public_key.to_bytes(), secp256k1.GENERATOR.to_bytes()],
        decode=_calls(secp256k1.Point.from_bytes),
        encode=secp256k1.Point.to_bytes,
    ),
    Decoder(
        name="noren_core.crypto.shamir.parse_share",
        shape=shapes.Bytes(),
        valid=lambda _: list(_shares().values()),
        decode=_calls(shamir.parse_share),
        encode=lambda value: value.to_bytes(shamir.SHARE_BYTES, "big"),
    ),
    Decoder(
        name="noren_core.crypto.shamir.recover",
        shape=shapes.Arguments(),
        valid=lambda _: [[*_shares().values()]],
        decode=_calls(lambda value: shamir.recover(dict(enumerate(value, start=1)), threshold=3)),
    ),
)

# Sealed tables ----------------------------------------------------------------------------------------------


@functools.cache
def _table() -> tuple[sealed_table.TableManifest, tuple[bytes, ...], tuple[bytes, ...]]:
    context = sealed_table.TableContext(
        company=COMPANY, campaign=CAMPAIGN, kind=TableKind.TRAIN, table_id=bytes(16)
    )
    rows = [(hashlib.sha512(bytes([number])).digest(), bytes(8)) for number in range(5)]
    table = seal_table(context, rows, padded_rows=12, payload_bytes=8, chunk_rows=5)
    return table.manifest, table.chunks, table.chunk_hashes


def _read_table(value: Any, _: Place) -> Any:
    """The whole table, as a company reads it."""
    hashes, parts = value
    outputs = {name: hashlib.sha512(bytes([name])).digest() for name in (1, 9)}
    reader: sealed_table.TableReader[int] = sealed_table.TableReader(_table()[0], hashes, outputs)
    for index, chunk in parts:
        reader.feed(index, chunk)
    return reader.rows


_TABLES = (
    Decoder(
        name="noren_core.crypto.sealed_table.TableManifest.from_body",
        shape=shapes.JsonValue(),
        valid=lambda _: [_manifest().to_body()],
        decode=_calls(sealed_table.TableManifest.from_body),
        encode=sealed_table.TableManifest.to_body,
        examples=120,
    ),
    Decoder(
        name="noren_core.crypto.sealed_table.verify_chunk_hashes",
        shape=shapes.Arguments(),
        valid=lambda _: [[*_table()[2]]],
        decode=_calls(lambda value: sealed_table.verify_chunk_hashes(_table()[0], value)),
    ),
    Decoder(
        name="noren_core.crypto.sealed_table.verify_chunk",
        shape=shapes.Arguments(),
        valid=lambda _: [(index, chunk) for index, chunk in enumerate(_table()[1])],
        decode=_calls(lambda value: sealed_table.verify_chunk(_table()[0], _table()[2], *value)),
    ),
    Decoder(
        name="noren_core.crypto.sealed_table.TableReader",
        shape=shapes.Arguments(),
        valid=lambda _: [([*_table()[2]], [*enumerate(_table()[1])])],
        decode=_read_table,
    ),
)

# Training messages ------------------------------------------------------------------------------------------


def _group() -> secagg.Group:
    roster = {company: signing_key(company).public_key for company in COMPANIES}
    return secagg.Group(
        roster=roster, threshold=3, minimum_cohort=2, session=SESSION, rounds=2, vector_length=5
    )


def _advertisement(company: str = COMPANY) -> secagg.Advertisement:
    keys = [sealing_key(f"{company} {number}").public_key for number in range(3)]
    commitments = tuple(hashlib.sha256(key).digest() for key in keys[1:])
    contribution = hashlib.sha256(company.encode()).digest()
    unsigned = secagg.Advertisement(keys[0], tuple(keys[1:]), commitments, contribution, b"")
    statement = secagg.advertisement_statement(_group(), company, unsigned)
    signature = signing_key(company).sign(secagg.ADVERTISEMENT_LABEL, statement)
    return dataclasses.replace(unsigned, signature=signature)


def _advertisement_arguments(_: Place) -> list[Any]:
    made = _advertisement()
    keys, commitments = [*made.round_keys], [*made.seed_commitments]
    return [(COMPANY, made.share_key, keys, commitments, made.contribution_commitment, made.signature)]


def _verify_advertisement(value: Any, _: Place) -> Any:
    company, *fields = value
    secagg.verify_advertisement(_group(), company, secagg.Advertisement(*fields))


def _verify_all_distinct(value: Any, _: Place) -> Any:
    secagg.verify_all_distinct([secagg.Advertisement(*value[1:]), _advertisement("company-2")])


def _unmasking() -> secagg.Unmasking:
    shares = tuple(secagg.PeerShare(company, True, bytes(66)) for company in COMPANIES)
    statement = secagg.survivor_statement(SESSION, 1, COMPANIES)
    return secagg.Unmasking(shares, signing_key(COMPANY).sign(secagg.SURVIVORS_LABEL, statement))


def _unmasking_arguments(_: Place) -> list[Any]:
    made = _unmasking()
    return [([(each.company, each.is_self_mask, each.share) for each in made.shares], made.signature)]


def _verify_unmasking(value: Any, _: Place) -> Any:
    shares, signature = value
    unmasking = secagg.Unmasking(tuple(secagg.PeerShare(*share) for share in shares), signature)
    secagg.verify_unmasking(
        _group(), COMPANY, unmasking, round_number=1, cohort=COMPANIES, survivors=COMPANIES
    )


def _verify_survivors(value: Any, _: Place) -> Any:
    number, survivors, signature = value
    secagg.verify_survivor_signature(
        signing_key(COMPANY).public_key,
        session=SESSION,
        round_number=number,
        survivors=survivors,
        signature=signature,
    )


def _consents() -> RoundConsents:
    listed = _revocations()
    return RoundConsents(listed.to_bytes(), listed.sign(signing_key("platform")), bytes(32))


def _requests(place: Place) -> list[messages.Request]:
    _, proof = _ledger_proof(place)
    short = proofs.LedgerProof(proof.checkpoint, proof.consistency, proof.entries[:2])
    done = (messages.Aggregate(1, COMPANIES, np.arange(5, dtype=np.int64)),)
    return [
        messages.AdvertiseRequest(CAMPAIGN),
        messages.ShareRequest(CAMPAIGN, {company: _advertisement(company) for company in COMPANIES}),
        messages.MaskedInputRequest(CAMPAIGN, 2, short, {"company-2": bytes(100)}, done, _consents()),
        messages.MaskedInputRequest(CAMPAIGN, 2, short, {}, done, RoundConsents(b"", b"", bytes(32))),
        messages.UnmaskRequest(CAMPAIGN, 1, COMPANIES, {COMPANY: bytes(64)}),
        messages.FinishRequest(CAMPAIGN, done, {"company-2": bytes(100)}, {COMPANY: bytes(64)}),
    ]


def _answers(place: Place) -> list[messages.Answer]:
    entry = _ledger_entries(place)[0]
    replies = (
        messages.AdvertiseReply(_advertisement(), entry),
        messages.ShareReply({"company-2": bytes(100)}, entry),
        messages.MaskedInputReply(np.arange(5, dtype=np.uint64), (entry,), bytes(64)),
        messages.UnmaskReply(_unmasking(), entry),
        messages.FinishReply((entry, entry)),
    )
    return [messages.Answer(reply, 7) for reply in replies]


def _open_signed_answer(data: bytes, _: Place) -> Any:
    """The bytes signed by the company, so that what is inside them is reached."""
    signature = signing_key(COMPANY).sign(
        messages._REPLY_LABEL, messages._reply_statement(COMPANY, b"request", data)
    )
    signed = training_pb2.SignedReply(reply=data, signature=signature).SerializeToString()
    return messages.open_answer(
        signed, company=COMPANY, request=b"request", public_key=signing_key(COMPANY).public_key
    )


def _open_answer(data: bytes, _: Place) -> Any:
    return messages.open_answer(
        data, company=COMPANY, request=b"request", public_key=signing_key(COMPANY).public_key
    )


def _signed_answers(place: Place) -> list[bytes]:
    return [
        messages.sign_answer(answer, company=COMPANY, request=b"request", key=signing_key(COMPANY))
        for answer in _answers(place)
    ]


_MESSAGES = (
    Decoder(
        name="noren_core.season.messages.parse_request",
        shape=shapes.ProtobufBytes(training_pb2.TrainingRequest),
        valid=lambda place: [messages.encode_request(request) for request in _requests(place)],
        decode=_calls(messages.parse_request),
        examples=150,
    ),
    Decoder(
        name="noren_core.season.messages.parse_answer",
        shape=shapes.ProtobufBytes(training_pb2.TrainingReply),
        valid=lambda place: [messages._encode_answer(answer) for answer in _answers(place)],
        decode=_open_signed_answer,
        examples=150,
    ),
    Decoder(
        name="noren_core.season.messages.open_answer",
        shape=shapes.ProtobufBytes(training_pb2.SignedReply),
        valid=_signed_answers,
        decode=_open_answer,
    ),
    Decoder(
        name="noren_core.season.messages.proof_from_wire",
        shape=shapes.ProtobufMessage(training_pb2.LedgerProof),
        valid=lambda place: [messages.proof_to_wire(_ledger_proof(place)[1])],
        decode=_calls(messages.proof_from_wire),
    ),
    Decoder(
        name="noren_core.secagg.messages.verify_advertisement",
        shape=shapes.Arguments(),
        valid=_advertisement_arguments,
        decode=_verify_advertisement,
    ),
    Decoder(
        name="noren_core.secagg.messages.verify_all_distinct",
        shape=shapes.Arguments(),
        valid=_advertisement_arguments,
        decode=_verify_all_distinct,
        examples=50,
    ),
    Decoder(
        name="noren_core.secagg.messages.verify_unmasking",
        shape=shapes.Arguments(),
        valid=_unmasking_arguments,
        decode=_verify_unmasking,
    ),
    Decoder(
        name="noren_core.secagg.messages.verify_survivor_signature",
        shape=shapes.Arguments(),
        valid=lambda _: [(1, [*COMPANIES], _unmasking().signature)],
        decode=_verify_survivors,
    ),
)

# A company's files ------------------------------------------------------------------------------------------


def _company_config() -> CompanyConfig:
    addresses = Addresses("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3")
    pins = config.parse_pins("ab" * 32, LOG_KEY.to_text(), PLATFORM_KEY.hex())
    return CompanyConfig(COMPANY, "job-site", addresses, pins, Limits())


def _company_directory(place: Place) -> None:
    """A company that has enrolled."""
    (place.directory / "keys").mkdir()
    (place.directory / "platform").mkdir()
    (place.directory / config.FILE_NAME).write_bytes(config.to_toml(_company_config()))
    authority = CertificateAuthority.create(name="job-site", now=datetime.now(UTC))
    keystore.authority_path(place.directory).write_bytes(authority.certificate_pem)
    keystore.create_missing(place.directory)
    request = keystore.certificate_request(place.directory, COMPANY)
    chain = authority.issue_client(request, COMPANY, now=datetime.now(UTC))
    keystore.save_certificate(place.directory, chain, company=COMPANY)


def _of_company(valid: Callable[[Place], Sequence[Any]]) -> Callable[[Place], Sequence[Any]]:
    def prepared(place: Place) -> Sequence[Any]:
        _company_directory(place)
        return valid(place)

    return prepared


def _in_custody(name: str, load: Callable[[Path], Any]) -> Callable[[bytes, Place], Any]:
    def decode(data: bytes, place: Place) -> Any:
        with CustodyStore(place.directory) as custody:
            custody.write(name, data)
        return load(place.directory)

    return decode


def _of_campaign(save: Callable[[Path], None], name: str) -> Callable[[Place], Sequence[bytes]]:
    def valid(place: Place) -> list[bytes]:
        save(place.directory)
        return [(campaign_files.directory(place.directory, CAMPAIGN) / name).read_bytes()]

    return valid


_IN_CAMPAIGN = f"campaigns/{CAMPAIGN}"


def _roster(directory: Path) -> None:
    campaign_files.save_roster(
        directory,
        CAMPAIGN,
        signing={company: signing_key(company).public_key for company in COMPANIES},
        sealing={company: sealing_key(company).public_key for company in COMPANIES},
    )


_TRAINING_SET = TrainingSet(
    tags=tuple(bytes([number]) * 16 for number in (3, 7, 9)),
    rows=np.arange(12, dtype=np.int16).reshape(3, 4),
    labels=np.array([0, 1, 1], dtype=np.int8),
    table_id=bytes(16),
)


_KEPT_WEIGHTS = sealed_statistics.KeptWeights(
    WeightSecret.from_bytes(bytes([1]) * 64), bytes(32), np.array([0, -3, 7, 0], dtype=np.int8)
)


def _keep_weights(directory: Path) -> None:
    name = campaign_files.secret_name(CAMPAIGN, sealed_statistics.WEIGHTS_FILE)
    keystore.write_secret(directory, name, _KEPT_WEIGHTS.to_bytes())


def _keep_sums(directory: Path) -> None:
    campaign_files.save_sums(directory, CAMPAIGN, OpenedSums((-3, 0, 2**40)))


def _replay_data(place: Place) -> list[bytes]:
    data = replay_data.ReplayData(
        campaign=CAMPAIGN,
        company=COMPANY,
        seed=bytes(32),
        row_salt=bytes(32),
        commitment_key=bytes(32),
        cohort=COMPANIES,
        material=_TRAINING_SET,
        rounds=(replay_data.ReplayRound(1, COMPANIES, (1, -2, 3), (4, -5, 6, 7), _consents()),),
    )
    replay_data.save(place.directory, data, now=1_800_000_000)
    with CustodyStore(place.directory) as custody:
        return [custody.read(replay_data.replay_record(CAMPAIGN)) or b""]


def _odometer_lines(place: Place) -> list[bytes]:
    log = odometer.Odometer(place.directory / "odometer.jsonl", signing_key(COMPANY))
    log.reserve(place.plan, 1)
    log.settle(place.plan, 1)
    log.reserve(place.plan, 2)
    return [(place.directory / "odometer.jsonl").read_bytes()]


def _invitation(_: Place) -> list[bytes]:
    made = _company_config()
    return [
        canonical_json.encode(
            {
                "format": enrolment.INVITATION_FORMAT,
                "company": made.company,
                "platform": made.platform,
                "enrolment_address": made.addresses.enrolment,
                "service_address": made.addresses.service,
                "fleet_address": made.addresses.fleet,
                "ca_pem": "-----BEGIN CERTIFICATE-----\n",
                "log_key": made.pins.log_key.to_text(),
                "platform_key": made.pins.platform_key.hex(),
                "bundle_sha256": made.pins.bundle_sha256,
                "agreement_sha256": agreement_sha256(),
                "code": "ab" * 20,
                "expires_at": 1_800_000_000,
            }
        )
    ]


_APPLICANTS = b"""season,position,identifier_kind,identifier,decision,outcome
2025,clerk,email,a@example.com,offer,declined
2025,clerk,consent-code,XY-12,no-offer,
2026,clerk,email,"b,c@example.com",offer,
2026,engineer,email,"b,c@example.com",hold,
"""

_COMPANY = (
    Decoder(
        name="noren_client.applicants.read_applicants",
        shape=shapes.Csv(),
        valid=lambda _: [_APPLICANTS, b"\xef\xbb\xbf" + _APPLICANTS],
        decode=_file(applicants.read_applicants),
    ),
    Decoder(
        name="noren_client.config.load",
        shape=shapes.Toml(),
        valid=lambda _: [config.to_toml(_company_config())],
        decode=_directory(config.load, config.FILE_NAME),
        examples=150,
    ),
    Decoder(
        name="noren_client.config.parse_pins",
        shape=shapes.Arguments(),
        valid=lambda _: [("ab" * 32, LOG_KEY.to_text(), PLATFORM_KEY.hex())],
        decode=_calls(lambda value: config.parse_pins(*value)),
    ),
    Decoder(
        name="noren_client.campaign_files.load_plan",
        shape=shapes.JsonBytes(),
        valid=lambda place: _of_campaign(
            lambda where: campaign_files.save_plan(where, place.plan), "plan.json"
        )(place),
        decode=_directory(
            lambda where: campaign_files.load_plan(where, CAMPAIGN), f"{_IN_CAMPAIGN}/plan.json"
        ),
        has_own_fields=False,
    ),
    Decoder(
        name="noren_client.campaign_files.load_roster",
        shape=shapes.JsonBytes(),
        valid=_of_campaign(_roster, "roster.json"),
        decode=_directory(
            lambda where: campaign_files.load_roster(where, CAMPAIGN), f"{_IN_CAMPAIGN}/roster.json"
        ),
    ),
    Decoder(
        name="noren_client.campaign_files.load_training_set",
        shape=shapes.Bytes(shapes.pieces(16)),
        valid=_of_company(lambda _: [_TRAINING_SET.to_bytes()]),
        decode=_in_custody(
            campaign_files.training_record(CAMPAIGN),
            lambda where: campaign_files.load_training_set(where, CAMPAIGN),
        ),
        examples=150,
    ),
    Decoder(
        name="noren_client.campaign_files.load_sums",
        shape=shapes.JsonBytes(),
        valid=_of_campaign(_keep_sums, "sums.json"),
        decode=_directory(
            lambda where: campaign_files.load_sums(where, CAMPAIGN), f"{_IN_CAMPAIGN}/sums.json"
        ),
    ),
    Decoder(
        name="noren_client.sealed_statistics.load_weights",
        shape=shapes.Bytes(shapes.pieces(32)),
        valid=_of_campaign(_keep_weights, "weights.bin"),
        decode=_directory(
            lambda where: sealed_statistics.load_weights(where, CAMPAIGN), f"{_IN_CAMPAIGN}/weights.bin"
        ),
        examples=150,
    ),
    Decoder(
        name="noren_client.sealed_statistics.KeptWeights.from_bytes",
        shape=shapes.Bytes(shapes.pieces(32)),
        valid=lambda _: [_KEPT_WEIGHTS.to_bytes()],
        decode=_calls(sealed_statistics.KeptWeights.from_bytes),
    ),
    Decoder(
        name="noren_client.training_set.TrainingSet.from_bytes",
        shape=shapes.Bytes(shapes.pieces(16)),
        valid=lambda _: [_TRAINING_SET.to_bytes()],
        decode=_calls(TrainingSet.from_bytes),
    ),
    Decoder(
        name="noren_client.replay_data.export",
        shape=shapes.Bytes(shapes.pieces(16)),
        valid=_of_company(_replay_data),
        decode=_in_custody(
            replay_data.replay_record(CAMPAIGN), lambda where: replay_data.export(where, CAMPAIGN)
        ),
        examples=150,
    ),
    Decoder(
        name="noren_client.campaign_files.load_head",
        shape=shapes.JsonBytes(),
        valid=_of_campaign(
            lambda where: campaign_files.save_head(where, CAMPAIGN, [5, -(2**40)]), "head.json"
        ),
        decode=_directory(
            lambda where: campaign_files.load_head(where, CAMPAIGN), f"{_IN_CAMPAIGN}/head.json"
        ),
    ),
    Decoder(
        name="noren_client.enrolment.read_invitation",
        shape=shapes.JsonBytes(),
        valid=_invitation,
        decode=_file(enrolment.read_invitation),
        examples=120,
    ),
    Decoder(
        name="noren_client.odometer.Odometer.rounds_reserved",
        shape=shapes.JsonLines(),
        valid=_odometer_lines,
        decode=_file(lambda path: odometer.Odometer(path, signing_key(COMPANY)).rounds_reserved(CAMPAIGN)),
    ),
    Decoder(
        name="noren_client.keystore.load",
        shape=shapes.Bytes(),
        valid=_of_company(lambda place: [(place.directory / "keys/signing.key").read_bytes()]),
        decode=_directory(keystore.load, "keys/signing.key"),
        examples=60,
    ),
    Decoder(
        name="noren_client.keystore.load_tls",
        shape=shapes.Bytes(lambda data: data.splitlines(keepends=True)),
        valid=_of_company(lambda place: [(place.directory / "keys/tls.pem").read_bytes()]),
        decode=_directory(lambda where: keystore.load_tls(where, now=datetime.now(UTC)), "keys/tls.pem"),
    ),
    Decoder(
        name="noren_client.keystore.save_certificate",
        shape=shapes.Bytes(lambda data: data.splitlines(keepends=True)),
        valid=_of_company(lambda place: [(place.directory / "keys/tls.pem").read_bytes()]),
        decode=lambda data, place: keystore.save_certificate(place.directory, data, company=COMPANY),
        examples=60,
    ),
    Decoder(
        name="noren_client.keystore.certificate_request",
        shape=shapes.Bytes(lambda data: data.splitlines(keepends=True)),
        valid=_of_company(lambda place: [(place.directory / "keys/tls.key").read_bytes()]),
        decode=_directory(lambda where: keystore.certificate_request(where, COMPANY), "keys/tls.key"),
        examples=60,
    ),
    Decoder(
        name="noren_client.keystore.node_public_keys",
        shape=shapes.Bytes(lambda data: data.splitlines(keepends=True)),
        valid=_of_company(lambda place: [(place.directory / "keys/node.key").read_bytes()]),
        decode=_directory(keystore.node_public_keys, "keys/node.key"),
        examples=60,
    ),
)

# The platform's files and requests --------------------------------------------------------------------------

_SEASONS = b"""activity_types = ["view", "login"]
milestone_types = ["entry"]
[[seasons]]
name = "2025"
start_us = 1740787200000000
cutoff_day = 60
is_past = true
"""
_CAMPAIGN = f"""campaign = "{CAMPAIGN}"
train_seasons = ["2025"]
score_season = "2026"
rounds = 3
[task]
name = "decline"
positive = ["declined"]
negative = ["accepted"]
excluded = []
""".encode()
_PLATFORM_CONFIG = b"""name = "job-site"
origin = "job-site/ledger"
host = "127.0.0.1"
enrolment_port = 1
service_port = 2
fleet_port = 3
student_port = 4
"""


def _own_line(data: bytes, place: Place) -> Any:
    """What a witness answered about a checkpoint of ours."""
    asked = note.parse_note(_checkpoint(_ledger_entries(place)))
    return witnesses._own_line(asked, data, COSIGNER_KEY)


_WITNESS_CONFIG = f"""witness_quorum = 1
[[witness]]
url = "https://witness.example/prefix"
key = "{COSIGNER_KEY.to_text()}"
""".encode()


def _events(_: Place) -> list[bytes]:
    rows: dict[str, list[Any]] = {
        "student": ["s1", "s2"],
        "time_us": [1_740_787_200_000_000, 1_740_787_200_000_001],
        "event_type": ["view", "entry"],
        "context": ["company-1", None],
        "value": [1.5, None],
    }
    made = []
    for compression in ("none", "snappy"):
        output = io.BytesIO()
        pq.write_table(pa.table(rows, schema=event_log.SCHEMA), output, compression=compression)
        made.append(output.getvalue())
    return made


def _open_events(data: bytes, place: Place) -> Any:
    """What is accepted can be read to its end by others."""
    place.file.write_bytes(data)
    log = event_log.open_event_log(place.file)
    return pq.read_table(place.file).to_pylist(), log


def _node_pem() -> bytes:
    encoding, layout = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return ec.derive_private_key(12345, ec.SECP384R1()).public_key().public_bytes(encoding, layout)


def _authority_key(place: Place) -> list[bytes]:
    authority = CertificateAuthority.create(name="job-site", now=NOW)
    (place.directory / "ca.pem").write_bytes(authority.certificate_pem)
    return [authority.key_pem]


def _write_plan(data: bytes, place: Place) -> Any:
    """A campaign file as the operator's command takes it, up to the calibration of the noise."""
    place.file.write_bytes(data)
    choices = campaigns.PlanChoices.from_toml(place.file)
    campaigns._verify_ranges(choices)
    return choices


@functools.cache
def _consent_events() -> tuple[consent_event.SignedEvent, ...]:
    """Every form of event, of one student, in the order in which a book takes them."""
    students = ConsentingStudents(signing_key("platform"))
    student = students.student("s1")
    events = [*student.may_be_scored(COMPANY), student.withdraws(Purpose.SCORE, COMPANY)]
    new = StudentDevice.create("s1")
    return (*events, new.replaces(student.device, time=students.tick()))


def _proven_events() -> tuple[tuple[receipt.ProvenEvent, ...], merkle.MerkleTree]:
    """Registration, shown, given; and the log that they are in."""
    events = _consent_events()[3:5]
    chosen = (_consent_events()[0], *events)
    tree = merkle.MerkleTree([log_leaf(bytes(16), event.to_bytes()) for event in chosen])
    items = [(n, event, tuple(tree.inclusion_proof(n))) for n, event in enumerate(chosen)]
    return tuple(receipt.ProvenEvent(n, bytes(16), event, proof) for n, event, proof in items), tree


@functools.cache
def _receipt() -> bytes:
    events, tree = _proven_events()
    record = None
    for item in events[1:]:
        event = item.signed.event
        assert isinstance(event, consent_event.ConsentEvent)
        record = consent_record.advance(record or consent_record.begin(event), event)
    assert record is not None
    found = receipt.Receipt(bytes(16), 9, _TERMS, record, events, tree.size, tree.root())
    return receipt.sign_receipt(found, signing_key("platform"))


def _import_consents(data: bytes, place: Place) -> Any:
    place.file.write_bytes(data)
    path = place.directory / "consents.db"
    for each in place.directory.glob("consents.db*"):
        each.unlink()
    with ConsentBook(path, service_key=PLATFORM_KEY, facts=PermissiveFacts().at) as book:
        return consent_files.import_events(book, place.file, now=consenting_students.NOW + 99)


_TERMS = receipt.ReceiptTerms(
    language="ja",
    controller="job-site",
    recipient=COMPANY,
    data_categories=("industry-views",),
    storage=("JP",),
    retention="P60D",
    jurisdiction="JP",
    withdrawal_method="https://jobs.example/me",
    withdrawal_effect="stop",
)
_PERMIT_KEY = permit.permit_key(signing_key("platform"))
_PERMIT = permit.Permit(
    jti=bytes(16),
    audience=COMPANY,
    mailbox=bytes(range(16)),
    purpose=Purpose.SCORE,
    position="clerk",
    consent_seq=4,
    epoch=1,
    issued_at=5,
    expires_at=6,
)


_PLATFORM = (
    Decoder(
        name="noren_core.rights.consent.consent_event.parse_event",
        shape=shapes.JsonBytes(),
        valid=lambda _: [event.to_bytes() for event in _consent_events()],
        decode=_calls(consent_event.parse_event),
        encode=consent_event.SignedEvent.to_bytes,
    ),
    Decoder(
        name="noren_core.rights.consent.consent_event.from_body",
        shape=shapes.JsonValue(),
        valid=lambda _: [consent_event.to_body(event.event) for event in _consent_events()],
        decode=_calls(consent_event.from_body),
        encode=consent_event.to_body,
    ),
    Decoder(
        name="noren_core.rights.consent.consent_event.parse_company",
        shape=shapes.JsonValue(),
        valid=lambda _: [COMPANY],
        decode=_calls(consent_event.parse_company),
        encode=lambda value: value,
    ),
    Decoder(
        name="noren_core.rights.consent.consent_event.parse_student",
        shape=shapes.JsonValue(),
        valid=lambda _: ["s1", "学生"],
        decode=_calls(consent_event.parse_student),
        encode=lambda value: value,
    ),
    Decoder(
        name="noren_core.rights.consent.permit.Permit.from_bytes",
        shape=shapes.Bytes(),
        valid=lambda _: [_PERMIT.to_bytes(_PERMIT_KEY)],
        decode=_calls(lambda data: permit.Permit.from_bytes(data, _PERMIT_KEY)),
        encode=lambda value: value.to_bytes(_PERMIT_KEY),
    ),
    Decoder(
        name="noren_core.rights.consent.receipt.verify_receipt",
        shape=shapes.JsonBytes(),
        valid=lambda _: [_receipt()],
        decode=_calls(lambda data: receipt.verify_receipt(data, service_key=PLATFORM_KEY)),
    ),
    Decoder(
        name="noren_core.rights.consent.receipt.ReceiptTerms.from_body",
        shape=shapes.JsonValue(),
        valid=lambda _: [_TERMS.to_body()],
        decode=_calls(receipt.ReceiptTerms.from_body),
        encode=receipt.ReceiptTerms.to_body,
    ),
    Decoder(
        name="noren_core.rights.consent.receipt.ProvenEvent.from_body",
        shape=shapes.JsonValue(),
        valid=lambda _: [item.to_body() for item in _proven_events()[0]],
        decode=_calls(receipt.ProvenEvent.from_body),
        encode=receipt.ProvenEvent.to_body,
        has_own_fields=False,
    ),
    Decoder(
        name="noren_server.consents.consent_files.import_events",
        shape=shapes.JsonLines(),
        valid=lambda _: [b"".join(event.to_bytes() + b"\n" for event in _consent_events())],
        decode=_import_consents,
        examples=20,
        has_own_fields=False,
    ),
    Decoder(
        name="noren_server.behaviour_data.load_seasons",
        shape=shapes.Toml(),
        valid=lambda _: [_SEASONS],
        decode=_directory(behaviour_data.load_seasons, "seasons.toml"),
        examples=120,
    ),
    Decoder(
        name="noren_server.event_log.open_event_log",
        shape=shapes.Parquet(),
        valid=_events,
        decode=_open_events,
        examples=120,
    ),
    Decoder(
        name="noren_server.campaigns.PlanChoices.from_toml",
        shape=shapes.Toml(),
        valid=lambda _: [_CAMPAIGN],
        decode=_write_plan,
        examples=120,
    ),
    Decoder(
        name="noren_server.campaigns._parse_progress",
        shape=shapes.JsonBytes(),
        valid=lambda _: [b'{"state": "finished", "round_number": 3, "round_seconds": [1.5], "reason": ""}'],
        decode=_calls(campaigns._parse_progress),
        examples=40,
    ),
    Decoder(
        name="noren_server.platform_files.Platform",
        shape=shapes.Toml(),
        valid=lambda _: [_PLATFORM_CONFIG, _PLATFORM_CONFIG + _WITNESS_CONFIG],
        decode=_directory(platform_files.Platform, "config.toml"),
        examples=120,
    ),
    Decoder(
        name="noren_server.witnesses._own_line",
        shape=shapes.Bytes(lambda data: data.splitlines(keepends=True)),
        valid=lambda place: [_cosigned_checkpoint(_ledger_entries(place)).splitlines(keepends=True)[-1]],
        decode=_own_line,
    ),
    Decoder(
        name="noren_server.certificates.request_key",
        shape=shapes.Bytes(shapes.pieces(16)),
        valid=_of_company(lambda place: [keystore.certificate_request(place.directory, COMPANY)]),
        decode=_calls(certificates.request_key),
        examples=120,
    ),
    Decoder(
        name="noren_server.certificates.node_key",
        shape=shapes.Bytes(lambda data: data.splitlines(keepends=True)),
        valid=lambda _: [_node_pem()],
        decode=_calls(certificates.node_key),
        examples=120,
    ),
    Decoder(
        name="noren_server.certificates.CertificateAuthority.from_pem",
        shape=shapes.Bytes(lambda data: data.splitlines(keepends=True)),
        valid=_authority_key,
        decode=lambda data, place: CertificateAuthority.from_pem(
            data, (place.directory / "ca.pem").read_bytes()
        ),
        examples=60,
    ),
    Decoder(
        name="noren_server.traffic_meter.read_counts",
        shape=shapes.JsonBytes(),
        valid=lambda _: [b'{"company-1":[1,2,5],"company-2":[3,4,6]}'],
        decode=_file(traffic_meter.read_counts),
    ),
)

# The auditor ------------------------------------------------------------------------------------------------


def _trust(_: Place) -> list[bytes]:
    lines = (
        f'origin = "{ORIGIN}"',
        f'log_key = "{LOG_KEY.to_text()}"',
        f'platform_key = "{PLATFORM_KEY.hex()}"',
    )
    limits = ("max_epsilon = 1.5", 'max_row_epsilon = "8"', "max_delta = 1e-6")
    return ["\n".join(lines).encode(), "\n".join((*lines, *limits)).encode()]


def _bundle(place: Place) -> list[bytes]:
    return [b"".join(entry + b"\n" for entry in _enrolment_first(place))]


def _verify_written(place: Place, note: bytes, ledger: Sequence[bytes]) -> Any:
    shutil.rmtree(place.directory / "bundle", ignore_errors=True)
    bundle = write_bundle(place.directory / "bundle", note, ledger)
    believed = trust.Trust(log_key=LOG_KEY, platform_key=PLATFORM_KEY)
    return verify.verify_bundle(bundle, believed, seen=[note])


def _verify_bundle(data: bytes, place: Place) -> Any:
    """The entries as they came, under a checkpoint that is signed over them."""
    lines = [line[: entries.MAX_ENTRY_BYTES] for line in data.split(b"\n") if line]
    return _verify_written(place, _checkpoint(lines), lines)


def _verify_seen(data: bytes, place: Place) -> Any:
    """What somebody says to have seen, as it came and signed by the log, against an honest bundle."""
    shutil.rmtree(place.directory / "bundle", ignore_errors=True)
    ledger = _enrolment_first(place)
    bundle = write_bundle(place.directory / "bundle", _checkpoint(ledger), ledger)
    believed = trust.Trust(log_key=LOG_KEY, platform_key=PLATFORM_KEY)
    return verify.verify_bundle(bundle, believed, seen=[data, _signed_note(data)])


def _verify_entry_proof(data: bytes, place: Place) -> Any:
    proof, entry = place.directory / "entry.tlog-proof", place.directory / "entry"
    proof.write_bytes(data)
    entry.write_bytes(_ledger_entries(place)[3])
    believed = trust.Trust(
        log_key=LOG_KEY, platform_key=PLATFORM_KEY, witnesses=(COSIGNER_KEY,), witness_quorum=1
    )
    return entry_proof.verify_entry_proof(entry, proof, believed)


def _witness_directory(place: Place) -> Path:
    directory = place.directory / "witness"
    if not directory.exists():
        witness.initialise(directory, name="w.example", logs=[LOG_KEY.to_text()])
    return directory


def _add_checkpoint(data: bytes, place: Place) -> Any:
    with contextlib.closing(witness.Witness(_witness_directory(place), clock=lambda: 7)) as opened:
        return opened.add_checkpoint(data)


def _open_witness(data: bytes, place: Place) -> Any:
    directory = _witness_directory(place)
    (directory / "state.json").write_bytes(data)
    witness.Witness(directory, clock=lambda: 7).close()


def _verify_bundle_checkpoint(data: bytes, place: Place) -> Any:
    return _verify_written(place, data, [])


def _parse_plan(body: Any, _: Place) -> Any:
    return audit_season.parse_plan(entries.SignedEntry(EntryKind.PLAN, entries.PLATFORM, body, bytes(64)))


def _verify_beacon(note_bytes: bytes, place: Place) -> Any:
    """A beacon with this checkpoint, if it is one that an entry can hold."""
    try:
        body = {"campaign": CAMPAIGN, "checkpoint": note_bytes.decode()}
    except UnicodeDecodeError:
        return None
    data = entries.sign_entry(EntryKind.BEACON, entries.PLATFORM, body, signing_key("platform"))
    item = proofs.VerifiedEntry(1000, entries.parse_entry(data))
    return beacon.verify_beacon(item, commitment=0, plan=place.plan, keys=_keys())


def _replay_files(place: Place) -> list[bytes]:
    """A campaign with and without rows and rounds."""
    dimensions, sentinels = place.plan.rows.dimensions, place.plan.training.sentinels
    body = {
        "format": replay_file.FORMAT,
        "campaign": CAMPAIGN,
        "company": COMPANY,
        "seed": "11" * 32,
        "row_salt": "22" * 32,
        "commitment_key": "33" * 32,
        "cohort": list(COMPANIES),
        "dimensions": dimensions,
        "rows": [{"tag": "44" * 16, "row": list(range(dimensions)), "label": 1}],
        "rows_erased": False,
        "rounds": [
            {
                "round": 1,
                "survivors": list(COMPANIES),
                "gradient": [0] * (dimensions + 1),
                "update": [1] * (dimensions + 1 + sentinels),
                "revocations": _consents().revocations.hex(),
                "revocations_signature": _consents().signature.hex(),
                "consents_salt": _consents().salt.hex(),
            }
        ],
    }
    return [canonical_json.encode(body), canonical_json.encode({**body, "rows": [], "rounds": []})]


def _verdicts(_: Place) -> list[bytes]:
    subject = replay_verdict.ReplaySubject(
        campaign=CAMPAIGN,
        company=COMPANY,
        plan_sha256=_digest("plan"),
        checkpoint=checkpoint.Checkpoint(ORIGIN, 3, bytes(32)),
        sentinels_ok=True,
    )
    found = replay.ReplayFinding(replay.ReplayCode.TAG_REPEATED)
    results = [
        replay.ReplayResult((), 3, replay.Agreement.EXACT, 0),
        replay.ReplayResult((found,), 0, replay.Agreement.NONE, 0),
    ]
    key = signing_key("auditor")
    return [replay_verdict.sign_verdict(subject, result, key, tool_version="1") for result in results]


def _load_auditor_key(path: Path) -> Any:
    path.chmod(0o600)
    return auditor_key.load(path)


def _mechanism_requests(place: Place) -> list[bytes]:
    dimensions = place.plan.rows.dimensions
    release = {"round": 1, "seed": "11" * 32, "beacon": "22" * 32, "weights": [0] * (dimensions + 1)}
    body = {
        "format": mechanism_service.FORMAT,
        "plan": place.plan_body,
        "companies": len(place.plan.cohort),
        "rows": [list(range(dimensions))],
        "labels": [1],
        "releases": [release],
    }
    return [canonical_json.encode(body), canonical_json.encode({**body, "rows": [], "labels": []})]


_PEOPLE = b"""company,consented,passed,band,outcome,group_gender
akane,yes,yes,1,declined,f
akane,no,no,,,
"""


def _service_request(_: Place) -> list[bytes]:
    return [
        service_state.sign_request(
            scope=scope,
            name=name,
            state=entries.ServiceStatus.SUSPENDED,
            reason="DRILL",
            at=1_780_000_000,
            key=signing_key("operator"),
        )
        for scope, name in ((entries.ServiceScope.GLOBAL, ""), (entries.ServiceScope.COMPANY, COMPANY))
    ]


_AUDITOR = (
    Decoder(
        name="noren_audit.fairness.people.read_people",
        shape=shapes.Csv(),
        valid=lambda _: [_PEOPLE],
        decode=_file(people.read_people),
    ),
    Decoder(
        name="noren_core.rights.service.service_state.open_request",
        shape=shapes.JsonBytes(),
        valid=_service_request,
        decode=_calls(lambda data: service_state.open_request(data, evidence_sha256="ab" * 32)),
    ),
    Decoder(
        name="noren_core.rights.purposes.parse_purpose",
        shape=shapes.Text(),
        valid=lambda _: [purpose.value for purpose in Purpose],
        decode=_calls(lambda text: purposes.parse_purpose(text, "purpose")),
        encode=str,
    ),
    Decoder(
        name="noren_audit.replay.replay_file.parse",
        shape=shapes.JsonBytes(),
        valid=_replay_files,
        decode=_calls(replay_file.parse),
    ),
    Decoder(
        name="noren_audit.replay.replay_verdict.parse_verdict",
        shape=shapes.JsonBytes(),
        valid=_verdicts,
        decode=_calls(lambda data: replay_verdict.parse_verdict(data, signing_key("auditor").public_key)),
        encode=canonical_json.encode,
    ),
    Decoder(
        name="noren_audit.replay.auditor_key.load",
        shape=shapes.Bytes(lambda data: [data[:32], data[32:64], data[64:]]),
        valid=lambda _: [b"5a" * 32 + b"\n"],
        decode=_file(_load_auditor_key),
    ),
    Decoder(
        name="noren_audit.replay.auditor_key.parse_public",
        shape=shapes.Text(),
        valid=lambda _: ["5a" * 32],
        decode=_calls(auditor_key.parse_public),
        encode=bytes.hex,
    ),
    Decoder(
        name="noren_audit.certification.certify.parse_claims",
        shape=shapes.Text(),
        valid=lambda _: ["1,4,8", "16"],
        decode=_calls(certify.parse_claims),
    ),
    Decoder(
        name="noren_client.mechanism_service.parse_request",
        shape=shapes.JsonBytes(),
        valid=_mechanism_requests,
        decode=_calls(mechanism_service.parse_request),
        examples=60,
        has_own_fields=False,
    ),
    Decoder(
        name="noren_audit.verification.trust.load_trust",
        shape=shapes.Toml(),
        valid=_trust,
        decode=_file(trust.load_trust),
        examples=120,
    ),
    Decoder(
        name="noren_audit.verification.verify.verify_bundle",
        shape=shapes.JsonLines(),
        valid=_bundle,
        decode=_verify_bundle,
        examples=30,
    ),
    Decoder(
        name="noren_audit.verification.bundle.verify_checkpoint",
        shape=shapes.Bytes(lambda data: data.splitlines(keepends=True)),
        valid=lambda place: [_checkpoint([]), _checkpoint(_ledger_entries(place))],
        decode=_verify_bundle_checkpoint,
    ),
    Decoder(
        name="noren_audit.verification.seen_checkpoints.verify_seen",
        shape=shapes.Bytes(lambda data: data.splitlines(keepends=True)),
        valid=lambda place: [_checkpoint(_ledger_entries(place)), _checkpoint(_ledger_entries(place)[:2])],
        decode=_verify_seen,
    ),
    Decoder(
        name="noren_audit.verification.entry_proof.verify_entry_proof",
        shape=shapes.Bytes(lambda data: data.splitlines(keepends=True)),
        valid=_tlog_proofs,
        decode=_verify_entry_proof,
    ),
    Decoder(
        name="noren_audit.witness.witness.load_config",
        shape=shapes.Toml(),
        valid=lambda _: [f'name = "w.example"\nlogs = ["{LOG_KEY.to_text()}"]\n'.encode()],
        decode=_directory(witness.load_config, "witness.toml"),
        examples=120,
    ),
    Decoder(
        name="noren_audit.witness.witness.Witness.add_checkpoint",
        shape=shapes.Bytes(lambda data: data.splitlines(keepends=True)),
        valid=_witness_requests,
        decode=_add_checkpoint,
    ),
    Decoder(
        name="noren_audit.witness.witness.Witness",
        shape=shapes.JsonBytes(),
        valid=lambda place: [
            b"{}",
            canonical_json.encode({ORIGIN: _checkpoint(_ledger_entries(place)).decode()}),
        ],
        decode=_open_witness,
        examples=60,
    ),
    Decoder(
        name="noren_audit.verification.season.parse_plan",
        shape=shapes.JsonValue(),
        valid=lambda place: [place.plan_body],
        decode=_parse_plan,
        encode=plan.CampaignPlan.to_body,
        has_own_fields=False,
    ),
)

# What is kept on disk, sealed or not ------------------------------------------------------------------------

_PASSPHRASE = SecretBytes(b"correct horse battery staple")
_TABLE_ID = bytes(range(16))


@functools.cache
def _vault() -> tuple[Vault, bytes]:
    made = Vault.create()
    return made, made.header(_PASSPHRASE, VaultState.SEALED)


def _parse_header(data: bytes, _: Place) -> Any:
    """As it came, and with a checksum that fits."""
    with contextlib.suppress(NorenError):
        body = canonical_json.parse_object(data)
        body.pop("checksum", None)
        VaultHeader.parse(canonical_json.encode({**body, "checksum": vault._checksum(body)}))
    return VaultHeader.parse(data)


class _StoredFiles:
    """A protected directory with this header and this secret."""

    def __init__(self, header: bytes, secret: bytes) -> None:
        self._stored = {HEADER_NAME: header, "keys/signing.key": secret}

    def read(self, name: str) -> bytes | None:
        return self._stored.get(name)

    def held(self, *, exclusively: bool) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


def _read_sealed(value: Any, _: Place) -> Any:
    files = SealedFiles(_StoredFiles(*value), lambda _: _vault()[0], must_be_protected=lambda: False)
    return files.read("keys/signing.key")


def _revocations() -> RevocationList:
    tags = tuple(number.to_bytes(16, "big") for number in range(64))
    return RevocationList(table_id=_TABLE_ID, sequence=3, tags=tags)


def _open_revocations(data: bytes, _: Place) -> Any:
    """The list with the platform's signature, whatever it says."""
    signature = signing_key("platform").sign(revocation_list._SIGNATURE_LABEL, data)
    return revocation_list.open_revocations(data, signature, platform_key=PLATFORM_KEY, table_id=_TABLE_ID)


def _signed_cohort() -> bytes:
    return signing_key(COMPANY).sign(
        secagg.COHORT_LABEL, secagg.cohort_statement(_group(), bytes(32), COMPANIES)
    )


def _verify_cohort_signature(value: Any, _: Place) -> Any:
    company, signature = value
    secagg.verify_cohort_signature(_group(), company, signature, seen=bytes(32), cohort=COMPANIES)


def _verify_entry(verify_signature: Callable[..., None]) -> Callable[[Any, Place], Any]:
    def decode(value: Any, _: Place) -> Any:
        data, key = value
        verify_signature(entries.parse_entry(data), key)

    return decode


def _kept_by_alignment(place: Place) -> Path:
    _company_directory(place)
    return campaign_files.directory(place.directory, CAMPAIGN)


def _kept_outputs(place: Place) -> list[bytes]:
    _kept_by_alignment(place)
    outputs = {"ab" * 32: "cd" * 64}
    body = {"batches": ["ef" * 32], "outputs": outputs, "public_key": _OPRF_KEY.public_key.hex()}
    return [canonical_json.encode(body)]


def _kept_head(place: Place) -> list[bytes]:
    _kept_by_alignment(place)
    secret, message = _head()
    body = {"heads": [[5, -7]], "message": message.hex(), "secret": secret.to_bytes().hex()}
    return [canonical_json.encode(body)]


def _kept_batch(place: Place) -> list[bytes]:
    _kept_by_alignment(place)
    return [canonical_json.encode({"blinding": _blinding().to_bytes().hex()})]


def _in_keystore(name: str, load: Callable[[Path], Any]) -> Callable[[bytes, Place], Any]:
    def decode(data: bytes, place: Place) -> Any:
        path = place.directory / name
        path.touch(mode=0o600)
        path.write_bytes(data)
        return load(place.directory)

    return decode


def _kept_keys(place: Place) -> list[bytes]:
    _company_directory(place)
    kept = {str(index): entry.decode() for index, entry in enumerate(_enrolment_first(place)[:1])}
    return [canonical_json.encode(kept)]


def _kept_intent(place: Place) -> list[bytes]:
    _company_directory(place)
    [intent] = [e for e in _ledger_entries(place) if entries.parse_entry(e).kind is EntryKind.INTENT]
    return [canonical_json.encode({"entry": intent.decode(), "index": 7})]


_AT_REST = (
    Decoder(
        name="noren_core.crypto.vault.VaultHeader.parse",
        shape=shapes.JsonBytes(),
        valid=lambda _: [_vault()[1]],
        decode=_parse_header,
        encode=VaultHeader.encode,
    ),
    Decoder(
        name="noren_core.crypto.vault.Vault.open_secret",
        shape=shapes.Bytes(shapes.pieces(14)),
        valid=lambda _: [_vault()[0].seal("name", b"secret"), _vault()[0].seal("name", b"")],
        decode=_calls(lambda data: _vault()[0].open_secret("name", data)),
    ),
    Decoder(
        name="noren_core.crypto.vault.parse_passphrase",
        shape=shapes.Bytes(),
        valid=lambda _: [b"correct horse\n", b"correct horse\r\n"],
        decode=_calls(vault.parse_passphrase),
    ),
    Decoder(
        name="noren_core.crypto.sealed_files.SealedFiles.read",
        shape=shapes.Arguments(),
        valid=lambda _: [(_vault()[1], _vault()[0].seal("keys/signing.key", bytes(32)))],
        decode=_read_sealed,
    ),
    Decoder(
        name="noren_core.crypto.revocation_list.RevocationList.from_bytes",
        shape=shapes.Bytes(shapes.pieces(16)),
        valid=lambda _: [_revocations().to_bytes()],
        decode=_calls(RevocationList.from_bytes),
        encode=RevocationList.to_bytes,
    ),
    Decoder(
        name="noren_core.crypto.revocation_list.open_revocations",
        shape=shapes.Bytes(shapes.pieces(16)),
        valid=lambda _: [_revocations().to_bytes()],
        decode=_open_revocations,
        encode=RevocationList.to_bytes,
    ),
    Decoder(
        name="noren_core.secagg.messages.verify_cohort_signature",
        shape=shapes.Arguments(),
        valid=lambda _: [(COMPANY, _signed_cohort())],
        decode=_verify_cohort_signature,
    ),
    Decoder(
        name="noren_core.ledger.entries.verify_author",
        shape=shapes.Arguments(),
        valid=lambda place: [(_enrolment_first(place)[0], signing_key(COMPANY).public_key)],
        decode=_verify_entry(entries.verify_author),
    ),
    Decoder(
        name="noren_core.ledger.entries.verify_countersignature",
        shape=shapes.Arguments(),
        valid=lambda place: [(_enrolment_first(place)[0], PLATFORM_KEY)],
        decode=_verify_entry(entries.verify_countersignature),
    ),
    Decoder(
        name="noren_core.ledger.key_history.KeyHistory.open_checkpoint",
        shape=shapes.Bytes(lambda data: data.splitlines(keepends=True)),
        valid=lambda place: [_checkpoint(_ledger_entries(place))],
        decode=_calls(lambda data: _keys().open_checkpoint(data)),
    ),
    Decoder(
        name="noren_core.season.beacon.verify_beacon",
        shape=shapes.Bytes(lambda data: data.splitlines(keepends=True)),
        valid=lambda place: [_checkpoint(_ledger_entries(place))],
        decode=_verify_beacon,
    ),
    Decoder(
        name="noren_core.toml_text.parse",
        shape=shapes.Toml(),
        valid=lambda _: [_SEASONS, _CAMPAIGN],
        decode=_calls(toml_text.parse),
    ),
    Decoder(
        name="noren_client.evaluated_identifiers._KeptOutputs.load",
        shape=shapes.JsonBytes(),
        valid=_kept_outputs,
        decode=_in_keystore(
            f"{_IN_CAMPAIGN}/oprf-score.json",
            lambda where: evaluated_identifiers._KeptOutputs.load(
                where, CAMPAIGN, TableKind.SCORE, _OPRF_KEY.public_key
            ),
        ),
    ),
    Decoder(
        name="noren_client.evaluated_identifiers._load_batch",
        shape=shapes.JsonBytes(),
        valid=_kept_batch,
        decode=_in_keystore(
            f"{_IN_CAMPAIGN}/blinding.json",
            lambda where: evaluated_identifiers._load_batch(where, CAMPAIGN),
        ),
    ),
    Decoder(
        name="noren_client.scoring._kept",
        shape=shapes.JsonBytes(),
        valid=_kept_head,
        decode=_in_keystore(
            f"{_IN_CAMPAIGN}/{scoring.HEAD_FILE}", lambda where: scoring._kept(where, CAMPAIGN)
        ),
    ),
    Decoder(
        name="noren_client.revocations._kept",
        shape=shapes.Bytes(shapes.pieces(16)),
        valid=lambda _: [bytes(64) + _revocations().to_bytes()],
        decode=_file(revocations._kept),
    ),
    Decoder(
        name="noren_client.ledger_watch.LedgerWatch.keys",
        shape=shapes.JsonBytes(),
        valid=_kept_keys,
        decode=_directory(lambda where: LedgerWatch(where).keys(), "platform/key-entries.json"),
    ),
    Decoder(
        name="noren_client.ledger_watch.LedgerWatch.newest_intent",
        shape=shapes.JsonBytes(),
        valid=_kept_intent,
        decode=_directory(lambda where: LedgerWatch(where).newest_intent(), "platform/newest-intent.json"),
    ),
    Decoder(
        name="noren_client.ledger_watch.LedgerWatch.known_tree_size",
        shape=shapes.Bytes(lambda data: data.splitlines(keepends=True)),
        valid=_of_company(lambda place: [_checkpoint(_ledger_entries(place))]),
        decode=_directory(lambda where: LedgerWatch(where).known_tree_size, "platform/checkpoint"),
    ),
)

# Policies and screens ---------------------------------------------------------------------------------------

_POLICY = notice_texts.packaged_policy(policy="policy-2027", season="2027", dpia="DPIA-2027")
_NOTICE = active_policy.notice_facts(COMPANY, "engineer")
_CONSENT_PAGE = consent_screen.render_consent_screen(
    _POLICY, _NOTICE, Locale.EN, _POLICY.routes["consent-score"].purposes
)
_JOURNEY = {
    "schema": "noren/journey/1",
    "nodes": [
        {"name": "entry", "kind": "entry", "policy": "", "sha256": ""},
        {"name": "consent", "kind": "consent", "policy": "policy-2027", "sha256": "ab" * 32},
        {"name": "score", "kind": "scoring", "policy": "", "sha256": ""},
    ],
    "edges": [{"from": "entry", "to": "consent", "users": 3}, {"from": "consent", "to": "score", "users": 2}],
}
_PAGE = {
    "text": "shown",
    "place": {"policy": "policy-2027", "locale": "en"},
    "clauses": [{"clause": "C01", "text": "words", "visible": True}],
    "forms": [
        {
            "purposes": ["link.pairwise"],
            "text": "words",
            "prechecked": False,
            "choices": ["give"],
            "alike": True,
            "others": 0,
        }
    ],
    "unreadable": 0,
    "applies": False,
}


def _notices_file() -> bytes:
    lines = [f'[[notice]]\ncompany = "{COMPANY}"\nposition = "engineer"']
    for locale, values in _NOTICE.values.items():
        lines += [f"[notice.{locale}]", *(f'{name} = "{value}"' for name, value in values.items())]
    return "\n".join(lines).encode()


def _approval() -> bytes:
    role = policy_approval.ApproverRole.LEGAL
    return policy_approval.approve(_POLICY, person="p1", role=role, at=1, key=signing_key("p1")).to_bytes()


_POLICIES = (
    Decoder(
        name="noren_core.rights.notices.policy.parse_policy",
        shape=shapes.Toml(),
        valid=lambda _: [notice_texts.packaged_policy_text()],
        decode=_calls(policy.parse_policy),
        examples=30,
        has_own_fields=False,
    ),
    Decoder(
        name="noren_core.rights.notices.policy.PolicyVersion.from_body",
        shape=shapes.JsonValue(),
        valid=lambda _: [_POLICY.to_body()],
        decode=_calls(policy.PolicyVersion.from_body),
    ),
    Decoder(
        name="noren_core.rights.notices.policy_approval.Approval.from_bytes",
        shape=shapes.JsonBytes(),
        valid=lambda _: [_approval()],
        decode=_calls(policy_approval.Approval.from_bytes),
        encode=policy_approval.Approval.to_bytes,
    ),
    Decoder(
        name="noren_core.rights.notices.notice_texts.parse_notices",
        shape=shapes.Toml(),
        valid=lambda _: [_notices_file()],
        decode=_calls(notice_texts.parse_notices),
    ),
    Decoder(
        name="noren_core.rights.notices.notice_texts.NoticeFacts.from_body",
        shape=shapes.JsonValue(),
        valid=lambda _: [_NOTICE.to_body()],
        decode=_calls(notice_texts.NoticeFacts.from_body),
        encode=notice_texts.NoticeFacts.to_body,
        has_own_fields=False,
    ),
    Decoder(
        name="noren_core.rights.notices.flow_manifest.parse_manifest",
        shape=shapes.JsonBytes(),
        valid=lambda _: [
            canonical_json.encode(
                {
                    "schema": flow_manifest.SCHEMA,
                    "messages": {"Note": {"words": ["no-personal-data"]}},
                    "flows": [
                        {
                            "flow": "note",
                            "call": "Service.Note",
                            "message": "Note",
                            "sender": "platform",
                            "receiver": "company",
                            "mode": "third_party_consented",
                            "purposes": ["link.pairwise"],
                            "data": ["no-personal-data"],
                        }
                    ],
                }
            )
        ],
        decode=_calls(flow_manifest.parse_manifest),
    ),
    Decoder(
        name="noren_core.rights.coverage.journey.Journey.from_bytes",
        shape=shapes.JsonBytes(),
        valid=lambda _: [canonical_json.encode(_JOURNEY)],
        decode=_calls(journey.Journey.from_bytes),
    ),
    Decoder(
        name="noren_core.rights.notices.screen.PageReading.from_body",
        shape=shapes.JsonValue(),
        valid=lambda _: [_PAGE],
        decode=_calls(screen.PageReading.from_body),
    ),
    Decoder(
        name="noren_core.rights.notices.screen.parse_place",
        shape=shapes.JsonValue(),
        valid=lambda _: [
            dict.fromkeys(("policy", "company", "position", "route", "build", "variant"), "a")
            | {"locale": "ja", "device": "mobile"}
        ],
        decode=_calls(screen.parse_place),
        encode=screen.ScreenPlace.to_body,
    ),
    Decoder(
        name="noren_server.policies.page_markup.read_page",
        shape=shapes.Text(),
        valid=lambda _: [_CONSENT_PAGE],
        decode=_calls(page_markup.read_page),
        examples=30,
    ),
)

DECODERS = (
    *_LEDGER,
    *_KEYS_AND_PROOFS,
    *_TABLES,
    *_MESSAGES,
    *_COMPANY,
    *_PLATFORM,
    *_AUDITOR,
    *_AT_REST,
    *_POLICIES,
    *(Decoder(**fields) for fields in gate_decoders.FIELDS),
    *(Decoder(**fields) for fields in import_decoders.FIELDS),
    *(Decoder(**fields) for fields in machine_decoders.FIELDS),
    *(Decoder(**fields) for fields in console_decoders.FIELDS),
    *(Decoder(**fields) for fields in backup_decoders.FIELDS),
    *(Decoder(**fields) for fields in mirror_decoders.FIELDS),
    *(Decoder(**fields) for fields in coverage_decoders.FIELDS),
    *(Decoder(**fields) for fields in erasure_decoders.FIELDS),
)
"""All of them."""

_EXEMPT_ELSEWHERE = (
    gate_decoders.EXEMPT
    | mirror_decoders.EXEMPT
    | coverage_decoders.EXEMPT
    | erasure_decoders.EXEMPT
    | import_decoders.EXEMPT
    | machine_decoders.EXEMPT
    | console_decoders.EXEMPT
    | backup_decoders.EXEMPT
)
EXEMPT = _EXEMPT_ELSEWHERE | {
    "noren_core.rights.notices.flow_manifest.verify_declared": (
        "a parsed manifest, and descriptors of our own"
    ),
    "noren_core.rights.notices.policy_approval.verify_approval": (
        "a value of our own; Approval.from_bytes is here"
    ),
    "noren_core.rights.notices.policy_approval.verify_approved": "as verify_approval",
    "noren_core.rights.notices.purpose_text.verify_purpose": (
        "patterns on a text of bounded length, whatever it says"
    ),
    "noren_server.policies.policy_book.PolicyBook.open": "SQLite reads it, as Store.open",
    "noren_server.policies.screen_register.ScreenRegister.open": "SQLite reads it, as Store.open",
    "noren_server.policies.screen_register.ScreenRegister.verify": "looks hashes up in our own database",
    "noren_core.rights.gate.decision_batch.verify_complete": (
        "compares sets of batches that from_bytes has parsed"
    ),
    "noren_core.rights.gate.decision_batch.verify_opened": (
        "a value of our own; merkle.verify_inclusion is here"
    ),
    "noren_audit.verification.bundle.read_bundle": "part of noren_audit.verification.verify.verify_bundle",
    "noren_audit.cli.verify": "the command: load_trust, then verify_bundle",
    "noren_audit.verification.seen_checkpoints.read_seen": "hands on bytes; verify_seen is here",
    "noren_audit.verification.shown_verdicts.read_verdicts": "hands on bytes; parse_verdict is here",
    "noren_client.campaign_files.load_material": "load_training_set or load_sums, by the plan",
    "noren_client.odometer.Odometer.open": "keystore, configuration and ledger lines, then rounds_reserved",
    "noren_client.keystore.read_secret": "hands on bytes; SealedFiles.read, and whoever parses them, is here",
    "noren_client.scoring.open_scores": "a conversation; what comes back goes through decoders that are here",
    "noren_client.table_reading.Aligner.open_rows": "as scoring.open_scores",
    "noren_client.table_reading.Aligner.open_table": "as scoring.open_scores",
    "noren_core.crypto.sealed_files.Files.read": "an interface",
    "noren_core.crypto.vault.Vault.open": "VaultHeader.parse, then 0.15 s of Argon2id for each try",
    "noren_core.secagg.server.SecAggServer.verify_sealed_shares": "names and lengths of a parsed message",
    "noren_local.secret_files.SecretFiles.read": "hands on bytes of a file that our own code names",
    "noren_server.behaviour_data.load": "load_seasons and open_event_log together",
    "noren_core.rights.consent.consent_event.verify_event": "a value of our own; parse_event is here",
    "noren_core.rights.service.incident.verify_notices": "compares two sets of our own",
    "noren_server.rights.service_states.ServiceDesk.verify_may_abolish": "a question to our own ledger",
    "noren_client.gate.score_records.read_if_key_exists": "CustodyStore.read, which is here, or None",
    "noren_core.rights.service.service_state.StateChange.from_body": "the body of an entry that was parsed",
    "noren_core.season.participation.parse_clauses": "a file of our own package; its test changes it",
    "noren_client.revocations.verify_still_newest": "a list that was parsed; revocations._kept is here",
    "noren_core.rights.consent.permit.verify_permit": "compares fields that from_bytes has parsed",
    "noren_server.consents.consent_database.open_database": "our own database file",
    "noren_server.campaign_rounds.verify_not_begun": "a question to our own ledger by a name that was parsed",
    "noren_server.platform_secrets.PlatformFiles.read": "as SecretFiles.read and SecretRows.read",
    "noren_server.store.SecretRows.read": "hands on bytes of a row that our own code names",
    "noren_server.store.Store.open": "SQLite reads it; a damaged database is the operator's to restore",
}
"""Public functions with a decoder's name that need no fuzzing, and why."""
