"""A verdict as one HTML file: for a lawyer on the first screen, for a statistician below, twice.

The file needs nothing but itself. Its content-security policy allows one style sheet, by its hash, and
nothing else: no script, no request, no form. It holds the report in English and in Japanese; the links at
the top switch between them by the style sheet alone (`file.html#ja` opens the Japanese one), and a browser
that cannot switch shows both. The same verdict always gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path

from noren_audit.html import findings_page, statistics_page
from noren_audit.html.charts import meter
from noren_audit.html.elements import (
    Cell,
    Markup,
    code,
    folded,
    items,
    paragraph,
    section,
    table,
    terms,
    text,
)
from noren_audit.html.facts import CompanyLine, Curve, Status, company_lines, spending_curves
from noren_audit.html.glossary import glossary
from noren_audit.html.words import JAPANESE, Language, Say, say_in
from noren_audit.verification.budget import rounded_up
from noren_audit.verification.trust import Trust
from noren_audit.verification.verify import NOT_CHECKED, Verdict
from noren_audit.witness.durable_file import replace_file

_MOST_LINES = 12
_STATUS_KIND = {Status.QUIET: "", Status.VERIFIED: "good"}


def write_html(verdict: Verdict, trust: Trust, path: Path) -> None:
    """Write the report; the file appears whole or not at all, readable by our own account only.

    Raises:
        OSError: if it cannot be written.
    """
    replace_file(path, render(verdict, trust).encode())


def render(verdict: Verdict, trust: Trust) -> str:
    """The whole file as text."""
    style = files("noren_audit.html").joinpath("report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    lines, curves = company_lines(verdict), spending_curves(verdict.campaigns)
    reports = "".join(_report(verdict, trust, lines, curves, language) for language in Language)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f'<link rel="icon" href="data:,">\n<title>{verdict.word}: {text(trust.origin)}</title>\n'
        f"<style>{style}</style>\n</head>\n<body>\n<header class='languages'><nav aria-label='Language, "
        "言語'><a href='#en' lang='en'>English</a><a href='#ja' "
        f"lang='ja'>日本語</a></nav></header>\n{reports}</body>\n</html>\n"
    )


def _report(
    verdict: Verdict,
    trust: Trust,
    lines: Sequence[CompanyLine],
    curves: dict[str, list[Curve]],
    language: Language,
) -> str:
    """The report in one language; its identifiers begin with the language's tag."""
    say = say_in(language)
    parts = [
        _headline(verdict, trust, lines, say, language),
        _companies(lines, say, language),
        findings_page.findings(verdict, say, language),
        _not_checked(say, language),
        _checkpoint(verdict, trust, say, language),
        _signature(verdict, say, language),
        statistics_page.part(verdict, curves, say, language),
        glossary(say, language),
    ]
    return f"<main id='{language}' lang='{language}'>\n{''.join(part for part in parts if part)}</main>\n"


def _headline(
    verdict: Verdict, trust: Trust, lines: Sequence[CompanyLine], say: Say, language: Language
) -> str:
    kind = "good" if verdict.is_verified else "bad"
    word = say(verdict.word, "検証済み（VERIFIED）" if verdict.is_verified else "検証不成立（NOT VERIFIED）")
    sign = "✓" if verdict.is_verified else "✕"
    eyebrow = paragraph(f"{say('Noren audit report', 'Noren 監査報告書')} · {trust.origin}", "eyebrow")
    heading = f"<h1 class='verdict {kind}'><span aria-hidden='true'>{sign}</span> {text(word)}</h1>"
    meaning, reasons = (
        paragraph(_meaning(verdict, say), "lead"),
        findings_page.reasons(verdict, say, language),
    )
    facts, contents = _key_facts(verdict, lines, say), _contents(verdict, say, language)
    return f"{eyebrow}{heading}{meaning}{reasons}{facts}{contents}"


