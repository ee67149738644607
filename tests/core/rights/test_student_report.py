"""The student's report: what the platform says, what her device adds, in both languages."""

from __future__ import annotations

from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mirrored_scores import CAMPAIGN, COMPANY, MAILBOX, NOW, POSITION, MirroringCompany, answer, record

from noren_core.errors import DataError
from noren_core.ids import TableKind
from noren_core.rights.consent.consent_record import ConsentState
from noren_core.rights.disclosure import student_report
from noren_core.rights.disclosure.mirror import Reason
from noren_core.rights.disclosure.mirror_copy import Access, AccessCopy
from noren_core.rights.disclosure.student_report import (
    BudgetLine,
    ConsentLine,
    ProvisionLine,
    StudentReport,
    reason_text,
    to_html,
    to_markdown,
    utc_text,
)
from noren_core.rights.locales import Locale
from noren_core.rights.purposes import Purpose


def report() -> StudentReport:
    return StudentReport(
        at=NOW,
        behaviour_logged=True,
        consents=(
            ConsentLine(
                company=COMPANY,
                position=POSITION,
                season="2027",
                purpose=Purpose.SCORE,
                policy="policy-1",
                state=ConsentState.GIVEN,
                changed_at=NOW,
            ),
        ),
        provisions=tuple(
            ProvisionLine(
                company=COMPANY, campaign=CAMPAIGN, position=POSITION, kind=kind, at=NOW, record="ab" * 16
            )
            for kind in TableKind
        ),
        budget=BudgetLine(campaigns=(CAMPAIGN,), epsilon="1.250", delta="0.000001"),
    )


@given(seconds=st.integers(0, 1 << 37))
def test_dates_are_those_of_the_calendar(seconds: int) -> None:
    """Against the standard library, over 4,000 years."""
    assert utc_text(seconds) == datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def test_the_platform_s_part_survives_and_has_no_band() -> None:
    """What her device adds is never in what is sent; the platform's part has no field for it."""
    made = report()
    [score] = MirroringCompany().deposit(record(band=2))
    merged = made.with_copies([score])
    assert merged.to_bytes() == made.to_bytes()
    assert StudentReport.from_bytes(made.to_bytes()) == made
    assert b"band" not in made.to_bytes()
    with pytest.raises(DataError):
        StudentReport.from_bytes(made.to_bytes()[:-1] + b',"zbands":[]}')


@pytest.mark.parametrize("locale", Locale)
def test_the_report_tells_band_reasons_accesses_and_answers(locale: Locale) -> None:
    """In her language, the score once however often it came."""
    [score] = MirroringCompany().deposit(record(band=1))
    access = Access(role="follow-up", action="view-score", at=NOW)
    accesses = AccessCopy(
        company=COMPANY,
        campaign=CAMPAIGN,
        position=POSITION,
        mailbox=MAILBOX,
        accesses=(access,),
        at=NOW,
    )
    merged = report().with_copies([score, answer(score), accesses, answer(company="beni", mailbox=MAILBOX)])
    text = to_markdown(merged, locale)
    assert {Locale.JA: "20〜40 %", Locale.EN: "20 to 40 %"}[locale] in text
    assert {Locale.JA: "区分 2", Locale.EN: "Band 2 of 3"}[locale] in text
    for reason in Reason:
        assert text.count(reason_text(reason, record(), locale)) == 1
    assert "view-score" in text
    assert "1.250" in text
    assert "beni" in text
    assert "ab" * 16 in text
    assert "None" not in text
    assert "{" not in text


def test_an_empty_report_says_so() -> None:
    """Nothing is silence: every section has a sentence."""
    empty = StudentReport(
        at=NOW,
        behaviour_logged=False,
        consents=(),
        provisions=(),
        budget=BudgetLine(campaigns=(), epsilon="0.000", delta="0.000001"),
    )
    text = to_markdown(empty, Locale.EN)
    for sentence in ("no record of a consent", "Nothing was ever provided", "never used for training"):
        assert sentence in text


def test_every_word_is_there_in_both_languages() -> None:
    """The same keys, every reason, purpose and state."""
    for words in (
        student_report._WORDS,
        student_report._REASONS,
        student_report._PURPOSES,
        student_report._STATES,
    ):
        assert set(words) == set(Locale)
        assert set(words[Locale.JA]) == set(words[Locale.EN])  # type: ignore[index]
    assert set(student_report._REASONS[Locale.JA]) == set(Reason)
    assert set(student_report._PURPOSES[Locale.JA]) == set(Purpose)
    assert set(student_report._STATES[Locale.JA]) == set(ConsentState)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]


def test_the_page_prints_and_runs_nothing() -> None:
    """No script, no link, no handler; what a company wrote is text and not markup."""
    [score] = MirroringCompany().deposit(record(contest="https://x.example/<script>alert(1)</script>"))
    page = to_html(report().with_copies([score]), Locale.JA)
    reader = _Page()
    reader.feed(page)
    assert not {"script", "a", "img", "iframe", "link", "form"} & set(reader.tags)
    assert not [name for name in reader.attributes if name.startswith("on") or name in ("src", "href")]
    assert 'lang="ja"' in page
    assert "@media print" in page
