"""The consent page as markup: one company, equal choices, nothing that runs or loads."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import pytest
from active_policy import notice_facts

from noren_core.errors import DataError
from noren_core.rights.clauses import REQUIRED_CLAUSES, Clause
from noren_core.rights.locales import Locale
from noren_core.rights.notices.notice_texts import NoticeFacts, notice_clauses, packaged_policy, parse_notices
from noren_core.rights.notices.screen import findings
from noren_core.rights.purposes import Purpose
from noren_server.policies.consent_screen import HEADERS, expected_screen, render_consent_screen, stylesheet
from noren_server.policies.page_markup import read_page

POLICY = packaged_policy(policy="first", season="2027", dpia="DPIA-1")
FACTS = notice_facts("acme", "engineer")
ROUTES = list(POLICY.routes.values())


@pytest.mark.parametrize("locale", Locale)
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.route)
def test_a_page_says_exactly_what_its_purposes_need(locale: Locale, route) -> None:
    """Every required clause word for word, no other, one form for each purpose, no finding."""
    page = read_page(render_consent_screen(POLICY, FACTS, locale, route.purposes))
    required = set().union(*(REQUIRED_CLAUSES[purpose] for purpose in route.purposes))
    words = notice_clauses(POLICY, FACTS, locale)
    assert {item.clause: item.text for item in page.clauses} == {c.value: words[c] for c in required}
    assert findings(page, expected_screen(POLICY, FACTS, locale, route)) == ()
    assert page.place["locale"] == locale
    assert (page.place["company"], page.place["position"]) == ("acme", "engineer")


@pytest.mark.parametrize("locale", Locale)
def test_no_gap_is_left_open(locale: Locale) -> None:
    """Facts and policy fill every placeholder."""
    for route in ROUTES:
        page = render_consent_screen(POLICY, FACTS, locale, route.purposes)
        assert not re.search(r"\{[a-z_]+\}", page.replace(stylesheet(), ""))
        for value in (
            "company_name",
            "company_address",
            "company_representative",
            "position_title",
            "epsilon",
        ):
            assert html.escape(FACTS.values[locale][value]) in page


def test_nothing_runs_loads_or_is_ticked() -> None:
    """No script, no address of anything, no box; the style sheet is the one that the policy names."""
    page = render_consent_screen(POLICY, FACTS, Locale.EN, ROUTES[0].purposes)
    assert not re.search(
        r"<(script|link|img|iframe|object|svg|base)|\son\w+=|src=|href=|checked|style=", page
    )
    assert "url(" not in stylesheet()
    assert "@import" not in stylesheet()
    policy = HEADERS["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert html.escape(policy.partition("; frame-ancestors")[0]) in page


def test_facts_cannot_bring_markup_in() -> None:
    """A company's name is text, whatever is in it."""
    values = {
        locale: {**FACTS.values[locale], "company_name": '<b data-clause="C05">&amp; "Co'}
        for locale in Locale
    }
    page = read_page(
        render_consent_screen(POLICY, replace(FACTS, values=values), Locale.EN, ROUTES[0].purposes)
    )
    assert '<b data-clause="C05">&amp; "Co' in page.text
    assert len(page.clauses) == len(Clause)


@pytest.mark.parametrize("purposes", [[], [Purpose.SCORE], [Purpose.EVALUATE], list(Purpose)])
def test_purposes_that_no_route_asks_for_together_are_refused(purposes: list[Purpose]) -> None:
    """Nothing is rendered that nobody reviewed and nobody looks at."""
    with pytest.raises(DataError) as refused:
        render_consent_screen(POLICY, FACTS, Locale.EN, purposes)
    assert refused.value.code == "PURPOSE_UNKNOWN"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<p data-clause=", '<p style="display:none" data-clause='),
        ("<p data-clause=", "<p hidden data-clause="),
        ("body {", "p { display: none } body {"),
        ("<h1>", "<script>document.title</script><h1>"),
        ("<h1>", '<img alt="x"><h1>'),
        ('<input type="hidden" name="purpose"', '<input type="checkbox" name="purpose"'),
        ("<section>", '<section class="x">'),
        (
            "</section>",
            "",
        ),
    ],
)
def test_reading_without_a_browser_refuses_what_it_could_be_wrong_about(old: str, new: str) -> None:
    """Another style, a hidden element, anything that is not on our pages."""
    page = render_consent_screen(POLICY, FACTS, Locale.EN, ROUTES[0].purposes)
    assert old in page
    with pytest.raises(DataError):
        read_page(page.replace(old, new, 1))


NOTICES = """
[common.ja]
platform_name = "就活サイト"
[common.en]
platform_name = "The Job Site"
"""


def _file(**texts: str) -> bytes:
    lines = [NOTICES, '[[notice]]\ncompany = "acme"\nposition = "engineer"']
    for locale in Locale:
        lines.append(f"[notice.{locale}]")
        values = {**FACTS.values[locale], **texts}
        lines += [f'{name} = "{value}"' for name, value in values.items() if name != "platform_name"]
    return "\n".join(lines).encode()


def test_a_file_of_facts_shares_what_is_common() -> None:
    """The same facts as those written out; and they read back from their body."""
    [facts] = parse_notices(_file())
    assert facts.values[Locale.EN] == {**FACTS.values[Locale.EN], "platform_name": "The Job Site"}
    assert NoticeFacts.from_body(facts.to_body()) == facts


@pytest.mark.parametrize(
    "data",
    [
        b"",
        _file(place=""),
        _file(place="a  b"),
        _file(place="{company_name}"),
        _file(place="a\\u200bb"),
        _file(place="x" * 201),
        _file() + b'unheard = "of"',
        _file() + b'\n[[notice]]\ncompany = "acme"\nposition = "engineer"\n',
        _file().replace(b'company = "acme"', b'company = "Acme"'),
        _file().replace(b"[common.ja]", b"[common.fr]"),
    ],
)
def test_facts_that_are_none_are_refused(data: bytes) -> None:
    """Missing, unknown, invisible or repeated."""
    with pytest.raises(DataError):
        parse_notices(data)