def _meaning(verdict: Verdict, say: Say) -> str:
    if verdict.is_verified:
        return say(
            "Every statement in this ledger is signed by the party it names, in an order that cannot be "
            "changed afterwards, and together they follow the plans that the companies accepted. The "
            "privacy loss computed from them stays within every agreed limit. This is about what the "
            "parties signed. What it does not show is listed below and is part of this verdict.",
            "この台帳の記録はすべて名義人の署名があり、後から順序を変えることはできず、"
            "全体として参加企業が承諾した計画に従っています。記録から計算したプライバシー損失は、"
            "合意されたすべての上限内に収まっています。これは当事者が署名した内容についての判定です。"
            "この判定で示せないことは下に列挙しており、判定の一部をなします。",
        )
    return say(
        "At least one thing in this ledger is not as agreed, or not provable. Each is listed below with "
        "its place and its evidence. Do not rely on this ledger as proof until each is explained and a "
        "new bundle verifies. This verdict does not say who is at fault, nor that anybody came to harm.",
        "この台帳には、合意と異なる点、または証明できない点が少なくとも一つあります。"
        "それぞれの箇所と証拠を下に示します。すべてが説明され、新しい台帳一式が検証されるまで、"
        "この台帳を証拠として用いないでください。この判定は、誰に責任があるか、"
        "また被害が生じたかを述べるものではありません。",
    )


def _key_facts(verdict: Verdict, lines: Sequence[CompanyLine], say: Say) -> str:
    worst = max((line for line in lines if line.worst), key=lambda line: line.share, default=None)
    facts: list[tuple[str, Cell]] = [
        (say("Companies", "企業"), f"{len(lines):,}"),
        (say("Campaigns", "キャンペーン"), f"{len(verdict.campaigns):,}"),
        (say("Entries", "記録"), f"{verdict.entries:,}"),
        (say("Findings", "指摘"), f"{len(verdict.findings):,}"),
    ]
    if worst is not None and worst.worst is not None:
        used = _used(worst.worst.epsilon, worst.worst.limit, say)
        facts.append((say("Largest privacy loss (ε)", "最大のプライバシー損失（ε）"), used))
    return terms(facts, "facts")


def _contents(verdict: Verdict, say: Say, language: Language) -> str:
    places = [
        ("companies", say("Company by company", "企業ごとの結果")),
        *([] if verdict.is_verified else [("findings", say("Findings", "指摘事項"))]),
        ("not-checked", say("What was not checked", "確認していないこと")),
        ("checkpoint", say("Compare by phone", "電話での照合")),
        ("signature", say("Signature", "署名欄")),
        ("statistics", say("For the statistician", "統計の専門家へ")),
        ("glossary", say("Glossary", "用語")),
    ]
    links = items(Markup(f"<a href='#{language}-{place}'>{text(name)}</a>") for place, name in places)
    return f"<nav class='contents' aria-label='{text(say('Contents', '目次'))}'>{links}</nav>\n"


