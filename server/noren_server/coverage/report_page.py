"""The public part of a coverage report as one HTML file, in English and Japanese.

Self-contained: no script, no request; what comes from a snapshot is escaped. Every figure stands in a table;
the bars beside them say nothing more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from noren_core.rights.coverage.classes import CoverageClass
from noren_core.rights.coverage.small_cells import TOTAL

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_BAR_WIDTH, _BAR_HEIGHT = 320, 14
_STYLE = """
body{font:16px/1.6 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
body{color:#1a1a1a;background:#fff}
table{border-collapse:collapse;margin:1rem 0;display:block;overflow-x:auto}
th,td{border:1px solid #767676;padding:.3rem .6rem;text-align:left}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
caption{text-align:left;font-weight:600;padding:.3rem 0}
.verdict{font-size:1.3rem;font-weight:700}
code{overflow-wrap:anywhere}
rect{fill:#30507a}
"""
_CLASSES = {
    CoverageClass.VALID: ("valid consent", "有効な同意あり"),
    CoverageClass.SCREEN_DEFECT: ("agreed on a defective screen", "不備のある画面での同意"),
    CoverageClass.REEXPOSED_NO_ANSWER: ("saw the version in force, no answer", "現行版を見たが未回答"),
    CoverageClass.NEVER_REEXPOSED: ("knows only an old version", "旧版のみ、その後の表示なし"),
    CoverageClass.STALE_SCREEN: ("was shown a stale screen", "変更後も旧版の画面を表示"),
    CoverageClass.NO_EVENT: ("came another way, no event", "別経路、記録なし"),
    CoverageClass.WRONG_SCOPE: ("consent for something else", "対象の異なる同意"),
    CoverageClass.ENDED: ("refused, withdrawn or expired", "拒否・撤回・期限切れ"),
    CoverageClass.UNKNOWN: ("cannot be judged", "判定不能"),
}
_WORDS = {
    "title": ("Coverage of processing by consent", "同意による処理の網羅性"),
    "clear": ("CLEAR: processing may begin", "可：処理を開始できる"),
    "blocked": ("BLOCKED: processing must not begin", "不可：処理を開始してはならない"),
    "reasons": ("Reasons", "理由"),
    "as_of": ("As of", "基準日時"),
    "without": ("Students without valid consent", "有効な同意のない学生"),
    "would": ("Uses without valid consent", "有効な同意のない利用"),
    "did": ("Provided without valid consent", "有効な同意なく提供済み"),
    "classes": ("Everybody who would be processed, by class", "処理対象者の区分"),
    "class": ("Class", "区分"),
    "meaning": ("Meaning", "意味"),
    "uses": ("Uses", "件数"),
    "journeys": ("Ways to scoring without a verified consent screen", "確認済み同意画面を通らない経路"),
    "path": ("Way", "経路"),
    "users": ("Users, at most", "利用者（最大）"),
    "controls": ("Synthetic accounts", "検証用アカウント"),
    "planted": ("planted", "設置数"),
    "processed": ("processed", "処理数"),
    "recognised": ("recognised", "識別数"),
    "transitions": ("Material policy changes", "重要な方針変更"),
    "policy": ("Policy", "方針"),
    "purpose": ("Purpose", "目的"),
    "holders": ("held an older version", "旧版の同意者"),
    "reshown": ("shown again", "再表示"),
    "never_reshown": ("never shown again", "再表示なし"),
    "days_since": ("days since", "経過日数"),
    "recipients": ("Companies", "企業"),
    "contracted": ("under contract", "契約"),
    "received": ("received data", "提供を受けた"),
    "company": ("Company", "企業"),
    "phase": ("Phase", "段階"),
    "route": ("Route", "経路"),
    "month": ("Month of registration", "登録月"),
    "by": ("Classes by", "区分内訳："),
    "report": ("SHA-256 of the exact report", "完全版のSHA-256"),
    "hidden": (
        "Counts of 1 to 9, and those from which they would follow, are shown as <10.",
        "1〜9 の件数と、そこから逆算できる件数は <10 と表示する。",
    ),
    "none": ("none", "なし"),
}


def report_page(public: Mapping[str, Any]) -> str:
    """The page of these public figures (`public_report.public_figures`)."""
    parts = [_language(public, place, code) for place, code in enumerate(("en", "ja"))]
    head = (
        f"<meta charset='utf-8'><meta http-equiv='Content-Security-Policy' content=\"{_POLICY}\">"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>{escape(_WORDS['title'][0])}: {escape(public['campaign'])}</title><style>{_STYLE}</style>"
    )
    return f"<!doctype html>\n<html lang='en'><head>{head}</head><body>\n{''.join(parts)}</body></html>\n"


def _language(public: Mapping[str, Any], place: int, code: str) -> str:
    def word(name: str) -> str:
        return _WORDS[name][place]

    time = datetime.fromtimestamp(public["as_of"], tz=UTC).strftime("%Y-%m-%d %H:%M UTC")
    reasons = ", ".join(public["reasons"]) or word("none")
    figures = [
        (word("as_of"), time),
        (word("reasons"), reasons),
        (word("without"), public["students_without_valid"]),
        (word("would"), public["would_process_without_valid"]),
        (word("did"), public["did_process_without_valid"]),
        (word("report"), public["report_sha256"]),
    ]
    body = [
        f"<h1>{escape(word('title'))}: {escape(public['campaign'])}</h1>",
        f"<p class='verdict'>{escape(word(public['verdict']))}</p>",
        _table("", ("", ""), figures, words=2),
        f"<p>{escape(word('hidden'))}</p>",
        _classes(public["classes"], word, place),
        _named_table(word, "journeys", ("path", "users"), _ways(public), words=1),
        _named_table(
            word,
            "transitions",
            ("policy", "purpose", "holders", "reshown", "never_reshown", "days_since"),
            public["transitions"],
            words=2,
        ),
        _named_table(
            word, "controls", ("class", "planted", "processed", "recognised"), public["controls"], words=1
        ),
        _named_table(word, "recipients", ("contracted", "received"), [public["recipients"]], words=0),
        *(_breakdown(name, rows, word) for name, rows in public["breakdowns"].items()),
    ]
    return f"<section lang='{code}'>{''.join(body)}</section>\n"


def _ways(public: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{**way, "path": " → ".join(way["path"])} for way in public["journeys"]["undominated"]]


def _classes(classes: Mapping[str, Any], word: Any, place: int) -> str:
    counts = {name: classes.get(name.value, 0) for name in CoverageClass}
    most = max((count for count in counts.values() if isinstance(count, int)), default=0)
    rows = [(name.value, _CLASSES[name][place], count, _bar(count, most)) for name, count in counts.items()]
    return _table(
        word("classes"), (word("class"), word("meaning"), word("uses"), ""), rows, words=2, markup=True
    )


def _breakdown(name: str, rows: Mapping[str, Mapping[str, Any]], word: Any) -> str:
    columns = (word(name), *(item.value for item in CoverageClass), TOTAL)
    cells = [(row, *(counts[column] for column in columns[1:])) for row, counts in rows.items()]
    return _table(f"{word('by')} {word(name)}", columns, cells, words=1)


def _named_table(
    word: Any, caption: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]], *, words: int
) -> str:
    cells = [[row[column] for column in columns] for row in rows]
    if not cells:
        cells = [[word("none"), *[""] * (len(columns) - 1)]]
    return _table(word(caption), [word(column) for column in columns], cells, words=words)


def _table(
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    words: int,
    markup: bool = False,
) -> str:
    """A table whose first `words` columns are words; with `markup`, the last one is HTML of our own."""

    def cell(number: int, value: Any) -> str:
        kind = " class='n'" if number >= words and isinstance(value, int) else ""
        shown = value if markup and number == len(columns) - 1 else escape(str(value))
        return f"<td{kind}>{shown}</td>"

    head = "".join(f"<th scope='col'>{escape(column)}</th>" for column in columns) if any(columns) else ""
    lines = "".join(
        f"<tr>{''.join(cell(number, value) for number, value in enumerate(row))}</tr>" for row in rows
    )
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"


def _bar(count: Any, most: int) -> str:
    """A bar for a number that is shown; none for one that is hidden."""
    if not isinstance(count, int) or not count:
        return ""
    width = max(1, count * _BAR_WIDTH // most)
    return (
        f"<svg width='{_BAR_WIDTH}' height='{_BAR_HEIGHT}' aria-hidden='true'>"
        f"<rect width='{width}' height='{_BAR_HEIGHT}'/></svg>"
    )
