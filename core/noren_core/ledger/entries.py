"""Ledger entries: what a party says in the ledger, signed by it and countersigned by the platform.

An entry is canonical JSON with a kind, an author and a body. The body of every kind is checked here,
field by field, so that whoever holds a `SignedEntry` holds values in range. What entries mean together
(order, budgets, plans) is for whoever reads the ledger: the companies' machines and the auditor.

An entry never holds personal data, nor a plain hash of any.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from noren_core import canonical_json, ids
from noren_core.crypto.identity import SigningKey, verify_signature
from noren_core.crypto.sealed_table import TableManifest
from noren_core.errors import DataError, VerificationError
from noren_core.ledger.checkpoint import claimed_size
from noren_core.ledger.note import VerifierKey
from noren_core.privacy.events import GaussianEvent

VERSION = 1
PLATFORM = "platform"
MAX_ENTRY_BYTES = 65_535  # entry bundles of tlog-tiles state lengths in 16 bits
MAX_SENTINELS = 64
MAX_NOTE_CHARACTERS = 8 << 10
MAX_SURVIVORS = 200
MAX_DECISION_BATCHES = 64
MAX_DECLARED_SIZE = 1 << 15  # padded to a power of two, it must fit one evaluation batch of 65,535

_AUTHOR_LABEL = b"noren/v1/entry"
_COUNTERSIGN_LABEL = b"noren/v1/countersign"
_SIGNATURE_HEX = re.compile(r"[0-9a-f]{128}\Z")
_HASH_HEX = re.compile(r"[0-9a-f]{64}\Z")
_REASON = re.compile(r"[A-Z][A-Z0-9_]{0,39}\Z")

Check = Callable[[Any, str], None]


class EntryKind(StrEnum):
    """Everything that can stand in the ledger."""

    LOG_START = "log-start"
    ENROLMENT = "enrolment"
    AGREEMENT = "agreement"
    PLAN = "plan"
    PLAN_ACCEPTANCE = "plan-acceptance"
    CONSENT_EPOCH = "consent-epoch"
    OPRF_KEY = "oprf-key"
    TABLE = "table"
    TRAINING_COMMITMENT = "training-commitment"
    BEACON = "beacon"
    INTENT = "intent"
    SETTLE = "settle"
    ROUND_FAILED = "round-failed"
    STATISTICS_ROWS = "statistics-rows"
    WEIGHTS_COMMITMENT = "weights-commitment"
    STATISTICS_ANSWER = "statistics-answer"
    HEAD_COMMITMENT = "head-commitment"
    CAMPAIGN_CLOSED = "campaign-closed"
    KEY_ROTATION = "key-rotation"
    PLATFORM_KEY_ROTATION = "platform-key-rotation"
    REVOCATION = "revocation"
    POLICY = "policy"
    COVERAGE = "coverage"
    CONSENT_LOG = "consent-log"
    DECISION_BATCH = "decision-batch"
    GATE_OPENED = "gate-opened"
    MIRROR_DEPOSIT = "mirror-deposit"
    ERASURE_ORDER = "erasure-order"
    DELETION_CERTIFICATE = "deletion-certificate"
    SERVICE_STATE = "service-state"
    INCIDENT = "incident"


class CompanyKey(StrEnum):
    """The keys of a company that a `key-rotation` can replace."""

    SIGNING = "signing"
    SEALING = "sealing"
    TLS = "tls"
    NODE = "node"


class PlatformKey(StrEnum):
    """The keys of the platform that a `platform-key-rotation` can replace."""

    PLATFORM = "platform"
    LOG = "log"


class RevocationReason(StrEnum):
    """Why a company's participation was ended; a closed list, since text could name people."""

    KEY_COMPROMISED = "KEY_COMPROMISED"
    LEFT = "LEFT"
    BREACH_OF_AGREEMENT = "BREACH_OF_AGREEMENT"
    MISTAKEN_ENROLMENT = "MISTAKEN_ENROLMENT"


class CoverageVerdict(StrEnum):
    """Whether a coverage report lets processing begin."""

    CLEAR = "clear"
    BLOCKED = "blocked"


class ErasureGround(StrEnum):
    """Why companies are told to erase; one order goes to every company of a campaign, whoever left."""

    RIGHTS = "rights"
    SEASON_END = "season-end"
    ABOLITION = "abolition"
    LEAK = "leak"


class ServiceScope(StrEnum):
    """What a service state is about."""

    GLOBAL = "global"
    COMPANY = "company"
    CAMPAIGN = "campaign"


