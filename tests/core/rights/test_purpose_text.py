"""The linter of purposes: what could mean anything is found, what says it concretely is left alone."""

from __future__ import annotations

import copy

import pytest

from noren_core.errors import DataError
from noren_core.rights.locales import Locale
from noren_core.rights.notices.notice_texts import packaged_policy
from noren_core.rights.notices.policy import PolicyVersion
from noren_core.rights.notices.purpose_text import PurposeFault, lint_policy, lint_purpose, verify_purpose

POLICY = packaged_policy(policy="policy-2027", season="2027", dpia="DPIA-2027")

GENERIC_JA = [
    "採用活動補助のため",
    "採用活動の補助のために利用いたします。",
    "サービス向上のため",
    "サービスの改善および新サービスの開発のため",
    "当社の業務遂行のため",
    "お客様の利便性の向上のため",
    "マーケティングに利用するため",
    "統計的な分析のため",
    "採用業務の効率化のため、応募先の企業に提供することがあります。",
    "学生の就職活動の支援のため",
    "適切な対応を行うため",
    "個人情報を利用いたします。",
    "当社は、閲覧履歴等を分析し、各種サービスに利用します。",
    "当社は、閲覧履歴などを分析し、会社に提供します。",
    "必要に応じて、当社は閲覧履歴を計算し、担当者に連絡します。",
    "当社は、あなたの行動履歴を最適化のために分析し、結果を表示します。",
    "品質の向上を目的として、氏名とメールアドレスを保存します。",
    "当社がよりよいサービスを届けるため、履歴を分析し、知らせます。",
    "研究開発のため",
    "円滑な選考の運営のため",
    "当社は閲覧履歴を計算し、会社に提供する場合があります。",
    "関連する業務のため",
    "当社は、推定した結果を会社の担当者に見てもらいます。",
    "閲覧履歴から辞退の可能性を推定し、提供し、見てもらいます。",
    "当社は、あなたの閲覧履歴を大切に扱います。",
    "当社は、あなたの閲覧履歴を集計します。",
]

GENERIC_EN = [
    "for recruitment support",
    "To support recruiting activities.",
    "to improve our services",
    "To improve our services and develop new products.",
    "For business purposes.",
    "for internal purposes only",
    "We use your data for marketing.",
    "to personalise your experience",
    "For statistical purposes.",
    "to optimize the user experience",
    "For research and development.",
    "We process your data on the basis of our legitimate interests.",
    "to better serve you",
    "to facilitate the hiring process",
    "We use your browsing history, e-mail address, etc. to compute a result that staff see.",
    "We compute results from data such as your browsing history so that staff can see them.",
    "We may share your browsing history with the company so that it can contact you.",
    "We send your browsing history to the company for this and other purposes, so that it sees it.",
    "We compute a score from your browsing history as necessary so that the company sees it.",
    "Your data is used.",
    "We value your privacy.",
    "We analyse data so that the company sees results.",
    "The browsing history is counted so that bands are shown.",
    "We keep your browsing history safe so that you can see it.",
    "We count your browsing history.",
    "We compute, from your browsing history and various records, a band that the company sees.",
]

CONCRETE_JA = [
    "当社は、あなたの閲覧履歴から辞退の可能性を計算し、応募先の会社に提供します。その会社の担当者がその段階を見ます。",
    "{platform_name}は、同意コードで応募と照合します。{company_name}があなた以外のデータを開けないようにするためです。",
    "{platform_name}は、閲覧履歴から計算した数値の列を{company_name}に提供し、{company_name}は辞退を推定するモデルを学習させます。",
    "株式会社例は、あなたの応募書類の氏名とメールアドレスを保存し、面接の日時を連絡します。",
    "監査人が、性別と年齢の回答を会社ごとに集計し、差があるかを確かめ、結果を公表します。",
    "当社は、同意の回答の記録を3年間保存し、求めに応じてあなたに表示します。",
    "担当者が、内定の結果を数え、会社ごとの辞退の数を公表します。",
    "当社は、検索の履歴を業界ごとに数え、あなたにだけ表示します。",
    "{company_name}は、応募の記録と内定の結果を結び付けて保存し、当社が計算した推定と比較し、誤りを報告します。",
    "当社は、あなたのメールアドレスに、提供の記録を送り、いつ誰に渡したかを知らせます。",
    "監査人は、平等に扱われているかを確かめるため、性別の回答を集計し、報告します。",
    "応募先の会社は、当社から届いた数値の列を暗号化して保存し、撤回を知らせられたら削除します。",
    "{platform_name}は、行動の履歴を業界ごとに数え、{company_name}に提供し、担当者がその数を見ます。",
]

