"""The statistician's part of the report: what every epsilon assumes, and the programs that computed it."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata

from noren_audit.html import plots
from noren_audit.html.elements import (
    Cell,
    folded,
    items,
    paragraph,
    section,
    terms,
)
from noren_audit.html.facts import Curve, used_share
from noren_audit.html.plots import bound, bracket
from noren_audit.html.words import Language, Say
from noren_audit.verification.budget import RoundSpending
from noren_audit.verification.campaign import CampaignAudit
from noren_audit.verification.verify import Verdict
from noren_core import __version__
from noren_core.privacy import accounting
from noren_core.privacy.events import ADJACENCY, MECHANISM
from noren_core.season.plan import UNIT, Release, RowRelease, TrainingMode

_OPENED_CAMPAIGNS = 4
_PROGRAMS = ("dp-accounting", "python-flint", "numpy", "cryptography")


def part(verdict: Verdict, curves: Mapping[str, Sequence[Curve]], say: Say, language: Language) -> str:
    """Everything below the lawyer's part."""
    intro = paragraph(
        say(
            "Every ε here was recomputed by this program from the events in the ledger. Neither the "
            "companies' nor the platform's own idea of it plays a part. ε of the rounds and ε of the "
            "rows are two releases to different readers: two numbers, never their sum. All are rounded "
            "up.",
            "ここに示すεはすべて、台帳の記録からこのプログラムが再計算したものです。"
            "企業やプラットフォーム自身の計算は一切用いていません。ラウンドのεと行のεは、"
            "異なる相手への別々の公表であり、合算しません。数値はすべて切り上げています。",
        )
    )
    judged = {item.campaign: item.judgement for item in verdict.sentinels}
    campaigns = []
    for campaign in verdict.campaigns:
        name = campaign.plan.campaign
        replays = [item for item in verdict.replays if item.campaign == name]
        figures = plots.campaign(
            campaign, _spendings(verdict, name), curves[name], judged.get(name), replays, say
        )
        assumed = terms(_assumptions(campaign, verdict, say), "pairs")
        campaigns.append((say(f"Campaign {name}", f"キャンペーン {name}"), assumed + figures))
    body = intro + _methods(say)
    for number, (title, shown) in enumerate(campaigns):
        if number < _OPENED_CAMPAIGNS:
            body += section(f"{language}-campaign-{number}", title, shown, level=3)
        else:
            body += folded(title, shown, prints=False)
    body += plots.people(verdict.persons, say, language) + _versions(say, language)
    return section(f"{language}-statistics", say("For the statistician", "統計の専門家へ"), body)


def _methods(say: Say) -> str:
    accountants = [
        say(
            "ε (PLD): upper bound by privacy loss distributions (dp-accounting, pessimistic, interval "
            f"{accounting.INTERVAL:g}), plus the step from continuous to discrete noise, plus a margin "
            f"of {accounting.MARGIN:g}. This is the value that is compared with limits.",
            "ε（PLD）：プライバシー損失分布による上界（dp-accounting、悲観的、"
            f"刻み {accounting.INTERVAL:g}）に、"
            f"連続から離散雑音への差と余裕 {accounting.MARGIN:g} を加えた値。上限との比較に用いる。",
        ),
        say(
            "ε (exact): the closed form of full-batch Gaussian releases, with the same step to discrete "
            "noise; no privacy library. PLD must lie just above it.",
            "ε（厳密）：全件参加のガウス公表に対する閉形式に、離散雑音への同じ差を加えた値。"
            "外部ライブラリを用いない。PLD はこれをわずかに上回らなければならない。",
        ),
        say(
            "ε (certified): bounds that hold with every rounding error counted (ball arithmetic); a dash "
            "where python-flint is not installed.",
            "ε（保証区間）：丸め誤差をすべて数え上げた区間（球演算）。python-flint がない場合は「–」。",
        ),
        say(
            "ε (RDP): looser upper bound by Rényi divergences. The tighter accountant must not be the "
            "larger one.",
            "ε（RDP）：レニー・ダイバージェンスによる、より緩い上界。PLD の値がこれを上回ってはならない。",
        ),
    ]
    return items(accountants)


def _spendings(verdict: Verdict, campaign: str) -> list[RoundSpending]:
    return [item for item in verdict.rounds if item.campaign == campaign]


