"""The HTML report: what it must say, what it must never do, and how it looks to a browser and to axe."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

import axe
import pytest
from chromium import Chromium, chromium
from sample_bundles import DIRECTORY, SAMPLES, TRUST_FILE

from noren_audit.cli import main
from noren_audit.html.facts import Status, company_lines
from noren_audit.html.html_report import render, write_html
from noren_audit.html.words import AREAS, JAPANESE, MEANINGS
from noren_audit.verification.budget import rounded_up
from noren_audit.verification.findings import Code, Evidence, Finding
from noren_audit.verification.shown_verdicts import ShownReplay
from noren_audit.verification.trust import Trust, load_trust
from noren_audit.verification.verify import NOT_CHECKED, Verdict, verify_bundle

if TYPE_CHECKING:
    from conftest import SeasonLedger

pytestmark = pytest.mark.filterwarnings("ignore:'click.utils:DeprecationWarning")

HOSTILE = "<img src=x onerror=alert(1)>\"'&amp;</style><script>alert(2)</script>\u202e\x00"
STYLE = Path(__file__).parents[2] / "audit" / "noren_audit" / "html" / "report.css"
LANGUAGES = ("en", "ja")
VOID = frozenset({"meta", "link", "br", "rect", "circle", "line", "path"})


class Elements(HTMLParser):
    """What a page contains, and whether every element is closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.identifiers: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.identifiers += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


@pytest.fixture
def trust(honest: SeasonLedger, tmp_path: Path) -> Trust:
    path = tmp_path / "trust.toml"
    path.write_text(honest.trust_text("max_epsilon = 1"))
    return load_trust(path)


