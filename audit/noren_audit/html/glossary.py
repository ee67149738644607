"""The words that the report uses, explained."""

from __future__ import annotations

from noren_audit.html.elements import section, terms
from noren_audit.html.words import Language, Say


def glossary(say: Say, language: Language) -> str:
    """Every term that the report uses, in a sentence."""
    entries = (
        (
            "ε (epsilon)",
            say(
                "Bound on how much a published result can say about one person's record, or one person's "
                "row.",
                "公表された結果が、一個人の記録または行について語りうる量の上限。",
            ),
        ),
        (
            "δ (delta)",
            say(
                "The small probability with which the bound ε may fail.",
                "上限εが成り立たない可能性を許す微小な確率。",
            ),
        ),
        (
            say("record", "記録単位"),
            say(
                "One person's deduplicated record at one company in one campaign: what ε of the rounds "
                "protects.",
                "一つのキャンペーンで一企業にある、重複を除いた一個人の記録。ラウンドのεが守る単位。",
            ),
        ),
        (
            say("row", "行"),
            say(
                "A few noised numbers about a student, given to one company sealed. Its ε is another "
                "number and never added.",
                "学生に関する雑音入りの少数の数値。封緘して一企業に渡される。そのεは別の数値であり、合算しない。",
            ),
        ),
        (
            say("answer of sums", "封緘集計の回答"),
            say(
                "In campaigns of sealed statistics, what a company gets instead of rows: one noised sum "
                "over its own applicants, which the platform computes without learning who they are.",
                "封緘集計のキャンペーンで、企業が行の代わりに受け取るもの。"
                "応募者が誰かをプラットフォームが知ることなく計算する、雑音入りの一つの合計。",
            ),
        ),
        (
            say("campaign", "キャンペーン"),
            say(
                "One task trained and scored by one group of companies under one plan.",
                "一つの計画の下で、企業群が一つの課題を訓練し採点すること。",
            ),
        ),
        (
            say("plan", "計画"),
            say(
                "The entry that fixes a campaign completely before anybody computes.",
                "計算を始める前にキャンペーンの全条件を確定する記録。",
            ),
        ),
        (
            say("round", "ラウンド"),
            say(
                "One clipped, noised sum over the companies. It is spent when it is reserved, finished "
                "or not.",
                "各社の切り詰めと雑音付加を経た合計の一回。完了の有無によらず、予約した時点で消費となる。",
            ),
        ),
        (
            say("ledger, entry", "台帳・記録"),
            say(
                "Signed and countersigned statements in an order that cannot be changed.",
                "署名と副署のある陳述を、変更できない順序で並べたもの。",
            ),
        ),
        (
            say("checkpoint, root", "チェックポイント・根"),
            say(
                "A signed fingerprint of the whole ledger at one size.",
                "ある件数の時点における台帳全体の、署名付きの指紋。",
            ),
        ),
        (
            say("witness", "証人"),
            say(
                "Somebody else who signed the checkpoint, so that not two can be shown.",
                "二つの異なる台帳を示せないよう、チェックポイントに連署する第三者。",
            ),
        ),
        (
            say("sentinel", "標識座標"),
            say(
                "A place in each update where only noise can be, so that anybody can test the noise.",
                "雑音しか入りえない更新内の座標。誰でも雑音を検定できる。",
            ),
        ),
        (
            say("placement, tolerated", "雑音の配置・許容数"),
            say(
                "Who adds the noise, and how many companies may keep theirs back or reveal it without "
                "harm to ε.",
                "誰が雑音を加えるか、また何社までが雑音を加えず、または明かしてもεが保たれるか。",
            ),
        ),
    )
    return section(f"{language}-glossary", say("Glossary", "用語"), terms(entries, "glossary"))
