"""Screens: what was really shown, which clauses were on it, and how long that is known.

docs/rights/policies-and-screens.md §4. Promises: a clause counts only if an element marked with its id shows
exactly its words and all of them can be seen; a box that is ticked beforehand, a consent that shares its form
with something else, a choice that is made harder than another, and content that cannot be read as text are
findings. A screen with a finding, or without a clause that its purposes need, is never verified.

The hash covers the whole text that is shown, not the clauses alone: a sentence that is added beside them
    makes another screen. What a page shows is read by a browser (`PageReading`); this module only judges.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from noren_core.errors import DataError, LocalProtocolError
from noren_core.rights.clauses import Clause
from noren_core.rights.fields import boolean, integer, list_of, name, read_fields, word_of
from noren_core.rights.locales import Locale
from noren_core.rights.notices.page_text import MAX_TEXT_CHARACTERS, normalise_text, text_sha256
from noren_core.rights.purposes import Purpose

MAX_MARKED = 64


class Device(StrEnum):
    """Widths at which a screen is looked at."""

    MOBILE = "mobile"
    DESKTOP = "desktop"


class ScreenState(StrEnum):
    """How far a screen version is."""

    DISCOVERED = "DISCOVERED"
    VERIFIED = "VERIFIED"
    STALE = "STALE"
    RETIRED = "RETIRED"
    REJECTED = "REJECTED"


class ScreenFinding(StrEnum):
    """Why a screen cannot carry a consent."""

    CLAUSE_MISSING = "COVERAGE_SCREEN_CLAUSE_MISSING"
    PRECHECKED = "CONSENT_PRECHECKED"
    BUNDLED = "CONSENT_BUNDLED"
    CHOICE_UNEQUAL = "CONSENT_CHOICE_UNEQUAL"
    UNREADABLE = "SCREEN_UNREADABLE_CONTENT"
    WRONG_PURPOSE = "SCREEN_WRONG_PURPOSE"


class Choice(StrEnum):
    """What a form for one purpose must offer, all alike."""

    GIVE = "give"
    REFUSE = "refuse"
    LATER = "later"


@dataclass(frozen=True, slots=True, order=True)
class ScreenPlace:
    """Where a screen stands: one text is expected there at a time.

    Attributes:
        policy: the version that it shows.
        company, position: whose notice it is.
        route: which of the policy's screens.
        locale: its language.
        device: the width.
        build: the release of whoever shows it.
        variant: of a trial with several; `standard` where there is one.
    """

    policy: str
    company: str
    position: str
    route: str
    locale: Locale
    device: Device
    build: str
    variant: str

    def to_body(self) -> dict[str, str]:
        """The fields."""
        return {field: str(getattr(self, field)) for field in _PLACE_FIELDS}


@dataclass(frozen=True, slots=True)
class ClauseReading:
    """One element that is marked as a clause: its text, and whether all of it can be seen."""

    clause: str
    text: str
    is_visible: bool


@dataclass(frozen=True, slots=True)
class FormReading:
    """One form that asks for a consent.

    Attributes:
        purposes: every purpose that is marked in it.
        text: of the element that is marked as the purpose's words, if it can be seen, otherwise empty.
        is_prechecked: a box or option in it is on before anybody touched it.
        choices: the buttons give, refuse and later that can be seen.
        are_choices_alike: whether these look alike: size, colours, weight.
        others: how many controls it has besides these choices and its own boxes.
    """

    purposes: tuple[str, ...]
    text: str
    is_prechecked: bool
    choices: tuple[str, ...]
    are_choices_alike: bool
    others: int


@dataclass(frozen=True, slots=True)
class PageReading:
    """What a browser found on one page.

    Attributes:
        text: everything that it shows.
        place: policy, company, position, route, build, variant and language, as the page states them.
        clauses: the elements that are marked as clauses.
        forms: the forms that ask for a consent.
        unreadable: how many elements show something that is no text: images, frames, drawings, styles that
            write.
        applies: whether a control on the page applies, registers or the like.
    """

    text: str
    place: Mapping[str, str]
    clauses: tuple[ClauseReading, ...]
    forms: tuple[FormReading, ...]
    unreadable: int
    applies: bool

    @property
    def sha256(self) -> str:
        """The hash of the text, as a consent event states it."""
        return text_sha256(self.text)

    @property
    def is_consent_screen(self) -> bool:
        """Whether it claims to ask for a consent."""
        return bool(self.forms or self.clauses)

    @classmethod
    def from_body(cls, body: Any) -> Self:
        """The reading that a browser's script returned; DataError for anything else."""
        fields = read_fields(
            body,
            {
                "text": _text,
                "place": _stated_place,
                "clauses": list_of(_clause_reading, most=MAX_MARKED),
                "forms": list_of(_form_reading, most=MAX_MARKED),
                "unreadable": integer,
                "applies": boolean,
            },
            "page",
        )
        return cls(**fields)

    def place_on(self, device: Device) -> ScreenPlace:
        """The place that the page states, looked at on `device`; DataError if it states none."""
        stated = {**dict.fromkeys(_PLACE_FIELDS, ""), **self.place, "device": device.value}
        return parse_place(stated)


@dataclass(frozen=True, slots=True)
class ExpectedScreen:
    """What a notice says, for one language: the words of clauses and purposes, and which are needed."""

    clauses: Mapping[Clause, str]
    required: frozenset[Clause]
    purposes: Mapping[Purpose, str]


