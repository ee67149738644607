"""Consent events: what a student, or the platform's consent service, says about one consent, signed.

docs/rights/consent.md §2. Promises: an event is canonical JSON with exactly the fields of its kind, each in
its range, so that whoever holds one holds values that are simply true; who must have signed it follows from
its kind, and from whether she said it in a session (`via_session`). What events mean one after the other is
in `consent_record`, whether a consent counts in `consent_validity`.

Refuses recipients that stand for more than one company, and purposes that nobody can consent to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any

from noren_core import canonical_json
from noren_core.crypto.identity import SigningKey, verify_signature
from noren_core.errors import DataError, VerificationError
from noren_core.ids import IdentifierKind, normalise_identifier, parse_name
from noren_core.rights import fields
from noren_core.rights.clauses import Clause
from noren_core.rights.purposes import Purpose, parse_purpose

MAX_EVENT_BYTES = 8192
MAX_STUDENT_CHARACTERS = 128
MAX_DWELL_MS = 7 * 24 * 3600 * 1000
RECORD_BYTES = 16
KEY_BYTES = 32
SIGNATURE_BYTES = 64

STUDENT_LABEL = b"noren/v1/consent-event/student"
SERVICE_LABEL = b"noren/v1/consent-event/service"
ENDORSEMENT_LABEL = b"noren/v1/consent-event/endorsement"

_WHAT = "consent event"
_SESSION = "session"
_WILDCARDS = frozenset({"*", "all", "any", "everyone"})


class EventKind(StrEnum):
    """Everything that can be said."""

    SHOWN = "SHOWN"
    REQUESTED = "REQUESTED"
    GIVEN = "GIVEN"
    REFUSED = "REFUSED"
    DEFERRED = "DEFERRED"
    RENEWED = "RENEWED"
    WITHDRAWN = "WITHDRAWN"
    EXPIRED = "EXPIRED"
    SUPERSEDED = "SUPERSEDED"
    INVALIDATED = "INVALIDATED"
    REVOKED = "REVOKED"
    OFFER_ACKNOWLEDGED = "OFFER_ACKNOWLEDGED"
    KEY_REGISTERED = "KEY_REGISTERED"


STUDENT_KINDS = frozenset(
    {
        EventKind.GIVEN,
        EventKind.RENEWED,
        EventKind.REFUSED,
        EventKind.DEFERRED,
        EventKind.WITHDRAWN,
        EventKind.OFFER_ACKNOWLEDGED,
        EventKind.KEY_REGISTERED,
    }
)
"""Signed by the student's own key, unless `via_session` says otherwise; all other kinds by the service."""

SESSION_KINDS = frozenset({EventKind.REFUSED, EventKind.DEFERRED, EventKind.WITHDRAWN})
"""What the service may sign for a student who is signed in without her key: a no, and nothing else.

To refuse or withdraw must never be harder than to consent, also where no script runs or a key is lost. What
is given, and an acknowledged offer, is signed by herself or does not exist.
"""

_CARRIES_ADDRESS = frozenset({Purpose.TRAIN, Purpose.SCORE})


class Action(StrEnum):
    """What the student did on the screen. Only the first two can be consent, the others are evidence."""

    TICK_UNTICKED_BOX = "TICK_UNTICKED_BOX"
    PRESS_DEDICATED_BUTTON = "PRESS_DEDICATED_BUTTON"
    LEAVE_TICKED_BOX = "LEAVE_TICKED_BOX"
    PRESS_OTHER_BUTTON = "PRESS_OTHER_BUTTON"  # such as the one that applies


@dataclass(frozen=True, slots=True, order=True)
class ConsentKey:
    """What one consent is about; nothing in it stands for more than one."""

    student: str = field(repr=False)
    purpose: Purpose
    company: str
    position: str
    season: str
    policy: str


@dataclass(frozen=True, slots=True)
class Screen:
    """What was shown: SHA-256 of the very text (hex), and the clauses in it, sorted."""

    sha256: str
    clauses: tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """How a consent was given or renewed.

    Attributes:
        screen: that it answers.
        action: what she did.
        prechecked: whether the box was ticked before she came.
        bundled: whether the same action did anything else.
        dwell_ms: how long the screen was open.
        expires_at: Unix seconds; the consent counts before it.
    """

    screen: Screen
    action: Action
    prechecked: bool
    bundled: bool
    dwell_ms: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class Address:
    """What the company looks her up by, and the X25519 key that results about her are sealed to."""

    identifier_kind: IdentifierKind
    identifier: str = field(repr=False)
    disclosure_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ConsentEvent:
    """One step of one consent record.

    `screen` is there in SHOWN, `answer` in GIVEN and RENEWED, `address` in GIVEN for training and scoring.
    `via_session` says that she said it while she was signed in, and that the service signs it
    (`SESSION_KINDS`).
    """

    kind: EventKind
    key: ConsentKey
    record: bytes = field(repr=False)
    time: int
    screen: Screen | None = None
    answer: Answer | None = None
    address: Address | None = field(default=None, repr=False)
    via_session: bool = False

    @property
    def student(self) -> str:
        """Who it is about."""
        return self.key.student


