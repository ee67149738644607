"""The viewer's pages in English and Japanese; every one works without scripts.

Whatever comes from outside is escaped by `html.elements`. Paths begin with the language, so that a page and
its translation are one link apart.
"""

from __future__ import annotations

from dataclasses import dataclass

from noren_audit.html.elements import code, items, paragraph, section, terms, text
from noren_audit.html.words import Language, Say, say_in
from noren_audit.verification.trust import Trust
from noren_audit.viewer.bundle_files import MAX_BUNDLE_BYTES, MAX_UPLOAD_BYTES
from noren_audit.viewer.verification import Outcome, Standing
from noren_core.error_guide import advice
from noren_core.errors import NorenError

CSRF_FIELD = "csrf"
TRUST_FIELD = "trust"
ARCHIVE_FIELD = "archive"
DIRECTORY_FIELD = "directory"


@dataclass(frozen=True, slots=True)
class Frame:
    """What every page needs.

    Attributes:
        language: of the page.
        place: its path after the language, for the link to the translation.
        csrf: the session's token; empty on pages without a form.
    """

    language: Language
    place: str = ""
    csrf: str = ""

    @property
    def say(self) -> Say:
        """The chooser of words."""
        return say_in(self.language)


def start_page(frame: Frame, *, trust: Trust | None, has_outcome: bool) -> str:
    """Where a bundle is handed in; without `trust`, a trust file too."""
    say = frame.say
    lead = paragraph(
        say(
            "The bundle is checked on this machine by the same program as noren-audit verify. Nothing "
            "leaves the machine; what you hand in is removed after the check.",
            "提出された一式は、このマシン上で noren-audit verify と同じプログラムによって検証されます。"
            "外部には何も送信されません。提出された内容は検証後に削除されます。",
        ),
        "lead",
    )
    last = ""
    if has_outcome:
        link = say("The last report", "前回の報告書")
        last = f"<p><a href='/{frame.language}/result'>{text(link)}</a></p>"
    form = (
        f"<form class='drop' method='post' action='/{frame.language}/verify' enctype='multipart/form-data'>"
        f"<input type='hidden' name='{CSRF_FIELD}' value='{text(frame.csrf)}'>"
        f"{_trust_field(trust, say)}{_bundle_fields(say)}"
        f"<p><button type='submit'>{text(say('Verify', '検証する'))}</button></p></form>"
    )
    return _page(frame, say("Verify a ledger", "台帳の検証"), lead + last + form)


def _trust_field(trust: Trust | None, say: Say) -> str:
    title = say("Trust file", "信頼ファイル")
    if trust is None:
        label = say("The trust file (TOML)", "信頼ファイル（TOML）")
        hint = say(
            "Get it from somebody you believe, by another way than the bundle. The verdict is worth no "
            "more than these keys.",
            "一式とは別の経路で、信頼できる相手から受け取ってください。判定の価値はこの鍵の確かさ次第です。",
        )
        field = _file(TRUST_FIELD, label, hint, "accept='.toml,text/plain' required")
        return section("trust", title, field)
    given = say("Given when the viewer was started.", "ビューアの起動時に指定されたものを使用します。")
    facts = terms(
        [
            (say("Log", "台帳"), code(trust.origin)),
            (say("Log key", "台帳鍵"), code(trust.log_key.to_text())),
            (say("Platform key", "プラットフォーム鍵"), code(trust.platform_key.hex())),
        ],
        "pairs",
    )
    return section("trust", title, paragraph(given) + facts)


def _bundle_fields(say: Say) -> str:
    bounds = say(
        f"At most {MAX_UPLOAD_BYTES >> 20} MiB, {MAX_BUNDLE_BYTES >> 20} MiB unpacked.",
        f"最大 {MAX_UPLOAD_BYTES >> 20} MiB（展開後 {MAX_BUNDLE_BYTES >> 20} MiB）です。",
    )
    archive = _file(
        ARCHIVE_FIELD,
        say("A ZIP file of the exported directory", "書き出したディレクトリの ZIP ファイル"),
        say("Choose it, or drop it here.", "選択するか、ここにドロップしてください。") + " " + bounds,
        "accept='.zip,application/zip'",
    )
    directory = _file(
        DIRECTORY_FIELD,
        say("Or the directory itself", "またはディレクトリそのもの"),
        say("The one with checkpoint and tile in it.", "checkpoint と tile が入っているディレクトリです。"),
        "webkitdirectory multiple",
    )
    return section("bundle", say("Bundle", "台帳一式"), archive + directory)


def _file(name: str, label: str, hint: str, attributes: str) -> str:
    return (
        f"<div class='field'><label for='{name}-file'>{text(label)}</label>"
        f"<p class='note' id='{name}-hint'>{text(hint)}</p>"
        f"<input type='file' id='{name}-file' name='{name}' aria-describedby='{name}-hint' {attributes}>"
        "</div>"
    )


