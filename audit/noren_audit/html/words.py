"""What a reader of the report is told about each code, in English and Japanese.

The verifier's own messages stay in English, word for word: they are evidence. What stands here explains
them to somebody who has not read the protocol, and says what to do first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum

from noren_audit.verification.findings import Code


class Language(StrEnum):
    """The languages of the report; the value is the HTML language tag."""

    EN = "en"
    JA = "ja"


Say = Callable[[str, str], str]
"""Chooses between the English and the Japanese wording."""


def say_in(language: Language) -> Say:
    """The chooser for one language."""
    return lambda english, japanese: english if language is Language.EN else japanese


@dataclass(frozen=True, slots=True)
class Advice:
    """A family of findings: its name and what to do first, each in English and Japanese."""

    name: tuple[str, str]
    action: tuple[str, str]


class Area(Enum):
    """Families of findings, the most fundamental first: what an earlier one shows can cause later ones."""

    SEAL = Advice(
        ("The bundle and its seal", "台帳一式と封印"),
        (
            (
                "Ask for the bundle again, by another way, and compare the checkpoint with a company's "
                "copy. If it stays like this, keep both copies unchanged: nothing in this bundle counts "
                "as proven."
            ),
            (
                "別の経路で台帳一式を取り直し、参加企業の控えとチェックポイントを照合してください。"
                "それでも同じ結果なら両方の写しを変更せずに保全してください。"
                "この一式の内容はいずれも証明されたものとして扱えません。"
            ),
        ),
    )
    AUTHENTICITY = Advice(
        ("Who said it", "発言者の真正性"),
        (
            (
                "The named entries are not proven to be by the party they name. Ask that party, not the "
                "platform, whether it made them."
            ),
            (
                "該当する記録は、名義人が作成したと証明されていません。"
                "プラットフォームではなく名義人本人に、作成の有無を確認してください。"
            ),
        ),
    )
    PARTIES = Advice(
        ("Parties and their keys", "当事者と鍵"),
        (
            (
                "Ask the company and the platform for the paper trail of the enrolment or change of key, "
                "and compare fingerprints by phone."
            ),
            (
                "登録または鍵の変更の経緯を示す書類を企業とプラットフォームに求め、"
                "鍵の指紋を電話で照合してください。"
            ),
        ),
    )
    PREPARATION = Advice(
        ("Before the first round", "訓練開始前"),
        (
            (
                "Training was set up otherwise than agreed. Ask the companies of the campaign which plan "
                "they accepted."
            ),
            "合意と異なる条件で訓練が準備されています。どの計画を承諾したかを参加企業に確認してください。",
        ),
    )
    ROUNDS = Advice(
        ("Rounds of training", "訓練ラウンド"),
        (
            (
                "Whoever is named signed what does not fit. Ask for a replay on the company's machine; "
                "until then count the rounds as spent and the result as unexplained."
            ),
            (
                "名前のある当事者が、整合しない内容に署名しています。"
                "企業の機器上での再計算を求めてください。それまでは、そのラウンドの予算は消費済み、"
                "結果は未説明として扱ってください。"
            ),
        ),
    )
    SCORING = Advice(
        ("Scores", "スコア"),
        (
            "Scores that follow from this were not agreed. Ask that they are not used until it is explained.",
            "これに基づくスコアは合意されたものではありません。説明があるまで使用しないよう求めてください。",
        ),
    )
    RIGHTS = Advice(
        ("Consent, gate and rights", "同意・ゲート・権利"),
        (
            (
                "People's rights were not kept in the order that was promised. Ask the platform and the "
                "company named for the records of that day, and have the service suspended meanwhile."
            ),
            (
                "約束した順序で本人の権利が守られていません。"
                "該当するプラットフォームと企業に当日の記録を求め、その間サービスを停止させてください。"
            ),
        ),
    )
    BUDGET = Advice(
        ("Privacy budget", "プライバシー予算"),
        (
            (
                "More was revealed about people than agreed. Treat this as a disclosure: inform the "
                "companies' privacy contacts and stop further campaigns on the same season."
            ),
            (
                "合意を超えて個人に関する情報が明らかになっています。開示事案として扱い、"
                "各社の個人情報保護担当に通知し、同じ年度に対する以後のキャンペーンを停止してください。"
            ),
        ),
    )

    @property
    def advice(self) -> Advice:
        """The family's texts."""
        value: Advice = self.value
        return value


