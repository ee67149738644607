"""A snapshot of the service of 2019 as it is publicly known, to be asked what should have been asked then.

Real are the totals: 7,983 students without proper consent as found on 5 August 2019, 26,060 as found on 4
December, 38 companies under contract, 34 that received scores, and the dates. Everything else is invented:
the number processed, how the totals split into classes, the clauses on each screen, and that the December
figure includes the August one.

No pytest here: the demonstration shows the same data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from noren_core.rights.clauses import Clause
from noren_core.rights.consent.consent_event import Action
from noren_core.rights.coverage.classes import ANY, CoverageClass
from noren_core.rights.coverage.coverage_report import JOURNEYS
from noren_core.rights.purposes import Purpose
from noren_server.coverage.snapshot_files import SCHEMAS, write_table

DAY = 86_400


def _utc(year: int, month: int, day: int) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp())


START = _utc(2018, 3, 1)
CHANGE = _utc(2019, 3, 1)
MID_MARCH = _utc(2019, 3, 15)
PROVISION = _utc(2019, 7, 25)
PAUSE = _utc(2019, 7, 31)
FOUND = _utc(2019, 8, 5)
REPAIRED = _utc(2019, 9, 1)
AFTER_REPAIR = REPAIRED + DAY

SEASON, POSITION = "2020", "any-position"
OLD, NEW = "policy-2018", "policy-2019-03"
REGISTRATION, SELECTION, PRE_SITE = "a1" * 32, "b2" * 32, "c3" * 32
CONTRACTED, RECEIVED = 38, 34

MAIN = "main"
"""The phase that the finding of August was about."""
MAIN_CLASSES = {
    CoverageClass.VALID: 32_017,
    CoverageClass.NEVER_REEXPOSED: 5_204,
    CoverageClass.STALE_SCREEN: 1_611,
    CoverageClass.NO_EVENT: 1_168,
}
EARLIER_PHASES = {"cookie": 11_000, "hash": 4_077, "pre-site": 3_000}
"""Assumption: together with the 7,983 they make up the 26,060."""
CONTROLS_PER_CLASS = 3

_EVERY_CLAUSE = frozenset(Clause)
_BEFORE_MARCH = _EVERY_CLAUSE - {
    *(Clause.BEHAVIOUR_ANALYSIS, Clause.BAND_ABOUT_YOU, Clause.ONLY_AFTER_OFFER),
    *(Clause.NO_SELECTION_USE, Clause.THIRD_PARTY_PROVISION, Clause.PRIVACY_BUDGET),
}
_WITHOUT_PROVISION = _EVERY_CLAUSE - {Clause.THIRD_PARTY_PROVISION}


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One student of the fixture: where she came from and what she agreed to when.

    Attributes:
        registered_with: the policy on the registration screen; empty if she passed none.
        agreed_at: when she agreed for her company; 0 if she never did.
        agreed_on: the screen of that.
        ended: the state that ended it; empty if nothing did.
        asked: whether she was shown the version in force, and did not answer.
        agreed_for: the company that the agreement names, if not hers.
    """

    student: str
    company: str
    phase: str
    route: str
    registered_at: int
    registered_with: str = ""
    agreed_at: int = 0
    agreed_on: str = SELECTION
    ended: str = ""
    asked: bool = False
    agreed_for: str = ""
    processed: bool = True
    control: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What is written.

    Attributes:
        without: a class of the main phase whose people are left out of the lists.
        is_repaired: half of those without consent were asked and agreed, the others are excluded; the screen
            is replaced, the two other ways are closed, and the join asks for consent.
        has_provisions: what was delivered in July is in the data.
    """

    without: CoverageClass | None = None
    is_repaired: bool = False
    has_provisions: bool = False

    def write(self, directory: Path) -> Path:
        """The snapshot in `directory`."""
        people = self.people()
        tables = {
            "population": _population(people),
            "consent_events": _consent_events(people),
            "screens": _screens(is_repaired=self.is_repaired),
            "policies": _policies(),
            "agreements": _agreements(),
            "provisions": _provisions(people) if self.has_provisions else [],
        }
        for name, rows in tables.items():
            write_table(directory, name, pa.Table.from_pylist(rows, schema=SCHEMAS[name]))
        graph = json.dumps(_journeys(people, is_repaired=self.is_repaired), indent=1)
        (directory / JOURNEYS).write_text(graph, encoding="utf-8")
        return directory

    def people(self) -> list[Person]:
        """Everybody, synthetic accounts included."""
        main = [
            person
            for group, count in MAIN_CLASSES.items()
            if group is not self.without
            for person in _main_people(group, count)
        ]
        earlier = [person for phase, count in EARLIER_PHASES.items() for person in _earlier(phase, count)]
        people = [*main, *earlier]
        if self.is_repaired:
            people = list(_repaired(people))
        return [*people, *_controls(does_join_ask=self.is_repaired)]


def _main_people(group: CoverageClass, count: int) -> Iterator[Person]:
    """The main phase, evenly over the months in which such people registered."""
    for number in range(count):
        person = _person(f"{group.value.lower()}-{number:05d}", number, phase=MAIN, route="site")
        share = number / count
        match group:
            case CoverageClass.VALID:
                registered_at = _between(START, PAUSE - 60 * DAY, share)
                agreed_at = max(registered_at, CHANGE) + (1 + number % 50) * DAY
                yield replace(person, registered_at=registered_at, registered_with=OLD, agreed_at=agreed_at)
            case CoverageClass.NEVER_REEXPOSED:
                yield replace(person, registered_at=_between(START, CHANGE - DAY, share), registered_with=OLD)
            case CoverageClass.STALE_SCREEN:
                yield replace(person, registered_at=_between(CHANGE, PAUSE, share), registered_with=OLD)
            case _:
                yield replace(person, registered_at=_between(START, PAUSE, share), route="company-list")


def _earlier(phase: str, count: int) -> Iterator[Person]:
    """Pilots: by cookie, without any screen; by hash, of registrants; on a site before the site."""
    for number in range(count):
        person = _person(f"{phase}-{number:05d}", number, phase=phase, route="site")
        registered_at = _between(START, CHANGE - DAY, number / count)
        match phase:
            case "cookie":
                yield replace(person, registered_at=registered_at, route="questionnaire")
            case "hash":
                yield replace(person, registered_at=registered_at, registered_with=OLD)
            case _:
                at = CHANGE + (number % 9) * DAY
                yield replace(
                    person, registered_at=registered_at, route="pre-site", agreed_at=at, agreed_on=PRE_SITE
                )


def _person(name: str, number: int, *, phase: str, route: str) -> Person:
    company = f"company-{1 + number % RECEIVED:02d}"
    return Person(student=f"student-{name}", company=company, phase=phase, route=route, registered_at=START)


def _between(first: int, last: int, share: float) -> int:
    return first + int((last - first) * share)


def _repaired(people: Sequence[Person]) -> Iterator[Person]:
    for number, person in enumerate(people):
        if person.agreed_at and person.agreed_on == SELECTION:
            yield person
        elif number % 2:
            yield replace(person, agreed_at=REPAIRED, agreed_on=SELECTION)
        else:
            yield replace(person, processed=False)


def _controls(*, does_join_ask: bool) -> Iterator[Person]:
    """Synthetic accounts: a join that does not ask for consent takes all of them."""
    agreed = {"registered_with": OLD, "agreed_at": CHANGE + DAY}
    marks: dict[CoverageClass, dict[str, Any]] = {
        CoverageClass.VALID: agreed,
        CoverageClass.SCREEN_DEFECT: {"agreed_at": CHANGE + DAY, "agreed_on": PRE_SITE},
        CoverageClass.REEXPOSED_NO_ANSWER: {"registered_with": OLD, "asked": True},
        CoverageClass.NEVER_REEXPOSED: {"registered_with": OLD},
        CoverageClass.STALE_SCREEN: {"registered_with": OLD, "registered_at": CHANGE + DAY},
        CoverageClass.NO_EVENT: {"route": "company-list"},
        CoverageClass.WRONG_SCOPE: {"agreed_at": CHANGE + DAY, "agreed_for": "company-35"},
        CoverageClass.ENDED: {**agreed, "ended": "WITHDRAWN"},
    }
    for group, changes in marks.items():
        for number in range(CONTROLS_PER_CLASS):
            person = _person(f"control-{group.value.lower()}-{number}", number, phase=MAIN, route="site")
            processed = group is CoverageClass.VALID or not does_join_ask
            yield replace(person, control=group.value, processed=processed, **changes)


def _scope(person: Person, company: str, position: str = POSITION) -> dict[str, str]:
    return {
        "student": person.student,
        "company": company,
        "position": position,
        "season": SEASON,
        "purpose": Purpose.SCORE.value,
    }


def _population(people: Sequence[Person]) -> list[dict[str, Any]]:
    return [
        {
            **_scope(person, person.company),
            "phase": person.phase,
            "route": person.route,
            "registered_at": person.registered_at,
            "processed": person.processed,
            "control": person.control,
        }
        for person in people
    ]


def _consent_events(people: Sequence[Person]) -> list[dict[str, Any]]:
    rows = sorted((row for person in people for row in _events(person)), key=lambda row: row["time"])
    return [{**row, "seq": seq} for seq, row in enumerate(rows)]


def _events(person: Person) -> Iterator[dict[str, Any]]:
    if person.registered_with:
        yield {
            **_scope(person, ANY, ANY),
            **_event(person.registered_at, "GIVEN", person.registered_with, REGISTRATION, _BEFORE_MARCH),
        }
    if person.asked:
        shown = _event(CHANGE + DAY, "SHOWN", NEW, SELECTION, _EVERY_CLAUSE)
        yield {**_scope(person, person.company), **shown}
    if person.agreed_at:
        clauses = _EVERY_CLAUSE if person.agreed_on == SELECTION else _WITHOUT_PROVISION
        agreed = _event(person.agreed_at, "GIVEN", NEW, person.agreed_on, clauses)
        yield {**_scope(person, person.agreed_for or person.company), **agreed}
    if person.ended:
        yield {
            **_scope(person, person.company),
            **_event(person.agreed_at + DAY, person.ended, NEW, "", frozenset()),
        }


def _event(time: int, state: str, policy: str, screen: str, clauses: frozenset[Clause]) -> dict[str, Any]:
    return {
        "time": time,
        "policy": policy,
        "state": state,
        "screen": screen,
        "clauses": sorted(clauses),
        "action": Action.TICK_UNTICKED_BOX.value if state == "GIVEN" else "",
        "prechecked": False,
        "bundled": False,
        "expires_at": 0,
    }


def _screens(*, is_repaired: bool) -> list[dict[str, Any]]:
    """The registration screen kept its old text until somebody looked."""
    until = AFTER_REPAIR + DAY
    shown = [
        (REGISTRATION, "site", OLD, _BEFORE_MARCH, START, REPAIRED if is_repaired else until),
        (SELECTION, "site", NEW, _EVERY_CLAUSE, CHANGE, until),
        (PRE_SITE, "pre-site", NEW, _WITHOUT_PROVISION, CHANGE, REPAIRED if is_repaired else until),
    ]
    return [
        {
            "screen": screen,
            "route": route,
            "build": "2019",
            "locale": "ja",
            "policy": policy,
            "company": ANY,
            "position": ANY,
            "purposes": sorted(purpose.value for purpose in Purpose),
            "clauses": sorted(clauses),
            "verified_from": first,
            "verified_until": last,
            "state": "VERIFIED",
        }
        for screen, route, policy, clauses, first, last in shown
    ]


def _policies() -> list[dict[str, Any]]:
    """March 2019: from no provision to provision, which is material for everything."""
    every = sorted(purpose.value for purpose in Purpose)
    return [
        {"policy": OLD, "season": SEASON, "activated_at": START, "retired_at": 0, "material": []},
        {"policy": NEW, "season": SEASON, "activated_at": CHANGE, "retired_at": 0, "material": every},
    ]


def _agreements() -> list[dict[str, Any]]:
    return [
        {
            "company": f"company-{number:02d}",
            "active_from": START,
            "active_until": 0,
            "received_provision": number <= RECEIVED,
        }
        for number in range(1, CONTRACTED + 1)
    ]


def _provisions(people: Sequence[Person]) -> list[dict[str, Any]]:
    """One for everybody of the main phase; there were no permits."""
    return [
        {
            **_scope(person, person.company),
            "record": f"record-{number:05d}",
            "permit": "",
            "time": PROVISION,
        }
        for number, person in enumerate(people)
        if person.phase == MAIN and not person.control
    ]


def _journeys(people: Sequence[Person], *, is_repaired: bool) -> dict[str, Any]:
    """The ways of the main phase, and how many went each."""
    main = [person for person in people if person.phase == MAIN and not person.control]
    consented = [person for person in main if person.agreed_at and person.processed]
    others = [person for person in main if not person.agreed_at]
    before = [person for person in others if person.route == "site" and person.registered_at < CHANGE]
    since = [person for person in others if person.route == "site" and person.registered_at >= CHANGE]
    listed = [person for person in others if person.route != "site"]
    edges = [
        ("site", "selection-screen", len(consented)),
        ("selection-screen", "scoring", len(consented)),
        ("site", "registered-before-march", len(before)),
        ("site", "registration-screen-of-2018", len(since)),
        ("other-route", "company-list", len(listed)),
    ]
    if not is_repaired:
        edges += [
            ("registered-before-march", "scoring", len(before)),
            ("registration-screen-of-2018", "scoring", len(since)),
            ("company-list", "scoring", len(listed)),
        ]
    return {
        "schema": "noren/journey/1",
        "nodes": [
            _node("site", "entry"),
            _node("other-route", "entry"),
            _node("registered-before-march", "registration"),
            _node("registration-screen-of-2018", "consent", OLD, REGISTRATION),
            _node("company-list", "link-offer"),
            _node("selection-screen", "consent", NEW, SELECTION),
            _node("scoring", "scoring"),
        ],
        "edges": [{"from": source, "to": target, "users": users} for source, target, users in edges],
    }


def _node(name: str, kind: str, policy: str = "", sha256: str = "") -> dict[str, str]:
    return {"name": name, "kind": kind, "policy": policy, "sha256": sha256}