@dataclass(frozen=True, slots=True)
class OfferAcknowledged:
    """The student confirms that this company told her of its offer for this position."""

    student: str = field(repr=False)
    company: str
    position: str
    season: str
    time: int
    kind: EventKind = EventKind.OFFER_ACKNOWLEDGED


@dataclass(frozen=True, slots=True)
class KeyRegistered:
    """The student's key from now on.

    Attributes:
        student: whose.
        public_key: 32 bytes; it signs the event itself.
        replaces: the key before, or nothing for the first.
        reauthenticated: the old key is lost and the service found out otherwise that it is she; it endorses
            the event in the old key's stead.
        time: Unix seconds.
    """

    student: str = field(repr=False)
    public_key: bytes
    replaces: bytes
    reauthenticated: bool
    time: int
    kind: EventKind = EventKind.KEY_REGISTERED


Event = ConsentEvent | OfferAcknowledged | KeyRegistered


@dataclass(frozen=True, slots=True)
class SignedEvent:
    """An event with its signature; `endorsement` is there where a key is replaced."""

    event: Event
    signature: bytes = field(repr=False)
    endorsement: bytes = field(default=b"", repr=False)

    def to_bytes(self) -> bytes:
        """The canonical bytes: {"body", "signature", "endorsement" where there is one}."""
        envelope: dict[str, Any] = {"body": to_body(self.event), "signature": self.signature.hex()}
        if self.endorsement:
            envelope["endorsement"] = self.endorsement.hex()
        return canonical_json.encode(envelope)


def is_signed_by_student(event: Event) -> bool:
    """Whether the student's own key must have signed the event, and not the service's."""
    return event.kind in STUDENT_KINDS and not (isinstance(event, ConsentEvent) and event.via_session)


def sign_event(event: Event, key: SigningKey) -> SignedEvent:
    """The event, signed by whoever must sign it."""
    label = STUDENT_LABEL if is_signed_by_student(event) else SERVICE_LABEL
    return SignedEvent(event, key.sign(label, canonical_json.encode(to_body(event))))


def endorse(signed: SignedEvent, key: SigningKey) -> SignedEvent:
    """The registration of a new key, endorsed by the old one, or by the service after re-authentication."""
    body = canonical_json.encode(to_body(signed.event))
    return SignedEvent(signed.event, signed.signature, key.sign(ENDORSEMENT_LABEL, body))


def verify_event(signed: SignedEvent, *, student_key: bytes | None, service_key: bytes) -> None:
    """Raise unless the event is signed by whom its kind, and how it was said, demands.

    Args:
        signed: the event.
        student_key: her key as registered before this event; None if there is none.
        service_key: of the consent service.

    Raises:
        VerificationError: with code CONSENT_NOT_BY_SUBJECT where the student's signature is missing.
    """
    body = canonical_json.encode(to_body(signed.event))
    if isinstance(signed.event, KeyRegistered):
        _verify_registration(signed, signed.event, body, student_key, service_key)
    elif is_signed_by_student(signed.event):
        _verify_student(student_key, STUDENT_LABEL, body, signed.signature)
    else:
        verify_signature(service_key, SERVICE_LABEL, body, signed.signature)


def parse_event(data: bytes) -> SignedEvent:
    """The event in `data`; its signatures are not verified yet.

    Raises:
        DataError: for anything but the canonical bytes of one well-formed event; with code PURPOSE_FORBIDDEN,
            PURPOSE_UNKNOWN or RECIPIENT_WILDCARD where that is what is wrong.
    """
    if len(data) > MAX_EVENT_BYTES:
        raise DataError(f"consent event: expected at most {MAX_EVENT_BYTES} bytes, got more")
    envelope = canonical_json.parse_object(data)
    schema = _ENVELOPE if "endorsement" in envelope else _SIMPLE_ENVELOPE
    found = fields.read_fields(envelope, schema, _WHAT)
    event = from_body(found["body"])
    endorsement = found.get("endorsement", b"")
    if endorsement and not (isinstance(event, KeyRegistered) and event.replaces):
        raise DataError("consent event: expected no endorsement where no key is replaced")
    return SignedEvent(event, found["signature"], endorsement)


