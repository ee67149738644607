"""Every page of these areas, with nothing and with a season behind it, in both languages, for every role."""

from __future__ import annotations

import pytest
from governed_console import CAMPAIGN, PEOPLE, Governed
from operators_console import Console

EMPTY_PAGES = (
    *("/coverage", "/policies", "/screens", "/consents", "/rights", "/rights/erasure", "/service"),
    *("/service/suspend", "/service/suspend?scope=company", "/service/end", "/service/drills"),
    *("/incidents", "/retention"),
)
FULL_PAGES = (
    *EMPTY_PAGES,
    *(f"/coverage/{CAMPAIGN}", "/policies/policy-2026", "/policies/policy-2026/retire"),
    *("/policies/policy-2026/activate", "/screens/matrix/policy-2026"),
    *("/service/suspend?scope=company&name=company-1", f"/service/suspend?scope=campaign&name={CAMPAIGN}"),
)
NOT_FOR = {
    "/consents": {"modeller", "boss"},
    "/rights": {"modeller", "boss"},
    "/rights/erasure": {"modeller", "boss"},
    "/incidents": {"modeller", "boss"},
    "/service/suspend": {"modeller", "admin", "boss"},
    "/service/end": {"modeller", "admin", "boss"},
    "/policies/policy-2026/retire": {"modeller", "admin", "auditor", "boss"},
    "/policies/policy-2026/activate": {"modeller", "admin", "auditor", "boss"},
    "/policies": set(),
}


def sentence(language: str) -> str:
    return 'lang="ja"' if language == "ja" else 'lang="en"'


@pytest.mark.parametrize("language", ["en", "ja"])
def test_pages_of_an_empty_platform_say_that_there_is_nothing(empty: Console, language: str) -> None:
    """Each is drawn for the privacy officer, and none is blank."""
    officer = empty.signed_in("officer")
    officer.get(f"/service?lang={language}")
    for path in EMPTY_PAGES:
        answer = officer.get(path)
        assert answer.status_code == 200, (path, answer.text)
        assert f"<html {sentence(language)}" in answer.text
        assert "<h1>" in answer.text
    for path in ("/coverage", "/screens", "/consents", "/rights", "/incidents", "/service/drills"):
        assert 'class="empty"' in officer.get(path).text, path


@pytest.mark.parametrize("language", ["en", "ja"])
def test_pages_of_a_season_are_drawn_for_everybody_who_may_see_them(
    governed: Governed, language: str
) -> None:
    """And for nobody else: the others get a page that says so, with the code."""
    governed.season.inquiry()
    governed.season.disclosure()
    governed.season.orders()
    for name in (*PEOPLE, "boss"):
        person = governed.console.signed_in(name)
        person.get(f"/account?lang={language}")
        for path in FULL_PAGES:
            refused = NOT_FOR.get(path.partition("?")[0], {"boss"})
            if path.startswith("/policies/policy") and path.count("/") == 2:
                refused = set()
            answer = person.get(path)
            expected = 403 if name in refused else 200
            assert answer.status_code == expected, (name, path, answer.text)
            assert expected == 200 or "ROLE_FORBIDDEN" in answer.text


def test_a_page_names_no_student(governed: Governed) -> None:
    """Whoever consented, asked or wants to be erased stands on none of them."""
    governed.season.inquiry()
    governed.season.disclosure()
    governed.season.orders()
    officer = governed.console.signed_in("officer")
    for path in FULL_PAGES:
        assert "aiko" not in officer.get(path).text, path


def test_an_address_that_names_nothing_is_refused_and_its_act_ends_in_the_trail(governed: Governed) -> None:
    """Whatever stands in it: no form is left as one that never ended, and nothing of the address is kept."""
    officer = governed.console.signed_in("officer")
    paths = (
        *("/coverage/あ/run", "/coverage/あ/x/review", "/policies/あ/activate", "/policies/あ/retire"),
        *("/incidents/あ/advance", "/rights/inquiries/あ/answer", "/rights/disclosures/あ/deny"),
    )
    for path in paths:
        answer = officer.post(path, {"confirmation": "あ", "state": "closed", "answer": "x"})
        assert 400 <= answer.status_code < 500, (path, answer.status_code)
    records = governed.console.desk.trail.newest()
    assert len(records) >= len(paths)
    assert all(record.outcome != "begun" and "あ" not in record.about for record in records)
