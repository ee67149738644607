"""What makes a screen able to carry a consent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noren_core.errors import DataError, LocalProtocolError
from noren_core.rights.clauses import Clause
from noren_core.rights.locales import Locale
from noren_core.rights.notices.page_text import normalise_text, text_sha256
from noren_core.rights.notices.screen import (
    ClauseReading,
    Device,
    ExpectedScreen,
    FormReading,
    PageReading,
    ScreenFinding,
    ScreenPlace,
    ScreenState,
    ScreenVersion,
    clauses_present,
    findings,
    verify_screen,
)
from noren_core.rights.purposes import Purpose

WORDS = {clause: f"Words of {clause}." for clause in Clause}
EXPECTED = ExpectedScreen(WORDS, frozenset(Clause), {Purpose.SCORE: "What it is for."})
FORM = FormReading(
    purposes=(Purpose.SCORE,),
    text="What it is for.",
    is_prechecked=False,
    choices=("give", "refuse", "later"),
    are_choices_alike=True,
    others=0,
)
PAGE = PageReading(
    text="everything",
    place={"policy": "p", "company": "acme", "position": "engineer", "route": "r", "locale": "ja"},
    clauses=tuple(ClauseReading(clause, words, is_visible=True) for clause, words in WORDS.items()),
    forms=(FORM,),
    unreadable=0,
    applies=False,
)


def test_a_page_with_everything_and_nothing_else_has_no_finding() -> None:
    """All clauses, one form for each purpose, equal choices."""
    assert findings(PAGE, EXPECTED) == ()
    assert clauses_present(PAGE, EXPECTED) == frozenset(Clause)


@pytest.mark.parametrize("clause", Clause)
@pytest.mark.parametrize("how", ["dropped", "changed", "hidden", "contradicted"])
def test_a_clause_counts_only_word_for_word_and_in_sight(clause: Clause, how: str) -> None:
    """Dropping it, changing one character, hiding it, and saying something else beside it take it away."""
    place = list(Clause).index(clause)
    item, others = PAGE.clauses[place], PAGE.clauses[:place] + PAGE.clauses[place + 1 :]
    mutants = {
        "dropped": others,
        "changed": (*others, replace(item, text=item.text + "!")),
        "hidden": (*others, replace(item, is_visible=False)),
        "contradicted": (*PAGE.clauses, replace(item, text="Or not.")),
    }
    page = replace(PAGE, clauses=mutants[how])
    assert clauses_present(page, EXPECTED) == frozenset(Clause) - {clause}
    assert findings(page, EXPECTED) == (ScreenFinding.CLAUSE_MISSING,)
    assert findings(page, replace(EXPECTED, required=frozenset(Clause) - {clause})) == ()


@pytest.mark.parametrize(
    ("page", "found"),
    [
        (replace(PAGE, forms=(replace(FORM, is_prechecked=True),)), ScreenFinding.PRECHECKED),
        (replace(PAGE, forms=(replace(FORM, others=1),)), ScreenFinding.BUNDLED),
        (replace(PAGE, applies=True), ScreenFinding.BUNDLED),
        (replace(PAGE, forms=(replace(FORM, choices=("give", "later")),)), ScreenFinding.CHOICE_UNEQUAL),
        (
            replace(PAGE, forms=(replace(FORM, choices=("give", "give", "later")),)),
            ScreenFinding.CHOICE_UNEQUAL,
        ),
        (replace(PAGE, forms=(replace(FORM, are_choices_alike=False),)), ScreenFinding.CHOICE_UNEQUAL),
        (replace(PAGE, unreadable=1), ScreenFinding.UNREADABLE),
        (replace(PAGE, forms=()), ScreenFinding.WRONG_PURPOSE),
        (replace(PAGE, forms=(FORM, FORM)), ScreenFinding.WRONG_PURPOSE),
        (replace(PAGE, forms=(replace(FORM, purposes=("link.pairwise",)),)), ScreenFinding.WRONG_PURPOSE),
        (replace(PAGE, forms=(replace(FORM, text="For a better service."),)), ScreenFinding.WRONG_PURPOSE),
    ],
)
def test_each_way_of_asking_wrongly_is_named(page: PageReading, found: ScreenFinding) -> None:
    """One thing wrong with the form is one finding."""
    assert findings(page, EXPECTED) == (found,)


def test_one_form_for_two_purposes_is_bundled() -> None:
    """One press cannot answer two questions."""
    both = replace(EXPECTED, purposes={Purpose.SCORE: "What it is for.", Purpose.LINK: "What it is for."})
    page = replace(PAGE, forms=(replace(FORM, purposes=(Purpose.LINK, Purpose.SCORE)),))
    assert findings(page, both) == (ScreenFinding.BUNDLED,)


@given(st.text(max_size=40), st.text(max_size=5), st.integers(0, 40))
def test_the_hash_is_of_what_is_shown_and_not_of_how_it_is_laid_out(text: str, extra: str, at: int) -> None:
    """White space may be laid out anew; any other character makes another hash."""
    spread = "\n\t " + "  ".join(normalise_text(text).split(" ")) + " \n"
    assert text_sha256(spread) == text_sha256(text)
    grown = text[:at] + extra + text[at:]
    assert (text_sha256(grown) == text_sha256(text)) == (normalise_text(grown) == normalise_text(text))


PLACE = ScreenPlace("p", "acme", "engineer", "r", Locale.JA, Device.MOBILE, "b", "standard")


def version(state: ScreenState, since: int, until: int, clauses: frozenset[Clause]) -> ScreenVersion:
    return ScreenVersion(PLACE, "00" * 32, clauses, frozenset({Purpose.SCORE}), (), state, since, until)


def test_a_screen_counts_while_it_is_looked_at() -> None:
    """Verified, stale, without a clause, unknown: each has its code."""
    every, lacking = frozenset(Clause), frozenset(Clause) - {Clause.BAND_ABOUT_YOU}
    good = version(ScreenState.VERIFIED, 10, 20, every)
    assert verify_screen([good], at=10, required=every) is good
    assert verify_screen([version(ScreenState.STALE, 10, 20, every)], at=20, required=every)
    for versions, at, code in [
        ([good], 21, "SCREEN_STALE"),
        ([good], 9, "SCREEN_STALE"),
        ([], 15, "SCREEN_UNVERIFIED"),
        ([version(ScreenState.DISCOVERED, 0, 0, every)], 0, "SCREEN_UNVERIFIED"),
        ([version(ScreenState.REJECTED, 0, 0, lacking)], 15, "COVERAGE_SCREEN_CLAUSE_MISSING"),
        ([version(ScreenState.VERIFIED, 10, 20, lacking)], 15, "COVERAGE_SCREEN_CLAUSE_MISSING"),
    ]:
        with pytest.raises(LocalProtocolError) as refused:
            verify_screen(versions, at=at, required=every)
        assert refused.value.code == code


def _body() -> dict[str, Any]:
    return {
        "text": "x",
        "place": {"policy": "p", "locale": "ja"},
        "clauses": [{"clause": "C01", "text": "a", "visible": True}],
        "forms": [
            {
                "purposes": ["score.offer_followup"],
                "text": "b",
                "prechecked": False,
                "choices": ["give"],
                "alike": True,
                "others": 2,
            }
        ],
        "unreadable": 0,
        "applies": True,
    }


def test_a_browsers_findings_read_as_they_are() -> None:
    """Every field comes to its place."""
    reading = PageReading.from_body(_body())
    assert reading.clauses == (ClauseReading("C01", "a", is_visible=True),)
    assert reading.forms == (FormReading(("score.offer_followup",), "b", False, ("give",), True, 2),)
    assert (reading.text, reading.unreadable, reading.applies) == ("x", 0, True)
    assert reading.is_consent_screen


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.update(more=1),
        lambda body: body.update(text=None),
        lambda body: body.update(text="x" * 65537),
        lambda body: body.update(unreadable=True),
        lambda body: body.update(applies=0),
        lambda body: body["place"].update(student="s1"),
        lambda body: body["clauses"][0].pop("visible"),
        lambda body: body.update(clauses=body["clauses"] * 65),
        lambda body: body["forms"][0].update(choices="give"),
    ],
)
def test_findings_of_another_form_are_refused(change: Any) -> None:
    """A page can make the browser return anything; it is bad data."""
    body = _body()
    change(body)
    with pytest.raises(DataError):
        PageReading.from_body(body)