def _companies(lines: Sequence[CompanyLine], say: Say, language: Language) -> str:
    title = say("Company by company", "企業ごとの結果")
    explained = say(
        "ε (epsilon) bounds what the trained result can reveal about one person's record: whatever somebody "
        "believed about her before, the odds change by a factor of at most e^ε (2.7 at ε = 1), apart from "
        "rare events of probability δ. 0 reveals nothing; smaller is better. Shown is the campaign that "
        "used most of its limit.",
        "ε（イプシロン）は、訓練結果から一個人の記録について知りうることの上限です。"
        "事前に何を推測していても、そのオッズは、確率 δ のまれな場合を除き、"
        "最大で e^ε 倍（ε = 1 なら約 2.7 倍）しか変わりません。"
        "0 なら何も明かさず、小さいほど安全です。上限に最も近いキャンペーンの値を示します。",
    )
    if not lines:
        return section(
            f"{language}-companies",
            title,
            paragraph(say("No campaign has a valid plan.", "有効な計画のあるキャンペーンはありません。")),
        )
    columns = [
        say("company", "企業"),
        say("status", "状態"),
        say("campaigns", "キャンペーン"),
        say("rounds", "ラウンド"),
        say("replayed", "再計算済み"),
        say("ε of the rounds, and limit", "ラウンドのεと上限"),
    ]
    rows = [_company_row(line, say) for line in lines]
    first, rest = rows[:_MOST_LINES], rows[_MOST_LINES:]
    body = table(say("Companies, worst first", "企業（問題のあるものから）"), columns, first, words=2)
    if rest:
        kinds = Counter(line.status for line in lines[_MOST_LINES:])
        tally = ", ".join(f"{_status_name(status, say)}: {number:,}" for status, number in kinds.items())
        caption = say("The other companies", "その他の企業")
        others = table(caption, columns, rest, words=2)
        body += folded(f"{caption} ({len(rest):,}): {tally}", others, prints=len(rest) <= 100)
    if any(line.status is Status.UNPROVEN for line in lines):
        body += paragraph(
            say(
                "Not established: nothing was found about this company itself, but the ledger as a whole "
                "is not proven, so nothing is proven about this company.",
                "未確認：この企業自体への指摘はありませんが、台帳全体が証明されていないため、"
                "この企業についても何も証明されていません。",
            ),
            "note",
        )
    return section(f"{language}-companies", title, body + paragraph(explained, "note"))


def _company_row(line: CompanyLine, say: Say) -> list[Cell]:
    if line.worst is None:
        spent: Cell = "–"
    else:
        spent = Markup(f"{meter(line.share)}{text(_used(line.worst.epsilon, line.worst.limit, say))}")
    name = _status_name(line.status, say)
    if line.findings:
        name = f"{name}: {line.findings:,}"
    status = Markup(f"<span class='status {_STATUS_KIND.get(line.status, 'bad')}'>{text(name)}</span>")
    replayed = say(f"{line.replayed} of {len(line.campaigns)}", f"{line.replayed} / {len(line.campaigns)}")
    return [line.company, status, f"{len(line.campaigns):,}", f"{line.rounds:,}", replayed, spent]


def _used(epsilon: float, limit: str, say: Say) -> str:
    spent = rounded_up(epsilon)
    spent = say("no bound", "上限なし") if spent == "inf" else spent
    return say(f"{spent} of {limit}", f"{spent} / {limit}")


def _status_name(status: Status, say: Say) -> str:
    match status:
        case Status.FINDINGS:
            return say("findings", "指摘あり")
        case Status.CAMPAIGN:
            return say("finding in a campaign", "キャンペーンに指摘")
        case Status.UNPROVEN:
            return say("not established", "未確認")
        case Status.QUIET:
            return say("did not train", "訓練なし")
        case Status.VERIFIED:
            return say("nothing found", "指摘なし")


def _not_checked(say: Say, language: Language) -> str:
    intro = paragraph(
        say(
            "No ledger can show these. They need other evidence: replay on the company's machine, the "
            "checkpoints of others, an inspection, or the word of somebody you hold to it.",
            "これらはどのような台帳からも示せません。企業の機器上での再計算、他者のチェックポイント、"
            "実地検査、または責任ある者の表明など、別の証拠が必要です。",
        )
    )
    listed = items(say(sentence, JAPANESE.get(sentence, sentence)) for sentence in NOT_CHECKED)
    return section(
        f"{language}-not-checked", say("What was not checked", "確認していないこと"), intro + listed
    )