@dataclass(frozen=True, slots=True)
class ScreenVersion:
    """One text at one place, for as long as it was looked at there.

    Attributes:
        place: where.
        sha256: of the text.
        clauses: those that count.
        purposes: those that it asks for.
        findings: why it cannot be verified; empty if it can.
        state: how far it is.
        verified_from, verified_until: Unix seconds; both 0 unless it was verified.
    """

    place: ScreenPlace
    sha256: str
    clauses: frozenset[Clause]
    purposes: frozenset[Purpose]
    findings: tuple[ScreenFinding, ...]
    state: ScreenState
    verified_from: int = 0
    verified_until: int = 0

    def is_verified_at(self, time: int) -> bool:
        """Whether what it shows was known at that time."""
        return 0 < self.verified_from <= time <= self.verified_until


def parse_place(body: object) -> ScreenPlace:
    """The place with these fields; DataError naming the first that is wrong."""
    fields = read_fields(
        body,
        {**dict.fromkeys(_PLACE_FIELDS, name), "locale": word_of(Locale), "device": word_of(Device)},
        "screen",
    )
    return ScreenPlace(**fields)


def clauses_present(reading: PageReading, expected: ExpectedScreen) -> frozenset[Clause]:
    """The clauses that the page shows word for word.

    A second element with the same id and other words takes the clause away again.
    """
    shown: dict[str, list[ClauseReading]] = {}
    for item in reading.clauses:
        shown.setdefault(item.clause, []).append(item)
    return frozenset(
        clause
        for clause, words in expected.clauses.items()
        if clause.value in shown
        and all(item.is_visible and normalise_text(item.text) == words for item in shown[clause.value])
    )


def findings(reading: PageReading, expected: ExpectedScreen) -> tuple[ScreenFinding, ...]:
    """Why the page cannot carry a consent for the expected purposes; empty if it can.

    1. Every required clause is there.
    2. Every form is for exactly one of the purposes, in the purpose's words, and every purpose has a form.
    3. Nothing is ticked beforehand.
    4. Nothing else hangs on the same form or page.
    5. To refuse and to answer later is as easy as to agree.
    6. Everything on the page can be read.
    """
    found = []
    if not expected.required <= clauses_present(reading, expected):  # 1
        found.append(ScreenFinding.CLAUSE_MISSING)
    if not _asks_exactly(reading.forms, expected.purposes):  # 2
        found.append(ScreenFinding.WRONG_PURPOSE)
    if any(form.is_prechecked for form in reading.forms):  # 3
        found.append(ScreenFinding.PRECHECKED)
    if reading.applies or any(form.others or len(form.purposes) > 1 for form in reading.forms):  # 4
        found.append(ScreenFinding.BUNDLED)
    if any(
        sorted(form.choices) != sorted(Choice) or not form.are_choices_alike for form in reading.forms
    ):  # 5
        found.append(ScreenFinding.CHOICE_UNEQUAL)
    if reading.unreadable:  # 6
        found.append(ScreenFinding.UNREADABLE)
    return tuple(found)


def verify_screen(
    versions: Iterable[ScreenVersion], *, at: int, required: frozenset[Clause]
) -> ScreenVersion:
    """The version among `versions`, all of one text or place, that was verified at that time.

    Raises:
        LocalProtocolError: SCREEN_UNVERIFIED if nobody knows the text, SCREEN_STALE if it was replaced or not
            looked at any more, COVERAGE_SCREEN_CLAUSE_MISSING if it lacks one of `required`.
    """
    known = list(versions)
    for version in known:
        if version.is_verified_at(at) and required <= version.clauses:
            return version
    if any(not required <= version.clauses for version in known):
        code, what = "COVERAGE_SCREEN_CLAUSE_MISSING", "one with every required clause, got one without"
    elif any(version.state is ScreenState.STALE or version.verified_until for version in known):
        code, what = "SCREEN_STALE", "one that is looked at, got one that was replaced or not looked at"
    else:
        code, what = "SCREEN_UNVERIFIED", "a verified one, got none"
    raise LocalProtocolError(f"screen: expected {what}", code=code)


def _asks_exactly(forms: tuple[FormReading, ...], purposes: Mapping[Purpose, str]) -> bool:
    asked = [purpose for form in forms for purpose in form.purposes]
    if sorted(asked) != sorted(purposes):
        return False
    return all(
        normalise_text(form.text) == purposes[Purpose(form.purposes[0])] for form in forms if form.purposes
    )


_PLACE_FIELDS = ("policy", "company", "position", "route", "locale", "device", "build", "variant")


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT_CHARACTERS:
        raise DataError(f"expected a text of at most {MAX_TEXT_CHARACTERS} characters")
    return value


def _stated_place(value: object) -> dict[str, str]:
    """What the page states of its place; whether that is one, `place_on` tells."""
    if not isinstance(value, dict) or not value.keys() <= set(_PLACE_FIELDS):
        raise DataError("expected a place of the listed names, got others")
    return {field: _text(stated) for field, stated in value.items()}


def _clause_reading(body: object) -> ClauseReading:
    fields = read_fields(body, {"clause": _text, "text": _text, "visible": boolean}, "clause")
    return ClauseReading(fields["clause"], fields["text"], fields["visible"])


def _form_reading(body: object) -> FormReading:
    texts = list_of(_text, most=MAX_MARKED)
    fields = read_fields(
        body,
        {
            "purposes": texts,
            "text": _text,
            "prechecked": boolean,
            "choices": texts,
            "alike": boolean,
            "others": integer,
        },
        "form",
    )
    return FormReading(*fields.values())
