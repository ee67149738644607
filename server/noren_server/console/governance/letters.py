"""Letters to students: what was decided about a request, on one page that can be printed, in her language.

Promises: a letter names no student, since the platform does not know her name; who prints it adds it. Texts
stand here and not in the catalogue: the language is the reader's of the letter, not that of the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from noren_core.errors import LocalProtocolError
from noren_core.rights.disclosure.inquiry import InquiryState
from noren_core.rights.disclosure.requests import DenialReason, DisclosureState
from noren_core.rights.locales import Locale
from noren_server.rights.disclosure import OfficersRequest
from noren_server.rights.inquiries import StoredInquiry

_JAPAN = timedelta(hours=9)
_SETTLED = frozenset({DisclosureState.FULFILLED, DisclosureState.PARTIAL, DisclosureState.DENIED})


@dataclass(frozen=True, slots=True)
class Letter:
    """One letter: its language, where it comes from, and what it says."""

    locale: Locale
    sender: str
    date: str
    reference: str
    heading: str
    salutation: str
    paragraphs: tuple[str, ...]
    quoted: tuple[str, ...]
    closing: tuple[str, ...]


_T = Mapping[Locale, str]
_REFERENCE: _T = {Locale.EN: "Reference", Locale.JA: "受付番号"}
_SALUTATION: _T = {Locale.EN: "To the person who asked", Locale.JA: "ご請求・お問い合わせいただいた方へ"}
_INQUIRY_HEADING: _T = {Locale.EN: "Answer to your inquiry", Locale.JA: "お問い合わせへの回答"}
_INQUIRY_OPENING: _T = {
    Locale.EN: "You wrote to us on {date}. A member of our staff has looked at it and answers as follows.",
    Locale.JA: "{date}にいただいたお問い合わせについて、担当者が確認し、以下のとおり回答いたします。",
}
_DENIAL_HEADING: _T = {Locale.EN: "Your request for disclosure", Locale.JA: "開示等の請求について"}
_DENIED: _T = {
    Locale.EN: "On {date} you asked us to disclose data about you. We do not disclose them, for this reason:",
    Locale.JA: (
        "{date}にいただいた保有個人データの開示の請求について、以下の理由により開示しないことといたしました。"
    ),
}
_FULFILLED: _T = {
    Locale.EN: (
        "On {date} you asked us to disclose data about you. Your request is fulfilled: the report and the "
        "answers of companies are in your mailbox, sealed so that you alone can open them."
    ),
    Locale.JA: (
        "{date}にいただいた開示の請求への対応が完了いたしました。報告書と企業からの回答は、"
        "ご本人だけが開ける形で、あなたの受信箱に届いています。"
    ),
}
_PARTIAL: _T = {
    Locale.EN: (
        "On {date} you asked us to disclose data about you. Our own report is in your mailbox; an answer of "
        "a company did not come in time. We have told the auditor, and you can ask again."
    ),
    Locale.JA: (
        "{date}にいただいた開示の請求について、当社からの報告書は受信箱に届いていますが、企業からの回答が"
        "期限までに届きませんでした。監査人に報告しております。あらためてご請求いただくこともできます。"
    ),
}
_REASONS: Mapping[DenialReason, _T] = {
    DenialReason.HARM_TO_RIGHTS: {
        Locale.EN: "it could harm the life, body, property or other rights of you or of somebody else "
        "(Act on the Protection of Personal Information, art. 33(2)(i));",
        Locale.JA: "本人又は第三者の生命、身体、財産その他の権利利益を害するおそれがあるため"
        "（個人情報の保護に関する法律第33条第2項第1号）",
    },
    DenialReason.SERIOUS_HINDRANCE: {
        Locale.EN: "it could seriously hinder the proper conduct of our business (art. 33(2)(ii));",
        Locale.JA: "当社の業務の適正な実施に著しい支障を及ぼすおそれがあるため（同項第2号）",
    },
    DenialReason.OTHER_LAW: {
        Locale.EN: "it would violate another law (art. 33(2)(iii));",
        Locale.JA: "他の法令に違反することとなるため（同項第3号）",
    },
    DenialReason.TRADE_SECRET: {
        Locale.EN: "and, beside that, it would tell a trade secret.",
        Locale.JA: "上記に加え、営業秘密に当たる事項を含むため",
    },
}
_DISAGREE: _T = {
    Locale.EN: (
        "If you do not agree, you can say so on the same page; it then goes on to the auditor. You can also "
        "turn to the Personal Information Protection Commission of Japan."
    ),
    Locale.JA: (
        "この回答にご納得いただけない場合は、同じページからお申し出いただくと、監査人に引き継がれます。"
        "個人情報保護委員会にご相談いただくこともできます。"
    ),
}
_NO_DISADVANTAGE: _T = {
    Locale.EN: ("Asking, contesting, withdrawing and having data erased has no disadvantage for you."),
    Locale.JA: ("お問い合わせ、異議申立て、同意の撤回、消去のご請求によって不利益を受けることはありません。"),
}


def inquiry_letter(stored: StoredInquiry, locale: Locale, *, sender: str) -> Letter:
    """The answer to an inquiry; LocalProtocolError (INQUIRY_STATE) if nobody answered it."""
    inquiry = stored.inquiry
    if inquiry.state not in (InquiryState.ANSWERED, InquiryState.CLOSED):
        raise LocalProtocolError(
            "letter: expected an inquiry that was answered, got another", code="INQUIRY_STATE"
        )
    return _letter(
        locale,
        sender=sender,
        at=inquiry.answered_at,
        reference=stored.inquiry_id,
        heading=_INQUIRY_HEADING,
        paragraphs=[_INQUIRY_OPENING[locale].format(date=_date(inquiry.opened_at, locale))],
        quoted=stored.answer.splitlines(),
    )


def disclosure_letter(request: OfficersRequest, locale: Locale, *, sender: str, at: int) -> Letter:
    """What came of a disclosure request; LocalProtocolError (DISCLOSURE_STATE) while it is open."""
    if request.state not in _SETTLED:
        raise LocalProtocolError(
            "letter: expected a request that is settled, got another", code="DISCLOSURE_STATE"
        )
    opening = {
        DisclosureState.DENIED: _DENIED,
        DisclosureState.PARTIAL: _PARTIAL,
        DisclosureState.FULFILLED: _FULFILLED,
    }[request.state]
    return _letter(
        locale,
        sender=sender,
        at=at,
        reference=request.request,
        heading=_DENIAL_HEADING,
        paragraphs=[opening[locale].format(date=_date(request.opened_at, locale))],
        quoted=[_REASONS[reason][locale] for reason in request.reasons],
    )


def _letter(
    locale: Locale,
    *,
    sender: str,
    at: int,
    reference: bytes,
    heading: _T,
    paragraphs: Sequence[str],
    quoted: Sequence[str],
) -> Letter:
    return Letter(
        locale=locale,
        sender=sender,
        date=_date(at, locale),
        reference=f"{_REFERENCE[locale]}: {reference.hex()}",
        heading=heading[locale],
        salutation=_SALUTATION[locale],
        paragraphs=tuple(paragraphs),
        quoted=tuple(line for line in quoted if line.strip()),
        closing=(_DISAGREE[locale], _NO_DISADVANTAGE[locale]),
    )


def _date(seconds: int, locale: Locale) -> str:
    """The day in Japan, as a letter writes it."""
    day = datetime.fromtimestamp(seconds, UTC) + _JAPAN
    if locale is Locale.JA:
        return f"{day.year}年{day.month}月{day.day}日"
    return f"{day.day} {day:%B} {day.year}"
