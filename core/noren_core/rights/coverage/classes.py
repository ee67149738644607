"""Coverage: what the evidence says about one use of one person's data, in one of nine classes.

docs/rights/coverage.md §2. It starts from a *use*: somebody's data would reach, or reached, a company for a
purpose. Promises: every use gets exactly one class; only E1 may be processed; whatever cannot be judged is E9
and never something better. Nothing is rescued: a consent to another company, position, purpose or season does
not help, and neither does a registration that names no company (`ANY`).

The same rules stand as SQL over whole populations in the platform's package; a test holds the two against
each other on random histories.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from noren_core.rights.clauses import REQUIRED_CLAUSES, Clause
from noren_core.rights.consent.consent_event import Action, EventKind
from noren_core.rights.purposes import Purpose

ANY = "*"
"""In place of company and position: an old registration that named neither. Evidence, but never a consent."""

DELIBERATE_ACTIONS = frozenset({Action.TICK_UNTICKED_BOX, Action.PRESS_DEDICATED_BUTTON})


class CoverageClass(StrEnum):
    """What the evidence for one use says; exclusive, and only VALID may be processed."""

    VALID = "E1"
    SCREEN_DEFECT = "E2"
    """Agreed on a screen that lacked a clause, was not verified at that time, or left no free choice."""
    REEXPOSED_NO_ANSWER = "E3"
    """Saw the version in force and did not agree."""
    NEVER_REEXPOSED = "E4"
    """Knows only a version from before a material change, and was shown nothing since."""
    STALE_SCREEN = "E5"
    """Was shown a version from before a material change when that change was in force already."""
    NO_EVENT = "E6"
    """No evidence at all, on a way that passes no registered screen."""
    WRONG_SCOPE = "E7"
    """A consent for another company, position, purpose or season, or for none in particular."""
    ENDED = "E8"
    """Refused, withdrawn, expired, invalidated or revoked."""
    UNKNOWN = "E9"
    """The evidence contradicts itself or is incomplete; blocks by itself."""


EXPOSURES = frozenset({EventKind.SHOWN, EventKind.REQUESTED, EventKind.DEFERRED})
AGREEMENTS = frozenset({EventKind.GIVEN, EventKind.RENEWED})
ENDS_SCOPE = frozenset({EventKind.REFUSED, EventKind.WITHDRAWN, EventKind.REVOKED})
"""These end every earlier agreement of the scope, whichever version it names."""
ENDS_VERSION = frozenset({EventKind.EXPIRED, EventKind.INVALIDATED, EventKind.SUPERSEDED})
"""These end the earlier agreements to the version that they name."""
EVIDENCE_STATES = EXPOSURES | AGREEMENTS | ENDS_SCOPE | ENDS_VERSION
"""All that coverage looks at."""
ENDS_FOR_GOOD = frozenset({EventKind.EXPIRED, EventKind.INVALIDATED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a consent is for; company and position are `ANY` together or not at all."""

    company: str
    position: str
    season: str
    purpose: Purpose

    @property
    def is_general(self) -> bool:
        """Whether it names no company."""
        return self.company == ANY


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One consent event of a person.

    `seq` orders the whole log; times are Unix seconds; `expires_at` 0 is never.
    """

    seq: int
    time: int
    scope: Scope
    policy: str
    state: EventKind
    screen: str = ""
    clauses: frozenset[Clause] = frozenset()
    action: Action | None = None
    prechecked: bool = False
    bundled: bool = False
    expires_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenPeriod:
    """A screen as rendered and checked: verified from one time to another, both included.

    It shows the notice of one company and position; an old one names neither (`ANY`).
    """

    screen: str
    route: str
    policy: str
    company: str
    position: str
    purposes: frozenset[Purpose]
    clauses: frozenset[Clause]
    verified_from: int
    verified_until: int

    def shows(self, scope: Scope) -> bool:
        """Whether it is this company's notice for this position, and asks for this purpose."""
        return (
            self.company in (ANY, scope.company)
            and self.position in (ANY, scope.position)
            and scope.purpose in self.purposes
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyPeriod:
    """A policy version.

    `season` is the one that it is for; `retired_at`, when it stopped counting, is 0 if it has not; `material`
    are the purposes for which it changed what matters.
    """

    policy: str
    season: str
    activated_at: int
    retired_at: int = 0
    material: frozenset[Purpose] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementPeriod:
    """When a company was admitted; `active_until` 0 is open, otherwise the first second that is not."""

    company: str
    active_from: int
    active_until: int = 0

    def covers(self, at: int) -> bool:
        """Whether it was in force at `at`."""
        return self.active_from <= at and (self.active_until == 0 or at < self.active_until)


@dataclass(frozen=True, slots=True)
class Register:
    """What evidence is judged by."""

    policies: Mapping[str, PolicyPeriod]
    screens: Sequence[ScreenPeriod]
    agreements: Sequence[AgreementPeriod]
    _by_hash: Mapping[str, tuple[ScreenPeriod, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_hash: dict[str, tuple[ScreenPeriod, ...]] = {}
        for item in self.screens:
            by_hash[item.screen] = (*by_hash.get(item.screen, ()), item)
        object.__setattr__(self, "_by_hash", by_hash)

    def screens_with(self, text_hash: str) -> tuple[ScreenPeriod, ...]:
        """Every registered screen that shows this text."""
        return self._by_hash.get(text_hash, ())

    def superseded_at(self, policy: PolicyPeriod, purpose: Purpose) -> int | None:
        """When a later version first changed something that matters for the purpose; None if none did."""
        later = (
            item.activated_at
            for item in self.policies.values()
            if item.season == policy.season
            and item.activated_at > policy.activated_at
            and purpose in item.material
        )
        return min(later, default=None)

    def has_agreement(self, company: str, at: int) -> bool:
        """Whether the company was admitted at that time."""
        return any(item.company == company and item.covers(at) for item in self.agreements)

    def shows_screens(self, route: str, at: int) -> bool:
        """Whether a screen was registered for this route by then."""
        return any(item.route == route and item.verified_from <= at for item in self.screens)


class Standing(StrEnum):
    """What a policy version is worth for a purpose at some time."""

    NEW = "new"
    """In force, and nothing that matters changed since."""
    OLD = "old"
    """From before a material change."""
    UNKNOWN = "unknown"
    """Not registered, or not in force yet."""


def standing_of(policy: str, purpose: Purpose, register: Register, *, at: int) -> Standing:
    """What this version is worth at `at`."""
    version = register.policies.get(policy)
    if version is None or at < version.activated_at:
        return Standing.UNKNOWN
    superseded = register.superseded_at(version, purpose)
    return Standing.NEW if superseded is None or at < superseded else Standing.OLD


def is_sound(event: Evidence, register: Register) -> bool:
    """Whether an agreement was made freely on a screen that really said everything.

    1. The version was in force, and the screen showing it had been verified for that time.
    2. Every clause that the purpose requires stood on the screen and is in the event.
    3. A deliberate act of her own: nothing ticked before, nothing bundled with it.
    """
    version = register.policies.get(event.policy)
    if version is None or event.time < version.activated_at:  # 1
        return False
    required = REQUIRED_CLAUSES[event.scope.purpose]
    on_screen = any(
        screen.policy == event.policy
        and screen.shows(event.scope)
        and screen.verified_from <= event.time <= screen.verified_until
        and required <= screen.clauses
        for screen in register.screens_with(event.screen)
    )
    return (  # 2, 3
        on_screen
        and required <= event.clauses
        and event.action in DELIBERATE_ACTIONS
        and not event.prechecked
        and not event.bundled
    )


def classify(
    scope: Scope, route: str, events: Iterable[Evidence], register: Register, *, at: int
) -> CoverageClass:
    """The class of one use at one time, from all events of the person.

    Args:
        scope: what her data is used for; names a company.
        route: by which way she came to the company.
        events: hers, of every scope and in any order; later ones than `at` do not count.
        register: policies, screens and agreements.
        at: Unix seconds.

    1. An agreement in this scope to a version that still holds, and not ended: judged by what it is.
    2. Something here names a version that is not known: cannot be judged.
    3. Ended by her or for her, or such an agreement ended.
    4. A general agreement; else the version in force was seen, without an agreement.
    5. An agreement for another scope, to a version that still holds.
    6. Only an old version: shown when it was stale, or never shown anything since.
    7. No evidence here: a consent for something else; none, on a way without a screen; else unknown.
    """
    past = sorted((item for item in events if item.time <= at), key=lambda item: item.seq)
    history = _History.of(past, scope, register, at=at)
    if (agreed := history.agreement_in_force) is not None:  # 1
        return _judge(agreed, register, at=at)
    if history.is_unknown:  # 2
        return CoverageClass.UNKNOWN
    if history.ended_by_person or history.has(Standing.NEW, AGREEMENTS, general=False):  # 3
        return CoverageClass.ENDED
    if history.has(Standing.NEW, AGREEMENTS, general=True):  # 4
        return CoverageClass.WRONG_SCOPE
    if history.has(Standing.NEW, EXPOSURES):
        return CoverageClass.REEXPOSED_NO_ANSWER
    elsewhere = _agreements_elsewhere(past, scope, register, at=at)
    if Standing.NEW in elsewhere:  # 5
        return CoverageClass.WRONG_SCOPE
    if history.has(Standing.OLD, AGREEMENTS | EXPOSURES):  # 6
        return _judge_old(history, register)
    if elsewhere:  # 7
        return CoverageClass.WRONG_SCOPE
    if history.events or register.shows_screens(route, at):
        return CoverageClass.UNKNOWN
    return CoverageClass.NO_EVENT


def _judge(agreed: Evidence, register: Register, *, at: int) -> CoverageClass:
    """The class that follows from the last agreement in force."""
    retired_at = register.policies[agreed.policy].retired_at
    if 0 < agreed.expires_at <= at or 0 < retired_at <= at:
        return CoverageClass.ENDED
    if not register.screens_with(agreed.screen):
        return CoverageClass.UNKNOWN
    if not is_sound(agreed, register):
        return CoverageClass.SCREEN_DEFECT
    if not register.has_agreement(agreed.scope.company, at):
        return CoverageClass.WRONG_SCOPE
    return CoverageClass.VALID


def _judge_old(history: _History, register: Register) -> CoverageClass:
    """The class of somebody who knows only versions from before a material change."""
    old = [item for item in history.events if history.standing[item.policy] is Standing.OLD]
    last_agreement = _last(old, AGREEMENTS)
    if _last(old, ENDS_FOR_GOOD) > last_agreement:
        return CoverageClass.ENDED
    seen = (item for item in old if item.state in AGREEMENTS | EXPOSURES)
    return (
        CoverageClass.STALE_SCREEN
        if any(_was_stale(item, register) for item in seen)
        else CoverageClass.NEVER_REEXPOSED
    )


def _was_stale(event: Evidence, register: Register) -> bool:
    superseded = register.superseded_at(register.policies[event.policy], event.scope.purpose)
    return superseded is not None and event.time >= superseded


@dataclass(frozen=True, slots=True)
class _History:
    """The events of one scope and the general ones beside it, oldest first; what their versions are worth."""

    events: tuple[Evidence, ...]
    standing: Mapping[str, Standing]

    @classmethod
    def of(cls, past: Sequence[Evidence], scope: Scope, register: Register, *, at: int) -> _History:
        general = Scope(company=ANY, position=ANY, season=scope.season, purpose=scope.purpose)
        events = tuple(item for item in past if item.scope in (scope, general))
        standing = {
            policy: standing_of(policy, scope.purpose, register, at=at)
            for policy in {item.policy for item in events}
        }
        return cls(events, standing)

    @property
    def is_unknown(self) -> bool:
        return Standing.UNKNOWN in self.standing.values()

    @property
    def ended_by_person(self) -> bool:
        return _last(self.events, ENDS_SCOPE) > _last(self.events, AGREEMENTS)

    @property
    def agreement_in_force(self) -> Evidence | None:
        """The last agreement that names the company, to a version that still holds, if nothing ended it."""
        ended = _last(self.events, ENDS_SCOPE)
        found = None
        for policy, standing in self.standing.items():
            here = [item for item in self.events if item.policy == policy and not item.scope.is_general]
            agreed = _last(here, AGREEMENTS)
            if standing is Standing.NEW and agreed > max(ended, _last(here, ENDS_VERSION)):
                last = next(item for item in here if item.seq == agreed)
                found = last if found is None or last.seq > found.seq else found
        return found

    def has(self, standing: Standing, states: frozenset[EventKind], *, general: bool | None = None) -> bool:
        """Whether there is such an event; of the scope alone, of the general one alone, or of either."""
        return any(
            self.standing[item.policy] is standing
            and item.state in states
            and general in (None, item.scope.is_general)
            for item in self.events
        )


def _agreements_elsewhere(
    past: Sequence[Evidence], scope: Scope, register: Register, *, at: int
) -> frozenset[Standing]:
    """What those agreements for other scopes are worth that nothing in their scope ended."""
    general = Scope(company=ANY, position=ANY, season=scope.season, purpose=scope.purpose)
    found = set()
    for other in {item.scope for item in past} - {scope, general}:
        here = [item for item in past if item.scope == other]
        for policy in {item.policy for item in here}:
            of_version = [item for item in here if item.policy == policy]
            ended = max(_last(here, ENDS_SCOPE), _last(of_version, ENDS_VERSION))
            if _last(of_version, AGREEMENTS) > ended:
                found.add(standing_of(policy, other.purpose, register, at=at))
    return frozenset(found)


def _last(events: Iterable[Evidence], states: frozenset[EventKind]) -> int:
    """The number of the last event in one of these states; -1 if there is none."""
    return max((item.seq for item in events if item.state in states), default=-1)
