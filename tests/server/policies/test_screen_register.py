"""The register of screens: windows of what is known, and the alarm for what is not."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from active_policy import notice_facts
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from noren_core.errors import LocalProtocolError
from noren_core.rights.locales import Locale
from noren_core.rights.notices.notice_texts import packaged_policy
from noren_core.rights.notices.screen import ClauseReading, Device, PageReading, ScreenPlace, ScreenState
from noren_server.policies.consent_screen import expected_screen, render_consent_screen
from noren_server.policies.page_markup import read_page
from noren_server.policies.screen_register import ScreenRegister

NOW = 1_800_000_000
HOUR = 3600
DAY = 24 * HOUR
POLICY = packaged_policy(policy="first", season="2027", dpia="DPIA-1")
FACTS = notice_facts("acme", "engineer")
ROUTE = POLICY.routes["consent-score"]
EXPECTED = expected_screen(POLICY, FACTS, Locale.EN, ROUTE)
PAGE = read_page(render_consent_screen(POLICY, FACTS, Locale.EN, ROUTE.purposes))
PLACE = ScreenPlace(
    "first", "acme", "engineer", "consent-score", Locale.EN, Device.MOBILE, "noren-1", "standard"
)
OTHER_TEXT = replace(PAGE, text=PAGE.text + ".")  # nothing is missing, but it is another text


def without_a_clause(page: PageReading = PAGE) -> PageReading:
    return replace(page, clauses=page.clauses[1:], text=page.text.replace(page.clauses[0].text, ""))


@pytest.fixture
def register(tmp_path: Path) -> Iterator[ScreenRegister]:
    opened = ScreenRegister.open(tmp_path)
    yield opened
    opened.close()


def look(register: ScreenRegister, page: PageReading, at: int, place: ScreenPlace = PLACE) -> ScreenState:
    return register.observe(place, page, EXPECTED, at=at).state


def code_of(register: ScreenRegister, sha256: str, at: int) -> str:
    with pytest.raises(LocalProtocolError) as refused:
        register.verify({sha256}, at=at)
    return refused.value.code


def test_a_screen_is_discovered_then_verified(register: ScreenRegister) -> None:
    """Looking does not verify; verifying counts from then on, for a day after the last look."""
    assert look(register, PAGE, NOW) is ScreenState.DISCOVERED
    assert not register.at_place(PLACE)[0].is_verified_at(NOW)
    [verified] = register.verify({PAGE.sha256}, at=NOW + HOUR)
    assert (verified.state, verified.verified_from) == (ScreenState.VERIFIED, NOW + HOUR)
    assert verified.verified_until == NOW + DAY
    assert register.text(PAGE.sha256) == PAGE.text
    assert register.text("00" * 32) is None


def test_looking_again_goes_on_verifying(register: ScreenRegister) -> None:
    """One window, as long as nobody stops looking."""
    look(register, PAGE, NOW)
    register.verify({PAGE.sha256}, at=NOW)
    for hours in (12, 30, 50):
        look(register, PAGE, NOW + hours * HOUR)
    [only] = register.at_place(PLACE)
    assert (only.verified_from, only.verified_until) == (NOW, NOW + 50 * HOUR + DAY)


def test_one_character_makes_it_stale(register: ScreenRegister) -> None:
    """Until then it was what it was; from then on nothing is verified there."""
    look(register, PAGE, NOW)
    register.verify({PAGE.sha256}, at=NOW)
    assert look(register, OTHER_TEXT, NOW + HOUR) is ScreenState.DISCOVERED
    stale, new = register.at_place(PLACE)
    assert (stale.state, stale.verified_until) == (ScreenState.STALE, NOW + HOUR)
    assert stale.is_verified_at(NOW + HOUR)
    assert not any(item.is_verified_at(NOW + HOUR + 1) for item in (stale, new))


def test_a_gap_in_looking_is_not_closed_afterwards(register: ScreenRegister) -> None:
    """The same text two days later is a new window; what lies between stays unverified."""
    look(register, PAGE, NOW)
    register.verify({PAGE.sha256}, at=NOW)
    assert look(register, PAGE, NOW + 2 * DAY) is ScreenState.DISCOVERED
    register.verify({PAGE.sha256}, at=NOW + 2 * DAY)
    windows = [
        (item.verified_from - NOW, item.verified_until - NOW) for item in register.with_text(PAGE.sha256)
    ]
    assert windows == [(0, DAY), (2 * DAY, 3 * DAY)]


def test_what_has_a_finding_is_rejected_and_never_verified(register: ScreenRegister) -> None:
    """A clause is missing: the code says so, however often it is looked at."""
    page = without_a_clause()
    for hour in range(3):
        assert look(register, page, NOW + hour * HOUR) is ScreenState.REJECTED
    assert len(register.at_place(PLACE)) == 1
    assert code_of(register, page.sha256, NOW) == "COVERAGE_SCREEN_CLAUSE_MISSING"
    assert look(register, PAGE, NOW + 4 * HOUR) is ScreenState.DISCOVERED


def test_the_same_text_that_is_hidden_is_stale(register: ScreenRegister) -> None:
    """A style hides a clause: the text is the same, what can be seen is not."""
    look(register, PAGE, NOW)
    register.verify({PAGE.sha256}, at=NOW)
    hidden = ClauseReading(PAGE.clauses[0].clause, PAGE.clauses[0].text, is_visible=False)
    assert (
        look(register, replace(PAGE, clauses=(hidden, *PAGE.clauses[1:])), NOW + HOUR) is ScreenState.REJECTED
    )
    assert [item.state for item in register.at_place(PLACE)] == ["STALE", "REJECTED"]


def test_what_nobody_looked_at_is_not_verified(register: ScreenRegister) -> None:
    """An unknown text, and one that was looked at long ago; then nothing is verified, the other neither."""
    assert code_of(register, "00" * 32, NOW) == "SCREEN_UNVERIFIED"
    look(register, PAGE, NOW)
    assert code_of(register, PAGE.sha256, NOW + DAY + 1) == "SCREEN_STALE"
    with pytest.raises(LocalProtocolError):
        register.verify({PAGE.sha256, "00" * 32}, at=NOW)
    assert register.at_place(PLACE)[0].state is ScreenState.DISCOVERED


def test_an_unregistered_text_in_an_event_raises_an_alarm(register: ScreenRegister) -> None:
    """It stands, once, until somebody looks at that text."""
    assert not register.note_shown(PAGE.sha256, at=NOW)
    assert not register.note_shown(PAGE.sha256, at=NOW + 1)
    assert register.unknown_texts() == (PAGE.sha256,)
    look(register, PAGE, NOW + 2)
    assert register.unknown_texts() == ()
    assert register.note_shown(PAGE.sha256, at=NOW + 3)


def test_retired_screens_stay_evidence(register: ScreenRegister) -> None:
    """What was verified until then is told as before."""
    look(register, PAGE, NOW)
    register.verify({PAGE.sha256}, at=NOW)
    register.retire("first", at=NOW + HOUR)
    [retired] = register.at_place(PLACE)
    assert retired.state is ScreenState.RETIRED
    assert retired.is_verified_at(NOW + HOUR)
    assert not retired.is_verified_at(NOW + HOUR + 1)


def test_the_digest_is_of_what_is_verified(register: ScreenRegister) -> None:
    """Looking again does not change it; another text, and losing one, do."""
    look(register, PAGE, NOW)
    nothing = register.digest("first", at=NOW)
    register.verify({PAGE.sha256}, at=NOW)
    one = register.digest("first", at=NOW)
    look(register, PAGE, NOW + HOUR)
    assert register.digest("first", at=NOW + HOUR) == one != nothing
    look(register, OTHER_TEXT, NOW + 2 * HOUR)
    assert register.digest("first", at=NOW + 2 * HOUR + 1) == nothing
    register.verify({OTHER_TEXT.sha256}, at=NOW + 3 * HOUR)
    assert register.digest("first", at=NOW + 3 * HOUR) not in (one, nothing)


def test_screens_and_texts_cannot_be_removed(register: ScreenRegister, tmp_path: Path) -> None:
    """They are evidence of what students were shown."""
    look(register, PAGE, NOW)
    db = sqlite3.connect(tmp_path / "screens.db")
    for statement in ("DELETE FROM screens", "DELETE FROM texts", "UPDATE texts SET text = 'x'"):
        with pytest.raises(sqlite3.IntegrityError):
            db.execute(statement)
    db.close()


class Looking(RuleBasedStateMachine):
    """A page changes and is looked at, at random; a text counts only while looks in time saw it there."""

    TEXTS = (PAGE, OTHER_TEXT, without_a_clause())

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.register = ScreenRegister.open(Path(self.directory.name))
        self.now = NOW
        self.shown = PAGE
        self.last_look = 0
        self.looked_at = PAGE
        self.verified: dict[str, int] = {}  # by text that stands now: until when

    def teardown(self) -> None:
        self.register.close()
        self.directory.cleanup()

    @rule(hours=st.integers(1, 40))
    def wait(self, hours: int) -> None:
        self.now += hours * HOUR

    @rule(which=st.integers(0, 2))
    def change(self, which: int) -> None:
        self.shown = self.TEXTS[which]

    @rule()
    def look(self) -> None:
        look(self.register, self.shown, self.now)
        until = self.verified.get(self.shown.sha256, 0)
        goes_on = until >= self.now
        self.verified = {self.shown.sha256: self.now + DAY} if goes_on else {}
        self.last_look = self.now
        self.looked_at = self.shown

    @precondition(lambda self: self.last_look and self.now - self.last_look <= DAY)
    @rule()
    def verify(self) -> None:
        if self.looked_at is self.TEXTS[2]:
            return
        if self.looked_at.sha256 not in self.verified:
            self.register.verify({self.looked_at.sha256}, at=self.now)
            self.verified = {self.looked_at.sha256: self.last_look + DAY}

    @invariant()
    def only_what_was_seen_counts(self) -> None:
        for page in self.TEXTS:
            counts = any(item.is_verified_at(self.now + 1) for item in self.register.with_text(page.sha256))
            assert counts == (self.verified.get(page.sha256, 0) > self.now)


TestLooking = Looking.TestCase
TestLooking.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
