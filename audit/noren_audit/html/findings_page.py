"""What was found: the first reasons for the headline, and all findings with advice, meaning and evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from noren_audit.html.elements import Cell, Markup, code, html, items, paragraph, section, table, terms, text
from noren_audit.html.words import AREAS, MEANINGS, Area, Language, Say
from noren_audit.verification.findings import Code, Finding
from noren_audit.verification.verify import Verdict

_MOST_FINDINGS = 25  # of one code, if few codes are found
_MOST_FINDINGS_IN_ALL = 500


def reasons(verdict: Verdict, say: Say, language: Language) -> str:
    """The first reasons, so that nobody has to look for them."""
    if verdict.is_verified:
        return ""
    codes = _codes_in_order(verdict)
    shown: list[Cell] = [
        Markup(f"<a href='#{language}-{found}'>{text(say(*MEANINGS[found]))}</a> ({_times(number, say)})")
        for found, number in codes[:3]
    ]
    if len(codes) > len(shown):
        shown.append(say(f"further kinds of findings: {len(codes) - 3}", f"ほか {len(codes) - 3} 種類の指摘"))
    return items(shown, "reasons")


def findings(verdict: Verdict, say: Say, language: Language) -> str:
    """Every finding under its family's advice, the most fundamental first; empty if there are none."""
    if verdict.is_verified:
        return ""
    intro = paragraph(
        say(
            "Begin with the first: one false entry can cause further findings that disappear with it. "
            "Entries are counted from 0. The sentences of the verifier are evidence and stay in English.",
            "上から順に確認してください。一つの誤った記録が原因で、他の指摘が連鎖することがあります。"
            "記録の番号は 0 から数えます。検証プログラムの文は証拠のため英語のまま示します。",
        )
    )
    codes = _codes_in_order(verdict)
    areas = {AREAS[found]: None for found, _ in codes}
    most = min(_MOST_FINDINGS, _MOST_FINDINGS_IN_ALL // len(codes))
    body = "".join(_area(area, verdict.findings, most, say, language) for area in areas)
    return section(f"{language}-findings", say("Findings", "指摘事項"), intro + body)


def _area(area: Area, findings: Sequence[Finding], most: int, say: Say, language: Language) -> str:
    advice = area.advice
    by_code: dict[Code, list[Finding]] = {}
    for finding in findings:
        if AREAS[finding.code] is area:
            by_code.setdefault(finding.code, []).append(finding)
    what_to_do = Markup(
        f"<strong>{text(say('What to do: ', 'まず行うこと：'))}</strong>{text(say(*advice.action))}"
    )
    body = paragraph(what_to_do)
    body += "".join(_of_code(found, most, say, language) for found in by_code.values())
    return f"<h3>{text(say(*advice.name))}</h3>{body}"


def _of_code(findings: Sequence[Finding], most: int, say: Say, language: Language) -> str:
    found = findings[0].code
    meaning = f"{text(say(*MEANINGS[found]))} ({_times(len(findings), say)})"
    title = f"<h4 id='{language}-{found}'>{html(code(found))} {meaning}</h4>"
    columns = [say("entry", "記録"), say("what was found", "検証結果"), say("evidence", "証拠")]
    rows = [_finding_row(finding) for finding in findings[:most]]
    shown = table(f"{found}", columns, rows, words=3)
    if len(findings) > len(rows):
        shown += paragraph(
            say(
                f"The first {len(rows)} of {len(findings):,}; noren-audit verify --json lists all.",
                f"全 {len(findings):,} 件のうち最初の {len(rows)} 件。"
                "すべては noren-audit verify --json で出力できます。",
            ),
            "note",
        )
    return title + shown


def _finding_row(finding: Finding) -> list[Cell]:
    evidence = terms(
        (name, code(" ".join(value) if isinstance(value, list) else str(value)))
        for name, value in finding.evidence.items()
    )
    place = "–" if finding.index is None else str(finding.index)
    return [
        place,
        Markup(f"<span lang='en'>{text(finding.message)}</span>"),
        Markup(evidence if finding.evidence else "–"),
    ]


def _codes_in_order(verdict: Verdict) -> list[tuple[Code, int]]:
    """The kinds of findings and how many there are of each; the most fundamental first."""
    order = list(Area)
    counts = Counter(finding.code for finding in verdict.findings)
    return sorted(counts.items(), key=lambda item: order.index(AREAS[item[0]]))


def _times(number: int, say: Say) -> str:
    return say("once" if number == 1 else f"{number:,} times", f"{number:,} 件")
