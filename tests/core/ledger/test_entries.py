"""Ledger entries: signatures bind all of an entry; bodies have exactly their kind's fields and ranges."""

from __future__ import annotations

from typing import Any

import pytest

from noren_core import canonical_json
from noren_core.crypto.identity import SigningKey
from noren_core.crypto.sealed_table import TableContext, TableManifest
from noren_core.errors import DataError, NorenError, VerificationError
from noren_core.ids import TableKind
from noren_core.ledger.checkpoint import sign_checkpoint
from noren_core.ledger.entries import (
    COMPANY_KINDS,
    MAX_ENTRY_BYTES,
    PLATFORM,
    EntryKind,
    countersign,
    parse_entry,
    sign_entry,
    verify_author,
    verify_countersignature,
)
from noren_core.ledger.note import VerifierKey

AUTHOR = SigningKey.from_bytes(bytes([1] * 32))
PLATFORM_KEY = SigningKey.from_bytes(bytes([2] * 32))
HASH = "ab" * 32
CHECKPOINT = sign_checkpoint(
    "noren.example/log", 7, bytes(32), SigningKey.from_bytes(bytes([3] * 32))
).decode()
EVENT = {
    "mechanism": "discrete_gaussian",
    "noise_multiplier": "16.25",
    "clipping_norm": "2",
    "grid": 65536,
    "sampling": {"num": 1, "den": 1},
    "count": 1,
    "adjacency": "add_remove",
    "placement": "distributed",
    "tolerated": 1,
}
MANIFEST = TableManifest(
    context=TableContext(company="alpha", campaign="autumn", kind=TableKind.TRAIN, table_id=bytes(16)),
    padded_rows=64,
    payload_bytes=8,
    chunk_rows=64,
    root=bytes(32),
).to_body()

BODIES: dict[EntryKind, dict[str, Any]] = {
    EntryKind.LOG_START: {
        "origin": "noren.example/log",
        "platform_key": HASH,
        "log_key": VerifierKey("noren.example/log", bytes(32)).to_text(),
    },
    EntryKind.ENROLMENT: {
        "company": "alpha",
        "signing_key": HASH,
        "sealing_key": HASH,
        "tls_key_sha256": HASH,
        "node_key_sha256": HASH,
    },
    EntryKind.AGREEMENT: {"company": "alpha", "agreement_sha256": HASH, "declared_size": 120},
    EntryKind.PLAN: {"campaign": "autumn", "anything": "the plan's own parser checks"},
    EntryKind.PLAN_ACCEPTANCE: {"campaign": "autumn", "company": "alpha", "plan_sha256": HASH},
    EntryKind.CONSENT_EPOCH: {"campaign": "autumn", "company": "alpha", "kind": "train", "root": HASH},
    EntryKind.OPRF_KEY: {"campaign": "autumn", "company": "alpha", "kind": "score", "public_key": HASH},
    EntryKind.TABLE: {"campaign": "autumn", "company": "alpha", "consent_epoch": 7, "manifest": MANIFEST},
    EntryKind.TRAINING_COMMITMENT: {
        "campaign": "autumn",
        "company": "alpha",
        "plan_sha256": HASH,
        "seed": HASH,
        "rows": HASH,
    },
    EntryKind.BEACON: {"campaign": "autumn", "checkpoint": CHECKPOINT},
    EntryKind.INTENT: {
        "campaign": "autumn",
        "company": "alpha",
        "round": 1,
        "plan_sha256": HASH,
        "event": EVENT,
        "previous": HASH,
        "sequence": 0,
    },
    EntryKind.SETTLE: {
        "campaign": "autumn",
        "company": "alpha",
        "round": 1,
        "survivors": ["alpha", "beta"],
        "update_sha256": HASH,
        "sentinels": [-(2**62), 2**62],
        "consents": HASH,
        "model_in": HASH,
        "model_out": HASH,
    },
    EntryKind.ROUND_FAILED: {"campaign": "autumn", "round": 1, "reason": "TOO_FEW_COMPANIES"},
    EntryKind.STATISTICS_ROWS: {
        "campaign": "autumn",
        "company": "alpha",
        "table_root": HASH,
        "commitment": HASH,
    },
    EntryKind.WEIGHTS_COMMITMENT: {"campaign": "autumn", "company": "alpha", "commitment": HASH},
    EntryKind.STATISTICS_ANSWER: {
        "campaign": "autumn",
        "company": "alpha",
        "weights": 7,
        "answer_sha256": HASH,
    },
    EntryKind.HEAD_COMMITMENT: {
        "campaign": "autumn",
        "company": "alpha",
        "commitment": HASH,
        "dimensions": 4,
        "heads": 1,
        "weight_bits": 8,
    },
    EntryKind.CAMPAIGN_CLOSED: {"campaign": "autumn"},
    EntryKind.KEY_ROTATION: {
        "company": "alpha",
        "key": "signing",
        "old": HASH,
        "new": "99" * 32,
        "possession": "cd" * 64,
    },
    EntryKind.PLATFORM_KEY_ROTATION: {
        "key": "log",
        "old": VerifierKey("noren.example/log", bytes(32)).to_text(),
        "new": VerifierKey("noren.example/log", bytes([1] * 32)).to_text(),
        "possession": "cd" * 64,
        "endorsement": "ef" * 64,
    },
    EntryKind.REVOCATION: {"company": "alpha", "reason": "LEFT"},
    EntryKind.POLICY: {"policy": "spring-policy", "sha256": HASH, "activated_at": 1_800_000_000},
    EntryKind.COVERAGE: {
        "campaign": "autumn",
        "report_sha256": HASH,
        "as_of": 1_800_000_000,
        "policy_sha256": HASH,
        "screens_sha256": HASH,
        "verdict": "clear",
        "auditor_key": HASH,
        "attestation": "cd" * 64,
    },
    EntryKind.CONSENT_LOG: {"root": HASH},
    EntryKind.DECISION_BATCH: {
        "campaign": "autumn",
        "company": "alpha",
        "position": "clerk",
        "sequence": 1,
        "root": HASH,
        "evaluation_sha256": HASH,
        "sealed_at": 1_800_000_000,
    },
    EntryKind.GATE_OPENED: {"campaign": "autumn", "company": "alpha", "batch": 7, "opened_at": 1_800_000_000},
    EntryKind.MIRROR_DEPOSIT: {
        "campaign": "autumn",
        "company": "alpha",
        "root": HASH,
        "deposited_at": 1_800_000_000,
    },
    EntryKind.ERASURE_ORDER: {
        "campaign": "autumn",
        "company": "alpha",
        "order_sha256": HASH,
        "ground": "season-end",
        "due_at": 1_800_000_000,
    },
    EntryKind.DELETION_CERTIFICATE: {
        "campaign": "autumn",
        "company": "alpha",
        "order": 7,
        "certificate_sha256": HASH,
    },
    EntryKind.SERVICE_STATE: {
        "scope": "company",
        "name": "alpha",
        "state": "suspended",
        "reason": "ORDER_OVERDUE",
        "at": 1_800_000_000,
        "evidence_sha256": HASH,
    },
    EntryKind.INCIDENT: {
        "incident": "spring-leak",
        "class": "DISCLOSURE",
        "state": "contained",
        "at": 1_800_000_000,
        "report_sha256": HASH,
    },
}
SEALING = {"company": "alpha", "key": "sealing", "old": HASH, "new": "99" * 32}
PLATFORM_SIGNING = {"key": "platform", "old": HASH, "new": "99" * 32, "possession": "cd" * 64}