_EXPLAINED: dict[Area, dict[Code, tuple[str, str]]] = {
    Area.SEAL: {
        Code.BUNDLE_FILES: (
            "files are missing, too many or of the wrong kind",
            "ファイルの過不足または種類の誤り",
        ),
        Code.BUNDLE_FRAMING: ("the files do not divide into entries", "ファイルを記録に区切れない"),
        Code.CHECKPOINT_INVALID: ("the trusted log did not sign this ledger", "信頼する台帳鍵の署名がない"),
        Code.CHECKPOINT_RETIRED_KEY: ("sealed with a key that was replaced", "交替済みの鍵による封印"),
        Code.CHECKPOINT_SIZE: ("not as many entries as were signed", "記録の件数が署名時と異なる"),
        Code.CHECKPOINT_ROOT: ("the entries are not those that were signed", "記録の内容が署名時と異なる"),
        Code.BUNDLE_TILES: (
            "hashes in the bundle are not those of its entries",
            "一式内のハッシュが記録と異なる",
        ),
        Code.WITNESS_QUORUM: ("too few of your witnesses signed this ledger", "指定した証人の連署が足りない"),
        Code.SPLIT_VIEW: ("others were shown another ledger", "他者に別の台帳が示されている"),
        Code.SEEN_UNUSABLE: (
            "a checkpoint to compare with cannot be used",
            "照合用のチェックポイントが使えない",
        ),
    },
    Area.AUTHENTICITY: {
        Code.ENTRY_MALFORMED: ("an entry that cannot be read", "読み取れない記録"),
        Code.ENTRY_REPLAYED: ("one entry stands there twice", "同じ記録が二度ある"),
        Code.AUTHOR_SIGNATURE: ("not signed by the party it names", "名義人の署名がない"),
        Code.COUNTERSIGNATURE: ("not countersigned by the platform", "プラットフォームの副署がない"),
        Code.LOG_START: (
            "the ledger does not begin as your trust file says",
            "台帳の始まりが信頼ファイルと異なる",
        ),
    },
    Area.PARTIES: {
        Code.NOT_ENROLLED: ("a company acts that is not enrolled", "未登録の企業による記録"),
        Code.ENROLMENT_REPEATED: ("a company is enrolled twice", "企業の二重登録"),
        Code.KEY_SHARED: ("one key for two parties", "二者による同一鍵の使用"),
        Code.AGREEMENT_MISSING: ("no signed agreement", "参加合意書の署名がない"),
        Code.RETIRED_KEY: ("signed with a key that was replaced", "交替済みの鍵による署名"),
        Code.ROTATION_CHAIN: ("a change of a key that was not current", "現行でない鍵の変更"),
        Code.ROTATION_NOT_AGREED: (
            "a change of key without the holder's signature",
            "鍵の保持者の同意がない変更",
        ),
        Code.ROTATION_IN_CAMPAIGN: ("a key changed while it was relied on", "使用中の鍵の変更"),
        Code.ROTATIONS_TOO_MANY: ("a key changed too often", "鍵の変更回数の超過"),
        Code.TRUSTED_KEY_MISSING: (
            "your trust file's key is not in this ledger",
            "信頼ファイルの鍵が台帳にない",
        ),
        Code.COMPANY_REVOKED: ("a company acts whose participation was ended", "参加を終えた企業による記録"),
    },
    Area.PREPARATION: {
        Code.PLAN_MALFORMED: ("a plan that is not well formed", "形式に合わない計画"),
        Code.PLAN_REPEATED: ("two plans for one campaign", "一つのキャンペーンに二つの計画"),
        Code.PLAN_MISSING: ("a campaign without a plan", "計画のないキャンペーン"),
        Code.PLAN_ABOVE_TRUST: ("a plan beyond your own limits", "監査人の上限を超える計画"),
        Code.NOT_IN_COHORT: ("a company acts in a campaign of others", "対象外の企業による記録"),
        Code.ACCEPTANCE_OTHER_PLAN: ("another plan was accepted", "別の計画が承諾されている"),
        Code.ACCEPTANCE_MISSING: ("trained without accepting the plan", "計画を承諾せずに訓練"),
        Code.ACCEPTANCES_TOO_FEW: ("too few companies accepted the plan", "承諾した企業が少なすぎる"),
        Code.OPRF_KEY_REPEATED: ("a second alignment key", "照合鍵が二つある"),
        Code.OPRF_KEY_REUSED: (
            "an alignment key used before: people could be linked",
            "照合鍵の使い回し（名寄せの恐れ）",
        ),
        Code.OPRF_KEY_MISSING: ("no alignment key before the table", "表より前に照合鍵がない"),
        Code.CONSENT_EPOCH_MISSING: (
            "a table that follows from no recorded consents",
            "同意の記録に基づかない表",
        ),
        Code.TABLE_ID_REUSED: ("two tables under one name", "同じ識別子の表が二つある"),
        Code.TRAIN_TABLE_MISSING: ("trained without a training table", "訓練用の表なしに訓練"),
        Code.CONSENT_EPOCH_REUSED: (
            "two tables from one state of the consents",
            "一つの同意状態から二つの表",
        ),
        Code.TRAIN_TABLE_LATE: (
            "a training table after the rows were committed to",
            "行の確約より後の訓練用の表",
        ),
        Code.STATISTICS_NOT_PLANNED: (
            "sums of rows in a campaign that releases rows",
            "行を開示するキャンペーンでの封緘集計",
        ),
        Code.STATISTICS_REPEATED: (
            "a second message or answer of sums: together they tell more",
            "封緘集計の二度目の要求または回答（差から個人の行が漏れうる）",
        ),
        Code.STATISTICS_ORDER: (
            "sums answered out of order: rows could follow the weights",
            "封緘集計の順序違い（重みを見てから行を選べる）",
        ),
        Code.STATISTICS_LATE: (
            "sums answered after the company committed to them",
            "集計値の確約より後の封緘集計",
        ),
        Code.STATISTICS_OTHER_TABLE: ("sums of another table's rows", "別の表の行による封緘集計"),
        Code.STATISTICS_OTHER_WEIGHTS: (
            "sums under weights that are not the company's",
            "その企業のものでない重みによる封緘集計",
        ),
        Code.STATISTICS_MISSING: ("trained on sums that nobody answered", "回答のない集計値による訓練"),
        Code.COMMITMENT_OTHER_PLAN: ("a commitment under another plan", "別の計画による確約"),
        Code.COMMITMENT_REPEATED: ("a company committed twice", "企業による二度の確約"),
        Code.COMMITMENT_LATE: ("a commitment after the randomness was known", "乱数が知られた後の確約"),
        Code.COMMITMENT_MISSING: (
            "a round without a commitment to noise and rows",
            "雑音と行の確約なしのラウンド",
        ),
        Code.SEED_REPEATED: ("a noise seed used before", "雑音の種の使い回し"),
        Code.BEACON_REPEATED: (
            "a second source of randomness to choose from",
            "乱数源が二つあり選択の余地がある",
        ),
        Code.BEACON_MISSING: ("a round before the randomness was fixed", "乱数の確定前のラウンド"),
        Code.BEACON_NOT_THE_LOGS: ("randomness that is not from this log", "この台帳のものでない乱数源"),
        Code.BEACON_SIZE: ("randomness drawn at the wrong place", "誤った位置で得た乱数"),
        Code.BEACON_ROOT: ("randomness drawn from another ledger", "別の台帳から得た乱数"),
        Code.BEACON_WITNESSES: (
            "randomness that too few witnesses have seen",
            "乱数源への証人の連署が足りない",
        ),
    },
    Area.ROUNDS: {
        Code.INTENT_OTHER_PLAN: ("a round reserved under another plan", "別の計画によるラウンドの予約"),
        Code.INTENT_ROUND_ORDER: (
            "rounds missing, repeated or out of order",
            "ラウンドの欠落・重複・順序違い",
        ),
        Code.INTENT_BEYOND_PLAN: ("more rounds than planned", "計画を超えるラウンド数"),
        Code.EVENT_NOT_THE_PLANS: (
            "a round with other parameters than planned",
            "計画と異なる条件のラウンド",
        ),
        Code.ODOMETER_REPEATED: ("a company's spending record was set back", "企業の消費記録の巻き戻し"),
        Code.SETTLE_BEYOND_PLAN: ("a result of a round that was not planned", "計画にないラウンドの結果"),
        Code.SETTLE_WITHOUT_INTENT: ("a contribution that was not reserved", "予約のない寄与"),
        Code.SETTLE_ORDER: ("results missing, repeated or out of order", "結果の欠落・重複・順序違い"),
        Code.SURVIVORS_NOT_IN_COHORT: ("a sum with a stranger in it", "対象外の企業を含む合計"),
        Code.SURVIVORS_TOO_FEW: ("a sum over too few companies", "少なすぎる企業の合計"),
        Code.SURVIVORS_DIFFER: ("companies were told different members", "企業ごとに異なる参加者の通知"),
        Code.UPDATE_REPEATED: (
            "the same noised update twice: no fresh noise",
            "同じ更新の再使用（雑音が新しくない）",
        ),
        Code.MODELS_DIFFER: ("companies hold different models", "企業間でモデルが異なる"),
        Code.MODEL_CHAIN_BROKEN: ("a round starts from another model", "別のモデルから始まるラウンド"),
        Code.ROUND_FAILED_CONFLICT: (
            "an aborted round was completed all the same",
            "中止されたラウンドの続行",
        ),
        Code.REPLAY_FAILED: (
            "a replay did not find what the company had said",
            "再計算の結果が届け出と一致しない",
        ),
        Code.VERDICT_UNUSABLE: (
            "a replay's verdict that shows nothing here",
            "この台帳には使えない再計算の判定書",
        ),
        Code.ODOMETER_ROLLED_BACK: ("a company's spending record went backwards", "企業の消費記録の逆行"),
        Code.SENTINELS_NOT_THE_PLANS: ("not as many sentinels as planned", "標識座標の数が計画と異なる"),
        Code.SENTINELS_DIFFER: ("companies state different sentinel sums", "標識座標の合計が企業間で異なる"),
        Code.SENTINELS_TOO_SMALL: ("less noise than promised", "約束より少ない雑音"),
        Code.SENTINELS_TOO_LARGE: ("more noise than promised", "約束より多い雑音"),
        Code.SENTINELS_REPEATED: ("the same noise twice", "同じ雑音の再使用"),
    },
    Area.SCORING: {
        Code.HEAD_REPEATED: ("a second set of heads for one season", "同じ年度に二組目のヘッド"),
        Code.HEAD_EARLY: ("heads before training ended", "訓練終了前のヘッド"),
        Code.HEAD_NOT_THE_PLANS: ("heads in another format than planned", "計画と異なる形式のヘッド"),
        Code.SCORE_TABLE_EARLY: ("scores before a head was fixed", "ヘッドの確定前のスコア"),
        Code.CAMPAIGN_CLOSED: ("something of a campaign after its end", "終了したキャンペーンの記録"),
    },
    Area.RIGHTS: {
        Code.COVERAGE_MISSING: (
            "data were used without a clear report of who consented",
            "同意の網羅確認なしにデータが使われた",
        ),
        Code.POLICY_UNKNOWN: ("a coverage report before there was a policy", "規約の登録前の網羅報告"),
        Code.BATCH_SEQUENCE: ("a sealed set of decisions is missing", "封印した合否一式の欠番"),
        Code.BATCHES_TOO_MANY: ("more sets of decisions than planned", "計画より多い合否一式"),
        Code.BATCH_REUSED: ("one request for scores under two sets of decisions", "一つの照合要求の使い回し"),
        Code.GATE_WITHOUT_BATCH: ("scores were opened before decisions were sealed", "合否の封印前に開示"),
        Code.GATE_REPEATED: ("the gate opened twice for one set", "同じ一式でゲートが二度開いた"),
        Code.GATE_TOO_EARLY: (
            "the gate opened before the waiting time was over",
            "待機時間前の開放",
        ),
        Code.MIRROR_WITHOUT_GATE: ("copies of scores before the gate opened", "ゲートが開く前のスコアの写し"),
        Code.CERTIFICATE_WITHOUT_ORDER: ("a deletion nobody ordered", "指示のない削除証明"),
        Code.CERTIFICATE_MISSING: ("deletion was ordered and not certified", "削除の指示に証明がない"),
        Code.SERVICE_STATE_CHAIN: ("the service changed its state out of order", "サービス状態の順序の誤り"),
        Code.PROCESSED_WHILE_STOPPED: ("data were used while the service was stopped", "停止中の処理"),
        Code.INCIDENT_CHAIN: ("steps of an incident are missing", "事故対応の手順の欠落"),
    },
    Area.BUDGET: {
        Code.EPSILON_EXCEEDED: ("more was spent than the plan allows", "計画の上限を超える消費"),
        Code.ROW_EPSILON_EXCEEDED: ("training rows reveal more than planned", "訓練行が計画より多くを明かす"),
        Code.EPSILON_NOT_COMPUTABLE: (
            "no bound holds: treat as unlimited",
            "上限を計算できない（無制限とみなす）",
        ),
        Code.ACCOUNTANTS_DISAGREE: ("two computations of ε contradict each other", "二つのε計算が矛盾する"),
        Code.PERSON_EPSILON_EXCEEDED: (
            "one campaign spends more than a person's lifetime total",
            "一つのキャンペーンで個人の生涯上限を超過",
        ),
    },
}

