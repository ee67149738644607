"""Any history of events: the book takes the legal ones only, and answers as a slow reading of all does."""

from __future__ import annotations

import secrets
import sqlite3
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from consenting_students import ALL_CLAUSES, NOW, SCREEN, ConsentingStudents, PermissiveFacts
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from noren_core.errors import NorenError
from noren_core.ids import IdentifierKind
from noren_core.rights.consent.consent_event import (
    STUDENT_KINDS,
    Action,
    Address,
    Answer,
    ConsentEvent,
    ConsentKey,
    EventKind,
    Screen,
    sign_event,
)
from noren_core.rights.consent.consent_validity import ConsentRefusal, PolicyStanding, PolicyStatus
from noren_core.rights.purposes import Purpose
from noren_server.consents.consent_book import ConsentBook

STUDENTS, COMPANIES, POLICIES = ("s1", "s2"), ("akane", "beni"), ("policy-1", "policy-2")
PURPOSES = (Purpose.LINK, Purpose.SCORE)
KINDS = tuple(k for k in EventKind if k not in (EventKind.OFFER_ACKNOWLEDGED, EventKind.KEY_REGISTERED))
ENDINGS = {k.value for k in EventKind} & {"WITHDRAWN", "EXPIRED", "SUPERSEDED", "INVALIDATED", "REVOKED"}
WINDOW = Screen(SCREEN, ALL_CLAUSES)


@dataclass(frozen=True)
class Said:
    """One event that the book took: what a slow reading needs of it."""

    record: bytes
    key: ConsentKey
    kind: str
    time: int
    expires_at: int


def slow_state(history: list[Said], key: ConsentKey) -> str:
    """What the newest record of a key has come to, read from the whole history."""
    own = [item for item in history if item.key == key]
    if not own:
        return "NEVER_SHOWN"
    began: dict[bytes, int] = {}
    for place, item in enumerate(own):
        began.setdefault(item.record, place)
    record = max(began, key=lambda each: began[each])
    kinds = [item.kind for item in own if item.record == record]
    while "GIVEN" in kinds and kinds[-1] == "SHOWN":  # a screen to renew by leaves it given
        kinds.pop()
    if kinds[-1] not in ("GIVEN", "RENEWED"):
        return kinds[-1]
    given_at = max(n for n, item in enumerate(history) if item.record == record and item.kind == "GIVEN")
    for item in history[given_at + 1 :]:
        is_other = item.record != record and replace(item.key, policy=key.policy) == key
        if is_other and item.kind in ("REFUSED", "WITHDRAWN", "REVOKED"):
            return item.kind  # a no to the same use, on another record
    return kinds[-1]


def slow_answer(history: list[Said], key: ConsentKey, now: int) -> ConsentRefusal | None:
    """Whether the consent counts."""
    state = slow_state(history, key)
    if state == "NEVER_SHOWN":
        return slow_mismatch(history, key)
    if state in ("SHOWN", "REQUESTED", "DEFERRED"):
        return ConsentRefusal.MISSING
    if state not in ("GIVEN", "RENEWED"):
        return ConsentRefusal(f"CONSENT_{state}")
    until = [item.expires_at for item in history if item.key == key and item.expires_at][-1]
    return ConsentRefusal.EXPIRED if now >= until else None


def slow_mismatch(history: list[Said], key: ConsentKey) -> ConsentRefusal:
    """What she did consent to, if that differs in one part."""
    hers = {item.key for item in history if item.key.student == key.student}
    live = [each for each in hers if slow_state(history, each) in ("GIVEN", "RENEWED")]
    for part, refusal in (
        ("policy", ConsentRefusal.SUPERSEDED),
        ("purpose", ConsentRefusal.PURPOSE_MISMATCH),
        ("company", ConsentRefusal.RECIPIENT_MISMATCH),
    ):
        parts = ("purpose", "company", "policy")
        if any([p for p in parts if getattr(each, p) != getattr(key, p)] == [part] for each in live):
            return refusal
    return ConsentRefusal.NEVER_SHOWN


KEYS = st.builds(
    ConsentKey,
    st.sampled_from(STUDENTS),
    st.sampled_from(PURPOSES),
    st.sampled_from(COMPANIES),
    st.just("engineer"),
    st.just("2027"),
    st.sampled_from(POLICIES),
)


