"""Synthetic accounts for a coverage report: one of each class, planted in a copy of the consent book.

A report that finds nobody without consent could be an empty check. So the dry run also meets accounts whose
class is known: the real join has to take those of E1 and none of the others, and the classification has to
recognise all of them. They exist in the copy alone; nothing is ever provided of them.

What makes them up: E1 agreed on a screen that is verified now; E2 on one that showed her a clause too few; E3
only saw it; E4 and E5 agreed to an older version, before the change and after it; E6 left no trace; E7
consented to be linked, for all that was asked; E8 withdrew.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from noren_core.crypto.identity import SigningKey
from noren_core.ids import IdentifierKind
from noren_core.rights.clauses import REQUIRED_CLAUSES, Clause
from noren_core.rights.consent.consent_event import (
    RECORD_BYTES,
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
from noren_core.rights.coverage.classes import CoverageClass
from noren_core.rights.notices.screen import ScreenVersion
from noren_core.rights.purposes import Purpose
from noren_core.rights.student_device import StudentDevice

PER_CLASS = 2
_DWELL_MS = 10_000
_VALID_SECONDS = 3600


def old_policy(season: str) -> str:
    """The name of a version from before every other one of its season; it exists in snapshots alone."""
    return f"control-{hashlib.sha256(season.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class Ground:
    """Where accounts are planted.

    Attributes:
        purpose, season: what they are processed for, if at all.
        screen: verified now, for this purpose.
        first_activated_at: when the season's first policy came into force.
        now: Unix seconds.
    """

    purpose: Purpose
    season: str
    screen: ScreenVersion
    first_activated_at: int
    now: int


@dataclass(frozen=True, slots=True)
class PlantedAccount:
    """One account: its class, its scope and route, and the events that make it up, in order."""

    student: str
    control: CoverageClass
    company: str
    position: str
    season: str
    purpose: Purpose
    route: str
    events: tuple[SignedEvent, ...]


def plant(ground: Ground, service_key: SigningKey) -> Iterator[PlantedAccount]:
    """The accounts for one purpose and season, `PER_CLASS` of each class.

    Args:
        ground: where.
        service_key: of the consent service, which says what was shown.
    """
    for control, make in _LIVES.items():
        for _ in range(PER_CLASS):
            life = _Life(ground, service_key)
            make(life)
            yield PlantedAccount(
                life.device.student,
                control,
                ground.screen.place.company,
                ground.screen.place.position,
                ground.season,
                ground.purpose,
                "nowhere" if control is CoverageClass.NO_EVENT else ground.screen.place.route,
                tuple(life.events),
            )


class _Life:
    """What one account does."""

    def __init__(self, ground: Ground, service_key: SigningKey) -> None:
        self._ground = ground
        self._service_key = service_key
        self.device = StudentDevice.create(f"control-{secrets.token_hex(16)}")
        self.events: list[SignedEvent] = []

    def agrees(
        self,
        *,
        policy: str | None = None,
        purpose: Purpose | None = None,
        without: frozenset[Clause] = frozenset(),
        time: int | None = None,
    ) -> None:
        """A screen is shown and she agrees."""
        record = self.sees(policy=policy, purpose=purpose, without=without, time=time)
        at = self._ground.now if time is None else time
        shown = record.shown or Screen("", ())
        answer = Answer(
            shown,
            Action.PRESS_DEDICATED_BUTTON,
            prechecked=False,
            bundled=False,
            dwell_ms=_DWELL_MS,
            expires_at=self._ground.now + _VALID_SECONDS,
        )
        found_by = (IdentifierKind.CONSENT_CODE, secrets.token_hex(16))
        is_found = record.key.purpose in (Purpose.TRAIN, Purpose.SCORE)
        self.events.append(
            self.device.gives(record, answer, time=at, found_by=found_by if is_found else None)
        )

    def sees(
        self,
        *,
        policy: str | None = None,
        purpose: Purpose | None = None,
        without: frozenset[Clause] = frozenset(),
        time: int | None = None,
    ) -> ConsentRecord:
        """A screen is shown."""
        at = self._ground.now if time is None else time
        place = self._ground.screen.place
        key = ConsentKey(
            self.device.student,
            purpose or self._ground.purpose,
            place.company,
            place.position,
            self._ground.season,
            policy or place.policy,
        )
        screen = Screen(self._ground.screen.sha256, tuple(sorted(self._ground.screen.clauses - without)))
        record = secrets.token_bytes(RECORD_BYTES)
        if not self.events:
            self.events.append(self.device.registers(time=at))
        event = ConsentEvent(EventKind.SHOWN, key, record, at, screen=screen)
        self.events.append(sign_event(event, self._service_key))
        return ConsentRecord(key, record, shown=screen)

    def withdraws(self) -> None:
        """She ends what she began last."""
        last = self.events[-1].event
        if isinstance(last, ConsentEvent):
            self.events.append(self.device.withdraws(last.key, last.record, time=self._ground.now))

    def loses_a_clause(self) -> None:
        """She agrees on a screen that showed her one clause too few."""
        required = sorted(REQUIRED_CLAUSES[self._ground.purpose])
        self.agrees(without=frozenset(required[-1:]))

    def agrees_before_the_change(self) -> None:
        """She agrees to what was in force before the season's first version."""
        self.agrees(policy=old_policy(self._ground.season), time=self._ground.first_activated_at - 1)

    def agrees_to_the_old_version_now(self) -> None:
        """She agrees on a screen that should have been replaced."""
        self.agrees(policy=old_policy(self._ground.season))

    def agrees_and_withdraws(self) -> None:
        """She changes her mind."""
        self.agrees()
        self.withdraws()


_LIVES: dict[CoverageClass, Callable[[_Life], object]] = {
    CoverageClass.VALID: _Life.agrees,
    CoverageClass.SCREEN_DEFECT: _Life.loses_a_clause,
    CoverageClass.REEXPOSED_NO_ANSWER: _Life.sees,
    CoverageClass.NEVER_REEXPOSED: _Life.agrees_before_the_change,
    CoverageClass.STALE_SCREEN: _Life.agrees_to_the_old_version_now,
    CoverageClass.NO_EVENT: lambda _: None,
    CoverageClass.WRONG_SCOPE: lambda life: life.agrees(purpose=Purpose.LINK),
    CoverageClass.ENDED: _Life.agrees_and_withdraws,
}