def _assumptions(campaign: CampaignAudit, verdict: Verdict, say: Say) -> Iterable[tuple[str, Cell]]:
    """The numbers, each with what it is conditional on."""
    plan = campaign.plan
    training = plan.training
    worst = max(_spendings(verdict, plan.campaign), key=used_share, default=None)
    if worst is not None:
        yield (
            say("ε of the rounds, largest", "ラウンドのε（最大）"),
            _epsilon(worst.epsilon, worst.limit, worst.delta, say),
        )
        yield (
            say("… by other accountants", "… 他の計算法"),
            (
                f"{say('exact', '厳密')} {bound(worst.epsilon_closed_form, say)}; "
                f"{say('certified', '保証区間')} {bracket(worst.certified)}; RDP "
                f"{bound(worst.epsilon_rdp, say)}"
            ),
        )
        yield (
            say("… of the whole plan", "… 計画全体"),
            _epsilon(worst.reserved, worst.limit, worst.delta, say),
        )
    yield say("unit of privacy", "保護の単位"), _unit(say)
    yield (
        say("neighbours", "隣接関係"),
        say(f"{ADJACENCY}: one record added or removed", f"{ADJACENCY}：記録を一つ追加または削除"),
    )
    yield (
        say("mechanism", "機構"),
        (
            f"{MECHANISM}; σ {training.noise_multiplier}, C "
            f"{format(float(training.clipping_norm), 'g')}, {say('grid', '格子')} {training.grid}"
        ),
    )
    yield (
        say("sampling", "標本抽出"),
        say("1/1, every record in every round", "1/1（全記録が全ラウンドに参加）"),
    )
    yield say("placement of the noise", "雑音の配置"), _placement(campaign, say)
    yield (
        say("collusion bound", "結託の許容"),
        say(
            f"the bound holds if at most {training.tolerated} of {len(plan.companies)} companies keep "
            "their noise back, drop out or reveal it, together",
            f"{len(plan.companies)} 社のうち、"
            f"雑音を加えない・脱落する・明かす企業が合わせて {training.tolerated} 社以下なら成り立つ",
        ),
    )
    yield (
        say("rounds", "ラウンド"),
        say(
            f"{training.rounds} planned, {len(campaign.settled_rounds)} settled; a round is spent when "
            "it is reserved",
            f"計画 {training.rounds}、完了 {len(campaign.settled_rounds)}（予約した時点で消費）",
        ),
    )
    yield (
        say("quorum", "定足数"),
        say(
            f"{plan.minimum_cohort} of {len(plan.companies)} companies at least",
            f"{len(plan.companies)} 社中 {plan.minimum_cohort} 社以上",
        ),
    )
    for item in verdict.rows:
        if item.campaign == plan.campaign:
            yield _released(item.mode, say), _epsilon(item.epsilon, item.limit, item.delta, say)
            yield say("… its assumptions", "… その前提"), _release(plan.release, say)
    yield (
        say("person's lifetime stop", "個人の生涯上限"),
        say(
            f"ε {plan.person.epsilon} at δ {plan.person.delta}, at most {plan.person.campaigns} "
            "campaigns, one company each",
            f"δ {plan.person.delta} で ε {plan.person.epsilon}、最大 {plan.person.campaigns} "
            "キャンペーン、各一社",
        ),
    )


def _released(mode: TrainingMode, say: Say) -> str:
    """What a student's row loses by."""
    if mode is TrainingMode.NOISED_ROWS:
        return say("ε of one training row", "一つの訓練行のε")
    return say("ε of a row by one answer of sums", "一回の封緘集計の回答による行のε")


def _release(release: Release, say: Say) -> str:
    """What that epsilon is conditional on."""
    if isinstance(release, RowRelease):
        what = say(
            f"the row itself, of norm at most {release.clip}, scale {release.scale}",
            f"行そのもの（ノルム {release.clip} 以下、倍率 {release.scale}）",
        )
    else:
        what = say(
            f"its part in one sum of rows of norm at most 127, weights -{release.negative} and "
            f"{release.positive}; no row is released",
            f"ノルム 127 以下の行を重み -{release.negative} と {release.positive} で合計した一つの値への寄与"
            "（行は開示されない）",
        )
    return say(
        f"{what}; replacing one student's row, towards the one company that opens it; discrete Gaussian, "
        f"variance {release.variance}, {release.dimensions} coordinates; never added to the rounds' ε",
        f"{what}。一人の学生の行を置き換える隣接関係、開封する一企業に対して。離散ガウス雑音、"
        f"分散 {release.variance}、{release.dimensions} 座標。ラウンドのεとは合算しない",
    )


def _unit(say: Say) -> str:
    return say(UNIT, f"一つのキャンペーンで一企業にある、重複を除いた一個人の記録（{UNIT}）")


def _placement(campaign: CampaignAudit, say: Say) -> str:
    if campaign.plan.training.placement == "local":
        return say("local: every company adds all of it", "local：各社が全量を加える")
    return say(
        "distributed: every company adds a share; holds for the sum over the companies, which needs "
        "secure aggregation",
        "distributed：各社が分担して加える。企業間の合計について成り立ち、秘匿集計を前提とする",
    )


def _epsilon(epsilon: float, limit: str, delta: str, say: Say) -> str:
    return (
        f"{bound(epsilon, say)} ≤ {limit}, δ {delta}"
        if epsilon <= float(limit)
        else (f"{bound(epsilon, say)} > {limit}, δ {delta}")
    )


def _versions(say: Say, language: Language) -> str:
    facts: list[tuple[str, Cell]] = [("noren-audit", __version__)]
    facts += [(name, _version(name)) for name in _PROGRAMS]
    facts.append(("Python", platform.python_version()))
    return section(f"{language}-versions", say("Programs", "使用プログラム"), terms(facts, "pairs"), level=3)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:  # python-flint is optional
        return "–"