AREAS: dict[Code, Area] = {code: area for area, codes in _EXPLAINED.items() for code in codes}
MEANINGS: dict[Code, tuple[str, str]] = {
    code: words for codes in _EXPLAINED.values() for code, words in codes.items()
}

JAPANESE = {
    "the rows: whether companies trained on true, complete and consented records": (
        "行の中身：各社が、真実で漏れがなく同意のある記録で訓練したか"
    ),
    (
        "the rounds: that each company clipped, drew noise from its seed and computed what it settled "
        "(needs replay)"
    ): ("各ラウンド：各社が切り詰め、確約した種から雑音を引き、届け出たとおりに計算したか（再計算が必要）"),
    "the noise at all but the sentinel coordinates (needs replay)": "標識座標以外の雑音（再計算が必要）",
    "the end of the ledger: entries after the last one here": "台帳の末尾：この一式の最後より後の記録",
    "a split view, if the trust file names no witnesses and no checkpoint of others was compared (--seen)": (
        "別の台帳：信頼ファイルに証人の指定がなく、他者のチェックポイントとも照合していない場合（--seen）"
    ),
    (
        "sealed statistics: that the rows behind an answer are the students' own (needs recomputation on "
        "the platform's premises)"
    ): "封緘集計：回答のもとになった行が学生本人のものか（プラットフォームの施設内での再計算が必要）",
    "that every decision is in a sealed batch, and only offers were evaluated (needs noren-audit gate)": (
        "すべての合否が封印されたこと、内定者だけが照合されたこと（noren-audit gate が必要）"
    ),
    "what a coverage report counted, and what a deletion certificate found (their hashes are here)": (
        "網羅確認の件数と削除証明の内容（ここにあるのはハッシュのみ）"
    ),
    "consents: what the salted consent-epoch roots commit to": "同意：ソルト付きの同意根が何を確約しているか",
    "the sealed tables themselves, and that scores went to nobody else": (
        "封緘された表そのもの、およびスコアが他者に渡っていないこと"
    ),
    "choices made on private data before the plan was published": (
        "計画の公表前に、非公開データに基づいて行われた選択"
    ),
    "in how many campaigns a person was: her total is a bound if the consent service keeps to the plans": (
        "一個人がいくつのキャンペーンに含まれたか：その合計は、同意管理が計画を守る限りでの上限である"
    ),
}
"""The sentences of `noren_audit.verification.verify.NOT_CHECKED`; one that is missing here stays English."""