class ServiceStatus(StrEnum):
    """Whether processing goes on there; rights work in every state."""

    RUNNING = "running"
    SUSPENDED = "suspended"
    WINDING_DOWN = "winding-down"
    ABOLISHED = "abolished"


class IncidentState(StrEnum):
    """How far the handling of an incident is."""

    DETECTED = "detected"
    CONTAINED = "contained"
    ASSESSED = "assessed"
    NOTIFIED = "notified"
    CLOSED = "closed"


COMPANY_KINDS = frozenset(
    {
        EntryKind.ENROLMENT,
        EntryKind.AGREEMENT,
        EntryKind.PLAN_ACCEPTANCE,
        EntryKind.TRAINING_COMMITMENT,
        EntryKind.INTENT,
        EntryKind.SETTLE,
        EntryKind.WEIGHTS_COMMITMENT,
        EntryKind.HEAD_COMMITMENT,
        EntryKind.KEY_ROTATION,
        EntryKind.DECISION_BATCH,
        EntryKind.MIRROR_DEPOSIT,
        EntryKind.DELETION_CERTIFICATE,
    }
)
"""Signed by the company that the body names; all other kinds are the platform's."""


@dataclass(frozen=True, slots=True)
class SignedEntry:
    """One well-formed entry. Its signatures are checked by `verify_author` and `verify_countersignature`."""

    kind: EntryKind
    author: str
    body: dict[str, Any]
    signature: bytes
    countersignature: bytes | None = None

    @property
    def campaign(self) -> str | None:
        """The campaign that the entry is about, if it is about one."""
        name: str | None = self.body.get("campaign")
        return name

    @property
    def company(self) -> str | None:
        """The company that the entry is about, if it is about one."""
        name: str | None = self.body.get("company")
        return name

    def to_bytes(self) -> bytes:
        """The canonical bytes of this entry, as parsed or as it goes in the ledger."""
        envelope = _signed_envelope(self)
        if self.countersignature is not None:
            envelope["countersignature"] = self.countersignature.hex()
        return canonical_json.encode(envelope)


def sign_entry(kind: str, author: str, body: Mapping[str, Any], key: SigningKey) -> bytes:
    """The author's signed entry, without a countersignature; DataError if the body is not one of `kind`."""
    envelope = _envelope(_parse_kind(kind), author, dict(body))
    validate_body(_parse_kind(kind), author, envelope["body"])
    signature = key.sign(_AUTHOR_LABEL, canonical_json.encode(envelope))
    return _bounded(canonical_json.encode({**envelope, "signature": signature.hex()}))


def countersign(entry_bytes: bytes, key: SigningKey) -> bytes:
    """The entry with the platform's countersignature: its receipt, and permission to append.

    Verifying the author's signature first is left to the caller, who knows the author's key.
    """
    entry = parse_entry(entry_bytes)
    if entry.countersignature is not None:
        raise DataError("entry: expected one without a countersignature, got one that has it")
    signature = key.sign(_COUNTERSIGN_LABEL, entry_bytes)
    signed = SignedEntry(entry.kind, entry.author, entry.body, entry.signature, signature)
    return _bounded(signed.to_bytes())


def parse_entry(data: bytes) -> SignedEntry:
    """The entry in `data`; signatures are not verified yet.

    1. Bounded, canonical JSON, exactly the envelope's fields, the version that we know.
    2. A known kind, and an author who may write it.
    3. A body with exactly the kind's fields, each in its range.

    Raises:
        DataError: naming the first field that is wrong.
    """
    # 1
    envelope = canonical_json.parse_object(_bounded(data))
    required = {"v", "kind", "author", "body", "signature"}
    if not required <= set(envelope) <= required | {"countersignature"}:
        raise DataError("entry: expected exactly the fields of an envelope, got others")
    if envelope["v"] is True or envelope["v"] != VERSION:
        raise DataError(f"entry.v: expected version {VERSION}, got another")
    # 2, 3
    kind = _parse_kind(envelope["kind"])
    validate_body(kind, envelope["author"], envelope["body"])
    return SignedEntry(
        kind,
        envelope["author"],
        envelope["body"],
        _parse_signature(envelope["signature"], "entry.signature"),
        _parse_signature(envelope["countersignature"], "entry.countersignature")
        if "countersignature" in envelope
        else None,
    )


def verify_author(entry: SignedEntry, public_key: bytes) -> None:
    """Raise VerificationError unless the entry is signed by `public_key`.

    That `public_key` is the author's is left to the caller.
    """
    message = canonical_json.encode(_envelope(entry.kind, entry.author, entry.body))
    verify_signature(public_key, _AUTHOR_LABEL, message, entry.signature)