def author_of(kind: EntryKind) -> str:
    return "alpha" if kind in COMPANY_KINDS else PLATFORM


def signed(kind: EntryKind) -> bytes:
    return sign_entry(kind, author_of(kind), BODIES[kind], AUTHOR)


@pytest.mark.parametrize("kind", EntryKind)
def test_every_kind_round_trips(kind: EntryKind) -> None:
    """Signed, countersigned and parsed, an entry says what it said and both signatures verify."""
    data = countersign(signed(kind), PLATFORM_KEY)
    entry = parse_entry(data)
    assert (entry.kind, entry.author, entry.body) == (kind, author_of(kind), BODIES[kind])
    assert entry.to_bytes() == data
    verify_author(entry, AUTHOR.public_key)
    verify_countersignature(entry, PLATFORM_KEY.public_key)


def test_an_entry_is_one_line_of_canonical_json() -> None:
    """The bytes are canonical JSON of the documented envelope and hold no line break."""
    data = countersign(signed(EntryKind.AGREEMENT), PLATFORM_KEY)
    envelope = canonical_json.parse_object(data)
    assert set(envelope) == {"v", "kind", "author", "body", "signature", "countersignature"}
    assert b"\n" not in data


def test_no_byte_of_an_entry_can_change() -> None:
    """With any one bit of any byte changed, an entry is malformed or one of its signatures is wrong."""
    data = countersign(signed(EntryKind.INTENT), PLATFORM_KEY)
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << (place % 8)
        with pytest.raises(NorenError):  # noqa: PT012 (any of the three may be the one that refuses)
            entry = parse_entry(bytes(changed))
            verify_author(entry, AUTHOR.public_key)
            verify_countersignature(entry, PLATFORM_KEY.public_key)