def to_body(event: Event) -> dict[str, Any]:
    """The fields that are signed."""
    body: dict[str, Any] = {"event": event.kind.value, "student": event.student, "time": event.time}
    match event:
        case KeyRegistered():
            body |= {"key": event.public_key.hex(), "reauthenticated": event.reauthenticated}
            body["replaces"] = event.replaces.hex()
        case OfferAcknowledged():
            body |= {"company": event.company, "position": event.position, "season": event.season}
        case ConsentEvent():
            body |= _consent_fields(event)
    return body


def from_body(body: Any) -> Event:
    """The event with these fields; errors as in `parse_event`."""
    kind = _parse_kind(body)
    found = fields.read_fields(body, _schema(kind, body), _WHAT)
    match kind:
        case EventKind.KEY_REGISTERED:
            return _key_registered(found)
        case EventKind.OFFER_ACKNOWLEDGED:
            return OfferAcknowledged(**{name: value for name, value in found.items() if name != "event"})
        case _:
            return _consent_event(kind, found)


def parse_company(value: object) -> str:
    """One company's name; DataError with code RECIPIENT_WILDCARD for what stands for more than one."""
    if isinstance(value, str) and value in _WILDCARDS:
        raise DataError("company: expected one company, got a wildcard", code="RECIPIENT_WILDCARD")
    return parse_name(value, "company")


