"""Students for tests: keys, and signed consent events that a consent book takes.

    students = ConsentingStudents()
    aiko = students.student("s1")
    events = [*aiko.gives(Purpose.SCORE, "akane", position="engineer", season="2027"),
              aiko.acknowledges_offer("akane", position="engineer", season="2027")]
    students.write(path, events)        # or record each in a ConsentBook

Every function returns what is to be recorded, in order; a student's key registration comes with her first
event. `PermissiveFacts().at` are facts under which such consents count; a test changes what it is about:

    book = ConsentBook(path, service_key=students.public_key, facts=PermissiveFacts().at)
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from noren_core.crypto.identity import SigningKey
from noren_core.ids import IdentifierKind
from noren_core.rights.clauses import Clause
from noren_core.rights.consent.consent_event import (
    Action,
    Answer,
    ConsentEvent,
    ConsentKey,
    EventKind,
    Screen,
    SignedEvent,
    sign_event,
)
from noren_core.rights.consent.consent_record import ConsentRecord
from noren_core.rights.consent.consent_validity import PolicyStanding, PolicyStatus
from noren_core.rights.purposes import Purpose
from noren_core.rights.student_device import StudentDevice

POLICY = "policy-1"
POSITION = "engineer"
SCREEN = hashlib.sha256(b"the consent screen").hexdigest()
ALL_CLAUSES = tuple(Clause)
NOW = 1_780_000_000
MONTH = 30 * 24 * 3600


@dataclass
class PermissiveFacts:
    """Facts under which the consents made here count. Everything may be changed.

    Attributes:
        policies: by name.
        screens: by SHA-256 (hex): the clauses on it, verified at any time.
        inactive: companies without an active agreement.
        suspended: companies for which the service does not run.
    """

    policies: dict[str, PolicyStanding] = field(
        default_factory=lambda: {POLICY: PolicyStanding(PolicyStatus.ACTIVE)}
    )
    screens: dict[str, frozenset[Clause]] = field(default_factory=lambda: {SCREEN: frozenset(Clause)})
    inactive: set[str] = field(default_factory=set)
    suspended: set[str] = field(default_factory=set)

    def at(self, now: int) -> PermissiveFacts:
        """For a `ConsentBook`: the same at any time."""
        del now
        return self

    def policy(self, policy: str) -> PolicyStanding | None:
        return self.policies.get(policy)

    def clauses_shown(self, key: ConsentKey, screen: str, at: int) -> frozenset[Clause] | None:
        return self.screens.get(screen)

    def is_agreement_active(self, company: str) -> bool:
        return company not in self.inactive

    def is_running(self, company: str) -> bool:
        return company not in self.suspended


class ConsentingStudent:
    """One student; `time` counts up by a second with every event unless a time is given."""

    def __init__(self, students: ConsentingStudents, name: str) -> None:
        self._students = students
        self._is_registered = False
        self._records: dict[ConsentKey, bytes] = {}
        self.name = name
        self.device = StudentDevice.create(name)

    def gives(
        self,
        purpose: Purpose,
        company: str,
        position: str = POSITION,
        season: str = "2027",
        policy: str = POLICY,
        screen: str = SCREEN,
        identifier_kind: IdentifierKind = IdentifierKind.CONSENT_CODE,
        identifier: str | None = None,
        *,
        clauses: tuple[Clause, ...] = ALL_CLAUSES,
        action: Action = Action.TICK_UNTICKED_BOX,
        prechecked: bool = False,
        bundled: bool = False,
        expires_at: int | None = None,
        time: int | None = None,
    ) -> list[SignedEvent]:
        """SHOWN by the service, then GIVEN; `identifier` is `code-<name>` if not said."""
        shown = self.shown(purpose, company, position, season, policy, screen, clauses=clauses, time=time)
        at = self._students.tick(time)
        event = shown[-1].event
        assert isinstance(event, ConsentEvent)
        answer = Answer(
            Screen(screen, clauses),
            action,
            prechecked=prechecked,
            bundled=bundled,
            dwell_ms=4_000,
            expires_at=at + MONTH if expires_at is None else expires_at,
        )
        text = f"code-{self.name}" if identifier is None else identifier
        found_by = (identifier_kind, text) if purpose in (Purpose.TRAIN, Purpose.SCORE) else None
        record = ConsentRecord(event.key, event.record)
        return [*shown, self.device.gives(record, answer, time=at, found_by=found_by)]

    def shown(
        self,
        purpose: Purpose,
        company: str,
        position: str = POSITION,
        season: str = "2027",
        policy: str = POLICY,
        screen: str = SCREEN,
        *,
        clauses: tuple[Clause, ...] = ALL_CLAUSES,
        time: int | None = None,
    ) -> list[SignedEvent]:
        """A new record begins: SHOWN by the service."""
        key = self.key(purpose, company, position, season, policy)
        self._records[key] = secrets.token_bytes(16)
        event = ConsentEvent(
            EventKind.SHOWN,
            key,
            self._records[key],
            self._students.tick(time),
            screen=Screen(screen, clauses),
        )
        return [*self._registration(time), sign_event(event, self._students.service_key)]

    def withdraws(
        self,
        purpose: Purpose,
        company: str,
        position: str = POSITION,
        season: str = "2027",
        policy: str = POLICY,
        *,
        time: int | None = None,
    ) -> SignedEvent:
        """WITHDRAWN on the record that was begun last for this key."""
        key = self.key(purpose, company, position, season, policy)
        return self.device.withdraws(key, self._records[key], time=self._students.tick(time))

    def refuses(
        self,
        purpose: Purpose,
        company: str,
        position: str = POSITION,
        season: str = "2027",
        policy: str = POLICY,
        *,
        time: int | None = None,
    ) -> SignedEvent:
        """REFUSED on the record that was begun last for this key."""
        key = self.key(purpose, company, position, season, policy)
        return self.device.refuses(key, self._records[key], time=self._students.tick(time))

    def ended(
        self,
        kind: EventKind,
        purpose: Purpose,
        company: str,
        position: str = POSITION,
        season: str = "2027",
        policy: str = POLICY,
        *,
        time: int | None = None,
    ) -> SignedEvent:
        """EXPIRED, SUPERSEDED, INVALIDATED, REVOKED or REQUESTED, said by the service."""
        key = self.key(purpose, company, position, season, policy)
        event = ConsentEvent(kind, key, self._records[key], self._students.tick(time))
        return sign_event(event, self._students.service_key)

    def acknowledges_offer(
        self, company: str, position: str = POSITION, season: str = "2027", *, time: int | None = None
    ) -> SignedEvent:
        """OFFER_ACKNOWLEDGED; the student must have registered, as she has with any consent."""
        return self.device.acknowledges_offer(
            company=company, position=position, season=season, time=self._students.tick(time)
        )

    def may_be_scored(
        self, company: str, position: str = POSITION, season: str = "2027", *, time: int | None = None
    ) -> list[SignedEvent]:
        """Consent to link and score, and the acknowledged offer: all that a score row needs."""
        return [
            *self.gives(Purpose.LINK, company, position, season, time=time),
            *self.gives(Purpose.SCORE, company, position, season, time=time),
            self.acknowledges_offer(company, position, season, time=time),
        ]

    def key(self, purpose: Purpose, company: str, position: str, season: str, policy: str) -> ConsentKey:
        """The consent key of hers with these parts."""
        return ConsentKey(self.name, purpose, company, position, season, policy)

    def record(self, key: ConsentKey) -> bytes:
        """The id of the record that was begun last for this key."""
        return self._records[key]

    def _registration(self, time: int | None) -> Iterator[SignedEvent]:
        if not self._is_registered:
            self._is_registered = True
            yield self.device.registers(time=self._students.tick(time))


class ConsentingStudents:
    """Students of one platform, whose consent service has `service_key`."""

    def __init__(self, service_key: SigningKey | None = None, *, now: int = NOW) -> None:
        self.service_key = service_key or SigningKey.generate()
        self._now = now
        self._students: dict[str, ConsentingStudent] = {}

    @property
    def public_key(self) -> bytes:
        """Of the consent service."""
        return self.service_key.public_key

    @property
    def now(self) -> int:
        """The time of the newest event."""
        return self._now

    def student(self, name: str) -> ConsentingStudent:
        """The student of that name, always the same one."""
        return self._students.setdefault(name, ConsentingStudent(self, name))

    def tick(self, time: int | None = None) -> int:
        """`time`, or a second after the newest event."""
        self._now = self._now + 1 if time is None else time
        return self._now

    def write(self, path: Path, events: Iterable[SignedEvent]) -> None:
        """The file that `noren-platform consents import` takes."""
        path.write_bytes(b"".join(event.to_bytes() + b"\n" for event in events))