def test_signatures_are_not_interchangeable() -> None:
    """Another key's signature, a missing countersignature and a moved signature do not verify."""
    entry = parse_entry(signed(EntryKind.AGREEMENT))
    with pytest.raises(VerificationError):
        verify_author(entry, PLATFORM_KEY.public_key)
    with pytest.raises(VerificationError):
        verify_countersignature(entry, PLATFORM_KEY.public_key)
    twice = sign_entry("log-start", PLATFORM, BODIES[EntryKind.LOG_START], PLATFORM_KEY)
    own = parse_entry(countersign(twice, PLATFORM_KEY))
    assert own.countersignature != own.signature
    with pytest.raises(DataError):
        countersign(own.to_bytes(), PLATFORM_KEY)


@pytest.mark.parametrize("kind", [kind for kind in EntryKind if kind is not EntryKind.PLAN])
def test_bodies_have_exactly_their_fields(kind: EntryKind) -> None:
    """One field less, one more, or one of another type is refused, for every kind and field."""
    body = BODIES[kind]
    wrong: list[dict[str, Any]] = [{**body, "remark": "x"}]
    for field in body:
        wrong.append({name: value for name, value in body.items() if name != field})
        values: list[Any] = [True, -1, "", {}, "é", ["a", 1], "x" * 300]
        values += [] if field == "sentinels" else [[]]  # a plan may have none
        wrong += [{**body, field: value} for value in values]
    for case in wrong:
        with pytest.raises(DataError):
            sign_entry(kind, author_of(kind), case, AUTHOR)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (EntryKind.ENROLMENT, {"signing_key": HASH.upper()}),
        (EntryKind.ENROLMENT, {"signing_key": HASH[:-2]}),
        (EntryKind.ENROLMENT, {"signing_key": HASH + "\n"}),
        (EntryKind.ENROLMENT, {"company": PLATFORM}),
        (EntryKind.OPRF_KEY, {"company": PLATFORM}),
        (EntryKind.AGREEMENT, {"declared_size": 0}),
        (EntryKind.LOG_START, {"log_key": VerifierKey("other.example", bytes(32)).to_text()}),
        (EntryKind.LOG_START, {"origin": "noren example"}),
        (EntryKind.CONSENT_EPOCH, {"kind": "mirror"}),
        (EntryKind.TABLE, {"consent_epoch": 2**63}),
        (EntryKind.TABLE, {"campaign": "spring"}),
        (EntryKind.TABLE, {"manifest": {**MANIFEST, "company": "beta"}}),
        (EntryKind.TABLE, {"manifest": {**MANIFEST, "padded_rows": 0}}),
        (EntryKind.INTENT, {"round": 0}),
        (EntryKind.INTENT, {"event": {**EVENT, "sampling": {"num": 1, "den": 2}}}),
        (EntryKind.INTENT, {"event": {**EVENT, "noise_multiplier": "16.250"}}),
        (EntryKind.INTENT, {"event": {**EVENT, "mechanism": "gaussian"}}),
        (EntryKind.SETTLE, {"survivors": ["beta", "alpha"]}),
        (EntryKind.SETTLE, {"survivors": ["alpha", "alpha"]}),
        (EntryKind.SETTLE, {"survivors": [f"company-{i:03}" for i in range(201)]}),
        (EntryKind.SETTLE, {"sentinels": [2**62 + 1]}),
        (EntryKind.SETTLE, {"sentinels": [True]}),
        (EntryKind.SETTLE, {"sentinels": [0] * 65}),
        (EntryKind.TRAINING_COMMITMENT, {"company": PLATFORM}),
        (EntryKind.TRAINING_COMMITMENT, {"seed": HASH.upper()}),
        (EntryKind.BEACON, {"checkpoint": CHECKPOINT + "x"}),
        (EntryKind.BEACON, {"checkpoint": CHECKPOINT.partition("\n\n")[0]}),
        (EntryKind.BEACON, {"checkpoint": CHECKPOINT + CHECKPOINT.splitlines()[-1] * 80 + "\n"}),
        (EntryKind.BEACON, {"checkpoint": "\ud800" + CHECKPOINT}),
        (EntryKind.ROUND_FAILED, {"reason": "company alpha left"}),
        (EntryKind.STATISTICS_ROWS, {"table_root": HASH[1:]}),
        (EntryKind.WEIGHTS_COMMITMENT, {"company": PLATFORM}),
        (EntryKind.STATISTICS_ANSWER, {"weights": -1}),
        (EntryKind.HEAD_COMMITMENT, {"weight_bits": 33}),
        (EntryKind.KEY_ROTATION, {"new": HASH}),
        (EntryKind.KEY_ROTATION, {"key": "oprf"}),
        (EntryKind.KEY_ROTATION, {"key": "sealing"}),
        (EntryKind.KEY_ROTATION, {"company": PLATFORM}),
        (EntryKind.PLATFORM_KEY_ROTATION, {"key": "platform"}),
        (EntryKind.PLATFORM_KEY_ROTATION, {"new": VerifierKey("other.example", bytes(32)).to_text()}),
        (EntryKind.REVOCATION, {"reason": "because of Mr Yamada"}),
        (EntryKind.REVOCATION, {"company": PLATFORM}),
        (EntryKind.HEAD_COMMITMENT, {"heads": 0}),
        (EntryKind.OPRF_KEY, {"kind": "mirror"}),
        (EntryKind.COVERAGE, {"verdict": "clear-enough"}),
        (EntryKind.COVERAGE, {"attestation": HASH}),
        (EntryKind.DECISION_BATCH, {"company": PLATFORM}),
        (EntryKind.DECISION_BATCH, {"position": "Clerk"}),
        (EntryKind.DECISION_BATCH, {"sequence": 0}),
        (EntryKind.DECISION_BATCH, {"sequence": 65}),
        (EntryKind.DECISION_BATCH, {"sealed_at": 2**41}),
        (EntryKind.GATE_OPENED, {"batch": "7"}),
        (EntryKind.ERASURE_ORDER, {"ground": "because"}),
        (EntryKind.SERVICE_STATE, {"state": "paused"}),
        (EntryKind.SERVICE_STATE, {"scope": "global"}),
        (EntryKind.SERVICE_STATE, {"reason": "Mr Yamada asked"}),
        (EntryKind.INCIDENT, {"state": "over"}),
    ],
)
def test_values_out_of_range_are_refused(kind: EntryKind, change: dict[str, Any]) -> None:
    """Each field refuses what its format, its range or its neighbours do not allow."""
    with pytest.raises(DataError):
        sign_entry(kind, author_of(kind), {**BODIES[kind], **change}, AUTHOR)


