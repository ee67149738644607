"""Whether a purpose is said so that a person can foresee what happens: a linter for Japanese and English.

docs/rights/policies-and-screens.md §6. A purpose must say what is done with which data, by whom, and what
comes of it. Promises: a text without one of these, one that could mean anything, and one that leaves the list
open is found, with the reason (PURPOSE_TOO_GENERIC). The rules are lists of words. They find what is missing;
they cannot find what is false, nor a sentence that has every word and says nothing. That is what approvers
are for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from noren_core.errors import DataError
from noren_core.rights.locales import Locale
from noren_core.rights.notices.policy import PolicyVersion


class PurposeFault(StrEnum):
    """What is wrong with a text."""

    GENERIC_PHRASE = "generic-phrase"
    OPEN_ENDED = "open-ended"
    NO_DATA = "no-data"
    NO_ACTION = "no-action"
    NO_ACTOR = "no-actor"
    NO_EFFECT = "no-effect"


@dataclass(frozen=True, slots=True)
class PurposeFinding:
    """One fault of a text, and in a sentence why it is one."""

    fault: PurposeFault
    what: str


@dataclass(frozen=True, slots=True)
class PolicyFinding:
    """One fault of a policy's text, and where it stands."""

    where: str
    what: str


def lint_purpose(text: str, locale: Locale) -> tuple[PurposeFinding, ...]:
    """Every fault of the text of a purpose, with or without placeholders; empty if it has none."""
    missing = [
        PurposeFinding(fault, why)
        for fault, why in _WHY_MISSING.items()
        if not _NEEDED[locale][fault].search(text)
    ]
    return (*lint_wording(text, locale), *missing)


def lint_wording(text: str, locale: Locale) -> tuple[PurposeFinding, ...]:
    """Phrases that could mean anything or leave a list open: faults of any text of a notice."""
    return tuple(
        PurposeFinding(fault, f"“{found.group(0)}” {why}")
        for fault, why in _WHY_PRESENT.items()
        for found in _AVOIDED[locale][fault].finditer(text)
    )


def lint_policy(version: PolicyVersion) -> tuple[PolicyFinding, ...]:
    """Every fault in the purposes of a policy, and in the wording of its clauses."""
    found = [
        PolicyFinding(f"{purpose}, {locale}", finding.what)
        for purpose, terms in version.terms.items()
        for locale, text in terms.text.items()
        for finding in lint_purpose(text, locale)
    ]
    found += [
        PolicyFinding(f"{clause}, {locale}", finding.what)
        for locale, clauses in version.clauses.items()
        for clause, text in clauses.items()
        for finding in lint_wording(text, locale)
    ]
    return tuple(found)


def verify_purpose(text: str, locale: Locale) -> None:
    """Raise DataError, code PURPOSE_TOO_GENERIC, with the first fault of a purpose's text."""
    for finding in lint_purpose(text, locale):
        raise DataError(f"purpose: {finding.what}", code="PURPOSE_TOO_GENERIC")


_WHY_PRESENT: Mapping[PurposeFault, str] = {
    PurposeFault.GENERIC_PHRASE: "could mean anything; say what is done",
    PurposeFault.OPEN_ENDED: "leaves the list open; name everything",
}
_WHY_MISSING: Mapping[PurposeFault, str] = {
    PurposeFault.NO_DATA: "expected the data that is used, got none",
    PurposeFault.NO_ACTION: "expected what is done with the data, got nothing",
    PurposeFault.NO_ACTOR: "expected who does it, got nobody",
    PurposeFault.NO_EFFECT: "expected what comes of it, for whom, got nothing",
}


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_AVOIDED: Mapping[Locale, Mapping[PurposeFault, re.Pattern[str]]] = {
    Locale.JA: {
        PurposeFault.GENERIC_PHRASE: _any(
            r"採用(活動|業務|選考)?の?(補助|支援|円滑化|効率化)",
            r"(就職|就活|就職活動|学生|キャリア)の?(支援|補助|サポート)",
            r"サービスの?(向上|改善|提供|運営|開発|品質|充実)",
            r"(業務|事業)の?(改善|遂行|効率化|運営|発展|活動)",
            r"(利便性|品質|満足度|体験)の?(向上|改善)",
            r"マーケティング",
            r"統計的?な?(分析|利用|目的)",
            r"最適化",
            r"円滑な",
            r"適切な(対応|運営|管理)",
            r"研究開発",
            r"(より良い|よりよい|新しい|新規)サービス",
            r"(関連|付随)する(業務|目的|サービス)",
            r"(社内|内部)(利用|目的)",
        ),
        PurposeFault.OPEN_ENDED: _any(
            r"(?<![平均高同対上])等(?![しいくす級分身号])",
            r"など",
            r"その他",
            r"各種",
            r"必要に応じて",
            r"(する|される|いただく)(場合|こと)が(あります|ございます)",
            r"適宜",
            r"さまざまな|様々な",
            r"に限りません",
        ),
    },
    Locale.EN: {
        PurposeFault.GENERIC_PHRASE: _any(
            r"\brecruit(ment|ing|er)? (support|assistance|activit\w+|purposes?|process(es)?|services?)",
            r"\b(support|assist|facilitat|streamlin)\w* (of |with )?(\w+ ){0,2}"
            r"(recruit|hiring|career|job)\w*",
            r"\b(improv|enhanc|develop|better|optimi[sz])\w* (of )?((our|the|your|its|these) )?(\w+ )?"
            r"(services?|experience|products?|quality|operations|offerings?)\b",
            r"\bbetter serv\w+",
            r"\b(business|internal|marketing|analytics|analytical|statistical|research|commercial) "
            r"(purposes?|needs|use)\b",
            r"\bmarketing\b",
            r"\bpersonali[sz]\w+",
            r"\boptimi[sz]\w+",
            r"\bresearch and development\b",
            r"\bcustomer satisfaction\b",
            r"\blegitimate interests?\b",
            r"\bprovid\w+ (of )?(our|the|these|better|its) services?\b",
        ),
        PurposeFault.OPEN_ENDED: _any(
            r"\betc\b",
            r"\band so on\b",
            r"\bsuch as\b",
            r"\bincluding\b",
            r"\bamong other",
            r"\b(and|or|any|various|related|other) (other )?purposes?\b",
            r"\b(and|or) other \w+",
            r"\bmay (be|also|use|share|process)\b",
            r"\bas (necessary|needed|appropriate|required)\b",
            r"\b(where|when) (appropriate|necessary)\b",
            r"\bfrom time to time\b",
            r"\bfor example\b",
            r"\bvarious\b",
        ),
    },
}

