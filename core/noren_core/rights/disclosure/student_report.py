"""What a student is told about her own data, in her language: the platform's part, and hers.

docs/rights/student-api.md §6. Promises: the platform fills in what it holds and provided; the bands come only
from copies that her device opened, and are put in there (`with_copies`); every reason has its words here, and
a reason without words cannot be given. The same sections are written as Markdown, which is plain text, and
as one HTML page that prints, runs no script and loads nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from html import escape
from typing import Any, Self

from noren_core import canonical_json
from noren_core.ids import TableKind
from noren_core.rights import fields
from noren_core.rights.consent.consent_record import ConsentState
from noren_core.rights.disclosure.mirror import MirrorRecord, Reason
from noren_core.rights.disclosure.mirror_copy import AccessCopy, AnswerCopy, Copy, ScoreCopy
from noren_core.rights.fields import read_fields
from noren_core.rights.locales import Locale
from noren_core.rights.purposes import Purpose

_MAX_LINES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentLine:
    """One consent record, as it is now."""

    company: str
    position: str
    season: str
    purpose: Purpose
    policy: str
    state: ConsentState
    changed_at: int

    def to_body(self) -> dict[str, Any]:
        """The fields."""
        return {
            "company": self.company,
            "position": self.position,
            "season": self.season,
            "purpose": self.purpose.value,
            "policy": self.policy,
            "state": self.state.value,
            "changed_at": self.changed_at,
        }

    @classmethod
    def from_body(cls, body: object) -> Self:
        """The line with these fields; DataError for anything else."""
        return cls(**read_fields(body, _CONSENT_FIELDS, "report: consent"))


_CONSENT_FIELDS = {
    "company": fields.text,
    "position": fields.text,
    "season": fields.text,
    "purpose": fields.word_of(Purpose),
    "policy": fields.text,
    "state": fields.word_of(ConsentState),
    "changed_at": fields.integer,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionLine:
    """One row of hers that was put in a company's sealed table.

    `record` is the id (hex) of the consent record under which that was done.
    """

    company: str
    campaign: str
    position: str
    kind: TableKind
    at: int
    record: str

    def to_body(self) -> dict[str, Any]:
        """The fields."""
        return {
            "company": self.company,
            "campaign": self.campaign,
            "position": self.position,
            "kind": self.kind.value,
            "at": self.at,
            "record": self.record,
        }

    @classmethod
    def from_body(cls, body: object) -> Self:
        """The line with these fields; DataError for anything else."""
        return cls(**read_fields(body, _PROVISION_FIELDS, "report: provision"))


_PROVISION_FIELDS = {
    "company": fields.text,
    "campaign": fields.text,
    "position": fields.text,
    "kind": fields.word_of(TableKind),
    "at": fields.integer,
    "record": fields.text,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetLine:
    """Her privacy budget so far: the campaigns she was released in, and ε at δ, decimals, for all of them."""

    campaigns: tuple[str, ...]
    epsilon: str
    delta: str

    def to_body(self) -> dict[str, Any]:
        """The fields."""
        return {"campaigns": list(self.campaigns), "epsilon": self.epsilon, "delta": self.delta}

    @classmethod
    def from_body(cls, body: object) -> Self:
        """The line with these fields; DataError for anything else."""
        return cls(**read_fields(body, _BUDGET_FIELDS, "report: budget"))


_BUDGET_FIELDS = {
    "campaigns": fields.list_of(fields.text),
    "epsilon": fields.text,
    "delta": fields.text,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentReport:
    """Everything, for one student.

    Attributes:
        at: when the platform wrote its part, Unix seconds.
        behaviour_logged: whether the platform has behaviour logs of hers.
        consents, provisions: oldest first.
        budget: what all releases together can reveal.
        copies: what her device opened; empty in what the platform sends.
    """

    at: int
    behaviour_logged: bool
    consents: tuple[ConsentLine, ...] = field(repr=False)
    provisions: tuple[ProvisionLine, ...] = field(repr=False)
    budget: BudgetLine
    copies: tuple[Copy, ...] = field(default=(), repr=False)

    def with_copies(self, copies: Iterable[Copy]) -> Self:
        """The report with what her device opened: on her device, and nowhere else."""
        return replace(self, copies=(*self.copies, *copies))

    def to_bytes(self) -> bytes:
        """The platform's part as canonical JSON; what was opened is not in it."""
        return canonical_json.encode(
            {
                "at": self.at,
                "behaviour_logged": self.behaviour_logged,
                "consents": [line.to_body() for line in self.consents],
                "provisions": [line.to_body() for line in self.provisions],
                "budget": self.budget.to_body(),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The platform's part that `to_bytes` wrote; DataError for anything else."""
        return cls(**read_fields(canonical_json.parse(data), _REPORT_FIELDS, "report"))


_REPORT_FIELDS = {
    "at": fields.integer,
    "behaviour_logged": fields.boolean,
    "consents": fields.list_of(ConsentLine.from_body, most=_MAX_LINES),
    "provisions": fields.list_of(ProvisionLine.from_body, most=_MAX_LINES),
    "budget": BudgetLine.from_body,
}


@dataclass(frozen=True, slots=True)
class _Section:
    title: str
    sentences: tuple[str, ...]


def to_markdown(report: StudentReport, locale: Locale) -> str:
    """The report as Markdown."""
    words = _WORDS[locale]
    parts = [f"# {words['title']}"]
    for section in _sections(report, words, locale):
        lines = "\n".join(f"- {sentence}" for sentence in section.sentences)
        parts.append(f"## {section.title}\n\n{lines}")
    return "\n\n".join(parts) + "\n"


def to_html(report: StudentReport, locale: Locale) -> str:
    """The report as one HTML page."""
    words = _WORDS[locale]
    parts = [f"<h1>{escape(words['title'])}</h1>"]
    for section in _sections(report, words, locale):
        items = "".join(f"<li>{escape(sentence)}</li>" for sentence in section.sentences)
        parts.append(f"<section><h2>{escape(section.title)}</h2><ul>{items}</ul></section>")
    return (
        f'<!doctype html>\n<html lang="{locale.value}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(words['title'])}</title>"
        "<style>body{font-family:sans-serif;max-width:42em;margin:2em auto;padding:0 1em;line-height:1.6}"
        "section{break-inside:avoid}@media print{body{margin:0}}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def reason_text(reason: Reason, record: MirrorRecord, locale: Locale) -> str:
    """A reason in words, with the numbers of this record."""
    edges = " / ".join(f"{_percent(edge)} %" for edge in record.band_edges)
    return _REASONS[locale][reason].format(
        rate=record.base_rate_percent, categories=", ".join(record.data_categories), edges=edges
    )


def device_words(locale: Locale) -> dict[str, str]:
    """The sentences about opened copies with their `{names}`, for a device that fills them in itself.

    Those of a reason begin with `reason ` and its code. Whoever fills them in is not the platform.
    """
    words = {name: _WORDS[locale][name] for name in _DEVICE_WORDS}
    return words | {f"reason {reason.value}": text for reason, text in _REASONS[locale].items()}


def utc_text(seconds: int) -> str:
    """Unix seconds as `2027-04-01 09:30 UTC` (civil-from-days of the proleptic Gregorian calendar)."""
    days, rest = divmod(seconds, 86_400)
    era, day_of_era = divmod(days + 719_468, 146_097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month_from_march + 2) // 5 + 1
    month = month_from_march + 3 if month_from_march < 10 else month_from_march - 9
    year = year_of_era + era * 400 + (month <= 2)
    return f"{year:04}-{month:02}-{day:02} {rest // 3600:02}:{rest % 3600 // 60:02} UTC"


def _sections(report: StudentReport, words: Mapping[str, str], locale: Locale) -> list[_Section]:
    logged = "logged" if report.behaviour_logged else "not_logged"
    return [
        _Section(words["held"], (words["as_of"].format(at=utc_text(report.at)), words[logged])),
        _section(words, "consents", [_consent(line, words, locale) for line in report.consents]),
        _section(words, "provisions", [_provision(line, words) for line in report.provisions]),
        _Section(words["budget"], _budget(report.budget, words)),
        *_copy_sections(report.copies, words, locale),
    ]


def _section(words: Mapping[str, str], name: str, sentences: Sequence[str]) -> _Section:
    return _Section(words[name], tuple(sentences) or (words[f"no_{name}"],))


def _consent(line: ConsentLine, words: Mapping[str, str], locale: Locale) -> str:
    return words["consent"].format(
        company=line.company,
        position=line.position,
        season=line.season,
        purpose=_PURPOSES[locale][line.purpose],
        state=_STATES[locale][line.state],
        policy=line.policy,
        at=utc_text(line.changed_at),
    )


def _provision(line: ProvisionLine, words: Mapping[str, str]) -> str:
    return words[f"provided_{line.kind.value}"].format(
        company=line.company,
        position=line.position,
        campaign=line.campaign,
        at=utc_text(line.at),
        record=line.record,
    )


def _budget(line: BudgetLine, words: Mapping[str, str]) -> tuple[str, ...]:
    if not line.campaigns:
        return (words["no_budget"],)
    spent = words["spent"].format(epsilon=line.epsilon, delta=line.delta, campaigns=", ".join(line.campaigns))
    return spent, words["epsilon_means"]


def _copy_sections(copies: Sequence[Copy], words: Mapping[str, str], locale: Locale) -> list[_Section]:
    """One section for each copy; a score comes once, however many copies hold it."""
    sections, shown = [], set()
    for copy in copies:
        if isinstance(copy, AccessCopy):
            sections.append(_accesses(copy, words))
            continue
        if isinstance(copy, AnswerCopy) and copy.score is None:
            text = words["nothing"].format(company=copy.company, position=copy.position, at=utc_text(copy.at))
            sections.append(_Section(words["answer"], (text,)))
            continue
        score = copy if isinstance(copy, ScoreCopy) else copy.score
        if score is not None and score.committed.salt not in shown:
            shown.add(score.committed.salt)
            sections.append(_score(score.committed.record, words, locale))
    return sections


def _score(record: MirrorRecord, words: Mapping[str, str], locale: Locale) -> _Section:
    title = words["score"].format(company=record.company, position=record.position)
    edges = ("0", *record.band_edges, "1")
    low, high = _percent(edges[record.band]), _percent(edges[record.band + 1])
    said = words["band"].format(band=record.band + 1, bands=record.bands, low=low, high=high)
    times = words["times"].format(
        computed=utc_text(record.computed_at), expires=utc_text(record.expires_at), gate=record.gate_index
    )
    reasons = tuple(reason_text(reason, record, locale) for reason in record.reasons)
    return _Section(title, (said, times, *reasons, words["contest"].format(place=record.contest)))


def _accesses(copy: AccessCopy, words: Mapping[str, str]) -> _Section:
    title = words["accesses"].format(company=copy.company, position=copy.position)
    lines = tuple(
        words["access"].format(role=access.role, action=access.action, at=utc_text(access.at))
        for access in copy.accesses
    )
    return _Section(title, lines or (words["no_accesses"],))


def _percent(edge: str) -> str:
    value = Fraction(edge) * 100
    return str(value.numerator) if value.denominator == 1 else f"{float(value):.1f}"


_DEVICE_WORDS = (
    *("score", "band", "times", "contest"),
    *("answer", "nothing", "accesses", "access", "no_accesses"),
)

_WORDS: Mapping[Locale, Mapping[str, str]] = {
    Locale.JA: {
        "title": "あなたのデータについての報告",
        "held": "サイトが保有しているもの",
        "as_of": "この報告は {at} 時点のものです。",
        "logged": "サイト上の行動ログを保有しています。会社には渡していません。",
        "not_logged": "行動ログは保有していません。",
        "consents": "同意の記録",
        "no_consents": "同意の記録はありません。",
        "consent": "{company}・職種 {position}・{season}：{purpose} — {state}（{at}、ポリシー {policy}）",
        "provisions": "会社への提供の記録",
        "no_provisions": "提供したことはありません。",
        "provided_train": (
            "{at}：{company}（職種 {position}、キャンペーン {campaign}）に、雑音を加えた学習用の行を、"
            "同意 {record} にもとづいて提供しました。会社が開けるのは、あなたが応募していた場合だけです。"
        ),
        "provided_score": (
            "{at}：{company}（職種 {position}、キャンペーン {campaign}）に、暗号化した推定用の行を、"
            "同意 {record} にもとづいて提供しました。サイトは推定の結果を知りません。"
        ),
        "budget": "プライバシーの上限",
        "no_budget": "学習に使われたことはありません。",
        "spent": "これまでの合計：ε = {epsilon}（δ = {delta}）。対象：{campaigns}",
        "epsilon_means": (
            "ε は、公開された結果からあなた一人のデータについて分かることの上限です。小さいほど分かりません。"
            "使った分は、同意を撤回しても減りません。"
        ),
        "score": "{company}（職種 {position}）が見ることのできる推定",
        "band": "区分 {band}（全 {bands} 区分）：内定を辞退する見込み {low}〜{high} % の範囲",
        "times": "計算：{computed}、削除：{expires}、選考結果の確定：台帳の {gate} 番",
        "contest": "異議の申し立て：{place}",
        "answer": "会社の回答",
        "nothing": "{company}（職種 {position}）は、推定を保有していないと {at} に回答しました。",
        "accesses": "{company}（職種 {position}）での閲覧と対応",
        "access": "{at}：{role} が {action}",
        "no_accesses": "この期間、閲覧はありませんでした。",
    },
    Locale.EN: {
        "title": "Report about your data",
        "held": "What the platform holds",
        "as_of": "This report is as of {at}.",
        "logged": "It holds logs of what you did on the site. No company receives them.",
        "not_logged": "It holds no log of what you did on the site.",
        "consents": "Your consents",
        "no_consents": "There is no record of a consent.",
        "consent": "{company}, position {position}, {season}: {purpose}: {state} ({at}, policy {policy})",
        "provisions": "What was provided to companies",
        "no_provisions": "Nothing was ever provided.",
        "provided_train": (
            "{at}: to {company} (position {position}, campaign {campaign}), a training row with noise, under "
            "consent {record}. The company can open it only if you had applied there."
        ),
        "provided_score": (
            "{at}: to {company} (position {position}, campaign {campaign}), an encrypted row for an "
            "estimate, under consent {record}. The platform does not know what came out."
        ),
        "budget": "Privacy budget",
        "no_budget": "Your data was never used for training.",
        "spent": "So far in total: ε = {epsilon} (δ = {delta}), for {campaigns}.",
        "epsilon_means": (
            "ε bounds what the released results can reveal about your data alone; the smaller, the less. "
            "What was spent stays spent if you withdraw."
        ),
        "score": "The estimate that {company} (position {position}) can see",
        "band": "Band {band} of {bands}: an estimated likelihood of {low} to {high} % of declining the offer",
        "times": "Computed {computed}, deleted {expires}; decisions were sealed: ledger entry {gate}.",
        "contest": "To contest it: {place}",
        "answer": "The company's answer",
        "nothing": "{company} (position {position}) answered on {at} that it holds no estimate.",
        "accesses": "Who looked at it at {company} (position {position})",
        "access": "{at}: {role}: {action}",
        "no_accesses": "Nobody looked at it in this time.",
    },
}

_REASONS: Mapping[Locale, Mapping[Reason, str]] = {
    Locale.JA: {
        Reason.COMPANY_BASE_RATE: (
            "全体の水準は、この会社の過去の辞退の割合（約 {rate} %）に合わせてあります。"
            "あなた個人とは関係ありません。"
        ),
        Reason.DATA_CATEGORIES: "使われたデータの種類：{categories}",
        Reason.LINEAR_HEAD: (
            "行動は、人には読めない数値の列に要約され、それに一つの線形の式を当てはめます。"
            "どの行動がどれだけ影響したかは、誰にも分かりません。会社にも分かりません。"
        ),
        Reason.BAND_IS_A_RANGE: (
            "区分は範囲であって、事実ではありません（境界：{edges}）。同じ区分の人の多くは辞退しないことがあります。"
        ),
    },
    Locale.EN: {
        Reason.COMPANY_BASE_RATE: (
            "The overall level is set to this company's past share of declined offers (about {rate} %); that "
            "has nothing to do with you."
        ),
        Reason.DATA_CATEGORIES: "Categories of data that entered: {categories}.",
        Reason.LINEAR_HEAD: (
            "What you did is summarised as numbers that nobody can read, and one linear formula is applied "
            "to them. Nobody can say which single thing mattered how much, the company neither."
        ),
        Reason.BAND_IS_A_RANGE: (
            "A band is a range and no fact (edges: {edges}). Many people in the same band may well accept."
        ),
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
        Purpose.LINK: "linking with your application",
        Purpose.TRAIN: "training a model",
        Purpose.SCORE: "an estimate after an offer",
        Purpose.EVALUATE: "testing a model",
        Purpose.FAIRNESS: "an audit of fairness",
    },
}

_STATES: Mapping[Locale, Mapping[ConsentState, str]] = {
    Locale.JA: {
        ConsentState.NEVER_SHOWN: "未提示",
        ConsentState.SHOWN: "提示済み",
        ConsentState.REQUESTED: "確認中",
        ConsentState.GIVEN: "同意",
        ConsentState.REFUSED: "不同意",
        ConsentState.DEFERRED: "保留",
        ConsentState.RENEWED: "更新",
        ConsentState.WITHDRAWN: "撤回",
        ConsentState.EXPIRED: "期限切れ",
        ConsentState.SUPERSEDED: "ポリシー変更により終了",
        ConsentState.INVALIDATED: "無効",
        ConsentState.REVOKED: "サイトにより終了",
    },
    Locale.EN: {
        ConsentState.NEVER_SHOWN: "never shown",
        ConsentState.SHOWN: "shown",
        ConsentState.REQUESTED: "asked",
        ConsentState.GIVEN: "given",
        ConsentState.REFUSED: "refused",
        ConsentState.DEFERRED: "put off",
        ConsentState.RENEWED: "renewed",
        ConsentState.WITHDRAWN: "withdrawn",
        ConsentState.EXPIRED: "expired",
        ConsentState.SUPERSEDED: "ended by a change of policy",
        ConsentState.INVALIDATED: "found invalid",
        ConsentState.REVOKED: "ended by the platform",
    },
}