def progress_page(frame: Frame, standing: Standing) -> str:
    """How far the verification is; a script asks again, and without scripts a link does."""
    say = frame.say
    title = say("Verifying", "検証中")
    label = say("Entries read", "読み取った記録")
    bar = (
        f"<p><label for='progress'>{text(label)}</label>"
        f"<progress id='progress' max='{standing.in_all or 1}' value='{standing.read}'></progress></p>"
        f"<p id='progress-text' role='status'>{text(progress_sentence(standing, frame.language))}</p>"
    )
    again = say("See how far it is", "進み具合を確認する")
    link = (
        f"<noscript><p><a class='button' href='/{frame.language}/progress'>{text(again)}</a></p></noscript>"
    )
    note = paragraph(
        say(
            "Large ledgers take minutes. You may close this page and come back to it.",
            "大きな台帳では数分かかります。このページを閉じて、後で戻ることもできます。",
        ),
        "note",
    )
    return _page(frame, title, bar + link + note)


def progress_sentence(standing: Standing, language: Language) -> str:
    """The progress in words."""
    say = say_in(language)
    if not standing.in_all:
        return say("Reading the bundle.", "一式を読み取っています。")
    if standing.read < standing.in_all:
        return say(
            f"{standing.read} of {standing.in_all} entries.",
            f"{standing.in_all} 件中 {standing.read} 件を読み取りました。",
        )
    return say(
        f"All {standing.in_all} entries are read; now the privacy spending is computed.",
        f"{standing.in_all} 件すべてを読み取りました。プライバシー消費を計算しています。",
    )


def result_page(frame: Frame, outcome: Outcome) -> str:
    """The verdict, and the ways to its report."""
    say = frame.say
    kind, sign = ("good", "✓") if outcome.is_verified else ("bad", "✕")
    word = say(outcome.word, "検証済み（VERIFIED）" if outcome.is_verified else "検証不成立（NOT VERIFIED）")
    heading = f"<h1 class='verdict {kind}'><span aria-hidden='true'>{sign}</span> {text(word)}</h1>"
    facts = terms(
        [
            (say("Log", "台帳"), code(outcome.origin)),
            (say("Entries", "記録の件数"), str(outcome.entries)),
            (say("Findings", "指摘の件数"), str(outcome.findings)),
        ],
        "pairs",
    )
    ways = (
        f"<p class='ways'><a class='button main' href='/report.html#{frame.language}'>"
        f"{text(say('Read the report', '報告書を読む'))}</a> "
        f"<a class='button' href='/download/report.html'>{text(say('Download it', 'ダウンロードする'))}</a> "
        f"<a class='button' href='/{frame.language}/'>"
        f"{text(say('Verify another bundle', '別の一式を検証する'))}</a></p>"
    )
    notes = [
        say(
            "What VERIFIED does not mean is part of the report. Read it before you sign anything.",
            "「検証済み」が何を意味しないかは報告書に記載されています。署名の前に必ずお読みください。",
        ),
        say(
            "The report is one file in English and Japanese. To print it or save it as PDF, read it and use "
            "the browser's own print command.",
            "報告書は英語と日本語を含む一つのファイルです。印刷や PDF 保存は、報告書を開き、"
            "ブラウザの印刷機能をご利用ください。",
        ),
    ]
    if outcome.left_out:
        notes.append(
            say(
                f"{outcome.left_out} files that an operating system adds (such as .DS_Store) were left out.",
                f"OS が自動的に加えるファイル（.DS_Store など）{outcome.left_out} 件は対象から除きました。",
            )
        )
    return _page(frame, word, facts + ways + items(notes), heading=heading)


def error_page(frame: Frame, error: NorenError, *, may_return: bool = True) -> str:
    """What went wrong, why, and what to do."""
    say = frame.say
    said = advice(error.code, frame.language, exit_code=error.exit_code)
    facts = terms(
        [
            (say("Cause", "原因"), said.cause),
            (say("What to do", "対処"), said.fix),
            (say("Code", "コード"), code(error.code)),
            (say("Explained in", "解説"), code(said.page)),
        ],
        "pairs",
    )
    sentence = f"<p lang='en'>{text(error.message, 600)}</p>"
    back = ""
    if may_return:
        back = f"<p><a class='button' href='/{frame.language}/'>{text(say('Back', '戻る'))}</a></p>"
    title = say("This did not work", "処理できませんでした")
    return _page(frame, title, f"<div class='problem'>{sentence}{facts}</div>{back}")


def _page(frame: Frame, title: str, body: str, *, heading: str = "") -> str:
    other = Language.JA if frame.language is Language.EN else Language.EN
    name = {Language.EN: "English", Language.JA: "日本語"}[other]
    shown = heading or f"<h1>{text(title)}</h1>"
    brand = frame.say("Noren audit viewer", "Noren 監査ビューア")
    return (
        f'<!doctype html>\n<html lang="{frame.language}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)} · {text(brand)}</title>\n"
        '<link rel="icon" href="data:,">\n<link rel="stylesheet" href="/static/viewer.css">\n'
        '<script src="/static/viewer.js" defer></script>\n</head>\n<body>\n'
        f"<header><p class='brand'>{text(brand)}</p>"
        f"<nav aria-label='{text(frame.say('Language', '言語'))}'>"
        f"<a href='/{other}/{frame.place}' lang='{other}' hreflang='{other}'>{name}</a></nav></header>\n"
        f"<main>{shown}{body}</main>\n</body>\n</html>\n"
    )