_NEEDED: Mapping[Locale, Mapping[PurposeFault, re.Pattern[str]]] = {
    Locale.JA: {
        PurposeFault.NO_DATA: _any(
            r"履歴",
            r"閲覧",
            r"行動",
            r"検索",
            r"同意コード",
            r"メールアドレス",
            r"氏名",
            r"(?<!内定を)辞退の結果",
            r"内定の結果",
            r"数値の列",
            r"応募(書類|の記録|データ)",
            r"性別|年齢",
            r"回答の?(記録|内容)",
        ),
        PurposeFault.NO_ACTION: _any(
            r"照合",
            r"計算",
            r"推定",
            r"分析し",
            r"学習させ",
            r"集計",
            r"数え",
            r"(に|へ)提供",
            r"送(り|信)",
            r"比較",
            r"結び付け",
            r"暗号化",
            r"保存",
        ),
        PurposeFault.NO_ACTOR: _any(
            r"\{(platform|company)_name\}",
            r"(当社|弊社|監査人|担当者|応募先の会社|このサイト|運営会社)(は|が|の担当者)",
            r"株式会社\S{1,20}?(は|が)",
        ),
        PurposeFault.NO_EFFECT: _any(
            r"見て|見ます|見られる",
            r"表示し",
            r"案内し",
            r"連絡し",
            r"知らせ",
            r"開け(ます|る|ない)",
            r"推定するモデル",
            r"公表し",
            r"確かめ",
            r"報告し",
            r"(よう|ように)する(ため|こと)",
            r"削除し",
        ),
    },
    Locale.EN: {
        PurposeFault.NO_DATA: _any(
            r"\b(browsing|viewing|search) (history|records?|logs?)\b",
            r"\bpages? (that )?you (viewed|read|visited)\b",
            r"\bwhat you (viewed|did|searched|clicked)\b",
            r"\b(consent code|e-?mail address|name and address|application|answers?|outcome)\b",
            r"\brows? of numbers\b",
            r"\bhow (your|the) offer ended\b",
            r"\b(gender|age|date of birth)\b",
            r"\bcounts? of\b",
        ),
        PurposeFault.NO_ACTION: _any(
            r"\blink(s|ed)?\b",
            r"\b(compute|calculate|count|estimate|predict|train|compare|match|send|provide|store|encrypt)(s|es|ed)?\b",
            r"\badds? (random )?noise\b",
            r"\bgive(s|n)?\b",
            r"\bdelete(s|d)?\b",
            r"\bshow(s|n)?\b",
        ),
        PurposeFault.NO_ACTOR: _any(
            r"\{(platform|company)_name\}",
            r"\b(we|the company|this company|its staff|the auditor|this site|our staff|the employer)\b",
            r"\b[A-Z]\w+ (Ltd|Inc|KK|GmbH|Corp)\b",
        ),
        PurposeFault.NO_EFFECT: _any(
            r"\b(sees?|shown|read|reads)\b",
            r"\bso that\b",
            r"\bin order to\b",
            r"\b(offer|invite|call|write to|contact|tell|warn|answer) you\b",
            r"\bwhich estimates\b",
            r"\bpublish(es)?\b",
            r"\bto (open|check|find|correct|delete|tell|warn|answer|see)\b",
            r"\breports?\b",
        ),
    },
}
