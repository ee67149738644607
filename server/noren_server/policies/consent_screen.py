"""The consent screen: one company, one position, one form for each purpose, nothing else.

docs/rights/policies-and-screens.md §3. Promises: every clause that the purposes need stands in an element of
its own, in the words of the policy; giving, refusing and answering later are three equal buttons; nothing is
ticked beforehand. The page runs no script, loads nothing, and shows the same words at every width. Where a
browser is to sign on it (`Signing`), it loads its style sheet and one script from its own site instead of
stating them, and shows exactly the same.

Refuses purposes that the policy does not have, or that no route of it asks for together.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import resources

from noren_core import __version__
from noren_core.errors import DataError
from noren_core.rights.clauses import Clause
from noren_core.rights.locales import Locale
from noren_core.rights.notices.notice_texts import (
    NoticeFacts,
    notice_clauses,
    notice_purpose,
    required_clauses,
)
from noren_core.rights.notices.policy import PolicyVersion, Route
from noren_core.rights.notices.screen import Choice, ExpectedScreen
from noren_core.rights.purposes import Purpose

BUILD = f"noren-{__version__}".replace(".", "-").replace("+", "-").lower()
VARIANT = "standard"

_CSS = resources.files("noren_server.policies").joinpath("consent_screen.css").read_text(encoding="utf-8")
_CSS_HASH = base64.b64encode(hashlib.sha256(_CSS.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'sha256-{_CSS_HASH}'; form-action 'self'; base-uri 'none'"

_STATED = f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">\n<style>{_CSS}</style>'

HEADERS: Mapping[str, str] = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": f"{_POLICY}; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""What the page must be served with, unless it is one to sign on: that has the headers of its site."""


STYLESHEET_PATH = "/consent/screen.css"
SCRIPT_PATH = "/static/site/consent_page.js"
"""Where a site of ours has what a page to sign on loads: `stylesheet()`, and the script that signs."""

_LOADED = (
    f'<link rel="stylesheet" href="{STYLESHEET_PATH}">\n<script type="module" src="{SCRIPT_PATH}"></script>'
)


@dataclass(frozen=True, slots=True)
class Signing:
    """What a page has besides, where a browser is to sign on it; nothing of it is shown.

    Attributes:
        fields: hidden ones, by purpose: what the script puts in the event, and what the form sends back.
    """

    fields: Mapping[Purpose, Mapping[str, str]] = field(repr=False)


def render_consent_screen(
    policy: PolicyVersion,
    facts: NoticeFacts,
    locale: Locale,
    purposes: Sequence[Purpose],
    *,
    signing: Signing | None = None,
) -> str:
    """The page that asks for a consent to each of `purposes`, for the company and position of `facts`.

    Its forms post `purpose` and one of the actions give, refuse and later to the address `answer` beside it.
    With `signing` it is the same page for a browser that signs: its text, and so its hash, do not differ.

    Raises:
        DataError: with code PURPOSE_UNKNOWN, if no route of the policy asks for exactly these purposes.
    """
    route = _route_of(policy, purposes)
    words, clauses = _WORDS[locale], notice_clauses(policy, facts, locale)
    shown = sorted(required_clauses(route.purposes))
    version = words["version"].format(policy=policy.policy, season=policy.season)
    title = words["title"].format(company=facts.values[locale]["company_name"])
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(words['lead'])}</p>",
        f"<h2>{escape(words['notice'])}</h2>",
        *(_clause(clause, clauses[clause], locale) for clause in shown),
        f"<h2>{escape(words['question'])}</h2>",
        f"<p>{escape(words['signs'])}</p>",
        *(_form(policy, facts, locale, purpose, signing) for purpose in route.purposes),
        f"<footer><p>{escape(version)}</p></footer>",
    ]
    stated = {
        "policy": policy.policy,
        "company": facts.company,
        "position": facts.position,
        "route": route.route,
        "build": BUILD,
        "variant": VARIANT,
    }
    place = "".join(f' data-{name}="{escape(value)}"' for name, value in stated.items())
    return (
        f'<!doctype html>\n<html lang="{locale.value}"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n{_STATED if signing is None else _LOADED}</head>\n"
        f"<body><main{place}>\n" + "\n".join(body) + "\n</main></body></html>\n"
    )


def screen_path(policy: str, company: str, position: str, route: str, locale: Locale) -> str:
    """Where a service of ours serves a screen; its forms post to `answer` beside it."""
    return f"/consent/{policy}/{company}/{position}/{route}/{locale.value}"


def stylesheet() -> str:
    """The one style sheet of our pages; their content-security policy names its hash."""
    return _CSS


def expected_screen(
    policy: PolicyVersion, facts: NoticeFacts, locale: Locale, route: Route
) -> ExpectedScreen:
    """What a screen of this route must say, whoever renders it."""
    return ExpectedScreen(
        clauses=notice_clauses(policy, facts, locale),
        required=required_clauses(route.purposes),
        purposes={purpose: notice_purpose(policy, facts, locale, purpose) for purpose in route.purposes},
    )


def _route_of(policy: PolicyVersion, purposes: Sequence[Purpose]) -> Route:
    for route in policy.routes.values():
        if list(route.purposes) == sorted(set(purposes)):
            return route
    raise DataError(
        "consent screen: expected purposes that a route of the policy asks for, got others",
        code="PURPOSE_UNKNOWN",
    )