@pytest.fixture
def verdict(honest: SeasonLedger, trust: Trust, tmp_path: Path) -> Verdict:
    """Of an honest ledger."""
    return verify_bundle(honest.write(tmp_path / "bundle"), trust)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with chromium(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """The address of the report on a sample bundle."""
    directory = tmp_path_factory.mktemp("reports")
    trust = load_trust(DIRECTORY / TRUST_FILE)

    def address(name: str) -> str:
        path = directory / f"{name}.html"
        if not path.exists():
            write_html(verify_bundle(DIRECTORY / name, trust), trust, path)
        return path.as_uri()

    return address


def _found(verdict: Verdict, code: Code, message: str = "what was found", **evidence: Evidence) -> Verdict:
    """The verdict with one finding more."""
    return replace(verdict, findings=(*verdict.findings, Finding(code, message, 7, evidence)))


def _statuses(verdict: Verdict) -> dict[str, Status]:
    return {line.company: line.status for line in company_lines(verdict)}


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


# What it says.


def test_every_code_is_explained_in_both_languages() -> None:
    """Each code has a family with advice, a meaning in English and one in Japanese."""
    assert set(MEANINGS) == set(AREAS) == set(Code)
    for words in MEANINGS.values():
        assert all(words)
        assert words[0].isascii() or "ε" in words[0]
        assert not words[1].isascii()
    assert set(JAPANESE) == set(NOT_CHECKED)


def test_a_lawyer_reads_verdict_companies_and_limits_first(verdict: Verdict, trust: Trust) -> None:
    """Verdict, meaning, every company and what was not checked come before the statistician's part."""
    page = unescape(render(verdict, trust))
    for language, words in (("en", "✓</span> VERIFIED"), ("ja", "検証済み")):
        part = page[page.index(f"<main id='{language}'") :]
        lawyer, _, rest = part.partition(f"id='{language}-statistics'")
        assert words in lawyer
        assert all(f"<th scope='row'>{company}</th>" in lawyer for company in _statuses(verdict))
        assert "δ 0.000001" in rest
    assert all(sentence in page for sentence in (*NOT_CHECKED, *JAPANESE.values()))


def test_every_number_of_the_verdict_is_in_a_table(verdict: Verdict, trust: Trust) -> None:
    """Each company's epsilon by each accountant, a person's by number of campaigns, every sentinel test."""
    page = render(verdict, trust)
    for item in verdict.rounds:
        spent = [rounded_up(item.epsilon), rounded_up(item.epsilon_rdp)]
        cells = "".join(f"<td class='n'>{value}</td>" for value in [item.releases, *spent])
        assert page.count(f"<th scope='row'>{item.company}</th>{cells}") >= 2  # one per language
        assert rounded_up(item.epsilon_closed_form) in page
    for person in verdict.persons:
        assert all(rounded_up(epsilon) in page for epsilon in person.epsilons)
    for tested in verdict.sentinels:
        assert f"p = {tested.judgement.p_value:.4f}" in page


def test_the_checkpoint_is_there_to_be_read_out(verdict: Verdict, trust: Trust) -> None:
    """Origin, size and root in groups of four; what was believed; without a checkpoint it says so."""
    page = render(verdict, trust)
    assert verdict.checkpoint is not None
    root = verdict.checkpoint.root.hex()
    assert " ".join(re.findall("....", root)) in page
    for text in (verdict.checkpoint.origin, str(verdict.checkpoint.size), trust.platform_key.hex()):
        assert f"<code>{text}</code>" in page
    missing = render(replace(verdict, checkpoint=None), trust)
    assert "nothing to compare" in missing
    assert root[:4] + " " + root[4:8] not in missing


def test_a_finding_is_shown_with_meaning_place_evidence_and_advice(verdict: Verdict, trust: Trust) -> None:
    """Under its family's advice: code, both explanations, entry, message and every piece of evidence."""
    broken = _found(
        verdict, Code.SETTLE_WITHOUT_INTENT, "the message", campaign="autumn", without=["beta", "x"]
    )
    page = unescape(render(broken, trust))
    assert page.count("NOT VERIFIED") >= 4
    english, japanese = MEANINGS[Code.SETTLE_WITHOUT_INTENT]
    for text in (
        english,
        japanese,
        *AREAS[Code.SETTLE_WITHOUT_INTENT].advice.action,
        "the message",
        "beta x",
    ):
        assert text in page
    assert "<th scope='row'>7</th>" in page


def test_what_is_said_of_a_company_follows_from_what_was_found(verdict: Verdict) -> None:
    """Its own findings, its campaign's, those of the ledger as a whole, in this order; else nothing."""
    quiet = replace(verdict, rounds=tuple(item for item in verdict.rounds if item.company != "beta"))
    assert set(_statuses(verdict).values()) == {Status.VERIFIED}
    assert (company_lines(quiet)[0].company, company_lines(quiet)[0].status) == ("beta", Status.QUIET)
    own = _found(verdict, Code.ODOMETER_REPEATED, company="beta", campaign="autumn")
    assert _statuses(own) == {**_statuses(verdict), "beta": Status.FINDINGS}
    assert company_lines(own)[0].company == "beta"
    shared = _found(verdict, Code.SENTINELS_TOO_SMALL, campaign="autumn")
    assert set(_statuses(shared).values()) == {Status.CAMPAIGN}
    for code, evidence in ((Code.CHECKPOINT_ROOT, {}), (Code.AUTHOR_SIGNATURE, {"author": "beta"})):
        unproven = _statuses(_found(own, code, **evidence))
        assert (unproven["alpha"], unproven["beta"]) == (Status.UNPROVEN, Status.FINDINGS)


def test_replays_that_were_shown_are_counted_and_listed(verdict: Verdict, trust: Trust) -> None:
    """Beside each company in how many campaigns; below, by whom and how exactly; failed ones do not count."""
    good = ShownReplay("autumn", "beta", is_replayed=True, rounds=3, largest_difference=1, auditor="ab" * 32)
    failed = replace(good, campaign="spring", is_replayed=False)
    in_part = replace(failed, company="alpha", rows_erased=True)
    shown = replace(verdict, replays=(good, good, failed, in_part))
    assert {line.company: line.replayed for line in company_lines(shown)} == {
        **dict.fromkeys(_statuses(verdict), 0),
        "beta": 1,
    }
    page = render(shown, trust)
    assert "<td class='n'>1 of 2</td>" in page
    assert "as stated</td><td><code>" + "ab" * 32 in page
    assert "not as stated" in page
    assert "as stated, as far as rows are left" in page


def test_witnesses_and_auditors_that_are_believed_are_named() -> None:
    """Each witness with whether it cosigned, each auditor whose verdicts count; or that there is none."""
    trust = load_trust(DIRECTORY / TRUST_FILE)
    judged = verify_bundle(DIRECTORY / "honest", trust)
    first, second = trust.witnesses
    page = unescape(render(replace(judged, witnesses=(first,)), replace(trust, auditor_keys=(b"\x0a" * 32,))))
    assert f"<code>{first.to_text()}</code> cosigned" in page
    assert f"<code>{second.to_text()}</code> no valid cosignature" in page
    assert f"<code>{second.to_text()}</code> 有効な連署なし" in page
    assert page.count("0a" * 32) == 2
    alone = unescape(render(judged, replace(trust, witnesses=(), witness_quorum=0)))
    assert "<dd>none named</dd>" in alone
    assert "whose replays count" not in alone


def test_a_row_and_an_answer_of_sums_are_told_apart(with_sums: SeasonLedger, tmp_path: Path) -> None:
    """Each campaign says what a student's row loses by, and under which assumptions."""
    (tmp_path / "trust.toml").write_text(with_sums.trust_text())
    trust = load_trust(tmp_path / "trust.toml")
    page = unescape(render(verify_bundle(with_sums.write(tmp_path / "bundle"), trust), trust))
    for one, other in (
        ("ε of one training row", "ε of a row by one answer of sums"),
        ("一つの訓練行のε", "一回の封緘集計の回答による行のε"),
    ):
        assert page.count(f"<dt>{one}</dt>") == page.count(f"<dt>{other}</dt>") == 1
        assert page.index(one) < page.index(other)
    assert "weights -32 and 64; no row is released; replacing one student's row" in page
    assert "of norm at most 2.5, scale 512; replacing one student's row" in page


def test_an_unbounded_epsilon_is_no_number(verdict: Verdict, trust: Trust) -> None:
    """Infinity is called what it is, in table and chart, and leads the list."""
    worst = replace(verdict.rounds[-1], epsilon=inf, epsilon_rdp=inf, epsilon_closed_form=inf, reserved=inf)
    page = render(replace(verdict, rounds=(*verdict.rounds[:-1], worst)), trust)
    assert "no bound of 1" in page
    assert "上限なし / 1" in page
    assert not re.search(r"\binf\b", page)


@pytest.mark.parametrize("name", ["empty", *(item.name for item in SAMPLES)])
def test_there_is_a_report_on_whatever_was_handed_in(name: str, tmp_path: Path) -> None:
    """Of each sample, and of an empty directory: well formed, and with every code that was found."""
    trust = load_trust(DIRECTORY / TRUST_FILE)
    (tmp_path / "empty").mkdir()
    judged = verify_bundle(tmp_path / name if name == "empty" else DIRECTORY / name, trust)
    page = render(judged, trust)
    assert Elements(page).tags.count("main") == 2
    assert all(f"id='en-{found.code}'" in page for found in judged.findings)


def test_the_same_verdict_gives_the_same_bytes(verdict: Verdict, trust: Trust) -> None:
    """No clock, no machine, no order of a set is in the file."""
    assert render(verdict, trust) == render(verdict, trust)


# What it never does.


def test_the_page_needs_nothing_and_runs_nothing(verdict: Verdict, trust: Trust) -> None:
    """No script, handler, form, frame or address; the policy allows one style sheet, by its hash."""
    page = render(_found(verdict, Code.CHECKPOINT_ROOT), trust)
    elements = Elements(page)
    assert not {"script", "iframe", "object", "form", "img", "base", "style="} & set(elements.tags)
    assert not [name for name, _ in elements.attributes if name.startswith("on") or name == "style"]
    targets = {value for name, value in elements.attributes if name in ("href", "src", "action")}
    assert all(value.startswith("#") or value == "data:," for value in targets)
    assert "http" not in page.replace("http-equiv", "")
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    [policy] = [value for name, value in elements.attributes if "default-src" in value and name == "content"]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert len(set(elements.identifiers)) == len(elements.identifiers)
    places = {value.removeprefix("#") for value in targets if value.startswith("#")}
    assert places <= set(elements.identifiers)


def test_hostile_text_stays_text(verdict: Verdict, trust: Trust, browser: Chromium, tmp_path: Path) -> None:
    """Markup in messages, evidence and names is shown as text, without characters that turn it round."""
    company = replace(verdict.rounds[0], company=HOSTILE)
    broken = replace(verdict, rounds=(*verdict.rounds, company))
    for code in (Code.CHECKPOINT_ROOT, Code.MODELS_DIFFER):
        broken = _found(broken, code, HOSTILE, **{HOSTILE: HOSTILE, "many": [HOSTILE] * 1000})
    page = render(broken, trust)
    assert not {"img", "script"} & set(Elements(page).tags)
    assert "\u202e" not in page
    assert "\x00" not in page
    assert page.count("<style") == 1
    assert page.count("onerror") < 300  # of some 4,000: long texts are cut
    write_html(broken, trust, tmp_path / "hostile.html")
    browser.open((tmp_path / "hostile.html").as_uri())
    assert browser.evaluate("document.querySelectorAll('img, script').length") == 0
    assert browser.complaints() == []


def test_a_thousand_companies_stay_readable(verdict: Verdict, trust: Trust) -> None:
    """Below 3 MB; twelve lines, the worst first, are on the screen, the others folded and all there."""
    names = [f"company-{number:04d}" for number in range(1500)]
    rounds = tuple(
        replace(verdict.rounds[0], company=name, campaign=campaign)
        for campaign in ("autumn", "spring")
        for name in names
    )
    findings = tuple(
        Finding(code, "message " * 30, place, {"company": names[-1], "campaign": "autumn", "text": "a" * 64})
        for code in Code
        if code is not Code.CHECKPOINT_ROOT
        for place in range(100)
    )
    page = render(replace(verdict, rounds=rounds, findings=findings), trust)
    assert len(page.encode()) < 3_000_000
    first = page[page.index("Companies, worst first</caption>") :].partition("</table>")[0]
    assert first.count("<tr>") == 13
    assert re.findall("scope='row'>(.*?)<", first)[0] == names[-1]
    assert all(f"<th scope='row'>{name}</th>" in page for name in names)
    assert "noren-audit verify --json lists all" in page


# How it looks.


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(scheme: str) -> None:
    """WCAG AA: at least 4.5 to 1 for all pairs of colours that text is set in, on screen and on paper."""
    blocks = re.findall(r":root \{(.*?)\}", STYLE.read_text(encoding="utf-8"), re.DOTALL)
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", blocks[0]))
    if scheme == "dark":
        colours |= dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", blocks[1]))
    pairs = [
        (ink, ground) for ink in ("ink", "muted", "main", "good", "bad") for ground in ("ground", "sheet")
    ]
    pairs += [("limit", "sheet"), ("good", "good-ground"), ("bad", "bad-ground")]
    for ink, ground in pairs:
        light, dark = sorted((_luminance(colours[ink]), _luminance(colours[ground])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, ground)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", ["honest", "overspent", "altered-entry"])
def test_axe_finds_nothing_and_nothing_leaves(
    name: str, language: str, scheme: str, browser: Chromium, sample: Callable[[str], str]
) -> None:
    """No violation of any rule with everything unfolded; one request, for the file; no complaint."""
    address = f"{sample(name)}#{language}"
    browser.show(scheme=scheme)
    browser.open(address)
    browser.evaluate("document.querySelectorAll('details').forEach(item => { item.open = true })")
    assert axe.violations(browser) == []
    assert browser.requested() == [address.partition("#")[0]]
    assert browser.complaints() == []


def test_languages_are_switched_by_links_alone(
    verdict: Verdict, trust: Trust, browser: Chromium, tmp_path: Path
) -> None:
    """English first; the link at the top shows Japanese only; a link within it stays in it; and back."""
    write_html(_found(verdict, Code.EPSILON_EXCEEDED), trust, tmp_path / "report.html")
    shown = "[...document.querySelectorAll('main')].filter(item => item.offsetHeight).map(item => item.lang)"
    browser.show()
    browser.open((tmp_path / "report.html").as_uri())
    assert browser.evaluate(shown) == ["en"]
    for link, language in (
        ("#ja", "ja"),
        ("#ja-EPSILON_EXCEEDED", "ja"),
        ("#ja-glossary", "ja"),
        ("#en", "en"),
        ("#en-statistics", "en"),
    ):
        browser.click(f'a[href="{link}"]')
        assert browser.evaluate(shown) == [language], link


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_prints_on_a_few_pages(language: str, browser: Chromium, sample: Callable[[str], str]) -> None:
    """A4, from 3 to 9 pages for a small season: the language that is shown and not the other, figures too."""
    browser.show(media="")
    browser.open(f"{sample('overspent')}#{language}")
    pages = re.findall(rb"/MediaBox\s*\[\s*0 0 ([0-9.]+) ([0-9.]+)\]", browser.pdf())
    assert 3 <= len(pages) <= 9
    assert {(round(float(width)), round(float(height))) for width, height in pages} == {(595, 842)}


@pytest.mark.parametrize("width", [360, 768])
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_narrow_window_does_not_scroll_sideways(
    language: str, width: int, browser: Chromium, sample: Callable[[str], str]
) -> None:
    """Wide tables scroll within themselves."""
    browser.show(width=width)
    browser.open(f"{sample('overspent')}#{language}")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width


# How it is asked for.


@pytest.mark.parametrize(("name", "exit_code"), [("honest", 0), ("overspent", 9)])
def test_verify_writes_it_beside_its_answer(
    name: str, exit_code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--html writes the file, says the same on the terminal, and changes no exit code."""
    bundle, trust, file = DIRECTORY / name, DIRECTORY / TRUST_FILE, tmp_path / "report.html"
    assert main(["verify", str(bundle), "--trust", str(trust), "--html", str(file)]) == exit_code
    said = capsys.readouterr().out
    assert main(["verify", str(bundle), "--trust", str(trust)]) == exit_code
    assert capsys.readouterr().out == said
    word = "VERIFIED" if exit_code == 0 else "NOT VERIFIED"
    assert f"<title>{word}: noren.example/ledger</title>" in file.read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == [file]


def test_a_place_that_does_not_exist_is_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Found before the ledger is read, not after a minute of verifying."""
    file = str(tmp_path / "no" / "report.html")
    assert main(["verify", str(DIRECTORY / "honest"), "--trust", "no-trust-file", "--html", file]) == 2
    assert "directory that exists" in capsys.readouterr().err
