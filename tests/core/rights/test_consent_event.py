"""Consent events: their one encoding, who must sign them, and what is refused by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from consenting_students import ALL_CLAUSES, SCREEN, ConsentingStudents
from hypothesis import given
from hypothesis import strategies as st

from noren_core import canonical_json
from noren_core.crypto.identity import SigningKey
from noren_core.crypto.secret import SecretBytes
from noren_core.errors import DataError, NorenError, VerificationError
from noren_core.ids import IdentifierKind
from noren_core.rights.clauses import Clause
from noren_core.rights.consent.consent_event import (
    MAX_EVENT_BYTES,
    SESSION_KINDS,
    STUDENT_KINDS,
    STUDENT_LABEL,
    Action,
    Address,
    Answer,
    ConsentEvent,
    ConsentKey,
    Event,
    EventKind,
    KeyRegistered,
    OfferAcknowledged,
    Screen,
    SignedEvent,
    endorse,
    is_signed_by_student,
    parse_event,
    sign_event,
    to_body,
    verify_event,
)
from noren_core.rights.purposes import ForbiddenPurpose, Purpose
from noren_core.rights.student_device import StudentDevice

NAMES = st.from_regex(r"x[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?", fullmatch=True)
TIMES = st.integers(1, 1 << 39)
SCREENS = st.builds(
    Screen,
    st.binary(min_size=32, max_size=32).map(bytes.hex),
    st.sets(st.sampled_from(Clause)).map(lambda clauses: tuple(sorted(clauses))),
)
STUDENTS = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=20)
KEYS = st.builds(ConsentKey, STUDENTS, st.sampled_from(Purpose), NAMES, NAMES, NAMES, NAMES)


@st.composite
def consent_events(draw: st.DrawFn) -> ConsentEvent:
    kinds = [k for k in EventKind if k not in (EventKind.OFFER_ACKNOWLEDGED, EventKind.KEY_REGISTERED)]
    event = ConsentEvent(
        draw(st.sampled_from(kinds)), draw(KEYS), draw(st.binary(min_size=16, max_size=16)), draw(TIMES)
    )
    if event.kind is EventKind.SHOWN:
        event = replace(event, screen=draw(SCREENS))
    if event.kind in SESSION_KINDS:
        event = replace(event, via_session=draw(st.booleans()))
    if event.kind in (EventKind.GIVEN, EventKind.RENEWED):
        answer = Answer(
            draw(SCREENS),
            draw(st.sampled_from(Action)),
            prechecked=draw(st.booleans()),
            bundled=draw(st.booleans()),
            dwell_ms=draw(st.integers(0, 100_000)),
            expires_at=event.time + draw(st.integers(1, 10**9)),
        )
        event = replace(event, answer=answer)
    if event.kind is EventKind.GIVEN and event.key.purpose in (Purpose.TRAIN, Purpose.SCORE):
        key = draw(st.binary(min_size=32, max_size=32))
        event = replace(event, address=Address(draw(st.sampled_from(IdentifierKind)), "a@example.org", key))
    return event


OFFERS = st.builds(OfferAcknowledged, STUDENTS, NAMES, NAMES, NAMES, TIMES)
REGISTRATIONS = st.builds(
    KeyRegistered,
    STUDENTS,
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=32, max_size=32),
    st.booleans(),
    TIMES,
)
EVENTS = consent_events() | OFFERS | REGISTRATIONS


def given_event(**changes: object) -> dict[str, object]:
    """The fields of a GIVEN for scoring, some of them changed."""
    event = ConsentingStudents().student("s1").gives(Purpose.SCORE, "akane")[-1].event
    return to_body(event) | changes


def parse_body(body: dict[str, object]) -> Event:
    signed = {"body": body, "signature": "00" * 64}
    return parse_event(canonical_json.encode(signed)).event


@given(EVENTS)
def test_an_event_has_one_encoding(event: Event) -> None:
    """What was signed comes back field by field, and its bytes are the same again."""
    key = SigningKey.generate()
    signed = sign_event(event, key)
    data = signed.to_bytes()
    assert parse_event(data) == signed
    assert parse_event(data).to_bytes() == data


@given(EVENTS)
def test_an_event_is_signed_by_whom_its_kind_demands(event: Event) -> None:
    """A student's by the student and nobody else; the service's by the service and nobody else."""
    student, service = SigningKey.generate(), SigningKey.generate()
    if isinstance(event, KeyRegistered):
        event = replace(event, public_key=student.public_key, replaces=b"", reauthenticated=False)
    known = None if isinstance(event, KeyRegistered) else student.public_key
    by_student, by_service = sign_event(event, student), sign_event(event, service)
    right, wrong = (by_student, by_service) if is_signed_by_student(event) else (by_service, by_student)
    verify_event(right, student_key=known, service_key=service.public_key)
    with pytest.raises(VerificationError):
        verify_event(wrong, student_key=known, service_key=service.public_key)


@pytest.mark.parametrize("kind", sorted(STUDENT_KINDS - {EventKind.KEY_REGISTERED}))
def test_the_operator_cannot_speak_for_a_student(kind: EventKind) -> None:
    """Signed by the service, under either label: CONSENT_NOT_BY_SUBJECT."""
    students = ConsentingStudents()
    student = students.student("s1")
    given = student.gives(Purpose.LINK, "akane")[-1].event
    assert isinstance(given, ConsentEvent)
    event: Event = replace(given, kind=kind)
    if kind is EventKind.OFFER_ACKNOWLEDGED:
        event = OfferAcknowledged("s1", "akane", "engineer", "2027", 5)
    elif kind not in (EventKind.GIVEN, EventKind.RENEWED):
        event = replace(given, kind=kind, answer=None)
    own = canonical_json.encode(to_body(event))
    forged = [
        sign_event(event, students.service_key),
        SignedEvent(event, students.service_key.sign(STUDENT_LABEL, own)),
        SignedEvent(event, students.service_key.sign(b"noren/v1/consent-event/service", own)),
    ]
    for signed in forged:
        for key in (student.device.signing_key.public_key, None):
            with pytest.raises(VerificationError) as refused:
                verify_event(signed, student_key=key, service_key=students.public_key)
            assert refused.value.code == "CONSENT_NOT_BY_SUBJECT"


@pytest.mark.parametrize("kind", sorted(EventKind))
def test_only_a_no_can_be_said_in_a_session(kind: EventKind) -> None:
    """The service signs it, with or without a key of hers; what says yes has no such field."""
    students = ConsentingStudents()
    given = students.student("s1").gives(Purpose.LINK, "akane")[-1].event
    assert isinstance(given, ConsentEvent)
    event = replace(given, kind=kind, answer=None, via_session=True)
    if kind in SESSION_KINDS:
        signed = sign_event(event, students.service_key)
        assert parse_event(signed.to_bytes()) == signed
        for key in (SigningKey.generate().public_key, None):
            verify_event(signed, student_key=key, service_key=students.public_key)
    else:
        body = to_body(replace(given, kind=kind, answer=given.answer)) | {"via": "session"}
        with pytest.raises(DataError):
            parse_body(body)


def test_a_key_is_replaced_with_the_old_keys_word_or_the_services() -> None:
    """By the old key; by the service only where the event says that she was identified otherwise."""
    service = SigningKey.generate()
    old, new = StudentDevice.create("s1"), StudentDevice.create("s1")
    old_key = old.signing_key.public_key

    def verify(signed: SignedEvent) -> None:
        verify_event(signed, student_key=old_key, service_key=service.public_key)

    verify(new.replaces(old, time=7))
    lost = new.replaces_lost(old_key, time=7)
    verify(endorse(lost, service))
    for wrong in (
        endorse(new.replaces(old, time=7), service),  # the service, in the old key's stead
        endorse(lost, new.signing_key),
        lost,
        new.registers(time=7),  # as if there had been none
        endorse(replace(lost, signature=bytes(64)), service),
    ):
        with pytest.raises(VerificationError) as refused:
            verify(wrong)
        assert refused.value.code == "CONSENT_NOT_BY_SUBJECT"


@pytest.mark.parametrize("company", ["*", "all", "any", "everyone"])
def test_no_consent_goes_to_more_than_one_company(company: str) -> None:
    """A wildcard has a code of its own, in consents and acknowledged offers."""
    for body in (
        given_event(company=company),
        to_body(OfferAcknowledged("s1", company, "engineer", "2027", 5)),
    ):
        with pytest.raises(DataError) as refused:
            parse_body(body)
        assert refused.value.code == "RECIPIENT_WILDCARD"


@pytest.mark.parametrize("purpose", [*ForbiddenPurpose, "predict.everything"])
def test_what_nobody_can_consent_to(purpose: str) -> None:
    """Forbidden purposes are refused as such, unknown ones as unknown."""
    with pytest.raises(DataError) as refused:
        parse_body(given_event(purpose=purpose))
    is_forbidden = purpose in tuple(ForbiddenPurpose)
    assert refused.value.code == ("PURPOSE_FORBIDDEN" if is_forbidden else "PURPOSE_UNKNOWN")


@pytest.mark.parametrize(
    "changes",
    [
        {"position": "*"},
        {"season": "*"},
        {"policy": ""},
        {"student": ""},
        {"student": "a" * 129},
        {"student": "a\nb"},
        {"time": -1},
        {"time": True},
        {"record": "00" * 15},
        {"record": "0G" * 16},
        {"screen": "AB" * 32},
        {"clauses": ["C02", "C01"]},
        {"clauses": ["C01", "C01"]},
        {"clauses": ["C16"]},
        {"clauses": [1]},
        {"clauses": "C01"},
        {"action": "SCROLL"},
        {"prechecked": 0},
        {"bundled": "no"},
        {"dwell_ms": -1},
        {"expires_at": 0},
        {"identifier_kind": "phone"},
        {"identifier": " "},
        {"identifier": "a" * 600},
        {"identifier": 7},
        {"disclosure_key": ""},
        {"extra": 1},
        {"event": "NEVER_SHOWN"},
        {"event": "SHOWN"},
        {"event": ["GIVEN"]},
        {"purpose": "link.pairwise"},
    ],
)
def test_a_field_out_of_its_range_is_refused(changes: dict[str, object]) -> None:
    """By name, without saying what it was."""
    body = given_event(**changes)
    with pytest.raises(DataError) as refused:
        parse_body(body)
    assert "code-s1" not in refused.value.message


def test_a_missing_field_is_refused() -> None:
    """Every field of a GIVEN is needed."""
    for name in given_event():
        body = given_event()
        del body[name]
        with pytest.raises(DataError):
            parse_body(body)


def test_an_endorsement_belongs_to_a_replaced_key_only() -> None:
    """Elsewhere it would be bytes that nobody signed."""
    signed = ConsentingStudents().student("s1").gives(Purpose.LINK, "akane")[-1]
    device = StudentDevice.create("s1")
    for event in (
        replace(signed, endorsement=bytes(64)),
        endorse(device.registers(time=1), device.signing_key),
    ):
        with pytest.raises(DataError):
            parse_event(event.to_bytes())


def test_an_event_is_bounded() -> None:
    """Before it is parsed."""
    with pytest.raises(DataError, match=f"at most {MAX_EVENT_BYTES} bytes"):
        parse_event(b" " * (MAX_EVENT_BYTES + 1))


@given(st.binary(max_size=200))
def test_other_bytes_are_no_event(data: bytes) -> None:
    """They are refused as what they are: bad data."""
    with pytest.raises(NorenError):
        parse_event(data)


def test_nothing_personal_is_in_a_repr() -> None:
    """Neither who, nor what she is looked up by, nor her handles."""
    student = ConsentingStudents().student("student-1")
    for signed in student.may_be_scored("akane"):
        text = repr(signed)
        for secret in (
            "student-1",
            "code-student-1",
            student.device.disclosure_key("akane").public_key.hex(),
        ):
            assert secret not in text
    assert "redacted" in repr(student.device)


def test_keys_for_companies_are_hers_and_not_each_others() -> None:
    """From one secret the same keys again; for two companies, or two students, never the same."""
    secret = bytes(range(32))
    one, again = (StudentDevice("s1", SecretBytes(secret)) for _ in range(2))
    assert one.signing_key.public_key == again.signing_key.public_key
    assert one.disclosure_key("akane").public_key == again.disclosure_key("akane").public_key
    other = StudentDevice("s1", SecretBytes(bytes(32)))
    keys = [d.disclosure_key(c).public_key for d in (one, other) for c in ("akane", "beni")]
    assert len({*keys, one.signing_key.public_key, other.signing_key.public_key}) == 6
    with pytest.raises(DataError):
        StudentDevice("s1", SecretBytes(bytes(31)))


def test_a_device_signs_for_its_own_student_only() -> None:
    """Another student's record is refused before anything is signed."""
    key = ConsentKey("s2", Purpose.LINK, "akane", "engineer", "2027", "policy-1")
    with pytest.raises(DataError):
        StudentDevice.create("s1").refuses(key, bytes(16), time=1)


def test_support_events_are_what_the_service_takes() -> None:
    """The evidence of a GIVEN is the screen with its clauses."""
    event = ConsentingStudents().student("s1").gives(Purpose.SCORE, "akane")[-1].event
    assert isinstance(event, ConsentEvent)
    assert event.answer is not None
    assert event.answer.screen == Screen(SCREEN, ALL_CLAUSES)