def _clause(clause: Clause, text: str, locale: Locale) -> str:
    heading = f"<h3>{escape(_HEADINGS[locale][clause])}</h3>"
    return f'<section>{heading}<p data-clause="{clause.value}">{escape(text)}</p></section>'


def _form(
    policy: PolicyVersion, facts: NoticeFacts, locale: Locale, purpose: Purpose, signing: Signing | None
) -> str:
    words, text = _WORDS[locale], notice_purpose(policy, facts, locale, purpose)
    hidden = {"purpose": purpose.value, **({} if signing is None else signing.fields[purpose])}
    fields = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in hidden.items()
    )
    buttons = "".join(
        f'<button type="submit" name="action" value="{choice.value}">{escape(words[choice.value])}</button>'
        for choice in Choice
    )
    return (
        f'<form method="post" action="answer" data-purpose="{purpose.value}">'
        f"<h3>{escape(_PURPOSES[locale][purpose])}</h3>"
        f"<p data-purpose-text>{escape(text)}</p>"
        f"{fields}"
        f'<div class="choices">{buttons}</div>'
        f'<p class="note">{escape(words["free"])}</p></form>'
    )


_WORDS: Mapping[Locale, Mapping[str, str]] = {
    Locale.JA: {
        "title": "{company}へのデータ提供についての確認",
        "lead": "目的ごとに、同意するかどうかを選んでください。答えなくても応募はそのまま続けられます。",
        "notice": "説明",
        "question": "あなたの選択",
        "signs": (
            "「同意する」を選ぶと、あなたの端末だけにある鍵で署名します。そのためにはブラウザーのJavaScriptが必要です。"
            "「同意しない」と「後で決める」には必要ありません。"
        ),
        "give": "同意する",
        "refuse": "同意しない",
        "later": "後で決める",
        "free": "どれを選んでも、選考と応募には影響しません。",
        "version": "ポリシー {policy}、採用シーズン {season}",
    },
    Locale.EN: {
        "title": "Providing data to {company}: your choice",
        "lead": "Please choose for each purpose. You can go on with your application without answering.",
        "notice": "What you should know",
        "question": "Your choice",
        "signs": (
            "“I agree” is signed with a key that only your device has; for that your browser must allow "
            "JavaScript. “I do not agree” and “Decide later” need none."
        ),
        "give": "I agree",
        "refuse": "I do not agree",
        "later": "Decide later",
        "free": "None of these changes anything in selection or in your application.",
        "version": "Policy {policy}, season {season}",
    },
}

_PURPOSES: Mapping[Locale, Mapping[Purpose, str]] = {
    Locale.JA: {
        Purpose.LINK: "応募との照合",
        Purpose.TRAIN: "モデルの学習",
        Purpose.SCORE: "内定後の推定",
        Purpose.EVALUATE: "モデルの評価",
        Purpose.FAIRNESS: "公平性の監査",
    },
    Locale.EN: {
        Purpose.LINK: "Linking with your application",
        Purpose.TRAIN: "Training a model",
        Purpose.SCORE: "An estimate after an offer",
        Purpose.EVALUATE: "Testing a model",
        Purpose.FAIRNESS: "An audit of fairness",
    },
}

_HEADINGS: Mapping[Locale, Mapping[Clause, str]] = {
    Locale.JA: {
        Clause.PLATFORM_IDENTITY: "サイトの運営者",
        Clause.COMPANY_IDENTITY: "相手の会社",
        Clause.DATA_AND_SOURCES: "使うデータ",
        Clause.BEHAVIOUR_ANALYSIS: "行動の分析",
        Clause.BAND_ABOUT_YOU: "会社が見るもの",
        Clause.ONLY_AFTER_OFFER: "内定の後だけ",
        Clause.NO_SELECTION_USE: "合否には使わない",
        Clause.REFUSAL_IS_FREE: "断る自由",
        Clause.WITHDRAWAL: "撤回",
        Clause.RETENTION: "保存期間",
        Clause.RIGHTS: "あなたの権利",
        Clause.THIRD_PARTY_PROVISION: "第三者への提供",
        Clause.PRIVACY_BUDGET: "プライバシーの上限",
        Clause.PLACE: "場所",
        Clause.CONTACT: "連絡先",
    },
    Locale.EN: {
        Clause.PLATFORM_IDENTITY: "Who asks",
        Clause.COMPANY_IDENTITY: "Which company",
        Clause.DATA_AND_SOURCES: "Which data",
        Clause.BEHAVIOUR_ANALYSIS: "Analysis of behaviour",
        Clause.BAND_ABOUT_YOU: "What the company sees",
        Clause.ONLY_AFTER_OFFER: "Only after an offer",
        Clause.NO_SELECTION_USE: "Never for selection",
        Clause.REFUSAL_IS_FREE: "You are free to refuse",
        Clause.WITHDRAWAL: "Withdrawing",
        Clause.RETENTION: "How long",
        Clause.RIGHTS: "Your rights",
        Clause.THIRD_PARTY_PROVISION: "Provision to a third party",
        Clause.PRIVACY_BUDGET: "Limit of what can be learnt",
        Clause.PLACE: "Place",
        Clause.CONTACT: "Contact",
    },
}