def verify_countersignature(entry: SignedEntry, platform_key: bytes) -> None:
    """Raise VerificationError unless the entry is countersigned by `platform_key`."""
    if entry.countersignature is None:
        raise VerificationError("entry: expected the platform's countersignature, got none")
    message = canonical_json.encode(_signed_envelope(entry))
    verify_signature(platform_key, _COUNTERSIGN_LABEL, message, entry.countersignature)


def validate_body(kind: EntryKind, author: Any, body: Any) -> None:
    """Raise DataError unless `body` is one of `kind` that `author` may write.

    1. The body is an object with exactly the kind's fields, each in its range.
    2. The author is the company that the body names, or the platform; no company has the platform's name.
    """
    # 1
    if not isinstance(body, dict):
        raise DataError(f"entry.body: expected an object, got {type(body).__name__}")
    if kind is EntryKind.PLAN:
        # The plan's other fields belong to a higher layer: noren_core.season.plan.CampaignPlan.from_body.
        _name(body.get("campaign"), "plan.campaign")
    else:
        _validate_fields(kind, body)
    # 2
    if body.get("company") == PLATFORM:
        raise DataError(f"{kind}.company: expected a company's name, got the platform's")
    if author != (body["company"] if kind in COMPANY_KINDS else PLATFORM):
        raise DataError("entry.author: expected the party that may write this entry, got another")


def _validate_fields(kind: EntryKind, body: dict[str, Any]) -> None:
    schema = _schema(kind, body)
    if body.keys() != schema.keys():
        raise DataError(f"{kind}: expected the fields {', '.join(sorted(schema))}, got others")
    for field, check in schema.items():
        check(body[field], f"{kind}.{field}")
    if kind is EntryKind.LOG_START and VerifierKey.from_text(body["log_key"]).name != body["origin"]:
        raise DataError("log-start.log_key: expected a key named like the origin, got another name")
    if kind is EntryKind.TABLE:
        manifest = body["manifest"]
        if (manifest["campaign"], manifest["company"]) != (body["campaign"], body["company"]):
            raise DataError("table.manifest: expected the campaign and company of the entry, got others")
    if kind in (EntryKind.KEY_ROTATION, EntryKind.PLATFORM_KEY_ROTATION):
        _validate_change(kind, body)
    if kind is EntryKind.SERVICE_STATE and (body["scope"] == ServiceScope.GLOBAL) != (body["name"] == ""):
        raise DataError("service-state.name: expected a name, and none for the whole service")


def _schema(kind: EntryKind, body: dict[str, Any]) -> dict[str, Check]:
    """The fields of the kind; what a rotation must prove depends on which key it replaces."""
    if kind is EntryKind.KEY_ROTATION and body.get("key") == CompanyKey.SIGNING:
        return {**_SCHEMAS[kind], "possession": _signature}
    if kind is EntryKind.PLATFORM_KEY_ROTATION and body.get("key") == PlatformKey.LOG:
        return {**_SCHEMAS[kind], "old": _log_key, "new": _log_key, "endorsement": _signature}
    return _SCHEMAS[kind]


def _validate_change(kind: EntryKind, body: dict[str, Any]) -> None:
    if body["old"] == body["new"]:
        raise DataError(f"{kind}.new: expected another key than the old one, got the same")
    if body["key"] == PlatformKey.LOG:
        old, new = VerifierKey.from_text(body["old"]), VerifierKey.from_text(body["new"])
        if old.name != new.name:
            raise DataError(f"{kind}.new: expected a key of the same origin, got another name")


def _envelope(kind: EntryKind, author: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"v": VERSION, "kind": kind.value, "author": author, "body": body}


def _signed_envelope(entry: SignedEntry) -> dict[str, Any]:
    return {**_envelope(entry.kind, entry.author, entry.body), "signature": entry.signature.hex()}


def _bounded(data: bytes) -> bytes:
    if len(data) > MAX_ENTRY_BYTES:
        raise DataError(f"entry: expected at most {MAX_ENTRY_BYTES} bytes, got {len(data)}")
    return data


def _parse_kind(value: Any) -> EntryKind:
    try:
        return EntryKind(value)
    except ValueError as error:
        raise DataError("entry.kind: expected a known kind, got another") from error


def _parse_signature(value: Any, what: str) -> bytes:
    if not isinstance(value, str) or not _SIGNATURE_HEX.match(value):
        raise DataError(f"{what}: expected 128 lower-case hex digits")
    return bytes.fromhex(value)