def parse_student(value: object) -> str:
    """The platform's account id: 1 to 128 printable characters."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_STUDENT_CHARACTERS or not value.isprintable():
        raise DataError(f"student: expected 1 to {MAX_STUDENT_CHARACTERS} printable characters")
    return value


def _consent_fields(event: ConsentEvent) -> dict[str, Any]:
    key = event.key
    body: dict[str, Any] = {
        "purpose": key.purpose.value,
        "company": key.company,
        "position": key.position,
        "season": key.season,
        "policy": key.policy,
        "record": event.record.hex(),
    }
    if event.screen is not None:
        body |= _screen_fields(event.screen)
    if (answer := event.answer) is not None:
        body |= _screen_fields(answer.screen) | {
            "action": answer.action.value,
            "prechecked": answer.prechecked,
            "bundled": answer.bundled,
            "dwell_ms": answer.dwell_ms,
            "expires_at": answer.expires_at,
        }
    if event.via_session:
        body["via"] = _SESSION
    if (address := event.address) is not None:
        body |= {
            "identifier_kind": address.identifier_kind.value,
            "identifier": address.identifier,
            "disclosure_key": address.disclosure_key.hex(),
        }
    return body


def _screen_fields(screen: Screen) -> dict[str, Any]:
    return {"screen": screen.sha256, "clauses": [clause.value for clause in screen.clauses]}


def _consent_event(kind: EventKind, found: Mapping[str, Any]) -> ConsentEvent:
    parts = ("student", "purpose", "company", "position", "season", "policy")
    key = ConsentKey(*(found[part] for part in parts))
    screen = answer = address = None
    if "screen" in found:
        screen = Screen(found["screen"].hex(), found["clauses"])
    if screen is not None and "action" in found:
        answer, screen = _answer(found, screen), None
    if "identifier" in found:
        address = Address(found["identifier_kind"], found["identifier"], found["disclosure_key"])
        normalise_identifier(address.identifier_kind, address.identifier, key.position)
    return ConsentEvent(kind, key, found["record"], found["time"], screen, answer, address, "via" in found)


def _key_registered(found: Mapping[str, Any]) -> KeyRegistered:
    if found["reauthenticated"] and not found["replaces"]:
        raise DataError("consent event, reauthenticated: expected a key that is replaced, got none")
    return KeyRegistered(
        found["student"], found["key"], found["replaces"], found["reauthenticated"], found["time"]
    )


def _answer(found: Mapping[str, Any], screen: Screen) -> Answer:
    if found["expires_at"] <= found["time"]:
        raise DataError("consent event, expires_at: expected a time after the event, got another")
    names = ("action", "prechecked", "bundled", "dwell_ms", "expires_at")
    return Answer(screen, **{name: found[name] for name in names})


def _parse_kind(body: Any) -> EventKind:
    if not isinstance(body, dict) or body.get("event") not in tuple(EventKind):
        raise DataError("consent event: expected an object with a known event, got another value")
    return EventKind(body["event"])


def _schema(kind: EventKind, body: Mapping[str, Any]) -> Mapping[str, fields.Parse]:
    """The fields of the kind; what a GIVEN carries depends on its purpose, which is looked at first."""
    schema = _SCHEMAS.get(kind, _KEY_SCHEMA)
    if kind in SESSION_KINDS and "via" in body:
        return {**schema, **_SESSION_SCHEMA}
    if "purpose" in schema and parse_purpose(body.get("purpose"), _WHAT) in _CARRIES_ADDRESS:
        return {**schema, **_ADDRESS_SCHEMA} if kind is EventKind.GIVEN else schema
    return schema


def _parse_clauses(values: object) -> tuple[Clause, ...]:
    """Clauses, each once, in order; there are few different lists and many events."""
    if not isinstance(values, list) or len(values) > len(Clause) or not all(type(v) is str for v in values):
        raise DataError("clauses: expected a list of clauses, got another value")
    return _clauses(tuple(values))


@lru_cache(maxsize=256)
def _clauses(values: tuple[str, ...]) -> tuple[Clause, ...]:
    clauses = tuple(fields.word_of(Clause)(value) for value in values)
    if list(clauses) != sorted(set(clauses)):
        raise DataError("clauses: expected each once and in order, got another list")
    return clauses


_COMMON_SCHEMA: dict[str, fields.Parse] = {
    "event": fields.text,
    "student": parse_student,
    "time": fields.seconds,
}
_KEY_SCHEMA = _COMMON_SCHEMA | {
    "purpose": lambda value: parse_purpose(value, "purpose"),
    "company": parse_company,
    "position": fields.name,
    "season": fields.name,
    "policy": fields.name,
    "record": fields.bytes_of(RECORD_BYTES),
}
_SCREEN_SCHEMA: dict[str, fields.Parse] = {"screen": fields.bytes_of(32), "clauses": _parse_clauses}
_ANSWER_SCHEMA = _SCREEN_SCHEMA | {
    "action": fields.word_of(Action),
    "prechecked": fields.boolean,
    "bundled": fields.boolean,
    "dwell_ms": fields.integer_in(0, MAX_DWELL_MS),
    "expires_at": fields.seconds,
}
_ADDRESS_SCHEMA: dict[str, fields.Parse] = {
    "identifier_kind": fields.word_of(IdentifierKind),
    "identifier": fields.text,
    "disclosure_key": fields.bytes_of(KEY_BYTES),
}
_SCHEMAS: Mapping[EventKind, Mapping[str, fields.Parse]] = {
    EventKind.SHOWN: _KEY_SCHEMA | _SCREEN_SCHEMA,
    EventKind.GIVEN: _KEY_SCHEMA | _ANSWER_SCHEMA,
    EventKind.RENEWED: _KEY_SCHEMA | _ANSWER_SCHEMA,
    EventKind.KEY_REGISTERED: _COMMON_SCHEMA
    | {
        "key": fields.bytes_of(KEY_BYTES),
        "replaces": fields.bytes_of(KEY_BYTES, or_none=True),
        "reauthenticated": fields.boolean,
    },
    EventKind.OFFER_ACKNOWLEDGED: _COMMON_SCHEMA
    | {"company": parse_company, "position": fields.name, "season": fields.name},
}
_SESSION_SCHEMA: dict[str, fields.Parse] = {"via": fields.constant(_SESSION)}
_SIMPLE_ENVELOPE: dict[str, fields.Parse] = {
    "body": lambda value: value,
    "signature": fields.bytes_of(SIGNATURE_BYTES),
}
_ENVELOPE = _SIMPLE_ENVELOPE | {"endorsement": fields.bytes_of(SIGNATURE_BYTES)}


def _verify_registration(
    signed: SignedEvent,
    event: KeyRegistered,
    body: bytes,
    student_key: bytes | None,
    service_key: bytes,
) -> None:
    """1. It replaces exactly the key before. 2. The new key signs. 3. The old one or the service endorses."""
    if event.replaces != (student_key or b""):  # 1
        raise VerificationError(
            "consent event: expected the registration to name the key of before, got another",
            code="CONSENT_NOT_BY_SUBJECT",
        )
    _verify_student(event.public_key, STUDENT_LABEL, body, signed.signature)  # 2
    if student_key is not None:  # 3
        endorser = service_key if event.reauthenticated else student_key
        _verify_student(endorser, ENDORSEMENT_LABEL, body, signed.endorsement)


def _verify_student(key: bytes | None, label: bytes, body: bytes, signature: bytes) -> None:
    try:
        verify_signature(key or b"", label, body, signature)
    except VerificationError as error:
        raise VerificationError(
            "consent event: expected the student's own signature, got none that verifies",
            code="CONSENT_NOT_BY_SUBJECT",
        ) from error