class Histories(RuleBasedStateMachine):
    """Events of two students, by whoever may be trying, in any order."""

    records: Bundle[tuple[ConsentKey, bytes]] = Bundle("records")

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name) / "consents.db"
        self.people = ConsentingStudents()
        self.facts = PermissiveFacts(
            policies={policy: PolicyStanding(PolicyStatus.ACTIVE) for policy in POLICIES}
        )
        self.book = ConsentBook(self.path, service_key=self.people.public_key, facts=self.facts.at)
        for name in STUDENTS:
            device = self.people.student(name).device
            self.book.record(device.registers(time=self.people.tick()), now=self.people.now)
        self.history: list[Said] = []
        self.raw: list[tuple[object, ...]] = []
        self.epoch = 0

    def teardown(self) -> None:
        self.book.close()
        self.directory.cleanup()

    @rule(target=records, key=KEYS)
    def begins(self, key: ConsentKey) -> tuple[ConsentKey, bytes]:
        """A new record is shown, if the last one is over."""
        record = secrets.token_bytes(16)
        self.say(EventKind.SHOWN, key, record, by_student=False)
        return key, record

    @rule(
        place=records,
        kind=st.sampled_from(KINDS),
        is_own=st.sampled_from([True, True, True, False]),
        backwards=st.sampled_from([0, 0, 0, 5]),
        life=st.integers(1, 30),
    )
    def says(
        self, place: tuple[ConsentKey, bytes], kind: EventKind, is_own: bool, backwards: int, life: int
    ) -> None:
        """Anything, signed by whom it should be, or by the other one."""
        by_student = (kind in STUDENT_KINDS) is is_own
        self.say(kind, *place, by_student=by_student, backwards=backwards, life=life)

    def say(
        self,
        kind: EventKind,
        key: ConsentKey,
        record: bytes,
        *,
        by_student: bool,
        backwards: int = 0,
        life: int = 20,
    ) -> None:
        time = self.people.tick() - backwards
        answer = Answer(
            WINDOW,
            Action.TICK_UNTICKED_BOX,
            prechecked=False,
            bundled=False,
            dwell_ms=1,
            expires_at=time + life,
        )
        has_answer = kind in (EventKind.GIVEN, EventKind.RENEWED)
        device = self.people.student(key.student).device
        address = Address(
            IdentifierKind.CONSENT_CODE, f"code-{key.student}", device.disclosure_key(key.company).public_key
        )
        event = ConsentEvent(
            kind,
            key,
            record,
            time,
            screen=WINDOW if kind is EventKind.SHOWN else None,
            answer=answer if has_answer else None,
            address=address if kind is EventKind.GIVEN and key.purpose is Purpose.SCORE else None,
        )
        signer = device.signing_key if by_student else self.people.service_key
        signed = sign_event(event, signer)
        if by_student is not (kind in STUDENT_KINDS):
            with pytest.raises(NorenError):
                self.book.record(signed, now=self.people.now)
            return
        try:
            number = self.book.record(signed, now=self.people.now)
        except NorenError:
            return
        if number < len(STUDENTS) + len(self.history):
            return  # the very event, with the time of an earlier one, again
        self.history.append(Said(record, key, kind.value, time, time + life if has_answer else 0))

    @invariant()
    def nothing_is_given_unshown_or_unsigned(self) -> None:
        """Every GIVEN in the book follows a SHOWN of its record; after an end its record says nothing."""
        seen: dict[bytes, list[str]] = {}
        for item in self.history:
            before = seen.setdefault(item.record, [])
            if item.kind == "GIVEN":
                assert "SHOWN" in before
                assert not {"GIVEN", "REFUSED"} & set(before)
            assert not (ENDINGS | {"REFUSED"}) & set(before)
            before.append(item.kind)

    @invariant()
    def times_never_go_back(self) -> None:
        """Within a key, and so within a record."""
        last: dict[ConsentKey, int] = {}
        for item in self.history:
            assert item.time >= last.get(item.key, 0)
            last[item.key] = item.time

    @invariant()
    def the_log_only_grows(self) -> None:
        """What was there is there, byte for byte."""
        database = sqlite3.connect(self.path)
        raw = list(database.execute("SELECT seq, leaf, salt, event FROM events ORDER BY seq"))
        database.close()
        assert raw[: len(self.raw)] == self.raw
        assert [row[0] for row in raw] == list(range(len(raw)))
        assert len(raw) == len(STUDENTS) + len(self.history)
        self.raw = raw

    @invariant()
    def the_book_answers_as_the_slow_reading(self) -> None:
        """For every key, now and when everything has run out."""
        for student in STUDENTS:
            for purpose in PURPOSES:
                for company in COMPANIES:
                    for policy in POLICIES:
                        key = ConsentKey(student, purpose, company, "engineer", "2027", policy)
                        for now in (self.people.now, self.people.now + 1000):
                            expected = slow_answer(self.history, key, now)
                            assert self.book.check(key, now=now) is expected

    @invariant()
    def live_is_who_passes_the_check(self) -> None:
        """And epochs rise with every end, never fall."""
        for company in COMPANIES:
            live = {s.student for s in self.book.live(company, "2027", Purpose.SCORE, now=self.people.now)}
            passing = {
                s
                for s in STUDENTS
                for policy in POLICIES
                if slow_answer(
                    self.history,
                    ConsentKey(s, Purpose.SCORE, company, "engineer", "2027", policy),
                    self.people.now,
                )
                is None
            }
            assert live == passing
        epoch = self.book.epoch()
        assert epoch >= self.epoch
        assert epoch >= sum(item.kind in ENDINGS for item in self.history)
        self.epoch = epoch


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_the_slow_reading_can_differ() -> None:
    """It says yes to a consent that was given and no to one that was withdrawn."""
    key = ConsentKey("s1", Purpose.SCORE, "akane", "engineer", "2027", "policy-1")
    said = [Said(b"r", key, kind, NOW, NOW + 9) for kind in ("SHOWN", "GIVEN")]
    assert slow_answer(said, key, NOW) is None
    assert slow_answer([*said, Said(b"r", key, "WITHDRAWN", NOW, 0)], key, NOW) is ConsentRefusal.WITHDRAWN
