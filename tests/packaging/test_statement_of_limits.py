"""R-DOC-1: what Noren does not do is said where people decide: in the README, and to the student."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from noren_core.rights.clauses import Clause
from noren_core.rights.locales import Locale
from noren_core.rights.notices.notice_texts import packaged_policy

ROOT = Path(__file__).resolve().parents[2]
LIMITS = {
    "collusion": "platform and a company that work together",
    "puppets": "cohort filled with the platform's own companies",
    "false records": "trained on true records",
    "endpoints": "controls a party's machine",
    "exact scores": "not differentially private",
    "human memory": "Whoever has seen a band knows it",
    "own models": "model of its own from its own records",
    "deletion": "no trained model forgets",
    "free consent": "may not be free",
    "law": "for your counsel",
    "parameters": "Model parameters count as personal data",
    "small companies": "a small company gets nothing from training",
    "benefit": "helps students, and not only employers, is not shown",
}
NOTICE = {
    Locale.JA: {
        Clause.BEHAVIOUR_ANALYSIS: "外れることがあります",
        Clause.WITHDRAWAL: "すでに学習したモデルは残ります",
        Clause.PRIVACY_BUDGET: "推定にはこのノイズがありません",
    },
    Locale.EN: {
        Clause.BEHAVIOUR_ANALYSIS: "can be wrong",
        Clause.WITHDRAWAL: "A model that was already trained stays",
        Clause.PRIVACY_BUDGET: "The estimate has no such noise",
    },
}


def section(text: str, heading: str) -> str:
    """What stands under a heading of the second level, on one line."""
    _, _, after = text.partition(f"\n## {heading}\n")
    return " ".join(after.partition("\n## ")[0].split())


@pytest.mark.parametrize("limit", LIMITS)
def test_the_readme_says_what_is_not_protected(limit: str) -> None:
    """Each limit has its sentence, in the section that is about them."""
    said = section((ROOT / "README.md").read_text(encoding="utf-8"), "What it does not protect against")
    assert LIMITS[limit] in said


def test_the_readme_leads_to_the_whole_list() -> None:
    """The short list is not all: the threat model's section exists under the name that is linked."""
    said = section((ROOT / "README.md").read_text(encoding="utf-8"), "What it does not protect against")
    assert "docs/threat-model.md#what-is-not-protected" in said
    threats = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    assert re.search(r"^## What is not protected$", threats, re.MULTILINE)


@pytest.mark.parametrize("locale", Locale)
def test_the_packaged_notice_says_its_part(locale: Locale) -> None:
    """She is told that it is a guess, that it has no noise, and that a trained model stays."""
    version = packaged_policy(policy="policy-1", season="2027", dpia="DPIA-1")
    for clause, words in NOTICE[locale].items():
        assert words in version.clauses[locale][clause]
