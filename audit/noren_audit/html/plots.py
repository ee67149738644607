"""The plots of the report, each with the table that it repeats: spending, sentinels, people."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, isfinite, sqrt
from statistics import NormalDist

from noren_audit.html import charts
from noren_audit.html.charts import Bar, Limit, Steps
from noren_audit.html.elements import Cell, code, figure, folded, paragraph, section, table
from noren_audit.html.facts import Curve
from noren_audit.html.words import Language, Say
from noren_audit.verification.budget import RoundSpending, rounded_up
from noren_audit.verification.campaign import CampaignAudit
from noren_audit.verification.certified import Bracket
from noren_audit.verification.person import PersonSpending
from noren_audit.verification.sentinels import FALSE_ALARM, Judgement, SentinelRound
from noren_audit.verification.shown_verdicts import ShownReplay
from noren_core.privacy.events import GaussianEvent
from noren_core.privacy.noise import company_variance

_PRINTED_ROWS = 100


def campaign(
    audit: CampaignAudit,
    spendings: Sequence[RoundSpending],
    curves: Sequence[Curve],
    judged: Judgement | None,
    replays: Sequence[ShownReplay],
    say: Say,
) -> str:
    """Spending, sentinels and replays of one campaign."""
    name = audit.plan.campaign
    spent = _spending_figure(audit, curves, say) + _spending_table(name, spendings, say) if spendings else ""
    return spent + _sentinel_figure(audit, judged, say) + _replay_table(name, replays, say)


def people(persons: Sequence[PersonSpending], say: Say, language: Language) -> str:
    """What one person can lose, by number of campaigns; empty if no round was reserved."""
    if not persons:
        return ""
    intro = paragraph(
        say(
            "There is no personal data in a ledger, hence no distribution over people. Shown is the most "
            "that anybody can lose whose record was used in 1, 2, … of the campaigns, each time at the "
            "company that spent most. It assumes one company per person and campaign, and that the "
            "platform's consent service keeps the stop: neither can be seen in the ledger.",
            "台帳に個人データはなく、個人ごとの分布は示せません。ここでは、1、2、… 個のキャンペーンで、"
            "毎回最も消費の多い企業において用いられた人が失いうる上限を示します。"
            "一人につき各キャンペーン一社であること、"
            "およびプラットフォームの同意管理が生涯上限を守ることを前提とし、"
            "いずれも台帳からは確認できません。",
        )
    )
    body = intro + "".join(_person(person, say) for person in persons)
    return section(
        f"{language}-people", say("What one person can lose", "一個人が失いうる上限"), body, level=3
    )


def bound(epsilon: float, say: Say) -> str:
    """Epsilon as text, rounded up."""
    return rounded_up(epsilon) if isfinite(epsilon) else say("no bound", "上限なし")


def bracket(certified: Bracket | None) -> str:
    """Where the exact value certainly lies, rounded outwards; a dash if nobody computed it."""
    if certified is None:
        return "–"
    return f"{floor(certified.lower * 10_000) / 10_000:.4f} … {rounded_up(certified.upper)}"


def _spending_figure(campaign: CampaignAudit, shown: Sequence[Curve], say: Say) -> str:
    plan = campaign.plan
    title = say(f"{plan.campaign}: ε spent along the ledger", f"{plan.campaign}：台帳に沿ったεの消費")
    lines = [
        Steps(
            curve.company,
            [(float(place), epsilon) for _, place, epsilon in curve.points],
            is_thin=bool(number),
        )
        for number, curve in enumerate(shown)
    ]
    limits = [
        Limit(
            say(f"plan: {plan.training.epsilon}", f"計画：{plan.training.epsilon}"),
            float(plan.training.epsilon),
        )
    ]
    if shown and float(plan.person.epsilon) <= 2 * float(plan.training.epsilon):
        limits.append(
            Limit(
                say(f"person: {plan.person.epsilon}", f"個人：{plan.person.epsilon}"),
                float(plan.person.epsilon),
            )
        )
    chart = charts.steps(title, lines, limits, across=say("entry of the ledger", "台帳の記録番号"), up="ε")
    caption = say(
        "Each step is a reserved round, at the entry that reserved it. Solid: the company that reserved "
        "most rounds; thin, if there is one: the one that reserved fewest. Dashed: what the plan allows. "
        f"A person's stop over all campaigns: {plan.person.epsilon}.",
        "各段は予約されたラウンドを、その記録の位置に示す。実線は予約が最も多い企業、"
        "細線（ある場合）は最も少ない企業、破線は計画の上限。"
        f"全キャンペーンを通じた個人の上限は {plan.person.epsilon}。",
    )
    columns = [say("company", "企業"), say("round", "ラウンド"), say("entry", "記録"), "ε"]
    rows = [
        [curve.company, str(number), str(place), bound(epsilon, say)]
        for curve in shown
        for number, place, epsilon in curve.points
    ]
    return figure(chart, title, caption, table(title, columns, rows, words=1), _as_table(say))


def _spending_table(campaign: str, spendings: Sequence[RoundSpending], say: Say) -> str:
    """Companies that spent the same are one row of the short table; the long one has all."""
    alike: dict[tuple[int, str, str], list[RoundSpending]] = {}
    for item in sorted(spendings, key=lambda item: (-item.epsilon, item.company)):
        alike.setdefault((item.releases, rounded_up(item.epsilon), rounded_up(item.epsilon_rdp)), []).append(
            item
        )
    title = say(f"{campaign}: ε of the rounds, all companies", f"{campaign}：全企業のラウンドのε")
    columns = [
        say("companies", "企業数"),
        say("rounds", "ラウンド"),
        "ε (PLD)",
        say("ε (exact)", "ε（厳密）"),
        say("ε (certified)", "ε（保証区間）"),
        "ε (RDP)",
        say("limit", "上限"),
        "δ",
    ]
    rows = [_alike_row(found, say) for found in alike.values()]
    short = table(title, columns, rows, words=0)
    names = say(f"{campaign}: by company", f"{campaign}：企業別")
    every = [
        [item.company, str(item.releases), bound(item.epsilon, say), bound(item.epsilon_rdp, say)]
        for found in alike.values()
        for item in found
    ]
    full = table(
        names, [say("company", "企業"), say("rounds", "ラウンド"), "ε (PLD)", "ε (RDP)"], every, words=1
    )
    return short + folded(f"{names} ({len(every):,})", full, prints=len(every) <= _PRINTED_ROWS)


def _alike_row(found: Sequence[RoundSpending], say: Say) -> list[Cell]:
    one = found[0]
    return [
        f"{len(found):,}",
        str(one.releases),
        bound(one.epsilon, say),
        bound(one.epsilon_closed_form, say),
        bracket(one.certified),
        bound(one.epsilon_rdp, say),
        one.limit,
        one.delta,
    ]


def _sentinel_figure(campaign: CampaignAudit, judged: Judgement | None, say: Say) -> str:
    if judged is None or not judged.observations:
        reason = say(
            "No sentinels: whether noise was added was not tested.",
            "標識座標なし：雑音の有無は検定していない。",
        )
        return paragraph(reason, "note")
    plan, rounds = campaign.plan, campaign.sentinel_rounds
    groups = [
        (str(number), _residuals(item, campaign.round_event))
        for number, item in zip(campaign.settled_rounds, rounds, strict=True)
    ]
    bound = NormalDist().inv_cdf(1 - FALSE_ALARM / (2 * judged.observations))
    title = say(f"{plan.campaign}: sentinel residuals", f"{plan.campaign}：標識座標の残差")
    chart = charts.residuals(
        title,
        groups,
        bound,
        across=say("round", "ラウンド"),
        bound_label=say(f"{FALSE_ALARM:g} in all", f"全体で {FALSE_ALARM:g}"),
    )
    caption = say(
        "The sums at coordinates that hold noise alone, in units of the deviation that the plan "
        f"promises. Of an honest campaign one value or more lies outside ±{bound:.2f} with probability "
        f"{FALSE_ALARM:g}. All {judged.observations} together: deviation {judged.deviation_ratio:.3f} of "
        f"the promised one, two-sided χ² p = {judged.p_value:.4f}; at most {FALSE_ALARM:g} would be an "
        "accusation. It cannot show that one company of many added less than its share.",
        "雑音だけが入る座標の合計を、計画の標準偏差を単位として示す。"
        f"誠実なキャンペーンで一つ以上が ±{bound:.2f} を超える確率は {FALSE_ALARM:g}。"
        f"全 {judged.observations} 個の標準偏差は計画の {judged.deviation_ratio:.3f} 倍、"
        f"両側χ²検定 p = {judged.p_value:.4f}（{FALSE_ALARM:g} 未満なら異常）。"
        "多数の企業のうち一社だけが雑音を減らしたことは、この検定では分からない。",
    )
    columns = [say("round", "ラウンド"), say("survivors", "参加企業"), "p", say("residuals", "残差")]
    rows = [
        [number, str(item.survivors), f"{p_value:.3f}", " ".join(f"{value:+.2f}" for value in group)]
        for (number, group), item, p_value in zip(groups, rounds, judged.round_p_values, strict=True)
    ]
    return figure(chart, title, caption, table(title, columns, rows, words=1), _as_table(say))


def _replay_table(campaign: str, replays: Sequence[ShownReplay], say: Say) -> str:
    title = say(f"{campaign}: replays", f"{campaign}：再計算")
    if not replays:
        return paragraph(say(f"{title}: no verdict was shown.", f"{title}の判定書は示されていない。"), "note")
    columns = [
        say("company", "企業"),
        say("result", "結果"),
        say("auditor's key", "監査人の鍵"),
        say("rounds", "ラウンド"),
        say("largest difference", "最大差"),
    ]
    rows: list[Sequence[Cell]] = [
        [
            item.company,
            _replay_result(item, say),
            code(item.auditor),
            str(item.rounds),
            str(item.largest_difference),
        ]
        for item in replays
    ]
    return table(title, columns, rows, words=3)


def _replay_result(item: ShownReplay, say: Say) -> str:
    if item.rows_erased:
        return say("as stated, as far as rows are left", "残る行については届け出どおり")
    return say("as stated", "届け出どおり") if item.is_replayed else say("not as stated", "不一致")


def _residuals(item: SentinelRound, event: GaussianEvent) -> list[float]:
    """The round's sums in units of the deviation that its survivors' noise has."""
    deviation = sqrt(float(item.survivors * company_variance(event, companies=item.cohort)))
    return [value / deviation for value in item.sums]


def _person(person: PersonSpending, say: Say) -> str:
    if person.season is None:
        together = bound(person.epsilons[-1], say)
        return paragraph(
            say(
                f"All {person.campaigns} campaigns of the ledger together, if one person could be in "
                f"all: ε {together} at δ {person.delta}.",
                f"一個人が台帳の全 {person.campaigns} キャンペーンに含まれうる場合の合計："
                f"δ {person.delta} で ε {together}。",
            ),
            "note",
        )
    title = say(f"Records of season {person.season}", f"年度 {person.season} の記録")
    bars = [
        Bar(str(count), bound(epsilon, say), epsilon if isfinite(epsilon) else 0.0)
        for count, epsilon in enumerate(person.epsilons, 1)
    ]
    stop = (
        [Limit(say(f"stop: {person.stop:g}", f"生涯上限：{person.stop:g}"), person.stop)]
        if isfinite(person.stop)
        else []
    )
    chart = charts.columns(
        title, bars, stop, across=say("campaigns that use her record", "記録を用いたキャンペーン数"), up="ε"
    )
    caption = say(
        f"Bound on a person's ε by the number of campaigns, at δ {person.delta}. Dashed: the lifetime "
        f"stop of the plans. The bound that counts is {bound(person.bound, say)}. Her rows, towards one "
        f"company that had all of them: ε {bound(person.row_epsilon, say)}, another number and never "
        "added.",
        f"キャンペーン数ごとの個人のεの上限（δ {person.delta}）。破線は計画の生涯上限。"
        f"有効な上限は {bound(person.bound, say)}。"
        f"一社がすべての行を得た場合の行のεは {bound(person.row_epsilon, say)}（別の数値であり、"
        "合算しない）。",
    )
    columns = [say("campaigns", "キャンペーン数"), "ε (PLD)"]
    return figure(
        chart,
        title,
        caption,
        table(title, columns, [[bar.label, bar.text] for bar in bars], words=1),
        _as_table(say),
    )


def _as_table(say: Say) -> str:
    return say("The numbers as a table", "数値の表")