def _name(value: Any, what: str) -> None:
    if not isinstance(value, str):
        raise DataError(f"{what}: expected a name, got {type(value).__name__}")
    ids.parse_name(value, what)


def _hash(value: Any, what: str) -> None:
    if not isinstance(value, str) or not _HASH_HEX.match(value):
        raise DataError(f"{what}: expected 64 lower-case hex digits")


def _origin(value: Any, what: str) -> None:
    if not isinstance(value, str):
        raise DataError(f"{what}: expected a text")
    VerifierKey(value, bytes(32))  # the note format's rules for key names


def _log_key(value: Any, what: str) -> None:
    if not isinstance(value, str):
        raise DataError(f"{what}: expected a verifier key")
    VerifierKey.from_text(value)


def _reason(value: Any, what: str) -> None:
    if not isinstance(value, str) or not _REASON.match(value):
        raise DataError(f"{what}: expected an error code in capitals")


def _signature(value: Any, what: str) -> None:
    _parse_signature(value, what)


def _revocation_reason(value: Any, what: str) -> None:
    if value not in tuple(RevocationReason):
        raise DataError(f"{what}: expected one of the listed reasons, got another")


def _company_key(value: Any, what: str) -> None:
    if value not in tuple(CompanyKey):
        raise DataError(f"{what}: expected signing, sealing, tls or node, got another value")


def _platform_key(value: Any, what: str) -> None:
    if value not in tuple(PlatformKey):
        raise DataError(f"{what}: expected platform or log, got another value")


def _word_of(kind: type[StrEnum]) -> Check:
    words = ", ".join(kind)

    def check(value: Any, what: str) -> None:
        if value not in tuple(kind):
            raise DataError(f"{what}: expected one of {words}; got another value")

    return check


def _name_or_nothing(value: Any, what: str) -> None:
    if value != "":
        _name(value, what)


def _table_kind(value: Any, what: str) -> None:
    if value not in tuple(ids.TableKind):
        raise DataError(f"{what}: expected train or score, got another value")


def _survivors(value: Any, what: str) -> None:
    if not isinstance(value, list) or not 0 < len(value) <= MAX_SURVIVORS:
        raise DataError(f"{what}: expected a list of 1 to {MAX_SURVIVORS} companies")
    try:
        _distinct_names(tuple(value), what)
    except TypeError as error:  # of an item that has no hash
        raise DataError(f"{what}: expected names") from error


@lru_cache(maxsize=256)
def _distinct_names(names: tuple[Any, ...], what: str) -> None:
    """Remembered, because all companies of a round state the same; a refusal is not."""
    for item in names:
        _name(item, what)
    if list(names) != sorted(set(names)):
        raise DataError(f"{what}: expected distinct companies in sorted order")


def _sentinels(value: Any, what: str) -> None:
    if not isinstance(value, list) or len(value) > MAX_SENTINELS:
        raise DataError(f"{what}: expected a list of at most {MAX_SENTINELS} integers")
    for item in value:
        _SIGNED(item, what)


def _checkpoint(value: Any, what: str) -> None:
    """A note by form; what it says is judged where the log's keys are known."""
    if not isinstance(value, str) or len(value) > MAX_NOTE_CHARACTERS:
        raise DataError(f"{what}: expected a signed checkpoint of at most {MAX_NOTE_CHARACTERS} characters")
    try:
        claimed_size(value.encode())
    except (VerificationError, UnicodeEncodeError) as error:
        raise DataError(f"{what}: expected a signed checkpoint, got another text") from error


def _event(value: Any, what: str) -> None:
    del what  # the event names its own fields
    GaussianEvent.from_body(value)


def _manifest(value: Any, what: str) -> None:
    del what  # as does the manifest
    TableManifest.from_body(value)


def _integer(low: int, high: int) -> Check:
    def check(value: Any, what: str) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise DataError(f"{what}: expected an integer from {low} to {high}")

    return check


_ROUND = _integer(1, 10_000)
_INDEX = _integer(0, canonical_json.MAX_INTEGER)
_SECONDS = _integer(0, 1 << 40)
_SIGNED = _integer(-(2**62), 2**62)

