from __future__ import annotations

import json

import pytest

from noren_core.errors import DataError
from noren_core.season import participation
from noren_core.season.participation import Enforcement, agreement_clauses, agreement_text, parse_clauses


def table(**changed: str) -> bytes:
    row = {"control": "gate.decisions-before-evaluation", "enforcement": "enforced", "section": 1}
    row |= {"id": participation.NO_PASS_FAIL} | changed
    return json.dumps({"clauses": [row]}, sort_keys=True, separators=(",", ":")).encode()


def test_that_nobody_is_failed_by_a_score_is_enforced() -> None:
    """R-AGR-1: the packaged agreement does not leave the use for pass or fail to a promise."""
    kept = {item.clause: item.enforcement for item in agreement_clauses()}
    assert kept[participation.NO_PASS_FAIL] is Enforcement.ENFORCED


@pytest.mark.parametrize("word", [Enforcement.DETECTED, Enforcement.PROMISE_ONLY])
def test_an_agreement_of_2019_is_refused(word: Enforcement) -> None:
    """R-AGR-1: an agreement that only promises not to fail anybody is refused, as that of 2019 would be."""
    control = "none" if word is Enforcement.PROMISE_ONLY else "detector.reversals"
    with pytest.raises(DataError) as refused:
        parse_clauses(table(enforcement=word.value, control=control))
    assert refused.value.code == "CLAUSE_NOT_ENFORCED"


@pytest.mark.parametrize(
    "changed",
    [{"enforcement": "enforced", "control": "none"}, {"enforcement": "hoped"}, {"id": "something_else"}],
)
def test_a_clause_that_nothing_keeps_is_refused(changed: dict[str, str]) -> None:
    """What is called enforced or detected names its control; the clause that matters is there."""
    with pytest.raises(DataError):
        parse_clauses(table(**changed))


def test_every_clause_belongs_to_a_section_of_the_text() -> None:
    """A reader finds each line of the table in the text."""
    numbers = {item.section for item in agreement_clauses()}
    assert all(f"\n{number}. " in agreement_text() for number in numbers)


def test_the_hash_covers_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A weaker table is another agreement."""
    before, packaged = participation.agreement_sha256(), participation._packaged
    monkeypatch.setattr(
        participation, "_packaged", lambda name: packaged(name).replace(b'"enforced"', b'"detected"')
    )
    assert participation.agreement_sha256() != before