@pytest.mark.parametrize(
    ("kind", "author", "body"),
    [
        (EntryKind.KEY_ROTATION, "alpha", SEALING),
        (EntryKind.PLATFORM_KEY_ROTATION, PLATFORM, PLATFORM_SIGNING),
    ],
)
def test_what_a_rotation_must_prove_depends_on_the_key(
    kind: EntryKind, author: str, body: dict[str, Any]
) -> None:
    """A key that cannot sign proves nothing, and only the log's is endorsed; other fields are refused."""
    sign_entry(kind, author, body, AUTHOR)
    for wrong in ({**body, "endorsement": "ef" * 64}, {k: v for k, v in body.items() if k != "old"}):
        with pytest.raises(DataError):
            sign_entry(kind, author, wrong, AUTHOR)


@pytest.mark.parametrize("kind", EntryKind)
def test_only_the_right_party_writes_a_kind(kind: EntryKind) -> None:
    """A company cannot write the platform's kinds, the platform no company's, nobody another's."""
    for author in {"alpha", "beta", PLATFORM} - {author_of(kind)}:
        with pytest.raises(DataError):
            sign_entry(kind, author, BODIES[kind], AUTHOR)


def test_foreign_envelopes_are_refused() -> None:
    """Another version, kind, field, spelling or size is bad data, whatever the signature."""
    data = signed(EntryKind.AGREEMENT)
    envelope = canonical_json.parse_object(data)
    changed = [
        {**envelope, "v": 2},
        {**envelope, "v": True},
        {**envelope, "v": "1"},
        {**envelope, "kind": "rumour"},
        {**envelope, "kind": []},
        {**envelope, "body": []},
        {**envelope, "author": ["alpha"]},
        {**envelope, "note": ""},
        {**envelope, "signature": envelope["signature"].upper()},
        {**envelope, "signature": envelope["signature"][2:]},
        {**envelope, "countersignature": ""},
        {name: value for name, value in envelope.items() if name != "signature"},
    ]
    for case in changed:
        with pytest.raises(DataError):
            parse_entry(canonical_json.encode(case))
    for raw in (
        b"",
        b"[]",
        b"null",
        data + b"\n",
        b" " + data,
        data.replace(b'"alpha"', b'"\\u0061lpha"', 1),
        b'"\\ud800"',
        b"x" * (MAX_ENTRY_BYTES + 1),
    ):
        with pytest.raises(DataError):
            parse_entry(raw)


def test_a_plan_needs_a_campaign_name() -> None:
    """The envelope of a plan is checked for its campaign; an unbounded plan is refused."""
    for body in (
        {},
        {"campaign": "Autumn"},
        {"campaign": 1},
        {"campaign": "autumn", "x": "y" * MAX_ENTRY_BYTES},
    ):
        with pytest.raises(DataError):
            sign_entry("plan", PLATFORM, body, AUTHOR)