CONCRETE_EN = [
    "We compute from your browsing history how likely you are to decline; company staff see a band.",
    "{platform_name} links your account and application, so that {company_name} can open data about you.",
    "{platform_name} adds noise to your browsing history; {company_name} trains a model which estimates it.",
    "The company stores your name and address and your answers in order to invite you to an interview.",
    "The auditor counts answers about gender for each company, compares them and publishes the differences.",
    "We store the records of your answers for three years in order to show them to you.",
    "The company counts how the offer ended for each position and publishes the number.",
    "We count the pages you viewed by industry and show the counts to you alone, so that you can check them.",
    "We send to your e-mail address a record of what was provided, to tell you who received it.",
    "The employer compares the outcome of your application with our estimate and reports errors to us.",
    "This site deletes your search history after sixty days, so that nobody can read it.",
    "{company_name} stores the band that we compute from what you viewed here; its staff contact you.",
    "The auditor computes rates from age and gender in order to find unequal treatment.",
]


@pytest.mark.parametrize("text", GENERIC_JA)
def test_generic_japanese_is_found(text: str) -> None:
    """Texts that could mean anything, or leave out data, deed, actor or effect."""
    assert lint_purpose(text, Locale.JA)


@pytest.mark.parametrize("text", GENERIC_EN)
def test_generic_english_is_found(text: str) -> None:
    """The same in English."""
    assert lint_purpose(text, Locale.EN)


@pytest.mark.parametrize("text", CONCRETE_JA)
def test_concrete_japanese_is_left_alone(text: str) -> None:
    """What says who does what with which data, and what comes of it, is no finding."""
    assert lint_purpose(text, Locale.JA) == ()


@pytest.mark.parametrize("text", CONCRETE_EN)
def test_concrete_english_is_left_alone(text: str) -> None:
    """The same in English."""
    assert lint_purpose(text, Locale.EN) == ()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("We compute a band so that the company sees it.", PurposeFault.NO_DATA),
        ("We have your browsing history so that the company sees it.", PurposeFault.NO_ACTION),
        ("A band is computed from the browsing history so that it is shown.", PurposeFault.NO_ACTOR),
        ("We compute a band from your browsing history.", PurposeFault.NO_EFFECT),
        ("We store your answers etc. in order to show them.", PurposeFault.OPEN_ENDED),
        ("We store your answers for marketing, in order to show them.", PurposeFault.GENERIC_PHRASE),
    ],
)
def test_each_fault_is_named(text: str, fault: PurposeFault) -> None:
    """A text with one thing wrong has exactly that finding."""
    assert [finding.fault for finding in lint_purpose(text, Locale.EN)] == [fault]


def test_the_refusal_has_its_code() -> None:
    """The text of the seed is refused with PURPOSE_TOO_GENERIC, and a concrete one is not."""
    with pytest.raises(DataError) as refused:
        verify_purpose("採用活動補助のため", Locale.JA)
    assert refused.value.code == "PURPOSE_TOO_GENERIC"
    verify_purpose(CONCRETE_JA[0], Locale.JA)


def test_the_packaged_policy_has_no_finding() -> None:
    """Neither a purpose nor a clause of ours, in either language."""
    assert lint_policy(POLICY) == ()


def test_a_generic_purpose_or_clause_in_a_policy_is_found_where_it_stands() -> None:
    """One bad sentence in an otherwise good policy."""
    body = copy.deepcopy(POLICY.to_body())
    body["terms"][0]["text"]["ja"] = "採用活動補助のため"
    body["clauses"]["en"]["C05"] = "The company may share it for business purposes."
    found = {finding.where for finding in lint_policy(PolicyVersion.from_body(body))}
    assert found == {f"{body['terms'][0]['purpose']}, ja", "C05, en"}
