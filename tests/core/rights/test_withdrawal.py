"""The fourteen moments of a withdrawal, what becomes of a model, and when one is replaced."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noren_core.errors import ConfigurationError
from noren_core.rights.erasure.withdrawal import (
    CONSEQUENCES,
    LEAST_BATCH,
    Charge,
    CompanySees,
    Model,
    Moment,
    PrivacyLoss,
    Processing,
    ReplacementRule,
    Retention,
    retention,
)

DAY = 86_400
DOCUMENT = Path(__file__).parents[3] / "docs" / "rights" / "withdrawal.md"
SPENT = {Moment.BETWEEN_ROUNDS, Moment.DURING_COMPUTATION, Moment.SENT_NOT_OPENED}
SPENT |= {Moment.OPENED_NOT_RELEASED, Moment.IN_RELEASED_MODEL}


def loss(epsilon: str, delta: str = "0.000001") -> PrivacyLoss:
    return PrivacyLoss(epsilon=Fraction(epsilon), delta=Fraction(delta))


def test_there_are_fourteen_moments_and_each_has_a_consequence() -> None:
    assert {moment.value for moment in Moment} == {f"W{number}" for number in range(1, 15)}
    assert CONSEQUENCES.keys() == set(Moment)


def test_no_moment_gives_anything_back() -> None:
    """I-9: where a round was reserved the charge stays; giving a consent again adds to it."""
    assert {moment for moment in Moment if CONSEQUENCES[moment].charge is Charge.NONE} == {
        Moment.BEFORE_USE,
        Moment.LINKED,
    }
    assert all(CONSEQUENCES[moment].charge is Charge.STAYS for moment in SPENT)
    assert CONSEQUENCES[Moment.GIVEN_AGAIN].charge is Charge.ADDS


def test_whatever_the_moment_the_company_is_told_no_number_and_no_name() -> None:
    """What shows is a word of a closed list, and what shows while training shows for other causes, too."""
    assert {CONSEQUENCES[moment].company_sees for moment in SPENT} <= {
        CompanySees.NOTHING,
        CompanySees.LONGER_LIST,
        CompanySees.LEFT_OUT,
    }
    assert CONSEQUENCES[Moment.GIVEN_AGAIN].company_sees is CompanySees.NEW_PERSON


def test_only_what_was_computed_stays_in_a_model() -> None:
    """Before any use the model has learnt nothing, and scoring or links are no part of it."""
    assert {m for m in Moment if CONSEQUENCES[m].model is Model.KEEPS_WHAT_IT_LEARNT} == SPENT
    assert CONSEQUENCES[Moment.SENT_NOT_OPENED].processing is Processing.DROPPED_UNOPENED


def test_the_document_has_the_same_table() -> None:
    """docs/rights/withdrawal.md says the words of the program, row by row."""
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines if line[:3] == "| W"]
    found = {row[0]: tuple(row[2:6]) for row in rows}
    assert found == {
        moment.value: (c.processing.value, c.model.value, c.charge.value, c.company_sees.value)
        for moment, c in CONSEQUENCES.items()
    }


# What becomes of a model


@pytest.mark.parametrize(
    ("spent", "expected"),
    [
        (loss("4"), Retention.DP_BOUNDED_RETAIN),
        (loss("3.9", "0"), Retention.DP_BOUNDED_RETAIN),
        (loss("4.0000000001"), Retention.RETAIN_LIMIT_EXCEEDED),
        (loss("1", "0.0000010001"), Retention.RETAIN_LIMIT_EXCEEDED),
    ],
)
def test_a_model_is_kept_within_both_limits_only(spent: PrivacyLoss, expected: Retention) -> None:
    """Both ε and δ, to the last digit; over the limit it is replaced at the next date of the calendar."""
    decided = retention(spent, loss("4"), season_end=300 * DAY, next_replacement=30 * DAY)
    assert decided.retention is expected
    kept = expected is Retention.DP_BOUNDED_RETAIN
    assert decided.retire_by == (300 * DAY if kept else 30 * DAY)


@given(
    st.fractions(min_value=0, max_value=16),
    st.fractions(min_value=0, max_value=Fraction(1, 2)),
    st.integers(0, 2**40),
    st.integers(0, 2**40),
)
def test_no_model_outlives_its_season(epsilon: Fraction, delta: Fraction, end: int, date: int) -> None:
    decided = retention(
        PrivacyLoss(epsilon=epsilon, delta=delta), loss("4"), season_end=end, next_replacement=date
    )
    assert decided.retire_by <= end


@pytest.mark.parametrize(("epsilon", "delta"), [("-0.1", "0"), ("1", "1"), ("1", "-0.1")])
def test_a_loss_that_is_none_is_refused(epsilon: str, delta: str) -> None:
    with pytest.raises(ConfigurationError):
        loss(epsilon, delta)


# Replacement

RULE = ReplacementRule(LEAST_BATCH, (100 * DAY, 200 * DAY))


@pytest.mark.parametrize(
    ("withdrawals", "published_at", "now", "is_due"),
    [
        (0, 0, 99 * DAY, False),
        (1, 0, 99 * DAY, False),
        (LEAST_BATCH - 1, 0, 99 * DAY, False),
        (LEAST_BATCH, 0, 1, True),
        (0, 0, 100 * DAY, True),
        (1, 0, 100 * DAY, True),
        (0, 100 * DAY, 199 * DAY, False),
        (0, 100 * DAY, 250 * DAY, True),
        (LEAST_BATCH - 1, 200 * DAY, 900 * DAY, False),
    ],
)
def test_a_model_is_replaced_for_a_batch_or_at_a_date(
    withdrawals: int, published_at: int, now: int, is_due: bool
) -> None:
    assert RULE.is_due(withdrawals=withdrawals, published_at=published_at, now=now) is is_due


@given(st.integers(0, LEAST_BATCH - 1), st.integers(0, 300 * DAY), st.integers(0, 300 * DAY))
def test_less_than_a_batch_changes_nothing(withdrawals: int, published_at: int, more: int) -> None:
    """Between dates nobody can tell from whether there is a new model that somebody withdrew."""
    now = published_at + more
    one = RULE.is_due(withdrawals=withdrawals, published_at=published_at, now=now)
    none = RULE.is_due(withdrawals=0, published_at=published_at, now=now)
    assert one is none


def test_the_next_date_is_the_calendars() -> None:
    assert [RULE.next_date(day * DAY) for day in (0, 99, 100, 150)] == [
        *(100 * DAY, 100 * DAY, 200 * DAY, 200 * DAY)
    ]
    assert RULE.next_date(500 * DAY) == 200 * DAY


@pytest.mark.parametrize(
    ("batch", "dates"), [(LEAST_BATCH - 1, (1,)), (1, (1,)), (LEAST_BATCH, ()), (LEAST_BATCH, (2, 2))]
)
def test_a_rule_that_would_show_one_person_is_refused(batch: int, dates: tuple[int, ...]) -> None:
    """Batches that are too small, no date at all, or dates that are none."""
    with pytest.raises(ConfigurationError):
        ReplacementRule(batch, dates)