_SCHEMAS: dict[EntryKind, dict[str, Check]] = {
    EntryKind.LOG_START: {"origin": _origin, "platform_key": _hash, "log_key": _log_key},
    EntryKind.ENROLMENT: {
        "company": _name,
        "signing_key": _hash,
        "sealing_key": _hash,
        "tls_key_sha256": _hash,
        "node_key_sha256": _hash,
    },
    EntryKind.AGREEMENT: {
        "company": _name,
        "agreement_sha256": _hash,
        "declared_size": _integer(1, MAX_DECLARED_SIZE),
    },
    EntryKind.PLAN_ACCEPTANCE: {"campaign": _name, "company": _name, "plan_sha256": _hash},
    EntryKind.CONSENT_EPOCH: {"campaign": _name, "company": _name, "kind": _table_kind, "root": _hash},
    EntryKind.OPRF_KEY: {"campaign": _name, "company": _name, "kind": _table_kind, "public_key": _hash},
    EntryKind.TABLE: {"campaign": _name, "company": _name, "consent_epoch": _INDEX, "manifest": _manifest},
    EntryKind.TRAINING_COMMITMENT: {
        "campaign": _name,
        "company": _name,
        "plan_sha256": _hash,
        "seed": _hash,
        "rows": _hash,
    },
    EntryKind.BEACON: {"campaign": _name, "checkpoint": _checkpoint},
    EntryKind.INTENT: {
        "campaign": _name,
        "company": _name,
        "round": _ROUND,
        "plan_sha256": _hash,
        "event": _event,
        "previous": _hash,
        "sequence": _INDEX,
    },
    EntryKind.SETTLE: {
        "campaign": _name,
        "company": _name,
        "round": _ROUND,
        "survivors": _survivors,
        "update_sha256": _hash,
        "sentinels": _sentinels,
        "consents": _hash,
        "model_in": _hash,
        "model_out": _hash,
    },
    EntryKind.ROUND_FAILED: {"campaign": _name, "round": _ROUND, "reason": _reason},
    EntryKind.STATISTICS_ROWS: {
        "campaign": _name,
        "company": _name,
        "table_root": _hash,
        "commitment": _hash,
    },
    EntryKind.WEIGHTS_COMMITMENT: {"campaign": _name, "company": _name, "commitment": _hash},
    EntryKind.STATISTICS_ANSWER: {
        "campaign": _name,
        "company": _name,
        "weights": _INDEX,
        "answer_sha256": _hash,
    },
    EntryKind.HEAD_COMMITMENT: {
        "campaign": _name,
        "company": _name,
        "commitment": _hash,
        "dimensions": _integer(1, 1024),
        "heads": _integer(1, 255),
        "weight_bits": _integer(1, 32),
    },
    EntryKind.CAMPAIGN_CLOSED: {"campaign": _name},
    EntryKind.KEY_ROTATION: {"company": _name, "key": _company_key, "old": _hash, "new": _hash},
    EntryKind.PLATFORM_KEY_ROTATION: {
        "key": _platform_key,
        "old": _hash,
        "new": _hash,
        "possession": _signature,
    },
    EntryKind.REVOCATION: {"company": _name, "reason": _revocation_reason},
    EntryKind.POLICY: {"policy": _name, "sha256": _hash, "activated_at": _SECONDS},
    EntryKind.COVERAGE: {
        "campaign": _name,
        "report_sha256": _hash,
        "as_of": _SECONDS,
        "policy_sha256": _hash,
        "screens_sha256": _hash,
        "verdict": _word_of(CoverageVerdict),
        "auditor_key": _hash,
        "attestation": _signature,
    },
    EntryKind.CONSENT_LOG: {"root": _hash},
    EntryKind.DECISION_BATCH: {
        "campaign": _name,
        "company": _name,
        "position": _name,
        "sequence": _integer(1, MAX_DECISION_BATCHES),
        "root": _hash,
        "evaluation_sha256": _hash,
        "sealed_at": _SECONDS,
    },
    EntryKind.GATE_OPENED: {"campaign": _name, "company": _name, "batch": _INDEX, "opened_at": _SECONDS},
    EntryKind.MIRROR_DEPOSIT: {"campaign": _name, "company": _name, "root": _hash, "deposited_at": _SECONDS},
    EntryKind.ERASURE_ORDER: {
        "campaign": _name,
        "company": _name,
        "order_sha256": _hash,
        "ground": _word_of(ErasureGround),
        "due_at": _SECONDS,
    },
    EntryKind.DELETION_CERTIFICATE: {
        "campaign": _name,
        "company": _name,
        "order": _INDEX,
        "certificate_sha256": _hash,
    },
    EntryKind.SERVICE_STATE: {
        "scope": _word_of(ServiceScope),
        "name": _name_or_nothing,
        "state": _word_of(ServiceStatus),
        "reason": _reason,
        "at": _SECONDS,
        "evidence_sha256": _hash,
    },
    EntryKind.INCIDENT: {
        "incident": _name,
        "class": _reason,
        "state": _word_of(IncidentState),
        "at": _SECONDS,
        "report_sha256": _hash,
    },
}