def _checkpoint(verdict: Verdict, trust: Trust, say: Say, language: Language) -> str:
    title = say("Compare by phone", "電話での照合")
    intro = paragraph(
        say(
            "Whoever shows you this ledger could show others another one. Call a company or a witness by "
            "a number that you did not get from the platform, and compare the three lines. Same size: "
            "the root must be the same, group by group. Other size: ask for the bundle of the larger one "
            "and compare with --seen.",
            "台帳の提示者が、他の者には別の台帳を示している可能性があります。"
            "プラットフォーム以外から得た番号で参加企業または証人に電話し、次の三行を照合してください。"
            "件数が同じなら、根（root）はすべての桁が一致しなければなりません。件数が異なる場合は、"
            "大きい方の台帳一式を取り寄せ、--seen で照合してください。",
        )
    )
    if verdict.checkpoint is None:
        missing = say(
            "There is nothing to compare: no valid checkpoint of the trusted log was found in this bundle.",
            "照合できるものがありません。この一式には、信頼する台帳の有効なチェックポイントがありませんでした。",
        )
        return section(f"{language}-checkpoint", title, paragraph(missing))
    root = verdict.checkpoint.root.hex()
    groups = " ".join(root[place : place + 4] for place in range(0, len(root), 4))
    facts: list[tuple[str, Cell]] = [
        (say("Log", "台帳"), code(verdict.checkpoint.origin)),
        (say("Entries", "件数"), code(str(verdict.checkpoint.size))),
        (say("Root", "根（root）"), Markup(f"<code class='groups'>{text(groups)}</code>")),
    ]
    believed: list[tuple[str, Cell]] = [
        (say("Log key", "台帳鍵"), code(trust.log_key.to_text())),
        (say("Platform key", "プラットフォーム鍵"), code(trust.platform_key.hex())),
        *((name, str(limit)) for name, limit in _own_limits(trust, say)),
        *_witnesses(verdict, trust, say),
        *(
            (say("Auditor whose replays count", "再計算が認められる監査人"), code(key.hex()))
            for key in trust.auditor_keys
        ),
    ]
    trusted = say(
        "What was believed beforehand (the trust file)", "検証の前提として信頼したもの（信頼ファイル）"
    )
    return section(
        f"{language}-checkpoint",
        title,
        intro + terms(facts, "pairs") + f"<h3>{text(trusted)}</h3>" + terms(believed, "pairs"),
    )


def _witnesses(verdict: Verdict, trust: Trust, say: Say) -> Iterable[tuple[str, Cell]]:
    """Whose cosignatures the trust file demands, and who gave them."""
    number, demanded = len(trust.witnesses), trust.witness_quorum
    some = say(f"{demanded} of {number} must have cosigned", f"{number} 者のうち {demanded} 者の連署が必要")
    yield say("Witnesses", "証人"), some if number else say("none named", "指定なし")
    for key in trust.witnesses:
        has_signed = key in verdict.witnesses
        cosigned = (
            say("cosigned", "連署あり") if has_signed else say("no valid cosignature", "有効な連署なし")
        )
        yield say("Witness", "証人"), Markup(f"{code(key.to_text()).html} {text(cosigned)}")


def _own_limits(trust: Trust, say: Say) -> list[tuple[str, str]]:
    limits = (
        (say("Own limit: ε of a record", "監査人の上限：記録のε"), trust.max_epsilon),
        (say("Own limit: ε of a row", "監査人の上限：行のε"), trust.max_row_epsilon),
        (say("Own limit: ε of a person", "監査人の上限：個人のε"), trust.max_person_epsilon),
        (say("Own limit: δ", "監査人の上限：δ"), trust.max_delta),
    )
    return [(name, f"{float(limit):g}") for name, limit in limits if limit is not None]


def _signature(verdict: Verdict, say: Say, language: Language) -> str:
    said = say(
        f"I ran noren-audit over the ledger named above and received the verdict {verdict.word}. I "
        "compared the checkpoint with the parties named here, and I know what was not checked.",
        f"私は上記の台帳に noren-audit を実行し、判定「{verdict.word}」を得ました。"
        "次の当事者とチェックポイントを照合し、確認していない事項を了解しています。",
    )
    fields = [
        say("Compared with", "照合した相手"),
        say("Name", "氏名"),
        say("Place and date", "場所・日付"),
        say("Signature", "署名"),
    ]
    lines = "".join(f"<div><dt>{text(field)}</dt><dd class='blank'></dd></div>" for field in fields)
    return section(
        f"{language}-signature",
        say("Signature", "署名欄"),
        paragraph(said) + f"<dl class='sign'>{lines}</dl>",
    )
